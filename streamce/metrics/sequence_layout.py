"""The judge of sequences: where in an array their tokens are, and what is counted along with them.

Tokens are padded, an array of shape (B, T), or flat, those of all sequences one after another with
offsets between them. Beyond its length a sequence has no tokens; what ``mask`` leaves out is a token
that does not count.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from streamce.core.samples.status import IGNORED, PADDING
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.inputs.arrays import Array


class Layout(NamedTuple):
    """``settled`` has a status for each token, ``offsets`` the places where flat sequences begin and end."""

    sequences: int
    settled: Array | None
    offsets: Array | None


def layout(name: str, shape: tuple[int, ...], lengths: Any, mask: Any, offsets: Any) -> Layout:
    """Where the tokens are; ``shape`` is theirs, that of the argument ``name`` less its class axis."""
    settled = None
    if offsets is not None:
        bounds = _offsets(name, shape, lengths, offsets)
        sequences = len(bounds) - 1
    elif len(shape) != 2:
        axes = "sequences and places" + (", and classes" if name == "preds" else "")
        found = f"has {len(shape) + (name == 'preds')} axes"
        raise InputError(name, found, f"axes of {axes}; or flat tokens and offsets", value=shape)
    else:
        bounds, sequences = None, shape[0]
        if sequences and not shape[1]:
            raise _empty(name, 0)
    if lengths is not None:
        settled = _padding(shape, lengths)
    if mask is not None:
        left_out = _mask(shape, mask)
        if settled is None:
            settled = np.zeros(shape, dtype=np.uint8)
        settled[left_out & (settled == 0)] = IGNORED
    return Layout(sequences, settled, bounds)


def counts(name: str, source: Any, sequences: int) -> Array:
    """Words or bytes of each sequence."""
    found = _integers(name, source)
    if found.shape != (sequences,):
        raise InputError(name, f"has shape {found.shape}", f"one per sequence, shape {(sequences,)}", value=found.shape)
    if (wrong := found < 0).any():
        raise _of_sequence(name, wrong, found, "0 or more")
    return found.astype(np.float64)


def shift_by_one(preds: Any, target: Any) -> tuple[Any, Any]:
    """What a causal model predicts, and what it was to predict: all but the last, and all but the first token.

    A causal model's row t is its prediction of token t + 1. Nothing is copied.

    Parameters
    ----------
    preds : array or tensor
        Shape (B, T, V) or (T, V).
    target : array or tensor of integers
        The tokens that the model was given, shape (B, T) or (T,).

    Returns
    -------
    preds, target
        Views of shape (B, T - 1, V) and (B, T - 1), or (T - 1, V) and (T - 1,). Lengths are less by one as well.

    Raises
    ------
    InputError
        If the shapes do not go together, or there is one token alone.

    Examples
    --------
    >>> import numpy as np, streamce as ce
    >>> logits, tokens = np.zeros((2, 5, 10)), np.ones((2, 5), dtype=int)
    >>> metric = ce.SequenceCrossEntropy(kind="logits")
    >>> metric.update(*ce.shift_by_one(logits, tokens)).summary().count
    8
    """
    preds, target = _array(preds, "preds"), _array(target, "target")
    shape, tokens = arrays.plain(preds, "preds")[1], arrays.plain(target, "target")[1]
    if len(shape) not in (2, 3):
        raise InputError("preds", f"has shape {shape}", "shape (B, T, V) or (T, V)", value=shape)
    if tokens != shape[:-1]:
        raise InputError("target", f"has shape {tokens} and preds {shape}", f"shape {shape[:-1]}", value=tokens)
    if tokens[-1] < 2:
        raise InputError(
            "target", f"has shape {tokens}", "two tokens or more: the first is not predicted", value=tokens
        )
    return preds[..., :-1, :], target[..., 1:]


def _array(source: Any, name: str) -> Any:
    """What can be cut along its last axes: an array, or a tensor where it lies."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        return source
    try:
        return np.asarray(source)
    except Exception:  # any exception of a third-party __array__
        return arrays.read(source, name).values  # or raises an InputError that explains


def _offsets(name: str, shape: tuple[int, ...], lengths: Any, offsets: Any) -> Array:
    if lengths is not None:
        raise InputError("lengths", "are given, and offsets", "one of the two")
    if len(shape) != 1:
        flat = "(tokens, classes)" if name == "preds" else "(tokens,)"
        raise InputError(name, "is not flat, and offsets are given", f"shape {flat}", value=shape)
    found = _integers("offsets", offsets)
    if found.ndim != 1 or not found.size:
        raise InputError("offsets", f"has shape {found.shape}", "one more than there are sequences", value=found.shape)
    if found[0] != 0:
        raise InputError("offsets", f"is {found[0]}", "0, where the tokens begin", index=(0,), value=int(found[0]))
    if (wrong := found[1:] < found[:-1]).any():
        i = int(np.argmax(wrong))
        expected = f"{found[i]} or more, where sequence {i} begins"
        raise InputError("offsets", f"is {found[i + 1]}", expected, index=(i + 1,), value=int(found[i + 1]))
    if (wrong := found[1:] == found[:-1]).any():
        raise _empty("offsets", int(np.argmax(wrong)))
    if found[-1] != shape[0]:
        last = found.size - 1
        expected = f"{shape[0]}, where the tokens end"
        raise InputError("offsets", f"is {found[last]}", expected, index=(last,), value=int(found[last]))
    return np.ascontiguousarray(found)


def _padding(shape: tuple[int, ...], lengths: Any) -> Array:
    found = _integers("lengths", lengths)
    if found.shape != shape[:1]:
        expected = f"one length per sequence, shape {shape[:1]}"
        raise InputError("lengths", f"has shape {found.shape}", expected, value=found.shape)
    if (wrong := (found < 1) | (found > shape[1])).any():
        i = int(np.argmax(wrong))
        if found[i] == 0:
            raise _empty("lengths", i)
        raise _of_sequence("lengths", wrong, found, f"1 to {shape[1]}, the places there are")
    return np.where(np.arange(shape[1]) < found[:, None], np.uint8(0), np.uint8(PADDING))


def _mask(shape: tuple[int, ...], mask: Any) -> Array:
    """Where a token is left out."""
    found, halves = arrays.array(mask, "mask")
    if found.shape != shape:
        raise InputError("mask", f"has shape {found.shape}", f"one entry per token, shape {shape}", value=found.shape)
    if found.dtype.kind == "f" or halves:
        raise arrays.not_integers("mask", mask, "bool, or integers 0 and 1")
    if (wrong := (found != 0) & (found != 1)).any():
        index = arrays.first(wrong)
        raise InputError(
            "mask", f"is {found[index]}", "1 (a token that counts) or 0", index=index, value=int(found[index])
        )
    return np.equal(found, 0)


def _integers(name: str, source: Any) -> Array:
    found, halves = arrays.array(source, name)
    if found.size == 0:
        return found.astype(np.int64)  # an empty list holds what it may
    if found.dtype.kind not in "iu" or halves:
        raise arrays.not_integers(name, source)
    if (wrong := found > np.uint64(2**63 - 1) if found.dtype.kind == "u" else np.zeros(1, dtype=bool)).any():
        index = arrays.first(wrong)
        value = int(found[index])
        raise InputError(name, f"is {value}", "an integer that fits int64", index=index, value=value)
    return found.astype(np.int64)


def _empty(name: str, i: int) -> Exception:
    return InputError(name, f"makes sequence {i} an empty one", "one token or more", index=(i,), value=0)


def _of_sequence(name: str, wrong: Array, found: Array, expected: str) -> Exception:
    i = int(np.argmax(wrong))
    context = f", of sequence {i}"
    return InputError(name, f"is {found[i]}", expected, index=(i,), value=int(found[i]), context=context)
