"""Compares two states: whether they are equal, and in which values, counters, sums and parts they differ.

It reads the bytes of states, so it compares every integer that a state holds.
"""

from __future__ import annotations

import datetime as dt
import heapq
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from streamce._support.rational import GRID, quotient
from streamce._support.short_repr import short_repr
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.kernels.kernels import in_default_mode
from streamce.core.ledger.ledger import COUNTER_NAMES, SUM_NAMES, Ledger
from streamce.core.ledger.state import State
from streamce.errors import InputError
from streamce.keys.encoding import EPOCH, INT64_END, MICROSECOND, format_key, sort_key
from streamce.metrics.mergeable import MergeableState
from streamce.stats import estimators
from streamce.stats.estimators import COUNTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamce.stats.estimators import Cell

N_FIRST = 5  # entries of a part that are listed
# The names of the sums of a cell: n is the weighted loss of a sample, and d its weight.
SUMS = {"n": "total", "nn": "sum of n^2", "d": "weight", "nd": "sum of n d", "dd": "sum of d^2"}
# The parts of a state that are ledgers, beside its total: their names, and what their cells are.
PARTS = {"tail": ("tail", "bins"), "calibration": ("calibration", "sums"), "buckets": ("clusters", "buckets")}
CELLS = {"per_class": "classes", "per_label": "labels", "per_position": "positions"}
RATIOS = ("divergence", "words", "bytes")  # the denominators of a state beside that of the mean
# The parts of wrappers, by the section that shows them.
TABLES = {"group_means": "groups", "half_lives": "half-lives", "panes": "panes"}
ROW_BYTES = 24  # of a sample in a window: n, d and the number of its losses


class Entries(NamedTuple):
    """The entries of a part of one state: their keys, the content of each, and its value."""

    keys: Collection[Any]
    content: Callable[[Any], Any]
    value: Callable[[Any], float | None] = lambda key: None


class Quantity(NamedTuple):
    """A number of two states.

    Attributes
    ----------
    name : str
        What it is: ``value``, ``samples`` or another counter of a summary, a sum, or the key of a group.
    a, b : float, int, str or None
        The number in both states. None if a state does not have it.
    difference : float, int or None
        The number in A minus that in B. Of sums it is exact, and rounded once.
    """

    name: str
    a: Any
    b: Any
    difference: float | int | None


class PartDiff(NamedTuple):
    """The entries of a part of two states: groups, panes, half-lives, classes, bins of the tail, and others.

    Attributes
    ----------
    name : str
        The part, such as ``groups``, ``tail`` or ``calibration``.
    entries : str
        What its entries are, such as ``bins``.
    differing, number : int
        How many entries differ, and how many there are in A or B.
    only_a, only_b : int
        How many of the differing entries only A has, and only B.
    first : tuple of Quantity
        The values of the first entries that differ, in the order of their keys. Empty if the entries have no value.
    """

    name: str
    entries: str
    differing: int
    number: int
    only_a: int
    only_b: int
    first: tuple[Quantity, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class StateDiff(DefaultModeMethods):
    """The result of :func:`diff_states`. ``print`` shows it as a table.

    Attributes
    ----------
    equal : bool
        Whether every integer of both states is equal.
    quantities : tuple of Quantity
        The value, the number of samples, and each counter and sum that differs.
    parts : tuple of PartDiff
        The parts that differ.
    metrics : dict of str to StateDiff
        The results of the metrics of a collection, by name. The other attributes are empty then.

    Examples
    --------
    >>> import streamce as ce
    >>> a = ce.Grouped(ce.MeanLoss()).update([0.5, 1.0, 3.0, 1.5], by=["ann", "ann", "bob", "cid"])
    >>> b = ce.Grouped(ce.MeanLoss()).update([0.5, 1.0, 4.0, 1.5], by=["ann", "ann", "bob", "dan"])
    >>> print(ce.diff_states(a, b))
    different
                 A      B      A - B
    value        1.5    1.75   -0.25
    samples      4      4      0
    total        6.0    7.0    -1
    sum of n^2   12.5   19.5   -7
    groups: 3 of 4 differ, 1 only in A, 1 only in B
      bob        3.0    4.0    -1
      cid        1.5    none
      dan        none   1.5
    """

    equal: bool
    quantities: tuple[Quantity, ...] = ()
    parts: tuple[PartDiff, ...] = ()
    metrics: dict[str, StateDiff] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as a dict of numbers, text, None, lists and dicts."""
        if self.metrics:
            return {"equal": self.equal, "metrics": {name: each.to_dict() for name, each in self.metrics.items()}}
        return {
            "equal": self.equal,
            "quantities": [each._asdict() for each in self.quantities],
            "parts": [each._asdict() | {"first": [one._asdict() for one in each.first]} for each in self.parts],
        }

    def __str__(self) -> str:
        if not self.metrics:
            return "\n".join([self._verdict(), *([] if self.equal else self._table())])
        title = "equal" if self.equal else "different"
        return "\n\n".join([title, *(f"{name}\n{each}" for name, each in self.metrics.items())])

    __repr__ = __str__

    def _verdict(self) -> str:
        named = {each.name: each for each in self.quantities}
        value, samples = named["value"], named.get("samples")
        if self.equal:
            count = "" if samples is None else f", {samples.a:,} sample" + "s" * (samples.a != 1)
            return f"equal: value {_text(value.a)}{count}"
        reasons = []
        if samples is not None and samples.difference:
            more, number = ("A" if samples.difference > 0 else "B"), abs(samples.difference)
            reasons.append(f"{more} has {number:,} more sample{'s' * (number != 1)}")
        if value.a is not None and value.a == value.b:
            reasons.append("the values are equal")
        return "different" + (f": {', '.join(reasons)}" if reasons else "")

    def _table(self) -> list[str]:
        rows = [("", "A", "B", "A - B"), *map(_row, self.quantities)]
        lines: list[tuple[str, str, str, str] | str] = list(rows)
        for part in self.parts:
            lines += [_part_text(part), *((f"  {row[0]}", *row[1:]) for row in map(_row, part.first))]
        widths = [max(len(line[i]) for line in lines if not isinstance(line, str)) for i in range(4)]
        return [line if isinstance(line, str) else "   ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _row(quantity: Quantity) -> tuple[str, str, str, str]:
    difference = quantity.difference
    text = f"{difference:,}" if isinstance(difference, int) else "" if difference is None else f"{difference:.6g}"
    return quantity.name, _text(quantity.a), _text(quantity.b), text


def _text(number: Any) -> str:
    if number is None:
        return "none"
    return f"{number:,}" if isinstance(number, int) else str(number)


def _part_text(part: PartDiff) -> str:
    entries = "" if part.entries == part.name else f" {part.entries}"
    text = f"{part.name}: {part.differing:,} of {part.number:,}{entries} differ"
    return (
        text + f", {part.only_a:,} only in A" * (part.only_a > 0) + f", {part.only_b:,} only in B" * (part.only_b > 0)
    )


@in_default_mode
def diff_states(a: MergeableState, b: MergeableState) -> StateDiff:
    """Return whether two states are equal, or by how much and in which counters, sums and parts they differ.

    Parameters
    ----------
    a, b : metric
        Two metrics of one class, with equal options that change a loss. Two windows of samples can be compared too.

    Raises
    ------
    InputError
        If the states cannot be compared: their classes or options differ, or their groups have keys of other kinds.

    Examples
    --------
    >>> import streamce as ce
    >>> a, b = ce.MeanLoss().update([0.5, 1.0]), ce.MeanLoss().update([1.0]).update([0.5])
    >>> ce.diff_states(a, b).equal
    True
    >>> print(ce.diff_states(a, b.update([0.75])))
    different: B has 1 more sample, the values are equal
                 A      B        A - B
    value        0.75   0.75     0
    samples      2      3        -1
    count        2      3        -1
    total        1.5    2.25     -0.75
    sum of n^2   1.25   1.8125   -0.5625
    """
    for name, metric in (("a", a), ("b", b)):
        if not isinstance(metric, MergeableState):
            raise InputError(name, f"is {short_repr(metric)}", "a metric")
    a._check_compatible(b._header())
    return _diff(a.copy(), b.copy())


def _diff(a: Any, b: Any) -> StateDiff:
    sections = a._sections()
    if "members" in sections:
        ours, theirs = a._members(), b._members()
        metrics = {name: _diff(metric, theirs[name]) for name, metric in ours.items()}
        return StateDiff(all(each.equal for each in metrics.values()), metrics=metrics)
    if "current" not in sections:
        return _diff_sums(a, b)
    current = _diff_current(a, b)
    quantities, parts = list(current.quantities), list(current.parts)
    names = [TABLES[section] for section in sections if section in TABLES]
    for name in names:
        parts += _diff_table(name, a, b)
    if "panes" in names:
        quantities += _diff_clocks(a._state.parts(), b._state.parts())
    if not names:
        parts += _diff_window(a._state.parts(), b._state.parts())
    return StateDiff(a == b, tuple(quantities), tuple(parts))


def _diff_current(a: Any, b: Any) -> StateDiff:
    """Return the differences of the samples that count now, of all groups together."""
    try:
        ours, theirs = a._current(), b._current()
    except InputError:  # more was subtracted than had been added, so weights cannot decay
        return StateDiff(False, (_quantity("value", None, None),))
    return _diff(ours, theirs)


# ---- sums ----


def _diff_sums(a: Any, b: Any) -> StateDiff:
    """Return the differences of two metrics that wrap no other."""
    ours, theirs = a._state.parts(), b._state.parts()
    parts: list[PartDiff] = []
    totals: dict[str, list[Quantity]] = {}  # by the name of the state and of the ratio
    sizes: list[Quantity] = []
    for path in sorted(ours.keys() | theirs.keys()):
        one, other = (Ledger.from_bytes(each[path]) if path in each else Ledger(1) for each in (ours, theirs))
        if path.endswith("total"):
            totals |= _diff_total(path.rpartition(".")[0], a, one, other)
        else:
            sizes += _diff_sizes(path, a, one, other)
            parts += _diff_cells(path, a, one, other)
    quantities = [_quantity("value", _value(a), _value(b))]
    if not totals.keys() <= {"", *RATIOS}:  # several states, of the same samples unless it is a GANCrossEntropy
        quantities.append(_quantity("samples", _number(a), _number(b)))
        common = set.intersection(*(set(each) for each in totals.values()))
        quantities += [each for each in next(iter(totals.values())) if each in common and each.name != "samples"]
        totals = {name: [each for each in found if each not in common] for name, found in totals.items()}
    for name, found in totals.items():
        quantities += [each._replace(name=f"{name}: {each.name}") if name else each for each in found]
    return StateDiff(ours == theirs, (*quantities, *sizes), tuple(parts))


def _diff_total(state: str, metric: Any, a: Ledger, b: Ledger) -> Iterator[tuple[str, list[Quantity]]]:
    """Yield the counters and sums that differ, by the name of the state and of the ratio."""
    ratios = ("", *(RATIOS[:1] if metric.options.get("divergence") else RATIOS[1:]))
    for number in range(max(a.size, b.size)):
        cells = (each.cell(number) if number < each.size else {} for each in (a, b))
        name = state or ratios[number]
        yield name, list(_diff_cell(*cells, with_samples=not name))


def _diff_cell(a: Cell, b: Cell, *, with_samples: bool) -> Iterator[Quantity]:
    """Yield the counters and sums in which two cells differ. ``with_samples`` yields their number in any case."""
    counters = ("samples", *(name for name in COUNTS if name != "samples"))
    for name in (*counters, *(name for name in COUNTER_NAMES if name not in COUNTS)):
        ours, theirs = a.get(name, 0), b.get(name, 0)
        if ours != theirs or (with_samples and name == "samples"):
            label = name if name in COUNTS else f"{SUMS[name[:-4]]}, terms of {name[-4:]}"
            yield Quantity(label, ours, theirs, ours - theirs)
    full_a, full_b = estimators.full_sums(a), estimators.full_sums(b)
    for name in SUM_NAMES:
        if a.get(name) != b.get(name):  # the stored integers, so that weights of 1 give no rows
            ours, theirs = full_a[name], full_b[name]
            yield Quantity(SUMS[name], quotient(ours, GRID), quotient(theirs, GRID), quotient(ours - theirs, GRID))


def _nouns(path: str, metric: Any) -> tuple[str, str]:
    """Return the name of a part, and what its cells are."""
    state, _, part = path.rpartition(".")
    nouns = next((CELLS[section] for section in metric._sections() if section in CELLS), "cells")
    name, entries = PARTS.get(part, (nouns, nouns))
    return f"{state}: {name}" if state else name, entries


def _diff_sizes(path: str, metric: Any, a: Ledger, b: Ledger) -> Iterator[Quantity]:
    """Yield the numbers of classes or labels if they differ."""
    _, entries = _nouns(path, metric)
    if entries in ("classes", "labels") and a.size != b.size and a.used() and b.used():
        yield Quantity(f"number of {entries}", a.size, b.size, a.size - b.size)


def _diff_cells(path: str, metric: Any, a: Ledger, b: Ledger) -> Iterator[PartDiff]:
    """Yield the cells in which a ledger of two states differs, if there are any."""
    names = metric.options.get("classes") or ()
    ours, theirs = _of_ledger(a), _of_ledger(b)

    def show(number: int) -> str:
        return names[number] if number < len(names) else str(number)

    found = _diff_entries(_nouns(path, metric), ours, theirs, show if path.endswith("cells") else None)
    if found.differing:
        yield found._replace(number=max(a.size, b.size))


def _of_ledger(ledger: Ledger) -> Entries:
    """Return the cells of a ledger as entries."""
    return Entries(set(ledger.used()), ledger.cell, lambda number: _mean(ledger.cell(number)))


def _mean(cell: Cell) -> float | None:
    try:
        return estimators.ratio(cell)
    except InputError:  # more was subtracted than had been added
        return None


def _value(metric: Any) -> float | None:
    """Return the value of a metric, None if more was subtracted than had been added."""
    try:
        value: float = metric.compute()
    except InputError:
        return None
    return value


def _number(metric: Any) -> int | None:
    """Return the number of samples of a metric, None if more was subtracted than had been added."""
    try:
        number: int = metric._n_samples()
    except InputError:
        return None
    return number


def _quantity(name: str, a: float | None, b: float | None) -> Quantity:
    if a is None or b is None:
        return Quantity(name, a, b, None)
    return Quantity(name, a, b, type(a)(0) if repr(a) == repr(b) else a - b)  # nan and inf are equal to themselves


# ---- tables ----


def _diff_table(name: str, a: Any, b: Any) -> Iterator[PartDiff]:
    """Yield the groups, panes or half-lives in which two wrappers differ, if there are any."""
    if name == "groups":
        _check_kinds(a, b)
    if a._state.parts() == b._state.parts():
        return
    is_compact = name != "panes" and a._state.is_compact and b._state.is_compact
    ours, theirs = (_of_cells(each) if is_compact else _of_states(each) for each in (a, b))
    has_times = name != "half-lives" and a.options["period"] is not None

    def show(key: Any) -> str:
        last = key[-1] if isinstance(key, tuple) else key
        return format_key(key) + " UTC" * (has_times and isinstance(last, dt.datetime))

    found = _diff_entries((name, name), ours, theirs, show)
    if found.differing:  # not if only the clocks of panes differ
        yield found


def _of_cells(metric: Any) -> Entries:
    """Return the entries of a wrapper whose table is compact."""
    cells, ledger = metric._state.sorted_cells()
    return Entries(
        cells.keys(),
        lambda key: ledger.cell(cells[key]),
        lambda key: _value(_with_state(metric.metric, State(ledger.at(cells[key])))),
    )


def _of_states(metric: Any) -> Entries:
    states = metric._state.sorted()
    return Entries(
        states.keys(), lambda key: states[key].parts(), lambda key: _value(_with_state(metric.metric, states[key]))
    )


def _with_state(metric: Any, state: Any) -> Any:
    metric._state = state
    return metric


def _check_kinds(a: Any, b: Any) -> None:
    """Raise InputError if the keys of two ``Grouped`` have different kinds."""
    kinds = b._state.kinds
    try:
        if kinds is not None:
            a._state.check(kinds)
    except InputError:
        texts = [" and ".join(kind or "None" for kind in each._state.kinds) for each in (a, b)]
        found = f"is of kind {texts[0]} in one state and {texts[1]} in the other: their groups cannot be compared"
        raise InputError("by", found) from None


def _diff_entries(names: tuple[str, str], a: Entries, b: Entries, show: Callable[[Any], str] | None = None) -> PartDiff:
    """Return the entries of a part that differ, with their values if ``show`` returns the text of a key."""
    only_a, only_b = ([key for key in one.keys if key not in other.keys] for one, other in ((a, b), (b, a)))
    differing = only_a + only_b + [key for key in a.keys if key in b.keys and a.content(key) != b.content(key)]
    first: list[Quantity] = []
    if show is not None:
        for key in heapq.nsmallest(N_FIRST, differing, sort_key):
            ours, theirs = (each.value(key) if key in each.keys else None for each in (a, b))
            first.append(_quantity(show(key), ours, theirs))
    number = len(a.keys) + len(only_b)
    return PartDiff(*names, len(differing), number, len(only_a), len(only_b), tuple(first))


def _diff_clocks(a: Mapping[str, bytes], b: Mapping[str, bytes]) -> Iterator[Quantity]:
    """Yield the starts of the newest panes if they differ."""
    ours, theirs = _clock(a), _clock(b)
    if ours != theirs:
        yield Quantity("newest pane", ours, theirs, None)


def _clock(parts: Mapping[str, bytes]) -> str | None:
    if "newest" not in parts:
        return None
    return f"{EPOCH + (int.from_bytes(parts['newest'], 'big') - INT64_END) * MICROSECOND} UTC"


def _diff_window(a: dict[str, bytes], b: dict[str, bytes]) -> Iterator[PartDiff]:
    """Yield the samples in which two windows of samples differ, counted from the newest, if there are any."""
    rows = [_samples(parts)[::-1] for parts in (a, b)]
    ours, theirs = (Entries(range(len(each)), each.__getitem__) for each in rows)
    found = _diff_entries(("window", "samples"), ours, theirs)
    if found.differing:
        yield found


def _samples(parts: Mapping[str, bytes]) -> list[bytes]:
    """Return the bytes of each sample of a window of samples, the oldest first."""
    if "states" in parts:
        data, at = parts["states"], 8
        rows = []
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            rows.append(data[at + 8 : at + 8 + length])
            at += 8 + length
        return rows
    data = parts.get("rows", struct.pack("<Q", 0))
    (number,) = struct.unpack_from("<Q", data)
    return [data[8 + ROW_BYTES * row : 8 + ROW_BYTES * (row + 1)] for row in range(number)]
