"""A folder that receives Parquet files, and is followed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from pyarrow import fs

from streamce.errors import DataError
from streamce.monitor.growing_source import Following, Piece
from streamce.reading.reader import Position
from streamce.reading.sources import Source, format_of, listing, naming
from streamce.reading.tables import Mark

PATIENCE = 30.0  # seconds that a file without a footer rests before a word about it is due
FOOTER = b"PAR1"


class Folder(Following):
    """A folder that receives Parquet files, each of which counts once it has its footer."""

    def __init__(self, filesystem: Any, path: str, name: str, say: Callable[[str], None]) -> None:
        super().__init__(name, say)
        self._filesystem, self._path = filesystem, path.rstrip("/")
        self._files: dict[str, list[int]] = {}  # size, time of change and rows of those that are counted
        self._counted: dict[tuple[str, int, int], list[str]] = {}  # their names, by what they keep when they are moved
        self._at: dict[str, Any] | None = None  # the one that is being read
        self._new: list[str] = []
        self._resting: dict[str, tuple[int, float]] = {}  # files without a footer: size, and since when
        self._width: int | None = None

    @property
    def position(self) -> dict[str, Any]:
        at = None if self._at is None else dict(self._at)
        return {"files": dict(self._files), "at": at, "rows": self.rows, "width": self._width}

    def restore(self, position: dict[str, Any]) -> None:
        for name, found in position["files"].items():
            self._remember(name, [int(number) for number in found])
        self._at, self.rows, self._width = position["at"], int(position["rows"]), position["width"]
        if self._at is not None:
            self._at = {name: self._at[name] for name in ("name", "size", "changed", "row")}

    def next(self) -> Piece | None:
        if self._at is not None:  # where a run before this one was stopped
            [info] = self._filesystem.get_file_info([f"{self._path}/{self._at['name']}"])
            if info.type != fs.FileType.File:
                raise DataError(f"{info.path}: this file is gone, of which {self._at['row']:,} rows had been read")
            return self._piece(info, self._at)
        if not self._new:
            self._new = self._list()[::-1]
        while self._new:
            name = self._new.pop()
            [info] = self._filesystem.get_file_info([f"{self._path}/{name}"])
            if info.type == fs.FileType.File and self._whole(info, name) and not self._moved(info, name):
                self._at = {"name": name, "size": info.size, "changed": info.mtime_ns or 0, "row": 0}
                return self._piece(info, self._at)
        return None

    @property
    def left(self) -> str | None:
        number = len(self._resting)
        return f"{self.name}: files without a footer are not counted: {number:,}" if number else None

    def _list(self) -> list[str]:
        """New files by name; those that are counted are looked at once more."""
        try:
            with naming(self.name):
                infos = listing(self._filesystem, self._path, True)
        except DataError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self._once(f"{self.name}: this folder is gone: waiting")
            return []
        new = []
        for info in infos:
            if format_of(info.path) == "parquet":
                name = info.path[len(self._path) :].lstrip("/")
                if counted := self._files.get(name):
                    self._check(info, *counted)
                else:
                    new.append(name)
        for name in self._resting.keys() - set(new):
            del self._resting[name]
        return new

    def _moved(self, info: Any, name: str) -> bool:
        """Whether it was counted in another folder under this one, and moved since; it goes by its new place then."""
        alike = self._counted.get(_known_by(name, info.size, info.mtime_ns or 0), [])
        there = self._filesystem.get_file_info([f"{self._path}/{other}" for other in alike])
        for other, found in zip(alike, there, strict=True):
            if found.type == fs.FileType.NotFound:
                alike.remove(other)
                self._remember(name, self._files.pop(other))
                return True
        return False

    def _remember(self, name: str, found: list[int]) -> None:
        """That a file of this size, time of change and number of rows is counted."""
        self._files[name] = found
        self._counted.setdefault(_known_by(name, *found[:2]), []).append(name)

    def _check(self, info: Any, size: int, changed: int, rows: int) -> None:
        if (info.size, info.mtime_ns or 0) != (size, changed):
            raise DataError(f"{info.path}: this file has changed since {rows:,} rows of it were counted")

    def _whole(self, info: Any, name: str) -> bool:
        """Whether the file has its footer, as a writer's last bytes."""
        if info.size >= 12:
            try:
                with self._filesystem.open_input_file(info.path) as file:
                    file.seek(info.size - len(FOOTER))
                    if file.read(len(FOOTER)) == FOOTER:
                        self._resting.pop(name, None)
                        return True
            except FileNotFoundError:
                return False
        size, since = self._resting.get(name, (-1, 0.0))
        now = time.monotonic()
        if size != info.size:
            self._resting[name] = info.size, now
        elif now - since > PATIENCE:
            self._resting[name] = info.size, math.inf  # said
            self._say(f"{info.path}: this file has no footer, and does not grow: waiting")
        return False

    def _piece(self, info: Any, at: dict[str, Any]) -> Piece:
        self._check(info, at["size"], at["changed"], at["row"])
        source = Source(info.path, "parquet", info.path, self._filesystem, info.size, info.mtime_ns)
        return Piece(source, Position(0, Mark(at["row"]), self._width))

    def reached(self, end: Position) -> bool:
        assert self._at is not None
        self.rows += end.mark.row - self._at["row"]
        self._at["row"], self._width = end.mark.row, end.width
        return True

    def finished(self) -> None:
        assert self._at is not None
        self._remember(self._at["name"], [self._at["size"], self._at["changed"], self._at["row"]])
        self._at = None


def _known_by(name: str, size: int, changed: int) -> tuple[str, int, int]:
    return name.rpartition("/")[2], size, changed
