"""The path of a batch: arrays to losses, losses to samples, samples to a state.

The arguments of an update come in. Either the whole batch is added to a state, or an error is raised and nothing is
added.

    pipeline.pyx      ``Pipeline``: the options of a metric, and its updates
    runner.pyx        runs a batch at once, or in parts that threads share
    accumulate.pyx    reduces the losses of a block to samples, and adds them to ledgers
    ctc_pipeline.pyx  ``CTC``: the same for utterances

This stage imports all others except ``grouping``.
"""
