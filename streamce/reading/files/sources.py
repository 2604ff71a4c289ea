"""Sources: files, folders, globs, URIs and standard input, by the names that a user gives them."""

import glob
import os
import posixpath
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from pyarrow import fs

from streamce._support.file_identity import file_identity, named_twice
from streamce.errors import DataError, SelectionError
from streamce.reading.files.read_options import DEFAULT_OPTIONS, ReadOptions

ENDINGS = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".arrows", ".feather", ".ipc"), "arrow"),
    **{".csv": "csv", ".tsv": "tsv"},
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **{".npy": "npy", ".npz": "npz"},
}
TEXT = ("csv", "tsv", "json")
COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")  # endings that may follow one of CSV or JSON
ARROW_FILE, ARROW_STREAM = b"ARROW1", b"\xff\xff\xff\xff"
MAGIC = {
    **{b"PAR1": "parquet", ARROW_FILE: "arrow", ARROW_STREAM: "arrow"},
    **{b"\x93NUMPY": "npy", b"PK\x03\x04": "npz"},
}


def one_line(error: Exception) -> str:
    """Return the message of another library's error on one line, shortened because it may contain a whole record."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:400] or type(error).__name__


@contextmanager
def file_errors(name: str) -> Iterator[None]:
    """Convert any exception in this context to a DataError or SelectionError that names the file."""
    try:
        yield
    except (DataError, SelectionError) as error:
        raise error.with_place(name) from error
    except Exception as error:
        message = one_line(error)
        if isinstance(error, MemoryError):
            message = f"there is not enough memory to read it ({message}): it is damaged, or one of its values is huge"
        raise DataError(message).with_place(name) from error


@dataclass(frozen=True)
class Source:
    """A file, or a stream that can be read only once.

    The format of a pipe is "pipe", with the path "-" for standard input. The format of a stream that a program handed
    over is "stream".
    """

    name: str
    format: str
    path: str
    filesystem: Any = None
    size: int | None = None
    changed: int | None = field(default=None, compare=False)  # time of the last change in nanoseconds, if known
    table: Any = field(default=None, compare=False)  # a function that opens the source in place of its format
    options: ReadOptions = field(default=DEFAULT_OPTIONS, compare=False)

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @property
    def is_compressed(self) -> bool:
        return self.path.lower().endswith(COMPRESSED)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for two spellings of one file: device and inode, or file system and normalised path."""
        if self.path == "-":
            return file_identity(0)
        if self.filesystem is None or self.is_local:
            return file_identity(self.path)
        return self.filesystem.type_name, posixpath.normpath(self.filesystem.normalize_path(self.path))

    def open(self) -> Any:
        return self.filesystem.open_input_file(self.path)

    def errors(self) -> AbstractContextManager[None]:
        """Return ``file_errors`` for a file. A stream has no name, and its producer's exceptions are not converted."""
        return nullcontext() if self.format == "stream" else file_errors(self.name)


def format_of(path: str) -> str | None:
    """Return the format that the ending of a path stands for, or None."""
    stem, ending = os.path.splitext(path.lower())
    if ending not in COMPRESSED:
        return ENDINGS.get(ending)
    inner = ENDINGS.get(os.path.splitext(stem)[1])
    return inner if inner in TEXT else None


def make_source(name: str, filesystem: Any, path: str, size: int, changed: int | None = None) -> Source:
    """Return the source for a file. Its format is that of its ending, or else of its first bytes."""
    if size == 0:
        raise DataError("the file is empty")
    kind = format_of(path)
    if kind is None:
        with filesystem.open_input_stream(path, compression=None) as file:
            start = file.read(8)
        kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), None)
    if kind is None:
        raise SelectionError(f"unknown kind of file; known endings are {' '.join(ENDINGS)}")
    return Source(name, kind, path, filesystem, size, changed)


def find_sources(names: Sequence[str], options: ReadOptions = DEFAULT_OPTIONS) -> list[Source]:
    """Return the sources that names stand for: files, folders with their subfolders, globs, URIs or "-"."""
    all_sources: dict[tuple[Any, ...], Source] = {}
    for name in names:
        with file_errors(name):
            empty: list[str] = []
            sources = [replace(source, options=options) for source in _expand(name, empty)]
            if not sources:
                raise DataError(f"all files are empty, such as {empty[0]}" if empty else "there are no data files")
        for source in sources:
            with file_errors(source.name):
                first = all_sources.setdefault(source.identity, source)
                if first is not source:
                    raise SelectionError(named_twice(source.name, first.name))
    if len(all_sources) > 1 and any(source.format == "npy" for source in all_sources.values()):
        raise SelectionError("a .npy file is evaluated alone: put several arrays into .npz files")
    return list(all_sources.values())


def check_standard_input() -> None:
    """Raise DataError if the caller has closed standard input, because another file may have its descriptor."""
    if sys.stdin is None:
        raise DataError("standard input is closed")


def _expand(name: str, empty: list[str], *, is_part: bool = False) -> Iterator[Source]:
    """Yield the sources that a name stands for.

    Files of 0 bytes in a folder or of a glob (``is_part``) are added to ``empty`` instead, because engines write them
    for partitions without rows. A named file of 0 bytes is an error.
    """
    if name == "-":
        check_standard_input()
        yield Source("standard input", "pipe", "-")
        return
    scheme, colon, _ = name.partition("://")
    filesystem, path = open_uri(name) if colon else (fs.LocalFileSystem(), name)
    [info] = filesystem.get_file_info([path])
    magic = re.search(r"[*?[]", path)
    if info.type == fs.FileType.Unknown:  # a named pipe, such as the shell's <(command)
        yield Source(name, "pipe", path)
        return
    if info.type == fs.FileType.File:
        infos = [info]
    elif info.type == fs.FileType.Directory:
        infos = [i for i in list_files(filesystem, path, True) if format_of(i.path)]
    elif magic is None:
        raise DataError("no such file")
    elif not colon:
        for match in sorted(glob.glob(path, recursive=True)):
            yield from _expand(match, empty, is_part=True)
        return
    else:
        base = path[: magic.start()].rpartition("/")[0]
        infos = list_files(filesystem, base, "/" in path[len(base) + 1 :])
        infos = [i for i in infos if PurePosixPath(i.path).match(path)]
    is_part = is_part or info.type != fs.FileType.File
    for info in infos:
        tail = info.path if isinstance(filesystem, fs.LocalFileSystem) else info.path.lstrip("/")
        full_name = f"{scheme}://{tail}" if colon else info.path
        if is_part and info.size == 0:
            empty.append(full_name)
            continue
        yield make_source(full_name, filesystem, info.path, info.size, info.mtime_ns)


def open_uri(uri: str) -> tuple[Any, str]:
    """Return the file system and the path of a URI."""
    filesystem, path = fs.FileSystem.from_uri(uri)
    # A local file system without options, because ?use_mmap maps files, and a truncated map kills the process.
    return fs.LocalFileSystem() if isinstance(filesystem, fs.LocalFileSystem) else filesystem, path


def list_files(filesystem: Any, folder: str, recursive: bool) -> list[Any]:
    """Return the files of a folder, sorted by name, without those that writers hide with "_" or "."."""
    infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=recursive))
    visible = [i for i in infos if not re.search(r"/[_.]", f"/{i.path[len(folder) :].lstrip('/')}")]
    return sorted((i for i in visible if i.type == fs.FileType.File), key=lambda i: str(i.path))
