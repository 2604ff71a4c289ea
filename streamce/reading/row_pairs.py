"""Chunks of the predictions of two models, A and B, for the same rows.

Rows are paired by their position in both, or by the values of columns that both have: their keys.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError, InputError, SelectionError
from streamce.inputs.arrow import is_list
from streamce.reading.chunk import Chunk
from streamce.reading.columns import select
from streamce.reading.differences import first_difference, shown
from streamce.reading.formats.base import Table
from streamce.reading.key_values import common_kind
from streamce.reading.ragged import first_null
from streamce.reading.reader import Reading
from streamce.reading.selection import Selection

if TYPE_CHECKING:
    from streamce.reading.key_join import KeyJoin, Rows, Side

Array = np.ndarray[Any, Any]
Add = Callable[[Chunk, Chunk], None]

SAME_ORDER = "the same rows in the same order"
SAME_KEYS = "equal values in rows with the same key"
NEEDS_DUCKDB = "needs duckdb 2: pip install 'streamce[duckdb]'"


@dataclass(frozen=True)
class Models:
    """The readings of A and B, and the words for them in errors.

    ``advice`` says in errors how rows in another order can be paired.
    """

    a: Reading
    b: Reading
    names: Sequence[str]
    advice: str


# ---- the columns that both have ----


def shared_columns(selections: Sequence[Selection], tables: Sequence[Table]) -> list[str]:
    """Return the columns that both tables have, in the order of A, without those that hold predictions.

    Objects of JSON are left out, because they have no type as a whole.
    """
    a, b = tables
    outputs = {table.path(name).column for table in tables for each in selections for name in each.preds}
    names_b = set(b.names())
    both = [name for name in a.names() if name in names_b and name not in outputs]
    return [name for name in both if not any(_holds_json_objects(table, name) for table in tables)]


def _holds_json_objects(table: Table, name: str) -> bool:
    if table.has_types or table.has_only_text:
        return False
    leaf = table.type(name)
    while is_list(leaf):
        leaf = leaf.value_type
    return bool(pa.types.is_struct(leaf))


def select_keys(words: Sequence[str], selections: Sequence[Selection], tables: dict[str, Table]) -> tuple[str, ...]:
    """Return the columns of keys. Raise SelectionError unless both tables have them.

    ``tables`` are those of A and of B, by the words for A and B in errors.
    """
    keys: Sequence[str] = words
    for name, table in tables.items():
        try:
            keys = select(keys, table.names(), table.fields)
        except SelectionError as error:
            raise error.with_place(name) from error
    outputs = {name for selection in selections for name in selection.preds}
    if wrong := [name for name in keys if name in outputs]:
        raise SelectionError(f"column '{wrong[0]}' holds predictions, so it cannot be a key")
    return tuple(keys)


# ---- pairs of chunks ----


class _Side:
    """The chunks of A or of B, and the positions of their rows among all rows, also those that cannot be read.

    ``end`` is the position after the chunk, or the number of all rows if there is no chunk left.
    """

    def __init__(self, reading: Reading, chunks: Iterator[Chunk]) -> None:
        self._reading, self._chunks = reading, chunks
        self._rows = 0
        self.advance()

    def advance(self) -> None:
        """Take the next chunk."""
        self.chunk: Chunk | None = next(self._chunks, None)
        if self.chunk is None:
            self.end: int = self._rows + self._reading.unreadable
            return
        self._rows += self.chunk.rows
        self.end = self._rows + self.chunk.end.unreadable

    def before(self, end: int) -> tuple[Chunk, int]:
        """Return the rows of the chunk before position ``end``, and the position of row 0 of their source."""
        chunk, start = self._located()
        return (chunk if end == self.end else chunk.slice(0, self._number_before(end))), start

    def drop(self, end: int) -> None:
        """Drop the rows before position ``end``. This may overwrite their arrays."""
        if end == self.end:
            self.advance()
        else:
            chunk, _ = self._located()
            self.chunk = chunk.slice(self._number_before(end), chunk.rows)

    def _number_before(self, end: int) -> int:
        chunk, start = self._located()
        if chunk.numbers is not None:
            return int(np.searchsorted(chunk.numbers, end - start))
        return min(max(end - start - chunk.first_row, 0), chunk.rows)  # beyond it are rows that cannot be read

    def _located(self) -> tuple[Chunk, int]:
        assert self.chunk is not None
        return self.chunk, self.end - self.chunk.end.mark.row


def add_by_position(models: Models, a: Iterator[Chunk], b: Iterator[Chunk], add: Add) -> int:
    """Call ``add`` with chunks of A and of B that hold the rows of the same positions.

    A row that cannot be read in one of them is left out of both. Return the number of these positions.
    """
    rows, side_a, side_b = 0, _Side(models.a, a), _Side(models.b, b)
    while side_a.chunk is not None and side_b.chunk is not None:
        end = min(side_a.end, side_b.end)
        pair = _at_same_positions(*side_a.before(end), *side_b.before(end))
        if number := pair[0].rows:
            _check_pair(*pair, SAME_ORDER, models.advice)
            add(*pair)
            rows += number
        side_a.drop(end)
        side_b.drop(end)
    for side, other in (side_a, side_b), (side_b, side_a):
        while side.chunk is not None and side.end <= other.end:  # rows whose partner cannot be read
            side.advance()
    if side_a.end != side_b.end:
        sides = zip((side_a.end, side_b.end), models.names, strict=True)
        (number, shorter), (_, longer) = sorted(sides, key=lambda each: each[0])
        raise DataError(f"{shorter} has {number:,} rows but {longer} has more: expected {SAME_ORDER}")
    return side_a.end - rows


def _at_same_positions(a: Chunk, start_a: int, b: Chunk, start_b: int) -> tuple[Chunk, Chunk]:
    """Return the rows of two chunks that have the same positions. Row 0 of their sources has position ``start``."""
    if a.numbers is None and b.numbers is None and (a.rows, a.first_row + start_a) == (b.rows, b.first_row + start_b):
        return a, b
    positions = a.source_rows() + start_a, b.source_rows() + start_b
    _, rows_a, rows_b = np.intersect1d(*positions, assume_unique=True, return_indices=True)
    return a.take(rows_a), b.take(rows_b)


def add_by_key(models: Models, add: Add) -> None:
    """Call ``add`` with chunks of A and of B that hold the rows with the same keys, in any order.

    If that fails, ``add`` is called again with all rows in the order of A, so that the error is about the first row.
    Raises ModuleNotFoundError without duckdb, or if it is too old.
    """
    from streamce.reading.key_join import KeyJoin

    types = models.a.column_types(), models.b.column_types()
    kinds = [common_kind(name, *(each[name] for each in types)) for name in models.a.selection.match]
    with KeyJoin(models.a, models.b, kinds, models.names) as join:
        join.load()
        try:
            _add_joined(join, add, in_order=False)
        except (DataError, InputError):
            join.check()
            _add_joined(join, add, in_order=True)
            raise


def _add_joined(join: KeyJoin, add: Add, *, in_order: bool) -> None:
    done, chunk_rows = 0, min(join.a.reading.chunk_rows, join.b.reading.chunk_rows)
    with contextlib.closing(join.pairs(chunk_rows, in_order=in_order)) as pairs:
        for rows_a, rows_b in pairs:
            done += len(rows_a.ids)
            fraction = done / join.a.rows
            a, b = _joined_chunk(join.a, rows_a, fraction), _joined_chunk(join.b, rows_b, fraction)
            _check_pair(a, b, SAME_KEYS, "")
            add(a, b)


def _joined_chunk(side: Side, rows: Rows, fraction: float) -> Chunk:
    return side.reading.chunk_of(rows.batch, *side.locate(rows.ids), fraction)


def _check_pair(a: Chunk, b: Chunk, expected: str, advice: str) -> None:
    """Raise DataError if rows of A and B cannot be the same."""
    if a.preds.shape != b.preds.shape:
        here, there = b.preds.shape[1:], a.preds.shape[1:]
        raise DataError(f"{b.source}: {here} predictions per row, but {a.source} has {there}")
    for name in a.selection.shared:
        columns = a.batch.column(name), b.batch.column(name)
        row = first_difference(*columns)
        if row is not None:
            texts = [shown(column, row) for column in columns]
            raise DataError(
                f"is {texts[0]}, but {texts[1]} in {b.source_name(row)}, row {b.source_row(row)}: "
                f"expected {expected}{advice}",
                row=a.source_row(row),
                column=name,
            ).with_place(a.source_name(row))
    if a.target is None or b.target is None:
        return
    different = _different(a.target, b.target, a.no_target, b.no_target)
    if different.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(different)), different.shape))
        (here, value), (there, other) = a.cell("target", index), b.cell("target", index)
        name = "target " if here.column is None else ""
        raise DataError(
            f"{name}is {value!r}, but {other!r} in {b.source_name(index[0])}, row {there.row}: expected {expected}",
            **here._asdict(),
        ).with_place(a.source_name(index[0]))


def _different(a: Array, b: Array, no_a: Array | None, no_b: Array | None) -> Array:
    """Return where targets differ, with the precision of the narrower type. Two nulls, or two NaNs, are equal."""
    if a.shape != b.shape:
        return np.ones(a.shape, bool)
    if a.dtype.kind == b.dtype.kind == "f":  # a decimal number in a text file may be a float32 in the other
        narrow = min(a.dtype, b.dtype)
        a, b = a.astype(narrow, copy=False), b.astype(narrow, copy=False)
    different: Array = (a != b) & ~((a != a) & (b != b))
    null_a, null_b = (np.zeros(a.shape, bool) if null is None else null for null in (no_a, no_b))
    return np.where(null_a | null_b, null_a != null_b, different)


# ---- adding a pair ----


def add_pair(metric: Any, a: Chunk, b: Chunk) -> None:
    """Add the same rows of A and B to a ``Paired``, or to groups of it."""
    null = b.null if a.null is None else a.null if b.null is None else a.null | b.null
    metric._update(preds_a=a.preds, preds_b=b.preds, target=a.target, weight=a.weight, null=null, **a.keys)


def attribute(a: Chunk, b: Chunk, error: InputError) -> tuple[Chunk, InputError]:
    """Return the chunk that an error is about, and the error as if there were only that chunk."""
    if error.cause == "invalid_null" and error.index is not None:
        return (a if first_null(a, error.index[0]) else b), error
    for chunk, suffix in ((a, "_a"), (b, "_b")):
        for argument in ("preds", "losses"):
            if error.argument == argument + suffix:
                return chunk, error.with_argument(argument)
    return a, error
