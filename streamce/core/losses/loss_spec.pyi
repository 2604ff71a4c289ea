from collections.abc import Sequence
from typing import Any, Self

class LossSpec:
    def __new__(cls, *args: Any, **options: Any) -> Self: ...
    def __init__(
        self,
        task: str,
        kind: str = "probs",
        *,
        smoothing: float = 0.0,
        ignore_index: int | None = None,
        class_weight: float | Sequence[float] | None = None,
        pos_weight: float | Sequence[float] | None = None,
        floor: float = 0.0,
        ceiling: float = 1.0,
        axis: int = -1,
    ) -> None: ...

class Breakdowns:
    @property
    def per_cell(self) -> bool: ...
    def __new__(cls, **options: bool) -> Self: ...
    def __init__(
        self,
        *,
        per_cell: bool = False,
        by_position: bool = False,
        sequence_mean: bool = False,
        tail: bool = False,
        calibration: bool = False,
    ) -> None: ...
