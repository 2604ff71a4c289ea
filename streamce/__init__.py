"""Exact running cross-entropy over streams of predictions.

>>> import streamce as ce
>>> metric = ce.BinaryCrossEntropy()
>>> metric = metric.update([0.9, 0.2], [1, 0]).update([0.6], [1])
>>> metric.compute()
0.27977656...
"""

from streamce._support import html_repr
from streamce._support.threads import set_num_threads
from streamce.errors import InputError
from streamce.functional.loss_functions import binary_cross_entropy, cross_entropy, multilabel_cross_entropy
from streamce.functional.sklearn_log_loss import log_loss
from streamce.integrations.torch_distributed import all_reduce
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
from streamce.metrics.sequence_layout import shift_by_one
from streamce.persistence.checkpoint import Checkpoint
from streamce.persistence.restore import from_bytes, load
from streamce.persistence.sql_tables import from_sql_rows
from streamce.persistence.state_diff import StateDiff, diff_states
from streamce.stats.calibration import Calibration
from streamce.stats.summary import Summary
from streamce.stats.tail import Tail
from streamce.wrappers import (
    Collection,
    Decayed,
    Discoveries,
    Estimate,
    GroupDifference,
    Grouped,
    Paired,
    PairedSummary,
    Sliding,
)


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
    "Discoveries",
    "Estimate",
    "GANCrossEntropy",
    "GANSummary",
    "GroupDifference",
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
    "StateDiff",
    "Summary",
    "Tail",
    "all_reduce",
    "binary_cross_entropy",
    "cross_entropy",
    "diff_states",
    "from_bytes",
    "from_sql_rows",
    "load",
    "log_loss",
    "multilabel_cross_entropy",
    "set_num_threads",
    "shift_by_one",
]


def __dir__() -> list[str]:
    """Return the public names, so that the completion of a prompt does not show modules."""
    return [*__all__, "__version__"]
