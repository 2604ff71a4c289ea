"""The windows, the alert rules and the reference that the options of ``streamce watch`` ask for."""

from __future__ import annotations

import math
from typing import Any

import streamce as ce
from streamce.cli import formatting
from streamce.cli.config import WatchConfig
from streamce.cli.console import plural
from streamce.cli.metric_factory import as_option_errors, task_class
from streamce.errors import SelectionError
from streamce.keys import periods
from streamce.monitor.alerts import Alerts, Bound, Reference, Rule
from streamce.stats.summary import Summary

DEFAULT_WINDOW = "10000"


def window_options(config: WatchConfig) -> dict[str, dict[str, Any]]:
    """Return the options of ``Sliding`` for each window, by the name of the window."""
    windows: dict[str, dict[str, Any]] = {}
    for length in config.window or [DEFAULT_WINDOW]:
        options: dict[str, Any] = {"samples": int(length)} if length.isdecimal() else _period_options(config, length)
        try:
            checked = ce.Sliding(ce.MeanLoss(), **options).options
        except ce.InputError as error:
            option = "window" if error.argument == "samples" else error.argument
            raise SelectionError(str(error)).with_place(f"--{option}") from error
        windows[f"last_{checked['samples'] or checked['period']}"] = options
    has_period = any("period" in options for options in windows.values())
    if has_period and not config.by_time:
        raise SelectionError("a --window with a period needs --by-time, a column of times")
    if config.by_time and not has_period:
        raise SelectionError("--by-time needs --window with a period, such as 1h")
    if config.step and not has_period:
        raise SelectionError("--step needs --window with a period, such as 1h")
    return windows


def _period_options(config: WatchConfig, period: str) -> dict[str, Any]:
    with as_option_errors():
        length = periods.microseconds(period, "window")
    return {"period": period, "step": config.step or f"{max(1, length // 60)}us"}


def create_alerts(config: WatchConfig, windows: dict[str, dict[str, Any]], reference: Summary | None) -> Alerts:
    """Return the alerts of all windows."""
    rules: list[Rule] = []
    if config.alert_above is not None:
        rules.append(Bound("above", config.alert_above))
    if config.alert_below is not None:
        rules.append(Bound("below", config.alert_below))
    if reference is not None:
        rules.append(Reference(reference))
    # Half of a window of samples is enough, because invalid samples also occupy places in it.
    limits = {name: options.get("samples", 2 * config.alert_samples) // 2 for name, options in windows.items()}
    return Alerts(rules, {name: min(config.alert_samples, limit) for name, limit in limits.items()})


def load_reference(config: WatchConfig) -> Summary | None:
    """Return the summary of the state of ``--reference``, or None if the option is not given.

    Raises SelectionError if windows cannot be compared with it.
    """
    if config.reference is None:
        return None
    option = f"--reference {config.reference}"
    try:
        metric = ce.load(config.reference)
    except OSError as error:
        raise SelectionError(f"{option}: {error.strerror or error}") from error
    expected = task_class(config)
    template = metric.options.get("metric", metric)
    if type(template) is not expected:
        raise SelectionError(f"{option}: is a {type(template).__name__}, expected a {expected.__name__}")
    with as_option_errors():
        options = {name: value for name in ("label_smoothing", "per") if (value := getattr(config, name)) is not None}
        ours = expected(**options).options
    for name in ("label_smoothing", "per", "class_weight", "pos_weight"):  # each of these changes the loss
        if template.options.get(name) != ours.get(name):
            found = f"its {name} is {template.options[name]!r}, expected {ours[name]!r} as in this command"
            raise SelectionError(f"{option}: {found}")
    summary: Summary = formatting.total_summary(metric, config.view)
    if any(map(math.isnan, summary.interval)):
        found = f"its mean has no interval: {plural(summary.samples, 'sample')}, value {summary.value}"
        raise SelectionError(f"{option}: {found}")
    return summary
