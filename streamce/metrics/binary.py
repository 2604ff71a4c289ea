"""Binary cross-entropy of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from streamce.keys.key_columns import bucket_of
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
        What ``preds`` holds: p, log p, or log(p / (1 - p)).
    label_smoothing : float
        The a above, between 0 and 1.
    ignore_index : int, optional
        Targets of this value are left out.
    class_weight : sequence of two floats, optional
        Weights of outcome 0 and outcome 1; they enter the denominator.
    pos_weight : float, optional
        Multiplies the loss of outcome 1, and is no part of the denominator, as in torch.
    eps : float
        Floor of the probability of the true outcome; 0 keeps the honest infinity. Logits need none.
    invalid : {"raise", "skip"}
        What to do with invalid entries: raise, or count them by cause and go on.
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.
    divergence : bool
        Sum the entropy of soft targets as well: ``summary()`` then splits the mean into that and the
        Kullback-Leibler divergence of ``preds`` from ``target``. Takes a second pass over soft targets.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and what the worst of them carry.
    calibration : bool
        Keep what :meth:`calibration` needs: the loss that predictions expect of themselves, and how often they are
        right. Takes plain losses: no smoothing, no ``class_weight`` and no ``pos_weight``.

    Notes
    -----
    Good (1952), *Rational decisions*, for the loss; ``pos_weight`` after
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
        weights, pos = self._options["class_weight"], self._options["pos_weight"]
        both = weights is None or len(weights) == 2
        require(both, "class_weight", weights, "two numbers, for outcome 0 and outcome 1")
        require(not isinstance(pos, tuple), "pos_weight", pos, "one number")

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        """Add a chunk.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16, or a float
            Any shape; the first axis is that of the samples.
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
        >>> ce.BinaryCrossEntropy(kind="logits").update([0.0, 2.0], [0, 1]).compute()
        0.41003759...
        """
        self._pipeline.update(self._state, preds, target, weight, None if cluster is None else bucket_of(cluster))
        return self

    def calibration(self) -> Calibration:
        """How far the predictions are to be believed: z-score, reliability diagram, calibration error.

        Confidence is the probability of outcome 1, and frequency how often it came; of soft targets their mean. Each
        loss is an outcome of its own here, also where ``preds`` has several axes of them.

        Raises
        ------
        InputError
            If the metric was not made with ``calibration=True``, or more was taken away than had been added.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.BinaryCrossEntropy(calibration=True)
        >>> metric = metric.update([0.25] * 8, [1, 1, 0, 0, 0, 0, 0, 0])
        >>> found = metric.calibration()
        >>> found.ece, found.z, found.calibration
        (0.0, 0.0, 0.0)
        """
        return self._calibration()
