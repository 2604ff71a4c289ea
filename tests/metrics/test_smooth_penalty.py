"""The loss is 0 for certain and right predictions, grows as they get worse, and is never NaN."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import streamce as ce

often = settings(max_examples=200)

CLASSES = (2, 3, 10, 100)
# Least difference of neighbouring losses, well above their error of 8 ulp.
APART = 1e-11

probs = st.floats(0, 1)
singles = st.floats(0, 1, width=32)
classes = st.sampled_from(CLASSES)


def binary(p, y, **options):
    """Return the loss of outcome y at probability p of outcome 1."""
    return float(ce.binary_cross_entropy(p, y, reduction="none", eps=0, **options))


def multiclass(p, count, **options):
    """Return the loss of the last class at probability p, where the others share the rest."""
    dtype = np.asarray(p).dtype
    row = np.full(count, (1 - p) / (count - 1), dtype=dtype)
    row[-1] = p
    return float(ce.cross_entropy(row, count - 1, reduction="none", **{"eps": 0, **options}))


# ---- the right answer costs nothing ----


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("count", CLASSES)
def test_certainty_that_is_right_costs_nothing(count, dtype):
    assert multiclass(dtype(1), count) == 0
    assert binary(dtype(1), 1) == 0
    assert binary(dtype(0), 0) == 0


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_logit_of_infinity_is_certainty(dtype):
    assert binary(dtype(np.inf), 1, kind="logits") == 0
    assert binary(dtype(-np.inf), 0, kind="logits") == 0
    assert ce.cross_entropy(np.array([0, np.inf, 3], dtype=dtype), 1, kind="logits") == 0


@often
@given(probs, classes)
def test_nothing_else_is_free(p, count):
    assume(p < 1)
    assert multiclass(p, count) > 0
    assert binary(p, 1) > 0


# ---- less is worse ----


@often
@given(probs, probs, classes)
def test_the_loss_falls_strictly_with_the_probability_of_the_true_class(p, q, count):
    p, q = sorted((p, q))
    assume(p < q * (1 - APART))
    assert multiclass(p, count) > multiclass(q, count)
    assert binary(p, 1) > binary(q, 1)


@often
@given(singles, singles, classes)
def test_any_two_float32_probabilities_are_told_apart(p, q, count):
    p, q = sorted((np.float32(p), np.float32(q)))
    assume(p < q)
    assert multiclass(p, count) > multiclass(q, count)
    assert binary(p, 1) > binary(q, 1)


@often
@given(probs, probs)
def test_the_loss_grows_strictly_with_the_probability_of_the_wrong_outcome(p, q):
    p, q = sorted((p, q))
    assume(p < q * (1 - APART) and 1 - q < (1 - p) * (1 - APART))
    assert binary(p, 0) < binary(q, 0)


@often
@given(st.floats(1e-300, 1e-17), classes)
def test_the_smallest_doubt_has_a_price(p, count):
    assert binary(p, 0) == pytest.approx(p, rel=1e-15)
    logits = np.zeros(count)
    logits[-1] = -math.log(p) if p > 1e-37 else 85.0
    assert 0 < ce.cross_entropy(logits, count - 1, kind="logits") < count * 1e-16


margins = st.floats(-1e6, 80)


@often
@given(margins, margins, classes, st.integers(0, 99))
def test_the_loss_falls_strictly_with_the_true_logit_and_grows_with_a_wrong_one(low, high, count, wrong):
    low, high = sorted((low, high))
    assume(high - low > APART * max(1, abs(low), abs(high)))
    logits = np.zeros((2, count))
    logits[:, -1] = low, high
    lower, higher = ce.cross_entropy(logits, [count - 1] * 2, kind="logits", reduction="none")
    assert lower > higher
    assert binary(low, 1, kind="logits") > binary(high, 1, kind="logits")
    assert binary(-low, 0, kind="logits") > binary(-high, 0, kind="logits")
    logits = np.zeros((2, count))
    logits[:, wrong % (count - 1)] = -high, -low
    less, more = ce.cross_entropy(logits, [count - 1] * 2, kind="logits", reduction="none")
    if count == 2 or -low > -30:  # smaller values vanish beside the other classes
        assert less < more


# ---- without bound, without NaN ----


@often
@given(st.floats(0.1, 700), classes)
def test_every_bound_is_passed(bound, count):
    p = math.exp(-bound) * 0.99
    assert multiclass(p, count) > bound
    assert binary(p, 1) > bound


@pytest.mark.parametrize("count", CLASSES)
def test_zero_costs_infinity_unless_it_is_floored(count):
    assert multiclass(0.0, count) == math.inf
    assert binary(0.0, 1) == math.inf
    assert binary(1.0, 0) == math.inf
    assert multiclass(0.0, count, eps=2**-52) == 52 * math.log(2)


@often
@given(probs, probs, classes, st.sampled_from([2.0**-52, 1e-7, 0.01]))
def test_a_floor_bounds_the_loss_and_keeps_its_order(p, q, count, eps):
    p, q = sorted((p, q))
    at_p, at_q = multiclass(p, count, eps=eps), multiclass(q, count, eps=eps)
    assert at_p <= -math.log(eps) * (1 + 1e-15)
    if p < q * (1 - APART):
        assert at_p >= at_q
        assert at_p > at_q or q <= eps


@often
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=20), st.data())
def test_no_logits_that_have_a_meaning_cost_nan_or_less_than_nothing(row, data):
    assume(row.count(math.inf) < 2 and max(row) > -math.inf)
    label = data.draw(st.integers(0, len(row) - 1))
    for dtype in (np.float64, np.float32):
        assert ce.cross_entropy(np.array(row, dtype=dtype), label, kind="logits") >= 0
        for logit in row:
            assert binary(dtype(logit), label % 2, kind="logits") >= 0


@often
@given(probs, st.integers(0, 1), st.floats(0, 1))
def test_no_probability_costs_nan_or_less_than_nothing(p, y, smoothing):
    assert binary(p, y) >= 0
    assert binary(p, y, label_smoothing=smoothing) >= 0
    assert binary(p, y, label_smoothing=smoothing, pos_weight=0.0) >= 0
