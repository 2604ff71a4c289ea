"""Rows that are sequences: columns of lists to entries one after another, and where each row's begin.

Nothing is copied where no list is null. A row with a list that is null is a sequence of as many null
tokens as its other list has, or of one; an utterance with any null is null as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from streamce.errors import DataError, InputError, Location
from streamce.inputs import arrow
from streamce.reading import reader
from streamce.reading.sources import Source
from streamce.reading.tables import Array, Mark, Table

if TYPE_CHECKING:
    from streamce.reading.reader import Chunk, Selection

TASKS = ("sequence", "ctc")
FEWEST = 2  # classes that there can be
# The columns behind the arguments that are made of others.
MADE_OF = {"log_probs": "preds", "input_lengths": "preds", "target_lengths": "target"}


class Lists(NamedTuple):
    """A list column: what stands in its rows, one after another, and how many in each; which rows are
    null, and which entries (None where none is)."""

    values: Array
    lengths: Array
    missing: Array
    null: Array | None


class Reading(reader.Reading):
    """The chunks of sources in which a row is a sequence.

    Parameters
    ----------
    sources, choose, chunk_rows, beside
        As other readings take them.
    task : {"sequence", "ctc"}
    chosen : bool
        Whether the predictions are log-probabilities of the chosen tokens, without targets.
    classes : int
        As many as there are at least.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        choose: Callable[[Source, Table], Selection],
        chunk_rows: int | None,
        beside: Sequence[str],
        task: str,
        chosen: bool,
        classes: int,
    ) -> None:
        super().__init__(sources, choose, 1 if chosen else 2, 1, chunk_rows, beside)
        self._task, self._classes = task, classes

    def _types(self, table: Table) -> dict[str, Any]:
        chosen = self.selection
        types = {name: _type(table, name, self._preds_axes, pa.float64()) for name in chosen.preds}
        types |= {name: _type(table, name, 1, pa.int64()) for name in chosen.target}
        for name in (*chosen.columns("n_words"), *chosen.columns("n_bytes")):
            types[name] = reader.number(table, name, pa.int64())
        return self._types_beside(table, types)

    def _parts(self, batch: Any) -> Iterator[Any]:
        """Rows that hold as many predictions as a chunk may, or one that holds more."""
        inside, sizes, _ = arrow.entries(_plain(batch.column(self.selection.preds[0]), self._preds_axes, pa.float64()))
        if self._preds_axes == 2 and len(inside):
            sizes = sizes * (len(inside.flatten()) // len(inside))
        ends, start = np.cumsum(sizes), 0
        while start < len(ends):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + reader.CHUNK_VALUES, "right")))
            yield batch.slice(start, stop - start)
            start = stop

    def _chunk(self, number: int, row: int, fraction: float | None, batch: Any, mark: Mark) -> Chunk:
        chosen = self.selection
        preds = self._lists(batch, chosen.preds[0], row, self._preds_axes, pa.float64())
        target = self._lists(batch, chosen.target[0], row, 1, pa.int64()) if chosen.target else None
        lost = preds.missing if target is None else preds.missing | target.missing
        beside = {}
        for argument in ("weight", "n_words", "n_bytes"):
            for name in chosen.columns(argument):
                values, null = arrow.flat(batch.column(name))
                if null is not None:
                    lost = lost | null
                    values = np.where(null, values.dtype.type(0), values)
                beside[argument] = values
        weight = beside.pop("weight", None)
        arrays: tuple[Any, Any, Any, dict[str, Any]]
        if target is not None and self._task == "ctc":
            arrays = self._utterances(preds, target, lost)
        else:
            arrays = self._sequences(preds, target, lost, row)
        found, labels, null, more = arrays
        end = reader.Position(number, mark, self._width)
        name = self._sources[number].name
        more |= beside
        return reader.Chunk(name, row, fraction, end, chosen, batch, found, labels, weight, null, more=more)

    def _lists(self, batch: Any, name: str, row: int, depth: int, wide: Any) -> Lists:
        inside, lengths, missing = arrow.entries(_plain(batch.column(name), depth, wide))
        if missing is None:
            missing = np.zeros(len(lengths), bool)
        if depth == 1:
            values, null = arrow.flat(inside)
            return Lists(values, lengths, missing, null)
        known = inside.null_count < len(inside)
        if not known and self._width is None and self._task == "ctc" and (empty := (lengths == 0) & ~missing).any():
            # Whether a label is a class must not hang on where a chunk ends.
            self._width = next(self._widths(), None)
            if self._width is None:
                what = "no frames, and nothing tells how many classes there are"
                raise DataError(f"holds {what}", row=row + int(np.argmax(empty)), column=name)
        try:
            values, null = arrow.matrix(inside, self._width if known else self._width or self._classes, 0)
        except arrow.RaggedError as error:
            i, place = _place(lengths, error.index)
            raise DataError(f"is {error.found}", row=row + i, column=name, entry=(place,)) from None
        if known:
            self._width = values.shape[1]
        return Lists(values, lengths, missing, None if null is None else np.any(null, axis=1))

    def _sequences(
        self, preds: Lists, target: Lists | None, lost: Array, row: int
    ) -> tuple[Array, Array | None, Array | None, dict[str, Any]]:
        lengths, parts = preds.lengths, [preds]
        if target is not None:
            odd = (preds.lengths != target.lengths) & ~preds.missing & ~target.missing
            if odd.any():
                i = int(np.argmax(odd))
                names = f"'{self.selection.preds[0]}' and '{self.selection.target[0]}'"
                many = f"{preds.lengths[i]} and {target.lengths[i]} tokens"
                raise DataError(f"columns {names} hold {many}, expected as many", row=row + i)
            lengths, parts = np.where(preds.missing, target.lengths, lengths), [preds, target]
        missing = np.any([part.missing for part in parts], axis=0)
        lengths = np.where(missing & (lengths == 0), 1, lengths)
        null = np.repeat(lost, lengths) if lost.any() else None
        for part in parts:
            if part.null is not None:
                spread = _spread(part.null, part.lengths, lengths)
                null = spread if null is None else null | spread
        labels = None if target is None else _spread(target.values, target.lengths, lengths)
        more: dict[str, Any] = {"offsets": np.concatenate([[0], np.cumsum(lengths)])}
        if target is None:
            more["chosen"] = True
        return _spread(preds.values, preds.lengths, lengths), labels, null, more

    def _utterances(
        self, preds: Lists, target: Lists, lost: Array
    ) -> tuple[Array, Array, Array | None, dict[str, Any]]:
        lost = lost.copy()
        for part in preds, target:
            if part.null is not None:
                lost[np.repeat(np.arange(len(lost)), part.lengths)[part.null]] = True
        labels = np.where((preds.missing | target.missing) & (target.lengths == 0), 1, target.lengths)
        more = {"input_lengths": preds.lengths, "target_lengths": labels}
        return preds.values, _spread(target.values, target.lengths, labels), lost if lost.any() else None, more

    def _widths(self) -> Iterator[int]:
        """Lengths of some lists of classes, of sources that can be read again."""
        name = self.selection.preds[0]
        for source in self._sources:
            if source.format not in ("pipe", "stream"):
                table = self._open(source)[0]
                for batch, _, _ in table.batches({name: self._types(table)[name]}, self.chunk_rows):
                    inside = arrow.entries(_plain(batch.column(name), 2, pa.float64()))[0]
                    lengths = arrow.entries(inside)[1]
                    yield from lengths[lengths > 0][:1].tolist()


def reading(
    task: str,
    sources: Sequence[Source],
    choose: Callable[[Source, Table], Selection],
    chunk_rows: int | None = None,
    beside: Sequence[str] = (),
    *,
    chosen: bool = False,
    blank: int = 0,
) -> reader.Reading:
    """The reading of a task: ``chosen`` as :class:`Reading` takes it, ``blank`` the class of no label of CTC."""
    if task in reader.AXES:
        return reader.Reading(sources, choose, *reader.AXES[task], chunk_rows, beside)
    return Reading(sources, choose, chunk_rows, beside, task, chosen, max(FEWEST, 1 + blank))


def _type(table: Table, name: str, depth: int, wide: Any) -> Any:
    """The type to read a list column as: its own, or where that is a guess lists of ``wide``."""
    found = leaf = table.type(name)
    levels = 0
    while arrow.is_list(leaf):
        leaf, levels = leaf.value_type, levels + 1
    if pa.types.is_null(leaf) and levels <= depth:  # nothing but nulls or empty lists
        return found if table.typed else _nested(wide, depth)
    whole = pa.types.is_integer(wide)
    kinds = [pa.types.is_integer] if whole else [pa.types.is_floating, pa.types.is_decimal]
    if levels != depth or not any(kind(leaf) for kind in kinds):
        what = "lists of " * depth + ("integers" if whole else "floating-point numbers")
        where = "" if levels else ", as Parquet, Arrow and JSON lines have them"
        raise DataError(f"holds {found}, expected {what}{where}", column=name)
    return found if table.typed else _nested(wide, depth)


def _nested(leaf: Any, depth: int) -> Any:
    for _ in range(depth):
        leaf = pa.list_(leaf)
    return leaf


def _plain(column: Any, depth: int, wide: Any) -> Any:
    """A list column as such; tensors too, and lists that hold nothing as those of ``wide``."""
    column = getattr(column, "storage", column)
    leaf = column.type
    while arrow.is_list(leaf):
        leaf = leaf.value_type
    return column.cast(_nested(wide, depth)) if pa.types.is_null(leaf) else column


def _spread(values: Array, lengths: Array, wanted: Array) -> Array:
    """Entries of rows of some lengths, with zeros in rows that have none and are to have some."""
    if np.array_equal(lengths, wanted):
        return values
    full = np.zeros((int(wanted.sum()), *values.shape[1:]), values.dtype)
    full[np.repeat(lengths == wanted, wanted)] = values
    return full


def _place(lengths: Array, index: int) -> tuple[int, int]:
    """The row of an entry, and its place in there."""
    ends = np.cumsum(lengths)
    row = int(np.searchsorted(ends, index, "right"))
    return row, index - int(ends[row] - lengths[row])


def relocated(chunk: Chunk, error: InputError) -> InputError:
    """Return an error about row and column of the source, in place of an array and its index."""
    argument = argument_of(chunk, error)
    names = chunk.selection.columns(argument)
    column = names[0] if names else None
    if error.index is None:
        return error.with_argument(argument).relocated(Location(column=column)) if names else error
    row, *inside = error.index
    if error.cause == "invalid_null":
        return of_null(chunk, row, error)
    if error.argument in ("offsets", "target_lengths"):
        location, found = Location(chunk.first_row + row, column), "holds an empty list"
        return error.relocated(location, argument=argument, index=(chunk.first_row + row,), found=found)
    if argument in ("preds", "target"):
        row, at = _place(_lengths(chunk, argument), row)
        inside = [at, *inside]
    row += chunk.first_row
    return error.relocated(Location(row, column, tuple(inside)), argument=argument, index=(row, *inside))


def of_null(chunk: Chunk, row: int, error: InputError, *, whole: bool = False) -> InputError:
    """Return the error for a row of the chunk with a null; ``whole`` names the column alone, and no entry of it."""
    argument, column, entry = first_null(chunk, row) or (error.argument, None, ())
    location = Location(chunk.first_row + row, column, () if whole else entry)
    index = (location.row, *error.index[1:]) if error.index else None
    return error.relocated(location, argument=argument, index=index, found="holds a null", expected=None)


def argument_of(chunk: Chunk, error: InputError) -> str:
    """The argument that an error's is made of."""
    argument = MADE_OF.get(str(error.argument), str(error.argument))
    if argument == "offsets":
        return "target" if chunk.selection.target else "preds"
    return argument


def _lengths(chunk: Chunk, argument: str) -> Array:
    """Entries of each row in the array of an argument."""
    if "offsets" in chunk.more:
        return np.diff(chunk.more["offsets"])
    found: Array = chunk.more["input_lengths" if argument == "preds" else "target_lengths"]
    return found


def first_null(chunk: Chunk, row: int) -> tuple[str, str, tuple[int, ...]] | None:
    """The first argument with a null in this row of the chunk, the column, and where in its lists; None if none has."""
    for argument in ("preds", "target", "weight", "n_words", "n_bytes"):
        for name in chunk.selection.columns(argument):
            entry = _null_in(chunk.batch.column(name)[row].as_py())
            if entry is not None:
                return argument, name, entry
    return None


def _null_in(value: Any) -> tuple[int, ...] | None:
    """Where in nested lists the first null is, None if there is none."""
    if value is None:
        return ()
    for i, inner in enumerate(value if isinstance(value, list) else ()):
        entry = _null_in(inner)
        if entry is not None:
            return i, *entry
    return None
