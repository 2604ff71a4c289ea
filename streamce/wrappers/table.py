"""Defines a table of states by key: a group, a pane or a half-life.

It knows nothing of metrics. A state is added, subtracted, copied and turned to bytes, and may be 0.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from streamce._support import state_format
from streamce.core.grouping.groups import Groups
from streamce.core.grouping.key_index import KINDS, key_length, used_kinds
from streamce.core.ledger.ledger import Ledger
from streamce.core.ledger.state import State
from streamce.errors import InputError
from streamce.inputs import messages
from streamce.keys import encoding
from streamce.wrappers.changes import Change, Versioned, replace

if TYPE_CHECKING:
    from streamce.core.samples.samples import Samples
    from streamce.keys.key_columns import Keys

Kinds = tuple[str | None, ...]
LEDGER_HEAD = 24  # bytes of a ledger of one cell before the cell


class StateTable(Versioned):
    """States by key. A key whose state is 0 does not exist.

    As long as each state has a mean and no other sums, the states are the cells of one ``Groups``, which is small and
    fast. The first state with other sums turns them all into objects.

    A lock makes each change atomic: a reader sees a concurrent batch completely or not at all.
    """

    def __init__(self, restore: Callable[[dict[str, bytes]], Any], empty: Any, *, has_cells: bool = True) -> None:
        """``restore`` returns the state of parts. ``empty`` has none. Without ``has_cells`` no state is a cell."""
        super().__init__()
        self._restore, self._empty = restore, empty
        self._has_cells = has_cells
        self._cells = Groups()
        self._states: dict[bytes, Any] | None = None if has_cells else {}
        self._kinds: Kinds | None = None  # of the keys of states that are objects
        self._lock = threading.RLock()  # reentrant, because a signal handler may read

    def empty(self) -> StateTable:
        """Return an empty table of the same states."""
        return StateTable(self._restore, self._empty, has_cells=self._has_cells)

    @property
    def version(self) -> int:
        """A number that is another one after each change."""
        return self._version

    @property
    def is_compact(self) -> bool:
        """Whether the states are cells."""
        return self._states is None

    @property
    def kinds(self) -> Kinds | None:
        """The kind of each part of the keys, None before the first key."""
        return self._cells.kinds if self._states is None else self._kinds

    # ---- adding ----

    def check(self, kinds: Kinds) -> None:
        """Raise InputError unless keys of these kinds can be added."""
        with self._lock:
            if self._states is None:
                self._cells.check(kinds)
            else:
                self._joint_kinds(kinds)

    def add_samples(self, samples: Samples, keys: Keys) -> None:
        """Add samples, each to the state of its key."""
        with self._lock:
            if self._states is None:
                self._version += 1  # first, because a signal handler may run after each call
                self._cells.add(samples, keys.kinds, keys.integers, keys.codes, keys.distinct)
                return
        batch = Groups()
        batch.add(samples, keys.kinds, keys.integers, keys.codes, keys.distinct)
        self._merge_states(*_as_states(batch), 1)

    def add_states(self, kinds: Kinds, states: Iterable[tuple[bytes, Any]]) -> None:
        """Add a state to that of each key, and take it over. An error changes nothing."""
        self._merge_states(kinds, states, 1)

    def merge(self, other: StateTable, sign: int = 1) -> None:
        with self._lock:
            if self._states is None and other._states is None:
                self._version += 1
                self._cells.merge(other._cells, sign)
                return
        theirs = other.copy()
        with self._lock:
            if theirs.kinds is not None:
                theirs._use_objects()
                assert theirs._states is not None
                try:
                    self._merge_states(theirs.kinds, theirs._states.items(), sign)
                except InputError as error:
                    raise error.enclosed("other") if error.argument == "by" else error from None

    def _merge_states(self, kinds: Kinds | None, states: Iterable[tuple[bytes, Any]], sign: int) -> None:
        if kinds is None:
            return
        found = list(states)
        with self._lock:
            while True:  # again if a signal handler added a batch meanwhile
                version = self._version
                if self._commit(version, self.changes_of_states(kinds, found, sign)):
                    return

    def changes_of_samples(self, samples: Samples, keys: Keys) -> list[Change]:
        """Return the changes that add samples, or raise InputError. Then the table must not change otherwise."""
        if self._states is None and not self._cells.crowded(samples):
            self._cells.check(keys.kinds)
            return [partial(self._cells.add, samples, keys.kinds, keys.integers, keys.codes, keys.distinct)]
        batch = Groups()
        batch.add(samples, keys.kinds, keys.integers, keys.codes, keys.distinct)
        kinds, states = _as_states(batch)
        return [] if kinds is None else self.changes_of_states(kinds, states, 1)

    def changes_of(self, other: StateTable) -> list[Change]:
        """Return the changes that add another table, whose states are taken over."""
        other._use_objects()
        if other._kinds is None or not other._states:
            return []
        return self.changes_of_states(other._kinds, list(other._states.items()), 1)

    def changes_of_states(self, kinds: Kinds, states: list[tuple[bytes, Any]], sign: int) -> list[Change]:
        """Return the changes that merge states, or raise InputError. Their cost is that of the states."""
        table = self if self._states is not None else self.copy()
        table._use_objects()
        assert table._states is not None
        kept, joint = table._states, table._joint_kinds(kinds)
        ours = table.is_clustered()
        new: dict[bytes, Any] = {}
        for key, state in states:
            theirs = state.is_clustered()
            if ours is not None and theirs is not None and ours != theirs:
                raise messages.mixed_clusters(theirs)
            ours = theirs if ours is None else ours
            before = new.get(key, kept.get(key))
            if before is None and sign > 0:
                new[key] = state
                continue
            new[key] = self._empty.copy() if before is None else before.copy()
            new[key].merge(state, sign)
        zero = {key for key, state in new.items() if state.is_zero()}
        gone = [key for key in zero if key in kept]
        new = {key: state for key, state in new.items() if key not in zero}
        changes = [replace(self, "_kinds", joint if new or len(gone) < len(kept) else None)]
        if table is not self:
            changes += [replace(self, "_states", kept), replace(self, "_cells", Groups())]
        return [*changes, partial(kept.update, new), *(partial(kept.pop, key, None) for key in gone)]

    def is_clustered(self) -> bool | None:
        """Return whether the samples have clusters, None without samples."""
        states = self._states
        if states is None:
            return False if self._cells.count() else None
        try:
            return next((each for state in states.values() if (each := state.is_clustered()) is not None), None)
        except RuntimeError:  # a signal handler added a key
            return self.is_clustered()

    def _joint_kinds(self, kinds: Kinds) -> Kinds:
        """Return the kinds of all keys with more keys of these kinds, or raise InputError."""
        try:
            return joint_kinds(self._kinds, kinds)
        except InputError:  # keys of another kind may have been subtracted
            old = None if self._kinds is None else used_kinds(self._kinds, sorted(self._states or ()))
            return joint_kinds(old, kinds)

    def _use_objects(self) -> None:
        if self._states is None:
            self._kinds, states = _as_states(self._cells)
            self._states = dict(states)

    def copy(self) -> StateTable:
        new = self.empty()
        with self._lock:
            new._cells, new._kinds = self._cells.copy(), self._kinds
            if self._states is None:
                new._states = None
            else:
                new._states = {key: state.copy() for key, state in list(self._states.items())}
        return new

    def convert(self, table: StateTable, conversion: Callable[[Any], Any]) -> StateTable:
        """Return ``table``, which is empty, with the conversion of each state under its key."""
        copy = self.copy()
        copy._use_objects()
        assert copy._states is not None
        if copy._kinds is not None:
            table.add_states(copy._kinds, [(key, conversion(state)) for key, state in copy._states.items()])
        return table

    def drop_before(self, min_key: int) -> None:
        """Drop the states whose key, one integer, is below ``min_key``."""
        with self._lock:
            self._version += 1
            if self._states is None:
                self._cells.drop_before(min_key)
            else:
                for key in [key for key in list(self._states) if _integer(key) < min_key]:
                    self._states.pop(key, None)

    # ---- reading ----

    def is_zero(self) -> bool:
        """Return whether there are no keys."""
        return not self.count()

    def count(self) -> int:
        """Return the number of keys."""
        states = self._states
        return self._cells.count() if states is None else len(states)

    def slots(self) -> int:
        """Return a number of states that bounds the memory."""
        states = self._states
        return self._cells.slots() if states is None else len(states)

    def newest(self) -> int | None:
        """Return the largest key, or None if there is none. Keys must be one integer."""
        with self._lock:
            if self._states is None:
                return self._cells.newest()
            return max(map(_integer, list(self._states)), default=None)

    def state(self, key: bytes) -> Any:
        """Return a copy of the state of a key, or None."""
        with self._lock:
            if self._states is None:
                cell = self._cells.cell(key)
                return None if cell is None else State(cell)
            state = self._states.get(key)
            return None if state is None else state.copy()

    def total(self, min_key: int | None = None) -> Any:
        """Return the sum of all states, or of those whose key, one integer, is not below ``min_key``."""
        with self._lock:
            if self._states is None:
                return State(self._cells.total(min_key))
            total = self._empty.copy()
            for key, state in list(self._states.items()):
                if min_key is None or _integer(key) >= min_key:
                    total.merge(state)
            return total

    def sorted(self) -> dict[Any, Any]:
        """Return copies of all states by key, in the order of the keys, None first."""
        copy = self.copy()
        if copy._states is None:
            cells, ledger = copy.sorted_cells()
            return {key: State(ledger.at(cell)) for key, cell in cells.items()}
        keys = encoding.decode_keys(copy._kinds or (), False, list(copy._states))
        states = dict(zip(keys, copy._states.values(), strict=True))
        return dict(sorted(states.items(), key=lambda item: encoding.sort_key(item[0])))

    def sorted_cells(self) -> tuple[dict[Any, int], Ledger]:
        """Return the cell of each key, in the order of the keys, None first; and the ledger of all cells."""
        kinds, null, found, ledger = self._cells.sorted()
        cells = {key: cell for cell, key in enumerate(encoding.decode_keys(kinds or (), null, found))}
        if any(kind in ("str", "bytes") for kind in kinds or ()):  # their bytes in a state begin with their length
            cells = dict(sorted(cells.items(), key=lambda item: encoding.sort_key(item[0])))
        return cells, ledger

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """Return the bytes of all states, by the name of the part.

        States with a mean and no other sums are in the part ``groups``, the others in the part ``states``.
        """
        copy = self.copy()
        if copy._states is None:
            return copy._cells.parts()
        cells, others = {}, {}
        for key, state in copy._states.items():
            parts = state.parts()
            if self._has_cells and _is_cell(parts):
                cells[key] = parts["total"][LEDGER_HEAD:]
            else:
                body = state_format.join_parts(parts)
                others[key] = struct.pack("<Q", len(body)) + body
        named = {"groups": cells, "states": others}
        return {name: _join(copy._kinds or (), rows) for name, rows in named.items() if rows}

    def from_parts(self, parts: dict[str, bytes]) -> StateTable:
        """Return the table of the same states whose ``parts()`` these are, or raise ValueError."""
        new = self.empty()
        if set(parts) - {"groups", "states"}:
            raise ValueError(f"it has parts {sorted(parts)}")
        if "groups" in parts:
            if not self._has_cells:
                raise ValueError("it has groups, and each state has several sums")
            new._cells = Groups.from_parts({"groups": parts["groups"]})
        if "states" not in parts:
            return new
        cell_kinds = new._cells.kinds
        new._use_objects()
        assert new._states is not None
        kinds, rows = _split(parts["states"])
        for key, body in rows:
            state = self._restore(state_format.split_parts(body))
            found = state.parts()
            if state_format.join_parts(found) != body or not found:
                raise ValueError("it has a state that no writer would have written")
            if key in new._states or (self._has_cells and _is_cell(found)):
                raise ValueError("it has a state that belongs elsewhere")
            new._states[key] = state
        if used_kinds(kinds, [key for key, _ in rows]) != kinds:
            raise ValueError("its keys have other kinds")
        try:
            new._kinds = joint_kinds(cell_kinds, kinds)
        except InputError as error:
            raise ValueError(str(error)) from None
        return new


def _is_cell(parts: dict[str, bytes]) -> bool:
    """Return whether a state has a mean and no other sums. Its total then has one cell."""
    return set(parts) == {"total"} and parts["total"].startswith(struct.pack("<Q", 1))


def joint_kinds(old: Kinds | None, kinds: Kinds) -> Kinds:
    """Return the kinds of old and new keys together, or raise InputError."""
    if old is None:
        return kinds
    if len(kinds) != len(old):
        raise InputError("by", f"has {len(kinds)} parts", f"{len(old)}, as before", value=len(kinds))
    for kind, old_kind in zip(kinds, old, strict=True):
        if kind is not None and old_kind is not None and kind != old_kind:
            raise InputError("by", f"has keys of kind {kind}", f"{old_kind}, as before", value=kind)
    return tuple(kind or old_kind for kind, old_kind in zip(kinds, old, strict=True))


def coded(keys: Keys) -> tuple[Any, list[bytes]]:
    """Return the code of each sample, and the key of each code."""
    if keys.integers is None:
        assert keys.codes is not None
        return np.ascontiguousarray(keys.codes, dtype=np.int64), keys.distinct
    distinct, codes = np.unique(keys.integers, return_inverse=True)
    return codes.astype(np.int64).reshape(-1), [encoding.encode_part("int", number) for number in distinct.tolist()]


def _integer(key: bytes) -> int:
    return int.from_bytes(key[1:], "big") - encoding.INT64_END


def _as_states(groups: Groups) -> tuple[Kinds | None, list[tuple[bytes, State]]]:
    """Return the kinds of the keys of groups, and the state of each key."""
    kinds, null, found, ledger = groups.sorted()
    keys = list(found)
    if isinstance(found, np.ndarray):
        keys = [b"\0"] * null + [encoding.encode_part("int", number) for number in found.tolist()]
    states = [(key, State(ledger.at(cell))) for cell, key in enumerate(keys)]
    return (kinds if states else None), states


def _join(kinds: Kinds, rows: dict[bytes, bytes]) -> bytes:
    keys = sorted(rows)
    used = used_kinds(kinds, keys)
    head = bytes([len(used), *(KINDS.index(kind) for kind in used)]) + struct.pack("<Q", len(keys))
    return head + b"".join(key + rows[key] for key in keys)


def _split(data: bytes) -> tuple[Kinds, list[tuple[bytes, bytes]]]:
    """Return the kinds of the keys, and the bytes of each key, or raise ValueError."""
    size = data[0]
    if not size or max(data[1 : 1 + size]) >= len(KINDS):
        raise ValueError("its keys have parts of kinds that this release does not know")
    kinds: Kinds = tuple(KINDS[code] for code in data[1 : 1 + size])
    (count,) = struct.unpack_from("<Q", data, 1 + size)
    at, last = 9 + size, b""
    rows = []
    for _ in range(min(count, len(data))):
        end = at + key_length(data, at, kinds)
        (length,) = struct.unpack_from("<Q", data, end)
        key, at = data[at:end], end + 8 + length
        if key <= last or at > len(data):
            raise ValueError("its keys are not in order, each once")
        rows.append((key, data[end + 8 : at]))
        last = key
    if at != len(data) or not rows:
        raise ValueError("its states end before its bytes do")
    return kinds, rows
