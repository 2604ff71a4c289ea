"""Losses as functions of arrays: each is a metric that is used once.

``loss_functions``    ``binary_cross_entropy``, ``cross_entropy``, ``multilabel_cross_entropy``, with gradients
``sklearn_log_loss``  ``log_loss``, with scikit-learn's conventions

Imports ``metrics``.
"""
