"""Pictures as inline SVG: an interval, a line with a band, bars, a divided bar; and scales with their labels.

A picture is as wide as its container, from a phone to a page, but its text keeps its size. To achieve this, places are
percentages of the plot, and paths are in an inner SVG that is stretched. Labels are in the margin that the style leaves
around the plot. Nothing has an id, so a picture can be on a page twice.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from streamce.keys.encoding import EPOCH
from streamce.report.html import number, tag, text

UNIT = 1000  # width and height of the inner SVG of a path
MAX_COORDINATE = 20 * UNIT  # larger coordinates of a path are cut
DAY = 86_400
MAX_TICK_DIGITS = 6


class Scale(NamedTuple):
    """Numbers from ``low`` to ``high`` as fractions from 0 to 1."""

    low: float
    high: float

    def fraction(self, x: float) -> float:
        """Return the fraction of a number. It uses halves, because the difference of two numbers may exceed float64."""
        width = self.high / 2 - self.low / 2
        return (x / 2 - self.low / 2) / width if width > 0 else 0.5


def scale_around(numbers: Iterable[float], intervals: Iterable[tuple[float, float]] = (), *more: float) -> Scale | None:
    """Return a scale that contains all numbers, and their intervals if these are not too wide; None if there are none.

    The interval of a few samples may be so wide that nothing else could be distinguished beside it.
    """
    values = [x for x in (*numbers, *more) if math.isfinite(x)]
    if not values:
        return None
    low, high = min(values), max(values)
    ends = [(a, b) for a, b in intervals if math.isfinite(a) and math.isfinite(b)]
    widths = sorted(b / 2 - a / 2 for a, b in ends)
    room = 2 * max(high / 2 - low / 2, widths[len(widths) // 2] if widths else 0.0)
    floor, ceiling = low - room if low < 0 else max(0.0, low - room), high + room
    lowest, highest = min([low, *(a for a, _ in ends)]), max([high, *(b for _, b in ends)])
    low, high = max(lowest, floor), min(highest, ceiling)
    if low == high:
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    return Scale(min(max(low, -1e308), 1e308), max(min(high, 1e308), -1e308))


def ticks(scale: Scale, max_ticks: int = 4) -> dict[float, str]:
    """Return round numbers on a scale with their labels, or its ends if no labels of round numbers would differ."""
    raw = (scale.high / 2 - scale.low / 2) / max_ticks * 2
    if 1e-300 < raw < 1e300:
        unit = 10.0 ** math.floor(math.log10(raw))
        steps = [factor * unit for factor in (1, 2, 5, 10)]
        index = next(i for i, step in enumerate(steps) if step >= raw * (1 - 1e-9))
        for step in (steps[index], steps[max(0, index - 1)]):  # a finer step if there is only one tick
            first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
            if last > first:
                break
        numbers = [k * step for k in range(first, last + 1)] if last - first < 2 * max_ticks else []
        top = max(map(abs, numbers), default=0.0)
        digits = math.floor(math.log10(top)) - math.floor(math.log10(step)) + 1 if top else 1
        is_decimal, decimals = 1e-4 < top < 1e6, max(0, -math.floor(math.log10(step)))
        labels = ["0" if x == 0 else f"{x:.{decimals}f}" if is_decimal else f"{x:.{digits}g}" for x in numbers]
        if 2 <= len(set(labels)) == len(numbers) and digits <= MAX_TICK_DIGITS:
            return dict(zip(numbers, labels, strict=True))
    ends = {scale.low, scale.high} if scale.fraction(scale.low) < scale.fraction(scale.high) else {scale.high}
    return {x: f"{x:.3g}" for x in sorted(ends)}


def round_scale(scale: Scale) -> Scale:
    """Return the scale extended to the next ticks."""
    marks = sorted(ticks(scale))
    step = marks[-1] / (len(marks) - 1) - marks[0] / (len(marks) - 1) if len(marks) > 1 else 0.0
    low = marks[0] - step if marks[0] > scale.low else scale.low
    high = marks[-1] + step if marks[-1] < scale.high else scale.high
    return Scale(low, high) if math.isfinite(low) and math.isfinite(high) else scale


# ---- marks ----


def percentage(x: float) -> str:
    """Return a fraction of the plot as a percentage."""
    return f"{100 * min(max(x, -1.0), 2.0):.2f}".rstrip("0").rstrip(".") + "%"


def plot(title: str, *inner: str, kind: str = "sce-plot", description: str = "") -> str:
    """Return a picture, with a title and a description for readers who cannot see it."""
    texts = [tag("title", text(title))] + ([tag("desc", text(description))] if description else [])
    return tag("svg", *texts, *inner, class_=kind, role="img")


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "sce-rule") -> str:
    return tag("line", x1=percentage(x1), y1=percentage(y1), x2=percentage(x2), y2=percentage(y2), class_=kind)


def label(x: float, y: float, words: str, anchor: str = "middle", dx: int = 0, dy: int = 0, kind: str = "") -> str:
    """Return words at a place, or some pixels from it."""
    return tag("text", text(words), x=percentage(x), y=percentage(y), dx=dx or None, dy=dy or None, text_anchor=anchor,
               class_=kind or None)  # fmt: skip


def rectangle(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    inner = tag("title", text(title)) if title else ""
    return tag(
        "rect", inner, x=percentage(x), y=percentage(y), width=percentage(width), height=percentage(height), class_=kind
    )


def dot(x: float, y: float, radius: float = 3.5) -> str:
    return tag("circle", cx=percentage(x), cy=percentage(y), r=f"{radius:.3g}", class_="sce-dot")


def stretch(*paths: str) -> str:
    """Return paths as large as the plot. Their unit is a thousandth of it. Parts outside of the plot are cut."""
    inner = [path for path in paths if path]
    return tag("svg", *inner, viewBox=f"0 0 {UNIT} {UNIT}", preserveAspectRatio="none", width="100%", height="100%")


def path(d: str, kind: str) -> str:
    return tag("path", d=d, class_=kind, vector_effect="non-scaling-stroke") if d else ""


def bottom_labels(labels: dict[float, str], scale: Scale) -> str:
    """Return the labels of an axis along the bottom."""
    return "".join(label(x, 1, words, anchor, dy=16) for x, words, anchor in _fitting(labels, scale, 32))


def _fitting(labels: dict[float, str], scale: Scale, characters: float) -> list[tuple[float, str, str]]:
    """Return the labels that fit beside each other, with their places and anchors.

    ``characters`` is the number of characters for which the narrowest screen has room. Labels are placed from the last
    to the first, and a label that would overlap a placed one is left out.
    """
    fitting: list[tuple[float, str, str]] = []
    free = math.inf
    for x, words in sorted(labels.items(), reverse=True):
        middle, length = characters * scale.fraction(x), len(words) - words.count(".") / 2
        anchor, left = "middle", middle - length / 2
        if left < -0.5:
            anchor, left = "start", middle
        elif middle + length / 2 > characters + 0.5:
            anchor, left = "end", middle - length
        if left + length + 1 <= free:
            fitting.append((scale.fraction(x), words, anchor))
            free = left
    return fitting


def left_labels(labels: dict[float, str], scale: Scale) -> str:
    """Return the labels of an axis along the left side, with a line across the plot for each."""
    parts = []
    for x, words in labels.items():
        y = 1 - scale.fraction(x)
        parts.append(line(0, y, 1, y, "sce-grid") + label(0, y, words, "end", dx=-8, dy=4))
    return "".join(parts)


# ---- pictures ----


def interval(scale: Scale, value: float, ends: tuple[float, float], title: str, reference: float = math.nan) -> str:
    """Return a dot with its interval on one line. A mark at a side says that the interval continues beyond."""
    parts = [line(0, 0.5, 1, 0.5, "sce-grid")]
    if 0 <= scale.fraction(reference) <= 1:
        x = scale.fraction(reference)
        parts.append(line(x, 0, x, 1, "sce-reference"))
    low, high = (scale.fraction(end) for end in ends)
    if not math.isnan(low) and not math.isnan(high):
        parts.append(line(min(max(low, 0), 1), 0.5, max(min(high, 1), 0), 0.5, "sce-interval"))
    parts += [_beyond(0, "M5-4L0 0 5 4")] if low < 0 else []
    parts += [_beyond(1, "M-5-4L0 0-5 4")] if high > 1 else []
    if math.isfinite(value):
        parts.append(dot(scale.fraction(value), 0.5))
    elif math.isinf(value):
        parts.append(
            label(float(value > 0), 0.5, number(value), "end" if value > 0 else "start", dy=4, kind="sce-infinite")
        )
    return plot(title, *parts, kind="sce-row")


def _beyond(x: float, d: str) -> str:
    return tag("svg", tag("path", d=d, class_="sce-line"), x=percentage(x), y="50%", overflow="visible")


def axis(scale: Scale, all_labels: bool = False) -> str:
    """Return the axis below intervals, with labels at its ends, as in a narrow column, or with all labels."""
    labelled = marked = ticks(scale)
    placed = _fitting(labelled, scale, 38)
    if not all_labels:
        for max_ticks in (4, 8, 16, 32):  # the outermost ticks of a finer axis may have room for their labels
            finer = ticks(scale, max_ticks)
            labelled = {x: finer[x] for x in (min(finer), max(finer))}
            placed = _fitting(labelled, scale, 11)
            if len(placed) > 1:
                break
    marks = "".join(line(scale.fraction(x), 0, scale.fraction(x), 0.25) for x in sorted({*marked, *labelled}))
    labels = "".join(label(x, 1, words, anchor, dy=-1) for x, words, anchor in placed)
    return tag("svg", line(0, 0, 1, 0), marks, labels, class_="sce-row sce-axis", aria_hidden="true")


class Point(NamedTuple):
    """A point of a line: its place, its value and its interval."""

    x: float
    value: float
    low: float
    high: float


def band(points: Sequence[Point], xs: Scale, ys: Scale, gap: float, title: str, description: str, labels: str) -> str:
    """Return a line with a band of intervals. It is broken where there is no value, or a gap between points."""
    lines, areas, dots = [], [], []
    for run in _runs(points, gap, lambda p: math.isfinite(p.value)):
        if len(run) > 1:
            lines.append(_along([(p.x, p.value) for p in run], xs, ys))
        else:
            dots.append(dot(xs.fraction(run[0].x), 1 - ys.fraction(run[0].value)))
    for run in _runs(points, gap, lambda p: math.isfinite(p.low) and math.isfinite(p.high)):
        if len(run) == 1:  # widen it, so that it is visible
            p, side = run[0], (xs.high - xs.low) / 400
            run = [p._replace(x=p.x - side), p._replace(x=p.x + side)]
        top, bottom = [(p.x, p.high) for p in run], [(p.x, p.low) for p in reversed(run)]
        areas.append(_along([*top, *bottom], xs, ys) + "z")
    drawn = stretch(path("".join(areas), "sce-band"), path("".join(lines), "sce-line"))
    return plot(title, left_labels(ticks(ys), ys), line(0, 1, 1, 1), drawn, *dots, labels, description=description)


def _runs(points: Sequence[Point], gap: float, is_known: Callable[[Point], bool]) -> list[list[Point]]:
    """Return runs of points that are known and at most ``gap`` apart."""
    runs: list[list[Point]] = []
    before: float | None = None
    for point in points:
        if not is_known(point):
            before = None
            continue
        if before is None or point.x - before > gap:
            runs.append([])
        runs[-1].append(point)
        before = point.x
    return runs


def _along(places: Iterable[tuple[float, float]], xs: Scale, ys: Scale) -> str:
    """Return the path through places, in thousandths of the plot."""
    inner = [(UNIT * xs.fraction(x), UNIT * (1 - ys.fraction(y))) for x, y in places]
    limited = [
        (min(max(a, -MAX_COORDINATE), MAX_COORDINATE), min(max(b, -MAX_COORDINATE), MAX_COORDINATE)) for a, b in inner
    ]
    return "M" + "L".join(f"{a:.5g} {b:.5g}" for a, b in limited)


class Bars(NamedTuple):
    """Bars from edge to edge: their amounts, their titles, and their edges as fractions of the plot."""

    amounts: Sequence[float]
    titles: Sequence[str]
    edges: Sequence[float]


def equal_bars(amounts: Sequence[float], titles: Sequence[str]) -> Bars:
    """Return bars of equal width."""
    return Bars(amounts, titles, [i / max(1, len(amounts)) for i in range(len(amounts) + 1)])


def bars(drawn: Bars, title: str, labels: str, kind: str, description: str = "") -> str:
    """Return bars side by side, whose areas are their amounts. The tallest is as tall as the plot.

    A browser shows the title of a bar while the pointer is on it.
    """
    widths = [b - a for a, b in itertools.pairwise(drawn.edges)]
    heights = [amount / width for amount, width in zip(drawn.amounts, widths, strict=True)]
    top = max(heights, default=0.0)
    rectangles = [
        rectangle(left, 1 - height / top, width * 0.86, height / top, "sce-bar", each)
        for left, width, height, each in zip(drawn.edges, widths, heights, drawn.titles, strict=False)
        if height > 0
    ]
    return plot(title, line(0, 1, 1, 1), *rectangles, labels, kind=kind, description=description)


def shares(parts: Sequence[tuple[str, float, str]], title: str) -> str:
    """Return one bar that is divided into shares of 1: name, share and kind."""
    drawn, left = [], 0.0
    for name, share, kind in parts:
        if share > 0:
            drawn.append(rectangle(left, 0, share, 1, kind, f"{name}: {100 * share:.4g} %"))
            left += share
    return plot(title, *drawn, kind="sce-row sce-shares")


# ---- time ----

# Steps of a time axis in seconds. Longer steps are whole months. If labels are days, there is room for one more.
STEPS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY, 2 * DAY, 7 * DAY, 14 * DAY)
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000, 60000)
FIRST, LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999


def to_datetime(seconds: float) -> dt.datetime:
    """Return the time of seconds since 1970, limited to the years that ``datetime`` has."""
    return EPOCH + dt.timedelta(seconds=min(max(seconds, FIRST), LAST))


def time_labels(scale: Scale) -> str:
    """Return the labels of an axis of seconds since 1970, along the bottom.

    A label is the finer part of a time. The coarser part is below it if it differs from that of the label before.
    """
    length = scale.high - scale.low
    step = next((step for step in STEPS if length <= step * (5 if step >= DAY else 4)), None)
    if step is None:
        times = _months(scale, next(m for m in MONTHS if length <= m * 30.44 * DAY * 5))
        forms = ("%b", "%Y") if length < 4 * 366 * DAY else ("%Y", "")
    else:
        origin = -3 * DAY if step % (7 * DAY) == 0 else 0  # weeks begin on a Monday
        first, last = math.ceil((scale.low - origin) / step), math.floor((scale.high - origin) / step)
        times = [to_datetime(k * step + origin) for k in range(first, last + 1)]
        forms = ("%-d %b", "%Y") if step >= DAY else ("%H:%M" if step >= 60 else "%H:%M:%S", "%-d %b")
    parts, before = [], ""
    for each in times or [to_datetime(scale.low)]:
        x = scale.fraction((each - EPOCH).total_seconds())
        fine, coarse = (_written(each, form) for form in forms)
        if each.microsecond:  # the scale is so short that no step falls in it
            fine = f"{each:%H:%M:%S.%f}"
        parts.append(line(x, 1, x, 1.03) + label(x, 1, fine, dy=16))
        parts.append(label(x, 1, coarse, dy=31) if coarse != before else "")
        before = coarse
    return "".join(parts)


def format_time(each: dt.datetime) -> str:
    """Return a time as text, to the minute if it has no seconds."""
    return each.isoformat(" ", "auto" if each.second or each.microsecond else "minutes")


def _months(scale: Scale, step: int) -> list[dt.datetime]:
    """Return the starts of months on a scale that are ``step`` months apart."""
    first, last = to_datetime(scale.low), to_datetime(scale.high)
    months = range(-(-(12 * first.year + first.month - 1) // step) * step, 12 * last.year + last.month, step)
    starts = [dt.datetime(month // 12, month % 12 + 1, 1) for month in months if month // 12 <= dt.MAXYEAR]
    return [each for each in starts if first <= each]


MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _written(each: dt.datetime, form: str) -> str:
    """Return a time in the format of strftime, in English for any locale."""
    parts = {"%Y": f"{each.year}", "%b": MONTH_NAMES[each.month - 1], "%-d": f"{each.day}", "%H": f"{each.hour:02}",
             "%M": f"{each.minute:02}", "%S": f"{each.second:02}"}  # fmt: skip
    for code, value in parts.items():
        form = form.replace(code, value)
    return form
