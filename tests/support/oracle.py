"""The losses by their formulas, in mpmath with 50 digits and in Fractions. The code is simple and slow."""

import functools
import math
from fractions import Fraction

import mpmath
import numpy as np

mpmath.mp.dps = 50
mpf = mpmath.mpf
EPS = 2.0**-52
LEAST = mpf("1e-37")  # errors are relative down to here, and absolute below
INF = math.inf


exp = functools.lru_cache(1 << 16)(mpmath.exp)


def times(share, cost):
    """Return share * cost, where 0 * inf is 0."""
    return mpf(0) if share == 0 else share * cost


# ---- losses ----


def binary_costs(kind, x, eps=EPS):
    """Return (-log p, -log(1 - p)), floored at ``eps``."""
    x = mpf(float(x))
    if kind == "logits":
        return softplus(-x), softplus(x)
    if kind == "probs":
        costs = neg_log(x), (INF if x == 1 else -mpmath.log1p(-x))
    else:
        costs = -x, (neg_log(-mpmath.expm1(x)) if x > -1 else -mpmath.log1p(-mpmath.exp(x)))
    cap = neg_log(mpf(eps))
    return tuple(min(cost, cap) for cost in costs)


def neg_log(p):
    return mpf(INF) if p == 0 else -mpmath.log(p)


def softplus(x):
    """Return log(1 + e^x)."""
    if mpmath.isinf(x):
        return mpf(INF) if x > 0 else mpf(0)
    return max(x, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x)))


def binary(kind, x, y, smoothing=0.0, eps=EPS, class_weight=(1, 1), pos_weight=1):
    a, y = mpf(smoothing), mpf(float(y))
    one, zero = binary_costs(kind, x, eps)
    shared = y * (1 - a) + a / 2
    positive, negative = mpf(pos_weight) * mpf(class_weight[1]), mpf(class_weight[0])
    return times(positive * shared, one) + times(negative * (1 - shared), zero)


def multiclass_costs(kind, row, eps=EPS):
    """Return -log p of each class, floored at ``eps``."""
    row = [mpf(float(x)) for x in row]
    if kind == "logits":
        m = max(row)
        if m == INF:
            return [mpf(0) if x == INF else mpf(INF) for x in row]
        first = row.index(m)
        rest = mpmath.log1p(mpmath.fsum(exp(x - m) for c, x in enumerate(row) if c != first and x - m > -1e4))
        return [(m - x) + rest for x in row]
    cap = neg_log(mpf(eps))
    return [min(neg_log(x) if kind == "probs" else -x, cap) for x in row]


def multiclass(kind, row, target, smoothing=0.0, eps=EPS, class_weight=None):
    classes = len(row)
    if np.ndim(target) == 0:
        target = [float(c == target) for c in range(classes)]
    a, w = mpf(smoothing), class_weight if class_weight is not None else [1.0] * classes
    costs = multiclass_costs(kind, row, eps)
    shares = [mpf(float(y)) * (1 - a) + a / classes for y in target]
    return mpmath.fsum(times(mpf(w[c]) * shares[c], costs[c]) for c in range(classes))


# ---- errors ----


def ulps(found, truth, least=LEAST):
    """Return |found - truth| in ulp of the truth, or of ``least`` if the truth is smaller."""
    if mpmath.isinf(truth) or math.isinf(found):
        return 0.0 if found == truth else INF
    return float(abs(mpf(found) - truth) / mpf(math.ulp(float(max(abs(truth), least)))))


def relative(found, truth, least=LEAST):
    """Return |found - truth| / |truth|, or divided by ``least`` if the truth is smaller."""
    if mpmath.isinf(truth) or math.isinf(found):
        return 0.0 if found == truth else INF
    return float(abs(mpf(found) - truth) / max(abs(truth), least))


# ---- sums ----


def total(terms):
    """Return the exact sum of finite floats, all of which are multiples of 2^-1074."""
    units = 0
    for term in terms:
        numerator, denominator = float(term).as_integer_ratio()
        units += numerator * (2**1074 // denominator)
    return Fraction(units, 2**1074)


def rounded(value):
    """Return a Fraction, rounded once; inf beyond float64."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.copysign(INF, value)


def stderr(n, d):
    """Return the standard error of the ratio Σn / Σd of terms as an mpf (Cochran 1977, chapter 6)."""
    n, d = [Fraction(float(x)) for x in n], [Fraction(float(x)) for x in d]
    k, mean = len(n), sum(n) / sum(d)
    squares = sum((x - mean * w) ** 2 for x, w in zip(n, d, strict=True))
    square = Fraction(k, k - 1) * squares / sum(d) ** 2
    return mpmath.sqrt(mpf(square.numerator) / square.denominator)
