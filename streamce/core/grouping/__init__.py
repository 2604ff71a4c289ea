"""Sums by key: a cell for each group.

Samples and a key for each come in. A ledger with a cell for each key goes out.

    keys.h         a hash table of keys, which gives each a slot
    key_index.pyx  ``Table``: the hash table, and keys as bytes
    groups.pyx     ``Groups``: a table, and the ledger whose cells its slots number

This stage imports the kernels, ledgers and samples.
"""
