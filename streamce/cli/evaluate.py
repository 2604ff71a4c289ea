"""``streamce eval``: evaluate files, from row 0 or from a checkpoint, here or on a cluster."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass, field
from typing import Any

import streamce as ce
from streamce._support import printable, threads
from streamce.cli import formatting, gate, partitions, resume, state_lock
from streamce.cli.column_resolver import ColumnResolver
from streamce.cli.config import EvalConfig, RowsConfig
from streamce.cli.console import (
    advance,
    check_writable,
    note,
    note_unreadable,
    plural,
    print_and_save,
    progress_bar,
    save,
)
from streamce.cli.metric_factory import create_metric
from streamce.errors import DataError, SelectionError
from streamce.reading import reader
from streamce.reading.files.sources import Source, find_sources
from streamce.reading.labels import Labels


def evaluate(config: EvalConfig) -> int:
    """Run ``streamce eval`` and return the exit status."""
    check_environment(config)
    with state_lock.locked("--state", config.state):
        run = _Run(config)
        run.prepare()
        run.evaluate()
        return print_and_save(run.print_result, run.save_state, run.judge)


def check_environment(config: RowsConfig) -> None:
    """Raise SelectionError if the state cannot be written, or STREAMCE_NUM_THREADS is invalid."""
    if config.state is not None:
        check_writable("--state", config.state)
    try:
        threads.limit(config.threads)
    except ce.InputError as error:  # STREAMCE_NUM_THREADS is invalid
        raise SelectionError(str(error)) from error


def is_same_file(path: str, source: Source) -> bool:
    """Return whether a path names the file of a source."""
    return source.is_local and os.path.exists(path) and os.path.samefile(path, source.path)


@dataclass
class _Run:
    """One run of ``streamce eval``."""

    config: EvalConfig
    start: float = field(default_factory=time.perf_counter)
    progress: resume.Progress = field(default_factory=resume.Progress)
    checkpoints: resume.Checkpoints | None = None
    rows_resumed: int = 0
    has_fractions: bool = False  # whether any prediction is not a whole number
    first_unreadable: DataError | None = None
    sources: list[Source] = field(init=False)
    reading: reader.Reading = field(init=False)
    labels: Labels | None = field(init=False)
    metric: Any = field(init=False)

    def prepare(self) -> None:
        """Open the files, and create the metric or load it from a checkpoint."""
        config = self.config
        self.sources = find_sources(config.files, config.read_options)
        if config.state and any(is_same_file(config.state, source) for source in self.sources):
            raise SelectionError(f"--state {config.state}: this is one of the files to evaluate")
        if config.resume and (pipes := [source.name for source in self.sources if source.format == "pipe"]):
            raise SelectionError(f"{pipes[0]}: --resume needs files, and this can be read only once")
        if config.is_on_cluster:
            from streamce.cli import cluster_run

            cluster_run.check(config, self.sources)
        single_columns = filter(None, [config.weight, config.by_time, config.cluster])
        beside = [*config.target, *config.by, *single_columns]
        resolver = ColumnResolver(config)
        self.reading = partitions.open_reading(config, self.sources, resolver, beside)
        self.labels = resolver.labels
        self.metric = create_metric(config, self.labels)
        if config.state and config.resume:
            files = resume.file_identities(self.sources, beside)
            options = _result_options(config, self.reading, self.metric)
            self.checkpoints = resume.Checkpoints(config.state, options, files, config.checkpoint_every)
            self.progress = self.checkpoints.load_into(self.metric)
        self.rows_resumed = self.progress.rows
        self.has_fractions = self.rows_resumed > 0  # unknown, so that there is no note
        if self.labels:
            self.labels.decide(self.progress.classes)

    def evaluate(self) -> None:
        """Add all rows that are not counted yet."""
        if self.config.is_on_cluster:
            from streamce.cli import cluster_run

            outcomes = cluster_run.run(self.config, self.sources, self.reading, self.metric, self.labels)
            self.has_fractions = any(outcome.has_fractions for outcome in outcomes)
            self.progress.rows = sum(outcome.rows for outcome in outcomes)
            self.progress.unreadable = sum(outcome.unreadable for outcome in outcomes)
            self.first_unreadable = next((each.first_unreadable for each in outcomes if each.first_unreadable), None)
        elif not self.progress.finished:
            self._add_chunks()
            self.has_fractions = self.has_fractions or self.reading.has_fractions
            self.progress.unreadable = self.reading.unreadable
            self.first_unreadable = self.reading.first_unreadable

    def _add_chunks(self) -> None:
        progress, labels, checkpoints = self.progress, self.labels, self.checkpoints
        with progress_bar(progress.rows) as bar, contextlib.closing(self.reading.chunks(progress.position)) as chunks:
            try:
                for chunk in chunks:
                    progress.position = None  # because an interrupt may come before or after the chunk is counted
                    partitions.add_chunk(self.metric, chunk, labels)
                    progress.rows += chunk.rows
                    progress.classes = labels.classes if labels else None
                    progress.position = chunk.end
                    if checkpoints is not None:
                        checkpoints.save(self.metric, progress)
                    advance(bar, progress.rows, chunk.rows, chunk.fraction)
            except KeyboardInterrupt:
                if checkpoints is not None and progress.position is not None:
                    checkpoints.save(self.metric, progress, now=True)
                raise

    def judge(self) -> int:
        """Return the exit status of the result of all rows together."""
        summary = formatting.total_summary(self.metric, self.config.view)
        note_unreadable(self.progress.unreadable, self.first_unreadable)
        if summary.count and not self.has_fractions:
            note("streamce: note: every prediction is a whole number: are these labels?")
        if status := gate.check_skipped(summary, self.progress.unreadable):
            return status
        limit, normalized = self.config.fail_above, bool(self.config.normalized)
        if self.config.is_grouped:
            return gate.check_groups(self.metric, limit, self.config.view, normalized=normalized)
        return gate.check_loss(summary, limit, normalized=normalized)

    def print_result(self) -> None:
        """Print the result as a table or as JSON."""
        config, seconds = self.config, time.perf_counter() - self.start
        classes = self.labels.classes if self.labels else config.classes
        if config.json:
            extra = {"rows_resumed": self.rows_resumed, "rows_unreadable": self.progress.unreadable}
            formatting.print_json(self.metric, config.view, extra, self._json_options(classes))
            return
        name = self.sources[0].name if len(self.sources) == 1 else f"{len(self.sources):,} files"
        resumed = f", resumed at row {self.rows_resumed:,}" if self.rows_resumed else ""
        unreadable = f", {self.progress.unreadable:,} unreadable" if self.progress.unreadable else ""
        rows = plural(self.progress.rows, "row") + unreadable + resumed
        print(f"{printable.line(name)}: {rows}, {config.task}, kind={config.kind}, {seconds:.2f} s")
        formatting.print_table(self.metric, config.view._replace(labels=classes or self.reading.selection.preds))

    def _json_options(self, classes: Any) -> dict[str, Any]:
        """Return the options of the run, which the JSON object holds in addition to those of the metric."""
        config, selection, on_cluster = self.config, self.reading.selection, self.config.is_on_cluster
        return {
            "task": config.task,
            **({"normalized": True} if config.normalized else {}),
            "files": [source.name for source in self.sources],
            "preds": selection.preds,
            "target": selection.target,
            "weight": selection.weight,
            "by": selection.by,
            "by_time": selection.by_time,
            **({"time_unit": selection.time_unit} if selection.by_time else {}),
            "cluster": selection.cluster,
            **({"n_words": selection.n_words, "n_bytes": selection.n_bytes} if config.task == "sequence" else {}),
            "classes": classes,
            **({} if config.ignore_index is None else {"ignore_index": config.ignore_index}),
            **({"engine": config.engine} if on_cluster else {}),
            "threads": config.threads or 1 if on_cluster else threads.limit(config.threads),
            "chunk_rows": self.reading.chunk_rows,
            "state": config.state,
        }

    def save_state(self) -> int:
        """Write the state, and then a checkpoint that refers to it, so that no checkpoint refers to a missing state."""
        if self.progress.finished:
            return 0
        if status := save(self.metric, "--state", self.config.state):
            return status
        if self.checkpoints is not None:
            self.progress.position, self.progress.finished = None, True
            self.checkpoints.save(self.metric, self.progress, now=True)
        return 0


def _result_options(config: EvalConfig, reading: reader.Reading, metric: Any) -> dict[str, Any]:
    """Return all options that change the result, as JSON values."""
    selection = reading.selection
    template = metric.metric if config.is_grouped else metric
    options = {
        "task": config.task,
        "normalized": config.normalized,
        **template.options,
        "preds": [*selection.preds],
        "target": [*selection.target],
        "weight": selection.weight,
        "by": [*selection.by],
        "by_time": selection.by_time,
        "time_unit": selection.time_unit,
        "period": config.period,
        "cluster": selection.cluster,
        "n_words": selection.n_words,
        "n_bytes": selection.n_bytes,
        "log_base": None if config.base == math.e else config.log_base,
        "classes": None if config.classes is None else [*config.classes],
        **{name: getattr(config, name) for name in ("quote", "format", "delimiter", "decimal", "encoding")},
        "null": [*config.null] or None,
        "ignore_index": config.ignore_index,  # the label in the data, not the number of its class
    }
    return {name: value for name, value in options.items() if name not in ("axis", "threads")}
