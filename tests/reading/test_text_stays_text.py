"""Text of JSON lines is text, also where it looks like a date, unless ``--by-time`` asks for times."""

import json

import pytest

import streamce as ce
from streamce.cli.main import main

BINARY = ["--task", "binary", "--preds", "p", "--target", "y"]
FILES = [["2024-01-01", "2024-01-02"], ["2024-01-01", "none"]]
PREDS, TARGET = [0.9, 0.2, 0.7, 0.4], [1, 0, 1, 1]


@pytest.fixture(params=["jsonl", "csv"])
def files(request, tmp_path):
    paths, at = [], 0
    for number, keys in enumerate(FILES):
        rows = [{"p": PREDS[at + i], "y": TARGET[at + i], "s": key} for i, key in enumerate(keys)]
        at += len(keys)
        path = tmp_path / f"{number}.{request.param}"
        if request.param == "csv":
            path.write_text("p,y,s\n" + "".join(f"{row['p']},{row['y']},{row['s']}\n" for row in rows))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        paths.append(str(path))
    return paths


def state_of(tmp_path, *arguments):
    path = tmp_path / "S"
    assert main(["eval", *arguments, *BINARY, "--state", str(path)]) == 0
    return ce.load(path)


def test_keys_that_look_like_dates_are_text(tmp_path, files):
    keys = [key for keys in FILES for key in keys]
    expected = ce.Grouped(ce.BinaryCrossEntropy()).update(PREDS, TARGET, by=keys)
    assert state_of(tmp_path, *files, "--by", "s").to_bytes() == expected.to_bytes()


def test_clusters_that_look_like_dates_are_text(tmp_path, files):
    keys = [key for keys in FILES for key in keys]
    expected = ce.BinaryCrossEntropy().update(PREDS, TARGET, cluster=keys)
    found = state_of(tmp_path, *files, "--cluster", "s")
    assert found.to_bytes() == expected.to_bytes()
    assert found.summary().buckets == 3


def test_labels_that_look_like_dates_are_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 0.25, "b": 0.75, "y": "2024-01-01"}\n{"a": 0.5, "b": 0.5, "y": "2024-01-02"}\n')
    assert main(["eval", str(path), "--task", "multiclass", "--preds", "a,b", "--target", "y",
                 "--classes", "2024-01-01,2024-01-02", "--state", str(tmp_path / "S")]) == 0  # fmt: skip
    names = ["2024-01-01", "2024-01-02"]
    expected = ce.MulticlassCrossEntropy(classes=names).update([[0.25, 0.75], [0.5, 0.5]], [0, 1])
    assert ce.load(tmp_path / "S").to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("text", ["2024-03-31", "2024-03-31T00:00:00Z", "2024-03-31T02:00:00+02:00"])
def test_by_time_reads_times(tmp_path, text):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"p": 0.5, "y": 1, "t": text}) + "\n")
    found = state_of(tmp_path, str(path), "--by-time", "t", "--period", "1h")
    assert [str(key) for key in found] == ["2024-03-31 00:00:00"]
