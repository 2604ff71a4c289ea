"""Errors about invalid losses. The core finds the index and the cause of a loss, and this module words the error."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from streamce.errors import USE_LOGITS, InputError, Location
from streamce.inputs.arrays import Array, ArrayData, Index, bfloat16_to_float32, convert, null_entry, unravel
from streamce.inputs.loss_layout import LossLayout

EXACT_END = 2.0**53  # float64 holds all integers below it
PREDICTIONS = {"probs": "a probability in [0, 1]", "log_probs": "a log-probability, 0 or less"}
# What the numbers of other arguments must be.
EXPECTED = {
    "weight": "a finite number, 0 or more",
    "target": "a share in [0, 1]",
    "losses": "a number",
    "log_probs": PREDICTIONS["log_probs"],
}


class InvalidLoss(NamedTuple):
    """The first invalid loss of a batch: its position, its sample, the cause, and the counter of that cause."""

    position: int
    sample: int
    cause: str
    counter: str


class LossInputs(NamedTuple):
    """The arguments of a batch.

    Attributes
    ----------
    preds, target, weight : array or ArrayData
    name : str
        Name of the argument that holds the predictions.
    kind : str
    ignore_index : int or None
    has_soft_targets : bool
    weights_are_per_loss : bool
        Whether there is a weight for each loss, instead of each sample.
    tolerance, target_tolerance : float
        How far above 1 an entry can be.
    """

    preds: Any
    target: Any
    weight: Any
    name: str
    kind: str
    ignore_index: int | None
    has_soft_targets: bool
    weights_are_per_loss: bool
    tolerance: float
    target_tolerance: float


def invalid_loss(loss: InvalidLoss, inputs: LossInputs, layout: LossLayout) -> InputError:
    """Return the error for an invalid loss: the entry at fault, its value, and what was expected."""
    if loss.cause == "null":
        return _null_loss(loss, inputs, layout)
    context = f" in sequence {loss.sample}" if layout.offsets is not None else ""
    name = _argument_at_fault(loss.cause, inputs.name)
    data = convert({"weight": inputs.weight, "target": inputs.target}.get(name, inputs.preds), name)
    values, axis = data.values, layout.axis
    if layout.is_rowwise and axis is not None and (name == "preds" or (name == "target" and inputs.has_soft_targets)):
        rows = np.moveaxis(values, axis, -1)
        index = unravel(loss.position, rows.shape[:-1])
        row = bfloat16_to_float32(rows[index], data.is_bfloat16).astype(np.float64)
        limit = 1 + (inputs.tolerance if name == "preds" else inputs.target_tolerance)
        return _invalid_row(_Entry(name, index, loss, inputs.kind, context), row, axis % values.ndim, limit)
    index = _index_of_loss(loss, inputs, layout, name, values.shape)
    value = bfloat16_to_float32(values[index], data.is_bfloat16).item()
    if loss.cause != "label":
        return _invalid_number(_Entry(name, index, loss, inputs.kind, context), value)
    if layout.is_rowwise:
        classes = layout.shape[axis] if axis is not None else 2
        expected = f"a class from 0 to {classes - 1}"
    else:
        expected = "0 or 1"
    expected += f" (or {inputs.ignore_index}, ignored)" if inputs.ignore_index is not None else ""
    found = f"is {_label_text(value)}"
    return InputError(name, found, expected, index=index, value=value, cause=loss.counter, context=context)


def _label_text(label: float) -> str:
    """Return a label as text. Text formats are read as float64, so that 2 arrives as 2.0."""
    return str(int(label) if abs(label) < EXACT_END and label == int(label) else label)


def null_row(sample: int, counter: str) -> InputError:
    """Return the error for a sample with a null in an unknown argument."""
    return InputError(None, "holds a null", "a value", index=(sample,), cause=counter, location=Location(sample))


def _null_loss(loss: InvalidLoss, inputs: LossInputs, layout: LossLayout) -> InputError:
    """Return the error for the first argument that is null in a loss."""
    for name, source in ((inputs.name, inputs.preds), ("target", inputs.target), ("weight", inputs.weight)):
        null_mask = source.null_mask if isinstance(source, ArrayData) else None
        if null_mask is not None and layout.null_losses(null_mask)[loss.position]:
            return null_entry(name, layout.null_index(null_mask, loss.position, loss.sample))
    return null_row(loss.sample, loss.counter)


def _argument_at_fault(cause: str, preds: str) -> str:
    if cause == "weight":
        return "weight"
    return "target" if cause.startswith(("target", "label")) else preds


def _index_of_loss(
    loss: InvalidLoss, inputs: LossInputs, layout: LossLayout, name: str, shape: tuple[int, ...]
) -> Index:
    """Return the index of a loss in an argument of this shape with an entry per loss or sample."""
    if name == "weight" and not inputs.weights_are_per_loss:
        return (loss.sample,) if shape else ()
    if layout.is_rowwise or layout.axis is None or not layout.is_entrywise(shape):
        return unravel(loss.position, shape)
    axis = layout.axis % len(shape)  # the label axis is the last one of the losses
    *outer, label = unravel(loss.position, (*shape[:axis], *shape[axis + 1 :], shape[axis]))
    return (*outer[:axis], label, *outer[axis:])


class _Entry(NamedTuple):
    """An argument at fault: its name, the index in it, and the other parts of an error."""

    name: str
    position: Index
    loss: InvalidLoss
    kind: str
    context: str

    def error(self, found: str, expected: str, value: Any, hint: str = "") -> InputError:
        return InputError(
            self.name,
            found,
            expected,
            hint=hint,
            index=self.position,
            value=value,
            cause=self.loss.counter,
            context=self.context,
        )

    @property
    def logits_hint(self) -> str:
        return USE_LOGITS if self.name == "preds" else ""


def _invalid_row(entry: _Entry, row: Array, axis: int, limit: float) -> InputError:
    """Return the error for a row: for its sum, for its infinite logits, or for one of its numbers above ``limit``."""
    cause, are_predictions = entry.loss.cause, entry.name == "preds"
    are_logarithms = are_predictions and entry.kind == "log_probs"
    if cause.endswith("sum"):
        total = float((np.exp(row) if are_logarithms else row).sum())
        expected = f"{'probabilities' if are_predictions else 'shares'} that add up to 1"
        return entry.error(f"adds up to {total:.6g} over the classes", expected, total, entry.logits_hint)
    if are_predictions and entry.kind == "logits" and cause.endswith("range"):
        n_infinite = int((row == np.inf).sum())
        found = f"has {n_infinite} logits of +inf" if n_infinite else "has no logit above -inf"
        return entry.error(found, "at most one +inf, and not only -inf", float(row.max()))
    wrong = np.isnan(row) if cause.endswith("nan") else row > 0 if are_logarithms else (row < 0) | (row > limit)
    i = int(np.argmax(wrong))
    index = (*entry.position[:axis], i, *entry.position[axis:])
    return _invalid_number(entry._replace(position=index), row[i].item())


def _invalid_number(entry: _Entry, value: float) -> InputError:
    expected = PREDICTIONS.get(entry.kind, "a number") if entry.name == "preds" else EXPECTED[entry.name]
    hint = entry.logits_hint if entry.loss.cause.endswith("range") else ""
    return entry.error(f"is {value!r}", expected, value, hint)


# ---- CTC ----


def ctc_label(index: Index, label: float, i: int, classes: int, blank: int, counter: str) -> InputError:
    """Return the error for an invalid label of sequence i."""
    note, comma = (", the blank", ",") if label == blank else ("", "")
    expected, context = f"a label from 0 to {classes - 1} other than the blank, {blank}", f"{comma} in sequence {i}"
    return InputError(
        "target", f"is {_label_text(label)}{note}", expected, index=index, value=label, cause=counter, context=context
    )


def sequence_weight(i: int, weight: float, counter: str) -> InputError:
    """Return the error for the invalid weight of sequence i."""
    context = f", of sequence {i}"
    found, expected = f"is {weight!r}", EXPECTED["weight"]
    return InputError("weight", found, expected, index=(i,), value=weight, cause=counter, context=context)


def ctc_row(preds: Any, index: Index, i: int, cause: str, counter: str, kind: str, tolerance: float) -> InputError:
    """Return the error for an invalid frame of sequence i."""
    data = convert(preds, "preds")
    row = bfloat16_to_float32(data.values[index], data.is_bfloat16).astype(np.float64)
    loss = InvalidLoss(0, i, cause, counter)
    return _invalid_row(_Entry("preds", index, loss, kind, f" in sequence {i}"), row, 2, 1 + tolerance)
