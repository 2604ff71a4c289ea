"""What a command leaves behind: a line about what went wrong, a progress bar, a result and its state."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamce._support import printable, state_format
from streamce.errors import USE_LOGITS, DataError, InputError, Location

if TYPE_CHECKING:
    from streamce.metrics.mergeable import Additive
    from streamce.reading.labels import Labels
    from streamce.reading.reader import Chunk


def fail(message: str, status: int) -> int:
    note(f"streamce: error: {message}")
    return status


def note(message: str) -> None:
    """Print one line on standard error, with control characters escaped."""
    if sys.stderr is not None:  # None if the caller has closed it; print would use stdout instead
        print(printable.line(" ".join(message.splitlines())), file=sys.stderr)


def show_and_save(show_it: Callable[[], None], save_it: Callable[[], int]) -> int:
    """Prints a result, and then saves its state: a full disk does not take the first away."""
    try:
        show_it()
        sys.stdout.flush()
    except OSError:  # whoever read the result left, or there is no room for it: the state is still asked for
        if status := save_it():
            return status
        raise
    return save_it()


def of_row(chunk: Chunk, error: InputError, labels: Labels | None) -> DataError:
    """The error for a row of a file, in the words of the command line."""
    from streamce.reading import error_locations  # here: states are shown without pyarrow

    error = error_locations.relocated(chunk, error, labels)
    if error.hint == USE_LOGITS:
        error = error.with_hint("for logits use --kind logits")
    where = error.location
    if not isinstance(where, Location):  # it is about no column
        return DataError(str(error)).with_place(chunk.source)
    name = f"{error.argument} " if where.column is None and error.argument is not None else ""
    return DataError(name + error.predicate, **where._asdict()).changed(places=(chunk.source, *error.places))


def refusal(path: str, mark: bytes = state_format.MAGIC, what: str = "state") -> str | None:
    """Why no state can be written there, or None; never over what is no state. So for other files with a mark."""
    there = os.path.exists(path)
    if not path or (there and not os.path.isfile(path)):  # a folder, or /dev/null
        return "no file can be written there"
    folder = os.path.dirname(os.path.realpath(path))
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        return "no file can be written there"
    if there and os.path.getsize(path):
        with open(path, "rb") as file:
            if file.read(len(mark)) != mark:
                return f"the file that is there is no {what}, and is kept"
    return None


def save(metric: Additive, option: str, path: str | None) -> int:
    """Writes the state once the result is out: a full disk does not take that away."""
    if path is not None:
        try:
            metric.save(path)
        except OSError as error:
            return fail(f"{option} {path}: {error.strerror or error}", 1)
    return 0


def many(number: int, name: str) -> str:
    return f"{number:,} {name}" + "s" * (number != 1)


def progress_bar(done: int) -> Any:
    """A progress bar for people, None for others."""
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(ModuleNotFoundError):
            from tqdm import tqdm

            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            # Unfiltered, because a bar moves the cursor; it shows no names.
            stream = getattr(sys.stderr, "unfiltered", sys.stderr)
            return tqdm(file=stream, initial=done, unit=" rows", unit_scale=True, leave=False, ncols=width)
    return contextlib.nullcontext()


def advance(bar: Any, done: int, more: int, fraction: float | None) -> None:
    if bar is not None:
        if fraction:  # exact for one file that knows its length, else near
            bar.total = round(done / fraction)
        bar.update(more)
