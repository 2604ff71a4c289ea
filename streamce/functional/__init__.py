"""Losses as functions of arrays. Each function uses a metric once.

Input: the arguments of one update. Output: the mean, the sum or each of the losses, and the gradient if
it is asked for.

``loss_functions``    ``binary_cross_entropy``, ``cross_entropy``, ``multilabel_cross_entropy``, with gradients
``sklearn_log_loss``  ``log_loss``, with scikit-learn's conventions

Imports ``errors``, ``_support``, ``inputs``, ``core`` and ``metrics``.
"""
