"""The compiled core. It turns arrays into exact sums, and knows arrays and integers only.

Predictions, targets and weights come in as arrays or numbers. Integers go out: the cells of ledgers. Each folder is a
stage. A pipeline leads a batch through the stages: it evaluates losses, reduces them to samples, and adds the samples
to ledgers or groups.

``kernels``       C loops over arrays, one body for each instruction set
``ledger``        exact sums in cells of integers, and the state of a metric, which is a few ledgers
``samples``       pairs (n, d), the weighted loss and the weight of a sample, and sums that need only these
``grouping``      a table of keys, with a cell for each key
``losses``        the losses of arrays, block by block
``pipeline``      the update of a state with a batch, with several threads if it is large
``default_mode``  the floating-point mode of the public methods of Python classes

A stage imports only from stages before it: kernels < ledger < samples < {grouping, losses} < pipeline. Imports
``errors``, ``_support`` and ``inputs``.
"""
