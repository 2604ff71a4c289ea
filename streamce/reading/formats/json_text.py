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
from streamce.reading.formats.base import START, Array, Mark, Part, Parts
from streamce.reading.formats.json_records import (
    SPACE,
    DetectingRecords,
    Layout,
    records_of,
    split_elements,
    split_values,
)
from streamce.reading.formats.json_rows import Column, RowReader, Rows, batch, names_of
from streamce.reading.formats.json_values import infer
from streamce.reading.formats.paths import Path, parse
from streamce.reading.formats.records import Records
from streamce.reading.formats.text import TextTable

CUT_SHORT = "the array is not closed: the text is cut short, or a bracket or quote is missing"


class JsonTable(TextTable):
    """JSON in any layout, which the start of the text decides. An object is a row, and its names are columns."""

    def __init__(self, source: Source, stream: Any = None) -> None:
        self._layout: Layout | None = None
        self._types: dict[str, Any] = {}
        super().__init__(source, stream)

    def type(self, name: str) -> Any:
        if name not in self._types:
            self._types[name] = self._inferred(name)
        return self._types[name]

    def fields(self, path: Path) -> list[str] | None:
        reader = RowReader({"": Column(path)}, raw=True)
        return _fields(self._read(self._first, reader, is_first=True).columns[0])

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        reader = RowReader({name: Column(self._path(name), type_) for name, type_ in types.items()})
        piece, before = start.piece, start.before
        blocks = self._blocks_from(piece)
        while block := self._next(blocks, before):
            columns, found = batch(self._read(block, reader, is_first=piece == 0), types)
            fraction = min(1.0, (piece + len(block)) / self._size) if self._size else None
            after, numbers, error = before + found.n_records, found.numbers, None
            if found.first_error is not None and numbers is not None:
                row = found.first_error.row or 0
                error = found.first_error.changed(row=before + row)
                if not self._source.options.skip_unreadable:  # the rows before it come first
                    after, numbers = before + row, numbers[numbers < row]
                elif before + row >= start.row:
                    self.first_unreadable = self.first_unreadable or error
            for first, last, end in _slices(numbers, before, after, rows, start.row):
                part_numbers = None if numbers is None else before + numbers[first:last]
                yield Part(columns.slice(first, last - first), fraction, Mark(end, piece, before), part_numbers)
            if error is not None and not self._source.options.skip_unreadable:
                raise error
            piece, before = piece + len(block), after

    def _path(self, name: str) -> Path:
        return parse(name, self.schema.names) or Path(name)

    def _inferred(self, name: str) -> Any:
        """Return the type of a column by its values in the first block that has any."""
        reader = RowReader({name: Column(self._path(name))})
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

    def _records_in(self, block: bytes) -> Iterable[bytes]:
        """Return the records of the first block."""
        block = block.removeprefix(codecs.BOM_UTF8)
        if self._layout is Layout.VALUES:
            return split_values(block)
        if self._layout is not Layout.ARRAY:
            return (line for line in block.split(b"\n") if line.strip())
        return split_elements(block.lstrip(SPACE).removeprefix(b"[").removesuffix(b"]"))

    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        """Return a table with the names of the columns in a block."""
        names, error = names_of(self._records_in(block))
        if error is not None and not names:
            raise error
        return pa.schema([(name, pa.null()) for name in names]).empty_table()

    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        return DataError(message)


def _slices(numbers: Array | None, before: int, after: int, rows: int, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield slices of the rows of a block, from row ``start`` of the source on, and the row after each.

    ``numbers`` are the places of the rows that can be read, None if these are all. The last slice ends after the block.
    """
    count = after - before if numbers is None else len(numbers)
    first = max(0, start - before) if numbers is None else int(np.searchsorted(numbers, start - before))
    while first < count:
        last = min(first + rows, count)
        end = after if last == count else before + (last if numbers is None else int(numbers[last]))
        yield first, last, end
        first = last
    if not count and after > start:
        yield 0, 0, after


def _fields(values: Iterable[Any]) -> list[str] | None:
    """Return the names of the fields of objects, also in lists; None if there are none."""
    names: dict[str, None] = {}
    is_object = False
    for value in values:
        if isinstance(value, msgspec.Raw):
            text = bytes(value)
            if not text.startswith(b"{"):
                continue
            value = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        if isinstance(value, dict):
            is_object = True
            names |= dict.fromkeys(value)
        elif isinstance(value, list) and (inner := _fields(value)) is not None:
            is_object = True
            names |= dict.fromkeys(inner)
    return [*names] if is_object else None
