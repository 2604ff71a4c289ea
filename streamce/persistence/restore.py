"""Metrics from the bytes and files that hold their states."""

from __future__ import annotations

import os

from streamce._support import state_format
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.ctc import CTCCrossEntropy
from streamce.metrics.gan import GANCrossEntropy
from streamce.metrics.mean_loss import MeanLoss
from streamce.metrics.mergeable import Additive
from streamce.metrics.multiclass import MulticlassCrossEntropy
from streamce.metrics.multilabel import MultilabelCrossEntropy
from streamce.metrics.normalized_entropy import MulticlassNormalizedEntropy, NormalizedEntropy
from streamce.metrics.perplexity import Perplexity
from streamce.metrics.sequence import SequenceCrossEntropy
from streamce.wrappers.collection import Collection
from streamce.wrappers.decayed import Decayed
from streamce.wrappers.grouped import Grouped
from streamce.wrappers.paired import Paired
from streamce.wrappers.sliding import Sliding

# By the name that state bytes have for them.
METRICS: dict[str, type[Additive]] = {
    cls.__name__: cls
    for cls in (
        BinaryCrossEntropy,
        CTCCrossEntropy,
        Collection,
        Decayed,
        GANCrossEntropy,
        Grouped,
        MeanLoss,
        MulticlassCrossEntropy,
        MulticlassNormalizedEntropy,
        MultilabelCrossEntropy,
        NormalizedEntropy,
        Paired,
        Perplexity,
        SequenceCrossEntropy,
        Sliding,
    )
}


@in_default_mode
def from_bytes(data: bytes | bytearray | memoryview) -> Additive:
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
    header, parts = state_format.decode(data)
    with state_format.understood():
        metric = _made(header)
    metric._restore(parts, data)
    return metric


def _made(header: state_format.Header) -> Additive:
    """An empty metric of the kind and options that a header says."""
    state_format.check(header)
    if header["metric"] not in METRICS:
        raise ValueError(f"it is of a metric {header['metric']!r}, which this release does not know")
    return METRICS[header["metric"]]._of(header["options"], _made)


@in_default_mode
def load(path: str | os.PathLike[str]) -> Additive:
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
        raise error.enclosed("path", os.fspath(path)) from None
