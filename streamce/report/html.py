"""HTML as text: what is escaped, how numbers are written, tables."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape

from streamce.keys.key_columns import cut, show_key
from streamce.stats.summary import shown

LONG = 120  # characters of a name, all its parts together
UNKNOWN = "–"


# Characters that no page may hold: control characters, those that reorder text, also beyond the name that holds them,
# halves of surrogate pairs, and two noncharacters.
NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def text(words: object) -> str:
    """Words that are safe between tags and in attributes, on one line."""
    return escape(NO_TEXT.sub("\ufffd", " ".join(str(words).split())))


def name(key: object) -> str:
    """A name that comes from data: a key, a class, a metric of a collection. It does not turn the text around it."""
    return f"<bdi>{text(cut(show_key(key), LONG))}</bdi>"


def tag(kind: str, *inner: str, **attributes: object) -> str:
    """An element; ``class_`` is its class, and underscores stand for hyphens. The inner text is taken as it is."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{kind}{given}>{''.join(inner)}</{kind}>"


def number(x: float) -> str:
    """A number as summaries print it; an infinity as its sign, and what is not known as a dash."""
    if math.isnan(x):
        return UNKNOWN
    return ("-∞" if x < 0 else "∞") if math.isinf(x) else shown(x)


def aligned(values: Iterable[float]) -> Callable[[float], str]:
    """How to write the numbers of a column: six digits of the largest, and as many decimals for all of them."""
    sizes = [abs(x) for x in values if math.isfinite(x) and x]
    if not sizes or not (1e-4 <= max(sizes) < 1e6 and min(sizes) > 1e-4 * max(sizes)):
        return number
    decimals = max(0, 5 - math.floor(math.log10(max(sizes))))
    return lambda x: f"{x:.{decimals}f}" if math.isfinite(x) else number(x)


def between(interval: tuple[float, float], written: Callable[[float], str] = number) -> str:
    """An interval, or nothing where it is not known."""
    low, high = interval
    return "" if math.isnan(low) or math.isnan(high) else f"{written(low)} to {written(high)}"


def many(count: int, one: str, more: str = "") -> str:
    """A count of things."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def percent(share: float) -> str:
    return UNKNOWN if math.isnan(share) else f"{100 * share:.4g} %"


def note(*words: str) -> str:
    """A sentence about a picture or a table; the words are escaped."""
    return tag("p", text(" ".join(words)), class_="sce-note")


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], kinds: str, foot: Sequence[str] = (), caption: str = ""
) -> str:
    """A table of cells that are markup already.

    The ``kinds`` of its columns are a letter each: n for a name, which heads its row, a for an amount, w for what is
    left out where there is little room, p for a picture and t for text.
    """
    classes = {"n": "sce-name", "a": "sce-number", "w": "sce-number sce-wide", "p": "sce-picture", "t": "sce-text"}

    def row(cells: Sequence[str], named: str, scope: str | None) -> str:
        """A row in which cells of the ``named`` kinds are headings."""
        each = zip(cells, kinds, strict=True)
        found = (
            tag("th" if k in named else "td", c, class_=classes[k], scope=scope if k in named else None)
            for c, k in each
        )
        return tag("tr", *found)

    parts = [tag("caption", text(caption))] if caption else []
    if head:
        parts.append(tag("thead", row([text(cell) for cell in head], kinds, "col")))
    parts.append(tag("tbody", *(row(cells, "n", "row") for cells in rows)))
    if foot:
        parts.append(tag("tfoot", row(foot, "", None)))
    return tag("table", *parts)


def details(label: str, inner: str) -> str:
    """What opens on a click, which takes no script."""
    return tag("details", tag("summary", text(label)), inner)


def columns(*parts: str) -> str:
    """Parts side by side where there is room."""
    return tag("div", *(tag("div", part) for part in parts if part), class_="sce-columns")


def section(title: str, *parts: str) -> str:
    return tag("section", tag("h3", text(title), class_="sce-title"), *parts)


def label(words: str) -> str:
    """What stands over a picture."""
    return tag("p", text(words), class_="sce-label")


def raised(inner: str) -> str:
    """Sections one level higher, as of a page on one metric; a tag is never part of a text, in which it is escaped."""
    return inner.replace("<h3 ", "<h2 ").replace("</h3>", "</h2>")
