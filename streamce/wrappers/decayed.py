"""A metric in which samples weigh less the older they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from streamce.core.grouping.groups import Groups
from streamce.core.grouping.key_index import EARLIEST, LATEST
from streamce.core.samples.decay import decay
from streamce.errors import InputError
from streamce.keys import periods
from streamce.metrics.base import Metric
from streamce.stats import summary
from streamce.stats.summary import GRID, SUMS
from streamce.wrappers.base import Keeper, Plan

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.core.samples.samples import Samples
    from streamce.stats.summary import Cell, Summary

# Half-lives before the newest of which nothing is left: a sum in float64's range, halved so often, is
# far below the grid of the newest, and the integers stay within a few thousand bits.
FAR = 4000


class Decayed(Keeper):
    """A metric with exponential decay: the weight of a sample halves with each half-life of its age.

    With t the moment of a sample and h the half-life,

        mean = Σ 2^(t / h) n / Σ 2^(t / h) d

    which does not depend on when one looks: relative to any later moment all weights shrink alike.

    Parameters
    ----------
    metric : Metric
        An empty metric, for its options.
    half_life : timedelta or str
        A number and one of us, ms, s, min, h, d, w.

    Notes
    -----
    Forward decay (Cormode, Shkapenyuk, Srivastava and Xu, *Forward decay: a practical time decay model for streaming
    systems*, ICDE 2009). A sample falls in half-life number k = floor(t / h), counted from 1970, and weighs
    2^(t / h - k - 1) there: n and d are multiplied by that number, which is rounded, with the library's
    own exponential, and each product too (one below 2^-1022 to a multiple of 2^-1074). The sums of each
    half-life are exact, and so are powers of two times these, so the state is an element of a commutative
    group: it adds up across workers, what was added can be taken away, and moments may come in any order,
    to the same bits.

    The state holds a cell for each half-life in which there were samples, 100 to 200 bytes: a year at
    a half-life of 1 h has 8,760, and takes less than 2 MB. None is ever dropped, but samples more
    than 4,000 half-lives before the newest weigh nothing.

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
        return {"metric": self.metric, "half_life": periods.show(self._half_life)}

    def _of_the_loss(self) -> dict[str, Any]:
        return {"metric": self._metric._header(), "half_life": self._half_life}

    @classmethod
    def _of(cls, options: dict[str, Any], made: Callable[[Header], Any]) -> Self:
        if type(options["half_life"]) is not int:
            raise ValueError(f"it has a half_life {options['half_life']!r}")
        return cls(made(options["metric"]), half_life=f"{options['half_life']}us")

    def _take(self, parts: dict[str, bytes]) -> None:
        found = Groups.from_parts(parts)
        kinds, null, numbers, _ = found.sorted()
        if kinds is not None:
            if kinds != ("int",) or null:
                raise ValueError("its half-lives have no numbers")
            if not EARLIEST // self._half_life <= int(numbers[0]) <= int(numbers[-1]) <= LATEST // self._half_life:
                raise ValueError("its half-lives are beyond the years 1 to 9999")
        self._state = found

    # ---- adding ----

    def update(self, preds: Any, target: Any = None, *, by_time: Any = None, weight: Any = None, **others: Any) -> Self:
        """Add a chunk.

        Parameters
        ----------
        preds, target, weight, **others
            As the metric's ``update`` takes them.
        by_time : array of datetimes, or of seconds since 1970
            The moment of each sample, in any order.

        Raises
        ------
        InputError
            If the metric does not take the chunk, or ``by_time`` holds anything but a moment for each
            sample. Nothing of the chunk is counted then.
        """
        return self._follow(self._plan(by_time), preds, target, weight=weight, **others)

    def _keyed_by(self) -> tuple[str, ...]:
        return ("by_time",)

    def _plan(self, by_time: Any = None) -> Plan:  # type: ignore[override]
        if by_time is None:
            raise InputError("by_time", "is missing", "the moment of each sample")
        ticks = periods.ticks(by_time)

        def add(state: Groups, samples: Samples) -> None:
            own = samples.copy()
            state.add(own, ("int",), decay(own, ticks, self._half_life), None, [])

        return Plan("by_time", len(ticks), add)

    # ---- reading ----

    def compute(self) -> float:
        """The value of the metric with decayed weights, such as the mean loss in nats; nan for an empty stream.

        Raises
        ------
        InputError
            If more was taken away than had been added.
        """
        return self._metric._value(summary.ratio(self._cell()[0]))

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Mean, standard error and intervals of the decayed stream, and what odd input was seen.

        ``total`` and ``weight`` are relative to the end of the newest half-life in which there were
        samples, when one would weigh 1. The counters are of all samples, whatever they weigh. The interval takes
        (Σd)² / Σd² samples for the effective number of those that tell something.

        Parameters
        ----------
        level : float
            How often the interval is to hold the truth.
        anytime : bool
            The multiple of a confidence sequence at that effective number. It grows no more once old samples
            are forgotten, so there is no promise about all looks at an endless stream.

        Raises
        ------
        InputError
            If more was taken away than had been added, or ``level`` is not between 0 and 1.
        """
        cell, unit = self._cell()
        return self._metric._shown(summary.summarise_cell(cell, level=level, anytime=anytime, unit=unit))

    def _cell(self) -> tuple[Cell, int]:
        """The integers of all half-lives together, and how many units are a weight of 1.

        Weights are relative to the oldest half-life that counts, where they are whole multiples of the grid.
        """
        _, _, numbers, ledger = self._state.sorted()
        found: Cell = {}
        shifts = [int(number) - int(numbers[-1]) + FAR for number in numbers]
        oldest = min((shift for shift in shifts if shift >= 0), default=0)
        sums = dict.fromkeys(SUMS, 0)
        for i, shift in enumerate(shifts):
            cell = ledger.cell(i)
            summary.check(cell)
            for column, number in cell.items():
                if column in summary.COUNTS or (column not in SUMS and shift >= 0):
                    found[column] = found.get(column, 0) + number
            if shift >= 0:
                for column, total in summary.totals(cell).items():
                    sums[column] += total << (shift - oldest) * SUMS[column]
        found |= summary.excesses(sums, found.get("samples", 0))
        return found, GRID << (FAR - oldest)
