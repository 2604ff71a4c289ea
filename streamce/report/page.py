"""The page of metrics, and the fragment of a notebook: the style, and the frame around the sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Any

from streamce._support import scalars
from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.metrics.gan import GANSummary
from streamce.metrics.mergeable import MergeableState
from streamce.report import html, sections, series_section, summary_section
from streamce.report.html import tag, text
from streamce.report.series_section import ViewOptions
from streamce.stats.calibration import Calibration
from streamce.stats.discoveries import FDR
from streamce.stats.estimators import check_level
from streamce.stats.summary import Summary
from streamce.stats.tail import Tail
from streamce.wrappers.group_ranking import Estimate
from streamce.wrappers.paired_summary import PairedSummary

# The first bytes of a report, which distinguish it from other files.
MARK = '<!doctype html>\n<html lang="en" data-streamce="report">'

# The style of pages and fragments. All names begin with sce-, and all rules with .sce, so that they do not change the
# notebook around a fragment. A fragment has no background and takes the colour of the text around it, so its marks have
# colours that are visible on light and dark backgrounds.
STYLE = "\n" + resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
# The style of pages only. In both colour schemes, text has a contrast of 4.5 or more, and marks of 3 or more.
PAGE_STYLE = "\n" + resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")

FRAGMENTS: dict[type, Callable[[Any], str]] = {
    Summary: summary_section.of_summary,
    PairedSummary: summary_section.paired,
    GANSummary: summary_section.gan,
    Calibration: summary_section.calibration,
    Tail: summary_section.tail,
    Estimate: summary_section.estimate,
}


def page(
    metrics: MergeableState | Mapping[str, MergeableState],
    *,
    title: str | None = None,
    level: float = 0.95,
    anytime: bool = False,
    names: Iterable[str] = (),
    min_samples: int | None = None,
    fdr: float = FDR,
) -> str:
    """Return a self-contained HTML page about a metric, or about several by name.

    The page has no scripts and loads nothing. It depends only on the states and these arguments, so equal states have
    equal pages.

    Examples
    --------
    >>> import streamce as ce
    >>> old, new = ce.MeanLoss().update([0.5, 0.7]), ce.MeanLoss().update([0.4, 0.5])
    >>> "<bdi>new</bdi>" in page({"old": old, "new": new}, title="Two runs")
    True
    """
    named = metrics if isinstance(metrics, Mapping) else {"": metrics}
    if not named or not all(isinstance(metric, MergeableState) for metric in named.values()):
        raise InputError("metrics", f"is {short_repr(metrics)}", "a metric, or metrics by name")
    least = None if min_samples is None else scalars.to_int(min_samples)
    if min_samples is not None and (least is None or least < 0):
        raise InputError("min_samples", f"is {short_repr(min_samples)}", "a whole number of samples", value=min_samples)
    names = series_section.check_names(named.values(), names)
    view = ViewOptions(check_level(level), anytime, names, least, check_level(fdr, "fdr"))
    several = len(named) > 1
    heading = title or (f"{len(named)} states" if several else next(iter(named.values()))._caption())
    body = [tag("h1", text(heading))]
    if several:
        body.append(sections.overview(named, view))
    for name, metric in named.items():
        if several:
            body.append(sections.article(name, metric, view))
        else:
            caption = tag("p", text(metric._caption()), class_="sce-sub") if title else ""
            inner = sections.of_metric(metric, view)
            body += [caption, inner if "members" in metric._sections() else html.promote_headings(inner)]
    validity = "Intervals and p-values are valid for one look."
    if anytime:
        validity = (
            "Confidence sequences are asymptotic, and are valid for all looks together. Values that are called "
            "intervals, and the z-score of a calibration, are valid for one look."
        )
    footer = f"Losses are in nats. {validity} Computed by streamce from exact sums."
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(heading)}</title><style>{STYLE}{PAGE_STYLE}</style>"
    )
    main = tag("main", *body, tag("footer", text(footer)), class_="sce")
    return f"{MARK}\n<head>{head}</head>\n<body>{main}</body>\n</html>\n"


@in_default_mode
def fragment(shown: Any) -> str:
    """Return a metric, a summary or a part of one as HTML for a notebook. A state without a result says why."""
    render = FRAGMENTS.get(type(shown), _metric_fragment)
    try:
        inner = render(shown)
    except InputError as error:
        inner = tag("p", text(error), class_="sce-error")
    return tag("div", f"<style>{STYLE}</style>", inner, class_="sce")


def _metric_fragment(metric: Any) -> str:
    return tag("p", text(repr(metric)), class_="sce-sub") + sections.of_metric(metric, ViewOptions())
