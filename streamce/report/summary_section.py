"""The parts that show one result: a mean with its interval, what was odd, tail, calibration, two models, a GAN."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from streamce.core.ledger.state import BINS_BITS
from streamce.report import html, svg
from streamce.report.html import between, number, percent, tag, text
from streamce.stats.summary import LN2, counts_of, kind_of

if TYPE_CHECKING:
    from streamce.metrics.gan import GANSummary
    from streamce.stats.calibration import Calibration
    from streamce.stats.summary import Summary
    from streamce.stats.tail import Tail
    from streamce.wrappers.grouped import Estimate
    from streamce.wrappers.paired import PairedSummary

# What each counter of what was odd means.
ODD = {
    "ignored": "left out by ignore_index or a mask: no part of the mean",
    "floored": "the true outcome had a probability below {eps}, and was counted with {eps}",
    "infinite": "the loss is infinite, as of an outcome held for impossible; with one in it, no mean is finite",
    "unnormalised": "probabilities that add up to 1 only roughly: counted as they are",
    "infeasible": "utterances left out: no alignment of their target has a probability above 0",
    "invalid_nan": "left out: an input is not a number (NaN)",
    "invalid_range": "left out: a prediction or a loss is out of range",
    "invalid_row_sum": "left out: the probabilities of a row do not add up to 1",
    "invalid_label": "left out: the label is none of the classes",
    "invalid_weight": "left out: the weight is negative or not finite",
    "invalid_null": "left out: an input is missing (null)",
}
NO_MEAN = "the losses have no mean: infinities of both signs, or no weight"
WIDEST = 48  # bars of a histogram


def headline(
    value: float, unit: str, interval: tuple[float, float], kind: str, empty: bool = False, why: str = NO_MEAN
) -> str:
    """The number that was asked for, and how well it is known; or why there is none."""
    if empty:
        return tag("p", "No samples so far", class_="sce-big")
    if math.isnan(value):
        return tag("p", "Not defined", class_="sce-big") + tag("p", text(why), class_="sce-known")
    big = tag("p", number(value), " ", tag("small", text(unit)), class_="sce-big")
    known = f"{kind} {between(interval)}" if between(interval) else "no interval: too few samples, or infinite losses"
    return big + tag("p", text(known), class_="sce-known")


def scale_of(
    value: float, interval: tuple[float, float], *marks: float, title: str, reference: float = math.nan
) -> str:
    """The number on a scale that holds 0."""
    scale = svg.around([value], [interval], 0.0, *marks)
    if scale is None or not math.isfinite(value):
        return ""
    scale = svg.rounded(scale)
    drawn = svg.interval(scale, value, interval, f"{title}: {number(value)}", reference)
    return tag("div", drawn, svg.axis(scale, all_of_them=True), class_="sce-strip")


def of_summary(
    found: Summary, label: str = "", unit: str = "nats", eps: float | None = None, why: str = NO_MEAN
) -> str:
    """A summary: its value, the mean in other units, what was counted, and what was odd."""
    kind = kind_of(found.level, found.anytime)
    other = repr(found.value) != repr(found.mean)  # and not because both are nan
    label = label or ("value" if other else "cross-entropy")
    top = headline(found.value, "" if other else unit, found.interval, kind, not found.count, why)
    if not found.count:
        return top + odd(found, eps)
    picture = scale_of(found.value, found.interval, title=label)
    rows = [("mean loss", number(found.mean), "in nats")] if other else []
    if not other:
        rows.append((f"in {unit}", number(found.mean), between(found.interval)))
    rows += [
        ("in bits", number(found.bits), between(found.bits_interval)),
        ("perplexity", number(found.perplexity), between(found.perplexity_interval)),
        ("standard error", number(found.stderr), "in nats"),
    ]
    if found.entropy is not None and found.divergence is not None and found.divergence_interval is not None:
        rows += [
            ("entropy of the targets", number(found.entropy), ""),
            ("divergence from them", number(found.divergence), between(found.divergence_interval)),
        ]
    rows += counts_of(found)[: 1 + bool(found.buckets)]
    table = html.table(("", "", kind), [[text(a), text(b), text(c)] for a, b, c in rows], "nat")
    return html.columns(top + picture, table) + odd(found, eps)


def odd(found: Summary, eps: float | None = None) -> str:
    """What was odd, and what each kind of it means."""
    floor = "eps" if eps is None else f"eps = {eps:.4g}"
    rows = [
        [text(name.removeprefix("invalid_").replace("_", " ")), f"{count:,}", share(count, found.seen),
         text(means.format(eps=floor if name == "floored" else ""))]
        for name, means in ODD.items() if (count := getattr(found, name))
    ]  # fmt: skip
    if not rows:
        return html.note(f"Nothing odd was seen in {html.many(found.count, 'loss', 'losses')}.") if found.count else ""
    return html.table(("odd", "losses", "share", "what it means"), rows, "naat")


def share(count: int, of: int) -> str:
    return f"{100 * count / of:.3g} %" if of else ""


def tail(found: Tail) -> str:
    """Quantiles of the losses, and how many there are of each size on a logarithmic axis."""
    if not found.count:
        return ""
    carried = found.share(0.01)
    rows = [[text(f"{100 * q:g} % of losses are at most"), number(found.quantile(q))] for q in (0.5, 0.9, 0.99, 0.999)]
    rows.append(["of their sum, the worst 1 % carry", percent(carried)])
    table = html.table(("quantile", "nats"), rows, "na", caption="Quantiles are within 1 %.")
    return html.section("Tail of the losses", html.columns(_sizes(found), table))


def _sizes(found: Tail) -> str:
    """The histogram: bars of equal width in the logarithm of the loss."""
    sized = [(low, high, count, total) for low, high, count, total in found.bins if low > 0 and math.isfinite(high)]
    outside = [
        f"{html.many(count, 'loss', 'losses')} {'below 5.4e-20' if low == 0 else 'of 1.8e+19 or more'}"
        for low, high, count, _ in found.bins
        if low == 0 or not math.isfinite(high)
    ]
    note = html.note(f"Not drawn: {' and '.join(outside)}.") if outside else ""
    if not sized:
        return note
    first, last = math.log2(sized[0][0]), math.log2(sized[-1][1])
    bins = min(WIDEST, max(8, round((last - first) * 8)))
    middle, width = (first + last) / 2, max(last - first, 1.0) / bins
    edges = [_edge(2.0 ** (middle + width * (i - bins / 2))) for i in range(bins + 1)]
    counts, sums = [0] * bins, [0.0] * bins
    for low, _, count, total in sized:
        at = bisect_right(edges, low, 1, bins) - 1
        counts[at] += count
        sums[at] += total
    whole = math.fsum(sums)
    titles = [
        f"{a:.4g} to {b:.4g} nats: {html.many(count, 'loss', 'losses')}"
        for (a, b), count in zip(itertools.pairwise(edges), counts, strict=True)
    ]
    first, last = math.log2(edges[0]), math.log2(edges[-1])
    scale = svg.Scale(first, last)
    places = [scale.at(math.log2(edge)) for edge in edges]
    labels = svg.under({math.log2(x): f"{x:.3g}" for x in _powers(first, last)}, scale)
    what = f"{found.count:,} losses by size, from {number(sized[0][0])} to {number(sized[-1][1])} nats"
    parts = [
        html.label(f"Losses by size, nats; at most {max(counts):,} in a bar"),
        svg.bars(counts, titles, "Losses by size", labels, "sce-plot sce-low", what, places),
    ]
    if 0 < whole < math.inf and min(sums) >= 0 and math.isfinite(found.bins[-1][1]):
        carry = [f"{title[: title.index(':')]}: {100 * part / whole:.3g} % of the sum"
                 for title, part in zip(titles, sums, strict=True)]  # fmt: skip
        parts.append(html.label("What they carry of the sum"))
        parts.append(svg.bars(sums, carry, "Share of the sum by size", labels, "sce-plot sce-low", edges=places))
    return "".join(parts) + note


def _edge(x: float) -> float:
    """The nearest end of a bin of the tail: bars hold whole ones."""
    bin_ = 2.0 ** (math.frexp(x)[1] - 1 - BINS_BITS)
    return round(x / bin_) * bin_


def _powers(first: float, last: float) -> list[float]:
    """Some round numbers between two powers of two, as a logarithmic axis has them."""
    tens = range(math.ceil(first * math.log10(2) - 1e-9), math.floor(last * math.log10(2) + 1e-9) + 1)
    if len(tens) > 2:
        return [10.0**k for k in tens[:: -(-len(tens) // 4)]]
    below = math.floor(first * math.log10(2))
    found = [f * 10.0**k for k in range(below, below + 4) for f in (1, 2, 5) if first <= math.log2(f * 10.0**k) <= last]
    return found[:: -(-len(found) // 4)] if len(found) > 1 else [2.0**first, 2.0**last]


def calibration(found: Calibration) -> str:
    """The reliability diagram, and the loss that predictions expected against the one that was seen."""
    if not found.count:
        return ""
    verdict = ""
    if found.p_value < 0.05:
        verdict = "On the whole the predictions are "
        verdict += (
            "overconfident: more was lost than they expected."
            if found.z > 0
            else "too cautious: less was lost than they expected."
        )
    elif not math.isnan(found.z):  # what is too high here and too low there cancels out
        verdict = (
            "The loss is what the predictions expected, within chance. They may be off all the same: see the dots."
        )
    rows = [
        ["loss seen", number(found.loss), "in nats"],
        ["loss expected", number(found.expected), "the entropy of the predictions"],
        ["z", number(found.z), f"p-value {found.p_value:.3g}" if math.isfinite(found.z) else ""],
        ["calibration error", number(found.ece), "ECE, over 15 bins"],
    ]
    if found.calibration is not None and found.refinement is not None:
        rows.append(["calibration loss", number(found.calibration), "of the loss seen: what miscalibration costs"])
        rows.append(["refinement loss", number(found.refinement), "the rest of it"])
    summary = tag("p", text(verdict), class_="sce-known") if verdict else ""
    bins = [
        [f"{each.low:.3f} to {each.high:.3f}", f"{each.confidence:.4f}", f"{each.frequency:.4f}",
         f"{each.frequency - each.confidence:+.4f}", f"{each.count:,}"]
        for each in found.bins
    ]  # fmt: skip
    head = ("confidence", "predicted", "came", "difference", "losses")
    numbers = html.details("The numbers of the bins", html.table(head, bins, "naawa"))
    drawn = _reliability(found)
    return html.section("Calibration", summary, html.columns(drawn, html.table((), rows, "nat") + numbers))


def _reliability(found: Calibration) -> str:
    square = svg.Scale(0, 1)
    labels = {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"}
    marks = [svg.line(0, 1, 1, 0, "sce-reference")]
    most = max(each.count for each in found.bins)
    for each in found.bins:
        x, y = each.confidence, each.frequency
        radius = 2 + 3 * math.sqrt(each.count / most)  # what few losses say is not to be taken for more
        marks += [svg.line(x, 1 - x, x, 1 - y, "sce-gap"), svg.dot(x, 1 - y, radius)]
    diagram = svg.plot(
        "Reliability diagram",
        svg.beside(labels, square),
        svg.line(0, 1, 1, 1),
        *marks,
        svg.under(labels, square),
        kind="sce-plot sce-square",
        what="How often what was predicted came, by confidence; on the dashed line the two are equal.",
    )
    counts = [0] * 15
    for each in found.bins:
        counts[min(14, round(each.low * 15))] = each.count
    titles = [f"confidence {i / 15:.3f} to {(i + 1) / 15:.3f}: {count:,} losses" for i, count in enumerate(counts)]
    below = svg.bars(counts, titles, "Losses by confidence", "", "sce-plot sce-strip-of-bars")
    return (
        html.label("How often it came, against confidence")
        + diagram
        + html.label(f"Losses by confidence, at most {max(counts):,} in a bin")
        + below
    )


def paired(found: PairedSummary) -> str:
    """The difference of two models against 0, and how often either is better."""
    of = found.difference
    kind = kind_of(of.level, of.anytime)
    top = tag("p", text(found.verdict), class_="sce-verdict")
    if not of.count:
        return top + odd(of)
    means = svg.around([found.a.mean, found.b.mean], [found.a.interval, found.b.interval])
    rows = []
    for name, each in (("A", found.a), ("B", found.b)):
        picture = svg.interval(means, each.mean, each.interval, f"{name}: {number(each.mean)} nats") if means else ""
        rows.append([name, number(each.mean), between(each.interval), picture])
    foot = ["", "", "", svg.axis(means)] if means else []
    head = ("model", "nats", kind, "")
    parts = [html.table(head, rows, "nawp", foot)]
    rows = [
        ["A - B", number(of.mean), between(of.interval)],
        ["p-value", "" if math.isnan(found.p_value) else f"{found.p_value:.3g}", ""],
    ]
    difference = scale_of(of.mean, of.interval, title="A - B", reference=0.0)
    parts.append(html.label("Difference, below 0 where A is better") + difference + html.table((), rows, "nat"))
    often = [
        ("A is better", found.a_better, found.a_better_interval),
        ("B is better", found.b_better, found.b_better_interval),
        ("neither", found.ties, None),
    ]
    kinds = ("sce-bar", "sce-bar-other", "sce-bar-none")
    parts.append(html.label("Share of the samples"))
    parts.append(svg.shares([(name, p, k) for (name, p, _), k in zip(often, kinds, strict=True)], "Who is better"))
    parts.append(html.table(("", "share", kind), [
        [tag("span", "", class_=f"sce-key {k}") + name, percent(p), _percents(ends)]
        for (name, p, ends), k in zip(often, kinds, strict=True)
    ], "nat"))  # fmt: skip
    counted = [[text(a), text(b), text(c)] for a, b, c in counts_of(of)[: 1 + bool(of.buckets)]]
    return top + html.columns("".join(parts[:2]), "".join(parts[2:]) + html.table((), counted, "nat")) + odd(of)


def _percents(ends: tuple[float, float] | None) -> str:
    return "" if ends is None or math.isnan(ends[0]) else f"{percent(ends[0])} to {percent(ends[1])}"


def gan(found: GANSummary) -> str:
    """A discriminator's loss, its two parts, and how far it is from where it could tell nothing apart."""
    kind = kind_of(found.level, found.real.anytime)
    top = headline(
        found.value,
        "nats",
        found.interval,
        kind,
        empty=not found.samples,
        why="it takes real and fake samples, and losses with a mean",
    )
    picture = scale_of(found.value, found.interval, 2 * LN2, title="discriminator", reference=2 * LN2)
    if not found.samples:
        return top
    rows = [
        [label, number(each.mean), between(each.interval), f"{each.count:,}"]
        for label, each in (("real: -log D", found.real), ("fake: -log(1 - D)", found.fake),
                            ("generator: -log D of fake", found.generator))
    ]  # fmt: skip
    parts = html.table(("loss", "nats", kind, "losses"), rows, "nata")
    says = [
        ["below 2 log 2", number(found.distance), "the dashed line: real and fake cannot be told apart"],
        ["Jensen-Shannon", number(found.jensen_shannon), "at least, by this discriminator"],
        ["minimax", number(found.minimax), "the generator's minimax loss"],
    ]
    oddities = "".join(
        html.label(f"{label} samples") + odd(each)
        for label, each in (("Real", found.real), ("Fake", found.fake))
        if each.seen > each.count or any(getattr(each, name) for name in ODD)
    )
    return html.columns(top + picture, html.table(("", "nats", ""), says, "nat")) + parts + oddities


def estimate(found: Estimate, one: str = "group", of: str = "") -> str:
    """A mean over groups, or over periods, each of which counts the same."""
    if not found.groups or math.isnan(found.value):
        return ""
    groups, known = html.many(found.groups, one), ""
    if between(found.interval):
        known = f" ({kind_of(found.level, False)} {between(found.interval)})"
    return html.note(f"The mean of {groups}{of}, each counting the same, is {number(found.value)} nats{known}.")


def options(given: dict[str, Any]) -> str:
    """The options that change a loss."""
    rows = [[text(name), text(_plain(value))] for name, value in sorted(given.items())]
    return html.details("Options", html.table((), rows, "nt")) if rows else ""


def _plain(value: Any) -> str:
    listed = isinstance(value, (list, tuple)) and len(value) > 8
    return f"{', '.join(map(repr, value[:8]))}, ... ({len(value)})" if listed else repr(value)
