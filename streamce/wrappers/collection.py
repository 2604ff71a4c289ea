"""Several metrics of the same inputs, whose losses are computed once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from streamce._support import state_format
from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.keys.key_columns import buckets
from streamce.metrics.base import SUMS, Metric
from streamce.metrics.normalized_entropy import MulticlassNormalizedEntropy, NormalizedEntropy
from streamce.metrics.update_from import FromStreams
from streamce.wrappers.base import OF_ONE_SUM, Keeper

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.core.samples.samples import Samples
    from streamce.wrappers.base import Plan

# What a collection can hold: what is updated by ``preds`` and ``target``.
KINDS = (Metric, Keeper, NormalizedEntropy)


class Collection(FromStreams):
    """Metrics by name, which one update adds a chunk to.

    Metrics with the same options, and what keeps the samples of one apart (:class:`Grouped`, :class:`Sliding`,
    :class:`Decayed`), need the same losses: these are computed once for all of them. :class:`NormalizedEntropy` and
    :class:`MulticlassNormalizedEntropy` compute their own.

    Parameters
    ----------
    metrics : mapping of str to metrics
        Empty metrics, all of which take the same ``preds`` and ``target``.

    Notes
    -----
    A collection is an element of a commutative group if all it holds are: it adds up name by name. An update, a sum or
    a difference is done for all of its metrics, or raises and is done for none.

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
    _state: Members

    def __init__(self, metrics: Mapping[str, FromStreams]) -> None:
        if not isinstance(metrics, Mapping) or not metrics:
            raise InputError("metrics", f"is {short_repr(metrics)}", "metrics by name, such as {'loss': MeanLoss()}")
        for name, metric in metrics.items():
            if not isinstance(name, str):
                raise InputError("metrics", f"has the name {short_repr(name)}", "names that are strings")
            if not isinstance(metric, KINDS):
                expected = "a metric that is updated by preds and target"
                raise InputError("metrics", f"is {short_repr(metric)}", expected, part=name)
            if metric._state.parts():
                raise InputError("metrics", "has samples already", "an empty one", part=name)
        self._state = Members({name: metric._empty() for name, metric in metrics.items()})

    @property
    def options(self) -> dict[str, Any]:
        """An empty metric by name: all options."""
        return {"metrics": {name: metric._empty() for name, metric in self._state.metrics.items()}}

    def _arguments(self) -> dict[str, Any]:
        return self.options

    def _of_the_loss(self) -> dict[str, Any]:
        return {"metrics": {name: metric._header() for name, metric in self._state.metrics.items()}}

    @classmethod
    def _of(cls, options: dict[str, Any], made: Callable[[Header], Any]) -> Self:
        return cls({name: made(header) for name, header in options["metrics"].items()})

    def _fits(self, header: Header) -> None:
        if header["metric"] == type(self).__name__:
            theirs = header["options"]["metrics"]
            if theirs.keys() != self._state.metrics.keys():
                ours, others = sorted(self._state.metrics), sorted(theirs)
                found = f"the metrics of one collection are {ours} and those of the other {others}: they do not add up"
                raise InputError("metrics", found, location="")
            for name, metric in self._state.metrics.items():
                metric._fits(theirs[name])  # names the option that differs
        super()._fits(header)

    def _take(self, parts: dict[str, bytes]) -> None:
        self._state = self._state.from_parts(parts)

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
        """Add a chunk to all metrics.

        Parameters
        ----------
        preds, target, weight, **others
            As the metrics' ``update`` takes them.
        cluster : array, or tuple of arrays, optional
            As metrics take it that keep no samples apart.
        by, by_time : array, tuple of arrays, or dict, optional
            As :class:`Grouped`, :class:`Sliding` and :class:`Decayed` take them; a dict has them by the name of the
            metric, where not all of these are to have the same.

        Raises
        ------
        InputError
            If one of the metrics does not take the chunk. Nothing of it is counted then.
        """
        own = self._state
        keys = {"by": self._by_name("by", by), "by_time": self._by_name("by_time", by_time)}
        plans = {name: self._planned(name, metric, keys) for name, metric in own.metrics.items()}
        preds, target, weight = (
            arrays.once(each, name) for each, name in ((preds, "preds"), (target, "target"), (weight, "weight"))
        )
        others = arrays.all_once(others)
        given = (preds, target) if target is not None else (preds,)
        if cluster is not None:
            others["cluster"] = buckets(cluster)
        for name in OF_ONE_SUM:
            if others.get(name) is not None and all(isinstance(each, Keeper) for each in own.metrics.values()):
                raise InputError(name, "is given", "none, as no metric of the collection takes it")
        chunk: dict[str, FromStreams] = {}
        samples: dict[str, Samples] = {}
        for names in own.alike:
            found = own.losses(names, *given, weight=weight, **others)
            for name in names:
                if plan := plans[name]:
                    plan.check(found[1], own.metrics[name]._state)
                    samples[name] = found[1]
                else:
                    chunk[name] = found[0][name]
        for name in own.alone:
            chunk[name] = own.metrics[name]._empty()
            chunk[name]._update(preds, target, weight, **others)
        own.add(chunk, {name: (plan, samples[name]) for name, plan in plans.items() if plan})
        return self

    def _update(self, preds: Any, target: Any, weight: Any = None, *, null: Any = None, **others: Any) -> None:
        self.update(preds, target, weight=weight, null=null, **others)

    def _extend(self, other: Self) -> Self:
        self._state.extend(other._state)
        return self

    @property
    def _of_losses(self) -> Metric:
        found = [metric._of_losses for metric in self._state.metrics.values()]
        if len({each._task for each in found}) > 1:
            tasks = sorted({type(each).__name__ for each in found})
            raise InputError("metrics", f"are {', '.join(tasks)}", "metrics of the same columns, for update_from")
        return next(iter(found))

    def _by_name(self, argument: str, given: Any) -> Any:
        metrics = self._state.metrics
        if isinstance(given, dict) and (unknown := given.keys() - metrics.keys()):
            raise InputError(argument, f"names {sorted(map(str, unknown))}", f"names of {sorted(metrics)}")
        keyed = {name for name, each in metrics.items() if isinstance(each, Keeper) and argument in each._keyed_by()}
        if isinstance(given, dict) and (unkeyed := given.keys() - keyed):
            raise InputError(argument, f"is given for {sorted(unkeyed)}", f"those that take it: {sorted(keyed)}")
        if given is not None and not keyed:
            raise InputError(argument, "is given", "none, as no metric of the collection takes it")
        return given

    def _planned(self, name: str, metric: FromStreams, keys: dict[str, Any]) -> Plan | None:
        """What a metric that keeps samples apart is to do with them."""
        if not isinstance(metric, Keeper):
            return None
        own = {}
        for argument, given in keys.items():
            mine = given.get(name) if isinstance(given, dict) else given
            if mine is not None and argument in metric._keyed_by():
                own[argument] = mine
        return metric._plan(**own)

    # ---- reading ----

    def __getitem__(self, name: str) -> FromStreams:
        """A metric, with a copy of its state."""
        return self._state.copy().metrics[name]

    def __len__(self) -> int:
        return len(self._state.metrics)

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.metrics)

    def compute(self) -> dict[str, Any]:
        """What ``compute()`` of each metric gives, by name."""
        return {name: metric.compute() for name, metric in self._state.copy().metrics.items()}  # type: ignore[attr-defined]

    def summary(self, level: float = 0.95, anytime: bool = False) -> dict[str, Any]:
        """What ``summary()`` of each metric gives, by name."""
        metrics = self._state.copy().metrics
        return {name: metric.summary(level, anytime) for name, metric in metrics.items()}  # type: ignore[attr-defined]


class Members:
    """The metrics of a collection, and which of them need the same losses.

    A lock keeps them together: who reads while others add sees all of a chunk, or nothing.
    """

    def __init__(self, metrics: dict[str, FromStreams]) -> None:
        self.metrics = metrics
        self._lock = threading.RLock()  # a signal handler may read
        alike: dict[Any, list[str]] = {}
        self.alone: list[str] = []
        for name, metric in metrics.items():
            of = metric._metric if isinstance(metric, Keeper) else metric
            if isinstance(of, Metric) and not isinstance(of, MulticlassNormalizedEntropy):
                kept = {option: value for option, value in of._options.items() if option not in (*SUMS, "threads")}
                alike.setdefault((of._task, tuple(kept.items())), []).append(name)
            else:
                self.alone.append(name)
        self.alike = list(alike.values())

    def losses(self, names: list[str], *given: Any, **others: Any) -> tuple[dict[str, FromStreams], Samples]:
        """A chunk's samples, and what it adds to each of the named metrics that keep none apart."""
        plain = {name: metric for name in names if isinstance(metric := self.metrics[name], Metric)}
        first = self.metrics[names[0]]
        if not plain:
            others = {name: value for name, value in others.items() if name not in OF_ONE_SUM}
        source = next(iter(plain.values()), first._metric if isinstance(first, Keeper) else None)
        assert source is not None
        sums = {option: any(metric._options.get(option) for metric in plain.values()) for option in SUMS}
        whole = type(source)(**{**source._options, **{name: True for name, on in sums.items() if on}})
        samples = whole._chunk(whole._state, *given, **others)
        found: dict[str, FromStreams] = {}
        for name, metric in plain.items():
            found[name] = metric._empty()
            tail, calibration = (bool(metric._options.get(option)) for option in ("tail", "calibration"))
            found[name]._state = whole._state.select(metric._pipeline.per_cell, tail, calibration, metric._ratios)
        return found, samples

    def add(self, chunk: dict[str, FromStreams], samples: dict[str, tuple[Plan, Samples]]) -> None:
        """Add to all metrics; or an error and to none."""
        with self._lock:
            new = {name: self.metrics[name].copy()._merge(more, 1) for name, more in chunk.items()}
            for name, (plan, found) in samples.items():  # once more: others may have added keys of another kind
                plan.check(found, self.metrics[name]._state)
            for name, (plan, found) in samples.items():
                if found.samples and self.metrics[name]._state.crowded(found):  # adding may fail
                    new[name] = self.metrics[name].copy()
                    plan.add(new[name]._state, found)
            for name, (plan, found) in samples.items():
                if found.samples and name not in new:
                    plan.add(self.metrics[name]._state, found)
            self.metrics = {**self.metrics, **new}

    def extend(self, other: Members) -> None:
        """Add all that another of the same metrics has seen, as what comes next; or an error and to none."""
        theirs = other.copy().metrics
        with self._lock:
            new = {name: metric.copy()._extend(theirs[name]) for name, metric in self.metrics.items()}
            self.metrics = new

    def merge(self, other: Members, sign: int = 1) -> None:
        theirs = other.copy().metrics
        with self._lock:
            self.metrics = {name: metric.copy()._merge(theirs[name], sign) for name, metric in self.metrics.items()}

    def copy(self) -> Members:
        with self._lock:
            return Members({name: metric.copy() for name, metric in self.metrics.items()})

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """The parts of each metric, as one part, by its number among the sorted names."""
        metrics = self.copy().metrics
        held = {str(number): metrics[name]._state.parts() for number, name in enumerate(sorted(metrics))}
        return {number: state_format.joined(parts) for number, parts in held.items() if parts}

    def from_parts(self, parts: dict[str, bytes]) -> Members:
        """Metrics of the same options whose ``parts()`` these are; ValueError if they make no sense."""
        new = {name: metric._empty() for name, metric in self.metrics.items()}
        numbers = {str(number): name for number, name in enumerate(sorted(new))}
        for number, data in parts.items():
            new[numbers[number]]._take(state_format.split(data))
        return Members(new)
