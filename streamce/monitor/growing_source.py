"""The interface of a source that grows: new rows, and a position, a JSON value, from which to resume.

docs/MONITORING.md has the rules for lines and files that are written only in part, and for files that shrink, disappear
or are replaced.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamce.errors import DataError
from streamce.reading.chunk import Position
from streamce.reading.files.sources import Source


def is_out_of_descriptors(error: BaseException | None) -> bool:
    """Return whether an error says that too many files are open. This can pass, so the caller tries again."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__
    return False


@dataclass(frozen=True)
class NewRows:
    """New rows of a source, from a position on."""

    source: Source
    start: Position


class GrowingSource(ABC):
    """A source that grows.

    The caller takes new rows with ``next``, reports each chunk that it has counted with ``mark_counted``, and the end
    of these rows with ``finish``.

    Parameters
    ----------
    name : str
        The name of the source in messages.
    log : function of str
        Called with each message.
    """

    def __init__(self, name: str, log: Callable[[str], None]) -> None:
        self.name = name
        self._log, self._logged = log, ""
        self._rows, self._unreadable = 0, 0
        self._ended = self._rotating = False

    @property
    def rows(self) -> int:
        """The number of rows counted."""
        return self._rows

    @property
    def unreadable(self) -> int:
        """The number of lines, or rows of Parquet, skipped."""
        return self._unreadable

    @property
    def ended(self) -> bool:
        """Whether no more rows can arrive."""
        return self._ended

    @property
    def rotating(self) -> bool:
        """Whether another file has taken the name. It is read after a short wait."""
        return self._rotating

    def find(self) -> bool:
        """Find the source without reading rows, and return whether to write a checkpoint of its position now.

        With that checkpoint, the source is found again even if it is renamed before any row is counted.
        """
        return False

    @abstractmethod
    def next(self) -> NewRows | None:
        """Return new rows, or None if there are none. Raise DataError if rows are lost."""

    @abstractmethod
    def mark_counted(self, end: Position) -> bool:
        """Note that the rows before ``end`` are counted, and return whether a run can resume there."""

    def note_unreadable(self, count: int, first: DataError | None) -> None:
        """Note how many of the rows that ``next`` returned could not be read, and the error of the first."""
        return

    @abstractmethod
    def finish(self) -> None:
        """Note that all of the rows that ``next`` returned are counted."""

    @property
    @abstractmethod
    def position(self) -> dict[str, Any]:
        """The position from which to resume."""

    @abstractmethod
    def restore(self, position: dict[str, Any]) -> None:
        """Resume from a position. Raise KeyError, TypeError or ValueError if it is not one of this kind."""

    @property
    @abstractmethod
    def pending(self) -> str | None:
        """A message about rows that have arrived but cannot be counted yet, None if there are none."""

    def close(self) -> None:
        """Close open files."""
        return

    def _log_once(self, message: str) -> None:
        """Log a message, unless it is the same as the last one of this kind."""
        if message != self._logged:
            self._log(message)
        self._logged = message
