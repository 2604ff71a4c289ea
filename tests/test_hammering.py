"""Eight threads use one metric of every class: no update is lost, and readers see only complete updates."""

import inspect
import threading

import pytest
from together import switching_often, together

import streamce as ce

pytestmark = pytest.mark.core

P, Y = [0.25, 0.5, 0.875], [0, 1, 1]
ROWS, LABELS = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]], [0, 1, 1]
TARGETS = [[1, 0, 1], [0, 1, 1], [1, 1, 0]]
ROUNDS = 30
WRITERS = 4  # three that update, and one that merges

# An empty metric, and the arguments of an update.
CASES = {
    "BinaryCrossEntropy": (lambda: ce.BinaryCrossEntropy(calibration=True, tail=True), (P, Y), {}),
    "MulticlassCrossEntropy": (lambda: ce.MulticlassCrossEntropy(per_class=True), (ROWS, LABELS), {}),
    "MultilabelCrossEntropy": (ce.MultilabelCrossEntropy, (ROWS, TARGETS), {}),
    "MeanLoss": (ce.MeanLoss, ([0.5, 1e300, 5e-324],), {"weight": [1.0, 0.3, 2.0], "cluster": ["a", "b", "a"]}),
    "CTCCrossEntropy": (
        ce.CTCCrossEntropy, ([ROWS, ROWS], [1, 2, 1]), {"input_lengths": [2, 2, 1], "target_lengths": [1, 1, 1]},
    ),
    "GANCrossEntropy": (
        lambda: ce.GANCrossEntropy(kind="logits"), (), {"real": [2.0, 1.0], "fake": [-1.0, 0.5, 0.0]},
    ),
    "SequenceCrossEntropy": (
        lambda: ce.SequenceCrossEntropy(per_position=True), (ROWS, LABELS), {"offsets": [0, 2, 3]},
    ),
    "Perplexity": (ce.Perplexity, (ROWS, LABELS), {"offsets": [0, 2, 3]}),
    "NormalizedEntropy": (ce.NormalizedEntropy, (P, Y), {}),
    "MulticlassNormalizedEntropy": (ce.MulticlassNormalizedEntropy, (ROWS, LABELS), {}),
    "Grouped": (lambda: ce.Grouped(ce.BinaryCrossEntropy()), (P, Y), {"by": ["b", "a", "b"]}),
    "Sliding": (
        lambda: ce.Sliding(ce.BinaryCrossEntropy(), period="1h", step="20min"), (P, Y),
        {"by_time": [0.0, 60.0, 3000.0]},
    ),
    "Decayed": (
        lambda: ce.Decayed(ce.BinaryCrossEntropy(), half_life="1d"), (P, Y), {"by_time": [0.0, 60.0, 3000.0]},
    ),
    "Paired": (lambda: ce.Paired(ce.BinaryCrossEntropy()), (P, [0.5, 0.5, 0.75], Y), {}),
    "Collection": (
        lambda: ce.Collection({"loss": ce.BinaryCrossEntropy(), "by": ce.Grouped(ce.BinaryCrossEntropy())}), (P, Y),
        {"by": ["b", "a", "b"]},
    ),
}  # fmt: skip


def test_every_class_is_hammered():
    metrics = {
        name for name in ce.__all__ if inspect.isclass(getattr(ce, name)) and hasattr(getattr(ce, name), "update")
    }
    assert set(CASES) == metrics


def hammer(name, eighth):
    """Run three threads that update, one that merges, three that read, and an eighth, and return the metric.

    ``eighth(metric, done)`` runs until ``done()``. Check that readers saw only complete updates.
    """
    make, preds, more = CASES[name]
    whole, states = make(), []
    one = make().update(*preds, **more)
    for _ in range(WRITERS * ROUNDS + 1):
        states.append(whole.to_bytes())
        whole.update(*preds, **more)
    metric, seen, writing = make(), set(), threading.Semaphore(0)

    def update():
        for _ in range(ROUNDS):
            metric.update(*preds, **more)
        writing.release()

    def merge():
        for _ in range(ROUNDS):
            metric.merge(one)
        writing.release()

    def done():
        return writing._value == WRITERS

    def reader(read):
        def reading():
            while not done():
                read()

        return reading

    readers = [
        reader(lambda: seen.add(metric.to_bytes())),
        reader(lambda: seen.add(metric.copy().to_bytes())),
        reader(lambda: (metric.compute(), metric.summary())),
    ]
    with switching_often():
        together(*[update] * 3, merge, *readers, lambda: eighth(metric, done))
    assert seen <= set(states)
    return metric, states


@pytest.mark.parametrize("name", CASES)
def test_updates_and_merges_beside_readers_lose_nothing(name):
    def restore(metric, done):
        while not done():
            ce.from_bytes(metric.to_bytes())

    metric, states = hammer(name, restore)
    assert metric.to_bytes() == states[WRITERS * ROUNDS]


@pytest.mark.parametrize("name", CASES)
def test_a_metric_that_is_emptied_into_another_loses_nothing(name):
    make = CASES[name][0]
    kept = make()

    def move(metric, done):
        while not done():
            taken = metric.copy()
            metric._merge(taken, -1)
            kept.merge(taken)

    metric, states = hammer(name, move)
    assert (metric + kept).to_bytes() == states[WRITERS * ROUNDS]


@pytest.mark.parametrize("name", CASES)
def test_a_reset_beside_updates_drops_whole_updates(name):
    def reset(metric, done):
        while not done():
            metric.reset()

    metric, states = hammer(name, reset)
    assert metric.to_bytes() in states
    metric.reset()
    assert metric.to_bytes() == states[0]
