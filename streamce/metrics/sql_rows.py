"""Turns states into rows for a database, whose sums are merged states, and rows into parts.

A row holds one digit that is not 0. ``cell`` names a cell of a part, such as ``total.0``, and ``term`` a column of
docs/FORMAT.md, such as ``nn``. The term ``states`` counts the states that were added, in all (an empty ``cell``) and
with a part whose size is given. The term ``size`` holds the sum of these sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from streamce._support.short_repr import quote_names, short_repr
from streamce.core.ledger import digits
from streamce.core.ledger.ledger import NAMES, Ledger
from streamce.errors import InputError
from streamce.metrics import limbs

COLUMNS = ("spec", "cell", "term", "limb", "amount")
TERMS = np.array([NAMES[column] for column in digits.COLUMN_OF_DIGIT], dtype=object)
LIMBS = np.array(digits.PLACE_OF_DIGIT, dtype=np.int64)
LANES = {pair: lane for lane, pair in enumerate(zip(TERMS.tolist(), LIMBS.tolist(), strict=True))}
MAX_CELLS = 2**24  # of a ledger
MAX_CELLS_AT_ONCE = 4096  # so that the digits of a large state take 13 MB


def key_names(names: Sequence[str] | None, n_parts: int) -> list[str]:
    """Return the names of the columns of keys of this many parts, or raise InputError."""
    if names is None:
        return [f"key_{i}" for i in range(n_parts)]
    found = [names] if isinstance(names, str) else list(names)
    if len(found) != n_parts:
        raise InputError("keys", f"has {len(found)} names", f"{n_parts}, one for each part of a key", value=len(found))
    for i, name in enumerate(found):
        if not isinstance(name, str) or not name or name in COLUMNS or name in found[:i]:
            expected = f"different texts, none of which is {', '.join(COLUMNS)}"
            raise InputError("keys", f"is {short_repr(name)}", expected, index=(i,), value=name)
    return found


Piece = tuple[Any, Any, Any, Any, Any]  # the number of the state of each row, cell, term, limb and amount


def join_rows(spec: str, pieces: Sequence[Piece]) -> dict[str, Any]:
    """Return the columns of rows, and the column ``number``, the number of the state of each row."""
    number, *columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
    named = dict(zip(COLUMNS, (np.full(len(number), spec, dtype=object), *columns), strict=True))
    return named | {"number": number}


def rows_of_parts(parts: dict[str, bytes], quanta: dict[str, int], number: int = 0) -> Piece:
    """Return the rows of a state."""
    heads: list[tuple[str, str, int]] = [("", "states", 1)]
    pieces = []
    for name, data in sorted(parts.items()):
        ledger = Ledger.from_bytes(data)
        if not quanta[name.rpartition(".")[2]]:
            heads += [(name, "states", 1), (name, "size", ledger.size)]
        used = np.array(ledger.used(), dtype=np.int64)
        names = _objects([f"{name}.{cell}" for cell in used.tolist()])
        pieces += [(names[row], *columns) for row, *columns in _digits(ledger, used)]
    cells, terms, amounts = zip(*heads, strict=True)
    first = (_objects(cells), _objects(terms), np.zeros(len(heads), np.int64), np.array(amounts, dtype=np.int64))
    cell, term, limb, amount = (np.concatenate(column) for column in zip(first, *pieces, strict=True))
    return np.full(len(cell), number), cell, term, limb, amount


def rows_of_totals(ledger: Ledger, cells: Sequence[int]) -> list[Piece]:
    """Return the rows of states that are cells of one ledger, given by their numbers in the order of the states."""
    n = len(cells)
    ones, zeros = np.ones(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    heads = (np.arange(n), np.full(n, "", dtype=object), np.full(n, "states", dtype=object), zeros, ones)
    return [
        heads,
        *(
            (row, np.full(len(row), "total.0", dtype=object), *columns)
            for row, *columns in _digits(ledger, np.array(cells, dtype=np.int64))
        ),
    ]


def _digits(ledger: Ledger, numbers: Any) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Yield, for the digits of cells that are not 0: the place of the cell in ``numbers``, term, limb and amount."""
    for first in range(0, len(numbers), MAX_CELLS_AT_ONCE):
        some = numbers[first : first + MAX_CELLS_AT_ONCE]
        dense = np.empty((len(some), digits.DIGITS), dtype=np.int64)
        limbs.write(ledger, some, dense)
        row, lane = np.nonzero(dense)
        yield first + row, TERMS[lane], LIMBS[lane], dense[row, lane]


def _objects(values: Sequence[str]) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


# ---- reading ----

Texts = tuple[Any, Sequence[Any]]  # the code of each row, and the texts that codes stand for
Counts = dict[tuple[str, str], int]  # sums by cell and term


class Rows:
    """Rows that a database returned, of one or more states, with checks.

    ``keys`` are the keys of groups, None if the rows have none.
    """

    def __init__(
        self, spec: Texts, cell: Texts, term: Texts, limb: Any, amount: Any, names: Sequence[str], keys: Any
    ) -> None:
        """``names`` are the names of the columns of keys."""
        self._spec, self._cell, self._term, self._limb, self._amount = spec, cell, term, limb, amount
        self._names, self.keys = names, keys

    def __len__(self) -> int:
        return len(self._amount)

    def check_keys(self, are_expected: bool) -> None:
        """Raise InputError unless there are keys, or unless there are none."""
        if not are_expected and self._names:
            found = f"has the columns {quote_names(self._names)}"
            raise InputError("table", found, "no keys, or like=Grouped(metric)")
        if are_expected and not self._names:
            expected = "those of to_sql_rows(), because like is a Grouped"
            raise InputError("table", "has no columns of keys", expected)

    def check_spec(self, spec: str) -> None:
        """Raise InputError unless all rows belong to this class and these options."""
        codes, texts = self._spec
        wrong = np.flatnonzero(np.array([text != spec for text in texts], dtype=bool)[codes])
        if len(wrong):
            value = texts[codes[wrong[0]]]
            expected = f"{spec!r}, the class and options of like: select rows by spec, or give another like"
            raise InputError("spec", f"is {value!r}", expected, index=(int(wrong[0]),), value=value)

    def parts(self, codes: Any, n_states: int, quanta: dict[str, int]) -> list[dict[str, bytes]]:
        """Return the parts of states. ``codes`` tells which state a row belongs to.

        Rows with equal cell, term and limb of one state are added.
        """
        cells, texts = self._cell
        places = [_place(text, quanta) for text in texts]
        for i, text in enumerate(texts):
            if places[i] is None and (at := np.flatnonzero(cells == i)).size:
                raise _unknown("cell", text, int(at[0]))
        lanes = _lanes(self._term, self._limb)
        counts = self._counts(codes, n_states, lanes < 0)
        self._check_amounts(codes, np.array([_checked_states(count) for count in counts], dtype=np.int64), lanes)
        body = np.flatnonzero(lanes >= 0)
        order = body[np.argsort(codes[body], kind="stable")]
        bounds = np.searchsorted(codes[order], np.arange(n_states + 1))
        states = []
        for state in range(n_states):
            rows = order[bounds[state] : bounds[state + 1]]
            digit = cells[rows], lanes[rows], self._amount[rows]
            states.append(_parts_of_one(digit, places, counts[state], quanta))
            limbs.check_clusters(states[-1])
        return states

    def _counts(self, codes: Any, n_states: int, is_count: Any) -> list[Counts]:
        """Return, for each state, the sums of the rows that count states and sizes."""
        counts: list[Counts] = [{} for _ in range(n_states)]
        for i in np.flatnonzero(is_count).tolist():
            count = counts[codes[i]]
            name = self._cell[1][self._cell[0][i]], self._term[1][self._term[0][i]]
            count[name] = count.get(name, 0) + int(self._amount[i])
        return counts

    def _check_amounts(self, codes: Any, n_added: Any, lanes: Any) -> None:
        """Raise InputError if an amount is no sum of digits of as many states as were added."""
        most = n_added[codes] * limbs.HALF
        wrong = (lanes >= 0) & ((self._amount > most) | (self._amount < -most))
        if wrong.any():
            i = int(np.argmax(wrong))
            states, amount = int(n_added[codes[i]]), int(self._amount[i])
            expected = f"at most {states} * 2^31 in magnitude, because {states} states were added"
            raise InputError("amount", f"is {amount}", expected, index=(i,), value=amount)


def _parts_of_one(
    digit: tuple[Any, Any, Any], places: Sequence[Any], counts: Counts, quanta: dict[str, int]
) -> dict[str, bytes]:
    """Return the parts of one state from its digits: cell, place in the cell, and amount."""
    used, row = np.unique(digit[0], return_inverse=True)
    order = np.argsort(row, kind="stable")
    row, lane, amount = row[order], digit[1][order], digit[2][order]
    by_part: dict[str, list[int]] = {}
    for i, code in enumerate(used.tolist()):
        by_part.setdefault(places[code][0], []).append(i)
    parts = {}
    for name, chosen in by_part.items():
        numbers = np.array([places[used[i]][1] for i in chosen], dtype=np.int64)
        quantum = quanta[name.rpartition(".")[2]]
        size = int(numbers.max()) + 1 if quantum else _size(name, counts, int(numbers.max()))
        ledger = Ledger(size, False, quantum)
        for first in range(0, len(chosen), MAX_CELLS_AT_ONCE):
            some = np.array(chosen[first : first + MAX_CELLS_AT_ONCE])
            dense = np.zeros((len(some), digits.DIGITS), dtype=np.int64)
            for i, (begin, end) in enumerate(
                zip(np.searchsorted(row, some), np.searchsorted(row, some + 1), strict=True)
            ):
                np.add.at(dense[i], lane[begin:end], amount[begin:end])
            limbs.read(ledger, numbers[first : first + MAX_CELLS_AT_ONCE], dense, "amount")
        if ledger.used():
            parts[name] = ledger.to_bytes()
    return parts


def _place(text: Any, quanta: dict[str, int]) -> tuple[str, int] | None:
    """Return part and number of a cell, ("", 0) for the whole state or a whole part, None for any other text."""
    if text == "" or (isinstance(text, str) and text.rpartition(".")[2] in quanta):
        return "", 0
    if not isinstance(text, str):
        return None
    name, _, number = text.rpartition(".")
    if name.rpartition(".")[2] not in quanta or not number.isascii() or not number.isdigit() or len(number) > 8:
        return None
    return (name, int(number)) if int(number) < MAX_CELLS else None


def _lanes(term: Texts, limb: Any) -> Any:
    """Return the place of each digit in its cell, and -1 for rows that count states or give a size."""
    table = np.full((len(term[1]), int(max(LIMBS)) + 1), -2, dtype=np.int64)
    for i, text in enumerate(term[1]):
        if text in ("states", "size"):
            table[i, 0] = -1
        for (name, place), lane in LANES.items() if text in NAMES else ():
            if name == text:
                table[i, place] = lane
    inside = (limb >= 0) & (limb < table.shape[1])
    lanes = np.where(inside, table[term[0], np.where(inside, limb, 0)], -2)
    if (wrong := np.flatnonzero(lanes == -2)).size:
        i = int(wrong[0])
        text = term[1][term[0][i]]
        if text in NAMES:
            raise InputError("limb", f"is {limb[i]}, and {text} has no such digit", index=(i,), value=int(limb[i]))
        raise _unknown("term", text, i)
    return lanes


def _unknown(name: str, text: Any, row: int) -> InputError:
    return InputError(name, f"is {short_repr(text)}", "one that to_sql_rows() wrote", index=(row,), value=text)


def _checked_states(counts: Counts) -> int:
    """Return the number of states that were added, or raise InputError."""
    states = counts.get(("", "states"), 0)
    if not 1 <= states <= limbs.MAX_STATES:
        found = f"has {states} states in a group"
        expected = f"1 to {limbs.MAX_STATES}: sums of all rows of each state, also those of the term 'states'"
        raise InputError("table", found, expected, value=states)
    return states


def _size(name: str, counts: Counts, largest: int) -> int:
    """Return the size of a part, which must be the same in all states, or raise InputError."""
    states, total = counts.get((name, "states"), 0), counts.get((name, "size"), 0)
    if not states or total % states or not largest < total // states <= MAX_CELLS:
        raise InputError("table", f"adds states whose part {name!r} has different sizes", "equal numbers of classes")
    return total // states
