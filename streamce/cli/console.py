"""Standard output and standard error of a command: errors, a progress bar, the result. Also writes its state."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamce._support import printable, state_format
from streamce.errors import SKIP_NULLS, USE_LOGITS, DataError, InputError, Location, SelectionError

if TYPE_CHECKING:
    from streamce.metrics.mergeable import MergeableState
    from streamce.reading.chunk import Chunk
    from streamce.reading.labels import Labels


# Hints about arguments of Python, as hints about options.
HINTS = {
    USE_LOGITS: "for logits use --kind logits",
    SKIP_NULLS: "tokens without one, such as the first of a text, are left out by --invalid skip",
}


def fail(message: str, status: int) -> int:
    """Print an error and return the exit status."""
    note(f"streamce: error: {message}")
    return status


def note(message: str) -> None:
    """Print one line on standard error, with control characters escaped."""
    if sys.stderr is not None:  # None if the caller has closed it; print would use stdout instead
        print(printable.line(" ".join(message.splitlines())), file=sys.stderr)


def print_and_save(print_result: Callable[[], None], save_state: Callable[[], int], judge: Callable[[], int]) -> int:
    """Print a result, then save its state, then judge it, and return the exit status.

    The result is printed first so that it is not lost if the disk is full.
    """
    try:
        print_result()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough, but the status is for the caller
        discard_output()
    except OSError:  # the disk is full: save the state nevertheless
        if status := save_state():
            return status
        raise
    return save_state() or judge()


def discard_output() -> None:
    """Discard all further output, because its reader has left. Python must not fail when it flushes at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def row_error(chunk: Chunk, error: InputError, labels: Labels | None) -> DataError:
    """Return the error for a row of a file, with the names of the command line."""
    from streamce.reading import error_locations  # here, because states are shown without pyarrow

    source = chunk.source if error.index is None else chunk.source_name(error.index[0])
    error = error_locations.relocated(chunk, error, labels)
    error = error.with_hint(HINTS.get(error.hint, error.hint))
    error = error.with_hint(re.sub(r"use datetime64.*time_unit='(\w+)'.*", r"use --time-unit \1", error.hint))
    location = error.location
    if not isinstance(location, Location):  # the error does not concern a column
        return DataError(str(error)).with_place(source)
    name = f"{error.argument} " if location.column is None and error.argument is not None else ""
    return DataError(name + error.predicate, **location._asdict()).changed(places=(source, *error.places))


def note_unreadable(rows: int, first: DataError | None) -> None:
    """Note how many rows were left out because they cannot be read, if there are any, with the first of them."""
    if first is not None:
        note(f"streamce: note: skipped {plural(rows, 'row')} that cannot be read, first: {first}")


def check_writable(option: str, path: str, magic: bytes = state_format.MAGIC, content: str = "state") -> None:
    """Raise SelectionError unless ``path``, the value of ``option``, can be written.

    An existing file is replaced only if it begins with ``magic``, the mark of this ``content``.
    """
    exists = os.path.exists(path)
    folder = os.path.dirname(os.path.realpath(path))
    is_special = exists and not os.path.isfile(path)  # a folder, or /dev/null
    if not path or is_special or not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise SelectionError(f"{option} {path}: no file can be written there")
    if exists and os.path.getsize(path):
        with open(path, "rb") as file:
            if file.read(len(magic)) != magic:
                raise SelectionError(f"{option} {path}: this file exists and is not a {content}: give another path")


def save(metric: MergeableState, option: str, path: str | None) -> int:
    """Save a metric to ``path``, the value of ``option``, unless it is None, and return the exit status."""
    if path is not None:
        try:
            metric.save(path)
        except OSError as error:
            return fail(f"{option} {path}: {error.strerror or error}", 1)
    return 0


def plural(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``2 rows``."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def progress_bar(done: int) -> Any:
    """Return a context with a progress bar, or with None if standard error is not a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(ModuleNotFoundError):
            from tqdm import tqdm

            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            # Unfiltered, because a bar moves the cursor; it shows no names.
            stream = getattr(sys.stderr, "unfiltered", sys.stderr)
            return tqdm(file=stream, initial=done, unit=" rows", unit_scale=True, leave=False, ncols=width)
    return contextlib.nullcontext()


def advance(bar: Any, done: int, more: int, fraction: float | None) -> None:
    """Move the bar by ``more`` rows to ``done`` rows. These are about ``fraction`` of all rows, if it is known."""
    if bar is not None:
        if fraction:
            bar.total = round(done / fraction)
        bar.update(more)
