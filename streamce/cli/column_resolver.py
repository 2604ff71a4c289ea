"""What the command line's words for columns and classes stand for, in the files that there are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from streamce.errors import SelectionError
from streamce.inputs.arrow import is_list, is_text
from streamce.reading import ragged
from streamce.reading.columns import listed, select
from streamce.reading.labels import Labels, check_order, in_another_order, readings
from streamce.reading.reader import Selection
from streamce.reading.sources import Source
from streamce.reading.tables import Table

CLASSES = "--classes must say which label each column is for"


class Chooser:
    """Options to a selection of columns: asked for each source, it decides at the first.

    With ``like``, the chooser of the files that hold the target of the same rows, these may lack it;
    where they have it, its classes are named as they are there.
    """

    def __init__(self, options: argparse.Namespace, like: Chooser | None = None) -> None:
        self._options, self._like = options, like
        self._readings: Sequence[Sequence[str]] = ()
        self._counts: Any = None  # the type of labels that count the classes
        self._chosen: Selection | None = None
        self.labels: Labels | None = None

    def __call__(self, source: Source, table: Table) -> Selection:
        options, names = self._options, table.names()
        words = options.preds or ([source.name] if source.format == "npy" else [])
        if not words:
            raise SelectionError("--preds must say which columns hold the predictions")
        preds, target = select(words, names), self._target(names)
        weight = select([options.weight], names) if options.weight else ()
        keys: dict[str, Any] = {
            "by": select(options.by, names) if options.by else (),
            "by_time": self._one("by_time", names),
            "cluster": self._one("cluster", names),
            "n_words": self._one("n_words", names),
            "n_bytes": self._one("n_bytes", names),
        }
        if self._chosen is None:
            Selection(preds, target, weight[0] if weight else None).check(options.task, table)
            if self._like and self._like._chosen:
                self._agree(preds, target, self._like._chosen)
            self._chosen = replace(self._decide(table, preds, target, *weight), **keys)
        elif {*preds} != {*self._chosen.preds} or {*target} != {*self._chosen.target}:
            raise SelectionError("other columns match here than in the first file")
        return self._chosen

    def _target(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns of the target, none where another file has it."""
        try:
            return select(self._options.target or [], names)
        except SelectionError:
            if self._like is None:
                raise
            return ()

    def _one(self, option: str, names: Sequence[str]) -> str | None:
        """The column of an option that takes one."""
        word = getattr(self._options, option, None)
        found = select([word], names) if word else ()
        if len(found) > 1:
            raise SelectionError(f"--{option.replace('_', '-')} is one column, not {listed(found)}")
        return found[0] if found else None

    def _agree(self, preds: Sequence[str], target: Sequence[str], like: Selection) -> None:
        """Refuses predictions that are not of the same classes as those of the other model."""
        if in_another_order(preds, like.preds):
            raise SelectionError("the two models' columns have the same names in another order: "
                                       "list them in one")  # fmt: skip
        if 1 < len(preds) != len(like.preds) > 1:
            raise SelectionError(f"{len(preds)} columns of predictions, where the other model has {len(like.preds)}")
        if target and len(target) != len(like.target):
            raise SelectionError(
                f"{len(target)} columns of targets match here, and {len(like.target)} in the other file"
            )
        if self._like and self._like._counts is not None and not target:
            check_order(preds, self._like._counts, CLASSES)

    def _decide(self, table: Table, preds: tuple[str, ...], target: tuple[str, ...], *weight: str) -> Selection:
        task, classes = self._options.task, self._options.classes
        if task in ragged.TASKS:
            return Selection(preds, target, weight[0] if weight else None)
        found = table.type(target[0]) if target else None
        encode = None
        if target and self._has_labels(table, preds, target):
            self._readings = [classes] if classes else self._names(preds, target)
            self.labels = Labels(self._readings, self._options.ignore_index)
            encode = self.labels.sets if is_list(found) else self.labels.numbers
        elif task == "multiclass" and len(target) == 1:
            self._counts = found
            check_order(preds, found, CLASSES)
        width = len(preds) if len(preds) > 1 else len(classes or ()) or None
        if classes and len(classes) != (2 if task == "binary" else width):
            wanted = "2" if task == "binary" else f"{len(preds)} columns of predictions"
            raise SelectionError(f"--classes names {len(classes)} classes, for {wanted}")
        width = None if task == "binary" else width
        return Selection(preds, target, weight[0] if weight else None, width, encode)

    def _has_labels(self, table: Table, preds: Sequence[str], target: Sequence[str]) -> bool:
        """Whether the target is labels that need numbers, and no numbers yet."""
        task, found = self._options.task, table.type(target[0])
        if len(target) > 1 or is_list(found) != (task == "multilabel"):
            return False
        text = is_text(found)
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
            raise SelectionError(f"{what}--classes NEGATIVE,POSITIVE names its values")
        if len(preds) == 1:
            raise SelectionError(f"{what}--classes must name the classes of '{preds[0]}'")
        return readings(preds)
