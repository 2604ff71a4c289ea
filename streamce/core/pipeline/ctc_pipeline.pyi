from typing import Any, Self

import numpy as np

from streamce.core.ledger.state import State
from streamce.core.losses.utterances import Utterances
from streamce.core.samples.routes import Routes
from streamce.core.samples.samples import Samples

class CTC:
    @property
    def per_cell(self) -> bool: ...
    def __new__(
        cls, kind: str, blank: int, layout: str, per: str, skips: bool, threads: int | None, tail: bool = False
    ) -> Self: ...
    def update(
        self,
        state: State,
        batch: Utterances,
        bucket: np.ndarray[Any, np.dtype[np.uint8]] | None = None,
        losses: np.ndarray[Any, np.dtype[np.float64]] | None = None,
        routes: Routes | None = None,
    ) -> Samples: ...
