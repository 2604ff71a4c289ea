"""Arrow IPC files and streams as record batches. Large batches are read some rows at a time."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from streamce.errors import DataError
from streamce.inputs import interop
from streamce.reading.files.byte_file import ByteFile
from streamce.reading.files.sources import ARROW_FILE, Source, one_line
from streamce.reading.formats.arrow_blocks import (
    BATCH_BYTES,
    Batch,
    Block,
    blocks_of_file,
    blocks_of_stream,
    has_independent_batches,
)
from streamce.reading.formats.base import START, Mark, Part, Parts, Table, slice_batch


class ArrowTable(Table):
    """An Arrow IPC file, in the file format or the stream format, or a pipe in the stream format."""

    def __init__(self, source: Source, pipe: Any = None) -> None:
        self._file: Any = None  # Arrow's reader of the file format
        self._stream: Any = None  # Arrow's reader of a stream, if batches must be read in order
        self._bytes: ByteFile | None = None
        self._blocks: list[Block] = []  # the batches of the file format, if ``arrow_blocks`` can read them
        self._size = source.size
        self._input = pipe or source.open()
        if pipe is None:
            self._bytes = ByteFile(self._input)
            if self._input.read(6) == ARROW_FILE:
                self._file = ipc.open_file(self._input)
                self.schema: Any = self._file.schema
                blocks = blocks_of_file(self._bytes)
                self._blocks = blocks if len(blocks) == self._file.num_record_batches else []
                return
            self._input.seek(0)
        self._stream = ipc.open_stream(self._input)
        self.schema = self._stream.schema
        if self._bytes is not None and has_independent_batches(self._bytes, self.schema):
            self._stream = None

    def marks(self) -> list[Mark]:
        if self._file is None:
            return [START]
        marks, row = [], 0
        for number, (batch, _) in enumerate(self._batches(self.schema.names[:1], 0)):
            if batch.num_rows:
                marks.append(Mark(row, number, row))
            row += batch.num_rows
        return marks or [START]

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        names, before, done = list(types), start.before, 0.0
        for number, (batch, fraction) in enumerate(self._batches(names, start.piece), start.piece):
            parts: Iterator[tuple[Any, int]]
            if isinstance(batch, Batch):
                parts = batch.parts(names, rows, before, start.row)
            else:
                parts = slice_batch(batch.select(names), rows, before, start.row)
            for part, end in parts:
                interop.check_memory(part)  # because all later code trusts offsets
                share = (end - before) / batch.num_rows
                so_far = None if fraction is None else done + (fraction - done) * share
                yield Part(part, so_far, Mark(end, number, before))
            before, done = before + batch.num_rows, fraction or 0.0

    def _batches(self, names: list[str], first: int) -> Iterator[tuple[Any, float | None]]:
        """Yield batches from number ``first`` on, large ones unread, with the fraction of the source at their ends."""
        if self._file is not None:
            reader = None
            for number in range(first, self._file.num_record_batches):
                batch = self._large_batch(number, self._blocks[number], names) if self._blocks else None
                if batch is None:
                    # Without included_fields, Arrow reads all columns.
                    wanted = [self.schema.get_field_index(name) for name in names]
                    options = ipc.IpcReadOptions(included_fields=wanted, use_threads=False)
                    reader = reader or ipc.open_file(self._input, options=options)
                    batch = _read_batch(number, functools.partial(reader.get_batch, number))
                yield batch, (number + 1) / self._file.num_record_batches
        elif self._stream is not None:
            for number in itertools.count(first):
                batch = _read_batch(number, functools.partial(next, self._stream, None))
                if batch is None:
                    return
                yield batch, self._input.tell() / self._size if self._size else None
        elif self._bytes is not None:
            for number, block in enumerate(blocks_of_stream(self._bytes)):
                if number >= first:
                    batch = self._large_batch(number, block, names)
                    if batch is None:
                        batch = _read_batch(number, Batch(self._bytes, block, self.schema, number).read_all)
                    yield batch, (block.start + block.metadata + block.body) / self._bytes.size

    def _large_batch(self, number: int, block: Block, names: list[str]) -> Batch | None:
        """Return a batch to read some rows at a time, or None if Arrow reads it as a whole."""
        assert self._bytes is not None
        if block.body <= BATCH_BYTES:
            return None
        batch = Batch(self._bytes, block, self.schema, number)
        return batch if batch.has(names) else None


def _read_batch(number: int, read: Callable[[], Any]) -> Any:
    """Return what ``read`` returns, or raise an error that names the batch."""
    try:
        return read()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"record batch {number:,}: {one_line(error)}") from error
