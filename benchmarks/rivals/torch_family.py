"""torch, eager and compiled, and the metric libraries that are built on it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.cases import BATCHES, SCALARS, Array, Case
from benchmarks.rivals import Chunk, Rival, Run, average

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def tensors(case: Case, preds: Array, target: Array | None) -> Chunk:
    if case.dtype == "bfloat16":
        x = torch.from_numpy(preds.view(np.int16)).view(torch.bfloat16)
    else:
        x = torch.from_numpy(preds)
    if target is None:
        return x, x
    y = torch.from_numpy(target)
    # Binary losses of torch need targets of the dtype of the predictions.
    return x, y.to(x.dtype) if case.job == "binary" else y


def ctc(case: Case, x: Any, y: Any) -> Any:
    """Return the mean of loss / labels. All utterances have the same number of labels. A transposed view is as fast."""
    logs = x.log_softmax(-1) if case.kind == "logits" else x
    frames, labels = (torch.full((len(x),), length) for length in (case.frames, case.labels))
    return F.ctc_loss(logs.transpose(0, 1), y, frames, labels)


class Eager(Rival):
    def version(self) -> str:
        return f"torch {torch.__version__}"

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        return tensors(case, preds, target)

    def function(self, case: Case) -> Run | None:
        left_out = case.stored or case.keys or case.forms == (SCALARS,)
        return None if left_out else average(self._mean(case))

    def _mean(self, case: Case) -> Callable[[Any, Any], Any]:
        if case.job == "mean":
            # Also sum the squares. The factor 0 keeps them out of the result, but no compiler may omit them.
            return lambda x, _: x.mean() + 0 * torch.dot(x, x)
        if case.job == "binary":
            logits, probs = F.binary_cross_entropy_with_logits, F.binary_cross_entropy
            found: Callable[[Any, Any], Any] = logits if case.kind == "logits" else probs
            return found
        if case.job == "ctc":
            return lambda x, y: ctc(case, x, y)
        if case.kind == "probs":
            return lambda p, y: F.nll_loss(p.log(), y)
        return lambda x, y: F.cross_entropy(x, y, label_smoothing=case.smoothing)


class Compiled(Eager):
    compiles = True

    def version(self) -> str:
        return f"torch.compile of torch {torch.__version__}"

    def _mean(self, case: Case) -> Callable[[Any, Any], Any]:
        torch.compiler.reset()
        # Compile for each shape, because a kernel for any shape was up to 1.4 times slower.
        compiled: Callable[[Any, Any], Any] = torch.compile(super()._mean(case), dynamic=False)
        return compiled


def is_perplexity(case: Case) -> bool:
    """Return whether a metric of perplexity can do this job: token losses of a language model."""
    tokens = case.job == "multiclass" and (case.classes >= 1000 or case.forms == (BATCHES,))
    return tokens and case.dtype == "float32" and case.target == "labels" and not case.smoothing


class Torchmetrics(Rival):
    most = 4_000_000

    def version(self) -> str:
        import torchmetrics

        return f"torchmetrics {torchmetrics.__version__}"

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        return tensors(case, preds, target)

    def function(self, case: Case) -> Run | None:
        if not is_perplexity(case):
            return None
        from torchmetrics.text import Perplexity

        def run(chunks: Sequence[Chunk]) -> float:
            metric = Perplexity()
            for x, y in chunks:
                metric.update(x[None], y[None])
            return math.log(metric.compute())

        return run


class Torcheval(Rival):
    """torcheval. Its perplexity builds a matrix of rows by rows, so it gets fewer rows."""

    most = 4_000_000

    def __init__(self) -> None:
        self._base = 1.0

    def version(self) -> str:
        import torcheval

        return f"torcheval {torcheval.__version__}"

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        if case.job == "binary" and target is not None:
            rate = float(target.mean())
            self._base = -rate * math.log(rate) - (1 - rate) * math.log1p(-rate)
        return tensors(case, preds, target)

    def function(self, case: Case) -> Run | None:
        from torcheval.metrics import BinaryNormalizedEntropy, Perplexity

        if is_perplexity(case):
            return lambda chunks: math.log(self._stream(Perplexity(), chunks, lambda array: array[None]))
        if case.job == "binary" and case.forms != (SCALARS,):
            return lambda chunks: (
                self._base
                * self._stream(BinaryNormalizedEntropy(from_logits=case.kind == "logits"), chunks, lambda array: array)
            )
        return None

    @staticmethod
    def _stream(metric: Any, chunks: Sequence[Chunk], shaped: Callable[[Any], Any]) -> float:
        for x, y in chunks:
            metric.update(shaped(x), shaped(y))
        return float(metric.compute())
