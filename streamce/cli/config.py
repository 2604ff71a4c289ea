"""The options of a command, checked and complete.

The rest of the command line takes a configuration where ``argparse`` has a namespace. Fields have the names of the
options. A configuration does not change, because all stages of a run share it, and can be pickled, because the workers
of a cluster get a copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import streamce as ce
from streamce.metrics.base import Metric
from streamce.reading.files.read_options import ReadOptions
from streamce.stats.discoveries import FDR, MIN_SAMPLES

METRICS: dict[str, type[Metric]] = {
    "binary": ce.BinaryCrossEntropy,
    "multiclass": ce.MulticlassCrossEntropy,
    "multilabel": ce.MultilabelCrossEntropy,
    "sequence": ce.SequenceCrossEntropy,
    "ctc": ce.CTCCrossEntropy,
}
# The metrics of --normalized, and the options that they do not have.
NORMALIZED: dict[str, type[ce.NormalizedEntropy | ce.MulticlassNormalizedEntropy]] = {
    "binary": ce.NormalizedEntropy,
    "multiclass": ce.MulticlassNormalizedEntropy,
}
NOT_OF_NORMALIZED = {
    "binary": ("calibration", "divergence", "ignore_index", "label_smoothing", "tail"),
    "multiclass": ("calibration", "cluster", "divergence", "label_smoothing", "tail"),
}
LOSS_OPTIONS = ("kind", "label_smoothing", "ignore_index", "eps", "per", "blank", "invalid", "threads",
                "calibration", "divergence", "tail")  # fmt: skip


class View(NamedTuple):
    """What of a result is printed.

    ``labels`` are the names of the labels of a multilabel metric. Groups with fewer than ``min_samples`` are left out.
    ``fdr`` is the false discovery rate of groups of two models.
    """

    level: float = 0.95
    anytime: bool = False
    labels: Sequence[str] = ()
    min_samples: int | None = None
    fdr: float | None = None

    @property
    def least(self) -> int:
        """The samples of a group that is ranked."""
        return self.min_samples or 0

    @property
    def least_to_decide(self) -> int:
        """The samples of a group that can fail a gate, or be a discovery."""
        return MIN_SAMPLES if self.min_samples is None else self.min_samples

    @property
    def discovery_options(self) -> dict[str, Any]:
        """The arguments of ``Grouped.discoveries``."""
        rate = FDR if self.fdr is None else self.fdr
        return {"fdr": rate, "anytime": self.anytime, "min_samples": self.least_to_decide}


@dataclass(frozen=True, kw_only=True)
class RowsConfig:
    """The options of a command that reads rows: which columns, which loss, and how to read and print.

    An option that was not given is None, or empty if it can be repeated.
    """

    # columns
    preds: tuple[str, ...]
    target: tuple[str, ...]
    weight: str | None
    cluster: str | None
    by: tuple[str, ...] = ()
    by_time: str | None = None
    time_unit: str | None = None
    period: str | None = None
    n_words: str | None = None
    n_bytes: str | None = None
    token_log_probs: tuple[str, ...] = ()  # if given, ``preds`` are the same
    log_base: str | None = None
    classes: tuple[str, ...] | None
    # the loss
    task: str
    kind: str
    normalized: bool | None = None
    label_smoothing: float | None
    ignore_index: int | None
    eps: float | None
    per: str | None = None
    blank: int | None = None
    invalid: str
    threads: int | None
    calibration: bool | None = None
    divergence: bool | None = None
    tail: bool | None = None
    # reading and printing
    chunk_rows: int | None
    max_record: int
    quote: str | None = None
    format: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    null: tuple[str, ...] = ()
    state: str | None
    level: float
    anytime: bool
    json: bool
    min_samples: int | None = None
    fdr: float | None = None

    @property
    def view(self) -> View:
        """What of the result is printed."""
        return View(self.level, self.anytime, min_samples=self.min_samples, fdr=self.fdr)

    @property
    def loss_options(self) -> dict[str, Any]:
        """The options given that are arguments of a metric."""
        return {name: value for name in LOSS_OPTIONS if (value := getattr(self, name)) is not None}

    @property
    def is_grouped(self) -> bool:
        """Whether there is a result for each group. The times of a watch are those of its windows."""
        return bool(self.by or self.period)

    @property
    def read_options(self) -> ReadOptions:
        """The options of reading files."""
        return ReadOptions(
            self.max_record,
            self.quote,
            self.invalid == "skip",
            self.format,
            self.delimiter,
            self.decimal,
            self.encoding,
            self.null,
            self.threads,
        )

    @property
    def base(self) -> float:
        """The base of the log-probabilities of tokens."""
        return math.e if self.log_base in (None, "e") else float(str(self.log_base))


@dataclass(frozen=True, kw_only=True)
class EvalConfig(RowsConfig):
    """The options of ``streamce eval``."""

    files: tuple[str, ...]
    resume: bool
    fail_above: float | None
    checkpoint_every: float
    engine: str
    address: str | None

    @property
    def is_on_cluster(self) -> bool:
        return self.engine != "threads"


@dataclass(frozen=True, kw_only=True)
class CompareConfig(RowsConfig):
    """The options of ``streamce compare``."""

    files: tuple[str, ...]
    preds_b: tuple[str, ...]
    key: tuple[str, ...]
    by_position: bool
    fail_if_worse: float | None


@dataclass(frozen=True, kw_only=True)
class WatchConfig(RowsConfig):
    """The options of ``streamce watch``."""

    source: str
    window: tuple[str, ...]
    step: str | None
    checkpoint_every: float
    port: int | None
    host: str
    allowed_host: tuple[str, ...]
    alert_above: float | None
    alert_below: float | None
    reference: str | None
    alert_samples: int
    poll: float
    once: bool
    until_idle: float | None


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """The options of ``streamce merge``."""

    states: tuple[str, ...]
    output: str


@dataclass(frozen=True, kw_only=True)
class DiffConfig:
    """The options of ``streamce diff``."""

    a: str
    b: str
    json: bool


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """The options of ``streamce show``."""

    state: str
    level: float
    anytime: bool
    json: bool
    min_samples: int | None
    fdr: float | None


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """The options of ``streamce report``."""

    states: tuple[str, ...]
    output: str
    title: str | None
    classes: tuple[str, ...] | None
    level: float
    anytime: bool
    min_samples: int | None
    fdr: float | None


Config = EvalConfig | CompareConfig | WatchConfig | MergeConfig | DiffConfig | ShowConfig | ReportConfig
