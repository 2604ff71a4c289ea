"""Quotients and roots of integers, rounded once."""

import math


def quotient(numerator: int, denominator: int) -> float:
    """The exact quotient rounded once: inf where it exceeds float64, nan for 0 / 0."""
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf if numerator > 0 else -math.inf
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if (numerator > 0) == (denominator > 0) else -math.inf


def root(numerator: int, denominator: int) -> float:
    """The square root of a quotient of positive integers."""
    if numerator == 0:
        return 0.0
    # 128 bits and more of the quotient, on an even power of two.
    shift = 128 - (numerator.bit_length() - denominator.bit_length())
    shift += shift % 2
    shifted = (numerator << shift) // denominator if shift >= 0 else numerator // (denominator << -shift)
    digits = math.isqrt(shifted)
    return quotient(digits, 1 << (shift // 2)) if shift >= 0 else quotient(digits << (-shift // 2), 1)
