"""Keys of two types have the same form if, and only if, they are the same value."""

import datetime as dt
import decimal
import uuid
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamce.errors import DataError, SelectionError
from streamce.reading.key_values import canonical, common_kind

EDGES = [0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]
INTEGERS = [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]
FLOATS = [pa.float32(), pa.float64()]
DECIMALS = [pa.decimal128(38, 0), pa.decimal128(30, 3), pa.decimal256(60, 30)]


def values_of(type_):
    """Return a strategy of values of a type. Small numbers, and the edges of types, occur often."""
    integers = st.one_of(st.integers(-3, 3), st.sampled_from(EDGES), st.integers(-(2**63), 2**64 - 1))
    if pa.types.is_integer(type_):
        limit, signed = 2**type_.bit_width, pa.types.is_signed_integer(type_)
        return integers.map(lambda x: (x + limit // 2) % limit - limit // 2 if signed else x % limit)
    if pa.types.is_floating(type_):
        floats = st.floats(width=type_.bit_width, allow_nan=False)
        return st.one_of(integers.map(lambda x: float(np.dtype(f"f{type_.bit_width // 8}").type(x))), floats)
    if pa.types.is_decimal(type_):
        digits = st.sampled_from(["", ".5", ".125", ".100"] if type_.scale else [""])
        return st.tuples(integers.map(str), digits).map("".join).map(decimal.Decimal)
    return st.booleans()


def rows(column):
    """Return the form of a column row by row."""
    return list(zip(*(array.to_pylist() for array in column), strict=True))


def are_equal(a, type_a, b, type_b):
    """Return whether two numbers are equal, exactly, or as floats of the narrower type."""
    floats = [type_ for type_ in (type_a, type_b) if pa.types.is_floating(type_)]
    if len(floats) == 2:
        narrow = np.dtype(f"f{min(type_.bit_width for type_ in floats) // 8}").type
        with np.errstate(over="ignore"):
            return bool(narrow(a) == narrow(b))
    if floats and any(pa.types.is_decimal(type_) for type_ in (type_a, type_b)):
        return float(a) == float(b)
    if any(isinstance(x, float) and not np.isfinite(x) for x in (a, b)):
        return False
    return Fraction(a) == Fraction(b)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_numbers_are_equal_by_value(data):
    types = st.sampled_from([*INTEGERS, *FLOATS, *DECIMALS, pa.bool_()])
    type_a, type_b = data.draw(types), data.draw(types)
    a, b = (data.draw(st.lists(values_of(type_), min_size=1, max_size=6)) for type_ in (type_a, type_b))
    kind = common_kind("k", type_a, type_b)
    forms = [
        rows(canonical(pa.array(values, type_), kind, empty_is_null=True))
        for values, type_ in ((a, type_a), (b, type_b))
    ]
    found = [[x == y for y in forms[1]] for x in forms[0]]
    assert found == [[are_equal(x, type_a, y, type_b) for y in b] for x in a]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_text_is_read_as_the_type_of_the_other_file(data):
    type_ = data.draw(st.sampled_from([*INTEGERS, *FLOATS, *DECIMALS]))
    values = data.draw(st.lists(values_of(type_), min_size=1, max_size=6))
    column = pa.array(values, type_)
    texts = [
        str(np.float32(x)) if type_ == pa.float32() else f"{x!r}" if isinstance(x, float) else str(x) for x in values
    ]
    forms = [f"{text}.0" if text.lstrip("-").isdigit() and data.draw(st.booleans()) else text for text in texts]
    kind = common_kind("k", pa.string(), type_)
    assert kind == common_kind("k", type_, pa.string())
    found = canonical(pa.array(forms), kind, empty_is_null=True)
    assert rows(found) == rows(canonical(column, kind, empty_is_null=True))


@given(st.lists(st.uuids(), min_size=1))
def test_uuids_equal_their_text(ids):
    a, b = pa.array([each.bytes for each in ids], pa.binary(16)), pa.array([str(each) for each in ids])
    kind = common_kind("k", a.type, b.type)
    assert rows(canonical(a, kind, empty_is_null=True)) == rows(canonical(b, kind, empty_is_null=True))


@given(st.lists(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), min_size=1))
def test_times_equal_their_text_in_every_unit(times):
    times = [each.replace(microsecond=0) for each in times]
    text = pa.array([each.isoformat() for each in times])
    expected = [(int(each.replace(tzinfo=dt.UTC).timestamp()), 0) for each in times]
    for unit in ("s", "ms", "us", "ns"):
        for zone in (None, "UTC", "Europe/Berlin"):
            column = pa.array(times, pa.timestamp(unit)).cast(pa.timestamp(unit, zone))
            kind = common_kind("k", column.type, text.type)
            for each in column, text, pa.array([f"{x.isoformat()}Z" for x in times]):
                assert rows(canonical(each, kind, empty_is_null=True)) == expected


def test_spellings_may_differ_between_rows():
    kind = common_kind("k", pa.string(), pa.int64())
    column = pa.array(["1", "2.0", "3e0", "+4", "9007199254740993", "true"])
    assert canonical(column, kind, empty_is_null=True)[0].to_pylist() == [1, 2, 3, 4, 2**53 + 1, 1]
    kind = common_kind("k", pa.timestamp("us"), pa.string())
    column = pa.array(["1970-01-01", "1970-01-01T01:00:00+01:00", "1970-01-01 00:00:00.000000001"])
    assert rows(canonical(column, kind, empty_is_null=True)) == [(0, 0), (0, 0), (0, 1)]


@pytest.mark.parametrize(
    ("values", "other", "row", "found"),
    [
        (["1", "x"], pa.int64(), 1, "is 'x': expected an integer, as in the other file"),
        (["1", "1.5"], pa.int64(), 1, "is '1.5': expected an integer"),
        (["1_000"], pa.int64(), 0, "is '1_000': expected an integer"),
        (["1", "2", "x", "y"], pa.float64(), 2, "is 'x': expected a number"),
        (["nan"], pa.float64(), 0, "is 'nan': expected a number"),
        (["1.5", "-"], pa.decimal128(5, 2), 1, "is '-': expected a decimal"),
        (["2024-01-01", "soon"], pa.date32(), 1, "is 'soon': expected a time"),
        (["25:00:00"], pa.time32("s"), 0, "is '25:00:00': expected a time of day"),
        (["1 s"], pa.duration("s"), 0, "is '1 s': expected a duration"),
        (["abc"], pa.binary(16), 0, "is 'abc': expected a UUID"),
        ([str(2**64 - 1)], pa.int64(), 0, f"is '{2**64 - 1}': expected an integer"),
        (["a", None], pa.string(), 1, "is null: expected a key"),
        (["a", ""], pa.string(), 1, "is null: expected a key"),
        ([1.0, float("nan")], pa.float64(), 1, "is null: expected a key"),
        ([None], pa.int64(), 0, "is null: expected a key"),
    ],
)
def test_the_first_row_that_is_no_key_is_named(values, other, row, found):
    column = pa.array(values)
    with pytest.raises(DataError) as error:
        canonical(column, common_kind("k", column.type, other), empty_is_null=True)
    assert (error.value.row, error.value.found[: len(found)]) == (row, found)


def test_types_of_later_files_may_differ_if_they_fit():
    kind = common_kind("k", pa.int64(), pa.int64())
    for column in (pa.array([7.0]), pa.array(["7"]), pa.array([7], pa.uint64()), pa.array(["7"]).dictionary_encode()):
        assert rows(canonical(column, kind, empty_is_null=True)) == [(7,)]
    for column in (pa.array([7.5]), pa.array([2**63], pa.uint64())):
        with pytest.raises(DataError, match="expected an integer, as in the other file"):
            canonical(column, kind, empty_is_null=True)
    with pytest.raises(DataError, match=r"holds timestamp\[us\]: expected a integer|holds timestamp"):
        canonical(pa.array([dt.datetime(2024, 1, 1)]), kind, empty_is_null=True)


@pytest.mark.parametrize(
    ("a", "b"),
    [(pa.int64(), pa.timestamp("s")), (pa.date32(), pa.time32("s")), (pa.list_(pa.int64()), pa.int64()),
     (pa.int64(), pa.struct([("a", pa.int64())]))],
)  # fmt: skip
def test_types_that_cannot_be_equal_are_refused(a, b):
    with pytest.raises(SelectionError, match=r"^column 'k' holds .*: expected keys"):
        common_kind("k", a, b)


def test_empty_text_of_a_typed_file_is_a_key():
    kind = common_kind("k", pa.string(), pa.string())
    assert rows(canonical(pa.array(["", "a"]), kind, empty_is_null=False)) == [(b"",), (b"a",)]


def test_an_extension_type_is_read_as_its_storage():
    ids = [uuid.UUID(int=i) for i in (1, 2)]
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([each.bytes for each in ids], pa.binary(16)))
    kind = common_kind("k", pa.binary(16), pa.string())
    assert rows(canonical(column, kind, empty_is_null=True)) == [(each.bytes,) for each in ids]
