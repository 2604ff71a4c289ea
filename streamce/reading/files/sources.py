"""Sources: files, folders, globs, URIs and standard input, by the names that a user gives them."""

import contextlib
import glob
import os
import posixpath
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from pyarrow import fs

from streamce._support.file_identity import file_identity, named_twice
from streamce.errors import DataError, SelectionError
from streamce.reading.files.decoding import is_utf8
from streamce.reading.files.read_options import DEFAULT_OPTIONS, ReadOptions

ENDINGS = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".arrows", ".feather", ".ipc"), "arrow"),
    **{".csv": "csv", ".tsv": "tsv"},
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **{".npy": "npy", ".npz": "npz"},
}
TEXT = ("csv", "tsv", "json")
# The internal name of each format that a user may choose.
FORMATS = {**{name: name for name in ("csv", "tsv", "parquet", "arrow", "npy", "npz")}, "jsonl": "json", "json": "json"}
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"  # the name of a folder for missing values
COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")  # endings that may follow one of CSV or JSON
MAX_EMPTY = 512  # bytes that compression makes of no bytes at most: gzip adds the name of the file
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
    partition: tuple[tuple[str, str | None], ...] = ()  # names and values in the names of folders, such as day=1

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


def make_source(
    name: str, filesystem: Any, path: str, size: int, changed: int | None = None, options: ReadOptions = DEFAULT_OPTIONS
) -> Source:
    """Return the source for a file. Its format is that of the options, or of its ending, or of its first bytes."""
    if _is_empty(filesystem, path, size):
        raise DataError("the file is empty")
    kind = FORMATS[options.format] if options.format else format_of(path)
    if kind is None:
        with filesystem.open_input_stream(path, compression=None) as file:
            start = file.read(8)
        kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), None)
    if kind is None:
        raise SelectionError(f"unknown kind of file: --format says what it is; known endings are {' '.join(ENDINGS)}")
    return Source(name, kind, path, filesystem, size, changed, options=options, partition=partition_of(path))


def _is_empty(filesystem: Any, path: str, size: int) -> bool:
    """Return whether a file has 0 bytes, or is compressed and would have 0 bytes if it were unpacked."""
    if size == 0 or not path.lower().endswith(COMPRESSED) or size > MAX_EMPTY:
        return size == 0
    with contextlib.suppress(OSError), filesystem.open_input_stream(path) as file:
        return not file.read(1)
    return False  # it is damaged, which reading it explains


def partition_of(path: str) -> tuple[tuple[str, str | None], ...]:
    """Return the names and values in names of folders such as ``day=2024-01-01``, as Hive writes them."""
    pairs = {}
    for folder in path.replace(os.sep, "/").split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if name and equals:
            pairs[unquote(name)] = None if value == NULL_PARTITION else unquote(value)
    return tuple(pairs.items())


def find_sources(names: Sequence[str], options: ReadOptions = DEFAULT_OPTIONS) -> list[Source]:
    """Return the sources that names stand for: files, folders with their subfolders, globs, URIs or "-"."""
    all_sources: dict[tuple[Any, ...], Source] = {}
    for name in names:
        with file_errors(name):
            empty: list[str] = []
            sources = [*_expand(name, empty, options)]
            if not sources and empty:
                raise DataError(f"all files are empty, such as {empty[0]}")
            if not sources:
                raise DataError("there are no data files; --format reads files with any ending")
        for source in sources:
            with file_errors(source.name):
                first = all_sources.setdefault(source.identity, source)
                if first is not source:
                    raise SelectionError(named_twice(source.name, first.name))
    _check_options(all_sources.values(), options)
    if len(all_sources) > 1 and any(source.format == "npy" for source in all_sources.values()):
        raise SelectionError("a .npy file is evaluated alone: put several arrays into .npz files")
    return list(all_sources.values())


def _check_options(sources: Collection[Source], options: ReadOptions) -> None:
    """Raise SelectionError if options of text are given, and no file is text."""
    formats = {source.format for source in sources}
    given = {name: getattr(options, name) for name in ("delimiter", "decimal", "null")}
    name = next((name for name, value in given.items() if value), None)
    if name and not formats & {"csv", "tsv", "pipe"}:
        raise SelectionError(f"--{name} is an option of CSV and TSV, and no file has these formats")
    if not is_utf8(options.encoding) and not formats & {*TEXT, "pipe"}:
        raise SelectionError("--encoding is an option of CSV, TSV and JSON, and no file has these formats")


def check_standard_input() -> None:
    """Raise DataError if the caller has closed standard input, because another file may have its descriptor."""
    if sys.stdin is None:
        raise DataError("standard input is closed")


def _expand(name: str, empty: list[str], options: ReadOptions, *, is_part: bool = False) -> Iterator[Source]:
    """Yield the sources that a name stands for.

    Files without content in a folder or of a glob (``is_part``) are added to ``empty`` instead, because engines write
    them for partitions without rows. A named file without content is an error.
    """
    if name == "-":
        check_standard_input()
        yield Source("standard input", "pipe", "-", options=options)
        return
    scheme, colon, _ = name.partition("://")
    filesystem, path = open_uri(name) if colon else (fs.LocalFileSystem(), name)
    [info] = filesystem.get_file_info([path])
    magic = re.search(r"[*?[]", path)
    if info.type == fs.FileType.Unknown:  # a named pipe, such as the shell's <(command)
        yield Source(name, "pipe", path, options=options, partition=partition_of(path))
        return
    if info.type == fs.FileType.File:
        infos = [info]
    elif info.type == fs.FileType.Directory:
        infos = [i for i in list_files(filesystem, path, True) if options.format or format_of(i.path)]
    elif magic is None:
        raise DataError("no such file")
    elif not colon:
        for match in sorted(glob.glob(path, recursive=True)):
            yield from _expand(match, empty, options, is_part=True)
        return
    else:
        base = path[: magic.start()].rpartition("/")[0]
        infos = list_files(filesystem, base, "/" in path[len(base) + 1 :])
        infos = [i for i in infos if PurePosixPath(i.path).match(path)]
    is_part = is_part or info.type != fs.FileType.File
    for info in infos:
        tail = info.path if isinstance(filesystem, fs.LocalFileSystem) else info.path.lstrip("/")
        full_name = f"{scheme}://{tail}" if colon else info.path
        if is_part and _is_empty(filesystem, info.path, info.size):
            empty.append(full_name)
            continue
        yield make_source(full_name, filesystem, info.path, info.size, info.mtime_ns, options)


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
