"""The metrics: options and a state each, one module per metric.

A metric takes predictions and targets. ``inputs`` converts them, ``core`` adds their losses to the state, and ``stats``
turns the state into results.

``mergeable``        ``MergeableState``: options and a state, with ``+``, ``-``, bytes and files
``update_from``      ``UpdateFromMixin``: adds an Arrow stream in one update
``options``          the checks of options
``base``             ``Metric``: a pipeline that adds batches to one state, and the summary of the state
``binary``, ``multiclass``, ``multilabel``, ``mean_loss``, ``sequence``, ``perplexity``, ``ctc``  metrics with one state
``composite``        the base of metrics with several states: ``gan``, ``normalized_entropy``
``sequence_layout``  finds the tokens of padded or flat sequences
``torch_device``     ``TorchDeviceLosses``: losses that torch computes on a GPU

Imports the layers below. A new metric is a module here and a line in ``persistence.restore``.
"""

from streamce.metrics.base import Metric
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.ctc import CTCCrossEntropy
from streamce.metrics.gan import GANCrossEntropy, GANSummary
from streamce.metrics.mean_loss import MeanLoss
from streamce.metrics.multiclass import MulticlassCrossEntropy
from streamce.metrics.multilabel import MultilabelCrossEntropy
from streamce.metrics.normalized_entropy import MulticlassNormalizedEntropy, NormalizedEntropy
from streamce.metrics.perplexity import Perplexity
from streamce.metrics.sequence import SequenceCrossEntropy

__all__ = [
    "BinaryCrossEntropy",
    "CTCCrossEntropy",
    "GANCrossEntropy",
    "GANSummary",
    "MeanLoss",
    "Metric",
    "MulticlassCrossEntropy",
    "MulticlassNormalizedEntropy",
    "MultilabelCrossEntropy",
    "NormalizedEntropy",
    "Perplexity",
    "SequenceCrossEntropy",
]
