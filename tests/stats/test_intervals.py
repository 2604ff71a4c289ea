"""Quantiles are compared with scipy, the jackknife with fractions, and both with summaries."""

import itertools
import math
import random
from fractions import Fraction

import mpmath
import numpy as np
import oracle
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

import streamce as ce
from streamce._support.rational import GRID
from streamce.core.kernels import kernels
from streamce.core.ledger.ledger import Ledger
from streamce.stats import estimators, intervals
from streamce.stats.summary import summarise

LEVELS = [0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.999999]
GROUPS = st.lists(st.tuples(st.integers(-(10**30), 10**30), st.integers(1, 10**30)), min_size=2, max_size=30)


def clustered(losses, clusters, weight=None, buckets=256):
    """Return the ledgers that a metric holds: of all samples, and by the hash of their clusters."""
    weight = np.ones(len(losses)) if weight is None else weight
    held = Ledger(buckets)
    for bucket in {int(c) % buckets for c in clusters}:
        of_bucket = np.asarray(clusters) % buckets == bucket
        part = ce.MeanLoss().update(np.asarray(losses)[of_bucket], weight=weight[of_bucket])._state.total
        for column, cells in part.columns().items():
            held.add_integer(column, bucket, cells[0])
    return ce.MeanLoss().update(losses, weight=weight)._state.total, held


def stream(size=600, clusters=90, seed=0):
    """Return losses that are correlated within clusters, the clusters, and weights."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, clusters, size)
    return rng.exponential(rng.gamma(4, 0.5, clusters)[of]), of, rng.gamma(2, 0.5, size)


# ---- quantiles ----


@pytest.mark.parametrize("level", LEVELS)
def test_students_quantile_is_right_to_ten_digits(level):
    for df in [*range(1, 50), 99, 100, 255, 256, 498, 499, 500, 501, 5000, 10**4, 10**5, 10**6]:
        assert intervals.student(level, df) == pytest.approx(stats.t.isf((1 - level) / 2, df), rel=1e-10), df


@pytest.mark.parametrize("level", [1 - 2.0**-power for power in range(20, 54)])
def test_students_quantile_of_levels_next_to_one_is_right_to_eight_digits(level):
    for df in (1, 2, 3, 10, 99, 255, 499, 500, 10**6):
        assert intervals.student(level, df) == pytest.approx(stats.t.isf((1 - level) / 2, df), rel=1e-8), df


@pytest.mark.parametrize("df", [1, 2, 3, 10, 99, 100, 498, 499, 500, 501, 5000, 10**6])
def test_students_tails_are_right_to_eight_digits(df):
    for t in (0.0, 1e-9, 0.01, 0.5, 1.0, 2.0, 3.5, 6.0, 12.0, 20.0, 1e3, 1e100):
        expected = 2 * student_tail(t, df)
        rel = 1e-8 if expected > 1e-60 else 2e-6
        assert intervals.tails(t, df) == pytest.approx(float(expected), rel=rel, abs=1e-300), t


def student_tail(t, df):
    """Return P(T > t), from the incomplete beta function."""
    x, t = mpmath.mpf(df), mpmath.mpf(t)
    return mpmath.betainc(x / 2, 0.5, 0, x / (x + t * t), regularized=True) / 2


@given(st.floats(0.01, 0.999999), st.integers(1, 10**6))
def test_the_tails_are_what_the_quantile_leaves_of_the_level(level, df):
    assert intervals.tails(intervals.student(level, df), df) == pytest.approx(1 - level, rel=1e-7)


@pytest.mark.parametrize("level", LEVELS)
def test_the_normal_quantile_is_right_to_the_last_digits(level):
    assert intervals.normal(level) == pytest.approx(stats.norm.isf((1 - level) / 2), rel=1e-14)


@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(1, 10**6))
def test_no_level_and_no_number_of_samples_is_too_odd_for_a_multiplier(level, df):
    assert intervals.student(level, df) >= 0
    assert intervals.sequence(level, df + 1, df) > 0


# ---- the confidence sequence ----


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_sequence_is_the_papers_formula(level):
    alpha = 1 - level
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / 10_000
    for n in (100, 1000, 10_000, 10**7):
        paper = math.sqrt(2 * (n * rho2 + 1) / (n * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha))
        assert intervals.sequence(level, n, 10**9) == pytest.approx(paper, rel=1e-6)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_sequence_is_tightest_at_about_ten_thousand_samples(level):
    found = {n: intervals.sequence(level, n, 10**9) for n in range(1000, 40_000, 250)}
    assert 9_000 <= min(found, key=found.get) <= 11_000


@pytest.mark.parametrize("df", [5, 20, 255])
def test_the_sequence_has_the_tails_of_student_where_the_error_is_uncertain(df):
    for samples in (5_000, 10_000, 10**6):
        tail = stats.norm.sf(intervals.sequence(0.95, samples, 10**9))
        assert intervals.sequence(0.95, samples, df) == pytest.approx(stats.t.isf(tail, df), rel=0.05)


@given(st.floats(0.001, 0.999999), st.floats(1.0, 1e9), st.integers(1, 10**6))
def test_the_tails_of_a_sequence_are_what_its_boundary_leaves_of_the_level(level, samples, df):
    t = intervals.sequence(level, samples, df)
    assume(t < math.inf)
    assert intervals.sequence_tails(t, samples, df) == pytest.approx(1 - level, rel=1e-6)


@given(st.floats(0.001, 0.9999), st.floats(1e-6, 0.999), st.floats(1.0, 1e9), st.integers(1, 10**6))
def test_sequences_of_higher_levels_are_wider(level, more, samples, df):
    """So the level at which a sequence excludes 0 gives a p-value."""
    assert intervals.sequence(level, samples, df) <= intervals.sequence(level + more * (1 - level), samples, df)


def test_far_away_a_sequence_leaves_nothing():
    assert intervals.sequence_tails(1e9, 1e4, 10**4) == 0.0
    assert intervals.sequence_tails(0.0, 1e4, 10**4) == 1.0


def test_a_sequence_is_wider_than_an_interval():
    for level, n in itertools.product(LEVELS, (2, 10, 1000, 10**5, 10**9)):
        assert intervals.sequence(level, n, n - 1) > intervals.student(level, n - 1)


# ---- the jackknife ----


def leaving_out(groups):
    """Return the variance of the jackknife by its definition."""
    whole = Fraction(sum(n for n, _ in groups), sum(d for _, d in groups))
    ratios = []
    for i in range(len(groups)):
        others = groups[:i] + groups[i + 1 :]
        ratios.append(Fraction(sum(n for n, _ in others), sum(d for _, d in others)))
    return Fraction(len(groups) - 1, len(groups)) * sum((ratio - whole) ** 2 for ratio in ratios)


@given(GROUPS)
def test_the_jackknife_leaves_out_one_group_after_another(groups):
    truth = oracle.mpmath.sqrt(oracle.mpf(leaving_out(groups).numerator) / leaving_out(groups).denominator)
    assert oracle.relative(intervals.jackknife(groups), truth) <= 2e-16


@given(GROUPS, st.randoms())
def test_the_jackknife_has_the_same_bits_in_any_order(groups, shuffler):
    shuffled = shuffler.sample(groups, len(groups))
    assert intervals.jackknife(shuffled) == intervals.jackknife(groups)


@given(GROUPS, st.integers(0, 2000))
def test_the_jackknife_does_not_depend_on_the_unit(groups, bits):
    assert intervals.jackknife([(n << bits, d << bits) for n, d in groups]) == intervals.jackknife(groups)


@pytest.mark.parametrize("power", [-900, -300, 300, 900])
def test_the_jackknife_scales_with_the_losses_over_the_whole_range(power):
    numbers = random.Random(0)
    groups = [(numbers.getrandbits(90) << 1074, numbers.getrandbits(60) << 1074) for _ in range(99)]
    scaled = [(n << power, d) if power > 0 else (n, d << -power) for n, d in groups]
    found = intervals.jackknife(scaled)
    assert found == pytest.approx(math.ldexp(intervals.jackknife(groups), power), rel=1e-15)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=50))
def test_groups_of_one_sample_have_the_standard_error_of_textbooks(losses):
    groups = [(loss, 1) for loss in losses]
    assert oracle.relative(intervals.jackknife(groups), oracle.stderr(losses, [1] * len(losses))) <= 2e-16


def test_groups_of_equal_ratio_have_no_error():
    assert intervals.jackknife([(3 * d, 7 * d) for d in (1, 10, 10**9)]) == 0


@pytest.mark.parametrize("groups", [[], [(1, 1)], [(0, 0), (0, 0)], [(1, 1), (0, 0)]], ids=str)
def test_one_group_that_weighs_anything_has_no_error_to_tell(groups):
    assert math.isnan(intervals.jackknife(groups))


# ---- summaries of clusters ----


@pytest.mark.parametrize("weighted", [False, True])
def test_the_error_of_clusters_is_the_jackknife_over_their_buckets(weighted):
    losses, of, weight = stream()
    weight = weight if weighted else np.ones(len(losses))
    total, buckets = clustered(losses, of, weight)
    groups = [(Fraction((losses * weight)[of == c].sum()), Fraction(weight[of == c].sum())) for c in np.unique(of)]
    expected = math.sqrt(leaving_out([(int(n * GRID), int(d * GRID)) for n, d in groups]))
    summary = summarise(total, buckets=buckets)
    assert summary.stderr == pytest.approx(expected, rel=1e-12)
    assert summary.buckets == len(np.unique(of))


def test_the_interval_of_clusters_has_the_degrees_of_freedom_of_their_effective_number():
    losses, of, _ = stream()
    total, buckets = clustered(losses, of)
    sizes = np.unique(of, return_counts=True)[1]
    df = round(sizes.sum() ** 2 / (sizes**2).sum()) - 1
    assert df < len(sizes) - 1
    summary = summarise(total, level=0.9, buckets=buckets)
    margin = intervals.student(0.9, df) * summary.stderr
    assert summary.interval == (summary.mean - margin, summary.mean + margin)


def test_weighted_samples_count_by_their_effective_number():
    losses, _, weight = stream(30)
    summary = ce.MeanLoss().update(losses, weight=weight).summary()
    df = round(weight.sum() ** 2 / (weight**2).sum()) - 1
    assert df < 29
    assert summary.interval[1] == summary.mean + intervals.student(0.95, df) * summary.stderr


def test_a_sequence_counts_clustered_samples_by_their_design_effect():
    losses, of, _ = stream(6000, 200)
    total, buckets = clustered(losses, of)
    alone, summary = summarise(total), summarise(total, anytime=True, buckets=buckets)
    effective = 6000 * (alone.stderr / summary.stderr) ** 2
    sizes = np.bincount(of % 256)
    df = round(sizes.sum() ** 2 / (sizes**2).sum()) - 1
    assert effective < 1000
    margin = intervals.sequence(0.95, effective, df) * summary.stderr
    assert summary.interval[1] == pytest.approx(summary.mean + margin, rel=1e-12)


def test_clusters_of_one_sample_each_have_nearly_the_error_of_samples():
    losses, _, _ = stream(5000)
    total, buckets = clustered(losses, np.random.default_rng(1).integers(0, 2**40, 5000))
    assert summarise(total, buckets=buckets).stderr == pytest.approx(summarise(total).stderr, rel=0.1)


@pytest.mark.parametrize("anytime", [False, True])
def test_buckets_without_samples_change_nothing(anytime):
    total = ce.MeanLoss().update([1.0, 2.0, 4.0])._state.total
    assert summarise(total, anytime=anytime, buckets=Ledger(256)) == summarise(total, anytime=anytime)
    assert summarise(total).buckets == 0


def test_samples_of_which_some_only_have_clusters_have_no_error():
    losses, of, _ = stream()
    total, _ = clustered(losses, of)
    _, buckets = clustered(losses[1:], of[1:])
    summary = summarise(total, buckets=buckets)
    assert math.isnan(summary.stderr)
    assert all(map(math.isnan, summary.interval))
    assert summary.mean == summarise(total).mean


def test_one_cluster_has_no_error():
    total, buckets = clustered([1.0, 2.0, 3.0], [7, 7, 7])
    assert math.isnan(summarise(total, buckets=buckets).stderr)


def test_an_infinite_loss_in_a_cluster_leaves_no_error():
    total, buckets = clustered([1.0, math.inf, 3.0], [1, 2, 3])
    summary = summarise(total, buckets=buckets)
    assert summary.mean == math.inf
    assert math.isnan(summary.stderr)


def test_clusters_of_which_more_was_taken_away_than_added_are_an_error():
    total, buckets = clustered([1.0, 2.0, 3.0], [1, 2, 3])
    buckets.add_integer("samples", 1, -2)
    buckets.add_integer("samples", 2, 2)
    with pytest.raises(ce.InputError, match="more was subtracted"):
        summarise(total, buckets=buckets)


def test_equal_losses_in_clusters_have_no_error_and_no_width():
    total, buckets = clustered([0.5] * 9, range(9))
    assert summarise(total, buckets=buckets).interval == (0.5, 0.5)
    assert summarise(total, anytime=True, buckets=buckets).interval == (-math.inf, math.inf)  # too few clusters
    total, buckets = clustered([0.5] * 200, range(200))
    assert summarise(total, anytime=True, buckets=buckets).interval == (0.5, 0.5)


# ---- text ----


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=9), st.booleans())
def test_the_intervals_of_bits_and_perplexity_are_images_of_the_means(losses, anytime):
    summary = ce.MeanLoss().update(losses).summary(anytime=anytime)
    assert summary.perplexity_interval == tuple(map(kernels.exp, summary.interval))
    assert summary.bits_interval == tuple(bound / math.log(2) for bound in summary.interval)
    assert summary.perplexity_interval[0] <= summary.perplexity <= summary.perplexity_interval[1]


def test_the_interval_of_perplexity_is_infinite_where_exp_is():
    summary = ce.MeanLoss().update([700.0, 720.0]).summary(level=0.999)
    assert summary.perplexity_interval == (kernels.exp(summary.interval[0]), math.inf)
    assert math.isfinite(summary.interval[1])


@given(st.lists(st.floats(1e-3, 40), min_size=2, max_size=50))
def test_a_sequence_contains_the_interval(losses):
    assume(len(set(losses)) > 1)
    metric = ce.MeanLoss().update(losses)
    (low, high), (lower, higher) = metric.summary().interval, metric.summary(anytime=True).interval
    assert lower < low <= high < higher


@pytest.mark.parametrize("anytime", [None, 1, "yes", 0.95])
def test_anytime_is_yes_or_no(anytime):
    with pytest.raises(ce.InputError, match=r"^anytime"):
        ce.MeanLoss().update([1.0, 2.0]).summary(anytime=anytime)


def test_the_table_names_the_kind_of_interval_and_the_clusters():
    losses, of, _ = stream()
    total, buckets = clustered(losses, of)
    fixed, sequence = str(summarise(total)), str(summarise(total, level=0.9, anytime=True, buckets=buckets))
    assert "95 % interval" in fixed
    assert "clusters" not in fixed
    assert sequence.count("90 % confidence sequence") == 2
    assert f"in {len(np.unique(of))} buckets" in sequence


@pytest.mark.parametrize(("units", "df"), [(-math.inf, 1), (math.nan, 1), (0.0, 1), (2.6, 2), (40.0, 39)])
def test_degrees_of_freedom_are_at_least_one_for_any_number_of_units(units, df):
    assert estimators._degrees_of_freedom(units) == df


def test_degrees_of_freedom_of_infinitely_many_units_are_finite():
    assert estimators._degrees_of_freedom(math.inf) == 2**53 - 1
