"""Tools that every layer uses and that know nothing of losses.

``rational``      quotients and square roots of integers, rounded once
``scalars``       numbers of Python, NumPy or other libraries as Python's own types
``short_repr``    values and errors of others as short text for a message
``printable``     control characters escaped, because names and messages come from outside
``atomic_file``   files that are written whole or not at all
``state_format``  the envelope of states: magic, header, payload, digest (docs/FORMAT.md)
``threads``       the pool of threads, and how many there are
``html_repr``     the socket into which ``streamce/__init__.py`` plugs the report

Imports ``errors`` alone.
"""
