"""Common code with NumPy, SciPy, scikit-learn and river, and with the standard library alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import SCALARS, Array, Case
from benchmarks.rivals import Chunk, Rival, Run, average

Mean = Callable[[Any, Any], Any]


def taken(costs: Array, y: Array) -> Array:
    """Return the entries of the true classes."""
    return costs[np.arange(len(y)), y]


class Numpy(Rival):
    def version(self) -> str:
        return f"NumPy {np.__version__}"

    def function(self, case: Case) -> Run | None:
        if case.stored or case.job == "ctc" or case.forms == (SCALARS,) or case.dtype not in ("float32", "float64"):
            return None
        return average(self._mean(case))

    def _mean(self, case: Case) -> Mean:
        if case.job == "grouped":
            return lambda x, keys: _by_keys(x, keys, case.keys)
        if case.job == "mean":
            return lambda x, _: (x.mean(), np.dot(x, x))[0]  # rounded sums of losses and squares
        if case.job == "binary" and case.kind == "logits":
            return lambda x, y: (np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))).mean()
        if case.job == "binary":
            return lambda p, y: -np.log(np.where(y, p, 1 - p)).mean()
        if case.kind == "probs":
            return lambda p, y: -np.log(taken(p, y)).mean()
        return lambda x, y: _costs(case, x, y, self._log_sum_exp(x)).mean()

    @staticmethod
    def _log_sum_exp(x: Array) -> Array:
        top = x.max(axis=1, keepdims=True)
        return np.log(np.exp(x - top).sum(axis=1)) + top[:, 0]  # type: ignore[no-any-return]


def _by_keys(x: Array, keys: Array, number: int) -> Any:
    """Compute counts and rounded sums of losses and squares by key, and return the mean."""
    counts = np.bincount(keys, minlength=number)
    sums = np.bincount(keys, x, number)
    np.bincount(keys, x * x, number)
    return sums.sum() / counts.sum()


def _costs(case: Case, x: Array, y: Array, full: Array) -> Array:
    """Return the losses of logits, from ``full``, the logarithms of the sums of their exponentials."""
    if case.target == "soft":
        return full * y.sum(axis=1) - np.einsum("nc,nc->n", x, y)  # type: ignore[no-any-return]
    costs = full - taken(x, y)
    return (1 - case.smoothing) * costs + case.smoothing * (full - x.mean(axis=1)) if case.smoothing else costs


class Scipy(Numpy):
    most = 4_000_000

    def version(self) -> str:
        import scipy

        return f"SciPy {scipy.__version__}"

    def function(self, case: Case) -> Run | None:
        # SciPy has no function for a mean, or for the probabilities of many classes.
        if case.job in ("mean", "grouped") or (case.job == "multiclass" and case.kind == "probs"):
            return None
        return super().function(case)

    def _mean(self, case: Case) -> Mean:
        from scipy import special

        if case.job == "multiclass":
            return lambda x, y: _costs(case, x, y, special.logsumexp(x, axis=1)).mean()
        if case.kind == "logits":
            return lambda x, y: -special.log_expit(np.where(y, x, -x)).mean()
        return lambda p, y: -(special.xlogy(y, p) + special.xlog1py(1 - y, -p)).mean()


class ScikitLearn(Rival):
    most = 4_000_000

    def version(self) -> str:
        import sklearn

        return f"scikit-learn {sklearn.__version__}"

    def function(self, case: Case) -> Run | None:
        from sklearn.metrics import log_loss

        if case.kind != "probs" or case.forms == (SCALARS,) or case.job not in ("multiclass", "binary"):
            return None
        labels = np.arange(max(case.classes, 2))
        return average(lambda p, y: log_loss(y, p, labels=labels))


class Fsum(Rival):
    """The exact sum of the standard library, which does not sum squares."""

    most = 4_000_000

    def version(self) -> str:
        return "math.fsum"

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        return preds.tolist(), None  # floats of Python, because fsum is faster with them

    def function(self, case: Case) -> Run | None:
        return average(lambda x, _: math.fsum(x) / len(x)) if case.job == "mean" else None


class River(Rival):
    """A library that is made for one sample at a time."""

    def version(self) -> str:
        import river

        return f"river {river.__version__}"

    def function(self, case: Case) -> Run | None:
        from river import metrics

        if case.forms != (SCALARS,):
            return None

        def run(chunks: Any) -> float:
            metric = metrics.LogLoss()
            for p, y in chunks:
                metric.update(y, p)
            return float(metric.get())

        return run
