"""The interface of formats: a class per format that gives names, types and record batches of one source."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.sources import one_line
from streamce.reading.formats.nested import field_names, type_at, values_at
from streamce.reading.formats.paths import Path, parse

NESTED_ROWS = 1 << 13  # rows of nested columns to read at a time, because their lists may be long

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Mark:
    """A row of a source, and the piece of the source that contains it.

    ``piece`` is the number of a record batch, or the byte of the unpacked text where a block begins. ``before`` is the
    number of rows before the piece.
    """

    row: int = 0
    piece: int = 0
    before: int = 0


START = Mark()


class Part(NamedTuple):
    """Some rows of a source, as a record batch.

    ``fraction`` is the fraction of the source up to their end, None if unknown. ``end`` marks the next row. ``numbers``
    are the rows of the source that the batch holds. It is None if these are all rows from the end of the part before.
    """

    batch: Any
    fraction: float | None
    end: Mark
    numbers: Array | None = None

    def source_row(self, row: int, first_row: int) -> int:
        """Return the number that a row has in the source. The part begins at row ``first_row`` of the source."""
        return first_row + row if self.numbers is None else int(self.numbers[row])

    def without(self, rows: Array, first_row: int) -> "Part":
        """Return the part without the rows at some positions."""
        keep = np.ones(self.batch.num_rows, bool)
        keep[rows] = False
        numbers = first_row + np.arange(len(keep)) if self.numbers is None else self.numbers
        return self._replace(batch=self.batch.filter(pa.array(keep)), numbers=numbers[keep])


Parts = Iterator[Part]


class ReadableRows(NamedTuple):
    """The rows of a piece of a source that can be read.

    ``positions`` are their places in the piece, None if all rows can be read. ``n_rows`` is the number of all rows.
    ``error`` is that of the first row that cannot be read.
    """

    table: Any
    positions: Array | None
    n_rows: int
    error: DataError | None = None


class UnreadableRows(Exception):
    """Rows of a part that cannot be read: the error of the first, and their positions in the part."""

    def __init__(self, error: DataError, rows: Array) -> None:
        super().__init__(error, rows)
        self.error: DataError = error
        self.rows: Array = rows


class Table(ABC):
    """An open source.

    ``has_types`` is False if types are guesses from the start of the source. ``has_only_text`` is True if even the
    distinction of text and numbers is a guess, as in CSV.
    """

    has_types = True
    first_unreadable: DataError | None = None  # the error of the first row that was left out
    has_only_text = False
    may_vary = False  # whether later batches may have other types that fit, such as integers and floating point
    schema: Any

    def names(self) -> list[str]:
        try:
            return list(self.schema.names)
        except UnicodeDecodeError as error:
            raise DataError(f"the name of a column is not UTF-8: {one_line(error)}") from error

    def path(self, name: str) -> Path:
        """Return the path that a selected name stands for."""
        return parse(name, self.names()) or Path(name)

    def type(self, name: str) -> Any:
        """Return the type of a column, or of what a path finds in one."""
        path = self.path(name)
        if path.steps:
            return type_at(self.schema.field(path.column).type, path.steps, name)
        found = self.schema.field(name).type
        if len(getattr(found, "shape", ())) > 1:
            return found  # a tensor, because its storage type does not hold its axes
        return getattr(found, "storage_type", found)

    def partition_names(self) -> list[str]:
        """Return the names of columns that only the names of folders hold."""
        return []

    def has_type(self, name: str) -> bool:
        """Return whether a column has a type, and not only a guess."""
        return self.has_types

    def looks_numeric(self, name: str) -> bool:
        """Return whether a column of guessed text seems to hold numbers and usual spellings of missing values."""
        return False

    def width(self, name: str) -> int:
        """Return the number of values in a row of a list column; 1 if only reading would tell."""
        return int(getattr(self.type(name), "list_size", 1) or 1)

    def fields(self, path: Path) -> Sequence[str] | None:
        """Return the names of the fields of the objects at a path; None if there are no objects."""
        return field_names(type_at(self.schema.field(path.column).type, path.steps, str(path)), path.depth)

    def read(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        """Yield parts as ``parts`` does, with columns of ``types`` that are names or paths."""
        paths = {name: self.path(name) for name in types}
        if not any(path.steps for path in paths.values()):
            yield from self.parts(types, rows, start)
            return
        columns = {path.column: self.type(path.column) for path in paths.values()}
        for part in self.parts(columns, min(rows, NESTED_ROWS), start):
            arrays = [nested_column(part.batch, path) for path in paths.values()]
            yield part._replace(batch=pa.RecordBatch.from_arrays(arrays, [*types]))

    def marks(self) -> list[Mark]:
        """Return the rows at which reading can begin without earlier rows, in order. The first is the start."""
        return [START]

    def holds_only_integers(self, name: str) -> bool:
        """Return whether nothing but integers and nulls was in a column so far."""
        return bool(pa.types.is_integer(self.type(name)))

    @abstractmethod
    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        """Yield parts of at most ``rows`` rows with the columns of ``types``, from ``start`` on.

        Rows that cannot be read are left out if the user allows it. Otherwise they are an error.
        """


def nested_column(batch: Any, path: Path) -> Any:
    """Return the column of a batch that a path stands for. An error names the path."""
    try:
        return values_at(batch.column(path.column), path.steps)
    except DataError as error:
        raise error.changed(column=str(path)) from error


def slice_part(part: Part, start: int, stop: int, first_row: int) -> Part:
    """Return some rows of a part that begins at row ``first_row`` of the source."""
    if stop == part.batch.num_rows:
        fraction, end = part.fraction, part.end
    else:
        fraction, end = None, replace(part.end, row=part.source_row(stop, first_row))
    numbers = None if part.numbers is None else part.numbers[start:stop]
    return Part(part.batch.slice(start, stop - start), fraction, end, numbers)


def parts_without(batch: Any, numbers: Array, rows: int, fraction: float | None, start: int, end: Mark) -> Parts:
    """Yield parts of a batch that holds only some rows of the source, from row ``start`` on.

    ``numbers`` are these rows. ``end`` marks the row after the last row that was read. There is always a part that ends
    there, if need be without rows.
    """
    first = int(np.searchsorted(numbers, start))
    while first < len(numbers):
        stop = min(first + rows, len(numbers))
        row = end.row if stop == len(numbers) else int(numbers[stop])
        yield Part(batch.slice(first, stop - first), fraction, replace(end, row=row), numbers[first:stop])
        first = stop
    if end.row > start and not (numbers >= start).any():
        yield Part(batch.slice(0, 0), fraction, end, numbers[:0])


def slice_batch(batch: Any, rows: int, before: int, start: int) -> Iterator[tuple[Any, int]]:
    """Yield slices of a batch, from row ``start`` of the source on, and the row after each.

    ``before`` is the number of rows before the batch.
    """
    for first in range(max(0, start - before), batch.num_rows, rows):
        part = batch.slice(first, rows)
        yield part, before + first + part.num_rows
