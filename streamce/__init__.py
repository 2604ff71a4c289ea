"""Exact running cross-entropy over streams of predictions.

>>> import streamce as ce
>>> metric = ce.BinaryCrossEntropy()
>>> metric = metric.update([0.9, 0.2], [1, 0]).update([0.6], [1])
>>> metric.compute()
0.27977656...
"""

from streamce._support import html_repr
from streamce.calibration import Calibration
from streamce.checkpoint import Checkpoint
from streamce.errors import InputError
from streamce.losses import binary_cross_entropy, cross_entropy, multilabel_cross_entropy
from streamce.metrics import (
    BinaryCrossEntropy,
    CTCCrossEntropy,
    GANCrossEntropy,
    GANSummary,
    MeanLoss,
    MulticlassCrossEntropy,
    MulticlassNormalizedEntropy,
    MultilabelCrossEntropy,
    NormalizedEntropy,
    Perplexity,
    SequenceCrossEntropy,
)
from streamce.restore import from_bytes, load
from streamce.sequences import shift_by_one
from streamce.sklearn_log_loss import log_loss
from streamce.streams import Collection, Decayed, Estimate, Grouped, Paired, PairedSummary, Sliding
from streamce.summary import Summary
from streamce.tail import Tail
from streamce.threads import set_num_threads
from streamce.torch_distributed import all_reduce


def _report() -> html_repr.Renderer:
    from streamce import report  # here, because a program that only computes needs no drawings

    return report


html_repr.plug_in(_report)

__version__ = "0.1.0"

__all__ = [
    "BinaryCrossEntropy",
    "CTCCrossEntropy",
    "Calibration",
    "Checkpoint",
    "Collection",
    "Decayed",
    "Estimate",
    "GANCrossEntropy",
    "GANSummary",
    "Grouped",
    "InputError",
    "MeanLoss",
    "MulticlassCrossEntropy",
    "MulticlassNormalizedEntropy",
    "MultilabelCrossEntropy",
    "NormalizedEntropy",
    "Paired",
    "PairedSummary",
    "Perplexity",
    "SequenceCrossEntropy",
    "Sliding",
    "Summary",
    "Tail",
    "all_reduce",
    "binary_cross_entropy",
    "cross_entropy",
    "from_bytes",
    "load",
    "log_loss",
    "multilabel_cross_entropy",
    "set_num_threads",
    "shift_by_one",
]
