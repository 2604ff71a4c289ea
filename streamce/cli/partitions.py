"""A run of ``streamce eval`` cut into parts, which machines evaluate on their own: what a part is, what comes of it,
and the sum.

A part is read by the same code as the whole, from a position in a file to another, and the parts' states add up to the
same bytes. What the first rows decide for all rows, the reading of labels and the length of lists, is settled once.
"""

from __future__ import annotations

import argparse
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
from streamce.cli.column_resolver import Chooser
from streamce.cli.console import of_row
from streamce.cli.metric_factory import metric_of
from streamce.errors import DataError, SelectionError
from streamce.inputs.arrow import is_list
from streamce.integrations import engines
from streamce.reading import ragged, reader
from streamce.reading.labels import Labels
from streamce.reading.reader import Position
from streamce.reading.sources import Source
from streamce.reading.tables import Mark, open_table

SMALLEST, LARGEST = 1 << 20, 1 << 27  # bytes of files in a part, where files can be cut
LAST = sys.maxsize  # beyond the number of any part
AT_ONCE = 16  # files that are looked at for where to cut them
AS_MANY = 4  # parts for each processor, as some take longer than others


@dataclass(frozen=True)
class Part:
    """Rows ``start`` to ``until`` of some sources, of which the first decides what columns are meant, and the names of
    the classes where labels have decided between several."""

    number: int
    options: argparse.Namespace
    sources: tuple[Source, ...]
    start: Position
    until: Position
    classes: Sequence[str] | None


@dataclass(frozen=True)
class Outcome:
    """What came of a part: its rows and the kinds of the keys of its groups, or the error."""

    number: int
    rows: int = 0
    kinds: tuple[str | None, ...] | None = None
    error: DataError | SelectionError | None = None


def opened(
    options: argparse.Namespace, sources: Sequence[Source], chooser: Chooser, beside: Sequence[str] = ()
) -> reader.Reading:
    """The reading that options ask for."""
    tokens, blank = options.token_log_probs is not None, options.blank or 0
    return ragged.reading(options.task, sources, chooser, options.chunk_rows, beside, chosen=tokens, blank=blank)


def add(metric: Any, chunk: reader.Chunk, labels: Labels | None) -> None:
    """Adds a chunk, or says where in the file it is wrong."""
    try:
        metric._update(chunk.preds, chunk.target, chunk.weight, null=chunk.null, **chunk.keys, **chunk.more)
    except ce.InputError as error:
        raise of_row(chunk, error, labels) from error


# ---- on the machine that asks ----


def settled(options: argparse.Namespace, reading: reader.Reading, labels: Labels | None) -> int | None:
    """Lets the first rows decide what labels mean; the length of lists, where these are in columns.

    What is wrong there is for the parts to find, among all that may be wrong.
    """
    width = None
    with contextlib.suppress(DataError, SelectionError), contextlib.closing(reading.chunks()) as found:
        for chunk in found:
            width = chunk.end.width
            lists = any(is_list(_plain(chunk, name)) for name in (*chunk.selection.preds, *chunk.selection.target))
            if (labels is None or labels.classes) and (width or not lists or options.token_log_probs):
                break
    return width


def _plain(chunk: reader.Chunk, name: str) -> Any:
    found = chunk.batch.column(name).type
    return getattr(found, "storage_type", found)


def cut(
    options: argparse.Namespace,
    sources: Sequence[Source],
    processors: int,
    width: int | None = None,
    classes: Sequence[str] | None = None,
) -> list[Part]:
    """All rows in parts of about the same size, some for each processor."""
    sources = [replace(s, path=os.path.abspath(s.path)) if s.local else s for s in sources]
    total = sum(source.size or 0 for source in sources)
    wanted = min(max(total // (AS_MANY * processors), SMALLEST), LARGEST)
    starts, size = [], wanted
    large = [number for number, source in enumerate(sources) if (source.size or 0) > wanted]
    with ThreadPoolExecutor(AT_ONCE) as pool:  # which mostly wait
        marks = dict(zip(large, pool.map(lambda number: _marks(sources[number], wanted), large), strict=True))
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
    ends = [*starts[1:], Position(len(sources))]
    alone = argparse.Namespace(**{**vars(options), "threads": options.threads or 1})
    parts = []
    for number, (start, until) in enumerate(zip(starts, ends, strict=True)):
        last = until.source + bool(until.mark.row)
        own = sources[start.source : last]
        shift = start.source - (start.source > 0)  # the first comes along
        own = own if start.source == 0 else [sources[0], *own]
        start, until = replace(start, source=start.source - shift), replace(until, source=until.source - shift)
        parts.append(Part(number, alone, tuple(own), start, until, classes))
    return parts


def _marks(source: Source, wanted: int) -> list[Mark]:
    """Where to cut a source into pieces of so many bytes, or as small as they can be."""
    with source.naming():
        marks = open_table(source, (), threading.Event()).marks()
    pieces = -(-(source.size or 0) // wanted)
    return marks[:: -(-len(marks) // pieces)]


# ---- where the data are ----


def evaluate(part: Part, before: bytes | None = None) -> tuple[Outcome, bytes | None]:
    """What comes of a part, and its state; ``before`` is a state of rows before it, for what these rule out."""
    try:
        for source in part.sources:
            _check(source)
        chooser = Chooser(part.options)
        reading = opened(part.options, part.sources, chooser)
        metric = metric_of(part.options, chooser.labels)
        if before is not None:
            metric.load_state_dict({"state": before})
        if chooser.labels:
            chooser.labels.settle(part.classes)
        rows = 0
        with contextlib.closing(reading.chunks(part.start, part.until)) as found:
            for chunk in found:
                add(metric, chunk, chooser.labels)
                rows += chunk.rows
    except (DataError, SelectionError) as error:
        # A copy has no traceback, which would keep the chunk.
        return Outcome(part.number, error=copy.copy(error)), None
    kinds = metric._state.kinds if isinstance(metric, ce.Grouped) else None
    return Outcome(part.number, rows, kinds), metric.to_bytes()


def _check(source: Source) -> None:
    """Raises unless the file is there, and as it was when the run was cut into parts."""
    with source.naming():
        [info] = source.filesystem.get_file_info([source.path])
        if info.type == fs.FileType.NotFound:
            raise DataError("no such file where it is to be evaluated, or not any more")
        if (info.size, info.mtime_ns) != (source.size, source.changed):
            raise DataError("this file has changed since the run began")


def join(found: Iterable[tuple[Outcome | None, bytes | None]]) -> tuple[list[Outcome], bytes | None]:
    """The outcomes of parts, and one state for all of them, None where there is none."""
    outcomes = []

    def states() -> Iterator[bytes]:
        for outcome, state in found:
            if outcome is not None:
                outcomes.append(outcome)
            if state is not None:
                yield state

    given = states()
    first = next(given, None)
    if first is None:
        return outcomes, None
    try:
        return outcomes, engines.merged(itertools.chain([first], given), "state")
    except ce.InputError as error:  # which the parts' own come before
        for _ in given:  # the outcomes of the others
            pass
        return [*outcomes, Outcome(LAST, error=DataError(str(error)))], None


def join_all(found: Iterable[tuple[list[Outcome], bytes | None]]) -> tuple[list[Outcome], bytes | None]:
    """The same of what :func:`join` gave."""
    given = list(found)
    outcomes = [(outcome, None) for some, _ in given for outcome in some]
    return join([*outcomes, *((None, state) for _, state in given)])


# ---- on the machine that asks, at the end ----


def check(parts: Sequence[Part], outcomes: Iterable[Outcome]) -> None:
    """Raises what went wrong first, in the order of the rows: as if these had been read one after another."""
    had: list[Outcome] = []
    for outcome in sorted(outcomes, key=lambda each: each.number):
        if outcome.error is None:
            other = next((each for each in had if not _agree(each.kinds, outcome.kinds)), None)
            had.append(outcome)
            if other is None:
                continue
            # Which row it is that has another kind of key is found by reading these two again.
            _, before = evaluate(parts[other.number])
            outcome, _ = evaluate(parts[outcome.number], before)
        if outcome.error is not None:
            raise outcome.error


def _agree(one: tuple[str | None, ...] | None, other: tuple[str | None, ...] | None) -> bool:
    if one is None or other is None:
        return True
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))
