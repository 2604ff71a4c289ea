"""Defines the base classes of wrappers, which hold a metric for its options and keep states of that metric.

They know nothing of keys and of time.
"""

from __future__ import annotations

import functools
import inspect
import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from streamce.core.ledger.state import State
from streamce.core.samples.routes import Routes
from streamce.errors import InputError
from streamce.inputs import messages
from streamce.keys import periods
from streamce.metrics.mergeable import MergeableState
from streamce.metrics.options import check_base
from streamce.metrics.update_from import PREDS_ARGUMENTS, UpdateFromMixin
from streamce.wrappers import composition
from streamce.wrappers.table import StateTable, coded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streamce._support.state_format import Header
    from streamce.core.samples.samples import Samples
    from streamce.inputs.arrays import Array
    from streamce.keys.key_columns import Keys
    from streamce.metrics.base import Metric
    from streamce.wrappers.changes import Change


# Arguments of an update that give a sample more sums than those of its mean.
MORE_SUMS = ("cluster", "n_words", "n_bytes")
# The arguments of a KeyedWrapper that say where a sample belongs.
KEY_ARGUMENTS = ("by", "by_time")
# The options that are lengths of time. Headers hold them in microseconds.
LENGTHS = ("half_life", "period", "step")


def update_keywords(metric: MergeableState) -> frozenset[str]:
    """Return the keyword-only arguments that ``update`` of a metric takes, with those of metrics in it."""
    return _signature(type(metric))[1].union(*map(update_keywords, metric._inner()))


def input_names(metric: MergeableState) -> dict[str, bool]:
    """Return the positional arguments that ``update`` of a metric takes, and whether each must be given."""
    if isinstance(metric, KeyedWrapper):
        return input_names(metric._metric)
    return _signature(type(metric))[0]


@functools.lru_cache
def _signature(metric: type) -> tuple[dict[str, bool], frozenset[str]]:
    """Return the positional arguments of ``update``, with whether each must be given, and the keyword-only ones."""
    parameters = list(inspect.signature(metric.update).parameters.values())[1:]  # type: ignore[attr-defined]
    names = {each.name: each.default is each.empty for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD}
    return names, frozenset(each.name for each in parameters if each.kind is each.KEYWORD_ONLY)


def check_keywords(method: str, given: Iterable[str], known: frozenset[str]) -> None:
    """Raise TypeError, in Python's words for ``method``, if a keyword is not among the known ones."""
    for name in given:
        if name not in known:
            raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")


def kind(metric: Any) -> str:
    """Return the name of the first section that shows the value of a metric, or of the metric in wrappers of it."""
    first: str = metric._sections()[0]
    return kind(metric.metric) if first == "current" else first


def flat_options(metric: Any, options_of: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Return the options of a metric, which ``options_of`` returns, and those of the wrappers around it by name.

    An option of a metric within has the prefix ``inner_`` if a wrapper around it has one of the same name.
    """
    inner = metric.options.get("metric")
    if inner is None:
        return options_of(metric)
    within = flat_options(inner, options_of)
    own = {name: value for name, value in metric.options.items() if name != "metric"}
    own = {name: value for name, value in own.items() if value is not None or name not in within}
    return {f"inner_{name}" if name in own else name: value for name, value in within.items()} | own


class Route(NamedTuple):
    """Where the samples of a batch go, which is known before they are computed.

    Without ``keys`` they go to the one state of a window. ``factor`` multiplies n and d of each sample.
    """

    argument: str  # the argument that fixes the number of samples
    keys: Keys | None = None
    factor: Array | None = None

    def check(self, samples: Samples, state: Any) -> None:
        """Raise InputError if the number of samples is wrong, or if they cannot be added to the state."""
        if self.keys is None:
            return
        if self.keys.size != samples.samples:
            raise messages.key_length(self.argument, self.keys.size, samples.samples)
        if samples.samples:
            state.check(self.keys.kinds)

    def add(self, state: Any, samples: Samples) -> None:
        """Add samples to a state."""
        if self.factor is not None:
            samples = samples.multiplied(self.factor)
        state.add_samples(samples, self.keys)


class MetricWrapper(MergeableState):
    """Base of the wrappers. A wrapper takes an empty metric for its options."""

    __slots__ = ("_keywords", "_metric", "_names")
    _metric: Any

    def __init__(self, metric: Any) -> None:
        composition.check_inner(type(self).__name__, self._layer, metric)
        self._metric = metric._new()
        # The arguments of an update of the metric: positional ones with whether each must be given, and keywords.
        self._names = {PREDS_ARGUMENTS.get(name, name): must for name, must in input_names(metric).items()}
        if list(self._names) == ["preds"]:
            self._names["target"] = False  # None
        self._keywords = update_keywords(metric)

    @property
    def metric(self) -> Any:
        """An empty metric with the options of all states."""
        return self._metric._new()

    def _init_kwargs(self) -> dict[str, Any]:
        return self.options

    def _inner(self) -> tuple[MergeableState, ...]:
        return (self._metric,)

    def _check_compatible(self, header: Header) -> None:
        if header["metric"] == type(self).__name__:
            self._metric._check_compatible(header["options"]["metric"])  # its error names the option that differs
        super()._check_compatible(header)

    def _option_text(self, option: str, value: Any) -> str:
        if option in LENGTHS and type(value) is int:
            return periods.format_period(value)
        return super()._option_text(option, value)

    def _check_keywords(self, method: str, given: Iterable[str]) -> None:
        """Raise TypeError unless ``update`` of the metric takes these keywords."""
        check_keywords(method, given, self._keywords)

    def _bind(self, method: str, inputs: tuple[Any, ...], others: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of an update of the metric by name. Raise TypeError, in Python's words, if one is wrong.

        The losses of ``MeanLoss`` are called ``preds``.
        """
        names = self._names
        if len(inputs) > len(names):
            raise TypeError(f"{method}() takes {len(names)} positional arguments but {len(inputs)} were given")
        given = dict(zip(names, inputs, strict=False))
        if others:
            for name in given.keys() & others.keys():
                raise TypeError(f"{method}() got multiple values for argument {name!r}")
            self._check_keywords(method, others.keys() - names.keys())
            given |= others
        for name, must in names.items():
            if must and name not in given:
                raise TypeError(f"{method}() missing a required argument: {name!r}")
        return given

    def _headline(self, found: Any) -> Any:
        return self._metric._headline(found)

    def _metric_of(self, state: Any) -> Any:
        """Return a metric with this state."""
        metric = self._metric._new()
        metric._state = state
        return metric

    @property
    def _restore_inner(self) -> Callable[[dict[str, bytes]], Any]:
        """The function that returns the state of the metric with these parts. It does not refer to the wrapper."""
        return functools.partial(_restored, self._metric)


def _restored(metric: MergeableState, parts: dict[str, bytes]) -> Any:
    """Return the state of a metric with these parts, or raise ValueError."""
    new = metric._new()
    if parts:
        new._load_payload(parts)
    return new._state


class KeyedWrapper(MetricWrapper, UpdateFromMixin):
    """Base of the wrappers that separate the samples of a metric by group, by time or by age."""

    __slots__ = ()

    def _table(self) -> StateTable:
        """Return an empty table of states of the metric."""
        return StateTable(self._restore_inner, self._metric._state, has_cells=self._metric._has_cell)

    @abstractmethod
    def _keyed_by(self) -> tuple[str, ...]:
        """Return the names of the arguments that hold keys or timestamps."""

    @abstractmethod
    def _route(self, **keys: Any) -> Route:
        """Return where samples with these keys or timestamps go, or raise InputError if they are invalid."""

    def _check_keywords(self, method: str, given: Iterable[str]) -> None:
        for name in given:
            if name in PREDS_ARGUMENTS and name in input_names(self._metric):
                hint = f"wrappers call it {PREDS_ARGUMENTS[name]!r}"
                raise TypeError(f"{method}() got an unexpected keyword argument {name!r}: {hint}")
        super()._check_keywords(method, given)

    def _takes_samples(self, others: dict[str, Any]) -> bool:
        """Return whether each sample of an update adds to a mean and to no other sum."""
        return self._metric._has_only_mean and all(others.get(name) is None for name in MORE_SUMS)

    def _apply(self, route: Route, *inputs: Any, **others: Any) -> Self:
        """Add a batch whose route is known."""
        if self._takes_samples(others):
            samples = self._metric._run_returning_samples(State(), *inputs, **others)
            route.check(samples, self._state)
            if samples.samples:
                route.add(self._state, samples)
            return self
        assert route.keys is not None  # only a window of samples has none
        codes, keys = coded(route.keys)
        self._state.check(route.keys.kinds)
        states = self._metric._split(Routes(codes, len(keys), route.argument, route.factor), *inputs, **others)
        self._state.add_states(route.keys.kinds, zip(keys, states, strict=True))
        return self

    def _keys_taken(self) -> frozenset[str]:
        inner: frozenset[str] = self._metric._keys_taken()
        return inner.union(self._keyed_by())

    def _own_route(self, others: dict[str, Any]) -> Route:
        """Return the route that the keys and timestamps among the arguments give, and leave those that metrics take."""
        inner = self._metric._keys_taken()
        own = {}
        for name in KEY_ARGUMENTS:
            if name in others and (name in self._keyed_by() or name not in inner):
                own[name] = others[name]
            if name in others and (name not in inner or others[name] is None):
                del others[name]
        return self._route(**own)

    def _split(self, routes: Routes, *inputs: Any, **others: Any) -> list[Any]:
        route = self._own_route(others)
        assert route.keys is not None  # a window of samples is in no other wrapper
        if route.keys.size != routes.size:  # which of the two is wrong is not known before the samples
            found = f"has length {routes.size} and {route.argument} has length {route.keys.size}"
            raise InputError(routes.argument, found, "equal lengths, one entry per sample", value=routes.size)
        codes, keys = coded(route.keys)
        pairs, joint = np.unique(routes.numbers * len(keys) + codes, return_inverse=True)
        inner = Routes(joint.astype(np.int64).reshape(-1), len(pairs), routes.argument, route.factor)
        states = [self._new()._state for _ in routes.states]
        for pair, state in zip(pairs.tolist(), self._metric._split(inner, *inputs, **others), strict=True):
            outer, own = divmod(pair, len(keys))
            states[outer].add_states(route.keys.kinds, [(keys[own], state)])
        return states

    def update_token_log_probs(
        self, log_probs: Any, *, by: Any = None, by_time: Any = None, base: float = math.e, **others: Any
    ) -> Self:
        """Add sequences from the log-probabilities of their tokens, for a wrapper of sequences.

        Parameters
        ----------
        log_probs, base, **others
            The arguments of :meth:`SequenceCrossEntropy.update_token_log_probs`.
        by, by_time
            The arguments of ``update``, with an entry for each sequence.

        Raises
        ------
        InputError
            As for ``update``, or if the metric is not one of sequences.

        Examples
        --------
        >>> import streamce as ce
        >>> subjects = ce.Grouped(ce.Perplexity())
        >>> subjects = subjects.update_token_log_probs([[-1.0, -3.0], [-1.0, -1.0]], by=["maths", "law"])
        >>> subjects.compute()
        {'law': 2.71828..., 'maths': 7.38905...}
        """
        if "preds" not in self._names or self._loss_metric._task != "sequence":
            name = type(self._loss_metric if "preds" in self._names else self._metric).__name__
            raise InputError("log_probs", f"is given to a {name}", "a metric of sequences, such as Perplexity()")
        self._check_keywords(f"{type(self).__name__}.update_token_log_probs", others)
        keys = {name: key for name, key in (("by", by), ("by_time", by_time)) if key is not None}
        self._update(log_probs, None, base=check_base("base", base), **keys, **others)
        return self

    def _changes_of_samples(self, route: Route, samples: Samples) -> list[Change]:
        """Return the changes that add samples, or raise InputError."""
        if route.factor is not None:
            samples = samples.multiplied(route.factor)
        changes: list[Change] = self._state.changes_of_samples(samples, route.keys)
        return changes

    def _changes_of(self, other: Any) -> list[Change]:
        changes: list[Change] = self._state.changes_of(other._state)
        return changes

    def _update(self, *given: Any, **others: Any) -> None:
        named = dict(zip(("preds", "target", "weight"), given, strict=False))
        self._add(others | {name: each for name, each in named.items() if each is not None or name == "preds"})

    def _check_arguments(self, columns: dict[str, list[str]]) -> None:
        if not isinstance(self._metric, UpdateFromMixin):
            found = f"is a {type(self._metric).__name__}, whose samples have no single prediction"
            raise InputError("metric", found, "update() with batches")
        super()._check_arguments(columns)

    def _takes(self, argument: str) -> bool:
        return super()._takes(argument) or self._metric._takes(argument)

    def _add(self, given: dict[str, Any]) -> None:
        """Add a batch, given by argument."""
        self._apply(self._own_route(given), **given)

    @property
    def _loss_metric(self) -> Metric:
        loss_metric: Metric = self._metric._loss_metric
        return loss_metric
