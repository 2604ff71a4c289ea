"""Sums of states: hours to days, positions to ranges, groups by a part of their keys."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from streamce.core.ledger.ledger import NAMES
from streamce.keys.encoding import EPOCH, MICROSECOND
from streamce.keys.periods import MONDAY, UNITS
from streamce.report.svg import Scale
from streamce.stats import summary

if TYPE_CHECKING:
    from streamce.core.ledger.ledger import Ledger
    from streamce.report.elements import Elements
    from streamce.report.series_section import ViewOptions
    from streamce.stats.estimators import Cell
    from streamce.stats.summary import Summary

MAX_POINTS = 200  # most points of a line, because a screen could not show more
# The lengths to which periods are widened, in microseconds: those of clocks and of calendars with weeks.
WIDTHS = sorted(
    count * UNITS[unit]
    for unit, counts in {
        "ms": (1, 5, 10, 50, 100, 500), "s": (1, 5, 10, 30), "min": (1, 5, 10, 30), "h": (1, 2, 3, 6, 12),
        "d": (1, 2), "w": (1, 2, 4, 13, 26, 52, 260, 520),
    }.items()
    for count in counts
)  # fmt: skip


class Interval(NamedTuple):
    """An interval of time, in microseconds since 1970, or of positions; and the summary of all losses in it."""

    start: int
    end: int
    summary: Any


def add_cells(ledger: Ledger, key_of: Callable[[int], Any]) -> dict[Any, Cell]:
    """Return the sums of the cells with equal keys. ``key_of`` returns the key of a cell, or None to omit the cell."""
    sums: dict[Any, Cell] = {}
    for column in NAMES:  # one column at a time, because each may take the memory of a million integers
        for number, integer in ledger.column(column).items():
            if (key := key_of(number)) is not None:
                cell = sums.setdefault(key, {})
                cell[column] = cell.get(column, 0) + integer
    return sums


def summarise(cell: Cell, level: float, anytime: bool) -> Summary:
    """Return the summary of a cell."""
    return summary.summarise_cell({name: n for name, n in cell.items() if n}, level=level, anytime=anytime)


def history(starts: Sequence[int | None], elements: Elements, period: int, view: ViewOptions) -> list[Interval]:
    """Return the periods that have losses, in order. If there are too many, return longer periods.

    ``starts`` holds the start of the period of each element, or None if it is unknown.
    """
    known = [start for start in starts if start is not None]
    if not known:
        return []
    first, length = min(known), max(known) - min(known) + period
    width = next(
        (wide for wide in WIDTHS if wide >= period and wide % period == 0 and length <= MAX_POINTS * wide),
        period * -(-length // (MAX_POINTS * period)),
    )
    if length <= MAX_POINTS * period:
        width = period
    # Periods that divide a day begin at midnight, weeks on a Monday, and others at the first period.
    origin = first if width == period or width not in WIDTHS else MONDAY if width % UNITS["w"] == 0 else 0
    if (first - origin) % period:
        origin = first

    wide = [None if start is None else (start - origin) // width * width + origin for start in starts]
    numbers = {start: number for number, start in enumerate(sorted({start for start in wide if start is not None}))}
    sums = elements.added([None if start is None else numbers[start] for start in wide])
    headline = elements.metric._headline
    return [Interval(start, start + width, headline(sums.summary(i, view))) for start, i in numbers.items()]


def positions(ledger: Ledger, size: int, level: float, anytime: bool) -> list[Interval]:
    """Return the positions in sequences, counted from 0. If there are too many, return ranges of positions."""
    width = positions_per_point(size)
    sums = add_cells(ledger, lambda number: number // width)
    return [Interval(width * i, min(size, width * (i + 1)), summarise(sums[i], level, anytime)) for i in sorted(sums)]


def positions_per_point(size: int) -> int:
    """Return the number of positions that one point of a line stands for."""
    return max(1, -(-size // MAX_POINTS))


def microseconds(timestamp: dt.datetime | None) -> int | None:
    """Return a timestamp as microseconds since 1970."""
    return None if timestamp is None else (timestamp - EPOCH) // MICROSECOND


def histogram(values: Sequence[float], bins: int) -> tuple[list[int], float, float]:
    """Return the number of finite values in each bin, and the low and the high end of all bins.

    The bins span all values. If one value in a hundred is far from the others, they span only the others, and the
    outermost bins hold the values beyond.
    """
    finite = sorted(value for value in values if math.isfinite(value))
    if not finite:
        return [], math.nan, math.nan
    low, high = finite[0], finite[-1]
    central = finite[len(finite) // 200], finite[-1 - len(finite) // 200]
    if high / 2 - low / 2 > central[1] - central[0] > 0:
        low, high = central
    counts, scale = [0] * bins, Scale(low, high)
    for value in finite:
        counts[int(min(max(scale.fraction(value), 0.0) * bins, bins - 1))] += 1
    return counts, low, high
