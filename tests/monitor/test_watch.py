"""``streamce watch``: each row of a growing source counts once, even if the source changes or the watch is killed."""

import contextlib
import io
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paths import SUPPORT
from prometheus_client.parser import text_string_to_metric_families
from pyarrow import parquet

import streamce as ce
from streamce.cli.main import main
from streamce.cli.state_lock import lock_path
from streamce.errors import DataError
from streamce.monitor import parquet_folder
from streamce.monitor.alerts import Alerts, Bound, Reference
from streamce.monitor.jsonl_source import JsonlFile
from streamce.monitor.open_source import open_source
from streamce.monitor.parquet_folder import ParquetFolder
from streamce.reading.chunk import Position
from streamce.reading.files.read_options import ReadOptions
from streamce.reading.formats.base import Mark

KILLING = SUPPORT / "killing.py"
COMMAND = [sys.executable, "-m", "streamce", "watch"]
BINARY = ("--task", "binary", "--preds", "p", "--target", "y")


def rows_of(number, seed=3):
    rng = np.random.default_rng(seed)
    return [
        {"p": float(p), "y": int(y), "t": 60.0 * i, "w": float(w)}
        for i, (p, y, w) in enumerate(
            zip(rng.random(number), rng.integers(0, 2, number), rng.random(number), strict=True)
        )
    ]


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def binary_of(rows):
    return ce.BinaryCrossEntropy().update([row["p"] for row in rows], [row["y"] for row in rows])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def watched(capsys, *arguments, status=0):
    """Run a watch with ``--once --json``, and return its result and its log without times."""
    capsys.readouterr()
    assert main(["watch", *map(str, arguments), "--once", "--poll", "0", "--json"]) == status
    out, err = capsys.readouterr()
    return json.loads(out) if out else None, said(err)


def said(err):
    """Return the lines of a log without their times."""
    lines = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ streamce watch: (.*)", line) for line in err.splitlines()]
    assert all(lines), err
    return [line[1] for line in lines]


def failure(capsys, status, *arguments):
    """Return the one error of a watch, without its log."""
    capsys.readouterr()
    assert main(["watch", *map(str, arguments), "--once", "--poll", "0"]) == status
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("streamce: error: ")]
    assert (out, len(errors)) == ("", 1)
    return errors[0].removeprefix("streamce: error: ")


# ---- the same as eval ----


def test_the_state_is_that_of_eval_and_windows_are_exact(folder, capsys):
    rows = rows_of(2500)
    Path("a.jsonl").write_bytes(lines_of(rows))
    words = ("a.jsonl", *BINARY, "--weight", "w", "--tail")
    windows = ("--window", "700", "--window", "2h", "--by-time", "t", "--step", "5min")
    found, _ = watched(capsys, *words, *windows, "--state", "S", "--chunk-rows", "77")
    assert main(["eval", *words, "--state", "E"]) == 0
    assert Path("S").read_bytes() == Path("E").read_bytes()
    p, y, w, t = (np.array([row[name] for row in rows]) for name in "pywt")
    last = ce.BinaryCrossEntropy().update(p[-700:], y[-700:], weight=w[-700:])
    late = ce.BinaryCrossEntropy().update(p[-120:], y[-120:], weight=w[-120:])  # one row per minute from 0:00 on
    assert t[-120] % 300 == 0
    assert [*found["metrics"]] == ["total", "last_700", "last_2h"]
    assert found["metrics"]["last_700"]["value"] == last.compute()
    assert found["metrics"]["last_2h"]["value"] == late.compute()
    assert found["metrics"]["last_2h"]["options"]["step"] == "5min"
    assert found["metrics"]["total"]["value"] == ce.load("E").compute()
    assert (found["rows"], found["unreadable_lines"], found["alerts"]) == (2500, 0, 0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"p_cat": 0.25, "p_dog": 0.75, "label": name} for name in ("cat", "dog", "dog")] * 5,
         ("--task", "multiclass", "--preds", "p_*", "--target", "label")),
        ([{"p": [0.25, 0.5], "y": [0, 1]}, {"p": [0.125, 0.5], "y": [1, 1]}] * 5,
         ("--task", "multilabel", "--preds", "p", "--target", "y")),
        ([{"lp": [-0.5, -1.0], "n": 9, "d": "a"}, {"lp": [-0.25], "n": 4, "d": "b"}] * 5,
         ("--task", "sequence", "--token-log-probs", "lp", "--n-bytes", "n", "--cluster", "d")),
        ([{"f": [[0.5, 0.5], [0.25, 0.75]], "y": [1]}] * 5,
         ("--task", "ctc", "--preds", "f", "--target", "y")),
    ],
    ids=["multiclass", "multilabel", "sequence", "ctc"],
)  # fmt: skip
def test_every_task_is_that_of_eval(folder, capsys, rows, words):
    Path("a.jsonl").write_bytes(lines_of(rows))
    watched(capsys, "a.jsonl", *words, "--state", "S", "--chunk-rows", "4")
    assert main(["eval", "a.jsonl", *words, "--state", "E"]) == 0
    assert Path("S").read_bytes() == Path("E").read_bytes()


def test_windows_have_the_normalized_entropy(folder, capsys):
    rows = rows_of(900)
    Path("a.jsonl").write_bytes(lines_of(rows))
    words = ("a.jsonl", *BINARY, "--normalized")
    windows = ("--window", "100", "--window", "2h", "--by-time", "t", "--step", "5min")
    found, _ = watched(capsys, *words, *windows, "--state", "S", "--chunk-rows", "77")
    assert main(["eval", *words, "--state", "E"]) == 0
    assert Path("S").read_bytes() == Path("E").read_bytes()
    p, y, t = (np.array([row[name] for row in rows]) for name in "pyt")
    expected = ce.NormalizedEntropy().update(p[-100:], y[-100:])
    assert found["metrics"]["last_100"]["value"] == expected.compute()
    window = ce.Sliding(ce.NormalizedEntropy(), period="2h", step="5min").update(p, y, by_time=t)
    assert found["metrics"]["last_2h"]["value"] == window.compute()
    Path("a.jsonl").write_bytes(lines_of([*rows, *rows_of(40)]))
    again, _ = watched(capsys, *words, *windows, "--state", "S", "--reference", "E")
    assert again["rows_resumed"] == 900
    found, log = watched(capsys, *words, *windows, "--alert-above", "1", status=3)
    summary = window.summary()
    assert summary.mean < 1.1 < summary.value
    assert any(
        re.match(r"alert begins: last_2h above: \d[\d.]+ \(.*\) in \d+ samples, expected at most 1$", each)
        for each in log
    )


def test_windows_of_a_period_have_every_sum_of_the_total(folder, capsys):
    rows = rows_of(900)
    Path("a.jsonl").write_bytes(lines_of(rows))
    words = ("--tail", "--calibration", "--window", "100", "--window", "2h", "--by-time", "t", "--step", "5min")
    found, _ = watched(capsys, "a.jsonl", *BINARY, *words)
    p, y, t = (np.array([row[name] for row in rows]) for name in "pyt")
    window = ce.Sliding(ce.BinaryCrossEntropy(tail=True, calibration=True), period="2h", step="5min")
    window.update(p, y, by_time=t)
    assert found["metrics"]["last_2h"]["tail"] == window.window().tail().to_dict()
    assert found["metrics"]["last_2h"]["calibration"]["z"] == window.window().calibration().z
    assert "tail" not in found["metrics"]["last_100"]


def test_the_result_is_printed_as_a_table(folder, capsys):
    Path("a.jsonl").write_bytes(lines_of(rows_of(300)))
    assert main(["watch", "a.jsonl", *BINARY, "--once", "--window", "50"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a.jsonl: 300 rows, binary, kind=probs\n\ntotal\ncross-entropy ")
    assert "\nlast_50\ncross-entropy " in out


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 4000), max_size=6), most=st.integers(1, 70))
def test_however_a_file_grows_and_however_often_a_watch_begins_again_the_bytes_are_the_same(folder, cuts, most):
    rows = rows_of(60)
    data = lines_of(rows)
    with contextlib.suppress(FileNotFoundError):
        os.unlink("S.checkpoint")
        os.unlink("S")
    Path("a.jsonl").write_bytes(b"")
    for start, stop in zip([0, *(cuts := sorted(cuts))], [*cuts, len(data)], strict=True):
        with open("a.jsonl", "ab") as file:
            file.write(data[start:stop])
        words = ("a.jsonl", *BINARY, "--window", "20", "--state", "S", "--chunk-rows", str(most), "--once")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main(["watch", *words]) == 0
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()
    window = ce.Sliding(ce.BinaryCrossEntropy(), samples=20)
    window.update([row["p"] for row in rows], [row["y"] for row in rows])
    assert ce.Checkpoint("S.checkpoint").load()[0]["last_20"].to_bytes() == window.to_bytes()


# ---- killed ----


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return the data of two files of lines and of several Parquet files."""
    folder = tmp_path_factory.mktemp("large")
    rows = [{"prob": row["p"], "outcome": row["y"]} for row in rows_of(40_000)]
    for name in ("lines", "parquet"):
        (folder / name).mkdir()
    for i in range(2):
        (folder / "lines" / f"{i}.jsonl").write_bytes(lines_of(rows[i::2]))
    for i in range(5):
        parquet.write_table(pa.Table.from_pylist(rows[i::5]), folder / "parquet" / f"{i}.parquet", row_group_size=1500)
    return folder


@pytest.mark.parametrize("kind", ["lines", "parquet"])
def test_a_watch_that_was_killed_dozens_of_times_has_the_same_bytes(tmp_path, large, kind):
    words = ("--task", "binary", "--preds", "prob", "--target", "outcome", "--chunk-rows", "501")
    command = [sys.executable, KILLING, "watching", "SIGKILL", tmp_path / "run", 40, 5, large / kind, *words]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "40\n", "")


@pytest.mark.parametrize("between", ["renamed", "renamed and removed"])
def test_a_file_that_turns_before_a_row_of_it_was_counted_is_not_skipped_without_a_word(folder, capsys, between):
    rows = rows_of(30)
    data = lines_of(rows[:20])
    Path("a.jsonl").write_bytes(data[:7])  # not a whole line, so no row can be counted
    words = ("a.jsonl", *BINARY, "--state", "S")
    with running(*words) as child:
        until(lambda: Path("S.checkpoint").exists())
        child.kill()
    assert not Path("S").exists()
    with open("a.jsonl", "ab") as file:
        file.write(data[7:])
    os.rename("a.jsonl", "a.jsonl.1")
    Path("a.jsonl").write_bytes(lines_of(rows[20:]))
    if between == "renamed":
        assert watched(capsys, *words)[0]["rows"] == 30
        assert Path("S").read_bytes() == binary_of(rows).to_bytes()
    else:
        os.unlink("a.jsonl.1")
        assert "that file is no longer in its folder: rows at its end may be lost" in failure(capsys, 1, *words)


def test_the_first_checkpoint_is_there_before_a_row_is_read(folder):
    Path("a.jsonl").write_bytes(lines_of(rows_of(10)))
    script = """if True:
        import os, signal, sys
        from streamce.cli.main import main
        from streamce.monitor import jsonl_source
        jsonl_source.JsonlFile._more = lambda self: os.kill(os.getpid(), signal.SIGKILL)
        main(sys.argv[1:])
    """
    words = ["watch", "a.jsonl", *BINARY, "--state", "S", "--once"]
    assert subprocess.run([sys.executable, "-c", script, *words], check=False).returncode == -signal.SIGKILL
    at = ce.Checkpoint("S.checkpoint").load()[1]["at"]
    assert (at["inode"], at["rows"], at["offset"]) == (os.stat("a.jsonl").st_ino, 0, 0)


def test_another_file_with_the_number_of_one_that_was_not_read_yet_is_an_error(folder, follower):
    Path("a.jsonl").write_bytes(lines_of(rows_of(10)))
    first = follower()
    assert (first.of.find(), first.of.find()) == (True, False)
    position = json.loads(json.dumps(first.of.position))
    Path("a.jsonl").write_bytes(lines_of(rows_of(10, seed=4)))  # a new file, which gets the inode of the old one
    second = follower()
    second.of.restore(position)
    with pytest.raises(DataError, match="rows at its end may be lost"):
        second.read()


def test_what_is_not_counted_yet_may_be_counted_with_other_options_or_from_another_source(folder, capsys):
    for name in "ab":
        Path(f"{name}.jsonl").write_bytes(lines_of(rows_of(5)))
    words = ("--task", "binary", "--target", "y", "--state", "S")
    assert "no column 'q'" in failure(capsys, 2, "a.jsonl", "--preds", "q", *words)
    assert Path("S.checkpoint").exists()
    found, log = watched(capsys, "b.jsonl", "--preds", "p", "--window", "3", *words)
    assert (found["rows"], found["rows_resumed"], log) == (5, 0, [])


def test_a_state_that_came_beside_a_checkpoint_without_rows_is_kept(folder, capsys):
    Path("a.jsonl").touch()
    assert watched(capsys, "a.jsonl", *BINARY, "--state", "S")[0] is None
    ce.BinaryCrossEntropy().save("S")
    expected = "S: this is not the state of a watch, because S.checkpoint has no rows"
    assert failure(capsys, 1, "a.jsonl", *BINARY, "--state", "S") == expected


# ---- lines ----


def test_a_half_written_line_waits_for_its_end(folder, capsys):
    rows = rows_of(3)
    data = lines_of(rows)
    Path("a.jsonl").write_bytes(data[:-5])
    words = ("a.jsonl", *BINARY, "--state", "S")
    found, log = watched(capsys, *words)
    assert found["rows"] == 2
    assert log == ["a.jsonl: the last line is not counted, because it has no end yet"]
    Path("a.jsonl").write_bytes(data)
    found, log = watched(capsys, *words)
    assert (found["rows"], found["rows_resumed"]) == (3, 2)
    assert log == ["resuming after 2 rows"]
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()


BAD_LINES = [
    '{"p": 0.5, "y"',
    "null",
    "3",
    "[1]",
    '{"p": "text", "y": 1}',
    '{"p": 0.5, "y": 1} x',
    '{"p": "0.5", "y": 1}',
    "nul",
]


@pytest.mark.parametrize("line", BAD_LINES)
@pytest.mark.parametrize("before", [0, 2])
def test_a_line_that_cannot_be_read_is_an_error_that_names_its_row(folder, capsys, line, before):
    rows = rows_of(4)
    Path("a.jsonl").write_bytes(lines_of(rows[:before]) + f"{line}\n".encode() + lines_of(rows[before:]))
    assert failure(capsys, 1, "a.jsonl", *BINARY).startswith(f"a.jsonl: row {before}: ")


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_line_that_cannot_be_read_is_skipped_and_counted_apart(folder, capsys, line):
    rows = rows_of(9)
    text = f"{line}\n".encode().join([lines_of(rows[:2]), lines_of(rows[2:5]), lines_of(rows[5:])])
    Path("a.jsonl").write_bytes(text)
    found, log = watched(capsys, "a.jsonl", *BINARY, "--invalid", "skip", "--state", "S")
    assert (found["rows"], found["unreadable_lines"]) == (9, 2)
    assert re.match(r"a\.jsonl: skipped a line that cannot be read \(and 1 more\): row 2: ", log[0])
    assert found["metrics"]["total"]["skipped"] == 0
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()


def test_lines_that_all_cannot_be_read_are_no_rows(folder, capsys):
    Path("a.jsonl").write_text("null\n\n7\n")
    found, log = watched(capsys, "a.jsonl", *BINARY, "--invalid", "skip")
    assert found is None
    assert log[1:] == ["no rows have arrived"]
    assert log[0].startswith("a.jsonl: skipped a line that cannot be read (and 1 more): row 0: ")


@pytest.mark.parametrize("most", ["1", "2", "9"])
@pytest.mark.parametrize("line", ["null", "[1]", '{"p": 0.5, "y": 1'])
def test_lines_before_the_first_that_can_be_read_are_no_rows_whatever_comes_with_them(folder, capsys, most, line):
    rows = rows_of(5)
    Path("a.jsonl").write_bytes(f"\n{line}\n{line}\n".encode() + lines_of(rows))
    found, log = watched(capsys, "a.jsonl", *BINARY, "--invalid", "skip", "--chunk-rows", most, "--state", "S")
    assert (found["rows"], found["unreadable_lines"]) == (5, 2)
    assert log[0].startswith("a.jsonl: skipped a line that cannot be read")
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()
    assert failure(capsys, 1, "a.jsonl", *BINARY).startswith("a.jsonl: row 0: ")


def test_rows_that_are_invalid_are_raised_with_their_row_or_counted(folder, capsys):
    rows = rows_of(5)
    rows[1]["p"], rows[2]["p"] = 1.5, None
    del rows[3]["y"]
    Path("a.jsonl").write_bytes(lines_of(rows))
    assert failure(capsys, 1, "a.jsonl", *BINARY).startswith("a.jsonl: row 1: column 'p' is 1.5: expected")
    found, _ = watched(capsys, "a.jsonl", *BINARY, "--invalid", "skip")
    total = found["metrics"]["total"]
    assert (total["count"], total["invalid_range"], total["invalid_null"]) == (2, 1, 2)
    assert found["metrics"]["last_10000"]["skipped"] == 3


def test_what_came_before_an_error_is_saved_and_a_mended_file_goes_on(folder, capsys):
    rows = rows_of(10)
    data = lines_of(rows)
    Path("a.jsonl").write_bytes(data.replace(b'"y"', b'"z"', 8)[: len(data)].replace(b'"z"', b'"y"', 7))
    words = ("a.jsonl", *BINARY, "--state", "S", "--chunk-rows", "2")
    assert failure(capsys, 1, *words).startswith("a.jsonl: row 7: column 'y' holds a null")
    assert Path("S").read_bytes() == binary_of(rows[:6]).to_bytes()
    Path("a.jsonl").write_bytes(data)
    watched(capsys, *words)
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()


def test_what_columns_hold_is_told_by_the_first_line_however_lines_come_together(folder, capsys):
    """Arrow alone would read ``x`` as a timestamp, and refuse the second line together with the first."""
    lines = [
        '{"x": "2026-01-01", "p": 0.5, "y": 1, "d": 1}',
        '{"x": 7, "p": 1, "y": 1, "d": 2}',
        '{"p": 0.5, "y": 1, "d": 1}',
    ]
    Path("a.jsonl").write_text("\n".join(lines) + "\n")
    states = []
    for rows in ("1", "2", "3"):
        state = f"S{rows}"
        watched(capsys, "a.jsonl", *BINARY, "--cluster", "d", "--state", state, "--chunk-rows", rows)
        states.append(Path(state).read_bytes())
    assert len({*states}) == 1


@pytest.mark.parametrize("most", ["1", "2", "9"])
def test_predictions_that_are_whole_numbers_count_at_once(folder, capsys, most):
    """A program may write 1 for 1.0."""
    rows = [{"p": 1, "y": 1}, {"p": 0, "y": 0}, {"p": 0.25, "y": 1}, {"p": 1, "y": 1}]
    words = ("a.jsonl", *BINARY, "--state", "S", "--chunk-rows", most)
    for n_rows in (2, 4):
        Path("a.jsonl").write_bytes(lines_of(rows[:n_rows]))
        found, _ = watched(capsys, *words)
        assert found["rows"] == n_rows
    total = ce.BinaryCrossEntropy().update([1.0, 0.0, 0.25, 1.0], [1, 0, 1, 1])
    assert Path("S").read_bytes() == total.to_bytes()


def test_standard_input_is_read_to_its_end_and_added_to_what_was_there(folder):
    rows = rows_of(20)
    for part in (rows[:12], rows[12:]):
        data = lines_of(part).rstrip(b"\n")  # the last line ends with the stream
        done = subprocess.run([*COMMAND, "-", *BINARY, "--state", "S"], input=data, capture_output=True, check=False)
        assert (done.returncode, b"error" in done.stderr) == (0, False)
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()


# ---- options of reading ----


@pytest.mark.parametrize(("unit", "factor"), [("ms", 1000), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("kind", ["lines", "parquet"])
def test_times_may_count_in_another_unit(folder, capsys, kind, unit, factor):
    rows = rows_of(200)
    scaled = [{**row, "t": int(row["t"]) * factor} for row in rows]
    source = "a.jsonl"
    if kind == "lines":
        Path(source).write_bytes(lines_of(scaled))
    else:
        source = "d"
        os.mkdir(source)
        parquet.write_table(pa.Table.from_pylist(scaled), "d/a.parquet")
    words = ("--window", "1h", "--by-time", "t", "--step", "1min")
    found, _ = watched(capsys, source, *BINARY, *words, "--time-unit", unit)
    expected = ce.BinaryCrossEntropy().update([row["p"] for row in rows[-60:]], [row["y"] for row in rows[-60:]])
    assert found["metrics"]["last_1h"]["value"] == expected.compute()


NAMES = ["Käse", "Öl"]
TEXT_ROWS = [{"p": [0.25, 0.75], "y": NAMES[i % 2]} for i in range(9)]
NAMED = ("--task", "multiclass", "--preds", "p", "--target", "y", "--classes", ",".join(NAMES))


def encoded(rows, encoding):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(encoding)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac-roman"])
def test_lines_may_have_another_encoding(folder, capsys, encoding):
    words = ("a.jsonl", *NAMED, "--encoding", encoding)
    Path("a.jsonl").write_bytes(encoded(TEXT_ROWS[:4], encoding))
    watched(capsys, *words, "--state", "S", "--chunk-rows", "3")
    Path("a.jsonl").write_bytes(encoded(TEXT_ROWS, encoding))
    watched(capsys, *words, "--state", "S", "--chunk-rows", "3")
    metric = ce.MulticlassCrossEntropy(classes=NAMES)
    metric.update([row["p"] for row in TEXT_ROWS], [row["y"] for row in TEXT_ROWS])
    assert Path("S").read_bytes() == metric.to_bytes()
    assert main(["eval", *words, "--state", "E"]) == 0
    assert Path("E").read_bytes() == metric.to_bytes()
    error = failure(capsys, 1, *words[:-2], "--state", "S")
    assert "--encoding has changed since S.checkpoint was begun" in error


def test_a_line_of_another_encoding_is_an_error_that_names_its_row(folder, capsys):
    Path("a.jsonl").write_bytes(encoded(TEXT_ROWS[:2], "cp1252") + b'{"y": "\x81"}\n')
    assert failure(capsys, 1, "a.jsonl", *NAMED, "--encoding", "cp1252") == (
        "a.jsonl: row 2: it is not cp1252: see --encoding"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le", "utf-7", "cp037", "hz", "iso2022_jp"])
def test_encodings_in_which_lines_have_no_end_are_refused(folder, capsys, encoding):
    Path("a.jsonl").write_bytes(b"")
    expected = "expected an encoding that keeps ASCII, such as latin-1, because lines are read as they arrive"
    assert failure(capsys, 2, "a.jsonl", *BINARY, "--encoding", encoding).endswith(expected)


def test_a_folder_of_parquet_has_no_encoding(folder, capsys):
    os.mkdir("d")
    expected = "--encoding is an option of JSON lines, and a folder has Parquet files"
    assert failure(capsys, 2, "d", *BINARY, "--encoding", "latin-1") == expected
    watched(capsys, "d", *BINARY, "--encoding", "utf-8")


@pytest.mark.parametrize("chunk_rows", ["1", "2", "9"])
def test_rows_of_parquet_that_cannot_be_read_are_skipped_and_counted(folder, capsys, chunk_rows):
    os.mkdir("d")
    lists = [[0.5, 0.5], [0.2, 0.8], [1.0], [0.1, 0.9], [0.1, 0.2, 0.7]]
    words = ("d", "--task", "multiclass", "--preds", "p", "--target", "y", "--state", "S", "--chunk-rows", chunk_rows)
    parquet.write_table(pa.table({"p": lists, "y": [0, 1, 0, 1, 1]}), "d/a.parquet")
    assert "d/a.parquet: row 2: column 'p' is a list of 1 where others have 2" in failure(capsys, 1, *words)
    for each in Path().glob("S*"):
        each.unlink()
    found, log = watched(capsys, *words, "--invalid", "skip")
    assert (found["rows"], found["unreadable_lines"]) == (3, 2)
    first = "d/a.parquet: row 2: column 'p' is a list of 1 where others have 2"
    assert log == [f"skipped a row that cannot be read (and 1 more): {first}"]
    parquet.write_table(pa.table({"p": lists, "y": [1, 1, 1, 1, 1]}), "d/b.parquet")
    found, _ = watched(capsys, *words, "--invalid", "skip")
    assert (found["rows"], found["rows_resumed"], found["unreadable_lines"]) == (6, 3, 4)
    good = [lists[i] for i in (0, 1, 3)]
    metric = ce.MulticlassCrossEntropy(invalid="skip").update(good, [0, 1, 1]).update(good, [1, 1, 1])
    assert Path("S").read_bytes() == metric.to_bytes()


# ---- files that change ----


class Follower:
    """A file that is followed in this process: its new rows and its log."""

    def __init__(self, path):
        self.said, self.rows = [], []
        self.of = open_source(str(path), self.said.append, 5, ReadOptions())

    def read(self):
        """Return all new rows."""
        while piece := self.of.next():
            table = piece.source.table(piece.source)
            types = {"p": pa.float64(), "y": pa.int64()}
            for part in table.parts(types, 100, piece.start.mark):
                self.rows += part.batch.to_pylist()
                self.of.mark_counted(Position(0, part.end))
            self.of.finish()
        return self


@pytest.fixture
def follower(folder):
    with contextlib.ExitStack() as stack:

        def make():
            found = Follower("a.jsonl")
            stack.callback(found.of.close)
            return found

        yield make


def plain(rows):
    return [{name: row[name] for name in "py"} for row in rows]


def test_a_file_that_is_renamed_is_read_to_its_end_before_the_next_of_its_name(folder, follower):
    rows = rows_of(30)
    Path("a.jsonl").write_bytes(lines_of(rows[:10]))
    found = follower().read()
    with open("a.jsonl", "ab") as writer:
        os.rename("a.jsonl", "a.jsonl.1")
        found.read()
        assert found.said == ["a.jsonl: this file is gone: waiting for the next file of this name"]
        Path("a.jsonl").write_bytes(lines_of(rows[20:]))
        writer.write(lines_of(rows[10:15]))
        writer.flush()
        found.read()
        writer.write(lines_of(rows[15:20])[:-1])  # the last line never gets its end
    found.read()
    assert found.of.rotating
    found.read()
    found.read()
    assert found.rows == plain(rows)
    assert found.said[1:] == ["a.jsonl: another file has taken this name: continuing with the new file"]


def test_a_file_that_was_renamed_while_nobody_watched_is_found_and_read_to_its_end(folder, follower):
    rows = rows_of(30)
    Path("a.jsonl").write_bytes(lines_of(rows[:10]))
    first = follower().read()
    with open("a.jsonl", "ab") as file:
        file.write(lines_of(rows[10:20]))
    os.rename("a.jsonl", "old")
    Path("a.jsonl").write_bytes(lines_of(rows[20:]))
    second = follower()
    second.of.restore(json.loads(json.dumps(first.of.position)))
    for _ in range(3):
        second.read()
    assert first.rows + second.rows == plain(rows)


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("names", ["a.jsonl.{}", "a.jsonl-2026050{}", "a-2026-05-0{}.jsonl"])
def test_files_that_turned_several_times_between_two_looks_are_read_in_order(folder, follower, names, resumed):
    rows = rows_of(50)
    Path("a.jsonl").write_bytes(lines_of(rows[:10]))
    found = follower().read()
    for day in range(1, 5):
        os.rename("a.jsonl", names.format(day))
        os.utime(names.format(day), (day, day))  # set the day of the last change
        Path("a.jsonl").write_bytes(lines_of(rows[10 * day : 10 * day + 10]))
    Path(names.format(6)).write_bytes(lines_of(rows[:10]))  # a copy of the first
    for name in ("a.jsonl.state", "a.jsonl.4.gz", "aa.jsonl.4"):
        Path(name).write_bytes(b"of something else")
    os.utime("a.jsonl", (5, 5))
    kept = []
    for _ in range(12):
        found.read()
        if resumed:
            kept += found.rows
            position, found = json.loads(json.dumps(found.of.position)), follower()
            found.of.restore(position)
            found.read()  # whether the old file was idle is not part of the position
    assert kept + found.rows == plain(rows)


def test_a_file_that_was_turned_to_and_not_read_yet_is_known_again(folder, follower):
    rows = rows_of(20)
    Path("a.jsonl").write_bytes(lines_of(rows[:10]))
    first = follower().read()
    os.rename("a.jsonl", "old")
    Path("a.jsonl").write_bytes(b"{")
    for _ in range(3):
        first.read()
    assert len(first.said) == 1
    Path("a.jsonl").write_bytes(lines_of(rows[10:15]))
    os.rename("a.jsonl", "older")
    Path("a.jsonl").write_bytes(lines_of(rows[15:]))
    second = follower()
    second.of.restore(json.loads(json.dumps(first.of.position)))
    for _ in range(4):
        second.read()
    assert first.rows + second.rows == plain(rows)


def test_a_file_that_was_replaced_while_nobody_watched_is_an_error(folder, follower):
    Path("a.jsonl").write_bytes(lines_of(rows_of(10)))
    first = follower().read()
    Path("b.jsonl").write_bytes(lines_of(rows_of(10, seed=4)))
    os.replace("b.jsonl", "a.jsonl")
    second = follower()
    second.of.restore(first.of.position)
    with pytest.raises(DataError, match=r"this is not the file that was read before, .* rows at its end may be lost"):
        second.read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "has shrunk to .* may be lost"),
        (lambda data: b"", "has shrunk to 0 bytes after .* bytes were read"),
        (lambda data: data[::-1] * 2, "was overwritten"),
    ],
    ids=["shorter", "empty", "other"],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_file_that_shrinks_or_is_written_over_is_an_error(folder, follower, change, message, resumed):
    data = lines_of(rows_of(20))
    Path("a.jsonl").write_bytes(data)
    found = follower().read()
    Path("a.jsonl").write_bytes(change(data))
    if resumed:
        position, found = found.of.position, follower()
        found.of.restore(position)
        message = f"{message}|not the file that was read before"
    with pytest.raises(DataError, match=message):
        found.read()


def test_a_file_that_is_not_there_yet_or_gone_is_waited_for_and_said_once(folder, follower):
    found = follower()
    for _ in range(5):
        found.read()
    assert found.said == ["a.jsonl: this file does not exist yet: waiting"]
    Path("a.jsonl").write_bytes(lines_of(rows_of(3)))
    found.read()
    os.unlink("a.jsonl")
    for _ in range(5):
        found.read()
    assert found.said[1:] == ["a.jsonl: this file is gone: waiting for the next file of this name"]
    assert len(found.rows) == 3


class Searched(bytearray):
    """A buffer that counts the bytes that are searched for a line end."""

    count_of_bytes = 0

    def find(self, what, start=0, end=None):
        Searched.count_of_bytes += len(self) - start
        return super().find(what, start)

    def rfind(self, what, start=0, end=None):
        Searched.count_of_bytes += max(0, min(len(self), end) - start)
        return super().rfind(what, start, end)


def test_a_line_without_an_end_is_refused_before_memory_is_and_searched_once(folder):
    Path("a.jsonl").write_bytes(b"{" * (1 << 24))
    found = open_source("a.jsonl", lambda word: None, 5, ReadOptions((1 << 24) - 1))
    found._buffer, Searched.count_of_bytes = Searched(), 0
    with pytest.raises(DataError, match=r"a\.jsonl: row 0: a record of more than 16,777,215 bytes: --max-record"):
        found.next()
    found.close()
    assert Searched.count_of_bytes < 3 * (1 << 24)


def test_lines_up_to_the_limit_count_before_one_beyond_it_is_an_error(folder, capsys):
    Path("a.jsonl").write_bytes(lines_of(rows_of(3)) + b'{"p": 0.5, "y": 1, "s": "%s"}\n' % (b"a" * 400))
    longest = max(map(len, lines_of(rows_of(3)).splitlines()))
    for size, row in ((str(longest), 3), (str(longest - 1), None)):
        assert main(["watch", "a.jsonl", *BINARY, "--once", "--poll", "0", "--max-record", size]) == 1
        line = capsys.readouterr().err
        assert f"a record of more than {size} bytes: --max-record" in line
        assert row is None or f"row {row}: " in line
    assert main(["watch", "a.jsonl", *BINARY, "--once", "--poll", "0", "--max-record", "1K"]) == 0


@pytest.mark.parametrize("command", ["watch", "eval"])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_lists_within_many_others_are_read_or_an_error(folder, capsys, command, start, end):
    line = '{"p":0.5,"y":1,"s":"[\\"[","x":%s[]%s}\n'
    Path("a.jsonl").write_text(line % (start * 400, end * 400))
    more = ["--once", "--poll", "0"] if command == "watch" else []
    assert main([command, "a.jsonl", *BINARY, *more]) == 0
    Path("a.jsonl").write_text('{"p":0.5,"y":1}\n' + line % (start * 100_000, end * 100_000))
    capsys.readouterr()
    assert main([command, "a.jsonl", *BINARY, *more]) == 1
    assert "row 1: cannot be read: lists or objects are nested too deeply" in capsys.readouterr().err
    Path("a.jsonl").write_text('{"p":0.5,"y":1}\n' + line % ("[" + "[1]," * 1000, "]"))
    assert main([command, "a.jsonl", *BINARY, *more]) == 0


# ---- Parquet ----


def test_parquet_files_count_once_they_have_a_footer(folder, capsys):
    os.makedirs("d/deep")
    tables = [pa.Table.from_pylist(plain(rows_of(50, seed))) for seed in range(4)]
    parquet.write_table(tables[0], "d/a.parquet")
    parquet.write_table(tables[1], "d/deep/b.parquet")
    for hidden in ("d/_c.parquet", "d/.d.parquet", "d/notes.txt"):
        parquet.write_table(tables[2], hidden)
    whole = Path("d/.d.parquet").read_bytes()
    Path("d/e.parquet").write_bytes(whole[:-1])
    Path("d/f.parquet").write_bytes(b"")
    words = ("d", *BINARY, "--state", "S")
    found, log = watched(capsys, *words)
    assert found["rows"] == 100
    assert log == ["d: 2 files are not counted, because the footer is missing"]
    Path("d/e.parquet").write_bytes(whole)
    os.unlink("d/a.parquet")  # its rows stay counted
    found, log = watched(capsys, *words)
    assert (found["rows"], found["rows_resumed"]) == (150, 100)
    assert Path("S").read_bytes() == sum(
        binary_of(table.to_pylist()) for table in tables[:3]
    ).to_bytes()  # fmt: skip


def test_a_parquet_file_that_is_moved_after_it_was_counted_counts_once(folder, capsys):
    for name, number in [("a", 3), ("old/c", 5)]:
        Path("d", name).mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(rows_of(number)), f"d/{name}/0.parquet")
    words = ("d", *BINARY, "--state", "S")
    assert watched(capsys, *words)[0]["rows"] == 8
    Path("d/b").mkdir()
    os.rename("d/a/0.parquet", "d/b/0.parquet")
    parquet.write_table(pa.Table.from_pylist(rows_of(4)), "d/a/1.parquet")
    assert watched(capsys, *words)[0]["rows"] == 12
    os.rename("d/b/0.parquet", "d/a/0.parquet")
    Path("d/new").mkdir()
    shutil.copy2("d/old/c/0.parquet", "d/new/0.parquet")  # a new file, because the old one still exists
    assert watched(capsys, *words)[0]["rows"] == 17


def test_a_parquet_file_that_changes_after_it_was_counted_is_an_error(folder, capsys):
    os.mkdir("d")
    parquet.write_table(pa.Table.from_pylist(plain(rows_of(50))), "d/a.parquet")
    words = ("d", *BINARY, "--state", "S")
    watched(capsys, *words)
    before = Path("S").read_bytes()
    parquet.write_table(pa.Table.from_pylist(plain(rows_of(60))), "d/a.parquet")
    assert failure(capsys, 1, *words) == "d/a.parquet: this file has changed since 50 rows of it were counted\n".strip()
    assert Path("S").read_bytes() == before


def test_a_parquet_file_that_is_damaged_or_lacks_a_column_is_an_error_that_names_it(folder, capsys):
    os.mkdir("d")
    Path("d/a.parquet").write_bytes(b"PAR1" + b"x" * 100 + b"PAR1")
    assert failure(capsys, 1, "d", *BINARY).startswith("d/a.parquet: ")
    parquet.write_table(pa.table({"p": [0.5]}), "d/a.parquet")
    assert failure(capsys, 2, "d", *BINARY).startswith("d/a.parquet: no column 'y'; ")


def test_a_signal_within_a_large_file_saves_the_place_and_the_next_run_goes_on_there(folder, capsys):
    os.mkdir("d")
    rows = plain(rows_of(60_000))
    parquet.write_table(pa.Table.from_pylist(rows), "d/a.parquet", row_group_size=1000)
    words = ("d", *BINARY, "--state", "S", "--chunk-rows", "10", "--checkpoint-every", "0")
    with running(*words) as child:
        until(lambda: ce.Checkpoint("S.checkpoint").load(None, {"at": {"rows": 0}})[1]["at"]["rows"])
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate()
    assert child.returncode == 0
    before = int(re.match(r"d: ([\d,]+) rows", out)[1].replace(",", ""))
    assert 0 < before < 60_000
    found, _ = watched(capsys, *words[:-4])
    assert (found["rows"], found["rows_resumed"]) == (60_000, before)
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()


@pytest.mark.parametrize("kind", ["parquet", "lines"])
def test_rows_whose_place_an_interrupt_kept_from_being_noted_count_once(folder, capsys, monkeypatch, kind):
    rows = rows_of(30)
    Path("a.jsonl").write_bytes(lines_of(rows))
    Path("d").mkdir()
    parquet.write_table(pa.Table.from_pylist(rows), "d/a.parquet")
    of, source = (ParquetFolder, "d") if kind == "parquet" else (JsonlFile, "a.jsonl")
    words = (source, *BINARY, "--chunk-rows", "10", "--state", "S")
    mark_counted, calls = of.mark_counted, []

    def interrupted(self, end):
        calls.append(end)
        if len(calls) == 3:  # a second Ctrl-C at this point
            raise KeyboardInterrupt
        return mark_counted(self, end)

    with monkeypatch.context() as patch:
        patch.setattr(of, "mark_counted", interrupted)
        patch.setattr(signal, "signal", lambda *_: signal.SIG_DFL)  # not that of main, which ignores later signals
        assert main(["watch", *words, "--once", "--checkpoint-every", "60"]) == 130
    assert watched(capsys, *words)[0]["rows"] == 30
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: os.unlink("d/a.parquet"), "this file is gone after 20 of its rows were read"),
        (lambda: os.utime("d/a.parquet", (1, 1)), "this file has changed since 20 rows of it were counted"),
    ],
    ids=["gone", "changed"],
)
def test_a_parquet_file_that_is_read_in_part_has_to_stay_as_it_is(folder, change, message):
    os.mkdir("d")
    parquet.write_table(pa.Table.from_pylist(plain(rows_of(50))), "d/a.parquet")
    one, other = (open_source("d", lambda word: None, 5, ReadOptions()) for _ in range(2))
    assert one.next() is not None
    one.mark_counted(Position(0, Mark(20)))
    other.restore(json.loads(json.dumps(one.position)))
    assert (other.rows, other.next().start.mark.row) == (20, 20)
    change()
    with pytest.raises(DataError, match=f"d/a.parquet: {message}"):
        other.next()


def test_a_parquet_file_without_a_footer_that_does_not_grow_is_said_once(folder, monkeypatch):
    monkeypatch.setattr(parquet_folder, "FOOTER_TIMEOUT", -1.0)
    os.mkdir("d")
    Path("d/a.parquet").write_bytes(b"PAR1 and a part of it")
    words = []
    folder_of = open_source("d", words.append, 5, ReadOptions())
    for _ in range(5):
        assert folder_of.next() is None
    assert words == ["d/a.parquet: this file has no footer and does not grow: waiting"]


def test_a_folder_that_is_empty_is_no_rows(folder, capsys):
    os.mkdir("d")
    assert watched(capsys, "d", *BINARY) == (None, ["no rows have arrived"])


# ---- alerts ----


def losses(value, number=50):
    """Return rows of about this loss."""
    p = np.exp(-np.random.default_rng(7).uniform(0.9, 1.1, number) * value)
    return [{"p": float(each), "y": 1} for each in p]


def test_an_alert_begins_and_ends_with_a_line_and_with_status_3(folder, capsys):
    rows = losses(0.2) + losses(1.0) + losses(0.95) + losses(0.2)
    Path("a.jsonl").write_bytes(lines_of(rows))
    words = ("a.jsonl", *BINARY, "--window", "50", "--chunk-rows", "50")
    found, log = watched(capsys, *words, "--alert-above", "0.7", status=3)
    assert found["alerts"] == 1
    assert [line.split(":")[0] for line in log] == ["alert begins", "alert ends"]
    assert re.fullmatch(
        r"alert begins: last_50 above: [\d.]+ nats \([\d.]+ to [\d.]+\) in 50 samples, expected at most 0\.7 nats",
        log[0],
    )
    found, log = watched(capsys, *words, "--alert-below", "0.7", status=3)
    assert [line.split(":")[0] for line in log] == ["alert begins", "alert ends", "alert begins"]
    assert watched(capsys, *words, "--alert-above", "1.5")[1] == []


def test_an_alert_that_is_on_is_not_told_again_by_the_next_run_which_ends_it(folder, capsys):
    Path("a.jsonl").write_bytes(lines_of(losses(1.0)))
    words = ("a.jsonl", *BINARY, "--window", "50", "--alert-above", "0.7", "--state", "S")
    assert len(watched(capsys, *words, status=3)[1]) == 1
    assert watched(capsys, *words, status=3)[1] == ["resuming after 50 rows"]
    with open("a.jsonl", "ab") as file:
        file.write(lines_of(losses(0.1)))
    assert watched(capsys, *words, status=3)[1][1].startswith("alert ends: last_50 above: ")
    assert watched(capsys, *words)[1] == ["resuming after 100 rows"]


def test_a_window_that_leaves_a_reference_alerts(folder, capsys):
    binary_of(losses(0.5, 500)).save("R")
    words = ("a.jsonl", *BINARY, "--window", "50", "--chunk-rows", "50", "--reference", "R")
    Path("a.jsonl").write_bytes(lines_of(losses(0.5) * 3))
    assert watched(capsys, *words) == (watched(capsys, *words)[0], [])
    for other in (0.3, 0.8):
        Path("a.jsonl").write_bytes(lines_of(losses(0.5) + losses(other)))
        found, log = watched(capsys, *words, status=3)
        assert found["alerts"] == 1
        assert re.match(r"alert begins: last_50 reference: .* nats \(.*\) of the reference$", log[0])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (ce.MeanLoss().update([0.5, 0.6]), "is a MeanLoss, expected a BinaryCrossEntropy"),
        (ce.NormalizedEntropy(), "is a NormalizedEntropy, expected a BinaryCrossEntropy"),
        (ce.Grouped(ce.MeanLoss()), "is a MeanLoss, expected a BinaryCrossEntropy"),
        (ce.BinaryCrossEntropy(label_smoothing=0.25), "its label_smoothing is 0.25, expected 0.0 as in this command"),
        (ce.BinaryCrossEntropy(pos_weight=2.0), "its pos_weight is 2.0, expected None as in this command"),
        (ce.BinaryCrossEntropy(), "its mean has no interval: 0 samples, value nan"),
        (ce.BinaryCrossEntropy().update(0.5, 1), "its mean has no interval: 1 sample, value 0.69"),
    ],
    ids=["mean", "ratio", "groups", "smoothing", "weight", "empty", "one"],
)
def test_a_reference_of_another_loss_or_without_an_interval_is_refused(folder, capsys, metric, expected):
    Path("a.jsonl").write_bytes(lines_of(rows_of(3)))
    metric.save("reference.state")
    error = failure(capsys, 2, "a.jsonl", *BINARY, "--reference", "reference.state")
    assert error.startswith(f"--reference reference.state: {expected}")


def test_a_window_is_judged_once_it_has_samples_enough():
    alerts = Alerts([Bound("above", 0.5)], {"w": 10})
    metric = ce.MeanLoss().update([1.0] * 9)
    assert alerts.check("w", metric.summary()) == []
    assert len(alerts.check("w", metric.update([1.0]).summary())) == 1


def test_an_alert_ends_later_than_it_begins():
    """The mean, with standard error 0.1, moves around the bound. The alert begins once, and ends well below it."""
    spread = 0.1 * math.sqrt(99)
    told = []
    alerts = Alerts([Bound("above", 1.0)], {"w": 2})
    for mean in (0.95, 1.01, 0.99, 1.02, 0.95, 0.91, 0.89, 0.95, 1.0):
        summary = ce.MeanLoss().update([mean - spread, mean + spread] * 50).summary()
        assert summary.stderr == pytest.approx(0.1, rel=0.01)
        told += [(mean, line.split(":")[0]) for line in alerts.check("w", summary)]
    assert told == [(1.01, "alert begins"), (0.89, "alert ends")]


def test_infinite_and_missing_means_are_judged_as_such():
    reference = ce.MeanLoss().update([1.0, 1.2] * 10).summary()
    alerts = Alerts([Bound("above", 5.0), Reference(reference)], {"w": 1})
    assert alerts.check("w", ce.MeanLoss().update([math.inf, 1.0]).summary()) != []
    assert alerts.position == {"above": ["w"], "reference": ["w"]}
    quiet = Alerts([Bound("above", 5.0), Reference(reference)], {"w": 0})
    assert quiet.check("w", ce.MeanLoss().summary()) == []


# ---- a long run ----


@contextlib.contextmanager
def running(*arguments):
    """Start a watch, and yield it with its log line by line."""
    words = [*map(str, arguments), "--poll", "0.02"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def port_of(child):
    """Return the port of a watch."""
    for line in child.stderr:
        if match := re.search(r"serving (http://127\.0\.0\.1:\d+)/metrics$", line):
            return match[1]
    raise AssertionError("nothing is served")


def scraped(address):
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text = answer.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}


def until(check, seconds=60.0):
    """Call a check until its result is true, and return the result."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_watch_serves_what_it_has_until_a_signal_ends_it(folder, by):
    rows = losses(0.2, 200) + losses(1.0, 200)
    binary_of(losses(0.2, 500)).save("R")
    Path("a.jsonl").write_bytes(lines_of(rows[:200]))
    words = ("a.jsonl", *BINARY, "--window", "100", "--state", "S", "--port", "0", "--alert-above", "0.7",
             "--reference", "R", "--tail", "--checkpoint-every", "3600", "--json")  # fmt: skip
    with running(*words) as child:
        address = port_of(child)

        def counted(number):
            found = scraped(address)
            return found if found["streamce_watch_rows_total",] == number else None

        found = until(lambda: counted(200))
        assert found["streamce_mean_nats", ("metric", "total")] == binary_of(rows[:200]).compute()
        assert found["streamce_watch_alert", ("metric", "last_100"), ("rule", "above")] == 0
        assert found["streamce_watch_alert", ("metric", "last_100"), ("rule", "reference")] == 0
        with open("a.jsonl", "ab") as file:
            file.write(lines_of(rows[200:]))
        found = until(lambda: counted(400))
        assert found["streamce_mean_nats", ("metric", "total")] == binary_of(rows).compute()
        assert found["streamce_mean_nats", ("metric", "last_100")] == binary_of(rows[-100:]).compute()
        assert found["streamce_watch_alert", ("metric", "last_100"), ("rule", "above")] == 1
        assert found["streamce_watch_alert", ("metric", "last_100"), ("rule", "reference")] == 1
        assert found["streamce_watch_reference_value",] == ce.load("R").compute()
        assert found["streamce_loss_distribution_nats_count", ("metric", "total")] == 400
        assert abs(found["streamce_watch_last_row_timestamp_seconds",] - time.time()) < 60
        child.send_signal(by)
        out, err = child.communicate()
    assert child.returncode == 3
    assert json.loads(out)["rows"] == 400
    assert [line.split(":")[0] for line in said(err)] == ["alert begins"] * 2
    whole = ce.BinaryCrossEntropy(tail=True).update([row["p"] for row in rows], [row["y"] for row in rows])
    assert Path("S").read_bytes() == whole.to_bytes()


def test_lines_that_cannot_be_read_are_shown_before_any_row_has_come(folder):
    Path("a.jsonl").write_bytes(b"no row\n" * 3)
    with running("a.jsonl", *BINARY, "--invalid", "skip", "--port", "0") as child:
        address = port_of(child)
        found = until(lambda: (now := scraped(address))["streamce_watch_unreadable_lines_total",] and now)
    assert (found["streamce_watch_unreadable_lines_total",], found["streamce_watch_rows_total",]) == (3, 0)


def test_a_watch_ends_once_nothing_has_come_for_a_while(folder):
    Path("a.jsonl").write_bytes(lines_of(rows_of(10)))
    with running("a.jsonl", *BINARY, "--until-idle", "0.1") as child:
        out, err = child.communicate()
    assert (child.returncode, err) == (0, "")
    assert out.startswith("a.jsonl: 10 rows")


def test_memory_and_open_files_do_not_grow_with_polls_and_rows(folder):
    block = lines_of(rows_of(1000))
    Path("a.jsonl").write_bytes(block)
    with running("a.jsonl", *BINARY, "--window", "100", "--port", "0") as child:
        address = port_of(child)

        def size():
            status = Path(f"/proc/{child.pid}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]), len(os.listdir(f"/proc/{child.pid}/fd"))

        sizes = []
        for number in range(1, 61):
            until(lambda rows=1000 * number: scraped(address)["streamce_watch_rows_total",] == rows)
            sizes.append(size())
            with open("a.jsonl", "ab") as file:
                file.write(block)
        assert sizes[-1][0] - sizes[19][0] < 8192  # kB after 40 more scrapes and blocks
        assert sizes[-1][1] <= max(files for _, files in sizes[:20])


# ---- resuming ----


def test_one_watch_at_a_time_keeps_a_state(folder, capsys):
    rows = rows_of(10)
    words = ["-", *BINARY, "--state", "S", "--poll", "0.01"]
    with subprocess.Popen([*COMMAND, *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as first:
        first.stdin.write(lines_of(rows[:5]))
        first.stdin.flush()
        while not Path("S").exists():
            time.sleep(0.01)
            assert first.poll() is None
        error = failure(capsys, 2, "-", *words[1:])
        first.kill()
    assert error == "--state S: this state is in use by another run of streamce: wait for its end"
    assert Path(lock_path("S")).exists()  # it locks nobody out
    subprocess.run([*COMMAND, *words], input=lines_of(rows[5:]), stdout=subprocess.DEVNULL, check=True)
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()
    assert sorted(os.listdir()) == ["S", "S.checkpoint", "S.checkpoint.previous"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--preds", "w"), "--preds has changed since S.checkpoint was begun: remove it to start anew"),
        (("--window", "7"), "--window has changed since S.checkpoint was begun"),
        (("--eps", "0.5"), "eps is"),
        (("--tail",), "tail is True in one metric and False in the other"),
    ],
    ids=str,
)
def test_a_run_of_other_options_does_not_go_on(folder, capsys, change, message):
    Path("a.jsonl").write_bytes(lines_of(rows_of(10)))
    words = ["a.jsonl", *BINARY, "--state", "S"]
    watched(capsys, *words)
    before = Path("S.checkpoint").read_bytes()
    with open("a.jsonl", "ab") as file:
        file.write(lines_of(rows_of(10)))
    if change[0] == "--preds":
        words = [word.replace("p", "w") if word == "p" else word for word in words]
        change = ()
    assert message in failure(capsys, 1, *words, *change)
    assert Path("S.checkpoint").read_bytes() == before


def test_a_checkpoint_or_a_state_of_something_else_is_kept_and_refused(folder, capsys):
    Path("a.jsonl").write_bytes(lines_of(rows_of(10)))
    for positions in (None, {"rows": 3}, [1], {"options": 1, "at": 2, "classes": 3, "alerts": 4}):
        ce.Checkpoint("S.checkpoint").save(ce.BinaryCrossEntropy(), positions)
        assert "S.checkpoint: " in failure(capsys, 1, "a.jsonl", *BINARY, "--state", "S")
    os.unlink("S.checkpoint")
    ce.BinaryCrossEntropy().save("S")
    assert "S: this is not the state of a watch" in failure(capsys, 1, "a.jsonl", *BINARY, "--state", "S")
    Path("T").write_text("a text")
    assert "this file exists and is not a state" in failure(capsys, 2, "a.jsonl", *BINARY, "--state", "T")


def test_a_torn_checkpoint_goes_on_from_the_generation_before(folder, capsys):
    rows = rows_of(30)
    words = ("a.jsonl", *BINARY, "--state", "S")
    for stop in (10, 20):
        Path("a.jsonl").touch()
        with open("a.jsonl", "ab") as file:
            file.write(lines_of(rows[stop - 10 : stop]))
        watched(capsys, *words)
    Path("S.checkpoint").write_bytes(Path("S.checkpoint").read_bytes()[:-1])
    with open("a.jsonl", "ab") as file:
        file.write(lines_of(rows[20:]))
    found, log = watched(capsys, *words)
    assert log[0].endswith("S.checkpoint: the checkpoint is damaged, so the previous checkpoint is used")
    assert (found["rows"], found["rows_resumed"]) == (30, 10)
    assert Path("S").read_bytes() == binary_of(rows).to_bytes()


def test_a_state_that_was_not_written_after_its_checkpoint_is_written_by_the_next_run(folder, capsys):
    Path("a.jsonl").write_bytes(lines_of(rows_of(10)))
    words = ("a.jsonl", *BINARY, "--state", "S")
    watched(capsys, *words)
    before = Path("S").read_bytes()
    os.unlink("S")
    watched(capsys, *words)
    assert Path("S").read_bytes() == before


def test_a_full_disk_is_one_line_and_what_was_saved_stays(folder, capsys):
    Path("a.jsonl").write_bytes(lines_of(rows_of(10)))
    words = ("a.jsonl", *BINARY, "--state", "S")
    watched(capsys, *words)
    before = Path("S.checkpoint").read_bytes()
    with open("a.jsonl", "ab") as file:
        file.write(lines_of(rows_of(10)))
    limited = ["bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "-"]  # no file can grow, as on a full disk
    done = subprocess.run([*limited, *COMMAND, *words, "--once"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(r"^streamce: error: .*S(\.checkpoint)?(\.previous)?: File too large$", done.stderr, re.MULTILINE)
    assert Path("S.checkpoint").read_bytes() == before
    assert watched(capsys, *words)[0]["rows"] == 20


# ---- usage ----


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("a.jsonl", "--time-unit", "ms"), "--time-unit needs --by-time"),
        (("a.jsonl", "--window", "1h"), "a --window with a period needs --by-time"),
        (("a.jsonl", "--by-time", "t"), "--by-time needs --window with a period"),
        (("a.jsonl", "--step", "1min"), "--step needs --window with a period"),
        (("a.jsonl", "--window", "1y"), "--window: window is '1y': expected"),
        (("a.jsonl", "--window", "0"), "--window: samples is 0: expected"),
        (("a.jsonl", "--window", "1h", "--by-time", "t", "--step", "7min"), "--step: step is 7min: expected one that"),
        (("a.jsonl", "--port", "99999"), "'99999' is not a port"),
        (("a.jsonl", "--alert-above", "nan"), "'nan' is not a finite number"),
        (("a.jsonl", "--poll", "-1"), "'-1' is not a number of seconds"),
        (("a.jsonl", "--reference", "none"), "--reference none: No such file or directory"),
        (("a.jsonl", "--preds", "q"), "a.jsonl: no column 'q'"),
    ],
    ids=str,
)
def test_usage_errors_are_one_line(folder, capsys, words, expected):
    Path("a.jsonl").write_bytes(lines_of(rows_of(3)))
    given = BINARY if "--preds" not in words else ("--task", "binary", "--target", "y")
    assert expected in failure(capsys, 2, *words, *given)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.csv", "a.csv: expected a file of JSON lines"),
        ("a.jsonl.gz", "a.jsonl.gz: expected a file of JSON lines"),
        ("no/a.jsonl", "no/a.jsonl: no such file, and no folder in which it could appear"),
        ("", ": no such file, and no folder in which it could appear"),
        ("no://a", "no://a: Unrecognized filesystem type"),
        ("file:///no/a.jsonl", "file:///no/a.jsonl: no such file, and no folder in which it could appear"),
    ],
)
def test_sources_that_cannot_be_followed_are_one_line(folder, capsys, source, expected):
    assert failure(capsys, 1, source, *BINARY).startswith(expected)


def test_a_port_in_use_is_one_line_and_nothing_is_counted(folder, capsys):
    Path("a.jsonl").write_bytes(lines_of(rows_of(3)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = failure(capsys, 2, "a.jsonl", *BINARY, "--state", "S", "--port", port)
    assert error == f"--port {port}: 127.0.0.1: Address already in use"
    assert not Path("S").exists()


def test_a_host_that_is_no_name_is_one_line(folder, capsys):
    Path("a.jsonl").write_bytes(lines_of(rows_of(3)))
    host = "a" * 100
    assert failure(capsys, 2, "a.jsonl", *BINARY, "--port", 0, "--host", host).startswith(f"--port 0: {host}: ")


def test_what_is_followed_is_no_place_for_a_state(folder, capsys):
    Path("a.jsonl").touch()
    expected = "--state ./a.jsonl: this is the source"
    assert failure(capsys, 2, "a.jsonl", *BINARY, "--state", "./a.jsonl") == expected


def test_standard_input_that_is_closed_is_one_line(folder):
    command = ["sh", "-c", 'exec "$0" -m streamce watch - "$@" <&-', sys.executable, *BINARY]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"streamce: error: standard input is closed\n")


@pytest.mark.parametrize("full", [True, False])
def test_a_log_that_takes_no_more_stops_no_watch(folder, full):
    Path("a.jsonl").write_bytes(lines_of(rows_of(3)))
    with open("/dev/full" if full else os.devnull, "w") as log, contextlib.ExitStack() as stack:
        if not full:  # the reader has closed the pipe
            there, into = os.pipe()
            os.close(there)
            log = stack.enter_context(open(into, "w"))
        done = subprocess.run([*COMMAND, "a.jsonl", *BINARY, "--once", "--json", "--alert-above", "0",
                               "--alert-samples", "1"], stdout=subprocess.PIPE, stderr=log, check=False)  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["rows"]) == (3, 3)


def test_a_file_whose_name_is_no_text_is_followed(folder, capsys):
    name = os.fsdecode(b"\xff.jsonl")
    for number in (3, 5):
        Path(name).write_bytes(lines_of(rows_of(5)[:number]))
        assert watched(capsys, name, *BINARY, "--state", "S")[0]["rows"] == number


def test_a_named_pipe_is_refused_and_not_waited_for(folder, capsys):
    os.mkfifo("a.jsonl")
    assert failure(capsys, 1, "a.jsonl", *BINARY) == "a.jsonl: this is not a file"


def test_a_missing_prometheus_client_is_named(folder):
    Path("a.jsonl").write_bytes(lines_of(rows_of(3)))
    script = "import sys; sys.modules['prometheus_client'] = None; from streamce.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script, "watch", "a.jsonl", *BINARY, "--once", "--port", "0"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "streamce: error: streamce watch --port needs prometheus-client: pip install 'streamce[watch]'\n"
    )
