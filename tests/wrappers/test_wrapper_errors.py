"""Errors of wrappers name what the user gave: the argument, the unit, the group."""

import re

import numpy as np
import pytest

import streamce as ce

MEAN = ce.MeanLoss()
WINDOW = ce.Sliding(MEAN, period="1h", step="1min")
KEYED = {
    "Grouped": lambda: ce.Grouped(MEAN, period="1h"),
    "Sliding": lambda: WINDOW.copy(),
    "Decayed": lambda: ce.Decayed(MEAN, half_life="1h"),
    "Grouped-Sliding": lambda: ce.Grouped(WINDOW),
    "Collection": lambda: ce.Collection({"mean": MEAN, "window": WINDOW}),
}


def raises(message, call, error=ce.InputError):
    with pytest.raises(error, match=rf"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize(
    ("times", "kind"),
    [
        (lambda: (x for x in (0.0, 1.0)), "generator"),
        (lambda: iter([0.0, 1.0]), "list_iterator"),
        (lambda: {0.0, 1.0}, "set"),
        (lambda: {"a": 0.0}.values(), "dict_values"),
    ],
)
def test_times_that_are_no_array_are_named_by_their_type(name, times, kind):
    expected = "expected an array or list of datetimes, text in ISO 8601, or numbers since 1970"
    by = {"by": ["a", "b"]} if name == "Grouped-Sliding" else {}
    metric = KEYED[name]()
    raises(f"by_time is a {kind}: {expected}", lambda: metric.update([1.0, 2.0], by_time=times(), **by))
    assert metric == KEYED[name]()


def test_keys_that_are_no_array_are_named_by_their_type():
    expected = "expected an array or list of integers, strings, bytes, datetimes, or a tuple of such columns"
    for keys, kind in (((x for x in "ab"), "generator"), ({"a", "b"}, "set"), ({"a": 1}, "dict")):
        raises(f"by is a {kind}: {expected}", lambda keys=keys: ce.Grouped(MEAN).update([1.0, 2.0], by=keys))
    raises(f"cluster is a set: {expected}", lambda: ce.MeanLoss().update([1.0], cluster={1}))
    ce.Grouped(MEAN).update(1.0, by="a").update(1.0, by=np.array("b")).update(1.0, by=np.array("c", object))


@pytest.mark.parametrize("inner", [WINDOW, ce.Decayed(MEAN, half_life="1h"), ce.Collection({"window": WINDOW})])
def test_lengths_of_keys_that_differ_are_both_named(inner):
    for by, by_time in ((["a"], [0.0, 1.0]), (["a", "b"], [0.0])):
        message = f"by has length {len(by)} and by_time has length {len(by_time)}: expected equal lengths, one entry "
        metric = ce.Grouped(inner)
        raises(f"{message}per sample", lambda m=metric, a=by, t=by_time: m.update([1.0, 2.0], by=a, by_time=t))
        assert metric == ce.Grouped(inner)
    message = "by has length 1 and preds 2 samples: expected 2, one per sample"
    raises(message, lambda: ce.Grouped(inner).update([1.0, 2.0], by=["a"], by_time=[0.0]))


def test_the_length_of_times_without_keys_names_the_times():
    message = "by_time has length 1 and preds 2 samples: expected 2, one per sample"
    raises(message, lambda: ce.Grouped(MEAN, period="1h").update([1.0, 2.0], by_time=[0.0]))


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (WINDOW, ce.Sliding(MEAN, period="1h", step="10s"), "step is 1min in one metric and 10s in the other"),
        (WINDOW, ce.Sliding(MEAN, period="2h", step="1min"), "period is 1h in one metric and 2h in the other"),
        (WINDOW, ce.Sliding(MEAN, samples=3), "period is 1h in one metric and None in the other"),
        (
            ce.Decayed(MEAN, half_life=0.5),
            ce.Decayed(MEAN, half_life="1w"),
            "half_life is 500ms in one metric and 1w in the other",
        ),
        (
            ce.Grouped(MEAN, period="1d"),
            ce.Grouped(MEAN, period=3600),
            "period is 1d in one metric and 1h in the other",
        ),
        (
            ce.Grouped(WINDOW),
            ce.Grouped(ce.Sliding(MEAN, period="1h", step="10s")),
            "step is 1min in one metric and 10s in the other",
        ),
    ],
)
def test_lengths_of_time_that_differ_have_units(one, other, message):
    raises(f"{message}: their losses cannot be added", lambda: one.merge(other))


def less_than_nothing(inner, *batch):
    groups = ce.Grouped(inner).update(*batch, by=["a", "a", "b"])
    return groups - ce.Grouped(inner).update(*(each[1:] for each in batch), by=["b", "b"])


INNER = {
    "cells": (MEAN, [1.0, 2.0, 3.0]),
    "tail": (ce.BinaryCrossEntropy(tail=True), [0.5, 0.25, 0.75], [1, 0, 1]),
    "normalized": (ce.NormalizedEntropy(), [0.5, 0.25, 0.75], [1, 0, 1]),
    "paired": (ce.Paired(MEAN), [1.0, 2.0, 3.0], [1.0, 2.0, 2.0]),
}


@pytest.mark.parametrize("name", INNER)
def test_the_group_from_which_more_was_subtracted_is_named(name):
    groups = less_than_nothing(*INNER[name])
    calls = [groups.compute, groups.summary, groups.macro, groups.worst, groups.best, groups.to_table]
    if name == "paired":
        calls.append(groups.discoveries)
    for call in calls:
        raises("group 'b': samples is -1: more was subtracted than had been added", call)
    assert "group &#x27;b&#x27;: samples is -1" in groups.report()


@pytest.mark.parametrize(
    "wrapper", [ce.Grouped(MEAN), ce.Sliding(MEAN, samples=3), ce.Decayed(MEAN, half_life=1)], ids=lambda one: type(one)
)
def test_the_name_of_losses_in_wrappers_is_told(wrapper):
    name = type(wrapper).__name__
    message = f"{name}.update() got an unexpected keyword argument 'losses': wrappers call it 'preds'"
    raises(message, lambda: wrapper.update(losses=[1.0], by=["a"]), TypeError)
    other = type(wrapper)(**{**wrapper.options, "metric": ce.BinaryCrossEntropy()})
    raises(message.partition(":")[0], lambda: other.update(losses=[1.0], target=[1]), TypeError)
