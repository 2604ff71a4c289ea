from collections.abc import Sequence
from typing import Self

class LossSpec:
    def __new__(
        cls,
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
    ) -> Self: ...

class Breakdowns:
    @property
    def per_cell(self) -> bool: ...
    def __new__(
        cls,
        *,
        per_cell: bool = False,
        by_position: bool = False,
        sequence_mean: bool = False,
        tail: bool = False,
        calibration: bool = False,
    ) -> Self: ...
