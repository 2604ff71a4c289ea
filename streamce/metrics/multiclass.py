"""Defines the multiclass cross-entropy of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from streamce.errors import InputError
from streamce.inputs import arrays, messages
from streamce.inputs.class_names import ClassNames, CodedText, coded_text
from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics.base import Metric
from streamce.metrics.options import EPS, check_classes, flag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from streamce.core.ledger.state import State
    from streamce.metrics.options import Check
    from streamce.stats.calibration import Calibration


class MulticlassCrossEntropy(Metric):
    """Running multiclass cross-entropy (log loss, softmax loss), in nats.

    With p_c the probability of class c, y the target (one-hot for a label), smoothed to
    ``q = y (1 - a) + a / C``, and w the class weights,

        n = weight · Σ_c w_c · q_c · (-log p_c),    d = weight · Σ_c w_c · y_c

    and the mean is Σn / Σd. For labels this is torch's mean.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``. Logits go through a softmax.
    label_smoothing : float
        The number a, between 0 and 1.
    ignore_index : int, optional
        Labels with this value are ignored.
    class_weight : sequence of float, optional
        The weights w, one per class.
    eps : float
        The floor of the probabilities that count. 0 keeps infinite losses. Logits need no floor.
    invalid : {"raise", "skip"}
        Raise an error for invalid rows, or count them by cause and continue.
    axis : int
        The class axis of ``preds``; 1 for torch's (N, C, d1, ...).
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.
    divergence : bool
        Also sum the entropy of soft targets. ``summary()`` then splits the mean into this entropy and the
        Kullback-Leibler divergence of ``preds`` from ``target``. It takes a second pass over soft targets.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and the share that the worst losses carry.
    calibration : bool
        Keep sums for :meth:`calibration`: the loss that the predictions expect, and how often they are correct. It
        cannot be combined with ``label_smoothing``, ``class_weight`` or soft targets.
    per_class : bool
        Keep sums by the class of the target for :meth:`per_class`. All batches must then have the same classes.
    classes : sequence of str, optional
        The names of the classes, in the order of ``preds``. Labels may then be names. The state contains the names, and
        states of other classes cannot be added to it.

    Notes
    -----
    The conventions of the mean, weights and smoothing are those of ``torch.nn.functional.cross_entropy``, with one
    difference: for soft targets torch divides by the number of rows instead of Σd.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.MulticlassCrossEntropy(kind="logits")
    >>> metric.update([[2.0, 0.5, 0.1], [0.0, 3.0, 0.2]], [0, 1]).compute()
    0.21083827...
    """

    _task = "multiclass"
    _own_checks: ClassVar[Mapping[str, Check]] = {"classes": check_classes, "per_class": flag}
    _title = "Multiclass cross-entropy"
    __slots__ = ("_class_names",)

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
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(dict(locals()), per_cell=per_class)
        names, weights = self._options["classes"], self._options["class_weight"]
        if names is not None and weights is not None and len(weights) != len(names):
            raise messages.class_weight_length(len(weights), len(names), "classes")
        self._class_names = None if names is None else ClassNames(names, self._options["ignore_index"])

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        """Add a batch.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Any shape with a class axis (``axis``). The first other axis is that of the samples.
        target : array of whole numbers or bool, or of real numbers in [0, 1]
            Labels, with the shape of ``preds`` without the class axis; or soft targets, with the shape of ``preds``.
            With ``classes``, labels may be text: lists, or arrays of NumPy, pandas, polars or Arrow, also categorical.
        weight : array, optional
            One per sample (first axis) or one per row, finite and at least 0.
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
        >>> ce.MulticlassCrossEntropy().update([[0.7, 0.2, 0.1]], [0], weight=[3.0]).compute()
        0.35667494...
        >>> ce.MulticlassCrossEntropy(classes=["cat", "dog"]).update([[0.75, 0.25]], ["dog"]).compute()
        1.38629436...
        """
        if self._class_names is not None:
            self._run(self._state, preds, target, weight=weight, cluster=cluster)
            return self
        self._pipeline.update(self._state, preds, target, weight, None if cluster is None else hash_clusters(cluster))
        return self

    def _run(self, state: State, preds: Any, target: Any = None, **others: Any) -> None:
        if self._class_names is None:
            return super()._run(state, preds, target, **others)
        names, text = self._class_names, coded_text(target)
        preds, shape = arrays.convert_with_shape(preds, "preds")
        axis = messages.check_class_axis(self._options["axis"], shape, True)
        if shape[axis] != len(names.names):
            expected = f"{len(names.names)} classes along axis {axis}, as many as classes names"
            raise InputError("preds", f"has shape {shape}", expected, value=shape)
        if not isinstance(text, CodedText):
            return super()._run(state, preds, text, **others)
        try:
            super()._run(state, preds, names.encode(text), **others)
        except InputError as error:
            raise names.named(error, text) from None

    def _check_cells(self, size: int) -> None:
        super()._check_cells(size)
        if self._class_names is not None and size != len(self._class_names.names):
            raise ValueError(f"it has {size} classes, and names of {len(self._class_names.names)}")

    def calibration(self) -> Calibration:
        """Return how well calibrated the predictions are: z-score, reliability diagram, calibration error.

        Confidence is the probability of the predicted class, which is the first of the most likely ones. Frequency is
        how often this class occurred. Each loss is a separate outcome, even if ``preds`` has several axes. The split
        into calibration and refinement takes up to 15 C² sums for C classes, so it exists for at most 100 classes.

        Raises
        ------
        InputError
            If the metric was not created with ``calibration=True``, or more was subtracted than had been added.

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
        """Return the summary of each class, an array of :class:`Summary`.

        Each loss is a sample, even if ``preds`` has several axes. Ignored and invalid losses belong to no class. Only
        the metric's own summary counts them.

        Raises
        ------
        InputError
            If the metric was not created with ``per_class=True``.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MulticlassCrossEntropy(per_class=True)
        >>> metric = metric.update([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]], [0, 1, 0])
        >>> [round(summary.mean, 4) for summary in metric.per_class()]
        [0.3466, 1.3863]
        """
        if not self._options["per_class"]:
            raise InputError("per_class", "is False", "a metric created with per_class=True")
        return self._summaries(level, anytime)
