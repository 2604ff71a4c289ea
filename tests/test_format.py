"""docs/FORMAT.md says what the bytes are: its example, its numbers and its golden files."""

import re
from pathlib import Path

import state_reader
from state_reader import BYTES, INT, STR
from state_writer import body, groups, key, record, sealed

import streamce as ce

PAGE = (Path(__file__).parent.parent / "docs" / "FORMAT.md").read_text(encoding="utf-8")


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
    assert tuple(found) == state_reader.COLUMNS == ce.core.ledger.NAMES


def test_the_buckets_of_the_page():
    rows = re.findall(r"^\| (int|bool|str) (\S+) \| (?:`([^|]*)`)? ?\| (\d+) \|", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for kind, value, raw, bucket in rows:
        if raw:
            value = None if value == "null" else value.strip("`")
            assert bytes.fromhex(raw) == key(STR, value)
            assert state_reader.bucket_of_bytes(bytes.fromhex(raw)) == int(bucket)
        else:
            number = int(value) if kind == "int" else ["false", "true"].index(value)
            assert state_reader.bucket_of_number(number) == int(bucket)


def test_groups_are_read_in_the_order_of_their_keys():
    cell = record(("count", 0, [1]))
    keys = [(None, b"z"), (-5, None), (-5, b""), (-5, b"a"), (-5, b"b"), (-5, b"aa"), (7, b"")]
    raw = [b"".join([key(INT, one), key(BYTES, other)]) for one, other in keys]
    header = {"metric": "Grouped", "options": {"metric": {"metric": "MeanLoss", "options": {}}, "period": None}}
    found = state_reader.read(sealed(body(header, (b"groups", groups([INT, BYTES], *((one, cell) for one in raw))))))
    assert list(found.parts["groups"].groups) == keys
    assert raw == sorted(raw)
