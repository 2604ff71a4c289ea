"""What there is to follow by a name."""

from __future__ import annotations

import os
from collections.abc import Callable

from pyarrow import fs

from streamce.errors import DataError
from streamce.monitor.growing_source import Following
from streamce.monitor.jsonl_source import LinesFile, Pipe
from streamce.monitor.parquet_folder import Folder
from streamce.reading.sources import MAX_RECORD, check_standard_input, format_of, naming, opened
from streamce.reading.tables import Table


def follow(
    name: str,
    say: Callable[[str], None],
    rows: int,
    skips: bool,
    tells: Callable[[Table], bool] = lambda table: True,
    max_record: int = MAX_RECORD,
) -> Following:
    """What a name stands for: ``-``, a folder, or the path of a file; DataError for anything else.

    Of lines of JSON the first that ``tells`` finds enough in, as a table of its own, tells what the columns hold.
    """
    if name == "-":
        check_standard_input()
        return Pipe(say, rows, skips, tells, max_record)
    filesystem, path = fs.LocalFileSystem(), name
    if "://" in name:
        with naming(name):
            filesystem, path = opened(name)
            local = isinstance(filesystem, fs.LocalFileSystem)
            if not local and filesystem.get_file_info([path])[0].type != fs.FileType.Directory:
                raise DataError("no such folder")
            if not local:
                return Folder(filesystem, path, name, say)
    if os.path.isdir(path):
        return Folder(filesystem, path, name, say)
    if format_of(path) not in (None, "json") or path.lower().endswith((".gz", ".bz2", ".zst", ".lz4")):
        raise DataError(f"{name}: a file that grows is one of JSON lines, or a folder receives Parquet files")
    if not path or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise DataError(f"{name}: no such file, nor a folder for it")
    return LinesFile(path, say, rows, skips, tells, max_record)
