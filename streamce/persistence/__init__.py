"""Metrics restored from bytes and files, and checkpoints.

Input: bytes or files of states (docs/FORMAT.md). Output: metrics and wrappers, with the options that were saved.

``restore``     ``from_bytes`` and ``load``, with the table of the classes that a state can name
``sql_tables``  ``from_sql_rows``: metrics of rows that a database has added
``checkpoint``  ``Checkpoint``: a metric with the position of its input, in a file that survives a crash
``state_diff``  ``diff_states``: whether two states are equal, and in what they differ

Imports ``errors``, ``_support``, ``inputs``, ``core``, ``keys``, ``metrics``, ``stats`` and ``wrappers``.
"""
