"""Cuts text that comes in pieces of any size into blocks of whole records: rows of CSV, lines of JSON.

Only new bytes are searched for the end of a record, and a record has a size limit. So text without line ends takes a
limited amount of memory, and one pass over its bytes. This module does not look at what a record holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from streamce.errors import DataError
from streamce.reading.sources import MAX_RECORD

MANY_QUOTES = "; an unclosed quote joins many lines into one record"


class RecordError(DataError):
    """Raised if a record is longer than the limit."""

    def __init__(self, longest: int, hint: str = "") -> None:
        super().__init__(f"a record of more than {longest:,} bytes: --max-record allows longer ones{hint}")


def too_long(lines: bytes, longest: int) -> int | None:
    """Return where the first line of more than ``longest`` bytes begins, or None if there is none."""
    start = 0
    while len(lines) - start > longest:
        end = lines.rfind(b"\n", start, start + longest + 1) + 1
        if end == 0:
            return start
        start = end
    return None


class Records:
    """Cuts pieces of text into blocks of whole lines.

    Parameters
    ----------
    longest : int
        The most bytes of a record, without its line end. A longer one raises RecordError.
    """

    hint = ""

    def __init__(self, longest: int = MAX_RECORD) -> None:
        self._longest = longest
        self._left: list[bytes] = []  # the pieces of the unfinished record
        self._size = 0  # their bytes

    def add(self, piece: bytes) -> Iterator[bytes]:
        """Yield the records that end in this piece, in one block."""
        end = self._end(piece)
        if end:
            block = b"".join([*self._left, piece[:end]])
            self._keep(piece[end:])
            yield from self._checked(block)
        else:
            self._left.append(piece)
            self._size += len(piece)
        if self._size > self._longest:
            yield from self._beyond()

    def rest(self) -> bytes:
        """Return and forget the unfinished record."""
        rest = b"".join(self._left)
        self._keep(b"")
        return rest

    def _keep(self, piece: bytes) -> None:
        self._left, self._size = [piece], len(piece)

    def _checked(self, block: bytes) -> Iterator[bytes]:
        """Yield a block, or the part before the first record that is too long, and then raise."""
        start = self._too_long(block) if len(block) > self._longest else None
        if start is None:
            yield block
            return
        if start:
            yield block[:start]
        raise RecordError(self._longest, self.hint)

    def _beyond(self) -> Iterator[bytes]:
        """Handle an unfinished record that seems too long."""
        raise RecordError(self._longest, self.hint)

    def _end(self, piece: bytes) -> int:
        """Return where the last whole record of a piece ends, 0 if there is none."""
        return piece.rfind(b"\n") + 1

    def _too_long(self, block: bytes) -> int | None:
        return too_long(block, self._longest)


class QuotedRecords(Records):
    """Cuts CSV, whose line ends within quotes are text, into blocks of whole rows.

    Counting quotes is fast, but wrong if an unquoted cell holds a quote. So if a record seems too long, it is parsed
    cell by cell.
    """

    hint = MANY_QUOTES

    def __init__(self, longest: int = MAX_RECORD, comma: str = ",") -> None:
        super().__init__(longest)
        self._open = False  # whether the unfinished record ends within quotes
        mark = re.escape(comma.encode())
        cell = rb'(?:"(?:[^"]++|"")*+"[^%b\n]*+|[^"%b\n][^%b\n]*+)?+' % (mark, mark, mark)
        self._record = re.compile(rb"%b(?:%b%b)*+\n" % (cell, mark, cell))

    def _keep(self, piece: bytes) -> None:
        super()._keep(piece)
        self._open = piece.count(b'"') % 2 == 1

    def _end(self, piece: bytes) -> int:
        quotes = piece.count(b'"')
        last = piece.rfind(b"\n") + 1
        before = quotes - piece.count(b'"', last)
        if last and (before + self._open) % 2:  # this line end is within quotes
            last = _last_outside(piece, self._open)
        if not last:
            self._open = (quotes + self._open) % 2 == 1
        return last

    def _beyond(self) -> Iterator[bytes]:
        block = self.rest()
        end = self._whole(block)
        self._keep(block[end:])
        if end == 0:
            raise RecordError(self._longest, self.hint)
        yield from self._checked(block[:end])
        if self._size > self._longest:
            raise RecordError(self._longest, self.hint)

    def _whole(self, block: bytes) -> int:
        """Return where the last whole record ends, cell by cell."""
        end = 0
        while found := self._record.match(block, end):
            end = found.end()
        return end

    def _too_long(self, block: bytes) -> int | None:
        start = 0
        while start < len(block):
            found = self._record.match(block, start)
            end = len(block) if found is None else found.end()
            if end - start > self._longest + 1:
                return start
            start = end
        return None


def _last_outside(piece: bytes, inside: bool) -> int:
    """Return where the last line that ends outside of quotes ends, 0 if there is none."""
    text = np.frombuffer(piece, np.uint8)
    ends, quotes = np.flatnonzero(text == ord("\n")), np.flatnonzero(text == ord('"'))
    outside = ends[(np.searchsorted(quotes, ends) + inside) % 2 == 0]
    return int(outside[-1]) + 1 if outside.size else 0
