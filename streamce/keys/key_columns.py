"""The judge of keys: what ``by`` and ``cluster`` hold, as columns of integers, or of codes and what they stand for.

A key is an integer, a bool, a string, bytes, a datetime, or None where there is none; or a tuple of
such parts. A column holds one for each sample: any array or list, a pandas categorical, an Arrow
dictionary; a tuple is one of several columns.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from streamce._support.short_repr import reason, short_repr
from streamce.core.grouping import key_index as core
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.inputs import arrays, interop
from streamce.inputs.arrays import Array

HOLDS = "integers, strings, bytes, datetimes, or a tuple of such columns"
EPOCH = dt.datetime(1970, 1, 1)
MICROSECOND = dt.timedelta(microseconds=1)
TOP = 1 << 63
FINER = ("ns", "ps", "fs", "as")  # than microseconds
# The kind of a value by its type; that of others by what they are derived from.
KINDS: dict[type, str] = {int: "int", bool: "bool", str: "str", bytes: "bytes", dt.datetime: "datetime"}
BASES: tuple[tuple[type, str], ...] = (
    (np.bool_, "bool"),
    (np.integer, "int"),
    (np.datetime64, "datetime"),
    (dt.date, "datetime"),  # and dt.datetime, pandas.Timestamp
    (int, "int"),
    (str, "str"),
    (bytes, "bytes"),
)
NULLS = ("NAType", "NaTType")  # of pandas
LONG = 40  # characters of a part of a key that are shown


class Column(NamedTuple):
    """A part of the keys of some samples: ``integers``, or ``codes``, places in ``distinct``, values
    that may be None. ``kind`` is None where all are."""

    kind: str | None
    size: int
    integers: Array | None = None
    codes: Array | None = None
    distinct: Sequence[Any] = ()


class Buckets(NamedTuple):
    """The bucket of each cluster, which an update computes before it reads any other memory."""

    of: Array


class Keys(NamedTuple):
    """The keys of some samples: ``integers``, or ``codes``, places in ``distinct``, which are bytes."""

    kinds: tuple[str | None, ...]
    size: int
    integers: Array | None
    codes: Array | None
    distinct: list[bytes]


def columns(source: Any, name: str = "by") -> list[Column]:
    """The columns of an argument: one, or those of a tuple."""
    if not isinstance(source, tuple):
        with judged(source, name) as checked:
            return [column(checked, name)]
    if not source:
        raise InputError(name, "is an empty tuple", HOLDS)
    found = []
    for i, part in enumerate(source):
        try:
            with judged(part, name) as checked:
                found.append(column(checked, name))
        except InputError as error:
            raise error.changed(part=i) from error.__cause__
    return found


@contextmanager
def judged(source: Any, name: str) -> Iterator[Any]:
    """Check the memory of a column of keys, and convert any exception of its array or keys into an InputError."""
    try:
        yield interop.checked(source)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(name, f"is a {type(source).__name__} that cannot be read ({reason(error)})", HOLDS) from error


def joined(parts: Sequence[Column], name: str = "by") -> Keys:
    """Keys of the columns side by side."""
    kinds, size = tuple(part.kind for part in parts), parts[0].size
    for i, part in enumerate(parts):
        if part.size != size:
            found = f"has length {part.size} and the column before it {size}"
            raise InputError(name, found, "columns of one length", value=part.size, part=i)
    if len(parts) == 1 and parts[0].integers is not None:
        return Keys(kinds, size, parts[0].integers, None, [])
    coded = [_coded(part) for part in parts]
    codes: Array = coded[0][0]
    places: list[Any] = [range(len(coded[0][1]))]
    if len(parts) > 1:
        codes, first = core.distinct(_rows(np.stack([of for of, _ in coded], axis=1)))
        places = [of[first] for of, _ in coded]
    encoded = [[encode(kind, value, name) for value in values] for kind, (_, values) in zip(kinds, coded, strict=True)]
    whole = zip(*([of[i] for i in at] for of, at in zip(encoded, places, strict=True)), strict=True)
    return Keys(kinds, size, None, codes, [b"".join(key) for key in whole])


def whole(parts: Sequence[Column]) -> bytes:
    """The one key of columns of length 1."""
    return b"".join(encode(part.kind, _coded(part)[1][0]) for part in parts)


def _coded(part: Column) -> tuple[Array, Sequence[Any]]:
    """A column as codes, and the values that they stand for."""
    if part.integers is None:
        assert part.codes is not None
        return part.codes, part.distinct
    codes, first = core.distinct(_rows(part.integers))
    return codes, part.integers[first].tolist()


def _rows(array: Array) -> Array:
    """The bytes of each entry of the first axis."""
    array = np.ascontiguousarray(array)
    width = array.dtype.itemsize * int(np.prod(array.shape[1:]))
    return array.view(np.uint8).reshape(len(array), width)


def buckets(source: Any) -> Buckets | None:
    """Return the bucket of each cluster, the same on every machine. Buckets and None are returned unchanged."""
    return source if source is None or isinstance(source, Buckets) else Buckets(_buckets(source))


@in_default_mode
def bucket_of(cluster: Any) -> Array | None:
    """Return the bucket of each cluster as an array, which is all that the core knows of clusters; None for None."""
    found = buckets(cluster)
    return None if found is None else found.of


def _buckets(source: Any) -> Array:
    found = joined(columns(source, "cluster"), "cluster")
    if found.integers is not None:
        return core.buckets_of_integers(found.integers)
    nobody = b"\0" * len(found.kinds)
    if nobody in found.distinct:
        index = (int(np.argmax(found.codes == found.distinct.index(nobody))),)
        raise InputError("cluster", "is None", "the id of a cluster", index=index)
    integer = len(found.kinds) == 1 and found.kinds[0] in core.INTEGERS
    of = [core.bucket_of(key, integer) for key in found.distinct]
    return np.array(of, dtype=np.uint8)[found.codes]


# ---- columns ----


def column(source: Any, name: str, cut: bool = False) -> Column:
    """One column of keys. With ``cut`` datetimes lose what is less than a microsecond."""
    if isinstance(source, (str, bytes, int, np.generic, dt.date)) or source is None:
        return objects([source], name, cut=cut)
    if hasattr(source, "dictionary_encode") and hasattr(source, "type"):
        return _arrow(interop.imported(source), name, cut)
    categories = getattr(source, "cat", source) if str(getattr(source, "dtype", "")) == "category" else None
    if categories is not None:
        codes = np.asarray(categories.codes)
        return _picked(codes, objects(list(categories.categories), name, cut=cut), name)
    if hasattr(source, "to_arrow") and not hasattr(source, "__array__"):
        return _arrow(interop.checked(source.to_arrow()), name, cut)
    if isinstance(source, (list, range)):
        return objects(list(source), name, cut=cut)
    if interop.speaks_arrow(source) and not hasattr(source, "__array__"):
        return _arrow(interop.imported(source), name, cut)
    if hasattr(getattr(source, "dtype", None), "na_value"):  # of pandas' own: what is missing is no number
        return objects(source.tolist(), name, cut=cut)
    arrays.unmasked(source, name, "a key")
    found = np.asarray(source)
    if found.dtype.kind == "f" and hasattr(source, "to_arrow"):  # polars', whose missing integers are nan there
        return _arrow(interop.checked(source.to_arrow()), name, cut)
    return _array(found, name, cut)


def _array(found: Array, name: str, cut: bool) -> Column:
    found = np.array(found)  # an aligned copy, because keys are read several times and the caller may write to them
    if found.ndim == 0:
        return objects([found[()]], name, cut=cut)
    if found.ndim != 1:
        raise InputError(name, f"has shape {found.shape}", "one key per sample", value=found.shape)
    kind = found.dtype.kind
    if kind == "b":
        return Column("bool", len(found), np.ascontiguousarray(found, dtype=np.int64))
    if kind in "iu":
        if kind == "u" and found.dtype.itemsize == 8 and (found >= TOP).any():
            index = arrays.first(found >= TOP)
            hint = "as keys.view('int64') has them"
            raise InputError(
                name, f"is {found[index]}", "integers that fit int64", hint=hint, index=index, value=found[index]
            )
        return Column("int", len(found), np.ascontiguousarray(found, dtype=np.int64))
    if kind == "M":
        return _datetimes(found, name, cut)
    if kind in "SU":
        if not found.dtype.itemsize:  # strings that are all empty
            return objects(found.tolist(), name)
        codes, first = core.distinct(_rows(found))
        return _picked(codes, objects(found[first].tolist(), name), name)
    if kind in "OT":
        return objects(found.tolist(), name, cut=cut)
    raise InputError(name, f"has dtype {found.dtype}", HOLDS)


def _datetimes(found: Array, name: str, cut: bool = False) -> Column:
    """Microseconds; NaT is no key."""
    null = np.isnat(found)
    unit = np.datetime_data(found.dtype)[0]
    if unit == "generic":
        raise InputError(name, f"has dtype {found.dtype}", HOLDS)
    micro = found.astype("datetime64[us]")
    ticks = micro.view(np.int64)
    # What is too far for microseconds wraps around on the way, and comes back as something else.
    for wrong, expected in (
        (
            (micro.astype(found.dtype) != found) & ~null & (not cut or unit not in FINER),
            "whole microseconds, from year 1 to 9999",
        ),
        (((ticks < core.EARLIEST) | (ticks > core.LATEST)) & ~null, "years from 1 to 9999"),
    ):
        if wrong.any():
            index = arrays.first(wrong)
            raise InputError(name, f"is {found[index]}", expected, index=index, value=found[index])
    return moments(ticks, null, name)


def moments(ticks: Array, null: Array, name: str) -> Column:
    """Microseconds, and where there are none."""
    if not null.any():
        return Column("datetime", len(ticks), np.ascontiguousarray(ticks))
    return objects([None if none else tick for none, tick in zip(null, ticks.tolist(), strict=True)], name, "datetime")


def numbers(source: Any) -> tuple[Array, Array] | None:
    """The numbers of an Arrow array and the mask of its nulls; None if it holds something else."""
    source = source.combine_chunks() if hasattr(source, "combine_chunks") else source
    if hasattr(source, "chunks") or not str(source.type).startswith(("int", "uint", "float", "double")):
        return None
    return _filled(source)


def _filled(source: Any) -> tuple[Array, Array]:
    """Numbers of an Arrow array, 0 where it is null, and the mask of that."""
    if not source.null_count:
        return np.array(_numbers(source)), np.zeros(len(source), np.bool_)
    return _numbers(source.fill_null(0)), _numbers(source.is_null().cast("int8")).astype(np.bool_)


def _arrow(source: Any, name: str, cut: bool) -> Column:
    """An Arrow array, or a chunked one."""
    if hasattr(source, "combine_chunks"):
        source = source.combine_chunks()
        if hasattr(source, "chunks"):  # none, or several that cannot be one
            return objects(source.to_pylist(), name, cut=cut)
    kind = str(source.type)
    if kind.startswith(("timestamp[", "date")):
        unit = {"date32[day]": "D", "date64[ms]": "ms"}.get(kind) or kind[10:12].rstrip("],")
        ticks, null = _filled(source.cast("int32") if unit == "D" else source.cast("int64"))
        times = ticks.astype(np.int64).view(f"datetime64[{unit}]")
        times[null] = "NaT"
        return _datetimes(times, name, cut)
    if source.null_count == 0:
        if kind.startswith(("int", "uint")):
            return _array(_numbers(source), name, cut)
        if kind == "bool":
            return _array(_numbers(source.cast("int8")).astype(np.bool_), name, cut)
    try:
        coded = source if kind.startswith("dictionary") else source.dictionary_encode()
    except Exception as error:  # of lists and the like
        raise InputError(name, f"holds {kind}", HOLDS) from error
    codes = coded.indices.cast("int64").fill_null(-1)
    return _picked(_numbers(codes), objects(coded.dictionary.to_pylist(), name, cut=cut), name)


def _numbers(source: Any) -> Array:
    """Integers of an Arrow array without nulls; its ``to_numpy`` would import pandas."""
    return np.from_dlpack(source) if len(source) else np.empty(0, np.int64)


def _picked(codes: Array, values: Column, name: str) -> Column:
    """The values at some places; none at -1, where there is none."""
    codes = np.array(codes, dtype=np.int64)  # a copy, so that nobody changes it after the check
    if codes.size and codes.max() >= values.size:  # of a file that is damaged or forged: nobody else looks
        index = arrays.first(codes >= values.size)
        found = f"has code {codes[index]} and {values.size} categories"
        raise InputError(name, found, "a code of one of them", index=index, value=codes[index])
    if values.codes is None:
        assert values.integers is not None
        listed = values.integers.tolist()
    else:  # the values themselves may repeat or be None
        listed, codes = list(values.distinct), np.append(values.codes, -1)[codes]
    if (codes < 0).any():
        codes = np.where(codes < 0, len(listed), codes)
        listed = [*listed, None]
    return Column(values.kind, len(codes), None, codes, listed)


def objects(values: list[Any], name: str, kind: str | None = None, cut: bool = False) -> Column:
    """Python objects, all of one kind, or None."""
    null = False
    found: dict[type, str] = {}
    for type_ in set(map(type, values)):
        of = _kind(type_)
        if of is None:
            _only_null(values, type_, name)
            null = True
        else:
            found[type_] = kind or of
    kinds = sorted(set(found.values()))
    if len(kinds) > 1:
        other = next(i for i, value in enumerate(values) if found.get(type(value), kinds[0]) != kinds[0])
        raise InputError(
            name, f"is {short_repr(values[other])}", f"keys of one kind, such as {kinds[0]}", index=(other,)
        )
    one = kinds[0] if kinds else None
    if one == "datetime" and kind is None:
        values = [None if _null(value) else _ticks(value, name, i, cut) for i, value in enumerate(values)]
    null = null or (one == "datetime" and None in values)
    if null:
        values = [None if _null(value) else value for value in values]
    elif one in core.INTEGERS:
        try:
            return Column(one, len(values), np.array(values, dtype=np.int64))
        except OverflowError:
            wrong = next(i for i, value in enumerate(values) if not -TOP <= value < TOP)
            raise InputError(
                name, f"is {short_repr(values[wrong])}", "integers that fit int64", index=(wrong,)
            ) from None
    places: dict[Any, int] = {}
    codes = np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int64)
    return Column(one, len(values), None, codes, list(places))


def _kind(type_: type) -> str | None:
    """The kind of a type's values, or None if it has none."""
    if type_ in KINDS:
        return KINDS[type_]
    if type_.__name__ in NULLS or issubclass(type_, np.timedelta64):  # which NumPy derives from integers
        return None
    return next((kind for base, kind in BASES if issubclass(type_, base)), None)


def _only_null(values: list[Any], type_: type, name: str) -> None:
    for i, value in enumerate(values):
        if type(value) is type_ and not _null(value):
            raise InputError(name, f"is {short_repr(value)}", HOLDS, index=(i,), value=value)


def _null(value: Any) -> bool:
    """Whether this is what some library puts where there is no value."""
    if value is None:
        return True
    if isinstance(value, (float, np.floating, np.datetime64)):
        return bool(value != value)
    return type(value).__name__ in NULLS


def _ticks(value: Any, name: str, i: int, cut: bool) -> int:
    """Microseconds since 1970, in UTC where a time zone is given."""
    if isinstance(value, np.datetime64):
        try:
            ticks = _datetimes(np.array([value]), name, cut).integers
        except InputError as error:
            raise error.changed(index=(i,)) from None
        assert ticks is not None
        return int(ticks[0])
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if getattr(value, "nanosecond", 0) and not cut:  # of pandas
        raise InputError(name, f"is {value}", "whole microseconds", index=(i,), value=value)
    if value.tzinfo is not None:
        try:
            value = value.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            raise InputError(name, f"is {value}", "years from 1 to 9999 in UTC", index=(i,), value=value) from None
    return int((value - EPOCH) // MICROSECOND)


# ---- as bytes ----


def encode(kind: str | None, value: Any, name: str = "by") -> bytes:
    """A part of a key as state files have it."""
    if value is None:
        return b"\0"
    if kind in core.INTEGERS:
        return b"\1" + (int(value) + TOP).to_bytes(8, "big")
    try:
        data = str.encode(value) if isinstance(value, str) else memoryview(value).tobytes()  # of derived types too
        return b"\1" + len(data).to_bytes(4, "big") + data
    except (UnicodeEncodeError, OverflowError):
        raise InputError(name, f"is {short_repr(value)}", "text that UTF-8 can hold") from None


def decode(kinds: Sequence[str | None], key: bytes) -> Any:
    """A key from its bytes: a value, or a tuple of several."""
    parts: list[Any] = []
    at = 0
    for kind in kinds:
        here, at = key[at], at + 1
        if not here:
            parts.append(None)
        elif kind in core.INTEGERS:
            parts.append(_value(kind, int.from_bytes(key[at : at + 8], "big") - TOP))
            at += 8
        else:
            length = int.from_bytes(key[at : at + 4], "big")
            data = key[at + 4 : at + 4 + length]
            parts.append(data.decode() if kind == "str" else data)
            at += 4 + length
    return parts[0] if len(parts) == 1 else tuple(parts)


def decoded(kinds: Sequence[str | None], null: bool, found: Array | list[bytes]) -> list[Any]:
    """Keys as :meth:`Groups.sorted` has them."""
    if isinstance(found, list):
        return [decode(kinds, key) for key in found]
    values: list[Any] = found.tolist()
    if kinds[0] != "int":
        values = [_value(kinds[0], value) for value in values]
    return [None, *values] if null else values


def rank(key: Any) -> Any:
    """What keys are ordered by: None comes first."""
    return [(part is not None, part) for part in (key if isinstance(key, tuple) else (key,))]


def _value(kind: str | None, integer: int) -> Any:
    if kind == "datetime":
        return EPOCH + integer * MICROSECOND
    return bool(integer) if kind == "bool" else integer


# ---- for people ----


def moment_of(key: Any) -> Any:
    """What orders keys by their time, which is the last part; those without come first."""
    last = key[-1] if isinstance(key, tuple) else key
    return last is not None, last


def show_key(key: Any) -> str:
    """A key on one line, the middle of long parts left out."""
    if isinstance(key, tuple):
        return ", ".join(map(show_key, key))
    text = key.isoformat(" ") if isinstance(key, dt.datetime) else str(key)
    if isinstance(key, str) and not (key.isprintable() and key.strip() == key != ""):
        text = repr(key)
    return cut(text, LONG)


def cut(text: str, most: int) -> str:
    """A text of at most so many characters, the middle of a longer one left out."""
    return text if len(text) <= most else f"{text[: most // 2]}...{text[3 - most // 2 :]}"
