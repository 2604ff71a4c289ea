"""What ``compute()`` and people read: mean, errors and intervals, from the integers of a cell.

Every quotient is exact until it is rounded, once. With n the loss and d the weight of each of k
samples, the mean is R = Σn / Σd and its standard error that of a ratio estimator (Cochran,
Sampling Techniques, 1977, chapter 6):

    stderr² = k / (k - 1) · (Σn² - 2 R Σnd + R² Σd²) / (Σd)²
"""

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

from streamce.core import kernels
from streamce.core.ledger import Ledger
from streamce.errors import InputError

GRID = 1 << 1074  # the unit of the exact sums is 2^-1074
LN2 = 0.6931471805599453
INVALID = ("invalid_nan", "invalid_range", "invalid_row_sum", "invalid_label", "invalid_weight", "invalid_null")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a metric has seen so far; ``print`` shows it as a table.

    Attributes
    ----------
    value : float
        The metric's value, as ``compute()`` returns it.
    interval : tuple of float
        Confidence interval of ``value`` at ``level``, by the normal approximation.
    level : float
        Confidence level of ``interval``.
    mean, stderr : float
        Mean loss and its standard error, in nats.
    total, weight : float
        Sum of the weighted losses (nats), and of the weights.
    count : int
        Losses counted.
    samples : int
        Independent units, entries of the first axis, that the losses came in.
    seen : int
        All losses met: ``count + ignored + skipped``.
    ignored : int
        Losses left out by ``ignore_index``.
    floored : int
        Losses in which a probability below ``eps`` was taken as ``eps``.
    infinite : int
        Losses that are infinite.
    unnormalised : int
        Rows whose probabilities add up to 1 only roughly.
    skipped : int
        Invalid losses left out by ``invalid="skip"``, the sum of the ``invalid_*`` counters.
    bits, perplexity : float
        The mean in bits, and e to the mean (inf where that overflows).

    Examples
    --------
    >>> import streamce as ce
    >>> summary = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.6], [1, 0, 1]).summary()
    >>> print(summary)
    cross-entropy   0.279777 nats   95 % interval 0.0437495 to 0.515804
                    0.403632 bits   standard error 0.120424
    perplexity      1.32283
    losses          3
    >>> summary.to_dict()["count"]
    3
    """

    value: float
    interval: tuple[float, float]
    level: float
    mean: float
    stderr: float
    total: float
    weight: float
    count: int
    samples: int
    seen: int
    ignored: int
    floored: int
    infinite: int
    unnormalised: int
    skipped: int
    invalid_nan: int
    invalid_range: int
    invalid_row_sum: int
    invalid_label: int
    invalid_weight: int
    invalid_null: int
    bits: float
    perplexity: float

    def to_dict(self) -> dict[str, Any]:
        """A flat dict of plain values, as JSON takes it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["interval"] = list(self.interval)
        return values

    def __str__(self) -> str:
        low, high = self.interval
        percent = f"{100 * self.level:g} %"
        rows = [
            ("cross-entropy", f"{_number(self.mean)} nats", f"{percent} interval {_number(low)} to {_number(high)}"),
            ("", f"{_number(self.bits)} bits", f"standard error {_number(self.stderr)}"),
            ("perplexity", _number(self.perplexity), ""),
            ("losses", f"{self.count:,}", _units(self.count, self.samples, self.weight)),
        ]
        odd = [
            ("ignored", self.ignored, "by ignore_index"),
            ("floored", self.floored, "a probability below eps"),
            ("infinite", self.infinite, ""),
            ("unnormalised", self.unnormalised, "rows that add up to 1 only roughly"),
            ("skipped", self.skipped, _causes(self)),
        ]
        rows += [(name, f"{count:,}", what) for name, count, what in odd if count]
        width = max(len(middle) for _, middle, _ in rows)
        return "\n".join(f"{name:<16}{middle:<{width}}   {what}".rstrip() for name, middle, what in rows)


def _number(x: float) -> str:
    return f"{x:.6g}"


def _units(count: int, samples: int, weight: float) -> str:
    parts = [f"in {samples:,} samples"] if samples != count else []
    parts += [f"of weight {_number(weight)}"] if weight != count else []
    return " ".join(parts)


def _causes(summary: Summary) -> str:
    counts = {name.removeprefix("invalid_").replace("_", " "): getattr(summary, name) for name in INVALID}
    return ", ".join(f"{cause} {count:,}" for cause, count in counts.items() if count)


# ---- from integers ----


def quotient(numerator: int, denominator: int) -> float:
    """The exact quotient rounded once: inf where it exceeds float64, nan for 0 / 0."""
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf if numerator > 0 else -math.inf
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if (numerator > 0) == (denominator > 0) else -math.inf


def root(numerator: int, denominator: int) -> float:
    """The square root of a quotient of positive integers."""
    if numerator == 0:
        return 0.0
    # 128 bits and more of the quotient, on an even power of two.
    shift = 128 - (numerator.bit_length() - denominator.bit_length())
    shift += shift % 2
    shifted = (numerator << shift) // denominator if shift >= 0 else numerator // (denominator << -shift)
    digits = math.isqrt(shifted)
    return quotient(digits, 1 << (shift // 2)) if shift >= 0 else quotient(digits << (-shift // 2), 1)


def _infinite(ledger: Ledger, cell: int, column: str) -> float | None:
    """What infinite terms make of a sum, or None if it has none."""
    above, below = ledger.integer(column + "+inf", cell), ledger.integer(column + "-inf", cell)
    if above and below:
        return math.nan
    return math.inf if above else -math.inf if below else None


def check(ledger: Ledger, cell: int = 0) -> None:
    """Raises if more was taken away than had been added."""
    for name in ("samples", "count", "n+inf", "n-inf", "ignored", "floored", "infinite", "unnormalised", *INVALID):
        number = ledger.integer(name, cell)
        if number < 0:
            raise InputError(
                f"{name} is {number}: more was taken away than had been added", argument=name, value=number
            )
    if _weight(ledger, cell) < 0:
        raise InputError("weight is negative: more was taken away than had been added", argument="weight")


def _weight(ledger: Ledger, cell: int) -> int:
    return ledger.integer("d", cell) + ledger.integer("samples", cell) * GRID


def mean(ledger: Ledger, cell: int = 0) -> float:
    """Σn / Σd."""
    check(ledger, cell)
    infinite = _infinite(ledger, cell, "n")
    if infinite is not None:
        return infinite
    if _infinite(ledger, cell, "d") is not None:
        return math.nan
    return quotient(ledger.integer("n", cell), _weight(ledger, cell))


def stderr(ledger: Ledger, cell: int = 0) -> float:
    """Standard error of the mean; nan for fewer than two samples."""
    k = ledger.integer("samples", cell)
    n, d = ledger.integer("n", cell), _weight(ledger, cell)
    if k < 2 or d == 0 or any(_infinite(ledger, cell, column) is not None for column in ("n", "d", "nd", "dd")):
        return math.nan
    if _infinite(ledger, cell, "nn") is not None:
        return math.inf
    nn = ledger.integer("nn", cell)
    nd = ledger.integer("nd", cell) + n
    dd = ledger.integer("dd", cell) + k * GRID
    spread = nn * d * d - 2 * n * d * nd + n * n * dd
    # The squares were rounded, which can leave a spread of 0 a little below it.
    return root(max(0, spread) * k * GRID, (k - 1) * d**4)


def summarise(ledger: Ledger, cell: int = 0, *, level: float = 0.95) -> Summary:
    """The summary of one cell."""
    if not (isinstance(level, Real) and 0 < level < 1):
        raise InputError(f"level is {level!r}: expected a number between 0 and 1", argument="level", value=level)
    level = float(level)
    from statistics import NormalDist  # here: it is slow to import

    middle, error = mean(ledger, cell), stderr(ledger, cell)
    margin = NormalDist().inv_cdf(0.5 + level / 2) * error
    total, weight = _infinite(ledger, cell, "n"), _infinite(ledger, cell, "d")
    counts = {
        name: ledger.integer(name, cell)
        for name in ("count", "samples", "ignored", "floored", "infinite", "unnormalised", *INVALID)
    }
    skipped = sum(counts[name] for name in INVALID)
    return Summary(
        value=middle,
        interval=(middle - margin, middle + margin),
        level=level,
        mean=middle,
        stderr=error,
        total=total if total is not None else quotient(ledger.integer("n", cell), GRID),
        weight=weight if weight is not None else quotient(_weight(ledger, cell), GRID),
        seen=counts["count"] + counts["ignored"] + skipped,
        skipped=skipped,
        bits=middle / LN2,
        perplexity=kernels.exp(middle),
        **counts,
    )
