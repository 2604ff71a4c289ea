"""Samples: pairs (n, d), each the weighted loss and the weight of one sample.

The samples of a batch come in, and sums of them go out.

``status``    why a loss does not count, and anomalies of losses that count
``samples``   ``Samples``: the samples of one batch, and how they are added to cells
``routes``    ``Routes``: the states that samples go to
``clusters``  sums by the bucket of each sample's cluster
``ratios``    ratios with words, bytes or other counts as denominators
``pairs``     the samples of two models, pair by pair
``window``    ``Window``: the last samples of a stream, and their sum
``decay``     weights by age

A sample knows nothing of predictions. Imports ``errors`` and ``inputs``, and the stages ``kernels`` and ``ledger``.
"""
