"""Speed, memory and accuracy against rivals, all in one run. ``python -m benchmarks``.

a) ``cases`` says what is measured and makes the arrays; ``truth`` knows their losses to 50 digits.
b) ``rivals/`` has a class per library: how its users would compute the same number.
c) ``worker`` is a process with one rival in it; ``turns`` leads the workers, one at a time.
d) ``marks`` says which figures were wanted; ``report`` and ``plot`` show what was found.
"""
