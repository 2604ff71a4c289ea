"""The metrics: options and a state each."""

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
