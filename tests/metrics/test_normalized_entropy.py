"""Normalized entropy: the mean log loss over the entropy of the base rate, with an interval that covers."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce


def stream(seed, n, weighted=False):
    rng = np.random.default_rng(seed)
    logits = rng.normal(-2, 1.5, n)
    target = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(int)
    return 1 / (1 + np.exp(-1.3 * logits)), target, rng.gamma(1.0, 1.0, n) if weighted else None


def truth(preds, target, weight):
    """Return value and standard error to 50 digits."""
    weight = np.ones(len(preds)) if weight is None else weight
    with mpmath.workdps(50):
        rows = [(mpmath.mpf(p), int(y), mpmath.mpf(w)) for p, y, w in zip(preds, target, weight, strict=True)]
        total = mpmath.fsum(w for _, _, w in rows)
        loss = mpmath.fsum(-w * mpmath.log(p if y else 1 - p) for p, y, w in rows) / total
        rate = mpmath.fsum(w * y for _, y, w in rows) / total
        return float(loss / -(rate * mpmath.log(rate) + (1 - rate) * mpmath.log(1 - rate)))


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_mean_loss_over_the_entropy_of_the_base_rate(weighted):
    preds, target, weight = stream(1, 700, weighted)
    metric = ce.NormalizedEntropy().update(preds, target, weight=weight)
    assert metric.compute() == pytest.approx(truth(preds, target, weight), rel=1e-13)
    plain = ce.BinaryCrossEntropy().update(preds, target, weight=weight).summary()
    summary = metric.summary()
    assert (summary.mean, summary.stderr, summary.count) == (plain.mean, plain.stderr, plain.count)
    assert summary.value == metric.compute()


def test_predicting_the_base_rate_is_1():
    target = np.arange(1000) % 10 == 0
    assert ce.NormalizedEntropy().update(np.full(1000, 0.1), target).compute() == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("target", [[1, 1], [0, 0], []])
def test_one_outcome_alone_is_nan(target):
    metric = ce.NormalizedEntropy().update([0.5] * len(target), target)
    assert math.isnan(metric.compute())
    assert math.isnan(metric.summary().interval[0])
    assert metric.summary().count == len(target)


@pytest.mark.parametrize("kind", ["probs", "log_probs", "logits"])
def test_every_kind(kind):
    preds, target, _ = stream(2, 300)
    given = {"probs": preds, "log_probs": np.log(preds), "logits": np.log(preds / (1 - preds))}[kind]
    metric = ce.NormalizedEntropy(kind=kind).update(given, target)
    assert metric.compute() == pytest.approx(truth(preds, target, None), rel=1e-12)


@given(st.integers(0, 60), st.booleans(), st.booleans())
def test_any_chunking_is_the_same_bytes(at, weighted, clustered):
    preds, target, weight = stream(3, 60, weighted)
    ids = np.arange(60) % 9 if clustered else None

    def fed(rows):
        more = {"weight": None if weight is None else weight[rows], "cluster": None if ids is None else ids[rows]}
        return ce.NormalizedEntropy().update(preds[rows], target[rows], **more)

    whole = fed(slice(None))
    assert (fed(slice(0, at)) + fed(slice(at, None))).to_bytes() == whole.to_bytes()
    assert (whole - fed(slice(0, at))).to_bytes() == fed(slice(at, None)).to_bytes()


@pytest.mark.parametrize("weighted", [False, True])
def test_intervals_cover_as_often_as_they_say(weighted):
    preds, target, weight = stream(4, 2_000_000, weighted)
    true = ce.NormalizedEntropy().update(preds, target, weight=weight).compute()
    covered = {0.9: 0, 0.95: 0}
    for seed in range(2000):
        preds, target, weight = stream(10 + seed, 1500, weighted)
        metric = ce.NormalizedEntropy().update(preds, target, weight=weight)
        for level in covered:
            low, high = metric.summary(level).interval
            covered[level] += low <= true <= high
    for level, times in covered.items():
        assert abs(100 * times / 2000 - 100 * level) <= 1.5


def test_clusters_widen_the_interval():
    preds, target, _ = stream(5, 400)
    alone = ce.NormalizedEntropy().update(np.repeat(preds, 9), np.repeat(target, 9))
    together = ce.NormalizedEntropy().update(
        np.repeat(preds, 9), np.repeat(target, 9), cluster=np.repeat(np.arange(400), 9)
    )
    assert together.compute() == alone.compute()
    widths = [high - low for low, high in (metric.summary().interval for metric in (alone, together))]
    assert 2.3 < widths[1] / widths[0] < 3.7


def test_invalid_samples_are_left_out_of_the_base_rate():
    metric = ce.NormalizedEntropy(invalid="skip")
    metric.update([0.2, math.nan, 0.3, 0.5, 0.5], [1, 1, 0, 7, 1], weight=[1.0, 1.0, 1.0, 1.0, -1.0])
    clean = ce.NormalizedEntropy().update([0.2, 0.3], [1, 0])
    assert metric.compute() == clean.compute()
    found = metric.summary()
    assert (found.invalid_nan, found.invalid_label, found.invalid_weight) == (1, 1, 1)


@pytest.mark.parametrize(
    ("preds", "target", "more", "message"),
    [
        ([0.2, 1.5], [1, 0], {}, r"preds\[1\] is 1.5"),
        ([0.2, 0.5], [1, 2], {}, r"target\[1\] is 2"),
        ([0.2, 0.5], [1], {}, "target has shape"),
        ([0.2, 0.5], [1, 0], {"weight": [1.0, -1.0]}, r"weight\[1\] is -1.0"),
        ([0.2, 0.5], [1, 0], {"cluster": ["a"]}, "cluster has length 1"),
        (["a", "b"], [1, 0], {}, "preds has strings"),
    ],
)
def test_bad_input_is_named_and_nothing_is_added(preds, target, more, message):
    metric = ce.NormalizedEntropy().update([0.2, 0.3], [1, 0])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=message):
        metric.update(preds, target, **more)
    assert metric.to_bytes() == before


def test_the_table_has_the_value_on_top():
    lines = str(ce.NormalizedEntropy().update([0.2, 0.3, 0.4], [1, 0, 0]).summary()).splitlines()
    assert lines[0].startswith("value ")
    assert "interval" in lines[0]
    assert lines[1].startswith("cross-entropy")
    assert "interval" not in lines[1]
