"""A lock on the state that a command writes: two runs would each overwrite the other's rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from streamce import atomic

try:
    import fcntl
except ModuleNotFoundError:  # Windows: no lock there
    fcntl = None  # type: ignore[assignment]


class InUse(Exception):
    """Another process writes this state."""


@contextlib.contextmanager
def locked(option: str, state: str | None) -> Iterator[None]:
    """Keep others from ``state``, the value of ``option``, until this run ends or is killed; InUse if one has it.

    The lock is on a file beside it, hidden so that no glob of data finds it, which is removed at the end. One that a
    killed run has left keeps nobody out.
    """
    if state is None or fcntl is None:
        yield
        return
    path = lock_path(state)
    file = _taken(path, f"{option} {state}: in use: another run of streamce writes this state")
    try:
        yield
    finally:
        if _is_at(file, path):  # else somebody removed it, and it may be another's now
            os.unlink(path)
        os.close(file)


def lock_path(state: str) -> str:
    """The path of the lock, which is one for all names of a state."""
    folder, prefix = atomic.beside(os.path.realpath(state))
    return os.path.join(folder, f"{prefix}lock")


def _taken(path: str, in_use: str) -> int:
    """The descriptor that holds the lock."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                _lock(file, in_use)
            if _is_at(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # the run before has just removed it


def _lock(file: int, in_use: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InUse(in_use) from None


def _is_at(file: int, path: str) -> bool:
    """Whether a path still names the file that is open."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), os.stat(path))
    return False
