"""``to_limbs`` and ``load_limbs``: adding arrays is merging states, and no sum of other arrays is taken for a state."""

import hashlib
import struct

import numpy as np
import pytest
import state_reader
import summands
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce
from streamce.core.ledger import digits
from streamce.core.ledger.ledger import NAMES, Ledger

pytestmark = pytest.mark.core
fixed = pytest.mark.parametrize("name", summands.FIXED)
BASE = 2**32
SUM_DIGITS = digits.COLUMN_OF_DIGIT.count(0)


def written(ledger):
    out = np.empty((1, digits.DIGITS), dtype=np.int64)
    digits.write(ledger, np.zeros(1, dtype=np.int64), out)
    return out


def read(sums):
    ledger = Ledger(1)
    digits.read(ledger, np.zeros(1, dtype=np.int64), sums)
    return ledger


@given(st.integers(0, 4), st.integers(-(2**2175) + 2**2170, 2**2175 - 2**2170))
def test_the_digits_of_a_sum_are_those_of_its_integer(column, value):
    ledger = Ledger(1)
    ledger.add_integer(NAMES[column], 0, value)
    found = [int(digit) for digit, of in zip(written(ledger)[0], digits.COLUMN_OF_DIGIT, strict=True) if of == column]
    assert len(found) == SUM_DIGITS
    assert all(-(2**31) <= digit < 2**31 for digit in found)
    assert sum(digit * BASE**place for place, digit in enumerate(found)) == value


@given(st.integers(5, 27), st.integers(-(2**62), 2**62))
def test_the_digits_of_a_counter_are_those_of_its_integer(column, value):
    ledger = Ledger(1)
    ledger.add_integer(NAMES[column], 0, value)
    low, high = (
        int(digit) for digit, of in zip(written(ledger)[0], digits.COLUMN_OF_DIGIT, strict=True) if of == column
    )
    assert low + high * BASE == value
    assert -(2**31) <= low < 2**31
    assert -(2**31) <= high < 2**31


@given(st.data())
def test_sums_of_digits_are_read_as_the_sum_of_integers(data):
    """Sums of up to 2^32 - 1 digits, the largest and the smallest ones among them."""
    most = (2**32 - 1) * 2**31
    lane = st.one_of(st.integers(-most, most), st.sampled_from([-most, most, 0, -1, 1]))
    rows = np.zeros((1, digits.DIGITS), dtype=np.int64)
    expected = dict.fromkeys(NAMES[:5], 0)
    for at, (column, place) in enumerate(zip(digits.COLUMN_OF_DIGIT, digits.PLACE_OF_DIGIT, strict=True)):
        if column < 5 and data.draw(st.booleans()):
            rows[0, at] = data.draw(lane)
            expected[NAMES[column]] += int(rows[0, at]) * BASE**place
    assert read(rows).cell() == {name: value for name, value in expected.items() if value}


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**62), 2**62))
def test_a_counter_beyond_its_range_is_refused(low, high):
    rows = np.zeros((1, digits.DIGITS), dtype=np.int64)
    at = digits.COLUMN_OF_DIGIT.index(NAMES.index("samples"))
    rows[0, at], rows[0, at + 1] = low, high
    value = low + high * BASE
    if abs(value) <= 2**62:
        assert read(rows).integer("samples") == value
    else:
        with pytest.raises(OverflowError, match="samples"):
            read(rows)


def test_a_sum_beyond_its_digits_is_refused():
    for value in (2**2175, -(2**2175) - 2**2144, 2**3000):
        ledger = Ledger(1)
        ledger.add_integer("nn", 0, value)
        with pytest.raises(OverflowError, match="nn is beyond"):
            written(ledger)


@fixed
def test_the_sum_of_arrays_is_the_merged_state(name):
    metrics = summands.metrics(name)
    arrays = [metric.to_limbs() for metric in metrics]
    expected = summands.merged(metrics).to_bytes()
    assert {array.dtype for array in arrays} == {np.dtype(np.int64)}
    for order in (arrays, arrays[::-1]):
        assert summands.FIXED[name].copy().load_limbs(sum(order)).to_bytes() == expected
    tree = (arrays[0] + arrays[1]) + ((arrays[2] + arrays[3]) + (arrays[4] + (arrays[5] + arrays[6])))
    assert summands.FIXED[name].copy().load_limbs(tree).to_bytes() == expected


@fixed
def test_the_layout_is_that_of_the_specification(name):
    """The array of a state, written from docs/FORMAT.md and the integers that an independent reader finds."""
    for metric in summands.metrics(name):
        empty = metric._new().to_bytes()
        digest = hashlib.sha256(empty).digest()[:16]
        first, *others = struct.unpack("<4i", digest)
        expected = [1, (first & 0x7FFFFFFF) | 0x40000001, *others]
        found = state_reader.read(metric.to_bytes())
        parts = {f"{each}.total": 1 for each in state_reader.STATES.get(found.metric, ())}
        if not parts:
            per_cell = found.options.get("per_class") or found.options.get("per_label")
            ratios = 3 if found.metric == "SequenceCrossEntropy" else 2 if found.options.get("divergence") else 1
            parts = ({"cells": 4} if per_cell else {}) | {"total": ratios}
        for part, size in sorted(parts.items()):
            ledger = found.parts.get(part)
            for cell in range(size):
                integers = ledger.cells.get(cell, {}) if ledger is not None else {}
                for number, column in enumerate(state_reader.COLUMNS):
                    value = integers.get(column, 0)
                    for _ in range(68 if number < 5 else 2):
                        digit = (value + 2**31) % 2**32 - 2**31
                        expected.append(digit)
                        value = (value - digit) >> 32
                    assert value == 0
        assert metric.to_limbs().tolist() == expected


@fixed
def test_the_length_depends_on_class_and_options_only(name):
    assert len({len(metric.to_limbs()) for metric in summands.metrics(name)}) == 1


def test_a_binary_metric_has_391_entries():
    assert len(ce.BinaryCrossEntropy().to_limbs()) == 391


@fixed
def test_one_state_is_exact_in_smaller_types(name):
    for metric in summands.metrics(name):
        array = metric.to_limbs()
        for dtype in (np.int32, np.float64):
            smaller = array.astype(dtype)
            assert metric._new().load_limbs(smaller).to_bytes() == metric.to_bytes()


def test_sums_of_a_million_states_in_float64():
    metric = summands.metrics("binary")[0]
    array = metric.to_limbs().astype(np.float64) * 1_000_000
    assert metric._new().load_limbs(array).summary().count == 1_000_000 * metric.summary().count


def test_the_most_states_that_an_array_holds():
    for each in (ce.MeanLoss().update([-1e308, 3.0]), ce.MeanLoss().update([1e308, 0.1])):
        array = each.to_limbs() * (2**32 - 1)
        assert ce.MeanLoss().load_limbs(array).compute() == each.compute()
        assert ce.MeanLoss().load_limbs(array).summary().count == 2 * (2**32 - 1)


def test_load_limbs_replaces_the_state_and_returns_the_metric():
    metric = ce.MeanLoss().update([5.0])
    assert metric.load_limbs(ce.MeanLoss().update([1.0]).to_limbs()) is metric
    assert metric.compute() == 1.0


def test_summands_that_cancelled_can_be_written():
    big = ce.MeanLoss().update([1e308] * 1000)
    assert ce.MeanLoss().load_limbs((big - big).to_limbs()).to_bytes() == ce.MeanLoss().to_bytes()


class Tensor:
    def __array__(self, dtype=None, copy=None):
        raise TypeError("it is on a device. Copy it")


GOOD = ce.BinaryCrossEntropy().update([0.5, 0.25], [1, 0])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros(391), r"array\[0\] is 0: expected the number of added states, 1 to 4294967295"),
        (np.zeros(390), "array has length 390: expected 391, as to_limbs\\(\\) of a metric with these options has"),
        (np.zeros((391, 1)), r"array has shape \(391, 1\): expected one dimension of whole numbers"),
        (-GOOD.to_limbs(), r"array\[0\] is -1"),
        (GOOD.to_limbs() * 0.5, r"array\[0\] is 0.5: expected a whole number"),
        (ce.BinaryCrossEntropy(eps=0.1).to_limbs(), "array holds states of another class or of other options"),
        (ce.BinaryCrossEntropy(eps=0.1).to_limbs() + GOOD.to_limbs(), "array holds states of another class"),
        (ce.MeanLoss().to_limbs(), "array holds states of another class or of other options"),
        ((GOOD.to_limbs() * 3).astype(np.int32), "array holds states of another class .* integers of 64 bits"),
        (GOOD.to_limbs().astype(np.float32), r"array\[1\] is .* below 2\^24 in magnitude, .* as float32"),
        (np.array(["a"] * 391), "array has dtype <U1: expected whole numbers"),
        (None, r"array has shape \(\): expected one dimension"),
        ([1, 2], "array has length 2: expected 391"),
        (np.ma.masked_array(GOOD.to_limbs(), np.arange(391) == 9), r"array\[9\] is masked: expected a whole number"),
        (Tensor(), r"array is not an array \(it is on a device\): expected whole numbers"),
        (GOOD.to_limbs().astype(np.uint64) + 2**63, r"array\[0\] is 9223372036854775809: expected a whole number of"),
    ],
)
def test_other_arrays_are_refused_and_change_nothing(array, expected):
    metric = GOOD.copy()
    with pytest.raises(ce.InputError, match=expected):
        metric.load_limbs(array)
    assert metric == GOOD


@given(st.floats(1e-9, 1e-3), st.integers(2, 2**32 - 1))
def test_any_sum_in_smaller_types_is_noticed(eps, states):
    """Whatever the options, because a multiple of the first entry that identifies them does not fit."""
    metric = ce.BinaryCrossEntropy(eps=eps)
    array = metric.to_limbs()
    for dtype in (np.int8, np.int16, np.int32, np.uint32):
        with pytest.raises(ce.InputError, match="array"):
            metric.load_limbs((array * states).astype(dtype))
    for dtype in (np.float16, np.float32):
        with pytest.raises(ce.InputError, match="array"), np.errstate(all="ignore"):
            metric.load_limbs(array.astype(dtype))


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        lambda array: array.astype(">i8"),
        lambda array: np.repeat(array, 3)[::3],
        lambda array: array[::-1].copy()[::-1],
        lambda array: array.astype(object),
        np.ma.masked_array,
        memoryview,
    ],
)
def test_any_layout_of_an_array(convert):
    assert ce.BinaryCrossEntropy().load_limbs(convert(GOOD.to_limbs())) == GOOD


def test_a_digit_that_no_sum_has_is_refused():
    array = GOOD.to_limbs()
    array[100] = 2**31 + 1
    with pytest.raises(ce.InputError, match=r"array\[100\] is 2147483649: expected at most 1 \* 2\^31 in magnitude"):
        ce.BinaryCrossEntropy().load_limbs(array)
    array[100] = -(2**63)
    with pytest.raises(ce.InputError, match=r"array\[100\] is -9223372036854775808"):
        ce.BinaryCrossEntropy().load_limbs(array)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (
            ce.Grouped(ce.MeanLoss()),
            "a Grouped has no fixed size, so it has no limbs: use to_sql_rows\\(\\) or ce.all_reduce",
        ),
        (ce.Sliding(ce.MeanLoss(), samples=9), r"the state of a Sliding .* so it has no limbs: use to_bytes\(\)$"),
        (ce.Decayed(ce.MeanLoss(), half_life="1h"), "the state of a Decayed"),
        (
            ce.Grouped(ce.Decayed(ce.MeanLoss(), half_life="1h")),
            r"so it has no limbs: use to_bytes\(\) or ce.all_reduce$",
        ),
        (ce.Collection({"a": ce.MeanLoss()}), "the state of a Collection"),
        (ce.MulticlassCrossEntropy(per_class=True), "the number of classes or labels is not known"),
        (ce.MulticlassNormalizedEntropy(), "the number of classes or labels is not known"),
        (ce.BinaryCrossEntropy(tail=True), "tail=True adds too many sums for limbs"),
        (ce.BinaryCrossEntropy(calibration=True), "calibration=True adds too many sums for limbs"),
        (ce.SequenceCrossEntropy(per_position=True), "per_position=True adds too many sums for limbs"),
    ],
)
def test_states_without_a_fixed_size_are_refused(metric, expected):
    for call in (metric.to_limbs, lambda: metric.load_limbs(np.zeros(391))):
        with pytest.raises(ce.InputError, match=expected):
            call()


def test_clusters_are_refused():
    metric = ce.BinaryCrossEntropy().update([0.5], [1], cluster=[7])
    with pytest.raises(ce.InputError, match="the state has samples in clusters, so it has no limbs"):
        metric.to_limbs()


def test_a_sum_that_is_too_large_is_refused():
    metric = ce.MeanLoss()
    for _ in range(80):  # the sum doubles, beyond what any number of samples can reach
        metric = (metric + metric).update([1e308]) if metric.summary().samples < 2**60 else metric
    metric._state.total.add_integer("nn", 0, 2**2175)
    with pytest.raises(ce.InputError, match=r"cannot be written as limbs: nn is beyond 2\^1101"):
        metric.to_limbs()
