"""Losses of predictions, block by block.

Arrays of predictions, targets and weights come in. For each block, losses n, weights d, statuses and flags go out, in
scratch memory that the next block reuses.

``array_view.h``       strided arrays that are read block by block
``array_view``         ``ArrayView``: the memory of an argument as such an array
``loss_spec``          ``LossSpec``: the options that change a loss; ``Breakdowns``: sums beside the mean
``batch``              ``Batch``: the arguments of an update as views, the layout of the losses; ``Outputs``
``workspace``          ``Workspace``: the scratch memory of a block
``load_block``         loads a block of a view in the form that the kernels need, and its weights
``elementwise``        costs of elements: binary and multilabel
``rowwise``            costs of rows: multiclass
``precomputed``        losses that were computed elsewhere
``gradients``          gradients of the losses that are in the cache
``calibration_terms``  expected losses of the predictions that are in the cache
``integers``           ``Integers``: labels and lengths of utterances
``utterances``         ``Utterances``: a batch of utterances, and their CTC losses
``evaluate_block``     evaluates a block with these: n = weight * factor * cost, d = weight * factor

No result depends on where a block begins. Imports ``errors``, ``_support`` and ``inputs``, and the stages ``kernels``,
``ledger`` and ``samples``.
"""
