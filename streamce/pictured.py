"""What a notebook shows as a picture."""

from __future__ import annotations


class Pictured:
    """Base of all that is shown with the drawings of a report."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """A fragment of HTML, which has its own style and no script."""
        from streamce.report import fragment  # here: whoever computes needs no pictures

        return fragment(self)
