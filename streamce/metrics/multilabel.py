"""Defines the multilabel cross-entropy of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from streamce.errors import InputError
from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics.base import Metric
from streamce.metrics.options import EPS, flag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from streamce.metrics.options import Check


class MultilabelCrossEntropy(Metric):
    """Running multilabel cross-entropy, in nats per label.

    Each label is a binary outcome. With l the labels that are observed in a row, and w the class weights, a row adds

        n = weight · Σ_l w_l · loss_l,    d = weight · Σ_l w_l

    and the mean is Σn / Σd.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``: p, log p, or log(p / (1 - p)) of each label.
    label_smoothing : float
        The number a, between 0 and 1. Targets become ``y (1 - a) + a / 2``.
    ignore_index : int, optional
        Targets with this value are missing labels. Each is ignored separately.
    class_weight : sequence of float, optional
        The weights w, one per label.
    pos_weight : float or sequence of float, optional
        A factor of the loss of outcome 1. It is not part of the denominator, as in torch.
    eps : float
        The floor of the probability of the true outcome. 0 keeps infinite losses. Logits need no floor.
    invalid : {"raise", "skip"}
        Raise an error for invalid entries, or count them by cause and continue.
    axis : int
        The label axis of ``preds``.
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.
    divergence : bool
        Also sum the entropy of soft targets. ``summary()`` then splits the mean into this entropy and the
        Kullback-Leibler divergence of ``preds`` from ``target``. It takes a second pass over soft targets.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and the share that the worst losses carry.
    per_label : bool
        Keep sums by label for :meth:`per_label`. All batches must then have the same labels.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.MultilabelCrossEntropy(ignore_index=-1)
    >>> metric.update([[0.9, 0.2, 0.6], [0.1, 0.8, 0.5]], [[1, 0, -1], [0, 1, 1]]).compute()
    0.27003106...
    """

    _task = "multilabel"
    _own_checks: ClassVar[Mapping[str, Check]] = {"per_label": flag}
    _title = "Multilabel cross-entropy"
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
        """Add a batch.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Any shape with a label axis (``axis``). The first other axis is that of the samples.
        target : array of integers or bool (0 or 1), or of real numbers in [0, 1]
            Same shape as ``preds``.
        weight : array, optional
            One per sample (first axis) or one per entry, finite and at least 0.
        cluster : array, or tuple of arrays, optional
            The document, user or session of each sample: integers, strings or any other keys. Standard errors are then
            robust to correlated samples of one cluster. Give it in all updates or in none.

        Raises
        ------
        InputError
            If the input is invalid. Nothing is added then.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.MultilabelCrossEntropy().update([[0.5, 0.5]], [[1, 0]]).compute()
        0.69314718...
        """
        self._pipeline.update(self._state, preds, target, weight, None if cluster is None else hash_clusters(cluster))
        return self

    def per_label(self, level: float = 0.95, anytime: bool = False) -> np.ndarray[Any, np.dtype[np.object_]]:
        """Return the summary of each label, an array of :class:`Summary`.

        Each loss is a sample. Ignored and invalid losses are counted with their label.

        Raises
        ------
        InputError
            If the metric was created with ``per_label=False``.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MultilabelCrossEntropy().update([[0.5, 0.25], [0.5, 0.25]], [[1, 0], [1, 1]])
        >>> [round(summary.mean, 4) for summary in metric.per_label()]
        [0.6931, 0.837]
        """
        if not self._options["per_label"]:
            raise InputError("per_label", "is False", "a metric created with per_label=True")
        return self._summaries(level, anytime)
