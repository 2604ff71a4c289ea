"""HTML as text: escaping, numbers and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape

from streamce.keys.encoding import abbreviate, format_key
from streamce.stats.summary import format_number

MAX_NAME = 120  # characters of a name with all its parts
UNKNOWN = "–"


# Characters that must not be on a page: control characters, characters that reorder the text around them, halves of
# surrogate pairs, and two noncharacters.
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def text(words: object) -> str:
    """Return words as one line that is safe between tags and in attributes."""
    return escape(FORBIDDEN.sub("\ufffd", " ".join(str(words).split())))


def name(key: object) -> str:
    """Return a name that comes from data: a key, a class, or a metric of a collection.

    Its writing direction does not affect the text around it.
    """
    return f"<bdi>{text(abbreviate(format_key(key), MAX_NAME))}</bdi>"


def tag(kind: str, *inner: str, **attributes: object) -> str:
    """Return an element. ``class_`` is its class, underscores stand for hyphens, and ``inner`` is not escaped."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{kind}{written}>{''.join(inner)}</{kind}>"


def number(x: float) -> str:
    """Return a number as summaries print it, an infinity as a sign and NaN as a dash."""
    if math.isnan(x):
        return UNKNOWN
    return ("-∞" if x < 0 else "∞") if math.isinf(x) else format_number(x)


def aligned(values: Iterable[float]) -> Callable[[float], str]:
    """Return a function that formats the numbers of a column, all with the decimals that give the largest 6 digits."""
    sizes = [abs(x) for x in values if math.isfinite(x) and x]
    if not sizes or not (1e-4 <= max(sizes) < 1e6 and min(sizes) > 1e-4 * max(sizes)):
        return number
    decimals = max(0, 5 - math.floor(math.log10(max(sizes))))
    return lambda x: f"{x:.{decimals}f}" if math.isfinite(x) else number(x)


def between(interval: tuple[float, float], written: Callable[[float], str] = number) -> str:
    """Return an interval as text, which is empty if the interval is unknown."""
    low, high = interval
    return "" if math.isnan(low) or math.isnan(high) else f"{written(low)} to {written(high)}"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return a count with its noun, such as ``2 losses``."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def percent(share: float) -> str:
    """Return a share of 1 in percent."""
    return UNKNOWN if math.isnan(share) else f"{100 * share:.4g} %"


def note(*words: str) -> str:
    """Return sentences about a picture or a table. They are escaped."""
    return tag("p", text(" ".join(words)), class_="sce-note")


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], kinds: str, foot: Sequence[str] = (), caption: str = ""
) -> str:
    """Return a table of cells that are markup already.

    ``kinds`` has a letter for each column: n for a name, which is the heading of its row, a for an amount, w for an
    amount that is omitted on narrow screens, p for a picture and t for text.
    """
    classes = {"n": "sce-name", "a": "sce-number", "w": "sce-number sce-wide", "p": "sce-picture", "t": "sce-text"}

    def row(cells: Sequence[str], named: str, scope: str | None) -> str:
        """Return a row in which cells of the ``named`` kinds are headings."""
        each = zip(cells, kinds, strict=True)
        tags = (
            tag("th" if k in named else "td", c, class_=classes[k], scope=scope if k in named else None)
            for c, k in each
        )
        return tag("tr", *tags)

    parts = [tag("caption", text(caption))] if caption else []
    if head:
        parts.append(tag("thead", row([text(cell) for cell in head], kinds, "col")))
    parts.append(tag("tbody", *(row(cells, "n", "row") for cells in rows)))
    if foot:
        parts.append(tag("tfoot", row(foot, "", None)))
    return tag("table", *parts)


def details(label: str, inner: str) -> str:
    """Return an element that opens on a click. It needs no script."""
    return tag("details", tag("summary", text(label)), inner)


def columns(*parts: str) -> str:
    """Return parts side by side, or one below the other on narrow screens."""
    return tag("div", *(tag("div", part) for part in parts if part), class_="sce-columns")


def section(title: str, *parts: str) -> str:
    """Return a section with a heading."""
    return tag("section", tag("h3", text(title), class_="sce-title"), *parts)


def label(words: str) -> str:
    """Return the label above a picture."""
    return tag("p", text(words), class_="sce-label")


def promote_headings(inner: str) -> str:
    """Return sections with headings one level higher, for a page of one metric.

    Only tags are replaced, because text is escaped.
    """
    return inner.replace("<h3 ", "<h2 ").replace("</h3>", "</h2>")
