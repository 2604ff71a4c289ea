"""The one way from the command line to a terminal or a log: what is written to standard output and error.

It stands in front of everything that goes through ``sys.stdout`` and ``sys.stderr`` while a command runs: tables and
errors, usage errors of argparse, warnings and log records of libraries, tracebacks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from streamce import printable


class Filtered:
    """A text stream that writes control characters as escapes, and so what its encoding does not have."""

    def __init__(self, stream: Any) -> None:
        self.unfiltered = stream

    def write(self, text: str) -> int:
        shown = printable.lines(text)
        encoding = getattr(self.unfiltered, "encoding", None)
        if encoding and not shown.isascii():
            shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        self.unfiltered.write(shown)
        return len(text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


@contextlib.contextmanager
def filtered() -> Iterator[None]:
    """Filter what is printed meanwhile. A stream that the caller has closed stays None."""
    with contextlib.ExitStack() as stack:
        if sys.stdout is not None:
            stack.enter_context(contextlib.redirect_stdout(Filtered(sys.stdout)))
        if sys.stderr is not None:
            stack.enter_context(contextlib.redirect_stderr(Filtered(sys.stderr)))
        yield


def occupy_closed() -> None:
    """Open nothing in place of standard streams that the caller has closed.

    Else a file opened next would have the number of one, and be read or written as if it were that. They are None in
    ``sys`` from here on, which is what Python makes of those that were closed before it began.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so this one
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)
