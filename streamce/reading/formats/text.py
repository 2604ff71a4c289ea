"""CSV, TSV and JSON lines as record batches. Types are guesses from the start of the text."""

import codecs
import itertools
import os
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, json

from streamce.errors import DataError
from streamce.inputs.arrow import is_list
from streamce.reading.files.sources import Source, one_line
from streamce.reading.formats.base import START, Batches, Mark, Table, slice_batch
from streamce.reading.formats.records import LINE_END, QuotedRecords, RecordError, Records

TEXT_BLOCK = 1 << 22  # bytes of CSV or JSON parsed at a time
NO_BRACKETS = bytes({*range(256)} - {*b"[]{}"})
QUOTED = "is in quotes: set --quote '\"' if quotes enclose cells of this TSV, or --quote '' if they are text"
MAX_DEPTH = 500  # deepest nesting of lists and objects, because Arrow would overflow the stack at a large depth


class TextTable(Table):
    """CSV or JSON lines, parsed in blocks of whole rows.

    The blocks are cut here, because Arrow's own streaming reader calls back from threads that can outlive the program.
    """

    has_types = False
    first_row: int | None = 0  # of the first record; None if that is a header

    def __init__(self, source: Source, stream: Any = None) -> None:
        self._source = source
        self._size = None if source.is_compressed else source.size
        self._blocks = self._cut(stream or self._unpacked(), 0 if stream is None else None)
        self._first = self._next(self._blocks, self.first_row)
        self.schema: Any = self._table(self._first, {}, 0).schema
        self.names()  # raises an error if a name cannot be decoded

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        piece, before = start.piece, start.before
        blocks = self._blocks_from(piece)
        while block := self._next(blocks, before):
            table = self._table(block, types, before)
            done = before
            fraction = min(1.0, (piece + len(block)) / self._size) if self._size else None
            for batch in table.select(list(types)).combine_chunks().to_batches():
                for part, end in slice_batch(batch, rows, done, start.row):
                    yield part, fraction, Mark(end, piece, before)
                done += batch.num_rows
            piece, before = piece + len(block), done

    def _unpacked(self) -> Any:
        """Return a stream of the text. Arrow unpacks files that end in .gz and the like."""
        return self._source.filesystem.open_input_stream(self._source.path)

    def _blocks_from(self, offset: int) -> Iterator[bytes]:
        if offset == 0:
            return itertools.chain([self._first] if self._first else [], self._blocks)
        if self._source.is_compressed:
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
        records, done, mark = self._records(), offset or 0, b""
        while piece := stream.read(TEXT_BLOCK):
            if done == 0 and piece.startswith(codecs.BOM_UTF8):  # Arrow skips it, and so must the search for quotes
                mark, piece, done = codecs.BOM_UTF8, piece[3:], 3
            done += len(piece)
            for block in records.add(piece):
                yield mark + block
                mark = b""
        if offset is not None and self._size is not None and self._source.is_local and done < self._size:
            raise DataError(f"it ends at byte {done:,}, but had {self._size:,} bytes: it was cut short meanwhile")
        for block in records.finish():
            yield mark + block

    def _records(self) -> Records:
        return Records(self._source.text.max_record)

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


class CsvTable(TextTable):
    """CSV or TSV, by the name of the file. In TSV quotes are text, unless the user sets a quote character."""

    has_only_text = True
    first_row: int | None = None

    def __init__(self, source: Source, stream: Any = None) -> None:
        is_tsv = ".tsv" in os.path.basename(source.path.lower())
        self._comma = "\t" if is_tsv else ","
        self._quote = source.text.quote if source.text.quote is not None else "" if is_tsv else '"'
        self._refuses_quotes = is_tsv and source.text.quote is None
        super().__init__(source, stream)

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        row = start.row
        for batch, fraction, end in super().batches(types, rows, start):
            if self._refuses_quotes:
                for name in batch.schema.names:
                    self._check_quotes(name, batch.column(name), row)
            yield batch, fraction, end
            row = end.row

    def _check_quotes(self, name: str, column: Any, row: int) -> None:
        """Raise DataError if a cell of a column of text is in quotes, because these would be part of the text."""
        if pa.types.is_string(column.type):
            at = pc.index(pc.match_substring_regex(column, '(?s)^".*"$'), True).as_py()
            if at >= 0:
                raise DataError(QUOTED, row=row + at, column=name)

    def _records(self) -> Records:
        longest = self._source.text.max_record
        return QuotedRecords(longest, self._comma, self._quote) if self._quote else Records(longest, LINE_END)

    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        names = None if block is self._first else self.schema.names
        if names is None and not self._quote:
            block = self._with_bare_names(block)
        # Without threads Arrow's errors name their row, and reading is as fast.
        read = csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names)
        parse = csv.ParseOptions(
            delimiter=self._comma, quote_char=self._quote or False, newlines_in_values=bool(self._quote)
        )
        convert = csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=["", "NA", "N/A", "NULL", "null"],  # without "nan", which is a number
        )
        return csv.read_csv(pa.BufferReader(block), read, parse, convert)

    def _with_bare_names(self, block: bytes) -> bytes:
        """Return the first block without quotes around names, because Arrow writes them where cells have none."""
        line_end = b"\n" if b"\n" in block else b"\r"
        header, end, rows = block.removeprefix(codecs.BOM_UTF8).partition(line_end)
        cells = header.rstrip(b"\r").split(self._comma.encode())
        return self._comma.encode().join(re.sub(rb'^"(.*)"$', rb"\1", cell) for cell in cells) + end + rows

    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        match = re.fullmatch(r"(?:In CSV column #(\d+): |(CSV parse error: ))?Row #(\d+): (.*)", message)
        if match is None:
            return DataError(message)
        row = rows - 1 - first + int(match[3])  # Arrow's row #1 may be the header
        if match[1]:
            name = self.schema.names[int(match[1])]
            if self._refuses_quotes and re.search(r"invalid value '\".*\"'$", match[4]):
                return DataError(QUOTED, row=row, column=name)
            return DataError(f"cannot be read: {match[4]}", row=row, column=name)
        return DataError(f"{match[2] or ''}{match[4]}", row=row)


class JsonTable(TextTable):
    """JSON lines. Text stays text, even if Arrow infers a date."""

    def type(self, name: str) -> Any:
        return _with_text(super().type(name))

    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        if null := re.match(rb"\s*null", block):  # crashes Arrow in the first row, and is a row of nulls in others
            block = b"{}" + block[null.end() :]
        if not types and _depth(block) > MAX_DEPTH:
            raise pa.ArrowInvalid(f"more than {MAX_DEPTH} lists and objects within one another")
        parse = json.ParseOptions(
            explicit_schema=pa.schema(list(types.items())) if types else None,
            unexpected_field_behavior="ignore" if types else "infer",
        )
        read = json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        return json.read_json(pa.BufferReader(block), read, parse)

    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        match = re.fullmatch(r"(.*) in row (\d+)", message)
        return DataError(message) if match is None else DataError(match[1], row=rows + int(match[2]))


def _with_text(type_: Any) -> Any:
    """Return a guessed type with text in place of dates and times, also in lists."""
    if is_list(type_):
        return pa.list_(_with_text(type_.value_type))
    return pa.string() if pa.types.is_temporal(type_) else type_


def _depth(block: bytes) -> int:
    """Return the depth of nested lists and objects in lines of JSON, or an upper bound of at most MAX_DEPTH."""
    deepest = max(line.count(b"[") + line.count(b"{") for line in block.split(b"\n"))
    if deepest > MAX_DEPTH:
        bare = re.sub(rb'"(?:[^"\\\n]|\\.)*+"?', b"", block).translate(None, NO_BRACKETS)
        opens = np.isin(np.frombuffer(bare, np.uint8), [*b"[{"])
        deepest = int(np.where(opens, 1, -1).cumsum().max(initial=0))
    return deepest
