"""The sections of the page of a metric.

A metric names its sections (``_sections``), and ``SECTIONS`` has a function for each name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from streamce.errors import InputError
from streamce.keys.periods import microseconds
from streamce.report import aggregation, html, series_section, summary_section, svg
from streamce.report.elements import States, of_groups
from streamce.report.html import between, number, tag, text
from streamce.report.series_section import Ranking, ViewOptions
from streamce.stats.discoveries import MIN_SAMPLES
from streamce.wrappers.base import flat_options, kind

if TYPE_CHECKING:
    from streamce.metrics import SequenceCrossEntropy
    from streamce.metrics.gan import GANCrossEntropy
    from streamce.metrics.mergeable import MergeableState
    from streamce.wrappers import Decayed, Grouped, Paired

# Kinds of metrics that have one value, which can be compared with others.
COMPARABLE = {"summary", "normalized_entropy"}


def of_metric(metric: Any, view: ViewOptions) -> str:
    """Return all sections of a metric. A section that cannot be computed from the state says why."""
    shown = _of_names(metric, view)
    return shown if "members" in metric._sections() else shown + summary_section.options(flat_options(metric, _options))


def _of_names(metric: Any, view: ViewOptions) -> str:
    return "".join(_guarded(SECTIONS[name], metric, view) for name in metric._sections())


def article(name: str, metric: MergeableState, view: ViewOptions) -> str:
    """Return one of several metrics."""
    caption = tag("p", text(metric._caption()), class_="sce-sub")
    return tag("article", tag("h2", html.name(name)), caption, of_metric(metric, view))


def overview(named: Mapping[str, MergeableState], view: ViewOptions) -> str:
    """Return the values of metrics of one kind on one scale, empty if the metrics differ or have no value."""
    metrics: list[Any] = list(named.values())
    if len({metric._caption() for metric in metrics}) > 1 or kind(metrics[0]) not in COMPARABLE:
        return ""
    try:
        summaries = [_current(metric).summary(view.level, view.anytime) for metric in metrics]
    except InputError:  # the section of that metric reports it
        return ""
    scale = svg.scale_around([each.value for each in summaries], [each.interval for each in summaries])
    if scale is None:
        return ""
    written = html.aligned(each.value for each in summaries)
    rows = [
        [html.name(name), written(each.value), between(each.interval, written),
         svg.interval(scale, each.value, each.interval, number(each.value)), f"{each.count:,}"]
        for name, each in zip(named, summaries, strict=True)
    ]  # fmt: skip
    head = ("", "value", view.interval_name, "", "losses")
    return html.table(head, rows, "nawpa", ["", "", "", svg.axis(scale), ""])


def _guarded(section: Callable[[Any, ViewOptions], str], metric: Any, view: ViewOptions) -> str:
    try:
        return section(metric, view)
    except InputError as error:
        return tag("p", "No result: ", text(error), ".", class_="sce-error")


def _current(metric: Any) -> Any:
    """Return the metric of the samples that count now, of all groups together."""
    return _current(metric._current()) if "current" in metric._sections() else metric


def _options(metric: Any) -> dict[str, Any]:
    """Return the class, and the options that change a loss."""
    header = metric._header()
    return {"metric": header["metric"], **header["options"]}


def _eps(metric: Any) -> float | None:
    eps: float | None = metric.options.get("eps")
    return eps


# ---- one result ----


def _summary(metric: Any, view: ViewOptions) -> str:
    per = metric.options.get("per")
    unit = f"nats per {per}" if per else "nats"
    return summary_section.of_summary(metric.summary(view.level, view.anytime), metric._caption(), unit, _eps(metric))


def _normalized_entropy(metric: Any, view: ViewOptions) -> str:
    result = metric.summary(view.level, view.anytime)
    reason = "only one outcome has been seen, or the losses have no mean"
    shown = summary_section.of_summary(result, metric._caption(), eps=_eps(metric), reason=reason)
    if not result.count:
        return shown
    low, high = result.interval
    entropy = result.mean / result.value if result.value else math.nan
    rows = [
        ["skill (1 - NE)", number(1 - result.value), between((1 - high, 1 - low))],
        ["entropy of the outcomes", number(entropy) + " nats" * math.isfinite(entropy), ""],
    ]
    note = html.note("Smaller is better. 1 is the loss of always predicting the frequencies of the outcomes.")
    return shown + note + html.table(("", "", view.interval_name), rows, "nat")


def _text(metric: SequenceCrossEntropy, view: ViewOptions) -> str:
    """Return values that do not depend on the tokenizer, if words or bytes were counted."""
    word, byte = metric.per_word(view.level, view.anytime), metric.per_byte(view.level, view.anytime)
    results = [
        ("word perplexity", word, word.perplexity, word.perplexity_interval),
        ("bits per byte", byte, byte.bits, byte.bits_interval),
    ]
    rows = [
        [name, number(value), between(interval), f"{summary.samples:,}", f"{summary.skipped:,}"]
        for name, summary, value, interval in results
        if summary.samples or summary.skipped
    ]
    if not rows:
        return ""
    table = html.table(("", "", view.interval_name, "samples", "skipped"), rows, "natww")
    note = html.note("A sequence with an invalid token is skipped here.") if word.skipped or byte.skipped else ""
    return html.section("Per word and byte", table + note)


def _classes(metric: Any, view: ViewOptions) -> str:
    return series_section.cells(metric, "class", "classes", view)


def _labels(metric: Any, view: ViewOptions) -> str:
    return series_section.cells(metric, "label", "labels", view)


def _calibration(metric: Any, view: ViewOptions) -> str:
    return summary_section.calibration(metric.calibration())


def _tail(metric: Any, view: ViewOptions) -> str:
    return summary_section.tail(metric.tail())


def _paired(metric: Paired, view: ViewOptions) -> str:
    return summary_section.paired(metric.summary(view.level, view.anytime))


def _gan(metric: GANCrossEntropy, view: ViewOptions) -> str:
    return summary_section.gan(metric.summary(view.level, view.anytime))


# ---- time and groups ----


def _of_current(metric: Any, view: ViewOptions) -> str:
    return _of_names(metric._current(), view)


def _members(metric: Any, view: ViewOptions) -> str:
    members = metric._members()
    return "".join(article(name, members[name], view) for name in sorted(members))


def _half_lives(metric: Decayed, view: ViewOptions) -> str:
    half_life = microseconds(metric.options["half_life"], "half_life")
    states = metric._state.sorted()
    starts = [int(number) * half_life for number in states]
    return series_section.history(starts, States(metric.metric, [*states.values()]), half_life, view, "half-life")


def _panes(metric: Any, view: ViewOptions) -> str:
    states = metric._state.sorted()
    starts = [aggregation.microseconds(start) for start in states]
    step = microseconds(metric.options["step"], "step")
    return series_section.history(starts, States(metric.metric, [*states.values()]), step, view, "pane")


def _group_means(metric: Grouped, view: ViewOptions) -> str:
    noun, of = "group", ""
    if metric.options["period"] is not None:
        noun = "period"
        of = " of a group" if "groups" in metric._sections() else ""  # a group has a mean for each of its periods
    unit = "" if kind(metric) == "normalized_entropy" else "nats"
    return summary_section.estimate(metric.macro(view.level, min_samples=view.min_samples or 0), noun, of, unit)


def _history(metric: Grouped, view: ViewOptions) -> str:
    keys, elements = of_groups(metric)
    times = [key[-1] if isinstance(key, tuple) else key for key in keys]
    period = microseconds(metric.options["period"])
    found = series_section.history(list(map(aggregation.microseconds, times)), elements, period, view, "period")
    return found if "groups" in metric._sections() else found + _discoveries(metric, view)


def _groups(metric: Grouped, view: ViewOptions) -> str:
    keys, elements = of_groups(metric)
    if metric.options["period"] is not None:  # keys end with a period: add up all periods of each group
        groups = [key[:-1] if len(key) > 2 else key[0] for key in keys]
        keys = list(dict.fromkeys(groups))
        numbers = {key: number for number, key in enumerate(keys)}
        elements = elements.added([numbers[key] for key in groups])
    total = metric.metric._headline(metric.micro(view.level, view.anytime)).value
    ranked = Ranking("group", "groups", keys, elements, total, least=view.min_samples or 0)
    return series_section.ranking(ranked, view) + _discoveries(metric, view)


def _discoveries(metric: Grouped, view: ViewOptions) -> str:
    """Return the groups in which two models differ, if they are groups of two models."""
    if kind(metric) != "paired" or not len(metric):
        return ""
    least = MIN_SAMPLES if view.min_samples is None else view.min_samples
    nouns = "groups"
    if metric.options["period"] is not None:
        nouns = "groups and periods" if "groups" in metric._sections() else "periods"
    return series_section.discoveries(metric.discoveries(view.fdr, view.anytime, least), nouns, least)


SECTIONS: dict[str, Callable[[Any, ViewOptions], str]] = {
    "current": _of_current,
    "members": _members,
    "summary": _summary,
    "normalized_entropy": _normalized_entropy,
    "text": _text,
    "per_class": _classes,
    "per_label": _labels,
    "per_position": series_section.positions,
    "calibration": _calibration,
    "tail": _tail,
    "paired": _paired,
    "gan": _gan,
    "half_lives": _half_lives,
    "panes": _panes,
    "group_means": _group_means,
    "history": _history,
    "groups": _groups,
}
