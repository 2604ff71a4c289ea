"""Threads never change a result, lose an update or hang, and an error names the first invalid entry."""

import collections
import functools
import gc
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import numpy as np
import pytest
from streams import make
from together import together

import streamce as ce
from streamce._support import threads
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs

pytestmark = pytest.mark.core

LARGE = 1 << 20  # predictions: enough for four parts


def run(code, **environment):
    """Run a script in its own Python, and return exit status, output and errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.strip(), done.stderr


# ---- the same results ----


@pytest.mark.parametrize("threads", range(2, 9))
def test_results_are_those_of_one_thread(threads):
    stream = make("multiclass", LARGE // 8, kind="logits", dtype="float32", classes=8, odd=True, per_class=True, seed=1)
    assert stream.bytes(threads=threads) == stream.bytes(threads=1)


def test_more_threads_than_samples():
    wide = make("multiclass", 3, kind="logits", dtype="float32", classes=LARGE // 2, seed=2)
    assert wide.bytes(threads=8) == wide.bytes(threads=1)
    one = wide[:1]
    assert one.bytes(threads=8) == one.bytes(threads=1)


# ---- the first invalid entry ----


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(
    "bad", [[0], [LARGE - 1], [LARGE // 2 - 1, LARGE // 2], [700_001, 3, 999_999], [262_144, 262_143]]
)
def test_the_smallest_bad_index_is_reported(threads, bad):
    preds, target = np.full(LARGE, 0.5, np.float32), np.ones(LARGE, np.int8)
    for i, index in enumerate(bad):
        if i % 2:
            target[index] = 7
        else:
            preds[index] = np.nan
    metric = ce.BinaryCrossEntropy(threads=threads).update([0.5], [1])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError) as caught:
        metric.update(preds, target)
    assert caught.value.index == (min(bad),)
    assert caught.value.argument == ("preds" if np.isnan(preds[min(bad)]) else "target")
    assert metric.to_bytes() == before


def test_a_bad_last_row_of_a_large_chunk_loses_nothing():
    stream = make("multiclass", 300_000, kind="logits", dtype="float32", classes=4, seed=3)
    metric = stream.fed(threads=4)
    before = metric.to_bytes()
    stream.target[-1] = 4
    with pytest.raises(ce.InputError, match=r"target\[299999\] is 4"):
        stream.add_to(metric)
    assert metric.to_bytes() == before


# ---- several Python threads at one metric ----


def test_two_threads_that_update_one_metric_lose_nothing():
    stream = make("multiclass", 2000, kind="logits", classes=3, per_class=True, weighted=True, seed=4)
    metric = stream.metric()

    def feed(part):
        for i in range(0, len(part), 5):
            part[i : i + 5].add_to(metric)

    together(lambda: feed(stream[::2]), lambda: feed(stream[1::2]))
    assert metric.to_bytes() == stream.bytes()


def test_two_threads_that_add_large_chunks_lose_nothing():
    stream = make("binary", LARGE, kind="logits", dtype="float32", seed=5)
    metric = stream.metric(threads=3)
    together(*[lambda: stream.add_to(metric)] * 3)
    assert metric.summary().count == 3 * LARGE
    assert metric.to_bytes() == sum([stream.fed()] * 3).to_bytes()


def test_merging_while_another_thread_updates_loses_nothing():
    metric, other = ce.MeanLoss(), ce.MeanLoss().update([0.5])

    def merge():
        for _ in range(3000):
            metric.merge(other)

    def update():
        for _ in range(3000):
            metric.update([0.25])

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        together(merge, update)
    finally:
        sys.setswitchinterval(before)
    assert (metric.summary().count, metric.summary().total) == (6000, 2250.0)


def test_a_reader_sees_whole_chunks():
    metric, chunk = ce.BinaryCrossEntropy(threads=4), make("binary", LARGE, kind="probs", dtype="float32", seed=6)
    seen = set()
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.add(metric.summary().count)

    def write():
        try:
            for _ in range(10):
                chunk.add_to(metric)
        finally:
            done.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        together(read, write)
    finally:
        sys.setswitchinterval(before)
    assert all(count % LARGE == 0 for count in seen)


@pytest.mark.parametrize("key", [int, str])
def test_groups_are_read_while_others_come_and_go(key):
    batches = [
        ce.Grouped(ce.MeanLoss()).update(np.ones(3000), by=[key(i) for i in range(at, at + 3000)])
        for at in (0, 3000, 6000)
    ]
    metric = ce.Grouped(ce.MeanLoss())
    seen, done = set(), threading.Event()

    def add_and_take_away(batch):
        try:
            for _ in range(100):
                metric.merge(batch)
                metric._merge(batch, -1)
        finally:
            done.set()

    def read():
        while not done.is_set():
            seen.update([len(metric.compute()), len(ce.from_bytes(metric.to_bytes())), len(metric.copy())])
            seen.update([len(metric.to_table()["key"]), metric.macro().groups, metric.micro().samples])

    def collected(phase, info):
        """A callback of the garbage collector, as profilers install it: Python code that runs at any point."""

    before, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    # A free-threaded interpreter stops all threads to collect.
    gc.set_threshold(1 if getattr(sys, "_is_gil_enabled", lambda: True)() else 700)
    gc.callbacks.append(collected)
    try:
        together(read, read, *[functools.partial(add_and_take_away, batch) for batch in batches])
    finally:
        sys.setswitchinterval(before)
        gc.set_threshold(*threshold)
        gc.callbacks.remove(collected)
    assert seen <= {0, 3000, 6000, 9000}
    assert metric == ce.Grouped(ce.MeanLoss())


def test_metrics_that_add_each_other_do_not_lock_up():
    a, b = ce.MeanLoss().update([1.0]), ce.MeanLoss().update([2.0])

    def add(one, other):
        for _ in range(30):
            one + other
            one == other  # noqa: B015

    together(lambda: add(a, b), lambda: add(b, a))
    a += a
    assert a.summary().count == 2


# ---- tasks in order ----


class Counted:
    """Tasks that count how many were taken, began and ended, and how many ran at the same time."""

    def __init__(self, count, wrong=None):
        self.taken, self.begun, self.ended, self.together = 0, 0, 0, 0
        self._count, self._wrong, self._lock = count, wrong, threading.Lock()

    def __iter__(self):
        for i in range(self._count):
            self.taken += 1
            yield functools.partial(self._task, i)

    def _task(self, i):
        with self._lock:
            self.begun += 1
            self.together = max(self.together, self.begun - self.ended)
        time.sleep(0.001 * (7 * i % 5))
        with self._lock:
            self.ended += 1
        if i == self._wrong:
            raise LookupError(i)
        return i


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_results_come_in_the_order_of_their_tasks(count):
    tasks = Counted(50)
    assert list(threads.in_order(tasks, count)) == list(range(50))
    assert tasks.together <= count


@pytest.mark.parametrize("count", [2, 3])
def test_tasks_run_at_the_same_time(count):
    meeting = threading.Barrier(count, timeout=30)
    assert len(list(threads.in_order([meeting.wait] * count, count))) == count


@pytest.mark.parametrize(("count", "ahead"), [(1, 1), (2, 4), (3, 6)])
def test_few_tasks_are_taken_ahead(count, ahead):
    tasks = Counted(50)
    for result in threads.in_order(tasks, count):
        assert tasks.taken <= result + ahead


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_error_is_raised_after_the_results_before_it(count):
    def broken():
        yield from Counted(5)
        raise LookupError(5)

    for tasks in Counted(9, wrong=5), broken():
        results = []
        with pytest.raises(LookupError, match="5"):
            collections.deque(map(results.append, threads.in_order(tasks, count)), 0)
        assert results == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("used", [1, 4])
def test_no_task_runs_after_the_end(count, used):
    tasks = Counted(50)
    results = threads.in_order(tasks, count)
    for _ in range(used):
        next(results)
    results.close()
    begun = tasks.begun
    assert tasks.ended == begun
    time.sleep(0.01)
    assert tasks.begun == begun < 50


def test_results_are_not_kept():
    class Result:
        pass

    kept = []
    for result in threads.in_order([Result] * 20, 2):
        assert sum(each() is not None for each in kept) <= 1  # that of the loop before
        kept.append(weakref.ref(result))


def test_tasks_run_without_more_threads(monkeypatch):
    def refuse(*args):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_pool", threads._Pool())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert list(threads.in_order(Counted(20), 4)) == list(range(20))


# ---- errors, fork, exit ----


def test_an_error_in_one_part_waits_for_the_others():
    done = []

    def slow():
        threading.Event().wait(0.05)
        done.append(1)

    def wrong():
        raise MemoryError

    for tasks in ([wrong, slow, slow], [slow, slow, wrong]):
        done.clear()
        with pytest.raises(MemoryError):
            threads.run(tasks)
        assert done == [1, 1]


def test_an_interrupted_update_leaves_the_losses_to_the_threads_that_still_write_them(monkeypatch):
    # Ctrl-C while the calling thread waits for the others.
    parts = []

    def interrupted(tasks):
        parts.extend(tasks)
        raise KeyboardInterrupt

    monkeypatch.setattr("streamce.core.pipeline.runner.run", interrupted)
    stream, out = make("binary", LARGE, dtype="float32", threads=2, seed=8), np.empty(LARGE)
    with pytest.raises(KeyboardInterrupt):
        stream.metric()._pipeline.update_batch(State(), Batch(stream.preds, stream.target), Outputs(losses=out))
    losses = weakref.ref(out)
    del out
    assert losses() is not None
    parts.clear()
    gc.collect()  # without the interpreter lock, objects of another thread are freed later
    assert losses() is None


FORK = """
    import os, signal, threading, warnings, numpy as np, streamce as ce
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork of many threads
    x, y = np.linspace(-9, 9, 1 << 20, dtype=np.float32), np.ones(1 << 20, np.int64)
    def fed():
        return ce.BinaryCrossEntropy(kind="logits", threads=2).update(x, y).to_bytes()
    def child():
        # What a child finds is its status: the same bytes, from a pool of its own.
        found = os.fork()
        if found == 0:
            signal.alarm(50)  # a child that hangs ends by itself, and its status says so
            same = fed() == expected
            os._exit(1 * (not same) + 2 * (threading.active_count() != 2))
        return os.waitstatus_to_exitcode(os.waitpid(found, 0)[1])
    expected = ce.BinaryCrossEntropy(kind="logits", threads=1).update(x, y).to_bytes()
"""


def test_a_fork_with_a_live_pool_works():
    status, out, errors = run(
        FORK
        + """
    assert fed() == expected and threading.active_count() == 2
    print(child(), fed() == expected, child(), fed() == expected)
        """
    )
    assert (status, out) == (0, "0 True 0 True"), errors


def test_a_fork_while_other_threads_update_works():
    # A fork may come while a thread starts, holds the pool's lock, runs a task, or waits for one.
    status, out, errors = run(
        FORK
        + """
    done, wrong = threading.Event(), []
    # Each thread has a metric of its own, because in a free-threaded Python 3.13 the lock of an object that threads
    # share, such as the dictionaries that constructors read, may stay locked in the child, also without streamce.
    def update(metric):
        while not done.is_set():
            if metric.reset().update(x, y).to_bytes() != expected:
                wrong.append(1)
    metrics = [ce.BinaryCrossEntropy(kind="logits", threads=2) for _ in range(2)]
    busy = [threading.Thread(target=update, args=(metric,)) for metric in metrics]
    for thread in busy:
        thread.start()
    statuses = [child() for _ in range(20)]
    done.set()
    for thread in busy:
        thread.join()
    print(set(statuses), wrong, fed() == expected)
        """
    )
    assert (status, out) == (0, "{0} [] True"), errors


@pytest.mark.parametrize("before", ["", "metric.update(x)"])
def test_a_large_chunk_is_added_while_python_ends(before):
    # In some versions of Python, no thread starts during atexit.
    status, out, errors = run(
        f"""
        import atexit, numpy as np, streamce as ce
        metric, x = ce.MeanLoss(threads=4), np.ones(1 << 20)
        {before or "pass"}
        atexit.register(lambda: print(metric.update(x).summary().count))
        """
    )
    assert (status, out, errors) == (0, str((2 if before else 1) << 20), "")


def test_a_system_without_more_threads_is_enough(monkeypatch):
    def refuse(*args):
        raise RuntimeError("can't start new thread")

    stream = make("binary", LARGE, dtype="float32", seed=7)
    expected = stream.bytes(threads=1)
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert stream.bytes(threads=4) == expected


def test_a_program_ends_while_the_pool_is_idle():
    status, out, errors = run(
        """
        import numpy as np, streamce as ce
        metric = ce.MeanLoss(threads=8).update(np.ones(1 << 20))
        print(metric.compute())
        """
    )
    assert (status, out, errors) == (0, "1.0", "")


# A chunk needs half a million predictions for a second thread, however many losses it has.
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "mean"])
def test_small_chunks_never_touch_the_pool(task):
    status, out, errors = run(
        f"""
        import threading, numpy as np, streamce as ce
        from streamce._support import threads
        rows = {{"binary": (), "multiclass": (8,), "multilabel": (8,), "mean": ()}}["{task}"]
        def update(predictions):
            shape = (predictions // 8, 8) if rows else (predictions,)
            preds = np.full(shape, 0.125)
            target = [] if "{task}" == "mean" else [np.zeros(shape[: 2 - ("{task}" == "multiclass")], np.int64)]
            metrics = {{"binary": ce.BinaryCrossEntropy, "multiclass": ce.MulticlassCrossEntropy,
                       "multilabel": ce.MultilabelCrossEntropy, "mean": ce.MeanLoss}}
            metrics["{task}"](threads=8).update(preds, *target)
        for predictions in (8, 1000, 100_000, (1 << 19) - 8):
            update(predictions)
            assert threads._pool.threads == 0, predictions
        print(threading.active_count())
        update(1 << 19)
        print(threading.active_count())
        """
    )
    assert (status, out) == (0, "1\n2"), errors


def test_a_few_rows_of_very_many_classes_are_worth_a_second_thread():
    status, out, errors = run(
        """
        import threading, numpy as np, streamce as ce
        logits, labels = np.zeros((16, 1 << 15), np.float32), np.zeros(16, np.int64)
        one = ce.MulticlassCrossEntropy(kind="logits", threads=1).update(logits, labels)
        print(threading.active_count())
        two = ce.MulticlassCrossEntropy(kind="logits", threads=2).update(logits, labels)
        print(threading.active_count(), one == two)
        """
    )
    assert (status, out) == (0, "1\n2 True"), errors


# ---- the number of threads ----


def test_the_number_of_threads_is_checked():
    for wrong in (0, -1, 1.5, "2", True, math.nan):
        with pytest.raises(ce.InputError) as caught:
            ce.set_num_threads(wrong)
        assert caught.value.value is wrong
        with pytest.raises(ce.InputError, match=r"^threads"):
            ce.MeanLoss(threads=wrong)


def test_a_number_of_threads_beyond_65536_is_refused():
    for wrong in (65537, 10**5000, -(10**5000)):  # Python does not print the last two
        for use in (ce.set_num_threads, lambda n: ce.MeanLoss(threads=n)):
            with pytest.raises(ce.InputError) as caught:
                use(wrong)
            assert caught.value.expected == "a whole number of threads from 1 to 65536"
            assert str(caught.value)
    metric = ce.MeanLoss(threads=65536)
    assert "threads=65536" in repr(metric)
    assert metric.update([1.0, 2.0]).compute() == 1.5


SHOWN = """
    import threading, numpy as np, streamce as ce
    {}
    ce.MeanLoss({}).update(np.ones(1 << 22))
    print(sum(thread.name.startswith("streamce") for thread in threading.enumerate()))
"""


def test_the_environment_says_how_many():
    assert run(SHOWN.format("", ""), STREAMCE_NUM_THREADS="1")[1] == "0"
    assert int(run(SHOWN.format("", ""), STREAMCE_NUM_THREADS="4")[1]) in (1, 2, 3)  # as many as were needed


def test_set_num_threads_goes_before_the_environment():
    assert run(SHOWN.format("ce.set_num_threads(1)", ""), STREAMCE_NUM_THREADS="4")[1] == "0"
    assert run(SHOWN.format("ce.set_num_threads(1); ce.set_num_threads(None)", ""), STREAMCE_NUM_THREADS="4")[1] != "0"


def test_the_metrics_own_number_goes_before_all():
    assert run(SHOWN.format("ce.set_num_threads(4)", "threads=1"), STREAMCE_NUM_THREADS="4")[1] == "0"
    assert run(SHOWN.format("ce.set_num_threads(1)", "threads=4"))[1] != "0"


@pytest.mark.parametrize("wrong", ["0", "-1", "many", "1.5", "", "²", "65537", "9" * 5000], ids=range(8))
def test_an_environment_without_sense_is_an_error(wrong):
    status, _, errors = run(SHOWN.format("", ""), STREAMCE_NUM_THREADS=wrong)
    assert status == 1
    assert "InputError: STREAMCE_NUM_THREADS is" in errors
