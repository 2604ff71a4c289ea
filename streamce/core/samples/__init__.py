"""Samples: pairs (n, d), each the weighted loss and the weight of one sample.

The samples of a batch come in, and sums of them go out.

    samples.pyx  ``Samples``: those of one batch, one by one, and how they are added to cells
    pairs.pyx    the samples of two models, pair by pair
    window.pyx   ``Window``: the last samples of a stream and their sum
    decay.pyx    weights by age

This stage imports the kernels and ledgers. It knows nothing of predictions.
"""
