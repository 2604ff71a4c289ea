"""Tools that every layer uses and that know nothing of losses.

``rational``       integers in units of 2^-1074, and quotients and square roots that are rounded once
``scalars``        numbers of Python, NumPy or other libraries as Python's own types
``short_repr``     values and errors of users and other libraries as short text for a message
``printable``      escapes of control characters, because names and messages come from outside
``file_identity``  local files that are named twice
``atomic_file``    files that are written completely or not at all
``state_format``   the envelope of states: magic, header, parts, digest (docs/FORMAT.md)
``threads``        the pool of threads, and the number of threads
``html_repr``      the socket into which ``streamce/__init__.py`` plugs the report

Imports ``errors``.
"""
