"""Losses of predictions, block by block.

Arrays of predictions, targets and weights come in. For each block, costs n, weights d, statuses and flags go out, in
scratch memory that is used again for the next block.

    array_view.pyx         ``ArrayView``: the memory of an argument, from which blocks are read
    loss_spec.pyx          ``LossSpec``: the options that change a loss; ``Breakdowns``: what is kept beside the mean
    batch.pyx              ``Batch``: the arguments of an update as views, their layout and factors; ``Outputs``
    workspace.pyx          ``Workspace``: the scratch memory of a block
    load_block.pyx         a block of a view as the kernels need it, and its weights
    elementwise.pyx        costs of elements: binary and multilabel
    rowwise.pyx            costs of rows: multiclass
    precomputed.pyx        losses that were computed before, instead of costs
    gradients.pyx          gradients, while a few losses are in the cache
    calibration_terms.pyx  what predictions expect of a loss, while a few losses are in the cache
    utterances.pyx         ``Utterances``: a batch of them, and their losses: CTC
    evaluate_block.pyx     leads a block through these: n = weight * factor * cost, d = weight * factor

Nothing here depends on where a block begins, so neither does any result. This stage imports the kernels, ledgers and
samples.
"""
