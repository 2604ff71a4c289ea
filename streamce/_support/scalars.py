"""Converts single values of options, of Python, NumPy or any other type of number, to Python's own types."""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any

import numpy as np


def switch(value: Any) -> bool | None:
    """Return True or False, or None for anything else."""
    return bool(value) if isinstance(value, (bool, np.bool_)) else None


def integer(value: Any) -> int | None:
    """Return an integer that is not a bool, or None for anything else."""
    if type(value) is int:
        return value
    if switch(value) is not None:
        return None
    try:
        return operator.index(value)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # any exception of a third-party __index__
        return None


def real(value: Any) -> float | None:
    """Return a real number that is not a bool, rounded to float64, or None for anything else."""
    if type(value) is float:
        return value
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # an integer beyond float64, or any exception of a third-party __float__
        return None
