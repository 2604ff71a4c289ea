"""Reports are complete, small and safe pages with the numbers of the summaries, for every kind of metric."""

import datetime as dt
import itertools
import math
import os
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import golden_states
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from imports import modules_after
from report_metrics import AT, BY, COMPOSED, FULL, GROUPS_OF, MADE, NASTY, RNG, N, P, Y, binary, logits, positions

import streamce as ce
from streamce.cli.main import main
from streamce.keys.encoding import format_key
from streamce.report import MARK, aggregation, fragment, html, page, svg
from streamce.report.elements import of_groups
from streamce.report.series_section import ViewOptions
from streamce.stats import summary

BROUGHT = ["http", "<script", "<link", "@import", "url(", "src=", "href=", "javascript:", "<iframe", "<img", " id="]


def tree(whole):
    """Return the body of a page or a fragment as XML, which requires that all tags are closed and texts escaped."""
    if whole.startswith("<!doctype"):
        assert whole.startswith(MARK)
        whole = whole[whole.index("<body>") : whole.index("</html>")]
    return ElementTree.fromstring(whole)


def words(element):
    return " ".join("".join(element.itertext()).split())


def named(root, cls):
    return [element for element in root.iter() if cls in element.get("class", "").split()]


def rows_after(root, title):
    """Return the rows of the tables in the section with this title, as texts."""
    section = next(each for each in root.iter("section") if words(each[0]).startswith(title))
    return [[words(cell) for cell in row] for row in section.iter("tr")]


@pytest.mark.parametrize("name", MADE)
def test_every_metric_has_a_page_that_is_whole_and_brings_nothing(name):
    metric = MADE[name]()
    whole, shown = metric.report(), metric._repr_html_()
    for each in (whole, shown):
        root = tree(each)
        assert not [word for word in BROUGHT if word in each.lower()]
        assert not re.search(r"\son\w+=", each)
        assert not [x for x in root.iter() for value in x.attrib.values() if "nan" in value or "inf%" in value]
        for picture in root.iter("svg"):
            assert picture.get("role") != "img" or words(picture.find("title"))
        assert not [label for label in root.iter("text") if not label.text]
    assert len(whole) < 100_000
    assert len(shown) < 100_000


@pytest.mark.parametrize("name", MADE)
def test_headings_go_down_step_by_step(name):
    levels = [int(each.tag[1]) for each in tree(MADE[name]().report()).iter() if re.fullmatch("h[1-6]", each.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("name", MADE)
def test_equal_states_have_equal_pages(name):
    metric = MADE[name]()
    again = ce.from_bytes(metric.to_bytes())
    assert metric == again
    assert metric.report(title="x", level=0.9, anytime=True) == again.report(title="x", level=0.9, anytime=True)


def test_a_page_does_not_depend_on_what_was_there_before():
    made = {"b": ce.BinaryCrossEntropy(), "a": ce.Grouped(ce.BinaryCrossEntropy(), period="1d")}
    one, other = ce.Collection(made), ce.Collection(dict(reversed(made.items())))
    half = N // 2
    one.update(P, Y, by=BY, by_time=AT)
    other.update(P[half:], Y[half:], by=BY[half:], by_time=AT[half:])
    other.update(P[:half], Y[:half], by=BY[:half], by_time=AT[:half])
    assert one.report() == other.report()
    assert (one["a"] - one["a"]).report() == made["a"].report()
    nothing = ce.Grouped(ce.BinaryCrossEntropy(), period="1d").update(
        np.empty((1, 0)), np.empty((1, 0)), by=[1], by_time=[0.0]
    )
    assert nothing == made["a"]
    assert nothing.report() == made["a"].report()


class Stack(HTMLParser):
    """A parser that keeps the open elements."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_is_html_with_a_head():
    parser = Stack()
    whole = binary(tail=True).report(title='Monday & "Tuesday"')
    parser.feed(whole)
    assert parser.open == []
    assert '<meta charset="utf-8">' in whole
    assert "width=device-width" in whole
    assert "<title>Monday &amp; &quot;Tuesday&quot;</title>" in whole


def test_many_groups_and_a_year_of_hours_take_tens_of_kilobytes():
    n = 200_000
    p, y = RNG.uniform(0.01, 0.99, n), RNG.integers(0, 2, n)
    many = ce.Grouped(ce.BinaryCrossEntropy()).update(p, y, by=[f"user {i}" for i in range(n)])
    hours = ce.Grouped(ce.BinaryCrossEntropy(), period="1h").update(
        p, y, by=np.arange(n) % 9, by_time=1.79e9 + np.arange(n) * (86400 * 365 / n)
    )
    assert len(many) == n
    assert len(many.report()) < 40_000
    assert len(hours) > 70_000
    assert len(hours.report()) < 100_000


# ---- numbers ----


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("anytime", [False, True])
def test_the_headline_and_the_table_are_those_of_the_summary(level, anytime):
    metric = binary()
    found, root = metric.summary(level, anytime), tree(metric.report(level=level, anytime=anytime))
    low, high = found.interval
    assert words(named(root, "sce-big")[0]) == f"{found.value:.6g} nats"
    kind = f"{100 * level:g} % {'confidence sequence' if anytime else 'interval'}"
    assert words(named(root, "sce-known")[0]) == f"{kind} {low:.6g} to {high:.6g}"
    rows = {row[0]: row[1:] for row in ([words(cell) for cell in row] for row in root.iter("tr")) if row}
    assert rows["in bits"] == [f"{found.bits:.6g}", f"{found.bits_interval[0]:.6g} to {found.bits_interval[1]:.6g}"]
    assert rows["standard error"][0] == f"{found.stderr:.6g}"
    assert rows["losses"][0] == f"{found.count:,}"


def test_a_long_history_is_that_of_a_metric_with_wider_periods():
    root = tree(FULL["history"]().report())
    rows = rows_after(root, "History by 2d (48 periods of 1h together)")[1:]
    wide = ce.Grouped(ce.BinaryCrossEntropy(), period="2d").update(P, Y, by_time=AT)
    assert [row[0] for row in rows] == [f"{key:%Y-%m-%d %H:%M}" for key in wide]
    for row, found in zip(rows, wide.summary().values(), strict=True):
        assert float(row[1]) == pytest.approx(found.value, abs=6e-6)
        low, high = map(float, row[2].split(" to "))
        assert (low, high) == pytest.approx(found.interval, abs=6e-6)
        assert row[3] == f"{found.count:,}"


def test_a_history_says_where_it_ends_and_in_which_zone():
    zone = dt.timezone(dt.timedelta(hours=5))
    at = [dt.datetime(2026, 1, 1, hour, tzinfo=zone) for hour in (1, 2)]
    metric = ce.Grouped(ce.MeanLoss(), period="1h").update([1.0, 2.0], by_time=at)
    assert "2025-12-31 20:00 to 2025-12-31 22:00 UTC, 2 points" in words(tree(metric.report()))


def test_periods_that_are_summed_stay_whole():
    """A period of 7 h divides a week, but not the three days from a Monday to the start of 1970."""
    at = 3600.0 * np.arange(7 * 24 * 60)
    metric = ce.Grouped(ce.MeanLoss(), period="7h").update(at, by_time=at)
    keys, elements = of_groups(metric)
    starts = [aggregation.microseconds(key) for key in keys]
    for each in aggregation.history(starts, elements, metric._period, ViewOptions()):
        within = at[(at >= each.start / 1e6) & (at < each.end / 1e6)]
        assert each.summary.count == len(within)
        assert each.summary.mean == pytest.approx(within.mean())


def test_a_band_that_is_cut_is_said_to_go_on():
    at, losses = 3600.0 * (np.arange(400) // 20), np.tile([0.5, 0.6], 200)
    said = "At the edge of the picture, the band continues beyond it."
    for first, cut in [(0.5, False), (50.0, True)]:
        metric = ce.Grouped(ce.MeanLoss(), period="1h").update([first, *losses[1:]], by_time=at)
        assert (said in words(tree(metric.report()))) == cut


def test_half_lives_say_how_they_weigh():
    assert "Within a point, a later loss has up to twice the weight of an earlier one." in words(
        tree(FULL["decayed"]().report())
    )
    far = ce.Decayed(ce.MeanLoss(), half_life="1h").update([1.0, 2.0], by_time=[0.0, 3.6e6])
    assert "half-lives of 1h together" in words(tree(far.report()))


def test_only_confidence_sequences_hold_at_all_looks():
    whole = words(tree(FULL["groups"]().report(anytime=True)))
    assert "each counting the same, is" in whole
    assert "(95 % interval" in whole
    assert "are valid for all looks together. Values that are called intervals" in whole
    assert "for all looks" not in words(tree(FULL["groups"]().report()))


def test_a_level_is_written_whole():
    assert "99.999999 % interval" in words(tree(binary().report(level=0.99999999)))
    assert summary.interval_name(0.07, False) == "7 % interval"
    assert str(FULL["gan"]().summary(anytime=True)).count("95 % confidence sequence") == 1


def test_groups_by_time_are_summed_over_time():
    found = {row[0]: row for row in rows_after(tree(FULL["groups-history"]().report()), "By group")}
    alone = ce.Grouped(ce.BinaryCrossEntropy()).update(P, Y, by=BY)
    for key, expected in [*alone.worst(12), *alone.best(5)]:
        assert float(found[str(key)][1]) == pytest.approx(expected.value, abs=6e-6)
        assert found[str(key)][-1] == f"{expected.count:,}"
    assert "23 groups between" in found


def test_a_mean_of_groups_says_what_is_one():
    metric = FULL["groups-history"]()
    said = f"The mean of {len(metric):,} periods of a group, each counting the same, is {metric.macro().value:.6g} nats"
    assert said in words(tree(metric.report()))
    assert "The mean of 40 groups, each" in words(tree(FULL["groups"]().report()))


def test_a_group_of_null_by_time_is_ranked():
    metric = ce.Grouped(ce.MeanLoss(), period="1h").update(
        [1.0, 2.0, 4.0], by=["a", None, None], by_time=[0.0, 0.0, 3600.0]
    )
    root = tree(metric.report())
    rows = rows_after(root, "By group")
    assert [row[:2] + row[4:] for row in rows[1:3]] == [["None", "3.00000", "2"], ["a", "1.00000", "1"]]
    assert "not ranked" not in words(root)


def test_classes_are_ranked_and_named():
    metric, names = FULL["classes"](), ["a", "b", "c", "<i>d</i>", "e"]
    rows = rows_after(tree(metric.report(names=names)), "By class, worst first")
    each = dict(zip(names, metric.per_class(), strict=True))
    ranked = sorted(each, key=lambda name: -each[name].mean)
    assert [row[0] for row in rows if row[0] in names] == ranked
    assert [row[1] for row in rows if row[0] in names] == [f"{each[name].mean:.5f}" for name in ranked]


def test_positions_beyond_what_a_screen_shows_are_summed():
    metric = positions()
    rows = rows_after(tree(metric.report()), "By position")[1:]
    assert rows[0][0] == "1 to 5"
    each = metric.per_position()
    for at, row in enumerate(rows):
        part = each[5 * at : 5 * at + 5]
        expected = math.exp(math.fsum(one.total for one in part) / sum(one.count for one in part))
        assert float(row[1]) == pytest.approx(expected, abs=6e-4)
        assert row[3] == f"{sum(one.count for one in part):,}"


def test_places_that_are_summed_claim_no_interval():
    """Positions of one sequence are correlated: here they are equal, so five of them tell no more than one."""
    losses = np.repeat(RNG.uniform(0.1, 3, 40), 300)
    metric = ce.SequenceCrossEntropy(per_position=True).update_token_log_probs(
        -losses, offsets=np.arange(0, 12001, 300)
    )
    root = tree(metric.report())
    assert {row[2] for row in rows_after(root, "By position")[1:]} == {""}
    assert "Each point is the mean of 2 positions. It has no interval" in words(root)
    few = ce.SequenceCrossEntropy(per_position=True).update_token_log_probs(-losses[:600], offsets=[0, 200, 400, 600])
    low, high = few.per_position()[0].interval
    assert rows_after(tree(few.report()), "By position")[1][2] == f"{low:.5f} to {high:.5f}"


def test_a_line_goes_through_the_values_at_their_places():
    losses = [-3.0, -1.0, -2.0, -2.0, -4.0, -1.0]
    metric = ce.SequenceCrossEntropy(per_position=True).update_token_log_probs(losses, offsets=[0, 3, 6])
    root = tree(metric.report())
    path = next(each for each in named(root, "sce-line") if each.tag == "path").get("d")
    drawn = [tuple(map(float, point.split())) for point in path[1:].split("L")]
    assert [x for x, _ in drawn] == pytest.approx([500 / 3, 500, 2500 / 3], abs=0.01)  # positions from 0.5 to 3.5
    heights = [y for _, y in drawn]
    means = [2.5, 2.5, 1.5]
    assert heights[0] == heights[1]
    labels = next(each for each in named(root, "sce-plot")).iter("text")
    ys = {float(label.text): 10 * float(label.get("y")[:-1]) for label in labels if label.get("text-anchor") == "end"}
    (low, at_low), (high, at_high) = sorted(ys.items())[0], sorted(ys.items())[-1]
    for mean, height in zip(means, heights, strict=True):
        assert height == pytest.approx(at_low + (mean - low) / (high - low) * (at_high - at_low), abs=0.2)


def test_a_calibration_and_a_tail_have_their_numbers():
    metric = FULL["binary"]()
    root = tree(metric.report())
    calibrated, tail = metric.calibration(), metric.tail()
    rows = {row[0]: row for row in rows_after(root, "Calibration") if row}
    assert rows["expected loss"][1] == f"{calibrated.expected:.6g}"
    assert rows["z-score"][1] == f"{calibrated.z:.6g}"
    for each in calibrated.bins:
        row = rows[f"{each.low:.3f} to {each.high:.3f}"]
        assert row[1:3] + row[4:] == [f"{each.confidence:.4f}", f"{each.frequency:.4f}", f"{each.count:,}"]
    rows = {row[0]: row for row in rows_after(root, "Tail") if row}
    assert rows["99 % of losses are at most"][1] == f"{tail.quantile(0.99):.6g}"
    bars = [bar.find("title").text for bar in named(root, "sce-bar") if bar.find("title") is not None]
    sized = [re.fullmatch(r".* nats: ([\d,]+) loss(es)?", title) for title in bars]
    assert sum(int(match[1].replace(",", "")) for match in sized if match) == N


def test_a_loss_as_expected_is_not_taken_for_calibration():
    """Every prediction is too high by a tenth, but the effects on the loss cancel."""
    metric = ce.BinaryCrossEntropy(calibration=True)
    for percent in (25, 35, 65, 75):
        metric.update(np.full(100, percent / 100), np.arange(100) < percent - 10)
    found = metric.calibration()
    assert found.ece == pytest.approx(0.1)
    assert abs(found.z) < 1e-9
    texts = words(tree(metric.report()))
    assert "the observed loss agrees with the expected loss. Single bins may still be off" in texts
    assert "overconfident" in words(tree(ce.BinaryCrossEntropy(calibration=True).update(P, 1 - Y).report()))
    assert "underconfident" in words(tree(ce.BinaryCrossEntropy(calibration=True).update(P, P > 0.5).report()))


def test_dots_of_a_reliability_diagram_stand_where_they_say():
    metric = FULL["binary"]()
    diagram = named(tree(metric.report()), "sce-square")[0]
    drawn = [(float(each.get("cx")[:-1]), float(each.get("cy")[:-1])) for each in named(diagram, "sce-dot")]
    expected = [(100 * each.confidence, 100 - 100 * each.frequency) for each in metric.calibration().bins]
    assert drawn == [pytest.approx(place, abs=0.006) for place in expected]


def test_bars_of_a_tail_are_as_tall_as_losses_are_dense():
    """If the logarithms of losses are spread evenly, all bars are equally tall, and their titles give the counts."""
    n = 200_000
    losses = np.exp(np.linspace(math.log(0.3), math.log(1.6), n))
    metric = ce.BinaryCrossEntropy(kind="log_probs", tail=True).update(-losses, np.ones(n, int))
    drawn = named(named(tree(metric.report()), "sce-low")[0], "sce-bar")
    heights = [float(bar.get("height")[:-1]) for bar in drawn]
    assert min(heights[1:-1]) > 98
    for bar in drawn:
        low, high, count = re.fullmatch(r"(\S+) to (\S+) nats: ([\d,]+) losses", bar[0].text).groups()
        within = (losses >= float(low) * (1 - 1e-4)) & (losses < float(high) * (1 + 1e-4))
        assert int(count.replace(",", "")) == pytest.approx(within.sum(), rel=0.02)


def test_an_axis_of_one_size_of_losses_has_two_labels():
    picture = named(tree(ce.BinaryCrossEntropy(tail=True).update([0.3], [1]).report()), "sce-low")[0]
    assert len(list(picture.iter("text"))) == 2


def test_an_infinite_sum_is_not_shared_out():
    metric = ce.BinaryCrossEntropy(tail=True, eps=0).update([0.0, 0.5, 0.3], [1, 1, 0])
    texts = words(tree(metric.report()))
    assert "The picture leaves out 1 loss of 1.8e+19 or more." in texts
    assert "of the sum" not in texts.replace("share of the sum in the worst", "")


def test_bars_of_a_tail_say_what_they_carry():
    metric = ce.BinaryCrossEntropy(tail=True).update([0.9] * 30 + [0.01] * 2, [1] * 32)
    small, large = -30 * math.log(0.9), -2 * math.log(0.01)
    titles = [bar.find("title").text for bar in named(tree(metric.report()), "sce-bar")]
    assert [title.split(": ")[1] for title in titles] == [
        "30 losses",
        "2 losses",
        f"{100 * small / (small + large):.3g} % of the sum",
        f"{100 * large / (small + large):.3g} % of the sum",
    ]


def test_a_comparison_says_its_verdict_and_draws_0():
    metric = FULL["paired"]()
    found, root = metric.summary(), tree(metric.report())
    assert words(named(root, "sce-verdict")[0]) == found.verdict
    assert named(root, "sce-reference")
    texts = words(root)
    assert f"{100 * found.a_better:.4g} %" in texts
    assert f"{found.difference.value:.6g}" in texts


def test_what_was_odd_is_explained():
    texts = words(tree(golden_states.odd().report()))
    for means in ("an input is missing (null)", "not one of the classes", "eps = 2.22e-16", "negative or not finite"):
        assert means in texts
    assert "No anomalies in 4,000 losses." in words(tree(binary().report()))


def test_a_state_of_less_than_nothing_says_so():
    metric = ce.BinaryCrossEntropy(tail=True) - binary(tail=True)
    for whole in (metric.report(), metric._repr_html_()):
        errors = [words(each) for each in named(tree(whole), "sce-error")]
        assert len(errors) == 2
        assert all("more was subtracted than had been added" in error for error in errors)


@pytest.mark.parametrize("name", MADE)
def test_the_page_of_a_state_from_which_more_was_subtracted_says_so(name):
    """Each section either has a result, or says why not."""
    metric = MADE[name]()
    if not metric._is_addable or not metric._state.parts():
        return
    metric = metric.copy().reset() - metric
    for whole in (metric.report(), metric._repr_html_(), page({"a": metric, "b": metric})):
        errors = [words(each) for each in named(tree(whole), "sce-error")]
        is_addable_again = "less-than" in name or "negative" in name
        assert is_addable_again or any("more was subtracted than had been added" in error for error in errors)


@pytest.mark.parametrize("name", ["decayed-classes", "multiclass-classes"])
def test_names_of_classes_do_not_hide_that_more_was_subtracted(name):
    metric = MADE[name]()
    metric = metric.copy().reset() - metric
    assert "more was subtracted than had been added" in metric.report(names=["a", "b", "c"])


LOSSES = np.random.default_rng(12).gamma(4.0, 0.1, 1000)


def small_and_large(inner, *batch):
    """Return groups of 200, 30 and 3 samples, 23 of each, in the order of their losses."""
    by = np.repeat(np.arange(69), np.tile([200, 30, 3], 23))
    return ce.Grouped(inner).update(*(np.resize(each, len(by)) + by / 100 for each in batch), by=by)


@pytest.mark.parametrize("batch", [(LOSSES,), (LOSSES, LOSSES[::-1])], ids=["mean", "paired"])
@pytest.mark.parametrize(("least", "number"), [(None, 69), (0, 69), (31, 23), (201, 0)])
def test_small_groups_are_left_out(batch, least, number):
    metric = small_and_large(ce.MeanLoss() if len(batch) == 1 else ce.Paired(ce.MeanLoss()), *batch)
    texts = words(tree(metric.report(min_samples=least)))
    left_out = f"The ranking leaves out {69 - number} groups with fewer than {least} samples."
    assert (left_out in texts) == (number < 69)
    assert ("The ranking leaves out" in texts) == (number < 69)
    if number:
        value = metric.macro(min_samples=least or 0).value
        assert f"The mean of {number} groups, each counting the same, is {value:.6g} nats" in texts
    assert (f"{number} groups by value" in texts) == (number > 0)


@pytest.mark.parametrize("anytime", [False, True])
@pytest.mark.parametrize("least", [None, 3])
def test_groups_in_which_two_models_differ(least, anytime):
    by = np.repeat(np.arange(120), np.tile([200, 30, 3], 40))
    a = np.resize(LOSSES, len(by))
    b = a + np.resize([0.1, -0.1, 0.05, -0.02], len(by)) + (by % 4 - 1.5) / 10
    metric = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by)
    options = {} if least is None else {"min_samples": least}
    found = metric.discoveries(0.01, anytime, **options)
    whole = tree(metric.report(anytime=anytime, min_samples=least, fdr=0.01))
    texts = words(whole)
    better, limit = [row.better for row in found], 100 if least is None else least
    looks, tested = ("any number of looks", "groups") if anytime else ("one look", "tested groups")
    assert (
        f"A is worse in {better.count('B')} and better in {better.count('A')} of {found.tested} {tested}, at a "
        f"false discovery rate of 1 % for {looks}. Those with fewer than {limit} samples are left out."
    ) in texts
    rows = rows_after(whole, "Groups in which the models differ")
    assert [rows[0][0], rows[0][1], *rows[0][4:]] == ["", "A - B", "adjusted p", "better", "samples"]
    assert len(found) > 17
    shown = [*list(found)[:12], *list(found)[-5:]]
    cells = [[f"{row.key}", f"{row.adjusted_p:.2g}", row.better, f"{row.samples}"] for row in shown]
    cells.insert(12, [f"{len(found) - 17} groups between", "", "", ""])
    assert [[row[0], *row[4:]] for row in rows[1:19]] == cells


def test_periods_in_which_two_models_differ():
    rng, at = np.random.default_rng(4), np.repeat(np.arange(10), 200) * 86400.0
    a = rng.exponential(size=2000)
    b = a + rng.normal(0.0, 0.1, 2000) + (at == 0) * 0.3
    for by, title in ((None, "Periods in which"), (["x"] * 2000, "Groups and periods in which")):
        metric = ce.Grouped(ce.Paired(ce.MeanLoss()), period="1d").update(a, b, by=by, by_time=at)
        assert f"{title} the models differ" in words(tree(metric.report()))
    assert "models differ" not in words(tree(FULL["groups"]().report()))
    assert "models differ" not in words(tree(FULL["paired"]().report()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_samples": -1}, "min_samples is -1: expected a whole number of samples"),
        ({"min_samples": 1.5}, "min_samples is 1.5: expected a whole number of samples"),
        ({"fdr": 0.0}, "fdr is 0.0: expected a number between 0 and 1"),
        ({"fdr": None}, "fdr is None: expected a number between 0 and 1"),
    ],
)
def test_options_of_groups_are_checked(options, message):
    with pytest.raises(ce.InputError, match=f"^{re.escape(message)}$"):
        FULL["paired"]().report(**options)


SUMMARIES = {
    "summary": (lambda: binary().summary(), lambda found: f"{found.value:.6g} nats"),
    "paired": (lambda: FULL["paired"]().summary(), lambda found: found.verdict),
    "gan": (lambda: FULL["gan"]().summary(), lambda found: f"{found.jensen_shannon:.6g}"),
    "tail": (lambda: binary(tail=True).tail(), lambda found: f"{found.quantile(0.9):.6g}"),
    "calibration": (lambda: binary(calibration=True).calibration(), lambda found: f"{found.ece:.6g}"),
    "estimate": (lambda: FULL["groups"]().macro(), lambda found: f"{found.value:.6g} nats"),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries_are_drawn_in_a_notebook(name):
    made, said = SUMMARIES[name]
    found = made()
    assert found._repr_html_() == fragment(found)
    assert said(found) in words(tree(found._repr_html_()))


def test_the_style_of_a_fragment_stays_in_it():
    style = re.search(r"<style>(.*?)</style>", binary()._repr_html_(), re.DOTALL)[1]
    rules = re.sub(r"@(container|media)[^{]*\{|\{[^{}]*\}", " ; ", style)
    selectors = [one.strip(" }\n") for rule in rules.split(";") for one in rule.split(",")]
    assert all(one.startswith(".sce") for one in selectors if one)
    assert len([one for one in selectors if one]) > 40


@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=40),
    st.floats(-6e10, 2.5e11),
    st.sampled_from(["1us", "1s", "1h", "1w"]),
    st.floats(0.01, 0.999),
    st.booleans(),
)
def test_any_losses_at_any_time_have_a_page(losses, first, period, level, anytime):
    number = np.arange(len(losses))
    at = first + number * 10.0 ** (number % 7)
    made = [
        ce.MeanLoss().update(losses),
        ce.Grouped(ce.MeanLoss()).update(losses, by=number // 2),
        ce.Grouped(ce.MeanLoss(), period=period).update(losses, by_time=at),
        ce.Decayed(ce.MeanLoss(), half_life="1h").update(losses, by_time=at),
        ce.Paired(ce.MeanLoss()).update(losses, losses[::-1]),
        ce.BinaryCrossEntropy(kind="logits", tail=True, calibration=True).update(losses, number % 2),
        ce.MultilabelCrossEntropy(kind="logits").update([losses], [number % 2]),
    ]
    for metric in made:
        tree(metric.report(level=level, anytime=anytime))


# ---- names from data ----


# ---- compositions ----


def headline_of(metric, found):
    return found.difference if isinstance(found, ce.PairedSummary) else found


@pytest.mark.parametrize("name", ["classes", "normalized", "normalized-classes", "paired"])
def test_groups_are_ranked_by_their_value(name):
    metric = COMPOSED[f"groups-of-{name}"]()
    root = tree(metric.report())
    order = "the largest and the smallest A - B" if name == "paired" else "the worst and the best"
    rows = rows_after(root, f"By group: {order} of 40")
    head = next(number for number, row in enumerate(rows) if row[0] == "group")
    summaries = {str(key): headline_of(metric, each.summary()) for key, each in metric.items()}
    shown = [row[0] for row in rows[head + 1 : head + 13]]
    assert shown == sorted(summaries, key=lambda key: -summaries[key].value)[:12]
    for row in rows[head + 1 : head + 13]:
        found = summaries[row[0]]
        assert float(row[1]) == pytest.approx(found.value, rel=1e-4)
        assert [float(end) for end in row[2].split(" to ")] == pytest.approx(found.interval, rel=1e-3)
        assert row[-1] == f"{found.count:,}"
    if name == "paired":
        assert rows[head] == ["group", "A - B", "95 % interval", "", "p-value", "losses"]
        assert float(rows[head + 1][4]) == pytest.approx(metric[int(shown[0])].summary().p_value, rel=1e-2)


def test_groups_have_the_sections_of_their_metric_for_all_samples():
    metric = COMPOSED["groups-of-classes"]()
    whole = GROUPS_OF["classes"][0].copy().update(*GROUPS_OF["classes"][1])
    assert metric._current() == whole
    page_of_groups, page_of_whole = tree(metric.report()), tree(whole.report())
    titles = [words(section[0]) for section in page_of_groups.iter("section")]
    of_whole = [words(section[0]) for section in page_of_whole.iter("section")]
    assert titles == [*of_whole, "By group: the worst and the best of 40"]
    for title in of_whole:
        assert rows_after(page_of_groups, title) == rows_after(page_of_whole, title)


@pytest.mark.parametrize("name", ["classes", "normalized", "normalized-classes", "paired"])
def test_a_window_has_the_sections_of_its_samples_and_a_history(name):
    metric = COMPOSED[f"window-of-{name}"]()
    root, of_samples = tree(metric.report()), tree(metric.window().report())
    big = "sce-verdict" if name == "paired" else "sce-big"
    assert words(named(root, big)[0]) == words(named(of_samples, big)[0])
    rows = rows_after(root, "History by 1d")[1:]
    panes = metric._state.sorted()
    assert [row[0] for row in rows] == [f"{start:%Y-%m-%d %H:%M}" for start in panes]
    inner = metric.options["metric"]
    for row, state in zip(rows, panes.values(), strict=True):
        each = inner.copy()
        each._state = state
        found = headline_of(each, each.summary())
        assert float(row[1]) == pytest.approx(found.value, rel=1e-3)
        assert row[3] == f"{found.count:,}"


def test_periods_of_pairs_are_added_to_a_history():
    wide = ce.Grouped(ce.Paired(ce.BinaryCrossEntropy()), period="2w").update(P, P**1.1, Y, by_time=AT)
    narrow = ce.Grouped(ce.Paired(ce.BinaryCrossEntropy()), period="1h").update(P, P**1.1, Y, by_time=AT)
    keys, elements = of_groups(narrow)
    starts = [aggregation.microseconds(key) for key in keys]
    width = 2 * 7 * 86_400_000_000
    numbers = {key: number for number, key in enumerate(wide)}
    first = aggregation.microseconds(next(iter(wide)))
    added = elements.added([(start - first) // width for start in starts])
    for key, each in wide.items():
        assert added.summary(numbers[key], ViewOptions()) == each.summary()


def test_groups_of_a_collection_are_groups_of_each_metric():
    root = tree(COMPOSED["groups-of-collection"]().report())
    articles = {words(each[0]): each for each in root.iter("article")}
    assert [*articles] == ["NE", "tail"]
    for name, metric in GROUPS_OF["collection"][0].options["metrics"].items():
        groups = ce.Grouped(metric).update(P, Y, by=BY)
        alone = tree(groups.report())
        title = "By group: the worst and the best of 40"
        assert rows_after(articles[name], title) == rows_after(alone, title)


def test_a_mean_of_normalized_entropies_has_no_unit():
    metric = COMPOSED["groups-of-normalized"]()
    value = f"{metric.macro().value:.6g}"
    assert f"The mean of 40 groups, each counting the same, is {value} (95 %" in words(tree(metric.report()))


def test_options_of_metrics_within_are_shown():
    rows = [[words(cell) for cell in row] for row in tree(COMPOSED["groups-of-windows"]().report()).iter("tr")]
    assert ["period", "'60d'"] in rows
    assert ["step", "'5d'"] in rows
    inner = ce.Sliding(ce.MeanLoss(), period="2h", step="1h")
    groups = ce.Grouped(inner, period="1d").update([1.0], by_time=[0.0])
    rows = [[words(cell) for cell in row] for row in tree(groups.report()).iter("tr")]
    assert ["period", "'1d'"] in rows
    assert ["inner_period", "'2h'"] in rows


def test_names_from_data_are_escaped_and_cut():
    metric = ce.Grouped(ce.MeanLoss()).update(np.arange(len(NASTY), dtype=float), by=NASTY)
    root = tree(metric.report())
    assert {bdi.text for bdi in root.iter("bdi")} == {format_key(name) for name in NASTY}
    assert max(len(bdi.text) for bdi in root.iter("bdi")) <= 120
    both = ce.Collection({name: ce.MeanLoss() for name in NASTY})
    assert [bdi.text for bdi in tree(both.report()).iter("bdi")] == [format_key(name) for name in sorted(NASTY)]


@given(st.text(max_size=60), st.lists(st.text(max_size=60), min_size=2, max_size=4, unique=True))
def test_any_text_is_a_title_and_a_name(title, names):
    metric = ce.MulticlassCrossEntropy(per_class=True).update(
        np.full((len(names), len(names)), 1 / len(names)), np.arange(len(names))
    )
    root = tree(page(dict.fromkeys(names, metric), title=title, names=names))
    assert len(list(root.iter("article"))) == len(names)
    assert len(list(root.iter("bdi"))) == 2 * len(names) + len(names) ** 2


def test_keys_of_many_parts_are_cut():
    metric = ce.Grouped(ce.MeanLoss()).update([1.0], by=tuple([f"{'x' * 50}{i}"] for i in range(200)))
    assert max(len(bdi.text) for bdi in tree(metric.report()).iter("bdi")) <= 120


@pytest.mark.parametrize(("names", "said"), [
    (["a"], "has length 1: expected one per class or label, 5"), ("abcde", "expected a sequence of strings"),
])  # fmt: skip
def test_names_that_do_not_fit_are_an_error(names, said):
    with pytest.raises(ce.InputError, match=said):
        FULL["classes"]().report(names=names)
    with pytest.raises(ce.InputError, match="names"):
        binary().report(names=["a"])


def test_names_of_an_array_are_names():
    metric = FULL["classes"]()
    assert metric.report(names=np.array(list("abcde"))) == metric.report(names=list("abcde"))


@pytest.mark.parametrize("names", [5, None, ["a", 5, "c", "d", "e"], b"abcde"])
def test_names_that_are_none_are_an_error(names):
    with pytest.raises(ce.InputError, match=r"names is .*: expected a sequence of strings"):
        FULL["classes"]().report(names=names)


@pytest.mark.parametrize("metrics", [{}, 5, {"a": 5}, [ce.MeanLoss()]])
def test_a_page_is_of_metrics(metrics):
    with pytest.raises(ce.InputError, match=r"metrics is .*: expected a metric, or metrics by name"):
        page(metrics)


def test_the_classes_of_a_normalized_entropy_have_means():
    metric = ce.MulticlassNormalizedEntropy(kind="logits").update(*logits())
    assert rows_after(tree(metric.report()), "By class")[0][:2] == ["class", "nats"]


def test_a_level_that_is_none_is_an_error():
    with pytest.raises(ce.InputError, match="level is 2"):
        binary().report(level=2)


# ---- scales ----

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=5), st.lists(st.tuples(st.floats(), st.floats()), max_size=4))
@example([1.1e308, 1.2e308], [])
@example([-1.1e308, -1.2e308], [])
def test_a_scale_holds_all_numbers(numbers, intervals):
    scale = svg.scale_around([*numbers, math.nan, math.inf], intervals)
    assert -1e308 <= scale.low <= scale.high <= 1e308
    places = [scale.fraction(x) for x in sorted(numbers) if abs(x) <= 1e308]
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert places == sorted(places)


@given(finite, finite)
def test_ticks_are_numbers_on_the_scale_that_their_labels_name(one, other):
    scale = svg.scale_around([one, other])
    found = svg.ticks(scale)
    assert 1 <= len(found) <= 7
    assert len(set(found.values())) == len(found)
    for x, label in found.items():
        assert -1e-6 <= scale.fraction(x) <= 1 + 1e-6
        assert float(label) == pytest.approx(x, rel=0.006, abs=1e-300)
        assert len(label) <= 12
    assert svg.round_scale(scale).low <= scale.low <= scale.high <= svg.round_scale(scale).high


@given(st.floats(0, 5), st.floats(-0.5, 2), st.booleans())
def test_an_axis_has_two_labels_at_least(low, size, all_of_them):
    drawn = svg.axis(svg.Scale(low, low + 10**size), all_of_them)
    assert len(list(ElementTree.fromstring(drawn).iter("text"))) > 1


def test_an_axis_of_places_begins_with_the_first():
    for size in (2, 3, 7, 900, 1001, 1999):
        losses = np.ones(size)
        metric = ce.SequenceCrossEntropy(per_position=True).update_token_log_probs(-losses, offsets=[0, size])
        labels = named(tree(metric.report()), "sce-plot")[0].iter("text")
        along = [int(label.text) for label in labels if label.get("dy") == "16"]
        assert along[-1] == 1
        assert len(along) > 1


@given(
    st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9990, 1, 1)),
    st.floats(0, 9.5).map(lambda x: dt.timedelta(seconds=10**x)),
)
def test_a_time_axis_has_a_few_labels_that_lie_on_it(start, length):
    low = (start - aggregation.EPOCH) / dt.timedelta(seconds=1)
    scale = svg.Scale(low, low + length.total_seconds())
    labels = list(ElementTree.fromstring(f"<g>{svg.time_labels(scale)}</g>").iter("text"))
    fine = [label for label in labels if label.get("dy") == "16"]
    assert 1 <= len(fine) <= 7
    assert all(-0.01 <= float(label.get("x")[:-1]) <= 100.01 for label in labels)


def test_all_of_time_has_an_axis_and_a_part_of_a_second_has_one():
    for period in ("1us", "1h", "1w"):
        metric = ce.Grouped(ce.MeanLoss(), period=period)
        metric.update([1.0, 2.0], by_time=[dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23)])
        texts = [label.text for label in named(tree(metric.report()), "sce-plot")[0].iter("text")]
        assert {"2000", "4000", "6000", "8000"} <= set(texts)
    short = ElementTree.fromstring(f"<g>{svg.time_labels(svg.Scale(0.25, 0.5))}</g>")
    assert [label.text for label in short.iter("text")] == ["00:00:00.250000", "1 Jan"]


def test_a_time_axis_names_hours_days_months_and_years():
    def texts(low, length):
        scale = svg.Scale(low, low + length)
        return [label.text for label in ElementTree.fromstring(f"<g>{svg.time_labels(scale)}</g>").iter("text")]

    day = 86400
    assert texts(0, day) == ["00:00", "1 Jan", "06:00", "12:00", "18:00", "00:00", "2 Jan"]
    assert texts(0, 28 * day) == ["5 Jan", "1970", "12 Jan", "19 Jan", "26 Jan"]  # Mondays
    assert texts(0, 364 * day) == ["Jan", "1970", "Apr", "Jul", "Oct"]
    assert texts(0, 5 * 365 * day + 1) == ["1970", "1971", "1972", "1973", "1974"]


@given(st.lists(st.floats(), max_size=50), st.integers(1, 9))
def test_a_histogram_of_groups_holds_each_that_is_finite(values, bins):
    counts, low, high = aggregation.histogram(values, bins)
    number = sum(map(math.isfinite, values))
    assert sum(counts) == number
    assert number == 0 or low <= high


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=30), st.sampled_from(["1min", "7min", "1h", "5d", "1w"]))
def test_a_history_loses_nothing(hours, period):
    at = [3600.0 * hour for hour in hours]
    metric = ce.Grouped(ce.MeanLoss(), period=period).update(np.ones(len(at)), by_time=at)
    keys, elements = of_groups(metric)
    starts = [aggregation.microseconds(key) for key in keys]
    found = aggregation.history(starts, elements, metric._period, ViewOptions())
    assert sum(each.summary.count for each in found) == len(at)
    assert [each.start for each in found] == sorted({each.start for each in found})
    assert len(found) <= aggregation.MAX_POINTS + 2
    width = found[0].end - found[0].start
    assert width % metric._period == 0
    assert all(any(each.start <= start < each.end for start in starts) for each in found)


# ---- style ----


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_and_marks_can_be_told_from_the_page_in_both_schemes():
    style = binary().report().split("</style>")[0]
    light, dark = style.split("@media screen and (prefers-color-scheme:dark)")
    light = light[light.index("body{margin") :]
    for scheme in (light, dark):
        paper = re.search(r"background:(#[0-9a-f]{6})", scheme)[1]
        texts = [re.search(r"[;{]color:(#[0-9a-f]{6})", scheme)[1], re.search(r"--soft:(#[0-9a-f]{6})", scheme)[1]]
        marks = [re.search(rf"--{name}:(#[0-9a-f]{{6}})", scheme)[1] for name in ("mark", "other", "error")]
        assert min(contrast(text, paper) for text in texts) >= 4.5
        assert min(contrast(mark, paper) for mark in marks) >= 3


def test_pictures_are_imported_when_they_are_asked_for():
    assert not [name for name in modules_after("import streamce") if name.startswith("streamce.report")]


def test_numbers_of_a_column_have_as_many_decimals():
    write = html.aligned([0.5, 12.25, math.inf, 0.0])
    assert [write(x) for x in (0.5, 12.25, math.inf, math.nan)] == ["0.5000", "12.2500", "∞", "–"]
    assert html.aligned([1e-9, 1.0])(1e-9) == "1e-09"


# ---- files and the command line ----


def test_a_report_is_written_whole_and_returned(tmp_path):
    metric = binary()
    whole = metric.report(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == whole == metric.report()
    with pytest.raises(OSError, match=r"a\.html"):
        metric.report(tmp_path / "none" / "a.html")
    with pytest.raises(OSError, match=r"directory: '[^']*'$"):
        metric.report(tmp_path)
    assert os.listdir(tmp_path) == ["a.html"]


@pytest.fixture
def states(tmp_path):
    binary(tail=True).save(tmp_path / "monday.state")
    FULL["classes"]().save(tmp_path / "tuesday.state")
    return [str(tmp_path / "monday.state"), str(tmp_path / "tuesday.state")]


def run(capsys, *argv):
    status = main(["report", *argv])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_writes_one_page_of_several_states(tmp_path, states, capsys):
    path = tmp_path / "report.html"
    status, out, err = run(capsys, *states, "-o", str(path), "--title", "Days", "--classes", "a,b,c,d,e")
    assert (status, err) == (0, "")
    assert out == f"{path}: 2 states, {-(-path.stat().st_size // 1000)} kB\n"
    root = tree(path.read_text(encoding="utf-8"))
    assert [words(each) for each in root.iter("h2")] == ["monday", "tuesday"]
    assert words(next(root.iter("h1"))) == "Days"
    assert run(capsys, states[0], "-o", str(path), "--level", "0.5", "--anytime")[0] == 0  # replaces an existing report
    assert "50 % confidence sequence" in path.read_text(encoding="utf-8")


def test_the_command_writes_to_standard_output(tmp_path, states, capsys):
    path = tmp_path / "report.html"
    assert run(capsys, states[0], "-o", str(path))[0] == 0
    assert run(capsys, states[0], "-o", "-") == (0, path.read_text(encoding="utf-8"), "")
    assert not os.path.exists("-")


def test_states_of_one_kind_are_shown_on_one_scale():
    low, high = ce.MeanLoss().update([0.1, 0.2, 0.3]), ce.MeanLoss().update([0.8, 0.9, 1.0, 1.1])
    root = tree(page({"low": low, "high": high}))
    rows = [[words(cell) for cell in row] for row in next(root.iter("table")).iter("tr")]
    assert [row[:3] + row[4:] for row in rows[1:3]] == [
        ["low", "0.200000", "-0.048414 to 0.448414", "3"], ["high", "0.950000", "0.744574 to 1.155426", "4"]
    ]  # fmt: skip
    drawn = [float(each.get("cx")[:-1]) for each in list(named(root, "sce-dot"))[:2]]
    assert drawn == pytest.approx([100 * 0.2 / 1.155426, 100 * 0.95 / 1.155426], abs=0.01)
    for other in (binary(), low - high, ce.Paired(ce.MeanLoss())):
        assert words(next(tree(page({"low": low, "other": other})).iter("table"))[0]) != "value 95 % interval losses"


def test_states_of_one_name_are_told_apart(tmp_path, states, capsys):
    path = tmp_path / "report.html"
    assert run(capsys, states[0], states[0], "-o", str(path))[0] == 0
    headings = [words(each) for each in tree(path.read_text(encoding="utf-8")).iter("h2")]
    assert len(set(headings)) == 2


def test_the_command_refuses_what_it_cannot_do(tmp_path, states, capsys):
    kept, path = tmp_path / "mine.html", str(tmp_path / "r.html")
    kept.write_text("<html>mine</html>", encoding="utf-8")
    damaged, missing = tmp_path / "damaged.state", str(tmp_path / "none.state")
    damaged.write_bytes((tmp_path / "monday.state").read_bytes()[:-1])
    for argv, code, said in [
        ([states[0], "-o", str(kept)], 2, "this file exists and is not a report: give another path"),
        ([states[0], "-o", states[0]], 2, "this file exists and is not a report"),
        ([states[0], "-o", str(tmp_path)], 2, "no file can be written there"),
        ([states[0], "-o", str(tmp_path / "no" / "r.html")], 2, "no file can be written there"),
        ([str(damaged), "-o", path], 1, "damaged"),
        ([missing, "-o", path], 1, "No such file"),
        ([states[1], "-o", path, "--classes", "a,b"], 2, "--classes: names has length 2"),
        ([states[1]], 2, "-o/--output"),
        (["-o", path], 2, "STATE"),
        ([states[0], "-o", path, "--level", "2"], 2, "is not a number between 0 and 1"),
    ]:
        status, out, err = run(capsys, *argv)
        assert (status, out) == (code, "")
        assert said in err
        assert err.count("\n") == 1
    assert kept.read_text(encoding="utf-8") == "<html>mine</html>"
    assert not os.path.exists(path)


def test_words_are_those_of_the_summary():
    assert summary.interval_name(0.95, False) == "95 % interval"
    assert html.plural(1, "loss", "losses") == "1 loss"
    assert html.plural(1200, "loss", "losses") == "1,200 losses"
