"""The filter of standard output and standard error.

While a command runs, everything that is written to ``sys.stdout`` and ``sys.stderr`` passes through it: tables, errors,
usage errors of argparse, warnings and log records of libraries, and tracebacks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from streamce._support import printable


class Filtered:
    """A text stream that escapes control characters and characters that its encoding cannot represent."""

    def __init__(self, stream: Any) -> None:
        self.unfiltered = stream

    def write(self, text: str) -> int:
        escaped = printable.lines(text)
        encoding = getattr(self.unfiltered, "encoding", None)
        if encoding and not escaped.isascii():
            escaped = escaped.encode(encoding, "backslashreplace").decode(encoding)
        self.unfiltered.write(escaped)
        return len(text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


@contextlib.contextmanager
def filtered() -> Iterator[None]:
    """Filter what is printed in this context. A stream that the caller has closed stays None."""
    with contextlib.ExitStack() as stack:
        if sys.stdout is not None:
            stack.enter_context(contextlib.redirect_stdout(Filtered(sys.stdout)))
        if sys.stderr is not None:
            stack.enter_context(contextlib.redirect_stderr(Filtered(sys.stderr)))
        yield


def occupy_closed() -> None:
    """Open the null device in place of standard streams that the caller has closed.

    Otherwise the next file to be opened would get the descriptor of a standard stream, and be read or written as such.
    The streams become None in ``sys``, as Python does if they were closed before it started.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # usually gets this number, because it is the lowest free one
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)
