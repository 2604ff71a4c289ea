"""Statistics from exact sums: means, intervals, calibration, tails.

Input: the integers of a ledger. Output: numbers, each rounded once.

``intervals``     quantiles, confidence sequences, the jackknife over clusters
``estimators``    means, standard errors, p-values and proportions of the integers of a cell
``discoveries``   which of many differences are discoveries, at a false discovery rate
``scalar_table``  the names of the numbers that trackers of experiments take
``summary``       ``Summary``: value, interval, bits, perplexity and counts of invalid input
``cell_arrays``   summaries of many cells at once, as arrays
``calibration``   ``Calibration``: how well predicted probabilities agree with observed frequencies
``tail``          ``Tail``: quantiles of the losses, and the share of the worst

Imports ``errors``, ``_support`` and ``core``.
"""
