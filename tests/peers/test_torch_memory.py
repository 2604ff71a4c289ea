"""Tensors whose storage was freed or resized raise an InputError at any argument, and their memory is not read."""

import numpy as np
import pytest
import torch

import streamce as ce
from streamce.core.losses.batch import Batch

ROWS = 8


def freed(values, bytes_left=0):
    tensor = torch.as_tensor(values).clone()
    tensor.untyped_storage().resize_(bytes_left)
    return tensor


def strided(values):
    """Return a tensor whose storage is large enough for its numbers, but not for its strides."""
    tensor = torch.as_tensor(values).clone().flatten()
    tensor = tensor.repeat_interleave(2)[::2]
    tensor.untyped_storage().resize_(tensor.numel() * tensor.element_size())
    return tensor.reshape(np.shape(values))


def behind(values):
    """Return a tensor whose storage ends before the tensor begins."""
    tensor = torch.cat([torch.as_tensor(values)] * 2)[len(values) :]
    tensor.untyped_storage().resize_(tensor.numel() * tensor.element_size())
    return tensor


P, Y, ONES = [0.5] * ROWS, [1] * ROWS, [1.0] * ROWS
MAKERS = [freed, lambda values: freed(values, 9), behind, strided]
IDS = ["freed", "9 bytes", "behind", "strided"]


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x, x], lambda x: [[x]]], ids=["", "list", "lists"])
@pytest.mark.parametrize("make", MAKERS, ids=IDS)
@pytest.mark.parametrize("argument", ["preds", "target", "weight", "cluster"])
def test_arguments(argument, make, wrap):
    given = {"preds": P, "target": Y, "weight": ONES, "cluster": Y}
    metric = ce.BinaryCrossEntropy().update(**given)
    before = metric.to_bytes()
    given[argument] = wrap(make(given[argument]))
    with pytest.raises(ce.InputError) as raised:
        metric.update(**given)
    assert raised.value.argument == argument
    assert metric.to_bytes() == before
    given.pop("cluster")
    for reduction in ("mean", "none") if argument != "cluster" else ():
        with pytest.raises(ce.InputError):
            ce.binary_cross_entropy(**given, reduction=reduction, grad=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(dtype):
    tensor = torch.full((ROWS,), 0.5, dtype=dtype)
    tensor.untyped_storage().resize_(ROWS * tensor.element_size() - 1)
    with pytest.raises(ce.InputError, match="bytes and its shape needs"):
        ce.MeanLoss().update(tensor)


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_keys_and_moments(make):
    for argument in ("by", "by_time"):
        grouped = ce.Grouped(ce.MeanLoss(), period="1h")
        with pytest.raises(ce.InputError):
            grouped.update(P, **{argument: make(Y)})
        assert len(grouped) == 0


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_sequences_and_utterances(make):
    preds, target = np.full((ROWS, 2, 2), 0.5), np.ones((ROWS, 2), int)
    for argument in ("lengths", "n_words", "n_bytes"):
        with pytest.raises(ce.InputError):
            ce.SequenceCrossEntropy().update(preds, target, **{argument: make(Y)})
    with pytest.raises(ce.InputError):
        ce.SequenceCrossEntropy().update(preds, target, mask=make(target))
    with pytest.raises(ce.InputError):
        ce.SequenceCrossEntropy().update(preds.reshape(-1, 2), target.reshape(-1), offsets=make([0, 2, 2 * ROWS]))
    for argument in ("input_lengths", "target_lengths"):
        lengths = {"input_lengths": [2] * ROWS, "target_lengths": Y} | {argument: make(Y)}
        with pytest.raises(ce.InputError):
            ce.CTCCrossEntropy(layout="BTC").update(preds, target, **lengths)


@pytest.mark.parametrize("make", MAKERS, ids=IDS)
def test_other_doors(make):
    with pytest.raises(ce.InputError):
        ce.binary_cross_entropy(P, Y, grad=True, out=make(P))
    with pytest.raises(ce.InputError):
        ce.MulticlassCrossEntropy(class_weight=make(ONES))
    with pytest.raises(ce.InputError):
        ce.Paired(ce.MeanLoss()).update(P, make(P))
    with pytest.raises(ce.InputError):
        ce.GANCrossEntropy().update(real=make(P), fake=P)
    with pytest.raises(ce.InputError):
        ce.shift_by_one(make(np.full((ROWS, 2), 0.5)), np.ones(ROWS, int))
    for given in ({"y_true": make(Y)}, {"y_proba": make(P)}, {"sample_weight": make(ONES)}, {"labels": make(Y)}):
        with pytest.raises(ce.InputError):
            ce.log_loss(**({"y_true": [*Y[:-1], 0], "y_proba": P} | given))


@pytest.mark.parametrize("make", [freed, lambda values: freed(values, 9)], ids=IDS[:2])
@pytest.mark.parametrize("argument", ["preds", "target", "weight"])
def test_losses_that_torch_computes(argument, make):
    """The CPU stands for a GPU here."""
    rows = [[0.5, 0.5]] * ROWS
    given = {"preds": torch.tensor(rows), "target": torch.tensor(rows), "weight": torch.tensor(ONES)}
    metric = ce.MulticlassCrossEntropy()
    metric._pipeline.update_on_device(metric._state, Batch(**given))
    before = metric.to_bytes()
    given[argument] = make(given[argument])
    with pytest.raises(ce.InputError):
        metric._pipeline.update_on_device(metric._state, Batch(**given))
    assert metric.to_bytes() == before


def test_an_error_does_not_read_what_it_shows():
    for shown in (freed(P), [freed(P)], {"a": freed(P)}):
        with pytest.raises(ce.InputError, match=r"kind is a (Tensor|list|dict)"):
            ce.BinaryCrossEntropy(kind=shown)


def test_a_storage_that_is_freed_by_another_argument():
    """A tensor that has been read keeps its storage."""

    class Freeing:
        def __array__(self, dtype=None, copy=None):
            preds.untyped_storage().resize_(0)
            return np.array(Y)

    preds = torch.tensor(P)
    with pytest.raises(ce.InputError, match="not resizable"):
        ce.BinaryCrossEntropy().update(preds, Freeing())


def test_views_that_are_sound():
    """Views at the end of a storage, or with strides of 0, have the bytes that they need."""
    whole = torch.linspace(0.1, 0.9, 3 * ROWS)
    for view in (
        whole[-1:],
        whole[::3],
        whole[2::3],
        whole.expand(2, 3 * ROWS),
        whole[:0],
        whole[5],
        whole.reshape(3, -1).T,
    ):
        assert ce.MeanLoss().update(view) == ce.MeanLoss().update(view.numpy().copy())


def test_an_error_does_not_print_the_memory_of_a_storage():
    with pytest.raises(ce.InputError) as error:
        ce.BinaryCrossEntropy(eps=torch.tensor(P).untyped_storage())
    assert "is a UntypedStorage" in str(error.value)
