"""Two models, and more than the mean difference: by class and position, per byte, and of normalized entropies."""

import math

import numpy as np
import oracle
import pytest
import state_reader
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce


def binary(seed, n, **options):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    a, b = (np.clip(0.5 + 0.2 * (2 * y - 1) + rng.normal(0, spread, n), 0.02, 0.98) for spread in (0.2, 0.25))
    return ce.BinaryCrossEntropy(**options), a, b, y


def multiclass(seed, n, classes=4, **options):
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.ones(classes), (2, n))
    return ce.MulticlassCrossEntropy(**options), a, b, rng.integers(0, classes, n)


def multilabel(seed, n, **options):
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, n, 3))
    return ce.MultilabelCrossEntropy(**options), a, b, rng.integers(0, 2, (n, 3))


def tokens(seed, n, cls=ce.Perplexity, **options):
    rng = np.random.default_rng(seed)
    a, b = rng.dirichlet(np.ones(5), (2, n, 6))
    return cls(**options), a, b, rng.integers(0, 5, (n, 6))


def text(seed, n):
    rng = np.random.default_rng(seed)
    return {
        "lengths": rng.integers(0, 7, n),
        "n_words": rng.integers(0, 4, n),
        "n_bytes": rng.integers(1, 30, n),
    }


MORE = {
    "classes": lambda seed, n: multiclass(seed, n, per_class=True, tail=True, calibration=True),
    "labels": lambda seed, n: multilabel(seed, n, per_label=True),
    "positions": lambda seed, n: tokens(seed, n, per_position=True),
    "tail": lambda seed, n: binary(seed, n, tail=True, calibration=True, divergence=True),
    "normalized": lambda seed, n: (ce.NormalizedEntropy(), *binary(seed, n)[1:]),
    "normalized classes": lambda seed, n: (ce.MulticlassNormalizedEntropy(), *multiclass(seed, n)[1:]),
}


@given(st.sampled_from(sorted(MORE)), st.integers(0, 1000), st.integers(1, 60), st.booleans())
def test_a_and_b_are_the_metrics_of_the_models(name, seed, n, weighted):
    metric, a, b, y = MORE[name](seed, n)
    weight = np.random.default_rng(seed).random(n) if weighted and name != "positions" else None
    paired = ce.Paired(metric).update(a, b, y, weight=weight)
    assert paired.a == metric.copy().update(a, y, weight=weight)
    assert paired.b == metric.copy().update(b, y, weight=weight)
    state_reader.read(paired.to_bytes())
    assert ce.from_bytes(paired.to_bytes()) == paired


@given(st.sampled_from(sorted(MORE)), st.integers(0, 1000), st.integers(1, 60))
def test_more_sums_change_no_mean(name, seed, n):
    """The five states of a comparison are those of a metric without more sums, apart from these."""
    metric, a, b, y = MORE[name](seed, n)
    plain = {
        "classes": ce.MulticlassCrossEntropy, "normalized classes": ce.MulticlassCrossEntropy,
        "labels": lambda: ce.MultilabelCrossEntropy(per_label=False), "positions": ce.Perplexity,
    }.get(name, ce.BinaryCrossEntropy)()  # fmt: skip
    more, expected = ce.Paired(metric).update(a, b, y), ce.Paired(plain).update(a, b, y)
    for state in ("a", "b", "difference", "a_better", "b_better"):
        found = more._state[state]
        assert found.select(False, False, False, 1).parts() == expected._state[state].parts()
    if "normalized" not in name:
        assert more.compute() == expected.compute()


def test_a_loss_that_one_model_lacks_is_left_out_of_all_sums():
    metric, a, b, y = multiclass(1, 40, per_class=True, tail=True, invalid="skip", ignore_index=3)
    a[:5], b[3:9] = math.nan, -1.0
    paired = ce.Paired(metric).update(a, b, y)
    both = slice(9, None)
    for found, preds in ((paired.a, a), (paired.b, b)):
        expected = metric.copy().update(preds[both], y[both])
        assert [each.mean for each in found.per_class()] == [each.mean for each in expected.per_class()]
        assert found.tail() == expected.tail()
        valid = y[:9] != 3  # an ignored label is ignored, whatever the predictions are
        assert found.summary().invalid_nan == valid[:5].sum()
        assert found.summary().invalid_range == valid[5:].sum()
        assert found.summary().ignored == (y == 3).sum()
    assert paired.per_class()[0].count == np.sum(y[both] == 0)
    assert (paired - ce.Paired(metric).update(a[:9], b[:9], y[:9])).per_class()[1].count == np.sum(y[both] == 1)


def test_a_token_that_one_model_lacks_is_left_out_of_all_sums():
    metric, a, b, y = tokens(1, 6, per_position=True, invalid="skip", cls=ce.SequenceCrossEntropy)
    lengths = [6, 5, 4, 0, 6, 2]
    a[0, 1], b[4, 2] = math.nan, math.nan
    paired = ce.Paired(metric).update(a, b, y, lengths=lengths, n_bytes=[3] * 6)
    assert [each.count for each in paired.per_position()] == [5, 4, 3, 4, 3, 2]
    assert [each.invalid_nan for each in paired.per_position()] == [0, 1, 1, 0, 0, 0]
    assert [each.count for each in paired.a.per_position()] == [each.count for each in paired.b.per_position()]
    for found in (paired.per_byte(), paired.a.per_byte(), paired.b.per_byte()):
        assert (found.skipped, found.weight) == (2, 12.0)
    losses = -np.log(np.take_along_axis(a, y[..., None], 2)) + np.log(np.take_along_axis(b, y[..., None], 2))
    inside = sum(losses[i, : lengths[i]].sum() for i in (1, 2, 5))
    assert paired.per_byte().total == pytest.approx(inside, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_differences_by_class_are_means_of_differences(weighted):
    metric, a, b, y = multiclass(3, 300, per_class=True)
    weight = np.random.default_rng(0).gamma(2.0, 0.5, 300) if weighted else np.ones(300)
    paired = ce.Paired(metric).update(a, b, y, weight=weight if weighted else None)
    n_a, n_b = (-np.log(preds[np.arange(300), y]) * weight for preds in (a, b))
    for label, found in enumerate(paired.per_class()):
        mine = y == label
        terms = (n_a - n_b)[mine]
        assert found.mean == pytest.approx(terms.sum() / weight[mine].sum(), rel=1e-9)
        assert found.stderr == pytest.approx(float(oracle.stderr(terms, weight[mine])), rel=1e-6)
        assert found.value == found.mean
        assert found.mean == pytest.approx(paired.a.per_class()[label].mean - paired.b.per_class()[label].mean)


def test_differences_by_label_and_position():
    metric, a, b, y = multilabel(4, 50, per_label=True)
    found = ce.Paired(metric).update(a, b, y).per_label()
    losses = [-np.log(np.where(y == 1, preds, 1 - preds)) for preds in (a, b)]
    assert [each.mean for each in found] == pytest.approx((losses[0] - losses[1]).mean(axis=0))
    metric, a, b, y = tokens(4, 50, per_position=True)
    paired = ce.Paired(metric).update(a, b, y)
    losses = [-np.log(np.take_along_axis(preds, y[..., None], 2))[..., 0] for preds in (a, b)]
    assert [each.mean for each in paired.per_position()] == pytest.approx((losses[0] - losses[1]).mean(axis=0))
    assert paired.per_position()[0].value == paired.per_position()[0].mean  # in nats, also for perplexity


@given(st.integers(0, 1000), st.booleans())
def test_differences_per_word_and_byte(seed, clusters):
    metric, a, b, y = tokens(seed, 30)
    more = text(seed, 30) | ({"cluster": np.arange(30) % 7} if clusters else {})
    paired = ce.Paired(metric).update(a, b, y, **more)
    for per in ("per_word", "per_byte"):
        found, of_a, of_b = (getattr(each, per)() for each in (paired, paired.a, paired.b))
        assert found.mean == pytest.approx(of_a.mean - of_b.mean, abs=1e-12)
        assert (found.weight, found.samples, found.buckets) == (of_a.weight, of_a.samples, of_a.buckets)
        assert found.value == found.mean
    weight = more["n_bytes"].astype(float)
    losses = [-np.log(np.take_along_axis(preds, y[..., None], 2))[..., 0] for preds in (a, b)]
    inside = np.arange(6) < more["lengths"][:, None]
    terms = ((losses[0] - losses[1]) * inside).sum(axis=1)
    if not clusters:
        assert paired.per_byte().stderr == pytest.approx(float(oracle.stderr(terms, weight)), rel=1e-6)


# ---- normalized entropies ----


def influence(y, delta, value, base, rate):
    """Return by how much each sample changes the difference of the normalized entropies, times the samples."""
    return (delta - value * np.where(y == 1, -math.log(rate), -math.log(1 - rate))) / base


@given(st.integers(0, 1000), st.integers(20, 200))
def test_the_difference_of_normalized_entropies(seed, n):
    _, a, b, y = binary(seed, n)
    y[:2] = 0, 1
    paired = ce.Paired(ce.NormalizedEntropy()).update(a, b, y)
    result = paired.summary(0.9)
    one, other = (ce.NormalizedEntropy().update(preds, y).summary(0.9) for preds in (a, b))
    assert (repr(result.a), repr(result.b)) == (repr(one), repr(other))
    assert paired.compute() == result.difference.value == pytest.approx(one.value - other.value, abs=1e-12)
    rate = y.mean()
    base = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
    delta = -np.log(np.where(y == 1, a, 1 - a)) + np.log(np.where(y == 1, b, 1 - b))
    error = math.sqrt(np.sum(influence(y, delta, paired.compute(), base, rate) ** 2) / (n * (n - 1)))
    assert paired._difference().known.stderr == pytest.approx(error, rel=1e-6)
    low, high = result.difference.interval
    assert (result.better is None) == (low <= 0 <= high) == (result.p_value >= 0.1)
    assert (result.unit, result.difference.mean) == ("NE", pytest.approx(delta.mean(), abs=1e-12))


@given(st.integers(0, 1000), st.integers(20, 200))
def test_the_difference_of_normalized_entropies_of_classes(seed, n):
    _, a, b, y = multiclass(seed, n)
    y[:2] = 0, 1
    paired = ce.Paired(ce.MulticlassNormalizedEntropy()).update(a, b, y)
    one, other = (ce.MulticlassNormalizedEntropy().update(preds, y) for preds in (a, b))
    assert repr(paired.summary().a) == repr(one.summary())
    assert paired.compute() == pytest.approx(one.compute() - other.compute(), abs=1e-12)
    rates = np.bincount(y, minlength=4) / n
    costs = np.array([-math.log(rate) if rate else 0.0 for rate in rates])
    base = float(rates @ costs)
    delta = -np.log(a[np.arange(n), y]) + np.log(b[np.arange(n), y])
    terms = (delta - paired.compute() * costs[y]) / base
    assert paired._difference().known.stderr == pytest.approx(math.sqrt(np.sum(terms**2) / (n * (n - 1))), rel=1e-6)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_intervals_of_the_difference_cover_the_truth(task):
    """1,000 streams of 300 samples: about 95 % of the intervals contain the difference of all samples together."""
    make, metric = (
        (binary, ce.NormalizedEntropy()) if task == "binary" else (multiclass, ce.MulticlassNormalizedEntropy())
    )
    _, a, b, y = make(0, 300_000)
    truth = ce.Paired(metric).update(a, b, y).compute()
    cut = np.arange(300_000) % 1000
    groups = ce.Grouped(ce.Paired(metric)).update(a, b, y, by=cut)
    intervals = [each.difference.interval for each in groups.summary().values()]
    assert 930 <= sum(low <= truth <= high for low, high in intervals) <= 970


def test_clusters_widen_the_interval_of_normalized_entropies():
    _, a, b, y = binary(5, 400)
    alone = ce.Paired(ce.NormalizedEntropy()).update(a, b, y).summary()
    twice = [np.repeat(each, 4) for each in (a, b, y)]
    clustered = ce.Paired(ce.NormalizedEntropy()).update(*twice, cluster=np.repeat(np.arange(400), 4)).summary()
    assert clustered.difference.value == pytest.approx(alone.difference.value)
    width = [np.diff(each.difference.interval)[0] for each in (alone, clustered)]
    assert width[1] == pytest.approx(width[0], rel=0.25)


def test_a_sample_that_is_invalid_for_one_model_counts_in_no_outcome():
    metric = ce.NormalizedEntropy(invalid="skip")
    a, b, y = np.array([0.5, math.nan, 0.25, 0.75]), np.array([0.5, 0.5, 7.0, 0.5]), np.array([1, 1, 0, 0])
    paired = ce.Paired(metric).update(a, b, y)
    assert paired.a.compute() == ce.NormalizedEntropy().update(a[[0, 3]], y[[0, 3]]).compute()
    assert paired.b.compute() == ce.NormalizedEntropy().update(b[[0, 3]], y[[0, 3]]).compute()
    assert paired.summary().difference.skipped == 2


def test_two_infinite_losses_have_no_difference_but_outcomes():
    metric = ce.NormalizedEntropy(eps=0.0)
    a, b, y = [0.0, 0.5, 0.25], [0.0, 0.25, 0.5], [1, 0, 1]
    paired = ce.Paired(metric).update(a, b, y)
    assert math.isnan(paired.compute())
    assert paired.a == metric.copy().update(a, y)
    assert paired.b == metric.copy().update(b, y)
    assert paired - ce.Paired(metric).update(a[:1], b[:1], y[:1]) == ce.Paired(metric).update(a[1:], b[1:], y[1:])


def test_the_text_of_a_comparison_of_normalized_entropies():
    _, a, b, y = binary(0, 500)
    text = str(ce.Paired(ce.NormalizedEntropy()).update(a, b, y).summary())
    assert " NE (95 % interval " in text.splitlines()[0]
    assert text.splitlines()[1].split()[2] == "NE"
    one = ce.Paired(ce.NormalizedEntropy()).update([0.5], [0.25], [1]).summary()
    assert one.verdict == "no difference shown: the normalized entropy of A is nan and that of B nan"


@given(st.integers(0, 200))
def test_groups_of_comparisons_find_differences_of_normalized_entropies(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 4000)
    a = np.where(y == 1, 0.6, 0.4)
    by = np.repeat(["same", "worse"], 2000)
    a = np.clip(a + rng.normal(0, 0.1, 4000), 0.05, 0.95)
    b = np.where(
        by == "worse", np.clip(a + 0.1 * (2 * y - 1), 0.05, 0.95), np.clip(a + rng.normal(0, 0.001, 4000), 0.05, 0.95)
    )
    found = ce.Grouped(ce.Paired(ce.NormalizedEntropy())).update(a, b, y, by=by).discoveries()
    assert ("worse", "B") in [(group.key, group.better) for group in found]
    group = next(each for each in found.differences if each.key == "worse")
    assert group.difference == ce.Paired(ce.NormalizedEntropy()).update(a[2000:], b[2000:], y[2000:]).compute()


# ---- what is not offered ----


def test_what_was_not_asked_for_is_an_error():
    paired = ce.Paired(ce.MulticlassCrossEntropy()).update([[0.5, 0.5]], [[0.25, 0.75]], [0])
    with pytest.raises(ce.InputError, match=r"^per_class is off: expected Paired of a metric with per_class=True"):
        paired.per_class()
    with pytest.raises(ce.InputError, match=r"^metric is a MulticlassCrossEntropy: expected a metric of sequences"):
        paired.per_byte()
    with pytest.raises(ce.InputError, match=r"^cluster is given"):
        ce.Paired(ce.MulticlassNormalizedEntropy()).update([[0.5, 0.5]], [[0.5, 0.5]], [0], cluster=[1])
