"""Lengths of time, and the start of the period that a timestamp falls in."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

import numpy as np

from streamce._support import scalars
from streamce._support.short_repr import short_repr
from streamce.core.grouping.key_index import EARLIEST, LATEST
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.keys.encoding import MICROSECOND
from streamce.keys.key_columns import Column
from streamce.keys.moments import convert_moments

UNITS = {
    "us": 1, "ms": 1000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000,
    "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip
# Lengths in nanoseconds. Years and months are missing, because their lengths vary.
NUMPY_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "D": 86_400 * 10**9,
               "W": 604_800 * 10**9}  # fmt: skip
EXPECTED = (
    f"a timedelta, a number of seconds, or text in one of {', '.join(UNITS)} such as '15min', "
    "and a whole number of microseconds"
)
# Periods are counted from the start of 1970 in UTC. Periods of whole weeks are counted from a Monday.
MONDAY = -3 * UNITS["d"]


def microseconds(period: Any, name: str = "period") -> int:
    """Return a length of time in microseconds, or raise an InputError."""
    length: Any = None
    if isinstance(period, dt.timedelta):
        length = None if period % MICROSECOND else period // MICROSECOND  # that of pandas may have nanoseconds
    elif isinstance(period, np.timedelta64) and not np.isnat(period):
        unit, multiple = np.datetime_data(period.dtype)
        scaled = int(period.astype(np.int64)) * multiple * NUMPY_UNITS.get(unit, 0)
        length = scaled // 1000 if scaled % 1000 == 0 else None
    elif isinstance(period, str) and (match := re.fullmatch(r"(\d{0,18})\s*([a-z]+)", period.strip())):
        length = int(match[1] or 1) * UNITS.get(match[2], 0)
    elif (seconds := scalars.to_float(period)) is not None:
        length = _whole_microseconds(seconds)
    if length is None or not 0 < length <= LATEST:
        raise InputError(name, f"is {short_repr(period)}", EXPECTED, value=period)
    return int(length)


def _whole_microseconds(seconds: float) -> int | None:
    """Return a number of seconds in microseconds, or None if they are not whole. 0.1 is 100,000 microseconds."""
    from fractions import Fraction  # here, because importing it takes a millisecond

    if not math.isfinite(seconds):
        return None
    length = Fraction(repr(seconds)) * UNITS["s"]
    return length.numerator if length.denominator == 1 else None


def format_period(period: int) -> str:
    """Return a length of time as text, in the largest unit that divides it."""
    unit = max((unit for unit in UNITS if period % UNITS[unit] == 0), key=UNITS.__getitem__)
    return f"{period // UNITS[unit]}{unit}"


def starts(times: Any, period: int) -> Column:
    """Return the start of the period of each timestamp."""
    column = convert_moments(times, "by_time")
    if column.integers is not None:
        return Column("datetime", column.size, floor(column.integers, period))
    floored = [None if tick is None else int(floor(np.array([tick]), period)[0]) for tick in column.distinct]
    code_of_start: dict[Any, int] = {}
    codes = np.array([code_of_start.setdefault(tick, len(code_of_start)) for tick in floored], dtype=np.int64)
    assert column.codes is not None
    return Column("datetime", column.size, None, codes[column.codes], list(code_of_start))


def ticks(times: Any, name: str = "by_time") -> arrays.Array:
    """Return the microseconds since 1970 of timestamps. Raise an InputError if one is missing."""
    column = convert_moments(times, name)
    if column.integers is not None:
        return column.integers
    assert column.codes is not None
    missing = np.array([tick is None for tick in column.distinct], np.bool_)[column.codes]
    if missing.any():
        raise InputError(name, "is missing", "a timestamp", index=arrays.first_index(missing))
    return np.array(column.distinct, np.int64)[column.codes]


def floor(ticks: arrays.Array, period: int) -> arrays.Array:
    """Return the start of the period of each timestamp in microseconds."""
    origin = MONDAY if period % UNITS["w"] == 0 else 0
    floored: arrays.Array = (ticks - origin) // period * period + origin
    return np.maximum(floored, EARLIEST)
