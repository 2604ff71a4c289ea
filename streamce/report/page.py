"""The page: its style, and what stands around the parts of a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.metrics.gan import GANSummary
from streamce.metrics.mergeable import Additive
from streamce.report import html, sections, series_section, summary_section
from streamce.report.html import tag, text
from streamce.report.series_section import Look
from streamce.stats.calibration import Calibration
from streamce.stats.summary import Summary, level_of
from streamce.stats.tail import Tail
from streamce.wrappers import Collection
from streamce.wrappers.grouped import Estimate
from streamce.wrappers.paired import PairedSummary

# What a report begins with: by this, one is known from other files.
MARK = '<!doctype html>\n<html lang="en" data-streamce="report">'

# All names begin with sce-, and all rules with .sce, so that a notebook around a fragment stays as it is. A fragment
# has no background, and takes the colour of the text around it: marks are of middling colours that can be told from
# light and dark alike. A page sets its own.
STYLE = """
.sce{--soft:color-mix(in srgb,currentColor 74%,transparent);--rule:color-mix(in srgb,currentColor 34%,transparent);
--grid:color-mix(in srgb,currentColor 13%,transparent);--mark:#3b82c4;--other:#c07a2c;--odd:#cf5630;
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;font-variant-numeric:tabular-nums lining-nums;
text-align:left;width:100%;max-width:62rem;container-type:inline-size;overflow-wrap:break-word}
.sce bdi{overflow-wrap:anywhere}
.sce h1,.sce h2,.sce h3,.sce p,.sce table,.sce section,.sce article{margin:0;padding:0;border:0}
.sce h1,.sce h2,.sce .sce-title,.sce .sce-big{font-family:Charter,"Bitstream Charter","Iowan Old Style",Georgia,serif;
font-weight:600;line-height:1.2}
.sce h1{font-size:1.75rem}.sce h2{font-size:1.4rem}
.sce .sce-title{font-size:1.15rem;margin:0 0 .6rem}
.sce .sce-label{font-size:13px;color:var(--soft);margin:.4rem 0 0}
.sce article{margin-top:2.2rem}.sce article>h2{border-top:1px solid;padding:.7rem 0 .3rem}
.sce section{margin-top:1.8rem;padding-top:.8rem;border-top:1px solid var(--grid);break-inside:avoid}
.sce .sce-big{font-size:2.1rem;margin-top:.5rem}.sce .sce-big small{font-size:1rem;font-weight:400;color:var(--soft)}
.sce .sce-known,.sce .sce-note,.sce .sce-sub{color:var(--soft)}.sce .sce-note{font-size:13px;margin:.5rem 0}
.sce .sce-verdict{font-size:1.15rem;margin-top:.5rem}
.sce .sce-error{border-left:3px solid var(--odd);padding-left:.7rem;margin:.8rem 0}
.sce .sce-columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:.4rem 2.5rem}
.sce .sce-columns>div{min-width:0}
.sce table{border-collapse:collapse;width:100%;margin:.5rem 0;font-size:14px;line-height:1.4;table-layout:auto}
.sce caption{caption-side:bottom;text-align:left;font-size:13px;color:var(--soft)}
.sce td,.sce th{padding:.16rem .8rem .16rem 0;border:0;background:none;color:inherit;text-align:left;
vertical-align:baseline;font-weight:400;white-space:normal}
.sce tr{background:none}.sce tbody tr{border-top:1px solid var(--grid)}
.sce tbody tr:first-child{border-top:1px solid var(--rule)}
.sce thead th{font-size:13px;color:var(--soft)}
.sce .sce-number{text-align:right;white-space:nowrap;overflow-wrap:normal}
.sce .sce-name{min-width:4.5rem}.sce .sce-text{min-width:7rem;color:var(--soft)}
.sce tr>:last-child{padding-right:0}
.sce .sce-picture{width:42%;min-width:7rem;vertical-align:middle}
.sce details{margin:.5rem 0;font-size:14px}.sce summary{cursor:pointer;color:var(--soft);padding:.15rem 0}
.sce svg{overflow:visible;font-size:12px}.sce svg svg{overflow:hidden}.sce svg svg[overflow]{overflow:visible}
.sce .sce-plot{display:block;height:190px;width:calc(100% - 90px);margin:10px 26px 38px 64px}
.sce .sce-low{height:96px;width:calc(100% - 20px);margin:6px 10px 26px}
.sce .sce-square{height:270px;width:min(calc(100% - 64px),330px);margin:10px 14px 26px 46px}
.sce .sce-strip-of-bars{height:44px;width:min(calc(100% - 64px),330px);margin:6px 14px 10px 46px}
.sce .sce-row{display:block;width:calc(100% - 12px);height:18px;margin:0 6px}.sce .sce-axis{height:20px}
.sce .sce-strip{max-width:30rem;margin:.5rem 0}.sce .sce-shares{margin:.4rem 0;width:100%}
.sce text{fill:var(--soft)}.sce text.sce-odd{fill:currentColor}
.sce path{fill:none}.sce .sce-line,.sce .sce-interval{stroke:var(--mark);stroke-width:2;stroke-linecap:round}
.sce .sce-line{stroke-linejoin:round}
.sce .sce-band{fill:var(--mark);fill-opacity:.22}.sce .sce-dot{fill:var(--mark)}.sce .sce-bar{fill:var(--mark)}
.sce .sce-bar-other{fill:var(--other)}.sce .sce-bar-none{fill:var(--rule)}.sce .sce-gap{stroke:var(--mark)}
.sce .sce-rule{stroke:var(--rule)}.sce .sce-grid{stroke:var(--grid)}
.sce .sce-reference{stroke:var(--soft);stroke-dasharray:3 3}
.sce .sce-key{display:inline-block;width:.7em;height:.7em;margin-right:.5em;border:1px solid var(--rule)}
.sce .sce-key.sce-bar{background:var(--mark)}.sce .sce-key.sce-bar-other{background:var(--other)}
.sce .sce-key.sce-bar-none{background:var(--rule)}
@container (max-width:36rem){.sce .sce-wide{display:none}.sce .sce-picture{width:34%;min-width:5.5rem}
.sce .sce-name{min-width:2.5rem}.sce .sce-big{font-size:1.8rem}.sce td,.sce th{padding-right:.55rem}}
@media print{.sce .sce-key{print-color-adjust:exact}}
"""

# The light scheme's contrasts are 4.5 and more for text, and so are the dark one's; marks have 3 and more.
PAGE_STYLE = """
:root{color-scheme:light dark}
body{margin:0;color:#1b1b1a;background:#fdfcf9}
body .sce{--soft:#595853;--rule:#a3a19a;--grid:#e4e2db;--mark:#21679f;--other:#a35a12;--odd:#b23a12;
box-sizing:border-box;margin:0 auto;padding:1.6rem 1.25rem 3rem}
body footer{color:#595853;margin-top:2.5rem;font-size:13px}
@media screen and (prefers-color-scheme:dark){body{color:#e9e7e2;background:#15171a}body footer{color:#a9a79f}
body .sce{--soft:#a9a79f;--rule:#62646a;--grid:#2c2f34;--mark:#79b4e8;--other:#e3a25c;--odd:#f08a5f}}
@media print{body{color:#000;background:#fff}}
"""

FRAGMENTS: dict[type, Callable[[Any], str]] = {
    Summary: summary_section.of_summary,
    PairedSummary: summary_section.paired,
    GANSummary: summary_section.gan,
    Calibration: summary_section.calibration,
    Tail: summary_section.tail,
    Estimate: summary_section.estimate,
}


def page(
    metrics: Additive | Mapping[str, Additive],
    *,
    title: str | None = None,
    level: float = 0.95,
    anytime: bool = False,
    names: Iterable[str] = (),
) -> str:
    """One self-contained HTML file on a metric, or on several by name: no script, nothing from outside.

    Nothing in it depends on anything but the states and these arguments: equal states have equal pages.

    Examples
    --------
    >>> import streamce as ce
    >>> old, new = ce.MeanLoss().update([0.5, 0.7]), ce.MeanLoss().update([0.4, 0.5])
    >>> "<bdi>new</bdi>" in page({"old": old, "new": new}, title="Two runs")
    True
    """
    named = metrics if isinstance(metrics, Mapping) else {"": metrics}
    if not named or not all(isinstance(metric, Additive) for metric in named.values()):
        raise InputError("metrics", f"is {short_repr(metrics)}", "a metric, or metrics by name")
    look = Look(level_of(level), anytime, series_section.checked_names(named.values(), names))
    several = len(named) > 1
    shown = title or (f"{len(named)} states" if several else sections.title_of(next(iter(named.values()))))
    body = [tag("h1", text(shown))]
    if several:
        body.append(sections.overview(named, look))
    for name, metric in named.items():
        if several:
            body.append(sections.article(name, metric, look))
        else:
            what = tag("p", text(sections.title_of(metric)), class_="sce-sub") if title else ""
            found = sections.of_metric(metric, look)
            body += [what, found if isinstance(metric, Collection) else html.raised(found)]
    looks = "Intervals and p-values are for one look."
    if anytime:
        looks = (
            "Confidence sequences are asymptotic, and hold at all looks together; what is called an interval, and the "
            "z of a calibration, are for one look."
        )
    foot = f"Losses in nats. {looks} Made by streamce from exact sums."
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(shown)}</title><style>{STYLE}{PAGE_STYLE}</style>"
    )
    main = tag("main", *body, tag("footer", text(foot)), class_="sce")
    return f"{MARK}\n<head>{head}</head>\n<body>{main}</body>\n</html>\n"


@in_default_mode
def fragment(shown: Any) -> str:
    """A metric, a summary or a part of one as HTML for a notebook; a state that says nothing says why."""
    made = FRAGMENTS.get(type(shown))
    try:
        inner = (
            made(shown) if made else tag("p", text(repr(shown)), class_="sce-sub") + sections.of_metric(shown, Look())
        )
    except InputError as error:
        inner = tag("p", text(error), class_="sce-error")
    return tag("div", f"<style>{STYLE}</style>", inner, class_="sce")
