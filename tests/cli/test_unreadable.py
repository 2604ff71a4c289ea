"""Rows that cannot be read: skipped and counted with ``--invalid skip``, an error otherwise."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

import streamce as ce
from streamce.cli.main import main

PREDS = [[0.1, 0.2, 0.7], [0.5, 0.5], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2, 0.0], [0.6, 0.2, 0.2]]
LISTS = pa.table({"p": PREDS, "y": [2, 1, 1, 0, 0]})
MULTICLASS = ("--task", "multiclass", "--preds", "p", "--target", "y")


@pytest.fixture
def lists(tmp_path):
    parquet.write_table(LISTS, tmp_path / "a.parquet")
    return str(tmp_path / "a.parquet")


def test_a_list_of_another_length_is_an_error_that_names_its_row(lists, capsys):
    assert main(["eval", lists, *MULTICLASS]) == 1
    expected = f"{lists}: row 1: column 'p' is a list of 2 where others have 3"
    assert capsys.readouterr().err == f"streamce: error: {expected}\n"


@pytest.mark.parametrize("chunk_rows", ["1", "2", "3", "9"])
def test_lists_of_another_length_are_skipped_and_counted(lists, tmp_path, capsys, chunk_rows):
    words = ["--invalid", "skip", "--chunk-rows", chunk_rows, "--state", str(tmp_path / "S"), "--json"]
    assert main(["eval", lists, *MULTICLASS, *words]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["rows_unreadable"], json.loads(out)["count"]) == (2, 3)
    first = f"{lists}: row 1: column 'p' is a list of 2 where others have 3"
    assert err == f"streamce: note: skipped 2 rows that cannot be read, first: {first}\n"
    good = [PREDS[i] for i in (0, 2, 4)]
    expected = ce.MulticlassCrossEntropy(invalid="skip").update(good, [2, 1, 0])
    assert (tmp_path / "S").read_bytes() == expected.to_bytes()


def test_sequences_whose_columns_differ_in_length_are_skipped_and_counted(tmp_path, capsys):
    table = pa.table({"p": [[[0.5, 0.5]], [[0.9, 0.1]] * 2, [[0.2, 0.8]]], "t": [[0], [1], [1]]})
    parquet.write_table(table, tmp_path / "a.parquet")
    words = ["--task", "sequence", "--preds", "p", "--target", "t", "--invalid", "skip", "--json"]
    assert main(["eval", str(tmp_path / "a.parquet"), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = ce.SequenceCrossEntropy(invalid="skip").update([[0.5, 0.5], [0.2, 0.8]], [0, 1], offsets=[0, 1, 2])
    assert (found["value"], found["rows_unreadable"]) == (expected.compute(), 1)


def test_a_run_whose_rows_cannot_be_read_fails(tmp_path, capsys):
    table = pa.table({"p": [[[0.5, 0.5]]], "t": pa.array([[1, 1]])})
    parquet.write_table(table, tmp_path / "a.parquet")
    words = ["--task", "sequence", "--preds", "p", "--target", "t", "--invalid", "skip"]
    assert main(["eval", str(tmp_path / "a.parquet"), *words]) == 1
    assert "no loss was valid, so all were skipped: unreadable 1" in capsys.readouterr().err
