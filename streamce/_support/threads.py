"""A pool of threads, and the number of threads, which never changes a result.

Threads help because the kernels release the interpreter lock. Each thread computes some of the samples, and sums are
exact.

The pool is not a ``ThreadPoolExecutor``, because a child that is forked while another thread imports
``concurrent.futures`` waits for that import forever, and because an executor takes no work while Python is exiting.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from streamce._support import scalars
from streamce._support.short_repr import short_repr
from streamce.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
MAX_THREADS = 1 << 16  # largest value of an option, because larger numbers are mistakes
POOL_THREADS = 64  # largest size of the pool, which starts threads when they are needed
AHEAD = 2  # tasks per thread that `in_order` takes ahead, so that a slow one does not stop the others

_limit: int | None = None
_local = threading.local()  # `limit` is set in threads that single_threaded() limits


def check_count(n: Any, name: str) -> int:
    """Return a number of threads as an int, or raise InputError."""
    count = scalars.to_int(n)
    if count is None or not 1 <= count <= MAX_THREADS:
        raise InputError(name, f"is {short_repr(n)}", f"a whole number of threads from 1 to {MAX_THREADS}", value=n)
    return count


def _available() -> int:
    """Return the number of threads that the environment sets, or of the processors that this process may use."""
    setting = os.environ.get("STREAMCE_NUM_THREADS")
    if setting is not None:
        is_number = setting.isascii() and setting.isdigit() and len(setting) < 20  # longer text is slow to convert
        return check_count(int(setting) if is_number else setting, "STREAMCE_NUM_THREADS")
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # this system has no affinity
        return os.cpu_count() or 1


def set_num_threads(n: int | None) -> None:
    """Set the number of threads of metrics without the option ``threads``; None restores the default.

    The default is ``STREAMCE_NUM_THREADS``, or the number of processors that this process may use. Results do not
    depend on it.

    Parameters
    ----------
    n : int or None
        From 1 to 65536.

    Raises
    ------
    InputError
        If ``n`` is anything else.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.set_num_threads(1)
    >>> ce.set_num_threads(None)
    """
    global _limit
    _limit = None if n is None else check_count(n, "n")


def limit(option: int | None) -> int:
    """Return how many threads a metric with this option ``threads`` may use."""
    if option is not None:
        return option
    local: int | None = getattr(_local, "limit", None)
    return local if local is not None else _limit if _limit is not None else _available()


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Make metrics without the option ``threads`` use one thread, in this thread.

    Engines need this, because they run a task on each processor.
    """
    before = getattr(_local, "limit", None)
    _local.limit = 1
    try:
        yield
    finally:
        _local.limit = before


class _Pool:
    """Threads that wait for jobs. Another one starts if all are busy."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.threads = 0
        self.unfinished = 0  # jobs that wait or run

    def submit(self, job: Callable[[], None]) -> None:
        with self.lock:
            if self.unfinished >= self.threads and self.threads < POOL_THREADS:
                # A daemon, because it holds nothing that an exiting program has to wait for.
                threading.Thread(target=self._serve, name=f"streamce-{self.threads}", daemon=True).start()
                self.threads += 1
            self.unfinished += 1
        self.jobs.put(job)

    def _serve(self) -> None:
        while True:
            self.jobs.get()()
            with self.lock:
                self.unfinished -= 1


_pool = _Pool()


def _replace_pool() -> None:
    """Replace the pool after a fork, because the child has none of its threads, and its lock may be locked."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_pool)


def run(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return the results of all tasks, in order. The calling thread works too, so tasks run even without a pool."""
    remaining = deque(enumerate(tasks))
    finished: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()

    def work() -> None:
        while remaining:
            try:
                i, task = remaining.popleft()
            except IndexError:  # another thread was faster
                return
            result, error = None, None
            try:
                result = task()
            except BaseException as caught:
                error = caught
            del task  # so that no thread refers to the caller's arrays once the update returns
            finished.put((i, result, error))

    try:
        for _ in tasks[1:]:
            _pool.submit(work)
    except RuntimeError:
        pass  # Python is exiting, or the system starts no more threads
    work()
    results: list[Any] = [None] * len(tasks)
    failed = None
    for _ in tasks:  # an error waits for the other tasks, because they may write to memory of the caller
        i, results[i], error = finished.get()
        failed = failed or error
    if failed is not None:
        raise failed
    return results


class _Job:
    """A task of ``in_order``, and its result or error once a thread has computed it."""

    def __init__(self, task: Callable[[], Any]) -> None:
        self._task: Callable[[], Any] | None = task
        self._result: Any = None
        self._error: BaseException | None = None
        self.finished = threading.Event()

    def run(self) -> None:
        try:
            assert self._task is not None
            self._result = self._task()
        except BaseException as error:
            self._error = error
        self._task = None  # so that nothing refers to its arguments while the result waits for its turn
        self.finished.set()

    def result(self) -> Any:
        self.finished.wait()
        if self._error is not None:
            raise self._error
        return self._result


def in_order(tasks: Iterable[Callable[[], T]], count: int) -> Iterator[T]:
    """Yield the results of tasks in order, computed by ``count`` threads. The calling thread is one of them.

    A few tasks are taken before their results are requested, none if ``count`` is 1. The error of a task, or of
    ``tasks`` themselves, is raised after the results before it. No task runs after this generator is closed.
    """
    if count == 1:
        for task in tasks:
            yield task()
        return
    untaken = iter(tasks)
    taken: deque[_Job] = deque()  # those whose results were not yielded
    waiting: deque[_Job] = deque()  # those of them that no thread has begun
    helpers = threading.Semaphore(count - 1)

    def run_next() -> bool:
        try:
            job = waiting.popleft()
        except IndexError:
            return False
        job.run()
        return True

    def help_() -> None:
        while run_next():
            pass
        helpers.release()

    def take() -> bool:
        """Take the next task, or one that raises the error of ``tasks``. Return whether there was one."""
        nonlocal untaken
        try:
            job = _Job(next(untaken))
        except StopIteration:
            return False
        except BaseException as error:
            job, untaken = _Job(functools.partial(_raise, error)), iter(())
        taken.append(job)
        waiting.append(job)
        if helpers.acquire(blocking=False):
            with contextlib.suppress(RuntimeError):  # Python is exiting, or the system starts no more threads
                _pool.submit(help_)
        return True

    try:
        while True:
            while len(taken) < AHEAD * count and take():
                pass
            if not taken:
                return
            while not taken[0].finished.is_set() and run_next():
                pass
            yield taken.popleft().result()
    finally:
        unbegun = set()
        with contextlib.suppress(IndexError):
            while True:
                unbegun.add(waiting.popleft())
        for job in taken:
            if job not in unbegun:
                job.finished.wait()


def _raise(error: BaseException) -> Any:
    raise error
