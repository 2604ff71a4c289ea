"""Paths into nested columns, such as ``choices[0].logprobs.content[].logprob``. This module reads no file.

A path is the name of a column and steps: ``.name`` takes a field of an object, ``[2]`` an element of a list, and ``[]``
the list of what the rest of the path finds in each element. ``.values`` of a vector of Spark ML are its numbers, also
if it is sparse.
"""

import difflib
import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamce.errors import SelectionError

EACH = None  # the step into each element of a list
Step = str | int | None
VECTOR = ("type", "size", "indices", "values")  # the fields of a vector of Spark ML
STEPS = re.compile(r"(?:\.[^.\[\]]+|\[\d*\])+")
STEP = re.compile(r"\.([^.\[\]]+)|\[(\d*)\]")


class Unfit(Exception):
    """A value of another kind than expected: where it is in the column, and what is wrong."""

    def __init__(self, found: str, entry: tuple[int, ...] = ()) -> None:
        super().__init__(found, entry)
        self.found: str = found
        self.entry: tuple[int, ...] = entry


@dataclass(frozen=True)
class Path:
    """A column and the steps from its value to a nested one."""

    column: str
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return self.column + "".join(
            "[]" if step is EACH else f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps
        )

    @property
    def depth(self) -> int:
        """The number of lists around what the path finds."""
        return self.steps.count(EACH)


def parse(word: str, names: Sequence[str]) -> Path | None:
    """Return the path that a word stands for: a column, or steps into the one with the longest name; else None."""
    if word in names:
        return Path(word)
    columns = [name for name in names if word.startswith(name) and STEPS.fullmatch(word, len(name))]
    if not columns:
        return None
    column = max(columns, key=len)
    steps: list[Step] = [
        name if name else int(index) if index else EACH for name, index in STEP.findall(word[len(column) :])
    ]
    return Path(column, tuple(steps))


def expand(word: str, names: Sequence[str], fields: Callable[[Path], Sequence[str] | None]) -> list[str]:
    """Return the paths that a word with steps stands for, several if a step is a glob; none if it has no steps.

    ``fields`` gives the names of the fields of the objects at a path: None if there are no objects.
    """
    path = parse(word, names)
    if path is None:
        return []
    paths = [Path(path.column)]
    for step in path.steps:
        paths = [longer for shorter in paths for longer in _longer(shorter, step, fields)]
    return [str(each) for each in paths]


def _longer(path: Path, step: Step, fields: Callable[[Path], Sequence[str] | None]) -> list[Path]:
    """Return a path with one more step, or with each field that a glob matches."""
    if isinstance(step, str):
        names = fields(path)
        if names is None:
            found = f"'{path}' holds no objects, so it has no field '{step}'; of lists, '{path}[0].{step}' is one"
            raise SelectionError(found, column=str(path))
        matches = [step] if step in names else fnmatch.filter(names, step)
        if not matches:
            similar = difflib.get_close_matches(step, names, 3) or names[:12]
            hint = f"; did you mean {_quoted(similar)}?" if similar else ""
            raise SelectionError(f"no field '{step}' in '{path}'{hint}", column=str(path))
        return [Path(path.column, (*path.steps, name)) for name in matches]
    return [Path(path.column, (*path.steps, step))]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def follow(value: Any, steps: Sequence[Step], entry: tuple[int, ...] = ()) -> Any:
    """Return what steps find in a value of dicts and lists: None if something on the way is missing or null."""
    for number, step in enumerate(steps):
        if value is None:
            return None
        if isinstance(step, str):
            if not isinstance(value, dict):
                raise Unfit(f"has {_kind(value)} where field '{step}' is expected", entry)
            is_vector = step == "values" and number == len(steps) - 1 and value.get("type") == 0
            value = sparse_values(value, entry) if is_vector and "indices" in value else value.get(step)
        elif not isinstance(value, list):
            raise Unfit(f"has {_kind(value)} where a list is expected", entry)
        elif step is EACH:
            return [follow(each, steps[number + 1 :], (*entry, i)) for i, each in enumerate(value)]
        else:
            value = value[step] if step < len(value) else None
    return value


def sparse_values(vector: dict[str, Any], entry: tuple[int, ...] = ()) -> list[Any]:
    """Return the numbers of a sparse vector of Spark ML, with its zeros."""
    size, indices, values = (vector.get(name) for name in VECTOR[1:])
    if type(size) is not int or not isinstance(indices, list) or not isinstance(values, list):
        raise Unfit("is a sparse vector without size, indices or values", entry)
    valid = len(indices) == len(values) and len({*map(str, indices)}) == len(indices)
    if not valid or not all(type(index) is int and 0 <= index < size for index in indices):
        raise Unfit("is a sparse vector whose indices do not fit its size and values", entry)
    full: list[Any] = [0.0] * size
    for index, number in zip(indices, values, strict=True):
        full[index] = number
    return full


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), f"a {type(value).__name__}")
