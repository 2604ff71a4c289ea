"""Mean losses to 50 digits, from the very numbers that the arrays hold."""

from __future__ import annotations

import math

import mpmath

from benchmarks.cases import Array, Case, wide

mpmath.mp.dps = 50


def mean(case: Case, preds: Array, target: Array | None) -> mpmath.mpf:
    """The mean loss of these rows."""
    x = wide(case, preds).tolist()
    if target is None or case.keys:  # the groups together
        losses = [mpmath.mpf(loss) for loss in x]
    else:
        one = _multiclass if case.job == "multiclass" else _binary
        losses = [one(case, pred, y) for pred, y in zip(x, target.tolist(), strict=True)]
    return mpmath.fsum(losses) / len(losses)


def _binary(case: Case, pred: float, y: float) -> mpmath.mpf:
    if case.kind == "logits":
        return mpmath.log1p(mpmath.exp(-pred if y else pred))
    return -mpmath.log(pred) if y else -mpmath.log1p(-mpmath.mpf(pred))


def _multiclass(case: Case, row: list[float], y: int | list[float]) -> mpmath.mpf:
    if case.kind == "probs":
        assert isinstance(y, int)
        return -mpmath.log(row[y])
    full = mpmath.log(mpmath.fsum(map(mpmath.exp, row)))
    if isinstance(y, int):
        a = mpmath.mpf(case.smoothing)
        mean_cost = full - mpmath.fsum(row) / len(row)
        return (1 - a) * (full - row[y]) + a * mean_cost
    return mpmath.fsum(mpmath.mpf(q) * (full - x) for q, x in zip(y, row, strict=True))


def error(value: float, true: mpmath.mpf) -> float:
    """The relative error of a value."""
    return float(abs(mpmath.mpf(value) - true) / true) if math.isfinite(value) else math.inf
