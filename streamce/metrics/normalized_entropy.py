"""Defines normalized entropy: log loss divided by the loss of always predicting the base rate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from streamce._support.rational import GRID, quotient
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
    from streamce.inputs.arrays import Array
    from streamce.stats.estimators import Uncertainty
    from streamce.stats.summary import Summary

# The states that a comparison of two models' normalized entropies keeps, beside those of their losses: the outcomes,
# and their sums with the losses of each model and with the differences of the losses.
OUTCOME_NAMES = ("a_both", "b_both", "difference_both", "outcome")


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
    _unit = "NE"
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
        outputs = Outputs(losses=losses.reshape(-1), routes=(routes or {}).get("loss"))
        pipeline.update_batch(batch["loss"], Batch(preds, target, weight, status=status), outputs, bucket)
        if weight is not None:  # the losses above are multiplied by it
            losses = self._unweighted_losses(preds, target, null)
        outcomes = _outcomes(target, shape)
        self._add_outcomes(batch, outcomes, {"both": losses}, weight, bucket, routes or {})
        return batch

    def _unweighted_losses(self, preds: Any, target: Any, null: Any) -> Array:
        """Return the loss of each entry, NaN if it is invalid. Errors are those of the metric."""
        preds, shape = arrays.convert_with_shape(preds, "preds")
        losses = np.empty(shape)
        batch = Batch(preds, target, status=null_status(null))
        self._metric._pipeline.update_batch(State(), batch, Outputs(losses=losses.reshape(-1)))
        return losses

    def _add_outcomes(
        self,
        batch: States,
        outcomes: Array,
        losses: dict[str, Array],
        weight: Any,
        bucket: Any,
        routes: dict[str, Routes],
    ) -> None:
        """Add the outcomes to the state ``outcome``, and their sums with losses to the state of each name.

        Entries that are invalid in any of the losses are left out of all of them.
        """
        for each in losses.values():
            outcomes[np.isnan(each)] = np.nan
        mean = MeanLoss(invalid="skip", threads=self.options["threads"])._pipeline  # errors were raised above
        sums = {"outcome": outcomes}
        for name, each in losses.items():
            sums[name] = np.array(each, order="C")
            kernels.add(outcomes.reshape(-1), sums[name].reshape(-1))
        for name, each in sums.items():
            outputs = Outputs(routes=routes.get(name))
            mean.update_batch(batch[name], Batch(each, None, weight), outputs, bucket)

    def _outcomes_of_pairs(
        self, preds: tuple[Any, Any], target: Any, weight: Any, bucket: Any, null: Any, routes: Routes | None
    ) -> list[States]:
        """Return the states of the outcomes of two models' pairs, and of their sums with losses and differences.

        The inputs are converted. Without routes there is one state of each.
        """
        a, b = (self._unweighted_losses(each, target, null) for each in preds)
        with np.errstate(invalid="ignore"):
            difference = a - b
        difference[np.isinf(a) & np.isinf(b)] = np.inf  # not NaN, which stands for invalid entries
        losses = {"a_both": a, "b_both": b, "difference_both": difference}
        of_sums = {} if routes is None else {name: routes.fresh() for name in OUTCOME_NAMES}
        batch = States(OUTCOME_NAMES)
        self._add_outcomes(batch, _outcomes(target, a.shape), losses, weight, bucket, of_sums)
        if routes is None:
            return [batch]
        states = {name: of_one.filled() for name, of_one in of_sums.items()}
        return [States.from_states(dict(zip(states, each, strict=True))) for each in zip(*states.values(), strict=True)]

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
        return self._center(self._state.copy())

    def _center(self, state: States) -> float:
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
        return self._summarise(self._state.copy(), level, anytime)

    def _summarise(self, state: States, level: float, anytime: bool) -> Summary:
        loss = summary.summarise(state["loss"].total, level=level, anytime=anytime, buckets=state["loss"].buckets)
        return _with_value(loss, self._center(state), self._uncertainty(state))

    def _uncertainty(self, state: States) -> Uncertainty:
        """Return how precisely NE is estimated, by the delta method with the covariance of loss and outcome."""
        loss, outcome, both = (
            estimators.uncertainty(state[name].total.cell(), state[name].buckets)
            for name in ("loss", "outcome", "both")
        )
        mean, rate = (estimators.mean(state[name].total) for name in ("loss", "outcome"))
        base = entropy(rate)
        varying = loss if loss.stderr > 0 else outcome  # losses that are all equal have no interval
        if not (base > 0 and math.isfinite(mean) and varying.stderr > 0):
            return varying._replace(stderr=math.nan)
        # d NE = (d R - NE H'(q) d q) / H(q), with H'(q) = log((1 - q) / q).
        slope = _ratio(mean, base) * math.log((1 - rate) / rate)
        var_loss, var_outcome, var_both = (each.stderr * each.stderr for each in (loss, outcome, both))
        # The variance of the sum holds twice the covariance.
        variance = var_loss - slope * (var_both - var_loss - var_outcome) + slope * slope * var_outcome
        error = math.sqrt(max(0.0, variance)) / base if math.isfinite(variance) else math.nan
        return varying._replace(stderr=error)


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
    _unit = "NE"
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
        return self._center(self._state.copy())

    def _center(self, state: State) -> float:
        return self._normalize(state)[0]

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
        return self._summarise(self._state.copy(), level, anytime)

    def _summarise(self, state: State, level: float, anytime: bool) -> Summary:
        loss = summary.summarise(state.total, level=level, anytime=anytime)
        return _with_value(loss, self._center(state), self._uncertainty(state))

    def _uncertainty(self, state: State) -> Uncertainty:
        known = estimators.uncertainty(state.total.cell())
        value, base, costs = self._normalize(state)
        samples, error = estimators.sample_number(state.total.cell()), math.nan
        weight = quotient(estimators.weight_sum(state.total.cell()), GRID)
        if state.cells is not None and math.isfinite(value) and samples > 1:
            spread = 0.0
            for cell, cost in costs.items():
                spread += estimators.residual_squares(state.cells, cell, value * cost)
            error = math.sqrt(samples / (samples - 1) * spread) / (base * weight)
        return known._replace(stderr=error)

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


def _outcomes(target: Any, shape: tuple[int, ...]) -> Array:
    """Return the targets of a batch as float64, in the shape of the predictions."""
    target = arrays.convert(target, "target")
    outcomes = arrays.bfloat16_to_float32(target.values, target.is_bfloat16).astype(np.float64, order="C")
    reshaped: Array = outcomes.reshape(shape)  # (N, 1) is (N,)
    return reshaped


def _with_value(loss: Summary, value: float, known: Uncertainty) -> Summary:
    """Return the summary of a loss with a value that is known so precisely."""
    margin = known.stderr
    if margin > 0:
        margin *= estimators.interval_multiple(loss.level, loss.anytime, known.units, known.effective_samples)
    return replace(loss, value=value, interval=(value - margin, value + margin))


def _ratio(loss: float, base: float) -> float:
    return loss / base if base > 0 else math.nan
