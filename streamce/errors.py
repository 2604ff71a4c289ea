"""All errors that streamce itself raises about its input::

    ValueError
    └── StreamceError
        ├── InputError      an argument, an option or a state has no meaning; nothing was counted
        ├── DataError       a file cannot be read, or its content cannot be used (row, column)
        └── SelectionError  a request does not match the files, such as an unknown column (column)

An error holds its parts, and ``str`` renders them. Code that knows more than the code that raised the error, such as
another name of the argument or its file, returns a copy with other parts. No code edits or parses the text.
"""

from __future__ import annotations

import copy
import copyreg
from typing import Any, NamedTuple, Self

# Hints that other layers replace, because the command line has another option, and some metrics have other arguments.
USE_LOGITS = 'for logits use kind="logits"'
SKIP_NULLS = 'tokens without one, such as the first of a text, are left out by invalid="skip"'
SWAPPED = "are preds and target swapped?"
TWO_CLASSES = "of two classes give the second column, preds[:, 1], or use MulticlassCrossEntropy"


def qualified_name(argument: str, index: tuple[int, ...] = (), part: int | str | None = None) -> str:
    """Return an argument, or its entry at ``index``, as Python code."""
    name = argument if part is None else f"{argument}[{part!r}]"
    return f"{name}[{', '.join(map(str, index))}]" if index else name


class Location(NamedTuple):
    """A place in a file or stream: a row, counted from 0, a column, and the entry of a list."""

    row: int | None = None
    column: str | None = None
    entry: tuple[int, ...] = ()

    def __str__(self) -> str:
        row = [] if self.row is None else [f"row {self.row}"]
        column = [] if self.column is None else [f"column '{self.column}{''.join(f'[{i}]' for i in self.entry)}'"]
        return ": ".join(row + column)


class StreamceError(ValueError):
    """Base of the errors that streamce raises about its input.

    Attributes
    ----------
    found : str
        What is wrong.
    places : tuple of str
        Where the error occurred, the outermost first: a file, a partition, a rank.
    """

    def __init__(self, found: str) -> None:
        super().__init__()  # without arguments, because these would be a second copy of the parts
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
        """Return a copy with these attributes changed."""
        unknown = parts.keys() - vars(self).keys()
        if unknown:
            raise AttributeError(f"{type(self).__name__} has no {sorted(unknown)}")
        new = copy.copy(self)
        vars(new).update(parts)
        return new

    def with_place(self, place: str) -> Self:
        """Return a copy that also says where the error occurred, before the places that it has."""
        return self.changed(places=(place, *self.places))


class InputError(StreamceError):
    """Input that has no meaning for the requested loss; nothing was counted.

    Its text is one line that names the argument, the index, the value there and what was expected.

    Attributes
    ----------
    argument : str or None
        Name of the argument at fault.
    index : tuple of int or None
        Index of the first invalid entry of that argument.
    value : object
        The value of that entry.
    found : str
        What is wrong, such as ``"is 1.5"``; the complete text if ``location`` is empty.
    expected : str or None
        What would have been accepted.
    hint : str
        Advice, or an empty string.
    cause : str or None
        The counter of the summary that ``invalid="skip"`` would have increased, such as ``"invalid_nan"``.
    part : int, str or None
        The member of the argument at fault, if that is a tuple of columns or a dict.
    context : str
        What the index alone does not tell, such as ``" in sequence 3"``.
    location : Location, str or None
        What the text names in place of the argument and index: row and column of a file, or other words.
    places : tuple of str
        Where the error occurred, the outermost first: a file, a partition, a rank.

    Notes
    -----
    ``InputError(text)`` has this text. Engines such as Polars make the error that a function raised once more, with its
    text alone.

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
        found: str | None = None,
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
        if found is None:
            argument, found, location = None, str(argument), ""
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
        return " ".join(super().__str__().split())  # one line, even if a value has several

    @property
    def subject(self) -> str:
        """The subject of the text: ``preds[3]`` or ``row 7: column 'p'``; empty if ``found`` is a complete sentence."""
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
        """Return a copy about a place in a file, in place of the argument, index and context."""
        return self.changed(location=location, context="", **parts)

    def with_argument(self, name: str | None) -> Self:
        """Return a copy about the argument that the caller calls ``name``.

        With another name the hint that arguments may be swapped is left out, because it contains the old name.
        """
        swapped = self.hint == SWAPPED and name != self.argument
        return self.changed(argument=name, hint="" if swapped else self.hint)

    def with_hint(self, hint: str) -> Self:
        """Return a copy with another hint."""
        return self.changed(hint=hint)

    def enclosed(self, argument: str, place: str | None = None) -> Self:
        """Return a copy about the argument that contains the one of this error. ``place`` is its name in the text."""
        return self.changed(argument=argument, location=self.subject, places=(place or argument,))


class DataError(StreamceError):
    """A file that cannot be read, or content of a file that cannot be used.

    Attributes
    ----------
    found : str
        What is wrong, as a complete sentence if ``column`` is None.
    row : int or None
        The row at fault, counted from 0.
    column : str or None
        The column at fault.
    entry : tuple of int
        The index of the entry at fault in the row of a list column.
    hint : str
        Advice, or an empty string.
    places : tuple of str
        Where the error occurred, the outermost first, such as a file.
    """

    def __init__(
        self,
        found: str,
        *,
        row: int | None = None,
        column: str | None = None,
        entry: tuple[int, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(found)
        self.row = row
        self.column = column
        self.entry = entry
        self.hint = hint

    @property
    def location(self) -> Location:
        return Location(self.row, self.column, self.entry)

    def _sentence(self) -> str:
        predicate = f"{self.found}; {self.hint}" if self.hint else self.found
        if self.column is None and self.row is not None:
            return f"{self.location}: {predicate}"
        return f"{self.location} {predicate}".lstrip()


class SelectionError(StreamceError):
    """A request that does not match the files, such as an unknown column.

    Attributes
    ----------
    found : str
        What is wrong, as a complete sentence.
    column : str or None
        The requested column.
    places : tuple of str
        Where the error occurred, the outermost first: a file, an option.
    """

    def __init__(self, found: str, *, column: str | None = None) -> None:
        super().__init__(found)
        self.column = column
