"""Atomic writes: a file is written completely or not at all, even if the writer is killed."""

from __future__ import annotations

import os
from contextlib import suppress

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]


def write(path: str | os.PathLike[str], data: bytes, *, permissions_from: str | None = None) -> None:
    """Write ``data`` to ``path`` atomically, and wait until it is on the disk.

    The file gets the permissions of the file ``permissions_from``, or of the one that it replaces. A new file gets
    the permissions that the umask allows. If ``path`` is a symbolic link, the file that it points to is replaced, not
    the link.
    """
    name = os.fsdecode(path)
    path = os.path.realpath(name)
    folder, prefix = folder_and_prefix(path)
    temporary = os.path.join(folder, f"{prefix}{os.urandom(8).hex()}.tmp")
    file = -1
    try:
        model = permissions_from or path
        status = _status(model)
        file = _create(temporary, 0o666 if status is None else 0o600)
        if status is not None:
            _copy_permissions(model, status, temporary)
        with open(file, "wb", closefd=False) as stream:
            stream.write(data)
            stream.flush()
            os.fsync(file)
        if fcntl is None:  # Windows cannot rename an open file
            file = os.close(file) or -1
        os.replace(temporary, path)
    except BaseException as error:  # an interrupt can come at any time
        with suppress(OSError):  # the first error explains the failure
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:  # a full disk names no file
            error.filename = name
            del error.filename2
        raise
    finally:
        if file >= 0:
            os.close(file)  # last, because its lock keeps other processes from removing it
    if os.name == "posix":  # the new name has to reach the disk too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_stale_temporaries(path: str | os.PathLike[str]) -> None:
    """Remove temporary files that killed writers of ``path`` left, but not those of running writers."""
    folder, prefix = folder_and_prefix(os.path.realpath(os.fsdecode(path)))
    with suppress(OSError):  # a file that cannot be removed does no harm
        for entry in os.listdir(folder):
            if entry.startswith(prefix) and entry.endswith(".tmp"):
                with suppress(OSError):
                    _remove_if_stale(os.path.join(folder, entry))


def _remove_if_stale(temporary: str) -> None:
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


def _create(temporary: str, mode: int) -> int:
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


def _copy_permissions(path: str, status: os.stat_result, temporary: str) -> None:
    """Copy owner, mode and access control lists of a file to another, as far as the process may."""
    mode = status.st_mode & 0o777
    if hasattr(os, "chown"):
        for owner, group in ((status.st_uid, status.st_gid), (-1, status.st_gid)):
            with suppress(OSError):
                os.chown(temporary, owner, group)
                break
        else:  # the new file has another group, which gets only the permissions of others
            mode &= ~0o070 | (mode & 0o007) << 3
    import shutil  # here, because it imports all compression modules

    with suppress(OSError):  # the file system does not support them
        shutil.copystat(path, temporary)
    with suppress(OSError):
        os.chmod(temporary, mode)


def folder_and_prefix(path: str) -> tuple[str, str]:
    """Return the folder of a path and the prefix of its hidden files, which is short even if the name is long."""
    from hashlib import sha256  # here, because it loads OpenSSL, which is slow

    folder, name = os.path.split(path)
    return folder, f".streamce-{sha256(os.fsencode(name)).hexdigest()[:16]}-"
