"""Invalid input raises an InputError that says what is wrong and where, and leaves the state unchanged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strange_values import Speechless, anything, refusal

import streamce as ce
from streamce.metrics.base import BREAKDOWN_OPTIONS

pytestmark = pytest.mark.core

NAN, INF = np.nan, np.inf
THIRDS = np.full((4, 3), 1 / 3)
LABELS = np.array([0, 1, 2, 0])
HALVES = np.full((4, 3), 0.5)
OUTCOMES = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1]])


def changed(array, index, value):
    found = np.array(array, dtype=np.result_type(array, type(value)))
    found[index] = value
    return found


# metric, update's arguments, what the error names: argument, index, value
BINARY, MULTICLASS, MULTILABEL, MEAN = (
    ce.BinaryCrossEntropy,
    ce.MulticlassCrossEntropy,
    ce.MultilabelCrossEntropy,
    ce.MeanLoss,
)
ANY = object()
ENTRIES = {
    "binary: nan": (BINARY(), ([0.5, NAN], [0, 1]), "preds", (1,), ANY),
    "binary: nan logit": (BINARY(kind="logits"), ([0.5, NAN], [0, 1]), "preds", (1,), ANY),
    "binary: p < 0": (BINARY(), ([0.5, -0.25], [0, 1]), "preds", (1,), -0.25),
    "binary: p > 1": (BINARY(), ([0.5, 1.25], [0, 1]), "preds", (1,), 1.25),
    "binary: p infinite": (BINARY(), ([0.5, INF], [0, 1]), "preds", (1,), INF),
    "binary: log p > 0": (BINARY(kind="log_probs"), ([-0.5, 0.25], [0, 1]), "preds", (1,), 0.25),
    "binary: one number": (BINARY(), (1.25, 1), "preds", (), 1.25),
    "binary: target above 1": (BINARY(), ([0.5, 0.5], [0, 2]), "target", (1,), 2),
    "binary: target negative": (BINARY(), ([0.5, 0.5], [0, -1]), "target", (1,), -1),
    "binary: soft target above 1": (BINARY(), ([0.5, 0.5], [0.5, 1.5]), "target", (1,), 1.5),
    "binary: soft target below 0": (BINARY(), ([0.5, 0.5], [0.5, -0.5]), "target", (1,), -0.5),
    "binary: soft target nan": (BINARY(), ([0.5, 0.5], [0.5, NAN]), "target", (1,), ANY),
    "binary: target too large": (BINARY(), ([0.5, 0.5], [0, 2**80]), "target", (1,), 2**80),
    "binary: weight negative": (BINARY(), ([0.5, 0.5], [0, 1], [1.0, -1.0]), "weight", (1,), -1.0),
    "binary: weight nan": (BINARY(), ([0.5, 0.5], [0, 1], [1.0, NAN]), "weight", (1,), ANY),
    "binary: weight infinite": (BINARY(), ([0.5, 0.5], [0, 1], [1.0, INF]), "weight", (1,), INF),
    "binary: weight of an entry": (BINARY(), (HALVES, OUTCOMES, changed(HALVES, (2, 1), -0.5)), "weight", (2, 1), -0.5),
    "binary: smallest of many": (BINARY(), ([0.5, 2.0, NAN, -1.0], [0, 1, 1, 5]), "preds", (1,), 2.0),
    "multiclass: nan": (MULTICLASS(), (changed(THIRDS, (2, 1), NAN), LABELS), "preds", (2, 1), ANY),
    "multiclass: nan logit": (MULTICLASS(kind="logits"), (changed(THIRDS, (2, 1), NAN), LABELS), "preds", (2, 1), ANY),
    "multiclass: p < 0": (MULTICLASS(), ([[0.5, 0.5], [1.25, -0.25]], [0, 0]), "preds", (1, 0), 1.25),
    "multiclass: p > 1": (MULTICLASS(), (changed(THIRDS, (2, 1), 1.5), LABELS), "preds", (2, 1), 1.5),
    "multiclass: log p > 0": (
        MULTICLASS(kind="log_probs"),
        (changed(np.log(THIRDS), (2, 1), 0.5), LABELS),
        "preds",
        (2, 1),
        0.5,
    ),
    "multiclass: row sum": (MULTICLASS(), ([[0.5, 0.5], [0.5, 0.75]], [0, 0]), "preds", (1,), 1.25),
    "multiclass: row sum of logarithms": (
        MULTICLASS(kind="log_probs"),
        (np.log([[0.5, 0.5], [0.5, 0.75]]), [0, 0]),
        "preds",
        (1,),
        1.25,
    ),
    "multiclass: two +inf logits": (
        MULTICLASS(kind="logits"),
        ([[0.0, 1.0, 2.0], [INF, INF, 0.0]], [0, 0]),
        "preds",
        (1,),
        INF,
    ),
    "multiclass: only -inf logits": (
        MULTICLASS(kind="logits"),
        ([[0.0, 1.0], [-INF, -INF]], [0, 0]),
        "preds",
        (1,),
        -INF,
    ),
    "multiclass: label out of range": (MULTICLASS(), (THIRDS, [0, 1, 3, 0]), "target", (2,), 3),
    "multiclass: label negative": (MULTICLASS(), (THIRDS, [0, 1, -1, 0]), "target", (2,), -1),
    "multiclass: label fractional": (MULTICLASS(), (THIRDS, [0, 1, 1.5, 0]), "target", (2,), 1.5),
    "multiclass: label nan": (MULTICLASS(), (THIRDS, [0, 1, NAN, 0]), "target", (2,), ANY),
    "multiclass: label beyond int64": (MULTICLASS(), (THIRDS, [0, 1, 2**64, 0]), "target", (2,), 2**64),
    "multiclass: label beyond int64 as uint64": (
        MULTICLASS(),
        (THIRDS, np.array([0, 1, 2**64 - 1, 0], dtype=np.uint64)),
        "target",
        (2,),
        2**64 - 1,
    ),
    "multiclass: label beyond int64 as float": (MULTICLASS(), (THIRDS, [0, 1, 1e300, 0]), "target", (2,), 1e300),
    "multiclass: soft target above 1": (MULTICLASS(), (THIRDS, changed(THIRDS, (2, 1), 1.5)), "target", (2, 1), 1.5),
    "multiclass: soft target nan": (MULTICLASS(), (THIRDS, changed(THIRDS, (2, 1), NAN)), "target", (2, 1), ANY),
    "multiclass: soft target's sum": (
        MULTICLASS(),
        ([[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.25]]),
        "target",
        (1,),
        0.75,
    ),
    "multiclass: weight": (MULTICLASS(), (THIRDS, LABELS, [1, 1, -2, 1]), "weight", (2,), -2),
    "multiclass: another class axis": (
        MULTICLASS(axis=0),
        (changed(THIRDS[:3], (2, 1), NAN), [0, 1, 2]),
        "preds",
        (2, 1),
        ANY,
    ),
    "multiclass: label of another class axis": (MULTICLASS(axis=0), (HALVES[:2], [0, 1, 2]), "target", (2,), 2),
    "multilabel: nan": (MULTILABEL(), (changed(HALVES, (2, 1), NAN), OUTCOMES), "preds", (2, 1), ANY),
    "multilabel: p > 1": (MULTILABEL(), (changed(HALVES, (2, 1), 1.5), OUTCOMES), "preds", (2, 1), 1.5),
    "multilabel: target": (MULTILABEL(), (HALVES, changed(OUTCOMES, (2, 1), 2)), "target", (2, 1), 2),
    "multilabel: soft target": (MULTILABEL(), (HALVES, changed(HALVES, (2, 1), -0.5)), "target", (2, 1), -0.5),
    "multilabel: weight": (MULTILABEL(), (HALVES, OUTCOMES, [1, 1, -2, 1]), "weight", (2,), -2),
    "multilabel: weight of an entry": (
        MULTILABEL(),
        (HALVES, OUTCOMES, changed(HALVES, (2, 1), -2.0)),
        "weight",
        (2, 1),
        -2.0,
    ),
    "multilabel: another label axis": (
        MULTILABEL(axis=0),
        (changed(HALVES, (2, 1), 1.5), OUTCOMES),
        "preds",
        (2, 1),
        1.5,
    ),
    "multilabel: target of another label axis": (
        MULTILABEL(axis=0),
        (HALVES, changed(OUTCOMES, (3, 1), 7)),
        "target",
        (3, 1),
        7,
    ),
    "multilabel: weight of another label axis": (
        MULTILABEL(axis=0),
        (HALVES, OUTCOMES, changed(HALVES, (3, 1), NAN)),
        "weight",
        (3, 1),
        ANY,
    ),
    "mean: nan": (MEAN(), ([0.5, NAN],), "losses", (1,), ANY),
    "mean: weight": (MEAN(), ([0.5, 1.5], [1.0, -1.0]), "weight", (1,), -1.0),
}

ARGUMENTS = {
    "binary: shapes": (BINARY(), ([0.5, 0.5], [0]), "target"),
    "binary: no broadcasting": (BINARY(), (np.full((2, 1), 0.5), [[0, 1], [0, 1]]), "target"),
    "binary: weight's shape": (BINARY(), ([0.5, 0.5], [0, 1], [1.0]), "weight"),
    "binary: one weight for many": (BINARY(), ([0.5, 0.5], [0, 1], 1.0), "weight"),
    "binary: integer preds": (BINARY(), ([0, 1], [0, 1]), "preds"),
    "binary: bool preds": (BINARY(), ([False, True], [0, 1]), "preds"),
    "binary: swapped": (BINARY(), ([0, 1], [0.25, 0.75]), "preds"),
    "binary: complex": (BINARY(), ([0.5j, 0.5], [0, 1]), "preds"),
    "binary: longdouble": (BINARY(), (np.array([0.5], dtype=np.longdouble), [1]), "preds"),
    "binary: dates": (BINARY(), (np.array(["2020-01-01"], dtype="M8[D]"), [1]), "preds"),
    "binary: records": (BINARY(), (np.zeros(1, dtype="f8,f8"), [1]), "preds"),
    "binary: strings": (BINARY(), (["0.5"], [1]), "preds"),
    "binary: string targets": (BINARY(), ([0.5], ["yes"]), "target"),
    "binary: bytes": (BINARY(), ([0.5], b"\1"), "target"),
    "binary: None": (BINARY(), (None, [1]), "preds"),
    "binary: None as target": (BINARY(), ([0.5], None), "target"),
    "binary: objects": (BINARY(), (np.array([0.5], dtype=object), [1]), "preds"),
    "binary: ragged": (BINARY(), ([[0.5], [0.5, 0.5]], [1, 0]), "preds"),
    "binary: a dict": (BINARY(), ({"a": 0.5}, [1]), "preds"),
    "multiclass: shapes": (MULTICLASS(), (THIRDS, [0, 1]), "target"),
    "multiclass: one number": (MULTICLASS(), (0.5, 1), "preds"),
    "multiclass: no classes": (MULTICLASS(), (np.zeros((4, 0)), LABELS), "preds"),
    "multiclass: one class": (MULTICLASS(), (np.ones((4, 1)), LABELS), "preds"),
    "multiclass: integer preds": (MULTICLASS(kind="logits"), (OUTCOMES, LABELS), "preds"),
    "multiclass: swapped": (MULTICLASS(), (LABELS, THIRDS), "preds"),
    "multiclass: axis": (MULTICLASS(axis=2), (THIRDS, LABELS), "axis"),
    "multiclass: class weights": (MULTICLASS(class_weight=[1, 2]), (THIRDS, LABELS), "class_weight"),
    "multiclass: soft targets by class": (MULTICLASS(per_class=True), (THIRDS, THIRDS), "target"),
    "multiclass: objects": (MULTICLASS(), (THIRDS, LABELS.astype(object)), "target"),
    "multilabel: shapes": (MULTILABEL(), (HALVES, LABELS), "target"),
    "multilabel: no labels": (MULTILABEL(), (np.zeros((4, 0)), np.zeros((4, 0))), "preds"),
    "multilabel: one number": (MULTILABEL(), (0.5, 1), "preds"),
    "multilabel: axis": (MULTILABEL(axis=-3), (HALVES, OUTCOMES), "axis"),
    "multilabel: class weights": (MULTILABEL(class_weight=[1, 2]), (HALVES, OUTCOMES), "class_weight"),
    "multilabel: pos weights": (MULTILABEL(pos_weight=[1, 2]), (HALVES, OUTCOMES), "pos_weight"),
    "mean: integers": (MEAN(), ([1, 2],), "losses"),
    "mean: strings": (MEAN(), (["a"],), "losses"),
    "mean: None": (MEAN(), (None,), "losses"),
    "mean: weight's shape": (MEAN(), ([0.5, 1.5], [1.0]), "weight"),
}


def update(metric, args):
    """Update a metric. A weight may be positional, so that cases fit in tables."""
    given = 1 if isinstance(metric, MEAN) else 2
    return metric.update(*args[:given], weight=args[given] if len(args) > given else None)


def used(metric):
    """Return a metric with the same options and samples."""
    fresh = metric.copy()
    fresh._state.merge(ce.MeanLoss().update([0.5, 2.5])._state)
    return fresh


# ---- errors that keep the state ----


@pytest.mark.parametrize("name", ENTRIES)
def test_a_bad_entry_is_named_with_its_index_and_value(name):
    metric, args, argument, index, value = ENTRIES[name]
    with pytest.raises(ce.InputError) as error:
        update(metric, args)
    assert (error.value.argument, error.value.index) == (argument, index)
    assert value is ANY or error.value.value == value
    place = f"{argument}[{', '.join(map(str, index))}] " if index else f"{argument} "
    assert str(error.value).startswith(place)
    assert "expected" in str(error.value)
    assert error.value.expected in str(error.value)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_bad_argument_is_named(name):
    metric, args, argument = ARGUMENTS[name]
    with pytest.raises(ce.InputError) as error:
        update(metric, args)
    assert (error.value.argument, error.value.index) == (argument, None)
    assert str(error.value).startswith(f"{argument} ")
    assert error.value.expected in str(error.value)


@pytest.mark.parametrize("table", [ENTRIES, ARGUMENTS], ids=["entries", "arguments"])
def test_an_error_leaves_the_state_as_it_was_to_the_byte(table):
    for metric, args, *_ in table.values():
        metric = used(metric)
        before = metric.to_bytes()
        with pytest.raises(ce.InputError):
            update(metric, args)
        assert metric.to_bytes() == before


@pytest.mark.parametrize("table", [ENTRIES, ARGUMENTS], ids=["entries", "arguments"])
def test_an_error_is_one_line(table):
    for metric, args, *_ in table.values():
        with pytest.raises(ce.InputError) as error:
            update(metric, args)
        assert str(error.value).splitlines() == [str(error.value)]


@pytest.mark.parametrize(
    ("function", "metric"),
    [
        (ce.binary_cross_entropy, BINARY),
        (ce.cross_entropy, MULTICLASS),
        (ce.multilabel_cross_entropy, MULTILABEL),
    ],
)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_functions_raise_what_metrics_raise(function, metric, reduction):
    for table in (ENTRIES, ARGUMENTS):
        for instance, args, *_ in table.values():
            options = instance.options if type(instance) is metric else {}
            if not options or options.get("per_class"):
                continue
            for name in ("invalid", "classes", *BREAKDOWN_OPTIONS):
                options.pop(name, None)
            with pytest.raises(ce.InputError) as expected:
                update(instance, args)
            with pytest.raises(ce.InputError) as found:
                function(*args[:2], weight=args[2] if len(args) > 2 else None, reduction=reduction, **options)
            assert str(found.value) == str(expected.value)


def test_errors_outside_the_range_of_probabilities_suggest_logits():
    with pytest.raises(ce.InputError, match='for logits use kind="logits"'):
        BINARY().update([2.5], [1])
    with pytest.raises(ce.InputError, match='for logits use kind="logits"'):
        MULTICLASS().update([[2.5, 0.5]], [1])


def test_integer_preds_suggest_that_arguments_are_swapped():
    with pytest.raises(ce.InputError, match="are preds and target swapped"):
        MULTICLASS().update(LABELS, THIRDS)


def test_unknown_labels_are_told_the_range_and_what_is_ignored():
    with pytest.raises(ce.InputError, match=r"target\[0\] is 9: expected a class from 0 to 2 \(or -100, ignored\)"):
        MULTICLASS(ignore_index=-100).update(THIRDS, [9, 0, 0, 0])


def test_the_counter_that_skip_would_have_raised_is_named():
    for name, counter in [
        ("binary: nan", "invalid_nan"),
        ("binary: p > 1", "invalid_range"),
        ("multiclass: row sum", "invalid_row_sum"),
        ("multiclass: label negative", "invalid_label"),
        ("mean: weight", "invalid_weight"),
    ]:
        metric, args, *_ = ENTRIES[name]
        with pytest.raises(ce.InputError) as error:
            update(metric, args)
        assert error.value.cause == counter
        skipping = type(metric)(**{**metric.options, "invalid": "skip"})
        assert getattr(update(skipping, args).summary(), counter) == 1


# ---- large chunks, empty chunks ----


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_bad_last_row_of_a_large_chunk_is_named_and_loses_nothing(dtype, threads):
    rows = 300_000
    preds = np.full((rows, 4), 0.25, dtype=dtype)
    target = np.zeros(rows, dtype=np.int64)
    metric = MULTICLASS(threads=threads).update(preds[:10], target[:10])
    before = metric.to_bytes()
    for place, value in ((target, 4), (preds[:, 2], NAN)):
        kept, place[-1] = place[-1].copy(), value
        with pytest.raises(ce.InputError) as error:
            metric.update(preds, target)
        assert error.value.index[0] == rows - 1
        assert metric.to_bytes() == before
        place[-1] = kept
    assert metric.update(preds, target).summary().count == rows + 10


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_first_of_many_bad_rows_is_named_whatever_the_threads(threads):
    preds = np.full(1_500_000, 0.5, dtype=np.float32)
    preds[[400_000, 900_000, 1_499_999]] = 2
    with pytest.raises(ce.InputError) as error:
        BINARY(threads=threads).update(preds, np.ones(len(preds), dtype=np.int8))
    assert error.value.index == (400_000,)


EMPTY = {
    "binary": (BINARY(), ([], [])),
    "binary, two axes": (BINARY(), (np.zeros((3, 0)), np.zeros((3, 0), dtype=int))),
    "multiclass": (MULTICLASS(), (np.zeros((0, 3)), [])),
    "multiclass, soft": (MULTICLASS(label_smoothing=0.1), (np.zeros((0, 3)), np.zeros((0, 3)))),
    "multiclass, three axes": (MULTICLASS(), (np.zeros((4, 0, 3)), np.zeros((4, 0), dtype=int))),
    "multilabel": (MULTILABEL(), (np.zeros((0, 3)), np.zeros((0, 3), dtype=int))),
    "mean": (MEAN(), ([],)),
}


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("weighted", [False, True])
def test_an_empty_chunk_adds_nothing(name, weighted):
    metric, args = EMPTY[name]
    weight = [np.zeros(len(args[0]))] if weighted else []
    before = metric.to_bytes()
    assert update(metric, (*args, *weight)).to_bytes() == before
    assert np.isnan(metric.compute())
    assert metric.summary().count == 0


@pytest.mark.parametrize(
    ("metric", "args"),
    [
        (BINARY(ignore_index=-1), ([0.5, 0.25], [-1, -1])),
        (MULTICLASS(ignore_index=-1), (THIRDS, [-1, -1, -1, -1])),
        (MULTILABEL(ignore_index=-1), (HALVES, np.full((4, 3), -1))),
    ],
    ids=["binary", "multiclass", "multilabel"],
)
def test_an_all_ignored_chunk_only_counts_what_was_ignored(metric, args):
    summary = metric.copy().update(*args).summary()
    assert np.isnan(summary.value)
    assert (summary.count, summary.ignored, summary.seen) == (0, np.size(args[1]), np.size(args[1]))


# ---- options ----


@pytest.mark.parametrize(
    ("metric", "option", "values"),
    [
        (BINARY, "kind", ["prob", "LOGITS", None, 1, ["probs"]]),
        (BINARY, "label_smoothing", [-0.1, 1.1, NAN, "0.1", None, True, 0.5j]),
        (BINARY, "ignore_index", [0.5, "a", 2**63, True, [1]]),
        (BINARY, "class_weight", [[1.0], [1.0, 2.0, 3.0], [1.0, -1.0], [1.0, NAN], [1.0, INF], 1.0, "ab", {0: 1}, []]),
        (BINARY, "pos_weight", [-1.0, NAN, INF, "a", [1.0, 2.0], 10**400, True]),
        (BINARY, "eps", [-1e-9, 1.0, NAN, "0", None]),
        (BINARY, "invalid", ["ignore", None, 0]),
        (BINARY, "threads", [0, -1, 1.5, "2", True]),
        (MULTICLASS, "class_weight", [[1.0, -1.0], [[1.0], [2.0]], [None, 1.0], ["a", "b"], 10**400]),
        (MULTICLASS, "axis", [1.5, "1", None, 64, True]),
        (MULTICLASS, "per_class", [1, "yes", None]),
        (MULTILABEL, "pos_weight", [[1.0, NAN], -1.0, [[1.0]], "a"]),
        (MULTILABEL, "per_label", [0, "no", None]),
        (MEAN, "invalid", ["ignore", None]),
    ],
)
def test_an_option_that_makes_no_sense_is_named(metric, option, values):
    for value in values:
        with pytest.raises(ce.InputError) as error:
            metric(**{option: value})
        assert error.value.argument == option
        assert str(error.value).startswith(option)
        assert error.value.expected in str(error.value)


def test_an_unknown_option_is_a_type_error_as_of_any_function():
    with pytest.raises(TypeError, match="unexpected keyword"):
        BINARY(smoothing=0.1)


def test_the_number_of_classes_is_remembered_only_where_each_has_sums_of_its_own():
    MULTICLASS().update(THIRDS, LABELS).update([[0.5, 0.5]], [1])
    with pytest.raises(ce.InputError, match="expected 3 classes as in earlier updates"):
        MULTICLASS(per_class=True).update(THIRDS, LABELS).update([[0.5, 0.5]], [1])
    with pytest.raises(ce.InputError, match="expected 3 labels as in earlier updates"):
        MULTILABEL().update(HALVES, OUTCOMES).update([[0.5, 0.5]], [[1, 0]])


# ---- any other argument ----


METRICS = [
    BINARY(), BINARY(kind="logits", label_smoothing=0.1, ignore_index=0), BINARY(kind="log_probs", pos_weight=2.0),
    MULTICLASS(), MULTICLASS(axis=0, class_weight=[1, 2, 3]), MULTICLASS(kind="logits", invalid="skip"),
    MULTICLASS(kind="log_probs", label_smoothing=0.5, per_class=True), MULTILABEL(), MULTILABEL(axis=1),
    MULTILABEL(kind="logits", invalid="skip", per_label=False, ignore_index=-1), MEAN(), MEAN(invalid="skip"),
]  # fmt: skip


@settings(max_examples=1500)
@given(st.integers(0, len(METRICS) - 1), anything, anything, st.none() | anything)
def test_whatever_is_given_is_taken_or_explained(which, preds, target, weight):
    metric = used(METRICS[which])
    before = metric.to_bytes()
    args = (preds, weight) if isinstance(metric, MEAN) else (preds, target, weight)
    error = refusal(lambda: update(metric, args))
    if error is not None:
        assert metric.to_bytes() == before
        assert str(error).startswith(error.argument)
        assert len(str(error).splitlines()) == 1


@settings(max_examples=500)
@given(anything, anything, anything)
def test_whatever_options_are_given_are_taken_or_explained(value, weights, pos_weight):
    for call in (
        lambda: MULTILABEL(label_smoothing=value, class_weight=weights, pos_weight=pos_weight).to_bytes(),
        lambda: BINARY(eps=value, ignore_index=value, class_weight=weights, pos_weight=pos_weight).to_bytes(),
    ):
        error = refusal(call)
        assert error is None or str(error).startswith(error.argument)


def test_an_object_that_cannot_be_shown_is_explained():
    error = refusal(lambda: BINARY().update(Speechless(), [1]))
    assert str(error).startswith("preds is a Speechless: expected")
    error = refusal(lambda: BINARY(eps=Speechless()))
    assert str(error).startswith("eps is a Speechless: expected")


class Unkind(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Raising:
    def __array__(self, dtype=None, copy=None):
        raise Unkind


@pytest.mark.parametrize("name", ["preds", "target", "weight", "cluster", "by"])
def test_an_error_that_cannot_be_shown_is_explained(name):
    metric = ce.Grouped(BINARY()) if name == "by" else BINARY()
    given = {"preds": [0.5], "target": [1], **({"by": [0]} if name == "by" else {})}
    error = refusal(lambda: metric.update(**given | {name: Raising()}))
    assert error.argument == name
    assert "(Unkind)" in str(error)


@pytest.mark.parametrize("option", ["class_weight", "pos_weight"])
def test_weights_of_more_classes_than_a_state_can_have_are_not_listed(option):
    error = refusal(lambda: MULTILABEL(**{option: np.broadcast_to(np.int8(1), 2**33)}))
    assert str(error) == f"{option} has {2**33} entries: expected {2**24} at most"


def test_a_long_value_is_cut():
    error = refusal(lambda: BINARY(kind="x" * 1000))
    assert len(str(error)) < 200
