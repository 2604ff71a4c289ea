"""The interface of formats: a class per format that gives names, types and record batches of one source."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamce.errors import DataError
from streamce.reading.files.sources import one_line

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Mark:
    """A row of a source, and the piece of the source that contains it.

    ``piece`` is the number of a record batch, or the byte of the unpacked text where a block begins. ``before`` is the
    number of rows before the piece.
    """

    row: int = 0
    piece: int = 0
    before: int = 0


START = Mark()
Batches = Iterator[tuple[Any, float | None, Mark]]


class Table(ABC):
    """An open source.

    ``has_types`` is False if types are guesses from the start of the source. ``has_only_text`` is True if even the
    distinction of text and numbers is a guess, as in CSV.
    """

    has_types = True
    has_only_text = False
    schema: Any

    def names(self) -> list[str]:
        try:
            return list(self.schema.names)
        except UnicodeDecodeError as error:
            raise DataError(f"the name of a column is not UTF-8: {one_line(error)}") from error

    def type(self, name: str) -> Any:
        found = self.schema.field(name).type
        if len(getattr(found, "shape", ())) > 1:
            return found  # a tensor, because its storage type does not hold its axes
        return getattr(found, "storage_type", found)

    def width(self, name: str) -> int:
        """Return the number of values in a row of a list column; 1 if only reading would tell."""
        return int(getattr(self.type(name), "list_size", 1) or 1)

    def marks(self) -> list[Mark]:
        """Return the rows at which reading can begin without earlier rows, in order. The first is the start."""
        return [START]

    @abstractmethod
    def batches(self, types: Mapping[str, Any], rows: int, start: Mark = START) -> Batches:
        """Yield batches of at most ``rows`` rows with the columns of ``types``, from ``start`` on.

        Yield with each batch the fraction of the source up to its end, None if unknown, and the mark of the next batch.
        """


def slice_batch(batch: Any, rows: int, before: int, start: int) -> Iterator[tuple[Any, int]]:
    """Yield slices of a batch, from row ``start`` of the source on, and the row after each.

    ``before`` is the number of rows before the batch.
    """
    for first in range(max(0, start - before), batch.num_rows, rows):
        part = batch.slice(first, rows)
        yield part, before + first + part.num_rows
