"""Options accept NumPy's scalars and other types of numbers wherever they accept Python's."""

from fractions import Fraction

import numpy as np
import pytest

import streamce as ce
from streamce.integrations.prometheus import Collector

SWITCHES = [np.True_, np.bool_(1), True]
INTEGERS = [np.int64(2), np.uint8(2), np.array(2), 2]
REALS = [np.float64(0.5), np.float32(0.5), np.float16(0.5), np.longdouble(0.5), Fraction(1, 2), 0.5]


def same(*metrics):
    """Return whether metrics have equal states, options and constructor arguments."""
    for metric in metrics:
        assert metric.to_bytes() == metrics[-1].to_bytes()
        assert repr(metric) == repr(metrics[-1])
        assert {type(value) for value in metric.options.values()} == {type(v) for v in metrics[-1].options.values()}


@pytest.mark.parametrize("option", ["divergence", "tail", "calibration"])
def test_switches(option):
    same(*(ce.BinaryCrossEntropy(**{option: on}) for on in SWITCHES))
    same(*(ce.BinaryCrossEntropy(**{option: on}) for on in (np.False_, False)))


def test_switches_of_cells():
    same(*(ce.MulticlassCrossEntropy(per_class=on, calibration=on) for on in SWITCHES))
    same(*(ce.MultilabelCrossEntropy(per_label=on) for on in SWITCHES))
    same(*(ce.SequenceCrossEntropy(per_position=on) for on in SWITCHES))
    same(*(ce.CTCCrossEntropy(tail=on) for on in SWITCHES))


def test_integers():
    same(*(ce.MulticlassCrossEntropy(ignore_index=i, axis=i, threads=i) for i in INTEGERS))
    same(*(ce.CTCCrossEntropy(blank=i) for i in INTEGERS))
    same(*(ce.Sliding(ce.MeanLoss(), samples=i) for i in INTEGERS))
    for i in INTEGERS:
        ce.set_num_threads(i)
    ce.set_num_threads(None)


def test_reals():
    same(*(ce.BinaryCrossEntropy(eps=x, label_smoothing=x, pos_weight=x) for x in REALS[:3]))
    same(*(ce.BinaryCrossEntropy(eps=x, label_smoothing=x) for x in REALS))
    same(*(ce.BinaryCrossEntropy(eps=x) for x in (np.int8(0), np.float32(0), 0)))


def test_names():
    same(
        *(
            ce.BinaryCrossEntropy(kind=name, invalid=each)
            for name, each in ((np.str_("logits"), np.str_("skip")), ("logits", "skip"))
        )
    )
    same(*(ce.Grouped(ce.MeanLoss(), period=name) for name in (np.str_("1h"), "1h")))
    same(*(ce.CTCCrossEntropy(per=name) for name in (np.str_("frame"), "frame")))


def test_what_methods_take():
    metric = ce.BinaryCrossEntropy(tail=True).update([0.2, 0.4, 0.9] * 50, [0, 1, 1] * 50)
    for level in REALS:
        for anytime in SWITCHES:
            found = metric.summary(level=level, anytime=anytime)
            assert found == metric.summary(0.5, True)
            assert type(found.anytime) is bool
            assert type(found.level) is float
            assert metric.report(level=level, anytime=anytime) == metric.report(level=0.5, anytime=True)
        assert metric.tail().quantile(level) == metric.tail().quantile(0.5)
        assert metric.tail().share(level) == metric.tail().share(0.5)
    groups = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0, 1.5, 2.5, 3.5], by=[1, 2, 3] * 2)
    for number in INTEGERS:
        assert groups.worst(number) == groups.worst(2)
        assert groups.best(number) == groups.best(2)
        assert groups.largest(number) == groups.largest(2)
        Collector(groups, max_groups=number)
    assert ce.GANCrossEntropy().update(real=0.5, fake=0.5).summary(np.float32(0.5), np.True_).level == 0.5


def test_what_functions_take():
    for on in SWITCHES:
        assert ce.binary_cross_entropy(0.5, 1, grad=on, eps=np.float32(0))[0] == ce.binary_cross_entropy(0.5, 1, eps=0)
        assert ce.log_loss([0, 1], [0.5, 0.5], normalize=on) == ce.log_loss([0, 1], [0.5, 0.5])
    assert ce.cross_entropy([[0.5, 0.5]], [1], axis=np.int8(1), reduction=np.str_("sum")) == np.log(2)


class Hostile:
    """An object that raises on any access."""

    def __index__(self):
        raise RuntimeError("no")

    __float__ = __bool__ = __index__

    def __repr__(self):
        raise RuntimeError("no")


WRONG = [
    None,
    "1",
    b"1",
    1j,
    [1],
    {},
    object(),
    Hostile(),
    float("nan"),
    float("inf"),
    -float("inf"),
    -1,
    10**400,
    -(10**400),
    10**5000,
    np.datetime64("2020"),
    np.array([1, 2]),
    np.array([]),
    np.float64("nan"),
    np.longdouble("inf"),
    np.str_("a"),
    Fraction(10**400, 3),
]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_other_values_are_one_error(wrong):
    metric = ce.BinaryCrossEntropy(tail=True).update([0.5, 0.25], [1, 0])
    groups = ce.Grouped(ce.MeanLoss()).update([1.0], by=[1])
    wholes = (np.True_, np.False_, True)
    calls = {
        "tail": lambda: ce.BinaryCrossEntropy(tail=wrong),
        "divergence": lambda: ce.BinaryCrossEntropy(divergence=wrong),
        "per_class": lambda: ce.MulticlassCrossEntropy(per_class=wrong),
        "anytime": lambda: metric.summary(anytime=wrong),
        "level": lambda: metric.summary(level=wrong),
        "q": lambda: metric.tail().quantile(wrong),
        "eps": lambda: ce.BinaryCrossEntropy(eps=wrong),
        "label_smoothing": lambda: ce.BinaryCrossEntropy(label_smoothing=wrong),
        "blank": lambda: ce.CTCCrossEntropy(blank=wrong),
        "samples": lambda: ce.Sliding(ce.MeanLoss(), samples=wrong),
        "k": lambda: groups.worst(wrong),
        "n": lambda: ce.set_num_threads(wrong),
        "grad": lambda: ce.binary_cross_entropy(0.5, 1, grad=wrong),
        "normalize": lambda: ce.log_loss([0, 1], [0.5, 0.5], normalize=wrong),
        "kind": lambda: ce.BinaryCrossEntropy(kind=wrong),
        "half_life": lambda: ce.Decayed(ce.MeanLoss(), half_life=wrong),
        "max_groups": lambda: Collector(groups, max_groups=wrong),
    }
    for argument, call in calls.items():
        if wrong is None and argument in ("n", "samples"):
            continue  # the default
        if argument in ("blank", "samples", "k", "n", "max_groups"):
            assert not any(wrong is whole for whole in wholes)
        if isinstance(wrong, int) and wrong > 0 and argument in ("k", "n", "max_groups"):
            continue  # many values are valid
        with pytest.raises(ce.InputError) as raised:
            call()
        assert raised.value.argument in (argument, "period")


@pytest.mark.parametrize("wrong", [True, np.True_, np.False_], ids=repr)
def test_bools_are_no_numbers(wrong):
    for call in (
        lambda: ce.BinaryCrossEntropy(eps=wrong),
        lambda: ce.CTCCrossEntropy(blank=wrong),
        lambda: ce.Sliding(ce.MeanLoss(), samples=wrong),
        lambda: ce.set_num_threads(wrong),
        lambda: ce.MeanLoss().summary(level=wrong),
    ):
        with pytest.raises(ce.InputError, match=f"is {bool(wrong)}"):
            call()
