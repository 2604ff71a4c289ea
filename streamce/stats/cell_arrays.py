"""Summaries of many cells at once, as arrays. They are equal to the summaries of single cells, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamce.core.kernels import kernels
from streamce.core.ledger import results
from streamce.core.ledger.ledger import COUNTER_NAMES, Ledger
from streamce.stats import estimators
from streamce.stats.estimators import COUNTS, INVALID, LN2
from streamce.stats.summary import Summary, summarise_cell

Array = np.ndarray[Any, np.dtype[Any]]
FLOATS = ("mean", "low", "high", "stderr", "total", "weight")


def summarise_cells(ledger: Ledger, level: float, anytime: bool) -> dict[str, Array]:
    """Return the mean, its interval, its standard error, the sums and the counters of each cell, by name."""
    level, is_sequence = estimators.check_level(level), estimators.check_anytime(anytime)
    n = ledger.size
    columns: dict[str, Array] = {name: np.empty(n) for name in FLOATS}
    counters = np.empty((n, len(COUNTER_NAMES)), dtype=np.int64)
    known = np.empty(n, dtype=np.uint8)
    results.summarise(ledger, columns["mean"], columns["total"], columns["stderr"], counters, known)
    columns |= {name: counters[:, COUNTER_NAMES.index(name)] for name in COUNTS}
    columns["weight"] = columns["samples"].astype(np.float64)
    margin = _margins(columns["stderr"], columns["samples"], np.flatnonzero(known), level, is_sequence)
    with np.errstate(all="ignore"):
        columns["low"], columns["high"] = columns["mean"] - margin, columns["mean"] + margin
    for cell in np.flatnonzero(known == 0).tolist():
        summary = summarise_cell(ledger.cell(cell), level=level, anytime=is_sequence)
        single = {"mean": summary.mean, "low": summary.interval[0], "high": summary.interval[1]}
        for name in FLOATS:
            columns[name][cell] = single[name] if name in single else getattr(summary, name)
    return columns


def _margins(errors: Array, samples: Array, cells: Array, level: float, anytime: bool) -> Array:
    """Return the half widths of the intervals of cells with weights of 1. Those of other cells are nan."""
    margins = np.full(len(errors), np.nan)
    numbers, which = np.unique(samples[cells], return_inverse=True)
    multiples = [estimators.interval_multiple(level, anytime, float(k), float(k)) for k in numbers.tolist()]
    error = errors[cells]
    with np.errstate(all="ignore"):
        found = np.where(error > 0, error * np.array(multiples, dtype=np.float64)[which], error)
    if anytime:
        found[(error == 0) & (samples[cells] < estimators.FIRST_LOOK)] = np.inf
    margins[cells] = found
    return margins


def summaries(ledger: Ledger, level: float, anytime: bool) -> list[Summary]:
    """Return the summary of each cell."""
    columns = summarise_cells(ledger, level, anytime)
    level, anytime = estimators.check_level(level), estimators.check_anytime(anytime)
    lists = [columns[name].tolist() for name in (*FLOATS, *COUNTS)]
    exp = kernels.exp
    found = []
    for mean, low, high, stderr, total, weight, *counted in zip(*lists, strict=True):
        counts = dict(zip(COUNTS, counted, strict=True))
        skipped = sum(counts[name] for name in INVALID)
        found.append(
            Summary(
                value=mean,
                interval=(low, high),
                level=level,
                anytime=anytime,
                mean=mean,
                stderr=stderr,
                total=total,
                weight=weight,
                seen=counts["count"] + counts["ignored"] + counts["infeasible"] + skipped,
                skipped=skipped,
                bits=mean / LN2,
                bits_interval=(low / LN2, high / LN2),
                perplexity=exp(mean),
                perplexity_interval=(exp(low), exp(high)),
                entropy=None,
                divergence=None,
                divergence_interval=None,
                buckets=0,
                **counts,
            )
        )
    return found
