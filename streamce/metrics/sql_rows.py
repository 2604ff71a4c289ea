"""Turns states into rows for a database, whose sums are merged states, and rows into parts.

A row holds one digit that is not 0. ``cell`` names a cell of a part, such as ``total.0``, and ``term`` a column of
docs/FORMAT.md, such as ``nn``. The term ``states`` counts the states that were added, in all (an empty ``cell``) and
with a part whose size is given. The term ``size`` holds the sum of these sizes. The term ``digits`` holds the sum of
all digits modulo 2^32, so that rows that are missing or repeated are noticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
MASK = 2**32 - 1


def key_names(names: Any, n_parts: int | None) -> list[str]:
    """Return the names of the columns of keys, or raise InputError. ``n_parts`` is None if no key is known."""
    if names is None:
        return [f"key_{i}" for i in range(n_parts or 1)]
    if isinstance(names, str) or not isinstance(names, Iterable):
        names = [names]
    found = list(names)
    if len(found) != (n_parts or max(len(found), 1)):
        expected = f"{n_parts or 1}, one for each part of a key"
        raise InputError("keys", f"has {len(found)} names", expected, value=len(found))
    taken = set(COLUMNS)
    for i, name in enumerate(found):
        # Databases do not distinguish names by case.
        if not isinstance(name, str) or not name or name.lower() in taken:
            expected = f"different texts, none of which is {', '.join(COLUMNS)}"
            raise InputError("keys", f"is {short_repr(name)}", expected, index=(i,), value=name)
        taken.add(name.lower())
    return found


Piece = tuple[Any, Any, Any, Any, Any]  # the number of the state of each row, cell, term, limb and amount


def join_rows(spec: str, pieces: Sequence[Piece]) -> dict[str, Any]:
    """Return the columns of rows, and the column ``number``, the number of the state of each row."""
    number, *columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
    named = dict(zip(COLUMNS, (np.full(len(number), spec, dtype=object), *columns), strict=True))
    return named | {"number": number}


def rows_of_parts(parts: dict[str, bytes], quanta: dict[str, int], number: int = 0) -> Piece:
    """Return the rows of a state."""
    heads: list[tuple[str, str, int]] = []
    pieces = []
    for name, data in sorted(parts.items()):
        ledger = Ledger.from_bytes(data)
        if not quanta[name.rpartition(".")[2]]:
            heads += [(name, "states", 1), (name, "size", ledger.size)]
        used = np.array(ledger.used(), dtype=np.int64)
        names = _objects([f"{name}.{cell}" for cell in used.tolist()])
        pieces += [(names[row], *columns) for row, *columns in _digits(ledger, used)]
    check = sum(int(amount.sum()) for *_, amount in pieces)
    heads = [("", "states", 1), ("", "digits", _balanced(check)), *heads]
    cells, terms, amounts = zip(*heads, strict=True)
    first = (_objects(cells), _objects(terms), np.zeros(len(heads), np.int64), np.array(amounts, dtype=np.int64))
    cell, term, limb, amount = (np.concatenate(column) for column in zip(first, *pieces, strict=True))
    return np.full(len(cell), number), cell, term, limb, amount


def rows_of_totals(ledger: Ledger, cells: Sequence[int]) -> list[Piece]:
    """Return the rows of states that are cells of one ledger, given by their numbers in the order of the states."""
    n = len(cells)
    check = np.zeros(n, dtype=np.int64)
    pieces = []
    for row, *columns in _digits(ledger, np.array(cells, dtype=np.int64)):
        check += _digit_sums(columns[-1], row, n)
        pieces.append((row, np.full(len(row), "total.0", dtype=object), *columns))
    no_cell, zeros = np.full(n, "", dtype=object), np.zeros(n, dtype=np.int64)
    heads = [
        (np.arange(n), no_cell, np.full(n, term, dtype=object), zeros, amount)
        for term, amount in (("states", np.ones(n, dtype=np.int64)), ("digits", _balanced(check)))
    ]
    return [*heads, *pieces]


def _digit_sums(amounts: Any, states: Any, n_states: int) -> Any:
    """Return the sum of the digits of each state, modulo 2^32. ``states`` tells which state a digit belongs to."""
    sums = np.zeros(n_states, dtype=np.int64)
    np.add.at(sums, states, amounts)  # which may wrap at 2^64
    return sums & MASK


def _balanced(number: Any) -> Any:
    """Return the digit from -2^31 to 2^31 - 1 that is equal to a number modulo 2^32."""
    return (number + limbs.HALF & MASK) - limbs.HALF


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

    ``keys`` are the columns of keys, by name, as the database returned them.
    """

    def __init__(self, spec: Texts, cell: Texts, term: Texts, limb: Any, amount: Any, keys: Mapping[str, Any]) -> None:
        self._spec, self._cell, self._term, self._limb, self._amount = spec, cell, term, limb, amount
        self.keys = keys

    def __len__(self) -> int:
        return len(self._amount)

    def check_length(self, name: str, length: int) -> None:
        """Raise InputError unless a column of keys has an entry for each row."""
        if length != len(self):
            raise InputError(name, f"has length {length}", f"{len(self)}, as amount has", value=length)

    def check_no_keys(self) -> None:
        """Raise InputError if there are columns of keys."""
        if self.keys:
            raise InputError(
                "table", f"has the columns {quote_names(list(self.keys))}", "no keys, or like=Grouped(metric)"
            )

    def check_spec(self, spec: str) -> None:
        """Raise InputError unless all rows belong to this class and these options."""
        codes, texts = self._spec
        wrong = np.flatnonzero(np.array([text != spec for text in texts], dtype=bool)[codes])
        if len(wrong):
            value = texts[codes[wrong[0]]]
            expected = f"{spec!r}, the class and options of like: select rows by spec, or give another like"
            raise InputError("spec", f"is {value!r}", expected, index=(int(wrong[0]),), value=value)

    def parts(self, codes: Any, n_states: int, quanta: dict[str, int]) -> list[dict[str, bytes]]:
        """Return the parts of states. ``codes`` tells which state a row belongs to, and each state has a row.

        Rows with equal cell, term and limb of one state are added.
        """
        places = [_place(text, quanta) for text in self._cell[1]]
        lanes = _lanes(self._term, self._limb)
        self._check_cells(places)
        counts = self._counts(codes, n_states, lanes < 0)
        first = np.unique(codes, return_index=True)[1].tolist()  # rows of the states
        n_added = np.array([_checked_states(count, row) for count, row in zip(counts, first, strict=True)], np.int64)
        body = np.flatnonzero(lanes >= 0)
        limbs.check_range(self._amount[body], n_added[codes[body]], "amount", body)
        expected = np.array([count.get(("", "digits"), 0) & MASK for count in counts], dtype=np.int64)
        wrong = _digit_sums(self._amount[body], codes[body], n_states) != expected
        if wrong.any():
            found = f"lacks rows of the group of row {first[int(np.argmax(wrong))]}, or has some twice"
            raise InputError("table", found, "the sums of all rows of to_sql_rows(), each added once")
        digit = codes[body], self._cell[0][body], lanes[body], self._amount[body]
        states = _parts(digit, places, counts, n_added, quanta)
        for state in states:
            limbs.check_clusters(state)
        return states

    def _check_cells(self, places: Sequence[Place | None]) -> None:
        """Raise InputError if a row has a cell that no state has, or a term that its cell does not have."""
        (cells, cell_texts), (terms, texts) = self._cell, self._term
        pairs, first = np.unique(cells * len(texts) + terms, return_index=True)
        for row, pair in sorted(zip(first.tolist(), pairs.tolist(), strict=True)):
            cell, term = divmod(pair, len(texts))
            place = places[cell]
            if place is None:
                raise _unknown("cell", cell_texts[cell], row)
            if not _is_term_of(texts[term], place):
                found = f"is {short_repr(texts[term])}, which the cell {short_repr(cell_texts[cell])} does not have"
                raise InputError("term", found, "one that to_sql_rows() wrote", index=(row,), value=texts[term])

    def _counts(self, codes: Any, n_states: int, is_count: Any) -> list[Counts]:
        """Return, for each state, the sums of the rows that count states, sizes and digits."""
        counts: list[Counts] = [{} for _ in range(n_states)]
        for i in np.flatnonzero(is_count).tolist():
            count = counts[codes[i]]
            name = self._cell[1][self._cell[0][i]], self._term[1][self._term[0][i]]
            count[name] = count.get(name, 0) + int(self._amount[i])
        return counts


def _parts(
    digit: tuple[Any, Any, Any, Any],
    places: Sequence[Any],
    counts: Sequence[Counts],
    n_added: Any,
    quanta: dict[str, int],
) -> list[dict[str, bytes]]:
    """Return the parts of states from their digits: state, cell as an index of ``places``, lane, and amount."""
    # Sort the cells, so that those of a part of a state follow each other, with the highest number last.
    order = sorted(range(len(places)), key=lambda cell: (places[cell][0], places[cell][1] or 0))
    rank = np.empty(len(places), dtype=np.int64)
    rank[order] = np.arange(len(places))
    states, cells, lanes, amounts = digit
    used, record = np.unique(states * len(places) + rank[cells], return_inverse=True)
    by_record = np.argsort(record, kind="stable")
    record, lanes, amounts = record[by_record], lanes[by_record], amounts[by_record]
    state, cell = np.divmod(used, max(len(places), 1))
    names, part = np.unique([places[i][0] for i in order], return_inverse=True)
    part, number = part[cell], np.array([places[i][1] or 0 for i in order], dtype=np.int64)[cell]
    starts = np.flatnonzero(np.diff(state, prepend=-1) | np.diff(part, prepend=-1)).tolist()
    ends, run = [*starts[1:], len(used)], 0
    parts: list[dict[str, bytes]] = [{} for _ in counts]
    for begin in range(0, len(used), MAX_CELLS_AT_ONCE):
        end = min(begin + MAX_CELLS_AT_ONCE, len(used))
        some = slice(*np.searchsorted(record, [begin, end]))
        dense = _add(record[some] - begin, lanes[some], amounts[some], n_added[state[begin:end]])
        while run < len(starts) and starts[run] < end:
            first, last = max(starts[run], begin), min(ends[run], end)
            owner, name = int(state[first]), str(names[part[first]])
            if first == starts[run]:
                largest, quantum = int(number[ends[run] - 1]), quanta[name.rpartition(".")[2]]
                ledger = Ledger(largest + 1 if quantum else _size(name, counts[owner], largest), False, quantum)
            limbs.read(ledger, number[first:last], dense[first - begin : last - begin], "amount")
            if last < ends[run]:
                break  # the next digits belong to this ledger too
            if ledger.used():
                parts[owner][name] = ledger.to_bytes()
            run += 1
    return parts


def _add(record: Any, lane: Any, amount: Any, n_added: Any) -> Any:
    """Return the sums of the digits of each record, or raise InputError if a sum is beyond the number of states."""
    shape = len(n_added), digits.DIGITS
    low, high = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    np.add.at(low, (record, lane), amount & MASK)  # in halves, because a sum of repeated rows may not fit into 64 bits
    np.add.at(high, (record, lane), amount >> 32)
    high += low >> 32
    most = (n_added * limbs.HALF)[:, None]
    sums = high * (MASK + 1) + (low & MASK)
    if ((np.abs(high) > limbs.HALF) | (sums > most) | (sums < -most)).any():
        found = "has rows with equal cell, term and limb whose sum is beyond the number of added states"
        raise InputError("amount", found, "sums of the digits of each state, each added once")
    return sums


Place = tuple[str, int | None]  # the name of a part, and the number of a cell; None for a whole part


def _place(text: Any, quanta: dict[str, int]) -> Place | None:
    """Return the place that the text of a cell stands for, ("", None) for the whole state; None for other texts."""
    if text == "":
        return "", None
    if not isinstance(text, str):
        return None
    if text.rpartition(".")[2] in quanta:
        return text, None
    name, _, number = text.rpartition(".")
    if name.rpartition(".")[2] not in quanta or not re.fullmatch(r"0|[1-9][0-9]{0,7}", number, re.ASCII):
        return None
    return (name, int(number)) if int(number) < MAX_CELLS else None


def _is_term_of(term: str, place: Place) -> bool:
    """Return whether rows of a place can have this term."""
    name, number = place
    if number is not None:
        return term in NAMES
    return term in ("states", "size" if name else "digits")


def _lanes(term: Texts, limb: Any) -> Any:
    """Return the place of each digit in its cell, and -1 for rows that count states or give a size."""
    table = np.full((len(term[1]), int(max(LIMBS)) + 1), -2, dtype=np.int64)
    for i, text in enumerate(term[1]):
        if text in ("states", "size", "digits"):
            table[i, 0] = -1
        for (name, place), lane in LANES.items() if text in NAMES else ():
            if name == text:
                table[i, place] = lane
    inside = (limb >= 0) & (limb < table.shape[1])
    lanes = np.where(inside, table[term[0], np.where(inside, limb, 0)], -2)
    if (wrong := np.flatnonzero(lanes == -2)).size:
        i = int(wrong[0])
        text = term[1][term[0][i]]
        if text in NAMES or text in ("states", "size", "digits"):
            raise InputError("limb", f"is {limb[i]}, and {text} has no such digit", index=(i,), value=int(limb[i]))
        raise _unknown("term", text, i)
    return lanes


def _unknown(name: str, text: Any, row: int) -> InputError:
    return InputError(name, f"is {short_repr(text)}", "one that to_sql_rows() wrote", index=(row,), value=text)


def _checked_states(counts: Counts, row: int) -> int:
    """Return the number of states that were added, or raise InputError. The state has this row."""
    states = counts.get(("", "states"), 0)
    if not 1 <= states <= limbs.MAX_STATES:
        found = f"has {states} states in the group of row {row}"
        expected = f"1 to {limbs.MAX_STATES}, the sum of the rows with the term 'states'"
        raise InputError("table", found, expected, value=states)
    return states


def _size(name: str, counts: Counts, largest: int) -> int:
    """Return the size of a part, which must be the same in all states, or raise InputError."""
    states, total = counts.get((name, "states"), 0), counts.get((name, "size"), 0)
    if not states or total % states or not largest < total // states <= MAX_CELLS:
        raise InputError("table", f"adds states whose part {name!r} has different sizes", "equal numbers of classes")
    return total // states
