"""Marks of inline SVG: an interval, a line with its band, bars, dots, a shared bar; and scales with their labels.

A picture is as wide as there is room, from a phone to a page, while its text keeps its size: places are percentages of
the plot, and what has to be a path lies in an inner SVG that is stretched. Labels stand in the margin that the plot's
style leaves around it. Nothing has an id, so that a picture can be shown twice on one page.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from streamce.keys.key_columns import EPOCH
from streamce.report.html import number, tag, text

UNIT = 1000  # sides of the inner SVG of a path
FAR = 20 * UNIT  # beyond which a path is cut
DAY = 86_400
DIGITS = 6  # of a tick's label


class Scale(NamedTuple):
    """Numbers from ``low`` to ``high`` as places from 0 to 1."""

    low: float
    high: float

    def at(self, x: float) -> float:
        """The place of a number. Halves, as the difference of two numbers may be beyond float64."""
        width = self.high / 2 - self.low / 2
        return (x / 2 - self.low / 2) / width if width > 0 else 0.5


def around(numbers: Iterable[float], intervals: Iterable[tuple[float, float]] = (), *more: float) -> Scale | None:
    """A scale that holds all numbers, and of their intervals what lies within as much again; None of no numbers.

    The interval of a few samples may be so wide that nothing else could be told apart beside it.
    """
    values = [x for x in (*numbers, *more) if math.isfinite(x)]
    if not values:
        return None
    low, high = min(values), max(values)
    ends = [(a, b) for a, b in intervals if math.isfinite(a) and math.isfinite(b)]
    widths = sorted(b / 2 - a / 2 for a, b in ends)
    room = 2 * max(high / 2 - low / 2, widths[len(widths) // 2] if widths else 0.0)
    floor, ceiling = low - room if low < 0 else max(0.0, low - room), high + room
    least, most = min([low, *(a for a, _ in ends)]), max([high, *(b for _, b in ends)])
    low, high = max(least, floor), min(most, ceiling)
    if low == high:
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    return Scale(min(max(low, -1e308), 1e308), max(min(high, 1e308), -1e308))


def ticks(scale: Scale, most: int = 4) -> dict[float, str]:
    """Round numbers on a scale with their labels; its ends where there are none that can be told apart."""
    raw = (scale.high / 2 - scale.low / 2) / most * 2
    if 1e-300 < raw < 1e300:
        unit = 10.0 ** math.floor(math.log10(raw))
        steps = [factor * unit for factor in (1, 2, 5, 10)]
        at = next(at for at, step in enumerate(steps) if step >= raw * (1 - 1e-9))
        for step in (steps[at], steps[max(0, at - 1)]):  # a finer one where there is but one of them
            first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
            if last > first:
                break
        found = [k * step for k in range(first, last + 1)] if last - first < 2 * most else []
        top = max(map(abs, found), default=0.0)
        digits = math.floor(math.log10(top)) - math.floor(math.log10(step)) + 1 if top else 1
        plain, decimals = 1e-4 < top < 1e6, max(0, -math.floor(math.log10(step)))
        labels = ["0" if x == 0 else f"{x:.{decimals}f}" if plain else f"{x:.{digits}g}" for x in found]
        if 2 <= len(set(labels)) == len(found) and digits <= DIGITS:
            return dict(zip(found, labels, strict=True))
    ends = {scale.low, scale.high} if scale.at(scale.low) < scale.at(scale.high) else {scale.high}
    return {x: f"{x:.3g}" for x in sorted(ends)}


def rounded(scale: Scale) -> Scale:
    """The scale, as long as whole steps of its ticks."""
    found = sorted(ticks(scale))
    step = found[-1] / (len(found) - 1) - found[0] / (len(found) - 1) if len(found) > 1 else 0.0
    low = found[0] - step if found[0] > scale.low else scale.low
    high = found[-1] + step if found[-1] < scale.high else scale.high
    return Scale(low, high) if math.isfinite(low) and math.isfinite(high) else scale


# ---- pieces ----


def place(x: float) -> str:
    """A place as a percentage."""
    return f"{100 * min(max(x, -1.0), 2.0):.2f}".rstrip("0").rstrip(".") + "%"


def plot(title: str, *inner: str, kind: str = "sce-plot", what: str = "") -> str:
    """A picture, with what it shows in words for those who do not see it."""
    words = [tag("title", text(title))] + ([tag("desc", text(what))] if what else [])
    return tag("svg", *words, *inner, class_=kind, role="img")


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "sce-rule") -> str:
    return tag("line", x1=place(x1), y1=place(y1), x2=place(x2), y2=place(y2), class_=kind)


def words(x: float, y: float, label: str, anchor: str = "middle", dx: int = 0, dy: int = 0, kind: str = "") -> str:
    """A label at a place, so many pixels from it."""
    return tag("text", text(label), x=place(x), y=place(y), dx=dx or None, dy=dy or None, text_anchor=anchor,
               class_=kind or None)  # fmt: skip


def rectangle(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    inner = tag("title", text(title)) if title else ""
    return tag("rect", inner, x=place(x), y=place(y), width=place(width), height=place(height), class_=kind)


def dot(x: float, y: float, radius: float = 3.5) -> str:
    return tag("circle", cx=place(x), cy=place(y), r=f"{radius:.3g}", class_="sce-dot")


def stretched(*paths: str) -> str:
    """Paths in thousandths of the plot, from its upper left corner; what leaves it is cut."""
    inner = [path for path in paths if path]
    return tag("svg", *inner, viewBox=f"0 0 {UNIT} {UNIT}", preserveAspectRatio="none", width="100%", height="100%")


def path(d: str, kind: str) -> str:
    return tag("path", d=d, class_=kind, vector_effect="non-scaling-stroke") if d else ""


def under(labels: dict[float, str], scale: Scale) -> str:
    """The labels of an axis along the bottom."""
    return "".join(words(at, 1, label, anchor, dy=16) for at, label, anchor in _fitting(labels, scale, 32))


def _fitting(labels: dict[float, str], scale: Scale, room: float) -> list[tuple[float, str, str]]:
    """Labels with their places and anchors, within the sides, where so many characters have room on the narrowest
    screen; those left out that would lie on another, from the last one on."""
    found: list[tuple[float, str, str]] = []
    free = math.inf
    for x, label in sorted(labels.items(), reverse=True):
        at, long = room * scale.at(x), len(label) - label.count(".") / 2
        anchor, left = "middle", at - long / 2
        if left < -0.5:
            anchor, left = "start", at
        elif at + long / 2 > room + 0.5:
            anchor, left = "end", at - long
        if left + long + 1 <= free:
            found.append((scale.at(x), label, anchor))
            free = left
    return found


def beside(labels: dict[float, str], scale: Scale) -> str:
    """The labels of an axis along the left side, with a line across the plot for each."""
    parts = []
    for x, label in labels.items():
        y = 1 - scale.at(x)
        parts.append(line(0, y, 1, y, "sce-grid") + words(0, y, label, "end", dx=-8, dy=4))
    return "".join(parts)


# ---- pictures ----


def interval(scale: Scale, value: float, ends: tuple[float, float], title: str, reference: float = math.nan) -> str:
    """A dot with its interval, on one line; a mark at the side that either lies beyond."""
    parts = [line(0, 0.5, 1, 0.5, "sce-grid")]
    if 0 <= scale.at(reference) <= 1:
        at = scale.at(reference)
        parts.append(line(at, 0, at, 1, "sce-reference"))
    low, high = (scale.at(end) for end in ends)
    if not math.isnan(low) and not math.isnan(high):
        parts.append(line(min(max(low, 0), 1), 0.5, max(min(high, 1), 0), 0.5, "sce-interval"))
    parts += [_beyond(0, "M5-4L0 0 5 4")] if low < 0 else []
    parts += [_beyond(1, "M-5-4L0 0-5 4")] if high > 1 else []
    if math.isfinite(value):
        parts.append(dot(scale.at(value), 0.5))
    elif math.isinf(value):
        parts.append(words(float(value > 0), 0.5, number(value), "end" if value > 0 else "start", dy=4, kind="sce-odd"))
    return plot(title, *parts, kind="sce-row")


def _beyond(x: float, d: str) -> str:
    return tag("svg", tag("path", d=d, class_="sce-line"), x=place(x), y="50%", overflow="visible")


def axis(scale: Scale, all_of_them: bool = False) -> str:
    """The axis under intervals: labelled at its ends, as under a column that is narrow, or all along."""
    shown = found = ticks(scale)
    placed = _fitting(found, scale, 38)
    if not all_of_them:
        for most in (4, 8, 16, 32):  # the outermost of a finer axis have room where those of a coarser one have not
            finer = ticks(scale, most)
            shown = {x: finer[x] for x in (min(finer), max(finer))}
            placed = _fitting(shown, scale, 11)
            if len(placed) > 1:
                break
    marks = "".join(line(scale.at(x), 0, scale.at(x), 0.25) for x in sorted({*found, *shown}))
    labels = "".join(words(at, 1, label, anchor, dy=-1) for at, label, anchor in placed)
    return tag("svg", line(0, 0, 1, 0), marks, labels, class_="sce-row sce-axis", aria_hidden="true")


class Point(NamedTuple):
    """A point of a line: where it stands, its value and its interval."""

    x: float
    value: float
    low: float
    high: float


def band(points: Sequence[Point], xs: Scale, ys: Scale, gap: float, title: str, what: str, labels: str) -> str:
    """A line with the band of its intervals, broken where there is no value, and where points are farther apart."""
    lines, areas, dots = [], [], []
    for run in _runs(points, gap, lambda p: math.isfinite(p.value)):
        if len(run) > 1:
            lines.append(_along([(p.x, p.value) for p in run], xs, ys))
        else:
            dots.append(dot(xs.at(run[0].x), 1 - ys.at(run[0].value)))
    for run in _runs(points, gap, lambda p: math.isfinite(p.low) and math.isfinite(p.high)):
        if len(run) == 1:  # as wide as can be seen
            p, side = run[0], (xs.high - xs.low) / 400
            run = [p._replace(x=p.x - side), p._replace(x=p.x + side)]
        there, back = [(p.x, p.high) for p in run], [(p.x, p.low) for p in reversed(run)]
        areas.append(_along([*there, *back], xs, ys) + "z")
    drawn = stretched(path("".join(areas), "sce-band"), path("".join(lines), "sce-line"))
    return plot(title, beside(ticks(ys), ys), line(0, 1, 1, 1), drawn, *dots, labels, what=what)


def _runs(points: Sequence[Point], gap: float, good: Callable[[Point], bool]) -> list[list[Point]]:
    runs: list[list[Point]] = []
    before: float | None = None
    for point in points:
        if not good(point):
            before = None
            continue
        if before is None or point.x - before > gap:
            runs.append([])
        runs[-1].append(point)
        before = point.x
    return runs


def _along(places: Iterable[tuple[float, float]], xs: Scale, ys: Scale) -> str:
    """The path through places, in thousandths of the plot."""
    inner = [(UNIT * xs.at(x), UNIT * (1 - ys.at(y))) for x, y in places]
    near = [(min(max(a, -FAR), FAR), min(max(b, -FAR), FAR)) for a, b in inner]
    return "M" + "L".join(f"{a:.5g} {b:.5g}" for a, b in near)


def bars(
    amounts: Sequence[float], titles: Sequence[str], title: str, labels: str, kind: str, what: str = "",
    edges: Sequence[float] = (),
) -> str:  # fmt: skip
    """Bars side by side, of equal width or from edge to edge, whose areas are the amounts; the tallest is as tall as
    the plot. What each stands for shows where one points at it."""
    edges = edges or [i / max(1, len(amounts)) for i in range(len(amounts) + 1)]
    widths = [b - a for a, b in itertools.pairwise(edges)]
    top = max((amount / width for amount, width in zip(amounts, widths, strict=True)), default=0.0)
    drawn = [
        rectangle(left, 1 - amount / width / top, width * 0.86, amount / width / top, "sce-bar", each)
        for left, width, amount, each in zip(edges, widths, amounts, titles, strict=False)
        if amount > 0
    ]
    return plot(title, line(0, 1, 1, 1), *drawn, labels, kind=kind, what=what)


def shares(parts: Sequence[tuple[str, float, str]], title: str) -> str:
    """One bar cut in shares of 1, each of a kind."""
    drawn, at = [], 0.0
    for name, share, kind in parts:
        if share > 0:
            drawn.append(rectangle(at, 0, share, 1, kind, f"{name}: {100 * share:.4g} %"))
            at += share
    return plot(title, *drawn, kind="sce-row sce-shares")


# ---- time ----

# Steps of a time axis, in seconds; longer ones are whole months. There is room for one label more of days.
STEPS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY, 2 * DAY, 7 * DAY, 14 * DAY)
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000, 60000)
FIRST, LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999


def moment(seconds: float) -> dt.datetime:
    """A moment of seconds since 1970, in the years that there are."""
    return EPOCH + dt.timedelta(seconds=min(max(seconds, FIRST), LAST))


def times(scale: Scale) -> str:
    """The labels of an axis of seconds since 1970, along the bottom: the finer part, and under it the coarser one
    where it is another than before."""
    length = scale.high - scale.low
    step = next((step for step in STEPS if length <= step * (5 if step >= DAY else 4)), None)
    if step is None:
        moments = _months(scale, next(m for m in MONTHS if length <= m * 30.44 * DAY * 5))
        forms = ("%b", "%Y") if length < 4 * 366 * DAY else ("%Y", "")
    else:
        origin = -3 * DAY if step % (7 * DAY) == 0 else 0  # weeks begin on a Monday
        first, last = math.ceil((scale.low - origin) / step), math.floor((scale.high - origin) / step)
        moments = [moment(k * step + origin) for k in range(first, last + 1)]
        forms = ("%-d %b", "%Y") if step >= DAY else ("%H:%M" if step >= 60 else "%H:%M:%S", "%-d %b")
    parts, before = [], ""
    for each in moments or [moment(scale.low)]:
        at = scale.at((each - EPOCH).total_seconds())
        fine, coarse = (_written(each, form) for form in forms)
        if each.microsecond:  # of a time so short that no step falls in it
            fine = f"{each:%H:%M:%S.%f}"
        parts.append(line(at, 1, at, 1.03) + words(at, 1, fine, dy=16))
        parts.append(words(at, 1, coarse, dy=31) if coarse != before else "")
        before = coarse
    return "".join(parts)


def stamp(each: dt.datetime) -> str:
    """A moment, to the minute if that is all of it."""
    return each.isoformat(" ", "auto" if each.second or each.microsecond else "minutes")


def _months(scale: Scale, step: int) -> list[dt.datetime]:
    first, last = moment(scale.low), moment(scale.high)
    months = range(-(-(12 * first.year + first.month - 1) // step) * step, 12 * last.year + last.month, step)
    found = [dt.datetime(month // 12, month % 12 + 1, 1) for month in months if month // 12 <= dt.MAXYEAR]
    return [each for each in found if first <= each]


NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _written(each: dt.datetime, form: str) -> str:
    """As strftime has it, in English whatever the locale."""
    parts = {"%Y": f"{each.year}", "%b": NAMES[each.month - 1], "%-d": f"{each.day}", "%H": f"{each.hour:02}",
             "%M": f"{each.minute:02}", "%S": f"{each.second:02}"}  # fmt: skip
    for code, value in parts.items():
        form = form.replace(code, value)
    return form
