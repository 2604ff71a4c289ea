"""Wrappers of any metric: the state of each group, pane and window is that of a metric with only its samples."""

import itertools
import math
import pickle
import signal
import threading

import numpy as np
import pyarrow as pa
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


def pairs_of(make):
    """Return a function that makes pairs of a metric: the predictions of B are those of another seed."""

    def case(rng, n):
        metric, batch = make(rng, n)
        other = np.roll(batch["preds"], 1, axis=0)
        return ce.Paired(metric), {"preds_a": batch.pop("preds"), "preds_b": other, **batch}

    return case


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
    "paired_classes": pairs_of(lambda rng, n: multiclass(rng, n, per_class=True, tail=True, calibration=True)),
    "paired_labels": pairs_of(lambda rng, n: multilabel(rng, n, per_label=True)),
    "paired_soft": pairs_of(soft),
    "paired_skipping": pairs_of(skipping),
    "paired_tokens": pairs_of(tokens),
    "paired_positions": pairs_of(lambda rng, n: tokens(rng, n, per_position=True)),
    "paired_ctc": pairs_of(utterances),
    "paired_normalized": pairs_of(normalized),
    "paired_normalized_classes": pairs_of(normalized_classes),
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
    "paired_classes",
    "paired_labels",
    "paired_tokens",
    "paired_normalized",
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
    if name in ("collection", "gan", "tail", "positions", "ctc", "paired_classes", "paired_ctc"):
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


# ---- compositions ----


def test_groups_of_decayed_comparisons():
    rng = np.random.default_rng(1)
    a, b, y = rng.random(60), rng.random(60), rng.integers(0, 2, 60)
    by, times = rng.integers(0, 3, 60), rng.integers(0, 5, 60) * 0.5
    new = ce.Decayed(ce.Paired(ce.BinaryCrossEntropy()), half_life=1.0)
    grouped = ce.Grouped(new).update(a, b, y, by=by, by_time=times)
    for key, found in grouped.items():
        mine = by == key
        assert found == new.copy().update(a[mine], b[mine], y[mine], by_time=times[mine])
    assert set(grouped.summary()) == {0, 1, 2}
    assert ce.from_bytes(grouped.to_bytes()) == grouped


def test_groups_of_a_collection_of_windows():
    metrics = {
        "all": ce.BinaryCrossEntropy(),
        "hour": ce.Sliding(ce.NormalizedEntropy(), period="1h", step="10min"),
        "recent": ce.Decayed(ce.BinaryCrossEntropy(), half_life="1h"),
    }
    p, y = np.array([0.5, 0.25, 0.75, 0.5]), np.array([1, 0, 1, 0])
    by, times = np.array(["a", "b", "a", "a"]), np.array([0.0, 1.0, 600.0, 7200.0])
    grouped = ce.Grouped(ce.Collection(metrics)).update(p, y, by=by, by_time=times)
    for key, found in grouped.items():
        mine = by == key
        assert found == ce.Collection(metrics).update(p[mine], y[mine], by_time=times[mine])
    assert ce.from_bytes(grouped.to_bytes()).to_bytes() == grouped.to_bytes()


def test_one_time_serves_every_layer_that_takes_it():
    grouped = ce.Grouped(ce.Sliding(ce.MeanLoss(), period="2h", step="1h"), period="1d")
    grouped.update([1.0, 2.0, 4.0], by_time=[0.0, 3600.0, 90_000.0])
    assert list(grouped.compute().values()) == [1.5, 4.0]


def test_token_log_probs_by_group():
    log_probs = [[-1.0, -3.0], [-1.0, -1.0], [-0.5, -0.5]]
    grouped = ce.Grouped(ce.SequenceCrossEntropy())
    grouped.update_token_log_probs(log_probs, by=["maths", "law", "law"], n_bytes=[4, 2, 2], base=2)
    expected = ce.SequenceCrossEntropy().update_token_log_probs(log_probs[1:], n_bytes=[2, 2], base=2)
    assert grouped["law"] == expected
    assert grouped["law"].per_byte().mean == expected.per_byte().mean
    window = ce.Sliding(ce.Perplexity(), samples=2).update_token_log_probs(log_probs)
    assert window.window() == ce.Perplexity().update_token_log_probs(log_probs[1:])
    with pytest.raises(ce.InputError, match=r"^log_probs is given to a MeanLoss: expected a metric of sequences"):
        ce.Grouped(ce.MeanLoss()).update_token_log_probs(log_probs, by=[1, 2, 3])


def test_a_state_of_a_mean_has_the_same_bytes_whatever_the_other_groups_hold():
    plain = ce.Grouped(ce.Perplexity()).update_token_log_probs([[-1.0]], by=["a"])
    text = ce.Grouped(ce.Perplexity()).update_token_log_probs([[-2.0]], by=["b"], n_words=[1])
    both = plain + text
    assert not both._state.is_compact
    assert both - text == plain
    assert (both - text).to_bytes() == plain.to_bytes()
    assert (plain + text).to_bytes() == (text + plain).to_bytes()
    assert both["a"] == plain["a"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ce.Paired(ce.Paired(ce.MeanLoss())), r"Paired cannot hold: expected Paired\(metric\)"),
        (lambda: ce.Sliding(SLIDING, period=2, step=1), "which Sliding cannot hold: expected one Sliding"),
        (lambda: ce.Decayed(SLIDING, half_life=1), "is a Sliding, which Decayed cannot hold: expected one of"),
        (lambda: ce.Paired(SLIDING), r"is a Sliding.*: expected Sliding\(Paired\(metric\), ...\)"),
        (lambda: ce.Grouped(ce.Grouped(ce.MeanLoss())), r"expected several keys, by=\(first, second\)"),
        (lambda: ce.Sliding(ce.Grouped(ce.MeanLoss()), samples=2), r"expected Grouped\(Sliding\(metric\)\)"),
        (lambda: ce.Sliding(ce.Collection({"a": ce.MeanLoss()}), samples=2), "a Collection of Sliding metrics"),
        (lambda: ce.Grouped(ce.Sliding(ce.MeanLoss(), samples=2)), "is a window of samples, and such windows"),
        (lambda: ce.Paired(ce.GANCrossEntropy()), "is a GANCrossEntropy: expected a metric of predictions and targ"),
        (lambda: ce.Decayed(ce.MeanLoss, half_life=1), "is <class .*: expected a metric such as"),
        (lambda: ce.Decayed(ce.BinaryCrossEntropy(tail=True), half_life=1), "has tail=True, which counts losses"),
        (lambda: ce.Decayed(ce.Paired(ce.BinaryCrossEntropy(tail=True)), half_life=1), "has tail=True, which counts"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_an_error_that_says_what_to_use(make, message):
    with pytest.raises(ce.InputError, match=f"^metric .*{message}"):
        make()


SLIDING = ce.Sliding(ce.MeanLoss(), period=2, step=1)


def test_states_of_different_compositions_do_not_add():
    a = ce.Grouped(ce.Paired(ce.MeanLoss()))
    b = ce.Grouped(ce.MeanLoss())
    with pytest.raises(ce.InputError, match="a Paired and a MeanLoss cannot be added"):
        _ = a + b
    with pytest.raises(ce.InputError, match="half_life is"):
        _ = ce.Grouped(ce.Decayed(ce.MeanLoss(), half_life=1)) + ce.Grouped(ce.Decayed(ce.MeanLoss(), half_life=2))


@pytest.mark.parametrize("name", NAMES)
def test_an_invalid_batch_changes_nothing(name):
    metric, batch = case(name, 0, 12)
    by = np.arange(12) % 3
    grouped = ce.Grouped(metric).update(**batch, by=by)
    before = grouped.to_bytes()
    for wrong in (by[1:], by.astype(str)):
        with pytest.raises(ce.InputError, match=r"^by"):
            grouped.update(**batch, by=wrong)
    if "skipping" not in name:
        preds = "real" if name == "gan" else "preds_b" if "paired" in name else "preds"
        broken = batch[preds].copy()
        broken[-1] = 7.0
        with pytest.raises(ce.InputError, match=rf"^{preds}\[11"):
            grouped.update(**{**batch, preds: broken}, by=by)
    assert grouped.to_bytes() == before


def test_clusters_are_given_in_all_updates_of_a_group_or_in_none():
    grouped = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0], by=[1, 2], cluster=[1, 2])
    before = grouped.to_bytes()
    with pytest.raises(ce.InputError, match="cluster"):
        grouped.update([3.0, 4.0], by=[3, 1])
    assert grouped.to_bytes() == before
    window = ce.Sliding(ce.MeanLoss(), samples=3).update([1.0])
    with pytest.raises(ce.InputError, match="samples are in the window already"):
        window.update([2.0], cluster=[1])


def test_clusters_are_given_for_all_keys_or_for_none():
    window = ce.Sliding(ce.MeanLoss(), period=3600, step=60).update([1.0], cluster=[1], by_time=[0])
    before = window.to_bytes()
    with pytest.raises(ce.InputError, match="cluster is missing, but was given in earlier updates"):
        window.update([1.0], by_time=[100])
    assert window.to_bytes() == before
    grouped = ce.Grouped(ce.MeanLoss()).update([1.0], by=[1])
    with pytest.raises(ce.InputError, match="cluster is given, but was not given in earlier updates"):
        grouped.update([1.0], by=[2], cluster=[1])


def test_skipped_tokens_with_clusters_and_bytes_come_back():
    arguments = {"n_bytes": [2, 3], "cluster": [7, 8]}
    log_probs = [[-1.0, math.nan], [-1.0, -2.0]]
    metric = ce.Perplexity(invalid="skip")
    for wrapper, keys in (
        (ce.Grouped(metric), {"by": [1, 2]}),
        (ce.Sliding(metric, samples=3), {}),
        (ce.Sliding(metric, period=60, step=60), {"by_time": [0, 1]}),
        (ce.Decayed(metric, half_life=60), {"by_time": [0, 1]}),
    ):
        wrapper.update_token_log_probs(log_probs, **arguments, **keys)
        assert ce.from_bytes(wrapper.to_bytes()).to_bytes() == wrapper.to_bytes()


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_calibration_with_decayed_weights(task):
    rng, times = np.random.default_rng(0), np.repeat(np.arange(4.0), 500)
    if task == "binary":
        metric, batch = ce.BinaryCrossEntropy(calibration=True), (rng.uniform(0.3, 0.7, 2000), rng.integers(0, 2, 2000))
    else:
        metric = ce.MulticlassCrossEntropy(calibration=True)
        batch = rng.dirichlet(np.ones(3), 2000), rng.integers(0, 3, 2000)
    found = ce.Decayed(metric, half_life=1.0).update(*batch, by_time=times).weighted().calibration().to_dict()
    expected = metric.copy().update(*batch, weight=2.0 ** (times - times.max() - 1)).calibration().to_dict()
    assert abs(expected["z"]) > 1
    for name in ("z", "loss", "expected", "ece", "calibration", "refinement"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6), name


def test_an_empty_batch_or_window_changes_nothing():
    empty = ce.Sliding(ce.MeanLoss(), samples=5).update([], cluster=[])
    assert empty.update([1.0]) == ce.Sliding(ce.MeanLoss(), samples=5).update([1.0])
    window = ce.Sliding(ce.MeanLoss(), samples=5).update([1.0], cluster=[1])
    before = window.to_bytes()
    assert window.update_from(pa.table({"l": pa.array([], pa.float64())}), preds="l").to_bytes() == before
    with pytest.raises(ce.InputError, match="samples are in the window already"):
        window.update_from(pa.table({"l": [1.0]}), preds="l")
    assert window.to_bytes() == before


def test_a_window_of_a_gan_needs_as_many_real_as_fake_samples():
    with pytest.raises(ce.InputError, match=r"^fake has 2 samples: expected 3, as many as real"):
        ce.Sliding(ce.GANCrossEntropy(), samples=3).update(real=[0.5, 0.5, 0.4], fake=[0.5, 0.3])


@pytest.mark.parametrize("has_groups", [True, False])
def test_a_signal_handler_may_add_samples(has_groups):
    """A handler interrupts an update, and adds to the same and to other keys, or to the window."""
    metric = ce.BinaryCrossEntropy(tail=True)
    wrapper = ce.Grouped(metric) if has_groups else ce.Sliding(metric, samples=2**30)
    added = [0, 0]

    def handle(*_):
        wrapper.update([0.25], [1], **({"by": [added[1] % 5]} if has_groups else {}))
        added[1] += 1
        if added[1] < 300:  # an update that is interrupted begins again, so interrupts must end
            signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        while added[1] < 300:
            wrapper.update([0.5, 0.25], [1, 0], **({"by": [added[0] % 3, 3]} if has_groups else {}))
            wrapper.micro() if has_groups else wrapper.summary()
            added[0] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    found = wrapper.micro() if has_groups else wrapper.summary()
    assert found.count == 2 * added[0] + added[1]


def test_threads_that_share_a_table_lose_nothing():
    grouped = ce.Grouped(ce.NormalizedEntropy())
    p, y = np.linspace(0.1, 0.9, 30), np.arange(30) % 2

    def add():
        for _ in range(20):
            grouped.update(p, y, by=np.arange(30) % 4)

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = ce.Grouped(ce.NormalizedEntropy())
    for _ in range(60):
        expected.update(p, y, by=np.arange(30) % 4)
    assert grouped == expected
