"""``update_from`` adds an Arrow stream in one update, or nothing. Batch boundaries change no result."""

import datetime as dt
import inspect
import itertools
import re
import subprocess
import sys
import threading

import duckdb
import input_table
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce
from streamce.metrics.update_from import Columns

BINARY = {"preds": "p", "target": "y", "weight": "w"}


def table_of(rows, seed=0):
    """Return a table with columns for every metric."""
    rng = np.random.default_rng(seed)
    classes = rng.dirichlet(np.ones(3), rows)
    lengths = rng.integers(1, 4, rows)
    ends = np.cumsum(lengths)
    frames = [rng.dirichlet(np.ones(3), length).tolist() for length in lengths]
    return pa.table(
        {
            "p": rng.random(rows),
            "y": rng.integers(0, 2, rows),
            "w": rng.random(rows).astype(np.float32),
            "user": [f"u{i}" for i in rng.integers(0, 5, rows)],
            "region": pa.array(rng.integers(0, 2, rows).astype(bool)),
            "at": pa.array([dt.datetime(2026, 1, 1) + dt.timedelta(minutes=int(m)) for m in rng.integers(0, 9999, rows)]
                           if rows else [], pa.timestamp("us")),
            **{f"c_{i}": classes[:, i] for i in range(3)},
            "classes": pa.FixedSizeListArray.from_arrays(pa.array(classes.reshape(-1)), 3),
            "ragged": pa.array(classes.tolist(), pa.list_(pa.float64())),
            "label": rng.integers(0, 3, rows).astype(np.int8),
            **{f"l_{i}": rng.integers(0, 2, rows) for i in range(3)},
            "frames": pa.array(frames, pa.list_(pa.list_(pa.float64()))),
            "tokens": pa.array([rng.integers(0, 3, n).tolist() for n in lengths], pa.list_(pa.int64())),
            "labels": pa.array([rng.integers(1, 3, 1).tolist() for _ in lengths], pa.list_(pa.int64())),
            "log_probs": pa.array([np.log(rng.random(n)).tolist() for n in lengths], pa.list_(pa.float64())),
            "words": rng.integers(1, 9, rows),
            "begin": ends - lengths,
        }
    )  # fmt: skip


def flat(column):
    """Return the values in lists of any depth as an array, and the number of values in each list."""
    found = column.to_pylist()
    return np.array([entry for row in found for entry in row]), np.array([len(row) for row in found], int)


def numpy_of(table, *names):
    found = [np.array(table[name].to_pylist()) for name in names]
    return found[0] if len(found) == 1 else np.stack(found, axis=1)


def as_sequences(table):
    frames, lengths = flat(table["frames"])
    return {
        "preds": frames,
        "target": flat(table["tokens"])[0],
        "offsets": np.append(0, np.cumsum(lengths)),
        "n_words": numpy_of(table, "words"),
    }


def as_utterances(table):
    (frames, lengths), (labels, of) = flat(table["frames"]), flat(table["labels"])
    return {"preds": frames, "target": labels, "input_lengths": lengths, "target_lengths": of}


def of_binary(table, **keys):
    args = {"preds": numpy_of(table, "p"), "target": numpy_of(table, "y"), "weight": numpy_of(table, "w")}
    return args | {name: function(table) for name, function in keys.items()}


def users(table):
    return table["user"].to_pylist()


def moments(table):
    return table["at"].to_pylist()


B, M = ce.BinaryCrossEntropy, ce.MulticlassCrossEntropy
# A metric, the columns for it, and the same as arrays for one update.
CASES = {
    "binary": (B(), BINARY, of_binary),
    "tail, calibration": (B(tail=True, calibration=True), BINARY, of_binary),
    "clusters": (B(), BINARY | {"cluster": "user"}, lambda t: of_binary(t, cluster=users)),
    "mean": (ce.MeanLoss(), {"preds": "p"}, lambda t: {"losses": numpy_of(t, "p")}),
    "normalized": (ce.NormalizedEntropy(), BINARY, of_binary),
    "columns": (M(), {"preds": "c_*", "target": "label"},
                lambda t: {"preds": numpy_of(t, "c_0", "c_1", "c_2"), "target": numpy_of(t, "label")}),
    "named": (M(per_class=True, axis=1), {"preds": ["c_2", "c_0", "c_1"], "target": ["label"]},
              lambda t: {"preds": numpy_of(t, "c_2", "c_0", "c_1"), "target": numpy_of(t, "label")}),
    "lists": (M(class_weight=[1, 2, 3]), {"preds": "ragged", "target": "label"},
              lambda t: {"preds": numpy_of(t, "classes"), "target": numpy_of(t, "label")}),
    "soft": (M(), {"preds": "classes", "target": "ragged"},
             lambda t: {"preds": numpy_of(t, "classes"), "target": numpy_of(t, "ragged")}),
    "normalized classes": (ce.MulticlassNormalizedEntropy(), {"preds": "classes", "target": "label"},
                           lambda t: {"preds": numpy_of(t, "classes"), "target": numpy_of(t, "label")}),
    "multilabel": (ce.MultilabelCrossEntropy(), {"preds": "classes", "target": "l_?"},
                   lambda t: {"preds": numpy_of(t, "classes"), "target": numpy_of(t, "l_0", "l_1", "l_2")}),
    "sequences": (ce.Perplexity(), {"preds": "frames", "target": "tokens", "n_words": "words"}, as_sequences),
    "CTC": (ce.CTCCrossEntropy(), {"preds": "frames", "target": "labels"}, as_utterances),
    "grouped": (ce.Grouped(B()), BINARY | {"by": ["user", "region"]},
                lambda t: of_binary(t, by=lambda t: (users(t), numpy_of(t, "region")))),
    "history": (ce.Grouped(B(), period="1h"), BINARY | {"by_time": "at"}, lambda t: of_binary(t, by_time=moments)),
    "last": (ce.Sliding(B(), samples=5), BINARY, of_binary),
    "window": (ce.Sliding(B(), period="1d", step="1h"), BINARY | {"by_time": "at"},
               lambda t: of_binary(t, by_time=moments)),
    "decayed": (ce.Decayed(B(), half_life="1h"), BINARY | {"by_time": "at"}, lambda t: of_binary(t, by_time=moments)),
    "collection": (
        ce.Collection({"all": B(tail=True), "last": ce.Sliding(B(), samples=3), "ne": ce.NormalizedEntropy(),
                       "by": ce.Grouped(B()), "day": ce.Sliding(B(), period="1d", step="1h")}),
        BINARY | {"by": "user", "by_time": "at"}, lambda t: of_binary(t, by=users, by_time=moments)),
}  # fmt: skip
ALL = pytest.mark.parametrize(("metric", "columns", "arrays"), CASES.values(), ids=CASES)


def reader(table, ends):
    """Return a reader of the table in batches that end at these rows, including empty batches."""
    ends = [0, *sorted(end % (table.num_rows + 1) for end in ends), table.num_rows]
    whole = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    parts = [whole[0].slice(start, end - start) for start, end in itertools.pairwise(ends)]
    return pa.RecordBatchReader.from_batches(table.schema, parts)


@ALL
@given(rows=st.integers(1, 20), seed=st.integers(0, 99), ends=st.lists(st.integers(0, 20), max_size=5))
def test_however_it_is_cut_the_bytes_are_those_of_one_update(metric, columns, arrays, rows, seed, ends):
    table = table_of(rows, seed)
    expected = metric.copy().update(**arrays(table))
    assert metric.copy().update_from(reader(table, ends), **columns).to_bytes() == expected.to_bytes()


@ALL
def test_what_was_there_before_stays(metric, columns, arrays):
    one, other = table_of(12, 1), table_of(20, 2)
    expected = metric.copy().update(**arrays(one)).update(**arrays(other))
    found = metric.copy().update_from(one, **columns)
    assert found.update_from(reader(other, [7]), **columns) is found
    assert found.to_bytes() == expected.to_bytes()


def test_a_window_of_the_last_samples_remembers_what_was_odd_about_them():
    preds, target = np.array([0.1, np.nan, 0.5, 0.0, 0.9, np.nan, 0.2]), np.array([0, 0, 1, 1, 1, 0, 0])
    metric = ce.Sliding(B(invalid="skip"), samples=4)
    for rows in range(8):
        table = pa.table({"p": preds[:rows], "y": target[:rows]})
        expected = metric.copy().update(preds, target).update(preds[:rows], target[:rows])
        found = metric.copy().update(preds, target).update_from(table, preds="p", target="y")
        assert found.to_bytes() == expected.to_bytes()


# ---- producers of streams ----


def batches(table):
    yield from table.to_batches(max_chunksize=7)


class OfArray:
    """A struct array with Arrow's protocol for arrays only."""

    def __init__(self, table):
        self._batch = table.combine_chunks().to_batches()[0]

    def __arrow_c_array__(self, requested_schema=None):
        return self._batch.__arrow_c_array__(requested_schema)


class OfStream:
    """A stream that can be read once, with Arrow's protocol for streams only."""

    def __init__(self, table):
        self._reader = table.to_reader(max_chunksize=7)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._reader.__arrow_c_stream__(requested_schema)


# The rows of the table in docs/INPUTS.md.
STREAMS = {
    "`pyarrow.Table`": lambda t: t,
    "`pyarrow.RecordBatch`": lambda t: t.combine_chunks().to_batches()[0],
    "`pyarrow.RecordBatchReader`": lambda t: t.to_reader(max_chunksize=7),
    "`pyarrow.dataset.Dataset`": ds.dataset,
    "`pyarrow.dataset.Scanner`": lambda t: ds.dataset(t).scanner(),
    "generator of record batches": batches,
    "reader of a generator": lambda t: pa.RecordBatchReader.from_batches(t.schema, batches(t)),
    "list of tables": lambda t: [t[:4], t[4:]],
    "object with `__arrow_c_array__`": OfArray,
    "object with `__arrow_c_stream__`": OfStream,
    "`polars.DataFrame`": pl.DataFrame,
    "`polars.DataFrame` in chunks": lambda t: pl.concat([pl.DataFrame(t[:4]), pl.DataFrame(t[4:])], rechunk=False),
    "`polars.LazyFrame.collect_batches()`": lambda t: pl.DataFrame(t).lazy().collect_batches(chunk_size=7),
    "`pandas.DataFrame`": lambda t: t.select(["p", "y", "w", "user"]).to_pandas(),
    "`pandas.DataFrame`, Arrow-backed": lambda t: t.to_pandas(types_mapper=pd.ArrowDtype),
    "`pandas.DataFrame`, some rows at a time": lambda t: iter([t[:4].to_pandas(), t[4:].to_pandas()]),
    "`duckdb.DuckDBPyRelation`": lambda t: duckdb.connect().from_arrow(t.select(["p", "y", "w", "user"])),
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_any_stream(stream):
    table = table_of(30)
    metric = ce.Collection({"all": B(), "by": ce.Grouped(B())})
    expected = metric.copy().update(**of_binary(table, by=users))
    assert metric.update_from(stream(table), **BINARY, by="user") == expected


def test_columns_names_all_arguments():
    parameters = inspect.signature(B.update_from).parameters.values()
    assert [each.name for each in parameters if each.kind is each.KEYWORD_ONLY] == [*Columns.__annotations__]


def test_the_table_has_what_is_tested():
    assert list(input_table.rows("Streams")) == list(STREAMS)


@pytest.mark.parametrize("stream", [pl.DataFrame, lambda t: t.to_pandas(), lambda t: duckdb.from_arrow(t), lambda t: t])
def test_columns_may_be_called_as_methods_are(stream):
    table = pa.table({"scanner": [0.5, 0.25], "to_reader": [1, 0], "schema": [1.0, 2.0], "null_count": ["a", "b"]})
    metric = ce.Grouped(B()).update_from(
        stream(table), preds="scanner", target="to_reader", weight="schema", by="null_count"
    )
    assert metric == ce.Grouped(B()).update([0.5, 0.25], [1, 0], weight=[1.0, 2.0], by=["a", "b"])


def test_the_examples_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("logits", "more", "log"):
        (tmp_path / name).mkdir()
    logits = pa.table({"logit_0": [0.5, -0.5], "logit_1": [1.0, None], "label": [0, 1]})
    pq.write_table(logits, "logits/a.parquet")
    pl.DataFrame(logits).write_csv("more/a.csv")
    pq.write_table(pa.table({"p": [0.5, 0.25], "clicked": [0, 1], "user": [7, 8]}), "log/a.parquet")
    names = {}
    code = re.search(r"```python\n(.*?)```", input_table.PAGE.read_text(), re.DOTALL)[1]
    exec(code, names)
    assert (names["metric"].summary().count, names["metric"].summary().invalid_null) == (2, 2)
    assert names["users"].keys() == [7, 8]


def test_other_layouts_of_the_same_columns():
    table = table_of(30)
    expected = ce.Grouped(M()).update(numpy_of(table, "classes"), numpy_of(table, "label"), by=users(table))
    columns = {"preds": "classes", "target": "label", "by": "user"}
    frame = pl.DataFrame(table.select(["classes", "label", "user"]))
    for other in (
        frame,
        frame.with_columns(pl.col("classes").cast(pl.List(pl.Float64)), pl.col("user").cast(pl.Categorical)),
        table.set_column(0, "user", table["user"].dictionary_encode()).select([0, *range(4, table.num_columns)]),
        duckdb.sql("select classes, label, user from frame"),
    ):
        assert ce.Grouped(M()).update_from(other, **columns) == expected
    shifted = pa.concat_tables([table[20:], table[:20]])[10:]  # buffers with offsets
    expected = ce.Grouped(M()).update(numpy_of(shifted, "classes"), numpy_of(shifted, "label"), by=users(shifted))
    assert ce.Grouped(M()).update_from(shifted, **columns) == expected


def test_of_nothing():
    metric = B().update(0.5, 1)
    before = metric.to_bytes()
    for stream in ([], iter(()), table_of(0), table_of(0).to_reader(), [table_of(0), table_of(0)]):
        assert metric.update_from(stream, **BINARY).to_bytes() == before


def test_log_probabilities_of_tokens():
    table = table_of(9)
    values, lengths = flat(table["log_probs"])
    offsets, words = np.append(0, np.cumsum(lengths)), numpy_of(table, "words")
    expected = ce.Perplexity().update_token_log_probs(values, offsets=offsets, n_words=words)
    assert ce.Perplexity().update_from(table, preds="log_probs", n_words="words") == expected


@pytest.mark.parametrize(("metric", "columns"), [(B(), BINARY), (M(), {"preds": "ragged", "target": "label"})])
def test_a_dataset_reads_the_columns_that_are_asked_for_alone(tmp_path, metric, columns):
    table = table_of(500)
    pq.write_table(table.append_column("other", pa.array(range(500))), tmp_path / "a.parquet")
    pq.write_table(table.append_column("other", pa.array(["x"] * 500)), tmp_path / "b.parquet")
    with pytest.raises(pa.ArrowInvalid):
        ds.dataset(tmp_path).to_table()
    expected = metric.copy().update_from([table, table], **columns)
    assert metric.update_from(ds.dataset(tmp_path), **columns) == expected


def test_no_more_than_a_batch_is_held():
    before, most = pa.total_allocated_bytes(), 0

    def many():
        nonlocal most
        for _ in range(40):
            yield pa.table({"p": pa.array([0.5]).take(pa.array(np.zeros(50_000, int))),
                            "y": pa.array([1]).take(pa.array(np.zeros(50_000, int)))})  # fmt: skip
            most = max(most, pa.total_allocated_bytes() - before)

    assert B().update_from(many(), preds="p", target="y").summary().count == 40 * 50_000
    assert most < 4 * 50_000 * 16


# ---- nulls ----


@given(
    rows=st.lists(
        st.tuples(*(st.sampled_from([None, *values]) for values in ([0.25, 0.5], [0, 1], [1.0, 2.0]))), max_size=12
    ),
    ends=st.lists(st.integers(0, 12), max_size=4),
)
def test_a_row_with_a_null_is_skipped_and_counted(rows, ends):
    preds, target, weight = ([row[i] for row in rows] for i in range(3))
    types = {"p": pa.float64(), "y": pa.int64(), "w": pa.float64()}
    table = pa.table([preds, target, weight], schema=pa.schema(types.items()))
    whole = [row for row in rows if None not in row]
    expected = B().update(*([row[i] for row in whole] for i in range(2)), weight=[row[2] for row in whole])
    for metric in (B(invalid="skip"), ce.NormalizedEntropy(invalid="skip")):
        metric.update_from(reader(table, ends), **BINARY)
        assert metric.summary().mean == expected.compute() or not whole
        assert metric.summary().count == len(whole)
        assert metric.summary().invalid_null == len(rows) - len(whole)
        assert metric == type(metric)(invalid="skip").update_from(table, **BINARY)


@pytest.mark.parametrize("column", ["p", "y", "w"])
@pytest.mark.parametrize("metric", [B(), ce.NormalizedEntropy(), ce.Sliding(B(), samples=2)])
def test_a_null_is_an_error(metric, column):
    table = table_of(9)
    place = table.schema.get_field_index(column)
    values = table[column].to_pylist()
    table = table.set_column(place, column, pa.array([*values[:7], None, values[8]], table.schema.types[place]))
    argument = {"p": "preds", "y": "target", "w": "weight"}[column]
    for stream in (table, reader(table, [3]), reader(table, [7]), pl.DataFrame(table)):
        with pytest.raises(ce.InputError, match=f"^row 7: column '{column}' holds a null$") as caught:
            metric.update_from(stream, **BINARY)
        assert (caught.value.argument, caught.value.index) == (argument, (7,))
        assert caught.value.cause == "invalid_null"
    assert metric == metric.copy().reset()


@pytest.mark.parametrize(
    "metric",
    [M(invalid="skip"), M(invalid="skip", class_weight=[1, 2, 3]), M(invalid="skip", per_class=True)],
    ids=["plain", "weights", "per class"],
)
@pytest.mark.parametrize("ends", [[], [1], [2], [1, 3]])
def test_lists_that_are_null_come_before_any_other(metric, ends):
    table = pa.table({"p": [None, None, [0.25, 0.5, 0.25], None], "y": [0, 2, 1, 1]})
    found = metric.copy().update_from(reader(table, ends), preds="p", target="y")
    expected = metric.copy().update([[np.nan, 0, 0]] * 3 + [[0.25, 0.5, 0.25]], [0, 2, 1, 1])
    assert found.compute() == expected.compute()
    assert (found.summary().count, found.summary().invalid_null) == (1, 3)
    assert found == metric.copy().update_from(table, preds="p", target="y")


@pytest.mark.parametrize("ends", [[], [1], [2]])
def test_labels_and_utterances_without_a_width_of_their_own(ends):
    table = pa.table({"p": [None, None, [0.25, 0.5]], "y": [[1, 0], [0, 0], [1, 1]]})
    metric = ce.MultilabelCrossEntropy(invalid="skip").update_from(reader(table, ends), preds="p", target="y")
    assert (metric.summary().count, metric.summary().invalid_null) == (2, 4)
    frames = [[], None, [[0.5, 0.25, 0.25]]]  # an utterance without frames is infeasible, also if it comes first
    table = pa.table({"p": pa.array(frames, pa.list_(pa.list_(pa.float64()))), "y": [[2], [1], [2]]})
    ctc = ce.CTCCrossEntropy(invalid="skip").update_from(reader(table, ends), preds="p", target="y").summary()
    assert (ctc.count, ctc.infeasible, ctc.invalid_null) == (1, 1, 1)


def test_what_pandas_calls_nan_is_null_in_its_streams():
    frame = pd.DataFrame({"p": [0.5, np.nan], "y": [1, 1]})
    found = B(invalid="skip").update_from(frame, preds="p", target="y").summary()
    assert (found.count, found.invalid_null, found.invalid_nan) == (1, 1, 0)


# ---- all or nothing ----


class Boom(Exception):
    pass


@ALL
@pytest.mark.parametrize("error", [Boom("x"), KeyboardInterrupt(), MemoryError()], ids=["own", "Ctrl-C", "memory"])
def test_whoever_makes_the_stream_may_raise_and_nothing_is_counted(metric, columns, arrays, error):
    table = table_of(20)

    def some():
        yield from table.to_batches(max_chunksize=9)
        raise error

    metric = metric.copy().update(**arrays(table))
    before = metric.to_bytes()
    for stream in (some(), pa.RecordBatchReader.from_batches(table.schema, some())):
        with pytest.raises(type(error)) as caught:
            metric.update_from(stream, **columns)
        assert caught.value is error
    assert metric.to_bytes() == before


@ALL
def test_a_bad_row_in_the_last_batch_and_nothing_is_counted(metric, columns, arrays):
    table = table_of(20)
    column = columns["preds"] if columns["preds"] in table.column_names else "c_0"
    bad = table.slice(0, 1).set_column(
        table.schema.get_field_index(column), column, [pa.nulls(1, table.schema.field(column).type)]
    )
    metric = metric.copy().update(**arrays(table))
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=f"^row 40: column '{column}") as caught:
        metric.update_from([table, table, bad], **columns)
    assert (caught.value.argument, caught.value.index[0]) == ("preds", 40)
    assert metric.to_bytes() == before


def test_what_does_not_fit_what_was_there():
    table = table_of(9)
    columns = {"preds": ["c_0", "c_1"], "target": "y"}
    table = table.set_column(table.schema.get_field_index("c_1"), "c_1", [1 - table["c_0"].to_numpy()])
    for metric in (M(per_class=True), ce.MultilabelCrossEntropy()):
        metric.update([[0.25, 0.5, 0.25]], [1] if isinstance(metric, M) else [[1, 0, 1]])
        before = metric.to_bytes()
        more = {"target": ["l_0", "l_1"]} if isinstance(metric, ce.MultilabelCrossEntropy) else {}
        with pytest.raises(ce.InputError):
            metric.update_from(table, **columns | more)
        assert metric.to_bytes() == before
    metric = B().update(0.5, 1, cluster=["x"])
    with pytest.raises(ce.InputError, match="cluster"):
        metric.update_from(table, **BINARY)
    grouped = ce.Grouped(B()).update(0.5, 1, by=[3])
    with pytest.raises(ce.InputError, match="by"):
        grouped.update_from(table, **BINARY, by="user")
    assert len(grouped) == 1


# ---- producers that run code ----


def test_a_generator_may_use_streamce_and_the_metric_itself():
    table = table_of(40)
    metric = B()

    def some():
        for batch in table.to_batches(max_chunksize=10):
            assert B().update([0.5], [1]).compute() == pytest.approx(np.log(2))
            metric.update([0.5], [1])
            B().update_from(table, **BINARY)
            yield batch

    metric.update_from(some(), **BINARY)
    assert metric == B().update(**of_binary(table)).update([0.5] * 4, [1] * 4)


def test_no_thread_is_left_and_none_is_needed():
    table, before = table_of(40), threading.active_count()
    threads = set()

    def some():
        for batch in table.to_batches(max_chunksize=10):
            threads.add(threading.current_thread())
            assert threading.active_count() == before
            yield batch

    B().update_from(some(), **BINARY)
    assert threads == {threading.current_thread()}
    assert threading.active_count() == before


@pytest.mark.parametrize("of", [B, lambda: ce.Grouped(B()), ce.NormalizedEntropy,
                                lambda: ce.Collection({"a": B(), "b": ce.Grouped(B())})],
                         ids=["metric", "grouped", "composite", "collection"])  # fmt: skip
def test_one_metric_and_several_threads(of):
    table, metric = table_of(60), of()
    by = {} if isinstance(metric, (B, ce.NormalizedEntropy)) else {"by": "user"}
    waiting = threading.Barrier(3)

    def some():
        for batch in table.to_batches(max_chunksize=20):
            waiting.wait(60)  # all threads are in the middle of their streams
            yield batch

    workers = [threading.Thread(target=lambda: metric.update_from(some(), **BINARY, **by)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    expected = of()
    for _ in range(3):
        expected.update_from(table, **BINARY, **by)
    assert metric == expected


def test_two_threads_and_a_window_of_the_last_samples():
    # The samples of a stream stay together: those of one stream, then those of the other.
    metric, expected = ce.Sliding(ce.MeanLoss(), samples=30), []
    tables = [pa.table({"p": np.full(20, value)}) for value in (1.0, 2.0)]
    waiting = threading.Barrier(2)

    def add(table):
        def some():
            for batch in table.to_batches(max_chunksize=5):
                waiting.wait(60)
                yield batch

        metric.update_from(some(), preds="p")

    workers = [threading.Thread(target=add, args=(table,)) for table in tables]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for one, other in (tables, tables[::-1]):
        expected.append(ce.Sliding(ce.MeanLoss(), samples=30).update_from([one, other], preds="p"))
    assert metric in expected


# ---- errors ----

TABLE = table_of(9)
ERRORS = {
    "no such column": (B(), {"preds": "pp", "target": "y"}, "preds", r"^preds: no column 'pp'; did you mean 'p'\?$"),
    "no such glob": (B(), {"preds": "p", "target": "z*"}, "target", r"^target: no column 'z\*'; there are 'p', 'y'"),
    "no such weight": (B(), BINARY | {"weight": "wt"}, "weight", r"^weight: no column 'wt'"),
    "no name": (B(), BINARY | {"weight": 3}, "weight", "^weight is 3: expected the name of a column$"),
    "two weights": (B(), BINARY | {"weight": "l_*"}, "weight", "^weight matches 'l_0', 'l_1', 'l_2': .* one column"),
    "a list of weights": (B(), BINARY | {"weight": ["w", "p"]}, "weight", "expected the name of a column$"),
    "no columns": (B(), {"preds": [], "target": "y"}, "preds", r"^preds is \[\]: expected .* or several$"),
    "no preds": (B(), {"preds": None, "target": "y"}, "preds", "^preds is None: expected .* or several$"),
    "no target": (B(), {"preds": "p"}, "target", "^target is missing: expected the column of the labels$"),
    "a target too many": (ce.MeanLoss(), {"preds": "p", "target": "y"}, "target", "^target is given"),
    "text": (B(), {"preds": "p", "target": "user"}, "target", "^target: column 'user' holds string, expected numbers$"),
    "integers": (B(), {"preds": "y", "target": "p"}, "preds", "^preds: column 'y' holds int64, expected predictions"),
    "two of binary": (B(), {"preds": "c_*", "target": "y"}, "stream", "for binary predictions are one column of num"),
    "one twice": (B(), {"preds": "p", "target": "p"}, "preds", "^preds: column 'p' is selected for two arguments"),
    "by": (B(), BINARY | {"by": "user"}, "by", "^by is given: .* because BinaryCrossEntropy does not take it$"),
    "bytes": (ce.Grouped(B()), BINARY | {"by": "user", "n_bytes": "user"}, "n_bytes", "^n_bytes is given"),
    "pairs": (ce.Grouped(ce.Paired(B())), BINARY | {"by": "user"}, "metric", "^metric is a Paired, whose samples"),
    "words": (B(), BINARY | {"n_words": "words"}, "n_words", "^n_words is given"),
    "no by": (ce.Grouped(B()), BINARY, "by", "^by is missing"),
    "no period": (ce.Grouped(B()), BINARY | {"by": "user", "by_time": "at"}, "by_time", "^by_time is given"),
    "keys": (ce.Grouped(B()), BINARY | {"by": ["user", "w"]}, "by", "^row 0: column 'w' is"),
    "moments": (ce.Decayed(B(), half_life="1h"), BINARY | {"by_time": "user"}, "by_time", "column 'user'"),
    "clusters": (ce.MulticlassNormalizedEntropy(), {"preds": "c_*", "target": "label", "cluster": "user"}, "cluster",
                 "^cluster is given"),
    "value": (B(), BINARY | {"preds": "bad"}, "preds",
              r"^row 5: column 'bad' is 1.5: expected a probability in \[0, 1\]; for logits use kind=\"logits\"$"),
    "label": (M(), {"preds": ["c_0", "p"], "target": "label"}, "preds", "^row 0: preds adds up to"),
    "unknown label": (M(), {"preds": "classes", "target": "words"}, "target", "^row .: column 'words' is"),
    "order": (M(), {"preds": "l_[12]", "target": "label"}, "stream", "name them one by one"),
    "ragged": (M(), {"preds": "log_probs", "target": "label"}, "preds",
               "^preds: row .: column 'log_probs' is a list of . where"),
    "axis": (M(axis=0), {"preds": "c_*", "target": "label"}, "axis", "^axis is 0"),
    "tokens": (ce.Perplexity(), {"preds": "frames", "target": "log_probs"}, "target",
               r"^row 0: column 'log_probs\[0\]' is -0"),
    "smoothing": (ce.Perplexity(label_smoothing=0.1), {"preds": "log_probs"}, "label_smoothing", "label_smoothing"),
    "a blank": (ce.CTCCrossEntropy(blank=1), {"preds": "frames", "target": "labels"}, "target",
                r"^row .: column 'labels\[0\]' is 1, the blank"),
    "a token": (ce.Perplexity(), {"preds": "frames", "target": "odd"}, "target", r"^row 1: column 'odd\[0\]' is 9"),
    "tasks": (ce.Collection({"a": B(), "b": ce.MeanLoss()}), {"preds": "p", "target": "y"}, "metrics",
              "^metrics are BinaryCrossEntropy, MeanLoss"),
}  # fmt: skip


@pytest.mark.parametrize(("metric", "columns", "argument", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(metric, columns, argument, message):
    odd = [[0] * length for length in flat(TABLE["frames"])[1]]
    odd[1][0] = 9
    table = TABLE.append_column("bad", [[0.5] * 5 + [1.5] + [0.5] * 3]).append_column("odd", [odd])
    with pytest.raises(ce.InputError, match=message) as caught:
        metric.update_from(reader(table, [4]), **columns)
    assert caught.value.argument == argument
    assert metric == metric.copy().reset()


NO_STREAMS = {
    "path": "x.parquet",
    "number": 3,
    "none": None,
    "dict": {"p": [0.5]},
    "lazy frame": pl.LazyFrame({"p": [0.5], "y": [1]}),
    "column": pa.chunked_array([[0.5]]),
    "a frame with a column twice": pd.DataFrame([[0.5, 0.5, 1]], columns=["p", "p", "y"]),
    "a frame of complex numbers": pd.DataFrame({"p": [0.5j], "y": [1]}),
    "a frame of anything": pd.DataFrame({"p": [0.5, "a"], "y": [1, 1]}),
    "array": pa.array([0.5]),
    "series": pl.Series([0.5]),
    "numbers": [0.5, 1.0],
    "rows": [{"p": 0.5, "y": 1}],
}


@pytest.mark.parametrize("stream", NO_STREAMS.values(), ids=NO_STREAMS)
def test_what_is_no_stream(stream):
    with pytest.raises(ce.InputError, match=r"^stream .*: expected an Arrow stream, such as a table") as caught:
        B().update_from(stream, preds="p", target="y")
    assert caught.value.argument == "stream"


def test_what_does_not_go_with_what_was_seen_before():
    users = ce.Grouped(B()).update([0.5], [1], by=[7])
    before = users.copy()
    with pytest.raises(ce.InputError, match=r"^stream: by has keys of kind str: expected int, as before") as caught:
        users.update_from(TABLE, preds="p", target="y", by="user")
    assert (caught.value.argument, users) == ("stream", before)


def test_batches_must_have_the_columns_and_types_that_fit():
    one = pa.table({"p": [0.5], "y": [1]})
    same = pa.table({"more": ["x"], "y": [1], "p": [0.5]})
    assert B().update_from([one, same], preds="p", target="y").summary().count == 2
    with pytest.raises(ce.InputError, match=r"^stream: from row 1 on there is no column 'y'$"):
        B().update_from([one, pa.table({"p": [0.5]})], preds="p", target="y")
    with pytest.raises(ce.InputError, match=r"^target: column 'y' holds string from row 1 on, and int64 before$"):
        B().update_from([one, pa.table({"p": [0.5], "y": ["1"]})], preds="p", target="y")


def test_a_list_whose_offsets_lie_is_an_error():
    offsets, values = pa.py_buffer(np.array([0, 1000, 4], np.int32)), pa.array([0.5, 0.5, 0.5, 0.5])
    lists = pa.Array.from_buffers(pa.list_(pa.float64()), 2, [None, offsets], children=[values])
    with pytest.raises(ce.InputError, match=r"^stream cannot be read"):
        M().update_from(pa.table({"p": lists, "y": [0, 1]}), preds="p", target="y")


@pytest.mark.parametrize("depth", [1, 2])
def test_lists_that_begin_beyond_the_end_are_not_followed(depth):
    """Overwritten memory may hold such lists, and slicing them would abort the process."""
    offsets = np.array([0, 2, 4], np.int32)
    column = pa.array([0.5, 0.5, 0.5, 0.5])
    for _ in range(depth):
        column = pa.Array.from_buffers(pa.list_(column.type), 2, [None, pa.py_buffer(offsets)], children=[column])
        offsets, last = np.array([0, 1, 2], np.int32), offsets
    metric, target = (M(), [0, 1]) if depth == 1 else (ce.SequenceCrossEntropy(), [[0], [1]])
    batch = pa.record_batch({"p": column, "y": target})
    last[:] = [5000, -2, -1000]
    with pytest.raises(ce.InputError, match=r"^stream cannot be read"):
        metric.update_from(batch, preds="p", target="y")


def test_the_length_of_lists_is_found_in_columns_that_moved():
    one = pa.table({"p": pa.array([None], pa.list_(pa.float64())), "y": [1]})
    two = pa.table({"others": [[1.0]], "more": ["x"], "y": [1], "p": [[0.25, 0.5, 0.25]]})
    found = M(invalid="skip").update_from([one, two], preds="p", target="y").summary()
    assert (found.seen, found.invalid_null) == (2, 1)
    with pytest.raises(ce.InputError, match=r"^stream: from row 1 on there is no column 'p'$"):
        M(invalid="skip").update_from([one, pa.table({"y": [1]})], preds="p", target="y")


def test_a_query_that_fails_in_the_middle():
    metric, connection = B(), duckdb.connect()
    query = "select 0.5::double p, case when i = 300000 then error('boom') else 1 end::int y from range(500000) t(i)"
    with pytest.raises((OSError, ce.InputError), match="boom"):
        metric.update_from(connection.sql(query), preds="p", target="y")
    assert metric.summary().count == 0
    assert connection.sql("select 1").fetchall() == [(1,)]


def test_pyarrow_is_named_where_it_is_missing():
    code = """
import sys
sys.modules["pyarrow"] = None
import streamce as ce
try:
    ce.BinaryCrossEntropy().update_from([], preds="p", target="y")
except ce.InputError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "update_from needs pyarrow: pip install 'streamce[files]'\n"


def test_all_that_is_updated_by_preds_and_target_has_it():
    without = {"GANCrossEntropy"}  # it takes other inputs; that of Paired takes two streams
    found = {name for name in ce.__all__ if hasattr(getattr(ce, name), "update")}
    assert {name for name in found if not hasattr(getattr(ce, name), "update_from")} == without
