"""Record batches to chunks: NumPy arrays of a few thousand rows.

``Reading`` goes through the sources, on a thread of its own, while the caller works on the chunk before.
"""

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError, Location, SelectionError
from streamce.inputs.arrow import RaggedError, flat, inner, is_list, is_text, matrix
from streamce.reading.columns import listed
from streamce.reading.labels import in_another_order
from streamce.reading.sources import Source
from streamce.reading.tables import START, Array, Mark, Table, open_table

CHUNK_ROWS = 1 << 17
CHUNK_VALUES = 1 << 21  # predictions in a chunk, unless the caller says how many rows
# The axes of predictions and of losses, by task; a row of other tasks is a sequence.
AXES = {"binary": (1, 1), "mean": (1, 1), "multiclass": (2, 1), "multilabel": (2, 2)}
AHEAD = 2  # chunks that wait: chunks take uneven times to read, and one is soon used up


class _Stack:
    """Columns side by side, in buffers by turns: one is in use while the others fill or wait."""

    def __init__(self) -> None:
        self._buffers = [np.empty((0, 0)) for _ in range(AHEAD + 1)]

    def __call__(self, parts: Sequence[tuple[Array, Array | None]]) -> tuple[Array, Array | None]:
        rows, dtype = len(parts[0][0]), np.result_type(*(values for values, _ in parts))
        self._buffers.insert(0, self._buffers.pop())
        if self._buffers[0].dtype != dtype or len(self._buffers[0]) < rows:
            self._buffers[0] = np.empty((rows, len(parts)), dtype)
        stacked = self._buffers[0][:rows]
        for i, (values, _) in enumerate(parts):
            stacked[:, i] = values
        if all(null is None for _, null in parts):
            return stacked, None
        none = np.zeros(rows, bool)
        return stacked, np.stack([none if null is None else null for _, null in parts], axis=1)


def _union(masks: Sequence[Array | None], shape: tuple[int, ...]) -> Array | None:
    """Where any mask, of rows or of entries, is true: for rows or entries, as ``shape`` says."""
    union = np.zeros(shape, bool)
    for mask in (mask for mask in masks if mask is not None):
        if len(shape) == 1:
            union |= mask if mask.ndim == 1 else mask.any(axis=1)
        else:
            union |= mask if mask.ndim == 2 else mask[:, None]
    return union if any(mask is not None for mask in masks) else None


@dataclass(frozen=True)
class Selection:
    """Columns by the part they play. ``target`` may be empty where another file has it. ``encode``
    makes numbers of labels, and a mask of their nulls; ``width`` is the length that a list column of
    predictions must have."""

    preds: tuple[str, ...]
    target: tuple[str, ...]
    weight: str | None = None
    width: int | None = None
    encode: Callable[[Any], tuple[Array, Array | None]] | None = None
    by: tuple[str, ...] = ()
    by_time: str | None = None
    cluster: str | None = None
    n_words: str | None = None
    n_bytes: str | None = None

    def columns(self, argument: str) -> tuple[str, ...]:
        """The names of the columns behind an argument of ``update``."""
        found = getattr(self, argument, ())
        return found if isinstance(found, tuple) else (found,) if found else ()

    def check(self, task: str, table: Table) -> None:
        """Refuses columns that do not make the arrays of a task."""
        if twice := {*self.preds} & {*self.target} | {*self.columns("weight")} & {*self.preds, *self.target}:
            raise SelectionError(f"column '{min(twice)}' is asked for in two parts", column=min(twice))
        for part, names in ("predictions", self.preds), ("targets", self.target):
            if task not in AXES:
                if len(names) > 1:
                    raise SelectionError(f"for {task} {part} are one column of lists, not {listed(names)}")
                continue
            lists = [name for name in names if is_list(table.type(name))]
            if lists and len(names) > 1:
                found = f"column '{lists[0]}' holds lists: {part} are one such column, or several of numbers"
                raise SelectionError(found, column=lists[0])
            if AXES[task][0] == 1 and (lists or len(names) > 1):
                raise SelectionError(f"for {task} {part} are one column of numbers, not {listed(names)}")
        if self.target and task in AXES and in_another_order(self.preds, self.target):
            raise SelectionError("columns of predictions and of targets have the same names "
                                       "in another order: list them in one")  # fmt: skip


@dataclass(frozen=True)
class Position:
    """Where a reading can go on: a source by its number, a row of it, and the length that lists
    were found to have before."""

    source: int = 0
    mark: Mark = START
    width: int | None = None


@dataclass(frozen=True)
class Chunk:
    """Rows ``first_row``, ... of a source. Its arrays hold until the next chunk is asked for;
    ``fraction`` is the part of all sources that ends here, None where nobody knows; ``end`` is
    where to go on once it is used up; ``no_target`` is the mask of nulls in the target, and ``null``
    that of nulls in anything; ``more`` is what else an update of the metric takes."""

    source: str
    first_row: int
    fraction: float | None
    end: Position
    selection: Selection
    batch: Any
    preds: Array
    target: Array | None
    weight: Array | None
    null: Array | None
    no_target: Array | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)

    def part(self, start: int, stop: int) -> "Chunk":
        """Some of its rows."""
        arrays = ("preds", "target", "weight", "null", "no_target")
        some: dict[str, Any] = {
            name: None if (rows := getattr(self, name)) is None else rows[start:stop] for name in arrays
        }
        return replace(self, first_row=self.first_row + start, batch=self.batch.slice(start, stop - start), **some)

    @property
    def keys(self) -> dict[str, Any]:
        """The columns of keys that there are, by the arguments of ``update``."""
        found = {}
        for argument in ("by", "by_time", "cluster"):
            columns = tuple(self._key(name) for name in self.selection.columns(argument))
            if columns:
                found[argument] = columns if len(columns) > 1 else columns[0]
        return found

    def _key(self, name: str) -> Any:
        """A column of keys; one that plays another part too was read as real numbers."""
        column = self.batch.column(name)
        shared = any(name in self.selection.columns(part) for part in ("preds", "target", "weight"))
        if shared and pa.types.is_floating(column.type):
            with contextlib.suppress(pa.ArrowInvalid):  # of fractions, which are no keys
                return column.cast(pa.int64())
        return column

    def cell(self, argument: str, index: Sequence[int]) -> tuple[Location, object]:
        """Where in the source an entry is (without a column where it takes several), and what stands there."""
        names = self.selection.columns(argument)
        row, *inner = index
        if len(names) > 1 and not inner:
            return Location(self.first_row + row), None
        name = names[inner[0]] if len(names) > 1 else names[0]
        value = self.batch.column(name)[row].as_py()
        if len(names) == 1 and inner and isinstance(value, list) and not self.selection.encode:
            return Location(self.first_row + row, name, (inner[0],)), value[inner[0]]
        return Location(self.first_row + row, name), value


class Reading:
    """The chunks of some sources.

    Parameters
    ----------
    sources : sequence of Source
    choose : function from a source and its table to a Selection
        Called for each source. The first answer holds; the others are only to complain.
    preds_axes, losses_axes : int
        1 and 1 for one prediction a row, 2 and 1 for one per class, 2 and 2 where every
        prediction has a target and a loss of its own.
    chunk_rows : int, optional
    beside : sequence of str
        Paths of .npy files that go with a .npy file of predictions.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        choose: Callable[[Source, Table], Selection],
        preds_axes: int,
        losses_axes: int,
        chunk_rows: int | None = None,
        beside: Sequence[str] = (),
    ) -> None:
        self._sources, self._choose, self._beside = sources, choose, beside
        self._preds_axes, self._losses_axes = preds_axes, losses_axes
        self._stopped = threading.Event()
        self._stacks = _Stack(), _Stack()
        self._first, self.selection = self._open(sources[0])
        self._width = self.selection.width
        names = self.selection.preds
        with sources[0].naming():
            values = len(names) if len(names) > 1 else self._first.width(names[0])
        self.chunk_rows = chunk_rows or max(1, min(CHUNK_ROWS, CHUNK_VALUES // values))

    def chunks(self, start: Position | None = None, until: Position | None = None) -> Generator[Chunk]:
        """The chunks from ``start`` on, and before the row ``until``, read on another thread while those
        before are in use. Close this iterator when leaving early."""
        chunks = self.one_by_one(start, until)
        ready: SimpleQueue[Chunk | BaseException | None] = SimpleQueue()
        wanted = threading.Semaphore(AHEAD)  # a queue as long would fill one buffer more

        def read() -> None:
            try:
                while wanted.acquire() and not self._stopped.is_set():
                    ready.put(next(chunks, None))
            except BaseException as error:
                ready.put(error)

        reader = threading.Thread(target=read, name="streamce-reader", daemon=True)
        reader.start()
        try:
            while (chunk := ready.get()) is not None:
                if isinstance(chunk, BaseException):
                    raise chunk
                wanted.release()
                yield chunk
        finally:
            self._stopped.set()
            wanted.release()
            reader.join()

    def _open(self, source: Source) -> tuple[Table, Selection]:
        with source.naming():
            table = open_table(source, self._beside, self._stopped)
            return table, self._choose(source, table)

    def one_by_one(self, start: Position | None = None, until: Position | None = None) -> Iterator[Chunk]:
        """The chunks from ``start`` on, and before the row ``until``, read when they are asked for."""
        start = start or Position()
        sizes = [source.size or 0 for source in self._sources]
        before, total = sum(sizes[: start.source]), sum(sizes)
        self._width = start.width or self._width
        mark = start.mark
        for number, source in enumerate(self._sources[start.source :], start.source):
            end_row = None
            if until is not None and number >= until.source:
                end_row = until.mark.row if number == until.source else 0
            if end_row == 0:
                return
            table = self._first if number == 0 else self._open(source)[0]
            with source.naming():
                for batch, fraction, end in table.batches(self._types(table), self.chunk_rows, mark):
                    if end_row is not None:
                        batch = batch.slice(0, end_row - mark.row)
                    if fraction is not None:
                        fraction = (before + fraction * sizes[number]) / total
                    for part in self._parts(batch):
                        stop = replace(end, row=mark.row + part.num_rows)
                        yield self._chunk(number, mark.row, fraction if stop == end else None, part, stop)
                        mark = stop
                    if mark.row == end_row:
                        return
            before, mark = before + sizes[number], START

    def _parts(self, batch: Any) -> Iterator[Any]:
        """What a batch is cut into."""
        yield batch

    def _types(self, table: Table) -> dict[str, Any]:
        """Types to read the columns as: the table's, or where those are guesses, wider ones."""
        chosen = self.selection
        types = {name: table.type(name) for name in chosen.preds}
        whole = all(pa.types.is_integer(inner(found)) for found in types.values())
        wide = None if table.typed or whole else pa.float64()
        for name in chosen.preds:
            if pa.types.is_integer(inner(types[name])) and wide is None:
                written = "" if table.typed else ", such as 1.0 where it says 1"
                found = f"holds {types[name]}, expected predictions, which are floating-point numbers{written}"
                raise DataError(found, column=name)
            types[name] = _numeric(name, types[name], wide)
        one_label = self._preds_axes > self._losses_axes and len(chosen.target) == 1
        for name in chosen.target:
            found = table.type(name)
            if chosen.encode is None:
                label = one_label and not pa.types.is_floating(found) and not is_list(found)
                wide = pa.int64() if label else pa.float64()
                types[name] = _numeric(name, found, None if table.typed else wide)
            else:
                types[name] = pa.string() if table.bare else found
        return self._types_beside(table, types)

    def _types_beside(self, table: Table, types: dict[str, Any]) -> dict[str, Any]:
        """The same of weights and keys, where ``types`` has those of predictions and targets."""
        chosen = self.selection
        types = dict(types)
        if chosen.weight:
            types[chosen.weight] = number(table, chosen.weight, pa.float64())
        for name in (*chosen.by, *chosen.columns("cluster")):
            # Text that has no types is text: what seem to be numbers in one file need not in the next.
            types.setdefault(name, pa.string() if table.bare else table.type(name))
        for name in chosen.columns("by_time"):
            found = table.type(name)
            if not table.typed:
                moment = pa.types.is_temporal(found) or is_text(found)
                found = pa.timestamp("us", getattr(found, "tz", None)) if moment else pa.float64()
            types.setdefault(name, found)
        return types

    def _chunk(self, number: int, row: int, fraction: float | None, batch: Any, mark: Mark) -> Chunk:
        chosen = self.selection
        preds, no_pred = self._entries(batch, chosen.preds, self._preds_axes, row)
        target: Array | None = None
        no_target = None
        if chosen.encode:
            target, no_target = chosen.encode(batch.column(chosen.target[0]))
        elif chosen.target:
            target, no_target = self._entries(batch, chosen.target, self._losses_axes, row)
        weight, no_weight = flat(batch.column(chosen.weight)) if chosen.weight else (None, None)
        shape = preds.shape[: self._losses_axes]
        null = _union([no_pred, no_target, no_weight], shape)
        name, end = self._sources[number].name, Position(number, mark, self._width)
        return Chunk(name, row, fraction, end, chosen, batch, preds, target, weight, null, no_target)

    def _entries(self, batch: Any, names: Sequence[str], axes: int, row: int) -> tuple[Array, Array | None]:
        """Preds or target: one number a row, or several where there are several columns, a
        list column, or where ``axes`` says so."""
        columns = [batch.column(name) for name in names]
        columns = [getattr(column, "storage", column) for column in columns]
        if is_list(columns[0].type):
            try:
                values, null = matrix(columns[0], self._width, row)
            except RaggedError as error:
                raise DataError(f"is {error.found}", row=error.row, column=names[0]) from None
            if columns[0].null_count < len(columns[0]):
                self._width = values.shape[1]
            elif self._width is None and self._losses_axes == 2:
                raise DataError("nulls before any list: nothing tells how many labels there are", row=row)
            return values, null
        if axes == 1 and len(names) == 1:
            return flat(columns[0])
        stack = self._stacks[names is self.selection.target]
        return stack([flat(column) for column in columns])


def number(table: Table, name: str, wide: Any) -> Any:
    """The type to read a column with one number per row as: its own, or where that is a guess ``wide``."""
    found = table.type(name)
    if is_list(found):
        raise DataError(f"holds {found}, expected one number per row", column=name)
    return _numeric(name, found, None if table.typed else wide)


def _numeric(name: str, type_: Any, wide: Any) -> Any:
    """The type to read a column of numbers as: its own, or ``wide`` where that is given."""
    entry = inner(type_)
    if wide is not None and not pa.types.is_boolean(entry):
        return pa.list_(wide) if is_list(type_) else wide
    checks = pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null
    if not any(check(entry) for check in (*checks, pa.types.is_boolean)):
        raise DataError(f"holds {type_}, expected numbers", column=name)
    return type_
