"""Key columns of two tables in one form, in which equal keys have equal entries whatever their types.

CSV has only text, so text is read as the type of the other table. Numbers are equal by value, floats with the precision
of the narrower type. Times are equal by instant, and a time without a zone is UTC.
"""

from __future__ import annotations

import contextlib
import decimal
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamce.errors import DataError, SelectionError
from streamce.inputs import arrow
from streamce.reading.differences import shown

Array = np.ndarray[Any, Any]
Form = list[Any]  # Arrow arrays of one length

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
UUID_BYTES = 16
MAX_EXACT_FLOAT = 2.0**53
WHOLE_FLOAT = r"^-?\d+\.0*$"
EXACT = decimal.Context(prec=100)  # more digits than any decimal of Arrow has
# How to read the 64 bits of a number. TEXT is a decimal that needs more than these bits.
SIGNED, UNSIGNED, FLOAT, TEXT = range(4)


class KeyKind(NamedTuple):
    """What the entries of a key column are in both tables.

    ``name`` is "integer" (of 64 bits with a sign), "number", "decimal", "text", "UUID", "time", "time of day" or
    "duration". Floats, and text that stands for floats, are rounded to ``float_type``. If it is None, text stands for
    integers.
    """

    name: str
    float_type: Any = None


def common_kind(name: str, a: Any, b: Any) -> KeyKind:
    """Return how columns of two types are compared. Raise SelectionError if their entries cannot be equal."""
    for type_ in (a, b):
        if _family(type_) is None:
            raise SelectionError(f"column '{name}' holds {type_}: expected keys, which are numbers, text or times")
    families = {_family(type_) or "" for type_ in (a, b)} - {"null", "text"}
    if len(families) > 1:
        raise SelectionError(f"column '{name}' holds {a} in A and {b} in B: expected keys that can be equal")
    family = next(iter(families), "text")
    if family == "number":
        return _number_kind(a, b)
    if family == "text":
        is_uuid = [pa.types.is_fixed_size_binary(type_) and type_.byte_width == UUID_BYTES for type_ in (a, b)]
        return KeyKind("UUID" if any(is_uuid) and not all(is_uuid) else "text")
    return KeyKind(family)


def _number_kind(a: Any, b: Any) -> KeyKind:
    floats = [type_ for type_ in (a, b) if pa.types.is_floating(type_)]
    if floats:
        has_integers = any(_family(type_) == "number" and not pa.types.is_floating(type_) for type_ in (a, b))
        return KeyKind("number", pa.float64() if has_integers else min(floats, key=lambda type_: type_.bit_width))
    if any(map(pa.types.is_decimal, (a, b))):
        return KeyKind("decimal")
    return KeyKind("number" if any(map(pa.types.is_uint64, (a, b))) else "integer")


def _family(type_: Any) -> str | None:
    """Return a name for all types whose entries can be equal to those of a type; None if it is no type of keys."""
    type_ = type_.value_type if pa.types.is_dictionary(type_) else type_
    families = {
        "null": pa.types.is_null(type_),
        "number": arrow.is_number(type_),
        "text": pa.types.is_fixed_size_binary(type_) or (arrow.is_text(type_) and not arrow.is_list(type_)),
        "time": pa.types.is_date(type_) or pa.types.is_timestamp(type_),
        "time of day": pa.types.is_time(type_),
        "duration": pa.types.is_duration(type_),
    }
    return next((family for family, is_member in families.items() if is_member), None)


def canonical(column: Any, kind: KeyKind, *, empty_is_null: bool) -> Form:
    """Return a key column as arrays without nulls. Keys are equal if their entries in all these arrays are equal.

    The number and types of the arrays depend only on the kind. A DataError names the first row whose entry is null, or
    is not of this kind. ``empty_is_null`` says whether empty text is null.
    """
    column = getattr(column, "storage", column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    family = _family(column.type)
    if family == "text":
        column = column.cast(pa.large_binary())
    null = arrow.flat(column.is_null())[0]
    if pa.types.is_floating(column.type):
        null = null | np.isnan(arrow.flat(column)[0])
    if family == "text" and empty_is_null:
        null = null | (np.diff(_offsets(column)) == 0)
    if null.any():
        raise DataError("is null: expected a key", row=int(null.argmax()))
    if family == "text":
        return [column] if kind.name == "text" else _read_text(column, kind)
    if family != ("number" if kind.name in ("integer", "decimal") else kind.name):
        raise DataError(f"holds {column.type}: expected a {kind.name}, as in the first file")
    return FORMS[kind.name](column, kind)


def _offsets(column: Any) -> Array:
    """Return where the entries of large binaries begin, and where the last one ends."""
    if not len(column):
        return np.zeros(1, np.int64)
    return np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, column.offset * 8)


# ---- the forms of values ----


def _integer_form(column: Any, kind: KeyKind) -> Form:
    bits, how = _number_form(column, kind)
    wrong = arrow.flat(how)[0] != SIGNED
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"is {shown(column, row)}: expected an integer, as in the other file", row=row)
    return [bits]


def _number_form(column: Any, kind: KeyKind) -> Form:
    """Return the 64 bits of each number, and how to read them. A float without a fraction is an integer."""
    if pa.types.is_decimal(column.type) and kind.float_type is None:
        raise DataError(f"holds {column.type}: expected an integer, as in the first file")
    values = arrow.flat(column)[0]
    if values.dtype.kind != "f":
        how = np.zeros(len(values), np.int8)
        if values.dtype == np.uint64:
            how[values >= 2**63] = UNSIGNED
        return _bits(values.astype(np.uint64 if values.dtype == np.uint64 else np.int64), how)
    if kind.float_type is not None and pa.types.is_floating(column.type):
        with np.errstate(over="ignore"):  # the narrower type decides which numbers are equal
            values = values.astype(f"f{kind.float_type.bit_width // 8}")
    values = values.astype(np.float64)
    bits, how = values.view(np.int64).copy(), np.full(len(values), FLOAT, np.int8)
    is_whole = values == np.floor(values)
    signed = is_whole & (values >= -(2.0**63)) & (values < 2.0**63)
    unsigned = is_whole & (values >= 2.0**63) & (values < 2.0**64)
    bits[signed], how[signed] = values[signed].astype(np.int64), SIGNED
    bits[unsigned], how[unsigned] = values[unsigned].astype(np.uint64).view(np.int64), UNSIGNED
    return _bits(bits, how)


def _bits(values: Array, how: Array) -> Form:
    return [pa.array(values.view(np.int64)), pa.array(how)]


def _decimal_form(column: Any, kind: KeyKind) -> Form:
    """Return the form of numbers, and the text of each decimal that 64 bits cannot hold."""
    if not pa.types.is_decimal(column.type):
        if pa.types.is_floating(column.type):
            raise DataError(f"holds {column.type}: expected a decimal, as in the first file")
        return [*_number_form(column, kind), pa.array([b""] * len(column), pa.large_binary())]
    with contextlib.suppress(pa.ArrowInvalid):  # raised for a fraction, or a value out of range
        return _decimal_form(column.cast(pa.int64()), kind)
    return _exact_form(column.to_pylist())


def _exact_form(values: Sequence[decimal.Decimal]) -> Form:
    """Return the form of decimals that may have fractions."""
    bits, how, text = np.zeros(len(values), np.int64), np.zeros(len(values), np.int8), [b""] * len(values)
    for row, value in enumerate(values):
        if value != value.to_integral_value() or not -(2**63) <= value < 2**64:
            how[row], text[row] = TEXT, str(value.normalize(EXACT)).encode()
        elif value < 2**63:
            bits[row] = int(value)
        else:
            bits[row], how[row] = int(value) - 2**64, UNSIGNED
    return [*_bits(bits, how), pa.array(text, pa.large_binary())]


def _time_form(column: Any, kind: KeyKind) -> Form:
    """Return whole seconds and the rest in units of 10^-9 seconds, so that no unit overflows."""
    if pa.types.is_date32(column.type):
        days = arrow.flat(column.view(pa.int32()))[0].astype(np.int64)
        return _seconds(days * 86400, 1)
    unit = "ms" if pa.types.is_date64(column.type) else column.type.unit
    width = pa.int32() if pa.types.is_time32(column.type) else pa.int64()
    return _seconds(arrow.flat(column.view(width))[0].astype(np.int64), PER_SECOND[unit])


def _seconds(values: Array, per_second: int) -> Form:
    seconds, rest = np.divmod(values, per_second)
    return [pa.array(seconds), pa.array(rest * (10**9 // per_second))]


FORMS: dict[str, Callable[[Any, KeyKind], Form]] = {
    "integer": _integer_form,
    "number": _number_form,
    "decimal": _decimal_form,
    "time": _time_form,
    "time of day": _time_form,
    "duration": _time_form,
}


# ---- text ----


def _read_text(text: Any, kind: KeyKind) -> Form:
    """Return the form of text that stands for values of another type."""
    try:
        return _read_pieces(text, kind, 0)
    except DataError as error:
        is_integer = kind.name == "integer" or kind == KeyKind("number")
        expected = "an integer" if is_integer else f"a {kind.name}"
        raise error.changed(found=f"{error.found}: expected {expected}, as in the other file") from None


def _read_pieces(text: Any, kind: KeyKind, row: int) -> Form:
    """Read text in one piece, or else in two, because spellings may differ between rows."""
    for read in READERS[kind.name]:
        # A DataError, which is a ValueError, is about a value that is read but is not of the kind.
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, ArithmeticError):
            return read(text, kind)
    if len(text) == 1:
        with contextlib.suppress(pa.ArrowInvalid):
            text = text.cast(pa.string())
        raise DataError(f"is {shown(text, 0)}", row=row)
    middle = len(text) // 2
    halves = _read_pieces(text.slice(0, middle), kind, row), _read_pieces(text.slice(middle), kind, row + middle)
    return [pa.concat_arrays(parts) for parts in zip(*halves, strict=True)]


def _cast_reader(type_: Any = None) -> Callable[[Any, KeyKind], Form]:
    """Return a reader of text as values of a type, or of the kind's type of floats."""

    def read(text: Any, kind: KeyKind) -> Form:
        if type_ is None and kind.float_type is None:
            raise ValueError
        values = text.cast(pa.string()).cast(type_ or kind.float_type)
        if pa.types.is_floating(values.type) and np.isnan(arrow.flat(values)[0]).any():
            raise ValueError
        return FORMS[kind.name](values, kind)

    return read


def _read_whole_floats(text: Any, kind: KeyKind) -> Form:
    """Read integers that are written as floats, such as 1.0, because pandas writes them so beside a null."""
    text = text.cast(pa.string())
    if not pc.all(pc.match_substring_regex(text, WHOLE_FLOAT)).as_py():  # float64 may have no room for a fraction
        raise ValueError
    values = arrow.flat(text.cast(pa.float64()))[0]
    if not (np.abs(values) < MAX_EXACT_FLOAT).all():
        raise ValueError
    return FORMS[kind.name](pa.array(values.astype(np.int64)), kind)


def _read_decimals(text: Any, kind: KeyKind) -> Form:
    values = [decimal.Decimal(each.replace("_", "?")) for each in text.cast(pa.string()).to_pylist()]
    form = _exact_form(values)
    if kind.name == "decimal":
        return form
    hows = set(form[1].to_pylist())
    if not hows <= ({SIGNED} if kind.name == "integer" else {SIGNED, UNSIGNED}):
        raise ValueError
    return form[:1] if kind.name == "integer" else form[:2]


def _read_times_of_day(text: Any, kind: KeyKind) -> Form:
    """Read times of day as those of the first day, because Arrow reads only moments."""
    prefixed = pc.binary_join_element_wise("1970-01-01 ", text.cast(pa.string()), "")
    return _time_form(prefixed.cast(pa.timestamp("ns")), kind)


def _read_uuids(text: Any, kind: KeyKind) -> Form:
    return [pa.array([uuid.UUID(each).bytes for each in text.cast(pa.string()).to_pylist()], pa.large_binary())]


def _read_bytes(text: Any, kind: KeyKind) -> Form:
    """Take what already is the bytes of UUIDs."""
    if (np.diff(_offsets(text)) != UUID_BYTES).any():
        raise ValueError
    return [text]


_INTEGERS = (_cast_reader(pa.int64()), _cast_reader(pa.uint64()), _read_whole_floats)
READERS: dict[str, tuple[Callable[[Any, KeyKind], Form], ...]] = {
    "integer": (*_INTEGERS, _read_decimals, _cast_reader(pa.bool_())),
    "number": (_cast_reader(), *_INTEGERS, _read_decimals, _cast_reader(pa.bool_())),
    "decimal": (*_INTEGERS, _read_decimals, _cast_reader(pa.bool_())),
    # Arrow reads text without a zone not as a type with one, and vice versa.
    "time": tuple(_cast_reader(pa.timestamp(unit, zone)) for unit in ("us", "ns", "s") for zone in (None, "UTC")),
    "time of day": (_read_times_of_day,),
    "duration": (),
    "UUID": (_read_bytes, _read_uuids),
}
