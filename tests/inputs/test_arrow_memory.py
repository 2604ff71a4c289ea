"""Arrow arrays that describe memory outside of their buffers raise InputError at every argument, and add nothing.

Without a check, pyarrow itself would read beyond the buffers of these arrays, or end the process.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import streamce as ce

ROWS = 3


def buffer(*values, dtype=np.int32):
    return pa.py_buffer(np.array(values, dtype).tobytes())


def text(type_, *offsets, dtype=np.int32):
    return pa.Array.from_buffers(type_, ROWS, [None, buffer(*offsets, dtype=dtype), pa.py_buffer(b"abc")])


def view(length, where):
    """Return strings as views of 16 bytes. The first view begins far beyond its buffer."""
    words = [length, 0, 0, where, *[0] * 8]
    return pa.Array.from_buffers(pa.string_view(), ROWS, [None, buffer(*words), pa.py_buffer(b"abc")])


def before(type_, dtype):
    """Return an array that begins before its buffer, which ``validate`` of pyarrow does not detect."""
    return pa.Array.from_buffers(type_, ROWS, [None, buffer(*range(8), dtype=dtype)], offset=-(1 << 40))


FAR = 2**30
STRINGS = {
    "string": text(pa.string(), 0, FAR, FAR + 100, 2),
    "negative": text(pa.string(), 0, -FAR, 1, 2),
    "large_string": text(pa.large_string(), 0, 2**40, 2**40 + 100, 2, dtype=np.int64),
    "binary": text(pa.binary(), 0, FAR, FAR + 100, 2),
    "string_view": view(2**20, 2**20),
    "dictionary": pa.DictionaryArray.from_arrays(pa.array([0, 1, FAR]), pa.array(["a", "b"]), safe=False),
    "dictionary of strings": pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2]), text(pa.string(), 0, FAR, FAR + 100, 2), safe=False
    ),
    "chunked": pa.chunked_array([pa.array(["a"] * ROWS), text(pa.string(), 0, FAR, FAR + 100, 2)]).slice(ROWS),
}
NUMBERS = {
    "int64": before(pa.int64(), np.int64),
    "float64": before(pa.float64(), np.float64),
    "timestamp": before(pa.timestamp("us"), np.int64),
    "chunked": pa.chunked_array([pa.array([1, 2, 3])[:0], before(pa.int64(), np.int64)]),
}
LISTS = {
    "list": pa.Array.from_buffers(
        pa.list_(pa.float64()), ROWS, [None, buffer(0, FAR, FAR + 2, 2)], children=[pa.array([0.5, 0.5])]
    ),
    "list of numbers before": pa.Array.from_buffers(
        pa.list_(pa.float64()),
        ROWS,
        [None, buffer(0, 2, 4, 6)],
        children=[
            pa.Array.from_buffers(pa.float64(), 6, [None, buffer(*range(8), dtype=np.float64)], offset=-(1 << 40))
        ],
    ),
}
KEYS = STRINGS | NUMBERS
ALL = KEYS | LISTS


def rejected(metric, argument, update):
    before = metric.to_bytes()
    with pytest.raises(ce.InputError) as raised:
        update()
    assert raised.value.argument == argument
    assert metric.to_bytes() == before


def pandas_series(array):
    """Return a pandas series that holds this Arrow array."""
    chunks = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
    return pd.Series(pd.arrays.ArrowExtensionArray(chunks))


@pytest.mark.parametrize("wrap", [lambda x: x, pandas_series, lambda x: (["a"] * ROWS, x)], ids=["", "pandas", "tuple"])
@pytest.mark.parametrize("name", KEYS)
def test_keys(name, wrap):
    keys = wrap(KEYS[name])
    losses = [0.5] * ROWS
    grouped = ce.Grouped(ce.MeanLoss()).update(losses, by=["a"] * ROWS)
    rejected(grouped, "by", lambda: grouped.update(losses, by=keys))
    mean = ce.MeanLoss().update(losses, cluster=["a"] * ROWS)
    rejected(mean, "cluster", lambda: mean.update(losses, cluster=keys))


@pytest.mark.parametrize("wrap", [lambda x: x, pandas_series], ids=["", "pandas"])
@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("metric", [
    ce.Grouped(ce.MeanLoss(), period="1h"), ce.Decayed(ce.MeanLoss(), half_life="1h"),
    ce.Sliding(ce.MeanLoss(), period="1h", step="1min"),
], ids=["Grouped", "Decayed", "Sliding"])  # fmt: skip
def test_moments(metric, name, wrap):
    moments = wrap(KEYS[name])
    metric = metric.copy().update([0.5] * ROWS, by_time=[0.0] * ROWS)
    rejected(metric, "by_time", lambda: metric.update([0.5] * ROWS, by_time=moments))


@pytest.mark.parametrize("wrap", [lambda x: x, pandas_series, lambda x: [x, x]], ids=["", "pandas", "in a list"])
@pytest.mark.parametrize("name", ALL)
def test_numbers(name, wrap):
    """Arrays of text are included, because their error must not read the values that it would show."""
    array = wrap(ALL[name])
    metric = ce.BinaryCrossEntropy().update([0.5] * ROWS, [1] * ROWS)
    for argument in ("preds", "target", "weight"):
        given = {"preds": [0.5] * ROWS, "target": [1] * ROWS, "weight": [1.0] * ROWS} | {argument: array}
        rejected(metric, argument, lambda given=given: metric.update(given["preds"], given["target"],
                                                                     weight=given["weight"]))  # fmt: skip
        with pytest.raises(ce.InputError):
            ce.binary_cross_entropy(**given, grad=True)
    with pytest.raises(ce.InputError, match="class_weight"):
        ce.MulticlassCrossEntropy(class_weight=array)


@pytest.mark.parametrize("name", ALL)
def test_beside_sequences_and_utterances(name):
    array = ALL[name]
    preds, target = np.full((ROWS, 2, 2), 0.5), np.ones((ROWS, 2), int)
    metric = ce.SequenceCrossEntropy().update(preds, target)
    for argument in ("lengths", "mask", "n_words", "n_bytes"):
        rejected(metric, argument, lambda name=argument: metric.update(preds, target, **{name: array}))
    flat = preds.reshape(-1, 2), target.reshape(-1)
    rejected(metric, "offsets", lambda: metric.update(*flat, offsets=array))
    utterances = ce.CTCCrossEntropy(layout="BTC")
    for argument in ("input_lengths", "target_lengths"):
        lengths = {"input_lengths": [2] * ROWS, "target_lengths": [1] * ROWS} | {argument: array}
        rejected(utterances, argument, lambda lengths=lengths: utterances.update(preds, target, **lengths))


@pytest.mark.parametrize("name", ALL)
def test_log_loss(name):
    proba = np.full((ROWS, 2), 0.5)
    for given in (
        {"y_true": ALL[name]}, {"y_true": [0, 1, 0], "labels": ALL[name]}, {"y_true": pandas_series(ALL[name])},
        {"y_true": [0, 1, 0], "sample_weight": ALL[name]},
    ):  # fmt: skip
        with pytest.raises(ce.InputError):
            ce.log_loss(y_proba=proba, **given)


@pytest.mark.parametrize("wrap", [
    lambda table: table, lambda table: table.to_batches()[-1], lambda table: [table],
    lambda table: pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
    lambda table: pd.DataFrame({name: pandas_series(table.column(name)) for name in table.column_names}),
], ids=["table", "batch", "tables", "reader", "pandas"])  # fmt: skip
@pytest.mark.parametrize("argument", ["by", "by_time", "cluster", "preds", "target", "weight"])
@pytest.mark.parametrize("name", KEYS)
def test_streams(name, argument, wrap):
    columns = {"preds": [0.5] * ROWS, "target": [1] * ROWS, "weight": [1.0] * ROWS, argument: KEYS[name]}
    period = {"period": "1h"} if argument == "by_time" else {}
    metric = ce.BinaryCrossEntropy() if argument == "cluster" else ce.Grouped(ce.BinaryCrossEntropy(), **period)
    if argument not in ("cluster", "by_time"):
        columns.setdefault("by", ["a"] * ROWS)
    before = metric.to_bytes()
    with pytest.raises(ce.InputError):
        metric.update_from(wrap(pa.table(columns)), **{name: name for name in columns})
    assert metric.to_bytes() == before


def test_a_column_that_is_not_asked_for_may_hold_anything():
    table = pa.table({"p": [0.5] * ROWS, "y": [1] * ROWS, "other": STRINGS["string"]})
    assert ce.BinaryCrossEntropy().update_from(table, preds="p", target="y").summary().count == ROWS


@pytest.mark.parametrize("dtype", ["category", "index"])
def test_text_that_pandas_holds_in_arrow(dtype):
    """pandas 3 holds ``str`` as text in Arrow, also in categories and indices."""
    text = pd.Series(pd.array(["a", "b", "c"], dtype="str"))
    held = text.array.__arrow_array__()
    assert pa.types.is_large_string(held.type)
    lying = pa.chunked_array([STRINGS["large_string"]])
    text.array._pa_array = lying
    keys = pd.Index(text) if dtype == "index" else pd.Series(pd.Categorical.from_codes([0, 1, 2], ["a", "b", "c"]))
    if dtype == "category":
        keys.array.categories.array._pa_array = lying
    grouped = ce.Grouped(ce.MeanLoss())
    rejected(grouped, "by", lambda: grouped.update([0.5] * ROWS, by=keys))
    with pytest.raises(ce.InputError):
        ce.MeanLoss().update(keys)


class Capsule:
    """An object with Arrow's protocol only."""

    def __init__(self, array):
        self._array = array

    def __arrow_c_array__(self, requested_schema=None):
        return self._array.__arrow_c_array__(requested_schema)


@pytest.mark.parametrize("name", ["string", "negative", "large_string", "string_view", "dictionary"])
def test_capsules(name):
    """The protocol has no sizes of buffers, so the last offset is trusted, and the others are checked against it."""
    grouped = ce.Grouped(ce.MeanLoss())
    rejected(grouped, "by", lambda: grouped.update([0.5] * ROWS, by=Capsule(STRINGS[name])))
    assert grouped.update([0.5] * ROWS, by=Capsule(pa.array(["a", "b", "a"]))).keys() == ["a", "b"]
    hours = ce.Grouped(ce.MeanLoss(), period="1h")
    rejected(hours, "by_time", lambda: hours.update([0.5] * ROWS, by_time=Capsule(STRINGS[name])))
    assert len(hours.update([0.5] * ROWS, by_time=Capsule(pa.array([0, 1, 7200])))) == 2


def test_an_error_does_not_read_what_it_shows():
    lying = STRINGS["string"]
    for shown in (lying, [lying], {"a": (lying,)}, pa.table({"x": lying}), pd.DataFrame({"x": pandas_series(lying)})):
        with pytest.raises(ce.InputError, match="is a "):
            ce.BinaryCrossEntropy(kind=shown)
        with pytest.raises(ce.InputError):
            ce.BinaryCrossEntropy().update_from(pa.table({"p": [0.5]}), preds=shown, target="p")
