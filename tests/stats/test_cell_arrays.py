"""Summaries of many cells at once equal those of each cell alone, to the last bit."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce
from streamce._support.rational import root
from streamce.core.ledger.ledger import Ledger
from streamce.stats import cell_arrays
from streamce.stats.summary import summarise_cell

pytestmark = pytest.mark.core
losses = st.one_of(
    st.floats(0, 30),
    st.floats(allow_nan=False, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 5e-324, 2.0**-1022, 1e-160, 1e150, 1e154, 1.7976931348623157e308, 1 + 2.0**-52]),
)
batches = st.lists(st.lists(losses, max_size=6), min_size=1, max_size=8)


def cells_of(batches, weights=None):
    """Return groups, one for each batch that is not empty."""
    groups = ce.Grouped(ce.MeanLoss())
    for key, batch in enumerate(batches):
        if batch:
            groups.update(batch, by=[key] * len(batch), weight=None if weights is None else [weights[key]] * len(batch))
    return groups


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def check(groups, level, anytime):
    cells, ledger = groups._state.sorted_cells()
    found = cell_arrays.summaries(ledger, level, anytime)
    assert len(found) == len(cells)
    for key, cell in cells.items():
        expected = summarise_cell(ledger.cell(cell), level=level, anytime=anytime)
        assert repr(found[cell]) == repr(expected), key  # texts, because nan is not equal to nan
    table = groups.to_table(level, anytime)
    for i, (key, summary) in enumerate(groups.summary(level, anytime).items()):
        assert table["key"][i] == key
        assert same(table["value"][i], summary.value)
        assert all(map(same, (table["low"][i], table["high"][i]), summary.interval))
        for name in ("stderr", "total", "weight", "count", "samples", "seen", "skipped", "infinite"):
            assert same(table[name][i], getattr(summary, name)), name


@given(batches, st.sampled_from([0.5, 0.95, 0.999]), st.booleans())
def test_equal_to_the_summaries_of_single_cells(batches, level, anytime):
    check(cells_of(batches), level, anytime)


@given(batches, st.lists(st.sampled_from([0.0, 1.0, 0.5, 1e-300, 3e200]), min_size=8, max_size=8))
def test_with_weights(batches, weights):
    check(cells_of(batches, weights), 0.95, False)


@given(st.integers(2, 10**6), st.lists(st.floats(0, 50, width=32), min_size=2, max_size=5), st.integers(1, 40))
def test_with_many_samples(number, values, power):
    """A group that was added to itself many times."""
    groups = cells_of([values])
    for _ in range(power):
        groups = groups + groups
    check(groups + cells_of([[number, 1 / number]]), 0.95, True)


def test_equal_losses_have_no_spread():
    check(cells_of([[0.25] * 5, [1 / 3] * 200, [0.1] * 3, []]), 0.95, True)


def test_anomalies_are_counted():
    groups = ce.Grouped(ce.BinaryCrossEntropy(invalid="skip"))
    groups.update([0.5, 0.0, math.nan, 0.2, 2.0], [1, 1, 0, 1, 0], by=[1, 1, 1, 2, 2])
    check(groups, 0.95, False)


def test_values_of_perplexity():
    groups = ce.Grouped(ce.Perplexity()).update([[[0.5, 0.5], [0.2, 0.8]]] * 3, [[0, 1]] * 3, by=["a", "b", "b"])
    check(groups, 0.95, False)
    assert groups.to_table()["value"][0] == groups["a"].compute()


def test_more_subtracted_than_added_is_an_error():
    groups = cells_of([[1.0], [2.0, 3.0]]) - cells_of([[1.0, 2.0]])
    for method in (groups.to_table, groups.summary):
        with pytest.raises(ce.InputError, match="more was subtracted than had been added"):
            method()


def test_no_groups():
    assert {name: len(column) for name, column in ce.Grouped(ce.MeanLoss()).to_table().items()}["value"] == 0
    assert cell_arrays.summaries(Ledger(0), 0.95, False) == []


@given(st.integers(1, 2**200), st.integers(1, 2**200), st.integers(-1500, 1500))
def test_a_root_is_rounded_correctly(numerator, denominator, power):
    """It is at most half a unit from the root: its neighbours' midpoints enclose the quotient."""
    numerator, denominator = numerator << max(power, 0), denominator << max(-power, 0)
    found = root(numerator, denominator)
    below, above = math.nextafter(found, 0), math.nextafter(found, math.inf)
    quotient = Fraction(numerator, denominator)
    if 0 < found < 1e300:
        assert ((Fraction(below) + Fraction(found)) / 2) ** 2 <= quotient
        assert quotient <= ((Fraction(found) + Fraction(above)) / 2) ** 2


def test_a_million_groups_take_no_objects():
    """Columns of groups are arrays, not Python objects."""
    n = 20_000
    random = np.random.default_rng(0)
    groups = ce.Grouped(ce.BinaryCrossEntropy()).update(random.random(n), random.integers(0, 2, n), by=np.arange(n))
    table = groups.to_table()
    assert {column.dtype.kind for name, column in table.items() if name != "key"} <= {"f", "i"}
    assert len(table["value"]) == n
