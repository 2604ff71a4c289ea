"""What the command line shows of a metric: a table for people, one JSON object for programs."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamce as ce
from streamce.keys.key_columns import moment_of, show_key
from streamce.stats.summary import kind_of
from streamce.wrappers.base import Wrapper

if TYPE_CHECKING:
    from streamce.stats.summary import Summary

FEW = 20  # rows that are read
ENDS = 5  # groups that are shown at either end
NO_GROUP = frozenset({"level", "anytime", "bits_interval", "perplexity_interval"})  # the same, or follow from others


def whole(metric: Any, level: float = 0.95, anytime: bool = False) -> Summary:
    """The summary of all samples."""
    found: Summary = metric.micro(level, anytime) if isinstance(metric, ce.Grouped) else metric.summary(level, anytime)
    return found


def samples(metric: Any) -> int:
    """How many samples were added; to the metric of a collection that holds most."""
    if isinstance(metric, ce.Collection):
        return max(samples(metric[name]) for name in metric)
    return whole(metric).samples


def print_table(metric: Any, level: float, anytime: bool, labels: Sequence[str] = ()) -> None:
    """Print the result for people; ``labels`` are the names of those of a multilabel metric."""
    if isinstance(metric, ce.Collection):
        for number, name in enumerate(metric):
            print("\n" * (number > 0) + name)
            print_table(metric[name], level, anytime)
        return
    print(whole(metric, level, anytime))
    for name in ("tail", "calibration"):
        if metric.options.get(name):
            print(f"\n{getattr(metric, name)()}")
    if isinstance(metric, ce.MultilabelCrossEntropy):
        _print_labels(metric, labels)
    elif isinstance(metric, ce.SequenceCrossEntropy):
        _print_text(metric, level, anytime)
    elif isinstance(metric, ce.Grouped) and len(metric):
        _print_groups(metric, level, anytime)


def _print_labels(metric: ce.MultilabelCrossEntropy, names: Sequence[str]) -> None:
    """The loss of each label, where they are few enough to be read."""
    summaries = metric.per_label()
    if 1 < len(summaries) <= FEW:
        names = [*map(show_key, names if len(names) == len(summaries) else range(len(summaries)))]
        width = max(14, *(len(name) + 2 for name in names))
        print("\n" + "label".ljust(width) + "nats       losses")
        for name, summary in zip(names, summaries, strict=True):
            print(f"{name:<{width}}{summary.mean:<10.6g} {summary.count:,}")


def _print_text(metric: ce.SequenceCrossEntropy, level: float, anytime: bool) -> None:
    """What does not depend on how text is cut into tokens, where its words or bytes were counted."""
    word, byte = metric.per_word(level, anytime), metric.per_byte(level, anytime)
    kind = kind_of(level, anytime)
    rows = [
        ("word perplexity", word.samples, word.perplexity, word.perplexity_interval),
        ("bits per byte", byte.samples, byte.bits, byte.bits_interval),
    ]
    if word.samples or byte.samples:
        print()
    for name, samples, value, (low, high) in rows:
        if samples:
            print(f"{name:<16}{value:<11.6g}   {kind} {low:.6g} to {high:.6g}, {samples:,} samples")


def _print_groups(metric: ce.Grouped, level: float, anytime: bool) -> None:
    """The last periods of a history; else all groups where they are few, or the worst and the best."""
    number, macro = len(metric), metric.macro(level)
    low, high = macro.interval
    print(f"mean of groups  {macro.value:.6g} nats   {kind_of(level, False)} {low:.6g} to {high:.6g}")
    if metric.options["period"] is not None:
        last = sorted(metric.keys(), key=moment_of)[-FEW:]
        rows = [(key, metric[key].summary(level, anytime)) for key in last]
        shown = {f"the last {FEW} of {number:,}" if number > FEW else "period": rows}
    elif number <= 2 * ENDS:
        shown = {"group": metric.worst(number, level, anytime)}
    else:
        shown = {
            f"the worst of {number:,}": metric.worst(ENDS, level, anytime),
            "the best": metric.best(ENDS, level, anytime),
        }
    width = max(len(text) for title, part in shown.items() for text in [title, *(show_key(key) for key, _ in part)])
    width = max(14, width + 2)
    for title, part in shown.items():
        print(f"\n{title:<{width}}nats       interval                 losses")
        for key, summary in part:
            between = f"{summary.interval[0]:.6g} to {summary.interval[1]:.6g}"
            print(f"{show_key(key):<{width}}{summary.value:<10.6g} {between:<24} {summary.count:,}")


def print_json(
    metric: Any, level: float, anytime: bool, more: dict[str, Any] | None = None, read: dict[str, Any] | None = None
) -> None:
    """Print the result as one JSON object; ``more`` stands beside it, ``read`` among the options."""
    text = json.dumps(_finite(_found(metric, level, anytime, more, read)), allow_nan=False)
    print(text.replace("\x7f", "\\u007f"))  # the only control character that json does not escape


def _found(
    metric: Any, level: float, anytime: bool, more: dict[str, Any] | None = None, read: dict[str, Any] | None = None
) -> dict[str, Any]:
    if isinstance(metric, ce.Collection):
        return {"metrics": {name: _found(metric[name], level, anytime) for name in metric}, **(more or {})}
    found = {**whole(metric, level, anytime).to_dict(), **(more or {})}
    of = metric
    if isinstance(metric, Wrapper):
        of = metric.metric
        read = {**{name: value for name, value in metric.options.items() if name != "metric"}, **(read or {})}
    for name in ("tail", "calibration"):
        if metric.options.get(name):
            found[name] = getattr(metric, name)().to_dict()
    if isinstance(metric, ce.SequenceCrossEntropy):
        texts = {"per_word": metric.per_word(level, anytime), "per_byte": metric.per_byte(level, anytime)}
        found |= {name: summary.to_dict() for name, summary in texts.items() if summary.samples}
    if isinstance(metric, ce.Grouped):
        macro = metric.macro(level)
        found["macro"] = {
            "value": macro.value,
            "interval": macro.interval,
            "stderr": macro.stderr,
            "groups": macro.groups,
        }
        found["groups"] = [
            {"key": _plain(key), **{name: value for name, value in summary.to_dict().items() if name not in NO_GROUP}}
            for key, summary in metric.summary(level, anytime).items()
        ]
    found["options"] = {"metric": type(of).__name__, **of.options, **(read or {})}
    return found


def _plain(key: Any) -> Any:
    """A key as JSON has it: datetimes in ISO's form, bytes as hexadecimal digits."""
    if isinstance(key, tuple):
        return [_plain(part) for part in key]
    return key.isoformat() if isinstance(key, dt.datetime) else key.hex() if isinstance(key, bytes) else key


def _finite(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
