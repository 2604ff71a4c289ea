"""Normalized entropy of several classes: mean log loss over the entropy of their frequencies, with an interval."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import d2_log_loss_score

import streamce as ce

CLASSES = 4


def stream(seed, n, weighted=False):
    """Return predictions of an overconfident model, and targets of unequal frequencies."""
    rng = np.random.default_rng(seed)
    logits = rng.normal([0.0, -1.0, 0.5, -2.0], 1.2, (n, CLASSES))
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    target = (rng.random((n, 1)) > p.cumsum(1)).sum(1)
    sharp = p**1.3
    return sharp / sharp.sum(1, keepdims=True), target, rng.gamma(1.0, 1.0, n) if weighted else None


def truth(preds, target, weight):
    """Return value and standard error to 50 digits, the latter from the influence of each row on R / H(q)."""
    with mpmath.workdps(50):
        n = len(preds)
        weights = [mpmath.mpf(1 if weight is None else float(w)) for w in (range(n) if weight is None else weight)]
        losses = [-mpmath.log(mpmath.mpf(float(row[y]))) for row, y in zip(preds, target, strict=True)]
        total = mpmath.fsum(weights)
        loss = mpmath.fdot(weights, losses) / total
        seen = sorted(set(target.tolist()))
        q = {k: mpmath.fsum(w for w, y in zip(weights, target, strict=True) if y == k) / total for k in seen}
        entropy = -mpmath.fsum(share * mpmath.log(share) for share in q.values())
        moves = []
        for w, own, y in zip(weights, losses, target.tolist(), strict=True):
            of_loss = w * (own - loss) / total
            of_entropy = mpmath.fsum(-(mpmath.log(q[k]) + 1) * w * ((y == k) - q[k]) / total for k in seen)
            moves.append(of_loss / entropy - loss * of_entropy / entropy**2)
        error = mpmath.sqrt(mpmath.fsum(move**2 for move in moves) * n / (n - 1))
        return float(loss / entropy), float(error)


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_mean_loss_over_the_entropy_of_the_frequencies(weighted):
    preds, target, weight = stream(1, 400, weighted)
    metric = ce.MulticlassNormalizedEntropy().update(preds, target, weight=weight)
    value, _ = truth(preds, target, weight)
    assert metric.compute() == pytest.approx(value, rel=1e-13)
    plain = ce.MulticlassCrossEntropy().update(preds, target, weight=weight).summary()
    summary = metric.summary()
    assert (summary.mean, summary.stderr, summary.count) == (plain.mean, plain.stderr, plain.count)
    assert summary.value == metric.compute()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_interval_is_that_of_the_delta_method(weighted):
    preds, target, weight = stream(2, 300, weighted)
    metric = ce.MulticlassNormalizedEntropy().update(preds, target, weight=weight)
    value, error = truth(preds, target, weight)
    for more in ({}, {"level": 0.8}, {"anytime": True}):
        summary = metric.summary(**more)
        low, high = summary.interval
        multiple = (ce.MulticlassCrossEntropy().update(preds, target, weight=weight).summary(**more).interval[1]
                    - summary.mean) / summary.stderr  # fmt: skip
        assert high - value == pytest.approx(multiple * error, rel=1e-9)
        assert value - low == pytest.approx(multiple * error, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_skill_is_scikit_learns_d2(weighted):
    preds, target, weight = stream(3, 500, weighted)
    metric = ce.MulticlassNormalizedEntropy().update(preds, target, weight=weight)
    assert metric.skill() == pytest.approx(d2_log_loss_score(target, preds, sample_weight=weight), rel=1e-12)
    outcome, p = target % 2, 0.1 + 0.8 * preds[:, 1]
    binary = ce.NormalizedEntropy().update(p, outcome, weight=weight)
    assert binary.skill() == pytest.approx(d2_log_loss_score(outcome, p, sample_weight=weight), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_two_classes_are_the_binary_metric(weighted):
    preds, target, weight = stream(4, 500, weighted)
    p, outcome = 0.1 + 0.8 * preds[:, 0], (target == 0).astype(int)
    one = ce.NormalizedEntropy().update(p, outcome, weight=weight).summary()
    other = ce.MulticlassNormalizedEntropy().update(np.stack([1 - p, p], 1), outcome, weight=weight).summary()
    assert other.value == pytest.approx(one.value, rel=1e-12)
    assert other.interval == pytest.approx(one.interval, rel=1e-9)


def test_predicting_the_frequencies_is_1_and_certain():
    target = np.arange(1000) % 10 % CLASSES
    shares = np.bincount(target) / 1000
    summary = ce.MulticlassNormalizedEntropy().update(np.tile(shares, (1000, 1)), target).summary()
    assert summary.value == pytest.approx(1, rel=1e-14)
    assert summary.interval == pytest.approx((1, 1), abs=1e-9)


def test_losses_that_are_all_equal_leave_the_frequencies_uncertain():
    target = np.repeat([0, 1, 2], [50, 30, 20])
    preds = np.full((100, 3), 1 / 3)
    low, high = ce.MulticlassNormalizedEntropy().update(preds, target).summary().interval
    _, error = truth(preds, target, None)
    assert (high - low) / 2 == pytest.approx(1.9842 * error, rel=1e-4)  # Student's quantile of 99 degrees
    binary = ce.NormalizedEntropy().update(np.full(100, 0.5), target == 1).summary(0.9).interval
    halves = ce.MulticlassNormalizedEntropy().update(np.full((100, 2), 0.5), target == 1).summary(0.9).interval
    assert binary == pytest.approx(halves, rel=1e-9)
    assert binary[1] - binary[0] > 0.05


def test_a_class_that_is_nearly_all_keeps_its_digits():
    """With weights 1 and 1e-12, the entropy is 1e-12 (1 - log 1e-12)."""
    metric = ce.MulticlassNormalizedEntropy().update([[0.5, 0.5], [0.5, 0.5]], [0, 1], weight=[1.0, 1e-12])
    with mpmath.workdps(50):
        rare = mpmath.mpf(1e-12) / (1 + mpmath.mpf(1e-12))
        entropy = -rare * mpmath.log(rare) - (1 - rare) * mpmath.log(1 - rare)
        assert metric.compute() == pytest.approx(float(mpmath.log(2) / entropy), rel=1e-14)


@pytest.mark.parametrize("target", [[1, 1], [0], []])
def test_one_class_alone_is_nan(target):
    metric = ce.MulticlassNormalizedEntropy().update(np.full((len(target), 3), 1 / 3), np.array(target, int))
    assert math.isnan(metric.compute())
    assert math.isnan(metric.skill())
    assert math.isnan(metric.summary().interval[0])
    assert metric.summary().count == len(target)


@pytest.mark.parametrize("kind", ["probs", "log_probs", "logits"])
def test_every_kind(kind):
    preds, target, _ = stream(5, 300)
    given = {"probs": preds, "log_probs": np.log(preds), "logits": np.log(preds) + 3.0}[kind]
    metric = ce.MulticlassNormalizedEntropy(kind=kind).update(given, target)
    assert metric.compute() == pytest.approx(truth(preds, target, None)[0], rel=1e-12)


@given(st.integers(0, 60), st.booleans())
def test_any_chunking_is_the_same_bytes(at, weighted):
    preds, target, weight = stream(6, 60, weighted)

    def fed(rows):
        given = None if weight is None else weight[rows]
        return ce.MulticlassNormalizedEntropy().update(preds[rows], target[rows], weight=given)

    whole = fed(slice(None))
    assert (fed(slice(0, at)) + fed(slice(at, None))).to_bytes() == whole.to_bytes()
    assert (whole - fed(slice(0, at))).to_bytes() == fed(slice(at, None)).to_bytes()


@pytest.mark.parametrize("weighted", [False, True])
def test_intervals_cover_as_often_as_they_say(weighted):
    preds, target, weight = stream(7, 1_000_000, weighted)
    true = ce.MulticlassNormalizedEntropy().update(preds, target, weight=weight).compute()
    covered = {0.9: 0, 0.95: 0}
    for seed in range(2000):
        preds, target, weight = stream(10 + seed, 1500, weighted)
        metric = ce.MulticlassNormalizedEntropy().update(preds, target, weight=weight)
        for level in covered:
            low, high = metric.summary(level).interval
            covered[level] += low <= true <= high
    for level, times in covered.items():
        assert abs(100 * times / 2000 - 100 * level) <= 1.5


def test_invalid_and_ignored_rows_are_left_out_of_the_frequencies():
    metric = ce.MulticlassNormalizedEntropy(invalid="skip", ignore_index=-1)
    nan, rest = math.nan, [0.2, 0.2, 0.6]
    rows = [[0.5, 0.25, 0.25], [nan, 0.5, 0.5], rest, rest, rest, rest]
    metric.update(rows, [0, 1, 2, 7, 1, -1], weight=[1.0, 1.0, 1.0, 1.0, -1.0, 1.0])
    clean = ce.MulticlassNormalizedEntropy().update([rows[0], rest], [0, 2])
    assert metric.compute() == clean.compute()
    found = metric.summary()
    assert found.interval == clean.summary().interval
    assert (found.invalid_nan, found.invalid_label, found.invalid_weight, found.ignored) == (1, 1, 1, 1)


def test_an_infinite_loss_is_an_infinite_value():
    metric = ce.MulticlassNormalizedEntropy(eps=0).update([[1.0, 0.0], [0.5, 0.5]], [1, 0])
    assert metric.compute() == math.inf
    assert metric.skill() == -math.inf
    assert math.isnan(metric.summary().interval[0])


@pytest.mark.parametrize("size", [1e100, 1.3e154, 1e300])
def test_losses_of_any_size_have_a_value_and_no_error_that_is_too_small(size):
    rows = [[0.0, size], [size, 0.0], [0.0, size]]
    summary = ce.MulticlassNormalizedEntropy(kind="logits").update(rows, [0, 1, 1]).summary()
    assert summary.value == pytest.approx(2 * size / 3 / 0.6365141682948128, rel=1e-12)
    assert not summary.interval[1] < 2 * size  # inf or nan if squares exceed float64


def test_more_taken_away_than_added_is_an_error():
    rows = ce.MulticlassNormalizedEntropy().update([[0.5, 0.5]] * 2, [0, 1])
    more = rows.copy().update([[0.5, 0.5]], [1])
    with pytest.raises(ce.InputError, match="more was subtracted"):
        (rows - more).compute()


@pytest.mark.parametrize(
    ("preds", "target", "more", "message"),
    [
        ([[0.2, 1.5]], [1], {}, r"preds\[0, 1\] is 1.5"),
        ([[0.2, 0.8]], [2], {}, r"target\[0\] is 2"),
        ([[0.2, 0.8]], [1, 0], {}, "target has shape"),
        ([[0.2, 0.8]], [[0.5, 0.5]], {}, "target has the shape of preds: expected integer labels"),
        ([[[0.2, 0.8]]], [[1]], {}, r"preds has shape \(1, 1, 2\): expected \(N, C\)"),
        ([[0.2, 0.8]], [1], {"weight": [-1.0]}, r"weight\[0\] is -1.0"),
        ([[0.2, 0.8]], [1], {"cluster": ["a"]}, "cluster is given: expected None"),
        ([[0.2, 0.2, 0.6]], [1], {}, "expected 2 classes as in earlier updates"),
    ],
)
def test_bad_input_is_named_and_nothing_is_added(preds, target, more, message):
    metric = ce.MulticlassNormalizedEntropy().update([[0.2, 0.8], [0.3, 0.7]], [1, 0])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=message):
        metric.update(preds, target, **more)
    assert metric.to_bytes() == before
