"""Metrics restored from bytes and files, and checkpoints.

Input: bytes or files of states (docs/FORMAT.md). Output: metrics and wrappers, with the options that were saved.

``restore``     ``from_bytes`` and ``load``, with the table of the classes that a state can name
``checkpoint``  ``Checkpoint``: a metric with the position of its input, in a file that survives a crash

Imports ``errors``, ``_support``, ``core``, ``metrics`` and ``wrappers``.
"""
