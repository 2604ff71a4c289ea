"""The growing source that a name stands for."""

from __future__ import annotations

import os
from collections.abc import Callable

from pyarrow import fs

from streamce.errors import DataError
from streamce.monitor.growing_source import GrowingSource
from streamce.monitor.jsonl_source import JsonlFile, JsonlPipe, LineOptions
from streamce.monitor.parquet_folder import ParquetFolder
from streamce.reading.files.sources import check_standard_input, file_errors, format_of, open_uri


def open_source(name: str, log: Callable[[str], None], lines: LineOptions) -> GrowingSource:
    """Return the source for ``-``, a folder, or the path of a file. Raise DataError for anything else.

    ``lines`` says how lines of JSON are read.
    """
    if name == "-":
        check_standard_input()
        return JsonlPipe(log, lines)
    filesystem, path = fs.LocalFileSystem(), name
    if "://" in name:
        with file_errors(name):
            filesystem, path = open_uri(name)
            local = isinstance(filesystem, fs.LocalFileSystem)
            if not local and filesystem.get_file_info([path])[0].type != fs.FileType.Directory:
                raise DataError("no such folder")
            if not local:
                return ParquetFolder(filesystem, path, name, log)
    if os.path.isdir(path):
        return ParquetFolder(filesystem, path, name, log)
    if format_of(path) not in (None, "json") or path.lower().endswith((".gz", ".bz2", ".zst", ".lz4")):
        raise DataError(f"{name}: expected a file of JSON lines, or a folder that receives Parquet files")
    if not path or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise DataError(f"{name}: no such file, and no folder in which it could appear")
    return JsonlFile(path, log, lines)
