"""Arrays of torch and JAX give the bits of NumPy arrays without a copy, as the table in docs/INPUTS.md says."""

import input_table
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest
import torch

import streamce as ce
from streamce.core.losses.batch import Batch
from streamce.inputs import arrays

ROWS = [[0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.125, 0.25, 0.625]]
LABELS = [1, 0, 1, 2]
PRODUCERS = {
    "`torch.Tensor`": torch.tensor,
    "`torch.Tensor` that needs a gradient": lambda v: torch.tensor(v, requires_grad=True),
    "`torch.Tensor`, bfloat16": lambda v: torch.tensor(v, dtype=torch.bfloat16),
    "`jax.Array`": jnp.array,
    "`jax.Array`, bfloat16": lambda v: jnp.array(v, jnp.bfloat16),
}


@pytest.mark.parametrize("make", PRODUCERS.values(), ids=PRODUCERS)
def test_the_bits_are_those_of_numpy_and_nothing_is_copied(make):
    source, rows = make(ROWS), np.array(ROWS, np.float32)  # these numbers are exact in bfloat16
    assert ce.MulticlassCrossEntropy().update(source, LABELS) == ce.MulticlassCrossEntropy().update(rows, LABELS)
    assert ce.MulticlassCrossEntropy().update(rows, source) == ce.MulticlassCrossEntropy().update(rows, rows)
    one, other = arrays.convert(source, "preds"), arrays.convert(source, "preds")
    assert np.shares_memory(one.values, other.values)
    assert one.is_bfloat16 == ("bfloat16" in str(source.dtype))


@pytest.mark.parametrize("make", [torch.tensor, jnp.array])
def test_integers_are_labels_and_bools_outcomes(make):
    expected = ce.MulticlassCrossEntropy().update(ROWS, LABELS, weight=[1.0, 2.0, 0.5, 1.0])
    assert ce.MulticlassCrossEntropy().update(ROWS, make(LABELS), weight=make([1.0, 2.0, 0.5, 1.0])) == expected
    outcomes = ce.BinaryCrossEntropy().update([0.5, 0.25], make([True, False]))
    assert outcomes == ce.BinaryCrossEntropy().update([0.5, 0.25], [1, 0])


def test_nulls_beside_a_tensor_whose_losses_are_worked_out_elsewhere():
    # As with predictions on a GPU, targets and weights may be on any device.
    target, weight = [1, None, 1, 2], [1.0, 1.0, None, 1.0]
    expected = ce.MulticlassCrossEntropy(invalid="skip").update(ROWS, target, weight=weight).summary()
    metric = ce.MulticlassCrossEntropy(invalid="skip")
    batch = Batch(torch.tensor(ROWS), pa.array(target), pa.array(weight))
    metric._pipeline.update_on_device(metric._state, batch)
    found = metric.summary()
    assert (found.count, found.invalid_null) == (expected.count, expected.invalid_null) == (2, 2)
    assert found.mean == pytest.approx(expected.mean, rel=1e-6)
    strict = ce.MulticlassCrossEntropy()
    with pytest.raises(ce.InputError, match=r"^target\[1\] is null"):
        strict._pipeline.update_on_device(strict._state, Batch(torch.tensor(ROWS), pa.array(target)))


class Pack:
    """A tensor with DLPack only."""

    def __init__(self, tensor):
        self._tensor = tensor

    def __dlpack_device__(self):
        return self._tensor.__dlpack_device__()

    def __dlpack__(self, **asked):
        return self._tensor.__dlpack__(**asked)


@pytest.mark.parametrize("make", [torch.tensor, jnp.array])
def test_dlpack_of_both(make):
    source = Pack(make(ROWS))
    rows = np.array(ROWS, np.float32)
    assert ce.MulticlassCrossEntropy().update(source, LABELS) == ce.MulticlassCrossEntropy().update(rows, LABELS)
    with pytest.raises(ce.InputError, match=r"^preds is not an array"):  # NumPy has no bfloat16
        ce.MulticlassCrossEntropy().update(Pack(torch.tensor(ROWS, dtype=torch.bfloat16)), LABELS)


def test_the_table_has_what_is_tested():
    rows = {name: cells for name, cells in input_table.rows("Arrays").items() if name.startswith(("`torch", "`jax"))}
    assert list(rows) == list(PRODUCERS)
    assert all((copied, nulls) == ("no", "") for _, copied, nulls in rows.values())
