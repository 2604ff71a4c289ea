"""A source as record batches, whatever pyarrow and NumPy can read: a class per format gives names, types and batches.

NumPy's files become Arrow batches as well, so that what follows exists once. No file is ever held. Nothing here
knows a loss.
"""

import bisect
import functools
import itertools
import os
import re
import select
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, fs, ipc, json, parquet

from streamce.errors import DataError
from streamce.inputs import interop
from streamce.inputs.arrow import is_list
from streamce.reading.arrow_blocks import BATCH_BYTES, Batch, Block, blocks_of_file, blocks_of_stream, is_plain
from streamce.reading.byte_file import ByteFile
from streamce.reading.numpy_rows import ENCRYPTED, Rows, RowsAnywhere, RowsInOrder, place_of
from streamce.reading.records import QuotedRecords, RecordError, Records
from streamce.reading.sources import ARROW_FILE, MAGIC, Source, naming, one_line

TEXT_BLOCK = 1 << 22  # bytes of CSV or JSON parsed at a time
FIRST_ROWS = 1 << 10  # rows of lists to read at a time, because their lengths are unknown
JOINED_BYTES = 1 << 22  # bytes of such rows that are joined into a batch
NO_BRACKETS = bytes({*range(256)} - {*b"[]{}"})
DEEPEST = 500  # lists and objects within one another; Arrow's guesses of types have no bound, and overflow the stack

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
        try:
            return list(self.schema.names)
        except UnicodeDecodeError as error:
            raise DataError(f"the name of a column is not UTF-8: {one_line(error)}") from error

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
        # Only row counts are read from the metadata. If a column's metadata are damaged, pyarrow does not catch a C++
        # exception, which ends the process.
        groups = self._file.metadata
        self._groups: list[int] = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        self._rows = int(groups.num_rows)
        if min(self._groups, default=0) < 0 or sum(self._groups) != self._rows:
            raise DataError(f"its footer has {self._rows:,} rows for the file, but other numbers for its row groups")

    def width(self, name: str) -> int:
        """Return the average number of values in the first rows."""
        if not is_list(self.type(name)):
            return 1
        for batch in self._file.iter_batches(FIRST_ROWS, columns=[name], use_threads=False):
            column = getattr(batch.column(0), "storage", batch.column(0))
            while is_list(column.type):
                column = column.flatten()
            return max(1, -(-len(column) // max(1, int(batch.num_rows))))
        return 1

    def _ends(self) -> list[int]:
        """The rows before the end of each row group."""
        return [*itertools.accumulate(self._groups)]

    def marks(self) -> list[Mark]:
        return [START, *(Mark(row) for row in sorted({*self._ends()[:-1]} - {0}))]

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        ends = self._ends()
        first = bisect.bisect_right(ends, start.row)  # the group with this row: there is no way further in
        done = ends[first - 1] if first else 0
        try:
            for batch in self._batches([*range(first, len(ends))], list(types), rows):
                batch, done = batch.slice(max(0, start.row - done)), done + batch.num_rows
                if batch.num_rows:
                    yield batch, done / self._rows, Mark(done)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"from row {done:,} on: {one_line(error)}") from error
        if done != self._rows:
            raise DataError(f"it has {done:,} rows, but its footer says {self._rows:,}: it is damaged")

    def _batches(self, groups: list[int], names: list[str], rows: int) -> Iterator[Any]:
        """Yield batches of row groups. Few rows of lists are read at a time and joined, because lists may be long."""
        lists = any(is_list(self.type(name)) for name in names)
        # Arrow's threads would only take the cores that the caller works on.
        found = self._file.iter_batches(min(rows, FIRST_ROWS) if lists else rows, groups, names, use_threads=False)
        if not lists:
            yield from found
            return
        few: list[Any] = []
        for batch in found:
            few.append(batch)
            many = sum(each.num_rows for each in few)
            if many + FIRST_ROWS > rows or sum(each.nbytes for each in few) >= JOINED_BYTES:
                yield _joined(few)
                few = []
        if few:
            yield _joined(few)


def _joined(batches: list[Any]) -> Any:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0] if len(batches) > 1 else batches[0]


class ArrowTable(Table):
    """Arrow IPC in the file format or the stream format."""

    def __init__(self, source: Source, pipe: Any = None) -> None:
        self._file: Any = None  # Arrow's reader of the file format
        self._stream: Any = None  # Arrow's reader of a stream, if it must be read in order
        self._bytes: ByteFile | None = None
        self._blocks: list[Block] = []  # of the file format, if this module can read them
        self._size = source.size
        self._input = pipe or source.open()
        if pipe is None:
            self._bytes = ByteFile(self._input)
            if self._input.read(6) == ARROW_FILE:
                self._file = ipc.open_file(self._input)
                self.schema = self._file.schema
                blocks = blocks_of_file(self._bytes)
                self._blocks = blocks if len(blocks) == self._file.num_record_batches else []
                return
            self._input.seek(0)
        self._stream = ipc.open_stream(self._input)
        self.schema = self._stream.schema
        if self._bytes is not None and is_plain(self._bytes, self.schema):
            self._stream = None

    def marks(self) -> list[Mark]:
        if self._file is None:
            return [START]
        found, row = [], 0
        for number, (batch, _) in enumerate(self._batches(self.schema.names[:1], 0)):
            if batch.num_rows:
                found.append(Mark(row, number, row))
            row += batch.num_rows
        return found or [START]

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        names, before, done = list(types), start.before, 0.0
        for number, (batch, fraction) in enumerate(self._batches(names, start.piece), start.piece):
            parts: Iterator[tuple[Any, int]]
            if isinstance(batch, Batch):
                parts = batch.parts(names, rows, before, start.row)
            else:
                parts = slices(batch.select(names), rows, before, start.row)
            for part, end in parts:
                interop.checked(part)  # from here on offsets are believed
                share = (end - before) / batch.num_rows
                so_far = None if fraction is None else done + (fraction - done) * share
                yield part, so_far, Mark(end, number, before)
            before, done = before + batch.num_rows, fraction or 0.0

    def _batches(self, names: list[str], first: int) -> Iterator[tuple[Any, float | None]]:
        """Yield batches from number ``first`` on, large ones unread, with the fraction of the source at their ends."""
        if self._file is not None:
            reader = None
            for number in range(first, self._file.num_record_batches):
                batch = self._large(number, self._blocks[number], names) if self._blocks else None
                if batch is None:
                    # Without included_fields, Arrow reads all columns.
                    wanted = [self.schema.get_field_index(name) for name in names]
                    options = ipc.IpcReadOptions(included_fields=wanted, use_threads=False)
                    reader = reader or ipc.open_file(self._input, options=options)
                    batch = _whole(number, functools.partial(reader.get_batch, number))
                yield batch, (number + 1) / self._file.num_record_batches
        elif self._stream is not None:
            for number in itertools.count(first):
                batch = _whole(number, functools.partial(next, self._stream, None))
                if batch is None:
                    return
                yield batch, self._input.tell() / self._size if self._size else None
        elif self._bytes is not None:
            for number, block in enumerate(blocks_of_stream(self._bytes)):
                if number >= first:
                    batch = self._large(number, block, names)
                    if batch is None:
                        batch = _whole(number, Batch(self._bytes, block, self.schema, number).whole)
                    yield batch, (block.start + block.metadata + block.body) / self._bytes.size

    def _large(self, number: int, block: Block, names: list[str]) -> Batch | None:
        """Return a batch to read some rows at a time, or None if Arrow reads it as a whole."""
        assert self._bytes is not None
        if block.body <= BATCH_BYTES:
            return None
        batch = Batch(self._bytes, block, self.schema, number)
        return batch if batch.has(names) else None


def _whole(number: int, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"record batch {number:,}: {one_line(error)}") from error


class TextTable(Table):
    """CSV and JSON lines, parsed in blocks of whole rows that are cut here: Arrow's own
    streaming reader calls back from threads that can outlive the program's end."""

    typed = False

    def __init__(self, source: Source, stream: Any = None) -> None:
        self._source = source
        self._size = None if source.packed else source.size
        self._comma = "\t" if ".tsv" in os.path.basename(source.path.lower()) else ","
        self._blocks = self._cut(stream or self._unpacked(), 0 if stream is None else None)
        self._first = self._next(self._blocks, 0)
        self.schema = self._table(self._first, {}, 0).schema
        self.names()  # raises if one cannot be read

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        piece, before = start.piece, start.before
        blocks = self._blocks_from(piece)
        while block := self._next(blocks, before):
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
            return itertools.chain([self._first] if self._first else [], self._blocks)
        if self._source.packed:
            stream, left = self._unpacked(), offset
            while left and (passed := len(stream.read(min(left, TEXT_BLOCK)))):
                left -= passed
        else:
            stream = self._source.open()
            stream.seek(offset)
        return self._cut(stream, offset)

    def _next(self, blocks: Iterator[bytes], row: int) -> bytes:
        """Return the next block, whose first row is ``row``, or nothing at the end."""
        try:
            return next(blocks, b"")
        except RecordError as error:
            raise DataError(error.found, row=row) from error

    def _cut(self, stream: Any, offset: int | None) -> Iterator[bytes]:
        """Yield blocks of whole rows of a stream. It begins at ``offset`` of a file; None if it is not a file."""
        records, done = self._records(), offset or 0
        while piece := stream.read(TEXT_BLOCK):
            done += len(piece)
            yield from records.add(piece)
        if offset is not None and self._size is not None and self._source.local and done < self._size:
            raise DataError(f"it ends at byte {done:,}, but had {self._size:,} bytes: it was cut short meanwhile")
        if (rest := records.rest()).strip():
            yield rest

    def _records(self) -> Records:
        return Records(self._source.max_record)

    def _table(self, block: bytes, types: Mapping[str, Any], rows: int) -> Any:
        try:
            return self._parse(block, types)
        except pa.ArrowInvalid as error:
            raise self._explained(one_line(error), rows, block is self._first) from error

    @abstractmethod
    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        """The columns of ``types``, or all, with types as they seem, where that is empty."""

    @abstractmethod
    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        """Return the error for Arrow's message, with rows as we count them and columns by name."""


class CsvTable(TextTable):
    bare = True

    def _records(self) -> Records:
        return QuotedRecords(self._source.max_record, self._comma)

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

    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        match = re.fullmatch(r"(?:In CSV column #(\d+): |(CSV parse error: ))?Row #(\d+): (.*)", message)
        if match is None:
            return DataError(message)
        row = rows - 1 - first + int(match[3])  # Arrow's row #1 may be the header
        if match[1]:
            return DataError(f"cannot be read: {match[4]}", row=row, column=self.schema.names[int(match[1])])
        return DataError(f"{match[2] or ''}{match[4]}", row=row)


class JsonTable(TextTable):
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

    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        match = re.fullmatch(r"(.*) in row (\d+)", message)
        return DataError(message) if match is None else DataError(match[1], row=rows + int(match[2]))


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
        self._rows: dict[str, Rows] = {}
        if source.format == "npy":
            self._rows[source.name] = RowsAnywhere(ByteFile(source.open()))
            for path in beside:
                with naming(path):
                    os.stat(path)  # raises a plain error if the file does not exist
                    self._rows[path] = RowsAnywhere(ByteFile(fs.LocalFileSystem().open_input_file(path)))
            return
        file = source.open()
        archive = zipfile.ZipFile(file)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & ENCRYPTED:
                place = place_of(ByteFile(file), member)
                self._rows[name] = RowsAnywhere(ByteFile(file), place, member.file_size)
            else:
                self._rows[name] = RowsInOrder(archive.open(member), member.file_size)

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
