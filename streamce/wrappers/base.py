"""Defines the base classes of wrappers, which hold a metric for its options and keep states of that metric.

They know nothing of keys and of time.
"""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from streamce._support.short_repr import short_repr
from streamce.core.ledger.ledger import Ledger
from streamce.core.ledger.state import State
from streamce.errors import InputError
from streamce.inputs import messages
from streamce.metrics.base import BREAKDOWN_OPTIONS, Metric
from streamce.metrics.mergeable import MergeableState
from streamce.metrics.update_from import UpdateFromMixin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamce._support.state_format import Header
    from streamce.core.samples.samples import Samples


# Arguments that a metric with a sum for each group or period does not take.
SINGLE_SUM_ARGUMENTS = ("cluster", "n_words", "n_bytes")
# The arguments of a KeyedWrapper that say where a sample belongs.
KEY_ARGUMENTS = ("by", "by_time")


@functools.lru_cache
def update_keywords(metric: type) -> frozenset[str]:
    """Return the keyword-only arguments that ``update`` of a class of metrics takes."""
    parameters = inspect.signature(metric.update).parameters.values()  # type: ignore[attr-defined]
    return frozenset(each.name for each in parameters if each.kind is each.KEYWORD_ONLY)


def check_keywords(method: str, given: Iterable[str], known: frozenset[str]) -> None:
    """Raise TypeError, in Python's words for ``method``, if a keyword is not among the known ones."""
    for name in given:
        if name not in known:
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")


class Route(NamedTuple):
    """The destination of the samples of a batch, which is known before the samples are computed.

    After ``check``, ``add`` fails only if the state is ``crowded``.
    """

    argument: str  # the argument that fixes the number of samples
    size: int | None
    add: Callable[[Any, Samples], Any]  # takes a state
    check_state: Callable[[Any], None] = lambda state: None  # raises if samples cannot be added to a state

    def check(self, samples: Samples, state: Any) -> None:
        """Raise InputError if the number of samples is wrong, or if they cannot be added to the state."""
        if self.size is not None and self.size != samples.samples:
            raise messages.key_length(self.argument, self.size, samples.samples)
        if samples.samples:
            self.check_state(state)


class MetricWrapper(MergeableState):
    """Base of the wrappers. A wrapper takes an empty metric for its options."""

    __slots__ = ("_metric",)
    _metric: Metric

    def __init__(self, metric: Metric) -> None:
        if not isinstance(metric, Metric):
            raise InputError("metric", f"is {short_repr(metric)}", "a metric such as BinaryCrossEntropy()")
        for option in BREAKDOWN_OPTIONS:
            if metric.options.get(option):
                raise InputError("metric", f"keeps additional sums ({option}=True)", f"a metric with {option}=False")
        if metric._pipeline.per_cell:
            raise InputError("metric", f"is a {type(metric).__name__}, with sums by class", "a metric with one sum")
        if metric._state.parts():
            raise InputError("metric", "has samples already", "an empty metric, for its options")
        self._metric = metric._new()

    @property
    def metric(self) -> Metric:
        """An empty metric with the options of all states."""
        return self._metric._new()

    def _init_kwargs(self) -> dict[str, Any]:
        return self.options

    def _check_compatible(self, header: Header) -> None:
        if header["metric"] == type(self).__name__:
            self._metric._check_compatible(header["options"]["metric"])  # its error names the option that differs
        super()._check_compatible(header)

    def _check_keywords(self, method: str, given: Iterable[str]) -> None:
        """Raise TypeError unless ``update`` of the metric takes these keywords."""
        check_keywords(method, given, update_keywords(type(self._metric)))


class KeyedWrapper(MetricWrapper, UpdateFromMixin):
    """Base of the wrappers that separate the samples of a metric by group, by time or by age."""

    __slots__ = ()

    @abstractmethod
    def _keyed_by(self) -> tuple[str, ...]:
        """Return the names of the arguments that hold keys or timestamps."""

    @abstractmethod
    def _route(self, **keys: Any) -> Route:
        """Return where samples with these keys or timestamps go, or raise InputError if they are invalid."""

    def _apply(self, route: Route, *inputs: Any, **others: Any) -> Self:
        """Add a batch whose route is known."""
        for name in SINGLE_SUM_ARGUMENTS:
            if others.get(name) is not None:
                raise InputError(name, "is given", f"none, because {type(self).__name__} separates samples")
        samples = self._metric._run_returning_samples(State(), *inputs, **others)
        route.check(samples, self._state)
        if samples.samples:
            route.add(self._state, samples)
        return self

    def _update(self, preds: Any, target: Any, weight: Any = None, **others: Any) -> None:
        keys = {name: others.pop(name) for name in KEY_ARGUMENTS if name in others}
        self._apply(self._route(**keys), preds, target, weight=weight, **others)

    @property
    def _loss_metric(self) -> Metric:
        return self._metric

    def _metric_of(self, ledger: Ledger) -> Metric:
        """Return a metric whose state is one cell."""
        metric = self._metric._new()
        metric._state = State(ledger)
        return metric
