"""Computes losses of torch tensors on their own device, so that only one number per loss is copied to the CPU.

The formulas are those of the core, in float64. They are evaluated a few rows at a time, which bounds the memory. The
core then treats the result like losses of its own: it checks integer targets and weights, and it words the errors. The
losses agree with those of the core within torch's rounding, but not in every bit.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from streamce.core.losses.precomputed import PACKED_STATUS
from streamce.inputs import arrays

# The number of predictions per step: 32 MB as float64. A step needs a few arrays of this size.
PREDS_PER_STEP = 1 << 22
# Defaults of options that a metric may lack.
DEFAULTS = {"axis": -1, "class_weight": None, "ignore_index": None, "label_smoothing": 0.0, "pos_weight": None}
Losses = tuple[Any, Any, Any]  # n, d (None for 1), and the status of each loss


class TorchDeviceLosses:
    """A batch whose ``preds`` is a tensor on any device.

    The core reads the attributes ``preds``, ``target`` and ``weight``. Arrays that stay on the device are represented
    there by stand-ins of the same shape and dtype.
    """

    preds: Any
    target: Any
    weight: Any

    def __init__(self, task: str, options: dict[str, Any], preds: Any, target: Any, weight: Any) -> None:
        self._torch = torch = sys.modules["torch"]
        self._rows = task == "multiclass"
        self._labels = task == "multilabel"
        self._options = DEFAULTS | options
        preds = self._checked(preds, "preds")
        target, weight = self._checked(target, "target"), self._checked(weight, "weight")
        self._sources = preds, target, weight
        self.preds, self.target, self.weight = self._stand_in(preds), target, weight
        if isinstance(target, torch.Tensor):
            is_entrywise = target.shape == preds.shape or (
                not self._rows and not self._labels and target.shape.numel() == preds.shape.numel()
            )
            stays = is_entrywise and (self._rows or target.is_floating_point())
            self.target = self._stand_in(target) if stays and target.device.type != "meta" else target

    def _checked(self, source: Any, name: str) -> Any:
        """Check the storage of a tensor; convert anything else, because it is read twice."""
        if not isinstance(source, self._torch.Tensor):
            return arrays.materialize(source, name)
        arrays.check_memory(source, name)
        return source

    def _stand_in(self, tensor: Any) -> Any:
        """Return a CPU tensor of the same shape and dtype that takes the memory of one number."""
        return self._torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)

    def on_cpu(self) -> list[Any]:
        """Return predictions, target and weight, with tensors copied to the CPU."""
        tensor = self._torch.Tensor
        return [each.detach().cpu() if isinstance(each, tensor) else each for each in self._sources]

    def losses(self, hard: bool, tolerance: float, target_tolerance: float) -> Losses:
        """Return the losses in the core's order, before weights, and the status of each.

        ``hard`` says whether targets are integers.
        """
        torch = self._torch
        x = self._sources[0].detach()
        self._double = torch.float32 if x.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self._tolerances = tolerance, target_tolerance
        y = self._target(x.device)
        if self._rows or self._labels:
            axis = self._options["axis"]
            x = x.movedim(axis, -1)
            y = y.movedim(axis, -1) if self._labels or not hard else y
        else:
            y = y.reshape(x.shape)  # (N, 1) is (N,)
        shape = x.shape
        if len(shape) == self._rows + self._labels:  # one sample
            x, y = x[None], y[None]
        step = max(1, PREDS_PER_STEP * len(x) // max(1, x.numel()))
        compute = self._row_losses if self._rows else self._element_losses
        steps = []
        with torch.no_grad():
            for start in range(0, len(x), step):
                preds, target = x[start : start + step].to(self._double), y[start : start + step]
                if hard:  # the core reports integers that are not a class
                    target = target.long() if self._rows else target.long() & 1
                if not (hard and self._rows):
                    target = target.to(self._double)
                steps.append(compute(preds, target, hard))
            return tuple(self._concatenated(column) for column in zip(*steps, strict=True))

    def _target(self, device: Any) -> Any:
        """Return the target on the device of the predictions."""
        torch, target = self._torch, self._sources[1]
        if not isinstance(target, torch.Tensor):
            given = arrays.convert(target, "target")  # the pipeline handles nulls
            found = arrays.bfloat16_to_float32(given.values, given.is_bfloat16)
            target = torch.from_numpy(found.astype(np.int64 if found.dtype.kind in "iub" else np.float64))
        return target.detach().to(device)

    def _concatenated(self, steps: tuple[Any, ...]) -> Any:
        """Return the results of all steps as one NumPy array."""
        if steps[0] is None:
            return None
        tensor = self._torch.cat([each.reshape(-1) for each in steps]).cpu()
        return (tensor.double() if tensor.is_floating_point() else tensor).numpy()

    def _weights(self, name: str, device: Any) -> Any:
        """Return the weights of an option on the device, 1 if there are none."""
        value = self._options.get(name)
        return self._torch.tensor(1.0 if value is None else value, dtype=self._double, device=device)

    # ---- rows: multiclass ----

    def _row_losses(self, x: Any, y: Any, hard: bool) -> Losses:
        """Return the losses of rows of classes."""
        torch = self._torch
        classes = x.shape[-1]
        x = x.reshape(-1, classes)
        weight, smoothing = self._weights("class_weight", x.device), self._options["label_smoothing"]
        weight = weight.expand(classes)
        base = weight * (smoothing / classes)
        causes, unnormalised, rest, costs, below = self._check_rows(x)
        if hard:
            label = y.reshape(-1, 1).clamp(0, classes - 1)
            own = weight[label[:, 0]] if self._options["class_weight"] is not None else None
            main = (1 - smoothing) * (own if own is not None else torch.ones_like(rest))
            n, d = _product(costs(label)[:, 0], main) + rest * (main + base.sum()), own
            floored = below(label)[:, 0]
            if smoothing > 0:
                n += _product(costs(None), base).sum(1)
                floored |= (below(None) & (base > 0)).any(1)
        else:
            y = y.reshape(-1, classes)
            low, high, off = y.amin(1), y.amax(1), (y.sum(1) - 1).abs()
            y = y.clamp(max=1.0)  # NaN stays NaN
            shares = y * (weight * (1 - smoothing)) + base
            n = _product(costs(None), shares).sum(1) + rest * shares.sum(1)
            d = (y * weight).sum(1)
            floored = (below(None) & ((base > 0) | (y > 0))).any(1)
            tolerance = self._tolerances[1]
            unnormalised = unnormalised | (off > tolerance) | (high > 1)
            causes = {
                "target_nan": low.isnan(),
                "target_range": (low < 0) | (high > 1 + tolerance),
                "target_sum": off > max(0.01, tolerance),
                **causes,
            }
        return n, d, self._status(causes, {"floored": floored, "unnormalised": unnormalised})

    def _check_rows(self, x: Any) -> tuple[dict[str, Any], Any, Any, Any, Any]:
        """Return the causes why rows are invalid, which rows are unnormalised, and the parts of their losses.

        The loss of a class is its own cost plus a cost that all classes of the row share. The parts are this shared
        cost; a function that returns the own costs of a column of labels, or of all classes for None; and a function
        that returns which of these were floored.
        """
        torch, kind = self._torch, self._options["kind"]
        low, high = x.amin(1), x.amax(1)
        if kind == "logits":
            top = x.argmax(1, keepdim=True)
            away = torch.where(x == high[:, None], 0.0, high[:, None] - x)  # also 0 for +inf
            rest = (-away).exp_().scatter_(1, top, 0.0).sum(1).log1p_()
            infinite = (x == math.inf).sum(1) > 1
            causes = {"preds_nan": high.isnan(), "preds_range": infinite | (high == -math.inf)}
            no = torch.zeros_like(rest, dtype=torch.bool)

            def own_costs(labels: Any) -> Any:
                return away if labels is None else away.gather(1, labels)

            return causes, no, rest, own_costs, lambda labels: no[:, None]
        floor = self._options["eps"]
        cap = -math.log(floor) if floor else math.inf

        def costs(labels: Any) -> Any:
            p = x if labels is None else x.gather(1, labels)
            return (0.0 - p).clamp(max=cap) if kind == "log_probs" else 0.0 - p.clamp(floor, 1.0).log_()

        def below(labels: Any) -> Any:
            p = x if labels is None else x.gather(1, labels)
            return 0.0 - p > cap if kind == "log_probs" else p < floor

        off = ((x.exp() if kind == "log_probs" else x).sum(1) - 1).abs()
        unnormalised = off > self._tolerances[0]
        if kind == "log_probs":
            outside = high > 0
        else:
            outside = (low < 0) | (high > 1 + self._tolerances[0])
            unnormalised |= high > 1
        causes = {
            "preds_nan": low.isnan(),
            "preds_range": outside,
            "preds_sum": off > max(0.01, self._tolerances[0]),
        }
        return causes, unnormalised, torch.zeros_like(off), costs, below

    # ---- elements: binary and multilabel ----

    def _element_losses(self, x: Any, y: Any, hard: bool) -> Losses:
        """Return the losses of binary outcomes."""
        torch, options = self._torch, self._options
        weight, smoothing = self._weights("class_weight", x.device), options["label_smoothing"]
        low, high = (weight, weight) if self._labels or options["class_weight"] is None else weight
        one, zero, causes, below, beyond = self._outcomes(x)
        first = high * self._weights("pos_weight", x.device) * (y * (1 - smoothing) + smoothing / 2)
        second = low * ((1 - y) * (1 - smoothing) + smoothing / 2)
        n = _product(one, first) + _product(zero, second)
        d = None if options["class_weight"] is None else high * y + low * (1 - y)
        ignore = options["ignore_index"]
        if not hard:
            causes = {
                "left_out": torch.zeros_like(y, dtype=torch.bool) if ignore is None else y == ignore,
                "target_nan": y.isnan(),
                "target_range": (y < 0) | (y > 1),
                **causes,
            }
        floored = below | beyond if smoothing > 0 else ((y > 0) & below) | ((y < 1) & beyond)
        exceeds = (x > 1) if options["kind"] == "probs" else torch.zeros_like(floored)
        return n, d, self._status(causes, {"floored": floored, "unnormalised": exceeds})

    def _outcomes(self, x: Any) -> tuple[Any, Any, dict[str, Any], Any, Any]:
        """Return the costs of outcomes 1 and 0, the causes why losses are invalid, and which costs are floored."""
        torch, kind = self._torch, self._options["kind"]
        if kind == "logits":
            rest = (-x.abs()).exp_().log1p_()
            no = torch.zeros_like(x, dtype=torch.bool)
            return (-x).clamp(min=0.0) + rest, x.clamp(min=0.0) + rest, {"preds_nan": x.isnan()}, no, no
        floor = self._options["eps"]
        cap = -math.log(floor) if floor else math.inf
        if kind == "probs":
            outside = (x < 0) | (x > 1 + self._tolerances[0])
            x = x.clamp(max=1.0)
            below, beyond = x < floor, 1 - x < floor
            one, zero = 0.0 - x.clamp(floor, 1.0).log_(), torch.where(beyond, cap, 0.0 - (-x).log1p_())
        else:
            outside = x > 0
            one = (0.0 - x).clamp(max=cap)
            # Two forms of log(1 - e^x), because each keeps its digits only on one side of -log 2.
            zero = 0.0 - torch.where(x > -math.log(2), (-x.expm1()).log_(), (-x.exp()).log1p_())
            zero = zero.clamp(max=cap)
            below, beyond = 0.0 - x > cap, (zero >= cap) & (floor > 0)
        return one, zero, {"preds_nan": x.isnan(), "preds_range": outside}, below, beyond

    # ---- both ----

    def _status(self, causes: dict[str, Any], flags: dict[str, Any]) -> Any:
        """Return the first cause that applies, or the flags of a loss that counts."""
        torch = self._torch
        status = sum(mask.to(torch.uint8) * PACKED_STATUS[name] for name, mask in flags.items())
        for name, mask in reversed(causes.items()):
            status = torch.where(mask, PACKED_STATUS[name], status)
        return status.to(torch.uint8)


def _product(cost: Any, factor: Any) -> Any:
    """Return cost · factor, with 0 · inf = 0."""
    return (cost * factor).masked_fill_(factor == 0, 0.0)
