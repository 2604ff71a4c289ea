"""What ``compute()`` and people read: mean, errors and intervals, from the integers of a cell.

Every quotient is exact until it is rounded, once. With n the loss and d the weight of each of k
samples, the mean is R = Σn / Σd and its standard error that of a ratio estimator (Cochran,
Sampling Techniques, 1977, chapter 6):

    stderr² = k / (k - 1) · (Σn² - 2 R Σnd + R² Σd²) / (Σd)²

Where samples were given clusters, it is that of a jackknife over buckets of clusters instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from streamce._support import scalars
from streamce._support.html_repr import HtmlRepr
from streamce._support.rational import quotient, root
from streamce._support.short_repr import short_repr
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.kernels import kernels
from streamce.core.ledger.ledger import Ledger
from streamce.core.ledger.state import BUCKETS, State
from streamce.errors import InputError
from streamce.stats import intervals

GRID = 1 << 1074  # the unit of the exact sums is 2^-1074
FIRST_LOOK = 100  # samples: docs/UNCERTAINTY.md
LN2 = 0.6931471805599453
INVALID = ("invalid_nan", "invalid_range", "invalid_row_sum", "invalid_label", "invalid_weight", "invalid_null")
COUNTS = ("count", "samples", "ignored", "floored", "infinite", "unnormalised", "infeasible", *INVALID)
# The exact sums, and the power of a weight in each.
SUMS = {"n": 1, "nn": 2, "d": 1, "nd": 2, "dd": 2}
NEVER_NEGATIVE = frozenset({"n+inf", "n-inf", *COUNTS})


@dataclass(frozen=True, slots=True)
class Summary(HtmlRepr, DefaultModeMethods):
    """What a metric has seen so far; ``print`` shows it as a table.

    Attributes
    ----------
    value : float
        The metric's value, as ``compute()`` returns it.
    interval : tuple of float
        Confidence interval of ``value`` at ``level``: Student's, or the asymptotic confidence sequence.
    level : float
        Confidence level of the intervals.
    anytime : bool
        Whether the intervals are a confidence sequence, which may be looked at again and again.
    mean, stderr : float
        Mean loss and its standard error, in nats. The error is robust to clusters where they were
        given; nan if they were given for some samples only.
    total, weight : float
        Sum of the weighted losses (nats), and of the weights.
    count : int
        Losses counted.
    samples : int
        Independent units, entries of the first axis, that the losses came in.
    seen : int
        All losses met: ``count + ignored + infeasible + skipped``.
    ignored : int
        Losses left out by ``ignore_index``.
    floored : int
        Losses in which a probability below ``eps`` was taken as ``eps``.
    infinite : int
        Losses that are infinite.
    unnormalised : int
        Rows whose probabilities add up to 1 only roughly; of CTC, utterances with such a frame.
    infeasible : int
        Of CTC: utterances left out because no alignment of their target has a probability.
    skipped : int
        Invalid losses left out by ``invalid="skip"``, the sum of the ``invalid_*`` counters.
    bits, perplexity : float
        The mean in bits, and e to the mean (inf where that overflows).
    bits_interval, perplexity_interval : tuple of float
        The intervals of those: both grow with the mean, so they are the images of its interval.
    entropy, divergence : float or None
        The mean entropy of the targets and the mean Kullback-Leibler divergence of the predictions from them,
        in nats: together they are the mean; with an infinite loss the entropy is nan. None unless the metric
        was made with ``divergence=True``.
    divergence_interval : tuple of float, or None
        The interval of the divergence.
    buckets : int
        Hash buckets that the samples' clusters fall in, at most 256; 0 where no clusters were given.
        Below 100 clusters it is about their number, since few of them share a bucket.

    Examples
    --------
    >>> import streamce as ce
    >>> summary = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.6, 0.7] * 10, [1, 0, 1, 1] * 10).summary()
    >>> print(summary)
    cross-entropy   0.299001 nats   95 % interval 0.250029 to 0.347974
                    0.431367 bits   standard error 0.0242115
    perplexity      1.34851         95 % interval 1.28406 to 1.41619
    losses          40
    >>> summary.to_dict()["count"]
    40
    """

    value: float
    interval: tuple[float, float]
    level: float
    anytime: bool
    mean: float
    stderr: float
    total: float
    weight: float
    count: int
    samples: int
    seen: int
    ignored: int
    floored: int
    infinite: int
    unnormalised: int
    infeasible: int
    skipped: int
    invalid_nan: int
    invalid_range: int
    invalid_row_sum: int
    invalid_label: int
    invalid_weight: int
    invalid_null: int
    bits: float
    bits_interval: tuple[float, float]
    perplexity: float
    perplexity_interval: tuple[float, float]
    entropy: float | None
    divergence: float | None
    divergence_interval: tuple[float, float] | None
    buckets: int

    def to_dict(self) -> dict[str, Any]:
        """A flat dict of plain values, as JSON takes it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def __str__(self) -> str:
        kind = kind_of(self.level, self.anytime)
        rows = [("cross-entropy", f"{shown(self.mean)} nats", f"{kind} {between(self.interval)}")]
        if repr(self.value) != repr(self.mean):  # and not because both are nan
            rows = [("value", shown(self.value), rows[0][2]), (*rows[0][:2], "")]
        rows += [
            ("", f"{shown(self.bits)} bits", f"standard error {shown(self.stderr)}"),
            ("perplexity", shown(self.perplexity), f"{kind} {between(self.perplexity_interval)}"),
        ]
        if self.entropy is not None and self.divergence is not None and self.divergence_interval is not None:
            rows += [
                ("entropy", f"{shown(self.entropy)} nats", "of the targets"),
                ("divergence", f"{shown(self.divergence)} nats", f"{kind} {between(self.divergence_interval)}"),
            ]
        return aligned([*rows, *counts_of(self)])


def kind_of(level: float, anytime: bool) -> str:
    """What intervals are, in words."""
    return f"{100 * level:.12g} % {'confidence sequence' if anytime else 'interval'}"


def counts_of(summary: Summary) -> list[tuple[str, str, str]]:
    """What was counted, as rows of a table."""
    rows = [("losses", f"{summary.count:,}", _units(summary.count, summary.samples, summary.weight))]
    if summary.buckets:
        rows.append(("clusters", f"in {summary.buckets} buckets", ""))
    odd = [
        ("ignored", summary.ignored, "by ignore_index"),
        ("floored", summary.floored, "a probability below eps"),
        ("infinite", summary.infinite, ""),
        ("unnormalised", summary.unnormalised, "rows that add up to 1 only roughly"),
        ("infeasible", summary.infeasible, "utterances that have no alignment"),
        ("skipped", summary.skipped, _causes(summary)),
    ]
    return rows + [(name, f"{count:,}", what) for name, count, what in odd if count]


def aligned(rows: Sequence[tuple[str, str, str]]) -> str:
    """A table of names, numbers and what is to be said of them."""
    width = max(len(middle) for _, middle, _ in rows)
    return "\n".join(f"{name:<16}{middle:<{width}}   {what}".rstrip() for name, middle, what in rows)


def shown(x: float) -> str:
    return f"{x:.6g}"


def between(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{shown(low)} to {shown(high)}"


def _units(count: int, samples: int, weight: float) -> str:
    parts = [f"in {samples:,} samples"] if samples != count else []
    parts += [f"of weight {shown(weight)}"] if weight != count else []
    return " ".join(parts)


def _causes(summary: Summary) -> str:
    counts = {name.removeprefix("invalid_").replace("_", " "): getattr(summary, name) for name in INVALID}
    return ", ".join(f"{cause} {count:,}" for cause, count in counts.items() if count)


# ---- from integers ----


Cell = dict[str, int]  # the integers of a cell that are not 0, by column


def _infinite(cell: Cell, column: str) -> float | None:
    """What infinite terms make of a sum, or None if it has none."""
    above, below = cell.get(column + "+inf"), cell.get(column + "-inf")
    if above and below:
        return math.nan
    return math.inf if above else -math.inf if below else None


def check(cell: Cell) -> None:
    """Raises if more was taken away than had been added."""
    for name, number in cell.items():
        if number < 0 and name in NEVER_NEGATIVE:
            raise InputError(name, f"is {number}: more was taken away than had been added", value=number)
    if _weight(cell) < 0:
        raise InputError("weight", "is negative: more was taken away than had been added")


def _weight(cell: Cell) -> int:
    return cell.get("d", 0) + cell.get("samples", 0) * GRID


def totals(cell: Cell) -> Cell:
    """The exact sums of a cell, all of them whole: those that hold d are kept as what they exceed weights of 1 by."""
    k, n = cell.get("samples", 0) * GRID, cell.get("n", 0)
    more = {"n": 0, "nn": 0, "d": k, "nd": n, "dd": k}
    return {column: cell.get(column, 0) + more[column] for column in SUMS}


def excesses(sums: Cell, samples: int) -> Cell:
    """The columns of a cell of so many samples whose exact sums these are."""
    k, n = samples * GRID, sums["n"]
    less = {"n": 0, "nn": 0, "d": k, "nd": n, "dd": k}
    return {column: sums[column] - less[column] for column in SUMS}


def mean(ledger: Ledger, cell: int = 0) -> float:
    """Σn / Σd of a cell."""
    return ratio(ledger.cell(cell))


def ratio(cell: Cell) -> float:
    """Σn / Σd of the integers of a cell."""
    check(cell)
    infinite = _infinite(cell, "n")
    if infinite is not None:
        return infinite
    if _infinite(cell, "d") is not None:
        return math.nan
    return quotient(cell.get("n", 0), _weight(cell))


def means(ledger: Ledger) -> list[float]:
    """The mean of each cell."""
    return [mean(ledger, cell) if found is None else found for cell, found in enumerate(ledger.means())]


def mean_of(values: list[float], level: float) -> tuple[float, tuple[float, float], float, float]:
    """The mean of independent values, its interval by Student's t, the level and the standard error."""
    level = level_of(level)
    number = len(values)
    error = math.nan
    if infinite := [value for value in values if math.isinf(value)]:
        middle = sum(infinite)  # nan of both signs
    else:
        # Sums of values that are large, and of their squares, are taken of smaller ones.
        unit = 2.0**600 if max(map(abs, values), default=0.0) > 2.0**400 else 1.0
        scaled = [value / unit for value in values]
        middle = math.fsum(scaled) / number if number else math.nan
        if number > 1:
            error = math.sqrt(math.fsum((value - middle) ** 2 for value in scaled) / (number - 1) / number) * unit
        middle *= unit
    margin = error * intervals.student(level, number - 1) if number > 1 else math.nan
    return middle, (middle - margin, middle + margin), level, error


def level_of(level: Any) -> float:
    """The level, if it is one."""
    found = scalars.real(level)
    if found is None or not 0 < found < 1:
        raise InputError("level", f"is {short_repr(level)}", "a number between 0 and 1", value=level)
    return found


def _stderr(cell: Cell) -> float:
    """Standard error of the mean; nan for fewer than two samples."""
    k, n, d = cell.get("samples", 0), cell.get("n", 0), _weight(cell)
    if k < 2 or d == 0 or any(_infinite(cell, column) is not None for column in ("n", "d", "nd", "dd")):
        return math.nan
    if _infinite(cell, "nn") is not None:
        return math.inf
    nn, nd, dd = cell.get("nn", 0), cell.get("nd", 0), cell.get("dd", 0)
    # The squares were rounded, which can leave a spread of 0 a little below it.
    if d == k * GRID and nd == dd == 0:  # all weights are 1, and most of the integers below cancel
        return root(max(0, nn * d - n * n), (k - 1) * d * d)
    nd, dd = nd + n, dd + k * GRID
    spread = nn * d * d - 2 * n * d * nd + n * n * dd
    return root(max(0, spread) * k * GRID, (k - 1) * d**4)


def _of(ratio: int, buckets: dict[int, int]) -> dict[int, int]:
    """The buckets of a ratio."""
    first = ratio * BUCKETS
    return {bucket: value for bucket, value in buckets.items() if first <= bucket < first + BUCKETS}


def _uncertainty(cell: Cell, buckets: Ledger | None, ratio: int) -> tuple[float, float, float, int]:
    """Standard error, the independent units behind it, samples that would tell as much, buckets in use.

    Unequal weights tell less: k of them count as (Σd)² / Σd² equal ones (Kish, Survey Sampling, 1965), and
    so do unequal clusters. Samples in clusters tell less by the design effect, the ratio of the variances.
    """
    error, k, d = _stderr(cell), cell.get("samples", 0), _weight(cell)
    effective = min(float(k), quotient(d * d, (cell.get("dd", 0) + k * GRID) * GRID))
    columns = {}
    if buckets is not None:
        columns = {name: held for name, all_ in buckets.columns().items() if (held := _of(ratio, all_))}
    if "samples" not in columns:
        return error, effective, effective, 0
    held = columns["samples"]
    if any(number < 0 for number in held.values()):
        found = "more was taken away of some than had been added"
        raise InputError("cluster", found, location="").with_place("cluster")
    # Samples without a cluster may depend on the others in any way, so that no error is known.
    if sum(held.values()) != k or not columns.keys().isdisjoint(("n+inf", "n-inf", "d+inf", "d-inf")):
        return math.nan, math.nan, math.nan, len(held)
    n, excess = columns.get("n", {}), columns.get("d", {})
    groups = [(n.get(bucket, 0), excess.get(bucket, 0) + number * GRID) for bucket, number in held.items()]
    robust = intervals.jackknife(groups)
    if error < robust:
        effective *= (error / robust) ** 2
    units = min(float(len(held)), quotient(d * d, sum(d_g * d_g for _, d_g in groups)))
    return robust, units, effective, len(held)


def _df(units: float) -> int:
    return max(1, round(units) - 1)


def _multiple(level: float, anytime: bool, units: float, effective: float) -> float:
    """How many standard errors an interval reaches to either side."""
    return intervals.sequence(level, effective, _df(units)) if anytime else intervals.student(level, _df(units))


def unsettled(error: float, effective: float, anytime: bool) -> bool:
    """Whether samples that are all alike so far are too few to stop by: their spread is not known to be 0."""
    return anytime and error == 0 and effective < FIRST_LOOK


def margin(error: float, ledger: Ledger, level: float, anytime: bool) -> float:
    """What the interval of an estimate from all samples of a ledger reaches to either side."""
    _, units, effective, _ = _uncertainty(ledger.cell(), None, 0)
    return error * _multiple(level_of(level), anytime, units, effective) if error > 0 else error


def shares(ledger: Ledger) -> dict[int, tuple[float, float]]:
    """Each cell's share of all weight, and that of all others, of the cells that have any."""
    weights = {}
    for cell in range(ledger.size):
        found = ledger.cell(cell)
        check(found)
        if weight := _weight(found):
            weights[cell] = weight
    total = sum(weights.values())
    return {cell: (quotient(weight, total), quotient(total - weight, total)) for cell, weight in weights.items()}


def spread(ledger: Ledger, cell: int, slope: float) -> float:
    """Σ (n - slope · d)² over the samples of a cell, exact and rounded once."""
    found = ledger.cell(cell)
    if any(_infinite(found, column) is not None for column in ("n", "nn", "d", "nd", "dd")):
        return math.nan
    nd, dd = found.get("nd", 0) + found.get("n", 0), found.get("dd", 0) + found.get("samples", 0) * GRID
    up, down = slope.as_integer_ratio()
    # The squares were rounded, which can leave a spread of 0 a little below it.
    return quotient(max(0, found.get("nn", 0) * down**2 - 2 * nd * up * down + dd * up**2), down**2 * GRID)


def p_value(ledger: Ledger, *, anytime: bool, buckets: Ledger | None = None) -> float:
    """1 - the highest level at which the interval of the mean does not hold 0; nan where it has no interval."""
    found = ledger.cell()
    middle = ratio(found)
    error, units, effective, _ = _uncertainty(found, buckets, 0)
    if math.isnan(middle) or math.isnan(error):
        return math.nan
    if middle == 0 or error == 0:
        return 1.0 if middle == 0 or unsettled(error, effective, anytime) else 0.0
    t = abs(middle) / error
    return intervals.sequence_tails(t, effective, _df(units)) if anytime else intervals.tails(t, _df(units))


def share(
    ledger: Ledger, *, level: float, anytime: bool, buckets: Ledger | None = None
) -> tuple[float, tuple[float, float]]:
    """A share, the mean of indicators, and its interval.

    The score interval (Wilson, Journal of the American Statistical Association 22, 1927), which stays within 0
    and 1 and does not shrink to nothing there. With weights or in clusters it is that of p (1 - p) / stderr²
    independent samples; where the share is 0 or 1, of their effective number.
    """
    found = ledger.cell()
    p = ratio(found)
    error, units, effective, _ = _uncertainty(found, buckets, 0)
    if not 0 <= p <= 1 or math.isnan(error):
        return p, (math.nan, math.nan)
    multiple = _multiple(level, anytime, units, effective)
    if multiple == math.inf:
        return p, (0.0, 1.0)
    spread = p * (1 - p)
    number = spread / error / error if spread > 0 and error > 0 else units
    if not number > 0:  # of weights of both signs
        return p, (math.nan, math.nan)
    z = multiple * multiple / number
    middle, margin = (p + z / 2) / (1 + z), math.sqrt(z * (spread + z / 4)) / (1 + z)
    return p, (max(0.0, min(p, middle - margin)), min(1.0, max(p, middle + margin)))  # 0 and 1 themselves, unrounded


def rest(*shares: Ledger) -> float:
    """What is left of 1 by several shares of the same weight."""
    cells = [ledger.cell() for ledger in shares]
    for cell in cells:
        check(cell)
        if _infinite(cell, "n") is not None or _infinite(cell, "d") is not None:
            return math.nan
    return quotient(_weight(cells[0]) - sum(cell.get("n", 0) for cell in cells), _weight(cells[0]))


def summarise(
    ledger: Ledger, cell: int = 0, *, level: float = 0.95, anytime: bool = False, buckets: Ledger | None = None
) -> Summary:
    """The summary of one cell; ``buckets`` holds its samples by the hash of their clusters, ratio by ratio."""
    found = ledger.cell(cell) if cell < ledger.size else {}
    return summarise_cell(found, level=level, anytime=anytime, buckets=buckets, number=cell)


def summarise_cell(
    found: Cell,
    *,
    level: float = 0.95,
    anytime: bool = False,
    buckets: Ledger | None = None,
    number: int = 0,
    unit: int = GRID,
) -> Summary:
    """The summary of the integers of a cell, the ratio of a ``number``; so many ``unit`` are a weight of 1."""
    level = level_of(level)
    looks = scalars.switch(anytime)
    if looks is None:
        raise InputError("anytime", f"is {short_repr(anytime)}", "True or False", value=anytime)
    anytime = looks
    middle = ratio(found)
    error, units, effective, groups = _uncertainty(found, buckets, number)
    width = math.inf if unsettled(error, effective, anytime) else error
    if error > 0:
        width *= _multiple(level, anytime, units, effective)
    low, high = interval = middle - width, middle + width
    total, weight = _infinite(found, "n"), _infinite(found, "d")
    counts = {name: found.get(name, 0) for name in COUNTS}
    skipped = sum(counts[name] for name in INVALID)
    return Summary(
        value=middle,
        interval=interval,
        level=level,
        anytime=anytime,
        mean=middle,
        stderr=error,
        total=total if total is not None else quotient(found.get("n", 0), unit),
        weight=weight if weight is not None else quotient(_weight(found), unit),
        seen=counts["count"] + counts["ignored"] + counts["infeasible"] + skipped,
        skipped=skipped,
        bits=middle / LN2,
        bits_interval=(low / LN2, high / LN2),
        perplexity=kernels.exp(middle),
        perplexity_interval=(kernels.exp(low), kernels.exp(high)),
        entropy=None,
        divergence=None,
        divergence_interval=None,
        buckets=groups,
        **counts,
    )


def split(found: Summary, state: State, level: float, anytime: bool) -> Summary:
    """A summary with its mean split into the entropy of targets and the divergence, which is the second ratio."""
    over = summarise(state.total, 1, level=level, anytime=anytime, buckets=state.buckets)
    whole = state.total.cell()
    excess = state.total.cell(1) if state.total.size > 1 else {}
    entropy = math.nan  # where a loss is infinite, the entropy of its target is lost in it
    if _infinite(whole, "n") is None and _infinite(whole, "d") is None:
        entropy = quotient(whole.get("n", 0) - excess.get("n", 0), _weight(whole))
    return replace(found, entropy=entropy, divergence=over.mean, divergence_interval=over.interval)
