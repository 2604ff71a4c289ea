"""Printed and logged text has no control characters, and standard streams may be closed."""

import io
import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import streamce as ce
from streamce._support import printable
from streamce.cli import console_filter
from streamce.cli.main import main

COMMAND = [sys.executable, "-m", "streamce"]
# Colours, a title, a bell, backspace, a new line, DEL, C1, overrides, isolates, separators, marks.
EVIL = "a\x1b[31m\x1b]0;t\x07\x08\r\n\x7f\x9b2J\u202e\u2066\u2028\u2029\u200f\u061cz"
NAME = EVIL.replace("/", "") + ".state"
UNSAFE = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
MARKS = "\u200e\u200f\u061c"
BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
ROW = {"p": 0.25, "y": 1}


def is_safe(text):
    """Return whether text has no control characters. ZWJ and ZWNJ are allowed, because ordinary writing uses them."""
    return not any(
        unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") or unicodedata.bidirectional(c) in UNSAFE or c in MARKS
        for c in text.replace("\n", "")
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ce.BinaryCrossEntropy().update([0.5], [1]).save(NAME)
    for name in (EVIL, "b" + EVIL):
        parquet.write_table(pa.table({EVIL: [0.25], "y": [1], "p": [0.25]}), name + ".parquet")
    Path("a.csv").write_text(f'"{EVIL.replace(chr(13) + chr(10), "")}",y\n0.25,1\n')
    Path("a.jsonl").write_text(json.dumps({EVIL: 1, **ROW}) + "\n")
    Path("raw.jsonl").write_text('{"p": 0.25, "y": \x1b[31m}\n')
    Path("text.jsonl").write_text(json.dumps({"p": EVIL, "y": 1}) + "\n")
    parquet.write_table(
        pa.table({EVIL: [0.25, 0.5], "q": [0.5, 0.25], "y": [1, 0], "z": [0, 1], "g": [EVIL] * 2}), "m.parquet"
    )
    return tmp_path


def run(*arguments, **more):
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=120, check=False, **more)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("eval", EVIL, *BINARY), 1),
        (("eval", "a.csv", *BINARY), 2),
        (("eval", "a.jsonl", *BINARY, "--weight", "w"), 2),
        (("eval", "raw.jsonl", *BINARY), 1),
        (("eval", "text.jsonl", *BINARY), 1),
        (("eval", "a.jsonl", *BINARY, "--target", EVIL), 2),
        (("eval", "a.jsonl", *BINARY, "--classes", f"{EVIL},b,c"), 2),
        (("compare", "a.jsonl", EVIL, *BINARY), 1),
        (("watch", EVIL, *BINARY, "--once", "--port", "0", "--host", EVIL), 2),
        (("merge", EVIL, "-o", "out"), 1),
        (("show", EVIL), 1),
        (("report", EVIL, "-o", "out"), 1),
        (("merge", NAME, "-o", EVIL + "/none"), 2),
        (("eval", "a.jsonl", *BINARY, f"--{EVIL}"), 2),
        (("eval", "a.jsonl", "--task", EVIL), 2),
        ((EVIL,), 2),
    ],
    ids=lambda value: None if isinstance(value, int) else f"{value[0]}{len(value)}",
)
def test_an_error_is_one_line_without_control_characters(folder, words, status):
    found, out, err = run(*words)
    assert (found, out) == (status, "")
    lines = err.splitlines(keepends=True)
    assert all(line.endswith("\n") and is_safe(line) for line in lines), lines
    assert [line for line in lines if "streamce watch: serving" not in line] == lines[-1:]
    assert lines[-1].startswith("streamce: error: ")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("eval", EVIL + ".parquet", *BINARY), r"\x1b[31m"),
        (
            ("eval", "m.parquet", "--task", "multilabel", "--preds", EVIL, "--preds", "q", "--target", "y,z"),
            r"\x1b[31m",
        ),
        (("eval", "m.parquet", "--task", "binary", "--preds", "q", "--target", "y", "--by", "g"), r"\x1b[31m"),
        (("compare", EVIL + ".parquet", "b" + EVIL + ".parquet", *BINARY), r"\x1b[31m"),
        (("show", NAME), r"\x1b[31m"),
        (("merge", NAME, "-o", NAME), r"\x1b[31m"),
        (("report", NAME, "-o", EVIL + ".html"), r"\x1b[31m"),
        (("report", NAME, "-o", "-", "--title", EVIL.strip(f"{MARKS}z")), "<html"),  # ordinary writing has marks
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_result_has_no_control_characters(folder, words, shown):
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    assert shown in out
    assert is_safe(out)


def test_json_has_the_names_as_they_are_and_no_control_characters(folder):
    words = ("--task", "binary", "--preds", EVIL, "--target", "y", "--by", "g")
    status, out, err = run("eval", "m.parquet", *words, "--json")
    assert (status, err) == (0, "")
    assert out.isascii()
    assert is_safe(out)
    found = json.loads(out)
    assert (found["options"]["preds"], found["groups"][0]["key"]) == ([EVIL], EVIL)


def test_a_watch_logs_and_prints_no_control_characters(folder):
    Path("log.jsonl").write_text("".join(f"{line}\n" for line in ("\x1b[31m", json.dumps(ROW), "\u202e{")))
    os.rename("log.jsonl", EVIL + ".jsonl")
    words = ("--invalid", "skip", "--once", "--alert-above", "0.1", "--alert-samples", "1")
    status, out, err = run("watch", EVIL + ".jsonl", *BINARY, *words)
    assert status == 3
    assert len(err.splitlines()) == 2  # the lines that cannot be read, and one alert
    assert out.count(r"\x1b[31m") == 1
    assert is_safe(out + err)


def test_a_warning_about_a_checkpoint_has_no_control_characters(folder):
    words = ("eval", "a.jsonl", *BINARY, "--state", EVIL, "--resume", "--chunk-rows", "1", "--checkpoint-every", "0")
    assert run(*words)[0] == 0
    Path(EVIL + ".checkpoint").write_bytes(b"damaged")
    Path(EVIL).unlink()
    status, _, err = run(*words)
    assert (status, err.count("\n"), err[:19]) == (0, 1, "streamce: warning: ")
    assert is_safe(err)


def test_what_libraries_say_is_filtered_too(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with console_filter.filtered():
        print(EVIL)
        sys.stdout.writelines([EVIL, "\n"])
        handler = logging.StreamHandler()
        handler.emit(logging.makeLogRecord({"msg": EVIL}))
    assert (sys.stdout, sys.stderr) == (out, err)
    for text in (out.getvalue(), err.getvalue()):
        assert text.count(r"\x1b[31m") >= 1
        assert is_safe(text)


def test_every_control_character_is_filtered_and_nothing_else():
    everything = [chr(code) for code in range(sys.maxunicode + 1)]
    filtered = {c for c in everything if printable.line(c) != c}
    assert {c for c in everything if not is_safe(c) or c == "\n"} <= filtered
    rest = filtered - {c for c in everything if not is_safe(c) or c == "\n"}
    assert {unicodedata.category(c) for c in rest} == {"Cf"}
    assert "".join(filtered).isprintable() is False
    for text in ("x̄ = ½ ≤ é ✓ 漢字 עברית العربية 👩\u200d🔬", "می\u200cخواهم"):
        assert printable.line(text) == printable.lines(text) == text
    assert printable.lines("a\nb\tc") == "a\nb\\tc"
    assert printable.line("a\nb\x00\x9b\u202e\udcff") == r"a\nb\x00\x9b\u202e\udcff"


def test_what_an_encoding_lacks_is_written_out(folder):
    for name, encoding, shown in (("é", "ascii", r"\xe9"), (os.fsdecode(b"\xff"), "utf-8", r"\udcff")):
        ce.BinaryCrossEntropy().save(name)
        status, out, err = run("show", name, env={**os.environ, "PYTHONIOENCODING": encoding})
        assert (status, err, out.split(":")[0]) == (0, "", shown)


def test_exceptions_hold_names_as_they_are(folder):
    with pytest.raises(OSError, match="No such file") as caught:
        ce.load(EVIL)
    assert caught.value.filename == EVIL


# ---- streams that the caller has closed ----


@pytest.mark.parametrize(
    "words", [("watch", "-"), ("eval", "-"), ("compare", "-", "a.csv"), ("compare", "a.jsonl", "-")]
)
def test_standard_input_that_is_closed_is_one_line(folder, words):
    before = os.listdir()
    command = ["bash", "-c", 'exec "$@" <&-', "-", *COMMAND, *words, *BINARY]
    more = () if words[0] == "compare" else ("--state", "S")
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("standard input is closed\n")
    assert done.stderr.count("\n") == 1
    assert os.listdir() == before


@pytest.mark.parametrize(
    "words", [("show", NAME), ("eval", "a.jsonl", *BINARY, "--state", "S"), ("--version",)], ids=len
)
def test_standard_output_that_is_closed_is_one_line_before_anything_is_done(folder, words):
    command = ["bash", "-c", 'exec "$@" >&-', "-", *COMMAND, *words]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    expected = "streamce: error: standard output is closed: redirect it to /dev/null to discard the result\n"
    assert (done.returncode, done.stderr) == (2, expected)
    assert not Path("S").exists()


def test_nothing_is_written_to_a_file_in_place_of_closed_streams(folder):
    words = ("eval", "a.jsonl", *BINARY, "--state", "S", "--resume", "--json")
    command = ["bash", "-c", 'exec "$@" <&- 2>&-', "-", *COMMAND, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=120, check=False)
    assert (done.returncode, json.loads(done.stdout)["count"]) == (0, 1)
    assert ce.load("S").summary().count == 1


def test_streams_are_as_they_were_after_a_command(folder, capsys):
    before = sys.stdout, sys.stderr
    assert main(["show", NAME]) == 0
    assert main(["show", "none"]) == 1
    assert (sys.stdout, sys.stderr) == before
    capsys.readouterr()
