"""Conversion of Arrow columns to NumPy arrays and masks of nulls, without copies if the layout allows."""

import contextlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError

Array = np.ndarray[Any, Any]

TOO_FINE = r"(\.\d{6})\d+"  # digits of a second beyond microseconds


def is_list(type_: Any) -> bool:
    """Return whether a type is a list with one value type, of any kind."""
    checks = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    return any(check(type_) for check in checks)


def inner(type_: Any) -> Any:
    """Return the type of the values in lists or a dictionary; another type unchanged."""
    return type_.value_type if is_list(type_) or pa.types.is_dictionary(type_) else type_


def is_text(type_: Any) -> bool:
    """Return whether a type is text, or a dictionary or lists of text."""
    name = str(inner(inner(type_)))
    return name.removeprefix("large_").removesuffix("_view") in ("string", "binary")


def is_boolean(type_: Any) -> bool:
    """Return whether a type is true or false."""
    return bool(pa.types.is_boolean(type_))


def is_integer(type_: Any) -> bool:
    """Return whether a type is a whole number, of any width."""
    return bool(pa.types.is_integer(type_))


def is_number(type_: Any) -> bool:
    """Return whether a type is a number of any kind, true or false, or nothing but null."""
    checks = pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null, pa.types.is_boolean
    return any(check(type_) for check in checks)


def numbers(array: Any, row: int = 0) -> tuple[Array, Array | None]:
    """Return the numbers of a column and the mask of nulls. Lists, all of one length, add an axis.

    ``row`` is the number of the first row, for the error.
    """
    shape = getattr(array.type, "shape", None)  # of tensors
    order = getattr(array.type, "permutation", None)
    if order and list(order) != sorted(order):  # because functions of pyarrow interpret it differently
        raise DataError(f"it holds tensors whose axes are permuted, {list(order)}")
    array = getattr(array, "storage", array)
    if is_list(array.type):
        values, null = matrix(array, None, row)
        if shape is not None:
            return values.reshape(-1, *shape), None if null is None else null.reshape(-1, *shape)
        return values, null
    if not is_number(inner(array.type)):
        raise DataError(f"it holds {array.type}")
    return flat(array)


def flat(array: Any) -> tuple[Array, Array | None]:
    """Return the numbers of a column without lists, and the mask of nulls (None without nulls)."""
    array = getattr(array, "storage", array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return np.zeros(len(array)), np.ones(len(array), bool)
    null = ~_bits(array, 0) if array.null_count else None
    if pa.types.is_decimal(array.type):
        return _decimals(array, null), null
    if pa.types.is_boolean(array.type):
        return _bits(array, 1), null
    dtype = _dtype(array.type)
    if not len(array):
        return np.empty(0, dtype), null
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize), null


def _decimals(array: Any, null: Array | None) -> Array:
    """Return decimals as the nearest float64. Arrow's own cast is wrong in the last bit for a third of them."""
    bits, scale = array.type.bit_width, array.type.scale
    word = np.dtype(np.int32 if bits == 32 else np.int64)
    words = bits // (8 * word.itemsize)  # words in a decimal; the lowest comes first
    if not len(array):
        return np.empty(0)
    start = array.offset * words * word.itemsize
    unscaled = np.frombuffer(array.buffers()[1], word, len(array) * words, start).reshape(-1, words)
    lowest = unscaled[:, 0]
    # The quotient of two exact numbers is rounded once. 10^22 is the largest exact power of ten.
    exact = (np.abs(lowest) <= 1 << 53) & (unscaled[:, 1:] == (lowest >> 63)[:, None]).all(axis=1)
    exact &= 0 <= scale <= 22
    doubles: Array = lowest / 10.0 ** min(max(scale, 0), 22)
    rest = ~exact if null is None else ~exact & ~null
    if rest.any():  # Arrow reads text as the nearest float64
        doubles[rest] = flat(array.filter(pa.array(rest)).cast(pa.string()).cast(pa.float64()))[0]
    return doubles


def _dtype(type_: Any) -> np.dtype[Any]:
    """Return NumPy's dtype of an Arrow type. For numbers it does not ask Arrow, whose older versions import pandas."""
    if pa.types.is_floating(type_):
        return np.dtype(f"f{type_.bit_width // 8}")
    if pa.types.is_integer(type_):
        return np.dtype(f"{'i' if pa.types.is_signed_integer(type_) else 'u'}{type_.bit_width // 8}")
    dtype: np.dtype[Any] = np.dtype(type_.to_pandas_dtype())
    return dtype


def _bits(array: Any, buffer: int) -> Array:
    """Return the bits of one of an array's buffers as bools. ``to_numpy`` would import pandas."""
    start, stop = array.offset, array.offset + len(array)
    packed = np.frombuffer(array.buffers()[buffer], np.uint8)[start // 8 : (stop + 7) // 8]
    bits = np.unpackbits(packed, bitorder="little")[start % 8 :]
    return bits[: len(array)].view(np.bool_)


def entries(lists: Any) -> tuple[Any, Array, Array | None]:
    """Return the values of the lists of a column, the length of each list, and the mask of null lists.

    Null lists have length 0. The mask is None if there are none.
    """
    null = ~_bits(lists, 0) if lists.null_count else None
    if pa.types.is_fixed_size_list(lists.type):
        lengths = np.full(len(lists), lists.type.list_size)
    else:
        lengths = np.diff(flat(lists.offsets)[0].astype(np.int64)) if len(lists) else np.empty(0, np.int64)
    if null is not None:
        lengths[null] = 0
    return lists.flatten(), lengths, null  # flatten() leaves out null lists


class RaggedError(DataError):
    """Lists of a different length than the lists before them. ``indices`` are their numbers in the column."""

    def __init__(self, row: int, indices: Array, length: int, width: int) -> None:
        others = f" where others have {width}" if width else ""
        super().__init__(f"a list of {length}{others}", row=row + int(indices[0]))
        self.indices = indices
        self.length = length


def matrix(array: Any, width: int | None, row: int) -> tuple[Array, Array | None]:
    """Return the numbers of a list column, with the lists along the second axis, and the mask of nulls.

    ``width`` is the length of the lists, if known. ``row`` is the number of the first row, for the error.
    """
    inner_values, lengths, missing = entries(array)
    valid = None if missing is None else ~missing
    if valid is not None:
        lengths = lengths[valid]
    width = width or (int(lengths[0]) if lengths.size else 2)  # any width, if all lists are null
    wrong = np.flatnonzero((lengths != width) | (lengths == 0))
    if wrong.size:
        indices = wrong if valid is None else np.flatnonzero(valid)[wrong]
        raise RaggedError(row, indices, int(lengths[wrong[0]]), width)
    values, null = numbers(inner_values)
    values = values.reshape(-1, width, *values.shape[1:])
    null = None if null is None else null.reshape(values.shape)
    if valid is None:
        return values, null
    shape = len(array), *values.shape[1:]
    full, mask = np.zeros(shape, values.dtype), np.ones(shape, bool)
    full[valid], mask[valid] = values, False if null is None else null
    return full, mask


# ---- text ----


def first_text(text: Any, missing: Sequence[str]) -> str | None:
    """Return the first text of a column that is neither null nor one of the words for missing values."""
    from pyarrow import compute as pc  # here, because it is slow to import

    at = pc.index(_is_missing(text, missing), False).as_py()
    first: str | None = text[at].as_py() if at >= 0 else None
    return first


def text_as_numbers(text: Any, missing: Sequence[str]) -> tuple[Array, Array] | None:
    """Return the integers or else the float64 of a column of text, and the mask of missing values.

    Return None if some text is no number.
    """
    return _cast_text(text, missing, [pa.int64(), pa.float64()])


def text_as_microseconds(text: Any, missing: Sequence[str], first: str) -> tuple[Array, Array] | None:
    """Return the microseconds since 1970 of moments in ISO 8601, and the mask of missing values.

    Return None unless all have a zone or all have none. Finer digits of seconds are dropped. ``first`` is the first
    text that is not missing. The others are mostly like it, and a cast that fails is slow.
    """
    from pyarrow import compute as pc

    has_zone = re.search(r"(Z|[+-]\d\d(:?\d\d)?)$", first[10:])
    types = [pa.timestamp("us", "UTC" if has_zone else None)]
    if not re.search(TOO_FINE, first) and (found := _cast_text(text, missing, types)) is not None:
        return found
    text = pc.replace_substring_regex(text, pattern=TOO_FINE, replacement=r"\1")
    return _cast_text(text, missing, types)


def _cast_text(text: Any, missing: Sequence[str], types: Sequence[Any]) -> tuple[Array, Array] | None:
    """Return a column of text in the first of some types that fits, with 0 for missing values, and their mask."""
    from pyarrow import compute as pc

    mask = _is_missing(text, missing)
    text = pc.if_else(mask, None, text)
    for type_ in types:
        with contextlib.suppress(pa.ArrowInvalid):
            values = text.cast(type_)
            values = values if pa.types.is_floating(type_) else values.cast(pa.int64())
            null = flat(mask)[0].copy()
            return np.where(null, 0, flat(values)[0]), null
    return None


def _is_missing(text: Any, missing: Sequence[str]) -> Any:
    from pyarrow import compute as pc

    return pc.is_in(text, value_set=pa.array([*missing, None], pa.string()))
