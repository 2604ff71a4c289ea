"""Wrappers of any metric: the state of each group, pane and window is that of a metric with only its samples."""

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce

STEP = 60.0


def multiclass(rng, n, **options):
    return ce.MulticlassCrossEntropy(**options), {
        "preds": rng.dirichlet(np.ones(4), n).astype(np.float32 if n % 2 else np.float64),
        "target": rng.integers(0, 4, n),
    }


def soft(rng, n):
    metric, batch = multiclass(rng, n, divergence=True)
    return metric, batch | {"target": rng.dirichlet(np.ones(4), n).astype(batch["preds"].dtype)}


def binary(rng, n, **options):
    preds, target = rng.random(n), rng.integers(0, 2, n)
    return ce.BinaryCrossEntropy(**options), {"preds": preds, "target": target}


def multilabel(rng, n, **options):
    return ce.MultilabelCrossEntropy(**options), {
        "preds": rng.random((n, 3)),
        "target": rng.integers(0, 2, (n, 3)),
    }


def tokens(rng, n, **options):
    return ce.Perplexity(**options), {
        "preds": rng.dirichlet(np.ones(5), (n, 6)),
        "target": rng.integers(0, 5, (n, 6)),
        "lengths": rng.integers(0, 7, n),
        "n_words": rng.integers(0, 4, n),
        "n_bytes": rng.integers(0, 30, n),
    }


def utterances(rng, n):
    return ce.CTCCrossEntropy(layout="BTC", tail=True), {
        "preds": rng.dirichlet(np.ones(4), (n, 5)),
        "target": rng.integers(1, 4, (n, 2)),
        "input_lengths": rng.integers(3, 6, n),
        "target_lengths": rng.integers(0, 3, n),
    }


def skipping(rng, n):
    metric, batch = multiclass(rng, n, invalid="skip", ignore_index=3, per_class=True, calibration=True)
    batch["preds"][rng.random(n) < 0.3] = math.nan
    return metric, batch


def normalized(rng, n):
    return ce.NormalizedEntropy(), binary(rng, n)[1]


def normalized_classes(rng, n):
    return ce.MulticlassNormalizedEntropy(), multiclass(rng, n)[1]


def adversaries(rng, n):
    return ce.GANCrossEntropy(), {"real": rng.random(n), "fake": rng.random(n)}


def pairs(rng, n):
    batch = multiclass(rng, n)[1]
    a = {"preds_a": batch["preds"], "preds_b": rng.dirichlet(np.ones(4), n), "target": batch["target"]}
    return ce.Paired(ce.MulticlassCrossEntropy()), a


def collections(rng, n):
    metrics = {
        "loss": ce.BinaryCrossEntropy(tail=True),
        "calibrated": ce.BinaryCrossEntropy(calibration=True),
        "normalized": ce.NormalizedEntropy(),
    }
    return ce.Collection(metrics), binary(rng, n)[1]


CASES = {
    "plain": binary,
    "per_class": lambda rng, n: multiclass(rng, n, per_class=True),
    "per_label": lambda rng, n: multilabel(rng, n, per_label=True),
    "tail": lambda rng, n: binary(rng, n, tail=True),
    "calibration": lambda rng, n: multiclass(rng, n, calibration=True),
    "divergence": soft,
    "tokens": tokens,
    "positions": lambda rng, n: tokens(rng, n, per_position=True, tail=True),
    "ctc": utterances,
    "skipping": skipping,
    "normalized": normalized,
    "normalized_classes": normalized_classes,
    "gan": adversaries,
    "paired": pairs,
}
NAMES = [*CASES, "collection"]
WITH_CLUSTERS = (
    "plain",
    "per_class",
    "per_label",
    "tail",
    "calibration",
    "divergence",
    "tokens",
    "ctc",
    "normalized",
    "paired",
)


def case(name, seed, n, clusters=False, weights=False):
    """Return an empty metric, and a batch of n samples by argument."""
    rng = np.random.default_rng(seed)
    metric, batch = {**CASES, "collection": collections}[name](rng, n)
    if clusters and name in WITH_CLUSTERS:
        batch["cluster"] = rng.integers(0, 9, n)
    if weights and name not in ("gan",):
        batch["weight"] = rng.random(n)
    return metric, batch


def rows_of(batch, rows):
    return {name: values[rows] for name, values in batch.items()}


def cut(rng, n):
    """Return slices of some batches that make up n samples."""
    ends = sorted({0, n, *rng.integers(0, n + 1, 2).tolist()})
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


def expected(metric, batch, rows):
    new = metric.copy()
    return new.update(**rows_of(batch, rows)) if len(rows) else new


cases = given(st.sampled_from(NAMES), st.integers(0, 1000), st.integers(1, 40), st.booleans(), st.booleans())


@cases
def test_a_group_has_the_state_of_its_samples(name, seed, n, clusters, weights):
    metric, batch = case(name, seed, n, clusters, weights)
    rng = np.random.default_rng(seed + 1)
    by = np.array(["ann", "bob", "cid"])[rng.integers(0, 3, n)]
    grouped = ce.Grouped(metric)
    for rows in cut(rng, n):
        grouped.update(**rows_of(batch, rows), by=by[rows])
    assert list(grouped) == sorted(set(by))
    for key, found in grouped.items():
        assert found == grouped[key] == expected(metric, batch, np.flatnonzero(by == key))
    assert_laws(grouped, batch, lambda: ce.Grouped(metric), lambda rows: {"by": by[rows]})


def assert_laws(wrapper, batch, new, keys):
    """Check addition, subtraction, bytes and copies."""
    n = len(next(iter(batch.values())))
    whole = new().update(**batch, **keys(slice(None)))
    assert wrapper.to_bytes() == whole.to_bytes()
    half = slice(0, n // 2), slice(n // 2, n)
    a, b = (new().update(**rows_of(batch, rows), **keys(rows)) for rows in half)
    assert (a + b).to_bytes() == (b + a).to_bytes() == whole.to_bytes()
    assert (whole - b).to_bytes() == a.to_bytes()
    assert (whole - whole).to_bytes() == new().to_bytes()
    for restored in (ce.from_bytes(whole.to_bytes()), pickle.loads(pickle.dumps(whole)), whole.copy()):
        assert restored.to_bytes() == whole.to_bytes()
        if not isinstance(whole.options["metric"], ce.Collection):  # a collection is restored in the order of its names
            assert repr(restored.compute()) == repr(whole.compute())


@cases
def test_a_window_of_time_has_the_state_of_its_samples(name, seed, n, clusters, weights):
    if name == "collection":
        return
    metric, batch = case(name, seed, n, clusters, weights)
    rng = np.random.default_rng(seed + 1)
    times = STEP * rng.integers(0, 12, n)
    window = ce.Sliding(metric, period=5 * STEP, step=STEP)
    for rows in cut(rng, n):
        window.update(**rows_of(batch, rows), by_time=times[rows])
    inside = np.flatnonzero(times > times.max() - 5 * STEP)
    assert window.window() == expected(metric, batch, inside)
    assert repr(window.compute()) == repr(expected(metric, batch, inside).compute())


@cases
def test_a_window_of_samples_has_the_state_of_the_last_ones(name, seed, n, clusters, weights):
    if name == "collection":
        return
    metric, batch = case(name, seed, n, clusters, weights)
    rng = np.random.default_rng(seed + 1)
    window = ce.Sliding(metric, samples=7)
    for rows in cut(rng, n):
        window.update(**rows_of(batch, rows))
    assert window.window() == expected(metric, batch, np.arange(max(0, n - 7), n))
    assert ce.from_bytes(window.to_bytes()).to_bytes() == window.to_bytes()
    restored = pickle.loads(pickle.dumps(window))
    more = rows_of(batch, np.arange(min(3, n)))
    assert restored.update(**more).to_bytes() == window.update(**more).to_bytes()


@cases
def test_groups_of_windows(name, seed, n, clusters, weights):
    if name == "collection":
        return
    metric, batch = case(name, seed, n, clusters, weights)
    rng = np.random.default_rng(seed + 1)
    times, by = STEP * rng.integers(0, 12, n), rng.integers(0, 3, n)
    new = lambda: ce.Grouped(ce.Sliding(metric, period=5 * STEP, step=STEP))  # noqa: E731
    grouped = new()
    for rows in cut(rng, n):
        grouped.update(**rows_of(batch, rows), by=by[rows], by_time=times[rows])
    for key, window in grouped.items():
        mine = np.flatnonzero(by == key)
        inside = mine[times[mine] > times[mine].max() - 5 * STEP]
        assert window.window() == expected(metric, batch, inside)
    assert ce.from_bytes(grouped.to_bytes()).to_bytes() == grouped.to_bytes()


@cases
def test_decayed_weights_are_those_of_a_weighted_metric(name, seed, n, clusters, weights):
    if name in ("collection", "gan", "tail", "positions", "ctc"):
        return
    metric, batch = case(name, seed, n, clusters, weights)
    rng = np.random.default_rng(seed + 1)
    times = rng.integers(0, 12, n) / 4
    decayed = ce.Decayed(metric, half_life=1.0)
    for rows in cut(rng, n):
        decayed.update(**rows_of(batch, rows), by_time=times[rows])
    newest = math.floor(times.max())
    factor = 2.0 ** (times - newest - 1)
    weighted = batch | {"weight": batch.get("weight", np.ones(n)) * factor}
    oracle = metric.copy().update(**weighted)
    assert_close(decayed.weighted().summary(), oracle.summary())
    assert_close(decayed.compute(), oracle.compute())
    assert_laws(decayed, batch, lambda: ce.Decayed(metric, half_life=1.0), lambda rows: {"by_time": times[rows]})


def assert_close(found, expected):
    if isinstance(found, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)
        return
    found, expected = found.to_dict(), expected.to_dict()
    assert found.keys() == expected.keys()
    for name, value in found.items():
        if isinstance(value, dict):
            assert value.keys() == expected[name].keys()
        elif isinstance(value, (float, list)) and value != expected[name] and "verdict" not in name:
            assert value == pytest.approx(expected[name], rel=1e-6, abs=1e-7, nan_ok=True), name
