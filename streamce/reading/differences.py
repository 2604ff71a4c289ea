"""Finds the first row in which two Arrow columns differ, whatever the formats that they come from.

Text is compared as the type of the other column, because CSV has only text. Numbers are compared by value, times by
instant. Two nulls, or two NaNs, are equal.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamce._support.short_repr import short_repr
from streamce.inputs import arrow

Array = np.ndarray[Any, Any]


def first_difference(a: Any, b: Any) -> int | None:
    """Return the first row in which two columns of equal length differ, or None."""
    a, b = _plain(a), _plain(b)
    if arrow.is_list(a.type) and arrow.is_list(b.type):
        return _first_in_lists(a, b)
    if pa.types.is_struct(a.type) and pa.types.is_struct(b.type):
        return _first_in_structs(a, b)
    different = _differences(a, b)
    null_a, null_b = _nulls(a), _nulls(b)
    different = np.where(null_a | null_b, null_a != null_b, different)
    return int(different.argmax()) if different.any() else None


def shown(column: Any, row: int) -> str:
    """Return an entry of a column as text, also if Python has no value for it."""
    try:
        return short_repr(column[row].as_py())
    except Exception:  # such as a time that no datetime holds, or a time zone that this machine does not know
        whole = column.slice(row, 1).cast(pa.int64()) if pa.types.is_temporal(column.type) else column.slice(row, 1)
        return f"{whole[0]} ({column.type})"


def _plain(column: Any) -> Any:
    """Return a column without dictionary and extension type, with the text of an empty cell as null."""
    column = getattr(column, "storage", column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if arrow.is_text(column.type) and not arrow.is_list(column.type):
        column = column.cast(pa.string()) if not pa.types.is_binary(column.type) else column
        if pa.types.is_string(column.type):  # CSV has no other null
            column = pc.if_else(pc.equal(column, ""), None, column)
    return column


def _nulls(column: Any) -> Array:
    return arrow.flat(column.is_null())[0]


def _differences(a: Any, b: Any) -> Array:
    """Return where two columns without lists differ. Entries that are null in one of them may have any value."""
    if pa.types.is_string(a.type) != pa.types.is_string(b.type):
        a, b = _read_text(a, b.type), _read_text(b, a.type)
    if arrow.is_number(a.type) and arrow.is_number(b.type):
        return _different_numbers(*arrow.flat(a), *arrow.flat(b))
    if pa.types.is_temporal(a.type) and pa.types.is_temporal(b.type):
        a, b = _finer_times(a, b)
    if a.type != b.type:
        return np.ones(len(a), bool)
    try:
        return ~arrow.flat(pc.fill_null(pc.equal(a, b), False))[0]
    except pa.ArrowNotImplementedError:  # maps, unions and views of lists
        return np.array([x != y for x, y in zip(a.to_pylist(), b.to_pylist(), strict=True)], bool)


def _read_text(column: Any, type_: Any) -> Any:
    """Return text as values of a type, or unchanged if not all of it can be read so."""
    if not pa.types.is_string(column.type):
        return column
    types = [pa.float64() if pa.types.is_decimal(type_) else type_]
    if pa.types.is_integer(type_):  # pandas writes whole numbers beside a null as 1.0
        types.append(pa.float64())
    if pa.types.is_timestamp(type_):  # text with a zone is not read as a type without one, and vice versa
        types.append(pa.timestamp(type_.unit, None if type_.tz else "UTC"))
    for each in types:
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return column.cast(each)
    return column


def _different_numbers(a: Array, null_a: Array | None, b: Array, null_b: Array | None) -> Array:
    """Return where numbers differ. Floats are compared with the precision of the narrower type."""
    if a.dtype.kind == b.dtype.kind == "f":  # a decimal number in a text file may be a float32 in the other
        narrow = min(a.dtype, b.dtype)
        a, b = a.astype(narrow, copy=False), b.astype(narrow, copy=False)
        return np.asarray((a != b) & ~(np.isnan(a) & np.isnan(b)))
    if "f" in (a.dtype.kind, b.dtype.kind):
        floats, whole = (a, b) if a.dtype.kind == "f" else (b, a)
        fits = np.abs(floats) < 2.0**63
        as_whole = np.where(fits, floats, 0.0).astype(np.int64)  # which tells integers apart that are one float
        return np.asarray((floats != whole) | (fits & (as_whole != whole)))
    return np.asarray((a.astype(np.uint64) != b.astype(np.uint64)) | ((a < 0) != (b < 0)))


def _finer_times(a: Any, b: Any) -> tuple[Any, Any]:
    """Return times in the finer of two units, dates as their start, or the columns unchanged if they do not fit."""
    zone = getattr(a.type, "tz", None) or getattr(b.type, "tz", None)
    units = [getattr(each.type, "unit", "s") for each in (a, b)]
    unit = max(units, key=("s", "ms", "us", "ns").index)
    is_moment = [pa.types.is_date(each.type) or pa.types.is_timestamp(each.type) for each in (a, b)]
    type_ = pa.timestamp(unit, zone) if all(is_moment) else None
    if all(pa.types.is_time(each.type) for each in (a, b)):
        type_ = pa.time64("ns")
    if all(pa.types.is_duration(each.type) for each in (a, b)):
        type_ = pa.duration(unit)
    if type_ is None:
        return a, b
    try:
        return a.cast(type_), b.cast(type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return a, b


def _first_in_lists(a: Any, b: Any) -> int | None:
    """Return the first row in which lists differ in length, as null or not, or in a value."""
    (values_a, lengths_a, _), (values_b, lengths_b, _) = arrow.entries(a), arrow.entries(b)
    different = (lengths_a != lengths_b) | (_nulls(a) != _nulls(b))
    row = int(different.argmax()) if different.any() else None
    ends = np.cumsum(lengths_a[:row])
    n_equal = int(ends[-1]) if ends.size else 0
    at = first_difference(values_a.slice(0, n_equal), values_b.slice(0, n_equal))
    return row if at is None else int(np.searchsorted(ends, at, side="right"))


def _first_in_structs(a: Any, b: Any) -> int | None:
    """Return the first row in which structs differ: as null or not, in their fields, or in a value of one."""
    names_a, names_b = [[each.field(i).name for i in range(each.num_fields)] for each in (a.type, b.type)]
    if names_a != names_b:
        return 0 if len(a) else None
    different = _nulls(a) != _nulls(b)
    rows = [int(different.argmax())] if different.any() else []
    fields = zip(a.flatten(), b.flatten(), strict=True)
    return min(rows + [row for x, y in fields if (row := first_difference(x, y)) is not None], default=None)
