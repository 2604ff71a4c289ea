"""The result of a metric on standard output: a table for people, or one JSON object for programs.

A metric names its sections (``_sections``). ``TABLES`` and ``OBJECTS`` have a function for each section that is printed
in addition to the summary.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import streamce as ce
from streamce.cli.config import View
from streamce.cli.console import plural
from streamce.keys.encoding import format_key, time_sort_key
from streamce.stats.summary import format_interval, interval_name
from streamce.wrappers.base import flat_options, kind

if TYPE_CHECKING:
    from streamce.stats.summary import Summary

VIEW = View()
MAX_ROWS = 20  # of labels or periods in a table
N_EXTREMES = 5  # groups at either end of a ranking
# Fields that a group does not have, because they are the same for all groups or follow from other fields.
NOT_OF_GROUPS = frozenset({"level", "anytime", "bits_interval", "perplexity_interval"})


def total_summary(metric: Any, view: View = VIEW) -> Any:
    """Return the summary of all samples that count now, of all groups together."""
    if "current" in metric._sections():
        return total_summary(metric._current(), view)
    return metric.summary(view.level, view.anytime)


def has_groups(metric: Any, *, of_pairs: bool = False) -> bool:
    """Return whether a metric has groups, or with ``of_pairs`` whether it has groups of two models."""
    sections = metric._sections()
    if "members" in sections:
        return any(has_groups(member, of_pairs=of_pairs) for member in metric._members().values())
    return "group_means" in sections and (not of_pairs or kind(metric) == "paired")


def group_name(metric: ce.Grouped, key: Any) -> str:
    """Return a key as text, with the zone of its period."""
    is_period = metric.options["period"] is not None and isinstance(time_sort_key(key)[1], dt.datetime)
    return format_key(key) + " UTC" * is_period


def count_samples(metric: Any) -> int:
    """Return the number of samples. A collection has as many as its largest metric."""
    if "members" in metric._sections():
        return max(map(count_samples, metric._members().values()))
    return int(total_summary(metric).samples)


# ---- tables ----


def print_table(metric: Any, view: View) -> None:
    """Print the result for people."""
    sections = metric._sections()
    if "members" in sections:
        for number, (name, member) in enumerate(metric._members().items()):
            print("\n" * (number > 0) + name)
            print_table(member, view._replace(labels=()))
        return
    if "current" in sections:
        print_table(metric._current(), view)
    else:
        print(metric.summary(view.level, view.anytime))
    for name, print_section in TABLES.items():
        if name in sections:
            print_section(metric, view)
    if "per_label" in sections:
        _print_labels(metric, view.labels)


def _print_tail(metric: Any, view: View) -> None:
    print(f"\n{metric.tail()}")


def _print_calibration(metric: Any, view: View) -> None:
    print(f"\n{metric.calibration()}")


def _print_labels(metric: ce.MultilabelCrossEntropy, names: Sequence[str]) -> None:
    """Print the loss of each label, unless there are too many."""
    summaries = metric.per_label()
    if 1 < len(summaries) <= MAX_ROWS:
        names = [*map(format_key, names if len(names) == len(summaries) else range(len(summaries)))]
        width = max(14, *(len(name) + 2 for name in names))
        print("\n" + "label".ljust(width) + "nats       losses")
        for name, summary in zip(names, summaries, strict=True):
            print(f"{name:<{width}}{summary.mean:<10.6g} {summary.count:,}")


def _print_text(metric: ce.SequenceCrossEntropy, view: View) -> None:
    """Print the values that do not depend on the tokenizer, if words or bytes were counted."""
    word, byte = metric.per_word(view.level, view.anytime), metric.per_byte(view.level, view.anytime)
    kind = interval_name(view.level, view.anytime)
    rows = [
        ("word perplexity", word, word.perplexity, word.perplexity_interval),
        ("bits per byte", byte, byte.bits, byte.bits_interval),
    ]
    if any(_has_sequences(summary) for _, summary, _, _ in rows):
        print()
    for name, summary, value, (low, high) in rows:
        if _has_sequences(summary):
            counts = f"{summary.samples:,} samples" + f", {summary.skipped:,} skipped" * (summary.skipped > 0)
            print(f"{name:<16}{value:<11.6g}   {kind} {low:.6g} to {high:.6g}, {counts}")


def _has_sequences(summary: Summary) -> bool:
    """Return whether a summary per word or byte has sequences, counted or skipped."""
    return summary.samples > 0 or summary.skipped > 0


def _print_groups(metric: ce.Grouped, view: View) -> None:
    """Print the last periods of a history, or the worst and the best groups, or all if there are few."""
    if not len(metric):
        return
    keys = large_groups(metric, view.least)
    left_out, macro = len(metric) - len(keys), metric.macro(view.level, min_samples=view.least)
    if {"calibration", "tail"} & {*metric.metric._sections()}:
        print()
    if keys:
        _print_ranking(metric, macro, keys, view)
    if left_out:
        print("\n" * bool(keys) + f"left out {plural(left_out, 'group')} with fewer than {view.least:,} samples")
    if kind(metric) == "paired":
        _print_discoveries(metric, view)


def large_groups(metric: ce.Grouped, least: int) -> list[Any]:
    """Return the keys of the groups with so many samples."""
    return [key for key, size in metric._sizes().items() if size >= least] if least else metric.keys()


def _print_ranking(metric: ce.Grouped, macro: ce.Estimate, keys: list[Any], view: View) -> None:
    """Print the mean of groups, and some of the groups with these keys."""
    number, (low, high) = len(keys), macro.interval
    level, anytime, least = view.level, view.anytime, view.least
    of = KINDS.get(kind(metric), Kind())
    unit = f"{' nats' if of.value != 'value' else ''}   {interval_name(level, False)}"
    print(f"mean of groups  {macro.value:.6g}{unit} {low:.6g} to {high:.6g}")
    if metric.options["period"] is not None:
        last = sorted(keys, key=time_sort_key)[-MAX_ROWS:]
        rows = [(key, metric[key].summary(level, anytime)) for key in last]
        tables = {f"the last {MAX_ROWS} of {number:,}" if number > MAX_ROWS else "period": rows}
    elif number <= 2 * N_EXTREMES:
        tables = {"group": metric.worst(number, level, anytime, min_samples=least)}
    else:
        tables = {
            f"the {of.worst} of {number:,}": metric.worst(N_EXTREMES, level, anytime, min_samples=least),
            f"the {of.best}": metric.best(N_EXTREMES, level, anytime, min_samples=least),
        }
    names = {key: group_name(metric, key) for rows in tables.values() for key, _ in rows}
    width = max(map(len, [*tables, *names.values()]))
    width = max(14, width + 2)
    summaries = {key: metric._headline(found) for rows in tables.values() for key, found in rows}
    intervals = {key: format_interval(summary.interval) for key, summary in summaries.items()}
    columns = (
        max(10, *(len(f"{summary.value:.6g}") for summary in summaries.values())),
        max(24, *map(len, intervals.values())),
    )
    for title, rows in tables.items():
        print(f"\n{title:<{width}}{of.value:<{columns[0]}} {'interval':<{columns[1]}} {of.head}losses")
        for key, found in rows:
            value = f"{summaries[key].value:<{columns[0]}.6g} {intervals[key]:<{columns[1]}}"
            print(f"{names[key]:<{width}}{value} {of.more(found)}{summaries[key].count:,}")


def _print_discoveries(metric: ce.Grouped, view: View) -> None:
    """Print the groups in which two models differ, and how many groups are too small for that."""
    found = metric.discoveries(**view.discovery_options)
    print(f"\n{found}")
    if small := len(metric) - len(found.differences):
        print(f"too small to decide: {plural(small, 'group')} with fewer than {view.least_to_decide:,} samples")


class Kind(NamedTuple):
    """How groups of a kind of metric are printed: the words, and a column between interval and losses."""

    value: str = "nats"
    worst: str = "worst"
    best: str = "best"
    head: str = ""
    more: Callable[[Any], str] = lambda found: ""


KINDS = {
    "normalized_entropy": Kind("value"),
    "paired": Kind("A - B", "largest A - B", "smallest", f"{'p-value':<12}", lambda found: f"{found.p_value:<12.3g}"),
}
TABLES: dict[str, Callable[[Any, View], None]] = {
    "tail": _print_tail,
    "calibration": _print_calibration,
    "text": _print_text,
    "group_means": _print_groups,
}


# ---- JSON ----


def print_json(
    metric: Any,
    view: View,
    extra: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> None:
    """Print the result as one JSON object, with ``extra`` fields, and with ``options`` in addition to the metric's."""
    print_object(_to_dict(metric, view, extra, options))


def print_object(value: dict[str, Any]) -> None:
    """Print a dict as one JSON object, with null in place of NaN and infinities."""
    text = json.dumps(_finite(value), allow_nan=False)
    print(text.replace("\x7f", "\\u007f"))  # the only control character that json does not escape


def _to_dict(
    metric: Any,
    view: View,
    extra: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    sections = metric._sections()
    if "members" in sections:
        members = {name: _to_dict(member, view) for name, member in metric._members().items()}
        return {"metrics": members, **(extra or {})}
    result = _results(metric, view, extra or {})
    return result | {"options": flat_options(metric, _options) | (options or {})}


def _results(metric: Any, view: View, extra: dict[str, Any]) -> dict[str, Any]:
    """Return the results of all sections, with ``extra`` fields after the summary."""
    sections = metric._sections()
    if "current" in sections:
        result = _results(metric._current(), view, extra)
    else:
        result = metric.summary(view.level, view.anytime).to_dict() | extra
    for name, to_dict in OBJECTS.items():
        if name in sections:
            result |= to_dict(metric, view)
    return result


def _options(metric: Any) -> dict[str, Any]:
    return {"metric": type(metric).__name__, **metric.options}


def _tail_to_dict(metric: Any, view: View) -> dict[str, Any]:
    return {"tail": metric.tail().to_dict()}


def _calibration_to_dict(metric: Any, view: View) -> dict[str, Any]:
    return {"calibration": metric.calibration().to_dict()}


def _text_to_dict(metric: ce.SequenceCrossEntropy, view: View) -> dict[str, Any]:
    summaries = {
        "per_word": metric.per_word(view.level, view.anytime),
        "per_byte": metric.per_byte(view.level, view.anytime),
    }
    return {name: summary.to_dict() for name, summary in summaries.items() if _has_sequences(summary)}


def _groups_to_dict(metric: ce.Grouped, view: View) -> dict[str, Any]:
    macro = metric.macro(view.level, min_samples=view.least)
    fields = {"value": macro.value, "interval": macro.interval, "stderr": macro.stderr, "groups": macro.groups}
    found = metric.discoveries(**view.discovery_options) if kind(metric) == "paired" else None
    adjusted = {} if found is None else {row.key: row.adjusted_p for row in found.differences}
    of_time = metric.options["period"] is not None
    groups = []
    keys = set(large_groups(metric, view.least))
    for key, summary in metric.summary(view.level, view.anytime).items():
        if key in keys:
            shown = {name: x for name, x in summary.to_dict().items() if name not in NOT_OF_GROUPS}
            more = {} if found is None else {"adjusted_p": adjusted.get(key)}
            groups.append({"key": _json_key(key, of_time), **shown, **more})
    result: dict[str, Any] = {"macro": fields, "groups": groups}
    if view.min_samples is not None:
        result |= {"min_samples": view.min_samples, "groups_left_out": len(metric) - len(groups)}
    if found is not None:
        result["discoveries"] = {
            "fdr": found.fdr,
            "anytime": found.anytime,
            "min_samples": view.least_to_decide,
            "level": found.level,
            "tested": found.tested,
            "groups": [row._asdict() | {"key": _json_key(row.key, of_time)} for row in found],
        }
    return result


OBJECTS: dict[str, Callable[[Any, View], dict[str, Any]]] = {
    "tail": _tail_to_dict,
    "calibration": _calibration_to_dict,
    "text": _text_to_dict,
    "group_means": _groups_to_dict,
}


def _json_key(key: Any, of_time: bool) -> Any:
    """Return a key as a JSON value: times in the form of ISO 8601, bytes as hexadecimal digits.

    ``of_time`` says whether its last part is a period, which is one of UTC.
    """
    if isinstance(key, tuple):
        return [*(_json_key(part, False) for part in key[:-1]), _json_key(key[-1], of_time)]
    if isinstance(key, dt.datetime):
        return key.isoformat() + "Z" * of_time
    return key.hex() if isinstance(key, bytes) else key


def _finite(value: Any) -> Any:
    """Return the value with null in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
