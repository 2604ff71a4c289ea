"""Losses that torch computes on the device of the predictions equal those of the core within its rounding.

These tests use the CPU as if it were another device. tests/gpu does the same on a GPU.
"""

import math

import numpy as np
import pytest
import torch
from corpus import Corpus
from hypothesis import given
from hypothesis import strategies as st
from streams import KINDS, make, streams

import streamce as ce
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.core.samples.samples import Samples
from streamce.core.samples.status import PADDING
from streamce.inputs import arrays
from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics import torch_device
from streamce.stats.estimators import COUNTS

TASKS = ("binary", "multiclass", "multilabel")
CLOSE = {"float64": 1e-12, "float32": 1e-6, "float16": 1e-6, "bfloat16": 1e-6}


def tensor(array):
    if array is None or not isinstance(array, np.ndarray):
        return array
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def elsewhere(metric, preds, target, weight=None, bucket=None, **layout):
    """Update a metric as if its predictions were on another device."""
    metric._pipeline.update_on_device(metric._state, Batch(preds, target, weight, **layout), bucket=bucket)
    return metric


def raised(call):
    """Return the error that a call raises, or None."""
    try:
        call()
    except ce.InputError as error:
        return error
    return None


def losses_of(stream, update):
    """Return the losses one by one, in the order of the core."""
    shape = stream.preds.shape
    out = np.empty(math.prod(shape[:-1] if stream.task == "multiclass" else shape))
    update(State(), stream, out)
    return out


def here(state, stream, out):
    batch = Batch(stream.preds, stream.target, stream.weight)
    stream.metric()._pipeline.update_batch(state, batch, Outputs(losses=out))


def there(state, stream, out):
    stream.metric()._pipeline.update_on_device(state, Batch(*map(tensor, stream.arrays)), Outputs(losses=out))


def same(found, expected, close):
    """Check that two ledgers have the same counters and nearly the same sums."""
    for cell in range(expected.size):
        ours, theirs = found.cell(cell), expected.cell(cell)
        for name in {*ours, *theirs}:
            if name in COUNTS or "inf" in name:
                assert ours.get(name, 0) == theirs.get(name, 0), (name, ours, theirs)
        for name in ("n", "d"):
            one, other = ours.get(name, 0), theirs.get(name, 0)
            assert abs(one - other) * round(1 / close) <= max(abs(other), 2**1074 * theirs.get("samples", 0))


@given(streams(tasks=TASKS))
def test_each_loss_is_that_of_the_core(stream):
    close = CLOSE[str(stream.preds.dtype)]
    expected, found = losses_of(stream, here), losses_of(stream, there)
    np.testing.assert_allclose(found, expected, rtol=close, atol=1e-37)


@given(streams(tasks=TASKS), st.booleans())
def test_states_are_those_of_the_core(stream, clustered):
    close = CLOSE[str(stream.preds.dtype)]
    ids = {"cluster": np.arange(len(stream)) % 7} if clustered else {}
    expected = stream.metric().update(stream.preds, stream.target, weight=stream.weight, **ids)
    bucket = hash_clusters(ids.get("cluster"))
    found = elsewhere(stream.metric(), *map(tensor, stream.arrays), bucket=bucket)
    same(found._state.total, expected._state.total, close)
    for name in ("cells", "buckets"):
        ours, theirs = getattr(found._state, name), getattr(expected._state, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            same(ours, theirs, close)


@given(streams(tasks=TASKS), st.integers(1, 40))
def test_how_many_rows_are_worked_on_at_a_time_changes_nothing(stream, some):
    whole = elsewhere(stream.metric(), *map(tensor, stream.arrays))
    before, torch_device.PREDS_PER_STEP = torch_device.PREDS_PER_STEP, some
    try:
        assert elsewhere(stream.metric(), *map(tensor, stream.arrays)) == whole
    finally:
        torch_device.PREDS_PER_STEP = before


@given(streams(tasks=TASKS))
def test_what_is_invalid_is_the_error_that_the_core_raises(stream):
    stream.options["invalid"] = "raise"
    here, there = stream.metric(), stream.metric()
    expected = raised(lambda: stream.add_to(here))
    found = raised(lambda: elsewhere(there, *map(tensor, stream.arrays)))
    assert str(found) == str(expected)
    for name in ("argument", "index", "expected", "cause"):
        assert getattr(found, name, None) == getattr(expected, name, None)
    assert there.summary().count == here.summary().count
    if expected:
        assert there == stream.metric()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_confident_predictions_keep_their_digits(kind, dtype):
    logits = np.array([[0.0, -gap] for gap in (1e-3, 1.0, 20.0, 50.0, 300.0)]).astype(dtype)
    logs = logits - np.logaddexp(logits[:, :1], logits[:, 1:])
    rows = {"logits": logits, "log_probs": logs.astype(dtype), "probs": np.exp(logs).astype(dtype)}[kind]
    ones = {"logits": -logits[:, 1], "log_probs": rows[:, 0], "probs": rows[:, 0]}[kind]
    for task, preds, labels in (("multiclass", rows, [0, 1]), ("binary", ones, [1, 0]), ("binary", -ones, [0, 1])):
        if task == "binary" and kind != "logits" and labels == [0, 1]:
            continue  # the row is not one of probabilities
        for label in labels:
            stream = make(task, len(rows), kind=kind, classes=2)
            stream.preds, stream.target = preds, np.full(len(rows), label)
            np.testing.assert_allclose(
                losses_of(stream, there),
                losses_of(stream, here),
                rtol=CLOSE[dtype],
                atol=1e-37 if dtype == "float32" else 0,
            )


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("metric", [ce.MulticlassCrossEntropy, ce.MultilabelCrossEntropy])
def test_any_axis_and_strides_and_gradients_that_are_on_their_way(metric, axis):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(4, 5, 4))).transpose(0, 2).requires_grad_()
    shape = np.delete(x.shape, axis) if metric is ce.MulticlassCrossEntropy else x.shape
    y = torch.from_numpy(rng.integers(0, 2, shape)).int()
    given = metric(kind="logits", axis=axis), x, y, [1.0, 2.0, 0.0, 0.5] if axis else [1.0, 2.0, 0.0, 0.5, 3.0]
    expected = metric(kind="logits", axis=axis).update(*given[1:3], weight=given[3])
    assert elsewhere(*given).compute() == pytest.approx(expected.compute(), rel=1e-13)


def test_one_sample_and_none():
    one = elsewhere(ce.BinaryCrossEntropy(), torch.tensor(0.25, dtype=torch.float64), 1)
    assert one.compute() == pytest.approx(-math.log(0.25), rel=1e-15)
    row = elsewhere(ce.MulticlassCrossEntropy(), torch.tensor([0.25, 0.75]), 1, weight=3.0)
    assert row.compute() == pytest.approx(-math.log(0.75), rel=1e-7)
    assert row.summary().weight == 3
    labels = elsewhere(ce.MultilabelCrossEntropy(), torch.tensor([0.25, 0.75]), [1, 1])
    assert labels.summary().count == 2
    assert elsewhere(ce.MulticlassCrossEntropy(), torch.zeros(0, 3), []) == ce.MulticlassCrossEntropy()
    assert elsewhere(ce.MultilabelCrossEntropy(), torch.zeros(2, 0, 3), np.zeros((2, 0, 3), int)).summary().count == 0


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64])
def test_targets_of_every_kind_from_anywhere(dtype):
    logits, labels = torch.randn(50, 2, dtype=torch.float64), np.arange(50) % 2
    expected = ce.cross_entropy(logits, labels, kind="logits")
    for target in (labels.astype(dtype), labels.tolist(), torch.from_numpy(labels.astype(dtype))):
        metric = elsewhere(ce.MulticlassCrossEntropy(kind="logits"), logits, target)
        assert metric.compute() == pytest.approx(expected, rel=1e-13)
        binary = elsewhere(ce.BinaryCrossEntropy(kind="logits"), logits[:, 1], target)
        assert binary.compute() == pytest.approx(
            ce.binary_cross_entropy(logits[:, 1], labels, kind="logits"), rel=1e-13
        )
    for soft in (torch.eye(2)[labels], torch.eye(2)[labels].bfloat16(), np.eye(2, dtype=dtype)[labels]):
        metric = elsewhere(ce.MulticlassCrossEntropy(kind="logits"), logits, soft)
        assert metric.compute() == pytest.approx(expected, rel=1e-13)


def test_entries_above_1_by_rounding_are_1():
    preds = torch.tensor([[1 + 1e-6, 0.0], [0.25, 0.75], [1 + 1e-3, 0.0]], dtype=torch.float64)
    for cls, target in (
        (ce.MulticlassCrossEntropy, [1, 0, 0]),
        (ce.MulticlassCrossEntropy, torch.tensor([[1 + 1e-6, 0.0], [0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)),
        (ce.BinaryCrossEntropy, [[1, 0], [0, 1], [0, 0]]),
        (ce.BinaryCrossEntropy, torch.full((3, 2), 0.25, dtype=torch.float64)),
    ):
        found = elsewhere(cls(invalid="skip"), preds, target).summary()
        expected = cls(invalid="skip").update(preds, target).summary()
        assert found.mean == pytest.approx(expected.mean, rel=1e-13)
        assert (found.unnormalised, found.floored, found.invalid_range) == (1, expected.floored, 1)
        assert (expected.unnormalised, expected.invalid_range) == (1, 1)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_axes_of_length_one_are_left_out(dtype):
    logits, target = torch.randn(50, dtype=torch.float64), (torch.arange(50) % 2).to(dtype)
    expected = elsewhere(ce.BinaryCrossEntropy(kind="logits"), logits, target)
    assert elsewhere(ce.BinaryCrossEntropy(kind="logits"), logits[:, None], target) == expected
    assert elsewhere(ce.BinaryCrossEntropy(kind="logits"), logits, target[:, None]) == expected


@pytest.mark.parametrize(
    ("preds", "target", "weight", "words"),
    [
        (torch.zeros(3, 2), [0, 1], None, r"target has shape \(2,\) and preds \(3, 2\)"),
        (torch.zeros(3, 2), torch.full((3,), 0.5), None, r"target\[0\] is 0.5"),
        (torch.zeros(3, 2).long(), [0, 1, 0], None, "preds has dtype int64"),
        (torch.zeros(3, 1), [0, 0, 0], None, "one class along axis 1"),
        (torch.zeros(3, 2), [0, 1, 0], [1.0], r"weight has shape \(1,\)"),
        (
            torch.zeros(3, 2),
            torch.zeros(3, dtype=torch.int64, device="meta"),
            None,
            "target is a strided tensor on meta",
        ),
        (torch.zeros(3, 2), [0, 1, 0], torch.zeros(3, device="meta"), "weight is a strided tensor on meta"),
    ],
)
def test_arguments_that_do_not_fit_are_explained(preds, target, weight, words):
    metric = ce.MulticlassCrossEntropy(kind="logits")
    with pytest.raises(ce.InputError, match=words):
        elsewhere(metric, preds, target, weight)
    assert metric == ce.MulticlassCrossEntropy(kind="logits")


def test_tensors_without_numbers_are_explained():
    for metric in (ce.MulticlassCrossEntropy(), ce.MulticlassNormalizedEntropy()):
        with pytest.raises(ce.InputError, match="preds is a strided tensor on meta") as error:
            metric.update(torch.zeros(3, 2, device="meta"), [0, 1, 0])
        assert error.value.argument == "preds"


# ---- the public interface ----


class Far:
    """The visible attributes of a tensor on another device."""

    def __init__(self, tensor):
        self._tensor, self.shape, self.dtype = tensor, tensor.shape, tensor.dtype

    def __array__(self, dtype=None, copy=None):
        raise arrays.OnDevice("preds", "is elsewhere")

    def detach(self):
        return self._tensor


ROWS = torch.from_numpy(np.random.default_rng(1).dirichlet(np.ones(3), 60))
LABELS = np.arange(60) % 3


def test_metrics_and_functions_take_it():
    by, far, p = LABELS.tolist(), Far(ROWS), ROWS[:, 0]
    for fed in (
        lambda x: ce.MulticlassCrossEntropy().update(x, LABELS, cluster=by).compute(),
        lambda x: ce.MulticlassCrossEntropy()(x, torch.from_numpy(LABELS)),
        lambda x: ce.MulticlassNormalizedEntropy().update(x, LABELS).compute(),
        lambda x: list(ce.Grouped(ce.MulticlassCrossEntropy()).update(x, LABELS, by=by).compute().values()),
        lambda x: [each.mean for each in ce.MulticlassCrossEntropy(per_class=True).update(x, LABELS).per_class()],
        lambda x: ce.cross_entropy(x, LABELS, reduction="sum"),
        lambda x: ce.cross_entropy(x, LABELS, reduction="none"),
        lambda x: ce.multilabel_cross_entropy(x, np.eye(3)[LABELS], reduction="none", axis=0).ravel(),
    ):
        assert fed(far) == pytest.approx(fed(ROWS), rel=1e-13)
    for fed in (
        lambda x: ce.NormalizedEntropy().update(x, LABELS == 0).compute(),
        lambda x: ce.NormalizedEntropy().update(x, torch.from_numpy(LABELS == 0).double()).compute(),
        lambda x: ce.GANCrossEntropy().update(real=x, fake=x).compute(),
        lambda x: ce.binary_cross_entropy(x, LABELS == 0),
    ):
        assert fed(Far(p)) == pytest.approx(fed(p), rel=1e-13)


def test_samples_one_by_one_are_those_of_the_core():
    found, samples, by = ce.Grouped(ce.MulticlassCrossEntropy()), Samples(), (LABELS * 7).tolist()
    found.metric._pipeline.update_on_device(State(), Batch(ROWS, LABELS), Outputs(samples=samples))
    assert samples.samples == 60
    expected = ce.Grouped(ce.MulticlassCrossEntropy()).update(ROWS, LABELS, by=by)
    far = ce.Grouped(ce.MulticlassCrossEntropy()).update(Far(ROWS), LABELS, by=by)
    assert far.keys() == expected.keys()
    for key, summary in expected.summary().items():
        assert far.summary()[key].mean == pytest.approx(summary.mean, rel=1e-13)


def test_a_gradient_is_not_for_it():
    with pytest.raises(ce.InputError, match="preds is elsewhere"):
        ce.cross_entropy(Far(ROWS), LABELS, grad=True)
    with pytest.raises(ce.InputError, match="preds is elsewhere"):
        ce.cross_entropy(Far(ROWS), LABELS, grad=True, out=np.zeros((60, 3)))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_sequences_are_the_same_elsewhere(kind, odd):
    corpus = Corpus(0, 30, kind=kind, ignored=True, odd=odd)
    metric = corpus.metric(ce.Perplexity, per_position=True, tail=True)
    padding = np.zeros(len(corpus.target), dtype=np.uint8)
    padding[::7] = PADDING
    ratios, bucket = ((1, corpus.words.astype(float), None),), hash_clusters(corpus.document)
    layout = {"offsets": corpus.offsets, "status": padding, "ratios": ratios}
    here = metric.copy()
    here._pipeline.update_batch(here._state, Batch(corpus.preds, corpus.target, **layout), bucket=bucket)
    there = elsewhere(metric, tensor(corpus.preds), tensor(corpus.target), bucket=bucket, **layout)
    assert_close(there.summary(), here.summary())
    assert_close(there.per_word(), here.per_word())
    assert (here.per_word().skipped > 0) == odd
    for one, other in zip(there.per_position(), here.per_position(), strict=True):
        assert_close(one, other)
    assert there.tail().count == here.tail().count


def test_divergence_is_the_same_elsewhere():
    rng = np.random.default_rng(1)
    preds, target = rng.normal(size=(40, 5)), rng.dirichlet(np.ones(5), 40)
    here = ce.MulticlassCrossEntropy(kind="logits", divergence=True).update(preds, target).summary()
    there = elsewhere(
        ce.MulticlassCrossEntropy(kind="logits", divergence=True), tensor(preds), tensor(target)
    ).summary()
    assert_close(there, here)
    assert there.divergence == pytest.approx(here.divergence, rel=1e-10)


def assert_close(found, expected):
    assert (found.count, found.seen, found.samples) == (expected.count, expected.seen, expected.samples)
    if expected.count:
        assert found.mean == pytest.approx(expected.mean, rel=1e-12)
