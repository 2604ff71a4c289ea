"""The first row in which two columns differ: values are compared, not their types or their text."""

import datetime as dt
import itertools
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamce.reading.differences import first_difference, shown

NAN = float("nan")
UTC = dt.UTC
NOON = dt.datetime(2024, 1, 2, 12)
EQUAL = {
    "integers": [pa.array([1, None, 3], type_) for type_ in (pa.int8(), pa.int64(), pa.uint64())],
    "numbers": [pa.array([1, None, 3]), pa.array([1.0, None, 3.0]), pa.array(["01", "", "3.0"]),
                pa.array([Decimal(1), None, Decimal(3)], pa.decimal128(9, 2))],
    "floats": [pa.array([0.1, NAN, 1e-05]), pa.array([0.1, NAN, 1e-05], pa.float32()),
               pa.array(["0.10", "nan", "1e-5"])],
    "decimals": [pa.array([Decimal("1.5"), None], pa.decimal128(9, 1)), pa.array([1.5, None]),
                 pa.array([Decimal("1.50"), None], pa.decimal256(50, 2)), pa.array(["1.5", ""])],
    "booleans": [pa.array([True, None, False]), pa.array(["True", "", "False"])],
    "flags": [pa.array([True, None, False]), pa.array([1, None, 0]), pa.array([1.0, None, 0.0])],
    "text": [pa.array(["a", None, "c"]), pa.array(["a", "", "c"], pa.large_string()),
             pa.array(["a", None, "c"]).dictionary_encode()],
    "days": [pa.array([dt.date(2024, 1, 2), None]), pa.array(["2024-01-02", ""]),
             pa.array([dt.datetime(2024, 1, 2), None], pa.timestamp("ns"))],
    "moments": [pa.array([NOON, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")]
    + [pa.array([NOON.replace(tzinfo=UTC), None], pa.timestamp("us", zone)) for zone in ("UTC", "Asia/Tokyo")]
    + [pa.array(["2024-01-02T12:00:00Z", None])],
    "local moments": [pa.array([NOON, None], pa.timestamp("us")), pa.array(["2024-01-02 12:00:00", ""])],
    "lists": [pa.array([[1.0, NAN], None, [], [2.0]], pa.list_(pa.float64())),
              pa.array([[1.0, NAN], None, [], [2.0]], pa.large_list(pa.float32()))],
    "structs": [pa.array([{"a": 1, "b": [NAN]}, None]), pa.array([{"a": 1, "b": [NAN]}, None])],
    "maps": [pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64()))] * 2,
    "nulls": [pa.nulls(3), pa.array(["", "", ""]), pa.array([None] * 3, pa.int64())],
}  # fmt: skip


@pytest.mark.parametrize("kind", EQUAL)
def test_equal_values_of_other_types_do_not_differ(kind):
    for a, b in itertools.permutations(EQUAL[kind], 2):
        assert first_difference(a, b) is None, (a.type, b.type)


DIFFERENT = {
    "a moment within a day": (pa.array([dt.date(2024, 1, 2)]), pa.array([NOON])),
    "a number that is not a boolean": (pa.array([True]), pa.array([5])),
    "a fraction and a boolean": (pa.array([False]), pa.array([0.5])),
    "a decimal and a close float": (pa.array([Decimal("1.00")], pa.decimal128(5, 2)), pa.array([1.004])),
    "nanoseconds": (pa.array([1], pa.time64("ns")), pa.array([2], pa.time64("ns"))),
    "integers beyond 2^53": (pa.array([2**53]), pa.array([2**53 + 1])),
    "an integer beyond 2^53 and a float": (pa.array([2**53 + 1]), pa.array([2.0**53])),
    "a negative and an unsigned number": (pa.array([-1]), pa.array([2**64 - 1], pa.uint64())),
    "a null and a value": (pa.array([None, 1])[:1], pa.array([0])),
    "a null and NaN": (pa.array([None], pa.float64()), pa.array([NAN])),
    "a null and an empty list": (pa.array([None], pa.list_(pa.int64())), pa.array([[]], pa.list_(pa.int64()))),
    "text and a number": (pa.array(["a"]), pa.array([1])),
    "other fields": (pa.array([{"a": 1}]), pa.array([{"b": 1}])),
    "maps": tuple(pa.array([[("a", i)]], pa.map_(pa.string(), pa.int64())) for i in (1, 2)),
    "a list and a number": (pa.array([[1]]), pa.array([1])),
    "seconds that no datetime holds": (pa.array([2**50], pa.timestamp("s")), pa.array([2**50 + 1], pa.timestamp("s"))),
    "a zone that is not known": tuple(pa.array([i], pa.timestamp("us", "No/Where")) for i in (1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_other_values_differ_and_can_be_shown(case):
    a, b = DIFFERENT[case]
    assert first_difference(a, b) == first_difference(b, a) == 0
    assert shown(a, 0)
    assert shown(b, 0)


rows = st.lists(st.none() | st.lists(st.none() | st.integers(0, 2), max_size=3), max_size=6)


@given(rows, rows, st.integers(0, 3))
def test_the_first_row_of_lists_that_differ_is_found(a, b, start):
    size = min(len(a), len(b))
    columns = [pa.array(each[:size], pa.list_(pa.int64()))[start:] for each in (a, b)]
    pairs = zip(*(column.to_pylist() for column in columns), strict=True)
    expected = next((row for row, (x, y) in enumerate(pairs) if x != y), None)
    assert first_difference(*columns) == expected


numbers = st.lists(st.integers(-3, 3), min_size=1, max_size=6)


@given(numbers, numbers, st.sampled_from(["i1", "i8", "f4", "f8", "text"]), st.sampled_from(["i2", "f4", "text"]))
def test_the_first_number_that_differs_is_found(a, b, kind_a, kind_b):
    size = min(len(a), len(b))
    columns = [
        pa.array([str(x) for x in each[:size]] if kind == "text" else np.array(each[:size], kind))
        for each, kind in ((a, kind_a), (b, kind_b))
    ]
    expected = next((row for row in range(size) if a[row] != b[row]), None)
    assert first_difference(*columns) == expected
