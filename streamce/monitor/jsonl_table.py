"""Lines of JSON as a table. One line defines the types of all columns, in whatever batches the lines arrive."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.sources import Source
from streamce.reading.formats.base import START, Mark, Part, Parts
from streamce.reading.formats.json_text import JsonTable

# A line that is neither empty nor begins and ends like an object. Arrow would continue the object in the next line.
NOT_AN_OBJECT = re.compile(rb"^(?![ \t\r]*$|[ \t\r]*\{.*\}[ \t\r]*$)", re.MULTILINE)


class LinesTable(JsonTable):
    """Some whole lines of a file, whose columns have the types of one line.

    Arrow infers types from the lines that it reads together. Chance decides which lines arrive together, so this table
    lets Arrow infer types from one line only.

    Parameters
    ----------
    source : Source
    typing_line : bytes
        The line that defines the types.
    block : bytes
        The lines.
    skip_unreadable : bool
        Whether lines that cannot be read are counted in ``unreadable``, with the first error in ``first_error``.
        Otherwise they are an error.
    """

    def __init__(self, source: Source, typing_line: bytes, block: bytes, skip_unreadable: bool) -> None:
        super().__init__(source, io.BytesIO(typing_line))
        self._block, self._skip_unreadable = block, skip_unreadable
        self.rows: int = 0
        self.unreadable: int = 0
        self.first_error: str = ""

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        lines = [line for line in self._block.split(b"\n") if line.strip()]
        tables = self._read(lines, types, start.row)
        self.rows = sum(table.num_rows for table in tables)
        done = start.row
        if tables:
            for batch in pa.concat_tables(tables).combine_chunks().to_batches(rows):
                done += batch.num_rows
                yield Part(batch, None, Mark(done))

    def _read(self, lines: list[bytes], types: Mapping[str, Any], row: int) -> list[Any]:
        """Return tables of the lines that can be read. Lines that cannot be read are found by bisection."""
        if not lines:
            return []
        block = b"\n".join(lines)
        try:
            if NOT_AN_OBJECT.search(block):
                raise pa.ArrowInvalid("a line is not a JSON object")
            return [self._parse(block, types).select(list(types))]
        except pa.ArrowInvalid as error:
            if len(lines) > 1:
                half = len(lines) // 2
                return self._read(lines[:half], types, row) + self._read(lines[half:], types, row + half)
            line_error = DataError(f"{_without_row(str(error))}: {_short_repr(lines[0])}", row=row)
            if not self._skip_unreadable:
                raise line_error from error
            self.unreadable += 1
            self.first_error = self.first_error or str(line_error)
            return []


def objects(block: bytes) -> Iterator[tuple[bytes, int, JsonTable]]:
    """Yield the lines of a block that are objects: the line, where it begins, and a table of it alone."""
    start = 0
    for line in block.split(b"\n"):
        table = None
        if line.strip() and not NOT_AN_OBJECT.search(line):
            with contextlib.suppress(DataError):
                table = JsonTable(Source("", "json", ""), io.BytesIO(line))
        if table is not None:
            yield line.strip(), start, table
        start += len(line) + 1


def _without_row(message: str) -> str:
    """Return Arrow's message without its row, which counts from the line that was tried alone."""
    message = message.removeprefix("JSON parse error: ").partition(" in row ")[0]
    return re.sub(r"Column\(/([^)]*)\)", lambda m: f"column '{m[1]}'", message).rstrip(".")


def _short_repr(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= 60 else text[:57] + "...")
