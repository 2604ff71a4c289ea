"""Files that are whole or as they were before, whatever stops the writer."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]


def write(path: str | os.PathLike[str], data: bytes, *, like: str | None = None) -> None:
    """Put ``data`` at ``path``, whole or not at all, and wait until it is on the disk.

    The permissions are those of the file ``like``, or of the one that is replaced; a new file has those of the umask.
    Through a symbolic link the file that it points to is replaced, not the link.
    """
    given = os.fsdecode(path)
    path = os.path.realpath(given)
    folder, prefix = beside(path)
    temporary = os.path.join(folder, f"{prefix}{os.urandom(8).hex()}.tmp")
    file = -1
    try:
        before = _status(like or path)
        file = _created(temporary, 0o666 if before is None else 0o600)
        if before is not None:
            _make_like(temporary, like or path, before)
        with open(file, "wb", closefd=False) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(file)
        if fcntl is None:  # Windows, which renames no file that is open
            file = os.close(file) or -1
        os.replace(temporary, path)
    except BaseException as error:  # an interrupt too, wherever it comes
        with suppress(OSError):  # the first error is the one that explains
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:  # a full disk names no file
            error.filename = given
            del error.filename2
        raise
    finally:
        if file >= 0:
            os.close(file)  # only now, because its lock keeps others from removing it
    if os.name == "posix":  # the new name has to reach the disk too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove what writers of ``path`` left when they were killed, but nothing of those that are alive."""
    folder, prefix = beside(os.path.realpath(os.fsdecode(path)))
    with suppress(OSError):  # what cannot be removed does no harm
        for entry in os.listdir(folder):
            if entry.startswith(prefix) and entry.endswith(".tmp"):
                with suppress(OSError):
                    _remove_if_left(os.path.join(folder, entry))


def _remove_if_left(temporary: str) -> None:
    """Remove a temporary file unless its writer, who holds a lock on it, is alive."""
    if fcntl is None:
        os.unlink(temporary)
        return
    file = os.open(temporary, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.unlink(temporary)
    finally:
        os.close(file)


def _created(temporary: str, mode: int) -> int:
    """Create a file; returns its descriptor, which holds a lock until it is closed."""
    while True:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        if fcntl is None:
            return file
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # another process swept it before the lock was there


def _status(path: str) -> os.stat_result | None:
    """The status of the file there, None without one."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _make_like(temporary: str, path: str, before: os.stat_result) -> None:
    """Give a file the owner, the mode and the access control lists of another, as far as one may."""
    kept = before.st_mode & 0o777
    if hasattr(os, "chown"):
        for owner, group in ((before.st_uid, before.st_gid), (-1, before.st_gid)):
            with suppress(OSError):
                os.chown(temporary, owner, group)
                break
        else:  # its group is another now, and gets no more than everybody
            kept &= ~0o070 | (kept & 0o007) << 3
    with suppress(OSError):  # a file system that keeps none of these
        shutil.copystat(path, temporary)
    with suppress(OSError):
        os.chmod(temporary, kept)


def beside(path: str) -> tuple[str, str]:
    """The folder, and how hidden names for this path begin: as short for a long name."""
    from hashlib import sha256  # here: it brings OpenSSL, which takes its time

    folder, name = os.path.split(path)
    return folder, f".streamce-{sha256(os.fsencode(name)).hexdigest()[:16]}-"
