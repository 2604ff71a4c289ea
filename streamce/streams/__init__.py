"""What wraps any metric."""

from streamce.streams.grouped import Estimate, Grouped
from streamce.streams.paired import Paired, PairedSummary

__all__ = ["Estimate", "Grouped", "Paired", "PairedSummary"]
