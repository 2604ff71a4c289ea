"""Coverage of intervals: the claims of docs/UNCERTAINTY.md, by seeded simulation.

The library would take too long for thousands of streams. So NumPy adds them up, and the library's quantiles and
sequences give the intervals. Tests on some of the same streams show that these are the intervals of summaries.
"""

import functools
import math

import numpy as np
import pytest
from test_intervals import clustered

import streamce as ce
from streamce.stats import intervals
from streamce.stats.summary import summarise

LEVELS = (0.9, 0.95, 0.99)
LOOKS = 200

# ---- samples: losses and weights ----


def calibrated(rng, shape):
    """Draw log losses of a model that predicts the true probabilities."""
    return log_losses(rng, rng.normal(0, 1.5, shape))


def overconfident(rng, shape):
    """Draw log losses of a model whose logits are three times too large."""
    return log_losses(rng, rng.normal(0, 1.5, shape), trust=3)


def rare(rng, shape):
    """Draw log losses of a calibrated model of an outcome with probability 5 %."""
    return log_losses(rng, rng.normal(-3.5, 1.2, shape))


def exponential(rng, shape):
    return rng.exponential(1, shape)


def log_losses(rng, logits, trust=1):
    hit = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return np.logaddexp(0, np.where(hit, -trust, trust) * logits)


def unweighted(rng, losses):
    return np.ones(losses.shape)


def weighted(rng, losses):
    """Draw unequal weights, which are larger for larger losses."""
    return rng.gamma(2, 0.5, losses.shape) * (0.3 + np.minimum(losses, 3))


def drawn(rng, draw, weigh, shape):
    losses = draw(rng, shape)
    return losses, weigh(rng, losses)


@functools.cache
def truth_of(draw, weigh):
    rng, n, d = np.random.default_rng(0), 0.0, 0.0
    for _ in range(8):
        losses, weight = drawn(rng, draw, weigh, 500_000)
        n, d = n + (losses * weight).sum(), d + weight.sum()
    return n / d


# ---- samples in clusters ----

DOCUMENTS_MEAN = 2.0


def documents(rng, shape):
    """Draw hard and easy clusters of unequal sizes, and return sizes and concatenated losses."""
    sizes = np.ceil(rng.lognormal(2.2, 0.7, shape)).astype(int)
    hardness = np.repeat(rng.gamma(4, DOCUMENTS_MEAN / 4, shape), sizes.ravel())
    return sizes, hardness * rng.gamma(4, 1 / 4, hardness.size)


# ---- sums of many streams at once ----


class Streams:
    """The sums of samples of many streams, and the estimates from them."""

    def __init__(self, runs):
        self.k, self.sums = 0, np.zeros((5, runs))

    def add(self, losses, weight):
        n = losses * weight
        self.k += losses.shape[1]
        self.sums += [x.sum(1) for x in (n, weight, n * n, n * weight, weight * weight)]

    def read(self):
        """Return mean, standard error, effective number of samples, and degrees of freedom."""
        n, d, nn, nd, dd = self.sums
        mean, effective = n / d, d * d / dd
        squares = np.maximum(nn - 2 * mean * nd + mean * mean * dd, 0)
        return mean, np.sqrt(self.k / (self.k - 1) * squares) / d, effective, effective


class ClusteredStreams:
    """The same for samples in 256 buckets of clusters."""

    def __init__(self, runs):
        self.n, self.d, self.nn = np.zeros((runs, 256)), np.zeros((runs, 256)), np.zeros(runs)

    def add(self, sizes, losses, buckets):
        first = np.cumsum(sizes) - sizes.ravel()
        cells = (buckets + 256 * np.arange(len(sizes))[:, None]).ravel()
        for sums, terms in ((self.n, np.add.reduceat(losses, first)), (self.d, sizes.ravel())):
            sums += np.bincount(cells, terms, sums.size).reshape(sums.shape)
        self.nn += np.add.reduceat(losses**2, first).reshape(sizes.shape).sum(1)

    def samples(self):
        """Return mean, standard error and numbers as if there were no clusters."""
        k = self.d.sum(1)
        mean = self.n.sum(1) / k
        return mean, np.sqrt((self.nn / k - mean**2) / (k - 1)), k, k

    def read(self):
        mean, alone, k, _ = self.samples()
        n, d = self.n.sum(1, keepdims=True), k[:, None]
        groups = (self.d > 0).sum(1)
        error = np.sqrt((groups - 1) / groups * (((n * self.d - self.n * d) / (d * (d - self.d))) ** 2).sum(1))
        return mean, error, k * np.minimum(1, (alone / error) ** 2), k * k / (self.d**2).sum(1)


def margins(read, level, anytime=False):
    _, error, effective, units = read
    df = np.maximum(1, np.rint(units).astype(int) - 1)
    if anytime:
        return error * [intervals.sequence(level, *row) for row in zip(effective.tolist(), df.tolist(), strict=True)]
    quantiles = {number: intervals.student(level, number) for number in set(df.tolist())}
    return error * [quantiles[number] for number in df.tolist()]


def covered(read, truth, level):
    """Return the share of streams whose interval contains the true mean, in percent."""
    return 100 * np.mean(abs(read[0] - truth) <= margins(read, level))


def missed(reads, truth):
    """Return the share of streams whose sequence misses the true mean at any look, in percent."""
    missed = dict.fromkeys(LEVELS, False)
    for mean, error, *numbers in reads:
        off = abs(mean - truth) > error  # no sequence is narrower than this
        part = [column[off] for column in (mean, error, *numbers)]
        for level in LEVELS:
            miss = off.copy()
            miss[off] = abs(part[0] - truth) > margins(part, level, anytime=True)
            missed[level] |= miss
    return {level: 100 * np.mean(miss) for level, miss in missed.items()}


EVEN = range(100, 100 + 50 * LOOKS, 50)
GEOMETRIC = np.unique(np.geomspace(100, 20_000, LOOKS).astype(int)).tolist()


def looks(runs, numbers, draw, weigh, seed):
    """Yield the estimates of streams after each number of samples."""
    rng, streams = np.random.default_rng(seed), Streams(runs)
    for number in numbers:
        streams.add(*drawn(rng, draw, weigh, (runs, number - streams.k)))
        yield streams.read()


# ---- the simulations show the library's intervals ----


def test_the_simulated_intervals_are_those_of_summaries():
    rng, streams = np.random.default_rng(1), Streams(20)
    metrics = [ce.MeanLoss() for _ in range(20)]
    for size in (100, 50, 3000):
        losses, weight = drawn(rng, calibrated, weighted, (20, size))
        streams.add(losses, weight)
        for metric, row, of_row in zip(metrics, losses, weight, strict=True):
            metric.update(row, weight=of_row)
        read = streams.read()
        for anytime in (False, True):
            high = [metric.summary(0.9, anytime).interval[1] for metric in metrics]
            assert high == pytest.approx(read[0] + margins(read, 0.9, anytime), rel=1e-9)


@pytest.mark.parametrize("clusters", [40, 1000])
def test_the_simulated_intervals_of_clusters_are_those_of_summaries(clusters):
    rng = np.random.default_rng(2)
    for _ in range(5):
        sizes, losses = documents(rng, (1, clusters))
        buckets = rng.integers(0, 256, (1, clusters))
        streams = ClusteredStreams(1)
        streams.add(sizes, losses, buckets)
        total, held = clustered(losses, np.repeat(buckets[0], sizes[0]))
        for anytime in (False, True):
            summary = summarise(total, anytime=anytime, buckets=held)
            read = streams.read()
            assert summary.interval[1] == pytest.approx((read[0] + margins(read, 0.95, anytime))[0], rel=1e-9)


# ---- one look ----


@pytest.mark.parametrize("samples", [100, 1000, 5000])
@pytest.mark.parametrize("draw", [calibrated, exponential])
def test_intervals_hold_the_truth_as_often_as_they_say(draw, samples):
    (read,) = looks(4000, [samples], draw, unweighted, samples)
    for level in LEVELS:
        assert covered(read, truth_of(draw, unweighted), level) == pytest.approx(100 * level, abs=1.5)


@pytest.mark.parametrize("draw", [calibrated, overconfident, exponential])
def test_intervals_of_weighted_samples_do_as_well(draw):
    (read,) = looks(4000, [2000], draw, weighted, 5)
    for level in LEVELS:
        assert covered(read, truth_of(draw, weighted), level) == pytest.approx(100 * level, abs=1.5)


def test_intervals_of_five_normal_losses_do_as_well():
    (read,) = looks(8000, [5], lambda rng, shape: rng.normal(3, 0.5, shape), unweighted, 6)
    for level in LEVELS:
        assert covered(read, 3.0, level) == pytest.approx(100 * level, abs=1.5)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_intervals_of_perplexity_hold_the_true_perplexity_as_often_as_they_say(level):
    rng, hits, runs = np.random.default_rng(7), 0, 3000
    truth = math.exp(truth_of(calibrated, unweighted))
    for _ in range(runs):
        low, high = ce.MeanLoss().update(calibrated(rng, 400)).summary(level).perplexity_interval
        hits += low <= truth <= high
    assert 100 * hits / runs == pytest.approx(100 * level, abs=1.5)


# ---- clusters ----


@functools.cache
def streams_of_documents(clusters):
    runs = 4000 if clusters <= 1000 else 2000
    rng, streams = np.random.default_rng(clusters), ClusteredStreams(runs)
    for _ in range(0, clusters, 40):
        streams.add(*documents(rng, (runs, 40)), rng.integers(0, 256, (runs, 40)))
    return streams


CLUSTERS = pytest.mark.parametrize("clusters", [40, 200, 1000, 5000])


@CLUSTERS
def test_intervals_of_clusters_of_unequal_sizes_hold_the_truth_as_often_as_they_say(clusters):
    read = streams_of_documents(clusters).read()
    for level in LEVELS:
        assert covered(read, DOCUMENTS_MEAN, level) == pytest.approx(100 * level, abs=1.5)


@CLUSTERS
def test_without_their_clusters_the_same_intervals_hold_the_truth_far_too_rarely(clusters):
    assert covered(streams_of_documents(clusters).samples(), DOCUMENTS_MEAN, 0.95) < 65


# ---- groups ----


@pytest.mark.parametrize("number", [8, 40])
def test_intervals_of_the_mean_of_groups_cover_as_often_as_they_say(number):
    """Users are drawn at random, as macro() assumes, and some have many losses."""
    rng = np.random.default_rng(13)
    covered = {0.9: 0, 0.95: 0}
    for _ in range(2000):
        own = rng.gamma(4, 0.1, number)
        counts = rng.integers(1, 30, number)
        by = np.repeat(np.arange(number), counts)
        metric = ce.Grouped(ce.MeanLoss()).update(np.repeat(own, counts) * rng.gamma(4, 0.25, by.size), by=by)
        for level in covered:
            low, high = metric.macro(level).interval
            covered[level] += low <= 0.4 <= high
    for level, times in covered.items():
        assert abs(100 * times / 2000 - 100 * level) <= 1.5


# ---- many looks ----


@pytest.mark.parametrize("numbers", [EVEN, GEOMETRIC], ids=["even", "geometric"])
@pytest.mark.parametrize("weigh", [unweighted, weighted])
@pytest.mark.parametrize("draw", [calibrated, overconfident, exponential])
def test_sequences_of_200_looks_miss_the_truth_at_most_as_often_as_they_say(draw, weigh, numbers):
    for level, share in missed(looks(1000, numbers, draw, weigh, 8), truth_of(draw, weigh)).items():
        assert share <= 100 * (1 - level) + 1e-9


def test_sequences_of_a_rare_outcomes_losses_miss_at_most_as_often_as_they_say_up_to_95_percent():
    found = missed(looks(1000, EVEN, rare, unweighted, 9), truth_of(rare, unweighted))
    assert found[0.9] <= 10
    assert found[0.95] <= 5


@pytest.mark.parametrize("weigh", [unweighted, weighted])
def test_sequences_of_a_rare_outcomes_losses_do_at_all_levels_from_1000_samples_on(weigh):
    late = range(1000, 1000 + 50 * LOOKS, 50)
    for level, share in missed(looks(1000, late, rare, weigh, 3), truth_of(rare, weigh)).items():
        assert share <= 100 * (1 - level) + 1e-9


def test_intervals_looked_at_200_times_miss_far_more_often():
    miss, truth = False, truth_of(calibrated, unweighted)
    for read in looks(600, EVEN, calibrated, unweighted, 10):
        miss |= abs(read[0] - truth) > margins(read, 0.95)
    assert np.mean(miss) > 0.35


def arriving(rng, runs, first, step):
    """Yield looks at streams in which each look adds new documents."""
    streams = ClusteredStreams(runs)
    for number in [first] + [step] * (LOOKS - 1):
        streams.add(*documents(rng, (runs, number)), rng.integers(0, 256, (runs, number)))
        yield streams.read()


def returning(rng, runs, users, step):
    """Yield looks at streams in which each look adds losses of the same users."""
    streams = ClusteredStreams(runs)
    hardness = rng.gamma(4, DOCUMENTS_MEAN / 4, (runs, users))
    buckets = rng.integers(0, 256, (runs, users))
    for number in [100] + [step] * (LOOKS - 1):
        who = np.minimum(rng.exponential(users / 4, (runs, number)).astype(int), users - 1)  # some are frequent
        losses = np.take_along_axis(hardness, who, 1) * rng.gamma(4, 1 / 4, who.shape)
        streams.add(np.ones(who.shape, int), losses.ravel(), np.take_along_axis(buckets, who, 1))
        yield streams.read()


@pytest.mark.parametrize(("first", "step"), [(40, 10), (100, 20)])
def test_sequences_of_arriving_clusters_miss_at_most_as_often_as_they_say(first, step):
    for level, share in missed(arriving(np.random.default_rng(11), 1000, first, step), DOCUMENTS_MEAN).items():
        assert share <= 100 * (1 - level) + 1e-9


def test_sequences_of_clusters_that_come_back_miss_at_most_as_often_as_they_say():
    for level, share in missed(returning(np.random.default_rng(12), 1000, 300, 50), DOCUMENTS_MEAN).items():
        assert share <= 100 * (1 - level) + 1e-9


# ---- two models ----


def of_two_models(rng, size):
    """Draw log losses of two equally good models with independent noise, on the same samples."""
    logits = rng.normal(0, 1.5, size)
    hit = rng.random(size) < 1 / (1 + np.exp(-logits))
    return [np.logaddexp(0, np.where(hit, -1, 1) * (logits + rng.normal(0, 0.5, size))) for _ in range(2)]


def test_of_equally_good_models_one_is_called_better_as_rarely_as_the_level_says():
    rng, values, outside, runs = np.random.default_rng(14), [], 0, 3000
    for _ in range(runs):
        found = ce.Paired(ce.MeanLoss()).update(*of_two_models(rng, 300)).summary()
        values.append(found.p_value)
        outside += found.better is not None
    assert 100 * outside / runs == pytest.approx(5, abs=1.5)
    for alpha in (0.01, 0.1, 0.5):
        assert 100 * np.mean(np.array(values) <= alpha) == pytest.approx(100 * alpha, abs=2.0)


def looks_at_two_models(rng, anytime):
    """Return the smallest p-value in 50 looks at a comparison of equally good models."""
    paired, least = ce.Paired(ce.MeanLoss()).update(*of_two_models(rng, 50)), 1.0
    for _ in range(50):
        least = min(least, paired.update(*of_two_models(rng, 50)).summary(anytime=anytime).p_value)
    return least


def test_a_running_test_of_equally_good_models_may_be_looked_at_50_times():
    rng = np.random.default_rng(15)
    least = np.array([looks_at_two_models(rng, anytime=True) for _ in range(400)])
    for alpha in (0.01, 0.05, 0.1):
        assert np.mean(least <= alpha) <= alpha


def test_with_the_p_value_of_one_look_that_finds_a_difference_far_too_often():
    rng = np.random.default_rng(16)
    assert np.mean([looks_at_two_models(rng, anytime=False) <= 0.05 for _ in range(200)]) > 0.2


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_intervals_of_shares_hold_the_true_share_about_as_often_as_they_say(share):
    rng = np.random.default_rng(17)
    hits = rng.binomial(200, share, 4000)
    held = {}
    for hit in np.unique(hits):
        a = np.where(np.arange(200) < hit, -1.0, 0.0)
        low, high = ce.Paired(ce.MeanLoss()).update(a, np.zeros(200)).summary().a_better_interval
        held[hit] = low <= share <= high
    assert 100 * np.mean([held[hit] for hit in hits]) == pytest.approx(95, abs=2.0)
