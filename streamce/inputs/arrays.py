"""Conversion of any supported input to NumPy arrays, or an InputError that explains why it cannot be converted.

The compiled core reads plain NumPy arrays and numbers itself. All other inputs come here first.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from streamce._support.short_repr import reason, short_repr
from streamce.errors import SKIP_NULLS, InputError
from streamce.inputs import interop

Array = np.ndarray[Any, np.dtype[Any]]
Index = tuple[int, ...]

REAL = "float64, float32, float16 or bfloat16"
# What each argument must be. An argument that is not listed is a sequence of numbers.
EXPECTED = {
    "preds": f"an array of {REAL}",
    "losses": f"an array of {REAL}",
    "log_probs": f"an array of {REAL}",
    "target": "an array of integers, bool or real numbers",
    "weight": "an array of real numbers",
    "out": f"an array of {REAL}",
    "input_lengths": "an array of integers",
    "target_lengths": "an array of integers",
}
NUMBERS = "a sequence of numbers"
# Array arguments of some metrics' updates, other than preds, target and weight.
OTHER_ARRAYS = ("input_lengths", "lengths", "mask", "n_bytes", "n_words", "offsets", "target_lengths")


class ArrayData(NamedTuple):
    """A converted input.

    Attributes
    ----------
    values : ndarray
    is_bfloat16 : bool
        Whether ``values`` holds bfloat16 as uint16, because NumPy has no such dtype.
    null_mask : ndarray of bool or None
        Mask of nulls in the shape of ``values``, which are 0 there. None if there are no nulls.
    """

    values: Array
    is_bfloat16: bool = False
    null_mask: Array | None = None


class RaggedLists(InputError):
    """Error about lists of different lengths, for callers that accept them in another form."""


class OnDevice(InputError):
    """Error that predictions are on a device other than the CPU, for callers that cannot compute losses there."""


def convert(source: Any, name: str) -> ArrayData:
    """Return an input as NumPy arrays, without a copy if its layout allows."""
    if isinstance(source, ArrayData):
        return source
    torch = sys.modules.get("torch")  # already imported if the source is a tensor
    try:
        interop.check_memory(source)
        if torch is not None and isinstance(source, torch.Tensor):
            return checked(ArrayData(*_tensor(source, name, torch)), name)
        masked = None if isinstance(source, (np.ndarray, list, tuple)) else interop.convert(source)
        if masked is None:
            array = np.asanyarray(source)  # it keeps a mask that __array__ may return
            masked = np.asarray(array), None
            check_unmasked(source, name, "a value")
            check_unmasked(array, name, "a value")
        if isinstance(source, (list, tuple)):
            masked = _part_nulls(masked[0])
    except (InputError, MemoryError):
        raise
    except Exception as error:  # any exception of a third-party array
        kind = RaggedLists if isinstance(source, (list, tuple)) and _is_ragged(source) else InputError
        raise kind(name, f"is not an array ({reason(error)})", EXPECTED.get(name, NUMBERS)) from error
    return checked(ArrayData(masked[0], False, masked[1]), name)


def to_numpy(source: Any, name: str) -> tuple[Array, bool]:
    """Return an input without nulls as a NumPy array, and whether it holds bfloat16 as uint16."""
    data = convert(source, name)
    if data.null_mask is not None and data.null_mask.any():
        raise null_entry(name, first_index(data.null_mask))
    return data.values, data.is_bfloat16


def convert_with_shape(source: Any, name: str) -> tuple[Any, tuple[int, ...]]:
    """Return an input in the form that the pipeline reads, and its shape."""
    try:
        data = convert(source, name)
    except OnDevice:
        return source, tuple(source.shape)
    return (data if data.is_bfloat16 or data.null_mask is not None else data.values), data.values.shape


def materialize(source: Any, name: str) -> Any:
    """Convert an argument, so that the pipeline can read it several times.

    Conversion may run the caller's code, which may change other arguments. So each entry point converts all of them
    before it reads the memory of any. NumPy arrays, numbers, None and tensors on another device are returned unchanged.
    """
    torch = sys.modules.get("torch")
    is_on_device = torch is not None and isinstance(source, torch.Tensor) and source.device.type != "cpu"
    if source is None or is_on_device or type(source) in (np.ndarray, float, int):
        return source
    try:
        return convert(source, name)
    except OnDevice:
        return source


def materialize_others(others: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of an update with its arrays (OTHER_ARRAYS) converted."""
    return {name: materialize(value, name) if name in OTHER_ARRAYS else value for name, value in others.items()}


def bfloat16_to_float32(values: Any, is_bfloat16: bool) -> Any:
    """Return bfloat16, which is held as uint16, as float32. Return other values unchanged."""
    return (np.asarray(values, dtype=np.uint32) << np.uint32(16)).view(np.float32) if is_bfloat16 else values


# ---- checks ----


def check_memory(source: Any, name: str) -> None:
    """Raise an InputError if a source describes memory that does not exist."""
    try:
        interop.check_memory(source)
    except ValueError as error:
        raise InputError(name, f"is not an array ({error})", EXPECTED[name]) from error


def check_unmasked(source: Any, name: str, expected: str) -> None:
    """Raise an InputError if an array has masked entries, because ``np.asarray`` ignores the mask."""
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(source, (list, tuple)) and masked.MaskedArray in set(map(type, source)):
        source = masked.array(source)
    if masked is not None and masked.is_masked(source):
        raise InputError(name, "is masked", expected, index=first_index(masked.getmaskarray(source)))


def checked(data: ArrayData, name: str) -> ArrayData:
    """Return converted input whose dtype is supported, or raise an InputError."""
    values, is_bfloat16, null_mask = data
    if values.dtype.name == "bfloat16":
        return ArrayData(values.view(np.dtype(np.uint16).newbyteorder(values.dtype.byteorder)), True, null_mask)
    if values.dtype.kind == "O":
        raise _objects(values, name)
    if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        raise unsupported_dtype(values, name)
    if null_mask is not None and null_mask.all() and name == "target":
        values = np.zeros(values.shape, np.int8)  # nulls have no dtype, and later batches may hold integer labels
    return ArrayData(values, is_bfloat16, null_mask)


def null_entry(name: str, index: Index) -> InputError:
    """Return the error for a null."""
    hint = SKIP_NULLS if name == "log_probs" else ""
    return InputError(name, "is null", "a value", hint=hint, index=index, cause="invalid_null")


def unsupported_dtype(array: Any, name: str) -> InputError:
    """Return the error for an array of a dtype that is not supported."""
    dtype = getattr(array, "dtype", type(array).__name__)
    is_text = getattr(dtype, "kind", "") in "UST"
    found = "has strings" if is_text else f"has dtype {short_repr(dtype) if dtype is None else dtype}"
    return InputError(name, found, EXPECTED.get(name, NUMBERS))


def first_index(mask: Array) -> Index:
    """Return the index of the first True."""
    return unravel(int(np.argmax(mask)), mask.shape)


def first_index_in(mask: Array, key: tuple[int | slice, ...]) -> Index:
    """Return the index of the first True of ``mask[key]``, counted in all of ``mask``."""
    inner = iter(first_index(mask[key]))
    return (*(next(inner) + each.start if isinstance(each, slice) else each for each in key), *inner)


def unravel(flat: int, shape: tuple[int, ...]) -> Index:
    """Return the index of an entry from its number in the order of C."""
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


def without_unit_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the axes of length 1 after the first, so that (N, 1) is (N,)."""
    return (*shape[:1], *(length for length in shape[1:] if length != 1))


def _part_nulls(array: Array) -> tuple[Array, Array | None]:
    """Split an array of objects into numbers and a mask of nulls. NumPy makes such an array of a list with None.

    An array without nulls, or with objects that are not numbers, is returned unchanged.
    """
    if array.dtype.kind != "O":
        return array, None
    null_mask = np.frompyfunc(_is_null, 1, 1)(array).astype(np.bool_)
    if not null_mask.any():
        return array, None
    known = np.array(array[~null_mask].tolist())  # only these determine the dtype
    if known.ndim != 1:
        return array, None
    values = np.zeros(array.shape, known.dtype)
    values[~null_mask] = known
    return values, null_mask


def _is_ragged(lists: Any) -> bool:
    """Return whether lists in a list, at any depth, have different lengths."""
    try:
        lengths = {len(each) for each in lists}
    except Exception:  # a number, or any exception of a third-party __len__
        return False
    return len(lengths) > 1 or any(isinstance(each, (list, tuple)) and _is_ragged(each) for each in lists)


def _is_null(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType"  # the type of pandas.NA


def _tensor(tensor: Any, name: str, torch: Any) -> tuple[Array, bool]:
    """Return the memory of a torch tensor. Tensors on another device are copied, except predictions."""
    is_dense = tensor.layout is torch.strided and not tensor.is_nested
    device = tensor.device.type
    if not is_dense or device == "meta" or (device != "cpu" and name in ("preds", "out")):
        layout = str(tensor.layout).removeprefix("torch.") if is_dense or not tensor.is_nested else "nested"
        expected = "a dense tensor on the CPU, such as " + ("tensor.cpu()" if is_dense else "tensor.to_dense()")
        kind = OnDevice if is_dense and device != "meta" else InputError
        raise kind(name, f"is a {layout} tensor on {tensor.device}", expected)
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16), True
    return tensor.numpy(force=True), False  # copies only a tensor with pending conjugation or negation


def _objects(array: Array, name: str) -> InputError:
    """Return the error for the first entry of an array of objects that is not a number."""
    expected = EXPECTED.get(name, NUMBERS)
    if not array.shape:
        return InputError(name, f"is {short_repr(array[()])}", expected, value=array[()])
    for index in np.ndindex(array.shape):
        value = array[index]
        if isinstance(value, (int, np.integer)) and not -(2**63) <= value < 2**64:
            return InputError(
                name,
                f"is {short_repr(value)}",
                "an integer that fits int64",
                index=index,
                value=value,
                cause="invalid_label",
            )
        if not isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
            return InputError(name, f"is {short_repr(value)}, an object", expected, index=index, value=value)
    return unsupported_dtype(array, name)
