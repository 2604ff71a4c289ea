"""Makes several changes at once: a signal handler, or the interrupt that it raises, finds all of them or none.

CPython runs signal handlers between steps of Python code, after a call, and never while C code runs. Therefore each
change is a call of C code that was prepared so that it cannot fail, and one call of C code makes all of them.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

Change = Callable[[], Any]

_make_all: Callable[[Iterable[Any]], None] = deque[Any](maxlen=0).extend


class Versioned:
    """Base of objects that count their changes, so that a change can be prepared for one version."""

    def __init__(self) -> None:
        self._version = 0

    def _commit(self, version: int, changes: list[Change]) -> bool:
        """Make all changes, or return False and make none if the version is another one.

        There is no call between the comparison and the call that makes the changes.
        """
        changes = [replace(self, "_version", version + 1), *changes]
        results: Iterable[Any] = map(operator.call, changes)
        if self._version != version:
            return False
        _make_all(results)
        return True


def replace(owner: Any, name: str, value: Any) -> Change:
    """Return the change that sets an attribute."""
    return partial(setattr, owner, name, value)
