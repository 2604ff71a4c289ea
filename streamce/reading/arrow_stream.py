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
from streamce.reading.formats.base import START, Mark, Part, Parts, Table, slice_batch

EXPECTED = "an Arrow stream, such as a table, a reader or a data frame, or an iterable of record batches"


class StreamTable(Table):
    """A stream that can be read once. Its batches are those of its producer, and are not copied."""

    def __init__(self, stream: Any, in_caller_mode: Callable[[Iterator[Any]], Iterator[Any]] = iter) -> None:
        """``in_caller_mode`` makes an iterator run in the caller's floating-point mode."""
        self._in_caller_mode = in_caller_mode
        dataset = sys.modules.get("pyarrow.dataset")  # already imported if the stream is a dataset
        self._dataset = stream if dataset is not None and isinstance(stream, dataset.Dataset) else None
        self._reader: Any = None
        self._lookahead: list[Any] = []  # batches that were read before their turn
        self._widths: dict[str, int | None] = {}
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
        for batch in itertools.chain(self._lookahead[:], self._read_ahead()):
            index = batch.schema.get_field_index(name)
            if index < 0:  # ``batches`` raises the error when it reaches this batch
                return
            column = batch.column(index)
            interop.check_memory(column)  # because all later code trusts offsets
            for _ in range(depth):
                column = getattr(column, "storage", column)
                if not arrow.is_list(column.type):
                    return
                column, lengths, _ = arrow.entries(column)
            yield from lengths[lengths > 0][:1].tolist()

    def _read_ahead(self) -> Iterator[Any]:
        for batch in self._batches:
            self._lookahead.append(batch)
            yield batch

    def select(self, names: Iterable[str]) -> None:
        """Read only these columns of a dataset. Call it before the first batch."""
        if self._dataset is not None:
            self.schema, self._batches = self._open(self._dataset.scanner(columns=list(dict.fromkeys(names))))
            self._dataset = None

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        names, done = list(types), 0
        indices = [self.schema.get_field_index(name) for name in names]
        while True:
            batch = self._lookahead.pop(0) if self._lookahead else next(self._batches, None)
            if batch is None:
                return
            if batch.schema is not self.schema and batch.schema != self.schema:
                indices = self._column_indices(batch.schema, names, done)
            batch = pa.RecordBatch.from_arrays([batch.column(index) for index in indices], names)
            interop.check_memory(batch)  # because all later code trusts offsets
            for part, end in slice_batch(batch, rows, done, start.row):
                yield Part(part, None, Mark(end))
            done += batch.num_rows

    def _column_indices(self, schema: Any, names: list[str], row: int) -> list[int]:
        """Return where columns are in a batch of another schema. Their types must be those of the first batch."""
        for name in names:
            if schema.get_field_index(name) < 0:
                raise DataError(f"from row {row} on there is no column '{name}'")
            if schema.field(name).type != self.schema.field(name).type:
                found, before = schema.field(name).type, self.schema.field(name).type
                raise DataError(f"holds {found} from row {row} on, and {before} before", column=name)
        return [schema.get_field_index(name) for name in names]


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
