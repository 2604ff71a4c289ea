"""Selection of columns by name, comma list, glob or path."""

import difflib
import fnmatch
import re
from collections.abc import Callable, Sequence

import numpy as np

from streamce._support.short_repr import quote_names
from streamce.errors import SelectionError
from streamce.reading.formats.paths import Path, expand


def select(
    words: Sequence[str], names: Sequence[str], fields: Callable[[Path], Sequence[str] | None] | None = None
) -> tuple[str, ...]:
    """Return the columns that words select. A word is a name, a comma list or a glob.

    With ``fields``, which gives the names of the fields at a path, a word may also be a path into a nested column.
    """
    selected: list[str] = []
    for word in words:
        for part in [word] if word in names else [part.strip() for part in word.split(",")]:
            matches = [part] if part in names else fnmatch.filter(names, part)
            if not matches and fields is not None:
                matches = expand(part, names, fields)
            if not matches:
                raise SelectionError(f"no column '{part}'; {_suggestion(part, names)}", column=part)
            if numbers := trailing_numbers(matches):
                matches = [matches[i] for i in np.argsort(numbers, kind="stable")]
            selected += matches
    for name in selected:
        if names.count(name) > 1:
            raise SelectionError(f"two columns have the name '{name}'", column=name)
        if selected.count(name) > 1:
            raise SelectionError(f"column '{name}' is selected twice", column=name)
    return tuple(selected)


def _suggestion(word: str, names: Sequence[str]) -> str:
    """Return what may help a user who selected a column that does not exist."""
    if len(names) == 1 and (found := re.findall(r"[,;\t|]", names[0])):
        delimiter = repr(max(found, key=found.count))
        return f"the only column is {names[0]!r}: set --delimiter {delimiter} if that separates columns"
    if similar := difflib.get_close_matches(word, names, 3):
        return f"did you mean {quote_names(similar)}?"
    return f"there are {quote_names(names)}" if names else "there are no columns"


def trailing_numbers(names: Sequence[str]) -> list[int] | None:
    """Return the numbers at the ends of names, or None if the names differ in anything else."""
    matches = [re.fullmatch(r"(.*?)(\d+)", name, re.DOTALL) for name in names]
    pairs = [match.groups() for match in matches if match]
    if len(pairs) < len(names) or len({stem for stem, _ in pairs}) > 1:
        return None
    return [int(number) for _, number in pairs]
