"""What is read: files, folders, globs, URIs and standard input, by the names that a user has for them."""

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from pyarrow import fs

from streamce.errors import DataError, SelectionError

ENDINGS = {
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".arrows", ".feather", ".ipc"), "arrow"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **{".npy": "npy", ".npz": "npz"},
}
COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")  # after an ending of CSV or JSON
MAX_RECORD = 1 << 26  # most bytes of a row of CSV or a line of JSON, by default
ARROW_FILE, ARROW_STREAM = b"ARROW1", b"\xff\xff\xff\xff"
MAGIC = {
    **{b"PAR1": "parquet", ARROW_FILE: "arrow", ARROW_STREAM: "arrow"},
    **{b"\x93NUMPY": "npy", b"PK\x03\x04": "npz"},
}


def one_line(error: Exception) -> str:
    """What another library raised, as one line that is not too long: it may hold a whole record."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:400] or type(error).__name__


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Whatever a reader raises, as one line that names the file."""
    try:
        yield
    except (DataError, SelectionError) as error:
        raise error.with_place(name) from error
    except Exception as error:
        found = one_line(error)
        if isinstance(error, MemoryError):
            found = f"reading it takes more memory than there is ({found}): it is damaged, or one of its values is huge"
        raise DataError(found).with_place(name) from error


@dataclass(frozen=True)
class Source:
    """One file, or a stream that comes only once (format "pipe", path "-" for stdin; or format "stream", which a
    program handed over)."""

    name: str
    format: str
    path: str
    filesystem: Any = None
    size: int | None = None
    changed: int | None = field(default=None, compare=False)  # when, in nanoseconds, where that is known
    table: Any = field(default=None, compare=False)  # a function that opens it, where its format does not tell
    max_record: int = field(default=MAX_RECORD, compare=False)  # most bytes of a record of text

    @property
    def local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @property
    def packed(self) -> bool:
        return self.path.lower().endswith(COMPRESSED)

    def open(self) -> Any:
        return self.filesystem.open_input_file(self.path)

    def naming(self) -> AbstractContextManager[None]:
        """``naming`` for a file. What makes a stream may raise what it likes, and has no name."""
        return nullcontext() if self.format == "stream" else naming(self.name)


def format_of(path: str) -> str | None:
    """The format that a file's ending tells, None where it tells none."""
    stem, ending = os.path.splitext(path.lower())
    if ending not in COMPRESSED:
        return ENDINGS.get(ending)
    inner = ENDINGS.get(os.path.splitext(stem)[1])
    return inner if inner in ("csv", "json") else None


def source_of(name: str, filesystem: Any, path: str, size: int, changed: int | None = None) -> Source:
    if size == 0:
        raise DataError("the file is empty")
    kind = format_of(path)
    if kind is None:
        with filesystem.open_input_stream(path, compression=None) as file:
            start = file.read(8)
        kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), None)
    if kind is None:
        raise SelectionError(f"unknown kind of file; known are {' '.join(ENDINGS)}")
    return Source(name, kind, path, filesystem, size, changed)


def find(names: Sequence[str], max_record: int = MAX_RECORD) -> list[Source]:
    """The sources that names stand for: files, folders (in depth), globs, URIs, "-"."""
    found: list[Source] = []
    for name in names:
        with naming(name):
            sources = [replace(source, max_record=max_record) for source in _sources(name)]
            if not sources:
                raise DataError("no data file is there")
            for source in sources:
                if source in found:
                    raise SelectionError("named twice, its rows would count twice")
                found.append(source)
    if len(found) > 1 and any(source.format == "npy" for source in found):
        raise SelectionError("a .npy file is evaluated alone; several go into .npz files")
    return found


def check_standard_input() -> None:
    """Raise if the caller has closed standard input, because another file may have its descriptor."""
    if sys.stdin is None:
        raise DataError("standard input is closed")


def _sources(name: str) -> Iterator[Source]:
    if name == "-":
        check_standard_input()
        yield Source("standard input", "pipe", "-")
        return
    scheme, colon, _ = name.partition("://")
    filesystem, path = opened(name) if colon else (fs.LocalFileSystem(), name)
    [info] = filesystem.get_file_info([path])
    magic = re.search(r"[*?[]", path)
    if info.type == fs.FileType.Unknown:  # a named pipe, such as the shell's <(command)
        yield Source(name, "pipe", path)
        return
    if info.type == fs.FileType.File:
        infos = [info]
    elif info.type == fs.FileType.Directory:
        infos = [i for i in listing(filesystem, path, True) if format_of(i.path)]
    elif magic is None:
        raise DataError("no such file")
    elif not colon:
        for match in sorted(glob.glob(path, recursive=True)):
            yield from _sources(match)
        return
    else:
        base = path[: magic.start()].rpartition("/")[0]
        infos = listing(filesystem, base, "/" in path[len(base) + 1 :])
        infos = [i for i in infos if PurePosixPath(i.path).match(path)]
    for info in infos:
        shown = f"{scheme}://{info.path.lstrip('/')}" if colon else info.path
        yield source_of(shown, filesystem, info.path, info.size, info.mtime_ns)


def opened(uri: str) -> tuple[Any, str]:
    """Return the file system and the path of a URI."""
    filesystem, path = fs.FileSystem.from_uri(uri)
    # A URI can ask for memory maps (?use_mmap), which could kill the process if the file is truncated.
    return fs.LocalFileSystem() if isinstance(filesystem, fs.LocalFileSystem) else filesystem, path


def listing(filesystem: Any, folder: str, deep: bool) -> list[Any]:
    """Files in a folder by name, but for those that writers hide with "_" or "."."""
    infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=deep))
    shown = [i for i in infos if not re.search(r"/[_.]", f"/{i.path[len(folder) :].lstrip('/')}")]
    return sorted((i for i in shown if i.type == fs.FileType.File), key=lambda i: str(i.path))
