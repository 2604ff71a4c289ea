"""Record batches of an Arrow IPC file, some rows at a time, because one batch may be larger than memory.

Arrow's own reader reads whole batches, or maps the file. This module finds the offsets of a column's values in the
metadata of the batch (Arrow's columnar format, "Encapsulated message format"), and reads values when they are needed.
Arrow reads batches that are compressed, and types that this module does not support.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.byte_file import ByteFile

CONTINUATION = b"\xff\xff\xff\xff"
END = len(b"ARROW1")  # bytes of the magic at the end of a file, after the length of the footer
RECORD_BATCH = 3  # the kind of message
V4 = 3  # the oldest version of metadata with today's layouts
LITTLE = 0  # the byte order
BATCH_BYTES = 1 << 25  # a batch of more bytes is read some rows at a time
DAMAGED = "its metadata is damaged"
OFFSETS = np.dtype("<i8")
BLOCKS = np.dtype([("start", "<i8"), ("metadata", "<i4"), ("padding", "<i4"), ("body", "<i8")])


@dataclass(frozen=True)
class Block:
    """The place of a record batch in a file: its metadata from ``start`` on, then its body."""

    start: int
    metadata: int
    body: int


@dataclass
class _Column:
    """A column of a batch, or one within it: its length, its nulls, and where its buffers are in the file."""

    type: Any
    length: int
    nulls: int
    buffers: list[tuple[int, int]]
    children: list[_Column] = field(default_factory=list)


class _FlatTable:
    """A table of a flatbuffer. An offset outside of the buffer is an error, because the file is damaged."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - self.number("<i", at)

    def number(self, format_: str, at: int) -> int:
        if not 0 <= at <= len(self._data) - struct.calcsize(format_):
            raise DataError(DAMAGED)
        return int(struct.unpack_from(format_, self._data, at)[0])

    def position(self, number: int) -> int:
        """Return where a field is; 0 if it is left out."""
        size = self.number("<H", self._fields)
        offset = self.number("<H", self._fields + 4 + 2 * number) if 4 + 2 * number < size else 0
        return self._at + offset if offset else 0

    def value(self, number: int, format_: str) -> int:
        at = self.position(number)
        return self.number(format_, at) if at else 0

    def table(self, number: int) -> _FlatTable | None:
        at = self.position(number)
        return _FlatTable(self._data, at + self.number("<I", at)) if at else None

    def structs(self, number: int, dtype: np.dtype[Any]) -> Any:
        """Return a vector of structs as an array."""
        at = self.position(number)
        if not at:
            return np.empty(0, dtype)
        at += self.number("<I", at)
        count, at = self.number("<I", at), at + 4
        if at + count * dtype.itemsize > len(self._data):
            raise DataError(DAMAGED)
        return np.frombuffer(self._data, dtype, count, at)


def _root(data: bytes, at: int = 0) -> _FlatTable:
    if len(data) < at + 4:
        raise DataError(DAMAGED)
    return _FlatTable(data, at + int(struct.unpack_from("<I", data, at)[0]))


def blocks_of_file(file: ByteFile) -> list[Block]:
    """Return the record batches of a file in the file format; an empty list if Arrow has to read it."""
    length = _int(file.read(file.size - END - 4, 4, "the length of its footer"))
    footer = _root(file.read(file.size - END - 4 - length, length, "its footer").to_pybytes())
    schema = footer.table(1)
    if footer.value(0, "<h") < V4 or schema is None or schema.value(0, "<h") != LITTLE:
        return []
    return [Block(start, metadata, body) for start, metadata, _, body in footer.structs(3, BLOCKS).tolist()]


def blocks_of_stream(file: ByteFile) -> Iterator[Block]:
    """Yield the record batches of a file in the stream format, in their order."""
    start = 0
    while start < file.size:
        head = file.read(start, min(8, file.size - start), "a message").to_pybytes()
        prefix = 8 if head.startswith(CONTINUATION) else 4
        if len(head) < prefix:
            raise DataError(DAMAGED)
        length = int(struct.unpack_from("<i", head, prefix - 4)[0])
        if length == 0:
            return
        message = _root(file.read(start + prefix, length, f"the message at byte {start:,}").to_pybytes())
        block = Block(start, prefix + length, message.value(3, "<q"))
        if block.body < 0:
            raise DataError(DAMAGED)
        if message.value(1, "<B") == RECORD_BATCH:
            yield block
        start += block.metadata + block.body


def has_independent_batches(file: ByteFile, schema: Any) -> bool:
    """Return whether each batch of a file in the stream format can be read alone, because there are no dictionaries."""
    prefix = 8 if file.read(0, 4, "its schema").to_pybytes() == CONTINUATION else 4
    length = _int(file.read(prefix - 4, 4, "its schema"))
    header = _root(file.read(prefix, length, "its schema").to_pybytes()).table(2)
    is_little = header is not None and header.value(0, "<h") == LITTLE
    return is_little and not any(_has_dictionary(type_) for type_ in schema.types)


class Batch:
    """A record batch whose columns are read some rows at a time.

    Attributes
    ----------
    num_rows : int
    """

    def __init__(self, file: ByteFile, block: Block, schema: Any, number: int) -> None:
        self._file, self._block, self._schema = file, block, schema
        self._name = f"record batch {number:,}"
        metadata = file.read(block.start, block.metadata, f"the metadata of {self._name}").to_pybytes()
        message = _root(metadata, 8 if metadata.startswith(CONTINUATION) else 4)
        header = message.table(2)
        if header is None or message.value(1, "<B") != RECORD_BATCH:
            raise DataError(f"there is no {self._name} at byte {block.start:,}: it is damaged")
        self.num_rows: int = header.value(0, "<q")
        if self.num_rows < 0:
            raise DataError(f"{self._name} has {self.num_rows:,} rows: it is damaged")
        self._header, self._is_uncompressed = header, message.value(0, "<h") >= V4 and not header.position(3)

    def has(self, names: Sequence[str]) -> bool:
        """Return whether this class can read some columns. Arrow has to read the others."""
        return self._columns(names) is not None

    def _columns(self, names: Sequence[str]) -> list[_Column] | None:
        """Return where some columns are, or None if only Arrow can read them."""
        if not self._is_uncompressed:
            return None
        nodes = iter(self._header.structs(1, np.dtype((OFFSETS, 2))).tolist())
        buffers = iter(self._header.structs(2, np.dtype((OFFSETS, 2))).tolist())
        views = iter(self._header.structs(4, OFFSETS).tolist())
        columns: dict[str, _Column] = {}
        try:
            for column in self._schema:
                columns[column.name] = self._column(column.type, nodes, buffers, views)
        except StopIteration:
            raise DataError(f"{self._name} has fewer columns than its file: it is damaged") from None
        except NotImplementedError:  # the offsets of columns after this one are unknown
            pass
        wanted = [columns.get(name) for name in names]
        readable = [column for column in wanted if column is not None and _is_readable(column.type)]
        if len(readable) < len(names):
            return None
        for column in readable:
            if column.length != self.num_rows:
                raise DataError(
                    f"{self._name} has {self.num_rows:,} rows, but a column has {column.length:,}: it is damaged"
                )
        return readable

    def read_all(self) -> Any:
        """Return the complete batch, read by Arrow."""
        size = self._block.metadata + self._block.body
        return pa.ipc.read_record_batch(self._file.read(self._block.start, size, self._name), self._schema)

    def parts(self, names: Sequence[str], rows: int, before: int, start: int) -> Iterator[tuple[Any, int]]:
        """Yield parts of the columns as ``slice_batch`` does, with fewer rows where their values are many bytes."""
        columns = self._columns(names) or []
        first = max(0, start - before)
        while first < self.num_rows:
            stop = min(first + rows, self.num_rows)
            while stop - first > 1 and sum(self._bytes(column, first, stop) for column in columns) > BATCH_BYTES:
                stop = first + (stop - first) // 2
            arrays = [self._array(column, first, stop) for column in columns]
            yield pa.RecordBatch.from_arrays(arrays, list(names)), before + stop
            first = stop

    def _column(self, type_: Any, nodes: Iterator[Any], buffers: Iterator[Any], views: Iterator[Any]) -> _Column:
        """Return a column and its children, which follow it in the metadata."""
        type_ = getattr(type_, "storage_type", type_)
        if pa.types.is_union(type_) or pa.types.is_run_end_encoded(type_) or "_view<" in str(type_):
            raise NotImplementedError
        length, nulls = next(nodes)
        n_buffers = 0 if pa.types.is_null(type_) else 1 if _is_nest(type_) else 3 if _has_offsets(type_) else 2
        if _has_offsets(type_) and type_.num_fields:
            n_buffers = 2  # those of lists
        if _is_view(type_):
            n_buffers = 2 + next(views)
        ranges = []
        for offset, size in (next(buffers) for _ in range(n_buffers)):
            if offset < 0 or size < 0 or offset + size > self._block.body:
                raise DataError(f"{self._name} has a column outside of its bytes: it is damaged")
            ranges.append((self._block.start + self._block.metadata + offset, size))
        inner = [] if pa.types.is_dictionary(type_) else [type_.field(i).type for i in range(type_.num_fields)]
        children = [self._column(each, nodes, buffers, views) for each in inner]
        return _Column(type_, length, nulls, ranges, children)

    def _bytes(self, column: _Column, start: int, stop: int) -> int:
        """Return the number of bytes of the values in some rows, without the bits of nulls and the offsets."""
        if _has_offsets(column.type):
            first, last = (self._offset(column, row) for row in (start, stop))
            return self._bytes(column.children[0], first, last) if column.children else last - first
        if pa.types.is_fixed_size_list(column.type):
            size = column.type.list_size
            return self._bytes(column.children[0], start * size, stop * size)
        if column.children:
            return sum(self._bytes(child, start, stop) for child in column.children)
        return 0 if pa.types.is_null(column.type) else (stop - start) * column.type.bit_width // 8

    def _offset(self, column: _Column, row: int) -> int:
        dtype = _offsets(column.type)
        return int(np.frombuffer(self._buffer(column, 1, row * dtype.itemsize, (row + 1) * dtype.itemsize), dtype)[0])

    def _array(self, column: _Column, start: int, stop: int) -> Any:
        """Return some rows of a column. Reading begins up to seven rows before them, at a full byte of bits."""
        if not 0 <= start <= stop <= column.length:
            raise DataError(f"{self._name} has lists outside of their values: it is damaged")
        rows, before = stop - start, start % 8
        if pa.types.is_null(column.type) or rows == 0:
            return pa.nulls(rows, column.type)
        valid = self._buffer(column, 0, start // 8, -(-stop // 8)) if column.nulls else None
        first = start - before
        children, buffers = [], [valid]
        if _has_offsets(column.type):
            dtype = _offsets(column.type)
            size = dtype.itemsize
            offsets = np.frombuffer(self._buffer(column, 1, first * size, (stop + 1) * size), dtype)
            low, high = int(offsets[0]), int(offsets[-1])
            buffers.append(pa.py_buffer(offsets - offsets[0]))
            if column.children:
                children = [self._array(column.children[0], low, high)]
            else:
                buffers.append(self._buffer(column, 2, low, high))
        elif pa.types.is_fixed_size_list(column.type):
            size = column.type.list_size
            children = [self._array(column.children[0], first * size, stop * size)]
        elif column.children:
            children = [self._array(child, first, stop) for child in column.children]
        else:
            width = column.type.bit_width
            buffers.append(self._buffer(column, 1, first * width // 8, -(-stop * width // 8)))
        nulls = -1 if column.nulls else 0
        return pa.Array.from_buffers(column.type, rows, buffers, nulls, before, children)

    def _buffer(self, column: _Column, number: int, start: int, stop: int) -> Any:
        """Return a range of bytes of one of a column's buffers."""
        at, size = column.buffers[number]
        if not 0 <= start <= stop <= size:
            raise DataError(f"{self._name} has a column of {size:,} bytes with values beyond them: it is damaged")
        return self._file.read(at + start, stop - start, self._name)


def _int(buffer: Any) -> int:
    return int(struct.unpack("<i", buffer)[0])


def _has_dictionary(type_: Any) -> bool:
    type_ = getattr(type_, "storage_type", type_)
    if pa.types.is_dictionary(type_):
        return True
    return any(_has_dictionary(type_.field(i).type) for i in range(type_.num_fields))


def _is_nest(type_: Any) -> bool:
    return bool(pa.types.is_struct(type_) or pa.types.is_fixed_size_list(type_))


def _is_view(type_: Any) -> bool:
    return str(type_) in ("string_view", "binary_view")


def _has_offsets(type_: Any) -> bool:
    checks = pa.types.is_string, pa.types.is_binary, pa.types.is_list, pa.types.is_map
    large = pa.types.is_large_string, pa.types.is_large_binary, pa.types.is_large_list
    return any(check(type_) for check in (*checks, *large))


def _offsets(type_: Any) -> np.dtype[Any]:
    return np.dtype("<i8" if str(type_).startswith("large_") else "<i4")


def _is_readable(type_: Any) -> bool:
    """Return whether this module can read some rows of a type."""
    if pa.types.is_dictionary(type_) or _is_view(type_) or hasattr(type_, "storage_type"):
        return False
    return all(_is_readable(type_.field(i).type) for i in range(type_.num_fields))
