"""Growing sources of JSON lines: a file, which may be rotated, and standard input."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import select
import stat
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from streamce.errors import DataError
from streamce.monitor.growing_source import GrowingSource, NewRows, is_out_of_descriptors
from streamce.monitor.jsonl_table import LinesTable, first_object
from streamce.reading.chunk import Position
from streamce.reading.files.decoding import is_utf8
from streamce.reading.files.read_options import ReadOptions
from streamce.reading.files.sources import Source, file_errors
from streamce.reading.formats.base import Mark
from streamce.reading.formats.json_values import type_from_json, type_to_json
from streamce.reading.formats.records import length_error, too_long

BLOCK = 1 << 20  # bytes of lines read at a time
HEAD = 256  # bytes at the start of a file that identify it, together with its inode


class JsonlSource(GrowingSource):
    """Lines of JSON. A line counts when its end has arrived.

    Parameters
    ----------
    name, log
        As for ``GrowingSource``.
    max_rows : int
        Maximum number of lines to read at a time.
    options : ReadOptions
    """

    def __init__(self, name: str, log: Callable[[str], None], max_rows: int, options: ReadOptions) -> None:
        super().__init__(name, log)
        self._max_rows, self._options = max_rows, options
        self._has_utf8 = is_utf8(options.encoding)
        self._buffer = bytearray()  # bytes that are read but not counted
        self._n_searched = 0  # number of its first bytes that hold no line end
        self._block = b""  # its first bytes, which are being counted
        self._first_line: bytes | None = None  # the first line that is an object, which names the columns
        self._types: dict[str, Any] = {}  # types that columns have shown
        self._row = 0  # number of the next row in the file
        self._width: int | None = None
        self._n_unreadable = 0  # lines of the block that could not be read
        self._table: LinesTable | None = None

    @abstractmethod
    def _more(self) -> bytes:
        """Return new bytes, or no bytes if there are none."""

    def next(self) -> NewRows | None:
        while True:
            if block := self._whole_lines():
                if self._has_names(block):
                    return self._new_rows(block)
                continue
            if len(self._buffer) > self._options.max_record and not block:
                raise self._too_long()
            more = self._more()
            if not more:
                return self._at_end()
            self._buffer += more

    def _whole_lines(self) -> bytes:
        """Return whole lines from the buffer, at most ``max_rows``."""
        searched, most = self._n_searched, self._max_rows
        end = self._buffer.rfind(b"\n", searched, BLOCK) + 1 or self._buffer.find(b"\n", searched) + 1
        if end == 0:
            self._n_searched = len(self._buffer)
        if self._buffer.count(b"\n", 0, end) > most:
            end = 0
            for _ in range(most):
                end = self._buffer.index(b"\n", end) + 1
        block = bytes(self._buffer[:end])
        if (start := too_long(block, self._options.max_record)) == 0:
            raise self._too_long()
        return block[:start]

    def _too_long(self) -> DataError:
        return DataError(f"{self.name}: row {self._row}: {length_error(self._options.max_record)}")

    def _at_end(self) -> NewRows | None:
        """Finish pending work if there are no new bytes, and return new rows that result."""
        return None

    def _has_names(self, block: bytes) -> bool:
        """Return whether the names of columns are known. If not, this method has skipped lines that are not objects."""
        if self._first_line is not None:
            return True
        text = self._utf8(block)
        if (found := first_object(text)) is not None:
            self._first_line = found[0]
            return True
        self._new_rows(block)
        with file_errors(self.name):
            table = self._table_of(text)
            list(table.parts({}, 1, Mark(self._row)))
        self.note_unreadable(table.rows, table.first_unreadable)
        self.finish()
        return False

    def _new_rows(self, block: bytes) -> NewRows:
        self._block, self._table = block, None
        return NewRows(self._source_of(self._utf8(block)), Position(0, Mark(self._row), self._width))

    def _utf8(self, block: bytes) -> bytes:
        """Return lines as UTF-8."""
        if self._has_utf8:
            return block
        encoding = str(self._options.encoding)
        try:
            return block.decode(encoding).encode()
        except UnicodeDecodeError as error:
            row = self._row + block.count(b"\n", 0, error.start)
            raise DataError(f"it is not {encoding}: see --encoding", row=row).with_place(self.name) from error

    def _source_of(self, text: bytes) -> Source:
        options, table = replace(self._options, encoding=None), functools.partial(self._table_of, text)
        return Source(self.name, "json", self.name, size=len(text), table=table, options=options)

    def _table_of(self, text: bytes, source: Source | None = None) -> LinesTable:
        source = source or self._source_of(text)
        self._table = LinesTable(source, self._first_line or b"", text, self._types)
        return self._table

    @property
    def pending(self) -> str | None:
        return f"{self.name}: the last line is not counted, because it has no end yet" if self._buffer.strip() else None

    def mark_counted(self, end: Position) -> bool:
        self._width = end.width
        return False

    def note_unreadable(self, count: int, first: DataError | None) -> None:
        self._n_unreadable = count
        if count:
            others = f" (and {count - 1:,} more)" if count > 1 else ""
            reason = first.changed(places=()) if first is not None else ""
            self._log(f"{self.name}: skipped a line that cannot be read{others}: {reason}")

    def finish(self) -> None:
        if self._table is not None:
            self._row += self._table.rows
            self._rows += self._table.rows - self._n_unreadable
            self._unreadable += self._n_unreadable
        self._n_unreadable = 0
        del self._buffer[: len(self._block)]
        self._n_searched = 0
        self._block = b""


class JsonlFile(JsonlSource):
    """A file to which lines are appended. After a rotation, the old file is read to its end first."""

    def __init__(self, path: str, log: Callable[[str], None], max_rows: int, options: ReadOptions) -> None:
        super().__init__(path, log, max_rows, options)
        self._path = path
        self._file: int | None = None
        self._inode, self._head, self._offset = 0, b"", 0
        name, end = map(re.escape, os.path.splitext(os.path.basename(path)))
        self._rotated_name = re.compile(rf"{name}(?:{end})?[._-][0-9][0-9T:._-]*(?:{end})?")
        self._was_idle = False  # whether the old file has not grown since another file took its name

    @property
    def position(self) -> dict[str, Any]:
        return {
            "inode": self._inode,
            "head": self._head.hex(),
            "offset": self._offset,
            "row": self._row,
            "rows": self._rows,
            "unreadable": self._unreadable,
            "first": None if self._first_line is None else self._first_line.decode(errors="surrogateescape"),
            "types": {name: type_to_json(type_) for name, type_ in self._types.items()},
            "width": self._width,
        }

    def restore(self, position: dict[str, Any]) -> None:
        numbers = [position[name] for name in ("inode", "offset", "row", "rows", "unreadable")]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("expected numbers that are not negative")
        self._inode, self._offset, self._row, self._rows, self._unreadable = numbers
        self._head, self._width = bytes.fromhex(position["head"]), position["width"]
        first = position["first"]
        self._first_line = None if first is None else first.encode(errors="surrogateescape")
        self._types = {name: type_from_json(found) for name, found in position.get("types", {}).items()}

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def find(self) -> bool:
        before = self._inode
        if self._file is None:
            self._open()
        return self._inode != before

    def finish(self) -> None:
        if self._offset < HEAD:
            self._head = (self._head[: self._offset] + self._block)[:HEAD]
        self._offset += len(self._block)
        super().finish()

    def _more(self) -> bytes:
        if self._file is None and not self._open():
            return b""
        assert self._file is not None
        end = self._offset + len(self._buffer)
        size = os.fstat(self._file).st_size
        if size < end:
            raise DataError(
                f"{self._path}: this file has shrunk to {size:,} bytes after {end:,} bytes were read: rows may be lost"
            )
        more = os.pread(self._file, BLOCK, end)
        if more:
            self._logged, self._was_idle = "", False
            if os.pread(self._file, len(self._head), 0) != self._head:
                raise DataError(f"{self._path}: this file was overwritten: rows may be lost")
        return more

    def _at_end(self) -> NewRows | None:
        """Look for another file that has taken the name of this one, and continue there."""
        self._rotating = False
        if self._file is None:
            return None
        try:
            info = os.stat(self._path)
        except FileNotFoundError:
            self._log_once(f"{self._path}: this file is gone: waiting for the next file of this name")
            return None
        if info.st_ino == self._inode or info.st_size == 0:
            return None
        if not self._was_idle:  # a program that has the old file open may still write
            self._was_idle = self._rotating = True
            return None
        if self._buffer and self._has_names(bytes(self._buffer)):  # count a last line that has no end
            return self._new_rows(bytes(self._buffer))
        return self.next() if self._open_next() else None

    def _open_next(self) -> bool:
        """Continue with the file that came after this one, and return whether there is one.

        It is the file that has the name now, unless other files had the name in between.
        """
        assert self._file is not None
        try:
            file = self._open_regular()  # before looking for others, because it may be renamed meanwhile
        except FileNotFoundError:
            return False
        name = ""
        try:
            for path in self._between(file):
                with contextlib.suppress(FileNotFoundError):
                    other = os.open(path, os.O_RDONLY)
                    if self._is_copy(other):
                        os.close(other)
                        continue
                    os.close(file)
                    file, name = other, f"{path}, which was written before it"
                    break
        except BaseException:
            os.close(file)
            raise
        self._log(f"{self._path}: another file has taken this name: continuing with {name or 'the new file'}")
        self.close()
        self._begin(file)
        self._offset = self._row = 0
        self._was_idle = False
        return True

    def _between(self, newest: int) -> list[str]:
        """Return the files that had the name between this one and the newest, oldest first."""
        assert self._file is not None
        this, last, between = os.fstat(self._file), os.fstat(newest), []
        with os.scandir(os.path.dirname(os.path.abspath(self._path))) as entries:
            for entry in entries:
                if self._rotated_name.fullmatch(entry.name) and entry.inode() not in (this.st_ino, last.st_ino):
                    with contextlib.suppress(OSError):
                        info = entry.stat()
                        if this.st_mtime_ns < info.st_mtime_ns <= last.st_mtime_ns and stat.S_ISREG(info.st_mode):
                            between.append((info.st_mtime_ns, entry.path))
        return [path for _, path in sorted(between)]

    def _is_copy(self, other: int) -> bool:
        """Return whether another file looks like a copy of this one."""
        assert self._file is not None
        same_size = os.fstat(other).st_size == os.fstat(self._file).st_size
        return same_size and os.pread(other, HEAD, 0) == os.pread(self._file, HEAD, 0)

    def _begin(self, file: int) -> None:
        """Start reading a new file. Its first bytes distinguish it from another file with the same inode."""
        self._file, self._inode, self._head = file, os.fstat(file).st_ino, os.pread(file, HEAD, 0)

    def _open(self) -> bool:
        """Open the file, or the file of the position even if it was renamed. Return whether there is one."""
        try:
            file = self._open_regular()
        except FileNotFoundError:
            if self._inode and self._open_renamed():
                return True
            self._log_once(f"{self._path}: this file does not exist yet: waiting")
            return False
        inode = os.fstat(file).st_ino
        if not self._inode:  # nothing was read
            self._begin(file)
            return True
        if inode == self._inode and os.pread(file, len(self._head), 0) == self._head:
            self._file = file
            return True
        os.close(file)
        if self._open_renamed():
            return True
        raise DataError(
            f"{self._path}: this is not the file that was read before, and that file is no longer in its folder: "
            "rows at its end may be lost"
        )

    def _open_regular(self) -> int:
        """Open the file that has the name. Raise FileNotFoundError if it is missing, DataError if it is not a file."""
        file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would wait for its writer
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise DataError(f"{self._path}: this is not a file")
        return file

    def _open_renamed(self) -> bool:
        """Open the file of the position if it is in the folder under another name. Return whether it is."""
        with os.scandir(os.path.dirname(os.path.abspath(self._path))) as entries:
            names = [entry.path for entry in entries if entry.inode() == self._inode]
        for name in names:
            try:
                file = os.open(name, os.O_RDONLY)
            except OSError as error:
                if is_out_of_descriptors(error):
                    raise
                continue
            if os.pread(file, len(self._head), 0) == self._head:
                self._file = file
                return True
            os.close(file)
        return False


class JsonlPipe(JsonlSource):
    """Lines on standard input, which can be read only once."""

    def __init__(self, log: Callable[[str], None], max_rows: int, options: ReadOptions) -> None:
        super().__init__("standard input", log, max_rows, options)

    @property
    def position(self) -> dict[str, Any]:
        return {"rows": self._rows, "unreadable": self._unreadable}

    def restore(self, position: dict[str, Any]) -> None:
        self._rows, self._unreadable = int(position["rows"]), int(position["unreadable"])

    def _more(self) -> bytes:
        if self._ended or not select.select([0], [], [], 0)[0]:
            return b""
        more = os.read(0, BLOCK)
        self._ended = not more
        return more

    def _at_end(self) -> NewRows | None:
        is_complete = self._ended and self._buffer and self._has_names(bytes(self._buffer))
        return self._new_rows(bytes(self._buffer)) if is_complete else None
