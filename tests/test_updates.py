"""An update leaves no trace except its samples, so the next one works as if it were the first."""

import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import make, streams

import streamce as ce

pytestmark = pytest.mark.core

STREAM = make("binary", 40, seed=1)


def spoil(metric):
    """Fail in an update whose data have every part that a chunk can have."""
    with pytest.raises(ce.InputError):
        metric.update(np.full((3, 2), np.nan, ">f4").T, np.full((2, 3), 0.5), weight=np.ones((2, 3)))


@given(st.lists(streams(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_updates_of_several_metrics_in_any_order(found, random):
    expected = []
    for stream in found:
        stream.options["invalid"] = "skip"
        expected.append(stream.bytes())
    metrics = [stream.metric() for stream in found]
    turns = [(k, i) for k, stream in enumerate(found) for i in range(len(stream))]
    random.shuffle(turns)
    for k, i in turns:
        found[k][i : i + 1].add_to(metrics[k])
    assert [metric.to_bytes() for metric in metrics] == expected


@given(streams())
def test_updates_after_errors(stream):
    stream.options["invalid"] = "skip"
    metric, other = stream.metric(), ce.BinaryCrossEntropy()
    for i in range(len(stream)):
        spoil(other)
        stream[i : i + 1].add_to(metric)
    assert metric.to_bytes() == stream.bytes()
    assert other == ce.BinaryCrossEntropy()


@pytest.mark.parametrize("size", [1, 500, 5000, 100_000])
def test_arrays_are_let_go_of(size):
    arrays = np.full(size, 0.5), np.ones(size, np.int8), np.ones(size)
    count = [sys.getrefcount(array) for array in arrays]
    preds, target, weight = arrays
    ce.BinaryCrossEntropy().update(preds, target, weight=weight)
    preds[-1] = np.nan
    with pytest.raises(ce.InputError):
        ce.BinaryCrossEntropy().update(preds, target, weight=weight)
    del preds, target, weight
    gc.collect()
    assert [sys.getrefcount(array) for array in arrays] == count


def test_what_was_converted_is_let_go_of():
    class Strange(np.ndarray):
        pass

    preds = np.full(3, 0.5).view(Strange)
    alive = weakref.ref(preds)
    ce.BinaryCrossEntropy().update(preds, [1, 0, 1])
    del preds
    assert alive() is None


def test_metrics_are_let_go_of():
    class Mine(ce.BinaryCrossEntropy):
        __slots__ = ("__weakref__",)

    metric = Mine().update(0.5, 1)
    alive = weakref.ref(metric)
    del metric
    assert alive() is None


def test_an_update_within_an_update():
    inner = ce.MulticlassCrossEntropy(kind="logits", label_smoothing=0.1)

    class Lazy:
        def __array__(self, dtype=None, copy=None):
            inner.update([[0.5, 1.0, 2.0]], [2], weight=[0.5])
            return np.array([1, 0, 1])

    outer = ce.BinaryCrossEntropy().update(np.array([0.25, 0.5, 0.75]), Lazy())
    assert outer == ce.BinaryCrossEntropy().update([0.25, 0.5, 0.75], [1, 0, 1])
    expected = ce.MulticlassCrossEntropy(kind="logits", label_smoothing=0.1)
    assert inner == expected.update([[0.5, 1.0, 2.0]], [2], weight=[0.5])


@pytest.mark.parametrize("size", [2, 511, 513, 2048, 2049])
def test_chunks_of_any_size_are_the_sum_of_their_samples(size):
    stream = make("multiclass", size, kind="logits", dtype="float32", classes=3, weighted=True, seed=size)
    one_by_one = stream.metric()
    for i in range(size):
        one_by_one.update(stream.preds[i], stream.target[i], weight=stream.weight[i])
    assert one_by_one.to_bytes() == stream.bytes()


@pytest.mark.parametrize("real", [float, np.float64, np.float32, np.float16], ids=lambda real: real.__name__)
@pytest.mark.parametrize(
    "whole", [int, bool, np.bool_, np.int8, np.uint8, np.int64, np.uint64], ids=lambda whole: whole.__name__
)
def test_numbers_of_every_type_add_what_arrays_of_it_do(real, whole):
    metric = ce.BinaryCrossEntropy()
    for p, y in zip(STREAM.preds, STREAM.target, strict=True):
        metric.update(real(p), whole(y))
    preds = STREAM.preds.astype(real)
    assert metric == ce.BinaryCrossEntropy().update(preds, STREAM.target.astype(whole))


def test_threads_that_feed_metrics_of_their_own_do_not_meet():
    found = [
        make("multiclass", 400, kind="logits", classes=4, weighted=True, label_smoothing=0.1, seed=2),
        make("multilabel", 400, classes=3, soft=True, weighted=True, weights_each=True, seed=3),
        make("mean", 400, seed=4),
    ]
    metrics = [stream.metric() for stream in found]

    def feed(stream, metric):
        for i in range(len(stream)):
            stream[i : i + 1].add_to(metric)

    threads = [threading.Thread(target=feed, args=pair) for pair in zip(found, metrics, strict=True)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert [metric.to_bytes() for metric in metrics] == [stream.bytes() for stream in found]
