"""The parts that show many results: a history, the places of a sequence, classes and groups by their rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.keys.periods import show
from streamce.metrics import SequenceCrossEntropy
from streamce.metrics.base import Metric
from streamce.report import aggregation, html, svg
from streamce.report.html import between, number
from streamce.stats import summary
from streamce.stats.summary import kind_of
from streamce.wrappers import Collection

if TYPE_CHECKING:
    from streamce.core.ledger.ledger import Ledger
    from streamce.metrics.mergeable import Additive
    from streamce.stats.summary import Cell, Summary

WORST, BEST = 12, 5  # rows of a ranking, where there are more than both
BINS = 40  # bars of a histogram of groups


class Look(NamedTuple):
    """How a metric is looked at."""

    level: float = 0.95
    anytime: bool = False
    names: Sequence[str] = ()  # of classes or labels

    @property
    def kind(self) -> str:
        return kind_of(self.level, self.anytime)


def checked_names(metrics: Iterable[Additive], given: Iterable[str]) -> tuple[str, ...]:
    """The names of classes; InputError where none of the metrics has as many classes or labels."""
    names = tuple(given) if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise InputError("names", f"is {short_repr(given)}", "a sequence of strings")
    sizes = {size for metric in metrics for size in _sizes(metric)}
    if names and not sizes:
        raise InputError("names", "is given", "none, as there are no sums by class or label")
    if names and len(names) not in sizes:
        found = " or ".join(map(str, sorted(sizes)))
        raise InputError("names", f"has length {len(names)}", f"one per class or label, {found}", value=len(names))
    return names


def _sizes(metric: Any) -> Iterator[int]:
    """How many classes or labels there are."""
    if isinstance(metric, Collection):
        for name in metric:
            yield from _sizes(metric[name])
    elif isinstance(metric, Metric) and not isinstance(metric, SequenceCrossEntropy):
        cells = metric._state.copy().cells
        if cells is not None and cells.columns():
            yield cells.size


def history(starts: Sequence[int | None], ledger: Ledger, period: int, one: Any, look: Look, what: str) -> str:
    """The value by time, with its intervals."""
    found = [
        each._replace(found=one._shown(each.found))
        for each in aggregation.history(starts, ledger, period, look.level, look.anytime)
    ]
    if not found:
        return ""
    width = found[0].end - found[0].start
    plural = "half-lives" if what == "half-life" else f"{what}s"
    together = f": {width // period:,} {plural} of {show(period)} together" if width > period else ""
    title = f"History by {show(width)}{together}"
    first, last = svg.moment(found[0].start / 1e6), svg.moment(found[-1].end / 1e6)
    xs = svg.Scale(found[0].start / 1e6, found[-1].end / 1e6)
    points = [svg.Point((each.start + each.end) / 2e6, each.found.value, *each.found.interval) for each in found]
    many = html.many(len(found), "point")
    words = f"From {svg.stamp(first)} to {svg.stamp(last)} UTC, {many}; the band is the {look.kind} of each."
    if what == "half-life":
        words += " Within each, a loss weighs up to twice as much the later it came."
    names = [svg.stamp(svg.moment(each.start / 1e6)) for each in found]
    lost = sum(start is None for start in starts)
    more = f" Groups without a time: {lost:,}, not drawn." if lost else ""
    return _drawn(title, points, xs, 1.5 * width / 1e6, svg.times(xs), words + more, names, found, "from, UTC", look)


def positions(metric: Any, look: Look) -> str:
    """The loss by the place in the sequence."""
    cells = metric._state.copy().cells
    held = cells.columns() if cells is not None else {}
    if cells is None or not held:
        return ""
    size = metric._cells_of(cells, held)
    found = [
        each._replace(found=metric._shown(each.found))
        for each in aggregation.positions(cells, size, look.level, look.anytime)
    ]
    width = aggregation.together(size)
    if width > 1:  # places of one sequence are alike, and how much so is not in the state
        found = [each._replace(found=replace(each.found, interval=(math.nan, math.nan))) for each in found]
    xs = svg.Scale(0.5, max(size + 0.5, 1.5))
    points = [svg.Point((each.start + 1 + each.end) / 2, each.found.value, *each.found.interval) for each in found]
    names = [str(each.start + 1) + (f" to {each.end}" if each.end > each.start + 1 else "") for each in found]
    marks = {x: f"{x:.0f}" for x in svg.ticks(xs) if x >= 0.5 and x == round(x)} | {1.0: "1"}
    words = f"Places 1 to {size:,} of the sequences"
    if width > 1:
        words += f", {width} together: without intervals, as places of one sequence are alike."
    else:
        words += f"; the band is the {look.kind} of each."
    return _drawn("By position", points, xs, 1.5 * width, svg.under(marks, xs), words, names, found, "place", look)


def _drawn(
    title: str, points: Sequence[svg.Point], xs: svg.Scale, gap: float, labels: str, words: str,
    names: Sequence[str], found: Sequence[aggregation.Stretch], what: str, look: Look,
) -> str:  # fmt: skip
    ys = svg.around([p.value for p in points], [(p.low, p.high) for p in points])
    missing = sum(not math.isfinite(p.value) for p in points)
    note = f" Not finite, and not drawn: {missing:,}." if missing else ""
    if ys and any(p.low < ys.low or p.high > ys.high for p in points):
        note += " Where the band ends at the edge of the picture, it goes on beyond."
    picture = svg.band(points, xs, ys, gap, title, words, labels) if ys else ""
    written = html.aligned(p.value for p in points)
    rows = [
        [name, written(each.found.value), between(each.found.interval, written), f"{each.found.count:,}"]
        for name, each in zip(names, found, strict=True)
    ]
    table = html.table((what, "value", look.kind, "losses"), rows, "nawa")
    return html.section(title, picture, html.note(words + note), html.details("The numbers", table))


def cells(metric: Any, one: str, many: str, look: Look) -> str:
    """The worst of the classes or labels."""
    ledger = metric._state.copy().cells
    if ledger is None or not ledger.columns():
        return ""
    names = look.names if len(look.names) == ledger.size else range(ledger.size)
    return ranking(one, many, names, summary.means(ledger), ledger.cell, None, look)


def ranking(
    one: str,
    many: str,
    keys: Sequence[Any],
    means: Sequence[float],
    cell_of: Callable[[int], Cell],
    metric: Any,
    look: Look,
) -> str:
    """The worst and the best, on one scale; and how all of them are spread."""
    known = [cell for cell in range(len(keys)) if not math.isnan(means[cell])]
    unseen = len(keys) - len(known)
    if not known:
        return ""
    order = sorted(known, key=lambda cell: -means[cell])
    few = len(order) <= WORST + BEST
    worst, best = (order, []) if few else (order[:WORST], order[-BEST:])

    def found(cell: int) -> Summary:
        each = summary.summarise_cell(cell_of(cell), level=look.level, anytime=look.anytime)
        shown: Summary = metric._metric._shown(each) if metric is not None else each
        return shown

    shown = {cell: found(cell) for cell in (*worst, *best)}
    whole = math.nan if metric is None else metric._summary(metric._state.total(), 0, look.level, look.anytime).value
    scale = svg.around([each.value for each in shown.values()], [each.interval for each in shown.values()])
    title = f"By {one}, the worst first" if few else f"By {one}: the worst and the best of {len(order):,}"
    written = html.aligned(each.value for each in shown.values())

    def row(cell: int) -> list[str]:
        each = shown[cell]
        value, ends = each.value, between(each.interval, written)
        picture = svg.interval(scale, value, each.interval, number(value), whole) if scale else ""
        return [html.name(keys[cell]), written(value), ends, picture, f"{each.count:,}"]

    rows = [row(cell) for cell in worst]
    if best:
        rows.append([f"{len(order) - WORST - BEST:,} {many} between", "", "", "", ""])
        rows += [row(cell) for cell in best]
    foot = ["", "", "", svg.axis(scale), ""] if scale else []
    value = "nats" if metric is None else "value"  # of a class, a mean whatever the metric's value is
    table = html.table((one, value, look.kind, "", "losses"), rows, "nawpa", foot)
    drawn = scale is not None and math.isfinite(whole)
    words = ["The dashed line is the value of all together."] * drawn
    if not few:
        words.append(f"The worst of many {many} are partly the unlucky ones: each interval is its own.")
    words += [f"Without a value, and not ranked: {unseen:,}."] * bool(unseen)
    spread = "" if few else _spread([means[cell] for cell in known], many, metric)
    return html.section(title, spread, table, html.note(*words) if words else "")


def _spread(means: list[float], many: str, metric: Any) -> str:
    """How the means of groups are spread: a histogram and quantiles."""
    values = sorted(metric._metric._value(mean) for mean in means) if metric is not None else sorted(means)
    counts, low, high = aggregation.spread(values, BINS)
    if not counts or low == high:
        return ""
    edges = [low + (high / BINS - low / BINS) * i for i in range(BINS + 1)]
    titles = [
        f"{number(a)} to {number(b)}: {count:,} {many}"
        for a, b, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    xs = svg.Scale(low, high)
    labels = svg.under(svg.ticks(xs), xs)
    outside = sum(math.isfinite(value) and not low <= value <= high for value in values)
    infinite = sum(map(math.isinf, values))
    notes = [f"The outermost bars hold the {outside:,} that lie beyond."] * bool(outside)
    notes += [f"Infinite, and not drawn: {infinite:,}."] * bool(infinite)
    note = html.note(*notes) if notes else ""
    drawn = svg.bars(counts, titles, f"How the {many} are spread", labels, "sce-plot sce-low")
    quantiles = [("least", 0.0), ("10 %", 0.1), ("half", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("most", 1.0)]
    written = html.aligned(values)
    rows = [[name, written(values[max(0, math.ceil(q * len(values)) - 1)])] for name, q in quantiles]
    table = html.table((f"of the {many}", "at most"), rows, "na")
    return html.columns(html.label(f"{len(values):,} {many} by their value") + drawn + note, table)
