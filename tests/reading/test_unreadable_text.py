"""Rows of CSV and TSV that cannot be read: the rest is evaluated and they are counted, or the error names the first."""

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamce as ce
from streamce.cli.main import main
from streamce.reading.formats import text

BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
# Cells in a column of numbers that are no numbers, and rows of another length.
BAD_CELLS = ["None", "\\N", "#N/A", "-", "abc", "1e", "0.5 0.5", "1e5-", "nul"]


@pytest.fixture
def evaluated(tmp_path, capsys):
    """Return a function from a text to the result of ``--json``, the bytes of the state, and standard error."""

    def evaluated(content, *options, name="a.csv", status=0):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        state = tmp_path / "S"
        state.unlink(missing_ok=True)
        assert main(["eval", str(tmp_path / name), *BINARY, "--json", "--state", str(state), *options]) == status
        out, err = capsys.readouterr()
        return json.loads(out) if out else None, state.read_bytes() if state.exists() else b"", err

    return evaluated


def expected(rows):
    preds, target = [p for p, _ in rows], [y for _, y in rows]
    null = np.array([p is None or y is None for p, y in rows], bool)
    if not rows:
        return ce.BinaryCrossEntropy(invalid="skip").to_bytes()
    values = [0.5 if p is None else p for p in preds], [0 if y is None else y for y in target]
    metric = ce.BinaryCrossEntropy(invalid="skip")
    metric._update(*map(np.array, values), null=null)
    return metric.to_bytes()


@pytest.mark.parametrize("cell", BAD_CELLS)
@pytest.mark.parametrize(("name", "comma"), [("a.csv", ","), ("a.tsv", "\t")])
def test_a_cell_that_is_no_number_is_named_or_skipped(evaluated, tmp_path, cell, name, comma):
    content = f"p,y\n0.9,1\n{cell},0\n0.2,0\n".replace(",", comma)
    _, _, err = evaluated(content, name=name, status=1)
    found = f"{tmp_path / name}: row 1: column 'p' is {cell!r}, expected a number; --null "
    assert found in err
    assert err.endswith("reads it as missing, --invalid skip leaves out such rows\n")
    result, state, err = evaluated(content, "--invalid", "skip", name=name)
    assert (result["rows_unreadable"], result["count"], state) == (1, 2, expected([(0.9, 1), (0.2, 0)]))
    assert err.startswith(f"streamce: note: skipped 1 row that cannot be read, first: {found}")


@pytest.mark.parametrize("cell", BAD_CELLS)
def test_null_makes_a_cell_missing(evaluated, cell):
    content = f"p,y\n0.9,1\n{cell},0\n0.2,0\nNone,1\n"
    words = ["--null", "None", f"--null={cell}"]
    result, state, err = evaluated(content, *words, "--invalid", "skip")
    assert (result["rows_unreadable"], result["invalid_null"], err) == (0, 2, "")
    assert state == expected([(0.9, 1), (None, 0), (0.2, 0), (None, 1)])
    assert "row 1: column 'p' holds a null" in evaluated(content, *words, status=1)[2]


def test_null_makes_text_missing_too(evaluated):
    content = "p,y,k\n0.9,1,a\n0.2,0,None\n0.5,0,\n0.5,1,NA\n"
    _, state, _ = evaluated(content, "--null", "None", "--by", "k")
    grouped = ce.Grouped(ce.BinaryCrossEntropy())
    assert state == grouped.update([0.9, 0.2, 0.5, 0.5], [1, 0, 0, 1], by=["a", None, "", "NA"]).to_bytes()


@pytest.mark.parametrize(("row", "cells"), [("0.5,1,x,1", "4 cells"), ("0.5", "1 cell"), (b"0.5,1,\xff,2", "4 cells")])
def test_a_row_of_another_length_is_named_or_skipped(evaluated, row, cells):
    row = row if isinstance(row, bytes) else row.encode()
    content = b"p,y,k\n0.9,1,a\n%b\n0.2,0,b\n" % row
    assert f"a.csv: row 1: it has {cells}, expected 3: '0.5" in (err := evaluated(content, status=1)[2])
    assert err.endswith("; --invalid skip leaves out such rows\n")
    result, state, _ = evaluated(content, "--invalid", "skip")
    assert (result["rows_unreadable"], state) == (1, expected([(0.9, 1), (0.2, 0)]))


def test_bytes_that_are_no_text_count_only_in_a_requested_column(evaluated):
    content = b"p,y,k\n0.9,1,a\n0.5,1,\xff\n0.2,0,b\n"
    assert evaluated(content)[0]["count"] == 3
    err = evaluated(content, "--cluster", "k", status=1)[2]
    assert "a.csv: row 1: column 'k' is '\\xff', expected UTF-8; --encoding names another encoding" in err.replace(
        "\\\\", "\\"
    )
    result, state, _ = evaluated(content, "--cluster", "k", "--invalid", "skip")
    assert (result["rows_unreadable"], result["count"]) == (1, 2)
    metric = ce.BinaryCrossEntropy(invalid="skip").update([0.9, 0.2], [1, 0], cluster=["a", "b"])
    assert state == metric.to_bytes()


QUOTES = 'txt,y,p\n"ok then,1,0.9\nx,0,0.2\n"z,1,0.5\nw,1,0.7\n'


def test_a_line_with_an_unclosed_quote_is_skipped(evaluated, tmp_path):
    result, state, err = evaluated(QUOTES, "--invalid", "skip")
    assert (result["rows_unreadable"], state) == (2, expected([(0.2, 0), (0.7, 1)]))
    assert f"first: {tmp_path / 'a.csv'}: row 0: a closing quote is followed by text" in err
    assert evaluated(QUOTES, status=1)[2].endswith(", or --invalid skip leaves out such rows\n")


def test_an_unclosed_quote_does_not_swallow_more_than_the_longest_record(evaluated):
    rows = "0.2,0,x\n" * 1000
    content = f'p,y,t\n0.9,1,"a\n{rows}'
    for longest in ("100", "7900", "8000", "1M"):
        result, state, _ = evaluated(content, "--invalid", "skip", "--max-record", longest)
        assert (result["rows_unreadable"], state) == (1, expected([(0.2, 0)] * 1000))
    words = ("--invalid", "skip", "--max-record", "7")
    assert "a record of more than 7 bytes" in evaluated(content, *words, status=1)[2]


def test_errors_after_skipped_rows_name_their_rows(evaluated):
    content = "p,y\n0.9,1\nNone,0\n0.5,1,1\n\n0.2,0\n-,0\n1.5,1\n"
    result, _, _ = evaluated(content, "--invalid", "skip", "--chunk-rows", "2")
    assert (result["rows_unreadable"], result["invalid_range"], result["count"]) == (3, 1, 2)
    content = content.replace("None", "0.5").replace("-,0", "0.1,0").replace("0.5,1,1\n", "")
    assert "row 4: column 'p' is 1.5" in evaluated(content, status=1)[2]


def test_a_column_of_labels_with_a_missing_value_stays_a_column_of_numbers(evaluated, tmp_path, capsys):
    (tmp_path / "m.csv").write_text("p_0,p_1,y\n0.9,0.1,0\n0.2,0.8,None\n0.2,0.8,1\n")
    words = ["--task", "multiclass", "--preds", "p_*", "--target", "y", "--invalid", "skip"]
    assert main(["eval", str(tmp_path / "m.csv"), *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows_unreadable"], result["value"]) == (1, -(math.log(0.9) + math.log(0.8)) / 2)


def test_a_run_resumes_among_unreadable_rows(evaluated, tmp_path, monkeypatch):
    rows = [f"0.{i % 9 + 1},{i % 2}" if i % 3 else "None,1" for i in range(100)]
    good = [(float(row.split(",")[0]), int(row[-1])) for row in rows if "None" not in row]
    content = "p,y\n" + "\n".join(rows) + "\n"
    from streamce.cli import partitions

    add_chunk, calls = partitions.add_chunk, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        add_chunk(*arguments)

    monkeypatch.setattr(text, "TEXT_BLOCK", 50)
    monkeypatch.setattr(partitions, "add_chunk", interrupted)
    words = ["--invalid", "skip", "--resume", "--chunk-rows", "3", "--checkpoint-every", "0"]
    evaluated(content, *words, status=130)
    monkeypatch.setattr(partitions, "add_chunk", add_chunk)
    state = tmp_path / "S"
    assert main(["eval", str(tmp_path / "a.csv"), *BINARY, *words, "--state", str(state)]) == 0
    assert state.read_bytes() == expected(good)


CELLS = st.sampled_from(["0.5", "0.25", " 0.75", "1e-3", "", "NA", *BAD_CELLS])
ROWS = st.lists(
    st.one_of(
        st.tuples(CELLS, st.sampled_from(["0", "1", "", "?"]), st.sampled_from(['"a"', '"a\nb"', "t", '"a""b"', "ü"])),
        st.sampled_from([("0.5",), ("0.5", "1", "x", "1"), ("0.5", "1", '"x"y')]),
    ),
    max_size=20,
)


def oracle(rows):
    """Return the rows that can be read, and the number of the others."""

    def number(cell):
        return None if cell in ("", "NA") else float(cell)

    good = []
    for row in rows:
        if len(row) == 3 and row[2] != '"x"y' and row[0] not in BAD_CELLS and row[1] != "?":
            good.append((number(row[0]), number(row[1])))
    return good, len(rows) - len(good)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ROWS, st.integers(1, 200), st.integers(1, 5), st.booleans())
def test_any_rows_in_any_blocks(evaluated, monkeypatch, rows, block, chunk_rows, ends):
    good, unreadable = oracle(rows)
    content = "\n".join(",".join(row) for row in [("p", "y", "t"), *rows]) + "\n" * (ends or not rows)
    with monkeypatch.context() as patch:
        patch.setattr(text, "TEXT_BLOCK", block)
        any_loss = any(None not in row for row in good)
        words = ["--invalid", "skip", "--chunk-rows", str(chunk_rows)]
        result, state, _ = evaluated(content, *words, status=0 if any_loss or not rows else 1)
    assert result["rows_unreadable"] == unreadable
    assert state == expected(good)
