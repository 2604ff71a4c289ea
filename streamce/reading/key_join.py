"""The rows of two readings with equal keys, joined by DuckDB.

A database stores the rows of both readings, because a pipe can be read only once. It keeps at most ``MEMORY`` in memory
and the rest in a temporary folder, which is removed at the end. In addition there is a bit per row in memory.
The database chooses the order of the joined rows, so no result may depend on it.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, Self

import duckdb
import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.carriers import carry, restore
from streamce.reading.chunk import Chunk
from streamce.reading.differences import shown
from streamce.reading.files.sources import one_line
from streamce.reading.key_values import KeyKind, canonical
from streamce.reading.reader import Reading, named

if int(duckdb.__version__.partition(".")[0]) < 2:  # an interrupt makes earlier versions hang or abort
    raise ModuleNotFoundError("duckdb 2", name="duckdb")

Array = np.ndarray[Any, Any]

MEMORY = "1GB"
ARGUMENTS = ("preds", "target", "weight", "cluster")
BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


class Rows(NamedTuple):
    """Joined rows of one side: their numbers, which count the rows of all its sources, and their columns."""

    ids: Array
    batch: Any


class Table(NamedTuple):
    """A table of the database, and the schema of the batches that it holds. Column ``i`` has the name ``c{i}``."""

    name: str
    schema: Any

    def restored(self, indices: Sequence[int], columns: Sequence[Any]) -> Any:
        """Return columns of the database, those of the schema at ``indices``, as a batch."""
        fields = [self.schema.field(i) for i in indices]
        arrays = [restore(column, field.type) for column, field in zip(columns, fields, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, [field.name for field in fields])


class Side:
    """One of the two readings, with its rows in the database: a table per schema, because files may differ in types."""

    def __init__(self, reading: Reading, label: str) -> None:
        self.reading: Reading = reading
        self.label: str = label
        self.tables: list[Table] = []
        self.rows: int = 0
        self.end: int = 0
        self._starts: list[int] = []  # the number of the first row of each source
        self._sources: list[str] = []
        self._source = -1

    def number(self, chunk: Chunk) -> Array:
        """Return the numbers of the rows of the next chunk, and count them."""
        if chunk.end.source != self._source:
            self._source = chunk.end.source
            self._starts.append(self.end)
            self._sources.append(chunk.source)
        ids = self._starts[-1] + chunk.source_rows().astype(np.int64)
        self.rows, self.end = self.rows + chunk.rows, int(ids[-1]) + 1
        return ids

    def locate(self, ids: Array) -> tuple[Array, Array]:
        """Return the number of each row in its source, and the name of its source."""
        if len(self._starts) == 1:
            return ids - self._starts[0], np.full(len(ids), self._sources[0], object)
        sources = np.searchsorted(self._starts, ids, "right") - 1
        return ids - np.array(self._starts)[sources], np.array(self._sources, object)[sources]

    def joined_columns(self, table: Table) -> list[int]:
        """Return the indices of the columns that are needed after the join: keys only if they have another use."""
        selection = self.reading.selection
        uses = {name for argument in ARGUMENTS for name in selection.columns(argument)}
        return [i for i, name in enumerate(table.schema.names) if name in uses or name not in selection.match]

    def place(self, row: int) -> tuple[str, int]:
        """Return the name of the source of a row, and the number of the row in it."""
        numbers, names = self.locate(np.array([row]))
        return str(names[0]), int(numbers[0])


class Marks:
    """A bit for each row of one side, which says whether the row was joined."""

    def __init__(self, rows: int) -> None:
        self._bits = np.zeros(-(-rows // 8), np.uint8)

    def add(self, ids: Array) -> None:
        np.bitwise_or.at(self._bits, ids >> 3, (1 << (ids & 7)).astype(np.uint8))

    def count(self) -> int:
        return int(BITS_SET[self._bits].sum(dtype=np.int64))


class KeyJoin:
    """A context with the rows of two readings. They are joined by the columns ``Selection.match`` of each.

    Parameters
    ----------
    a, b : Reading
    kinds : sequence of KeyKind
        How each column of keys is compared.
    names : sequence of str
        What errors call A and B.
    """

    def __init__(self, a: Reading, b: Reading, kinds: Sequence[KeyKind], names: Sequence[str]) -> None:
        self.a: Side = Side(a, "a")
        self.b: Side = Side(b, "b")
        self._sides = self.a, self.b
        self._kinds, self._names = kinds, names
        self._keys = a.selection.match
        self._key_columns: list[str] = []  # their names in the database

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamce-"))
            # One thread is that of the caller. It reads the rows, and streams may be the caller's code.
            config = {"temp_directory": folder, "memory_limit": MEMORY, "threads": 1,
                      "preserve_insertion_order": False, "arrow_large_buffer_size": True}  # fmt: skip
            self._connection = stack.enter_context(contextlib.closing(duckdb.connect(config=config)))
            self._connection.execute("SET enable_progress_bar = false")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ---- storing the rows ----

    def load(self) -> None:
        """Read all rows of A and of B."""
        for side, name in zip(self._sides, self._names, strict=True):
            chunks = (chunk for chunk in named(side.reading.lazy_chunks(), name) if chunk.rows)
            for schema, group in itertools.groupby(chunks, lambda chunk: chunk.batch.schema):
                self._store(side, schema, group)

    def _store(self, side: Side, schema: Any, chunks: Iterable[Chunk]) -> None:
        """Store the rows of chunks with one schema."""
        errors: list[BaseException] = []
        records = self._records(side, chunks, errors)
        first = next(records)
        reader = pa.RecordBatchReader.from_batches(first.schema, itertools.chain([first], records))
        table = next((table for table in side.tables if table.schema == schema), None)
        if table is None:
            table = Table(f"{side.label}{len(side.tables)}", schema)
            side.tables.append(table)
            statement = f"CREATE TABLE {table.name} AS SELECT * FROM records"
        else:
            statement = f"INSERT INTO {table.name} SELECT * FROM records"
        try:
            with _database_errors():
                self._connection.register("records", reader)
                self._connection.execute(statement)
                self._connection.unregister("records")
        except BaseException:
            if errors:  # the database has only the text of the error
                raise errors[0] from None
            raise

    def _records(self, side: Side, chunks: Iterable[Chunk], errors: list[BaseException]) -> Iterator[Any]:
        """Yield the keys, the number and the columns of all rows. Keep the error that ends this."""
        try:
            for chunk in chunks:
                yield self._record(side, chunk)
        except GeneratorExit:  # the database needs no more rows, because it failed
            raise
        except BaseException as error:
            errors.append(error)
            raise

    def _record(self, side: Side, chunk: Chunk) -> Any:
        batch, arrays = chunk.batch, []
        self._key_columns = []
        for i, (name, kind) in enumerate(zip(self._keys, self._kinds, strict=True)):
            with _errors_of(chunk, name):
                form = canonical(batch.column(name), kind, empty_is_null=side.reading.table.has_only_text)
            arrays += form
            self._key_columns += [f"k{i}_{part}" for part in range(len(form))]
        arrays.append(pa.array(side.number(chunk)))
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            with _errors_of(chunk, name):
                arrays.append(carry(column))
        columns = [f"c{i}" for i in range(batch.num_columns)]
        return pa.RecordBatch.from_arrays(arrays, [*self._key_columns, "id", *columns])

    # ---- the joined rows ----

    def pairs(self, rows: int, *, in_order: bool = False) -> Generator[tuple[Rows, Rows]]:
        """Yield joined rows, about ``rows`` at a time. Raise DataError unless every row has one partner.

        ``in_order`` sorts them by their number in A, which takes longer. Close this iterator if you stop early, because
        the database answers one query at a time.
        """
        if self.a.rows != self.b.rows:
            self.check()
        marks = [Marks(side.end) for side in self._sides]
        joined = 0
        for tables in itertools.product(self.a.tables, self.b.tables):
            indices = [side.joined_columns(table) for side, table in zip(self._sides, tables, strict=True)]
            with contextlib.closing(self._query(self._join(tables, indices, in_order), rows)) as batches:
                for batch in batches:
                    columns, found = iter(batch.columns), []
                    for table, wanted, mark in zip(tables, indices, marks, strict=True):
                        ids = next(columns).to_numpy()
                        mark.add(ids)
                        found.append(Rows(ids, table.restored(wanted, [*itertools.islice(columns, len(wanted))])))
                    joined += batch.num_rows
                    if joined > self.a.rows:  # keys that occur often would have very many pairs
                        break
                    yield found[0], found[1]
            if joined > self.a.rows:
                break
        if joined != self.a.rows or [mark.count() for mark in marks] != [side.rows for side in self._sides]:
            self.check()

    def _join(self, tables: Sequence[Table], indices: Sequence[Sequence[int]], in_order: bool) -> str:
        columns = [
            f"{label}.{column} AS {label}_{column}"
            for label, wanted in zip("ab", indices, strict=True)
            for column in ("id", *(f"c{i}" for i in wanted))
        ]
        sources = " JOIN ".join(f"{table.name} AS {label}" for label, table in zip("ab", tables, strict=True))
        order = " ORDER BY a.id" if in_order else ""
        return f"SELECT {', '.join(columns)} FROM {sources} USING ({', '.join(self._key_columns)}){order}"

    def _query(self, query: str, rows: int) -> Generator[Any]:
        """Yield the record batches of the result of a query."""
        with _database_errors():
            reader = self._connection.sql(query).to_arrow_reader(rows)
        with contextlib.closing(reader):
            while True:
                with _database_errors():
                    batch = next(reader, None)
                if batch is None:
                    return
                yield batch

    # ---- rows without one partner ----

    def check(self) -> None:
        """Raise DataError for the first row whose key occurs twice, or else only on one side."""
        for side in self._sides:
            keys, using = self._all_keys(side), ", ".join(self._key_columns)
            twice = (
                f"SELECT id, earliest FROM ({keys}) JOIN (SELECT {using}, min(id) AS earliest FROM ({keys}) "
                f"GROUP BY ALL HAVING count(*) > 1) USING ({using}) WHERE id > earliest ORDER BY id LIMIT 1"
            )
            for row, earliest in self._fetch(twice):
                source, number = side.place(earliest)
                where = f"row {number}" if source == side.place(row)[0] else f"{source}, row {number}"
                self._fail(side, row, f"which is also in {where}: expected each key once")
        for side, other, name in zip(self._sides, self._sides[::-1], self._names[::-1], strict=True):
            alone = (
                f"SELECT id FROM ({self._all_keys(side)}) ANTI JOIN ({self._all_keys(other)}) "
                f"USING ({', '.join(self._key_columns)}) ORDER BY id LIMIT 1"
            )
            for (row,) in self._fetch(alone):
                unreadable = (
                    f", apart from {n:,} of its rows that cannot be read" if (n := other.reading.unreadable) else ""
                )
                expected = "expected the same keys in both, in any order"
                self._fail(side, row, f"which {name} does not have{unreadable}: {expected}")

    def _all_keys(self, side: Side) -> str:
        columns = ", ".join([*self._key_columns, "id"])
        if not side.tables:
            other = next(each.tables[0].name for each in self._sides if each.tables)
            return f"SELECT {columns} FROM {other} WHERE false"
        return " UNION ALL ".join(f"SELECT {columns} FROM {table.name}" for table in side.tables)

    def _fetch(self, query: str) -> list[Any]:
        with _database_errors():
            return list(self._connection.execute(query).fetchall())

    def _fail(self, side: Side, row: int, why: str) -> NoReturn:
        """Raise the error about the key of a row."""
        source, number = side.place(row)
        for table in side.tables:
            columns = [f"c{table.schema.get_field_index(name)}" for name in self._keys]
            query = f"SELECT {', '.join(columns)} FROM {table.name} WHERE id = {row}"
            for batch in [*self._query(query, 1)]:
                types = [table.schema.field(name).type for name in self._keys]
                values = [shown(restore(*each), 0) for each in zip(batch.columns, types, strict=True) if len(each[0])]
                if len(values) == 1:
                    raise DataError(f"is {values[0]}, {why}", row=number, column=self._keys[0]).with_place(source)
                if values:
                    key = ", ".join(f"'{name}' {value}" for name, value in zip(self._keys, values, strict=True))
                    raise DataError(f"the key is {key}, {why}", row=number).with_place(source)
        raise AssertionError(f"row {row} is in no table")


@contextlib.contextmanager
def _errors_of(chunk: Chunk, name: str) -> Iterator[None]:
    """Complete the errors about a column of a chunk, whose rows count from the start of the chunk."""
    try:
        yield
    except DataError as error:
        if error.row is None:
            raise error.changed(column=name).with_place(chunk.source) from None
        raise error.changed(row=chunk.source_row(error.row), column=name).with_place(chunk.source) from None


@contextlib.contextmanager
def _database_errors() -> Iterator[None]:
    """Convert errors of the database, such as a full disk, to DataError."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        if "KeyboardInterrupt" in str(error):  # the database has only the text of what interrupted a stream
            raise KeyboardInterrupt from None
        reason = one_line(error).partition(" Possible solutions")[0]  # those are options of the database
        raise DataError(f"rows cannot be matched by key: {reason}; TMPDIR sets the temporary folder") from error
    except RuntimeError as error:  # all that the database says if a signal interrupts it
        if type(error) is not RuntimeError:
            raise
        raise (error.__cause__ or KeyboardInterrupt()) from None
