"""Moments as microseconds since 1970 in UTC: from datetimes, from numbers in a unit since 1970, and from text.

Text is in the form of ISO 8601, or a number. Arrow reads columns of text whose values all have a zone or all have none.
Python reads other text, value by value. Both accept the same text, so the result does not depend on which one reads.
Anything finer than a microsecond is dropped.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import Any, NamedTuple

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.core.grouping.key_index import EARLIEST, LATEST
from streamce.errors import InputError
from streamce.inputs import arrays, interop
from streamce.inputs.arrays import Array
from streamce.keys.encoding import EPOCH, MICROSECOND
from streamce.keys.key_columns import Column, conversion_errors, convert_column, datetime_column

# The microseconds of each unit, and by how many of the unit they are divided.
UNITS = {"s": (1_000_000, 1), "ms": (1000, 1), "us": (1, 1), "ns": (1, 1000)}
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
INT64 = -(1 << 63), (1 << 63) - 1
NO_MOMENTS = ("", "NA", "N/A", "NULL", "null")  # as text formats spell missing values
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?(?:Z|\s?UTC|([+-])(\d\d):?(\d\d)?)?)?",
    re.ASCII,
)
TIME_UNIT_HINT = "for {0} use datetime64[{1}], or time_unit='{1}' in update_from"
ISO_EXPECTED = "a moment such as 2024-03-31T01:30:00Z"


class Moments(NamedTuple):
    """Moments, and the unit of those that are numbers: s, ms, us or ns since 1970."""

    values: Any
    unit: str = "s"


def convert_moments(moments: Any, name: str) -> Column:
    """Return moments as a column of microseconds. Numbers are seconds since 1970, unless ``Moments`` has their unit."""
    values, unit = moments if isinstance(moments, Moments) else (moments, "s")
    with conversion_errors(values, name) as checked:
        if interop.has_arrow_protocol(checked) and not hasattr(checked, "__array__"):
            checked = interop.import_arrow(checked)
        column = None
        if hasattr(checked, "dictionary_encode"):
            column = _arrow(checked, name, unit)
        elif not isinstance(checked, (str, bytes, dt.date, np.datetime64)):
            column = _numbers(checked, name, unit)
        if column is None:
            column = convert_column(checked, name, cut=True)
    if column.kind == "str":
        column = _parse(column, name, unit)
    if column.kind not in ("datetime", None):
        expected = f"datetimes, ISO 8601 text, or {NAMES[unit]} since 1970"
        raise InputError(name, f"holds keys of kind {column.kind}", expected)
    return column


def find_invalid(moments: Moments, name: str) -> tuple[InputError | None, list[int]]:
    """Return the error for the first value of an Arrow array that is no moment, and the positions of all of them."""
    try:
        convert_moments(moments, name)
    except InputError as error:
        size = len(moments.values)
        if error.index is None or size == 1:
            return error, [*range(size)]
        half = size // 2
        (first, head), (second, tail) = (
            find_invalid(moments._replace(values=part), name) for part in (moments.values[:half], moments.values[half:])
        )
        return first or second, [*head, *(half + i for i in tail)]
    return None, []


# ---- numbers ----


def _numbers(source: Any, name: str, unit: str) -> Column | None:
    """Return the column of an array or list of numbers, which may be null; None if these are not numbers."""
    arrays.check_unmasked(source, name, "a timestamp")
    try:
        # A copy, because the values that are checked must be the values that are used.
        numbers = np.array(np.atleast_1d(np.asarray(source)))
        null = np.zeros(numbers.shape, np.bool_)
        if numbers.dtype.kind == "O":
            data = arrays.convert(source, name)
            numbers, null = data.values, null if data.null_mask is None else data.null_mask
    except Exception:  # any exception of a third-party array, which convert_column explains
        return None
    return _of_numbers(numbers, null, name, unit)


def _of_numbers(numbers: Array, null: Array, name: str, unit: str) -> Column | None:
    if numbers.dtype.kind not in "iuf" or numbers.ndim != 1:
        return None
    factor, divisor = UNITS[unit]
    if numbers.dtype.kind == "f":
        seconds = numbers.astype(np.float64)
        null = null | np.isnan(seconds)
        # Seconds and milliseconds are decimal fractions, of which float64 is the nearest. In finer units it is exact.
        micro = np.floor_divide(seconds, divisor) if factor == 1 else np.rint(seconds * factor)
        wrong = ~((micro >= EARLIEST) & (micro <= LATEST)) & ~null
        micro = np.where(null | wrong, 0, micro)
    else:
        low, high = (limit * divisor // factor for limit in (EARLIEST, LATEST + 1))
        wrong = ((numbers < max(low, INT64[0])) | (numbers > min(high, INT64[1]))) & ~null
        micro = np.where(null | wrong, 0, numbers).astype(np.int64) // divisor * factor
        wrong |= (micro < EARLIEST) | (micro > LATEST)
    if wrong.any():
        index = arrays.first_index(wrong)
        raise _out_of_range(numbers[index].item(), name, unit, index)
    return datetime_column(micro.astype(np.int64), null)


def _out_of_range(value: float, name: str, unit: str, index: tuple[int, ...]) -> InputError:
    """Return the error for a number outside of the years 1 to 9999, which names the unit in which it is today's."""
    finer = [each for each in UNITS if 1e8 <= abs(value) * UNITS[each][0] / UNITS[each][1] / 1e6 <= 1e10]
    hint = TIME_UNIT_HINT.format(NAMES[finer[0]], finer[0]) if finer else ""
    expected = f"{NAMES[unit]} since 1970, in the years 1 to 9999"
    return InputError(name, f"is {value}", expected, hint=hint, index=index, value=value)


# ---- columns of Arrow ----


def _arrow(source: Any, name: str, unit: str) -> Column | None:
    """Return the column of an Arrow array of numbers or text, None if it holds something else."""
    source = source.combine_chunks() if hasattr(source, "combine_chunks") else source
    if hasattr(source, "chunks"):  # chunks are missing, or cannot be combined
        return None
    source = getattr(source, "storage", source)
    if str(source.type).startswith("dictionary"):
        source = source.dictionary_decode()
    kind = str(source.type)
    if kind in ("string", "large_string", "string_view"):
        return _arrow_text(source.cast("string"), name, unit)
    if kind.startswith("decimal"):
        with contextlib.suppress(Exception):  # decimals that are not whole are read as float64
            source = source.cast("int64")
    if not kind.startswith(("int", "uint", "float", "double", "halffloat", "decimal")):
        return None
    from streamce.inputs import arrow  # here, because it needs pyarrow, which this array is from

    numbers, null = arrow.flat(source)
    return _of_numbers(np.array(numbers), np.zeros(len(numbers), np.bool_) if null is None else null, name, unit)


def _arrow_text(text: Any, name: str, unit: str) -> Column | None:
    """Return the column of text that Arrow can read, None if it cannot read all of it alike."""
    from streamce.inputs import arrow  # here, because it needs pyarrow, which this array is from

    first = arrow.first_text(text, NO_MOMENTS)
    if first is None:
        return None
    if NUMBER.fullmatch(first):
        numbers = arrow.text_as_numbers(text, NO_MOMENTS)
        return None if numbers is None else _of_numbers(*numbers, name, unit)
    ticks = arrow.text_as_microseconds(text, NO_MOMENTS, first)
    if ticks is None or ticks[0].min() < EARLIEST or ticks[0].max() > LATEST:
        return None
    return datetime_column(*ticks)


# ---- text, value by value ----


def _parse(column: Column, name: str, unit: str) -> Column:
    """Return the column of microseconds of a column of text."""
    assert column.codes is not None
    micro = np.zeros(len(column.distinct) + 1, np.int64)
    null = np.zeros(len(micro), np.bool_)
    used = set(np.unique(column.codes).tolist())
    for code, text in enumerate(column.distinct):
        if text is None or text in NO_MOMENTS or code not in used:
            null[code] = True
            continue
        try:
            micro[code] = _microseconds(text, name, unit)
        except InputError as error:
            raise error.changed(index=arrays.first_index(column.codes == code)) from None
    return datetime_column(micro[column.codes], null[column.codes])


def _microseconds(text: str, name: str, unit: str) -> int:
    """Return the microseconds of one moment, or raise an InputError without an index."""
    if NUMBER.fullmatch(text):
        is_whole = text.strip().lstrip("+-").isdecimal() and INT64[0] <= int(text) <= INT64[1]
        number = np.array([int(text) if is_whole else float(text)])
        column = _of_numbers(number, np.zeros(1, np.bool_), name, unit)
        assert column is not None
        assert column.integers is not None
        return int(column.integers[0])
    found, expected = f"is {short_repr(text)}", f"{ISO_EXPECTED}, or {NAMES[unit]} since 1970"
    match = ISO.fullmatch(text)
    if match is None:
        raise InputError(name, found, expected, value=text)
    year, month, day, hour, minute, second, fraction, sign, *offset = match.groups(default="0")
    if int(second) == 60:
        raise InputError(name, found, "seconds from 00 to 59, because UTC is counted without leap seconds", value=text)
    hours, minutes = map(int, offset)
    try:
        moment = dt.datetime(*map(int, (year, month, day, hour, minute, second)))  # type: ignore[arg-type]
        dt.time(hours, minutes)
    except ValueError as error:
        raise InputError(name, found, f"{expected} ({error})", value=text) from None
    away = (hours * 60 + minutes) * 60_000_000 * (-1 if sign == "-" else 1)
    micro = (moment - EPOCH) // MICROSECOND + int(fraction[:6].ljust(6, "0")) - away
    if not EARLIEST <= micro <= LATEST:
        raise InputError(name, found, "years from 1 to 9999 in UTC", value=text)
    return micro
