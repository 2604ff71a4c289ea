"""Defines a metric in which the weight of samples decays with their age."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from streamce._support.rational import GRID
from streamce.core.grouping.groups import Groups
from streamce.core.grouping.key_index import EARLIEST, LATEST
from streamce.core.samples.decay import decay
from streamce.errors import InputError
from streamce.keys import periods
from streamce.metrics.base import Metric
from streamce.stats import estimators, summary
from streamce.stats.estimators import WEIGHT_POWERS
from streamce.wrappers.base import KeyedWrapper, Route

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.core.samples.samples import Samples
    from streamce.stats.estimators import Cell
    from streamce.stats.summary import Summary

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
    _state: Groups

    def __init__(self, metric: Metric, *, half_life: Any) -> None:
        super().__init__(metric)
        self._half_life = periods.microseconds(half_life, "half_life")
        self._state = Groups()

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
        state = Groups.from_parts(payload)
        kinds, null, numbers, _ = state.sorted()
        if kinds is not None:
            if kinds != ("int",) or null:
                raise ValueError("its half-lives have no numbers")
            if not EARLIEST // self._half_life <= int(numbers[0]) <= int(numbers[-1]) <= LATEST // self._half_life:
                raise ValueError("its half-lives are outside of the years 1 to 9999")
        self._state = state

    # ---- adding ----

    def update(self, preds: Any, target: Any = None, *, by_time: Any = None, weight: Any = None, **others: Any) -> Self:
        """Add a batch.

        Parameters
        ----------
        preds, target, weight, **others
            The arguments of the metric's ``update``.
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
        if others:
            self._check_keywords("Decayed.update", others)
        return self._apply(self._route(by_time), preds, target, weight=weight, **others)

    def _keyed_by(self) -> tuple[str, ...]:
        return ("by_time",)

    def _route(self, by_time: Any = None) -> Route:  # type: ignore[override]
        if by_time is None:
            raise InputError("by_time", "is missing", "the timestamp of each sample")
        ticks = periods.ticks(by_time)

        def add(state: Groups, samples: Samples) -> None:
            own = samples.copy()
            state.add(own, ("int",), decay(own, ticks, self._half_life), None, [])

        return Route("by_time", len(ticks), add)

    def _caption(self) -> str:
        return f"{self._metric._caption()}, half-life {self.options['half_life']}"

    def _sections(self) -> tuple[str, ...]:
        return ("summary", "half_lives")

    # ---- reading ----

    def compute(self) -> float:
        """Return the metric's value with decayed weights, such as the mean loss in nats; nan for an empty stream.

        Raises
        ------
        InputError
            If more was subtracted than had been added.
        """
        return self._metric._value(estimators.ratio(self._cell()[0]))

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
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
        cell, unit = self._cell()
        return self._metric._present(summary.summarise_cell(cell, level=level, anytime=anytime, unit=unit))

    def _cell(self) -> tuple[Cell, int]:
        """Return the integers of all half-lives together, and the number of units in a weight of 1.

        Weights are relative to the oldest half-life that counts, where they are whole multiples of the grid.
        """
        _, _, numbers, ledger = self._state.sorted()
        combined: Cell = {}
        shifts = [int(number) - int(numbers[-1]) + MAX_AGE for number in numbers]
        oldest = min((shift for shift in shifts if shift >= 0), default=0)
        sums = dict.fromkeys(WEIGHT_POWERS, 0)
        for i, shift in enumerate(shifts):
            cell = ledger.cell(i)
            estimators.check_cell(cell)
            for column, number in cell.items():
                if column in estimators.COUNTS or (column not in WEIGHT_POWERS and shift >= 0):
                    combined[column] = combined.get(column, 0) + number
            if shift >= 0:
                for column, total in estimators.full_sums(cell).items():
                    sums[column] += total << (shift - oldest) * WEIGHT_POWERS[column]
        combined |= estimators.stored_sums(sums, combined.get("samples", 0))
        return combined, GRID << (MAX_AGE - oldest)
