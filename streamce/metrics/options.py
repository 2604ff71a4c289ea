"""Checks the options of metrics, and converts them to values of Python.

It knows each option by its name alone, not the metric that has it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from streamce._support import scalars, threads
from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.inputs import arrays

# A check takes the name and the value of an option. It returns the value to keep, or raises an InputError.
Check = Callable[[str, Any], Any]

KINDS = ("probs", "log_probs", "logits")
EPS = 2.0**-52
LARGEST = sys.float_info.max
MAX_WEIGHTS = 1 << 24  # a state can have sums of so many classes


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raise an InputError about an option unless the condition holds."""
    if not condition:
        raise InputError(name, f"is {short_repr(value)}", expected, value=value)


def one_of(names: tuple[str, ...], name: str, value: Any) -> None:
    """Raise an InputError unless the value of an option is one of these names."""
    require(isinstance(value, str) and value in names, name, value, f"one of {', '.join(map(repr, names))}")


def checked_options(options: dict[str, Any], own_checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the options of a metric as values of Python, which states and pickles hold, or raise an InputError.

    ``own_checks`` are those of the options that only this metric has.
    """
    checked = {name: (own_checks.get(name) or CHECKS[name])(name, value) for name, value in options.items()}
    largest = [np.max(checked[name]) for name in ("class_weight", "pos_weight") if checked.get(name) is not None]
    if len(largest) == 2 and not largest[0] <= LARGEST / max(1.0, largest[1]):
        raise InputError("pos_weight", "times class_weight exceeds float64", "smaller weights")
    return checked


def name_among(*names: str) -> Check:
    """Return the check of an option that is one of these names."""

    def check(name: str, value: Any) -> str:
        one_of(names, name, value)
        return str(value)

    return check


def real(high: float, expected: str) -> Check:
    """Return the check of an option that is a number from 0 to ``high``."""

    def check(name: str, value: Any) -> float:
        number = scalars.real(value)
        if number is None or not 0 <= number <= high:
            raise InputError(name, f"is {short_repr(value)}", expected, value=value)
        return number + 0.0  # turns -0.0 into 0.0

    return check


def integer(low: int, end: int, expected: str, *, allow_none: bool = False) -> Check:
    """Return the check of an option that is an integer, at least ``low`` and below ``end``."""

    def check(name: str, value: Any) -> int | None:
        if allow_none and value is None:
            return None
        number = scalars.integer(value)
        require(number is not None and low <= number < end, name, value, expected)
        return number

    return check


def flag(name: str, value: Any) -> bool:
    """Check an option that is True or False."""
    converted = scalars.switch(value)
    require(converted is not None, name, value, "True or False")
    return bool(converted)


def _weights(name: str, value: Any, *, allow_number: bool = False) -> float | tuple[float, ...] | None:
    """Check weights of classes or labels; with ``allow_number`` one number for all of them is allowed."""
    if value is None:
        return None
    numbers = arrays.widened(*arrays.array(value, name))
    has_shape = (numbers.ndim == 1 and numbers.size > 0) or (allow_number and numbers.ndim == 0)
    expected = "a number, or a sequence of numbers" if allow_number else "a sequence of numbers"
    require(has_shape and numbers.dtype.kind in "fiu", name, value, expected)
    if numbers.size > MAX_WEIGHTS:
        raise InputError(name, f"has {numbers.size} entries", f"{MAX_WEIGHTS} at most")
    weights = tuple(float(weight) + 0.0 for weight in numbers.flat)
    for i, weight in enumerate(weights):
        if not 0 <= weight <= LARGEST:
            index = (i,) if numbers.ndim else None
            raise InputError(name, f"is {weight!r}", "a finite number, 0 or more", index=index, value=weight)
    return weights if numbers.ndim else weights[0]


# The checks of the options that several metrics have.
CHECKS: dict[str, Check] = {
    "axis": integer(-64, 64, "an axis of preds"),
    "calibration": flag,
    "class_weight": _weights,
    "divergence": flag,
    "eps": real(1 - 2**-53, "a probability below 1, or 0 for no floor"),
    "ignore_index": integer(-(2**63), 2**63 - 1, "an int64 other than 2^63 - 1, or None", allow_none=True),
    "invalid": name_among("raise", "skip"),
    "kind": name_among(*KINDS),
    "label_smoothing": real(1, "a number between 0 and 1"),
    "pos_weight": lambda name, value: _weights(name, value, allow_number=True),
    "tail": flag,
    "threads": lambda _, value: value if value is None else threads.check(value, "threads"),
}
