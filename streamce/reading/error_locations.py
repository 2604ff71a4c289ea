"""Conversion of errors about an array's index to errors about row and column of a file."""

from __future__ import annotations

from streamce._support.short_repr import quote_names
from streamce.errors import InputError, Location
from streamce.inputs.class_names import ClassNames
from streamce.reading import ragged
from streamce.reading.chunk import Chunk
from streamce.reading.labels import Labels

KEYS = ("by", "by_time", "cluster")


def relocated(chunk: Chunk, error: InputError, labels: Labels | ClassNames | None = None) -> InputError:
    """Return an error about row and column of the source, in place of an array and its index.

    An error that is not about a column, such as one about an option, or that is a complete sentence, is returned
    unchanged.
    """
    if isinstance(error.location, str):
        return error
    if chunk.extra and error.argument not in KEYS:
        return ragged.relocated(chunk, error)
    if error.cause == "invalid_null" and error.index is not None:
        return ragged.null_error(chunk, error.index[0], error, whole_column=True)
    argument = str(error.argument)
    names = chunk.selection.columns(argument)
    if not names:
        return error
    if argument in KEYS:
        return _relocated_key(chunk, names, error)
    if error.index is None:
        return error.relocated(_column_location(names))
    row, *inside = error.index
    location, value = chunk.cell(argument, error.index)
    moved = error.relocated(location, index=(chunk.source_row(row), *inside))
    if labels and argument == "target":
        return moved.changed(found=f"is {value!r}", expected=labels.expected, hint="")
    return moved


def _relocated_key(chunk: Chunk, names: tuple[str, ...], error: InputError) -> InputError:
    """Return an error about row and column of keys. An argument may have several such columns."""
    if isinstance(error.part, int):
        names = names[error.part : error.part + 1]
    if error.index is None:
        return error.relocated(_column_location(names))
    row, *inside = error.index
    row = chunk.source_row(row)
    return error.relocated(Location(row, names[0]), index=(row, *inside))


def _column_location(names: tuple[str, ...]) -> Location | str:
    return Location(column=names[0]) if len(names) == 1 else f"column {quote_names(names)}"
