"""The path of a batch: arrays to losses, losses to samples, samples to a state.

The arguments of an update come in. All of the batch is added to a state, or an error is raised and nothing is added.

    pipeline.pyx      ``Pipeline``: the options of a metric, and its updates; what is summed once all losses are known
    runner.pyx        the run of a batch, at once or in parts that threads share
    accumulate.pyx    the losses of a block to samples, and these to ledgers
    ctc_pipeline.pyx  ``CTC``: the same for utterances, each of which is one loss of many frames

This stage imports all others but ``grouping``.
"""
