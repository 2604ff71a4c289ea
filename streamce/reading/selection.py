"""The columns of each argument of ``update``, and the shape that a task expects of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamce._support.short_repr import quote_names
from streamce.errors import SelectionError
from streamce.inputs.arrow import is_list
from streamce.reading.formats.base import Array, Table
from streamce.reading.labels import is_reordered

# The axes of predictions and of losses, by task; a row of other tasks is a sequence.
AXES = {"binary": (1, 1), "mean": (1, 1), "multiclass": (2, 1), "multilabel": (2, 2)}
# What users of predictions of two classes, such as those of scikit-learn's predict_proba, can do.
TWO_CLASSES = "give the second column, or use --task multiclass (MulticlassCrossEntropy in Python)"


@dataclass(frozen=True)
class Selection:
    """The columns of each argument of ``update``.

    ``target`` may be empty if another file has it. ``encode`` converts labels to numbers and a mask of nulls. ``width``
    is the length that the lists of predictions must have. ``time_unit`` is the unit of numbers in ``by_time``.
    ``shared`` are columns that must be equal in the files of two models, and ``match`` those whose values find the same
    row in them.
    """

    preds: tuple[str, ...]
    target: tuple[str, ...]
    weight: str | None = None
    width: int | None = None
    encode: Callable[[Any], tuple[Array, Array | None]] | None = None
    by: tuple[str, ...] = ()
    by_time: str | None = None
    time_unit: str = "s"
    cluster: str | None = None
    n_words: str | None = None
    n_bytes: str | None = None
    shared: tuple[str, ...] = ()
    match: tuple[str, ...] = ()

    def columns(self, argument: str) -> tuple[str, ...]:
        """Return the names of the columns of an argument of ``update``."""
        found = getattr(self, argument, ())
        return found if isinstance(found, tuple) else (found,) if found else ()

    def check(self, task: str, table: Table) -> None:
        """Raise SelectionError if the columns cannot be the arguments of a task."""
        if twice := {*self.preds} & {*self.target} | {*self.columns("weight")} & {*self.preds, *self.target}:
            raise SelectionError(f"column '{min(twice)}' is selected for two arguments", column=min(twice))
        for argument, names in ("predictions", self.preds), ("targets", self.target):
            if task not in AXES:
                if len(names) > 1:
                    raise SelectionError(f"for {task} {argument} are one column of lists, not {quote_names(names)}")
                continue
            lists = [name for name in names if is_list(table.type(name))]
            if lists and len(names) > 1:
                found = f"column '{lists[0]}' holds lists: {argument} are one such column, or several of numbers"
                raise SelectionError(found, column=lists[0])
            if AXES[task][0] == 1 and len(names) > 1:
                found = f"for {task} {argument} are one column of numbers, not {quote_names(names)}"
                is_pair = (task, argument, len(names)) == ("binary", "predictions", 2)
                raise SelectionError(f"{found}: {TWO_CLASSES}" if is_pair else found)
        if self.target and task in AXES and is_reordered(self.preds, self.target):
            found = "columns of predictions and of targets have the same names in another order: use one order for both"
            raise SelectionError(found)
