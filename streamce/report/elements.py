"""The elements of a wrapper, which a section ranks or draws over time: groups, panes or half-lives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from streamce.report import aggregation
from streamce.stats import estimators

if TYPE_CHECKING:
    from streamce.core.ledger.ledger import Ledger
    from streamce.report.series_section import ViewOptions
    from streamce.stats.estimators import Cell


class Elements(ABC):
    """Numbered states of one metric.

    Parameters
    ----------
    metric : metric
        An empty metric with the options of the elements.
    """

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    @abstractmethod
    def scores(self) -> Sequence[float]:
        """Return the number of each element by which it is ranked."""

    @abstractmethod
    def values(self) -> list[float]:
        """Return the value of each element."""

    @abstractmethod
    def sizes(self) -> Sequence[int]:
        """Return the number of samples of each element."""

    @abstractmethod
    def summary(self, number: int, view: ViewOptions) -> Any:
        """Return the summary of an element."""

    @abstractmethod
    def added(self, sums: Sequence[int | None]) -> Elements:
        """Return sums of elements. ``sums`` has the number of the sum of each element, None to omit the element."""


class Cells(Elements):
    """Elements of which each has one cell, as in a table of a million groups."""

    def __init__(self, metric: Any, means: Sequence[float], cell_of: Callable[[int], Cell], ledger: Ledger) -> None:
        super().__init__(metric)
        self._means, self._cell_of, self._ledger = means, cell_of, ledger

    @classmethod
    def of_ledger(cls, metric: Any, ledger: Ledger) -> Cells:
        """Return the elements of a ledger."""
        return cls(metric, estimators.means(ledger), ledger.cell, ledger)

    def scores(self) -> Sequence[float]:
        return self._means

    def values(self) -> list[float]:
        return [self.metric._value(mean) for mean in self._means]

    def sizes(self) -> Sequence[int]:
        return [self._cell_of(number).get("samples", 0) for number in range(len(self._means))]

    def summary(self, number: int, view: ViewOptions) -> Any:
        return self.metric._present(aggregation.summarise(self._cell_of(number), view.level, view.anytime))

    def added(self, sums: Sequence[int | None]) -> Cells:
        added = aggregation.add_cells(self._ledger, sums.__getitem__)
        cells = [added.get(number, {}) for number in range(_count(sums))]
        return Cells(self.metric, [estimators.ratio(cell) for cell in cells], cells.__getitem__, self._ledger)


class States(Elements):
    """Elements of any metric."""

    def __init__(self, metric: Any, states: Sequence[Any]) -> None:
        super().__init__(metric)
        self._metrics = [metric._new() for _ in states]
        for each, state in zip(self._metrics, states, strict=True):
            each._state = state

    def scores(self) -> Sequence[float]:
        return [each._current()._score() for each in self._metrics]

    def values(self) -> list[float]:
        return [each.compute() for each in self._metrics]

    def sizes(self) -> Sequence[int]:
        return [each._current()._n_samples() for each in self._metrics]

    def summary(self, number: int, view: ViewOptions) -> Any:
        return self._metrics[number].summary(view.level, view.anytime)

    def added(self, sums: Sequence[int | None]) -> States:
        states = [self.metric._new()._state for _ in range(_count(sums))]
        for number, each in zip(sums, self._metrics, strict=True):
            if number is not None:
                states[number].merge(each._state)
        return States(self.metric, states)


def _count(sums: Sequence[int | None]) -> int:
    return max((number for number in sums if number is not None), default=-1) + 1


def of_groups(grouped: Any) -> tuple[list[Any], Elements]:
    """Return the keys and the elements of a ``Grouped``."""
    table = grouped._state.copy()
    if table.is_compact and grouped.metric._has_only_mean:
        cells, ledger = table.sorted_cells()
        return list(cells), Cells.of_ledger(grouped.metric, ledger)
    states = table.sorted()
    return list(states), States(grouped.metric, list(states.values()))
