"""The tail: quantiles within 1 %, the share of the worst losses, and bins that can be added."""

import math

import numpy as np
import pytest
from corpus import Corpus
from hypothesis import given
from hypothesis import strategies as st
from streams import streams
from utterances import Batch

import streamce as ce

LOSSES = st.lists(
    st.one_of(st.floats(1e-18, 1e18), st.floats(0, 40), st.just(0.0), st.sampled_from([0.5, 1.0, 2.0**-64, 2.0**63])),
    min_size=1, max_size=60,
)  # fmt: skip


def tail_of(losses, **more):
    """Return the tail of the given losses, which are those of tokens with these log-probabilities."""
    metric = ce.SequenceCrossEntropy(eps=0, tail=True)
    return metric.update_token_log_probs(-np.array(losses, dtype=float)[:, None], **more).tail()


@given(losses=LOSSES, q=st.floats(0, 1))
def test_quantiles_are_within_1_percent(losses, q):
    least = np.sort(losses)[max(0, math.ceil(q * len(losses)) - 1)]  # a share q of the losses does not exceed it
    found = tail_of(losses).quantile(q)
    assert found == pytest.approx(least, rel=0.0079) if least >= 2.0**-64 else found == 0


@given(losses=LOSSES)
def test_the_worst_carry_their_share(losses):
    losses = [loss if loss >= 2.0**-64 else 0.0 for loss in losses]  # smaller losses share a bin with 0
    tail = tail_of(losses)
    total = math.fsum(losses)
    if total == 0:
        assert math.isnan(tail.share(0.5))
        return
    largest = sorted(losses, reverse=True)
    for k in range(len(losses) + 1):
        assert tail.share(k / len(losses)) == pytest.approx(math.fsum(largest[:k]) / total, abs=0.016)
    assert tail.share(1.0) == 1.0
    assert tail.share(0.0) == 0.0


@given(losses=LOSSES)
def test_each_loss_is_in_its_bin(losses):
    tail = tail_of(losses)
    assert tail.count == len(losses) == sum(count for _, _, count, _ in tail.bins)
    for low, high, count, total in tail.bins:
        inside = [loss for loss in losses if low <= loss < high]
        assert (count, total) == (len(inside), math.fsum(inside))
        assert low == 0 or high / low <= 1 + 1 / 64
    assert [low for low, *_ in tail.bins] == sorted(low for low, *_ in tail.bins)


@given(stream=streams(tasks=("binary", "multiclass", "multilabel")), data=st.data())
def test_the_tail_does_not_depend_on_cuts_and_leaves_the_rest_alone(stream, data):
    at = data.draw(st.integers(0, len(stream)))
    whole = stream.fed(tail=True)
    first, second = stream[:at].fed(tail=True), stream[at:].fed(tail=True)
    assert (second + first).to_bytes() == whole.to_bytes()
    assert (whole - first).to_bytes() == second.to_bytes()
    assert ce.from_bytes(whole.to_bytes()) == whole
    assert whole.summary() == stream.fed().summary() or math.isnan(whole.summary().stderr)


def test_a_loss_is_taken_per_unit_of_weight():
    weights = [0.25, 3.0, 0.0]
    metric = ce.BinaryCrossEntropy(tail=True, class_weight=[2.0, 0.5]).update(
        [0.9, 0.5, 0.1], [1, 0, 1], weight=weights
    )
    tail = metric.tail()
    assert tail.count == 2
    assert [low <= loss < high for (low, high, *_), loss in zip(tail.bins, [-math.log(0.9), math.log(2)], strict=True)]
    assert [total for *_, total in tail.bins] == pytest.approx([-0.125 * math.log(0.9), 6 * math.log(2)])


def test_infinite_losses_are_in_the_last_bin():
    tail = ce.BinaryCrossEntropy(tail=True, eps=0).update([0.0, 0.5, 0.5], [1, 1, 0]).tail()
    assert tail.quantile(0.6) == pytest.approx(math.log(2), rel=0.01)
    assert tail.quantile(1.0) == tail.bins[-1][3] == math.inf
    assert math.isnan(tail.share())


def test_sequences_and_utterances_have_tails():
    corpus = Corpus(0, 30, ignored=False)
    metric = corpus.add_to(corpus.metric(tail=True))
    assert metric.tail().quantile(0.9) == pytest.approx(
        np.quantile(corpus.losses(), 0.9, method="inverted_cdf"), rel=0.01
    )
    batch = Batch(0, 50)
    per = batch.fed(tail=True, per="frame").tail()
    losses = batch.losses() / batch.frames
    assert per.count == np.isfinite(losses).sum()
    assert per.quantile(0.5) == pytest.approx(
        np.quantile(losses[np.isfinite(losses)], 0.5, method="inverted_cdf"), rel=0.01
    )


def test_the_table_shows_quantiles():
    tail = ce.BinaryCrossEntropy(tail=True).update([0.9] * 99 + [0.001], [1] * 100).tail()
    assert str(tail).splitlines()[1].strip() == f"the worst 1 % of losses carry {100 * tail.share():.3g} % of their sum"
    assert tail.to_dict()["p50"] == tail.quantile(0.5)


def test_a_quantile_is_that_of_the_share_as_it_is_written():
    tail = tail_of([0.1] * 7 + [5.0] * 93)
    assert tail.quantile(0.07) == pytest.approx(0.1, rel=0.01)  # 0.07 * 100 is 7.000000000000001


def test_an_empty_tail_is_nan():
    tail = ce.MulticlassCrossEntropy(tail=True).tail()
    assert (tail.count, tail.bins) == (0, ())
    assert math.isnan(tail.quantile(0.5))
    assert math.isnan(tail.share())


def test_what_has_no_tail_says_so():
    with pytest.raises(ce.InputError, match="tail is False"):
        ce.BinaryCrossEntropy().tail()
    with pytest.raises(ce.InputError, match="tail"):
        ce.BinaryCrossEntropy() + ce.BinaryCrossEntropy(tail=True)
    metric = ce.BinaryCrossEntropy(tail=True)
    with pytest.raises(ce.InputError, match="more was subtracted"):
        (metric - ce.BinaryCrossEntropy(tail=True).update(0.5, 1)).tail()
    for wrong in (-0.1, 1.5, "a", True, math.nan):
        with pytest.raises(ce.InputError, match="between 0 and 1"):
            metric.tail().quantile(wrong)
