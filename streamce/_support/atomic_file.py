"""Files that are whole or as they were before, whatever stops the writer."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]


def write(path: str | os.PathLike[str], data: bytes, *, like: str | None = None) -> None:
    """Put ``data`` at ``path``, whole or not at all, and wait until it is on the disk.

    The file gets the permissions of the file ``like``, or of the one that it replaces; a new file gets those of the
    umask. If ``path`` is a symbolic link, the file that it points to is replaced, not the link.
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
        if fcntl is None:  # Windows cannot rename an open file
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
            os.close(file)  # not earlier, because its lock prevents others from removing it
    if os.name == "posix":  # the new name has to reach the disk too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove temporary files that killed writers of ``path`` left, but not those of running ones."""
    folder, prefix = beside(os.path.realpath(os.fsdecode(path)))
    with suppress(OSError):  # what cannot be removed does no harm
        for entry in os.listdir(folder):
            if entry.startswith(prefix) and entry.endswith(".tmp"):
                with suppress(OSError):
                    _remove_if_left(os.path.join(folder, entry))


def _remove_if_left(temporary: str) -> None:
    """Remove a temporary file, unless a running writer holds its lock."""
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
    """Create a file and return its descriptor, which holds a lock until it is closed."""
    while True:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        if fcntl is None:
            return file
        with suppress(OSError):  # the file system has no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # another process removed it before it was locked


def _status(path: str) -> os.stat_result | None:
    """Return the status of a file, or None if there is none."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _make_like(temporary: str, path: str, before: os.stat_result) -> None:
    """Give a file the owner, mode and access control lists of another, as far as the process may."""
    kept = before.st_mode & 0o777
    if hasattr(os, "chown"):
        for owner, group in ((before.st_uid, before.st_gid), (-1, before.st_gid)):
            with suppress(OSError):
                os.chown(temporary, owner, group)
                break
        else:  # the file has another group, which gets only the permissions of others
            kept &= ~0o070 | (kept & 0o007) << 3
    with suppress(OSError):  # the file system does not support them
        shutil.copystat(path, temporary)
    with suppress(OSError):
        os.chmod(temporary, kept)


def beside(path: str) -> tuple[str, str]:
    """Return the folder, and the prefix of hidden names for this path, which is short even if the name is long."""
    from hashlib import sha256  # here: it brings OpenSSL, which takes its time

    folder, name = os.path.split(path)
    return folder, f".streamce-{sha256(os.fsencode(name)).hexdigest()[:16]}-"
