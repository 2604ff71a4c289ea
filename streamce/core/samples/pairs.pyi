from typing import Any

from streamce.core.ledger.state import State
from streamce.core.samples.samples import Samples

NAMES: tuple[str, ...]

def add_pairs(a: Samples, b: Samples, bucket: Any = None) -> list[State]: ...
def left_out(a: Samples, b: Samples) -> bytearray | None: ...
def with_causes(samples: Samples, before: Samples) -> Samples: ...
