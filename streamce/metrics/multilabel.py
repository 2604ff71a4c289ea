"""Multilabel cross-entropy of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from streamce.errors import InputError
from streamce.keys.key_columns import bucket_of
from streamce.metrics.base import Metric
from streamce.metrics.options import EPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


class MultilabelCrossEntropy(Metric):
    """Running multilabel cross-entropy, in nats per label.

    Each label is a binary outcome. A row adds, over the labels l that were observed in it,

        n = weight · Σ_l w_l · loss_l,    d = weight · Σ_l w_l

    with w the class weights, and the mean is Σn / Σd.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        What ``preds`` holds: p, log p, or log(p / (1 - p)) of each label.
    label_smoothing : float
        Targets become ``y (1 - a) + a / 2``.
    ignore_index : int, optional
        Targets of this value are missing labels, left out one by one.
    class_weight : sequence of float, optional
        The w above, one per label.
    pos_weight : float or sequence of float, optional
        Multiplies the loss of outcome 1, and is no part of the denominator, as in torch.
    eps : float
        Floor of the probability of the true outcome; 0 keeps the honest infinity. Logits need none.
    invalid : {"raise", "skip"}
        What to do with invalid entries: raise, or count them by cause and go on.
    axis : int
        The label axis of ``preds``.
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.
    divergence : bool
        Sum the entropy of soft targets as well: ``summary()`` then splits the mean into that and the
        Kullback-Leibler divergence of ``preds`` from ``target``. Takes a second pass over soft targets.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and what the worst of them carry.
    per_label : bool
        Keep sums by label for :meth:`per_label`. Fixes the number of labels.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.MultilabelCrossEntropy(ignore_index=-1)
    >>> metric.update([[0.9, 0.2, 0.6], [0.1, 0.8, 0.5]], [[1, 0, -1], [0, 1, 1]]).compute()
    0.27003106...
    """

    _task = "multilabel"
    __slots__ = ()

    def __init__(
        self,
        *,
        kind: Literal["probs", "log_probs", "logits"] = "probs",
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
        class_weight: Sequence[float] | None = None,
        pos_weight: float | Sequence[float] | None = None,
        eps: float = EPS,
        invalid: Literal["raise", "skip"] = "raise",
        axis: int = -1,
        threads: int | None = None,
        divergence: bool = False,
        tail: bool = False,
        per_label: bool = True,
    ) -> None:
        super().__init__(dict(locals()), per_cell=per_label)

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        """Add a chunk.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Any shape with a label axis (``axis``); the first other axis is that of the samples.
        target : array of integers or bool (0 or 1), or of real numbers in [0, 1]
            The shape of ``preds``.
        weight : array, optional
            One per sample (first axis) or one per entry, finite and 0 or more.
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
        >>> ce.MultilabelCrossEntropy().update([[0.5, 0.5]], [[1, 0]]).compute()
        0.69314718...
        """
        self._pipeline.update(self._state, preds, target, weight, None if cluster is None else bucket_of(cluster))
        return self

    def per_label(self, level: float = 0.95, anytime: bool = False) -> np.ndarray[Any, np.dtype[np.object_]]:
        """The summary of each label, an array of :class:`Summary`.

        Each loss is a sample here. What was ignored or invalid is counted with its label.

        Raises
        ------
        InputError
            If the metric was made with ``per_label=False``.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MultilabelCrossEntropy().update([[0.5, 0.25], [0.5, 0.25]], [[1, 0], [1, 1]])
        >>> [round(summary.mean, 4) for summary in metric.per_label()]
        [0.6931, 0.837]
        """
        if not self._options["per_label"]:
            raise InputError("per_label", "is False", "a metric made with per_label=True")
        return self._summaries(level, anytime)
