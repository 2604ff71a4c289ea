"""Blocks of CSV as Arrow tables, and a second look at blocks with rows that cannot be read.

Arrow's reader is fast, but refuses a block that contains one cell it cannot convert. The second look reads cells as
bytes and converts the distinct ones by the same reader, so that both looks give a cell the same value.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from streamce.errors import DataError
from streamce.reading.files.read_options import ReadOptions
from streamce.reading.formats.base import Array, ReadableRows
from streamce.reading.formats.records import SKIP

NULLS = ("", "NA", "N/A", "NULL", "null")  # without "nan", which is a number
# Usual spellings of missing values, which are no numbers, and so no reason to take a column of numbers for text.
MISSING = frozenset((*NULLS, "-", "--", ".", "?", "None", "none", "\\N", "#N/A", "n/a", "nil", "<NA>", "missing"))
# All numbers, and some more cells: what it does not match is no number, which is found without Arrow's reader.
NUMBER = (
    r"(?i)^\s*[+-]?(?:[0-9]+[.,]?[0-9]*(?:e[+-]?[0-9]+)?|[.,][0-9]+(?:e[+-]?[0-9]+)?|0x[0-9a-f]+|nan\S*|inf\w*)\s*$"
)
SHOWN = 60  # characters of a cell in an error
QUOTED = "is in quotes: set --quote '\"' if quotes enclose cells of this TSV, or --quote '' if they are text"


class QuotedCell(DataError):
    """Error that a cell is in quotes where quotes are text. Such rows are never left out."""

    def __init__(self, *, row: int | None = None, column: str | None = None) -> None:
        super().__init__(QUOTED, row=row, column=column)


class CsvParser:
    """Converts text of whole rows to tables.

    Parameters
    ----------
    delimiter : str
    quote : str
        "" if quotes are text.
    options : ReadOptions
    refuses_quotes : bool
        Whether a cell in quotes is an error, because the user has not said what quotes mean.
    """

    def __init__(self, delimiter: str, quote: str, options: ReadOptions, refuses_quotes: bool) -> None:
        self._delimiter, self._quote, self._options = delimiter, quote, options
        self._refuses_quotes = refuses_quotes
        self._null_values = [*NULLS, *options.null]

    def parse(
        self,
        text: bytes,
        types: Mapping[str, Any],
        names: Sequence[str] | None,
        on_wrong_length: Callable[[Any], str] | None = None,
    ) -> Any:
        """Return the columns of ``types``, or all with guessed types if that is empty.

        The first row has the names if ``names`` is None. ``on_wrong_length`` is called for a row with another number
        of cells than there are names.
        """
        parse = csv.ParseOptions(
            delimiter=self._delimiter,
            quote_char=self._quote or False,
            newlines_in_values=bool(self._quote),
            invalid_row_handler=on_wrong_length,
        )
        return self._with_nulls(self._read(text, types, names, parse))

    def guess_types(self, text: bytes) -> Any:
        """Return all columns with guessed types. Rows that cannot be read show no types."""
        try:
            return self.parse(text, {}, None)
        except pa.ArrowInvalid:
            if not text:
                raise
            return self.parse(_with_text_rows(text), {}, None, lambda row: "skip")

    def _read(self, text: bytes, types: Mapping[str, Any], names: Sequence[str] | None, parse: Any) -> Any:
        # Without threads Arrow's errors name their row, and reading is as fast.
        read = csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names)
        convert = csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=self._null_values,
            decimal_point=self._options.decimal or ".",
        )
        return csv.read_csv(pa.BufferReader(text), read, parse, convert)

    def _with_nulls(self, table: Any) -> Any:
        """Return a table with nulls in text where the user says so. Arrow would also take the usual spellings there."""
        if self._options.null:
            from pyarrow import compute as pc  # here, because it is slow to import

            for i, column in enumerate(table.columns):
                if pa.types.is_string(column.type):
                    is_null = pc.is_in(column, value_set=pa.array(self._options.null))
                    table = table.set_column(i, table.field(i), pc.if_else(is_null, None, column))
        return table

    # ---- the second look ----

    def readable_rows(self, text: bytes, types: Mapping[str, Any], names: Sequence[str] | None) -> ReadableRows:
        """Return the rows of a text that can be read.

        Raise QuotedCell for a cell in quotes where quotes are text, also if unreadable rows are left out, because a
        program that quotes some cells would lose all of these rows.
        """
        lengths: dict[int, DataError] = {}  # the error of each row with another number of cells
        before = 2 if names is None else 1  # Arrow counts rows from 1, with the header

        def leave_out(row: Any) -> str:
            lengths[row.number - before] = self._length_error(row)
            return "skip"

        is_utf8 = _is_utf8(text)
        if not is_utf8:  # because Arrow hands over rows as text
            text = text.decode("latin-1").encode()
        cells = self.parse(text, dict.fromkeys(types, pa.binary()), names, leave_out)
        count = cells.num_rows + len(lengths)
        positions = np.setdiff1d(np.arange(count), np.fromiter(lengths, np.int64, len(lengths)), assume_unique=True)
        columns, readable = [], np.ones(len(positions), bool)
        errors = {row: error.changed(row=row) for row, error in [*lengths.items()][:1]}
        for name, type_ in types.items():
            column = cells.column(name) if is_utf8 else _as_latin_1(cells.column(name))
            values, can_read = self._converted(column, type_)
            columns.append(values)
            if not can_read.all():
                if self._options.skip_unreadable and self._refuses_quotes:
                    _refuse_quotes(name, column, can_read, positions)
                first = int(np.argmin(can_read))
                error = self._cell_error(column[first].as_py(), type_)
                row = int(positions[first])
                errors.setdefault(row, error.changed(row=row, column=name))
                readable &= can_read
        table = self._with_nulls(pa.table(columns, list(types))).filter(pa.array(readable))
        return ReadableRows(table, positions[readable], count, errors[min(errors)] if errors else None)

    def _converted(self, column: Any, type_: Any) -> tuple[Any, Array]:
        """Return a column of bytes as values of a type, and the mask of cells that can be converted."""
        from pyarrow import compute as pc

        cells = pa.concat_arrays([pa.nulls(0, pa.binary()), *column.chunks]).dictionary_encode()
        distinct = cells.dictionary
        can_read = np.ones(len(distinct), bool)
        if pa.types.is_integer(type_) or pa.types.is_floating(type_):
            is_null = pc.is_in(distinct, value_set=pa.array(self._null_values).cast(pa.binary()))
            can_read = np.array(pc.or_(is_null, pc.match_substring_regex(distinct, NUMBER)), bool)
        pieces = self._convert(distinct, can_read, type_, 0, len(distinct))
        values = pa.concat_arrays([pa.nulls(0, type_), *pieces])
        return values.take(cells.indices), can_read[np.asarray(cells.indices)]

    def _convert(self, distinct: Any, can_read: Array, type_: Any, start: int, stop: int) -> list[Any]:
        """Return some distinct cells as values of a type, and clear ``can_read`` for those that cannot be converted."""
        if not can_read[start:stop].any():
            return [pa.nulls(stop - start, type_)]
        cells = distinct.slice(start, stop - start).to_pylist()
        some = zip(cells, can_read[start:stop], strict=True)
        lines = [b'"%b"' % (cell.replace(b'"', b'""') if can else b"") for cell, can in some]
        parse = csv.ParseOptions(newlines_in_values=True)
        try:
            return [*self._read(b"\n".join(lines) + b"\n", {"": type_}, [""], parse).column(0).chunks]
        except pa.ArrowInvalid:
            if stop - start == 1:
                can_read[start] = False
                return [pa.nulls(1, type_)]
            middle = (start + stop) // 2
            return [
                *self._convert(distinct, can_read, type_, start, middle),
                *self._convert(distinct, can_read, type_, middle, stop),
            ]

    def looks_numeric(self, text: bytes, name: str) -> bool:
        """Return whether all cells of a column are numbers, or usual spellings of missing values."""
        from pyarrow import compute as pc

        cells = self.parse(_with_text_rows(text), {name: pa.binary()}, None, lambda row: "skip").column(name)
        distinct = cells.unique()
        missing = pa.array([*MISSING, *self._options.null]).cast(pa.binary())
        numbers = distinct.filter(pc.invert(pc.is_in(distinct, value_set=missing)))
        return len(numbers) > 0 and bool(self._converted(pa.chunked_array([numbers]), pa.float64())[1].all())

    # ---- errors ----

    def _length_error(self, row: Any) -> DataError:
        cells = "1 cell" if row.actual_columns == 1 else f"{row.actual_columns} cells"
        found = f"it has {cells}, expected {row.expected_columns}: {_shown(row.text)}"
        return DataError(found, hint=self._hints())

    def _cell_error(self, cell: bytes, type_: Any) -> DataError:
        if self._refuses_quotes and re.fullmatch(rb'(?s)".*"', cell):
            return QuotedCell()
        if pa.types.is_string(type_):
            return DataError(
                f"is {_shown(cell)}, expected UTF-8", hint=self._hints("--encoding names another encoding")
            )
        expected = "a time" if pa.types.is_temporal(type_) else "true or false"
        if pa.types.is_integer(type_) or pa.types.is_floating(type_):
            expected = "a whole number" if pa.types.is_integer(type_) else "a number"
        text = cell.decode(errors="replace")
        can_be_null = 0 < len(text) <= SHOWN and text.isprintable() and "\ufffd" not in text
        null = f"--null {shlex.quote(text)} reads it as missing" if can_be_null else ""
        return DataError(f"is {_shown(cell)}, expected {expected}", hint=self._hints(null))

    def _hints(self, hint: str = "") -> str:
        return ", ".join(filter(None, [hint, "" if self._options.skip_unreadable else SKIP]))


def _with_text_rows(text: bytes) -> bytes:
    """Return a text whose rows after the header are UTF-8, because Arrow hands over rows of another length as text."""
    header, end, rows = text.partition(b"\n")
    return header + end + rows.decode(errors="replace").encode()


def _refuse_quotes(name: str, column: Any, can_read: Array, positions: Array) -> None:
    """Raise QuotedCell if a cell that cannot be read is in quotes."""
    rows = np.flatnonzero(~can_read)
    for row, cell in zip(rows, column.take(pa.array(rows)).to_pylist(), strict=True):
        if re.fullmatch(rb'(?s)".*"', cell):
            raise QuotedCell(row=int(positions[row]), column=name)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_latin_1(column: Any) -> Any:
    """Return the cells of a column of UTF-8 as bytes of Latin-1."""
    cells = pa.concat_arrays([pa.nulls(0, pa.binary()), *column.chunks]).dictionary_encode()
    distinct = [cell.decode().encode("latin-1") for cell in cells.dictionary.to_pylist()]
    return pa.chunked_array([pa.array(distinct, pa.binary()).take(cells.indices)])


def _shown(cell: bytes | str) -> str:
    """Return a cell in quotes, shortened. Bytes that are not UTF-8 are escaped."""
    text = cell if isinstance(cell, str) else cell.decode(errors="backslashreplace")
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...")
