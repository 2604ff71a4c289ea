"""Streams of text as UTF-8: unpacked, and converted from another encoding."""

from __future__ import annotations

import codecs
from typing import Any

import pyarrow as pa

from streamce.errors import DataError

# The first bytes of compressed files, and Arrow's name of the compression.
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
ENDING_OF = {"gzip": ".gz", "bz2": ".bz2", "zstd": ".zst", "lz4": ".lz4"}
# Marks at the start of text, the longest first, because that of UTF-32 begins with that of UTF-16.
MARKS = {
    **{codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"},
    **{codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"},
}


def packing(start: bytes) -> str | None:
    """Return the compression of data that start with these bytes, or None."""
    return next((name for magic, name in PACKED.items() if start.startswith(magic)), None)


def is_utf8(encoding: str | None) -> bool:
    return encoding in (None, "utf-8", "utf-8-sig", "utf8")


def keeps_ascii(encoding: str) -> bool:
    """Return whether each byte of ASCII stands for its character in an encoding."""
    try:
        return all(bytes([byte]).decode(encoding) == chr(byte) for byte in range(128))
    except UnicodeError:
        return False


def check_start(start: bytes) -> None:
    """Raise DataError if the start of a text shows that it is compressed, or not UTF-8."""
    if packed := packing(start):
        raise DataError(f"it is compressed with {packed}: its name must end in {ENDING_OF[packed]}")
    if encoding := next((name for mark, name in MARKS.items() if start.startswith(mark)), None):
        raise DataError(f"it begins with the mark of {encoding.upper()}: set --encoding {encoding}")


def unpacked(stream: Any, packed: str) -> Any:
    """Return a stream of unpacked bytes."""
    return pa.CompressedInputStream(pa.PythonFile(stream, "r"), packed)


class Decoded:
    """A stream of text in another encoding, as UTF-8."""

    closed: bool = False

    def __init__(self, stream: Any, encoding: str) -> None:
        self._stream, self._encoding = stream, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._done = 0  # bytes of the stream that were read
        self._left = b""  # text that is converted, but not read yet

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, none at the end."""
        while not self._left:
            piece = self._stream.read(size)
            try:
                self._left = self._decoder.decode(piece, final=not piece).encode()
            except UnicodeError as error:
                at = self._done + getattr(error, "start", 0)
                raise DataError(f"it is not {self._encoding} at about byte {at:,}: see --encoding") from error
            self._done += len(piece)
            if not piece:
                break
        text, self._left = self._left[:size], self._left[size:]
        return text

    def close(self) -> None:
        self.closed = True
