"""CSV and TSV. Types are guesses from the start of the text, and even a number may be text."""

import codecs
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamce.errors import DataError, SelectionError
from streamce.reading.files.sources import Source, one_line
from streamce.reading.formats.base import START, Mark, Part, Parts, ReadableRows
from streamce.reading.formats.csv_parser import QUOTED, CsvParser
from streamce.reading.formats.records import LINE_END, QuotedRecords, Records, UnreadableRecord
from streamce.reading.formats.text import TextTable

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
        super().__init__(source, stream)

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        row = start.row
        for part in super().parts(types, rows, start):
            if self._refuses_quotes:
                for name in part.batch.schema.names:
                    self._check_quotes(name, part, row)
            yield part
            row = part.end.row

    def _check_quotes(self, name: str, part: Part, row: int) -> None:
        """Raise DataError if a cell of a column of text is in quotes, because these would be part of the text."""
        column = part.batch.column(name)
        if pa.types.is_string(column.type):
            at = pc.index(pc.match_substring_regex(column, '(?s)^".*"$'), True).as_py()
            if at >= 0:
                raise DataError(QUOTED, row=part.source_row(at, row), column=name)

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

    def _readable_rows(self, block: bytes, types: Mapping[str, Any], before: int) -> ReadableRows:
        try:
            table = self._parse(block, types)
        except pa.ArrowInvalid as error:
            found = self._parser.readable_rows(*self._text_and_names(block, types))
            if found.error is None:
                raise self._explained(one_line(error), before, block is self._first) from error
            if not self._source.options.skip_unreadable:
                raise found.error.changed(row=before + (found.error.row or 0)) from error
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

    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        return DataError(message)
