"""``streamce eval``."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from typing import Any

import streamce as ce
from streamce._support import printable, threads
from streamce.cli import arguments, formatting, partitions, resume, state_lock
from streamce.cli.column_resolver import Chooser
from streamce.cli.console import advance, fail, many, progress_bar, refusal, save, show_and_save
from streamce.cli.metric_factory import metric_of
from streamce.errors import DataError, SelectionError
from streamce.metrics.mergeable import Additive
from streamce.reading import reader
from streamce.reading.labels import Labels
from streamce.reading.sources import Source, find


def unready(options: argparse.Namespace) -> int:
    """What keeps a command from reading files and writing a state; 0 if nothing does."""
    if misfit := arguments.misfit(options):
        return fail(misfit, 2)
    if options.state is not None and (why := refusal(options.state)):
        return fail(f"--state {options.state}: {why}", 2)
    try:
        threads.limit(options.threads)
    except ce.InputError as error:  # of STREAMCE_NUM_THREADS
        return fail(str(error), 2)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    if options.resume and options.state is None:
        return fail("--resume needs --state, beside which it keeps its checkpoint", 2)
    if options.by_time and not options.period:
        return fail("--by-time needs --period, such as 1h", 2)
    if options.period and not options.by_time:
        return fail("--period needs --by-time, a column of times", 2)
    if options.cluster and (options.by or options.by_time):
        return fail("--cluster does not go with --by and --by-time: rows count as independent within groups", 2)
    if (options.n_words or options.n_bytes) and (options.by or options.by_time):
        return fail("--n-words and --n-bytes do not go with --by and --by-time: a group has one mean", 2)
    for option in arguments.SUMS:
        if getattr(options, option) and (options.by or options.by_time):
            return fail(f"--{option} does not go with --by and --by-time: a group has one mean", 2)
    on_cluster = options.engine != "threads"
    if options.address is not None and not on_cluster:
        return fail("--address goes with --engine dask or spark", 2)
    if status := unready(options):
        return status
    with state_lock.locked("--state", options.state):
        return _evaluated(options, on_cluster)


def _evaluated(options: argparse.Namespace, on_cluster: bool) -> int:
    start = time.perf_counter()
    chooser = Chooser(options)
    try:
        sources = find(options.files, options.max_record)
        if options.state and any(same(options.state, source) for source in sources):
            raise SelectionError(f"--state {options.state}: this is one of the files to evaluate")
        if options.resume and (pipes := [source.name for source in sources if source.format == "pipe"]):
            raise SelectionError(f"{pipes[0]}: --resume needs files, and this comes only once")
        if on_cluster:
            from streamce.cli import cluster_run

            cluster_run.refuse(options, sources)
        beside = [*(options.target or []), *(options.by or [])]
        beside += filter(None, [options.weight, options.by_time, options.cluster])
        reading = partitions.opened(options, sources, chooser, beside)
        metric = metric_of(options, chooser.labels)
        progress, run = resume.Progress(), None
        if options.resume:
            read = resume.identities(sources, beside)
            run = resume.Run(options.state, _of_the_result(options, reading, metric), read, options.checkpoint_every)
            progress = run.begin(metric)
        rows_resumed = progress.rows
        if chooser.labels:
            chooser.labels.settle(progress.classes)
        if on_cluster:
            progress.rows = cluster_run.run(options, sources, reading, metric, chooser.labels)
        elif not progress.finished:
            _run(reading, metric, chooser.labels, progress, run)
        if progress.rows == 0:
            raise DataError(f"{', '.join(options.files)}: there are no rows")
    except DataError as error:
        return fail(str(error), 1)
    except SelectionError as error:
        return fail(str(error), 2)
    seconds = time.perf_counter() - start
    chosen = reading.selection
    classes = chooser.labels.classes if chooser.labels else options.classes

    def show_it() -> None:
        if options.json:
            formatting.print_json(metric, options.level, options.anytime, {"rows_resumed": rows_resumed}, {
                "task": options.task,
                "files": [source.name for source in sources],
                "preds": chosen.preds,
                "target": chosen.target,
                "weight": chosen.weight,
                "by": chosen.by,
                "by_time": chosen.by_time,
                "cluster": chosen.cluster,
                **({"n_words": chosen.n_words, "n_bytes": chosen.n_bytes} if options.task == "sequence" else {}),
                "classes": classes,
                **({} if options.ignore_index is None else {"ignore_index": options.ignore_index}),
                **({"engine": options.engine} if on_cluster else {}),
                "threads": options.threads or 1 if on_cluster else threads.limit(options.threads),
                "chunk_rows": reading.chunk_rows,
                "state": options.state,
            })  # fmt: skip
        else:
            what = sources[0].name if len(sources) == 1 else f"{len(sources):,} files"
            resumed = f", resumed at row {rows_resumed:,}" if rows_resumed else ""
            rows = many(progress.rows, "row") + resumed
            print(f"{printable.line(what)}: {rows}, {options.task}, kind={options.kind}, {seconds:.2f} s")
            formatting.print_table(metric, options.level, options.anytime, classes or chosen.preds)

    return show_and_save(show_it, lambda: _finish(metric, options.state, progress, run))


def _finish(metric: Additive, path: str | None, progress: resume.Progress, run: resume.Run | None) -> int:
    """Writes the state, and then that there is nothing left to do: never the other way round."""
    if progress.finished:
        return 0
    if status := save(metric, "--state", path):
        return status
    if run is not None:
        progress.at, progress.finished = None, True
        run.save(metric, progress, now=True)
    return 0


def _of_the_result(options: argparse.Namespace, reading: reader.Reading, metric: Additive) -> dict[str, Any]:
    """All options that change what comes out."""
    chosen = reading.selection
    parts: dict[str, Any] = {"preds": [*chosen.preds], "target": [*chosen.target], "weight": chosen.weight}
    parts |= {"by": [*chosen.by], "by_time": chosen.by_time, "period": options.period, "cluster": chosen.cluster}
    parts |= {"n_words": chosen.n_words, "n_bytes": chosen.n_bytes}
    given = {"classes": options.classes, "ignore_index": options.ignore_index}  # as they are, not as numbers
    of_a_group = metric.metric if isinstance(metric, ce.Grouped) else metric
    found = {"task": options.task, **of_a_group.options, **parts, **given}
    return {name: value for name, value in found.items() if name not in ("axis", "threads")}


def _run(
    reading: reader.Reading,
    metric: Any,
    labels: Labels | None,
    progress: resume.Progress,
    run: resume.Run | None,
) -> None:
    """Evaluate all chunks that are left, and keep account of it."""
    with progress_bar(progress.rows) as bar, contextlib.closing(reading.chunks(progress.at)) as found:
        try:
            for chunk in found:
                progress.at = None  # while nobody could say whether this chunk is counted
                partitions.add(metric, chunk, labels)
                progress.rows += chunk.rows
                progress.classes = labels.classes if labels else None
                progress.at = chunk.end
                if run is not None:
                    run.save(metric, progress)
                advance(bar, progress.rows, chunk.rows, chunk.fraction)
        except KeyboardInterrupt:
            if run is not None and progress.at is not None:
                run.save(metric, progress, now=True)
            raise


def same(path: str, source: Source) -> bool:
    return source.local and os.path.exists(path) and os.path.samefile(path, source.path)
