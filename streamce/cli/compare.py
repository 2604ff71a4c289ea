"""``streamce compare``: compare two models' predictions of the same rows."""

from __future__ import annotations

import time
from typing import Any

import streamce as ce
from streamce._support import printable, threads
from streamce.cli import formatting, gate, paired_reader, state_lock
from streamce.cli.config import CompareConfig
from streamce.cli.console import advance, note_unreadable, plural, print_and_save, progress_bar, save
from streamce.cli.evaluate import check_environment, is_same_file
from streamce.cli.metric_factory import create_task_metric, grouped
from streamce.errors import SelectionError
from streamce.reading.chunk import Chunk
from streamce.reading.selection import AXES


def compare(config: CompareConfig) -> int:
    """Run ``streamce compare`` and return the exit status."""
    check_environment(config)
    with state_lock.locked("--state", config.state):
        return _compare(config)


def _compare(config: CompareConfig) -> int:
    start = time.perf_counter()
    pairs = paired_reader.PairedReader(config, *AXES[config.task])
    if config.state and any(is_same_file(config.state, source) for sources in pairs.sources for source in sources):
        raise SelectionError(f"--state {config.state}: this is one of the files to compare")
    metric = grouped(config, ce.Paired(create_task_metric(config, pairs.labels, per_label=False)))
    with progress_bar(0) as bar:
        rows, unreadable = _add_all(metric, pairs, bar)
    seconds = time.perf_counter() - start

    def print_result() -> None:
        if config.json:
            extra = {"rows_unreadable": unreadable}
            formatting.print_json(metric, config.view, extra, _json_options(config, pairs))
        else:
            name_a, name_b = map(printable.line, pairs.names)
            left_out = f", {unreadable:,} unreadable" if unreadable else ""
            print(f"A is {name_a}, B is {name_b}: {plural(rows, 'row')}{left_out}, {config.task}, "
                  f"kind={config.kind}, {seconds:.2f} s")  # fmt: skip
            formatting.print_table(metric, config.view)

    def judge() -> int:
        summary = formatting.total_summary(metric, config.view)
        for reading in pairs.a, pairs.b:
            note_unreadable(reading.unreadable, reading.first_unreadable)
        if status := gate.check_skipped(summary.difference, unreadable):
            return status
        if config.is_grouped:
            return gate.check_discoveries(metric, config.fail_if_worse, config.view)
        return gate.check_difference(summary, config.fail_if_worse)

    return print_and_save(print_result, lambda: save(metric, "--state", config.state), judge)


def _add_all(metric: Any, pairs: paired_reader.PairedReader, bar: Any) -> tuple[int, int]:
    """Add all rows to the metric. Return their number, and that of rows left out because they cannot be read."""
    rows = 0

    def add(a: Chunk, b: Chunk) -> None:
        nonlocal rows
        paired_reader.add_chunks(metric, a, b, pairs.labels)
        rows += len(a.preds)
        advance(bar, rows, len(a.preds), a.fraction)

    unreadable = pairs.for_each(add)
    return rows, unreadable


def _json_options(config: CompareConfig, pairs: paired_reader.PairedReader) -> dict[str, Any]:
    """Return the options of the run, which the JSON object holds in addition to those of the metric."""
    selection_a, selection_b = pairs.a.selection, pairs.b.selection
    return {
        "task": config.task,
        "files_a": [source.name for source in pairs.sources[0]],
        "files_b": [source.name for source in pairs.sources[1]],
        "preds_a": selection_a.preds,
        "preds_b": selection_b.preds,
        "target": selection_a.target,
        "target_b": selection_b.target,
        "weight": selection_a.weight,
        "cluster": selection_a.cluster,
        **({"by": selection_a.by} if selection_a.by else {}),
        **({"by_time": selection_a.by_time, "time_unit": selection_a.time_unit} if selection_a.by_time else {}),
        "key": selection_a.match,
        "classes": pairs.labels.classes if pairs.labels else config.classes,
        "ignore_index": config.ignore_index,
        "threads": threads.limit(config.threads),
        "chunk_rows": pairs.a.chunk_rows,
        "state": config.state,
    }
