"""CSV and TSV. Types are guesses from the start of the text, and even a number may be text."""

import codecs
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from streamce._support import threads
from streamce.errors import DataError, SelectionError
from streamce.reading.files.sources import Source, one_line
from streamce.reading.formats.base import START, Mark, Part, Parts, ReadableRows, parts_without, slice_batch
from streamce.reading.formats.csv_parser import CsvParser, QuotedCell
from streamce.reading.formats.records import LINE_END, QuotedRecords, Records, UnreadableRecord
from streamce.reading.formats.text import TextTable

MAX_PARSERS = 4  # threads that parse, because one thread cuts blocks for about as many, and each block takes memory
LARGE_BLOCK = 1 << 24  # bytes of a block that is parsed before the next is cut, so that only one such block is held
TYPING_BYTES = 1 << 22  # bytes of text without readable rows in which types are searched


class CsvTable(TextTable):
    """CSV or TSV. In TSV quotes are text, unless the user sets a quote character."""

    has_only_text = True
    first_row: int | None = None

    def __init__(self, source: Source, stream: Any = None) -> None:
        options, is_tsv = source.options, source.format == "tsv"
        self._delimiter = options.delimiter or ("\t" if is_tsv else ",")
        if options.decimal == self._delimiter:
            raise SelectionError("--decimal , needs a --delimiter that is no comma, such as ';'")
        self._quote = options.quote if options.quote is not None else "" if is_tsv else '"'
        self._refuses_quotes = is_tsv and options.quote is None
        self._parser = CsvParser(self._delimiter, self._quote, options, self._refuses_quotes)
        # A stream is parsed as it arrives, because the next block may take long to come.
        self._threads = min(MAX_PARSERS, threads.limit(options.threads)) if stream is None else 1
        super().__init__(source, stream)

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        row = start.row
        for part in self._all_parts(types, rows, start):
            if self._refuses_quotes:
                for name in part.batch.schema.names:
                    self._check_quotes(name, part, row)
            yield part
            row = part.end.row

    def _all_parts(self, types: Mapping[str, Any], rows: int, start: Mark) -> Parts:
        piece, before, done = start.piece, start.before, start.row
        blocks = self._parsed(self._blocks_from(piece), types)
        while block := self._next(blocks, before):
            size, found = block
            if isinstance(found, DataError):
                self._note_unreadable(found, before, start.row)
                piece, before = piece + size, before + 1
                continue
            if found.error is not None:
                row = before + (found.error.row or 0)
                if isinstance(found.error, QuotedCell) or not self._source.options.skip_unreadable:
                    raise found.error.changed(row=row)
                self._note_unreadable(found.error, row, start.row)
            fraction = min(1.0, (piece + size) / self._size) if self._size else None
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
            piece, before = piece + size, end
        if before > done:
            empty = _batch(pa.schema(list(types.items())).empty_table())
            yield from parts_without(empty, np.arange(0), rows, None, start.row, Mark(before, piece, before))

    def _parsed(self, blocks: Iterator[bytes], types: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
        """Yield the size of each block, with its rows, or with the error of a record that is left out."""
        return threads.in_order(self._parse_tasks(blocks, types), self._threads)

    def _parse_tasks(self, blocks: Iterator[bytes], types: Mapping[str, Any]) -> Iterator[Callable[[], Any]]:
        for block in itertools.takewhile(len, blocks):
            task: Callable[[], Any] = functools.partial(self._parse_block, block, types)
            if len(block) > LARGE_BLOCK:
                task = functools.partial(tuple, task())
            yield task
            del block, task  # while the next block is cut

    def _parse_block(self, block: bytes, types: Mapping[str, Any]) -> tuple[int, ReadableRows | DataError]:
        if isinstance(block, UnreadableRecord):
            return len(block), block.error
        return len(block), self._readable_rows(block, types)

    def _check_quotes(self, name: str, part: Part, row: int) -> None:
        """Raise DataError if a cell of a column of text is in quotes, because these would be part of the text."""
        from pyarrow import compute as pc  # here, because it is slow to import

        column = part.batch.column(name)
        if pa.types.is_string(column.type):
            at = pc.index(pc.match_substring_regex(column, '(?s)^".*"$'), True).as_py()
            if at >= 0:
                raise QuotedCell(row=part.source_row(at, row), column=name)

    def looks_numeric(self, name: str) -> bool:
        return self._parser.looks_numeric(self._with_bare_names(self._typing_text()), name)

    def _records(self, offset: int) -> Records:
        options = self._source.options
        if not self._quote:
            return Records(options.max_record, LINE_END)
        return QuotedRecords(options.max_record, self._delimiter, self._quote, options.skip_unreadable)

    def _typing_text(self) -> bytes:
        """Return the first block, with later ones if it has only the header."""
        text = b"".join([self._first, *(block for block in self._ahead if not isinstance(block, UnreadableRecord))])
        while (
            0 < len(text) < TYPING_BYTES
            and not self._parse(text, {}).num_rows
            and (block := self._next(self._blocks, len(self._ahead)))
        ):
            self._ahead.append(block)
            text += b"" if isinstance(block, UnreadableRecord) else block
        return text

    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        if not types:
            return self._parser.guess_types(self._with_bare_names(block))
        return self._parser.parse(*self._text_and_names(block, types))

    def _text_and_names(self, block: bytes, types: Mapping[str, Any]) -> tuple[bytes, Mapping[str, Any], Any]:
        """Return the arguments of the parser for a block."""
        if block is self._first:
            return self._with_bare_names(block), types, None
        return block, types, self.schema.names

    def _readable_rows(self, block: bytes, types: Mapping[str, Any]) -> ReadableRows:
        """Return the rows of a block that can be read. The row of the error is its position in the block."""
        try:
            table = self._parse(block, types)
        except pa.ArrowInvalid as error:
            try:
                found = self._parser.readable_rows(*self._text_and_names(block, types))
            except QuotedCell as refused:
                return ReadableRows(None, None, 0, refused)
            if found.error is None:
                raise DataError(one_line(error)) from error
            return found
        return ReadableRows(table, None, table.num_rows)

    def _with_bare_names(self, block: bytes) -> bytes:
        """Return the first block without quotes around names if quotes are text, because Arrow writes them there."""
        if self._quote:
            return block
        line_end = b"\n" if b"\n" in block else b"\r"
        header, end, rows = block.removeprefix(codecs.BOM_UTF8).partition(line_end)
        cells = header.rstrip(b"\r").split(self._delimiter.encode())
        return self._delimiter.encode().join(re.sub(rb'^"(.*)"$', rb"\1", cell) for cell in cells) + end + rows


def _batch(table: Any) -> Any:
    """Return a table as one record batch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
