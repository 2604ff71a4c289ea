"""Losses of tensors that lie on a device of their own, computed there by torch: one number a loss crosses over.

The formulas are the core's, in float64 and some rows at a time, so that what is taken for them is bounded. The core
goes on from here as with losses of its own: integer targets and weights are its to judge, and so is what
an error says. What torch computes is within its rounding of what the core would have, and not the same bits.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from streamce.core.losses.precomputed import WHAT
from streamce.inputs import arrays

# Predictions that are worked on at a time: 32 MB as float64, of which there are a few.
SOME = 1 << 22
# Of options that a metric does not have.
DEFAULTS = {"axis": -1, "class_weight": None, "ignore_index": None, "label_smoothing": 0.0, "pos_weight": None}
Computed = tuple[Any, Any, Any]  # n and d (None: 1), and what is odd about a loss


class Elsewhere:
    """A chunk of which ``preds`` is a tensor on any device.

    ``preds``, ``target`` and ``weight`` are what the core is to look at: stand-ins of the same shapes and dtypes
    for what stays where it is.
    """

    def __init__(self, task: str, options: dict[str, Any], preds: Any, target: Any, weight: Any) -> None:
        self._torch = torch = sys.modules["torch"]
        self._rows = task == "multiclass"
        self._labels = task == "multilabel"
        self._options = DEFAULTS | options
        preds = self._checked(preds, "preds")
        target, weight = self._checked(target, "target"), self._checked(weight, "weight")
        self._given = preds, target, weight
        self.preds, self.target, self.weight = self._stand_in(preds), target, weight
        if isinstance(target, torch.Tensor):
            stays = target.shape == preds.shape and (self._rows or target.is_floating_point())
            self.target = self._stand_in(target) if stays and target.device.type != "meta" else target

    def _checked(self, source: Any, name: str) -> Any:
        """Check the storage of a tensor; convert anything else, because it is read twice."""
        if not isinstance(source, self._torch.Tensor):
            return arrays.once(source, name)
        arrays.sound(source, name)
        return source

    def _stand_in(self, tensor: Any) -> Any:
        """One number in the place of all of them."""
        return self._torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)

    def on_cpu(self) -> list[Any]:
        """All of it, moved over."""
        tensor = self._torch.Tensor
        return [each.detach().cpu() if isinstance(each, tensor) else each for each in self._given]

    def losses(self, hard: bool, tolerance: float, target_tolerance: float) -> Computed:
        """The losses in the core's order, before weights, and what is odd about each."""
        torch = self._torch
        x = self._given[0].detach()
        self._double = torch.float32 if x.device.type == "mps" else torch.float64  # which Apple's have not
        self._tolerances = tolerance, target_tolerance
        y = self._target(x.device)
        if self._rows or self._labels:
            axis = self._options["axis"]
            x = x.movedim(axis, -1)
            y = y.movedim(axis, -1) if self._labels or not hard else y
        shape = x.shape
        if len(shape) == self._rows + self._labels:  # one sample
            x, y = x[None], y[None]
        step = max(1, SOME * len(x) // max(1, x.numel()))
        parts = []
        with torch.no_grad():
            for start in range(0, len(x), step):
                some, target = x[start : start + step].to(self._double), y[start : start + step]
                if hard:  # an integer that is neither 0 nor 1, or no class, has a status of the core's
                    target = target.long() if self._rows else target.long() & 1
                if not (hard and self._rows):
                    target = target.to(self._double)
                parts.append((self._of_rows if self._rows else self._of_elements)(some, target, hard))
            return tuple(self._joined(column) for column in zip(*parts, strict=True))

    def _target(self, device: Any) -> Any:
        """The target beside the predictions."""
        torch, target = self._torch, self._given[1]
        if not isinstance(target, torch.Tensor):
            given = arrays.read(target, "target")  # whose nulls the pipeline sees to
            found = arrays.widened(given.values, given.halves)
            target = torch.from_numpy(found.astype(np.int64 if found.dtype.kind in "iub" else np.float64))
        return target.detach().to(device)

    def _joined(self, parts: tuple[Any, ...]) -> Any:
        """The parts one after another, as an array."""
        if parts[0] is None:
            return None
        whole = self._torch.cat([part.reshape(-1) for part in parts]).cpu()
        return (whole.double() if whole.is_floating_point() else whole).numpy()

    def _weights(self, name: str, device: Any) -> Any:
        """The weights of an option on the device, 1 where there are none."""
        value = self._options.get(name)
        return self._torch.tensor(1.0 if value is None else value, dtype=self._double, device=device)

    # ---- rows: multiclass ----

    def _of_rows(self, x: Any, y: Any, hard: bool) -> Computed:
        torch = self._torch
        classes = x.shape[-1]
        x = x.reshape(-1, classes)
        weight, smoothing = self._weights("class_weight", x.device), self._options["label_smoothing"]
        weight = weight.expand(classes)
        base = weight * (smoothing / classes)
        causes, unnormalised, rest, costs, below = self._judged(x)
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
            shares = y * (weight * (1 - smoothing)) + base
            n = _product(costs(None), shares).sum(1) + rest * shares.sum(1)
            d = (y * weight).sum(1)
            floored = (below(None) & ((base > 0) | (y > 0))).any(1)
            least, most, off = y.amin(1), y.amax(1), (y.sum(1) - 1).abs()
            tolerance = self._tolerances[1]
            unnormalised = unnormalised | (off > tolerance)
            causes = {
                "target_nan": least.isnan(),
                "target_range": (least < 0) | (most > 1),
                "target_sum": off > max(0.01, tolerance),
                **causes,
            }
        return n, d, self._what(causes, {"floored": floored, "unnormalised": unnormalised})

    def _judged(self, x: Any) -> tuple[dict[str, Any], Any, Any, Any, Any]:
        """What is wrong with rows, whether they add up to 1 only roughly, what every class costs beside its own
        cost, this cost of a column of labels or (None) of all classes, and whether it was floored."""
        torch, kind = self._torch, self._options["kind"]
        least, most = x.amin(1), x.amax(1)
        if kind == "logits":
            top = x.argmax(1, keepdim=True)
            away = torch.where(x == most[:, None], 0.0, most[:, None] - x)  # 0 of +inf as well
            rest = (-away).exp_().scatter_(1, top, 0.0).sum(1).log1p_()
            infinite = (x == math.inf).sum(1) > 1
            causes = {"preds_nan": most.isnan(), "preds_range": infinite | (most == -math.inf)}
            no = torch.zeros_like(rest, dtype=torch.bool)
            return causes, no, rest, lambda of: away if of is None else away.gather(1, of), lambda of: no[:, None]
        floor = self._options["eps"]
        cap = -math.log(floor) if floor else math.inf

        def costs(of: Any) -> Any:
            p = x if of is None else x.gather(1, of)
            return (0.0 - p).clamp(max=cap) if kind == "log_probs" else 0.0 - p.clamp(floor, 1.0).log_()

        def below(of: Any) -> Any:
            p = x if of is None else x.gather(1, of)
            return 0.0 - p > cap if kind == "log_probs" else p < floor

        off = ((x.exp() if kind == "log_probs" else x).sum(1) - 1).abs()
        outside = most > 0 if kind == "log_probs" else (least < 0) | (most > 1)
        causes = {
            "preds_nan": least.isnan(),
            "preds_range": outside,
            "preds_sum": off > max(0.01, self._tolerances[0]),
        }
        return causes, off > self._tolerances[0], torch.zeros_like(off), costs, below

    # ---- elements: binary and multilabel ----

    def _of_elements(self, x: Any, y: Any, hard: bool) -> Computed:
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
        return n, d, self._what(causes, {"floored": floored})

    def _outcomes(self, x: Any) -> tuple[Any, Any, dict[str, Any], Any, Any]:
        """The costs of outcomes 1 and 0, what is wrong, and which of them are floored."""
        torch, kind = self._torch, self._options["kind"]
        if kind == "logits":
            rest = (-x.abs()).exp_().log1p_()
            no = torch.zeros_like(x, dtype=torch.bool)
            return (-x).clamp(min=0.0) + rest, x.clamp(min=0.0) + rest, {"preds_nan": x.isnan()}, no, no
        floor = self._options["eps"]
        cap = -math.log(floor) if floor else math.inf
        if kind == "probs":
            outside = (x < 0) | (x > 1)
            below, beyond = x < floor, 1 - x < floor
            one, zero = 0.0 - x.clamp(floor, 1.0).log_(), torch.where(beyond, cap, 0.0 - (-x).log1p_())
        else:
            outside = x > 0
            one = (0.0 - x).clamp(max=cap)
            # log(1 - e^x), of which either form keeps its digits where it is used
            zero = 0.0 - torch.where(x > -math.log(2), (-x.expm1()).log_(), (-x.exp()).log1p_())
            zero = zero.clamp(max=cap)
            below, beyond = 0.0 - x > cap, (zero >= cap) & (floor > 0)
        return one, zero, {"preds_nan": x.isnan(), "preds_range": outside}, below, beyond

    # ---- both ----

    def _what(self, causes: dict[str, Any], flags: dict[str, Any]) -> Any:
        """The first cause that applies, or what is odd about a loss that counts."""
        torch = self._torch
        what = sum(mask.to(torch.uint8) * WHAT[name] for name, mask in flags.items())
        for name, mask in reversed(causes.items()):
            what = torch.where(mask, WHAT[name], what)
        return what.to(torch.uint8)


def _product(cost: Any, factor: Any) -> Any:
    """0 times inf is 0."""
    return (cost * factor).masked_fill_(factor == 0, 0.0)
