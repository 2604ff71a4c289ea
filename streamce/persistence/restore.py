"""Restores metrics from the bytes and files of their states."""

from __future__ import annotations

import os

from streamce._support import state_format
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.ctc import CTCCrossEntropy
from streamce.metrics.gan import GANCrossEntropy
from streamce.metrics.mean_loss import MeanLoss
from streamce.metrics.mergeable import MergeableState
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

# The classes that a state can name. A new metric adds a line here.
METRICS: dict[str, type[MergeableState]] = {
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
def from_bytes(data: bytes | bytearray | memoryview) -> MergeableState:
    """Return the metric whose ``to_bytes()`` returned ``data``.

    Options that change no loss (``axis``, ``threads``, ``invalid``) have their defaults.

    Raises
    ------
    InputError
        If the bytes are damaged, truncated, not those of a state, or of an unknown version.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.BinaryCrossEntropy().update([0.25, 0.5], [0, 1])
    >>> ce.from_bytes(metric.to_bytes()) == metric
    True
    """
    header, parts = state_format.decode(data)
    with state_format.decoding_errors():
        metric = _from_header(header)
    metric._restore(parts, data)
    return metric


def _from_header(header: state_format.Header) -> MergeableState:
    """Return an empty metric with the class and options of a header."""
    state_format.check_header(header)
    if header["metric"] not in METRICS:
        raise ValueError(f"its metric is {header['metric']!r}, which this release does not know")
    return METRICS[header["metric"]]._from_options(header["options"], _from_header)


@in_default_mode
def load(path: str | os.PathLike[str]) -> MergeableState:
    """Return the metric that ``save(path)`` wrote; see :func:`from_bytes`.

    Raises
    ------
    InputError
        If the file does not hold an intact state.
    OSError
        If the file cannot be read.

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
