"""``--format``, ``--delimiter``, ``--decimal`` and ``--encoding``: any name, standard input, and other spellings."""

import bz2
import codecs
import gzip
import os
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

import streamce as ce
from streamce.cli.main import main
from streamce.reading.formats import text

BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
ROWS = pa.table({"p": [0.9, 0.2, 0.5], "y": [1, 0, 1], "k": ["a", "b", "ü"]})
CSV = "p,y,k\n0.9,1,a\n0.2,0,b\n0.5,1,ü\n"
TSV = CSV.replace(",", "\t")
JSONL = '{"p": 0.9, "y": 1, "k": "a"}\n{"p": 0.2, "y": 0, "k": "b"}\n{"p": 0.5, "y": 1, "k": "ü"}\n'
STATE = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.5], [1, 0, 1]).to_bytes()
CLUSTERED = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.5], [1, 0, 1], cluster=["a", "b", "ü"]).to_bytes()


def written(path, form):
    if form == "parquet":
        parquet.write_table(ROWS, path)
    elif form == "arrow":
        with ipc.new_file(path, ROWS.schema) as writer:
            writer.write_table(ROWS)
    elif form == "npz":
        with open(path, "wb") as file:
            np.savez(file, p=ROWS["p"].to_numpy(), y=ROWS["y"].to_numpy())
    else:
        path.write_text({"csv": CSV, "tsv": TSV, "jsonl": JSONL, "json": JSONL}[form], encoding="utf-8", newline="")
    return path


@pytest.fixture
def state(tmp_path):
    """Return a function from arguments to the bytes of the state."""

    def state(*arguments):
        path = tmp_path / "S.state"
        path.unlink(missing_ok=True)
        assert main(["eval", *map(str, arguments), *BINARY, "--state", str(path)]) == 0
        return path.read_bytes()

    return state


def failure(capsys, status, *arguments):
    assert main([*map(str, arguments)]) == status
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize("name", ["a.txt", "a.csv.1", "noending", "a.parquet", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json", "parquet", "arrow", "npz"])
def test_a_format_holds_for_any_name(tmp_path, state, form, name):
    assert state(written(tmp_path / name, form), "--format", form) == STATE


def test_npy_with_any_name(tmp_path, state):
    for name, column in (("p", "p"), ("y", "y")):
        with open(tmp_path / name, "wb") as file:
            np.save(file, ROWS[column].to_numpy())
    path = tmp_path / "S"
    words = ["--task", "binary", "--target", str(tmp_path / "y"), "--state", str(path)]
    assert main(["eval", str(tmp_path / "p"), *words, "--format", "npy"]) == 0
    assert path.read_bytes() == STATE


@pytest.mark.parametrize("name", ["x.gz", "a.csv.1.gz"])
def test_a_compressed_file_of_any_name(tmp_path, state, name):
    (tmp_path / name).write_bytes(gzip.compress(CSV.encode()))
    assert state(tmp_path / name, "--format", "csv") == STATE


def test_a_folder_and_a_glob_with_a_format_take_all_files(tmp_path, state, capsys):
    folder = tmp_path / "d"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.txt", "b.log", "sub/c", "_hidden", ".hidden"):
        (folder / name).write_text(CSV)
    three = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.5] * 3, [1, 0, 1] * 3).to_bytes()
    assert state(folder, "--format", "csv") == three
    two = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.5] * 2, [1, 0, 1] * 2).to_bytes()
    assert state(f"{folder}/[ab].*", "--format", "csv") == two
    assert "--format" in failure(capsys, 1, "eval", folder, *BINARY)
    assert "--format says what it is" in failure(capsys, 2, "eval", folder / "a.txt", *BINARY)


def test_compare_reads_both_files_with_the_options(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).write_text(CSV.replace(",", ";").replace("0.", "0,"))
    words = ["--format", "csv", "--delimiter", ";", "--decimal", ","]
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), *BINARY, *words]) == 0


# ---- standard input and pipes ----


def piped(tmp_path, content, *options, name="pipe"):
    """Evaluate a named pipe into which another thread writes."""
    path = tmp_path / name
    os.mkfifo(path)

    def write():
        with open(path, "wb") as file:
            file.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return main(["eval", str(path), *BINARY, "--state", str(tmp_path / "S"), *options])
    finally:
        writer.join()


@pytest.mark.parametrize("before", ["", " \n\t", "\n" * 100, codecs.BOM_UTF8.decode()])
@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("content", [CSV, JSONL])
def test_a_stream_is_recognised(tmp_path, before, packed, content):
    before = "" if content == CSV and before.isspace() else before
    assert piped(tmp_path, packed((before + content).encode())) == 0
    assert (tmp_path / "S").read_bytes() == STATE


@pytest.mark.parametrize(("form", "content"), [("tsv", TSV), ("csv", CSV), ("jsonl", JSONL), ("json", JSONL)])
def test_a_stream_of_a_format(tmp_path, form, content):
    assert piped(tmp_path, content.encode(), "--format", form) == 0
    assert (tmp_path / "S").read_bytes() == STATE


def test_a_named_pipe_with_an_ending(tmp_path):
    assert piped(tmp_path, TSV.encode(), name="a.tsv") == 0
    assert (tmp_path / "S").read_bytes() == STATE


def test_a_packed_arrow_stream(tmp_path):
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, ROWS.schema) as writer:
        writer.write_table(ROWS)
    assert piped(tmp_path, gzip.compress(sink.getvalue().to_pybytes())) == 0
    assert (tmp_path / "S").read_bytes() == STATE


@pytest.mark.parametrize("form", ["parquet", "npz"])
@pytest.mark.parametrize("options", [[], ["--format"]])
def test_a_format_that_needs_a_file_is_refused(tmp_path, capsys, form, options):
    content = written(tmp_path / "file", form).read_bytes()
    assert piped(tmp_path, content, *options, *[form] * len(options)) == 1
    assert f"pipe: {form} cannot be read from a pipe: give its file" in capsys.readouterr().err


def test_standard_input(tmp_path):
    command = [sys.executable, "-m", "streamce", "eval", "-", *BINARY, "--state", str(tmp_path / "S")]
    subprocess.run(command, input=gzip.compress(JSONL.encode()), check=True)
    assert (tmp_path / "S").read_bytes() == STATE


# ---- delimiter, decimal point, encoding ----


@pytest.mark.parametrize(("option", "comma"), [(";", ";"), ("\\t", "\t"), ("\t", "\t"), ("|", "|"), (" ", " ")])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_delimiter(tmp_path, state, name, option, comma):
    (tmp_path / name).write_text(CSV.replace(",", comma), encoding="utf-8")
    assert state(tmp_path / name, "--delimiter", option, "--cluster", "k") == CLUSTERED


def test_quotes_and_another_delimiter(tmp_path, state):
    (tmp_path / "a.csv").write_text('p;y;t\n0.9;1;"a;b\nc"\n0.2;0;x\n0.5;1;"z"\n')
    assert state(tmp_path / "a.csv", "--delimiter", ";") == STATE


@pytest.mark.parametrize("value", ["", "ab", "é", "x", '"', ".", "-", "5", "\n"])
def test_what_is_no_delimiter_is_a_usage_error(capsys, value):
    assert "is not one ASCII character" in failure(capsys, 2, "eval", "a.csv", *BINARY, "--delimiter", value)


@pytest.mark.parametrize("rows", ["p;y\n0.9;1\n", "p;y\n0,9;1\n0,2;0\n", 'p;y;"k"\n0,9;1;a\n'])
def test_a_wrong_delimiter_names_the_option(tmp_path, capsys, rows):
    (tmp_path / "a.csv").write_text(rows)
    assert "--delimiter ';'" in failure(capsys, 2, "eval", tmp_path / "a.csv", *BINARY)


@pytest.mark.parametrize(("name", "comma"), [("a.csv", ";"), ("a.tsv", "\t")])
def test_a_decimal_comma(tmp_path, state, capsys, name, comma):
    (tmp_path / name).write_text(CSV.replace(",", comma).replace("0.", "0,"), encoding="utf-8")
    assert state(tmp_path / name, "--decimal", ",", "--delimiter", comma) == STATE
    line = failure(capsys, 1, "eval", tmp_path / name, *BINARY, "--delimiter", comma)
    assert "row 0: column 'p' is '0,9', expected a number" in line


def test_a_decimal_comma_among_rows_that_cannot_be_read(tmp_path, state):
    (tmp_path / "a.csv").write_text("p;y\n0,9;1\nNone;1\n0.5;1\n0,2;0\n0,5;1\n")
    found = state(tmp_path / "a.csv", "--decimal", ",", "--delimiter", ";", "--invalid", "skip")
    assert found == ce.BinaryCrossEntropy(invalid="skip").update([0.9, 0.2, 0.5], [1, 0, 1]).to_bytes()


def test_a_decimal_comma_needs_another_delimiter(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(CSV, encoding="utf-8")
    assert "--decimal , needs a --delimiter" in failure(
        capsys, 2, "eval", tmp_path / "a.csv", *BINARY, "--decimal", ","
    )


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "UTF8", "cp1252"])
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize(("name", "content"), [("a.csv", CSV), ("a.jsonl", JSONL)])
def test_an_encoding(tmp_path, state, monkeypatch, encoding, block, name, content):
    (tmp_path / name).write_bytes(content.encode(encoding))
    with monkeypatch.context() as patch:
        patch.setattr(text, "TEXT_BLOCK", block if name == "a.csv" else 1 << 20)
        assert state(tmp_path / name, "--encoding", encoding, "--cluster", "k", "--chunk-rows", "1") == CLUSTERED
    assert piped(tmp_path, gzip.compress(content.encode(encoding)), "--encoding", encoding) == 0


def test_an_encoding_is_kept_when_a_run_resumes(tmp_path, monkeypatch):
    from streamce.cli import partitions

    (tmp_path / "a.csv").write_bytes(CSV.encode("utf-16"))
    words = ["--cluster", "k", "--encoding", "utf-16", "--resume", "--checkpoint-every", "0", "--chunk-rows", "1"]
    arguments = ["eval", str(tmp_path / "a.csv"), *BINARY, *words, "--state", str(tmp_path / "S")]
    add_chunk, calls = partitions.add_chunk, []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        add_chunk(*given)

    with monkeypatch.context() as patch:
        patch.setattr(text, "TEXT_BLOCK", 8)
        patch.setattr(partitions, "add_chunk", interrupted)
        assert main(arguments) == 130
        patch.setattr(partitions, "add_chunk", add_chunk)
        assert main(arguments) == 0
    assert (tmp_path / "S").read_bytes() == CLUSTERED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_mark_of_another_encoding_is_named(tmp_path, capsys, encoding):
    (tmp_path / "a.csv").write_bytes(CSV.encode(encoding))
    assert f"set --encoding {encoding}\n" in failure(capsys, 1, "eval", tmp_path / "a.csv", *BINARY)


def test_bytes_of_another_encoding_are_named(tmp_path, capsys):
    (tmp_path / "a.csv").write_bytes(CSV.encode("utf-16-le") + b"\x00")
    words = ["--encoding", "utf-16-le"]
    assert "a.csv: it is not utf-16-le at about byte" in failure(capsys, 1, "eval", tmp_path / "a.csv", *BINARY, *words)
    line = failure(capsys, 2, "eval", tmp_path / "a.csv", *BINARY, "--encoding", "klingon")
    assert "'klingon' is not an encoding that Python knows" in line


def test_a_compressed_file_without_its_ending_is_named(tmp_path, capsys):
    (tmp_path / "a.csv").write_bytes(gzip.compress(CSV.encode()))
    line = failure(capsys, 1, "eval", tmp_path / "a.csv", *BINARY)
    assert "a.csv: it is compressed with gzip: its name must end in .gz" in line


@pytest.mark.parametrize(
    "option", [("--delimiter", ";"), ("--decimal", ","), ("--null", "x"), ("--encoding", "cp1252")]
)
def test_an_option_of_text_without_text_is_an_error(tmp_path, capsys, option):
    line = failure(capsys, 2, "eval", written(tmp_path / "a.parquet", "parquet"), *BINARY, *option)
    assert f"{option[0]} is an option of CSV" in line
