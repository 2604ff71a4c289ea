"""Run threads that share arrays and metrics under ThreadSanitizer: the pool, the kernels, the states.

    tools/sanitized.sh tsan .venv/bin/python tests/support/shared_memory.py            reports nothing
    tools/sanitized.sh tsan .venv/bin/python tests/support/shared_memory.py --planted  reports a race of two kernels

ThreadSanitizer sees the accesses of streamce's own code to memory, and the locks of the interpreter. So it can judge
code that runs without the GIL: all code of the pool's threads.
"""

import sys
import threading

import numpy as np

import streamce as ce
from streamce._support import threads

LARGE = 1 << 20  # predictions: enough for four parts
AT_ONCE = 3
SMALL = 50  # chunks


def together(*functions):
    """Run functions at the same time."""
    started = [threading.Thread(target=function) for function in functions]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def inputs():
    """Yield for each kind of metric a constructor, and a chunk that several threads share."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=LARGE).astype(np.float32)
    y = rng.integers(0, 2, LARGE)
    rows, labels = x.reshape(-1, 8), rng.integers(0, 8, LARGE // 8)
    key, moment = rng.integers(0, 1000, LARGE // 8), rng.integers(0, 10**5, LARGE // 8)
    offsets = np.arange(0, LARGE // 8 + 1, 16)
    frames = x[: 64 * 256 * 32].reshape(64, 256, 32)
    lengths = {"input_lengths": np.full(256, 64), "target_lengths": np.full(256, 10)}
    logits = {"kind": "logits", "threads": 4}

    def multiclass(**more):
        return ce.MulticlassCrossEntropy(**logits, **more)

    return {
        "binary": (lambda: ce.BinaryCrossEntropy(**logits, calibration=True, tail=True), {"preds": x, "target": y}),
        "probabilities": (lambda: ce.BinaryCrossEntropy(threads=4), {"preds": np.abs(x) % 1, "target": y}),
        "multiclass": (lambda: multiclass(per_class=True), {"preds": rows, "target": labels}),
        "calibration": (lambda: multiclass(calibration=True), {"preds": rows, "target": labels}),
        "clusters": (multiclass, {"preds": rows, "target": labels, "cluster": key}),
        "multilabel": (lambda: ce.MultilabelCrossEntropy(**logits), {"preds": rows, "target": y.reshape(-1, 8)}),
        "mean": (lambda: ce.MeanLoss(threads=4), {"losses": x, "weight": y}),
        "sequences": (
            lambda: ce.SequenceCrossEntropy(**logits, per_position=True),
            {"preds": rows, "target": labels, "offsets": offsets},
        ),
        "ctc": (lambda: ce.CTCCrossEntropy(**logits), {"preds": frames, "target": np.full((256, 10), 3), **lengths}),
        "groups": (lambda: ce.Grouped(multiclass()), {"preds": rows, "target": labels, "by": key}),
        "sliding": (
            lambda: ce.Sliding(multiclass(), period="1h", step="1min"),
            {"preds": rows, "target": labels, "by_time": moment},
        ),
        "decayed": (
            lambda: ce.Decayed(multiclass(), half_life="1h"),
            {"preds": rows, "target": labels, "by_time": moment},
        ),
        "pairs": (lambda: ce.Paired(multiclass()), {"preds_a": rows, "preds_b": rows, "target": labels}),
    }


def check(make, given, cut):
    """Update one metric from several threads while another reads it, and check that nothing is lost."""
    metric, done = make(), threading.Event()
    small = [{name: a[i : i + 9] for name, a in given.items()} for i in range(SMALL)] if cut else []

    def read():
        while not done.is_set():
            metric.copy().compute()
            metric.merge(make())
            ce.from_bytes(metric.to_bytes())

    def update():
        for chunk in [given, *small]:
            metric.update(**chunk)

    reader = threading.Thread(target=read)
    reader.start()
    together(*[update] * AT_ONCE)
    done.set()
    reader.join()
    expected = make()
    for chunk in [given, *small] * AT_ONCE:
        expected.update(**chunk)
    assert metric.to_bytes() == expected.to_bytes()


def gradients():
    """Write a gradient from several threads, each to its own part."""
    x = np.random.default_rng(1).normal(size=(LARGE // 8, 8)).astype(np.float32)
    out = np.empty_like(x)
    ce.cross_entropy(x, np.zeros(len(x), int), kind="logits", threads=4, grad=True, out=out)


def planted():
    """Write the gradients of two updates to one array, as a pool with overlapping parts would do."""
    x = np.random.default_rng(1).normal(size=(LARGE // 32, 8))
    out, start = np.empty_like(x), threading.Barrier(2)

    def write():
        start.wait()
        ce.cross_entropy(x, np.zeros(len(x), int), kind="logits", threads=1, grad=True, out=out)

    threads.run([write, write])


def main():
    if sys.argv[1:] == ["--planted"]:
        planted()
        return
    for name, (make, given) in inputs().items():
        print(name, flush=True)
        check(make, given, cut=name not in ("sequences", "ctc"))
    gradients()


if __name__ == "__main__":
    main()
