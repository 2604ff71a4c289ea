"""JSON: the value of every number, text that Python's json writes, layouts, and rows that cannot be read."""

import json
import math
import random
import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamce as ce
from streamce.cli.main import main
from streamce.reading.formats import text
from streamce.reading.formats.json_records import Layout, ScannedRecords, layout_of, split_elements, split_values
from streamce.reading.formats.json_rows import Column, RowReader, batch
from streamce.reading.formats.json_values import array, infer, type_from_json, type_to_json
from streamce.reading.formats.paths import Path

BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
TOKENS = ("--task", "sequence", "--token-log-probs", "lp")
BLOCKS = [1, 16, 61, 1 << 22]
COMMANDS = ["eval", "watch", "files"]


def found(capsys, command, folder, content, *words):
    """Return the result of a command for lines in one file, in a growing file, or in two files."""
    for file in folder.glob("*.json*"):
        file.unlink()
    lines = content.splitlines(keepends=True)
    half = len(lines) // 2
    (folder / "a.jsonl").write_bytes(content if command != "files" or not half else b"".join(lines[:half]))
    names = [folder / "a.jsonl"]
    if command == "files" and half:
        (folder / "b.jsonl").write_bytes(b"".join(lines[half:]))
        names.append(folder / "b.jsonl")
    more = ["--once", "--poll", "0"] if command == "watch" else []
    capsys.readouterr()
    status = main(["watch" if command == "watch" else "eval", *map(str, names), *words, "--json", *more])
    out, err = capsys.readouterr()
    if status != 0:
        return err
    result = json.loads(out)
    if command == "watch":
        result = {**result["metrics"]["total"], "rows_unreadable": result["unreadable_lines"]}
    return result


GOOD = {
    "mixed types in another column": (
        b'{"p":0.9,"y":1,"answer":"3"}\n{"p":0.2,"y":0,"answer":4}\n',
        BINARY,
        (-math.log(0.9) - math.log(0.8)) / 2,
    ),
    "mixed types in lists of another column": (
        b'{"p":0.9,"y":1,"resps":[[[-12.5,false]]]}\n{"p":0.2,"y":0,"resps":[["a",null]]}\n',
        BINARY,
        (-math.log(0.9) - math.log(0.8)) / 2,
    ),
    "another name twice": (b'{"x":1,"p":0.9,"x":[],"y":1}\n{"p":0.9,"y":1}\n', BINARY, -math.log(0.9)),
    "a name twice": (b'{"p":0.1,"p":0.9,"y":0,"y":1}\n{"p":0.9,"y":1}\n', BINARY, -math.log(0.9)),
    "half of a surrogate pair": (b'{"lp":[-0.5],"tokens":["\\udc80"]}\n', TOKENS, 0.5),
    "whole numbers first": (b'{"p":1,"y":1}\n{"p":1,"y":1}\n{"p":0.5,"y":1}\n', BINARY, -math.log(0.5) / 3),
    "whole log-probabilities": (b'{"lp":[-1,-1]}\n{"lp":[-2]}\n', TOKENS, 4 / 3),
    "whole labels as fractions": (b'{"p":0.5,"y":1.0}\n{"p":0.5,"y":0}\n', BINARY, math.log(2)),
    "true and false": (b'{"p":0.9,"y":true}\n{"p":0.1,"y":false}\n', BINARY, -math.log(0.9)),
    "another column with NaN": (b'{"p":0.5,"y":1,"x":NaN}\n{"p":0.5,"y":1,"x":[Infinity]}\n', BINARY, math.log(2)),
    "infinite logits": (
        b'{"p":Infinity,"y":1}\n{"p":-Infinity,"y":0}\n{"p":0,"y":1}\n',
        (*BINARY, "--kind", "logits"),
        math.log(2) / 3,
    ),
    "numbers beyond float64": (
        b'{"p":1e400,"y":1}\n{"p":-%b,"y":0}\n{"p":0,"y":1}\n' % (b"9" * 5000),
        (*BINARY, "--kind", "logits"),
        math.log(2) / 3,
    ),
    "a number of many digits elsewhere": (b'{"x":%b,"p":0.5,"y":1}\n' % (b"1" * 9999), BINARY, math.log(2)),
    "names with escapes": (
        b'{"p\\"\\n":0.9,"y":1}\n',
        ("--task", "binary", "--preds", 'p"\n', "--target", "y"),
        -math.log(0.9),
    ),
    "blank lines and CRLF": (b'\r\n{"p":0.5,"y":1}\r\n\r\n \t{"p":0.5,"y":1} \r\n\n', BINARY, math.log(2)),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", GOOD)
def test_good_rows_have_the_right_value(tmp_path, capsys, monkeypatch, name, command):
    content, words, expected = GOOD[name]
    for block in BLOCKS:
        monkeypatch.setattr(text, "TEXT_BLOCK", block)
        assert found(capsys, command, tmp_path, content, *words)["value"] == pytest.approx(expected, rel=1e-12)


def test_a_byte_order_mark_is_no_text(tmp_path, capsys):
    for content in (b'{"p":0.5,"y":1}\n', b'[{"p":0.5,"y":1}]', b'{"p":0.5,\n"y":1}\n'):
        assert found(capsys, "eval", tmp_path, b"\xef\xbb\xbf" + content, *BINARY)["count"] == 1


BAD = {
    b'{"p": 0.5, "y"': "cannot be read: Expecting ':' delimiter at character 14: '{\"p\": 0.5, \"y\"'",
    b"[1]": "is not a JSON object: '[1]'",
    b"3": "is not a JSON object: '3'",
    b"null": "is not a JSON object: 'null'",
    b'{"p":0.5,"y":1}{"p":0.5,"y":1}': 'cannot be read: Extra data at character 15: \'{"p":0.5,"y":1}{"p":0.5,"y":1}\'',
    b'{"p":"high","y":1}': "column 'p' is 'high', expected a number",
    b'{"p":"0.5","y":1}': "column 'p' is '0.5', expected a number: write it without quotes",
    b'{"p":true,"y":1}': "column 'p' is True, expected a number",
    b'{"p":[0.5],"y":1}': "column 'p' is [0.5], expected a number",
    b'{"p":{},"y":1}': "column 'p' is {}, expected a number",
    b'{"p":0.5,"y":"\xff"}': 'cannot be read: byte 14 is not UTF-8: \'{"p":0.5,"y":"\ufffd"}\'',
    b'{"p":0.5,"y":1,"x":%b}'
    % (b"[" * 100_000 + b"]" * 100_000): "cannot be read: lists or objects are nested too deeply",
    b'{"p":0.5,"y":1,"x":%b1%b}' % (b'{"a":' * 100_000, b"}" * 100_000): (
        "cannot be read: lists or objects are nested too deeply"
    ),
}
ROW = b'{"p":0.25,"y":1}\n'


@pytest.mark.parametrize("command", ["eval", "watch"])
@pytest.mark.parametrize("line", BAD, ids=lambda line: line[:20].decode(errors="replace"))
def test_a_row_that_cannot_be_read_is_an_error_or_skipped(tmp_path, capsys, monkeypatch, line, command):
    for block in (16, 1 << 22):
        monkeypatch.setattr(text, "TEXT_BLOCK", block)
        content = ROW * 2 + line + b"\n" + ROW * 3 + line + b"\n" + ROW
        error = found(capsys, command, tmp_path, content, *BINARY)
        assert error.endswith(f"a.jsonl: row 2: {BAD[line]}\n")
        result = found(capsys, command, tmp_path, content, *BINARY, "--invalid", "skip")
        assert (result["count"], result["rows_unreadable"], result["skipped"]) == (6, 2, 0)
        assert result["value"] == pytest.approx(math.log(4))


@pytest.mark.parametrize("command", COMMANDS)
def test_nan_null_and_a_missing_key_are_invalid_rows(tmp_path, capsys, command):
    content = ROW + b'{"p":NaN,"y":1}\n{"p":null,"y":1}\n{"y":1}\n{"p":0.5}\n' + ROW
    result = found(capsys, command, tmp_path, content, *BINARY, "--invalid", "skip")
    assert (result["count"], result["invalid_nan"], result["invalid_null"]) == (2, 1, 3)
    assert result["rows_unreadable"] == 0


@pytest.mark.parametrize("command", ["eval", "watch"])
def test_a_key_with_half_of_a_surrogate_pair_is_named(tmp_path, capsys, command):
    content = b'{"p":0.5,"y":1,"u":"\\ud83d\\ude00"}\n{"p":0.5,"y":1,"u":"\\udc80"}\n'
    words = (*BINARY, "--cluster", "u")
    expected = "row 1: column 'u' is '\\udc80', which is not Unicode text: it has half of a surrogate pair"
    assert found(capsys, command, tmp_path, content, *words).endswith(f"{expected}\n")
    result = found(capsys, command, tmp_path, content, *words, "--invalid", "skip")
    assert (result["count"], result["rows_unreadable"]) == (1, 1)


def test_the_first_row_decides_whether_keys_are_text(tmp_path, capsys, monkeypatch):
    rows = [{"p": 0.5, "y": 1, "u": None}, {"p": 0.5, "y": 1, "u": 7}, {"p": 0.5, "y": 1, "u": "7"}]
    content = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    for block in BLOCKS:
        monkeypatch.setattr(text, "TEXT_BLOCK", block)
        for command in ("eval", "watch"):
            error = found(capsys, command, tmp_path, content, *BINARY, "--cluster", "u", "--invalid", "skip")
            assert "cluster" in error or error["rows_unreadable"] == 1


def column_of(*values, type_=None):
    """Return a column as it is read from lines with these texts."""
    lines = b"".join(b'{"x":%b}\n' % value for value in values)
    if type_ is None:
        type_ = infer(RowReader({"x": Column(Path("x"))}).read_lines(lines).columns[0])
    columns, rows = batch(RowReader({"x": Column(Path("x"), type_)}).read_lines(lines), {"x": type_})
    assert rows.first_error is None
    return columns.column(0)


def test_numbers_are_the_nearest_doubles():
    rng = random.Random(5)
    texts = ["-0.0", "1E-324", "5e-324", "2.2250738585072011e-308", "9007199254740993", "18446744073709551616", "1e23"]
    for _ in range(20_000):
        value = rng.random() * 2.0 ** rng.randint(-1000, 1000)
        digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 40))).lstrip("0") or "0"
        texts += [repr(value), f"{digits}e{rng.randint(-340, 260)}", f"0.{digits}"]
    read = column_of(*(each.encode() for each in texts), type_=pa.float64()).to_pylist()
    assert [value.hex() for value in read] == [float(each).hex() for each in texts]


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        ([b"1", b"2.0", b"null"], pa.int64(), [1, 2, None]),
        ([b"1", b"2.5"], pa.float64(), [1.0, 2.5]),
        ([b"1", b"NaN"], pa.float64(), [1.0, math.nan]),
        ([b"18446744073709551615", b"0"], pa.uint64(), [(1 << 64) - 1, 0]),
        ([b"-1", b"18446744073709551615"], pa.float64(), [-1.0, 2.0**64]),
        ([b"true", b"null"], pa.bool_(), [True, None]),
        ([b'"2024-01-01"', b'""', b'"\\u00e9"'], pa.string(), ["2024-01-01", "", "é"]),
        ([b"[]", b"[1]", b"[2.0,null]", b"null"], pa.list_(pa.int64()), [[], [1], [2, None], None]),
        ([b"[[0.5],[]]", b"[]"], pa.list_(pa.list_(pa.float64())), [[[0.5], []], []]),
        ([b"null", b"null"], pa.null(), [None, None]),
    ],
)
def test_types_follow_the_values(values, type_, expected):
    column = column_of(*values)
    assert column.type == type_
    assert str(column.to_pylist()) == str(expected)
    if not pa.types.is_null(type_):
        assert type_from_json(json.loads(json.dumps(type_to_json(type_)))) == type_


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([0.5, -0.0, float("nan"), float("inf"), 5e-324], pa.float64()),
        ([], pa.float64()),
        ([0.5, None], pa.float64()),
        ([[0.5, 1.0], [], [-0.0]], pa.list_(pa.float64())),
        ([[]], pa.list_(pa.float64())),
        ([[0.5], None, []], pa.list_(pa.float64())),
        ([[0.5, None], [1.0]], pa.list_(pa.float64())),
        ([1, 2], pa.int64()),
        (["a", None], pa.string()),
        ([[[0.5]], []], pa.list_(pa.list_(pa.float64()))),
    ],
)
def test_arrays_equal_those_of_arrow(values, type_):
    found, expected = array(values, type_), pa.array(values, type_)
    found.validate(full=True)
    assert (found.type, found.null_count, len(found)) == (type_, expected.null_count, len(expected))
    assert repr(found.to_pylist()) == repr(expected.to_pylist())  # -0.0 and nan, too


def test_fractions_are_no_whole_numbers():
    reader = RowReader({"x": Column(Path("x"), pa.int64())})
    columns, rows = batch(reader.read_lines(b'{"x":1}\n{"x":1.5}\n{"x":2.0}\n'), {"x": pa.int64()})
    assert columns.column(0).to_pylist() == [1, 2]
    assert str(rows.first_error) == "row 1: column 'x' is 1.5, expected a whole number"


# ---- layouts ----

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(
    st.fixed_dictionaries({"p": st.floats(0, 1), "y": st.integers(0, 1)}, optional={"x": VALUES, '{"': VALUES}),
    min_size=1,
    max_size=6,
)


def written(rows, layout, indent):
    separator = {"array": ",", "values": "\n", "lines": "\n"}[layout]
    body = separator.join(json.dumps(row, indent=None if layout == "lines" else indent) for row in rows)
    return (f"[{body}]" if layout == "array" else body).encode()


@settings(max_examples=60, deadline=None)
@given(OBJECTS, st.sampled_from(["lines", "array", "values"]), st.sampled_from([None, 1]), st.integers(1, 40))
def test_every_layout_has_the_same_rows_wherever_it_is_cut(tmp_path_factory, rows, layout, indent, block):
    folder = tmp_path_factory.mktemp("layout")
    (folder / "a.json").write_bytes(written(rows, layout, indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "TEXT_BLOCK", max(block, 1 << 20) if layout == "values" else block)
        assert main(["eval", str(folder / "a.json"), *BINARY, "--state", str(folder / "S")]) == 0
    once = ce.BinaryCrossEntropy().update([row["p"] for row in rows], [row["y"] for row in rows])
    assert (folder / "S").read_bytes() == once.to_bytes()


@given(st.lists(VALUES, min_size=1, max_size=5), st.lists(st.integers(1, 30), min_size=1), st.sampled_from([None, 1]))
def test_records_are_found_whatever_the_pieces(values, sizes, indent):
    data = json.dumps(values, indent=indent, ensure_ascii=False).encode(errors="surrogatepass")
    records, start, blocks = ScannedRecords(Layout.ARRAY), 0, []
    for i in range(len(data)):
        if start < len(data):
            size = sizes[i % len(sizes)]
            blocks += records.add(data[start : start + size])
            start += size
    blocks += records.finish()
    assert b"".join(blocks).rstrip() == data
    inside = data.strip()[1:-1]
    assert repr([json.loads(each) for each in split_elements(inside)]) == repr(json.loads(data))


@pytest.mark.parametrize(
    ("start", "layout"),
    [
        (b'{"p":1}\n{"p":2}', Layout.LINES),
        (b'{"p":1}', Layout.LINES),
        (b'{"p"\n{"p":2}\n', Layout.LINES),
        (b'{"p":\n1}\n{"p":2}', Layout.VALUES),
        (b'{"p":NaN\n} {"p":2}', Layout.VALUES),
        (b'{"p":1}{"p":2}\n', Layout.VALUES),
        (b' [{"p":1}]', Layout.ARRAY),
        (b'[\n{"p":1}\n]\n', Layout.ARRAY),
        (b'[{"p":[', Layout.ARRAY),
        (b'[1]\n{"p":1}\n', Layout.LINES),
        (b"3\n", Layout.LINES),
        (b"", Layout.LINES),
    ],
)
def test_the_start_of_a_text_decides_its_layout(start, layout):
    assert layout_of(start) is layout


def test_values_are_split_outside_of_strings():
    data = rb'{"a":"}{\"\\"} {"b":[{}]}' + b"\n3"
    assert [json.loads(each) for each in split_values(data)] == [{"a": '}{"\\'}, {"b": [{}]}, 3]


@pytest.mark.parametrize(
    ("content", "row", "message"),
    [
        (b'[{"p":0.5,"y":1},{"p":0.5,"y":1}', 1, "the array is not closed"),
        (b'[{"p":0.5,"y":1},', 1, "the array is not closed"),
        (b'[{"p":0.5,"y":1},{"p":0.5', 1, "the array is not closed"),
        (b'[{"p":0.5,"y":1},{"p":,"y":1},{"p":0.5,"y":1}]', 1, "cannot be read: Expecting value"),
        (b'[{"p":0.5,"y":1},3,{"p":0.5,"y":1}]', 1, "is not a JSON object: '3'"),
        (b'[{"p":0.5,"y":1},,{"p":0.5,"y":1}]', 1, "cannot be read: there is nothing before a comma"),
        (b'{"p":0.5,\n"y":1} {"p":,\n"y":1} {"p":0.5,\n"y":1}', 1, "cannot be read: Expecting value"),
    ],
)
@pytest.mark.parametrize("block", [7, 1 << 22])
def test_an_element_that_cannot_be_read_is_named_or_skipped(
    tmp_path, capsys, monkeypatch, content, row, message, block
):
    if content.startswith(b"{"):
        block = 1 << 22
    monkeypatch.setattr(text, "TEXT_BLOCK", block)
    assert f"row {row}: {message}" in found(capsys, "eval", tmp_path, content, *BINARY)
    result = found(capsys, "eval", tmp_path, content, *BINARY, "--invalid", "skip")
    assert result["rows_unreadable"] == 1
    assert result["count"] == content.count(b'"p":0.5,') - ("closed" in message and content.endswith(b"}"))


@pytest.mark.parametrize("block", [3, 1 << 22])
@pytest.mark.parametrize("more", [b"]", b'[{"p":0.5,"y":1}]', b"x"])
def test_text_after_the_end_of_an_array_is_an_error(tmp_path, capsys, monkeypatch, more, block):
    monkeypatch.setattr(text, "TEXT_BLOCK", block)
    content = b'[{"p":0.5,"y":1}]\t' + more
    assert "text follows the end of the array" in found(capsys, "eval", tmp_path, content, *BINARY)


def test_an_element_of_an_array_has_a_limit(tmp_path, capsys, monkeypatch):
    long_row = b'{"p":0.5,"y":1,"x":"%b"}' % (b"a," * 300)
    for block in (50, 1 << 22):
        monkeypatch.setattr(text, "TEXT_BLOCK", block)
        content = b'[{"p":0.5,"y":1},' + long_row + b"]"
        error = found(capsys, "eval", tmp_path, content, *BINARY, "--max-record", "400")
        assert "row 1: a record of more than 400 bytes: --max-record" in error
        assert found(capsys, "eval", tmp_path, content, *BINARY, "--max-record", "1K")["count"] == 2


@pytest.mark.parametrize("layout", ["array", "values"])
def test_a_run_resumes_within_an_array(tmp_path, monkeypatch, capsys, layout):
    from streamce.reading import reader
    from streamce.reading.files.sources import find_sources
    from streamce.reading.selection import Selection

    rows = [{"x": [{"z": 1}], "p": i / 50, "y": i % 2} for i in range(50)]
    (tmp_path / "a.json").write_bytes(written(rows, layout, 1))
    monkeypatch.setattr(text, "TEXT_BLOCK", 200 if layout == "array" else 1000)
    selection = Selection(("p",), ("y",))

    def reading():
        return reader.Reading(find_sources([str(tmp_path / "a.json")]), lambda *_: selection, 1, 1, 3)

    ends = [chunk.end for chunk in reading().lazy_chunks()]
    assert len({end.mark.piece for end in ends}) > 1
    for end in ends:
        preds = [value for chunk in reading().lazy_chunks(end) for value in chunk.preds.tolist()]
        assert preds == [row["p"] for row in rows[end.mark.row :]]


def test_objects_keyed_by_token_take_little_time_and_memory(tmp_path):
    rng = random.Random(1)
    names = [f"tok{i}" for i in range(20_000)]
    position = [{rng.choice(names): -rng.random() for _ in range(5)} for _ in range(256 * 50)]
    with open(tmp_path / "a.jsonl", "w") as file:
        for i in range(256):
            file.write(json.dumps({"lp": [-0.5] * 50, "top_logprobs": position[50 * i : 50 * i + 50]}) + "\n")
    (tmp_path / "b.jsonl").write_text('{"lp": [-0.5]}\n')
    script = (
        "import sys, time; from streamce.cli.main import main; start = time.perf_counter(); main(sys.argv[1:]); "
        "print(time.perf_counter() - start, next(l.split()[1] for l in open('/proc/self/status') if 'VmHWM' in l))"
    )

    def measured(name):
        command = [sys.executable, "-c", script, "eval", str(tmp_path / name), *TOKENS]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return map(float, done.stdout.splitlines()[-1].split())

    (seconds, kilobytes), (seconds_before, kilobytes_before) = measured("a.jsonl"), measured("b.jsonl")
    assert seconds - seconds_before < 1  # 0.05 on an idle machine
    assert kilobytes - kilobytes_before < 25_000


def test_a_long_array_on_one_line_takes_little_memory(tmp_path):
    element = json.dumps({"p": 0.5, "y": 1, "x": "a" * 900})
    with open(tmp_path / "a.json", "w") as file:
        file.write("[" + element)
        for _ in range(300):
            file.write(("," + element) * 1000)
        file.write("]")
    script = (
        "import sys; from streamce.cli.main import main; main(sys.argv[1:]); "
        "print(next(l.split()[1] for l in open('/proc/self/status') if 'VmHWM' in l))"
    )
    command = [sys.executable, "-c", script, "eval", str(tmp_path / "a.json"), *BINARY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "losses          300,001" in done.stdout
    assert int(done.stdout.splitlines()[-1]) < 300_000
