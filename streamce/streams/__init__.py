"""What wraps any metric."""

from streamce.streams.grouped import Estimate, Grouped

__all__ = ["Estimate", "Grouped"]
