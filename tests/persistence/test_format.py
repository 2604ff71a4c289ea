"""The bytes are those of docs/FORMAT.md: its examples, its numbers and its golden files."""

import ast
import json
import re

import golden_states
import pytest
import state_reader
from paths import DOCS
from state_reader import BYTES, INT, STR
from state_writer import body, groups, key, record, sealed, u

import streamce as ce

pytestmark = pytest.mark.core

PAGE = (DOCS / "FORMAT.md").read_text(encoding="utf-8")


def test_the_example_of_the_page_is_what_is_written():
    lines = re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)", PAGE, re.MULTILINE)
    shown = b""
    for offset, some in lines:
        assert int(offset, 16) == len(shown)
        shown += bytes.fromhex(some)
    code, size = re.search(r"`(ce\..*\.to_bytes\(\))`, (\d+) bytes", PAGE).groups()
    assert shown == eval(code, {"ce": ce})
    assert len(shown) == int(size)


def test_the_columns_of_the_page_are_those_of_the_reader_and_of_the_core():
    found = [
        name
        for names in re.findall(r"^\| [\d, ]+ \| (`[^|]*`) \|", PAGE, re.MULTILINE)
        for name in re.findall(r"`(.*?)`", names)
    ]
    assert tuple(found) == state_reader.COLUMNS == ce.core.ledger.ledger.NAMES


def test_the_buckets_of_the_page():
    rows = re.findall(r"^\| `([^`]*)` \| (?:`([^`]*)`)? ?\| (\d+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 7
    for literal, raw, bucket in rows:
        cluster = ast.literal_eval(literal)
        parts = cluster if isinstance(cluster, tuple) else (cluster,)
        if raw:
            assert bytes.fromhex(raw) == b"".join(key(STR if isinstance(part, str) else INT, part) for part in parts)
            assert state_reader.bucket_of_bytes(bytes.fromhex(raw)) == int(bucket)
        else:
            assert state_reader.bucket_of_number(cluster) == int(bucket)
        found = state_reader.read(ce.MeanLoss().update([1.0], cluster=cluster).to_bytes()).parts["buckets"]
        assert list(found.cells) == [int(bucket)]


def test_groups_are_read_in_the_order_of_their_keys():
    cell = record(("count", 0, [1]))
    keys = [(None, b"z"), (-5, None), (-5, b""), (-5, b"a"), (-5, b"b"), (-5, b"aa"), (7, b"")]
    raw = [b"".join([key(INT, one), key(BYTES, other)]) for one, other in keys]
    header = {"metric": "Grouped", "options": {"metric": {"metric": "MeanLoss", "options": {}}, "period": None}}
    found = state_reader.read(sealed(body(header, (b"groups", groups([INT, BYTES], *((one, cell) for one in raw))))))
    assert list(found.parts["groups"].cells) == keys
    assert raw == sorted(raw)


# ---- golden files ----

FILES = golden_states.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_states_are_read_and_mean_what_they_meant(path):
    data = path.read_bytes()
    assert ce.load(path).to_bytes() == data
    assert json.dumps(golden_states.numbers(data), indent=1) == json.dumps(golden_states.recorded(path), indent=1)


def test_every_case_has_a_golden_state_of_this_version():
    assert {path.stem for path in FILES if path.parent.name == str(ce._support.state_format.VERSION)} == set(
        golden_states.CASES
    )


CHECKPOINTS = golden_states.checkpoints()


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_checkpoints_are_read_and_written_again_to_the_same_bytes(path, tmp_path):
    data = path.read_bytes()
    metric, positions = ce.Checkpoint(path).load()
    assert json.dumps(golden_states.held(data), indent=1) == json.dumps(golden_states.recorded(path), indent=1)
    assert json.dumps(positions) == json.dumps(golden_states.recorded(path)["positions"])
    ce.Checkpoint(tmp_path / "again").save(metric, positions)
    assert (tmp_path / "again").read_bytes() == data


def test_every_case_has_a_golden_checkpoint_of_this_version():
    version = str(ce.persistence.checkpoint.VERSION)
    assert {path.stem for path in CHECKPOINTS if path.parent.name == version} == set(golden_states.CHECKPOINTS)


@pytest.mark.parametrize("version", [0, 2, 255, 65535])
def test_another_version_of_a_checkpoint_is_refused_by_its_number(version, tmp_path):
    for path in CHECKPOINTS:
        data = path.read_bytes()
        (tmp_path / "other").write_bytes(sealed(data[:8] + u(2, version) + data[10:-16]))
        with pytest.raises(ce.InputError, match=f"version {version}, and this release reads 1"):
            ce.Checkpoint(tmp_path / "other").load()


@pytest.mark.parametrize("version", [0, 2, 255, 65535])
def test_another_version_is_refused_by_its_number(version):
    for path in FILES:
        data = path.read_bytes()
        with pytest.raises(ce.InputError, match=f"version {version}, and this release reads 1"):
            ce.from_bytes(sealed(data[:8] + u(2, version) + data[10:-16]))


def test_golden_states_hold_what_is_hard():
    """Golden states contain every possible column, and numbers of both signs and of many words."""
    columns, largest, least = set(), 0, 0
    for path in FILES:
        held = state_reader.read(path.read_bytes())
        for part in (part for part in held.parts.values() if hasattr(part, "cells")):
            for cell in part.cells.values():
                columns |= set(cell)
                largest, least = max(largest, *cell.values()), min(least, *cell.values())
    assert set(state_reader.COLUMNS) - columns == {"d-inf", "dd-inf"}  # weights are 0 or more
    assert largest > 2**2090
    assert least < -(2**1074)
