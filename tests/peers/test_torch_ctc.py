"""CTC losses equal those of torch (2.13, CPU). Names of tests say where conventions differ."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import ctc_loss
from utterances import Batch, losses

import streamce as ce


def theirs(batch, preds=None, reduction="none", **options):
    logs = torch.from_numpy(batch.preds if preds is None else preds).log_softmax(-1)
    lengths = torch.from_numpy(batch.frames), torch.from_numpy(batch.labels)
    return logs, ctc_loss(logs, torch.from_numpy(batch.target), *lengths, batch.blank, reduction, **options)


@pytest.mark.parametrize("blank", [0, 2, 6])
@pytest.mark.parametrize("frames", [1, 8, 30, 400])
@pytest.mark.parametrize("classes", [7, 40, 300])
def test_each_loss_is_that_of_torch_in_float64(blank, frames, classes):
    batch = Batch(frames + classes, n=30, frames=frames, blank=blank, classes=classes)
    logs, expected = theirs(batch)
    expected = expected.numpy()
    found = {
        "logits": batch.losses(),
        "log_probs": losses(logs.numpy(), batch.target, batch.frames, batch.labels, kind="log_probs", blank=blank),
        "probs": losses(logs.exp().numpy(), batch.target, batch.frames, batch.labels, blank=blank),
    }
    for kind, ours in found.items():
        if kind != "probs":  # probabilities of e^-800 are 0
            assert (np.isinf(ours) == np.isinf(expected)).all()
        feasible = np.isfinite(ours)
        np.testing.assert_allclose(ours[feasible], expected[feasible], rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("blank", [0, 6])
def test_targets_without_labels_are_those_of_torch(blank):
    batch = Batch(7, n=30, blank=blank, empty=True)
    _, expected = theirs(batch)
    np.testing.assert_allclose(batch.losses(), expected.numpy(), rtol=1e-12, atol=1e-10)
    uniform = torch.full((4, 1, 3), 1 / 3, dtype=torch.float64).log()
    given = torch.zeros((1, 0), dtype=torch.int64), torch.tensor([4]), torch.tensor([0])
    found = ce.CTCCrossEntropy(kind="log_probs", per="utterance").update(
        uniform, given[0], input_lengths=given[1], target_lengths=given[2]
    )
    assert math.isclose(found.compute(), ctc_loss(uniform, *given, reduction="sum").item(), rel_tol=1e-15)
    assert math.isclose(found.compute(), 4 * math.log(3), rel_tol=1e-15)


def test_float32_tensors_lose_nothing_on_the_way():
    batch = Batch(1, n=30)
    preds = torch.from_numpy(batch.preds).log_softmax(-1).float()
    expected = ctc_loss(
        preds.double(), torch.from_numpy(batch.target), torch.from_numpy(batch.frames), torch.from_numpy(batch.labels),
        reduction="none",
    ).numpy()  # fmt: skip
    for dtype in (torch.float32, torch.float64):
        found = losses(
            preds.to(dtype), torch.from_numpy(batch.target), torch.from_numpy(batch.frames),
            torch.from_numpy(batch.labels).int(), kind="log_probs",
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-10)


def test_targets_one_after_another_are_as_torch_has_them():
    batch = Batch(2, n=20)
    target = np.concatenate([row[:k] for row, k in zip(batch.target, batch.labels, strict=True)])
    logs, _ = theirs(batch)
    lengths = torch.from_numpy(batch.frames), torch.from_numpy(batch.labels)
    expected = ctc_loss(logs, torch.from_numpy(target), *lengths, reduction="none")
    found = losses(batch.preds, target, batch.frames, batch.labels, kind="logits")
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-10)


def test_the_sum_is_that_of_torch_and_the_mean_is_not():
    """torch averages loss / labels over utterances. Here the mean is the sum of losses over the sum of labels."""
    batch = Batch(3, n=40, frames=60)
    batch.frames[:] = 60  # enough frames for all targets
    metric = batch.add_to(batch.metric(), weighted=False)
    _, total = theirs(batch, reduction="sum")
    assert metric.summary().infeasible == 0
    assert math.isclose(metric.summary().total, total.item(), rel_tol=1e-12)
    assert math.isclose(metric.compute(), total.item() / batch.labels.sum(), rel_tol=1e-12)
    weighted = batch.metric().update(
        batch.preds, batch.target, input_lengths=batch.frames, target_lengths=batch.labels,
        weight=1.0 / batch.labels,
    )  # fmt: skip
    _, mean = theirs(batch, reduction="mean")
    assert math.isclose(weighted.compute(), mean.item(), rel_tol=1e-12)


def test_an_infeasible_utterance_is_left_out_where_torch_makes_it_infinite_or_0():
    batch = Batch(4, n=40)
    _, each = theirs(batch)
    infeasible = torch.isinf(each)
    assert 0 < infeasible.sum() < 40
    summary = batch.add_to(batch.metric(per="utterance"), weighted=False).summary()
    assert summary.infeasible == infeasible.sum()
    assert math.isclose(summary.value, each[~infeasible].mean().item(), rel_tol=1e-12)
    assert theirs(batch, reduction="sum")[1] == math.inf
    _, zeros = theirs(batch, zero_infinity=True)
    assert math.isclose(summary.total, zeros.sum().item(), rel_tol=1e-12)


def test_bfloat16_tensors():
    batch = Batch(5)
    preds = torch.from_numpy(batch.preds).bfloat16()
    found = ce.CTCCrossEntropy(kind="logits").update(
        preds, batch.target, input_lengths=batch.frames, target_lengths=batch.labels
    )
    wide = ce.CTCCrossEntropy(kind="logits").update(
        preds.double(), batch.target, input_lengths=batch.frames, target_lengths=batch.labels
    )
    assert found == wide
