"""CTC losses are sums over all alignments. Utterances are counted, and named in errors, one by one."""

import itertools
import math
from fractions import Fraction

import ml_dtypes
import mpmath
import numpy as np
import oracle
import pytest
import state_reader
from control_word import MODES, control
from hypothesis import given
from hypothesis import strategies as st
from streams import DTYPES, KINDS
from utterances import Batch, from_logits, losses

import streamce as ce
from streamce.core.kernels import kernels

mpf = mpmath.mpf
ULP = 2.0**-52


# ---- the truth ----


def collapsed(path, blank):
    """Return the labels of an alignment: repeats merged, blanks removed."""
    return tuple(c for c, _ in itertools.groupby(path) if c != blank)


def by_all_alignments(p, labels, blank):
    """Return the probability of a target as a Fraction, summed over all paths."""
    total = Fraction(0)
    for path in itertools.product(range(len(p[0])), repeat=len(p)):
        if collapsed(path, blank) == tuple(labels):
            total += math.prod((p[t][c] for t, c in enumerate(path)), start=Fraction(1))
    return total


def by_forward(p, labels, blank):
    """Return the same in mpmath by the forward algorithm (Graves et al. 2006)."""
    states = [blank]
    for label in labels:
        states += [label, blank]
    alpha = [mpf(1)] + [mpf(0)] * (len(states) - 1)  # before the first frame
    for row in p:
        alpha = [
            (
                alpha[s]
                + (alpha[s - 1] if s else 0)
                + (alpha[s - 2] if s > 1 and states[s] not in (blank, states[s - 2]) else 0)
            )
            * row[c]
            for s, c in enumerate(states)
        ]
    return alpha[-1] + (alpha[-2] if labels else 0)


def shares(kind, rows):
    """Return rows of preds as exact probabilities."""
    found = []
    for row in np.asarray(rows, dtype=np.float64):
        row = [mpf(float(x)) for x in row]
        if kind != "probs":
            row = [mpmath.exp(x) for x in row]
        if kind == "logits":
            most = mpmath.fsum(row)
            row = [x / most for x in row]
        found.append(row)
    return found


def truth(kind, rows, labels, blank=0):
    with mpmath.workdps(100):
        p = by_forward(shares(kind, rows), [int(c) for c in labels], blank)
        return mpf(math.inf) if p == 0 else -mpmath.log(p)


def loss(preds, labels, **options):
    """Return the loss of one utterance of frames (T, C)."""
    preds = np.asarray(preds)
    return float(losses(preds[:, None], [labels], [len(preds)], [len(labels)], **options)[0])


# ---- the loss ----


@given(st.data())
def test_a_loss_is_that_of_all_alignments(data):
    frames, classes = data.draw(st.sampled_from([(1, 2), (2, 3), (4, 3), (5, 3), (7, 2), (3, 5)]))
    blank = data.draw(st.integers(0, classes - 1))
    labels = data.draw(st.lists(st.sampled_from([c for c in range(classes) if c != blank]), max_size=frames))
    shared = st.lists(st.integers(0, 5), min_size=classes, max_size=classes).filter(any)
    rows = data.draw(st.lists(shared, min_size=frames, max_size=frames))
    p = [[Fraction(x, sum(row)) for x in row] for row in rows]
    found = loss(np.array([[float(x) for x in row] for row in p]), labels, blank=blank)
    exact = by_all_alignments([[Fraction(float(x)) for x in row] for row in p], labels, blank)
    if exact == 0:
        assert found == math.inf
    else:
        assert abs(found + mpmath.log(mpf(exact.numerator) / exact.denominator)) <= 4 * frames * ULP


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blank", [0, 3, 6])
def test_losses_are_right_to_some_ulp_a_frame(simd, kind, dtype, blank):
    batch = Batch(3, kind=kind, dtype=dtype, blank=blank, empty=True)
    feasible = 0
    for i, found in enumerate(batch.losses()):
        rows, labels = batch.rows(i)
        true = truth(kind, rows, labels, blank)
        if math.isnan(found):  # probabilities in float16 that do not add up to 1
            assert dtype in ("float16", "bfloat16")
            continue
        assert math.isinf(found) == mpmath.isinf(true)
        if found < math.inf:
            feasible += 1
            assert abs(found - true) <= 4 * ULP * (len(rows) + abs(true))
    assert feasible > 3


@pytest.mark.parametrize("kind", KINDS)
def test_long_utterances_are_right(kind):
    rng = np.random.default_rng(5)
    frames, labels = 2000, rng.integers(1, 9, 150)
    rows = from_logits(kind, rng.normal(size=(frames, 9)) * 4)
    true = truth(kind, rows, labels)
    assert true > 1000
    assert abs(loss(rows, labels, kind=kind) - true) <= 1e-14 * true


@pytest.mark.parametrize("gap", [30.0, 50.0, 80.0, 300.0, 700.0])
@pytest.mark.parametrize("frames", [3, 40, 2000])
def test_confident_losses_are_right_to_the_last_digits(gap, frames):
    path = np.zeros(frames, dtype=int)
    path[1::4] = 1 + np.arange(len(path[1::4])) % 3
    labels = path[path > 0]
    rows = np.where(np.arange(4) == path[:, None], 0.0, -gap)
    with mpmath.workdps(700):
        true = -mpmath.log(by_forward(shares("logits", rows), labels.tolist(), 0))
    found = loss(rows, labels, kind="logits")
    assert true < 1e-8
    assert abs(found - true) <= (8 + frames) * ULP * true


@pytest.mark.parametrize("kind", ["probs", "log_probs"])
def test_confident_losses_are_those_of_the_given_numbers(kind):
    """A row may add up to slightly more or less than 1. The loss uses its numbers as they are."""
    for left in (2.0**-53, 2.0**-40, 1e-9, 0.0, -(2.0**-40) if kind == "log_probs" else 2.0**-45):
        p = np.array([[1 - left, 0.0], [0.0, 1 - left], [1 - left, 2.0**-60]])
        rows = p
        if kind == "log_probs":
            with np.errstate(divide="ignore"):
                rows = np.minimum(np.log(p), 0.0)
            rows[0, 0] = -1e-25
        true = truth(kind, rows, [1])
        assert abs(loss(rows, [1], kind=kind) - true) <= 1e-14 * abs(true) + 1e-37


@pytest.mark.parametrize("gap", [1e3, 1e4, 1e9, 1e30])
def test_nothing_underflows(gap):
    """No cost of a path underflows, whether it comes early or late."""
    rows = np.array([[0.0, -gap, -gap / 2], [0.0, -gap, -gap], [0.0, -gap, -gap], [0.0, -gap, -gap]])
    for kind in ("logits", "log_probs"):
        found = loss(rows, [1, 2, 1], kind=kind)
        assert abs(found - (3 * mpf(gap) - mpmath.log(4))) <= 1e-15 * found  # one frame of the four is blank
        assert abs(loss(rows, [2], kind=kind) - mpf(gap) / 2) <= 1e-15 * gap
    late = np.tile([0.0, -gap, -2 * gap], (300, 1))
    late[150:] = [-gap, 0.0, -gap]
    assert abs(loss(late, [2, 1], kind="logits") - gap) <= math.log(300) + 1e-15 * gap


def test_a_mass_that_came_late_counts():
    """The states that matter at the end may be 10^-400 of others before."""
    rows = np.zeros((400, 3))
    rows[:200] = np.log([1 - 1e-4, 5e-5, 5e-5])
    rows[200:] = np.log([1e-4, 0.5 - 5e-5, 0.5 - 5e-5])
    labels = [1, 2] * 150
    true = truth("log_probs", rows, labels)
    assert abs(loss(rows, labels, kind="log_probs") - true) <= 1e-14 * true


def test_an_infinite_logit_has_all_the_mass():
    rows = np.array([[0.0, np.inf, 1.0], [2.0, 0.0, -np.inf]])
    assert loss(rows, [1], kind="logits") == 0.0
    assert loss(rows, [2], kind="logits") == math.inf


def test_subnormal_probabilities():
    rows = np.array([[1.0, 5e-324], [1.0, 1e-310]])
    assert abs(loss(rows, [1]) - truth("probs", rows, [1])) < 1e-12
    assert abs(loss(rows[:1], [1]) - truth("probs", rows[:1], [1])) < 1e-12


# ---- forms of input ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_layout_and_strides_have_the_same_bits(kind, dtype):
    batch = Batch(8, kind=kind, dtype=dtype, classes=40, frames=100)
    expected = batch.losses().tobytes()
    x = batch.preds
    bytes_of = x.view(np.uint8).reshape(*x.shape, -1)
    unaligned = np.zeros((*bytes_of.shape[:3], bytes_of.shape[3]), np.uint8)
    buffer = np.zeros(unaligned.size + 1, np.uint8)
    buffer[1:] = bytes_of.ravel()
    some = {
        "TBC": [x, np.asfortranarray(x), np.repeat(x, 2, 0)[::2], np.repeat(x, 3, 2)[..., ::3], x[::-1].copy()[::-1]],
        "BTC": [x.transpose(1, 0, 2), np.ascontiguousarray(x.transpose(1, 0, 2))],
    }
    some["TBC"].append(buffer[1:].view(x.dtype).reshape(x.shape))
    if dtype != "bfloat16":
        some["TBC"].append(x.astype(x.dtype.newbyteorder()))
    for layout, arrays in some.items():
        for array in arrays:
            found = losses(array, batch.target, batch.frames, batch.labels, kind=kind, layout=layout)
            assert found.tobytes() == expected


def test_narrow_preds_lose_nothing():
    """float16 and float32 are converted to float64 exactly."""
    for dtype in ("float32", "float16", "bfloat16"):
        batch = Batch(9, kind="logits", dtype=dtype)
        wide = losses(batch.preds.astype(np.float64), batch.target, batch.frames, batch.labels, kind="logits")
        assert batch.losses().tobytes() == wide.tobytes()


def test_targets_are_padded_with_anything_or_one_after_another():
    batch = Batch(10)
    expected = batch.losses().tobytes()
    one_by_one = np.concatenate([row[:k] for row, k in zip(batch.target, batch.labels, strict=True)])
    padded = batch.target.copy()
    for i, k in enumerate(batch.labels):
        padded[i, k:] = [0, -1, 99][i % 3]
    for dtype in (np.int8, np.uint16, np.int32, np.int64, ">i4"):
        lengths = batch.frames.astype(dtype), batch.labels.astype(dtype).tolist()
        for target in (one_by_one.astype(dtype), (padded.astype(dtype) if dtype not in (np.uint16,) else batch.target)):
            assert losses(batch.preds, target, *lengths, kind="logits").tobytes() == expected


def test_frames_beyond_the_length_are_not_looked_at():
    batch = Batch(11)
    expected = batch.losses().tobytes()
    for i, k in enumerate(batch.frames):
        batch.preds[k:, i] = np.nan
    assert batch.losses().tobytes() == expected


def test_a_blank_anywhere():
    rows = from_logits("probs", np.random.default_rng(2).normal(size=(6, 4)))
    moved = rows[:, [1, 2, 3, 0]]
    assert loss(rows, [1, 3, 3]) == loss(moved, [0, 2, 2], blank=3)


def test_repeats_need_a_blank_between():
    rows = np.full((3, 2), 0.5)
    assert loss(rows, [1, 1]) == math.log(8)
    assert loss(rows[:2], [1, 1]) == math.inf


# ---- what is added ----

NO_LABELS = {"flat": [], "flat integers": np.zeros(0, np.uint8), "no room": np.zeros((1, 0), int), "padded": [[77]]}


def test_lists_of_different_lengths_name_the_lengths():
    given = {"input_lengths": [2, 1], "target_lengths": [1, 1]}
    for preds, target in (([[[0.5, 0.5]] * 2, [[0.5, 0.5]]], [1, 1]), (np.full((2, 2, 2), 0.5), [[1, 1], [1]])):
        with pytest.raises(ce.InputError, match=r"in one list, with input_lengths= and target_lengths=$"):
            ce.CTCCrossEntropy().update(preds, target, **given)


@pytest.mark.parametrize("target", NO_LABELS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_without_labels_is_that_of_blanks_alone(target, kind):
    preds = np.full((4, 1, 3), {"probs": 1 / 3, "log_probs": -math.log(3), "logits": 7.0}[kind])
    given = {"input_lengths": [4], "target_lengths": [0]}
    for per, mean, weight in (("utterance", 4 * math.log(3), 1), ("frame", math.log(3), 4), ("label", math.inf, 0)):
        summary = ce.CTCCrossEntropy(kind=kind, per=per).update(preds, NO_LABELS[target], **given).summary()
        assert summary.mean == pytest.approx(mean, rel=1e-15)
        assert summary.total == pytest.approx(4 * math.log(3), rel=1e-15)
        assert (summary.count, summary.weight, summary.infeasible) == (1, weight, 0)


def test_a_target_without_labels_adds_loss_and_no_label():
    preds = np.full((4, 2, 3), 1 / 3)
    both = ce.CTCCrossEntropy().update(preds, [1, 2], input_lengths=[4, 4], target_lengths=[2, 0])
    one = ce.CTCCrossEntropy().update(preds[:, :1], [1, 2], input_lengths=[4], target_lengths=[2])
    assert both.summary().total == pytest.approx(one.summary().total + 4 * math.log(3), rel=1e-15)
    assert (both.summary().weight, both.summary().count) == (2.0, 2)


def test_no_label_and_no_frame_cost_nothing_and_an_impossible_blank_is_infeasible():
    preds = np.array([[[0.0, 1.0]], [[0.5, 0.5]]])
    empty = ce.CTCCrossEntropy(per="utterance").update(preds, [], input_lengths=[0], target_lengths=[0])
    assert (empty.compute(), empty.summary().count) == (0.0, 1)
    impossible = ce.CTCCrossEntropy(per="utterance").update(preds, [], input_lengths=[2], target_lengths=[0])
    assert (impossible.summary().infeasible, impossible.summary().count) == (1, 0)


def test_confident_blanks_keep_their_digits():
    left = 2.0**-50
    preds = np.tile([1 - left, left], (5, 1, 1))
    found = ce.CTCCrossEntropy(per="utterance").update(preds, [], input_lengths=[5], target_lengths=[0]).compute()
    assert found == pytest.approx(-5 * math.log1p(-left), rel=1e-15)


@pytest.mark.parametrize("per", ["label", "frame", "utterance"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_mean_is_that_of_the_feasible(per, weighted):
    batch = Batch(12, n=60, empty=True)
    each = batch.losses()
    kept = np.isfinite(each)
    assert 10 < kept.sum() < 60
    d = {"label": batch.labels, "frame": batch.frames, "utterance": np.ones(60)}[per] * 1.0
    w = batch.weight if weighted else np.ones(60)
    n, d = oracle.total((w * each)[kept]), oracle.total((w * d)[kept])
    summary = batch.add_to(batch.metric(per=per), weighted=weighted).summary()
    assert summary.value == oracle.rounded(n / d)
    assert (summary.total, summary.weight) == (oracle.rounded(n), oracle.rounded(d))
    assert (summary.count, summary.samples, summary.seen) == (kept.sum(), kept.sum(), 60)
    assert (summary.infeasible, summary.skipped, summary.infinite) == (60 - kept.sum(), 0, 0)
    assert "infeasible" in str(summary)
    assert summary.to_dict()["infeasible"] == summary.infeasible


def test_stderr_is_that_of_a_ratio():
    batch = Batch(13, n=80, empty=True)
    each = batch.losses()
    kept = np.isfinite(each)
    found = batch.add_to(batch.metric(), weighted=False).summary().stderr
    assert abs(found - oracle.stderr(each[kept], batch.labels[kept])) < 1e-12


def test_clusters_are_robust():
    batch = Batch(14, n=40)
    ids = np.arange(40) // 4
    found = batch.add_to(batch.metric(), cluster=ids)
    half = batch.add_to(batch.metric(), slice(0, 13), cluster=ids[:13])
    half += batch.add_to(batch.metric(), slice(13, 40), cluster=ids[13:])
    assert found == half
    assert found.summary().buckets == len(np.unique(ids[np.isfinite(batch.losses())]))
    plain = batch.fed().summary()
    assert (found.summary().value, found.summary().infeasible) == (plain.value, plain.infeasible)
    parts = state_reader.read(found.to_bytes()).parts
    total = parts["total"].cells[0]
    for column in ("samples", "n", "d"):
        assert sum(cell.get(column, 0) for cell in parts["buckets"].cells.values()) == total[column]


@pytest.mark.parametrize("clusters", [[1, 2], [1, 2, 3, 4]])
def test_clusters_of_another_length(clusters):
    with pytest.raises(ce.InputError, match="cluster has length"):
        ce.CTCCrossEntropy().update(PREDS, TARGET, **LENGTHS, cluster=clusters)


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS), st.sampled_from(list(DTYPES)), st.booleans(), st.data())
def test_any_chunks_have_the_same_bytes(seed, kind, dtype, odd, data):
    batch = Batch(seed, kind=kind, dtype=dtype, odd=odd, empty=data.draw(st.booleans()))
    whole = batch.fed()
    cut = data.draw(st.integers(0, len(batch)))
    order = np.random.default_rng(seed).permutation(len(batch))
    parts = [batch.add_to(batch.metric(), some) for some in (order[:cut], order[cut:])]
    one_by_one = sum(batch.add_to(batch.metric(), slice(i, i + 1)) for i in range(len(batch)))
    assert whole == parts[0] + parts[1] == one_by_one
    assert whole - parts[0] == parts[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_instruction_set_has_the_same_bits(kind, dtype):
    before = kernels.current()
    found = []
    for name in kernels.supported():
        kernels.use(name)
        some = [
            Batch(s, kind=kind, dtype=dtype, classes=c, odd=s == 1, empty=s > 1)
            for s, c in ((0, 3), (1, 40), (2, 130), (3, 300))
        ]
        confident = Batch(4, kind="logits", dtype=dtype, classes=5)
        confident.preds *= confident.preds.dtype.type(30)
        confident.target[:] = 1
        confident.preds[:, :, 1] = 60
        found.append([batch.losses().tobytes() + batch.fed().to_bytes() for batch in (*some, confident)])
    kernels.use(before)
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_threads_has_the_same_bits(kind):
    batch = Batch(15, n=300, kind=kind, classes=60, frames=80, odd=True, empty=True)
    expected = batch.fed(threads=1).to_bytes()
    for threads in (2, 3, 7, 64):
        assert batch.fed(threads=threads).to_bytes() == expected
        with pytest.raises(ce.InputError, match="sequence 1:"):
            batch.fed(threads=threads, invalid="raise")


def test_the_arithmetic_of_the_caller_does_not_matter():
    batch = Batch(16)
    expected = batch.fed().to_bytes()
    for mode in MODES:
        with control(mode):
            found = batch.fed().to_bytes()
        assert found == expected


def test_a_call_is_the_value_of_the_chunk():
    batch = Batch(17)
    metric = batch.fed()
    more = {"input_lengths": batch.frames[:5], "target_lengths": batch.labels[:5]}
    value = metric(batch.preds[:, :5], batch.target[:5], **more)
    assert value == batch.add_to(batch.metric(), slice(0, 5), weighted=False).compute()
    assert metric == batch.fed() + batch.add_to(batch.metric(), slice(0, 5), weighted=False)


@pytest.mark.parametrize("preds", [np.zeros((5, 0, 3)), np.zeros((0, 3))])
def test_nothing_is_added_by_no_utterances(preds):
    empty = ce.CTCCrossEntropy().update(preds, np.zeros((0, 2), int), input_lengths=[], target_lengths=[])
    assert math.isnan(empty.compute())
    assert empty == ce.CTCCrossEntropy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_frames_one_after_another_are_those_of_padded_utterances(kind, dtype):
    batch = Batch(18, n=40, kind=kind, dtype=dtype, odd=True)
    batch.frames[7] = 0
    flat = np.concatenate([batch.preds[:frames, i] for i, frames in enumerate(batch.frames)])
    lengths = {"input_lengths": batch.frames, "target_lengths": batch.labels, "weight": batch.weight}
    for preds in (flat, np.asfortranarray(flat), np.repeat(flat, 2, axis=0)[::2]):
        for threads in (1, 3):
            metric = batch.metric(layout="BTC", threads=threads).update(preds, batch.target, **lengths)
            assert metric == batch.fed()


def test_options_that_change_a_loss_do_not_add_up():
    for option in ({"blank": 1}, {"kind": "logits"}, {"per": "frame"}):
        with pytest.raises(ce.InputError, match=next(iter(option))):
            ce.CTCCrossEntropy() + ce.CTCCrossEntropy(**option)
    assert ce.CTCCrossEntropy(layout="BTC", threads=3, invalid="skip") == ce.CTCCrossEntropy()


def test_threads_look_at_utterances_without_frames_too():
    preds, target = np.zeros((4000, 5, 80)), np.ones((5, 1), int)
    lengths = {"input_lengths": [4000, 4000, 0, 0, 0], "target_lengths": [1] * 5}
    states = {
        ce.CTCCrossEntropy(kind="logits", threads=n).update(preds, target, **lengths).to_bytes() for n in (1, 2, 3, 4)
    }
    assert len(states) == 1
    assert ce.from_bytes(states.pop()).summary().infeasible == 3
    target[4] = 80
    for threads in (1, 2, 3):
        with pytest.raises(ce.InputError, match="target"):
            ce.CTCCrossEntropy(kind="logits", threads=threads).update(preds, target, **lengths)


def test_more_labels_than_memory_has_addresses_are_an_error():
    labels = np.broadcast_to(np.int8(1), (1, 2**61))
    with pytest.raises(MemoryError):
        ce.CTCCrossEntropy().update(np.full((2, 1, 3), 1 / 3), labels, input_lengths=[2], target_lengths=[1])


def test_utterances_go_by_group():
    batch = Batch(3, 60, odd=True)
    speaker = np.arange(60) % 7
    by_speaker = batch.add_to(ce.Grouped(batch.metric()), by=speaker)
    for one in range(7):
        assert by_speaker[one] == batch.add_to(batch.metric(), speaker == one)
    halves = [batch.add_to(ce.Grouped(batch.metric()), some, by=speaker[some]) for some in (np.s_[:31], np.s_[31:])]
    assert sum(halves) == by_speaker
    with pytest.raises(ce.InputError, match="by has length 59 and preds 60 samples"):
        batch.add_to(ce.Grouped(batch.metric()), by=speaker[1:])


# ---- bad input ----

PREDS = np.full((4, 3, 5), 0.2)
TARGET = np.array([[1, 2, 0], [3, 3, 3], [4, 0, 0]])
LENGTHS = {"input_lengths": [4, 4, 3], "target_lengths": [2, 2, 1]}


def changed(array, index, value):
    array = np.array(array, dtype=float if isinstance(value, float) else None)
    array[index] = value
    return array


BAD = {
    "a blank in a target": (
        {"target": changed(TARGET, (1, 1), 0)}, "target", (1, 1), 0, "is 0, the blank, in sequence 1"),
    "an unknown label": ({"target": changed(TARGET, (2, 0), 5)}, "target", (2, 0), 5, "is 5 in sequence 2"),
    "a negative label": ({"target": changed(TARGET, (2, 0), -1)}, "target", (2, 0), -1, "other than the blank, 0"),
    "an unknown label of labels one after another": (
        {"target": [1, 2, 3, 9, 4]}, "target", (3,), 9, "in sequence 1"),
    "a negative length": ({"target_lengths": [2, 2, -1]}, "target_lengths", (2,), -1, "of sequence 2"),
    "more labels than there are": ({"target_lengths": [2, 4, 1]}, "target_lengths", (1,), 4, "0 to 3"),
    "more frames than there are": (
        {"input_lengths": [4, 5, 4]}, "input_lengths", (1,), 5, "of sequence 1: expected 0 to 4"),
    "a negative number of frames": ({"input_lengths": [-1, 4, 4]}, "input_lengths", (0,), -1, "of sequence 0"),
    "too few labels one after another": ({"target": [1, 2, 3, 3]}, "target", None, None, "expected 5"),
    "too many labels one after another": ({"target": [1, 2, 3, 3, 4, 4]}, "target", None, None, "expected 5"),
    "too few lengths": ({"input_lengths": [4, 4]}, "input_lengths", None, (2,), "shape (3,)"),
    "real lengths": ({"target_lengths": [2.0, 2.0, 1.0]}, "target_lengths", None, None, "expected integers"),
    "a fractional label": (
        {"target": changed(TARGET * 1.0, (2, 0), 1.5)}, "target", (2, 0), 1.5, "is 1.5 in sequence 2"),
    "a target of another shape": ({"target": TARGET[:2]}, "target", None, (2, 3), "(3, S)"),
    "integer preds": ({"preds": np.zeros((4, 3, 5), int)}, "preds", None, None, "int64"),
    "preds of one axis": ({"preds": PREDS[0, 0]}, "preds", None, (5,), "layout 'TBC'"),
    "too few flat frames": ({"preds": PREDS.reshape(12, 5)[:10]}, "preds", None, None, "expected 11, the sum of"),
    "too many flat frames": ({"preds": PREDS.reshape(12, 5)}, "preds", None, None, "has 12 frames one after another"),
    "flat frames of a longer utterance": (
        {"preds": PREDS[0]}, "input_lengths", (0,), 4, "of sequence 0: expected 0 to 3"),
    "NaN in flat frames": (
        {"preds": changed(PREDS.reshape(12, 5)[:11], (6, 1), np.nan)}, "preds", (6, 1), None, "is nan in sequence 1:"),
    "one class": ({"preds": np.ones((4, 3, 1))}, "preds", None, (4, 3, 1), "two or more"),
    "NaN": ({"preds": changed(PREDS, (2, 1, 3), np.nan)}, "preds", (2, 1, 3), None, "is nan in sequence 1:"),
    "out of range": ({"preds": changed(PREDS, (2, 1, 3), 1.5)}, "preds", (2, 1, 3), 1.5, 'kind="logits"'),
    "a row that does not add up": ({"preds": changed(PREDS, (2, 1, 3), 0.0)}, "preds", (2, 1), 0.8, "in sequence 1"),
    "a negative weight": ({"weight": [1.0, 1.0, -2.0]}, "weight", (2,), -2.0, "of sequence 2"),
    "an infinite weight": ({"weight": [1.0, np.inf, 1.0]}, "weight", (1,), np.inf, "of sequence 1"),
    "weights of another shape": ({"weight": [1.0, 1.0]}, "weight", None, (2,), "one weight per utterance"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_nothing_is_added(name):
    given, argument, index, value, words = BAD[name]
    arguments = {"preds": PREDS, "target": TARGET} | LENGTHS | given
    metric = ce.CTCCrossEntropy().update(PREDS, TARGET, **LENGTHS)
    before = metric.to_bytes()
    with pytest.raises(ce.InputError) as caught:
        metric.update(**arguments)
    error = caught.value
    assert (error.argument, error.index) == (argument, index)
    assert value is None or error.value == pytest.approx(value)
    assert words in str(error)
    assert metric.to_bytes() == before


def test_the_first_bad_sequence_is_named():
    preds = changed(changed(PREDS, (0, 2, 0), np.nan), (3, 1, 2), 2.0)
    with pytest.raises(ce.InputError, match=r"preds\[3, 1, 2\] is 2.0 in sequence 1:"):
        ce.CTCCrossEntropy().update(preds, TARGET, **LENGTHS)
    with pytest.raises(ce.InputError, match=r"preds\[1, 3, 2\] is 2.0 in sequence 1:"):
        ce.CTCCrossEntropy(layout="BTC").update(preds.transpose(1, 0, 2), TARGET, **LENGTHS)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([np.inf, np.inf, 0, 0, 0], "has 2 logits of"), ([-np.inf] * 5, "no logit above -inf"),
        ([0, 0, np.nan, 0, 0], "is nan"),
    ],
)  # fmt: skip
def test_bad_logits(row, words):
    with pytest.raises(ce.InputError, match=words):
        ce.CTCCrossEntropy(kind="logits").update(changed(PREDS, (1, 0), 0.0) * 0 + np.array(row), TARGET, **LENGTHS)


def test_bad_log_probabilities():
    logs = np.log(PREDS)
    with pytest.raises(ce.InputError, match=r"preds\[1, 2, 0\] is 0.5 in sequence 2: expected a log-probability"):
        ce.CTCCrossEntropy(kind="log_probs").update(changed(logs, (1, 2, 0), 0.5), TARGET, **LENGTHS)


def test_invalid_utterances_are_counted_by_cause():
    preds = np.full((4, 9, 5), 0.2)
    preds[0, 0, 0] = np.nan
    preds[1, 1] = [1.5, -0.5, 0, 0, 0]
    preds[2, 2, 0] = 0.1
    preds[3, 3, 0] = 0.2 + 1e-3
    target = np.full((9, 2), 3)
    target[4:6, 0] = 0, 5
    weight = np.ones(9)
    weight[6] = np.nan
    found = ce.CTCCrossEntropy(invalid="skip").update(
        preds, target, input_lengths=[4] * 7 + [2, 4], target_lengths=[2] * 9, weight=weight
    )
    summary = found.summary()
    assert (summary.invalid_nan, summary.invalid_range, summary.invalid_row_sum) == (1, 1, 1)
    assert (summary.invalid_label, summary.invalid_weight, summary.unnormalised) == (2, 1, 1)
    assert (summary.infeasible, summary.count, summary.skipped, summary.seen) == (1, 2, 6, 9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"blank": -1}, "blank is -1"), ({"blank": 1.0}, "blank is 1.0"), ({"layout": "tbc"}, "layout"),
        ({"per": "token"}, "per is 'token'"), ({"kind": "probabilities"}, "kind"), ({"invalid": "drop"}, "invalid"),
    ],
)  # fmt: skip
def test_options_without_sense(options, words):
    with pytest.raises(ce.InputError, match=words):
        ce.CTCCrossEntropy(**options)


def test_a_blank_beyond_the_classes():
    with pytest.raises(ce.InputError, match="blank is 5 and preds has 5 classes"):
        ce.CTCCrossEntropy(blank=5).update(PREDS, TARGET, **LENGTHS)


def test_bfloat16_is_read():
    assert ce.CTCCrossEntropy().update(PREDS.astype(ml_dtypes.bfloat16), TARGET, **LENGTHS).summary().count == 3
