"""The rivals, a class per library. Each gets the form of the arrays that it prefers, before the clock starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.cases import Array, Case

Chunk = tuple[Any, Any]
Run = Callable[[Sequence[Chunk]], float]


class Rival(ABC):
    """A library that computes the mean loss of a stream of chunks (preds, target)."""

    most: int | None = None  # largest number of predictions, if the library is slow
    compiles = False  # whether the first call with a shape compiles code

    @abstractmethod
    def version(self) -> str:
        """Return the name, the version, and other facts that determine the speed."""

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        """Return the arrays in the form that this rival prefers."""
        return preds, target

    @abstractmethod
    def function(self, case: Case) -> Run | None:
        """Return the function from chunks to their mean loss, or None if the library cannot do this job."""


def average(mean: Callable[[Any, Any], Any]) -> Run:
    """Return a function of a stream: the mean of the chunks' means, weighted by their sizes."""

    def run(chunks: Sequence[Chunk]) -> float:
        total = rows = 0.0
        for preds, target in chunks:
            total += float(mean(preds, target)) * len(preds)
            rows += len(preds)
        return total / rows

    return run
