"""streamce, and reading the memory once, which is a lower bound for all contenders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

import streamce as ce
from benchmarks.cases import BATCHES, SCALARS, Array, Case, wide
from benchmarks.rivals import Chunk, Rival, Run
from streamce.core.kernels import kernels
from streamce.metrics.base import Metric


class Streamce(Rival):
    def version(self) -> str:
        return f"streamce {ce.__version__}, {kernels.current()}"

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        if case.dtype == "bfloat16":
            import ml_dtypes

            preds = preds.view(ml_dtypes.bfloat16)
        return preds, target

    def function(self, case: Case) -> Run | None:
        if case.job == "command":
            return None
        if case.job == "file":
            return lambda chunks: of_parquet(*chunks[0])
        if case.job == "lines":
            return lambda chunks: of_lines(chunks[0][0], case)
        if case.job == "mean":
            return self._mean
        if case.job == "grouped":
            return self._grouped
        if case.job == "ctc":
            return lambda chunks: self._ctc(case, chunks)
        return lambda chunks: self._stream(self._metric(case), chunks)

    @staticmethod
    def _metric(case: Case) -> Metric:
        if case.job == "binary":
            return ce.BinaryCrossEntropy(kind=case.kind)  # type: ignore[arg-type]
        return ce.MulticlassCrossEntropy(kind=case.kind, label_smoothing=case.smoothing)  # type: ignore[arg-type]

    @staticmethod
    def _stream(metric: Metric, chunks: Sequence[Chunk]) -> float:
        for preds, target in chunks:
            metric.update(preds, target)
        return metric.compute()

    @staticmethod
    def _ctc(case: Case, chunks: Sequence[Chunk]) -> float:
        metric = ce.CTCCrossEntropy(kind=case.kind, layout="BTC")  # type: ignore[arg-type]
        for preds, target in chunks:
            lengths = (np.full(len(preds), length) for length in (case.frames, case.labels))
            metric.update(preds, target, **dict(zip(("input_lengths", "target_lengths"), lengths, strict=True)))
        return metric.compute()

    @staticmethod
    def _mean(chunks: Sequence[Chunk]) -> float:
        metric = ce.MeanLoss()
        for losses, _ in chunks:
            metric.update(losses)
        return metric.compute()

    @staticmethod
    def _grouped(chunks: Sequence[Chunk]) -> float:
        metric = ce.Grouped(ce.MeanLoss())
        for losses, keys in chunks:
            metric.update(losses, by=keys)
        value: float = metric.micro().value
        return value


def of_parquet(path: str, _: object) -> float:
    """Return the log loss of a Parquet file: each thread reads its own row groups, and the states are added."""
    from pyarrow.parquet import ParquetFile

    threads = int(os.environ["STREAMCE_NUM_THREADS"])
    groups = range(ParquetFile(path).num_row_groups)

    def part(first: int) -> ce.BinaryCrossEntropy:
        metric = ce.BinaryCrossEntropy(threads=1)
        mine = list(groups[first::threads])
        for batch in ParquetFile(path).iter_batches(1 << 17, row_groups=mine, columns=["p", "y"], use_threads=False):
            metric.update(batch["p"].to_numpy(), batch["y"].to_numpy())
        return metric

    with ThreadPoolExecutor(threads) as pool:
        return ce.BinaryCrossEntropy().merge(*pool.map(part, range(threads))).compute()


def of_lines(path: str, case: Case) -> float:
    """Return the log loss of JSON lines as ``streamce eval`` computes it: one thread reads, another adds."""
    from streamce.reading.files.sources import find_sources
    from streamce.reading.reader import Reading
    from streamce.reading.selection import Selection

    metric: Metric = ce.BinaryCrossEntropy() if case.classes == 1 else ce.MulticlassCrossEntropy()
    axes = (1, 1) if case.classes == 1 else (2, 1)
    reading = Reading(find_sources([path]), lambda *_: Selection(("p",), ("y",)), *axes)
    for chunk in reading.chunks():
        metric.update(chunk.preds, chunk.target)
    return metric.compute()


class Plain(Streamce):
    """streamce on the same logits as float32, with integer targets and without smoothing.

    Other dtypes and targets are compared with it.
    """

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        assert target is not None
        return wide(case, preds), target.argmax(axis=1) if target.ndim == 2 else target

    def function(self, case: Case) -> Run | None:
        types = case.dtype in ("float16", "bfloat16")
        if case.kind != "logits" or not (types or case.target == "soft" or case.smoothing):
            return None
        return super().function(replace(case, smoothing=0.0))


class Reading(Rival):
    """A yardstick that reads every byte of the arrays once.

    It computes the maximum of 32-bit words, which was the fastest of seven reductions of NumPy, and as fast as the dot
    product of BLAS. Threads speed it up, because it releases the interpreter lock.
    """

    def __init__(self) -> None:
        self._threads = int(os.environ["STREAMCE_NUM_THREADS"])
        self._pool = ThreadPoolExecutor(self._threads)

    def version(self) -> str:
        return f"NumPy {np.__version__}"

    def function(self, case: Case) -> Run | None:
        if case.stored or case.forms in ((BATCHES,), (SCALARS,)):
            return None
        return self._read

    def _read(self, chunks: Sequence[Chunk]) -> float:
        pieces = [piece for chunk in chunks for array in chunk for piece in self._pieces(array)]
        list(self._pool.map(np.max, pieces))
        return 0.0

    def _pieces(self, array: Array | None) -> list[Array]:
        """Return the parts of an array, one for each thread."""
        if array is None:
            return []
        data = array.reshape(-1).view(np.uint8)
        return np.array_split(data[: len(data) // 4 * 4].view(np.int32), self._threads)
