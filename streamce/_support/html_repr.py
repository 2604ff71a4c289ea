"""The socket of the report, which lies above the classes that it draws.

``streamce/__init__.py`` plugs in a function that imports the report, because a program that only computes needs no
drawings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Renderer(Protocol):
    """The report: ``fragment`` for a notebook, ``page`` for a file."""

    def fragment(self, shown: Any) -> str: ...

    def page(self, metric: Any, *, title: str | None, level: float, anytime: bool, names: Any) -> str: ...


_load: Callable[[], Renderer] | None = None


def plug_in(load: Callable[[], Renderer]) -> None:
    """Set the function that imports the report."""
    global _load
    _load = load


def renderer() -> Renderer:
    """Import the report, at the first call."""
    assert _load is not None  # streamce/__init__.py is imported before any of its modules
    return _load()


class HtmlRepr:
    """Base of the classes that notebooks show as a drawing."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Return a fragment of HTML with its own style and without scripts."""
        return renderer().fragment(self)
