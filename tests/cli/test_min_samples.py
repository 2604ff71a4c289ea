"""``--min-samples`` and ``--fdr``: small groups are left out of rankings, and groups in which two models differ."""

import inspect
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import streamce as ce
from streamce.cli.main import main
from streamce.stats.discoveries import FDR, MIN_SAMPLES

RNG = np.random.default_rng(11)
SIZE_OF_GROUP = np.concatenate([np.full(12, 200), np.full(8, 30), np.full(5, 3)])
G = np.repeat(np.arange(25), SIZE_OF_GROUP)
N = len(G)
Y = RNG.integers(0, 2, N)
A = np.clip(np.where(Y == 1, 0.7, 0.3) + RNG.normal(0, 0.05, N), 0.01, 0.99)
B = np.clip(A + RNG.normal(0, 0.01, N), 0.01, 0.99)
B[G == 3] = 0.5
B[G == 4] = np.where(Y[G == 4] == 1, 0.9, 0.1)
B[G == 22] = 0.5  # of 3 samples
DAY = np.datetime64("2026-11-01", "us") + (G * 86400).astype("timedelta64[s]")
EVAL = ["--task", "binary", "--target", "y", "--preds", "a"]
COMPARE = ["--task", "binary", "--target", "y", "--preds-a", "a", "--preds-b", "b"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "a.parquet"
    parquet.write_table(pa.table({"y": Y, "a": A, "b": B, "g": G, "at": DAY}), file)
    return str(file)


@pytest.fixture
def groups():
    return ce.Grouped(ce.BinaryCrossEntropy()).update(A, Y, by=G)


@pytest.fixture
def pairs():
    return ce.Grouped(ce.Paired(ce.BinaryCrossEntropy())).update(A, B, Y, by=G)


def run(capsys, *words):
    assert main([*map(str, words)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def shown(out, title):
    """Return the first words of the rows below a title."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(title)) + 1
    end = next((i for i in range(start, len(lines)) if not lines[i].strip() or ":" in lines[i]), len(lines))
    return [line.split()[0] for line in lines[start:end]]


def test_the_defaults_are_those_of_python():
    parameters = inspect.signature(ce.Grouped.discoveries).parameters
    assert (parameters["fdr"].default, parameters["min_samples"].default) == (FDR, MIN_SAMPLES)
    assert inspect.signature(ce.Grouped.report).parameters["fdr"].default == FDR


@pytest.mark.parametrize(("least", "number"), [(0, 25), (3, 25), (4, 20), (31, 12), (200, 12), (201, 0)])
def test_small_groups_are_left_out_of_tables_and_json(path, groups, tmp_path, capsys, least, number):
    state = tmp_path / "a.state"
    groups.save(state)
    commands = (["eval", path, *EVAL, "--by", "g"], ["show", state])
    for words in commands:
        out = run(capsys, *words, "--min-samples", least)
        left_out = [line for line in out.splitlines() if line.startswith("left out")]
        noun = "group" if 25 - number == 1 else "groups"
        expected = f"left out {25 - number} {noun} with fewer than {least} samples"
        assert left_out == ([] if number == 25 else [expected])
        if number:
            macro = groups.macro(min_samples=least)
            assert f"mean of groups  {macro.value:.6g} nats" in out
            assert shown(out, f"the worst of {number}") == [str(k) for k, _ in groups.worst(5, min_samples=least)]
            assert shown(out, "the best") == [str(k) for k, _ in groups.best(5, min_samples=least)]
        else:
            assert "mean of groups" not in out
        found = json.loads(run(capsys, *words, "--min-samples", least, "--json"))
        assert [each["key"] for each in found["groups"]] == list(range(number))
        assert (found["min_samples"], found["groups_left_out"]) == (least, 25 - number)
        assert found["macro"]["groups"] == number
        assert found["count"] == N  # the result of all samples has all of them
    assert "min_samples" not in json.loads(run(capsys, *commands[0], "--json"))


def test_periods_with_few_samples_are_left_out(path, capsys):
    out = run(capsys, "eval", path, *EVAL, "--by-time", "at", "--period", "1d", "--min-samples", 31)
    assert sum(line.startswith("2026-11-") for line in out.splitlines()) == 12
    assert "left out 13 groups" in out


def test_a_state_of_a_collection(tmp_path, capsys):
    metrics = {"loss": ce.BinaryCrossEntropy(), "NE": ce.NormalizedEntropy()}
    ce.Grouped(ce.Collection(metrics)).update(A, Y, by=G).save(tmp_path / "a.state")
    assert run(capsys, "show", tmp_path / "a.state", "--min-samples", 31).count("left out 13 groups") == 2


def test_discoveries_are_printed_with_a_comparison_of_groups(path, pairs, tmp_path, capsys):
    state = tmp_path / "a.state"
    pairs.save(state)
    for words in (["compare", path, *COMPARE, "--by", "g"], ["show", state]):
        for more, options in (
            ([], {}),
            (["--fdr", 0.2], {"fdr": 0.2}),
            (["--min-samples", 3], {"min_samples": 3}),
            (["--min-samples", 0, "--fdr", 0.5], {"min_samples": 0, "fdr": 0.5}),
            (["--anytime"], {"anytime": True}),
            (["--min-samples", 500], {"min_samples": 500}),
        ):
            expected = pairs.discoveries(**options)
            out = run(capsys, *words, *more)
            assert f"\n\n{expected}\n" in out
            least = options.get("min_samples", 100)
            small = int((least > SIZE_OF_GROUP).sum())
            assert ("too small to decide" in out) == (small > 0)
            assert f"too small to decide: {small} groups with fewer than {least} samples" in out or not small
            found = json.loads(run(capsys, *words, *more, "--json"))["discoveries"]
            assert [each["key"] for each in found["groups"]] == [row.key for row in expected]
            assert [each["better"] for each in found["groups"]] == [row.better for row in expected]
            assert [each["interval"] for each in found["groups"]] == [list(row.interval) for row in expected]
            assert (found["fdr"], found["tested"], found["level"]) == (expected.fdr, expected.tested, expected.level)
            assert (found["min_samples"], found["anytime"]) == (least, expected.anytime)
    assert [row.better for row in pairs.discoveries()] == ["B", "A"]


def test_every_group_has_its_adjusted_p_value(path, pairs, capsys):
    found = json.loads(run(capsys, "compare", path, *COMPARE, "--by", "g", "--json"))
    adjusted = {row.key: row.adjusted_p for row in pairs.discoveries().differences}
    assert len(adjusted) == 12
    assert {each["key"]: each["adjusted_p"] for each in found["groups"]} == {
        key: adjusted.get(key) for key in range(25)
    }


def test_other_groups_have_no_discoveries(path, capsys):
    assert "discovery" not in run(capsys, "eval", path, *EVAL, "--by", "g")
    assert "discoveries" not in json.loads(run(capsys, "eval", path, *EVAL, "--by", "g", "--json"))


def test_a_comparison_of_no_groups(tmp_path, capsys):
    ce.Grouped(ce.Paired(ce.MeanLoss())).save(tmp_path / "a.state")
    assert "tested groups" not in run(capsys, "show", tmp_path / "a.state")
    found = json.loads(run(capsys, "show", tmp_path / "a.state", "--json"))
    assert found["discoveries"]["groups"] == []
    assert "tested" not in ce.load(tmp_path / "a.state").report()


@pytest.mark.parametrize(
    ("metric", "words", "message"),
    [
        (ce.MeanLoss(), ["--min-samples", "3"], "--min-samples needs a state of groups"),
        (ce.MeanLoss(), ["--fdr", "0.1"], "--fdr needs a state of groups of two models"),
        (ce.Paired(ce.MeanLoss()), ["--fdr", "0.1"], "--fdr needs a state of groups of two models"),
        (ce.Grouped(ce.MeanLoss()), ["--fdr", "0.1"], "--fdr needs a state of groups of two models"),
        (ce.Grouped(ce.MeanLoss()), ["--min-samples", "1.5"], "'1.5' is not a number of samples"),
        (ce.Grouped(ce.Paired(ce.MeanLoss())), ["--fdr", "0"], "'0' is not a number between 0 and 1"),
    ],
)
def test_an_option_of_groups_needs_groups(tmp_path, capsys, metric, words, message):
    metric.save(tmp_path / "a.state")
    for command in (["show"], ["report", "-o", str(tmp_path / "a.html")]):
        assert main([*command, str(tmp_path / "a.state"), *words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "a.html").exists()


def test_a_report_leaves_out_small_groups(groups, pairs, tmp_path, capsys):
    page = tmp_path / "a.html"
    for name, metric in (("groups", groups), ("pairs", pairs)):
        metric.save(tmp_path / f"{name}.state")
        run(capsys, "report", tmp_path / f"{name}.state", "-o", page, "--min-samples", 31)
        assert page.read_text() == metric.report(min_samples=31)
        run(capsys, "report", tmp_path / f"{name}.state", "-o", page)
        assert page.read_text() == metric.report()
    words = ["report", tmp_path / "groups.state", tmp_path / "pairs.state", "-o", page, "--fdr", 0.2]
    assert "discovery rate of 20 %" in (run(capsys, *words), page.read_text())[1]
