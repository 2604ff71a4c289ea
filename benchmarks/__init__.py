"""Speed and memory, measured against rivals in the same run. ``python -m benchmarks``."""
