"""Conversion of keys (``by`` and ``cluster``) to columns of integers, or of codes and their values.

A key is an integer, a bool, a string, bytes, a datetime or None, or a tuple of such parts. A column holds one for each
sample. It is any array or list, a pandas categorical or an Arrow dictionary. A tuple consists of several columns.

A key is the same in columns of any type. Whole numbers in floating point or decimals are integers, and a UUID is its
text.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from streamce._support.short_repr import reason, short_repr
from streamce.core.grouping import key_index
from streamce.errors import InputError
from streamce.inputs import arrays, interop
from streamce.inputs.arrays import Array
from streamce.keys.encoding import EPOCH, INT64_END, MICROSECOND, encode_part

EXPECTED = "integers, strings, bytes, datetimes, or a tuple of such columns"
MOMENTS = "datetimes, text in ISO 8601, or numbers since 1970"
WHOLE = "a whole number, or another key: text, bytes or a datetime"
FITTING = "integers that fit int64"
TEXT_HINT = "convert larger ones to text"
FINE_UNITS = ("ns", "ps", "fs", "as")  # finer than microseconds
# The kind of a value by its type, or else by the first of these classes that it is derived from.
KINDS: dict[type, str] = {int: "int", bool: "bool", str: "str", bytes: "bytes", dt.datetime: "datetime"}
BASE_KINDS: tuple[tuple[type, str], ...] = (
    (np.bool_, "bool"),
    (np.integer, "int"),
    (np.datetime64, "datetime"),
    (dt.date, "datetime"),  # and dt.datetime, pandas.Timestamp
    (int, "int"),
    (str, "str"),
    (bytes, "bytes"),
)
NULLS = ("NAType", "NaTType")  # types of pandas
UUID_CUTS = (0, 8, 12, 16, 20, 32)  # where the groups of its hexadecimal digits begin


class Column(NamedTuple):
    """A part of the keys of a batch: ``integers``, or ``codes``, which are indices of ``distinct``.

    Distinct values may include None. ``kind`` is None if all values are None.
    """

    kind: str | None
    size: int
    integers: Array | None = None
    codes: Array | None = None
    distinct: Sequence[Any] = ()


class Keys(NamedTuple):
    """The keys of a batch: ``integers``, or ``codes``, which are indices of ``distinct``, keys as bytes."""

    kinds: tuple[str | None, ...]
    size: int
    integers: Array | None
    codes: Array | None
    distinct: list[bytes]


def convert_columns(source: Any, name: str = "by") -> list[Column]:
    """Return the columns of an argument: one, or those of a tuple."""
    if not isinstance(source, tuple):
        with conversion_errors(source, name) as checked:
            return [convert_column(checked, name)]
    if not source:
        raise InputError(name, "is an empty tuple", EXPECTED)
    columns = []
    for i, part in enumerate(source):
        try:
            with conversion_errors(part, name) as checked:
                columns.append(convert_column(checked, name))
        except InputError as error:
            raise error.changed(part=i) from error.__cause__
    return columns


@contextmanager
def conversion_errors(source: Any, name: str) -> Iterator[Any]:
    """Check the memory of a column of keys, and convert any exception of its array or keys to an InputError."""
    try:
        yield interop.check_memory(source)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        found = f"is a {type(source).__name__} that cannot be read ({reason(error)})"
        raise InputError(name, found, EXPECTED) from error


def join_columns(parts: Sequence[Column], name: str = "by") -> Keys:
    """Return the keys whose parts are the columns."""
    kinds, size = tuple(part.kind for part in parts), parts[0].size
    for i, part in enumerate(parts):
        if part.size != size:
            found = f"has length {part.size} and the column before it {size}"
            raise InputError(name, found, "columns of equal length", value=part.size, part=i)
    if len(parts) == 1 and parts[0].integers is not None:
        return Keys(kinds, size, parts[0].integers, None, [])
    factored = [_factorize(part) for part in parts]
    codes: Array = factored[0][0]
    used: list[Any] = [range(len(factored[0][1]))]  # for each part, the codes of the distinct keys
    if len(parts) > 1:
        codes, first = key_index.distinct(_row_bytes(np.stack([part_codes for part_codes, _ in factored], axis=1)))
        used = [part_codes[first] for part_codes, _ in factored]
    encoded = [
        [encode_part(kind, value, name) for value in values] for kind, (_, values) in zip(kinds, factored, strict=True)
    ]
    keys = zip(*([part[i] for i in part_codes] for part, part_codes in zip(encoded, used, strict=True)), strict=True)
    return Keys(kinds, size, None, codes, [b"".join(key) for key in keys])


def encode_key(parts: Sequence[Column]) -> bytes:
    """Return the single key of columns of length 1 as bytes."""
    return b"".join(encode_part(part.kind, _factorize(part)[1][0]) for part in parts)


def _factorize(part: Column) -> tuple[Array, Sequence[Any]]:
    """Return the codes of a column, and the values that they stand for."""
    if part.integers is None:
        assert part.codes is not None
        return part.codes, part.distinct
    codes, first = key_index.distinct(_row_bytes(part.integers))
    return codes, part.integers[first].tolist()


def _row_bytes(array: Array) -> Array:
    """Return the bytes of each entry of the first axis."""
    array = np.ascontiguousarray(array)
    width = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    return array.view(np.uint8).reshape(len(array), width)


# ---- columns ----


def convert_column(source: Any, name: str, cut: bool = False) -> Column:
    """Return a column of keys. With ``cut`` datetimes are truncated to microseconds."""
    if isinstance(source, (str, bytes, int, np.generic, dt.date)) or source is None:
        return convert_objects([source], name, cut=cut)
    if hasattr(source, "dictionary_encode") and hasattr(source, "type"):
        return _arrow(interop.import_arrow(source), name, cut)
    categories = getattr(source, "cat", source) if str(getattr(source, "dtype", "")) == "category" else None
    if categories is not None:
        return _coded(np.asarray(categories.codes), list(categories.categories), name, cut)
    if hasattr(source, "to_arrow") and not hasattr(source, "__array__"):
        return _arrow(interop.check_memory(source.to_arrow()), name, cut)
    if isinstance(source, (list, range)):
        return convert_objects(list(source), name, cut=cut)
    if interop.has_arrow_protocol(source) and not hasattr(source, "__array__"):
        return _arrow(interop.import_arrow(source), name, cut)
    if hasattr(getattr(source, "dtype", None), "na_value"):  # extension types of pandas, whose NA is not a number
        return convert_objects(source.tolist(), name, cut=cut)
    arrays.check_unmasked(source, name, "a key")
    array = np.asarray(source)
    if array.dtype.kind == "f" and hasattr(source, "to_arrow"):  # polars, whose null integers become nan in NumPy
        return _arrow(interop.check_memory(source.to_arrow()), name, cut)
    return _array(array, name, cut)


def _array(source: Array, name: str, cut: bool) -> Column:
    array = np.array(source)  # an aligned copy, because keys are read several times and the caller may write to them
    if array.ndim == 0:
        value = array[()]
        if array.dtype.kind == "O" and isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
            raise InputError(
                name, f"is a {type(value).__name__}", f"an array or list of {MOMENTS if cut else EXPECTED}"
            )
        return convert_objects([value], name, cut=cut)
    if array.ndim != 1:
        raise InputError(name, f"has shape {array.shape}", "one key per sample", value=array.shape)
    kind = array.dtype.kind
    if kind == "b":
        return Column("bool", len(array), np.ascontiguousarray(array, dtype=np.int64))
    if kind == "f" and array.dtype.itemsize <= 8:
        return _whole(array.astype(np.float64), name)
    if kind in "iu":
        if kind == "u" and array.dtype.itemsize == 8 and (array >= INT64_END).any():
            index = arrays.first_index(array >= INT64_END)
            raise InputError(name, f"is {array[index]}", FITTING, hint=TEXT_HINT, index=index, value=array[index])
        return Column("int", len(array), np.ascontiguousarray(array, dtype=np.int64))
    if kind == "M":
        return _datetimes(array, name, cut)
    if kind in "SU":
        if not array.dtype.itemsize:  # all strings are empty
            return convert_objects(array.tolist(), name)
        codes, first = key_index.distinct(_row_bytes(array))
        return _coded(codes, array[first].tolist(), name)
    if kind in "OT":
        return convert_objects(array.tolist(), name, cut=cut)
    raise InputError(name, f"has dtype {array.dtype}", EXPECTED)


def _whole(numbers: Array, name: str) -> Column:
    """Return a column of integers from float64. NaN becomes None."""
    null = np.isnan(numbers)
    filled = np.where(null, 0, numbers)
    for wrong, expected, hint in (
        (np.floor(filled) != filled, WHOLE, ""),
        ((filled < -INT64_END) | (filled >= INT64_END), FITTING, TEXT_HINT),
    ):
        if wrong.any():
            index = arrays.first_index(wrong)
            value = filled[index].item()
            raise InputError(name, f"is {value!r}", expected, hint=hint, index=index, value=value)
    integers = filled.astype(np.int64)
    if not null.any():
        return Column("int", len(integers), integers)
    return _integers("int", integers, null)


def _integers(kind: str, integers: Array, null: Array) -> Column:
    """Return a column of integers, of which some are null."""
    codes = np.zeros(len(integers), np.int64)
    codes[~null], first = key_index.distinct(_row_bytes(integers[~null]))
    distinct = integers[~null][first].tolist()
    codes[null] = len(distinct)
    return Column(kind if distinct else None, len(integers), None, codes, [*distinct, None])


def _datetimes(times: Array, name: str, cut: bool = False) -> Column:
    """Return a column of microseconds. NaT becomes None."""
    null = np.isnat(times)
    unit = np.datetime_data(times.dtype)[0]
    if unit == "generic":
        raise InputError(name, f"has dtype {times.dtype}", EXPECTED)
    micro = times.astype("datetime64[us]")
    ticks = micro.view(np.int64)
    # A time beyond the range of microseconds overflows, so that it differs after the conversion back.
    for wrong, expected in (
        (
            (micro.astype(times.dtype) != times) & ~null & (not cut or unit not in FINE_UNITS),
            "whole microseconds, from year 1 to 9999",
        ),
        (((ticks < key_index.EARLIEST) | (ticks > key_index.LATEST)) & ~null, "years from 1 to 9999"),
    ):
        if wrong.any():
            index = arrays.first_index(wrong)
            raise InputError(name, f"is {times[index]}", expected, index=index, value=times[index])
    return datetime_column(ticks, null)


def datetime_column(ticks: Array, null: Array) -> Column:
    """Return a column of datetimes from microseconds and the mask of nulls."""
    if null.any():
        return _integers("datetime", ticks, null)
    return Column("datetime", len(ticks), np.ascontiguousarray(ticks))


def _fill(source: Any) -> tuple[Array, Array]:
    """Return the numbers of an Arrow array with 0 in place of nulls, and the mask of nulls."""
    if not source.null_count:
        return np.array(_numbers(source)), np.zeros(len(source), np.bool_)
    return _numbers(source.fill_null(0)), _numbers(source.is_null().cast("int8")).astype(np.bool_)


def _arrow(source: Any, name: str, cut: bool) -> Column:
    """Return the column of an Arrow array or chunked array."""
    if hasattr(source, "combine_chunks"):
        source = source.combine_chunks()
        if hasattr(source, "chunks"):  # chunks are missing, or cannot be combined
            return convert_objects(source.to_pylist(), name, cut=cut)
    is_uuid = getattr(source.type, "extension_name", "") == "arrow.uuid"
    source = getattr(source, "storage", source)
    kind = str(source.type)
    if kind in ("halffloat", "float", "double"):
        from streamce.inputs import arrow  # here, because it needs pyarrow, which this array is from

        numbers, missing = arrow.flat(source)
        numbers = numbers.astype(np.float64)
        return _whole(numbers if missing is None else np.where(missing, np.nan, numbers), name)
    if kind.startswith("decimal"):
        try:
            return _arrow(source.cast("int64"), name, cut)
        except Exception:  # numbers that are not whole, or too large: Python's decimals name them
            return convert_objects(source.to_pylist(), name)
    if kind.startswith(("timestamp[", "date")):
        unit = {"date32[day]": "D", "date64[ms]": "ms"}.get(kind) or kind[10:12].rstrip("],")
        ticks, null = _fill(source.cast("int32") if unit == "D" else source.cast("int64"))
        times = ticks.astype(np.int64).view(f"datetime64[{unit}]")
        times[null] = "NaT"
        return _datetimes(times, name, cut)
    if source.null_count == 0:
        if kind.startswith(("int", "uint")):
            return _array(_numbers(source), name, cut)
        if kind == "bool":
            return _array(_numbers(source.cast("int8")).astype(np.bool_), name, cut)
    if kind in ("string_view", "binary_view"):  # which have no dictionary
        source = source.cast("large_" + kind.removesuffix("_view"))
    try:
        coded = source if kind.startswith("dictionary") else source.dictionary_encode()
    except Exception as error:  # lists and other nested types have no dictionary
        raise InputError(name, f"holds {kind}", EXPECTED) from error
    codes = coded.indices.cast("int64").fill_null(-1)
    values = coded.dictionary.to_pylist()
    return _coded(_numbers(codes), [_uuid_text(value) for value in values] if is_uuid else values, name, cut)


def _uuid_text(data: bytes) -> str:
    """Return the text of a UUID, as other formats hold it."""
    digits = data.hex()
    return "-".join(digits[a:b] for a, b in itertools.pairwise(UUID_CUTS))


def _numbers(source: Any) -> Array:
    """Return the numbers of an Arrow array without nulls. ``to_numpy`` would import pandas."""
    return np.from_dlpack(source) if len(source) else np.empty(0, np.int64)


def _coded(codes: Array, values: list[Any], name: str, cut: bool = False) -> Column:
    """Return the column of the values with these codes. An error names the first sample with the value."""
    try:
        distinct = convert_objects(values, name, cut=cut)
    except InputError as error:
        if error.index is None or not (used := codes == error.index[0]).any():
            raise
        raise error.changed(index=arrays.first_index(used)) from None
    return _take(codes, distinct, name)


def _take(codes: Array, values: Column, name: str) -> Column:
    """Return the column of the values with these codes. Code -1 stands for None."""
    codes = np.array(codes, dtype=np.int64)  # a copy, so that the caller cannot change it after the check
    if codes.size and codes.max() >= values.size:  # possible in a damaged file, because no other code checks it
        index = arrays.first_index(codes >= values.size)
        found = f"has code {codes[index]} and {values.size} categories"
        raise InputError(name, found, "a code of one of them", index=index, value=codes[index])
    if values.codes is None:
        assert values.integers is not None
        distinct = values.integers.tolist()
    else:  # the values may repeat or be None
        distinct, codes = list(values.distinct), np.append(values.codes, -1)[codes]
    if (codes < 0).any():
        distinct = distinct if None in distinct else [*distinct, None]
        codes = np.where(codes < 0, distinct.index(None), codes)
    return Column(values.kind, len(codes), None, codes, distinct)


def convert_objects(values: list[Any], name: str, cut: bool = False) -> Column:
    """Return the column of Python objects, which must be of one kind or None."""
    has_null = False
    kind_of_type: dict[type, str] = {}
    types = set(map(type, values))
    if any(map(_standard, types)):
        values = [value if (convert := _standard(type(value))) is None else convert(value) for value in values]
        types = set(map(type, values))
    for type_ in types:
        type_kind = _kind(type_)
        if type_kind is None:
            _require_nulls(values, type_, name, MOMENTS if cut else EXPECTED)
            has_null = True
        else:
            kind_of_type[type_] = type_kind
    kinds = sorted(set(kind_of_type.values()))
    if len(kinds) > 1:
        other = next(i for i, value in enumerate(values) if kind_of_type.get(type(value), kinds[0]) != kinds[0])
        raise InputError(
            name, f"is {short_repr(values[other])}", f"keys of one kind, such as {kinds[0]}", index=(other,)
        )
    column_kind = kinds[0] if kinds else None
    if column_kind == "datetime":
        values = [None if _is_null(value) else _ticks(value, name, i, cut) for i, value in enumerate(values)]
    has_null = has_null or (column_kind == "datetime" and None in values)
    if has_null:
        values = [None if _is_null(value) else value for value in values]
    if column_kind in key_index.INTEGERS:
        try:
            integers = np.array([value or 0 for value in values] if has_null else values, dtype=np.int64)
        except OverflowError:
            wrong = next(i for i, value in enumerate(values) if not -INT64_END <= (value or 0) < INT64_END)
            found = f"is {short_repr(values[wrong])}"
            raise InputError(name, found, FITTING, hint=TEXT_HINT, index=(wrong,), value=values[wrong]) from None
        if not has_null:
            return Column(column_kind, len(values), integers)
    code_of_value: dict[Any, int] = {}
    codes = np.array([code_of_value.setdefault(value, len(code_of_value)) for value in values], dtype=np.int64)
    return Column(column_kind, len(values), None, codes, list(code_of_value))


def _standard(type_: type) -> Callable[[Any], Any] | None:
    """Return a function to the standard form of a key of a type; None if values are in that form."""
    if issubclass(type_, (float, np.floating)):
        return lambda number: int(number) if number.is_integer() else number
    place = type_.__module__, type_.__name__  # these modules are not imported here, because most keys do not need them
    if place == ("decimal", "Decimal"):
        return _standard_decimal
    return str if place == ("uuid", "UUID") else None


def _standard_decimal(number: Any) -> Any:
    if number.is_nan():
        return None
    return int(number) if number.is_finite() and number == number.to_integral_value() else number


def _kind(type_: type) -> str | None:
    """Return the kind of the values of a type, or None if they cannot be keys."""
    if type_ in KINDS:
        return KINDS[type_]
    if type_.__name__ in NULLS or issubclass(type_, np.timedelta64):  # NumPy derives timedelta64 from integers
        return None
    return next((kind for base, kind in BASE_KINDS if issubclass(type_, base)), None)


def _require_nulls(values: list[Any], type_: type, name: str, expected: str) -> None:
    """Raise an InputError if a value of a type is not null."""
    for i, value in enumerate(values):
        if type(value) is type_ and not _is_null(value):
            raise InputError(name, f"is {short_repr(value)}", expected, index=(i,), value=value)


def _is_null(value: Any) -> bool:
    """Return whether a value stands for a missing value in any library."""
    if value is None:
        return True
    if isinstance(value, (float, np.floating, np.datetime64)):
        return bool(value != value)
    return type(value).__name__ in NULLS


def _ticks(value: Any, name: str, i: int, cut: bool) -> int:
    """Return microseconds since 1970, in UTC if the time has a zone."""
    if isinstance(value, np.datetime64):
        try:
            ticks = _datetimes(np.array([value]), name, cut).integers
        except InputError as error:
            raise error.changed(index=(i,)) from None
        assert ticks is not None
        return int(ticks[0])
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if getattr(value, "nanosecond", 0) and not cut:  # pandas.Timestamp has nanoseconds
        raise InputError(name, f"is {value}", "whole microseconds", index=(i,), value=value)
    if value.tzinfo is not None:
        try:
            value = value.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            raise InputError(name, f"is {value}", "years from 1 to 9999 in UTC", index=(i,), value=value) from None
    return int((value - EPOCH) // MICROSECOND)
