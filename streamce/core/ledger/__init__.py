"""Cells of integers, in which sums are exact.

Terms of float64 come in, and integers go out. A cell holds counters, and sums in fixed point that never round. Ledgers
are added cell by cell, in any order, and subtraction undoes addition.

``cells.h``  a page of cells in memory, whose layout widens when a term needs it
``ledger``   ``Ledger``: an array of cells, and its bytes
``calibration_cells``  numbers of the cells of a calibration, and sums on their way to them
``digits``   the integers of cells as digits of fixed number
``results.h``, ``results``  means, sums and standard errors of many cells at once
``state``    ``State``: the ledgers of a metric; an addition changes all of them or none

Imports ``errors``, and the stage ``kernels``.
"""
