"""The metrics: options and a state each, one module per metric.

In come predictions and targets. ``inputs`` converts them, ``core`` adds their losses to the state, and ``stats`` turns
the state into results.

``mergeable``        what has a state that adds up: ``+``, ``-``, bytes, files
``update_from``      ``update_from``: a whole Arrow stream in one update
``options``          the checks of options
``base``             what metrics share: a pipeline, and a summary
``binary``, ``multiclass``, ``multilabel``, ``mean_loss``, ``sequence``, ``perplexity``, ``ctc``  metrics of one state
``composite``        metrics of several states: ``gan``, ``normalized_entropy``
``sequence_layout``  where the tokens of padded or flat sequences are
``torch_device``     losses that torch computes on a GPU

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
