"""The exit status of results: gates that the end of the interval decides, and runs without a valid row."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import streamce as ce
from streamce.cli.main import main

RNG = np.random.default_rng(3)
LOSSES = RNG.gamma(4.0, 0.1, 400)
EVAL = ["--task", "binary", "--kind", "log_probs", "--preds", "a", "--target", "y"]


def written(path, columns):
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows)]) + "\n")
    return str(path)


@pytest.fixture
def losses(tmp_path):
    return written(tmp_path / "a.csv", {"a": (-LOSSES).tolist(), "y": [1] * 400})


def metric_of_losses():
    return ce.BinaryCrossEntropy(kind="log_probs").update(-LOSSES, [1] * 400)


def run(capsys, *arguments):
    status = main([*arguments])
    return status, *capsys.readouterr()


def test_a_loss_fails_if_its_whole_interval_is_above_the_limit(losses, tmp_path, capsys):
    summary = metric_of_losses().summary()
    low, high = summary.interval
    for limit, expected in ((low - 1e-9, 3), (low + 1e-9, 0), (high + 1e-9, 0), (-1.0, 3)):
        status, out, err = run(capsys, "eval", losses, *EVAL, f"--fail-above={limit}", "--state", str(tmp_path / "S"))
        assert status == expected
        assert f"{summary.value:.6g}" in out
        assert err.count("\n") == (status == 3)
        if status:
            assert f"--fail-above {limit:g}: failed, because the mean loss is {summary.value:.6g} nats" in err
            assert f"and its 95 % interval is {low:.6g} to {high:.6g}" in err
        assert ce.load(tmp_path / "S").summary() == summary


def test_the_interval_is_that_of_the_options(losses, capsys):
    summary = metric_of_losses().summary(0.5, anytime=True)
    limit = summary.interval[0] + 1e-9
    assert run(capsys, "eval", losses, *EVAL, "--level=0.5", "--anytime", f"--fail-above={limit}")[0] == 0
    assert run(capsys, "eval", losses, *EVAL, "--level=0.1", f"--fail-above={limit}")[0] == 3


@pytest.mark.parametrize(
    ("values", "limit", "status", "words"),
    [
        (["-0.5"], 1, 3, "the mean loss is 0.5 nats and has no 95 % interval"),
        (["-inf", "-0.5"], 1e300, 3, "the mean loss is inf nats"),
        (["-0.5", "-0.25"], 0.4, 0, ""),
    ],
)
def test_a_result_without_an_interval_fails(tmp_path, capsys, values, limit, status, words):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["a,y", *(f"{value},1" for value in values)]) + "\n")
    found = run(capsys, "eval", str(path), *EVAL, "--eps", "0", f"--fail-above={limit}")
    assert found[0] == status, found
    assert words in found[2]


def test_json_is_printed_before_the_gate(losses, capsys):
    status, out, _ = run(capsys, "eval", losses, *EVAL, "--json", "--fail-above=0")
    assert status == 3
    assert json.loads(out)["count"] == 400


PROBS = np.clip(RNG.random(400), 0.05, 0.95)
TARGET = (RNG.random(400) < PROBS).astype(int)
COMPARE = ["--task", "binary", "--target", "y", "--preds-a", "a", "--preds-b", "b"]


def test_b_fails_if_it_is_worse_by_more_than_the_margin(tmp_path, capsys):
    worse = np.clip(PROBS * 0.5 + 0.25, 0, 1)
    path = written(tmp_path / "a.csv", {"y": TARGET.tolist(), "a": PROBS.tolist(), "b": worse.tolist()})
    difference = ce.Paired(ce.BinaryCrossEntropy()).update(PROBS, worse, TARGET).summary().difference
    high = difference.interval[1]
    assert high < 0
    gates = (["--fail-if-worse"], 3), ([f"--fail-if-worse={-high - 1e-9}"], 3), ([f"--fail-if-worse={-high + 1e-9}"], 0)
    for words, expected in (([], 0), *gates):
        status, out, err = run(capsys, "compare", path, *COMPARE, *words)
        assert (status, err.count("\n")) == (expected, expected == 3)
        assert out.count("A is better") == 1
        assert not status or f"failed, because A - B is {difference.value:.6g} nats and its 95 % interval is" in err
    turned = ["--task", "binary", "--target", "y", "--preds-a", "b", "--preds-b", "a"]
    assert run(capsys, "compare", path, *turned, "--fail-if-worse")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "a.csv", *EVAL, "--fail-above", "x"], "'x' is not a number"),
        (["eval", "a.csv", *EVAL, "--fail-above", "nan"], "'nan' is not a number"),
        (["eval", "a.csv", *EVAL, "--by", "y", "--fail-above", "1"], "--fail-above cannot be combined with --by"),
        (["compare", "a.csv", *COMPARE, "--fail-if-worse=-1"], "'-1' is not a number of nats, 0 or more"),
    ],
)
def test_a_gate_without_sense_is_a_usage_error(capsys, words, message):
    status, _, err = run(capsys, *words)
    assert status == 2
    assert message in err


# ---- runs without a valid row ----

SKIP = ["--task", "binary", "--preds", "p", "--target", "y", "--invalid", "skip"]


@pytest.mark.parametrize("more", [[], ["--json"], ["--by", "y"], ["--fail-above", "1"]], ids=str)
def test_a_run_whose_rows_were_all_skipped_fails(tmp_path, capsys, more):
    path = written(tmp_path / "a.csv", {"p": [2.0, math.nan, 3.0], "y": [1, 0, 1]})
    status, out, err = run(capsys, "eval", path, *SKIP, *more, "--state", str(tmp_path / "S"))
    assert (status, bool(out)) == (1, True)
    assert err == "streamce: error: no loss was valid, so all were skipped: invalid_nan 1, invalid_range 2\n"
    found = ce.load(tmp_path / "S")
    assert (found.micro() if "--by" in more else found.summary()).skipped == 3


def test_a_comparison_whose_rows_were_all_skipped_fails(tmp_path, capsys):
    path = written(tmp_path / "a.csv", {"a": [0.5, 2.0], "b": [math.nan, 0.5], "y": [1, 0]})
    status, _, err = run(capsys, "compare", path, *COMPARE, "--invalid", "skip")
    assert (status, "no loss was valid" in err) == (1, True)


def test_a_run_with_one_valid_row_succeeds(tmp_path, capsys):
    path = written(tmp_path / "a.csv", {"p": [2.0, 0.5], "y": [1, 0]})
    assert run(capsys, "eval", path, *SKIP)[::2] == (0, "")


@pytest.mark.parametrize(
    "more", [[], ["--json"], ["--by", "g"], ["--cluster", "g"], ["--calibration", "--tail"]], ids=str
)
def test_a_run_without_rows_succeeds_with_nan(tmp_path, capsys, more):
    path = tmp_path / "a.csv"
    path.write_text("p,y,g\n")
    status, out, err = run(capsys, "eval", str(path), *SKIP, *more)
    assert (status, err) == (0, "")
    assert ("null" if more == ["--json"] else "nan nats") in out
    assert run(capsys, "eval", str(path), *SKIP, "--fail-above", "1")[0] == 3
    status, out, _ = run(capsys, "compare", str(path), *SKIP, "--preds-b", "p")
    assert (status, "there are no samples" in out) == (0, True)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_reader_that_leaves_changes_no_status(losses, more):
    """Standard output is a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "streamce", "eval", losses, *EVAL, "--fail-above=0", *more]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writing)
    assert done.returncode == 3
    assert "--fail-above 0: failed" in done.stderr
    assert done.stderr.count("\n") == 1
