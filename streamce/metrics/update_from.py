"""Defines ``update_from``, which adds an Arrow stream in one update.

It serves all metrics and wrappers that are updated with ``preds`` and ``target``. pyarrow is optional, so the first
call imports it.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Required, Self, TypedDict

from streamce._support.short_repr import quote_names, short_repr
from streamce.core.kernels.kernels import DefaultMode
from streamce.errors import DataError, InputError, SelectionError
from streamce.keys.moments import UNITS
from streamce.metrics.mergeable import MergeableState
from streamce.metrics.options import check_base

if TYPE_CHECKING:
    from streamce.inputs.class_names import ClassNames
    from streamce.metrics.base import Metric
    from streamce.reading.chunk import Chunk
    from streamce.reading.selection import Selection

TEXT_ARGUMENTS = ("n_words", "n_bytes")
OPTIONAL_ARGUMENTS = ("by", "by_time", "cluster", *TEXT_ARGUMENTS)  # some metrics do not take them
MULTI_COLUMN_ARGUMENTS = ("preds", "target", "by")
PREDS_ARGUMENTS = {"losses": "preds", "log_probs": "preds"}  # what some metrics call the argument `preds`


class Columns(TypedDict, total=False):
    """The columns of a stream, as the keyword arguments of ``update_from``."""

    preds: Required[str | Sequence[str]]
    target: str | Sequence[str] | None
    weight: str | None
    by: str | Sequence[str] | None
    by_time: str | None
    time_unit: str
    cluster: str | None
    n_words: str | None
    n_bytes: str | None
    base: float | None


class UpdateFromMixin(MergeableState):
    """Base of the metrics and wrappers that are updated with ``preds`` and ``target``.

    Upper layers use ``_update(preds, target, weight, null=..., **others)``: ``update`` with a mask of the losses in
    which an input is null.
    """

    __slots__ = ()
    _in_core = frozenset({"update_from"})  # the stream is the caller's code, which runs in the caller's mode

    @property
    @abstractmethod
    def _loss_metric(self) -> Metric:
        """The metric that computes the losses."""

    @abstractmethod
    def _update(self, *given: Any, **named: Any) -> None:
        """Add a batch, as ``update`` does; ``null`` is the mask of the losses in which an input is null."""

    def _extend(self, other: Self) -> Self:
        """Add another state of the same options, whose samples follow those of this one."""
        return self._merge(other, 1)

    def update_from(
        self,
        stream: Any,
        *,
        preds: str | Sequence[str],
        target: str | Sequence[str] | None = None,
        weight: str | None = None,
        by: str | Sequence[str] | None = None,
        by_time: str | None = None,
        time_unit: str = "s",
        cluster: str | None = None,
        n_words: str | None = None,
        n_bytes: str | None = None,
        base: float | None = None,
    ) -> Self:
        """Add all rows of an Arrow stream of any length, batch by batch. It needs pyarrow.

        The result does not depend on batch boundaries, and a failed update leaves the metric unchanged. The bytes are
        those of one ``update`` with all rows.

        Parameters
        ----------
        stream : Arrow stream
            An object with columns and ``__arrow_c_stream__`` or ``__arrow_c_array__``: a pyarrow table, record batch or
            reader, a polars or pandas data frame, or a DuckDB relation; a pyarrow scanner or dataset, of which only the
            given columns are read; or an iterable of these, such as a generator of record batches.
        preds, target : str or sequence of str
            Columns: a name, a glob, a path into a nested column (``scores.cat``), or several of these, as in
            ``streamce eval``. Give a column per class or one list
            column. Sequences are lists of tokens, and lists of rows of predictions. ``MeanLoss`` takes the losses as
            ``preds``, without ``target``. Sequences without ``target`` take the log-probabilities of their tokens.
        weight : str, optional
            The column of the weights, one per row.
        by : str or sequence of str, optional
            The columns of the keys of :class:`Grouped`.
        by_time : str, optional
            The column of the timestamps of :class:`Grouped`, :class:`Sliding` and :class:`Decayed`: datetimes, text in
            ISO 8601, or numbers since 1970.
        time_unit : {"s", "ms", "us", "ns"}
            The unit of numbers in ``by_time``.
        cluster : str, optional
            The column of the document, user or session of each row.
        n_words, n_bytes : str, optional
            The columns of the numbers of words and bytes in the scored text of each sequence.
        base : {2, 10, math.e}, optional
            The base of the log-probabilities of tokens: see :meth:`SequenceCrossEntropy.update_token_log_probs`.

        Raises
        ------
        InputError
            If a column does not exist or a row is invalid. The ``index`` of the error is the row, counted from 0. A row
            with a null is invalid. After an error nothing of the stream is counted, even if the stream itself raised
            it, or if it is interrupted.

        Notes
        -----
        The stream is read on the calling thread, without holding a lock. Integers are labels, as in ``update``. Text is
        accepted as labels by a metric with ``classes``.

        Examples
        --------
        >>> import pyarrow as pa, streamce as ce
        >>> table = pa.table({"p": [0.9, 0.2, None, 0.6], "clicked": [1, 0, 1, 1], "user": ["a", "b", "b", "a"]})
        >>> metric = ce.BinaryCrossEntropy(invalid="skip").update_from(table, preds="p", target="clicked")
        >>> metric.compute(), metric.summary().invalid_null
        (0.27977656..., 1)
        >>> users = ce.Grouped(ce.BinaryCrossEntropy(invalid="skip"))
        >>> users.update_from(table, preds="p", target="clicked", by="user").compute()
        {'a': 0.308093..., 'b': 0.223143...}
        """
        arguments: Columns = {"preds": preds, "target": target, "weight": weight, "by": by, "by_time": by_time,
                              "cluster": cluster, "n_words": n_words, "n_bytes": n_bytes}  # fmt: skip
        columns = {name: words(name, each) for name, each in arguments.items() if each is not None or name == "preds"}
        self._check_arguments(columns)
        if not isinstance(time_unit, str) or time_unit not in UNITS:
            raise InputError("time_unit", f"is {short_repr(time_unit)}", "one of s, ms, us, ns", value=time_unit)
        base = self._checked_base(base, columns)
        sum_of_stream = self._new()
        try:
            with DefaultMode() as mode:
                _add_stream(sum_of_stream, stream, columns, time_unit, base, mode)
        except ModuleNotFoundError as error:
            if (missing := missing_package(error)) is None:
                raise
            raise missing from error
        try:
            return self._extend(sum_of_stream)
        except InputError as error:  # for example, keys have another kind than before
            raise error.enclosed("stream") from error

    def _checked_base(self, base: Any, columns: dict[str, list[str]]) -> float | None:
        """Return the base of the log-probabilities of tokens, None for other predictions."""
        has_tokens = self._loss_metric._task == "sequence" and "target" not in columns
        if base is not None and not has_tokens:
            raise InputError("base", "is given", "none, because preds are not log-probabilities of tokens")
        return check_base("base", math.e if base is None else base) if has_tokens else None

    def _check_arguments(self, columns: dict[str, list[str]]) -> None:
        """Raise InputError for arguments that ``update`` does not take, and for options that do not fit streams."""
        for argument in filter(columns.__contains__, OPTIONAL_ARGUMENTS):
            if not self._takes(argument):
                raise InputError(argument, "is given", f"none, because {type(self).__name__} does not take it")
        check_options(self._loss_metric, columns)

    def _takes(self, argument: str) -> bool:
        """Return whether ``update`` takes an optional argument."""
        parameters = inspect.signature(self.update).parameters  # type: ignore[attr-defined]
        return argument in parameters or (argument in TEXT_ARGUMENTS and self._loss_metric._task == "sequence")


def missing_package(error: ModuleNotFoundError) -> InputError | None:
    """Return the error that says how to install pyarrow, None if another package is missing."""
    if error.name is None or error.name.partition(".")[0] != "pyarrow":
        return None
    return InputError("stream", "update_from needs pyarrow: pip install 'streamce[files]'", location="")


def check_options(metric: Metric, columns: dict[str, list[str]]) -> None:
    """Raise InputError unless the metric takes a target as given, and rows as samples."""
    if metric._task == "mean" and "target" in columns:
        raise InputError("target", "is given", f"none, because {type(metric).__name__} takes losses")
    if metric._task not in ("mean", "sequence") and "target" not in columns:
        raise InputError("target", "is missing", "the column of the labels")
    if (axis := metric._options.get("axis", -1)) not in (-1, 1):
        raise InputError("axis", f"is {axis}", "-1, because each row of a stream is a sample", value=axis)


def words(argument: str, value: Any) -> list[str]:
    """Return the names and globs of the columns of an argument."""
    found = [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)
    is_many = argument in MULTI_COLUMN_ARGUMENTS
    if not found or not all(isinstance(word, str) for word in found) or (len(found) > 1 and not is_many):
        expected = "the name of a column" + ", or several" * is_many
        raise InputError(argument, f"is {short_repr(value)}", expected, value=value)
    return found


def _add_stream(
    metric: UpdateFromMixin,
    stream: Any,
    columns: dict[str, list[str]],
    time_unit: str,
    base: float | None,
    mode: DefaultMode,
) -> None:
    """Add all rows of a stream. An error may leave some of them in the metric."""
    import pyarrow as pa

    from streamce.reading import ragged
    from streamce.reading.arrow_stream import StreamTable
    from streamce.reading.files.sources import Source

    loss_metric = metric._loss_metric
    table = StreamTable(stream, mode.of_caller)
    source = Source("stream", "stream", "", table=lambda _: table)
    if table.schema is None:  # the stream has no batches
        return
    with contextlib.closing(table):
        try:
            selection = replace(select_columns(table, columns, loss_metric), time_unit=time_unit)
            table.select(name for argument in columns for name in selection.columns(argument))
            selection = with_width(selection, table, loss_metric, base is not None)
            class_names = getattr(loss_metric, "_class_names", None)
            blank = loss_metric._options.get("blank", 0)
            reading = ragged.open_reading(loss_metric._task, [source], lambda *_: selection, base=base, blank=blank)
            for chunk in reading.lazy_chunks():
                try:
                    others = chunk.keys | chunk.extra
                    metric._update(chunk.preds, chunk.target, chunk.weight, null=chunk.null, **others)
                except InputError as error:
                    raise row_error(chunk, error, class_names if selection.encode else None) from error
        except (DataError, SelectionError) as error:
            raise _column_error(error, columns, table) from error
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise InputError("stream", f"cannot be read: {error}") from error


def select_columns(table: Any, columns: dict[str, list[str]], metric: Metric) -> Selection:
    """Return the columns that the words match."""
    from streamce.inputs.arrow import is_list, is_text
    from streamce.reading.columns import select
    from streamce.reading.labels import check_order
    from streamce.reading.selection import Selection

    names = table.names()
    matches: dict[str, Any] = {}
    for argument, words in columns.items():
        try:
            matches[argument] = select(words, names, table.fields)
        except SelectionError as error:
            raise _argument_error(argument, str(error), value=words) from error
        if argument not in MULTI_COLUMN_ARGUMENTS and len(matches[argument]) > 1:
            raise InputError(argument, f"matches {quote_names(matches[argument])}", "one column")
    preds, target = matches.pop("preds"), matches.pop("target", ())
    by = matches.pop("by", ())
    selection = Selection(preds, target, by=by, **{argument: each[0] for argument, each in matches.items()})
    class_names = getattr(metric, "_class_names", None)
    if class_names is not None and len(target) == 1 and is_text(found := table.type(target[0])) and not is_list(found):
        selection = replace(selection, encode=class_names.numbers)
    selection.check(metric._task, table)
    has_numbers = len(target) == 1 and selection.encode is None
    if metric._task == "multiclass" and has_numbers and not {*columns["preds"]} >= {*preds}:
        check_order(preds, table.type(target[0]), "name them one by one, in that order")
    return selection


def with_width(selection: Selection, table: Any, metric: Metric, tokens: bool) -> Selection:
    """Return the selection with the width of the rows if it is fixed. Lists are read ahead to find it."""
    from streamce.reading.selection import AXES

    preds = selection.preds
    axes = AXES.get(metric._task, (1 if tokens else 2, 1))[0]
    if axes == 1:
        return selection
    weights = [metric._options.get(name) for name in ("class_weight", "pos_weight")]
    widths = [len(weight) for weight in weights if isinstance(weight, tuple)]
    width = len(preds) if len(preds) > 1 else table.lists(preds[0], 1 if metric._task in AXES else 2)
    return replace(selection, width=width or next(iter(widths), None))


def _argument_error(argument: str, found: str, **parts: Any) -> InputError:
    """Return the error about a whole argument that says the same as another error."""
    return InputError(argument, found, location="", **parts).with_place(argument)


def _column_error(error: DataError | SelectionError, columns: dict[str, list[str]], table: Any) -> InputError:
    """Return the error about the argument whose column an error of reading names."""
    from streamce.reading.columns import select

    names, fields = table.names(), table.fields
    named = (
        each for each in columns if error.column is not None and error.column in select(columns[each], names, fields)
    )
    row = error.row if isinstance(error, DataError) else None
    return _argument_error(next(named, "stream"), str(error), index=None if row is None else (row,))


def row_error(chunk: Chunk, error: InputError, class_names: ClassNames | None = None) -> InputError:
    """Return an error with the row of the stream as its index, if it is about a column."""
    from streamce.reading import error_locations, ragged

    error = error.with_argument(PREDS_ARGUMENTS.get(str(error.argument), error.argument))
    columns = chunk.selection.columns(ragged.source_argument(chunk, error))
    if error.cause != "invalid_null" and (not columns or error.found == "is given"):
        return error
    return error_locations.relocated(chunk, error, class_names)
