from typing import Any

from streamce.core.ledger.ledger import Ledger

DIGITS: int
COLUMN_OF_DIGIT: tuple[int, ...]
PLACE_OF_DIGIT: tuple[int, ...]

def write(ledger: Ledger, numbers: Any, out: Any) -> None: ...
def read(ledger: Ledger, numbers: Any, sums: Any) -> None: ...
