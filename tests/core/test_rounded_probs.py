"""Rounding makes no row invalid or unnormalised: entries slightly above 1 are 1, and sums have one tolerance."""

import math

import ml_dtypes
import numpy as np
import pytest

import streamce as ce

pytestmark = pytest.mark.core

ABOVE = 1 + 1e-6  # a float32 too
LIMIT = 2.0**-11.5  # of float32, float64 and text
DTYPES = {np.float32: LIMIT, np.float64: LIMIT, np.float16: 2.0**-5, ml_dtypes.bfloat16: 2.0**-3.5}
OPTIONS = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1},
    "calibrated": {"calibration": True},
    "by class": {"per_class": True},
    "weighted": {"class_weight": (0.5, 2.0, 1.0)},
    "tail": {"tail": True},
    "no floor": {"eps": 0.0},
}
PROBS = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.7, 0.2, 0.1], [0.0, 0.0, 1.0]] * 9)
SHARES = np.array([[0.25, 0.25, 0.5], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]] * 9)
LABELS = np.arange(36) % 3
N_ONES = 18
BINARY = [name for name in OPTIONS if name not in ("by class", "weighted")]


def raised(array, dtype=np.float64):
    """Return an array whose ones are slightly larger."""
    return np.where(array == 1, ABOVE, array).astype(dtype)


def check(found, expected, unnormalised):
    """Check that two metrics differ only in how many rows are unnormalised."""
    one, other = found.summary().to_dict(), expected.summary().to_dict()
    assert one.pop("unnormalised") == unnormalised
    assert other.pop("unnormalised") == 0
    assert repr(one) == repr(other)  # nan is not equal to itself
    if found.options["calibration"]:
        assert found.calibration() == expected.calibration()
    if found.options.get("tail"):
        assert found.tail() == expected.tail()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_entry_above_1_by_rounding_is_1(simd, dtype, name):
    metric = ce.MulticlassCrossEntropy(**OPTIONS[name])
    check(metric.copy().update(raised(PROBS, dtype), LABELS), metric.copy().update(PROBS.astype(dtype), LABELS), N_ONES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*BINARY, "pos weight"])
def test_a_binary_probability_above_1_by_rounding_is_1(simd, dtype, name):
    metric = ce.BinaryCrossEntropy(**(OPTIONS | {"pos weight": {"pos_weight": 3.0}})[name])
    for target in (LABELS == 1)[:, None] | np.zeros(3, bool), SHARES:
        check(
            metric.copy().update(raised(PROBS, dtype), target),
            metric.copy().update(PROBS.astype(dtype), target),
            N_ONES,
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["probs", "logits"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"divergence": True}, {"class_weight": (1, 2, 0)}])
def test_a_share_above_1_by_rounding_is_1(simd, dtype, kind, options):
    preds = (PROBS * 0.9 + 0.1 / 3 if kind == "probs" else PROBS * 8).astype(dtype)
    metric = ce.MulticlassCrossEntropy(kind=kind, **options)
    found, expected = (
        metric.copy().update(preds, raised(SHARES, dtype)),
        metric.copy().update(preds, SHARES.astype(dtype)),
    )
    assert found.compute() == pytest.approx(expected.compute(), rel=1e-14 if dtype is np.float64 else 1e-7)
    assert (found.summary().unnormalised, expected.summary().unnormalised) == (N_ONES, 0)
    assert found.summary().weight == expected.summary().weight


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_those_at_1(dtype):
    ones, above = PROBS.astype(dtype), raised(PROBS, dtype)
    for options in ({}, {"label_smoothing": 0.1}):
        given = (
            ce.cross_entropy(above, LABELS, grad=True, **options),
            ce.cross_entropy(ones, LABELS, grad=True, **options),
        )
        assert given[0][0] == given[1][0]
        np.testing.assert_array_equal(given[0][1], given[1][1])
    given = [ce.binary_cross_entropy(preds, SHARES, grad=True) for preds in (above, ones)]
    assert given[0][0] == given[1][0]
    np.testing.assert_array_equal(given[0][1], given[1][1])
    for kind in "probs", "logits":
        given = [
            ce.cross_entropy(ones * 0.9 + 0.1 / 3, shares, kind=kind, grad=True)
            for shares in (raised(SHARES, dtype), SHARES.astype(dtype))
        ]
        np.testing.assert_allclose(given[0][1], given[1][1], rtol=1e-5, atol=2e-6)


def test_utterances_take_entries_above_1():
    target = {"input_lengths": [36], "target_lengths": [0]}
    ones = np.array([[1.0, 0.0, 0.0]] * 36)
    found = ce.CTCCrossEntropy(per="utterance").update(raised(ones)[:, None], [], **target)
    assert (found.compute(), found.summary().unnormalised, found.summary().count) == (0.0, 1, 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_beyond_the_tolerance_an_entry_is_invalid(dtype):
    limit = DTYPES[dtype]
    inside, outside = np.array([1 + limit * 0.99, 1 + limit * 1.5]).astype(dtype)
    assert 1 < float(inside) <= 1 + limit < float(outside)
    for update in (
        lambda x: ce.BinaryCrossEntropy().update(np.array([x]), [1]),
        lambda x: ce.MulticlassCrossEntropy().update(np.array([[x, x - x]]), [0]),
        lambda x: ce.MulticlassCrossEntropy().update([[0.5, 0.5]], np.array([[x, x - x]])),
        lambda x: ce.MultilabelCrossEntropy().update(np.array([[x]]), [[1]]),
        lambda x: ce.CTCCrossEntropy(per="frame").update(
            np.array([[[x, x - x]]]), [], input_lengths=[1], target_lengths=[0]
        ),
    ):
        assert update(inside).summary().unnormalised == 1
        with pytest.raises(ce.InputError, match=f"is {float(outside)!r}") as error:
            update(outside)
        assert error.value.cause == "invalid_range"


def test_the_first_invalid_entry_is_not_one_above_1_by_rounding():
    with pytest.raises(ce.InputError) as error:
        ce.MulticlassCrossEntropy().update([[ABOVE, -0.5, 0.0]], [0])
    assert (error.value.index, error.value.value) == ((0, 1), -0.5)
    with pytest.raises(ce.InputError, match=r"adds up to 1\.5 over the classes") as error:
        ce.MulticlassCrossEntropy().update([[1 + 2.0**-20, 0.5, 0.0]], [0])
    assert error.value.cause == "invalid_row_sum"
    skipped = ce.MulticlassCrossEntropy(invalid="skip").update(
        [[ABOVE, math.nan], [ABOVE, 0.5], [ABOVE, 0.0]], [0, 0, 0]
    )
    summary = skipped.summary()
    assert (summary.invalid_nan, summary.invalid_row_sum, summary.unnormalised, summary.count) == (1, 1, 1, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 10, 1000, 100_000])
def test_a_softmax_is_normalised_however_it_is_given(dtype, classes):
    rng = np.random.default_rng(classes)
    x = rng.normal(size=(max(3, 20_000 // classes), classes)).astype(np.float32) * 3
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = (e / e.sum(axis=1, keepdims=True, dtype=np.float32)).astype(dtype)
    target = np.zeros(len(p), int)
    assert ce.MulticlassCrossEntropy().update(p, target).summary().unnormalised == 0
    if dtype is np.float32:
        text = np.array([[float(f"{v:.7g}") for v in row] for row in p[:3]])
        for given in (p.astype(np.float64), p.tolist(), text):
            assert ce.MulticlassCrossEntropy().update(given, target[: len(given)]).summary().unnormalised == 0
            soft = ce.MulticlassCrossEntropy(kind="logits").update(x[: len(given)], given)
            assert soft.summary().unnormalised == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_that_is_off_by_more_is_counted(dtype):
    off = np.array([[0.5, 0.5 + 2.0**-12], [0.5, 0.5 + 2.0**-11], [0.5, 0.5 - 2.0**-11]]).astype(dtype)
    for preds, target in ((off, [0, 1, 0]), ([[0.5, 0.5]] * 3, off)):
        assert ce.MulticlassCrossEntropy().update(preds, target).summary().unnormalised == 2
