"""Exports metrics as instruments of OpenTelemetry. docs/integrations/opentelemetry.md lists the names."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.integrations.exported_metrics import FAMILIES, Exporter

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce.integrations.opentelemetry needs opentelemetry-api: pip install 'streamce[opentelemetry]'",
        name=_error.name,
    ) from None

NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_./-]{0,199}")
# The suffixes of the samples of each type of family. OpenTelemetry has neither summaries nor histograms to observe.
SUFFIXES = {"gauge": [""], "counter": [""], "summary": ["_sum", "_count"], "histogram": ["_bucket", "_sum", "_count"]}


def observe(
    meter: Meter,
    source: Any,
    *,
    name: str = "streamce",
    level: float = 0.95,
    anytime: bool = False,
    max_groups: int = 100,
) -> None:
    """Create observable instruments that read metrics at each collection.

    A collection reads one copy of each state, so its numbers are consistent while other threads add batches.
    docs/integrations/opentelemetry.md lists what is exported.

    Parameters
    ----------
    meter : opentelemetry.metrics.Meter
        The meter that creates the instruments. They exist as long as it does.
    source : metric, mapping of str to metrics, callable, or path-like
        As for :class:`streamce.integrations.prometheus.Collector`.
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
    Names, labels and behaviour are those of :class:`streamce.integrations.prometheus.Collector`; labels are attributes.
    A number that is nan or infinite is omitted, because OpenTelemetry takes only finite ones. A sum of losses is an
    up-down counter, because losses can be negative.

    Examples
    --------
    >>> from opentelemetry.sdk.metrics import MeterProvider
    >>> from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    >>> import streamce as ce
    >>> from streamce.integrations.opentelemetry import observe
    >>> reader = InMemoryMetricReader()
    >>> metric = ce.BinaryCrossEntropy()
    >>> observe(MeterProvider([reader]).get_meter("model"), {"all": metric})
    >>> metric = metric.update([0.5, 0.5], [0, 1])
    >>> [scope] = reader.get_metrics_data().resource_metrics[0].scope_metrics
    >>> {each.name: each.data.data_points[0].value for each in scope.metrics}["streamce_mean_nats"]
    0.6931471805599453
    """
    exporter = Exporter(source, level, anytime, max_groups)
    if not isinstance(meter, Meter):
        raise InputError("meter", f"is {short_repr(meter)}", "a meter of OpenTelemetry", value=meter)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        expected = "a letter, followed by at most 199 letters, digits and . _ - /"
        raise InputError("name", f"is {short_repr(name)}", expected, value=name)
    collection = _Collection(exporter)
    for end, (kind, help_) in FAMILIES.items():
        for suffix in SUFFIXES[kind]:
            if kind == "gauge":
                create: Callable[..., Any] = meter.create_observable_gauge
            elif suffix == "_sum":
                create = meter.create_observable_up_down_counter
            else:
                create = meter.create_observable_counter
            create(f"{name}_{end}{suffix}", [collection.callback(end, suffix)], description=help_)


class _Collection:
    """The samples of the current collection, in each thread.

    OpenTelemetry calls the callback of each instrument once per collection, and says nowhere that a collection begins.
    So samples are handed out once. A callback whose samples are gone belongs to a new collection, which reads anew.
    """

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._instruments: set[tuple[str, str]] = set()
        self._of_thread = threading.local()

    def callback(self, end: str, suffix: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Return the callback of the instrument of a family and suffix."""
        instrument = end, suffix
        self._instruments.add(instrument)
        return lambda options: self._take(instrument)

    def _take(self, instrument: tuple[str, str]) -> list[Observation]:
        samples: dict[tuple[str, str], list[Observation]] = getattr(self._of_thread, "samples", {})
        if instrument not in samples:
            samples = self._of_thread.samples = {each: [] for each in self._instruments}
            for end, found in self._exporter.read().items():
                for suffix, labels, value in found:
                    if math.isfinite(value):
                        samples[end, suffix].append(Observation(value, labels))
        return samples.pop(instrument)
