"""Cuts text of JSON into blocks of whole records: lines, values that span lines, or elements of an array.

Brackets outside of strings are counted with NumPy, so that only new bytes are searched and no nesting is too deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from streamce.errors import DataError
from streamce.reading.files.read_options import MAX_RECORD
from streamce.reading.formats.base import Array
from streamce.reading.formats.json_rows import object_in
from streamce.reading.formats.records import RecordError, Records

ESCAPED = re.compile(rb"\\.", re.DOTALL)
QUOTE, COMMA = ord('"'), ord(",")
STRUCTURE = np.zeros(256, bool)  # whether a byte may begin or end something
STRUCTURE[[*b'[]{},"']] = True
DEPTH = np.zeros(256, np.int8)  # what a bracket adds to the depth
DEPTH[[*b"[{"]], DEPTH[[*b"]}"]] = 1, -1
SPACE = b" \t\r\n"
SEARCHED = 1 << 16  # bytes in which the end of the first record is searched first
AFTER_END = "text follows the end of the array"


class Layout(Enum):
    """How records are arranged in a text of JSON."""

    LINES = "lines"  # one per line
    VALUES = "values"  # one after another
    ARRAY = "array"  # the elements of one array


@dataclass
class Scanner:
    """Finds where records end. ``depth`` is the number of open brackets, 1 within the array of ``Layout.ARRAY``."""

    layout: Layout
    depth: int = 0
    in_string: bool = False
    is_escaped: bool = False  # whether the next byte is escaped
    closed_at: int | None = None  # where the array has ended in its last piece

    def ends(self, text: bytes) -> Array:
        """Return where records end in the next piece of a text: after a bracket, or in an array after a comma."""
        if self.is_escaped:
            text = b"_" + text[1:]
        if b"\\" in text:
            text = ESCAPED.sub(b"__", text)
        self.is_escaped = text.endswith(b"\\")
        all_bytes = np.frombuffer(text, np.uint8)
        at = np.flatnonzero(STRUCTURE[all_bytes])
        found = all_bytes[at]
        in_string = np.logical_xor.accumulate(found == QUOTE) ^ self.in_string
        outside = ~in_string & (found != QUOTE)
        at, found = at[outside], found[outside]
        depth = self.depth + np.cumsum(DEPTH[found], dtype=np.int64)
        if in_string.size:
            self.in_string = bool(in_string[-1])
        if self.layout is Layout.ARRAY:
            is_closing = (DEPTH[found] < 0) & (depth == 0)
            is_end = (found == COMMA) & (depth == 1) | is_closing
            if is_closing.any():
                self.closed_at = int(at[is_closing][0]) + 1
        else:
            is_end = (DEPTH[found] < 0) & (depth <= 0)
        if depth.size:
            self.depth = int(depth[-1])
        ends: Array = at[is_end] + 1
        return ends


class ScannedRecords(Records):
    """A buffer that cuts JSON into blocks of whole values or elements. It begins within an array if ``inside``."""

    def __init__(self, layout: Layout, longest: int = MAX_RECORD, *, inside: bool = False) -> None:
        super().__init__(longest)
        self._layout = layout
        self._scanner = Scanner(layout, depth=int(inside))
        self._depth = int(inside)  # at the start of the block
        self._is_closed = False  # whether the array has ended

    def add(self, piece: bytes) -> Iterator[bytes]:
        if not self._is_closed:
            yield from super().add(piece)
        elif piece.strip(SPACE):
            raise RecordError(AFTER_END)

    def finish(self) -> Iterator[bytes]:
        if self._layout is Layout.ARRAY and not self._is_closed:
            yield self.rest() + b" "  # no comma or bracket ends it, so the last element is noticed to be cut short
        else:
            yield from super().finish()

    def _end(self, piece: bytes) -> int:
        ends = self._scanner.ends(piece)
        if not ends.size:
            return 0
        if self._scanner.closed_at is None:
            return int(ends[-1])
        if piece[self._scanner.closed_at :].strip(SPACE):
            raise RecordError(AFTER_END)
        self._is_closed = True
        return self._scanner.closed_at

    def _checked(self, block: bytes) -> Iterator[bytes]:
        yield from super()._checked(block)
        self._depth = int(self._layout is Layout.ARRAY)

    def _too_long(self, block: bytes) -> int | None:
        start = 0
        for end in Scanner(self._layout, self._depth).ends(block).tolist():
            if end - start > self._longest:
                return start
            start = end
        return None


class DetectingRecords(Records):
    """A buffer for text whose start decides how its records are arranged. ``note`` is called with the layout."""

    def __init__(self, longest: int, note: Callable[[Layout], None]) -> None:
        super().__init__(longest)
        self._note = note
        self._records: Records | None = None
        self._blank_start = b""
        self._has_begun = False

    def add(self, piece: bytes) -> Iterator[bytes]:
        if self._records is None:
            piece = self._blank_start + piece
            if not piece.strip(SPACE) and len(piece) <= self._longest:
                self._blank_start = piece
                return
            layout = layout_of(piece)
            self._note(layout)
            self._records = records_of(layout, self._longest)
            self._blank_start = b""
        yield from self._not_blank(self._records.add(piece))

    def finish(self) -> Iterator[bytes]:
        yield from self._not_blank(self._records.finish()) if self._records else ()

    def _not_blank(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield blocks, blank ones at the start of the text together with the first that is not."""
        for block in blocks:
            self._blank_start += block
            if self._has_begun or block.strip(SPACE):
                self._has_begun = True
                yield self._blank_start
                self._blank_start = b""


def records_of(layout: Layout, longest: int, *, inside: bool = False) -> Records:
    """Return the buffer for a layout. It begins within the array if ``inside``."""
    return Records(longest) if layout is Layout.LINES else ScannedRecords(layout, longest, inside=inside)


def layout_of(text: bytes) -> Layout:
    """Return the layout of a text by its start: an array, values that span or share lines, or lines.

    Text that is damaged from the start on is taken as lines, because then one line is lost.
    """
    text = text.lstrip(SPACE)
    if not text.startswith((b"[", b"{")):
        return Layout.LINES
    ends = Scanner(Layout.VALUES).ends(text[:SEARCHED])
    if not ends.size:
        ends = Scanner(Layout.VALUES).ends(text)
    if not ends.size:
        return Layout.ARRAY if text.startswith(b"[") else Layout.LINES
    end = int(ends[0])
    first, (rest, _, more) = text[:end], text[end:].partition(b"\n")
    if text.startswith(b"["):
        return Layout.LINES if b"\n" not in first and more.strip(SPACE) else Layout.ARRAY
    is_line = b"\n" not in first and not rest.strip(SPACE)
    return Layout.LINES if is_line or not _is_object(first) else Layout.VALUES


def _is_object(record: bytes) -> bool:
    try:
        object_in(record)
    except DataError:
        return False
    return True


def split_values(text: bytes) -> Iterator[bytes]:
    """Yield the values of a text in which they come one after another."""
    yield from _split(text, Scanner(Layout.VALUES).ends(text).tolist(), 0)


def split_elements(text: bytes) -> Iterator[bytes]:
    """Yield the elements of a text in an array. The last may lack the comma after it."""
    yield from _split(text, Scanner(Layout.ARRAY, depth=1).ends(text).tolist(), 1)


def _split(text: bytes, ends: Sequence[int], delimiter: int) -> Iterator[bytes]:
    start = 0
    for end in ends:
        yield text[start : end - delimiter]
        start = end
    if text[start:].strip(SPACE):
        yield text[start:]
