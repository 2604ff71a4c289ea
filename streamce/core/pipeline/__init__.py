"""The path of a batch: arrays to losses, losses to samples, samples to a state.

The arguments of an update come in. Either the whole batch is added to a state, or an error is raised and nothing is
added.

``pipeline``      ``Pipeline``: the options of a metric, and its updates
``runner``        runs a batch at once, or in parts that threads share
``accumulate``    reduces the losses of a block to samples, and adds them to ledgers
``ctc_pipeline``  ``CTC``: the same for utterances

Imports ``_support`` and ``inputs``, and the stages ``kernels``, ``ledger``, ``samples`` and ``losses``.
"""
