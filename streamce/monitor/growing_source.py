"""A source that grows: what is new in it, piece by piece, and a position, a JSON value, to go on from.

docs/MONITORING.md has the rules: what becomes of lines and files that are half written, and of files that shrink,
disappear or are replaced.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamce.reading.reader import Position
from streamce.reading.sources import Source


def is_out_of_descriptors(error: BaseException | None) -> bool:
    """Return whether an error says that too many files are open. This can pass, so the caller tries again."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__
    return False


@dataclass(frozen=True)
class Piece:
    """What is new: a source, and where its rows begin that are."""

    source: Source
    start: Position


class Following(ABC):
    """A source that grows.

    Parameters
    ----------
    name : str
        What it is called in errors.
    say : function of str
        Where a word about it goes.
    """

    ended = False  # nothing can come any more
    turning = False  # what is new comes after a short wait
    resumes = True  # whether what was read can be read again

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name, self._say, self._said = name, say, ""
        self.rows = 0  # that were counted
        self.unreadable = 0  # lines that were skipped

    def find(self) -> bool:
        """Find the source without reading rows, and return whether to write a checkpoint of its position now.

        With that checkpoint, the source is found again even if it is renamed before any row is counted.
        """
        return False

    @abstractmethod
    def next(self) -> Piece | None:
        """What is new, None where nothing is; DataError where rows are lost."""

    @abstractmethod
    def reached(self, end: Position) -> bool:
        """A chunk up to ``end`` is counted. Whether one may go on from there."""

    @abstractmethod
    def finished(self) -> None:
        """All of the piece is counted."""

    @property
    @abstractmethod
    def position(self) -> dict[str, Any]:
        """Where to go on."""

    @abstractmethod
    def restore(self, position: dict[str, Any]) -> None:
        """Go on there. KeyError, TypeError or ValueError for what is no position of this kind."""

    @property
    @abstractmethod
    def left(self) -> str | None:
        """What is there and waits for its end, in words."""

    def close(self) -> None:
        """Let go of what is open."""
        return

    def _once(self, word: str) -> None:
        """Says it, unless it was the last said."""
        if word != self._said:
            self._say(word)
        self._said = word
