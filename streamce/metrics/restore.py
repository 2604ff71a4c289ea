"""Metrics from the bytes and files that hold their states."""

from __future__ import annotations

import os

from streamce import state
from streamce.errors import InputError
from streamce.metrics.base import Metric
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.mean_loss import MeanLoss
from streamce.metrics.multiclass import MulticlassCrossEntropy
from streamce.metrics.multilabel import MultilabelCrossEntropy

# By the name that state bytes have for them.
METRICS: dict[str, type[Metric]] = {
    cls.__name__: cls for cls in (BinaryCrossEntropy, MeanLoss, MulticlassCrossEntropy, MultilabelCrossEntropy)
}


def from_bytes(data: bytes | bytearray | memoryview) -> Metric:
    """The metric whose ``to_bytes()`` gave ``data``.

    Options that change no loss (``axis``, ``threads``, ``invalid``) are the defaults again.

    Raises
    ------
    InputError
        If the bytes are damaged, cut short, foreign or of a version that is not known.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.BinaryCrossEntropy().update([0.25, 0.5], [0, 1])
    >>> ce.from_bytes(metric.to_bytes()) == metric
    True
    """
    name, options, found = state.decode(data)
    if name not in METRICS:
        raise InputError(f"state is of a metric {name!r}, which this release does not know", argument="state")
    try:
        metric = METRICS[name]._of(options)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"state has options that make no sense: {error}", argument="state") from None
    if state.header(name, metric._of_the_loss()) != state.header(name, options):
        raise InputError(f"state has other options than a {name} writes: {sorted(options)}", argument="state")
    metric._take(found)
    return metric


def load(path: str | os.PathLike[str]) -> Metric:
    """The metric that ``save(path)`` wrote; see :func:`from_bytes`.

    Raises
    ------
    InputError
        If the file holds no intact state.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, streamce as ce
    >>> metric = ce.BinaryCrossEntropy().update([0.25, 0.5], [0, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     metric.save(folder + "/monday.state")
    ...     ce.load(folder + "/monday.state") == metric
    True
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        return from_bytes(data)
    except InputError as error:
        raise InputError(f"{os.fspath(path)}: {error}", argument="path") from None
