"""What two models say of the same rows: two readings, side by side."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

from streamce.cli.column_resolver import Chooser
from streamce.cli.console import of_row
from streamce.errors import DataError, InputError, SelectionError
from streamce.reading import reader
from streamce.reading.columns import listed
from streamce.reading.labels import Labels
from streamce.reading.ragged import first_null
from streamce.reading.sources import find

Array = np.ndarray[Any, Any]


class Pairing:
    """The files of two models, A and B, and the columns in them; A's have the target of both.

    Parameters
    ----------
    options : argparse.Namespace
        Those of ``streamce compare``.
    preds_axes, losses_axes : int
        As ``chunks.Reading`` takes them.
    """

    def __init__(self, options: argparse.Namespace, preds_axes: int, losses_axes: int) -> None:
        words = options.files
        if len(words) > 2:
            raise SelectionError(f"{len(words)} files: compare takes A and B (a folder, or a glob in quotes, is one)")
        one = len({*words}) == 1
        if one and not options.preds_b:
            raise SelectionError(
                f"{words[0]}: one file holds both models' predictions where --preds-b names those of B"
            )
        self.sources = [find([word], options.max_record) for word in (words[0], words[-1])]
        if pipes := [
            source.name for source in self.sources[0] if source.format == "pipe" and source in self.sources[1]
        ]:
            raise SelectionError(f"{pipes[0]}: this comes only once, and cannot be read for both A and B")
        chooser = Chooser(argparse.Namespace(**{**vars(options), "by": None, "by_time": None}))
        beside = [*options.target, *filter(None, [options.weight, options.cluster])]
        axes = preds_axes, losses_axes
        self.a = reader.Reading(self.sources[0], chooser, *axes, options.chunk_rows, beside)
        only = {"preds": options.preds_b or options.preds, "weight": None, "cluster": None, "by": None, "by_time": None}
        only |= {"target": []} if one else {}  # it is the same
        of_b = Chooser(argparse.Namespace(**{**vars(options), **only}), chooser)
        self.b = reader.Reading(self.sources[1], of_b, *axes, options.chunk_rows)
        self.labels = chooser.labels
        preds = self.a.selection.preds, self.b.selection.preds
        self.names = [listed(names, 3) for names in preds] if one else [words[0], words[1]]

    def parts(self) -> Generator[tuple[reader.Chunk, reader.Chunk]]:
        """The same rows of A and of B, some at a time. Close this iterator when leaving early."""
        with contextlib.closing(self.a.chunks()) as of_a, contextlib.closing(self.b.chunks()) as of_b:
            rows, a, b = 0, next(of_a, None), next(of_b, None)
            while a is not None and b is not None:
                number = min(len(a.preds), len(b.preds))
                pair = a.part(0, number), b.part(0, number)
                _check_rows(*pair)
                yield pair
                rows += number
                a, b = _rest(a, number, of_a), _rest(b, number, of_b)
            if a is not None or b is not None:
                longer, shorter = self.names if b is None else self.names[::-1]
                raise DataError(
                    f"{shorter} has {rows:,} rows and {longer} more: expected the same rows, in the same order"
                )


def _rest(chunk: reader.Chunk, used: int, more: Iterator[reader.Chunk]) -> reader.Chunk | None:
    """What is left of a chunk, or the next one that is not empty; None at the end."""
    left: reader.Chunk | None = chunk.part(used, len(chunk.preds))
    while left is not None and len(left.preds) == 0:
        left = next(more, None)
    return left


def _check_rows(a: reader.Chunk, b: reader.Chunk) -> None:
    """Raises where rows of A and B cannot be the same."""
    if a.preds.shape != b.preds.shape:
        raise DataError(f"{b.source}: {b.preds.shape[1:]} predictions a row, where {a.source} has {a.preds.shape[1:]}")
    if a.target is None or b.target is None:
        return
    different = _different(a.target, b.target, a.no_target, b.no_target)
    if different.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(different)), different.shape))
        (here, value), (there, other) = a.cell("target", index), b.cell("target", index)
        name = "target " if here.column is None else ""
        raise DataError(
            f"{name}is {value!r}, and {other!r} in {b.source}, row {there.row}: "
            "expected the same rows, in the same order",
            **here._asdict(),
        ).with_place(a.source)


def _different(a: Array, b: Array, no_a: Array | None, no_b: Array | None) -> Array:
    """Where targets differ, as far as their types can tell; a null is like another null."""
    if a.shape != b.shape:
        return np.ones(a.shape, bool)
    if a.dtype.kind == b.dtype.kind == "f":  # decimals of a text, and floats of as many digits
        narrow = min(a.dtype, b.dtype)
        a, b = a.astype(narrow, copy=False), b.astype(narrow, copy=False)
    found: Array = (a != b) & ~((a != a) & (b != b))
    null_a, null_b = (np.zeros(a.shape, bool) if null is None else null for null in (no_a, no_b))
    return np.where(null_a | null_b, null_a != null_b, found)


def add(metric: Any, a: reader.Chunk, b: reader.Chunk, labels: Labels | None) -> None:
    """Add some rows to a ``Paired``; an error names file, row and column."""
    null = b.null if a.null is None else a.null if b.null is None else a.null | b.null
    try:
        metric._update(a.preds, b.preds, a.target, a.weight, a.keys.get("cluster"), null)
    except InputError as error:
        chunk, error = _whose(a, b, error)
        raise of_row(chunk, error, labels) from error


def _whose(a: reader.Chunk, b: reader.Chunk, error: InputError) -> tuple[reader.Chunk, InputError]:
    """The chunk that an error is about, and the error as of that alone."""
    if error.cause == "invalid_null" and error.index is not None:
        return (a if first_null(a, error.index[0]) else b), error
    models = {"preds_a": a, "preds_b": b}
    if error.argument in models:
        return models[error.argument], error.with_argument("preds")
    return a, error
