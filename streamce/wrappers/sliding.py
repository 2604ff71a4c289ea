"""A metric of a window that slides along a stream: of its last samples, or of a period of time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamce._support import scalars
from streamce._support.short_repr import short_repr
from streamce.core.grouping.groups import Groups
from streamce.core.grouping.key_index import EARLIEST, LATEST
from streamce.core.ledger.ledger import Ledger
from streamce.core.samples.samples import Samples
from streamce.core.samples.window import Window
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.keys import periods
from streamce.keys.key_columns import EPOCH, MICROSECOND, TOP, encode
from streamce.metrics.base import Metric
from streamce.wrappers.base import Keeper, Plan

if TYPE_CHECKING:
    from streamce._support.state_format import Header
    from streamce.stats.summary import Summary

MOST = 1 << 40  # samples of a window
FEW = 30  # panes that are not worth looking for


class Sliding(Keeper):
    """A metric of a window: of the last samples, or of the last period of time.

    What leaves the window is taken away exactly. At any moment the state is, to the bit, that of a
    fresh metric that has seen the window's samples and no others: nothing drifts, and an infinite
    loss leaves with its sample. What an update costs does not depend on the window.

    Parameters
    ----------
    metric : Metric
        An empty metric, for its options.
    samples : int, optional
        The window is the last so many samples (entries of the first axis). Those that are ignored or
        skipped are samples too: they take a place, and leave with it.
    period : timedelta or str, optional
        The window is a period of time, by the moments that samples have (``by_time``): a number and
        one of us, ms, s, min, h, d, w.
    step : timedelta or str, optional
        With ``period``, which it divides: time is cut in panes of this length, and the window moves
        by whole panes.

    Notes
    -----
    **The last samples.** They are kept one by one, 24 bytes each: n, d and the number of losses.
    Streams that run side by side have no last samples together, so such windows do not add up; they are
    copied, pickled and saved like any metric, and a job that resumes goes on to the same bytes.

    **A period.** A sample belongs to the pane that its moment falls in. Panes begin at whole steps since
    1970, in UTC; those of whole weeks on a Monday. The window is the newest pane that any sample fell in, and
    the ``period / step - 1`` before it; no more panes are kept, of 100 to 200 bytes each. *Samples older
    than the window have no part in it*, whether they come late or the window has moved on: they are let
    go without a count. So the state is a function of the samples alone: neither their order, nor the chunks,
    nor how they were spread over workers whose windows are added changes a bit.

    The newest pane is a clock that never goes back. ``a + b`` and ``a - b`` are those of the panes, in the
    window of the later clock of the two. Addition is associative and commutative; ``a + b - b`` is ``a`` in
    that window, and ``a`` itself where b is not ahead of it. What was let go does not come back. A window in
    which nothing is left is an empty one, and without a clock. A moment that lies wrongly in the future
    moves the clock, and lets go of all before: where that can happen, judge moments first.

    Examples
    --------
    >>> import streamce as ce
    >>> last = ce.Sliding(ce.MeanLoss(), samples=3)
    >>> last.update([8.0, 1.0, 2.0]).update([6.0]).compute()
    3.0
    >>> hour = ce.Sliding(ce.BinaryCrossEntropy(), period="1h", step="10min")
    >>> hour = hour.update([0.9, 0.6], [1, 1], by_time=[0.0, 3500.0])
    >>> hour.compute()
    0.30809...
    >>> hour.update([0.9], [1], by_time=[3600.0]).summary().count  # the pane from 0 to 600 has left
    2
    """

    __slots__ = ("_last", "_period", "_step")
    _state: Window | Panes

    def __init__(self, metric: Metric, *, samples: int | None = None, period: Any = None, step: Any = None) -> None:
        super().__init__(metric)
        if (samples is None) == (period is None):
            found = "is missing, and so is period" if samples is None else "is given, and so is period"
            raise InputError("samples", found, "one of samples=1000 and period='1h', step='1min'")
        self._last = self._period = self._step = None
        if samples is not None:
            last = scalars.integer(samples)
            if last is None or not 0 < last <= MOST:
                raise InputError("samples", f"is {short_repr(samples)}", "a whole number from 1 to 2^40", value=samples)
            if step is not None:
                raise InputError("step", "is given", "none, as a window of samples has no panes")
            self._last = last
        else:
            self._period = periods.microseconds(period)
            if step is None:
                raise InputError("step", "is missing", "one that divides the period, such as step='1min'")
            self._step = periods.microseconds(step, "step")
            if self._period % self._step:
                expected = f"one that divides the period, {periods.show(self._period)}"
                raise InputError("step", f"is {periods.show(self._step)}", expected, value=step)
        self._state = self._nothing()

    def _nothing(self) -> Window | Panes:
        if self._last is not None:
            return Window(self._last)
        assert self._period is not None
        assert self._step is not None
        return Panes(self._period, self._step)

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        lengths = {"period": self._period, "step": self._step}
        shown = {name: None if length is None else periods.show(length) for name, length in lengths.items()}
        return {"metric": self.metric, "samples": self._last, **shown}

    def _of_the_loss(self) -> dict[str, Any]:
        return {
            "metric": self._metric._header(), "period": self._period, "samples": self._last, "step": self._step
        }  # fmt: skip

    @classmethod
    def _of(cls, options: dict[str, Any], made: Callable[[Header], Any]) -> Self:
        lengths = {name: options[name] for name in ("period", "samples", "step")}
        for name, length in lengths.items():
            if not (length is None or type(length) is int):
                raise ValueError(f"it has {name} {length!r}")
            if length is not None and name != "samples":
                lengths[name] = f"{length}us"
        return cls(made(options["metric"]), **lengths)

    def _take(self, parts: dict[str, bytes]) -> None:
        self._state = self._nothing().from_parts(parts)

    # ---- adding ----

    def update(self, preds: Any, target: Any = None, *, by_time: Any = None, weight: Any = None, **others: Any) -> Self:
        """Add a chunk; what the window moves on from leaves it.

        Parameters
        ----------
        preds, target, weight, **others
            As the metric's ``update`` takes them.
        by_time : array of datetimes, or of seconds since 1970
            The moment of each sample, of a window of time, in any order.

        Raises
        ------
        InputError
            If the metric does not take the chunk, or ``by_time`` holds anything but a moment for each
            sample. Nothing of the chunk is counted then.
        """
        return self._follow(self._plan(by_time), preds, target, weight=weight, **others)

    def _keyed_by(self) -> tuple[str, ...]:
        return () if self._last is not None else ("by_time",)

    def _plan(self, by_time: Any = None) -> Plan:  # type: ignore[override]
        state = self._state
        if isinstance(state, Window):
            if by_time is not None:
                raise InputError("by_time", "is given", "none: the window is of the last samples, whenever they were")
            return Plan("samples", None, Window.add)
        if by_time is None:
            raise InputError("by_time", "is missing", "the moment of each sample")
        starts = state.starts(by_time, "by_time")
        return Plan("by_time", len(starts), lambda state, samples: state.add(samples, starts))

    def _extend(self, other: Self) -> Self:
        """Add all that another of the same options has seen, as what comes next."""
        if isinstance(self._state, Window) and isinstance(other._state, Window):
            self._state.extend(other._state)
            return self
        return super()._extend(other)

    # ---- reading ----

    def window(self, now: Any = None) -> Metric:
        """The metric of the window, with a state of its own.

        Parameters
        ----------
        now : datetime, or seconds since 1970, optional
            The window that ends with the pane of this moment, of a window of time; no earlier than the
            newest sample's.

        Raises
        ------
        InputError
            If the window has moved on beyond ``now``.

        Examples
        --------
        >>> import streamce as ce
        >>> day = ce.Sliding(ce.MeanLoss(), period="1d", step="1h").update([1.0, 3.0], by_time=[0.0, 7200.0])
        >>> day.compute(), day.compute(now=86400.0)
        (2.0, 3.0)
        """
        state = self._state
        if isinstance(state, Window):
            if now is not None:
                raise InputError("now", "is given", "none: the window is of the last samples, whenever they were")
            return self._filled(state.sum())
        if now is None:
            return self._filled(state.sum(None))
        found = state.starts(now, "now")
        if len(found) != 1:
            raise InputError("now", f"has length {len(found)}", "one moment", value=len(found))
        return self._filled(state.sum(int(found[0])))

    def compute(self, now: Any = None) -> float:
        """The value of the metric over the window, nan while it is empty; see :meth:`window`."""
        return self.window(now).compute()

    def summary(self, level: float = 0.95, anytime: bool = False, now: Any = None) -> Summary:
        """The summary of the window; see the metric's ``summary``, and :meth:`window`.

        An ``anytime`` interval is that of one window, looked at while it grows. It makes no promise about all
        windows of a stream together.
        """
        return self.window(now).summary(level, anytime)


class Panes:
    """A cell for each pane of the window, by when it begins; and the newest pane that there ever was.

    Panes that have left may still be there: they are looked for when there are as many again, so that
    an update costs the same however many there are. Whoever reads passes over them.

    A lock keeps them together: who reads while others add sees all of a chunk, or nothing.
    """

    def __init__(self, period: int, step: int) -> None:
        self._period, self._step = period, step
        self._groups = Groups()
        self._newest: int | None = None
        self._room = FEW
        self._lock = threading.RLock()  # a signal handler may read

    def starts(self, times: Any, name: str) -> arrays.Array:
        """When the pane of each moment begins."""
        return periods.floor(periods.ticks(times, name), self._step)

    def add(self, samples: Samples, starts: arrays.Array) -> None:
        """Add samples of these panes."""
        latest = int(starts.max())
        with self._lock:
            self._groups.add(samples, ("datetime",), starts, None, [])
            newest = latest if self._newest is None else max(latest, self._newest)
            # Samples without any loss move no clock, and one that nothing is left of is none.
            if self._groups.cell(encode("datetime", newest)) is None or self._groups.slots() > self._room:
                self._settle()
            else:
                self._newest = newest

    def crowded(self, samples: Samples) -> bool:
        """Return whether these samples may take an integer out of its range, so that adding them may fail."""
        return self._groups.crowded(samples)

    def _settle(self) -> None:
        """Let go of panes that have left, and of the clock where nothing is left."""
        newest = self._groups.newest()
        if newest is not None:
            newest = newest if self._newest is None else max(newest, self._newest)
            self._groups.drop_before(newest - self._period + 1)
        panes = self._groups.count()
        if not panes:
            self._groups, newest = Groups(), None
        self._newest, self._room = newest, 2 * panes + FEW

    def merge(self, other: Panes, sign: int = 1) -> None:
        theirs = other.copy()
        with self._lock:
            self._groups.merge(theirs._groups, sign)
            clocks = [clock for clock in (self._newest, theirs._newest) if clock is not None]
            self._newest = max(clocks, default=None)
            self._settle()

    def copy(self) -> Panes:
        new = Panes(self._period, self._step)
        with self._lock:
            new._groups, new._newest = self._groups.copy(), self._newest
        new._settle()
        return new

    def sum(self, now: int | None) -> Ledger:
        """The sum of the window that ends with the newest pane, or the one that begins at ``now``."""
        with self._lock:
            newest = self._newest
            if newest is None:
                return Ledger(1)
            if now is None:
                now = newest
            elif now < newest:
                value, clock = (EPOCH + tick * MICROSECOND for tick in (now, newest))
                expected = f"a moment from {clock} on, to which the window has moved"
                raise InputError("now", f"is in the pane from {value}", expected, value=value)
            return self._groups.total(now - self._period + 1)

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """The bytes of the panes and of the clock, if there are any."""
        copy = self.copy()
        parts = copy._groups.parts()
        if parts:
            assert copy._newest is not None
            parts["newest"] = (copy._newest + TOP).to_bytes(8, "big")
        return parts

    def from_parts(self, parts: dict[str, bytes]) -> Panes:
        """Those of the same lengths whose ``parts()`` these are; ValueError if they make no sense."""
        new = Panes(self._period, self._step)
        if not parts:
            return new
        if set(parts) != {"groups", "newest"} or len(parts["newest"]) != 8:
            raise ValueError(f"it has parts {sorted(parts)}")
        new._groups = Groups.from_parts({"groups": parts["groups"]})
        newest = int.from_bytes(parts["newest"], "big") - TOP
        kinds, null, starts, _ = new._groups.sorted()
        if kinds != ("datetime",) or null or not EARLIEST <= newest <= LATEST:
            raise ValueError("its panes have no moments")
        all_starts = np.append(starts, newest)
        if (periods.floor(all_starts, self._step) != all_starts).any():
            raise ValueError("its panes do not begin at whole steps")
        if not newest - self._period < all_starts.min() <= all_starts.max() == newest:
            raise ValueError("its panes are not those of the window")
        new._newest = newest
        return new
