"""NumPy's .npy and .npz files as record batches, so that later code handles one form."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import fs

from streamce.errors import DataError
from streamce.reading.files.byte_file import ByteFile
from streamce.reading.files.sources import Source, file_errors
from streamce.reading.formats.base import START, Mark, Part, Parts, Table
from streamce.reading.formats.numpy_rows import ENCRYPTED, RandomAccessRows, Rows, SequentialRows, find_member


class NumpyTable(Table):
    """A .npy file and its companions, whose columns have their paths as names; or a .npz file.

    The columns of a .npz file have the names of its members without ".npy".
    """

    def __init__(self, source: Source, companions: Sequence[str]) -> None:
        self._rows: dict[str, Rows] = {}
        if source.format == "npy":
            self._rows[source.name] = RandomAccessRows(ByteFile(source.open()))
            for path in companions:
                with file_errors(path):
                    os.stat(path)  # raises a short error if the file does not exist
                    self._rows[path] = RandomAccessRows(ByteFile(fs.LocalFileSystem().open_input_file(path)))
            return
        file = source.open()
        archive = zipfile.ZipFile(file)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & ENCRYPTED:
                start = find_member(ByteFile(file), member)
                self._rows[name] = RandomAccessRows(ByteFile(file), start, member.file_size)
            else:
                self._rows[name] = SequentialRows(archive.open(member), member.file_size)

    def names(self) -> list[str]:
        return list(self._rows)

    def type(self, name: str) -> Any:
        return self._rows[name].type()

    def parts(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Parts:
        arrays = [self._rows[name] for name in types]
        total = arrays[0].shape[0]
        for name, array in zip(types, arrays, strict=True):
            if array.shape[0] != total:
                raise DataError(f"{name} has {array.shape[0]} rows, {next(iter(types))} {total}")
            array.skip(start.row)
        for first in range(start.row, total, rows):
            end = min(first + rows, total)
            batch = [array.take(end - first) for array in arrays]
            yield Part(pa.RecordBatch.from_arrays(batch, list(types)), end / total, Mark(end))
