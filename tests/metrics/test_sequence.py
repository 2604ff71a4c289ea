"""Sequences: padding, cuts and batches change no result, per token, sequence, word, byte or position."""

import itertools
import math
import subprocess
import sys
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from corpus import Corpus
from hypothesis import given
from hypothesis import strategies as st
from streams import DTYPES, KINDS

import streamce as ce
from streamce.metrics import options

pytestmark = pytest.mark.core

CLASSES = pytest.mark.parametrize("cls", [ce.SequenceCrossEntropy, ce.Perplexity])


@st.composite
def corpora(draw, **more):
    return Corpus(
        draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 20)), kind=draw(st.sampled_from(KINDS)),
        dtype=draw(st.sampled_from(list(DTYPES))), odd=draw(st.booleans()), ignored=draw(st.booleans()),
        empty=draw(st.booleans()), **more,
    )  # fmt: skip


def ways(draw):
    """Draw the ways in which a corpus is added."""
    per = draw(st.sampled_from(["token", "sequence"]))
    weights = [None, "sequence", "token"] if per == "token" else [None, "sequence"]
    weighted = draw(st.sampled_from(weights))
    counted = draw(st.booleans()) and weighted != "token"
    options = {"per": per, "per_position": draw(st.booleans())}
    return options, {"masked": draw(st.booleans()), "weighted": weighted, "counted": counted}


# ---- the same bits ----


@given(data=st.data())
def test_the_state_does_not_depend_on_padding_cuts_or_order(data):
    corpus = data.draw(corpora())
    options, how = ways(data.draw)
    clustered = data.draw(st.booleans())

    def fed(groups, flat, room=0):
        metric = corpus.metric(**options)
        for some in groups:
            ids = {"cluster": corpus.document[some]} if clustered else {}
            corpus.add_to(metric, some, flat=flat, room=room, **how, **ids)
        return metric.to_bytes()

    everything = np.arange(len(corpus))
    whole = fed([everything], flat=True)
    assert fed([everything], flat=False) == whole
    assert fed([everything], flat=False, room=17) == whole
    assert fed([[i] for i in everything], flat=data.draw(st.booleans())) == whole
    shuffled = data.draw(st.permutations(list(everything)))
    at = data.draw(st.integers(0, len(corpus)))
    assert fed([np.array(part, dtype=int) for part in (shuffled[:at], shuffled[at:])], flat=True) == whole


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("per", ["token", "sequence"])
def test_the_state_does_not_depend_on_threads(flat, per):
    corpus = Corpus(1, 1500, vocabulary=40, longest=60, dtype="float32")
    states = [
        corpus.add_to(
            corpus.metric(per=per, threads=n, per_position=True), flat=flat, weighted="sequence", counted=True
        )
        for n in (1, 2, 7)
    ]
    assert len({state.to_bytes() for state in states}) == 1


def test_a_sequence_longer_than_a_block_is_one_sample():
    rng = np.random.default_rng(0)
    preds, target = rng.normal(size=(30_000, 3)), rng.integers(0, 3, 30_000)
    bounds = [0, 1, 11_111, 11_112, 29_999, 30_000]
    metric = ce.SequenceCrossEntropy(kind="logits").update(preds, target, offsets=bounds)
    one_by_one = ce.SequenceCrossEntropy(kind="logits")
    for a, b in itertools.pairwise(bounds):
        one_by_one.update(preds[None, a:b], target[None, a:b])
    assert metric == one_by_one
    assert metric.summary().samples == 5


def test_padded_tokens_are_those_of_a_multiclass_metric():
    corpus = Corpus(2, 30, ignored=True)
    rows = corpus.padded(corpus.preds, np.arange(30), 9, 0.0), corpus.padded(corpus.target, np.arange(30), 9, -100)
    metric = ce.SequenceCrossEntropy(kind="logits").update(*rows)
    plain = ce.MulticlassCrossEntropy(kind="logits", ignore_index=-100).update(*rows)
    assert metric.summary() == plain.summary()


# ---- against plain arithmetic ----


@given(data=st.data())
def test_every_ratio_is_that_of_the_sums(data):
    corpus = data.draw(corpora())
    options, how = ways(data.draw)
    metric = corpus.add_to(corpus.metric(**options), flat=data.draw(st.booleans()), **how)
    losses = corpus.losses()
    invalid = np.isnan(losses) & (corpus.target != -100)
    if how["masked"]:
        invalid &= corpus.mask
        losses[~corpus.mask] = np.nan
    over = {"main": Fraction(0), "words": Fraction(0), "bytes": Fraction(0)}
    total, text_total, counted, samples, skipped = Fraction(0), Fraction(0), 0, 0, 0
    of_text = {"words": 0, "bytes": 0}  # samples
    for i in range(len(corpus)):
        tokens = range(corpus.offsets[i], corpus.offsets[i + 1])
        kept = [t for t in tokens if not math.isnan(losses[t])]
        if not len(tokens):  # an empty sequence adds its words and bytes
            weight = Fraction(corpus.weight[i] if how["weighted"] else 1)
            for name, number in (("words", corpus.words[i]), ("bytes", corpus.bytes[i])):
                over[name] += weight * int(number)
                of_text[name] += int(number) > 0
        is_valid = not invalid[tokens].any()  # an invalid token leaves the words and bytes of its sequence out
        skipped += not is_valid
        if not kept:
            continue
        each = {
            None: lambda t: 1.0,
            "sequence": lambda t, i=i: corpus.weight[i],
            "token": lambda t: corpus.token_weight[t],
        }
        weight = [Fraction(each[how["weighted"]](t)) for t in kept]
        n = sum((w * Fraction(losses[t]) for w, t in zip(weight, kept, strict=True)), Fraction(0))
        total += n
        over["main"] += weight[0] if options["per"] == "sequence" else sum(weight)
        counted, samples = counted + len(kept), samples + 1
        if is_valid:
            text_total += n
            over["words"] += weight[0] * int(corpus.words[i])
            over["bytes"] += weight[0] * int(corpus.bytes[i])
            of_text = {name: number + 1 for name, number in of_text.items()}
    found = metric.summary()
    assert (found.count, found.samples) == (counted, samples)
    near(found.total, total)
    near(found.weight, over["main"])
    near(metric.compute(), total / over["main"] if over["main"] else None)
    for name, read in (("words", metric.per_word), ("bytes", metric.per_byte)):
        mean = text_total / over[name] if how["counted"] and over[name] else None
        if not (how["counted"] and of_text[name] and not over[name]):  # without words the mean is inf
            near(read().mean, mean)
        assert read().samples == (of_text[name] if how["counted"] else 0)
        assert read().skipped == (skipped if how["counted"] else 0)


@pytest.mark.parametrize("layout", ["flat", "padded", "no positions"])
@pytest.mark.parametrize("clustered", [False, True])
def test_a_batch_of_empty_sequences_adds_only_words_and_bytes(layout, clustered):
    preds, target, where = {
        "flat": (np.zeros((0, 5)), [], {"offsets": [0, 0, 0]}),
        "padded": (np.full((2, 4, 5), np.nan), np.full((2, 4), 99), {"lengths": [0, 0]}),
        "no positions": (np.zeros((2, 0, 5)), np.zeros((2, 0), int), {}),
    }[layout]
    more = {"cluster": [1, 2]} if clustered else {}
    for per in ("token", "sequence"):
        metric = ce.SequenceCrossEntropy(per=per)
        assert metric.copy().update(preds, target, weight=[2.0, 3.0], **where, **more) == metric
        metric.update(preds, target, weight=[2.0, 3.0], n_words=[0, 4], n_bytes=[5, 6], **where, **more)
        assert (metric.summary().count, metric.summary().samples, metric.summary().weight) == (0, 0, 0.0)
        assert math.isnan(metric.compute())
        words, text = metric.per_word(), metric.per_byte()
        assert (words.mean, words.count, words.samples, words.weight) == (0.0, 0, 1, 12.0)
        assert (text.mean, text.count, text.samples, text.weight) == (0.0, 0, 2, 28.0)
        assert (metric - metric).to_bytes() == ce.SequenceCrossEntropy(per=per).to_bytes()
        assert ce.from_bytes(metric.to_bytes()) == metric


def test_empty_text_may_not_mix_clusters():
    empty = {"offsets": [0, 0], "n_bytes": [3]}
    clustered = ce.SequenceCrossEntropy().update_token_log_probs([], cluster=[1], **empty)
    plain = ce.SequenceCrossEntropy().update_token_log_probs([], **empty)
    with pytest.raises(ce.InputError, match="cluster is missing"):
        clustered.update_token_log_probs([], **empty)
    with pytest.raises(ce.InputError, match="cluster is given"):
        plain.update_token_log_probs([], cluster=[1], **empty)
    with pytest.raises(ce.InputError, match="cluster"):
        clustered.merge(plain)


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8"])
@pytest.mark.parametrize("per", ["token", "sequence"])
def test_any_number_of_empty_sequences_lies_between(dtype, per):
    rng = np.random.default_rng(2)
    lengths = rng.integers(0, 4, 20_000) * (rng.random(20_000) < 0.1)
    weight = rng.integers(0, 9, 20_000).astype(dtype)
    log_probs = np.log(rng.random(lengths.sum()))
    found, expected = (
        ce.SequenceCrossEntropy(per=per, per_position=True),
        ce.SequenceCrossEntropy(per=per, per_position=True),
    )
    found.update_token_log_probs(log_probs, offsets=np.append(0, np.cumsum(lengths)), weight=weight)
    some = lengths > 0
    expected.update_token_log_probs(log_probs, offsets=np.append(0, np.cumsum(lengths[some])), weight=weight[some])
    assert found.to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf, None])
def test_weights_of_empty_sequences_are_checked(weight):
    log_probs, where = [-1.0, -2.0, -3.0], {"offsets": [0, 3, 3], "weight": [1.0, weight]}
    for more in ({}, {"n_words": [1, 2]}):
        metric = ce.SequenceCrossEntropy()
        with pytest.raises(ce.InputError, match=r"^weight\[1\] is ") as error:
            metric.update_token_log_probs(log_probs, **where, **more)
        assert (error.value.argument, error.value.index) == ("weight", (1,))
        assert error.value.cause == ("invalid_null" if weight is None else "invalid_weight")
        assert metric == ce.SequenceCrossEntropy()
    metric = ce.SequenceCrossEntropy(invalid="skip").update_token_log_probs(log_probs, n_words=[1, 2], **where)
    words = metric.per_word()
    assert (metric.compute(), metric.summary().skipped, words.weight, words.skipped) == (2.0, 0, 1.0, 1)
    assert words.to_dict()["invalid_null" if weight is None else "invalid_weight"] == 1


def test_weights_of_sequences_and_of_tokens_must_be_told_apart():
    log_probs, where = [-1.0, -2.0], {"offsets": [0, 2, 2], "weight": [1.0, 3.0]}
    with pytest.raises(ce.InputError, match="as many sequences as tokens, with empty ones: expected padded tokens"):
        ce.SequenceCrossEntropy().update_token_log_probs(log_probs, **where)
    by_words = ce.SequenceCrossEntropy().update_token_log_probs(log_probs, n_words=[1, 1], **where)
    by_sequences = ce.SequenceCrossEntropy(per="sequence").update_token_log_probs(log_probs, **where)
    assert (by_words.compute(), by_sequences.compute()) == (1.5, 3.0)


def test_wrappers_take_empty_sequences():
    log_probs, offsets = np.array([[-1.0], [-2.0], [-3.0]]).reshape(3), [0, 0, 2, 2, 3, 3]
    preds, target = np.stack([np.exp(log_probs), 1 - np.exp(log_probs)], axis=1), np.zeros(3, int)
    full, some = {"offsets": offsets}, {"offsets": [0, 2, 3]}
    for make, more in (
        (ce.Grouped, ("by", ["a", "b", "a", "b", "c"])),
        (lambda metric: ce.Decayed(metric, half_life=9), ("by_time", [5, 6, 7, 8, 9])),
        (lambda metric: ce.Sliding(metric, period=100, step=1), ("by_time", [5, 6, 7, 8, 9])),
    ):
        name, keys = more
        found = make(ce.SequenceCrossEntropy()).update(preds, target, **full, **{name: keys})
        expected = make(ce.SequenceCrossEntropy()).update(preds, target, **some, **{name: [keys[1], keys[3]]})
        assert found.to_bytes() == expected.to_bytes()
    found = ce.Paired(ce.SequenceCrossEntropy()).update(preds, preds[:, ::-1], target, **full)
    expected = ce.Paired(ce.SequenceCrossEntropy()).update(preds, preds[:, ::-1], target, **some)
    assert found.to_bytes() == expected.to_bytes()


def near(found, expected):
    """Return whether values are equal up to one rounding of each product and of each sum of a sequence."""
    if expected is None:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(float(expected), rel=1e-14)


@given(data=st.data())
def test_each_position_is_a_metric_of_its_own(data):
    corpus = data.draw(corpora())
    metric = corpus.add_to(corpus.metric(per_position=True), flat=data.draw(st.booleans()))
    losses = corpus.losses()
    found = metric.per_position()
    for place in range(9):
        rows = [corpus.offsets[i] + place for i in range(len(corpus)) if corpus.lengths[i] > place]
        counted = [losses[row] for row in rows if not math.isnan(losses[row])]
        if place >= len(found):
            assert not rows
        else:
            assert (found[place].count, found[place].seen) == (len(counted), len(rows))
            assert found[place].total == math.fsum(counted)


def test_positions_grow_and_shrink_with_what_is_held():
    short = ce.SequenceCrossEntropy(per_position=True).update_token_log_probs([[-1.0, -2.0]])
    long = ce.SequenceCrossEntropy(per_position=True).update_token_log_probs([np.arange(-99.0, 1.0)])
    assert len((short + long).per_position()) == len((long + short).per_position()) == 100
    assert (short + long - long).to_bytes() == short.to_bytes()
    assert len((short + long - long).per_position()) == 2
    assert ce.from_bytes((short + long - long).to_bytes()) == short


def test_log_probs_of_chosen_tokens_are_those_of_all_tokens():
    corpus = Corpus(3, 40, kind="log_probs", ignored=False)
    chosen = corpus.preds[np.arange(len(corpus.target)), corpus.target]
    known = {"offsets": corpus.offsets, "weight": corpus.weight, "n_words": corpus.words, "cluster": corpus.document}
    whole = corpus.metric(ce.Perplexity).update(corpus.preds, corpus.target, **known)
    assert corpus.metric(ce.Perplexity).update_token_log_probs(chosen, **known) == whole


def test_log_probs_of_tokens_are_floored_as_probabilities_are():
    metric = ce.SequenceCrossEntropy().update_token_log_probs([[-0.5, -1000.0]])
    assert metric.summary().floored == 1
    assert metric.summary().total == pytest.approx(0.5 + 52 * math.log(2))
    assert ce.SequenceCrossEntropy(eps=0).update_token_log_probs([[-0.5, -1000.0]]).summary().total == 1000.5
    assert ce.SequenceCrossEntropy(kind="logits").update_token_log_probs([[-1000.0]]).compute() == 1000.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("base", "factor"), [(2, math.log(2)), (10, math.log(10)), (np.float32(2), math.log(2))])
def test_log_probs_may_have_another_base(dtype, base, factor):
    given = np.log(np.random.default_rng(4).random(40)).astype(DTYPES[dtype])
    given[3] = -math.inf
    natural = given.astype(np.float64) * factor
    where = {"offsets": [0, 10, 10, 40], "weight": [1.0, 3.0, 2.0], "n_words": [3, 1, 9]}
    found = ce.Perplexity(eps=0.0).update_token_log_probs(given, base=base, **where)
    assert found.to_bytes() == ce.Perplexity(eps=0.0).update_token_log_probs(natural, **where).to_bytes()
    assert ce.Perplexity().update_token_log_probs(
        given, base=math.e, **where
    ) == ce.Perplexity().update_token_log_probs(given, **where)


def test_bases_of_logarithms():
    with mpmath.workdps(40):
        for base, log in options.LOG_OF_BASE.items():
            assert base == math.e or float(mpmath.log(base)) == log
    for perplexity, log_probs, base in ((2.0, [[-1.0]], 2), (10.0, [[-1.0]], 10), (math.e, [[-1.0]], math.e)):
        found = ce.Perplexity().update_token_log_probs(log_probs, base=base)
        assert found.compute() == pytest.approx(perplexity, rel=1e-15)
    for base in (1, 0, -2, 3, 2.5, "10", None, True, math.nan, math.inf):
        with pytest.raises(ce.InputError, match=r"^base is .*: expected 2, 10 or math\.e") as error:
            ce.Perplexity().update_token_log_probs([[-1.0]], base=base)
        assert error.value.argument == "base"


@pytest.mark.parametrize(
    ("value", "cause"), [(0.5, "invalid_range"), (math.nan, "invalid_nan"), (None, "invalid_null")]
)
def test_errors_name_the_number_in_its_own_base(value, cause):
    with pytest.raises(ce.InputError, match=r"^log_probs\[2\] is (0\.5|nan|null) ?(in sequence 1)?") as error:
        ce.Perplexity().update_token_log_probs([-1.0, -1.0, value], base=10, offsets=[0, 1, 3])
    assert (error.value.index, error.value.cause) == ((2,), cause)
    assert error.value.value == pytest.approx(value, nan_ok=True)
    skipped = ce.Perplexity(invalid="skip").update_token_log_probs([-1.0, -1.0, value], base=10, offsets=[0, 1, 3])
    assert (skipped.summary().count, skipped.summary().to_dict()[cause]) == (2, 1)


def test_a_null_log_probability_names_the_way_on():
    for log_probs, where in (([[None, -0.5]], {}), ([-1.0, None, -0.5], {"offsets": [0, 1, 3]})):
        with pytest.raises(ce.InputError, match=r'is null: expected a value; tokens without one.* invalid="skip"$'):
            ce.Perplexity().update_token_log_probs(log_probs, **where)
    skipped = ce.SequenceCrossEntropy(invalid="skip").update_token_log_probs([[None, -0.5]])
    assert (skipped.compute(), skipped.summary().invalid_null) == (0.5, 1)


RAGGED = {
    "log_probs": lambda metric: metric.update_token_log_probs([[-1.0, -2.0], [-3.0]]),
    "preds": lambda metric: metric.update([[[0.5, 0.5], [0.25, 0.75]], [[0.5, 0.5]]], [[0, 1], [0, 0]]),
    "target": lambda metric: metric.update(np.full((2, 2, 2), 0.5), ([0, 1], [0])),
}


@pytest.mark.parametrize("argument", RAGGED)
def test_lists_of_different_lengths_name_offsets(argument):
    with pytest.raises(ce.InputError, match=r"give the tokens of all sequences in one list, and offsets=$") as error:
        RAGGED[argument](ce.SequenceCrossEntropy())
    assert error.value.argument == argument
    with pytest.raises(ce.InputError, match="is not an array") as error:
        ce.MulticlassCrossEntropy().update([[0.5, 0.5], [0.2, 0.3, 0.5]], [0, 1])
    assert error.value.hint == ""


def test_soft_targets_are_those_of_a_multiclass_metric():
    rng = np.random.default_rng(4)
    preds, soft = rng.normal(size=(5, 6, 4)), rng.dirichlet(np.ones(4), (5, 6))
    metric = ce.SequenceCrossEntropy(kind="logits").update(preds, soft)
    assert metric.summary() == ce.MulticlassCrossEntropy(kind="logits").update(preds, soft).summary()


@pytest.mark.parametrize("options", [{"label_smoothing": 0.1}, {"class_weight": [1.0, 2.0, 0.5, 3.0]}])
def test_smoothing_and_class_weights_are_those_of_a_multiclass_metric(options):
    rng = np.random.default_rng(5)
    preds, target = rng.normal(size=(5, 6, 4)), rng.integers(0, 4, (5, 6))
    metric = ce.SequenceCrossEntropy(kind="logits", **options).update(preds, target)
    assert metric.summary() == ce.MulticlassCrossEntropy(kind="logits", **options).update(preds, target).summary()
    with pytest.raises(ce.InputError, match=next(iter(options))):
        metric.update_token_log_probs([[-1.0]])


def test_positions_take_soft_targets():
    rng = np.random.default_rng(12)
    preds, soft = rng.dirichlet(np.ones(4), (5, 6)), rng.dirichlet(np.ones(4), (5, 6))
    metric = ce.SequenceCrossEntropy(per_position=True).update(preds, soft)
    expected = ce.MulticlassCrossEntropy().update(preds[:, 2], soft[:, 2])
    assert metric.per_position()[2].mean == expected.compute()


def test_offsets_outlive_an_update_that_was_interrupted():
    """Another thread still reads them after the interrupt of the caller."""
    code = """
import signal, weakref
import numpy as np, streamce as ce
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch

def stop(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, stop)
log_probs = np.full(60_000_000, -1, np.float16)
log_probs[0] = 1  # its part ends at once, so that the caller waits for the other
path = ce.SequenceCrossEntropy(threads=2)._token_pipeline
for seconds in (0.05, 0.02, 0.01, 0.005):
    offsets = [np.arange(0, 60_000_001, 12)]
    alive = weakref.ref(offsets[0])
    target = np.broadcast_to(np.uint8(1), log_probs.shape)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        path.update_batch(State(), Batch(log_probs, target, offsets=offsets.pop()))
    except KeyboardInterrupt:
        print(alive() is not None)
        break
    except ce.InputError:
        signal.setitimer(signal.ITIMER_REAL, 0)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout, found.stderr) == (0, "True\n", "")


# ---- perplexity ----


def test_perplexity_is_e_to_the_mean_of_the_corpus():
    corpus = Corpus(6, 50)
    metric = corpus.add_to(corpus.metric(ce.Perplexity), counted=True, cluster=corpus.document)
    loss = corpus.add_to(corpus.metric(), counted=True, cluster=corpus.document)
    found, plain = metric.summary(), loss.summary()
    assert metric.compute() == found.value == plain.perplexity
    assert found.value == pytest.approx(float(mpmath.exp(mpmath.mpf(plain.mean))), rel=1e-15)
    assert found.interval == plain.perplexity_interval
    assert (found.mean, found.stderr, found.bits) == (plain.mean, plain.stderr, plain.bits)
    assert metric.per_word().value == math.exp(loss.per_word().mean)
    assert metric.per_byte().value == pytest.approx(math.exp(loss.per_byte().mean), rel=1e-15)


def test_perplexity_overflows_to_infinity_and_its_logarithm_stays():
    metric = ce.Perplexity(kind="logits").update([[[0.0, 5000.0]]], [[0]])
    assert metric.compute() == math.inf
    assert metric.summary().mean == 5000.0


@CLASSES
def test_an_empty_stream_is_nan(cls):
    metric = cls(per_position=True).update(np.zeros((0, 4, 3)), np.zeros((0, 4), int))
    metric.update(np.zeros((0, 3)), [], offsets=[0])
    assert math.isnan(metric.compute())
    assert math.isnan(metric.per_word().mean)
    assert len(metric.per_position()) == 0
    assert metric == cls(per_position=True)


@CLASSES
def test_sequences_of_which_all_tokens_are_left_out_are_fine(cls):
    metric = cls().update(np.full((2, 3, 4), 0.25), [[-100] * 3, [1, 2, -100]])
    metric.update(np.full((1, 3, 4), 0.25), [[1, 2, 3]], mask=[[0, 0, 0]], n_words=[3])
    found = metric.summary()
    assert (found.count, found.ignored, found.samples) == (2, 7, 1)
    assert metric.per_word().samples == 0


@CLASSES
def test_calling_gives_the_value_of_the_chunk(cls):
    metric = cls()
    first = metric(np.full((1, 2, 4), 0.25), [[1, 2]], n_words=[1])
    assert first == metric.compute()
    assert metric([[[0.5, 0.5]]], [[1]], lengths=[1]) == cls().update([[[0.5, 0.5]]], [[1]]).compute()
    assert metric.summary().count == 3


def test_groups_have_perplexities():
    corpus = Corpus(7, 60)
    metric = corpus.add_to(ce.Grouped(corpus.metric(ce.Perplexity)), by=corpus.document)
    for one in range(4):
        alone = corpus.add_to(corpus.metric(ce.Perplexity), np.flatnonzero(corpus.document == one))
        assert metric[one] == alone
        assert metric.compute()[one] == metric.summary()[one].value == alone.compute()
    assert metric.micro().value == corpus.add_to(corpus.metric(ce.Perplexity)).compute()


def test_windows_and_decay_have_perplexities():
    corpus = Corpus(10, 60)
    metric = corpus.metric(ce.Perplexity)
    window = ce.Sliding(metric, samples=17)
    for some in np.array_split(np.arange(60), 9):
        corpus.add_to(window, some, flat=bool(len(some) % 2), weighted="sequence")
    last = corpus.add_to(metric.copy(), np.arange(43, 60), weighted="sequence")
    assert window.window() == last
    assert window.compute() == last.compute()
    decayed = corpus.add_to(ce.Decayed(metric, half_life="1d"), by_time=np.zeros(60), weighted="sequence")
    assert decayed.compute() == decayed.summary().value
    assert decayed.compute() == pytest.approx(corpus.add_to(metric.copy(), weighted="sequence").compute(), rel=1e-13)


def test_two_language_models_are_compared_sequence_by_sequence():
    corpus = Corpus(11, 60)
    other = corpus.preds[::-1].copy()
    paired = ce.Paired(corpus.metric(ce.Perplexity)).update(
        corpus.preds, other, corpus.target, offsets=corpus.offsets, cluster=corpus.document
    )
    alone = corpus.metric().update(other, corpus.target, offsets=corpus.offsets, cluster=corpus.document)
    assert paired.summary().b.mean == alone.compute()
    assert paired.summary().b.stderr == alone.summary().stderr
    assert paired.compute() == pytest.approx(corpus.add_to(corpus.metric()).compute() - alone.compute(), rel=1e-12)


def test_words_of_some_updates_alone_count_for_those():
    metric = ce.SequenceCrossEntropy().update_token_log_probs([[-1.0, -2.0]], n_words=[1])
    metric.update_token_log_probs([[-5.0, -5.0]])
    assert metric.per_word().mean == 3.0
    assert metric.compute() == 3.25


def test_errors_per_byte_are_robust_to_clusters():
    corpus = Corpus(8, 80, ignored=False)
    metric = corpus.add_to(corpus.metric(), counted=True, cluster=corpus.document)
    losses, sums, over = corpus.losses(), np.zeros(4), np.zeros(4)
    for i, document in enumerate(corpus.document):
        sums[document] += losses[corpus.offsets[i] : corpus.offsets[i + 1]].sum()
        over[document] += corpus.bytes[i]
    left = (sums.sum() - sums) / (over.sum() - over)
    jackknife = math.sqrt(3 / 4 * ((left - sums.sum() / over.sum()) ** 2).sum())
    assert metric.per_byte().stderr == pytest.approx(jackknife, rel=1e-12)
    assert metric.per_byte().buckets == 4


# ---- the shift of a causal model ----


def test_a_causal_model_predicts_the_next_token():
    rng = np.random.default_rng(9)
    logits, tokens = rng.normal(size=(2, 5, 3)), rng.integers(0, 3, (2, 5))
    preds, target = ce.shift_by_one(logits, tokens)
    assert np.shares_memory(preds, logits)
    assert np.array_equal(preds, logits[:, :4])
    assert np.array_equal(target, tokens[:, 1:])
    preds, target = ce.shift_by_one(logits[0].tolist(), tokens[0].tolist())
    assert preds.shape == (4, 3)
    assert list(target) == list(tokens[0, 1:])


def as_it_is(array):
    return array


@pytest.mark.parametrize("convert", [as_it_is, np.ndarray.tolist])
@pytest.mark.parametrize("lengths", [[1, 1], [1, 4], [4, 1], [2, 1, 1, 3]])
def test_a_document_of_one_token_becomes_empty(convert, lengths):
    rng = np.random.default_rng(3)
    lengths, longest = np.array(lengths), max(lengths)
    logits, tokens = rng.normal(size=(len(lengths), longest, 3)), rng.integers(0, 3, (len(lengths), longest))
    text = {"n_bytes": 3 * lengths, "n_words": lengths - 1}
    preds, target = ce.shift_by_one(convert(logits), convert(tokens))
    found = ce.SequenceCrossEntropy(kind="logits").update(preds, target, lengths=lengths - 1, **text)
    expected = ce.SequenceCrossEntropy(kind="logits")
    for i, n in enumerate(lengths):
        preds, target = ce.shift_by_one(logits[i, :n], tokens[i, :n])
        each = {name: counts[[i]] for name, counts in text.items()}
        expected.update(preds, target, offsets=[0, n - 1], **each)
    assert found == expected
    assert found.summary().count == sum(lengths - 1)
    assert found.per_byte().weight == 3 * sum(lengths)


def test_a_document_without_tokens_has_no_length_below_0():
    preds, target = ce.shift_by_one(np.zeros((3, 5, 2)), np.zeros((3, 5), int))
    lengths = np.array([5, 0, 1])
    metric = ce.SequenceCrossEntropy(kind="logits")
    with pytest.raises(ce.InputError, match=r"^lengths\[1\] is -1.*use numpy\.maximum\(lengths - 1, 0\)$"):
        metric.update(preds, target, lengths=lengths - 1)
    with pytest.raises(ce.InputError, match=r"^lengths\[1\] is -2") as error:
        metric.update(preds, target, lengths=lengths - 2)
    assert not error.value.hint
    assert metric.update(preds, target, lengths=np.maximum(lengths - 1, 0)).summary().count == 4
    for documents in (0, 2):
        preds, target = ce.shift_by_one(np.zeros((documents, 0, 2)), np.zeros((documents, 0), int))
        assert metric.update(preds, target, lengths=np.zeros(documents, int)).summary().count == 4


@pytest.mark.parametrize(
    ("preds", "target", "words"),
    [
        (np.zeros((2, 4, 3)), np.zeros((2, 3), int), r"expected shape \(2, 4\)"),
        (np.zeros(4), np.zeros(3, int), r"preds has shape \(4,\)"),
    ],
)
def test_what_cannot_be_shifted(preds, target, words):
    with pytest.raises(ce.InputError, match=words):
        ce.shift_by_one(preds, target)


# ---- bad input ----

PREDS = np.full((3, 4, 5), 0.2)
TARGET = np.array([[1, 2, 0, 4], [3, 3, 3, 0], [4, 0, 0, 1]])
FLAT = PREDS.reshape(12, 5), TARGET.reshape(12)
BAD = {
    "lengths beyond T": ({"lengths": [4, 5, 1]}, "lengths", (1,), "sequence 1: expected 0 to 4"),
    "negative lengths": ({"lengths": [4, 2, -1]}, "lengths", (2,), "sequence 2"),
    "too few lengths": ({"lengths": [4, 1]}, "lengths", None, r"has shape \(2,\).*one length per sequence"),
    "lengths that are real": ({"lengths": [4.0, 1.0, 2.0]}, "lengths", None, "integers"),
    "a mask of the wrong shape": ({"mask": [True] * 4}, "mask", None, r"has shape \(4,\)"),
    "a mask of numbers": ({"mask": np.full((3, 4), 2)}, "mask", (0, 0), "is 2"),
    "a mask of reals": ({"mask": np.ones((3, 4))}, "mask", None, "bool, or integers"),
    "weights of no shape": ({"weight": [1.0, 2.0]}, "weight", None, r"has shape \(2,\)"),
    "words below 0": ({"n_words": [1, -2, 3]}, "n_words", (1,), "is -2, of sequence 1"),
    "bytes that are real": ({"n_bytes": [1.5, 2, 3]}, "n_bytes", None, "integers"),
    "words beyond int64": (
        {"n_words": np.array([1, 2**64 - 1, 3], np.uint64)},
        "n_words",
        (1,),
        "is 18446744073709551615",
    ),
    "words of others": ({"n_words": [1, 2]}, "n_words", None, "one per sequence"),
    "clusters of tokens": ({"cluster": np.arange(12)}, "cluster", None, "length 12 and preds 3"),
    "offsets and lengths": ({"offsets": [0, 3], "lengths": [3]}, "lengths", None, "one of the two"),
    "offsets of padded tokens": ({"offsets": [0, 4, 8, 12]}, "preds", None, "not flat"),
    "words and weights of tokens": ({"n_words": [1, 2, 3], "weight": np.ones((3, 4))}, "weight", None, "with n_words"),
}
BAD_OFFSETS = {
    "no offsets": (None, "preds", None, "flat tokens and offsets"),
    "descending": ([0, 7, 5, 12], "offsets", (2,), "is 5: expected 7 or more, where sequence 1 begins"),
    "not from 0": ([1, 5, 12], "offsets", (0,), "is 1"),
    "not to the end": ([0, 5, 11], "offsets", (2,), "is 11: expected 12"),
    "beyond the end": ([0, 5, 13], "offsets", (2,), "is 13"),
    "none": ([], "offsets", None, "one offset more than"),
    "real": ([0.0, 12.0], "offsets", None, "integers"),
}


def refused(update, argument, index, words):
    metric = ce.Perplexity(per_position=True).update(PREDS, TARGET, n_words=[1, 2, 3], cluster=[1, 2, 3])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=words) as error:
        update(metric)
    assert (error.value.argument, error.value.index) == (argument, index)
    assert metric.to_bytes() == before


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_the_sequence(case):
    named, *expected = BAD[case]
    refused(lambda metric: metric.update(PREDS, TARGET, **{"cluster": [1, 2, 3]} | named), *expected)


@pytest.mark.parametrize("case", BAD_OFFSETS)
def test_bad_offsets_name_the_sequence(case):
    offsets, *expected = BAD_OFFSETS[case]
    refused(lambda metric: metric.update(*FLAT, offsets=offsets), *expected)


def test_invalid_tokens_name_their_sequence():
    preds, target = FLAT[0].copy(), FLAT[1].copy()
    target[7] = 99
    offsets = [0, 5, 12]
    refused(
        lambda metric: metric.update(preds, target, offsets=offsets, cluster=[1, 2]), "target", (7,), "99 in sequence 1"
    )
    preds[3, 2] = np.nan
    refused(
        lambda metric: metric.update(preds, target, offsets=offsets, cluster=[1, 2]), "preds", (3, 2), "in sequence 0"
    )
    refused(
        lambda metric: metric.update(*FLAT, offsets=offsets, cluster=[1, 2], weight=[1.0, -1.0]),
        "weight", (1,), "is -1.0 in sequence 1",
    )  # fmt: skip
    refused(
        lambda metric: metric.update_token_log_probs([-1.0, 0.5], offsets=[0, 1, 2], cluster=[1, 2]),
        "log_probs", (1,), "0.5 in sequence 1: expected a log-probability",
    )  # fmt: skip


def test_a_weight_per_token_has_no_meaning_per_sequence():
    metric = ce.SequenceCrossEntropy(per="sequence")
    with pytest.raises(ce.InputError, match="weight has shape"):
        metric.update(PREDS, TARGET, weight=np.ones((3, 4)))
    assert metric == ce.SequenceCrossEntropy(per="sequence")


def test_a_target_is_needed():
    with pytest.raises(ce.InputError, match="target"):
        ce.Perplexity().update(PREDS, None)


@pytest.mark.parametrize(
    "option", [{"kind": "logits"}, {"ignore_index": None}, {"per": "sequence"}, {"per_position": True}]
)
def test_options_that_change_a_loss_do_not_add_up(option):
    with pytest.raises(ce.InputError, match=next(iter(option))):
        ce.Perplexity() + ce.Perplexity(**option)


@pytest.mark.parametrize("option", [{"per": "label"}, {"per": 3}, {"per_position": 1}, {"ignore_index": 0.5}])
def test_options_without_meaning(option):
    with pytest.raises(ce.InputError, match=next(iter(option))):
        ce.SequenceCrossEntropy(**option)
    with pytest.raises(ce.InputError, match="per is 'token'"):
        ce.CTCCrossEntropy(per="token")
