"""CSV and TSV. Types are guesses from the start of the text, and even a number may be text."""

import codecs
import os
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from streamce.errors import DataError
from streamce.reading.files.sources import Source
from streamce.reading.formats.base import START, Mark, Parts
from streamce.reading.formats.records import LINE_END, QuotedRecords, Records
from streamce.reading.formats.text import TextTable

QUOTED = "is in quotes: set --quote '\"' if quotes enclose cells of this TSV, or --quote '' if they are text"


class CsvTable(TextTable):
    """CSV or TSV, by the name of the file. In TSV quotes are text, unless the user sets a quote character."""

    has_only_text = True
    first_row: int | None = None

    def __init__(self, source: Source, stream: Any = None) -> None:
        is_tsv = ".tsv" in os.path.basename(source.path.lower())
        self._comma = "\t" if is_tsv else ","
        self._quote = source.options.quote if source.options.quote is not None else "" if is_tsv else '"'
        self._refuses_quotes = is_tsv and source.options.quote is None
        super().__init__(source, stream)

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        row = start.row
        for part in super().parts(types, rows, start):
            if self._refuses_quotes:
                for name in part.batch.schema.names:
                    self._check_quotes(name, part.batch.column(name), row)
            yield part
            row = part.end.row

    def _check_quotes(self, name: str, column: Any, row: int) -> None:
        """Raise DataError if a cell of a column of text is in quotes, because these would be part of the text."""
        if pa.types.is_string(column.type):
            at = pc.index(pc.match_substring_regex(column, '(?s)^".*"$'), True).as_py()
            if at >= 0:
                raise DataError(QUOTED, row=row + at, column=name)

    def _records(self, offset: int) -> Records:
        longest = self._source.options.max_record
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
