"""Gradients: the derivative of the reduced loss, to the last digits, for all options and layouts."""

import inspect
import math
import subprocess
import sys

import ml_dtypes
import mpmath
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import DTYPES, KINDS, make

import streamce as ce
from streamce.core.kernels import kernels

FUNCTIONS = {
    "binary": ce.binary_cross_entropy,
    "multiclass": ce.cross_entropy,
    "multilabel": ce.multilabel_cross_entropy,
}
REDUCTIONS = ("mean", "sum", "none")
# Largest error, relative to the terms whose difference an entry is.
WITHIN = {"float64": 16 * 2.0**-53, "float32": 5e-7, "float16": 2.0**-11 + 5e-7, "bfloat16": 2.0**-8 + 5e-7}
LEAST = {"float64": 1e-300, "float32": 1e-37, "float16": 2.0**-25, "bfloat16": 1e-37}
long = np.longdouble


# ---- the formulas, in numbers with 64 bits ----


def terms(task, kind, preds, target, weight, options):
    """Return (grows, falls, d) for every entry, where dn/dx = grows - falls."""
    a, eps = long(options.get("label_smoothing", 0.0)), long(options.get("eps", oracle.EPS))
    x = np.asarray(preds).astype(np.float64).astype(long)
    classes = x.shape[-1] if x.ndim else 1
    counted = np.ones(x.shape if task != "multiclass" else x.shape[:-1], bool)
    if options.get("ignore_index") is not None and np.shape(target) == counted.shape:
        counted = np.asarray(target) != options["ignore_index"]
    w = np.ones(counted.shape, long)
    if weight is not None:
        weight = np.asarray(weight).astype(long)
        w = weight.reshape(weight.shape + (1,) * (w.ndim - weight.ndim)) * w
    w = np.where(counted, w, 0)
    if task == "multiclass":
        soft = np.shape(target) == x.shape
        y = np.asarray(target).astype(long) if soft else np.eye(classes, dtype=long)[np.where(counted, target, 0)]
        factor = np.ones(classes, long) if options.get("class_weight") is None else long(options["class_weight"])
        share = w[..., None] * factor * (y * (1 - a) + a / classes)
        d = w * (factor * y).sum(-1)
        if kind == "logits":
            return share.sum(-1, keepdims=True) * softmax(x), share, d
        return np.zeros_like(x), falls(kind, x, share, eps), d
    y = np.where(counted, np.asarray(target).astype(long), 0)
    both = options.get("class_weight")
    if task == "binary":
        negative, positive = (long(1), long(1)) if both is None else (long(both[0]), long(both[1]))
    else:
        negative = positive = long(1) if both is None else long(both)
    d = w * (positive * y + negative * (1 - y))
    extra = options.get("pos_weight")
    one = w * positive * (1 if extra is None else long(extra)) * (y * (1 - a) + a / 2)
    zero = w * negative * ((1 - y) * (1 - a) + a / 2)
    if kind == "logits":
        return zero * logistic(x), one * logistic(-x), d
    p = x if kind == "probs" else np.exp(x)
    q = 1 - x if kind == "probs" else -np.expm1(x)
    with np.errstate(all="ignore"):
        grows = np.where((zero == 0) | (q < eps), 0, zero / q * (1 if kind == "probs" else p))
    return grows, falls(kind, x, one, eps), d


def falls(kind, x, share, eps):
    with np.errstate(all="ignore"):
        if kind == "probs":
            return np.where((share == 0) | (x < eps), 0, share / x)
        return np.where((share == 0) | (-x > (np.inf if eps == 0 else -np.log(eps))), 0, share)


def softmax(x):
    m = x.max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        e = np.where(x == m, 1, np.exp(x - m))
    return e / e.sum(-1, keepdims=True)


def logistic(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def truth(task, preds, target, weight, options, reduction="none"):
    grows, down, d = terms(task, options.get("kind", "probs"), preds, target, weight, options)
    total = d.sum() if reduction == "mean" else long(1)
    with np.errstate(all="ignore"):
        return (grows - down) / total, (grows + down) / total


def check(found, expected, sizes, dtype, least=1.0):
    most = float(ml_dtypes.finfo(DTYPES[dtype]).max)
    found = np.asarray(found).astype(np.float64).astype(long)
    finite = np.abs(expected) < most
    assert (np.isfinite(found) | ~finite).all()
    assert (np.abs(found[~finite]) >= 0.99 * most).all()
    found, expected, sizes = found[finite], expected[finite], sizes[finite]
    assert (np.abs(found - expected) <= WITHIN[dtype] * sizes + LEAST[dtype] * least).all()


def run(stream, **more):
    options = {name: value for name, value in stream.options.items() if name != "invalid"}
    known = inspect.signature(FUNCTIONS[stream.task]).parameters
    options = {name: value for name, value in {**options, **more}.items() if name in known}
    return FUNCTIONS[stream.task](stream.preds, stream.target, weight=stream.weight, **options)


OPTIONS = [
    {},
    {"soft": True},
    {"label_smoothing": 0.1},
    {"soft": True, "label_smoothing": 0.3},
    {"weighted": True},
    {"weighted": True, "weights_each": True, "inner": (3,)},
    {"ignore_index": 1},
    {"eps": 0.2},
    {"eps": 0.0},
    {"class_weight": True},
    {"class_weight": True, "soft": True},
    {"class_weight": True, "label_smoothing": 0.1, "weighted": True},
    {"class_weight": True, "pos_weight": True, "label_smoothing": 0.1, "weighted": True, "ignore_index": 0},
    {"class_weight": True, "pos_weight": True, "soft": True, "weighted": True, "inner": (2, 2)},
]


def stream_of(task, classes, n, settings, **more):
    """Return a stream with the named options, and a length that suits its number of classes."""
    settings = {**settings, **more}
    rng = np.random.default_rng(classes)
    if settings.get("class_weight"):
        settings["class_weight"] = tuple(rng.random(2 if task == "binary" else classes) + 0.1)
    pos_weight = settings.pop("pos_weight", False)
    if pos_weight and task != "multiclass":
        settings["pos_weight"] = 2.5 if task == "binary" else tuple(rng.random(classes) * 3)
    if settings.get("soft") and task == "multiclass":
        settings.pop("ignore_index", None)
    return make(task, n, classes=classes, **settings)


@pytest.mark.parametrize("settings", OPTIONS, ids=lambda s: " ".join(s) or "plain")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", FUNCTIONS)
def test_every_option_in_every_dtype(task, kind, settings):
    for dtype in DTYPES:
        for classes in (2, 5, 33, 300) if task == "multiclass" else (5,):
            stream = stream_of(task, classes, 60, settings, kind=kind, dtype=dtype, seed=classes)
            for reduction in REDUCTIONS:
                loss, grad = run(stream, reduction=reduction, grad=True)
                assert np.array_equal(loss, run(stream, reduction=reduction))
                assert grad.dtype == stream.preds.dtype
                assert grad.shape == stream.preds.shape
                expected, sizes = truth(task, stream.preds, stream.target, stream.weight, stream.options, reduction)
                check(grad, expected, sizes, dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", FUNCTIONS)
def test_finite_differences_of_the_loss_by_its_formula(task, kind):
    stream = make(task, 3, kind=kind, classes=3, soft=True, seed=11, label_smoothing=0.1)
    x = np.random.default_rng(11).normal(size=stream.preds.shape)
    p = (softmax(x) if task == "multiclass" else logistic(x)).astype(float)
    stream.preds = {"logits": x, "probs": p, "log_probs": np.log(p)}[kind]
    _, grad = run(stream, grad=True, reduction="none")
    step = mpmath.mpf(10) ** -20
    for index in np.ndindex(stream.preds.shape):
        row = index[:1] if task == "multiclass" else index
        where = index[1] if task == "multiclass" else None

        def loss(by, row=row, where=where):
            x, y = stream.preds[row], stream.target[row]
            if task == "multiclass":
                return by_rows(kind, [mpmath.mpf(v) + by * (c == where) for c, v in enumerate(x)], y, 0.1)
            return by_elements(kind, mpmath.mpf(x) + by, mpmath.mpf(y), 0.1)

        slope = (loss(step) - loss(-step)) / (2 * step)
        assert grad[index] == pytest.approx(float(slope), rel=1e-13)


def by_rows(kind, x, y, a):
    log = mpmath.log
    costs = {
        "logits": lambda v: log(mpmath.fsum(map(mpmath.exp, x))) - v,
        "probs": lambda v: -log(v),
        "log_probs": lambda v: -v,
    }[kind]
    shares = [mpmath.mpf(share) * (1 - mpmath.mpf(a)) + mpmath.mpf(a) / len(x) for share in y]
    return mpmath.fsum(share * costs(v) for share, v in zip(shares, x, strict=True))


def by_elements(kind, x, y, a):
    p = x if kind == "probs" else mpmath.exp(x) if kind == "log_probs" else 1 / (1 + mpmath.exp(-x))
    share = y * (1 - mpmath.mpf(a)) + mpmath.mpf(a) / 2
    return -share * mpmath.log(p) - (1 - share) * mpmath.log(1 - p)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("hard", [True, False])
def test_a_confident_prediction_keeps_the_digits_of_a_small_gradient(dtype, hard):
    logits = np.array([[40.0, 0.0, 3.0], [-3.0, 60.0, 1.0], [5.0, 5.0, 90.0]], dtype=dtype)
    target = np.arange(3) if hard else np.eye(3, dtype=dtype)
    _, grad = ce.cross_entropy(logits, target, kind="logits", reduction="sum", grad=True)
    exact = [[mpmath.exp(float(v)) for v in row] for row in logits]
    for i, row in enumerate(exact):
        for c in range(3):
            others = mpmath.fsum(e for j, e in enumerate(row) if j != c)
            expected = (-others if c == i else row[c]) / mpmath.fsum(row)
            assert oracle.relative(float(grad[i, c]), expected) < (1e-15 if dtype == "float64" else 4e-7)
    _, grad = ce.binary_cross_entropy(np.array([40.0, -40.0], dtype), [1, 0], kind="logits", reduction="sum", grad=True)
    assert oracle.relative(float(grad[0]), -1 / (1 + mpmath.exp(40))) < (1e-15 if dtype == "float64" else 4e-7)
    assert grad[1] == -grad[0]


def test_one_hot_targets_have_the_gradient_of_labels():
    stream = make("multiclass", 50, kind="logits", classes=7, seed=12)
    for options in ({}, {"class_weight": np.arange(7) + 0.5}, {"label_smoothing": 0.1}):
        labels = ce.cross_entropy(stream.preds, stream.target, kind="logits", grad=True, **options)[1]
        shares = ce.cross_entropy(stream.preds, np.eye(7)[stream.target], kind="logits", grad=True, **options)[1]
        np.testing.assert_allclose(shares, labels, rtol=1e-12, atol=1e-17)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 40, 200]), st.sampled_from(["float64", "float32"]))
def test_gradients_of_softmax_add_up_to_0(seed, classes, dtype):
    stream = make("multiclass", 9, kind="logits", classes=classes, dtype=dtype, label_smoothing=0.1, seed=seed)
    _, grad = run(stream, grad=True, reduction="sum")
    assert (abs(grad.astype(float).sum(-1)) <= classes * np.finfo(dtype).eps * 4).all()


# ---- the mean ----


@pytest.mark.parametrize("task", FUNCTIONS)
@pytest.mark.parametrize("settings", OPTIONS, ids=lambda s: " ".join(s) or "plain")
def test_the_mean_is_divided_by_the_weight_of_the_summary(task, settings):
    for dtype in ("float64", "float32"):
        stream = stream_of(task, 6, 5000, settings, dtype=dtype, kind="logits", seed=13)
        metric = stream.fed()
        divisor = metric.summary().weight
        _, mean = run(stream, grad=True)
        weight = np.ones(len(stream)) if stream.weight is None else stream.weight
        options = {**stream.options, "reduction": "sum", "weight": weight / divisor}
        _, divided = FUNCTIONS[task](stream.preds, stream.target, grad=True, **options)
        tolerance = 1e-15 if dtype == "float64" else 3e-7
        np.testing.assert_allclose(mean, divided, rtol=tolerance, atol=tolerance * np.abs(mean).max())


@pytest.mark.parametrize("task", FUNCTIONS)
def test_rows_without_weight_have_no_gradient_even_where_their_loss_is_infinite(task):
    preds = np.array([[0.0, 1.0], [0.5, 0.5]])
    target = np.array([0, 0]) if task == "multiclass" else np.array([[1, 0], [1, 1]])
    for reduction in REDUCTIONS:
        _, grad = FUNCTIONS[task](preds, target, eps=0, weight=[0.0, 1.0], reduction=reduction, grad=True)
        assert (grad[0] == 0).all()
        assert (grad[1] != 0).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("task", FUNCTIONS)
def test_of_nothing_that_counts_the_gradient_is_0_and_the_mean_nan(task, dtype):
    stream = make(task, 4, kind="logits", dtype=dtype, seed=14)
    for more in ({"weight": np.zeros(4)}, {"ignore_index": 1, "target": np.ones_like(stream.target)}):
        stream.weight = more.pop("weight", None)
        stream.target = more.pop("target", stream.target)
        mean, grad = run(stream, grad=True, **more)
        assert math.isnan(mean)
        assert (grad == 0).all()


def test_a_mean_that_is_divided_by_0_has_no_gradient():
    options = {"kind": "logits", "class_weight": [0.0, 1.0], "label_smoothing": 0.5}
    for dtype in DTYPES.values():
        mean, grad = ce.cross_entropy(np.array([[0.5, 2.0]], dtype), [0], grad=True, **options)
        assert mean == math.inf
        assert np.isnan(grad.astype(float)).all()


@pytest.mark.parametrize("task", FUNCTIONS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_an_empty_batch(task, reduction):
    stream = make(task, 4, seed=15)[:0]
    _, grad = run(stream, grad=True, reduction=reduction)
    assert grad.shape == stream.preds.shape


def test_one_number():
    loss, grad = ce.binary_cross_entropy(0.25, 1, grad=True)
    assert (loss, grad) == (-math.log(0.25), -4.0)
    assert grad.shape == ()


# ---- anomalies ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_ignored_entries_have_no_gradient_whatever_is_predicted(dtype):
    bad = np.array([math.nan, math.inf, -math.inf], DTYPES[dtype])
    logits = np.concatenate([np.repeat(bad[:, None], 4, 1), np.zeros((1, 4), DTYPES[dtype])])
    for smoothing in (0.0, 0.1):
        _, grad = ce.cross_entropy(
            logits, [-1, -1, -1, 2], kind="logits", ignore_index=-1, label_smoothing=smoothing, grad=True
        )
        assert (grad[:3] == 0).all()
        assert (grad[3] != 0).all()
        for kind in KINDS:
            _, grad = ce.binary_cross_entropy(
                np.append(bad, -0.0 if kind != "probs" else 0.5).astype(bad.dtype), [7, 7, 7, 1],
                kind=kind, ignore_index=7, label_smoothing=smoothing, eps=1e-3, grad=True, reduction="sum",
            )  # fmt: skip
            assert (grad[:3] == 0).all()
            assert grad[3] != 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_masked_class_has_no_gradient(dtype):
    logits = np.array([[0.0, -math.inf, 1.0]], DTYPES[dtype])
    _, grad = ce.cross_entropy(logits, [0], kind="logits", grad=True)
    assert grad[0, 1] == 0
    assert grad[0, 0] == -grad[0, 2] != 0
    loss, grad = ce.cross_entropy(logits, [1], kind="logits", grad=True)
    assert loss == math.inf
    assert grad[0, 1] == -1  # the difference of the probability and the target


@pytest.mark.parametrize("dtype", DTYPES)
def test_plus_infinity_holds_all_the_mass(dtype):
    logits = np.array([[0.0, math.inf, 1.0]], DTYPES[dtype])
    for target, expected in ((1, [0, 0, 0]), (0, [-1, 1, 0])):
        _, grad = ce.cross_entropy(logits, [target], kind="logits", grad=True)
        assert (grad == [expected]).all()
        _, soft = ce.cross_entropy(logits, np.eye(3)[[target]], kind="logits", grad=True)
        assert (soft == [expected]).all()
    x = np.array([math.inf, -math.inf, math.inf, -math.inf], DTYPES[dtype])
    _, grad = ce.binary_cross_entropy(x, [1, 0, 0, 1], kind="logits", reduction="sum", grad=True)
    assert (grad == [0, 0, 1, -1]).all()


def test_a_floored_probability_has_no_gradient_and_one_at_the_floor_has():
    p = np.array([0.2, 0.25, 0.75, 0.8])
    for target, expected in ((1, [0, -4, -4 / 3, -1.25]), (0, [1.25, 4 / 3, 4, 0])):
        _, grad = ce.binary_cross_entropy(p, [target] * 4, eps=0.25, reduction="sum", grad=True)
        np.testing.assert_allclose(grad, expected, rtol=1e-15)
    for target, expected in ((1, [0, -1]), (0, [0.25, 0])):
        x = np.log([0.2, 0.8])
        _, grad = ce.binary_cross_entropy(x, [target] * 2, kind="log_probs", eps=0.25, reduction="sum", grad=True)
        np.testing.assert_allclose(grad, expected, rtol=1e-14)
    rows = np.array([[0.2, 0.8], [0.25, 0.75], [0.5, 0.5]])
    for smoothing, expected in ((0, [[0, 0], [-4, 0], [-2, 0]]), (1, [[0, -0.625], [-2, -2 / 3], [-1, -1]])):
        options = {"eps": 0.25, "label_smoothing": smoothing, "reduction": "sum", "grad": True}
        _, grad = ce.cross_entropy(rows, [0, 0, 0], **options)
        np.testing.assert_allclose(grad, expected, rtol=1e-15)
        _, grad = ce.cross_entropy(np.log(rows[[0, 2]]), [0, 0], kind="log_probs", **options)
        np.testing.assert_allclose(grad, (expected * rows)[[0, 2]], rtol=1e-15)


def test_zero_probability_without_a_floor():
    loss, grad = ce.binary_cross_entropy([0.0, 1.0, 0.0], [1, 0, 0], eps=0, reduction="none", grad=True)
    assert loss.tolist() == [math.inf, math.inf, 0]
    assert grad.tolist() == [-math.inf, math.inf, 1]
    _, grad = ce.cross_entropy([[0.0, 1.0]], [0], eps=0, grad=True)
    assert grad.tolist() == [[-math.inf, 0]]


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_weights_beyond_floats(dtype, scale):
    stream = make("multiclass", 20, kind="logits", dtype=dtype, classes=5, weighted=True, seed=16)
    _, expected = run(stream, grad=True)
    stream.weight *= scale
    _, grad = run(stream, grad=True)
    np.testing.assert_allclose(grad, expected, rtol=1e-6 if dtype == "float32" else 1e-13)
    _, grad = run(stream, grad=True, reduction="sum")
    expected, sizes = truth("multiclass", stream.preds, stream.target, stream.weight, stream.options)
    check(grad, expected, sizes, dtype, max(1.0, scale * 10))


@pytest.mark.parametrize("scale", [1e-3, 100.0, 1e4, 1e30])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_small_and_large_logits(dtype, scale):
    rng = np.random.default_rng(17)
    for classes in (2, 7, 300):
        logits = (rng.uniform(-1, 1, (40, classes)) * scale).astype(dtype)
        target = rng.integers(0, classes, 40)
        _, grad = ce.cross_entropy(logits, target, kind="logits", grad=True)
        check(grad, *truth("multiclass", logits, target, None, {"kind": "logits"}, "mean"), dtype)


# ---- the same bits ----


def bits(stream, **more):
    loss, grad = run(stream, grad=True, **more)
    return np.asarray(loss).tobytes(), np.asarray(grad).tobytes()


@pytest.fixture
def each_simd():
    before = kernels.current()

    def at_each(function):
        found = []
        for name in kernels.supported():
            kernels.use(name)
            found.append(function())
        kernels.use(before)
        return found

    yield at_each
    kernels.use(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_at_every_instruction_set(kind, dtype, each_simd):
    for task in FUNCTIONS:
        for settings in OPTIONS:
            for classes in (2, 3, 10, 33, 64, 130, 257, 300) if task == "multiclass" else (5,):
                stream = stream_of(task, classes, 41, settings, kind=kind, dtype=dtype, seed=18)
                found = each_simd(lambda s=stream: bits(s))
                assert all(one == found[0] for one in found), (task, settings, classes)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 10, 129, 300])
@pytest.mark.parametrize("settings", [{}, {"soft": True, "label_smoothing": 0.1}], ids=["labels", "soft"])
def test_a_gradient_is_a_function_of_its_own_row(classes, dtype, settings):
    stream = stream_of("multiclass", classes, 70, settings, kind="logits", dtype=dtype, seed=19)
    _, whole = run(stream, grad=True, reduction="sum")
    for rows in (slice(0, 1), slice(1, 34), slice(5, 70)):
        assert np.array_equal(run(stream[rows], grad=True, reduction="sum")[1], whole[rows])


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("task", FUNCTIONS)
def test_for_any_number_of_threads(task, threads):
    for settings in ({}, {"weighted": True, "ignore_index": 1}, {"soft": True, "weighted": True}):
        stream = stream_of(task, 10, 60_000 if task == "multiclass" else 140_000, settings, kind="logits", seed=20)
        if task == "binary":
            stream = stream_of(task, 1, 700_000, settings, kind="logits", seed=20)
        assert bits(stream, threads=1) == bits(stream, threads=threads)


# ---- out ----


LAYOUTS = {
    "in order": lambda a: np.empty(a.shape, a.dtype),
    "turned": lambda a: np.empty(a.shape[::-1], a.dtype).T,
    "every other": lambda a: np.empty((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)[..., ::2],
    "backwards": lambda a: np.empty(a.shape, a.dtype)[::-1],
    "columns": lambda a: np.empty((*a.shape[:-1], a.shape[-1] + 3), a.dtype)[..., 1:-2],
    "not aligned": lambda a: np.frombuffer(bytearray(a.nbytes + 1), np.uint8)[1:].view(a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("task", FUNCTIONS)
def test_out_in_any_layout_and_dtype(task, dtype, layout):
    for axis in (-1, 0, 1):
        stream = make(task, 6, kind="logits", dtype=dtype, inner=(4,), classes=6, seed=21)
        if task == "multiclass":
            stream.target = stream.target[:, :4]
            stream.preds = np.ascontiguousarray(np.moveaxis(stream.preds, -1, axis))
        loss, expected = run(stream, grad=True, axis=axis)
        for other in DTYPES.values():
            out = LAYOUTS[layout](expected.astype(other))
            found, same = run(stream, grad=True, axis=axis, out=out)
            assert same is out
            assert found == loss
            if other == expected.dtype:
                assert np.array_equal(out, expected)
            else:
                np.testing.assert_allclose(
                    out.astype(float), expected.astype(float),
                    rtol=max(ml_dtypes.finfo(other).eps, ml_dtypes.finfo(expected.dtype).eps), atol=1e-7,
                )  # fmt: skip


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">f2"])
def test_the_other_byte_order(dtype):
    stream = make("multiclass", 30, kind="logits", seed=22)
    expected = ce.cross_entropy(stream.preds.astype(dtype[1:]), stream.target, kind="logits", grad=True)[1]
    grad = ce.cross_entropy(stream.preds.astype(dtype), stream.target, kind="logits", grad=True)[1]
    assert grad.dtype == dtype
    assert np.array_equal(grad, expected)


def test_the_gradient_has_the_layout_of_preds():
    stream = make("multiclass", 30, kind="logits", inner=(3,), classes=5, seed=23)
    preds = np.asfortranarray(stream.preds)
    _, grad = ce.cross_entropy(preds, stream.target, kind="logits", grad=True)
    assert grad.strides == preds.strides
    _, grad = ce.cross_entropy(np.broadcast_to(preds[:1], preds.shape), stream.target, kind="logits", grad=True)
    assert grad.flags.writeable


def test_lists_have_gradients_of_float64():
    _, grad = ce.cross_entropy([[0.5, 0.5], [0.25, 0.75]], [0, 1], grad=True)
    np.testing.assert_allclose(grad, [[-1, 0], [0, -2 / 3]], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_rounded_to_nearest_even(dtype):
    x = np.random.default_rng(24).integers(0, 0x7F800000, 200_000, dtype=np.uint32).view(np.float32)
    ties = 2.0 ** np.arange(-30, 20)
    weight = np.concatenate([x.astype(float), ties, 1.5 * ties, 1.25 * ties, [65519.9, 65520.0]])
    weight = weight.astype(np.float32).astype(float)
    preds, out = np.ones(len(weight)), np.empty(len(weight), DTYPES[dtype])
    ce.binary_cross_entropy(preds, np.ones(len(weight), int), weight=weight, reduction="sum", grad=True, out=out)
    with np.errstate(all="ignore"):
        assert np.array_equal(out, (-weight).astype(DTYPES[dtype]))


def test_out_may_be_preds_itself_or_overlap_it():
    stream = make("multiclass", 5000, kind="logits", classes=7, soft=True, seed=25)
    loss, expected = run(stream, grad=True)
    memory = np.empty((5001, 7))
    memory[1:] = stream.preds
    found = ce.cross_entropy(memory[1:], stream.target, kind="logits", grad=True, out=memory[:-1])
    assert found[0] == loss
    assert np.array_equal(memory[:-1], expected)
    ce.cross_entropy(stream.preds, stream.target, kind="logits", grad=True, out=stream.target)
    assert np.array_equal(stream.target, expected)


MEASURE = """
import resource, sys
import numpy as np
import streamce as ce

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

preds, target = np.ones((1_000_000, 8), np.{dtype}), np.zeros(1_000_000, np.int64)
weight, out = np.ones(1_000_000), np.ones_like(preds)
for rows in (slice(0, 3000), slice(None)):
    before = peak()
    given = preds[rows], target[rows]
    ce.cross_entropy(*given, kind="logits", weight=weight[rows], grad=True, out=out[rows], threads=1)
print(peak() - before)
"""


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_memory_is_that_of_a_few_blocks(dtype):
    run = subprocess.run(
        [sys.executable, "-c", MEASURE.format(dtype=dtype)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 2_000_000


# ---- errors ----


def refused(match, argument="out", **more):
    options = {"preds": np.full((3, 2), 0.5), "target": np.array([0, 1, 1]), "grad": True, **more}
    with pytest.raises(ce.InputError, match=match) as error:
        ce.cross_entropy(options.pop("preds"), options.pop("target"), **options)
    assert error.value.argument == argument


def test_an_out_that_cannot_be_written_to_is_named():
    refused(r"^out has shape \(2, 3\) and preds \(3, 2\): expected the shape of preds", out=np.empty((2, 3)))
    refused("^out has dtype int64: expected an array of float64", out=np.empty((3, 2), int))
    refused("^out has dtype complex128", out=np.empty((3, 2), complex))
    refused("^out is .*: expected an array of float64.* to write to", out=[[0.0] * 2] * 3)
    refused("^out has overlapping memory", out=np.lib.stride_tricks.as_strided(np.empty(2), (3, 2), (0, 8)))
    frozen = np.empty((3, 2))
    frozen.flags.writeable = False
    refused("^out is read-only", out=frozen)
    refused("^out is .*: expected None without grad=True", grad=False, out=np.empty((3, 2)))
    refused("^grad is 'yes': expected True or False", argument="grad", grad="yes")


BAD = {
    "preds": {"preds": [[0.5, 0.5], [math.nan, 0.5]], "target": [0, 1]},
    "a row's sum": {"preds": [[0.5, 0.5], [0.2, 0.5]], "target": [0, 1]},
    "target": {"preds": [[0.5, 0.5], [0.5, 0.5]], "target": [0, 2]},
    "weight": {"preds": [[0.5, 0.5], [0.5, 0.5]], "target": [0, 1], "weight": [1.0, -1.0]},
    "shape": {"preds": [[0.5, 0.5], [0.5, 0.5]], "target": [0, 1, 1]},
    "integers": {"preds": [[1, 0], [0, 1]], "target": [0, 1]},
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_input_is_the_error_it_is_without_and_leaves_a_small_out_alone(case):
    with pytest.raises(ce.InputError) as expected:
        ce.cross_entropy(**BAD[case])
    for reduction in REDUCTIONS:
        out = np.full((2, 2), 7.0)
        with pytest.raises(ce.InputError) as error:
            ce.cross_entropy(**BAD[case], grad=True, out=out, reduction=reduction)
        assert str(error.value) == str(expected.value)
        assert error.value.index == expected.value.index
        assert (out == 7).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_invalid_row_is_named_and_it_and_its_block_are_not_written(threads):
    preds = np.full((200_000, 5), 0.2)
    preds[[90_000, 190_000], 2] = math.nan
    weight = np.ones(200_000)
    weight[100_000] = -1
    out = np.full(preds.shape, 7.0)
    with pytest.raises(ce.InputError, match=r"^preds\[90000, 2\] is nan"):
        ce.cross_entropy(preds, np.zeros(200_000, int), weight=weight, grad=True, out=out, threads=threads)
    assert (out[90_000] == 7).all()
