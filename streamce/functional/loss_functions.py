"""Defines the losses as functions of arrays, with gradients. Each function uses a metric once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from streamce.core.kernels.kernels import in_default_mode
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.inputs import arrays, messages, outputs
from streamce.metrics import BinaryCrossEntropy, MulticlassCrossEntropy, MultilabelCrossEntropy
from streamce.metrics.options import EPS, check_name, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamce.inputs.arrays import Array
    from streamce.metrics import Metric

    Kind = Literal["probs", "log_probs", "logits"]
    Reduction = Literal["none", "mean", "sum"]

REDUCTIONS = ("none", "mean", "sum")


@in_default_mode
def binary_cross_entropy(
    preds: Any,
    target: Any,
    *,
    kind: Kind = "probs",
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    class_weight: Sequence[float] | None = None,
    pos_weight: float | None = None,
    eps: float = EPS,
    reduction: Reduction = "mean",
    threads: int | None = None,
    grad: bool = False,
    out: Any = None,
) -> Any:
    """Return the binary cross-entropy (log loss) of arrays, in nats.

    With p the probability of outcome 1, y the target, w the class weights, and the target smoothed
    to ``q = y (1 - a) + a / 2``,

        n = weight · (w_1 · pos_weight · q · (-log p) + w_0 · (1 - q) · (-log(1 - p)))
        d = weight · (w_1 · y + w_0 · (1 - y))

    Parameters
    ----------
    preds : array of float64, float32, float16 or bfloat16, or a float
        Any shape. The first axis is that of the samples.
    target : array of integers or bool (0 or 1), or of real numbers in [0, 1]
        Same shape as ``preds``, where (N, 1) is (N,).
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``: p, log p, or log(p / (1 - p)).
    weight : array, optional
        One per sample (first axis) or one per entry, finite and at least 0.
    label_smoothing, ignore_index, class_weight, pos_weight, eps, threads
        As for :class:`BinaryCrossEntropy`.
    reduction : {"mean", "sum", "none"}
        Return Σn / Σd, Σn, or each n.
    grad : bool
        Return the gradient too: ``(loss, gradient)``.
    out : array, optional
        The array to write the gradient to: same shape as ``preds``, with any of its dtypes and any strides.

    Returns
    -------
    float or array of float64
        The mean or the sum, exact and rounded once. With ``reduction="none"`` the weighted losses in the shape of
        ``preds``, 0 for ignored targets. The mean of no losses is nan.
    array, with ``grad=True``
        The gradient of the reduced loss with respect to ``preds``, with the shape, dtype and layout of ``preds``, as a
        tensor if ``preds`` is one; or ``out``. With ``reduction="none"`` the gradient of each loss separately.

    Raises
    ------
    InputError
        If the input is invalid. The error names the argument and its first invalid entry. The content of ``out`` is
        undefined then.

    Notes
    -----
    With a and b the factors of -log p and of -log(1 - p) in n, the gradient of n is

        logits:  b p - a (1 - p)        probs:  b / (1 - p) - a / p        log_probs:  b p / (1 - p) - a

    divided by Σd for the mean. The gradient is 0 for terms with a floored probability, like that of a clamp, and for
    entries that are ignored or have weight 0. For an infinite logit it is the limit, with p = 0 or 1.

    The loss is that of Good (1952), *Rational decisions*. ``pos_weight`` is that of
    ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.binary_cross_entropy([0.9, 0.2, 0.6], [1, 0, 1])
    0.27977656...
    >>> ce.binary_cross_entropy([0.5, 0.25], [0, 1], reduction="none")
    array([0.69314718, 1.38629436])
    >>> ce.binary_cross_entropy([0.0, 1.0, -1.0], [1, 1, 0], kind="logits", grad=True)
    (0.43989018..., array([-0.16666667, -0.08964714,  0.08964714]))
    """
    metric = BinaryCrossEntropy(
        kind=kind,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        class_weight=class_weight,
        pos_weight=pos_weight,
        eps=eps,
        threads=threads,
    )
    return _reduce(metric, preds, target, weight, reduction, grad, out)


@in_default_mode
def cross_entropy(
    preds: Any,
    target: Any,
    *,
    kind: Kind = "probs",
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    class_weight: Sequence[float] | None = None,
    eps: float = EPS,
    axis: int = -1,
    reduction: Reduction = "mean",
    threads: int | None = None,
    grad: bool = False,
    out: Any = None,
) -> Any:
    """Return the multiclass cross-entropy (log loss, softmax loss) of arrays, in nats.

    With p_c the probability of class c, y the target (one-hot for a label), w the class weights,
    and the target smoothed to ``q = y (1 - a) + a / C``,

        n = weight · Σ_c w_c · q_c · (-log p_c)
        d = weight · Σ_c w_c · y_c

    Parameters
    ----------
    preds : array of float64, float32, float16 or bfloat16
        Any shape with a class axis (``axis``). The first other axis is that of the samples.
    target : array of integers or bool, or of real numbers in [0, 1]
        Labels, with the shape of ``preds`` without the class axis; or soft targets, with the shape of ``preds``.
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``. Logits go through a softmax.
    weight : array, optional
        One per sample (first axis) or one per row, finite and at least 0.
    label_smoothing, ignore_index, class_weight, eps, axis, threads
        As for :class:`MulticlassCrossEntropy`.
    reduction : {"mean", "sum", "none"}
        Return Σn / Σd, Σn, or each n.
    grad : bool
        Return the gradient too: ``(loss, gradient)``.
    out : array, optional
        The array to write the gradient to: same shape as ``preds``, with any of its dtypes and any strides.

    Returns
    -------
    float or array of float64
        The mean or the sum, exact and rounded once. With ``reduction="none"`` the weighted losses in the shape of
        ``preds`` without its class axis, 0 for ignored targets. The mean of no losses is nan.
    array, with ``grad=True``
        The gradient of the reduced loss with respect to ``preds``, with the shape, dtype and layout of ``preds``, as a
        tensor if ``preds`` is one; or ``out``. With ``reduction="none"`` the gradient of each loss separately.

    Raises
    ------
    InputError
        If the input is invalid. The error names the argument and its first invalid entry. The content of ``out`` is
        undefined then.

    Notes
    -----
    With ``v_c = weight · w_c · q_c``, the gradient of n with respect to class c is

        logits:  p_c · Σ v - v_c        probs:  -v_c / p_c        log_probs:  -v_c

    divided by Σd for the mean. The gradient is 0 for classes with a floored probability, like that of a clamp, for rows
    that are ignored or have weight 0, and for masked classes (logits of -inf) with v_c = 0. A single logit of +inf has
    p = 1.

    The conventions are those of ``torch.nn.functional.cross_entropy``, with one difference: for soft targets torch
    divides by the number of rows instead of Σd.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.cross_entropy([[2.0, 0.5, 0.1], [0.0, 3.0, 0.2]], [0, 1], kind="logits")
    0.21083827...
    >>> ce.cross_entropy([[0.5, 0.5], [0.75, 0.25]], [0, 1], reduction="none")
    array([0.69314718, 1.38629436])
    >>> ce.cross_entropy([[1.0, 1.0], [0.0, 2.0]], [0, 1], kind="logits", grad=True)
    (0.41003759..., array([[-0.25      ,  0.25      ],
           [ 0.05960146, -0.05960146]]))
    """
    metric = MulticlassCrossEntropy(
        kind=kind,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        class_weight=class_weight,
        eps=eps,
        axis=axis,
        threads=threads,
    )
    return _reduce(metric, preds, target, weight, reduction, grad, out)


@in_default_mode
def multilabel_cross_entropy(
    preds: Any,
    target: Any,
    *,
    kind: Kind = "probs",
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    class_weight: Sequence[float] | None = None,
    pos_weight: float | Sequence[float] | None = None,
    eps: float = EPS,
    axis: int = -1,
    reduction: Reduction = "mean",
    threads: int | None = None,
    grad: bool = False,
    out: Any = None,
) -> Any:
    """Return the multilabel cross-entropy of arrays, in nats per label.

    Each label l is a binary outcome with weight w_l. With p the probability of outcome 1, y the
    target, and the target smoothed to ``q = y (1 - a) + a / 2``, an entry has

        n = weight · w_l · (pos_weight_l · q · (-log p) + (1 - q) · (-log(1 - p)))
        d = weight · w_l

    Parameters
    ----------
    preds : array of float64, float32, float16 or bfloat16
        Any shape with a label axis (``axis``). The first other axis is that of the samples.
    target : array of integers or bool (0 or 1), or of real numbers in [0, 1]
        Same shape as ``preds``.
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``: p, log p, or log(p / (1 - p)) of each label.
    weight : array, optional
        One per sample (first axis) or one per entry, finite and at least 0.
    label_smoothing, ignore_index, class_weight, pos_weight, eps, axis, threads
        As for :class:`MultilabelCrossEntropy`.
    reduction : {"mean", "sum", "none"}
        Return Σn / Σd, Σn, or each n.
    grad : bool
        Return the gradient too: ``(loss, gradient)``.
    out : array, optional
        The array to write the gradient to: same shape as ``preds``, with any of its dtypes and any strides.

    Returns
    -------
    float or array of float64
        The mean or the sum, exact and rounded once. With ``reduction="none"`` the weighted losses in the shape of
        ``preds``, 0 for ignored targets. The mean of no losses is nan.
    array, with ``grad=True``
        The gradient of the reduced loss with respect to ``preds``, with the shape, dtype and layout of ``preds``, as a
        tensor if ``preds`` is one; or ``out``. With ``reduction="none"`` the gradient of each loss separately.

    Raises
    ------
    InputError
        If the input is invalid. The error names the argument and its first invalid entry. The content of ``out`` is
        undefined then.

    Notes
    -----
    The gradient of each label is that of :func:`binary_cross_entropy`.

    The conventions are those of ``torch.nn.functional.binary_cross_entropy_with_logits``, with one difference: in torch
    class weights are not part of the denominator.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.multilabel_cross_entropy([[0.9, 0.2], [0.1, 0.8]], [[1, 0], [-1, 1]], ignore_index=-1)
    0.18388253...
    >>> ce.multilabel_cross_entropy([[0.5, 0.75]], [[1, 0]], reduction="none")
    array([[0.69314718, 1.38629436]])
    >>> ce.multilabel_cross_entropy([[0.5, 0.75]], [[1, 0]], grad=True)[1]
    array([[-1.,  2.]])
    """
    metric = MultilabelCrossEntropy(
        kind=kind,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        class_weight=class_weight,
        pos_weight=pos_weight,
        eps=eps,
        axis=axis,
        threads=threads,
        per_label=False,
    )
    return _reduce(metric, preds, target, weight, reduction, grad, out)


def _reduce(
    metric: Metric, preds: Any, target: Any, weight: Any, reduction: str, grad: bool = False, out: Any = None
) -> Any:
    """Return the reduced loss of one batch, and with ``grad`` its gradient. ``metric`` is empty."""
    check_name(REDUCTIONS, "reduction", reduction)
    require(isinstance(grad, (bool, np.bool_)), "grad", grad, "True or False")
    require(bool(grad) or out is None, "out", out, "None without grad=True, because the gradient is written to it")
    source = preds
    preds, target, weight = (
        arrays.materialize(each, name) for each, name in ((preds, "preds"), (target, "target"), (weight, "weight"))
    )
    if not grad:
        return _loss(metric, preds, target, weight, reduction, None)
    if out is None:
        gradient = outputs.empty_like(source, preds)
        return _loss(metric, preds, target, weight, reduction, gradient), gradient
    gradient = outputs.output_array(out, [("preds", preds), ("target", target), ("weight", weight)])
    loss = _loss(metric, preds, target, weight, reduction, gradient)
    if gradient is not out:
        outputs.copy_to(gradient, out)
    return loss, out


def _loss(metric: Metric, preds: Any, target: Any, weight: Any, reduction: str, gradient: Any) -> float | Array:
    if reduction == "none":
        return _losses(metric, preds, target, weight, gradient)
    outputs = Outputs(gradient=gradient, reduction=str(reduction))  # it may be a np.str_
    metric._pipeline.update_batch(metric._state, Batch(preds, target, weight), outputs)
    return metric.compute() if reduction == "mean" else metric.summary().total


def _losses(metric: Metric, preds: Any, target: Any, weight: Any, gradient: Any = None) -> Array:
    """Return the weighted loss of each entry or row."""
    preds, shape = arrays.convert_with_shape(preds, "preds")
    losses_shape, axis = shape, -1
    if not isinstance(metric, BinaryCrossEntropy):
        is_multiclass = isinstance(metric, MulticlassCrossEntropy)
        axis = messages.check_class_axis(metric.options["axis"], shape, is_multiclass)
        # The pipeline writes the losses of a row's labels next to each other, whatever the axis.
        losses_shape = shape[:axis] + shape[axis + 1 :] + (() if is_multiclass else (shape[axis],))
    out = np.empty(losses_shape)
    outputs = Outputs(losses=out.reshape(-1), gradient=gradient)
    metric._pipeline.update_batch(State(), Batch(preds, target, weight), outputs)
    return np.moveaxis(out, -1, axis) if isinstance(metric, MultilabelCrossEntropy) else out
