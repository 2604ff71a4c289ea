"""Which columns words stand for."""

import difflib
import fnmatch
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamce.errors import SelectionError


def select(words: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The columns that words stand for: a column, a comma list, a glob."""
    chosen: list[str] = []
    for word in words:
        for part in [word] if word in names else [part.strip() for part in word.split(",")]:
            matches = [part] if part in names else fnmatch.filter(names, part)
            if not matches:
                near = difflib.get_close_matches(part, names, 3)
                there = f"there are {listed(names)}" if names else "there are no columns"
                if len(names) == 1 and re.search(r"[,;\t|]", names[0]):
                    near, there = [], f"there is one only, {names[0]!r}: columns stand between commas, in .tsv tabs"
                what = f"did you mean {listed(near)}?" if near else there
                raise SelectionError(f"no column '{part}'; {what}", column=part)
            if numbers := numbers_of(matches):
                matches = [matches[i] for i in np.argsort(numbers, kind="stable")]
            chosen += matches
    for name in chosen:
        if names.count(name) > 1 or chosen.count(name) > 1:
            raise SelectionError(f"column '{name}' is there, or is asked for, twice", column=name)
    return tuple(chosen)


def numbers_of(names: Sequence[str]) -> list[int] | None:
    """The numbers at the ends of names that differ in nothing else."""
    found = [re.fullmatch(r"(.*?)(\d+)", name, re.DOTALL) for name in names]
    parts = [match.groups() for match in found if match]
    if len(parts) < len(names) or len({stem for stem, _ in parts}) > 1:
        return None
    return [int(number) for _, number in parts]


def listed(names: Sequence[Any], most: int = 12) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")
