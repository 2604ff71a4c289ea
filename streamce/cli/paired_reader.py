"""The predictions of two models for the same rows, read side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from streamce.cli.column_resolver import ColumnResolver
from streamce.cli.config import CompareConfig
from streamce.cli.console import note, row_error
from streamce.errors import DataError, InputError, SelectionError
from streamce.reading import reader
from streamce.reading.columns import quote_names
from streamce.reading.differences import first_difference, shown
from streamce.reading.files.sources import ReadOptions, Source, find_sources
from streamce.reading.labels import Labels
from streamce.reading.ragged import first_null

Array = np.ndarray[Any, Any]


class PairedReader:
    """The chunks of two models, A and B. The files of A hold the target of both.

    Parameters
    ----------
    config : CompareConfig
    preds_axes, losses_axes : int
        Number of axes of predictions and of losses, as ``reader.Reading`` takes them.
    """

    def __init__(self, config: CompareConfig, preds_axes: int, losses_axes: int) -> None:
        words = config.files
        if len(words) > 2:
            expected = "expected A and B: quote a glob, or give a folder, to use several files as one"
            raise SelectionError(f"{len(words)} files were given, {expected}")
        options = ReadOptions(config.max_record, config.quote)
        self.sources: list[list[Source]] = [find_sources([word], options) for word in (words[0], words[-1])]
        identities_a, identities_b = ([source.identity for source in sources] for sources in self.sources)
        for source, identity in zip(self.sources[0], identities_a, strict=True):
            if source.format == "pipe" and identity in identities_b:
                raise SelectionError(f"{source.name}: this can be read only once, not for both A and B")
        same_files = identities_a == identities_b
        if same_files and not config.preds_b:
            raise SelectionError(f"{words[0]}: one file was given: expected --preds-b, the predictions of B in it")
        beside = [*config.target, *filter(None, [config.weight, config.cluster])]
        axes = preds_axes, losses_axes
        resolver_a = ColumnResolver(config)
        self.a: reader.Reading = reader.Reading(self.sources[0], resolver_a, *axes, config.chunk_rows, beside)
        config_b = replace(config, preds=config.preds_b or config.preds, weight=None, cluster=None)
        if same_files:
            config_b = replace(config_b, target=())  # because it is the same as for A
        self.b: reader.Reading = reader.Reading(
            self.sources[1], ColumnResolver(config_b, resolver_a), *axes, config.chunk_rows
        )
        self.labels: Labels | None = resolver_a.labels
        if not (same_files or config.by_position):
            self._check_columns(words)
        preds = self.a.selection.preds, self.b.selection.preds
        self.names: list[str] = [quote_names(names, 3) for names in preds] if same_files else [words[0], words[1]]

    def _check_columns(self, words: Sequence[str]) -> None:
        """Select the columns that must be equal in both files, so that their rows are in the same order."""
        if any(sources[0].format == "npy" for sources in self.sources):
            return  # an array has only a position
        outputs = {*self.a.selection.preds, *self.b.selection.preds}
        both = [name for name in self.a.names if name in self.b.names and name not in outputs]
        target = {*self.a.selection.target, *self.b.selection.target}
        shared = tuple(name for name in both if name not in target)
        if not both:
            raise SelectionError(
                f"{words[0]} and {words[1]} share no column that shows whether their rows are in the same order: "
                "--by-position pairs them by their position"
            )
        if not shared:
            note(
                f"streamce: note: {words[0]} and {words[1]} share only the target, so rows are paired by their "
                "position: --by-position confirms it"
            )
        self.a.selection = replace(self.a.selection, shared=shared)
        self.b.selection = replace(self.b.selection, shared=shared)

    def chunks(self) -> Generator[tuple[reader.Chunk, reader.Chunk]]:
        """Yield chunks of A and of B with the same rows. Close this iterator if you stop early."""
        with contextlib.closing(self.a.chunks()) as chunks_a, contextlib.closing(self.b.chunks()) as chunks_b:
            rows, a, b = 0, next(chunks_a, None), next(chunks_b, None)
            while a is not None and b is not None:
                number = min(len(a.preds), len(b.preds))
                pair = a.slice(0, number), b.slice(0, number)
                _check_rows(*pair)
                yield pair
                rows += number
                a, b = _rest(a, number, chunks_a), _rest(b, number, chunks_b)
            if a is not None or b is not None:
                longer, shorter = self.names if b is None else self.names[::-1]
                raise DataError(
                    f"{shorter} has {rows:,} rows but {longer} has more: expected the same rows in the same order"
                )


def _rest(chunk: reader.Chunk, used: int, more: Iterator[reader.Chunk]) -> reader.Chunk | None:
    """Return the rest of a chunk, or the next chunk that is not empty; None at the end."""
    rest: reader.Chunk | None = chunk.slice(used, len(chunk.preds))
    while rest is not None and len(rest.preds) == 0:
        rest = next(more, None)
    return rest


def _check_rows(a: reader.Chunk, b: reader.Chunk) -> None:
    """Raise DataError if rows of A and B cannot be the same."""
    if a.preds.shape != b.preds.shape:
        here, there = b.preds.shape[1:], a.preds.shape[1:]
        raise DataError(f"{b.source}: {here} predictions per row, but {a.source} has {there}")
    for name in a.selection.shared:
        columns = a.batch.column(name), b.batch.column(name)
        row = first_difference(*columns)
        if row is not None:
            texts = [shown(column, row) for column in columns]
            raise DataError(
                f"is {texts[0]}, but {texts[1]} in {b.source}, row {b.source_row(row)}: expected the "
                "same rows in the same order, or --by-position to pair them anyway",
                row=a.source_row(row),
                column=name,
            ).with_place(a.source)
    if a.target is None or b.target is None:
        return
    different = _different(a.target, b.target, a.no_target, b.no_target)
    if different.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(different)), different.shape))
        (here, value), (there, other) = a.cell("target", index), b.cell("target", index)
        name = "target " if here.column is None else ""
        raise DataError(
            f"{name}is {value!r}, but {other!r} in {b.source}, row {there.row}: "
            "expected the same rows in the same order",
            **here._asdict(),
        ).with_place(a.source)


def _different(a: Array, b: Array, no_a: Array | None, no_b: Array | None) -> Array:
    """Return where targets differ, with the precision of the narrower type. Two nulls, or two NaNs, are equal."""
    if a.shape != b.shape:
        return np.ones(a.shape, bool)
    if a.dtype.kind == b.dtype.kind == "f":  # a decimal number in a text file may be a float32 in the other
        narrow = min(a.dtype, b.dtype)
        a, b = a.astype(narrow, copy=False), b.astype(narrow, copy=False)
    different: Array = (a != b) & ~((a != a) & (b != b))
    null_a, null_b = (np.zeros(a.shape, bool) if null is None else null for null in (no_a, no_b))
    return np.where(null_a | null_b, null_a != null_b, different)


def add_chunks(metric: Any, a: reader.Chunk, b: reader.Chunk, labels: Labels | None) -> None:
    """Add the same rows of A and B to a ``Paired``. An error names file, row and column."""
    null = b.null if a.null is None else a.null if b.null is None else a.null | b.null
    try:
        metric._update(a.preds, b.preds, a.target, a.weight, a.keys.get("cluster"), null)
    except InputError as error:
        chunk, error = _attribute(a, b, error)
        raise row_error(chunk, error, labels) from error


def _attribute(a: reader.Chunk, b: reader.Chunk, error: InputError) -> tuple[reader.Chunk, InputError]:
    """Return the chunk that an error is about, and the error as if there were only that chunk."""
    if error.cause == "invalid_null" and error.index is not None:
        return (a if first_null(a, error.index[0]) else b), error
    models = {"preds_a": a, "preds_b": b}
    if error.argument in models:
        return models[error.argument], error.with_argument("preds")
    return a, error
