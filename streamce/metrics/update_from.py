"""``update_from``: all of an Arrow stream in one update, for whatever is updated by preds and target.

pyarrow is imported when it is asked for.
"""

from __future__ import annotations

import contextlib
import inspect
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import DefaultMode
from streamce.errors import DataError, InputError, SelectionError
from streamce.metrics.mergeable import Additive

if TYPE_CHECKING:
    from streamce.metrics.base import Metric
    from streamce.reading.reader import Chunk, Selection

OF_TEXT = ("n_words", "n_bytes")
BESIDE = ("by", "by_time", "cluster", *OF_TEXT)  # what not all that is updated takes
SEVERAL = ("preds", "target", "by")  # arguments that may be several columns
OF_LOSSES = {"losses": "preds", "log_probs": "preds"}  # what metrics call predictions that are losses


class FromStreams(Additive):
    """Base of what is updated by preds and target."""

    __slots__ = ()
    _in_core = frozenset({"update_from"})  # it runs the caller's own code in the caller's mode

    @property
    @abstractmethod
    def _of_losses(self) -> Metric:
        """The metric whose losses are added up."""

    @abstractmethod
    def _update(self, *given: Any, **named: Any) -> None:
        """As ``update`` of preds, target and weight, with ``null``, a mask of the losses in which an input is null."""

    def _extend(self, other: Self) -> Self:
        """Add all that another of the same options has seen, as what comes next."""
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
        cluster: str | None = None,
        n_words: str | None = None,
        n_bytes: str | None = None,
    ) -> Self:
        """Add all rows of an Arrow stream, however large, without holding it. Needs pyarrow.

        The result is that of one ``update`` with all of it, to the same bytes, however the stream is cut into batches.

        Parameters
        ----------
        stream : Arrow stream
            Whatever has ``__arrow_c_stream__`` or ``__arrow_c_array__`` with columns: a pyarrow table, record batch or
            reader, a polars or pandas data frame, a DuckDB relation. A pyarrow dataset, of which the columns
            asked for alone are read, or scanner. Or an iterable of these, such as a generator of record batches.
        preds, target : str or sequence of str
            Columns: a name, a glob, or several of these; as ``streamce eval`` takes them. A column per class, or one
            list column; of sequences lists of tokens, and of their rows. ``MeanLoss`` takes the losses as
            ``preds``, and no target; sequences without a target take the log-probabilities of their tokens.
        weight : str, optional
            The column of the weights, one per row.
        by : str or sequence of str, optional
            The columns of the keys of :class:`Grouped`.
        by_time : str, optional
            The column of the moments of :class:`Grouped`, :class:`Sliding` and :class:`Decayed`.
        cluster : str, optional
            The column that says which document, user or session a row belongs to.
        n_words, n_bytes : str, optional
            The columns of the words and bytes of the text of each sequence.

        Raises
        ------
        InputError
            If there is no such column, or a row is invalid: the error has its row, counted from 0, as the
            ``index``. A null is an invalid row. Nothing of the stream is counted then, and neither is if whoever makes
            the stream raises, or on Ctrl-C.

        Notes
        -----
        The stream is read on the calling thread; what waits for it holds no lock. Integers are labels as they are in
        ``update``; names of classes are no labels here.

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
        given = {"preds": preds, "target": target, "weight": weight, "by": by, "by_time": by_time}
        given |= {"cluster": cluster, "n_words": n_words, "n_bytes": n_bytes}
        columns = {name: _words(name, value) for name, value in given.items() if value is not None or name == "preds"}
        self._check_arguments(columns)
        whole = self._empty()
        try:
            with DefaultMode() as mode:
                _feed(whole, stream, columns, mode)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "pyarrow":
                raise
            found = "update_from needs pyarrow: pip install 'streamce[files]'"
            raise InputError("stream", found, location="") from error
        try:
            return self._extend(whole)
        except InputError as error:  # such as keys of another kind than before
            raise error.enclosed("stream") from error

    def _check_arguments(self, columns: dict[str, list[str]]) -> None:
        """Refuses columns of arguments that ``update`` does not take, and options that tell of other arrays."""
        name, of = type(self).__name__, self._of_losses
        taken = inspect.signature(self.update).parameters  # type: ignore[attr-defined]
        for argument in filter(columns.__contains__, BESIDE):
            if argument not in taken and (argument not in OF_TEXT or of._task != "sequence"):
                raise InputError(argument, "is given", f"none, as {name} takes none")
        if of._task == "mean" and "target" in columns:
            raise InputError("target", "is given", "none: MeanLoss takes losses")
        if of._task not in ("mean", "sequence") and "target" not in columns:
            raise InputError("target", "is missing", "the column of the labels")
        if (axis := of._options.get("axis", -1)) not in (-1, 1):
            raise InputError("axis", f"is {axis}", "-1, as each row of a stream is a sample", value=axis)


def _words(argument: str, given: Any) -> list[str]:
    """The words for the columns of an argument."""
    found = [given] if isinstance(given, str) or not isinstance(given, Sequence) else list(given)
    expected = "the name of a column" + ", or several" * (argument in SEVERAL)
    if not found or not all(isinstance(word, str) for word in found) or (len(found) > 1 and argument not in SEVERAL):
        raise InputError(argument, f"is {short_repr(given)}", expected, value=given)
    return found


def _feed(metric: FromStreams, stream: Any, columns: dict[str, list[str]], mode: DefaultMode) -> None:
    """Adds all of a stream, or raises when some may have been added."""
    import pyarrow as pa

    from streamce.reading import ragged
    from streamce.reading.arrow_stream import StreamTable
    from streamce.reading.sources import Source

    of = metric._of_losses
    tokens = of._task == "sequence" and "target" not in columns
    table = StreamTable(stream, mode.of_caller)
    source = Source("stream", "stream", "", table=lambda _: table)
    if table.schema is None:  # of no batches
        return
    with contextlib.closing(table):
        try:
            chosen = _selection(table, columns, of, tokens)
            reading = ragged.reading(
                of._task, [source], lambda *_: chosen, chosen=tokens, blank=of._options.get("blank", 0)
            )
            for chunk in reading.one_by_one():
                try:
                    others = chunk.keys | chunk.more
                    metric._update(chunk.preds, chunk.target, chunk.weight, null=chunk.null, **others)
                except InputError as error:
                    raise _of_row(chunk, error) from error
        except (DataError, SelectionError) as error:
            raise _of_column(error, columns, table.names()) from error
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise InputError("stream", f"cannot be read: {error}") from error


def _selection(table: Any, columns: dict[str, list[str]], of: Metric, tokens: bool) -> Selection:
    """The columns that words stand for; where lists are of one length, with that of the first."""
    from streamce.reading.columns import listed, select
    from streamce.reading.labels import check_order
    from streamce.reading.reader import AXES, Selection

    names = table.names()
    found: dict[str, Any] = {}
    for argument, words in columns.items():
        try:
            found[argument] = select(words, names)
        except SelectionError as error:
            raise _of_argument(argument, str(error), value=words) from error
        if argument not in SEVERAL and len(found[argument]) > 1:
            raise InputError(argument, f"stands for {listed(found[argument])}", "one column")
    preds, target = found.pop("preds"), found.pop("target", ())
    by = found.pop("by", ())
    chosen = Selection(preds, target, by=by, **{argument: one[0] for argument, one in found.items()})
    chosen.check(of._task, table)
    table.only(name for argument in columns for name in chosen.columns(argument))
    axes = AXES.get(of._task, (1 if tokens else 2, 1))[0]
    if of._task == "multiclass" and len(target) == 1 and not {*columns["preds"]} >= {*preds}:
        check_order(preds, table.type(target[0]), "name them one by one, in that order")
    if of._task in AXES and axes == 2:
        weights = [weight for name in ("class_weight", "pos_weight") if (weight := of._options.get(name)) is not None]
        known = [len(weight) for weight in weights if isinstance(weight, tuple)]
        width = len(preds) if len(preds) > 1 else table.lists(preds[0], 1)
        return replace(chosen, width=width or next(iter(known), None))
    return replace(chosen, width=table.lists(preds[0], 2)) if axes == 2 else chosen


def _of_argument(argument: str, found: str, **parts: Any) -> InputError:
    """The error for a whole argument, of which another error says what is wrong."""
    return InputError(argument, found, location="", **parts).with_place(argument)


def _of_column(error: DataError | SelectionError, columns: dict[str, list[str]], names: list[str]) -> InputError:
    """An error of reading, of the argument whose column it names."""
    from streamce.reading.columns import select

    named = (each for each in columns if error.column is not None and error.column in select(columns[each], names))
    row = error.row if isinstance(error, DataError) else None
    return _of_argument(next(named, "stream"), str(error), index=None if row is None else (row,))


def _of_row(chunk: Chunk, error: InputError) -> InputError:
    """The error for a row of a stream, where it is one about its columns."""
    from streamce.reading import error_locations, ragged

    error = error.with_argument(OF_LOSSES.get(str(error.argument), error.argument))
    columns = chunk.selection.columns(ragged.argument_of(chunk, error))
    if error.cause != "invalid_null" and (not columns or error.found == "is given"):
        return error
    return error_locations.relocated(chunk, error)
