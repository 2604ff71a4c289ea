"""Collections: each metric is what it would be alone, and losses that several need are computed once."""

import math
import signal
import threading

import numpy as np
import pytest
from corpus import Corpus
from hypothesis import given
from hypothesis import strategies as st
from streams import make, streams
from utterances import Batch

import streamce as ce


def alone(metric, stream, **keys):
    args = (stream.preds,) if stream.task == "mean" else (stream.preds, stream.target)
    return metric.update(*args, weight=stream.weight, **keys)


def plain(stream):
    """Return the metric of a stream, without sums by class or label."""
    options = {name: value for name, value in stream.options.items() if name not in ("per_class", "per_label")}
    return type(stream.metric())(**options, **({"per_label": False} if stream.task == "multilabel" else {}))


def members(stream):
    """Return all kinds of metrics of one loss."""
    metric = plain(stream)
    found = {
        "as it is": stream.metric(),
        "plain": metric,
        "by": ce.Grouped(metric),
        "by hour": ce.Grouped(metric, period="1h"),
        "last": ce.Sliding(metric, samples=7),
        "day": ce.Sliding(metric, period="1d", step="1h"),
        "decayed": ce.Decayed(metric, half_life="1d"),
    }
    labels = stream.task == "binary" or (stream.task == "multiclass" and stream.target.ndim < stream.preds.ndim)
    if labels and not any(metric.options.get(name) for name in ("label_smoothing", "class_weight", "pos_weight")):
        found["calibration"] = type(metric)(**{**metric.options, "calibration": True})
    if stream.task != "mean":
        found["tail"] = type(metric)(**{**metric.options, "tail": True})
    if stream.task == "binary":
        found["ne"] = ce.NormalizedEntropy(kind=metric.options["kind"], invalid="skip")
    return found


@given(stream=streams(), data=st.data())
def test_each_metric_is_what_it_is_alone(stream, data):
    metrics = members(stream)
    if stream.options.get("ignore_index") is not None or (stream.preds.ndim > 1 and stream.task == "binary"):
        metrics.pop("ne", None)  # it has no ignored labels
    collection = ce.Collection(metrics)
    expected = {name: metric.copy() for name, metric in metrics.items()}
    at = data.draw(st.integers(0, len(stream)))
    clusters = data.draw(st.booleans())
    for part in (stream[:at], stream[at:]):
        user, time = np.arange(len(part)) % 3, np.arange(len(part)) * 1000.0
        keys = {"by": {"by": user}, "by_time": time} | ({"cluster": user} if clusters else {})
        alone(collection, part, **keys)
        own = {
            "by": {"by": user}, "by hour": {"by_time": time}, "last": {}, "day": {"by_time": time},
            "decayed": {"by_time": time},
        }  # fmt: skip
        for name, metric in expected.items():
            alone(metric, part, **own.get(name, {}), **({"cluster": user} if clusters else {}))
    for name, metric in expected.items():
        assert collection[name].to_bytes() == metric.to_bytes()
    assert ce.from_bytes(collection.to_bytes()) == collection


def test_values_are_by_name():
    stream = make("multiclass", 50)
    metrics = ce.Collection({"loss": stream.metric(), "classes": stream.metric(per_class=True)})
    alone(metrics, stream)
    assert metrics.compute() == {"loss": stream.fed().compute(), "classes": stream.fed().compute()}
    assert metrics.summary(level=0.9)["loss"] == stream.fed().summary(level=0.9)
    assert list(metrics) == ["loss", "classes"]
    assert len(metrics) == 2
    assert metrics["classes"].per_class()[0] == stream.fed(per_class=True).per_class()[0]
    metrics["loss"].update(stream.preds, stream.target)  # a copy
    assert metrics["loss"].summary().count == 50


def test_losses_are_computed_once_for_each_set_of_options_and_predictions_are_read_once():
    class Seen:
        def __init__(self, array):
            self.array, self.times = array, 0

        def __array__(self, dtype=None, copy=None):
            self.times += 1
            return self.array

    metric = ce.BinaryCrossEntropy()
    metrics = {"a": metric, "b": ce.BinaryCrossEntropy(tail=True), "last": ce.Sliding(metric, samples=1)}
    more = {**metrics, "other": ce.BinaryCrossEntropy(eps=0)}
    for each, alike in ((metrics, [["a", "b", "last"]]), (more, [["a", "b", "last"], ["other"]])):
        seen = Seen(np.array([0.5, 0.25]))
        collection = ce.Collection(each)
        collection.update(seen, [1, 0])
        assert seen.times == 1
        assert collection._state.same_losses == alike


def test_sequences_and_utterances():
    corpus = Corpus(0, 40)
    metric = corpus.metric(ce.Perplexity)
    found = ce.Collection({"all": metric, "places": corpus.metric(per_position=True), "by": ce.Grouped(metric)})
    corpus.add_to(found, counted=True, by=corpus.document, cluster=corpus.document)
    assert found["all"] == corpus.add_to(metric.copy(), counted=True, cluster=corpus.document)
    places = corpus.add_to(corpus.metric(per_position=True), counted=True, cluster=corpus.document)
    assert found["places"] == places
    grouped = corpus.add_to(ce.Grouped(metric), counted=True, by=corpus.document, cluster=corpus.document)
    assert found["by"] == grouped
    batch = Batch(0, 40)
    speech = batch.add_to(ce.Collection({"all": batch.metric(), "last": ce.Sliding(batch.metric(), samples=5)}))
    assert speech["all"] == batch.fed()


def test_all_or_none_are_updated():
    metrics = ce.Collection(
        {"all": ce.BinaryCrossEntropy(), "user": ce.Grouped(ce.BinaryCrossEntropy()),
         "last": ce.Sliding(ce.BinaryCrossEntropy(), samples=3), "ne": ce.NormalizedEntropy()}
    )  # fmt: skip
    metrics.update([0.5, 0.25], [1, 0], by=["ann", "bob"], cluster=["x", "y"])
    before = metrics.to_bytes()
    good = {"by": ["ann", "bob"], "cluster": ["x", "y"]}
    for preds, target, keys, argument in (
        ([0.5, 1.5], [1, 0], {}, "preds"),
        ([0.5, 0.5], [1, 2], {}, "target"),
        ([0.5, 0.5], [1, 0], {"by": ["ann"]}, "by"),
        ([0.5, 0.5], [1, 0], {"by": [1, 2]}, "by"),
        ([0.5, 0.5], [1, 0], {"by": None}, "by"),
        ([0.5, 0.5], [1, 0], {"by": {"who": ["ann", "bob"]}}, "by"),
        ([0.5, 0.5], [1, 0], {"by_time": [0.0, 1.0]}, "by_time"),
        ([0.5, 0.5], [1, 0], {"cluster": None}, "cluster"),
        ([0.5, 0.5], [1, 0], {"cluster": ["x"]}, "cluster"),
        ([0.5, 0.5], [1, 0], {"weight": [1.0, -1.0]}, "weight"),
    ):
        with pytest.raises(ce.InputError) as error:
            metrics.update(preds, target, **{**good, **keys})
        assert error.value.argument == argument
        assert metrics.to_bytes() == before


def test_what_is_merged_while_an_update_is_under_way_is_kept():
    loss = ce.BinaryCrossEntropy()
    empty = ce.Collection(
        {"all": loss, "by": ce.Grouped(loss), "hour": ce.Sliding(loss, period="1h", step="1min"),
         "decayed": ce.Decayed(loss, half_life="1h")}
    )  # fmt: skip
    keys = {"by": [1, 2], "by_time": [0.0, 1.0]}
    other = empty.copy().update([0.5, 0.25], [1, 0], **keys)
    metrics = empty.copy()

    class Merging:
        def __array__(self, dtype=None, copy=None):
            metrics.merge(other)
            return np.array([0.5, 0.25])

    metrics.update(Merging(), [1, 0], **keys)
    assert metrics == other + other


def test_wrappers_in_a_collection_take_clusters_words_and_bytes():
    loss = ce.BinaryCrossEntropy()
    metrics = ce.Collection({"all": loss, "by": ce.Grouped(loss), "last": ce.Sliding(loss, samples=3)})
    metrics.update([0.5, 0.25, 0.75], [1, 0, 1], by=["a", "b", "a"], cluster=[1, 2, 1])
    alone = ce.Grouped(loss).update([0.5, 0.25, 0.75], [1, 0, 1], by=["a", "b", "a"], cluster=[1, 2, 1])
    assert metrics["by"] == alone
    assert (
        metrics["last"].window()
        == metrics["all"]
        == loss.copy().update([0.5, 0.25, 0.75], [1, 0, 1], cluster=[1, 2, 1])
    )
    text = ce.Collection({"all": ce.Perplexity(), "by": ce.Grouped(ce.Perplexity())})
    text.update([[[0.5, 0.5]]], [[0]], n_bytes=[4], by=["a"])
    assert text["by"]["a"] == text["all"]


@pytest.mark.parametrize(
    "metric",
    [ce.Grouped(ce.Paired(ce.MeanLoss())), ce.Grouped(ce.GANCrossEntropy()), ce.Paired(ce.MeanLoss())],
)
def test_pairs_and_gans_are_no_metrics_of_a_collection(metric):
    with pytest.raises(ce.InputError, match=r"^metrics\['a'\] is "):
        ce.Collection({"a": metric})


def test_arguments_that_no_metric_takes_are_errors():
    loss = ce.BinaryCrossEntropy()
    for metric in (ce.Sliding(ce.MeanLoss(), samples=3), ce.Collection({"a": ce.MeanLoss()})):
        with pytest.raises(ce.InputError, match="target is given: expected none"):
            metric.update([1.0, 2.0], [0.5, 0.5])
    metrics = ce.Collection({"all": loss, "by": ce.Grouped(loss), "last": ce.Sliding(loss, samples=3)})
    for name in ("all", "last"):
        with pytest.raises(ce.InputError, match=rf"by is given for \['{name}'\]"):
            metrics.update([0.5, 0.25], [1, 0], by={"by": [1, 2], name: [1, 2]})


def test_a_signal_handler_may_read():
    """The handler interrupts the thread that updates the metric."""
    loss = ce.BinaryCrossEntropy()
    window = ce.Sliding(loss, period="1h", step="1min")
    paired, metrics = ce.Paired(loss), ce.Collection({"all": loss, "last": ce.Sliding(loss, samples=3)})
    reads = []

    def read(*_):
        reads.append((window.to_bytes(), paired.to_bytes(), metrics.to_bytes()))
        signal.setitimer(signal.ITIMER_REAL, 0.001)  # once more: on a busy machine reading takes longer than that

    before = signal.signal(signal.SIGALRM, read)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        while len(reads) < 100:
            window.update([0.5, 0.25], [1, 0], by_time=[0.0, 1.0])
            paired.update([0.5, 0.25], [0.5, 0.5], [1, 0])
            metrics.update([0.5, 0.25], [1, 0])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(ce.from_bytes(data) is not None for data in reads[-1])


def test_what_is_no_collection():
    loss = ce.MeanLoss()
    for metrics, words in (
        ({}, "metrics is {}"),
        ([loss], "metrics is"),
        ({1: loss}, "names that are strings"),
        ({"a": 1}, r"metrics\['a'\] is 1"),
        ({"a": ce.GANCrossEntropy()}, r"metrics\['a'\]"),
        ({"a": ce.Paired(loss)}, r"metrics\['a'\]"),
        ({"a": ce.MeanLoss().update([1.0])}, "has samples already"),
    ):
        with pytest.raises(ce.InputError, match=words):
            ce.Collection(metrics)
    with pytest.raises(ce.InputError, match=r"\['a'\] and those of the other \['b'\]"):
        ce.Collection({"a": loss}) + ce.Collection({"b": loss})
    with pytest.raises(ce.InputError, match="eps"):
        ce.Collection({"a": ce.BinaryCrossEntropy()}) + ce.Collection({"a": ce.BinaryCrossEntropy(eps=0)})
    window = ce.Collection({"a": ce.Sliding(loss, samples=3)})
    with pytest.raises(ce.InputError, match="samples"):
        window + window


def test_an_empty_collection_of_samples_is_nan():
    metrics = ce.Collection({"a": ce.MeanLoss(), "é \"'.": ce.MeanLoss()})
    assert math.isnan(metrics.compute()["a"])
    assert ce.from_bytes(metrics.to_bytes()) == metrics
    assert repr(metrics).startswith("Collection(metrics={'a': MeanLoss()")


def test_threads_update_together():
    metrics = ce.Collection(
        {"all": ce.MeanLoss(), "by": ce.Grouped(ce.MeanLoss()), "last": ce.Sliding(ce.MeanLoss(), samples=9)}
    )

    def work():
        for _ in range(50):
            metrics.update([1.0, 2.0, 4.0], by=[1, 2, 3])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics["all"].summary().count == 600
    assert metrics["by"].micro().total == 1400.0
    assert metrics["last"].window().summary().count == 9
