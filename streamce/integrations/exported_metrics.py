"""Reads metrics into named samples, which the collector of Prometheus and the instruments of OpenTelemetry export.

docs/MONITORING.md lists the names.
"""

from __future__ import annotations

import datetime as dt
import glob
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from streamce._support import printable, scalars
from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.keys.encoding import time_sort_key
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.mergeable import MergeableState
from streamce.persistence.restore import load
from streamce.stats.estimators import INVALID
from streamce.wrappers.collection import Collection

if TYPE_CHECKING:
    from streamce.metrics.gan import GANCrossEntropy
    from streamce.stats.summary import Summary
    from streamce.stats.tail import Tail
    from streamce.wrappers.grouped import Grouped
    from streamce.wrappers.paired import Paired

Labels = dict[str, str]
Sums = Callable[["Summary", Labels, Iterable[str]], None]  # exports the sums of a summary, with these causes


class Sample(NamedTuple):
    """A number of a family. The name of a sample is that of its family and a suffix."""

    suffix: str
    labels: Labels
    value: float


Samples = dict[str, list[Sample]]  # by the end of the name of their family

# Type and help of the families, by the end of their names.
FAMILIES = {
    "value": ("gauge", "The value of the metric: the mean loss in nats, unless it is a perplexity or another ratio."),
    "value_low": ("gauge", "Lower end of the confidence interval of the value."),
    "value_high": ("gauge", "Upper end of the confidence interval of the value."),
    "mean_nats": ("gauge", "Mean loss in nats."),
    "stderr_nats": ("gauge", "Standard error of the mean loss in nats."),
    "p_value": ("gauge", "Two-sided p-value of the difference of two models."),
    "loss_nats": ("summary", "Sum of the weighted losses in nats, and the number of losses."),
    "weight": ("counter", "Sum of the weights: the mean is the sum of the losses over this."),
    "samples": ("counter", "Samples that the losses belong to."),
    "odd_losses": ("counter", "Losses with an anomaly, by cause. Some of them are not part of the mean."),
    "loss_distribution_nats": ("histogram", "Losses per unit of weight in nats, without those of weight 0."),
    "window_loss_nats": ("gauge", "Sum of the weighted losses in the window, in nats."),
    "window_losses": ("gauge", "Losses in the window."),
    "window_weight": ("gauge", "Sum of the weights in the window."),
    "window_samples": ("gauge", "Samples that the losses in the window belong to."),
    "window_odd_losses": ("gauge", "Losses in the window with an anomaly, by cause."),
    "groups": ("gauge", "Number of groups."),
    "groups_left_out": ("gauge", "Groups that are not exported, because others have more samples."),
    "state_files": ("gauge", "State files that were added."),
    "unreadable": ("gauge", "1 for each metric and each state file that could not be read."),
}
MODEL_CAUSES = ("floored", "infinite", "unnormalised")  # counted for each of two models
CAUSES = ("ignored", "infeasible", *MODEL_CAUSES, *INVALID)
# Edges of the histogram, two for each power of two. They are edges of the tail's bins, so the counts are exact.
EDGES = tuple(2.0**octave * step for octave in range(-10, 6) for step in (1.0, 1.5))

_log = logging.getLogger("streamce")


class Exporter:
    """Reads the metrics of a source, each time into one consistent set of samples.

    Its parameters are those of :class:`streamce.integrations.prometheus.Collector`, without the name.
    """

    def __init__(self, source: Any, level: float, anytime: bool, max_groups: int) -> None:
        if not (isinstance(source, (MergeableState, Mapping, str, os.PathLike)) or callable(source)):
            expected = "a metric, metrics by name, a function that returns these, or the path of state files"
            raise InputError("source", f"is {short_repr(source)}", expected, value=source)
        if isinstance(source, Mapping):
            for key, metric in source.items():
                if not isinstance(key, str) or not isinstance(metric, MergeableState):
                    found = f"has {short_repr(metric)} by the name {short_repr(key)}"
                    raise InputError("source", found, "metrics by name", value=metric)
        groups = scalars.to_int(max_groups)
        if groups is None or groups < 0:
            raise InputError("max_groups", f"is {short_repr(max_groups)}", "a whole number", value=max_groups)
        BinaryCrossEntropy().summary(level, anytime)  # raises if they are invalid
        self._source, self._options = source, (level, anytime, groups)
        self._logged: set[tuple[str, str]] = set()

    def read(self) -> Samples:
        """Return the samples of the current metrics. It reads one copy of each state."""
        reading = _Reading(*self._options)
        names: set[str | None] = set()
        for labels, metric, window in self._metrics(reading):
            if labels.get("metric") in names:  # a metric "a.b", and the member "b" of a collection "a"
                self._unreadable(reading, labels, f"{labels['metric']}: another metric has this name")
                continue
            names.add(labels.get("metric"))
            try:
                reading.read(labels, metric, window)
            except InputError as error:  # more was subtracted than had been added
                self._unreadable(reading, labels or {"metric": type(metric).__name__}, str(error))
        return reading.samples

    def _metrics(self, reading: _Reading) -> Iterator[tuple[Labels, MergeableState, bool]]:
        """Yield copies of the current metrics, each with its labels and whether it is a window."""
        source = self._source
        if callable(source) and not isinstance(source, MergeableState):
            try:
                source = source()
            except Exception as error:  # any exception of the caller's function
                self._unreadable(reading, {"metric": "source"}, f"source failed: {error!r}")
                return
        if isinstance(source, (str, os.PathLike)):
            source = self._sum(reading, os.fspath(source))
        if isinstance(source, Mapping):
            for name, metric in list(source.items()):  # a copy, because other threads may add metrics
                if isinstance(name, str) and isinstance(metric, MergeableState):
                    yield from _named(name, metric)
                else:
                    self._unreadable(reading, {"metric": str(name)}, f"{name!r} is {short_repr(metric)}, not a metric")
        elif isinstance(source, MergeableState):
            yield from _named("", source)
        elif source is not None:
            self._unreadable(reading, {"metric": "source"}, f"source returned {short_repr(source)}, not a metric")

    def _sum(self, reading: _Reading, path: str) -> MergeableState | None:
        """Return the sum of the state files, None if there are none."""
        is_folder = os.path.isdir(path)
        pattern = os.path.join(glob.escape(path), "*.state") if is_folder else path
        total: MergeableState | None = None
        n_files = 0
        for file in sorted(glob.glob(pattern, recursive=True)):
            try:
                metric = load(file)
                total = metric if total is None else total.merge(metric)
                n_files += 1
            except FileNotFoundError:  # a worker has just removed it
                pass
            except (InputError, OSError) as error:
                self._unreadable(reading, {"file": os.path.basename(file) if is_folder else file}, str(error))
        reading.add("state_files", "", {}, n_files)
        return total

    def _unreadable(self, reading: _Reading, labels: Labels, why: str) -> None:
        reading.add("unreadable", "", labels, 1)
        entry = json.dumps(labels, sort_keys=True), why
        if entry not in self._logged:
            self._logged.add(entry)
            _log.warning("not exported: %s", printable.line(why))


def _printable(text: str) -> str:
    """Return the text with escapes for characters that UTF-8 cannot encode, which names of files may contain."""
    return text.encode(errors="backslashreplace").decode()


class _Reading:
    """The samples of one reading."""

    def __init__(self, level: float, anytime: bool, max_groups: int) -> None:
        self._view, self._max_groups = (level, anytime), max_groups
        self.samples: Samples = {}

    def add(self, end: str, suffix: str, labels: Labels, value: float, **more: str) -> None:
        labels = {label: _printable(text) for label, text in labels.items()}
        self.samples.setdefault(end, []).append(Sample(suffix, labels | more, float(value)))

    @in_default_mode
    def read(self, labels: Labels, metric: Any, window: bool) -> None:
        """Export a metric that no other thread updates. Read all of it first, so that an error exports nothing."""
        sections = metric._sections()
        if "group_means" in sections:
            self._groups(metric, labels)
        elif "current" in sections:
            self.read(labels, metric._current(), True)
        else:
            readers: dict[str, Callable[[Any, Labels, Sums], None]] = {"paired": self._paired, "gan": self._gan}
            readers.get(sections[0], self._total)(metric, labels, self._window if window else self._stream)

    def _total(self, metric: Any, labels: Labels, sums: Sums) -> None:
        """Export a metric with one sum."""
        summary = metric.summary(*self._view)
        tail = metric.tail() if "tail" in metric._sections() and sums == self._stream else None
        self._value(summary.value, summary.interval, labels)
        sums(summary, labels, CAUSES)
        if tail is not None:
            self._tail(tail, labels)

    def _gan(self, metric: GANCrossEntropy, labels: Labels, sums: Sums) -> None:
        gan = metric.summary(*self._view)
        self._value(gan.value, gan.interval, labels)
        for part in ("real", "fake", "generator"):
            sums(getattr(gan, part), labels | {"part": part}, CAUSES)

    def _value(self, value: float, interval: tuple[float, float], labels: Labels) -> None:
        self.add("value", "", labels, value)
        self.add("value_low", "", labels, interval[0])
        self.add("value_high", "", labels, interval[1])

    def _mean(self, summary: Summary, labels: Labels) -> None:
        self.add("mean_nats", "", labels, summary.mean)
        self.add("stderr_nats", "", labels, summary.stderr)

    def _stream(self, summary: Summary, labels: Labels, causes: Iterable[str]) -> None:
        """Export the summary of a stream, whose sums are counters."""
        self._mean(summary, labels)
        self.add("loss_nats", "_sum", labels, summary.total)
        self.add("loss_nats", "_count", labels, summary.count)
        self.add("weight", "", labels, summary.weight)
        self.add("samples", "", labels, summary.samples)
        for cause in causes:
            self.add("odd_losses", "", labels, getattr(summary, cause), cause=cause)

    def _window(self, summary: Summary, labels: Labels, causes: Iterable[str]) -> None:
        """Export the summary of a window, whose sums are gauges."""
        self._mean(summary, labels)
        self.add("window_loss_nats", "", labels, summary.total)
        self.add("window_losses", "", labels, summary.count)
        self.add("window_weight", "", labels, summary.weight)
        self.add("window_samples", "", labels, summary.samples)
        for cause in causes:
            self.add("window_odd_losses", "", labels, getattr(summary, cause), cause=cause)

    def _groups(self, grouped: Grouped, labels: Labels) -> None:
        number = len(grouped)
        if grouped.options["period"] is None:
            exported = [key for key, _ in grouped.largest(self._max_groups)]
        else:
            exported = sorted(grouped.keys(), key=time_sort_key)[::-1][: self._max_groups]
        metrics = {key: grouped[key] for key in exported}
        for metric in metrics.values():
            metric.summary()  # raises if it cannot be read
        self.add("groups", "", labels, number)
        self.add("groups_left_out", "", labels, number - len(exported))
        for key, metric in metrics.items():
            self.read(labels | _key_labels(key), metric, False)

    def _paired(self, metric: Paired, labels: Labels, sums: Sums) -> None:
        paired = metric.summary(*self._view)
        self._value(paired.difference.value, paired.difference.interval, labels)
        self.add("p_value", "", labels, paired.p_value)
        for part, summary in (("a", paired.a), ("b", paired.b)):
            sums(summary, labels | {"part": part}, MODEL_CAUSES)
        odd = "odd_losses" if sums == self._stream else "window_odd_losses"
        for cause in CAUSES:
            if cause not in MODEL_CAUSES:  # a loss that one model excludes is excluded for both
                self.add(odd, "", labels, getattr(paired.difference, cause), cause=cause)

    def _tail(self, tail: Tail, labels: Labels) -> None:
        bins, below = iter(tail.bins), 0
        bin_ = next(bins, None)
        for edge in EDGES:
            while bin_ is not None and bin_[1] <= edge:
                below += bin_[2]
                bin_ = next(bins, None)
            self.add("loss_distribution_nats", "_bucket", labels, below, le=str(edge))
        self.add("loss_distribution_nats", "_bucket", labels, tail.count, le="+Inf")
        self.add("loss_distribution_nats", "_sum", labels, sum(total for *_, total in tail.bins))
        self.add("loss_distribution_nats", "_count", labels, tail.count)


def _named(name: str, metric: Any) -> list[tuple[Labels, MergeableState, bool]]:
    """Return a copy of a metric, or of each metric of a collection, with its labels and whether it is a window."""
    if isinstance(metric, Collection):
        members = metric._state
        with members.lock:  # so that the copies are consistent
            lists = [_named(f"{name}.{inner}" if name else inner, each) for inner, each in members.metrics.items()]
        return [each for copies in lists for each in copies]
    is_window = metric._sections()[0] == "current" and "group_means" not in metric._sections()
    copy = metric._current() if is_window else metric.copy()  # without the samples of a window
    if "members" in copy._sections():  # groups of a collection
        lists = [_named(f"{name}.{inner}" if name else inner, each) for inner, each in copy._members().items()]
        return [each for copies in lists for each in copies]
    return [({"metric": name} if name else {}, copy, is_window)]


def _key_labels(key: Any) -> Labels:
    """Return the labels of a group, which differ for different keys."""
    if isinstance(key, tuple):
        return {f"group_{i}": text for i, part in enumerate(key) if (text := _text(part))}
    return {"group": text} if (text := _text(key)) else {}


def _text(part: Any) -> str:
    """Return a part of a key as text, and empty text, which Prometheus treats as no label, for None."""
    if part is None:
        return ""
    if isinstance(part, dt.datetime):
        return part.isoformat()
    if isinstance(part, bytes):
        return f"0x{part.hex()}"
    if isinstance(part, str):  # quotes distinguish empty text from a missing key
        return json.dumps(part) if part == "" or part.startswith('"') else part
    return str(part)
