"""Ctrl-C within an update: the batch is added completely or not at all, and a handler may add and read.

A signal handler runs between steps of Python code: when a function begins, and after a call. A profile function runs
there too, so it stands for a handler at each of these places.
"""

import sys
import time

import numpy as np
import pytest

import streamce as ce

P, Y, BY = np.array([0.25, 0.5, 0.875]), np.array([0, 1, 1]), np.array(["b", "a", "b"])
TIMES = np.array([60.0, 120.0, 90.0])
LOSS, TAIL = ce.BinaryCrossEntropy(), ce.BinaryCrossEntropy(tail=True)

COLLECTION = ce.Collection(
    {
        "loss": LOSS,
        "tail": TAIL,
        "calibration": ce.BinaryCrossEntropy(calibration=True),
        "normalized": ce.NormalizedEntropy(),
        "groups": ce.Grouped(LOSS),
        "tails": ce.Grouped(TAIL),
        "normalized groups": ce.Grouped(ce.NormalizedEntropy()),
        "last": ce.Sliding(LOSS, samples=4),
        "last tails": ce.Sliding(TAIL, samples=4),
        "minutes": ce.Sliding(LOSS, period="10min", step="1min"),
        "tails of minutes": ce.Sliding(TAIL, period="10min", step="1min"),
        "recent": ce.Decayed(LOSS, half_life="1h"),
    }
)
KEYS = {"by": BY, "by_time": TIMES}
CASES = {
    "collection": (COLLECTION, KEYS),
    "clusters": (COLLECTION, KEYS | {"cluster": [1, 2, 1]}),
    "groups": (ce.Grouped(LOSS), {"by": BY}),
    "groups of tails": (ce.Grouped(TAIL), {"by": BY}),
    "groups of collections": (ce.Grouped(ce.Collection({"loss": LOSS, "tail": TAIL})), {"by": BY}),
    "samples": (ce.Sliding(LOSS, samples=4), {}),
    "states of samples": (ce.Sliding(TAIL, samples=4), {}),
    "minutes": (ce.Sliding(LOSS, period="10min", step="1min"), {"by_time": TIMES}),
    "tails of minutes": (ce.Sliding(TAIL, period="10min", step="1min"), {"by_time": TIMES}),
    "decayed": (ce.Decayed(LOSS, half_life="1h"), {"by_time": TIMES}),
    "normalized": (ce.NormalizedEntropy(), {}),
}


class At:
    """Calls a function at the place with a number, within a block. ``places`` counts them."""

    def __init__(self, number, function=None):
        self._number, self._function, self.places = number, function, 0

    def __enter__(self):
        def handle(frame, event, argument):
            code = frame.f_code
            # No handler runs between the last step and a call. The end of a generator hides errors.
            if "streamce/" not in code.co_filename or event == "c_call" or code.co_name == "<genexpr>":
                return
            self.places += 1
            if self.places == self._number:
                sys.setprofile(None)
                self._function()

        sys.setprofile(handle)
        return self

    def __exit__(self, kind, *_):
        sys.setprofile(None)
        return kind is KeyboardInterrupt


def places(metric, *inputs, **keys):
    """Return the numbers of places within an update: the last ones, where states change, and some of the others."""
    metric.copy().update(*inputs, **keys)  # fills caches
    found = metric.copy()
    with At(0) as place:
        found.update(*inputs, **keys)
    last = place.places + 1
    return sorted({*range(1, last, max(1, last // 100)), *range(max(1, last - 80), last)})


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", CASES)
def test_an_interrupted_update_adds_a_batch_or_none(name):
    metric, keys = CASES[name]
    before = metric.copy().update(P, Y, **keys)
    after = before.copy().update(P[::-1], Y, **keys)
    allowed = before.to_bytes(), after.to_bytes()
    seen = set()
    for number in places(before, P[::-1], Y, **keys):
        found = before.copy()
        with At(number, interrupt):
            found.update(P[::-1], Y, **keys)
        assert found.to_bytes() in allowed, number
        seen.add(found.to_bytes())
    assert seen == set(allowed)


@pytest.mark.parametrize("name", CASES)
def test_a_handler_adds_to_what_it_interrupts(name):
    """The handler's batch comes before or after the other one."""
    metric, keys = CASES[name]
    start = metric.copy().update(P, Y, **keys)
    one, other = ((P[::-1], Y), (P, 1 - Y))
    allowed = {start.copy().update(*a, **keys).update(*b, **keys).to_bytes() for a, b in ((one, other), (other, one))}
    reads = {start.to_bytes(), start.copy().update(*one, **keys).to_bytes()}
    for number in places(start, *one, **keys):
        found = start.copy()

        def handle(found=found):
            assert found.to_bytes() in reads
            found.update(*other, **keys)

        with At(number, handle):
            found.update(*one, **keys)
        assert found.to_bytes() in allowed, number


def test_a_handler_that_advances_the_clock_is_not_undone():
    start = ce.Sliding(ce.MeanLoss(), period="2min", step="1min").update([1.0], by_time=[0.0])
    for number in places(start, [2.0], by_time=[30.0]):
        found = start.copy()
        with At(number, lambda found=found: found.update([3.0], by_time=[600.0])):
            found.update([2.0], by_time=[30.0])
        assert found.compute() == 3.0
        assert found.copy() == found == ce.from_bytes(found.to_bytes())


@pytest.mark.parametrize("name", ["groups", "samples"])
def test_an_update_costs_the_same_whatever_the_state_holds(name):
    """Copying the state would take hundreds of times as long as the update."""

    def seconds(n):
        keyed = {"by": np.arange(n)} if name == "groups" else {}
        inner = ce.Grouped(TAIL) if name == "groups" else ce.Sliding(TAIL, samples=n)
        metrics = ce.Collection({"keyed": inner}).update(np.full(n, 0.5), np.ones(n, int), **keyed)
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            metrics.update(P, Y, **({"by": [0, 1, 2]} if name == "groups" else {}))
            times.append(time.perf_counter() - begin)
        return min(times)

    assert seconds(10_000) < 10 * seconds(20)
