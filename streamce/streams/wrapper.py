"""What wraps a metric: its options, of which each state inside is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamce import inputs
from streamce.additive import Additive
from streamce.core.ledger import Ledger, State
from streamce.metrics.base import Metric

if TYPE_CHECKING:
    from streamce.state import Header


class Wrapper(Additive):
    """Base of what wraps a metric, of which it takes the options alone."""

    __slots__ = ("_metric",)
    _metric: Metric

    def __init__(self, metric: Metric) -> None:
        if not isinstance(metric, Metric):
            raise inputs.fault("metric", f"is {inputs.show(metric)}", "a metric such as BinaryCrossEntropy()")
        for option in ("divergence", "per_class", "per_label", "per_position", "tail"):
            if metric.options.get(option):
                raise inputs.fault("metric", f"keeps sums of its own ({option}=True)", f"one of {option}=False")
        if metric._pipeline.per_cell:
            raise inputs.fault("metric", f"is a {type(metric).__name__}, with sums by the class", "a metric of one sum")
        if metric._state.parts():
            raise inputs.fault("metric", "has samples already", "an empty one, for its options alone")
        self._metric = metric._empty()

    @property
    def metric(self) -> Metric:
        """An empty metric of the options that hold throughout."""
        return self._metric._empty()

    def _filled(self, ledger: Ledger) -> Metric:
        """A metric whose state is one cell."""
        metric = self._metric._empty()
        metric._state = State(ledger)
        return metric

    def _arguments(self) -> dict[str, Any]:
        return self.options

    def _fits(self, header: Header) -> None:
        if header["metric"] == type(self).__name__:
            self._metric._fits(header["options"]["metric"])  # names the option of the metric that differs
        super()._fits(header)
