"""Bins and expected calibration error equal those of torchmetrics and scikit-learn, except on edges.

Here bin b is the integer part of 15 q, so a confidence of b / 15 is in bin b, and 1 is in the last bin. torchmetrics
compares with rounded edges, so a confidence on an edge may be in either bin. It puts 1 in a separate 16th bin, and adds
floats. Bins of scikit-learn contain their upper edge and not their lower one.
"""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

import streamce as ce


def drawn(seed, shape):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, shape)
    if len(shape) == 1:
        return 1 / (1 + np.exp(-logits)), (rng.random(shape) < 1 / (1 + np.exp(-0.6 * logits))).astype(np.int64)
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    return p, np.where(rng.random(shape[0]) < 0.7, p.argmax(1), rng.integers(0, shape[1], shape[0]))


def theirs(metric, preds, target):
    for rows in np.array_split(np.arange(len(preds)), 2):
        metric.update(torch.from_numpy(preds[rows]), torch.from_numpy(target[rows]))
    return metric.compute().item()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_error_of_outcomes_is_torchmetrics(dtype):
    p, y = drawn(0, (5000,))
    p = p.astype(dtype)
    ours = ce.BinaryCrossEntropy(calibration=True).update(p, y).calibration().ece
    assert ours == pytest.approx(theirs(BinaryCalibrationError(n_bins=15, norm="l1"), p, y), rel=2e-5)


@pytest.mark.parametrize("classes", [2, 10, 200])
def test_the_error_of_classes_is_torchmetrics(classes):
    p, y = drawn(classes, (5000, classes))
    ours = ce.MulticlassCrossEntropy(calibration=True).update(p, y).calibration().ece
    peer = MulticlassCalibrationError(num_classes=classes, n_bins=15, norm="l1")
    assert ours == pytest.approx(theirs(peer, p, y), rel=2e-5)


def test_the_bins_of_outcomes_are_scikit_learns():
    p, y = drawn(1, (5000,))
    frequency, confidence = calibration_curve(y, p, n_bins=15, strategy="uniform")
    bins = ce.BinaryCrossEntropy(calibration=True).update(p, y).calibration().bins
    np.testing.assert_allclose([each.frequency for each in bins], frequency, rtol=1e-12)
    np.testing.assert_allclose([each.confidence for each in bins], confidence, rtol=1e-12)


def test_an_edge_is_in_the_bin_above_it_and_in_scikit_learns_below():
    p, y = np.array([0.2, 0.25]), np.array([0, 1])  # 0.2 is 3 / 15
    assert [each.count for each in ce.BinaryCrossEntropy(calibration=True).update(p, y).calibration().bins] == [2]
    assert len(calibration_curve(y, p, n_bins=15)[0]) == 2


def test_1_is_in_the_last_bin_and_torchmetrics_has_one_more():
    p, y = np.array([0.95, 1.0]), np.array([1, 0])
    assert ce.BinaryCrossEntropy(calibration=True).update(p, y).calibration().ece == pytest.approx(0.975 - 0.5)
    assert theirs(BinaryCalibrationError(n_bins=15), p, y) == pytest.approx((0.05 + 1) / 2)
