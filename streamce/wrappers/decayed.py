"""Defines a metric in which the weight of samples decays with their age."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Self

from streamce._support.rational import GRID
from streamce.core.grouping.key_index import EARLIEST, LATEST
from streamce.core.ledger.calibration_cells import VARIANCE
from streamce.core.ledger.ledger import Ledger
from streamce.core.samples.decay import decay
from streamce.errors import InputError
from streamce.keys import periods
from streamce.keys.key_columns import Keys
from streamce.stats import estimators, summary
from streamce.stats.estimators import WEIGHT_POWERS
from streamce.wrappers import composition
from streamce.wrappers.base import KeyedWrapper, Route

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.stats.estimators import Cell
    from streamce.wrappers.table import StateTable

# Half-lives that are this much older than the newest one have no weight. A sum in the range of float64 that is halved
# this often is far below the grid, and the limit keeps the integers within a few thousand bits.
MAX_AGE = 4000


class Decayed(KeyedWrapper):
    """A metric with exponential decay: the weight of a sample halves with each half-life of its age.

    With t the timestamp of a sample and h the half-life,

        mean = Σ 2^(t / h) n / Σ 2^(t / h) d

    The mean does not depend on the time of reading, because all weights shrink by the same factor.

    Parameters
    ----------
    metric : Metric
        An empty metric, for its options.
    half_life : timedelta, float or str
        A number is in seconds. Text is a number and one of us, ms, s, min, h, d, w.

    Notes
    -----
    This is forward decay (Cormode, Shkapenyuk, Srivastava and Xu, *Forward decay: a practical time decay model for
    streaming systems*, ICDE 2009). A sample belongs to half-life number k = floor(t / h), counted from 1970. There its
    n and d are multiplied by 2^(t / h - k - 1). The library's own exponential rounds this factor, and each product is
    rounded once (below 2^-1022 to a multiple of 2^-1074). The sums of each half-life are exact, and so are their
    products with powers of two. The state is therefore an element of a commutative group: it can be added across
    workers and subtracted again, and samples may arrive in any order, to the same bits.

    The state holds a cell of 100 to 200 bytes for each half-life that has samples. With a half-life of 1 h, a year has
    8,760 cells and takes less than 2 MB. No cell is ever dropped, but samples that are more than 4,000 half-lives older
    than the newest have no weight.

    Examples
    --------
    >>> import streamce as ce
    >>> recent = ce.Decayed(ce.MeanLoss(), half_life="1h")
    >>> recent.update([3.0, 1.0, 0.0], by_time=[0.0, 3600.0, 7200.0]).compute()  # weights 1, 2 and 4
    0.7142857142857143
    """

    __slots__ = ("_half_life",)
    _layer = composition.TIME
    _has_sql_rows = False
    _state: StateTable

    def __init__(self, metric: Any, *, half_life: Any) -> None:
        super().__init__(metric)
        self._half_life = periods.microseconds(half_life, "half_life")
        self._state = self._table()

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        return {"metric": self.metric, "half_life": periods.format_period(self._half_life)}

    def _loss_options(self) -> dict[str, Any]:
        return {"metric": self._metric._header(), "half_life": self._half_life}

    @classmethod
    def _from_options(cls, options: dict[str, Any], restore_inner: Callable[[Header], Any]) -> Self:
        if type(options["half_life"]) is not int:
            raise ValueError(f"it has a half_life {options['half_life']!r}")
        return cls(restore_inner(options["metric"]), half_life=f"{options['half_life']}us")

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        state = self._table().from_parts(payload)
        if state.kinds is not None:
            numbers = list(state.sorted())
            if state.kinds != ("int",) or None in numbers:
                raise ValueError("its half-lives have no numbers")
            if not EARLIEST // self._half_life <= numbers[0] <= numbers[-1] <= LATEST // self._half_life:
                raise ValueError("its half-lives are outside of the years 1 to 9999")
        self._state = state

    # ---- adding ----

    def update(self, *inputs: Any, by_time: Any = None, **others: Any) -> Self:
        """Add a batch.

        Parameters
        ----------
        *inputs, **others
            The arguments of the metric's ``update``, such as ``preds``, ``target`` and ``weight``.
        by_time : array of datetimes, of text in ISO 8601, or of seconds since 1970
            The timestamp of each sample, in any order.

        Raises
        ------
        InputError
            If the batch is invalid for the metric, or if ``by_time`` does not hold one timestamp per sample. Nothing is
            added then.

        Examples
        --------
        >>> import streamce as ce
        >>> recent = ce.Decayed(ce.BinaryCrossEntropy(), half_life="1d")
        >>> recent.update([0.5, 0.25], [1, 1], by_time=[0.0, 86400.0]).compute()  # weights 1 and 2
        1.15524530093324...
        """
        self._add(self._bind("Decayed.update", inputs, others) | {"by_time": by_time})
        return self

    def _keyed_by(self) -> tuple[str, ...]:
        return ("by_time",)

    def _route(self, by_time: Any = None) -> Route:  # type: ignore[override]
        if by_time is None:
            raise InputError("by_time", "is missing", "the timestamp of each sample")
        numbers, weights = decay(periods.ticks(by_time), self._half_life)
        return Route("by_time", Keys(("int",), len(numbers), numbers, None, []), weights)

    def _caption(self) -> str:
        return f"{self._metric._caption()}, half-life {self.options['half_life']}"

    def _sections(self) -> tuple[str, ...]:
        return ("current", "half_lives")

    # ---- reading ----

    def weighted(self) -> Any:
        """Return the metric of all samples with decayed weights, with a copy of its state.

        A new sample in the newest half-life that has samples has weight 1. Sums are rounded to multiples of 2^-1074.

        Examples
        --------
        >>> import streamce as ce
        >>> recent = ce.Decayed(ce.MulticlassCrossEntropy(per_class=True), half_life="1h")
        >>> recent = recent.update([[0.5, 0.5], [0.25, 0.75]], [0, 1], by_time=[0.0, 3600.0])
        >>> [summary.weight for summary in recent.weighted().per_class()]
        [0.25, 0.5]
        """
        states = self._state.copy().sorted()
        ages = _ages(states)
        return self._metric_of(_combine(list(zip(states.values(), ages, strict=True)), self._restore_inner))

    def _current(self) -> Any:
        return self.weighted()

    def compute(self) -> float:
        """Return the metric's value with decayed weights, such as the mean loss in nats; nan for an empty stream.

        Raises
        ------
        InputError
            If more was subtracted than had been added.
        """
        copy = self._state.copy()
        if not copy.is_compact or not self._metric._has_only_mean:
            value: float = self.weighted().compute()
            return value
        return float(self._metric._value(estimators.ratio(_cell(copy)[0])))

    def summary(self, level: float = 0.95, anytime: bool = False) -> Any:
        """Return the mean, standard error and interval with decayed weights, and counts of anomalies.

        ``total`` and ``weight`` are relative to the end of the newest half-life that has samples: a new sample there
        has weight 1. The counters count all samples, whatever their weight. The interval uses (Σd)² / Σd² as the
        effective number of samples.

        Parameters
        ----------
        level : float
            The probability with which the interval contains the true mean.
        anytime : bool
            Use the multiple of a confidence sequence at the effective number of samples. This number stops growing once
            old samples have decayed, so the interval makes no promise about all looks at an endless stream.

        Raises
        ------
        InputError
            If more was subtracted than had been added, or ``level`` is not between 0 and 1.
        """
        copy = self._state.copy()
        if not copy.is_compact or not self._metric._has_only_mean:
            return self.weighted().summary(level, anytime)
        cell, unit = _cell(copy)
        return self._metric._present(summary.summarise_cell(cell, level=level, anytime=anytime, unit=unit))


def _cell(table: StateTable) -> tuple[Cell, int]:
    """Return the integers of all half-lives together, and the number of units in a weight of 1.

    Weights are relative to the oldest half-life that counts, where they are whole multiples of the grid.
    """
    cells, ledger = table.sorted_cells()
    ages = _ages(cells)
    oldest = max((age for age in ages if age <= MAX_AGE), default=0)
    aged = zip(cells.values(), ages, strict=True)
    combined = _add_cells((ledger.cell(cell), oldest - age, age <= MAX_AGE) for cell, age in aged)
    return combined, GRID << oldest


def _ages(numbers: Collection[int]) -> list[int]:
    """Return by how much older each half-life is than the newest, the last one."""
    newest = max(numbers, default=0)
    return [newest - number for number in numbers]


def _add_cells(cells: Iterable[tuple[Cell, int, bool]], powers: dict[str, int] = WEIGHT_POWERS) -> Cell:
    """Return the sum of cells, each given with the power of two of its weights and whether it has weight at all.

    ``powers`` says which sums the cells have, and with which power of the weight each grows.
    """
    combined: Cell = {}
    sums = dict.fromkeys(WEIGHT_POWERS, 0)
    for cell, shift, counts in cells:
        estimators.check_cell(cell)
        for column, number in cell.items():
            if column in estimators.COUNTS or (column not in WEIGHT_POWERS and counts):
                combined[column] = combined.get(column, 0) + number
        if counts:
            full = estimators.full_sums(cell)
            for column, exponent in powers.items():
                total, power = full[column], shift * exponent
                sums[column] += total << power if power >= 0 else total + (1 << -power >> 1) >> -power
    stored = estimators.stored_sums(sums, combined.get("samples", 0))
    return combined | {column: stored[column] for column in powers}


def _powers(part: str, cell: int) -> dict[str, int]:
    """Return the power of the weight with which each sum of a cell grows."""
    name = part.rpartition(".")[2]
    if name == "calibration" and cell == VARIANCE:
        return {"n": 2}
    return {"n": 1, "d": 1} if name in ("buckets", "calibration") else WEIGHT_POWERS


def _combine(aged: list[tuple[Any, int]], restore: Callable[[dict[str, bytes]], Any]) -> Any:
    """Return the sum of states, each with the number of half-lives since its weights were 1."""
    by_part: dict[str, list[tuple[Ledger, int]]] = {}
    for state, age in aged:
        for name, part in state.parts().items():
            by_part.setdefault(name, []).append((Ledger.from_bytes(part), age))
    parts = {}
    for name, ledgers in by_part.items():
        combined = Ledger(max(ledger.size for ledger, _ in ledgers))
        for number in sorted({number for ledger, _ in ledgers for number in ledger.used()}):
            cells = [(ledger.cell(number), -age, age <= MAX_AGE) for ledger, age in ledgers if number < ledger.size]
            for column, value in _add_cells(cells, _powers(name, number)).items():
                combined.add_integer(column, number, value)
        if combined.used():
            parts[name] = combined.to_bytes()
    return restore(parts)
