"""Calibration: expected losses, observed frequencies, and sums of both that can be added."""

import math
import statistics
from dataclasses import astuple

import mpmath
import numpy as np
import pytest
import state_reader
from hypothesis import given
from hypothesis import strategies as st
from oracle import EPS, binary_costs, multiclass_costs, times, total
from streams import DTYPES, KINDS, cast, make
from utterances import from_logits

import streamce as ce
from streamce._support import state_format
from streamce.core.ledger.ledger import Ledger

METRICS = {"binary": ce.BinaryCrossEntropy, "multiclass": ce.MulticlassCrossEntropy}
TASKS = pytest.mark.parametrize("task", METRICS)
mpf = mpmath.mpf


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return from_logits("probs", x)


def outcomes(rng, p):
    """Draw classes with the predicted probabilities."""
    return (p.cumsum(axis=-1) > rng.random((*p.shape[:-1], 1))).argmax(axis=-1)


# ---- the expected loss ----


def moments(shares, costs, *, came):
    """Return the mean and variance of costs with these probabilities, and the excess of the cost that occurred."""
    whole = mpmath.fsum(shares)
    mean = mpmath.fsum(times(p, cost) for p, cost in zip(shares, costs, strict=True)) / whole
    # 0 times infinity is 0.
    squares = [p * (cost - mean) ** 2 for p, cost in zip(shares, costs, strict=True) if p]
    return mean, costs[came] - mean, mpmath.fsum(squares) / whole


def binary_moments(kind, x, y, eps=EPS):
    x = float(x)
    if kind == "logits":
        shares = [1 / (1 + mpmath.exp(-mpf(x))), 1 / (1 + mpmath.exp(mpf(x)))]
    else:
        p = mpf(x) if kind == "probs" else mpmath.exp(mpf(x))
        shares = [p, 1 - p]
    return moments(shares, binary_costs(kind, x, eps), came=1 - y)


def multiclass_moments(kind, row, y, eps=EPS):
    costs = multiclass_costs(kind, row, eps)
    if kind == "logits":
        return moments([mpmath.exp(-cost) if cost < math.inf else mpf(0) for cost in costs], costs, came=y)
    shares = [mpf(float(x)) if kind == "probs" else mpmath.exp(mpf(float(x))) for x in row]
    return moments(shares, costs, came=y)


def held(metric):
    """Return the sums of mean, excess and variance in a metric's state."""
    cells = state_reader.read(metric.to_bytes()).parts["calibration"].cells
    found = [cells.get(cell, {}) for cell in (30, 31, 32)]
    return [math.inf if "n+inf" in each else float(state_reader.exact(each.get("n", 0))) for each in found]


def is_close(found, truth, *, exactly=False, floats=False):
    """Return whether values agree within rounding of the costs or, with ``exactly``, of the results.

    With ``floats``, costs have the rounding of floats, as docs/CALIBRATION.md says.
    """
    mean, excess, variance = map(float, truth)
    if floats:
        assert found[0] == pytest.approx(mean, rel=4e-7, abs=4e-7)
        assert found[1] == pytest.approx(excess, rel=4e-7, abs=4e-7)
        assert math.sqrt(found[2]) == pytest.approx(math.sqrt(variance), rel=4e-7, abs=4e-7)
        return
    off = 0.0 if exactly else 1e-15 * max(mean, 1.0)
    assert found[0] == pytest.approx(mean, rel=1e-13, abs=1e-300)
    assert found[1] == pytest.approx(excess, rel=1e-13, abs=max(off, 1e-300))
    assert math.sqrt(found[2]) == pytest.approx(math.sqrt(variance), rel=1e-13, abs=max(off, 1e-150))


POINTS = {
    "probs": [0.0, 1.0, 0.5, 1e-300, 5e-324, 2.0**-53, 0.3, 0.999, 1 - 2.0**-53, 1e-10],
    "log_probs": [0.0, -math.inf, -math.log(2), -1e-20, -1e-3, -0.7, -30.0, -800.0],
    "logits": [0.0, 1e-20, 3.0, -3.0, 40.0, -40.0, 700.0, -700.0, 800.0, math.inf, -math.inf],
}


@pytest.mark.parametrize("eps", [EPS, 0.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_binary_prediction_expects_its_entropy(kind, eps):
    for x in POINTS[kind]:
        for y in (0, 1):
            metric = ce.BinaryCrossEntropy(kind=kind, eps=eps, calibration=True).update(x, y)
            is_close(held(metric), binary_moments(kind, x, y, eps), exactly=kind == "logits")


ROWS = {
    "probs": [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3], [1e-300, 1e-17, 1.0], [0.7, 0.2, 0.1]],
    "log_probs": [[0.0, -math.inf, -math.inf], [-1e-20, -46.0, -800.0], [-math.log(3)] * 3],
    "logits": [
        [0.0, -50.0, -90.0], [0.0, -800.0, -1.0], [1e300, -1e300, 0.0], [2.0, 2.0, -math.inf], [math.inf, 3.0, 0.0],
        [5.0, 5.0, 5.0], [-1e3, -1001.0, -1002.0],
    ],
}  # fmt: skip


@pytest.mark.parametrize("eps", [EPS, 0.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_expects_its_entropy(kind, eps):
    for row in ROWS[kind]:
        for y in range(3):
            metric = ce.MulticlassCrossEntropy(kind=kind, eps=eps, calibration=True).update([row], [y])
            is_close(held(metric), multiclass_moments(kind, row, y, eps), exactly=kind == "logits")


@TASKS
@given(
    seed=st.integers(0, 999), kind=st.sampled_from(KINDS), dtype=st.sampled_from(list(DTYPES)),
    classes=st.sampled_from([2, 3, 40, 130, 300]), scale=st.sampled_from([0.1, 3.0, 30.0]),
)  # fmt: skip
def test_predictions_of_any_kind_and_dtype_expect_their_entropy(task, seed, kind, dtype, classes, scale):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(3, classes)) * scale
    if task == "binary":
        x = {"logits": logits, "probs": sigmoid(logits), "log_probs": np.log(sigmoid(logits))}[kind][:, 0]
    else:
        x = from_logits(kind, logits)
    x = cast(x, DTYPES[dtype])
    metric = METRICS[task](kind=kind, calibration=True, invalid="skip").update(x, [0, 1, 1])
    if metric.summary().count < 3:  # probabilities in float16 that do not add up to 1
        return
    of_one = binary_moments if task == "binary" else multiclass_moments
    truth = [of_one(kind, row, y) for row, y in zip(x, [0, 1, 1], strict=True)]
    rounds = task == "multiclass" and dtype != "float64"  # rows of floats are computed as floats
    is_close(held(metric), [mpmath.fsum(each) for each in zip(*truth, strict=True)], floats=rounds)


def test_rows_that_add_up_only_roughly_are_scaled():
    row = [0.5, 0.3, 0.205]
    metric = ce.MulticlassCrossEntropy(calibration=True).update([row], [0])
    assert metric.summary().unnormalised == 1
    is_close(held(metric), multiclass_moments("probs", row, 0))


def test_weights_count_in_the_mean_and_squared_in_the_variance():
    p, weight = np.array([0.2, 0.6, 0.9]), np.array([2.0, 0.0, 0.5])
    found = ce.BinaryCrossEntropy(calibration=True).update(p, [1, 0, 1], weight=weight).calibration()
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    variance = p * (1 - p) * np.log(p / (1 - p)) ** 2
    assert found.expected == pytest.approx(np.average(entropy, weights=weight), rel=1e-14)
    off = weight @ (-np.log(np.where([1, 0, 1], p, 1 - p)) - entropy)
    assert found.z == pytest.approx(off / math.sqrt(weight**2 @ variance), rel=1e-14)
    assert found.p_value == pytest.approx(2 * statistics.NormalDist().cdf(-abs(found.z)), rel=1e-12)


# ---- the z-score ----


def scores(task, factor, *, runs=400, n=300, **more):
    """Return the z-scores of predictions whose logits are a multiple of the true ones."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(runs):
        logits = rng.normal(0, 1.5, (n, 4) if task == "multiclass" else n)
        y = outcomes(rng, softmax(logits)) if task == "multiclass" else (rng.random(n) < sigmoid(logits)).astype(int)
        weight = rng.gamma(2.0, 0.5, n) if more else None
        metric = METRICS[task](kind="logits", calibration=True).update(factor * logits, y, weight=weight)
        found.append(metric.calibration().z)
    return np.array(found)


@TASKS
@pytest.mark.parametrize("weighted", [False, True])
def test_z_of_calibrated_predictions_is_standard_normal(task, weighted):
    z = scores(task, 1.0, **({"weighted": True} if weighted else {}))
    assert abs(z.mean()) < 0.15  # 3 standard errors
    assert abs(z.std() - 1) < 0.11
    assert 0.025 < np.mean(np.abs(z) > 1.96) < 0.085


@TASKS
def test_z_of_others_is_far_off(task):
    assert scores(task, 2.0, runs=20).min() > 4  # overconfident
    assert scores(task, 0.4, runs=20).max() < -1.96  # underconfident


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_predictions_that_say_nothing_have_no_excess(dtype):
    """In a million equal rows, a difference in the last digit would give a z of a thousand."""
    x, y = np.zeros((1000, 3), dtype), np.arange(1000) % 3
    found = ce.MulticlassCrossEntropy(kind="logits", calibration=True).update(x, y).calibration()
    assert math.isnan(found.z)
    assert found.expected == pytest.approx(math.log(3), rel=1e-15)
    x[:, 0] = 1e-9  # even the smallest differences of logits give a z
    found = ce.MulticlassCrossEntropy(kind="logits", calibration=True).update(x, [0] * 1000).calibration()
    assert found.z == pytest.approx(-math.sqrt(2 * 1000), rel=1e-6)


def test_z_where_nothing_was_uncertain():
    metric = ce.BinaryCrossEntropy(calibration=True).update([1.0, 0.0], [1, 0])
    assert math.isnan(metric.calibration().z)
    found = metric.update(1.0, 0).calibration()
    assert (found.z, found.p_value, found.expected) == (math.inf, 0.0, 0.0)


# ---- bins ----


def reliability(confidence, frequency, weight):
    """Return the rows of a reliability diagram: low, high, weight, confidence, frequency, count."""
    bin_of = np.minimum(np.floor(15 * confidence), 14)
    found = []
    for i in range(15):
        each = bin_of == i
        if each.any():
            w = weight[each]
            means = np.average(confidence[each], weights=w), np.average(frequency[each], weights=w)
            found.append((i / 15, (i + 1) / 15, w.sum(), *means, each.sum()))
    return np.array(found)


def divergence(bins, shares, came, weight):
    """Return the weighted mean over bins of KL(observed frequencies || mean prediction)."""
    found = 0.0
    for each in np.unique(bins):
        w = np.where(bins == each, weight, 0.0)
        p, f = w @ shares / w.sum(), w @ came / w.sum()
        found += w.sum() * sum(y * math.log(y / q) for y, q in zip(f, p, strict=True) if y)
    return found / weight.sum()


def is_reliability(found, expected):
    np.testing.assert_allclose([astuple(each) for each in found.bins], expected, rtol=1e-12)
    weight, confidence, frequency = expected[:, 2:5].T
    assert found.ece == pytest.approx(np.average(np.abs(confidence - frequency), weights=weight), rel=1e-11)
    assert found.count == expected[:, 5].sum()


@given(
    seed=st.integers(0, 999), kind=st.sampled_from(KINDS), weighted=st.booleans(), soft=st.booleans(),
    n=st.integers(1, 300),
)  # fmt: skip
def test_binary_bins_are_those_of_numpy(seed, kind, weighted, soft, n):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, n)
    p = sigmoid(logits)
    y = rng.random(n) if soft else (rng.random(n) < sigmoid(0.7 * logits)).astype(int)
    weight = rng.gamma(1.0, 1.0, n) if weighted else np.ones(n)
    preds = {"logits": logits, "probs": p, "log_probs": np.log(p)}[kind]
    metric = ce.BinaryCrossEntropy(kind=kind, calibration=True).update(preds, y, weight=weight if weighted else None)
    found = metric.calibration()
    is_reliability(found, reliability(p, y, weight))
    split = divergence(np.minimum(np.floor(15 * p), 14), np.stack([1 - p, p], 1), np.stack([1 - y, y], 1), weight)
    assert found.calibration == pytest.approx(split, rel=1e-9, abs=1e-13)
    assert found.loss == metric.compute()
    assert found.calibration + found.refinement == pytest.approx(found.loss, rel=1e-14)


@given(
    seed=st.integers(0, 999), kind=st.sampled_from(KINDS), weighted=st.booleans(), n=st.integers(1, 200),
    classes=st.sampled_from([2, 3, 7, 40, 100, 101, 300]),
)  # fmt: skip
def test_bins_of_classes_are_those_of_numpy(seed, kind, weighted, n, classes):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, classes))
    p = softmax(logits)
    y = outcomes(rng, softmax(0.7 * logits))
    weight = rng.gamma(1.0, 1.0, n) if weighted else np.ones(n)
    metric = ce.MulticlassCrossEntropy(kind=kind, calibration=True)
    found = metric.update(from_logits(kind, logits), y, weight=weight if weighted else None).calibration()
    top, confidence = p.argmax(1), p.max(1)
    is_reliability(found, reliability(confidence, (y == top).astype(float), weight))
    if classes > 100:
        assert found.calibration is found.refinement is None
        return
    bins = 15 * top + np.minimum(np.floor(15 * confidence), 14)
    assert found.calibration == pytest.approx(divergence(bins, p, np.eye(classes)[y], weight), rel=1e-9, abs=1e-13)
    assert found.calibration + found.refinement == pytest.approx(found.loss, rel=1e-14)


@given(seed=st.integers(0, 999), classes=st.sampled_from([2, 5]))
def test_sums_of_bins_are_exact(seed, classes):
    """Each product is rounded once, and sums are exact, as docs/FORMAT.md says."""
    rng = np.random.default_rng(seed)
    p, y, weight = rng.random(60), rng.integers(0, 2, 60), rng.gamma(1.0, 1.0, 60)
    cells = state_reader.read(ce.BinaryCrossEntropy(calibration=True).update(p, y, weight=weight).to_bytes())
    rows = softmax(rng.normal(size=(60, classes)))
    rows /= rows.sum(1, keepdims=True)
    came, top = rng.integers(0, classes, 60), rows.argmax(1)
    of_rows = state_reader.read(
        ce.MulticlassCrossEntropy(calibration=True).update(rows, came, weight=weight).to_bytes()
    )
    for found, q, hit in ((cells, p, y), (of_rows, rows.max(1), came == top)):
        for b in range(15):
            each = np.floor(15 * q) == b
            cell = found.parts["calibration"].cells.get(b, {})
            assert cell.get("samples", 0) == each.sum()
            assert state_reader.exact(cell.get("n", 0)) == total(weight[each] * q[each])
            assert state_reader.exact(cell.get("d", 0)) == total(weight[each]) - int(each.sum())
            hits = found.parts["calibration"].cells.get(15 + b, {}).get("n", 0)
            assert state_reader.exact(hits) == total(weight[each] * hit[each])
    for b in range(15):
        rest = cells.parts["calibration"].cells.get(33 + b, {}).get("n", 0)
        each = np.floor(15 * p) == b
        assert state_reader.exact(rest) == total(weight[each] * (1 - p[each]))
        for first in range(classes):
            for k in range(classes):
                pair = first**2 + k if k <= first else k**2 + k + 1 + first
                cell = of_rows.parts["calibration"].cells.get(33 + 15 * pair + b, {})
                each = (np.floor(15 * rows.max(1)) == b) & (top == first)
                predicted = float(state_reader.exact(cell.get("n", 0)))
                assert predicted == pytest.approx(weight[each] @ rows[each, k], rel=1e-13)
                assert cell.get("samples", 0) == np.sum(came[each] == k)
                excess = total(weight[each & (came == k)]) - int(np.sum(came[each] == k))
                assert state_reader.exact(cell.get("d", 0)) == excess


def sums_by_class(metric, classes, top, b):
    """Return the sums of probabilities, and the counts, in the cells of a most likely class and a bin."""
    cells = state_reader.read(metric.to_bytes()).parts["calibration"].cells
    pairs = [top**2 + k if k <= top else k**2 + k + 1 + top for k in range(classes)]
    found = [cells.get(33 + 15 * pair + b, {}) for pair in pairs]
    return [state_reader.exact(each.get("n", 0)) for each in found], [each.get("samples", 0) for each in found]


@pytest.mark.parametrize("weight", [1.0, 0.25, 100.0, 1e-40, 1e300])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [4, 33, 100])
def test_every_probability_is_summed_with_its_digits(classes, dtype, weight):
    """Of any size: docs/CALIBRATION.md states the bound. Terms below 2^-71 or above 64 take another path."""
    x = np.linspace(-90.0, 0.0, classes)
    x[-2:] = 0.0, 5.0
    if dtype == "float64":
        x[0] = -690.0
    x[1] = -math.inf
    x = cast(x, DTYPES[dtype])
    metric = ce.MulticlassCrossEntropy(kind="logits", calibration=True).update([x] * 3, [2] * 3, weight=[weight] * 3)
    e = [mpmath.exp(mpf(float(each)) - 5) for each in x]
    sums, counts = sums_by_class(metric, classes, classes - 1, 14)
    bound = 2.0**-24 if dtype == "float64" else 1e-6
    for found, p in zip(sums, e, strict=True):
        assert float(found) == pytest.approx(float(3 * weight * p / mpmath.fsum(e)), rel=bound)
    assert counts == [0, 0, 3] + [0] * (classes - 3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_many_rows_of_one_group_are_summed(kind, dtype):
    x = from_logits(kind, np.array([0.0, 1.0, 2.0]) - math.log(1 + math.e + math.e**2)).astype(dtype)
    metric, n = ce.MulticlassCrossEntropy(kind=kind, calibration=True), 5000
    for _ in range(4):
        metric.update(np.tile(x, (n, 1)), np.arange(n) % 3)
    sums, counts = sums_by_class(metric, 3, 2, 9)
    assert counts == [6668, 6668, 6664]
    assert [float(each) for each in sums] == pytest.approx(4 * n * softmax(np.arange(3.0)), rel=1e-6)


def test_reading_between_updates_changes_nothing():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(3000, 20)) * 3, rng.integers(0, 20, 3000)
    whole = ce.MulticlassCrossEntropy(kind="logits", calibration=True).update(x, y)
    read, left = whole.copy().reset(), whole.copy().reset()
    for rows in np.array_split(np.arange(3000), 7):
        read.update(x[rows], y[rows]).calibration()
        left.update(x[rows], y[rows])
    half = whole.copy().reset().update(x[:1000], y[:1000])
    assert read.to_bytes() == left.to_bytes() == whole.to_bytes()
    assert (left - half + half).to_bytes() == whole.to_bytes()
    assert whole.calibration() == read.calibration()


def test_rows_of_other_numbers_of_classes_add_up():
    rng = np.random.default_rng(9)
    batches = [(rng.normal(size=(50, classes)), rng.integers(0, classes, 50)) for classes in (5, 40, 100, 150, 5)]
    metrics = [ce.MulticlassCrossEntropy(kind="logits", calibration=True).update(*each) for each in batches]
    one = metrics[0].copy().reset()
    for each in batches:
        one.update(*each)
    assert sum(metrics).to_bytes() == sum(metrics[::-1]).to_bytes() == one.to_bytes()
    assert one.calibration().calibration is None


def test_bins_of_floats_are_those_of_doubles():
    """Confidences on an edge of a bin, and next to it, as logits whose exponentials are rounded to floats."""
    edges = []
    for classes in (3, 5, 15, 30, 75):
        edges.append(np.zeros(classes, np.float32))
        for edge in range(1, 15):
            odds = edge / (15 - edge) * (classes - 1)
            if odds > 1:
                row = np.zeros((9, classes), np.float32)
                row[:, 0] = np.float32(math.log(odds)) * (1 + np.arange(-4, 5) * 2.0**-24)
                edges.extend(row)
    for row in edges:
        bins = [
            ce.MulticlassCrossEntropy(kind="logits", calibration=True).update([x], [0]).calibration().bins
            for x in (row, row.astype(np.float64))
        ]
        assert bins[0][0].low == bins[1][0].low


def test_a_probability_of_1_falls_in_the_last_bin():
    for preds, kind in ((1.0, "probs"), (0.0, "log_probs"), (math.inf, "logits"), (800.0, "logits")):
        (only,) = ce.BinaryCrossEntropy(kind=kind, calibration=True).update(preds, 1).calibration().bins
        assert astuple(only) == (14 / 15, 1.0, 1.0, 1.0, 1.0, 1)
    (only,) = ce.MulticlassCrossEntropy(calibration=True).update([[1.0, 0.0]], [1]).calibration().bins
    assert astuple(only) == (14 / 15, 1.0, 1.0, 1.0, 0.0, 1)


def test_a_probability_on_an_edge_falls_in_the_bin_above():
    edges = np.arange(15) / 15
    found = ce.BinaryCrossEntropy(calibration=True).update(edges, [0] * 15).calibration().bins
    assert [(each.low, each.confidence) for each in found] == [(edge, edge) for edge in edges]


def test_of_equally_likely_classes_the_first_is_predicted():
    rows = [[0.4, 0.4, 0.2]] * 2
    found = ce.MulticlassCrossEntropy(calibration=True).update(rows, [0, 1]).calibration()
    assert found.bins[0].frequency == 0.5


def test_sure_predictions_keep_their_digits():
    # The outcome has the predicted probability: one in e^40.
    metric = ce.BinaryCrossEntropy(kind="logits", calibration=True).update([40.0, 40.0], [0, 1])
    p = 1 / (1 + math.exp(40))
    assert metric.calibration().calibration == pytest.approx(0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5), rel=1e-12)


def test_what_was_impossible_and_came():
    for eps, worst in ((EPS, -math.log(EPS)), (0.0, math.inf)):
        metric = ce.BinaryCrossEntropy(calibration=True, eps=eps).update([0.0, 0.5], [1, 1])
        found = metric.calibration()
        assert found.z == (math.inf if eps == 0 else pytest.approx(found.z))
        assert found.calibration == pytest.approx((worst + math.log(2)) / 2)


def test_reweighting_bins_takes_the_calibration_from_the_loss():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (5000, 4))
    y = outcomes(rng, softmax(0.5 * logits))
    p = softmax(logits)
    found = ce.MulticlassCrossEntropy(calibration=True).update(p, y).calibration()
    bins = 15 * p.argmax(1) + np.minimum(np.floor(15 * p.max(1)), 14)
    mended = p.copy()
    for each in np.unique(bins):
        rows = bins == each
        mended[rows] *= np.bincount(y[rows], minlength=4) / p[rows].sum(0)
    loss = -np.log(mended[np.arange(5000), y] / mended.sum(1)).mean()
    assert found.calibration > 0.1
    assert loss <= found.refinement < found.loss


def test_calibrated_predictions_have_little_calibration_to_gain():
    rng = np.random.default_rng(5)
    p = softmax(rng.normal(0, 2, (100_000, 4)))
    found = ce.MulticlassCrossEntropy(calibration=True).update(p, outcomes(rng, p)).calibration()
    cells = sum(1 for each in found.bins if each.count) * 4
    assert found.calibration < 2 * cells * 3 / (2 * 100_000)


def test_axes_of_losses_and_of_classes():
    rng = np.random.default_rng(6)
    p, y = softmax(rng.normal(size=(20, 3, 5))), rng.integers(0, 5, (20, 3))
    inner = ce.MulticlassCrossEntropy(calibration=True, axis=1).update(np.moveaxis(p, 2, 1), y).calibration()
    flat = ce.MulticlassCrossEntropy(calibration=True).update(p.reshape(60, 5), y.ravel()).calibration()
    assert inner.bins == flat.bins
    assert (inner.expected, inner.calibration) == (flat.expected, flat.calibration)
    assert inner.z == pytest.approx(flat.z, rel=1e-12)
    assert ce.BinaryCrossEntropy(calibration=True).update(p[0], y[0][:, None] == np.arange(5)).calibration().count == 15


# ---- a state ----


def drawn(draw, n=80):
    """Draw a stream with some rows that are invalid, ignored or of weight 0."""
    task = draw(st.sampled_from(list(METRICS)))
    options = {
        "kind": draw(st.sampled_from(KINDS)), "dtype": draw(st.sampled_from(list(DTYPES))),
        "classes": draw(st.sampled_from([2, 5, 33, 101])), "odd": draw(st.booleans()),
        "infinite": draw(st.booleans()), "weighted": draw(st.booleans()), "inner": draw(st.sampled_from([(), (3,)])),
        "ignore_index": draw(st.sampled_from([None, 1])), "seed": draw(st.integers(0, 999)),
        "soft": draw(st.booleans()) and task == "binary",
    }  # fmt: skip
    return make(task, n, calibration=True, **options)


@given(data=st.data())
def test_the_state_does_not_depend_on_cuts_and_can_be_undone(data):
    stream = drawn(data.draw)
    a, b = sorted(data.draw(st.tuples(st.integers(0, 80), st.integers(0, 80))))
    whole = stream.fed()
    parts = [stream[rows].fed() for rows in (np.s_[:a], np.s_[a:b], np.s_[b:])]
    assert sum(parts).to_bytes() == whole.to_bytes()
    assert (parts[2] + parts[0]).to_bytes() == (whole - parts[1]).to_bytes()
    assert (whole + parts[1] - parts[1]).to_bytes() == whole.to_bytes()
    assert (whole - whole).to_bytes() == whole.copy().reset().to_bytes()
    assert ce.from_bytes(whole.to_bytes()) == whole
    order = np.random.default_rng(0).permutation(80)
    assert stream[order].bytes() == whole.to_bytes()


@given(data=st.data())
def test_the_rest_of_the_state_is_as_without(data):
    stream = drawn(data.draw)
    parts = state_reader.read(stream.bytes()).parts
    del stream.options["calibration"]
    calibrated = parts.pop("calibration", None)
    assert parts == state_reader.read(stream.bytes()).parts
    if calibrated:  # each loss is in one bin, except those of weight 0
        counted = sum(cell.get("samples", 0) for number, cell in calibrated.cells.items() if number < 15)
        assert counted <= stream.fed().summary().count


@TASKS
def test_clusters_tails_and_divergences_go_with_it(task):
    stream = make(task, 200, seed=3, calibration=True)
    plain = stream.fed().calibration()
    more = stream.metric(tail=True, divergence=True)
    more.update(stream.preds, stream.target, cluster=np.arange(200) % 7)
    assert more.calibration() == plain
    assert more.tail().count == plain.count


@TASKS
@pytest.mark.parametrize("threads", [2, 7])
def test_threads_leave_it_the_same(task, threads):
    n = 2_000_000 if task == "binary" else 250_000  # with 8 classes: enough predictions for seven threads
    stream = make(task, n, classes=8, weighted=True, odd=True, calibration=True)
    assert stream.bytes(threads=threads) == stream.bytes(threads=1)


def test_numbers_of_classes_add_up():
    rng = np.random.default_rng(7)
    few, many = softmax(rng.normal(size=(50, 3))), softmax(rng.normal(size=(50, 12)))
    y = rng.integers(0, 3, 50)
    metric = ce.MulticlassCrossEntropy(calibration=True).update(few, y).update(many, y)
    padded = np.r_[np.c_[few, np.zeros((50, 9))], many]
    together = ce.MulticlassCrossEntropy(calibration=True).update(padded, np.r_[y, y])
    assert metric.calibration().calibration == pytest.approx(together.calibration().calibration, rel=1e-12)
    assert metric.update(softmax(rng.normal(size=(1, 101))), [0]).calibration().calibration is None


# ---- reading ----


@given(
    sums=st.dictionaries(st.integers(0, 47), st.integers(-1, 3), min_size=1, max_size=8),
    counts=st.dictionaries(st.integers(0, 47), st.integers(0, 3), max_size=8),
    task=st.sampled_from(list(METRICS)), eps=st.sampled_from([EPS, 0.0]),
)  # fmt: skip
def test_whatever_a_state_holds_is_numbers_or_an_error(sums, counts, task, eps):
    ledger = Ledger(48, False, 1)
    for cell, value in sums.items():
        ledger.add_integer("n", cell, value << 1070 | 1)
    for cell, value in counts.items():
        ledger.add_integer("samples", cell, value)
    header, parts = state_format.decode(METRICS[task](calibration=True, eps=eps).to_bytes())
    metric = ce.from_bytes(state_format.encode(header, {**parts, "calibration": ledger.to_bytes()}))
    weights = {cell: counts.get(cell, 0) << 1074 for cell in range(48)}
    hits = {cell: sums[15 + cell] << 1070 | 1 if 15 + cell in sums else 0 for cell in range(15)}
    if any(value < 0 and cell != 31 for cell, value in sums.items()) or any(hits[b] > weights[b] for b in range(15)):
        with pytest.raises(ce.InputError, match="more was subtracted"):
            metric.calibration()
        return
    found = metric.calibration()
    assert found.count == sum(counts.get(cell, 0) for cell in range(15))
    assert "losses" in str(found)


@TASKS
def test_an_empty_stream_is_nan(task):
    for found in (METRICS[task](calibration=True).calibration(), METRICS[task](calibration=True)):
        if isinstance(found, METRICS[task]):
            found = (found.update(*((0.5, 1) if task == "binary" else ([[0.5, 0.5]], [1]))) - found).calibration()
        assert (found.bins, found.count) == ((), 0)
        numbers = (found.loss, found.expected, found.z, found.p_value, found.ece, found.calibration, found.refinement)
        assert all(math.isnan(each) for each in numbers)


def test_the_table_and_the_dict():
    metric = ce.BinaryCrossEntropy(calibration=True).update([0.9] * 4 + [0.3], [1, 1, 1, 0, 0])
    found = metric.calibration()
    assert str(found).splitlines()[-1].split() == ["0.8667", "to", "0.9333", "0.9", "0.75", "4"]
    assert f"z {found.z:.3g}" in str(found)
    plain = found.to_dict()
    assert plain["bin_frequency"] == [0.0, 0.75]
    assert plain["ece"] == found.ece
    assert all(isinstance(value, (float, int, list)) for value in plain.values())
    wide = ce.MulticlassCrossEntropy(calibration=True).update([[1 / 128] * 128], [0]).calibration()
    assert "refinement" not in str(wide)


@TASKS
def test_what_was_never_added_cannot_be_taken_away(task):
    given = ([0.5, 0.9], [1, 0]) if task == "binary" else ([[0.5, 0.5], [0.9, 0.1]], [1, 0])
    empty = METRICS[task](calibration=True)
    one = empty.copy().update(*given)
    other = empty.copy().update(given[0], [0, 1])
    with pytest.raises(ce.InputError, match="more was subtracted"):
        (empty - one).calibration()
    with pytest.raises(ce.InputError, match="more was subtracted"):
        (one + one - other - other).calibration()  # equal numbers of losses, but other outcomes


@TASKS
def test_options_that_do_not_go_together(task):
    for name, value in {"label_smoothing": 0.1, "class_weight": [1.0, 2.0], "pos_weight": 0.0}.items():
        if task == "binary" or name != "pos_weight":
            with pytest.raises(ce.InputError, match=rf"calibration is True, and {name} is .*: expected .*{name}="):
                METRICS[task](calibration=True, **{name: value})
    with pytest.raises(ce.InputError, match="calibration is 1: expected True or False"):
        METRICS[task](calibration=1)
    with pytest.raises(ce.InputError, match="calibration is False"):
        METRICS[task]().calibration()
    with pytest.raises(ce.InputError, match="calibration is True in one metric and False in the other"):
        METRICS[task](calibration=True) + METRICS[task]()


def test_soft_targets_of_classes_are_refused():
    metric = ce.MulticlassCrossEntropy(calibration=True).update([[0.5, 0.5]], [1])
    before = metric.to_bytes()
    for soft in ([[0.5, 0.5]], [[0, 1]]):
        with pytest.raises(ce.InputError, match="target has the shape of preds: expected integer labels"):
            metric.update([[0.5, 0.5]], soft)
    assert metric.to_bytes() == before


@TASKS
def test_bad_input_leaves_the_state_alone(task):
    stream = make(task, 30, seed=8, calibration=True)
    metric = stream.fed()
    before = metric.to_bytes()
    stream.preds.reshape(-1)[-1] = np.nan
    with pytest.raises(ce.InputError, match="preds"):
        stream.add_to(metric)
    assert metric.to_bytes() == before
