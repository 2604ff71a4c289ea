"""What all metrics share: options, a pipeline that adds chunks to a state, and its summary."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from streamce import summary
from streamce.additive import Additive
from streamce.core.blocks import Samples
from streamce.core.ledger import State
from streamce.core.pipeline import Pipeline
from streamce.options import plain
from streamce.torch_losses import Elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamce.state import Header
    from streamce.summary import Summary

# Options that say how data is read, not what its loss is: no part of a state.
NOT_OF_THE_LOSS = frozenset({"axis", "invalid", "layout", "threads"})


class Metric(Additive):
    """Base of the metrics: a thin shell of options around a state."""

    _task: ClassVar[str]
    _state: State
    __slots__ = ("_options", "_pipeline")

    def __init__(self, options: dict[str, Any], *, per_cell: bool = False) -> None:
        options = plain({name: value for name, value in options.items() if name not in ("self", "__class__")})
        self._options = options
        self._pipeline = self._path(options, per_cell)
        self._state = State()

    def _path(self, options: dict[str, Any], per_cell: bool) -> Any:
        """What leads chunks to the state."""
        return Pipeline(
            self._task,
            options.get("kind", "probs"),
            smoothing=options.get("label_smoothing", 0.0),
            ignore_index=options.get("ignore_index"),
            class_weight=options.get("class_weight"),
            pos_weight=options.get("pos_weight"),
            floor=options.get("eps", 0.0),
            skips=options["invalid"] == "skip",
            axis=options.get("axis", -1),
            threads=options["threads"],
            per_cell=per_cell,
            elsewhere=partial(Elsewhere, self._task, options),
        )

    @property
    def options(self) -> dict[str, Any]:
        """All options, as plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._options.items()}

    def _arguments(self) -> dict[str, Any]:
        return self._options

    def _of_the_loss(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.options.items() if name not in NOT_OF_THE_LOSS}
        if kept.get("kind") == "logits":
            kept.pop("eps", None)  # logits are never floored
        return kept

    @classmethod
    def _of(cls, options: dict[str, Any], made: Callable[[Header], Any]) -> Self:
        known = set(inspect.signature(cls).parameters) - NOT_OF_THE_LOSS
        if not known >= set(options):
            raise ValueError(f"it has options that {cls.__name__} does not know: {sorted(set(options) - known)}")
        return cls(**options)

    # ---- adding ----

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        self._pipeline.update(self._state, preds, target, weight, cluster)
        return self

    def _update(self, preds: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None) -> None:
        """As ``update``, with a mask of the losses in which an input is null."""
        self._pipeline.update(self._state, preds, target, weight, cluster, null)

    def _samples(self, preds: Any, target: Any = None, *, weight: Any = None, null: Any = None) -> Samples:
        """The samples of a chunk one by one, for who adds them to states of their own; nothing is added here."""
        samples = Samples()
        self._pipeline.update(State(), preds, target, weight, None, null, samples=samples)
        return samples

    def __call__(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> float:
        """Update, and return the value of this chunk alone."""
        chunk = self._empty().update(preds, target, weight=weight, cluster=cluster)
        self._state.merge(chunk._state)
        return chunk.compute()

    # ---- reading ----

    def compute(self) -> float:
        """The mean loss in nats, Σn / Σd, exact and rounded once; nan for an empty stream.

        Raises
        ------
        InputError
            If more was taken away than had been added.
        """
        return summary.mean(self._state.copy().total)

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Mean, standard error, intervals and what odd input was seen.

        Parameters
        ----------
        level : float
            How often the intervals are to hold the truth.
        anytime : bool
            False: intervals for one look at a stream whose length was settled beforehand. True: an
            asymptotic confidence sequence, wider, which holds the truth at all looks together, however
            many there are, so one may stop as soon as the interval says enough.

        Raises
        ------
        InputError
            If more was taken away than had been added, or ``level`` is not between 0 and 1.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MeanLoss().update([0.2, 0.4, 0.3, 0.5] * 1000)
        >>> "{:.4f} {:.4f}".format(*metric.summary().interval)
        '0.3465 0.3535'
        >>> "{:.4f} {:.4f}".format(*metric.summary(anytime=True).interval)
        '0.3445 0.3555'
        """
        state = self._state.copy()
        return summary.summarise(state.total, level=level, anytime=anytime, buckets=state.buckets)

    def _summaries(self, level: float, anytime: bool) -> np.ndarray[Any, np.dtype[np.object_]]:
        cells = self._state.copy().cells
        if cells is not None and not cells.columns():
            cells = None  # all 0, as after a - a: the state has no number of cells
        found = np.empty(cells.size if cells is not None else 0, dtype=object)
        if cells is not None:
            found[:] = [summary.summarise(cells, cell, level=level, anytime=anytime) for cell in range(cells.size)]
        return found

    def _take(self, parts: dict[str, bytes]) -> None:
        found = State.from_parts(parts)
        if found.cells is not None:
            self._take_cells(found.cells.size)
        self._state = found

    def _take_cells(self, size: int) -> None:
        if not self._pipeline.per_cell:
            raise ValueError("it has sums by class or label, which its options do not ask for")
        if size < 2 and self._task == "multiclass":
            raise ValueError("it has a single class")
        for name in ("class_weight", "pos_weight"):
            weights = self._options.get(name)
            if isinstance(weights, tuple) and len(weights) != size:
                raise ValueError(f"it has {size} classes or labels, and a {name} of {len(weights)}")
