"""Arrow streams as a table: objects with ``__arrow_c_stream__``, datasets, or iterables of these."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from streamce._support.short_repr import short_repr
from streamce.errors import DataError, InputError
from streamce.inputs import arrow, interop
from streamce.reading.formats.base import START, Mark, Part, Parts, Table, nested_column, slice_batch

EXPECTED = "an Arrow stream, such as a table, a reader or a data frame, or an iterable of record batches"


class StreamTable(Table):
    """A stream that can be read once. Its batches are those of its producer, and are not copied.

    Their types may differ if they fit, such as int64 and float64: each batch is read as it is, so the result does not
    depend on their order.
    """

    def __init__(self, stream: Any, in_caller_mode: Callable[[Iterator[Any]], Iterator[Any]] = iter) -> None:
        """``in_caller_mode`` makes an iterator run in the caller's floating-point mode."""
        self._in_caller_mode = in_caller_mode
        dataset = sys.modules.get("pyarrow.dataset")  # already imported if the stream is a dataset
        self._dataset = stream if dataset is not None and isinstance(stream, dataset.Dataset) else None
        self._reader: Any = None
        self._lookahead: list[Any] = []  # batches that were read before their turn
        self._widths: dict[str, int | None] = {}
        self._types: dict[str, Any] = {}  # of each column in the batches so far, the first that is not null
        self._seen_floating: set[str] = set()  # columns with anything but integers
        self._batches: Iterator[Any] = iter(())
        if self._dataset is not None:
            self.schema: Any = self._dataset.schema
        else:
            self.schema, self._batches = self._open(stream)

    def _open(self, stream: Any) -> tuple[Any, Iterator[Any]]:
        """Return the schema and the batches of a stream."""
        dataset = sys.modules.get("pyarrow.dataset")
        if dataset is not None and isinstance(stream, dataset.Scanner):
            stream = stream.to_reader()
        if not isinstance(stream, pa.RecordBatchReader) and not _is_arrow(stream):
            return self._chain(stream)
        if (table := _table(stream)) is not None:
            return table.schema, iter(table.to_batches())
        # A reader of pyarrow is used directly, because then exceptions of its generator stay the same.
        if isinstance(stream, pa.RecordBatchReader):
            return stream.schema, self._in_caller_mode(iter(stream))
        self._reader = _reader(stream)
        return self._reader.schema, self._in_caller_mode(iter(self._reader))

    def _chain(self, streams: Any) -> tuple[Any, Iterator[Any]]:
        """Return the schema and the batches of an iterable of record batches or streams."""
        self.may_vary = True
        if isinstance(streams, (str, bytes, Mapping)) or not isinstance(streams, Iterable):
            raise InputError("stream", f"is {short_repr(streams)}", EXPECTED)
        batches = itertools.chain.from_iterable(map(_batches, self._in_caller_mode(iter(streams))))
        first = next(batches, None)
        if first is None:
            return None, iter(())
        return first.schema, itertools.chain([first], batches)

    def close(self) -> None:
        """Release the stream, even if it is not read to its end."""
        self._batches, self._lookahead = iter(()), []
        if self._reader is not None:
            self._reader.close()  # its source, such as a query, may then continue

    def width(self, name: str) -> int:
        """Return the number of values in a row of a list column; 1 if there are none."""
        return self.lists(name, 1) or 1

    def lists(self, name: str, depth: int) -> int | None:
        """Return the length of the first innermost list of a column that is not empty or null; None if there is none.

        Batches up to that list are read ahead, so that the result does not depend on batch boundaries.
        """
        if name not in self._widths:
            self._widths[name] = next(self._lengths(name, depth), None)
        return self._widths[name]

    def _lengths(self, name: str, depth: int) -> Iterator[int]:
        path = self.path(name)
        for batch in itertools.chain(self._lookahead[:], self._read_ahead()):
            index = batch.schema.get_field_index(path.column)
            if index < 0:  # ``batches`` raises the error when it reaches this batch
                return
            interop.check_memory(batch.column(index))  # because all later code trusts offsets
            column = nested_column(batch, path) if path.steps else batch.column(index)
            for _ in range(depth):
                column = getattr(column, "storage", column)
                if not arrow.is_list(column.type):
                    break
                column, lengths, _ = arrow.entries(column)
            else:
                yield from lengths[lengths > 0][:1].tolist()
                continue
            if not pa.types.is_null(column.type):
                return

    def _read_ahead(self) -> Iterator[Any]:
        for batch in self._batches:
            self._lookahead.append(batch)
            yield batch

    def select(self, names: Iterable[str]) -> None:
        """Read only these columns of a dataset. Call it before the first batch."""
        if self._dataset is not None:
            columns = dict.fromkeys(self.path(name).column for name in names)
            self.schema, self._batches = self._open(self._dataset.scanner(columns=list(columns)))
            self._dataset = None

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        names, done = list(types), 0
        while True:
            batch = self._lookahead.pop(0) if self._lookahead else next(self._batches, None)
            if batch is None:
                return
            if self.may_vary:
                self._check_schema(batch.schema, names, done)
            indices = [batch.schema.get_field_index(name) for name in names]
            batch = pa.RecordBatch.from_arrays([batch.column(index) for index in indices], names)
            interop.check_memory(batch)  # because all later code trusts offsets
            for part, end in slice_batch(batch, rows, done, start.row):
                yield Part(part, None, Mark(end))
            done += batch.num_rows

    def _check_schema(self, schema: Any, names: list[str], row: int) -> None:
        """Raise DataError if columns are missing in a batch, or hold something else than in the batches before."""
        for name in names:
            if schema.get_field_index(name) < 0:
                raise DataError(f"from row {row} on there is no column '{name}'")
            found = schema.field(name).type
            before = self._types.setdefault(name, found)
            if not _fits(found, before):
                raise DataError(f"holds {found} from row {row} on, and {before} before", column=name)
            if _is_unknown(before):
                self._types[name] = found
            if not _is_unknown(found) and not arrow.is_integer(_leaf(found)):
                self._seen_floating.add(name)

    def holds_only_integers(self, name: str) -> bool:
        if self.path(name).steps:  # nested columns have one type in all batches
            return arrow.is_integer(_leaf(self.type(name)))
        return name not in self._seen_floating


def _plain(type_: Any) -> Any:
    """Return a type without an extension or a dictionary around it."""
    type_ = getattr(type_, "storage_type", type_)
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _leaf(type_: Any) -> Any:
    """Return the type of the values in nested lists; that of a column without lists unchanged."""
    type_ = _plain(type_)
    while arrow.is_list(type_):
        type_ = _plain(type_.value_type)
    return type_


def _is_unknown(type_: Any) -> bool:
    """Return whether a column of a type has only nulls and empty lists."""
    return bool(pa.types.is_null(_leaf(type_)))


def _fits(one: Any, other: Any) -> bool:
    """Return whether columns of two types hold the same kind of values."""
    if getattr(one, "extension_name", "") == getattr(other, "extension_name", ""):
        one, other = _plain(one), _plain(other)
    if one == other or pa.types.is_null(one) or pa.types.is_null(other):
        return True
    if arrow.is_list(one) and arrow.is_list(other):
        return _fits(one.value_type, other.value_type)
    return _kind(one) == _kind(other)


def _kind(type_: Any) -> str:
    """Return a word for types that hold the same kind of values."""
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "number"
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return "time"
    name = str(type_)
    if name.startswith("fixed_size_binary"):
        return "binary"
    return name.removeprefix("large_").removesuffix("_view")


def _is_arrow(stream: Any) -> bool:
    return hasattr(stream, "__arrow_c_stream__") or hasattr(stream, "__arrow_c_array__")


def _table(stream: Any) -> Any:
    """Return a table or batch of pyarrow or a pandas frame as a table, or None for anything else.

    The PyCapsule protocol is not used for them, because it loses the buffer sizes that offsets are checked against.
    """
    pandas = sys.modules.get("pandas")  # already imported if the stream is a frame
    if pandas is not None and isinstance(stream, pandas.DataFrame):
        with _conversion_errors(stream):
            return pa.Table.from_pandas(stream)
    if isinstance(stream, pa.RecordBatch):
        return pa.Table.from_batches([stream])
    return stream if isinstance(stream, pa.Table) else None


def _reader(stream: Any) -> Any:
    """Return a reader of an object with Arrow's PyCapsule protocol."""
    with _conversion_errors(stream):
        interop.check_memory(stream)
        if hasattr(stream, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(stream)
        batch = pa.record_batch(stream)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


@contextlib.contextmanager
def _conversion_errors(stream: Any) -> Iterator[None]:
    """Convert the exceptions that pyarrow raises for something that is not a stream of columns to InputError."""
    try:
        yield
    except (ValueError, TypeError, pa.ArrowNotImplementedError) as error:
        reason = " ".join(map(str, error.args)) or type(error).__name__
        raise InputError(
            "stream", f"is a {type(stream).__name__} that is not a stream of columns ({reason})", EXPECTED
        ) from error


def _batches(stream: Any) -> Iterator[Any]:
    """Yield the batches of one of several streams."""
    if (table := _table(stream)) is not None:
        yield from table.to_batches()
    elif _is_arrow(stream):
        yield from _reader(stream)
    else:
        raise InputError("stream", f"contains {short_repr(stream)}", EXPECTED)
