"""Calibration: whether predictions come true as often as they say, from the integers of a ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from streamce._support.html_repr import HtmlRepr
from streamce._support.rational import quotient, root
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.ledger.state import CONFIDENCE_BINS, EXCESS, EXPECTED, HITS, SPLIT, VARIANCE, State
from streamce.errors import InputError
from streamce.stats import summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamce.core.ledger.ledger import Ledger

GRID = 1 << 1074  # the unit of the exact sums is 2^-1074


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of a reliability diagram.

    Attributes
    ----------
    low, high : float
        Its bounds: low <= confidence < high; the last bin holds 1.
    weight : float
        Sum of the weights of the losses in it.
    confidence, frequency : float
        The mean probability predicted, and how often what was predicted came, both by weight.
    count : int
        Losses in it.
    """

    low: float
    high: float
    weight: float
    confidence: float
    frequency: float
    count: int


@dataclass(frozen=True, slots=True)
class Calibration(HtmlRepr, DefaultModeMethods):
    """How far predictions are to be believed; ``print`` shows it as a table.

    Confidence is the predicted probability of outcome 1, or of the likeliest class (the first of several); frequency is
    how often outcome 1, or that class, came. All means are weighted. Losses of weight 0 are left out.

    Attributes
    ----------
    loss : float
        The mean loss seen, in nats, as ``compute()`` has it.
    expected : float
        The mean loss that the predictions expect of themselves: their entropy, in nats. Below ``loss`` they are
        overconfident, above it too cautious.
    z : float
        ``loss - expected`` in units of its standard deviation if the predictions were right:
        Σ d (-log p - H) / √(Σ d² V), with d the weight, and H the mean and V the variance of -log p if outcomes come
        as predicted. Standard normal for many calibrated predictions, also where each was made knowing the outcomes
        before it.
    p_value : float
        Of a z as far from 0 on either side, under the standard normal distribution.
    bins : tuple of Bin
        The reliability diagram: of 15 equal bins of confidence on [0, 1] those that hold losses.
    count : int
        Losses in all bins.
    ece : float
        Expected calibration error: the mean of ``|frequency - confidence|`` over the bins, by weight.
    calibration, refinement : float or None
        ``loss`` split in two, in nats. Calibration is the Kullback-Leibler divergence of the mean prediction in each
        bin from what came there, the mean over the bins by weight: multiplying the probabilities of each bin by
        frequency / mean would take at least that from ``loss``. Refinement is the rest. Of classes a bin is one of the
        likeliest class and of its confidence. None if any predictions had more than 100 classes.

    Notes
    -----
    The z-score is that of Spiegelhalter (Statistics in Medicine 5, 1986) with the log loss as the score; Seillier-
    Moiseiwitsch and Dawid (JASA 88, 1993) show that it holds for forecasts in sequence. It takes each loss as an
    outcome of its own, given the prediction: it is too far from 0 where outcomes go together, as within clusters, and
    too close to it with soft targets.

    The split is that of the logarithmic score into reliability and what resolution leaves of the uncertainty (Bröcker,
    Quarterly Journal of the Royal Meteorological Society 135, 2009), with bins in place of equal predictions. Errors
    of one bin that cancel in its means are not seen, neither by calibration nor by ``ece``: both are then too small,
    and refinement too large. Chance makes both too large: of calibrated predictions, calibration is about
    B (C - 1) / (2 k) nats for k losses of C outcomes in B bins.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.BinaryCrossEntropy(calibration=True)
    >>> metric = metric.update([0.9] * 100 + [0.3] * 100, [1] * 80 + [0] * 20 + [1] * 30 + [0] * 70)
    >>> found = metric.calibration()
    >>> round(found.ece, 6), round(found.expected, 4), round(found.loss, 4)
    (0.05, 0.468, 0.5778)
    >>> print(found)
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
        """A flat dict of plain values, as JSON takes it; of the bins a list of each of their fields."""
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
            shown = f"{each.low:.4f} to {each.high:.4f}", f"{each.confidence:.4g}", f"{each.frequency:.4g}"
            table.append((*shown, f"{each.count:,}"))
        width = max(len(middle) for _, middle, _ in rows)
        lines = [f"{name:<16}{middle:<{width}}   {what}" for name, middle, what in rows]
        return "\n".join([*lines, "", *(f"{a:<18}{b:<13}{c:<11}{d}" for a, b, c, d in table)])


def read(state: State, *, classes: bool, floor: float) -> Calibration:
    """What a state says; ``classes`` where confidence is that of the likeliest of several.

    InputError if more was taken away than had been added.
    """
    ledger = state.calibration
    column: Callable[[str], dict[int, int]] = ledger.column if ledger is not None else lambda name: {}
    counts, sums, excess = column("samples"), column("n"), column("d")
    weights = {cell: count * GRID + excess.get(cell, 0) for cell, count in counts.items()}
    for cell in {*counts, *excess}:
        _check(counts.get(cell, 0) >= 0 and weights.get(cell, -1) >= 0, cell)
    for cell, total in sums.items():
        _check(total >= 0 or cell == EXCESS, cell)
    whole = sum(weights.get(cell, 0) for cell in range(CONFIDENCE_BINS))
    bins, off, outcomes = [], 0, {}
    for cell in range(CONFIDENCE_BINS):
        weight, confidence, hits = weights.get(cell, 0), sums.get(cell, 0), sums.get(HITS + cell, 0)
        _check(hits <= weight, HITS + cell)
        if cell not in counts:
            continue
        off += abs(confidence - hits)
        outcomes[cell] = [(hits, confidence), (weight - hits, sums.get(SPLIT + cell, 0))]
        means = quotient(weight, GRID), quotient(confidence, weight), quotient(hits, weight)
        bins.append(Bin(cell / CONFIDENCE_BINS, (cell + 1) / CONFIDENCE_BINS, *means, counts[cell]))
    if classes:
        outcomes = _of_classes(weights, sums)
    loss, divergence = summary.mean(state.total), _divergence(outcomes, whole, floor)
    expected = math.nan if _is_infinite(ledger, EXPECTED) else quotient(sums.get(EXPECTED, 0), whole)
    z = _z(ledger, sums.get(EXCESS, 0), sums.get(VARIANCE, 0))
    return Calibration(
        loss=loss,
        expected=expected,
        z=z,
        p_value=math.erfc(abs(z) / math.sqrt(2)),
        bins=tuple(bins),
        count=sum(each.count for each in bins),
        ece=quotient(off, whole),
        calibration=divergence,
        refinement=None if divergence is None else loss - divergence,
    )


def _check(makes_sense: bool, cell: int) -> None:
    if not makes_sense:
        found = f"has less than no losses in cell {cell}: more was taken away than had been added"
        raise InputError("calibration", found)


def _of_classes(weights: dict[int, int], sums: dict[int, int]) -> dict[int, list[tuple[int, int]]]:
    """What came and what was predicted of each class, by bin: of the likeliest class, and of its confidence."""
    found: dict[int, list[tuple[int, int]]] = {}
    for cell in {*weights, *sums}:
        if cell >= SPLIT:
            pair, bin_ = divmod(cell - SPLIT, CONFIDENCE_BINS)
            most = math.isqrt(pair)
            at = pair - most * most
            top = most if at <= most else at - most - 1
            found.setdefault(top * CONFIDENCE_BINS + bin_, []).append((weights.get(cell, 0), sums.get(cell, 0)))
    return found


def _divergence(outcomes: dict[int, list[tuple[int, int]]], whole: int, floor: float) -> float | None:
    """The mean over bins, by weight, of the Kullback-Leibler divergence of what was predicted from what came.

    None if there are bins whose outcomes were not kept.
    """
    if sum(came for each in outcomes.values() for came, _ in each) != whole:
        return None
    terms = []
    for each in outcomes.values():
        weight, predicted = (sum(sums) for sums in zip(*each, strict=True))
        for came, sum_of_p in each:
            if came:
                p = max(quotient(sum_of_p, predicted), floor)
                frequency = quotient(came, weight)
                terms.append(quotient(came, whole) * (math.log(frequency / p) if p > 0 else math.inf))
    return max(0.0, math.fsum(terms)) if terms else math.nan


def _z(ledger: Ledger | None, excess: int, variance: int) -> float:
    """A sum in units of its standard deviation: exact integers until they are rounded."""
    if _is_infinite(ledger, VARIANCE):
        return math.nan
    if _is_infinite(ledger, EXCESS):  # what was held for impossible
        return math.inf
    size = root(excess * excess, variance * GRID) if variance else math.inf if excess else math.nan
    return -size if excess < 0 else size


def _is_infinite(ledger: Ledger | None, cell: int) -> bool:
    return ledger is not None and cell < ledger.size and not {"n+inf", "n-inf"}.isdisjoint(ledger.cell(cell))
