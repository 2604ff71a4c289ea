"""Every line of docs/COMING_FROM.md, on the same data: equal where it says so, and different where it says that."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import river.metrics
import sklearn.metrics
import torch
import torch.nn.functional as F
import torchmetrics.functional

import streamce as ce

with warnings.catch_warnings():  # of what it does on import
    warnings.simplefilter("ignore", DeprecationWarning)
    from torcheval.metrics.functional import binary_normalized_entropy

PAGE = (Path(__file__).parents[2] / "docs" / "COMING_FROM.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (equal|differs)", PAGE, re.MULTILINE)


def softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fed(metric, pairs):
    """A metric of river's, one sample at a time."""
    for truth, pred in pairs:
        metric.update(truth, pred)
    return metric.get()


def names():
    rng = np.random.default_rng(0)
    n, classes = 500, 4
    x, z = 2 * rng.normal(size=(n, classes)), 2 * rng.normal(size=n)
    data = {
        "x": x, "p": softmax(x), "y": rng.integers(0, classes, n), "q": softmax(rng.normal(size=(n, classes))),
        "v": np.array([0.5, 1.0, 2.0, 0.25]), "s": rng.gamma(2.0, 1.0, n),
        "z": z, "r": 1 / (1 + np.exp(-z)), "b": (rng.random(n) < 0.4).astype(int),
        "e": np.log(softmax(2 * rng.normal(size=(30, 8, 6)).reshape(-1, 6))).reshape(30, 8, 6),
        "t": rng.integers(1, 6, (8, 9)), "frames": rng.integers(20, 31, 8), "labels": rng.integers(1, 10, 8),
    }  # fmt: skip
    tensors = {name.upper(): torch.from_numpy(array) for name, array in data.items()}
    tensors["B"] = tensors["B"].double()
    torcheval = SimpleNamespace(binary_normalized_entropy=binary_normalized_entropy)
    helpers = {"fed": fed, "named": lambda p: [dict(enumerate(row)) for row in p.tolist()]}
    modules = {"F": F, "torch": torch, "torcheval": torcheval, "torchmetrics": torchmetrics.functional, "keras": keras}
    modules |= {"river": river, "sklearn": sklearn, "np": np, "ce": ce}
    return data | tensors | helpers | modules


NAMES = names()


def test_the_page_has_lines_and_all_are_read():
    assert len(LINES) == len(re.findall(r"^\| `", PAGE, re.MULTILINE)) >= 25


@pytest.mark.parametrize(("theirs", "ours", "verdict"), LINES)
def test_a_line_is_true(theirs, ours, verdict):
    one, other = float(eval(theirs, NAMES)), float(eval(ours, NAMES))
    if verdict == "equal":
        single = theirs.startswith(("torcheval", "keras"))
        assert other == pytest.approx(one, rel=1e-6 if single else 1e-12)
    else:
        assert abs(one - other) > 1e-3 * abs(one)
