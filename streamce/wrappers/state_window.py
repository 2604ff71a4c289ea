"""Defines a window of the last samples of a metric that keeps more than one sum of each."""

from __future__ import annotations

import itertools
import struct
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from streamce._support import state_format
from streamce.wrappers.changes import Change, Versioned, replace


class StateWindow(Versioned):
    """The state of each of the last samples, as bytes, and the sum of these states.

    A lock makes each change atomic: a reader sees a concurrent batch completely or not at all.
    """

    def __init__(self, samples: int, restore: Callable[[dict[str, bytes]], Any]) -> None:
        """``restore`` returns the state of parts."""
        super().__init__()
        self._samples, self._restore = samples, restore
        self._rows: deque[bytes] = deque(maxlen=samples)
        self._total = restore({})
        self._lock = threading.RLock()  # reentrant, because a signal handler may read

    def add_each(self, states: list[Any]) -> None:
        """Append the state of each sample, and evict those that no longer fit."""
        states = states[-self._samples :]
        self._append([state_format.join_parts(state.parts()) for state in states], states)

    def extend(self, other: StateWindow) -> None:
        """Append the samples of another window of the same length. If that fails, no sample is appended."""
        rows = list(other.copy()._rows)
        self._append(rows, [self._state_of(row) for row in rows])

    def changes_of(self, other: StateWindow) -> list[Change]:
        """Return the changes that append the samples of another window."""
        rows = list(other._rows)
        return self._changes(rows, [self._state_of(row) for row in rows])

    def _append(self, rows: list[bytes], states: list[Any]) -> None:
        with self._lock:
            while True:  # again if a signal handler appended samples meanwhile
                version = self._version
                if self._commit(version, self._changes(rows, states)):
                    return

    def _changes(self, rows: list[bytes], states: list[Any]) -> list[Change]:
        """Return the changes that append rows. Their cost is that of the rows that come and go."""
        evicted = max(0, len(self._rows) + len(rows) - self._samples)
        try:
            old = list(itertools.islice(self._rows, evicted))
        except RuntimeError:  # a signal handler appended samples, so that these changes are not made
            old = []
        total = self._total.copy()
        for row in old:
            total.merge(self._state_of(row), -1)
        for state in states:
            total.merge(state)
        return [partial(self._rows.extend, rows), replace(self, "_total", total)]

    def _state_of(self, row: bytes) -> Any:
        return self._restore(state_format.split_parts(row))

    def merge(self, other: Any, sign: int = 1) -> None:
        """Raise ValueError, because samples of two streams have no common order."""
        raise ValueError("the last samples of two streams do not add up: those of a period do")

    def copy(self) -> StateWindow:
        new = StateWindow(self._samples, self._restore)
        with self._lock:
            new._rows, new._total = self._rows.copy(), self._total.copy()
        return new

    # ---- reading ----

    @property
    def size(self) -> int:
        """The number of samples."""
        return len(self._rows)

    def sum(self) -> Any:
        """Return the sum of the states."""
        with self._lock:
            return self._total.copy()

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """Return the bytes of the samples, by the name of the part. docs/FORMAT.md describes them."""
        rows = self._rows
        if not rows:
            return {}
        pieces = [struct.pack("<Q", len(rows))]
        for row in rows:
            pieces += [struct.pack("<Q", len(row)), row]
        return {"states": b"".join(pieces)}

    def from_parts(self, parts: dict[str, bytes]) -> StateWindow:
        """Return a window of this length from its ``parts()``, or raise ValueError."""
        new = StateWindow(self._samples, self._restore)
        if set(parts) != {"states"}:
            raise ValueError(f"it has parts {sorted(parts)}")
        data = parts["states"]
        (count,) = struct.unpack_from("<Q", data)
        if not 0 < count <= self._samples:
            raise ValueError(f"it has {count} rows")
        at = 8
        for _ in range(min(count, len(data))):
            (length,) = struct.unpack_from("<Q", data, at)
            row, at = data[at + 8 : at + 8 + length], at + 8 + length
            state = self._state_of(row)
            if at > len(data) or state_format.join_parts(state.parts()) != row:
                raise ValueError("it has a state that no writer would have written")
            new._rows.append(row)
            new._total.merge(state)
        if at != len(data) or len(new._rows) != count:
            raise ValueError("its rows end before their bytes do, or after")
        return new
