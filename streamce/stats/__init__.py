"""From exact sums to what people read: means, intervals, calibration, tails.

In come the integers of a ledger. Out go numbers of which each is rounded once.

``intervals``    quantiles, confidence sequences, the jackknife over clusters
``summary``      ``Summary``: value, interval, bits, perplexity and counts of invalid input
``calibration``  ``Calibration``: whether predictions come true as often as they say
``tail``         ``Tail``: quantiles of the losses, and the share of the worst

Imports ``_support`` and ``core``.
"""
