"""Golden vectors: SHA-256 of losses, gradients and states, the same on every machine.

    python tests/support/golden.py           compares them with golden.json, with each instruction set of this machine
    python tests/support/golden.py --write   writes golden.json: after a change that is meant to change a loss

Inputs are made of integers alone, so that no other library's exp or random numbers have a part in them.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import streamce as ce
from streamce.core.kernels import kernels
from streamce.core.ledger.state import State
from streamce.core.losses.utterances import Utterances
from streamce.core.pipeline.ctc_pipeline import CTC
from streamce.functional.loss_functions import _losses

FILE = Path(__file__).with_name("golden.json")
# A dtype, the bits of its mantissa, and the exponent of its smallest normal number.
DTYPES = {
    "float64": (np.dtype(np.float64), 52, -1022),
    "float32": (np.dtype(np.float32), 23, -126),
    "float16": (np.dtype(np.float16), 10, -14),
    "bfloat16": (np.dtype(ml_dtypes.bfloat16), 7, -126),
}
KINDS = ("probs", "log_probs", "logits")
# Vector lanes are rows up to 128 classes (float64) or 256 (narrower), else classes. Both cases have tails.
TILES, ROWS = (2, 3, 10, 16, 17, 33, 65, 128), (129, 200, 256, 257, 1000, 5000)
# The sizes of the chunks that are added to a state.
CHUNKS = (1, 63, 64, 65, 2, 700, 129, 2049)
LN2 = 0.693147180559945309417


# ---- numbers from integers ----


def bits(seed: str, n: int) -> Any:
    """Return n random words of splitmix64 (Steele, Lea and Flood, 2014)."""
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little")
    z = np.full(n, start, np.uint64) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def below(seed: str, shape: tuple[int, ...], limit: int) -> Any:
    """Return random integers 0 ... limit - 1."""
    return (bits(seed, int(np.prod(shape))) >> np.uint64(33)).astype(np.int64).reshape(shape) % limit


def reals(seed: str, exponent: Any) -> Any:
    """Return random numbers of both signs with the given exponents."""
    word = bits(seed, exponent.size).reshape(exponent.shape)
    power = (exponent + 1023).astype(np.uint64) << np.uint64(52)
    return ((word & np.uint64(0x800FFFFFFFFFFFFF)) | power).view(np.float64)


def cut(x: Any, dtype: str) -> Any:
    """Convert to another dtype by cutting off digits, so that nothing rounds. Subnormal results become 0."""
    kind, mantissa, least = DTYPES[dtype]
    x = np.ascontiguousarray(x, np.float64)
    kept = (x.view(np.uint64) >> np.uint64(52 - mantissa) << np.uint64(52 - mantissa)).view(np.float64)
    return np.where(np.abs(kept) < 2.0**least, 0.0, kept).astype(kind)


def smallest(dtype: str) -> Any:
    """Return the smallest subnormal number."""
    kind = DTYPES[dtype][0]
    return np.ones(1, f"u{kind.itemsize}").view(kind)[0]


# ---- predictions and targets ----


def logits(seed: str, *shape: int) -> Any:
    """Return rows of every scale from 2^-6 to 2^6."""
    scale = below(seed + " scale", (*shape[:-1], 1), 13) - 6
    return reals(seed, scale - below(seed + " exponent", shape, 4))


def probabilities(seed: str, rows: int, classes: int) -> Any:
    """Return rows of multiples of 2^-52 whose sum is 1."""
    share = below(seed, (rows, classes), 1 << 16) >> below(seed + " gap", (rows, 1), 16)
    share[:, 0] += 1
    share *= (1 << 52) // share.sum(1, keepdims=True)
    share[np.arange(rows), below(seed + " rest", (rows,), classes)] += (1 << 52) - share.sum(1)
    return share * 2.0**-52


@cache
def depths(classes: int) -> Any:
    """Return rows of integers k with Σ 2^-k = 1: the leaves of a chain, of a random and of a balanced tree."""
    found = [[*range(1, classes), classes - 1]]
    for drawn in (below(f"tree {classes}", (classes,), 1 << 30), np.zeros(classes, np.int64)):
        leaves = [0]
        for i in range(classes - 1):
            depth = leaves.pop(int(drawn[i]) % len(leaves))
            leaves += [depth + 1, depth + 1]
        found.append(leaves)
    return np.array(found)


def log_probabilities(seed: str, rows: int, classes: int) -> Any:
    """Return rows of -k ln 2 with relative errors up to 2^-10. Their exponentials add up to about 1."""
    tree = below(seed + " tree", (rows,), 3)
    at = (np.arange(classes) + below(seed + " turn", (rows, 1), classes)) % classes
    exact = depths(classes)[tree[:, None], at] * -LN2
    noise = bits(seed, exact.size).reshape(exact.shape) >> np.uint64(22)
    return (exact.view(np.uint64) ^ noise).view(np.float64)


def hard_rows(kind: str, dtype: str, classes: int) -> Any:
    """Return rows with ties, certainty, masks, subnormal numbers, signed zeros and infinities, and invalid rows."""
    real = DTYPES[dtype][0]
    tiny, inf, nan = smallest(dtype), np.inf, np.nan
    one_hot = np.arange(classes) == 0
    odd = np.arange(classes) % 2 == 1
    if kind == "logits":
        most = float(ml_dtypes.finfo(real).max)
        far = 512.0 if dtype != "float64" else 4096.0  # beyond the range that the kernels reduce directly
        rows = [
            np.full(classes, 0.0), np.full(classes, -0.0), np.where(odd, -0.0, 0.0),
            np.where(one_hot, 0.0, -50.0), np.where(one_hot, -50.0, 0.0), np.where(one_hot, 0.0, -90.0),
            np.where(odd, -inf, 1.0), np.where(one_hot, 3.0, -inf), np.where(one_hot, inf, 1.0),
            np.where(odd, 2.0, 1.0), np.where(odd, most, -most), np.where(one_hot, most, -inf),
            far + odd, odd - far, np.where(odd, tiny, -tiny), np.where(odd, 0.0, tiny),
            np.where(one_hot, nan, 1.0), np.full(classes, inf), np.full(classes, -inf),
        ]  # fmt: skip
    elif kind == "probs":
        rows = [
            one_hot * 1.0, np.where(one_hot, 1.0, -0.0), np.where(one_hot, 1.0, tiny),
            np.where(one_hot, 1.0, np.where(odd, tiny, 0.0)), np.where(odd, 0.0, 2.0 / (classes + classes % 2)),
            np.where(one_hot, 0.99609375, 0.00390625 / (classes - 1)),
            np.where(one_hot, 1.5, 0.0), np.where(one_hot, 1.0, -1.0), np.where(one_hot, nan, 0.0),
            np.full(classes, 0.0),
        ]  # fmt: skip
    else:
        rows = [
            np.where(one_hot, 0.0, -inf), np.where(one_hot, -0.0, -50.0), np.where(one_hot, -tiny, -800.0),
            np.where(one_hot, -tiny, -30.0), np.where(one_hot, 1.0, -9.0), np.where(one_hot, nan, 0.0),
            np.full(classes, -inf), np.full(classes, 0.0),
        ]  # fmt: skip
    # cut() would make a subnormal number 0.
    return np.stack([np.where(np.abs(row) == tiny, row.astype(real), cut(row, dtype)) for row in rows])


def hard_elements(kind: str, dtype: str) -> Any:
    """Return the first class of hard rows, and points where the formulas change."""
    found = {
        "logits": [0.0, -0.0, 50.0, -50.0, 90.0, -90.0, 750.0, -750.0, 1e4, -1e4, np.inf, -np.inf, np.nan],
        "probs": [0.0, -0.0, 1.0, 0.5, 0.99609375, 2.0**-13, 1.5, -0.25, np.nan],
        "log_probs": [0.0, -0.0, -0.6875, -0.703125, -36.0, -50.0, -1e4, -np.inf, 0.25, np.nan],
    }[kind]
    tiny = smallest(dtype)
    return np.concatenate([cut(found, dtype), np.array([tiny if kind != "log_probs" else -tiny])])


def predictions(task: str, kind: str, dtype: str, shape: tuple[int, ...]) -> Any:
    seed = f"{task} {kind} {shape}"
    if task == "multiclass":
        hard = hard_rows(kind, dtype, shape[1])
        make = {"logits": logits, "probs": probabilities, "log_probs": log_probabilities}[kind]
        rows = np.concatenate([cut(make(seed, shape[0] - len(hard), shape[1]), dtype), hard])
        return rows[np.argsort(bits(seed + " order", len(rows)), kind="stable")]
    x = logits(seed, *shape)
    if kind != "logits":
        # Of every size from 2^-60 to 1, half of them near 1; a logarithm, from -2^-60 to -64.
        x = np.abs(reals(seed, -1 - below(seed + " size", shape, 60)))
        x = np.where(below(seed + " side", shape, 2) == 1, 1.0 - x, x) if kind == "probs" else x * -128.0
    x = cut(x, dtype)
    hard = hard_elements(kind, dtype)
    flat = x.reshape(-1)
    flat[below(seed + " hard", (4 * len(hard),), flat.size)] = np.tile(hard, 4)
    return x


def soft_targets(task: str, shape: tuple[int, ...]) -> Any:
    seed = f"{task} soft {shape}"
    if task == "multiclass":
        y = probabilities(seed, *shape)
        y[::3] = np.eye(shape[1])[below(seed + " one", (len(y[::3]),), shape[1])]
        return y
    y = np.abs(reals(seed, -1 - below(seed, shape, 20)))
    return np.where(below(seed + " one", shape, 4) == 0, 1.0, y)


def labels(task: str, shape: tuple[int, ...], *, odd: bool) -> Any:
    """Return labels, some of them -1 (ignored), and with ``odd`` some invalid ones."""
    of = shape[1] if task == "multiclass" else 2
    shape = shape[:1] if task == "multiclass" else shape
    y = below(f"labels {task} {shape} {of}", shape, of)
    if odd:
        y.reshape(-1)[3::17] = -1
        y.reshape(-1)[5::101] = of
    return y


def weights(n: int) -> Any:
    """Return weights of every size, some 0 and some 1."""
    w = np.abs(reals(f"weights {n}", below(f"weights {n} exponent", (n,), 12) - 6))
    w[::7], w[1::7] = 0.0, 1.0
    return w


# ---- cases ----


@dataclass
class Input:
    """A metric's options, and a stream for it."""

    task: str
    preds: Any
    target: Any = None
    weight: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    def losses(self) -> bytes:
        if self.task == "mean":
            return b""  # the losses are the input
        return bytes(np.ascontiguousarray(_losses(self.metric(), self.preds, self.target, self.weight)).data)

    def gradient(self) -> bytes:
        """Return the gradient of each loss."""
        found = np.empty(self.preds.shape, self.preds.dtype)
        _losses(self.metric(), self.preds, self.target, self.weight, found)
        return found.tobytes()

    def state(self) -> bytes:
        """Return the state after updates with chunks of many sizes."""
        metric, at = self.metric(), 0
        for size in cycle(CHUNKS):
            rows = slice(at, at + size)
            given = [a[rows] for a in (self.preds, self.target) if a is not None]
            metric.update(*given, weight=None if self.weight is None else self.weight[rows])
            at += size
            if at >= len(self.preds):
                return bytes(metric.to_bytes())

    def metric(self) -> Any:
        metrics = {
            "binary": ce.BinaryCrossEntropy, "multiclass": ce.MulticlassCrossEntropy,
            "multilabel": ce.MultilabelCrossEntropy, "mean": ce.MeanLoss,
        }  # fmt: skip
        return metrics[self.task](invalid="skip", **self.options)


def targets(task: str, kind: str, dtype: str, preds: Any) -> Iterator[tuple[str, Input]]:
    """Yield a stream with each kind of target."""
    shape, n = preds.shape, len(preds)
    each = {} if task == "binary" else {"class_weight": [*map(float, weights(shape[1]))]}
    if task != "multiclass":
        each["pos_weight"] = 2.75
    plain = {"kind": kind} | ({} if task == "binary" else {f"per_{'class' if task == 'multiclass' else 'label'}": True})
    smooth = {"kind": kind, "label_smoothing": 0.1}
    heavy = smooth | each
    yield "labels", Input(task, preds, labels(task, shape, odd=False), None, plain)
    yield (
        "labels of weights",
        Input(task, preds, labels(task, shape, odd=True), weights(n), plain | {"ignore_index": -1}),
    )
    yield "smoothed labels", Input(task, preds, labels(task, shape, odd=True), weights(n), heavy | {"ignore_index": -1})
    yield "evenly smoothed labels", Input(task, preds, labels(task, shape, odd=False), None, smooth)
    soft = soft_targets(task, shape)
    yield "soft", Input(task, preds, soft, None, {"kind": kind, "eps": 0.0})
    yield "soft of its own dtype", Input(task, preds, cut(soft, dtype), None, {"kind": kind})
    yield "evenly smoothed soft of its own dtype", Input(task, preds, cut(soft, dtype), None, smooth)
    yield "smoothed soft", Input(task, preds, soft, weights(n), heavy)


def rows_of(classes: int) -> int:
    """Return a number of rows that gives tiles of 32, blocks of 2048 and their tails."""
    return 2500 if classes <= 17 else 200 if classes <= 129 else 40


@cache
def cases() -> dict[str, list[Input]]:
    """Return the inputs of each digest."""
    found: dict[str, list[Input]] = {}
    shapes = {
        "binary": {"": [(5000,), (700, 3)]},
        "multilabel": {"": [(2500, 2), (300, 17), (40, 130)]},
        "multiclass": {
            f" of {sizes[0]} to {sizes[-1]}": [(rows_of(classes), classes) for classes in sizes]
            for sizes in (TILES, ROWS)
        },
    }
    for task, groups in shapes.items():
        for group, some in groups.items():
            for kind in KINDS:
                for dtype in DTYPES:
                    for shape in some:
                        for name, given in targets(task, kind, dtype, predictions(task, kind, dtype, shape)):
                            found.setdefault(f"{task}{group}, {kind}, {dtype}, {name}", []).append(given)
    for dtype, (_, _, least) in DTYPES.items():
        preds = cut(reals("mean", below("mean exponent", (5000,), -2 * least) + least), dtype)
        preds[::300] = smallest(dtype)
        preds[1::300], preds[2::500], preds[3::500], preds[4::500] = -0.0, np.inf, -np.inf, np.nan
        for name, weight in (("", None), (", weights", weights(5000))):
            found[f"mean, {dtype}{name}"] = [Input("mean", preds, None, weight)]
    return found


def gradients() -> dict[str, list[Input]]:
    """Return the cases of gradients, by task, kind and dtype."""
    found: dict[str, list[Input]] = {}
    for name, given in cases().items():
        if given[0].task != "mean":
            found.setdefault(name.rpartition(", ")[0], []).extend(given)
    return found


def calibrations() -> dict[str, list[Input]]:
    """Return streams with calibration: elements, and rows of few and of many classes."""
    found = {}
    shapes = {"binary": [(5000,), (700, 3)], "multiclass": [(rows_of(c), c) for c in (2, 10, 33, 100, 129, 1000)]}
    for task, some in shapes.items():
        for kind in KINDS:
            for dtype in DTYPES:
                options = {"kind": kind, "ignore_index": -1, "calibration": True}
                found[f"calibration: {task}, {kind}, {dtype}"] = [
                    Input(task, predictions(task, kind, dtype, shape), labels(task, shape, odd=True), weight, options)
                    for shape in some
                    for weight in (None, weights(shape[0]))
                ]
    return found


def ctc(kind: str, dtype: str) -> tuple[bytes, bytes]:
    """Return losses and state of utterances of 1 to 60 frames, some infeasible, some with a loss near 0."""
    n, frames, losses, metric = 200, 60, [], ce.CTCCrossEntropy(kind=kind, blank=1, invalid="skip")
    make = {"logits": logits, "probs": probabilities, "log_probs": log_probabilities}[kind]
    for classes in (3, 40, 300):
        seed = f"ctc {kind} {classes}"
        preds = cut(make(seed, frames * n, classes), dtype).reshape(frames, n, classes)
        if kind == "logits":
            preds[:, ::4, 0] = 60.0  # the class of every label of these targets
        preds[0, 1::50] = np.nan
        target = below(seed + " labels", (n, 9), classes - 1)
        target += target >= 1
        target[::4] = 0
        many = 1 + below(seed + " lengths", (n,), 9)
        many[::4] = 1
        lengths = 1 + below(seed + " frames", (n,), frames), many
        out = np.empty(n)
        batch = Utterances(preds, target, *lengths)
        CTC(kind, 1, "TBC", "label", True, None).update(State(), batch, losses=out)
        losses.append(out.tobytes())
        metric.update(preds, target, input_lengths=lengths[0], target_lengths=lengths[1], weight=weights(n))
    return b"".join(losses), metric.to_bytes()


def pairs() -> bytes:
    """Return the state of a comparison: plain, weighted, in clusters, and with rows that only one model excludes."""
    metric, n, found = ce.BinaryCrossEntropy(kind="logits", invalid="skip"), 5000, []
    a, b = (cut(logits(f"pairs {name}", n), "float64") for name in "ab")
    b[::3] = a[::3]  # ties
    b[1::500] = np.nan
    target, weight = below("pairs target", (n,), 2), weights(n)
    for more in ({}, {"weight": weight}, {"weight": weight, "cluster": np.arange(n) // 7}):
        paired, at = ce.Paired(metric), 0
        for size in cycle(CHUNKS):
            some = slice(at, at + size)
            paired.update(a[some], b[some], target[some], **{name: values[some] for name, values in more.items()})
            at += size
            if at >= n:
                break
        found.append(paired.to_bytes())
    return b"".join(found)


def decayed(half_life: str) -> bytes:
    """Return the state of losses and weights of every size, with timestamps from year 1 to 9999."""
    times = (bits("moments", 5000) % np.uint64(3 * 10**17)).astype(np.int64) - 6 * 10**16
    metric = ce.Decayed(ce.MeanLoss(), half_life=half_life)
    losses = reals("decayed", below("decayed exponent", (5000,), 2000) - 1000)
    return metric.update(losses, by_time=times.view("datetime64[us]"), weight=weights(5000)).to_bytes()


def sha(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def digests() -> dict[str, dict[str, str]]:
    """Return SHA-256 of the losses (float64, little-endian), the gradients and the states of each case."""
    found = {}
    for name, given in cases().items():
        found[name] = {"losses": sha(one.losses() for one in given), "states": sha(one.state() for one in given)}
        if given[0].task == "mean":
            del found[name]["losses"]
    for kind, some in gradients().items():
        found[f"gradients: {kind}"] = {"gradients": sha(one.gradient() for one in some)}
    for name, given in calibrations().items():
        found[name] = {"states": sha(one.state() for one in given)}
    for kind in KINDS:
        for dtype in DTYPES:
            each, state = ctc(kind, dtype)
            found[f"ctc, {kind}, {dtype}"] = {"losses": sha([each]), "states": sha([state])}
    found["pairs"] = {"states": sha([pairs()])}
    found["decayed"] = {"states": sha(map(decayed, ("1us", "7s", "1h", "30d", "9999w")))}
    points = reals("exp", below("exp exponent", (5000,), 24) - 14)
    values = [*points.tolist(), 0.0, -0.0, 709.78, 710.0, -745.0, -708.4, np.inf, -np.inf]
    found["e^x"] = {"values": sha(np.array(kernels.exp(x)).tobytes() for x in values)}
    return found


def compare(found: dict[str, dict[str, str]]) -> list[str]:
    """Return the digests that differ from golden.json."""
    golden = json.loads(FILE.read_text())
    return [
        f"{name}: {', '.join(what for what in one if golden.get(name, {}).get(what) != one[what])}"
        for name, one in found.items()
        if golden.get(name) != one
    ] + [f"{name}: not among the cases" for name in golden if name not in found]


def main() -> int:
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(json.dumps(digests(), indent=1) + "\n")
    failed = False
    for name in kernels.supported():
        kernels.use(name)
        different = compare(digests())
        failed |= bool(different)
        given = [one for some in cases().values() for one in some]
        count = sum(one.preds.size for one in given)
        print(f"{name}: {len(cases())} cases, {count / 1e6:.1f} million predictions:", end=" ")
        print(
            "DIFFERENT in\n  " + "\n  ".join(different)
            if different
            else "losses, gradients and states are the golden bits"
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
