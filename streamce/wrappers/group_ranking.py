"""Defines what one asks of groups: the worst and the best, their mean, which of them differ, and their table."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamce._support import scalars
from streamce._support.html_repr import HtmlRepr
from streamce._support.short_repr import short_repr
from streamce.core.default_mode import DefaultModeMethods
from streamce.errors import InputError
from streamce.stats import estimators, scalar_table
from streamce.wrappers import group_columns
from streamce.wrappers.base import KeyedWrapper
from streamce.wrappers.collection import Collection
from streamce.wrappers.group_differences import Discoveries, discover
from streamce.wrappers.paired import Paired

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from streamce.core.ledger.ledger import Ledger
    from streamce.wrappers.table import StateTable


@dataclass(frozen=True, slots=True)
class Estimate(HtmlRepr, DefaultModeMethods):
    """A mean over groups.

    Attributes
    ----------
    value : float
        The mean of the groups' mean losses, in nats, or of their values; see :meth:`Grouped.macro`.
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

    def scalars(self, prefix: str = "") -> dict[str, float]:
        """Return the finite numbers that a tracker of experiments plots; see :meth:`Summary.scalars`.

        The names are ``value``, ``value_low``, ``value_high``, ``value_stderr`` and ``groups``.
        """
        low, high = self.interval
        numbers = {"value": self.value, "value_low": low, "value_high": high, "value_stderr": self.stderr}
        return scalar_table.finite({**numbers, "groups": self.groups}, prefix)


class RankedGroups(KeyedWrapper):
    """Base of :class:`Grouped`, with the results that compare groups or average over them."""

    __slots__ = ()
    _state: StateTable

    @abstractmethod
    def __getitem__(self, key: Hashable) -> Any: ...

    @abstractmethod
    def items(self) -> list[tuple[Any, Any]]: ...

    @abstractmethod
    def summary(self, level: float = 0.95, anytime: bool = False) -> dict[Any, Any]: ...

    def macro(self, level: float = 0.95, *, min_samples: int = 0, metric: str | None = None) -> Estimate:
        """Return the mean of the groups' mean losses, where each group counts the same.

        For metrics whose value is another one, it is the mean of the values: of the differences of :class:`Paired`, of
        normalized entropies, which makes it a mean of ratios, and of the values of :class:`GANCrossEntropy`. For
        :class:`Perplexity` it is the mean of the mean losses, in nats. For windows it is that of the current windows.

        The interval assumes that the groups are a random sample of all possible groups (Student's t). Groups without
        a value, such as those in which all losses are ignored, do not count.

        Parameters
        ----------
        level : float
            The confidence level of the interval.
        min_samples : int
            Leave out groups with fewer samples.
        metric : str, optional
            The name of a metric, for groups of a :class:`Collection`.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.0, 1.0, 2.0], by=["ann", "ann", "bob"])
        >>> users.macro().value, users.macro(min_samples=2).value
        (1.25, 0.5)
        """
        values = self._of(metric, "macro").copy()._scores(min_samples).values()
        known = [value for value in values if not math.isnan(value)]
        return Estimate(*estimators.estimate_mean(known, level), groups=len(known))

    def worst(
        self,
        k: int = 10,
        level: float = 0.95,
        anytime: bool = False,
        *,
        min_samples: int = 0,
        metric: str | None = None,
    ) -> list[tuple[Any, Any]]:
        """Return the k groups with the largest mean losses, the worst first, with their summaries.

        Metrics whose value is another one are ranked by it: :class:`Paired` by the difference, so that A is worse than
        B in the first groups, normalized entropies and :class:`GANCrossEntropy` by their values, and windows by that
        of the current window.

        Each interval is that of a single group. Chance contributes to the worst of many groups, so their true means are
        below the intervals more often than the level says. For pairs, :meth:`discoveries` accounts for the number of
        groups.

        Parameters
        ----------
        k : int
            The number of groups.
        level, anytime
            The level and kind of the intervals; see the metric's ``summary``.
        min_samples : int
            Leave out groups with fewer samples, which are the worst ones mostly by chance.
        metric : str, optional
            The name of a metric, for groups of a :class:`Collection`.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.Collection({"loss": ce.BinaryCrossEntropy(), "NE": ce.NormalizedEntropy()}))
        >>> users = users.update([0.9, 0.8, 0.2, 0.6], [1, 0, 0, 1], by=["ann", "ann", "bob", "bob"])
        >>> [(key, round(summary.value, 4)) for key, summary in users.worst(1, metric="NE")]
        [('ann', 1.237)]
        """
        return self._of(metric, "worst")._extreme(k, -1, level, anytime, min_samples)

    def best(
        self,
        k: int = 10,
        level: float = 0.95,
        anytime: bool = False,
        *,
        min_samples: int = 0,
        metric: str | None = None,
    ) -> list[tuple[Any, Any]]:
        """Return the k groups with the smallest mean losses, the best first, with their summaries; see :meth:`worst`.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.2, 0.4, 0.1], by=["ann", "ann", "bob"])
        >>> [key for key, _ in users.best(1)], [key for key, _ in users.best(1, min_samples=2)]
        (['bob'], ['ann'])
        """
        return self._of(metric, "best")._extreme(k, 1, level, anytime, min_samples)

    def largest(
        self,
        k: int = 10,
        level: float = 0.95,
        anytime: bool = False,
        *,
        min_samples: int = 0,
        metric: str | None = None,
    ) -> list[tuple[Any, Any]]:
        """Return the k groups with the most samples, the largest first, with their summaries; see :meth:`worst`.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.2, 0.4, 0.9], by=["ann", "ann", "bob"])
        >>> [key for key, _ in users.largest(1)]
        ['ann']
        """
        number, least, copy = _number("k", k), _number("min_samples", min_samples), self._of(metric, "largest").copy()
        sizes = copy._sizes()
        order = sorted((key for key in sizes if sizes[key] >= least), key=lambda key: -sizes[key])
        return [(key, copy[key].summary(level, anytime)) for key in order[:number]]

    def discoveries(self, fdr: float = 0.05, anytime: bool = False, min_samples: int = 100) -> Discoveries:
        """Return the groups in which two models differ, so that few of these findings are false.

        It is for groups of :class:`Paired`, also in a window of time or with decay. Of many groups without a
        difference, some have small p-values by chance. So p-values are adjusted for the number of groups. A group is a
        discovery if its adjusted p-value is at most ``fdr``.

        Parameters
        ----------
        fdr : float
            The false discovery rate: the expected share of discoveries whose true difference is 0.
        anytime : bool
            False: for one look at data whose size was fixed in advance. True: you can look after every batch and stop
            as soon as you like, with the same ``fdr`` each time. It is asymptotic, as the confidence sequence is.
        min_samples : int
            Leave out groups with fewer samples. In a small group the differences may be nearly equal by chance, and its
            p-value is then far too small. 0 tests every group.

        Returns
        -------
        Discoveries
            The discoveries, the largest difference first. It also has the other groups.

        Raises
        ------
        InputError
            If the groups are not of pairs, ``fdr`` is not between 0 and 1, or more was subtracted than had been added.

        Notes
        -----
        One look: with the p-values in order p(1) <= ... <= p(m), the adjusted p(i) is the minimum of m p(k) / k over
        k >= i (Benjamini and Hochberg, Journal of the Royal Statistical Society B 57, 1995). The rate is held if groups
        are independent, or positively dependent. Groups without a p-value, such as those of one sample, are not tested.

        Any number of looks: the same procedure on 1 / e (e-BH: Wang and Ramdas, Journal of the Royal Statistical
        Society B 84, 2022), with the e-values of the confidence sequence for level 1 - ``fdr``. The rate is held for
        any dependence. All groups count in m, because any may yet reach ``min_samples``. The guarantee assumes
        that the groups are known before the first look: a new group makes m larger.

        The intervals of discoveries have level 1 - R ``fdr`` / m, with R discoveries: the expected share of them that
        misses the true difference is at most ``fdr`` (Benjamini and Yekutieli, Journal of the American Statistical
        Association 100, 2005). An interval excludes 0 exactly if its group is a discovery.

        Examples
        --------
        >>> import numpy as np, streamce as ce
        >>> rng, users = np.random.default_rng(0), np.repeat(np.arange(100), 200)
        >>> a, b = rng.exponential(size=(2, 20_000))
        >>> a[users < 3] += 0.5
        >>> found = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=users).discoveries(fdr=0.05)
        >>> sorted(group.key for group in found)
        [0, 1, 2]
        """
        if not isinstance(self._metric._current(), Paired):
            expected = "Grouped(Paired(metric)), because a discovery is a difference of two models"
            raise InputError("metric", f"is a {type(self._metric).__name__}", expected)
        rate, is_sequence = estimators.check_level(fdr, "fdr"), estimators.check_anytime(anytime)
        least = _number("min_samples", min_samples)
        groups = of_each(self.items(), lambda metric: metric._current())
        sizes = of_each(groups.items(), lambda pair: pair._n_samples())
        pairs = {key: pair for key, pair in groups.items() if sizes[key] >= least}
        tested = len(groups) if is_sequence else None
        has_periods = self.options["period"] is not None
        return discover(pairs, fdr=rate, anytime=is_sequence, tested=tested, has_periods=has_periods)

    def to_table(
        self, level: float = 0.95, anytime: bool = False, *, min_samples: int = 0, metric: str | None = None
    ) -> dict[str, Any]:
        """Return columns as arrays with a row per group, from which pandas, polars and Arrow make a table.

        The columns are ``key`` (or ``key_0``, ``key_1``, ... for keys with several parts), ``value``, ``low``,
        ``high``, ``stderr``, ``total``, ``weight``, ``count``, ``samples``, ``seen`` and the counters of a summary.
        Summaries of other classes, such as that of :class:`Paired`, have the columns of their ``to_dict()``. Without
        ``metric``, a table of a :class:`Collection` has the columns of all metrics, whose names begin with that of the
        metric.

        Parameters
        ----------
        level, anytime
            The level and kind of the intervals; see the metric's ``summary``.
        min_samples : int
            Leave out groups with fewer samples.
        metric : str, optional
            The name of a metric, for groups of a :class:`Collection`.

        Examples
        --------
        >>> import streamce as ce
        >>> users = ce.Grouped(ce.MeanLoss()).update([0.0, 1.0, 2.0], by=["ann", "ann", "bob"])
        >>> table = users.to_table()
        >>> list(table["key"]), table["value"].tolist(), table["count"].tolist()
        (['ann', 'bob'], [0.5, 2.0], [2, 1])
        """
        least = _number("min_samples", min_samples)
        groups = self if metric is None and not least else self._of(metric, "to_table").copy()
        state = groups._state.copy()
        if state.is_compact and groups._metric._has_only_mean:
            cells, ledger = state.sorted_cells()
            if least:
                column = ledger.column("samples")
                cells = {key: cell for key, cell in cells.items() if column.get(cell, 0) >= least}
            numbers = np.fromiter(cells.values(), dtype=np.int64, count=len(cells))
            inner = groups._metric
            columns: dict[str, Any] = of_cells(
                cells, ledger, lambda: group_columns.cell_columns(inner, ledger, numbers, level, anytime)
            )
            return group_columns.key_columns_of(list(cells)) | columns
        found = groups.summary(level, anytime)
        if least:
            sizes = groups._sizes()
            found = {key: summary for key, summary in found.items() if sizes[key] >= least}
        return group_columns.key_columns_of(list(found)) | group_columns.summary_columns(list(found.values()))

    # ---- what groups are ranked by ----

    def _of(self, name: str | None, method: str) -> Self:
        """Return the groups of one metric of a collection. Without a collection, return this object."""
        if not isinstance(self._metric, Collection):
            if name is not None:
                raise InputError("metric", f"is {short_repr(name)}", "none, because the groups have one metric each")
            return self
        if not isinstance(name, str) or name not in self._metric:
            names = sorted(self._metric)
            found = "is missing" if name is None else f"is {short_repr(name)}"
            expected = f"one of {names}, such as {method}(metric={names[0]!r})"
            raise InputError("metric", found, expected, value=name)
        new = type(self)(**{**self._init_kwargs(), "metric": self._metric[name]})
        self._state.convert(new._state, lambda members: members.metrics[name]._state)
        return new

    def _extreme(self, k: Any, sign: int, level: float, anytime: bool, min_samples: Any) -> list[tuple[Any, Any]]:
        number, copy = _number("k", k), self.copy()
        scores = copy._scores(min_samples)
        order = sorted(scores, key=lambda key: (math.isnan(scores[key]), sign * scores[key]))
        return [(key, copy[key].summary(level, anytime)) for key in order[:number]]

    def _scores(self, min_samples: Any) -> dict[Any, float]:
        """Return the number by which each group is ranked and averaged: its mean loss or, of some metrics, its value.

        Groups with fewer than ``min_samples`` are left out. The object must be a copy, which no other thread changes.
        """
        least = _number("min_samples", min_samples)
        if self._state.is_compact:
            cells, ledger = self._state.sorted_cells()
            means = of_cells(cells, ledger, lambda: estimators.means(ledger))
            scores = {key: means[cell] for key, cell in cells.items()}
        else:
            scores = of_each(self.items(), lambda metric: metric._current()._score())
        if least:
            sizes = self._sizes()
            scores = {key: score for key, score in scores.items() if sizes[key] >= least}
        return scores

    def _sizes(self) -> dict[Any, int]:
        """Return the number of samples of each group. The object must be a copy, which no other thread changes."""
        if self._state.is_compact:
            cells, ledger = self._state.sorted_cells()
            column = ledger.column("samples")
            return {key: column.get(cell, 0) for key, cell in cells.items()}
        return of_each(self.items(), lambda metric: metric._current()._n_samples())


def of_each(groups: Iterable[tuple[Any, Any]], result: Callable[[Any], Any]) -> dict[Any, Any]:
    """Return the result of each group by key. An error names the group."""
    found = {}
    for key, group in groups:
        try:
            found[key] = result(group)
        except InputError as error:
            raise error.with_place(f"group {short_repr(key)}") from None
    return found


def of_cells(cells: dict[Any, int], ledger: Ledger, results: Callable[[], Any]) -> Any:
    """Return the results of all cells. An error names the group."""
    try:
        return results()
    except InputError:
        of_each(cells.items(), lambda cell: estimators.mean(ledger, cell))
        raise


def _number(name: str, given: Any) -> int:
    """Return an argument as a number of groups or samples."""
    number = scalars.to_int(given)
    if number is None or number < 0:
        counted = "groups" if name == "k" else "samples"
        raise InputError(name, f"is {short_repr(given)}", f"a whole number of {counted}", value=given)
    return number
