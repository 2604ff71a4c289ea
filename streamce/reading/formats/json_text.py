"""JSON: lines, objects one after another, or one array of objects. Types follow the values at the start of the text."""

from __future__ import annotations

import codecs
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.sources import Source
from streamce.reading.formats import text
from streamce.reading.formats.base import START, Array, Mark, Part, Parts
from streamce.reading.formats.json_records import (
    SPACE,
    DetectingRecords,
    Layout,
    records_of,
    split_elements,
    split_values,
)
from streamce.reading.formats.json_rows import Column, RowReader, Rows, batch, names_in, split_lines
from streamce.reading.formats.json_values import infer
from streamce.reading.formats.paths import Path
from streamce.reading.formats.records import RecordError, Records
from streamce.reading.formats.text import TextTable

DECODED = 1 << 18  # bytes decoded at a time, so that the objects that are made fit into the cache
CUT_SHORT = "the array is not closed: the text is cut short, or a bracket or quote is missing"


class JsonTable(TextTable):
    """JSON in any layout, which the start of the text decides. An object is a row, and its names are columns."""

    def __init__(self, source: Source, stream: Any = None) -> None:
        self._layout: Layout | None = None
        self._ahead: list[bytes] = []  # blocks after the first that were read to find the names of columns
        self._types: dict[str, Any] = {}
        super().__init__(source, stream)

    def type(self, name: str) -> Any:
        if name not in self._types:
            self._types[name] = self._inferred(name)
        return self._types[name]

    def fields(self, path: Path) -> list[str] | None:
        reader = RowReader({"": Column(path)}, raw=True)
        return _fields(self._read(self._first, reader, is_first=True).columns[0], path.depth)

    def read(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        return self.parts(types, rows, start)

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        reader = RowReader({name: Column(self.path(name), type_) for name, type_ in types.items()})
        piece, before = start.piece, start.before
        blocks = self._blocks_from(piece)
        while True:
            block_rows, size, error = self._several(blocks, reader, types, before, is_first=piece == 0)
            if not size:
                return
            fraction = min(1.0, (piece + size) / self._size) if self._size else None
            after, numbers = before + sum(each.n_records for _, each in block_rows), _numbers(block_rows, before)
            if error is not None and not self._source.options.skip_unreadable:  # the rows before it come first
                after = error.row if error.row is not None else after
                numbers = None if numbers is None else numbers[numbers < after]
            elif error is not None:
                self._note_unreadable(error, error.row or 0, start.row)
            columns = _joined([columns for columns, _ in block_rows])
            for first, last, end in _slices(numbers, before, after, rows, start.row):
                part_numbers = None if numbers is None else numbers[first:last]
                yield Part(columns.slice(first, last - first), fraction, Mark(end, piece, before), part_numbers)
            if error is not None and not self._source.options.skip_unreadable:
                raise error
            piece, before = piece + size, after

    def _several(
        self, blocks: Iterator[bytes], reader: RowReader, types: Mapping[str, Any], before: int, *, is_first: bool
    ) -> tuple[list[tuple[Any, Rows]], int, DataError | None]:
        """Return the batches of the next blocks, their bytes, and the error of the first row that cannot be read.

        They end after a block with such an error, unless these rows are left out.
        """
        found: list[tuple[Any, Rows]] = []
        size, first_error = 0, None
        while size < text.TEXT_BLOCK and (block := self._next(blocks, before)):
            columns, rows = batch(self._read(block, reader, is_first=is_first and not size), types)
            rows = rows._replace(columns=[])  # frees the values while they are in the cache
            found.append((columns, rows))
            size += len(block)
            if rows.first_error is not None:
                first_error = first_error or rows.first_error.changed(row=before + (rows.first_error.row or 0))
                if not self._source.options.skip_unreadable:
                    break
            before += rows.n_records
        return found, size, first_error

    def _inferred(self, name: str) -> Any:
        """Return the type of a column by its values in the first block that has any."""
        reader = RowReader({name: Column(self.path(name))})
        found = infer(self._read(self._first, reader, is_first=True).columns[0], self._earlier_type(name))
        if pa.types.is_null(found) and self._source.filesystem is not None:
            for block in itertools.islice(self._cut(self._unpacked(), 0), 1, None):
                found = infer(self._read(block, reader, is_first=False).columns[0])
                if not pa.types.is_null(found):
                    break
        return found

    def _earlier_type(self, name: str) -> Any:
        """Return the type that rows before this text have shown for a column; None if there are none."""
        return None

    @property
    def _read_size(self) -> int:
        return min(text.TEXT_BLOCK, DECODED)

    def _blocks_from(self, offset: int) -> Iterator[bytes]:
        if offset:
            return super()._blocks_from(offset)
        return itertools.chain([self._first] if self._first else [], self._ahead, self._blocks)

    def _records(self, offset: int) -> Records:
        longest = self._source.options.max_record
        if self._layout is None:
            return DetectingRecords(longest, functools.partial(setattr, self, "_layout"))
        return records_of(self._layout, longest, inside=offset > 0)

    def _read(self, block: bytes, reader: RowReader, *, is_first: bool) -> Rows:
        """Return the rows of a block."""
        if is_first:
            block = block.removeprefix(codecs.BOM_UTF8)
        if self._layout is Layout.VALUES:
            return reader.read_values(block, split_values)
        if self._layout is not Layout.ARRAY:
            return reader.read_lines(block)
        if not block.endswith((b",", b"]")):
            return reader.unreadable(DataError(CUT_SHORT, row=0))
        if is_first:
            block = block.lstrip(SPACE).removeprefix(b"[")
        return reader.read_elements(block.removesuffix(b"]"), split_elements)

    def _next_ahead(self) -> bytes:
        """Return the next block, or no bytes at the end or before a record that is an error when it is reached."""
        try:
            return next(self._blocks, b"")
        except RecordError as error:
            self._blocks = _raising(error)
            return b""

    def _names_in(self, block: bytes, *, is_first: bool) -> tuple[dict[str, None], DataError | None]:
        """Return the names in a block, and the error of its first record without names."""
        if is_first:
            block = block.removeprefix(codecs.BOM_UTF8)
        if self._layout is not Layout.ARRAY:
            is_values = self._layout is Layout.VALUES
            return names_in(block, split_values if is_values else split_lines)
        if is_first:
            block = block.lstrip(SPACE).removeprefix(b"[")
        return names_in(block.removesuffix(b"]"), split_elements)

    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        """Return a table with the names of the columns in the first blocks."""
        names, error = self._names_in(block, is_first=True)
        size = len(block)
        while size < text.TEXT_BLOCK and (more := self._next_ahead()):
            self._ahead.append(more)
            size += len(more)
            names |= self._names_in(more, is_first=False)[0]
        if error is not None and not names:
            raise error
        return pa.table([pa.nulls(0)] * len(names), [*names])  # without pa.array, whose first call imports pandas


def _raising(error: RecordError) -> Iterator[bytes]:
    """Return an iterator that raises an error."""
    yield from ()
    raise error


def _joined(batches: list[Any]) -> Any:
    """Return the rows of record batches as one."""
    if len(batches) == 1:
        return batches[0]
    parts = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return parts[0] if parts else batches[0]


def _numbers(blocks: list[tuple[Any, Rows]], before: int) -> Array | None:
    """Return the numbers of the rows of blocks in the source, None if all rows from ``before`` on can be read."""
    if all(rows.numbers is None for _, rows in blocks):
        return None
    numbers = []
    for _, rows in blocks:
        numbers.append(before + (np.arange(rows.n_records) if rows.numbers is None else rows.numbers))
        before += rows.n_records
    return np.concatenate(numbers)


def _slices(numbers: Array | None, before: int, after: int, rows: int, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield slices of the rows from ``before`` to ``after``, from row ``start`` on, and the row after each.

    ``numbers`` are those of the rows that can be read, None if these are all. The last slice ends at ``after``.
    """
    count = after - before if numbers is None else len(numbers)
    first = max(0, start - before) if numbers is None else int(np.searchsorted(numbers, start))
    while first < count:
        last = min(first + rows, count)
        end = after if last == count else before + last if numbers is None else int(numbers[last])
        yield first, last, end
        first = last
    if not count and after > start:
        yield 0, 0, after


def _fields(values: Iterable[Any], depth: int) -> list[str] | None:
    """Return the names of the fields of objects, in lists of some depth; None if there are no objects."""
    for _ in range(depth):
        values = itertools.chain.from_iterable(value for value in values if isinstance(value, list))
    names: dict[str, None] = {}
    is_object = False
    for value in values:
        if isinstance(value, msgspec.Raw):
            encoded = bytes(value)
            if not encoded.startswith(b"{"):
                continue
            value = msgspec.json.decode(encoded, type=dict[str, msgspec.Raw])
        if isinstance(value, dict):
            is_object = True
            names |= dict.fromkeys(value)
    return [*names] if is_object else None
