"""What wraps any metric."""

from streamce.streams.collection import Collection
from streamce.streams.decayed import Decayed
from streamce.streams.grouped import Estimate, Grouped
from streamce.streams.paired import Paired, PairedSummary
from streamce.streams.sliding import Sliding

__all__ = ["Collection", "Decayed", "Estimate", "Grouped", "Paired", "PairedSummary", "Sliding"]
