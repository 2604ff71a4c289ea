from typing import Any

import numpy as np

KINDS: tuple[str | None, ...]
INTEGERS: tuple[str, ...]
EARLIEST: int
LATEST: int
_Array = np.ndarray[Any, np.dtype[Any]]

def distinct(rows: _Array) -> tuple[_Array, _Array]: ...
def buckets_of_integers(integers: _Array) -> _Array: ...
def bucket_of(key: bytes, integer: bool) -> int: ...
