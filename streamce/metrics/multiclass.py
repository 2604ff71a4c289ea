"""Multiclass cross-entropy of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from streamce.errors import InputError
from streamce.keys.key_columns import bucket_of
from streamce.metrics.base import Metric
from streamce.metrics.options import EPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from streamce.stats.calibration import Calibration


class MulticlassCrossEntropy(Metric):
    """Running multiclass cross-entropy (log loss, softmax loss), in nats.

    With p_c the probability of class c, y the target (one-hot for a label), smoothed to
    ``q = y (1 - a) + a / C``, and w the class weights,

        n = weight · Σ_c w_c · q_c · (-log p_c),    d = weight · Σ_c w_c · y_c

    and the mean is Σn / Σd: torch's mean for labels.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        What ``preds`` holds; logits go through a softmax.
    label_smoothing : float
        The a above, between 0 and 1.
    ignore_index : int, optional
        Labels of this value are left out.
    class_weight : sequence of float, optional
        The w above, one per class.
    eps : float
        Floor of a probability that counts; 0 keeps the honest infinity. Logits need none.
    invalid : {"raise", "skip"}
        What to do with invalid rows: raise, or count them by cause and go on.
    axis : int
        The class axis of ``preds``; 1 for torch's (N, C, d1, ...).
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.
    divergence : bool
        Sum the entropy of soft targets as well: ``summary()`` then splits the mean into that and the
        Kullback-Leibler divergence of ``preds`` from ``target``. Takes a second pass over soft targets.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and what the worst of them carry.
    calibration : bool
        Keep what :meth:`calibration` needs: the loss that predictions expect of themselves, and how often they are
        right. Takes plain losses: no smoothing, no ``class_weight``, and labels for targets.
    per_class : bool
        Keep sums by the class of the target for :meth:`per_class`. Fixes the number of classes.

    Notes
    -----
    Conventions of the mean, weights and smoothing after ``torch.nn.functional.cross_entropy``;
    soft targets are divided by Σd here, and by the number of rows there.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.MulticlassCrossEntropy(kind="logits")
    >>> metric.update([[2.0, 0.5, 0.1], [0.0, 3.0, 0.2]], [0, 1]).compute()
    0.21083827...
    """

    _task = "multiclass"
    __slots__ = ()

    def __init__(
        self,
        *,
        kind: Literal["probs", "log_probs", "logits"] = "probs",
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
        class_weight: Sequence[float] | None = None,
        eps: float = EPS,
        invalid: Literal["raise", "skip"] = "raise",
        axis: int = -1,
        threads: int | None = None,
        divergence: bool = False,
        tail: bool = False,
        calibration: bool = False,
        per_class: bool = False,
    ) -> None:
        super().__init__(dict(locals()), per_cell=per_class)

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        """Add a chunk.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Any shape with a class axis (``axis``); the first other axis is that of the samples.
        target : array of integers or bool, or of real numbers in [0, 1]
            Labels, the shape of ``preds`` without the class axis; or soft targets of its shape.
        weight : array, optional
            One per sample (first axis) or one per row, finite and 0 or more.
        cluster : array, or tuple of arrays, optional
            Which document, user or session each sample belongs to: integers, strings or any other
            keys. Errors are then robust to samples of one cluster being alike. In all updates, or none.

        Raises
        ------
        InputError
            For input without meaning; nothing was added then.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.MulticlassCrossEntropy().update([[0.7, 0.2, 0.1]], [0], weight=[3.0]).compute()
        0.35667494...
        """
        self._pipeline.update(self._state, preds, target, weight, None if cluster is None else bucket_of(cluster))
        return self

    def calibration(self) -> Calibration:
        """How far the predictions are to be believed: z-score, reliability diagram, calibration error.

        Confidence is the probability of the predicted class, the first of the likeliest ones; frequency is how often
        that class came. Each loss is an outcome of its own here, also where ``preds`` has several axes of them. With C
        classes the split into calibration and refinement takes up to 15 C² sums, and is there up to 100 classes.

        Raises
        ------
        InputError
            If the metric was not made with ``calibration=True``, or more was taken away than had been added.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MulticlassCrossEntropy(calibration=True)
        >>> metric = metric.update([[0.7, 0.2, 0.1]] * 10, [0] * 6 + [1] * 4)
        >>> round(metric.calibration().ece, 6)
        0.1
        """
        return self._calibration()

    def per_class(self, level: float = 0.95, anytime: bool = False) -> np.ndarray[Any, np.dtype[np.object_]]:
        """The summaries of each class, an array of :class:`Summary`.

        Each loss is a sample here, also where ``preds`` has several axes of them. Ignored and invalid
        losses belong to no class, and are counted in the metric's own summary alone.

        Raises
        ------
        InputError
            If the metric was not made with ``per_class=True``.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MulticlassCrossEntropy(per_class=True)
        >>> metric = metric.update([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]], [0, 1, 0])
        >>> [round(summary.mean, 4) for summary in metric.per_class()]
        [0.3466, 1.3863]
        """
        if not self._options["per_class"]:
            raise InputError("per_class", "is False", "a metric made with per_class=True")
        return self._summaries(level, anytime)
