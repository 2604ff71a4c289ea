"""The compiled core. It turns arrays into exact sums, and knows arrays and integers only.

Predictions, targets and weights come in as arrays or numbers. Integers go out: the cells of ledgers. Each subpackage
is a stage, and a batch of data meets them in the order of its path: a pipeline evaluates losses, makes samples of them
and adds these to ledgers or groups.

    kernels     C loops over arrays, one body for each instruction set
    ledger      cells of integers that add up exactly, and the state of a metric, which is a few ledgers
    samples     pairs (n, d), each the loss and the weight of one sample, and what is summed of them alone
    grouping    a table of keys, with a cell for each
    losses      arrays to losses, block by block
    pipeline    a batch from end to end, by several threads if it is large

A stage imports only from stages before it: kernels < ledger < samples < {grouping, losses} < pipeline. Of Python
modules the core imports ``errors``, ``_support`` and ``inputs``.
"""
