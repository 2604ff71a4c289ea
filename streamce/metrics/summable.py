"""Defines the base class of objects whose states any system can add that adds integers.

It knows nothing of losses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np

from streamce._support import state_format
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.ledger.state import BUCKETS
from streamce.errors import InputError
from streamce.metrics import limbs, sql_rows


class SummableState(DefaultModeMethods, ABC):
    """Base of the classes whose states can be written as arrays and as rows of integers, whose sums are merged states.

    Upper layers use these private attributes, and no others:

    * ``_sql_spec()``, ``_rows_of_states(states)``: class and options, and states, in rows for a database;
    * ``_states_of_rows(rows, codes, n_states)``, ``_from_rows(rows)``: states, and a metric, of such rows.
    """

    __slots__ = ("_digest", "_state")
    _state: Any
    _digest: bytes  # of class and options, once it was needed
    _is_addable = True
    _has_sql_rows: ClassVar[bool] = True

    # ---- methods that a subclass defines ----

    @abstractmethod
    def _new(self) -> Self:
        """Return an empty object with all options of this one."""

    @abstractmethod
    def _header(self) -> state_format.Header:
        """Return the class and the options that change a loss."""

    @abstractmethod
    def _inner(self) -> tuple[Any, ...]:
        """Return the metrics that this one holds for their options."""

    @abstractmethod
    def _load_payload(self, payload: dict[str, bytes]) -> None:
        """Replace the state by the one that ``payload`` holds, or raise ValueError."""

    def _quanta(self) -> dict[str, int]:
        """Return the multiple that the size of each ledger of the state is rounded up to; 0 if it is given."""
        return {"buckets": BUCKETS, "calibration": 1, "cells": 0, "tail": 0, "total": 1}

    def _fixed_sizes(self) -> dict[str, int]:
        """Return the number of cells of each part, or raise InputError if class and options do not fix it."""
        found = f"the state of a {type(self).__name__} has no fixed size, so it has no limbs"
        raise InputError("metric", f"{found}: use {self._other_forms()}", location="")

    # ---- arrays and rows ----

    def to_limbs(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the state as an array of int64 whose elementwise sums are merged states.

        Any system that adds integers merges such arrays exactly, in any order and tree: NumPy, ``all_reduce`` of torch,
        ``psum`` of JAX, a parameter server. :meth:`load_limbs` reads the sum of up to 2^32 - 1 arrays.

        Returns
        -------
        array of int64
            One-dimensional. Its length depends on class and options only: 391 for a metric with one mean. Entry 0 is
            1, the number of states. Entries 1 to 4 identify class and options. The others are digits in base 2^32,
            from -2^31 to 2^31 - 1, so they are also exact as int32 and float64 before they are added.

        Raises
        ------
        InputError
            If class and options do not fix the size of the state (groups, windows, tail, calibration, clusters,
            positions, classes without ``classes`` or ``class_weight``). ``ce.all_reduce`` takes such states. Also if a
            sum is beyond its digits, which only happens to sums of states that cancel.

        Examples
        --------
        >>> import streamce as ce
        >>> one, other = ce.MeanLoss().update([1.0, 2.0]), ce.MeanLoss().update([6.0])
        >>> ce.MeanLoss().load_limbs(one.to_limbs() + other.to_limbs()).compute()
        3.0
        """
        sizes = self._fixed_sizes()
        parts = self._state.parts()
        for name in parts:
            if name not in sizes:
                content = "samples in clusters" if name.endswith("buckets") else f"the part {name!r}"
                found = f"the state has {content}, so it has no limbs: use ce.all_reduce or to_sql_rows()"
                raise InputError("metric", found, location="")
        return limbs.pack(self._option_digest(), parts, sizes)

    def load_limbs(self, array: Any) -> Self:
        """Replace the state by that of a sum of arrays of :meth:`to_limbs`, and return the metric.

        Parameters
        ----------
        array : array of integers, or of floats with whole numbers
            The elementwise sum of the arrays of one or more metrics with the class and options of this one. Subtract
            metrics before ``to_limbs``, not arrays.

        Raises
        ------
        InputError
            If ``array`` has another length, holds states of another class or other options, or was not added in 64
            bits. Nothing changes then.

        Examples
        --------
        >>> import streamce as ce
        >>> one = ce.MeanLoss().update([1.0, 2.0])
        >>> ce.MeanLoss().load_limbs(one.to_limbs() * 3).summary().count
        6
        """
        sizes, quanta = self._fixed_sizes(), self._quanta()
        by_part = {name: quanta[name.rpartition(".")[2]] for name in sizes}
        parts = limbs.unpack(self._option_digest(), array, sizes, by_part)
        with state_format.decoding_errors():
            self._load_payload(parts)
        return self

    def to_sql_rows(self) -> dict[str, Any]:
        """Return the state as rows for a database, whose sums are merged states.

        ``SELECT spec, cell, term, limb, SUM(amount) AS amount FROM states GROUP BY spec, cell, term, limb`` merges the
        states of any number of metrics exactly, in any engine. :func:`streamce.from_sql_rows` reads the result.

        Returns
        -------
        dict of str to array
            Columns of equal length. ``spec`` (text) identifies class and options, ``cell`` (text), ``term`` (text) and
            ``limb`` (integer) the digit of an integer of the state, and ``amount`` (integer, -2^31 to 2^31 - 1) is the
            digit. pandas, polars and ``pyarrow.table`` make a table of it.

        Raises
        ------
        InputError
            If the state holds windows, decay or several metrics, or a sum is beyond its digits.

        Examples
        --------
        >>> import streamce as ce
        >>> rows = ce.MeanLoss().update([1.0, 2.0]).to_sql_rows()
        >>> list(rows)
        ['spec', 'cell', 'term', 'limb', 'amount']
        >>> ce.from_sql_rows(rows, like=ce.MeanLoss()).compute()
        1.5
        """
        columns = self._rows_of_states([self._state])
        return {name: columns[name] for name in sql_rows.COLUMNS}

    def _rows_of_states(self, states: Iterable[Any]) -> dict[str, Any]:
        """Return the rows of states with the options of this metric. The column ``number`` numbers the states."""
        spec, quanta = self._sql_spec(), self._quanta()
        pieces = [sql_rows.rows_of_parts(state.parts(), quanta, number) for number, state in enumerate(states)]
        return sql_rows.join_rows(spec, pieces)

    def _states_of_rows(self, rows: sql_rows.Rows, codes: Any, n_states: int) -> list[Any]:
        """Return states of rows, for which ``codes`` tells the state that each row belongs to."""
        rows.check_spec(self._sql_spec())
        states, new = [], self._new()
        for parts in rows.parts(codes, n_states, self._quanta()):
            try:
                new._load_payload(parts)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise InputError("table", f"holds sums that are not understood: {error}") from None
            states.append(new._state)
        return states

    def _from_rows(self, rows: sql_rows.Rows) -> Self:
        """Return a metric with the options of this one and the sum of all rows."""
        rows.check_no_keys()
        new = self._new()
        for state in self._states_of_rows(rows, np.zeros(len(rows), dtype=np.int64), min(1, len(rows))):
            new._state = state
        return new

    def _sql_spec(self) -> str:
        """Return the text that identifies class and options in rows, or raise InputError if states have no rows."""
        if not self._has_sql_rows:
            found = f"the state of a {type(self).__name__} has no rows for a database: use {self._other_forms()}"
            raise InputError("metric", found, location="")
        return self._option_digest().hex()

    def _other_forms(self) -> str:
        """Return how a state without limbs is sent and added, for errors."""
        if not self._is_addable:
            return "to_bytes()"
        has_rows = all(metric._has_sql_rows for metric in (self, *self._inner()))
        return "to_sql_rows() or ce.all_reduce" if has_rows else "to_bytes() or ce.all_reduce"

    def _option_digest(self) -> bytes:
        """Return 16 bytes that identify class and options."""
        try:
            return self._digest
        except AttributeError:  # the first call
            self._digest = limbs.digest(self._header())
            return self._digest
