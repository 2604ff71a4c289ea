"""Benchmarks of speed, memory and accuracy against rivals, in one run: ``python -m benchmarks``.

a) ``cases`` defines the cases and creates their arrays; ``truth`` computes their losses to 50 digits.
b) ``rivals/`` has a class per library, which computes the same number as users of that library would.
c) ``worker`` is a process that runs one rival; ``turns`` starts the workers and lets one at a time work.
d) ``marks`` compares the figures with their targets; ``report`` and ``plot`` show the results.
"""
