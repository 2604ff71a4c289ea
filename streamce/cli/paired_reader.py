"""The predictions of two models for the same rows, read side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streamce._support.short_repr import quote_names
from streamce.cli.column_resolver import ColumnResolver
from streamce.cli.config import CompareConfig
from streamce.cli.console import note, row_error
from streamce.errors import InputError, SelectionError
from streamce.reading import reader, row_pairs
from streamce.reading.chunk import Chunk
from streamce.reading.files.sources import Source, find_sources
from streamce.reading.labels import Labels

ADVICE = ", or --key COLUMN to match rows by key, or --by-position to pair them anyway"


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
        self.sources: list[list[Source]] = [find_sources([word], config.read_options) for word in (words[0], words[-1])]
        identities_a, identities_b = ([source.identity for source in sources] for sources in self.sources)
        for source, identity in zip(self.sources[0], identities_a, strict=True):
            if source.format == "pipe" and identity in identities_b:
                raise SelectionError(f"{source.name}: this can be read only once, not for both A and B")
        same_files = identities_a == identities_b
        if same_files and not config.preds_b:
            raise SelectionError(f"{words[0]}: one file was given: expected --preds-b, the predictions of B in it")
        beside = [*config.target, *config.by, *filter(None, [config.weight, config.by_time, config.cluster])]
        axes = preds_axes, losses_axes
        resolver_a = ColumnResolver(config)
        self.a: reader.Reading = reader.Reading(self.sources[0], resolver_a, *axes, config.chunk_rows, beside)
        config_b = replace(config, preds=config.preds_b or config.preds, weight=None, cluster=None)
        config_b = replace(config_b, by=(), by_time=None)
        if same_files:
            config_b = replace(config_b, target=())  # because it is the same as for A
        self.b: reader.Reading = reader.Reading(
            self.sources[1], ColumnResolver(config_b, resolver_a), *axes, config.chunk_rows
        )
        self.labels: Labels | None = resolver_a.labels
        self._has_keys = bool(config.key)
        if config.key:
            self._select_keys(config.key, words, same_files)
        elif not (same_files or config.by_position):
            self._select_shared(words)
        preds = self.a.selection.preds, self.b.selection.preds
        self.names: list[str] = [quote_names(names, 3) for names in preds] if same_files else [words[0], words[1]]

    def _select_keys(self, keys: Sequence[str], words: Sequence[str], same_files: bool) -> None:
        """Select the columns that match rows, and those that must be equal in matched rows."""
        if same_files:
            raise SelectionError("--key matches the rows of two files, but one file was given")
        for word, sources in zip(words, self.sources, strict=True):
            if sources[0].format == "npy":
                raise SelectionError(f"--key: {word} is an array, which has no columns of keys")
        shared, selections = self._shared(), (self.a.selection, self.b.selection)
        try:
            match = row_pairs.select_keys(keys, selections, {words[0]: self.a.table, words[1]: self.b.table})
        except SelectionError as error:
            raise error.with_place("--key") from error
        self._select(match, [name for name in shared if name not in match])

    def _select_shared(self, words: Sequence[str]) -> None:
        """Select the columns that must be equal in both files, so that their rows are in the same order."""
        if any(sources[0].format == "npy" for sources in self.sources):
            return  # an array has only a position
        shared = self._shared()
        if not shared:
            raise SelectionError(
                f"{words[0]} and {words[1]} share no column that shows whether their rows are in the same order: "
                "--by-position pairs them by their position, --key COLUMN by a column that both have"
            )
        if not self._select((), shared):
            note(
                f"streamce: note: {words[0]} and {words[1]} share only the target, so rows are paired by their "
                "position: --by-position confirms it, --key COLUMN pairs them by a column that both have"
            )

    def _shared(self) -> list[str]:
        return row_pairs.shared_columns((self.a.selection, self.b.selection), (self.a.table, self.b.table))

    def _select(self, match: Sequence[str], shared: Sequence[str]) -> tuple[str, ...]:
        """Read these columns too. Return those that are compared as they are, because labels of targets may differ."""
        target = {*self.a.selection.target, *self.b.selection.target}
        columns = tuple(name for name in shared if name not in target)
        for reading in self.a, self.b:
            reading.selection = replace(reading.selection, match=tuple(match), shared=columns)
        return columns

    def for_each(self, add: row_pairs.Add) -> int:
        """Call ``add`` with chunks of A and of B that hold the same rows. Return the number of rows left out."""
        models = row_pairs.Models(self.a, self.b, self.names, ADVICE)
        if not self._has_keys:
            with contextlib.closing(self.a.chunks()) as a, contextlib.closing(self.b.chunks()) as b:
                return row_pairs.add_by_position(models, a, b, add)
        try:
            row_pairs.add_by_key(models, add)
        except ModuleNotFoundError as error:
            if error.name != "duckdb":
                raise
            raise SelectionError(f"--key {row_pairs.NEEDS_DUCKDB}") from error
        return self.a.unreadable + self.b.unreadable


def add_chunks(metric: Any, a: Chunk, b: Chunk, labels: Labels | None) -> None:
    """Add the same rows of A and B to a ``Paired``. An error names file, row and column."""
    try:
        row_pairs.add_pair(metric, a, b)
    except InputError as error:
        chunk, error = row_pairs.attribute(a, b, error)
        raise row_error(chunk, error, labels) from error
