"""A lock on the state that a command writes: two runs would each overwrite the other's rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

try:
    import fcntl
except ModuleNotFoundError:  # Windows: no lock there
    fcntl = None  # type: ignore[assignment]


class InUse(Exception):
    """Another process writes this state."""


@contextlib.contextmanager
def locked(option: str, state: str | None) -> Iterator[None]:
    """Keep others from ``state``, the value of ``option``, until this run ends or is killed; InUse if one has it.

    The lock is on STATE.lock, which is removed at the end. One that a killed run has left keeps nobody out.
    """
    if state is None or fcntl is None:
        yield
        return
    path = f"{os.path.realpath(state)}.lock"  # one for all names of a state
    file = _taken(option, state, path)
    try:
        yield
    finally:
        if _is_at(file, path):  # else somebody removed it, and it may be another's now
            os.unlink(path)
        os.close(file)


def _taken(option: str, state: str, path: str) -> int:
    """The descriptor that holds the lock."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if os.fstat(file).st_size:
                raise InUse(f"{option} {state}: {path} is needed for its lock, and is no lock")
            with contextlib.suppress(OSError):  # a file system without locks
                _lock(file, f"{option} {state}: in use: another run of streamce writes this state")
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
