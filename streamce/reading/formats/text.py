"""Text as record batches, parsed in blocks of whole records. Types are guesses from the start of the text."""

import codecs
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.decoding import Decoded, check_start, is_utf8
from streamce.reading.files.sources import Source, one_line
from streamce.reading.formats.base import START, Mark, Part, Parts, ReadableRows, Table, parts_without, slice_batch
from streamce.reading.formats.records import RecordError, Records, UnreadableRecord

TEXT_BLOCK = 1 << 22  # bytes of text parsed at a time


class TextTable(Table):
    """CSV or JSON lines, parsed in blocks of whole rows.

    The blocks are cut here, because Arrow's own streaming reader calls back from threads that can outlive the program.
    """

    has_types = False
    first_row: int | None = 0  # of the first record; None if that is a header

    def __init__(self, source: Source, stream: Any = None) -> None:
        self.first_unreadable: DataError | None = None
        self._source = source
        self._is_utf8 = is_utf8(source.options.encoding)
        self._size = source.size if self._is_utf8 and not source.is_compressed else None
        self._blocks = self._cut(*((self._unpacked(), 0) if stream is None else (self._utf8(stream), None)))
        first = self._next(self._blocks, self.first_row)
        if isinstance(first, UnreadableRecord):  # the header
            raise first.error
        self._first = first
        self._ahead: list[bytes] = []  # blocks after the first that were read to find the types
        self.schema: Any = self._table(self._typing_text(), {}, 0).schema
        self.names()  # raises an error if a name cannot be decoded

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        piece, before, done = start.piece, start.before, start.row
        blocks = self._blocks_from(piece)
        while block := self._next(blocks, before):
            if isinstance(block, UnreadableRecord):
                self._note_unreadable(block.error, before, start.row)
                piece, before = piece + len(block), before + 1
                continue
            found = self._readable_rows(block, types, before)
            if found.error is not None:
                self._note_unreadable(found.error, before + (found.error.row or 0), start.row)
            fraction = min(1.0, (piece + len(block)) / self._size) if self._size else None
            end = before + found.n_rows
            batch = _batch(found.table.select(list(types)))
            if found.positions is None and done >= before:
                for part, row in slice_batch(batch, rows, before, start.row):
                    yield Part(part, fraction, Mark(row, piece, before))
            else:  # rows of this block or before it are left out
                positions = np.arange(found.n_rows) if found.positions is None else found.positions
                end_mark = Mark(end, piece, before)
                yield from parts_without(batch, before + positions, rows, fraction, start.row, end_mark)
            done = max(done, end)
            piece, before = piece + len(block), end
        if before > done:
            empty = _batch(pa.schema(list(types.items())).empty_table())
            yield from parts_without(empty, np.arange(0), rows, None, start.row, Mark(before, piece, before))

    def _typing_text(self) -> bytes:
        """Return the text at the start from which types are guessed."""
        return self._first

    def _note_unreadable(self, error: DataError, row: int, start_row: int) -> None:
        if self.first_unreadable is None and row >= start_row:
            self.first_unreadable = error.changed(row=row)

    @property
    def _read_size(self) -> int:
        """The number of bytes to read at a time."""
        return TEXT_BLOCK

    def _unpacked(self) -> Any:
        """Return a stream of the text. Arrow unpacks files that end in .gz and the like."""
        return self._utf8(self._source.filesystem.open_input_stream(self._source.path))

    def _utf8(self, stream: Any) -> Any:
        """Return a stream as UTF-8."""
        return stream if self._is_utf8 else Decoded(stream, str(self._source.options.encoding))

    def _blocks_from(self, offset: int) -> Iterator[bytes]:
        if offset == 0:
            return itertools.chain([self._first] if self._first else [], self._ahead, self._blocks)
        if self._source.is_compressed or not self._is_utf8:
            stream, remaining = self._unpacked(), offset
            while remaining and (skipped := len(stream.read(min(remaining, TEXT_BLOCK)))):
                remaining -= skipped
        else:
            stream = self._source.open()
            stream.seek(offset)
        return self._cut(stream, offset)

    def _next(self, blocks: Iterator[bytes], row: int | None) -> bytes:
        """Return the next block, whose first row is ``row``, or no bytes at the end."""
        try:
            return next(blocks, b"")
        except RecordError as error:
            raise DataError(error.found, row=row) from error

    def _cut(self, stream: Any, offset: int | None) -> Iterator[bytes]:
        """Yield blocks of whole rows of a stream. It begins at ``offset`` of a file; None if it is not a file."""
        records, done, mark = self._records(offset or 0), offset or 0, b""
        while piece := stream.read(self._read_size):
            if done == 0:
                check_start(piece)
            if done == 0 and piece.startswith(codecs.BOM_UTF8):  # Arrow skips it, and so must the search for quotes
                mark, piece, done = codecs.BOM_UTF8, piece[3:], 3
            done += len(piece)
            for block in records.add(piece):
                yield block if isinstance(block, UnreadableRecord) else mark + block
                mark = b""
        if offset is not None and self._size is not None and self._source.is_local and done < self._size:
            raise DataError(f"it ends at byte {done:,}, but had {self._size:,} bytes: it was cut short meanwhile")
        for block in records.finish():
            yield block if isinstance(block, UnreadableRecord) else mark + block
            mark = b""

    def _records(self, offset: int) -> Records:
        """Return the buffer for text from ``offset`` of the source on."""
        return Records(self._source.options.max_record)

    def _readable_rows(self, block: bytes, types: Mapping[str, Any], before: int) -> ReadableRows:
        """Return the rows of a block that can be read. The others are an error unless the user allows it."""
        table = self._table(block, types, before)
        return ReadableRows(table, None, table.num_rows)

    def _table(self, block: bytes, types: Mapping[str, Any], rows: int) -> Any:
        try:
            return self._parse(block, types)
        except pa.ArrowInvalid as error:
            raise self._explained(one_line(error), rows, block is self._first) from error

    @abstractmethod
    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        """Return the columns of ``types``, or all columns with guessed types if ``types`` is empty."""

    @abstractmethod
    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        """Return the error for Arrow's message, with rows of the file and names of columns."""


def _batch(table: Any) -> Any:
    """Return a table as one record batch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
