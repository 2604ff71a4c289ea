"""Opens a source as a table: chooses the format, and reads standard input and named pipes."""

import codecs
import os
import select
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.decoding import packing, unpacked
from streamce.reading.files.sources import ARROW_FILE, FORMATS, MAGIC, TEXT, Source, format_of
from streamce.reading.formats.arrow_ipc import ArrowTable
from streamce.reading.formats.base import Table
from streamce.reading.formats.csv_text import CsvTable
from streamce.reading.formats.numpy_files import NumpyTable
from streamce.reading.formats.parquet import ParquetTable
from streamce.reading.partition_columns import PartitionedTable

BLANK = codecs.BOM_UTF8 + b"\xff\xfe\0 \t\r\n"  # bytes before text, also in UTF-16
MAX_BLANK = 1 << 16  # bytes at the start of a stream that are searched for text


class _Peekable:
    """A stream whose first bytes can be looked at before they are read."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self._stream, self._head = stream, b""

    def peek(self, size: int) -> bytes:
        self._head = self.read(size)
        return self._head

    def read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        parts, size = [head], size - len(head)
        while size and (part := self._more(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _more(self, size: int) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        return bytes(self._stream.read(size))

    def close(self) -> None:
        self.closed = True


class _Pipe(_Peekable):
    """Standard input or a named pipe, in the form in which Arrow reads streams.

    A wait for bytes ends when ``stopped`` is set, because a thread that waits in a read would keep the program from
    exiting.
    """

    def __init__(self, path: str, stopped: threading.Event) -> None:
        super().__init__(None)
        self._fd = 0 if path == "-" else os.open(path, os.O_RDONLY)
        self._stopped = stopped

    def _more(self, size: int) -> bytes:
        while not self._stopped.is_set():
            if os.name == "nt" or select.select([self._fd], [], [], 0.1)[0]:
                return os.read(self._fd, size)
        return b""


def open_table(source: Source, beside: Sequence[str], stopped: threading.Event) -> Table:
    """Return the table of a source, with the columns that the names of its folders hold."""
    table = _open(source, beside, stopped)
    return PartitionedTable(table, source.partition) if source.partition else table


def _open(source: Source, beside: Sequence[str], stopped: threading.Event) -> Table:
    if source.table is not None:
        opened: Table = source.table(source)
        return opened
    if source.format != "pipe":
        if source.format in ("npy", "npz"):
            return NumpyTable(source, beside)
        tables: dict[str, Callable[[Source], Table]]
        tables = {"parquet": ParquetTable, "arrow": ArrowTable, "csv": CsvTable, "tsv": CsvTable, "json": _json_table}
        return tables[source.format](source)
    return _open_pipe(source, _Pipe(source.path, stopped))


def _open_pipe(source: Source, pipe: Any) -> Table:
    """Return the table of a stream, by its first bytes if the user does not name its format."""
    start = pipe.peek(8)
    if packed := packing(start):
        pipe = _Peekable(unpacked(pipe, packed))
        start = pipe.peek(8)
    if not start:
        raise DataError("no data have arrived")
    kind = FORMATS[source.options.format] if source.options.format else _format_of_stream(source, pipe, start)
    if kind not in ("arrow", *TEXT):
        raise DataError(f"{kind} cannot be read from a pipe: give its file")
    if kind == "arrow":
        if start.startswith(ARROW_FILE):
            pipe.read(8)  # after its magic, the file format is a stream
        return ArrowTable(source, pa.PythonFile(pipe, "r"))
    source = replace(source, format=kind)
    return _json_table(source, pipe) if kind == "json" else CsvTable(source, pipe)


def _json_table(source: Source, stream: Any = None) -> Table:
    try:
        from streamce.reading.formats.json_text import JsonTable  # here, because only JSON needs msgspec
    except ModuleNotFoundError as error:
        raise DataError(f"JSON needs {error.name}: pip install 'streamce[files]'") from error
    return JsonTable(source, stream)


def _format_of_stream(source: Source, pipe: Any, start: bytes) -> str:
    """Return the format of a stream: JSON if the first byte that is not blank begins an object or an array."""
    kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), None)
    if kind is not None:
        return kind
    size = len(start)
    while not (text := start.lstrip(BLANK)) and size < MAX_BLANK and len(start) == size:
        size *= 2
        start = pipe.peek(size)
    return "json" if text[:1] in (b"{", b"[") else format_of(source.path) or "csv"
