"""Fuzz updates while another thread writes hostile values into their arrays.

    python tests/fuzz_races.py [--seconds S] [--seed N] [--cases M]

The values that an update counts depend on timing, so less is required than elsewhere: no crash and no exception but
InputError. A refused update leaves the bytes of the state unchanged. A successful update has counted every row once,
and its state can be read. The number of a case determines its arrays and the values written, but not the timing of the
threads: repeating a failure may need several tries.
"""

from __future__ import annotations

import random
import sys
import threading
import warnings
from typing import Any

import fuzz_objects
import fuzzing
import numpy as np

import streamce as ce

UPDATES = 20
TURNS = 50
VALUES = (np.nan, np.inf, -np.inf, -1.0, 1.5, 1e308, 5e-324, 2.0**62, -(2.0**62), 0.0)
ROWS = 3000  # enough predictions for the interpreter lock to be released
LARGE = 150_000  # enough for several threads
METRICS = {
    "binary": (lambda **more: ce.BinaryCrossEntropy(calibration=True, tail=True, **more), fuzz_objects.binary),
    "multiclass": (lambda **more: ce.MulticlassCrossEntropy(calibration=True, **more), fuzz_objects.multiclass),
    "multiclass, per class": (
        lambda **more: ce.MulticlassCrossEntropy(per_class=True, **more),
        fuzz_objects.multiclass,
    ),
    "multilabel": (lambda **more: ce.MultilabelCrossEntropy(**more), fuzz_objects.multilabel),
    "ragged": (lambda **more: ce.SequenceCrossEntropy(kind="logits", **more), fuzz_objects.ragged),
    "padded": (lambda **more: ce.SequenceCrossEntropy(kind="logits", per_position=True, **more), fuzz_objects.padded),
    "ctc": (lambda **more: ce.CTCCrossEntropy(kind="logits", **more), fuzz_objects.utterances),
    "groups": (lambda **more: ce.Grouped(ce.BinaryCrossEntropy(**more)), fuzz_objects.binary),
    "sliding": (
        lambda **more: ce.Sliding(ce.BinaryCrossEntropy(**more), period="1h", step="1min"),
        fuzz_objects.binary,
    ),
    "decayed": (lambda **more: ce.Decayed(ce.BinaryCrossEntropy(**more), half_life="1h"), fuzz_objects.binary),
}


def given(name: str, rng: Any, n: int) -> dict[str, Any]:
    """Arguments that may be written to, with hard targets, since calibration asks for them."""
    found = METRICS[name][1](rng, n)
    arguments = dict(found if isinstance(found, dict) else found[1])
    if name.startswith("multiclass"):
        arguments["target"] = rng.integers(0, 4, n)
    if name == "groups":
        arguments["by"] = (rng.integers(0, 50, n), rng.integers(0, 9, n).astype("S3"))[rng.integers(2)]
    if name in ("sliding", "decayed"):
        arguments["by_time"] = rng.integers(0, 10**5, n) / rng.choice([1, 1.0])
    if name == "binary" and rng.integers(2):
        arguments["cluster"] = rng.integers(0, 50, n)
    return {key: np.array(value) for key, value in arguments.items()}


def write(array: Any, rng: Any, done: threading.Event) -> None:
    """Hostile values, or bits of any kind, and the plain ones in turns, so that two reads of one entry may differ."""
    flat = array.reshape(-1)
    while not done.is_set():
        part = slice(int(rng.integers(flat.size)), None, int(rng.integers(1, 50)))
        plain = flat[part].copy()
        if rng.integers(2) or array.dtype.kind not in "fiu":
            noise = rng.integers(0, 256, plain.nbytes, np.uint8)
            hostile = noise.view(array.dtype)
        else:
            with np.errstate(all="ignore"):
                hostile = np.array(VALUES[rng.integers(len(VALUES))]).astype(array.dtype)
        for _ in range(TURNS):
            flat[part] = hostile
            flat[part] = plain
            if done.is_set():
                return


def check(metric: Any, arguments: dict[str, Any], name: str, rng: Any) -> None:
    done = threading.Event()
    writer = threading.Thread(target=write, args=(arguments[name], rng, done))
    writer.start()
    try:
        for _ in range(UPDATES):
            before = metric.to_bytes()
            try:
                metric.update(**arguments)
            except ce.InputError:
                assert metric.to_bytes() == before, "the state was changed by what was refused"
            assert ce.from_bytes(metric.to_bytes()).to_bytes() == metric.to_bytes(), "the state cannot be read"
    finally:
        done.set()
        writer.join()


def case(seed: int) -> fuzzing.Case:
    number, rng = random.Random(seed), np.random.default_rng(seed)
    name = number.choice(list(METRICS))
    rows = number.choice((ROWS, ROWS, LARGE))
    arguments = given(name, rng, rows if name != "ctc" else 60)
    written = number.choice(list(arguments))
    metric = METRICS[name][0](invalid=number.choice(("raise", "skip")), threads=number.choice((1, 4)))
    words = f"{name}, {rows} rows: {written} ({arguments[written].dtype}) is written to"
    return fuzzing.Case(words, lambda: check(metric, arguments, written, rng))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(fuzzing.main(case))
