"""Columns that the names of folders hold, such as ``day=2024-01-01/part-0.parquet``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.formats.base import START, Mark, Parts, Table
from streamce.reading.formats.paths import Path


class PartitionedTable(Table):
    """A table with a column for each folder that has a name and a value. A column of the table itself wins.

    The columns are text. They are read as numbers or times where the caller needs these. They are not in ``names()``,
    because they hold neither predictions nor targets.
    """

    def __init__(self, table: Table, partition: tuple[tuple[str, str | None], ...]) -> None:
        own = table.names()
        self._table = table
        self._values = {name: value for name, value in partition if name not in own}
        self.schema: Any = table.schema if hasattr(table, "schema") else None
        self.has_types: bool = table.has_types
        self.has_only_text: bool = table.has_only_text
        self.may_vary: bool = table.may_vary

    @property
    def first_unreadable(self) -> DataError | None:  # type: ignore[override]
        return self._table.first_unreadable

    def names(self) -> list[str]:
        return self._table.names()

    def partition_names(self) -> list[str]:
        return [*self._values]

    def path(self, name: str) -> Path:
        return Path(name) if name in self._values else self._table.path(name)

    def fields(self, path: Path) -> Sequence[str] | None:
        return self._table.fields(path)

    def holds_only_integers(self, name: str) -> bool:
        return self._table.holds_only_integers(name)

    def type(self, name: str) -> Any:
        return pa.string() if name in self._values else self._table.type(name)

    def has_type(self, name: str) -> bool:
        return name not in self._values and self._table.has_type(name)

    def looks_numeric(self, name: str) -> bool:
        return self._table.looks_numeric(name)

    def width(self, name: str) -> int:
        return self._table.width(name)

    def marks(self) -> list[Mark]:
        return self._table.marks()

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        return self.read(types, rows, start)

    def read(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        own = {name: type_ for name, type_ in types.items() if name not in self._values}
        values = {name: self._value(name, type_) for name, type_ in types.items() if name in self._values}
        for part in self._table.read(own, rows, start):
            columns = {name: part.batch.column(name) for name in own}
            columns |= {name: pa.repeat(value, part.batch.num_rows) for name, value in values.items()}
            yield part._replace(batch=pa.RecordBatch.from_arrays([columns[name] for name in types], [*types]))

    def _value(self, name: str, type_: Any) -> Any:
        """Return the value of a column as a scalar."""
        value = pa.scalar(self._values[name], pa.string())
        is_time = pa.types.is_timestamp(type_)
        for kind in [type_, pa.timestamp(type_.unit, "UTC")] if is_time else [type_]:
            try:
                return value.cast(kind)
            except pa.ArrowInvalid:
                pass
        expected = "a time" if is_time else "a number"
        raise DataError(f"is {value.as_py()!r} in the name of a folder, expected {expected}", column=name)
