"""Arrays of other libraries give the bits of NumPy arrays, without copies if possible. Their nulls are invalid.

The table in docs/INPUTS.md has the rows of ``PRODUCERS``, and of ``PRODUCERS`` in peers/test_foreign_arrays.py.
"""

import array
import ctypes
import subprocess
import sys
import tracemalloc

import input_table
import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce
from streamce.inputs import arrays

NUMBERS = [0.25, 0.5, 0.125, 1.0, 0.75, 0.0625, 0.375]
LABELS = [1, 0, 2, 1, 1, 0, 2]
FLAGS = [True, False, True, True, False, False, True]
ROWS = [[0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.125, 0.25, 0.625], [0.25, 0.25, 0.5],
        [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]  # fmt: skip
OF = {"numbers": NUMBERS, "labels": LABELS, "flags": FLAGS, "rows": ROWS}


class Interface:
    def __init__(self, values):
        self._array = np.array(values)
        self.__array_interface__ = self._array.__array_interface__


class OfArray:
    def __init__(self, values):
        self._array = np.array(values)

    def __array__(self, dtype=None, copy=None):
        return self._array


class DLPack:
    """A producer of DLPack 1.0, which gives read-only memory to consumers that ask for this version."""

    device = (1, 0)

    def __init__(self, values):
        self._array = np.array(values)
        self._array.flags.writeable = False
        self.asked = []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, max_version=None, **others):
        self.asked.append(max_version)
        return self._array.__dlpack__(max_version=max_version, **others)


class OldDLPack(DLPack):
    """An older producer, without versions and read-only memory."""

    def __dlpack__(self, stream=None):
        self._array.flags.writeable = True
        return self._array.__dlpack__()


class ArrowArray:
    """An object with Arrow's protocol only."""

    def __init__(self, values):
        self._array = pa.array(values)

    def __arrow_c_array__(self, requested_schema=None):
        return self._array.__arrow_c_array__(requested_schema)


class ArrowStream:
    def __init__(self, values):
        self._array = pa.chunked_array([values])

    def __arrow_c_stream__(self, requested_schema=None):
        return self._array.__arrow_c_stream__(requested_schema)


def columns(values):
    """Return rows as columns by name."""
    return {name: [row[i] for row in values] for i, name in enumerate("abc")}


def frame(values, dtype):
    return pd.DataFrame({name: pd.Series(column, dtype=dtype) for name, column in columns(values).items()})


def ctypes_array(values):
    return (ctypes.c_double * len(values))(*values)


def tensors(values):
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(values))


NO, YES, WITH = "no", "yes", "where there are nulls"
NONE, NULLS = "", "yes"
# For each producer: its content, how it is made of a list, whether it is copied, and whether it can hold nulls.
PRODUCERS = {
    "`numpy.ndarray`": ("numbers", np.array, NO, NONE),
    "`numpy.ndarray`, bfloat16 of ml_dtypes": ("numbers", lambda v: np.array(v, ml_dtypes.bfloat16), NO, NONE),
    "list, tuple": ("numbers", list, YES, NULLS),
    "`memoryview`": ("numbers", lambda v: memoryview(np.array(v)), NO, NONE),
    "`array.array`": ("numbers", lambda v: array.array("d", v), NO, NONE),
    "ctypes array": ("numbers", ctypes_array, NO, NONE),
    "object with `__array__`": ("numbers", OfArray, NO, NONE),
    "object with `__array_interface__`": ("numbers", Interface, NO, NONE),
    "object with `__dlpack__`, version 1.0": ("numbers", DLPack, NO, NONE),
    "object with `__dlpack__`, from before": ("numbers", OldDLPack, NO, NONE),
    "object with `__arrow_c_array__`": ("numbers", ArrowArray, NO, NULLS),
    "object with `__arrow_c_stream__`": ("numbers", ArrowStream, NO, NULLS),
    "`pandas.Series`, `pandas.Index`": ("numbers", pd.Series, NO, NONE),
    "`pandas.Series`, Float64": ("numbers", lambda v: pd.Series(v, dtype="Float64"), WITH, NULLS),
    "`pandas.Series`, Int64": ("labels", lambda v: pd.Series(v, dtype="Int64"), WITH, NULLS),
    "`pandas.Series`, boolean": ("flags", lambda v: pd.Series(v, dtype="boolean"), WITH, NULLS),
    "`pandas.Series`, Arrow-backed": ("numbers", lambda v: pd.Series(v, dtype="double[pyarrow]"), NO, NULLS),
    "`pandas.Series`, categorical": ("labels", lambda v: pd.Series(v, dtype="Int8").astype("category"), YES, NULLS),
    "`pandas.DataFrame`": ("rows", lambda v: pd.DataFrame(np.array(v)), NO, NONE),
    "`pandas.DataFrame`, Float64": ("rows", lambda v: frame(v, "Float64"), YES, NULLS),
    "`pandas.DataFrame`, Arrow-backed": ("rows", lambda v: frame(v, "double[pyarrow]"), YES, NULLS),
    "`polars.Series`": ("numbers", pl.Series, NO, NULLS),
    "`polars.Series`, integers": ("labels", pl.Series, NO, NULLS),
    "`polars.Series`, Boolean": ("flags", pl.Series, YES, NULLS),
    "`polars.Series`, lists": ("rows", pl.Series, NO, NULLS),
    "`polars.Series`, arrays": ("rows", lambda v: pl.Series(v, dtype=pl.Array(pl.Float64, 3)), NO, NULLS),
    "`polars.DataFrame`": ("rows", lambda v: pl.DataFrame(columns(v)), YES, NULLS),
    "`pyarrow.Array`": ("numbers", pa.array, NO, NULLS),
    "`pyarrow.Array`, integers": ("labels", pa.array, NO, NULLS),
    "`pyarrow.Array`, bool": ("flags", pa.array, YES, NULLS),
    "`pyarrow.Array`, dictionary": ("labels", lambda v: pa.array(v).dictionary_encode(), YES, NULLS),
    "`pyarrow.Array`, decimal": ("numbers", lambda v: pa.array(v).cast(pa.decimal128(9, 6)), YES, NULLS),
    "`pyarrow.Array`, lists": ("rows", pa.array, NO, NULLS),
    "`pyarrow.Array`, lists of one size": ("rows", lambda v: pa.array(v, pa.list_(pa.float64(), 3)), NO, NULLS),
    "`pyarrow.Array`, tensors": ("rows", tensors, NO, NONE),
    "`pyarrow.ChunkedArray` of one chunk": ("numbers", lambda v: pa.chunked_array([v]), NO, NULLS),
    "`pyarrow.ChunkedArray` of several": ("numbers", lambda v: pa.chunked_array([v[:2], [], v[2:]]), YES, NULLS),
    "`pyarrow.RecordBatch`": ("rows", lambda v: pa.RecordBatch.from_pydict(columns(v)), YES, NULLS),
    "`pyarrow.Table`": ("rows", lambda v: pa.table(columns(v)), YES, NULLS),
}
ALL = pytest.mark.parametrize(("holds", "make"), [each[:2] for each in PRODUCERS.values()], ids=PRODUCERS)
KNOW_NULLS = {name: each[:2] for name, each in PRODUCERS.items() if each[3]}
OF_NULLS = pytest.mark.parametrize(("holds", "make"), KNOW_NULLS.values(), ids=KNOW_NULLS)


def states(holds, source, **options):
    """Yield the states after updates with a source as each argument that it may be."""
    B, M = ce.BinaryCrossEntropy, ce.MulticlassCrossEntropy
    n = len(OF[holds])
    if holds == "numbers":
        yield B(**options).update(source, [1] * n)
        yield B(**options).update([0.5] * n, source)
        yield B(**options).update([0.5] * n, [1] * n, weight=source)
        yield ce.MeanLoss(**options).update(source)
        yield ce.NormalizedEntropy(**options).update(source, [1, 0] * (n // 2) + [1])
    elif holds == "rows":
        yield M(**options).update(source, LABELS)
        yield M(**options).update([[0.25, 0.5, 0.25]] * n, source)
        yield ce.MultilabelCrossEntropy(**options).update(source, [[1, 0, 1]] * n)
    else:
        if holds == "flags":
            yield B(**options).update([0.25] * n, source)
        yield M(**options).update([[0.25, 0.5, 0.25]] * n, source)
        yield B(**options).update([0.25] * n, [1] * n, weight=source)
        yield (
            ce.Grouped(M(**options))
            .update([[0.25, 0.5, 0.25]] * n, source, by=["a"] * n)
            .update([[0.5, 0.25, 0.25]], [0], by=["b"])
        )


@ALL
def test_the_bits_are_those_of_numpy(holds, make):
    source = make(OF[holds])
    dtype = np.float32 if arrays.convert(source, "target").is_bfloat16 else None
    found, expected = states(holds, source), states(holds, np.array(OF[holds], dtype))
    for one, other in zip(found, expected, strict=True):
        assert one.to_bytes() == other.to_bytes()


@pytest.mark.parametrize(("holds", "make", "copied"), [each[:3] for each in PRODUCERS.values()], ids=PRODUCERS)
def test_nothing_is_copied_where_the_layout_allows(holds, make, copied):
    source = make(OF[holds])
    one, other = arrays.convert(source, "target"), arrays.convert(source, "target")
    assert one.null_mask is None
    assert np.shares_memory(one.values, other.values) == (copied in (NO, WITH))


# ---- nulls ----


def with_null(holds, at):
    values = list(OF[holds])
    values[at] = [0.5, None, 0.5] if holds == "rows" else None
    return values


@OF_NULLS
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_null_is_named(holds, make, at):
    source = make(with_null(holds, at))
    place = f"{at}, 1" if holds == "rows" else str(at)
    found = arrays.convert(source, "preds")
    assert found.null_mask.tolist() == np.array(with_null(holds, at), dtype=object).__eq__(None).tolist()
    assert not found.values[found.null_mask].any()
    with pytest.raises(ce.InputError, match=rf"^[a-z]+\[{place}\] is null: expected a value$") as caught:
        list(states(holds, source))
    assert caught.value.cause == "invalid_null"
    assert caught.value.index == (at, 1)[: 1 + (holds == "rows")]


@OF_NULLS
def test_a_null_is_skipped_and_counted(holds, make):
    expected = []  # the values of the other rows
    for metric in states(holds, np.array(OF[holds])):
        summary = metric.micro() if isinstance(metric, ce.Grouped) else metric.summary()
        expected.append(summary.seen)
    for metric, seen in zip(states(holds, make(with_null(holds, 3)), invalid="skip"), expected, strict=True):
        summary = metric.micro() if isinstance(metric, ce.Grouped) else metric.summary()
        assert summary.invalid_null == 1
        assert (summary.seen, summary.count) == (seen, seen - 1)


@pytest.mark.parametrize("make", [
    list, pl.Series, pa.array, lambda v: pd.Series(v, dtype="Int64"), lambda v: pd.Series(v, dtype="int64[pyarrow]"),
    lambda v: pa.array(v).dictionary_encode(), lambda v: pa.chunked_array([v[:1], v[1:]]),
])  # fmt: skip
def test_integers_beside_nulls_do_not_go_through_floating_point(make):
    big = 2**62 + 1
    metric = ce.MulticlassCrossEntropy(ignore_index=big, invalid="skip")
    found = metric.update(np.full((4, 2), 0.5), make([big, None, big - 1, 1])).summary()
    assert (found.ignored, found.invalid_null, found.invalid_label, found.count) == (1, 1, 1, 1)


def test_what_is_missing_in_a_list():
    for missing in (None, pd.NA):
        found = ce.BinaryCrossEntropy(invalid="skip").update([[0.5, missing], [0.25, 0.5]], [[1, 0], [0, 1]]).summary()
        assert (found.count, found.invalid_null) == (3, 1)
    with pytest.raises(ce.InputError, match=r"^target\[1\] is None, an object"):
        ce.BinaryCrossEntropy().update([0.5, 0.5], np.array([1, None]))
    with pytest.raises(ce.InputError, match=r"^preds is None"):
        ce.BinaryCrossEntropy().update(None, 1)


def test_what_is_missing_in_a_list_changes_no_type():
    holds = [np.float32(0.1), None, np.float32(0.7)]
    found = ce.BinaryCrossEntropy(invalid="skip").update(holds, [1, 1, 0])
    assert found.compute() == ce.BinaryCrossEntropy().update(np.array([0.1, 0.7], np.float32), [1, 0]).compute()


def test_nan_is_no_null():
    for source in (pd.Series([0.5, np.nan]), pl.Series([0.5, np.nan]), pa.array([0.5, np.nan])):
        assert ce.MeanLoss(invalid="skip").update(source).summary().invalid_nan == 1
    both = pa.array([np.nan, None, 0.5])
    found = ce.MeanLoss(invalid="skip").update(both).summary()
    assert (found.invalid_nan, found.invalid_null, found.count) == (1, 1, 1)


MAYBE = {"numbers": [None, 0.25, 0.5], "flags": [None, True, False], "labels": [None, 0, 1]}


@given(data=st.data(), holds=st.sampled_from(sorted(MAYBE)))
def test_nulls_are_where_they_are_in_any_part_of_an_array(data, holds):
    values = data.draw(st.lists(st.sampled_from(MAYBE[holds]), min_size=1, max_size=40))
    start = data.draw(st.integers(0, len(values) - 1))
    stop = data.draw(st.integers(start + 1, len(values)))
    part = values[start:stop]
    types = {"numbers": pa.float64(), "flags": pa.bool_(), "labels": pa.int16()}
    whole = pa.array(values, types[holds])
    for source in (
        whole[start:stop],
        pl.Series(whole)[start:stop],
        pa.chunked_array([whole[start:], whole[:0]])[: stop - start],
    ):
        metric = ce.MeanLoss if holds == "numbers" else ce.BinaryCrossEntropy
        args = [source] if holds == "numbers" else [[0.25] * len(part), source]
        found = metric(invalid="skip").update(*args)
        kept = [value for value in part if value is not None]
        expected = (
            metric().update(*([kept] if holds == "numbers" else [[0.25] * len(kept), kept])) if kept else metric()
        )
        assert found.summary().invalid_null == len(part) - len(kept)
        assert found.compute() == expected.compute() or not kept
        if None in part:
            with pytest.raises(ce.InputError) as caught:
                metric().update(*args)
            assert caught.value.index == (part.index(None),)


@pytest.mark.parametrize(("axis", "place"), [(-1, (1, 2)), (0, (2, 1))])
@pytest.mark.parametrize("metric", [ce.MulticlassCrossEntropy, ce.MultilabelCrossEntropy])
def test_nulls_along_any_class_axis(metric, axis, place):
    rows = [[0.25, 0.5, 0.25], [0.5, 0.5, 0.0]]
    if axis == 0:
        rows = [list(row) for row in zip(*rows, strict=True)]
    target = [1, 0] if metric is ce.MulticlassCrossEntropy else (np.array(rows) > 0.25).astype(int)
    rows[place[0]][place[1]] = None
    with pytest.raises(ce.InputError, match=rf"^preds\[{place[0]}, {place[1]}\] is null") as caught:
        metric(axis=axis).update(pa.array(rows), target)
    assert caught.value.argument == "preds"
    found = metric(axis=axis, invalid="skip").update(pa.array(rows), target).summary()
    assert (found.invalid_null, found.count) == ((1, 1) if metric is ce.MulticlassCrossEntropy else (1, 5))


def test_a_row_that_is_null_as_a_whole():
    for source in (pa.array([[0.5, 0.5], None]), pl.Series([[0.5, 0.5], None])):
        found = ce.MulticlassCrossEntropy(invalid="skip").update(source, [0, 0]).summary()
        assert (found.invalid_null, found.count) == (1, 1)
    assert ce.BinaryCrossEntropy(invalid="skip").update([0.5], pa.nulls(1)).summary().invalid_null == 1
    assert ce.MulticlassCrossEntropy(invalid="skip").update([[0.5, 0.5]], pa.nulls(1)).summary().invalid_null == 1


def test_weights_per_sample_and_per_loss():
    preds, target = np.full((2, 2), 0.5), [[1, 0], [0, 1]]
    of_samples, of_losses = pl.Series([1.0, None]), pl.DataFrame({"a": [1.0, 1.0], "b": [1.0, None]})
    for weight, index, count in ((of_samples, (1,), 2), (of_losses, (1, 1), 3)):
        with pytest.raises(ce.InputError, match=r"^weight.* is null") as caught:
            ce.BinaryCrossEntropy().update(preds, target, weight=weight)
        assert (caught.value.argument, caught.value.index) == ("weight", index)
        found = ce.BinaryCrossEntropy(invalid="skip").update(preds, target, weight=weight).summary()
        assert (found.count, found.invalid_null) == (count, 4 - count)


def test_the_first_null_of_the_first_row_is_named():
    source = pl.Series([0.5, 0.5, None])
    with pytest.raises(ce.InputError, match=r"^target\[1\] is null"):
        ce.BinaryCrossEntropy().update(source, pl.Series([1, None, None]))
    with pytest.raises(ce.InputError, match=r"^preds\[1\] is 2.0"):
        ce.BinaryCrossEntropy().update(pl.Series([0.5, 2.0, None]), [1, 1, 1])


def test_nulls_in_sequences():
    preds, flat = np.full((2, 3, 2), 0.5), np.full((5, 2), 0.5)
    S = ce.SequenceCrossEntropy
    with pytest.raises(ce.InputError, match=r"^target\[1, 0\] is null"):
        S().update(preds, pa.array([[0, 1, 1], [None, 0, 0]]))
    beyond = S(invalid="skip").update(preds, pa.array([[0, 1, 1], [0, None, None]]), lengths=[3, 1]).summary()
    assert (beyond.invalid_null, beyond.count) == (0, 4)  # values beyond the end of a sequence are not read
    weight = pl.Series([1.0, None])
    with pytest.raises(ce.InputError, match=r"^weight\[1\] is null"):
        S().update(flat, [0] * 5, offsets=[0, 3, 5], weight=weight)
    found = S(invalid="skip").update(flat, [0] * 5, offsets=[0, 3, 5], weight=weight, n_words=[4, 5])
    assert (found.summary().invalid_null, found.summary().count, found.per_word().weight) == (2, 3, 4)
    for name in ("lengths", "n_words"):
        with pytest.raises(ce.InputError, match=rf"^{name}\[1\] is null"):
            S(invalid="skip").update(preds, [[0] * 3] * 2, **{name: pl.Series([3, None])})
    tokens = ce.Perplexity(invalid="skip").update_token_log_probs(pl.Series([-1.0, None, -3.0]), offsets=[0, 2, 3])
    assert (tokens.summary().invalid_null, tokens.summary().mean) == (1, 2.0)


@pytest.mark.parametrize("layout", ["BTC", "TBC"])
def test_nulls_in_utterances(layout):
    frames = [[[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.5, None]]]  # the same in both layouts
    C, lengths = ce.CTCCrossEntropy, {"input_lengths": [2, 2], "target_lengths": [1, 1]}
    full = np.full((2, 2, 2), 0.5)
    for preds, target, weight, message in (
        (pa.array(frames), [1, 1], None, r"preds\[1, 1, 1\]"),
        (full, pa.array([[1], [None]]), None, r"target\[1, 0\]"),
        (full, pa.array([1, None]), None, r"target\[1\]"),
        (full, [1, 1], pl.Series([1.0, None]), r"weight\[1\]"),
    ):
        with pytest.raises(ce.InputError, match=f"^{message} is null") as caught:
            C(layout=layout).update(preds, target, weight=weight, **lengths)
        assert caught.value.cause == "invalid_null"
        found = C(layout=layout, invalid="skip").update(preds, target, weight=weight, **lengths).summary()
        assert (found.count, found.invalid_null) == (1, 1)
    lengths["input_lengths"] = [1, 1]
    assert C(layout=layout).update(pa.array(frames), [1, 1], **lengths).summary().count == 2  # beyond the end
    with pytest.raises(ce.InputError, match=r"^preds\[2, 0\] is null"):
        C().update(pa.array([[0.5, 0.5], [0.5, 0.5], [None, 0.5]]), [1, 1], input_lengths=[1, 2], target_lengths=[1, 1])
    for name in ("input_lengths", "target_lengths"):
        with pytest.raises(ce.InputError, match=rf"^{name}\[0\] is null"):
            C().update(full, [1, 1], **lengths | {name: pl.Series([None, 1])})


def test_nulls_in_what_is_made_of_metrics():
    B, null = ce.BinaryCrossEntropy, pl.Series([0.5, None])
    with pytest.raises(ce.InputError, match=r"^preds_b\[1\] is null"):
        ce.Paired(B()).update([0.5, 0.5], null, [1, 0])
    paired = ce.Paired(B(invalid="skip")).update([0.5, 0.5], null, [1, 0]).summary()
    assert (paired.difference.invalid_null, paired.difference.count) == (1, 1)
    with pytest.raises(ce.InputError, match=r"^real\[1\] is null"):
        ce.GANCrossEntropy().update(real=null)
    assert ce.GANCrossEntropy(invalid="skip").update(fake=null).summary().generator.invalid_null == 1
    assert ce.Sliding(B(invalid="skip"), samples=1).update(null, [1, 1]).summary().invalid_null == 1
    decayed = ce.Decayed(B(invalid="skip"), half_life="1h").update(null, [1, 1], by_time=[0.0, 1.0])
    assert decayed.summary().invalid_null == 1
    found = ce.Collection({"a": B(invalid="skip", tail=True), "n": ce.NormalizedEntropy(invalid="skip")})
    assert [each.invalid_null for each in found.update(null, [1, 1]).summary().values()] == [1, 1]
    split = B(invalid="skip", divergence=True).update(null, [0.5, 0.5]).summary()
    assert (split.invalid_null, split.divergence) == (1, 0)
    for function in (ce.binary_cross_entropy, ce.log_loss):
        args = (null, [1, 0]) if function is ce.binary_cross_entropy else ([1, 0], null)
        with pytest.raises(ce.InputError, match=r"\[1\] is null"):
            function(*args)


def test_a_source_that_comes_once_is_read_once():
    class Once(ArrowStream):
        def __arrow_c_stream__(self, requested_schema=None):
            stream, self._array = self._array.__arrow_c_stream__(), None
            return stream

    with pytest.raises(ce.InputError, match=r"^preds\[1\] is 2.0"):
        ce.BinaryCrossEntropy().update(Once([0.5, 2.0]), Once([1, 1]))
    with pytest.raises(ce.InputError, match=r"^target\[1\] is null"):
        ce.BinaryCrossEntropy().update(Once([0.5, 0.25]), Once([1, None]))
    with pytest.raises(ce.InputError, match=r"^preds has dtype int64: expected .* swapped"):
        ce.BinaryCrossEntropy().update(Once([1, 0]), [1, 1])
    with pytest.raises(ce.InputError, match=r"^target\[0\] is 0.5: expected a class from 0 to 1$"):
        ce.MulticlassCrossEntropy().update([[0.5, 0.5]], Once([0.5]))
    with pytest.raises(ce.InputError, match=r"^preds\[0, 1, 0\] is 2.0 in sequence 0"):
        ce.CTCCrossEntropy(layout="BTC").update(
            Once([[[0.5, 0.5], [2.0, 0.5]]]), [[1]], input_lengths=[2], target_lengths=[1]
        )
    for make in (
        lambda of: ce.NormalizedEntropy().update(of([0.5, 0.25]), of([1, 0]), weight=of([1.0, 2.0])),
        lambda of: ce.BinaryCrossEntropy(divergence=True).update(
            of([0.5, 0.25]), of([0.9, 0.0]), weight=of([1.0, 2.0])
        ),
        lambda of: ce.GANCrossEntropy().update(fake=of([0.5, 0.25]), fake_weight=of([1.0, 2.0])),
        lambda of: ce.Paired(ce.BinaryCrossEntropy()).update(
            of([0.5, 0.25]), of([0.5, 0.5]), of([1, 0]), weight=of([1.0, 2.0])
        ),
        lambda of: ce.Collection({"a": ce.BinaryCrossEntropy(), "b": ce.NormalizedEntropy()}).update(
            of([0.5, 0.25]), of([1, 0]), weight=of([1.0, 2.0])
        ),
    ):
        assert make(Once) == make(np.array)
    table = pa.table(columns(ROWS)).to_reader()
    assert ce.MulticlassCrossEntropy().update(table, LABELS) == ce.MulticlassCrossEntropy().update(ROWS, LABELS)


def test_tensors_whose_axes_are_permuted_are_refused():
    logits = np.random.default_rng(0).normal(size=(4, 3, 3))
    lists = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), 9)
    target = np.zeros((4, 3), int)
    metric = ce.MulticlassCrossEntropy(kind="logits")
    for order in (None, [0, 1]):
        source = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float64(), (3, 3), permutation=order), lists)
        assert metric.copy().update(source, target) == metric.copy().update(logits, target)
    source = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float64(), (3, 3), permutation=[1, 0]), lists)
    with pytest.raises(
        ce.InputError, match=r"^preds is not an array \(it holds tensors whose axes are permuted, \[1, 0\]\)"
    ):
        metric.update(source, target)


def test_a_tensor_of_several_axes_is_no_row_of_classes():
    lists = pa.FixedSizeListArray.from_arrays(pa.array([0.25] * 8), 4)
    source = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float64(), (2, 2)), lists)
    with pytest.raises(ce.InputError, match=r"^preds: column 'p' holds extension<arrow.fixed_shape_tensor"):
        ce.MulticlassCrossEntropy().update_from(pa.table({"p": source, "y": [0, 0]}), preds="p", target="y")


def test_chunks_whose_lists_are_all_null():
    lists = pa.list_(pa.float64())
    chunks = pa.chunked_array([[None], [[0.25, 0.5, 0.25]], [None, None]], lists)
    found = ce.MulticlassCrossEntropy(invalid="skip").update(chunks, [2, 2, 2, 2])
    assert found == ce.MulticlassCrossEntropy(invalid="skip").update(chunks.combine_chunks(), [2, 2, 2, 2])
    with pytest.raises(ce.InputError, match=r"^preds is not an array \(rows of shapes \(2,\) and \(3,\)\)"):
        ce.MulticlassCrossEntropy().update(pa.chunked_array([[[0.5, 0.5]], [[0.25, 0.5, 0.25]]]), [0, 0])
    with pytest.raises(ce.InputError, match=r"^preds is not an array \(row 2: a list of 1 where others have 2\)"):
        ce.MulticlassCrossEntropy().update(pa.chunked_array([[[0.5, 0.5]], [[0.5, 0.5], [0.5]]]), [0, 0, 0])


def test_buffers_that_end_within_a_number():
    data = np.array([0.5, 0.25]).tobytes() + b"abc"
    source = pa.Array.from_buffers(pa.float64(), 2, [None, pa.py_buffer(data)])
    assert ce.MeanLoss().update(source) == ce.MeanLoss().update([0.5, 0.25])


def test_bools_of_eight_bits():
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8()))
    table = pa.table({"p": [0.5, 0.25], "y": flags, "w": flags})
    found = ce.BinaryCrossEntropy().update_from(table, preds="p", target="y", weight="w")
    assert found == ce.BinaryCrossEntropy().update([0.5, 0.25], [True, False], weight=[True, False])


def test_bfloat16_of_the_other_byte_order():
    values = np.array(NUMBERS, ml_dtypes.bfloat16)
    foreign = values.astype(values.dtype.newbyteorder())
    assert ce.MeanLoss().update(foreign) == ce.MeanLoss().update(values)
    with pytest.raises(ce.InputError, match=r"^preds\[0\] is 0.25: expected a log-probability"):
        ce.BinaryCrossEntropy(kind="log_probs").update(foreign, LABELS)


class Masked:
    def __array__(self, dtype=None, copy=None):
        return np.ma.masked_array([0.5, 0.25], [False, True])


@pytest.mark.parametrize("make", [lambda: Masked(), lambda: Masked().__array__()])
def test_a_mask_is_not_forgotten(make):
    with pytest.raises(ce.InputError, match=r"^preds\[1\] is masked: expected a value"):
        ce.BinaryCrossEntropy().update(make(), [0, 1])
    with pytest.raises(ce.InputError, match=r"^preds\[0, 1\] is masked: expected a value"):
        ce.MulticlassCrossEntropy().update([np.ma.masked_array([0.5, 0.5], [False, True])], [1])


# ---- what is not an array ----


class OnGPU(DLPack):
    device = (2, 1)


WRONG = {
    "device": (OnGPU(NUMBERS), r"it is on a device, CUDA 1, and not in memory of the CPU"),
    "text": (pa.array(["a"]), "it holds string"),
    "polars text": (pl.Series(["a"]), "it holds string_view"),
    "ragged": (pa.array([[0.5], [0.5, 0.5]]), "row 1: a list of 2 where others have 1"),
    "a list beside": (pa.table({"a": [[0.5]], "b": [0.5]}), "a column of lists beside other columns"),
    "no columns": (pa.table({}), "no columns"),
    "dates": (pl.Series([0]).cast(pl.Date), "it holds date32"),
}


@pytest.mark.parametrize(("source", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_array_of_numbers(source, message):
    with pytest.raises(ce.InputError, match=rf"^preds is not an array \({message}.*\): expected an array of float64"):
        ce.MulticlassCrossEntropy().update(source, [0])


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "int4", "uint4", "float4_e2m1fn"])
def test_other_dtypes_of_ml_dtypes_are_named(dtype):
    with pytest.raises(ce.InputError, match=f"^(preds|target) has dtype {dtype}: expected an array of"):
        ce.MulticlassCrossEntropy().update(np.zeros((2, 2), getattr(ml_dtypes, dtype)), [0, 1])
    with pytest.raises(ce.InputError, match=f"^target has dtype {dtype}: expected an array of"):
        ce.MulticlassCrossEntropy().update(np.full((2, 2), 0.5), np.zeros(2, getattr(ml_dtypes, dtype)))


def test_offsets_that_lie_are_not_followed():
    offsets, values = pa.py_buffer(np.array([0, 1000, 4], np.int32)), pa.array([0.5, 0.5, 0.5, 0.5])
    lists = pa.Array.from_buffers(pa.list_(pa.float64()), 2, [None, offsets], children=[values])
    with pytest.raises(ce.InputError, match=r"^preds is not an array"):
        ce.MulticlassCrossEntropy().update(lists, [0, 1])
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 9]), pa.array([0, 1]), safe=False)
    with pytest.raises(ce.InputError, match=r"^target is not an array"):
        ce.BinaryCrossEntropy().update([0.5, 0.5], codes)


@pytest.mark.parametrize("name", ["input_lengths", "lengths", "offsets"])
def test_bfloat16_is_called_by_its_name(name):
    given = {name: np.ones(2, ml_dtypes.bfloat16)}
    metric, preds = ce.SequenceCrossEntropy(), np.zeros((2, 2) if name == "offsets" else (2, 2, 2))
    if name == "input_lengths":
        metric, given = ce.CTCCrossEntropy(), {"target_lengths": [1, 1], **given}
    with pytest.raises(ce.InputError, match=f"^{name} has dtype bfloat16: expected integers"):
        metric.update(preds, [1, 1], **given)


def test_dlpack_is_asked_for_version_1():
    source = DLPack(NUMBERS)
    ce.MeanLoss().update(source)
    assert source.asked == [(1, 0)]


# ---- memory that does not exist ----


@pytest.mark.parametrize("make", [pl.Series, pa.array, pd.Series, lambda v: pd.Series(v, dtype="Float64"),
                                  lambda v: pd.Series(pa.array(v), dtype="double[pyarrow]"), DLPack])  # fmt: skip
def test_32_megabytes_take_blocks_of_memory_at_most(make):
    source = make(np.full(1 << 22, 0.5))
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    ce.MeanLoss(threads=1).update(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 23  # the blocks, and the bytes of a mask
    assert pa.total_allocated_bytes() <= before


WITHOUT = """
import sys
sys.modules["pyarrow"] = None
import polars as pl, pandas as pd, streamce as ce
metric = ce.BinaryCrossEntropy(invalid="skip").update(pl.Series([0.5, 0.25]), pd.Series([1, None], dtype="Int64"))
print(metric.summary().invalid_null)
try:
    metric.update([0.5, 0.25], pl.Series([1, None]))
except ce.InputError as error:
    print(error)
"""


def test_pyarrow_is_named_where_it_is_missing():
    found = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "1",
        "target is not an array (reading it needs pyarrow: pip install 'streamce[files]'): "
        "expected an array of integers, bool or real numbers",
    ]


def test_the_table_has_what_is_tested():
    rows = {
        name: cells for name, cells in input_table.rows("Arrays").items() if not name.startswith(("`torch", "`jax"))
    }
    assert list(rows) == list(PRODUCERS)
    for name, (_, copied, nulls) in rows.items():
        assert (copied, nulls) == PRODUCERS[name][2:]
