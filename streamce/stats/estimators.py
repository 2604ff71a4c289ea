"""Estimates from the integers of a cell: means, standard errors, p-values, proportions.

Every quotient is exact until it is rounded once. With n the loss and d the weight of each of k
samples, the mean is R = Σn / Σd. Its standard error is that of a ratio estimator (Cochran,
Sampling Techniques, 1977, chapter 6):

    stderr² = k / (k - 1) · (Σn² - 2 R Σnd + R² Σd²) / (Σd)²

For samples in clusters, the standard error is that of a jackknife over buckets of clusters.

A cell stores Σd, Σnd and Σd² as the excess over the sums that weights of 1 would give.
"""

import math
from typing import Any, NamedTuple

from streamce._support import scalars
from streamce._support.rational import GRID, quotient, root
from streamce._support.short_repr import short_repr
from streamce.core.ledger import results
from streamce.core.ledger.ledger import Ledger
from streamce.core.ledger.state import BUCKETS
from streamce.errors import InputError
from streamce.stats import intervals

LN2 = 0.6931471805599453
FIRST_LOOK = 100  # samples at the first look; see docs/UNCERTAINTY.md
INVALID = ("invalid_nan", "invalid_range", "invalid_row_sum", "invalid_label", "invalid_weight", "invalid_null")
COUNTS = ("count", "samples", "ignored", "floored", "infinite", "unnormalised", "infeasible", *INVALID)
# The exact sums, and the power of a weight in each.
WEIGHT_POWERS = {"n": 1, "nn": 2, "d": 1, "nd": 2, "dd": 2}
NEVER_NEGATIVE = frozenset({"n+inf", "n-inf", *COUNTS})
SUBTRACTED = "more was subtracted than had been added"

Cell = dict[str, int]  # the integers of a cell that are not 0, by column


class Uncertainty(NamedTuple):
    """How precisely a mean is estimated.

    ``units`` is the number of independent units behind the standard error, ``effective_samples`` the number of equal,
    independent samples that would give the same information, and ``buckets`` the number of buckets with samples.
    """

    stderr: float
    units: float
    effective_samples: float
    buckets: int


def check_level(level: Any, name: str = "level") -> float:
    """Return a confidence level, or another probability of this name, as a float, or raise InputError."""
    value = scalars.to_float(level)
    if value is None or not 0 < value < 1:
        raise InputError(name, f"is {short_repr(level)}", "a number between 0 and 1", value=level)
    return value


def check_anytime(anytime: Any) -> bool:
    """Return the option ``anytime`` as a bool, or raise InputError."""
    is_sequence = scalars.to_bool(anytime)
    if is_sequence is None:
        raise InputError("anytime", f"is {short_repr(anytime)}", "True or False", value=anytime)
    return is_sequence


def check_cell(cell: Cell) -> None:
    """Raise InputError if more was subtracted than had been added."""
    for name, number in cell.items():
        if number < 0 and name in NEVER_NEGATIVE:
            raise InputError(name, f"is {number}: {SUBTRACTED}", value=number)
    if weight_sum(cell) < 0:
        raise InputError("weight", f"is negative: {SUBTRACTED}")


def sample_number(cell: Cell) -> int:
    """Return the number of samples of a cell, or raise InputError if more was subtracted than had been added."""
    check_cell(cell)
    return cell.get("samples", 0)


# ---- sums ----


def weight_sum(cell: Cell) -> int:
    """Return Σd, exactly."""
    return cell.get("d", 0) + cell.get("samples", 0) * GRID


def infinite_sum(cell: Cell, column: str) -> float | None:
    """Return the sum of the infinite terms of a column, or None if there are none."""
    above, below = cell.get(column + "+inf"), cell.get(column + "-inf")
    if above and below:
        return math.nan
    return math.inf if above else -math.inf if below else None


def full_sums(cell: Cell) -> Cell:
    """Return the exact sums of a cell, with the sums of weights of 1 added to the stored excesses."""
    unit_weights = _unit_weight_sums(cell.get("samples", 0), cell.get("n", 0))
    return {column: cell.get(column, 0) + unit_weights[column] for column in WEIGHT_POWERS}


def stored_sums(sums: Cell, samples: int) -> Cell:
    """Return the columns that a cell of this many samples stores for these exact sums."""
    unit_weights = _unit_weight_sums(samples, sums["n"])
    return {column: sums[column] - unit_weights[column] for column in WEIGHT_POWERS}


def _unit_weight_sums(samples: int, n: int) -> Cell:
    """Return the sums that are not stored, because samples of weight 1 determine them."""
    return {"n": 0, "nn": 0, "d": samples * GRID, "nd": n, "dd": samples * GRID}


# ---- means ----


def mean(ledger: Ledger, cell: int = 0) -> float:
    """Return Σn / Σd of a cell of a ledger."""
    return ratio(ledger.cell(cell))


def ratio(cell: Cell) -> float:
    """Return Σn / Σd of the integers of a cell."""
    check_cell(cell)
    infinite = infinite_sum(cell, "n")
    if infinite is not None:
        return infinite
    if infinite_sum(cell, "d") is not None:
        return math.nan
    return quotient(cell.get("n", 0), weight_sum(cell))


def means(ledger: Ledger) -> list[float]:
    """Return the mean of each cell."""
    return [mean(ledger, cell) if value is None else value for cell, value in enumerate(results.means(ledger))]


def estimate_mean(values: list[float], level: float) -> tuple[float, tuple[float, float], float, float]:
    """Return the mean of independent values, its interval by Student's t, the level and the standard error."""
    level = check_level(level)
    number = len(values)
    error = math.nan
    if infinite := [value for value in values if math.isinf(value)]:
        middle = sum(infinite)  # nan if both signs occur
    else:
        # Large values are scaled, because their sum or the sum of their squares could overflow.
        unit = 2.0**600 if max(map(abs, values), default=0.0) > 2.0**400 else 1.0
        scaled = [value / unit for value in values]
        middle = math.fsum(scaled) / number if number else math.nan
        if number > 1:
            error = math.sqrt(math.fsum((value - middle) ** 2 for value in scaled) / (number - 1) / number) * unit
        middle *= unit
    margin = error * intervals.student(level, number - 1) if number > 1 else math.nan
    return middle, (middle - margin, middle + margin), level, error


# ---- uncertainty ----


def standard_error(cell: Cell) -> float:
    """Return the standard error of the mean; nan for fewer than two samples."""
    k, n, d = cell.get("samples", 0), cell.get("n", 0), weight_sum(cell)
    if k < 2 or d == 0 or any(infinite_sum(cell, column) is not None for column in ("n", "d", "nd", "dd")):
        return math.nan
    if infinite_sum(cell, "nn") is not None:
        return math.inf
    nn, nd, dd = cell.get("nn", 0), cell.get("nd", 0), cell.get("dd", 0)
    # Because squares are rounded, a sum of residuals that is 0 can come out slightly negative.
    if d == k * GRID and nd == dd == 0:  # all weights are 1, so most of the integers below cancel
        return root(max(0, nn * d - n * n), (k - 1) * d * d)
    nd, dd = nd + n, dd + k * GRID
    residuals = nn * d * d - 2 * n * d * nd + n * n * dd
    return root(max(0, residuals) * k * GRID, (k - 1) * d**4)


def uncertainty(cell: Cell, buckets: Ledger | None = None, ratio: int = 0) -> Uncertainty:
    """Return how precisely the mean of a cell is estimated, from its clusters if ``buckets`` holds any.

    Unequal weights give less information: k samples count as (Σd)² / Σd² equal ones (Kish, Survey Sampling, 1965).
    The same holds for unequal clusters. Samples in clusters give less information by the design effect, the ratio of
    the variances.
    """
    error, k, d = standard_error(cell), cell.get("samples", 0), weight_sum(cell)
    effective = min(float(k), quotient(d * d, (cell.get("dd", 0) + k * GRID) * GRID))
    columns = {}
    if buckets is not None:
        by_name = {name: _buckets_of_ratio(column, ratio) for name, column in buckets.columns().items()}
        columns = {name: column for name, column in by_name.items() if column}
    if "samples" not in columns:
        return Uncertainty(error, effective, effective, 0)
    sizes = columns["samples"]
    if any(size < 0 for size in sizes.values()):
        raise InputError("cluster", "more was subtracted from some than had been added", location="").with_place(
            "cluster"
        )
    # Samples without a cluster may depend on the others in any way, so no standard error is known.
    if sum(sizes.values()) != k or not columns.keys().isdisjoint(("n+inf", "n-inf", "d+inf", "d-inf")):
        return Uncertainty(math.nan, math.nan, math.nan, len(sizes))
    n, excess = columns.get("n", {}), columns.get("d", {})
    groups = [(n.get(bucket, 0), excess.get(bucket, 0) + size * GRID) for bucket, size in sizes.items()]
    robust = intervals.jackknife(groups)
    if error < robust:
        effective *= (error / robust) ** 2
    units = min(float(len(sizes)), quotient(d * d, sum(d_g * d_g for _, d_g in groups)))
    return Uncertainty(robust, units, effective, len(sizes))


def _buckets_of_ratio(column: dict[int, int], ratio: int) -> dict[int, int]:
    """Return the entries of a column that belong to one of the ratios."""
    first = ratio * BUCKETS
    return {bucket: value for bucket, value in column.items() if first <= bucket < first + BUCKETS}


def _degrees_of_freedom(units: float) -> int:
    """Return the degrees of freedom of this many samples or clusters: at least 1, even if ``units`` is not finite."""
    return round(min(units, 2.0**53)) - 1 if units > 2 else 1


def interval_multiple(
    level: float, anytime: bool, units: float, effective: float, tuned_alpha: float | None = None
) -> float:
    """Return the half width of an interval in standard errors."""
    df = _degrees_of_freedom(units)
    return intervals.sequence(level, effective, df, tuned_alpha) if anytime else intervals.student(level, df)


def half_width(known: Uncertainty, level: float, anytime: bool, tuned_alpha: float | None = None) -> float:
    """Return the half width of the interval of a mean; nan if it has none."""
    error, units, effective, _ = known
    if error > 0:
        return error * interval_multiple(level, anytime, units, effective, tuned_alpha)
    return math.inf if is_spread_unknown(error, effective, anytime) else error


def is_spread_unknown(error: float, effective: float, anytime: bool) -> bool:
    """Return whether all losses so far are equal, and too few to conclude that their spread is 0."""
    return anytime and error == 0 and effective < FIRST_LOOK


def interval_margin(error: float, ledger: Ledger, level: float, anytime: bool) -> float:
    """Return the half width of the interval of an estimate from all samples of a ledger."""
    known = uncertainty(ledger.cell())
    multiple = interval_multiple(check_level(level), anytime, known.units, known.effective_samples)
    return error * multiple if error > 0 else error


def residual_squares(ledger: Ledger, cell: int, slope: float) -> float:
    """Return Σ (n - slope · d)² over the samples of a cell, exact and rounded once."""
    columns = ledger.cell(cell)
    if any(infinite_sum(columns, column) is not None for column in WEIGHT_POWERS):
        return math.nan
    sums = full_sums(columns)
    up, down = slope.as_integer_ratio()
    # Because squares are rounded, a sum of residuals that is 0 can come out slightly negative.
    squares = max(0, sums["nn"] * down**2 - 2 * sums["nd"] * up * down + sums["dd"] * up**2)
    return quotient(squares, down**2 * GRID)


# ---- tests and proportions ----


def p_value(ledger: Ledger, *, anytime: bool, buckets: Ledger | None = None) -> float:
    """Return 1 - the highest level at which the interval of the mean excludes 0; nan if the mean has no interval."""
    cell = ledger.cell()
    return p_value_of(ratio(cell), uncertainty(cell, buckets), anytime)


def p_value_of(middle: float, known: Uncertainty, anytime: bool) -> float:
    """Return the p-value of a mean that is known so precisely; see ``p_value``."""
    t, df = _distance(middle, known, anytime), _degrees_of_freedom(known.units)
    if math.isnan(t):
        return math.nan
    if t in (0.0, math.inf):
        return 0.0 if t else 1.0
    return intervals.sequence_tails(t, known.effective_samples, df) if anytime else intervals.tails(t, df)


def log_e_value(middle: float, known: Uncertainty, alpha: float) -> float:
    """Return the logarithm of the e-value against the mean 0; nan if the mean has no interval.

    It is that of the confidence sequence that is tuned for level 1 - α; see ``intervals.sequence_log_e_value``.
    """
    t = _distance(middle, known, anytime=True)
    if math.isnan(t) or t == math.inf:
        return t
    return intervals.sequence_log_e_value(t, known.effective_samples, _degrees_of_freedom(known.units), alpha)


def _distance(middle: float, known: Uncertainty, anytime: bool) -> float:
    """Return the distance of a mean from 0 in standard errors: 0 if nothing shows that it is not 0."""
    error = known.stderr
    if math.isnan(middle) or math.isnan(error):
        return math.nan
    if middle == 0 or error == 0:
        return 0.0 if middle == 0 or is_spread_unknown(error, known.effective_samples, anytime) else math.inf
    return abs(middle) / error


def proportion(
    ledger: Ledger, *, level: float, anytime: bool, buckets: Ledger | None = None
) -> tuple[float, tuple[float, float]]:
    """Return a proportion, which is the mean of indicators, and its interval.

    The interval is the score interval (Wilson, Journal of the American Statistical Association 22, 1927), because it
    stays within 0 and 1 and has a positive width even there. With weights or clusters it is the interval of
    p (1 - p) / stderr² independent samples. If the proportion is 0 or 1, it is that of the effective number of samples.
    """
    cell = ledger.cell()
    p = ratio(cell)
    error, units, effective, _ = uncertainty(cell, buckets)
    if not 0 <= p <= 1 or math.isnan(error):
        return p, (math.nan, math.nan)
    multiple = interval_multiple(level, anytime, units, effective)
    if multiple == math.inf:
        return p, (0.0, 1.0)
    variance = p * (1 - p)
    number = variance / error / error if variance > 0 and error > 0 else units
    if not number > 0:  # weights of both signs can cancel
        return p, (math.nan, math.nan)
    z = multiple * multiple / number
    middle, margin = (p + z / 2) / (1 + z), math.sqrt(z * (variance + z / 4)) / (1 + z)
    return p, (max(0.0, min(p, middle - margin)), min(1.0, max(p, middle + margin)))  # 0 and 1 exactly, unrounded


def remaining_proportion(*proportions: Ledger) -> float:
    """Return 1 minus several proportions of the same weight."""
    cells = [ledger.cell() for ledger in proportions]
    for cell in cells:
        check_cell(cell)
        if infinite_sum(cell, "n") is not None or infinite_sum(cell, "d") is not None:
            return math.nan
    weight = weight_sum(cells[0])
    return quotient(weight - sum(cell.get("n", 0) for cell in cells), weight)


def weight_shares(ledger: Ledger) -> dict[int, tuple[float, float]]:
    """Return, for each cell with a weight, its share of all weight and the share of the other cells together."""
    weights = {}
    for number in ledger.used():
        cell = ledger.cell(number)
        check_cell(cell)
        if weight := weight_sum(cell):
            weights[number] = weight
    total = sum(weights.values())
    return {number: (quotient(weight, total), quotient(total - weight, total)) for number, weight in weights.items()}
