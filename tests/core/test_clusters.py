"""Clusters: errors are robust to correlated samples, and do not depend on how clusters are split."""

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
import state_reader
from hypothesis import given
from hypothesis import strategies as st
from streams import make, streams

import streamce as ce


def clustered(stream, ids):
    args = [stream.preds] if stream.task == "mean" else [stream.preds, stream.target]
    return stream.metric().update(*args, weight=stream.weight, cluster=ids)


def alike(rng, clusters, size):
    """Return losses that mostly depend on the cluster, and the cluster of each."""
    own = rng.exponential(size=clusters)
    return np.repeat(own, size) + 0.1 * rng.exponential(size=clusters * size), np.repeat(np.arange(clusters), size)


@given(streams(), st.data())
def test_clusters_may_be_split_over_chunks_and_workers(stream, data):
    ids = np.array(data.draw(st.lists(st.integers(-5, 5), min_size=len(stream), max_size=len(stream))), dtype=np.int64)
    order = np.random.default_rng(len(stream)).permutation(len(stream))
    a, b = np.split(order, [data.draw(st.integers(0, len(stream)))])
    parts = clustered(stream[a], ids[a]) + clustered(stream[b], ids[b])
    whole = clustered(stream, ids)
    assert parts.to_bytes() == whole.to_bytes()
    assert (parts - clustered(stream[a], ids[a])).to_bytes() == clustered(stream[b], ids[b]).to_bytes()


@given(streams())
def test_clusters_change_nothing_but_the_error(stream):
    plain, with_ids = stream.fed(), clustered(stream, np.arange(len(stream)) % 7)
    assert np.array_equal(plain.compute(), with_ids.compute(), equal_nan=True)
    a, b = plain.summary().to_dict(), with_ids.summary().to_dict()
    of_the_error = {"stderr", "interval", "bits_interval", "perplexity_interval", "buckets"}
    assert repr({k: v for k, v in a.items() if k not in of_the_error}) == repr(
        {k: v for k, v in b.items() if k not in of_the_error}
    )
    with_parts, parts = (state_reader.read(metric.to_bytes()).parts for metric in (with_ids, plain))
    assert {name: part for name, part in with_parts.items() if name != "buckets"} == parts


@given(streams(), st.integers(0, 3))
def test_buckets_hold_the_sums_of_their_samples(stream, seed):
    ids = np.random.default_rng(seed).integers(0, 1000, len(stream))
    parts = state_reader.read(clustered(stream, ids).to_bytes()).parts
    total = state_reader.read(stream.fed().to_bytes()).parts.get("total")
    buckets = parts["buckets"].cells.values() if "buckets" in parts else []
    for column in ("samples", "n", "d", "n+inf", "n-inf", "d+inf", "d-inf"):
        assert sum(cell.get(column, 0) for cell in buckets) == (total.cells[0].get(column, 0) if total else 0)
    assert {column for cell in buckets for column in cell} <= {"samples", "n", "d", "n+inf", "n-inf"}


def test_a_sample_per_cluster_gives_nearly_the_plain_error():
    losses = np.random.default_rng(3).exponential(size=200_000)
    plain = ce.MeanLoss().update(losses).summary()
    alone = ce.MeanLoss().update(losses, cluster=np.arange(200_000)).summary()
    assert alone.buckets == 256
    assert alone.stderr == pytest.approx(plain.stderr, rel=0.15)


def test_few_clusters_have_a_bucket_each():
    losses, ids = alike(np.random.default_rng(3), 12, 50)
    summary = ce.MeanLoss().update(losses, cluster=ids).summary()
    means = losses.reshape(12, 50).mean(1)
    assert summary.buckets == 12
    assert summary.stderr == pytest.approx(np.std(means, ddof=1) / math.sqrt(12), rel=1e-9)
    assert math.isnan(ce.MeanLoss().update(losses[:50], cluster=ids[:50]).summary().stderr)


def test_intervals_of_clustered_samples_cover_and_plain_ones_do_not():
    rng = np.random.default_rng(17)
    covered = {"clustered": 0, "plain": 0}
    for _ in range(600):
        losses, ids = alike(rng, 150, 8)
        shuffled = rng.permutation(len(losses))
        for name, more in (("clustered", {"cluster": ids[shuffled]}), ("plain", {})):
            low, high = ce.MeanLoss().update(losses[shuffled], **more).summary().interval
            covered[name] += low <= 1.1 <= high
    assert 0.93 <= covered["clustered"] / 600 <= 0.97
    assert covered["plain"] / 600 < 0.75


# ---- ids ----


@pytest.mark.parametrize(
    "forms",
    [
        [np.array([5, -1, 5]), [5, -1, 5], np.array([5, -1, 5], np.int8), pa.array([5, -1, 5])],
        [np.array(["a", "bc", "a"]), ["a", "bc", "a"], pa.array(["a", "bc", "a"]).dictionary_encode()],
        [[dt.datetime(2026, 1, 1)] * 3, np.array(["2026-01-01"] * 3, "datetime64[D]")],
        [([1, 1, 2], ["x", "y", "x"]), (np.array([1, 1, 2]), np.array(["x", "y", "x"]))],
    ],
)  # fmt: skip
def test_ids_in_any_form_are_the_same_clusters(forms):
    first, *others = (ce.MeanLoss().update([1.0, 2.0, 3.0], cluster=ids).to_bytes() for ids in forms)
    assert all(other == first for other in others)


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text()))
def test_an_id_falls_in_the_same_bucket_on_every_machine(key):
    try:
        data = ce.MeanLoss().update(1.0, cluster=[key]).to_bytes()
    except ce.InputError:
        assert isinstance(key, str)
        assert any(0xD800 <= ord(letter) < 0xE000 for letter in key)  # a lone surrogate
        return
    if isinstance(key, int):
        bucket = state_reader.bucket_of_number(key)
    else:
        bucket = state_reader.bucket_of_bytes(b"\1" + len(key.encode()).to_bytes(4, "big") + key.encode())
    assert state_reader.read(data).parts["buckets"].cells.keys() == {bucket}


# ---- bad input ----


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 2], "cluster has length 2 and preds 3 samples"),
        ([], "cluster has length 0 and preds 3 samples"),
        (7, "cluster has length 1 and preds 3 samples"),
        (["a", None, "c"], r"cluster\[1\] is None"),
        ([None, None, None], r"cluster\[0\] is None"),
        (([1, 1, 1], ["a", "b"]), r"cluster\[1\] has length 2"),
        ([1.5, 2.0, 3.0], r"cluster\[0\] is 1.5"),
        (["a", 1, "c"], r"cluster\[[01]\] is"),
    ],
)
def test_ids_that_make_no_clusters_are_an_error(ids, message):
    metric = ce.MeanLoss().update([1.0], cluster=["x"])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=message):
        metric.update([1.0, 2.0, 3.0], cluster=ids)
    assert metric.to_bytes() == before


def test_samples_with_and_without_clusters_do_not_mix():
    with_ids, without = ce.MeanLoss().update([1.0, 2.0], cluster=["a", "b"]), ce.MeanLoss().update([3.0])
    before = with_ids.to_bytes(), without.to_bytes()
    for mixed in (
        lambda: with_ids.update([1.0]), lambda: without.update([1.0], cluster=["a"]), lambda: with_ids(1.0),
        lambda: with_ids + without, lambda: without - with_ids, lambda: without.merge(with_ids),
    ):  # fmt: skip
        with pytest.raises(ce.InputError) as caught:
            mixed()
        assert caught.value.argument == "cluster"
    assert (with_ids.to_bytes(), without.to_bytes()) == before
    assert with_ids.update([]).to_bytes() == before[0]
    assert (with_ids - with_ids).update([3.0]).to_bytes() == before[1]


def test_an_invalid_row_adds_to_no_bucket():
    stream = make("binary", 5000, weighted=True, seed=4)
    metric = clustered(stream, np.arange(5000))
    before = metric.to_bytes()
    stream.preds[4321] = 1.5
    with pytest.raises(ce.InputError, match=r"preds\[4321\]"):
        metric.update(stream.preds, stream.target, cluster=np.arange(5000))
    assert metric.to_bytes() == before
