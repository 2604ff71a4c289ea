"""States as bytes and files: canonical, readable without us, and never read wrong."""

import copy
import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import oracle
import pytest
import state_reader
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import make, streams

import streamce as ce

SMALL = ce.MulticlassCrossEntropy(per_class=True).update([[0.25, 0.75], [0.5, 0.5]], [1, 0], weight=[2.0, 0.3])


def sealed(body):
    """A body with the checksum that belongs to it."""
    return body + hashlib.sha256(body).digest()[:16]


def body_of(header, *ledgers, version=1):
    """A body as the format note has it, for bytes that no metric would write."""
    if not isinstance(header, bytes):
        header = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    parts = [b"streamce", struct.pack("<HI", version, len(header)), header]
    for size, columns in ledgers:
        parts.append(struct.pack("<QH", size, len(columns)))
        for name, cells in columns:
            parts.append(struct.pack("<B", len(name)) + name + struct.pack("<Q", len(cells)))
            for cell, first, words in cells:
                parts.append(struct.pack("<QHH", cell, first, len(words)))
                parts += [word.to_bytes(8, "little") for word in words]
    return b"".join(parts)


MEAN = {"metric": "MeanLoss", "options": {}}
PER_CLASS = {
    "metric": "MulticlassCrossEntropy",
    "options": {name: value for name, value in SMALL.options.items() if name not in ("axis", "threads", "invalid")},
}
COUNTS = [(b"count", [(0, 0, [2])]), (b"samples", [(0, 0, [2])])]
TOTAL = (1, COUNTS)


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
    name, options, ledgers = state_reader.read(metric.to_bytes())
    assert name == type(metric).__name__
    assert {**metric.options, **options} == metric.options
    for (cells, columns), ledger in zip(ledgers, (metric._state.total, metric._state.cells), strict=False):
        assert cells == ledger.size
        assert columns == ledger.columns()


def test_the_sums_that_bytes_hold_are_those_of_the_losses():
    losses, weight = np.array([0.1, -3.0, 1e-300, 5e-324]), np.array([1.0, 0.25, 2.0, 1.0])
    _, _, [(_, columns)] = state_reader.read(ce.MeanLoss().update(losses, weight=weight).to_bytes())
    assert state_reader.exact(columns["n"][0]) == oracle.total(losses * weight)
    assert state_reader.exact(columns["d"][0]) + columns["samples"][0] == oracle.total(weight)


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
    assert data == sealed(body_of(MEAN, (1, [])))
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


@pytest.mark.parametrize(
    "body",
    {
        "version": body_of(MEAN, TOTAL, version=2),
        "version 0": body_of(MEAN, TOTAL, version=0),
        "metric": body_of({"metric": "Median", "options": {}}, TOTAL),
        "metric of another type": body_of({"metric": ["MeanLoss"], "options": {}}, TOTAL),
        "no metric": body_of({"options": {}}, TOTAL),
        "option": body_of({"metric": "MeanLoss", "options": {"alpha": 1}}, TOTAL),
        "option that is no part of a state": body_of({"metric": "MeanLoss", "options": {"threads": 1}}, TOTAL),
        "options of another type": body_of({"metric": "MeanLoss", "options": 7}, TOTAL),
        "options as a list": body_of({"metric": "MeanLoss", "options": ["invalid"]}, TOTAL),
        "options left out": body_of({"metric": "BinaryCrossEntropy", "options": {}}, TOTAL),
        "value of an option": body_of({"metric": "BinaryCrossEntropy", "options": {"kind": [{}]}}, TOTAL),
        "value without sense": body_of({"metric": "BinaryCrossEntropy", "options": {"class_weight": {"a": 1}}}, TOTAL),
        "value that is huge": body_of({"metric": "BinaryCrossEntropy", "options": {"eps": 10**4000}}, TOTAL),
        "more in the header": body_of({**MEAN, "path": "x"}, TOTAL),
        "header with spaces": body_of(b'{"metric": "MeanLoss", "options": {}}', TOTAL),
        "header that is a list": body_of([1], TOTAL),
        "header that is no JSON": body_of(b"{", TOTAL),
        "header that is no text": body_of(b"\xff\xfe", TOTAL),
        "header with NaN": body_of(b'{"metric":"MeanLoss","options":{"eps":NaN}}', TOTAL),
        "header nested without end": body_of(b"[" * 100_000, TOTAL),
        "header twice the same key": body_of(b'{"metric":"MeanLoss","metric":"MeanLoss","options":{}}', TOTAL),
        "no ledger": body_of(MEAN),
        "total of two cells": body_of(MEAN, (2, COUNTS)),
        "total of no cell": body_of(MEAN, (0, COUNTS)),
        "cells that are not asked for": body_of(MEAN, TOTAL, (3, COUNTS)),
        "cells that are all 0": body_of(PER_CLASS, TOTAL, (3, [])),
        "three ledgers": body_of(PER_CLASS, TOTAL, (3, COUNTS), (3, COUNTS)),
        "cells beyond all memory": body_of(PER_CLASS, TOTAL, (2**63, COUNTS)),
        "cells beyond a gigabyte": body_of(PER_CLASS, TOTAL, (2**26, COUNTS)),
        "cell out of range": body_of(PER_CLASS, TOTAL, (3, [(b"count", [(3, 0, [1])])])),
        "cell that is huge": body_of(MEAN, (1, [(b"count", [(2**64 - 1, 0, [1])])])),
        "column": body_of(MEAN, (1, [(b"median", [(0, 0, [1])])])),
        "column without a name": body_of(MEAN, (1, [(b"", [(0, 0, [1])])])),
        "column that is no text": body_of(MEAN, (1, [(b"\xff", [(0, 0, [1])])])),
        "columns in another order": body_of(MEAN, (1, COUNTS[::-1])),
        "a column twice": body_of(MEAN, (1, [COUNTS[0], COUNTS[0]])),
        "a column without cells": body_of(MEAN, (1, [(b"count", [])])),
        "cells in another order": body_of(PER_CLASS, TOTAL, (3, [(b"count", [(1, 0, [1]), (0, 0, [1])])])),
        "a cell twice": body_of(PER_CLASS, TOTAL, (3, [(b"count", [(1, 0, [1]), (1, 0, [1])])])),
        "a zero": body_of(MEAN, (1, [(b"n", [(0, 0, [0])])])),
        "no words": body_of(MEAN, (1, [(b"n", [(0, 0, [])])])),
        "a word of 0 below": body_of(MEAN, (1, [(b"n", [(0, 0, [0, 5])])])),
        "a word of 0 above": body_of(MEAN, (1, [(b"n", [(0, 3, [5, 0])])])),
        "a word of the sign above": body_of(MEAN, (1, [(b"n", [(0, 3, [2**64 - 5, 2**64 - 1])])])),
        "a counter beyond 64 bits": body_of(MEAN, (1, [(b"count", [(0, 1, [1])])])),
        "a counter of -2^63": body_of(MEAN, (1, [(b"count", [(0, 0, [2**63])])])),
        "columns that are not there": body_of(MEAN, (1, []))[:-2] + b"\xff\xff",
        "cells that are not there": body_of(MEAN, (1, [(b"n", [])]))[:-8] + b"\xff" * 8,
        "words that are not there": body_of(MEAN, (1, [(b"n", [(0, 0, [])])]))[:-2] + b"\xff\xff",
        "more behind": body_of(MEAN, TOTAL) + b"\0",
    }.items(),
    ids=lambda item: item[0],
)  # fmt: skip
def test_bytes_that_no_metric_writes_are_an_error(body):
    with pytest.raises(ce.InputError, match=r"^state"):
        ce.from_bytes(sealed(body[1]))


def test_crafted_bytes_that_a_metric_could_have_written_are_read():
    assert ce.from_bytes(sealed(body_of(MEAN, TOTAL))).summary().count == 2
    found = ce.from_bytes(sealed(body_of(PER_CLASS, TOTAL, (3, COUNTS))))
    assert [summary.count for summary in found.per_class()] == [2, 0, 0]


@pytest.mark.parametrize("first", [200, 65535])
def test_crafted_bytes_take_no_memory(first):
    # A megabyte that would unfold to many.
    cells = [(cell, first if cell % 2 else 0, [1]) for cell in range(50_000)]
    data = sealed(body_of(PER_CLASS, TOTAL, (1_000_000, [(b"n", cells)])))
    tracemalloc.start()
    try:
        with pytest.raises(ce.InputError, match=r"^state"):
            ce.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()


@settings(max_examples=300)
@given(st.data())
def test_damage_with_a_right_checksum_is_an_error_or_another_state(data):
    body = bytearray(SMALL.to_bytes()[:-16])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = ce.from_bytes(sealed(bytes(body)))
    except ce.InputError:
        return
    assert found.to_bytes() == sealed(bytes(body))


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
    """A signal every few microseconds, for as long as it takes to hit all places."""
    script = (
        "import random, signal, sys\n"
        "from streamce import atomic\n"
        "def stop(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "for _ in range(1500):\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 4e-4))\n"
        "        atomic.write(sys.argv[1], b'whole')\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.state")], check=True)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["a.state"])
