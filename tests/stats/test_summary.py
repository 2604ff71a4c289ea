"""Summaries: standard errors by the plain formula, coverage of intervals, counters, and no warnings."""

import dataclasses
import json
import math

import mpmath
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import make

import streamce as ce
from streamce.core.kernels import kernels
from streamce.stats.intervals import student

pytestmark = pytest.mark.core

# Squares of losses below 1e-162 are 0 in float64.
LOSS = st.one_of(st.just(0.0), st.floats(1e-100, 40))
LOSSES = st.lists(LOSS, min_size=2, max_size=40)
COUNTERS = ("count", "samples", "seen", "ignored", "floored", "infinite", "unnormalised", "skipped")


def close(found, n, d):
    """Return whether a standard error is right.

    Each square is rounded once, to 2^-53. So the error of a small spread is up to 2^-26 of the size of the losses.
    """
    truth = oracle.stderr(n, d)
    size = math.sqrt(sum(x * x for x in n)) / sum(d)
    return abs(found - truth) <= 1e-9 * truth or abs(found - truth) <= 2**-25 * size


def tight(found, truth):
    return abs(found - truth) <= 1e-13 * truth


# ---- standard errors ----


@given(LOSSES)
def test_stderr_is_the_plain_formula(losses):
    found = ce.MeanLoss().update(losses).summary().stderr
    assert close(found, losses, [1.0] * len(losses))


@given(st.lists(st.tuples(LOSS, st.floats(0.01, 100)), min_size=2, max_size=40))
def test_weighted_stderr_is_the_plain_formula(pairs):
    losses, d = zip(*pairs, strict=True)
    found = ce.MeanLoss().update(losses, weight=d).summary().stderr
    assert close(found, [loss * w for loss, w in pairs], d)


@pytest.mark.parametrize("n", [2, 3, 10, 3000])
def test_stderr_of_varied_losses_is_right_to_the_last_digits(n):
    rng = np.random.default_rng(n)
    losses, d = rng.exponential(1, n), rng.gamma(1, 1, n)
    assert tight(ce.MeanLoss().update(losses).summary().stderr, oracle.stderr(losses, np.ones(n)))
    assert tight(ce.MeanLoss().update(losses, weight=d).summary().stderr, oracle.stderr(losses * d, d))


def test_stderr_of_the_unweighted_mean_is_that_of_textbooks():
    losses = np.random.default_rng(0).exponential(1, 500)
    expected = losses.std(ddof=1) / math.sqrt(500)
    assert ce.MeanLoss().update(losses).summary().stderr == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_multilabel_stderr_counts_rows_by_the_labels_observed(weighted):
    stream = make("multilabel", 300, classes=6, weighted=weighted, ignore_index=-1, seed=1)
    weight = stream.weight if weighted else np.ones(300)
    single = ce.BinaryCrossEntropy()
    n, d = [], []
    for p, y, w in zip(stream.preds, stream.target, weight, strict=True):
        losses = [single.reset().update(a, int(b)).compute() for a, b in zip(p, y, strict=True) if b != -1]
        if losses:
            n.append(math.fsum(loss * w for loss in losses))
            d.append(len(losses) * w)
    summary = stream.fed().summary()
    assert tight(summary.stderr, oracle.stderr(n, d))
    assert summary.samples == len(n)
    assert summary.count == (stream.target != -1).sum()


def test_stderr_scales_with_the_losses_over_the_whole_range():
    losses = np.random.default_rng(2).exponential(1, 50)
    expected = ce.MeanLoss().update(losses).summary().stderr
    for power in (-500, -300, -100, 100, 300, 500):
        assert ce.MeanLoss().update(losses * 2.0**power).summary().stderr == expected * 2.0**power


def test_stderr_does_not_change_when_all_weights_do():
    losses, weight = np.random.default_rng(3).exponential(1, (2, 50))
    expected = ce.MeanLoss().update(losses, weight=weight).summary().stderr
    for power in (-200, -3, 5, 200):
        assert ce.MeanLoss().update(losses, weight=weight * 2.0**power).summary().stderr == expected


def test_equal_losses_have_no_stderr():
    for loss in (0.0, 0.5, 3.0, 1e100):
        assert ce.MeanLoss().update([loss] * 9).summary().stderr == 0


def test_a_variance_that_rounding_made_negative_is_zero():
    for loss in np.random.default_rng(4).random(200):
        stderr = ce.MeanLoss().update([loss] * 9).summary().stderr
        assert 0 <= stderr < 1e-8 * loss


def test_one_sample_has_no_stderr():
    summary = ce.MeanLoss().update([0.5]).summary()
    assert math.isnan(summary.stderr)
    assert all(map(math.isnan, summary.interval))


def test_rows_of_weight_zero_change_the_stderr_only_by_their_number():
    a = ce.MeanLoss().update([1.0, 2.0, 4.0], weight=[1.0, 1.0, 1.0]).summary()
    b = ce.MeanLoss().update([1.0, 2.0, 4.0, 9.0], weight=[1.0, 1.0, 1.0, 0.0]).summary()
    assert b.mean == a.mean
    assert b.stderr == pytest.approx(a.stderr * math.sqrt((4 / 3) / (3 / 2)))


# ---- intervals ----


def coverage(draw, truth, runs=4000):
    """Return the share of simulated streams whose interval contains the true mean."""
    hits = 0
    for _ in range(runs):
        low, high = draw().summary().interval
        hits += low <= truth <= high
    return hits / runs


def logits(rng, shape):
    """Draw the logits of calibrated predictions, and the targets."""
    x = rng.normal(0, 1.5, shape)
    return x, (rng.random(shape) < 1 / (1 + np.exp(-x))).astype(np.int64)


def test_intervals_cover_the_truth_in_94_to_96_percent_of_streams():
    rng = np.random.default_rng(11)
    truth = ce.BinaryCrossEntropy(kind="logits").update(*logits(rng, 4_000_000)).compute()
    metric = ce.BinaryCrossEntropy(kind="logits")
    assert 0.94 <= coverage(lambda: metric.reset().update(*logits(rng, 300)), truth) <= 0.96


def test_intervals_of_weighted_streams_cover_as_often():
    rng = np.random.default_rng(12)

    def drawn(metric, n):
        x, y = logits(rng, n)
        return metric.update(x, y, weight=(0.5 + abs(x)) * rng.gamma(4, 1, n))  # weight and loss are correlated

    truth = drawn(ce.BinaryCrossEntropy(kind="logits"), 4_000_000).compute()
    metric = ce.BinaryCrossEntropy(kind="logits")
    assert 0.94 <= coverage(lambda: drawn(metric.reset(), 1500), truth) <= 0.96


def test_intervals_of_multilabel_streams_cover_as_often():
    rng = np.random.default_rng(13)

    def drawn(metric, n):
        x, y = logits(rng, (n, 1))  # labels of a row are correlated, and hard rows have more labels
        x, y = x + rng.normal(0, 0.3, (n, 5)), np.repeat(y, 5, axis=1)
        missing = rng.random((n, 5)) < np.where(abs(x[:, :1]) > 1, 0.7, 0.2)
        return metric.update(x, np.where(missing, -1, y))

    def metric():
        return ce.MultilabelCrossEntropy(kind="logits", ignore_index=-1, per_label=False)

    truth = drawn(metric(), 1_000_000).compute()
    assert 0.94 <= coverage(lambda: drawn(metric(), 400), truth) <= 0.96


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_the_interval_is_students_at_its_level(level):
    summary = ce.MeanLoss().update([1.0, 2.0, 4.0]).summary(level)
    margin = student(level, df=2) * summary.stderr
    assert summary.interval == (summary.mean - margin, summary.mean + margin)
    assert summary.level == level


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, math.nan, "0.95", None])
def test_a_level_without_sense_is_an_error(level):
    with pytest.raises(ce.InputError, match=r"^level"):
        ce.MeanLoss().update([1.0, 2.0]).summary(level)


# ---- the fields ----


def test_value_total_and_weight():
    summary = ce.MeanLoss().update([1.0, 4.0], weight=[3.0, 1.0]).summary()
    assert (summary.value, summary.mean, summary.total, summary.weight) == (1.75, 1.75, 7.0, 4.0)
    assert summary.bits == 1.75 / math.log(2)
    assert summary.perplexity == pytest.approx(math.exp(1.75), rel=1e-15)


def test_every_loss_is_counted_once():
    metric = ce.BinaryCrossEntropy(ignore_index=-1, invalid="skip")
    metric.update([0.0, 0.5, math.nan, 0.5, 1.5, 0.5, 0.5], [1, -1, 0, 5, 1, 1, 0], weight=[1, 1, 1, 1, 1, -1, 1])
    summary = metric.summary()
    found = {name: getattr(summary, name) for name in COUNTERS}
    assert found == {
        "count": 2, "samples": 2, "seen": 7, "ignored": 1, "floored": 1, "infinite": 0, "unnormalised": 0, "skipped": 4,
    }  # fmt: skip
    causes = (summary.invalid_nan, summary.invalid_label, summary.invalid_range, summary.invalid_weight)
    assert causes == (1, 1, 1, 1)


@given(st.integers(0, 2**32 - 1))
def test_seen_is_counted_ignored_and_skipped(seed):
    stream = make("multilabel", 40, ignore_index=-1, odd=True, weighted=True, seed=seed)
    summary = stream.fed().summary()
    assert summary.seen == summary.count + summary.ignored + summary.skipped == stream.target.size
    assert summary.ignored == (stream.target == -1).sum()


def test_the_dict_is_flat_and_json_takes_it():
    summary = ce.MeanLoss().update([1.0, 2.0]).summary()
    found = summary.to_dict()
    assert list(found) == [field.name for field in dataclasses.fields(summary)]
    assert json.loads(json.dumps(found)) == found
    for name in ("interval", "bits_interval", "perplexity_interval"):
        assert found[name] == list(getattr(summary, name))


def test_a_summary_is_frozen_and_prints_as_a_table():
    summary = make("binary", 1000, ignore_index=-1, odd=True, weighted=True, seed=5).fed().summary()
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.value = 0.0
    text = str(summary)
    for shown in ("cross-entropy", "nats", "bits", "perplexity", "95 % interval", f"{summary.count:,}", "ignored"):
        assert shown in text


# ---- empty, negative, infinite ----

EMPTY = [
    ce.BinaryCrossEntropy(),
    ce.MulticlassCrossEntropy(),
    ce.MultilabelCrossEntropy(),
    ce.MeanLoss(),
    ce.BinaryCrossEntropy().update([], []),
    ce.BinaryCrossEntropy().update(np.empty((0, 3)), np.empty((0, 3), int)),
    ce.MulticlassCrossEntropy().update(np.empty((0, 3)), np.empty(0, int)),
    ce.MultilabelCrossEntropy().update(np.empty((0, 3)), np.empty((0, 3), int)),
    ce.MeanLoss().update([]),
    ce.MeanLoss().update([1.0]) - ce.MeanLoss().update([1.0]),
    ce.MeanLoss().update([1.0]).reset(),
]


@pytest.mark.parametrize("metric", EMPTY, ids=repr)
def test_an_empty_stream_is_nan_without_a_warning(metric):
    assert math.isnan(metric.compute())
    summary = metric.summary()
    assert (summary.count, summary.samples, summary.seen, summary.total, summary.weight) == (0, 0, 0, 0.0, 0.0)
    assert all(map(math.isnan, (summary.value, summary.stderr, *summary.interval, summary.bits, summary.perplexity)))
    assert "nan" in str(summary)
    assert metric == type(metric)()


def test_a_stream_of_ignored_losses_is_nan_and_counted():
    for metric in (ce.BinaryCrossEntropy(ignore_index=-1), ce.MultilabelCrossEntropy(ignore_index=-1)):
        metric.update([[0.5, 0.5]] * 3, [[-1, -1]] * 3)
        assert math.isnan(metric.compute())
        assert (metric.summary().ignored, metric.summary().count, metric.summary().samples) == (6, 0, 0)


def test_weights_that_are_all_zero_are_nan():
    assert math.isnan(ce.MeanLoss().update([1.0, 2.0], weight=[0.0, 0.0]).compute())


@pytest.mark.parametrize(
    "metric",
    [
        ce.MeanLoss() - ce.MeanLoss().update([1.0]),
        ce.MeanLoss().update([1.0]) - ce.MeanLoss().update([math.inf]),
        ce.BinaryCrossEntropy(ignore_index=-1) - ce.BinaryCrossEntropy(ignore_index=-1).update([0.5], [-1]),
        ce.MulticlassCrossEntropy(per_class=True) - ce.MulticlassCrossEntropy(per_class=True).update([[0.5, 0.5]], [0]),
    ],
    ids=repr,
)
def test_more_taken_away_than_was_added_is_an_error(metric):
    with pytest.raises(ce.InputError, match="more was subtracted"):
        metric.compute()
    with pytest.raises(ce.InputError, match="more was subtracted"):
        metric.summary()


def test_perplexity_is_infinite_where_exp_is_and_the_mean_stays():
    for mean in (709.0, 710.0, 1e5, 1e300, math.inf):
        summary = ce.MeanLoss().update([mean]).summary()
        assert summary.mean == mean
        assert (summary.perplexity == math.inf) == (mean > 709.78)
        assert summary.bits == mean / math.log(2)


def test_exp_is_right_to_an_ulp_and_never_raises():
    for x in [*np.linspace(-708, 709.7, 999), 0.0, -0.0, 1e-300, 709.782712893384]:
        assert oracle.ulps(kernels.exp(x), mpmath.exp(x), mpmath.mpf(0)) <= 1.1
    assert [kernels.exp(x) for x in (709.79, 1e300, math.inf, -746.0, -1e300, -math.inf)] == [math.inf] * 3 + [0.0] * 3
    assert math.isnan(kernels.exp(math.nan))


def test_an_infinite_loss_leaves_the_other_numbers_readable():
    summary = ce.BinaryCrossEntropy(eps=0.0).update([0.0, 0.5], [1, 1]).summary()
    assert (summary.value, summary.total, summary.perplexity, summary.infinite) == (math.inf, math.inf, math.inf, 1)
    assert (summary.count, summary.weight) == (2, 2.0)
    assert math.isnan(summary.stderr)


# ---- cells ----


def test_summaries_of_classes_are_those_of_metrics_of_their_own():
    stream = make("multiclass", 500, classes=4, weighted=True, seed=6)
    found = ce.MulticlassCrossEntropy(per_class=True).update(*stream.arrays[:2], weight=stream.weight).per_class()
    assert len(found) == 4
    for c, summary in enumerate(found):
        alone = stream[stream.target == c].fed().summary()
        assert (summary.mean, summary.stderr, summary.count) == (alone.mean, alone.stderr, alone.count)


def test_summaries_of_labels_are_those_of_metrics_of_their_own():
    stream = make("multilabel", 500, classes=4, weighted=True, ignore_index=-1, seed=7)
    found = stream.fed().per_label()
    for label, summary in enumerate(found):
        alone = ce.BinaryCrossEntropy(ignore_index=-1)
        alone.update(stream.preds[:, label], stream.target[:, label], weight=stream.weight)
        alone = alone.summary()
        assert (summary.mean, summary.stderr, summary.count) == (alone.mean, alone.stderr, alone.count)
