"""What the command line's words for columns and classes stand for.

``select`` finds columns, ``Labels`` numbers labels, ``Chooser`` makes a selection of the two.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from streamce import chunks, files, nested

Array = np.ndarray[Any, Any]


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
                raise files.SelectionError(f"no column '{part}'; {what}")
            if numbers := _numbers(matches):
                matches = [matches[i] for i in np.argsort(numbers, kind="stable")]
            chosen += matches
    for name in chosen:
        if names.count(name) > 1 or chosen.count(name) > 1:
            raise files.SelectionError(f"column '{name}' is there, or is asked for, twice")
    return tuple(chosen)


def _numbers(names: Sequence[str]) -> list[int] | None:
    """The numbers at the ends of names that differ in nothing else."""
    found = [re.fullmatch(r"(.*?)(\d+)", name, re.DOTALL) for name in names]
    parts = [match.groups() for match in found if match]
    if len(parts) < len(names) or len({stem for stem, _ in parts}) > 1:
        return None
    return [int(number) for _, number in parts]


def listed(names: Sequence[Any], most: int = 12) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")


class Labels:
    """Class numbers of labels.

    ``readings`` are the lists of class names that the labels may be from; the first labels that
    fit any must fit one only, and decide. What is in none of them gets a number that is no
    class, so that the metric calls it invalid.
    """

    def __init__(self, readings: Sequence[Sequence[str]], ignore_index: int | None) -> None:
        self._readings = readings
        self.count = len(readings[0])
        self._ignored = [] if ignore_index is None else [str(ignore_index)]
        # What is ignored is a label as the data have it, not the number of a class.
        self.ignore_index = ignore_index
        if ignore_index is not None and 0 <= ignore_index < self.count:
            self.ignore_index = -1
        self._unknown = -2 if self.ignore_index == -1 else -1
        self._tables: dict[Any, tuple[Any, Array]] = {}

    @property
    def classes(self) -> Sequence[str] | None:
        return self._readings[0] if len(self._readings) == 1 else None

    def settle(self, classes: Sequence[str] | None) -> None:
        """Decides, as labels of rows that are read no more once did."""
        self._readings = [classes] if classes else self._readings

    @property
    def expected(self) -> str:
        return ", or ".join(f"one of {listed(reading)}" for reading in self._readings)

    def numbers(self, labels: Any) -> tuple[Array, Array]:
        """Numbers of a column of labels, and where labels are missing."""
        from pyarrow import compute as pc  # here: it takes long to import, and numbers do without

        if pa.types.is_dictionary(labels.type):
            values = labels.dictionary
            numbers, missing = self.numbers(pa.concat_arrays([values, pa.nulls(1, values.type)]))
            at, _ = chunks.flat(labels.indices.cast(pa.int64()).fill_null(len(values)))
            return numbers[at], missing[at]
        if pa.types.is_integer(labels.type):
            labels = labels.cast(pa.int64())  # into which any ignore_index fits
        elif not pa.types.is_boolean(labels.type) and not pa.types.is_floating(labels.type):
            labels = labels.cast(pa.string())
            self._decide(labels)
        missing = labels.is_null()
        if pa.types.is_string(labels.type) and "" not in (self.classes or ()):
            missing = pc.or_(missing, pc.equal(labels, "").fill_null(True))
        values, numbers = self._table(labels.type)
        found = pc.index_in(labels, value_set=values).fill_null(len(values))
        return numbers[chunks.flat(found)[0]], chunks.flat(missing)[0]

    def sets(self, lists: Any) -> tuple[Array, Array]:
        """The same of a column of lists of labels, as 0 or 1 for each class."""
        from pyarrow import compute as pc

        numbers, missing = self.numbers(lists.flatten())
        rows, _ = chunks.flat(pc.list_parent_indices(lists))
        given = np.zeros((len(lists), self.count), np.int64)
        known = (numbers >= 0) & (numbers < self.count)
        given[rows[known], numbers[known]] = 1
        given[rows[~known]] = numbers[~known, None]  # ignored or unknown: the row as a whole
        null, _ = chunks.flat(lists.is_null())
        null[rows[missing]] = True
        return given, null

    def _table(self, type_: Any) -> tuple[Any, Array]:
        """Labels of a type, and their numbers with that of all others at the end."""
        key = type_, len(self._readings)
        if key not in self._tables:
            values, numbers = [], []
            ignored = [(self.ignore_index, name) for name in self._ignored]
            for number, name in [*ignored, *enumerate(self.classes or ())]:
                try:
                    values.append(pa.scalar(name).cast(type_).as_py())
                    numbers.append(number)
                except pa.ArrowInvalid as error:
                    what = f"labels are {type_}, and '{name}' is not"
                    raise files.SelectionError(what) from error
            table = pa.array(values, type_), np.array([*numbers, self._unknown])
            self._tables[key] = table
        return self._tables[key]

    def _decide(self, labels: Any) -> None:
        if len(self._readings) > 1:
            seen = set(labels.unique().to_pylist())
            fitting = [reading for reading in self._readings if seen.intersection(reading)]
            if len(fitting) > 1:
                raise files.SelectionError(f"labels could be {self.expected}; --classes decides")
            self._readings = fitting or self._readings


class Chooser:
    """Options to a selection of columns: asked for each source, it decides at the first.

    With ``like``, the chooser of the files that hold the target of the same rows, these may lack it;
    where they have it, its classes are named as they are there.
    """

    def __init__(self, options: argparse.Namespace, like: Chooser | None = None) -> None:
        self._options, self._like = options, like
        self._readings: Sequence[Sequence[str]] = ()
        self._counts: Any = None  # the type of labels that count the classes
        self._chosen: chunks.Selection | None = None
        self.labels: Labels | None = None

    def __call__(self, source: files.Source, table: files.Table) -> chunks.Selection:
        options, names = self._options, table.names()
        words = options.preds or ([source.name] if source.format == "npy" else [])
        if not words:
            raise files.SelectionError("--preds must say which columns hold the predictions")
        preds, target = select(words, names), self._target(names)
        weight = select([options.weight], names) if options.weight else ()
        keys: dict[str, Any] = {
            "by": select(options.by, names) if options.by else (),
            "by_time": self._one("by_time", names),
            "cluster": self._one("cluster", names),
            "n_words": self._one("n_words", names),
            "n_bytes": self._one("n_bytes", names),
        }
        if twice := {*preds} & {*target} | {*weight} & {*preds, *target}:
            raise files.SelectionError(f"column '{min(twice)}' is asked for in two parts")
        if self._chosen is None:
            self._check(table, preds, target)
            self._chosen = replace(self._decide(table, preds, target, *weight), **keys)
        elif {*preds} != {*self._chosen.preds} or {*target} != {*self._chosen.target}:
            raise files.SelectionError("other columns match here than in the first file")
        return self._chosen

    def _target(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns of the target, none where another file has it."""
        try:
            return select(self._options.target or [], names)
        except files.SelectionError:
            if self._like is None:
                raise
            return ()

    def _one(self, option: str, names: Sequence[str]) -> str | None:
        """The column of an option that takes one."""
        word = getattr(self._options, option, None)
        found = select([word], names) if word else ()
        if len(found) > 1:
            raise files.SelectionError(f"--{option.replace('_', '-')} is one column, not {listed(found)}")
        return found[0] if found else None

    def _check(self, table: files.Table, preds: Sequence[str], target: Sequence[str]) -> None:
        """Refuses columns that do not make the arrays of the task."""
        if self._options.task in nested.TASKS:
            for part, names in ("predictions", preds), ("targets", target):
                if len(names) > 1:
                    raise files.SelectionError(
                        f"for {self._options.task} {part} are one column of lists, not {listed(names)}"
                    )
            return
        for part, names in ("predictions", preds), ("targets", target):
            lists = [name for name in names if chunks.is_list(table.type(name))]
            if lists and len(names) > 1:
                raise files.SelectionError(f"column '{lists[0]}' holds lists: {part} are one "
                                           "such column, or several of numbers")  # fmt: skip
            if self._options.task == "binary" and (lists or len(names) > 1):
                raise files.SelectionError(f"for binary {part} are one column of numbers, not "
                                           + listed(names))  # fmt: skip
        if target and _in_another_order(preds, target):
            raise files.SelectionError("columns of predictions and of targets have the same names "
                                       "in another order: list them in one")  # fmt: skip
        if self._like and self._like._chosen:
            self._agree(preds, target, self._like._chosen)

    def _agree(self, preds: Sequence[str], target: Sequence[str], like: chunks.Selection) -> None:
        """Refuses predictions that are not of the same classes as those of the other model."""
        if _in_another_order(preds, like.preds):
            raise files.SelectionError("the two models' columns have the same names in another order: "
                                       "list them in one")  # fmt: skip
        if 1 < len(preds) != len(like.preds) > 1:
            raise files.SelectionError(
                f"{len(preds)} columns of predictions, where the other model has {len(like.preds)}"
            )
        if target and len(target) != len(like.target):
            raise files.SelectionError(
                f"{len(target)} columns of targets match here, and {len(like.target)} in the other file"
            )
        if self._like and self._like._counts is not None and not target:
            _check_order(preds, self._like._counts)

    def _decide(
        self, table: files.Table, preds: tuple[str, ...], target: tuple[str, ...], *weight: str
    ) -> chunks.Selection:
        task, classes = self._options.task, self._options.classes
        if task in nested.TASKS:
            return chunks.Selection(preds, target, weight[0] if weight else None)
        found = table.type(target[0]) if target else None
        encode = None
        if target and self._has_labels(table, preds, target):
            self._readings = [classes] if classes else self._names(preds, target)
            self.labels = Labels(self._readings, self._options.ignore_index)
            encode = self.labels.sets if chunks.is_list(found) else self.labels.numbers
        elif task == "multiclass" and len(target) == 1:
            self._counts = found
            _check_order(preds, found)
        width = len(preds) if len(preds) > 1 else len(classes or ()) or None
        if classes and len(classes) != (2 if task == "binary" else width):
            wanted = "2" if task == "binary" else f"{len(preds)} columns of predictions"
            raise files.SelectionError(f"--classes names {len(classes)} classes, for {wanted}")
        width = None if task == "binary" else width
        return chunks.Selection(preds, target, weight[0] if weight else None, width, encode)

    def _has_labels(self, table: files.Table, preds: Sequence[str], target: Sequence[str]) -> bool:
        """Whether the target is labels that need numbers, and no numbers yet."""
        task, found = self._options.task, table.type(target[0])
        if len(target) > 1 or chunks.is_list(found) != (task == "multilabel"):
            return False
        text = chunks.is_text(found)
        if table.bare and task == "binary":  # the reader will tell which value is no number
            text = False
        elif table.bare and len(preds) > 1:  # true may be the name of a class
            text = text or pa.types.is_boolean(found)
        return text or (self._options.classes is not None and task != "multilabel")

    def _names(self, preds: Sequence[str], target: Sequence[str]) -> Sequence[Sequence[str]]:
        """What the classes may be called, where --classes does not say."""
        if self._like and self._like._readings:
            return self._like._readings
        what = f"column '{target[0]}' holds text: "
        if self._options.task == "binary":
            raise files.SelectionError(f"{what}--classes NEGATIVE,POSITIVE names its values")
        if len(preds) == 1:
            raise files.SelectionError(f"{what}--classes must name the classes of '{preds[0]}'")
        return readings(preds)


def _check_order(preds: Sequence[str], labels: Any) -> None:
    """Refuses names of columns that say another order than labels of numbers have."""
    numbers = _numbers(preds) if len(preds) > 1 else None
    lower = [name.lower() for name in preds]
    bools = pa.types.is_boolean(labels) and ["true", "false"] in readings(lower)
    if bools or (numbers and numbers != [*range(len(preds))]):
        raise files.SelectionError(
            f"columns '{preds[0]}' to '{preds[-1]}' are not in the order of {labels} labels, which "
            "count from 0: --classes must say which label each column is for"
        )


def _in_another_order(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether columns stand for the same classes as others, in another order."""
    pairs = [(a, b) for a in readings(one) for b in readings(other) if sorted(a) == sorted(b)]
    return bool(pairs) and not any(a == b for a, b in pairs)


def readings(columns: Sequence[str]) -> list[list[str]]:
    """Class names that columns may stand for: as they are, or without a prefix they share."""
    found = [list(columns)]
    for end in range(1, min(map(len, columns))):
        prefix = columns[0][:end]
        if prefix[-1] in "_-.:/ " and all(name.startswith(prefix) for name in columns):
            found.append([name[end:] for name in columns])
    return found
