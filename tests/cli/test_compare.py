"""``streamce compare``: the same bits as the library, and an error for files with different rows."""

import contextlib
import datetime as dt
import itertools
import json
import os
import signal
import subprocess

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from test_cli import COMMAND, EXAMPLES, WRITERS, failure, run, write_ipc

import streamce as ce
from streamce.cli.main import main

ROWS = 900
BINARY = ("--task", "binary", "--preds", "prob", "--target", "outcome", "--by-position")
MULTICLASS = ("--task", "multiclass", "--preds", "probs_*", "--target", "label", "--by-position")
MULTILABEL = ("--task", "multilabel", "--preds", "labels_*", "--target", "outcomes_*", "--by-position")
CUTS = [[], ["--chunk-rows", "1"], ["--chunk-rows", "13", "--threads", "3"]]


def predictions(seed):
    random = np.random.default_rng(seed)
    return {
        "prob": random.random(ROWS),
        "probs": random.dirichlet(np.ones(3), ROWS),
        "labels": random.random((ROWS, 3)),
    }


@pytest.fixture(scope="module")
def truth():
    random = np.random.default_rng(1)
    return {
        "outcome": random.integers(0, 2, ROWS),
        "label": random.integers(0, 3, ROWS),
        "outcomes": random.integers(0, 2, (ROWS, 3)),
        "w": random.random(ROWS),
        "user": random.integers(0, 40, ROWS),
    }


@pytest.fixture(scope="module")
def models():
    return predictions(2), predictions(3)


def table_of(*parts):
    columns = {}
    for name, values in {name: values for part in parts for name, values in part.items()}.items():
        if values.ndim == 1:
            columns[name] = values
        else:
            columns |= {f"{name}_{i}": values[:, i].copy() for i in range(3)}
    return pa.table(columns)


@pytest.fixture
def pair(tmp_path, models, truth):
    """Return the files of A, with the target, and of B, without it."""
    paths = tmp_path / "a.parquet", tmp_path / "b.parquet"
    parquet.write_table(table_of(models[0], truth), paths[0], row_group_size=400)
    parquet.write_table(table_of(models[1]), paths[1], row_group_size=270)
    return paths


def state_of(tmp_path, *arguments):
    """Run ``compare`` and return the comparison whose state it writes."""
    assert main(["compare", *map(str, arguments), "--state", str(tmp_path / "state")]) == 0
    return ce.load(tmp_path / "state")


# ---- groups ----


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_groups_are_compared(tmp_path, models, truth, pair, cut, capsys):
    (a, b), words = models, [*pair, *BINARY, "--by", "user", "--cluster", "label", *cut]
    inner = ce.Paired(ce.BinaryCrossEntropy())
    expected = ce.Grouped(inner).update(
        a["prob"], b["prob"], truth["outcome"], by=truth["user"], cluster=truth["label"]
    )
    assert state_of(tmp_path, *words) == expected
    lines = capsys.readouterr().out.splitlines()
    assert expected.micro().verdict in lines
    head = next(number for number, line in enumerate(lines) if line.startswith("the largest A - B of 40"))
    assert lines[head].split()[7:] == ["A", "-", "B", "interval", "p-value", "losses"]
    for line, (key, found) in zip(lines[head + 1 : head + 6], expected.worst(5), strict=True):
        low, high = found.difference.interval
        cells = [f"{key}", f"{found.difference.value:.6g}", f"{low:.6g}", "to", f"{high:.6g}", f"{found.p_value:.3g}"]
        assert line.split() == [*cells, f"{found.difference.count}"]
    assert max(map(len, lines[head:])) <= 100


def test_json_has_the_difference_of_each_group(models, truth, pair, capsys):
    assert main(["compare", *map(str, pair), *BINARY, "--by", "user", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (a, b) = models
    expected = ce.Grouped(ce.Paired(ce.BinaryCrossEntropy()))
    expected.update(a["prob"], b["prob"], truth["outcome"], by=truth["user"])
    assert found["verdict"] == expected.micro().verdict
    assert found["options"]["by"] == ["user"]
    for group, (key, of_group) in zip(found["groups"], expected.summary().items(), strict=True):
        assert (group["key"], group["value"], group["p_value"]) == (key, of_group.difference.value, of_group.p_value)
        assert group["interval"] == list(of_group.difference.interval)


def test_groups_of_matched_rows_by_time(tmp_path, models, truth):
    order = np.random.default_rng(0).permutation(ROWS)
    keyed = truth | {"id": np.arange(ROWS), "at": 60.0 * np.arange(ROWS)}
    parquet.write_table(table_of(models[0], keyed), tmp_path / "a.parquet")
    parquet.write_table(table_of({"prob": models[1]["prob"][order], "id": order}), tmp_path / "b.parquet")
    words = ["--task", "binary", "--preds", "prob", "--target", "outcome", "--key", "id"]
    by = ["--by", "label", "--by-time", "at", "--period", "1h"]
    found = state_of(tmp_path, tmp_path / "a.parquet", tmp_path / "b.parquet", *words, *by)
    expected = ce.Grouped(ce.Paired(ce.BinaryCrossEntropy()), period="1h")
    expected.update(models[0]["prob"], models[1]["prob"], truth["outcome"], by=truth["label"], by_time=keyed["at"])
    assert found == expected


# ---- the same bits ----


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("name", WRITERS)
def test_every_task_is_the_same_from_every_format_and_in_process(tmp_path, models, truth, pair, name, cut):
    other = tmp_path / f"other.{name}"
    WRITERS[name](table_of(models[1], truth), other)
    (a, b), weighted = models, ["--weight", "w"]
    metric = ce.Paired(ce.BinaryCrossEntropy()).update(a["prob"], b["prob"], truth["outcome"], weight=truth["w"])
    assert state_of(tmp_path, pair[0], other, *BINARY, *weighted, *cut) == metric
    metric = ce.Paired(ce.MulticlassCrossEntropy()).update(a["probs"], b["probs"], truth["label"])
    assert state_of(tmp_path, pair[0], other, *MULTICLASS, *cut) == metric
    metric = ce.Paired(ce.MultilabelCrossEntropy(per_label=False)).update(a["labels"], b["labels"], truth["outcomes"])
    assert state_of(tmp_path, pair[0], other, *MULTILABEL, *cut) == metric


def test_the_target_is_asked_of_the_first_file_alone(tmp_path, models, truth, pair):
    metric = ce.Paired(ce.BinaryCrossEntropy()).update(models[0]["prob"], models[1]["prob"], truth["outcome"])
    assert state_of(tmp_path, *pair, *BINARY) == metric


def test_clusters_are_those_of_the_first_file(tmp_path, models, truth, pair):
    metric = ce.Paired(ce.BinaryCrossEntropy())
    metric.update(models[0]["prob"], models[1]["prob"], truth["outcome"], cluster=truth["user"])
    assert state_of(tmp_path, *pair, *BINARY, "--cluster", "user", "--chunk-rows", "100") == metric


OPTIONS = {
    "kind": (["--kind", "logits"], {"kind": "logits"}),
    "smoothing": (["--label-smoothing", "0.1"], {"label_smoothing": 0.1}),
    "eps": (["--eps", "0.25"], {"eps": 0.25}),
    "ignore_index": (["--ignore-index", "2"], {"ignore_index": 2}),
}


@pytest.mark.parametrize(("words", "options"), OPTIONS.values(), ids=OPTIONS)
def test_options_mean_what_they_mean_in_process(tmp_path, models, truth, pair, words, options):
    metric = ce.Paired(ce.MulticlassCrossEntropy(**options))
    metric.update(models[0]["probs"], models[1]["probs"], truth["label"])
    assert state_of(tmp_path, *pair, *MULTICLASS, *words) == metric


def test_both_models_may_be_in_one_file(tmp_path, models, truth):
    columns = {"old": models[0]["prob"], "new": models[1]["prob"], "outcome": truth["outcome"]}
    csv.write_csv(pa.table(columns), tmp_path / "a.csv")
    words = ("--task", "binary", "--target", "outcome", "--preds-a", "old", "--preds-b", "new")
    metric = ce.Paired(ce.BinaryCrossEntropy()).update(models[0]["prob"], models[1]["prob"], truth["outcome"])
    assert state_of(tmp_path, tmp_path / "a.csv", *words, "--chunk-rows", "77") == metric


def test_each_model_may_be_in_a_folder_of_parts_cut_as_they_are(tmp_path, models, truth):
    for name, model, ends in (("a", 0, (0, 100, 900)), ("b", 1, (0, 450, 450, 899, 900))):
        (tmp_path / name).mkdir()
        whole = table_of(models[model], truth)
        for i, (first, end) in enumerate(itertools.pairwise(ends)):
            parquet.write_table(whole.slice(first, end - first), tmp_path / name / f"part{i}.parquet")
    metric = ce.Paired(ce.BinaryCrossEntropy()).update(models[0]["prob"], models[1]["prob"], truth["outcome"])
    for cut in CUTS:
        assert state_of(tmp_path, tmp_path / "a", f"{tmp_path}/b/part*", *BINARY, *cut) == metric


def test_npy_files_with_the_target_beside(tmp_path, models, truth):
    for name, values in (
        ("a", models[0]["probs"]),
        ("b", models[1]["probs"]),
        ("y", truth["label"]),
        ("w", truth["w"]),
    ):
        np.save(tmp_path / f"{name}.npy", values)
    beside = ("--target", tmp_path / "y.npy", "--weight", tmp_path / "w.npy")
    metric = ce.Paired(ce.MulticlassCrossEntropy())
    metric.update(models[0]["probs"], models[1]["probs"], truth["label"], weight=truth["w"])
    for cut in CUTS:
        words = (tmp_path / "a.npy", tmp_path / "b.npy", "--task", "multiclass", *beside, *cut)
        assert state_of(tmp_path, *words) == metric


def test_one_of_them_may_come_through_a_pipe(tmp_path, models, truth, pair):
    write_ipc(table_of(models[1]), tmp_path / "b.arrow")
    done = run(
        "compare", pair[0], "-", *BINARY, "--state", tmp_path / "state", input=(tmp_path / "b.arrow").read_bytes()
    )
    assert (done.returncode, done.stderr) == (0, b"")
    metric = ce.Paired(ce.BinaryCrossEntropy()).update(models[0]["prob"], models[1]["prob"], truth["outcome"])
    assert ce.load(tmp_path / "state") == metric


# ---- labels ----


def named(values, names, prefix=""):
    return {f"{prefix}{name}": values[:, i].copy() for i, name in enumerate(names)}


def test_text_labels_are_named_by_the_columns_of_the_first_file(tmp_path, models, truth):
    names = ["ant", "bee", "cat"]
    label = {"label": np.array(names)[truth["label"]].astype(object)}
    parquet.write_table(pa.table(named(models[0]["probs"], names, "p_") | label), tmp_path / "a.parquet")
    metric = ce.Paired(ce.MulticlassCrossEntropy()).update(models[0]["probs"], models[1]["probs"], truth["label"])
    for columns in (named(models[1]["probs"], names, "q_"), named(models[1]["probs"], "xyz", "q_")):
        for more in ({}, label):
            parquet.write_table(pa.table(columns | more), tmp_path / "b.parquet")
            words = ("--task", "multiclass", "--target", "label", "--preds", "p_*", "--preds-b", "q_*", "--by-position")
            assert state_of(tmp_path, tmp_path / "a.parquet", tmp_path / "b.parquet", *words) == metric


def test_classes_in_another_order_are_an_error(tmp_path, models, truth, capsys):
    parquet.write_table(
        pa.table(named(models[0]["probs"], ["ant", "bee", "cat"], "p_") | {"y": truth["label"]}), tmp_path / "a.parquet"
    )
    parquet.write_table(pa.table(named(models[1]["probs"], ["cat", "bee", "ant"], "q_")), tmp_path / "b.parquet")
    files = tmp_path / "a.parquet", tmp_path / "b.parquet"
    words = (*files, "--task", "multiclass", "--target", "y", "--preds", "p_*", "--by-position")
    assert "in another order" in failure(capsys, 2, "compare", *words, "--preds-b", "q_*")
    turned = ce.Paired(ce.MulticlassCrossEntropy())
    turned.update(models[0]["probs"], models[1]["probs"][:, ::-1], truth["label"])
    assert state_of(tmp_path, *words, "--preds-b", "q_ant,q_bee,q_cat") == turned


def test_columns_numbered_from_1_are_no_classes_from_0(tmp_path, models, truth, capsys):
    parquet.write_table(
        pa.table(named(models[0]["probs"], "012", "p_") | {"y": truth["label"]}), tmp_path / "a.parquet"
    )
    parquet.write_table(pa.table(named(models[1]["probs"], "123", "p_")), tmp_path / "b.parquet")
    words = ("--task", "multiclass", "--target", "y", "--preds", "p_*")
    line = failure(capsys, 2, "compare", tmp_path / "a.parquet", tmp_path / "b.parquet", *words)
    assert "b.parquet: columns 'p_1' to 'p_3' are not in the order of int64 labels" in line


def test_soft_targets_are_compared_as_far_as_their_digits_go(tmp_path, models, capsys):
    soft = np.random.default_rng(5).dirichlet(np.ones(3), ROWS).astype(np.float32)
    for name, model in (("a", 0), ("b", 1)):
        found = table_of({"probs": models[model]["probs"], "soft": soft})
        WRITERS["a.parquet" if name == "a" else "a.csv"](
            found, tmp_path / f"{name}{'.parquet' if name == 'a' else '.csv'}"
        )
    words = ("--task", "multiclass", "--preds", "probs_*", "--target", "soft_*")
    metric = ce.Paired(ce.MulticlassCrossEntropy()).update(models[0]["probs"], models[1]["probs"], soft)
    assert state_of(tmp_path, tmp_path / "a.parquet", tmp_path / "b.csv", *words) == metric


# ---- rows that are not the same ----


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_a_target_that_differs_names_both_files_and_the_row(tmp_path, models, truth, pair, capsys, cut):
    label = truth["label"].copy()
    label[543] = (label[543] + 1) % 3
    parquet.write_table(table_of(models[1], {**truth, "label": label}), pair[1])
    line = failure(capsys, 1, "compare", *pair, *MULTICLASS, *cut, "--state", tmp_path / "state")
    assert (
        f"{pair[0]}: row 543: column 'label' is {truth['label'][543]}, but {label[543]} in {pair[1]}, row 543" in line
    )
    assert not (tmp_path / "state").exists()


def test_nulls_in_the_target_must_be_in_both(tmp_path, capsys):
    half, words = [0.5] * 4, (*BINARY, "--invalid", "skip")
    for name, target in (
        ("a", [1, None, 0, 1]),
        ("b", [1, None, 0, 1]),
        ("c", [1, 0, 0, 1]),
        ("d", [1, None, None, 1]),
    ):
        parquet.write_table(pa.table({"prob": half, "outcome": target}), tmp_path / f"{name}.parquet")
    summary = state_of(tmp_path, tmp_path / "a.parquet", tmp_path / "b.parquet", *words).summary()
    assert (summary.difference.invalid_null, summary.difference.count) == (1, 3)
    capsys.readouterr()
    for name, row, value in (("c", 1, "None, but 0"), ("d", 2, "0, but None")):
        line = failure(capsys, 1, "compare", tmp_path / "a.parquet", tmp_path / f"{name}.parquet", *words)
        assert f"row {row}: column 'outcome' is {value}" in line


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("rows", [1, 400, 899])
def test_files_of_different_lengths_are_an_error_that_names_both(tmp_path, models, pair, capsys, rows, cut):
    parquet.write_table(table_of(models[1]).slice(0, rows), pair[1])
    expected = f"{pair[1]} has {rows} rows but {pair[0]} has more: expected the same rows"
    assert expected in failure(capsys, 1, "compare", *pair, *BINARY, *cut, "--state", tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_lists_of_other_lengths_are_an_error(tmp_path, models, truth, capsys):
    for name, values in (("a", models[0]["probs"]), ("b", models[1]["probs"][:, :2])):
        columns = {"p": list(values), "label": truth["label"]}
        parquet.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    words = (
        tmp_path / "a.parquet",
        tmp_path / "b.parquet",
        "--task",
        "multiclass",
        "--preds",
        "p",
        "--target",
        "label",
        "--by-position",
    )
    assert "b.parquet: (2,) predictions per row, but " in failure(capsys, 1, "compare", *words)


# ---- the order of rows ----


@pytest.mark.parametrize("other", ["./a.csv", "link.csv", "file://{}/a.csv"])
def test_two_names_of_one_file_are_one_file(tmp_path, monkeypatch, capsys, other):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a.csv", "id,y,p,q\n1,1,.9,.8\n")
    os.symlink("a.csv", "link.csv")
    line = failure(capsys, 2, "compare", "a.csv", other.format(tmp_path), *OWN)
    assert "a.csv: one file was given: expected --preds-b" in line
    assert main(["compare", "a.csv", other.format(tmp_path), *OWN, "--preds-b", "q"]) == 0


@pytest.mark.parametrize("names", [("a.fifo", "./a.fifo"), ("a.fifo", "link.fifo")])
def test_two_names_of_one_pipe_are_refused(tmp_path, monkeypatch, capsys, names):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("a.fifo")
    os.symlink("a.fifo", "link.fifo")
    assert "a.fifo: this can be read only once" in failure(capsys, 2, "compare", *names, *OWN, "--preds-b", "q")


OWN = ("--task", "binary", "--preds", "p", "--target", "y")


def written(path, text):
    path.write_text(text)
    return path


def test_rows_in_another_order_are_an_error_that_names_the_column(tmp_path, capsys):
    a = written(tmp_path / "A.csv", "id,y,p\n1,1,.9\n2,0,.2\n3,1,.8\n")
    b = written(tmp_path / "B.csv", "id,p\n2,.1\n3,.7\n1,.95\n")
    for more in ((), ("--cluster", "id")):
        line = failure(capsys, 1, "compare", a, b, *OWN, *more)
        assert f"A.csv: row 0: column 'id' is '1', but '2' in {b}, row 0: expected the same rows in the same" in line
        assert "--by-position" in line
    expected = ce.Paired(ce.BinaryCrossEntropy()).update([0.9, 0.2, 0.8], [0.1, 0.7, 0.95], [1, 0, 1])
    assert state_of(tmp_path, a, b, *OWN, "--by-position") == expected


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_the_first_row_that_differs_is_named_in_chunks_of_any_size(tmp_path, truth, models, capsys, cut):
    ids = np.arange(ROWS)
    for name, order in (("a", ids), ("b", np.where(ids == 701, 0, ids))):
        columns = {"prob": models[0]["prob"], "outcome": truth["outcome"], "id": order}
        parquet.write_table(pa.table(columns), tmp_path / f"{name}.parquet", row_group_size=130)
    words = [word for word in BINARY if word != "--by-position"]
    line = failure(capsys, 1, "compare", tmp_path / "a.parquet", tmp_path / "b.parquet", *words, *cut)
    assert "a.parquet: row 701: column 'id' is 701, but 0 in " in line


def test_equal_columns_of_any_kind_show_the_order(tmp_path, capsys):
    """Values are equal whatever the format and the width of their type. Two nulls, or two NaNs, are equal."""
    shared = {
        "id": pa.array([1, 2, 3]),
        "name": pa.array(["a", None, "c"]),
        "x": pa.array([0.1, float("nan"), 0.3]),
        "day": pa.array([dt.date(2024, 1, day) for day in (1, 2, 3)]),
    }
    own = {"p": [0.9, 0.2, 0.8], "y": [1, 0, 1]}
    table = pa.table(own | shared | {"list": [[1], [2, 3], None]})
    parquet.write_table(table, tmp_path / "a.parquet")
    narrow = table.set_column(2, "id", table["id"].cast(pa.int8())).set_column(4, "x", table["x"].cast(pa.float32()))
    parquet.write_table(narrow, tmp_path / "b.parquet")
    csv.write_csv(table.drop(["list"]), tmp_path / "b.csv")
    expected = ce.Paired(ce.BinaryCrossEntropy()).update(own["p"], own["p"], own["y"])
    for name in ("b.parquet", "b.csv"):
        assert state_of(tmp_path, tmp_path / "a.parquet", tmp_path / name, *OWN) == expected
        assert capsys.readouterr().err == ""


def test_files_that_share_only_the_target_are_paired_with_a_note(tmp_path, capsys):
    a = written(tmp_path / "A.csv", "y,p\n1,.9\n0,.2\n")
    b = written(tmp_path / "B.csv", "y,p\n1,.8\n0,.1\n")
    expected = ce.Paired(ce.BinaryCrossEntropy()).update([0.9, 0.2], [0.8, 0.1], [1, 0])
    assert state_of(tmp_path, a, b, *OWN) == expected
    note = capsys.readouterr().err
    assert note.startswith(f"streamce: note: {a} and {b} share only the target")
    assert note.count("\n") == 1
    assert state_of(tmp_path, a, b, *OWN, "--by-position") == expected
    assert capsys.readouterr().err == ""


def test_files_that_share_nothing_are_refused(tmp_path, capsys):
    a = written(tmp_path / "A.csv", "y,p\n1,.9\n0,.2\n")
    b = written(tmp_path / "B.csv", "p\n.8\n.1\n")
    line = failure(capsys, 2, "compare", a, b, *OWN)
    assert f"{a} and {b} share no column that shows whether their rows are in the same order" in line
    assert "--by-position" in line


def test_a_later_file_without_a_shared_column_is_an_error(tmp_path, capsys):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        written(tmp_path / folder / "0.csv", "id,y,p\n1,1,.9\n")
        written(tmp_path / folder / "1.csv", "y,p\n0,.2\n" if folder == "b" else "id,y,p\n2,0,.2\n")
    line = failure(capsys, 1, "compare", tmp_path / "a", tmp_path / "b", *OWN)
    assert "1.csv: there is no column 'id', which earlier files have" in line


# ---- bad data and invalid rows ----


def two_files(tmp_path, **changes):
    columns = {name: {"prob": [0.5] * 300, "outcome": [0, 1] * 150, "w": [1.0] * 300} for name in "ab"}
    for name, (file, row, value) in changes.items():
        columns[file][name][row] = value
    for file in "ab":
        parquet.write_table(pa.table(columns[file]), tmp_path / f"{file}.parquet", row_group_size=70)
    return tmp_path / "a.parquet", tmp_path / "b.parquet"


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"prob": ("a", 271, 1.5)}, "a.parquet: row 271: column 'prob' is 1.5: expected a probability in [0, 1]"),
        ({"prob": ("b", 299, float("nan"))}, "b.parquet: row 299: column 'prob' is nan"),
        ({"prob": ("b", 17, None)}, "b.parquet: row 17: column 'prob' holds a null"),
        ({"prob": ("a", 17, None)}, "a.parquet: row 17: column 'prob' holds a null"),
        ({"w": ("a", 120, -2.0)}, "a.parquet: row 120: column 'w' is -2.0"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_column(tmp_path, capsys, changes, expected, cut):
    paths = two_files(tmp_path, **changes)
    assert expected in failure(capsys, 1, "compare", *paths, *BINARY, "--weight", "w", *cut)


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_rows_that_are_invalid_in_either_file_are_skipped_in_both(tmp_path, cut):
    paths = two_files(tmp_path, prob=("b", 17, None), w=("a", 20, -1.0))
    summary = state_of(tmp_path, *paths, *BINARY, "--weight", "w", "--invalid", "skip", *cut).summary()
    for part in (summary.a, summary.b, summary.difference):
        assert (part.invalid_null, part.invalid_weight, part.count) == (1, 1, 298)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["a.parquet"], 2, "a.parquet: one file was given: expected --preds-b"),
        (["a.parquet", "a.parquet"], 2, "a.parquet: one file was given: expected --preds-b"),
        (["a.parquet", "b.parquet", "c.parquet"], 2, "3 files were given, expected A and B"),
        (["a.parquet", "b.parquet", "--preds-b", "nothing"], 2, "b.parquet: no column 'nothing'"),
        (["a.parquet", "b.parquet", "--weight", "nothing"], 2, "a.parquet: no column 'nothing'"),
        (["a.parquet", "missing.parquet"], 1, "missing.parquet: no such file"),
        (["b.parquet", "a.parquet"], 2, "b.parquet: no column 'outcome'"),
        (["-", "-", "--preds-b", "new"], 2, "standard input: this can be read only once"),
        (["a.parquet", "b.parquet", "--state", "b.parquet"], 2, "--state b.parquet: "),
        (["a.parquet", "b.parquet", "--eps", "7"], 2, "--eps: eps is 7.0"),
        (["a.parquet", "b.parquet", "--by", "nobody"], 2, "no column 'nobody'"),
        (["a.parquet", "b.parquet", "--by-time", "user"], 2, "--by-time needs --period"),
    ],
)
def test_words_without_sense_are_one_line(pair, capsys, monkeypatch, words, status, message):
    monkeypatch.chdir(pair[0].parent)
    assert message in failure(capsys, status, "compare", *words, *BINARY)


def test_files_may_have_no_rows(tmp_path, models, truth, pair, capsys):
    parquet.write_table(table_of(models[0], truth).slice(0, 0), pair[0])
    parquet.write_table(table_of(models[1]).slice(0, 0), pair[1])
    assert main(["compare", *map(str, pair), *BINARY]) == 0
    assert "there are no samples" in capsys.readouterr().out


# ---- output ----


def test_the_table_names_the_files_and_ends_with_the_summary(models, truth, pair, capsys):
    metric = ce.Paired(ce.BinaryCrossEntropy()).update(models[0]["prob"], models[1]["prob"], truth["outcome"])
    for words, summary in (
        ([], metric.summary()),
        (["--anytime", "--level", "0.9"], metric.summary(0.9, anytime=True)),
    ):
        assert main(["compare", *map(str, pair), *BINARY, *words]) == 0
        out, err = capsys.readouterr()
        first, _, rest = out.partition("\n")
        assert first.startswith(f"A is {pair[0]}, B is {pair[1]}: 900 rows, binary, kind=probs, ")
        assert (rest, err) == (f"{summary}\n", "")


def test_json_is_the_summary_and_the_options(models, truth, pair, capsys):
    assert main(["compare", *map(str, pair), *BINARY, "--json", "--threads", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    options = found.pop("options")
    assert found.pop("rows_unreadable") == 0
    metric = ce.Paired(ce.BinaryCrossEntropy()).update(models[0]["prob"], models[1]["prob"], truth["outcome"])
    assert found == metric.summary().to_dict()
    expected = {"metric": "BinaryCrossEntropy", "files_a": [str(pair[0])], "files_b": [str(pair[1])], "threads": 1,
                "preds_a": ["prob"], "preds_b": ["prob"], "target": ["outcome"], "target_b": []}  # fmt: skip
    assert options.items() >= expected.items()


def test_states_are_merged_and_shown_like_others(tmp_path, models, truth, capsys):
    for i, rows in enumerate((slice(0, 300), slice(300, 900))):
        for name, model in (("a", 0), ("b", 1)):
            part = table_of(models[model], truth).slice(rows.start, rows.stop - rows.start)
            parquet.write_table(part, tmp_path / f"{name}{i}.parquet")
        paths = (tmp_path / f"a{i}.parquet", tmp_path / f"b{i}.parquet")
        assert main(["compare", *map(str, paths), *BINARY, "--state", str(tmp_path / f"{i}.state")]) == 0
    merged = tmp_path / "merged.state"
    assert main(["merge", str(tmp_path / "0.state"), str(tmp_path / "1.state"), "-o", str(merged)]) == 0
    assert "2 states, 900 samples" in capsys.readouterr().out
    metric = ce.Paired(ce.BinaryCrossEntropy()).update(models[0]["prob"], models[1]["prob"], truth["outcome"])
    assert merged.read_bytes() == metric.to_bytes()
    assert main(["show", str(merged), "--level", "0.9"]) == 0
    assert capsys.readouterr().out.endswith(f"{metric.summary(0.9)}\n")
    assert main(["show", str(merged), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("options")["metric"] == "BinaryCrossEntropy"
    assert found == metric.summary().to_dict()


def test_the_examples_against_models_that_are_less_sure(tmp_path, capsys):
    digits = parquet.read_table(EXAMPLES / "digits.parquet")
    names = [name for name in digits.column_names if name.startswith("p_")]
    probs = np.stack([digits[name].to_numpy() for name in names], axis=1)
    less = {name: 0.9 * probs[:, i] + 0.1 / len(names) for i, name in enumerate(names)}
    parquet.write_table(pa.table(less), tmp_path / "b.parquet")
    words = ("--task", "multiclass", "--target", "label", "--preds", "p_*", "--json", "--by-position")
    assert main(["compare", str(EXAMPLES / "digits.parquet"), str(tmp_path / "b.parquet"), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["count"], found["better"]) == (1797, "A")
    cancer = csv.read_csv(EXAMPLES / "breast_cancer.csv")
    csv.write_csv(pa.table({"logit": cancer["logit"].to_numpy() * 0.5}), tmp_path / "b.csv")
    words = (
        "--task",
        "binary",
        "--target",
        "target",
        "--preds",
        "logit",
        "--kind",
        "logits",
        "--json",
        "--by-position",
    )
    assert main(["compare", str(EXAMPLES / "breast_cancer.csv"), str(tmp_path / "b.csv"), *words]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 569


# ---- as a program ----


def test_help_says_what_a_and_b_are():
    done = run("compare", "--help")
    assert done.returncode == 0
    assert b"--preds-a old --preds-b new" in done.stdout


def test_ctrl_c_leaves_the_old_state(tmp_path, pair):
    state = tmp_path / "state"
    ce.Paired(ce.BinaryCrossEntropy()).save(state)
    rows = 5_000_000
    parquet.write_table(pa.table({"prob": np.full(rows, 0.5, "f4"), "outcome": np.zeros(rows, "i1")}), pair[0])
    # In its own session, as at a terminal, because that of pytest may ignore the signal.
    child = subprocess.Popen(
        [*COMMAND, "compare", pair[0], "-", *BINARY, "--state", state], stdin=subprocess.PIPE,
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    child.stdin.write(b"prob,other\n")
    for _ in range(30):  # when the pipe accepts the last block, the first ones are compared
        child.stdin.write(b"0.5,1\n" * 100_000)
    child.send_signal(signal.SIGINT)
    out, err = child.stdout.read(), child.stderr.read()
    assert child.wait(20) == 130
    assert (out, err) == (b"", b"streamce: error: interrupted\n")
    assert ce.load(state) == ce.Paired(ce.BinaryCrossEntropy())
    child.stdout.close()
    child.stderr.close()
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()


def test_the_state_is_saved_though_the_reader_of_the_result_has_left(tmp_path, pair):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, "compare", *pair, *BINARY, "--state", tmp_path / "state"], stdout=writer, stderr=subprocess.PIPE,
            timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ce.load(tmp_path / "state").summary().samples == ROWS
