"""What raises an alert: a window's mean beyond a bound, or its interval beyond that of a reference.

An alert that is on ends later than it would begin, so that a mean at the bound does not set it off again and again.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from streamce.stats.summary import between, shown

if TYPE_CHECKING:
    from streamce.stats.summary import Summary


class Rule(ABC):
    """What a window's summary is judged by."""

    name: str

    @abstractmethod
    def begins(self, found: Summary) -> bool:
        """Whether the window is beyond it."""

    @abstractmethod
    def ends(self, found: Summary) -> bool:
        """Whether the window is back by a margin."""

    @abstractmethod
    def __str__(self) -> str:
        """What is expected, in words."""


class Bound(Rule):
    """A bound of the mean: on beyond it, off once the mean is a standard error back.

    Parameters
    ----------
    name : {"above", "below"}
        On which side the alert is; a mean too low is what labels do that have leaked.
    bound : float
    """

    def __init__(self, name: str, bound: float) -> None:
        self.name, self._bound, self._sign = name, bound, 1 if name == "above" else -1

    def begins(self, found: Summary) -> bool:
        return self._sign * (found.mean - self._bound) > 0

    def ends(self, found: Summary) -> bool:
        margin = 0.0 if math.isnan(found.stderr) else found.stderr
        return self._sign * (found.mean - self._bound) + margin <= 0

    def __str__(self) -> str:
        return f"at {'most' if self._sign > 0 else 'least'} {shown(self._bound)} nats"


class Reference(Rule):
    """What was measured before: on where the two intervals have nothing in common, off once the value of the
    reference is in the window's again."""

    name = "reference"

    def __init__(self, reference: Summary) -> None:
        self.reference = reference

    def begins(self, found: Summary) -> bool:
        low, high = _interval(found)
        return low > self.reference.interval[1] or high < self.reference.interval[0]

    def ends(self, found: Summary) -> bool:
        low, high = _interval(found)
        return low <= self.reference.value <= high

    def __str__(self) -> str:
        return f"{shown(self.reference.value)} nats ({between(self.reference.interval)}) of the reference"


def _interval(found: Summary) -> tuple[float, float]:
    """That of a mean; one that is infinite has no other."""
    return (found.value, found.value) if math.isinf(found.value) else found.interval


class Alerts:
    """Each rule for each window, and whether it is broken.

    Parameters
    ----------
    rules : list of Rule
    least : mapping of str to int
        Samples that each window has to hold before it is judged.
    """

    def __init__(self, rules: list[Rule], least: Mapping[str, int]) -> None:
        self._rules, self._least = rules, least
        self._on: dict[str, list[str]] = {rule.name: [] for rule in rules}
        self.raised = 0  # alerts that began, or were on when this was restored

    @property
    def position(self) -> dict[str, list[str]]:
        """What is on, as a JSON value: windows by the name of the rule."""
        return {name: [*windows] for name, windows in self._on.items() if windows}

    def restore(self, position: Mapping[str, list[str]]) -> None:
        """Go on from there; what there is no rule for any more is off."""
        for name in self._on:
            self._on[name] = [*position.get(name, [])]
        self.raised = sum(map(len, self._on.values()))

    def on(self, rule: Rule, window: str) -> bool:
        """Whether this one is."""
        return window in self._on[rule.name]

    @property
    def rules(self) -> list[Rule]:
        return self._rules

    def judge(self, window: str, found: Summary) -> list[str]:
        """A line for each alert that begins or ends."""
        said = []
        if found.samples < self._least[window]:
            return []
        for rule in self._rules:
            on = self._on[rule.name]
            if window not in on and rule.begins(found):
                on.append(window)
                self.raised += 1
                said.append(f"alert begins: {_told(window, rule, found)}")
            elif window in on and rule.ends(found):
                on.remove(window)
                said.append(f"alert ends: {_told(window, rule, found)}")
        return said


def _told(window: str, rule: Rule, found: Summary) -> str:
    mean = f"{shown(found.mean)} nats ({between(found.interval)}) in {found.samples:,} samples"
    return f"{window} {rule.name}: {mean}, expected {rule}"
