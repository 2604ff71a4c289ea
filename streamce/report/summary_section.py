"""Sections with one result: a mean with its interval, anomalies, tail, calibration, two models, a GAN."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from streamce.core.ledger.state import BINS_BITS
from streamce.report import html, svg
from streamce.report.html import between, number, percent, tag, text
from streamce.stats.estimators import LN2
from streamce.stats.summary import count_rows, interval_name

if TYPE_CHECKING:
    from streamce.metrics.gan import GANSummary
    from streamce.stats.calibration import Calibration
    from streamce.stats.summary import Summary
    from streamce.stats.tail import Tail
    from streamce.wrappers.group_ranking import Estimate
    from streamce.wrappers.paired_summary import PairedSummary

# The meaning of each counter of anomalies.
ANOMALIES = {
    "ignored": "left out by ignore_index or a mask",
    "floored": "the true outcome had a probability below {eps}, which was used in its place",
    "infinite": "the loss is infinite, because the outcome had probability 0: the mean is not finite",
    "unnormalised": "the probabilities sum to 1 only roughly: counted as they are",
    "infeasible": "left out: no alignment of the utterance's target has a probability above 0",
    "invalid_nan": "left out: an input is not a number (NaN)",
    "invalid_range": "left out: a prediction or a loss is out of range",
    "invalid_row_sum": "left out: the probabilities of a row do not sum to 1",
    "invalid_label": "left out: the label is not one of the classes",
    "invalid_weight": "left out: the weight is negative or not finite",
    "invalid_null": "left out: an input is missing (null)",
}
NO_MEAN = "the losses have no mean, because there are infinities of both signs, or no weight"
MAX_BARS = 48  # most bars of a histogram


def headline(
    value: float, unit: str, interval: tuple[float, float], kind: str, empty: bool = False, reason: str = NO_MEAN
) -> str:
    """Return the value and its interval, or the reason why there is none."""
    if empty:
        return tag("p", "No samples yet", class_="sce-big")
    if math.isnan(value):
        return tag("p", "Not defined", class_="sce-big") + tag("p", text(reason), class_="sce-known")
    big = tag("p", number(value), " ", tag("small", text(unit)), class_="sce-big")
    no_interval = "no interval, because there are too few samples or infinite losses"
    known = f"{kind} {between(interval)}" if between(interval) else no_interval
    return big + tag("p", text(known), class_="sce-known")


def scale_of(
    value: float, interval: tuple[float, float], *marks: float, title: str, reference: float = math.nan
) -> str:
    """Return a value with its interval on a scale that contains 0."""
    scale = svg.scale_around([value], [interval], 0.0, *marks)
    if scale is None or not math.isfinite(value):
        return ""
    scale = svg.round_scale(scale)
    drawn = svg.interval(scale, value, interval, f"{title}: {number(value)}", reference)
    return tag("div", drawn, svg.axis(scale, all_labels=True), class_="sce-strip")


def of_summary(
    summary: Summary, label: str = "cross-entropy", unit: str = "nats", eps: float | None = None, reason: str = NO_MEAN
) -> str:
    """Return a summary: its value, the mean in other units, counts and anomalies.

    ``label`` names the value, and ``reason`` says why it may be missing.
    """
    kind = interval_name(summary.level, summary.anytime)
    is_mean = repr(summary.value) == repr(summary.mean)  # equal even if both are NaN
    top = headline(summary.value, unit if is_mean else "", summary.interval, kind, not summary.count, reason)
    if not summary.count:
        return top + anomalies(summary, eps)
    picture = scale_of(summary.value, summary.interval, title=label)
    if is_mean:
        rows = [(f"in {unit}", number(summary.mean), between(summary.interval))]
    else:
        rows = [("mean loss", number(summary.mean), "in nats")]
    rows += [
        ("in bits", number(summary.bits), between(summary.bits_interval)),
        ("perplexity", number(summary.perplexity), between(summary.perplexity_interval)),
        ("standard error", number(summary.stderr), "in nats"),
    ]
    if summary.entropy is not None and summary.divergence is not None and summary.divergence_interval is not None:
        rows += [
            ("entropy of the targets", number(summary.entropy), ""),
            ("divergence from them", number(summary.divergence), between(summary.divergence_interval)),
        ]
    rows += count_rows(summary)[: 1 + bool(summary.buckets)]
    table = html.table(("", "", kind), [[text(a), text(b), text(c)] for a, b, c in rows], "nat")
    return html.columns(top + picture, table) + anomalies(summary, eps)


def anomalies(summary: Summary, eps: float | None = None) -> str:
    """Return the counts of anomalies with their meaning."""
    floor = "eps" if eps is None else f"eps = {eps:.4g}"
    rows = [
        [text(name.removeprefix("invalid_").replace("_", " ")), f"{count:,}", share(count, summary.seen),
         text(meaning.format(eps=floor if name == "floored" else ""))]
        for name, meaning in ANOMALIES.items() if (count := getattr(summary, name))
    ]  # fmt: skip
    if rows:
        return html.table(("anomaly", "losses", "share", "meaning"), rows, "naat")
    return html.note(f"No anomalies in {html.plural(summary.count, 'loss', 'losses')}.") if summary.count else ""


def share(count: int, total: int) -> str:
    return f"{100 * count / total:.3g} %" if total else ""


def tail(result: Tail) -> str:
    """Return quantiles of the losses, and histograms on a logarithmic axis."""
    if not result.count:
        return ""
    rows = [[text(f"{100 * q:g} % of losses are at most"), number(result.quantile(q))] for q in (0.5, 0.9, 0.99, 0.999)]
    rows.append(["share of the sum in the worst 1 %", percent(result.share(0.01))])
    table = html.table(("quantile", "nats"), rows, "na", caption="Quantiles are accurate to 1 %.")
    return html.section("Tail of the losses", html.columns(_histograms(result), table))


def _histograms(result: Tail) -> str:
    """Return the histograms of losses and of their sum, with bars of equal width in the logarithm of the loss."""
    sized = [(low, high, count, total) for low, high, count, total in result.bins if low > 0 and math.isfinite(high)]
    outside = [
        f"{html.plural(count, 'loss', 'losses')} {'below 5.4e-20' if low == 0 else 'of 1.8e+19 or more'}"
        for low, high, count, _ in result.bins
        if low == 0 or not math.isfinite(high)
    ]
    note = html.note(f"The picture leaves out {' and '.join(outside)}.") if outside else ""
    if not sized:
        return note
    edges = _bar_edges(sized[0][0], sized[-1][1])
    n_bars = len(edges) - 1
    counts, sums = [0] * n_bars, [0.0] * n_bars
    for low, _, count, total in sized:
        bar = bisect_right(edges, low, 1, n_bars) - 1
        counts[bar] += count
        sums[bar] += total
    ranges = [f"{a:.4g} to {b:.4g} nats" for a, b in itertools.pairwise(edges)]
    titles = [f"{each}: {html.plural(count, 'loss', 'losses')}" for each, count in zip(ranges, counts, strict=True)]
    first, last = math.log2(edges[0]), math.log2(edges[-1])
    scale = svg.Scale(first, last)
    places = [scale.fraction(math.log2(edge)) for edge in edges]
    labels = svg.bottom_labels({math.log2(x): f"{x:.3g}" for x in _axis_numbers(first, last)}, scale)
    description = f"{result.count:,} losses by size, from {number(sized[0][0])} to {number(sized[-1][1])} nats"
    parts = [
        html.label(f"Losses by size in nats. Tallest bar: {max(counts):,}"),
        svg.bars(svg.Bars(counts, titles, places), "Losses by size", labels, "sce-plot sce-low", description),
    ]
    whole = math.fsum(sums)
    if 0 < whole < math.inf and min(sums) >= 0 and math.isfinite(result.bins[-1][1]):
        titles = [f"{each}: {100 * part / whole:.3g} % of the sum" for each, part in zip(ranges, sums, strict=True)]
        parts.append(html.label("Share of the sum of losses by size"))
        parts.append(svg.bars(svg.Bars(sums, titles, places), "Share of the sum by size", labels, "sce-plot sce-low"))
    return "".join(parts) + note


def _bar_edges(low: float, high: float) -> list[float]:
    """Return the edges of the bars between two losses."""
    first, last = math.log2(low), math.log2(high)
    n_bars = min(MAX_BARS, max(8, round((last - first) * 8)))
    middle, width = (first + last) / 2, max(last - first, 1.0) / n_bars
    return [_edge(2.0 ** (middle + width * (i - n_bars / 2))) for i in range(n_bars + 1)]


def _edge(x: float) -> float:
    """Return the nearest edge of a bin of the tail, so that bars contain whole bins."""
    width = 2.0 ** (math.frexp(x)[1] - 1 - BINS_BITS)
    return round(x / width) * width


def _axis_numbers(first: float, last: float) -> list[float]:
    """Return a few round numbers between two powers of two, for a logarithmic axis."""
    tens = range(math.ceil(first * math.log10(2) - 1e-9), math.floor(last * math.log10(2) + 1e-9) + 1)
    if len(tens) > 2:
        return [10.0**k for k in tens[:: -(-len(tens) // 4)]]
    below = math.floor(first * math.log10(2))
    numbers = [
        f * 10.0**k for k in range(below, below + 4) for f in (1, 2, 5) if first <= math.log2(f * 10.0**k) <= last
    ]
    return numbers[:: -(-len(numbers) // 4)] if len(numbers) > 1 else [2.0**first, 2.0**last]


def calibration(result: Calibration) -> str:
    """Return the reliability diagram, and the observed loss against the expected loss."""
    if not result.count:
        return ""
    verdict = ""
    if result.p_value < 0.05:
        verdict = "On the whole, the predictions are "
        verdict += (
            "overconfident: the observed loss is above the expected loss."
            if result.z > 0
            else "underconfident: the observed loss is below the expected loss."
        )
    elif not math.isnan(result.z):  # overconfidence in some bins can cancel underconfidence in others
        verdict = (
            "On the whole, the observed loss agrees with the expected loss. Single bins may still be off: see the dots."
        )
    rows = [
        ["observed loss", number(result.loss), "in nats"],
        ["expected loss", number(result.expected), "the entropy of the predictions"],
        ["z-score", number(result.z), f"p-value {result.p_value:.3g}" if math.isfinite(result.z) else ""],
        ["calibration error", number(result.ece), "ECE, over 15 bins"],
    ]
    if result.calibration is not None and result.refinement is not None:
        rows.append(["calibration loss", number(result.calibration), "the part that recalibration would remove"])
        rows.append(["refinement loss", number(result.refinement), "the rest of the observed loss"])
    known = tag("p", text(verdict), class_="sce-known") if verdict else ""
    bins = [
        [f"{each.low:.3f} to {each.high:.3f}", f"{each.confidence:.4f}", f"{each.frequency:.4f}",
         f"{each.frequency - each.confidence:+.4f}", f"{each.count:,}"]
        for each in result.bins
    ]  # fmt: skip
    head = ("confidence", "predicted", "observed", "difference", "losses")
    numbers = html.details("Show the numbers of the bins", html.table(head, bins, "naawa"))
    columns = html.columns(_reliability(result), html.table((), rows, "nat") + numbers)
    return html.section("Calibration", known, columns)


def _reliability(result: Calibration) -> str:
    """Return the reliability diagram, with a histogram of confidence below it."""
    square = svg.Scale(0, 1)
    labels = {0.0: "0", 0.25: "0.25", 0.5: "0.5", 0.75: "0.75", 1.0: "1"}
    marks = [svg.line(0, 1, 1, 0, "sce-reference")]
    largest = max(each.count for each in result.bins)
    for each in result.bins:
        x, y = each.confidence, each.frequency
        radius = 2 + 3 * math.sqrt(each.count / largest)  # small dots for bins of few losses
        marks += [svg.line(x, 1 - x, x, 1 - y, "sce-gap"), svg.dot(x, 1 - y, radius)]
    diagram = svg.plot(
        "Reliability diagram",
        svg.left_labels(labels, square),
        svg.line(0, 1, 1, 1),
        *marks,
        svg.bottom_labels(labels, square),
        kind="sce-plot sce-square",
        description="Observed frequency against confidence. On the dashed line the two are equal.",
    )
    counts = [0] * 15
    for each in result.bins:
        counts[min(14, round(each.low * 15))] = each.count
    titles = [f"confidence {i / 15:.3f} to {(i + 1) / 15:.3f}: {count:,} losses" for i, count in enumerate(counts)]
    below = svg.bars(svg.equal_bars(counts, titles), "Losses by confidence", "", "sce-plot sce-strip-of-bars")
    return (
        html.label("Observed frequency against confidence")
        + diagram
        + html.label(f"Losses by confidence. Tallest bar: {max(counts):,}")
        + below
    )


def paired(result: PairedSummary) -> str:
    """Return the difference of two models, and the shares of samples in which each is better."""
    difference = result.difference
    kind = interval_name(difference.level, difference.anytime)
    top = tag("p", text(result.verdict), class_="sce-verdict")
    if not difference.count:
        return top + anomalies(difference)
    means = svg.scale_around([result.a.value, result.b.value], [result.a.interval, result.b.interval])
    rows = []
    for name, each in (("A", result.a), ("B", result.b)):
        picture = (
            svg.interval(means, each.value, each.interval, f"{name}: {number(each.value)} {result.unit}")
            if means
            else ""
        )
        rows.append([name, number(each.value), between(each.interval), picture])
    foot = ["", "", "", svg.axis(means)] if means else []
    models = html.table(("model", result.unit, kind, ""), rows, "nawp", foot)
    picture = scale_of(difference.value, difference.interval, title="A - B", reference=0.0)
    rows = [
        ["A - B", number(difference.value), between(difference.interval)],
        ["p-value", "" if math.isnan(result.p_value) else f"{result.p_value:.3g}", ""],
    ]
    left = models + html.label("Difference, below 0 if A is better") + picture + html.table((), rows, "nat")
    counts = [[text(a), text(b), text(c)] for a, b, c in count_rows(difference)[: 1 + bool(difference.buckets)]]
    right = _better(result, kind) + html.table((), counts, "nat")
    return top + html.columns(left, right) + anomalies(difference)


def _better(result: PairedSummary, kind: str) -> str:
    """Return the shares of the samples in which A, B or neither is better."""
    shares = [
        ("A is better", "sce-bar", result.a_better, result.a_better_interval),
        ("B is better", "sce-bar-other", result.b_better, result.b_better_interval),
        ("neither", "sce-bar-none", result.ties, None),
    ]
    bar = svg.shares([(name, value, style) for name, style, value, _ in shares], "Better model")
    rows = [
        [tag("span", "", class_=f"sce-key {style}") + name, percent(value), _percents(ends)]
        for name, style, value, ends in shares
    ]
    return html.label("Share of the samples") + bar + html.table(("", "share", kind), rows, "nat")


def _percents(ends: tuple[float, float] | None) -> str:
    return "" if ends is None or math.isnan(ends[0]) else f"{percent(ends[0])} to {percent(ends[1])}"


def gan(result: GANSummary) -> str:
    """Return the loss of a discriminator, its two parts, and its distance from that of a random guess."""
    kind = interval_name(result.level, result.real.anytime)
    reason = "this needs real and fake samples, and losses with a mean"
    top = headline(result.value, "nats", result.interval, kind, empty=not result.samples, reason=reason)
    if not result.samples:
        return top
    picture = scale_of(result.value, result.interval, 2 * LN2, title="discriminator", reference=2 * LN2)
    rows = [
        [label, number(each.mean), between(each.interval), f"{each.count:,}"]
        for label, each in (("real: -log D", result.real), ("fake: -log(1 - D)", result.fake),
                            ("generator: -log D of fake", result.generator))
    ]  # fmt: skip
    parts = html.table(("loss", "nats", kind, "losses"), rows, "nata")
    distances = [
        ["below 2 log 2", number(result.distance), "on the dashed line, real and fake cannot be distinguished"],
        ["Jensen-Shannon", number(result.jensen_shannon), "a lower bound of the divergence"],
        ["minimax", number(result.minimax), "the generator's minimax loss"],
    ]
    counts = "".join(
        html.label(f"{label} samples") + anomalies(each)
        for label, each in (("Real", result.real), ("Fake", result.fake))
        if each.seen > each.count or any(getattr(each, name) for name in ANOMALIES)
    )
    return html.columns(top + picture, html.table(("", "nats", ""), distances, "nat")) + parts + counts


def estimate(result: Estimate, noun: str = "group", of: str = "", unit: str = "nats") -> str:
    """Return the mean over groups or periods, each of which counts the same. ``of`` continues the noun."""
    if not result.groups or math.isnan(result.value):
        return ""
    ends = between(result.interval)
    known = f" ({interval_name(result.level, False)} {ends})" if ends else ""
    groups = html.plural(result.groups, noun)
    value = f"{number(result.value)} {unit}".rstrip()
    return html.note(f"The mean of {groups}{of}, each counting the same, is {value}{known}.")


def options(values: dict[str, Any]) -> str:
    """Return the options that change a loss, in an element that opens on a click."""
    rows = [[text(name), text(_short(value))] for name, value in sorted(values.items())]
    return html.details("Options", html.table((), rows, "nt")) if rows else ""


def _short(value: Any) -> str:
    """Return an option as text, with the first elements of a long list."""
    is_long = isinstance(value, (list, tuple)) and len(value) > 8
    return f"{', '.join(map(repr, value[:8]))}, ... ({len(value)})" if is_long else repr(value)
