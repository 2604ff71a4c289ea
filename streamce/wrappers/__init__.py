"""What wraps any metric."""

from streamce.wrappers.collection import Collection
from streamce.wrappers.decayed import Decayed
from streamce.wrappers.grouped import Estimate, Grouped
from streamce.wrappers.paired import Paired, PairedSummary
from streamce.wrappers.sliding import Sliding

__all__ = ["Collection", "Decayed", "Estimate", "Grouped", "Paired", "PairedSummary", "Sliding"]
