"""The metric that the options of a command ask for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import streamce as ce
from streamce.cli.config import METRICS, NORMALIZED, RowsConfig
from streamce.errors import SelectionError
from streamce.reading.labels import Labels


def create_metric(config: RowsConfig, labels: Labels | None) -> Any:
    """Return the metric of ``streamce eval``."""
    return grouped(config, create_task_metric(config, labels, per_label=not config.is_grouped))


def grouped(config: RowsConfig, metric: Any) -> Any:
    """Return the metric by group if the options ask for groups, or the metric itself."""
    with as_option_errors():
        return ce.Grouped(metric, period=config.period) if config.is_grouped else metric


def create_task_metric(config: RowsConfig, labels: Labels | None, *, per_label: bool) -> Any:
    """Return a metric of the task; ``per_label`` matters for multilabel only."""
    options = config.loss_options
    if labels and labels.ignore_index is not None:
        options["ignore_index"] = labels.ignore_index
    if config.task == "multiclass" and not config.normalized:
        options["classes"] = config.classes  # other tasks have no such option
    if config.task == "multilabel":
        options["per_label"] = per_label
    with as_option_errors():
        return task_class(config)(**options)


def task_class(config: RowsConfig) -> Any:
    """Return the class of the metric of the task."""
    return NORMALIZED[config.task] if config.normalized else METRICS[config.task]


@contextlib.contextmanager
def as_option_errors() -> Iterator[None]:
    """Turn errors about an argument into errors about the option of the command line."""
    try:
        yield
    except ce.InputError as error:
        raise SelectionError(str(error)).with_place(f"--{str(error.argument).replace('_', '-')}") from error
