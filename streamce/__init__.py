"""Exact running cross-entropy over streams of predictions.

>>> import streamce as ce
>>> metric = ce.BinaryCrossEntropy()
>>> metric = metric.update([0.9, 0.2], [1, 0]).update([0.6], [1])
>>> metric.compute()
0.27977656...
"""

from streamce.errors import InputError
from streamce.metrics import BinaryCrossEntropy, MeanLoss, MulticlassCrossEntropy, MultilabelCrossEntropy
from streamce.state import from_bytes, load
from streamce.summary import Summary
from streamce.threads import set_num_threads

__version__ = "0.1.0"

__all__ = [
    "BinaryCrossEntropy",
    "InputError",
    "MeanLoss",
    "MulticlassCrossEntropy",
    "MultilabelCrossEntropy",
    "Summary",
    "from_bytes",
    "load",
    "set_num_threads",
]
