"""Defines the comparison of two models on the same samples, as a metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from streamce.metrics.composite import States
from streamce.metrics.update_from import missing_package
from streamce.stats import estimators
from streamce.stats.discoveries import Difference
from streamce.wrappers import composition, pair_inputs, pair_sums, paired_streams
from streamce.wrappers.base import MetricWrapper
from streamce.wrappers.pair_sums import DIFFERENCE, A, B
from streamce.wrappers.paired_summary import PairedSummary, better_model, verdict

if TYPE_CHECKING:
    import numpy as np

    from streamce._support.state_format import Header
    from streamce.core.samples.routes import Routes
    from streamce.metrics.base import Metric
    from streamce.stats.summary import Summary
    from streamce.wrappers.pair_inputs import PairInputs


class Paired(MetricWrapper):
    """Comparison of the losses of two models, A and B, sample by sample, in nats.

    With n_a and n_b the weighted losses of a sample and d its weight,

        compute() = Σ(n_a - n_b) / Σd

    It is negative if A is better. The two models' losses are correlated, so their difference is estimated more
    precisely than either mean.

    Parameters
    ----------
    metric : Metric
        An empty metric. Its options apply to both models.

    Notes
    -----
    A loss that does not count for one model (invalid input, an infeasible utterance) counts for neither. It is counted
    once, by the first cause that applies to either model. The difference of two infinite losses of the same sign is
    undefined, so the mean difference is then nan, as it is for two infinite means. The shares of samples in which a
    model is better still count all other samples. docs/UNCERTAINTY.md explains intervals and p-values.

    Like any metric it can be added and subtracted: across workers, shards or days.

    Examples
    --------
    >>> import streamce as ce
    >>> paired = ce.Paired(ce.BinaryCrossEntropy())
    >>> paired.update([0.9, 0.2, 0.6], [0.8, 0.3, 0.6], [1, 0, 1]).compute()
    -0.0837714...
    >>> paired.summary().a_better
    0.6666...
    >>> losses = ce.Paired(ce.MeanLoss()).update([0.5, 1.0], [0.75, 1.5])  # of another library
    >>> losses.compute()
    -0.375
    """

    __slots__ = ("_sums",)
    _layer = composition.PAIR
    _in_core = frozenset({"update_from"})  # the streams are the caller's code, which runs in the caller's mode
    _state: States

    def __init__(self, metric: Any) -> None:
        super().__init__(metric)
        self._sums = pair_sums.sums_for(self._metric)
        self._state = States(self._sums.names)

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        return {"metric": self.metric}

    def _loss_options(self) -> dict[str, Any]:
        return {"metric": self._metric._header()}

    @classmethod
    def _from_options(cls, options: dict[str, Any], restore_inner: Callable[[Header], Any]) -> Self:
        if set(options) != {"metric"}:
            raise ValueError(f"it has options that {cls.__name__} does not know: {sorted(options)}")
        return cls(restore_inner(options["metric"]))

    def _fixed_sizes(self) -> dict[str, int]:
        return self._sums.fixed_sizes()

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        self._state = self._sums.restore(payload)

    # ---- adding ----

    def update(
        self,
        preds_a: Any,
        preds_b: Any,
        target: Any = None,
        *,
        weight: Any = None,
        cluster: Any = None,
        **others: Any,
    ) -> Self:
        """Add a batch: the predictions of both models for the same samples.

        Parameters
        ----------
        preds_a, preds_b : array
            Predictions, or losses for :class:`MeanLoss`, with equal shapes. Their dtypes may differ.
        target, weight, **others
            The arguments of the metric's ``update``, for both models.
        cluster : array, or tuple of arrays, optional
            The document, user or session of each sample: integers, strings or any other keys. Standard errors are then
            robust to correlated samples of one cluster. Give it in all updates or in none.

        Raises
        ------
        InputError
            If the batch is invalid for the metric, or if the predictions have different shapes. Nothing is added then.

        Examples
        --------
        >>> import streamce as ce
        >>> paired = ce.Paired(ce.MulticlassCrossEntropy(kind="logits"))
        >>> paired.update([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]], [0, 1], cluster=["x", "y"]).compute()
        0.0
        """
        if others:
            self._check_keywords("Paired.update", others)
        self._state.merge(self._batch(preds_a, preds_b, target, weight, cluster, **others))
        return self

    def update_from(
        self,
        a: Any,
        b: Any,
        *,
        preds: str | Sequence[str],
        preds_b: str | Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
        weight: str | None = None,
        cluster: str | None = None,
        key: str | Sequence[str] | None = None,
        by_position: bool = False,
    ) -> Self:
        """Add all rows of two Arrow streams of any length, the predictions of A and of B. It needs pyarrow.

        The result does not depend on batch boundaries, and a failed update leaves the comparison unchanged.

        Parameters
        ----------
        a, b : Arrow stream
            As in ``update_from`` of a metric: a table, a data frame, a dataset, a DuckDB relation, or an iterable of
            record batches.
        preds : str or sequence of str
            The columns of the predictions of A, or of the losses for :class:`MeanLoss`.
        preds_b : str or sequence of str, optional
            The columns of the predictions of B. By default they have the same names as those of A.
        target : str or sequence of str, optional
            The columns of the target, which ``a`` has. If ``b`` has them too, both must be equal.
        weight, cluster : str, optional
            The columns of the weights and of the document, user or session of each row, in ``a``.
        key : str or sequence of str, optional
            The columns of keys. Rows with equal keys are compared, in any order of both streams. Each key must occur
            once in both. Keys are equal by value whatever their types. It needs duckdb, which keeps at most 1 GB in
            memory, and the rest of both streams' columns in a temporary folder.
        by_position : bool
            Without ``key``, rows are paired by their position, and every other column that both streams have must be
            equal in every row, because this shows that rows are in the same order. True omits this check.

        Raises
        ------
        InputError
            If a column does not exist, a row is invalid or has no partner, or if columns that must be equal differ. The
            text names the stream and the row, counted from 0. Nothing is added then.

        Examples
        --------
        >>> import pyarrow as pa, streamce as ce
        >>> a = pa.table({"id": [1, 2, 3], "clicked": [1, 0, 1], "p": [0.9, 0.2, 0.8]})
        >>> b = pa.table({"id": [2, 3, 1], "p": [0.1, 0.7, 0.95]})
        >>> paired = ce.Paired(ce.BinaryCrossEntropy())
        >>> paired.update_from(a, b, preds="p", target="clicked", key="id").summary().b.mean
        0.171109...
        """
        columns = {"preds": preds, "target": target, "weight": weight, "cluster": cluster}
        request = paired_streams.request(self._metric, columns, preds_b, key, by_position)
        sum_of_streams = self._new()
        try:
            paired_streams.add_streams(sum_of_streams, a, b, request)
        except ModuleNotFoundError as error:
            if (missing := missing_package(error)) is None:
                raise
            raise missing from error
        return self._merge(sum_of_streams, 1)

    def _update(
        self, preds_a: Any, preds_b: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None
    ) -> None:
        """Add a batch, as ``update`` does; ``null`` is the mask of the losses in which an input is null."""
        self._state.merge(self._batch(preds_a, preds_b, target, weight, cluster, null=null))

    def _split(
        self,
        routes: Routes,
        preds_a: Any,
        preds_b: Any,
        target: Any = None,
        *,
        weight: Any = None,
        cluster: Any = None,
        **others: Any,
    ) -> list[States]:
        return self._sums.of_batch(self._inputs(preds_a, preds_b, target, weight, cluster, **others), routes)

    def _batch(self, *inputs: Any, **others: Any) -> States:
        """Return the states of a batch."""
        return self._sums.of_batch(self._inputs(*inputs, **others))[0]

    def _inputs(self, preds_a: Any, preds_b: Any, target: Any, weight: Any, cluster: Any, **others: Any) -> PairInputs:
        return pair_inputs.read(self._loss_metric, (preds_a, preds_b), target, weight, cluster, others)

    def __call__(
        self, preds_a: Any, preds_b: Any, target: Any = None, *, weight: Any = None, cluster: Any = None, **others: Any
    ) -> float:
        """Update, and return the difference of this batch alone."""
        if others:
            self._check_keywords("Paired.__call__", others)
        batch = self._new()
        batch._state = self._batch(preds_a, preds_b, target, weight, cluster, **others)
        self._state.merge(batch._state)
        return batch.compute()

    def _caption(self) -> str:
        inner = self._metric._caption()
        return f"Two models: {inner if inner.startswith('CTC') else inner[0].lower() + inner[1:]}"

    def _sections(self) -> tuple[str, ...]:
        return ("paired",)

    def _headline(self, found: PairedSummary) -> Summary:
        return found.difference

    @property
    def _loss_metric(self) -> Metric:
        loss_metric: Metric = self._metric._loss_metric
        return loss_metric

    # ---- reading ----

    @property
    def a(self) -> Any:
        """The metric of model A, over the samples that count for both models, with a copy of its state."""
        return self._sums.metric_of(self._state.copy(), A)

    @property
    def b(self) -> Any:
        """The metric of model B, as ``a`` is that of A."""
        return self._sums.metric_of(self._state.copy(), B)

    def compute(self) -> float:
        """Return the mean loss of A minus that of B in nats, exact and rounded once. It is negative if A is better.

        For normalized entropies it is the difference of these. It is nan for an empty stream, and if both means are
        infinite.

        Raises
        ------
        InputError
            If more was subtracted than had been added.
        """
        return self._sums.value(self._state.copy(), DIFFERENCE)

    def _n_samples(self) -> int:
        return estimators.sample_number(self._state["difference"].copy().total.cell())

    def _difference(self) -> Difference:
        """Return the difference of the values, and how precisely it is estimated."""
        states = self._state.copy()
        return Difference(self._sums.value(states, DIFFERENCE), self._sums.uncertainty(states, DIFFERENCE))

    def summary(self, level: float = 0.95, anytime: bool = False) -> PairedSummary:
        """Return both means, their difference and its interval, how often each model is better, and the verdict.

        Parameters
        ----------
        level : float
            The probability with which an interval contains the true mean.
        anytime : bool
            False: intervals and a p-value for one look at a stream whose length was fixed in advance. True: an
            asymptotic confidence sequence, as for a running A/B test. You can look after every batch and stop as soon
            as it excludes 0.

        Raises
        ------
        InputError
            If more was subtracted than had been added, or ``level`` is not between 0 and 1.

        Examples
        --------
        >>> import streamce as ce
        >>> paired = ce.Paired(ce.MeanLoss()).update([0.2, 0.4, 0.3, 0.5] * 500, [0.2, 0.5, 0.4, 0.4] * 500)
        >>> paired.summary(anytime=True).verdict
        'A is better by 0.025 nats (95 % confidence sequence 0.018752 to 0.031248, p = 1.2e-36)'
        """
        states, sums = self._state.copy(), self._sums
        parts = {name: sums.summary(states, name, level, anytime) for name in (A, B, DIFFERENCE)}
        (a_better, a_interval), (b_better, b_interval) = (
            estimators.proportion(states[name].total, level=level, anytime=anytime, buckets=states[name].buckets)
            for name in ("a_better", "b_better")
        )
        known = sums.uncertainty(states, DIFFERENCE)
        p_value = estimators.p_value_of(parts[DIFFERENCE].value, known, anytime)
        better, unit = better_model(parts[DIFFERENCE]), self._metric._unit
        return PairedSummary(
            verdict=verdict(better, p_value=p_value, unit=unit, **parts),
            better=better,
            unit=unit,
            p_value=p_value,
            **parts,
            a_better=a_better,
            a_better_interval=a_interval,
            b_better=b_better,
            b_better_interval=b_interval,
            ties=estimators.remaining_proportion(states["a_better"].total, states["b_better"].total),
        )

    def per_class(self, level: float = 0.95, anytime: bool = False) -> np.ndarray[Any, np.dtype[np.object_]]:
        """Return the summary of the differences in each class, for a metric with ``per_class=True``.

        ``a.per_class()`` and ``b.per_class()`` are those of the models. Each loss is a sample.

        Raises
        ------
        InputError
            If the metric was not created with ``per_class=True``.

        Examples
        --------
        >>> import streamce as ce
        >>> paired = ce.Paired(ce.MulticlassCrossEntropy(per_class=True, kind="logits"))
        >>> paired = paired.update([[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]], [0, 1])
        >>> [round(difference.mean, 4) for difference in paired.per_class()]
        [-0.5662, 0.3799]
        """
        return self._by("per_class", level, anytime)

    def per_label(self, level: float = 0.95, anytime: bool = False) -> np.ndarray[Any, np.dtype[np.object_]]:
        """Return the summary of the differences of each label, for a metric with ``per_label=True``.

        Examples
        --------
        >>> import streamce as ce
        >>> paired = ce.Paired(ce.MultilabelCrossEntropy(per_label=True)).update([[0.5, 0.5]], [[0.5, 0.25]], [[1, 1]])
        >>> [difference.mean for difference in paired.per_label()]
        [0.0, -0.69314...]
        """
        return self._by("per_label", level, anytime)

    def per_position(self, level: float = 0.95, anytime: bool = False) -> np.ndarray[Any, np.dtype[np.object_]]:
        """Return the summary of the differences of the first, second, ... tokens, for one with ``per_position=True``.

        Examples
        --------
        >>> import streamce as ce
        >>> paired = ce.Paired(ce.SequenceCrossEntropy(per_position=True))
        >>> paired = paired.update([[[0.5, 0.5], [0.5, 0.5]]], [[[0.5, 0.5], [0.25, 0.75]]], [[0, 0]])
        >>> [difference.mean for difference in paired.per_position()]
        [0.0, -0.69314...]
        """
        return self._by("per_position", level, anytime)

    def _by(self, option: str, level: float, anytime: bool) -> np.ndarray[Any, np.dtype[np.object_]]:
        return pair_sums.differences_by(self._sums, self._state.copy(), option, level, anytime)

    def per_word(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary of the differences per word, in nats, for a metric of sequences with ``n_words``.

        Examples
        --------
        >>> import streamce as ce
        >>> paired = ce.Paired(ce.Perplexity())
        >>> paired = paired.update([[[0.5, 0.5]]], [[[0.25, 0.75]]], [[0]], n_words=[2])
        >>> paired.per_word().mean, paired.a.per_word().mean
        (-0.34657..., 0.34657...)
        """
        return self._per("per_word", level, anytime)

    def per_byte(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary of the differences per byte, in nats, for a metric of sequences with ``n_bytes``.

        Examples
        --------
        >>> import streamce as ce
        >>> paired = ce.Paired(ce.Perplexity())
        >>> paired = paired.update([[[0.5, 0.5]]], [[[0.25, 0.75]]], [[0]], n_bytes=[4])
        >>> round(paired.per_byte().bits, 3)
        -0.25
        """
        return self._per("per_byte", level, anytime)

    def _per(self, name: str, level: float, anytime: bool) -> Summary:
        metric = self._sums.metric_of(self._state.copy(), DIFFERENCE)
        if not hasattr(metric, name):
            raise composition.not_of_sequences(metric)
        found: Summary = getattr(metric, name)(level, anytime)
        return found
