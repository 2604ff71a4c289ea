"""A key is the same in columns of any type."""

import datetime as dt
import json
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamce as ce
from streamce.cli.main import main

B = ce.BinaryCrossEntropy
PREDS, TARGET = [0.9, 0.2, 0.6, 0.3], [1, 0, 1, 0]
BINARY = ["--task", "binary", "--preds", "p", "--target", "y"]
IDS = [uuid.UUID(int=0x12345678_1234_5678_9ABC_DEF012345678), uuid.UUID(int=7)]
UUIDS = [IDS[0], IDS[1], None, IDS[0]]
NAN = float("nan")
STORED = pa.array([None if key is None else key.bytes for key in UUIDS], pa.binary(16))
NIGHT = dt.datetime(2024, 3, 31)


def decimals(type_):
    return pa.array([Decimal(7), Decimal(-3), None, Decimal(7)], type_)


# Columns of the keys of the first, which are the same keys.
ALIKE = {
    "integers": {
        "objects": [7, -3, None, 7],
        "floats": [7.0, -3.0, NAN, 7.0],
        "floats and integers": [7, -3.0, None, np.float32(7)],
        "decimals": [Decimal(7), Decimal("-3.0"), Decimal("NaN"), Decimal("7E0")],
        "float64": np.array([7, -3, NAN, 7]),
        "float32": np.array([7, -3, NAN, 7], np.float32),
        "float16": np.array([7, -3, NAN, 7], np.float16),
        "pandas float64": pd.Series([7, -3, None, 7]),
        "pandas Int64": pd.Series([7, -3, None, 7], dtype="Int64"),
        "pandas Float64": pd.Series([7, -3, None, 7], dtype="Float64"),
        "pandas Arrow": pd.Series([7, -3, None, 7], dtype="double[pyarrow]"),
        "pandas category": pd.Series([7.0, -3.0, None, 7.0], dtype="category"),
        "polars Int64": pl.Series([7, -3, None, 7]),
        "polars Float64": pl.Series([7.0, -3.0, None, 7.0]),
        "int8": pa.array([7, -3, None, 7], pa.int8()),
        "double": pa.array([7.0, -3.0, None, 7.0]),
        "float": pa.array([7, -3, None, 7], pa.float32()),
        "halffloat": pa.array(np.array([7, -3, NAN, 7], np.float16)),
        "decimal128": decimals(pa.decimal128(38, 0)),
        "decimal128 of scale 2": decimals(pa.decimal128(10, 2)),
        "decimal256": decimals(pa.decimal256(60, 0)),
        "dictionary": pa.array([7, -3, None, 7]).dictionary_encode(),
        "dictionary of double": pa.array([7.0, -3.0, None, 7.0]).dictionary_encode(),
        "chunks": pa.chunked_array([[7.0, -3.0], [None, 7.0]]),
    },
    "large": {
        "objects": [2**62 + 1, 2**53 + 1, 0, 1],
        "uint64": np.array([2**62 + 1, 2**53 + 1, 0, 1], np.uint64),
        "Arrow uint64": pa.array([2**62 + 1, 2**53 + 1, 0, 1], pa.uint64()),
        "decimal128": pa.array([Decimal(2**62 + 1), Decimal(2**53 + 1), Decimal(0), Decimal(1)], pa.decimal128(38, 0)),
        "decimals": [Decimal(2**62 + 1), Decimal(2**53 + 1), Decimal(0), Decimal(1)],
    },
    "text": {
        "objects": ["a", "b", None, "a"],
        "string": pa.array(["a", "b", None, "a"]),
        "large_string": pa.array(["a", "b", None, "a"], pa.large_string()),
        "string_view": pa.array(["a", "b", None, "a"], pa.string_view()),
        "dictionary": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "pandas string": pd.Series(["a", "b", None, "a"], dtype="string"),
        "pandas category": pd.Series(["a", "b", None, "a"], dtype="category"),
        "polars": pl.Series(["a", "b", None, "a"]),
    },
    "bytes": {
        "objects": [b"ab", b"cd", None, b"ab"],
        "binary": pa.array([b"ab", b"cd", None, b"ab"]),
        "large_binary": pa.array([b"ab", b"cd", None, b"ab"], pa.large_binary()),
        "binary_view": pa.array([b"ab", b"cd", None, b"ab"], pa.binary_view()),
        "fixed_size_binary": pa.array([b"ab", b"cd", None, b"ab"], pa.binary(2)),
    },
    "UUIDs": {
        "text": [None if key is None else str(key) for key in UUIDS],
        "objects": UUIDS,
        "pandas objects": pd.Series(UUIDS),
        "Arrow": pa.ExtensionArray.from_storage(pa.uuid(), STORED),
        "chunks": pa.chunked_array([pa.ExtensionArray.from_storage(pa.uuid(), STORED)]),
    },
    "datetimes": {
        "objects": [NIGHT, NIGHT, None, NIGHT],
        "dates": [NIGHT.date(), NIGHT.date(), None, NIGHT.date()],
        "date32": pa.array([NIGHT.date(), NIGHT.date(), None, NIGHT.date()], pa.date32()),
        "s": pa.array([NIGHT, NIGHT, None, NIGHT], pa.timestamp("s")),
        "ns": pa.array([NIGHT, NIGHT, None, NIGHT], pa.timestamp("ns")),
        "UTC": pa.array([NIGHT, NIGHT, None, NIGHT], pa.timestamp("us", "UTC")),
        "pandas": pd.Series([NIGHT, NIGHT, None, NIGHT]),
    },
}
CASES = [(kind, name) for kind, columns in ALIKE.items() for name in columns]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_groups(kind, name):
    first, *_ = ALIKE[kind].values()
    expected = ce.Grouped(B()).update(PREDS, TARGET, by=first)
    found = ce.Grouped(B()).update(PREDS, TARGET, by=ALIKE[kind][name])
    assert found.to_bytes() == expected.to_bytes()
    assert found.update(PREDS, TARGET, by=first) == expected + expected
    other = ["x"] * 4
    pairs = [ce.Grouped(B()).update(PREDS, TARGET, by=(keys, other)) for keys in (first, ALIKE[kind][name])]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_clusters(kind, name):
    first, *_ = ALIKE[kind].values()
    used = [i for i in range(4) if i != 2 or kind == "large"]
    column = ALIKE[kind][name]
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        chunked = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
        column = pa.chunked_array([chunk for i in used for chunk in chunked.slice(i, 1).chunks])
    elif isinstance(column, list):
        column = [column[i] for i in used]
    else:
        column = column.iloc[used] if hasattr(column, "iloc") else column[used]
    arguments = [PREDS[i] for i in used], [TARGET[i] for i in used]
    expected = B().update(*arguments, cluster=[first[i] for i in used])
    assert B().update(*arguments, cluster=column).to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("option", ["--by", "--cluster"])
@pytest.mark.parametrize("kind", ["integers", "text", "UUIDs"])
def test_files_of_other_types_add_up(tmp_path, kind, option):
    rows = slice(0, 2)  # without a null, which is no cluster
    names = [name for name, each in ALIKE[kind].items() if isinstance(each, pa.Array) and name != "halffloat"]
    for name in names:
        table = pa.table({"p": PREDS, "y": TARGET, "k": ALIKE[kind][name]})[rows]
        pq.write_table(table, tmp_path / f"{name}.parquet")
    with (tmp_path / "z.jsonl").open("w") as file:
        for i in range(2):
            key = ALIKE[kind]["objects"][i]
            file.write(json.dumps({"p": PREDS[i], "y": TARGET[i], "k": key if kind == "integers" else str(key)}) + "\n")
    state = tmp_path / "out"
    assert main(["eval", str(tmp_path), *BINARY, option, "k", "--state", str(state)]) == 0
    keys = ALIKE[kind]["objects"][rows] * (len(names) + 1)
    arguments = PREDS[rows] * (len(names) + 1), TARGET[rows] * (len(names) + 1)
    metric = ce.Grouped(B()) if option == "--by" else B()
    expected = metric.update(*arguments, **{option.removeprefix("--"): keys})
    assert ce.load(state).to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("type_", [pa.float64(), pa.float32(), pa.decimal128(9, 1)])
def test_a_fraction_is_no_key(tmp_path, capsys, type_):
    keys = [Decimal(1), Decimal("1.5")] if pa.types.is_decimal(type_) else [1.0, 1.5]
    table = pa.table({"p": PREDS[:2], "y": TARGET[:2], "k": pa.array(keys, type_)})
    pq.write_table(table, tmp_path / "a.parquet")
    for option in ("--by", "--cluster"):
        assert main(["eval", str(tmp_path / "a.parquet"), *BINARY, option, "k"]) == 1
        line = capsys.readouterr().err
        assert "row 1: column 'k' is " in line
        assert "1.5" in line
        assert "expected" in line


@pytest.mark.parametrize(
    "keys",
    [
        np.array([1, 1, 2**63], np.uint64),
        pa.array([1, None, 2**63], pa.uint64()),
        pa.array([1, 1, 2**63], pa.uint64()).dictionary_encode(),
        pa.array([Decimal(1), None, Decimal(2**63)], pa.decimal128(38, 0)),
        [1, None, 2**63],
        [1, 1, 2.0**63],
        np.array([1, NAN, 2**63]),
        pd.Series([1, 1, 2**63], dtype="category"),
    ],
)
def test_integers_beyond_int64_are_named(keys):
    with pytest.raises(ce.InputError, match=r"^by\[2\] is 9\.?22337203685477.*: expected integers that fit int64"):
        ce.Grouped(B()).update(PREDS[:3], TARGET[:3], by=keys)


def test_an_error_in_categories_names_the_sample():
    with pytest.raises(ce.InputError, match=r"^by\[2\] is 1.5"):
        ce.Grouped(B()).update(PREDS[:3], TARGET[:3], by=pd.Categorical([7, 7, 1.5]))
