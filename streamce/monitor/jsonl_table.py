"""Lines of JSON as a table. The first line that is an object names the columns, in whatever batches lines arrive."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.sources import Source
from streamce.reading.formats.base import START, Mark, Parts
from streamce.reading.formats.json_records import Layout
from streamce.reading.formats.json_rows import object_in
from streamce.reading.formats.json_text import JsonTable


class LinesTable(JsonTable):
    """Some whole lines of a file.

    Parameters
    ----------
    source : Source
    first_line : bytes
        The line that names the columns.
    block : bytes
        The lines.
    known_types : dict
        Types of columns that earlier lines have shown. Those that these lines show are added.
    """

    def __init__(self, source: Source, first_line: bytes, block: bytes, known_types: dict[str, Any]) -> None:
        super().__init__(source, io.BytesIO(first_line))
        self._layout = Layout.LINES
        self._first = self._block = block
        self._known_types = known_types
        self.rows: int = 0  # with those that cannot be read

    def type(self, name: str) -> Any:
        found = super().type(name)
        if not pa.types.is_null(found):
            self._known_types[name] = found
        return found

    def _earlier_type(self, name: str) -> Any:
        return self._known_types.get(name)

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        self._blocks = iter(())
        for part in super().parts(types, rows, Mark(start.row, 0, start.row)):
            self.rows = part.end.row - start.row
            yield part._replace(fraction=None, end=Mark(part.end.row))


def first_object(block: bytes) -> tuple[bytes, int] | None:
    """Return the first line of a block that is an object, and where it begins; None if there is none."""
    start = 0
    for line in block.split(b"\n"):
        with contextlib.suppress(DataError):
            object_in(line)
            return line.strip(), start
        start += len(line) + 1
    return None
