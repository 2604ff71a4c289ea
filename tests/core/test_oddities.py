"""Losses with an anomaly are counted in the total, by class and by label."""

import numpy as np
import pytest

import streamce as ce

pytestmark = pytest.mark.core


def test_per_label_summaries_count_what_was_odd_about_each_label():
    metric = ce.MultilabelCrossEntropy(ignore_index=-1, eps=0, invalid="skip")
    metric.update([[0.0, 0.5], [0.4, np.nan], [0.5, 0.5]], [[1, 0], [-1, 1], [1, -1]])
    first, second = metric.per_label()
    assert (first.count, first.ignored, first.infinite, first.skipped) == (2, 1, 1, 0)
    assert (second.count, second.ignored, second.infinite, second.skipped) == (1, 1, 0, 1)
    assert first.seen == second.seen == 3


@pytest.mark.parametrize("rows", [1, 7, 500, 5000])
def test_the_labels_oddities_add_up_to_those_of_the_whole(rows):
    rng = np.random.default_rng(rows)
    preds = rng.choice([0.0, 1e-20, 0.3, 0.9, 1.0, np.nan, 1.5], size=(rows, 3))
    target = rng.choice([0, 1, -1, 7], size=(rows, 3))
    metric = ce.MultilabelCrossEntropy(ignore_index=-1, invalid="skip").update(preds, target)
    whole, labels = metric.summary(), metric.per_label()
    for name in ("count", "seen", "ignored", "floored", "infinite", "skipped", "invalid_nan", "invalid_label"):
        assert sum(getattr(label, name) for label in labels) == getattr(whole, name), name


def test_per_class_summaries_count_what_was_odd_about_each_class():
    preds = [[0.0, 1.0], [0.5, 0.5004], [0.5, 0.5], [1.0, 0.0]]
    metric = ce.MulticlassCrossEntropy(per_class=True).update(np.float64(preds), [0, 0, 1, 1])
    first, second = metric.per_class()
    assert (first.count, first.floored, first.unnormalised) == (2, 1, 1)
    assert (second.count, second.floored, second.unnormalised) == (2, 1, 0)
    assert metric.summary().floored == 2


def test_a_weighted_loss_that_overflows_is_counted_as_infinite():
    summary = ce.MeanLoss().update([1e300, 1.0], weight=[1e300, 1.0]).summary()
    assert (summary.value, summary.infinite) == (np.inf, 1)


def test_an_infinite_loss_of_weight_0_adds_nothing_and_is_not_counted_as_infinite():
    summary = ce.MeanLoss().update([np.inf, 1.0], weight=[0.0, 1.0]).summary()
    assert (summary.value, summary.infinite) == (1.0, 0)


def test_a_floor_is_met_below_eps_and_not_at_it():
    edge = -ce.MulticlassCrossEntropy().update([[0.0, 1.0]], [0]).compute()
    for preds, metric in (
        ([edge], ce.BinaryCrossEntropy(kind="log_probs")),
        ([2.0**-52], ce.BinaryCrossEntropy()),
        ([[edge, 0.0]], ce.MulticlassCrossEntropy(kind="log_probs")),
        ([[2.0**-52, 1.0]], ce.MulticlassCrossEntropy()),
    ):
        target = [0] if isinstance(preds[0], list) else [1]
        assert metric.update(preds, target).summary().floored == 0


def test_a_loss_over_a_weight_of_0_is_infinite():
    metric = ce.MulticlassCrossEntropy(label_smoothing=0.1, class_weight=[0, 1]).update([[0.5, 0.5]], [0])
    assert metric.compute() == np.inf
    assert metric.summary().weight == 0


def test_a_negative_weight_left_by_subtraction_is_an_error():
    light = ce.BinaryCrossEntropy().update([0.2, 0.3], [0, 1])
    heavy = ce.BinaryCrossEntropy().update([0.2], [0], weight=[5.0])
    with pytest.raises(ce.InputError, match="weight is negative"):
        (light - heavy).compute()


def test_weights_whose_product_is_no_float64_are_an_error():
    with pytest.raises(ce.InputError, match=r"^pos_weight times class_weight"):
        ce.BinaryCrossEntropy(class_weight=[1, 1e200], pos_weight=1e200)


def test_a_zero_with_a_sign_is_the_same_option():
    assert ce.BinaryCrossEntropy(label_smoothing=-0.0, eps=-0.0) == ce.BinaryCrossEntropy(eps=0.0)
    assert ce.BinaryCrossEntropy(class_weight=[-0.0, 1]) == ce.BinaryCrossEntropy(class_weight=[0.0, 1])


def test_a_difference_of_nothing_has_no_classes():
    metric = ce.MulticlassCrossEntropy(per_class=True).update([[0.5, 0.5]], [0])
    assert len((metric - metric).per_class()) == 0


def test_more_classes_than_memory_is_an_error_and_no_crash():
    row = np.broadcast_to(np.float32(0), (1, 2**61 - 1))
    with pytest.raises(MemoryError):
        ce.MulticlassCrossEntropy(kind="logits").update(row, [0])


def test_the_first_cause_is_reported_target_before_preds():
    with pytest.raises(ce.InputError, match=r"^target\[0, 0\]"):
        ce.MulticlassCrossEntropy().update([[np.nan, 0.5]], [[np.nan, 0.5]])
