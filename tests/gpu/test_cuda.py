"""Losses of tensors on a GPU are computed there, and equal those of the core within torch's rounding.

These tests need a GPU and a torch that can use it. No other tests do. Run with ``make test-gpu``.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from streams import streams

import streamce as ce
from streamce.metrics import torch_device

CLOSE = {"float64": 1e-12, "float32": 1e-6, "float16": 1e-6, "bfloat16": 1e-6}
COUNTERS = ("count", "samples", "seen", "ignored", "floored", "infinite", "unnormalised", "skipped")


def on_gpu(array):
    if array is None:
        return None
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).cuda()
    return torch.from_numpy(array).cuda()


def raised(call):
    """Return the error that a call raises, or None."""
    try:
        call()
    except ce.InputError as error:
        return error
    return None


def alike(found, expected, close):
    assert found.value == pytest.approx(expected.value, rel=close, nan_ok=True)
    assert found.weight == pytest.approx(expected.weight, rel=close)
    assert [getattr(found, name) for name in COUNTERS] == [getattr(expected, name) for name in COUNTERS]


@given(streams(tasks=("binary", "multiclass", "multilabel")))
def test_every_kind_dtype_and_option(stream):
    expected, close = stream.fed(), CLOSE[str(stream.preds.dtype)]
    preds, target, weight = map(on_gpu, stream.arrays)
    for given_target, given_weight in ((target, weight), (stream.target, stream.weight)):
        found = stream.metric().update(preds, given_target, weight=given_weight)
        alike(found.summary(), expected.summary(), close)
        for name in ("per_class", "per_label"):
            if stream.options.get(name):
                for one, other in zip(getattr(found, name)(), getattr(expected, name)(), strict=True):
                    alike(one, other, close)


@given(streams(tasks=("binary", "multiclass", "multilabel")))
def test_errors_are_those_of_the_core(stream):
    stream.options["invalid"] = "raise"
    metric = stream.metric()
    expected = raised(stream.fed)
    found = raised(lambda: metric.update(*map(on_gpu, stream.arrays[:2]), weight=on_gpu(stream.weight)))
    assert str(found) == str(expected)
    if expected:
        assert metric == stream.metric()


ROWS = np.random.default_rng(0).dirichlet(np.ones(5), 400)
LABELS = np.arange(400) % 5


def test_groups_clusters_functions_and_made_metrics():
    by = (np.arange(400) % 7).tolist()
    for fed in (
        lambda x: ce.MulticlassCrossEntropy().update(x, LABELS, cluster=by).summary().stderr,
        lambda x: list(ce.Grouped(ce.MulticlassCrossEntropy()).update(x, LABELS, by=by).compute().values()),
        lambda x: ce.MulticlassNormalizedEntropy().update(x, LABELS).compute(),
        lambda x: ce.NormalizedEntropy().update(x[:, 0], LABELS == 0).compute(),
        lambda x: ce.GANCrossEntropy().update(real=x[:, 0], fake=x[:, 1]).compute(),
        lambda x: ce.cross_entropy(x, LABELS, reduction="none"),
    ):
        assert fed(on_gpu(ROWS)) == pytest.approx(fed(ROWS), rel=1e-12)


def test_losses_that_torch_computed_come_over_as_they_are():
    losses = -np.log(ROWS[:, 0])
    assert ce.MeanLoss().update(on_gpu(losses)) == ce.MeanLoss().update(losses)


def test_a_target_or_weight_on_the_gpu_comes_over_to_predictions_that_are_not():
    expected = ce.MulticlassCrossEntropy().update(ROWS, LABELS, weight=ROWS[:, 0])
    assert ce.MulticlassCrossEntropy().update(ROWS, on_gpu(LABELS), weight=on_gpu(ROWS[:, 0])) == expected


def test_what_is_taken_beside_the_predictions_is_bounded():
    logits = torch.randn(1 << 15, 1 << 12, device="cuda", dtype=torch.bfloat16)  # 256 MB; 1 GB as float64
    labels = torch.zeros(1 << 15, device="cuda", dtype=torch.int64)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ce.MulticlassCrossEntropy(kind="logits").update(logits, labels)
    assert torch.cuda.max_memory_allocated() - before < 8 * 8 * torch_device.PREDS_PER_STEP
