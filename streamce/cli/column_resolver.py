"""The columns and classes that the options of a command mean in a file. Opens no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streamce._support.short_repr import quote_names
from streamce.cli.config import RowsConfig
from streamce.errors import SelectionError
from streamce.inputs.arrow import is_boolean, is_list, is_text
from streamce.reading import ragged
from streamce.reading.columns import select
from streamce.reading.files.sources import Source
from streamce.reading.formats.base import Table
from streamce.reading.formats.csv_parser import MISSING
from streamce.reading.labels import Labels, check_order, is_reordered, readings
from streamce.reading.selection import Selection

NAME_THE_CLASSES = "--classes must say which label each column is for"


class ColumnResolver:
    """A function from a source to the selection of its columns. The first source decides for all.

    Parameters
    ----------
    config : RowsConfig
    other : ColumnResolver, optional
        The resolver of the files that hold the target of the same rows. This file may then lack the target. If it has
        the target, the classes have the same names as in the other file.
    """

    def __init__(self, config: RowsConfig, other: ColumnResolver | None = None) -> None:
        self._config, self._other = config, other
        self._readings: Sequence[Sequence[str]] = ()
        self._index_type: Any = None  # the type of labels that count the classes
        self._selection: Selection | None = None
        self.labels: Labels | None = None

    def __call__(self, source: Source, table: Table) -> Selection:
        """Return the selection of a source."""
        config, names = self._config, table.names()
        words = config.preds or ([source.name] if source.format == "npy" else [])
        if not words:
            raise SelectionError("--preds must say which columns hold the predictions")
        preds, target = select(words, names, table.fields), self._target(table)
        names = [*names, *table.partition_names()]
        weight = select([config.weight], names, table.fields) if config.weight else ()
        keys: dict[str, Any] = {
            "by": select(config.by, names, table.fields) if config.by else (),
            "by_time": self._single("by_time", table),
            "time_unit": config.time_unit or "s",
            "cluster": self._single("cluster", table),
            "n_words": self._single("n_words", table),
            "n_bytes": self._single("n_bytes", table),
        }
        if self._selection is None:
            Selection(preds, target, weight[0] if weight else None).check(config.task, table)
            if self._other and self._other._selection:
                self._check_same_classes(preds, target, self._other._selection)
            self._selection = replace(self._decide(table, preds, target, *weight), **keys)
        elif {*preds} != {*self._selection.preds} or {*target} != {*self._selection.target}:
            raise SelectionError("the columns that match here differ from those in the first file")
        return self._selection

    def _target(self, table: Table) -> tuple[str, ...]:
        """Return the columns of the target, none if they are missing and another file may have them."""
        try:
            return select(self._config.target, table.names(), table.fields)
        except SelectionError:
            if self._other is None:
                raise
            return ()

    def _single(self, option: str, table: Table) -> str | None:
        """Return the column of an option that takes one column."""
        word = getattr(self._config, option)
        columns = select([word], [*table.names(), *table.partition_names()], table.fields) if word else ()
        if len(columns) > 1:
            raise SelectionError(f"--{option.replace('_', '-')} takes one column, not {quote_names(columns)}")
        return columns[0] if columns else None

    def _check_same_classes(self, preds: Sequence[str], target: Sequence[str], other: Selection) -> None:
        """Raise SelectionError if the predictions are not of the same classes as those of the other model."""
        if is_reordered(preds, other.preds):
            raise SelectionError("the two models' columns have the same names in another order: "
                                       "list them in one order")  # fmt: skip
        if 1 < len(preds) != len(other.preds) > 1:
            raise SelectionError(f"{len(preds)} columns of predictions, but the other model has {len(other.preds)}")
        if target and len(target) != len(other.target):
            raise SelectionError(
                f"{len(target)} columns of targets match here, but {len(other.target)} in the other file"
            )
        if self._other and self._other._index_type is not None and not target:
            check_order(preds, self._other._index_type, NAME_THE_CLASSES)

    def _decide(self, table: Table, preds: tuple[str, ...], target: tuple[str, ...], *weight: str) -> Selection:
        """Return the selection of the first source, and set ``labels`` if its labels have names."""
        task, classes = self._config.task, self._config.classes
        if task in ragged.TASKS:
            return Selection(preds, target, weight[0] if weight else None)
        target_type = table.type(target[0]) if target else None
        encode = None
        if target and self._has_names(table, preds, target):
            self._readings = [list(classes)] if classes else self._class_names(preds, target)
            self.labels = Labels(self._readings, self._config.ignore_index)
            encode = self.labels.sets if is_list(target_type) else self.labels.numbers
        elif task == "multiclass" and len(target) == 1:
            self._index_type = target_type
            check_order(preds, target_type, NAME_THE_CLASSES)
        width = len(preds) if len(preds) > 1 else len(classes or ()) or None
        if classes and len(classes) != (2 if task == "binary" else width):
            expected = "2" if task == "binary" else f"{len(preds)} columns of predictions"
            raise SelectionError(f"--classes names {len(classes)} classes, for {expected}")
        width = None if task == "binary" else width
        return Selection(preds, target, weight[0] if weight else None, width, encode)

    def _has_names(self, table: Table, preds: Sequence[str], target: Sequence[str]) -> bool:
        """Return whether the target holds names of classes and not their numbers."""
        task, target_type = self._config.task, table.type(target[0])
        if len(target) > 1 or is_list(target_type) != (task == "multilabel"):
            return False
        text = is_text(target_type)
        if table.has_only_text and task == "binary":  # the reader reports the value that is not a number
            text = False
        elif table.has_only_text and len(preds) > 1:  # true may be the name of a class
            text = text or is_boolean(target_type)
        if text and table.looks_numeric(target[0]) and not self._config.classes:
            text = any(MISSING.intersection(names) for names in readings(preds))  # if these may be classes
        return text or (self._config.classes is not None and task != "multilabel")

    def _class_names(self, preds: Sequence[str], target: Sequence[str]) -> Sequence[Sequence[str]]:
        """Return the possible names of the classes if --classes is not given."""
        if self._other and self._other._readings:
            return self._other._readings
        is_text_ = f"column '{target[0]}' holds text: "
        if self._config.task == "binary":
            raise SelectionError(f"{is_text_}--classes NEGATIVE,POSITIVE must name its values")
        if len(preds) == 1:
            raise SelectionError(f"{is_text_}--classes must name the classes of '{preds[0]}'")
        return readings(preds)
