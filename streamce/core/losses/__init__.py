"""Losses of predictions, block by block.

Arrays of predictions, targets and weights come in. For each block, costs n, weights d, statuses and flags go out, in
scratch memory that is used again for the next block. A *loss* is one cost: an entry of a binary or multilabel array (an
element), or a row of a multiclass array.

    array_view.pyx         ``Array``: the memory of an argument, as a view that blocks are read from
    workspace.pyx          ``Blocks``: the views and factors of a batch, and the scratch memory of a block
    load_block.pyx         a block of a view as the kernels need it, and its weights
    elementwise.pyx        costs of elements: binary and multilabel
    rowwise.pyx            costs of rows: multiclass
    gradients.pyx          gradients, while a few losses are in the cache
    calibration_terms.pyx  what predictions expect of a loss, while a few are in the cache
    precomputed.pyx        losses that were computed before, instead of costs
    evaluate_block.pyx     leads a block through these

Nothing here depends on where a block begins, so neither does any result. This stage imports the kernels, ledgers and
samples.
"""
