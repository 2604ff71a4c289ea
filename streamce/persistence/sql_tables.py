"""Reads rows that a database has added, and makes metrics of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from streamce._support.short_repr import quote_names, short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.keys import key_columns
from streamce.metrics import limbs, sql_rows
from streamce.metrics.mergeable import MergeableState

Metric = TypeVar("Metric", bound=MergeableState)


@in_default_mode
def from_sql_rows(table: Any, *, like: Metric) -> Metric:
    """Return the metric whose state is the sum of rows of ``to_sql_rows()``, after a database added them.

    Parameters
    ----------
    table : DataFrame, Arrow table, or mapping of str to columns
        The result of ``SELECT keys, spec, cell, term, limb, SUM(amount) AS amount FROM ... GROUP BY keys, spec, cell,
        term, limb``. ``amount`` may have any type of whole numbers: BIGINT, HUGEINT, NUMERIC or DECIMAL. Rows that were
        not yet added are added.
    like : metric
        A metric with the class and options of those whose rows were added. It is not changed. For ``Grouped`` the other
        columns of the table are the parts of the keys, in their order.

    Returns
    -------
    metric
        A metric like ``like``. A table without rows gives an empty one.

    Raises
    ------
    InputError
        If rows belong to another class or other options, have keys though ``like`` is not ``Grouped``, or are not sums
        of all rows of up to 2^32 - 1 states.

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
    amount, limb = (limbs.whole_numbers(_array(columns[name], name), name) for name in ("amount", "limb"))
    spec, cell, term = (_texts(columns[name], name) for name in ("spec", "cell", "term"))
    keys = [key_columns.convert_columns(_listed(columns[name]), name)[0] for name in names]
    lengths = [len(spec[0]), len(cell[0]), len(term[0]), len(limb), *(key.size for key in keys)]
    for name, length in zip(("spec", "cell", "term", "limb", *names), lengths, strict=True):
        if length != len(amount):
            raise InputError(name, f"has length {length}", f"{len(amount)}, as amount has", value=length)
    joined = key_columns.join_columns(keys, names[0]) if keys else None
    return like._from_rows(sql_rows.Rows(spec, cell, term, limb, amount, names, joined))


def _columns(table: Any) -> dict[str, Any]:
    """Return the columns of a table by name, or raise InputError."""
    expected = "a DataFrame, an Arrow table or a mapping, with the columns " + ", ".join(sql_rows.COLUMNS)
    if isinstance(table, Mapping):
        columns = dict(table)
    else:
        names = getattr(table, "column_names", None)  # of Arrow
        if names is None:
            names = getattr(table, "columns", None)  # of pandas and polars
        try:
            columns = {name: table[name] for name in names}  # type: ignore[union-attr]
        except Exception:
            raise InputError("table", f"is {short_repr(table)}", expected) from None
    for name in columns:
        if not isinstance(name, str):
            raise InputError("table", f"has a column {short_repr(name)}", expected)
    missing = [name for name in sql_rows.COLUMNS if name not in columns]
    if missing:
        raise InputError("table", f"has no column {quote_names(missing)}", expected)
    return columns


def _listed(column: Any) -> Any:
    """Return a column; a tuple as a list, because a tuple of keys stands for several columns."""
    return list(column) if isinstance(column, tuple) else column


def _array(column: Any, name: str) -> Any:
    """Return a column as an array of one dimension, or raise InputError."""
    try:
        array = np.asarray(_listed(column))
    except Exception as error:
        raise InputError(name, f"is a {type(column).__name__} that cannot be read", "whole numbers") from error
    if array.ndim != 1:
        raise InputError(name, f"has shape {array.shape}", "one number per row")
    return array


def _texts(column: Any, name: str) -> sql_rows.Texts:
    """Return the code of each row and the texts that codes stand for, or raise InputError."""
    found = key_columns.convert_columns(_listed(column), name)[0]
    if found.size and found.kind != "str":
        raise InputError(name, f"has {found.kind or 'missing'} values", "text that to_sql_rows() wrote")
    if found.codes is None:
        return np.zeros(0, dtype=np.int64), []
    return found.codes, found.distinct
