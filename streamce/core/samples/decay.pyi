from typing import Any

import numpy as np

def decay(
    ticks: np.ndarray[Any, np.dtype[np.int64]], half_life: int
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.float64]]]: ...
