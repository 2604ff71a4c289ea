"""Defines a metric per group: by class, user, document, region or hour."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamce.errors import InputError
from streamce.keys import key_columns, periods
from streamce.metrics import sql_rows
from streamce.stats import cell_arrays, estimators
from streamce.wrappers import composition
from streamce.wrappers.base import Route
from streamce.wrappers.group_columns import array_of
from streamce.wrappers.group_ranking import RankedGroups, of_cells, of_each
from streamce.wrappers.table import coded

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.wrappers.table import StateTable


class Grouped(RankedGroups):
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
        return Route("by_time" if by is None else "by", self._keys(by, by_time))

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
        if self._metric._layer == composition.COLLECTION:
            return ("members",)
        history = ("history",) if self._period is not None else ()
        return ("current", "group_means", *history, *(("groups",) if self._has_groups() else ()))

    # ---- reading ----

    def _current(self) -> Any:
        return self._metric_of(self._state.total())

    def _members(self) -> dict[str, Grouped]:
        """Return the groups of each metric of a collection, by its name."""
        return {name: self._of(name, "items") for name in self._metric}

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

    def to_sql_rows(self, keys: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the states of all groups as rows for a database, whose sums are the states of merged groups.

        ``SELECT country, spec, cell, term, limb, SUM(amount) AS amount FROM states GROUP BY country, spec, cell, term,
        limb`` merges groups by country exactly, in any engine. :func:`streamce.from_sql_rows` reads the result.

        Parameters
        ----------
        keys : sequence of str, optional
            The names of the columns of the keys, one for each part. The default is ``key_0``, ``key_1``, ... Without
            groups the number of parts is not known, so pass names if the rows are stored with those of others.

        Returns
        -------
        dict of str to array
            Columns of equal length: those of the keys, and ``spec``, ``cell``, ``term``, ``limb`` and ``amount``. A
            group has about 10 rows. pandas, polars and ``pyarrow.table`` make a table of it.

        Raises
        ------
        InputError
            If the number of ``keys`` is wrong, a name occurs twice, the groups hold windows, decay or several metrics,
            or a sum is beyond its digits.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([1.0, 3.0, 5.0], by=(["ann", "bob", "ann"], [1, 1, 2]))
        >>> rows = users.to_sql_rows(keys=("name", "day"))
        >>> list(rows)
        ['name', 'day', 'spec', 'cell', 'term', 'limb', 'amount']
        >>> by_name = {name: column for name, column in rows.items() if name != "day"}
        >>> ce.from_sql_rows(by_name, like=ce.Grouped(ce.MeanLoss())).compute()
        {'ann': 3.0, 'bob': 3.0}
        """
        copy = self._state.copy()
        names = sql_rows.key_names(keys, len(copy.kinds) if copy.kinds else None)
        spec = self._metric._sql_spec()
        if copy.is_compact:
            cells, ledger = copy.sorted_cells()
            found = list(cells)
            columns = sql_rows.join_rows(spec, sql_rows.rows_of_totals(ledger, list(cells.values())))
        else:
            states = copy.sorted()
            found, columns = list(states), self._metric._rows_of_states(states.values())
        numbers = columns.pop("number")
        parts = list(zip(*found, strict=True)) if found and len(names) > 1 else [found] * len(names)
        return {name: array_of(part)[numbers] for name, part in zip(names, parts, strict=True)} | columns

    def _from_rows(self, rows: sql_rows.Rows) -> Self:
        self._metric._sql_spec()  # raises if there are no such rows
        new, joined = self._new(), self._keys_of_rows(rows)
        codes, keys = coded(joined)
        used, codes = np.unique(codes, return_inverse=True)  # because a categorical may have keys without rows
        states = self._metric._states_of_rows(rows, codes, len(used))
        keys = [keys[code] for code in used.tolist()]
        if states:
            new._state.add_states(joined.kinds, zip(keys, states, strict=True))
            new._state = new._state.from_parts(new._state.parts())  # which is compact if all states are means
        return new

    def _keys_of_rows(self, rows: sql_rows.Rows) -> key_columns.Keys:
        """Return the keys of rows. Those of ``by_time`` are timestamps, from which the start of the period follows."""
        if not rows.keys:
            expected = "those of to_sql_rows(), because like is a Grouped"
            raise InputError("table", "has no columns of keys", expected)
        columns = []
        for number, (name, source) in enumerate(rows.keys.items(), 1):
            if self._period is not None and number == len(rows.keys):
                try:
                    columns.append(periods.starts(source, self._period))
                except InputError as error:
                    raise error.with_argument(name) from error.__cause__
            else:
                columns.append(key_columns.convert_columns(source, name)[0])
            rows.check_length(name, columns[-1].size)
        return key_columns.join_columns(columns, next(iter(rows.keys)))

    def compute(self) -> dict[Any, Any]:
        """Return the value of each group, by key, in the order of the keys."""
        copy = self._state.copy()
        if copy.is_compact and self._metric._has_only_mean:
            cells, ledger = copy.sorted_cells()
            means = of_cells(cells, ledger, lambda: estimators.means(ledger))
            return {key: self._metric._value(means[cell]) for key, cell in cells.items()}
        return of_each(copy.sorted().items(), lambda state: self._metric_of(state).compute())

    def summary(self, level: float = 0.95, anytime: bool = False) -> dict[Any, Any]:
        """Return the summary of each group, by key; see the metric's ``summary``."""
        copy = self._state.copy()
        if copy.is_compact and self._metric._has_only_mean:
            cells, ledger = copy.sorted_cells()
            present = self._metric._present
            found = of_cells(cells, ledger, lambda: cell_arrays.summaries(ledger, level, anytime))
            return {key: present(found[cell]) for key, cell in cells.items()}
        return of_each(copy.sorted().items(), lambda state: self._metric_of(state).summary(level, anytime))

    def micro(self, level: float = 0.95, anytime: bool = False, *, metric: str | None = None) -> Any:
        """Return the summary of the samples of all groups together.

        ``metric`` is the name of a metric of a :class:`Collection`. Without it, the summaries of all come by name.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.0, 1.0, 2.0], by=["ann", "ann", "bob"])
        >>> users.micro().mean, users.macro().value
        (1.0, 1.25)
        """
        found = self if metric is None else self._of(metric, "micro")
        return found._metric_of(found._state.total()).summary(level, anytime)
