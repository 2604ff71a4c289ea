"""Chunks whose rows are sequences: list columns become flat arrays and offsets.

Without null lists nothing is copied. A null list becomes as many null tokens as the other list of its row has, or one.
An utterance that contains a null is null as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from streamce.errors import SKIP_NULLS, DataError, InputError, Location
from streamce.inputs import arrow
from streamce.reading import reader
from streamce.reading.chunk import Chunk
from streamce.reading.files.sources import Source
from streamce.reading.formats.base import Array, Part, Table, UnreadableRows, slice_part
from streamce.reading.selection import AXES, Selection

TASKS = ("sequence", "ctc")
MIN_CLASSES = 2
# The argument whose columns an argument is computed from.
COMPUTED_FROM = {"log_probs": "preds", "input_lengths": "preds", "target_lengths": "target"}


class Lists(NamedTuple):
    """A list column: its entries one after another, the number of entries of each row, and the null rows.

    ``null`` is the mask of null entries, None if there are none.
    """

    values: Array
    lengths: Array
    missing: Array
    null: Array | None


class Reading(reader.Reading):
    """The chunks of sources in which a row is a sequence.

    Parameters
    ----------
    sources, choose, chunk_rows, companions
        See ``reader.Reading``.
    task : {"sequence", "ctc"}
    base : float or None
        The base of the log-probabilities of the chosen tokens, which have no targets; None for other predictions.
    min_classes : int
        The smallest allowed number of classes.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        choose: Callable[[Source, Table], Selection],
        chunk_rows: int | None,
        companions: Sequence[str],
        task: str,
        base: float | None,
        min_classes: int,
    ) -> None:
        super().__init__(sources, choose, 2 if base is None else 1, 1, chunk_rows, companions)
        self._task, self._base, self._min_classes = task, base, min_classes

    def _types(self, table: Table) -> dict[str, Any]:
        chosen = self.selection
        types = {name: _type(table, name, self._preds_axes, "floating-point numbers") for name in chosen.preds}
        types |= {name: _type(table, name, 1, "integers") for name in chosen.target}
        for name in (*chosen.columns("n_words"), *chosen.columns("n_bytes")):
            types[name] = reader.number_type(table, name, pa.int64())
        return self._with_other_types(table, types)

    def _cut(self, part: Part, first_row: int) -> Iterator[Part]:
        """Yield parts with at most as many predictions as a chunk may have, or of one row with more."""
        column = part.batch.column(self.selection.preds[0])
        inside, sizes, _ = arrow.entries(_as_lists(column, self._preds_axes, pa.float64()))
        if self._preds_axes == 2 and len(inside):
            sizes = sizes * (len(inside.flatten()) // len(inside))
        ends, start = np.cumsum(sizes), 0
        while start < len(ends):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + reader.CHUNK_VALUES, "right")))
            yield slice_part(part, start, stop, first_row)
            start = stop
        if not len(ends):
            yield part

    def _chunk(self, number: int, row: int, part: Part) -> Chunk:
        chosen, batch = self.selection, part.batch
        preds = self._lists(part, chosen.preds[0], row, self._preds_axes, pa.float64())
        target = self._lists(part, chosen.target[0], row, 1, pa.int64()) if chosen.target else None
        invalid = preds.missing if target is None else preds.missing | target.missing
        per_row = {}
        for argument in ("weight", "n_words", "n_bytes"):
            for name in chosen.columns(argument):
                values, null = arrow.flat(batch.column(name))
                if null is not None:
                    invalid = invalid | null
                    values = np.where(null, values.dtype.type(0), values)
                per_row[argument] = values
        weight = per_row.pop("weight", None)
        arrays: tuple[Any, Any, Any, dict[str, Any]]
        if target is not None and self._task == "ctc":
            arrays = self._utterances(preds, target, invalid)
        else:
            arrays = self._sequences(preds, target, invalid, part, row)
        entries, labels, null, extra = arrays
        name, end = self._sources[number].name, self._end(number, part)
        extra |= per_row
        given = batch, entries, labels, weight, null
        return Chunk(name, row, part.fraction, end, chosen, *given, extra=extra, numbers=part.numbers)

    def _lists(self, part: Part, name: str, row: int, depth: int, wide: Any) -> Lists:
        inside, lengths, missing = arrow.entries(_as_lists(part.batch.column(name), depth, wide))
        if missing is None:
            missing = np.zeros(len(lengths), bool)
        if depth == 1:
            values, null = arrow.flat(inside)
            if name in self.selection.preds:
                values = reader.as_real(values)
            return Lists(values, lengths, missing, null)
        has_lists = inside.null_count < len(inside)
        if not has_lists and self._width is None and self._task == "ctc" and (empty := (lengths == 0) & ~missing).any():
            # Look ahead, because the check of labels must not depend on where a chunk ends.
            self._width = next(self._widths(), None)
            if self._width is None:
                found = "holds no frames, and the number of classes is unknown"
                raise DataError(found, row=part.source_row(int(np.argmax(empty)), row), column=name)
        try:
            values, null = arrow.matrix(inside, self._width if has_lists else self._width or self._min_classes, 0)
        except arrow.RaggedError as error:
            i, position = _row_and_position(lengths, int(error.indices[0]))
            rows = np.searchsorted(np.cumsum(lengths), error.indices, "right")
            reason = DataError(f"is {error.found}", row=part.source_row(i, row), column=name, entry=(position,))
            raise UnreadableRows(reason, rows) from None
        if has_lists:
            self._width = values.shape[1]
        values = reader.as_real(values)
        return Lists(values, lengths, missing, None if null is None else np.any(null, axis=1))

    def _sequences(
        self, preds: Lists, target: Lists | None, invalid: Array, part: Part, row: int
    ) -> tuple[Array, Array | None, Array | None, dict[str, Any]]:
        lengths, lists = preds.lengths, [preds]
        if target is not None:
            differ = (preds.lengths != target.lengths) & ~preds.missing & ~target.missing
            if differ.any():
                i = int(np.argmax(differ))
                names = f"'{self.selection.preds[0]}' and '{self.selection.target[0]}'"
                counts = f"{preds.lengths[i]} and {target.lengths[i]} tokens"
                found = f"columns {names} hold {counts}, expected the same number"
                raise UnreadableRows(DataError(found, row=part.source_row(i, row)), np.flatnonzero(differ))
            lengths, lists = np.where(preds.missing, target.lengths, lengths), [preds, target]
        # A row with a null is one null token at least.
        lengths = np.where(invalid & (lengths == 0), 1, lengths)
        null = np.repeat(invalid, lengths) if invalid.any() else None
        for each in lists:
            if each.null is not None:
                padded = _pad(each.null, each.lengths, lengths)
                null = padded if null is None else null | padded
        labels = None if target is None else _pad(target.values, target.lengths, lengths)
        extra: dict[str, Any] = {"offsets": np.concatenate([[0], np.cumsum(lengths)]), "row_weights": True}
        if target is None:
            extra["base"] = self._base
        return _pad(preds.values, preds.lengths, lengths), labels, null, extra

    def _utterances(
        self, preds: Lists, target: Lists, invalid: Array
    ) -> tuple[Array, Array, Array | None, dict[str, Any]]:
        invalid = invalid.copy()
        for part in preds, target:
            if part.null is not None:
                invalid[np.repeat(np.arange(len(invalid)), part.lengths)[part.null]] = True
        extra = {"input_lengths": preds.lengths, "target_lengths": target.lengths}
        return preds.values, target.values, invalid if invalid.any() else None, extra

    def _widths(self) -> Iterator[int]:
        """Yield lengths of lists of classes, from sources that can be read again."""
        name = self.selection.preds[0]
        for source in self._sources:
            if source.format not in ("pipe", "stream"):
                table = self._open(source)[0]
                for part in table.read({name: self._types(table)[name]}, self.chunk_rows):
                    inside = arrow.entries(_as_lists(part.batch.column(name), 2, pa.float64()))[0]
                    lengths = arrow.entries(inside)[1]
                    yield from lengths[lengths > 0][:1].tolist()


def open_reading(
    task: str,
    sources: Sequence[Source],
    choose: Callable[[Source, Table], Selection],
    chunk_rows: int | None = None,
    companions: Sequence[str] = (),
    *,
    base: float | None = None,
    blank: int = 0,
) -> reader.Reading:
    """Return the reading of a task.

    ``base`` is that of the log-probabilities of the chosen tokens, None for other predictions. ``blank`` is the class
    that stands for no label in CTC.
    """
    if task in AXES:
        return reader.Reading(sources, choose, *AXES[task], chunk_rows, companions)
    return Reading(sources, choose, chunk_rows, companions, task, base, max(MIN_CLASSES, 1 + blank))


def _type(table: Table, name: str, depth: int, expected: str) -> Any:
    """Return the type to read a list column as: its own, or lists of float64 if that is a guess.

    Labels may be whole numbers in floating point, so ``expected`` only words the error, and tells whether integers fit.
    """
    found = leaf = table.type(name)
    levels = 0
    while arrow.is_list(leaf):
        leaf, levels = leaf.value_type, levels + 1
    may_be_integers = expected == "integers" or table.may_vary or not table.has_types  # 1 is written for 1.0, too
    checks = [pa.types.is_floating, pa.types.is_decimal, *([pa.types.is_integer] if may_be_integers else [])]
    are_nulls = pa.types.is_null(leaf) and levels <= depth  # there are only nulls or empty lists
    if not are_nulls and (levels != depth or not any(check(leaf) for check in checks)):
        formats = "" if levels else ", which Parquet, Arrow and JSON lines can hold"
        raise DataError(f"holds {found}, expected {'lists of ' * depth}{expected}{formats}", column=name)
    return found if table.has_types else _list_type(pa.float64(), depth)


def _list_type(leaf: Any, depth: int) -> Any:
    for _ in range(depth):
        leaf = pa.list_(leaf)
    return leaf


def _as_lists(column: Any, depth: int, wide: Any) -> Any:
    """Return a column of lists or tensors as a list column. Lists without any values become lists of ``wide``."""
    column = getattr(column, "storage", column)
    leaf = column.type
    while arrow.is_list(leaf):
        leaf = leaf.value_type
    return column.cast(_list_type(wide, depth)) if pa.types.is_null(leaf) else column


def _pad(values: Array, lengths: Array, wanted: Array) -> Array:
    """Return entries with rows of the ``wanted`` lengths. Rows whose length changes consist of zeros."""
    if np.array_equal(lengths, wanted):
        return values
    full = np.zeros((int(wanted.sum()), *values.shape[1:]), values.dtype)
    full[np.repeat(lengths == wanted, wanted)] = values
    return full


def _row_and_position(lengths: Array, index: int) -> tuple[int, int]:
    """Return the row of an entry, and its position in the row."""
    ends = np.cumsum(lengths)
    row = int(np.searchsorted(ends, index, "right"))
    return row, index - int(ends[row] - lengths[row])


def relocated(chunk: Chunk, error: InputError) -> InputError:
    """Return an error about row and column of the source, in place of an array and its index."""
    argument = source_argument(chunk, error)
    names = chunk.selection.columns(argument)
    column = names[0] if names else None
    if error.index is None:
        return error.with_argument(argument).relocated(Location(column=column)) if names else error
    row, *inside = error.index
    if error.cause == "invalid_null":
        return null_error(chunk, row, error)
    if argument in ("preds", "target"):
        row, position = _row_and_position(_lengths(chunk, argument), row)
        inside = [position, *inside]
    row = chunk.source_row(row)
    return error.relocated(Location(row, column, tuple(inside)), argument=argument, index=(row, *inside))


def null_error(chunk: Chunk, row: int, error: InputError, *, whole_column: bool = False) -> InputError:
    """Return the error for a row of the chunk with a null. With ``whole_column`` it names no entry of the column."""
    argument, column, entry = first_null(chunk, row) or (error.argument, None, ())
    location = Location(chunk.source_row(row), column, () if whole_column else entry)
    index = (location.row, *error.index[1:]) if error.index else None
    hint = SKIP_NULLS if argument == "preds" and "base" in chunk.extra else error.hint
    return error.relocated(location, argument=argument, index=index, found="holds a null", expected=None, hint=hint)


def source_argument(chunk: Chunk, error: InputError) -> str:
    """Return the argument whose columns the argument of an error is computed from."""
    argument = COMPUTED_FROM.get(str(error.argument), str(error.argument))
    if argument == "offsets":
        return "target" if chunk.selection.target else "preds"
    return argument


def _lengths(chunk: Chunk, argument: str) -> Array:
    """Return the number of entries of each row in the array of an argument."""
    if "offsets" in chunk.extra:
        return np.diff(chunk.extra["offsets"])
    lengths: Array = chunk.extra["input_lengths" if argument == "preds" else "target_lengths"]
    return lengths


def first_null(chunk: Chunk, row: int) -> tuple[str, str, tuple[int, ...]] | None:
    """Return the first argument with a null in a row of the chunk, its column and the entry; None if there is none.

    Among labels NaN is a null too.
    """
    arguments = [(name, False) for name in ("preds", "target", "weight", "n_words", "n_bytes")]
    for argument, with_nan in (*arguments, ("target", True)):
        for name in chunk.selection.columns(argument):
            entry = _null_in(chunk.batch.column(name)[row].as_py(), with_nan)
            if entry is not None:
                return argument, name, entry
    return None


def _null_in(value: Any, with_nan: bool) -> tuple[int, ...] | None:
    """Return the index of the first null in nested lists, None if there is none. ``with_nan`` makes NaN a null."""
    if value is None or (with_nan and value != value):
        return ()
    for i, inner in enumerate(value if isinstance(value, list) else ()):
        entry = _null_in(inner, with_nan)
        if entry is not None:
            return i, *entry
    return None
