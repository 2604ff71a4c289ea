"""Single values that options take: Python's, NumPy's and whatever else stands for one, as Python's own."""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any

import numpy as np


def switch(value: Any) -> bool | None:
    """True or False; None for anything else."""
    return bool(value) if isinstance(value, (bool, np.bool_)) else None


def integer(value: Any) -> int | None:
    """An integer that is not a bool; None for anything else."""
    if type(value) is int:
        return value
    if switch(value) is not None:
        return None
    try:
        return operator.index(value)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # whatever a stranger's __index__ raises
        return None


def real(value: Any) -> float | None:
    """A real number that is not a bool, rounded to float64; None for anything else."""
    if type(value) is float:
        return value
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (MemoryError, RecursionError):
        raise
    except Exception:  # such as an integer beyond float64, or whatever a stranger's __float__ raises
        return None
