"""Sums are exact: integers that equal sums of Fractions, after any additions, merges and subtractions."""

import math
from fractions import Fraction

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import make

import streamce as ce
from streamce.core.ledger.ledger import Ledger

pytestmark = pytest.mark.core

GRID = Fraction(1, 2**1074)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
# Terms over the whole range: subnormal, ordinary, huge.
TERMS = st.lists(
    st.one_of(
        FINITE,
        st.floats(-1, 1),
        st.builds(math.ldexp, st.floats(-1, 1), st.integers(-1073, 1023)),
        st.sampled_from([5e-324, -5e-324, 2.0**-1022, 1e308, -1e308, 1.7976931348623157e308, 0.0, -0.0]),
    ),
    min_size=1,
    max_size=60,
)
WEIGHTS = st.floats(0, 1e6)


def value(metric, column="n"):
    """Return an exact sum as a Fraction."""
    return metric._state.total.integer(column) * GRID


def fed(terms, **more):
    return ce.MeanLoss().update(np.array(terms, dtype=float), **more)


def spread(seed, n):
    """Return terms of both signs over the whole range of float64."""
    rng = np.random.default_rng(seed)
    return np.ldexp(rng.uniform(-1, 1, n), rng.integers(-1073, 1024, n))


# ---- sums ----


@given(TERMS)
def test_the_sum_of_losses_is_exact(terms):
    assert value(fed(terms)) == oracle.total(terms)


@given(TERMS)
def test_the_sum_of_squares_is_exact_over_squares_rounded_once(terms):
    finite = [term for term in terms if abs(term) < 1e150]
    assert value(fed(finite or [0.0]), "nn") == oracle.total(term * term for term in finite)


@given(st.lists(st.tuples(st.floats(-1e100, 1e100), WEIGHTS), min_size=1, max_size=40))
def test_the_sums_of_weighted_losses_are_exact_over_products_rounded_once(pairs):
    losses, d = zip(*pairs, strict=True)
    metric = fed(losses, weight=np.array(d))
    n = [loss * w if w else 0.0 for loss, w in pairs]
    k = len(pairs)
    assert value(metric) == oracle.total(n)
    assert value(metric, "nn") == oracle.total(x * x for x in n)
    # Sums with d are stored as the excess over those of weight 1.
    assert value(metric, "d") + k == oracle.total(d)
    assert value(metric, "dd") + k == oracle.total(w * w for w in d)
    assert value(metric, "nd") + value(metric) == oracle.total(x * w for x, w in zip(n, d, strict=True))


@pytest.mark.parametrize("n", [1, 15, 16, 17, 2047, 2048, 2049, 10_000])
def test_sums_over_the_whole_range_at_every_block_length(n):
    terms = spread(n, n)
    assert value(fed(terms)) == oracle.total(terms)


@pytest.mark.parametrize("scale", [-1074, -1060, -1022, -500, 0, 500, 960, 1000, 1010])
def test_sums_of_alike_terms_at_every_scale(scale, simd):
    terms = np.ldexp(np.random.default_rng(1).uniform(-1, 1, 5000), scale)
    assert value(fed(terms)) == oracle.total(terms)


def test_the_largest_and_the_smallest_terms():
    terms = [1.7976931348623157e308] * 5000 + [5e-324] * 5000 + [-1.7976931348623157e308] * 4999
    metric = fed(terms)
    assert value(metric) == oracle.total(terms)
    assert (metric - fed([1.7976931348623157e308])).compute() == float(5000 * GRID / 14998)


# ---- cells ----


@pytest.mark.parametrize("per", ["per_class", "per_label"])
def test_sums_of_cells_are_exact(per):
    n, classes = 3000, 7
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(classes), n)
    weight = rng.gamma(1, 1, n)
    if per == "per_class":
        target = rng.integers(0, classes, n)
        metric = ce.MulticlassCrossEntropy(per_class=True).update(p, target, weight=weight)
        single = ce.MulticlassCrossEntropy()
        cell_of, losses = target, [single.reset().update(p[i : i + 1], target[i : i + 1]).compute() for i in range(n)]
        d = weight
    else:
        target = rng.integers(0, 2, (n, classes))
        metric = ce.MultilabelCrossEntropy().update(p, target, weight=weight)
        single = ce.BinaryCrossEntropy()
        flat = zip(p.ravel(), target.ravel(), strict=True)
        cell_of, losses = np.tile(np.arange(classes), n), [single.reset().update(x, int(y)).compute() for x, y in flat]
        d = np.repeat(weight, classes)
    cells = metric._state.cells
    for cell in range(classes):
        mine = np.flatnonzero(cell_of == cell)
        assert cells.integer("n", cell) * GRID == oracle.total(losses[i] * d[i] for i in mine)
        assert cells.integer("d", cell) * GRID + len(mine) == oracle.total(d[mine])
        assert cells.integer("count", cell) == len(mine)


# ---- the group ----


@given(st.lists(st.tuples(TERMS, st.sampled_from([1, -1])), min_size=1, max_size=8))
def test_sums_stay_exact_through_additions_and_subtractions(parts):
    metric, expected, samples = ce.MeanLoss(), Fraction(0), 0
    for terms, sign in parts:
        metric = metric + fed(terms) if sign > 0 else metric - fed(terms)
        expected += sign * oracle.total(terms)
        samples += sign * len(terms)
        assert value(metric) == expected
        assert metric._state.total.integer("samples") == samples


@given(st.permutations([5e-324, -1.5, 1e308, -1e308, 2.0**-700, 1e200, -3e-200, 7.0]))
def test_the_window_grows_at_both_ends(terms):
    metric, expected = ce.MeanLoss(), Fraction(0)
    for term in terms:
        metric.update([term])
        expected += Fraction(term)
        assert value(metric) == expected


def test_carries_and_borrows_through_many_words():
    metric = fed([1e308])
    for _ in range(3):
        metric += fed([-5e-324])
        metric += fed([5e-324, 5e-324])
        metric -= fed([1e308, 5e-324])
        metric += fed([1e308])
    assert value(metric) == Fraction(1e308)


def test_a_difference_doubled_two_thousand_times_is_still_exact():
    terms, others = [1.7e308, 5e-324, 3.0], [-1.1e300, 2.5, 0.1]
    metric = fed(terms) - fed(others)
    expected = oracle.total(terms) - oracle.total(others)
    for _ in range(2000):
        metric += metric
    assert value(metric) == expected * 2**2000
    assert ce.from_bytes(metric.to_bytes()) == metric
    assert (metric - metric) == ce.MeanLoss()


def test_a_counter_that_would_overflow_is_an_error_and_nothing_is_added():
    metric = fed([0.1, 0.7])
    for _ in range(61):
        metric += metric
    assert metric.summary().count == 2**62
    assert value(metric) == (Fraction(0.1) + Fraction(0.7)) * 2**61
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match="samples"):
        metric += metric
    with pytest.raises(ce.InputError, match="samples"):
        metric -= ce.MeanLoss() - metric
    assert metric.to_bytes() == before


def test_a_window_of_metrics_does_not_drift():
    days = [fed(spread(day, 50)) for day in range(60)]
    window = ce.MeanLoss()
    for i, day in enumerate(days):
        window += day
        if i >= 7:
            window -= days[i - 7]
    assert window == sum(days[-7:])


def test_infinite_terms_can_be_taken_away():
    metric = fed([1.0, 2.0])
    odd = fed([math.inf, -math.inf, 3.0, math.inf])
    assert math.isnan((metric + odd).compute())
    assert (metric + fed([math.inf])).compute() == math.inf
    assert (metric + fed([-math.inf])).compute() == -math.inf
    assert metric + odd - odd == metric


def test_infinities_of_both_signs_within_one_sample_are_not_a_number():
    metric = ce.MeanLoss().update([[math.inf, -math.inf], [1.0, 2.0]])
    assert math.isnan(metric.compute())
    assert metric - ce.MeanLoss().update([[math.inf, -math.inf]]) == ce.MeanLoss().update([[1.0, 2.0]])


# ---- compute ----


@given(TERMS)
def test_the_mean_is_the_exact_quotient_rounded_once(terms):
    assert fed(terms).compute() == oracle.rounded(oracle.total(terms) / len(terms))


@given(st.lists(st.tuples(st.floats(-1e200, 1e200), st.floats(1e-100, 1e100)), min_size=1, max_size=30))
def test_the_weighted_mean_is_the_exact_quotient_rounded_once(pairs):
    losses, d = zip(*pairs, strict=True)
    n = oracle.total(loss * w for loss, w in pairs)
    assert fed(losses, weight=np.array(d)).compute() == oracle.rounded(n / oracle.total(d))


def test_a_quotient_beyond_float64_is_infinite():
    assert fed([1.7e308], weight=np.array([1.0])).compute() == 1.7e308
    metric = fed([1.7e308, 1.7e308, 0.0]) - fed([0.0, 0.0])
    assert metric.compute() == math.inf
    assert (fed([-1.7e308, -1.7e308, 0.0]) - fed([0.0, 0.0])).compute() == -math.inf


def test_a_mean_that_is_subnormal():
    assert fed([5e-324, 0.0, 5e-324]).compute() == 5e-324
    assert fed([5e-324, 0.0, 0.0]).compute() == 0.0


# ---- the ledger itself ----


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-(2**3000), 2**3000)), max_size=20))
def test_any_integer_can_be_added_to_any_cell(added):
    ledger, expected = Ledger(5), [0] * 5
    for cell, integer in added:
        ledger.add_integer("n", cell, integer)
        expected[cell] += integer
        assert [ledger.integer("n", c) for c in range(5)] == expected
    assert ledger.columns().get("n", {}) == {c: x for c, x in enumerate(expected) if x}


@pytest.mark.parametrize(("size", "growing"), [(1, False), (63, False), (200, False), (2**24, False), (1025, True)])
def test_the_cells_that_are_not_0(size, growing):
    ledger = Ledger(size, growing)
    assert ledger.used() == []
    cells = sorted({0, size // 2, size - 1})
    for cell in cells:
        ledger.add_integer("n", cell, 5)
    assert ledger.used() == cells
    assert ledger.column("n") == dict.fromkeys(cells, 5)
    ledger.add_integer("n", cells[0], -5)
    assert ledger.used() == cells[1:]


def test_a_cell_that_is_not_there_is_an_error():
    ledger = Ledger(3)
    for cell in (-1, 3):
        with pytest.raises(IndexError):
            ledger.integer("n", cell)
        with pytest.raises(IndexError):
            ledger.add_integer("n", cell, 1)


def test_large_chunks_are_exact():
    stream = make("mean", 1 << 19, weighted=True, seed=3)
    metric = stream.fed(threads=4)
    with np.errstate(under="ignore"):
        n = stream.preds * stream.weight
    assert metric.compute() == oracle.rounded(oracle.total(n) / oracle.total(stream.weight))
