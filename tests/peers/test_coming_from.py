"""Every line of docs/COMING_FROM.md on the same data: values are equal or different, as the page says."""

import re
import warnings
from types import SimpleNamespace

import keras
import lm_eval.api.metrics as lm_eval
import numpy as np
import pytest
import river.metrics
import sklearn.metrics
import torch
import torch.nn.functional as F
from paths import DOCS
from torchmetrics.functional import kl_divergence
from torchmetrics.functional.text import perplexity as torchmetrics_perplexity

import streamce as ce

with warnings.catch_warnings():  # importing it warns
    warnings.simplefilter("ignore", DeprecationWarning)
    from torcheval.metrics.functional import binary_normalized_entropy
    from torcheval.metrics.functional.text import perplexity as torcheval_perplexity

PAGE = (DOCS / "COMING_FROM.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (equal|differs)", PAGE, re.MULTILINE)


def softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fed(metric, pairs):
    """Update a metric of river, one sample at a time."""
    for truth, pred in pairs:
        metric.update(truth, pred)
    return metric.get()


def sequences():
    """Return 12 texts of up to 9 tokens from a vocabulary of 10."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(3, 10, 12)
    there = np.arange(9) < lengths[:, None]
    logits, tokens = rng.normal(size=(12, 9, 10)), rng.integers(0, 10, (12, 9))
    log_probs = np.log(softmax(logits.reshape(-1, 10))).reshape(12, 9, 10)
    chosen = np.take_along_axis(log_probs, tokens[..., None], axis=2)[..., 0]
    return {
        "logits": logits, "tokens": np.where(there, tokens, -100), "chosen": chosen[there],
        "loglikelihoods": (chosen * there).sum(axis=1), "offsets": np.append(0, lengths.cumsum()),
        "n_words": rng.integers(1, 9, 12), "n_bytes": rng.integers(9, 40, 12),
    }  # fmt: skip


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
    data |= sequences()
    tensors = {name.upper(): torch.from_numpy(array) for name, array in data.items()}
    tensors["B"] = tensors["B"].double()
    torcheval = SimpleNamespace(binary_normalized_entropy=binary_normalized_entropy, perplexity=torcheval_perplexity)
    helpers = {"fed": fed, "named": lambda p: [dict(enumerate(row)) for row in p.tolist()]}
    torchmetrics = SimpleNamespace(kl_divergence=kl_divergence, perplexity=torchmetrics_perplexity)
    modules = {"F": F, "torch": torch, "torcheval": torcheval, "torchmetrics": torchmetrics, "keras": keras}
    modules |= {"river": river, "sklearn": sklearn, "np": np, "ce": ce, "lm_eval": lm_eval}
    return data | tensors | helpers | modules


NAMES = names()


def test_the_page_has_lines_and_all_are_read():
    assert len(LINES) == len(re.findall(r"^\| `", PAGE, re.MULTILINE)) >= 40


@pytest.mark.parametrize(("theirs", "ours", "verdict"), LINES)
def test_a_line_is_true(theirs, ours, verdict):
    one, other = float(eval(theirs, NAMES)), float(eval(ours, NAMES))
    if verdict == "equal":
        single = theirs.startswith(("torcheval", "keras"))
        assert other == pytest.approx(one, rel=1e-6 if single else 1e-12)
    else:
        assert abs(one - other) > 1e-3 * min(abs(one), abs(other))  # one of them may be infinite
