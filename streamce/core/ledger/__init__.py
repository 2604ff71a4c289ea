"""Cells of integers, in which sums are exact.

Terms of float64 come in, and integers go out. A cell holds counters, and sums in fixed point that never round. Ledgers
add up cell by cell, in any order, and subtraction undoes addition.

    cells.h     a page of cells in memory, whose layout widens with what is added
    ledger.pyx  ``Ledger``: an array of cells, to bytes and back
    state.pyx   ``State``: the ledgers of a metric, which add up together or not at all

This stage imports the kernels.
"""
