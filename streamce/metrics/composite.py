"""States side by side, each with its name: a metric of several metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from streamce.core.ledger import State


class States:
    """States by name, which add up name by name.

    A lock keeps them together: who reads while others add sees all of a chunk, or nothing.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._states = {name: State() for name in names}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> State:
        return self._states[name]

    def merge(self, other: States, sign: int = 1) -> None:
        """Add all of the other's states, or with ``sign=-1`` take them away; or an error and none."""
        theirs = other.copy()
        with self._lock:
            new = {name: state.copy() for name, state in self._states.items()}
            for name, state in new.items():
                state.merge(theirs[name], sign)
            self._states = new

    def copy(self) -> States:
        new = States(())
        with self._lock:
            new._states = {name: state.copy() for name, state in self._states.items()}
        return new

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
        if any(state.cells is not None for state in new._states.values()):
            raise ValueError("it has sums by class or label")
        return new
