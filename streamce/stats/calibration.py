"""Calibration: how well predicted probabilities agree with observed frequencies, from the integers of a ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from streamce._support.html_repr import HtmlRepr
from streamce._support.rational import GRID, quotient, root
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.ledger.calibration_cells import CONFIDENCE_BINS, EXCESS, EXPECTED, HITS, SPLIT, VARIANCE
from streamce.core.ledger.state import State
from streamce.errors import InputError
from streamce.stats import estimators

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamce.core.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of a reliability diagram.

    Attributes
    ----------
    low, high : float
        Its bounds: low <= confidence < high. The last bin includes 1.
    weight : float
        Sum of the weights of its losses.
    confidence, frequency : float
        Mean predicted probability of the outcome, and how often the outcome occurred, both by weight.
    count : int
        Number of its losses.
    """

    low: float
    high: float
    weight: float
    confidence: float
    frequency: float
    count: int


@dataclass(frozen=True, slots=True)
class Calibration(HtmlRepr, DefaultModeMethods):
    """Calibration of predictions; ``print`` shows it as a table.

    Confidence is the predicted probability of outcome 1, or of the most likely class (the first of several). Frequency
    is how often outcome 1, or that class, occurred. All means are weighted. Losses of weight 0 are left out.

    Attributes
    ----------
    loss : float
        Mean observed loss in nats, which ``compute()`` returns.
    expected : float
        Expected loss in nats: the mean loss of calibrated predictions, which is their entropy. If it is below ``loss``,
        the predictions are overconfident; if above, underconfident.
    z : float
        ``loss - expected`` in units of its standard deviation for calibrated predictions:
        Σ d (-log p - H) / √(Σ d² V), with d the weight, and H the mean and V the variance of -log p under the
        prediction. It is standard normal for many calibrated predictions, even if each was made with knowledge of the
        outcomes before it.
    p_value : float
        Two-sided p-value of ``z`` under the standard normal distribution.
    bins : tuple of Bin
        The reliability diagram: those of 15 equal bins of confidence on [0, 1] that contain losses.
    count : int
        Number of losses in all bins.
    ece : float
        Expected calibration error: the mean of ``|frequency - confidence|`` over the bins, by weight.
    calibration, refinement : float or None
        Two parts of ``loss``, in nats. Calibration is the Kullback-Leibler divergence of the mean prediction in each
        bin from the observed frequencies, averaged over the bins by weight. Multiplying the probabilities of each bin
        by frequency / mean would reduce ``loss`` by at least this much. Refinement is the rest. With classes, there is
        a bin for each pair of a most likely class and an interval of confidence. None if any predictions had more than
        100 classes.

    Notes
    -----
    The z-score is that of Spiegelhalter (Statistics in Medicine 5, 1986) with the log loss as the score; Seillier-
    Moiseiwitsch and Dawid (JASA 88, 1993) show that it holds for forecasts in sequence. It assumes that outcomes are
    independent, given the predictions. It is too far from 0 if outcomes are correlated, as within clusters, and too
    close to 0 with soft targets.

    The two parts are those of the logarithmic score: reliability, and uncertainty minus resolution (Bröcker, Quarterly
    Journal of the Royal Meteorological Society 135, 2009), with bins instead of equal predictions. Errors that cancel
    within a bin are invisible, both to calibration and to ``ece``; then both are too small, and refinement is too
    large. Chance makes both too large: for calibrated predictions, calibration is about B (C - 1) / (2 k) nats with k
    losses of C outcomes in B bins.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.BinaryCrossEntropy(calibration=True)
    >>> metric = metric.update([0.9] * 100 + [0.3] * 100, [1] * 80 + [0] * 20 + [1] * 30 + [0] * 70)
    >>> result = metric.calibration()
    >>> round(result.ece, 6), round(result.expected, 4), round(result.loss, 4)
    (0.05, 0.468, 0.5778)
    >>> print(result)
    loss            0.577835 nats    z 2.87, p-value 0.00408
    expected        0.467974 nats    the entropy of the predictions
    calibration     0.0222015 nats   refinement 0.555633
    ECE             0.05             of 2 bins that hold losses
    <BLANKLINE>
    confidence        predicted    observed   losses
    0.2667 to 0.3333  0.3          0.3        100
    0.8667 to 0.9333  0.9          0.8        100
    """

    loss: float
    expected: float
    z: float
    p_value: float
    bins: tuple[Bin, ...]
    count: int
    ece: float
    calibration: float | None
    refinement: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return a flat dict of values that JSON can hold, with a list for each field of the bins."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "bins"}
        return found | {f"bin_{part.name}": [getattr(each, part.name) for each in self.bins] for part in fields(Bin)}

    def __str__(self) -> str:
        rows = [
            ("loss", f"{self.loss:.6g} nats", f"z {self.z:.3g}, p-value {self.p_value:.3g}"),
            ("expected", f"{self.expected:.6g} nats", "the entropy of the predictions"),
        ]
        if self.calibration is not None:
            rows.append(("calibration", f"{self.calibration:.6g} nats", f"refinement {self.refinement:.6g}"))
        rows.append(("ECE", f"{self.ece:.6g}", f"of {len(self.bins)} bins that hold losses"))
        table = [("confidence", "predicted", "observed", "losses")]
        for each in self.bins:
            means = f"{each.confidence:.4g}", f"{each.frequency:.4g}"
            table.append((f"{each.low:.4f} to {each.high:.4f}", *means, f"{each.count:,}"))
        width = max(len(middle) for _, middle, _ in rows)
        lines = [f"{name:<16}{middle:<{width}}   {explanation}" for name, middle, explanation in rows]
        return "\n".join([*lines, "", *(f"{a:<18}{b:<13}{c:<11}{d}" for a, b, c, d in table)])


def read(state: State, *, classes: bool, floor: float) -> Calibration:
    """Return the calibration that a state holds. ``classes`` says whether confidence is that of the most likely class.

    Raise InputError if more was subtracted than had been added.
    """
    ledger = state.calibration
    column: Callable[[str], dict[int, int]] = ledger.column if ledger is not None else lambda name: {}
    counts, sums, excess = column("samples"), column("n"), column("d")
    weights = {cell: count * GRID + excess.get(cell, 0) for cell, count in counts.items()}
    for cell in {*counts, *excess}:
        _check(counts.get(cell, 0) >= 0 and weights.get(cell, -1) >= 0, cell)
    for cell, total in sums.items():
        _check(total >= 0 or cell == EXCESS, cell)
    total_weight = sum(weights.get(cell, 0) for cell in range(CONFIDENCE_BINS))
    bins, distance, outcomes = [], 0, {}
    for cell in range(CONFIDENCE_BINS):
        weight, confidence, hits = weights.get(cell, 0), sums.get(cell, 0), sums.get(HITS + cell, 0)
        _check(hits <= weight, HITS + cell)
        if cell not in counts:
            continue
        distance += abs(confidence - hits)
        outcomes[cell] = [(hits, confidence), (weight - hits, sums.get(SPLIT + cell, 0))]
        means = quotient(weight, GRID), quotient(confidence, weight), quotient(hits, weight)
        bins.append(Bin(cell / CONFIDENCE_BINS, (cell + 1) / CONFIDENCE_BINS, *means, counts[cell]))
    if classes:
        outcomes = _class_outcomes(weights, sums)
    loss, divergence = estimators.mean(state.total), _divergence(outcomes, total_weight, floor)
    expected = math.nan if _is_infinite(ledger, EXPECTED) else quotient(sums.get(EXPECTED, 0), total_weight)
    z = _z(ledger, sums.get(EXCESS, 0), sums.get(VARIANCE, 0))
    return Calibration(
        loss=loss,
        expected=expected,
        z=z,
        p_value=math.erfc(abs(z) / math.sqrt(2)),
        bins=tuple(bins),
        count=sum(each.count for each in bins),
        ece=quotient(distance, total_weight),
        calibration=divergence,
        refinement=None if divergence is None else loss - divergence,
    )


def _check(is_possible: bool, cell: int) -> None:
    if not is_possible:
        raise InputError("calibration", f"has a negative sum in cell {cell}: {estimators.SUBTRACTED}")


def _class_outcomes(weights: dict[int, int], sums: dict[int, int]) -> dict[int, list[tuple[int, int]]]:
    """Return (observed, predicted) of each class, for each bin of a most likely class and its confidence."""
    outcomes: dict[int, list[tuple[int, int]]] = {}
    for cell in {*weights, *sums}:
        if cell >= SPLIT:
            pair, bin_ = divmod(cell - SPLIT, CONFIDENCE_BINS)
            largest = math.isqrt(pair)
            rest = pair - largest**2
            top = largest if rest <= largest else rest - largest - 1
            outcomes.setdefault(top * CONFIDENCE_BINS + bin_, []).append((weights.get(cell, 0), sums.get(cell, 0)))
    return outcomes


def _divergence(outcomes: dict[int, list[tuple[int, int]]], total_weight: int, floor: float) -> float | None:
    """Return the Kullback-Leibler divergence of predictions from observed frequencies, averaged over bins by weight.

    Return None if the state does not hold the outcomes of all bins.
    """
    if sum(observed for each in outcomes.values() for observed, _ in each) != total_weight:
        return None
    terms = []
    for each in outcomes.values():
        weight, predicted = (sum(sums) for sums in zip(*each, strict=True))
        for observed, sum_of_p in each:
            if observed:
                p = max(quotient(sum_of_p, predicted), floor)
                frequency = quotient(observed, weight)
                terms.append(quotient(observed, total_weight) * (math.log(frequency / p) if p > 0 else math.inf))
    return max(0.0, math.fsum(terms)) if terms else math.nan


def _z(ledger: Ledger | None, excess: int, variance: int) -> float:
    """Return a sum in units of its standard deviation, computed from exact integers."""
    if _is_infinite(ledger, VARIANCE):
        return math.nan
    if _is_infinite(ledger, EXCESS):  # an outcome occurred whose predicted probability was 0
        return math.inf
    size = root(excess * excess, variance * GRID) if variance else math.inf if excess else math.nan
    return -size if excess < 0 else size


def _is_infinite(ledger: Ledger | None, cell: int) -> bool:
    return ledger is not None and cell < ledger.size and not {"n+inf", "n-inf"}.isdisjoint(ledger.cell(cell))
