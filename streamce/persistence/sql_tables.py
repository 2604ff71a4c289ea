"""Reads rows that a database has added, and makes metrics of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from streamce._support.short_repr import quote_names, short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.inputs import interop
from streamce.keys import key_columns
from streamce.metrics import limbs, sql_rows
from streamce.metrics.mergeable import MergeableState

Metric = TypeVar("Metric", bound=MergeableState)


@in_default_mode
def from_sql_rows(table: Any, *, like: Metric) -> Metric:
    """Return the metric whose state is the sum of rows of ``to_sql_rows()``, after a database added them.

    Parameters
    ----------
    table : DataFrame, Arrow table or stream, relation of DuckDB, or mapping of str to columns
        The result of ``SELECT keys, spec, cell, term, limb, SUM(amount) AS amount FROM ... GROUP BY keys, spec, cell,
        term, limb``. ``amount`` may have any type of whole numbers: BIGINT, HUGEINT, NUMERIC or DECIMAL. Rows that were
        not yet added are added.
    like : metric
        A metric with the class and options of those whose rows were added. It is not changed. For ``Grouped`` the other
        columns of the table are the parts of the keys, in their order. With ``period`` the last of them holds
        timestamps, from which the start of the period follows.

    Returns
    -------
    metric
        A metric like ``like``. A table without rows gives an empty one.

    Raises
    ------
    InputError
        If rows belong to another class or other options, have keys though ``like`` is not ``Grouped``, or are not sums
        of up to 2^32 - 1 states, each with all of its rows.

    Examples
    --------
    >>> import streamce as ce
    >>> monday, tuesday = ce.MeanLoss().update([1.0, 2.0]), ce.MeanLoss().update([6.0])
    >>> a, b = monday.to_sql_rows(), tuesday.to_sql_rows()
    >>> both = {name: [*a[name], *b[name]] for name in a}
    >>> ce.from_sql_rows(both, like=ce.MeanLoss()).compute()
    3.0
    """
    if not isinstance(like, MergeableState):
        raise InputError("like", f"is {short_repr(like)}", "a metric such as BinaryCrossEntropy()")
    columns = _columns(table)
    names = [name for name in columns if name not in sql_rows.COLUMNS]
    amount, limb = (limbs.whole_numbers(_listed(columns[name]), name) for name in ("amount", "limb"))
    spec, cell, term = (_texts(columns[name], name) for name in ("spec", "cell", "term"))
    rows = sql_rows.Rows(spec, cell, term, limb, amount, {name: _listed(columns[name]) for name in names})
    for name, column in (("spec", spec[0]), ("cell", cell[0]), ("term", term[0]), ("limb", limb)):
        rows.check_length(name, len(column))
    return like._from_rows(rows)


def _columns(table: Any) -> dict[str, Any]:
    """Return the columns of a table by name, or raise InputError."""
    expected = "a DataFrame, an Arrow table or a mapping, with the columns " + ", ".join(sql_rows.COLUMNS)
    if isinstance(table, Mapping):
        columns = dict(table)
    else:
        try:
            columns = _columns_of(table)
        except InputError:
            raise
        except Exception as error:
            raise InputError("table", f"is {short_repr(table)}", expected) from error
    for name in columns:
        if not isinstance(name, str):
            raise InputError("table", f"has a column {short_repr(name)}", "names of columns that are text")
    missing = [name for name in sql_rows.COLUMNS if name not in columns]
    if missing:
        raise InputError("table", f"has no column {quote_names(missing)}", expected)
    return columns


def _columns_of(table: Any) -> dict[Any, Any]:
    """Return the columns of a table of Arrow, pandas or polars, a stream of batches, or a relation of DuckDB."""
    if interop.has_arrow_protocol(table) and not hasattr(table, "__getitem__"):
        table = interop.import_table(table)
    names = list(table.column_names if hasattr(table, "column_names") else table.columns)
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise InputError("table", f"has the column {short_repr(repeated[0])} twice", "each column once")
    columns = {name: table[name] for name in names}
    if any(isinstance(column, type(table)) for column in columns.values()):  # a column of a relation is a relation
        return _columns_of(interop.import_table(table))
    return columns


def _listed(column: Any) -> Any:
    """Return a column; a tuple as a list, because a tuple of keys stands for several columns."""
    return list(column) if isinstance(column, tuple) else column


def _texts(column: Any, name: str) -> sql_rows.Texts:
    """Return the code of each row and the texts that codes stand for, or raise InputError."""
    found = key_columns.convert_columns(_listed(column), name)[0]
    if found.size and found.kind != "str":
        raise InputError(name, f"has {found.kind or 'missing'} values", "text that to_sql_rows() wrote")
    if found.codes is None:
        return np.zeros(0, dtype=np.int64), []
    return found.codes, found.distinct
