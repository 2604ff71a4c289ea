"""What all metrics share: options, a state that forms a commutative group, and its summary."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from streamce import atomic, state, summary
from streamce.core.ledger import State
from streamce.core.pipeline import Pipeline
from streamce.errors import InputError
from streamce.options import plain

if TYPE_CHECKING:
    import os

    from streamce.summary import Summary

# Options that say how data is read, not what its loss is: no part of a state.
NOT_OF_THE_LOSS = frozenset({"axis", "threads", "invalid"})


class Metric:
    """Base of the metrics: a thin shell of options around a state.

    The state is an element of a commutative group: metrics of equal options add up, in any order,
    to the same bits, and what was added can be taken away again.
    """

    _task: ClassVar[str]
    __slots__ = ("_options", "_pipeline", "_state")
    __hash__ = None  # type: ignore[assignment]  # metrics change

    def __init__(self, options: dict[str, Any], *, per_cell: bool = False) -> None:
        options = plain({name: value for name, value in options.items() if name not in ("self", "__class__")})
        self._options = options
        self._pipeline = Pipeline(
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
        )
        self._state = State()

    @property
    def options(self) -> dict[str, Any]:
        """All options, as plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._options.items()}

    def _of_the_loss(self) -> dict[str, Any]:
        """The options that change a loss, as the state holds them."""
        kept = {name: value for name, value in self.options.items() if name not in NOT_OF_THE_LOSS}
        if kept.get("kind") == "logits":
            del kept["eps"]  # logits are never floored
        return kept

    @classmethod
    def _of(cls, options: dict[str, Any]) -> Self:
        known = set(inspect.signature(cls).parameters) - NOT_OF_THE_LOSS
        if not known >= set(options):
            strange = sorted(set(options) - known)
            raise InputError(f"state has options that {cls.__name__} does not know: {strange}", argument="state")
        return cls(**options)

    # ---- adding ----

    def update(self, preds: Any, target: Any, *, weight: Any = None) -> Self:
        self._pipeline.update(self._state, preds, target, weight)
        return self

    def _update(self, preds: Any, target: Any, weight: Any = None, null: Any = None) -> None:
        """As ``update``, with a mask of the losses in which an input is null."""
        self._pipeline.update(self._state, preds, target, weight, null)

    def __call__(self, preds: Any, target: Any, *, weight: Any = None) -> float:
        """Update, and return the value of this chunk alone."""
        chunk = self._empty().update(preds, target, weight=weight)
        self._state.merge(chunk._state)
        return chunk.compute()

    def reset(self) -> Self:
        """Back to the empty stream."""
        self._state = State()
        return self

    # ---- reading ----

    def compute(self) -> float:
        """The mean loss in nats, Σn / Σd, exact and rounded once; nan for an empty stream.

        Raises
        ------
        InputError
            If more was taken away than had been added.
        """
        return summary.mean(self._state.copy().total)

    def summary(self, level: float = 0.95) -> Summary:
        """Mean, standard error, interval at ``level`` and what odd input was seen."""
        return summary.summarise(self._state.copy().total, level=level)

    def _summaries(self) -> np.ndarray[Any, np.dtype[np.object_]]:
        cells = self._state.copy().cells
        if cells is not None and not cells.columns():
            cells = None  # all 0, as after a - a: the state has no number of cells
        found = np.empty(cells.size if cells is not None else 0, dtype=object)
        if cells is not None:
            found[:] = [summary.summarise(cells, cell) for cell in range(cells.size)]
        return found

    # ---- the group ----

    def _empty(self) -> Self:
        return type(self)(**self._options)

    def _merge(self, other: Any, sign: int) -> Self:
        self._fits(type(other).__name__, other._of_the_loss() if isinstance(other, Metric) else {})
        try:
            self._state.merge(other._state, sign)
        except ValueError as error:
            raise InputError(str(error), argument="other") from None
        return self

    def _fits(self, name: str, theirs: dict[str, Any]) -> None:
        """Raises unless a metric of this name and these options has the same losses."""
        if name != type(self).__name__:
            raise InputError(
                f"a {type(self).__name__} and a {name} do not add up: expected two of one kind", argument="other"
            )
        ours = self._of_the_loss()
        for option in {**ours, **theirs}:  # the kind first: other options hang on it
            if ours.get(option) != theirs.get(option):
                raise InputError(
                    f"{option} is {ours.get(option)!r} in one metric and {theirs.get(option)!r} in the other: "
                    "their losses do not add up",
                    argument=option,
                )

    def merge(self, *others: Self) -> Self:
        """Add the states of ``others`` to this one, in place."""
        sum_of_others = self._empty()
        for other in others:
            sum_of_others._merge(other, 1)
        return self._merge(sum_of_others, 1)  # all of them at once, or an error and none

    def copy(self) -> Self:
        """A metric of the same options and an equal state of its own."""
        new = self._empty()
        new._state = self._state.copy()
        return new

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Self:
        return self.copy()

    def __add__(self, other: Any) -> Self:
        return self.copy()._merge(other, 1) if isinstance(other, Metric) else NotImplemented

    def __radd__(self, other: Any) -> Self:
        # sum() begins with 0.
        return self.copy() if isinstance(other, int) and other == 0 else NotImplemented

    def __sub__(self, other: Any) -> Self:
        return self.copy()._merge(other, -1) if isinstance(other, Metric) else NotImplemented

    def __iadd__(self, other: Any) -> Self:
        return self._merge(other, 1) if isinstance(other, Metric) else NotImplemented

    def __isub__(self, other: Any) -> Self:
        return self._merge(other, -1) if isinstance(other, Metric) else NotImplemented

    def __eq__(self, other: object) -> bool:
        """Whether the states are equal: options that change a loss, and integers."""
        return self.to_bytes() == other.to_bytes() if isinstance(other, Metric) else NotImplemented

    # ---- bytes and files ----

    def to_bytes(self) -> bytes:
        """The state as bytes: equal states have equal bytes."""
        return state.encode(type(self).__name__, self._of_the_loss(), self._state.copy())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, whole or not at all."""
        atomic.write(path, self.to_bytes())

    def state_dict(self) -> dict[str, Any]:
        """The state in a dict, as checkpoints of a training loop hold it."""
        return {"state": self.to_bytes()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of a metric with the same options."""
        if not isinstance(state_dict, dict) or "state" not in state_dict:
            raise InputError("state_dict has no key 'state': expected what state_dict() gave", argument="state_dict")
        name, options, found = state.decode(state_dict["state"])
        self._fits(name, options)
        self._take(found)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self._options, self.to_bytes())

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        given = [f"{name}={value!r}" for name, value in self.options.items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(given)})"

    def _take(self, found: State) -> None:
        """Takes over a state read from bytes."""
        if found.cells is not None and not self._pipeline.per_cell:
            raise InputError("state has sums by class or label, which its options do not ask for", argument="state")
        self._state = found


def _unpickle(cls: type[Metric], options: dict[str, Any], data: bytes) -> Metric:
    metric = cls(**options)
    metric._take(state.decode(data)[2])
    return metric
