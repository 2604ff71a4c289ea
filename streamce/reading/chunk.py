"""Rows of a source as arrays, and the position after them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import Location
from streamce.keys.moments import Moments
from streamce.reading.formats.base import START, Array, Mark
from streamce.reading.selection import Selection


@dataclass(frozen=True)
class Position:
    """Where to continue a reading: the number of a source and a row of it, with what earlier rows have shown.

    ``width`` is the length of their lists, ``unreadable`` the number of rows that could not be read.
    """

    source: int = 0
    mark: Mark = START
    width: int | None = None
    unreadable: int = 0


@dataclass(frozen=True)
class Chunk:
    """Rows of a source, from ``first_row`` on. Its arrays are valid until the next chunk is requested.

    ``numbers`` are the rows of the source, None if all rows from ``first_row`` on are in the chunk. ``sources`` are the
    names of the source of each row, None if it is the same for all.
    ``fraction`` is the fraction of all sources up to its end, None if unknown. ``end`` is where to continue after it.
    ``no_target`` is the mask of nulls in the target, ``null`` the mask of nulls in any argument. ``extra`` holds other
    arguments of ``update``.
    """

    source: str
    first_row: int
    fraction: float | None
    end: Position
    selection: Selection
    batch: Any
    preds: Array
    target: Array | None
    weight: Array | None
    null: Array | None
    no_target: Array | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    numbers: Array | None = None
    sources: Array | None = None

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)

    def source_row(self, row: int) -> int:
        """Return the number that a row of the chunk has in the source."""
        return self.first_row + row if self.numbers is None else int(self.numbers[row])

    def source_name(self, row: int) -> str:
        """Return the name of the source of a row of the chunk."""
        return self.source if self.sources is None else str(self.sources[row])

    def slice(self, start: int, stop: int) -> "Chunk":
        """Return a chunk of the rows from ``start`` on, before ``stop``."""
        batch = self.batch.slice(start, stop - start)
        return replace(self, first_row=self.first_row + start, batch=batch, **self._arrays(slice(start, stop)))

    def take(self, rows: Array) -> "Chunk":
        """Return a chunk of some of the rows."""
        arrays = {**self._arrays(rows), "numbers": self.source_rows()[rows]}
        return replace(self, batch=self.batch.take(pa.array(rows)), **arrays)

    def _arrays(self, rows: Any) -> dict[str, Any]:
        names = ("preds", "target", "weight", "null", "no_target", "numbers", "sources")
        return {name: None if (array := getattr(self, name)) is None else array[rows] for name in names}

    def source_rows(self) -> Array:
        """Return the numbers that the rows of the chunk have in the source."""
        return np.arange(self.first_row, self.first_row + self.rows) if self.numbers is None else self.numbers

    @property
    def keys(self) -> dict[str, Any]:
        """The columns of keys, by argument of ``update``."""
        keys = {}
        for argument in ("by", "by_time", "cluster"):
            columns = tuple(self.batch.column(name) for name in self.selection.columns(argument))
            if columns:
                keys[argument] = columns if len(columns) > 1 else columns[0]
        if "by_time" in keys:
            keys["by_time"] = Moments(keys["by_time"], self.selection.time_unit)
        return keys

    def cell(self, argument: str, index: Sequence[int]) -> tuple[Location, object]:
        """Return where an entry of an argument is in the source, and its value.

        An entry that is computed from several columns has neither a column nor a value.
        """
        names = self.selection.columns(argument)
        row, *inner = index
        if len(names) > 1 and not inner:
            return Location(self.source_row(row)), None
        name = names[inner[0]] if len(names) > 1 else names[0]
        value = self.batch.column(name)[row].as_py()
        if len(names) == 1 and inner and isinstance(value, list) and not self.selection.encode:
            return Location(self.source_row(row), name, (inner[0],)), value[inner[0]]
        return Location(self.source_row(row), name), value
