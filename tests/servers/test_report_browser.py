"""Debian's Chromium shows reports without fetching, overlaps or clipping."""

import numpy as np
import pytest
from chromium import Browser
from report_metrics import MADE, NASTY, binary

import streamce as ce
from streamce.report import page

WIDTHS = {"desk": {"width": 1280}, "tablet": {"width": 768}, "phone": {"width": 360, "height": 740, "phone": True}}

# A script that returns the faults of the page as sentences.
JUDGE = """(() => {
    const wrong = [], width = document.documentElement.clientWidth;
    document.querySelectorAll("details").forEach(each => each.open = true);
    if (document.documentElement.scrollWidth > width) wrong.push("the page scrolls sideways");
    const box = each => each.getBoundingClientRect();
    const words = each => each.textContent.slice(0, 40);
    const labels = [...document.querySelectorAll("svg text")];
    const boxes = labels.map(box);
    labels.forEach((one, i) => {
        const a = boxes[i];
        if (a.left < -0.5 || a.right > width + 0.5) wrong.push(`${words(one)} is cut off`);
        if (!(a.width > 0)) wrong.push(`${words(one)} is not shown`);
        for (let j = 0; j < i; j++) {
            const b = boxes[j], dx = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            if (dx > 0.5 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2.5)
                wrong.push(`${words(one)} lies on ${words(labels[j])}`);
        }
    });
    for (const each of document.querySelectorAll("h1,h2,h3,h4,p,td,th,summary,text,caption,footer")) {
        const b = box(each);
        if (each.textContent.trim() && b.width > 0) {
            if (parseFloat(getComputedStyle(each).fontSize) < 12) wrong.push(`${words(each)} is small`);
            if (b.left < -0.5 || b.right > width + 0.5) wrong.push(`${words(each)} is cut off`);
            const range = document.createRange();
            range.selectNodeContents(each);
            if (each.namespaceURI.endsWith("xhtml") && range.getBoundingClientRect().right > b.right + 1)
                wrong.push(`${words(each)} runs out of its place`);
        }
    }
    for (const each of document.querySelectorAll("svg[role=img]"))
        if (box(each).width < 60 || box(each).height < 10) wrong.push(`a picture of ${box(each).width} px`);
    return wrong;
})()"""


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


def opened(browser, path, whole, **how):
    """Show a page, and fail if the browser logged or requested anything."""
    path.write_text(whole, encoding="utf-8")
    browser.open(path, **how)
    browser.run("document.fonts.ready.then(() => 0)")
    said = {event["method"] for event in browser.events if "method" in event}
    assert not said & {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}
    asked = [event for event in browser.events if event.get("method") == "Network.requestWillBeSent"]
    assert [event["params"]["request"]["url"] for event in asked] == [path.as_uri()]


@pytest.mark.parametrize("where", WIDTHS)
def test_no_page_is_cut_off_or_overlaps(browser, tmp_path, where):
    wrong = {}
    for name, made in MADE.items():
        opened(browser, tmp_path / "report.html", made().report(), **WIDTHS[where])
        if found := browser.run(JUDGE):
            wrong[name] = found
    assert wrong == {}


@pytest.mark.parametrize("where", WIDTHS)
def test_names_from_data_stay_in_their_place_and_do_nothing(browser, tmp_path, where):
    metric = ce.Grouped(ce.MeanLoss()).update([float(i) for i in range(len(NASTY))], by=NASTY)
    opened(browser, tmp_path / "report.html", page(dict.fromkeys(NASTY, metric), title=NASTY[5]), **WIDTHS[where])
    assert browser.run(JUDGE) == []
    assert browser.run("document.scripts.length") == 0


def history(seconds, scale=1.0, start=1.7e9, points=9):
    """Return a history of losses of this size over this many seconds."""
    at = start + np.linspace(0, seconds, 3 * points)
    losses = scale * (1 + np.sin(np.arange(3 * points)))
    return ce.Grouped(ce.MeanLoss(), period="1s").update(losses, by_time=at)


@pytest.mark.parametrize("where", ["desk", "phone"])
def test_the_labels_of_any_length_of_time_have_room(browser, tmp_path, where):
    rng = np.random.default_rng(3)
    lengths = [*(10.0 ** rng.uniform(0, 10.8, 60)), 0.0, 86400.0, 86400 * 365.25]
    pages = {f"{length:.0f}": history(length, start=1.7e9 - rng.uniform(0, 1e9)) for length in lengths}
    opened(browser, tmp_path / "report.html", page(pages), **WIDTHS[where])
    assert browser.run(JUDGE) == []


@pytest.mark.parametrize("where", ["desk", "phone"])
def test_the_labels_of_numbers_of_any_size_have_room(browser, tmp_path, where):
    rng = np.random.default_rng(4)
    pages = {}
    for scale in [*(10.0 ** rng.uniform(-322, 307, 20)), *(10.0 ** rng.uniform(-6, 7, 20))]:
        pages[f"{scale:.3g} by time"] = history(3600.0, scale)
        losses = scale * rng.choice([1.0, -1.0]) * (1 + rng.uniform(0, rng.choice([1.0, 1e-3, 1e-7]), 60))
        pages[f"{scale:.3g} by group"] = ce.Grouped(ce.MeanLoss()).update(losses, by=np.arange(60) // 2)
        pages[f"{scale:.3g} paired"] = ce.Paired(ce.MeanLoss()).update(losses, losses[::-1])
    opened(browser, tmp_path / "report.html", page(pages), **WIDTHS[where])
    assert browser.run(JUDGE) == []


def colours(browser):
    return browser.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")


def test_the_dark_scheme_is_dark_and_screenshots_show_something(browser, tmp_path):
    seen = {}
    for dark in (False, True):
        opened(browser, tmp_path / "report.html", binary(tail=True).report(), dark=dark)
        assert browser.run(JUDGE) == []
        seen[dark] = (*colours(browser), browser.screenshot())
    assert seen[False][0] != seen[True][0]
    assert seen[False][1] != seen[True][1]
    blank = "<!doctype html><body></body>"
    opened(browser, tmp_path / "report.html", blank)
    assert min(len(seen[False][2]), len(seen[True][2])) > 3 * len(browser.screenshot())


HOST = """<!doctype html><html><head><style>body{{background:{paper};color:{ink};margin:8px;font-family:serif}}
table{{border:3px solid red}}td{{padding:20px}}h3{{color:red}}text{{fill:red}}.line{{color:red}}</style></head>
<body><h3 id="h">x</h3><table id="t"><tr><td id="d">1</td></tr></table><p id="p">y</p>{inner}</body></html>"""
OF_THE_HOST = """["h", "t", "d", "p"].map(id => {
    const found = getComputedStyle(document.getElementById(id));
    return ["color", "font", "padding", "margin", "borderTop", "backgroundColor"].map(name => found[name]).join();
})"""


@pytest.mark.parametrize(("paper", "ink"), [("#ffffff", "#000000"), ("#111111", "#dddddd")])
def test_a_fragment_leaves_a_notebook_as_it_is_and_can_be_shown_twice(browser, tmp_path, paper, ink):
    found, path = binary(tail=True, calibration=True), tmp_path / "notebook.html"
    opened(browser, path, HOST.format(paper=paper, ink=ink, inner=""), width=900)
    before = browser.run(OF_THE_HOST)
    inner = found._repr_html_() * 2 + found.summary()._repr_html_()
    opened(browser, path, HOST.format(paper=paper, ink=ink, inner=inner), width=900)
    assert browser.run(OF_THE_HOST) == before
    assert browser.run(JUDGE) == []
    text = browser.run('getComputedStyle(document.querySelector(".sce svg text")).fill')
    assert text not in ("rgb(255, 0, 0)", f"rgb{tuple(int(paper[i : i + 2], 16) for i in (1, 3, 5))}")
    assert browser.run('getComputedStyle(document.querySelector(".sce td")).paddingTop') != "20px"
