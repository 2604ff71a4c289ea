"""Where in a file something is wrong: row and column, in place of an array's index."""

from __future__ import annotations

from streamce.errors import InputError, Location
from streamce.reading import ragged, reader
from streamce.reading.columns import listed
from streamce.reading.labels import Labels

KEYS = ("by", "by_time", "cluster")


def relocated(chunk: reader.Chunk, error: InputError, labels: Labels | None = None) -> InputError:
    """Return an error about row and column of the source, in place of an array and its index.

    It stays as it is if it is about no column, such as one about an option.
    """
    if error.argument in KEYS:
        return _of_key(chunk, error)
    if chunk.more:
        return ragged.relocated(chunk, error)
    argument = str(error.argument)
    if error.index is None:
        names = chunk.selection.columns(argument)
        return error.relocated(_columns(names)) if names and error.location is None else error
    row, *inside = error.index
    if error.cause == "invalid_null":
        return ragged.of_null(chunk, row, error, whole=True)
    location, value = chunk.cell(argument, error.index)
    moved = error.relocated(location, index=(chunk.first_row + row, *inside))
    if labels and argument == "target":
        return moved.changed(found=f"is {value!r}", expected=labels.expected, hint="")
    return moved


def _of_key(chunk: reader.Chunk, error: InputError) -> InputError:
    """The same of a column of keys, of which an argument may have several."""
    names = chunk.selection.columns(str(error.argument))
    if error.index is None:
        number = error.part if isinstance(error.part, int) else None
        return error.relocated(_columns(names if number is None else names[number : number + 1]))
    row, *inside = error.index
    column = names[error.part if isinstance(error.part, int) else 0]
    row += chunk.first_row
    return error.relocated(Location(row, column), index=(row, *inside))


def _columns(names: tuple[str, ...]) -> Location | str:
    return Location(column=names[0]) if len(names) == 1 else f"column {listed(names)}"
