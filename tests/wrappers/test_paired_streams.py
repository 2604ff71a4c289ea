"""``Paired.update_from`` adds two Arrow streams, whose rows are paired by position or by key."""

import itertools
import subprocess
import sys
import threading

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import streamce as ce
from streamce.cli.main import main

A = pa.table({"id": [1, 2, 3], "y": [1, 0, 1], "p": [0.9, 0.2, 0.8]})
B = pa.table({"id": [2, 3, 1], "p": [0.1, 0.7, 0.95]})
OWN = {"preds": "p", "target": "y"}
BY_ID = {**OWN, "key": "id"}


def paired(metric=None):
    return ce.Paired(metric or ce.BinaryCrossEntropy())


MATCHED = paired().update([0.9, 0.2, 0.8], [0.95, 0.1, 0.7], [1, 0, 1])


def refusal(a, b, *, metric=None, **columns):
    """Return the error of an update that leaves the comparison as it was."""
    of_two = paired(metric)
    if metric is None:
        of_two.update([0.5], [0.4], [1])
    before = of_two.to_bytes()
    with pytest.raises(ce.InputError) as found:
        of_two.update_from(a, b, **columns)
    assert of_two.to_bytes() == before
    return found.value


def batches(table, ends):
    """Return a reader of a table in batches that end at some rows."""
    ends = [0, *sorted(end % (len(table) + 1) for end in ends), len(table)]
    whole = table.combine_chunks().to_batches()[0]
    parts = [whole.slice(first, end - first) for first, end in itertools.pairwise(ends)]
    return pa.RecordBatchReader.from_batches(table.schema, parts)


# ---- by key ----


@pytest.mark.parametrize(
    "form",
    [
        lambda table: table,
        lambda table: table.to_reader(max_chunksize=1),
        lambda table: iter(table.to_batches(max_chunksize=2)),
        lambda table: table.to_pandas(),
        lambda table: table.to_pandas().set_index("id").reset_index().sample(frac=1, random_state=1),
        pl.from_arrow,
        ds.dataset,
        lambda table: duckdb.connect().from_arrow(table),
    ],
)
def test_rows_are_matched_by_key_in_streams_of_any_kind(form):
    assert paired().update_from(form(A), form(B), **BY_ID) == MATCHED
    assert MATCHED.summary().b.mean == pytest.approx(0.171110, abs=5e-7)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.randoms(use_true_random=False), st.lists(st.integers(0, 99), max_size=5))
def test_any_order_and_any_batches_give_the_bytes_of_one_update(n, random, ends):
    rng = np.random.default_rng(n)
    a, b, y, w = rng.random(n), rng.random(n), rng.integers(0, 2, n), rng.random(n)
    users = [f"u{i % 5}" for i in range(n)]
    expected = paired().update(a, b, y, weight=w, cluster=users)
    orders = [random.sample(range(n), n) for _ in range(2)]
    of_a = pa.table(
        {"id": pa.array(range(n), pa.int64()), "p": a, "y": y, "w": w, "user": pa.array(users, pa.string())}
    )
    of_b = pa.table({"id": pa.array([str(i) for i in range(n)], pa.string()), "q": b})
    streams = [
        batches(table.take(pa.array(order, pa.int64())), ends) if n else table
        for table, order in zip((of_a, of_b), orders, strict=True)
    ]
    found = paired().update_from(*streams, **BY_ID, preds_b="q", weight="w", cluster="user")
    assert found.to_bytes() == expected.to_bytes()


def test_several_keys_and_classes_in_columns():
    a = pa.table({"doc": ["x", "x", "y"], "part": [1, 2, 1], "label": [2, 0, 1], "c_0": [0.2, 0.6, 0.3],
                  "c_1": [0.3, 0.3, 0.3], "c_2": [0.5, 0.1, 0.4]})  # fmt: skip
    b = a.drop(["label"]).take(pa.array([2, 0, 1]))
    preds = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.3, 0.3, 0.4]])
    expected = paired(ce.MulticlassCrossEntropy()).update(preds, preds, [2, 0, 1])
    found = paired(ce.MulticlassCrossEntropy())
    assert found.update_from(a, b, preds="c_*", target="label", key=["doc", "part"]) == expected


def test_batches_may_have_other_types_that_fit():
    """A frame of pandas with a missing value holds floats, and one without holds integers."""
    a = pd.DataFrame({"id": [1, 2, 3, 4], "y": [1, 0, None, 1], "p": [0.9, 0.2, 0.5, 0.8]})
    b = pd.DataFrame({"id": [4, 2, 3, 1], "p": [0.7, 0.1, 0.5, 1]})
    of_a = [a.iloc[:2].astype({"y": int}), a.iloc[2:].astype({"id": float})]
    of_b = [b.iloc[:3], b.iloc[3:].astype({"p": int})]
    metric = ce.BinaryCrossEntropy(invalid="skip")
    found = paired(metric).update_from(iter(of_a), iter(of_b), **BY_ID)
    expected = paired(metric).update([0.9, 0.2, 0.8], [1.0, 0.1, 0.7], [1, 0, 1])
    assert found.summary().b.mean == expected.summary().b.mean
    assert found.summary().difference.invalid_null == 1


def test_keys_and_predictions_may_be_nested():
    a = pa.table({"row": [{"id": i} for i in (1, 2, 3)], "y": [1, 0, 1], "out": [{"p": p} for p in (0.9, 0.2, 0.8)]})
    b = pa.table({"row": [{"id": i} for i in (2, 3, 1)], "out": [{"p": p} for p in (0.1, 0.7, 0.95)]})
    assert paired().update_from(a, b, preds="out.p", target="y", key="row.id") == MATCHED
    assert paired().update_from(ds.dataset(a), ds.dataset(b), preds="out.p", target="y", key="row.id") == MATCHED


def test_losses_of_another_library():
    a, b = pa.table({"id": ["x", "y"], "loss": [0.5, 1.0]}), pa.table({"id": ["y", "x"], "loss": [1.5, 0.75]})
    expected = paired(ce.MeanLoss()).update([0.5, 1.0], [0.75, 1.5])
    assert paired(ce.MeanLoss()).update_from(a, b, preds="loss", key="id") == expected


def test_the_bytes_are_those_of_the_command_line(tmp_path):
    parquet.write_table(A, tmp_path / "a.parquet")
    parquet.write_table(B, tmp_path / "b.parquet")
    words = ["--task", "binary", "--preds", "p", "--target", "y", "--key", "id", "--state", str(tmp_path / "state")]
    assert main(["compare", str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"), *words]) == 0
    assert (tmp_path / "state").read_bytes() == paired().update_from(A, B, **BY_ID).to_bytes()


def test_streams_are_read_on_the_thread_of_the_caller():
    threads = set()

    def noted(table):
        for batch in table.to_batches():
            threads.add(threading.get_ident())
            yield batch

    assert paired().update_from(noted(A), noted(B), **BY_ID) == MATCHED
    assert threads == {threading.get_ident()}


def test_skipped_rows_are_skipped_in_both():
    b = B.set_column(1, "p", pa.array([0.1, None, 0.95]))
    found = paired(ce.BinaryCrossEntropy(invalid="skip")).update_from(A, b, **BY_ID).summary()
    assert (found.a.count, found.b.count, found.difference.invalid_null) == (2, 2, 1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (A, B.slice(0, 2), "a: row 0: column 'id' is 1, which b does not have: expected the same keys in both, in any"),
        (A, pa.concat_tables([B, B.slice(1, 1)]), "b: row 3: column 'id' is 3, which is also in row 1: expected each"),
        (A.set_column(0, "id", pa.array([1, None, 3])), B, "a: row 1: column 'id' is null: expected a key"),
        (A, B.set_column(1, "p", pa.array([0.1, 0.7, 1.5])), "b: row 2: column 'p' is 1.5: expected a probability"),
        (A.set_column(1, "y", pa.array([1, 0, 5])), B, "a: row 2: column 'y' is 5: expected"),
        (A.append_column("x", pa.array([1, 2, 3])), B.append_column("x", pa.array([2, 4, 1])),
         "a: row 2: column 'x' is 3, but 4 in b, row 1: expected equal values in rows with the same key"),
        (A, B.append_column("y", pa.array([1, 1, 1])), "a: row 1: column 'y' is 0, but 1 in b, row 0: expected equal"),
        (A, [], "b has 0 rows but a has more"),
        ([], B, "a has 0 rows but b has more"),
        (A, B.rename_columns(["key", "p"]), "key: b: no column 'id'"),
        (A, B.rename_columns(["id", "q"]), "b: preds: no column 'q'".replace("'q'", "'p'")),
        (A, 3, "b: stream is 3: expected an Arrow stream"),
    ],
)  # fmt: skip
def test_an_error_names_the_stream_and_its_row(a, b, message):
    assert str(refusal(a, b, **BY_ID)).startswith(message)


def test_the_index_of_an_error_is_the_row():
    assert refusal(A, B.set_column(1, "p", pa.array([0.1, 0.7, 1.5])), **BY_ID).index == (2,)
    assert refusal(A, pa.concat_tables([B, B]), **BY_ID).index == (3,)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"key": "id", "by_position": True}, "by_position is True: expected False, because key is given"),
        ({"key": "p"}, "key: column 'p' holds predictions, so it cannot be a key"),
        ({"key": []}, "key is []: expected the name of a column, or several"),
        ({"key": 1}, "key is 1: expected the name of a column, or several"),
        ({"key": "id", "preds_b": "q"}, "b: preds: no column 'q'"),
        ({"key": "id", "preds_b": [1]}, "preds_b is [1]: expected the name of a column, or several"),
        ({"key": "id", "target": None}, "target is missing"),
        ({"key": "id", "weight": "w"}, "a: weight: no column 'w'"),
    ],
)
def test_arguments_without_sense(more, message):
    assert str(refusal(A, B, **{**OWN, **more})).startswith(message)


def test_sequences_are_not_compared_from_streams():
    assert str(refusal(A, B, metric=ce.Perplexity(), **BY_ID)) == (
        "metric is Perplexity: expected one whose samples are rows, not sequences"
    )


def test_one_stream_cannot_be_both():
    stream = A.to_reader()
    assert str(refusal(stream, stream, **BY_ID)).startswith("b is the same stream as a: expected another one")
    table = A.append_column("q", pa.array([0.95, 0.1, 0.7]))
    assert paired().update_from(table, table, **BY_ID, preds_b="q") == MATCHED


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), ce.InputError("x", "boom")])
@pytest.mark.parametrize("more", [{"key": "id"}, {}])
@pytest.mark.parametrize("side", [0, 1])
def test_what_a_stream_raises_reaches_the_caller(error, more, side):
    def failing():
        yield from A.to_batches()
        raise error

    streams = [A, A]
    streams[side] = failing()
    of_two = paired()
    with pytest.raises(type(error)) as found:
        of_two.update_from(*streams, **OWN, **more)
    assert found.value is error or str(error) in str(found.value)
    assert of_two == paired()


def test_duckdb_is_named_where_it_is_missing():
    code = """
import sys
sys.modules["duckdb"] = None
import pyarrow as pa, streamce as ce
table = pa.table({"id": [1], "p": [0.5], "y": [1]})
try:
    ce.Paired(ce.BinaryCrossEntropy()).update_from(table, table, preds="p", target="y", key="id")
except ce.InputError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "key needs duckdb 2: pip install 'streamce[duckdb]'\n"


# ---- by position ----


def test_rows_in_the_same_order_are_paired_by_position():
    b = B.take(pa.array([2, 0, 1]))
    assert paired().update_from(A, b, **OWN) == MATCHED
    assert paired().update_from(batches(A, [1]), batches(b, [2, 2]), **OWN) == MATCHED
    assert paired().update_from(A.to_pandas(), b.to_pandas(), **OWN) == MATCHED


def test_rows_in_another_order_are_an_error_that_names_key():
    line = str(refusal(A, B, **OWN))
    assert line.startswith("a: row 0: column 'id' is 1, but 2 in b, row 0: expected the same rows in the same order")
    assert line.endswith("or key= to match rows by key, or by_position=True to pair them anyway")
    assert str(refusal(A, A.slice(0, 2), **OWN)) == (
        "b has 2 rows but a has more: expected the same rows in the same order"
    )


def test_streams_that_share_no_column_need_by_position():
    b = B.drop(["id"])
    line = str(refusal(A, b, **OWN))
    assert "by_position=True" in line
    assert "key=" in line
    expected = paired().update(A["p"].to_numpy(), b["p"].to_numpy(), A["y"].to_numpy())
    assert paired().update_from(A, b, **OWN, by_position=True) == expected
    assert paired().update_from(A, B, **OWN, by_position=True) == expected


def test_an_index_of_pandas_without_a_name_is_no_column_of_rows_with_keys():
    a = pd.DataFrame({"id": [1, 2, 3], "y": [1, 0, 1], "p": [0.9, 0.2, 0.8]}, index=[7, 8, 9])
    b = pd.DataFrame({"id": [2, 3, 1], "p": [0.1, 0.7, 0.95]}, index=[3, 4, 6])
    assert paired().update_from(a, b, **BY_ID) == MATCHED
