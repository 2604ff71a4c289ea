from typing import Any

import numpy as np

from streamce.core.samples.samples import Samples

_Ticks = np.ndarray[Any, np.dtype[np.int64]]

def decay(samples: Samples, ticks: _Ticks, half_life: int) -> _Ticks: ...
