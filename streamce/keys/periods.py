"""Periods of time: the bucket that a moment falls in."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.core.grouping.key_index import EARLIEST, LATEST
from streamce.errors import InputError
from streamce.inputs import arrays, interop
from streamce.keys.key_columns import MICROSECOND, Column, column, judged, moments, numbers

UNITS = {
    "us": 1, "ms": 1000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000,
    "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip
# In nanoseconds; a year and a month have no one length.
NUMPY_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "D": 86_400 * 10**9,
               "W": 604_800 * 10**9}  # fmt: skip
EXPECTED = f"a timedelta, or a number and one of {', '.join(UNITS)}, such as '15min'"
# Buckets begin at the start of 1970, in UTC, but those of whole weeks on a Monday.
MONDAY = -3 * UNITS["d"]


def microseconds(period: Any, name: str = "period") -> int:
    """A period as microseconds; InputError for what is none."""
    found: Any = None
    if isinstance(period, dt.timedelta):
        found = period // MICROSECOND
    elif isinstance(period, np.timedelta64) and not np.isnat(period):
        unit, many = np.datetime_data(period.dtype)
        scaled = int(period.astype(np.int64)) * many * NUMPY_UNITS.get(unit, 0)
        found = scaled // 1000 if scaled % 1000 == 0 else None
    elif isinstance(period, str) and (match := re.fullmatch(r"(\d{0,18})\s*([a-z]+)", period.strip())):
        found = int(match[1] or 1) * UNITS.get(match[2], 0)
    if found is None or not 0 < found <= LATEST:
        raise InputError(name, f"is {short_repr(period)}", EXPECTED, value=period)
    return int(found)


def show(period: int) -> str:
    """A period in its largest unit."""
    unit = max((unit for unit in UNITS if period % UNITS[unit] == 0), key=UNITS.__getitem__)
    return f"{period // UNITS[unit]}{unit}"


def starts(times: Any, period: int) -> Column:
    """When the bucket of each moment begins."""
    found = _moments(times, "by_time")
    if found.integers is not None:
        return Column("datetime", found.size, floor(found.integers, period))
    listed = [None if tick is None else int(floor(np.array([tick]), period)[0]) for tick in found.distinct]
    places: dict[Any, int] = {}
    again = np.array([places.setdefault(tick, len(places)) for tick in listed], dtype=np.int64)
    assert found.codes is not None
    return Column("datetime", found.size, None, again[found.codes], list(places))


def ticks(times: Any, name: str = "by_time") -> arrays.Array:
    """The microseconds since 1970 of moments, none of which is missing."""
    found = _moments(times, name)
    if found.integers is not None:
        return found.integers
    assert found.codes is not None
    missing = np.array([tick is None for tick in found.distinct], np.bool_)[found.codes]
    if missing.any():
        raise InputError(name, "is missing", "a moment", index=arrays.first(missing))
    return np.array(found.distinct, np.int64)[found.codes]


def _moments(times: Any, name: str) -> Column:
    """Moments as microseconds. Numbers are seconds since 1970, as ``time.time()`` has them."""
    with judged(times, name) as checked:
        if interop.speaks_arrow(checked) and not hasattr(checked, "__array__"):
            checked = interop.imported(checked)
        found = _seconds(checked, name)
        if found is None:
            found = column(checked, name, cut=True)
    if found.kind not in ("datetime", None):
        raise InputError(name, f"holds keys of kind {found.kind}", "datetimes, or seconds since 1970")
    return found


def floor(ticks: arrays.Array, period: int) -> arrays.Array:
    """When the bucket of each tick begins."""
    origin = MONDAY if period % UNITS["w"] == 0 else 0
    floored: arrays.Array = (ticks - origin) // period * period + origin
    return np.maximum(floored, EARLIEST)


def _seconds(times: Any, name: str) -> Column | None:
    """Numbers as microseconds, or None for what is not numbers."""
    if isinstance(times, (str, bytes, dt.date, np.datetime64)):
        return None
    arrays.unmasked(times, name, "a moment")
    if hasattr(times, "dictionary_encode"):
        if (held := numbers(times)) is None:
            return None
        found, null = held
    else:
        try:
            found = np.array(np.atleast_1d(np.asarray(times)))  # a copy, so that the values checked are the values used
        except Exception:  # whatever a stranger's __array__ raises: the column's judge explains
            return None
        null = np.zeros(found.shape, np.bool_)
    if found.dtype.kind not in "iuf" or found.ndim != 1:
        return None
    ticks = found.astype(np.float64) * 1e6
    null |= np.isnan(ticks)
    wrong = ~((ticks >= EARLIEST) & (ticks <= LATEST)) & ~null
    if wrong.any():
        index = arrays.first(wrong)
        expected = "seconds since 1970, in the years 1 to 9999"
        raise InputError(name, f"is {found[index]}", expected, index=index, value=found[index])
    ticks[null] = 0
    whole = np.rint(ticks).astype(np.int64) if found.dtype.kind == "f" else found.astype(np.int64) * 1_000_000
    return moments(whole, null, name)
