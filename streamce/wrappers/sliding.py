"""Defines a metric of a window that moves along a stream: of the last samples, or of the last period of time."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamce._support import scalars
from streamce._support.short_repr import short_repr
from streamce.core.grouping.key_index import EARLIEST, LATEST
from streamce.core.ledger.state import State
from streamce.core.samples.routes import Routes
from streamce.core.samples.window import Window
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.keys import periods
from streamce.keys.encoding import EPOCH, INT64_END, MICROSECOND, encode_part
from streamce.keys.key_columns import Keys
from streamce.wrappers import composition
from streamce.wrappers.base import KeyedWrapper, Route
from streamce.wrappers.changes import replace
from streamce.wrappers.state_window import StateWindow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamce._support.state_format import Header
    from streamce.core.samples.samples import Samples
    from streamce.wrappers.changes import Change
    from streamce.wrappers.table import Kinds, StateTable

MAX_SAMPLES = 1 << 40  # most samples of a window
MIN_PANES_TO_EVICT = 30  # search for outdated panes only if there are this many


class Sliding(KeyedWrapper):
    """A metric of a window: of the last samples, or of the last period of time.

    Samples that leave the window are subtracted exactly. The state always equals, to the bit, that of a new metric that
    has seen only the window's samples. Nothing drifts, and an infinite loss leaves with its sample. The cost of an
    update does not depend on the size of the window.

    Parameters
    ----------
    metric : Metric
        An empty metric, for its options.
    samples : int, optional
        The number of samples (entries of the first axis) in the window. Ignored and skipped samples take a place in the
        window too.
    period : timedelta, float or str, optional
        The length of a window of time. A number is in seconds. Text is a number and one of us, ms, s, min, h, d, w. It
        needs the timestamps of samples (``by_time``).
    step : timedelta, float or str, optional
        The length of a pane, a divisor of ``period``. The window moves by whole panes.

    Notes
    -----
    **A window of samples** keeps each sample in 24 bytes: n, d and the number of losses. Parallel streams have no
    common last samples, so such windows cannot be added. They can be copied, pickled and saved like any metric, and a
    job that resumes continues to the same bytes.

    **A window of time** consists of panes. A sample belongs to the pane of its timestamp. Panes begin at whole steps
    since 1970 in UTC, and panes of whole weeks begin on a Monday. The window is the newest pane that has samples and
    the ``period / step - 1`` panes before it. A pane takes 100 to 200 bytes. *Samples that are older than the window
    are not part of it and are not counted*, whether they arrive late or the window has moved on. The state therefore
    depends only on the samples, not on their order, on the batches or on the workers whose windows were added.

    The newest pane is a clock that never moves back. ``a + b`` and ``a - b`` add and subtract the panes, in the window
    of the later of the two clocks. Addition is associative and commutative. ``a + b - b`` is ``a`` in that window, and
    ``a`` itself if b is not ahead of it. Evicted samples do not come back. A window without samples is empty and has no
    clock. A timestamp that is wrongly in the future moves the clock and evicts everything older, so check timestamps
    first if this can happen.

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

    __slots__ = ("_period", "_samples", "_step")
    _layer = composition.TIME
    _has_sql_rows = False
    _state: Any  # a Window, StateWindow or Panes

    def __init__(self, metric: Any, *, samples: int | None = None, period: Any = None, step: Any = None) -> None:
        super().__init__(metric)
        if (samples is None) == (period is None):
            found = "is missing, and so is period" if samples is None else "is given, and so is period"
            raise InputError("samples", found, "one of samples=1000 and period='1h', step='1min'")
        self._samples = self._period = self._step = None
        if samples is not None:
            number = scalars.to_int(samples)
            if number is None or not 0 < number <= MAX_SAMPLES:
                raise InputError("samples", f"is {short_repr(samples)}", "a whole number from 1 to 2^40", value=samples)
            if step is not None:
                raise InputError("step", "is given", "none, because a window of samples has no panes")
            self._samples = number
        else:
            self._period = periods.microseconds(period)
            if step is None:
                raise InputError("step", "is missing", "one that divides the period, such as step='1min'")
            self._step = periods.microseconds(step, "step")
            if self._period % self._step:
                expected = f"one that divides the period, {periods.format_period(self._period)}"
                raise InputError("step", f"is {periods.format_period(self._step)}", expected, value=step)
        self._state = self._empty_state()

    def _empty_state(self) -> Window | StateWindow | Panes:
        if self._samples is not None:
            if self._metric._has_only_mean:
                return Window(self._samples)
            return StateWindow(self._samples, self._restore_inner)
        assert self._period is not None
        assert self._step is not None
        return Panes(self._period, self._step, self._table())

    @property
    def _is_addable(self) -> bool:  # type: ignore[override]
        return self._samples is None

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        lengths = {"period": self._period, "step": self._step}
        texts = {name: None if length is None else periods.format_period(length) for name, length in lengths.items()}
        return {"metric": self.metric, "samples": self._samples, **texts}

    def _loss_options(self) -> dict[str, Any]:
        return {
            "metric": self._metric._header(), "period": self._period, "samples": self._samples, "step": self._step
        }  # fmt: skip

    @classmethod
    def _from_options(cls, options: dict[str, Any], restore_inner: Callable[[Header], Any]) -> Self:
        lengths = {name: options[name] for name in ("period", "samples", "step")}
        for name, length in lengths.items():
            if not (length is None or type(length) is int):
                raise ValueError(f"it has {name} {length!r}")
            if length is not None and name != "samples":
                lengths[name] = f"{length}us"
        return cls(restore_inner(options["metric"]), **lengths)

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        state = self._empty_state()
        if isinstance(state, Window) and "states" in payload:  # of samples with clusters, words or bytes
            assert self._samples is not None
            state = StateWindow(self._samples, self._restore_inner)
        self._state = state.from_parts(payload) if payload else state

    # ---- adding ----

    def update(self, *inputs: Any, by_time: Any = None, **others: Any) -> Self:
        """Add a batch, and evict samples that are older than the window.

        Parameters
        ----------
        *inputs, **others
            The arguments of the metric's ``update``, such as ``preds``, ``target`` and ``weight``.
        by_time : array of datetimes, of text in ISO 8601, or of seconds since 1970
            For a window of time: the timestamp of each sample, in any order.

        Raises
        ------
        InputError
            If the batch is invalid for the metric, or if ``by_time`` does not hold one timestamp per sample. Nothing is
            added then.

        Examples
        --------
        >>> import streamce as ce
        >>> hour = ce.Sliding(ce.MeanLoss(), period="1h", step="1min")
        >>> hour.update([1.0, 2.0, 6.0], by_time=[0.0, 3600.0, 1800.0]).compute()  # the first is too old
        4.0
        """
        self._add(self._bind("Sliding.update", inputs, others) | {"by_time": by_time})
        return self

    def _keyed_by(self) -> tuple[str, ...]:
        return () if self._samples is not None else ("by_time",)

    def _route(self, by_time: Any = None) -> Route:  # type: ignore[override]
        state = self._state
        if not isinstance(state, Panes):
            if by_time is not None:
                raise InputError("by_time", "is given", "none, because the window is not one of time")
            return Route("samples")
        if by_time is None:
            raise InputError("by_time", "is missing", "the timestamp of each sample")
        starts = state.starts(by_time, "by_time")
        return Route("by_time", Keys(("datetime",), len(starts), starts, None, []))

    def _extend(self, other: Self) -> Self:
        """Add another state of the same options, whose samples follow those of this one."""
        if self._samples is None:
            return super()._extend(other)
        if not other._state.size:
            return self
        if isinstance(other._state, StateWindow):
            self._use_states()
        if type(self._state) is not type(other._state):
            raise _mixed_windows()
        self._state.extend(other._state)
        return self

    def _changes_of_samples(self, route: Route, samples: Samples) -> list[Change]:
        window = self._state
        if not isinstance(window, Window):
            return super()._changes_of_samples(route, samples)
        if not window.crowded(samples):
            return [partial(window.add_samples, samples)]
        window = window.copy()  # adding may fail
        window.add_samples(samples)
        return [replace(self, "_state", window)]

    def _changes_of(self, other: Self) -> list[Change]:
        if isinstance(self._state, type(other._state)) and not isinstance(other._state, Window):
            return super()._changes_of(other)
        return [replace(self, "_state", self.copy()._extend(other)._state)]

    def _takes_samples(self, others: dict[str, Any]) -> bool:
        return not isinstance(self._state, StateWindow) and super()._takes_samples(others)

    def _apply(self, route: Route, *inputs: Any, **others: Any) -> Self:
        if route.keys is not None or self._takes_samples(others):
            return super()._apply(route, *inputs, **others)
        states = self._metric._split(Routes(), *inputs, **others)  # of each sample
        if states:
            self._use_states()
            self._state.add_each(states)
        return self

    def _use_states(self) -> None:
        """Keep the state of each sample from now on, or raise InputError if there are samples without one."""
        if isinstance(self._state, Window):
            if self._state.size:
                raise _mixed_windows()
            assert self._samples is not None
            self._state = StateWindow(self._samples, self._restore_inner)

    def _caption(self) -> str:
        length = f"{self._samples:,} samples" if self._samples else self.options["period"]
        return f"{self._metric._caption()} of the last {length}"

    def _sections(self) -> tuple[str, ...]:
        return ("current", "panes") if isinstance(self._state, Panes) else ("current",)

    # ---- reading ----

    def window(self, now: Any = None) -> Any:
        """Return the metric of the window, with a copy of its state.

        Parameters
        ----------
        now : datetime, or seconds since 1970, optional
            For a window of time: end the window with the pane of this timestamp, at or after the newest sample.

        Raises
        ------
        InputError
            If the window has already moved beyond ``now``.

        Examples
        --------
        >>> import streamce as ce
        >>> day = ce.Sliding(ce.MeanLoss(), period="1d", step="1h").update([1.0, 3.0], by_time=[0.0, 7200.0])
        >>> day.compute(), day.compute(now=86400.0)
        (2.0, 3.0)
        """
        state = self._state
        if not isinstance(state, Panes):
            if now is not None:
                raise InputError("now", "is given", "none, because the window is not one of time")
            return self._metric_of(State(state.sum()) if isinstance(state, Window) else state.sum())
        if now is None:
            return self._metric_of(state.sum(None))
        starts = state.starts(now, "now")
        if len(starts) != 1:
            raise InputError("now", f"has length {len(starts)}", "one timestamp", value=len(starts))
        return self._metric_of(state.sum(int(starts[0])))

    def _current(self) -> Any:
        return self.window()

    def compute(self, now: Any = None) -> float:
        """Return the metric's value over the window, nan while it is empty; see :meth:`window`."""
        value: float = self.window(now).compute()
        return value

    def summary(self, level: float = 0.95, anytime: bool = False, now: Any = None) -> Any:
        """Return the summary of the window; see the metric's ``summary`` and :meth:`window`.

        An ``anytime`` interval holds for one window that grows between looks. It makes no promise about all windows of
        a stream together.
        """
        return self.window(now).summary(level, anytime)


def _mixed_windows() -> InputError:
    """Return the error for samples with more sums than the mean, after samples without."""
    expected = "no clusters, words and bytes, or those of every sample from the first one on"
    return InputError("samples", "are in the window already, with their means only", expected)


class Panes:
    """A state for each pane of the window, by the start of the pane, and the clock: the start of the newest pane.

    The clock follows from the panes, so it moves with them in one step. ``_newest`` is a time that it does not move
    back from.

    Outdated panes are evicted once there are as many of them as of the others, so the cost of an update does not depend
    on the size of the window. Readers skip outdated panes.

    A lock makes each change atomic: a reader sees a concurrent batch completely or not at all.
    """

    def __init__(self, period: int, step: int, table: StateTable) -> None:
        self._period, self._step = period, step
        self._panes = table
        self._newest: int | None = None
        self._capacity = MIN_PANES_TO_EVICT
        self._lock = threading.RLock()  # reentrant, because a signal handler may read

    def starts(self, times: Any, name: str) -> arrays.Array:
        """Return the start of the pane of each timestamp."""
        return periods.floor(periods.ticks(times, name), self._step)

    def check(self, kinds: Kinds) -> None:
        """Do nothing, because every timestamp has a pane."""

    def add_samples(self, samples: Samples, keys: Keys) -> None:
        """Add samples, each to its pane."""
        with self._lock:
            self._settle()
            self._panes.add_samples(samples, keys)

    def add_states(self, kinds: Kinds, states: Iterable[tuple[bytes, Any]]) -> None:
        """Add a state to each pane."""
        with self._lock:
            self._settle()
            self._panes.add_states(kinds, states)

    def changes_of_samples(self, samples: Samples, keys: Keys) -> list[Change]:
        """Return the changes that add samples."""
        self._settle()
        return self._panes.changes_of_samples(samples, keys)

    def changes_of(self, other: Panes) -> list[Change]:
        """Return the changes that add another window, whose states are taken over."""
        self._settle()
        return self._panes.changes_of(other._panes)

    def _settle(self) -> None:
        """Evict outdated panes if they are many, and forget a time of which no pane is left. No result changes."""
        newest = self._newest
        is_gone = newest is not None and self._panes.state(encode_part("datetime", newest)) is None
        if is_gone or self._panes.slots() > self._capacity:
            self._evict()

    def _clock(self) -> int | None:
        """Return the start of the newest pane of the window, or None if the window has no samples.

        It is that of the newest pane, or a later one whose samples were subtracted.
        """
        latest, newest = self._panes.newest(), self._newest
        if latest is None or newest is None or latest >= newest:
            return latest
        return newest if latest > newest - self._period else None

    def _evict(self) -> None:
        """Remove outdated panes."""
        while True:
            version, newest = self._panes.version, self._clock()
            if newest is not None:
                self._panes.drop_before(newest - self._period + 1)
                self._newest, self._capacity = newest, 2 * self._panes.count() + MIN_PANES_TO_EVICT
                return
            empty = self._panes.empty()
            if self._panes.version == version:  # no signal handler has added samples
                self._panes, self._newest, self._capacity = empty, None, MIN_PANES_TO_EVICT
                return

    def merge(self, other: Panes, sign: int = 1) -> None:
        theirs = other.copy()
        with self._lock:
            clocks = [clock for clock in (self._clock(), theirs._newest) if clock is not None]
            self._panes.merge(theirs._panes, sign)
            self._newest = max(clocks, default=None)
            self._evict()

    def is_clustered(self) -> bool | None:
        """Return whether the samples have clusters, None without samples."""
        return self._panes.is_clustered()

    def is_zero(self) -> bool:
        """Return whether there are no samples."""
        return self._clock() is None

    def copy(self) -> Panes:
        new = Panes(self._period, self._step, self._panes.empty())
        with self._lock:
            new._panes, new._newest = self._panes.copy(), self._newest
        new._evict()
        return new

    def sum(self, now: int | None) -> Any:
        """Return the sum of the window that ends with the newest pane, or with the pane that begins at ``now``."""
        with self._lock:
            newest = self._clock()
            if newest is None:
                return self._panes.empty().total()
            if now is None:
                now = newest
            elif now < newest:
                value, clock = (EPOCH + tick * MICROSECOND for tick in (now, newest))
                expected = f"{clock} or later, because the window has moved there"
                raise InputError("now", f"is in the pane from {value}", expected, value=value)
            return self._panes.total(now - self._period + 1)

    def sorted(self) -> dict[dt.datetime, Any]:
        """Return the states of the panes by their starts, in order."""
        return self.copy()._panes.sorted()

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """Return the bytes of the panes and of the clock. An empty window has none."""
        copy = self.copy()
        parts = copy._panes.parts()
        if parts:
            assert copy._newest is not None
            parts["newest"] = (copy._newest + INT64_END).to_bytes(8, "big")
        return parts

    def from_parts(self, parts: dict[str, bytes]) -> Panes:
        """Return the panes of the same lengths whose ``parts()`` these are, or raise ValueError."""
        new = Panes(self._period, self._step, self._panes.empty())
        if not parts:
            return new
        others = {name: part for name, part in parts.items() if name != "newest"}
        if not others or len(parts.get("newest", b"")) != 8:
            raise ValueError(f"it has parts {sorted(parts)}")
        new._panes = self._panes.from_parts(others)
        newest = int.from_bytes(parts["newest"], "big") - INT64_END
        starts = list(new._panes.sorted())
        if new._panes.kinds != ("datetime",) or None in starts or not EARLIEST <= newest <= LATEST:
            raise ValueError("its panes have no start")
        all_starts = np.array([(start - EPOCH) // MICROSECOND for start in starts] + [newest])
        if (periods.floor(all_starts, self._step) != all_starts).any():
            raise ValueError("its panes do not begin at whole steps")
        if not newest - self._period < all_starts.min() <= all_starts.max() == newest:
            raise ValueError("its panes are not those of a window")
        new._newest = newest
        return new
