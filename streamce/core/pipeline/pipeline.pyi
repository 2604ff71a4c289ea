from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from streamce.core.ledger.state import State
from streamce.core.samples.samples import Samples

_Doubles = np.ndarray[Any, np.dtype[np.float64]]

PADDING: int
MASKED: int
NULL_INPUT: int
WHAT: dict[str, int]

class Pipeline:
    @property
    def per_cell(self) -> bool: ...
    def __new__(cls, *args: Any, **options: Any) -> Self: ...
    def __init__(
        self,
        task: str,
        kind: str = "probs",
        *,
        smoothing: float = 0.0,
        ignore_index: int | None = None,
        class_weight: Sequence[float] | None = None,
        pos_weight: float | Sequence[float] | None = None,
        floor: float = 0.0,
        ceiling: float = 1.0,
        skips: bool = False,
        axis: int = -1,
        per_cell: bool = False,
        threads: int | None = None,
        name: str = "preds",
        whole: bool = False,
        by_position: bool = False,
        tail: bool = False,
        calibration: bool = False,
        entropy: Pipeline | None = None,
        elsewhere: Callable[[Any, Any, Any], Any] | None = None,
    ) -> None: ...
    def update(
        self,
        state: State,
        preds: Any,
        target: Any,
        weight: Any = None,
        bucket: np.ndarray[Any, np.dtype[np.uint8]] | None = None,
        settled: Any = None,
        out: np.ndarray[Any, np.dtype[np.float64]] | None = None,
        samples: Samples | None = None,
        gradient: Any = None,
        mean: bool = False,
        offsets: np.ndarray[Any, np.dtype[np.int64]] | None = None,
        ratios: tuple[tuple[int, _Doubles, _Doubles | None], ...] = (),
    ) -> None: ...
    def update_elsewhere(
        self,
        state: State,
        preds: Any,
        target: Any,
        weight: Any = None,
        bucket: np.ndarray[Any, np.dtype[np.uint8]] | None = None,
        out: np.ndarray[Any, np.dtype[np.float64]] | None = None,
        samples: Samples | None = None,
    ) -> None: ...
