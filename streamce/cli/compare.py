"""``streamce compare``."""

from __future__ import annotations

import argparse
import contextlib
import time

import streamce as ce
from streamce._support import printable, threads
from streamce.cli import formatting, paired_reader, state_lock
from streamce.cli.console import advance, fail, many, progress_bar, save, show_and_save
from streamce.cli.evaluate import same, unready
from streamce.cli.metric_factory import of_task
from streamce.errors import DataError, SelectionError
from streamce.reading.reader import AXES


def compare(options: argparse.Namespace) -> int:
    if status := unready(options):
        return status
    with state_lock.locked("--state", options.state):
        return _compared(options)


def _compared(options: argparse.Namespace) -> int:
    start, rows = time.perf_counter(), 0
    try:
        pairs = paired_reader.Pairing(options, *AXES[options.task])
        if options.state and any(same(options.state, source) for sources in pairs.sources for source in sources):
            raise SelectionError(f"--state {options.state}: this is one of the files to compare")
        metric = ce.Paired(of_task(options, pairs.labels, per_label=False))
        with progress_bar(0) as bar, contextlib.closing(pairs.parts()) as parts:
            for a, b in parts:
                paired_reader.add(metric, a, b, pairs.labels)
                rows += len(a.preds)
                advance(bar, rows, len(a.preds), a.fraction)
        if rows == 0:
            raise DataError(f"{', '.join(options.files)}: there are no rows")
    except DataError as error:
        return fail(str(error), 1)
    except SelectionError as error:
        return fail(str(error), 2)
    seconds = time.perf_counter() - start

    def show_it() -> None:
        of_a, of_b = pairs.a.selection, pairs.b.selection
        if options.json:
            formatting.print_json(metric, options.level, options.anytime, None, {
                "task": options.task,
                "files_a": [source.name for source in pairs.sources[0]],
                "files_b": [source.name for source in pairs.sources[1]],
                "preds_a": of_a.preds,
                "preds_b": of_b.preds,
                "target": of_a.target,
                "target_b": of_b.target,
                "weight": of_a.weight,
                "cluster": of_a.cluster,
                "classes": pairs.labels.classes if pairs.labels else options.classes,
                "ignore_index": options.ignore_index,
                "threads": threads.limit(options.threads),
                "chunk_rows": pairs.a.chunk_rows,
                "state": options.state,
            })  # fmt: skip
        else:
            name_a, name_b = map(printable.line, pairs.names)
            print(f"A is {name_a}, B is {name_b}: {many(rows, 'row')}, {options.task}, "
                  f"kind={options.kind}, {seconds:.2f} s")  # fmt: skip
            formatting.print_table(metric, options.level, options.anytime)

    return show_and_save(show_it, lambda: save(metric, "--state", options.state))
