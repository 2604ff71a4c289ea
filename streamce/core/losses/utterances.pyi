from typing import Any

import numpy as np

from streamce.core.losses.batch import Batch

class Utterances(Batch):
    def __init__(
        self,
        preds: Any,
        target: Any,
        input_lengths: Any,
        target_lengths: Any,
        weight: Any = None,
        *,
        status: np.ndarray[Any, np.dtype[np.uint8]] | None = None,
    ) -> None: ...
