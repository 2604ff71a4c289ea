"""A folder that receives Parquet files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from pyarrow import fs

from streamce.errors import DataError
from streamce.monitor.growing_source import GrowingSource, NewRows
from streamce.reading.chunk import Position
from streamce.reading.files.read_options import ReadOptions
from streamce.reading.files.sources import Source, file_errors, format_of, list_files, partition_of
from streamce.reading.formats.base import Mark

FOOTER_TIMEOUT = 30.0  # seconds without growth after which a file without a footer is reported
FOOTER = b"PAR1"


class ParquetFolder(GrowingSource):
    """A folder that receives Parquet files. A file counts when it has its footer."""

    def __init__(self, filesystem: Any, path: str, name: str, log: Callable[[str], None], options: ReadOptions) -> None:
        super().__init__(name, log)
        self._options = options
        self._filesystem, self._path = filesystem, path.rstrip("/")
        self._files: dict[str, list[int]] = {}  # size, modification time and rows of each counted file
        self._names: dict[tuple[str, int, int], list[str]] = {}  # names of counted files by their identity
        self._current: dict[str, Any] | None = None  # the file that is being read
        self._new: list[str] = []
        self._incomplete: dict[str, tuple[int, float]] = {}  # files without a footer: size, and since when
        self._width: int | None = None
        self._n_unreadable = 0  # rows of the reading that could not be read

    @property
    def position(self) -> dict[str, Any]:
        current = None if self._current is None else dict(self._current)
        return {
            "files": dict(self._files),
            "at": current,
            "rows": self._rows,
            "unreadable": self._unreadable,
            "width": self._width,
        }

    def restore(self, position: dict[str, Any]) -> None:
        for name, numbers in position["files"].items():
            self._remember(name, [int(number) for number in numbers])
        self._current, self._rows, self._width = position["at"], int(position["rows"]), position["width"]
        self._unreadable = int(position.get("unreadable", 0))
        if self._current is not None:
            self._current = {name: self._current[name] for name in ("name", "size", "changed", "row")}

    def next(self) -> NewRows | None:
        if self._current is not None:  # the previous run was stopped in this file
            [info] = self._filesystem.get_file_info([f"{self._path}/{self._current['name']}"])
            if info.type != fs.FileType.File:
                raise DataError(f"{info.path}: this file is gone after {self._current['row']:,} of its rows were read")
            return self._new_rows(info, self._current)
        if not self._new:
            self._new = self._list()[::-1]
        while self._new:
            name = self._new.pop()
            [info] = self._filesystem.get_file_info([f"{self._path}/{name}"])
            if info.type == fs.FileType.File and self._is_complete(info, name) and not self._was_moved(info, name):
                self._current = {"name": name, "size": info.size, "changed": info.mtime_ns or 0, "row": 0}
                return self._new_rows(info, self._current)
        return None

    @property
    def pending(self) -> str | None:
        number = len(self._incomplete)
        files = f"{number:,} {'file is' if number == 1 else 'files are'}"
        return f"{self.name}: {files} not counted, because the footer is missing" if number else None

    def _list(self) -> list[str]:
        """Return the names of new files, in order. Check that the counted files have not changed."""
        try:
            with file_errors(self.name):
                infos = list_files(self._filesystem, self._path, True)
        except DataError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self._log_once(f"{self.name}: this folder is gone: waiting")
            return []
        new = []
        for info in infos:
            if format_of(info.path) == "parquet":
                name = info.path[len(self._path) :].lstrip("/")
                if counted := self._files.get(name):
                    self._check(info, *counted)
                else:
                    new.append(name)
        for name in self._incomplete.keys() - set(new):
            del self._incomplete[name]
        return new

    def _was_moved(self, info: Any, name: str) -> bool:
        """Return whether a file was counted in another folder below this one and moved here. Note its new name."""
        old_names = self._names.get(_identity(name, info.size, info.mtime_ns or 0), [])
        old_infos = self._filesystem.get_file_info([f"{self._path}/{other}" for other in old_names])
        for other, old_info in zip(old_names, old_infos, strict=True):
            if old_info.type == fs.FileType.NotFound:
                old_names.remove(other)
                self._remember(name, self._files.pop(other))
                return True
        return False

    def _remember(self, name: str, numbers: list[int]) -> None:
        """Note that a file with this size, modification time and number of rows is counted."""
        self._files[name] = numbers
        self._names.setdefault(_identity(name, *numbers[:2]), []).append(name)

    def _check(self, info: Any, size: int, changed: int, rows: int) -> None:
        """Raise DataError if a file has changed since its rows were counted."""
        if (info.size, info.mtime_ns or 0) != (size, changed):
            raise DataError(f"{info.path}: this file has changed since {rows:,} rows of it were counted")

    def _is_complete(self, info: Any, name: str) -> bool:
        """Return whether the file ends with a footer, which a writer adds last."""
        if info.size >= 12:
            try:
                with self._filesystem.open_input_file(info.path) as file:
                    file.seek(info.size - len(FOOTER))
                    if file.read(len(FOOTER)) == FOOTER:
                        self._incomplete.pop(name, None)
                        return True
            except FileNotFoundError:
                return False
        size, since = self._incomplete.get(name, (-1, 0.0))
        now = time.monotonic()
        if size != info.size:
            self._incomplete[name] = info.size, now
        elif now - since > FOOTER_TIMEOUT:
            self._incomplete[name] = info.size, math.inf  # reported
            self._log(f"{info.path}: this file has no footer and does not grow: waiting")
        return False

    def _new_rows(self, info: Any, current: dict[str, Any]) -> NewRows:
        self._check(info, current["size"], current["changed"], current["row"])
        partition = partition_of(info.path)
        file = info.path, "parquet", info.path, self._filesystem, info.size, info.mtime_ns
        source = Source(*file, options=self._options, partition=partition)
        self._n_unreadable = 0
        return NewRows(source, Position(0, Mark(current["row"]), self._width))

    def mark_counted(self, end: Position) -> bool:
        assert self._current is not None
        self._rows += end.mark.row - self._current["row"] - (end.unreadable - self._n_unreadable)
        self._current["row"], self._width = end.mark.row, end.width
        self._count_unreadable(end.unreadable)
        return True

    def note_unreadable(self, count: int, first: DataError | None) -> None:
        self._count_unreadable(count)
        if first is not None:
            others = f" (and {count - 1:,} more)" if count > 1 else ""
            self._log(f"skipped a row that cannot be read{others}: {first}")

    def _count_unreadable(self, count: int) -> None:
        """Count the rows of the reading that could not be read. ``count`` is the number of all of them so far."""
        self._unreadable += count - self._n_unreadable
        self._n_unreadable = count

    def finish(self) -> None:
        assert self._current is not None
        self._remember(self._current["name"], [self._current["size"], self._current["changed"], self._current["row"]])
        self._current = None


def _identity(name: str, size: int, changed: int) -> tuple[str, int, int]:
    """Return the parts of a file that do not change if it is moved to another folder."""
    return name.rpartition("/")[2], size, changed
