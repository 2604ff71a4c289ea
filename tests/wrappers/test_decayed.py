"""Decay: weights halve with each half-life, and the mean is exact except for the rounding of each weight."""

import datetime as dt
import math
import pickle
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_writer import body, groups, key, record, sealed
from streams import METRICS, make, streams

import streamce as ce
from streamce.core.kernels import kernels

HOUR = 3_600_000_000
INT, DATETIME = 1, 4


def empty(stream):
    """Return the metric of a stream, without sums by class or label."""
    options = {name: value for name, value in stream.options.items() if name not in ("per_class", "per_label")}
    return METRICS[stream.task](**options, **({"per_label": False} if stream.task == "multilabel" else {}))


def add(stream, metric, **more):
    return metric.update(stream.preds, stream.target, weight=stream.weight, **more)


def decayed(losses, times, weight=None, half_life="1h"):
    return ce.Decayed(ce.MeanLoss(), half_life=half_life).update(losses, by_time=times, weight=weight)


def factor(tick, half_life):
    """Return the weight of a timestamp in its half-life, as in docs/FORMAT.md, and the half-life."""
    number = tick // half_life
    rest = float((number + 1) * half_life - tick) / float(half_life)
    return kernels.exp(-rest * 0.6931471805599453), number


TIMES = st.one_of(st.floats(-1e6, 1e6), st.integers(-100, 100).map(lambda hour: 3600.0 * hour))
LOSSES = st.floats(-1e300, 1e300)


WEIGHTS = st.one_of(st.just(0.0), st.floats(1e-300, 1e6))


@given(st.lists(st.tuples(LOSSES, TIMES, WEIGHTS), min_size=1, max_size=30))
def test_the_mean_is_the_exact_quotient_of_rounded_terms(samples):
    losses, times, weight = zip(*samples, strict=True)
    found = decayed(losses, times, weight)
    n = d = Fraction(0)
    for loss, time, of in samples:
        share, number = factor(round(time * 1e6), HOUR)
        n += Fraction(loss * of * share) * Fraction(2) ** number
        d += Fraction(of * share) * Fraction(2) ** number
    expected = oracle.rounded(n / d) if d else math.nan
    assert found.compute() == pytest.approx(expected, rel=0, abs=0, nan_ok=True)


@given(st.lists(st.tuples(st.floats(0.001, 10), st.floats(0, 1e6)), min_size=2, max_size=30))
def test_the_mean_and_its_error_are_those_of_the_formula(samples):
    losses, times = (np.array(column) for column in zip(*samples, strict=True))
    ticks = [int(np.rint(time * 1e6)) for time in times]
    weights = [mpmath.mpf(2) ** (mpmath.mpf(tick) / HOUR) for tick in ticks]
    summary = decayed(losses, times).summary()
    mean = mpmath.fsum(w * loss for w, loss in zip(weights, losses, strict=True)) / mpmath.fsum(weights)
    assert oracle.relative(summary.value, mean) < 2e-15
    k = len(samples)
    squares = mpmath.fsum((w * (loss - mean)) ** 2 for w, loss in zip(weights, losses, strict=True))
    error = mpmath.sqrt(mpmath.mpf(k) / (k - 1) * squares) / mpmath.fsum(weights)
    assert abs(summary.stderr - error) < 1e-7 * mean  # equal losses leave only rounding of squares
    end = (max(ticks) // HOUR + 1) * HOUR
    newest = mpmath.mpf(2) ** (-mpmath.mpf(end) / HOUR)
    assert oracle.relative(summary.weight, mpmath.fsum(weights) * newest) < 1e-15
    assert oracle.relative(summary.total, mean * mpmath.fsum(weights) * newest) < 2e-15


def test_a_weight_is_right_to_a_rounding():
    half_life = 86_400_000_000 * 30
    for tick in np.random.default_rng(1).integers(-(10**16), 10**16, 300).tolist():
        share, number = factor(tick, half_life)
        assert 0.5 <= share <= 1
        assert oracle.ulps(share, mpmath.mpf(2) ** (mpmath.mpf(tick) / half_life - number - 1)) < 2


@given(streams(), st.data())
def test_order_chunks_and_workers_change_no_bit(stream, data):
    times = np.array(data.draw(st.lists(TIMES, min_size=len(stream), max_size=len(stream))))
    whole = add(stream, ce.Decayed(empty(stream), half_life="1h"), by_time=times)
    order = np.array(data.draw(st.permutations(range(len(stream)))))
    workers = [ce.Decayed(empty(stream), half_life="1h") for _ in range(3)]
    at = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)) | {0, len(stream)})
    for start, end in pairwise(at):
        worker = workers[data.draw(st.integers(0, 2))]
        add(stream[order[start:end]], worker, by_time=times[order[start:end]])
    a, b, c = data.draw(st.permutations(workers))
    assert (a + b + c).to_bytes() == (a + (b + c)).to_bytes() == whole.to_bytes()
    assert ce.from_bytes(whole.to_bytes()) == pickle.loads(pickle.dumps(whole)) == whole
    assert repr((c + b + a).summary()) == repr(whole.summary())


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(-(10**9), 10**9)), min_size=1, max_size=20))
def test_whole_half_lives_later_all_is_the_same(samples):
    losses, micro = zip(*samples, strict=True)
    times = np.array(micro)
    one = decayed(losses, times.astype("datetime64[us]"))
    later = decayed(losses, (times + 7 * HOUR).astype("datetime64[us]"))
    assert repr(one.summary()) == repr(later.summary())


def test_samples_weigh_half_for_each_half_life():
    metric = decayed([8.0, 2.0, 1.0], [0.0, 3600.0, 7200.0])
    assert metric.compute() == (8.0 + 2 * 2.0 + 4 * 1.0) / 7
    summary = metric.summary()
    assert (summary.weight, summary.total) == (0.5 + 0.25 + 0.125, 0.5 + 0.5 + 1.0)
    assert (summary.count, summary.samples, summary.seen) == (3, 3, 3)


def test_equal_moments_weigh_the_same_as_no_decay():
    losses, weight = np.random.default_rng(3).exponential(size=(2, 1000))
    plain, found = (
        ce.MeanLoss().update(losses, weight=weight).summary(),
        decayed(losses, [7.0] * 1000, weight).summary(),
    )
    assert found.value == pytest.approx(plain.value, rel=1e-15)
    assert found.stderr == pytest.approx(plain.stderr, rel=1e-14)
    assert found.interval == pytest.approx(plain.interval, rel=1e-14)


def test_the_interval_counts_samples_by_their_weights():
    """Old samples do not narrow the interval: with a half-life of one sample, about 3 samples are effective."""
    losses = np.random.default_rng(4).exponential(size=4000)
    summary = decayed(losses, 3600.0 * np.arange(4000)).summary()
    margin = summary.interval[1] - summary.value
    assert margin / summary.stderr == pytest.approx(4.302652729749464, rel=1e-9)  # Student's, for 2 degrees of freedom
    assert summary.count == 4000


def test_what_lies_far_back_weighs_nothing_and_is_counted():
    metric = ce.Decayed(ce.MeanLoss(invalid="skip"), half_life="1us")
    metric.update([5.0, math.inf, math.nan, 2.0, 4.0], by_time=[-6e10, 0.0, 0.0, 1.8e9, 1.8e9 - 1e-6])
    summary = metric.summary()
    assert summary.value == (2.0 + 4.0 / 2) / 1.5
    assert (summary.count, summary.infinite, summary.invalid_nan) == (4, 1, 1)
    near, far = (
        ce.Decayed(ce.MeanLoss(), half_life="1s").update([math.inf, 1.0], by_time=[time, 10_000.0])
        for time in (6000.0, 5999.0)
    )
    assert (near.compute(), far.compute()) == (math.inf, 1.0)


def test_the_largest_losses_stay_finite():
    times = np.linspace(0, 7200, 50)
    assert decayed([1.7976931348623157e308] * 50, times).compute() == pytest.approx(1.7976931348623157e308, rel=1e-15)


def test_infinite_and_odd_losses_are_counted():
    metric = ce.Decayed(ce.BinaryCrossEntropy(eps=0.0, ignore_index=-1, invalid="skip"), half_life="1h")
    metric.update([0.5, 0.5, np.nan, 0.25], [1, -1, 1, 0], by_time=[0.0, 1.0, 2.0, 3.0])
    summary = metric.summary()
    assert (summary.count, summary.ignored, summary.invalid_nan) == (2, 1, 1)
    metric.update([0.0], [1], by_time=[-7200.0])
    assert metric.compute() == math.inf
    assert metric.summary().infinite == 1


def test_an_empty_one_has_no_mean():
    metric = ce.Decayed(ce.MeanLoss(), half_life="1h")
    assert math.isnan(metric.compute())
    assert metric.summary().count == 0
    assert metric.update([], by_time=[]) == metric.copy().reset()
    ignored = ce.Decayed(ce.BinaryCrossEntropy(ignore_index=0), half_life="1h").update([0.5], [0], by_time=[0.0])
    assert math.isnan(ignored.compute())
    assert ignored.summary().ignored == 1


def test_a_sample_of_weight_0_weighs_nothing():
    metric = decayed([1.0, 5.0], [0.0, 36000.0], weight=[1.0, 0.0])
    assert metric.compute() == 1.0


def test_what_was_added_is_taken_away_again():
    a, b = decayed([1.0, 2.0], [0.0, 1e9]), decayed([3.0], [5e8])
    assert (a + b - b).to_bytes() == a.to_bytes()
    for wrong in (a - b, b - a):
        with pytest.raises(ce.InputError, match="more was subtracted"):
            wrong.compute()
        with pytest.raises(ce.InputError, match="more was subtracted"):
            wrong.summary()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_bits_with_each_instruction_set(simd, weighted):
    stream = make("multilabel", 5000, classes=3, kind="logits", weighted=weighted, per_label=False, seed=6)
    times = np.random.default_rng(6).uniform(-1e9, 1e9, 5000)
    found = add(stream, ce.Decayed(stream.metric(), half_life="1d"), by_time=times).to_bytes()
    kernels.use(kernels.supported()[0])
    assert add(stream, ce.Decayed(stream.metric(), half_life="1d"), by_time=times).to_bytes() == found


def test_samples_of_the_caller_are_left_as_they_are():
    losses, weight, times = np.ones(5), np.ones(5), np.arange(5.0)
    decayed(losses, times, weight)
    assert (losses == 1).all()
    assert (weight == 1).all()
    assert (times == np.arange(5.0)).all()


# ---- bad input ----


@pytest.mark.parametrize(
    "half_life", ["", "0s", "-1h", "1.5h", "1 fortnight", 1e-7, 0, True, None, dt.timedelta(0), dt.timedelta(-1), []]
)
def test_a_half_life_is_a_length_of_time(half_life):
    with pytest.raises(ce.InputError, match=r"^half_life is"):
        ce.Decayed(ce.MeanLoss(), half_life=half_life)


@pytest.mark.parametrize(
    "metric",
    [
        ce.MeanLoss, None, ce.MeanLoss().update(0.5), ce.Grouped(ce.MeanLoss()), ce.Collection({"a": ce.MeanLoss()}),
        ce.Sliding(ce.MeanLoss(), period="1h", step="1min"), ce.BinaryCrossEntropy(tail=True),
    ],
)  # fmt: skip
def test_what_cannot_decay_is_an_error(metric):
    with pytest.raises(ce.InputError, match=r"^metric "):
        ce.Decayed(metric, half_life="1h")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "by_time is missing"),
        ({"by_time": ["noon"] * 2}, r"by_time\[0\] is 'noon': expected a moment such as"),
        ({"by_time": [0.0]}, "by_time has length 1 and preds 2 samples"),
        ({"by_time": [0.0, math.nan]}, r"by_time\[1\] is missing: expected a timestamp"),
        ({"by_time": [0.0, -math.inf]}, r"by_time\[1\] is -inf"),
        ({"by_time": [0.0, 1.0], "weight": [-1.0, 1.0]}, r"weight\[0\] is -1.0"),
    ],
)
def test_moments_that_are_none_are_an_error_and_nothing_is_counted(given, message):
    metric = decayed([1.0], [0.0])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=f"^{message}"):
        metric.update([1.0, 2.0], **given)
    assert metric.to_bytes() == before


def test_merging_other_decays_names_the_option():
    hour = decayed([1.0], [0.0])
    before = hour.to_bytes()
    for other, option in (
        (decayed([1.0], [0.0], half_life="2h"), "half_life"),
        (ce.Decayed(ce.BinaryCrossEntropy(), half_life="1h"), "other"),
        (ce.MeanLoss(), "other"),
    ):
        for wrong in (lambda other=other: hour + other, lambda other=other: hour - other):
            with pytest.raises(ce.InputError) as caught:
                wrong()
            assert caught.value.argument == option
    assert hour.to_bytes() == before
    assert decayed([1.0], [0.0], half_life="60min") == hour


# ---- bytes ----


def half_lives(*numbers, kind=INT, half_life=HOUR):
    cell = record(("samples", 0, [2]), ("count", 0, [2]))
    options = {"half_life": half_life, "metric": {"metric": "MeanLoss", "options": {}}}
    some = groups([kind], *((key(kind, number), cell) for number in numbers))
    return body({"metric": "Decayed", "options": options}, (b"groups", some))


LAST = 253_402_300_799_999_999


def test_half_lives_of_the_page_are_read():
    for right in (half_lives(0), half_lives(-5, 7), half_lives(LAST // HOUR), half_lives(-1, 0, half_life=LAST)):
        assert ce.from_bytes(sealed(right)).to_bytes() == sealed(right)


@pytest.mark.parametrize(
    "wrong",
    [
        half_lives(0, kind=DATETIME), half_lives(None), half_lives(None, 0), half_lives(LAST // HOUR + 1),
        half_lives(-(2**62)), half_lives(0, half_life=0), half_lives(0, half_life=1.0), half_lives(0, half_life=None),
        half_lives(0, half_life=True), half_lives(0, half_life=LAST + 1), half_lives(7, -5),
    ],
)  # fmt: skip
def test_bytes_that_no_decay_writes_are_refused(wrong):
    with pytest.raises(ce.InputError) as caught:
        ce.from_bytes(sealed(wrong))
    assert caught.value.argument == "state"
