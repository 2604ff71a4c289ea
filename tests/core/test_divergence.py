"""With soft targets, cross-entropy is their entropy plus a divergence."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import times
from streams import DTYPES, KINDS
from utterances import from_logits

import streamce as ce

METRICS = {
    "binary": ce.BinaryCrossEntropy,
    "multiclass": ce.MulticlassCrossEntropy,
    "multilabel": ce.MultilabelCrossEntropy,
}


def entropy(*shares):
    return -sum((times(mpmath.mpf(float(q)), mpmath.log(float(q)) if q else 0) for q in shares), mpmath.mpf(0))


def soft(task, n, seed, dtype=np.float64, *, kind="probs"):
    """Return predictions and soft targets, some of which are 0 or 1."""
    rng = np.random.default_rng(seed)
    if task == "multiclass":
        target = rng.dirichlet(np.full(4, 0.5), n)
        target[::5] = np.eye(4)[rng.integers(0, 4, len(target[::5]))]
        return from_logits(kind, rng.normal(size=(n, 4))).astype(dtype), target.astype(dtype)
    target = rng.random((n, 3) if task == "multilabel" else n)
    target[::5] = np.round(target[::5])
    preds = rng.normal(size=target.shape)
    if kind != "logits":
        preds = 1 / (1 + np.exp(-preds))
    return (np.log(preds) if kind == "log_probs" else preds).astype(dtype), target.astype(dtype)


TASKS = pytest.mark.parametrize("task", METRICS)


@TASKS
@given(
    seed=st.integers(0, 99), kind=st.sampled_from(KINDS), dtype=st.sampled_from(list(DTYPES)), weighted=st.booleans()
)
def test_the_mean_is_entropy_and_divergence(task, seed, kind, dtype, weighted):
    preds, target = soft(task, 40, seed, DTYPES[dtype], kind=kind)
    weight = np.random.default_rng(seed).gamma(1.0, 1.0, 40) if weighted else np.ones(40)
    metric = METRICS[task](kind=kind, divergence=True).update(preds, target, weight=weight if weighted else None)
    shares = np.asarray(target, dtype=np.float64)
    if task == "multiclass":
        each = [entropy(*row) for row in shares]
        d = weight * shares.sum(axis=1)
    else:
        each = [sum(entropy(y, 1 - y) for y in np.atleast_1d(row)) for row in shares]
        d = weight * (3 if task == "multilabel" else 1)
    expected = float(sum(mpmath.mpf(w) * h for w, h in zip(weight, each, strict=True)) / sum(map(mpmath.mpf, d)))
    found = metric.summary()
    assert found.entropy == pytest.approx(expected, rel=1e-13 if dtype == "float64" else 1e-6)
    assert found.entropy + found.divergence == pytest.approx(found.mean, rel=1e-14)
    assert found.mean == METRICS[task](kind=kind).update(preds, target, weight=weight).compute()


@TASKS
def test_the_interval_is_that_of_the_differences(task):
    preds, target = soft(task, 300, 1)
    metric = METRICS[task](divergence=True).update(preds, target, cluster=np.arange(300) % 37)
    loss = {
        "binary": ce.binary_cross_entropy, "multiclass": ce.cross_entropy, "multilabel": ce.multilabel_cross_entropy
    }[task]  # fmt: skip
    excess = loss(preds, target, reduction="none") - loss(target, target, reduction="none", eps=0)
    plain = ce.MeanLoss().update(excess, cluster=np.arange(300) % 37).summary()
    assert metric.summary().divergence == pytest.approx(plain.mean, rel=1e-12)
    assert metric.summary().divergence_interval == pytest.approx(plain.interval, rel=1e-9)


@TASKS
@given(data=st.data())
def test_the_state_does_not_depend_on_cuts_and_can_be_undone(task, data):
    preds, target = soft(task, 30, data.draw(st.integers(0, 9)))
    if task != "multiclass":
        target[3::7] = -1.0
    preds[5::11] = np.nan
    options = {"divergence": True, "invalid": "skip"} | ({} if task == "multiclass" else {"ignore_index": -1})
    a, b = sorted(data.draw(st.tuples(st.integers(0, 30), st.integers(0, 30))))
    whole = METRICS[task](**options).update(preds, target)
    parts = [METRICS[task](**options).update(preds[s], target[s]) for s in (np.s_[:a], np.s_[a:b], np.s_[b:])]
    assert sum(parts).to_bytes() == whole.to_bytes()
    assert (whole - parts[1]).to_bytes() == (parts[2] + parts[0]).to_bytes()
    assert (whole - whole).to_bytes() == METRICS[task](**options).to_bytes()
    assert ce.from_bytes(whole.to_bytes()) == whole
    assert (
        whole.summary().count == METRICS[task](**options | {"divergence": False}).update(preds, target).summary().count
    )


@TASKS
def test_labels_have_no_entropy(task):
    rng = np.random.default_rng(2)
    preds, target = soft(task, 50, 2)
    labels = rng.integers(0, 4, 50) if task == "multiclass" else rng.integers(0, 2, target.shape)
    found = METRICS[task](divergence=True).update(preds, labels).summary()
    assert found.entropy == 0
    assert found.divergence == found.mean
    assert found.divergence_interval == found.interval


def test_one_hot_integers_have_no_entropy():
    found = ce.MulticlassCrossEntropy(divergence=True).update([[0.5, 0.5]], np.array([[0, 1]])).summary()
    assert (found.entropy, found.divergence) == (0, math.log(2))


def test_an_infinite_loss_is_an_infinite_divergence():
    metric = ce.MulticlassCrossEntropy(divergence=True, eps=0)
    found = metric.update([[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]).summary()
    assert found.mean == found.divergence == math.inf
    assert math.isnan(found.entropy)


def test_perfect_predictions_have_no_divergence():
    _, target = soft("multiclass", 100, 3)
    found = ce.MulticlassCrossEntropy(divergence=True, eps=0).update(target, target).summary()
    assert found.divergence == 0
    assert found.entropy == found.mean


def test_the_table_shows_the_parts():
    preds, target = soft("multiclass", 100, 4)
    shown = str(ce.MulticlassCrossEntropy(divergence=True).update(preds, target).summary())
    assert "entropy         0." in shown
    assert "divergence      1." in shown
    assert "divergence" not in str(ce.MulticlassCrossEntropy().update(preds, target).summary())


@TASKS
def test_bad_input_leaves_the_state_alone(task):
    preds, target = soft(task, 20, 5)
    metric = METRICS[task](divergence=True).update(preds, target)
    before = metric.to_bytes()
    target[7] = 1.5
    with pytest.raises(ce.InputError, match="target"):
        metric.update(preds, target)
    assert metric.to_bytes() == before


@TASKS
def test_options_that_do_not_go_together(task):
    with pytest.raises(ce.InputError, match="divergence is True, and labels are smoothed"):
        METRICS[task](divergence=True, label_smoothing=0.1)
    with pytest.raises(ce.InputError, match="divergence"):
        METRICS[task](divergence=True) + METRICS[task]()
