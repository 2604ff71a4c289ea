"""Cuts text, which arrives in pieces of any size, into blocks of whole records: rows of CSV or lines of JSON.

Only new bytes are searched for the end of a record, and a record has a size limit. So text without line ends takes a
limited amount of memory and one pass over its bytes. This module does not parse records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from streamce.errors import DataError
from streamce.reading.files.read_options import MAX_RECORD

LINE_END = b"\r\n"
SKIP = "--invalid skip leaves out such rows"
WAY_ON = ": double a quote that is text, set --quote '' if quotes enclose no cells"
MANY_QUOTES = "; an unclosed quote joins many lines into one record"


class RecordError(DataError):
    """Error that a record is invalid or too long."""


class UnreadableRecord(bytes):
    """The text of a record that is left out, with the error that says why it cannot be read."""

    error: RecordError

    def __new__(cls, text: bytes, error: RecordError) -> UnreadableRecord:
        record = super().__new__(cls, text)
        record.error = error
        return record


def length_error(longest: int, hint: str = "") -> RecordError:
    """Return the error for a record that is longer than the limit."""
    return RecordError(f"a record of more than {longest:,} bytes: --max-record allows longer ones{hint}")


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
    """A buffer that cuts pieces of text into blocks of whole lines.

    Parameters
    ----------
    longest : int
        Maximum number of bytes in a record, without its line end. A longer one raises RecordError.
    blank : bytes, optional
        The bytes that are no record if nothing else is at the end of the text. By default, all white space.
    """

    hint = ""

    def __init__(self, longest: int = MAX_RECORD, blank: bytes | None = None) -> None:
        self._longest, self._blank = longest, blank
        self._left: list[bytes] = []  # the pieces of the unfinished record
        self._size = 0  # their bytes

    def add(self, piece: bytes) -> Iterator[bytes]:
        """Yield the records that end in this piece, in one block."""
        end = self._end(piece)
        if end:
            block = b"".join([*self._left, memoryview(piece)[:end]])
            self._start_record(piece[end:])
            yield from self._checked(block)
        else:
            self._left.append(piece)
            self._size += len(piece)
        if self._size > self._longest:
            yield from self._beyond()

    def finish(self) -> Iterator[bytes]:
        """Yield the unfinished record at the end of the text, if there is one."""
        if (rest := self.rest()).strip(self._blank):
            yield rest

    def rest(self) -> bytes:
        """Return the unfinished record, and discard it."""
        rest = b"".join(self._left)
        self._start_record(b"")
        return rest

    def _start_record(self, piece: bytes) -> None:
        self._left, self._size = [piece], len(piece)

    def _checked(self, block: bytes) -> Iterator[bytes]:
        """Yield a block; or yield the part before the first record that is too long, and raise RecordError."""
        start = self._too_long(block) if len(block) > self._longest else None
        if start is None:
            yield block
            return
        if start:
            yield block[:start]
        raise length_error(self._longest, self.hint)

    def _beyond(self) -> Iterator[bytes]:
        """Handle an unfinished record that seems too long."""
        raise length_error(self._longest, self.hint)

    def _end(self, piece: bytes) -> int:
        """Return where the last whole record of a piece ends; 0 if there is none."""
        return piece.rfind(b"\n") + 1

    def _too_long(self, block: bytes) -> int | None:
        return too_long(block, self._longest)


class QuotedRecords(Records):
    """A buffer that cuts CSV into blocks of whole rows and checks quotes. A line end within quotes is text.

    A quote that begins a cell must be closed, and the delimiter or the end of the line must follow it. If not, a
    RecordError is raised, because Arrow would read another table. A quote elsewhere is text.

    Counting quotes is fast, but correct only if all quotes enclose cells or are doubled within one. The text is read
    cell by cell from the first block with other quotes on, and for a record that seems too long.

    With ``skip`` the line in which an invalid record begins is left out, and the next record begins after it.
    """

    hint = MANY_QUOTES

    def __init__(self, longest: int = MAX_RECORD, comma: str = ",", quote: str = '"', skip: bool = False) -> None:
        super().__init__(longest, LINE_END)
        self._skip = skip
        self._quote, self._comma = quote.encode(), comma.encode()
        self._open = False  # whether the unfinished record ends within quotes
        self._by_cell = False  # whether text is read cell by cell
        comma_, quote_ = re.escape(self._comma), re.escape(self._quote)
        quoted = rb"%b(?:[^%b]++|%b%b)*+%b" % (quote_, quote_, quote_, quote_, quote_)
        cell = rb"(?:%b(?=[%b\r\n])|[^%b%b\r\n][^%b\r\n]*+)?+" % (quoted, comma_, quote_, comma_, comma_)
        self._record = re.compile(rb"%b(?:%b%b)*+(?:\n|\r\n|\r(?!\n|\Z))" % (cell, comma_, cell))
        self._records = re.compile(rb"(?:%b)*+" % self._record.pattern)
        self._misquoted = re.compile(rb"(?:%b%b)*+%b[^%b%b\r\n]" % (cell, comma_, quoted, quote_, comma_))
        self._line = re.compile(rb"[^\r\n]*+(?:\n|\r\n|\r(?!\n|\Z))")
        self._may_enclose = np.zeros(256, bool)  # whether a byte may stand outside of a quote
        self._may_enclose[[*self._comma, *self._quote, *b"\r\n"]] = True

    def finish(self) -> Iterator[bytes]:
        rest = self.rest()
        if self._encloses_cells(rest):
            yield from [rest] if rest.strip(self._blank) else []
            return
        yield from self._read_cells(rest if rest.endswith(b"\n") else rest + b"\n")
        while self._size:
            text = self.rest()
            after = self._after_line(text, 0, RecordError(f"a cell begins with a quote that is not closed{WAY_ON}"))
            yield after[1]
            yield from self._read_cells(text[after[0] :])

    def _start_record(self, piece: bytes) -> None:
        super()._start_record(piece)
        self._open = self._quotes_in(piece) % 2 == 1

    def _quotes_in(self, text: bytes) -> int:
        """Return the number of quotes in a text. NumPy counts them three times as fast as bytes.count."""
        if self._quote not in text:
            return 0
        return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(self._quote)))

    def _end(self, piece: bytes) -> int:
        if self._by_cell:
            return len(piece)
        quotes = self._quotes_in(piece)
        last = piece.rfind(b"\n") + 1
        before = quotes - self._quotes_in(piece[last:])
        if last and (before + self._open) % 2:  # this line end is within quotes
            last = self._last_outside(piece)
        if not last:
            self._open = (quotes + self._open) % 2 == 1
        return last

    def _last_outside(self, piece: bytes) -> int:
        """Return where the last line that ends outside of quotes ends; 0 if there is none."""
        text = np.frombuffer(piece, np.uint8)
        ends, quotes = np.flatnonzero(text == ord("\n")), np.flatnonzero(text == ord(self._quote))
        outside = ends[(np.searchsorted(quotes, ends) + self._open) % 2 == 0]
        return int(outside[-1]) + 1 if outside.size else 0

    def _checked(self, block: bytes) -> Iterator[bytes]:
        is_long = len(block) > self._longest and self._too_long(block) is not None
        if self._by_cell or is_long or not self._encloses_cells(block):
            self._by_cell = True
            yield from self._read_cells(block + self.rest())
        else:
            yield block

    def _beyond(self) -> Iterator[bytes]:
        yield from self._read_cells(self.rest())

    def _encloses_cells(self, block: bytes) -> bool:
        """Return whether all quotes of a block, which begins with a record, enclose cells or are doubled in one."""
        if self._quote not in block:
            return True
        text = np.frombuffer(block, np.uint8)
        quotes = np.flatnonzero(text == ord(self._quote))
        before, after = quotes[::2] - 1, quotes[1::2] + 1
        before, after = before[before >= 0], after[after < len(text)]
        return bool(
            quotes.size % 2 == 0 and self._may_enclose[text[before]].all() and self._may_enclose[text[after]].all()
        )

    def _read_cells(self, text: bytes) -> Iterator[bytes]:
        """Yield the whole records of a text, cell by cell, and keep the rest. Raise RecordError if one is invalid."""
        start = 0
        while True:
            whole = self._records.match(text, start)
            end = whole.end() if whole else start
            if end - start > self._longest and (long := self._too_long(text[start:end])) is not None:
                end = start + long
            if end > start:
                yield text[start:end]
            if self._misquoted.match(text, end):
                error = RecordError(f"a closing quote is followed by text{WAY_ON}")
            elif len(text) - end > self._longest:
                error = length_error(self._longest, self.hint)
            else:
                break
            if self._skip and not self._line.match(text, end) and len(text) - end <= self._longest:
                break  # the line is left out when its end has arrived
            start, left_out = self._after_line(text, end, error)
            yield left_out
        self._start_record(text[end:])

    def _after_line(self, text: bytes, start: int, error: RecordError) -> tuple[int, UnreadableRecord]:
        """Return where the line from ``start`` on ends, and the line as left out; or raise the error."""
        line = self._line.match(text, start)
        if not self._skip or line is None or line.end() - start > self._longest + 1:
            has_hint = not self._skip and not error.found.endswith(self.hint)
            raise RecordError(f"{error.found}, or {SKIP}") if has_hint else error
        self._by_cell = True
        return line.end(), UnreadableRecord(line[0], error)

    def _too_long(self, block: bytes) -> int | None:
        start = 0
        while start < len(block):
            found = self._record.match(block, start)
            end = len(block) if found is None else found.end()
            if end - start > self._longest + 1:
                return start
            start = end
        return None
