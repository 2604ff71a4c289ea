"""Arrow columns as NumPy arrays and masks of their nulls, without copying where the layout allows."""

from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError

Array = np.ndarray[Any, Any]


def is_list(type_: Any) -> bool:
    checks = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    return any(check(type_) for check in checks)


def inner(type_: Any) -> Any:
    """The type of what stands in lists or a dictionary."""
    return type_.value_type if is_list(type_) or pa.types.is_dictionary(type_) else type_


def is_text(type_: Any) -> bool:
    """Whether this is text, a dictionary or lists of text."""
    name = str(inner(inner(type_)))
    return name.removeprefix("large_").removesuffix("_view") in ("string", "binary")


def numbers(array: Any, row: int = 0) -> tuple[Array, Array | None]:
    """Numbers of a column, with lists, which are of one length, along further axes; and the mask of their nulls.

    ``row`` is the number of the first row, for the error.
    """
    shape = getattr(array.type, "shape", None)  # of tensors
    order = getattr(array.type, "permutation", None)
    if order and list(order) != sorted(order):  # of which pyarrow itself has several readings
        raise DataError(f"it holds tensors whose axes are permuted, {list(order)}")
    array = getattr(array, "storage", array)
    if is_list(array.type):
        values, null = matrix(array, None, row)
        if shape is not None:
            return values.reshape(-1, *shape), None if null is None else null.reshape(-1, *shape)
        return values, null
    checks = pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null, pa.types.is_boolean
    if not any(check(inner(array.type)) for check in checks):
        raise DataError(f"it holds {array.type}")
    return flat(array)


def flat(array: Any) -> tuple[Array, Array | None]:
    """Numbers of a column without lists, and the mask of its nulls (None where none is)."""
    array = getattr(array, "storage", array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    if pa.types.is_null(array.type):
        return np.zeros(len(array)), np.ones(len(array), bool)
    null = ~_bits(array, 0) if array.null_count else None
    if pa.types.is_boolean(array.type):
        return _bits(array, 1), null
    dtype = _dtype(array.type)
    if not len(array):
        return np.empty(0, dtype), null
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize), null


def _dtype(type_: Any) -> np.dtype[Any]:
    """NumPy's dtype of an Arrow type. Arrow's own answer imports pandas in older versions, so not of numbers."""
    if pa.types.is_floating(type_):
        return np.dtype(f"f{type_.bit_width // 8}")
    if pa.types.is_integer(type_):
        return np.dtype(f"{'i' if pa.types.is_signed_integer(type_) else 'u'}{type_.bit_width // 8}")
    found: np.dtype[Any] = np.dtype(type_.to_pandas_dtype())
    return found


def _bits(array: Any, buffer: int) -> Array:
    """Bits of one of an array's buffers, as bools. (``to_numpy`` would import pandas.)"""
    start, stop = array.offset, array.offset + len(array)
    packed = np.frombuffer(array.buffers()[buffer], np.uint8)[start // 8 : (stop + 7) // 8]
    bits = np.unpackbits(packed, bitorder="little")[start % 8 :]
    return bits[: len(array)].view(np.bool_)


def entries(lists: Any) -> tuple[Any, Array, Array | None]:
    """What stands in the lists of a column, one after another; how many in each, none in those that
    are null; and the mask of these (None where none is)."""
    null = ~_bits(lists, 0) if lists.null_count else None
    if pa.types.is_fixed_size_list(lists.type):
        lengths = np.full(len(lists), lists.type.list_size)
    else:
        lengths = np.diff(flat(lists.offsets)[0].astype(np.int64)) if len(lists) else np.empty(0, np.int64)
    if null is not None:
        lengths[null] = 0
    return lists.flatten(), lengths, null  # which leaves out lists that are null


class RaggedError(DataError):
    """A list of another length than those before, number ``index`` of its column."""

    def __init__(self, row: int, index: int, found: str) -> None:
        super().__init__(found, row=row + index)
        self.index = index


def matrix(array: Any, width: int | None, row: int) -> tuple[Array, Array | None]:
    """Numbers of a list column, the lists along the second axis, and their nulls. ``width`` is their
    length where it is known; ``row`` is the number of the first row, for the error."""
    inside, lengths, missing = entries(array)
    valid = None if missing is None else ~missing
    if valid is not None:
        lengths = lengths[valid]
    width = width or (int(lengths[0]) if lengths.size else 2)  # a stand-in among nulls alone
    odd = np.flatnonzero((lengths != width) | (lengths == 0))
    if odd.size:
        index = int(odd[0] if valid is None else np.flatnonzero(valid)[odd[0]])
        others = f" where others have {width}" if width else ""
        raise RaggedError(row, index, f"a list of {lengths[odd[0]]}{others}")
    values, null = numbers(inside)
    values = values.reshape(-1, width, *values.shape[1:])
    null = None if null is None else null.reshape(values.shape)
    if valid is None:
        return values, null
    shape = len(array), *values.shape[1:]
    full, mask = np.zeros(shape, values.dtype), np.ones(shape, bool)
    full[valid], mask[valid] = values, False if null is None else null
    return full, mask
