"""Escapes control characters, which could move the cursor, change the terminal or reorder text.

Names of columns, files and classes, keys of JSON and messages of libraries come from outside. The command line and the
log print all text through this filter. Exceptions keep the original text, for programs.
"""

from __future__ import annotations

# C0 with DEL, C1, Arabic letter mark, directional marks, line and paragraph separators with bidirectional embeddings
# and overrides, bidirectional isolates with deprecated format characters, interlinear annotations, and halves of
# surrogate pairs, which Python uses for bytes that are not UTF-8.
_RANGES = ((0x00, 0x1F), (0x7F, 0x9F), (0x61C, 0x61C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x206F),
           (0xFFF9, 0xFFFB), (0xD800, 0xDFFF))  # fmt: skip


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_LINE = {code: _escape(code) for first, last in _RANGES for code in range(first, last + 1)}
_LINE |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_LINES = {code: escape for code, escape in _LINE.items() if code != ord("\n")}


def line(text: str) -> str:
    """Return the text on one line, with control characters escaped as in Python: ``\\x1b``."""
    return text.translate(_LINE)


def lines(text: str) -> str:
    """Return the text with control characters escaped, except line ends."""
    return text.translate(_LINES)
