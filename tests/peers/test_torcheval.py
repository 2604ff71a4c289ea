"""Normalized entropy equals that of torcheval."""

import warnings

import numpy as np
import pytest
import torch

import streamce as ce

with warnings.catch_warnings():  # importing it warns
    warnings.simplefilter("ignore", DeprecationWarning)
    from torcheval.metrics import BinaryNormalizedEntropy


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_normalized_entropy_is_torchevals(kind, weighted):
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, 3000)
    target = (rng.random(3000) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    preds = logits if kind == "logits" else 1 / (1 + np.exp(-logits))
    weight = rng.gamma(1.0, 1.0, 3000) if weighted else None
    ours, theirs = ce.NormalizedEntropy(kind=kind), BinaryNormalizedEntropy(from_logits=kind == "logits")
    for rows in (slice(0, 1000), slice(1000, 1001), slice(1001, 3000)):
        more = {} if weight is None else {"weight": weight[rows]}
        ours.update(preds[rows], target[rows].astype(int), **more)
        tensors = {name: torch.from_numpy(array) for name, array in more.items()}
        theirs.update(torch.from_numpy(preds[rows]), torch.from_numpy(target[rows]), **tensors)
    assert ours.compute() == pytest.approx(theirs.compute().item(), rel=1e-9)
