"""Exports metrics to a Prometheus server. docs/MONITORING.md lists the names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.integrations.exported_metrics import FAMILIES, Exporter, Sample

try:
    from prometheus_client.core import Metric as Family
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce.integrations.prometheus needs prometheus-client: pip install 'streamce[prometheus]'", name=_error.name
    ) from None

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Collector:
    """A collector for a registry of prometheus_client that reads metrics at each scrape.

    A scrape reads one copy of each state, so its numbers are consistent while other threads add batches.
    docs/MONITORING.md lists what is exported.

    Parameters
    ----------
    source : metric, mapping of str to metrics, callable, or path-like
        A metric, wrapper or collection; several of these by name; a callable that returns one of these, for metrics
        that are replaced; or the path of state files that workers save: a folder, of which names that end in
        ``.state`` are read, or a glob. State files are added.
    name : str
        The prefix of all names.
    level : float
        Confidence level of the intervals.
    anytime : bool
        Whether intervals are confidence sequences, which are valid at any number of looks; see :meth:`Metric.summary`.
    max_groups : int
        How many groups of a :class:`Grouped` are exported: those with the most samples, or the newest periods.

    Raises
    ------
    InputError
        If an argument is invalid.

    Notes
    -----
    Metrics of a mapping or collection have the label ``metric``. Groups have the label ``group``, or ``group_0``,
    ``group_1``, ... if keys have several parts; a missing key has no label. :class:`GANCrossEntropy` and
    :class:`Paired` use the label ``part``. Values of windows and decayed metrics can decrease, so they are gauges. A
    counter that decreases after ``reset()``, after ``-`` or without a state file looks to Prometheus like a restart.

    A scrape never fails. A metric or state file that cannot be read is omitted, and ``_unreadable`` counts it. The
    logger ``streamce`` logs the reason once.

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
        self._exporter = Exporter(source, level, anytime, max_groups)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InputError("name", f"is {short_repr(name)}", "letters, digits and _", value=name)
        self._name = name

    def describe(self) -> Iterable[Family]:
        """Return all families without samples, for the registration."""
        return [self._family(end, ()) for end in FAMILIES]

    def collect(self) -> Iterator[Family]:
        """Return the families that have samples now."""
        samples = self._exporter.read()
        return iter([self._family(end, samples[end]) for end in FAMILIES if end in samples])

    def _family(self, end: str, samples: Iterable[Sample]) -> Family:
        kind, help_ = FAMILIES[end]
        family = Family(f"{self._name}_{end}", help_, kind)
        for suffix, labels, value in samples:
            suffix = suffix or "_total" * (kind == "counter")
            family.add_sample(f"{family.name}{suffix}", labels, value)
        return family
