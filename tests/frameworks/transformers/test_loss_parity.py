"""Each wrong number of docs/LOSS_PARITY.md that the Trainer logs, next to the exact one."""

import itertools
import json
import math

import pytest
import torch
from paths import ROOT
from trainer_cases import BATCH_SIZES, MODELS, evaluate, items, sequence_metric, tokens

SEQUENCES = tokens()
PAGE = (ROOT / "docs/LOSS_PARITY.md").read_text(encoding="utf-8")


def logged(model, size):
    return evaluate(model, items(SEQUENCES), sequence_metric(), per_device_eval_batch_size=size)[0]


@pytest.mark.parametrize("size", BATCH_SIZES)
def test_a_mean_of_batch_means(size):
    found = logged(MODELS["look_up"](), size)
    assert f"| {size} | {found['eval_loss']:.5f} | {found['eval_exact_loss']:.5f} |" in PAGE


@pytest.mark.parametrize("size", [1, 203])
def test_gpt2_counts_tokens_before_the_shift(size):
    """Its ``loss_type`` is None, so the Trainer divides by all labels, and the first of a sequence has no loss."""
    model = MODELS["gpt2"]()
    assert model.loss_type is None
    found = logged(model, size)
    assert f"| GPT-2 | {size} | {found['eval_loss']:.4f} | {found['eval_exact_loss']:.4f} |" in PAGE
    if size == 203:
        labels = sum(map(len, SEQUENCES))
        assert found["eval_loss"] == pytest.approx(found["eval_exact_loss"] * (labels - 203) / labels, rel=1e-5)


@pytest.mark.parametrize("size", BATCH_SIZES[:-1])
def test_batches_with_an_infinite_loss_are_dropped(size):
    model, previous, token = MODELS["look_up"](), *impossible()
    with torch.no_grad():
        model.table.weight[previous, token] = -torch.inf
    found = logged(model, size)
    assert f"| {size} | {found['eval_loss']:.5f} | inf, 1 infinite loss |" in PAGE
    assert (found["eval_exact_loss"], found["eval_exact_infinite"]) == (math.inf, 1)


def impossible():
    """Return the first pair of tokens that occurs once."""
    pairs = [pair for ids in SEQUENCES for pair in itertools.pairwise(ids)]
    return next(pair for pair in pairs if pairs.count(pair) == 1)


def test_two_ranks_double_the_mean_of_a_classifier(job):
    """The Trainer multiplies by the number of ranks, because the model could have divided by the items of all."""
    found = json.loads(job["classifier rank 0.json"])
    assert found["eval_loss"] == pytest.approx(2 * found["eval_exact_loss"], rel=1e-5)
    assert f"| BERT, 3 classes | 2 | {found['eval_loss']:.4f} | {found['eval_exact_loss']:.4f} |" in PAGE


def test_seq2seq_trainer_counts_samples_twice(job):
    """The last batch of two ranks has 11 samples, and 21 more that fill it up."""
    found = json.loads(job["seq2seq rank 0.json"])
    alone = json.loads(job["look_up 16 rank 0.json"])
    assert found["eval_exact_samples"] == 203
    assert found["eval_loss"] != pytest.approx(alone["eval_loss"], rel=1e-3)
    for name, each in (("Trainer", alone), ("Seq2SeqTrainer", found)):
        assert f"| {name} | {each['eval_loss']:.5f} | {each['eval_exact_loss']:.5f} |" in PAGE
