"""Defines a metric per group: by class, user, document, region or hour."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamce._support import scalars
from streamce._support.html_repr import HtmlRepr
from streamce._support.short_repr import short_repr
from streamce.core.default_mode import DefaultModeMethods
from streamce.errors import InputError
from streamce.keys import encoding, key_columns, periods
from streamce.stats import estimators
from streamce.stats.summary import Summary, summarise
from streamce.wrappers import composition
from streamce.wrappers.base import KeyedWrapper, Route

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.wrappers.table import StateTable

# The counters among the columns of a table.
COUNTS = ("seen", "skipped", *estimators.COUNTS)


@dataclass(frozen=True, slots=True)
class Estimate(HtmlRepr, DefaultModeMethods):
    """A mean over groups.

    Attributes
    ----------
    value : float
        The mean of the groups' mean losses, in nats.
    interval : tuple of float
        Confidence interval of ``value`` at ``level``.
    level : float
        Confidence level of ``interval``.
    stderr : float
        Standard error of ``value``, nan for fewer than two groups.
    groups : int
        The number of groups that have a value.

    Examples
    --------
    >>> import streamce as ce
    >>> users = ce.Grouped(ce.MeanLoss()).update([0.2, 0.4, 0.9], by=["ann", "ann", "bob"])
    >>> users.macro().value
    0.6000...
    """

    value: float
    interval: tuple[float, float]
    level: float
    stderr: float
    groups: int


class Grouped(KeyedWrapper):
    """One metric for each group of samples. A group is created by its first sample.

    Parameters
    ----------
    metric : Metric
        An empty metric. Its options apply to every group.
    period : timedelta, float or str, optional
        Length of the periods of ``by_time``. A number is in seconds. Text is a number and one of us, ms, s,
        min, h, d, w.

    Notes
    -----
    A key is an integer, a bool, a string, bytes, a datetime, None for a missing key, or a tuple of these. With
    ``by_time`` the datetime is the start of a period. All keys have the same kind. Datetimes with a time zone are
    converted to UTC. Periods of whole weeks begin on a Monday.

    Like any metric it can be added and subtracted: across workers, shards or days. A group in which no samples are left
    does not exist.

    Examples
    --------
    >>> import streamce as ce
    >>> users = ce.Grouped(ce.BinaryCrossEntropy())
    >>> users = users.update([0.9, 0.2, 0.6, 0.5], [1, 0, 0, 1], by=["ann", "bob", "ann", "ann"])
    >>> users.compute()
    {'ann': 0.57159..., 'bob': 0.22314...}
    >>> users["ann"].summary().count
    3
    >>> [key for key, _ in users.worst(1)]
    ['ann']
    """

    __slots__ = ("_period",)
    _layer = composition.GROUPS
    _state: StateTable

    def __init__(self, metric: Any, *, period: Any = None) -> None:
        super().__init__(metric)
        self._period = None if period is None else periods.microseconds(period)
        self._state = self._table()

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        return {"metric": self.metric, "period": None if self._period is None else periods.format_period(self._period)}

    def _loss_options(self) -> dict[str, Any]:
        return {"metric": self._metric._header(), "period": self._period}

    @classmethod
    def _from_options(cls, options: dict[str, Any], restore_inner: Callable[[Header], Any]) -> Self:
        period = options["period"]
        if not (period is None or type(period) is int):
            raise ValueError(f"it has a period {period!r}")
        return cls(restore_inner(options["metric"]), period=None if period is None else f"{period}us")

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        self._state = self._table().from_parts(payload)

    # ---- adding ----

    def update(self, *inputs: Any, by: Any = None, by_time: Any = None, **others: Any) -> Self:
        """Add a batch, each sample to its group.

        Parameters
        ----------
        *inputs, **others
            The arguments of the metric's ``update``, such as ``preds``, ``target`` and ``weight``.
        by : array, or tuple of arrays
            The key of each sample (entry of the first axis): integers, bools, strings, bytes or datetimes in an array,
            list, pandas categorical or Arrow dictionary; or several such columns. Samples with missing keys (None, NaT,
            null) form the group None.
        by_time : array of datetimes, of text in ISO 8601, or of seconds since 1970, optional
            The timestamp of each sample. The start of its period is the key, or the last part of the key.

        Raises
        ------
        InputError
            If the batch is invalid for the metric, or if the keys have a wrong length or another kind than before.
            Nothing is added then.

        Examples
        --------
        >>> import streamce as ce
        >>> hours = ce.Grouped(ce.MeanLoss(), period="1h")
        >>> hours = hours.update([1.0, 3.0, 5.0], by=["ann", "ann", "bob"], by_time=[0.0, 60.0, 3600.0])
        >>> [(name, start.hour, mean) for (name, start), mean in hours.compute().items()]
        [('ann', 0, 2.0), ('bob', 1, 5.0)]
        """
        self._add(self._bind("Grouped.update", inputs, others) | {"by": by, "by_time": by_time})
        return self

    def _keyed_by(self) -> tuple[str, ...]:
        return ("by",) if self._period is None else ("by", "by_time")

    def _route(self, by: Any = None, by_time: Any = None) -> Route:  # type: ignore[override]
        return Route("by", self._keys(by, by_time))

    def _keys(self, by: Any, by_time: Any) -> key_columns.Keys:
        columns = key_columns.convert_columns(by) if by is not None else []
        if by_time is not None:
            if self._period is None:
                raise InputError("by_time", "is given", "Grouped(metric, period=...), such as period='1h'")
            columns.append(periods.starts(by_time, self._period))
        if not columns:
            raise InputError("by", "is missing", "a key for each sample" + " or by_time" * bool(self._period))
        return key_columns.join_columns(columns)

    def _caption(self) -> str:
        is_history = self._period is not None and not self._has_groups()
        return f"{self._metric._caption()} by {'time' if is_history else 'group'}"

    def _has_groups(self) -> bool:
        """Return whether keys have a part other than the period."""
        kinds = self._state.kinds  # they remain when all groups are subtracted
        return self._period is None or (kinds is not None and len(kinds) > 1 and self._state.count() > 0)

    def _sections(self) -> tuple[str, ...]:
        history = ("history",) if self._period is not None else ()
        return ("group_means", *history, *(("groups",) if self._has_groups() else ()))

    # ---- reading ----

    def __len__(self) -> int:
        return self._state.count()

    def __bool__(self) -> bool:
        return True  # so that `if metric` does not depend on the number of groups

    def __getitem__(self, key: Hashable) -> Any:
        """Return the metric of one group, with a copy of its state, or raise KeyError."""
        kinds = self._state.kinds
        parts = key if isinstance(key, tuple) else (key,)
        state = None
        if kinds is not None and len(parts) == len(kinds):
            try:
                columns = [key_columns.convert_objects([part], "key") for part in parts]
                if all(column.kind in (None, kind) for column, kind in zip(columns, kinds, strict=True)):
                    state = self._state.state(key_columns.encode_key(columns))
            except InputError:
                pass
        if state is None:
            raise KeyError(key)
        return self._metric_of(state)

    def __contains__(self, key: object) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Any:
        return iter(self.keys())

    def keys(self) -> list[Any]:
        """Return the keys of all groups, in order."""
        copy = self._state.copy()
        return list(copy.sorted_cells()[0] if copy.is_compact else copy.sorted())

    def items(self) -> list[tuple[Any, Any]]:
        """Return the key and the metric of each group, with copies of their states, in the order of the keys.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MulticlassCrossEntropy(per_class=True))
        >>> users = users.update([[0.5, 0.5], [0.25, 0.75]], [0, 1], by=["ann", "bob"])
        >>> {key: len(metric.per_class()) for key, metric in users.items()}
        {'ann': 2, 'bob': 2}
        """
        return [(key, self._metric_of(state)) for key, state in self._state.sorted().items()]

    def compute(self) -> dict[Any, Any]:
        """Return the value of each group, by key, in the order of the keys."""
        copy = self._state.copy()
        if copy.is_compact and self._metric._has_only_mean:
            cells, ledger = copy.sorted_cells()
            means = estimators.means(ledger)
            return {key: self._metric._value(means[cell]) for key, cell in cells.items()}
        return {key: self._metric_of(state).compute() for key, state in copy.sorted().items()}

    def summary(self, level: float = 0.95, anytime: bool = False) -> dict[Any, Any]:
        """Return the summary of each group, by key; see the metric's ``summary``."""
        copy = self._state.copy()
        if copy.is_compact and self._metric._has_only_mean:
            cells, ledger = copy.sorted_cells()
            present = self._metric._present
            return {key: present(summarise(ledger, cell, level=level, anytime=anytime)) for key, cell in cells.items()}
        return {key: self._metric_of(state).summary(level, anytime) for key, state in copy.sorted().items()}

    def micro(self, level: float = 0.95, anytime: bool = False) -> Any:
        """Return the summary of the samples of all groups together.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.0, 1.0, 2.0], by=["ann", "ann", "bob"])
        >>> users.micro().mean, users.macro().value
        (1.0, 1.25)
        """
        return self._metric_of(self._state.total()).summary(level, anytime)

    def macro(self, level: float = 0.95) -> Estimate:
        """Return the mean of the groups' mean losses, where each group counts the same.

        The interval assumes that the groups are a random sample of all possible groups (Student's t). Groups in which
        all losses are ignored have no value and do not count.
        """
        values = [value for value in self._values().values() if not math.isnan(value)]
        return Estimate(*estimators.estimate_mean(values, level), groups=len(values))

    def _values(self) -> dict[Any, float]:
        """Return the mean loss of each group or, where it has no single one, its value."""
        copy = self._state.copy()
        if copy.is_compact:
            cells, ledger = copy.sorted_cells()
            means = estimators.means(ledger)
            return {key: means[cell] for key, cell in cells.items()}
        values = {key: self._metric_of(state) for key, state in copy.sorted().items()}
        if self._metric._has_cell:
            return {key: estimators.mean(metric._state.total) for key, metric in values.items()}
        found = {key: metric.compute() for key, metric in values.items()}
        if any(isinstance(value, dict) for value in found.values()):
            name = type(self._metric).__name__
            raise InputError("metric", f"is a {name}, whose groups have several values", "items() or compute()")
        return found

    def worst(self, k: int = 10, level: float = 0.95, anytime: bool = False) -> list[tuple[Any, Any]]:
        """Return the k groups with the largest mean losses, the worst first, with their summaries.

        Each interval is that of a single group. Chance contributes to the worst of many groups, so their true means are
        below the intervals more often than the level says.
        """
        return self._extreme(k, -1, level, anytime)

    def best(self, k: int = 10, level: float = 0.95, anytime: bool = False) -> list[tuple[Any, Any]]:
        """Return the k groups with the smallest mean losses, the best first, with their summaries."""
        return self._extreme(k, 1, level, anytime)

    def largest(self, k: int = 10, level: float = 0.95, anytime: bool = False) -> list[tuple[Any, Any]]:
        """Return the k groups with the most samples, the largest first, with their summaries.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.2, 0.4, 0.9], by=["ann", "ann", "bob"])
        >>> [key for key, _ in users.largest(1)]
        ['ann']
        """
        number, copy = _number(k), self.copy()
        if copy._state.is_compact:
            cells, ledger = copy._state.sorted_cells()
            column = ledger.column("samples")
            samples = {key: column.get(cell, 0) for key, cell in cells.items()}
        else:
            samples = {key: metric.summary().samples for key, metric in copy.items()}
        order = sorted(samples, key=lambda key: -samples[key])
        return [(key, copy[key].summary(level, anytime)) for key in order[:number]]

    def _extreme(self, k: int, sign: int, level: float, anytime: bool) -> list[tuple[Any, Any]]:
        number, copy = _number(k), self.copy()
        values = copy._values()
        order = sorted(values, key=lambda key: (math.isnan(values[key]), sign * values[key]))
        return [(key, copy[key].summary(level, anytime)) for key in order[:number]]

    def to_table(self, level: float = 0.95, anytime: bool = False) -> dict[str, Any]:
        """Return columns as arrays with a row per group, from which pandas, polars and Arrow make a table.

        The columns are ``key`` (or ``key_0``, ``key_1``, ... for keys with several parts), ``value``, ``low``,
        ``high``, ``stderr``, ``total``, ``weight``, ``count``, ``samples``, ``seen`` and the counters of a summary.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.0, 1.0, 2.0], by=["ann", "ann", "bob"])
        >>> table = users.to_table()
        >>> list(table["key"]), table["value"].tolist(), table["count"].tolist()
        (['ann', 'bob'], [0.5, 2.0], [2, 1])
        """
        found = self.summary(level, anytime)
        has_parts = isinstance(next(iter(found), None), tuple)
        parts = list(zip(*found, strict=True)) if has_parts else [list(found)]
        columns = {f"key_{i}" if has_parts else "key": _array(part) for i, part in enumerate(parts)}
        summaries = list(found.values())
        if not all(isinstance(each, Summary) for each in summaries):
            return columns | _flat_columns(summaries)
        columns["value"] = np.array([each.value for each in summaries], dtype=np.float64)
        columns["low"] = np.array([each.interval[0] for each in summaries], dtype=np.float64)
        columns["high"] = np.array([each.interval[1] for each in summaries], dtype=np.float64)
        for name in ("stderr", "total", "weight"):
            columns[name] = np.array([getattr(each, name) for each in summaries], dtype=np.float64)
        for name in COUNTS:
            counts = [getattr(each, name) for each in summaries]
            # Counters are at most 2^62, and some columns are sums of counters.
            columns[name] = np.array(counts, dtype=np.int64 if max(counts, default=0) < encoding.INT64_END else object)
        return columns


def _flat_columns(summaries: Sequence[Any]) -> dict[str, Any]:
    """Return the entries of summaries of another class, or of several, as columns."""
    rows = [dict(_flat_entries("", each)) for each in summaries]
    return {
        name: _array([row.get(name) for row in rows]) for name in dict.fromkeys(name for row in rows for name in row)
    }


def _flat_entries(prefix: str, found: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and values in a summary, in a dict of summaries, or in an interval."""
    if not isinstance(found, (dict, list)):
        found = found.to_dict() if hasattr(found, "to_dict") else found
    if isinstance(found, dict):
        for name, value in found.items():
            yield from _flat_entries(f"{prefix}_{name}" if prefix else name, value)
    elif isinstance(found, (list, tuple)) and len(found) == 2:
        name = prefix.removesuffix("interval")
        yield from zip((f"{name}low", f"{name}high"), found, strict=True)
    else:
        yield prefix, found


def _number(k: Any) -> int:
    """Return ``k`` as a number of groups."""
    number = scalars.to_int(k)
    if number is None or number < 0:
        raise InputError("k", f"is {short_repr(k)}", "a whole number of groups", value=k)
    return number


def _array(part: Sequence[Any]) -> Any:
    """Return a part of the keys as an array. Text, and parts with None, become arrays of objects."""
    dtypes: dict[type, Any] = {int: np.int64, float: np.float64, bool: np.bool_, dt.datetime: "datetime64[us]"}
    types = set(map(type, part))
    if len(types) == 1 and types <= set(dtypes):
        return np.array(part, dtype=dtypes[types.pop()])
    found = np.empty(len(part), dtype=object)
    found[:] = part
    return found
