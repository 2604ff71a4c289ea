"""False discovery rates: adjusted p-values, e-values, and the rates that simulations find."""

import functools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from streamce.stats import estimators, intervals
from streamce.stats.discoveries import Difference, adjusted_p_values, decide
from streamce.stats.estimators import Uncertainty

P_VALUES = st.lists(st.integers(0, 64).map(lambda i: i / 64), max_size=40)
ALPHA = 0.05


def difference(mean, stderr, samples):
    return Difference(mean, Uncertainty(stderr, float(samples), float(samples), 0))


# ---- adjusted p-values ----


@given(P_VALUES, st.integers(1, 32).map(lambda i: i / 32))
def test_the_discoveries_are_those_of_the_step_up_procedure(p_values, fdr):
    m = len(p_values)
    ordered = sorted(map(Fraction, p_values))
    most = max((k for k in range(1, m + 1) if ordered[k - 1] <= Fraction(fdr) * k / m), default=0)
    threshold = ordered[most - 1] if most else -1
    assert [p <= fdr for p in adjusted_p_values(p_values)] == [p <= threshold for p in p_values]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_adjusted_p_values_are_those_of_scipy(p_values):
    assert adjusted_p_values(p_values) == pytest.approx(stats.false_discovery_control(p_values), rel=1e-12)


def test_tests_without_a_p_value_do_not_count_unless_their_number_is_given():
    assert adjusted_p_values([math.nan, 0.25, math.nan, 0.03125]) == pytest.approx(
        [math.nan, 0.25, math.nan, 0.0625], nan_ok=True
    )
    assert adjusted_p_values([0.03125, math.nan], 8) == pytest.approx([0.25, math.nan], nan_ok=True)
    assert adjusted_p_values([math.nan]) == pytest.approx([math.nan], nan_ok=True)
    assert adjusted_p_values([]) == []


# ---- e-values ----


@pytest.mark.parametrize("n", [100, 3000, 10_000, 10**7])
def test_the_e_value_is_the_mixture_of_likelihood_ratios_over_normal_means(n):
    """The mixture of exp(θ S - n θ² / 2) over θ from N(0, ρ²), for the sum S of n standardised differences."""
    rho2 = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / 10_000
    for t in (0.0, 1.0, 3.0):
        total = t * math.sqrt(n)

        def ratio(theta, total=total):
            return math.exp(theta * total - n * theta * theta / 2 - theta * theta / (2 * rho2))

        peak, width = total / (n + 1 / rho2), 1 / math.sqrt(n + 1 / rho2)
        mixture, _ = integrate.quad(ratio, peak - 12 * width, peak + 12 * width)
        expected = math.log(mixture / math.sqrt(2 * math.pi * rho2))
        assert intervals.sequence_log_e_value(t, n, 10**9, ALPHA) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [3, 10, 100, 1000, 10**5])
def test_the_expectation_of_an_e_value_is_one_if_there_is_no_difference(n):
    df = n - 1

    def weighed(t):
        return math.exp(intervals.sequence_log_e_value(abs(t), n, df, ALPHA) + stats.t.logpdf(t, df))

    expectation, _ = integrate.quad(weighed, -60, 60, limit=500, points=[0])
    assert expectation == pytest.approx(1, abs=0.002)


@given(st.floats(0, 100), st.floats(2, 1e9), st.integers(1, 10**6), st.floats(1e-6, 0.9))
def test_an_e_value_reaches_one_over_alpha_where_the_sequence_excludes_the_hypothesis(t, samples, df, alpha):
    boundary = intervals.sequence(1 - alpha, samples, df)
    if abs(t - boundary) > 1e-6 * boundary:
        reached = intervals.sequence_log_e_value(t, samples, df, alpha) >= -math.log(alpha)
        assert reached == (t >= boundary)


@given(st.floats(1e-6, 0.9), st.floats(1e-6, 0.9), st.floats(50, 1e7))
def test_tuned_sequences_of_all_levels_come_from_one_e_value(alpha, tuned, samples):
    t, df = intervals.sequence(1 - alpha, samples, 10**5, tuned), 10**5
    assert math.exp(-intervals.sequence_log_e_value(t, samples, df, tuned)) == pytest.approx(alpha, rel=1e-6)


def test_e_values_of_differences_without_spread_or_interval():
    known = Uncertainty(0.0, 200.0, 200.0, 0)
    assert estimators.log_e_value(0.5, known, ALPHA) == math.inf
    assert estimators.log_e_value(0.0, known, ALPHA) < 0
    assert estimators.log_e_value(0.5, known._replace(effective_samples=50.0), ALPHA) < 0  # too few to tell
    assert math.isnan(estimators.log_e_value(0.5, known._replace(stderr=math.nan), ALPHA))
    assert math.isnan(estimators.log_e_value(math.nan, known, ALPHA))
    assert estimators.log_e_value(1e300, known._replace(stderr=1e-300), ALPHA) == math.inf


# ---- decisions ----

DIFFERENCES = st.lists(
    st.builds(difference, st.floats(-1, 1), st.floats(0.01, 1), st.integers(2, 10_000)), min_size=1, max_size=30
)


@given(DIFFERENCES, st.floats(0.001, 0.5), st.booleans())
def test_an_interval_excludes_zero_if_its_difference_is_a_discovery(differences, fdr, anytime):
    result = decide(differences, fdr=fdr, anytime=anytime)
    found = [each for each in result.decisions if each.better]
    assert result.tested == len(differences)
    assert result.level == pytest.approx(1 - max(len(found), 1) * fdr / len(differences), rel=1e-12)
    for (mean, _), each in zip(differences, result.decisions, strict=True):
        low, high = each.interval
        rounding = 1e-9 * max(1.0, high - low)  # a wide interval hides the digits of its middle
        assert (low + high) / 2 == pytest.approx(mean, abs=rounding) or math.isinf(high)
        assert each.better == ("A" if high < 0 else "B" if low > 0 else None)
        assert (each.adjusted_p <= fdr) == (each.better is not None)
        assert (each.e_value is None) == (not anytime)


def test_one_difference_is_decided_by_its_own_p_value():
    for t in (1.9, 2.1, 3.0, 3.5):
        one = difference(t, 1.0, 3000)
        fixed, anytime = (decide([one], fdr=0.05, anytime=each).decisions[0] for each in (False, True))
        assert fixed.adjusted_p == fixed.p_value == pytest.approx(2 * stats.t.sf(t, 2999), rel=1e-7)
        assert (anytime.better == "B") == (anytime.p_value <= 0.05)
        assert anytime.adjusted_p == pytest.approx(min(1, 1 / anytime.e_value))


def test_differences_without_a_standard_error_are_no_discoveries():
    differences = [difference(math.inf, math.nan, 1), difference(5.0, 1.0, 100), difference(5.0, math.nan, 1)]
    result = decide(differences, fdr=0.05, anytime=False)
    assert [each.better for each in result.decisions] == [None, "B", None]
    assert (result.tested, result.level) == (1, 0.95)
    assert math.isnan(result.decisions[0].p_value)
    assert decide(differences, fdr=0.05, anytime=True, tested=3).tested == 3
    empty = decide([], fdr=0.05, anytime=True)
    assert (empty.decisions, empty.level, empty.tested) == ([], 0.95, 0)


@pytest.mark.parametrize("fdr", [5e-324, 1e-300, 1 - 1e-16])
def test_no_rate_is_too_small_for_a_level(fdr):
    for anytime in (False, True):
        result = decide([difference(3.0, 1.0, 100), difference(0.0, 1.0, 100)], fdr=fdr, anytime=anytime)
        assert 0 < result.level < 1
        assert not math.isnan(result.decisions[0].interval[0])


# ---- rates, by simulation ----

GROUPS, SAMPLES, EFFECT = 1000, 3000, 0.1


def normal_differences(rng, truth):
    """Return means and standard errors of groups of normal differences with standard deviation 1."""
    means = truth + rng.normal(0, 1 / math.sqrt(SAMPLES), GROUPS)
    return means, np.sqrt(rng.chisquare(SAMPLES - 1, GROUPS) / (SAMPLES - 1) / SAMPLES)


def test_a_thousand_groups_without_a_difference_have_few_false_discoveries():
    """Every discovery is false, so the rate is the share of streams with a discovery."""
    rng, streams, df = np.random.default_rng(17), 400, SAMPLES - 1
    found = {"p": 0, "e": 0}
    for _ in range(streams):
        means, errors = normal_differences(rng, 0.0)
        t = np.abs(means / errors)
        found["p"] += min(adjusted_p_values((2 * stats.t.sf(t, df)).tolist())) <= ALPHA
        logs = [intervals.sequence_log_e_value(each, SAMPLES, df, ALPHA) for each in t.tolist()]
        found["e"] += min(adjusted_p_values([math.exp(-log) for log in logs])) <= ALPHA
    bound = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / streams)  # two standard errors of the simulation
    assert 0.03 < found["p"] / streams <= bound
    assert found["e"] / streams <= ALPHA


def test_e_values_hold_the_rate_in_the_stream_that_stops_at_the_first_discovery():
    """Groups are looked at after every 100 samples, up to 10,000, and the look with a discovery is the last."""
    rng, streams, groups, found = np.random.default_rng(5), 60, 100, 0
    for _ in range(streams):
        totals, squares = np.zeros(groups), np.zeros(groups)
        for n in range(100, 10_001, 100):
            batch = rng.normal(size=(groups, 100))
            totals, squares = totals + batch.sum(1), squares + (batch**2).sum(1)
            t = np.abs(totals) / np.sqrt((squares - totals**2 / n) / (n - 1) * n)
            logs = [intervals.sequence_log_e_value(each, n, n - 1, ALPHA) for each in t.tolist()]
            if min(adjusted_p_values([math.exp(-log) for log in logs])) <= ALPHA:
                found += 1
                break
    assert found / streams <= ALPHA


@functools.cache
def simulated(anytime):
    """Return the false discovery rate, the power and the false coverage rate, if a tenth of the groups differ."""
    rng, results = np.random.default_rng(17), []
    truth = np.where(np.arange(GROUPS) < GROUPS // 10, EFFECT, 0.0)
    for _ in range(20):
        means, errors = normal_differences(rng, truth)
        differences = [difference(*each, SAMPLES) for each in zip(means.tolist(), errors.tolist(), strict=True)]
        decisions = decide(differences, fdr=ALPHA, anytime=anytime).decisions
        found = np.array([each.better is not None for each in decisions])
        low, high = np.array([each.interval for each in decisions]).T
        missed = found & ((truth < low) | (truth > high))
        number = found.sum()
        false = found & (truth == 0)
        results.append((false.sum() / number, missed.sum() / number, found[truth > 0].mean()))
    return np.mean(results, axis=0)


def test_true_differences_are_found_and_the_rate_is_held():
    rate, missed, power = simulated(False)
    assert 0.03 < rate <= ALPHA
    assert missed <= ALPHA + 0.01  # two standard errors of the simulation
    assert power > 0.98


def test_e_values_find_less_at_one_look():
    rate, missed, power = simulated(True)
    assert rate <= ALPHA / 5
    assert missed <= ALPHA / 5
    assert 0.8 < power < simulated(False)[2]
