"""The mean of losses that another framework computed."""

from __future__ import annotations

from typing import Any, Literal, Self

from streamce.keys.key_columns import bucket_of
from streamce.metrics.base import Metric


class MeanLoss(Metric):
    """Running weighted mean of losses, exact and with its standard error.

    The mean is Σ weight · loss / Σ weight. Losses may be negative or infinite; NaN is invalid.

    Parameters
    ----------
    invalid : {"raise", "skip"}
        What to do with invalid losses: raise, or count them by cause and go on.
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.MeanLoss().update([0.25, 0.5, 1e300, -1e300]).compute()
    0.1875
    """

    _task = "mean"
    __slots__ = ()

    def __init__(self, *, invalid: Literal["raise", "skip"] = "raise", threads: int | None = None) -> None:
        super().__init__(dict(locals()))

    def update(self, losses: Any, *, weight: Any = None, cluster: Any = None) -> Self:  # type: ignore[override]
        """Add losses.

        Parameters
        ----------
        losses : array of float64, float32, float16 or bfloat16, or a float
            Any shape; the first axis is that of the samples.
        weight : array, optional
            One per sample (first axis) or one per loss, finite and 0 or more.
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
        >>> ce.MeanLoss().update([1.0, 4.0], weight=[3.0, 1.0]).compute()
        1.75
        """
        self._pipeline.update(self._state, losses, None, weight, None if cluster is None else bucket_of(cluster))
        return self
