"""Lines of JSON that are followed: of a file that grows, and turns, and of standard input."""

from __future__ import annotations

import contextlib
import os
import re
import select
import stat
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from streamce.errors import DataError
from streamce.monitor.growing_source import Following, Piece, is_out_of_descriptors
from streamce.monitor.jsonl_batches import LinesTable, objects
from streamce.reading.reader import Position
from streamce.reading.records import RecordError, too_long
from streamce.reading.sources import MAX_RECORD, Source, naming
from streamce.reading.tables import Mark, Table

BLOCK = 1 << 20  # bytes of lines taken at a time
HEAD = 256  # bytes by which a file is known, beside its number


class Lines(Following):
    """Lines of JSON, each of which counts when its end has come."""

    def __init__(
        self,
        name: str,
        say: Callable[[str], None],
        rows: int,
        skips: bool,
        tells: Callable[[Table], bool],
        longest: int = MAX_RECORD,
    ) -> None:
        super().__init__(name, say)
        self._most, self._skips, self._tells, self._longest = rows, skips, tells, longest
        self._buffer = bytearray()  # bytes that are read but not counted
        self._searched = 0  # the number of them known to hold no line end
        self._block = b""  # those of them that are being counted
        self._looked = 0  # those of them in which no line tells what columns hold
        self._first: bytes | None = None  # the first line that does
        self._row = 0  # of the file
        self._width: int | None = None
        self._table: LinesTable | None = None

    @abstractmethod
    def _more(self) -> bytes:
        """Bytes that are new, nothing where there are none."""

    def next(self) -> Piece | None:
        while True:
            if (block := self._cut()) and (known := self._known(block)) is not None:
                if known:
                    return self._piece(block)
                continue
            if len(self._buffer) > self._longest and not block:
                raise DataError(f"{self.name}: row {self._row}: {RecordError(self._longest)}")
            more = self._more()
            if not more:
                return self._rest()
            self._buffer += more

    def _cut(self) -> bytes:
        """Whole lines from the buffer, no more than asked for."""
        end = self._buffer.rfind(b"\n", self._searched, BLOCK) + 1 or self._buffer.find(b"\n", self._searched) + 1
        if end == 0:
            self._searched = len(self._buffer)
        if self._buffer.count(b"\n", 0, end) > self._most:
            end = 0
            for _ in range(self._most):
                end = self._buffer.index(b"\n", end) + 1
        block = bytes(self._buffer[:end])
        if (start := too_long(block, self._longest)) == 0:
            raise DataError(f"{self.name}: row {self._row}: {RecordError(self._longest)}")
        return block[:start]

    def _rest(self) -> Piece | None:
        """What there is to do where nothing is new."""
        return None

    def _known(self, block: bytes, last: bool = False) -> bool | None:
        """Whether it is known what the columns of a block hold; None where only lines to come may tell.

        Lines before the first object are no rows; they are done with here, whatever comes together with them.
        """
        if self._first is not None:
            return True
        if not self._looked and (start := next((start for _, start, _ in objects(block)), len(block))):
            self._piece(block[:start])
            with naming(self.name):
                list(self._table_of(block[:start]).batches({}, 1, Mark(self._row)))
            self.finished()
            return False
        end = len(block) if last else max(len(block), self._buffer.rfind(b"\n", 0, BLOCK) + 1)
        lines = objects(bytes(self._buffer[self._looked : end]))
        self._first = next((line for line, _, table in lines if self._tells(table)), None)
        self._looked = end
        if self._first is None and (last or len(self._buffer) >= BLOCK):
            self._first = next(line for line, _, _ in objects(block))  # whose columns are then what is wrong
        return None if self._first is None else True

    def _piece(self, block: bytes) -> Piece:
        self._block, self._table = block, None
        source = Source(
            self.name, "json", self.name, size=len(block), table=lambda source: self._table_of(block, source)
        )
        return Piece(source, Position(0, Mark(self._row), self._width))

    def _table_of(self, block: bytes, source: Source | None = None) -> LinesTable:
        source = source or Source(self.name, "json", self.name)
        self._table = LinesTable(source, self._first or b"{}", block, self._skips)
        return self._table

    @property
    def left(self) -> str | None:
        if self._looked and self._first is None:
            return (
                f"{self.name}: all predictions so far are whole numbers: no line is counted before one that has others"
            )
        return f"{self.name}: the last line has no end yet, and is not counted" if self._buffer.strip() else None

    def reached(self, end: Position) -> bool:
        self._width = end.width
        return False

    def finished(self) -> None:
        if self._table is not None:
            self._row += self._table.rows + self._table.unreadable
            self.rows += self._table.rows
            if self._table.unreadable:
                self.unreadable += self._table.unreadable
                others = f" (and {self._table.unreadable - 1:,} more)" if self._table.unreadable > 1 else ""
                self._say(f"{self.name}: a line that cannot be read is skipped{others}: {self._table.why}")
        del self._buffer[: len(self._block)]
        self._searched = 0
        self._block = b""


class LinesFile(Lines):
    """A file that lines are appended to. One that is renamed, and begun anew, is read to its end first."""

    def __init__(
        self,
        path: str,
        say: Callable[[str], None],
        rows: int,
        skips: bool,
        tells: Callable[[Table], bool],
        longest: int = MAX_RECORD,
    ) -> None:
        super().__init__(path, say, rows, skips, tells, longest)
        self._path = path
        self._file: int | None = None
        self._inode, self._head, self._offset = 0, b"", 0
        name, end = map(re.escape, os.path.splitext(os.path.basename(path)))
        self._former = re.compile(rf"{name}(?:{end})?[._-][0-9][0-9T:._-]*(?:{end})?")  # as rotation names files
        self._quiet = False  # whether the file before has said nothing since it was replaced

    @property
    def position(self) -> dict[str, Any]:
        return {
            "inode": self._inode,
            "head": self._head.hex(),
            "offset": self._offset,
            "row": self._row,
            "rows": self.rows,
            "unreadable": self.unreadable,
            "first": None if self._first is None else self._first.decode(errors="surrogateescape"),
            "width": self._width,
        }

    def restore(self, position: dict[str, Any]) -> None:
        whole = [position[name] for name in ("inode", "offset", "row", "rows", "unreadable")]
        if not all(type(number) is int and number >= 0 for number in whole):
            raise ValueError("numbers that are none")
        self._inode, self._offset, self._row, self.rows, self.unreadable = whole
        self._head, self._width = bytes.fromhex(position["head"]), position["width"]
        first = position["first"]
        self._first = None if first is None else first.encode(errors="surrogateescape")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def find(self) -> bool:
        known = self._inode
        if self._file is None:
            self._open()
        return self._inode != known

    def finished(self) -> None:
        if self._offset < HEAD:
            self._head = (self._head[: self._offset] + self._block)[:HEAD]
        self._offset += len(self._block)
        super().finished()

    def _more(self) -> bytes:
        if self._file is None and not self._open():
            return b""
        assert self._file is not None
        at = self._offset + len(self._buffer)
        size = os.fstat(self._file).st_size
        if size < at:
            raise DataError(
                f"{self._path}: this file has shrunk to {size:,} bytes, of which {at:,} had been read: what came in "
                "between is lost"
            )
        more = os.pread(self._file, BLOCK, at)
        if more:
            self._said, self._quiet = "", False
            if os.pread(self._file, len(self._head), 0) != self._head:
                raise DataError(f"{self._path}: this file was written over: what came in between is lost")
        return more

    def _rest(self) -> Piece | None:
        """Where the file is at its end: another may have taken its name."""
        self.turning = False
        if self._file is None:
            return None
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            self._once(f"{self._path}: this file is gone: waiting for the next of its name")
            return None
        if there.st_ino == self._inode or there.st_size == 0:
            return None
        if not self._quiet:  # whoever has it open may write a little more
            self._quiet = self.turning = True
            return None
        if self._buffer and self._known(bytes(self._buffer), last=True):  # a last line without an end
            return self._piece(bytes(self._buffer))
        return self.next() if self._turn() else None

    def _turn(self) -> bool:
        """Go on with the file that was begun after this one: that of the name, unless there were more in between."""
        assert self._file is not None
        try:
            file = self._regular()  # before one looks for others, as it may be renamed meanwhile
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
                    file, name = other, f"{path}, which came before it"
                    break
        except BaseException:
            os.close(file)
            raise
        self._say(f"{self._path}: another file has taken its name: going on with {name or 'that one'}")
        self.close()
        self._begin(file)
        self._offset = self._row = 0
        self._quiet = False
        return True

    def _between(self, newest: int) -> list[str]:
        """Return the files that had the name between this one and the newest, oldest first."""
        assert self._file is not None
        mine, last, found = os.fstat(self._file), os.fstat(newest), []
        with os.scandir(os.path.dirname(os.path.abspath(self._path))) as entries:
            for entry in entries:
                if self._former.fullmatch(entry.name) and entry.inode() not in (mine.st_ino, last.st_ino):
                    with contextlib.suppress(OSError):
                        there = entry.stat()
                        if mine.st_mtime_ns < there.st_mtime_ns <= last.st_mtime_ns and stat.S_ISREG(there.st_mode):
                            found.append((there.st_mtime_ns, entry.path))
        return [path for _, path in sorted(found)]

    def _is_copy(self, other: int) -> bool:
        """Return whether another file looks like a copy of this one."""
        assert self._file is not None
        same_size = os.fstat(other).st_size == os.fstat(self._file).st_size
        return same_size and os.pread(other, HEAD, 0) == os.pread(self._file, HEAD, 0)

    def _begin(self, file: int) -> None:
        """Take a file that is not read yet. Its first bytes tell it from another file with the same inode number."""
        self._file, self._inode, self._head = file, os.fstat(file).st_ino, os.pread(file, HEAD, 0)

    def _open(self) -> bool:
        """Opens the file, or the one of the position wherever it has been moved to."""
        try:
            file = self._regular()
        except FileNotFoundError:
            if self._inode and self._moved():
                return True
            self._once(f"{self._path}: there is no such file yet: waiting")
            return False
        inode = os.fstat(file).st_ino
        if not self._inode:  # nothing was read
            self._begin(file)
            return True
        if inode == self._inode and os.pread(file, len(self._head), 0) == self._head:
            self._file = file
            return True
        os.close(file)
        if self._moved():
            return True
        raise DataError(
            f"{self._path}: this is another file than was read before, and that one is no more in its folder: "
            "rows at its end may be lost"
        )

    def _regular(self) -> int:
        """The file of the name, opened; FileNotFoundError where there is none, DataError where it is no file."""
        file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would wait for its writer
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise DataError(f"{self._path}: this is no file")
        return file

    def _moved(self) -> bool:
        """Whether the file of the position is in the folder by another name; opens it then."""
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


class Pipe(Lines):
    """Lines on standard input. They come once."""

    resumes = False

    def __init__(
        self,
        say: Callable[[str], None],
        rows: int,
        skips: bool,
        tells: Callable[[Table], bool],
        longest: int = MAX_RECORD,
    ) -> None:
        super().__init__("standard input", say, rows, skips, tells, longest)

    @property
    def position(self) -> dict[str, Any]:
        return {"rows": self.rows, "unreadable": self.unreadable}

    def restore(self, position: dict[str, Any]) -> None:
        self.rows, self.unreadable = int(position["rows"]), int(position["unreadable"])

    def _more(self) -> bytes:
        if self.ended or not select.select([0], [], [], 0)[0]:
            return b""
        more = os.read(0, BLOCK)
        self.ended = not more
        return more

    def _rest(self) -> Piece | None:
        whole = self.ended and self._buffer and self._known(bytes(self._buffer), last=True)
        return self._piece(bytes(self._buffer)) if whole else None
