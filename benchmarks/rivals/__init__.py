"""One file per rival. Each is given its natural, best form, prepared before the clock starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.cases import Array, Case

Chunk = tuple[Any, Any]
Run = Callable[[Sequence[Chunk]], float]


class Rival(ABC):
    """How one library computes the mean loss of a stream of chunks (preds, target)."""

    most: int | None = None  # predictions it is given at most, where it is slow
    compiles = False  # whether the first call on a shape builds code

    @abstractmethod
    def version(self) -> str:
        """Name and version, and what else decides its speed."""

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        """The arrays as this rival likes them best."""
        return preds, target

    @abstractmethod
    def function(self, case: Case) -> Run | None:
        """From chunks to their mean loss, None where the library does not do this job."""


def average(mean: Callable[[Any, Any], Any]) -> Run:
    """A function of arrays over a stream: the mean of the chunks' means, by their sizes."""

    def run(chunks: Sequence[Chunk]) -> float:
        total = rows = 0.0
        for preds, target in chunks:
            total += float(mean(preds, target)) * len(preds)
            rows += len(preds)
        return total / rows

    return run
