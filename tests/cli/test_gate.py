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
        (["eval", "a.csv", *EVAL, "--fail-above", "x"], "'x' is not a finite number"),
        (["eval", "a.csv", *EVAL, "--fail-above", "nan"], "'nan' is not a finite number"),
        (["eval", "a.csv", *EVAL, "--min-samples", "1"], "--min-samples needs --by or --by-time"),
        (["eval", "a.csv", *EVAL, "--by", "y", "--min-samples", "-1"], "'-1' is not a number of samples"),
        (["eval", "a.csv", *EVAL, "--by", "y", "--fdr", "0.1"], "unrecognized arguments: --fdr 0.1"),
        (["compare", "a.csv", *COMPARE, "--fdr", "0.1"], "--fdr needs --by or --by-time"),
        (["compare", "a.csv", *COMPARE, "--by", "y", "--fdr", "1"], "'1' is not a number between 0 and 1"),
        (["compare", "a.csv", *COMPARE, "--fail-if-worse=-1"], "'-1' is not a number of nats, 0 or more"),
    ],
)
def test_a_gate_without_sense_is_a_usage_error(capsys, words, message):
    status, _, err = run(capsys, *words)
    assert status == 2
    assert message in err


# ---- groups ----

GROUPS = np.repeat(["a", "b", "c", "d"], [200, 150, 48, 2])
OF_GROUP = {"a": 0.3, "b": 0.6, "c": 0.9, "d": 3.0}  # about the mean loss of each group


@pytest.fixture
def by_group(tmp_path):
    losses = np.array([OF_GROUP[group] for group in GROUPS]) + RNG.normal(0, 0.05, 400)
    columns = {"a": (-losses).tolist(), "y": [1] * 400, "g": GROUPS.tolist()}
    groups = ce.Grouped(ce.BinaryCrossEntropy(kind="log_probs")).update(-losses, [1] * 400, by=GROUPS)
    path = tmp_path / "a.csv"
    rows = zip(*columns.values(), strict=True)
    path.write_text("a,y,g\n" + "".join(f"{loss!r},{y},{g}\n" for loss, y, g in rows))
    return str(path), groups.summary()


@pytest.mark.parametrize(
    ("limit", "least", "failed"),
    [
        (0.5, None, ["b"]),  # c and d have fewer than 100 samples
        (0.5, 48, ["c", "b"]),
        (0.5, 0, ["d", "c", "b"]),
        (0.1, 0, ["d", "c", "b", "a"]),
        (0.7, None, []),
        (0.7, 48, ["c"]),
        (1.0, 48, []),
    ],
)
def test_a_loss_fails_if_that_of_a_group_with_enough_samples_is_above_the_limit(by_group, capsys, limit, least, failed):
    path, summaries = by_group
    more = [] if least is None else ["--min-samples", str(least)]
    status, _, err = run(capsys, "eval", path, *EVAL, "--by", "g", "--fail-above", str(limit), *more)
    assert status == (3 if failed else 0)
    assert err.count("\n") == (status == 3)
    if failed:
        tested = sum(summary.samples >= (100 if least is None else least) for summary in summaries.values())
        reason = f"the mean loss is above it in {len(failed)} of {tested} groups (95 % interval): "
        texts = [
            f"{key} {summaries[key].value:.6g} nats ({low:.6g} to {high:.6g})"
            for key in failed
            for low, high in [summaries[key].interval]
        ]
        assert err == f"streamce: --fail-above {limit:g}: failed, because {reason}{', '.join(texts)}\n"


def test_the_interval_of_a_group_decides(by_group, capsys):
    path, summaries = by_group
    low = summaries["b"].interval[0]
    for limit, expected in ((low - 1e-9, 3), (low + 1e-9, 0)):
        assert run(capsys, "eval", path, *EVAL, "--by", "g", f"--fail-above={limit!r}")[0] == expected
    assert run(capsys, "eval", path, *EVAL, "--by", "g", f"--fail-above={low + 1e-9!r}", "--level", "0.5")[0] == 3


def test_groups_that_show_nothing_fail(tmp_path, by_group, capsys):
    path, _ = by_group
    status, _, err = run(capsys, "eval", path, *EVAL, "--by", "g", "--fail-above", "9", "--min-samples", "500")
    assert status == 3
    assert err == "streamce: --fail-above 9: failed, because no group has 500 samples (see --min-samples)\n"
    written(tmp_path / "b.csv", {"a": [-0.5, -0.5, -0.5], "y": [1, 1, 1], "g": [1, 1, 2]})
    words = ["eval", str(tmp_path / "b.csv"), *EVAL, "--by", "g", "--fail-above", "9"]
    status, _, err = run(capsys, *words, "--min-samples", "1")
    assert (status, "in 1 of 2 groups (95 % interval): 2 0.5 nats (no interval)\n" in err) == (3, True)
    assert run(capsys, *words, "--min-samples", "2")[0] == 0
    assert run(capsys, *words)[0] == 3  # no group has 100 samples


def test_many_groups_that_fail_are_not_all_named(tmp_path, capsys):
    path = written(tmp_path / "a.csv", {"a": [-0.5, -0.25] * 20, "y": [1] * 40, "g": np.repeat(range(20), 2).tolist()})
    status, _, err = run(capsys, "eval", path, *EVAL, "--by", "g", "--min-samples", "2", "--fail-above=-99")
    assert status == 3
    assert "is above it in 20 of 20 groups" in err
    assert err.endswith(", and 15 more\n")


def test_the_normalized_entropy_of_groups(tmp_path, capsys):
    y, g = np.tile([0, 1], 200), np.repeat(["good", "bad"], 200)
    p = np.where(g == "bad", 0.5, np.where(y == 1, 0.8, 0.2)) + RNG.normal(0, 0.01, 400)
    path = tmp_path / "a.csv"
    path.write_text("a,y,g\n" + "".join(f"{a!r},{b},{c}\n" for a, b, c in zip(p.tolist(), y, g, strict=True)))
    task = ["--task", "binary", "--preds", "a", "--target", "y", "--normalized", "--by", "g"]
    status, _, err = run(capsys, "eval", str(path), *task, "--fail-above", "0.9")
    assert (status, "the normalized entropy is above it in 1 of 2 groups (95 % interval): bad " in err) == (3, True)
    assert run(capsys, "eval", str(path), *task, "--fail-above", "1.1")[0] == 0


@pytest.fixture
def two_models(tmp_path):
    """B is worse in group b by 0.2 and in the small group d by 1, and better in group c by 0.3."""
    groups = np.repeat(["a", "b", "c", "d"], [400, 300, 200, 50])
    n = len(groups)
    a = RNG.gamma(4.0, 0.1, n)
    b = a + np.where(np.arange(n) % 2, 0.05, -0.05) + np.select([groups == key for key in "bcd"], [0.2, -0.3, 1.0], 0.0)
    columns = zip((-a).tolist(), np.minimum(-b, 0.0).tolist(), groups, strict=True)
    path = tmp_path / "two.csv"
    path.write_text("a,b,y,g\n" + "".join(f"{a!r},{b!r},1,{g}\n" for a, b, g in columns))
    paired = ce.Grouped(ce.Paired(ce.BinaryCrossEntropy(kind="log_probs")))
    return str(path), paired.update(-a, np.minimum(-b, 0.0), [1] * n, by=groups)


@pytest.mark.parametrize(
    ("margin", "more", "failed"),
    [
        ("0", [], ["b"]),
        ("0", ["--min-samples", "50"], ["d", "b"]),
        ("0.1", [], ["b"]),
        ("0.25", [], []),
        ("0.25", ["--min-samples", "50"], ["d"]),
        ("0", ["--fdr", "0.01"], ["b"]),
        ("0", ["--anytime"], ["b"]),
    ],
)
def test_b_fails_if_it_is_worse_in_a_group_that_is_a_discovery(two_models, capsys, margin, more, failed):
    path, groups = two_models
    words = ["--task", "binary", "--kind", "log_probs", "--target", "y", "--preds-a", "a", "--preds-b", "b"]
    status, _, err = run(capsys, "compare", path, *words, "--by", "g", "--fail-if-worse", margin, *more)
    assert status == (3 if failed else 0), err
    if failed:
        options = dict(zip(more[::2], more[1::2], strict=False))
        found = groups.discoveries(
            float(options.get("--fdr", 0.05)), "--anytime" in more, int(options.get("--min-samples", 100))
        )
        rows = {row.key: row for row in found}
        assert err.startswith(f"streamce: --fail-if-worse {margin}: failed, because B is worse in {len(failed)} of ")
        texts = [
            f"{key} {rows[key].difference:.6g} nats ({low:.6g} to {high:.6g})"
            for key in failed
            for low, high in [rows[key].interval]
        ]
        assert err.endswith(f"% interval): {', '.join(texts)}\n")
    else:
        assert err == ""


def test_a_comparison_of_groups_that_are_all_small_fails(two_models, capsys):
    path, _ = two_models
    words = ["--task", "binary", "--kind", "log_probs", "--target", "y", "--preds-a", "a", "--preds-b", "a"]
    assert run(capsys, "compare", path, *words, "--by", "g", "--fail-if-worse")[0] == 0
    status, _, err = run(capsys, "compare", path, *words, "--by", "g", "--fail-if-worse", "--min-samples", "1000")
    assert (status, "failed, because no group has 1,000 samples" in err) == (3, True)


def test_a_model_that_is_infinitely_worse_in_a_group_fails(tmp_path, capsys):
    path = written(tmp_path / "a.csv", {"a": [0.5] * 200, "b": [0.5] * 199 + [0.0], "y": [1] * 200, "g": [1] * 200})
    words = [*COMPARE, "--eps", "0", "--by", "g", "--fail-if-worse", "9"]
    status, _, err = run(capsys, "compare", path, *words)
    assert (status, "in 1 of 1 group" in err, "1 -inf nats (no interval)" in err) == (3, True, True)


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
