"""Sequences agree with torch, torchmetrics, torcheval and lm-evaluation-harness. Names of tests say where not."""

import math
import warnings

import lm_eval.api.metrics as lm_eval
import numpy as np
import pytest
import torch
from corpus import Corpus
from torch.nn import functional
from torchmetrics.functional.text import perplexity as torchmetrics_perplexity
from torchmetrics.text import Perplexity as TorchmetricsPerplexity

import streamce as ce

with warnings.catch_warnings():  # importing it warns
    warnings.simplefilter("ignore", DeprecationWarning)
    from torcheval.metrics import Perplexity as TorchevalPerplexity
    from torcheval.metrics.functional.text import perplexity as torcheval_perplexity

SEQUENCES, VOCABULARY = 60, 50
CORPUS = Corpus(31, SEQUENCES, vocabulary=VOCABULARY, longest=20)
EVERY = np.arange(SEQUENCES)
LOGITS = CORPUS.padded(CORPUS.preds, EVERY, 20, 0.0)
TOKENS = CORPUS.padded(CORPUS.target, EVERY, 20, -100)  # padding and ignored tokens have the same value
X, Y = torch.from_numpy(LOGITS), torch.from_numpy(TOKENS)


def close(found, theirs, rel=1e-12):
    assert found == pytest.approx(float(theirs), rel=rel)


# ---- torch ----


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("class_weight", [None, np.linspace(0.1, 3, VOCABULARY)], ids=["", "class weights"])
def test_the_mean_is_torchs_of_flattened_logits(label_smoothing, class_weight):
    weight = None if class_weight is None else torch.from_numpy(class_weight)
    theirs = functional.cross_entropy(
        X.flatten(0, 1), Y.flatten(), weight=weight, ignore_index=-100, label_smoothing=label_smoothing
    )
    options = {"kind": "logits", "class_weight": class_weight, "label_smoothing": label_smoothing}
    close(ce.SequenceCrossEntropy(**options).update(LOGITS, TOKENS).compute(), theirs)
    close(CORPUS.add_to(ce.SequenceCrossEntropy(**options), flat=True).compute(), theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_every_dtype(dtype):
    logits = X.to(dtype)
    theirs = functional.cross_entropy(logits.double().flatten(0, 1), Y.flatten(), ignore_index=-100)
    close(ce.SequenceCrossEntropy(kind="logits").update(logits, Y).compute(), theirs, rel=5e-7)


@pytest.mark.parametrize("ignore_index", [0, 3, -1, -100])
def test_any_token_may_be_the_padding(ignore_index):
    tokens = np.where(TOKENS == -100, ignore_index, TOKENS)
    theirs = functional.cross_entropy(X.flatten(0, 1), torch.from_numpy(tokens).flatten(), ignore_index=ignore_index)
    close(ce.SequenceCrossEntropy(kind="logits", ignore_index=ignore_index).update(LOGITS, tokens).compute(), theirs)


@pytest.mark.parametrize("kind", ["mask", "lengths"])
def test_a_mask_and_lengths_are_losses_multiplied_and_divided_by_it(kind):
    lengths = torch.from_numpy(CORPUS.lengths)
    mask = torch.arange(20) < lengths[:, None]
    tokens = Y.clamp(min=0)
    each = functional.cross_entropy(X.flatten(0, 1), tokens.flatten(), reduction="none").view(SEQUENCES, 20)
    how = {"mask": mask} if kind == "mask" else {"lengths": lengths}
    metric = ce.SequenceCrossEntropy(kind="logits").update(X, tokens, **how)
    close(metric.compute(), (each * mask).sum() / mask.sum())
    metric = ce.SequenceCrossEntropy(kind="logits", per="sequence").update(X, tokens, **how)
    close(metric.compute(), (each * mask).sum(dim=1).mean())


def test_a_causal_model_is_shifted_as_transformers_shifts_it():
    """ForCausalLMLoss of transformers shifts labels by one and pads them with -100. Its older form cuts both."""
    moved = functional.pad(Y, (0, 1), value=-100)[..., 1:]
    theirs = functional.cross_entropy(X.reshape(-1, VOCABULARY), moved.reshape(-1), ignore_index=-100)
    cut = functional.cross_entropy(
        X[..., :-1, :].reshape(-1, VOCABULARY), Y[..., 1:].reshape(-1), ignore_index=-100, reduction="sum"
    )
    for tensors in ((X, Y), (LOGITS, TOKENS)):
        metric = ce.SequenceCrossEntropy(kind="logits").update(*ce.shift_by_one(*tensors))
        close(metric.compute(), theirs)
        close(metric.summary().total, cut)


def test_a_mean_of_batch_means_is_not_the_mean_of_tokens():
    """The mean of batch means, as of a training loop, depends on the batches. The mean of tokens does not."""

    def of_batches(size):
        parts = zip(X.split(size), Y.split(size), strict=True)
        means = [functional.cross_entropy(x.flatten(0, 1), y.flatten(), ignore_index=-100) for x, y in parts]
        metric = ce.SequenceCrossEntropy(kind="logits")
        for x, y in zip(X.split(size), Y.split(size), strict=True):
            metric.update(x, y)
        return torch.stack(means).nanmean().item(), metric.compute()

    theirs, ours = zip(*map(of_batches, (1, 7, SEQUENCES)), strict=True)
    assert len(set(ours)) == 1
    close(ours[0], theirs[-1])
    assert len({round(mean, 3) for mean in theirs}) == 3


# ---- torchmetrics and torcheval ----


@pytest.mark.parametrize("ignore_index", [0, 7, -100])
@pytest.mark.parametrize("theirs", [torchmetrics_perplexity, torcheval_perplexity])
def test_perplexity_is_theirs_in_float64(theirs, ignore_index):
    tokens = np.where(TOKENS == -100, ignore_index, TOKENS)
    metric = ce.Perplexity(kind="logits", ignore_index=ignore_index).update(LOGITS, tokens)
    close(metric.compute(), theirs(X, torch.from_numpy(tokens), ignore_index=ignore_index))


@pytest.mark.parametrize("theirs", [TorchmetricsPerplexity, TorchevalPerplexity])
def test_perplexity_of_batches_is_theirs_in_float32(theirs):
    metric, other = ce.Perplexity(kind="logits"), theirs(ignore_index=-100)
    for x, y in zip(X.float().split(7), Y.split(7), strict=True):
        metric.update(x, y)
        other.update(x, y)
    close(metric.compute(), other.compute(), rel=1e-5)


@pytest.mark.parametrize("theirs", [torchmetrics_perplexity, torcheval_perplexity])
def test_theirs_is_infinite_where_a_softmax_underflows_and_ours_is_not(theirs):
    logits, token = torch.tensor([[[0.0, 200.0]]]), torch.tensor([[0]])
    assert theirs(logits, token) == math.inf
    close(ce.Perplexity(kind="logits").update(logits, token).compute(), math.exp(200))


def test_torchmetrics_takes_a_negative_token_for_one_from_the_end_and_ours_raises():
    last = torch.full((2, 3), VOCABULARY - 1)
    wrapped = torchmetrics_perplexity(X[:2, :3], torch.full((2, 3), -1))
    assert wrapped == torchmetrics_perplexity(X[:2, :3], last)
    with pytest.raises(ce.InputError, match=r"target\[0, 0\] is -1"):
        ce.Perplexity(kind="logits").update(X[:2, :3], torch.full((2, 3), -1))


def test_torcheval_fails_for_a_batch_of_padding_and_ours_counts_it():
    padding = torch.full((2, 3), -100)
    with pytest.raises(RuntimeError):
        torcheval_perplexity(X[:2, :3], padding, ignore_index=-100)
    summary = ce.Perplexity(kind="logits").update(X[:2, :3], padding).summary()
    assert (summary.count, summary.ignored) == (0, 6)


# ---- lm-evaluation-harness ----


def chosen():
    """Return log-probabilities of tokens only, flat and some below eps, and log p of each document."""
    logs = torch.from_numpy(CORPUS.preds).log_softmax(-1).numpy()
    tokens = logs[np.arange(len(logs)), np.maximum(CORPUS.target, 0)]
    return tokens, np.add.reduceat(tokens, CORPUS.offsets[:-1])


def test_per_word_and_per_byte_are_lm_evaluation_harness():
    tokens, documents = chosen()
    words, size = CORPUS.words + 1, CORPUS.bytes
    metric = ce.Perplexity(eps=0).update_token_log_probs(tokens, offsets=CORPUS.offsets, n_words=words, n_bytes=size)
    close(metric.per_word().value, lm_eval.weighted_perplexity(list(zip(documents, words, strict=True))))
    close(metric.per_byte().value, lm_eval.weighted_perplexity(list(zip(documents, size, strict=True))))
    close(metric.per_byte().bits, lm_eval.bits_per_byte(list(zip(documents, size, strict=True))))


def test_lm_evaluation_harness_has_no_floor_and_ours_is_counted():
    tokens, documents = chosen()
    floored = ce.Perplexity().update_token_log_probs(tokens, offsets=CORPUS.offsets, n_bytes=CORPUS.bytes)
    assert floored.summary().floored == (tokens < -52 * math.log(2)).sum() > 0
    assert floored.per_byte().bits < lm_eval.bits_per_byte(list(zip(documents, CORPUS.bytes, strict=True)))


def test_per_sequence_is_lm_evaluation_harness_with_its_error():
    """Its `perplexity` is that of whole texts. It has a standard error of `mean`, but none per word or per byte."""
    tokens, documents = chosen()
    metric = ce.SequenceCrossEntropy(per="sequence", eps=0).update_token_log_probs(tokens, offsets=CORPUS.offsets)
    close(metric.compute(), -lm_eval.mean(documents))
    close(metric.summary().perplexity, lm_eval.perplexity(documents))
    close(metric.summary().stderr, lm_eval.mean_stderr(documents))
    assert lm_eval.stderr_for_metric(lm_eval.weighted_perplexity, 1000) is None
    assert lm_eval.stderr_for_metric(lm_eval.bits_per_byte, 1000) is None


def test_errors_per_byte_are_those_of_a_bootstrap_of_documents():
    rng = np.random.default_rng(7)
    many = Corpus(8, 2000, vocabulary=5, ignored=False)
    each = many.losses()
    losses = np.add.reduceat(each, many.offsets[:-1])
    drawn = rng.integers(0, 2000, (2000, 2000))
    ratios = losses[drawn].sum(axis=1) / many.bytes[drawn].sum(axis=1)
    metric = ce.SequenceCrossEntropy(kind="logits").update(
        many.preds, many.target, offsets=many.offsets, n_bytes=many.bytes
    )
    close(metric.per_byte().stderr, ratios.std(), rel=0.06)
