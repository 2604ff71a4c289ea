"""Alerts: rules for the summaries of windows, and whether each rule is broken.

An alert ends at another value than that at which it begins, so that a mean near the bound does not start and end it
again and again.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from streamce.stats.estimators import LN2
from streamce.stats.summary import format_interval, format_number

if TYPE_CHECKING:
    from streamce.stats.summary import Summary


class Rule(ABC):
    """A rule for the summary of a window."""

    name: str

    @abstractmethod
    def begins(self, summary: Summary) -> bool:
        """Return whether the window breaks the rule."""

    @abstractmethod
    def ends(self, summary: Summary) -> bool:
        """Return whether the window keeps the rule by a margin."""

    @abstractmethod
    def expectation(self, unit: str) -> str:
        """Return the expectation in words. ``unit`` is that of the value."""


class Bound(Rule):
    """A bound of the value. An alert begins beyond it, and ends when the value is a standard error within it.

    Parameters
    ----------
    name : {"above", "below"}
        The side of the bound on which there is an alert. A mean that is too low can be a sign of leaked labels.
    bound : float
    """

    def __init__(self, name: str, bound: float) -> None:
        self.name = name
        self._bound, self._sign = bound, 1 if name == "above" else -1

    def begins(self, summary: Summary) -> bool:
        return self._sign * (summary.value - self._bound) > 0

    def ends(self, summary: Summary) -> bool:
        error = _stderr(summary)
        margin = 0.0 if math.isnan(error) else error
        return self._sign * (summary.value - self._bound) + margin <= 0

    def expectation(self, unit: str) -> str:
        return f"at {'most' if self._sign > 0 else 'least'} {format_number(self._bound)}{unit}"


class Reference(Rule):
    """A reference interval. An alert begins when it and the interval of the window do not overlap.

    The alert ends when the interval of the window contains the value of the reference.
    """

    name = "reference"

    def __init__(self, reference: Summary) -> None:
        self.reference = reference

    def begins(self, summary: Summary) -> bool:
        low, high = _interval(summary)
        return low > self.reference.interval[1] or high < self.reference.interval[0]

    def ends(self, summary: Summary) -> bool:
        low, high = _interval(summary)
        return low <= self.reference.value <= high

    def expectation(self, unit: str) -> str:
        value = f"{format_number(self.reference.value)}{unit}"
        return f"{value} ({format_interval(self.reference.interval)}) of the reference"


def _interval(summary: Summary) -> tuple[float, float]:
    """Return the interval of a mean, and for an infinite mean the mean itself."""
    return (summary.value, summary.value) if math.isinf(summary.value) else summary.interval


def _is_mean(summary: Summary) -> bool:
    """Return whether the value is the mean, and not a ratio such as the normalized entropy."""
    return repr(summary.value) == repr(summary.mean)  # equal even if both are NaN


def _stderr(summary: Summary) -> float:
    """Return the standard error of the value. Its interval is as many of them wide as that of the mean."""
    if _is_mean(summary):
        return summary.stderr
    of_mean = summary.bits_interval[1] * LN2 - summary.mean
    return summary.stderr * (summary.interval[1] - summary.value) / of_mean if of_mean > 0 else math.nan


class Alerts:
    """The alerts of all rules for all windows.

    Parameters
    ----------
    rules : list of Rule
    min_samples : mapping of str to int
        The least number of samples at which a window is checked, by the name of the window.
    """

    def __init__(self, rules: list[Rule], min_samples: Mapping[str, int]) -> None:
        self._rules, self._min_samples = rules, min_samples
        self._active: dict[str, list[str]] = {rule.name: [] for rule in rules}
        self.count: int = 0  # alerts that began, or were active when this was restored

    @property
    def position(self) -> dict[str, list[str]]:
        """The active alerts as a JSON value: windows by the name of the rule."""
        return {name: [*windows] for name, windows in self._active.items() if windows}

    def restore(self, position: Mapping[str, list[str]]) -> None:
        """Make the alerts of a position active. Drop alerts whose rule no longer exists."""
        for name in self._active:
            self._active[name] = [*position.get(name, [])]
        self.count = sum(map(len, self._active.values()))

    def is_active(self, rule: Rule, window: str) -> bool:
        """Return whether there is an alert now."""
        return window in self._active[rule.name]

    @property
    def rules(self) -> list[Rule]:
        return self._rules

    def check(self, window: str, summary: Summary) -> list[str]:
        """Check a window, and return a message for each alert that begins or ends."""
        if summary.samples < self._min_samples[window]:
            return []
        messages = []
        for rule in self._rules:
            active = self._active[rule.name]
            if window not in active and rule.begins(summary):
                active.append(window)
                self.count += 1
                messages.append(f"alert begins: {_description(window, rule, summary)}")
            elif window in active and rule.ends(summary):
                active.remove(window)
                messages.append(f"alert ends: {_description(window, rule, summary)}")
        return messages


def _description(window: str, rule: Rule, summary: Summary) -> str:
    unit = " nats" if _is_mean(summary) else ""
    value = f"{format_number(summary.value)}{unit} ({format_interval(summary.interval)}) in {summary.samples:,} samples"
    return f"{window} {rule.name}: {value}, expected {rule.expectation(unit)}"
