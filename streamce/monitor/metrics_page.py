"""The page of a watch that a Prometheus server reads: its metrics and its progress.

docs/MONITORING.md lists the names.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

try:
    import prometheus_client
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce watch --port needs prometheus-client: pip install 'streamce[watch]'", name=_error.name
    ) from None

from streamce.integrations.prometheus import Collector
from streamce.monitor.http_server import ListenAddress, Server

if TYPE_CHECKING:
    from streamce.metrics.mergeable import MergeableState
    from streamce.monitor.alerts import Alerts
    from streamce.stats.summary import Summary

# Families of a watch: type and help. Counters go by their name without "_total".
FAMILIES = {
    "streamce_watch_rows": ("counter", "Rows that were counted."),
    "streamce_watch_unreadable_lines": ("counter", "Lines that were skipped because they could not be read."),
    "streamce_watch_last_row_timestamp_seconds": ("gauge", "Time when rows were last counted."),
    "streamce_watch_alert": ("gauge", "1 while an alert is active, by rule and window."),
    "streamce_watch_reference_value": ("gauge", "The value of the reference state."),
    "streamce_watch_reference_low": ("gauge", "Lower end of the confidence interval of the reference state."),
    "streamce_watch_reference_high": ("gauge", "Upper end of the confidence interval of the reference state."),
}


@dataclass
class WatchStatus:
    """The parts of a watch that its page reads. The watch replaces them field by field."""

    windows: tuple[str, ...]
    alerts: Alerts
    reference: Summary | None = None
    metric: MergeableState | None = None
    rows: int = 0
    unreadable: int = 0
    last_row_time: float = float("nan")

    def note_rows(self) -> None:
        """Note that rows were counted now."""
        self.last_row_time = time.time()


class WatchCollector:
    """A collector of the progress, alerts and reference of a watch."""

    def __init__(self, status: WatchStatus) -> None:
        self._status = status

    def describe(self) -> Iterable[Any]:
        return [_family(name, []) for name in FAMILIES]

    def collect(self) -> Iterator[Any]:
        status = self._status
        yield _family("streamce_watch_rows", [({}, status.rows)])
        yield _family("streamce_watch_unreadable_lines", [({}, status.unreadable)])
        yield _family("streamce_watch_last_row_timestamp_seconds", [({}, status.last_row_time)])
        yield _family(
            "streamce_watch_alert",
            [
                ({"rule": rule.name, "metric": window}, float(status.alerts.is_active(rule, window)))
                for rule in status.alerts.rules
                for window in status.windows
            ],
        )
        if status.reference is not None:
            low, high = status.reference.interval
            for name, value in (("value", status.reference.value), ("low", low), ("high", high)):
                yield _family(f"streamce_watch_reference_{name}", [({}, value)])


def _family(name: str, samples: list[tuple[dict[str, str], float]]) -> Any:
    """Return a family of metrics with these samples: labels and value."""
    kind, help_ = FAMILIES[name]
    labels = [*samples[0][0]] if samples else []
    family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, help_, labels=labels)
    for values, value in samples:
        family.add_metric([*values.values()], value)
    return family


@contextlib.contextmanager
def serving(
    status: WatchStatus, address: ListenAddress, level: float, anytime: bool, log: Callable[[str], None]
) -> Iterator[None]:
    """Serve ``/metrics`` in this context. Raise OSError or UnicodeError if the address cannot be used."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector(lambda: status.metric, level=level, anytime=anytime))
    registry.register(WatchCollector(status))
    server = Server(address, prometheus_client.make_wsgi_app(registry), log)
    server.start()
    try:
        host = f"[{address.host}]" if ":" in address.host else address.host
        log(f"serving http://{host}:{server.port}/metrics")
        yield
    finally:
        server.close()
