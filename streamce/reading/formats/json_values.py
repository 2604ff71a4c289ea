"""Values of JSON: the type that a column of them has, what msgspec shall decode it as, and Arrow arrays of them.

Types follow the values of a column, so ``2.0`` is the whole number 2, and text is text even if it looks like a date.
"""

import itertools
import re
from array import array as c_array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamce._support.short_repr import short_repr
from streamce.inputs.arrow import is_list
from streamce.reading.formats.paths import Unfit

MAX_INT32 = (1 << 31) - 1
MIN_INT64, MAX_INT64, MAX_UINT64 = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1
NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")


def infer(values: Iterable[Any], like: Any = None) -> Any:
    """Return the Arrow type of values. The first that is not null decides whether they are numbers, text or lists.

    ``like`` is the type of earlier values, which decides instead. Values of another kind do not count.
    """
    values = [value for value in values if value is not None]
    kind = _kind(like) or (type(values[0]) if values else None)
    if kind in (int, float):
        numbers = [value for value in values if type(value) in (int, float)]
        return _number_type(numbers) if numbers else like
    if kind is dict:
        names = itertools.chain.from_iterable(value for value in values if type(value) is dict)
        return pa.struct([(name, pa.null()) for name in dict.fromkeys(names)])
    if kind is list:
        inner = itertools.chain.from_iterable(value for value in values if type(value) is list)
        return pa.list_(infer(inner, like.value_type if like is not None else None))
    return pa.string() if kind is str else pa.bool_() if kind is bool else pa.null()


def _kind(type_: Any) -> Any:
    """Return the Python type of the values of an Arrow type, None if that is not known."""
    if type_ is None or pa.types.is_null(type_):
        return None
    if is_list(type_):
        return list
    checks = {dict: pa.types.is_struct, str: pa.types.is_string, bool: pa.types.is_boolean}
    return next((kind for kind, check in checks.items() if check(type_)), int)


def _number_type(numbers: Sequence[float]) -> Any:
    if not all(type(number) is int or float(number).is_integer() for number in numbers):
        return pa.float64()
    low, high = min(numbers), max(numbers)
    if low >= MIN_INT64 and high <= MAX_INT64:
        return pa.int64()
    return pa.uint64() if low >= 0 and high <= MAX_UINT64 else pa.float64()


def type_to_json(type_: Any) -> Any:
    """Return a type that ``infer`` has found as a JSON value: its name, or a list with the type in its lists."""
    return [type_to_json(type_.value_type)] if is_list(type_) else str(type_).partition("<")[0]


def type_from_json(value: Any) -> Any:
    """Return the type that ``type_to_json`` has written, without the fields of objects."""
    if isinstance(value, list):
        [inner] = value
        return pa.list_(type_from_json(inner))
    return pa.struct([]) if value == "struct" else pa.type_for_alias(value)


def decoded_type(type_: Any) -> Any:
    """Return the Python type that msgspec shall decode values of an Arrow type as. All of them may be null."""
    return int | float | None if pa.types.is_integer(type_) else _decoded_type(type_)


def _decoded_type(type_: Any) -> Any:
    if is_list(type_):
        return list[_decoded_type(type_.value_type)] | None  # type: ignore[misc]
    if pa.types.is_floating(type_):
        return float | None
    if pa.types.is_integer(type_):
        return int | None
    if pa.types.is_boolean(type_):
        return bool | None
    if pa.types.is_string(type_):
        return str | None
    return Any


def array(values: Sequence[Any], type_: Any) -> Any:
    """Return an Arrow array of decoded values. Raise ArrowInvalid or OverflowError if a value does not fit."""
    if pa.types.is_integer(type_) and float in {*map(type, values)}:  # Arrow would cut off fractions
        return array(values, pa.float64()).cast(type_)
    found = _without_nulls(values, type_)
    return pa.array(values, type_) if found is None else found


def _without_nulls(values: Sequence[Any], type_: Any) -> Any:
    """Return an array of numbers in float64, or of lists of them; None if there is a null, or for other types.

    ``pa.array`` is as fast, but its first call imports pandas, which takes longer than a small file.
    """
    is_nest = pa.types.is_list(type_)
    if (type_.value_type if is_nest else type_) != pa.float64():
        return None
    numbers, lists = c_array("d"), values if is_nest else [values]
    try:
        each: Any
        for each in lists:
            numbers.fromlist(each)
    except TypeError:  # a null
        return None
    entries = pa.Array.from_buffers(pa.float64(), len(numbers), [None, pa.py_buffer(numbers)], 0)
    if not is_nest:
        return entries
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([*map(len, values)], out=offsets[1:])
    if offsets[-1] > MAX_INT32:
        return None
    buffers = [None, pa.py_buffer(offsets.astype(np.int32))]
    return pa.Array.from_buffers(type_, len(values), buffers, 0, 0, [entries])


def fit(value: Any, type_: Any, entry: tuple[int, ...] = ()) -> Any:
    """Return a value of Python's json as ``array`` takes it. Raise Unfit if it is of another kind than a type."""
    if value is None:
        return None
    if is_list(type_):
        if type(value) is not list:
            raise Unfit(f"is {short_repr(value)}, expected a list", entry)
        return [fit(each, type_.value_type, (*entry, i)) for i, each in enumerate(value)]
    if pa.types.is_floating(type_) and type(value) in (int, float):
        return _as_float(value)
    if pa.types.is_integer(type_):
        return _as_integer(value, type_, entry)
    if pa.types.is_boolean(type_) and type(value) is bool:
        return value
    if pa.types.is_string(type_) and type(value) is str:
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise Unfit(f"is {value!a}, which is not Unicode text: it has half of a surrogate pair", entry)
        return value
    raise Unfit(f"is {short_repr(value)}, expected {_expected(type_)}{_hint(value, type_)}", entry)


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _as_integer(value: Any, type_: Any, entry: tuple[int, ...]) -> int:
    low, high = (MIN_INT64, MAX_INT64) if pa.types.is_int64(type_) else (0, MAX_UINT64)
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    if not is_whole or not low <= value <= high:
        raise Unfit(f"is {short_repr(value)}, expected {_expected(type_)}{_hint(value, type_)}", entry)
    return int(value)


def _expected(type_: Any) -> str:
    if pa.types.is_floating(type_):
        return "a number"
    if pa.types.is_integer(type_):
        return "a whole number"
    if pa.types.is_boolean(type_):
        return "true or false, as in earlier rows"
    if pa.types.is_string(type_):
        return "text, as in other rows"
    return "null, as in earlier rows"


def _hint(value: Any, type_: Any) -> str:
    is_number = pa.types.is_floating(type_) or pa.types.is_integer(type_)
    return ": write it without quotes" if is_number and isinstance(value, str) and NUMBER.fullmatch(value) else ""
