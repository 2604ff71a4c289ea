"""States summed further, which they allow: hours to days, positions to ranges, groups by a part of their keys."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from streamce.core.ledger.ledger import NAMES
from streamce.keys.key_columns import EPOCH, MICROSECOND
from streamce.keys.periods import MONDAY, UNITS
from streamce.report.svg import Scale
from streamce.stats import summary

if TYPE_CHECKING:
    from streamce.core.ledger.ledger import Ledger
    from streamce.stats.summary import Cell, Summary

POINTS = 200  # of a line: more could not be told apart on a screen
# What periods are widened to, in microseconds: what a clock and a calendar of weeks have.
WIDTHS = sorted(
    count * UNITS[unit]
    for unit, counts in {
        "ms": (1, 5, 10, 50, 100, 500), "s": (1, 5, 10, 30), "min": (1, 5, 10, 30), "h": (1, 2, 3, 6, 12),
        "d": (1, 2), "w": (1, 2, 4, 13, 26, 52, 260, 520),
    }.items()
    for count in counts
)  # fmt: skip


class Stretch(NamedTuple):
    """A stretch of time, in microseconds since 1970, or of positions; and the summary of all that lies in it."""

    start: int
    end: int
    found: Summary


def summed(ledger: Ledger, of: Callable[[int], Any]) -> dict[Any, Cell]:
    """The cells of a ledger added up by what ``of`` says of their numbers; those of which it says None are left out."""
    sums: dict[Any, Cell] = {}
    for column in NAMES:  # one after the other: of a million cells each takes its memory
        for number, integer in ledger.column(column).items():
            if (key := of(number)) is not None:
                cell = sums.setdefault(key, {})
                cell[column] = cell.get(column, 0) + integer
    return sums


def summarised(cell: Cell, level: float, anytime: bool) -> Summary:
    return summary.summarise_cell({name: n for name, n in cell.items() if n}, level=level, anytime=anytime)


def history(starts: Sequence[int | None], ledger: Ledger, period: int, level: float, anytime: bool) -> list[Stretch]:
    """The periods in which there is anything, in order; wider ones where they are too many to be told apart.

    ``starts`` says when the period of each cell began, and None where it is not known.
    """
    known = [start for start in starts if start is not None]
    if not known:
        return []
    first, length = min(known), max(known) - min(known) + period
    width = next(
        (wide for wide in WIDTHS if wide >= period and wide % period == 0 and length <= POINTS * wide),
        period * -(-length // (POINTS * period)),
    )
    if length <= POINTS * period:
        width = period
    # Periods begin where they divide a day, or on a Monday if theirs do; others are counted from the first of them.
    origin = first if width == period or width not in WIDTHS else MONDAY if width % UNITS["w"] == 0 else 0
    if (first - origin) % period:
        origin = first

    def of(number: int) -> int | None:
        start = starts[number]
        return None if start is None else (start - origin) // width * width + origin

    sums = summed(ledger, of)
    return [Stretch(start, start + width, summarised(sums[start], level, anytime)) for start in sorted(sums)]


def positions(ledger: Ledger, size: int, level: float, anytime: bool) -> list[Stretch]:
    """The places of a sequence, counted from 0; ranges of them where they are too many."""
    width = together(size)
    sums = summed(ledger, lambda number: number // width)
    return [
        Stretch(width * at, min(size, width * (at + 1)), summarised(sums[at], level, anytime)) for at in sorted(sums)
    ]


def together(size: int) -> int:
    """How many places of a sequence are one point."""
    return max(1, -(-size // POINTS))


def microseconds(moment: dt.datetime | None) -> int | None:
    return None if moment is None else (moment - EPOCH) // MICROSECOND


def spread(values: Sequence[float], bins: int) -> tuple[list[int], float, float]:
    """How many of the finite values fall in each of so many bins, the outermost of which hold what lies beyond.

    The bins span all values, or all but one in a hundred where these lie far out: (counts, low, high).
    """
    finite = sorted(value for value in values if math.isfinite(value))
    if not finite:
        return [], math.nan, math.nan
    low, high = finite[0], finite[-1]
    near = finite[len(finite) // 200], finite[-1 - len(finite) // 200]
    if high / 2 - low / 2 > near[1] - near[0] > 0:
        low, high = near
    counts, scale = [0] * bins, Scale(low, high)
    for value in finite:
        counts[int(min(max(scale.at(value), 0.0) * bins, bins - 1))] += 1
    return counts, low, high
