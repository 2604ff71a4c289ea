"""Chunks of sources: NumPy arrays of many rows, made of record batches.

``Reading`` reads the sources on its own thread, while the caller computes with the chunk before.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.inputs.arrow import RaggedError, flat, inner, is_list, is_number, is_text, matrix
from streamce.keys.moments import Moments, find_invalid
from streamce.reading.chunk import Chunk, Position
from streamce.reading.files.sources import Source
from streamce.reading.formats.base import START, Array, Mark, Part, Table, UnreadableRows
from streamce.reading.open_table import open_table
from streamce.reading.selection import TWO_CLASSES, Selection

CHUNK_ROWS = 1 << 17
CHUNK_VALUES = 1 << 21  # predictions in a chunk, unless the caller sets the number of rows
FIRST_ROWS = 16  # of a chunk
NAME_TEXT = "if labels are text, --classes must name them"
PREFETCH = 2  # chunks that are read ahead: one is not enough, because reading times vary


class _ColumnStacker:
    """A function that puts columns side by side, in rotating buffers: one is in use while the others are filled."""

    def __init__(self) -> None:
        self._buffers = [np.empty((0, 0)) for _ in range(PREFETCH + 1)]

    def __call__(self, columns: Sequence[tuple[Array, Array | None]]) -> tuple[Array, Array | None]:
        rows, dtype = len(columns[0][0]), np.result_type(*(values for values, _ in columns))
        self._buffers.insert(0, self._buffers.pop())
        if self._buffers[0].dtype != dtype or len(self._buffers[0]) < rows:
            self._buffers[0] = np.empty((rows, len(columns)), dtype)
        stacked = self._buffers[0][:rows]
        for i, (values, _) in enumerate(columns):
            stacked[:, i] = values
        if all(null is None for _, null in columns):
            return stacked, None
        no_null = np.zeros(rows, bool)
        return stacked, np.stack([no_null if null is None else null for _, null in columns], axis=1)


def _union(masks: Sequence[Array | None], shape: tuple[int, ...]) -> Array | None:
    """Return where any mask is true. Masks and result have an entry per row, or per entry if ``shape`` has two axes."""
    union = np.zeros(shape, bool)
    for mask in (mask for mask in masks if mask is not None):
        if len(shape) == 1:
            union |= mask if mask.ndim == 1 else mask.any(axis=1)
        else:
            union |= mask if mask.ndim == 2 else mask[:, None]
    return union if any(mask is not None for mask in masks) else None


class Reading:
    """The chunks of some sources.

    Parameters
    ----------
    sources : sequence of Source
    choose : function from a source and its table to a Selection
        Called for each source. The first selection is used for all sources. Later calls only check them.
    preds_axes, losses_axes : int
        1 and 1 for one prediction per row, 2 and 1 for one per class, 2 and 2 if every prediction has its own target
        and loss.
    chunk_rows : int, optional
    companions : sequence of str
        Paths of .npy files that belong to a .npy file of predictions.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        choose: Callable[[Source, Table], Selection],
        preds_axes: int,
        losses_axes: int,
        chunk_rows: int | None = None,
        companions: Sequence[str] = (),
    ) -> None:
        self._sources, self._choose, self._companions = sources, choose, companions
        self._preds_axes, self._losses_axes = preds_axes, losses_axes
        self._stopped = threading.Event()
        self._stackers = _ColumnStacker(), _ColumnStacker()
        self.selection: Selection
        self._first, self.selection = self._open(sources[0])
        self._width = self.selection.width
        self.unreadable: int = 0  # rows so far that could not be read and were left out
        self.first_unreadable: DataError | None = None  # the error of the first of them in this reading
        self.has_fractions: bool = False  # whether any prediction so far is not a whole number
        names = self.selection.preds
        with sources[0].errors():
            values = len(names) if len(names) > 1 else self._first.width(names[0])
        self.chunk_rows: int = chunk_rows or max(1, min(CHUNK_ROWS, CHUNK_VALUES // values))

    @property
    def table(self) -> Table:
        """The table of the first source."""
        return self._first

    def column_types(self) -> dict[str, Any]:
        """Return the types that the columns of the first source are read as."""
        with self._sources[0].errors():
            return self._types(self._first)

    def chunk_of(self, batch: Any, numbers: Array, sources: Array, fraction: float) -> Chunk:
        """Return a chunk of rows that were read before, in any order, with the number and the source of each."""
        return replace(self._chunk(0, 0, Part(batch, fraction, START, numbers)), sources=sources)

    def chunks(self, start: Position | None = None, until: Position | None = None) -> Generator[Chunk]:
        """Yield the chunks from ``start`` on, before ``until``, read on another thread while earlier ones are in use.

        Close this generator if you stop early.
        """
        chunks = self.lazy_chunks(start, until)
        ready: SimpleQueue[Chunk | BaseException | None] = SimpleQueue()
        wanted = threading.Semaphore(PREFETCH)  # a bounded queue would need one more buffer

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
            chunks.close()  # waits for threads that parse

    def _open(self, source: Source) -> tuple[Table, Selection]:
        with source.errors():
            table = open_table(source, self._companions, self._stopped)
            return table, self._choose(source, table)

    def lazy_chunks(self, start: Position | None = None, until: Position | None = None) -> Generator[Chunk]:
        """Yield the chunks from ``start`` on, before ``until``. Each is read when it is requested."""
        start = start or Position()
        sizes = [source.size or 0 for source in self._sources]
        before, total = sum(sizes[: start.source]), sum(sizes)
        self._width, self.unreadable = start.width or self._width, start.unreadable
        mark = start.mark
        for number, source in enumerate(self._sources[start.source :], start.source):
            end_row = None
            if until is not None and number >= until.source:
                end_row = until.mark.row if number == until.source else 0
            if end_row == 0:
                return
            table = self._first if number == 0 else self._open(source)[0]
            with source.errors():
                for part in self._parts(table, mark):
                    if end_row is not None:
                        part = _before(part, end_row, mark.row)
                    if part.fraction is not None:
                        part = part._replace(fraction=(before + part.fraction * sizes[number]) / total)
                    if (error := table.first_unreadable) is not None:
                        self._note_unreadable(number, self._with_classes_hint(table, error))
                    for piece in self._cut(part, mark.row):
                        if (chunk := self._readable(number, mark.row, piece)) is not None:
                            self.has_fractions = self.has_fractions or _has_fractions(chunk.preds)
                            yield chunk
                        mark = piece.end
                    if mark.row == end_row:
                        return
                if table.may_vary:
                    self._check_predictions(table)
            before, mark = before + sizes[number], START

    def _parts(self, table: Table, start: Mark) -> Iterator[Part]:
        """Yield the parts of a table. An error about a label that is text names the option that reads it."""
        try:
            yield from table.read(self._types(table), self.chunk_rows, start)
        except DataError as error:
            if (hinted := self._with_classes_hint(table, error)) is error:
                raise
            raise hinted from error

    def _with_classes_hint(self, table: Table, error: DataError) -> DataError:
        """Return an error about a label that may be text with the option that reads it as its first hint."""
        is_label = error.column in self.selection.target and self.selection.encode is None
        if not (table.has_only_text and is_label and error.row is not None):
            return error
        return error.changed(hint=", ".join(filter(None, [NAME_TEXT, error.hint])))

    def _check_predictions(self, table: Table) -> None:
        """Raise DataError if a column of predictions holds only integers, once all batches have been read."""
        for name in self.selection.preds:
            found = self._types(table)[name]
            if not pa.types.is_null(found) and table.holds_only_integers(name):
                raise integer_predictions(name, found)

    def _cut(self, part: Part, first_row: int) -> Iterator[Part]:
        """Yield the parts of a part that become chunks."""
        yield part

    def _types(self, table: Table) -> dict[str, Any]:
        """Return the types to read the columns as: those of the table, or wider ones if those are guesses."""
        chosen = self.selection
        types = {name: table.type(name) for name in chosen.preds}
        wide = None if table.has_types else pa.float64()  # in text 1 is a prediction, wherever fractions begin
        for name in chosen.preds:
            if pa.types.is_integer(inner(types[name])) and table.has_types and not table.may_vary:
                raise integer_predictions(name, types[name])
            types[name] = _numeric_type(name, types[name], wide)
        for name in chosen.target:
            found = table.type(name)
            if chosen.encode is None:
                types[name] = _numeric_type(name, found, None if table.has_types else pa.float64())
            else:
                types[name] = pa.string() if table.has_only_text else found
        return self._with_other_types(table, types)

    def _with_other_types(self, table: Table, types: dict[str, Any]) -> dict[str, Any]:
        """Return the types of predictions and targets together with those of weights and keys."""
        chosen = self.selection
        types = dict(types)
        if chosen.weight:
            types[chosen.weight] = number_type(table, chosen.weight, pa.float64())
        for name in (*chosen.by, *chosen.columns("cluster")):
            # Keys of CSV are text, because a column may look like numbers in one file and not in the next.
            types.setdefault(name, pa.string() if table.has_only_text else table.type(name))
        for name in chosen.columns("by_time"):
            found = table.type(name)
            if not table.has_type(name):
                # Moments of text formats stay text, and in CSV numbers too, so that one parser reads all of them.
                is_text_ = table.has_only_text or pa.types.is_temporal(found) or is_text(found)
                is_exact = chosen.time_unit == "ns" and pa.types.is_integer(found)  # which float64 is not
                found = pa.string() if is_text_ else pa.int64() if is_exact else pa.float64()
            types.setdefault(name, found)
        for name in (*chosen.match, *chosen.shared):
            if table.path(name).column not in table.names():
                raise DataError(f"there is no column '{name}', which earlier files have")
            types.setdefault(name, pa.string() if table.has_only_text else table.type(name))
        return types

    def _readable(self, number: int, row: int, part: Part) -> Chunk | None:
        """Return the chunk of the rows of a part that can be read, and count the others; None if there are none."""
        unreadable = self.unreadable
        while True:
            self.unreadable = unreadable + part.end.row - row - part.batch.num_rows
            try:
                if self._sources[number].options.skip_unreadable:
                    self._check_moments(part, row)
                return self._chunk(number, row, part) if part.batch.num_rows else None
            except UnreadableRows as unreadable_rows:
                error = unreadable_rows.error
                if not self._sources[number].options.skip_unreadable:
                    raise error from unreadable_rows
                self._note_unreadable(number, error)
                part = part.without(unreadable_rows.rows, row)

    def _check_moments(self, part: Part, row: int) -> None:
        """Raise UnreadableRows for moments that cannot be read."""
        for name in self.selection.columns("by_time"):
            error, rows = find_invalid(Moments(part.batch.column(name), self.selection.time_unit), "by_time")
            if error is not None and part.batch.num_rows:
                reason = DataError(error.predicate, row=part.source_row(rows[0], row), column=name)
                raise UnreadableRows(reason, np.array(rows))

    def _note_unreadable(self, number: int, error: DataError) -> None:
        """Keep the error of rows of a source if it is the first."""
        if self.first_unreadable is None:
            self.first_unreadable = error.with_place(self._sources[number].name)

    def _chunk(self, number: int, row: int, part: Part) -> Chunk:
        chosen, batch = self.selection, part.batch
        preds, no_pred = self._entries(part, chosen.preds, self._preds_axes, row)
        preds = as_real(preds)
        target: Array | None = None
        no_target = None
        if chosen.encode:
            target, no_target = chosen.encode(batch.column(chosen.target[0]))
        elif chosen.target:
            target, no_target = self._entries(part, chosen.target, self._losses_axes, row)
        weight, no_weight = flat(batch.column(chosen.weight)) if chosen.weight else (None, None)
        shape = preds.shape[: self._losses_axes]
        null = _union([no_pred, no_target, no_weight], shape)
        name, end = self._sources[number].name, self._end(number, part)
        arrays = batch, preds, target, weight, null, no_target
        return Chunk(name, row, part.fraction, end, chosen, *arrays, numbers=part.numbers)

    def _end(self, number: int, part: Part) -> Position:
        """Return where to continue after a part of a source."""
        return Position(number, part.end, self._width, self.unreadable)

    def _entries(self, part: Part, names: Sequence[str], axes: int, row: int) -> tuple[Array, Array | None]:
        """Return the entries of predictions or targets, and the mask of nulls.

        They have a second axis if there are several columns, a list column, or two ``axes``.
        """
        columns = [part.batch.column(name) for name in names]
        columns = [getattr(column, "storage", column) for column in columns]
        if is_list(columns[0].type) and self._preds_axes == 1:
            return self._single_entries(part, columns[0], names[0], row)
        if pa.types.is_null(columns[0].type) and axes == 2 and len(names) == 1:  # where other batches hold lists
            shape = len(columns[0]), self._width or 2  # any width, if there are only nulls
            return np.zeros(shape), np.ones(shape, bool)
        if is_list(columns[0].type):
            try:
                values, null = matrix(columns[0], self._width, row)
            except RaggedError as error:
                at = part.source_row(int(error.indices[0]), row)
                reason = DataError(f"is {error.found}", row=at, column=names[0])
                raise UnreadableRows(reason, error.indices) from None
            if columns[0].null_count < len(columns[0]):
                self._width = values.shape[1]
            elif self._width is None and self._losses_axes == 2:
                found = "there are nulls before any list, so the number of labels is unknown"
                raise DataError(found, row=part.source_row(0, row))
            return values, null
        if axes == 1 and len(names) == 1:
            return flat(columns[0])
        stacker = self._stackers[names is self.selection.target]
        return stacker([flat(column) for column in columns])

    def _single_entries(self, part: Part, column: Any, name: str, row: int) -> tuple[Array, Array | None]:
        """Return the entries of a column of lists of one number."""
        try:
            values, null = matrix(column, 1, row)
        except RaggedError as error:
            hint = f"; {TWO_CLASSES}" if name in self.selection.preds and error.length == 2 else ""
            found = f"is a list of {error.length}: expected one number{hint}"
            reason = DataError(found, row=part.source_row(int(error.indices[0]), row), column=name)
            raise UnreadableRows(reason, error.indices) from None
        return values.reshape(len(column)), None if null is None else null.reshape(len(column))


def named(chunks: Iterator[Chunk], name: str) -> Iterator[Chunk]:
    """Yield chunks. An error about a row that names no source gets this name, because streams have none."""
    try:
        yield from chunks
    except DataError as error:
        raise error if error.places else error.with_place(name) from None


def _before(part: Part, end_row: int, first_row: int) -> Part:
    """Return the rows of a part, which begins at ``first_row``, before ``end_row``."""
    if part.end.row <= end_row:
        return part
    if part.numbers is None:
        numbers, rows = None, end_row - first_row
    else:
        rows = int(np.searchsorted(part.numbers, end_row))
        numbers = part.numbers[:rows]
    return part._replace(batch=part.batch.slice(0, rows), end=replace(part.end, row=end_row), numbers=numbers)


def integer_predictions(name: str, type_: Any) -> DataError:
    """Return the error for a column of integers, which are probably labels, as predictions."""
    return DataError(f"holds {type_}, expected predictions, which are floating-point numbers", column=name)


def _has_fractions(preds: Array) -> bool:
    """Return whether any number is not whole. The first rows are looked at first, because mostly they suffice."""
    for rows in preds[:FIRST_ROWS], preds[FIRST_ROWS:]:
        if (np.isfinite(rows) & (rows != np.trunc(rows))).any():
            return True
    return False


def as_real(preds: Array) -> Array:
    """Return predictions as floating point. Integers are those of a table that has fractions elsewhere."""
    return preds.astype(np.float64) if preds.dtype.kind in "iu" else preds


def number_type(table: Table, name: str, wide: Any) -> Any:
    """Return the type to read a column of one number per row as: its own, or ``wide`` if that is a guess."""
    found = table.type(name)
    if is_list(found):
        raise DataError(f"holds {found}, expected one number per row", column=name)
    return _numeric_type(name, found, None if table.has_type(name) else wide)


def _numeric_type(name: str, type_: Any, wide: Any) -> Any:
    """Return the type to read a column of numbers as: its own, or ``wide`` unless that is None."""
    entry = inner(type_)
    if pa.types.is_struct(entry):
        fields = [entry.field(i).name for i in range(entry.num_fields)]
        hint = f", such as '{name}.{fields[-1]}'" if fields else ""
        raise DataError(f"holds objects, expected numbers: name a field{hint}", column=name)
    if wide is not None and not pa.types.is_boolean(entry):
        return pa.list_(wide) if is_list(type_) else wide
    if not is_number(entry):
        raise DataError(f"holds {type_}, expected numbers", column=name)
    return type_
