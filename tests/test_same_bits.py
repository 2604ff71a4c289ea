"""The same bits result for all batches, orders, workers, merges and layouts in memory."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import DTYPES, KINDS, cast, make, streams

import streamce as ce

pytestmark = pytest.mark.core


def cuts(draw, n, most=6):
    """Draw the slices of chunks of a stream of n samples. Some are empty."""
    at = sorted(draw(st.lists(st.integers(0, n), max_size=most)))
    return [slice(a, b) for a, b in zip([0, *at], [*at, n], strict=True)]


# ---- chunks, order, merging ----


@given(streams(), st.data())
def test_any_chunking(stream, data):
    metric = stream.metric()
    for rows in cuts(data.draw, len(stream)):
        stream[rows].add_to(metric)
    assert metric.to_bytes() == stream.bytes()


@given(streams())
def test_one_sample_at_a_time(stream):
    metric = stream.metric()
    for i in range(len(stream)):
        stream[i : i + 1].add_to(metric)
    assert metric.to_bytes() == stream.bytes()


@given(streams(), st.integers(0, 2**32 - 1))
def test_any_order(stream, seed):
    order = np.random.default_rng(seed).permutation(len(stream))
    assert stream[order].bytes() == stream.bytes()


@given(streams(), st.data())
def test_any_merge_tree(stream, data):
    parts = [stream[rows].fed() for rows in cuts(data.draw, len(stream))]
    while len(parts) > 1:
        a = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        b = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(a + b)
    assert parts[0].to_bytes() == stream.bytes()


@given(streams(), st.data())
def test_every_way_to_merge(stream, data):
    parts = [stream[rows].fed() for rows in cuts(data.draw, len(stream))]
    whole = stream.bytes()
    assert sum(parts).to_bytes() == whole
    assert stream.metric().merge(*parts).to_bytes() == whole
    assert stream.metric().merge(*map(ce.from_bytes, [part.to_bytes() for part in parts])).to_bytes() == whole
    added = stream.metric()
    for part in parts:
        added += part
    assert added.to_bytes() == whole


@given(streams(), st.data())
def test_what_was_added_can_be_taken_away(stream, data):
    at = data.draw(st.integers(0, len(stream)))
    a, b = stream[:at].fed(), stream[at:].fed()
    before = a.to_bytes()
    assert (a + b - b).to_bytes() == before
    assert (b + a - b).to_bytes() == before
    assert (a - b + b).to_bytes() == before
    a += b
    a -= b
    assert a.to_bytes() == before


@given(streams())
def test_a_minus_itself_is_empty(stream):
    metric = stream.fed()
    assert (metric - metric).to_bytes() == stream.metric().to_bytes()


@given(streams())
def test_after_a_minus_itself_any_number_of_classes_is_welcome(stream):
    metric = stream.fed()
    again = stream[:1].fed()
    assert ((metric - metric) + again).to_bytes() == again.to_bytes()
    emptied = metric - metric
    if stream.task in ("multiclass", "multilabel") and "class_weight" not in stream.options:
        other = make(stream.task, 9, classes=4, **{"kind": stream.options["kind"]})
        other.add_to(emptied)


@given(streams(), st.data())
def test_resuming_from_bytes_pickles_and_copies(stream, data):
    at = data.draw(st.integers(0, len(stream)))
    resume = data.draw(
        st.sampled_from([lambda m: pickle.loads(pickle.dumps(m)), copy.copy, copy.deepcopy, lambda m: m.copy()])
    )
    metric = stream[at:].add_to(resume(stream[:at].fed()))
    assert metric.to_bytes() == stream.bytes()
    loaded = ce.from_bytes(stream[:at].fed().to_bytes()) + stream[at:].fed()
    assert loaded.to_bytes() == stream.bytes()


@given(streams(), st.data())
def test_calling_a_metric_updates_it(stream, data):
    metric = stream.metric()
    for rows in cuts(data.draw, len(stream)):
        chunk = stream[rows]
        value = metric(*[a for a in (chunk.preds, chunk.target) if a is not None], weight=chunk.weight)
        assert np.array_equal(value, chunk.fed().compute(), equal_nan=True)
    assert metric.to_bytes() == stream.bytes()


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_infinities_of_both_signs_in_one_sample_can_be_taken_away(n, seed):
    stream = make("mean", n, inner=(4,), infinite=True, weighted=True, seed=seed)
    stream.preds[::3, 0], stream.preds[::3, 1] = np.inf, -np.inf
    other = make("mean", 5, inner=(4,), seed=seed).fed()
    assert (other + stream.fed() - stream.fed()).to_bytes() == other.to_bytes()


# ---- threads ----

LARGE = [
    make("binary", 700_001, kind="logits", dtype="float32", weighted=True, ignore_index=-1, seed=1),
    make("binary", 600_000, odd=True, infinite=True, eps=0.0, label_smoothing=0.1, seed=2),
    make("multiclass", 60_011, kind="logits", dtype="bfloat16", classes=11, odd=True, per_class=True, seed=3),
    make("multiclass", 9_001, kind="probs", dtype="float32", classes=70, soft=True, weighted=True, seed=4),
    make("multilabel", 30_011, kind="logits", dtype="float16", classes=23, weighted=True, ignore_index=-1, seed=5),
    make("multilabel", 300, inner=(211,), classes=17, odd=True, weighted=True, weights_each=True, seed=6),
    make("mean", 600_000, infinite=True, weighted=True, seed=7),
]


@pytest.mark.parametrize("stream", LARGE, ids=lambda stream: f"{stream.task}-{stream.preds.dtype}")
def test_any_number_of_threads(stream):
    alone = stream.bytes(threads=1)
    for threads in (2, 3, 5, 8):
        assert stream.bytes(threads=threads) == alone
    half = len(stream) // 3
    assert (stream[:half].fed(threads=2) + stream[half:].fed(threads=3)).to_bytes() == alone


# ---- layouts in memory ----


def strided(a):
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def every_third_row(a):
    tall = np.zeros((3 * len(a), *a.shape[1:]), a.dtype)
    tall[::3] = a
    return tall[::3]


def backwards(a):
    return a[tuple(slice(None, None, -1) for _ in a.shape)].copy()[tuple(slice(None, None, -1) for _ in a.shape)]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    moved = raw[1:].view(a.dtype).reshape(a.shape)
    moved[...] = a
    return moved


def other_byte_order(a):
    return a.astype(a.dtype.newbyteorder()) if a.dtype.kind in "fiu" else strided(a)


def in_a_record(a):
    """Return an array as a field of packed records, whose strides are not multiples of the item size."""
    records = np.zeros(a.shape, np.dtype([("x", np.uint8), ("value", a.dtype)]))
    records["value"] = a
    return records["value"]


LAYOUTS = [
    np.asfortranarray, strided, every_third_row, backwards, read_only, unaligned, other_byte_order, in_a_record,
]  # fmt: skip


@given(streams(), st.data())
def test_any_layout_of_each_argument(stream, data):
    whole = stream.bytes()
    laid = stream[:]
    for name in ("preds", "target", "weight"):
        if getattr(stream, name) is not None:
            layout = data.draw(st.sampled_from(LAYOUTS))
            setattr(laid, name, layout(getattr(stream, name)))
    assert laid.bytes() == whole


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "mean"])
def test_all_arguments_in_one_layout(task, dtype, layout):
    stream = make(task, 3001, dtype=dtype, weighted=True, seed=8)
    laid = stream[:]
    laid.preds, laid.weight = layout(stream.preds), layout(stream.weight)
    laid.target = None if stream.target is None else layout(stream.target)
    assert laid.bytes() == stream.bytes()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_class_axis_anywhere(task, kind, dtype, soft, axis):
    stream = make(task, 83, kind=kind, dtype=dtype, classes=6, inner=(4,), soft=soft, weighted=True, seed=9)
    moved = stream[:]
    for contiguous in (False, True):
        moved.preds = np.moveaxis(stream.preds, -1, axis)
        if task == "multilabel" or soft:
            moved.target = np.moveaxis(stream.target, -1, axis)
        if contiguous:
            moved.preds, moved.target = moved.preds.copy(), moved.target.copy()
        assert moved.bytes(axis=axis) == stream.bytes()


@pytest.mark.parametrize("integer", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_targets_of_any_integer_type(task, integer):
    stream = make(task, 3000, classes=2, seed=10)
    other = stream[:]
    other.target = stream.target.astype(integer)
    assert other.bytes() == stream.bytes()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_a_log_probability_costs_the_same_in_any_dtype_that_holds_it(task, dtype):
    stream = make(task, 500, kind="log_probs", dtype=dtype, seed=11)
    wide = stream[:]
    wide.preds = stream.preds.astype(np.float64)
    assert wide.bytes() == stream.bytes()


@pytest.mark.parametrize("eps", [2.0**-52, 0.0])
def test_a_floor_that_no_float_can_hold_does_not_change_a_float(eps):
    preds, target = np.array([0.0, 1e-45, 1e-30, 0.3, 1.0, 1.0], np.float32), [1, 1, 1, 1, 1, 0]
    costs = ce.binary_cross_entropy(preds, target, eps=eps, reduction="none")
    wide = ce.binary_cross_entropy(preds.astype(np.float64), target, eps=eps, reduction="none")
    assert costs == pytest.approx(wide, rel=3e-7)
    assert list(costs[preds < eps]) == list(wide[preds < eps])  # a floored probability costs as much as in float64


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("soft", [False, True])
def test_halves_cost_what_the_same_floats_cost(task, kind, dtype, soft):
    stream = make(task, 500, kind=kind, dtype=dtype, soft=soft, seed=12)
    wide = stream[:]
    wide.preds = stream.preds.astype(np.float32)
    assert wide.fed().compute() == stream.fed().compute()


def test_every_half_is_read_exactly():
    for dtype in (np.dtype(np.float16), DTYPES["bfloat16"]):
        halves = np.arange(1 << 16, dtype=np.uint16).view(dtype)
        halves = halves[np.isfinite(cast(halves, np.float64))]
        assert ce.MeanLoss().update(halves) == ce.MeanLoss().update(halves.astype(np.float64))
        for half in halves[:: 1 << 8]:
            assert ce.MeanLoss().update(np.array([half])).compute() == float(half)


# ---- equal streams, equal bytes ----


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "mean"])
def test_weights_of_one_change_nothing(task):
    stream = make(task, 5000, seed=13)
    weighted = stream[:]
    weighted.weight = np.ones(len(stream))
    assert weighted.bytes() == stream.bytes()


def test_a_row_costs_the_same_wherever_it_stands():
    for classes in (2, 10, 64, 65, 1000):
        for dtype in DTYPES:
            row = make("multiclass", 1, kind="logits", dtype=dtype, classes=classes, seed=14)
            many = row[np.zeros(201, int)]
            assert many.fed().compute() == row.fed().compute()


@pytest.mark.parametrize("metric", [ce.BinaryCrossEntropy, ce.MultilabelCrossEntropy])
def test_halves_and_outcomes_in_any_chunks(metric):
    rng = np.random.default_rng(12)
    preds = rng.uniform(size=(1500, 3))
    target = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0], (1500, 3), p=[0.45, 0.02, 0.06, 0.02, 0.45])
    target[:600] = 0.5
    whole = metric().update(preds, target).to_bytes()
    for size in (1, 7, 512, 1024):
        pieces = metric()
        for at in range(0, 1500, size):
            pieces.update(preds[at : at + size], target[at : at + size])
        assert pieces.to_bytes() == whole
