"""Columns that the names of folders hold: the same bytes as a file with the column as text."""

import pyarrow as pa
import pytest
from pyarrow import csv, ipc, parquet

import streamce as ce
from streamce.cli.main import main

BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
ROWS = {"p": [0.9, 0.2, 0.5], "y": [1, 0, 1]}
DAYS = {"2024-01-01": 1.0, "2024-01-02": 0.5, "2024-01-03": 2.0}


def write_jsonl(table, path):
    lines = [str(row).replace("'", '"').replace("None", "null") for row in table.to_pylist()]
    path.write_text("\n".join(lines) + "\n")


def write_arrow(table, path):
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


WRITERS = {"parquet": parquet.write_table, "csv": csv.write_csv, "jsonl": write_jsonl, "arrow": write_arrow}


@pytest.fixture(params=WRITERS)
def folder(request, tmp_path):
    """A folder with partitions, and next to it a file with the same columns as text."""
    for day, weight in DAYS.items():
        path = tmp_path / "data" / f"day={day}" / f"weight={weight}"
        path.mkdir(parents=True)
        WRITERS[request.param](pa.table(ROWS), path / f"part-0.{request.param}")
    columns = {name: values * 3 for name, values in ROWS.items()}
    days = [day for day in DAYS for _ in range(3)]
    weights = [DAYS[day] for day in days]
    WRITERS[request.param](pa.table({**columns, "day": days, "weight": weights}), tmp_path / f"a.{request.param}")
    return tmp_path / "data", tmp_path / f"a.{request.param}"


def state(*arguments):
    path = f"{arguments[0]}.state".replace("*", "glob")
    assert main(["eval", *map(str, arguments), *BINARY, "--state", path]) == 0
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.parametrize("options", [["--by", "day"], ["--weight", "weight"], ["--cluster", "day"],
                                     ["--by", "day", "--weight", "weight"]])  # fmt: skip
@pytest.mark.parametrize("word", ["{}", "{}/day=*/*", "file://{}/*/*/*"])
def test_the_same_bytes_as_a_file_with_the_columns(folder, options, word):
    data, whole = folder
    words = [*options, "--chunk-rows", "2"]
    found = data.parent / "S"
    assert main(["eval", word.format(data), *BINARY, *words, "--state", str(found)]) == 0
    assert found.read_bytes() == state(whole, *options)


def test_times(folder, capsys):
    data, _ = folder
    found = ce.from_bytes(state(data, "--by-time", "day", "--period", "1d"))
    grouped = ce.Grouped(ce.BinaryCrossEntropy(), period="1d")
    for day in DAYS:
        grouped.update(ROWS["p"], ROWS["y"], by_time=pa.array([day] * 3).cast(pa.timestamp("us")))
    assert found == grouped


def one(tmp_path, folder_name, table=ROWS):
    path = tmp_path / folder_name
    path.mkdir()
    csv.write_csv(pa.table(table), path / "a.csv")
    return path


@pytest.mark.parametrize(("name", "key"), [("k=a%20b", "a b"), ("k=__HIVE_DEFAULT_PARTITION__", None), ("k=", ""),
                                           ("k=a=b", "a=b"), ("k=%C3%BC", "ü"), ("k=007", "007")])  # fmt: skip
def test_the_value_of_a_name(tmp_path, name, key):
    metric = ce.from_bytes(state(one(tmp_path, name), "--by", "k"))
    assert [*metric.keys()] == [key]


def test_a_column_of_the_file_wins(tmp_path):
    metric = ce.from_bytes(state(one(tmp_path, "k=a", {**ROWS, "k": ["x", "y", "x"]}), "--by", "k"))
    assert sorted(metric.keys()) == ["x", "y"]


def test_names_of_folders_are_no_predictions(tmp_path, capsys):
    path = one(tmp_path, "p_1=0.5")
    assert main(["eval", str(path), "--task", "binary", "--preds", "p_1", "--target", "y"]) == 2
    assert "no column 'p_1'" in capsys.readouterr().err
    assert main(["eval", str(path), "--task", "binary", "--preds", "p*", "--target", "y"]) == 0


def test_a_file_without_the_folder_is_named(tmp_path, capsys):
    csv.write_csv(pa.table(ROWS), tmp_path / "a.csv")
    path = one(tmp_path, "k=a") / "a.csv"
    assert main(["eval", str(path), str(tmp_path / "a.csv"), *BINARY, "--by", "k"]) == 2
    assert f"{tmp_path / 'a.csv'}: no column 'k'" in capsys.readouterr().err


def test_a_value_that_is_no_number_is_named(tmp_path, capsys):
    path = one(tmp_path, "w=heavy")
    assert main(["eval", str(path), *BINARY, "--weight", "w"]) == 1
    line = capsys.readouterr().err
    assert f"{path}/a.csv: column 'w' is 'heavy' in the name of a folder, expected a number\n" in line
