"""The metric that options ask for."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

import streamce as ce
from streamce.cli import arguments
from streamce.errors import SelectionError
from streamce.metrics.base import Metric
from streamce.reading.labels import Labels


def metric_of(options: argparse.Namespace, labels: Labels | None) -> Metric | ce.Grouped:
    """What ``eval`` adds to."""
    grouped = options.by or options.by_time
    metric = of_task(options, labels, per_label=not grouped)
    with naming_options():
        return ce.Grouped(metric, period=options.period) if grouped else metric


def of_task(options: argparse.Namespace, labels: Labels | None, *, per_label: bool) -> Metric:
    names = ("kind", "label_smoothing", "ignore_index", "eps", "per", "blank", "invalid", "threads", *arguments.SUMS)
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    if labels:
        given["ignore_index"] = labels.ignore_index
    if options.task == "multilabel":
        given["per_label"] = per_label
    with naming_options():
        return arguments.METRICS[options.task](**given)


@contextlib.contextmanager
def naming_options() -> Iterator[None]:
    """Errors about options as the command line has them."""
    try:
        yield
    except ce.InputError as error:
        raise SelectionError(str(error)).with_place(f"--{str(error.argument).replace('_', '-')}") from error
