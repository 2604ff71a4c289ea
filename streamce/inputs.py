"""The one judge of inputs beyond the fast path: anything in, an array out, or the error that
explains. The compiled pipeline asks here for whatever is no plain NumPy array, and for the words
of every error it finds."""

from typing import Any

import numpy as np

from streamce.errors import InputError

REAL = "float64, float32, float16 or bfloat16"
NAMES = {"preds": f"an array of {REAL}", "target": "integers, bool or real numbers", "weight": "real numbers"}


# ---- what is given, as an array ----


def array(source: Any, name: str) -> tuple[np.ndarray, bool]:
    """``source`` as a NumPy array without copying it, and whether it holds bfloat16 as uint16."""
    module = type(source).__module__.partition(".")[0]
    if module == "torch":
        return _tensor(source, name)
    if source is None:
        raise InputError(f"{name} is None: expected {NAMES.get(name, 'an array')}", argument=name)
    try:
        found = np.asarray(source)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise InputError(f"{name} is no array: {reason}", argument=name) from error
    if found.dtype.name == "bfloat16":
        return found.view(np.uint16), True
    if found.dtype.kind == "O":
        raise _objects(found, name)
    if found.dtype.kind not in "fiub":
        raise unsupported(found, name)
    if found.size == 0 and isinstance(source, (list, tuple)) and name == "target":
        return found.astype(np.int64), False  # [] has no dtype of its own
    return found, False


def _tensor(source: Any, name: str) -> tuple[np.ndarray, bool]:
    """A torch tensor's memory; torch itself is never imported."""
    tensor = source.detach()
    if tensor.device.type != "cpu" or tensor.layout != type(source).__module__ and str(tensor.layout) != "torch.strided":
        raise InputError(
            f"{name} is a {str(tensor.layout).removeprefix('torch.')} tensor on {tensor.device}: "
            "expected a dense one on the CPU, as tensor.cpu() gives",
            argument=name,
        )
    if str(tensor.dtype) == "torch.bfloat16":
        import sys

        return tensor.view(sys.modules["torch"].int16).numpy().view(np.uint16), True
    found = tensor.resolve_conj().resolve_neg().numpy()
    if found.dtype.kind not in "fiub":
        raise unsupported(found, name)
    return found, False


def _objects(found: np.ndarray, name: str) -> InputError:
    """The entry that keeps an object array from being numbers."""
    for index in np.ndindex(found.shape):
        value = found[index]
        if isinstance(value, (int, np.integer)) and not -(2**63) <= value < 2**64:
            return InputError(
                f"{_at(name, index)} is {value}: expected an integer that fits int64",
                argument=name, index=index, value=value, expected="an integer that fits int64", cause="invalid_label",
            )
        if not isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
            expected = NAMES.get(name, "numbers")
            return InputError(
                f"{_at(name, index)} is {value!r} in an array of objects: expected {expected}",
                argument=name, index=index, value=value, expected=expected,
            )
    return unsupported(found, name)


def unsupported(found: Any, name: str) -> InputError:
    dtype = getattr(found, "dtype", type(found).__name__)
    kind = "strings" if getattr(dtype, "kind", "") in "UST" else f"dtype {dtype}"
    expected = NAMES.get(name, "numbers")
    return InputError(f"{name} has {kind}: expected {expected}", argument=name, expected=expected)


# ---- shapes ----


def class_axis(axis: int, shape: tuple[int, ...], multiclass: bool) -> int:
    """The class (or label) axis of ``preds`` as a position."""
    what, names = ("class", "classes") if multiclass else ("label", "labels")
    if not shape:
        raise InputError(
            f"preds is one number: expected an axis of {names}" + ("; for two classes BinaryCrossEntropy takes numbers" if multiclass else ""),
            argument="preds",
        )
    if not -len(shape) <= axis < len(shape):
        raise InputError(
            f"axis is {axis}: expected a {what} axis of preds, which has shape {shape}", argument="axis", value=axis
        )
    axis %= len(shape)
    if shape[axis] == 0:
        raise InputError(f"preds has shape {shape}: no {names} along axis {axis}", argument="preds")
    if multiclass and shape[axis] == 1:
        raise InputError(
            f"preds has shape {shape}: one class along axis {axis}, expected 2 or more "
            "(BinaryCrossEntropy takes one number per sample)",
            argument="preds",
        )
    return axis


def shapes(preds: tuple[int, ...], target: tuple[int, ...], labels: tuple[int, ...] | None) -> InputError:
    expected = f"{labels} (labels) or {preds} (soft targets)" if labels is not None else f"{preds}, as preds"
    return InputError(
        f"target has shape {target}, preds {preds}: expected target of shape {expected}",
        argument="target", value=target, expected=expected,
    )


def weight_shape(weight: tuple[int, ...], samples: tuple[int, ...]) -> InputError:
    expected = f"one weight per sample, shape {samples}" if samples else "one number"
    return InputError(f"weight has shape {weight}: expected {expected}", argument="weight", expected=expected)


def class_count(names: str, preds: tuple[int, ...], remembered: int) -> InputError:
    return InputError(
        f"preds has shape {preds}: expected {remembered} {names} as before, since each has sums of its own",
        argument="preds",
    )


def class_weight_length(found: int, expected: int, names: str, option: str = "class_weight") -> InputError:
    return InputError(
        f"{option} has {found} entries and preds {expected} {names}: expected one per {names[:-2] if names == 'classes' else names[:-1]}",
        argument=option,
    )


def integer_preds(preds: Any, shape: tuple[int, ...]) -> InputError:
    dtype = getattr(preds, "dtype", type(preds).__name__)
    return InputError(
        f"preds has dtype {dtype}: expected {REAL}; are preds and target swapped?", argument="preds"
    )


def soft_per_class() -> InputError:
    return InputError(
        "target has the shape of preds: expected integer labels, since per_class=True sums by the class of the target",
        argument="target",
    )


def real_labels(target: Any) -> InputError:
    """Real numbers where integer labels belong."""
    found = _plain(target)
    fractional = np.argwhere(np.isnan(found) | (found != np.floor(found)))
    if len(fractional):
        index = tuple(int(i) for i in fractional[0])
        return InputError(
            f"{_at('target', index)} is {found[index]}: expected an integer label",
            argument="target", index=index, value=float(found[index]), expected="an integer label",
            cause="invalid_label",
        )
    return InputError(
        f"target has dtype {found.dtype}: expected integer labels, or soft targets of the shape of preds",
        argument="target", expected="integer labels",
    )


# ---- values ----


def _plain(source: Any) -> np.ndarray:
    """An argument for looking at: bfloat16 as float32."""
    found, halves = array(source, "preds")
    if halves:
        return (found.astype(np.uint32) << 16).view(np.float32)
    return found


def _at(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


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
    group: int,
    kind: str,
    ignore: int | None,
) -> InputError:
    """The error for invalid loss number ``loss``, whose cause the pipeline found."""
    name = "weight" if cause == "weight" else "target" if cause.startswith(("target", "label")) else "preds"
    source = {"preds": preds, "target": target, "weight": weight}[name]
    shape = np.shape(source) if not hasattr(source, "shape") else tuple(source.shape)
    row: np.ndarray | None = None
    if name == "weight":
        index = _index(loss if weight_each else loss // group, shape)
    elif axis is None or (name == "target" and not soft and rows):
        index = _index(loss, shape)
    else:
        # The class axis is last among the losses of a multilabel row, and apart in multiclass.
        axis %= len(shape)
        outer = shape[:axis] + shape[axis + 1 :]
        if rows:
            index = _index(loss, outer)
            row = _plain(source[(*index[:axis], slice(None), *index[axis:])] if hasattr(source, "shape") else np.asarray(source)[(*index[:axis], slice(None), *index[axis:])])
        else:
            inner = _index(loss, (*outer, shape[axis]))
            index = (*inner[:axis], inner[-1], *inner[axis:-1])

    if cause == "null":
        return InputError(f"row {loss // group} holds a null: expected a value", index=(loss // group,), cause=counter)
    if row is not None:
        row = row.astype(np.float64)
        if cause.endswith("sum"):
            total = float(np.exp(row).sum()) if name == "preds" and kind == "log_probs" else float(row.sum())
            what = "probabilities" if name == "preds" else "shares"
            expected = f"{what} that add up to 1"
            hint = _hint(kind) if name == "preds" else ""
            return InputError(
                f"{_at(name, index)} adds up to {total:.6g} over the classes: expected {expected}{hint}",
                argument=name, index=index, value=total, expected=expected, cause=counter,
            )
        if name == "preds" and kind == "logits" and not np.isnan(row).any():
            many = int((row == np.inf).sum())
            what = f"{many} logits of +inf" if many else "no logit above -inf"
            return InputError(
                f"{_at(name, index)} has {what}: expected at most one +inf and not only -inf",
                argument=name, index=index, value=float(row.max()), expected="at most one +inf", cause=counter,
            )
        wrong = np.isnan(row) if cause.endswith("nan") else row > 0 if name == "preds" and kind == "log_probs" else (row < 0) | (row > 1)
        at = int(np.argmax(wrong))
        value: Any = float(row[at])
        index = (*index[:axis], at, *index[axis:])
    else:
        value = _plain(source)[index].item()
    expected = _expected(name, cause, kind, rows, ignore)
    hint = _hint(kind) if name == "preds" and cause == "preds_range" else ""
    return InputError(
        f"{_at(name, index)} is {value!r}: expected {expected}{hint}",
        argument=name, index=index, value=value, expected=expected, cause=counter,
    )


def _index(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()


def _hint(kind: str) -> str:
    return "" if kind == "logits" else '; for logits use kind="logits"'


def _expected(name: str, cause: str, kind: str, rows: bool, ignore: int | None) -> str:
    if name == "weight":
        return "a finite number, 0 or more"
    if cause == "label":
        left_out = f" (or {ignore}, ignored)" if ignore is not None else ""
        return ("a class, from 0 to one less than their number" if rows else "0 or 1") + left_out
    if name == "target":
        return "a share in [0, 1]"
    if cause == "preds_nan" and kind == "logits":
        return "a number"
    return "a log-probability, 0 or less" if kind == "log_probs" else "a probability in [0, 1]"


# ---- options ----


def option(condition: bool, name: str, value: Any, expected: str) -> None:
    """Raises unless the option's condition holds."""
    if not condition:
        raise InputError(
            f"{name} is {value!r}: expected {expected}", argument=name, value=value, expected=expected
        )


def is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def weights(values: Any, name: str) -> tuple[float, ...] | None:
    """An option that holds a weight per class or label, as floats."""
    if values is None:
        return None
    found = _plain(values)
    option(found.ndim == 1 and found.size > 0 and found.dtype.kind in "fiu", name, values, "a sequence of numbers")
    listed = tuple(float(value) for value in found)
    for i, value in enumerate(listed):
        if not 0 <= value < float("inf"):
            raise InputError(
                f"{name}[{i}] is {value!r}: expected a finite number, 0 or more",
                argument=name, index=(i,), value=value, expected="a finite number, 0 or more",
            )
    return listed
