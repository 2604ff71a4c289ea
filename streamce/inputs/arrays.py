"""The one judge of inputs beyond the fast path: anything in, an array out, or the error that
explains. The compiled pipeline asks here for whatever is no plain NumPy array, and for the words
of every error it finds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamce._support.short_repr import reason, short_repr
from streamce.errors import SWAPPED, USE_LOGITS, InputError, Location
from streamce.inputs import interop

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, np.dtype[Any]]
Index = tuple[int, ...]

REAL = "float64, float32, float16 or bfloat16"
# What an argument holds; options are sequences of numbers.
HOLDS = {
    "preds": f"an array of {REAL}",
    "losses": f"an array of {REAL}",
    "log_probs": f"an array of {REAL}",
    "target": "an array of integers, bool or real numbers",
    "weight": "an array of real numbers",
    "out": f"an array of {REAL}",
    "input_lengths": "an array of integers",
    "target_lengths": "an array of integers",
}
# Array arguments of some metrics' updates, beside preds, target and weight.
BESIDE = ("input_lengths", "lengths", "mask", "n_bytes", "n_words", "offsets", "target_lengths")
PREDS = {"probs": "a probability in [0, 1]", "log_probs": "a log-probability, 0 or less"}


# ---- what is given, as an array ----


class Read(NamedTuple):
    """An argument that was read: its numbers, whether they are bfloat16 held as uint16, and where it has nulls.

    ``null`` is None where there are none, and else of the shape of ``values``, which are 0 there.
    """

    values: Array
    halves: bool = False
    null: Array | None = None


def array(source: Any, name: str) -> tuple[Array, bool]:
    """``source`` as a NumPy array without copying it, and whether it holds bfloat16 as uint16; none of it is null."""
    found = read(source, name)
    if found.null is not None and found.null.any():
        raise null_entry(name, first(found.null))
    return found.values, found.halves


def read(source: Any, name: str) -> Read:
    """``source`` as NumPy arrays, without copying it where its layout allows."""
    if isinstance(source, Read):
        return source
    torch = sys.modules.get("torch")  # never imported here: who has a tensor has torch
    try:
        interop.checked(source)
        if torch is not None and isinstance(source, torch.Tensor):
            return judged(Read(*_tensor(source, name, torch)), name)
        found = None if isinstance(source, (np.ndarray, list, tuple)) else interop.read(source)
        if found is None:
            given = np.asanyarray(source)  # with the mask that __array__ may give
            found = np.asarray(given), None
            unmasked(source, name, "a value")
            unmasked(given, name, "a value")
        if isinstance(source, (list, tuple)):
            found = _nullable(found[0])
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever a stranger's __array__ raises
        raise InputError(name, f"is no array ({reason(error)})", HOLDS.get(name, "a sequence of numbers")) from error
    return judged(Read(found[0], False, found[1]), name)


def sound(source: Any, name: str) -> None:
    """Raise an InputError unless the memory that a source describes exists."""
    try:
        interop.checked(source)
    except ValueError as error:
        raise InputError(name, f"is no array ({error})", HOLDS[name]) from error


def judged(found: Read, name: str) -> Read:
    """What was read, of a dtype that has a meaning here."""
    values, halves, null = found
    if values.dtype.name == "bfloat16":
        return Read(values.view(np.dtype(np.uint16).newbyteorder(values.dtype.byteorder)), True, null)
    if values.dtype.kind == "O":
        raise _objects(values, name)
    if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        raise unsupported(values, name)
    if null is not None and null.all() and name == "target":
        values = np.zeros(values.shape, np.int8)  # of no type of its own: labels may follow
    return Read(values, halves, null)


def _nullable(found: Array) -> tuple[Array, Array | None]:
    """Numbers of a list, of which NumPy made objects because some are None; or the array as it is."""
    if found.dtype.kind != "O":
        return found, None
    null = np.frompyfunc(_is_null, 1, 1)(found).astype(np.bool_)
    if not null.any():
        return found, None
    known = np.array(found[~null].tolist())  # which alone say of what type they are
    if known.ndim != 1:
        return found, None
    values = np.zeros(found.shape, known.dtype)
    values[~null] = known
    return values, null


def _is_null(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType"  # of pandas


def null_entry(name: str, index: Index) -> InputError:
    return InputError(name, "is null", "a value", index=index, cause="invalid_null")


def unmasked(source: Any, name: str, expected: str) -> None:
    """Raises where an array has masked entries, whose mask asarray forgets."""
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(source, (list, tuple)) and masked.MaskedArray in set(map(type, source)):
        source = masked.array(source)
    if masked is not None and masked.is_masked(source):
        raise InputError(name, "is masked", expected, index=first(masked.getmaskarray(source)))


def plain(source: Any, name: str) -> tuple[Any, tuple[int, ...]]:
    """What the pipeline is given for ``source``, converted once, and its shape."""
    try:
        found = read(source, name)
    except OnDevice:
        return source, tuple(source.shape)
    return (found if found.halves or found.null is not None else found.values), found.values.shape


def once(source: Any, name: str) -> Any:
    """Read an argument, so that the pipeline can use it several times. Plain arrays, numbers and None stay as they are.

    Reading may run the caller's code, which may change other arguments. So each entry point converts all of them before
    it reads the memory of any. Tensors on another device stay as they are.
    """
    torch = sys.modules.get("torch")
    on_device = torch is not None and isinstance(source, torch.Tensor) and source.device.type != "cpu"
    if source is None or on_device or type(source) in (np.ndarray, float, int):
        return source
    try:
        return read(source, name)
    except OnDevice:
        return source


def all_once(others: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of an update with its arrays (BESIDE) converted."""
    return {name: once(value, name) if name in BESIDE else value for name, value in others.items()}


class OnDevice(InputError):
    """Predictions are a tensor on another device: an error for who does not have the losses worked out there."""


def _tensor(tensor: Any, name: str, torch: Any) -> tuple[Array, bool]:
    """The memory of a torch tensor; what is not predictions is moved over from another device."""
    dense = tensor.layout is torch.strided and not tensor.is_nested
    device = tensor.device.type
    if not dense or device == "meta" or (device != "cpu" and name in ("preds", "out")):
        layout = str(tensor.layout).removeprefix("torch.") if dense or not tensor.is_nested else "nested"
        expected = "a dense one on the CPU, as " + ("tensor.cpu() gives" if dense else "tensor.to_dense() gives")
        kind = OnDevice if dense and device != "meta" else InputError
        raise kind(name, f"is a {layout} tensor on {tensor.device}", expected)
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16), True
    return tensor.numpy(force=True), False  # on the CPU: detached, conjugated and negated, not copied otherwise


def _objects(found: Array, name: str) -> InputError:
    """The entry that keeps an array of objects from being one of numbers."""
    expected = HOLDS.get(name, "a sequence of numbers")
    if not found.shape:
        return InputError(name, f"is {short_repr(found[()])}", expected, value=found[()])
    for index in np.ndindex(found.shape):
        value = found[index]
        if isinstance(value, (int, np.integer)) and not -(2**63) <= value < 2**64:
            return InputError(
                name,
                f"is {short_repr(value)}",
                "an integer that fits int64",
                index=index,
                value=value,
                cause="invalid_label",
            )
        if not isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
            return InputError(name, f"is {short_repr(value)}, an object", expected, index=index, value=value)
    return unsupported(found, name)


def unsupported(found: Any, name: str) -> InputError:
    dtype = getattr(found, "dtype", type(found).__name__)
    kind = (
        "strings" if getattr(dtype, "kind", "") in "UST" else f"dtype {short_repr(dtype) if dtype is None else dtype}"
    )
    return InputError(name, f"has {kind}", HOLDS.get(name, "a sequence of numbers"))


# ---- where a gradient goes ----


def like(source: Any, known: Any, name: str = "preds") -> Any:
    """Return an array like ``source``, which was read as ``known``: a tensor for a tensor."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        array(known, name)  # raises an InputError that explains
        return torch.empty_like(source, requires_grad=False)
    found = np.asarray(source) if isinstance(source, np.ndarray) else read(known, name).values
    return np.empty_like(found, subok=False)


def destination(out: Any, others: Sequence[tuple[str, Any]]) -> Any:
    """``out``, or an array like it where it shares memory with one of the others."""
    torch = sys.modules.get("torch")
    tensor = torch is not None and isinstance(out, torch.Tensor)
    if not tensor and not isinstance(out, np.ndarray):
        raise InputError("out", f"is {short_repr(out)}", f"{HOLDS['out']} to write to")
    found, _ = array(out, "out")
    if tensor and found.size and found.ctypes.data != out.data_ptr():
        raise InputError("out", "is a view of negated numbers", "a tensor to write to")
    if not found.flags.writeable:
        raise InputError("out", "is read-only", "an array to write to")
    if any(size > 1 and stride == 0 for size, stride in zip(found.shape, found.strides, strict=True)):
        raise InputError("out", "is one number in several places", "an array to write to")
    for name, other in others:
        if other is not None and np.may_share_memory(found, read(other, name).values):
            return like(out, out, "out")
    return out


def copy(source: Any, out: Any) -> None:
    """All of ``source`` to ``out``, which is like it."""
    np.copyto(array(out, "out")[0], array(source, "out")[0])


def gradient_shape(out: tuple[int, ...], preds: tuple[int, ...]) -> InputError:
    return InputError("out", f"has shape {out} and preds {preds}", f"the shape of preds, {preds}", value=out)


# ---- shapes ----


def class_axis(axis: int, shape: tuple[int, ...], multiclass: bool) -> int:
    """The class (or label) axis of ``preds`` as a position."""
    one, many = ("class", "classes") if multiclass else ("label", "labels")
    binary = "BinaryCrossEntropy takes one number per sample" if multiclass else ""
    if not shape:
        raise InputError("preds", "is one number", f"an axis of {many}", hint=binary)
    if not -len(shape) <= axis < len(shape):
        raise InputError("axis", f"is {axis}", f"a {one} axis of preds, which has shape {shape}", value=axis)
    axis %= len(shape)
    if shape[axis] == 0:
        raise InputError("preds", f"has shape {shape}, no {many} along axis {axis}", f"one or more {many}", value=shape)
    if multiclass and shape[axis] == 1:
        raise InputError(
            "preds", f"has shape {shape}, one class along axis {axis}", "two classes or more", hint=binary, value=shape
        )
    return axis


def shapes(preds: tuple[int, ...], target: tuple[int, ...], labels: tuple[int, ...] | None) -> InputError:
    expected = f"{labels} (labels) or {preds} (soft targets)" if labels is not None else f"{preds}"
    return InputError("target", f"has shape {target} and preds {preds}", f"a target of shape {expected}", value=target)


def weight_shape(weight: tuple[int, ...], samples: tuple[int, ...], whole: bool = False) -> InputError:
    each = f"one weight per sample, shape {samples}" + (", or one per loss" if not whole else "")
    expected = each if samples else "one number, as for any single sample"
    return InputError("weight", f"has shape {weight}", expected, value=weight)


def settled(statuses: Any, losses: int) -> InputError:
    found, _ = array(statuses, "settled")
    return InputError("settled", f"has dtype {found.dtype} and shape {found.shape}", f"{losses} bytes, one per loss")


def class_count(names: str, preds: tuple[int, ...], remembered: int) -> InputError:
    return InputError("preds", f"has shape {preds}", f"{remembered} {names} as before, since each has sums of its own")


def class_weight_length(found: int, expected: int, names: str, option: str = "class_weight") -> InputError:
    return InputError(option, f"has {found} entries and preds {expected} {names}", f"{expected} entries", value=found)


def key_length(name: str, found: int, samples: int) -> InputError:
    return InputError(
        name, f"has length {found} and preds {samples} samples", f"{samples}, one per sample", value=found
    )


def other_clusters(given: bool) -> InputError:
    if given:
        return InputError(
            "cluster", "is given", "none, as before: samples in clusters and in none have no standard error"
        )
    return InputError("cluster", "is missing", "one per sample, as before: without there is no standard error")


def integer_preds(preds: Any, shape: tuple[int, ...], name: str = "preds") -> InputError:
    hint = SWAPPED if name == "preds" else ""
    return InputError(name, f"has dtype {read(preds, name).values.dtype}", HOLDS[name], hint=hint)


def soft_per_class() -> InputError:
    return InputError("target", "has the shape of preds", "integer labels, as there are sums by the class")


def soft_calibration() -> InputError:
    return InputError(
        "target", "has the shape of preds", "integer labels, since calibration=True asks which class came"
    )


def real_labels(target: Any) -> InputError:
    """Real numbers where integer labels belong."""
    given = read(target, "target")
    found = widened(given.values, given.halves).astype(np.float64)
    whole = found == np.floor(found)  # false for nan
    for wrong, expected in ((~whole, "an integer label"), (np.abs(found) >= 2.0**63, "an integer that fits int64")):
        if wrong.any():
            index = first(wrong)
            value = found[index].item()
            return InputError("target", f"is {value!r}", expected, index=index, value=value, cause="invalid_label")
    return InputError("target", "holds real numbers", "integer labels, or soft targets of the shape of preds")


# ---- CTC: shapes, lengths and labels ----


def not_frames(shape: tuple[int, ...], batch_first: bool) -> InputError:
    axes = "utterances, frames and classes" if batch_first else "frames, utterances and classes"
    layout = "BTC" if batch_first else "TBC"
    expected = f"axes of {axes} (layout {layout!r}), or flat frames and classes; the classes are two or more"
    return InputError("preds", f"has shape {shape}", expected, value=shape)


def no_blank(blank: int, classes: int) -> InputError:
    return InputError("blank", f"is {blank} and preds has {classes} classes", f"one of 0 to {classes - 1}", value=blank)


def not_integers(name: str, source: Any, expected: str = "integers") -> InputError:
    found = read(source, name)
    return InputError(name, f"has dtype {'bfloat16' if found.halves else found.values.dtype}", expected)


def ctc_lengths(name: str, shape: tuple[int, ...], utterances: int) -> InputError:
    wanted = f", shape {(utterances,)}" if utterances >= 0 else ""
    return InputError(name, f"has shape {shape}", f"one length per utterance{wanted}", value=shape)


def ctc_length(name: str, i: int, length: int, least: int, most: int) -> InputError:
    what = "the frames of preds" if name == "input_lengths" else "the labels that target has room for"
    if name == "target_lengths" and length == 0:
        context = f" of sequence {i}"
        return InputError(name, "is 0, an empty target", "1 label or more", index=(i,), value=0, context=context)
    expected, context = f"{least} to {most}, {what}", f", of sequence {i}"
    return InputError(name, f"is {length}", expected, index=(i,), value=length, context=context)


def ctc_target(shape: tuple[int, ...], utterances: int) -> InputError:
    expected = f"labels padded to shape ({utterances}, S), or all of them one after another"
    return InputError("target", f"has shape {shape} and preds {utterances} utterances", expected, value=shape)


def ctc_frames(found: int, expected: int) -> InputError:
    return InputError("preds", f"has {found} frames one after another", f"{expected}, the sum of input_lengths")


def ctc_labels(found: int, expected: int) -> InputError:
    return InputError("target", f"has {found} labels one after another", f"{expected}, the sum of target_lengths")


def ctc_label(index: Index, label: int, i: int, classes: int, blank: int, counter: str) -> InputError:
    what, comma = (", the blank", ",") if label == blank else ("", "")
    expected, context = f"a label from 0 to {classes - 1} other than the blank, {blank}", f"{comma} in sequence {i}"
    return InputError("target", f"is {label}{what}", expected, index=index, value=label, cause=counter, context=context)


def ctc_weight(i: int, weight: float, counter: str) -> InputError:
    expected, context = "a finite number, 0 or more", f", of sequence {i}"
    return InputError("weight", f"is {weight!r}", expected, index=(i,), value=weight, cause=counter, context=context)


def ctc_row(preds: Any, index: Index, i: int, cause: str, counter: str, kind: str) -> InputError:
    """The error for a row of sequence i."""
    row = widened(*_row(preds, index)).astype(np.float64)
    return _bad_row("preds", cause, counter, row, index, 2, kind, f" in sequence {i}")


def _row(preds: Any, index: Index) -> tuple[Array, bool]:
    found, halves, _ = read(preds, "preds")
    return found[index], halves


# ---- values ----


def in_losses(null: Array, shape: tuple[int, ...], axis: int | None, rows: bool, offsets: Any) -> Array:
    """Which losses, in their order, of predictions of a shape an argument's nulls are in.

    ``rows`` says that a loss is one of all classes, ``axis`` is that of these or of labels, and ``offsets`` say where
    the losses of each sample begin, where these are ragged.
    """
    if axis is not None and null.shape == shape:
        null = np.moveaxis(null, axis, -1)
        return null.any(axis=-1).reshape(-1) if rows else null.reshape(-1)
    if axis is not None:
        axis %= len(shape)
        shape = shape[:axis] + shape[axis + 1 :] + (() if rows else shape[axis : axis + 1])
    if null.shape == shape:
        return null.reshape(-1)
    if offsets is not None:
        return np.repeat(null, np.diff(offsets))
    return np.repeat(null, int(np.prod(shape[1:])))


def settle(settled: Any, nulls: Sequence[Array | None], null: int, *place: Any) -> Array:
    """The statuses of losses: what is settled already, else ``null`` where an argument is; see ``in_losses``."""
    masks = [in_losses(mask, *place) for mask in nulls if mask is not None]
    found = np.any(masks, axis=0) * np.uint8(null)
    return found if settled is None else np.where(np.asarray(settled).reshape(-1) == 0, found, np.ravel(settled))


def null_of_loss(loss: int, sample: int, counter: str, arguments: Sequence[tuple[str, Any]], *place: Any) -> InputError:
    """The error for a loss in which an argument is null, the first of which are predictions; see ``in_losses``."""
    shape, axis, rows = place[:3]
    for name, source in arguments:
        null = source.null if isinstance(source, Read) else None
        if null is None or not (found := in_losses(null, *place))[loss]:
            continue
        if axis is not None and null.shape == shape:
            entries = np.moveaxis(np.arange(null.size).reshape(shape), axis, -1)
            entries = entries.reshape(-1, shape[axis] if rows else 1)[loss]
            return null_entry(name, _index(int(entries[null.reshape(-1)[entries]][0]), shape))
        return null_entry(name, _index(loss, null.shape) if null.size == found.size else (sample,))
    return null_row(sample, counter)


def null_row(sample: int, counter: str) -> InputError:
    return InputError(None, "holds a null", "a value", index=(sample,), cause=counter, location=Location(sample))


def bad_value(
    cause: str,
    counter: str,
    loss: int,
    preds: Any,
    target: Any,
    weight: Any,
    *,
    axis: int | None,
    rows: bool,
    soft: bool,
    weight_each: bool,
    sample: int,
    offsets: Any,
    name: str,
    kind: str,
    ignore: int | None,
) -> InputError:
    """The error for invalid loss number ``loss``, whose cause the pipeline found."""
    if cause == "null":
        arguments = (name, preds), ("target", target), ("weight", weight)
        return null_of_loss(loss, sample, counter, arguments, read(preds, name).values.shape, axis, rows, offsets)
    preds_name, context = name, f" in sequence {sample}" if offsets is not None else ""
    name = "weight" if cause == "weight" else "target" if cause.startswith(("target", "label")) else name
    found, halves, _ = read({"weight": weight, "target": target}.get(name, preds), name)
    shape = found.shape
    if rows and axis is not None and (name == "preds" or (name == "target" and soft)):
        moved = np.moveaxis(found, axis, -1)
        index = _index(loss, moved.shape[:-1])
        row_of = widened(moved[index], halves).astype(np.float64)
        return _bad_row(name, cause, counter, row_of, index, axis % len(shape), kind, context)
    if name == "weight" and not weight_each:
        index = (sample,) if shape else ()
    elif rows or axis is None or shape != read(preds, preds_name).values.shape:
        index = _index(loss, shape)
    else:  # the label axis comes last among the losses
        axis %= len(shape)
        *outer, label = _index(loss, (*shape[:axis], *shape[axis + 1 :], shape[axis]))
        index = (*outer[:axis], label, *outer[axis:])
    value = widened(found[index], halves).item()
    if cause != "label":
        return _bad_number(name, cause, counter, value, index, kind, context)
    last = read(preds, "preds").values.shape[axis] - 1 if rows and axis is not None else 1
    expected = f"a class from 0 to {last}" if rows else "0 or 1"
    expected += f" (or {ignore}, ignored)" if ignore is not None else ""
    return InputError(name, f"is {value}", expected, index=index, value=value, cause=counter, context=context)


def _bad_row(
    name: str, cause: str, counter: str, row: Array, index: Index, axis: int, kind: str, context: str = ""
) -> InputError:
    """What is wrong with a row as a whole, or with an entry of it."""
    logarithms = name == "preds" and kind == "log_probs"
    if cause.endswith("sum"):
        total = float((np.exp(row) if logarithms else row).sum())
        expected = f"{'probabilities' if name == 'preds' else 'shares'} that add up to 1"
        found = f"adds up to {total:.6g} over the classes"
        return InputError(
            name, found, expected, hint=_hint(name), index=index, value=total, cause=counter, context=context
        )
    if name == "preds" and kind == "logits" and cause.endswith("range"):
        infinite = int((row == np.inf).sum())
        found = f"has {infinite} logits of +inf" if infinite else "has no logit above -inf"
        expected = "at most one +inf, and not only -inf"
        value = float(row.max())
        return InputError(name, found, expected, index=index, value=value, cause=counter, context=context)
    wrong = np.isnan(row) if cause.endswith("nan") else row > 0 if logarithms else (row < 0) | (row > 1)
    at = int(np.argmax(wrong))
    return _bad_number(name, cause, counter, row[at].item(), (*index[:axis], at, *index[axis:]), kind, context)


def _bad_number(
    name: str, cause: str, counter: str, value: float, index: Index, kind: str, context: str = ""
) -> InputError:
    expected = {
        "weight": "a finite number, 0 or more",
        "target": "a share in [0, 1]",
        "preds": PREDS.get(kind, "a number"),
        "losses": "a number",
        "log_probs": PREDS["log_probs"],
    }[name]
    hint = _hint(name) if cause.endswith("range") else ""
    return InputError(
        name, f"is {value!r}", expected, hint=hint, index=index, value=value, cause=counter, context=context
    )


def _hint(name: str) -> str:
    return USE_LOGITS if name == "preds" else ""


def _index(flat: int, shape: tuple[int, ...]) -> Index:
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


def first(wrong: Array) -> Index:
    """Where the first True stands."""
    return _index(int(np.argmax(wrong)), wrong.shape)


def first_in(wrong: Array, place: tuple[int | slice, ...]) -> Index:
    """Where the first True of a part stands in the whole."""
    inside = iter(first(wrong[place]))
    return (*(next(inside) + each.start if isinstance(each, slice) else each for each in place), *inside)


def widened(found: Any, halves: bool) -> Any:
    """Numbers to look at: bfloat16, held as uint16, as float32."""
    return (np.asarray(found, dtype=np.uint32) << 16).view(np.float32) if halves else found
