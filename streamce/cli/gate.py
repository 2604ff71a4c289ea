"""The exit status of a result: whether it is bad enough to fail the command.

A run whose rows were all skipped fails, because a pipeline that checks only the status would take it for a success. So
does a result beyond the limit that the user has set, but only if the whole interval is on the wrong side of it, because
chance alone must not stop a pipeline. A result without an interval fails such a limit, because it shows nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from streamce.cli.console import fail, note
from streamce.stats.estimators import INVALID

if TYPE_CHECKING:
    from streamce.stats.summary import Summary
    from streamce.wrappers.paired import PairedSummary

EXIT_FAILED = 3


def check_skipped(summary: Summary, unreadable: int = 0) -> int:
    """Return the exit status 1 if there were losses, or rows that cannot be read, and all of them were skipped."""
    if summary.skipped < summary.seen or not summary.skipped + unreadable:
        return 0
    counts = {**{name: getattr(summary, name) for name in INVALID}, "unreadable": unreadable}
    causes = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    return fail(f"no loss was valid, so all were skipped: {causes}", 1)


def check_loss(summary: Summary, limit: float | None, *, normalized: bool = False) -> int:
    """Return the exit status of ``--fail-above``: 3 if the interval of the value is above the limit."""
    if limit is None:
        return 0
    is_infinite = math.isinf(summary.value) and summary.value > limit
    has_failed = summary.interval[0] > limit or is_infinite
    option, name = f"--fail-above {limit:g}", "the normalized entropy" if normalized else "the mean loss"
    return _status(option, name, summary, has_failed, "" if normalized else " nats")


def check_difference(summary: PairedSummary, margin: float | None) -> int:
    """Return the exit status of ``--fail-if-worse``: 3 if B is worse than A by more than the margin."""
    if margin is None:
        return 0
    difference = summary.difference
    return _status(f"--fail-if-worse {margin:g}", "A - B", difference, difference.interval[1] < -margin)


def _status(option: str, name: str, summary: Summary, has_failed: bool, unit: str = " nats") -> int:
    low, high = summary.interval
    if not (has_failed or math.isnan(low)):
        return 0
    interval = f"{100 * summary.level:g} % interval"
    interval = f"has no {interval}" if math.isnan(low) else f"its {interval} is {low:.6g} to {high:.6g}"
    note(f"streamce: {option}: failed, because {name} is {summary.value:.6g}{unit} and {interval}")
    return EXIT_FAILED
