"""Opens a source as a table: chooses the format, and reads standard input and named pipes."""

import os
import select
import threading
from collections.abc import Callable, Sequence

import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.sources import ARROW_FILE, MAGIC, Source
from streamce.reading.formats.arrow_ipc import ArrowTable
from streamce.reading.formats.base import Table
from streamce.reading.formats.csv_text import CsvTable
from streamce.reading.formats.numpy_files import NumpyTable
from streamce.reading.formats.parquet import ParquetTable


class _Pipe:
    """Standard input or a named pipe, in the form in which Arrow reads streams.

    A wait for bytes ends when ``stopped`` is set, because a thread that waits in a read would keep the program from
    exiting.
    """

    closed = False

    def __init__(self, path: str, stopped: threading.Event) -> None:
        self._fd = 0 if path == "-" else os.open(path, os.O_RDONLY)
        self._stopped = stopped
        self._head = b""

    def peek(self, size: int) -> bytes:
        self._head = self.read(size)
        return self._head

    def read(self, size: int) -> bytes:
        parts, self._head = [self._head[:size]], self._head[size:]
        size -= len(parts[0])
        while size and not self._stopped.is_set():
            if os.name == "nt" or select.select([self._fd], [], [], 0.1)[0]:
                parts.append(os.read(self._fd, size))
                if not parts[-1]:
                    break
                size -= len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        self.closed = True


def open_table(source: Source, beside: Sequence[str], stopped: threading.Event) -> Table:
    if source.table is not None:
        opened: Table = source.table(source)
        return opened
    if source.format != "pipe":
        if source.format in ("npy", "npz"):
            return NumpyTable(source, beside)
        tables: dict[str, Callable[[Source], Table]]
        tables = {"parquet": ParquetTable, "arrow": ArrowTable, "csv": CsvTable, "tsv": CsvTable, "json": _json_table}
        return tables[source.format](source)
    pipe = _Pipe(source.path, stopped)
    start = pipe.peek(8)
    kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "csv")
    if not start:
        raise DataError("no data have arrived")
    if kind not in ("arrow", "csv"):
        raise DataError(f"{kind} cannot be read from a pipe: give its file")
    if start.startswith(ARROW_FILE):
        pipe.read(8)  # after its magic, the file format is a stream
    if kind == "csv":
        return CsvTable(source, pipe)
    return ArrowTable(source, pa.PythonFile(pipe, "r"))


def _json_table(source: Source) -> Table:
    try:
        from streamce.reading.formats.json_text import JsonTable  # here, because only JSON needs msgspec
    except ModuleNotFoundError as error:
        raise DataError(f"JSON needs {error.name}: pip install 'streamce[files]'") from error
    return JsonTable(source)
