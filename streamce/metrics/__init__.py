"""The metrics: options and a state each, one module per metric.

Input: predictions and targets. Output: a state, and the results of its sums. ``inputs`` converts the arguments of an
update, ``core`` adds their losses to the state, and ``stats`` turns the state into results.

``limbs``, ``sql_rows``                states as integers that any system can add: arrays, and rows of a database
``summable``                           ``SummableState``: writes and reads such arrays and rows
``mergeable``                          ``MergeableState``: options and a state, with ``+``, ``-``, bytes and files
``update_from``                        ``UpdateFromMixin``: adds an Arrow stream in one update
``options``                            the checks of options
``sequence_layout``                    finds the tokens of padded or flat sequences
``torch_device``                       ``TorchDeviceLosses``: losses that torch computes on a GPU
``base``                               ``Metric``: a pipeline that adds batches to a state, and the summary of the state
``binary``, ``multilabel``             metrics of outcomes that are 0 or 1
``multiclass``                         the metric of classes
``mean_loss``                          the mean of losses that another library computed
``sequence``, ``perplexity``, ``ctc``  metrics of sequences and of utterances
``composite``                          the base class of metrics with several states, which come next
``normalized_entropy``                 log loss divided by that of the base rate
``gan``                                the losses of a GAN: discriminator and generator

A new metric is a module here and a line in ``persistence.restore``. Imports ``errors``, ``_support``, ``inputs``,
``core``, ``keys``, ``stats`` and ``reading``.
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
