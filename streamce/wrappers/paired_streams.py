"""Adds two Arrow streams, the predictions of two models, to a ``Paired``. Their rows are paired by position or by key.

pyarrow is optional, so only functions import what needs it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import DefaultMode
from streamce.errors import DataError, InputError, SelectionError
from streamce.metrics import update_from

if TYPE_CHECKING:
    from streamce.metrics.base import Metric
    from streamce.reading.arrow_stream import StreamTable
    from streamce.reading.chunk import Chunk
    from streamce.reading.reader import Reading
    from streamce.reading.selection import Selection

NAMES = ("a", "b")
TASKS = ("binary", "multiclass", "multilabel", "mean")
ADVICE = ", or key= to match rows by key, or by_position=True to pair them anyway"
PANDAS_INDEX = "__index_level_"  # how the name of a column begins that pandas makes of an index without a name


class Request(NamedTuple):
    """What a call of ``Paired.update_from`` asks for: the words for the columns of A, of B and of keys."""

    a: dict[str, list[str]]
    b: dict[str, list[str]]
    key: list[str]
    by_position: bool


def request(metric: Metric, columns: dict[str, Any], preds_b: Any, key: Any, by_position: bool) -> Request:
    """Return the checked arguments of a call."""
    if metric._task not in TASKS:
        raise InputError("metric", f"is {type(metric).__name__}", "one whose samples are rows, not sequences")
    words_a = {
        name: update_from.words(name, value) for name, value in columns.items() if value is not None or name == "preds"
    }
    update_from.check_options(metric, words_a)
    words_b = {name: words for name, words in words_a.items() if name in ("preds", "target")}
    if preds_b is not None:
        words_b["preds"] = _several("preds_b", preds_b)
    keys = [] if key is None else _several("key", key)
    if keys and by_position:
        raise InputError("by_position", "is True", "False, because key is given")
    return Request(words_a, words_b, keys, by_position)


def _several(argument: str, value: Any) -> list[str]:
    words = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    if not words or not all(isinstance(word, str) for word in words):
        raise InputError(argument, f"is {short_repr(value)}", "the name of a column, or several", value=value)
    return words


def add_streams(paired: Any, a: Any, b: Any, wanted: Request) -> None:
    """Add all rows of two streams. An error may leave some of them in ``paired``."""
    import pyarrow as pa

    from streamce.reading.arrow_stream import StreamTable

    if a is b and hasattr(a, "__next__"):
        raise InputError("b", "is the same stream as a", "another one, because a stream can be read only once")
    with DefaultMode() as mode, contextlib.ExitStack() as stack:
        tables = []
        for name, stream in zip(NAMES, (a, b), strict=True):
            with _errors_of(name):
                tables.append(stack.enter_context(contextlib.closing(StreamTable(stream, mode.of_caller))))
        try:
            _add_tables(paired, tables, wanted)
        except (DataError, SelectionError) as error:
            row = error.row if isinstance(error, DataError) else None
            place = error.places[0] if error.places else None
            raise InputError(place, str(error), location="", index=None if row is None else (row,)) from error
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise InputError(None, f"a stream cannot be read: {error}", location="") from error


def _add_tables(paired: Any, tables: Sequence[StreamTable], wanted: Request) -> None:
    from streamce.reading import row_pairs

    if any(table.schema is None for table in tables):
        return _check_empty(tables)
    reading_a, reading_b = _readings(paired.metric, tables, wanted)
    models = row_pairs.Models(reading_a, reading_b, NAMES, ADVICE)

    def add(a: Chunk, b: Chunk) -> None:
        try:
            row_pairs.add_pair(paired, a, b)
        except InputError as error:
            chunk, error = row_pairs.attribute(a, b, error)
            raise update_from.row_error(chunk, error).with_place(chunk.source) from error

    if not wanted.key:
        row_pairs.add_by_position(models, _chunks(reading_a, "a"), _chunks(reading_b, "b"), add)
        return
    try:
        row_pairs.add_by_key(models, add)
    except ModuleNotFoundError as error:
        if error.name != "duckdb":
            raise
        raise InputError("key", f"key {row_pairs.NEEDS_DUCKDB}", location="") from error


def _chunks(reading: Reading, name: str) -> Iterator[Chunk]:
    from streamce.reading.reader import named

    return named(reading.lazy_chunks(), name)


def _check_empty(tables: Sequence[StreamTable]) -> None:
    """Raise DataError if a stream has rows although the other has no batches."""
    for table, name, other in zip(tables, NAMES, NAMES[::-1], strict=True):
        columns = {} if table.schema is None else {each: table.type(each) for each in table.names()[:1]}
        if columns and any(part.batch.num_rows for part in table.parts(columns, 1 << 16)):
            raise DataError(f"{other} has 0 rows but {name} has more: expected the same rows")


def _readings(metric: Metric, tables: Sequence[StreamTable], wanted: Request) -> list[Reading]:
    """Return the readings of both streams, with the columns that pair their rows."""
    from streamce.reading import ragged
    from streamce.reading.files.sources import Source

    selections = []
    for table, name, words in zip(tables, NAMES, (wanted.a, wanted.b), strict=True):
        with _errors_of(name):
            words = words if name == "a" else _without_missing_target(words, table)
            selections.append(update_from.select_columns(table, words, metric))
    selections = _with_shared(selections, tables, wanted)
    readings = []
    for table, name, selection in zip(tables, NAMES, selections, strict=True):
        with _errors_of(name):
            arguments = ("preds", "target", "weight", "cluster", "match", "shared")
            table.select(column for argument in arguments for column in selection.columns(argument))
            chosen = update_from.with_width(selection, table, metric, tokens=False)
            source = Source(name, "stream", "", table=_opener(table))
            readings.append(ragged.open_reading(metric._task, [source], _chooser(chosen)))
    return readings


def _opener(table: StreamTable) -> Any:
    return lambda _: table


def _chooser(selection: Selection) -> Any:
    return lambda *_: selection


def _without_missing_target(words: dict[str, list[str]], table: StreamTable) -> dict[str, list[str]]:
    """Return the words without those for the target if B lacks it, because A has it."""
    from streamce.reading.columns import select

    try:
        select(words.get("target", []), table.names(), table.fields)
    except SelectionError:
        return {"preds": words["preds"]}
    return words


def _with_shared(selections: Sequence[Selection], tables: Sequence[StreamTable], wanted: Request) -> list[Selection]:
    """Return the selections with the columns that match rows, and those that must be equal in matched rows."""
    from streamce.reading import row_pairs

    shared = row_pairs.shared_columns(selections, tables)
    match: tuple[str, ...] = ()
    if wanted.key:
        try:
            match = row_pairs.select_keys(wanted.key, selections, dict(zip(NAMES, tables, strict=True)))
        except SelectionError as error:
            raise InputError("key", str(error), location="").with_place("key") from error
        shared = [name for name in shared if name not in match and not name.startswith(PANDAS_INDEX)]
    target = {name for selection in selections for name in selection.target}
    checked = () if wanted.by_position else tuple(name for name in shared if name not in target)
    if not (checked or match or wanted.by_position):
        found = (
            "a and b share no column, apart from predictions and target, that shows whether rows are in the same order"
        )
        raise InputError("b", f"{found}: by_position=True pairs them by position, key= by a column that both have",
                         location="")  # fmt: skip
    return [replace(selection, match=match, shared=checked) for selection in selections]


@contextlib.contextmanager
def _errors_of(name: str) -> Iterator[None]:
    """Add the name of a stream to errors."""
    try:
        yield
    except (InputError, SelectionError, DataError) as error:
        raise error.with_place(name) from None
