"""Samples: pairs (n, d), each the weighted loss and the weight of one sample.

The samples of a batch come in, and sums of them go out.

    status.pxd    why a loss does not count, and anomalies of losses that count
    samples.pyx   ``Samples``: the samples of one batch, and how they are added to cells
    clusters.pyx  sums by the bucket of each sample's cluster
    ratios.pyx    ratios with words, bytes or other counts as denominators
    pairs.pyx     the samples of two models, pair by pair
    window.pyx    ``Window``: the last samples of a stream, and their sum
    decay.pyx     weights by age

This stage imports the kernels and ledgers. It knows nothing of predictions.
"""
