"""What the command line takes: commands, their options, and what these stand for."""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import streamce as ce
from streamce._support import printable
from streamce.metrics.base import Metric

METRICS: dict[str, type[Metric]] = {
    "binary": ce.BinaryCrossEntropy,
    "multiclass": ce.MulticlassCrossEntropy,
    "multilabel": ce.MultilabelCrossEntropy,
    "sequence": ce.SequenceCrossEntropy,
    "ctc": ce.CTCCrossEntropy,
}
SUMS = ("calibration", "divergence", "tail")  # options that ask for more than the mean
PLAIN = ("binary", "multiclass", "multilabel")  # tasks of rows that are no sequences
# The tasks of options that not all tasks have.
OF_TASKS = {
    "classes": PLAIN,
    **dict.fromkeys(("eps", "ignore_index", "label_smoothing"), (*PLAIN, "sequence")),
    **dict.fromkeys(("token_log_probs", "n_words", "n_bytes"), ("sequence",)),
    "per": ("sequence", "ctc"),
    "blank": ("ctc",),
    "calibration": ("binary", "multiclass"),
    "divergence": PLAIN,
}
MAX_RECORD = 1 << 26  # the same as in streamce.reading.sources, which needs pyarrow
LARGEST_RECORD = 1 << 30  # Arrow's readers of text count bytes in 32 bits
EVAL_HELP = """\
files
  Parquet (.parquet .pq), Arrow IPC (.arrow .arrows .feather .ipc), CSV with a header (.csv
  .tsv), JSON lines (.json .jsonl .ndjson), NumPy (.npy .npz); other endings are told by their
  first bytes. CSV and JSON may end in .gz .bz2 .zst .lz4. A row of CSV or a line of JSON that
  is longer than --max-record, unpacked, is an error. A folder stands for all files in it with
  these endings, at any depth, but for names that begin with "_" or ".". Globs work for URIs too
  (quote them). "-" is an Arrow stream or CSV on standard input.

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
  Tokens of -100, or --ignore-index, do not count.
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
  STATE.checkpoint before that. Only one run at a time can write a STATE: a second one ends with
  status 2.

clusters
  --engine dask or spark evaluates on a cluster, whose machines must see the files by the same paths and have
  streamce installed: the same result and state, byte for byte. --address is tcp://HOST:PORT of a Dask scheduler;
  spark://HOST:PORT, local[N] or sc://HOST:PORT (Connect) of Spark. Files are parts; large Parquet and Arrow files are
  cut into several. --threads is then what each part takes (default: 1).

Rows in errors count from 0 within their file, a CSV header apart. Exit status: 0, 1 (bad
data, or a file that cannot be read or written), 2 (usage, such as an unknown column).
"""

COMPARE_HELP = """\
A and B are predictions of the same rows in the same order: of two files (each a file, a folder, a
glob in quotes or a URI, in any format of eval), or of two sets of columns of one file:

  streamce compare old.parquet new.parquet --task multiclass --target label --preds 'p_*'
  streamce compare clicks.csv --task binary --target y --preds-a old --preds-b new

The target, the weight and the cluster are those of A's file. Where B's has the target too, the two
must be equal row for row; the numbers of rows must be the same. Columns stand for the same classes
in both. A row that is invalid for either model is skipped, or stopped at, for both.

A - B is the mean of the differences of the losses, below 0 where A is better. Its interval, p-value
and verdict are those of one look at all rows; with --anytime they hold however often one looks at
files, or states, that grow. --cluster makes them robust to rows of one document, user or session
being alike. --state keeps the comparison, to merge and show as any other.

Columns, labels and the exit status are those of streamce eval --help.
"""


WATCH_HELP = """\
sources
  A file of JSON lines, which grows; a line counts when its end has come, and columns hold what the
  first line has them hold. A line that is longer than --max-record is an error. A folder that
  receives Parquet files, at any depth, but for names that begin with "_" or "."; a file counts once
  it has its footer, best by renaming it into the folder.
  "-" is JSON lines on standard input. What becomes of files that are renamed, shrink, disappear or
  change, and all that is exported, is in docs/MONITORING.md.

windows
  The total is kept, and a window for each --window: the last so many samples, or a period of the
  times in --by-time, which moves by --step.

state
  --state keeps the total in STATE, as streamce eval writes it, and what goes on from it, windows
  and position, in STATE.checkpoint. The same command again goes on: each row counts once, whatever
  stopped the one before. Standard input has no position: what it brings is added. Only one run
  at a time can write a STATE: a second one ends with status 2.

serving
  --port serves /metrics, on loopback unless --host says otherwise. On loopback, only requests for
  the host names of loopback and of --allowed-host are answered. On other addresses all requests
  are answered, or only those for --allowed-host if it is given. The number of connections and the
  time of each are limited.

alerts
  A window is judged whenever rows were added. An alert begins and ends with a line on standard
  error, and is 1 in streamce_watch_alert while it lasts. --reference is a state as eval writes it.

Lines on standard error are: time in UTC, "streamce watch:", what there is to say. The result is
printed at the end, which --once, --until-idle, Ctrl-C or SIGTERM bring. Exit status: 0, 3 (there
was an alert), 1 (bad data, or a file that cannot be read on), 2 (usage, or a port in use).
Columns, labels and sequences are those of streamce eval --help.
"""


class Parser(argparse.ArgumentParser):
    """Usage errors in one line, and options by their whole names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"streamce: error: {printable.line(message)} (see {self.prog} --help)\n")


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
    _add_columns(add, METRICS, "--preds")
    _add_tasks(add)
    add("--by", action="append", metavar="COLUMNS", help="a result for each group of rows with equal keys")
    add("--by-time", metavar="COLUMN", help="a result for each --period of these times")
    add("--period", metavar="PERIOD", help="such as 15min, 1h or 1d, with --by-time")
    _add_rules(add)
    add("--resume", action="store_true", help="go on where a run that was stopped left off")
    add("--checkpoint-every", type=_seconds, default=3.0, metavar="SECONDS",
        help="with --resume: what a crash may cost, but for the chunk at hand (default: 3)")  # fmt: skip
    add("--engine", choices=("threads", "dask", "spark"), default="threads",
        help="what evaluates: threads of this machine (default), or a cluster")  # fmt: skip
    add("--address", metavar="ADDRESS", help="the cluster (default: one on this machine, for this run)")
    _add_interval(add)

    add = commands.add_parser(
        "compare",
        help="compare two models' predictions of the same rows",
        epilog=COMPARE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_argument
    add("files", nargs="+", metavar="FILE", help="those of A and of B, or one of both; - is standard input")
    _add_columns(add, PLAIN, "--preds", "--preds-a")
    add("--preds-b", action="append", metavar="COLUMNS", help="the predictions of B (default: named as those of A)")
    _add_rules(add)
    _add_interval(add)

    add = commands.add_parser(
        "watch",
        help="follow predictions that keep coming",
        epilog=WATCH_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_argument
    add("source", metavar="SOURCE", help="file of JSON lines, folder of Parquet files; - is lines on standard input")
    _add_columns(add, METRICS, "--preds")
    _add_tasks(add)
    add("--window", action="append", metavar="LENGTH", help="the last LENGTH samples, or a period such as 1h "
        "(default: 10000); may be repeated")  # fmt: skip
    add("--by-time", metavar="COLUMN", help="times of the rows, for windows of a period")
    add("--step", metavar="PERIOD", help="what windows of a period move by (default: a 60th of each)")
    _add_rules(add)
    add("--checkpoint-every", type=_seconds, default=3.0, metavar="SECONDS", help="with --state (default: 3)")
    add("--port", type=_port, metavar="PORT", help="serve /metrics to Prometheus there; 0 is any that is free")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: 127.0.0.1)")
    add("--allowed-host", type=_host, action="append", default=[], metavar="NAME",
        help="answer requests for this host name, with any port; may be repeated (default: on loopback "
        "localhost, 127.0.0.0/8 and ::1; elsewhere all names)")  # fmt: skip
    add("--alert-above", type=_finite, metavar="NATS", help="alert while a window's mean is above")
    add("--alert-below", type=_finite, metavar="NATS", help="alert while a window's mean is below")
    add("--reference", metavar="STATE", help="alert while a window's interval has nothing in common with this state's")
    add("--alert-samples", type=_positive, default=100, metavar="N",
        help="samples that a window holds before it is judged, at most half of its own (default: 100)")  # fmt: skip
    add("--poll", type=_seconds, default=0.5, metavar="SECONDS", help="how often to look (default: 0.5)")
    add("--once", action="store_true", help="read what is there, and end")
    add("--until-idle", type=_seconds, metavar="SECONDS", help="end once nothing has come for so long")
    _add_interval(add)

    add = commands.add_parser("merge", help="add up states").add_argument
    add("states", nargs="+", metavar="STATE")
    add("-o", "--output", required=True, metavar="STATE", help="where to write the sum")

    add = commands.add_parser("show", help="print the result of a state").add_argument
    add("state", metavar="STATE")
    _add_interval(add)

    add = commands.add_parser("report", help="draw states: one HTML file, without scripts").add_argument
    add("states", nargs="+", metavar="STATE")
    add(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="where to write it, such as report.html, or - for standard output",
    )
    add("--title", metavar="TEXT", help="the heading (default: what the metric is)")
    add("--classes", type=_names, metavar="A,B,...", help="names of the classes or labels, in their order")
    _add_level(add)
    return top


def _add_columns(add: Callable[..., Any], tasks: Iterable[str], *preds: str) -> None:
    add("--task", choices=tasks, required=True)
    add("--target", action="append", metavar="COLUMNS", help="the true labels")
    add(*preds, action="append", metavar="COLUMNS", help="the predictions, a column per class")
    add("--kind", choices=("probs", "log_probs", "logits"), help="what the predictions are (default: probs)")
    add("--weight", metavar="COLUMN", help="a weight per row")
    add("--cluster", metavar="COLUMN", help="rows of a document, user or session, which are alike")


def _add_tasks(add: Callable[..., Any]) -> None:
    add("--token-log-probs", action="append", metavar="COLUMN",
        help="of sequence, in place of both: the log-probabilities of its tokens")  # fmt: skip
    add("--per", choices=("token", "sequence", "label", "frame", "utterance"),
        help="what the mean of sequence (default: token) or ctc (label) is taken over")  # fmt: skip
    add("--blank", type=int, metavar="CLASS", help="of ctc: the class that stands for no label (default: 0)")
    add("--n-words", metavar="COLUMN", help="words of the text of each sequence")
    add("--n-bytes", metavar="COLUMN", help="bytes of the text of each sequence")
    add("--tail", action="store_true", default=None, help="quantiles of the losses, and what the worst 1 %% carry")
    add("--calibration", action="store_true", default=None,
        help="the loss that predictions expect of themselves, and how often they are right")  # fmt: skip
    add("--divergence", action="store_true", default=None,
        help="of soft targets: their entropy and the divergence apart")  # fmt: skip


def _add_rules(add: Callable[..., Any]) -> None:
    add("--classes", type=_names, metavar="A,B,...", help="the classes, in the predictions' order")
    add("--ignore-index", type=int, metavar="LABEL", help="a label that does not count")
    add("--invalid", choices=("raise", "skip"), default="raise",
        help="stop at an invalid row, or count it and go on (default: raise)")  # fmt: skip
    add("--eps", type=float, help="floor of the true class's probability (default: 2**-52)")
    add("--label-smoothing", type=float, metavar="A", help="(default: 0)")
    add("--threads", type=_positive, metavar="N", help="threads of the computation")
    add("--chunk-rows", type=_positive, metavar="N", help="rows read at a time; no result changes")
    add("--max-record", type=_bytes, default=MAX_RECORD, metavar="BYTES",
        help="most bytes of a row of CSV or a line of JSON: 500K, 64M, 1G (default: 64M)")  # fmt: skip
    add("--state", metavar="FILE", help="write the state here, to merge or show later")


def _add_interval(add: Callable[..., Any]) -> None:
    _add_level(add)
    add("--json", action="store_true", help="print one JSON object instead of a table")


def _add_level(add: Callable[..., Any]) -> None:
    add("--level", type=_level, default=0.95, metavar="P", help="confidence level of intervals (default: 0.95)")
    add("--anytime", action="store_true", help="intervals that hold however often one looks at a growing stream")


def misfit(options: argparse.Namespace) -> str | None:
    """What is missing, or does not go together, or None; settles what the predictions are."""
    for name, tasks in OF_TASKS.items():
        if getattr(options, name, None) is not None and options.task not in tasks:
            return f"--{name.replace('_', '-')} is no option of --task {options.task}"
    if getattr(options, "token_log_probs", None) is not None:
        for name in ("preds", "target", "ignore_index", "label_smoothing"):
            if getattr(options, name) is not None:
                return f"--{name.replace('_', '-')} does not go with --token-log-probs"
        if options.kind not in (None, "log_probs"):
            return f"--kind {options.kind} does not go with --token-log-probs"
        options.preds, options.kind = options.token_log_probs, "log_probs"
    elif options.target is None:
        return f"the following arguments are required: --target (see streamce {options.command} --help)"
    options.kind = options.kind or "probs"
    return None


def _level(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d{1,12})([KMG]?)B?", text.upper())
    size = int(found[1]) * 1024 ** " KMG".index(found[2] or " ") if found else 0
    if not 1 <= size <= LARGEST_RECORD:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes from 1 to 1G, such as 64M")
    return size


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _finite(text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, a whole number from 0 to 65535")
    return int(text)


def _host(text: str) -> str:
    name = text.removeprefix("[").removesuffix("]")
    if not name or re.search(r"[\s/@\[\]]", name) or name.count(":") == 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or address without a port")
    return name


def _names(text: str) -> list[str]:
    try:
        names = next(csv.reader([text], skipinitialspace=True))
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names: {error}") from error
    if len({*names}) < len(names) or "" in names:
        raise argparse.ArgumentTypeError("classes need names, each its own")
    return names
