"""Each loss against its formula in mpmath at 50 digits: the promised accuracy, on every path and dtype.

float64: within 8 ulp. Narrower dtypes: within 5e-7, and 1e-8 on the mean of a million varied rows.
Bounds are relative down to losses of 1e-307 (float64) or 1e-37 (narrower), and absolute below.
"""

import functools
import math

import numpy as np
import oracle
import pytest
from oracle import EPS, INF
from paths import ROOT
from streams import DTYPES, KINDS, METRICS, cast, make

import streamce as ce

N = 100
# Accuracy is relative down to here.
LEAST = {"float64": 1e-307, "narrower": 1e-37}
SMOOTHINGS = (0.0, 0.1, 1e-10)


def loss(metric, preds, target):
    """Return the loss of one sample, from a metric with this sample only."""
    return metric.reset().update(preds[None], np.asarray(target)[None]).summary().total


def off(found, truth, dtype):
    """Return the error of a loss, in units of the promised bound."""
    least = LEAST["float64" if dtype == "float64" else "narrower"]
    if abs(truth) < least:
        return float(abs(found - truth) / least)
    return oracle.ulps(found, truth, least) / 8 if dtype == "float64" else oracle.relative(found, truth) / 5e-7


def within(pairs, dtype):
    """Check the promised bound for tuples of a loss, its true value and a description."""
    worst, what, found, truth = max(
        ((off(found, truth, dtype), what, found, truth) for found, truth, what in pairs), key=lambda x: x[0]
    )
    unit = "8 ulp" if dtype == "float64" else "5e-7"
    assert worst <= 1, f"{worst:.3g} times {unit}: {found!r} instead of {float(truth)!r} for {what}"


# ---- inputs ----


def numbers(kind, dtype, n=N):
    """Return predictions of single outcomes: ordinary, confident, extreme and subnormal."""
    rng = np.random.default_rng(5)
    if kind == "logits":
        drawn = [rng.normal(0, scale, n) for scale in (1e-3, 1, 8, 40)] + [rng.uniform(-1e3, 1e3, n)]
        special = [
            0, 1e-300, 1e-310, 5e-324, 1e-40, 36, 36.7, 37, 50, 80, 87, 88, 89, 103, 255.9, 256, 300, 700, 708, 709,
            744, 746, 1e3, 2047.9, 2048, 1e30, INF,
        ]  # fmt: skip
        x = np.concatenate([*drawn, special, np.negative(special)])
    elif kind == "probs":
        x = np.concatenate([rng.random(2 * n), 10.0 ** rng.uniform(-320, 0, n), 1 - 10.0 ** rng.uniform(-17, 0, n)])
        special = [0, 1, 0.5, 5e-324, 1e-310, 1e-45, EPS, EPS / 2, 1 - EPS, 1 - EPS / 2, 1 - 2.0**-24, 2.0**-24]
        x = np.concatenate([x, special])
    else:
        x = [rng.exponential(1, n), 10.0 ** rng.uniform(-320, 3, n), rng.uniform(0.6, 0.8, n)]
        special = [0, math.log(2), 5e-324, 1e-310, 36, 36.04, 36.05, 37, 700, 708, 745, 1e30, INF]
        x = -np.concatenate([*x, special])
    return cast(x, DTYPES[dtype])


def rows(kind, dtype, classes):
    """Return predictions of classes: ordinary, confident, extreme, masked and subnormal."""
    rng = np.random.default_rng(classes)
    few = 8 if classes <= 10 else 3 if classes <= 130 else 1

    def beside(one, others):
        return np.r_[one, np.full(classes - 1, float(others))]

    if kind == "logits":
        drawn = [rng.normal(0, scale, classes) for scale in (0.1, 1, 5, 30, 200) for _ in range(few)]
        drawn += [beside(0, -gap) for gap in (5, 50, 80, 88, 100, 120, 700, 1e3)]
        drawn += [rng.normal(center, 3, classes) for center in (255.9, -256, 2048, -2048, 1e5)]
        drawn += [beside(300, 250), beside(-300, -350), beside(2047, 2000), rng.uniform(-1e3, 1e3, classes)]
        drawn += [rng.uniform(-1e30, 1e30, classes), np.full(classes, 1e30), beside(0, -INF), beside(-INF, 1)]
        drawn += [rng.normal(0, 1, classes) * 1e-310, np.full(classes, 5e-324), np.zeros(classes)]
    else:
        drawn = [rng.dirichlet(np.full(classes, a)) for a in (0.01, 1, 30) for _ in range(few)]
        drawn += [beside(1 - gap, gap / (classes - 1)) for gap in (1e-3, 1e-8, 1e-16, 1e-30)]
        drawn += [beside(1, 0), beside(1, 1e-310), np.full(classes, 1 / classes)]
        with np.errstate(all="ignore"):
            drawn = drawn if kind == "probs" else [np.log(p) for p in drawn]
    x = cast(np.array([rng.permutation(row) for row in drawn]), DTYPES[dtype])
    wide = cast(x, np.float64)
    if kind == "logits":  # leave out rows that the dtype cannot represent
        return x[(wide < INF).all(1) & (wide > -INF).any(1)]
    with np.errstate(all="ignore"):
        total = (wide if kind == "probs" else np.exp(wide)).sum(1)
    return x[abs(total - 1) < 0.01]


# ---- single outcomes ----


@pytest.mark.parametrize("eps", [EPS, 0.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_binary_with_hard_targets(kind, dtype, eps):
    metric = ce.BinaryCrossEntropy(kind=kind, eps=eps)
    pairs = []
    for x in numbers(kind, dtype):
        for y, truth in zip((1, 0), oracle.binary_costs(kind, x, eps), strict=True):
            pairs.append((loss(metric, x, y), truth, (x, y)))
    within(pairs, dtype)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_binary_with_soft_and_smoothed_targets(kind, dtype, smoothing):
    metric = ce.BinaryCrossEntropy(kind=kind, label_smoothing=smoothing)
    rng = np.random.default_rng(6)
    pairs = []
    for x in numbers(kind, dtype, N // 2):
        for y in (0.0, 1.0, rng.random(), 1 - EPS / 2):
            pairs.append((loss(metric, x, y), oracle.binary(kind, x, y, smoothing), (x, y)))
    within(pairs, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_binary_with_weights_of_outcomes(kind, dtype):
    metric = ce.BinaryCrossEntropy(kind=kind, class_weight=(0.3, 1.7), pos_weight=2.9, label_smoothing=0.1)
    pairs = []
    for x in numbers(kind, dtype, N // 4):
        for y in (0, 1):
            truth = oracle.binary(kind, x, y, 0.1, class_weight=(0.3, 1.7), pos_weight=2.9)
            pairs.append((loss(metric, x, y), truth, (x, y)))
    within(pairs, dtype)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_multilabel_rows_are_sums_of_binary_losses(kind, dtype, smoothing):
    x = numbers(kind, dtype, 20)
    x = x[: len(x) // 7 * 7].reshape(-1, 7)
    weights = [0.3, 1.0, 2.0, 0.0, 1.1, 5.0, 1e-3]
    metric = ce.MultilabelCrossEntropy(kind=kind, label_smoothing=smoothing, class_weight=weights, pos_weight=1.7)
    pairs = []
    for i, row in enumerate(x):
        for target in (np.arange(7) % 2, np.linspace(0, 1, 7), np.full(7, i % 2)):
            truth = oracle.mpmath.fsum(
                oracle.times(oracle.mpf(w), oracle.binary(kind, p, y, smoothing, pos_weight=1.7))
                for p, y, w in zip(row, target, weights, strict=True)
            )
            pairs.append((loss(metric, row, target), truth, (row, target)))
    within(pairs, dtype)


# ---- classes ----


@functools.cache
def costs_of(kind, row, eps=EPS):
    return oracle.multiclass_costs(kind, row, eps)


def weighed(costs, target, smoothing=0.0, weights=None):
    """Return Σ w_c q_c cost_c, with q the smoothed target."""
    classes = len(costs)
    a = oracle.mpf(smoothing)
    y = [float(c == target) for c in range(classes)] if np.ndim(target) == 0 else target
    w = weights if weights is not None else [1.0] * classes
    return oracle.mpmath.fsum(
        oracle.times(oracle.mpf(float(w[c])) * (oracle.mpf(float(y[c])) * (1 - a) + a / classes), costs[c])
        for c in range(classes)
    )


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 16, 17, 33, 64, 65, 130, 513, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_multiclass_with_hard_targets(kind, dtype, classes):
    metric = ce.MulticlassCrossEntropy(kind=kind)
    rng = np.random.default_rng(7)
    pairs = []
    for row in rows(kind, dtype, classes):
        costs = costs_of(kind, tuple(map(float, row)))
        wide = row.astype(np.float64)
        for target in {int(wide.argmax()), int(wide.argmin()), *map(int, rng.integers(0, classes, 3))}:
            pairs.append((loss(metric, row, target), costs[target], (row, target)))
    within(pairs, dtype)


@pytest.mark.parametrize("classes", [2, 3, 10, 16, 17, 64, 65, 130])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass_with_soft_and_smoothed_targets(kind, dtype, classes, weighted):
    rng = np.random.default_rng(8)
    weights = rng.gamma(1, 1, classes) if weighted else None
    metrics = {a: ce.MulticlassCrossEntropy(kind=kind, label_smoothing=a, class_weight=weights) for a in SMOOTHINGS}
    pairs = []
    for row in rows(kind, dtype, classes)[:: 2 if classes < 20 else 5]:
        costs = costs_of(kind, tuple(map(float, row)))
        for a, metric in metrics.items():
            share = rng.dirichlet(np.full(classes, 0.3))
            for target in (int(rng.integers(classes)), share, np.eye(classes)[0]):
                pairs.append((loss(metric, row, target), weighed(costs, target, a, weights), (row, target, a)))
    within(pairs, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fifty_thousand_classes(dtype):
    rng = np.random.default_rng(9)
    pairs = []
    for row in (rng.normal(0, 2, 50000), rng.normal(0, 60, 50000), np.r_[0.0, np.full(49999, -50.0)]):
        row = cast(row, DTYPES[dtype])
        costs = oracle.multiclass_costs("logits", row)
        metric = ce.MulticlassCrossEntropy(kind="logits")
        for target in (int(row.astype(np.float64).argmax()), 17, 49999):
            pairs.append((loss(metric, row, target), costs[target], target))
    within(pairs, dtype)


# ---- confident predictions ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_confident_loss_is_tiny_and_not_zero(dtype):
    preds = np.array([0.0, -50.0], DTYPES[dtype])
    expected = pytest.approx(1.9287498479639178e-22, rel=1e-15 if dtype == "float64" else 5e-7)
    assert ce.MulticlassCrossEntropy(kind="logits").update(preds[None], [0]).compute() == expected
    assert ce.BinaryCrossEntropy(kind="logits").update(preds[1:], [0]).compute() == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_classes_that_are_all_negligible_still_add_up(dtype):
    for classes, gap in ((5000, 88), (50000, 88), (50000, 90)):
        row = np.r_[0.0, np.full(classes - 1, -float(gap))].astype(DTYPES[dtype])
        truth = oracle.multiclass_costs("logits", [0.0, -float(gap)])[0] * (classes - 1)
        assert off(loss(ce.MulticlassCrossEntropy(kind="logits"), row, 0), truth, dtype) <= 1


def test_a_gap_beyond_all_exponentials_is_the_loss():
    for gap in (1e3, 1e30, 1e300):
        assert ce.MulticlassCrossEntropy(kind="logits").update([[0.0, -gap]], [1]).compute() == gap
        assert ce.BinaryCrossEntropy(kind="logits").update([-gap], [1]).compute() == gap


def test_classes_that_are_all_equal_cost_log_of_their_number():
    for classes in (2, 10, 64, 65, 1000, 50000):
        for level in (0.0, -7.0, 255.0, 256.0, 2048.0, 1e30):
            found = ce.MulticlassCrossEntropy(kind="logits").update(np.full((1, classes), level), [classes // 2])
            assert oracle.ulps(found.compute(), oracle.mpmath.log(classes)) <= 8


# ---- infinite logits and zero probabilities ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 10, 64, 65, 200])
def test_one_infinite_logit_takes_all(dtype, classes):
    row = np.linspace(-3, 3, classes)
    row[1] = INF
    metric = ce.MulticlassCrossEntropy(kind="logits")
    assert loss(metric, row.astype(DTYPES[dtype]), 1) == 0
    assert loss(metric, row.astype(DTYPES[dtype]), 0) == INF


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [[INF, INF, 0.0], [-INF, -INF, -INF], [INF, math.nan, 0.0]])
def test_two_infinite_logits_or_all_of_them_masked_are_invalid(dtype, bad):
    metric = ce.MulticlassCrossEntropy(kind="logits")
    with pytest.raises(ce.InputError, match=r"preds\[1"):
        metric.update(np.array([[0.0, 1.0, 2.0], bad], DTYPES[dtype]), [0, 0])
    assert metric == ce.MulticlassCrossEntropy(kind="logits")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [3, 64, 65, 200])
def test_a_masked_class_has_no_part_in_the_others_losses(dtype, classes):
    row = np.linspace(-3, 3, classes)
    masked = np.insert(row, [0, 2, classes], -INF)
    metric = ce.MulticlassCrossEntropy(kind="logits")
    found, without = (loss(metric, r.astype(DTYPES[dtype]), t) for r, t in ((masked, 2), (row, 1)))
    assert found == pytest.approx(without, rel=1e-15 if dtype == "float64" else 2e-7)
    assert loss(metric, masked.astype(DTYPES[dtype]), 0) == INF


@pytest.mark.parametrize("classes", [2, 16, 17, 70])
def test_a_masked_class_without_a_share_costs_nothing(classes):
    row, share = np.zeros(classes), np.zeros(classes)
    row[0], share[1] = -INF, 1.0
    metric = ce.MulticlassCrossEntropy(kind="logits")
    assert loss(metric, row, share) == pytest.approx(math.log(classes - 1), abs=1e-15)
    share[:2] = 0.5
    assert loss(metric, row, share) == INF


def test_infinite_binary_logits():
    metric = ce.BinaryCrossEntropy(kind="logits")
    for dtype in DTYPES.values():
        x = np.array([INF, -INF], dtype)
        assert [loss(metric, v, y) for v in x for y in (0, 1)] == [INF, 0, 0, INF]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_floor_costs_exactly_its_logarithm(dtype):
    expected = 36.04365338911715  # -log 2^-52, rounded
    assert expected == float(-oracle.mpmath.log(oracle.mpf(EPS)))
    zero = np.array([0.0], DTYPES[dtype])
    one = np.array([1.0], DTYPES[dtype])
    row = np.array([[0.0, 1.0]], DTYPES[dtype])
    assert ce.BinaryCrossEntropy().update(zero, [1]).compute() == expected
    assert ce.BinaryCrossEntropy().update(one, [0]).compute() == expected
    assert ce.BinaryCrossEntropy(kind="log_probs").update(zero, [0]).compute() == expected
    assert ce.BinaryCrossEntropy(kind="log_probs").update(-one * INF, [1]).compute() == expected
    assert ce.MulticlassCrossEntropy().update(row, [0]).compute() == expected
    with np.errstate(divide="ignore"):
        assert ce.MulticlassCrossEntropy(kind="log_probs").update(np.log(row.astype(float)), [0]).compute() == expected


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("kind", ["probs", "log_probs"])
def test_without_a_floor_the_loss_is_infinite(task, kind):
    zero, one = (0.0, 1.0) if kind == "probs" else (-INF, 0.0)
    if task == "binary":
        metric = ce.BinaryCrossEntropy(kind=kind, eps=0.0).update([zero, one, one, zero], [1, 0, 1, 0])
    else:
        metric = ce.MulticlassCrossEntropy(kind=kind, eps=0.0)
        metric.update([[zero, one], [one, zero], [zero, one], [one, zero]], [0, 1, 1, 0])
    summary = metric.summary()
    assert (summary.value, summary.total, summary.infinite, summary.floored) == (INF, INF, 2, 0)


def test_certainty_that_is_right_costs_nothing_and_never_minus_zero():
    for metric in (ce.BinaryCrossEntropy(), ce.BinaryCrossEntropy(eps=0)):
        assert str(metric.update([1.0, 0.0], [1, 0]).compute()) == "0.0"
    assert str(ce.MulticlassCrossEntropy().update([[1.0, 0.0]], [0]).compute()) == "0.0"


# ---- the mean ----


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("task", "classes"), [("binary", 1), ("multiclass", 2), ("multiclass", 10), ("multiclass", 70)]
)
def test_the_mean_of_a_million_varied_rows(task, classes, dtype):
    # Compare with the same values in float64, whose losses are within 8 ulp by the tests above.
    narrow, wide = (METRICS[task](kind="logits") for _ in range(2))
    for seed in range(4):
        stream = make(task, 250_000, kind="logits", dtype=dtype, classes=classes, seed=seed)
        stream.add_to(narrow)
        stream.preds = stream.preds.astype(np.float64)
        stream.add_to(wide)
    found, truth = narrow.compute(), wide.compute()
    assert abs(found - truth) <= 1e-8 * truth


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("task", "classes"), [("binary", 1), ("multiclass", 2), ("multiclass", 10), ("multiclass", 70)]
)
def test_the_mean_of_rows_that_are_predicted_right(task, classes, dtype):
    # In equal, small losses, errors of the exponential would not cancel.
    rng = np.random.default_rng(10)
    logits = rng.normal(0, 2, (1_000_000 // classes, classes)).astype(DTYPES[dtype])
    preds = logits[:, 0] if task == "binary" else logits
    target = (preds > 0).astype(np.int64) if task == "binary" else logits.astype(np.float32).argmax(1)
    narrow, wide = (METRICS[task](kind="logits").update(x, target) for x in (preds, preds.astype(np.float64)))
    assert abs(narrow.compute() - wide.compute()) <= 1e-8 * wide.compute()


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_halves_and_other_shares_among_equal_ones(task):
    # Blocks in which all targets are 0 or 1 have a separate code path.
    function = ce.binary_cross_entropy if task == "binary" else ce.multilabel_cross_entropy
    shares = np.array([0.5, 0.25, 0.75, 0.625, 2.0**-511, 1.0, 0.0, 1.0 - 2.0**-53])
    preds = np.array([0.9, 0.2])
    for share in shares:
        target = np.full(2, share)
        expected = -share * np.log(preds) - (1 - share) * np.log(1 - preds)
        if task == "multilabel":
            found = function(preds[None], target[None], reduction="none")[0]
        else:
            found = function(preds, target, reduction="none")
        assert found == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("classes", [3, 33, 300])
def test_logits_as_far_apart_as_their_dtype_allows(dtype, classes):
    real = DTYPES[dtype]
    row = np.zeros((1, classes), real)
    row[0, 0], row[0, 1] = 3e38, -3e38
    gap = float(row[0, 0]) * (classes - 1) - float(row[0, 1])
    far = float(row[0, 0]) - float(row[0, 1])
    one_hot = np.eye(classes)[[1]].astype(real)
    for target in ([1], one_hot):
        plain = ce.cross_entropy(row, target, kind="logits", reduction="none")
        assert plain == pytest.approx([far], rel=5e-7)
        smooth = ce.cross_entropy(row, target, kind="logits", label_smoothing=0.25, reduction="none")
        assert smooth == pytest.approx([0.75 * far + 0.25 / classes * gap], rel=5e-7)


# ---- the smallest losses of the promise ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_losses_keep_their_digits_down_to_the_floor(dtype):
    """The logits have losses of e^-x, down to the smallest loss in the README."""
    least = LEAST["float64" if dtype == "float64" else "narrower"]
    last = -math.log(least)
    x = cast(np.linspace(last - 20, last, 400), DTYPES[dtype])
    x = x[x.astype(np.float64) <= last]
    truths = [oracle.mpmath.log1p(oracle.mpmath.exp(-oracle.mpf(float(each)))) for each in x]
    one, two = ce.BinaryCrossEntropy(kind="logits"), ce.MulticlassCrossEntropy(kind="logits")
    zero = np.zeros((), x.dtype)
    pairs = [(loss(one, each, 1), truth, each) for each, truth in zip(x, truths, strict=True)]
    pairs += [(loss(two, np.array([each, zero]), 0), truth, each) for each, truth in zip(x, truths, strict=True)]
    assert all(truth >= least * 0.99 for truth in truths)
    within(pairs, dtype)


def test_the_readme_states_the_floor():
    text = (ROOT / "README.md").read_text()
    assert "down to losses of about 1e-307 (float64 input) and 1e-37 (narrower input)" in text
