"""The partitions of a run of ``streamce eval`` on a cluster: how files are split, evaluated, and merged again.

A partition is read by the same code as whole files, from a position in a file to another, and the states of all
partitions add to the same bytes. The first rows decide how labels are read and how long lists are. The machine that
starts the run reads these rows and informs all partitions, because most of them do not see the first rows.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pyarrow import fs

import streamce as ce
from streamce.cli.column_resolver import ColumnResolver
from streamce.cli.config import EvalConfig, RowsConfig
from streamce.cli.console import row_error
from streamce.cli.metric_factory import create_metric
from streamce.errors import DataError, SelectionError
from streamce.inputs.arrow import is_list
from streamce.integrations import engines
from streamce.reading import ragged, reader
from streamce.reading.chunk import Chunk, Position
from streamce.reading.files.sources import Source
from streamce.reading.formats.base import Mark
from streamce.reading.labels import Labels
from streamce.reading.open_table import open_table

MIN_BYTES, MAX_BYTES = 1 << 20, 1 << 27  # size of a partition, if files can be split
LAST_NUMBER = sys.maxsize  # greater than the number of any partition
SPLITTING_THREADS = 16  # these threads mostly wait for storage
PARTITIONS_PER_PROCESSOR = 4  # because some take longer than others


@dataclass(frozen=True)
class Partition:
    """Some rows of some sources.

    Attributes
    ----------
    number : int
        Its place in the order of the rows.
    config : EvalConfig
    sources : tuple of Source
        The first source of the run, which decides the columns, and those that hold the rows.
    start, until : Position
        The first row, and the row after the last.
    classes : sequence of str or None
        Names of the classes, if labels could be read in several ways and earlier rows have decided.
    """

    number: int
    config: EvalConfig
    sources: tuple[Source, ...]
    start: Position
    until: Position
    classes: Sequence[str] | None


@dataclass(frozen=True)
class Outcome:
    """The result of a partition, except its state: numbers of rows, kinds of keys, or an error."""

    number: int
    rows: int = 0
    unreadable: int = 0
    first_unreadable: DataError | None = None
    kinds: tuple[str | None, ...] | None = None
    error: DataError | SelectionError | None = None
    has_fractions: bool = False  # whether any prediction is not a whole number


def open_reading(
    config: RowsConfig, sources: Sequence[Source], resolver: ColumnResolver, beside: Sequence[str] = ()
) -> reader.Reading:
    """Return the reading of some sources. It opens the first."""
    base, blank = config.base if config.token_log_probs else None, config.blank or 0
    return ragged.open_reading(config.task, sources, resolver, config.chunk_rows, beside, base=base, blank=blank)


def add_chunk(metric: Any, chunk: Chunk, labels: Labels | None) -> None:
    """Add a chunk to a metric. An error names file, row and column."""
    try:
        metric._update(chunk.preds, chunk.target, chunk.weight, null=chunk.null, **chunk.keys, **chunk.extra)
    except ce.InputError as error:
        raise row_error(chunk, error, labels) from error


# ---- on the machine that starts the run ----


def read_first_rows(config: EvalConfig, reading: reader.Reading, labels: Labels | None) -> int | None:
    """Let the first rows decide how labels are read, and return the length of lists if lists are in columns.

    Errors in these rows are ignored here, because the partitions find them and report the first error of all rows.
    """
    width = None
    with contextlib.suppress(DataError, SelectionError), contextlib.closing(reading.chunks()) as chunks:
        for chunk in chunks:
            width = chunk.end.width
            names = (*chunk.selection.preds, *chunk.selection.target)
            has_lists = any(is_list(_storage_type(chunk, name)) for name in names)
            if (labels is None or labels.classes) and (width or not has_lists or config.token_log_probs):
                break
    return width


def _storage_type(chunk: Chunk, name: str) -> Any:
    """Return the type of a column, without an extension type around it."""
    type_ = chunk.batch.column(name).type
    return getattr(type_, "storage_type", type_)


def split(
    config: EvalConfig,
    sources: Sequence[Source],
    processors: int,
    width: int | None = None,
    classes: Sequence[str] | None = None,
) -> list[Partition]:
    """Split all rows into partitions of about the same size, several for each processor."""
    sources = [replace(s, path=os.path.abspath(s.path)) if s.is_local else s for s in sources]
    positions = _starts(sources, processors, width)
    ends = [*positions[1:], Position(len(sources))]
    config = replace(config, threads=config.threads or 1)
    sources = [replace(source, options=replace(source.options, threads=config.threads)) for source in sources]
    result = []
    for number, (start, until) in enumerate(zip(positions, ends, strict=True)):
        last = until.source + bool(until.mark.row)
        own = sources[start.source : last]
        if start.source > 0:  # add the first source, because it decides the columns
            own = [sources[0], *own]
        shift = start.source - (start.source > 0)
        start, until = replace(start, source=start.source - shift), replace(until, source=until.source - shift)
        result.append(Partition(number, config, tuple(own), start, until, classes))
    return result


def _starts(sources: Sequence[Source], processors: int, width: int | None) -> list[Position]:
    """Return where partitions begin: small sources are joined, large ones are split."""
    total = sum(source.size or 0 for source in sources)
    wanted = min(max(total // (PARTITIONS_PER_PROCESSOR * processors), MIN_BYTES), MAX_BYTES)
    large = [number for number, source in enumerate(sources) if (source.size or 0) > wanted]
    with ThreadPoolExecutor(SPLITTING_THREADS) as pool:
        marks = dict(zip(large, pool.map(lambda number: _marks(sources[number], wanted), large), strict=True))
    starts, size = [], wanted
    for number, source in enumerate(sources):
        more = source.size or 0
        if number in marks:
            starts += [Position(number, mark, width) for mark in marks[number]]
            size = wanted
        elif size + more > wanted:
            starts.append(Position(number, width=width))
            size = more
        else:
            size += more
    return starts


def _marks(source: Source, wanted: int) -> list[Mark]:
    """Return where to split a source into pieces of about ``wanted`` bytes."""
    with source.errors():
        marks = open_table(source, (), threading.Event()).marks()
    pieces = -(-(source.size or 0) // wanted)
    return marks[:: -(-len(marks) // pieces)]


# ---- on the machines that have the data ----


def evaluate(partition: Partition, earlier: bytes | None = None) -> tuple[Outcome, bytes | None]:
    """Evaluate a partition and return its outcome and state.

    ``earlier`` is a state of rows before it, to which its rows are added. It is given to find the row that cannot be
    added to earlier rows.
    """
    try:
        for source in partition.sources:
            _check_unchanged(source)
        resolver = ColumnResolver(partition.config)
        reading = open_reading(partition.config, partition.sources, resolver)
        metric = create_metric(partition.config, resolver.labels)
        if earlier is not None:
            metric.load_state_dict({"state": earlier})
        if resolver.labels:
            resolver.labels.decide(partition.classes)
        rows = 0
        with contextlib.closing(reading.chunks(partition.start, partition.until)) as chunks:
            for chunk in chunks:
                add_chunk(metric, chunk, resolver.labels)
                rows += chunk.rows
    except (DataError, SelectionError) as error:
        # A copy has no traceback, which would keep the chunk in memory.
        return Outcome(partition.number, error=copy.copy(error)), None
    kinds = metric._state.kinds if partition.config.is_grouped else None
    first = copy.copy(reading.first_unreadable)
    outcome = Outcome(partition.number, rows, reading.unreadable, first, kinds, has_fractions=reading.has_fractions)
    return outcome, metric.to_bytes()


def _check_unchanged(source: Source) -> None:
    """Raise DataError if the file does not exist here, or has changed since the run was split."""
    with source.errors():
        [info] = source.filesystem.get_file_info([source.path])
        if info.type == fs.FileType.NotFound:
            raise DataError("no such file on the machine that evaluates it")
        if (info.size, info.mtime_ns) != (source.size, source.changed):
            raise DataError("this file has changed since the run began")


def merge(results: Iterable[tuple[Outcome | None, bytes | None]]) -> tuple[list[Outcome], bytes | None]:
    """Return all outcomes and the sum of the states, which is None if there are no states."""
    outcomes = []

    def each_state() -> Iterator[bytes]:
        for outcome, state in results:
            if outcome is not None:
                outcomes.append(outcome)
            if state is not None:
                yield state

    states = each_state()
    first = next(states, None)
    if first is None:
        return outcomes, None
    try:
        return outcomes, engines.merged(itertools.chain([first], states), "state")
    except ce.InputError as error:
        for _ in states:  # collect the other outcomes, because their own errors come first
            pass
        return [*outcomes, Outcome(LAST_NUMBER, error=DataError(str(error)))], None


def merge_merged(results: Iterable[tuple[list[Outcome], bytes | None]]) -> tuple[list[Outcome], bytes | None]:
    """Merge results of :func:`merge`."""
    results = list(results)
    outcomes = [(outcome, None) for several, _ in results for outcome in several]
    return merge([*outcomes, *((None, state) for _, state in results)])


# ---- on the machine that starts the run, at the end ----


def raise_first_error(partitions: Sequence[Partition], outcomes: Iterable[Outcome]) -> None:
    """Raise the first error in the order of the rows, as a run without partitions would."""
    earlier: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda each: each.number):
        if outcome.error is None:
            other = next((each for each in earlier if not _can_add(each.kinds, outcome.kinds)), None)
            earlier.append(outcome)
            if other is None:
                continue
            # Read these two again, to find the row that has another kind of key.
            _, state = evaluate(partitions[other.number])
            outcome, _ = evaluate(partitions[outcome.number], state)
        if outcome.error is not None:
            raise outcome.error


def _can_add(a: tuple[str | None, ...] | None, b: tuple[str | None, ...] | None) -> bool:
    """Return whether groups with these kinds of keys can be added; None is a kind that is not known yet."""
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))
