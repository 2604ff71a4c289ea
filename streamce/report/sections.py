"""Which parts the page of a metric has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from streamce.errors import InputError
from streamce.metrics import (
    GANCrossEntropy,
    MeanLoss,
    MulticlassNormalizedEntropy,
    NormalizedEntropy,
    Perplexity,
    SequenceCrossEntropy,
)
from streamce.report import aggregation, html, series_section, summary_section, svg
from streamce.report.html import between, number, tag, text
from streamce.report.series_section import Look
from streamce.stats import summary
from streamce.wrappers import Collection, Decayed, Grouped, Paired, Sliding
from streamce.wrappers.base import Wrapper
from streamce.wrappers.sliding import Panes

if TYPE_CHECKING:
    from streamce.metrics.mergeable import Additive

WORDS = {"BinaryCrossEntropy": "Binary cross-entropy", "MulticlassCrossEntropy": "Multiclass cross-entropy",
         "MultilabelCrossEntropy": "Multilabel cross-entropy", "SequenceCrossEntropy": "Cross-entropy of sequences",
         "CTCCrossEntropy": "CTC loss", "MeanLoss": "Mean loss", "Perplexity": "Perplexity",
         "NormalizedEntropy": "Normalized entropy", "MulticlassNormalizedEntropy": "Normalized entropy of classes",
         "GANCrossEntropy": "Cross-entropy of a GAN"}  # fmt: skip


def title_of(metric: Additive) -> str:
    """What a metric is, in words."""
    if isinstance(metric, Collection):
        return f"{len(metric)} metric" + "s" * (len(metric) != 1)
    if isinstance(metric, Wrapper):
        of = title_of(metric._metric)
        inner = of[0].lower() + of[1:] if not of.startswith("CTC") else of
        options = metric.options
        if isinstance(metric, Paired):
            return f"Two models: {inner}"
        if isinstance(metric, Decayed):
            return f"{of}, half-life {options['half_life']}"
        if isinstance(metric, Sliding):
            last = f"{options['samples']:,} samples" if options["samples"] else options["period"]
            return f"{of} of the last {last}"
        return f"{of} by " + ("time" if options["period"] and not _several(metric) else "group")
    return WORDS.get(type(metric).__name__, type(metric).__name__)


def _several(metric: Additive) -> bool:
    """Whether keys have more parts than a moment."""
    kinds = metric._state.kinds  # which may be there still once all groups are gone
    return kinds is not None and len(kinds) > 1 and metric._state.count() > 0


def of_metric(metric: Additive, look: Look) -> str:
    """All parts of a metric; each that cannot be made of its state says why."""
    if isinstance(metric, Collection):
        return "".join(article(name, metric[name], look) for name in sorted(metric))
    maker = next((made for kind, made in MAKERS.items() if isinstance(metric, kind)), _plain)
    parts = [_guarded(part) for part in maker(metric, look)]
    return "".join(parts) + summary_section.options(_options(metric))


def article(name: str, metric: Additive, look: Look) -> str:
    """One of several metrics."""
    what = tag("p", text(title_of(metric)), class_="sce-sub")
    return tag("article", tag("h2", html.name(name)), what, of_metric(metric, look))


def overview(named: Mapping[str, Additive], look: Look) -> str:
    """The values of several metrics of one kind on one scale; nothing where there is none for each of them."""
    metrics: list[Any] = list(named.values())
    if len({title_of(metric) for metric in metrics}) > 1 or isinstance(
        metrics[0], (Collection, Paired, GANCrossEntropy)
    ):
        return ""
    try:
        found = [(m.micro if isinstance(m, Grouped) else m.summary)(look.level, look.anytime) for m in metrics]
    except InputError:  # which the part of that metric says
        return ""
    scale = svg.around([each.value for each in found], [each.interval for each in found])
    if scale is None:
        return ""
    written = html.aligned(each.value for each in found)
    rows = [
        [html.name(name), written(each.value), between(each.interval, written),
         svg.interval(scale, each.value, each.interval, number(each.value)), f"{each.count:,}"]
        for name, each in zip(named, found, strict=True)
    ]  # fmt: skip
    return html.table(("", "value", look.kind, "", "losses"), rows, "nawpa", ["", "", "", svg.axis(scale), ""])


def _guarded(part: Callable[[], str]) -> str:
    try:
        return part()
    except InputError as error:
        return tag("p", "No result: ", text(error), ".", class_="sce-error")


def _options(metric: Any) -> dict[str, Any]:
    if isinstance(metric, Wrapper):
        own = {name: value for name, value in metric.options.items() if name != "metric"}
        return {"metric": type(metric._metric).__name__, **metric._metric._of_the_loss(), **own}
    found: dict[str, Any] = {"metric": type(metric).__name__, **metric._of_the_loss()}
    return found


def _eps(metric: Any) -> float | None:
    eps: float | None = _options(metric).get("eps")
    return eps


# ---- by kind ----

Parts = list[Callable[[], str]]


def _plain(metric: Any, look: Look) -> Parts:
    """A metric that wraps no other."""
    parts: Parts = [
        lambda: summary_section.of_summary(metric.summary(look.level, look.anytime), *_labels(metric), _eps(metric))
    ]
    if isinstance(metric, (NormalizedEntropy, MulticlassNormalizedEntropy)):
        parts = [lambda: _normalized(metric, look)]
    if isinstance(metric, SequenceCrossEntropy):
        parts.append(lambda: _texts(metric, look))
    options = metric.options
    if options.get("per_class") or isinstance(metric, MulticlassNormalizedEntropy):
        parts.append(lambda: series_section.cells(metric, "class", "classes", look))
    if options.get("per_label"):
        parts.append(lambda: series_section.cells(metric, "label", "labels", look))
    if options.get("per_position"):
        parts.append(lambda: series_section.positions(metric, look))
    if options.get("calibration"):
        parts.append(lambda: summary_section.calibration(metric.calibration()))
    if options.get("tail"):
        parts.append(lambda: summary_section.tail(metric.tail()))
    return parts


def _labels(metric: Any) -> tuple[str, str]:
    """What a value is called, and its unit."""
    per = metric.options.get("per") if hasattr(metric, "options") else None
    unit = f"nats per {per}" if per else "nats"
    label = "perplexity" if isinstance(metric, Perplexity) else "mean" if isinstance(metric, MeanLoss) else ""
    return label, unit


def _normalized(metric: Any, look: Look) -> str:
    found = metric.summary(look.level, look.anytime)
    why = "only one outcome was seen, or the losses have no mean"
    shown = summary_section.of_summary(found, "normalized entropy", eps=_eps(metric), why=why)
    if not found.count:
        return shown
    low, high = found.interval
    skill = 1 - found.value
    entropy = found.mean / found.value if found.value else math.nan
    rows = [
        ["skill, 1 - NE", number(skill), between((1 - high, 1 - low))],
        ["entropy of what came", number(entropy) + " nats" * math.isfinite(entropy), ""],
    ]
    note = html.note("1 is what always predicting how often each outcome came would cost; smaller is better.")
    return shown + note + html.table(("", "", look.kind), rows, "nat")


def _texts(metric: SequenceCrossEntropy, look: Look) -> str:
    """What does not depend on how text is cut into tokens."""
    word, byte = metric.per_word(look.level, look.anytime), metric.per_byte(look.level, look.anytime)
    rows = []
    if word.samples:
        rows.append(
            ["word perplexity", number(word.perplexity), between(word.perplexity_interval), f"{word.samples:,}"]
        )
    if byte.samples:
        rows.append(["bits per byte", number(byte.bits), between(byte.bits_interval), f"{byte.samples:,}"])
    table = html.table(("", "", look.kind, "samples"), rows, "natw")
    return html.section("Per word and byte", table) if rows else ""


def _paired(metric: Paired, look: Look) -> Parts:
    return [lambda: summary_section.paired(metric.summary(look.level, look.anytime))]


def _gan(metric: GANCrossEntropy, look: Look) -> Parts:
    return [lambda: summary_section.gan(metric.summary(look.level, look.anytime))]


def _wrapped(metric: Sliding | Decayed, look: Look) -> Parts:
    """A window, or a stream that decays: its result, and how it came about."""
    found: Parts = [
        lambda: summary_section.of_summary(
            metric.summary(look.level, look.anytime), *_labels(metric._metric), _eps(metric._metric)
        )
    ]
    state = metric._state
    if isinstance(metric, Decayed):
        half_life = metric._half_life

        def lives() -> str:
            _, _, numbers, ledger = metric._state.sorted()
            return series_section.history(
                [int(k) * half_life for k in numbers], ledger, half_life, metric._metric, look, "half-life"
            )

        found.append(lives)
    elif isinstance(state, Panes):

        def panes() -> str:
            _, _, starts, ledger = state.copy()._groups.sorted()
            assert metric._step is not None
            return series_section.history(
                [int(start) for start in starts], ledger, metric._step, metric._metric, look, "pane"
            )

        found.append(panes)
    return found


def _grouped(metric: Grouped, look: Look) -> Parts:
    one = metric._metric
    cells, ledger = metric._sorted()
    period, several = metric._period, isinstance(next(iter(cells), None), tuple)

    def whole() -> str:
        found = summary_section.of_summary(metric.micro(look.level, look.anytime), *_labels(one), _eps(one))
        each = "group" if period is None else "period"
        of = " of a group" if period is not None and several else ""  # which has a mean for each of its periods
        return found + summary_section.estimate(metric.macro(look.level), each, of)

    def history() -> str:
        assert period is not None
        starts = [aggregation.microseconds(key[-1] if several else key) for key in cells]
        return series_section.history(starts, ledger, period, one, look, "period")

    def groups() -> str:
        if period is None:
            return series_section.ranking(
                "group", "groups", list(cells), summary.means(ledger), ledger.cell, metric, look
            )
        # Of keys with a moment: each group over all of its periods.
        parts = [key[:-1] if len(key) > 2 else key[0] for key in cells]
        names = list(dict.fromkeys(parts))
        place = {name: at for at, name in enumerate(names)}
        added = aggregation.summed(ledger, lambda number: place[parts[number]])  # a name may be None
        found = [added.get(at, {}) for at in range(len(names))]
        return series_section.ranking(
            "group", "groups", names, [summary.ratio(cell) for cell in found], found.__getitem__, metric, look
        )

    parts: Parts = [whole]
    if len(cells) and period is not None:
        parts.append(history)
    if len(cells) and (period is None or several):
        parts.append(groups)
    return parts


MAKERS: dict[type, Callable[[Any, Look], Parts]] = {
    Grouped: _grouped,
    Paired: _paired,
    GANCrossEntropy: _gan,
    Sliding: _wrapped,
    Decayed: _wrapped,
}
