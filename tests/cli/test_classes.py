"""``--classes`` takes names with signs, and errors about labels that are text name it."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
    line = capsys.readouterr().err
    assert "row 0: column 'y' is 'yes', expected a number" in line
    assert line.endswith("such rows; if labels are text, --classes must name them\n")
    assert mean(capsys, path, *BINARY, "--classes", "no,yes") == EXPECTED


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("labels", [("true", "false"), ("True", "False"), ("TRUE", "FALSE")])
def test_true_and_false(tmp_path, capsys, ending, labels):
    if ending == "jsonl":
        labels = (True, False)
    assert mean(capsys, write(tmp_path / f"a.{ending}", [labels[0], labels[1], labels[0]]), *BINARY) == EXPECTED
