"""Rows of NumPy's arrays in files, in order, as Arrow arrays. Files are never mapped."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.reading.files.byte_file import ByteFile
from streamce.reading.files.sources import one_line

LOCAL_HEADER = 30  # bytes before the name of a member of an archive
TILE_BYTES = 1 << 25  # bytes read at a time of an array in Fortran order
ENCRYPTED = 1  # among the flags of a member

Array = np.ndarray[Any, Any]


class Rows(ABC):
    """The rows of one array."""

    def __init__(self, header: tuple[tuple[int, ...], bool, np.dtype[Any]], n_bytes: int) -> None:
        """``n_bytes`` is the number of bytes that the file has for the array."""
        self.shape: tuple[int, ...]
        self.shape, is_fortran, self._dtype = header
        self._is_fortran = is_fortran and len(self.shape) == 2
        self._n_bytes = n_bytes

    @property
    def width(self) -> int:
        """Return the number of bytes of a row."""
        return self._dtype.itemsize * math.prod(self.shape[1:])

    def type(self) -> Any:
        """Return the Arrow type of the column. Raise DataError if the array is not a column, or is incomplete."""
        shape, dtype = self.shape, self._dtype
        if len(shape) not in (1, 2) or dtype.hasobject or dtype.itemsize == 0 or min(shape) < 0:
            raise DataError(f"an array of {dtype} of shape {shape} is not a column")
        if (size := shape[0] * self.width) > self._n_bytes:
            raise DataError(
                f"an array of {dtype} of shape {shape} needs {size:,} bytes, but the file has {self._n_bytes:,}: "
                "it is damaged, or cut short"
            )
        return _arrow(np.empty((0, *shape[1:]), dtype)).type

    @abstractmethod
    def skip(self, count: int) -> None:
        """Skip the next rows."""

    @abstractmethod
    def take(self, count: int) -> Any:
        """Return the next rows."""

    def _rows(self, data: Any, count: int) -> Any:
        return _arrow(np.frombuffer(data, self._dtype).reshape(count, *self.shape[1:]))


class RandomAccessRows(Rows):
    """Rows of an unpacked array in a file. Header and array take at most ``size`` bytes from ``start`` on."""

    def __init__(self, file: ByteFile, start: int = 0, size: int | None = None) -> None:
        self._file, self._done = file, 0
        size = file.size - start if size is None else size
        file.file.seek(start)
        header = _header(file.file)
        self._start = int(file.file.tell())
        super().__init__(header, start + size - self._start)
        self._tile = np.empty((0, 0), self._dtype)  # columns of an array in Fortran order
        self._first = 0  # the first row of the tile

    def skip(self, count: int) -> None:
        self._done += count

    def take(self, count: int) -> Any:
        start, self._done = self._done, self._done + count
        if self._is_fortran:
            return self._columns(start, count)
        data = self._file.read(self._start + start * self.width, count * self.width, _row_range(start, count))
        return self._rows(data, count)

    def _columns(self, start: int, count: int) -> Any:
        """Return rows of an array in Fortran order. More rows are read at once, because each column is a read."""
        if not self._first <= start <= start + count <= self._first + self._tile.shape[1]:
            rows = min(max(count, TILE_BYTES // max(1, self.width)), self.shape[0] - start)
            if self._tile.shape[1] != rows:
                self._tile = np.empty((self.shape[1], rows), self._dtype)
            self._first = start
            size, description = self._dtype.itemsize, _row_range(start, rows)
            for number, column in enumerate(self._tile):
                self._file.read_into(
                    column.view(np.uint8), self._start + (number * self.shape[0] + start) * size, description
                )
        return _arrow(self._tile[:, start - self._first : start - self._first + count].T)


class SequentialRows(Rows):
    """Rows of an array in a stream. According to the archive the stream has ``size`` bytes."""

    def __init__(self, stream: Any, size: int) -> None:
        self._stream, self._done = stream, 0
        header = _header(stream)
        super().__init__(header, size - int(stream.tell()))

    def type(self) -> Any:
        if self._is_fortran:
            raise DataError("an array in Fortran order can be read from an unpacked file only")
        return super().type()

    def skip(self, count: int) -> None:
        self._done += count
        if count:
            self._stream.seek(count * self.width, os.SEEK_CUR)

    def take(self, count: int) -> Any:
        start, self._done = self._done, self._done + count
        size = count * self.width
        try:
            data = self._stream.read(size)
        except (EOFError, OSError, ValueError, zlib.error, zipfile.BadZipFile) as error:
            why = one_line(error) if str(error) else "it ends early"
            raise DataError(f"{_row_range(start, count)} cannot be unpacked: {why}") from error
        if len(data) < size:
            raise DataError(f"it ends within {_row_range(start, count)}: it is damaged, or cut short")
        return self._rows(data, count)


def find_member(file: ByteFile, member: zipfile.ZipInfo) -> int:
    """Return where the bytes of an unpacked member begin."""
    lengths = file.read(member.header_offset + LOCAL_HEADER - 4, 4, f"the header of {member.filename}")
    name, extra = struct.unpack("<HH", lengths)
    return member.header_offset + LOCAL_HEADER + int(name) + int(extra)


def _row_range(start: int, count: int) -> str:
    return f"the part with rows {start:,} to {start + count - 1:,}"


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _arrow(array: Array) -> Any:
    array = np.require(array, array.dtype.newbyteorder("="), ["C", "ALIGNED"])
    line = array.reshape(-1).view(np.uint8 if array.dtype == bool else array.dtype)
    if line.dtype.kind in "fiu":
        type_ = pa.from_numpy_dtype(line.dtype)
        values = pa.Array.from_buffers(type_, len(line), [None, pa.py_buffer(line)])
    else:
        values = pa.array(line)
    return values if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(values, array.shape[1])
