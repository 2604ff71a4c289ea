"""Whether two states are equal, and in what they differ. An independent reader of states gives the integers."""

import json
import math
from fractions import Fraction

import golden_states
import numpy as np
import pytest
import state_reader

import streamce as ce
from streamce.persistence.state_diff import SUMS

pytestmark = pytest.mark.core

P, Q, Y = [0.9, 0.2, 0.6], [0.8, 0.2, 0.7], [1, 0, 1]
SINGLE = {
    name: made
    for name, made in golden_states.CASES.items()
    if not isinstance(made(), (ce.Collection, ce.Grouped, ce.Sliding, ce.Decayed))
}


def leaves(diff):
    """Return the results of the metrics of collections, in any depth."""
    return [leaf for each in diff.metrics.values() for leaf in leaves(each)] or [diff]


def names(diff):
    return [each.name for each in diff.quantities]


def part(diff, name):
    [found] = [each for each in diff.parts if each.name == name]
    return found


@pytest.mark.parametrize("name", golden_states.CASES)
def test_states_are_equal_exactly_if_their_bytes_are(name):
    a = golden_states.CASES[name]()
    empty = a.copy().reset()
    same, other = ce.diff_states(a, ce.from_bytes(a.to_bytes())), ce.diff_states(a, empty)
    assert same.equal
    assert all(str(leaf).startswith("equal: value") and not leaf.parts for leaf in leaves(same))
    assert other.equal == (a.to_bytes() == empty.to_bytes())
    shown = [each for leaf in leaves(other) for each in (*leaf.quantities, *leaf.parts)]
    assert other.equal or any(each.differing if hasattr(each, "differing") else each.difference for each in shown)
    assert str(other).startswith("equal" if other.equal else "different")
    assert json.dumps(other.to_dict(), allow_nan=True)
    assert repr(ce.diff_states(empty, a)).startswith(str(other)[:5])


@pytest.mark.parametrize("name", SINGLE)
def test_counters_and_sums_differ_by_their_integers(name):
    """A + A minus A is A, of each integer that the independent reader finds in A."""
    a = SINGLE[name]()
    twice = a + a
    diff = ce.diff_states(twice, a)
    found = {each.name: each.difference for each in diff.quantities}
    expected, states = {}, {}
    for path, ledger in state_reader.read(a.to_bytes()).parts.items():
        state, _, kind = path.rpartition(".")
        if kind == "total":
            ratios = ("", "divergence") if a.options.get("divergence") else ("", "words", "bytes")
            for cell, columns in ledger.cells.items():
                states[state or ratios[cell]] = of_columns(columns)
    common = set()
    if states and "" not in states:  # the states of one metric count the same samples
        common = set.intersection(*(set(each.items()) for each in states.values()))
    for state, columns in states.items():
        for column, difference in columns.items():
            expected[column if not state or (column, difference) in common else f"{state}: {column}"] = difference
    del found["value"]
    samples = found.pop("samples", 0)
    assert samples == expected.pop("samples", samples)
    assert found == expected


def of_columns(columns):
    """Return the counters and sums of a cell. The stored sums of weights are those beyond the sums of weights of 1."""
    n, samples = (columns.get(name, 0) for name in ("n", "samples"))
    unit_weights = {"d": samples << 1074, "nd": n, "dd": samples << 1074}
    found = {}
    for name, integer in columns.items():
        if name in SUMS:
            found[SUMS[name]] = as_float(integer + unit_weights.get(name, 0))
        elif name.endswith("inf"):
            found[f"{SUMS[name[:-4]]}, terms of {name[-4:]}"] = integer
        else:
            found[name] = integer
    return found


def as_float(integer):
    try:
        return float(Fraction(integer, 1 << 1074))
    except OverflowError:
        return math.copysign(math.inf, integer)


def test_the_table_has_the_values_and_what_differs():
    a = ce.BinaryCrossEntropy(invalid="skip").update([*P, math.nan], [*Y, 1])
    b = ce.BinaryCrossEntropy(invalid="skip").update(P[:2], Y[:2])
    lines = str(ce.diff_states(a, b)).splitlines()
    assert [line.split() for line in lines[:6]] == [
        ["different:", "A", "has", "1", "more", "sample"],
        ["A", "B", "A", "-", "B"],
        ["value", repr(a.compute()), repr(b.compute()), f"{a.compute() - b.compute():.6g}"],
        ["samples", "3", "2", "1"],
        ["count", "3", "2", "1"],
        ["invalid_nan", "1", "0", "1"],
    ]
    assert str(ce.diff_states(b, a)).startswith("different: B has 1 more sample\n")


def test_a_difference_in_the_last_bit_is_shown():
    a, b = ce.MeanLoss().update([1.0, 2.0]), ce.MeanLoss().update([1.0, 2.0 + 2**-51])
    found = ce.diff_states(a, b)
    assert found.quantities[0][1:] == (1.5, 1.5000000000000002, -(2.0**-52))
    tiny = ce.MeanLoss().update([1.0, 2.0, 5e-324])
    total = next(each for each in ce.diff_states(tiny, tiny - tiny + a).quantities if each.name == "total")
    assert (total.a, total.b, total.difference) == (3.0, 3.0, 5e-324)


def labelled(preds):
    return ce.MultilabelCrossEntropy(per_label=False, tail=True, eps=0.0).update(preds, [[1, 1]])


@pytest.mark.parametrize(
    ("a", "b", "name"),
    [
        (labelled([[0.5, 0.5]]), labelled([[0.25, 1.0]]), "tail"),
        (
            ce.BinaryCrossEntropy(calibration=True).update([0.25], [0]),
            ce.BinaryCrossEntropy(calibration=True).update([0.75], [1]),
            "calibration",
        ),
        (
            ce.MeanLoss().update([1.0, 1.0], cluster=["a", "a"]),
            ce.MeanLoss().update([1.0, 1.0], cluster=["a", "b"]),
            "clusters",
        ),
        (ce.MeanLoss().update([1.0, 1.0], cluster=["a", "a"]), ce.MeanLoss().update([1.0, 1.0]), "clusters"),
        (
            ce.MulticlassCrossEntropy(per_class=True).update([[0.5, 0.5]], [0]),
            ce.MulticlassCrossEntropy(per_class=True).update([[0.5, 0.5]], [1]),
            "classes",
        ),
        (
            ce.Sliding(ce.MeanLoss(), samples=2).update([1.0, 2.0]),
            ce.Sliding(ce.MeanLoss(), samples=2).update([2.0, 1.0]),
            "window",
        ),
        (
            ce.Sliding(ce.MeanLoss(), samples=2).update([1.0, 2.0], cluster=[1, 2]),
            ce.Sliding(ce.MeanLoss(), samples=2).update([2.0, 1.0], cluster=[2, 1]),
            "window",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_equal_values_of_different_states(a, b, name):
    assert a.compute() == b.compute()
    found = ce.diff_states(a, b)
    assert not found.equal
    assert names(found) == ["value", "samples"]
    assert [each.name for each in found.parts] == [name]
    assert found.parts[0].differing > 0
    assert str(found).startswith("different: the values are equal\n")
    assert f"\n{name}: {found.parts[0].differing} of " in str(found)


def test_classes_have_their_names_and_numbers():
    options = {"per_class": True, "classes": ["cat", "dog"]}
    a = ce.MulticlassCrossEntropy(**options).update([[0.5, 0.5], [0.25, 0.75]], [0, 1])
    b = ce.MulticlassCrossEntropy(**options).update([[0.5, 0.5], [0.5, 0.5]], [0, 1])
    [dog] = part(ce.diff_states(a, b), "classes").first
    assert (dog.name, dog.a, dog.b) == ("dog", -math.log(0.75), -math.log(0.5))
    two, three = (ce.MulticlassCrossEntropy(per_class=True).update([[0.5, 0.5] + [0.0] * more], [0]) for more in (0, 1))
    assert ce.diff_states(two, three).quantities[-1][:3] == ("number of classes", 2, 3)


@pytest.mark.parametrize(
    "inner",
    [ce.MeanLoss(), ce.BinaryCrossEntropy(tail=True), ce.NormalizedEntropy(), ce.Paired(ce.BinaryCrossEntropy())],
    ids=lambda metric: type(metric).__name__,
)
def test_groups_that_differ_are_counted_and_the_first_are_shown(inner):
    paired, losses = isinstance(inner, ce.Paired), isinstance(inner, ce.MeanLoss)
    data = (P, Q, Y) if paired else (P,) if losses else (P, Y)
    keys = np.arange(40) // 2
    batch = [np.resize(each, 40) for each in data]
    a = ce.Grouped(inner).update(*batch, by=keys)
    b = a.copy().update(*batch, by=np.where(keys < 7, 30 - keys, 3)) - ce.Grouped(inner).update(
        *(each[38:] for each in batch), by=keys[38:]
    )
    found = part(ce.diff_states(a, b), "groups")
    ours, theirs = dict(a.items()), dict(b.items())
    differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    assert (found.differing, found.number) == (len(differing), len({**ours, **theirs}))
    assert (
        (found.only_a, found.only_b) == (len(ours.keys() - theirs.keys()), len(theirs.keys() - ours.keys())) == (1, 7)
    )
    assert [each.name for each in found.first] == [str(key) for key in sorted(differing)[:5]]
    for each in found.first:
        for number, groups in ((each.a, ours), (each.b, theirs)):
            key = int(each.name)
            expected = groups[key].compute() if key in groups else None
            assert number == expected or (math.isnan(number) and math.isnan(expected))


def test_periods_are_utc():
    a = ce.Grouped(ce.MeanLoss(), period="1h").update([1.0], by="x", by_time=[3600.0])
    assert part(ce.diff_states(a, a.copy().reset()), "groups").first[0].name == "x, 1970-01-01 01:00:00 UTC"


def test_panes_and_their_clock():
    window = ce.Sliding(ce.MeanLoss(), period="1h", step="10min")
    a = window.copy().update([1.0, 2.0], by_time=[0.0, 1800.0])
    ahead = window.copy().update([5.0], by_time=[2400.0])
    assert ce.diff_states(a, a + ahead).quantities[-1][:3] == (
        "newest pane",
        "1970-01-01 00:30:00 UTC",
        "1970-01-01 00:40:00 UTC",
    )
    moved = ce.diff_states(a, a + ahead - ahead)  # only the clock differs
    assert (moved.equal, names(moved), moved.parts) == (False, ["value", "samples", "newest pane"], ())
    assert part(ce.diff_states(a, a + ahead), "panes").first[0].name == "1970-01-01 00:40:00 UTC"


def test_states_from_which_more_was_subtracted_than_added():
    for make in (
        lambda losses: ce.MeanLoss().update(losses),
        lambda losses: ce.Grouped(ce.MeanLoss()).update(losses, by=np.arange(len(losses))),
        lambda losses: ce.Decayed(ce.MeanLoss(), half_life="1h").update(losses, by_time=np.arange(len(losses)) * 3600),
        lambda losses: ce.Paired(ce.MeanLoss()).update(losses, losses),
    ):
        negative = make([1.0]) - make([1.0, 2.0])
        found = ce.diff_states(negative, make([1.0]))
        assert not found.equal
        assert found.quantities[0].a is None
        assert "none" in str(found)
        assert ce.diff_states(negative, negative.copy()).equal


def test_each_metric_of_a_collection_has_a_table():
    metrics = ce.Collection({"mean": ce.BinaryCrossEntropy(), "groups": ce.Grouped(ce.BinaryCrossEntropy())})
    a, b = metrics.copy().update(P, Y, by=[1, 1, 2]), metrics.copy().update(P, Y, by=[1, 2, 2])
    found = ce.diff_states(a, b)
    assert (found.equal, found.metrics["mean"].equal, found.metrics["groups"].equal) == (False, True, False)
    assert str(found).startswith(f"different\n\nmean\nequal: value {a['mean'].compute()!r}, 3 samples\n\ngroups\n")
    assert found.to_dict()["metrics"]["mean"]["equal"] is True


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (ce.MeanLoss(), ce.BinaryCrossEntropy(), "a MeanLoss and a BinaryCrossEntropy"),
        (ce.BinaryCrossEntropy(), ce.BinaryCrossEntropy(kind="logits"), "kind is 'probs' in one"),
        (ce.BinaryCrossEntropy(), ce.BinaryCrossEntropy(tail=True), "tail is False in one"),
        (ce.Grouped(ce.MeanLoss()), ce.Grouped(ce.NormalizedEntropy()), "a MeanLoss and a NormalizedEntropy"),
        (
            ce.Grouped(ce.MeanLoss()).update([1.0], by=["1"]),
            ce.Grouped(ce.MeanLoss()).update([1.0], by=[1]),
            "by is of kind str in one state and int in the other",
        ),
        (
            ce.Grouped(ce.MeanLoss()).update([1.0], by=[1]),
            ce.Grouped(ce.MeanLoss()).update([1.0], by=([1], ["a"])),
            "by is of kind int in one state and int and str in the other",
        ),
        (ce.MeanLoss(), 1.5, "b is 1.5: expected a metric"),
    ],
)
def test_states_that_cannot_be_compared(a, b, message):
    with pytest.raises(ce.InputError, match=message):
        ce.diff_states(a, b)


def test_options_that_change_no_loss_do_not_count():
    a = ce.BinaryCrossEntropy(invalid="skip", threads=2).update(P, Y)
    assert ce.diff_states(a, ce.BinaryCrossEntropy().update(P[::-1], Y[::-1])).equal
