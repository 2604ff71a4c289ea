"""Says which wrappers can hold which metrics.

From the outside in: ``Grouped``, ``Collection``, a window or decay, ``Paired``, a metric. Each layer may be left out. A
``Collection`` may also hold any of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.metrics.mergeable import MergeableState
from streamce.metrics.update_from import UpdateFromMixin

if TYPE_CHECKING:
    from collections.abc import Callable

# The layers, the innermost first.
METRIC, PAIR, TIME, COLLECTION, GROUPS = range(5)


def check_inner(wrapper: str, layer: int, metric: Any) -> None:
    """Raise InputError unless a wrapper of this name and layer can hold ``metric``."""
    if not isinstance(metric, MergeableState):
        raise InputError("metric", f"is {short_repr(metric)}", "a metric such as BinaryCrossEntropy()")
    inner = type(metric).__name__
    if metric._layer >= layer:
        raise InputError(
            "metric", f"is a {inner}, which {wrapper} cannot hold", _INSTEAD[metric._layer](wrapper, inner)
        )
    if not metric._is_addable:
        raise InputError("metric", "is a window of samples, and such windows cannot be added", "a window of a period")
    if layer == PAIR and not isinstance(metric, UpdateFromMixin):
        found, expected = f"is a {inner}", "a metric of predictions and targets, of which two models have the same"
        raise InputError("metric", found, expected)
    if wrapper == "Decayed" and _keeps_tail(metric):
        found = "has tail=True, which counts losses"
        raise InputError("metric", found, "tail=False, because counts have no weights that could decay")
    if metric._state.parts():
        raise InputError("metric", "has samples already", "an empty metric, for its options")


def _keeps_tail(metric: MergeableState) -> bool:
    """Return whether a metric, or one in it, counts losses by size."""
    return bool(metric.options.get("tail")) or any(map(_keeps_tail, metric._inner()))


def not_of_sequences(metric: Any) -> InputError:
    """Return the error for results that only metrics of sequences have."""
    return InputError("metric", f"is a {type(metric).__name__}", "a metric of sequences, such as Perplexity()")


def _one_or_other(wrapper: str, inner: str) -> str:
    if wrapper == "Paired":
        return f"{inner}({wrapper}(metric), ...)"
    return f"one {wrapper}" if wrapper == inner else f"one of {wrapper} and {inner}"


def _other_order(wrapper: str, inner: str) -> str:
    return "several keys, by=(first, second)" if wrapper == "Grouped" else f"Grouped({wrapper}(metric))"


def _each_metric(wrapper: str, inner: str) -> str:
    return "a Paired of each metric" if wrapper == "Paired" else f"a Collection of {wrapper} metrics"


# What to use instead, by the layer of the inner metric.
_INSTEAD: dict[int, Callable[[str, str], str]] = {
    PAIR: lambda wrapper, inner: "Paired(metric), which compares two models",
    TIME: _one_or_other,
    COLLECTION: _each_metric,
    GROUPS: _other_order,
}
