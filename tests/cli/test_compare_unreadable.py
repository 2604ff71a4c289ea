"""``compare --invalid skip`` leaves out rows that one of the files cannot be read in, and counts them."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import streamce as ce
from streamce.cli.main import main

BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
SKIP = (*BINARY, "--invalid", "skip")
P_A, P_B, Y = [0.9, 0.2, 0.7, 0.4, 0.6], [0.8, 0.3, 0.6, 0.1, 0.9], [1, 0, 1, 0, 1]


def csv(path, preds, unreadable=(), start=0):
    """Write rows from ``start`` on. The rows at ``unreadable`` have a cell too many."""
    rows = [f"{i},{p},{Y[i % 5]}" + ",7" * (i in unreadable) for i, p in enumerate(preds, start)]
    path.write_text("\n".join(["id,p,y", *rows]) + "\n")
    return str(path)


def jsonl(path, preds, unreadable=()):
    """Write rows. The lines at ``unreadable`` are cut."""
    lines = [json.dumps({"id": i, "p": p, "y": Y[i % 5]}) for i, p in enumerate(preds)]
    path.write_text("".join((line[:9] if i in unreadable else line) + "\n" for i, line in enumerate(lines)))
    return str(path)


def expected(left_out, p_a=P_A, p_b=P_B):
    keep = [i for i in range(len(p_a)) if i not in left_out]
    a, b, y = (np.array([each[i % len(each)] for i in keep]) for each in (p_a, p_b, Y))
    return ce.Paired(ce.BinaryCrossEntropy(invalid="skip")).update(a, b, y)


def compared(tmp_path, capsys, *words):
    """Return the state, the JSON object and standard error of a comparison."""
    assert main(["compare", *words, "--json", "--state", str(tmp_path / "S")]) == 0
    out, err = capsys.readouterr()
    return ce.load(tmp_path / "S"), json.loads(out), err


@pytest.mark.parametrize("write", [csv, jsonl])
@pytest.mark.parametrize("chunk_rows", ["1", "2", "3", "9"])
@pytest.mark.parametrize(
    ("in_a", "in_b"),
    [({1}, {3}), ({1}, {1}), ({0}, {4}), ({0, 1}, set()), (set(), {3, 4}), ({4}, {4}), ({0, 1, 2}, {2, 3, 4} - {4})],
)
def test_rows_are_paired_by_their_number_in_the_files(tmp_path, capsys, write, chunk_rows, in_a, in_b):
    a, b = write(tmp_path / f"a.{write.__name__}", P_A, in_a), write(tmp_path / f"b.{write.__name__}", P_B, in_b)
    state, found, err = compared(tmp_path, capsys, a, b, *SKIP, "--chunk-rows", chunk_rows)
    assert state == expected(in_a | in_b)
    assert found["rows_unreadable"] == len(in_a | in_b)
    notes = [(len(rows), path, min(rows)) for rows, path in ((in_a, a), (in_b, b)) if rows]
    assert err.count("note: skipped") == len(notes)
    for number, path, row in notes:
        plural = "row" if number == 1 else "rows"
        assert f"note: skipped {number} {plural} that cannot be read, first: {path}: row {row}: " in err


@pytest.mark.parametrize("seed", range(12))
def test_any_rows_in_any_chunks_and_files(tmp_path, capsys, seed):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 40))
    p_a, p_b = rng.random(rows), rng.random(rows)
    in_a, in_b = ({*np.flatnonzero(rng.random(rows) < rng.choice([0.05, 0.4, 0.8])).tolist()} for _ in "ab")
    left_out = in_a | in_b
    if len(left_out) == rows:
        in_a, in_b = in_a - {0}, in_b - {0}
        left_out -= {0}
    (tmp_path / "a").mkdir()
    cut = int(rng.integers(0, rows + 1))
    csv(tmp_path / "a" / "0.csv", p_a[:cut], in_a)
    csv(tmp_path / "a" / "1.csv", p_a[cut:], in_a, start=cut)
    b = jsonl(tmp_path / "b.jsonl", p_b.tolist(), in_b)
    words = [*SKIP, "--chunk-rows", str(rng.integers(1, 9))]
    state, found, _ = compared(tmp_path, capsys, str(tmp_path / "a"), b, *words)
    assert state == expected(left_out, p_a, p_b)
    assert found["rows_unreadable"] == len(left_out)


def test_a_list_of_another_length_is_left_out_of_both(tmp_path, capsys):
    lists = [[0.2, 0.8], [0.5, 0.5], [0.1, 0.9]]
    for name, preds in ("a", lists), ("b", [lists[0], [0.1, 0.2, 0.7], lists[2]]):
        parquet.write_table(pa.table({"p": preds, "y": [1, 0, 1]}), tmp_path / f"{name}.parquet")
    words = ["--task", "multiclass", "--preds", "p", "--target", "y", "--invalid", "skip"]
    state, found, _ = compared(tmp_path, capsys, str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"), *words)
    good = [lists[0], lists[2]]
    assert state == ce.Paired(ce.MulticlassCrossEntropy(invalid="skip")).update(good, good, [1, 1])
    assert found["rows_unreadable"] == 1


def test_two_columns_of_one_file(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("old,new,y\n0.9,0.8,1\n-,0.3,0\n0.7,None,1\n0.4,0.1,0\n")
    words = ["--task", "binary", "--preds-a", "old", "--preds-b", "new", "--target", "y", "--invalid", "skip"]
    state, found, _ = compared(tmp_path, capsys, str(tmp_path / "a.csv"), *words)
    assert state == ce.Paired(ce.BinaryCrossEntropy(invalid="skip")).update([0.9, 0.4], [0.8, 0.1], [1, 0])
    assert found["rows_unreadable"] == 2


def test_columns_are_still_compared(tmp_path, capsys):
    a, b = csv(tmp_path / "a.csv", P_A, {0}), csv(tmp_path / "b.csv", P_B, start=5)
    assert main(["compare", a, b, *SKIP]) == 1
    assert f"{a}: row 1: column 'id' is '1', but '6' in {b}, row 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("in_a", "in_b"), [(set(), {2}), ({3}, {3}), ({3, 4}, set()), ({4}, set()), (set(), {0, 1, 2, 3})]
)
def test_unreadable_rows_count_as_rows(tmp_path, capsys, in_a, in_b):
    a, b = csv(tmp_path / "a.csv", P_A, in_a), csv(tmp_path / "b.csv", P_B[:4], in_b)
    assert main(["compare", a, b, *SKIP]) == 1
    assert f"{b} has 4 rows but {a} has more" in capsys.readouterr().err
    assert main(["compare", b, a, *SKIP]) == 1
    assert f"{b} has 4 rows but {a} has more" in capsys.readouterr().err


def test_without_skip_the_error_names_it(tmp_path, capsys):
    a, b = csv(tmp_path / "a.csv", P_A), csv(tmp_path / "b.csv", P_B, {3})
    assert main(["compare", a, b, *BINARY]) == 1
    assert f"{b}: row 3: it has 4 cells, expected 3: '3,0.1,0,7'; --invalid skip" in capsys.readouterr().err


def test_the_table_counts_them_and_all_of_them_are_a_failure(tmp_path, capsys):
    a, b = csv(tmp_path / "a.csv", P_A, {1}), csv(tmp_path / "b.csv", P_B, {0, 2})
    assert main(["compare", a, b, *SKIP]) == 0
    assert ": 2 rows, 3 unreadable, binary" in capsys.readouterr().out
    b = csv(tmp_path / "b.csv", P_B, {0, 2, 3, 4})
    assert main(["compare", a, b, *SKIP]) == 1
    assert "no loss was valid, so all were skipped: unreadable 5" in capsys.readouterr().err


# ---- by key ----


def test_a_key_that_cannot_be_read_is_missing(tmp_path, capsys):
    a, b = csv(tmp_path / "a.csv", P_A, {1}), jsonl(tmp_path / "b.jsonl", P_B, {1})
    state, found, err = compared(tmp_path, capsys, a, b, *SKIP, "--key", "id")
    assert state == expected({1})
    assert (found["rows_unreadable"], err.count("note: skipped 1 row that cannot be read")) == (2, 2)
    b = csv(tmp_path / "b.csv", P_B)
    assert main(["compare", a, b, *SKIP, "--key", "id"]) == 1
    expected_ = f"{b}: row 1: column 'id' is '1', which {a} does not have, apart from 1 of its rows that cannot be read"
    assert expected_ in capsys.readouterr().err
