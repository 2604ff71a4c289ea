"""Two models on the same samples: which is better, by how much, and how certain that is."""

import json
import math
import threading
from fractions import Fraction

import numpy as np
import oracle
import pytest
import state_reader
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from state_writer import body, ledger, record, sealed
from strange_values import anything, refusal
from streams import make, streams
from utterances import Batch

import streamce as ce
from streamce.stats import intervals
from streamce.stats.estimators import INVALID

TASKS = {"binary": ce.BinaryCrossEntropy, "multiclass": ce.MulticlassCrossEntropy,
         "multilabel": ce.MultilabelCrossEntropy, "mean": ce.MeanLoss}  # fmt: skip
WHOLE = {"per_label": False}


def two(task, n, *, seed=0, **options):
    """Return a stream, and the predictions of a second model."""
    return make(task, n, seed=seed, **options), make(task, n, seed=seed + 1000, **options).preds


def metric_of(stream):
    options = {name: value for name, value in stream.options.items() if name not in ("per_class", "per_label")}
    return TASKS[stream.task](**options, **(WHOLE if stream.task == "multilabel" else {}))


def compare(stream, other, **more):
    more = {"weight": stream.weight, **more}
    return ce.Paired(metric_of(stream)).update(stream.preds, other, stream.target, **more)


def of_one(stream, preds, **more):
    args = [preds] if stream.task == "mean" else [preds, stream.target]
    return metric_of(stream).update(*args, weight=stream.weight, **more)


# ---- both means ----


@given(streams(), st.booleans())
def test_the_sums_of_each_model_are_those_of_its_own_metric(stream, clusters):
    stream.options.pop("invalid", None)
    others = stream.preds[::-1]
    valid = [
        i for i in range(len(stream)) if all(takes(stream[i : i + 1], x[i : i + 1]) for x in (stream.preds, others))
    ]
    stream, other = stream[valid], others[valid]
    more = {"cluster": np.arange(len(valid)) % 7} if clusters else {}
    found = compare(stream, other, **more)
    assert found._state["a"].parts() == of_one(stream, stream.preds, **more)._state.parts()
    assert found._state["b"].parts() == of_one(stream, other, **more)._state.parts()


def takes(stream, preds):
    try:
        of_one(stream, preds)
    except ce.InputError:
        return False
    return True


def test_the_summary_has_the_summaries_of_both_and_of_their_difference():
    stream, other = two("multiclass", 300, weighted=True, kind="logits", label_smoothing=0.1)
    found = compare(stream, other).summary(0.9)
    assert repr(found.a) == repr(stream.fed().summary(0.9))
    assert repr(found.b) == repr(of_one(stream, other).summary(0.9))
    assert found.difference.value == pytest.approx(found.a.value - found.b.value, rel=1e-9)
    assert found.samples == found.difference.samples == 300


# ---- the difference ----


def test_what_a_difference_loses_when_it_is_rounded_is_kept():
    assert ce.Paired(ce.MeanLoss()).update([1e17, 0.0], [1.0, 1e17]).compute() == -0.5
    assert ce.Paired(ce.MeanLoss()).update([1.0, 0.0], [1e-17, 1.0]).compute() == -5e-18
    assert ce.Paired(ce.MeanLoss()).update([1.7e308, 1.0], [-1.7e308, 0.0]).compute() == math.inf


def test_a_few_differences_that_are_all_alike_decide_nothing():
    few = ce.Paired(ce.MeanLoss()).update([0.5] * 99, [0.4] * 99).summary(anytime=True)
    assert (few.better, few.p_value, few.difference.interval) == (None, 1.0, (-math.inf, math.inf))
    assert ce.Paired(ce.MeanLoss()).update([0.5] * 100, [0.4] * 100).summary(anytime=True).better == "B"


@given(st.integers(0, 10_000), st.integers(2, 80), st.booleans())
@example(979, 2, True)  # both differences are nearly in proportion to their weights
def test_the_difference_is_the_exact_mean_of_the_differences(seed, n, weighted):
    rng = np.random.default_rng(seed)
    a, b = rng.gamma(1.0, 1.0, (2, n))
    weight = rng.gamma(1.0, 1.0, n) if weighted else np.ones(n)
    found = ce.Paired(ce.MeanLoss()).update(a, b, weight=weight)
    n_a, n_b = a * weight, b * weight
    terms = n_a - n_b
    expected = (oracle.total(n_a) - oracle.total(n_b)) / oracle.total(weight)
    assert found.compute() == found.summary().difference.value == oracle.rounded(expected)
    # The squares of the terms are rounded before they are added, so the residuals' squares have their absolute error.
    error, slack = float(oracle.stderr(terms, weight)), 2**-50 * np.sum(terms**2) / np.sum(weight) ** 2
    assert found.summary().difference.stderr ** 2 == pytest.approx(error**2, rel=1e-9, abs=slack * n / (n - 1))
    better, worse = (oracle.total(weight[which]) / oracle.total(weight) for which in (n_a < n_b, n_b < n_a))
    assert found.summary().a_better == oracle.rounded(better)
    assert found.summary().b_better == oracle.rounded(worse)
    assert found.summary().ties == oracle.rounded(1 - better - worse)


@pytest.mark.parametrize("n", [2, 3, 30, 499, 501, 2000])
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.5])
def test_interval_and_p_value_are_those_of_the_paired_t_test(n, shift):
    rng = np.random.default_rng(n)
    a = rng.gamma(1.0, 1.0, n)
    b = a + shift + rng.normal(0, 0.1, n)
    expected = stats.ttest_rel(a, b)
    for level in (0.5, 0.95, 0.999):
        found = ce.Paired(ce.MeanLoss()).update(a, b).summary(level)
        between = expected.confidence_interval(level)
        assert found.difference.interval == pytest.approx((between.low, between.high), rel=1e-7)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
        assert found.better == ("A" if between.high < 0 else "B" if between.low > 0 else None)


def test_the_difference_is_known_far_better_than_either_mean():
    rng = np.random.default_rng(1)
    a = rng.gamma(1.0, 1.0, 1000)
    found = ce.Paired(ce.MeanLoss()).update(a, a + rng.normal(0.01, 0.02, 1000)).summary()
    assert found.better == "A"
    assert found.difference.stderr < found.a.stderr / 20


def test_in_clusters_it_is_the_jackknife_of_the_differences():
    rng = np.random.default_rng(2)
    ids = [i for i in range(60) if [state_reader.bucket_of_number(j) for j in range(60)].count(
        state_reader.bucket_of_number(i)
    ) == 1]  # fmt: skip
    cluster = rng.choice(ids, 400)
    hardness = {i: rng.normal(0, 0.3) for i in ids}
    a = rng.gamma(1.0, 1.0, 400)
    b = a + [hardness[i] for i in cluster]
    weight = rng.gamma(2.0, 0.5, 400)
    found = ce.Paired(ce.MeanLoss()).update(a, b, weight=weight, cluster=cluster).summary()
    n, used = a * weight - b * weight, sorted(set(cluster))
    whole = n.sum() / weight.sum()
    without = [n[cluster != i].sum() / weight[cluster != i].sum() for i in used]
    error = math.sqrt((len(used) - 1) / len(used) * sum((one - whole) ** 2 for one in without))
    held = [weight[cluster == i].sum() for i in used]
    df = round(sum(held) ** 2 / sum(one * one for one in held)) - 1
    assert found.difference.stderr == pytest.approx(error, rel=1e-9)
    assert found.difference.buckets == len(used)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(whole) / error, df), rel=1e-6)
    assert (
        found.difference.stderr > 2 * ce.Paired(ce.MeanLoss()).update(a, b, weight=weight).summary().difference.stderr
    )


@given(streams(), st.booleans())
def test_swapped_models_have_the_same_difference_with_the_other_sign(stream, clusters):
    stream.options["invalid"] = "skip"
    more = {"cluster": np.arange(len(stream)) % 3} if clusters else {}
    found = compare(stream, stream.preds[::-1], **more)
    turned = ce.Paired(metric_of(stream)).update(
        stream.preds[::-1], stream.preds, stream.target, weight=stream.weight, **more
    )
    for one, other in (("a", "b"), ("b", "a"), ("a_better", "b_better"), ("b_better", "a_better")):
        assert found._state[one].parts() == turned._state[other].parts()
    assert repr(turned.compute()).removeprefix("-") == repr(found.compute()).removeprefix("-")
    one, other = found.summary(), turned.summary()
    assert repr(one.p_value) == repr(other.p_value)
    assert {one.better, other.better} in ({"A", "B"}, {None})


# ---- uncertainty ----


@pytest.mark.parametrize("anytime", [False, True])
@pytest.mark.parametrize("clusters", [False, True])
def test_the_p_value_is_1_less_the_highest_level_that_leaves_0_out(anytime, clusters):
    rng = np.random.default_rng(3)
    for shift in (0.025, 0.035):
        a = rng.gamma(1.0, 1.0, 5000)
        more = {"cluster": np.arange(5000) // 20} if clusters else {}
        found = ce.Paired(ce.MeanLoss()).update(a, a + rng.normal(shift, 0.5, 5000), **more)
        p = found.summary(anytime=anytime).p_value
        assert 1e-9 < p < 0.9
        assert found.summary(1 - 1.001 * p, anytime).better == "A"
        assert found.summary(1 - 0.999 * p, anytime).better is None


def test_looking_often_takes_more_evidence():
    rng = np.random.default_rng(4)
    a = rng.gamma(1.0, 1.0, 1000)
    found = ce.Paired(ce.MeanLoss()).update(a, a + rng.normal(0.04, 0.5, 1000))
    assert found.summary().p_value < 0.05 < found.summary(anytime=True).p_value
    assert (found.summary().better, found.summary(anytime=True).better) == ("A", None)


@pytest.mark.parametrize(
    ("a", "b", "verdict", "better", "p_value"),
    [
        ([], [], "no difference shown: there are no samples", None, math.nan),
        ([0.5], [0.75], "no difference shown: A - B is -0.25 nats (no interval, because there are too few samples or "
         "clusters)", None, math.nan),
        ([0.5, 0.25], [0.5, 0.25], "no difference shown: A - B is 0 nats (95 % interval 0 to 0, p = 1)", None, 1.0),
        ([0.5, 1.0], [0.75, 1.25], "A is better by 0.25 nats (95 % interval 0.25 to 0.25, p < 1e-300)", "A", 0.0),
        ([1.0, 3.0], [0.0, 1.5], "no difference shown: A - B is 1.25 nats (95 % interval -1.92655 to 4.42655, "
         "p = 0.13)", None, 2 / math.pi * math.atan(1 / 5)),
        ([math.inf, 1.0], [1.0, 1.0], "B is better: the mean of A is inf and that of B 1", "B", math.nan),
        ([math.inf, 1.0], [1.0, math.inf], "no difference shown: the mean of A is inf and that of B inf", None,
         math.nan),
    ],
)  # fmt: skip
def test_the_verdict_is_one_line(a, b, verdict, better, p_value):
    found = ce.Paired(ce.MeanLoss()).update(np.float64(a), np.float64(b)).summary()
    assert (found.verdict, found.better) == (verdict, better)
    assert found.p_value == pytest.approx(p_value, nan_ok=True)


# ---- infinite losses ----


def test_an_infinite_loss_of_one_model_makes_its_mean_and_the_difference_infinite():
    found = ce.Paired(ce.BinaryCrossEntropy(eps=0)).update([0.5, 0.0], [0.5, 0.25], [1, 1])
    summary = found.summary()
    assert found.compute() == summary.difference.value == math.inf
    assert (summary.a.value, summary.better, summary.b_better, summary.ties) == (math.inf, "B", 0.5, 0.5)
    assert (summary.a.infinite, summary.b.infinite, summary.difference.infinite) == (1, 0, 1)


def test_infinite_losses_of_both_are_a_tie_and_their_difference_is_undefined():
    found = ce.Paired(ce.MeanLoss()).update([math.inf, 1.0, 2.0], [math.inf, 2.0, 3.0])
    summary = found.summary()
    assert math.isnan(found.compute())
    assert (summary.a.value, summary.b.value) == (math.inf, math.inf)
    assert (summary.a_better, summary.ties) == (2 / 3, pytest.approx(1 / 3))
    assert (summary.difference.infinite, summary.better) == (1, None)


def test_what_was_infinite_can_be_taken_away():
    both = ce.Paired(ce.MeanLoss()).update([math.inf], [math.inf])
    found = ce.Paired(ce.MeanLoss()).update([1.0, 2.0], [2.0, 4.0])
    assert math.isnan((found + both).compute())
    assert (found + both - both).compute() == -1.5


# ---- losses that count for one model alone ----


def test_a_row_that_is_invalid_for_either_counts_for_neither_and_once():
    p, q = [0.5, np.nan, 0.25, np.nan, 0.5], [0.5, 0.5, 1.5, 1.5, 0.25]
    found = ce.Paired(ce.BinaryCrossEntropy(invalid="skip")).update(p, q, [1, 1, 1, 1, 1])
    summary = found.summary()
    for part in (summary.a, summary.b, summary.difference):
        assert (part.count, part.samples, part.seen, part.skipped) == (2, 2, 5, 3)
        assert (part.invalid_nan, part.invalid_range) == (2, 1)
    assert summary.a.value == ce.BinaryCrossEntropy().update([0.5, 0.5], [1, 1]).compute()
    assert summary.b.value == ce.BinaryCrossEntropy().update([0.5, 0.25], [1, 1]).compute()


CAUSES = ("null", "label", "nan", "range", "row_sum", "weight")  # in the order in which they apply


@given(streams(tasks=("binary", "multiclass", "multilabel", "mean")), st.booleans())
def test_a_loss_that_is_left_out_of_either_is_left_out_of_both(stream, clusters):
    """Each model has the sums of a metric in which the losses that either excludes are null."""
    stream.options["invalid"] = "skip"
    other = stream.preds[::-1]
    more = {"cluster": np.arange(len(stream)) % 3} if clusters else {}
    found = compare(stream, other, **more)
    out = (alone(stream, stream.preds) == 0) | (alone(stream, other) == 0)
    for name, preds in (("a", stream.preds), ("b", other)):
        metric = metric_of(stream)
        metric._update(preds, stream.target, stream.weight, more.get("cluster"), out)
        expected, ours = metric._state.total.cell(), found._state[name].total.cell()
        causes = {f"invalid_{cause}" for cause in CAUSES} | {"ignored"}
        for column in set(expected) | set(ours):
            if column not in causes:
                assert ours.get(column) == expected.get(column), column
        assert sum(ours.get(cause, 0) for cause in causes) == sum(expected.get(cause, 0) for cause in causes)
        assert parts_of(found._state[name], "buckets") == parts_of(metric._state, "buckets")


def alone(stream, preds):
    """Return whether each loss counts for a model, from one update per loss."""
    shape = preds.shape[:-1] if stream.task == "multiclass" else preds.shape
    counts = np.ones(shape, bool)
    for i in np.ndindex(shape):
        others = np.ones(shape, bool)
        others[i] = False
        metric = metric_of(stream)
        row = stream[i[0] : i[0] + 1]
        metric._update(preds[i[0]][None], row.target, row.weight, None, others[i[0]][None])
        counts[i] = metric.summary().count
    return counts


def parts_of(state, name):
    return state.parts().get(name)


def test_an_utterance_without_an_alignment_for_one_model_counts_for_neither():
    batch = Batch(5, 20, kind="probs")
    other = batch.preds.copy()
    other[:, ::5] = np.eye(7)[0]  # certain of the blank at all frames
    lengths = {"input_lengths": batch.frames, "target_lengths": batch.labels}
    found = ce.Paired(batch.metric()).update(batch.preds, other, batch.target, weight=batch.weight, **lengths)
    both = np.isfinite(batch.losses()) & (np.arange(20) % 5 > 0)
    summary = found.summary()
    assert (summary.samples, summary.a.infeasible, summary.b.infeasible) == (both.sum(), (~both).sum(), (~both).sum())
    assert summary.a.value == batch.add_to(batch.metric(), both).compute() == summary.b.value
    assert (found.compute(), summary.ties) == (0.0, 1.0)


# ---- the same bits however the data is cut ----


@given(streams(), st.data())
def test_chunks_threads_and_merges_are_the_same_bytes(stream, data):
    stream.options["invalid"] = "skip"
    other, cluster = stream.preds[::-1], np.arange(len(stream)) % 4
    whole = compare(stream, other, cluster=cluster)
    at = data.draw(st.integers(0, len(stream)))
    parts = [compare(stream[s], other[s], cluster=cluster[s]) for s in (slice(0, at), slice(at, None))]
    assert (parts[0] + parts[1]).to_bytes() == whole.to_bytes()
    assert (whole - parts[0]).to_bytes() == parts[1].to_bytes()


def test_long_chunks_threads_and_instruction_sets_are_the_same_bytes(simd):
    stream, other = two("binary", 300_000, dtype="float32", weighted=True, seed=5)
    expected = ce.Paired(ce.BinaryCrossEntropy(threads=1))
    for at in range(0, 300_000, 70_001):
        rows = slice(at, at + 70_001)
        expected.update(stream.preds[rows], other[rows], stream.target[rows], weight=stream.weight[rows])
    for threads in (1, 3):
        found = ce.Paired(ce.BinaryCrossEntropy(threads=threads))
        assert found.update(stream.preds, other, stream.target, weight=stream.weight) == expected


def test_threads_that_share_a_comparison_lose_nothing():
    stream, other = two("binary", 4000, seed=7)
    shared, rows = ce.Paired(ce.BinaryCrossEntropy()), [slice(at, at + 50) for at in range(0, 4000, 50)]

    def work(some):
        for s in some:
            shared.update(stream.preds[s], other[s], stream.target[s])

    workers = [threading.Thread(target=work, args=(rows[i::4],)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert shared == compare(stream, other)


def test_predictions_may_have_different_dtypes():
    stream, other = two("multiclass", 500, soft=True, kind="logits", seed=6)
    narrow = other.astype(np.float32)
    found = compare(stream, narrow)
    assert found._state["a"].parts() == stream.fed()._state.parts()
    assert found._state["b"].parts() == of_one(stream, narrow)._state.parts()
    assert found.compute() == pytest.approx(stream.fed().compute() - of_one(stream, other).compute(), rel=1e-5)


def test_a_chunk_alone_has_a_value_of_its_own():
    paired = ce.Paired(ce.MeanLoss()).update([1.0], [3.0])
    assert paired([1.0, 1.0], [0.5, 0.5]) == 0.5
    assert paired.compute() == pytest.approx(-1 / 3)


# ---- bad input ----

GOOD = {"preds_a": [0.5, 0.75], "preds_b": [0.125, 0.5], "target": [1, 0]}


@pytest.mark.parametrize(
    ("changed", "argument", "message"),
    [
        ({"preds_b": [0.5]}, "preds_b", r"^preds_b has shape \(1,\): expected \(2,\), as preds_a has$"),
        ({"preds_b": [[0.5, 0.5]]}, "preds_b", r"^preds_b has shape \(1, 2\): expected \(2,\)"),
        ({"preds_a": [0.5, 1.5]}, "preds_a", r"^preds_a\[1\] is 1.5: expected a probability"),
        ({"preds_b": [math.nan, 0.5]}, "preds_b", r"^preds_b\[0\] is nan"),
        ({"preds_b": [1, 0]}, "preds_b", "^preds_b has dtype int64: expected an array of float64"),
        ({"preds_a": ["x", "y"]}, "preds_a", "^preds_a has strings"),
        ({"preds_a": None}, "preds_a", "^preds_a is None"),
        ({"target": [1]}, "target", "^target has shape"),
        ({"target": None}, "target", "^target is None"),
        ({"target": [1, 7]}, "target", r"^target\[1\] is 7"),
        ({"weight": [1.0, -1.0]}, "weight", r"^weight\[1\] is -1.0"),
        ({"cluster": ["a"]}, "cluster", "^cluster has length 1 and preds 2 samples"),
        ({"cluster": ["a", "b"]}, "cluster", "in clusters"),
    ],
)
def test_bad_input_is_named_and_nothing_is_added(changed, argument, message):
    paired = ce.Paired(ce.BinaryCrossEntropy()).update(**GOOD)
    before = paired.to_bytes()
    with pytest.raises(ce.InputError, match=message) as caught:
        paired.update(**{**GOOD, **changed})
    assert caught.value.argument == argument
    assert paired.to_bytes() == before


@settings(max_examples=300)
@given(anything, anything, anything, st.none() | anything)
def test_whatever_is_given_is_taken_or_explained(one, other, target, weight):
    for metric in (ce.BinaryCrossEntropy(), ce.MulticlassCrossEntropy(invalid="skip")):
        paired = ce.Paired(metric)
        before = paired.to_bytes()
        error = refusal(lambda paired=paired: paired.update(one, other, target, weight=weight))
        if error is not None:
            assert paired.to_bytes() == before
            assert str(error).startswith(error.argument)
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (([1.0, 2.0], [1.0, math.nan]), r"^losses_b\[1\] is nan: expected a number$"),
        (([1.0], [1.0, 2.0]), r"^losses_b has shape \(2,\): expected \(1,\), as losses_a has$"),
        (([1.0], [1.0], [1]), "^target is given: expected none"),
    ],
)
def test_losses_are_named_as_such(losses, message):
    with pytest.raises(ce.InputError, match=message):
        ce.Paired(ce.MeanLoss()).update(*losses)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (None, "^metric is None: expected a metric"),
        (ce.GANCrossEntropy(), "^metric is a GANCrossEntropy: expected a metric of predictions and targets"),
        (
            ce.Grouped(ce.MeanLoss()),
            r"^metric is a Grouped, which Paired cannot hold: expected Grouped\(Paired\(metric\)\)$",
        ),
        (ce.MeanLoss().update([1.0]), "^metric has samples already"),
    ],
)
def test_what_cannot_be_compared_is_an_error(metric, message):
    with pytest.raises(ce.InputError, match=message):
        ce.Paired(metric)


def test_comparisons_by_other_options_do_not_add_up():
    paired = ce.Paired(ce.BinaryCrossEntropy()).update(**GOOD)
    before = paired.to_bytes()
    for other, argument in (
        (ce.Paired(ce.BinaryCrossEntropy(eps=0.5)), "eps"),
        (ce.Paired(ce.BinaryCrossEntropy(kind="logits")), "kind"),
        (ce.Paired(ce.MulticlassCrossEntropy()), "other"),
        (ce.BinaryCrossEntropy(), "other"),
    ):
        for mixed in (lambda other=other: paired.merge(other), lambda other=other: paired - other):
            with pytest.raises(ce.InputError, match="cannot be added") as caught:
                mixed()
            assert caught.value.argument == argument
    assert paired.to_bytes() == before


def test_more_taken_away_than_was_added_is_an_error():
    empty, paired = ce.Paired(ce.BinaryCrossEntropy()), ce.Paired(ce.BinaryCrossEntropy()).update(**GOOD)
    for read in ((empty - paired).compute, (empty - paired).summary):
        with pytest.raises(ce.InputError, match="more was subtracted"):
            read()


@pytest.mark.parametrize("level", [0, 1, "high", None])
def test_a_level_without_sense_is_an_error(level):
    with pytest.raises(ce.InputError, match=r"^level is"):
        ce.Paired(ce.BinaryCrossEntropy()).update(**GOOD).summary(level)


# ---- bytes ----

MEAN = {"metric": "MeanLoss", "options": {}}
PER_LABEL = ce.MultilabelCrossEntropy()._header()
NORMALIZED = ce.NormalizedEntropy()._header()
TWO = ledger(1, (0, record(("samples", 0, [2]), ("count", 0, [2]))))
CELLS = ledger(2, (0, record(("samples", 0, [2]), ("count", 0, [2]))))


def stored(*parts, metric=MEAN, **options):
    return sealed(body({"metric": "Paired", "options": {"metric": metric, **options}}, *parts))


def test_bytes_of_the_right_form_are_read():
    assert ce.from_bytes(stored((b"a.total", TWO), (b"b_better.total", TWO))) != ce.Paired(ce.MeanLoss())
    assert ce.from_bytes(stored()) == ce.Paired(ce.MeanLoss())
    assert ce.from_bytes(stored((b"a.cells", CELLS), (b"difference.cells", CELLS), metric=PER_LABEL)).per_label().size
    assert ce.from_bytes(stored((b"outcome.total", TWO), metric=NORMALIZED)) != ce.Paired(ce.NormalizedEntropy())


@pytest.mark.parametrize(
    "data",
    [
        stored((b"total", TWO)),
        stored((b"c.total", TWO)),
        stored((b"a.cells", ledger(2, (0, record(("samples", 0, [2])))))),
        stored((b"a.groups", TWO)),
        stored((b"difference.total", ledger(2, (0, record(("samples", 0, [2])))))),
        stored((b"b.total", TWO), (b"a.total", TWO)),
        stored(period=None),
        stored(metric=None),
        stored((b"a_better.cells", CELLS), metric=PER_LABEL),
        stored((b"a.tail", CELLS), metric=PER_LABEL),
        stored((b"outcome.total", TWO), metric=PER_LABEL),
        stored((b"a.cells", CELLS), metric=NORMALIZED),
        stored((b"difference.buckets", CELLS), metric=NORMALIZED),
        stored((b"outcome.total", CELLS), metric=NORMALIZED),
        stored((b"loss.total", TWO), metric=NORMALIZED),
        stored(metric={"metric": "Paired", "options": {"metric": MEAN}}),
        stored(metric={"metric": "GANCrossEntropy", "options": {"eps": 0.0, "kind": "probs"}}),
        sealed(body({"metric": "Paired", "options": {}})),
    ],
)
def test_bytes_that_no_comparison_wrote_are_refused(data):
    with pytest.raises(state_reader.Malformed):
        state_reader.read(data)
    with pytest.raises(ce.InputError):
        ce.from_bytes(data)


def test_bytes_can_be_read_without_streamce():
    metric = ce.BinaryCrossEntropy()
    found = ce.Paired(metric).update(**GOOD, cluster=["x", "y"])
    held = state_reader.read(found.to_bytes())
    assert (held.metric, held.options) == ("Paired", {"metric": metric._header()})
    a, b = (ce.BinaryCrossEntropy().update(GOOD[name], GOOD["target"]) for name in ("preds_a", "preds_b"))
    for name, one in (("a", a), ("b", b)):
        assert held.parts[f"{name}.total"] == state_reader.read(one.to_bytes()).parts["total"]
    cell = held.parts["difference.total"].cells[0]
    assert state_reader.exact(cell["n"]) / cell["samples"] == Fraction(found.compute())


# ---- output ----


def test_the_dict_is_flat_and_what_json_takes():
    found = ce.Paired(ce.BinaryCrossEntropy()).update(**GOOD).summary()
    again = json.loads(json.dumps(found.to_dict()))
    assert not any(isinstance(value, dict) for value in again.values())
    assert again["value"] == found.difference.value
    assert (again["a_mean"], again["b_mean"]) == (found.a.mean, found.b.mean)
    assert (again["verdict"], again["p_value"]) == (found.verdict, found.p_value)
    assert {"count", "samples", "seen", "skipped", *INVALID} <= set(again)


def test_the_table_begins_with_the_verdict_and_shows_what_was_odd():
    found = ce.Paired(ce.BinaryCrossEntropy(invalid="skip")).update([0.5, 0.0, 0.5], [0.25, 0.5, 7.0], [1, 1, 1])
    lines = str(found.summary()).splitlines()
    assert lines[0] == found.summary().verdict
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "A", "B", "A - B", "A better", "B better", "ties", "losses", "floored", "skipped",
    ]  # fmt: skip
    assert lines[-2].split(maxsplit=2) == ["floored", "1", "A 1, B 0"]


# ---- shares ----


@given(st.integers(2, 400), st.data())
def test_the_interval_of_a_share_is_wilsons(n, data):
    hits = data.draw(st.integers(0, n))
    level = data.draw(st.sampled_from([0.5, 0.9, 0.95, 0.999]))
    a, b = np.zeros(n), np.zeros(n)
    a[:hits] = -1.0
    found = ce.Paired(ce.MeanLoss()).update(a, b).summary(level)
    share, multiple = hits / n, intervals.student(level, n - 1)
    samples = n - 1 if 0 < hits < n else n
    low, high = found.a_better_interval
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):  # the distance of an end is a multiple of the spread at this end
        spread = multiple * math.sqrt(end * (1 - end) / samples)
        assert abs(share - end) == pytest.approx(spread, rel=1e-6, abs=1e-9)
