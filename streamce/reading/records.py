"""Text in pieces of any size to blocks of whole records: rows of CSV, lines of JSON.

Only new bytes are searched for the end of a record, and a record has a limit: text without line ends takes neither
more memory than that nor more time than a pass. Nothing here knows what a record holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from streamce.reading.sources import MAX_RECORD, DataError

MANY_QUOTES = "; a quote that nothing closes makes one record of many lines"


class RecordError(DataError):
    """A record beyond the limit."""

    def __init__(self, longest: int, hint: str = "") -> None:
        super().__init__(f"a record of more than {longest:,} bytes: --max-record allows longer ones{hint}")


def too_long(lines: bytes, longest: int) -> int | None:
    """Return where in whole lines the first begins that has more than ``longest`` bytes, None if none has."""
    start = 0
    while len(lines) - start > longest:
        end = lines.rfind(b"\n", start, start + longest + 1) + 1
        if end == 0:
            return start
        start = end
    return None


class Records:
    """Blocks of whole lines, from pieces in their order.

    Parameters
    ----------
    longest : int
        Bytes of a record, without its line end, beyond which it is a RecordError.
    """

    hint = ""

    def __init__(self, longest: int = MAX_RECORD) -> None:
        self._longest = longest
        self._left: list[bytes] = []  # the pieces of the record that has not ended
        self._size = 0  # bytes of them

    def add(self, piece: bytes) -> Iterator[bytes]:
        """Yield the records that end in this piece, one after another in one block."""
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
        """Return what has no end yet, and forget it."""
        rest = b"".join(self._left)
        self._keep(b"")
        return rest

    def _keep(self, piece: bytes) -> None:
        self._left, self._size = [piece], len(piece)

    def _checked(self, block: bytes) -> Iterator[bytes]:
        """Yield a block up to the first record that is too long, which is then an error."""
        start = self._too_long(block) if len(block) > self._longest else None
        if start is None:
            yield block
            return
        if start:
            yield block[:start]
        raise RecordError(self._longest, self.hint)

    def _beyond(self) -> Iterator[bytes]:
        """What is left seems to be a record that is too long."""
        raise RecordError(self._longest, self.hint)

    def _end(self, piece: bytes) -> int:
        """Return where the last record that ends in a piece does, 0 if none does."""
        return piece.rfind(b"\n") + 1

    def _too_long(self, block: bytes) -> int | None:
        return too_long(block, self._longest)


class QuotedRecords(Records):
    """The same of CSV, whose line ends within quotes are text.

    Counting quotes is fast, and wrong where one stands within a cell that has none around it: records are then read
    cell by cell, once what seems to be one is too long.
    """

    hint = MANY_QUOTES

    def __init__(self, longest: int = MAX_RECORD, comma: str = ",") -> None:
        super().__init__(longest)
        self._open = False  # whether what is left ends within quotes
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
    """Return where the last line ends that does so outside of quotes, 0 if none does."""
    text = np.frombuffer(piece, np.uint8)
    ends, quotes = np.flatnonzero(text == ord("\n")), np.flatnonzero(text == ord('"'))
    outside = ends[(np.searchsorted(quotes, ends) + inside) % 2 == 0]
    return int(outside[-1]) + 1 if outside.size else 0
