"""The tail of a stream's losses: how many fell in each of some thousand bins, and what they add up to.

Bins are as wide as a 64th of the power of two they are in, so a loss is known within 0.8 %. They add up
and can be taken away as all of a state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from streamce._support import scalars
from streamce._support.html_repr import HtmlRepr
from streamce._support.rational import quotient
from streamce._support.short_repr import short_repr
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.ledger.state import BINS_BITS, LEAST, TAIL
from streamce.errors import InputError

if TYPE_CHECKING:
    from streamce.core.ledger.ledger import Ledger

GRID = 1 << 1074  # the unit of the exact sums is 2^-1074
LEVELS = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Tail(HtmlRepr, DefaultModeMethods):
    """Losses by size; ``print`` shows quantiles.

    Attributes
    ----------
    bins : tuple of (float, float, int, float)
        Of each bin that holds losses, in ascending order: its bounds, low <= loss < high, in nats, how many
        losses are in it, and the sum of these, weighted.
    count : int
        Losses in all bins. Losses of weight 0 are in none.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.BinaryCrossEntropy(tail=True).update([0.9] * 98 + [0.01] * 2, [1] * 100)
    >>> tail = metric.tail()
    >>> round(tail.quantile(0.5), 3), round(tail.quantile(0.99), 1)
    (0.105, 4.6)
    >>> round(tail.share(0.02), 3)
    0.471
    """

    bins: tuple[tuple[float, float, int, float], ...]
    count: int
    _sums: tuple[int, ...]
    _infinite: bool

    def quantile(self, q: float) -> float:
        """The least loss that a share ``q`` of all losses does not exceed, within 1 %; nan without losses.

        Losses below 2^-64 are taken as 0, and those of 2^64 and more as inf.
        """
        wanted = _share("q", q) * self.count  # exact: 0.07 of 100 are 7
        seen = 0
        for low, high, count, _ in self.bins:
            seen += count
            if seen >= wanted:
                return (low + high) / 2 if low > 0 else 0.0
        return math.nan

    def share(self, worst: float = 0.01) -> float:
        """The share of the weighted sum of losses that the share ``worst`` of losses carries, the largest ones.

        Where the line goes through a bin, its losses are taken as equal. nan if there are infinite losses, or if all
        are 0.
        """
        wanted = _share("worst", worst) * self.count
        whole, carried = sum(self._sums), 0.0
        if self._infinite or not whole:
            return math.nan
        for (_, _, count, _), total in zip(reversed(self.bins), reversed(self._sums), strict=True):
            if wanted < count:
                return carried + quotient(total, whole) * float(wanted / count)
            carried += quotient(total, whole)
            wanted -= count
        return 1.0

    def to_dict(self) -> dict[str, Any]:
        """Quantiles and the share of the worst 1 %, as plain values."""
        quantiles = {f"p{100 * q:g}": self.quantile(q) for q in LEVELS}
        return {**quantiles, "worst_1_percent": self.share(0.01), "count": self.count}

    def __str__(self) -> str:
        shown = "   ".join(f"{100 * q:g} % {self.quantile(q):.4g}" for q in LEVELS)
        carried = f"the worst 1 % of losses carry {100 * self.share():.3g} % of their sum"
        return f"tail            {shown}\n                {carried}"


def read(ledger: Ledger | None) -> Tail:
    """The tail that a ledger of bins holds; InputError if more was taken away than had been added."""
    columns = ledger.columns() if ledger is not None else {}
    counts, sums = columns.get("count", {}), columns.get("n", {})
    for bin_, count in counts.items():
        if count < 0:
            found = f"has {count} losses around {_bounds(bin_)[0]:.4g}: more was taken away than had been added"
            raise InputError("tail", found, value=count)
    if sums.keys() - counts.keys():
        raise InputError("tail", "holds a sum of no losses: more was taken away than had been added")
    held = sorted(counts)
    exact = tuple(sums.get(bin_, 0) for bin_ in held)
    infinite = {bin_ for name in ("n+inf", "n-inf") for bin_ in columns.get(name, {})}
    shown = [math.inf if bin_ in infinite else quotient(each, GRID) for bin_, each in zip(held, exact, strict=True)]
    bins = tuple((*_bounds(bin_), counts[bin_], total) for bin_, total in zip(held, shown, strict=True))
    return Tail(bins, sum(counts.values()), exact, bool(infinite))


def _bounds(bin_: int) -> tuple[float, float]:
    """The least loss of a bin, and that of the next."""
    return _edge(bin_), _edge(bin_ + 1)


def _edge(bin_: int) -> float:
    if bin_ == 0:
        return 0.0
    if bin_ == TAIL:
        return math.inf
    octave, step = divmod(bin_ - 1, 1 << BINS_BITS)
    return math.ldexp(1 + step / (1 << BINS_BITS), LEAST + octave)


def _share(name: str, value: Any) -> Fraction:
    found = scalars.real(value)
    if found is None or not 0 <= found <= 1:
        raise InputError(name, f"is {short_repr(value)}", "a number between 0 and 1", value=value)
    return Fraction(repr(found))  # as it is written
