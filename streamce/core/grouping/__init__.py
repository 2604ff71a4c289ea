"""Sums by key, with a cell for each group.

Samples come in, each with a key. A ledger with a cell for each key goes out.

    keys.h         a hash table that gives each key a slot
    key_index.pyx  ``Table``: the hash table; the bytes of keys
    groups.pyx     ``Groups``: a table, and a ledger with a cell for each slot

This stage imports the kernels, ledgers and samples.
"""
