"""Arrow streams that are handed over, as a table: what has ``__arrow_c_stream__``, a dataset, or several of these."""

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
from streamce.reading.tables import START, Batches, Mark, Table, slices

HOLDS = "an Arrow stream, such as a table, a reader or a data frame, or record batches one after another"


class StreamTable(Table):
    """A stream that comes once. Its batches are those of whoever makes them, and nothing of it is copied here."""

    def __init__(self, stream: Any, of_caller: Callable[[Iterator[Any]], Iterator[Any]] = iter) -> None:
        """``of_caller`` makes an iterator run in the caller's floating-point mode."""
        self._of_caller = of_caller
        dataset = sys.modules.get("pyarrow.dataset")  # who has one has imported it
        self._dataset = stream if dataset is not None and isinstance(stream, dataset.Dataset) else None
        self._reader: Any = None
        self._seen: list[Any] = []  # batches looked at ahead of their turn
        self._widths: dict[str, int | None] = {}
        self._batches: Iterator[Any] = iter(())
        if self._dataset is not None:
            self.schema = self._dataset.schema
        else:
            self.schema, self._batches = self._opened(stream)

    def _opened(self, stream: Any) -> tuple[Any, Iterator[Any]]:
        """The schema and the batches of a stream."""
        dataset = sys.modules.get("pyarrow.dataset")
        if dataset is not None and isinstance(stream, dataset.Scanner):
            stream = stream.to_reader()
        if not isinstance(stream, pa.RecordBatchReader) and not _is_arrow(stream):
            return self._one_after_another(stream)
        if (table := _table(stream)) is not None:
            return table.schema, iter(table.to_batches())
        # A reader of Python's own is taken as it is: what its generator raises comes as it was raised.
        if isinstance(stream, pa.RecordBatchReader):
            return stream.schema, self._of_caller(iter(stream))
        self._reader = _reader(stream)
        return self._reader.schema, self._of_caller(iter(self._reader))

    def _one_after_another(self, streams: Any) -> tuple[Any, Iterator[Any]]:
        """The same of an iterable of record batches, or of anything that is a stream itself."""
        if isinstance(streams, (str, bytes, Mapping)) or not isinstance(streams, Iterable):
            raise InputError("stream", f"is {short_repr(streams)}", HOLDS)
        batches = itertools.chain.from_iterable(map(_batches, self._of_caller(iter(streams))))
        first = next(batches, None)
        if first is None:
            return None, iter(())
        return first.schema, itertools.chain([first], batches)

    def close(self) -> None:
        """Lets go of the stream, wherever it stands."""
        self._batches, self._seen = iter(()), []
        if self._reader is not None:
            self._reader.close()  # what stands behind it, such as a query, may go on

    def width(self, name: str) -> int:
        """Values in a row of a list column, 1 where it has none."""
        return self.lists(name, 1) or 1

    def lists(self, name: str, depth: int) -> int | None:
        """How long the innermost lists of a column are, by the first that is not empty or null; None if there is none.

        Batches up to there are held, so that what comes first does not hang on how the stream is cut.
        """
        if name not in self._widths:
            self._widths[name] = next(self._lengths(name, depth), None)
        return self._widths[name]

    def _lengths(self, name: str, depth: int) -> Iterator[int]:
        for batch in itertools.chain(self._seen[:], self._ahead()):
            place = batch.schema.get_field_index(name)
            if place < 0:  # which is an error when its turn comes
                return
            column = batch.column(place)
            interop.checked(column)  # from here on offsets are believed
            for _ in range(depth):
                column = getattr(column, "storage", column)
                if not arrow.is_list(column.type):
                    return
                column, lengths, _ = arrow.entries(column)
            yield from lengths[lengths > 0][:1].tolist()

    def _ahead(self) -> Iterator[Any]:
        for batch in self._batches:
            self._seen.append(batch)
            yield batch

    def only(self, names: Iterable[str]) -> None:
        """Says which columns will be asked for: those of a dataset that are read. Before the first batch."""
        if self._dataset is not None:
            self.schema, self._batches = self._opened(self._dataset.scanner(columns=list(dict.fromkeys(names))))
            self._dataset = None

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        names, done = list(types), 0
        places = [self.schema.get_field_index(name) for name in names]
        while True:
            batch = self._seen.pop(0) if self._seen else next(self._batches, None)
            if batch is None:
                return
            if batch.schema is not self.schema and batch.schema != self.schema:
                places = self._found(batch.schema, names, done)
            batch = pa.RecordBatch.from_arrays([batch.column(place) for place in places], names)
            interop.checked(batch)  # from here on offsets are believed
            for part, end in slices(batch, rows, done, start.row):
                yield part, None, Mark(end)
            done += batch.num_rows

    def _found(self, schema: Any, names: list[str], row: int) -> list[int]:
        """Where the columns stand in a batch of another schema; they must be of the types of the first batch."""
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

    They do not go through the PyCapsule protocol, which loses the buffer sizes that offsets are checked against.
    """
    pandas = sys.modules.get("pandas")  # a frame cannot exist without it
    if pandas is not None and isinstance(stream, pandas.DataFrame):
        with _understood(stream):
            return pa.Table.from_pandas(stream)
    if isinstance(stream, pa.RecordBatch):
        return pa.Table.from_batches([stream])
    return stream if isinstance(stream, pa.Table) else None


def _reader(stream: Any) -> Any:
    """A reader of what speaks Arrow's PyCapsule protocol."""
    with _understood(stream):
        interop.checked(stream)
        if hasattr(stream, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(stream)
        batch = pa.record_batch(stream)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


@contextlib.contextmanager
def _understood(stream: Any) -> Iterator[None]:
    """Convert the exceptions that pyarrow raises for something that is not a stream of columns into InputError."""
    try:
        yield
    except (ValueError, TypeError, pa.ArrowNotImplementedError) as error:
        reason = " ".join(map(str, error.args)) or type(error).__name__
        raise InputError(
            "stream", f"is a {type(stream).__name__} that is no stream of columns ({reason})", HOLDS
        ) from error


def _batches(stream: Any) -> Iterator[Any]:
    """The batches of one of several streams."""
    if (table := _table(stream)) is not None:
        yield from table.to_batches()
    elif _is_arrow(stream):
        yield from _reader(stream)
    else:
        raise InputError("stream", f"gives {short_repr(stream)}", HOLDS)
