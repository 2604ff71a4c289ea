"""The exit status of a result: whether it is bad enough to fail the command.

A run whose rows were all skipped fails, because a pipeline that checks only the status would take it for a success. So
does a result beyond the limit that the user has set, but only if the whole interval is on the wrong side of it, because
chance alone must not stop a pipeline. A result without an interval fails such a limit, because it shows nothing. With
groups, one group is enough to fail. Two models are compared by the discoveries, which account for the number of groups.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from streamce.cli import formatting
from streamce.cli.console import fail, note, plural
from streamce.stats.estimators import INVALID
from streamce.stats.summary import format_interval

if TYPE_CHECKING:
    import streamce as ce
    from streamce.cli.config import View
    from streamce.stats.summary import Summary
    from streamce.wrappers.paired_summary import PairedSummary

EXIT_FAILED = 3
N_NAMED = 5  # groups that are named


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
    option, name = f"--fail-above {limit:g}", "the normalized entropy" if normalized else "the mean loss"
    return _status(option, name, summary, _is_above(summary, limit), "" if normalized else " nats")


def check_groups(metric: ce.Grouped, limit: float | None, view: View, *, normalized: bool = False) -> int:
    """Return the exit status of ``--fail-above`` with groups: 3 if the interval of a group is above the limit."""
    if limit is None:
        return 0
    option, least = f"--fail-above {limit:g}", view.least_to_decide
    keys = set(formatting.large_groups(metric, least))
    if not keys:
        return _no_group(option, least)
    found = metric.summary(view.level, view.anytime)
    summaries = {key: metric._headline(summary) for key, summary in found.items() if key in keys}
    failed = [key for key, each in summaries.items() if _is_above(each, limit) or math.isnan(each.interval[0])]
    failed.sort(key=lambda key: (math.isnan(summaries[key].value), -summaries[key].value))
    name, unit = ("the normalized entropy", "") if normalized else ("the mean loss", " nats")
    texts = [_group_text(metric, key, summaries[key].value, summaries[key].interval, unit) for key in failed[:N_NAMED]]
    reason = f"{name} is above it in {len(failed):,} of {plural(len(summaries), 'group')}"
    return _groups_status(option, reason, f"{100 * view.level:g} % interval", texts, len(failed))


def _is_above(summary: Summary, limit: float) -> bool:
    return summary.interval[0] > limit or (math.isinf(summary.value) and summary.value > limit)


def check_difference(summary: PairedSummary, margin: float | None) -> int:
    """Return the exit status of ``--fail-if-worse``: 3 if B is worse than A by more than the margin."""
    if margin is None:
        return 0
    difference = summary.difference
    return _status(f"--fail-if-worse {margin:g}", "A - B", difference, difference.interval[1] < -margin)


def check_discoveries(metric: ce.Grouped, margin: float | None, view: View) -> int:
    """Return the exit status of ``--fail-if-worse`` with groups: 3 if B is worse by more than the margin in one."""
    if margin is None:
        return 0
    option, found = f"--fail-if-worse {margin:g}", metric.discoveries(**view.discovery_options)
    if not found.differences:
        return _no_group(option, view.least_to_decide)
    failed = [
        row for row in found.differences
        if math.isnan(row.p_value) or (row.better == "A" and row.interval[1] < -margin)
    ]  # fmt: skip
    failed.sort(key=lambda row: (math.isnan(row.difference), row.difference))
    texts = [_group_text(metric, row.key, row.difference, row.interval, " nats") for row in failed[:N_NAMED]]
    reason = f"B is worse in {len(failed):,} of {plural(len(found.differences), 'group')}"
    name = f"A - B, {100 * float(f'{found.level:.12g}'):.6g} % interval"
    return _groups_status(option, reason, name, texts, len(failed))


def _no_group(option: str, least: int) -> int:
    note(f"streamce: {option}: failed, because no group has {least:,} samples (see --min-samples)")
    return EXIT_FAILED


def _group_text(metric: ce.Grouped, key: Any, value: float, interval: tuple[float, float], unit: str) -> str:
    ends = "no interval" if math.isnan(interval[0]) else format_interval(interval)
    return f"{formatting.group_name(metric, key)} {value:.6g}{unit} ({ends})"


def _groups_status(option: str, reason: str, interval: str, texts: list[str], failed: int) -> int:
    """Return the exit status for groups that failed, and note the first of them."""
    if not failed:
        return 0
    more = f", and {failed - len(texts):,} more" * (failed > len(texts))
    note(f"streamce: {option}: failed, because {reason} ({interval}): {', '.join(texts)}{more}")
    return EXIT_FAILED


def _status(option: str, name: str, summary: Summary, has_failed: bool, unit: str = " nats") -> int:
    low, high = summary.interval
    if not (has_failed or math.isnan(low)):
        return 0
    interval = f"{100 * summary.level:g} % interval"
    interval = f"has no {interval}" if math.isnan(low) else f"its {interval} is {low:.6g} to {high:.6g}"
    note(f"streamce: {option}: failed, because {name} is {summary.value:.6g}{unit} and {interval}")
    return EXIT_FAILED
