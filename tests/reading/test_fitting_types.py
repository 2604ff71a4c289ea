"""Batches and files whose types differ but fit add up, and the result does not depend on their order."""

import datetime as dt
import itertools
import random
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamce as ce
from streamce.cli.main import main

B, M = ce.BinaryCrossEntropy, ce.MulticlassCrossEntropy
CSV = "p,y\n.9,1\n.2,0\n.7,\n.6,1\n"


def test_frames_of_pandas(tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    expected = B(invalid="skip").update([0.9, 0.2, 0.7, 0.6], [1, 0, None, 1])
    for size in (1, 2, 3, 4):
        metric = B(invalid="skip").update_from(pd.read_csv(tmp_path / "a.csv", chunksize=size), preds="p", target="y")
        assert metric.compute() == pytest.approx(0.279777, abs=1e-6)
        assert metric.to_bytes() == expected.to_bytes()


def test_frames_of_pandas_with_whole_predictions(tmp_path):
    (tmp_path / "a.csv").write_text("p,y\n1,1\n0,0\n.5,1\n1,1\n")
    expected = B().update([1.0, 0.0, 0.5, 1.0], [1, 0, 1, 1])
    for size in (1, 2, 3, 4):
        metric = B().update_from(pd.read_csv(tmp_path / "a.csv", chunksize=size), preds="p", target="y")
        assert metric.to_bytes() == expected.to_bytes()
    for size in (1, 2):
        with pytest.raises(ce.InputError, match="column 'y' holds int64, expected predictions, which are floating-poi"):
            B().update_from(pd.read_csv(tmp_path / "a.csv", chunksize=size), preds="y", target="p")


MOMENT = dt.datetime(2024, 3, 31, 1, 30)
# Types of a column, its values and its name. All hold the same values, except those of null.
FIT = {
    "predictions": ("p", [0.75, 0.25], [pa.float64(), pa.float32(), pa.float16(), pa.null(), pa.decimal128(5, 2),
                                        pa.decimal128(9, 4), pa.decimal256(50, 3)]),
    "labels": ("y", [1, 0], [pa.int64(), pa.int8(), pa.uint64(), pa.int32(), pa.float64(), pa.float32(), pa.null(),
                             pa.decimal128(3, 1), pa.dictionary(pa.int8(), pa.int64())]),
    "weights": ("w", [2, 1], [pa.int64(), pa.int8(), pa.float64(), pa.null(), pa.decimal128(3, 1)]),
    "integers": ("k", [7, 8], [pa.int64(), pa.uint8(), pa.float64(), pa.null(), pa.decimal128(38, 0)]),
    "text": ("k", ["a", "b"], [pa.string(), pa.large_string(), pa.string_view(), pa.null(),
                               pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string())]),
    "bytes": ("k", [b"a", b"b"], [pa.binary(), pa.large_binary(), pa.binary(1), pa.null()]),
    "moments": ("t", [MOMENT, MOMENT], [pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("s"), pa.null(),
                                        pa.timestamp("ms", "UTC")]),
}  # fmt: skip


def batches(kind):
    """Return a batch of two rows for each type of a column."""
    name, values, types = FIT[kind]
    rows = {"p": [0.75, 0.25], "y": [1, 0], "w": [1.0, 2.0], "k": [1, 2], "t": [MOMENT, MOMENT]}
    for type_ in types:
        column = pa.nulls(2) if pa.types.is_null(type_) else pa.array(
            [Decimal(str(value)) for value in values] if pa.types.is_decimal(type_) else values,
            type_.value_type if pa.types.is_dictionary(type_) else type_)  # fmt: skip
        column = column.dictionary_encode() if pa.types.is_dictionary(type_) else column
        yield pa.RecordBatch.from_pydict(rows | {name: column})


def metric_of(kind):
    """Return an empty metric, and the columns of a stream for it."""
    columns = {"preds": "p", "target": "y", "weight": "w"}
    if kind == "moments":
        return ce.Grouped(B(invalid="skip"), period="1h"), columns | {"by_time": "t"}
    if kind in ("integers", "text", "bytes"):
        return ce.Grouped(B(invalid="skip")), columns | {"by": "k"}
    return B(invalid="skip"), columns


@pytest.mark.parametrize("kind", FIT)
def test_batches_of_a_stream_in_any_order(kind):
    parts = list(batches(kind))
    alone, columns = metric_of(kind)
    for part in parts:
        alone.update_from(part, **columns)
    orders = list(itertools.permutations(parts)) if len(parts) < 5 else [parts, parts[::-1]]
    orders += [random.Random(seed).sample(parts, len(parts)) for seed in range(5)]
    for order in orders:
        for pieces in (order, [part.slice(i, 1) for part in order for i in range(2)]):
            metric, _ = metric_of(kind)
            assert metric.update_from(pieces, **columns).to_bytes() == alone.to_bytes()


@pytest.mark.parametrize("kind", [kind for kind in FIT if kind != "bytes"])
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_files_of_a_folder_in_any_order(tmp_path, kind, ending):
    parts = [
        part for part in batches(kind) if ending == "arrow" or not pa.types.is_float16(part.schema.field("p").type)
    ]
    options = ["--task", "binary", "--preds", "p", "--target", "y", "--weight", "w", "--invalid", "skip"]
    options += ["--by", "k"] if kind in ("integers", "text") else []
    options += ["--by-time", "t", "--period", "1h"] if kind == "moments" else []
    states = []
    for order, each in (("forward", parts), ("backward", parts[::-1])):
        (tmp_path / order).mkdir()
        for i, part in enumerate(each):
            table, path = pa.Table.from_batches([part]), tmp_path / order / f"{i}.{ending}"
            if ending == "arrow":
                with pa.ipc.new_file(path, table.schema) as file:
                    file.write_table(table)
            else:
                pq.write_table(table, path)
        assert main(["eval", str(tmp_path / order), *options, "--state", str(tmp_path / "state")]) == 0
        states.append(ce.load(tmp_path / "state").to_bytes())
    alone, columns = metric_of(kind)
    for part in parts:
        alone.update_from(part, **columns)
    assert states == [alone.to_bytes()] * 2


LISTS = [[0.25, 0.75], [0.5, 0.5]]
LIST_TYPES = [pa.list_(pa.float64()), pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 2),
              pa.list_(pa.decimal128(5, 2)), pa.null()]  # fmt: skip


def of_lists(type_):
    if pa.types.is_null(type_):
        return pa.nulls(2)
    is_decimal = pa.types.is_decimal(type_.value_type)
    return pa.array([[Decimal(str(p)) for p in row] for row in LISTS] if is_decimal else LISTS, type_)


def test_lists():
    parts = [pa.RecordBatch.from_pydict({"p": of_lists(type_), "y": [1, 0]}) for type_ in LIST_TYPES]
    expected = M(invalid="skip")
    for part in parts:
        expected.update_from(part, preds="p", target="y")
    for order in (parts, parts[::-1], parts[2:] + parts[:2]):
        assert M(invalid="skip").update_from(order, preds="p", target="y").to_bytes() == expected.to_bytes()


def test_sequences():
    frames = [[[0.25, 0.75]], [[0.5, 0.5], [1.0, 0.0]]]
    parts = [
        pa.RecordBatch.from_pydict({"p": pa.array(frames, pa.list_(pa.list_(leaf))), "y": pa.array(y, pa.list_(label))})
        for leaf, label, y in (
            (pa.float64(), pa.int64(), [[1], [0, 0]]),
            (pa.float32(), pa.float64(), [[1], [0, 0]]),
            (pa.float64(), pa.null(), [[None], [None, None]]),
        )
    ]
    parts.append(pa.RecordBatch.from_pydict({"p": pa.nulls(2), "y": [[1], [0]]}))
    parts.append(pa.RecordBatch.from_pydict({"p": [[[1, 0]], [[0, 1]]], "y": [[0], [1]]}))
    states = set()
    for order in itertools.permutations(parts):
        metric = ce.SequenceCrossEntropy(invalid="skip").update_from(order, preds="p", target="y")
        states.add(metric.to_bytes())
    assert len(states) == 1
    assert (metric.summary().count, metric.summary().invalid_null) == (8, 5)


def test_columns_are_found_by_name_in_each_batch():
    one = pa.RecordBatch.from_pydict({"p": [0.75], "y": [1.0]})
    other = pa.RecordBatch.from_pydict({"y": [1.0], "p": [0.75]})
    expected = B().update([0.75] * 3, [1.0] * 3)
    assert B().update_from([one, other, one], preds="p", target="y").to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("nulls", [[], [pa.nulls(1)]])
@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([1], ["a"], "column 'y' holds string from row {row} on, and int64 before"),
        ([0.5], [[0.5]], "column 'y' holds list<item: double> from row {row} on, and double before"),
        ([1], [True], "column 'y' holds bool from row {row} on, and int64 before"),
        ([1], [MOMENT], r"column 'y' holds timestamp\[us\] from row {row} on, and int64 before"),
    ],
)
def test_what_does_not_fit_is_an_error(nulls, first, second, words):
    parts = [
        pa.RecordBatch.from_arrays([pa.array([0.5]), y], ["p", "y"])
        for y in (*nulls, pa.array(first), pa.array(second))
    ]
    with pytest.raises(ce.InputError, match=words.format(row=len(parts) - 1)):
        B(invalid="skip").update_from(parts, preds="p", target="y")
