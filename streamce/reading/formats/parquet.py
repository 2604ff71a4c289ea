"""Parquet files as record batches, whose size does not depend on that of row groups."""

import bisect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from streamce.errors import DataError
from streamce.inputs.arrow import is_list
from streamce.reading.files.sources import Source, one_line
from streamce.reading.formats.base import START, Mark, Part, Parts, Table

FIRST_ROWS = 1 << 10  # rows of lists to read at a time, because their lengths are unknown
JOINED_BYTES = 1 << 22  # bytes of such rows that are joined into a batch


class ParquetTable(Table):
    """A Parquet file."""

    def __init__(self, source: Source) -> None:
        # A buffer per column, so that memory does not depend on the size of row groups, and only slightly on the number
        # of columns.
        self._file = parquet.ParquetFile(
            source.open(), buffer_size=1 << 16, pre_buffer=False, page_checksum_verification=True
        )
        self.schema: Any = self._file.schema_arrow
        # Only row counts are read from the metadata, because pyarrow does not catch the C++ exception for damaged
        # metadata of a column, which ends the process.
        metadata = self._file.metadata
        self._groups: list[int] = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self._rows = int(metadata.num_rows)
        if min(self._groups, default=0) < 0 or sum(self._groups) != self._rows:
            raise DataError(f"its footer has {self._rows:,} rows for the file, but other numbers for its row groups")

    def width(self, name: str) -> int:
        """Return the average number of values in the first rows."""
        if self.path(name).steps or not is_list(self.type(name)):
            return 1
        for batch in self._file.iter_batches(FIRST_ROWS, columns=[name], use_threads=False):
            column = getattr(batch.column(0), "storage", batch.column(0))
            while is_list(column.type):
                column = column.flatten()
            return max(1, -(-len(column) // max(1, int(batch.num_rows))))
        return 1

    def _ends(self) -> list[int]:
        """Return the row after each row group."""
        return [*itertools.accumulate(self._groups)]

    def marks(self) -> list[Mark]:
        return [START, *(Mark(row) for row in sorted({*self._ends()[:-1]} - {0}))]

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        ends = self._ends()
        first = bisect.bisect_right(ends, start.row)  # the group of this row, because reading begins at a group
        done = ends[first - 1] if first else 0
        try:
            for batch in self._batches([*range(first, len(ends))], list(types), rows):
                batch, done = batch.slice(max(0, start.row - done)), done + batch.num_rows
                if batch.num_rows:
                    yield Part(batch, done / self._rows, Mark(done))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"from row {done:,} on: {one_line(error)}") from error
        if done != self._rows:
            raise DataError(f"it has {done:,} rows, but its footer says {self._rows:,}: it is damaged")

    def _batches(self, groups: list[int], names: list[str], rows: int) -> Iterator[Any]:
        """Yield batches of row groups. Few rows of lists are read at a time and joined, because lists may be long."""
        lists = any(is_list(self.type(name)) for name in names)
        # No threads of Arrow, because they would take the cores that the caller computes on.
        batches = self._file.iter_batches(min(rows, FIRST_ROWS) if lists else rows, groups, names, use_threads=False)
        if not lists:
            yield from batches
            return
        pending: list[Any] = []
        for batch in batches:
            pending.append(batch)
            n_rows = sum(each.num_rows for each in pending)
            if n_rows + FIRST_ROWS > rows or sum(each.nbytes for each in pending) >= JOINED_BYTES:
                yield _join(pending)
                pending = []
        if pending:
            yield _join(pending)


def _join(batches: list[Any]) -> Any:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0] if len(batches) > 1 else batches[0]
