"""Defines a collection: several metrics of the same inputs, whose losses are computed once."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from streamce._support import state_format
from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.inputs import arrays, class_names
from streamce.keys.cluster_buckets import to_buckets
from streamce.metrics.base import BREAKDOWN_OPTIONS, Metric
from streamce.metrics.normalized_entropy import MulticlassNormalizedEntropy, NormalizedEntropy
from streamce.metrics.update_from import PREDS_ARGUMENTS, UpdateFromMixin
from streamce.wrappers import composition
from streamce.wrappers.base import KeyedWrapper, check_keywords, input_names, update_keywords
from streamce.wrappers.changes import Versioned, replace

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.core.samples.routes import Routes
    from streamce.core.samples.samples import Samples
    from streamce.metrics.mergeable import MergeableState
    from streamce.wrappers.base import Route

# The classes of a collection's members: those that are updated with ``preds`` and ``target``.
MEMBER_TYPES = (Metric, KeyedWrapper, NormalizedEntropy)


class Collection(UpdateFromMixin):
    """Named metrics that one update adds a batch to.

    The losses are computed once for metrics with the same options, including those inside of :class:`Grouped`,
    :class:`Sliding` and :class:`Decayed`. :class:`NormalizedEntropy` and :class:`MulticlassNormalizedEntropy` compute
    their own losses.

    Parameters
    ----------
    metrics : mapping of str to metrics
        Empty metrics that take the same ``preds`` and ``target``.

    Notes
    -----
    Collections are added and subtracted name by name, if all of their metrics can be added. An update, a sum or a
    difference changes all metrics, or raises an error and changes none.

    Examples
    --------
    >>> import streamce as ce
    >>> metrics = ce.Collection(
    ...     {
    ...         "all": ce.BinaryCrossEntropy(tail=True),
    ...         "by user": ce.Grouped(ce.BinaryCrossEntropy()),
    ...         "last": ce.Sliding(ce.BinaryCrossEntropy(), samples=2),
    ...     }
    ... )
    >>> metrics = metrics.update([0.9, 0.2, 0.6], [1, 0, 1], by=["ann", "bob", "ann"])
    >>> metrics.compute()
    {'all': 0.27977656..., 'by user': {'ann': 0.30809306..., 'bob': 0.22314355...}, 'last': 0.36698458...}
    >>> metrics["last"].window().summary().count
    2
    """

    __slots__ = ()
    _has_sql_rows = False
    _state: Members

    @property
    def _layer(self) -> int:  # type: ignore[override]
        return max(composition.COLLECTION, *(metric._layer for metric in self._state.metrics.values()))

    @property
    def _is_addable(self) -> bool:  # type: ignore[override]
        return all(metric._is_addable for metric in self._state.metrics.values())

    def _keys_taken(self) -> frozenset[str]:
        return frozenset().union(*(metric._keys_taken() for metric in self._state.metrics.values()))

    def _inner(self) -> tuple[MergeableState, ...]:
        return tuple(self._state.metrics.values())

    def __init__(self, metrics: Mapping[str, UpdateFromMixin]) -> None:
        if not isinstance(metrics, Mapping) or not metrics:
            raise InputError("metrics", f"is {short_repr(metrics)}", "metrics by name, such as {'loss': MeanLoss()}")
        for name, metric in metrics.items():
            if not isinstance(name, str):
                raise InputError("metrics", f"has the name {short_repr(name)}", "names that are strings")
            if not isinstance(metric, MEMBER_TYPES):
                expected = "a metric that is updated with preds and target"
                raise InputError("metrics", f"is {short_repr(metric)}", expected, part=name)
            if "preds" not in {PREDS_ARGUMENTS.get(each, each) for each in input_names(metric)}:
                found = f"is {short_repr(metric)}, which takes no preds"
                raise InputError("metrics", found, "a metric that is updated with preds and target", part=name)
            if metric._state.parts():
                raise InputError("metrics", "has samples already", "an empty metric", part=name)
        self._state = Members({name: metric._new() for name, metric in metrics.items()})

    @property
    def options(self) -> dict[str, Any]:
        """All options: an empty metric by name."""
        return {"metrics": {name: metric._new() for name, metric in self._state.metrics.items()}}

    def _caption(self) -> str:
        return f"{len(self)} metric" + "s" * (len(self) != 1)

    def _sections(self) -> tuple[str, ...]:
        return ("members",)

    def _init_kwargs(self) -> dict[str, Any]:
        return self.options

    def _loss_options(self) -> dict[str, Any]:
        return {"metrics": {name: metric._header() for name, metric in self._state.metrics.items()}}

    @classmethod
    def _from_options(cls, options: dict[str, Any], restore_inner: Callable[[Header], Any]) -> Self:
        return cls({name: restore_inner(header) for name, header in options["metrics"].items()})

    def _check_compatible(self, header: Header) -> None:
        if header["metric"] == type(self).__name__:
            theirs = header["options"]["metrics"]
            if theirs.keys() != self._state.metrics.keys():
                ours, others = sorted(self._state.metrics), sorted(theirs)
                found = (
                    f"the metrics of one collection are {ours} and those of the other {others}: they cannot be added"
                )
                raise InputError("metrics", found, location="")
            for name, metric in self._state.metrics.items():
                metric._check_compatible(theirs[name])  # its error names the option that differs
        super()._check_compatible(header)

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        self._state = self._state.from_parts(payload)

    # ---- adding ----

    def update(
        self,
        preds: Any,
        target: Any = None,
        *,
        weight: Any = None,
        cluster: Any = None,
        by: Any = None,
        by_time: Any = None,
        **others: Any,
    ) -> Self:
        """Add a batch to all metrics.

        Parameters
        ----------
        preds, target, weight, **others
            The arguments of the metrics' ``update``.
        cluster : array, or tuple of arrays, optional
            The clusters of the samples: see :class:`MeanLoss`, for example.
        by, by_time : array, tuple of arrays, or dict, optional
            The arguments of :class:`Grouped`, :class:`Sliding` and :class:`Decayed`. A dict gives them by the name of
            the metric, if they differ.

        Raises
        ------
        InputError
            If the batch is invalid for one of the metrics. Nothing is added to any metric then.

        Examples
        --------
        >>> import streamce as ce
        >>> metrics = ce.Collection({"all": ce.MeanLoss(), "users": ce.Grouped(ce.MeanLoss())})
        >>> metrics.update([1.0, 2.0], by=["ann", "bob"]).compute()
        {'all': 1.5, 'users': {'ann': 1.0, 'bob': 2.0}}
        """
        if others:
            check_keywords("Collection.update", others, self._state.keywords)
        self._update(preds, target, weight, cluster=cluster, by=by, by_time=by_time, **others)
        return self

    def _update(
        self,
        preds: Any,
        target: Any,
        weight: Any = None,
        *,
        cluster: Any = None,
        by: Any = None,
        by_time: Any = None,
        **others: Any,
    ) -> None:
        own = self._state
        keys = {"by": self._by_name("by", by), "by_time": self._by_name("by_time", by_time)}
        own_keys = {name: self._keys_of(name, metric, keys) for name, metric in own.metrics.items()}
        routes = {
            name: metric._own_route(dict(own_keys[name]))
            for name, metric in own.metrics.items()
            if isinstance(metric, KeyedWrapper)
        }
        for name, destination in routes.items():
            if destination.keys is not None:
                own.metrics[name]._state.check(destination.keys.kinds)
        preds, target, weight = (
            arrays.materialize(preds, "preds"),
            class_names.materialize_target(target),
            arrays.materialize(weight, "weight"),
        )
        others = arrays.materialize_others(others)
        given = (preds, target) if target is not None else (preds,)
        if cluster is not None:
            others["cluster"] = to_buckets(cluster)
        batch: dict[str, UpdateFromMixin] = {}
        samples: dict[str, Samples] = {}
        for names in own.same_losses:
            found = own.losses(names, *given, weight=weight, **others)
            for name in names:
                if (route := routes.get(name)) and not own.metrics[name]._takes_samples(others):  # type: ignore[attr-defined]
                    batch[name] = own.metrics[name]._new()
                    batch[name]._update(*given, weight=weight, **others, **own_keys[name])
                elif route:
                    route.check(found[1], own.metrics[name]._state)
                    samples[name] = found[1]
                else:
                    batch[name] = found[0][name]
        for name in own.own_losses:
            batch[name] = own.metrics[name]._new()
            batch[name]._update(preds, target, weight, **others, **own_keys[name])
        own.add(batch, {name: (routes[name], found) for name, found in samples.items()})

    def _split(
        self,
        routes: Routes,
        preds: Any,
        target: Any = None,
        *,
        weight: Any = None,
        by: Any = None,
        by_time: Any = None,
        **others: Any,
    ) -> list[Members]:
        own = self._state
        keys = {"by": self._by_name("by", by), "by_time": self._by_name("by_time", by_time)}
        states: dict[str, list[Any]] = {}
        for names in [*own.same_losses, *([name] for name in own.own_losses)]:
            plain = [name for name in names if isinstance(own.metrics[name], Metric)]
            if plain:
                combined = own.combined(plain)
                found = combined._split(routes.fresh(), preds, target, weight=weight, **others)
                for name in plain:
                    states[name] = [own.metrics[name]._select(state) for state in found]  # type: ignore[attr-defined]
            for name in set(names) - set(plain):
                metric = own.metrics[name]
                named = others | self._keys_of(name, metric, keys)
                states[name] = metric._split(routes.fresh(), preds, target, weight=weight, **named)
        split = []
        for code in range(len(routes.states)):
            metrics = {name: metric._new() for name, metric in own.metrics.items()}
            for name, metric in metrics.items():
                metric._state = states[name][code]
            split.append(Members(metrics))
        return split

    def _extend(self, other: Self) -> Self:
        self._state.extend(other._state)
        return self

    @property
    def _loss_metric(self) -> Metric:
        found = [metric._loss_metric for metric in self._state.metrics.values()]
        if len({each._task for each in found}) > 1:
            tasks = sorted({type(each).__name__ for each in found})
            raise InputError("metrics", f"are {', '.join(tasks)}", "metrics that read the same columns")
        return next(iter(found))

    def _by_name(self, argument: str, given: Any) -> Any:
        metrics = self._state.metrics
        if isinstance(given, dict) and (unknown := given.keys() - metrics.keys()):
            raise InputError(argument, f"names {sorted(map(str, unknown))}", f"names of {sorted(metrics)}")
        keyed = {name for name, each in metrics.items() if argument in each._keys_taken()}
        if isinstance(given, dict) and (unkeyed := given.keys() - keyed):
            raise InputError(argument, f"is given for {sorted(unkeyed)}", f"those that take it: {sorted(keyed)}")
        if given is not None and not keyed:
            raise InputError(argument, "is given", "none, because no metric of the collection takes it")
        return given

    @staticmethod
    def _keys_of(name: str, metric: UpdateFromMixin, keys: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that say where samples go in a metric that separates them."""
        own = {}
        for argument, given in keys.items():
            mine = given.get(name) if isinstance(given, dict) else given
            if mine is not None and argument in metric._keys_taken():
                own[argument] = mine
        return own

    # ---- reading ----

    def __getitem__(self, name: str) -> UpdateFromMixin:
        """Return a metric, with a copy of its state."""
        return self._state.copy().metrics[name]

    def _members(self) -> dict[str, UpdateFromMixin]:
        """Return the metrics by name, with copies of their states."""
        return self._state.copy().metrics

    def __len__(self) -> int:
        return len(self._state.metrics)

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.metrics)

    def compute(self) -> dict[str, Any]:
        """Return the result of ``compute()`` of each metric, by name."""
        return {name: metric.compute() for name, metric in self._state.copy().metrics.items()}  # type: ignore[attr-defined]

    def summary(self, level: float = 0.95, anytime: bool = False) -> dict[str, Any]:
        """Return the result of ``summary()`` of each metric, by name."""
        metrics = self._state.copy().metrics
        return {name: metric.summary(level, anytime) for name, metric in metrics.items()}  # type: ignore[attr-defined]


class Members(Versioned):
    """The metrics of a collection, and which of them need the same losses.

    A lock makes each change atomic: a reader sees a concurrent batch completely or not at all.
    """

    def __init__(self, metrics: dict[str, UpdateFromMixin]) -> None:
        super().__init__()
        self.metrics: dict[str, UpdateFromMixin] = metrics
        self.lock: threading.RLock = threading.RLock()  # reentrant, because a signal handler may read
        same_losses: dict[Any, list[str]] = {}
        self.own_losses: list[str] = []
        for name, metric in metrics.items():
            of = metric._metric if isinstance(metric, KeyedWrapper) else metric
            shares = not isinstance(metric, KeyedWrapper) or of._has_only_mean
            if isinstance(of, Metric) and shares and not isinstance(of, MulticlassNormalizedEntropy):
                same_losses.setdefault(of._loss_key(), []).append(name)
            else:
                self.own_losses.append(name)
        self.same_losses: list[list[str]] = list(same_losses.values())

    @functools.cached_property
    def keywords(self) -> frozenset[str]:
        """The keyword-only arguments that all metrics take in ``update``."""
        metrics = (each._metric if isinstance(each, KeyedWrapper) else each for each in self.metrics.values())
        return frozenset.intersection(*map(update_keywords, metrics))

    def losses(self, names: list[str], *given: Any, **others: Any) -> tuple[dict[str, UpdateFromMixin], Samples]:
        """Return the samples of a batch, and a metric of the batch for each named one that is not in a wrapper."""
        unwrapped = {name: metric for name in names if isinstance(metric := self.metrics[name], Metric)}
        first = self.metrics[names[0]]
        source = next(iter(unwrapped.values()), first._metric if isinstance(first, KeyedWrapper) else None)
        assert source is not None
        combined = self.combined([*unwrapped]) if unwrapped else source._new()
        samples = combined._run_returning_samples(combined._state, *given, **others)
        metrics: dict[str, UpdateFromMixin] = {}
        for name, metric in unwrapped.items():
            metrics[name] = metric._new()
            metrics[name]._state = metric._select(combined._state)
        return metrics, samples

    def combined(self, names: list[str]) -> Metric:
        """Return an empty metric that keeps every sum that one of these metrics keeps. They have the same losses."""
        options = [self.metrics[name]._init_kwargs() for name in names]
        breakdowns = {name: True for name in BREAKDOWN_OPTIONS if any(each.get(name) for each in options)}
        found: Metric = type(self.metrics[names[0]])(**{**options[0], **breakdowns})  # type: ignore[assignment]
        return found

    def add(self, batch: dict[str, UpdateFromMixin], samples: dict[str, tuple[Route, Samples]]) -> None:
        """Add a batch to all metrics. An error, or an interrupt, changes none of them."""
        with self.lock:
            while True:  # again if a signal handler added a batch meanwhile
                version, changes = self._version, []
                for name, metric in batch.items():
                    changes += self.metrics[name]._changes_of(metric)
                for name, (route, found) in samples.items():
                    route.check(found, self.metrics[name]._state)  # again, because another thread may have added keys
                    if found.samples:
                        changes += self.metrics[name]._changes_of_samples(route, found)  # type: ignore[attr-defined]
                if self._commit(version, changes):
                    return

    def extend(self, other: Members) -> None:
        """Add the states of another collection, whose samples follow. An error changes no metric."""
        theirs = other.copy().metrics
        self._replace(lambda name, metric: metric.copy()._extend(theirs[name]))

    def merge(self, other: Members, sign: int = 1) -> None:
        theirs = other.copy().metrics
        self._replace(lambda name, metric: metric + theirs[name] if sign > 0 else metric - theirs[name])

    def _replace(self, new: Callable[[str, UpdateFromMixin], UpdateFromMixin]) -> None:
        """Replace each metric by a new one."""
        with self.lock:
            while True:
                version = self._version
                metrics = {name: new(name, metric) for name, metric in self.metrics.items()}
                if self._commit(version, [replace(self, "metrics", metrics)]):
                    return

    def is_clustered(self) -> bool | None:
        """Return whether the samples have clusters, None without samples."""
        found = (metric._state.is_clustered() for metric in self.metrics.values())
        return next((each for each in found if each is not None), None)

    def is_zero(self) -> bool:
        """Return whether all integers are 0."""
        return all(metric._state.is_zero() for metric in self.metrics.values())

    def copy(self) -> Members:
        with self.lock:
            return Members({name: metric.copy() for name, metric in self.metrics.items()})

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """Return the parts of each metric as one part, by the metric's number among the sorted names."""
        metrics = self.copy().metrics
        by_number = {str(number): metrics[name]._state.parts() for number, name in enumerate(sorted(metrics))}
        return {number: state_format.join_parts(parts) for number, parts in by_number.items() if parts}

    def from_parts(self, parts: dict[str, bytes]) -> Members:
        """Return metrics of the same options with the states in ``parts``, or raise ValueError."""
        new = {name: metric._new() for name, metric in self.metrics.items()}
        numbers = {str(number): name for number, name in enumerate(sorted(new))}
        for number, data in parts.items():
            new[numbers[number]]._load_payload(state_format.split_parts(data))
        return Members(new)
