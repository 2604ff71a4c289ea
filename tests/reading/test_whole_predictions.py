"""In text formats the prediction 1 is 1.0, wherever it stands. ``eval`` notes if every prediction is a whole number."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamce as ce
from streamce.cli.main import main
from streamce.reading.formats import text

BINARY = ["--task", "binary", "--preds", "p", "--target", "y"]
NOTE = "streamce: note: every prediction is a whole number: are these labels?\n"
PREDS = [1, 0, 1, 1, 0.5, 1, 0.25, 0]  # of which the first are whole
LABELS = [1, 0, 1.0, 1, 1, 1, 0, 0]


def write(path, preds, labels):
    if path.suffix in (".csv", ".tsv"):
        comma = "," if path.suffix == ".csv" else "\t"
        path.write_text(f"p{comma}y\n" + "".join(f"{p}{comma}{y}\n" for p, y in zip(preds, labels, strict=True)))
    else:
        rows = [{"p": p, "y": y} for p, y in zip(preds, labels, strict=True)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def state(tmp_path, *words):
    assert main(["eval", *words, "--state", str(tmp_path / "state")]) == 0
    return ce.load(tmp_path / "state").to_bytes()


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("block", [8, 30, 1 << 22])
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_whole_predictions_in_any_block(tmp_path, monkeypatch, capsys, ending, block, order):
    monkeypatch.setattr(text, "TEXT_BLOCK", block)
    path = write(tmp_path / f"a.{ending}", PREDS[order], LABELS[order])
    expected = ce.BinaryCrossEntropy().update([float(p) for p in PREDS[order]], LABELS[order])
    assert state(tmp_path, path, *BINARY) == expected.to_bytes()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_only_whole_predictions_are_noted(tmp_path, capsys, ending):
    path = write(tmp_path / f"a.{ending}", [1, 0, 1], [1, 0, 1])
    expected = ce.BinaryCrossEntropy().update([1.0, 0.0, 1.0], [1, 0, 1])
    assert state(tmp_path, path, *BINARY) == expected.to_bytes()
    assert capsys.readouterr().err == NOTE


@pytest.mark.parametrize(
    ("preds", "is_noted"),
    [
        ([1.0, 0.0], True),
        ([1.0, 0.25], False),
        ([None, None, 1.0], True),
        ([1.0] * 100 + [0.5], False),
        ([None, None], False),
        ([], False),
    ],
)
def test_the_note_is_about_values(tmp_path, capsys, preds, is_noted):
    pq.write_table(pa.table({"p": pa.array(preds, pa.float64()), "y": [1] * len(preds)}), tmp_path / "a.parquet")
    status = main(["eval", str(tmp_path / "a.parquet"), *BINARY, "--invalid", "skip"])
    assert status == (1 if preds == [None, None] else 0)
    assert (NOTE in capsys.readouterr().err) == is_noted


def test_columns_and_lists(tmp_path, capsys):
    rows = [[1, 0], [0, 1], [0.5, 0.5], [1, 0]]
    expected = ce.MulticlassCrossEntropy().update(np.array(rows, float), [0, 1, 0, 0]).to_bytes()
    (tmp_path / "a.csv").write_text(
        "p_0,p_1,y\n" + "".join(f"{a},{b},{y}\n" for (a, b), y in zip(rows, "0100", strict=True))
    )
    words = ["--task", "multiclass", "--target", "y"]
    assert state(tmp_path, str(tmp_path / "a.csv"), *words, "--preds", "p_*") == expected
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"p": p, "y": y}) + "\n" for p, y in zip(rows, [0, 1, 0, 0], strict=True))
    )
    assert state(tmp_path, str(tmp_path / "a.jsonl"), *words, "--preds", "p") == expected
    assert capsys.readouterr().err == ""


def test_sequences_of_whole_numbers(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"p": [[1, 0]], "y": [0]}\n{"p": [[0, 1], [1, 0]], "y": [1, 0]}\n')
    words = ["--task", "sequence", "--preds", "p", "--target", "y"]
    expected = ce.SequenceCrossEntropy().update(np.array([[1.0, 0], [0, 1], [1, 0]]), [0, 1, 0], offsets=[0, 1, 3])
    assert state(tmp_path, str(tmp_path / "a.jsonl"), *words) == expected.to_bytes()
    assert capsys.readouterr().err == NOTE
    (tmp_path / "b.jsonl").write_text('{"p": [0, -1]}\n{"p": [-0.5]}\n')
    words = ["--task", "sequence", "--token-log-probs", "p"]
    assert main(["eval", str(tmp_path / "b.jsonl"), *words, "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["mean"] == 0.5
    assert shown.err == ""
