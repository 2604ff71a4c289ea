"""A watch as a Prometheus server reads it: its metrics, and how far it is. docs/MONITORING.md has the names."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

try:
    import prometheus_client
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "streamce watch --port needs prometheus-client: pip install 'streamce[watch]'", name=error.name
    ) from None

from streamce.integrations.prometheus import Collector
from streamce.monitor.http_server import Server

if TYPE_CHECKING:
    from streamce.metrics.mergeable import Additive
    from streamce.monitor.alerts import Alerts
    from streamce.stats.summary import Summary

# Families of a watch: type and help. Counters go by their name without "_total".
FAMILIES = {
    "streamce_watch_rows": ("counter", "Rows that were counted."),
    "streamce_watch_unreadable_lines": ("counter", "Lines that were skipped, as they could not be read."),
    "streamce_watch_last_row_timestamp_seconds": ("gauge", "When rows were counted last."),
    "streamce_watch_alert": ("gauge", "1 while an alert is on, by rule and window."),
    "streamce_watch_reference_value": ("gauge", "The value of the reference state."),
    "streamce_watch_reference_low": ("gauge", "Lower end of its confidence interval."),
    "streamce_watch_reference_high": ("gauge", "Upper end of its confidence interval."),
}


@dataclass
class Shown:
    """What a watch lets others see; replaced field by field."""

    windows: tuple[str, ...]
    alerts: Alerts
    reference: Summary | None = None
    metric: Additive | None = None
    rows: int = 0
    unreadable: int = 0
    last: float = field(default=float("nan"))

    def came(self) -> None:
        """Rows were counted now."""
        self.last = time.time()


class _Watch:
    """A collector of what is not in the metric."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def describe(self) -> Iterable[Any]:
        return [_family(name, []) for name in FAMILIES]

    def collect(self) -> Iterator[Any]:
        shown = self._shown
        yield _family("streamce_watch_rows", [({}, shown.rows)])
        yield _family("streamce_watch_unreadable_lines", [({}, shown.unreadable)])
        yield _family("streamce_watch_last_row_timestamp_seconds", [({}, shown.last)])
        yield _family(
            "streamce_watch_alert",
            [
                ({"rule": rule.name, "metric": window}, float(shown.alerts.on(rule, window)))
                for rule in shown.alerts.rules
                for window in shown.windows
            ],
        )
        if shown.reference is not None:
            low, high = shown.reference.interval
            for name, value in (("value", shown.reference.value), ("low", low), ("high", high)):
                yield _family(f"streamce_watch_reference_{name}", [({}, value)])


def _family(name: str, samples: list[tuple[dict[str, str], float]]) -> Any:
    kind, help_ = FAMILIES[name]
    labels = [*samples[0][0]] if samples else []
    made = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(name, help_, labels=labels)
    for found, value in samples:
        made.add_metric([*found.values()], value)
    return made


@contextlib.contextmanager
def serving(
    shown: Shown,
    host: str,
    port: int,
    level: float,
    anytime: bool,
    say: Callable[[str], None],
    allowed_hosts: Iterable[str] = (),
) -> Iterator[None]:
    """Serves ``/metrics`` meanwhile; OSError where nothing can listen there."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector(lambda: shown.metric, level=level, anytime=anytime))
    registry.register(_Watch(shown))
    server = Server(host, port, prometheus_client.make_wsgi_app(registry), allowed_hosts, say)
    server.start()
    try:
        there = f"[{host}]" if ":" in host else host
        say(f"serving http://{there}:{server.port}/metrics")
        yield
    finally:
        server.close()
