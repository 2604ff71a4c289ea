"""Conversion of errors about an array's index to errors about row and column of a file."""

from __future__ import annotations

from streamce.errors import InputError, Location
from streamce.reading import ragged, reader
from streamce.reading.columns import quote_names
from streamce.reading.labels import Labels

KEYS = ("by", "by_time", "cluster")


def relocated(chunk: reader.Chunk, error: InputError, labels: Labels | None = None) -> InputError:
    """Return an error about row and column of the source, in place of an array and its index.

    An error that is not about a column, such as one about an option, is returned unchanged.
    """
    if error.argument in KEYS:
        return _relocated_key(chunk, error)
    if chunk.extra:
        return ragged.relocated(chunk, error)
    argument = str(error.argument)
    if error.index is None:
        names = chunk.selection.columns(argument)
        return error.relocated(_column_location(names)) if names and error.location is None else error
    row, *inside = error.index
    if error.cause == "invalid_null":
        return ragged.null_error(chunk, row, error, whole_column=True)
    location, value = chunk.cell(argument, error.index)
    moved = error.relocated(location, index=(chunk.first_row + row, *inside))
    if labels and argument == "target":
        return moved.changed(found=f"is {value!r}", expected=labels.expected, hint="")
    return moved


def _relocated_key(chunk: reader.Chunk, error: InputError) -> InputError:
    """Return an error about row and column of keys. An argument may have several such columns."""
    names = chunk.selection.columns(str(error.argument))
    if error.index is None:
        number = error.part if isinstance(error.part, int) else None
        return error.relocated(_column_location(names if number is None else names[number : number + 1]))
    row, *inside = error.index
    column = names[error.part if isinstance(error.part, int) else 0]
    row += chunk.first_row
    return error.relocated(Location(row, column), index=(row, *inside))


def _column_location(names: tuple[str, ...]) -> Location | str:
    return Location(column=names[0]) if len(names) == 1 else f"column {quote_names(names)}"
