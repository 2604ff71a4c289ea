"""What wraps a metric: its options, of which each state inside is made."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from streamce._support.short_repr import short_repr
from streamce.core.ledger.ledger import Ledger
from streamce.core.ledger.state import State
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.metrics.base import SUMS, Metric
from streamce.metrics.mergeable import Additive
from streamce.metrics.update_from import FromStreams

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamce._support.state_format import Header
    from streamce.core.samples.samples import Samples


# What a metric that keeps its samples together takes alone.
OF_ONE_SUM = ("cluster", "n_words", "n_bytes")


class Plan(NamedTuple):
    """What is to be done with the samples of a chunk, known before these are. Once checked, it fails only in a state
    that is ``crowded``."""

    argument: str  # which says how many samples there have to be
    size: int | None
    add: Callable[[Any, Samples], Any]  # to a state
    ready: Callable[[Any], None] = lambda state: None  # raises where it cannot be added to a state

    def check(self, samples: Samples, state: Any) -> None:
        """Raises where there are more samples or fewer, or others than before."""
        if self.size is not None and self.size != samples.samples:
            raise arrays.key_length(self.argument, self.size, samples.samples)
        if samples.samples:
            self.ready(state)


class Wrapper(Additive):
    """Base of what wraps a metric, of which it takes the options alone."""

    __slots__ = ("_metric",)
    _metric: Metric

    def __init__(self, metric: Metric) -> None:
        if not isinstance(metric, Metric):
            raise InputError("metric", f"is {short_repr(metric)}", "a metric such as BinaryCrossEntropy()")
        for option in SUMS:
            if metric.options.get(option):
                raise InputError("metric", f"keeps sums of its own ({option}=True)", f"one of {option}=False")
        if metric._pipeline.per_cell:
            raise InputError("metric", f"is a {type(metric).__name__}, with sums by the class", "a metric of one sum")
        if metric._state.parts():
            raise InputError("metric", "has samples already", "an empty one, for its options alone")
        self._metric = metric._empty()

    @property
    def metric(self) -> Metric:
        """An empty metric of the options that hold throughout."""
        return self._metric._empty()

    def _arguments(self) -> dict[str, Any]:
        return self.options

    def _fits(self, header: Header) -> None:
        if header["metric"] == type(self).__name__:
            self._metric._fits(header["options"]["metric"])  # names the option of the metric that differs
        super()._fits(header)


class Keeper(Wrapper, FromStreams):
    """Base of what keeps the samples of a metric apart: by group, by moment, or the last of them."""

    __slots__ = ()

    @abstractmethod
    def _keyed_by(self) -> tuple[str, ...]:
        """The arguments that say where a sample belongs."""

    @abstractmethod
    def _plan(self, **keys: Any) -> Plan:
        """What is to be done with samples of these keys or moments; InputError if they are none."""

    def _follow(self, plan: Plan, *given: Any, **others: Any) -> Self:
        for name in OF_ONE_SUM:
            if others.get(name) is not None:
                raise InputError(name, "is given", f"none: {type(self).__name__} keeps one sum for each place")
        samples = self._metric._samples(*given, **others)
        plan.check(samples, self._state)
        if samples.samples:
            plan.add(self._state, samples)
        return self

    def _update(self, preds: Any, target: Any, weight: Any = None, *, null: Any = None, **others: Any) -> None:
        self.update(preds, target, weight=weight, null=null, **others)

    @abstractmethod
    def update(self, preds: Any, target: Any = None, **others: Any) -> Self:
        """Add a chunk."""

    @property
    def _of_losses(self) -> Metric:
        return self._metric

    def _filled(self, ledger: Ledger) -> Metric:
        """A metric whose state is one cell."""
        metric = self._metric._empty()
        metric._state = State(ledger)
        return metric
