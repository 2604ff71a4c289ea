"""Layout of the losses of a batch: which loss an entry of an argument belongs to, and which losses have nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamce.inputs.arrays import Array, Index, first_index, unravel

if TYPE_CHECKING:
    from collections.abc import Sequence


class LossLayout(NamedTuple):
    """The layout of the losses of a batch.

    Attributes
    ----------
    shape : tuple of int
        Shape of the predictions.
    axis : int or None
        Axis of the classes or labels, if there is one.
    is_rowwise : bool
        Whether a loss belongs to a row of all classes, and not to a single entry.
    offsets : ndarray or None
        Where the losses of each sample begin, if sequences are flat.
    """

    shape: tuple[int, ...]
    axis: int | None
    is_rowwise: bool
    offsets: Any

    def is_entrywise(self, shape: tuple[int, ...]) -> bool:
        """Return whether an argument of a shape has an entry for each prediction, along the axis too."""
        return self.axis is not None and shape == self.shape

    def null_losses(self, null_mask: Array) -> Array:
        """Return which losses, in their order, are null because this argument is null."""
        if self.axis is not None and self.is_entrywise(null_mask.shape):
            null_mask = np.moveaxis(null_mask, self.axis, -1)
            return null_mask.any(axis=-1).reshape(-1) if self.is_rowwise else null_mask.reshape(-1)
        shape = self.shape
        if self.axis is not None:
            axis = self.axis % len(shape)
            shape = shape[:axis] + shape[axis + 1 :] + (() if self.is_rowwise else shape[axis : axis + 1])
        if null_mask.shape == shape:
            return null_mask.reshape(-1)
        if self.offsets is not None:
            return np.repeat(null_mask, np.diff(self.offsets))
        return np.repeat(null_mask, int(np.prod(shape[1:])))

    def null_index(self, null_mask: Array, loss: int, sample: int) -> Index:
        """Return the index of the null in an argument that makes a loss null."""
        if self.axis is not None and self.is_entrywise(null_mask.shape):
            entries = np.moveaxis(np.arange(null_mask.size).reshape(self.shape), self.axis, -1)
            entries = entries.reshape(-1, self.shape[self.axis] if self.is_rowwise else 1)[loss]
            return unravel(int(entries[first_index(null_mask.reshape(-1)[entries])]), self.shape)
        if null_mask.size == self.null_losses(null_mask).size:
            return unravel(loss, null_mask.shape)
        return (sample,)


def mark_nulls(statuses: Any, null_masks: Sequence[Array | None], null: int, layout: LossLayout) -> Array:
    """Return the statuses of losses. A loss without a status gets ``null`` if one of its arguments is null."""
    masks = [layout.null_losses(mask) for mask in null_masks if mask is not None]
    marked: Array = np.any(masks, axis=0) * np.uint8(null)
    if statuses is None:
        return marked
    return np.where(np.asarray(statuses).reshape(-1) == 0, marked, np.ravel(statuses))
