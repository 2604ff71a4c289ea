"""The bytes of a file, read by position into memory of our own.

Files are never mapped, because a process that reads a map is killed if another program truncates the file.
"""

from __future__ import annotations

from typing import Any

from streamce.errors import DataError


class ByteFile:
    """A file that others may change while it is read.

    Parameters
    ----------
    file : pyarrow.NativeFile
        Open, and with random access.
    """

    def __init__(self, file: Any) -> None:
        self.file = file
        self.size = int(file.size())

    def read(self, start: int, count: int, what: str) -> Any:
        """Return a buffer of ``count`` bytes from ``start`` on.

        If the file has fewer, raise a DataError that says ``what`` they are. The size is checked before memory is
        allocated, because a damaged file may ask for any number of bytes, and again after reading.
        """
        self._seek(start, count, what)
        found = self.file.read_buffer(count)
        if found.size < count:
            raise _short(start + count, what)
        return found

    def read_into(self, memory: Any, start: int, what: str) -> None:
        """Read bytes from ``start`` on into given memory."""
        self._seek(start, memory.nbytes, what)
        count = self.file.readinto(memory)
        if count < memory.nbytes:
            raise _short(start + memory.nbytes, what)

    def _seek(self, start: int, count: int, what: str) -> None:
        if start < 0 or count < 0:
            raise DataError(f"{what} begins at byte {start:,} and has {count:,} bytes: it is damaged")
        if start + count > self.size:
            raise _short(start + count, what)
        self.file.seek(start)


def _short(end: int, what: str) -> DataError:
    return DataError(f"it ends before byte {end:,}, which {what} ends at: it is damaged, or cut short")
