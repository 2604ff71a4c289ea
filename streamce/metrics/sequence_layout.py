"""Finds the tokens of padded or flat sequences in an array, and checks lengths, masks and offsets.

Padded tokens have the shape (B, T). Flat tokens are those of all sequences, concatenated, with offsets. Positions
beyond the length of a sequence are padding. Tokens that ``mask`` excludes are ignored.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from streamce.core.samples.status import IGNORED, PADDING
from streamce.errors import InputError
from streamce.inputs import arrays, messages
from streamce.inputs.arrays import Array

# The hint about a length of -1, which is that of a sequence without tokens after the usual shift.
NO_TOKENS = "after shift_by_one, a sequence of 0 tokens has length 0: use numpy.maximum(lengths - 1, 0)"


class Layout(NamedTuple):
    """The number of sequences; a status for each token; where flat sequences begin and end; and the empty ones."""

    sequences: int
    status: Array | None
    offsets: Array | None
    is_empty: Array


def layout(name: str, shape: tuple[int, ...], lengths: Any, mask: Any, offsets: Any) -> Layout:
    """Return where the tokens are. Their shape is that of the argument ``name``, without its class axis."""
    status = None
    if offsets is not None:
        bounds = _offsets(name, shape, lengths, offsets)
        sequences, is_empty = len(bounds) - 1, bounds[1:] == bounds[:-1]
    elif len(shape) != 2:
        axes = "sequences and positions" + (", and classes" if name == "preds" else "")
        found = f"has {len(shape) + (name == 'preds')} axes"
        raise InputError(name, found, f"axes of {axes}; or flat tokens and offsets", value=shape)
    else:
        bounds, sequences = None, shape[0]
        is_empty = np.full(sequences, not shape[1])
    if lengths is not None:
        status, is_empty = _padding(shape, lengths)
    if mask is not None:
        excluded = _mask(shape, mask)
        if status is None:
            status = np.zeros(shape, dtype=np.uint8)
        status[excluded & (status == 0)] = IGNORED
    return Layout(sequences, status, bounds, is_empty)


@contextlib.contextmanager
def ragged_hint(hint: str) -> Iterator[None]:
    """Add a hint to an error about lists of different lengths, which have another form."""
    try:
        yield
    except arrays.RaggedLists as error:
        raise error.with_hint(hint) from error


def counts(name: str, source: Any, sequences: int) -> Array:
    """Return the number of words or bytes of each sequence."""
    found = _integers(name, source)
    if found.shape != (sequences,):
        raise InputError(name, f"has shape {found.shape}", f"one per sequence, shape {(sequences,)}", value=found.shape)
    if (wrong := found < 0).any():
        raise _sequence_error(name, wrong, found, "0 or more")
    return found


def shift_by_one(preds: Any, target: Any) -> tuple[Any, Any]:
    """Return the predictions of a causal model without the last, and the tokens without the first.

    Row t of a causal model predicts token t + 1. No data are copied.

    Parameters
    ----------
    preds : array or tensor
        Shape (B, T, V) or (T, V).
    target : array or tensor of integers
        The input tokens of the model, shape (B, T) or (T,).

    Returns
    -------
    preds, target
        Views of shape (B, T - 1, V) and (B, T - 1), or (T - 1, V) and (T - 1,). Subtract 1 from lengths too, unless
        they are 0. A sequence of one token becomes empty.

    Raises
    ------
    InputError
        If the shapes do not match.

    Examples
    --------
    >>> import numpy as np, streamce as ce
    >>> logits, tokens = np.zeros((2, 5, 10)), np.ones((2, 5), dtype=int)
    >>> metric = ce.SequenceCrossEntropy(kind="logits")
    >>> metric.update(*ce.shift_by_one(logits, tokens)).summary().count
    8
    """
    preds, target = _array(preds, "preds"), _array(target, "target")
    shape, tokens = arrays.convert_with_shape(preds, "preds")[1], arrays.convert_with_shape(target, "target")[1]
    if len(shape) not in (2, 3):
        raise InputError("preds", f"has shape {shape}", "shape (B, T, V) or (T, V)", value=shape)
    if tokens != shape[:-1]:
        raise InputError("target", f"has shape {tokens} and preds {shape}", f"shape {shape[:-1]}", value=tokens)
    return preds[..., :-1, :], target[..., 1:]


def _array(source: Any, name: str) -> Any:
    """Return an object that can be sliced along its last axes: an array, or a tensor on its device."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        return source
    try:
        return np.asarray(source)
    except Exception:  # any exception of a third-party __array__
        return arrays.convert(source, name).values  # or raise an InputError that explains why


def _offsets(name: str, shape: tuple[int, ...], lengths: Any, offsets: Any) -> Array:
    if lengths is not None:
        raise InputError("lengths", "are given together with offsets", "one of the two")
    if len(shape) != 1:
        flat = "(tokens, classes)" if name == "preds" else "(tokens,)"
        raise InputError(name, "is not flat, but offsets are given", f"shape {flat}", value=shape)
    found = _integers("offsets", offsets)
    if found.ndim != 1 or not found.size:
        expected = "one offset more than there are sequences"
        raise InputError("offsets", f"has shape {found.shape}", expected, value=found.shape)
    if found[0] != 0:
        raise InputError("offsets", f"is {found[0]}", "0, where the tokens begin", index=(0,), value=int(found[0]))
    if (wrong := found[1:] < found[:-1]).any():
        i = int(np.argmax(wrong))
        expected = f"{found[i]} or more, where sequence {i} begins"
        raise InputError("offsets", f"is {found[i + 1]}", expected, index=(i + 1,), value=int(found[i + 1]))
    if found[-1] != shape[0]:
        last = found.size - 1
        expected = f"{shape[0]}, where the tokens end"
        raise InputError("offsets", f"is {found[last]}", expected, index=(last,), value=int(found[last]))
    return np.ascontiguousarray(found)


def _padding(shape: tuple[int, ...], lengths: Any) -> tuple[Array, Array]:
    """Return the status of each token, and which sequences are empty."""
    found = _integers("lengths", lengths)
    if found.shape != shape[:1]:
        expected = f"one length per sequence, shape {shape[:1]}"
        raise InputError("lengths", f"has shape {found.shape}", expected, value=found.shape)
    if (wrong := (found < 0) | (found > shape[1])).any():
        error = _sequence_error("lengths", wrong, found, f"0 to {shape[1]}, the number of positions")
        raise error.with_hint(NO_TOKENS) if error.value == -1 else error
    status = np.where(np.arange(shape[1]) < found[:, None], np.uint8(0), np.uint8(PADDING))
    return status, found == 0


def _mask(shape: tuple[int, ...], mask: Any) -> Array:
    """Return which tokens the mask excludes."""
    found, halves = arrays.to_numpy(mask, "mask")
    if found.shape != shape:
        raise InputError("mask", f"has shape {found.shape}", f"one entry per token, shape {shape}", value=found.shape)
    if found.dtype.kind == "f" or halves:
        raise messages.not_integers("mask", mask, "bool, or integers 0 and 1")
    if (wrong := (found != 0) & (found != 1)).any():
        index = arrays.first_index(wrong)
        raise InputError(
            "mask", f"is {found[index]}", "1 for a token that counts, or 0", index=index, value=int(found[index])
        )
    return np.equal(found, 0)


def _integers(name: str, source: Any) -> Array:
    found, halves = arrays.to_numpy(source, name)
    if found.size == 0:
        return found.astype(np.int64)  # an empty list has the dtype float64
    if found.dtype.kind not in "iu" or halves:
        raise messages.not_integers(name, source)
    if found.dtype.kind == "u" and (wrong := found > np.uint64(2**63 - 1)).any():
        index = arrays.first_index(wrong)
        value = int(found[index])
        raise InputError(name, f"is {value}", "an integer that fits int64", index=index, value=value)
    return found.astype(np.int64)


def _sequence_error(name: str, wrong: Array, found: Array, expected: str) -> InputError:
    i = int(np.argmax(wrong))
    context = f", of sequence {i}"
    return InputError(name, f"is {found[i]}", expected, index=(i,), value=int(found[i]), context=context)
