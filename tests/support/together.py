"""Runs functions at the same time."""

import contextlib
import sys
import threading


def together(*functions):
    """Run functions at the same time; raise the first error of any."""
    errors, barrier = [], threading.Barrier(len(functions))

    def guarded(function):
        try:
            barrier.wait(60)
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextlib.contextmanager
def switching_often():
    """Let the interpreter switch threads after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
