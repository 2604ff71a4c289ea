"""Normalized entropy: log loss relative to that of always predicting the base rate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from streamce.core.kernels import kernels
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.keys.key_columns import bucket_of
from streamce.metrics.base import Metric, settled
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.composite import Composite, States
from streamce.metrics.mean_loss import MeanLoss
from streamce.metrics.options import EPS
from streamce.metrics.update_from import FromStreams
from streamce.stats import summary

if TYPE_CHECKING:
    from streamce.stats.summary import Summary


class NormalizedEntropy(Composite, FromStreams):
    """Running normalized entropy: mean log loss over the entropy of the base rate.

    With R the weighted mean log loss, y the outcomes and q = Σ weight · y / Σ weight their base rate,

        NE = R / H(q),    H(q) = -q log q - (1 - q) log(1 - q)

    1 is what always predicting q costs; smaller is better, and 1 - NE is the share of the deviance
    explained, D²: see :meth:`skill`. It is nan while only one outcome has been seen. For more than two
    outcomes there is :class:`MulticlassNormalizedEntropy`.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        What ``preds`` holds: p, log p, or log(p / (1 - p)).
    eps : float
        Floor of a probability that counts; 0 keeps the honest infinity. Logits need none.
    invalid : {"raise", "skip"}
        What to do with invalid samples: raise, or count them by cause and go on.
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.

    Notes
    -----
    He et al. (2014), *Practical lessons from predicting clicks on ads at Facebook*; as
    ``torcheval.metrics.BinaryNormalizedEntropy`` has it. The interval is by the delta method, with
    the covariance of loss and outcome.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.NormalizedEntropy().update([0.2, 0.3], [1, 0]).compute()
    1.41825...
    """

    # The loss, the outcome, and their sum, whose variance tells how the two go together.
    _names = ("both", "loss", "outcome")
    __slots__ = ()

    # ---- adding ----

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        """Add a chunk.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16, or a float
            Any shape; the first axis is that of the samples.
        target : array of integers or bool (0 or 1), or of real numbers in [0, 1]
            The shape of ``preds``.
        weight : array, optional
            One per sample (first axis) or one per entry, finite and 0 or more.
        cluster : array, or tuple of arrays, optional
            Which document, user or session each sample belongs to: integers, strings or any other
            keys. Errors are then robust to samples of one cluster being alike. In all updates, or none.

        Raises
        ------
        InputError
            For input without meaning; nothing was added then.
        """
        self._update(preds, target, weight, cluster)
        return self

    def _update(self, preds: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None) -> None:
        target, weight, bucket = arrays.once(target, "target"), arrays.once(weight, "weight"), bucket_of(cluster)
        preds, shape = arrays.plain(preds, "preds")
        losses = np.empty(shape)
        chunk, pipeline, status = States(self._names), self._metric._pipeline, settled(null)
        outputs = Outputs(losses=losses.reshape(-1))
        pipeline.update_batch(chunk["loss"], Batch(preds, target, weight, status=status), outputs, bucket)
        if weight is not None:  # those losses have it in them
            pipeline.update_batch(State(), Batch(preds, target, status=status), outputs)
        target = arrays.read(target, "target")
        outcomes = arrays.widened(target.values, target.halves).astype(np.float64, order="C")
        outcomes[np.isnan(losses)] = np.nan  # invalid: left out of all sums alike
        mean = MeanLoss(invalid="skip", threads=self.options["threads"])._pipeline  # what is invalid was judged above
        mean.update(chunk["outcome"], outcomes, None, weight, bucket)
        kernels.add(outcomes.reshape(-1), losses.reshape(-1))
        mean.update(chunk["both"], losses, None, weight, bucket)
        self._state.merge(chunk)

    @property
    def _of_losses(self) -> Metric:
        return self._metric

    def __call__(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> float:
        """Update, and return the value of this chunk alone."""
        chunk = self._empty().update(preds, target, weight=weight, cluster=cluster)
        self._state.merge(chunk._state)
        return chunk.compute()

    # ---- reading ----

    def compute(self) -> float:
        """Mean log loss over the entropy of the base rate; nan while one outcome alone was seen."""
        state = self._state.copy()
        return _ratio(summary.mean(state["loss"].total), entropy(summary.mean(state["outcome"].total)))

    def skill(self) -> float:
        """1 - NE, the skill against the base rate: D², the share of the deviance explained, McFadden's R².

        1 is perfect, 0 no better than always predicting the base rate; its interval is 1 less that of NE.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.NormalizedEntropy().update([0.8, 0.1, 0.7], [1, 0, 1]).skill()
        0.64118...
        """
        return 1 - self.compute()

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """The summary of the log loss, with ``value`` and ``interval`` those of the normalized entropy."""
        state = self._state.copy()
        loss, outcome, both = (
            summary.summarise(state[name].total, level=level, anytime=anytime, buckets=state[name].buckets)
            for name in ("loss", "outcome", "both")
        )
        rate = outcome.mean
        base = entropy(rate)
        value, margin = _ratio(loss.mean, base), math.nan
        known = loss if loss.stderr > 0 else outcome  # losses that are all equal have no interval to go by
        if base > 0 and math.isfinite(loss.mean) and known.stderr > 0:
            # d NE = (d R - NE H'(q) d q) / H(q), with H'(q) = log((1 - q) / q).
            slope = value * math.log((1 - rate) / rate)
            of_loss, of_outcome, of_both = (part.stderr * part.stderr for part in (loss, outcome, both))
            spread = of_loss - slope * (of_both - of_loss - of_outcome) + slope * slope * of_outcome
            if math.isfinite(spread):
                multiple = (known.interval[1] - known.mean) / known.stderr
                margin = multiple * math.sqrt(max(0.0, spread)) / base
        return replace(loss, value=value, interval=(value - margin, value + margin))


class MulticlassNormalizedEntropy(Metric):
    """Running normalized entropy of several classes: mean log loss over the entropy of the class frequencies.

    With R the weighted mean log loss and q_k = Σ weight of the rows of class k / Σ weight,

        NE = R / H(q),    H(q) = -Σ_k q_k log q_k

    1 is what always predicting q costs; smaller is better, and 1 - NE is the share of the deviance
    explained, D²: see :meth:`skill`. It is nan while only one class has been seen.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        What ``preds`` holds; logits go through a softmax.
    ignore_index : int, optional
        Labels of this value are left out, of loss and frequencies alike.
    eps : float
        Floor of a probability that counts; 0 keeps the honest infinity. Logits need none.
    invalid : {"raise", "skip"}
        What to do with invalid rows: raise, or count them by cause and go on.
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.

    Notes
    -----
    The interval is by the delta method. Of all fixed predictions q costs least, so that to first order an
    error of q does not change H(q), and NE varies as the ratio of Σn to Σd·(-log q_label) with q known:

        stderr² = k / (k - 1) · Σ (n - NE · d · (-log q_label))² / (H(q) Σd)²

    over the k rows, n being weight · loss and d the weight; the sums are those by class.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.MulticlassNormalizedEntropy()
    >>> metric.update([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], [0, 1, 2]).compute()
    0.54122...
    """

    _task = "multiclass"
    __slots__ = ()

    def __init__(
        self,
        *,
        kind: Literal["probs", "log_probs", "logits"] = "probs",
        ignore_index: int | None = None,
        eps: float = EPS,
        invalid: Literal["raise", "skip"] = "raise",
        threads: int | None = None,
    ) -> None:
        super().__init__(dict(locals()), per_cell=True)

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        """Add a chunk.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Shape (N, C), or (C,) for one row.
        target : array of integers
            Labels, shape (N,), or one label for one row.
        weight : array, optional
            One per row, finite and 0 or more.
        cluster : None
            Must be left out: sums by class and by cluster together, which errors robust to clusters would
            need, are not kept.

        Raises
        ------
        InputError
            For input without meaning; nothing was added then.
        """
        self._update(preds, target, weight, cluster)
        return self

    @kernels.in_default_mode
    def _update(self, preds: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None) -> None:
        if cluster is not None:
            raise InputError("cluster", "is given", "None: errors by cluster are for the binary NormalizedEntropy")
        preds, shape = arrays.plain(preds, "preds")
        if len(shape) > 2:
            raise InputError("preds", f"has shape {shape}", "(N, C): one loss per sample")
        super()._update(preds, target, weight, null=null)

    def _take(self, parts: dict[str, bytes]) -> None:
        if "buckets" in parts:
            raise ValueError("it has samples in clusters")
        super()._take(parts)

    def compute(self) -> float:
        """Mean log loss over the entropy of the class frequencies; nan while one class alone was seen."""
        return self._against(self._state.copy())[0]

    def skill(self) -> float:
        """1 - NE, the skill against the class frequencies: D², the share of the deviance explained, McFadden's R².

        1 is perfect, 0 no better than always predicting the frequencies; its interval is 1 less that of NE.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MulticlassNormalizedEntropy()
        >>> metric.update([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], [0, 1, 2]).skill()
        0.45877...
        """
        return 1 - self.compute()

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """The summary of the log loss, with ``value`` and ``interval`` those of the normalized entropy."""
        state = self._state.copy()
        loss = summary.summarise(state.total, level=level, anytime=anytime)
        value, base, costs = self._against(state)
        error = math.nan
        if state.cells is not None and math.isfinite(value) and loss.samples > 1:
            spread = 0.0
            for cell, cost in costs.items():
                spread += summary.spread(state.cells, cell, value * cost)
            error = math.sqrt(loss.samples / (loss.samples - 1) * spread) / (base * loss.weight)
        margin = summary.margin(error, state.total, level, anytime)
        return replace(loss, value=value, interval=(value - margin, value + margin))

    @staticmethod
    def _against(state: State) -> tuple[float, float, dict[int, float]]:
        """Normalized entropy, the entropy of the frequencies, and what predicting these costs each class seen."""
        shares = summary.shares(state.cells) if state.cells is not None else {}
        # -log q, or of shares near 1, for the sake of its digits, -log(1 - the others' share)
        least = [min(pair) for pair in shares.values()]
        rarer = [int(share <= others) for share, others in shares.values()]
        costs = np.empty(len(shares))
        batch, outputs = Batch(np.array(least), np.array(rarer, int)), Outputs(losses=costs)
        BinaryCrossEntropy(eps=0.0)._pipeline.update_batch(State(), batch, outputs)
        base = math.fsum(share * cost for (share, _), cost in zip(shares.values(), costs.tolist(), strict=True))
        return _ratio(summary.mean(state.total), base), base, dict(zip(shares, costs.tolist(), strict=True))


def entropy(rate: float) -> float:
    """The entropy of an outcome of this rate, in nats; 0 where it is certain, nan outside of [0, 1]."""
    if not 0 <= rate <= 1:
        return math.nan
    if rate in (0.0, 1.0):
        return 0.0
    # The log loss of predicting the rate, by this library's own logarithm.
    metric = BinaryCrossEntropy(eps=0.0).update(rate, np.float64(rate))
    return metric.compute()


def _ratio(loss: float, base: float) -> float:
    return loss / base if base > 0 else math.nan
