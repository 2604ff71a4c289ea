"""Where in a file something is wrong: row and column, in place of an array's index."""

from __future__ import annotations

from streamce.errors import InputError
from streamce.reading import chunks, nested
from streamce.reading.columns import listed
from streamce.reading.labels import Labels


def place(chunk: chunks.Chunk, error: InputError, labels: Labels | None) -> str:
    """What was wrong, told by row and column of the file instead of the arrays' indices."""
    message = str(error)
    if (argument := str(error.argument)).startswith(("by", "cluster")):
        return _of_key(chunk, argument, error, message)
    if chunk.more:
        return nested.place(chunk, error)
    if error.index is None:
        for argument in ("preds", "target", "weight"):
            if message.startswith(f"{argument} "):
                names = listed(chunk.selection.columns(argument))
                return f"column {names}{message.removeprefix(argument)}"
        return message
    if error.cause == "invalid_null":
        row = error.index[0]
        return f"row {chunk.first_row + row}: column '{chunk.null_column(row)}' holds a null"
    row, column, value = chunk.cell(argument, error.index)
    where = f"row {row}: " + (argument if column is None else f"column '{column}'")
    if labels and argument == "target":
        return f"{where} is {value!r}: expected {labels.expected}"
    return where + message.removeprefix(f"{argument}[{', '.join(map(str, error.index))}]")


def index(chunk: chunks.Chunk, error: InputError) -> tuple[int, ...] | None:
    """The index of an error, with the row of the source in place of the array's."""
    if error.index is None:
        return None
    if chunk.more:
        return nested.index(chunk, error)
    row, *inside = error.index
    return chunk.first_row + row, *inside


def argument_of_null(chunk: chunks.Chunk, row: int) -> str | None:
    """The first argument with a null in this row of the chunk."""
    for argument in ("preds", "target", "weight", "n_words", "n_bytes"):
        for name in chunk.selection.columns(argument):
            if nested.null_in(chunk.batch.column(name)[row].as_py()) is not None:
                return argument
    return None


def _of_key(chunk: chunks.Chunk, argument: str, error: InputError, message: str) -> str:
    """The same of a column of keys: ``by[1]`` is the second of them."""
    part, _, number = argument.removesuffix("]").partition("[")
    names = chunk.selection.columns(part)
    found = message.removeprefix(argument)
    if error.index is None:
        where = f"column {listed(names[int(number)] if number else names)}"
    else:
        where = f"row {chunk.first_row + error.index[0]}: column '{names[int(number or 0)]}'"
        found = found.removeprefix(f"[{error.index[0]}]")
    return f"{where}{found}"
