"""Sums by key, with a cell for each group.

Samples come in, each with a key. A ledger with a cell for each key goes out.

``keys.h``     a hash table that gives each key a slot
``key_index``  ``Table``: the hash table; the bytes of keys
``groups``     ``Groups``: a table, and a ledger with a cell for each slot

Imports ``errors``, and the stages ``kernels``, ``ledger`` and ``samples``.
"""
