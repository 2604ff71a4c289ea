"""Arrays and tensors that results are written to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.inputs.arrays import EXPECTED, convert, to_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence


def empty_like(source: Any, converted: Any, name: str = "preds") -> Any:
    """Return an uninitialised array like ``source``, whose conversion is known: a tensor for a tensor."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        to_numpy(converted, name)  # raises an InputError if results cannot have this dtype or device
        return torch.empty_like(source, requires_grad=False)
    model = np.asarray(source) if isinstance(source, np.ndarray) else convert(converted, name).values
    return np.empty_like(model, subok=False)


def output_array(out: Any, others: Sequence[tuple[str, Any]]) -> Any:
    """Return ``out`` after checks, or an array like it if it shares memory with one of the other arguments."""
    torch = sys.modules.get("torch")
    is_tensor = torch is not None and isinstance(out, torch.Tensor)
    if not is_tensor and not isinstance(out, np.ndarray):
        raise InputError("out", f"is {short_repr(out)}", f"{EXPECTED['out']} to write to")
    array, _ = to_numpy(out, "out")
    if is_tensor and array.size and array.ctypes.data != out.data_ptr():
        raise InputError("out", "is a view of negated numbers", "a tensor to write to")
    if not array.flags.writeable:
        raise InputError("out", "is read-only", "an array to write to")
    if any(size > 1 and stride == 0 for size, stride in zip(array.shape, array.strides, strict=True)):
        raise InputError("out", "has overlapping memory (zero stride)", "an array to write to")
    for name, other in others:
        if other is not None and np.may_share_memory(array, convert(other, name).values):
            return empty_like(out, out, "out")
    return out


def copy_to(source: Any, out: Any) -> None:
    """Copy all numbers of an array or tensor to another one of the same shape and dtype."""
    np.copyto(to_numpy(out, "out")[0], to_numpy(source, "out")[0])
