"""Threads: a pool of our own, since the kernels release the interpreter lock.

Chunks are cut at samples and every part adds up exactly, so the number of threads never changes
a result.

It is no ``ThreadPoolExecutor``: a child that is forked while another thread imports ``concurrent.futures``
waits for that import for ever, and an executor takes no work while Python is ending.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from streamce._support import scalars
from streamce._support.short_repr import short_repr
from streamce.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Threads start as they are needed; a caller may ask for more than there are processors.
MOST = 64

_limit: int | None = None
_here = threading.local()  # its `limit`, where a thread has one


def check(n: Any, name: str) -> int:
    """``n`` as a number of threads."""
    found = scalars.integer(n)
    if found is None or found < 1:
        raise InputError(name, f"is {short_repr(n)}", "a whole number of threads, 1 or more", value=n)
    return found


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
    if own is not None:
        return own
    here: int | None = getattr(_here, "limit", None)
    return here if here is not None else _limit if _limit is not None else _available()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One thread, in this one and for metrics that were given none: where an engine runs a task on each processor."""
    before = getattr(_here, "limit", None)
    _here.limit = 1
    try:
        yield
    finally:
        _here.limit = before


class _Pool:
    """Threads that wait for jobs. One more starts when all have one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.threads = 0
        self.asked = 0  # jobs that wait or are under way

    def ask(self, job: Callable[[], None]) -> None:
        with self.lock:
            if self.asked >= self.threads and self.threads < MOST:
                # A daemon: it holds nothing that an ending program has to wait for.
                threading.Thread(target=self._serve, name=f"streamce-{self.threads}", daemon=True).start()
                self.threads += 1
            self.asked += 1
        self.jobs.put(job)

    def _serve(self) -> None:
        while True:
            self.jobs.get()()
            with self.lock:
                self.asked -= 1


_pool = _Pool()


def _forget() -> None:
    # After a fork the child has the pool but not its threads, and perhaps a lock that was held.
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Results of all tasks, in order. The calling thread works as well, if need be alone."""
    left = deque(enumerate(tasks))
    finished: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()

    def work() -> None:
        while left:
            try:
                i, task = left.popleft()
            except IndexError:  # another thread was faster
                return
            result, error = None, None
            try:
                result = task()
            except BaseException as caught:
                error = caught
            del task  # and with it the caller's arrays, which are free again once the update returns
            finished.put((i, result, error))

    try:
        for _ in tasks[1:]:
            _pool.ask(work)
    except RuntimeError:
        pass  # Python is ending, or the system starts no more threads
    work()
    results: list[Any] = [None] * len(tasks)
    failed = None
    for _ in tasks:  # an error waits for the others, which may write to memory of the caller's
        i, results[i], error = finished.get()
        failed = failed or error
    if failed is not None:
        raise failed
    return results
