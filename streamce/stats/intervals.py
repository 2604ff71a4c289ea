"""Quantiles, confidence sequences and the delete-a-group jackknife, from which intervals are made.

An interval is the mean plus and minus a multiple of its standard error. The multiple is Student's
quantile for a single look, and the boundary of a confidence sequence for repeated looks. Their
assumptions and measured coverage are in docs/UNCERTAINTY.md.
"""

import functools
import itertools
import math
import operator
import sys
from collections.abc import Sequence

from streamce._support.rational import root

# Number of samples at which the confidence sequence is tightest. The sequence is exact for normal sums,
# but sums of skewed losses are nearly normal only after thousands of samples. If it is tightest late,
# it spends little of alpha before. Of 95 % sequences of a rare outcome's log losses, first looked at after
# 100 samples, 8 to 10 % missed when tightest at 500, 4 to 6 % at 5,000, 3 to 5 % at 10,000.
TIGHTEST = 10_000
# From this df on, four terms of the expansion in 1 / df are accurate to 1e-10, and the exact series is long.
MIN_DF_OF_EXPANSION = 500
# Smaller tails are summed term by term, because 1 minus the other terms would cancel.
MAX_FAR_TAIL = 1e-4


def normal(level: float) -> float:
    """Return the z for which a standard normal variable lies within ±z with probability ``level``.

    Examples
    --------
    >>> round(normal(0.95), 6)
    1.959964
    """
    from statistics import NormalDist  # here, because it is slow to import

    return -NormalDist().inv_cdf((1 - level) / 2)  # the lower tail keeps the digits of levels near 1


@functools.lru_cache(maxsize=4096)  # groups of few samples share their degrees of freedom
def student(level: float, df: int) -> float:
    """Return the t for which Student's variable lies within ±t with probability ``level``.

    The error is at most 1e-10 for levels up to 0.999999, and 1e-8 beyond.

    Parameters
    ----------
    level : float
        Between 0 and 1.
    df : int
        Degrees of freedom, at least 1.

    Notes
    -----
    With t = √df · cot φ the probability of the tails is a finite sum of powers of sin φ (Abramowitz
    and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4), which grows with φ and is
    convex. Student's quantile lies above the normal one, so Newton's method starts from the normal
    one, approaches the root from one side and needs no bracket. For many degrees of freedom, the
    expansion around the normal quantile is used (26.7.5).

    Examples
    --------
    >>> round(student(0.95, 2), 6), round(student(0.95, 255), 6)
    (4.302653, 1.969311)
    """
    alpha = 1 - level
    if df == 1:
        return 1 / math.tan(alpha * math.pi / 2)
    z = normal(level)
    if df >= MIN_DF_OF_EXPANSION:
        return _expansion(z, df)
    phi = math.atan2(math.sqrt(df), z)
    while True:
        tails, slope = _tails(phi, df, far=alpha < MAX_FAR_TAIL)
        step = (tails - alpha) / slope
        phi -= step
        if step <= 1e-9 * phi:  # Newton's method squares the error in each step, so the rest is rounding
            return math.sqrt(df) / math.tan(phi)


def tails(t: float, df: int) -> float:
    """Return the probability that Student's variable lies beyond ±t: 1 - level, if t is ``student(level, df)``.

    The relative error is at most 1e-8 down to 1e-60, and 1e-6 below. The result is 0 where it underflows.

    Parameters
    ----------
    t : float
        0 or more.
    df : int
        Degrees of freedom, at least 1.

    Notes
    -----
    These are the sums that ``student`` inverts. For many degrees of freedom, they are the tails of a normal variable
    (Hill, Algorithm 395, Communications of the ACM 13, 1970).

    Examples
    --------
    >>> f"{tails(2.0, 10):.6f} {tails(12.0, 1000):.4g}"
    '0.073388 4.324e-31'
    """
    if df == 1:
        return 2 / math.pi * math.atan2(1, t)
    if df >= MIN_DF_OF_EXPANSION:
        return math.erfc(_hill(t, df) / math.sqrt(2))
    phi = math.atan2(math.sqrt(df), t)
    near = _tails(phi, df, far=False)[0]
    return near if near >= MAX_FAR_TAIL else _tails(phi, df, far=True)[0]


def _hill(t: float, df: int) -> float:
    """Return the z beyond which a standard normal variable lies as often as Student's beyond t."""
    a = df - 0.5
    b = 48 * a * a
    square = a * math.log1p(t / df * t)
    if square == math.inf:
        return square
    polynomial = ((4 * square + 33) * square + 240) * square + 855
    z = math.sqrt(square)
    return z + z * ((square + 3) / b - polynomial / (10 * b * (b + 0.8 * square * square + 100)))


def _tails(phi: float, df: int, far: bool) -> tuple[float, float]:
    """Return the probability of |t| > √df · cot φ for df >= 2, and its derivative by φ."""
    odd = df % 2
    sine, square = math.sin(phi), math.sin(phi) ** 2
    total = term = sine if odd else 1.0
    for j in range(2 + odd, df - 1, 2):
        term *= square * (j - 1) / j
        total += term
    slope = (df - 1) * term * sine
    if far:  # sum the rest of the infinite series, because 1 minus the other terms would cancel
        total = 0.0
        j = df
        while term > 1e-17 * total:
            term *= square * (j - 1) / j
            total += term
            j += 2
        tails = math.cos(phi) * total
    else:
        tails = (phi if odd else 1) - math.cos(phi) * total
    return (2 / math.pi * tails, 2 / math.pi * slope) if odd else (tails, slope)


def _expansion(z: float, df: int) -> float:
    """Return Student's quantile for the normal quantile z."""
    x = z * z
    terms = (
        (x + 1) / 4,
        ((5 * x + 16) * x + 3) / 96,
        (((3 * x + 19) * x + 17) * x - 15) / 384,
        ((((79 * x + 776) * x + 1482) * x - 1920) * x - 945) / 92160,
    )
    return z * (1 + sum(term / float(df) ** power for power, term in enumerate(terms, 1)))


def sequence(level: float, samples: float, df: int, tuned_alpha: float | None = None) -> float:
    """Return the multiple of the standard error in an asymptotic confidence sequence.

    The intervals after all numbers of samples contain the true mean together, with probability
    ``level``. So you may look after every sample and stop at any time. In exchange the intervals are
    wider: at level 0.95 the multiple is 3.04 at its tightest, at 10,000 samples, 3.2 at 3,000 and at
    100,000, 3.9 at 1,000 and 11 at 100, instead of 1.96.

    Parameters
    ----------
    level : float
        Between 0 and 1.
    samples : float
        Effective samples: the number of independent samples of equal weight that give the same information.
    df : int
        Degrees of freedom of the standard error.
    tuned_alpha : float, optional
        The α for which the sequence is tightest at 10,000 samples. It is 1 - level by default. With one value for all
        levels, the sequences of all levels come from one e-value: see ``sequence_log_e_value``.

    Notes
    -----
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and
    asymptotic confidence sequences, arXiv 2103.06476: with α = 1 - level and n samples

        m² = 2 (n ρ² + 1) / (n ρ²) · log(√(n ρ² + 1) / α)

    and the ρ² = (-2 log α + log(-2 log α + 1)) / 10,000 that minimises it at 10,000 samples. The
    guarantee is asymptotic: it holds in the limit of a late first look. The sequence assumes a known
    standard error. Because it is estimated, m is widened to the point of Student's distribution with
    the same tails, by Wallace's approximation (Annals of Mathematical Statistics 30, 1959),
    t² = df (exp(u² / df) - 1), u = m (8 df + 3) / (8 df + 1).

    Examples
    --------
    >>> [round(sequence(0.95, n, n - 1), 2) for n in (100, 1000, 10_000, 1_000_000)]
    [11.39, 3.87, 3.04, 3.56]
    """
    log_alpha = math.log1p(-level)
    return _boundary(log_alpha, samples, df, log_alpha if tuned_alpha is None else math.log(tuned_alpha))


def sequence_tails(t: float, samples: float, df: int) -> float:
    """Return 1 - the highest level at which a confidence sequence does not reach t standard errors from its middle.

    For a difference this many standard errors from 0, it is the p-value that stays valid for repeated looks (Johari,
    Koomen, Pekelis and Walsh, Always valid inference, Operations Research 70, 2022): if there is no difference, the
    probability that it ever falls to α or below is at most α.

    Parameters
    ----------
    t : float
        0 or more.
    samples, df
        The same arguments as those of ``sequence``.

    Examples
    --------
    >>> round(sequence_tails(sequence(0.95, 3000, 2999), 3000, 2999), 12)
    0.05
    """
    low, high = 0.0, 1.0  # bounds of -log α; the boundary grows with it
    while _boundary(-high, samples, df, -high) < t:
        low, high = high, 2 * high
        if high > 1024:  # α is 0 as a float64
            return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        if _boundary(-middle, samples, df, -middle) < t:
            low = middle
        else:
            high = middle
    return math.exp(-low)


def sequence_log_e_value(t: float, samples: float, df: int, alpha: float) -> float:
    """Return the logarithm of the e-value of an estimate that is t standard errors from the hypothesis.

    Its expectation is at most 1 if the hypothesis is true, whenever you stop. It is 1 / α or more exactly if the
    confidence sequence at level 1 - α excludes the hypothesis.

    Parameters
    ----------
    t : float
        0 or more.
    samples, df
        The same arguments as those of ``sequence``.
    alpha : float
        Between 0 and 1. It must be chosen before the data are seen, because the ρ² of the sequence depends on it.

    Notes
    -----
    The e-value is the mixture martingale from which the sequence follows by Ville's inequality (Robbins, Annals of
    Mathematical Statistics 41, 1970; Waudby-Smith et al., arXiv 2103.06476): for n samples

        e = exp(n ρ² / (n ρ² + 1) · m² / 2) / √(n ρ² + 1)

    with the ρ² of ``sequence`` and the normal m that has the tails of Student's t. It is asymptotic, as the sequence.

    Examples
    --------
    >>> round(math.exp(-sequence_log_e_value(sequence(0.95, 3000, 2999), 3000, 2999, alpha=0.05)), 12)
    0.05
    """
    ratio = _mixture_ratio(math.log(alpha), samples)
    m = math.sqrt(df * math.log1p(t / df * t)) * (8 * df + 1) / (8 * df + 3)
    return m * m / 2 * (ratio / (ratio + 1)) - math.log1p(ratio) / 2


def _mixture_ratio(log_alpha: float, samples: float) -> float:
    """Return n ρ² of a sequence that is tightest, at level 1 - α, at 10,000 samples."""
    ratio = (-2 * log_alpha + math.log1p(-2 * log_alpha)) / TIGHTEST * samples
    return max(ratio, sys.float_info.min)


def _boundary(log_alpha: float, samples: float, df: int, log_tuned_alpha: float) -> float:
    """Return the multiple of ``sequence`` at level 1 - α."""
    ratio = _mixture_ratio(log_tuned_alpha, samples)
    m = math.sqrt(2 * (1 + 1 / ratio) * (math.log1p(ratio) / 2 - log_alpha))
    u = m * (8 * df + 3) / (8 * df + 1)
    try:
        return math.sqrt(df * math.expm1(u * u / df))
    except OverflowError:  # there are too few samples for any bound
        return math.inf


def jackknife(groups: Sequence[tuple[int, int]]) -> float:
    """Return the standard error of R = Σn / Σd by leaving out one group after another.

    Parameters
    ----------
    groups : sequence of (int, int)
        n and d of each group, in any unit. Groups are independent; the samples of a group need not be.

    Returns
    -------
    float
        nan for fewer than two groups, or if all weight is in one.

    Notes
    -----
    The delete-a-group jackknife (Kott, Journal of Official Statistics 17, 2001). With G groups and
    R(g) the ratio of all but group g,

        stderr² = (G - 1) / G · Σ (R(g) - R)²,    R(g) - R = (N d_g - n_g D) / (D (D - d_g)),

    The differences, which cancel, are exact. They are truncated to 128 bits below the largest one, so
    that their squares add up to the same integer in any order of the groups.

    Examples
    --------
    >>> jackknife([(1, 1), (2, 1), (3, 1), (4, 1)])  # the standard error of the mean of 1, 2, 3, 4
    0.6454972243679028
    """
    number = len(groups)
    if units := functools.reduce(operator.or_, itertools.chain.from_iterable(groups), 0):
        zeros = (units & -units).bit_length() - 1  # shorter integers are faster
        groups = [(n_g >> zeros, d_g >> zeros) for n_g, d_g in groups]
    n, d = sum(n_g for n_g, _ in groups), sum(d_g for _, d_g in groups)
    if number < 2 or any(d == d_g for _, d_g in groups):
        return math.nan
    changes = [(abs(n * d_g - n_g * d), d * (d - d_g)) for n_g, d_g in groups]
    sizes = [above.bit_length() - below.bit_length() for above, below in changes if above]
    if not sizes:
        return 0.0
    shift = 128 - max(sizes)
    up, down = max(shift, 0), max(-shift, 0)
    squares = sum(((above << up) // (below << down)) ** 2 for above, below in changes)
    return root((number - 1) * squares << 2 * down, number << 2 * up)
