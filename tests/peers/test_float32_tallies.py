"""Tallies in float32 stop at 2^24, as docs/LOSS_PARITY.md says. torchmetrics keeps such tallies."""

import math

import pytest
import torch
import torchmetrics
from paths import ROOT

import streamce as ce

FULL = 2**24
PAGE = (ROOT / "docs/LOSS_PARITY.md").read_text(encoding="utf-8")


def test_perplexity_counts_no_token_beyond_2_to_the_24():
    peer, exact = torchmetrics.text.Perplexity(), ce.Perplexity(kind="logits")
    many = torch.tensor([0.5, 0.0]).expand(1, FULL // 4, 2), torch.zeros(1, FULL // 4, dtype=torch.long)
    one = torch.tensor([[[0.0, 3.0]]]), torch.zeros(1, 1, dtype=torch.long)
    for _ in range(4):
        peer.update(*many)
        exact.update(*many)
    assert peer.compute().item() == pytest.approx(exact.compute(), rel=1e-3)
    before = peer.total_log_probs.item()
    for _ in range(2000):
        peer.update(*one)
        exact.update(*one)
    assert (int(peer.count), exact.summary().count) == (FULL, FULL + 2000)
    assert f"| torchmetrics | {int(peer.count):,} |" in PAGE
    assert f"| exact | {exact.summary().count:,} |" in PAGE
    of_each = math.log1p(math.exp(3))
    assert peer.total_log_probs.item() - before != pytest.approx(2000 * of_each, rel=1e-3)
