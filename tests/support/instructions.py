"""Instruction counts: what the compiled code executes in an update, counted by valgrind.

    python tests/support/instructions.py           compares them with instructions.txt
    python tests/support/instructions.py --write   writes instructions.txt: after a change that is meant to change them

A count does not depend on the machine or its load, so it shows at once if a loop is no longer vectorised. AVX2 is
forced, because it is the best instruction set that valgrind supports. Only instructions of streamce's extensions are
counted, because those of Python and NumPy change with their versions.
"""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import streamce as ce
from streamce.core.kernels import kernels

FILE = Path(__file__).with_name("instructions.txt")
CORE = Path(kernels.__file__).parent.parent
# Allowed deviations of a count. They are larger for a compiler other than that of the file, which may unroll and
# schedule differently. A loop that is no longer vectorised costs several times as much with any compiler.
TOLERANCE, OTHER_COMPILER = 1.1, 2.0

# Requests to valgrind are a few instructions that have no effect elsewhere.
MARKS = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_ZERO_STATS; }
void end(void) { CALLGRIND_DUMP_STATS; }
"""


def grid(*shape: int) -> Any:
    """Return the numbers -32 ... 32 - 2^-9 in a mixed order."""
    n = int(np.prod(shape))
    return ((np.arange(n) * 7919 % 32768 - 16384) / 512).reshape(shape)


def given(metric: Any, *arrays: Any) -> tuple[int, Callable[[], Any]]:
    return arrays[0].size, lambda: metric.update(*arrays)


def rows(n: int, classes: int, dtype: type, **options: Any) -> tuple[int, Callable[[], Any]]:
    x = (grid(n, classes) if options["kind"] == "logits" else np.full((n, classes), 1 / classes)).astype(dtype)
    return given(ce.MulticlassCrossEntropy(threads=1, **options), x, np.arange(n) % classes)


def binary(x: Any, **options: Any) -> tuple[int, Callable[[], Any]]:
    return given(ce.BinaryCrossEntropy(threads=1, **options), x, np.arange(x.size) % 2)


def gradient(function: Callable[..., Any], x: Any, target: Any) -> tuple[int, Callable[[], Any]]:
    out = np.empty_like(x)
    return x.size, lambda: function(x, target, kind="logits", grad=True, out=out, threads=1)


def grouped(n: int, keys: int) -> tuple[int, Callable[[], Any]]:
    metric, losses, by = ce.Grouped(ce.MeanLoss(threads=1)), np.abs(grid(n)), np.arange(n) * 7919 % keys
    return n, lambda: metric.update(losses, by=by)


def window(samples: int, rows: int) -> tuple[int, Callable[[], Any]]:
    metric, losses = ce.Sliding(ce.MeanLoss(threads=1), samples=samples), np.abs(grid(rows))
    metric.update(np.abs(grid(samples)))
    return rows, lambda: metric.update(losses)


def panes(number: int, rows: int) -> tuple[int, Callable[[], Any]]:
    metric = ce.Sliding(ce.MeanLoss(threads=1), period=f"{number}s", step="1s")
    metric.update(np.ones(number), by_time=np.arange(number))
    losses, times = np.abs(grid(rows)), number + np.arange(rows) % 20
    return rows, lambda: metric.update(losses, by_time=times)


def collected(n: int, classes: int) -> tuple[int, Callable[[], Any]]:
    """Return the update of a collection of a metric, its groups and its last samples."""
    metric, by = ce.MulticlassCrossEntropy(kind="logits", threads=1), np.arange(n) % 10
    window = ce.Sliding(metric, samples=n // 2)
    found = ce.Collection({"all": metric, "by": ce.Grouped(metric), "last": window})
    x, target = grid(n, classes).astype(np.float32), np.arange(n) % classes
    return n * classes, lambda: found.update(x, target, by=by)


def utterances(n: int, frames: int, classes: int, labels: int) -> Callable[[], Any]:
    metric = ce.CTCCrossEntropy(kind="log_probs", threads=1)
    preds = np.full((frames, n, classes), -np.log(classes)).astype(np.float32)
    target = 1 + np.arange(n * labels).reshape(n, labels) % (classes - 1)
    lengths = {"input_lengths": np.full(n, frames), "target_lengths": np.full(n, labels)}
    return lambda: metric.update(preds, target, **lengths)


def cases() -> dict[str, tuple[int, Callable[[], Any]]]:
    """Return the cases: the number of predictions (0: one update as a whole), and an update."""
    f16, f32, f64 = np.float16, np.float32, np.float64
    logits, log_probs, probs = {"kind": "logits"}, {"kind": "log_probs"}, {"kind": "probs"}
    x, many, losses = grid(65536), grid(1024, 100).astype(f32), np.abs(grid(65536))
    labels = grid(1024, 64).astype(f32)
    scalar, multilabel = ce.BinaryCrossEntropy(), ce.MultilabelCrossEntropy(threads=1, **logits)
    return {
        "softmax rows, float32, C=2": rows(16384, 2, f32, **logits),
        "softmax rows, float32, C=10": rows(8192, 10, f32, **logits),
        "softmax rows, float32, C=100": rows(1024, 100, f32, **logits),
        "softmax rows, float32, C=100, for three": collected(1024, 100),
        "softmax rows, float32, C=1000": rows(128, 1000, f32, **logits),
        "softmax rows, float64, C=10": rows(8192, 10, f64, **logits),
        "softmax rows, float64, C=1000": rows(128, 1000, f64, **logits),
        "softmax rows, float16, C=1000": rows(128, 1000, f16, **logits),
        "softmax rows, float32, C=100, smoothed": rows(1024, 100, f32, label_smoothing=0.1, **logits),
        "softmax rows, float32, C=100, soft": given(
            ce.MulticlassCrossEntropy(threads=1, **logits), many, np.full(many.shape, 0.01)
        ),
        "probability rows, float32, C=10": rows(8192, 10, f32, **probs),
        "probability rows, float64, C=1000": rows(128, 1000, f64, **probs),
        "binary logits, float32": binary(x.astype(f32), **logits),
        "binary logits, float64": binary(x, **logits),
        "binary probs, float64": binary(losses / 33, **probs),
        "binary log_probs, float64": binary(-losses, **log_probs),
        "binary probs, float64, smoothed": binary(losses / 33, label_smoothing=0.1, **probs),
        "multilabel logits, float32, C=64": given(multilabel, labels, (labels > 0).astype(np.int64)),
        "CTC, float32 log_probs, C=40, S=30": (32 * 100 * 40, utterances(32, 100, 40, 30)),
        "mean loss, float64": given(ce.MeanLoss(threads=1), losses),
        "mean loss, float64, by 1000 integer keys": grouped(16384, 1000),
        "mean loss, float64, the last 1000": window(1000, 500),
        "mean loss, float64, the last 100,000": window(100_000, 500),
        "mean loss, float64, the last 100 seconds": panes(100, 2000),
        "mean loss, float64, the last 10,000 seconds": panes(10_000, 2000),
        "softmax gradient, float32, C=10": gradient(ce.cross_entropy, grid(8192, 10).astype(f32), np.arange(8192) % 10),
        "softmax gradient, float32, C=100": gradient(ce.cross_entropy, many, np.arange(1024) % 100),
        "binary gradient, float32": gradient(ce.binary_cross_entropy, x.astype(f32), np.arange(x.size) % 2),
        "one update of 32 rows, float32, C=10": (0, rows(32, 10, f32, **logits)[1]),
        "one update of a scalar": (0, lambda: scalar.update(0.7, 1)),
    }


def run(marks: str) -> None:
    """Run each case under valgrind, once to warm up and once counted."""
    library = ctypes.PyDLL(marks)
    for _, update in cases().values():
        update()
        library.begin()
        update()
        library.end()


def own_instructions(profile: Path) -> int:
    """Return the instructions of streamce's extensions in a profile of callgrind."""
    total, own, called = 0, False, False
    for line in profile.read_text().splitlines():
        if line.startswith("ob="):
            own = Path(line[3:]).is_relative_to(CORE)
        elif line.startswith("calls="):
            called = True  # the next line repeats the cost of the called function
        elif own and line[:1].isdigit():
            total += 0 if called else int(line.split()[1])
            called = False
        elif line[:1].isdigit():
            called = False
    return total


def count() -> dict[str, float]:
    """Return the instructions per prediction, or per update."""
    with tempfile.TemporaryDirectory() as folder:
        source, marks, out = Path(folder, "marks.c"), Path(folder, "marks.so"), Path(folder, "out")
        source.write_text(MARKS)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", source, "-o", marks], check=True)
        subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-line=no",
             "--compress-strings=no", "--compress-pos=no", sys.executable, __file__, "--run", str(marks)],
            env={**os.environ, "STREAMCE_SIMD": "avx2", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}, check=True,
        )  # fmt: skip
        found = {}
        for i, (name, (predictions, _)) in enumerate(cases().items(), 1):
            found[name] = own_instructions(Path(f"{out}.{i}")) / (predictions or 1)
            if not found[name]:
                raise SystemExit(f"{name}: no instruction of {CORE} was counted")
        return found


def compiler() -> str:
    """Return the name of the compiler that is stored in the kernels."""
    found = re.findall(rb"GCC: [^\0]+|clang version [^\0]+", Path(kernels.__file__).read_bytes())
    return found[-1].decode() if found else "unknown"


def write(found: dict[str, float]) -> None:
    lines = [f"# {compiler()}", "# Instructions (AVX2) per prediction, or of one update: see instructions.py"]
    lines += [f"{name:44} {value:9.2f}" for name, value in found.items()]
    FILE.write_text("\n".join(lines) + "\n")


def compare(found: dict[str, float]) -> bool:
    """Print the counts that differ from instructions.txt, and return whether there are none."""
    lines = FILE.read_text().splitlines()
    tolerance = TOLERANCE
    if lines[0] != f"# {compiler()}":
        tolerance = OTHER_COMPILER
        print(
            f"Counted with {compiler()}, and instructions.txt with {lines[0][2:]}: a factor of {tolerance} is allowed."
        )
    recorded = {line[:44].strip(): float(line[44:]) for line in lines if not line.startswith("#")}
    good = True
    for name in {**recorded, **found}:
        was, now = recorded.get(name, 0.0), found.get(name, 0.0)
        same = min(was, now) > 0 and max(was, now) <= tolerance * min(was, now)
        good &= same
        print(f"{name:44} {was:9.2f} -> {now:9.2f}{'' if same else '   CHANGED'}")
    if not good:
        print(f"Off by more than a factor of {tolerance}. More: is a loop no longer vectorised (gcc -fopt-info-vec)?")
        print("If the change is meant, in either direction: make instructions, and commit instructions.txt.")
    return good


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(sys.argv[2])
    elif sys.argv[1:] == ["--write"]:
        write(count())
    else:
        sys.exit(not compare(count()))
