"""The command line: ``streamce eval``, ``compare``, ``merge`` and ``show``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import streamce as ce
from streamce import arguments, results, state, threads
from streamce.additive import Additive
from streamce.metrics.base import Metric

try:
    import pyarrow as pa

    from streamce import chunks, columns, files, nested, pairing, places, resume
except ModuleNotFoundError:  # of pyarrow, without which states can still be merged and shown
    pa = None

AXES = {"binary": (1, 1), "multiclass": (2, 1), "multilabel": (2, 2)}  # of preds, of losses


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        top = arguments.parser()
        options, unknown = top.parse_known_args(argv)
        if unknown:
            top.prog += f" {options.command}"  # whose --help has the options that there are
            top.error(f"unrecognized arguments: {' '.join(unknown)}")
        commands = {"eval": evaluate, "compare": compare, "merge": merge, "show": show}
        status = commands[options.command](options)
        if sys.stdout is not None:  # it is None where the caller closed it
            sys.stdout.flush()
        return status
    except SystemExit as leave:  # argparse's
        return int(leave.code or 0)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # Whoever read the result left; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ce.InputError as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}", 1)


def _fail(message: str, status: int) -> int:
    line = " ".join(message.splitlines())  # names may hold line ends
    if sys.stderr is not None:  # closed by the caller; print would take stdout instead
        print(f"streamce: error: {line}", file=sys.stderr)
    return status


def _unready(options: argparse.Namespace) -> int:
    """What keeps a command from reading files and writing a state; 0 if nothing does."""
    if pa is None:
        return _fail("reading files needs pyarrow: pip install 'streamce[cli]'", 2)
    if misfit := arguments.misfit(options):
        return _fail(misfit, 2)
    if options.state is not None and (refusal := _refusal(options.state)):
        return _fail(f"--state {options.state}: {refusal}", 2)
    try:
        threads.limit(options.threads)
    except ce.InputError as error:  # of STREAMCE_NUM_THREADS
        return _fail(str(error), 2)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    if options.resume and options.state is None:
        return _fail("--resume needs --state, beside which it keeps its checkpoint", 2)
    if options.by_time and not options.period:
        return _fail("--by-time needs --period, such as 1h", 2)
    if options.period and not options.by_time:
        return _fail("--period needs --by-time, a column of times", 2)
    if options.cluster and (options.by or options.by_time):
        return _fail("--cluster does not go with --by and --by-time: rows count as independent within groups", 2)
    if (options.n_words or options.n_bytes) and (options.by or options.by_time):
        return _fail("--n-words and --n-bytes do not go with --by and --by-time: a group has one mean", 2)
    for option in arguments.SUMS:
        if getattr(options, option) and (options.by or options.by_time):
            return _fail(f"--{option} does not go with --by and --by-time: a group has one mean", 2)
    if status := _unready(options):
        return status
    start = time.perf_counter()
    chooser = columns.Chooser(options)
    try:
        sources = files.find(options.files)
        if options.state and any(_same(options.state, source) for source in sources):
            raise files.SelectionError(f"--state {options.state}: this is one of the files to evaluate")
        if options.resume and (pipes := [source.name for source in sources if source.format == "pipe"]):
            raise files.SelectionError(f"{pipes[0]}: --resume needs files, and this comes only once")
        beside = [*(options.target or []), *(options.by or [])]
        beside += filter(None, [options.weight, options.by_time, options.cluster])
        reading = _reading(options, sources, chooser, beside)
        metric = _metric(options, chooser.labels)
        progress, run = resume.Progress(), None
        if options.resume:
            read = resume.identities(sources, beside)
            run = resume.Run(options.state, _of_the_result(options, reading, metric), read, options.checkpoint_every)
            progress = run.begin(metric)
        rows_resumed = progress.rows
        if chooser.labels:
            chooser.labels.settle(progress.classes)
        if not progress.finished:
            _run(reading, metric, chooser.labels, progress, run)
        if progress.rows == 0:
            raise files.DataError(f"{', '.join(options.files)}: there are no rows")
    except files.DataError as error:
        return _fail(str(error), 1)
    except files.SelectionError as error:
        return _fail(str(error), 2)
    seconds = time.perf_counter() - start
    chosen = reading.selection
    classes = chooser.labels.classes if chooser.labels else options.classes

    def show_it() -> None:
        if options.json:
            results.print_json(metric, options.level, options.anytime, {"rows_resumed": rows_resumed}, {
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
                "threads": threads.limit(options.threads),
                "chunk_rows": reading.chunk_rows,
                "state": options.state,
            })  # fmt: skip
        else:
            what = sources[0].name if len(sources) == 1 else f"{len(sources):,} files"
            resumed = f", resumed at row {rows_resumed:,}" if rows_resumed else ""
            rows = _many(progress.rows, "row") + resumed
            print(f"{what}: {rows}, {options.task}, kind={options.kind}, {seconds:.2f} s")
            results.print_table(metric, options.level, options.anytime, classes or chosen.preds)

    return _show_and_save(show_it, lambda: _finish(metric, options.state, progress, run))


def _reading(
    options: argparse.Namespace, sources: list[files.Source], chooser: columns.Chooser, beside: list[str]
) -> chunks.Reading:
    if options.task not in nested.TASKS:
        return chunks.Reading(sources, chooser, *AXES[options.task], options.chunk_rows, beside)
    chosen, classes = options.token_log_probs is not None, max(2, 1 + (options.blank or 0))
    return nested.Reading(sources, chooser, options.chunk_rows, beside, options.task, chosen, classes)


def _show_and_save(show_it: Callable[[], None], save: Callable[[], int]) -> int:
    """Prints a result, and then saves its state: a full disk does not take the first away."""
    try:
        show_it()
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # whoever read the result left, or there is no room for it: the state is still asked for
        if status := save():
            return status
        raise
    return save()


def compare(options: argparse.Namespace) -> int:
    if status := _unready(options):
        return status
    start, rows = time.perf_counter(), 0
    try:
        pairs = pairing.Pairing(options, *AXES[options.task])
        if options.state and any(_same(options.state, source) for sources in pairs.sources for source in sources):
            raise files.SelectionError(f"--state {options.state}: this is one of the files to compare")
        metric = ce.Paired(_of_task(options, pairs.labels, per_label=False))
        with _bar(0) as bar, contextlib.closing(pairs.parts()) as parts:
            for a, b in parts:
                pairing.add(metric, a, b, pairs.labels)
                rows += len(a.preds)
                _advance(bar, rows, len(a.preds), a.fraction)
        if rows == 0:
            raise files.DataError(f"{', '.join(options.files)}: there are no rows")
    except files.DataError as error:
        return _fail(str(error), 1)
    except files.SelectionError as error:
        return _fail(str(error), 2)
    seconds = time.perf_counter() - start

    def show_it() -> None:
        of_a, of_b = pairs.a.selection, pairs.b.selection
        if options.json:
            results.print_json(metric, options.level, options.anytime, None, {
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
            print(f"A is {pairs.names[0]}, B is {pairs.names[1]}: {_many(rows, 'row')}, {options.task}, "
                  f"kind={options.kind}, {seconds:.2f} s")  # fmt: skip
            results.print_table(metric, options.level, options.anytime)

    return _show_and_save(show_it, lambda: _save(metric, "--state", options.state))


def _same(path: str, source: files.Source) -> bool:
    return source.local and os.path.exists(path) and os.path.samefile(path, source.path)


def _refusal(path: str) -> str | None:
    """Why no state can be written there, or None; never over what is no state."""
    there = os.path.exists(path)
    if not path or (there and not os.path.isfile(path)):  # a folder, or /dev/null
        return "no file can be written there"
    if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
        return "no file can be written there"
    if there and os.path.getsize(path):
        with open(path, "rb") as file:
            if file.read(len(state.MAGIC)) != state.MAGIC:
                return "the file that is there is no state, and is kept"
    return None


def _save(metric: Additive, option: str, path: str | None) -> int:
    """Writes the state once the result is out: a full disk does not take that away."""
    if path is not None:
        try:
            metric.save(path)
        except OSError as error:
            return _fail(f"{option} {path}: {error.strerror or error}", 1)
    return 0


def _finish(metric: Additive, path: str | None, progress: resume.Progress, run: resume.Run | None) -> int:
    """Writes the state, and then that there is nothing left to do: never the other way round."""
    if progress.finished:
        return 0
    if status := _save(metric, "--state", path):
        return status
    if run is not None:
        progress.at, progress.finished = None, True
        run.save(metric, progress, now=True)
    return 0


def _many(number: int, name: str) -> str:
    return f"{number:,} {name}" + "s" * (number != 1)


def _metric(options: argparse.Namespace, labels: columns.Labels | None) -> Metric | ce.Grouped:
    """What ``eval`` adds to."""
    grouped = options.by or options.by_time
    metric = _of_task(options, labels, per_label=not grouped)
    with _naming_options():
        return ce.Grouped(metric, period=options.period) if grouped else metric


def _of_task(options: argparse.Namespace, labels: columns.Labels | None, *, per_label: bool) -> Metric:
    names = ("kind", "label_smoothing", "ignore_index", "eps", "per", "blank", "invalid", "threads", *arguments.SUMS)
    given = {name: value for name in names if (value := getattr(options, name, None)) is not None}
    if labels:
        given["ignore_index"] = labels.ignore_index
    if options.task == "multilabel":
        given["per_label"] = per_label
    with _naming_options():
        return arguments.METRICS[options.task](**given)


@contextlib.contextmanager
def _naming_options() -> Iterator[None]:
    """Errors about options as the command line has them."""
    try:
        yield
    except ce.InputError as error:
        raise files.SelectionError(f"--{str(error.argument).replace('_', '-')}: {error}") from error


def _of_the_result(options: argparse.Namespace, reading: chunks.Reading, metric: Additive) -> dict[str, Any]:
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
    reading: chunks.Reading,
    metric: Any,
    labels: columns.Labels | None,
    progress: resume.Progress,
    run: resume.Run | None,
) -> None:
    """Evaluate all chunks that are left, and keep account of it."""
    with _bar(progress.rows) as bar, contextlib.closing(reading.chunks(progress.at)) as found:
        try:
            for chunk in found:
                progress.at = None  # while nobody could say whether this chunk is counted
                try:
                    others = chunk.keys | chunk.more
                    metric._update(chunk.preds, chunk.target, chunk.weight, null=chunk.null, **others)
                except ce.InputError as error:
                    raise files.DataError(f"{chunk.source}: {places.place(chunk, error, labels)}") from error
                progress.rows += chunk.rows
                progress.classes = labels.classes if labels else None
                progress.at = chunk.end
                if run is not None:
                    run.save(metric, progress)
                _advance(bar, progress.rows, chunk.rows, chunk.fraction)
        except KeyboardInterrupt:
            if run is not None and progress.at is not None:
                run.save(metric, progress, now=True)
            raise


def _bar(done: int) -> Any:
    """A progress bar for people, None for others."""
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(ModuleNotFoundError):
            from tqdm import tqdm

            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            return tqdm(initial=done, unit=" rows", unit_scale=True, leave=False, ncols=width)
    return contextlib.nullcontext()


def _advance(bar: Any, done: int, more: int, fraction: float | None) -> None:
    if bar is not None:
        if fraction:  # exact for one file that knows its length, else near
            bar.total = round(done / fraction)
        bar.update(more)


def merge(options: argparse.Namespace) -> int:
    if refusal := _refusal(options.output):
        return _fail(f"--output {options.output}: {refusal}", 2)
    merged: Any = None
    for path in options.states:
        metric = ce.load(path)
        try:
            merged = metric if merged is None else merged.merge(metric)
        except ce.InputError as error:
            return _fail(f"{path} does not add to {options.states[0]}: {error}", 1)
    if status := _save(merged, "--output", options.output):
        return status
    print(f"{options.output}: {_many(len(options.states), 'state')}, {_many(results.samples(merged), 'sample')}")
    return 0


def show(options: argparse.Namespace) -> int:
    metric = ce.load(options.state)
    if options.json:
        results.print_json(metric, options.level, options.anytime)
    else:
        print(f"{options.state}: {metric!r}")
        results.print_table(metric, options.level, options.anytime)
    return 0
