"""Defines normalized entropy: log loss divided by the loss of always predicting the base rate."""

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
from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics.base import Metric, null_status
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.composite import Composite, States
from streamce.metrics.mean_loss import MeanLoss
from streamce.metrics.options import EPS
from streamce.metrics.update_from import UpdateFromMixin
from streamce.stats import estimators, summary

if TYPE_CHECKING:
    from streamce.core.samples.routes import Routes
    from streamce.stats.summary import Summary


class NormalizedEntropy(Composite, UpdateFromMixin):
    """Running normalized entropy: mean log loss over the entropy of the base rate.

    With R the weighted mean log loss, y the outcomes and q = Σ weight · y / Σ weight their base rate,

        NE = R / H(q),    H(q) = -q log q - (1 - q) log(1 - q)

    Always predicting q has NE = 1, and smaller is better. 1 - NE is D², the explained share of the deviance: see
    :meth:`skill`. NE is nan while only one outcome has been seen. For more than two outcomes use
    :class:`MulticlassNormalizedEntropy`.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``: p, log p, or log(p / (1 - p)).
    eps : float
        The floor of the probabilities that count. 0 keeps infinite losses. Logits need no floor.
    invalid : {"raise", "skip"}
        Raise an error for invalid samples, or count them by cause and continue.
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.

    Notes
    -----
    The definition is that of He et al. (2014), *Practical lessons from predicting clicks on ads at Facebook*, and of
    ``torcheval.metrics.BinaryNormalizedEntropy``. The interval follows from the delta method with the covariance of
    loss and outcome.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.NormalizedEntropy().update([0.2, 0.3], [1, 0]).compute()
    1.41825...
    """

    # The loss, the outcome, and their sum, from whose variance the covariance of the two follows.
    _names = ("both", "loss", "outcome")
    _title = "Normalized entropy"
    __slots__ = ()

    # ---- adding ----

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        """Add a batch.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16, or a float
            Any shape. The first axis is that of the samples.
        target : array of integers or bool (0 or 1), or of real numbers in [0, 1]
            The shape of ``preds``, where (N, 1) is (N,).
        weight : array, optional
            One per sample (first axis) or one per entry, finite and at least 0.
        cluster : array, or tuple of arrays, optional
            The document, user or session of each sample: integers, strings or any other keys. Standard errors are then
            robust to correlated samples of one cluster. Give it in all updates or in none.

        Raises
        ------
        InputError
            If the input is invalid. Nothing is added then.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.NormalizedEntropy(kind="logits").update([0.0, 0.0], [0, 1], weight=[1.0, 1.0]).compute()
        1.0
        """
        self._update(preds, target, weight, cluster)
        return self

    def _update(self, preds: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None) -> None:
        self._state.merge(self._add(States(self._names), preds, target, weight, cluster, null))

    def _split(
        self,
        routes: Routes,
        preds: Any,
        target: Any,
        *,
        weight: Any = None,
        cluster: Any = None,
        null: Any = None,
    ) -> list[States]:
        of_sums = {name: routes.fresh() for name in self._names}
        self._add(States(self._names), preds, target, weight, cluster, null, of_sums)
        states = {name: of_one.filled() for name, of_one in of_sums.items()}
        return [States.from_states(dict(zip(states, each, strict=True))) for each in zip(*states.values(), strict=True)]

    def _add(
        self,
        batch: States,
        preds: Any,
        target: Any,
        weight: Any,
        cluster: Any,
        null: Any,
        routes: dict[str, Routes] | None = None,
    ) -> States:
        """Add a batch to states, or to those of the routes of each sum. Return the states."""
        target, weight, bucket = (
            arrays.materialize(target, "target"),
            arrays.materialize(weight, "weight"),
            hash_clusters(cluster),
        )
        preds, shape = arrays.convert_with_shape(preds, "preds")
        losses = np.empty(shape)
        pipeline, status = self._metric._pipeline, null_status(null)
        of_loss, of_outcome, of_both = ((routes or {}).get(name) for name in ("loss", "outcome", "both"))
        outputs = Outputs(losses=losses.reshape(-1), routes=of_loss)
        pipeline.update_batch(batch["loss"], Batch(preds, target, weight, status=status), outputs, bucket)
        if weight is not None:  # the losses above are multiplied by it
            outputs = Outputs(losses=losses.reshape(-1))
            pipeline.update_batch(State(), Batch(preds, target, status=status), outputs)
        target = arrays.convert(target, "target")
        outcomes = arrays.bfloat16_to_float32(target.values, target.is_bfloat16).astype(np.float64, order="C")
        outcomes = outcomes.reshape(shape)  # (N, 1) is (N,)
        outcomes[np.isnan(losses)] = np.nan  # invalid samples are excluded from all sums
        mean = MeanLoss(invalid="skip", threads=self.options["threads"])._pipeline  # errors were raised above
        mean.update_batch(batch["outcome"], Batch(outcomes, None, weight), Outputs(routes=of_outcome), bucket)
        kernels.add(outcomes.reshape(-1), losses.reshape(-1))
        mean.update_batch(batch["both"], Batch(losses, None, weight), Outputs(routes=of_both), bucket)
        return batch

    @property
    def _loss_metric(self) -> Metric:
        return self._metric

    def __call__(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> float:
        """Update, and return the value of this batch alone."""
        batch = self._new().update(preds, target, weight=weight, cluster=cluster)
        self._state.merge(batch._state)
        return batch.compute()

    def _sections(self) -> tuple[str, ...]:
        return ("normalized_entropy",)

    # ---- reading ----

    def compute(self) -> float:
        """Return mean log loss over the entropy of the base rate; nan while only one outcome has been seen."""
        state = self._state.copy()
        return _ratio(estimators.mean(state["loss"].total), entropy(estimators.mean(state["outcome"].total)))

    def skill(self) -> float:
        """Return 1 - NE, the skill against the base rate: D², the explained share of the deviance.

        It is also McFadden's R². 1 is perfect, and 0 is no better than always predicting the base rate. Its interval
        is 1 minus that of NE.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.NormalizedEntropy().update([0.8, 0.1, 0.7], [1, 0, 1]).skill()
        0.64118...
        """
        return 1 - self.compute()

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary of the log loss, with ``value`` and ``interval`` of the normalized entropy."""
        state = self._state.copy()
        loss, outcome, both = (
            summary.summarise(state[name].total, level=level, anytime=anytime, buckets=state[name].buckets)
            for name in ("loss", "outcome", "both")
        )
        rate = outcome.mean
        base = entropy(rate)
        value, margin = _ratio(loss.mean, base), math.nan
        varying = loss if loss.stderr > 0 else outcome  # losses that are all equal have no interval
        if base > 0 and math.isfinite(loss.mean) and varying.stderr > 0:
            # d NE = (d R - NE H'(q) d q) / H(q), with H'(q) = log((1 - q) / q).
            slope = value * math.log((1 - rate) / rate)
            var_loss, var_outcome, var_both = (each.stderr * each.stderr for each in (loss, outcome, both))
            # The variance of the sum holds twice the covariance.
            variance = var_loss - slope * (var_both - var_loss - var_outcome) + slope * slope * var_outcome
            if math.isfinite(variance):
                multiple = (varying.interval[1] - varying.mean) / varying.stderr
                margin = multiple * math.sqrt(max(0.0, variance)) / base
        return replace(loss, value=value, interval=(value - margin, value + margin))


class MulticlassNormalizedEntropy(Metric):
    """Running normalized entropy of several classes: mean log loss over the entropy of the class frequencies.

    With R the weighted mean log loss and q_k = Σ weight (rows of class k) / Σ weight (all rows),

        NE = R / H(q),    H(q) = -Σ_k q_k log q_k

    Always predicting q has NE = 1, and smaller is better. 1 - NE is D², the explained share of the deviance: see
    :meth:`skill`. NE is nan while only one class has been seen.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``. Logits go through a softmax.
    ignore_index : int, optional
        Labels with this value are ignored, in the loss and in the frequencies.
    eps : float
        The floor of the probabilities that count. 0 keeps infinite losses. Logits need no floor.
    invalid : {"raise", "skip"}
        Raise an error for invalid rows, or count them by cause and continue.
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.

    Notes
    -----
    The interval follows from the delta method. Of all constant predictions q has the smallest loss, so an error of q
    does not change H(q) to first order. NE therefore varies like the ratio of Σn to Σd·(-log q_label) with q known:

        stderr² = k / (k - 1) · Σ (n - NE · d · (-log q_label))² / (H(q) Σd)²

    The sums run over the k rows, with n = weight · loss and d = weight. They are computed from the sums by class.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.MulticlassNormalizedEntropy()
    >>> metric.update([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], [0, 1, 2]).compute()
    0.54122...
    """

    _task = "multiclass"
    _title = "Normalized entropy of classes"
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
        """Add a batch.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Shape (N, C), or (C,) for one row.
        target : array of integers
            Labels, shape (N,), or one label for one row.
        weight : array, optional
            One per row, finite and at least 0.
        cluster : None
            Must be omitted. Cluster-robust errors would need sums by class and cluster together, which are not kept.

        Raises
        ------
        InputError
            If the input is invalid. Nothing is added then.

        Examples
        --------
        >>> import streamce as ce
        >>> rows = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]
        >>> ce.MulticlassNormalizedEntropy().update(rows, [0, 1]).compute()
        1.0
        """
        self._run(self._state, preds, target, weight=weight, cluster=cluster)
        return self

    @kernels.in_default_mode
    def _run(self, state: State, preds: Any, target: Any = None, *, cluster: Any = None, **others: Any) -> None:
        if cluster is not None:
            raise InputError("cluster", "is given", "None: only the binary NormalizedEntropy takes clusters")
        preds, shape = arrays.convert_with_shape(preds, "preds")
        if len(shape) > 2:
            raise InputError("preds", f"has shape {shape}", "(N, C): one loss per sample")
        super()._run(state, preds, target, **others)

    def _sections(self) -> tuple[str, ...]:
        return ("normalized_entropy", "per_class")

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        if "buckets" in payload:
            raise ValueError("it has samples in clusters")
        super()._load_payload(payload)

    def compute(self) -> float:
        """Return mean log loss over the entropy of the class frequencies; nan while only one class has been seen."""
        return self._normalize(self._state.copy())[0]

    def _score(self) -> float:
        return self.compute()

    def skill(self) -> float:
        """Return 1 - NE, the skill against the class frequencies: D², the explained share of the deviance.

        It is also McFadden's R². 1 is perfect, and 0 is no better than always predicting the frequencies. Its interval
        is 1 minus that of NE.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MulticlassNormalizedEntropy()
        >>> metric.update([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], [0, 1, 2]).skill()
        0.45877...
        """
        return 1 - self.compute()

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary of the log loss, with ``value`` and ``interval`` of the normalized entropy."""
        state = self._state.copy()
        loss = summary.summarise(state.total, level=level, anytime=anytime)
        value, base, costs = self._normalize(state)
        error = math.nan
        if state.cells is not None and math.isfinite(value) and loss.samples > 1:
            spread = 0.0
            for cell, cost in costs.items():
                spread += estimators.residual_squares(state.cells, cell, value * cost)
            error = math.sqrt(loss.samples / (loss.samples - 1) * spread) / (base * loss.weight)
        margin = estimators.interval_margin(error, state.total, level, anytime)
        return replace(loss, value=value, interval=(value - margin, value + margin))

    @staticmethod
    def _normalize(state: State) -> tuple[float, float, dict[int, float]]:
        """Return NE, the entropy of the frequencies, and the loss of predicting the frequencies for each class seen."""
        shares = estimators.weight_shares(state.cells) if state.cells is not None else {}
        # The loss is -log q. For shares near 1, -log(1 - share of the others) keeps more digits.
        smaller = [min(pair) for pair in shares.values()]
        rarer = [int(share <= others) for share, others in shares.values()]
        costs = np.empty(len(shares))
        batch, outputs = Batch(np.array(smaller), np.array(rarer, int)), Outputs(losses=costs)
        BinaryCrossEntropy(eps=0.0)._pipeline.update_batch(State(), batch, outputs)
        base = math.fsum(share * cost for (share, _), cost in zip(shares.values(), costs.tolist(), strict=True))
        return _ratio(estimators.mean(state.total), base), base, dict(zip(shares, costs.tolist(), strict=True))


def entropy(rate: float) -> float:
    """Return the entropy in nats of an outcome of this rate: 0 for the rates 0 and 1, nan outside of [0, 1]."""
    if not 0 <= rate <= 1:
        return math.nan
    if rate in (0.0, 1.0):
        return 0.0
    # The log loss of predicting the rate uses the library's own logarithm, which gives the same bits everywhere.
    metric = BinaryCrossEntropy(eps=0.0).update(rate, np.float64(rate))
    return metric.compute()


def _ratio(loss: float, base: float) -> float:
    return loss / base if base > 0 else math.nan
