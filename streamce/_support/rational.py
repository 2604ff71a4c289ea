"""Exact integers in units of 2^-1074, and quotients and square roots of them that are rounded once."""

import math

GRID = 1 << 1074  # the integer that stands for 1 in exact sums, whose unit is 2^-1074


def quotient(numerator: int, denominator: int) -> float:
    """Return the exact quotient, rounded once: inf if it exceeds float64, nan for 0 / 0."""
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf if numerator > 0 else -math.inf
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if (numerator > 0) == (denominator > 0) else -math.inf


def root(numerator: int, denominator: int) -> float:
    """Return the square root of a quotient, rounded once. The numerator is at least 0, the denominator positive."""
    if numerator == 0:
        return 0.0
    # Take at least 120 bits of the quotient, and an even shift, so that the power of two has a root.
    shift = 120 - (numerator.bit_length() - denominator.bit_length())
    shift += shift % 2
    shifted, rest = divmod(numerator << max(shift, 0), denominator << max(-shift, 0))
    digits = math.isqrt(shifted)
    # A last digit says whether the root continues, so that it is rounded correctly.
    digits = 2 * digits + (rest != 0 or digits * digits != shifted)
    power = shift // 2 + 1
    return quotient(digits << max(-power, 0), 1 << max(power, 0))
