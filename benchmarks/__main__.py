"""First marks: this library against eager torch, and the memory of ``streamce eval``.

How such figures mislead: a rival that writes a large temporary pays for fresh pages, so its time
depends on the size of the array; a machine's clock drifts, so the two take turns and medians are
compared; one thread each says nothing about many; and the processor's instruction set decides as
much as the code. Ratios travel better than nanoseconds.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import streamce as ce
from streamce.core import kernels

Call = Callable[[], object]
REPEATS = 9


def turns(ours: Call, theirs: Call) -> tuple[float, float]:
    """Median seconds of two calls that take turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(REPEATS + 1):
        for call, seconds in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            call()
            if repeat:  # the first one warms up
                seconds.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def row(case: str, elements: int, ours: Call, theirs: Call) -> None:
    mine, rival = (seconds / elements * 1e9 for seconds in turns(ours, theirs))
    print(f"{case:<44}{mine:>10.2f}{rival:>10.2f}{rival / mine:>8.1f} x", flush=True)


def losses() -> None:
    rng = np.random.default_rng(0)
    print(f"{'ns per element, one thread, ' + kernels.current():<44}{'streamce':>10}{'torch':>10}{'ratio':>10}")
    for classes in (2, 10, 100, 1000, 32000):
        logits = rng.normal(size=(20_000_000 // classes, classes)).astype(np.float32)
        labels = rng.integers(0, classes, len(logits))
        x, y = torch.from_numpy(logits), torch.from_numpy(labels)
        row(
            f"cross_entropy, 80 MB of float32, C = {classes}",
            logits.size,
            lambda logits=logits, labels=labels: ce.MulticlassCrossEntropy(kind="logits").update(logits, labels),
            lambda x=x, y=y: F.cross_entropy(x, y),
        )
    logits = (rng.normal(size=4_000_000) * 3).astype(np.float32)
    probs = 1 / (1 + np.exp(-logits))
    outcomes = rng.integers(0, 2, logits.size)
    y = torch.from_numpy(outcomes.astype(np.float32))
    for kind, preds, rival in (
        ("logits", logits, F.binary_cross_entropy_with_logits),
        ("probs", probs, F.binary_cross_entropy),
    ):
        x = torch.from_numpy(preds)
        row(
            f"binary cross-entropy, 4M float32 {kind}",
            preds.size,
            lambda kind=kind, preds=preds: ce.BinaryCrossEntropy(kind=kind).update(preds, outcomes),
            lambda rival=rival, x=x: rival(x, y),
        )


def small_updates() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(32, 10)).astype(np.float32), rng.integers(0, 10, 32)
    x, y = torch.from_numpy(logits), torch.from_numpy(labels)
    multiclass, binary = ce.MulticlassCrossEntropy(kind="logits"), ce.BinaryCrossEntropy()
    many = range(2000)
    batch, call = turns(
        lambda: [multiclass.update(logits, labels) for _ in many], lambda: [F.cross_entropy(x, y) for _ in many]
    )
    one, _ = turns(lambda: [binary.update(0.7, 1) for _ in many], lambda: None)
    print(f"\nupdate of a 32 x 10 batch {batch / 2000 * 1e6:.2f} us (torch's function {call / 2000 * 1e6:.2f} us)")
    print(f"update of one sample as two numbers {one / 2000 * 1e6:.2f} us")


def memory_of_eval() -> None:
    """Peak memory and time of the command on Parquet files of 2 and 20 million rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    million = 1_000_000
    table = pa.table(
        {
            "p": rng.uniform(size=million).astype(np.float32),
            "y": rng.integers(0, 2, million).astype(np.int8),
        }
    )
    print()
    for groups in (2, 20):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            with pq.ParquetWriter(path, table.schema) as writer:
                for _ in range(groups):
                    writer.write_table(table, row_group_size=million)
            command = [
                sys.executable,
                "-m",
                "streamce",
                "eval",
                str(path),
                "--task",
                "binary",
                "--target",
                "y",
                "--preds",
                "p",
            ]
            measure = (
                "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
            )
            start = time.perf_counter()
            found = subprocess.run(
                [sys.executable, "-c", measure, *command], check=True, capture_output=True, text=True
            )
            seconds = time.perf_counter() - start
        unit = 1024 if sys.platform != "darwin" else 1
        print(
            f"streamce eval, {groups} million rows of Parquet: {seconds:.2f} s,"
            f" peak memory {int(found.stdout) * unit / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    print(__doc__)
    torch.set_num_threads(1)
    ce.set_num_threads(1)
    losses()
    small_updates()
    memory_of_eval()
