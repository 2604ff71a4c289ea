"""Rows of JSON by msgspec: only the requested columns are decoded, many rows in one call.

msgspec refuses NaN, Infinity, halves of surrogate pairs and numbers beyond float64. A block with such a value is read
row by row, and Python's json reads the rows that msgspec refuses. A row that json refuses too cannot be read.
"""

from __future__ import annotations

import io
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec
import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.formats.base import Array
from streamce.reading.formats.json_values import array, decoded_type, fit
from streamce.reading.formats.paths import EACH, VECTOR, Path, Step, Unfit, follow

MAX_DIGITS = 4000  # of an integer, because Python refuses to convert more
REFUSED = (msgspec.MsgspecError, UnicodeError, RecursionError)
NO_ELEMENT = "cannot be read: there is nothing before a comma"
REFUSED_NAME = re.compile(r'["\\\x00-\x1f]')  # msgspec takes no other names of fields
MAX_SHOWN = 60  # characters of a record in an error
LINE_END = ord("\n")


class Rows(NamedTuple):
    """The rows of a block that can be read: a value per column and row.

    ``n_records`` is the number of all records, ``numbers`` the positions of these rows among them, None if all could
    be read. ``first_error`` is that of the first record that could not, about its position.
    """

    columns: list[list[Any]]
    n_records: int
    numbers: Array | None
    first_error: DataError | None


@dataclass(frozen=True)
class Column:
    """A column to read: its path, and its Arrow type, None for values of any kind."""

    path: Path
    type: Any = None


class _RefuseAll:
    """A decoder that refuses all rows, so that Python's json reads them."""

    def decode(self, _: bytes) -> Any:
        raise msgspec.DecodeError

    decode_lines = decode


class RowReader:
    """Reads some columns of rows.

    Parameters
    ----------
    columns : mapping of str to Column
    raw : bool
        Whether values are returned as text: ``msgspec.Raw``. The columns have no types.
    """

    def __init__(self, columns: Mapping[str, Column], *, raw: bool = False) -> None:
        self._columns = columns
        leaf = msgspec.Raw if raw else Any
        groups: dict[str, list[tuple[Sequence[Step], Any]]] = {}
        for column in columns.values():
            type_ = leaf if column.type is None else decoded_type(column.type)
            groups.setdefault(column.path.column, []).append((column.path.steps, type_))
        specs = {name: _spec(each) for name, each in groups.items()}
        rename = {f"f{i}": name for i, name in enumerate(groups)}
        fields: list[tuple[str, Any, Any]] = [(field, specs[name] or Any, None) for field, name in rename.items()]
        self._fields = {name: operator.attrgetter(field) for field, name in rename.items()}
        self._unchecked = {name for name, spec in specs.items() if spec is None}
        is_allowed = not any(REFUSED_NAME.search(name) for name in groups)
        row = msgspec.defstruct("Row", fields, rename=rename if is_allowed else None, gc=False)
        self._blank = row()
        types: tuple[Any, Any] = row, list[row]  # type: ignore[valid-type]
        decoders: list[Any] = [msgspec.json.Decoder(each) if is_allowed else _RefuseAll() for each in types]
        self._decoder, self._list_decoder = decoders

    def read_lines(self, block: bytes) -> Rows:
        """Return the rows of lines, one per line that is not blank."""
        try:
            rows = self._decoder.decode_lines(block)
        except REFUSED:
            rows = None
        # NumPy counts line ends three times as fast as bytes.count.
        line_ends = int(np.count_nonzero(np.frombuffer(block, np.uint8) == LINE_END))
        n_lines = line_ends + (not block.endswith(b"\n"))
        if rows is None or len(rows) != n_lines:  # there are blank lines, or a row is not on a line of its own
            return self._one_by_one(split_lines(block))
        return self._rows(rows)

    def read_values(self, block: bytes, split: Callable[[bytes], Iterable[bytes]]) -> Rows:
        """Return the rows of values one after another. ``split`` finds them if one cannot be read."""
        try:
            return self._rows(self._decoder.decode_lines(block))
        except REFUSED:
            return self._one_by_one(split(block))

    def read_elements(self, block: bytes, split: Callable[[bytes], Iterable[bytes]]) -> Rows:
        """Return the rows of elements of an array, with a comma after each or all but the last."""
        try:
            return self._rows(self._list_decoder.decode(b"[%b]" % block.removesuffix(b",")))
        except REFUSED:
            return self._one_by_one(split(block))

    def unreadable(self, error: DataError) -> Rows:
        """Return the rows of a block with one record, which cannot be read."""
        return Rows([[] for _ in self._columns], 1, np.empty(0, np.int64), error)

    def _one_by_one(self, records: Iterable[bytes]) -> Rows:
        rows, numbers, count, first_error = [], [], 0, None
        exceptions: dict[int, list[Any]] = {}  # values of the rows that Python's json has read
        for number, record in enumerate(records):
            count += 1
            try:
                rows.append(self._decoder.decode(record))
            except REFUSED:
                try:
                    exceptions[len(rows)] = self._by_python(record)
                except DataError as error:
                    first_error = first_error or error.changed(row=number)
                    continue
                rows.append(self._blank)
            numbers.append(number)
        result = self._rows(rows, exceptions)
        if len(rows) == count:
            return result
        kept = np.array(numbers, np.int64)
        numbers_ = kept if result.numbers is None else kept[result.numbers]
        errors = [error for error in (first_error, _renumbered(result.first_error, kept)) if error is not None]
        return Rows(result.columns, count, numbers_, min(errors, key=lambda error: error.row or 0))

    def _by_python(self, record: bytes) -> list[Any]:
        """Return the values of a record that msgspec refuses. Raise DataError if it cannot be read."""
        row = object_in(record)
        values = []
        for name, column in self._columns.items():
            try:
                value = follow(row.get(column.path.column), column.path.steps)
                values.append(value if column.type is None else fit(value, column.type))
            except Unfit as error:
                raise DataError(error.found, column=name, entry=error.entry) from error
        return values

    def _rows(self, rows: list[Any], exceptions: Mapping[int, list[Any]] = {}) -> Rows:
        """Return the columns of decoded rows, without rows that a path does not fit."""
        columns: list[list[Any]] = []
        errors: dict[int, DataError] = {}
        for number, (name, column) in enumerate(self._columns.items()):
            values = [*map(self._fields[column.path.column], rows)]
            if column.path.steps or column.path.column in self._unchecked:
                values = [self._nested(value, name, column, i, errors) for i, value in enumerate(values)]
            for i, found in exceptions.items():
                values[i] = found[number]
            columns.append(values)
        if not errors:
            return Rows(columns, len(rows), None, None)
        kept = np.delete(np.arange(len(rows)), [*errors])
        columns = [[values[i] for i in kept] for values in columns]
        return Rows(columns, len(rows), kept, errors[min(errors)])

    def _nested(self, value: Any, name: str, column: Column, row: int, errors: dict[int, DataError]) -> Any:
        try:
            found = follow(value, column.path.steps)
            is_checked = column.type is None or column.path.column not in self._unchecked
            return found if is_checked else fit(found, column.type)
        except Unfit as error:
            errors.setdefault(row, DataError(error.found, row=row, column=name, entry=error.entry))
            return None


def batch(rows: Rows, types: Mapping[str, Any]) -> tuple[Any, Rows]:
    """Return the record batch of rows, and the rows that are in it: those whose values fit the types."""
    try:
        return _batch(rows, types), rows
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError):
        rows = _fitting(rows, types)
        return _batch(rows, types), rows


def _batch(rows: Rows, types: Mapping[str, Any]) -> Any:
    arrays = [array(values, type_) for values, type_ in zip(rows.columns, types.values(), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, [*types])


def _fitting(rows: Rows, types: Mapping[str, Any]) -> Rows:
    """Return the rows whose values fit the types."""
    errors: dict[int, DataError] = {}
    columns: list[list[Any]] = []
    for (name, type_), values in zip(types.items(), rows.columns, strict=True):
        fitting = []
        for i, value in enumerate(values):
            try:
                fitting.append(fit(value, type_))
            except Unfit as error:
                fitting.append(None)
                errors.setdefault(i, DataError(error.found, row=i, column=name, entry=error.entry))
        columns.append(fitting)
    if not errors:
        return rows._replace(columns=columns)
    numbers = np.arange(rows.n_records) if rows.numbers is None else rows.numbers
    kept = np.delete(np.arange(len(numbers)), [*errors])
    found = [rows.first_error, _renumbered(errors[min(errors)], numbers)]
    first = min((error for error in found if error is not None), key=lambda error: error.row or 0)
    return Rows([[values[i] for i in kept] for values in columns], rows.n_records, numbers[kept], first)


def _renumbered(error: DataError | None, numbers: Array) -> DataError | None:
    """Return an error about a position as one about the record that is there."""
    return None if error is None else error.changed(row=int(numbers[error.row]))


def split_lines(block: bytes) -> Iterator[bytes]:
    """Yield the lines of a block that are not blank."""
    return filter(None, map(bytes.strip, io.BytesIO(block)))


def names_in(block: bytes, split: Callable[[bytes], Iterable[bytes]]) -> tuple[dict[str, None], DataError | None]:
    """Return the names in the records of a block, in their order, and the error of the first without names."""
    names: dict[str, None] = {}
    first_error = None
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    for number, record in enumerate(split(block)):
        try:
            names |= dict.fromkeys(decoder.decode(record))
        except REFUSED:
            try:
                names |= dict.fromkeys(object_in(record))
            except DataError as error:
                first_error = first_error or error.changed(row=number)
        if not number and not first_error and (known := _with_same_names(block, names)):
            return known, None
    return names, first_error


def _with_same_names(block: bytes, names: dict[str, None]) -> dict[str, None] | None:
    """Return names if all records of a block, on lines or one after another, have no others; else None."""
    if any(map(REFUSED_NAME.search, names)):
        return None
    fields: list[tuple[str, Any, Any]] = [(f"f{i}", msgspec.Raw, None) for i in range(len(names))]
    rename = {f"f{i}": name for i, name in enumerate(names)}
    row = msgspec.defstruct("Row", fields, rename=rename, gc=False, forbid_unknown_fields=True)
    try:
        msgspec.json.Decoder(row).decode_lines(block)
    except REFUSED:
        return None
    return names


def object_in(record: bytes) -> dict[str, Any]:
    """Return the object in a record as Python's json reads it. Raise DataError if it is not an object."""
    if not record.strip():
        raise DataError(NO_ELEMENT)
    try:
        value = json.loads(record.decode(), parse_int=_integer)
    except json.JSONDecodeError as error:
        raise DataError(f"cannot be read: {error.msg} at character {error.pos}: {_shown(record)}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"cannot be read: byte {error.start} is not UTF-8: {_shown(record)}") from None
    except RecursionError:
        raise DataError("cannot be read: lists or objects are nested too deeply") from None
    if not isinstance(value, dict):
        raise DataError(f"is not a JSON object: {_shown(record)}")
    return value


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < MAX_DIGITS else float(digits)


def _shown(record: bytes) -> str:
    text = record.strip()[: 4 * MAX_SHOWN].decode(errors="replace")
    return repr(text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "...")


def _spec(paths: Sequence[tuple[Sequence[Step], Any]]) -> Any:
    """Return the type that msgspec shall decode a value as, so that paths into it can be followed.

    It is None if paths need the value in two ways. Then all of the value is decoded, and checked here.
    """
    if not all(steps for steps, _ in paths):
        return paths[0][1] if len(paths) == 1 else None
    if all(isinstance(steps[0], str) for steps, _ in paths):
        fields: dict[str, list[tuple[Sequence[Step], Any]]] = {}
        for (step, *rest), type_ in paths:
            fields.setdefault(str(step), []).append((rest, type_))
        specs = {name: _spec(each) for name, each in fields.items()}
        if None in specs.values():
            return None
        if [] in [steps for steps, _ in fields.get("values", [])]:
            specs = {**dict.fromkeys(VECTOR, Any), **specs}
        return TypedDict("Fields", specs, total=False) | None  # type: ignore[operator]
    if all(step is EACH or isinstance(step, int) for (step, *_), _ in paths):
        inner = _spec([(rest, type_) for (_, *rest), type_ in paths])
        return None if inner is None else list[inner] | None  # type: ignore[valid-type]
    return None
