"""A metric per group: by class, user, document, region, hour."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamce._support import scalars
from streamce._support.html_repr import HtmlRepr
from streamce._support.short_repr import short_repr
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.grouping.groups import Groups
from streamce.core.ledger.ledger import Ledger
from streamce.errors import InputError
from streamce.keys import key_columns, periods
from streamce.metrics.base import Metric
from streamce.stats import summary
from streamce.wrappers.base import Keeper, Plan

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.metrics.base import Metric
    from streamce.stats.summary import Summary

# Columns of a table.
COUNTS = ("seen", "skipped", *summary.COUNTS)


@dataclass(frozen=True, slots=True)
class Estimate(HtmlRepr, DefaultModeMethods):
    """A mean over groups.

    Attributes
    ----------
    value : float
        The mean of the groups' mean losses, in nats.
    interval : tuple of float
        Its confidence interval at ``level``.
    level : float
        Confidence level of ``interval``.
    stderr : float
        Its standard error, nan for fewer than two groups.
    groups : int
        Groups that have a value.

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


class Grouped(Keeper):
    """One metric for each group of samples; groups come as they are met.

    Parameters
    ----------
    metric : Metric
        An empty metric, whose options hold for every group.
    period : timedelta or str, optional
        Length of the buckets of ``by_time``: a number and one of us, ms, s, min, h, d, w.

    Notes
    -----
    A key is an integer, a bool, a string, bytes, a datetime (its bucket, with ``by_time``), None
    where there is none, or a tuple of these. All keys are of one kind. Datetimes with a time zone
    count in UTC; buckets of whole weeks begin on a Monday.

    Like any metric this is an element of a commutative group: it adds up across workers, and what
    was added can be taken away. Groups in which nothing is left do not exist.

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
    _state: Groups

    def __init__(self, metric: Metric, *, period: Any = None) -> None:
        super().__init__(metric)
        self._period = None if period is None else periods.microseconds(period)
        self._state = Groups()

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        return {"metric": self.metric, "period": None if self._period is None else periods.show(self._period)}

    def _of_the_loss(self) -> dict[str, Any]:
        return {"metric": self._metric._header(), "period": self._period}

    @classmethod
    def _of(cls, options: dict[str, Any], made: Callable[[Header], Any]) -> Self:
        period = options["period"]
        if not (period is None or type(period) is int):
            raise ValueError(f"it has a period {period!r}")
        return cls(made(options["metric"]), period=None if period is None else f"{period}us")

    def _take(self, parts: dict[str, bytes]) -> None:
        self._state = Groups.from_parts(parts)

    # ---- adding ----

    def update(
        self, preds: Any, target: Any = None, *, by: Any = None, by_time: Any = None, weight: Any = None, **others: Any
    ) -> Self:
        """Add a chunk, each sample to its group.

        Parameters
        ----------
        preds, target, weight, **others
            As the metric's ``update`` takes them.
        by : array, or tuple of arrays
            The key of each sample (entry of the first axis): integers, bools, strings, bytes or
            datetimes in an array, list, pandas categorical or Arrow dictionary; or several such
            columns. Missing keys (None, NaT, null) are a group of their own, None.
        by_time : array of datetimes, or of seconds since 1970, optional
            The moment of each sample; its key, or the last part of it, is when its period began.

        Raises
        ------
        InputError
            If the metric does not take the chunk, or the keys are of another length or kind. Nothing
            of the chunk is counted then.
        """
        return self._follow(self._plan(by, by_time), preds, target, weight=weight, **others)

    def _keyed_by(self) -> tuple[str, ...]:
        return ("by",) if self._period is None else ("by", "by_time")

    def _plan(self, by: Any = None, by_time: Any = None) -> Plan:  # type: ignore[override]
        found = self._keys(by, by_time)
        rest = found.kinds, found.integers, found.codes, found.distinct
        return Plan(
            "by",
            found.size,
            lambda state, samples: state.add(samples, *rest),
            lambda state: state.check(found.kinds),
        )

    def _keys(self, by: Any, by_time: Any) -> key_columns.Keys:
        parts = key_columns.columns(by) if by is not None else []
        if by_time is not None:
            if self._period is None:
                raise InputError("by_time", "is given", "Grouped(metric, period=...), such as period='1h'")
            parts.append(periods.starts(by_time, self._period))
        if not parts:
            raise InputError("by", "is missing", "a key for each sample" + " or by_time" * bool(self._period))
        return key_columns.joined(parts)

    # ---- reading ----

    def __len__(self) -> int:
        return self._state.count()

    def __bool__(self) -> bool:
        return True  # an empty one is still a metric

    def __getitem__(self, key: Hashable) -> Metric:
        """The metric of one group, with a copy of its state; KeyError if there is none."""
        kinds = self._state.kinds
        parts = key if isinstance(key, tuple) else (key,)
        ledger = None
        if kinds is not None and len(parts) == len(kinds):
            try:
                columns = [key_columns.objects([part], "key") for part in parts]
                if all(column.kind in (None, kind) for column, kind in zip(columns, kinds, strict=True)):
                    ledger = self._state.cell(key_columns.whole(columns))
            except InputError:
                pass
        if ledger is None:
            raise KeyError(key)
        return self._filled(ledger)

    def __contains__(self, key: object) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Any:
        return iter(self.keys())

    def _sorted(self) -> tuple[dict[Any, int], Ledger]:
        """The cell of each key, in the order of the keys, None first; and the ledger of all cells."""
        kinds, null, found, ledger = self._state.sorted()
        cells = {key: cell for cell, key in enumerate(key_columns.decoded(kinds or (), null, found))}
        if any(kind in ("str", "bytes") for kind in kinds or ()):  # whose bytes in a state begin with their length
            cells = dict(sorted(cells.items(), key=lambda item: key_columns.rank(item[0])))
        return cells, ledger

    def keys(self) -> list[Any]:
        """The keys of all groups, in order."""
        return list(self._sorted()[0])

    def compute(self) -> dict[Any, float]:
        """The value of each group, by key, in the order of the keys."""
        cells, ledger = self._sorted()
        means = summary.means(ledger)
        return {key: self._metric._value(means[cell]) for key, cell in cells.items()}

    def summary(self, level: float = 0.95, anytime: bool = False) -> dict[Any, Summary]:
        """The summary of each group, by key; see the metric's ``summary``."""
        cells, ledger = self._sorted()
        return {key: self._summary(ledger, cell, level, anytime) for key, cell in cells.items()}

    def _summary(self, ledger: Ledger, cell: int, level: float, anytime: bool) -> Summary:
        return self._metric._shown(summary.summarise(ledger, cell, level=level, anytime=anytime))

    def micro(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """The summary of all samples together, whatever their groups."""
        return self._summary(self._state.total(), 0, level, anytime)

    def macro(self, level: float = 0.95) -> Estimate:
        """The mean of the groups' mean losses, each group counting the same.

        Its interval takes the groups for a random sample of all there could be (Student's t).
        Groups without a value, in which all is ignored, do not count.
        """
        values = [value for value in summary.means(self._state.cells()) if not math.isnan(value)]
        return Estimate(*summary.mean_of(values, level), groups=len(values))

    def worst(self, k: int = 10, level: float = 0.95, anytime: bool = False) -> list[tuple[Any, Summary]]:
        """The k groups of the largest mean loss, the worst first, with their summaries.

        Each interval is the group's own. The worst of many groups are partly the unlucky ones: their
        true means lie lower, more often than the intervals say.
        """
        return self._extreme(k, -1, level, anytime)

    def best(self, k: int = 10, level: float = 0.95, anytime: bool = False) -> list[tuple[Any, Summary]]:
        """The k groups of the smallest mean loss, the best first, with their summaries."""
        return self._extreme(k, 1, level, anytime)

    def largest(self, k: int = 10, level: float = 0.95, anytime: bool = False) -> list[tuple[Any, Summary]]:
        """The k groups of the most samples, the largest first, with their summaries.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.2, 0.4, 0.9], by=["ann", "ann", "bob"])
        >>> [key for key, _ in users.largest(1)]
        ['ann']
        """
        number = _number(k)
        cells, ledger = self._sorted()
        samples = ledger.column("samples")
        order = sorted(cells, key=lambda key: -samples.get(cells[key], 0))
        return [(key, self._summary(ledger, cells[key], level, anytime)) for key in order[:number]]

    def _extreme(self, k: int, sign: int, level: float, anytime: bool) -> list[tuple[Any, Summary]]:
        number = _number(k)
        cells, ledger = self._sorted()
        values = summary.means(ledger)
        order = sorted(cells, key=lambda key: (math.isnan(values[cells[key]]), sign * values[cells[key]]))
        return [(key, self._summary(ledger, cells[key], level, anytime)) for key in order[:number]]

    def to_table(self, level: float = 0.95, anytime: bool = False) -> dict[str, Any]:
        """Columns as arrays, a row per group: what pandas, polars and Arrow make a table of.

        ``key`` (or ``key_0``, ``key_1``, ... of keys with several parts), ``value``, ``low``, ``high``,
        ``stderr``, ``total``, ``weight``, ``count``, ``samples``, ``seen`` and the counters of a summary.
        """
        cells, ledger = self._sorted()
        several = isinstance(next(iter(cells), None), tuple)
        parts = list(zip(*cells, strict=True)) if several else [list(cells)]
        columns = {f"key_{i}" if several else "key": _array(part) for i, part in enumerate(parts)}
        summaries = [self._summary(ledger, cell, level, anytime) for cell in cells.values()]
        columns["value"] = np.array([each.value for each in summaries], dtype=np.float64)
        columns["low"] = np.array([each.interval[0] for each in summaries], dtype=np.float64)
        columns["high"] = np.array([each.interval[1] for each in summaries], dtype=np.float64)
        for name in ("stderr", "total", "weight"):
            columns[name] = np.array([getattr(each, name) for each in summaries], dtype=np.float64)
        for name in COUNTS:
            counts = [getattr(each, name) for each in summaries]
            # Counters are at most 2^62, and some of these are sums of several.
            columns[name] = np.array(counts, dtype=np.int64 if max(counts, default=0) < key_columns.TOP else object)
        return columns


def _number(k: Any) -> int:
    """Return ``k`` as a number of groups."""
    found = scalars.integer(k)
    if found is None or found < 0:
        raise InputError("k", f"is {short_repr(k)}", "a whole number of groups", value=k)
    return found


def _array(part: Sequence[Any]) -> Any:
    """A part of the keys as an array; of objects where it is text, or some are None."""
    dtypes: dict[type, Any] = {int: np.int64, bool: np.bool_, dt.datetime: "datetime64[us]"}
    types = set(map(type, part))
    if len(types) == 1 and types <= set(dtypes):
        return np.array(part, dtype=dtypes[types.pop()])
    found = np.empty(len(part), dtype=object)
    found[:] = part
    return found
