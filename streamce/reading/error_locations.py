"""Where in a file something is wrong: row and column, in place of an array's index."""

from __future__ import annotations

from streamce.errors import InputError, Location
from streamce.reading import ragged, reader
from streamce.reading.columns import listed
from streamce.reading.labels import Labels

KEYS = ("by", "by_time", "cluster")


def relocated(chunk: reader.Chunk, error: InputError, labels: Labels | None = None) -> InputError:
    """Return an error about row and column of the source, in place of an array and its index.

    It stays as it is if it is about no column, such as one about an option, or has words of its own.
    """
    if isinstance(error.location, str):
        return error
    if chunk.more and error.argument not in KEYS:
        return ragged.relocated(chunk, error)
    if error.cause == "invalid_null" and error.index is not None:
        return ragged.of_null(chunk, error.index[0], error, whole=True)
    argument = str(error.argument)
    names = chunk.selection.columns(argument)
    if not names:
        return error
    if argument in KEYS:
        return _of_key(chunk, names, error)
    if error.index is None:
        return error.relocated(_columns(names))
    row, *inside = error.index
    location, value = chunk.cell(argument, error.index)
    moved = error.relocated(location, index=(chunk.first_row + row, *inside))
    if labels and argument == "target":
        return moved.changed(found=f"is {value!r}", expected=labels.expected, hint="")
    return moved


def _of_key(chunk: reader.Chunk, names: tuple[str, ...], error: InputError) -> InputError:
    """The same of the columns of keys, of which an argument may have several."""
    if isinstance(error.part, int):
        names = names[error.part : error.part + 1]
    if error.index is None:
        return error.relocated(_columns(names))
    row, *inside = error.index
    row += chunk.first_row
    return error.relocated(Location(row, names[0]), index=(row, *inside))


def _columns(names: tuple[str, ...]) -> Location | str:
    return Location(column=names[0]) if len(names) == 1 else f"column {listed(names)}"
