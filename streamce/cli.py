"""The command line: ``streamce eval``, ``merge`` and ``show``."""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

import streamce as ce
from streamce import results, state, threads
from streamce.additive import Additive
from streamce.metrics.base import Metric

try:
    import pyarrow as pa

    from streamce import chunks, columns, files, nested, resume
except ModuleNotFoundError:  # of pyarrow, without which states can still be merged and shown
    pa = None

METRICS: dict[str, type[Metric]] = {
    "binary": ce.BinaryCrossEntropy,
    "multiclass": ce.MulticlassCrossEntropy,
    "multilabel": ce.MultilabelCrossEntropy,
    "sequence": ce.SequenceCrossEntropy,
    "ctc": ce.CTCCrossEntropy,
}
# The tasks of options that not all tasks have.
OF_TASKS = {
    "classes": ("binary", "multiclass", "multilabel"),
    **dict.fromkeys(("eps", "ignore_index", "label_smoothing"), ("binary", "multiclass", "multilabel", "sequence")),
    **dict.fromkeys(("token_log_probs", "n_words", "n_bytes"), ("sequence",)),
    "per": ("sequence", "ctc"),
    "blank": ("ctc",),
}
AXES = {"binary": (1, 1), "multiclass": (2, 1), "multilabel": (2, 2)}  # of preds, of losses
Array = np.ndarray[Any, Any]
EVAL_HELP = """\
files
  Parquet (.parquet .pq), Arrow IPC (.arrow .arrows .feather .ipc), CSV with a header (.csv
  .tsv), JSON lines (.json .jsonl .ndjson), NumPy (.npy .npz); other endings are told by their
  first bytes. CSV and JSON may end in .gz .bz2 .zst .lz4. A folder stands for all files in it
  with these endings, at any depth, but for names that begin with "_" or ".". Globs work for
  URIs too (quote them). "-" is an Arrow stream or CSV on standard input.

columns
  --preds and --target take a column, a comma list or a glob, and may be repeated; or one
  list column. A glob takes columns in the file's order, unless they are one name with
  different numbers at the end: those are taken by number.
  In .npz files columns are members, of one axis, or two for a list column. A .npy file is
  the predictions itself: give --target PATH.npy (and --weight PATH.npy), and no --preds.

labels
  Integers count the classes from 0, in the order of the prediction columns, unless --classes
  names them. Text needs names: --classes, or else the names of the prediction columns, as
  they are or without a prefix that all share and that ends in one of "_-.:/ " (p_cat, p_dog
  stand for cat, dog); where more than one reading fits the labels, --classes must decide.
  For --task binary, --classes NEGATIVE,POSITIVE. For --task multilabel the target holds 0
  or 1 per label, or is one column with the list of the names that apply to each row.
  Missing values (null; empty in CSV; empty text as a label) are invalid, see --invalid.

sequences
  For --task sequence a row is a sequence: --target is a list of tokens (numbers), and --preds a
  list of as many lists, with a number for each token of the vocabulary. Or --token-log-probs is
  a list of the log-probabilities of the tokens that came, as an API logs them, in place of both.
  For --task ctc a row is an utterance: --preds is a list of frames, each a list with a number
  for each class, and --target a list of labels. Rows may be of any lengths; Parquet, Arrow and
  JSON lines can hold them. With the words and bytes of each row's text (--n-words, --n-bytes),
  word perplexity and bits per byte are printed too. A null in a list is a token that is invalid,
  and makes an utterance invalid as a whole.

groups
  --by takes columns of whole numbers, text, true and false, dates or times, and may be repeated:
  keys are then of several parts. Rows without a key are a group of their own. Columns of a CSV
  file are text. --by-time puts times (without a zone: UTC), or seconds since 1970, in periods.
  The worst and the best groups are printed, or the last periods; --json has all of them.
  --cluster makes the interval robust to rows of one document, user or session being alike.

resuming
  --resume keeps what was counted so far in STATE.checkpoint, and the generation before it in
  STATE.checkpoint.previous. The same command again, after a crash, goes on from there, to the
  same state byte for byte; once the run is finished it does nothing but print the result.
  Options that change the result and the files (names, sizes, times of change) must be the
  same. Parquet files are read on from the row group, other formats from the row; packed text
  is unpacked again up to there. To start at row 0, remove STATE once the run is finished, and
  STATE.checkpoint before that.

Rows in errors count from 0 within their file, a CSV header apart. Exit status: 0, 1 (bad
data, or a file that cannot be read or written), 2 (usage, such as an unknown column).
"""


class Parser(argparse.ArgumentParser):
    """Usage errors in one line, and options by their whole names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"streamce: error: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="streamce", description="Exact cross-entropy over streams")
    top.add_argument("--version", action="version", version=f"streamce {ce.__version__}")
    commands = top.add_subparsers(title="commands", dest="command", required=True)

    add = commands.add_parser(
        "eval",
        help="evaluate predictions in files of any size",
        epilog=EVAL_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_argument
    add("files", nargs="+", metavar="FILE", help="file, folder, glob or URI; - is standard input")
    add("--task", choices=METRICS, required=True)
    add("--target", action="append", metavar="COLUMNS", help="the true labels")
    add("--preds", action="append", metavar="COLUMNS", help="the predictions, a column per class")
    add("--token-log-probs", action="append", metavar="COLUMN",
        help="of sequence, in place of both: the log-probabilities of its tokens")  # fmt: skip
    add("--kind", choices=("probs", "log_probs", "logits"), help="what the predictions are (default: probs)")
    add("--weight", metavar="COLUMN", help="a weight per row")
    add("--by", action="append", metavar="COLUMNS", help="a result for each group of rows with equal keys")
    add("--by-time", metavar="COLUMN", help="a result for each --period of these times")
    add("--period", metavar="PERIOD", help="such as 15min, 1h or 1d, with --by-time")
    add("--cluster", metavar="COLUMN", help="rows of a document, user or session, which are alike")
    add("--classes", type=_names, metavar="A,B,...", help="the classes, in the predictions' order")
    add("--ignore-index", type=int, metavar="LABEL", help="a label that does not count (of sequences: -100)")
    add("--per", choices=("token", "sequence", "label", "frame", "utterance"),
        help="what the mean of sequence (default: token) or ctc (label) is taken over")  # fmt: skip
    add("--blank", type=int, metavar="CLASS", help="of ctc: the class that stands for no label (default: 0)")
    add("--n-words", metavar="COLUMN", help="words of the text of each sequence")
    add("--n-bytes", metavar="COLUMN", help="bytes of the text of each sequence")
    add("--invalid", choices=("raise", "skip"), default="raise",
        help="stop at an invalid row, or count it and go on (default: raise)")  # fmt: skip
    add("--eps", type=float, help="floor of the true class's probability (default: 2**-52)")
    add("--label-smoothing", type=float, metavar="A", help="(default: 0)")
    add("--threads", type=_positive, metavar="N", help="threads of the computation")
    add("--chunk-rows", type=_positive, metavar="N", help="rows read at a time; no result changes")
    add("--state", metavar="FILE", help="write the state here, to merge or show later")
    add("--resume", action="store_true", help="go on where a run that was stopped left off")
    add("--checkpoint-every", type=_seconds, default=3.0, metavar="SECONDS",
        help="with --resume: what a crash may cost, but for the chunk at hand (default: 3)")  # fmt: skip
    _add_interval(add)
    add("--json", action="store_true", help="print one JSON object instead of a table")

    add = commands.add_parser("merge", help="add up states").add_argument
    add("states", nargs="+", metavar="STATE")
    add("-o", "--output", required=True, metavar="STATE", help="where to write the sum")

    add = commands.add_parser("show", help="print the result of a state").add_argument
    add("state", metavar="STATE")
    _add_interval(add)
    add("--json", action="store_true", help="print one JSON object instead of a table")
    return top


def _add_interval(add: Callable[..., Any]) -> None:
    add("--level", type=_level, default=0.95, metavar="P", help="confidence level of intervals (default: 0.95)")
    add("--anytime", action="store_true", help="intervals that hold however often one looks at a growing stream")


def _level(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _names(text: str) -> list[str]:
    names = next(csv.reader([text], skipinitialspace=True))
    if len({*names}) < len(names) or "" in names:
        raise argparse.ArgumentTypeError("classes need names, each its own")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        top = parser()
        options, unknown = top.parse_known_args(argv)
        if unknown:
            top.prog += f" {options.command}"  # whose --help has the options that there are
            top.error(f"unrecognized arguments: {' '.join(unknown)}")
        status = {"eval": evaluate, "merge": merge, "show": show}[options.command](options)
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


def evaluate(options: argparse.Namespace) -> int:
    if pa is None:
        return _fail("reading files needs pyarrow: pip install 'streamce[cli]'", 2)
    if misfit := _misfit(options):
        return _fail(misfit, 2)
    if options.resume and options.state is None:
        return _fail("--resume needs --state, beside which it keeps its checkpoint", 2)
    if options.by_time and not options.period:
        return _fail("--by-time needs --period, such as 1h", 2)
    if options.period and not options.by_time:
        return _fail("--period needs --by-time, a column of times", 2)
    if options.cluster and (options.by or options.by_time):
        return _fail("--cluster does not go with --by and --by-time: rows count as independent within groups", 2)
    if options.state is not None and (refusal := _refusal(options.state)):
        return _fail(f"--state {options.state}: {refusal}", 2)
    try:
        threads.limit(options.threads)
    except ce.InputError as error:  # of STREAMCE_NUM_THREADS
        return _fail(str(error), 2)
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
        reading: chunks.Reading
        if options.task in nested.TASKS:
            task = options.task, options.token_log_probs is not None, max(2, 1 + (options.blank or 0))
            reading = nested.Reading(sources, chooser, options.chunk_rows, beside, *task)
        else:
            reading = chunks.Reading(sources, chooser, *AXES[options.task], options.chunk_rows, beside)
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
    try:
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
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # whoever read the result left, or there is no room for it: the state is still asked for
        if status := _finish(metric, options.state, progress, run):
            return status
        raise
    return _finish(metric, options.state, progress, run)


def _misfit(options: argparse.Namespace) -> str | None:
    """What is missing, or does not go together, or None; settles what the predictions are."""
    for name, tasks in OF_TASKS.items():
        if getattr(options, name) is not None and options.task not in tasks:
            return f"--{name.replace('_', '-')} is no option of --task {options.task}"
    if options.token_log_probs is not None:
        for name in ("preds", "target", "ignore_index", "label_smoothing"):
            if getattr(options, name) is not None:
                return f"--{name.replace('_', '-')} does not go with --token-log-probs"
        if options.kind not in (None, "log_probs"):
            return f"--kind {options.kind} does not go with --token-log-probs"
        options.preds, options.kind = options.token_log_probs, "log_probs"
    elif options.target is None:
        return "the following arguments are required: --target (see streamce eval --help)"
    if (options.n_words or options.n_bytes) and (options.by or options.by_time):
        return "--n-words and --n-bytes do not go with --by and --by-time"
    options.kind = options.kind or "probs"
    return None


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
    names = ("kind", "label_smoothing", "ignore_index", "eps", "per", "blank", "invalid", "threads")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if labels:
        given["ignore_index"] = labels.ignore_index
    grouped = options.by or options.by_time
    if options.task == "multilabel":
        given["per_label"] = not grouped
    try:
        metric = METRICS[options.task](**given)
        return ce.Grouped(metric, period=options.period) if grouped else metric
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
                    raise files.DataError(f"{chunk.source}: {_place(chunk, error, labels)}") from error
                progress.rows += chunk.rows
                progress.classes = labels.classes if labels else None
                progress.at = chunk.end
                if run is not None:
                    run.save(metric, progress)
                if bar is not None:
                    if chunk.fraction:  # exact for one file that knows its length, else near
                        bar.total = round(progress.rows / chunk.fraction)
                    bar.update(chunk.rows)
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


def _place(chunk: chunks.Chunk, error: ce.InputError, labels: columns.Labels | None) -> str:
    """What was wrong, told by row and column of the file instead of the arrays' indices."""
    message = str(error).replace('kind="logits"', "--kind logits")
    if (argument := str(error.argument)).startswith(("by", "cluster")):
        return _place_of_key(chunk, argument, error, message)
    if chunk.more:
        return nested.place(chunk, error).replace('kind="logits"', "--kind logits")
    if error.index is None:
        for argument in ("preds", "target", "weight"):
            if message.startswith(f"{argument} "):
                names = columns.listed(chunk.selection.columns(argument))
                return f"column {names}{message.removeprefix(argument)}"
        return message
    if error.cause == "invalid_null":
        row = error.index[0]
        return f"row {chunk.first_row + row}: column '{chunk.null_column(row)}' holds a null"
    row, column, value = chunk.cell(argument, error.index)
    where = f"row {row}: " + (argument if column is None else f"column '{column}'")
    if labels and argument == "target":
        return f"{where} is {value!r}: expected {labels.expected}"
    return where + message.removeprefix(f"{argument}[{', '.join(map(str, error.index))}]")


def _place_of_key(chunk: chunks.Chunk, argument: str, error: ce.InputError, message: str) -> str:
    """The same of a column of keys: ``by[1]`` is the second of them."""
    part, _, number = argument.removesuffix("]").partition("[")
    names = chunk.selection.columns(part)
    found = message.removeprefix(argument)
    if error.index is None:
        where = f"column {columns.listed(names[int(number)] if number else names)}"
    else:
        where = f"row {chunk.first_row + error.index[0]}: column '{names[int(number or 0)]}'"
        found = found.removeprefix(f"[{error.index[0]}]")
    return f"{where}{found}"


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
    print(f"{options.output}: {_many(len(options.states), 'state')}, {_many(results.whole(merged).samples, 'sample')}")
    return 0


def show(options: argparse.Namespace) -> int:
    metric = ce.load(options.state)
    if options.json:
        results.print_json(metric, options.level, options.anytime)
    else:
        print(f"{options.state}: {metric!r}")
        results.print_table(metric, options.level, options.anytime)
    return 0
