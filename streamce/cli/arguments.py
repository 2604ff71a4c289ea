"""The words of a command line, parsed to the configuration of a command.

Checks everything that can be checked without opening a file. ``argparse.Namespace`` does not leave this module. The
values of single options are converted in ``option_values``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Any, NoReturn

import streamce as ce
from streamce._support import printable
from streamce.cli.config import (
    METRICS,
    NOT_OF_NORMALIZED,
    CompareConfig,
    Config,
    DiffConfig,
    EvalConfig,
    MergeConfig,
    ReportConfig,
    ShowConfig,
    WatchConfig,
)
from streamce.cli.option_values import (
    count,
    delimiter,
    encoding,
    finite_number,
    host,
    length,
    level,
    margin,
    names,
    port,
    positive,
    quote,
    seconds,
    size,
)
from streamce.errors import SelectionError
from streamce.reading.files.read_options import MAX_RECORD
from streamce.stats.discoveries import FDR, MIN_SAMPLES

CONFIGS: dict[str, type[Config]] = {
    "eval": EvalConfig,
    "compare": CompareConfig,
    "watch": WatchConfig,
    "merge": MergeConfig,
    "diff": DiffConfig,
    "show": ShowConfig,
    "report": ReportConfig,
}
ROW_TASKS = ("binary", "multiclass", "multilabel")  # tasks whose rows are not sequences
# The options that only some tasks have, with these tasks.
TASKS_OF_OPTION = {
    "classes": ROW_TASKS,
    **dict.fromkeys(("eps", "ignore_index", "label_smoothing"), (*ROW_TASKS, "sequence")),
    **dict.fromkeys(("token_log_probs", "log_base", "n_words", "n_bytes"), ("sequence",)),
    "per": ("sequence", "ctc"),
    "blank": ("ctc",),
    "calibration": ("binary", "multiclass"),
    "normalized": ("binary", "multiclass"),
    "divergence": ROW_TASKS,
}


def parse(argv: Sequence[str] | None = None) -> Config:
    """Return the configuration of a command.

    Raises SystemExit after help and after usage errors that argparse finds, and SelectionError for options that cannot
    be combined.
    """
    top = parser()
    options, unknown = top.parse_known_args(_with_signs(sys.argv[1:] if argv is None else argv))
    if unknown:
        top.prog += f" {options.command}"  # its --help lists the options
        top.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command in ("eval", "compare"):
        _check_groups(options)
    if options.command == "eval":
        _check_eval(options)
    elif options.command == "compare":
        _check_compare(options)
    elif options.command == "watch" and options.allowed_host and options.port is None:
        raise SelectionError("--allowed-host needs --port")
    if _is_given(options, "time_unit") and not options.by_time:
        raise SelectionError("--time-unit needs --by-time, a column of times")
    if options.command in ("eval", "compare", "watch"):
        _check_task(options)
        _complete(options)
    values: dict[str, Any] = vars(options)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return CONFIGS[values.pop("command")](**values)


def _with_signs(words: Sequence[str]) -> list[str]:
    """Return the words with each value that begins with a sign joined to its option: ``--classes=-1,1``.

    argparse would take such a value for an option, unless it is one number.
    """
    joined: list[str] = []
    for word in words:
        option = joined[-1] if joined else ""
        if re.match(r"-[^-A-Za-z]", word) and re.fullmatch(r"--[a-z-]+", option) and "--" not in joined:
            joined[-1] = f"{option}={word}"
        else:
            joined.append(word)
    return joined


# ---- options that fit together ----


def _check_eval(options: argparse.Namespace) -> None:
    """Raise SelectionError if options of ``eval`` cannot be combined."""
    if options.resume and options.state is None:
        raise SelectionError("--resume needs --state, because its checkpoint is written beside the state")
    if options.address is not None and options.engine == "threads":
        raise SelectionError("--address needs --engine dask, spark or ray")


def _check_compare(options: argparse.Namespace) -> None:
    """Raise SelectionError if options of ``compare`` cannot be combined."""
    if options.key and options.by_position:
        raise SelectionError("--key cannot be combined with --by-position, because rows are paired by one of the two")


def _check_groups(options: argparse.Namespace) -> None:
    """Raise SelectionError if the options of groups cannot be combined."""
    if options.by_time and not options.period:
        raise SelectionError("--by-time needs --period, such as 1h")
    if options.period and not options.by_time:
        raise SelectionError("--period needs --by-time, a column of times")
    for name in ("min_samples", "fdr"):
        if _is_given(options, name) and not (options.by or options.by_time):
            raise SelectionError(f"{_option(name)} needs --by or --by-time, because it is about groups")


def _check_task(options: argparse.Namespace) -> None:
    """Raise SelectionError if an option does not fit the task, or the target is missing."""
    for name, tasks in TASKS_OF_OPTION.items():
        if _is_given(options, name) and options.task not in tasks:
            raise SelectionError(f"{_option(name)} is not an option of --task {options.task}")
    if _is_given(options, "normalized"):
        for name in NOT_OF_NORMALIZED[options.task]:
            if _is_given(options, name):
                raise SelectionError(
                    f"{_option(name)} cannot be combined with --normalized of --task {options.task}, whose metric "
                    "has no such option"
                )
    if not _is_given(options, "token_log_probs"):
        if _is_given(options, "log_base"):
            raise SelectionError("--log-base needs --token-log-probs, whose base it is")
        if not options.target:
            help_ = f"(see streamce {options.command} --help)"
            raise SelectionError(f"the following arguments are required: --target {help_}")
        return
    for name in ("preds", "target", "ignore_index", "label_smoothing"):
        if _is_given(options, name):
            raise SelectionError(f"{_option(name)} cannot be combined with --token-log-probs")
    if options.kind not in (None, "log_probs"):
        raise SelectionError(f"--kind {options.kind} cannot be combined with --token-log-probs")


def _complete(options: argparse.Namespace) -> None:
    """Set the predictions and their kind if other options decide them."""
    if _is_given(options, "token_log_probs"):
        options.preds, options.kind = options.token_log_probs, "log_probs"
    options.kind = options.kind or "probs"


def _is_given(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name, None) not in (None, [])


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


# ---- the parser ----


class Parser(argparse.ArgumentParser):
    """A parser that reports usage errors in one line and accepts only whole names of options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"streamce: error: {printable.line(message)} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = Parser(prog="streamce", description="Measure cross-entropy (log loss) over streams, exactly.")
    top.add_argument("--version", action="version", version=f"streamce {ce.__version__}")
    commands = top.add_subparsers(title="commands", dest="command", required=True)
    _add_eval(commands)
    _add_compare(commands)
    _add_watch(commands)

    add = commands.add_parser("merge", help="add states").add_argument
    add("states", nargs="+", metavar="STATE", help="a file that --state or save() wrote")
    add("-o", "--output", required=True, metavar="STATE", help="where to write the sum")

    add = _add_command(commands, "diff", "compare two states that should be equal")
    add("a", metavar="A", help="a file that --state or save() wrote")
    add("b", metavar="B", help="another one")
    add("--json", action="store_true", help="print one JSON object instead of a table")

    add = commands.add_parser("show", help="print the result of a state").add_argument
    add("state", metavar="STATE", help="a file that --state or save() wrote")
    _add_min_samples(add)
    _add_fdr(add)
    _add_printing(add)

    add = commands.add_parser("report", help="draw states as one HTML file").add_argument
    add("states", nargs="+", metavar="STATE", help="a file that --state or save() wrote")
    add("-o", "--output", required=True, metavar="FILE",
        help="where to write the page, such as report.html; - is standard output")  # fmt: skip
    add("--title", metavar="TEXT", help="the heading (default: the name of the metric)")
    add("--classes", type=names, metavar="A,B,...", help="names of the classes or labels, in their order")
    _add_min_samples(add)
    _add_fdr(add)
    _add_intervals(add)
    return top


def _add_command(commands: Any, name: str, summary: str) -> Callable[..., Any]:
    """Add a command with its page of help, and return the function that adds its options."""
    page = resources.files(__package__).joinpath("help", f"{name}.txt").read_text(encoding="utf-8")
    raw = argparse.RawDescriptionHelpFormatter
    add: Callable[..., Any] = commands.add_parser(name, help=summary, epilog=page, formatter_class=raw).add_argument
    return add


def _add_eval(commands: Any) -> None:
    add = _add_command(commands, "eval", "evaluate predictions in files of any size")
    add("files", nargs="+", metavar="FILE", help="file, folder, glob or URI; - is standard input")
    _add_columns(add, METRICS, "--preds")
    _add_task_options(add)
    _add_groups(add)
    _add_rules(add)
    _add_text_options(add)
    add("--resume", action="store_true", help="resume a run that was stopped")
    add("--checkpoint-every", type=seconds, default=3.0, metavar="SECONDS",
        help="with --resume: the time between checkpoints: a crash costs about this much work "
        "(default: 3)")  # fmt: skip
    add("--engine", choices=("threads", "dask", "spark", "ray"), default="threads",
        help="run on threads of this machine (default) or on a cluster")  # fmt: skip
    add("--address", metavar="ADDRESS", help="address of the cluster (default: start one on this machine for this run)")
    add("--fail-above", type=finite_number, metavar="X", help="exit with status 3 if the mean loss, or the "
        "normalized entropy, is above X beyond chance; with --by in any group")  # fmt: skip
    _add_printing(add)


def _add_compare(commands: Any) -> None:
    add = _add_command(commands, "compare", "compare two models' predictions of the same rows")
    add("files", nargs="+", metavar="FILE", help="the file of A and the file of B, or one for both; "
        "- is standard input")  # fmt: skip
    _add_columns(add, ROW_TASKS, "--preds", "--preds-a")
    add(
        "--preds-b",
        action="append",
        default=[],
        metavar="COLUMNS",
        help="the predictions of B (default: the same names as for A)",
    )
    add("--key", action="append", default=[], metavar="COLUMN", help="match the rows of two files by the values of "
        "this column, in any order; may be repeated")  # fmt: skip
    add("--by-position", action="store_true", help="pair the rows of two files by their position, without a check that "
        "the other columns that both have are equal")  # fmt: skip
    _add_groups(add)
    _add_fdr(add)
    add("--fail-if-worse", type=margin, nargs="?", const=0.0, metavar="MARGIN", help="exit with status 3 if B is "
        "worse than A by more than MARGIN nats (default: 0) beyond chance; with --by in any group")  # fmt: skip
    _add_rules(add)
    _add_text_options(add)
    _add_printing(add)


def _add_watch(commands: Any) -> None:
    add = _add_command(commands, "watch", "follow predictions while they are written")
    add("source", metavar="SOURCE", help="file of JSON lines, or folder of Parquet files; - is JSON lines on "
        "standard input")  # fmt: skip
    _add_columns(add, METRICS, "--preds")
    _add_task_options(add)
    add("--window", action="append", default=[], metavar="LENGTH", help="a window of the last LENGTH samples, or of a "
        "period such as 1h (default: 10000); may be repeated")  # fmt: skip
    add("--by-time", metavar="COLUMN", help="times of the rows, for windows of a period")
    _add_time_unit(add)
    add(
        "--step",
        type=length,
        metavar="PERIOD",
        help="the step by which a window of a period moves (default: a 60th of it)",
    )
    _add_rules(add)
    _add_encoding(add)
    add("--checkpoint-every", type=seconds, default=3.0, metavar="SECONDS",
        help="with --state: the time between checkpoints (default: 3)")  # fmt: skip
    add(
        "--port",
        type=port,
        metavar="PORT",
        help="serve /metrics to Prometheus on this port; 0 takes a free one",
    )
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    add("--allowed-host", type=host, action="append", default=[], metavar="NAME",
        help="answer requests for this host name, with any port; may be repeated (default: on loopback "
        "localhost, 127.0.0.0/8 and ::1; elsewhere all names)")  # fmt: skip
    add("--alert-above", type=finite_number, metavar="X", help="alert while the mean of a window in nats, or its "
        "normalized entropy, is above this bound")  # fmt: skip
    add("--alert-below", type=finite_number, metavar="X", help="alert while it is below this bound")
    add("--reference", metavar="STATE", help="alert while the interval of a window does not overlap that of this state")
    add("--alert-samples", type=positive, default=100, metavar="N",
        help="check a window only if it holds this many samples; at most half of a window of samples "
        "(default: 100)")  # fmt: skip
    add("--poll", type=seconds, default=0.5, metavar="SECONDS", help="the time between checks of the source "
        "(default: 0.5)")  # fmt: skip
    add("--once", action="store_true", help="read everything that exists, and end")
    add(
        "--until-idle",
        type=seconds,
        metavar="SECONDS",
        help="end when no rows have arrived for this time",
    )
    _add_printing(add)


def _add_columns(add: Callable[..., Any], tasks: Iterable[str], *preds: str) -> None:
    add("--task", choices=tasks, required=True, help="the kind of prediction")
    add("--target", action="append", default=[], metavar="COLUMNS", help="the true labels")
    add(*preds, action="append", default=[], metavar="COLUMNS", help="the predictions, one column per class")
    add("--kind", choices=("probs", "log_probs", "logits"), help="the content of the predictions (default: probs)")
    add("--weight", metavar="COLUMN", help="the weight of each row")
    add("--cluster", metavar="COLUMN", help="the document, user or session of each row: rows with the same value may "
        "be correlated")  # fmt: skip


def _add_groups(add: Callable[..., Any]) -> None:
    add("--by", action="append", default=[], metavar="COLUMNS", help="a result for each group of rows with equal keys")
    add("--by-time", metavar="COLUMN", help="a result for each --period of the times in this column")
    _add_time_unit(add)
    add("--period", type=length, metavar="PERIOD", help="with --by-time: the length of a period, such as 15min, 1h or "
        "60, in seconds")  # fmt: skip
    _add_min_samples(add)


def _add_min_samples(add: Callable[..., Any]) -> None:
    add("--min-samples", type=count, metavar="N", help="of groups: leave out those with fewer samples (default: 0; "
        f"for discoveries and gates {MIN_SAMPLES})")  # fmt: skip


def _add_fdr(add: Callable[..., Any]) -> None:
    add("--fdr", type=level, metavar="RATE", help="of groups of two models: the expected share of false ones among "
        f"the groups in which the models are said to differ (default: {FDR})")  # fmt: skip


def _add_task_options(add: Callable[..., Any]) -> None:
    add("--token-log-probs", action="append", default=[], metavar="COLUMN",
        help="sequence: log-probabilities of the chosen tokens, in place of --preds and --target")  # fmt: skip
    add("--log-base", choices=("2", "10", "e"),
        help="sequence: the base of --token-log-probs: 10 for KenLM and SRILM, 2 for fairseq (default: e)")  # fmt: skip
    add("--per", choices=("token", "sequence", "label", "frame", "utterance"),
        help="sequence, ctc: the unit of the mean (default: token for sequence, label for ctc)")  # fmt: skip
    add("--blank", type=int, metavar="CLASS", help="ctc: the class that stands for no label (default: 0)")
    add("--n-words", metavar="COLUMN", help="sequence: the number of words in the scored text of each row")
    add("--n-bytes", metavar="COLUMN", help="sequence: the number of bytes in the scored text of each row")
    add("--normalized", action="store_true", default=None, help="binary, multiclass: print the normalized entropy, "
        "which is the mean loss over that of always predicting the frequencies")  # fmt: skip
    add("--tail", action="store_true", default=None, help="print quantiles of the losses, and the share of the worst "
        "1 %%")  # fmt: skip
    add("--calibration", action="store_true", default=None,
        help="binary, multiclass: print how well predicted probabilities agree with observed frequencies")  # fmt: skip
    add("--divergence", action="store_true", default=None,
        help="for soft targets: print their entropy, and the divergence of the predictions from them")  # fmt: skip


def _add_rules(add: Callable[..., Any]) -> None:
    add(
        "--classes",
        type=names,
        metavar="A,B,...",
        help="names of the classes, in the order of the predictions",
    )
    add("--ignore-index", type=int, metavar="LABEL", help="a label that does not count")
    add("--invalid", choices=("raise", "skip"), default="raise",
        help="stop at an invalid row, or skip and count it (default: raise)")  # fmt: skip
    add("--eps", type=float, help="floor of the true class's probability (default: 2**-52)")
    add("--label-smoothing", type=float, metavar="A", help="share of the target's probability that is moved evenly to "
        "all classes (default: 0)")  # fmt: skip
    add("--threads", type=positive, metavar="N", help="number of threads (default: STREAMCE_NUM_THREADS, or "
        "one per processor)")  # fmt: skip
    add(
        "--chunk-rows",
        type=positive,
        metavar="N",
        help="number of rows read at a time; it changes no result",
    )
    add("--max-record", type=size, default=MAX_RECORD, metavar="BYTES",
        help="the longest row of CSV or line of JSON: 500K, 64M, 1G (default: 64M)")  # fmt: skip
    add("--state", metavar="STATE", help="write the state to this file, to merge or show later")


def _add_text_options(add: Callable[..., Any]) -> None:
    add("--format", choices=("csv", "tsv", "jsonl", "json", "parquet", "arrow", "npy", "npz"),
        help="the format of all files (default: by their endings or first bytes)")  # fmt: skip
    add("--delimiter", type=delimiter, metavar="CHAR", help="the character between cells of CSV and TSV, such as ';' "
        "or '\\t' (default: a comma in CSV, a tab in TSV)")  # fmt: skip
    add("--decimal", choices=(".", ","), help="the decimal point of numbers in CSV and TSV (default: .)")
    _add_encoding(add)
    add("--null", action="append", default=[], metavar="TEXT", help="a cell of CSV or TSV that is a missing value, "
        "such as None; may be repeated (always, in columns of numbers: NA, N/A, NULL, null, and empty)")  # fmt: skip
    add("--quote", type=quote, metavar="CHAR", help="the character that encloses cells of CSV and TSV, or '' for none "
        "(default: \" in CSV, none in TSV)")  # fmt: skip


def _add_encoding(add: Callable[..., Any]) -> None:
    add("--encoding", type=encoding, metavar="NAME", help="the encoding of CSV, TSV and JSON, such as latin-1 or "
        "utf-16 (default: utf-8)")  # fmt: skip


def _add_time_unit(add: Callable[..., Any]) -> None:
    add("--time-unit", choices=("s", "ms", "us", "ns"), help="with --by-time: the unit of numbers, which count from "
        "the start of 1970 (default: s)")  # fmt: skip


def _add_printing(add: Callable[..., Any]) -> None:
    _add_intervals(add)
    add("--json", action="store_true", help="print one JSON object instead of a table")


def _add_intervals(add: Callable[..., Any]) -> None:
    add(
        "--level",
        type=level,
        default=0.95,
        metavar="P",
        help="confidence level of intervals (default: 0.95)",
    )
    add("--anytime", action="store_true", help="intervals that stay valid for repeated looks at a growing stream")
