"""States as bytes and files: canonical, readable by an independent reader, and never misread."""

import copy
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import oracle
import pytest
import state_reader
from hypothesis import given
from state_writer import body, groups, key, ledger, part, record, sealed, states, u
from streams import make, streams

import streamce as ce
from streamce.core.ledger.ledger import Ledger

pytestmark = pytest.mark.core

SMALL = ce.MulticlassCrossEntropy(per_class=True).update([[0.25, 0.75], [0.5, 0.5]], [1, 0], weight=[2.0, 0.3])


MEAN = {"metric": "MeanLoss", "options": {}}
PER_CLASS = SMALL._header()
PER_LABEL = {
    "metric": "MultilabelCrossEntropy",
    "options": {**PER_CLASS["options"], "pos_weight": None, "per_label": True},
}
del PER_LABEL["options"]["per_class"]
NO_CLASS = {"metric": "MulticlassCrossEntropy", "options": {**PER_CLASS["options"], "per_class": False}}
BINARY = ce.BinaryCrossEntropy()._header()
NORMALIZED = ce.NormalizedEntropy()._header()
GROUPED = {"metric": "Grouped", "options": {"metric": MEAN, "period": None}}
NONE, INT, STR, BYTES, DATETIME, BOOL = range(6)
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # microseconds of the years 1 to 9999
TWO = record(("samples", 0, [2]), ("count", 0, [2]))
TOTAL = (b"total", ledger(1, (0, TWO)))
CLASSES = (b"cells", ledger(3, (0, TWO)))


def with_calibration(header, value, **more):
    return {**header, "options": {**header["options"], "calibration": value, **more}}


def total(*columns, **more):
    """Return a body of a metric whose only cell has these columns."""
    return body(MEAN, (b"total", ledger(1, (0, record(*columns, **more)))))


def cells(size, *some, **more):
    """Return a body of a metric with sums by class."""
    return body(PER_CLASS, (b"cells", ledger(size, *some, **more)), TOTAL)


def grouped(kinds, *some, header=GROUPED, **more):
    """Return a body of groups. Each is given by the bytes of its key, with or without its record."""
    some = [one if isinstance(one, tuple) else (one, TWO) for one in some]
    return body(header, (b"groups", groups(kinds, *some, **more)))


def grouped_of(metric=MEAN, period=None, **more):
    """Return a body of one group, with any options."""
    return grouped(
        [INT], key(INT, 7), header={"metric": "Grouped", "options": {"metric": metric, "period": period}, **more}
    )


def table_of(kinds, *some, cells=(), **more):
    """Return a body of states by key. Each is the bytes of its key and its parts. ``cells`` is another part."""
    header = {"metric": "Grouped", "options": {"metric": PER_CLASS, "period": None}}
    return body(header, *([cells] if cells else []), (b"states", states(kinds, *some, **more)))


def last_of(*parts, samples=3, length=None):
    """Return a body of the states of the last samples, each given by its parts."""
    header = {"metric": "Sliding", "options": {"metric": PER_CLASS, "period": None, "samples": samples, "step": None}}
    rows = [b"".join(part(*each) for each in one) for one in parts]
    raw = b"".join(u(8, len(row) if length is None else length) + row for row in rows)
    return body(header, (b"states", u(8, len(rows)) + raw))


# ---- round trips ----


@given(streams())
def test_bytes_come_back_as_an_equal_metric(stream):
    metric = stream.fed()
    found = ce.from_bytes(metric.to_bytes())
    assert type(found) is type(metric)
    assert found == metric
    assert found.to_bytes() == metric.to_bytes()
    assert np.array_equal(found.compute(), metric.compute(), equal_nan=True)
    assert repr(found.summary()) == repr(metric.summary())


@given(streams())
def test_bytes_can_be_read_without_streamce(stream):
    metric = stream.fed()
    found = state_reader.read(metric.to_bytes())
    assert found.metric == type(metric).__name__
    assert {**metric.options, **found.options} == metric.options
    assert {"total", "cells"} >= set(found.parts)
    for name in ("total", "cells"):
        ours = getattr(metric._state, name)
        integers = {} if ours is None else by_cell(ours)
        assert (found.parts[name].cells if name in found.parts else {}) == integers
        if integers:
            assert found.parts[name].size == ours.size


def by_cell(ledger):
    """Return the integers of a ledger that are not 0, in the form of the independent reader."""
    found = {}
    for name, column in ledger.columns().items():
        for cell, integer in column.items():
            found.setdefault(cell, {})[name] = integer
    return found


def test_the_sums_that_bytes_hold_are_those_of_the_losses():
    losses, weight = np.array([0.1, -3.0, 1e-300, 5e-324]), np.array([1.0, 0.25, 2.0, 1.0])
    found = state_reader.read(ce.MeanLoss().update(losses, weight=weight).to_bytes()).parts["total"].cells[0]
    n = losses * weight
    assert state_reader.exact(found["n"]) == oracle.total(n)
    assert state_reader.exact(found["nn"]) == oracle.total(n * n)
    assert state_reader.exact(found["d"]) + found["samples"] == oracle.total(weight)
    assert state_reader.exact(found["nd"] + found["n"]) == oracle.total(n * weight)
    assert state_reader.exact(found["dd"]) + found["samples"] == oracle.total(weight * weight)


def test_bytes_of_any_kind_are_read():
    data = SMALL.to_bytes()
    for form in (bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)):
        assert ce.from_bytes(form(data)) == SMALL


def test_pickles_and_copies_are_equal_and_independent():
    metric = ce.MulticlassCrossEntropy(axis=0, invalid="skip", threads=2, class_weight=[1.0, 2.0])
    metric.update([[0.5, 0.9], [0.5, 0.1]], [0, 1])
    before = metric.to_bytes()
    for again in (pickle.loads(pickle.dumps(metric)), copy.copy(metric), copy.deepcopy(metric), metric.copy()):
        assert again == metric
        assert again.options == metric.options
        again.update([[0.5], [0.5]], [0])
        assert again != metric
    assert metric.to_bytes() == before


def test_state_dict_comes_back():
    metric = ce.MulticlassCrossEntropy(per_class=True)
    metric.load_state_dict(SMALL.state_dict())
    assert metric == SMALL
    with pytest.raises(ce.InputError, match="eps"):
        ce.MulticlassCrossEntropy(per_class=True, eps=0.0).load_state_dict(SMALL.state_dict())
    for wrong in ({}, None, {"state": b""}):
        with pytest.raises(ce.InputError):
            metric.load_state_dict(wrong)
    assert metric == SMALL


# ---- one state, one form ----


def test_equal_states_have_equal_bytes_whatever_led_to_them():
    p, y = [0.25, 0.5, 0.75], [0, 1, 1]
    plain = ce.BinaryCrossEntropy().update(p, y)
    assert ce.BinaryCrossEntropy().update(p, y, weight=[1.0, 1.0, 1.0]) == plain
    assert ce.BinaryCrossEntropy(threads=1, invalid="skip").update(np.array(p), np.array(y)) == plain
    assert ce.BinaryCrossEntropy().update(p, [0.0, 1.0, 1.0]) == plain
    assert ce.BinaryCrossEntropy(label_smoothing=0, eps=2**-52).update(p, y) == plain
    wide = ce.BinaryCrossEntropy().update([1e-300, *p], [1, *y]) - ce.BinaryCrossEntropy().update([1e-300], [1])
    assert wide == plain


def test_an_empty_metric_holds_nothing_but_its_options():
    data = ce.MeanLoss().to_bytes()
    assert data == sealed(body(MEAN))
    assert ce.MeanLoss().update([]).to_bytes() == data


def test_options_that_change_no_loss_are_no_part_of_the_state():
    assert ce.MulticlassCrossEntropy(axis=1, threads=3, invalid="skip") == ce.MulticlassCrossEntropy()
    assert ce.BinaryCrossEntropy(kind="logits", eps=0.0) == ce.BinaryCrossEntropy(kind="logits")


def test_options_that_change_a_loss_are_part_of_the_state():
    base = ce.MulticlassCrossEntropy()
    for other in (
        ce.MulticlassCrossEntropy(kind="logits"),
        ce.MulticlassCrossEntropy(label_smoothing=0.1),
        ce.MulticlassCrossEntropy(ignore_index=-1),
        ce.MulticlassCrossEntropy(class_weight=[1.0, 1.0]),
        ce.MulticlassCrossEntropy(eps=0.0),
        ce.MulticlassCrossEntropy(per_class=True),
        ce.BinaryCrossEntropy(),
    ):
        assert other != base
        assert other.to_bytes() != base.to_bytes()


@pytest.mark.parametrize(
    ("option", "one", "other"),
    [
        ("kind", "probs", "logits"),
        ("label_smoothing", 0.0, 0.1),
        ("ignore_index", None, -100),
        ("class_weight", None, [1.0, 2.0]),
        ("eps", 0.0, 1e-9),
        ("per_class", False, True),
    ],
)
def test_merging_other_options_is_an_error_that_names_the_option(option, one, other):
    a, b = (ce.MulticlassCrossEntropy(**{option: value}) for value in (one, other))
    for merge in (lambda: a + b, lambda: a - b, lambda: a.merge(b), lambda: b.merge(a), lambda: sum([a, b])):
        with pytest.raises(ce.InputError, match=f"^{option} is") as caught:
            merge()
        assert caught.value.argument == option


def test_merging_another_class_is_an_error():
    with pytest.raises(ce.InputError, match="MeanLoss"):
        ce.BinaryCrossEntropy() + ce.MeanLoss()
    with pytest.raises(TypeError):
        ce.BinaryCrossEntropy() + 1
    assert ce.BinaryCrossEntropy() != ce.MeanLoss()
    assert ce.BinaryCrossEntropy() != b""


def test_a_failed_merge_changes_nothing():
    metric = ce.BinaryCrossEntropy().update([0.5], [1])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError):
        metric.merge(metric, ce.BinaryCrossEntropy(eps=0.0))
    three, four = (make("multiclass", 5, classes=c, per_class=True).fed() for c in (3, 4))
    for merge in (lambda: three + four, lambda: three.merge(four), lambda: four - three):
        with pytest.raises(ce.InputError, match="cells"):
            merge()
    assert metric.to_bytes() == before


# ---- damage ----


def test_every_change_of_a_single_byte_is_found():
    data = SMALL.to_bytes()
    changed = bytearray(data)
    for i, right in enumerate(data):
        for wrong in range(256):
            if wrong != right:
                changed[i] = wrong
                with pytest.raises(ce.InputError):
                    ce.from_bytes(changed)
        changed[i] = right


def test_every_truncation_and_extension_is_found():
    data = SMALL.to_bytes()
    for n in range(len(data)):
        with pytest.raises(ce.InputError):
            ce.from_bytes(data[:n])
        with pytest.raises(ce.InputError):
            ce.from_bytes(data[n + 1 :])
    for more in (b"\0", b"\n", data, data[-16:]):
        for extended in (data + more, more + data):
            with pytest.raises(ce.InputError):
                ce.from_bytes(extended)


@pytest.mark.parametrize(
    "foreign", [b"", b"\0" * 100, b"PK\x03\x04" * 20, pickle.dumps([1]), "text", None, 7, [1, 2], 1.5]
)
def test_what_is_no_state_is_an_error(foreign):
    with pytest.raises(ce.InputError, match=r"^state"):
        ce.from_bytes(foreign)


WRONG = {
    # the header
    "version": body(MEAN, TOTAL, version=2),
    "version 0": body(MEAN, TOTAL, version=0),
    "metric": body({"metric": "Median", "options": {}}, TOTAL),
    "metric of another type": body({"metric": ["MeanLoss"], "options": {}}, TOTAL),
    "no metric": body({"options": {}}, TOTAL),
    "option": body({"metric": "MeanLoss", "options": {"alpha": 1}}, TOTAL),
    "option that is no part of a state": body({"metric": "MeanLoss", "options": {"threads": 1}}, TOTAL),
    "options of another type": body({"metric": "MeanLoss", "options": 7}, TOTAL),
    "options as a list": body({"metric": "MeanLoss", "options": ["invalid"]}, TOTAL),
    "options left out": body({"metric": "BinaryCrossEntropy", "options": {}}, TOTAL),
    "no options": body({"metric": "MeanLoss"}, TOTAL),
    "value of an option": body({"metric": "BinaryCrossEntropy", "options": {"kind": [{}]}}, TOTAL),
    "value without sense": body({"metric": "BinaryCrossEntropy", "options": {"class_weight": {"a": 1}}}, TOTAL),
    "value that is huge": body({"metric": "BinaryCrossEntropy", "options": {"eps": 10**4000}}, TOTAL),
    "value of another form": body({**NO_CLASS, "options": {**NO_CLASS["options"], "eps": 0}}, TOTAL),
    "more in the header": body({**MEAN, "path": "x"}, TOTAL),
    "header with spaces": body(b'{"metric": "MeanLoss", "options": {}}', TOTAL),
    "header that is a list": body([1], TOTAL),
    "header that is no JSON": body(b"{", TOTAL),
    "header that is no text": body(b"\xff\xfe", TOTAL),
    "header that is empty": body(b"", TOTAL),
    "header with NaN": body(b'{"metric":"MeanLoss","options":{"eps":NaN}}', TOTAL),
    "header nested without end": body(b"[" * 100_000, TOTAL),
    "header twice the same key": body(b'{"metric":"MeanLoss","metric":"MeanLoss","options":{}}', TOTAL),
    "header of other letters": body('{"metric":"MeanLoss","options":{"é":0}}'.encode(), TOTAL),
    "header beyond the bytes": b"streamce" + u(2, 1) + u(4, 2**32 - 1) + b"{}",
    "header cut short": body(MEAN)[:-1],
    "nothing but a version": b"streamce" + u(2, 1),
    "calibration that is false": body(with_calibration(BINARY, False), TOTAL),
    "calibration of smoothed labels": body(with_calibration(BINARY, True, label_smoothing=0.5), TOTAL),
    "calibration of weighted classes": body(with_calibration(NO_CLASS, True, class_weight=[1.0, 2.0]), TOTAL),
    "calibration of labels": body(with_calibration(PER_LABEL, True), TOTAL),
    # parts
    "part": body(MEAN, (b"median", ledger(1, (0, TWO)))),
    "part without a name": body(MEAN, (b"", ledger(1, (0, TWO)))),
    "part that is no text": body(MEAN, (b"\xff", ledger(1, (0, TWO)))),
    "part of another metric": body(MEAN, (b"groups", groups([1], (key(1, 7), TWO)))),
    "parts in another order": body(PER_CLASS, TOTAL, (b"cells", ledger(3, (0, TWO)))),
    "a part twice": body(MEAN, TOTAL, TOTAL),
    "a part twice, each something else": body(MEAN, (b"total", ledger(1, (0, record(("n", 1, [1]))))), TOTAL),
    "a part cut short": body(MEAN, TOTAL)[:-1],
    "a part longer than it is": body(MEAN, (b"total", TOTAL[1], len(TOTAL[1]) + 1)),
    "a part shorter than it is": body(MEAN, (b"total", TOTAL[1], len(TOTAL[1]) - 1)),
    "a part beyond all bytes": body(MEAN, (b"total", TOTAL[1], 2**64 - 1)),
    "a part that wraps around": body(MEAN, (b"total", TOTAL[1], 2**63 + 7)),
    "a part of nothing": body(MEAN, (b"total", b"")),
    "a name beyond the bytes": body(MEAN) + b"\xfftotal",
    "a name without a length": body(MEAN) + b"\x05total",
    "a name alone": body(MEAN) + b"\x05",
    "more behind": body(MEAN, TOTAL) + b"\0",
    "more behind a ledger": body(MEAN, (b"total", TOTAL[1] + b"\0")),
    # ledgers
    "a total that is all 0": body(MEAN, (b"total", ledger(1))),
    "total of two cells": body(MEAN, (b"total", ledger(2, (0, TWO)))),
    "total of no cell": body(MEAN, (b"total", ledger(0, (0, TWO)))),
    "total of no cell at all": body(MEAN, (b"total", ledger(0))),
    "calibration unasked for": body(BINARY, (b"calibration", ledger(1, (0, TWO))), TOTAL),
    "calibration beyond all cells": body(
        with_calibration(BINARY, True), (b"calibration", ledger(49, (48, TWO))), TOTAL
    ),
    "calibration of too many classes": body(
        with_calibration(NO_CLASS, True), (b"calibration", ledger(150_034, (150_033, TWO))), TOTAL
    ),
    "calibration of more cells than there are": body(
        with_calibration(BINARY, True), (b"calibration", ledger(48, (0, TWO))), TOTAL
    ),
    "a tail of one of several states": body(NORMALIZED, (b"loss.tail", ledger(8194, (0, TWO)))),
    "calibration of one of several states": body(NORMALIZED, (b"loss.calibration", ledger(1, (0, TWO)))),
    "buckets of 255 cells": body(MEAN, (b"buckets", ledger(255, (0, TWO))), TOTAL),
    "cells that are not asked for": body(MEAN, (b"cells", ledger(3, (0, TWO))), TOTAL),
    "cells that are not asked for by this one": body(NO_CLASS, (b"cells", ledger(3, (0, TWO))), TOTAL),
    "cells that are all 0": cells(3),
    "cells of one class": cells(1, (0, TWO)),
    "cells of other classes than have weights": body(
        {**PER_CLASS, "options": {**PER_CLASS["options"], "class_weight": [1.0, 2.0]}},
        (b"cells", ledger(3, (0, TWO))),
        TOTAL,
    ),
    "cells beyond all memory": cells(2**63, (0, TWO)),
    "cells beyond what a reader takes": cells(2**24 + 1, (0, TWO)),
    "cells beyond 64 bits": cells(2**64 - 1, (2**64 - 2, TWO)),
    "cell out of range": cells(3, (3, TWO)),
    "cell that is huge": cells(3, (2**64 - 1, TWO)),
    "cells in another order": cells(3, (1, TWO), (0, TWO)),
    "a cell twice": cells(3, (1, TWO), (1, TWO)),
    "a cell twice whose words overflow": cells(3, *[(1, record(("n", 3, [2**63 - 1])))] * 9),
    "a cell that is 0": cells(3, (1, record()), (2, TWO)),
    "a cell fewer than there are": cells(3, (1, TWO), (2, TWO), count=1),
    "a cell more than there are": cells(3, (1, TWO), (2, TWO), count=3),
    "more cells than the ledger has": cells(2, (0, TWO), (1, TWO), (1, TWO)),
    "cells that are not there": cells(3, (1, TWO), count=2**64 - 1),
    "half a number of a cell": body(MEAN, (b"total", ledger(1, count=1) + b"\0" * 4)),
    "a cell without a record": body(MEAN, (b"total", ledger(1, count=1) + b"\0" * 8)),
    # records
    "a record cut short in its bits": body(MEAN, (b"total", ledger(1, (0, TWO[:3])))),
    "a record cut short in its words": body(MEAN, (b"total", ledger(1, (0, TWO[:-1])))),
    "a record cut short before its words": body(MEAN, (b"total", ledger(1, (0, TWO[:5])))),
    "words that are not there": body(MEAN, (b"total", ledger(1, (0, u(4, 1) + b"\0\xff")))),
    "a bit beyond the columns": total((28, 0, [1])),
    "a bit far beyond the columns": total(("count", 0, [2]), bits=1 << 31),
    "a bit without a column": total(("count", 0, [2]), bits=1 << 20),
    "no words": total(("n", 0, [])),
    "a counter of no words": total(("count", 0, [])),
    "a sum of 0": total(("n", 0, [0])),
    "a sum of 0 in many words": total(("n", 7, [0, 0, 0])),
    "a counter of 0": total(("samples", 0, [2]), ("count", 0, [0])),
    "a word of 0 below": total(("n", 0, [0, 5])),
    "a word of 0 above": total(("n", 3, [5, 0])),
    "a word of the sign above": total(("n", 3, [2**64 - 5, 2**64 - 1])),
    "two words of the sign above": total(("n", 3, [2**63, 2**64 - 1, 2**64 - 1])),
    "a counter of two words": total(("count", 0, [1, 1])),
    "a counter of two words, one too many": total(("count", 0, [1, 0])),
    "a counter beyond 64 bits": total(("count", 1, [1])),
    "a counter of -2^63": total(("count", 0, [2**63])),
    "a counter beyond 2^62": total(("count", 0, [2**62 + 1])),
    "a counter below -2^62": total(("count", 0, [-(2**62) - 1])),
    "a sum beyond the last word": total(("n", 255, [1])),
    "a sum that ends beyond the last word": total(("n", 254, [1, 1])),
    "a sum of 2^16318": total(("n", 254, [2**62])),
    "a sum of less than -2^16318": total(("n", 253, [2**64 - 1, -(2**62) - 1])),
    "a sum of 255 words": total(("n", 1, [1] * 255)),
    # groups: the header
    "groups of no metric": grouped([INT], key(INT, 7), header={"metric": "Grouped", "options": {"period": None}}),
    "groups of no period": grouped([INT], key(INT, 7), header={"metric": "Grouped", "options": {"metric": MEAN}}),
    "groups of no options": grouped([INT], key(INT, 7), header={"metric": "Grouped", "options": {}}),
    "groups of one option more": grouped(
        [INT], key(INT, 7), header={"metric": "Grouped", "options": {**GROUPED["options"], "by": None}}
    ),
    "groups of more in the header": grouped_of(path="x"),
    "groups of null": grouped_of(None),
    "groups of a name": grouped_of("MeanLoss"),
    "groups of a list": grouped_of([MEAN]),
    "groups of an unknown metric": grouped_of({"metric": "Median", "options": {}}),
    "groups of a metric without options": grouped_of({"metric": "MeanLoss"}),
    "groups of a metric with another option": grouped_of({"metric": "MeanLoss", "options": {"eps": 0.5}}),
    "groups of a metric with more in its header": grouped_of({**MEAN, "period": None}),
    "groups of a metric whose options are left out": grouped_of({"metric": "BinaryCrossEntropy", "options": {}}),
    "groups of a metric with a value of another form": grouped_of(
        {**NO_CLASS, "options": {**NO_CLASS["options"], "eps": 0}}
    ),
    "groups of a metric with eps of logits": grouped_of(
        {**NO_CLASS, "options": {**NO_CLASS["options"], "kind": "logits"}}
    ),
    "states that are cells": table_of([INT], (key(INT, 7), [TOTAL])),
    "states without parts": table_of([INT], (key(INT, 7), [])),
    "a state and a cell of one key": table_of(
        [INT], (key(INT, 7), [CLASSES, TOTAL]), cells=(b"groups", groups([INT], (key(INT, 7), TWO)))
    ),
    "states and cells of other kinds": table_of(
        [INT], (key(INT, 7), [CLASSES, TOTAL]), cells=(b"groups", groups([STR], (key(STR, "a"), TWO)))
    ),
    "states of a kind that no key has": table_of([STR], (key(NONE, None), [CLASSES, TOTAL])),
    "states in another order": table_of([INT], *((key(INT, one), [CLASSES, TOTAL]) for one in (7, 6))),
    "states twice of one key": table_of([INT], *((key(INT, 7), [CLASSES, TOTAL]) for _ in range(2))),
    "states with parts in another order": table_of([INT], (key(INT, 7), [TOTAL, CLASSES])),
    "states of an unknown part": table_of([INT], (key(INT, 7), [(b"x", b""), TOTAL])),
    "states that are shorter than they say": table_of([INT], (key(INT, 7), [CLASSES, TOTAL], 9)),
    "states that are longer than the bytes": table_of([INT], (key(INT, 7), [CLASSES, TOTAL], 2**63)),
    "fewer states than the count": table_of([INT], (key(INT, 7), [CLASSES, TOTAL]), count=2),
    "more states than the count": table_of(
        [INT], (key(INT, 6), [CLASSES, TOTAL]), (key(INT, 7), [CLASSES, TOTAL]), count=1
    ),
    "no states": table_of([INT]),
    "groups of pairs of pairs": grouped_of(
        {"metric": "Paired", "options": {"metric": {"metric": "Paired", "options": {"metric": MEAN}}}}
    ),
    "cells of pairs": grouped_of({"metric": "Paired", "options": {"metric": MEAN}}),
    "rows of a metric with sums by class": body(
        {"metric": "Sliding", "options": {"metric": PER_CLASS, "period": None, "samples": 3, "step": None}},
        (b"rows", u(8, 1) + u(8, 0) * 3 + u(8, 0)),
    ),
    "too many states of samples": last_of([TOTAL], [TOTAL], samples=1),
    "no states of samples": last_of(),
    "a state of samples that is longer than the bytes": last_of([TOTAL], length=2**63),
    "groups of windows of samples": grouped_of(
        {"metric": "Sliding", "options": {"metric": MEAN, "period": None, "samples": 3, "step": None}}
    ),
    "groups of groups": grouped_of(GROUPED),
    "groups of groups of groups": grouped_of({"metric": "Grouped", "options": {"metric": GROUPED, "period": None}}),
    "a period of 0": grouped_of(period=0),
    "a period that is negative": grouped_of(period=-1),
    "a period that is a float": grouped_of(period=1.0),
    "a period that is true": grouped_of(period=True),
    "a period that is false": grouped_of(period=False),
    "a period that is a text": grouped_of(period="1h"),
    "a period too long": grouped_of(period=LAST + 1),
    "a period that is huge": grouped_of(period=10**4000),
    # groups: the part
    "groups in another part": body(GROUPED, (b"total", groups([INT], (key(INT, 7), TWO)))),
    "groups with a total": body(GROUPED, (b"groups", groups([INT], (key(INT, 7), TWO))), TOTAL),
    "a total without groups": body(GROUPED, TOTAL),
    "groups twice": body(GROUPED, *[(b"groups", groups([INT], (key(INT, 7), TWO)))] * 2),
    "groups that are empty": body(GROUPED, (b"groups", b"")),
    "groups of nothing but a number of parts": body(GROUPED, (b"groups", u(1, 1))),
    "groups without a count": body(GROUPED, (b"groups", u(1, 1) + u(1, INT))),
    "groups cut short in the count": body(GROUPED, (b"groups", groups([INT])[:-1])),
    "groups cut short in the kinds": body(GROUPED, (b"groups", u(1, 255) + u(1, INT) * 9)),
    "no kinds": grouped([], b""),
    "no kinds and no groups": grouped([]),
    "no groups": grouped([INT]),
    "a count of 0": grouped([INT], key(INT, 7), count=0),
    "a count less than there are": grouped([INT], key(INT, 7), key(INT, 8), count=1),
    "a count more than there are": grouped([INT], key(INT, 7), key(INT, 8), count=3),
    "a count beyond the bytes": grouped([INT], key(INT, 7), count=2**63),
    "a count beyond all bytes": grouped([INT], key(INT, 7), count=2**64 - 1),
    "more behind groups": body(GROUPED, (b"groups", groups([INT], (key(INT, 7), TWO)) + b"\0")),
    **{
        f"kind {code}": grouped([code], some)
        for code in (6, 7, 127, 128, 255)
        for some in (key(INT, 7), key(NONE, None))
    },
    "a kind that is unknown among others": grouped([INT, 6], key(INT, 7) + key(NONE, None)),
    "no kind of a part that is there": grouped([NONE], key(INT, 7)),
    "no kind of a part that is there in one key": grouped([INT, NONE], key(INT, 7) * 2, key(INT, 8) + key(NONE, None)),
    "a kind of a part that is always null": grouped([INT], key(NONE, None)),
    "a kind of strings that are always null": grouped(
        [INT, STR], key(INT, 7) + key(STR, None), key(INT, 8) + key(STR, None)
    ),
    # groups: keys
    "presence 2": grouped([INT], b"\2" + key(INT, 7)[1:]),
    "presence 255 of nothing": grouped([NONE], b"\xff"),
    "a key and nothing behind": body(GROUPED, (b"groups", groups([INT], (key(INT, 7), b"")))),
    "a count and no key": grouped([INT], count=1),
    "a key cut short": body(GROUPED, (b"groups", groups([INT], (key(INT, 7)[:-1], b"")))),
    "a key cut short after its presence": body(GROUPED, (b"groups", groups([STR], (b"\1", b"")))),
    "a key cut short in its length": body(GROUPED, (b"groups", groups([STR], (b"\1\0\0\0", b"")))),
    "a key cut short in its text": body(GROUPED, (b"groups", groups([STR], (key(STR, "abc")[:-1], b"")))),
    "a key cut short before its second part": body(GROUPED, (b"groups", groups([INT, STR], (key(INT, 7), b"")))),
    "a text beyond the bytes": grouped([STR], b"\1\xff\xff\xff\xffabc"),
    "a text beyond 2 gigabytes": grouped([STR], b"\1\x80\0\0\0abc"),
    "bytes beyond the bytes": grouped([BYTES], b"\1\xff\xff\xff\xffabc"),
    "a length in the other order": grouped([STR], b"\1\1\0\0\0a"),
    **{
        f"text that is no UTF-8: {name}": grouped([STR], key(BYTES, raw))
        for name, raw in {
            "a byte alone": b"\xff",
            "a character cut short": b"a\xc3",
            "a surrogate": b"\xed\xa0\x80",
            "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
            "two bytes for one": b"\xc0\x80",
            "three bytes for one": b"\xe0\x80\xaf",
            "beyond the last character": b"\xf4\x90\x80\x80",
            "five bytes": b"\xf8\x88\x80\x80\x80",
        }.items()
    },
    "a bool of 2": grouped([BOOL], key(BOOL, 2)),
    "a bool of -1": grouped([BOOL], key(BOOL, -1)),
    "a bool of one byte": grouped([BOOL], b"\1\1"),
    "a datetime before the year 1": grouped([DATETIME], key(DATETIME, FIRST - 1)),
    "a datetime after the year 9999": grouped([DATETIME], key(DATETIME, LAST + 1)),
    "a datetime that NumPy has for none": grouped([DATETIME], key(DATETIME, -(2**63))),
    "a datetime as late as can be": grouped([DATETIME], key(DATETIME, 2**63 - 1)),
    "keys in another order": grouped([INT], key(INT, 8), key(INT, 7)),
    "negative keys behind": grouped([INT], key(INT, 7), key(INT, -7)),
    "a null key behind": grouped([INT], key(INT, 7), key(INT, None)),
    "texts in the order of their letters": grouped([STR], key(STR, "aa"), key(STR, "b")),
    "keys of two parts in another order": grouped([INT, STR], key(INT, 7) + key(STR, "b"), key(INT, 7) + key(STR, "a")),
    "a key twice": grouped([INT], key(INT, 7), key(INT, 7)),
    "a null key twice": grouped([INT], key(INT, None), key(INT, None), key(INT, 7)),
    "a text twice": grouped([STR], key(STR, "a"), key(STR, "a")),
    "a key twice, each taking the other away": grouped(
        [INT], (key(INT, 7), record(("n", 1, [1]))), (key(INT, 7), record(("n", 1, [2**64 - 1])))
    ),
    "a group that is 0": grouped([INT], (key(INT, 7), record()), key(INT, 8)),
    "the only group is 0": grouped([INT], (key(INT, 7), record())),
    "a group of words of 0": grouped([INT], (key(INT, 7), record(("n", 0, [0])))),
    "a group of a column that is unknown": grouped([INT], (key(INT, 7), record((28, 0, [1])))),
    "a group whose record is cut short": grouped([INT], (key(INT, 7), TWO[:-1])),
    "a group of a sum out of range": grouped([INT], (key(INT, 7), record(("n", 254, [2**62])))),
    "a group of a counter out of range": grouped([INT], (key(INT, 7), record(("count", 0, [2**62 + 1])))),
    "255 parts, one cut short": body(GROUPED, (b"groups", groups([INT] * 255, (key(INT, 7) * 254, b"")))),
    "255 parts, the last of no kind": grouped([INT] * 254 + [NONE], key(INT, 7) * 255),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_bytes_that_no_metric_writes_are_an_error(wrong):
    with pytest.raises(ce.InputError, match=r"^state"):
        ce.from_bytes(sealed(wrong))
    with pytest.raises(state_reader.Malformed):
        state_reader.read(sealed(wrong))


RIGHT = {
    "a counter of -2^62": total(("count", 0, [-(2**62)])),
    "a counter of 2^62": total(("count", 0, [2**62])),
    "a top word that is needed for the sign": total(("n", 3, [2**63, 0])),
    "a top word of the sign that is needed": total(("n", 3, [5, 2**64 - 1])),
    "the largest sum": total(("n", 0, [2**64 - 1] * 254 + [2**62 - 1])),
    "the lowest sum": total(("n", 254, [-(2**62)])),
    "the smallest sum": total(("n", 0, [1])),
    "the last of many cells": cells(2**24, (2**24 - 1, TWO)),
    "every column": total(*((bit, 0, [bit + 1]) for bit in range(28))),
    "buckets": body(MEAN, (b"buckets", ledger(256, (0, TWO), (255, TWO))), TOTAL),
    "calibration": body(with_calibration(BINARY, True), (b"calibration", ledger(48, (0, TWO), (47, TWO))), TOTAL),
    "calibration of 100 classes": body(
        with_calibration(NO_CLASS, True), (b"calibration", ledger(150_033, (150_032, TWO))), TOTAL
    ),
    "no groups": body(GROUPED),
    "the first and the last integer": grouped([INT], *(key(INT, one) for one in (None, -(2**63), -1, 0, 2**63 - 1))),
    "the first and the last moment": grouped([DATETIME], *(key(DATETIME, one) for one in (None, FIRST, 0, LAST))),
    "null, false and true": grouped([BOOL], *(key(BOOL, one) for one in (None, 0, 1))),
    "texts": grouped(
        [STR], *(key(STR, one) for one in (None, "", "\0", "b", "\x7f", "aa", "\U0010ffff", "\ud7ff\ue000"))
    ),
    "bytes": grouped([BYTES], *(key(BYTES, one) for one in (None, b"", b"\0", b"\xff", b"\0\0", b"\xed\xa0\x80"))),
    "nothing but null": grouped([NONE], key(NONE, None)),
    "two parts that are null": grouped([NONE, NONE], key(NONE, None) * 2),
    "a part that is null in all keys": grouped([NONE, INT], *(key(NONE, None) + key(INT, one) for one in (None, 7))),
    "a part that is null in all but one": grouped([INT, STR], key(INT, 6) + key(STR, None), key(INT, 7) + key(STR, "")),
    "parts of all kinds": grouped(
        [INT, STR, BYTES, DATETIME, BOOL],
        key(INT, 1) + key(STR, "a") + key(BYTES, b"a") + key(DATETIME, 1) + key(BOOL, 1),
    ),
    "255 parts": grouped([INT] * 254 + [STR], key(INT, 7) * 254 + key(STR, None), key(INT, 7) * 254 + key(STR, "a")),
    "the shortest period": grouped_of(period=1),
    "the longest period": grouped_of(period=LAST),
    "groups of classes": grouped_of(NO_CLASS),
    "groups of sums by class": grouped_of(PER_CLASS),
    "states": table_of([INT], (key(INT, 7), [CLASSES, TOTAL])),
    "states and cells": table_of(
        [INT], (key(INT, 7), [CLASSES, TOTAL]), cells=(b"groups", groups([INT], (key(INT, 6), TWO)))
    ),
    "states and cells, of which one is null": table_of(
        [NONE], (key(NONE, None), [CLASSES, TOTAL]), cells=(b"groups", groups([INT], (key(INT, 6), TWO)))
    ),
    "states of samples": last_of([CLASSES, TOTAL], [], [TOTAL]),
    "groups of labels": grouped_of({**PER_LABEL, "options": {**PER_LABEL["options"], "per_label": False}}),
    "a group of every column": grouped([INT], (key(INT, 7), record(*((bit, 0, [bit + 1]) for bit in range(28))))),
    "a group of a wide window": grouped([INT], (key(INT, 7), record(("n", 0, [1] * 254)))),
}


@pytest.mark.parametrize("right", RIGHT.values(), ids=RIGHT)
def test_crafted_bytes_that_a_metric_could_have_written_are_read(right):
    assert ce.from_bytes(sealed(right)).to_bytes() == sealed(right)
    state_reader.read(sealed(right))


def test_crafted_bytes_mean_what_they_say():
    assert ce.from_bytes(sealed(body(MEAN, TOTAL))).summary().count == 2
    found = ce.from_bytes(sealed(cells(3, (0, TWO))))
    assert [summary.count for summary in found.per_class()] == [2, 0, 0]
    assert ce.from_bytes(sealed(total(("n", 3, [-5])))).summary().total == -5 * 2.0 ** (192 - 1074)


# Bytes that could take much more memory: few cells of a large ledger, wide windows in many pages, windows that
# widen with each cell, cells that are far apart.
UNFOLDING = {
    "one of many cells": lambda: cells(2**24, (2**24 - 1, TWO)),
    "one of too many cells": lambda: cells(2**27, (2**27 - 1, TWO)),
    "a wide window in each page": lambda: cells(
        2**24, *((64 * i + j, record(("n", 200 * j, [1]))) for i in range(15_000) for j in range(2))
    ),
    "all windows as wide as can be": lambda: cells(
        2**24, *((64 * i, record(*((c, 0, [1] * 250) for c in range(5)))) for i in range(100))
    ),
    "windows that widen with each cell": lambda: cells(
        6400, *((cell, record(*((c, 252 - 4 * (cell % 64), [1]) for c in range(5)))) for cell in range(6400))
    ),
    "cells far apart": lambda: cells(2**24, *((1000 * i, TWO) for i in range(16_000))),
    "a long header": lambda: body(b'{"metric":"' + b"x" * 2_000_000 + b'","options":{}}', TOTAL),
    "a header of many options": lambda: body(
        b'{"metric":"MeanLoss","options":{' + b",".join(b'"%d":0' % i for i in range(200_000)) + b"}}", TOTAL
    ),
    "a long integer in the header": lambda: body(
        b'{"metric":"MeanLoss","options":{"eps":' + b"9" * 4_000_000 + b"}}", TOTAL
    ),
    "many parts": lambda: body(MEAN, *[(b"%06d" % i, b"") for i in range(100_000)]),
    "many groups": lambda: grouped([INT], *(key(INT, i) for i in range(100_000))),
    "many groups of many parts": lambda: grouped([BYTES] * 255, *(key(BYTES, b"%05d" % i) * 255 for i in range(500))),
    "many groups of nulls": lambda: grouped([STR] * 255, *(nulls(i) for i in range(20_000))),
    "a long key": lambda: grouped([STR], key(STR, "x" * 4_000_000)),
    "many keys, each as long as what is kept together": lambda: grouped(
        [BYTES], *(key(BYTES, b"%05d" % i * 6555) for i in range(100))
    ),
    "a wide window in each page of groups": lambda: grouped(
        [INT],
        *(
            (key(INT, i), record(*((c, 252 * (i % 1024), [1]) for c in range(5))) if i % 1024 < 2 else TWO)
            for i in range(100_000)
        ),
    ),
    "windows that later groups begin with": lambda: grouped(
        [INT],
        *((key(INT, i), record(*((c, 252 * i, [1]) for c in range(5))) if i < 2 else TWO) for i in range(100_000)),
    ),
    "wide windows that sorting spreads": lambda: grouped(
        [INT],
        *(key(INT, i) for i in range(100_000) if i % 1024),
        *((key(INT, i), record(*((c, 0, [1] * 254) for c in range(5)))) for i in range(0, 100_000, 1024)),
    ),
    "groups of groups without end": lambda: body(
        b'{"metric":"Grouped","options":{"metric":' * 50_000 + b"null" + b',"period":null}}' * 50_000
    ),
    "a long integer as the period": lambda: body(
        b'{"metric":"Grouped","options":{"metric":{"metric":"MeanLoss","options":{}},"period":'
        + b"9" * 4_000_000
        + b"}}"
    ),
}


def nulls(i):
    """Return a key of 255 parts, most of them null."""
    bits = f"{i:0255b}"
    return b"".join(key(STR, "" if bit == "1" else None) for bit in bits)


@pytest.mark.parametrize("unfolding", UNFOLDING.values(), ids=UNFOLDING)
def test_crafted_bytes_take_no_memory_and_no_time(unfolding, tmp_path):
    """The test runs in its own process, which reports its memory, and is killed if it takes too long."""
    script = (
        "import pathlib, resource, sys\n"
        "import streamce as ce\n"
        "ce.from_bytes(ce.MulticlassCrossEntropy(per_class=True).update([[0.5, 0.5]], [0]).to_bytes())\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (30, 30))\n"
        "data = pathlib.Path(sys.argv[1]).read_bytes()\n"
        "def peak():\n"  # getrusage() begins with that of the process that started this one
        "    try:\n"
        "        status = pathlib.Path('/proc/self/status').read_text()\n"
        "    except OSError:\n"
        "        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    return int(status.partition('VmHWM:')[2].split()[0])\n"
        "before = peak()\n"
        "try:\n"
        "    ce.from_bytes(data)\n"
        "except ce.InputError:\n"
        "    pass\n"
        "print(peak() - before)\n"
    )
    path = tmp_path / "state"
    path.write_bytes(sealed(unfolding()))
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) * 1024 < 120e6 + 200 * path.stat().st_size


def test_sums_of_more_classes_than_a_reader_takes_are_an_error():
    row = np.broadcast_to(np.float32(0), (1, 2**24 + 1))
    metric = ce.MulticlassCrossEntropy(kind="logits", per_class=True)
    with pytest.raises(ce.InputError, match="preds has 16777217 classes"):
        metric.update(row, [0])
    assert metric == metric.copy().reset()
    assert ce.MulticlassCrossEntropy(kind="logits").update(row, [0]).summary().count == 1


def test_a_few_cells_of_a_million_come_back():
    ledger = Ledger(1_000_000)
    for cell in range(0, 1_000_000, 1024):
        for column in ("n", "nn"):
            ledger.add_integer(column, cell, (cell + 1) << 1040)
        for column in ("samples", "count"):
            ledger.add_integer(column, cell, 1)
    data = sealed(body(PER_CLASS, (b"cells", ledger.to_bytes()), TOTAL))
    assert ce.from_bytes(data).to_bytes() == data


def test_many_groups_behind_one_of_wide_windows_come_back():
    losses, weight = np.ones(20_000), np.ones(20_000)
    losses[0], weight[0], weight[1] = 1e-300, 1e300, 1e-300
    metric = ce.Grouped(ce.MeanLoss()).update(losses, by=np.arange(20_000), weight=weight)
    assert ce.from_bytes(metric.to_bytes()) == metric


def test_buckets_that_are_not_those_of_the_total_have_a_summary_too():
    """In crafted bytes, the total weight may exceed that of the buckets by far."""
    two = [(i, record(("n", 16, [i + 1]), ("samples", 0, [1]))) for i in range(2)]
    heavy = record(("n", 16, [3]), ("d", 200, [1]), ("samples", 0, [2]), ("count", 0, [2]))
    found = ce.from_bytes(sealed(body(MEAN, (b"buckets", ledger(256, *two)), (b"total", ledger(1, (0, heavy))))))
    assert found.summary().buckets == 2


def test_counts_beyond_64_bits_stand_in_a_table_too():
    full = record(("count", 0, [2**62]), ("ignored", 0, [2**62]))
    table = ce.from_bytes(sealed(grouped([INT], (key(INT, 7), full)))).to_table()
    assert table["seen"].tolist() == [2**63]
    assert table["count"].dtype == np.int64


@pytest.mark.parametrize(
    ("column", "bound"),
    [(("count", 0, [2**62]), "2^62"), (("n", 254, [2**62 - 1]), "2^15244"), (("dd", 254, [-(2**62)]), "2^15244")],
)
def test_groups_whose_sum_would_leave_its_range_are_an_error_and_no_other_sum(column, bound):
    metric = ce.from_bytes(sealed(grouped([INT], *((key(INT, i), record(column)) for i in range(4)))))
    with pytest.raises(ce.InputError, match=f"^{column[0]} of all groups together is beyond {re.escape(bound)}"):
        metric.micro()
    with pytest.raises(ce.InputError, match=f"^{column[0]} would be beyond {re.escape(bound)}"):
        metric + metric


def test_an_integer_of_any_part_that_would_leave_its_range_is_an_error_and_nothing_is_added():
    for header, name, size in ((MEAN, b"total", 1), (PER_CLASS, b"cells", 3), (MEAN, b"buckets", 256)):
        for column in (("count", 0, [2**62]), ("n", 254, [2**62 - 1]), ("dd", 254, [-(2**62)])):
            full = record(column)
            metric = ce.from_bytes(sealed(body(header, (name, ledger(size, (0, full))))))
            before = metric.to_bytes()
            with pytest.raises(ce.InputError, match=f"{column[0]} would be beyond"):
                metric += metric
            assert metric.to_bytes() == before
            assert metric - metric == metric.copy().reset()


def test_a_sum_beyond_the_last_word_is_never_another_sum():
    metric = ce.MeanLoss().update([1.5, 1.25]) - ce.MeanLoss().update([0.5, 0.5])
    for _ in range(17_000):  # its counters stay 0
        before = metric.copy()
        try:
            metric += metric
        except ce.InputError as error:
            refused = error
            break
    assert str(refused).startswith("nn would be beyond 2^15244")
    assert metric == before
    read = ce.from_bytes(before.to_bytes())
    assert read._state.total.integer("n") == before._state.total.integer("n") > 2**16000
    assert read - before == ce.MeanLoss()


# ---- files ----


def test_a_file_comes_back(tmp_path):
    path = tmp_path / "state"
    SMALL.save(path)
    assert path.read_bytes() == SMALL.to_bytes()
    assert ce.load(path) == ce.load(str(path)) == ce.load(os.fsencode(path)) == SMALL
    SMALL.save(os.fsencode(path))
    assert os.listdir(tmp_path) == ["state"]


def test_saving_replaces_the_whole_file(tmp_path):
    path = tmp_path / "state"
    path.write_bytes(b"x" * 100_000)
    SMALL.save(path)
    assert ce.load(path) == SMALL


def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    SMALL.save(tmp_path / "state")
    (tmp_path / "other").touch()
    assert (tmp_path / "state").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name):
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(OSError, match="no space"):
        SMALL.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "state"
    path.write_bytes(b"old")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        SMALL.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_saving_where_nothing_can_be_saved_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        SMALL.save(tmp_path / "missing" / "state")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):  # noqa: PT011  (which one depends on the system)
        SMALL.save(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(FileNotFoundError):
        ce.load(tmp_path / "missing")


def test_a_damaged_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "day-7.state"
    path.write_bytes(SMALL.to_bytes()[:-1])
    with pytest.raises(ce.InputError, match=r"day-7\.state: state is damaged") as caught:
        ce.load(path)
    assert caught.value.argument == "path"


def test_an_interrupt_at_any_moment_of_a_save_leaves_no_file(tmp_path):
    """Signals arrive every few microseconds, until one has hit each place."""
    script = (
        "import random, signal, sys\n"
        "from streamce._support import atomic_file\n"
        "def stop(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "for _ in range(1500):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 4e-4))\n"
        "        atomic_file.write(sys.argv[1], b'whole')\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.state")], check=True)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["a.state"])
