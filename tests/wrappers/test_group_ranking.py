"""Rankings, means and tables of groups of any metric, and the groups in which two models differ."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import stats
from test_composition import NAMES, case

import streamce as ce

SCORES = {
    "plain": lambda metric: metric.compute(),
    "per_class": lambda metric: metric.compute(),
    "tail": lambda metric: metric.compute(),
    "tokens": lambda metric: metric.summary().mean,  # a perplexity grows with the mean, and may overflow
    "ctc": lambda metric: metric.compute(),
    "normalized": lambda metric: metric.compute(),
    "normalized_classes": lambda metric: metric.compute(),
    "gan": lambda metric: metric.compute(),
    "paired": lambda metric: metric.compute(),
}
WINDOWS = {
    "none": (lambda metric: metric, lambda n: {}),
    "sliding": (lambda metric: ce.Sliding(metric, period=300.0, step=60.0), lambda n: {"by_time": 2.0 * np.arange(n)}),
    "decayed": (lambda metric: ce.Decayed(metric, half_life=60.0), lambda n: {"by_time": 2.0 * np.arange(n)}),
}


def grouped(name, window="none", n=200, groups=12):
    """Return groups of unequal sizes of a metric by its name in ``test_composition``."""
    metric, batch = case(name, 3, n)
    wrap, times = WINDOWS[window]
    by = np.floor(groups * np.random.default_rng(4).random(n) ** 2).astype(int)
    return ce.Grouped(wrap(metric)).update(**batch, **times(n), by=by)


def middle_size(metric):
    """Return a number of samples that some groups have, and some do not."""
    sizes = sorted(of_now(each).summary().samples for _, each in metric.items())
    return sizes[len(sizes) // 2]


def of_now(metric):
    """Return the metric of the samples that count now."""
    if isinstance(metric, ce.Sliding):
        return metric.window()
    return metric.weighted() if isinstance(metric, ce.Decayed) else metric


def expected_order(metric, score, sign, least=0):
    """Return the keys in the order of the scores of their metrics, those without a score last."""
    scores = {key: score(of_now(each)) for key, each in metric.items() if of_now(each).summary().samples >= least}
    return sorted(scores, key=lambda key: (math.isnan(scores[key]), sign * scores[key])), scores


# ---- rankings ----


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("name", SCORES)
def test_groups_are_ranked_by_the_score_of_their_metric(name, window):
    if (window, name) in (("decayed", "tail"), ("decayed", "ctc")):
        return
    metric = grouped(name, window)
    for least in (0, middle_size(metric)):
        worst, scores = expected_order(metric, SCORES[name], -1, least)
        assert 2 < len(scores) < len(metric) + (not least)
        found = metric.worst(5, min_samples=least)
        assert [key for key, _ in found] == worst[:5]
        assert [repr(summary) for _, summary in found] == [repr(metric[key].summary()) for key, _ in found]
        best, _ = expected_order(metric, SCORES[name], 1, least)
        assert [key for key, _ in metric.best(3, 0.9, min_samples=least)] == best[:3]
        values = [score for score in scores.values() if not math.isnan(score)]
        macro = metric.macro(min_samples=least)
        assert (macro.value, macro.groups) == (pytest.approx(np.mean(values)), len(values))
        half = stats.t.isf(0.025, len(values) - 1) * stats.sem(values)
        assert macro.interval == pytest.approx((macro.value - half, macro.value + half))


def test_normalized_entropy_of_classes_is_ranked_by_its_value_and_not_by_its_loss():
    """The group "sure" has the smaller loss, and the larger share of the entropy of its classes."""
    metric = ce.Grouped(ce.MulticlassNormalizedEntropy())
    metric.update([[0.75, 0.25]] * 10, [0] * 9 + [1], by=["sure"] * 10)
    metric.update([[0.7, 0.3], [0.4, 0.6]] * 5, [0, 1] * 5, by=["even"] * 10)
    means = {key: summary.mean for key, summary in metric.summary().items()}
    assert means["sure"] < means["even"]
    assert [key for key, _ in metric.worst()] == ["sure", "even"]
    assert metric.macro().value == np.mean(list(metric.compute().values()))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "collection"])
def test_largest_groups_and_tables_of_large_groups(name):
    metric = grouped(name)
    sizes = {key: each.summary().samples for key, each in metric.items()}
    order = sorted(sizes, key=lambda key: -sizes[key])
    assert [key for key, _ in metric.largest(4)] == order[:4]
    least = middle_size(metric)
    kept = [key for key in metric if sizes[key] >= least]
    assert {key for key, _ in metric.largest(100, min_samples=least)} == set(kept)
    table = metric.to_table(min_samples=least)
    assert 2 < len(kept) < len(sizes)
    assert table["key"].tolist() == kept
    whole = metric.to_table()
    rows = np.isin(whole["key"], kept)
    assert list(table) == list(whole)
    for column, values in table.items():
        assert repr(values.tolist()) == repr(whole[column][rows].tolist())


@pytest.mark.parametrize("given", [-1, 1.5, "3", None, True])
def test_a_number_of_samples_is_a_whole_number(given):
    metric = ce.Grouped(ce.MeanLoss())
    for method in (metric.worst, metric.best, metric.largest, metric.macro, metric.to_table, metric.discoveries):
        if method != metric.discoveries:
            with pytest.raises(ce.InputError, match=r"^min_samples is .*: expected a whole number of samples"):
                method(min_samples=given)
    with pytest.raises(ce.InputError, match=r"^min_samples is"):
        ce.Grouped(ce.Paired(ce.MeanLoss())).discoveries(min_samples=given)


# ---- collections ----


def test_groups_of_a_collection_are_ranked_by_one_of_its_metrics():
    metric, batch = case("collection", 3, 200)
    by = np.random.default_rng(4).integers(0, 12, 200)
    groups = ce.Grouped(metric).update(**batch, by=by)
    for name in ("loss", "normalized"):
        alone = ce.Grouped(metric[name]).update(**batch, by=by)
        for method in ("worst", "best", "largest"):
            found = getattr(groups, method)(3, min_samples=10, metric=name)
            assert repr(found) == repr(getattr(alone, method)(3, min_samples=10))
        assert repr(groups.macro(metric=name)) == repr(alone.macro())
        assert repr(groups.micro(metric=name)) == repr(alone.micro())
        one, other = groups.to_table(metric=name), alone.to_table()
        pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other))
    assert list(groups.micro()) == list(metric)
    assert {"key", "loss_value", "normalized_value"} < set(groups.to_table())
    assert ce.Grouped(metric).worst(metric="loss") == []


def test_groups_by_time_of_a_collection():
    groups = ce.Grouped(ce.Collection({"loss": ce.MeanLoss()}), period="1h")
    groups.update([1.0, 3.0], by_time=[0.0, 3600.0])
    [(start, summary)] = groups.worst(1, metric="loss")
    assert (start.hour, summary.mean) == (1, 3.0)


def test_a_metric_of_a_collection_must_be_named():
    groups = ce.Grouped(ce.Collection({"loss": ce.MeanLoss(), "again": ce.MeanLoss()}))
    for method in ("worst", "best", "largest", "macro"):
        expected = rf"metric is missing: expected one of \['again', 'loss'\], such as {method}\(metric='again'\)"
        with pytest.raises(ce.InputError, match=expected):
            getattr(groups, method)()
    with pytest.raises(ce.InputError, match=r"^metric is missing"):
        groups.to_table(min_samples=3)
    for name in ("los", 3, ["loss"], np.array(["a", "b"])):
        with pytest.raises(ce.InputError, match=r"^metric is .*: expected one of \['again', 'loss'\]"):
            groups.worst(metric=name)
    with pytest.raises(ce.InputError, match=r"^metric is 'loss': expected none, because the groups have one metric"):
        ce.Grouped(ce.MeanLoss()).worst(metric="loss")


# ---- discoveries ----


def pairs(seed, groups=60, samples=200, shifted=(), **options):
    """Return losses of two models by group, which differ in the groups ``shifted``."""
    rng = np.random.default_rng(seed)
    by = np.repeat(np.arange(groups), samples)
    b = rng.exponential(size=by.size)
    a = b + rng.normal(0, 0.5, by.size)
    for key, shift in dict(shifted).items():
        a[by == key] += shift
    return a, b, by


SHIFTS = {3: 0.2, 7: -0.3, 8: 0.5}


def test_discoveries_are_the_groups_that_differ():
    a, b, by = pairs(0, shifted=SHIFTS)
    metric = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by)
    found = metric.discoveries(min_samples=0)
    assert [(group.key, group.better) for group in found] == [(8, "B"), (3, "B"), (7, "A")]
    assert len(found) == 3
    assert (found.fdr, found.anytime, found.tested) == (0.05, False, 60)
    assert found.level == pytest.approx(1 - 0.05 * 3 / 60)
    p_values = np.array([stats.ttest_rel(a[by == key], b[by == key]).pvalue for key in range(60)])
    adjusted = stats.false_discovery_control(p_values)
    for group in found.differences:
        assert group.p_value == pytest.approx(p_values[group.key], rel=1e-6)
        assert group.adjusted_p == pytest.approx(adjusted[group.key], rel=1e-6)
        summary = metric[group.key].summary(found.level)
        assert group.p_value == summary.p_value
        assert group.interval == pytest.approx(summary.difference.interval)
        assert (group.difference, group.samples) == (summary.difference.mean, 200)
        assert group.e_value is None
    ranked = [group.difference for group in found.differences]
    assert ranked == sorted(ranked, reverse=True)


def test_anytime_discoveries_have_e_values():
    a, b, by = pairs(0, samples=2000, shifted=SHIFTS)
    metric = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by)
    found = metric.discoveries(anytime=True, min_samples=0)
    assert [group.key for group in found] == [8, 3, 7]
    for group in found.differences:
        assert group.p_value == metric[group.key].summary(anytime=True).p_value
        assert (group.adjusted_p <= 0.05) == (group.better is not None)
    ordered = sorted((group.e_value for group in found.differences), reverse=True)
    assert ordered[2] >= 60 / (3 * 0.05) > 60 / (4 * 0.05) > ordered[3]  # e(k) >= m / (k fdr)
    smallest = min(group.e_value for group in found)
    assert [group.adjusted_p for group in found if group.e_value == smallest] == [pytest.approx(60 / (3 * smallest))]


def test_a_rate_for_one_look_is_that_of_one_group():
    a, b, by = pairs(2, groups=1, shifted={0: 0.09})
    metric = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by)
    summary = metric[0].summary()
    [group] = metric.discoveries(min_samples=0).differences
    assert (group.interval, group.adjusted_p, group.better) == (
        pytest.approx(summary.difference.interval), pytest.approx(summary.p_value), summary.better
    )  # fmt: skip


def test_small_groups_are_left_out():
    a, b, by = pairs(0, shifted=SHIFTS)
    metric = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by)
    small = np.arange(1000)
    metric.update(small / 1000, small / 1000 + 0.001 * (small % 7), by=1000 + small // 5)
    assert metric.discoveries(min_samples=0).tested == 260
    found = metric.discoveries(min_samples=100)
    assert (found.tested, len(found.differences)) == (60, 60)
    found = metric.discoveries(min_samples=100, anytime=True)
    assert (found.tested, len(found.differences)) == (260, 60)  # the others may still reach it


def test_groups_without_a_p_value_are_not_tested():
    metric = ce.Grouped(ce.Paired(ce.BinaryCrossEntropy(eps=0.0)))
    metric.update([0.9] * 9 + [0.0, 0.5], [0.5, 0.6, 0.7] * 3 + [0.5, 0.6], [1] * 11, by=["many"] * 9 + ["inf", "one"])
    found = metric.discoveries(min_samples=0)
    assert found.differences[0][:2] == ("inf", math.inf)
    without = {group.key for group in found.differences if math.isnan(group.p_value)}
    assert without == {"inf", "one"}
    assert found.tested == 1
    assert [group.key for group in found] == ["many"]


@pytest.mark.parametrize("window", ["sliding", "decayed"])
def test_discoveries_of_windows_are_those_of_their_samples_of_now(window):
    a, b, by = pairs(1, groups=10, samples=200, shifted={4: 0.6})
    wrap, times = WINDOWS[window]
    moments = np.tile(times(200)["by_time"], 10)
    metric = ce.Grouped(wrap(ce.Paired(ce.MeanLoss()))).update(a, b, by=by, by_time=moments)
    found = metric.discoveries(min_samples=0)
    assert [group.key for group in found] == [4]
    for group in found.differences:
        summary = of_now(metric[group.key]).summary()
        assert (group.p_value, group.samples) == (summary.p_value, summary.samples)
        assert summary.samples == (200 if window == "decayed" else 140)


def test_discoveries_are_robust_to_clusters():
    a, b, by = pairs(1, groups=10, samples=300, shifted={4: 0.6})
    metric = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by, cluster=np.arange(3000) // 3)
    for group in metric.discoveries(anytime=True, min_samples=0).differences:
        assert group.p_value == metric[group.key].summary(anytime=True).p_value


def test_discoveries_are_a_table_for_data_frames():
    a, b, by = pairs(0, shifted=SHIFTS)
    names = np.array([f"user {key}" for key in by])
    metric = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=(names, by))
    for anytime in (False, True):
        found = metric.discoveries(anytime=anytime, min_samples=0)
        table, whole = found.to_table(), found.to_table(all=True)
        columns = ["key_0", "key_1", "difference", "low", "high", "p_value", "adjusted_p", "better", "discovered"]
        columns[6:6] = ["e_value"] * anytime
        assert list(table) == list(whole) == [*columns, "samples"]
        for frame in (pd.DataFrame(whole), pl.DataFrame(whole).to_pandas(), pa.table(whole).to_pandas()):
            assert frame[frame.discovered].key_1.tolist() == [group.key[1] for group in found]
            assert frame.better.notna().tolist() == frame.discovered.tolist()
    assert len(table["key_1"]) == len(found)
    empty = ce.Grouped(ce.Paired(ce.MeanLoss())).discoveries(min_samples=0)
    assert not empty
    assert {name: len(column) for name, column in empty.to_table(all=True).items()} == dict.fromkeys(
        ["key", "difference", "low", "high", "p_value", "adjusted_p", "better", "discovered", "samples"], 0
    )


def test_discoveries_are_printed_as_a_table():
    a, b, by = pairs(0, shifted=SHIFTS)
    lines = str(ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by).discoveries(min_samples=0)).splitlines()
    assert lines[0] == (
        "A is worse in 2 and better in 1 of 60 tested groups, at a false discovery rate of 5 % at one look"
    )
    assert lines[1].split("   ")[0] == "group"
    assert "99.75 % interval" in lines[1]
    assert [line.split()[0] for line in lines[2:]] == ["8", "3", "7"]
    assert len({line.index(word) for line, word in zip(lines[2:], "BBA", strict=True)}) == 1
    shifted = dict.fromkeys(range(50), 1.0)
    a, b, by = pairs(0, shifted=shifted)
    lines = str(ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by).discoveries(min_samples=0)).splitlines()
    assert len(lines) == 2 + 40 + 1
    assert lines[22] == f"... {50 - 40} more in to_table()"
    hours = ce.Grouped(ce.Paired(ce.MeanLoss()), period="1h").update([1.0, 1.5], [3.0, 3.0], by_time=[0, 0])
    assert str(hours.discoveries(fdr=0.9, min_samples=0)).splitlines()[2].startswith("1970-01-01 00:00:00 UTC   -1.75")
    none = ce.Grouped(ce.Paired(ce.MeanLoss())).discoveries(fdr=0.1, anytime=True, min_samples=0)
    assert str(none) == (
        "A is worse in 0 and better in 0 of 0 groups, at a false discovery rate of 10 % at any number of looks"
    )


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (ce.BinaryCrossEntropy(), "BinaryCrossEntropy"),
        (ce.Sliding(ce.MeanLoss(), period="1h", step="1min"), "Sliding"),
        (ce.Collection({"loss": ce.MeanLoss()}), "Collection"),
    ],
)
def test_discoveries_need_pairs(metric, name):
    expected = rf"^metric is a {name}: expected Grouped\(Paired\(metric\)\), because a discovery is a difference"
    with pytest.raises(ce.InputError, match=expected):
        ce.Grouped(metric).discoveries(min_samples=0)


def test_discoveries_of_groups_from_which_more_was_subtracted_are_an_error():
    new = ce.Grouped(ce.Paired(ce.MeanLoss()))
    metric = new.copy() - new.copy().update([1.0], [2.0], by=["ann"])
    for least in (0, 5):
        with pytest.raises(ce.InputError, match="more was subtracted than had been added"):
            metric.discoveries(min_samples=least)


def test_a_rate_is_between_0_and_1_and_anytime_is_a_bool():
    metric = ce.Grouped(ce.Paired(ce.MeanLoss()))
    for fdr in (0, 1, -0.1, "x", None, math.nan):
        with pytest.raises(ce.InputError, match=r"^fdr is .*: expected a number between 0 and 1"):
            metric.discoveries(fdr)
    with pytest.raises(ce.InputError, match=r"^anytime is 'yes': expected True or False"):
        metric.discoveries(anytime="yes")


def test_a_thousand_groups_without_a_difference():
    """Every discovery is false. So a stream has one with a probability of at most 5 %."""
    found = 0
    for seed in range(20):
        a, b, by = pairs(seed, groups=1000, samples=30)
        found += bool(ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by).discoveries(min_samples=0))
    assert found <= 3  # more with a probability of 1.6 % at a rate of 5 %


def test_a_thousand_groups_of_which_fifty_differ():
    a, b, by = pairs(0, groups=1000, samples=200, shifted=dict.fromkeys(range(50), 0.14))
    metric = ce.Grouped(ce.Paired(ce.MeanLoss())).update(a, b, by=by)
    keys = [group.key for group in metric.discoveries(min_samples=0)]
    true = [key for key in keys if key < 50]
    assert len(true) >= 35
    assert len(keys) - len(true) <= 0.1 * len(keys)
    bonferroni = [key for key, each in metric.items() if each.summary().p_value <= 0.05 / 1000]
    assert len(set(bonferroni) & set(range(50))) < len(true)


def test_small_groups_are_no_discoveries_by_default():
    small = ce.Grouped(ce.Paired(ce.MeanLoss())).update([1.0, 1.0], [0.0, 0.0], by=["a", "a"])
    assert not small.discoveries()
    assert small.discoveries().differences == small.discoveries(anytime=True).differences == ()
