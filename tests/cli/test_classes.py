"""``--classes`` takes names with signs, and errors about labels that are text name it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

import streamce as ce
from streamce.cli.main import main

P, BINARY = [0.9, 0.2, 0.6], ["--task", "binary", "--preds", "p", "--target", "y"]
EXPECTED = ce.BinaryCrossEntropy().update(P, [1, 0, 1]).compute()


def write(path, labels):
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"p": P, "y": labels}), path)
    elif path.suffix == ".csv":
        path.write_text("p,y\n" + "".join(f"{p},{y}\n" for p, y in zip(P, labels, strict=True)))
    else:
        path.write_text("".join(json.dumps({"p": p, "y": y}) + "\n" for p, y in zip(P, labels, strict=True)))
    return str(path)


def mean(capsys, *words):
    assert main(["eval", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["mean"]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("labels", [[1, -1, 1], [1.0, -1.0, 1.0], ["1", "-1", "1"]])
@pytest.mark.parametrize("words", [["--classes", "-1,1"], ["--classes=-1,1"], ["--classes", "-1, 1"]])
def test_minus_one_and_one(tmp_path, capsys, ending, labels, words):
    path = write(tmp_path / f"a.{ending}", labels)
    assert mean(capsys, path, *BINARY, *words) == EXPECTED
    assert mean(capsys, *words, *BINARY, path) == EXPECTED


@pytest.mark.parametrize(("classes", "labels"), [("-,+", "+-+"), ("-.5,.5", [".5", "-.5", ".5"])])
def test_other_names_with_signs(tmp_path, capsys, classes, labels):
    assert mean(capsys, write(tmp_path / "a.jsonl", list(labels)), *BINARY, "--classes", classes) == EXPECTED


def test_an_option_is_no_value(tmp_path, capsys):
    path = write(tmp_path / "a.csv", [1, 0, 1])
    assert main(["eval", path, *BINARY, "--classes", "--json"]) == 2
    assert "--classes: expected one argument" in capsys.readouterr().err


def test_text_labels_of_csv_name_the_option(tmp_path, capsys):
    path = write(tmp_path / "a.csv", ["yes", "no", "yes"])
    assert main(["eval", path, *BINARY]) == 1
    first = "row 0: column 'y' is 'yes', expected a number; if labels are text, --classes must name them, --null yes"
    assert capsys.readouterr().err == (
        f"streamce: error: {path}: {first} reads it as missing, --invalid skip leaves out such rows\n"
    )
    assert main(["eval", path, *BINARY, "--invalid", "skip"]) == 1
    assert first in capsys.readouterr().err
    assert mean(capsys, path, *BINARY, "--classes", "no,yes") == EXPECTED


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("labels", [("true", "false"), ("True", "False"), ("TRUE", "FALSE")])
def test_true_and_false(tmp_path, capsys, ending, labels):
    if ending == "jsonl":
        labels = (True, False)
    assert mean(capsys, write(tmp_path / f"a.{ending}", [labels[0], labels[1], labels[0]]), *BINARY) == EXPECTED


# ---- the names are an option of the metric ----

NAMES, TEXT, NUMBERS = ["cat", "dog", "fox"], ["fox", "cat", "dog", "cat"], [2, 0, 1, 0]
PREDS = np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
MULTICLASS = ["--task", "multiclass", "--preds", "p_*", "--target", "y", "--classes", "cat,dog,fox"]


def write_table(path, labels, preds=PREDS, **columns):
    table = pa.table({**{f"p_{i}": column for i, column in enumerate(preds.T)}, "y": labels, **columns})
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return str(path)


def named(**options):
    return ce.MulticlassCrossEntropy(classes=NAMES, **options)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_the_state_is_that_of_python(tmp_path, ending):
    path, state = write_table(tmp_path / f"a.{ending}", TEXT, by=[1, 1, 2, 2]), str(tmp_path / "s")
    assert main(["eval", path, *MULTICLASS, "--state", state]) == 0
    assert ce.load(state) == named().update(PREDS, TEXT) == named().update(PREDS, NUMBERS)
    assert main(["eval", path, *MULTICLASS, "--state", state, "--resume"]) == 1  # a state without a checkpoint
    assert main(["eval", path, *MULTICLASS, "--by", "by", "--state", state]) == 0
    keys = [1, 1, 2, 2] if ending != "csv" else ["1", "1", "2", "2"]
    assert ce.load(state) == ce.Grouped(named()).update(PREDS, TEXT, by=keys)


def test_invalid_labels_count_as_in_python(tmp_path, capsys):
    labels = ["fox", "bird", "", "-100"]
    path, state = write_table(tmp_path / "a.jsonl", labels), str(tmp_path / "s")
    words = ["eval", path, *MULTICLASS, "--ignore-index", "-100", "--state", state]
    assert main(words) == 1
    assert "row 1: column 'y' is 'bird': expected one of 'cat', 'dog', 'fox'" in capsys.readouterr().err
    assert main([*words, "--invalid", "skip"]) == 0
    expected = named(invalid="skip", ignore_index=-100).update(PREDS, labels)
    assert ce.load(state).to_bytes() == expected.to_bytes()
    assert (expected.summary().invalid_label, expected.summary().invalid_null, expected.summary().ignored) == (1, 1, 1)


def test_states_of_other_classes_do_not_add(tmp_path, capsys):
    a, b, output = (str(tmp_path / name) for name in "abo")
    for labels, names, state in (TEXT, "cat,dog,fox", a), (TEXT, "fox,cat,dog", b):
        path = write_table(tmp_path / "data.parquet", labels)
        assert main(["eval", path, *MULTICLASS[:-1], names, "--state", state]) == 0
    capsys.readouterr()
    assert main(["merge", a, b, "-o", output]) == 1
    assert "classes" in capsys.readouterr().err
    assert main(["merge", a, "-o", output]) == 0


def test_a_run_is_resumed_with_its_names(tmp_path):
    a, state = write_table(tmp_path / "a.csv", TEXT), str(tmp_path / "s")
    words = ["eval", a, *MULTICLASS, "--state", state, "--resume"]
    assert main(words) == main(words) == 0
    assert ce.load(state) == named().update(PREDS, TEXT)
    assert main([*words[:-4], "dog,cat,fox", *words[-3:]]) == 1


def test_compare_and_watch_have_the_names(tmp_path):
    a, state = write_table(tmp_path / "a.jsonl", TEXT, n=[0, 1, 2, 3]), str(tmp_path / "s")
    b = write_table(tmp_path / "b.jsonl", TEXT, PREDS[:, ::-1], n=[0, 1, 2, 3])
    assert main(["compare", a, b, *MULTICLASS, "--state", state]) == 0
    assert ce.load(state) == ce.Paired(named()).update(PREDS, PREDS[:, ::-1], TEXT)
    assert main(["watch", a, *MULTICLASS, "--once", "--state", str(tmp_path / "w")]) == 0
    assert ce.load(str(tmp_path / "w")) == named().update(PREDS, TEXT)


def test_soft_targets_have_the_names(tmp_path):
    soft = {f"q_{i}": column for i, column in enumerate(PREDS[:, ::-1].T)}
    path, state = write_table(tmp_path / "a.parquet", TEXT, **soft), str(tmp_path / "s")
    assert main(["eval", path, *MULTICLASS, "--state", state]) == 0
    words = [word if word != "y" else "q_*" for word in MULTICLASS]
    assert main(["eval", path, *words, "--state", state]) == 0
    assert ce.load(state) == named().update(PREDS, PREDS[:, ::-1])


def test_an_ignored_label_is_one_of_the_data(tmp_path):
    labels, state = ["fox", "cat", "2", "cat"], str(tmp_path / "s")
    path = write_table(tmp_path / "a.csv", labels)
    assert main(["eval", path, *MULTICLASS, "--ignore-index", "2", "--state", state]) == 0
    assert ce.load(state) == named(ignore_index=-1).update(PREDS, [2, 0, -1, 0])


def test_tasks_without_names_keep_their_states(tmp_path):
    state = str(tmp_path / "s")
    path = write(tmp_path / "a.csv", [1, -1, 1])
    assert main(["eval", path, *BINARY, "--classes", "-1,1", "--state", state]) == 0
    assert ce.load(state) == ce.BinaryCrossEntropy().update(P, [1, 0, 1])
    pq.write_table(pa.table({"p": [[0.9, 0.2]], "y": [["b"]]}), tmp_path / "m.parquet")
    words = ["--task", "multilabel", "--preds", "p", "--target", "y", "--classes", "a,b"]
    assert main(["eval", str(tmp_path / "m.parquet"), *words, "--state", state]) == 0
    assert ce.load(state) == ce.MultilabelCrossEntropy(per_label=True).update([[0.9, 0.2]], [[0, 1]])


def test_one_class_is_too_few(tmp_path, capsys):
    pq.write_table(pa.table({"p": [[1.0]], "y": ["a"]}), tmp_path / "a.parquet")
    words = ["--task", "multiclass", "--preds", "p", "--target", "y", "--classes", "a"]
    assert main(["eval", str(tmp_path / "a.parquet"), *words]) == 2
    assert "--classes: classes is ('a',): expected names of two classes or more" in capsys.readouterr().err
