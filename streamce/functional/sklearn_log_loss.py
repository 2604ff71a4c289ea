"""scikit-learn's log_loss with its conventions, errors and warnings, on our kernels and exact sums.

The probability of each true class is picked out of ``y_proba``, and goes through the binary path
as that of an outcome that occurred. Nothing else is as large as ``y_proba``.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.core.losses.loss_spec import LossSpec
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
    """Log loss of labels and probabilities: a drop-in for ``sklearn.metrics.log_loss``.

    The loss of a row is that of its true class, ``-log(min(max(p, eps), 1 - eps))`` with eps the
    machine epsilon of the dtype, and the mean is Σ sample_weight · loss / Σ sample_weight.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels: whole numbers, bools or strings. Or an indicator matrix of shape (n_samples,
        n_classes) of 0 and 1; the losses of all the classes that a row marks add up.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities in [0, 1]; a single column is that of the greater of two labels. float64,
        float32 and float16 are taken as they are, other real dtypes as float64.
    normalize : bool
        The mean over the samples, or with False the sum.
    sample_weight : array-like of shape (n_samples,), optional
        Finite, and not 0 throughout. scikit-learn allows negative ones, and so does this.
    labels : array-like of shape (n_classes,), optional
        All the labels there are, sorted as the columns have to be; by default those in ``y_true``.

    Returns
    -------
    float
        The loss in nats, of sums that are exact.

    Raises
    ------
    InputError
        For input without meaning; in scikit-learn's words where its tests know them.

    Warns
    -----
    UserWarning
        If rows do not add up to 1, to the root of eps; if ``labels`` are not sorted.

    Notes
    -----
    The conventions are those of scikit-learn 1.9, without its deprecated ``y_pred``. A metric or
    :func:`cross_entropy` floors at the same eps whatever the dtype, and takes chunks that lack a
    class.

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
    given = None if labels is None else _labels(labels, "labels")
    _check_lengths(proba, truth, weight)  # after all that may run the caller's code, which may change an array
    classes, rows, true = _marked(truth) if truth.ndim == 2 and given is None else _found(truth, given, labels)
    _check_classes(classes, 2 if proba.ndim == 1 else proba.shape[1], labels)

    eps = float(np.finfo(proba.dtype).eps)
    if proba.ndim == 2 and not np.isclose(proba.sum(axis=1), 1, rtol=math.sqrt(eps)).all():
        message = "The y_prob values do not sum to one. Make sure to pass probabilities."
        warnings.warn(message, UserWarning, stacklevel=2)
    picked = proba[rows, true] if proba.ndim == 2 else np.where(true == 1, proba[rows], 1 - proba[rows])
    losses = np.empty(len(picked))
    clipped = Pipeline(LossSpec("binary", floor=eps, ceiling=1 - eps))
    clipped.update_batch(State(), Batch(picked, np.ones(len(picked), dtype=bool)), Outputs(losses=losses))

    total = _sum(losses if weight is None else losses * weight[rows])
    if not normalize:
        return total
    whole = len(proba) if weight is None else _sum(weight)
    require(whole != 0, "sample_weight", sample_weight, "weights that do not add up to 0")
    return total / whole


def _sum(values: Array) -> float:
    """The exact sum, rounded once."""
    return MeanLoss().update(values).summary().total


# ---- arguments as arrays ----


def _probabilities(source: Any) -> Array:
    """A float for each class of a sample, or one for the greater of two."""
    found, halves = arrays.array(source, "y_proba")
    if halves or found.dtype.kind != "f":
        found = arrays.widened(found, halves).astype(np.float64)
    if found.ndim not in (1, 2) or found.size == 0:
        expected = "shape (n_samples, n_classes) or (n_samples,), and one sample or more"
        raise InputError("y_proba", f"has shape {found.shape}", expected, value=found.shape)
    least, greatest = found.min(), found.max()
    if not (least >= 0 and greatest <= 1):
        raise _no_probability(found, least, greatest)
    return found[:, 0] if found.shape[1:] == (1,) else found


def _no_probability(found: Array, least: Any, greatest: Any) -> InputError:
    wrong = np.isnan(found)
    what = "y_proba contains NaN"
    if not wrong.any():
        bound = greatest if greatest > 1 else least
        wrong = found == bound
        what = f"y_prob contains values {'greater than 1' if greatest > 1 else 'lower than 0'}: {bound}"
        if np.isinf(bound):
            what = "y_proba contains infinity"
    index = arrays.first(wrong)
    return InputError(
        "y_proba",
        f"{what} ({qualified_name('y_proba', index)})",
        "a probability in [0, 1]",
        index=index,
        value=found[index].item(),
        location="",
    )


def _labels(source: Any, name: str) -> Array:
    """Labels, or a matrix of two columns or more, as whole numbers, bools or strings."""
    expected = "whole numbers, bools or strings"
    try:
        found = np.asarray(interop.checked(source))
        if found.dtype.kind in "OT" and len({isinstance(value, str) for value in found.flat}) == 1:
            found = np.array(found.tolist())  # objects that are all strings, or all numbers, are as good as those
    except Exception as error:  # whatever a stranger's __array__ raises
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


def _marked(truth: Array) -> tuple[Array, Array, Array]:
    """The classes of an indicator matrix; the samples and the columns that it marks."""
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


def _found(truth: Array, given: Array | None, labels: Any) -> tuple[Array, Array, Array]:
    """The classes; all samples and the column of each one's label. ``given`` was read of ``labels``."""
    rows = np.arange(len(truth))
    if given is None:
        classes, true = np.unique(truth, return_inverse=True)
        return classes, rows, true
    if truth.ndim == 2 or given.ndim == 2 or not len(given):
        name, shape = ("y_true", truth.shape) if truth.ndim == 2 else ("labels", given.shape)
        raise InputError(name, f"has shape {shape}", "one label each, where labels are given", value=shape)
    classes = np.unique(given)
    if len(classes) not in (1, len(given)):
        raise InputError("labels", f"is {short_repr(labels)}", "each label once", value=labels)
    if not (classes == given).all():
        message = (
            f"Labels passed were {labels}. But this function assumes labels are ordered lexicographically. "
            f"Pass the ordered labels={classes.tolist()} and ensure that the columns of y_prob correspond to "
            "this ordering."
        )
        warnings.warn(message, UserWarning, stacklevel=3)
    comparable = (truth.dtype.kind == "U") == (classes.dtype.kind == "U")
    true = np.minimum(np.searchsorted(classes, truth), len(classes) - 1) if comparable else rows
    if not comparable or not (classes[true] == truth).all():
        undeclared = set(truth.tolist()) - set(given.tolist())
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
