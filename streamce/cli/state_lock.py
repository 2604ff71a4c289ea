"""The lock on the state that a command writes. Without it, two runs would overwrite each other's rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from streamce._support import atomic_file

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where states are not locked
    fcntl = None  # type: ignore[assignment]


class InUse(Exception):
    """Error that another process writes this state."""


@contextlib.contextmanager
def locked(option: str, state: str | None) -> Iterator[None]:
    """Lock ``state``, the value of ``option``, until this run ends or is killed; raise InUse if another run holds it.

    The lock is on a file beside the state. The file is hidden, so that no glob of data finds it, and is removed at the
    end. A file left by a killed run is not locked, so it does not block others.
    """
    if state is None or fcntl is None:
        yield
        return
    path = lock_path(state)
    file = _open_locked(path, f"{option} {state}: this state is in use by another run of streamce: wait for its end")
    try:
        yield
    finally:
        if _is_at(file, path):  # otherwise the path now belongs to another run
            os.unlink(path)
        os.close(file)


def lock_path(state: str) -> str:
    """Return the path of the lock, which is the same for all names of a state."""
    folder, prefix = atomic_file.folder_and_prefix(os.path.realpath(state))
    return os.path.join(folder, f"{prefix}lock")


def _open_locked(path: str, in_use: str) -> int:
    """Open and lock the file, and return its descriptor."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with contextlib.suppress(OSError):  # the file system has no locks
                _lock(file, in_use)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # another run has just removed the file


def _lock(file: int, in_use: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUse(in_use) from None


def _is_at(file: int, path: str) -> bool:
    """Return whether the path still names the open file."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), os.stat(path))
    return False
