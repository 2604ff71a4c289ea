"""Defines ``log_loss`` with the conventions, errors and warnings of scikit-learn, on our kernels and exact sums.

It selects the probability of each true class from ``y_proba`` and computes the binary loss of an outcome 1 with this
probability. No other array is as large as ``y_proba``.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.core.ledger.state import State
from streamce.core.pipeline.pipeline import Pipeline
from streamce.errors import InputError, qualified_name
from streamce.inputs import arrays, interop
from streamce.metrics import MeanLoss
from streamce.metrics.options import require

if TYPE_CHECKING:
    from streamce.inputs.arrays import Array


@in_default_mode
def log_loss(
    y_true: Any, y_proba: Any, *, normalize: bool = True, sample_weight: Any = None, labels: Any = None
) -> float:
    """Return the log loss of labels and probabilities, as a replacement for ``sklearn.metrics.log_loss``.

    With p the probability of the true class and eps the machine epsilon of the dtype, the loss of a row is
    ``-log(min(max(p, eps), 1 - eps))``. The mean is Σ sample_weight · loss / Σ sample_weight.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels: whole numbers, bools or strings. Or an indicator matrix of 0 and 1 with shape (n_samples, n_classes),
        where the loss of a row is the sum over its marked classes.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities in [0, 1]. A single column is that of the greater of two labels. float64, float32 and float16 are
        used directly. Other real dtypes are converted to float64.
    normalize : bool
        Return the mean over the samples, or the sum if False.
    sample_weight : array-like of shape (n_samples,), optional
        Finite, and not all 0. Negative weights are allowed, as in scikit-learn.
    labels : array-like of shape (n_classes,), optional
        All labels, sorted in the order of the columns. The default is the labels in ``y_true``.

    Returns
    -------
    float
        The loss in nats, computed from exact sums.

    Raises
    ------
    InputError
        If the input is invalid. The text is that of scikit-learn if its tests check it.

    Warns
    -----
    UserWarning
        If a row does not sum to 1 within the square root of eps, or if ``labels`` are not sorted.

    Notes
    -----
    The conventions are those of scikit-learn 1.9, without its deprecated ``y_pred``. Metrics and :func:`cross_entropy`
    differ: their floor eps is the same for all dtypes, and batches need not contain every class.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.log_loss(["spam", "ham", "ham", "spam"], [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]])
    0.21616187...
    """
    require(isinstance(normalize, (bool, np.bool_)), "normalize", normalize, "True or False")
    proba = _probabilities(y_proba)
    truth = _labels(y_true, "y_true")
    weight = None if sample_weight is None else _weights(sample_weight)
    declared = None if labels is None else _labels(labels, "labels")
    _check_lengths(proba, truth, weight)  # last, because conversions run the caller's code, which may resize an array
    is_indicator = truth.ndim == 2 and declared is None
    classes, rows, true = _indicated_classes(truth) if is_indicator else _label_classes(truth, declared, labels)
    _check_classes(classes, 2 if proba.ndim == 1 else proba.shape[1], labels)

    eps = float(np.finfo(proba.dtype).eps)
    if proba.ndim == 2 and not np.isclose(proba.sum(axis=1), 1, rtol=math.sqrt(eps)).all():
        message = "The y_prob values do not sum to one. Make sure to pass probabilities."
        warnings.warn(message, UserWarning, stacklevel=2)
    selected = proba[rows, true] if proba.ndim == 2 else np.where(true == 1, proba[rows], 1 - proba[rows])
    losses = np.empty(len(selected))
    clipped = Pipeline("binary", floor=eps, ceiling=1 - eps)
    clipped.update(State(), selected, np.ones(len(selected), dtype=bool), out=losses)

    total = _sum(losses if weight is None else losses * weight[rows])
    if not normalize:
        return total
    total_weight = len(proba) if weight is None else _sum(weight)
    require(total_weight != 0, "sample_weight", sample_weight, "weights that do not sum to 0")
    return total / total_weight


def _sum(values: Array) -> float:
    """Return the exact sum, rounded once."""
    return MeanLoss().update(values).summary().total


# ---- arguments as arrays ----


def _probabilities(source: Any) -> Array:
    """Return a float for each class of each sample, or one float per sample for the greater of two labels."""
    found, halves = arrays.array(source, "y_proba")
    if halves or found.dtype.kind != "f":
        found = arrays.widened(found, halves).astype(np.float64)
    if found.ndim not in (1, 2) or found.size == 0:
        expected = "shape (n_samples, n_classes) or (n_samples,), with at least one sample"
        raise InputError("y_proba", f"has shape {found.shape}", expected, value=found.shape)
    low, high = found.min(), found.max()
    if not (low >= 0 and high <= 1):
        raise _probability_error(found, low, high)
    return found[:, 0] if found.shape[1:] == (1,) else found


def _probability_error(found: Array, low: Any, high: Any) -> InputError:
    wrong = np.isnan(found)
    message = "y_proba contains NaN"
    if not wrong.any():
        extreme = high if high > 1 else low
        wrong = found == extreme
        message = f"y_prob contains values {'greater than 1' if high > 1 else 'lower than 0'}: {extreme}"
        if np.isinf(extreme):
            message = "y_proba contains infinity"
    index = arrays.first(wrong)
    return InputError(
        "y_proba",
        f"{message} ({qualified_name('y_proba', index)})",
        "a probability in [0, 1]",
        index=index,
        value=found[index].item(),
        location="",
    )


def _labels(source: Any, name: str) -> Array:
    """Return labels, or a matrix of at least two columns, as whole numbers, bools or strings."""
    expected = "whole numbers, bools or strings"
    try:
        found = np.asarray(interop.checked(source))
        if found.dtype.kind in "OT" and len({isinstance(value, str) for value in found.flat}) == 1:
            found = np.array(found.tolist())  # converts objects that are all strings, or all numbers
    except Exception as error:  # any exception of a third-party __array__
        raise InputError(name, f"is {short_repr(source)}", expected) from error
    if found.dtype.kind not in "biufU":
        raise InputError(name, f"has dtype {found.dtype}", expected)
    if found.ndim not in (1, 2):
        raise InputError(name, f"has shape {found.shape}", "one label per sample", value=found.shape)
    if found.dtype.kind == "f" and not (found == np.floor(found)).all():
        index = arrays.first(found != np.floor(found))
        value = found[index].item()
        raise InputError(name, f"is {value!r}", "a whole number as label", index=index, value=value)
    return found[:, 0] if found.shape[1:] == (1,) else found


def _weights(source: Any) -> Array:
    found: Array = arrays.widened(*arrays.array(source, "sample_weight")).astype(np.float64, copy=False)
    if found.ndim != 1:
        raise InputError("sample_weight", f"has shape {found.shape}", "one number per sample", value=found.shape)
    if not np.isfinite(found).all():
        index = arrays.first(~np.isfinite(found))
        value = found[index].item()
        raise InputError("sample_weight", f"is {value!r}", "a finite number", index=index, value=value)
    if not found.any():
        message = "Sample weights must contain at least one non-zero number."
        raise InputError("sample_weight", message, "a number that is not 0", location="")
    return found


def _check_lengths(proba: Array, truth: Array, weight: Array | None) -> None:
    lengths = [len(found) for found in (proba, truth, weight) if found is not None]
    for name, length in zip(("y_true", "sample_weight"), lengths[1:], strict=False):
        if length != lengths[0]:
            message = f"Found input variables with inconsistent numbers of samples: {lengths}"
            raise InputError(name, message, f"{lengths[0]} samples", value=length, location="")


# ---- classes ----


def _indicated_classes(truth: Array) -> tuple[Array, Array, Array]:
    """Return the classes of an indicator matrix, and the rows and columns of its entries that are 1."""
    other = (truth != 0) & (truth != 1) if truth.dtype.kind != "U" else np.ones(truth.shape, dtype=bool)
    if other.any():
        index = arrays.first(other)
        raise InputError(
            "y_true",
            f"is {short_repr(truth[index])}",
            "0 or 1 in an indicator matrix",
            index=index,
            value=truth[index].item(),
        )
    rows, true = np.nonzero(truth)
    return np.arange(truth.shape[1]), rows, true


def _label_classes(truth: Array, declared: Array | None, labels: Any) -> tuple[Array, Array, Array]:
    """Return the classes, all rows, and the column of each row's label. ``declared`` is the array of ``labels``."""
    rows = np.arange(len(truth))
    if declared is None:
        classes, true = np.unique(truth, return_inverse=True)
        return classes, rows, true
    if truth.ndim == 2 or declared.ndim == 2 or not len(declared):
        name, shape = ("y_true", truth.shape) if truth.ndim == 2 else ("labels", declared.shape)
        raise InputError(name, f"has shape {shape}", "one axis, because labels are given", value=shape)
    classes = np.unique(declared)
    if len(classes) not in (1, len(declared)):
        raise InputError("labels", f"is {short_repr(labels)}", "each label once", value=labels)
    if not (classes == declared).all():
        message = (
            f"Labels passed were {labels}. But this function assumes labels are ordered lexicographically. "
            f"Pass the ordered labels={classes.tolist()} and ensure that the columns of y_prob correspond to "
            "this ordering."
        )
        warnings.warn(message, UserWarning, stacklevel=3)
    comparable = (truth.dtype.kind == "U") == (classes.dtype.kind == "U")
    true = np.minimum(np.searchsorted(classes, truth), len(classes) - 1) if comparable else rows
    if not comparable or not (classes[true] == truth).all():
        undeclared = set(truth.tolist()) - set(declared.tolist())
        message = f"y_true contains values {undeclared} not belonging to the passed labels {labels}."
        raise InputError("y_true", message, f"one of {labels}", value=undeclared, location="")
    return classes, rows, true


def _check_classes(classes: Array, columns: int, labels: Any) -> None:
    if labels is None and len(classes) == 1:
        message = (
            f"y_true contains only one label ({classes[0]}). Please provide the list of all expected class labels "
            "explicitly through the labels argument."
        )
    elif len(classes) == 1:
        message = f"The labels array needs to contain at least two labels, got {classes}."
    elif len(classes) == columns:
        return
    elif labels is None:
        message = (
            f"y_true and y_prob contain different number of classes: {len(classes)} vs {columns}. Please provide the "
            f"true labels explicitly through the labels argument. Classes found in y_true: {classes}"
        )
    else:
        message = (
            f"The number of classes in labels is different from that in y_prob. Classes found in labels: {classes}"
        )
    raise InputError("y_true" if labels is None else "labels", message, value=len(classes), location="")
