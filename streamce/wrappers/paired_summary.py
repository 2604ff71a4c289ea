"""Defines the summary of a comparison of two models: which is better, by how much, and with what certainty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from streamce._support.html_repr import HtmlRepr
from streamce.core.default_mode import DefaultModeMethods
from streamce.stats import scalar_table
from streamce.stats.summary import align_rows, count_rows, format_interval, format_number, interval_name

if TYPE_CHECKING:
    from streamce.stats.summary import Summary

# The entries of the dict of a summary that each model has, in addition to those of the difference.
MODEL_FIELDS = (
    "value",
    "mean",
    "interval",
    "stderr",
    "total",
    "bits",
    "perplexity",
    "floored",
    "infinite",
    "unnormalised",
)

MIN_P_VALUE = 1e-300  # smaller p-values are shown as "< 1e-300"


@dataclass(frozen=True, slots=True)
class PairedSummary(HtmlRepr, DefaultModeMethods):
    """The result of :meth:`Paired.summary`. ``print`` shows it as a table.

    Attributes
    ----------
    verdict : str
        Which model is better and how certain that is, in one line.
    better : {"A", "B"} or None
        The model with the smaller mean if the interval of the difference excludes 0, else None.
    p_value : float
        1 minus the highest level at which the interval of the difference excludes 0: the two-sided p-value of the
        paired t-test or, with ``anytime``, a p-value that stays valid at any number of looks. nan if the difference has
        no interval.
    a, b : Summary
        The summaries of each model's losses, over the samples that count for both.
    unit : {"nats", "NE"}
        The unit of the values: nats, or NE for normalized entropies.
    difference : Summary
        The loss of A minus the loss of B. ``value`` is ``compute()``, negative if A is better. ``perplexity`` is the
        perplexity of A divided by that of B. An anomaly counts here if either model has it.
    a_better, b_better : float
        The share of the samples, by weight, in which the loss of A, or of B, is the smaller one.
    a_better_interval, b_better_interval : tuple of float
        Confidence intervals of these shares at ``level``.
    ties : float
        The share of the samples with equal losses: 1 - a_better - b_better.

    Examples
    --------
    >>> import streamce as ce
    >>> paired = ce.Paired(ce.BinaryCrossEntropy())
    >>> result = paired.update([0.9, 0.2, 0.6, 0.7] * 10, [0.8, 0.2, 0.5, 0.8] * 10, [1, 0, 1, 1] * 10).summary()
    >>> print(result)
    A is better by 0.0416433 nats (95 % interval 0.00263913 to 0.0806475, p = 0.037)
    A               0.299001 nats     95 % interval 0.250029 to 0.347974
    B               0.340644 nats     95 % interval 0.274727 to 0.406562
    A - B           -0.0416433 nats   95 % interval -0.0806475 to -0.00263913
    A better        50 %              95 % interval 34.59 % to 65.41 %
    B better        25 %              95 % interval 13.82 % to 40.93 %
    ties            25 %
    losses          40
    """

    verdict: str
    better: Literal["A", "B"] | None
    unit: str
    p_value: float
    a: Summary
    b: Summary
    difference: Summary
    a_better: float
    a_better_interval: tuple[float, float]
    b_better: float
    b_better_interval: tuple[float, float]
    ties: float

    @property
    def samples(self) -> int:
        """The number of pairs that count."""
        return self.difference.samples

    def to_dict(self) -> dict[str, Any]:
        """Return a flat dict for JSON: the summary of the difference, and ``a_mean``, ``b_mean``, ..."""
        names = (
            "verdict",
            "better",
            "p_value",
            "a_better",
            "a_better_interval",
            "b_better",
            "b_better_interval",
            "ties",
        )
        found = {**self.difference.to_dict(), **{name: getattr(self, name) for name in names}}
        found |= {f"a_{name}": getattr(self.a, name) for name in MODEL_FIELDS}
        found |= {f"b_{name}": getattr(self.b, name) for name in MODEL_FIELDS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def scalars(self, prefix: str = "") -> dict[str, float]:
        """Return the finite numbers that a tracker of experiments plots, by name; see :meth:`Summary.scalars`.

        The names of each model's estimates, and of its counters ``floored``, ``infinite`` and ``unnormalised``, come
        after ``a_`` and ``b_``. The other counters are of the pairs and have their own names.

        Examples
        --------
        >>> import streamce as ce
        >>> scalars = ce.Paired(ce.MeanLoss()).update([0.2, 0.4], [0.5, 0.8]).summary().scalars()
        >>> scalars["a_loss"], scalars["difference"], scalars["count"]
        (0.30000000000000004, -0.35, 2.0)
        """
        numbers: dict[str, float | None] = {
            "difference": self.difference.value,
            "difference_low": self.difference.interval[0],
            "difference_high": self.difference.interval[1],
            "difference_stderr": self.difference.stderr if self.unit == "nats" else None,  # that of a mean
            "p_value": self.p_value,
            "a_better": self.a_better,
            "a_better_low": self.a_better_interval[0],
            "a_better_high": self.a_better_interval[1],
            "b_better": self.b_better,
            "b_better_low": self.b_better_interval[0],
            "b_better_high": self.b_better_interval[1],
            "ties": self.ties,
            **scalar_table.read(scalar_table.PAIR_COUNTS, self.difference),
        }
        for part, model in (("a", self.a), ("b", self.b)):
            found = scalar_table.read(scalar_table.MODEL_SCALARS, model)
            numbers |= {f"{part}_{name}": number for name, number in found.items()}
        return scalar_table.finite(numbers, prefix)

    def __str__(self) -> str:
        kind = interval_name(self.difference.level, self.difference.anytime)
        rows = [
            (name, f"{format_number(of.value)} {self.unit}", f"{kind} {format_interval(of.interval)}")
            for name, of in (("A", self.a), ("B", self.b), ("A - B", self.difference))
        ]
        rows += [
            ("A better", _percent(self.a_better), f"{kind} {_percents(self.a_better_interval)}"),
            ("B better", _percent(self.b_better), f"{kind} {_percents(self.b_better_interval)}"),
            ("ties", _percent(self.ties), ""),
        ]
        for name, number, what in count_rows(self.difference):
            if name in MODEL_FIELDS:
                what = f"A {getattr(self.a, name):,}, B {getattr(self.b, name):,}"
            rows.append((name, number, what))
        return f"{self.verdict}\n{align_rows(rows)}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _percents(interval: tuple[float, float]) -> str:
    return f"{_percent(interval[0])} to {_percent(interval[1])}"


def better_model(difference: Summary) -> Literal["A", "B"] | None:
    low, high = difference.interval
    if math.isinf(difference.value):
        low = high = difference.value
    return "A" if high < 0 else "B" if low > 0 else None


def verdict(better: str | None, *, a: Summary, b: Summary, difference: Summary, p_value: float, unit: str) -> str:
    """Return in one line which model is better and how certain that is."""
    if difference.samples == 0:
        return "no difference shown: there are no samples"
    name = "mean" if unit == "nats" else "normalized entropy"
    values = f"the {name} of A is {format_number(a.value)} and that of B {format_number(b.value)}"
    if math.isnan(difference.value):
        return f"no difference shown: {values}"
    if math.isinf(difference.value):
        return f"{better} is better: {values}"
    low, high = difference.interval
    if math.isnan(low):
        why = "no interval, because there are too few samples or clusters"
    else:
        low, high = (-high, -low) if better == "A" else (low, high)
        p = f"p = {p_value:.2g}" if p_value > MIN_P_VALUE else f"p < {MIN_P_VALUE:g}"
        why = f"{interval_name(difference.level, difference.anytime)} {format_interval((low, high))}, {p}"
    if better:
        return f"{better} is better by {format_number(abs(difference.value))} {unit} ({why})"
    return f"no difference shown: A - B is {format_number(difference.value)} {unit} ({why})"
