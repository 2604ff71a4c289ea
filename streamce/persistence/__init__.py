"""Metrics restored from bytes and files, and checkpoints.

``restore``     ``from_bytes`` and ``load``, with the table of the classes that a state can name
``checkpoint``  ``Checkpoint``: a metric with the position of its input, in a file that survives a crash

Imports ``metrics`` and ``wrappers``. docs/FORMAT.md documents the bytes.
"""
