"""Quotes in CSV and TSV: no quote swallows rows, and a cell that quotes may enclose is never guessed."""

import codecs
import csv
import io

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import streamce as ce
from streamce.cli.main import main
from streamce.reading.formats import records

BINARY = ["--task", "binary", "--preds", "p", "--target", "y"]
ROWS = [("txt", "y", "p"), ('"ok then', "1", "0.9"), ("x", "0", "0.2"), ('"z', "1", "0.5"), ("w", "1", "0.7")]


def written(path, delimiter, rows=ROWS):
    path.write_text("".join(delimiter.join(row) + "\n" for row in rows), newline="")
    return str(path)


def result(path, *options):
    state = f"{path}.state"
    assert main(["eval", str(path), *BINARY, *options, "--state", state]) == 0
    summary = ce.load(state).summary()
    return summary.count, round(summary.value, 6)


def failure(capsys, status, *arguments):
    assert main([*arguments]) == status
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_a_quote_in_tsv_is_text(tmp_path):
    assert result(written(tmp_path / "a.tsv", "\t")) == (4, 0.344582)


def test_a_quote_that_begins_a_cell_of_csv_and_does_not_end_it_is_an_error(tmp_path, capsys):
    path = written(tmp_path / "a.csv", ",")
    line = failure(capsys, 1, "eval", path, *BINARY)
    assert f"{path}: row 0: a closing quote is followed by text" in line
    assert "--quote ''" in line
    assert result(path, "--quote", "") == (4, 0.344582)


@pytest.mark.parametrize("before", [0, 1, 3, 200_000])
@pytest.mark.parametrize(("cell", "found"), [('"a"b', "a closing quote is followed by text"), ('"a', "not closed")])
def test_the_error_names_the_row(tmp_path, capsys, before, cell, found):
    path = written(tmp_path / "a.csv", ",", [ROWS[0], *[("t", "1", "0.5")] * before, (cell, "1", "0.5")])
    assert f"a.csv: row {before}: " in (line := failure(capsys, 1, "eval", path, *BINARY))
    assert found in line


def test_a_header_with_an_open_quote_is_an_error(tmp_path, capsys):
    path = written(tmp_path / "a.csv", ",", [('"p', "y"), ("0.5", "1")])
    assert "a.csv: a cell begins with a quote that is not closed" in failure(capsys, 1, "eval", path, *BINARY)


@pytest.mark.parametrize("column", ["p", "y", "by"])
def test_a_requested_cell_of_tsv_in_quotes_names_the_option(tmp_path, capsys, column):
    cells = {"p": "0.5", "y": "1", "by": "a"}
    rows = [tuple(cells), ("0.9", "1", "b"), tuple((cells | {column: f'"{cells[column]}"'}).values())]
    path = written(tmp_path / "a.tsv", "\t", rows)
    line = failure(capsys, 1, "eval", path, *BINARY, "--by", "by")
    assert f"a.tsv: row 1: column '{column}' is in quotes: set --quote '\"'" in line
    assert main(["eval", path, *BINARY, "--by", "by", "--quote", '"']) == 0


@pytest.mark.parametrize("column", ["p", "y", "by"])
@pytest.mark.parametrize("chunk_rows", ["1", "9"])
def test_a_requested_cell_of_tsv_in_quotes_is_never_skipped(tmp_path, capsys, column, chunk_rows):
    cells = {"p": "0.5", "y": "1", "by": "a"}
    rows = [tuple(cells), ("0.9", "1", "b"), ("?", "1", "b"), tuple((cells | {column: f'"{cells[column]}"'}).values())]
    path = written(tmp_path / "a.tsv", "\t", rows)
    words = [*BINARY, "--by", "by", "--invalid", "skip", "--chunk-rows", chunk_rows]
    line = failure(capsys, 1, "eval", path, *words)
    assert f"a.tsv: row 2: column '{column}' is in quotes: set --quote '\"'" in line
    assert main(["eval", path, *words, "--quote", '"']) == 0


@pytest.mark.parametrize("options", [[], ["--quote", '"']])
def test_names_of_tsv_may_be_in_quotes(tmp_path, options):
    path = written(tmp_path / "a.tsv", "\t", [('"p"', '"y"'), ("0.5", "1")])
    assert result(path, *options) == (1, 0.693147)


def test_a_quote_that_encloses_nothing_is_text_and_so_are_all_if_the_user_says_so(tmp_path):
    path = written(tmp_path / "a.tsv", "\t", [("p", "y", "by"), ("0.5", "1", '"'), ("0.5", "1", 'a"')])
    assert main(["eval", path, *BINARY, "--by", "by", "--state", f"{path}.state"]) == 0
    assert sorted(ce.load(f"{path}.state").keys()) == ['"', 'a"']
    for name, comma in (("b.tsv", "\t"), ("b.csv", ",")):
        path = written(tmp_path / name, comma, [("p", "y", "by"), ("0.5", "1", '"a"')])
        assert main(["eval", path, *BINARY, "--by", "by", "--quote", "", "--state", f"{path}.state"]) == 0
        assert ce.load(f"{path}.state").keys() == ['"a"']


def test_an_unrequested_cell_of_tsv_may_be_in_quotes(tmp_path):
    path = written(tmp_path / "a.tsv", "\t", [ROWS[0], ('"z"', "1", "0.5")])
    assert result(path) == (1, 0.693147)


def test_another_quote(tmp_path):
    path = written(tmp_path / "a.csv", ",", [ROWS[0], ("'a,\n\"b'", "1", "0.5"), ('5"', "1", "0.5")])
    assert result(path, "--quote", "'") == (2, 0.693147)


@pytest.mark.parametrize("quote", ["ab", "é", ",", "\n", "x"])
def test_what_is_no_quote_is_a_usage_error(capsys, quote):
    assert "is not one ASCII character of punctuation, or ''" in failure(
        capsys, 2, "eval", "a.csv", *BINARY, "--quote", quote
    )


cells = st.text(alphabet="a\",\n '", max_size=6)
tables = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=12))


@given(tables, st.integers(1, 40), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
@example([('5"', "a")], 3, csv.QUOTE_MINIMAL)
def test_what_a_writer_wrote_is_cut_into_its_rows(rows, size, quoting):
    rows = [row for row in rows if row != ("",)]  # which a writer makes an empty line
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="\n").writerows(rows)
    found = cut(text.getvalue().encode(), size)
    assert b"".join(found).decode() == text.getvalue()
    assert [row for block in found for row in csv.reader(io.StringIO(block.decode(), newline=""))] == [*map(list, rows)]


@given(st.text(alphabet='a",\n', max_size=30), st.integers(1, 40))
@example('a"\n"b\n",\n', 2)
@example('"a"b,\n', 1)
@example('a""\n"b,\n"\n', 3)
def test_text_is_refused_or_arrow_reads_it_as_it_stands(text, size):
    """A strict reader, written cell by cell, says which rows a text has, or that it has none."""
    try:
        expected = strictly(text)
    except ValueError:
        with pytest.raises(records.RecordError, match="quote"):
            cut(text.encode(), size)
        return
    blocks = cut(text.encode(), size)
    assert [row for block in blocks for row in strictly(block.decode())] == expected
    for block in blocks:
        rows = strictly(block.decode())
        if rows and len({len(row) for row in rows}) == 1:
            names = [str(i) for i in range(len(rows[0]))]
            read = pa.csv.read_csv(
                io.BytesIO(block),
                pa.csv.ReadOptions(column_names=names),
                pa.csv.ParseOptions(newlines_in_values=True),
                pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            )
            assert [list(row.values()) for row in read.to_pylist()] == rows


def cut(text, size):
    cutter = records.QuotedRecords()
    blocks = [block for at in range(0, len(text), size) for block in cutter.add(text[at : at + size])]
    return [*blocks, *cutter.finish()]


def strictly(text):
    """The rows of CSV, character by character and without empty lines, or ValueError."""
    rows, row, at = [], [], 0
    if text and not text.endswith("\n"):
        text += "\n"
    while at < len(text):
        if text[at] == "\n" and not row:
            at += 1
            continue
        cell = ""
        if text[at] == '"':
            at += 1
            while text[at : at + 1] != '"' or text[at : at + 2] == '""':
                if at >= len(text):
                    raise ValueError("open")
                cell += text[at]
                at += 2 if text[at] == '"' else 1
            at += 1
            if text[at] not in ",\n":
                raise ValueError("text after a quote")
        else:
            while text[at] not in ",\n":
                cell += text[at]
                at += 1
        row.append(cell)
        if text[at] == "\n":
            rows.append(row)
            row = []
        at += 1
    return rows


# ---- the ends of a text ----


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_last_row_of_empty_cells_is_a_row(tmp_path, capsys, end):
    path = tmp_path / "a.tsv"
    path.write_text("y\tp\n0\t0.5\n\t" + end, newline="")
    assert "row 1: column 'p' holds a null" in failure(capsys, 1, "eval", str(path), *BINARY)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path, name, quoted, end):
    comma = "," if name == "a.csv" else "\t"
    names = ['"y"', '"p"'] if quoted else ["y", "p"]
    text = "".join(comma.join(row) + end for row in (names, ["0", "0.5"], ["1", "0.5"]))
    (tmp_path / name).write_bytes(codecs.BOM_UTF8 + text.encode())
    assert result(tmp_path / name) == (2, 0.693147)


def test_quotes_after_a_byte_order_mark_are_checked(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_bytes(codecs.BOM_UTF8 + b'"c\n""0",y,p\n1,0,.5\n')
    assert result(path) == (1, 0.693147)
    path.write_bytes(codecs.BOM_UTF8 + b'"y,p\n0,0.5\n')
    assert "a cell begins with a quote that is not closed" in failure(capsys, 1, "eval", str(path), *BINARY)
