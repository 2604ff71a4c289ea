"""The tail of the losses: their number and sum in each of several thousand bins, from the integers of a ledger.

Each interval from one power of two to the next has 64 bins, so a loss is known within 0.8 %. Bins can be added and
subtracted like the rest of a state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamce._support import scalars
from streamce._support.html_repr import HtmlRepr
from streamce._support.rational import GRID, quotient
from streamce._support.short_repr import short_repr
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.ledger.state import BINS_BITS, MIN_EXPONENT, TAIL
from streamce.errors import InputError
from streamce.stats.estimators import SUBTRACTED

if TYPE_CHECKING:
    from fractions import Fraction

    from streamce.core.ledger.ledger import Ledger

LEVELS = (0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Tail(HtmlRepr, DefaultModeMethods):
    """Distribution of the losses by size; ``print`` shows quantiles.

    Attributes
    ----------
    bins : tuple of (float, float, int, float)
        The bins that contain losses, in ascending order. Each has its bounds in nats (low <= loss < high), the number
        of its losses, and their weighted sum.
    count : int
        Number of losses in all bins. Losses of weight 0 are in no bin.

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
        """Return the quantile in nats: the smallest loss that a share ``q`` of all losses does not exceed.

        It is accurate to 1 %. Losses below 2^-64 count as 0, and losses of 2^64 and more as inf. The quantile of no
        losses is nan.

        Raises
        ------
        InputError
            If ``q`` is not between 0 and 1.
        """
        rank = _check_share("q", q) * self.count  # exact: 0.07 of 100 are 7
        below = 0
        for low, high, count, _ in self.bins:
            below += count
            if below >= rank:
                return (low + high) / 2 if low > 0 else 0.0
        return math.nan

    def share(self, worst: float = 0.01) -> float:
        """Return the share of the weighted sum of losses that the worst losses carry.

        ``worst`` is the share of losses that count as the worst ones. If only some losses of a bin are among them, the
        losses of this bin count as equal. The result is nan if there are infinite losses, or if all are 0.

        Raises
        ------
        InputError
            If ``worst`` is not between 0 and 1.
        """
        remaining = _check_share("worst", worst) * self.count
        all_sums, share = sum(self._sums), 0.0
        if self._infinite or not all_sums:
            return math.nan
        for (_, _, count, _), bin_sum in zip(reversed(self.bins), reversed(self._sums), strict=True):
            if remaining < count:
                return share + quotient(bin_sum, all_sums) * float(remaining / count)
            share += quotient(bin_sum, all_sums)
            remaining -= count
        return 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return quantiles and the share of the worst 1 % as a dict of numbers."""
        quantiles = {f"p{100 * q:g}": self.quantile(q) for q in LEVELS}
        return {**quantiles, "worst_1_percent": self.share(0.01), "count": self.count}

    def __str__(self) -> str:
        quantiles = "   ".join(f"{100 * q:g} % {self.quantile(q):.4g}" for q in LEVELS)
        share = f"the worst 1 % of losses carry {100 * self.share():.3g} % of their sum"
        return f"tail            {quantiles}\n                {share}"


def read(ledger: Ledger | None) -> Tail:
    """Return the tail that a ledger of bins holds. Raise InputError if more was subtracted than had been added."""
    columns = ledger.columns() if ledger is not None else {}
    counts, sums = columns.get("count", {}), columns.get("n", {})
    for bin_, count in counts.items():
        if count < 0:
            found = f"has {count} losses around {_bounds(bin_)[0]:.4g}: {SUBTRACTED}"
            raise InputError("tail", found, value=count)
    if sums.keys() - counts.keys():
        raise InputError("tail", f"has a sum in a bin without losses: {SUBTRACTED}")
    used = sorted(counts)
    exact = tuple(sums.get(bin_, 0) for bin_ in used)
    infinite = {bin_ for name in ("n+inf", "n-inf") for bin_ in columns.get(name, {})}
    totals = [math.inf if bin_ in infinite else quotient(each, GRID) for bin_, each in zip(used, exact, strict=True)]
    bins = tuple((*_bounds(bin_), counts[bin_], total) for bin_, total in zip(used, totals, strict=True))
    return Tail(bins, sum(counts.values()), exact, bool(infinite))


def _bounds(bin_: int) -> tuple[float, float]:
    """Return the smallest loss of a bin and of the next bin."""
    return _edge(bin_), _edge(bin_ + 1)


def _edge(bin_: int) -> float:
    if bin_ == 0:
        return 0.0
    if bin_ == TAIL:
        return math.inf
    octave, step = divmod(bin_ - 1, 1 << BINS_BITS)
    return math.ldexp(1 + step / (1 << BINS_BITS), MIN_EXPONENT + octave)


def _check_share(name: str, value: Any) -> Fraction:
    """Return a share as the decimal fraction that its text denotes, so that 0.07 is 7/100."""
    share = scalars.to_float(value)
    if share is None or not 0 <= share <= 1:
        raise InputError(name, f"is {short_repr(value)}", "a number between 0 and 1", value=value)
    from fractions import Fraction  # here, because importing it takes a millisecond

    return Fraction(repr(share))
