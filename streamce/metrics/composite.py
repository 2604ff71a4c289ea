"""Defines several named states in one object, and the base class of metrics of binary losses that hold several."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from streamce.core.ledger.state import State
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.mergeable import MergeableState
from streamce.metrics.options import EPS

if TYPE_CHECKING:
    from streamce._support.state_format import Header

# The options that change a loss.
LOSS_OPTIONS = ("kind", "eps")


class States:
    """Named states, which are added name by name.

    A merge replaces all of them at once, so a reader sees a concurrent batch completely or not at all.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._states = {name: State() for name in names}
        self._lock = threading.RLock()

    @staticmethod
    def from_states(states: dict[str, State]) -> States:
        """Return an object that holds these states, without copying them."""
        new = States(())
        new._states = states
        return new

    def __getitem__(self, name: str) -> State:
        return self._states[name]

    def merge(self, other: States, sign: int = 1) -> None:
        """Add all states of ``other``, or subtract them with ``sign=-1``. An error changes no state."""
        theirs = other._states  # of one moment, because a change replaces all of them
        with self._lock:
            before = None
            while before is not self._states:  # a signal handler may have added a batch meanwhile
                before = self._states
                new = {name: state.copy() for name, state in before.items()}
                for name, state in new.items():
                    state.merge(theirs[name], sign)
            self._states = new

    def is_clustered(self) -> bool | None:
        """Return whether the samples have clusters, None without samples."""
        found = (state.is_clustered() for state in self._states.values())
        return next((each for each in found if each is not None), None)

    def is_zero(self) -> bool:
        """Return whether all integers are 0."""
        return all(state.is_zero() for state in self._states.values())

    def copy(self) -> States:
        return States.from_states({name: state.copy() for name, state in self._states.items()})

    def parts(self) -> dict[str, bytes]:
        """Return the bytes of all states, by ``name.part``."""
        states = self.copy()._states
        return {f"{name}.{part}": data for name, state in states.items() for part, data in state.parts().items()}

    @staticmethod
    def from_parts(
        parts: dict[str, bytes], names: Iterable[str], restore: Callable[[str, dict[str, bytes]], State] | None = None
    ) -> States:
        """Return the states that ``parts()`` returned as ``parts``, or raise ValueError.

        ``restore`` returns the state of a name and its parts. By default no state has other sums than a mean.
        """
        by_name: dict[str, dict[str, bytes]] = {name: {} for name in names}
        for path, data in parts.items():
            name, _, part = path.partition(".")
            if name not in by_name:
                raise ValueError(f"it has a part {path!r}")
            by_name[name][part] = data
        if restore is None:
            restore = lambda name, parts_of_one: restored_mean(parts_of_one)  # noqa: E731
        return States.from_states({name: restore(name, parts_of_one) for name, parts_of_one in by_name.items()})


def restored_mean(parts: dict[str, bytes]) -> State:
    """Return the state of a mean, perhaps with clusters, whose parts these are, or raise ValueError."""
    state = State.from_parts(parts)
    if set(parts) - {"buckets", "total"}:
        raise ValueError("it has sums by class, of a tail or of calibration")
    return state


class Composite(MergeableState):
    """Base of metrics that keep several states of binary losses, whose names are ``_names``."""

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
        """All options, as values of Python."""
        return {name: self._metric.options[name] for name in (*LOSS_OPTIONS, "invalid", "threads")}

    def _init_kwargs(self) -> dict[str, Any]:
        return self.options

    def _loss_options(self) -> dict[str, Any]:
        return {name: value for name, value in self._metric._loss_options().items() if name in LOSS_OPTIONS}

    @classmethod
    def _from_options(cls, options: dict[str, Any], restore_inner: Callable[[Header], Any]) -> Self:
        if not set(LOSS_OPTIONS) >= set(options):
            raise ValueError(f"it has options that {cls.__name__} does not know: {sorted(options)}")
        return cls(**options)

    def _fixed_sizes(self) -> dict[str, int]:
        return {f"{name}.total": 1 for name in self._names}

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        self._state = States.from_parts(payload, self._names)
