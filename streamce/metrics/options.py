"""Checks the options of metrics, and converts them to values of Python.

It knows the names of options, but not the metrics that have them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
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
# The natural logarithms of the bases of log-probabilities, as the nearest float64. They do not depend on the C library.
LOG_OF_BASE = {2.0: 0.6931471805599453, 10.0: 2.302585092994046, math.e: 1.0}
MAX_WEIGHTS = 1 << 24  # most classes that a state can have sums of


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raise an InputError about an option unless the condition holds."""
    if not condition:
        raise InputError(name, f"is {short_repr(value)}", expected, value=value)


def checked_options(options: dict[str, Any], own_checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the options of a metric as values of Python, which states and pickles hold, or raise an InputError.

    ``own_checks`` are those of the options that only this metric has.
    """
    checked = {}
    for name, value in options.items():
        check = own_checks[name] if name in own_checks else CHECKS[name]
        checked[name] = check(name, value)
    largest = [np.max(checked[name]) for name in ("class_weight", "pos_weight") if checked.get(name) is not None]
    if len(largest) == 2 and not largest[0] <= LARGEST / max(1.0, largest[1]):
        raise InputError("pos_weight", "times class_weight exceeds float64", "smaller weights")
    return checked


def check_name(names: tuple[str, ...], name: str, value: Any) -> str:
    """Check an option that is one of these names."""
    require(isinstance(value, str) and value in names, name, value, f"one of {', '.join(map(repr, names))}")
    return str(value)


def check_real(high: float, expected: str, name: str, value: Any) -> float:
    """Check an option that is a number from 0 to ``high``."""
    number = scalars.to_float(value)
    if number is None or not 0 <= number <= high:
        raise InputError(name, f"is {short_repr(value)}", expected, value=value)
    return number + 0.0  # turns -0.0 into 0.0


def check_integer(low: int, end: int, expected: str, name: str, value: Any) -> int | None:
    """Check an option that is an integer, at least ``low`` and below ``end``."""
    number = scalars.to_int(value)
    require(number is not None and low <= number < end, name, value, expected)
    return number


def check_base(name: str, value: Any) -> float:
    """Check an argument that is a base of logarithms."""
    number = scalars.to_float(value)
    if number is None or number not in LOG_OF_BASE:
        raise InputError(name, f"is {short_repr(value)}", "2, 10 or math.e", value=value)
    return number


def check_classes(name: str, value: Any) -> tuple[str, ...] | None:
    """Check an option that is the names of at least two classes, or None."""
    if value is None:
        return None
    expected = "names of two classes or more, each once"
    try:
        names = None if isinstance(value, (str, bytes)) else tuple(value)
    except Exception:  # any exception of a third-party __iter__
        names = None
    if names is None or not all(isinstance(each, str) for each in names) or not 2 <= len(names) <= MAX_WEIGHTS:
        raise InputError(name, f"is {short_repr(value)}", expected, value=value)
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise InputError(name, f"has {twice!r} twice", expected, value=value)
    return tuple(map(str, names))  # not np.str_


def flag(name: str, value: Any) -> bool:
    """Check an option that is True or False."""
    converted = scalars.to_bool(value)
    require(converted is not None, name, value, "True or False")
    return bool(converted)


def _weights(name: str, value: Any, *, allow_number: bool = False) -> float | tuple[float, ...] | None:
    """Check weights of classes or labels; with ``allow_number`` one number for all of them is allowed."""
    if value is None:
        return None
    numbers = arrays.bfloat16_to_float32(*arrays.to_numpy(value, name))
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


def _ignore_index(name: str, value: Any) -> int | None:
    return (
        value
        if value is None
        else check_integer(-(2**63), 2**63 - 1, "an int64 other than 2^63 - 1, or None", name, value)
    )


def _threads(name: str, value: Any) -> int | None:
    return value if value is None else threads.check_count(value, name)


# The checks of the options that several metrics have. Those with parameters are partials and not closures, because on a
# free-threaded Python the threads that read a closure's variable wait for each other.
CHECKS: dict[str, Check] = {
    "axis": partial(check_integer, -64, 64, "an axis of preds"),
    "calibration": flag,
    "class_weight": _weights,
    "divergence": flag,
    "eps": partial(check_real, 1 - 2**-53, "a probability below 1, or 0 for no floor"),
    "ignore_index": _ignore_index,
    "invalid": partial(check_name, ("raise", "skip")),
    "kind": partial(check_name, KINDS),
    "label_smoothing": partial(check_real, 1, "a number between 0 and 1"),
    "pos_weight": partial(_weights, allow_number=True),
    "tail": flag,
    "threads": _threads,
}
