"""Defines the groups in which two models differ, with what is concluded about each: the result of ``discoveries``."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from streamce.core.default_mode import DefaultModeMethods
from streamce.keys.encoding import format_key, time_sort_key
from streamce.stats import discoveries
from streamce.stats.summary import format_interval, format_number, interval_name
from streamce.wrappers.group_columns import array_of, count_array, float_array, key_columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamce.wrappers.paired import Paired

MAX_ROWS = 20  # rows of the text at each end


class GroupDifference(NamedTuple):
    """The difference of two models in one group.

    Attributes
    ----------
    key : object
        The key of the group.
    difference : float
        The mean loss of A minus that of B, in nats. It is positive if A is worse.
    interval : tuple of float
        Its interval at the ``level`` of :class:`Discoveries`.
    p_value : float
        As in :class:`PairedSummary`; nan if the difference has no interval.
    e_value : float or None
        The e-value against a difference of 0. None for one look.
    adjusted_p : float
        The smallest false discovery rate at which the group is a discovery.
    better : {"A", "B"} or None
        The better model if the group is a discovery, else None.
    samples : int
        The number of pairs that count.

    Examples
    --------
    >>> import numpy as np, streamce as ce
    >>> a, b = np.arange(2000) % 7.0, np.arange(2000) % 5.0
    >>> groups = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=["ann"] * 2000)
    >>> [group] = groups.discoveries().differences
    >>> group.key, group.better, group.samples
    ('ann', 'B', 2000)
    """

    key: Any
    difference: float
    interval: tuple[float, float]
    p_value: float
    e_value: float | None
    adjusted_p: float
    better: Literal["A", "B"] | None
    samples: int


@dataclass(frozen=True, slots=True, repr=False)
class Discoveries(DefaultModeMethods):
    """The result of :meth:`Grouped.discoveries`. ``print`` shows it as a table.

    Iteration yields the discoveries, the largest difference first, in which A is most clearly the worse model. ``len``
    is their number, so the object is false if there are none.

    Attributes
    ----------
    fdr : float
        The false discovery rate: the expected share of discoveries whose true difference is 0.
    anytime : bool
        Whether the rate holds for any number of looks.
    level : float
        The level of all intervals, 1 - R fdr / m with R discoveries among m tested groups, at least R = 1.
    tested : int
        The number m of groups that the adjustment counts. With ``anytime`` these are all groups, because a group that
        is too small now may be tested later.
    differences : tuple of GroupDifference
        Those of all groups that have ``min_samples``, discovered or not, the largest difference first.
    has_periods : bool
        Whether the keys, or their last parts, are starts of periods, in UTC.

    Examples
    --------
    >>> import numpy as np, streamce as ce
    >>> rng, users = np.random.default_rng(0), np.repeat(["ann", "bob", "cid"], 500)
    >>> b = rng.exponential(size=1500)
    >>> a = b + rng.normal(np.repeat([0.2, 0.0, -0.1], 500), 0.5)
    >>> found = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=users).discoveries()
    >>> [(group.key, group.better) for group in found]
    [('ann', 'B'), ('cid', 'A')]
    >>> print(found)
    A is worse in 1 and better in 1 of 3 tested groups, at a false discovery rate of 5 % at one look
    group   A - B       96.67 % interval          adjusted p   better   samples
    ann     0.16643     0.116493 to 0.216368      1.2e-11      B        500
    cid     -0.115404   -0.162962 to -0.0678453   4.9e-07      A        500
    """

    fdr: float
    anytime: bool
    level: float
    tested: int
    differences: tuple[GroupDifference, ...]
    has_periods: bool = False

    def __iter__(self) -> Iterator[GroupDifference]:
        return (group for group in self.differences if group.better)

    def __len__(self) -> int:
        return sum(group.better is not None for group in self.differences)

    def to_table(self, all: bool = False) -> dict[str, Any]:
        """Return columns as arrays with a row per discovery, from which pandas, polars and Arrow make a table.

        The columns are ``key`` (or ``key_0``, ``key_1``, ... for keys with several parts), ``difference``, ``low``,
        ``high``, ``p_value``, ``e_value`` (with ``anytime``), ``adjusted_p``, ``better``, ``discovered`` and
        ``samples``.

        Parameters
        ----------
        all : bool
            Return a row for each group. ``better`` is None in those that are no discoveries.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.Paired(ce.MeanLoss()))
        >>> users = users.update([0.2, 0.3, 0.2, 0.4], [0.5, 0.5, 0.2, 0.3], by=["ann", "ann", "bob", "bob"])
        >>> table = users.discoveries(min_samples=0).to_table(all=True)
        >>> table["key"].tolist(), table["discovered"].tolist()
        (['bob', 'ann'], [False, False])
        """
        rows = self.differences if all else tuple(self)
        columns = key_columns_of([row.key for row in rows])
        columns["difference"] = float_array(row.difference for row in rows)
        columns["low"] = float_array(row.interval[0] for row in rows)
        columns["high"] = float_array(row.interval[1] for row in rows)
        columns["p_value"] = float_array(row.p_value for row in rows)
        if self.anytime:
            columns["e_value"] = float_array(math.nan if row.e_value is None else row.e_value for row in rows)
        columns["adjusted_p"] = float_array(row.adjusted_p for row in rows)
        columns["better"] = array_of([row.better for row in rows])
        columns["discovered"] = np.array([row.better is not None for row in rows], dtype=np.bool_)
        columns["samples"] = count_array([row.samples for row in rows])
        return columns

    def __str__(self) -> str:
        found = list(self)
        better = {side: sum(row.better == side for row in found) for side in ("A", "B")}
        looks = "at any number of looks" if self.anytime else "at one look"
        tested = "groups" if self.anytime else "tested groups"  # small groups may be tested at a later look
        counts = f"A is worse in {better['B']:,} and better in {better['A']:,} of {self.tested:,} {tested}"
        title = f"{counts}, at a false discovery rate of {100 * self.fdr:g} % {looks}"
        kind = interval_name(1 - float(f"{1 - self.level:.3g}"), self.anytime)
        head = ("group", "A - B", kind, "adjusted p", "better", "samples")
        shown = found if len(found) <= 2 * MAX_ROWS else found[:MAX_ROWS] + found[-MAX_ROWS:]
        table = [head] + [
            (
                self._name(row.key),
                format_number(row.difference),
                format_interval(row.interval),
                f"{row.adjusted_p:.2g}",
                str(row.better),
                f"{row.samples:,}",
            )
            for row in shown
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["   ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)) for row in table]
        lines = [line.rstrip() for line in lines] if found else []
        if len(shown) < len(found):
            lines.insert(1 + MAX_ROWS, f"... {len(found) - len(shown):,} more in to_table()")
        return "\n".join([title, *lines])

    __repr__ = __str__

    def _name(self, key: Any) -> str:
        return format_key(key) + " UTC" * (self.has_periods and isinstance(time_sort_key(key)[1], dt.datetime))


def discover(
    pairs: Mapping[Any, Paired], *, fdr: float, anytime: bool, tested: int | None, has_periods: bool
) -> Discoveries:
    """Return what is concluded about each group; see :func:`streamce.stats.discoveries.decide`."""
    differences = [pair._difference() for pair in pairs.values()]
    result = discoveries.decide(differences, fdr=fdr, anytime=anytime, tested=tested)
    rows = [
        GroupDifference(key, difference.mean, *decision, pair._n_samples())
        for (key, pair), difference, decision in zip(pairs.items(), differences, result.decisions, strict=True)
    ]
    rows.sort(key=lambda row: (math.isnan(row.difference), -row.difference))
    return Discoveries(fdr, anytime, result.level, result.tested, tuple(rows), has_periods)
