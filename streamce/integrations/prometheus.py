"""What a metric holds, as a Prometheus server reads it: docs/MONITORING.md has the names."""

from __future__ import annotations

import datetime as dt
import glob
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from streamce._support import printable, scalars
from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.keys.key_columns import moment_of
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.gan import GANCrossEntropy
from streamce.metrics.mergeable import Additive
from streamce.persistence.restore import load
from streamce.stats.summary import INVALID
from streamce.wrappers.collection import Collection
from streamce.wrappers.decayed import Decayed
from streamce.wrappers.grouped import Grouped
from streamce.wrappers.paired import Paired
from streamce.wrappers.sliding import Sliding

try:
    from prometheus_client.core import Metric as Family
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "streamce.integrations.prometheus needs prometheus-client: pip install 'streamce[prometheus]'", name=error.name
    ) from None

if TYPE_CHECKING:
    from streamce.stats.summary import Summary
    from streamce.stats.tail import Tail

Labels = dict[str, str]

# Families by the end of their name: type and help. Counters go by their name without "_total".
FAMILIES = {
    "value": ("gauge", "The value of the metric: the mean loss in nats, unless it is a perplexity or another ratio."),
    "value_low": ("gauge", "Lower end of the confidence interval of the value."),
    "value_high": ("gauge", "Upper end of the confidence interval of the value."),
    "mean_nats": ("gauge", "Mean loss in nats."),
    "stderr_nats": ("gauge", "Standard error of the mean loss in nats."),
    "p_value": ("gauge", "Two-sided p-value of the difference of two models."),
    "loss_nats": ("summary", "Sum of the weighted losses in nats, and the number of losses."),
    "weight": ("counter", "Sum of the weights: the mean is the sum of the losses over this."),
    "samples": ("counter", "Samples that the losses came in."),
    "odd_losses": ("counter", "Losses that are odd or were left out, by cause."),
    "loss_distribution_nats": ("histogram", "Losses per unit of weight in nats, those of weight 0 left out."),
    "window_loss_nats": ("gauge", "Sum of the weighted losses in the window, in nats."),
    "window_losses": ("gauge", "Losses in the window."),
    "window_weight": ("gauge", "Sum of the weights in the window."),
    "window_samples": ("gauge", "Samples that the losses in the window came in."),
    "window_odd_losses": ("gauge", "Losses in the window that are odd or were left out, by cause."),
    "groups": ("gauge", "Groups that there are."),
    "groups_left_out": ("gauge", "Groups that are not exported, as others have more samples."),
    "state_files": ("gauge", "State files that were added up."),
    "unreadable": ("gauge", "1 for each metric and each state file that could not be read."),
}
OF_A_LOSS = ("floored", "infinite", "unnormalised")
CAUSES = ("ignored", "infeasible", *OF_A_LOSS, *INVALID)
# Edges of the histogram, two for each power of two. Edges of the tail's bins, so that counts are exact.
EDGES = tuple(2.0**octave * step for octave in range(-10, 6) for step in (1.0, 1.5))
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_log = logging.getLogger("streamce")


class Collector:
    """A collector for a registry of prometheus_client, which reads metrics whenever they are scraped.

    Each scrape reads one copy of a state, so that all its numbers belong together, while other threads go on
    adding. What it exports is listed in docs/MONITORING.md.

    Parameters
    ----------
    source : metric, mapping of str to metrics, callable, or path-like
        What is exported: any metric, group, window or collection; several by name; a callable that returns
        either, for metrics that are replaced; or the state files that workers save, added up: a folder, of which
        those that end in ``.state`` count, or a glob.
    name : str
        What all names begin with.
    level : float
        Confidence level of the intervals.
    anytime : bool
        Whether intervals are to hold however often one looks; see :meth:`Metric.summary`.
    max_groups : int
        Of :class:`Grouped`: how many groups are exported, those with the most samples, or the newest periods.

    Raises
    ------
    InputError
        For arguments without meaning.

    Notes
    -----
    The metrics of a mapping or collection have the label ``metric``; groups have ``group`` (``group_0``, ``group_1``,
    ... where keys have several parts, and none where there is no key), the parts of :class:`GANCrossEntropy` and
    :class:`Paired` the label ``part``. Windows and decayed metrics lose what they had, so that all of theirs are
    gauges. A counter that goes down, after ``reset()``, ``-`` or with a state file that is gone, looks to
    Prometheus like a restart.

    A metric or a state file that cannot be read is left out, and ``_unreadable`` says so: a scrape never fails.
    Why is logged, once, by the logger ``streamce``.

    Examples
    --------
    >>> import prometheus_client, streamce as ce
    >>> from streamce.integrations.prometheus import Collector
    >>> metric, registry = ce.BinaryCrossEntropy(), prometheus_client.CollectorRegistry()
    >>> registry.register(Collector({"all": metric}))
    >>> metric = metric.update([0.5, 0.5], [0, 1])
    >>> registry.get_sample_value("streamce_loss_nats_count", {"metric": "all"})
    2.0
    >>> registry.get_sample_value("streamce_mean_nats", {"metric": "all"})
    0.6931471805599453
    """

    def __init__(
        self,
        source: Any,
        *,
        name: str = "streamce",
        level: float = 0.95,
        anytime: bool = False,
        max_groups: int = 100,
    ) -> None:
        if not (isinstance(source, (Additive, Mapping, str, os.PathLike)) or callable(source)):
            expected = "a metric, metrics by name, a function that returns these, or the path of state files"
            raise InputError("source", f"is {short_repr(source)}", expected, value=source)
        if isinstance(source, Mapping):
            for key, metric in source.items():
                if not isinstance(key, str) or not isinstance(metric, Additive):
                    found = f"has {short_repr(metric)} by the name {short_repr(key)}"
                    raise InputError("source", found, "metrics by name", value=metric)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError("name", f"is {short_repr(name)}", "letters, digits and _", value=name)
        groups = scalars.integer(max_groups)
        if groups is None or groups < 0:
            raise InputError("max_groups", f"is {short_repr(max_groups)}", "a whole number", value=max_groups)
        BinaryCrossEntropy().summary(level, anytime)  # which judges these
        self._source, self._name = source, name
        self._level, self._anytime, self._max_groups = level, anytime, groups
        self._said: set[tuple[str, str]] = set()

    def describe(self) -> Iterable[Family]:
        """All families, without samples: what a registry asks for when this is registered."""
        return _Scrape(self._name, self._level, self._anytime, 0).families.values()

    def collect(self) -> Iterator[Family]:
        """The families that have samples now."""
        scrape = _Scrape(self._name, self._level, self._anytime, self._max_groups)
        names: set[str | None] = set()
        for labels, metric, window in self._metrics(scrape):
            if labels.get("metric") in names:  # "a.b", and "b" of a collection "a"
                self._unreadable(scrape, labels, f"{labels['metric']}: another metric has this name")
                continue
            names.add(labels.get("metric"))
            try:
                scrape.read(labels, metric, window)
            except InputError as error:  # more was taken away than had been added
                self._unreadable(scrape, labels or {"metric": type(metric).__name__}, str(error))
        return iter([family for family in scrape.families.values() if family.samples])

    def _metrics(self, scrape: _Scrape) -> Iterator[tuple[Labels, Additive, bool]]:
        """Copies of the metrics that there are now, each with its labels, and whether it is a window."""
        source = self._source
        if callable(source) and not isinstance(source, Additive):
            try:
                source = source()
            except Exception as error:  # of the caller's
                self._unreadable(scrape, {"metric": "source"}, f"source failed: {error!r}")
                return
        if isinstance(source, (str, os.PathLike)):
            source = self._sum(scrape, os.fspath(source))
        if isinstance(source, Mapping):
            for name, metric in list(source.items()):  # which others may add to meanwhile
                if isinstance(name, str) and isinstance(metric, Additive):
                    yield from _named(name, metric)
                else:
                    self._unreadable(scrape, {"metric": str(name)}, f"{name!r} is {short_repr(metric)}, no metric")
        elif isinstance(source, Additive):
            yield from _named("", source)
        elif source is not None:
            self._unreadable(scrape, {"metric": "source"}, f"source gave {short_repr(source)}, no metric")

    def _sum(self, scrape: _Scrape, path: str) -> Additive | None:
        """The sum of the state files there, None without any."""
        folder = os.path.isdir(path)
        pattern = os.path.join(glob.escape(path), "*.state") if folder else path
        found: Additive | None = None
        added = 0
        for file in sorted(glob.glob(pattern, recursive=True)):
            try:
                state = load(file)
                found = state if found is None else found.merge(state)
                added += 1
            except FileNotFoundError:  # gone since
                pass
            except (InputError, OSError) as error:
                self._unreadable(scrape, {"file": os.path.basename(file) if folder else file}, str(error))
        scrape.add("state_files", "", {}, added)
        return found

    def _unreadable(self, scrape: _Scrape, labels: Labels, why: str) -> None:
        scrape.add("unreadable", "", labels, 1)
        said = json.dumps(labels, sort_keys=True), why
        if said not in self._said:
            self._said.add(said)
            _log.warning("not exported: %s", printable.line(why))


def _printable(text: str) -> str:
    """The text, with what UTF-8 does not have, as in names of files, written out."""
    return text.encode(errors="backslashreplace").decode()


class _Scrape:
    """The families of one scrape."""

    def __init__(self, name: str, level: float, anytime: bool, max_groups: int) -> None:
        self._name, self._look, self._max_groups = name, (level, anytime), max_groups
        self.families = {end: Family(f"{name}_{end}", help_, kind) for end, (kind, help_) in FAMILIES.items()}

    def add(self, end: str, suffix: str, labels: Labels, value: float, **more: str) -> None:
        suffix = suffix or "_total" * (FAMILIES[end][0] == "counter")
        labels = {label: _printable(text) for label, text in labels.items()}
        self.families[end].add_sample(f"{self._name}_{end}{suffix}", labels | more, float(value))

    @in_default_mode
    def read(self, labels: Labels, metric: Any, window: bool) -> None:
        """Export a metric that nobody adds to. Everything is read before anything is exported."""
        if window:
            self._window(metric.summary(*self._look), labels)
        elif isinstance(metric, Grouped):
            self._groups(metric, labels)
        elif isinstance(metric, Paired):
            self._paired(metric, labels)
        elif isinstance(metric, GANCrossEntropy):
            found = metric.summary(*self._look)
            self._value(found.value, found.interval, labels)
            for part in ("real", "fake", "generator"):
                self._stream(getattr(found, part), labels | {"part": part})
        else:
            summary = metric.summary(*self._look)
            tail = metric.tail() if metric.options.get("tail") else None
            self._value(summary.value, summary.interval, labels)
            self._stream(summary, labels)
            if tail is not None:
                self._tail(tail, labels)

    def _value(self, value: float, interval: tuple[float, float], labels: Labels) -> None:
        self.add("value", "", labels, value)
        self.add("value_low", "", labels, interval[0])
        self.add("value_high", "", labels, interval[1])

    def _mean(self, found: Summary, labels: Labels) -> None:
        self.add("mean_nats", "", labels, found.mean)
        self.add("stderr_nats", "", labels, found.stderr)

    def _stream(self, found: Summary, labels: Labels, causes: Iterable[str] = CAUSES) -> None:
        """Of all that ever came."""
        self._mean(found, labels)
        self.add("loss_nats", "_sum", labels, found.total)
        self.add("loss_nats", "_count", labels, found.count)
        self.add("weight", "", labels, found.weight)
        self.add("samples", "", labels, found.samples)
        for cause in causes:
            self.add("odd_losses", "", labels, getattr(found, cause), cause=cause)

    def _window(self, found: Summary, labels: Labels) -> None:
        self._value(found.value, found.interval, labels)
        self._mean(found, labels)
        self.add("window_loss_nats", "", labels, found.total)
        self.add("window_losses", "", labels, found.count)
        self.add("window_weight", "", labels, found.weight)
        self.add("window_samples", "", labels, found.samples)
        for cause in CAUSES:
            self.add("window_odd_losses", "", labels, getattr(found, cause), cause=cause)

    def _groups(self, grouped: Grouped, labels: Labels) -> None:
        number = len(grouped)
        if grouped.options["period"] is None:
            shown = grouped.largest(self._max_groups, *self._look)
        else:
            newest = sorted(grouped.keys(), key=moment_of)[::-1][: self._max_groups]
            shown = [(key, grouped[key].summary(*self._look)) for key in newest]
        self.add("groups", "", labels, number)
        self.add("groups_left_out", "", labels, number - len(shown))
        for key, found in shown:
            own = labels | _of_key(key)
            self._value(found.value, found.interval, own)
            self._stream(found, own)

    def _paired(self, metric: Paired, labels: Labels) -> None:
        found = metric.summary(*self._look)
        self._value(found.difference.value, found.difference.interval, labels)
        self.add("p_value", "", labels, found.p_value)
        for part, summary in (("a", found.a), ("b", found.b)):
            self._stream(summary, labels | {"part": part}, OF_A_LOSS)
        for cause in CAUSES:
            if cause not in OF_A_LOSS:  # what either model leaves out, both do
                self.add("odd_losses", "", labels, getattr(found.difference, cause), cause=cause)

    def _tail(self, tail: Tail, labels: Labels) -> None:
        bins, below = iter(tail.bins), 0
        held = next(bins, None)
        for edge in EDGES:
            while held is not None and held[1] <= edge:
                below += held[2]
                held = next(bins, None)
            self.add("loss_distribution_nats", "_bucket", labels, below, le=str(edge))
        self.add("loss_distribution_nats", "_bucket", labels, tail.count, le="+Inf")
        self.add("loss_distribution_nats", "_sum", labels, sum(total for *_, total in tail.bins))
        self.add("loss_distribution_nats", "_count", labels, tail.count)


def _named(name: str, metric: Additive) -> list[tuple[Labels, Additive, bool]]:
    """A copy of a metric, or of each of a collection, with its labels; and whether it is a window."""
    if isinstance(metric, Collection):
        members = metric._state
        with members._lock:  # copies of one moment
            found = [_named(f"{name}.{inner}" if name else inner, each) for inner, each in members.metrics.items()]
        return [each for several in found for each in several]
    window = isinstance(metric, (Sliding, Decayed))
    copy = metric.window() if isinstance(metric, Sliding) else metric.copy()  # not all rows of a window
    return [({"metric": name} if name else {}, copy, window)]


def _of_key(key: Any) -> Labels:
    """The labels of a group: others for each other key."""
    if isinstance(key, tuple):
        return {f"group_{i}": text for i, part in enumerate(key) if (text := _text(part))}
    return {"group": text} if (text := _text(key)) else {}


def _text(part: Any) -> str:
    """A part of a key as text; nothing, which to Prometheus is no label, where there is none."""
    if part is None:
        return ""
    if isinstance(part, dt.datetime):
        return part.isoformat()
    if isinstance(part, bytes):
        return f"0x{part.hex()}"
    if isinstance(part, str):  # an empty text is not a missing one
        return json.dumps(part) if part == "" or part.startswith('"') else part
    return str(part)
