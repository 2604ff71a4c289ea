"""``streamce diff``: whether the states of two runs are equal, by the exit status, as text and as JSON."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT

import streamce as ce
from streamce.cli.main import main

STATES = ROOT / "tests" / "support" / "golden_states" / "1"
P, Y = [0.9, 0.2, 0.6], [1, 0, 1]


def run(capsys, *words):
    status = main(["diff", *map(str, words)])
    return status, *capsys.readouterr()


@pytest.fixture
def saved(tmp_path):
    def save(name, metric):
        metric.save(tmp_path / name)
        return tmp_path / name

    return save


def test_equal_states(saved, capsys):
    a = saved("a.state", ce.BinaryCrossEntropy().update(P, Y))
    b = saved("b.state", ce.BinaryCrossEntropy().update(P[2:], Y[2:]).update(P[:2], Y[:2]))
    mean = ce.load(a).compute()
    assert run(capsys, a, b) == (0, f"equal: value {mean!r}, 3 samples\n", "")
    status, out, _ = run(capsys, a, b, "--json")
    found = json.loads(out)
    assert (status, found["equal"], found["a"], found["b"]) == (0, True, str(a), str(b))
    assert found["quantities"][0] == {"name": "value", "a": mean, "b": mean, "difference": 0.0}


def test_different_states(saved, capsys):
    a = saved("a.state", ce.BinaryCrossEntropy().update(P, Y))
    b = saved("b.state", ce.BinaryCrossEntropy().update(P[:2], Y[:2]))
    status, out, err = run(capsys, a, b)
    assert (status, err) == (1, "")
    assert out == f"{ce.diff_states(ce.load(a), ce.load(b))}\n"
    assert out.startswith("different: A has 1 more sample\n")
    status, out, _ = run(capsys, a, b, "--json")
    found = {each["name"]: each for each in json.loads(out)["quantities"]}
    assert status == 1
    assert found["samples"] == {"name": "samples", "a": 3, "b": 2, "difference": 1}


def test_two_evaluations_of_the_same_rows_agree(tmp_path, capsys):
    """Other chunks, other threads, another order: the same state. One row less: another one."""
    rng = np.random.default_rng(0)
    rows = [
        f"{p!r},{y},{g}" for p, y, g in zip(rng.random(50).tolist(), rng.integers(0, 2, 50), "abcde" * 10, strict=True)
    ]
    task = ["--task", "binary", "--preds", "p", "--target", "y", "--by", "g"]
    for name, lines, more in (("a", rows, []), ("b", rows[::-1], ["--chunk-rows", "7"]), ("c", rows[:-1], [])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["p,y,g", *lines]) + "\n")
        main(["eval", str(tmp_path / f"{name}.csv"), *task, *more, "--state", str(tmp_path / f"{name}.state")])
    capsys.readouterr()
    a, b, c = (tmp_path / f"{name}.state" for name in "abc")
    assert run(capsys, a, b)[0] == 0
    status, out, _ = run(capsys, a, c)
    assert status == 1
    assert "A has 1 more sample" in out
    assert "\ngroups: 1 of 5 differ\n  e " in out


def test_states_that_cannot_be_compared(tmp_path, saved, capsys):
    a = saved("a.state", ce.BinaryCrossEntropy().update(P, Y))
    logits = saved("b.state", ce.BinaryCrossEntropy(kind="logits"))
    words = saved("words.state", ce.Grouped(ce.MeanLoss()).update([1.0], by=["1"]))
    numbers = saved("numbers.state", ce.Grouped(ce.MeanLoss()).update([1.0], by=[1]))
    (tmp_path / "no.state").write_bytes(a.read_bytes()[:-1])
    for one, other, message in (
        (a, logits, "cannot be compared: kind is 'probs' in one metric and 'logits' in the other"),
        (a, words, "cannot be compared: a BinaryCrossEntropy and a Grouped"),
        (words, numbers, "cannot be compared: by is of kind str in one state and int in the other"),
        (a, tmp_path / "missing.state", "missing.state: No such file or directory"),
        (a, tmp_path, ": Is a directory"),
        (tmp_path / "no.state", a, "no.state: state is damaged or cut short"),
        (a, STATES / "binary.json", "binary.json: state does not begin like a state of streamce"),
    ):
        for more in ([], ["--json"]):
            status, out, err = run(capsys, one, other, *more)
            assert (status, out) == (2, "")
            assert message in err, err
            assert err.startswith("streamce: error: ")
            assert err.count("\n") == 1
    status, _, err = run(capsys, a)
    assert (status, "the following arguments are required: B" in err) == (2, True)


@pytest.mark.parametrize("path", sorted(STATES.glob("*.state")), ids=lambda path: path.stem)
def test_any_state_of_a_release_equals_itself_and_not_an_empty_one(path, saved, capsys):
    metric = ce.load(path)
    empty = saved("empty.state", metric.copy().reset())
    assert run(capsys, path, path)[0] == 0
    status, out, err = run(capsys, path, empty)
    assert (status, err) == (int(metric != ce.load(empty)), "")
    assert run(capsys, path, empty, "--json")[0] == status
    assert out.startswith("different" if status else "equal")


def test_a_reader_that_leaves_changes_no_status(saved):
    """Standard output is a pipe that nobody reads."""
    a, b = saved("a.state", ce.MeanLoss()), saved("b.state", ce.MeanLoss().update([1.0]))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "streamce", "diff", str(a), str(b)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_names_of_groups_cannot_move_the_cursor(saved, capsys):
    a = saved("a.state", ce.Grouped(ce.MeanLoss()).update([1.0], by=["\x1b[2J"]))
    b = saved("b.state", ce.Grouped(ce.MeanLoss()))
    _, out, _ = run(capsys, a, b)
    assert "\x1b" not in out
    assert "\\x1b[2J" in out


def test_output_that_cannot_be_written_is_not_a_difference(saved):
    a = saved("a.state", ce.MeanLoss().update([1.0]))
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "streamce", "diff", str(a), str(a)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (2, "streamce: error: output: No space left on device\n")
