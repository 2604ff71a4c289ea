"""Each function is a metric that is used once, and can return the losses one by one."""

import math

import numpy as np
import pytest

import streamce as ce

pytestmark = pytest.mark.core

rng = np.random.default_rng(4)

LOGITS = rng.normal(size=(7, 5)) * 3
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
LABELS = np.array([0, 4, 2, -100, 1, 3, 3])
ELEMENTS = rng.random((7, 5))
OUTCOMES = rng.integers(0, 2, (7, 5))
WEIGHT = np.array([1.0, 0.5, 2.0, 3.0, 0.0, 1.5, 1.0])

BINARY = {"label_smoothing": 0.1, "ignore_index": 0, "class_weight": [2.0, 0.5], "pos_weight": 3.0, "eps": 0.2}
MULTICLASS = {"label_smoothing": 0.2, "ignore_index": -100, "class_weight": [1.0, 2.0, 0.5, 0.0, 3.0], "eps": 0.01}
MULTILABEL = {
    "label_smoothing": 0.1,
    "ignore_index": 1,
    "class_weight": [1.0, 2.0, 0.5, 0.0, 3.0],
    "pos_weight": [1.0, 0.5, 2.0, 1.0, 1.0],
    "eps": 0.1,
}
CASES = {
    "binary": (ce.binary_cross_entropy, ce.BinaryCrossEntropy, ELEMENTS, OUTCOMES, BINARY),
    "multiclass": (ce.cross_entropy, ce.MulticlassCrossEntropy, PROBS, LABELS, MULTICLASS),
    "multilabel": (ce.multilabel_cross_entropy, ce.MultilabelCrossEntropy, ELEMENTS, OUTCOMES, MULTILABEL),
}
ignoring = {"binary": {}, "multiclass": {"ignore_index": -100}, "multilabel": {}}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


# ---- one computation ----


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_the_mean_is_compute_of_the_metric_with_every_option(case, weight):
    function, metric, preds, target, options = case
    expected = metric(**options).update(preds, target, weight=weight).compute()
    assert function(preds, target, weight=weight, **options) == expected


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_the_sum_is_the_exact_sum_of_the_losses_rounded_once(case, weight):
    function, _, preds, target, options = case
    losses = function(preds, target, weight=weight, reduction="none", **options)
    assert function(preds, target, weight=weight, reduction="sum", **options) == math.fsum(losses.flat)


@pytest.mark.parametrize("kind", ["probs", "log_probs", "logits"])
@pytest.mark.parametrize("name", CASES)
def test_kind_says_what_preds_holds(name, kind):
    function, _, preds, target, _ = CASES[name]
    options = ignoring[name]
    given = {
        "probs": preds,
        "log_probs": np.log(preds),
        "logits": np.log(preds) if name == "multiclass" else np.log(preds) - np.log1p(-preds),
    }[kind]
    losses = function(given, target, kind=kind, reduction="none", **options)
    np.testing.assert_allclose(losses, function(preds, target, reduction="none", **options), rtol=1e-12)


def test_losses_hold_weight_and_class_weight():
    losses = ce.cross_entropy(
        [[0.5, 0.5], [0.25, 0.75]], [0, 1], weight=[3.0, 1.0], class_weight=[2.0, 4.0], reduction="none"
    )
    np.testing.assert_allclose(losses, [6 * math.log(2), -4 * math.log(0.75)], rtol=1e-15)


def test_the_mean_divides_by_the_weights():
    mean = ce.cross_entropy([[0.5, 0.5], [0.25, 0.75]], [0, 1], weight=[3.0, 1.0], class_weight=[2.0, 4.0])
    assert mean == pytest.approx((6 * math.log(2) - 4 * math.log(0.75)) / 10, rel=1e-15)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads):
    preds = np.random.default_rng(0).random(600_000)
    target = (preds > 0.3).astype(np.int8)
    for reduction in ("mean", "sum", "none"):
        one = ce.binary_cross_entropy(preds, target, reduction=reduction, threads=1)
        assert np.array_equal(ce.binary_cross_entropy(preds, target, reduction=reduction, threads=threads), one)


# ---- shapes ----


def test_binary_losses_have_the_shape_of_preds():
    losses = ce.binary_cross_entropy(ELEMENTS.reshape(7, 5, 1), OUTCOMES.reshape(7, 5, 1), reduction="none")
    assert losses.shape == (7, 5, 1)
    assert losses.dtype == np.float64


def test_the_loss_of_one_number_has_no_axes():
    loss = ce.binary_cross_entropy(0.25, 1, reduction="none")
    assert loss.shape == ()
    assert loss == -math.log(0.25)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_multiclass_losses_have_the_shape_of_preds_without_the_class_axis(axis):
    preds, target = LOGITS.reshape(7, 1, 5), LABELS.reshape(7, 1)
    losses = ce.cross_entropy(preds, target, kind="logits", ignore_index=-100, reduction="none")
    moved = np.moveaxis(preds, -1, axis)
    found = ce.cross_entropy(moved, target, kind="logits", ignore_index=-100, axis=axis, reduction="none")
    assert found.shape == (7, 1)
    assert np.array_equal(found, losses)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_multilabel_losses_have_the_shape_of_preds_whatever_the_label_axis(axis):
    preds, target = rng.random((3, 4, 5)), rng.integers(0, 2, (3, 4, 5))
    labels = preds.shape[axis]
    options = {"class_weight": np.arange(labels) + 1.0, "axis": axis, "reduction": "none"}
    expected = ce.binary_cross_entropy(preds, target, reduction="none")
    expected = expected * np.moveaxis((np.arange(labels) + 1.0)[:, None, None], 0, axis)
    np.testing.assert_allclose(ce.multilabel_cross_entropy(preds, target, **options), expected, rtol=1e-15)


def test_one_row_of_multilabel_losses():
    assert ce.multilabel_cross_entropy([0.5, 0.25], [1, 1], reduction="none").shape == (2,)


# ---- ignored losses ----


def test_ignored_entries_are_zero_among_the_losses_and_in_no_mean(case):
    function, _, preds, target, options = case
    ignored = target == options["ignore_index"]
    losses = function(preds, target, reduction="none", ignore_index=options["ignore_index"])
    assert ignored.any()
    assert (losses[ignored] == 0).all()
    assert (losses[~ignored] > 0).all()
    mean = function(preds, target, ignore_index=options["ignore_index"])
    assert mean == pytest.approx(losses.sum() / (~ignored).sum(), rel=1e-14)


@pytest.mark.parametrize(("reduction", "expected"), [("mean", math.nan), ("sum", 0.0)])
def test_the_mean_of_nothing_is_nan_and_its_sum_zero(case, reduction, expected):
    function, _, preds, target, _ = case
    found = function(preds[:0], target[:0], reduction=reduction)
    assert found == expected or (math.isnan(found) and math.isnan(expected))


def test_no_losses_of_no_rows(case):
    function, _, preds, target, _ = case
    losses = function(preds[:0], target[:0], reduction="none")
    assert losses.shape == target[:0].shape


def test_zero_probability_costs_the_floor_or_infinity():
    assert ce.binary_cross_entropy([0.0], [1]) == 52 * math.log(2)
    assert ce.binary_cross_entropy([0.0], [1], eps=0) == math.inf
    assert ce.binary_cross_entropy([0.0, 0.5], [1, 1], eps=0, reduction="sum") == math.inf


# ---- arguments ----


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_lists_give_what_arrays_give(case, reduction):
    function, _, preds, target, options = case
    ignore = {"ignore_index": options["ignore_index"]}
    listed = function(preds.tolist(), target.tolist(), reduction=reduction, **ignore)
    assert np.array_equal(listed, function(preds, target, reduction=reduction, **ignore))


@pytest.mark.parametrize("reduction", ["average", None, "MEAN", 0, ["mean"]])
def test_an_unknown_reduction_is_named(case, reduction):
    function, _, preds, target, _ = case
    with pytest.raises(ce.InputError, match=r"reduction is .*expected one of 'none', 'mean', 'sum'") as error:
        function(preds, target, reduction=reduction)
    assert error.value.argument == "reduction"


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_bad_entry_is_named_whatever_the_reduction(reduction):
    with pytest.raises(ce.InputError, match=r"^preds\[1\] is 1.5") as error:
        ce.binary_cross_entropy([0.5, 1.5], [0, 1], reduction=reduction)
    assert error.value.index == (1,)
