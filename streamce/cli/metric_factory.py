"""The metric that the options of a command ask for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import streamce as ce
from streamce.cli.config import METRICS, EvalConfig, RowsConfig
from streamce.errors import SelectionError
from streamce.metrics.base import Metric
from streamce.reading.labels import Labels


def create_metric(config: EvalConfig, labels: Labels | None) -> Metric | ce.Grouped:
    """Return the metric of ``streamce eval``, which is grouped if the options ask for it."""
    metric = create_task_metric(config, labels, per_label=not config.is_grouped)
    with as_option_errors():
        return ce.Grouped(metric, period=config.period) if config.is_grouped else metric


def create_task_metric(config: RowsConfig, labels: Labels | None, *, per_label: bool) -> Metric:
    """Return a metric of the task; ``per_label`` matters for multilabel only."""
    options = config.loss_options
    if labels:
        options["ignore_index"] = labels.ignore_index
    if config.task == "multiclass":
        options["classes"] = config.classes  # other tasks have no such option
    if config.task == "multilabel":
        options["per_label"] = per_label
    with as_option_errors():
        return METRICS[config.task](**options)


@contextlib.contextmanager
def as_option_errors() -> Iterator[None]:
    """Turn errors about an argument into errors about the option of the command line."""
    try:
        yield
    except ce.InputError as error:
        raise SelectionError(str(error)).with_place(f"--{str(error.argument).replace('_', '-')}") from error
