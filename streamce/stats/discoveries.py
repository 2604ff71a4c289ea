"""Decides which of many differences are discoveries, so that few of the discoveries are false.

The false discovery rate is the expected share of discoveries whose true difference is 0. It is
held by the step-up procedure of Benjamini and Hochberg, or by that of Wang and Ramdas, which
applies it to e-values. Both are adjusted p-values: a difference is a discovery if its adjusted
p-value is at most the rate. docs/UNCERTAINTY.md has assumptions and measured rates.
"""

import math
import sys
from collections.abc import Sequence
from typing import Literal, NamedTuple

from streamce.stats import estimators
from streamce.stats.estimators import Uncertainty

FDR = 0.05  # the default false discovery rate
MIN_SAMPLES = 100  # of a group that is tested, by default


class Difference(NamedTuple):
    """The difference of two means, and how precisely it is estimated."""

    mean: float
    known: Uncertainty


class Decision(NamedTuple):
    """What is concluded about one difference.

    ``e_value`` is None for one look. ``better`` is the side with the smaller mean if the difference is a discovery.
    """

    interval: tuple[float, float]
    p_value: float
    e_value: float | None
    adjusted_p: float
    better: Literal["A", "B"] | None


class Decisions(NamedTuple):
    """The decisions about several differences, in their order, the level of their intervals, and how many count."""

    decisions: list[Decision]
    level: float
    tested: int


def adjusted_p_values(p_values: Sequence[float], tested: int | None = None) -> list[float]:
    """Return for each p-value the smallest false discovery rate at which it is a discovery.

    Parameters
    ----------
    p_values : sequence of float
        nan stays nan.
    tested : int, optional
        The number m of hypotheses, by default that of the p-values that are not nan.

    Notes
    -----
    With the p-values in order p(1) <= ... <= p(m), the adjusted value of p(i) is the minimum of m p(k) / k over k >= i,
    and at most 1 (Benjamini and Hochberg, Journal of the Royal Statistical Society B 57, 1995).

    Examples
    --------
    >>> adjusted_p_values([0.25, 0.0625, 0.03125, 0.5])
    [0.333..., 0.125, 0.125, 0.5]
    """
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    number = len(order) if tested is None else tested
    adjusted, smallest = [math.nan] * len(p_values), 1.0
    for rank in range(len(order), 0, -1):
        i = order[rank - 1]
        smallest = min(smallest, p_values[i] * number / rank)
        adjusted[i] = smallest
    return adjusted


def decide(differences: Sequence[Difference], *, fdr: float, anytime: bool, tested: int | None = None) -> Decisions:
    """Return which differences are discoveries at a false discovery rate.

    Parameters
    ----------
    differences : sequence of Difference
        A difference without a standard error has no p-value, and is no discovery.
    fdr : float
        The false discovery rate.
    anytime : bool
        False: for one look. True: for any number of looks.
    tested : int, optional
        The number m of differences, by default the number of those with a p-value.

    Notes
    -----
    For one look, the procedure is that of Benjamini and Hochberg on p-values of Student's t. For any number of looks,
    it is e-BH (Wang and Ramdas, Journal of the Royal Statistical Society B 84, 2022), which is the same procedure on
    1 / e. The e-values are those of the confidence sequence for level 1 - fdr.

    With R discoveries, all intervals have the level 1 - R fdr / m (or 1 - fdr / m if R is 0). So an
    interval excludes 0 exactly if its difference is a discovery. Of the intervals of discoveries, the expected share
    that misses the true difference is at most fdr (Benjamini and Yekutieli, Journal of the American Statistical
    Association 100, 2005; for e-values, Xu, Wang and Ramdas, arXiv 2203.12572).
    """
    p_values = [estimators.p_value_of(mean, known, anytime) for mean, known in differences]
    e_values: list[float | None] = [None] * len(differences)
    bounds = p_values
    if anytime:
        logs = [estimators.log_e_value(mean, known, fdr) for mean, known in differences]
        bounds = [_exp(-log) for log in logs]
        e_values = [_exp(log) for log in logs]
    if tested is None:
        tested = sum(not math.isnan(bound) for bound in bounds)
    adjusted = adjusted_p_values(bounds, tested)
    found = sum(each <= fdr for each in adjusted)
    alpha = fdr * max(found, 1) / max(tested, 1)
    level = min(1 - alpha, 1 - sys.float_info.epsilon)
    decisions = []
    for (mean, known), p, e, bound in zip(differences, p_values, e_values, adjusted, strict=True):
        margin = estimators.half_width(known, level, anytime, fdr)
        better: Literal["A", "B"] | None = None
        if bound <= fdr:
            better = "A" if mean < 0 else "B"
        decisions.append(Decision((mean - margin, mean + margin), p, e, bound, better))
    return Decisions(decisions, level, tested)


def _exp(x: float) -> float:
    """Return e to the x, inf if that overflows."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
