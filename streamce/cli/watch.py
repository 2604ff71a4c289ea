"""``streamce watch``."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import errno
import functools
import math
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

import streamce as ce
from streamce._support import atomic_file, printable
from streamce.cli import arguments, formatting, partitions, state_lock
from streamce.cli.column_resolver import Chooser
from streamce.cli.console import fail, many, note, show_and_save
from streamce.cli.evaluate import unready
from streamce.cli.metric_factory import naming_options, of_task
from streamce.errors import DataError, SelectionError
from streamce.inputs.arrow import inner, is_list
from streamce.keys import periods
from streamce.monitor.alerts import Alerts, Bound, Reference, Rule
from streamce.monitor.growing_source import Following, Piece, is_out_of_descriptors
from streamce.monitor.open_source import follow
from streamce.reading.columns import select
from streamce.reading.tables import Table

ROWS = 10_000  # lines taken together, unless the caller says how many
NAP = 0.2  # seconds after which a signal is noticed at the latest
LEAST = 0.01  # seconds between two looks
LAST_SAVE = 10.0  # seconds to retry the last save if no more files can be opened
ALERTED = 3  # the exit status
NOTHING_YET = ce.Collection({"nothing yet": ce.MeanLoss()})  # in a checkpoint that holds only a position
TOTAL = "total"
# Options that must stay what they were. Those of the metric and the windows are compared with the state's.
SAME = ("task", "preds", "target", "weight", "cluster", "token_log_probs", "n_words", "n_bytes", "by_time", "classes",
        "ignore_index")  # fmt: skip


def say(word: str) -> None:
    """A line on standard error, with the time in UTC."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with contextlib.suppress(OSError):  # a log that cannot be written does not stop the watch
        note(f"{now} streamce watch: {word}")


def watch(options: argparse.Namespace) -> int:
    options.by = None
    if status := unready(options):
        return status
    if options.state is not None and os.path.realpath(options.state) == os.path.realpath(options.source):
        return fail(f"--state {options.state}: this is what is followed", 2)
    if options.allowed_host and options.port is None:
        return fail("--allowed-host needs --port", 2)
    following = None
    try:
        lengths = _lengths(options)
        rows, skips = options.chunk_rows or ROWS, options.invalid == "skip"
        following = follow(options.source, say, rows, skips, functools.partial(_tells, options), options.max_record)
        return _Watch(options, following, lengths).run()
    except DataError as error:
        return fail(str(error), 1)
    except SelectionError as error:
        return fail(str(error), 2)
    finally:
        if following is not None:
            following.close()


def _tells(options: argparse.Namespace, table: Table) -> bool:
    """Whether a line tells predictions from labels: a program may write 1 for 1.0, but not always."""
    with contextlib.suppress(SelectionError):  # which is for the reading to say
        leaves = [table.type(name) for name in select(options.preds, table.names())]
        while any(is_list(leaf) for leaf in leaves):
            leaves = [inner(leaf) for leaf in leaves]
        return not all(pa.types.is_integer(leaf) for leaf in leaves)
    return True


def _lengths(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What windows are made with, by their names."""
    found: dict[str, dict[str, Any]] = {}
    for word in options.window or ["10000"]:
        if word.isdecimal():
            made: dict[str, Any] = {"samples": int(word)}
        else:
            with naming_options():
                period = periods.microseconds(word, "window")
            step = options.step or f"{max(1, period // 60)}us"
            made = {"period": word, "step": step}
        try:
            shown = ce.Sliding(ce.MeanLoss(), **made).options
        except ce.InputError as error:
            option = "window" if error.argument == "samples" else error.argument
            raise SelectionError(str(error)).with_place(f"--{option}") from error
        found[f"last_{shown['samples'] or shown['period']}"] = made
    of_time = any("period" in made for made in found.values())
    if of_time and not options.by_time:
        raise SelectionError("--window of a period needs --by-time, a column of times")
    if options.by_time and not of_time:
        raise SelectionError("--by-time needs --window with a period, such as 1h")
    if options.step and not of_time:
        raise SelectionError("--step needs --window with a period, such as 1h")
    return found


class _Watch:
    """A run: what it follows, what it has counted, and what it says about that."""

    def __init__(self, options: argparse.Namespace, following: Following, lengths: dict[str, dict[str, Any]]) -> None:
        self._options, self._following, self._lengths = options, following, lengths
        self._chooser = Chooser(options)
        self._metric: Any = None  # a collection, once labels tell what it is made with
        self._saved: Any = None  # that of the run before
        self._reference = _reference(options)
        # Of a window of samples half are enough: those that are invalid take places, too.
        most = {name: made.get("samples", 2 * options.alert_samples) // 2 for name, made in lengths.items()}
        self._alerts = Alerts(self._rules(), {name: min(options.alert_samples, half) for name, half in most.items()})
        self._checkpoint: ce.Checkpoint | None = None
        self._classes: Any = None
        self._settled = True  # whether the position is that of what is counted
        self._dirty = False  # whether anything is not saved
        self._shown: Any = None
        self._exhausted = False  # whether it was reported that no more files can be opened
        self._resumed = 0

    def _rules(self) -> list[Rule]:
        options = self._options
        rules: list[Rule] = []
        if options.alert_above is not None:
            rules.append(Bound("above", options.alert_above))
        if options.alert_below is not None:
            rules.append(Bound("below", options.alert_below))
        if self._reference is not None:
            rules.append(Reference(self._reference))
        return rules

    def run(self) -> int:
        """Follow the source to its end, or until a signal."""
        options = self._options
        with contextlib.ExitStack() as stack:
            if options.state is not None:
                stack.enter_context(state_lock.locked("--state", options.state))
                self._begin()
            stopped = stack.enter_context(_stopping())
            if options.port is not None:
                try:
                    from streamce.monitor import metrics_page  # here: it needs prometheus-client
                except ModuleNotFoundError as error:
                    return fail(str(error), 2)
                shown = metrics_page.Shown((*self._lengths,), self._alerts, self._reference, self._saved)
                self._shown = shown
                shown.rows, shown.unreadable = self._following.rows, self._following.unreadable
                look = options.level, options.anytime
                server = metrics_page.serving(shown, options.host, options.port, *look, say, options.allowed_host)
                try:
                    stack.enter_context(server)
                except (OSError, UnicodeError) as error:  # of a name that is none
                    why = getattr(error, "strerror", None) or error
                    return fail(f"--port {options.port}: {options.host}: {why}", 2)
            try:
                self._loop(stopped)
            finally:  # an error too ends what was counted before it
                self._save_last()
        if word := self._following.left:
            say(word)
        return self._end()

    def _loop(self, stopped: Callable[[], bool]) -> None:
        following, options = self._following, self._options
        last = time.monotonic()
        while not stopped():
            try:
                piece = self._next(stopped)
            except (OSError, DataError) as error:
                if not (self._settled and is_out_of_descriptors(error)):
                    raise
                self._say_exhausted(error)
            else:
                self._save()
                if piece:
                    last = time.monotonic()
                    continue
                idle = time.monotonic() - last
                if following.ended or (options.until_idle is not None and idle >= options.until_idle):
                    return
                if options.once and not following.turning:
                    return
            _wait(max(options.poll, LEAST), stopped)

    def _next(self, stopped: Callable[[], bool]) -> bool:
        """Count new rows; return whether there were any."""
        if self._following.find() and self._metric is None:
            self._dirty = True
            self._save(now=True)
        piece = self._following.next()
        if self._shown is not None:  # lines that are not rows are in no piece
            self._shown.unreadable = self._following.unreadable
        if piece is not None:
            self._count(piece, stopped)
        return piece is not None

    def _say_exhausted(self, error: Exception) -> None:
        """Report that no more files can be opened, once until a save succeeds."""
        if not self._exhausted:
            where = str(error)
            if isinstance(error, OSError) and error.filename is not None:
                where = f"{error.filename}: {error.strerror}"
            say(f"{where}: trying again")
        self._exhausted = True

    def _count(self, piece: Piece, stopped: Callable[[], bool]) -> None:
        """Add a piece, and judge the windows after each chunk."""
        reading = partitions.opened(self._options, [piece.source], self._chooser, [])
        if self._metric is None:
            self._make()
        labels = self._chooser.labels
        with contextlib.closing(reading.chunks(piece.start)) as found:
            for chunk in found:
                settled, self._settled = self._settled, False  # an interrupt may come between the rows and their place
                try:
                    partitions.add(self._metric, chunk, labels)
                except DataError:  # nothing of it was added
                    self._settled = settled
                    raise
                self._classes = labels.classes if labels else None
                self._settled, self._dirty = self._following.reached(chunk.end), True
                self._judge()
                self._came()
                self._save()
                if self._settled and stopped():  # within a file, which may be large
                    return
        self._following.finished()
        self._settled = self._dirty = True
        self._came()

    def _came(self) -> None:
        """Let others see what has been counted."""
        if self._shown is not None:
            self._shown.rows, self._shown.unreadable = self._following.rows, self._following.unreadable
            self._shown.came()

    def _make(self) -> None:
        """The collection, and what the run before had in it."""
        options, labels = self._options, self._chooser.labels
        metrics: dict[str, Any] = {TOTAL: of_task(options, labels, per_label=True)}
        plain = argparse.Namespace(**{**vars(options), "tail": None, "calibration": None, "divergence": None})
        of_a_window = of_task(plain, labels, per_label=False)
        with naming_options():
            metrics |= {name: ce.Sliding(of_a_window, **made) for name, made in self._lengths.items()}
            self._metric = ce.Collection(metrics)
        if labels and self._classes:
            labels.settle(self._classes)
        if self._saved is not None:
            try:
                self._metric.load_state_dict(self._saved.state_dict())
            except ce.InputError as error:
                raise DataError(f"{error}: remove it to begin anew").with_place(self._name) from error
        if self._shown is not None:
            self._shown.metric = self._metric

    def _judge(self) -> None:
        if self._alerts.rules:
            options = self._options
            for name in self._lengths:
                window = self._metric._state.metrics[name]
                for word in self._alerts.judge(name, window.summary(options.level, options.anytime)):
                    say(word)

    # ---- saving ----

    @property
    def _name(self) -> str:
        return f"{self._options.state}.checkpoint"

    def _begin(self) -> None:
        """Take over what the run before has left."""
        atomic_file.sweep(self._options.state)
        self._checkpoint = ce.Checkpoint(self._name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            metric, said = self._checkpoint.load()
        for warning in caught:
            say(f"warning: {warning.message}")
        begun = metric is not None
        if not begun or metric == NOTHING_YET:
            if os.path.exists(self._options.state) and os.path.getsize(self._options.state):
                why = f"{self._name} has no rows" if begun else f"there is no {self._name}"
                raise DataError(f"{self._options.state}: this state is no watch's, as {why}")
            if not begun:
                return
        try:
            same, at = said["options"], said["at"]
            if metric == NOTHING_YET:  # options may change, because nothing is counted
                if same.get("source") == self._same()["source"]:
                    self._following.restore(at)
                return
            self._classes = said["classes"]
            self._alerts.restore(said["alerts"])
            for option, now in self._same().items():
                if same.get(option) != now:
                    raise DataError(f"{option} has changed since {self._name} was begun: remove it to begin anew")
            self._following.restore(at)
            self._saved = ce.Collection({name: metric[name]._empty() for name in (TOTAL, *self._lengths)})
            self._saved.load_state_dict(metric.state_dict())
        except DataError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError):
            raise DataError(f"{self._name}: this is no checkpoint of streamce watch") from None
        self._resumed = self._following.rows
        self._saved[TOTAL].save(self._options.state)  # in case the run before was stopped before it did
        say(f"going on after {many(self._resumed, 'row')}")

    def _same(self) -> dict[str, Any]:
        source = self._options.source
        there = source if source == "-" or "://" in source else os.path.abspath(source)
        found = {f"--{name.replace('_', '-')}": getattr(self._options, name) for name in SAME}
        return {"source": there, "--window": [*self._lengths], **found}

    def _save(self, now: bool = False) -> None:
        """Save the collection with the position, and then the total, if it is time to."""
        if self._checkpoint is None or not (self._dirty and self._settled):
            return
        said = {"options": self._same(), "at": self._following.position, "alerts": self._alerts.position,
                "classes": self._classes}  # fmt: skip
        metric = self._metric or self._saved or NOTHING_YET
        try:
            if self._checkpoint.save(metric, said, every=0.0 if now else self._options.checkpoint_every):
                if metric is not NOTHING_YET:
                    metric[TOTAL].save(self._options.state)
                self._dirty = self._exhausted = False
        except OSError as error:
            if not is_out_of_descriptors(error):
                raise
            self._say_exhausted(error)

    def _save_last(self) -> None:
        """Save what is not saved. If no more files can be opened, retry for LAST_SAVE seconds."""
        self._save(now=True)
        end = time.monotonic() + LAST_SAVE
        while self._exhausted and self._dirty and time.monotonic() < end:
            time.sleep(NAP)
            self._save(now=True)
        if self._exhausted and self._dirty:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), self._name)

    # ---- the end ----

    def _end(self) -> int:
        """Print the result; the exit status."""
        options, rows = self._options, self._following.rows
        metric = self._metric or self._saved
        status = ALERTED if self._alerts.raised else 0
        if metric is None:
            say("no row came")
            return status

        def show_it() -> None:
            if options.json:
                more = {"rows": rows, "rows_resumed": self._resumed, "unreadable_lines": self._following.unreadable}
                more["alerts"] = self._alerts.raised
                formatting.print_json(metric, options.level, options.anytime, more)
            else:
                resumed = f", resumed at row {self._resumed:,}" if self._resumed else ""
                name = printable.line(self._following.name)
                print(f"{name}: {many(rows, 'row')}{resumed}, {options.task}, kind={options.kind}\n")
                formatting.print_table(metric, options.level, options.anytime)

        return show_and_save(show_it, lambda: 0) or status


def _reference(options: argparse.Namespace) -> Any:
    """The summary of the state to compare with, None without one."""
    if options.reference is None:
        return None
    try:
        metric = ce.load(options.reference)
    except OSError as error:
        raise SelectionError(f"--reference {options.reference}: {error.strerror or error}") from error
    made = arguments.METRICS[options.task]
    of = metric.metric if isinstance(metric, ce.Grouped) else metric
    if type(of) is not made:
        why = f"a {type(of).__name__} is no reference for a {made.__name__}"
        raise SelectionError(f"--reference {options.reference}: {why}")
    with naming_options():
        given = {
            name: value for name in ("label_smoothing", "per") if (value := getattr(options, name, None)) is not None
        }
        ours = made(**given).options
    for name in ("label_smoothing", "per", "class_weight", "pos_weight"):  # it is another loss with another of these
        if of.options.get(name) != ours.get(name):
            why = f"its {name} is {of.options[name]!r}, expected {ours[name]!r} as here"
            raise SelectionError(f"--reference {options.reference}: {why}")
    found = formatting.whole(metric, options.level, options.anytime)
    if any(map(math.isnan, found.interval)):
        why = f"its mean has no interval, with {many(found.samples, 'sample')} and the value {found.value}"
        raise SelectionError(f"--reference {options.reference}: {why}")
    return found


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stopped():
        time.sleep(min(left, NAP))


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came; the second one interrupts. A flag, as a handler may hold no lock."""
    came: list[int] = []

    def on(number: int, _: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
