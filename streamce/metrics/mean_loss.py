"""Defines the mean of losses that another library computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from streamce.errors import InputError
from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics.base import Metric

if TYPE_CHECKING:
    from streamce.core.ledger.state import State


class MeanLoss(Metric):
    """Running weighted mean of losses, exact and with its standard error.

    The mean is Σ weight · loss / Σ weight. Losses may be negative or infinite; NaN is invalid.

    Parameters
    ----------
    invalid : {"raise", "skip"}
        Raise an error for invalid losses, or count them by cause and continue.
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.MeanLoss().update([0.25, 0.5, 1e300, -1e300]).compute()
    0.1875
    """

    _task = "mean"
    _title = "Mean loss"
    __slots__ = ()

    def __init__(self, *, invalid: Literal["raise", "skip"] = "raise", threads: int | None = None) -> None:
        super().__init__(dict(locals()))

    def update(self, losses: Any, *, weight: Any = None, cluster: Any = None) -> Self:  # type: ignore[override]
        """Add losses.

        Parameters
        ----------
        losses : array of float64, float32, float16 or bfloat16, or a float
            Any shape. The first axis is that of the samples.
        weight : array, optional
            One per sample (first axis) or per loss, finite and at least 0.
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
        >>> ce.MeanLoss().update([1.0, 4.0], weight=[3.0, 1.0]).compute()
        1.75
        """
        self._pipeline.update(self._state, losses, None, weight, None if cluster is None else hash_clusters(cluster))
        return self

    def _run(self, state: State, preds: Any, target: Any = None, **others: Any) -> None:
        if target is not None:
            raise InputError("target", "is given", "none, because MeanLoss takes losses")
        super()._run(state, preds, **others)
