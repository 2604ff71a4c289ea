"""Streams for the tests: arrays of every kind of input, generated from a few random numbers."""

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

import streamce as ce

DTYPES = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
KINDS = ("probs", "log_probs", "logits")
METRICS = {
    "binary": ce.BinaryCrossEntropy,
    "multiclass": ce.MulticlassCrossEntropy,
    "multilabel": ce.MultilabelCrossEntropy,
    "mean": ce.MeanLoss,
}


@dataclass
class Stream:
    """The options of a metric and a stream of inputs for it. Sample i is row i of each array."""

    task: str
    preds: Any
    target: Any = None
    weight: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    def __len__(self):
        return len(self.preds)

    def __getitem__(self, rows):
        return Stream(self.task, *(None if a is None else a[rows] for a in self.arrays), self.options)

    @property
    def arrays(self):
        return self.preds, self.target, self.weight

    def metric(self, **more):
        return METRICS[self.task](**self.options, **more)

    def add_to(self, metric):
        args = (self.preds,) if self.task == "mean" else (self.preds, self.target)
        return metric.update(*args, weight=self.weight)

    def fed(self, **more):
        return self.add_to(self.metric(**more))

    def bytes(self, **more):
        return self.fed(**more).to_bytes()


def cast(x, dtype):
    """Convert to a dtype without a warning. Numbers that are too large become infinite."""
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def make(
    task, n, *, kind="probs", dtype="float64", classes=5, inner=(), soft=False, weighted=False, weights_each=False,
    odd=False, infinite=False, seed=0, **options,
):  # fmt: skip
    """Return a stream of n samples. ``odd`` adds invalid rows, and ``infinite`` adds infinite losses."""
    rng = np.random.default_rng(seed)
    dtype = DTYPES[dtype]
    shape = (n, *inner)
    rows = task in ("multiclass", "multilabel")
    full = (*shape, classes) if rows else shape
    if task == "mean":
        preds = rng.normal(0, 1, full) * 10.0 ** rng.integers(-20, 20, full)
        if infinite:
            preds[rng.random(full) < 0.05] = np.inf
            preds[rng.random(full) < 0.05] = -np.inf
        target = None
    else:
        logits = rng.normal(0, 1, full) * 10.0 ** rng.uniform(-2, 2, (*shape, 1) if rows else shape)
        preds = _predictions(task, kind, logits, rng, infinite)
        target = _targets(task, full, soft, rng)
        if options.get("ignore_index") is not None and not (soft and task == "multiclass"):
            target = np.where(rng.random(target.shape) < 0.2, options["ignore_index"], target)
        options = {"kind": kind, **options}
    preds = cast(preds, dtype)
    weight = None
    if weighted:
        weight = rng.gamma(1.0, 1.0, full if weights_each and task != "multiclass" else shape if weights_each else n)
        weight[rng.random(weight.shape) < 0.1] = 0.0
        weight[rng.random(weight.shape) < 0.1] = 1.0
    if odd or infinite or dtype.itemsize == 2:  # two +inf in a row, or float16 rows that do not add up to 1
        options["invalid"] = "skip"
    if odd:
        preds[rng.random(full) < 0.02] = np.nan
        if kind == "probs":
            preds[rng.random(full) < 0.02] = 1.5
        if target is not None and not soft:
            target[rng.random(target.shape) < 0.03] = 77
        if weight is not None:
            weight[rng.random(weight.shape) < 0.03] = -1.0
    return Stream(task, preds, target, weight, options)


def _predictions(task, kind, logits, rng, infinite):
    if kind == "logits":
        if infinite:
            logits[rng.random(logits.shape) < 0.05] = -np.inf
            logits[rng.random(logits.shape) < 0.01] = np.inf
        return logits
    with np.errstate(all="ignore"):
        if task == "multiclass":
            p = np.exp(logits - logits.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
        else:
            p = 1 / (1 + np.exp(-logits))
        if infinite and task != "multiclass":
            p[rng.random(p.shape) < 0.05] = 0.0
            p[rng.random(p.shape) < 0.05] = 1.0
        return p if kind == "probs" else np.log(p)


def _targets(task, full, soft, rng):
    if task == "multiclass":
        if not soft:
            return rng.integers(0, full[-1], full[:-1])
        y = rng.gamma(1.0, 1.0, full)
        return y / y.sum(-1, keepdims=True)
    if not soft:
        return rng.integers(0, 2, full)
    y = rng.random(full)
    y[rng.random(full) < 0.2] = 1.0
    return y


@st.composite
def streams(draw, tasks=tuple(METRICS)):
    """Draw streams of up to 150 samples, with every option that changes a loss."""
    task = draw(st.sampled_from(tasks))
    n = draw(st.integers(1, 150))
    some = {"dtype": draw(st.sampled_from(list(DTYPES))), "seed": draw(st.integers(0, 2**32 - 1))}
    for name in ("weighted", "weights_each", "odd", "infinite"):
        some[name] = draw(st.booleans())
    some["inner"] = draw(st.sampled_from([(), (), (3,), (2, 2)]))
    if task == "mean":
        return make(task, n, **some)
    classes = draw(st.sampled_from([2, 3, 7, 33, 70]))
    some |= {"kind": draw(st.sampled_from(KINDS)), "classes": classes, "soft": draw(st.booleans())}
    some["label_smoothing"] = draw(st.sampled_from([0.0, 0.1]))
    some["ignore_index"] = draw(st.sampled_from([None, None, -100, 1]))
    some["eps"] = draw(st.sampled_from([2.0**-52, 0.0]))
    weights = st.lists(st.sampled_from([0.0, 0.3, 1.0, 2.5]), min_size=classes, max_size=classes)
    if task == "binary":
        some["class_weight"] = draw(st.sampled_from([None, (0.3, 2.0)]))
        some["pos_weight"] = draw(st.sampled_from([None, 3.7]))
    elif task == "multilabel":
        some["class_weight"] = draw(st.one_of(st.none(), weights))
        some["pos_weight"] = draw(st.one_of(st.none(), st.just(3.7), weights))
        some["per_label"] = draw(st.booleans())
    else:
        some["class_weight"] = draw(st.one_of(st.none(), weights))
        some["per_class"] = draw(st.booleans()) and not some["soft"]
    if task == "multiclass" and some["soft"] and some["ignore_index"] is not None:
        some["ignore_index"] = None
    return make(task, n, **some)
