"""Errors about shapes, dtypes, lengths and options. The core finds them, and this module words them."""

from __future__ import annotations

from typing import Any

from streamce.errors import SWAPPED, TWO_CLASSES, InputError
from streamce.inputs.arrays import EXPECTED, convert

Shape = tuple[int, ...]


# ---- predictions ----


def check_class_axis(axis: int, shape: Shape, multiclass: bool) -> int:
    """Return the class axis (or label axis) of ``preds``, counted from 0, or raise an InputError."""
    one, several = ("class", "classes") if multiclass else ("label", "labels")
    binary = "BinaryCrossEntropy takes one number per sample" if multiclass else ""
    if not shape:
        raise InputError("preds", "is one number", f"an axis of {several}", hint=binary)
    if not -len(shape) <= axis < len(shape):
        raise InputError("axis", f"is {axis}", f"a {one} axis of preds, which has shape {shape}", value=axis)
    axis %= len(shape)
    if shape[axis] == 0:
        found = f"has shape {shape}, no {several} along axis {axis}"
        raise InputError("preds", found, f"one or more {several}", value=shape)
    if multiclass and shape[axis] == 1:
        found = f"has shape {shape}, one class along axis {axis}"
        raise InputError("preds", found, "two classes or more", hint=binary, value=shape)
    return axis


def integer_preds(preds: Any, shape: Shape, name: str = "preds") -> InputError:
    hint = SWAPPED if name == "preds" else ""
    return InputError(name, f"has dtype {convert(preds, name).values.dtype}", EXPECTED[name], hint=hint)


def class_count(names: str, preds: Shape, expected: int) -> InputError:
    return InputError(
        "preds", f"has shape {preds}", f"{expected} {names} as in earlier updates, because each has its own sums"
    )


def gradient_shape(out: Shape, preds: Shape) -> InputError:
    return InputError("out", f"has shape {out} and preds {preds}", f"the shape of preds, {preds}", value=out)


# ---- targets ----


def target_shape(preds: Shape, target: Shape, labels: Shape | None) -> InputError:
    expected = f"{labels} (labels) or {preds} (soft targets)" if labels is not None else f"{preds}"
    hint = TWO_CLASSES if labels is None and preds == (*target[:1], 2) else ""
    found = f"has shape {target} and preds {preds}"
    return InputError("target", found, f"a target of shape {expected}", hint=hint, value=target)


def soft_per_class() -> InputError:
    return InputError("target", "has the shape of preds", "integer labels, because there are sums for each class")


def soft_calibration() -> InputError:
    return InputError(
        "target", "has the shape of preds", "integer labels, because calibration=True counts which class occurred"
    )


# ---- weights, keys and lengths ----


def weight_shape(weight: Shape, samples: Shape, per_sample: bool = False) -> InputError:
    each = f"one weight per sample, shape {samples}" + ("" if per_sample else ", or one per loss")
    expected = each if samples else "one number, because there is a single sample"
    return InputError("weight", f"has shape {weight}", expected, value=weight)


def class_weight_length(length: int, expected: int, names: str, option: str = "class_weight") -> InputError:
    found = f"has {length} entries and preds {expected} {names}"
    return InputError(option, found, f"{expected} entries", value=length)


def key_length(name: str, length: int, samples: int) -> InputError:
    found = f"has length {length} and preds {samples} samples"
    return InputError(name, found, f"{samples}, one per sample", value=length)


def mixed_clusters(is_given: bool) -> InputError:
    """Return the error for an update with or without clusters, unlike the updates before."""
    because = "because clustered and unclustered samples cannot share a standard error"
    if is_given:
        return InputError("cluster", "is given, but was not given in earlier updates", f"none, {because}")
    return InputError("cluster", "is missing, but was given in earlier updates", f"one per sample, {because}")


def status_shape(statuses: Any, losses: int) -> InputError:
    array = convert(statuses, "status").values
    found = f"has dtype {array.dtype} and shape {array.shape}"
    return InputError("status", found, f"{losses} bytes, one per loss")


def not_integers(name: str, source: Any, expected: str = "integers") -> InputError:
    data = convert(source, name)
    return InputError(name, f"has dtype {'bfloat16' if data.is_bfloat16 else data.values.dtype}", expected)


# ---- CTC ----


def ctc_preds_shape(shape: Shape, batch_first: bool) -> InputError:
    axes = "utterances, frames and classes" if batch_first else "frames, utterances and classes"
    layout = "BTC" if batch_first else "TBC"
    expected = f"axes of {axes} (layout {layout!r}), or flat frames and classes; there must be two or more classes"
    return InputError("preds", f"has shape {shape}", expected, value=shape)


def ctc_blank(blank: int, classes: int) -> InputError:
    return InputError("blank", f"is {blank} and preds has {classes} classes", f"one of 0 to {classes - 1}", value=blank)


def ctc_lengths_shape(name: str, shape: Shape, utterances: int) -> InputError:
    expected = f", shape {(utterances,)}" if utterances >= 0 else ""
    return InputError(name, f"has shape {shape}", f"one length per utterance{expected}", value=shape)


def ctc_length(name: str, i: int, length: int, low: int, high: int) -> InputError:
    bound = "the number of frames of preds" if name == "input_lengths" else "the number of labels that fit in target"
    expected, context = f"{low} to {high}, {bound}", f", of sequence {i}"
    return InputError(name, f"is {length}", expected, index=(i,), value=length, context=context)


def ctc_target_shape(shape: Shape, utterances: int) -> InputError:
    expected = f"labels padded to shape ({utterances}, S), or all labels one after another"
    return InputError("target", f"has shape {shape} and preds {utterances} utterances", expected, value=shape)


def ctc_frame_count(frames: int, expected: int) -> InputError:
    return InputError("preds", f"has {frames} frames one after another", f"{expected}, the sum of input_lengths")


def ctc_label_count(labels: int, expected: int) -> InputError:
    return InputError("target", f"has {labels} labels one after another", f"{expected}, the sum of target_lengths")
