"""A column comes back from DuckDB as it was, whatever DuckDB thinks of its type."""

import decimal

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from streamce.errors import DataError
from streamce.reading.carriers import carry, restore

NUMBERS = [
    pa.int8(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
    pa.decimal128(5, 1),
    pa.decimal256(50, 1),
    pa.timestamp("ns", "UTC"),
    pa.date32(),
    pa.time32("ms"),
    pa.time64("ns"),
    pa.duration("us"),
]
COLUMNS = {
    **{str(type_): pa.array([1, None, 3], type_) for type_ in NUMBERS},
    "date64": pa.array([86_400_000, None, 0], pa.date64()),
    "half": pa.array(np.array([1, np.nan, -0.0], np.float16)),
    "nan": pa.array([float("nan"), -0.0, None]),
    "bool": pa.array([True, None, False]),
    "string": pa.array(["a", None, "ü"]),
    "large string": pa.array(["a", None, "ü"], pa.large_string()),
    "view": pa.array(["a", None, "ü"], pa.string_view()),
    "binary": pa.array([b"\xff", None, b""]),
    "fixed binary": pa.array([b"aa", None, b"\x00b"], pa.binary(2)),
    "null": pa.nulls(3),
    "dictionary": pa.array(["a", None, "a"]).dictionary_encode(),
    "list": pa.array([[1.5], None, [2.0, None]]),
    "list of lists": pa.array([[["a"], None], [], None]),
    "fixed list": pa.array([[1, 2], None, [3, None]], pa.list_(pa.float16(), 2)),
    "struct": pa.array([{"x": 1, "y": ["q"]}, None, {"x": None, "y": None}]),
    "empty struct": pa.array([{}, None, {}], pa.struct([])),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, None, b"b" * 16], pa.binary(16))),
    "interval": pa.array([(1, 2, 3), None, (0, 0, 1)], pa.month_day_nano_interval()),
    "wide decimal": pa.array([decimal.Decimal("-0." + "9" * 30), None, decimal.Decimal(0)], pa.decimal128(38, 30)),
}  # fmt: skip


def from_duckdb(column):
    connection = duckdb.connect(config={"arrow_large_buffer_size": True})
    connection.register("t", pa.table({"a": column}))
    connection.execute("CREATE TABLE stored AS SELECT * FROM t")
    table = connection.sql("SELECT * FROM stored").to_arrow_table()
    return table["a"].combine_chunks()


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("start", [0, 1])
def test_a_column_comes_back_as_it_was(name, start):
    column = COLUMNS[name].slice(start)
    stored = from_duckdb(carry(column))
    found = restore(stored, column.type)
    assert repr(found.to_pylist()) == repr(column.to_pylist())
    is_plain = not (pa.types.is_nested(column.type) or pa.types.is_dictionary(column.type))
    assert not is_plain or found.type == column.type


def test_maps_come_back_as_lists_of_entries():
    column = pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64()))
    found = restore(from_duckdb(carry(column)), column.type)
    assert found.to_pylist() == [[{"key": "k", "value": 1}], None, []]


@pytest.mark.parametrize(
    "column",
    [
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
        pa.array([[1]], pa.list_view(pa.int64())),
        pa.RunEndEncodedArray.from_arrays([2], [1]),
    ],
    ids=lambda column: str(column.type),
)
def test_a_type_that_cannot_be_carried_is_named(column):
    with pytest.raises(DataError, match=r"^holds .*, which cannot be matched by key$"):
        carry(column)
