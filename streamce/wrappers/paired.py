"""Compares two models on the same samples: which is better, by how much, and with what certainty."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from streamce._support.html_repr import HtmlRepr
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.ledger.state import State
from streamce.core.samples import pairs
from streamce.errors import InputError
from streamce.inputs import arrays, class_names, messages
from streamce.keys import cluster_buckets
from streamce.metrics.composite import States
from streamce.metrics.update_from import missing_package
from streamce.stats import estimators, scalar_table, summary
from streamce.stats.discoveries import Difference
from streamce.stats.summary import (
    align_rows,
    count_rows,
    format_interval,
    format_number,
    interval_name,
)
from streamce.wrappers import composition, paired_streams
from streamce.wrappers.base import MetricWrapper

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.core.samples.routes import Routes
    from streamce.core.samples.samples import Samples
    from streamce.metrics.base import Metric
    from streamce.stats.summary import Summary

# The entries of the dict of a summary that each model has, in addition to those of the difference.
MODEL_FIELDS = ("mean", "interval", "stderr", "total", "bits", "perplexity", "floored", "infinite", "unnormalised")

MIN_P_VALUE = 1e-300  # smaller p-values are shown as "< 1e-300"


@dataclass(frozen=True, slots=True)
class PairedSummary(HtmlRepr, DefaultModeMethods):
    """The result of :meth:`Paired.summary`. ``print`` shows it as a table.

    Attributes
    ----------
    verdict : str
        Which model is better and how certain that is, in one line.
    better : {"A", "B"} or None
        The model with the smaller mean if the interval of the difference excludes 0, else None.
    p_value : float
        1 minus the highest level at which the interval of the difference excludes 0: the two-sided p-value of the
        paired t-test or, with ``anytime``, a p-value that stays valid at any number of looks. nan if the difference has
        no interval.
    a, b : Summary
        The summaries of each model's losses, over the samples that count for both.
    difference : Summary
        The loss of A minus the loss of B. ``value`` is ``compute()``, negative if A is better. ``perplexity`` is the
        perplexity of A divided by that of B. An anomaly counts here if either model has it.
    a_better, b_better : float
        The share of the samples, by weight, in which the loss of A, or of B, is the smaller one.
    a_better_interval, b_better_interval : tuple of float
        Confidence intervals of these shares at ``level``.
    ties : float
        The share of the samples with equal losses: 1 - a_better - b_better.

    Examples
    --------
    >>> import streamce as ce
    >>> paired = ce.Paired(ce.BinaryCrossEntropy())
    >>> result = paired.update([0.9, 0.2, 0.6, 0.7] * 10, [0.8, 0.2, 0.5, 0.8] * 10, [1, 0, 1, 1] * 10).summary()
    >>> print(result)
    A is better by 0.0416433 nats (95 % interval 0.00263913 to 0.0806475, p = 0.037)
    A               0.299001 nats     95 % interval 0.250029 to 0.347974
    B               0.340644 nats     95 % interval 0.274727 to 0.406562
    A - B           -0.0416433 nats   95 % interval -0.0806475 to -0.00263913
    A better        50 %              95 % interval 34.59 % to 65.41 %
    B better        25 %              95 % interval 13.82 % to 40.93 %
    ties            25 %
    losses          40
    """

    verdict: str
    better: Literal["A", "B"] | None
    p_value: float
    a: Summary
    b: Summary
    difference: Summary
    a_better: float
    a_better_interval: tuple[float, float]
    b_better: float
    b_better_interval: tuple[float, float]
    ties: float

    @property
    def samples(self) -> int:
        """The number of pairs that count."""
        return self.difference.samples

    def to_dict(self) -> dict[str, Any]:
        """Return a flat dict for JSON: the summary of the difference, and ``a_mean``, ``b_mean``, ..."""
        names = (
            "verdict",
            "better",
            "p_value",
            "a_better",
            "a_better_interval",
            "b_better",
            "b_better_interval",
            "ties",
        )
        found = {**self.difference.to_dict(), **{name: getattr(self, name) for name in names}}
        found |= {f"a_{name}": getattr(self.a, name) for name in MODEL_FIELDS}
        found |= {f"b_{name}": getattr(self.b, name) for name in MODEL_FIELDS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def scalars(self, prefix: str = "") -> dict[str, float]:
        """Return the finite numbers that a tracker of experiments plots, by name; see :meth:`Summary.scalars`.

        The names of each model's estimates, and of its counters ``floored``, ``infinite`` and ``unnormalised``, come
        after ``a_`` and ``b_``. The other counters are of the pairs and have their own names.

        Examples
        --------
        >>> import streamce as ce
        >>> scalars = ce.Paired(ce.MeanLoss()).update([0.2, 0.4], [0.5, 0.8]).summary().scalars()
        >>> scalars["a_loss"], scalars["difference"], scalars["count"]
        (0.30000000000000004, -0.35, 2.0)
        """
        numbers: dict[str, float | None] = {
            "difference": self.difference.mean,
            "difference_low": self.difference.interval[0],
            "difference_high": self.difference.interval[1],
            "difference_stderr": self.difference.stderr,
            "p_value": self.p_value,
            "a_better": self.a_better,
            "a_better_low": self.a_better_interval[0],
            "a_better_high": self.a_better_interval[1],
            "b_better": self.b_better,
            "b_better_low": self.b_better_interval[0],
            "b_better_high": self.b_better_interval[1],
            "ties": self.ties,
            **scalar_table.read(scalar_table.PAIR_COUNTS, self.difference),
        }
        for part, model in (("a", self.a), ("b", self.b)):
            found = scalar_table.read(scalar_table.MODEL_SCALARS, model)
            numbers |= {f"{part}_{name}": number for name, number in found.items()}
        return scalar_table.finite(numbers, prefix)

    def __str__(self) -> str:
        kind = interval_name(self.difference.level, self.difference.anytime)
        rows = [
            (name, f"{format_number(of.mean)} nats", f"{kind} {format_interval(of.interval)}")
            for name, of in (("A", self.a), ("B", self.b), ("A - B", self.difference))
        ]
        rows += [
            ("A better", _percent(self.a_better), f"{kind} {_percents(self.a_better_interval)}"),
            ("B better", _percent(self.b_better), f"{kind} {_percents(self.b_better_interval)}"),
            ("ties", _percent(self.ties), ""),
        ]
        for name, number, what in count_rows(self.difference):
            if name in MODEL_FIELDS:
                what = f"A {getattr(self.a, name):,}, B {getattr(self.b, name):,}"
            rows.append((name, number, what))
        return f"{self.verdict}\n{align_rows(rows)}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _percents(interval: tuple[float, float]) -> str:
    return f"{_percent(interval[0])} to {_percent(interval[1])}"


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

    __slots__ = ()
    _layer = composition.PAIR
    _in_core = frozenset({"update_from"})  # the streams are the caller's code, which runs in the caller's mode
    _state: States

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._state = States(pairs.NAMES)

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
        return {f"{name}.total": 1 for name in pairs.NAMES}

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        self._state = States.from_parts(payload, pairs.NAMES)

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
        self._state.merge(self._states_of(*self._samples(preds_a, preds_b, target, weight, cluster, **others)))
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
        self._state.merge(self._states_of(*self._samples(preds_a, preds_b, target, weight, cluster, null=null)))

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
        a, b, buckets = self._samples(preds_a, preds_b, target, weight, cluster, **others)
        routes.check(a.samples)
        if routes.factors is not None:
            a, b = a.multiplied(routes.factors), b.multiplied(routes.factors)
        order = np.argsort(routes.numbers, kind="stable")
        ends = np.cumsum(np.bincount(routes.numbers, minlength=len(routes.states))).tolist()
        return [
            self._states_of(a.take(rows), b.take(rows), None if buckets is None else buckets[rows])
            for rows in (order[start:end] for start, end in itertools.pairwise([0, *ends]))
        ]

    @staticmethod
    def _states_of(a: Samples, b: Samples, buckets: Any) -> States:
        """Return the states of the samples of both models."""
        return States.from_states(dict(zip(pairs.NAMES, pairs.add_pairs(a, b, buckets), strict=True)))

    def _samples(
        self, preds_a: Any, preds_b: Any, target: Any, weight: Any, cluster: Any, **others: Any
    ) -> tuple[Samples, Samples, Any]:
        """Return the samples of both models, and the bucket of each sample's cluster."""
        takes_losses = self._metric._task == "mean"
        if takes_losses and target is not None:
            raise InputError("target", "is given", "none, because MeanLoss takes the losses of A and B")
        buckets = cluster_buckets.to_buckets(cluster)
        argument = "losses" if takes_losses else "preds"
        sources = {"a": preds_a, "b": preds_b}
        shapes, found = {}, {}
        for name, source in sources.items():
            try:
                sources[name], shapes[name] = arrays.convert_with_shape(source, argument)
            except InputError as error:
                raise _model_error(error, argument, name) from None
        if self._metric._task in ("binary", "mean"):
            differ = arrays.without_unit_axes(shapes["a"]) != arrays.without_unit_axes(shapes["b"])
        else:
            differ = shapes["a"] != shapes["b"]
        if differ:
            raise InputError(
                f"{argument}_b", f"has shape {shapes['b']}", f"{shapes['a']}, as {argument}_a has", value=shapes["b"]
            )
        target, weight = class_names.materialize_target(target), arrays.materialize(weight, "weight")
        others = arrays.materialize_others(others)
        for name, source in sources.items():
            try:
                found[name] = self._metric._run_returning_samples(State(), source, target, weight=weight, **others)
            except InputError as error:
                raise _model_error(error, argument, name) from None
        a, b = found["a"], found["b"]
        if buckets is not None and buckets.numbers.size != a.samples:
            raise messages.key_length("cluster", buckets.numbers.size, a.samples)
        if (out := pairs.left_out(a, b)) is not None:  # compute larger samples again without the excluded losses
            others["null"] = np.frombuffer(out, dtype=np.bool_)
            a, b = (
                pairs.with_causes(
                    self._metric._run_returning_samples(State(), sources[name], target, weight=weight, **others),
                    found[name],
                )
                for name in sources
            )
        return a, b, None if buckets is None else buckets.numbers

    def __call__(
        self, preds_a: Any, preds_b: Any, target: Any = None, *, weight: Any = None, cluster: Any = None, **others: Any
    ) -> float:
        """Update, and return the difference of this batch alone."""
        if others:
            self._check_keywords("Paired.__call__", others)
        batch = self._new()
        batch._state = self._states_of(*self._samples(preds_a, preds_b, target, weight, cluster, **others))
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
        loss_metric: Metric = self._metric
        return loss_metric

    # ---- reading ----

    def compute(self) -> float:
        """Return the mean loss of A minus that of B in nats, exact and rounded once. It is negative if A is better.

        It is nan for an empty stream, and if both means are infinite.

        Raises
        ------
        InputError
            If more was subtracted than had been added.
        """
        return estimators.mean(self._state["difference"].copy().total)

    def _n_samples(self) -> int:
        return estimators.sample_number(self._state["difference"].copy().total.cell())

    def _difference(self) -> Difference:
        """Return the difference of the means, and how precisely it is estimated."""
        state = self._state["difference"].copy()
        cell = state.total.cell()
        return Difference(estimators.ratio(cell), estimators.uncertainty(cell, state.buckets))

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
        state = self._state.copy()
        parts = {
            name: summary.summarise(state[name].total, level=level, anytime=anytime, buckets=state[name].buckets)
            for name in ("a", "b", "difference")
        }
        (a_better, a_interval), (b_better, b_interval) = (
            estimators.proportion(state[name].total, level=level, anytime=anytime, buckets=state[name].buckets)
            for name in ("a_better", "b_better")
        )
        difference = state["difference"]
        p_value = estimators.p_value(difference.total, anytime=anytime, buckets=difference.buckets)
        better = _better(parts["difference"])
        return PairedSummary(
            verdict=_verdict(better, p_value=p_value, **parts),
            better=better,
            p_value=p_value,
            **parts,
            a_better=a_better,
            a_better_interval=a_interval,
            b_better=b_better,
            b_better_interval=b_interval,
            ties=estimators.remaining_proportion(state["a_better"].total, state["b_better"].total),
        )


def _model_error(error: InputError, argument: str, name: str) -> InputError:
    """Return an error of the metric with the name of the argument that holds this model's predictions."""
    return error.with_argument(f"{argument}_{name}") if error.argument == argument else error


def _better(difference: Summary) -> Literal["A", "B"] | None:
    low, high = difference.interval
    if math.isinf(difference.mean):
        low = high = difference.mean
    return "A" if high < 0 else "B" if low > 0 else None


def _verdict(better: str | None, *, a: Summary, b: Summary, difference: Summary, p_value: float) -> str:
    """Return in one line which model is better and how certain that is."""
    if difference.samples == 0:
        return "no difference shown: there are no samples"
    if math.isnan(difference.mean):
        return f"no difference shown: the mean of A is {format_number(a.mean)} and that of B {format_number(b.mean)}"
    if math.isinf(difference.mean):
        return f"{better} is better: the mean of A is {format_number(a.mean)} and that of B {format_number(b.mean)}"
    low, high = difference.interval
    if math.isnan(low):
        why = "no interval, because there are too few samples or clusters"
    else:
        low, high = (-high, -low) if better == "A" else (low, high)
        p = f"p = {p_value:.2g}" if p_value > MIN_P_VALUE else f"p < {MIN_P_VALUE:g}"
        why = f"{interval_name(difference.level, difference.anytime)} {format_interval((low, high))}, {p}"
    if better:
        return f"{better} is better by {format_number(abs(difference.mean))} nats ({why})"
    return f"no difference shown: A - B is {format_number(difference.mean)} nats ({why})"
