"""Mean losses to 50 digits, from the numbers that the arrays hold."""

from __future__ import annotations

import math

import mpmath

from benchmarks.cases import Array, Case, wide

mpmath.mp.dps = 50


def mean(case: Case, preds: Array, target: Array | None) -> mpmath.mpf:
    """Return the mean loss of these rows."""
    x = wide(case, preds).tolist()
    if target is None or case.keys:  # the mean of all groups together
        losses = [mpmath.mpf(loss) for loss in x]
    elif case.job == "ctc":
        losses = [_ctc(case, frames, labels) / case.labels for frames, labels in zip(x, target.tolist(), strict=True)]
    else:
        one = _multiclass if case.classes > 1 else _binary
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


def _ctc(case: Case, frames: list[list[float]], labels: list[int]) -> mpmath.mpf:
    """Return the loss of an utterance by the forward algorithm, with a blank (class 0) around each label."""
    states = [0, *(state for label in labels for state in (label, 0))]
    reached = [mpmath.mpf(1)] + [mpmath.mpf(0)] * len(labels) * 2
    for frame in frames:
        p = {state: mpmath.exp(frame[state]) for state in set(states)}
        full = mpmath.fsum(map(mpmath.exp, frame)) if case.kind == "logits" else 1
        before, reached = reached, []
        for s, state in enumerate(states):
            ways = before[s] + (before[s - 1] if s else 0)
            if s > 1 and state and state != states[s - 2]:
                ways += before[s - 2]
            reached.append(ways * p[state] / full)
    return -mpmath.log(reached[-1] + reached[-2])


def error(value: float, true: mpmath.mpf) -> float:
    """Return the relative error of a value."""
    return float(abs(mpmath.mpf(value) - true) / true) if math.isfinite(value) else math.inf
