"""Defines the binary cross-entropy of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics.base import Metric
from streamce.metrics.options import EPS, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamce.stats.calibration import Calibration


class BinaryCrossEntropy(Metric):
    """Running binary cross-entropy (log loss), in nats.

    With p the probability of outcome 1 and y the target, smoothed to ``y (1 - a) + a / 2``,

        loss = -pos_weight · y · log p - (1 - y) · log(1 - p)

    and the mean is Σ weight · loss / Σ weight.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``: p, log p, or log(p / (1 - p)).
    label_smoothing : float
        The number a, between 0 and 1.
    ignore_index : int, optional
        Targets with this value are ignored.
    class_weight : sequence of two floats, optional
        Weights of outcome 0 and outcome 1. They are part of the denominator.
    pos_weight : float, optional
        A factor of the loss of outcome 1. It is not part of the denominator, as in torch.
    eps : float
        The floor of the probability of the true outcome. 0 keeps infinite losses. Logits need no floor.
    invalid : {"raise", "skip"}
        Raise an error for invalid entries, or count them by cause and continue.
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.
    divergence : bool
        Also sum the entropy of soft targets. ``summary()`` then splits the mean into this entropy and the
        Kullback-Leibler divergence of ``preds`` from ``target``. It takes a second pass over soft targets.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and the share that the worst losses carry.
    calibration : bool
        Keep sums for :meth:`calibration`: the loss that the predictions expect, and how often they are correct. It
        cannot be combined with ``label_smoothing``, ``class_weight`` or ``pos_weight``.

    Notes
    -----
    The loss is that of Good (1952), *Rational decisions*. ``pos_weight`` is that of
    ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.BinaryCrossEntropy()
    >>> metric.update([0.9, 0.2, 0.6], [1, 0, 1]).compute()
    0.27977656...
    >>> metric.update(0.75, 1).summary().count
    4
    """

    _task = "binary"
    _title = "Binary cross-entropy"
    __slots__ = ()

    def __init__(
        self,
        *,
        kind: Literal["probs", "log_probs", "logits"] = "probs",
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
        class_weight: Sequence[float] | None = None,
        pos_weight: float | None = None,
        eps: float = EPS,
        invalid: Literal["raise", "skip"] = "raise",
        threads: int | None = None,
        divergence: bool = False,
        tail: bool = False,
        calibration: bool = False,
    ) -> None:
        super().__init__(dict(locals()))
        class_weight, pos_weight = self._options["class_weight"], self._options["pos_weight"]
        has_two = class_weight is None or len(class_weight) == 2
        require(has_two, "class_weight", class_weight, "two numbers, for outcome 0 and outcome 1")
        require(not isinstance(pos_weight, tuple), "pos_weight", pos_weight, "one number")

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        """Add a batch.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16, or a float
            Any shape. The first axis is that of the samples.
        target : array of integers or bool (0 or 1), or of real numbers in [0, 1]
            Same shape as ``preds``, where (N, 1) is (N,).
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
        >>> ce.BinaryCrossEntropy(kind="logits").update([0.0, 2.0], [0, 1]).compute()
        0.41003759...
        """
        self._pipeline.update(self._state, preds, target, weight, None if cluster is None else hash_clusters(cluster))
        return self

    def calibration(self) -> Calibration:
        """Return how well calibrated the predictions are: z-score, reliability diagram, calibration error.

        Confidence is the probability of outcome 1, and frequency is how often outcome 1 occurred or, with soft targets,
        their mean. Each loss is a separate outcome, even if ``preds`` has several axes.

        Raises
        ------
        InputError
            If the metric was not created with ``calibration=True``, or more was subtracted than had been added.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.BinaryCrossEntropy(calibration=True)
        >>> metric = metric.update([0.25] * 8, [1, 1, 0, 0, 0, 0, 0, 0])
        >>> result = metric.calibration()
        >>> result.ece, result.z, result.calibration
        (0.0, 0.0, 0.0)
        """
        return self._calibration()
