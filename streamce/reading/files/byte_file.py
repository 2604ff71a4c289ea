"""Bytes of a file, read by offset into memory of this process.

Files are never mapped, because a process that reads a map is killed if another program truncates the file.
"""

from __future__ import annotations

from typing import Any

from streamce.errors import DataError


class ByteFile:
    """A file that other programs may change while it is read.

    Parameters
    ----------
    file : pyarrow.NativeFile
        Open, and with random access.
    """

    def __init__(self, file: Any) -> None:
        self.file = file
        self.size: int = int(file.size())

    def read(self, start: int, count: int, description: str) -> Any:
        """Return a buffer of ``count`` bytes from ``start`` on.

        If the file has fewer, raise a DataError in which ``description`` names the bytes. The size is checked before
        memory is allocated, because a damaged file may ask for any number of bytes, and again after reading.
        """
        self._seek(start, count, description)
        buffer = self.file.read_buffer(count)
        if buffer.size < count:
            raise _truncated(start + count, description)
        return buffer

    def read_into(self, memory: Any, start: int, description: str) -> None:
        """Read bytes from ``start`` on into memory of the caller."""
        self._seek(start, memory.nbytes, description)
        count = self.file.readinto(memory)
        if count < memory.nbytes:
            raise _truncated(start + memory.nbytes, description)

    def _seek(self, start: int, count: int, description: str) -> None:
        if start < 0 or count < 0:
            raise DataError(f"{description} begins at byte {start:,} and has {count:,} bytes: it is damaged")
        if start + count > self.size:
            raise _truncated(start + count, description)
        self.file.seek(start)


def _truncated(end: int, description: str) -> DataError:
    return DataError(f"it ends before byte {end:,}, the end of {description}: it is damaged, or cut short")
