"""All errors that streamce itself raises about what it was given::

    ValueError
    └── StreamceError
        ├── InputError      an argument, an option or a state has no meaning; nothing was counted
        ├── DataError       a file cannot be read, or what is in it cannot be used (row, column)
        └── SelectionError  a request has no answer in the files, such as an unknown column (column)

An error holds its parts, and ``str`` renders them. Code that knows more than the code that raised the error (another
name of the argument, the file it was made of) returns a copy with other parts. No code edits or reads the text.
"""

from __future__ import annotations

import copy
import copyreg
from typing import Any, NamedTuple, Self

# Hints that other layers look for: the command line has another option, and some metrics have no such arguments.
USE_LOGITS = 'for logits use kind="logits"'
SWAPPED = "are preds and target swapped?"


def qualified_name(argument: str, index: tuple[int, ...] = (), part: int | str | None = None) -> str:
    """Return an argument, or the entry of it at ``index``, as Python code has it."""
    name = argument if part is None else f"{argument}[{part!r}]"
    return f"{name}[{', '.join(map(str, index))}]" if index else name


class Location(NamedTuple):
    """Where in a file or stream something is: a row, counted from 0, a column, and for lists the entry."""

    row: int | None = None
    column: str | None = None
    entry: tuple[int, ...] = ()

    def __str__(self) -> str:
        row = [] if self.row is None else [f"row {self.row}"]
        column = [] if self.column is None else [f"column '{self.column}{''.join(f'[{i}]' for i in self.entry)}'"]
        return ": ".join(row + column)


class StreamceError(ValueError):
    """Base of the errors that streamce raises about what it was given.

    Attributes
    ----------
    found : str
        What is wrong.
    places : tuple of str
        Where the error was met, the outermost first: a file, a partition, a rank.
    """

    def __init__(self, found: str) -> None:
        super().__init__()  # without arguments, which would be a second copy of the parts
        self.found = found
        self.places: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ": ".join([*self.places, self._sentence()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self),), vars(self).copy()  # type: ignore[attr-defined]

    def _sentence(self) -> str:
        return self.found

    def changed(self, **parts: Any) -> Self:
        """Return a copy in which these attributes are others."""
        unknown = parts.keys() - vars(self).keys()
        if unknown:
            raise AttributeError(f"{type(self).__name__} has no {sorted(unknown)}")
        new = copy.copy(self)
        vars(new).update(parts)
        return new

    def with_place(self, place: str) -> Self:
        """Return a copy that says where the error was met, before the places it has."""
        return self.changed(places=(place, *self.places))


class InputError(StreamceError):
    """Input that has no meaning for the loss asked for; nothing was counted.

    As text it is one line that names the argument, where in it, what stands there and what was
    expected.

    Attributes
    ----------
    argument : str or None
        Name of the argument at fault.
    index : tuple of int or None
        Position of the first offending entry in that argument.
    value : object
        What stands there.
    found : str
        What is wrong, such as ``"is 1.5"``; the whole text if ``location`` is empty.
    expected : str or None
        What would have been accepted.
    hint : str
        What may help, empty if nothing is known to.
    cause : str or None
        The counter of the summary that ``invalid="skip"`` would have raised, such as
        ``"invalid_nan"``.
    part : int, str or None
        Which member of the argument is at fault, if that is a tuple of columns or a dict.
    context : str
        What the index alone does not tell, such as ``" in sequence 3"``.
    location : Location, str or None
        What the text names in place of the argument and index: row and column of a file, or other words.
    places : tuple of str
        Where the error was met, the outermost first: a file, a partition, a rank.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.BinaryCrossEntropy().update([0.2, 1.5], [0, 1])
    Traceback (most recent call last):
    ...
    streamce.errors.InputError: preds[1] is 1.5: expected a probability in [0, 1]; for logits use kind="logits"
    """

    def __init__(
        self,
        argument: str | None,
        found: str,
        expected: str | None = None,
        *,
        hint: str = "",
        index: tuple[int, ...] | None = None,
        value: Any = None,
        cause: str | None = None,
        part: int | str | None = None,
        context: str = "",
        location: Location | str | None = None,
    ) -> None:
        super().__init__(found)
        self.argument = argument
        self.expected = expected
        self.hint = hint
        self.index = index
        self.value = value
        self.cause = cause
        self.part = part
        self.context = context
        self.location = location

    def __str__(self) -> str:
        return " ".join(super().__str__().split())  # one line, whatever a value looks like

    @property
    def subject(self) -> str:
        """What the text is about: ``preds[3]``, ``row 7: column 'p'``, or nothing before a whole sentence."""
        name = "" if self.argument is None else qualified_name(self.argument, self.index or (), self.part)
        if self.location is None:
            return name
        if isinstance(self.location, Location) and self.location.column is None and self.argument is not None:
            return f"{self.location}: {self.argument}"
        return str(self.location)

    @property
    def predicate(self) -> str:
        """The text without its subject."""
        expected = "" if self.expected is None else f": expected {self.expected}"
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.found}{self.context}{expected}{hint}"

    def _sentence(self) -> str:
        return self.found if self.location == "" else f"{self.subject} {self.predicate}".lstrip()

    def relocated(self, location: Location | str, **parts: Any) -> Self:
        """Return a copy about a place of a file, which takes the place of the argument, index and context."""
        return self.changed(location=location, context="", **parts)

    def with_argument(self, name: str | None) -> Self:
        """Return a copy about the argument that the caller knows as ``name``.

        The hint that arguments may be swapped is left out under another name, because it has the old one.
        """
        swapped = self.hint == SWAPPED and name != self.argument
        return self.changed(argument=name, hint="" if swapped else self.hint)

    def with_hint(self, hint: str) -> Self:
        """Return a copy with another hint."""
        return self.changed(hint=hint)

    def enclosed(self, argument: str, place: str | None = None) -> Self:
        """Return a copy about the argument that holds what the error names, at ``place`` if that is not its name."""
        return self.changed(argument=argument, location=self.subject, places=(place or argument,))


class DataError(StreamceError):
    """A file that cannot be read, or something in it that cannot be used.

    Attributes
    ----------
    found : str
        What is wrong, a whole sentence if ``column`` is None.
    row : int or None
        The row at fault, counted from 0.
    column : str or None
        The column at fault.
    entry : tuple of int
        Of a list column the entry at fault.
    places : tuple of str
        Where the error was met, the outermost first, such as a file.
    """

    def __init__(
        self, found: str, *, row: int | None = None, column: str | None = None, entry: tuple[int, ...] = ()
    ) -> None:
        super().__init__(found)
        self.row = row
        self.column = column
        self.entry = entry

    @property
    def location(self) -> Location:
        return Location(self.row, self.column, self.entry)

    def _sentence(self) -> str:
        if self.column is None and self.row is not None:
            return f"{self.location}: {self.found}"
        return f"{self.location} {self.found}".lstrip()


class SelectionError(StreamceError):
    """A request that the files have no answer to, such as an unknown column.

    Attributes
    ----------
    found : str
        What is wrong, as a whole sentence.
    column : str or None
        The column that was asked for.
    places : tuple of str
        Where the error was met, the outermost first: a file, an option.
    """

    def __init__(self, found: str, *, column: str | None = None) -> None:
        super().__init__(found)
        self.column = column
