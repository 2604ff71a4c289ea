from typing import Self

CONFIDENCE_BINS: int
HITS: int
EXPECTED: int
EXCESS: int
VARIANCE: int
SPLIT: int
SPLIT_CLASSES: int

class ClassShares:
    def __new__(cls, lanes: int) -> Self: ...
