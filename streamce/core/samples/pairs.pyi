from typing import Any

from streamce.core.ledger.state import State
from streamce.core.samples.samples import Samples

NAMES: tuple[str, ...]

def add_pairs(a: Samples, b: Samples, bucket: Any = None) -> list[State]: ...
def joint_statuses(a: Samples, b: Samples, of_losses: bool) -> bytearray | None: ...
