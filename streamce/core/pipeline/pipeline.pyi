from collections.abc import Callable
from typing import Any, Self

import numpy as np

from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.core.losses.loss_spec import Breakdowns, LossSpec

_Bucket = np.ndarray[Any, np.dtype[np.uint8]]

class Pipeline:
    @property
    def per_cell(self) -> bool: ...
    def __new__(
        cls,
        spec: LossSpec,
        breakdowns: Breakdowns | None = None,
        *,
        skips: bool = False,
        threads: int | None = None,
        name: str = "preds",
        entropy: Pipeline | None = None,
        device_losses: Callable[[Any, Any, Any], Any] | None = None,
    ) -> Self: ...
    def update(
        self, state: State, preds: Any, target: Any = None, weight: Any = None, bucket: _Bucket | None = None
    ) -> None: ...
    def update_batch(
        self, state: State, batch: Batch, outputs: Outputs | None = None, bucket: _Bucket | None = None
    ) -> None: ...
    def update_on_device(
        self, state: State, batch: Batch, outputs: Outputs | None = None, bucket: _Bucket | None = None
    ) -> None: ...
