"""Update each class while another thread writes hostile values to the caller's memory.

Losses may be wrong then, and an update may raise InputError. But it must not access other memory, and the state must
stay readable. Run this in its own process, or under a sanitizer.

    python tests/support/racing.py [seconds per case] [seed] [name of a case]
"""

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import streamce as ce

ROWS = 1 << 15  # chunks of this size release the interpreter's lock
LARGE = 1 << 20  # enough predictions for several threads
REAL_DTYPES = (np.float64, np.float32, np.float16)
TURNS = 50  # changes of one array between hostile and good values
# Values that are written over numbers and integers, some of them again and again for a short time.
REALS = np.array([0.5, np.nan, -np.nan, np.inf, -np.inf, -1e308, 1e308, -0.0, 5e-324, 2.0, -3.0, 0.25])
WHOLES = np.array([0, 1, -1, 2, 3, 2**62, -(2**63), 2**31, -100, 255], np.int64)

Case = tuple[Any, list[np.ndarray], Callable[[Any], Any]]  # a metric, the arrays that are written to, and an update


def binary(rng: Any, dtype: Any) -> Case:
    p, y, weight = rng.random(ROWS).astype(dtype), rng.integers(0, 2, ROWS), rng.random(ROWS)
    metric = ce.BinaryCrossEntropy(calibration=True, tail=True, invalid="skip", label_smoothing=0.0)
    return metric, [p, y, weight], lambda metric: metric.update(p, y, weight=weight)


def raising(rng: Any) -> Case:
    p, y = rng.random(LARGE, np.float32), rng.integers(0, 2, LARGE)

    def update(metric: Any) -> None:
        before = metric.to_bytes()
        try:
            metric.update(p, y)
        except ce.InputError:
            assert metric.to_bytes() == before
            raise

    return ce.BinaryCrossEntropy(threads=4), [p, y], update


def rows(rng: Any, dtype: Any) -> Case:
    x, y = rng.normal(size=(ROWS, 8)).astype(dtype), rng.integers(0, 8, ROWS)
    metric = ce.MulticlassCrossEntropy(kind="logits", calibration=True, tail=True, per_class=True, invalid="skip")
    return metric, [x, y], lambda metric: metric.update(x, y)


def labels(rng: Any, dtype: Any) -> Case:
    p, y, weight = rng.random((ROWS, 4)).astype(dtype), rng.integers(0, 2, (ROWS, 4), np.int8), rng.random(ROWS)
    metric = ce.MultilabelCrossEntropy(class_weight=[1.0, 2.0, 3.0, 4.0], invalid="skip", ignore_index=-1)
    return metric, [p, y, weight], lambda metric: metric.update(p, y, weight=weight)


def calibration(rng: Any) -> Case:
    p, y = rng.random(ROWS), rng.integers(0, 2, ROWS)
    metric = ce.BinaryCrossEntropy(calibration=True, invalid="skip")
    return metric, [p], lambda metric: metric.update(p, y)


def calibration_of_rows(rng: Any) -> Case:
    p, y = rng.dirichlet(np.ones(8), ROWS), rng.integers(0, 8, ROWS)
    metric = ce.MulticlassCrossEntropy(calibration=True, invalid="skip")
    return metric, [p], lambda metric: metric.update(p, y)


def soft(rng: Any) -> Case:
    x, y = rng.normal(size=(ROWS, 5)), rng.dirichlet(np.ones(5), ROWS)
    metric = ce.MulticlassCrossEntropy(
        kind="logits", class_weight=[1.0, 2.0, 3.0, 4.0, 5.0], label_smoothing=0.1, invalid="skip"
    )
    return metric, [x, y], lambda metric: metric.update(x, y)


def gradient(rng: Any) -> Case:
    x, y, weight = rng.normal(size=(ROWS, 8)).astype(np.float32), rng.integers(0, 8, ROWS), rng.random(ROWS)
    out = np.empty_like(x)
    return (
        None,
        [x, y, weight, out],
        lambda _: ce.cross_entropy(x, y, kind="logits", weight=weight, grad=True, out=out, class_weight=np.ones(8)),
    )


def sequences(rng: Any) -> Case:
    x, y = rng.normal(size=(ROWS // 8, 8, 4)), rng.integers(0, 4, (ROWS // 8, 8))
    lengths, mask, words = np.full(ROWS // 8, 8), np.ones((ROWS // 8, 8), np.int64), np.full(ROWS // 8, 3)
    metric = ce.SequenceCrossEntropy(kind="logits", per="sequence", per_position=True, invalid="skip")
    flat, tokens, offsets = x.reshape(-1, 4), y.reshape(-1), np.arange(0, ROWS + 1, 8)

    def update(metric: Any) -> None:
        metric.update(x, y, lengths=lengths, mask=mask, n_words=words)
        metric.update(flat, tokens, offsets=offsets)

    return metric, [x, y, lengths, mask, words, offsets], update


def utterances(rng: Any) -> Case:
    x, y = rng.normal(size=(64, 32, 8)), rng.integers(1, 8, (64, 6))
    frames, many, weight = np.full(64, 32), np.full(64, 6), rng.random(64)
    metric = ce.CTCCrossEntropy(kind="logits", layout="BTC", invalid="skip")
    lengths = {"input_lengths": frames, "target_lengths": many}
    return metric, [x, y, frames, many, weight], lambda metric: metric.update(x, y, weight=weight, **lengths)


def keys(rng: Any) -> Case:
    losses, by, cluster = rng.random(ROWS), rng.integers(0, 50, ROWS), rng.integers(0, 50, ROWS)
    metric = ce.Grouped(ce.MeanLoss(invalid="skip"))

    def update(metric: Any) -> None:
        metric.update(losses, by=by)
        ce.MeanLoss(invalid="skip").update(losses, cluster=cluster).summary()

    return metric, [losses, by, cluster], update


def text_keys(rng: Any) -> Case:
    losses, code = rng.random(ROWS), rng.integers(97, 123, ROWS).astype(np.uint32)
    metric = ce.Grouped(ce.MeanLoss(invalid="skip"))
    return metric, [losses, code], lambda metric: metric.update(losses, by=(code.view("U1"), code.view("S4")))


def moments(rng: Any, make: Callable[[], Any] = lambda: ce.Grouped(ce.MeanLoss(), period="1h")) -> Case:
    losses, times = rng.random(ROWS), rng.integers(0, 7200, ROWS)
    clock = times.astype("datetime64[s]")

    def update(metric: Any) -> None:
        metric.update(losses, by_time=times)
        metric.update(losses, by_time=clock)

    return make(), [losses, times, clock.view(np.int64)], update


def last(rng: Any) -> Case:
    p, y, weight = rng.random(ROWS), rng.integers(0, 2, ROWS), rng.random(ROWS)
    metric = ce.Sliding(ce.BinaryCrossEntropy(invalid="skip"), samples=1000)
    return metric, [p, y, weight], lambda metric: metric.update(p, y, weight=weight)


def paired(rng: Any) -> Case:
    a, b, y = rng.normal(size=(ROWS // 8, 8, 4)), rng.normal(size=(ROWS // 8, 8, 4)), rng.integers(0, 4, (ROWS // 8, 8))
    lengths, cluster = np.full(ROWS // 8, 8), rng.integers(0, 9, ROWS // 8)
    metric = ce.Paired(ce.SequenceCrossEntropy(kind="logits", invalid="skip"))
    return metric, [a, b, y, lengths, cluster], lambda metric: metric.update(a, b, y, lengths=lengths, cluster=cluster)


def entropy(rng: Any) -> Case:
    p, y, weight = rng.random(ROWS), rng.random(ROWS), rng.random(ROWS)
    metric = ce.NormalizedEntropy(invalid="skip")
    return metric, [p, y, weight], lambda metric: metric.update(p, y, weight=weight)


def collection(rng: Any) -> Case:
    x, y = rng.normal(size=(ROWS, 4)), rng.dirichlet(np.ones(4), ROWS)
    by = rng.integers(0, 5, ROWS)
    metric = ce.MulticlassCrossEntropy(kind="logits", invalid="skip")
    divergence = ce.MulticlassCrossEntropy(kind="logits", invalid="skip", divergence=True)
    metric = ce.Collection({"all": divergence, "by": ce.Grouped(metric), "last": ce.Sliding(metric, samples=100)})
    return metric, [x, y, by], lambda metric: metric.update(x, y, by=by)


# Each kind of memory that an update reads.
CASES: dict[str, Callable[[Any], Case]] = {
    **{f"binary, {np.dtype(dtype)}": partial(binary, dtype=dtype) for dtype in REAL_DTYPES},
    **{f"multiclass, {np.dtype(dtype)}": partial(rows, dtype=dtype) for dtype in REAL_DTYPES},
    **{f"multilabel, {np.dtype(dtype)}": partial(labels, dtype=dtype) for dtype in REAL_DTYPES},
    "several threads, invalid values raise": raising,
    "calibration": calibration,
    "calibration of rows": calibration_of_rows,
    "soft targets": soft,
    "gradient": gradient,
    "sequences": sequences,
    "CTC": utterances,
    "keys": keys,
    "text keys": text_keys,
    "moments": moments,
    "moments, decayed": partial(moments, make=lambda: ce.Decayed(ce.MeanLoss(), half_life="1h")),
    "moments, sliding": partial(moments, make=lambda: ce.Sliding(ce.MeanLoss(), period="1h", step="1min")),
    "last samples": last,
    "paired": paired,
    "normalized entropy": entropy,
    "collection": collection,
}


def race(case: Case, seconds: float, seed: int = 0) -> tuple[int, int]:
    """Update for some seconds while another thread writes, and return the numbers of updates and of errors."""
    metric, written, update = case
    good = [array.copy() for array in written]
    done = errors = 0
    stopped = threading.Event()
    writer = threading.Thread(target=write, args=(written, good, stopped, seed), daemon=True)
    writer.start()
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end or not done:
            state = None if metric is None else metric.copy()
            try:
                update(state)
            except ce.InputError:
                errors += 1
            done += 1
            if state is not None:
                check(state)
    finally:
        stopped.set()
        writer.join()
    return done, errors


def write(written: list[np.ndarray], good: list[np.ndarray], stopped: threading.Event, seed: int) -> None:
    """Write hostile values and the old values to entries of one array, again and again, then of the next array.

    So a value that is read twice is often valid at only one of the two readings.
    """
    rng = np.random.default_rng(seed)
    while not stopped.is_set():
        i, first = int(rng.integers(len(written))), int(rng.integers(7))
        some, before = written[i].reshape(-1)[first::7], good[i].reshape(-1)[first::7]
        with np.errstate(all="ignore"):
            value = rng.choice(REALS if some.dtype.kind == "f" else WHOLES).astype(some.dtype)
        for _ in range(TURNS):
            some[...] = value
            some[...] = before
            if stopped.is_set():
                return


def check(metric: Any) -> None:
    """Check that a state is consistent: its bytes give the same state, and reading it raises no unexpected error."""
    data = metric.to_bytes()
    assert ce.from_bytes(data).to_bytes() == data
    metric.compute()
    metric.summary()


def main(seconds: float = 1.0, seed: int = 0, only: str = "") -> None:
    for name, make in CASES.items():
        if only in ("", name):
            done, errors = race(make(np.random.default_rng(seed)), seconds, seed)
            print(f"{name}: {done} updates, {errors} errors", flush=True)


if __name__ == "__main__":
    main(*(type_(word) for type_, word in zip((float, int, str), sys.argv[1:], strict=False)))
