"""Turns results by group into columns, from which pandas, polars and Arrow make a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from streamce.core.ledger.ledger import Ledger
from streamce.keys import encoding
from streamce.metrics.base import Metric
from streamce.stats import cell_arrays, estimators
from streamce.stats.summary import Summary

# The counters among the columns.
COUNTS = ("seen", "skipped", *estimators.COUNTS)


def key_columns_of(keys: Sequence[Any]) -> dict[str, Any]:
    """Return the column ``key``, or ``key_0``, ``key_1``, ... for keys of several parts."""
    if keys and isinstance(keys[0], tuple):
        return {f"key_{i}": array_of(part) for i, part in enumerate(zip(*keys, strict=True))}
    return {"key": array_of(keys)}


def summary_columns(summaries: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of summaries: of one metric, or dicts of the summaries of several."""
    if not all(isinstance(each, Summary) for each in summaries):
        return _flat_columns(summaries)
    columns = {
        "value": float_array(each.value for each in summaries),
        "low": float_array(each.interval[0] for each in summaries),
        "high": float_array(each.interval[1] for each in summaries),
    }
    for name in ("stderr", "total", "weight"):
        columns[name] = float_array(getattr(each, name) for each in summaries)
    for name in COUNTS:
        columns[name] = count_array([getattr(each, name) for each in summaries])
    return columns


def cell_columns(metric: Any, ledger: Ledger, cells: Any, level: float, anytime: bool) -> dict[str, Any]:
    """Return the columns of groups that are cells of a ledger, given by their numbers."""
    found = {name: column[cells] for name, column in cell_arrays.summarise_cells(ledger, level, anytime).items()}
    columns = {name: found[source] for name, source in (("value", "mean"), ("low", "low"), ("high", "high"))}
    if type(metric)._value is not Metric._value:
        columns = {name: float_array(map(metric._value, column.tolist())) for name, column in columns.items()}
    found["skipped"] = _sum([found[name] for name in estimators.INVALID])
    found["seen"] = _sum([found["count"], found["ignored"], found["infeasible"], found["skipped"]])
    return columns | {name: found[name] for name in ("stderr", "total", "weight", *COUNTS)}


def _sum(counts: list[Any]) -> Any:
    """Return the sum of arrays of counters, which may need more than 64 bits."""
    if sum(int(count.max(initial=0)) for count in counts) < encoding.INT64_END:
        return sum(counts)
    return count_array(list(map(sum, zip(*(count.tolist() for count in counts), strict=True))))


def float_array(numbers: Iterator[float]) -> Any:
    """Return numbers as an array of float64."""
    return np.array(list(numbers), dtype=np.float64)


def count_array(counts: Sequence[int]) -> Any:
    """Return counters as an array. Counters are at most 2^62, and some columns are sums of counters."""
    return np.array(counts, dtype=np.int64 if max(counts, default=0) < encoding.INT64_END else object)


def array_of(values: Sequence[Any]) -> Any:
    """Return values of any type as an array. Text, and values with None, become arrays of objects."""
    dtypes: dict[type, Any] = {int: np.int64, float: np.float64, bool: np.bool_, dt.datetime: "datetime64[us]"}
    types = set(map(type, values))
    if len(types) == 1 and types <= set(dtypes):
        return np.array(values, dtype=dtypes[types.pop()])
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _flat_columns(summaries: Sequence[Any]) -> dict[str, Any]:
    """Return the entries of summaries of another class, or of several, as columns."""
    rows = [dict(_flat_entries("", each)) for each in summaries]
    return {
        name: array_of([row.get(name) for row in rows]) for name in dict.fromkeys(name for row in rows for name in row)
    }


def _flat_entries(prefix: str, found: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and values in a summary, in a dict of summaries, or in an interval."""
    if not isinstance(found, (dict, list)):
        found = found.to_dict() if hasattr(found, "to_dict") else found
    if isinstance(found, dict):
        for name, value in found.items():
            yield from _flat_entries(f"{prefix}_{name}" if prefix else name, value)
    elif isinstance(found, (list, tuple)) and len(found) == 2:
        name = prefix.removesuffix("interval")
        yield from zip((f"{name}low", f"{name}high"), found, strict=True)
    else:
        yield prefix, found
