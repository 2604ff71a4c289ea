"""Sections with many results: a history, positions in sequences, and rankings of classes and groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.keys.periods import format_period
from streamce.metrics.mean_loss import MeanLoss
from streamce.metrics.sequence import n_positions
from streamce.report import aggregation, html, svg
from streamce.report.elements import Cells
from streamce.report.html import between
from streamce.stats.discoveries import FDR
from streamce.stats.summary import interval_name
from streamce.wrappers.base import kind

if TYPE_CHECKING:
    from streamce.metrics.mergeable import MergeableState
    from streamce.report.elements import Elements
    from streamce.stats.summary import Summary
    from streamce.wrappers.group_differences import Discoveries

N_WORST, N_BEST = 12, 5  # rows of a ranking, if there are more than both
N_BINS = 40  # bars of a histogram of groups


class ViewOptions(NamedTuple):
    """Options of a page: level and kind of intervals, the names of classes or labels, and those of groups."""

    level: float = 0.95
    anytime: bool = False
    names: Sequence[str] = ()
    min_samples: int | None = None
    fdr: float = FDR

    @property
    def interval_name(self) -> str:
        """The name of an interval, such as ``95 % interval``."""
        return interval_name(self.level, self.anytime)


def check_names(metrics: Iterable[MergeableState], names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of classes. Raise InputError if no metric has as many classes or labels."""
    is_sequence = isinstance(names, Iterable) and not isinstance(names, (str, bytes))
    checked = tuple(names) if is_sequence else None
    if checked is None or not all(isinstance(name, str) for name in checked):
        raise InputError("names", f"is {short_repr(names)}", "a sequence of strings")
    if not checked:
        return ()
    try:
        sizes = {size for metric in metrics for size in _sizes(metric)}
    except InputError:  # more was subtracted from a state than had been added, and its section says so
        return checked
    if checked and not sizes:
        raise InputError("names", "is given", "no names, because there are no sums by class or label")
    if checked and len(checked) not in sizes:
        expected = f"one per class or label, {' or '.join(map(str, sorted(sizes)))}"
        raise InputError("names", f"has length {len(checked)}", expected, value=len(checked))
    return checked


def _sizes(metric: Any) -> Iterator[int]:
    """Yield the numbers of classes or labels."""
    sections = metric._sections()
    if "members" in sections:
        for member in metric._members().values():
            yield from _sizes(member)
    elif "current" in sections:
        yield from _sizes(metric._current())
    elif "per_class" in sections or "per_label" in sections:
        cells = metric._state.copy().cells
        if cells is not None and cells.columns():
            yield cells.size


class Series(NamedTuple):
    """Results along an axis: a name, a point and a summary for each."""

    names: Sequence[str]
    points: Sequence[svg.Point]
    summaries: Sequence[Summary]
    gap: float  # least distance of two points that are not connected


def history(starts: Sequence[int | None], elements: Elements, period: int, view: ViewOptions, unit: str) -> str:
    """Return the value over time with its intervals. ``unit`` names the period."""
    intervals = aggregation.history(starts, elements, period, view)
    if not intervals:
        return ""
    width = intervals[0].end - intervals[0].start
    units = "half-lives" if unit == "half-life" else f"{unit}s"
    merged = f" ({width // period:,} {units} of {format_period(period)} together)" if width > period else ""
    title = f"History by {format_period(width)}{merged}"
    first, last = svg.to_datetime(intervals[0].start / 1e6), svg.to_datetime(intervals[-1].end / 1e6)
    xs = svg.Scale(intervals[0].start / 1e6, intervals[-1].end / 1e6)
    summaries = [each.summary for each in intervals]
    points = [
        svg.Point((each.start + each.end) / 2e6, summary.value, *summary.interval)
        for each, summary in zip(intervals, summaries, strict=True)
    ]
    n_points = html.plural(len(intervals), "point")
    words = f"{svg.format_time(first)} to {svg.format_time(last)} UTC, {n_points}. "
    words += f"The band shows the {view.interval_name} of each point."
    if unit == "half-life":
        words += " Within a point, a later loss has up to twice the weight of an earlier one."
    missing = sum(start is None for start in starts)
    if missing:
        words += f" The picture leaves out {html.plural(missing, 'group')} without a time."
    names = [svg.format_time(svg.to_datetime(each.start / 1e6)) for each in intervals]
    series = Series(names, points, summaries, 1.5 * width / 1e6)
    head = ("from (UTC)", NAMES.get(kind(elements.metric), DEFAULT_NAMES).value, view.interval_name)
    return _line_section(title, series, xs, svg.time_labels(xs), words, head)


def positions(metric: Any, view: ViewOptions) -> str:
    """Return the loss by position in the sequence."""
    cells = metric._state.copy().cells
    columns = cells.columns() if cells is not None else {}
    if cells is None or not columns:
        return ""
    size = n_positions(columns)
    intervals = aggregation.positions(cells, size, view.level, view.anytime)
    summaries = [metric._present(each.summary) for each in intervals]
    width = aggregation.positions_per_point(size)
    if width > 1:  # positions of one sequence are correlated, and the state does not hold their correlation
        summaries = [replace(each, interval=(math.nan, math.nan)) for each in summaries]
    xs = svg.Scale(0.5, max(size + 0.5, 1.5))
    points = [
        svg.Point((each.start + 1 + each.end) / 2, summary.value, *summary.interval)
        for each, summary in zip(intervals, summaries, strict=True)
    ]
    names = [str(each.start + 1) + (f" to {each.end}" if each.end > each.start + 1 else "") for each in intervals]
    marks = {x: f"{x:.0f}" for x in svg.ticks(xs) if x >= 0.5 and x == round(x)} | {1.0: "1"}
    words = f"Positions 1 to {size:,} in the sequences. "
    if width > 1:
        words += f"Each point is the mean of {width} positions. It has no interval, because positions of one sequence "
        words += "are correlated."
    else:
        words += f"The band shows the {view.interval_name} of each position."
    series = Series(names, points, summaries, 1.5 * width)
    labels = svg.bottom_labels(marks, xs)
    return _line_section("By position", series, xs, labels, words, ("position", "value", view.interval_name))


def _line_section(
    title: str, series: Series, xs: svg.Scale, labels: str, words: str, head: tuple[str, str, str]
) -> str:
    """Return a section with a line and, on a click, a table of the same numbers."""
    points = series.points
    ys = svg.scale_around([p.value for p in points], [(p.low, p.high) for p in points])
    missing = sum(not math.isfinite(p.value) for p in points)
    note = f" The picture leaves out {html.plural(missing, 'point')} without a finite value." if missing else ""
    if ys and any(p.low < ys.low or p.high > ys.high for p in points):
        note += " At the edge of the picture, the band continues beyond it."
    picture = svg.band(points, xs, ys, series.gap, title, words, labels) if ys else ""
    written = html.aligned(p.value for p in points)
    rows = [
        [name, written(each.value), between(each.interval, written), f"{each.count:,}"]
        for name, each in zip(series.names, series.summaries, strict=True)
    ]
    table = html.table((*head, "losses"), rows, "nawa")
    return html.section(title, picture, html.note(words + note), html.details("Show the numbers", table))


class Names(NamedTuple):
    """The words for the values of elements, and for the order of a ranking."""

    value: str
    order: str
    ends: str
    extremes: str


DEFAULT_NAMES = Names("value", "worst first", "the worst and the best", "worst")
# The words by the kind of the metric, if they differ.
NAMES = {"paired": Names("A - B", "largest A - B first", "the largest and the smallest A - B", "extremes")}


class Ranking(NamedTuple):
    """Classes, labels or groups that are ranked.

    Attributes
    ----------
    noun, nouns : str
        Their name in the singular and in the plural.
    keys : sequence
        Their names.
    elements : Elements
    total : float
        The value of all of them together, NaN if it is not shown.
    unit : str
        The name of their values, if it is not that of the metric.
    least : int
        Those with fewer samples are left out.
    """

    noun: str
    nouns: str
    keys: Sequence[Any]
    elements: Elements
    total: float = math.nan
    unit: str = ""
    least: int = 0


def cells(metric: Any, noun: str, nouns: str, view: ViewOptions) -> str:
    """Return the ranking of classes or labels. The value of a class is a mean loss for any metric."""
    ledger = metric._state.copy().cells
    if ledger is None or not ledger.columns():
        return ""
    own = metric.options.get("classes") or ()
    names = next((each for each in (view.names, own) if len(each) == ledger.size), range(ledger.size))
    return ranking(Ranking(noun, nouns, names, Cells.of_ledger(MeanLoss(), ledger), unit="nats"), view)


def ranking(ranked: Ranking, view: ViewOptions) -> str:
    """Return the worst and the best values on one scale, and the distribution of all values."""
    nouns, elements, total = ranked.nouns, ranked.elements, ranked.total
    scores = elements.scores()
    numbers = range(len(ranked.keys))
    sizes = elements.sizes() if ranked.least else ()
    large = [number for number in numbers if sizes[number] >= ranked.least] if ranked.least else numbers
    known = [number for number in large if not math.isnan(scores[number])]
    unseen, small = len(large) - len(known), len(numbers) - len(large)
    words = []
    if small:
        few = html.plural(small, ranked.noun, nouns)
        words.append(f"The ranking leaves out {few} with fewer than {ranked.least:,} samples.")
    if not known:
        return html.note(*words) if words else ""
    order = sorted(known, key=lambda number: -scores[number])
    all_shown = len(order) <= N_WORST + N_BEST
    worst, best = (order, []) if all_shown else (order[:N_WORST], order[-N_BEST:])
    found = {number: elements.summary(number, view) for number in (*worst, *best)}
    summaries = {number: elements.metric._headline(each) for number, each in found.items()}
    scale = svg.scale_around(
        [each.value for each in summaries.values()], [each.interval for each in summaries.values()]
    )
    words_of = NAMES.get(kind(elements.metric), DEFAULT_NAMES)
    title = f"By {ranked.noun}, {words_of.order}"
    if not all_shown:
        title = f"By {ranked.noun}: {words_of.ends} of {len(order):,}"
    written = html.aligned(each.value for each in summaries.values())
    p_values = ["p-value"] if kind(elements.metric) == "paired" else []

    def row(number: int) -> list[str]:
        each = summaries[number]
        picture = svg.interval(scale, each.value, each.interval, html.number(each.value), total) if scale else ""
        p_value = [f"{found[number].p_value:.3g}"] if p_values else []
        cells = [written(each.value), between(each.interval, written), picture, *p_value, f"{each.count:,}"]
        return [html.name(ranked.keys[number]), *cells]

    rows = [row(number) for number in worst]
    empty = [""] * len(p_values)
    if best:
        rows.append([f"{len(order) - N_WORST - N_BEST:,} {nouns} between", "", "", "", *empty, ""])
        rows += [row(number) for number in best]
    foot = ["", "", "", svg.axis(scale), *empty, ""] if scale else []
    head = (ranked.noun, ranked.unit or words_of.value, view.interval_name, "", *p_values, "losses")
    table = html.table(head, rows, "nawpwa" if p_values else "nawpa", foot)
    if scale is not None and math.isfinite(total):
        words.append("The dashed line is the value of all samples together.")
    if not all_shown:
        chance = f"Chance contributes to the {words_of.extremes} of many {nouns}."
        words.append(f"{chance} An interval is valid for one of them alone.")
    if unseen:
        words.append(f"The ranking leaves out {html.plural(unseen, ranked.noun, nouns)} without a value.")
    values = elements.values() if not all_shown else []
    distribution = _distribution([values[number] for number in known], nouns) if values else ""
    return html.section(title, distribution, table, html.note(*words) if words else "")


def discoveries(found: Discoveries, nouns: str, least: int) -> str:
    """Return the groups in which two models differ, the largest difference first."""
    rows = list(found)
    better = {side: sum(row.better == side for row in rows) for side in ("A", "B")}
    looks, tested = ("any number of looks", nouns) if found.anytime else ("one look", f"tested {nouns}")
    words = [
        f"A is worse in {better['B']:,} and better in {better['A']:,} of {found.tested:,} {tested}, at a false "
        f"discovery rate of {100 * found.fdr:g} % for {looks}.",
        f"Those with fewer than {least:,} samples are left out." if least else "",
    ]
    title = f"{nouns[0].upper()}{nouns[1:]} in which the models differ"
    if not rows:
        return html.section(title, html.note(*filter(None, words)))
    all_shown = len(rows) <= N_WORST + N_BEST
    shown = rows if all_shown else [*rows[:N_WORST], *rows[-N_BEST:]]
    scale = svg.scale_around([row.difference for row in shown], [row.interval for row in shown])
    written = html.aligned(row.difference for row in shown)
    cells = [
        [html.name(row.key), written(row.difference), between(row.interval, written),
         svg.interval(scale, row.difference, row.interval, html.number(row.difference), 0.0) if scale else "",
         f"{row.adjusted_p:.2g}", str(row.better), f"{row.samples:,}"]
        for row in shown
    ]  # fmt: skip
    if not all_shown:
        cells.insert(N_WORST, [f"{len(rows) - len(shown):,} {nouns} between", "", "", "", "", "", ""])
    kind = interval_name(1 - float(f"{1 - found.level:.3g}"), found.anytime)
    foot = ["", "", "", svg.axis(scale), "", "", ""] if scale else []
    table = html.table(("", "A - B", kind, "", "adjusted p", "better", "samples"), cells, "nawpwaw", foot)
    return html.section(title, table, html.note(*filter(None, words)))


def _distribution(found: Sequence[float], nouns: str) -> str:
    """Return a histogram and quantiles of the values."""
    values = sorted(value for value in found if not math.isnan(value))
    counts, low, high = aggregation.histogram(values, N_BINS)
    if not counts or low == high:
        return ""
    edges = [low + (high / N_BINS - low / N_BINS) * i for i in range(N_BINS + 1)]
    titles = [
        f"{html.number(a)} to {html.number(b)}: {count:,} {nouns}"
        for a, b, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    xs = svg.Scale(low, high)
    labels = svg.bottom_labels(svg.ticks(xs), xs)
    outside = sum(math.isfinite(value) and not low <= value <= high for value in values)
    infinite = sum(map(math.isinf, values))
    notes = [f"The outermost bars also hold {outside:,} values beyond them."] if outside else []
    if infinite:
        notes.append(f"The picture leaves out {html.plural(infinite, 'infinite value')}.")
    note = html.note(*notes) if notes else ""
    picture = svg.bars(svg.equal_bars(counts, titles), f"Distribution of the {nouns}", labels, "sce-plot sce-low")
    quantiles = [("minimum", 0.0), ("10 %", 0.1), ("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("maximum", 1.0)]
    written = html.aligned(values)
    rows = [[name, written(values[max(0, math.ceil(q * len(values)) - 1)])] for name, q in quantiles]
    table = html.table((f"quantile of the {nouns}", "value"), rows, "na")
    return html.columns(html.label(f"{len(values):,} {nouns} by value") + picture + note, table)
