"""Lines of JSON that come a few at a time: one of them tells what the columns hold, whatever comes together."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.sources import Source
from streamce.reading.tables import START, Batches, JsonTable, Mark

# A line that is neither an object nor empty, as far as its ends tell. Arrow would go on with an object in the next.
NO_OBJECT = re.compile(rb"^(?![ \t\r]*$|[ \t\r]*\{.*\}[ \t\r]*$)", re.MULTILINE)


class LinesTable(JsonTable):
    """Some whole lines of a file, whose columns are those of a line ``first``.

    Arrow guesses types from what it reads at once; which lines come together is chance, so it guesses from one.

    Parameters
    ----------
    source : Source
    first, block : bytes
    skips : bool
        Whether lines that cannot be read are counted in ``unreadable``, with the first in ``why``, or an error.
    """

    def __init__(self, source: Source, first: bytes, block: bytes, skips: bool) -> None:
        super().__init__(source, io.BytesIO(first))
        self._block, self._skips = block, skips
        self.rows, self.unreadable, self.why = 0, 0, ""

    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        lines = [line for line in self._block.split(b"\n") if line.strip()]
        tables = self._read(lines, types, start.row)
        self.rows = sum(table.num_rows for table in tables)
        done = start.row
        if tables:
            for batch in pa.concat_tables(tables).combine_chunks().to_batches(rows):
                done += batch.num_rows
                yield batch, None, Mark(done)

    def _read(self, lines: list[bytes], types: Mapping[str, Any], row: int) -> list[Any]:
        """Tables of the lines that can be read; others are found by halves."""
        if not lines:
            return []
        block = b"\n".join(lines)
        try:
            if NO_OBJECT.search(block):
                raise pa.ArrowInvalid("no JSON object in one line")
            return [self._parse(block, types).select(list(types))]
        except pa.ArrowInvalid as error:
            if len(lines) > 1:
                half = len(lines) // 2
                return self._read(lines[:half], types, row) + self._read(lines[half:], types, row + half)
            why = DataError(f"{_plain(str(error))}: {_shown(lines[0])}", row=row)
            if not self._skips:
                raise why from error
            self.unreadable += 1
            self.why = self.why or str(why)
            return []


def objects(block: bytes) -> Iterator[tuple[bytes, int, JsonTable]]:
    """The lines of a block that are objects: each with where it begins, and as a table of its own."""
    start = 0
    for line in block.split(b"\n"):
        table = None
        if line.strip() and not NO_OBJECT.search(line):
            with contextlib.suppress(DataError):
                table = JsonTable(Source("", "json", ""), io.BytesIO(line))
        if table is not None:
            yield line.strip(), start, table
        start += len(line) + 1


def _plain(message: str) -> str:
    """Arrow's message without its row, which is that of one line."""
    message = message.removeprefix("JSON parse error: ").partition(" in row ")[0]
    return re.sub(r"Column\(/([^)]*)\)", lambda m: f"column '{m[1]}'", message).rstrip(".")


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= 60 else text[:57] + "...")
