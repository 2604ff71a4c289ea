"""Conversion of labels from names of classes to numbers of classes, by one of several possible lists of names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamce._support.short_repr import quote_names
from streamce.errors import SelectionError
from streamce.inputs.arrow import flat, is_number
from streamce.inputs.class_names import ClassNames
from streamce.reading.columns import trailing_numbers

Array = np.ndarray[Any, Any]

MAX_INT64 = (1 << 63) - 1


class Labels:
    """The names of classes, chosen by the labels from several possible lists.

    ``readings`` holds the possible lists of class names. The first labels that occur in any list choose it, and may
    occur in only one. A label that is in no list gets a number that is not a class, so that it is invalid.
    """

    def __init__(self, readings: Sequence[Sequence[str]], ignore_index: int | None) -> None:
        self.count: int = len(readings[0])
        self._ignored = None if ignore_index is None else str(ignore_index)
        # The ignored label is a label of the data, not the number of a class.
        self.ignore_index = ignore_index
        if ignore_index is not None and 0 <= ignore_index < self.count:
            self.ignore_index = -1
        self._tables: dict[Any, tuple[Any, Array]] = {}
        self._choose(readings)

    def _choose(self, readings: Sequence[Sequence[str]]) -> None:
        """Set the possible lists of class names."""
        self._readings = readings
        self._names = ClassNames(self.classes or (), self.ignore_index, ignored=self._ignored)

    @property
    def classes(self) -> Sequence[str] | None:
        return self._readings[0] if len(self._readings) == 1 else None

    def decide(self, classes: Sequence[str] | None) -> None:
        """Set the class names that the labels of earlier rows have chosen. None leaves the choice open."""
        if classes:
            self._choose([classes])

    @property
    def expected(self) -> str:
        return ", or ".join(f"one of {quote_names(reading)}" for reading in self._readings)

    def numbers(self, labels: Any) -> tuple[Array, Array | None]:
        """Return the numbers of a column of labels, and the mask of missing labels."""
        labels = getattr(labels, "storage", labels)
        if pa.types.is_dictionary(labels.type):
            values = labels.dictionary
            numbers, missing = self.numbers(pa.concat_arrays([values, pa.nulls(1, values.type)]))
            at, _ = flat(labels.indices.cast(pa.int64()).fill_null(len(values)))
            return numbers[at], None if missing is None else missing[at]
        if is_number(labels.type) and not pa.types.is_null(labels.type):
            return self._numbers_by_value(labels)
        labels = labels.cast(pa.string())
        self._decide_by(labels)
        return self._names.numbers(labels)

    def _numbers_by_value(self, labels: Any) -> tuple[Array, Array]:
        """Return the numbers of labels that are numbers or bools, which equal a name if it is a text of their value."""
        from pyarrow import compute as pc  # here, because it is slow to import and text does not need it

        type_ = labels.type
        if pa.types.is_uint64(type_):
            labels = pc.min_element_wise(labels, pa.scalar(MAX_INT64, type_), skip_nulls=False)
        if pa.types.is_integer(type_):
            labels = labels.cast(pa.int64())  # because any ignore_index fits
        elif pa.types.is_float16(type_) or pa.types.is_decimal(type_):
            numbers, null = flat(labels)
            labels = pa.array(numbers.astype(np.float64), mask=null)
        values, numbers = self._table(labels.type)
        found = pc.index_in(labels, value_set=values).fill_null(len(values))
        return numbers[flat(found)[0]], flat(labels.is_null(nan_is_null=True))[0]

    def sets(self, lists: Any) -> tuple[Array, Array]:
        """Return 0 or 1 for each class of a column of lists of labels, and the mask of rows with missing labels."""
        from pyarrow import compute as pc

        numbers, missing = self.numbers(lists.flatten())
        rows, _ = flat(pc.list_parent_indices(lists))
        outcomes = np.zeros((len(lists), self.count), np.int64)
        known = (numbers >= 0) & (numbers < self.count)
        outcomes[rows[known], numbers[known]] = 1
        outcomes[rows[~known]] = numbers[~known, None]  # an ignored or unknown label decides for the complete row
        null, _ = flat(lists.is_null())
        if missing is not None:
            null[rows[missing]] = True
        return outcomes, null

    def _table(self, type_: Any) -> tuple[Any, Array]:
        """Return the labels as values of a type, and their numbers; the last number is that of all other labels."""
        key = type_, len(self._readings)
        if key not in self._tables:
            values, numbers = [], []
            ignored = [] if self._ignored is None else [(self.ignore_index, self._ignored)]
            for number, name in [*ignored, *enumerate(self.classes or ())]:
                try:
                    values.append(pa.scalar(name).cast(type_).as_py())
                    numbers.append(number)
                except pa.ArrowInvalid as error:
                    raise SelectionError(f"labels are {type_}, and '{name}' is not") from error
            table = pa.array(values, type_), np.array([*numbers, self._names.unknown])
            self._tables[key] = table
        return self._tables[key]

    def _decide_by(self, labels: Any) -> None:
        """Choose the list of class names that contains the labels."""
        if len(self._readings) > 1:
            distinct = set(labels.unique().to_pylist())
            matching = [reading for reading in self._readings if distinct.intersection(reading)]
            if len(matching) > 1:
                raise SelectionError(f"labels could be {self.expected}; choose with --classes")
            self._choose(matching or self._readings)


def readings(columns: Sequence[str]) -> list[list[str]]:
    """Return the class names that columns may stand for: their names, with and without each common prefix."""
    lists = [list(columns)]
    for end in range(1, min(map(len, columns))):
        prefix = columns[0][:end]
        if prefix[-1] in "_-.:/ " and all(name.startswith(prefix) for name in columns):
            lists.append([name[end:] for name in columns])
    return lists


def check_order(preds: Sequence[str], labels: Any, advice: str) -> None:
    """Raise SelectionError if the names of columns contradict the order of numeric labels."""
    numbers = trailing_numbers(preds) if len(preds) > 1 else None
    lower = [name.lower() for name in preds]
    bools = pa.types.is_boolean(labels) and ["true", "false"] in readings(lower)
    if bools or (numbers and numbers != [*range(len(preds))]):
        raise SelectionError(
            f"columns '{preds[0]}' to '{preds[-1]}' are not in the order of {labels} labels, which "
            f"count from 0: {advice}"
        )


def is_reordered(one: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether columns stand for the same classes as others, but in another order."""
    pairs = [(a, b) for a in readings(one) for b in readings(other) if sorted(a) == sorted(b)]
    return bool(pairs) and not any(a == b for a, b in pairs)
