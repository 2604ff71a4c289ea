"""Data and metrics of every kind, with the state that one thread computes from them."""

import functools

import numpy as np
import pyarrow as pa

import streamce as ce

ROWS = 600


@functools.cache
def table():
    random = np.random.default_rng(8)
    probs = random.dirichlet(np.ones(4), ROWS)
    missing = random.random(ROWS) < 0.1
    return pa.table(
        {
            "p": random.random(ROWS),
            "with nulls.p": pa.array(random.random(ROWS), mask=missing),
            "y": random.integers(0, 2, ROWS),
            "w": random.random(ROWS),
            "probs": probs.tolist(),
            "label": random.integers(0, 4, ROWS),
            "user": [f"ü{number}" for number in random.integers(0, 20, ROWS)],
            "time": random.random(ROWS) * 1e5,
            "logprobs": [(-random.random(n)).tolist() for n in random.integers(1, 6, ROWS)],
            **{f"q_{i}": probs[:, i].copy() for i in (0, 1, 2, 3)},
        }
    )


def binary(**options):
    return ce.BinaryCrossEntropy(threads=1, **options)


P = {"preds": "p", "target": "y"}
CASES = {
    "binary": (binary(), P),
    "weights and a tail": (binary(tail=True), {**P, "weight": "w"}),
    "nulls": (binary(invalid="skip"), {"preds": "with nulls.p", "target": "y"}),
    "groups by text": (ce.Grouped(binary()), {**P, "by": "user"}),
    "groups by two keys and time": (
        ce.Grouped(binary(), period="1h"),
        {**P, "by": ["user", "label"], "by_time": "time", "weight": "w"},
    ),
    "lists of classes": (ce.MulticlassCrossEntropy(per_class=True), {"preds": "probs", "target": "label"}),
    "columns of classes": (ce.MulticlassCrossEntropy(calibration=True), {"preds": "q_*", "target": "label"}),
    "clusters": (ce.MulticlassCrossEntropy(), {"preds": "probs", "target": "label", "cluster": "user"}),
    "sequences": (ce.SequenceCrossEntropy(kind="log_probs"), {"preds": "logprobs"}),
    "a window of time": (ce.Sliding(binary(), period="4h", step="1h"), {**P, "by_time": "time"}),
    "a collection": (
        ce.Collection({"all": binary(tail=True), "by user": ce.Grouped(binary())}),
        {**P, "by": "user", "weight": "w"},
    ),
}


@functools.cache
def expected(name):
    """Return the bytes of the state after one update with all rows."""
    metric, columns = CASES[name]
    return metric.copy().update_from(table(), **columns).to_bytes()
