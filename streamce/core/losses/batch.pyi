from typing import Any

import numpy as np

from streamce.core.samples.routes import Routes
from streamce.core.samples.samples import Samples

_Doubles = np.ndarray[Any, np.dtype[np.float64]]
_Statuses = np.ndarray[Any, np.dtype[np.uint8]]

class Batch:
    @property
    def ratios(self) -> tuple[tuple[int, _Doubles, _Statuses | None], ...]: ...
    def __init__(
        self,
        preds: Any,
        target: Any = None,
        weight: Any = None,
        *,
        status: Any = None,
        offsets: np.ndarray[Any, np.dtype[np.int64]] | None = None,
        ratios: tuple[tuple[int, _Doubles, _Statuses | None], ...] = (),
        weight_per_sample: bool = False,
    ) -> None: ...

class Outputs:
    def __init__(
        self,
        *,
        losses: _Doubles | None = None,
        samples: Samples | None = None,
        routes: Routes | None = None,
        gradient: Any = None,
        reduction: str = "sum",
        minus: tuple[_Doubles, Samples] | None = None,
    ) -> None: ...
