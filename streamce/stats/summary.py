"""The summary of a metric: value, intervals and counters, and its text as a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from streamce._support.html_repr import HtmlRepr
from streamce._support.rational import GRID, quotient
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.kernels import kernels
from streamce.core.ledger.ledger import Ledger
from streamce.core.ledger.state import State
from streamce.stats import estimators, scalar_table
from streamce.stats.estimators import COUNTS, INVALID, LN2, Cell


@dataclass(frozen=True, slots=True)
class Summary(HtmlRepr, DefaultModeMethods):
    """Value, intervals and counters of a metric; ``print`` shows them as a table.

    Attributes
    ----------
    value : float
        The metric's value, as ``compute()`` returns it.
    interval : tuple of float
        Confidence interval of ``value`` at ``level``: Student's, or that of an asymptotic confidence sequence.
    level : float
        Confidence level of the intervals.
    anytime : bool
        Whether the intervals are a confidence sequence, which stays valid however often it is looked at.
    mean, stderr : float
        Mean loss and its standard error, in nats. If samples have clusters, the error is robust to them; it is nan
        if only some samples have one.
    total, weight : float
        Sum of the weighted losses (nats), and of the weights.
    count : int
        Number of losses counted.
    samples : int
        Number of samples, which are entries of the first axis. Standard errors are computed from samples.
    seen : int
        Number of all losses: ``count + ignored + infeasible + skipped``.
    ignored : int
        Number of losses that ``ignore_index`` or a mask left out.
    floored : int
        Number of losses in which a probability below ``eps`` was replaced by ``eps``.
    infinite : int
        Number of infinite losses.
    unnormalised : int
        Number of rows whose probabilities add up to 1 only roughly; for CTC, of utterances with such a frame.
    infeasible : int
        For CTC: number of utterances left out because their target has no alignment with a probability above 0.
    skipped : int
        Number of invalid losses that ``invalid="skip"`` left out: the sum of the ``invalid_*`` counters. Per word and
        byte, it is the number of sequences that were left out because of them.
    bits, perplexity : float
        The mean in bits, and e to the mean (inf if that overflows).
    bits_interval, perplexity_interval : tuple of float
        Their intervals, which are the images of the mean's interval, because both grow with the mean.
    entropy, divergence : float or None
        Mean entropy of the targets and mean Kullback-Leibler divergence of the predictions from them, in nats. Their
        sum is ``mean``. With an infinite loss the entropy is nan. None unless the metric has ``divergence=True``.
    divergence_interval : tuple of float, or None
        Interval of the divergence.
    buckets : int
        Number of buckets with samples, at most 256; 0 without clusters. It is about the number of clusters if that
        is below 100, because few of them share a bucket.

    Examples
    --------
    >>> import streamce as ce
    >>> summary = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.6, 0.7] * 10, [1, 0, 1, 1] * 10).summary()
    >>> print(summary)
    cross-entropy   0.299001 nats   95 % interval 0.250029 to 0.347974
                    0.431367 bits   standard error 0.0242115
    perplexity      1.34851         95 % interval 1.28406 to 1.41619
    losses          40
    >>> summary.to_dict()["count"]
    40
    """

    value: float
    interval: tuple[float, float]
    level: float
    anytime: bool
    mean: float
    stderr: float
    total: float
    weight: float
    count: int
    samples: int
    seen: int
    ignored: int
    floored: int
    infinite: int
    unnormalised: int
    infeasible: int
    skipped: int
    invalid_nan: int
    invalid_range: int
    invalid_row_sum: int
    invalid_label: int
    invalid_weight: int
    invalid_null: int
    bits: float
    bits_interval: tuple[float, float]
    perplexity: float
    perplexity_interval: tuple[float, float]
    entropy: float | None
    divergence: float | None
    divergence_interval: tuple[float, float] | None
    buckets: int

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as a flat dict of values that JSON can hold."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def scalars(self, prefix: str = "") -> dict[str, float]:
        """Return the numbers that a tracker of experiments plots, by name.

        All are finite: a number that is infinite, nan or not applicable is omitted, and so is a counter of anomalies
        that is 0. docs/METRICS.md lists the names, which consist of letters, digits and ``_``.

        Parameters
        ----------
        prefix : str
            The beginning of all names, such as "val_" or "val/".

        Examples
        --------
        >>> import streamce as ce
        >>> summary = ce.MeanLoss().update([0.5, 1.5]).summary()
        >>> summary.scalars("val_")["val_loss"]
        1.0
        >>> metric = ce.Perplexity().update_token_log_probs([[-1.0, -2.0], [-1.0, -3.0]], n_bytes=[7, 9])
        >>> scalars = metric.summary().scalars() | metric.per_byte().scalars("byte_")
        >>> scalars["perplexity"], scalars["byte_bits"]
        (5.75460..., 0.63117...)
        """
        return scalar_table.finite(scalar_table.read(scalar_table.SCALARS, self), prefix)

    def __str__(self) -> str:
        kind = interval_name(self.level, self.anytime)
        rows = [("cross-entropy", f"{format_number(self.mean)} nats", f"{kind} {format_interval(self.interval)}")]
        if repr(self.value) != repr(self.mean):  # compare texts, because nan is not equal to nan
            rows = [("value", format_number(self.value), rows[0][2]), (*rows[0][:2], "")]
        rows += [
            ("", f"{format_number(self.bits)} bits", f"standard error {format_number(self.stderr)}"),
            ("perplexity", format_number(self.perplexity), f"{kind} {format_interval(self.perplexity_interval)}"),
        ]
        if self.entropy is not None and self.divergence is not None and self.divergence_interval is not None:
            divergence = f"{format_number(self.divergence)} nats"
            rows += [
                ("entropy", f"{format_number(self.entropy)} nats", "of the targets"),
                ("divergence", divergence, f"{kind} {format_interval(self.divergence_interval)}"),
            ]
        return align_rows([*rows, *count_rows(self)])


def interval_name(level: float, anytime: bool) -> str:
    """Return the name of an interval, such as "95 % interval"."""
    return f"{100 * level:.12g} % {'confidence sequence' if anytime else 'interval'}"


def count_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Return the counters as rows of a table: name, number, explanation."""
    rows = [("losses", f"{summary.count:,}", _sample_text(summary.count, summary.samples, summary.weight))]
    if summary.buckets:
        rows.append(("clusters", f"in {summary.buckets} buckets", ""))
    anomalies = [
        ("ignored", summary.ignored, "by ignore_index"),
        ("floored", summary.floored, "a probability below eps"),
        ("infinite", summary.infinite, ""),
        ("unnormalised", summary.unnormalised, "rows that add up to 1 only roughly"),
        ("infeasible", summary.infeasible, "utterances that have no alignment"),
        ("skipped", summary.skipped, _cause_text(summary)),
    ]
    return rows + [(name, f"{count:,}", explanation) for name, count, explanation in anomalies if count]


def align_rows(rows: Sequence[tuple[str, str, str]]) -> str:
    """Return rows of name, number and explanation as the text of a table."""
    width = max(len(number) for _, number, _ in rows)
    return "\n".join(f"{name:<16}{number:<{width}}   {explanation}".rstrip() for name, number, explanation in rows)


def format_number(x: float) -> str:
    """Return a number with six significant digits."""
    return f"{x:.6g}"


def format_interval(interval: tuple[float, float]) -> str:
    """Return an interval as text: "0.25 to 0.35"."""
    low, high = interval
    return f"{format_number(low)} to {format_number(high)}"


def _sample_text(count: int, samples: int, weight: float) -> str:
    """Return the number of samples and the weight, if these differ from the number of losses."""
    texts = [f"in {samples:,} samples"] if samples != count else []
    texts += [f"of weight {format_number(weight)}"] if weight != count else []
    return " ".join(texts)


def _cause_text(summary: Summary) -> str:
    counts = {name.removeprefix("invalid_").replace("_", " "): getattr(summary, name) for name in INVALID}
    return ", ".join(f"{cause} {count:,}" for cause, count in counts.items() if count)


def summarise(
    ledger: Ledger, cell: int = 0, *, level: float = 0.95, anytime: bool = False, buckets: Ledger | None = None
) -> Summary:
    """Return the summary of one cell of a ledger. ``buckets`` holds its samples by the hash of their clusters."""
    columns = ledger.cell(cell) if cell < ledger.size else {}
    return summarise_cell(columns, level=level, anytime=anytime, buckets=buckets, ratio=cell)


def summarise_cell(
    cell: Cell,
    *,
    level: float = 0.95,
    anytime: bool = False,
    buckets: Ledger | None = None,
    ratio: int = 0,
    unit: int = GRID,
) -> Summary:
    """Return the summary of the integers of a cell.

    ``ratio`` is the number of the ratio in ``buckets`` that the cell holds, and ``unit`` the integer that stands for 1.
    """
    level = estimators.check_level(level)
    is_sequence = estimators.check_anytime(anytime)
    middle = estimators.ratio(cell)
    known = estimators.uncertainty(cell, buckets, ratio)
    margin = estimators.half_width(known, level, is_sequence)
    low, high = interval = middle - margin, middle + margin
    total, weight = estimators.infinite_sum(cell, "n"), estimators.infinite_sum(cell, "d")
    counts = {name: cell.get(name, 0) for name in COUNTS}
    skipped = sum(counts[name] for name in INVALID)
    return Summary(
        value=middle,
        interval=interval,
        level=level,
        anytime=is_sequence,
        mean=middle,
        stderr=known.stderr,
        total=total if total is not None else quotient(cell.get("n", 0), unit),
        weight=weight if weight is not None else quotient(estimators.weight_sum(cell), unit),
        seen=counts["count"] + counts["ignored"] + counts["infeasible"] + skipped,
        skipped=skipped,
        bits=middle / LN2,
        bits_interval=(low / LN2, high / LN2),
        perplexity=kernels.exp(middle),
        perplexity_interval=(kernels.exp(low), kernels.exp(high)),
        entropy=None,
        divergence=None,
        divergence_interval=None,
        buckets=known.buckets,
        **counts,
    )


def with_divergence(summary: Summary, state: State, level: float, anytime: bool) -> Summary:
    """Return a summary with the entropy of the targets and the divergence, which is the second ratio of the state."""
    divergence = summarise(state.total, 1, level=level, anytime=anytime, buckets=state.buckets)
    losses = state.total.cell()
    excesses = state.total.cell(1) if state.total.size > 1 else {}
    entropy = math.nan  # the entropy is unknown, because an infinite loss hides that of its target
    if estimators.infinite_sum(losses, "n") is None and estimators.infinite_sum(losses, "d") is None:
        entropy = quotient(losses.get("n", 0) - excesses.get("n", 0), estimators.weight_sum(losses))
    return replace(summary, entropy=entropy, divergence=divergence.mean, divergence_interval=divergence.interval)
