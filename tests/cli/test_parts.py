"""A run in partitions: the states add up to the bytes of one run, and errors name the same rows."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

import streamce as ce
from streamce.cli import arguments, partitions
from streamce.cli.column_resolver import ColumnResolver
from streamce.cli.main import main
from streamce.cli.metric_factory import create_metric
from streamce.errors import DataError, SelectionError
from streamce.reading.files.sources import find_sources

ROWS = 400
BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
MULTICLASS = ("--task", "multiclass", "--preds", "list", "--target", "label")


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(3)
    probs = random.dirichlet(np.ones(3), ROWS)
    missing = random.random(ROWS) < 0.1
    return pa.table(
        {
            "p": pa.array(random.random(ROWS), mask=missing),
            "y": random.integers(0, 2, ROWS),
            "w": random.random(ROWS),
            "user": [f"u{number}" for number in random.integers(0, 20, ROWS)],
            "time": random.integers(0, 100_000, ROWS),
            "label": random.integers(0, 3, ROWS),
            "name": np.array(["ant", "bee", "cat"])[random.integers(0, 3, ROWS)],
            "list": pa.array([None] * 60 + probs[60:].tolist()),
            **{f"p_{name}": probs[:, i].copy() for i, name in enumerate(["ant", "bee", "cat"])},
            "tokens": [random.integers(0, 9, n).tolist() for n in random.integers(1, 7, ROWS)],
        }
    ).append_column("logprobs", pa.array([[-0.5] * int(n) for n in random.integers(1, 7, ROWS)]))


def write_ipc(table, path):
    with pa.OSFile(str(path), "wb") as file, ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=30)


WRITERS = {
    "a.parquet": lambda table, path: parquet.write_table(table, path, row_group_size=30),
    "a.arrow": write_ipc,
    "a.jsonl": lambda table, path: path.write_text(table.to_pandas().to_json(orient="records", lines=True)),
}


def in_parts(monkeypatch, smallest, *command):
    """Evaluate partitions of a size one after another, and return their number and the sum of their states."""
    monkeypatch.setattr(partitions, "MIN_BYTES", smallest)
    monkeypatch.setattr(partitions, "MAX_BYTES", smallest)
    config = arguments.parse(["eval", *map(str, command)])
    resolver, sources = ColumnResolver(config), find_sources(config.files)
    reading = partitions.open_reading(config, sources, resolver)
    width = partitions.read_first_rows(config, reading, resolver.labels)
    parts = partitions.split(config, sources, 2, width, resolver.labels.classes if resolver.labels else None)
    outcomes, state = partitions.merge(map(partitions.evaluate, reversed(parts)))
    partitions.raise_first_error(parts, outcomes)
    metric = create_metric(config, resolver.labels)
    metric.load_state_dict({"state": state})
    return len(parts), sum(outcome.rows for outcome in outcomes), metric.to_bytes()


def whole(tmp_path, *command):
    state = tmp_path / "whole.state"
    assert main(["eval", *map(str, command), "--state", str(state)]) == 0
    return state.read_bytes()


CASES = {
    "nulls": (*BINARY, "--weight", "w", "--invalid", "skip", "--tail"),
    "groups": (*BINARY, "--by", "user", "--by-time", "time", "--period", "1h", "--invalid", "skip"),
    "lists": (*MULTICLASS, "--invalid", "skip"),
    "names": ("--task", "multiclass", "--preds", "p_*", "--target", "name"),
    "tokens": ("--task", "sequence", "--token-log-probs", "logprobs", "--cluster", "user"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", WRITERS)
def test_parts_add_up_to_the_bytes_of_the_whole(tmp_path, monkeypatch, table, name, case):
    path = tmp_path / name
    WRITERS[name](table, path)
    expected = whole(tmp_path, path, *CASES[case])
    size = path.stat().st_size
    for smallest, rows in ((size, None), (size // 3, "7"), (1, None), (1, "50")):
        command = (path, *CASES[case], *(("--chunk-rows", rows) if rows else ()))
        number, counted, state = in_parts(monkeypatch, smallest, *command)
        assert (counted, state) == (ROWS, expected)
        assert (number > 1) == (smallest < size and name != "a.jsonl")
    assert number == (1 if name == "a.jsonl" else 14)


def test_many_files_are_put_together_and_large_ones_are_cut(tmp_path, monkeypatch, table):
    for number in range(5):
        WRITERS["a.parquet"](table.slice(number * 20, 20), tmp_path / f"{number}.parquet")
    WRITERS["a.parquet"](table.slice(100), tmp_path / "9.parquet")
    expected = whole(tmp_path, tmp_path, *CASES["nulls"])
    (tmp_path / "whole.state").unlink()
    small = (tmp_path / "0.parquet").stat().st_size
    number, counted, state = in_parts(monkeypatch, int(2.5 * small), tmp_path, *CASES["nulls"])
    assert (counted, state) == (ROWS, expected)
    assert number > 5


@pytest.mark.parametrize("smallest", [1, 1 << 30])
def test_the_first_error_in_the_order_of_rows_is_the_one_that_is_named(tmp_path, monkeypatch, capsys, table, smallest):
    values = np.array(table["y"])
    p = np.full(ROWS, 0.5)
    p[[222, 317]] = 1.5
    path = tmp_path / "a.parquet"
    WRITERS["a.parquet"](pa.table({"p": p, "y": values}), path)
    assert main(["eval", str(path), *BINARY]) == 1
    expected = capsys.readouterr().err
    with pytest.raises(DataError) as error:
        in_parts(monkeypatch, smallest, path, *BINARY)
    assert expected == f"streamce: error: {error.value}\n"
    assert "row 222: column 'p' is 1.5" in expected


def test_lists_of_another_length_are_found_in_whatever_part_they_are(tmp_path, monkeypatch, capsys):
    lists = [[0.2, 0.3, 0.5]] * 70 + [[0.5, 0.5]] * 30
    path = tmp_path / "a.parquet"
    WRITERS["a.parquet"](pa.table({"list": lists, "label": [0] * 100}), path)
    assert main(["eval", str(path), *MULTICLASS]) == 1
    expected = capsys.readouterr().err
    with pytest.raises(DataError) as error:
        in_parts(monkeypatch, 1, path, *MULTICLASS)
    assert expected == f"streamce: error: {error.value}\n"
    assert "row 70: column 'list' is a list of 2 where others have 3" in expected


def test_keys_of_another_kind_are_found_in_whatever_part_they_are(tmp_path, monkeypatch, capsys):
    by = (*BINARY, "--by", "user")
    for name, user in ("a", ["ann", "bob"]), ("b", [None, None]), ("c", [1, 2]):
        type_ = pa.int64() if name == "c" else pa.string()
        data = {"p": [0.5, 0.5], "y": [0, 1], "user": pa.array(user, type_)}
        parquet.write_table(pa.table(data), tmp_path / f"{name}.parquet")
    assert main(["eval", str(tmp_path), *by]) == 1
    expected = capsys.readouterr().err
    with pytest.raises(DataError) as error:
        in_parts(monkeypatch, 1, tmp_path, *by)
    assert expected == f"streamce: error: {error.value}\n"
    assert "c.parquet: column 'user'" in expected


def test_states_without_a_sum_are_an_error_even_if_no_part_is():
    of = [ce.BinaryCrossEntropy(kind=kind).to_bytes() for kind in ("probs", "logits")]
    outcomes, state = partitions.merge((partitions.Outcome(number, 1), found) for number, found in enumerate(of))
    assert state is None
    with pytest.raises(DataError, match="state 1: kind is 'probs' in one metric and 'logits' in the other"):
        partitions.raise_first_error([], outcomes)


def test_the_order_of_the_parts_says_which_error_it_is():
    outcomes = [
        partitions.Outcome(2, error=DataError("late")),
        partitions.Outcome(1, error=SelectionError("early")),
        partitions.Outcome(0, 3),
    ]
    with pytest.raises(SelectionError, match="early"):
        partitions.raise_first_error([], outcomes)


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_file_that_changed_since_the_run_began_is_not_read(tmp_path, table, change):
    path = tmp_path / "a.parquet"
    WRITERS["a.parquet"](table, path)
    config = arguments.parse(["eval", str(path), *BINARY])
    [part] = partitions.split(config, find_sources([str(path)]), 1)
    if change == "gone":
        path.unlink()
    else:
        WRITERS["a.parquet"](table.slice(1), path)
    outcome, state = partitions.evaluate(part)
    gone = "no such file on the machine that evaluates it"
    what = {"gone": gone, "other": "this file has changed since the run began"}
    assert state is None
    assert isinstance(outcome.error, DataError)
    assert outcome.error.places == (str(path),)
    assert outcome.error.found.startswith(what[change])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("a.parquet", "--engine", "dask", "--resume", "--state", "s"),
            "--resume cannot be combined with --engine dask",
        ),
        (("-", "--engine", "spark"), "standard input: --engine spark needs files, and this can be read only once"),
        (("a.parquet", "--address", "tcp://127.0.0.1:9"), "--address needs --engine dask, spark or ray"),
    ],
)
def test_what_a_cluster_does_not_do_is_said(tmp_path, monkeypatch, capsys, table, arguments, expected):
    monkeypatch.chdir(tmp_path)
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    assert main(["eval", *arguments, *BINARY]) == 2
    assert capsys.readouterr().err.startswith(f"streamce: error: {expected}")


def test_npy_files_are_not_for_clusters(tmp_path, capsys):
    np.save(tmp_path / "p.npy", np.array([0.5, 0.5]))
    np.save(tmp_path / "y.npy", np.array([0, 1]))
    paths = [str(tmp_path / "p.npy"), "--target", str(tmp_path / "y.npy")]
    assert main(["eval", *paths, "--task", "binary", "--engine", "dask"]) == 2
    assert "--engine dask supports .npz files, but not .npy files" in capsys.readouterr().err
