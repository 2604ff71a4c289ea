"""The growing source that a name stands for."""

from __future__ import annotations

import os
from collections.abc import Callable

from pyarrow import fs

from streamce.errors import DataError, SelectionError
from streamce.monitor.growing_source import GrowingSource
from streamce.monitor.jsonl_source import JsonlFile, JsonlPipe
from streamce.monitor.parquet_folder import ParquetFolder
from streamce.reading.files.decoding import is_utf8, keeps_ascii
from streamce.reading.files.read_options import ReadOptions
from streamce.reading.files.sources import check_standard_input, file_errors, format_of, open_uri


def open_source(name: str, log: Callable[[str], None], max_rows: int, options: ReadOptions) -> GrowingSource:
    """Return the source for ``-``, a folder, or the path of a file. Raise DataError for anything else.

    At most ``max_rows`` lines of JSON are read at a time.
    """
    if name == "-":
        check_standard_input()
        _check_encoding(options)
        return JsonlPipe(log, max_rows, options)
    filesystem, path = fs.LocalFileSystem(), name
    if "://" in name:
        with file_errors(name):
            filesystem, path = open_uri(name)
            local = isinstance(filesystem, fs.LocalFileSystem)
            if not local and filesystem.get_file_info([path])[0].type != fs.FileType.Directory:
                raise DataError("no such folder")
            if not local:
                return _parquet_folder(filesystem, path, name, log, options)
    if os.path.isdir(path):
        return _parquet_folder(filesystem, path, name, log, options)
    if format_of(path) not in (None, "json") or path.lower().endswith((".gz", ".bz2", ".zst", ".lz4")):
        raise DataError(f"{name}: expected a file of JSON lines, or a folder that receives Parquet files")
    if not path or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise DataError(f"{name}: no such file, and no folder in which it could appear")
    _check_encoding(options)
    return JsonlFile(path, log, max_rows, options)


def _parquet_folder(
    filesystem: fs.FileSystem, path: str, name: str, log: Callable[[str], None], options: ReadOptions
) -> ParquetFolder:
    if not is_utf8(options.encoding):
        raise SelectionError("--encoding is an option of JSON lines, and a folder has Parquet files")
    return ParquetFolder(filesystem, path, name, log, options)


def _check_encoding(options: ReadOptions) -> None:
    """Raise SelectionError if the ends of lines cannot be found before the text is decoded."""
    if options.encoding is not None and not keeps_ascii(options.encoding):
        expected = "expected an encoding that keeps ASCII, such as latin-1, because lines are read as they arrive"
        raise SelectionError(f"--encoding {options.encoding}: {expected}")
