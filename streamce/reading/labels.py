"""Labels that are names of classes, as the numbers of these."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import SelectionError
from streamce.inputs.arrow import flat
from streamce.reading.columns import listed, numbers_of

Array = np.ndarray[Any, Any]


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
            at, _ = flat(labels.indices.cast(pa.int64()).fill_null(len(values)))
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
        return numbers[flat(found)[0]], flat(missing)[0]

    def sets(self, lists: Any) -> tuple[Array, Array]:
        """The same of a column of lists of labels, as 0 or 1 for each class."""
        from pyarrow import compute as pc

        numbers, missing = self.numbers(lists.flatten())
        rows, _ = flat(pc.list_parent_indices(lists))
        given = np.zeros((len(lists), self.count), np.int64)
        known = (numbers >= 0) & (numbers < self.count)
        given[rows[known], numbers[known]] = 1
        given[rows[~known]] = numbers[~known, None]  # ignored or unknown: the row as a whole
        null, _ = flat(lists.is_null())
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
                    raise SelectionError(what) from error
            table = pa.array(values, type_), np.array([*numbers, self._unknown])
            self._tables[key] = table
        return self._tables[key]

    def _decide(self, labels: Any) -> None:
        if len(self._readings) > 1:
            seen = set(labels.unique().to_pylist())
            fitting = [reading for reading in self._readings if seen.intersection(reading)]
            if len(fitting) > 1:
                raise SelectionError(f"labels could be {self.expected}; --classes decides")
            self._readings = fitting or self._readings


def readings(columns: Sequence[str]) -> list[list[str]]:
    """Class names that columns may stand for: as they are, or without a prefix they share."""
    found = [list(columns)]
    for end in range(1, min(map(len, columns))):
        prefix = columns[0][:end]
        if prefix[-1] in "_-.:/ " and all(name.startswith(prefix) for name in columns):
            found.append([name[end:] for name in columns])
    return found


def check_order(preds: Sequence[str], labels: Any, else_: str) -> None:
    """Refuses names of columns that say another order than labels of numbers have."""
    numbers = numbers_of(preds) if len(preds) > 1 else None
    lower = [name.lower() for name in preds]
    bools = pa.types.is_boolean(labels) and ["true", "false"] in readings(lower)
    if bools or (numbers and numbers != [*range(len(preds))]):
        raise SelectionError(
            f"columns '{preds[0]}' to '{preds[-1]}' are not in the order of {labels} labels, which "
            f"count from 0: {else_}"
        )


def in_another_order(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether columns stand for the same classes as others, in another order."""
    pairs = [(a, b) for a in readings(one) for b in readings(other) if sorted(a) == sorted(b)]
    return bool(pairs) and not any(a == b for a, b in pairs)
