"""Threads: a pool of our own, since the kernels release the interpreter lock.

Chunks are cut at samples and every part adds up exactly, so the number of threads never changes
a result.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from streamce.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import ThreadPoolExecutor

# Threads start as they are needed; a caller may ask for more than there are processors.
MOST = 64

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_limit: int | None = None


def check(n: Any, name: str) -> int:
    """``n`` as a number of threads."""
    if isinstance(n, bool) or not hasattr(n, "__index__") or n < 1:
        raise InputError(
            f"{name} is {n!r}: expected a whole number of threads, 1 or more",
            argument=name,
            value=n,
            expected="a whole number of threads, 1 or more",
        )
    return int(n)


def _available() -> int:
    setting = os.environ.get("STREAMCE_NUM_THREADS")
    if setting is not None:
        return check(int(setting) if setting.isascii() and setting.isdigit() else setting, "STREAMCE_NUM_THREADS")
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no affinity on this system
        return os.cpu_count() or 1


def set_num_threads(n: int | None) -> None:
    """Set the number of threads of metrics that were given none; None is the default again.

    The default is ``STREAMCE_NUM_THREADS`` or the processors this process may use. Results do
    not depend on it.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.set_num_threads(1)
    >>> ce.set_num_threads(None)
    """
    global _limit
    _limit = None if n is None else check(n, "n")


def limit(own: int | None) -> int:
    """How many threads a metric may use that was given ``own``."""
    return own if own is not None else _limit if _limit is not None else _available()


def _forget() -> None:
    # After a fork the child has the pool but not its threads, and perhaps a lock that was held.
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Results of all tasks, in order; the first runs on the calling thread."""
    global _pool
    from concurrent.futures import ThreadPoolExecutor  # here: a small program never needs it

    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max_workers=MOST, thread_name_prefix="streamce")
        waiting = [_pool.submit(task) for task in tasks[1:]]
    first = tasks[0]()
    return [first, *(future.result() for future in waiting)]
