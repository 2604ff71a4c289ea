"""What adds up: options, and a state that is an element of a commutative group."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from streamce._support import atomic_file, state_format
from streamce._support.html_repr import HtmlRepr, renderer
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable


class Additive(HtmlRepr, DefaultModeMethods, ABC):
    """Base of all that defines ``+``.

    Two of equal options add up, in any order, to the same bits, and what was added can be taken away
    again. A subclass has a ``_state`` with ``merge(other, sign)``, ``copy()`` and ``parts()``, its
    bytes by name.
    """

    __slots__ = ("_state",)
    __hash__ = None  # type: ignore[assignment]  # states change
    _state: Any

    # ---- what a subclass says of itself ----

    @abstractmethod
    def _arguments(self) -> dict[str, Any]:
        """What makes a new one with all options of this one."""

    @abstractmethod
    def _of_the_loss(self) -> dict[str, Any]:
        """The options that change a loss, as the state holds them."""

    @classmethod
    @abstractmethod
    def _of(cls, options: dict[str, Any], made: Callable[[state_format.Header], Any]) -> Self:
        """An empty one with the options of a state; ``made`` turns a header among them into a metric."""

    @abstractmethod
    def _take(self, parts: dict[str, bytes]) -> None:
        """Take over a state; ValueError if its parts make no sense."""

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """All options, as plain values."""

    def _empty(self) -> Self:
        return type(self)(**self._arguments())

    # ---- the group ----

    def _header(self) -> state_format.Header:
        return {"metric": type(self).__name__, "options": self._of_the_loss()}

    def _fits(self, header: state_format.Header) -> None:
        """Raises unless one of this name and these options has the same losses."""
        name, ours, theirs = type(self).__name__, self._of_the_loss(), header["options"]
        if header["metric"] != name:
            expected = "two of one kind"
            found = f"a {name} and a {header['metric']} do not add up: expected {expected}"
            raise InputError("other", found, expected, location="")
        for option in {**ours, **theirs}:  # the kind first: other options hang on it
            one, other = ours.get(option, False), theirs.get(option, False)  # absent where it is switched off
            if one != other:
                found = f"is {one!r} in one metric and {other!r} in the other: their losses do not add up"
                raise InputError(option, found)

    def _merge(self, other: Any, sign: int) -> Self:
        self._fits(other._header() if isinstance(other, Additive) else {"metric": type(other).__name__, "options": {}})
        try:
            self._state.merge(other._state, sign)
        except InputError:
            raise
        except ValueError as error:
            raise InputError("other", str(error), location="") from None
        return self

    def merge(self, *others: Self) -> Self:
        """Add the states of ``others`` to this one, in place."""
        sum_of_others = self._empty()
        for other in others:
            sum_of_others._merge(other, 1)
        return self._merge(sum_of_others, 1)  # all of them at once, or an error and none

    def reset(self) -> Self:
        """Back to the empty stream."""
        self._state = self._empty()._state
        return self

    def copy(self) -> Self:
        """One of the same options and an equal state of its own."""
        new = self._empty()
        new._state = self._state.copy()
        return new

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Self:
        return self.copy()

    def __add__(self, other: Any) -> Self:
        return self.copy()._merge(other, 1) if isinstance(other, Additive) else NotImplemented

    def __radd__(self, other: Any) -> Self:
        # sum() begins with 0.
        return self.copy() if isinstance(other, int) and other == 0 else NotImplemented

    def __sub__(self, other: Any) -> Self:
        return self.copy()._merge(other, -1) if isinstance(other, Additive) else NotImplemented

    def __iadd__(self, other: Any) -> Self:
        return self._merge(other, 1) if isinstance(other, Additive) else NotImplemented

    def __isub__(self, other: Any) -> Self:
        return self._merge(other, -1) if isinstance(other, Additive) else NotImplemented

    def __eq__(self, other: object) -> bool:
        """Whether the states are equal: options that change a loss, and integers."""
        return self.to_bytes() == other.to_bytes() if isinstance(other, Additive) else NotImplemented

    # ---- bytes and files ----

    def to_bytes(self) -> bytes:
        """The state as bytes: equal states have equal bytes."""
        return state_format.encode(self._header(), self._state.parts())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, whole or not at all."""
        atomic_file.write(path, self.to_bytes())

    def report(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str | None = None,
        level: float = 0.95,
        anytime: bool = False,
        names: Iterable[str] = (),
    ) -> str:
        """One self-contained HTML page with pictures of what the state holds: no script, nothing from outside.

        It is some tens of kilobytes whatever the size of the data: of many groups it has the worst and the best and how
        all are spread, and a long history is summed over wider periods. Equal states have equal pages.

        Parameters
        ----------
        path : str or path, optional
            A file that the page is written to, whole or not at all.
        title : str, optional
            The heading; what the metric is, unless given.
        level, anytime
            Of the intervals, as ``summary()`` takes them.
        names : strings, optional
            What classes or labels are called, in their order, of a metric that keeps sums by them.

        Returns
        -------
        str
            The page.

        Raises
        ------
        InputError
            If ``level`` is not between 0 and 1, or ``names`` are not as many as there are. A state from which more was
            taken away than had been added has a page that says so.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile, streamce as ce
        >>> metric = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.6], [1, 0, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = metric.report(folder + "/report.html", title="Monday")
        >>> "<h1>Monday</h1>" in page
        True
        """
        found = renderer().page(self, title=title, level=level, anytime=anytime, names=names)
        if path is not None:
            atomic_file.write(path, found.encode())
        return found

    def state_dict(self) -> dict[str, Any]:
        """The state in a dict, as checkpoints of a training loop hold it."""
        return {"state": self.to_bytes()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of one with the same options."""
        if not isinstance(state_dict, dict) or "state" not in state_dict:
            raise InputError("state_dict", "has no key 'state'", "what state_dict() gave")
        header, parts = state_format.decode(state_dict["state"])
        try:
            self._fits(header)
        except (AttributeError, LookupError, TypeError) as error:  # of a header that no metric writes
            raise InputError("state", f"is intact but not understood: {error}") from None
        new = self._empty()
        new._restore(parts, state_dict["state"])
        self._state = new._state

    def _restore(self, parts: dict[str, bytes], data: Any) -> None:
        """Take over the parts of ``data``, which has to be what this one then writes."""
        with state_format.understood():
            self._take(parts)
            if self.to_bytes() != bytes(memoryview(data).cast("B")):
                raise ValueError("it is not in its one canonical form")

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self._arguments(), self.to_bytes())

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        given = [f"{name}={value!r}" for name, value in self.options.items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(given)})"


@in_default_mode
def _unpickle(cls: type[Additive], arguments: dict[str, Any], data: bytes) -> Additive:
    new = cls(**arguments)
    new._restore(state_format.decode(data)[1], data)
    return new
