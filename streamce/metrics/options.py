"""The judge of options: what a metric is given, as plain values that make sense."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from streamce._support import scalars, threads
from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.inputs import arrays

KINDS = ("probs", "log_probs", "logits")
EPS = 2.0**-52
LARGEST = sys.float_info.max
MOST_WEIGHTS = 1 << 24  # the most classes that a state can have sums of


def require(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raises unless the condition on an option holds."""
    if not condition:
        raise InputError(name, f"is {short_repr(value)}", expected, value=value)


def one_of(names: tuple[str, ...], name: str, value: Any) -> None:
    require(isinstance(value, str) and value in names, name, value, f"one of {', '.join(map(repr, names))}")


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a metric as plain values, which states and pickles hold; InputError for any without sense."""
    found = {name: CHECKS[name](name, value) for name, value in options.items()}
    largest = [np.max(found[name]) for name in ("class_weight", "pos_weight") if found.get(name) is not None]
    if len(largest) == 2 and not largest[0] <= LARGEST / max(1.0, largest[1]):
        raise InputError("pos_weight", "times class_weight exceeds float64", "smaller weights")
    return found


def _name(*names: str) -> Any:
    def check(name: str, value: Any) -> str:
        one_of(names, name, value)
        return str(value)

    return check


def _real(most: float, expected: str) -> Any:
    def check(name: str, value: Any) -> float:
        found = scalars.real(value)
        if found is None or not 0 <= found <= most:
            raise InputError(name, f"is {short_repr(value)}", expected, value=value)
        return found + 0.0  # -0.0 is 0.0

    return check


def _whole(least: int, below: int, expected: str, *, none: bool = False) -> Any:
    def check(name: str, value: Any) -> int | None:
        if none and value is None:
            return None
        found = scalars.integer(value)
        require(found is not None and least <= found < below, name, value, expected)
        return found

    return check


def _switch(name: str, value: Any) -> bool:
    found = scalars.switch(value)
    require(found is not None, name, value, "True or False")
    return bool(found)


def _weights(name: str, value: Any, *, one: bool = False) -> float | tuple[float, ...] | None:
    """A weight per class or label; or with ``one`` a single one for all."""
    if value is None:
        return None
    found = arrays.widened(*arrays.array(value, name))
    shaped = (found.ndim == 1 and found.size > 0) or (one and found.ndim == 0)
    expected = "a number, or a sequence of numbers" if one else "a sequence of numbers"
    require(shaped and found.dtype.kind in "fiu", name, value, expected)
    if found.size > MOST_WEIGHTS:
        raise InputError(name, f"has {found.size} entries", f"{MOST_WEIGHTS} at most")
    listed = tuple(float(weight) + 0.0 for weight in found.flat)
    for i, weight in enumerate(listed):
        if not 0 <= weight <= LARGEST:
            index = (i,) if found.ndim else None
            raise InputError(name, f"is {weight!r}", "a finite number, 0 or more", index=index, value=weight)
    return listed if found.ndim else listed[0]


CHECKS: dict[str, Any] = {
    "axis": _whole(-64, 64, "an axis of preds"),
    "blank": _whole(0, 2**31, "a class of preds"),
    "calibration": _switch,
    "class_weight": _weights,
    "divergence": _switch,
    "eps": _real(1 - 2**-53, "a probability below 1, or 0 for no floor"),
    "ignore_index": _whole(-(2**63), 2**63 - 1, "an integer that fits int64, but for the largest, or None", none=True),
    "invalid": _name("raise", "skip"),
    "kind": _name(*KINDS),
    "label_smoothing": _real(1, "a number between 0 and 1"),
    "layout": _name("TBC", "BTC"),
    "per": _name("label", "frame", "utterance", "token", "sequence"),
    "per_class": _switch,
    "per_label": _switch,
    "per_position": _switch,
    "pos_weight": lambda name, value: _weights(name, value, one=True),
    "tail": _switch,
    "threads": lambda _, value: value if value is None else threads.check(value, "threads"),
}
