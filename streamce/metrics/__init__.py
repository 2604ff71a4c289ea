"""The metrics: options and a state each."""

from streamce.metrics.base import Metric
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.mean_loss import MeanLoss
from streamce.metrics.multiclass import MulticlassCrossEntropy
from streamce.metrics.multilabel import MultilabelCrossEntropy

# By the name that state bytes have for them.
METRICS: dict[str, type[Metric]] = {
    cls.__name__: cls for cls in (BinaryCrossEntropy, MeanLoss, MulticlassCrossEntropy, MultilabelCrossEntropy)
}

__all__ = [
    "METRICS",
    "BinaryCrossEntropy",
    "MeanLoss",
    "Metric",
    "MulticlassCrossEntropy",
    "MultilabelCrossEntropy",
]
