"""CSV on several threads: the results, errors and rows of one thread."""

import json
import os
import random
import subprocess
import sys
import textwrap
import threading

import pytest

from streamce.cli.main import main
from streamce.reading.formats import csv_text, text

BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
SKIP = ("--invalid", "skip")
FAULTS = ["None,1,t", "0.5,?,t", "0.5", "0.5,1,t,1", '0.5,1,"t"x', "1.5,1,t", "0.5,1,\udcff", '0.5,1,"open']


def evaluated(capsys, path, *words):
    """Return the exit status, the result and the errors of a run."""
    capsys.readouterr()
    status = main(["eval", str(path), *BINARY, *words, "--json"])
    out, err = capsys.readouterr()
    result = json.loads(out) if out else None
    if result:
        result["options"].pop("threads")
    return status, result, err


def rows(rng, count):
    return [f"{rng.random()},{rng.randint(0, 1)},{rng.choice(['t', chr(34) + 'a,b' + chr(34)])}" for _ in range(count)]


@pytest.mark.parametrize(
    "words", [(), ("--invalid", "skip"), ("--by", "t"), ("--invalid", "skip", "--chunk-rows", "7")]
)
@pytest.mark.parametrize("faults", [0, 1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_number_of_threads_changes_nothing(capsys, tmp_path, monkeypatch, words, faults, seed):
    rng = random.Random(f"{faults} {seed}")
    lines = rows(rng, 400)
    for fault in rng.sample(FAULTS, faults):
        lines[rng.randrange(100, 400)] = fault
    path = tmp_path / "a.csv"
    path.write_bytes("\n".join(["p,y,t", *lines, ""]).encode(errors="surrogateescape"))
    monkeypatch.setattr(text, "TEXT_BLOCK", rng.choice([100, 300, 1000]))
    one, *others = (evaluated(capsys, path, *words, "--threads", str(count)) for count in (1, 2, 3, 8))
    assert all(other == one for other in others)
    if not faults:
        assert one[0] == 0


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_first_error_wins(capsys, tmp_path, monkeypatch, threads):
    """Also if a later block is cut or parsed before it."""
    lines = [f"0.5,{i % 2}" for i in range(200)]
    lines[150], lines[170] = "None,1", '0.5,"1"x'
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["p,y", *lines]))
    monkeypatch.setattr(text, "TEXT_BLOCK", 64)
    status, _, err = evaluated(capsys, path, "--threads", str(threads))
    assert status == 1
    assert "row 150: column 'p' is 'None', expected a number" in err
    lines[150] = "0.5,1"
    path.write_text("\n".join(["p,y", *lines]))
    status, _, err = evaluated(capsys, path, "--threads", str(threads))
    assert status == 1
    assert "row 170: a closing quote is followed by text" in err


def test_a_large_block_is_parsed_before_the_next_is_cut(capsys, tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["p,y,t", *rows(random.Random(1), 300), "None,1,t", ""]))
    monkeypatch.setattr(text, "TEXT_BLOCK", 100)
    expected = evaluated(capsys, path, *SKIP), evaluated(capsys, path)
    monkeypatch.setattr(csv_text, "LARGE_BLOCK", 0)
    assert (evaluated(capsys, path, *SKIP), evaluated(capsys, path)) == expected
    assert expected[0][1]["rows_unreadable"] == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_other_threads_parse_only_if_there_may_be_more_than_one(tmp_path, threads):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["p,y,t", *rows(random.Random(2), 5000)]))
    script = f"""
        import contextlib, io, threading
        from streamce.cli.main import main
        from streamce.reading.formats import text
        text.TEXT_BLOCK = 1000
        with contextlib.redirect_stdout(io.StringIO()):
            status = main(["eval", {str(path)!r}, *{BINARY}, "--threads", "{threads}"])
        print(status, [each.name for each in threading.enumerate()])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    others = "" if threads == 1 else ", 'streamce-0'"
    assert done.stdout == f"0 ['MainThread'{others}]\n"


@pytest.mark.skipif(os.name == "nt", reason="no named pipes")
def test_a_stream_is_parsed_as_it_arrives(tmp_path):
    """The error of a row is printed although the stream has not ended."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    child = subprocess.Popen(
        [sys.executable, "-m", "streamce", "eval", str(pipe), "--format", "csv", *BINARY, "--threads", "4"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    timer = threading.Timer(60, child.kill)
    timer.start()
    with pipe.open("wb", buffering=0) as file:
        block = b"0.5,1\n" * (text.TEXT_BLOCK // 6)
        file.write(b"p,y\n" + block + b"None,1\n" + block)
        err = child.communicate()[1]
    timer.cancel()
    assert child.returncode == 1
    assert "expected a number" in err
