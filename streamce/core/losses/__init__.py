"""Losses of predictions, block by block.

Arrays of predictions, targets and weights come in. For each block, losses n, weights d, statuses and flags go out, in
scratch memory that the next block reuses.

    array_view.pyx         ``ArrayView``: the memory of an argument, from which blocks are read
    loss_spec.pyx          ``LossSpec``: the options that change a loss; ``Breakdowns``: sums beside the mean
    batch.pyx              ``Batch``: the arguments of an update as views, the layout of the losses; ``Outputs``
    workspace.pyx          ``Workspace``: the scratch memory of a block
    load_block.pyx         loads a block of a view in the form that the kernels need, and its weights
    elementwise.pyx        costs of elements: binary and multilabel
    rowwise.pyx            costs of rows: multiclass
    precomputed.pyx        losses that were computed elsewhere
    gradients.pyx          gradients of the losses that are in the cache
    calibration_terms.pyx  expected losses of the predictions that are in the cache
    integers.pyx           ``Integers``: labels and lengths of utterances
    utterances.pyx         ``Utterances``: a batch of utterances, and their CTC losses
    evaluate_block.pyx     evaluates a block with these: n = weight * factor * cost, d = weight * factor

No result depends on where a block begins. This stage imports the kernels, ledgers and
samples.
"""
