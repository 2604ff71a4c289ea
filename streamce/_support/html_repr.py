"""The socket into which ``streamce/__init__.py`` plugs the report, which lies in a layer above the metrics.

The socket holds a function that imports the report, because a program that only computes does not need it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Renderer(Protocol):
    """The functions of the report: ``fragment`` for a notebook, ``page`` for a file."""

    def fragment(self, value: Any) -> str: ...

    def page(
        self,
        metric: Any,
        *,
        title: str | None,
        level: float,
        anytime: bool,
        names: Any,
        min_samples: int | None,
        fdr: float,
    ) -> str: ...


_load: Callable[[], Renderer] | None = None


def plug_in(load: Callable[[], Renderer]) -> None:
    """Set the function that imports the report."""
    global _load
    _load = load


def renderer() -> Renderer:
    """Return the report, which the first call imports."""
    assert _load is not None  # Python runs streamce/__init__.py before any module of the package
    return _load()


class HtmlRepr:
    """Base of the classes that notebooks show as HTML."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Return a fragment of HTML that contains its style and no scripts."""
        return renderer().fragment(self)
