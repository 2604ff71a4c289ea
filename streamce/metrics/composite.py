"""States side by side, each with its name, and metrics of binary losses that hold several."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from streamce.core.ledger.state import State
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.mergeable import Additive
from streamce.metrics.options import EPS

if TYPE_CHECKING:
    from streamce._support.state_format import Header

# Those of the binary losses that a state holds.
OF_THE_LOSS = ("kind", "eps")


class States:
    """States by name, which add up name by name.

    They are replaced together by new ones, so who reads while others add sees all of a chunk, or nothing.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._states = {name: State() for name in names}
        self._lock = threading.RLock()

    @staticmethod
    def of(states: dict[str, State]) -> States:
        """These states themselves."""
        new = States(())
        new._states = states
        return new

    def __getitem__(self, name: str) -> State:
        return self._states[name]

    def merge(self, other: States, sign: int = 1) -> None:
        """Add all of the other's states, or with ``sign=-1`` take them away; or an error and none."""
        theirs = other.copy()
        with self._lock:
            before = None
            while before is not self._states:  # as it is if a signal handler adds meanwhile
                before = self._states
                new = {name: state.copy() for name, state in before.items()}
                for name, state in new.items():
                    state.merge(theirs[name], sign)
            self._states = new

    def copy(self) -> States:
        return States.of({name: state.copy() for name, state in self._states.items()})

    def parts(self) -> dict[str, bytes]:
        """The bytes of all states, by ``name.part``."""
        states = self.copy()._states
        return {f"{name}.{part}": data for name, state in states.items() for part, data in state.parts().items()}

    @staticmethod
    def from_parts(parts: dict[str, bytes], names: Iterable[str]) -> States:
        """The states whose ``parts()`` these are; ValueError if they make no sense."""
        new = States(names)
        of: dict[str, dict[str, bytes]] = {name: {} for name in new._states}
        for path, data in parts.items():
            name, _, part = path.partition(".")
            if name not in of:
                raise ValueError(f"it has a part {path!r}")
            of[name][part] = data
        new._states = {name: State.from_parts(found) for name, found in of.items()}
        if any(set(state.parts()) - {"buckets", "total"} for state in new._states.values()):
            raise ValueError("it has sums by class, of a tail or of calibration")
        return new


class Composite(Additive):
    """Base of metrics that keep several states of binary losses, of the names in ``_names``."""

    _names: ClassVar[tuple[str, ...]]
    __slots__ = ("_metric",)
    _state: States

    def __init__(
        self,
        *,
        kind: Literal["probs", "log_probs", "logits"] = "probs",
        eps: float = EPS,
        invalid: Literal["raise", "skip"] = "raise",
        threads: int | None = None,
    ) -> None:
        self._metric = BinaryCrossEntropy(kind=kind, eps=eps, invalid=invalid, threads=threads)
        self._state = States(self._names)

    @property
    def options(self) -> dict[str, Any]:
        """All options, as plain values."""
        return {name: self._metric.options[name] for name in (*OF_THE_LOSS, "invalid", "threads")}

    def _arguments(self) -> dict[str, Any]:
        return self.options

    def _of_the_loss(self) -> dict[str, Any]:
        return {name: value for name, value in self._metric._of_the_loss().items() if name in OF_THE_LOSS}

    @classmethod
    def _of(cls, options: dict[str, Any], made: Callable[[Header], Any]) -> Self:
        if not set(OF_THE_LOSS) >= set(options):
            raise ValueError(f"it has options that {cls.__name__} does not know: {sorted(options)}")
        return cls(**options)

    def _take(self, parts: dict[str, bytes]) -> None:
        self._state = States.from_parts(parts, self._names)
