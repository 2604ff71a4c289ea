"""The names and meanings of the numbers that ``summary.scalars()`` gives to trackers of experiments."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.stats.estimators import INVALID, LN2


class Scalar(NamedTuple):
    """How a number is read from a summary, and what it is."""

    read: Callable[[Any], float | None]
    help: str


def _loss_interval(summary: Any) -> tuple[float, float]:
    """Return the interval of the mean, which is not that of the value if this is a perplexity or another ratio."""
    low, high = summary.bits_interval
    if (summary.interval[0] / LN2, summary.interval[1] / LN2) == (low, high):
        interval: tuple[float, float] = summary.interval
        return interval
    return low * LN2, high * LN2


def _of_value(summary: Any, number: float) -> float | None:
    """Return a number of the value, None if the value is the mean loss."""
    return None if repr(summary.value) == repr(summary.mean) else number  # texts, because nan is not equal to nan


def _end(interval: tuple[float, float] | None, end: int) -> float | None:
    return None if interval is None else interval[end]


def _counter(name: str) -> Callable[[Any], float | None]:
    """Return a function that reads a counter of anomalies, and gives None for 0."""
    return lambda summary: getattr(summary, name) or None


ESTIMATES = {
    "loss": Scalar(lambda summary: summary.mean, "mean loss in nats"),
    "loss_low": Scalar(lambda summary: _loss_interval(summary)[0], "lower end of its confidence interval"),
    "loss_high": Scalar(lambda summary: _loss_interval(summary)[1], "upper end of its confidence interval"),
    "loss_stderr": Scalar(lambda summary: summary.stderr, "standard error of the mean loss"),
    "bits": Scalar(lambda summary: summary.bits, "mean loss in bits"),
    "perplexity": Scalar(lambda summary: summary.perplexity, "e to the mean loss"),
    "perplexity_low": Scalar(lambda summary: summary.perplexity_interval[0], "lower end of its confidence interval"),
    "perplexity_high": Scalar(lambda summary: summary.perplexity_interval[1], "upper end of its confidence interval"),
    "value": Scalar(
        lambda summary: _of_value(summary, summary.value), "the metric's value, if it is not the mean loss"
    ),
    "value_low": Scalar(
        lambda summary: _of_value(summary, summary.interval[0]), "lower end of its confidence interval"
    ),
    "value_high": Scalar(
        lambda summary: _of_value(summary, summary.interval[1]), "upper end of its confidence interval"
    ),
    "entropy": Scalar(lambda summary: summary.entropy, "mean entropy of the targets in nats, with divergence=True"),
    "divergence": Scalar(lambda summary: summary.divergence, "mean Kullback-Leibler divergence in nats"),
    "divergence_low": Scalar(
        lambda summary: _end(summary.divergence_interval, 0), "lower end of its confidence interval"
    ),
    "divergence_high": Scalar(
        lambda summary: _end(summary.divergence_interval, 1), "upper end of its confidence interval"
    ),
}
COUNTS = {
    "count": Scalar(lambda summary: summary.count, "number of losses"),
    "samples": Scalar(lambda summary: summary.samples, "number of samples"),
}
# Counters of anomalies are omitted while they are 0, so that a tracker shows no empty charts.
ANOMALIES = {
    "ignored": Scalar(_counter("ignored"), "losses that ignore_index or a mask excluded"),
    "infeasible": Scalar(_counter("infeasible"), "utterances without an alignment"),
    "skipped": Scalar(_counter("skipped"), 'invalid losses that invalid="skip" excluded'),
    **{
        name: Scalar(_counter(name), f"of these: {name.removeprefix('invalid_').replace('_', ' ')}") for name in INVALID
    },
}
MODEL_ANOMALIES = {
    "floored": Scalar(_counter("floored"), "losses of a probability below eps"),
    "infinite": Scalar(_counter("infinite"), "infinite losses"),
    "unnormalised": Scalar(_counter("unnormalised"), "rows whose probabilities add up to 1 only roughly"),
}
# A loss that one of two models excludes is excluded for both, so most counters are of the pair.
MODEL_SCALARS = {**ESTIMATES, **MODEL_ANOMALIES}
PAIR_COUNTS = {**COUNTS, **ANOMALIES}
SCALARS = {**ESTIMATES, **COUNTS, **MODEL_ANOMALIES, **ANOMALIES}


def read(table: Mapping[str, Scalar], summary: Any) -> dict[str, float | None]:
    """Return the numbers of a table by name."""
    return {name: scalar.read(summary) for name, scalar in table.items()}


def finite(numbers: Mapping[str, float | None], prefix: str) -> dict[str, float]:
    """Return the finite numbers as floats, with a prefix of their names."""
    if not isinstance(prefix, str):
        raise InputError("prefix", f"is {short_repr(prefix)}", "text, such as 'val_'", value=prefix)
    known = ((name, float(number)) for name, number in numbers.items() if number is not None)
    return {f"{prefix}{name}": number for name, number in known if math.isfinite(number)}
