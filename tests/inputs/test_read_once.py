"""Array-like arguments are read once: the first reading of a changing array counts."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

import streamce as ce

P, T, W = np.array([0.2, 0.3]), np.array([0, 1]), np.array([1.0, 2.0])
ROWS, LABELS = np.full((2, 3, 4), 0.25), np.ones((2, 3), int)
FRAMES = np.full((3, 2, 4), 0.25)


class Turns:
    """An object that is one array at the first reading, and another with other shape and dtype later."""

    def __init__(self, first):
        self.first, self.read = np.asarray(first), 0

    def __array__(self, dtype=None, copy=None):
        self.read += 1
        return self.first if self.read == 1 else np.array(["another"])


UPDATES = {
    "binary": lambda a: ce.BinaryCrossEntropy(tail=True).update(a(P), a(T), weight=a(W), cluster=a(T)),
    "divergence": lambda a: ce.BinaryCrossEntropy(divergence=True).update(a(P), a(P), weight=a(W)),
    "multiclass": lambda a: ce.MulticlassCrossEntropy().update(a(ROWS[0]), a(LABELS[0]), weight=a(ROWS[0, :, 0])),
    "multilabel": lambda a: ce.MultilabelCrossEntropy().update(a(ROWS[0]), a(ROWS[0])),
    "losses": lambda a: ce.MeanLoss().update(a(P), weight=a(W)),
    "multiclass normalized": lambda a: ce.MulticlassNormalizedEntropy().update(a(ROWS[0]), a(LABELS[0])),
    "normalized": lambda a: ce.NormalizedEntropy().update(a(P), a(T), weight=a(W), cluster=T),
    "gan": lambda a: ce.GANCrossEntropy().update(real=a(P), fake=a(P), real_weight=a(W), fake_weight=a(W)),
    "paired": lambda a: ce.Paired(ce.BinaryCrossEntropy()).update(a(P), a(P), a(T), weight=a(W), cluster=a(T)),
    "paired sequences": lambda a: ce.Paired(ce.SequenceCrossEntropy()).update(
        a(ROWS), a(ROWS), a(LABELS), lengths=a([3, 2]), weight=a(W)
    ),
    "sequences": lambda a: ce.SequenceCrossEntropy().update(
        a(ROWS), a(LABELS), lengths=a([3, 2]), mask=a(LABELS), weight=a(W), n_words=a([2, 3]), n_bytes=a([4, 5])
    ),
    "flat": lambda a: ce.Perplexity().update(a(ROWS[0]), a(LABELS[0]), offsets=a([0, 1, 3]), n_words=a([1, 1])),
    "log-probabilities": lambda a: ce.Perplexity().update_token_log_probs(a(-P), offsets=a([0, 1, 2]), weight=a(W)),
    "utterances": lambda a: ce.CTCCrossEntropy().update(
        a(FRAMES), a([[1], [2]]), input_lengths=a([3, 2]), target_lengths=a([1, 1]), weight=a(W), cluster=a(T)
    ),
    "grouped": lambda a: ce.Grouped(ce.BinaryCrossEntropy(), period="1h").update(
        a(P), a(T), weight=a(W), by=a(T), by_time=a(W)
    ),
    "decayed": lambda a: ce.Decayed(ce.BinaryCrossEntropy(), half_life="1h").update(a(P), a(T), by_time=a(W)),
    "sliding": lambda a: ce.Sliding(ce.BinaryCrossEntropy(), period="1h", step="1h").update(a(P), a(T), by_time=a(W)),
    "collection": lambda a: ce.Collection(
        {"a": ce.BinaryCrossEntropy(), "b": ce.NormalizedEntropy(), "c": ce.BinaryCrossEntropy(eps=0.25)}
    ).update(a(P), a(T), weight=a(W)),
    "collection of sequences": lambda a: ce.Collection(
        {"a": ce.SequenceCrossEntropy(), "b": ce.Perplexity(eps=0.5), "c": ce.SequenceCrossEntropy(per="sequence")}
    ).update(a(ROWS), a(LABELS), lengths=a([3, 2]), n_words=a([2, 3])),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates_read_once(name):
    read = []

    def turns(source):
        read.append(Turns(source))
        return read[-1]

    assert UPDATES[name](turns) == UPDATES[name](np.asarray)
    assert {each.read for each in read} == {1}


def test_functions_read_once():
    for function, given in (
        (ce.binary_cross_entropy, (P, P)),
        (ce.cross_entropy, (ROWS[0], LABELS[0])),
        (ce.multilabel_cross_entropy, (ROWS[0], ROWS[0])),
    ):
        weight = given[0].reshape(len(given[0]), -1)[:, 0]
        for options in ({}, {"reduction": "none"}, {"grad": True}, {"grad": True, "out": np.empty_like(given[0])}):
            found = function(*map(Turns, given), weight=Turns(weight), **options)
            expected = function(*given, weight=weight, **options)
            for one, other in (
                zip(np.atleast_1d(found), np.atleast_1d(expected), strict=True)
                if not isinstance(found, tuple)
                else zip(found, expected, strict=True)
            ):
                assert np.array_equal(one, other)
    assert ce.log_loss(Turns(T), Turns(P), sample_weight=Turns(W)) == ce.log_loss(T, P, sample_weight=W)
    for found, expected in zip(ce.shift_by_one(Turns(ROWS), Turns(LABELS)), ce.shift_by_one(ROWS, LABELS), strict=True):
        assert np.array_equal(found, expected)


EMPTY = {
    "a list": [],
    "an array": np.array([], int),
    "an array of real numbers": np.zeros(0),
    "a categorical": pd.Categorical([]),
    "a categorical of text": pd.Categorical(["a"])[:0],
    "a series": pd.Series([], dtype="category"),
    "nullable": pd.array([], dtype="Int64"),
}


@pytest.mark.parametrize("name", EMPTY)
def test_no_utterances_have_no_lengths(name):
    empty, none = EMPTY[name], np.zeros(0, int)
    preds, target = np.zeros((3, 0, 4)), np.zeros((0, 2), int)
    for given in (
        {"input_lengths": empty, "target_lengths": none},
        {"input_lengths": none, "target_lengths": empty},
    ):
        metric = ce.CTCCrossEntropy()
        with pytest.raises(ce.InputError, match="expected an array of integers") if "text" in name else nullcontext():
            metric.update(preds, target, **given)
        assert metric == ce.CTCCrossEntropy()
