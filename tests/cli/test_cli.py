"""The command line gives the same bits as the library, and one clear line for every mistake."""

import bz2
import contextlib
import fcntl
import gzip
import json
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from paths import EXAMPLES
from pyarrow import csv, ipc, parquet

import streamce as ce
from streamce.cli.main import main
from streamce.reading.formats import text

ROWS = 900
COMMAND = [sys.executable, "-m", "streamce"]


def write_jsonl(table, path):
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))


def write_ipc(table, path, new=ipc.new_file):
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=250)


def write_npz(table, path, save=np.savez):
    columns = {}
    for name in table.column_names:
        values = table[name].to_pylist()
        columns[name] = np.array(values)
    save(path, **columns)


WRITERS = {
    "a.parquet": lambda table, path: parquet.write_table(table, path, row_group_size=400),
    "a.arrow": write_ipc,
    "a.arrows": lambda table, path: write_ipc(table, path, ipc.new_stream),
    "a.csv": lambda table, path: csv.write_csv(table, path),
    "a.jsonl": write_jsonl,
    "a.npz": write_npz,
    "packed.npz": lambda table, path: write_npz(table, path, np.savez_compressed),
}
WITH_LISTS = [name for name in WRITERS if name != "a.csv"]
WITH_NULLS = ["a.parquet", "a.arrow", "a.arrows", "a.csv", "a.jsonl"]
BINARY = ("--task", "binary", "--preds", "prob", "--target", "outcome")
MULTICLASS = ("--task", "multiclass", "--preds", "p_*", "--target", "label")
CUTS = [[], ["--chunk-rows", "1"], ["--chunk-rows", "13", "--threads", "3"], ["--threads", "1"]]


def rng():
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def data():
    """Return predictions of every shape, and their targets, as NumPy arrays."""
    random = rng()
    return {
        "prob": random.random(ROWS),
        "outcome": random.integers(0, 2, ROWS),
        "probs": random.dirichlet(np.ones(3), ROWS),
        "label": random.integers(0, 3, ROWS),
        "labels": random.random((ROWS, 3)),
        "outcomes": random.integers(0, 2, (ROWS, 3)),
        "w": random.random(ROWS),
    }


@pytest.fixture(scope="module")
def table(data):
    columns = {}
    for name, values in data.items():
        if values.ndim == 1:
            columns[name] = values
        else:
            columns |= {f"{name}_{i}": values[:, i].copy() for i in range(3)}
    names = np.array(["ant", "bee", "cat"])[data["label"]]
    return pa.table({**columns, "name": names})


def state_of(tmp_path, *arguments):
    """Run ``eval`` and return the bytes of the state that it writes."""
    assert main(["eval", *map(str, arguments), "--state", str(tmp_path / "state")]) == 0
    return (tmp_path / "state").read_bytes()


def run(*arguments, **options):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, timeout=60, check=False, **options)


def failure(capsys, status, *arguments):
    """Run a command that fails with this status, and return its one line on standard error."""
    assert main([*map(str, arguments)]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("streamce: error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


# ---- the same bits ----


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("name", WRITERS)
def test_binary_is_the_same_from_every_format_and_in_process(tmp_path, data, table, name, cut):
    WRITERS[name](table, tmp_path / name)
    arguments = (*BINARY, "--weight", "w", *cut)
    metric = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"], weight=data["w"])
    assert state_of(tmp_path, tmp_path / name, *arguments) == metric.to_bytes()


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("name", WRITERS)
def test_multiclass_is_the_same_from_every_format_and_in_process(tmp_path, data, table, name, cut):
    WRITERS[name](table, tmp_path / name)
    arguments = ("--task", "multiclass", "--preds", "probs_*", "--target", "label", *cut)
    metric = ce.MulticlassCrossEntropy().update(data["probs"], data["label"])
    assert state_of(tmp_path, tmp_path / name, *arguments) == metric.to_bytes()


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("name", WRITERS)
def test_multilabel_is_the_same_from_every_format_and_in_process(tmp_path, data, table, name, cut):
    WRITERS[name](table, tmp_path / name)
    arguments = ("--task", "multilabel", "--preds", "labels_*", "--target", "outcomes_*", *cut)
    metric = ce.MultilabelCrossEntropy().update(data["labels"], data["outcomes"])
    assert state_of(tmp_path, tmp_path / name, *arguments) == metric.to_bytes()


@pytest.mark.parametrize("name", WITH_LISTS)
def test_a_list_column_is_as_good_as_columns(tmp_path, data, name):
    lists = {key: list(data[key]) for key in ("probs", "labels", "outcomes")}
    WRITERS[name](pa.table({**lists, "label": data["label"]}), tmp_path / name)
    arguments = ("--task", "multiclass", "--preds", "probs", "--target", "label")
    metric = ce.MulticlassCrossEntropy().update(data["probs"], data["label"])
    assert state_of(tmp_path, tmp_path / name, *arguments) == metric.to_bytes()
    arguments = ("--task", "multilabel", "--preds", "labels", "--target", "outcomes")
    metric = ce.MultilabelCrossEntropy().update(data["labels"], data["outcomes"])
    assert state_of(tmp_path, tmp_path / name, *arguments) == metric.to_bytes()


def test_fixed_size_lists_are_read_too(tmp_path, data):
    for new in (ipc.new_file, ipc.new_stream):
        lists = pa.FixedSizeListArray.from_arrays(data["probs"].reshape(-1), 3)
        write_ipc(pa.table({"p": lists, "label": data["label"]}), tmp_path / "a.arrow", new)
        arguments = ("--task", "multiclass", "--preds", "p", "--target", "label")
        metric = ce.MulticlassCrossEntropy().update(data["probs"], data["label"])
        assert state_of(tmp_path, tmp_path / "a.arrow", *arguments) == metric.to_bytes()


def test_soft_targets_in_several_columns(tmp_path, data, table):
    soft = pa.table({**{f"p{i}": table[f"probs_{i}"] for i in range(3)},
                     **{f"t{i}": table[f"probs_{i}"] for i in range(3)}})  # fmt: skip
    WRITERS["a.parquet"](soft, tmp_path / "a.parquet")
    arguments = ("--task", "multiclass", "--preds", "p?", "--target", "t?")
    metric = ce.MulticlassCrossEntropy().update(data["probs"], data["probs"])
    assert state_of(tmp_path, tmp_path / "a.parquet", *arguments) == metric.to_bytes()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_npy_files_with_target_and_weight_beside(tmp_path, data, dtype):
    probs = data["prob"].astype(dtype)
    for name, values in ("p", probs), ("t", data["outcome"]), ("w", data["w"]):
        np.save(tmp_path / f"{name}.npy", values)
    arguments = ("--task", "binary", "--target", tmp_path / "t.npy", "--weight", tmp_path / "w.npy")
    metric = ce.BinaryCrossEntropy().update(probs, data["outcome"], weight=data["w"])
    for cut in CUTS:
        assert state_of(tmp_path, tmp_path / "p.npy", *arguments, *cut) == metric.to_bytes()


@pytest.mark.parametrize("new", [ipc.new_file, ipc.new_stream, None], ids=["file", "stream", "csv"])
def test_standard_input_is_arrow_or_csv_by_its_first_bytes(tmp_path, data, table, new):
    path = tmp_path / "data"
    if new:
        write_ipc(table, path, new)
    else:
        csv.write_csv(table, path)
    state = tmp_path / "state"
    arguments = ("--task", "multiclass", "--preds", "probs_*", "--target", "label")
    done = run("eval", "-", *arguments, "--state", state, input=path.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    metric = ce.MulticlassCrossEntropy().update(data["probs"], data["label"])
    assert state.read_bytes() == metric.to_bytes()


OPTIONS = {
    "kind": (["--kind", "logits"], {"kind": "logits"}),
    "smoothing": (["--label-smoothing", "0.1"], {"label_smoothing": 0.1}),
    "eps": (["--eps", "0"], {"eps": 0.0}),
    "ignore_index": (["--ignore-index", "2"], {"ignore_index": 2}),
}


@pytest.mark.parametrize(("words", "options"), OPTIONS.values(), ids=OPTIONS)
def test_options_mean_what_they_mean_in_process(tmp_path, data, table, words, options):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    arguments = ("--task", "multiclass", "--preds", "probs_*", "--target", "label", *words)
    metric = ce.MulticlassCrossEntropy(**options).update(data["probs"], data["label"])
    assert state_of(tmp_path, tmp_path / "a.parquet", *arguments) == metric.to_bytes()


# ---- many files ----


def split(table, folder, name):
    writer, ending = WRITERS[name], name.partition(".")[2]
    for i, part in enumerate((table.slice(0, 300), table.slice(300, 0), table.slice(300))):
        writer(part, folder / f"part{i}.{ending}")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv", "a.npz"])
def test_files_folders_globs_and_uris_name_the_same_rows(tmp_path, data, table, name, monkeypatch):
    folder = tmp_path / "some folder"
    (folder / "deep").mkdir(parents=True)
    split(table, folder / "deep", name)
    (folder / "README.md").write_text("no data")
    (folder / "_SUCCESS.csv").write_text("")
    (folder / ".hidden.csv").write_text("")
    arguments = ("--task", "binary", "--preds", "prob", "--target", "outcome")
    expected = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"]).to_bytes()
    uri = (folder / "deep").as_uri()
    ways = [
        sorted((folder / "deep").iterdir()),
        [folder],
        [folder / "deep" / "part*"],
        [f"{folder}/**/part?.*"],
        [uri],
        [uri + "/part*"],
        [folder.as_uri() + "/*/part*"],
    ]
    for way in ways:
        assert state_of(tmp_path, *way, *arguments) == expected
    monkeypatch.chdir(folder)
    assert state_of(tmp_path, "deep", *arguments) == expected


def test_formats_mix_and_columns_may_come_in_any_order(tmp_path, data, table):
    WRITERS["a.parquet"](table.slice(0, 200), tmp_path / "a.parquet")
    turned = table.slice(200).select(table.column_names[::-1])
    WRITERS["a.csv"](turned, tmp_path / "b.csv")
    arguments = ("--task", "multiclass", "--preds", "probs_*", "--target", "label")
    metric = ce.MulticlassCrossEntropy().update(data["probs"], data["label"])
    assert state_of(tmp_path, tmp_path / "*.*", *arguments) == metric.to_bytes()


# ---- columns ----


@pytest.mark.parametrize(
    "words",
    [
        ["--preds", "probs_0,probs_1,probs_2"],
        ["--preds", "probs_0", "--preds", "probs_1, probs_2"],
        ["--preds", "probs_[0-2]"],
        ["--preds", "probs_?"],
    ],
    ids=str,
)
def test_predictions_are_a_list_or_a_glob_of_columns(tmp_path, data, table, words):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    arguments = ("--task", "multiclass", *words, "--target", "label")
    metric = ce.MulticlassCrossEntropy().update(data["probs"], data["label"])
    assert state_of(tmp_path, tmp_path / "a.parquet", *arguments) == metric.to_bytes()


def test_a_column_whose_name_is_a_pattern_or_has_a_comma_is_itself(tmp_path, data):
    names = ["p*", "p,q"]
    for name in names:
        found = pa.table({name: data["prob"], "p1": data["prob"], "outcome": data["outcome"]})
        WRITERS["a.parquet"](found, tmp_path / "a.parquet")
        arguments = ("--task", "binary", "--preds", name, "--target", "outcome")
        metric = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"])
        assert state_of(tmp_path, tmp_path / "a.parquet", *arguments) == metric.to_bytes()


def test_numbered_columns_of_a_glob_come_by_number(tmp_path):
    """p_10 is class 10, although it comes before p_2 in the file and in alphabetical order."""
    probs = rng().dirichlet(np.ones(12), 50)
    label = rng().integers(0, 12, 50)
    columns = {f"p_{i}": probs[:, i].copy() for i in sorted(range(12), key=str)}
    WRITERS["a.parquet"](pa.table({**columns, "label": label}), tmp_path / "a.parquet")
    arguments = ("--task", "multiclass", "--preds", "p_*", "--target", "label")
    metric = ce.MulticlassCrossEntropy().update(probs, label)
    assert state_of(tmp_path, tmp_path / "a.parquet", *arguments) == metric.to_bytes()


def test_columns_numbered_from_1_need_classes(tmp_path, data, capsys):
    columns = {f"p_{i + 1}": data["probs"][:, i].copy() for i in range(3)}
    WRITERS["a.parquet"](pa.table({**columns, "label": data["label"] + 1}), tmp_path / "a.parquet")
    arguments = (tmp_path / "a.parquet", *MULTICLASS)
    assert "are not in the order of int64 labels" in failure(capsys, 2, "eval", *arguments)
    metric = ce.MulticlassCrossEntropy(classes=["1", "2", "3"]).update(data["probs"], data["label"])
    assert state_of(tmp_path, *arguments, "--classes", "1,2,3") == metric.to_bytes()


def test_multilabel_of_one_label(tmp_path, data, table):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    arguments = ("--task", "multilabel", "--preds", "prob", "--target", "outcome")
    metric = ce.MultilabelCrossEntropy().update(data["prob"][:, None], data["outcome"][:, None])
    assert state_of(tmp_path, tmp_path / "a.parquet", *arguments) == metric.to_bytes()


def test_predictions_and_targets_must_come_in_one_order(tmp_path, data, capsys):
    names = ["ant", "bee", "cat"]
    probs = {f"p_{name}": data["labels"][:, i].copy() for i, name in enumerate(names)}
    outcomes = {f"y_{name}": data["outcomes"][:, i].copy() for i, name in enumerate(names)}
    WRITERS["a.parquet"](pa.table(probs | dict(sorted(outcomes.items())[::-1])), tmp_path / "a.parquet")
    arguments = (tmp_path / "a.parquet", "--task", "multilabel", "--preds", "p_*", "--target")
    assert "in another order" in failure(capsys, 2, "eval", *arguments, "y_*")
    metric = ce.MultilabelCrossEntropy().update(data["labels"], data["outcomes"])
    assert state_of(tmp_path, *arguments, "y_ant,y_bee,y_cat") == metric.to_bytes()


# ---- labels ----


LABELS = {
    "text": lambda names: pa.array(names),
    "large": lambda names: pa.array(names, pa.large_string()),
    "dictionary": lambda names: pa.array(names).dictionary_encode(),
    "bytes": lambda names: pa.array([name.encode() for name in names]),
}


@pytest.mark.parametrize("columns", [["ant", "bee", "cat"], ["p_ant", "p_bee", "p_cat"]], ids=str)
@pytest.mark.parametrize("kind", LABELS)
def test_text_labels_are_names_of_prediction_columns(tmp_path, data, kind, columns):
    names = LABELS[kind](np.array(["ant", "bee", "cat"])[data["label"]].tolist())
    probs = {name: data["probs"][:, i].copy() for i, name in enumerate(columns)}
    WRITERS["a.parquet"](pa.table({**probs, "name": names}), tmp_path / "a.parquet")
    metric = ce.MulticlassCrossEntropy().update(data["probs"], data["label"])
    for cut in CUTS:
        arguments = ("--task", "multiclass", "--preds", ",".join(columns), "--target", "name", *cut)
        assert state_of(tmp_path, tmp_path / "a.parquet", *arguments) == metric.to_bytes()


@pytest.mark.parametrize("name", WRITERS)
def test_text_labels_with_classes_from_every_format(tmp_path, data, table, name):
    WRITERS[name](table, tmp_path / name)
    arguments = ("--task", "multiclass", "--preds", "probs_*", "--target", "name")
    metric = ce.MulticlassCrossEntropy(classes=["ant", "bee", "cat"]).update(data["probs"], data["label"])
    words = ("--classes", "ant,bee,cat")
    assert state_of(tmp_path, tmp_path / name, *arguments, *words) == metric.to_bytes()
    turned = ce.MulticlassCrossEntropy(classes=["cat", "bee", "ant"]).update(data["probs"], 2 - data["label"])
    words = ("--classes", "cat,bee,ant")
    assert state_of(tmp_path, tmp_path / name, *arguments, *words) == turned.to_bytes()


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.npz"])
def test_binary_labels_by_name(tmp_path, data, name):
    answers = np.array(["no", "yes"])[data["outcome"]]
    WRITERS[name](pa.table({"prob": data["prob"], "answer": answers}), tmp_path / name)
    arguments = ("--task", "binary", "--preds", "prob", "--target", "answer", "--classes", "no,yes")
    metric = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"])
    assert state_of(tmp_path, tmp_path / name, *arguments) == metric.to_bytes()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("type_", [pa.int8(), pa.uint16(), pa.int64(), pa.float64()])
def test_numbers_as_labels_with_classes(tmp_path, data, name, type_):
    probs = {f"p_{i}": data["probs"][:, i].copy() for i in range(3)}
    label = pa.array(data["label"] * 10 + 5).cast(type_)
    WRITERS[name](pa.table({**probs, "label": label}), tmp_path / name)
    metric = ce.MulticlassCrossEntropy(classes=["5", "15", "25"]).update(data["probs"], data["label"])
    words = ("--classes", "5,15,25")
    assert state_of(tmp_path, tmp_path / name, *MULTICLASS, *words) == metric.to_bytes()


def test_the_label_to_ignore_is_a_label_and_not_a_class_number(tmp_path, data):
    """Labels are classes 1 to 3, or 0 for unlabelled rows. 0 is ignored, and 1 is the first class."""
    probs = {f"p_{i}": data["probs"][:, i].copy() for i in range(3)}
    label = np.where(np.arange(ROWS) % 4, data["label"] + 1, 0)
    WRITERS["a.parquet"](pa.table({**probs, "label": label}), tmp_path / "a.parquet")
    words = ("--ignore-index", "0", "--classes", "1,2,3")
    state_of(tmp_path, tmp_path / "a.parquet", *MULTICLASS, *words)
    summary = ce.load(tmp_path / "state").summary()
    metric = ce.MulticlassCrossEntropy(ignore_index=-1).update(data["probs"], label - 1)
    assert (summary.ignored, summary.value) == (ROWS // 4, metric.compute())


def test_sets_of_labels_for_multilabel(tmp_path, data):
    names = np.array(["ant", "bee", "cat"])
    sets = pa.array([names[row == 1].tolist() for row in data["outcomes"]])
    probs = {name: data["labels"][:, i].copy() for i, name in enumerate(names)}
    metric = ce.MultilabelCrossEntropy().update(data["labels"], data["outcomes"])
    for name in ("a.parquet", "a.arrow", "a.jsonl"):
        WRITERS[name](pa.table({**probs, "tags": sets}), tmp_path / name)
        arguments = ("--task", "multilabel", "--preds", "ant,bee,cat", "--target", "tags")
        assert state_of(tmp_path, tmp_path / name, *arguments) == metric.to_bytes()


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_true_and_false_as_names_are_not_taken_for_numbers(tmp_path, data, capsys, name):
    probs = {f"p_{word}": data["labels"][:, i].copy() for i, word in enumerate(("true", "false"))}
    probs["p_false"] = 1 - probs["p_true"]
    WRITERS[name](pa.table({**probs, "label": data["outcome"] == 1}), tmp_path / name)
    arguments = ("--task", "multiclass", "--preds", "p_true,p_false", "--target", "label")
    preds = np.stack([probs["p_true"], probs["p_false"]], axis=1)
    classes = None if name == "a.csv" else ["true", "false"]
    metric = ce.MulticlassCrossEntropy(classes=classes).update(preds, 1 - data["outcome"])
    if name != "a.csv":
        line = failure(capsys, 2, "eval", tmp_path / name, *arguments)
        assert "are not in the order of bool labels" in line
        arguments += ("--classes", "true,false")
    assert state_of(tmp_path, tmp_path / name, *arguments) == metric.to_bytes()


def test_names_that_fit_in_two_ways_are_not_guessed(tmp_path, capsys):
    found = pa.table({"a_a": [0.5, 0.5], "a_a_a": [0.5, 0.5], "label": ["a_a", "a"]})
    WRITERS["a.parquet"](found, tmp_path / "a.parquet")
    arguments = ("--task", "multiclass", "--preds", "a_*", "--target", "label")
    line = failure(capsys, 2, "eval", tmp_path / "a.parquet", *arguments)
    assert "choose with --classes" in line


# ---- invalid rows ----


@pytest.mark.parametrize("name", WITH_NULLS)
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_nulls_are_counted_with_skip(tmp_path, name, cut):
    found = pa.table({
        "prob": [0.5, None, 0.25, 0.75, 0.5, 0.5],
        "outcome": pa.array([1, 0, None, 1, 0, 1], pa.int8()),
        "w": [1.0, 1.0, 1.0, None, 2.0, 1.0],
    })  # fmt: skip
    WRITERS[name](found, tmp_path / name)
    arguments = ("--task", "binary", "--preds", "prob", "--target", "outcome", "--weight", "w")
    state_of(tmp_path, tmp_path / name, *arguments, "--invalid", "skip", *cut)
    summary = ce.load(tmp_path / "state").summary()
    assert (summary.invalid_null, summary.count, summary.seen) == (3, 3, 6)
    assert summary.value == pytest.approx(math.log(2))


def test_nulls_of_multilabel_are_counted_one_by_one(tmp_path):
    half = [0.5, 0.5, 0.5]
    found = pa.table({"x": [0.5, None, 0.5], "y": half, "a": [1, 1, None], "b": [0, 0, 0]})
    WRITERS["a.parquet"](found, tmp_path / "a.parquet")
    arguments = ("--task", "multilabel", "--preds", "x,y", "--target", "a,b", "--invalid", "skip")
    for cut in CUTS:
        state_of(tmp_path, tmp_path / "a.parquet", *arguments, *cut)
        summary = ce.load(tmp_path / "state").summary()
        assert (summary.invalid_null, summary.count, summary.samples) == (2, 4, 3)


def test_unknown_and_missing_labels_are_counted_with_skip(tmp_path):
    found = pa.table({"x": [0.5] * 5, "y": [0.5] * 5, "label": ["fox", "x", None, "", "y"]})
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        WRITERS[name](found, tmp_path / name)
        arguments = ("--task", "multiclass", "--preds", "x,y", "--target", "label")
        for cut in CUTS:
            state_of(tmp_path, tmp_path / name, *arguments, "--invalid", "skip", *cut)
            summary = ce.load(tmp_path / "state").summary()
            counts = (summary.invalid_label, summary.invalid_null, summary.count)
            assert counts == (1, 2, 2)


# ---- bad data: one line with file, row and column, status 1 ----


def binary(**changes):
    columns = {"prob": [0.5] * 300, "outcome": [0, 1] * 150}
    for name, (row, value) in changes.items():
        columns[name][row] = value
    return pa.table(columns)


def multiclass(**changes):
    columns = {"p_0": [0.5] * 300, "p_1": [0.5] * 300, "label": [0, 1] * 150}
    for name, (row, value) in changes.items():
        columns[name][row] = value
    return pa.table(columns)


BAD_ROWS = {
    "above 1": (binary(prob=(271, 1.5)), BINARY, "row 271: column 'prob' is 1.5: .* --kind logits"),
    "nan": (binary(prob=(299, math.nan)), BINARY, "row 299: column 'prob' is nan: expected a prob"),
    "label": (binary(outcome=(33, 2)), BINARY, "row 33: column 'outcome' is 2(.0)?: expected "),
    "class": (multiclass(label=(44, 2)), MULTICLASS, "row 44: column 'label' is 2: expected a cl"),
    "negative": (multiclass(p_1=(7, -0.5)), MULTICLASS, "row 7: column 'p_1' is -0.5: expected"),
    "row sum": (multiclass(p_1=(8, 0.25)), MULTICLASS, "row 8: preds adds up to 0.75 over"),
    "weight": (
        binary(prob=(17, -1.0)).append_column("w", pa.array([1.0] * 16 + [-2.0] + [1.0] * 283)),
        (*BINARY, "--weight", "w"),
        "row 16: column 'w' is -2.0: expected a finite number",
    ),
}


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_is_named_by_file_row_and_column(tmp_path, capsys, name, bad):
    table, arguments, expected = BAD_ROWS[bad]
    WRITERS[name](table.slice(0, 5), tmp_path / f"0{name}")
    WRITERS[name](table, tmp_path / name)
    for cut in CUTS:
        paths = (tmp_path / f"0{name}", tmp_path / name)
        line = failure(capsys, 1, "eval", *paths, *arguments, *cut, "--state", tmp_path / "state")
        assert re.search(rf"error: {tmp_path / name}: {expected}", line)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("name", WITH_NULLS)
def test_a_null_is_named_by_row_and_column(tmp_path, capsys, name):
    for column in ("prob", "outcome"):
        WRITERS[name](binary(**{column: (123, None)}), tmp_path / name)
        for cut in CUTS:
            line = failure(capsys, 1, "eval", tmp_path / name, *BINARY, *cut)
            assert line.endswith(f"{name}: row 123: column '{column}' holds a null\n")


def test_an_entry_of_a_list_column_is_named(tmp_path, capsys):
    rows = [[0.5, 0.5]] * 10
    rows[6] = [0.5, 1.5]
    WRITERS["a.parquet"](pa.table({"p": rows, "label": [0] * 10}), tmp_path / "a.parquet")
    arguments = ("--task", "multiclass", "--preds", "p", "--target", "label", "--chunk-rows", "4")
    line = failure(capsys, 1, "eval", tmp_path / "a.parquet", *arguments)
    assert "row 6: column 'p[1]' is 1.5: expected a probability" in line


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.npz"])
def test_a_label_that_is_no_class_is_named(tmp_path, capsys, name):
    columns = {"ant": [0.5] * 9, "bee": [0.5] * 9, "label": ["ant"] * 8 + ["fox"]}
    WRITERS[name](pa.table(columns), tmp_path / name)
    arguments = ("--task", "multiclass", "--preds", "ant,bee", "--target", "label")
    for cut in CUTS:
        line = failure(capsys, 1, "eval", tmp_path / name, *arguments, *cut)
        assert "row 8: column 'label' is 'fox': expected one of 'ant', 'bee'" in line


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl", "a.npz"])
def test_columns_of_the_wrong_kind_are_named(tmp_path, capsys, name):
    found = pa.table({"whole": [1, 0], "text": ["a", "b"], "p": [0.5, 0.5], "t": [0, 1]})
    WRITERS[name](found, tmp_path / name)
    text = "column 'text' holds string, expected numbers|row 0: column 'text' is 'a', expected a number"
    cases = [("text", "t", text)]
    if name in ("a.parquet", "a.npz"):
        cases.append(("whole", "t", "column 'whole' holds int64, expected predictions"))
        cases.append(("t", "p", "column 't' holds int64, expected predictions"))  # target and predictions are swapped
    for preds, target, expected in cases:
        arguments = ("--task", "binary", "--preds", preds, "--target", target)
        assert re.search(expected, failure(capsys, 1, "eval", tmp_path / name, *arguments))


def test_text_that_is_no_number_is_named(tmp_path, capsys):
    rows = "0.5,1\n" * 400_000
    (tmp_path / "a.csv").write_text(f"prob,outcome\n{rows}0.5,1\nabc,1\n{rows}")
    line = failure(capsys, 1, "eval", tmp_path / "a.csv", *BINARY)
    hints = "--null abc reads it as missing, --invalid skip leaves out such rows"
    expected = f"row 400001: column 'prob' is 'abc', expected a number; {hints}"
    assert f"a.csv: {expected}\n" in line
    (tmp_path / "a.csv").write_text(f"prob,outcome\n{rows}0.5,1\n0.5,abc\n{rows}")
    line = failure(capsys, 1, "eval", tmp_path / "a.csv", *BINARY)
    hints = f"if labels are text, --classes must name them, {hints}"
    expected = f"row 400001: column 'outcome' is 'abc', expected a number; {hints}"
    assert f"a.csv: {expected}\n" in line
    (tmp_path / "a.csv").write_text(f"prob,outcome\n{rows}0.5\n{rows}")
    line = failure(capsys, 1, "eval", tmp_path / "a.csv", *BINARY)
    assert "row 400000: it has 1 cell, expected 2: '0.5'; --invalid skip leaves out such rows" in line
    rows = '{"prob": 0.5, "outcome": 1}\n' * 300_000
    (tmp_path / "a.jsonl").write_text(f'{rows}{{"prob": "abc", "outcome": 1}}\n')
    line = failure(capsys, 1, "eval", tmp_path / "a.jsonl", *BINARY)
    assert "row 300000: column 'prob' is 'abc', expected a number" in line


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_named(tmp_path, capsys, name, table):
    WRITERS[name](table, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    half = whole[: len(whole) // 2]
    pieces = {"cut": half, "garbage": rng().bytes(1000), "short": whole[:6]}
    for piece, content in pieces.items():
        if name in ("a.csv", "a.jsonl") and piece == "cut":
            content = half.rpartition(b",")[0]  # cut within a row
        (tmp_path / name).write_bytes(content)
        line = failure(capsys, 1, "eval", tmp_path / name, *BINARY)
        assert f"error: {tmp_path / name}: " in line


@pytest.mark.parametrize("name", WRITERS)
def test_an_empty_file_is_named(tmp_path, capsys, name, table):
    (tmp_path / name).write_bytes(b"")
    line = failure(capsys, 1, "eval", tmp_path / name, *BINARY)
    assert line == f"streamce: error: {tmp_path / name}: the file is empty\n"


@pytest.mark.parametrize("words", [["{}"], ["{}/*"], ["file://{}"], ["file://{}/*"], ["{}/p*", "{}/q*"]], ids=str)
def test_an_empty_part_of_a_folder_or_glob_has_no_rows(tmp_path, table, words):
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in ("p0.csv", "q1.jsonl", "q2.parquet"):
        (folder / name).touch()
    csv.write_csv(table, folder / "p3.csv")
    parquet.write_table(table, folder / "q4.parquet")
    files = [word.format(folder) for word in words]
    assert main(["eval", *files, *BINARY, "--state", str(tmp_path / "S")]) == 0
    once = ce.BinaryCrossEntropy().update(table["prob"].to_numpy(), table["outcome"].to_numpy())
    assert ce.load(tmp_path / "S") == once + once


PACKED = {
    ".gz": gzip.compress(b""),
    ".bz2": bz2.compress(b""),
    ".zst": pa.compress(b"", "zstd", asbytes=True),
    ".lz4": pa.compress(b"", "lz4", asbytes=True),
}


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_compressed_file_of_nothing_is_empty(tmp_path, table, capsys, ending, kind):
    folder = tmp_path / "parts"
    folder.mkdir()
    csv.write_csv(table, folder / "a.csv")
    empty = folder / f"b.{kind}{ending}"
    empty.write_bytes(PACKED[ending])
    once = ce.BinaryCrossEntropy().update(table["prob"].to_numpy(), table["outcome"].to_numpy())
    for words in ([folder], [folder / "*"], [f"file://{folder}"], [folder, "--format", "csv"]):
        if "--format" not in words or kind == "csv":
            assert main(["eval", *map(str, words), *BINARY, "--state", str(tmp_path / "S")]) == 0
            assert ce.load(tmp_path / "S") == once
    capsys.readouterr()
    assert failure(capsys, 1, "eval", empty, *BINARY) == f"streamce: error: {empty}: the file is empty\n"
    (folder / "a.csv").unlink()
    assert "all files are empty, such as" in failure(capsys, 1, "eval", folder, *BINARY)


def test_a_gzip_that_is_cut_short_is_not_empty(tmp_path, capsys):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"prob,outcome\n0.5,1\n")[:25])
    assert "a.csv.gz: " in (line := failure(capsys, 1, "eval", tmp_path, *BINARY))
    assert "empty" not in line.lower()


def test_a_gzip_of_nothing_on_standard_input_is_no_data(tmp_path):
    command = [sys.executable, "-m", "streamce", "eval", "-", *BINARY]
    done = subprocess.run(command, input=gzip.compress(b""), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"streamce: error: standard input: no data have arrived\n")


@pytest.mark.parametrize("word", ["{}", "{}/*"])
def test_a_folder_of_empty_parts_is_an_error_that_names_one(tmp_path, capsys, word):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.csv").touch()
    name = word.format(tmp_path / "parts")
    line = failure(capsys, 1, "eval", name, *BINARY)
    assert line == f"streamce: error: {name}: all files are empty, such as {tmp_path}/parts/a.csv\n"


@pytest.mark.parametrize("block", [28, 29, 56, 1 << 20])
def test_a_line_of_null_in_json_is_no_row_wherever_a_block_begins(tmp_path, capsys, monkeypatch, block):
    monkeypatch.setattr(text, "TEXT_BLOCK", block)
    row = '{"prob": 0.5, "outcome": 1}\n'
    assert len(row) == 28
    (tmp_path / "a.jsonl").write_text(row * 2 + "null\nnull\n" + row)
    assert "row 2: is not a JSON object: 'null'" in failure(capsys, 1, "eval", tmp_path / "a.jsonl", *BINARY)
    assert main(["eval", str(tmp_path / "a.jsonl"), *BINARY, "--invalid", "skip", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["count"], found["rows_unreadable"]) == (3, 2)


def test_a_json_file_that_begins_with_null_is_read(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('null\n{"prob": 0.5, "outcome": 1}\n')
    assert main(["eval", str(tmp_path / "a.jsonl"), *BINARY, "--invalid", "skip"]) == 0
    assert "1 row, 1 unreadable" in capsys.readouterr().out
    (tmp_path / "a.jsonl").write_text("null\n")
    assert "row 0: is not a JSON object: 'null'" in failure(capsys, 1, "eval", tmp_path / "a.jsonl", *BINARY)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "a.jsonl"])
def test_files_may_have_no_rows(tmp_path, capsys, name, table):
    WRITERS[name](table.slice(0, 0), tmp_path / name)
    assert main(["eval", str(tmp_path / name), *BINARY]) == 0
    assert "0 rows" in capsys.readouterr().out
    WRITERS[name](table, tmp_path / f"1{name}")
    assert main(["eval", str(tmp_path / name), str(tmp_path / f"1{name}"), *BINARY]) == 0


def test_missing_files_are_named(tmp_path, capsys):
    for name in ("no.parquet", "no*.parquet", "file:///no/such.csv", "."):
        line = failure(capsys, 1, "eval", tmp_path / name if "/" not in name else name, *BINARY)
        assert name.strip(".") in line
        assert "no such file" in line or "no data file" in line


def test_npy_files_of_different_lengths(tmp_path, capsys):
    np.save(tmp_path / "p.npy", np.full(9, 0.5))
    np.save(tmp_path / "t.npy", np.zeros(8, int))
    arguments = ("--task", "binary", "--target", tmp_path / "t.npy")
    line = failure(capsys, 1, "eval", tmp_path / "p.npy", *arguments)
    assert "t.npy has 8 rows" in line


def test_arrays_of_objects_are_never_unpickled(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", p=np.array([{}, []], object), t=np.zeros(2, int))
    arguments = ("--task", "binary", "--preds", "p", "--target", "t")
    assert "object" in failure(capsys, 1, "eval", tmp_path / "a.npz", *arguments)


# ---- usage: one line, status 2 ----


USAGE = {
    "no command": ([], "required: command"),
    "no task": (["eval", "FILE", "--target", "outcome"], "--task"),
    "no target": (["eval", "FILE", "--task", "binary", "--preds", "prob"], "--target"),
    "no preds": (["eval", "FILE", "--task", "binary", "--target", "outcome"], "--preds"),
    "no such option": (["eval", "FILE", *BINARY, "--nonsense"], "--nonsense"),
    "no abbreviation": (["eval", "FILE", *BINARY, "--thread", "1"], "--thread"),
    "no such task": (["eval", "FILE", "--task", "ternary", "--target", "t"], "'ternary'"),
    "chunk rows": (["eval", "FILE", *BINARY, "--chunk-rows", "0"], "--chunk-rows: '0' is no"),
    "threads": (["eval", "FILE", *BINARY, "--threads", "x"], "--threads: 'x' is no"),
    "eps": (["eval", "FILE", *BINARY, "--eps", "2"], "--eps"),
    "smoothing": (["eval", "FILE", *BINARY, "--label-smoothing", "-1"], "--label-smoothing"),
    "unknown column": (
        ["eval", "FILE", "--task", "binary", "--preds", "probe", "--target", "outcome"],
        "no column 'probe'; did you mean 'prob', ",
    ),
    "nothing like it": (
        ["eval", "FILE", *BINARY, "--weight", "qqq"], "no column 'qqq'; there are 'prob', 'outcome'"
    ),
    "empty glob": (
        ["eval", "FILE", "--task", "multiclass", "--preds", "z_*", "--target", "label"],
        "no column 'z_*'",
    ),
    "one column twice": (
        ["eval", "FILE", "--task", "multiclass", "--preds", "prob*,prob", "--target", "label"],
        "column 'prob' is selected twice",
    ),
    "two parts": (
        ["eval", "FILE", "--task", "binary", "--preds", "prob", "--target", "prob"], "selected for two arguments"
    ),
    "binary with columns": (
        ["eval", "FILE", "--task", "binary", "--preds", "probs_*", "--target", "outcome"],
        "for binary predictions are one column",
    ),
    "classes": (
        ["eval", "FILE", "--task", "multiclass", "--preds", "probs_*", "--target", "label",
         "--classes", "a,b"],
        "--classes names 2 classes, for 3 columns",
    ),
    "classes twice": (
        ["eval", "FILE", "--task", "multiclass", "--preds", "probs_*", "--target", "label",
         "--classes", "a,b,a"],
        "classes need distinct names that are not empty",
    ),
    "classes of numbers": (
        ["eval", "FILE", "--task", "multiclass", "--preds", "probs_*", "--target", "label",
         "--classes", "a,b,c"],
        "labels are int64, and 'a' is not",
    ),
    "text without classes": (
        ["eval", "FILE", "--task", "binary", "--preds", "prob", "--target", "name"],
        "--classes NEGATIVE,POSITIVE",
    ),
    "one file twice": (["eval", "FILE", "FILE", *BINARY], "named twice"),
    "state": (["eval", "FILE", *BINARY, "--state", "/no/such/folder/x"], "--state"),
    "a folder as state": (["eval", "FILE", *BINARY, "--state", "/tmp"], "--state"),
    "merge without output": (["merge", "FILE"], "-o/--output"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), USAGE.values(), ids=USAGE)
def test_usage_errors_are_one_line(tmp_path, capsys, table, words, expected):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    words = [tmp_path / "a.parquet" if word == "FILE" else word for word in words]
    assert expected in failure(capsys, 2, *words)


def test_a_kind_of_file_that_nobody_knows(tmp_path, capsys):
    (tmp_path / "a.xls").write_bytes(b"not known")
    assert "unknown kind of file" in failure(capsys, 2, "eval", tmp_path / "a.xls", *BINARY)


def test_later_files_must_have_the_columns_of_the_first(tmp_path, capsys, table):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    WRITERS["a.parquet"](table.drop_columns(["probs_2"]), tmp_path / "b.parquet")
    WRITERS["a.parquet"](table.drop_columns(["label"]), tmp_path / "c.parquet")
    arguments = ("--task", "multiclass", "--preds", "probs_*", "--target", "label")
    line = failure(capsys, 2, "eval", tmp_path / "a.parquet", tmp_path / "b.parquet", *arguments)
    assert "b.parquet: the columns that match here differ" in line
    line = failure(capsys, 2, "eval", tmp_path / "a.parquet", tmp_path / "c.parquet", *arguments)
    assert "c.parquet: no column 'label'" in line


def test_missing_pyarrow_says_what_to_install(tmp_path):
    ce.BinaryCrossEntropy().update(0.5, 1).save(tmp_path / "state")
    code = "import sys; sys.modules['pyarrow'] = None; from streamce.cli.main import main; exit(main())"
    command = [sys.executable, "-c", code]
    done = subprocess.run([*command, "eval", "a.parquet", *BINARY], capture_output=True, check=False, text=True)
    expected = "streamce: error: reading files needs pyarrow: pip install 'streamce[cli]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
    done = subprocess.run([*command, "show", tmp_path / "state"], capture_output=True, check=False)
    assert done.returncode == 0


# ---- output ----


def test_json_is_the_summary_and_the_options(tmp_path, data, table, capsys):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    arguments = [*BINARY, "--json", "--eps", "0", "--threads", "2", "--chunk-rows", "100"]
    assert main(["eval", str(tmp_path / "a.parquet"), *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    options = found.pop("options")
    assert (found.pop("rows_resumed"), found.pop("rows_unreadable")) == (0, 0)
    metric = ce.BinaryCrossEntropy(eps=0).update(data["prob"], data["outcome"])
    assert found == metric.summary().to_dict()
    expected = {"task": "binary", "kind": "probs", "preds": ["prob"], "target": ["outcome"],
                "weight": None, "eps": 0.0, "threads": 2, "chunk_rows": 100, "invalid": "raise",
                "files": [str(tmp_path / "a.parquet")], "metric": "BinaryCrossEntropy",
                "classes": None, "ignore_index": None, "label_smoothing": 0.0}  # fmt: skip
    assert options.items() >= expected.items()


def test_json_has_null_for_numbers_that_are_not_finite(tmp_path, capsys):
    WRITERS["a.parquet"](pa.table({"prob": [0.0], "outcome": [1]}), tmp_path / "a.parquet")
    assert main(["eval", str(tmp_path / "a.parquet"), *BINARY, "--eps", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=lambda _: pytest.fail("not JSON"))
    assert found["value"] is None
    assert found["infinite"] == 1


def test_the_table_says_what_was_evaluated(tmp_path, table, data, capsys):
    split(table, tmp_path, "a.parquet")
    assert main(["eval", str(tmp_path), *BINARY]) == 0
    out, err = capsys.readouterr()
    metric = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"])
    assert re.match(r"3 files: 900 rows, binary, kind=probs, [\d.]+ s\n", out)
    assert out.endswith(f"{metric.summary()}\n")
    assert err == ""


def test_multilabel_prints_a_line_per_label_while_they_are_few(tmp_path, table, data, capsys):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    arguments = ("--task", "multilabel", "--preds", "labels_*", "--target", "outcomes_*")
    assert main(["eval", str(tmp_path / "a.parquet"), *arguments]) == 0
    metric = ce.MultilabelCrossEntropy().update(data["labels"], data["outcomes"])
    lines = capsys.readouterr().out.splitlines()[-3:]
    expected = [[f"labels_{i}", f"{s.mean:.6g}", "900"] for i, s in enumerate(metric.per_label())]
    assert [line.split() for line in lines] == expected


def test_a_multilabel_state_without_sums_by_label_is_shown(tmp_path, data, capsys):
    metric = ce.MultilabelCrossEntropy(per_label=False).update(data["labels"], data["outcomes"])
    metric.save(tmp_path / "state")
    assert main(["show", str(tmp_path / "state")]) == 0
    assert capsys.readouterr().out.endswith(f"{metric.summary()}\n")


@pytest.mark.parametrize("arguments", [(0.9, False), (0.95, True), (0.99, True)])
def test_level_and_anytime_say_which_interval(tmp_path, data, capsys, arguments):
    metric = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"])
    metric.save(tmp_path / "state")
    level, anytime = arguments
    show = ["show", str(tmp_path / "state"), "--level", str(level), *["--anytime"] * anytime]
    assert main(show) == 0
    assert str(metric.summary(level, anytime)) in capsys.readouterr().out
    assert main([*show, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["level"], found["anytime"]) == arguments
    assert found["interval"] == list(metric.summary(level, anytime).interval)


def test_eval_takes_level_and_anytime(tmp_path, table, data, capsys):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    assert main(["eval", str(tmp_path / "a.parquet"), *BINARY, "--level", "0.9", "--anytime"]) == 0
    metric = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"])
    assert str(metric.summary(0.9, anytime=True)) in capsys.readouterr().out


@pytest.mark.parametrize("level", ["0", "1", "95", "nan", "high"])
def test_a_level_without_sense_is_a_usage_error(tmp_path, capsys, level):
    assert main(["show", str(tmp_path / "state"), "--level", level]) == 2
    assert f"argument --level: {level!r} is not a number between 0 and 1" in capsys.readouterr().err


def test_merge_and_show(tmp_path, table, data, capsys):
    split(table, tmp_path, "a.parquet")
    states = []
    for i in (0, 2):
        states.append(str(tmp_path / f"{i}.state"))
        part = str(tmp_path / f"part{i}.parquet")
        assert main(["eval", part, *BINARY, "--state", states[-1]]) == 0
    merged = tmp_path / "merged.state"
    assert main(["merge", *states, "-o", str(merged)]) == 0
    metric = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"])
    assert merged.read_bytes() == metric.to_bytes()
    capsys.readouterr()
    assert main(["show", str(merged)]) == 0
    assert str(metric.summary()) in capsys.readouterr().out
    assert main(["show", str(merged), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("options")["metric"] == "BinaryCrossEntropy"
    assert found == metric.summary().to_dict()
    assert main(["merge", str(merged), "-o", str(merged)]) == 0  # in place
    assert merged.read_bytes() == metric.to_bytes()


def test_states_that_cannot_be_read_or_added(tmp_path, capsys):
    ce.BinaryCrossEntropy().update(0.5, 1).save(tmp_path / "a")
    ce.BinaryCrossEntropy(eps=0.5).update(0.5, 1).save(tmp_path / "b")
    ce.MulticlassCrossEntropy().save(tmp_path / "c")
    (tmp_path / "d").write_bytes((tmp_path / "a").read_bytes()[:-1])
    for name, expected in ("b", "eps is"), ("c", "cannot be added"), ("d", "cut short"):
        states = [tmp_path / "a", tmp_path / name]
        line = failure(capsys, 1, "merge", *states, "-o", tmp_path / "sum")
        assert str(tmp_path / name) in line
        assert expected in line
    assert not (tmp_path / "sum").exists()
    line = failure(capsys, 1, "show", tmp_path / "no")
    assert line == f"streamce: error: {tmp_path / 'no'}: No such file or directory\n"
    assert "--output" in failure(capsys, 2, "merge", tmp_path / "a", "-o", "/no/folder/x")


def test_a_state_is_written_over(tmp_path, data, table):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    ce.BinaryCrossEntropy().save(tmp_path / "state")
    metric = ce.BinaryCrossEntropy().update(data["prob"], data["outcome"])
    assert state_of(tmp_path, tmp_path / "a.parquet", *BINARY) == metric.to_bytes()


@pytest.mark.parametrize("path", ["", "/dev/null", "a.parquet", "data.csv"])
def test_a_state_is_never_written_over_what_is_none(tmp_path, data, table, capsys, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    (tmp_path / "data.csv").write_text("mine\n")
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    assert "--state" in failure(capsys, 2, "eval", "a.parquet", *BINARY, "--state", path)
    ce.BinaryCrossEntropy().save("a.state")
    assert "--output" in failure(capsys, 2, "merge", "a.state", "-o", path)
    os.unlink("a.state")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before
    assert not os.path.isfile("/dev/null")


def test_the_result_is_printed_even_if_the_state_cannot_be_written(tmp_path, table):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    limited = ["bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "-"]  # no file can grow, as on a full disk
    command = [*limited, *COMMAND, "eval", tmp_path / "a.parquet", *BINARY, "--state", tmp_path / "state"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"cross-entropy" in done.stdout
    assert done.stderr.startswith(f"streamce: error: --state {tmp_path / 'state'}: ".encode())
    assert os.listdir(tmp_path) == ["a.parquet"]


def test_the_state_is_saved_though_the_reader_of_a_long_result_has_left(tmp_path):
    many = 2000  # more names than the buffer of standard output holds
    columns = {f"p_{i}": np.full(3, 1 / many) for i in range(many)}
    parquet.write_table(pa.table({**columns, "y": [0, 1, 2]}), tmp_path / "a.parquet")
    words = ["--task", "multiclass", "--target", "y", "--preds", "p_*", "--json", "--state", tmp_path / "state"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, "eval", tmp_path / "a.parquet", *words], stdout=writer, timeout=60, check=False
        )
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert ce.load(tmp_path / "state").summary().samples == 3


def test_a_number_of_threads_without_sense_is_found_first(tmp_path, table):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    done = run("eval", tmp_path / "a.parquet", *BINARY, env={**os.environ, "STREAMCE_NUM_THREADS": "x"})
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"STREAMCE_NUM_THREADS is" in done.stderr


# ---- as a program ----


def test_version_and_help():
    done = run("--version")
    assert done.stdout.decode() == f"streamce {ce.__version__}\n"
    done = run("eval", "--help")
    assert done.returncode == 0
    assert b"--classes NEGATIVE,POSITIVE" in done.stdout


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (b"", 1, "no data have arrived"),
        (b"PAR1" + bytes(100), 1, "parquet cannot be read from a pipe"),
        (b"\xff\xff\xff\xff" + bytes(2), 1, "standard input: "),
        (b"prob,outcome\n0.5,1\n0.5,7\n", 1, "standard input: row 1: column 'outcome' is 7"),
        (b"p,q\n0.5,1\n", 2, "standard input: no column 'prob'"),
    ],
)
def test_bad_standard_input_is_one_line(content, status, expected):
    done = run("eval", "-", *BINARY, input=content)
    lines = done.stderr.decode()
    assert (done.returncode, done.stdout, lines.count("\n")) == (status, b"", 1)
    assert expected in lines


def test_a_reader_that_left_is_no_error(tmp_path, table):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "eval", tmp_path / "a.parquet", *BINARY], stdout=write, stderr=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_disk_is_one_line(tmp_path, table):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "eval", tmp_path / "a.parquet", *BINARY], stdout=full,
            stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert done.stderr.startswith(b"streamce: error: ")


@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "busy"])
def test_ctrl_c_leaves_the_old_state(tmp_path, busy):
    state = tmp_path / "state"
    ce.BinaryCrossEntropy().save(state)
    # In its own session, as at a terminal, because that of pytest may ignore the signal.
    child = subprocess.Popen(
        [*COMMAND, "eval", "-", *BINARY, "--state", state], stdin=subprocess.PIPE,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    block = b"0.5,1\n" * 100_000
    child.stdin.write(b"prob,outcome\n")
    for _ in range(50):  # when the pipe accepts the last block, the first ones are evaluated
        child.stdin.write(block)
    if not busy:
        child.stdin.flush()
        time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    out, err = child.stdout.read(), child.stderr.read()
    assert child.wait(20) == 130
    assert (out, err) == (b"", b"streamce: error: interrupted\n")
    assert ce.load(state) == ce.BinaryCrossEntropy()
    assert os.listdir(tmp_path) == ["state"]
    child.stdout.close()
    child.stderr.close()
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()


def test_an_error_does_not_wait_for_the_end_of_standard_input():
    child = subprocess.Popen([*COMMAND, "eval", "-", *BINARY], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(b"prob,outcome\n0.5,9\n" + b"0.5,1\n" * 2_000_000)
        child.stdin.flush()
    assert child.wait(20) == 1
    assert b"row 0: column 'outcome' is 9" in child.stderr.read()
    child.stderr.close()
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()


def test_a_terminal_gets_a_progress_bar_with_rows_rate_and_time_left(tmp_path):
    rows = 400_000
    found = pa.table({"prob": np.full(rows, 0.5, "f4"), "outcome": np.zeros(rows, "i1")})
    parquet.write_table(found, tmp_path / "a.parquet")
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    child = subprocess.Popen(
        [*COMMAND, "eval", tmp_path / "a.parquet", *BINARY, "--chunk-rows", "100"],
        stderr=theirs, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while more := os.read(ours, 1 << 16):
            shown += more
    except OSError:  # the other end of the terminal is closed
        pass
    out = child.stdout.read()
    child.stdout.close()
    os.close(ours)
    assert child.wait(20) == 0
    assert out.startswith(str(tmp_path / "a.parquet").encode())
    assert re.search(rb"\d+%\|.*k/400k \[\d\d:\d\d<\d\d:\d\d, .* rows/s\]", shown)
    assert b"rows/s" not in shown.rpartition(b"\r")[2]  # the bar is erased at the end


def test_the_examples(capsys):
    digits = ("--task", "multiclass", "--preds", "p_*", "--target", "label")
    assert main(["eval", str(EXAMPLES / "digits.parquet"), *digits, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 1797
    cancer = ("--task", "binary", "--preds", "logit", "--target", "target", "--kind", "logits")
    assert main(["eval", str(EXAMPLES / "breast_cancer.csv"), *cancer, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 569
