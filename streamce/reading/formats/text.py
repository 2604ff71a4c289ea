"""Text as record batches, parsed in blocks of whole records. Types are guesses from the start of the text."""

import codecs
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.decoding import Decoded, check_start, is_utf8
from streamce.reading.files.sources import Source, one_line
from streamce.reading.formats.base import Table
from streamce.reading.formats.records import RecordError, Records, UnreadableRecord

T = TypeVar("T")
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
        self._first = first or b""
        self._ahead: list[bytes] = []  # blocks after the first that were read to find the types
        try:
            self.schema: Any = self._parse(self._typing_text(), {}).schema
        except pa.ArrowInvalid as error:
            raise DataError(one_line(error)) from error
        self.names()  # raises an error if a name cannot be decoded

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

    def _next(self, blocks: Iterator[T], row: int | None) -> T | None:
        """Return the next block, or what was made of it; None at the end. Its first row is ``row``."""
        try:
            return next(blocks, None)
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

    @abstractmethod
    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        """Return the columns of ``types``, or all columns with guessed types if ``types`` is empty."""
