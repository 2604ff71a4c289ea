"""Two models on the same samples: which is better, by how much, and how sure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from streamce._support.html_repr import HtmlRepr
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.samples import pairs
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.keys import key_columns
from streamce.metrics.composite import States
from streamce.stats import summary
from streamce.stats.summary import aligned, between, counts_of, kind_of, shown
from streamce.wrappers.base import Wrapper

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.metrics.base import Metric
    from streamce.stats.summary import Summary

# What the dict holds of either model, beside what it holds of the pairs.
OF_A_MODEL = ("mean", "interval", "stderr", "total", "bits", "perplexity", "floored", "infinite", "unnormalised")

LEAST = 1e-300  # p-values below are not told apart


@dataclass(frozen=True, slots=True)
class PairedSummary(HtmlRepr, DefaultModeMethods):
    """What a :class:`Paired` has seen so far; ``print`` shows it as a table.

    Attributes
    ----------
    verdict : str
        Which model is better and how sure, in one line.
    better : {"A", "B"} or None
        The model of the smaller mean, if the interval of the difference leaves 0 out; else None.
    p_value : float
        1 - the highest level at which the interval of the difference does not hold 0: the two-sided p-value of
        the paired t-test; with ``anytime`` one that stays valid however often it is looked at. nan where the
        difference has no interval.
    a, b : Summary
        The losses of each model, of the samples that count in both.
    difference : Summary
        The loss of A less that of B. ``value`` is ``compute()``, negative where A is better, and ``perplexity`` is
        the perplexity of A over that of B. What is odd about a loss counts here if it is about either.
    a_better, b_better : float
        Share of the samples, by their weight, in which the loss of A, or of B, is the smaller one.
    a_better_interval, b_better_interval : tuple of float
        Their intervals at ``level``.
    ties : float
        Share of the samples in which neither is: 1 - a_better - b_better.

    Examples
    --------
    >>> import streamce as ce
    >>> paired = ce.Paired(ce.BinaryCrossEntropy())
    >>> found = paired.update([0.9, 0.2, 0.6, 0.7] * 10, [0.8, 0.2, 0.5, 0.8] * 10, [1, 0, 1, 1] * 10).summary()
    >>> print(found)
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
        """Pairs that count."""
        return self.difference.samples

    def to_dict(self) -> dict[str, Any]:
        """A flat dict of plain values, as JSON takes it: the difference's summary, and ``a_mean``, ``b_mean``, ..."""
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
        found |= {f"a_{name}": getattr(self.a, name) for name in OF_A_MODEL}
        found |= {f"b_{name}": getattr(self.b, name) for name in OF_A_MODEL}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    def __str__(self) -> str:
        kind = kind_of(self.difference.level, self.difference.anytime)
        rows = [
            (name, f"{shown(of.mean)} nats", f"{kind} {between(of.interval)}")
            for name, of in (("A", self.a), ("B", self.b), ("A - B", self.difference))
        ]
        rows += [
            ("A better", _percent(self.a_better), f"{kind} {_percents(self.a_better_interval)}"),
            ("B better", _percent(self.b_better), f"{kind} {_percents(self.b_better_interval)}"),
            ("ties", _percent(self.ties), ""),
        ]
        for name, number, what in counts_of(self.difference):
            if name in OF_A_MODEL:
                what = f"A {getattr(self.a, name):,}, B {getattr(self.b, name):,}"
            rows.append((name, number, what))
        return f"{self.verdict}\n{aligned(rows)}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _percents(interval: tuple[float, float]) -> str:
    return f"{_percent(interval[0])} to {_percent(interval[1])}"


class Paired(Wrapper):
    """Compares the losses of two models, A and B, sample by sample, in nats.

    With n_a and n_b the weighted losses of a sample and d its weight,

        compute() = Σ(n_a - n_b) / Σd

    which is negative where A is better. The two losses of a sample are mostly alike, hard or easy, so that their
    difference is known far better than either mean.

    Parameters
    ----------
    metric : Metric
        An empty metric, whose options hold for both models.

    Notes
    -----
    A loss that does not count for one model (invalid input, an infeasible utterance) counts for neither, and is
    counted once, by the first cause that applies to either. The difference of two infinite losses of one sign is
    undefined, and so is any mean of it: nan; as the difference of two infinite means is. Which is better stays
    known in all other samples. Intervals and p-value: docs/UNCERTAINTY.md.

    Like any metric this is an element of a commutative group: it adds up across workers and days, and what was
    added can be taken away.

    Examples
    --------
    >>> import streamce as ce
    >>> paired = ce.Paired(ce.BinaryCrossEntropy())
    >>> paired.update([0.9, 0.2, 0.6], [0.8, 0.3, 0.6], [1, 0, 1]).compute()
    -0.0837714...
    >>> paired.summary().a_better
    0.6666...
    >>> losses = ce.Paired(ce.MeanLoss()).update([0.5, 1.0], [0.75, 1.5])  # computed elsewhere
    >>> losses.compute()
    -0.375
    """

    __slots__ = ()
    _state: States

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._state = States(pairs.NAMES)

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        return {"metric": self.metric}

    def _of_the_loss(self) -> dict[str, Any]:
        return {"metric": self._metric._header()}

    @classmethod
    def _of(cls, options: dict[str, Any], made: Callable[[Header], Any]) -> Self:
        if set(options) != {"metric"}:
            raise ValueError(f"it has options that {cls.__name__} does not know: {sorted(options)}")
        return cls(made(options["metric"]))

    def _take(self, parts: dict[str, bytes]) -> None:
        self._state = States.from_parts(parts, pairs.NAMES)

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
        """Add a chunk: what each model says of the same samples.

        Parameters
        ----------
        preds_a, preds_b : array
            As the metric's ``update`` takes them, of one shape; of :class:`MeanLoss` the losses. Their dtypes may
            differ.
        target, weight, **others
            As the metric's ``update`` takes them, for both.
        cluster : array, or tuple of arrays, optional
            Which document, user or session each sample belongs to: integers, strings or any other
            keys. Errors are then robust to samples of one cluster being alike. In all updates, or none.

        Raises
        ------
        InputError
            If the metric does not take the chunk, or the predictions have different shapes. Nothing of the chunk
            is counted then.

        Examples
        --------
        >>> import streamce as ce
        >>> paired = ce.Paired(ce.MulticlassCrossEntropy(kind="logits"))
        >>> paired.update([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]], [0, 1], cluster=["x", "y"]).compute()
        0.0
        """
        self._state.merge(self._chunk(preds_a, preds_b, target, weight, cluster, **others))
        return self

    def _update(
        self, preds_a: Any, preds_b: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None
    ) -> None:
        """As ``update``, with a mask of the losses in which an input is null."""
        self._state.merge(self._chunk(preds_a, preds_b, target, weight, cluster, null=null))

    def _chunk(self, preds_a: Any, preds_b: Any, target: Any, weight: Any, cluster: Any, **others: Any) -> States:
        """The states of a chunk."""
        of_losses = self._metric._task == "mean"
        if of_losses and target is not None:
            raise InputError("target", "is given", "none: MeanLoss takes losses, of A and of B")
        buckets = key_columns.buckets(cluster)
        argument = "losses" if of_losses else "preds"
        sources = {"a": preds_a, "b": preds_b}
        shapes, found = {}, {}
        for name, source in sources.items():
            try:
                sources[name], shapes[name] = arrays.plain(source, argument)
            except InputError as error:
                raise _of_model(error, argument, name) from None
        if shapes["a"] != shapes["b"]:
            raise InputError(
                f"{argument}_b", f"has shape {shapes['b']}", f"{shapes['a']}, as {argument}_a has", value=shapes["b"]
            )
        target, weight = arrays.once(target, "target"), arrays.once(weight, "weight")
        others = arrays.all_once(others)
        for name, source in sources.items():
            try:
                found[name] = self._metric._samples(source, target, weight=weight, **others)
            except InputError as error:
                raise _of_model(error, argument, name) from None
        a, b = found["a"], found["b"]
        if buckets is not None and buckets.of.size != a.samples:
            raise arrays.key_length("cluster", buckets.of.size, a.samples)
        if (out := pairs.left_out(a, b)) is not None:  # losses of larger samples: once more, without them
            others["null"] = np.frombuffer(out, dtype=np.bool_)
            a, b = (
                pairs.with_causes(self._metric._samples(sources[name], target, weight=weight, **others), found[name])
                for name in sources
            )
        return States.of(
            dict(zip(pairs.NAMES, pairs.add_pairs(a, b, None if buckets is None else buckets.of), strict=True))
        )

    def __call__(
        self, preds_a: Any, preds_b: Any, target: Any = None, *, weight: Any = None, cluster: Any = None, **others: Any
    ) -> float:
        """Update, and return the difference of this chunk alone."""
        chunk = self._empty().update(preds_a, preds_b, target, weight=weight, cluster=cluster, **others)
        self._state.merge(chunk._state)
        return chunk.compute()

    # ---- reading ----

    def compute(self) -> float:
        """The mean loss of A less that of B in nats, exact and rounded once; negative where A is better.

        nan for an empty stream, and where both means are infinite.

        Raises
        ------
        InputError
            If more was taken away than had been added.
        """
        return summary.mean(self._state["difference"].copy().total)

    def summary(self, level: float = 0.95, anytime: bool = False) -> PairedSummary:
        """Both means, their difference with its paired interval, how often either is better, and the verdict.

        Parameters
        ----------
        level : float
            How often the intervals are to hold the truth.
        anytime : bool
            False: intervals and a p-value for one look at a stream whose length was settled beforehand. True: an
            asymptotic confidence sequence, as for a running A/B test: one may look after every batch, and stop
            once it leaves 0 out.

        Raises
        ------
        InputError
            If more was taken away than had been added, or ``level`` is not between 0 and 1.

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
            summary.share(state[name].total, level=level, anytime=anytime, buckets=state[name].buckets)
            for name in ("a_better", "b_better")
        )
        difference = state["difference"]
        p_value = summary.p_value(difference.total, anytime=anytime, buckets=difference.buckets)
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
            ties=summary.rest(state["a_better"].total, state["b_better"].total),
        )


def _of_model(error: InputError, argument: str, name: str) -> InputError:
    """The error of one model's metric, about the argument that has its predictions if they are at fault."""
    return error.with_argument(f"{argument}_{name}") if error.argument == argument else error


def _better(difference: Summary) -> Literal["A", "B"] | None:
    low, high = difference.interval
    if math.isinf(difference.mean):
        low = high = difference.mean
    return "A" if high < 0 else "B" if low > 0 else None


def _verdict(better: str | None, *, a: Summary, b: Summary, difference: Summary, p_value: float) -> str:
    """Which model is better and how sure, in one line."""
    if difference.samples == 0:
        return "no difference shown: there are no samples"
    if math.isnan(difference.mean):
        return f"no difference shown: the mean of A is {shown(a.mean)} and that of B {shown(b.mean)}"
    if math.isinf(difference.mean):
        return f"{better} is better: the mean of A is {shown(a.mean)} and that of B {shown(b.mean)}"
    low, high = difference.interval
    if math.isnan(low):
        why = "there is no interval, for want of samples or clusters"
    else:
        low, high = (-high, -low) if better == "A" else (low, high)
        p = f"p = {p_value:.2g}" if p_value > LEAST else f"p < {LEAST:g}"
        why = f"{kind_of(difference.level, difference.anytime)} {between((low, high))}, {p}"
    if better:
        return f"{better} is better by {shown(abs(difference.mean))} nats ({why})"
    return f"no difference shown: A - B is {shown(difference.mean)} nats ({why})"
