"""``streamce watch``: follow a growing source, keep a total and windows, and raise alerts."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import streamce as ce
from streamce._support import atomic_file, printable
from streamce.cli import formatting, partitions, state_lock, watch_rules
from streamce.cli.column_resolver import ColumnResolver
from streamce.cli.config import WatchConfig
from streamce.cli.console import note, plural, print_and_save
from streamce.cli.evaluate import check_environment
from streamce.cli.metric_factory import as_option_errors, create_task_metric
from streamce.errors import DataError, SelectionError
from streamce.monitor.growing_source import GrowingSource, NewRows, is_out_of_descriptors
from streamce.monitor.http_server import ListenAddress
from streamce.monitor.open_source import open_source

MAX_ROWS = 10_000  # rows added before windows are checked, unless --chunk-rows is given
SIGNAL_POLL = 0.2  # seconds between checks for a signal
MIN_POLL = 0.01  # least seconds between checks of the source
LAST_SAVE_SECONDS = 10.0  # for the last save if no more files can be opened
EXIT_ALERT = 3  # the exit status if there was an alert
NO_ROWS = ce.Collection({"nothing yet": ce.MeanLoss()})  # the metric of a checkpoint that holds only a position
TOTAL = "total"
# Options that must not change when a watch is resumed. The state itself holds the options of the metric and windows.
FIXED_OPTIONS = ("task", "preds", "target", "weight", "cluster", "token_log_probs", "log_base", "n_words", "n_bytes",
                 "by_time", "time_unit", "encoding", "classes", "ignore_index")  # fmt: skip


def log(message: str) -> None:
    """Print a message with the time in UTC on standard error."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with contextlib.suppress(OSError):  # a log that cannot be written does not stop the watch
        note(f"{now} streamce watch: {message}")


def watch(config: WatchConfig) -> int:
    """Run ``streamce watch`` and return the exit status."""
    check_environment(config)
    if config.state is not None and os.path.realpath(config.state) == os.path.realpath(config.source):
        raise SelectionError(f"--state {config.state}: this is the source")
    windows = watch_rules.window_options(config)
    max_rows = config.chunk_rows or MAX_ROWS
    with contextlib.closing(open_source(config.source, log, max_rows, config.read_options)) as source:
        return _Watch(config, source, windows).run()


class _Watch:
    """One run: the source, the metrics of the total and the windows, the checkpoint and the page."""

    def __init__(self, config: WatchConfig, source: GrowingSource, windows: dict[str, dict[str, Any]]) -> None:
        self._config, self._source, self._windows = config, source, windows
        self._resolver = ColumnResolver(config)
        self._metric: Any = None  # a collection, created when the first rows have decided what the labels are
        self._saved: Any = None  # the collection of the previous run
        self._reference = watch_rules.load_reference(config)
        self._alerts = watch_rules.create_alerts(config, windows, self._reference)
        self._checkpoint: ce.Checkpoint | None = None
        self._classes: Any = None
        self._is_consistent = True  # whether the position of the source is that of the counted rows
        self._is_dirty = False  # whether there is something to save
        self._status: Any = None  # a WatchStatus, if a page is served
        self._was_exhausted = False  # whether it was logged that no more files can be opened
        self._rows_resumed = 0

    def run(self) -> int:
        """Follow the source to its end, or until a signal, and return the exit status."""
        config = self._config
        with contextlib.ExitStack() as stack:
            if config.state is not None:
                stack.enter_context(state_lock.locked("--state", config.state))
                self._resume()
            stopped = stack.enter_context(_stop_signals())
            if config.port is not None:
                stack.enter_context(self._serve(config.port))
            try:
                self._loop(stopped)
            finally:  # rows that were counted before an error are saved too
                self._save_last()
        if message := self._source.pending:
            log(message)
        return self._end()

    @contextlib.contextmanager
    def _serve(self, port: int) -> Iterator[None]:
        """Serve the page in this context."""
        config = self._config
        try:
            from streamce.monitor import metrics_page  # here, because it needs prometheus-client
        except ModuleNotFoundError as error:
            raise SelectionError(str(error)) from error
        self._status = metrics_page.WatchStatus((*self._windows,), self._alerts, self._reference, self._saved)
        self._update_status()
        address = ListenAddress(config.host, port, config.allowed_host)
        with contextlib.ExitStack() as stack:
            page = metrics_page.serving(self._status, address, config.level, config.anytime, log)
            try:
                stack.enter_context(page)
            except (OSError, UnicodeError) as error:  # UnicodeError for a host name that cannot be encoded
                cause = getattr(error, "strerror", None) or error
                raise SelectionError(f"--port {port}: {config.host}: {cause}") from error
            yield

    def _update_status(self) -> None:
        if self._status is not None:
            self._status.rows, self._status.unreadable = self._source.rows, self._source.unreadable

    # ---- rows ----

    def _loop(self, stopped: Callable[[], bool]) -> None:
        source, config = self._source, self._config
        last = time.monotonic()
        while not stopped():
            try:
                any_new = self._next(stopped)
            except (OSError, DataError) as error:
                if not (self._is_consistent and is_out_of_descriptors(error)):
                    raise
                self._log_exhausted(error)
            else:
                self._save()
                if any_new:
                    last = time.monotonic()
                    continue
                idle = time.monotonic() - last
                if source.ended or (config.until_idle is not None and idle >= config.until_idle):
                    return
                if config.once and not source.rotating:
                    return
            _wait(max(config.poll, MIN_POLL), stopped)

    def _next(self, stopped: Callable[[], bool]) -> bool:
        """Count new rows, and return whether there were any."""
        if self._source.find() and self._metric is None:
            self._is_dirty = True
            self._save(now=True)
        new = self._source.next()
        if self._status is not None:  # unreadable lines can arrive without new rows
            self._status.unreadable = self._source.unreadable
        if new is not None:
            self._count(new, stopped)
        return new is not None

    def _log_exhausted(self, error: Exception) -> None:
        """Log that no more files can be opened, once until a save succeeds."""
        if not self._was_exhausted:
            message = str(error)
            if isinstance(error, OSError) and error.filename is not None:
                message = f"{error.filename}: {error.strerror}"
            log(f"{message}: trying again")
        self._was_exhausted = True

    def _count(self, new: NewRows, stopped: Callable[[], bool]) -> None:
        """Add new rows, and check the windows after each chunk."""
        reading = partitions.open_reading(self._config, [new.source], self._resolver, [])
        if self._metric is None:
            self._create_metric()
        labels = self._resolver.labels
        with contextlib.closing(reading.chunks(new.start)) as chunks:
            for chunk in chunks:
                # An interrupt may come between counting the rows and noting their position.
                before, self._is_consistent = self._is_consistent, False
                try:
                    partitions.add_chunk(self._metric, chunk, labels)
                except DataError:  # nothing of the chunk was added
                    self._is_consistent = before
                    raise
                self._classes = labels.classes if labels else None
                self._is_consistent, self._is_dirty = self._source.mark_counted(chunk.end), True
                self._check_windows()
                self._note_rows()
                self._save()
                if self._is_consistent and stopped():  # within a file, because it may be large
                    return
        self._source.note_unreadable(reading.unreadable, reading.first_unreadable)
        self._source.finish()
        self._is_consistent = self._is_dirty = True
        self._note_rows()

    def _note_rows(self) -> None:
        """Show the counted rows on the page."""
        if self._status is not None:
            self._update_status()
            self._status.note_rows()

    def _create_metric(self) -> None:
        """Create the collection, and load the state of the previous run into it."""
        config, labels = self._config, self._resolver.labels
        metrics: dict[str, Any] = {TOTAL: create_task_metric(config, labels, per_label=True)}
        # A window of samples keeps each sample, which takes much memory if a sample has more than one sum.
        plain_config = replace(config, tail=None, calibration=None, divergence=None)
        of_samples, of_time = (create_task_metric(each, labels, per_label=False) for each in (plain_config, config))
        with as_option_errors():
            for name, options in self._windows.items():
                metrics[name] = ce.Sliding(of_samples if "samples" in options else of_time, **options)
            self._metric = ce.Collection(metrics)
        if labels and self._classes:
            labels.decide(self._classes)
        if self._saved is not None:
            try:
                self._metric.load_state_dict(self._saved.state_dict())
            except ce.InputError as error:
                raise DataError(f"{error}: remove it to start anew").with_place(self._checkpoint_path) from error
        if self._status is not None:
            self._status.metric = self._metric

    def _check_windows(self) -> None:
        """Log the alerts that begin and end."""
        if self._alerts.rules:
            config = self._config
            for name in self._windows:
                window = self._metric._state.metrics[name]
                for message in self._alerts.check(name, window.summary(config.level, config.anytime)):
                    log(message)

    # ---- state ----

    @property
    def _checkpoint_path(self) -> str:
        return f"{self._config.state}.checkpoint"

    def _resume(self) -> None:
        """Load the checkpoint of the previous run, if there is one."""
        assert self._config.state is not None
        state, path = self._config.state, self._checkpoint_path
        atomic_file.remove_stale_temporaries(state)
        self._checkpoint = ce.Checkpoint(path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            metric, saved = self._checkpoint.load()
        for warning in caught:
            log(f"warning: {warning.message}")
        if metric is None or metric == NO_ROWS:
            if os.path.exists(state) and os.path.getsize(state):
                reason = f"there is no {path}" if metric is None else f"{path} has no rows"
                raise DataError(f"{state}: this is not the state of a watch, because {reason}")
            if metric is None:
                return
        try:
            options, position = saved["options"], saved["at"]
            if metric == NO_ROWS:  # options may change, because nothing is counted
                if options.get("source") == self._fixed_options()["source"]:
                    self._source.restore(position)
                return
            self._classes = saved["classes"]
            self._alerts.restore(saved["alerts"])
            for option, now in self._fixed_options().items():
                if options.get(option) != now:
                    raise DataError(f"{option} has changed since {path} was begun: remove it to start anew")
            self._source.restore(position)
            self._saved = ce.Collection({name: metric[name]._new() for name in (TOTAL, *self._windows)})
            self._saved.load_state_dict(metric.state_dict())
        except DataError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError):
            raise DataError(f"{path}: this is not a checkpoint of streamce watch") from None
        self._rows_resumed = self._source.rows
        self._saved[TOTAL].save(state)  # in case the previous run was stopped between the checkpoint and the state
        log(f"resuming after {plural(self._rows_resumed, 'row')}")

    def _fixed_options(self) -> dict[str, Any]:
        """Return the options that must not change, as JSON values by their names."""
        source = self._config.source
        absolute = source if source == "-" or "://" in source else os.path.abspath(source)
        options: dict[str, Any] = {"source": absolute, "--window": [*self._windows]}
        for name in FIXED_OPTIONS:
            value = getattr(self._config, name)
            options[f"--{name.replace('_', '-')}"] = ([*value] or None) if isinstance(value, tuple) else value
        return options

    def _save(self, now: bool = False) -> None:
        """Save the collection with the position, and then the total, if a save is due or ``now``."""
        if self._checkpoint is None or not (self._is_dirty and self._is_consistent):
            return
        position = {"options": self._fixed_options(), "at": self._source.position, "alerts": self._alerts.position,
                    "classes": self._classes}  # fmt: skip
        metric = self._metric or self._saved or NO_ROWS
        try:
            if self._checkpoint.save(metric, position, every=0.0 if now else self._config.checkpoint_every):
                if metric is not NO_ROWS and self._config.state is not None:
                    metric[TOTAL].save(self._config.state)
                self._is_dirty = self._was_exhausted = False
        except OSError as error:
            if not is_out_of_descriptors(error):
                raise
            self._log_exhausted(error)

    def _save_last(self) -> None:
        """Save at the end. If no more files can be opened, retry for LAST_SAVE_SECONDS."""
        self._save(now=True)
        end = time.monotonic() + LAST_SAVE_SECONDS
        while self._was_exhausted and self._is_dirty and time.monotonic() < end:
            time.sleep(SIGNAL_POLL)
            self._save(now=True)
        if self._was_exhausted and self._is_dirty:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), self._checkpoint_path)

    # ---- the end ----

    def _end(self) -> int:
        """Print the result and return the exit status."""
        config, rows = self._config, self._source.rows
        metric = self._metric or self._saved
        status = EXIT_ALERT if self._alerts.count else 0
        if metric is None:
            log("no rows have arrived")
            return status

        def print_result() -> None:
            if config.json:
                extra = {"rows": rows, "rows_resumed": self._rows_resumed, "unreadable_lines": self._source.unreadable}
                extra["alerts"] = self._alerts.count
                formatting.print_json(metric, config.view, extra)
            else:
                resumed = f", resumed at row {self._rows_resumed:,}" if self._rows_resumed else ""
                name = printable.line(self._source.name)
                print(f"{name}: {plural(rows, 'row')}{resumed}, {config.task}, kind={config.kind}\n")
                formatting.print_table(metric, config.view)

        return print_and_save(print_result, lambda: 0, lambda: status)


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    """Wait for some seconds, or until a signal."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stopped():
        time.sleep(min(left, SIGNAL_POLL))


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Handle SIGINT and SIGTERM in this context, and yield a function that returns whether one was received.

    The handler only sets a flag, because it must not take a lock. A second signal interrupts.
    """
    received: list[int] = []

    def handle(number: int, _: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
