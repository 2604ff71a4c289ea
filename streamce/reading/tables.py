"""A source as record batches, whatever pyarrow and NumPy can read: a class per format gives names, types and batches.

NumPy's files become Arrow batches as well, so that what follows exists once. No file is ever held. Nothing here
knows a loss.
"""

import bisect
import itertools
import mmap
import os
import re
import select
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow import csv, ipc, json, parquet

from streamce import foreign
from streamce.reading.sources import ARROW_FILE, MAGIC, DataError, Source, naming

TEXT_BLOCK = 1 << 22  # bytes of CSV or JSON parsed at a time
NO_BRACKETS = bytes({*range(256)} - {*b"[]{}"})
DEEPEST = 500  # lists and objects within one another; Arrow's guesses of types have no bound, and overflow the stack
BATCH_BYTES = 1 << 25  # Arrow batches above this on average are not copied

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Mark:
    """A row of a source, and the piece of it to find that row in: the number of a record batch, or
    where in the (unpacked) text a block begins. ``before`` rows lie before the piece."""

    row: int = 0
    piece: int = 0
    before: int = 0


START = Mark()
Batches = Iterator[tuple[Any, float | None, Mark]]


class Table(ABC):
    """One source, opened. Where ``typed`` is false, types are guesses from its start; where
    ``bare`` is true, even text and numbers are told apart by their looks alone."""

    typed = True
    bare = False
    schema: Any

    def names(self) -> list[str]:
        return list(self.schema.names)

    def type(self, name: str) -> Any:
        found = self.schema.field(name).type
        if len(getattr(found, "shape", ())) > 1:
            return found  # a tensor of several axes, which a list would be without
        return getattr(found, "storage_type", found)

    def width(self, name: str) -> int:
        """Values in a row of a list column, 1 where only reading would tell."""
        return int(getattr(self.type(name), "list_size", 1) or 1)

    def marks(self) -> list[Mark]:
        """Where reading can begin without what lies before, the start first."""
        return [START]

    @abstractmethod
    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        """Batches of at most ``rows`` rows with the columns of ``types``, the first of them at
        ``start``; the fraction of the source that ends with each (None where nobody knows); and
        where the next begins."""


def slices(batch: Any, rows: int, before: int, start: int) -> Iterator[tuple[Any, int]]:
    """Parts of a batch that has ``before`` rows before it, from row ``start`` on, and their ends."""
    for first in range(max(0, start - before), batch.num_rows, rows):
        part = batch.slice(first, rows)
        yield part, before + first + part.num_rows


class ParquetTable(Table):
    def __init__(self, source: Source) -> None:
        # A buffer per column instead of the column's whole row group: memory then depends
        # neither on the size of row groups nor, much, on the number of columns.
        self._file = parquet.ParquetFile(
            source.open(), buffer_size=1 << 16, pre_buffer=False, page_checksum_verification=True
        )
        self.schema = self._file.schema_arrow

    def width(self, name: str) -> int:
        """On average, in the row group that has the most."""
        schema, metadata = self._file.schema, self._file.metadata
        leaves = [i for i in range(len(schema)) if f"{schema.column(i).path}.".startswith(f"{name}.")]
        most = 1
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            if group.num_rows:
                most = max([most, *(-(-group.column(i).num_values // group.num_rows) for i in leaves)])
        return most

    def _ends(self) -> list[int]:
        """The rows before the end of each row group."""
        groups = self._file.metadata
        return [*itertools.accumulate(groups.row_group(i).num_rows for i in range(groups.num_row_groups))]

    def marks(self) -> list[Mark]:
        return [START, *(Mark(row) for row in sorted({*self._ends()[:-1]} - {0}))]

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        groups, ends = self._file.metadata, self._ends()
        first = bisect.bisect_right(ends, start.row)  # the group with this row: there is no way further in
        done = ends[first - 1] if first else 0
        # Arrow's threads would only take the cores that the caller works on.
        for batch in self._file.iter_batches(rows, [*range(first, len(ends))], list(types), use_threads=False):
            batch, done = batch.slice(max(0, start.row - done)), done + batch.num_rows
            if batch.num_rows:
                yield batch, done / groups.num_rows, Mark(done)


class ArrowTable(Table):
    """Arrow IPC, the file format (``_file``) or the stream format."""

    def __init__(self, source: Source, pipe: Any = None) -> None:
        self._size, self._map, self._file = source.size, None, None
        if pipe is not None:
            self._input = pipe
        elif source.local:
            with open(source.path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._input = pa.BufferReader(pa.py_buffer(self._map))
        else:
            self._input = source.open()
        if pipe is None and self._input.read(6) == ARROW_FILE:
            self._file = ipc.open_file(self._input)
            self.schema = self._file.schema
        else:
            if pipe is None:
                self._input.seek(0)
            self._stream = ipc.open_stream(self._input)
            self.schema = self._stream.schema

    def marks(self) -> list[Mark]:
        if self._file is None or self._map is None:
            return [START]
        found, row = [], 0
        for number, (batch, _) in enumerate(self._batches(self.schema.names[:1], 0)):
            if batch.num_rows:
                found.append(Mark(row, number, row))
            row += batch.num_rows
        return found or [START]

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        before = start.before
        for number, (batch, fraction) in enumerate(self._batches(list(types), start.piece), start.piece):
            for part, end in slices(batch.select(list(types)), rows, before, start.row):
                foreign.checked(part)  # from here on offsets are believed
                yield part, fraction, Mark(end, number, before)
                _release(self._map)
            before += batch.num_rows

    def _batches(self, names: list[str], first: int) -> Iterator[tuple[Any, float | None]]:
        if self._file is None:
            for batch in itertools.islice(self._stream, first, None):
                yield batch, self._input.tell() / self._size if self._size else None
            return
        count, file = self._file.num_record_batches, self._file
        # Arrow copies the columns it is asked for, even out of a mapped file, and else unpacks
        # all columns: the first is cheap for batches of common size, the second for huge ones.
        if self._map is None or len(self._map) < BATCH_BYTES * count:
            wanted = [self.schema.get_field_index(name) for name in names]
            options = ipc.IpcReadOptions(included_fields=wanted, use_threads=False)
            file = ipc.open_file(self._input, options=options)
        for i in range(first, count):
            yield file.get_batch(i), (i + 1) / count


class TextTable(Table):
    """CSV and JSON lines, parsed in blocks of whole rows that are cut here: Arrow's own
    streaming reader calls back from threads that can outlive the program's end."""

    typed = False

    def __init__(self, source: Source, stream: Any = None) -> None:
        self._source = source
        self._size = None if source.packed else source.size
        self._comma = "\t" if ".tsv" in os.path.basename(source.path.lower()) else ","
        self._blocks = self._cut(stream or self._unpacked())
        self._first = next(self._blocks, b"")
        self.schema = self._table(self._first, {}, 0).schema

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        piece, before = start.piece, start.before
        for block in self._blocks_from(piece):
            table = self._table(block, types, before)
            done = before
            fraction = min(1.0, (piece + len(block)) / self._size) if self._size else None
            for batch in table.select(list(types)).combine_chunks().to_batches():
                for part, end in slices(batch, rows, done, start.row):
                    yield part, fraction, Mark(end, piece, before)
                done += batch.num_rows
            piece, before = piece + len(block), done

    def _unpacked(self) -> Any:
        """The text from its start on: Arrow unpacks what ends in .gz and the like."""
        return self._source.filesystem.open_input_stream(self._source.path)

    def _blocks_from(self, offset: int) -> Iterator[bytes]:
        if offset == 0:
            return itertools.chain([self._first], self._blocks)
        if self._source.packed:
            stream, left = self._unpacked(), offset
            while left and (passed := len(stream.read(min(left, TEXT_BLOCK)))):
                left -= passed
        else:
            stream = self._source.open()
            stream.seek(offset)
        return self._cut(stream)

    def _cut(self, stream: Any) -> Iterator[bytes]:
        block = b""
        while more := stream.read(TEXT_BLOCK):
            block += more
            if end := self._end(block):
                yield block[:end]
                block = block[end:]
        if block.strip():
            yield block

    def _table(self, block: bytes, types: Mapping[str, Any], rows: int) -> Any:
        try:
            return self._parse(block, types)
        except pa.ArrowInvalid as error:
            raise DataError(self._explained(str(error), rows, block is self._first)) from error

    @abstractmethod
    def _end(self, block: bytes) -> int:
        """Where the last row that is whole ends, 0 if there is none."""

    @abstractmethod
    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        """The columns of ``types``, or all, with types as they seem, where that is empty."""

    @abstractmethod
    def _explained(self, message: str, rows: int, first: bool) -> str:
        """Arrow's message with rows as we count them and columns by name."""


class CsvTable(TextTable):
    bare = True

    def _end(self, block: bytes) -> int:
        end = block.rfind(b"\n") + 1
        quotes = block.count(b'"', 0, end)
        while quotes % 2 and end:  # this line ends within quotes
            before = block.rfind(b"\n", 0, end - 1) + 1
            quotes -= block.count(b'"', before, end)
            end = before
        if end == 0 and len(block) >= 16 * TEXT_BLOCK:  # no quote, but some stray character
            return block.rfind(b"\n") + 1
        return end

    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        names = None if block is self._first else self.schema.names
        # Without threads errors come with their row, and reading is no slower.
        read = csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names)
        parse = csv.ParseOptions(delimiter=self._comma, newlines_in_values=True)
        convert = csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=["", "NA", "N/A", "NULL", "null"],  # "nan" is a number here
        )
        return csv.read_csv(pa.BufferReader(block), read, parse, convert)

    def _explained(self, message: str, rows: int, first: bool) -> str:
        def place(match: re.Match[str]) -> str:
            # Arrow's row #1 may be the header.
            row = f"row {rows - 1 - first + int(match[2])}: "
            return row + f"column '{self.schema.names[int(match[1])]}': " if match[1] else row

        return re.sub(r"(?:In CSV column #(\d+): )?Row #(\d+): ", place, message)


class JsonTable(TextTable):
    def _end(self, block: bytes) -> int:
        return block.rfind(b"\n") + 1

    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        if null := re.match(rb"\s*null", block):  # as a first row it crashes Arrow; elsewhere it is a row of nulls
            block = b"{}" + block[null.end() :]
        if not types and _depth(block) > DEEPEST:
            raise pa.ArrowInvalid(f"more than {DEEPEST} lists and objects within one another")
        parse = json.ParseOptions(
            explicit_schema=pa.schema(list(types.items())) if types else None,
            unexpected_field_behavior="ignore" if types else "infer",
        )
        read = json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        return json.read_json(pa.BufferReader(block), read, parse)

    def _explained(self, message: str, rows: int, first: bool) -> str:
        return re.sub(r"in row (\d+)", lambda m: f"in row {rows + int(m[1])}", message)


def _depth(block: bytes) -> int:
    """How many lists and objects are within one another in lines of JSON; an upper bound where they are few."""
    deepest = max(line.count(b"[") + line.count(b"{") for line in block.split(b"\n"))
    if deepest > DEEPEST:
        bare = re.sub(rb'"(?:[^"\\\n]|\\.)*+"?', b"", block).translate(None, NO_BRACKETS)
        opens = np.isin(np.frombuffer(bare, np.uint8), [*b"[{"])
        deepest = int(np.where(opens, 1, -1).cumsum().max(initial=0))
    return deepest


class _Pipe:
    """Standard input or a named pipe, as Arrow reads streams. Waiting for bytes ends when
    ``stopped`` is set: a thread stuck in a read would keep the program from leaving."""

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


class NumpyTable(Table):
    """A .npy file, named as it is, and the .npy files beside it, named by their paths; or a
    .npz file, its members named without their .npy."""

    def __init__(self, source: Source, beside: Sequence[str]) -> None:
        self._rows: dict[str, _Rows] = {}
        if source.format == "npy":
            self._rows[source.name] = _Rows(source.path, None if source.local else source.open())
            for path in beside:
                with naming(path):
                    self._rows[path] = _Rows(path)
            return
        archive = zipfile.ZipFile(source.open())
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if source.local and member.compress_type == zipfile.ZIP_STORED:
                self._rows[name] = _Rows(source.path, None, _offset(source.path, member))
            else:
                self._rows[name] = _Rows(source.path, archive.open(member))

    def names(self) -> list[str]:
        return list(self._rows)

    def type(self, name: str) -> Any:
        return self._rows[name].type()

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        arrays = [self._rows[name] for name in types]
        total = arrays[0].shape[0]
        for name, array in zip(types, arrays, strict=True):
            if array.shape[0] != total:
                raise DataError(f"{name} has {array.shape[0]} rows, {next(iter(types))} {total}")
            array.skip(start.row)
        for first in range(start.row, total, rows):
            end = min(first + rows, total)
            batch = [array.take(end - first) for array in arrays]
            yield pa.RecordBatch.from_arrays(batch, list(types)), end / total, Mark(end)
            for array in arrays:
                _release(array.map)


def _offset(path: str, member: zipfile.ZipInfo) -> int:
    """Where the bytes of an unpacked member of a local archive begin."""
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        name, extra = np.frombuffer(file.read(4), "<u2").tolist()
    return member.header_offset + 30 + int(name) + int(extra)


class _Rows:
    """The rows of one array, in order: of a stream, or memory-mapped from ``offset`` on."""

    def __init__(self, path: str, stream: Any = None, offset: int = 0) -> None:
        self._stream, self._done, self.map = stream, 0, None
        if stream is not None:
            self.shape, self._fortran, self._dtype = _header(stream)
            return
        with open(path, "rb") as file:
            file.seek(offset)
            self.shape, self._fortran, self._dtype = _header(file)
            start = file.tell()
        self._array: Array = np.empty(self.shape, self._dtype) if 0 in self.shape else np.empty(0)
        if 0 not in self.shape and not self._dtype.hasobject:
            order: Literal["F", "C"] = "F" if self._fortran else "C"
            self._array = np.memmap(path, self._dtype, "r", start, self.shape, order)
            self.map = self._array.base

    def type(self) -> Any:
        if len(self.shape) not in (1, 2) or self._dtype.hasobject:
            raise DataError(f"an array of {self._dtype} of shape {self.shape} is no column")
        return _arrow(np.empty((0, *self.shape[1:]), self._dtype)).type

    def _size(self, count: int) -> int:
        """Bytes of so many rows of a stream."""
        if self._fortran and len(self.shape) == 2:
            raise DataError("an array in Fortran order can be read from an unpacked file only")
        return count * self._dtype.itemsize * int(np.prod(self.shape[1:]))

    def skip(self, count: int) -> None:
        self._done += count
        if self._stream is not None and count:
            self._stream.seek(self._size(count), os.SEEK_CUR)

    def take(self, count: int) -> Any:
        start, self._done = self._done, self._done + count
        if self._stream is None:
            return _arrow(self._array[start : self._done])
        size = self._size(count)
        data = self._stream.read(size)
        if len(data) < size:
            raise DataError("the file ends before its array does")
        return _arrow(np.frombuffer(data, self._dtype).reshape(count, *self.shape[1:]))


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _arrow(array: Array) -> Any:
    array = np.require(array, array.dtype.newbyteorder("="), ["C", "ALIGNED"])
    line = array.reshape(-1).view(np.uint8 if array.dtype == bool else array.dtype)
    if line.dtype.kind in "fiu":
        type_ = pa.from_numpy_dtype(line.dtype)
        values = pa.Array.from_buffers(type_, len(line), [None, pa.py_buffer(line)])
    else:
        values = pa.array(line)
    return values if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(values, array.shape[1])


def _release(mapped: Any) -> None:
    """Give back the pages read so far; they are the file's and return when touched."""
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def open_table(source: Source, beside: Sequence[str], stopped: threading.Event) -> Table:
    if source.table is not None:
        opened: Table = source.table(source)
        return opened
    if source.format != "pipe":
        if source.format in ("npy", "npz"):
            return NumpyTable(source, beside)
        tables: dict[str, Callable[[Source], Table]]
        tables = {"parquet": ParquetTable, "arrow": ArrowTable, "csv": CsvTable, "json": JsonTable}
        return tables[source.format](source)
    pipe = _Pipe(source.path, stopped)
    start = pipe.peek(8)
    kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "csv")
    if not start:
        raise DataError("nothing came")
    if kind not in ("arrow", "csv"):
        raise DataError(f"{kind} cannot be read from a pipe: give its file")
    if start.startswith(ARROW_FILE):
        pipe.read(8)  # after its magic, the file format is a stream
    if kind == "csv":
        return CsvTable(source, pipe)
    return ArrowTable(source, pa.PythonFile(pipe, "r"))
