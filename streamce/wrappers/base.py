"""What wraps a metric: its options, of which each state inside is made."""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.core.ledger.ledger import Ledger
from streamce.core.ledger.state import State
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.metrics.base import BREAKDOWN_OPTIONS, Metric
from streamce.metrics.mergeable import MergeableState
from streamce.metrics.update_from import UpdateFromMixin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamce._support.state_format import Header
    from streamce.core.samples.samples import Samples


# What a metric that keeps its samples together takes alone.
OF_ONE_SUM = ("cluster", "n_words", "n_bytes")
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


class MetricWrapper(MergeableState):
    """Base of what wraps a metric, of which it takes the options alone."""

    __slots__ = ("_metric",)
    _metric: Metric

    def __init__(self, metric: Metric) -> None:
        if not isinstance(metric, Metric):
            raise InputError("metric", f"is {short_repr(metric)}", "a metric such as BinaryCrossEntropy()")
        for option in BREAKDOWN_OPTIONS:
            if metric.options.get(option):
                raise InputError("metric", f"keeps sums of its own ({option}=True)", f"one of {option}=False")
        if metric._pipeline.per_cell:
            raise InputError("metric", f"is a {type(metric).__name__}, with sums by the class", "a metric of one sum")
        if metric._state.parts():
            raise InputError("metric", "has samples already", "an empty one, for its options alone")
        self._metric = metric._new()

    @property
    def metric(self) -> Metric:
        """An empty metric of the options that hold throughout."""
        return self._metric._new()

    def _init_kwargs(self) -> dict[str, Any]:
        return self.options

    def _check_compatible(self, header: Header) -> None:
        if header["metric"] == type(self).__name__:
            self._metric._check_compatible(header["options"]["metric"])  # names the option of the metric that differs
        super()._check_compatible(header)

    def _check_keywords(self, method: str, given: Iterable[str]) -> None:
        """Raise TypeError unless the metric's ``update`` takes these keywords, as it does not take internal ones."""
        check_keywords(method, given, update_keywords(type(self._metric)))


class KeyedWrapper(MetricWrapper, UpdateFromMixin):
    """Base of what keeps the samples of a metric apart: by group, by moment, or the last of them."""

    __slots__ = ()

    @abstractmethod
    def _keyed_by(self) -> tuple[str, ...]:
        """The arguments that say where a sample belongs."""

    @abstractmethod
    def _route(self, **keys: Any) -> Route:
        """What is to be done with samples of these keys or moments; InputError if they are none."""

    def _apply(self, route: Route, *given: Any, **others: Any) -> Self:
        for name in OF_ONE_SUM:
            if others.get(name) is not None:
                raise InputError(name, "is given", f"none: {type(self).__name__} keeps one sum for each place")
        samples = self._metric._run_returning_samples(State(), *given, **others)
        route.check(samples, self._state)
        if samples.samples:
            route.add(self._state, samples)
        return self

    @in_default_mode
    def _update(self, preds: Any, target: Any, weight: Any = None, **others: Any) -> None:
        keys = {name: others.pop(name) for name in KEY_ARGUMENTS if name in others}
        self._apply(self._route(**keys), preds, target, weight=weight, **others)

    @property
    def _loss_metric(self) -> Metric:
        return self._metric

    def _filled(self, ledger: Ledger) -> Metric:
        """A metric whose state is one cell."""
        metric = self._metric._new()
        metric._state = State(ledger)
        return metric
