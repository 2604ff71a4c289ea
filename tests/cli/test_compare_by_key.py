"""``streamce compare --key`` finds the same row of both files, in any order, and never drops one."""

import contextlib
import datetime as dt
import decimal
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from test_cli import COMMAND, WRITERS, failure, run

import streamce as ce
from streamce.cli.main import main

OWN = ("--task", "binary", "--preds", "p", "--target", "y")
BY_ID = (*OWN, "--key", "id")
ROWS = 700


def written(path, text):
    path.write_text(text)
    return path


def state_of(tmp_path, *arguments):
    """Run ``compare`` and return the comparison whose state it writes."""
    assert main(["compare", *map(str, arguments), "--state", str(tmp_path / "state")]) == 0
    return ce.load(tmp_path / "state")


def parquets(tmp_path, **columns_of):
    """Write a Parquet file for each name, and return the paths."""
    for name, columns in columns_of.items():
        parquet.write_table(pa.table(columns), tmp_path / f"{name}.parquet", row_group_size=130)
    return [tmp_path / f"{name}.parquet" for name in columns_of]


A = "id,y,p\n1,1,.9\n2,0,.2\n3,1,.8\n"
B = "id,p\n2,.1\n3,.7\n1,.95\n"
MATCHED = ce.Paired(ce.BinaryCrossEntropy()).update([0.9, 0.2, 0.8], [0.95, 0.1, 0.7], [1, 0, 1])


@pytest.fixture
def small(tmp_path):
    return written(tmp_path / "A.csv", A), written(tmp_path / "B.csv", B)


@pytest.fixture(scope="module")
def whole():
    """Return a table with the predictions of both models, several keys and all else that compare reads."""
    random = np.random.default_rng(5)
    ids = random.permutation(ROWS * 3)[:ROWS]
    return pa.table(
        {
            "id": ids,
            "doc": ids // 7,
            "part": ids % 7,
            "p": random.random(ROWS),
            "q": random.random(ROWS),
            **{f"p_{i}": column for i, column in enumerate(random.dirichlet(np.ones(3), ROWS).T.copy())},
            **{f"q_{i}": column for i, column in enumerate(random.dirichlet(np.ones(3), ROWS).T.copy())},
            "y": random.integers(0, 2, ROWS),
            "label": random.integers(0, 3, ROWS),
            "w": random.random(ROWS),
            "user": [f"u{i}" for i in random.integers(0, 40, ROWS)],
        }
    )


def shuffled(table, seed):
    return table.take(np.random.default_rng(seed).permutation(len(table)))


BINARY = ["id", "doc", "part", "y", "w", "user", "p", "q"]
MULTICLASS = ["id", "label", *(f"{name}_{i}" for name in "pq" for i in range(3))]


def split(table, names, seed):
    """Return the tables of A and B with these columns, in orders of their own. Both call their predictions p."""
    of_a, of_b = (
        shuffled(
            table.select([name for name in names if name[0] not in "pq" or name[0] == own or name == "part"]), number
        )
        for own, number in (("p", seed), ("q", seed + 7))
    )
    return of_a, of_b.rename_columns([name.replace("q", "p") for name in of_b.column_names])


# ---- the same bits ----


@pytest.mark.parametrize("more", [(), ("--cluster", "id"), ("--anytime",)], ids=str)
def test_rows_are_matched_by_the_values_of_a_column(tmp_path, small, capsys, more):
    cluster = {"cluster": ["1", "2", "3"]} if "--cluster" in more else {}
    expected = ce.Paired(ce.BinaryCrossEntropy())
    expected.update([0.9, 0.2, 0.8], [0.95, 0.1, 0.7], [1, 0, 1], **cluster)
    found = state_of(tmp_path, *small, *BY_ID, *more)
    assert found == expected
    assert round(found.summary().b.mean, 6) == 0.171110
    out, err = capsys.readouterr()
    assert "0.17111 nats" in out
    assert err == ""


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_every_order_of_the_rows_gives_the_same_bytes(tmp_path, order):
    rows_a, rows_b = A.splitlines()[1:], B.splitlines()[1:]
    a = written(tmp_path / "A.csv", "\n".join(["id,y,p", *(rows_a[i] for i in order), ""]))
    for other in itertools.permutations(range(3)):
        b = written(tmp_path / "B.csv", "\n".join(["id,p", *(rows_b[i] for i in other), ""]))
        assert state_of(tmp_path, a, b, *BY_ID).to_bytes() == MATCHED.to_bytes()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("chunk", [(), ("--chunk-rows", "13")], ids=str)
def test_every_format_and_task_gives_the_bytes_of_the_sorted_run(tmp_path, whole, name, chunk):
    """Whatever the order of both files, the state is that of one update with the rows in order."""
    columns = {name: whole[name].to_numpy() for name in whole.column_names if name != "user"}
    probs, others = (np.stack([columns[f"{name}_{i}"] for i in range(3)], axis=1) for name in "pq")
    binary = ce.Paired(ce.BinaryCrossEntropy())
    binary.update(columns["p"], columns["q"], columns["y"], weight=columns["w"], cluster=whole["user"].to_pylist())
    multiclass = ce.Paired(ce.MulticlassCrossEntropy()).update(probs, others, columns["label"])
    words = (*OWN, "--weight", "w", "--cluster", "user")
    others = ("--task", "multiclass", "--preds", "p_*", "--target", "label")
    for seed, (expected, own, columns) in enumerate([(binary, words, BINARY), (multiclass, others, MULTICLASS)] * 2):
        a, b = tmp_path / "a.parquet", tmp_path / f"b.{name}"
        of_a, of_b = split(whole, columns, seed)
        parquet.write_table(of_a, a, row_group_size=100)
        WRITERS[name](of_b, b)
        assert state_of(tmp_path, a, b, *own, "--key", "id", *chunk).to_bytes() == expected.to_bytes()


def test_lists_of_predictions_and_of_targets_are_matched(tmp_path):
    random = np.random.default_rng(3)
    a, b, y = random.random((50, 4)), random.random((50, 4)).astype(np.float32), random.integers(0, 2, (50, 4))
    order = random.permutation(50)
    paths = parquets(
        tmp_path,
        a={"k": np.arange(50), "p": list(a), "y": list(y)},
        b={"k": order, "p": pa.FixedSizeListArray.from_arrays(b[order].ravel(), 4)},
    )
    expected = ce.Paired(ce.MultilabelCrossEntropy(per_label=False)).update(a, b, y)
    words = ("--task", "multilabel", "--preds", "p", "--target", "y", "--key", "k")
    assert state_of(tmp_path, *paths, *words) == expected


@pytest.mark.parametrize("type_", [pa.float16(), pa.float32(), pa.decimal128(5, 4)], ids=str)
def test_predictions_keep_their_type(tmp_path, type_):
    values = pa.array([0.25, 0.5, 0.7501]).cast(pa.float32()).cast(type_, safe=False)
    paths = parquets(
        tmp_path,
        a={"id": [1, 2, 3], "y": [1, 0, 1], "p": values},
        b={"id": [3, 1, 2], "p": values.take(pa.array([2, 0, 1]))},
    )
    assert state_of(tmp_path, *paths, *BY_ID) == state_of(tmp_path, paths[0], paths[0], *OWN, "--preds-b", "p")


CLUSTERS = {
    "uint64": pa.array([2**63 - 1, 0, 0], pa.uint64()),
    "float": pa.array([5.0, 2.0, 5.0]),
    "decimal": pa.array([decimal.Decimal("5.00"), decimal.Decimal("1.00"), decimal.Decimal("5.00")]),
    "bool": pa.array([True, False, True]),
    "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
    "large text": pa.array(["x", "y", "x"], pa.large_string()),
    "bytes": pa.array([b"x", b"\xff", b"x"]),
    "UUID": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, b"b" * 16, b"a" * 16], pa.binary(16))),
    "nanoseconds": pa.array([1000, 2000, 1000], pa.timestamp("ns", "Europe/Berlin")),
    "date": pa.array([dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 1)]),
}


@pytest.mark.parametrize("column", CLUSTERS.values(), ids=CLUSTERS)
def test_clusters_of_any_type_are_those_of_the_run_by_position(tmp_path, column):
    b = {"id": [1, 2, 3], "p": [0.95, 0.1, 0.7]}
    a, sorted_b, b = parquets(
        tmp_path,
        a={"id": [1, 2, 3], "y": [1, 0, 1], "p": [0.9, 0.2, 0.8], "c": column},
        sorted=b,
        b={name: values[::-1] for name, values in b.items()},
    )
    words = (*OWN, "--cluster", "c")
    expected = state_of(tmp_path, a, sorted_b, *words)
    assert state_of(tmp_path, a, b, *words, "--key", "id").to_bytes() == expected.to_bytes()
    assert state_of(tmp_path, a, b, *words, "--key", "id") != MATCHED  # which has no clusters


def nested(tmp_path):
    """Return files whose keys and predictions are fields of objects: JSON lines, and Parquet in another order."""
    a = tmp_path / "a.jsonl"
    lines = zip((1, 2, 3), (1, 0, 1), (0.9, 0.2, 0.8), strict=True)
    a.write_text("".join(f'{{"row": {{"id": {i}}}, "y": {y}, "out": {{"p": {p}}}}}\n' for i, y, p in lines))
    b = {"row": [{"id": i} for i in (2, 3, 1)], "out": [{"p": p} for p in (0.1, 0.7, 0.95)]}
    return a, *parquets(tmp_path, b=b)


NESTED = ("--task", "binary", "--preds", "out.p", "--target", "y")


def test_keys_and_predictions_may_be_nested(tmp_path):
    assert state_of(tmp_path, *nested(tmp_path), *NESTED, "--key", "row.id") == MATCHED


def test_the_column_around_nested_predictions_need_not_be_equal(tmp_path, capsys):
    a, b, shuffled_b = parquets(
        tmp_path,
        a={"id": [1, 2, 3], "y": [1, 0, 1], "out": [{"p": p} for p in (0.9, 0.2, 0.8)]},
        b={"id": [1, 2, 3], "out": [{"p": p} for p in (0.95, 0.1, 0.7)]},
        c={"id": [2, 3, 1], "out": [{"p": p} for p in (0.1, 0.7, 0.95)]},
    )
    assert state_of(tmp_path, a, b, *NESTED) == MATCHED
    capsys.readouterr()
    assert "a.parquet: row 0: column 'id' is 1, but 2 in" in failure(capsys, 1, "compare", a, shuffled_b, *NESTED)


def test_objects_of_json_are_not_compared(tmp_path):
    for name, p in (("a", (0.9, 0.2)), ("b", (0.8, 0.3))):
        lines = (f'{{"id": {i}, "y": {i % 2}, "m": {{"x": {p[i]}}}, "n": [[{{}}]], "p": {p[i]}}}\n' for i in range(2))
        written(tmp_path / f"{name}.jsonl", "".join(lines))
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    expected = ce.Paired(ce.BinaryCrossEntropy()).update([0.9, 0.2], [0.8, 0.3], [0, 1])
    for more in ((), ("--key", "id")):
        assert state_of(tmp_path, a, b, *OWN, *more) == expected


def test_several_keys_match_together(tmp_path, whole):
    expected = ce.Paired(ce.BinaryCrossEntropy())
    expected.update(whole["p"].to_numpy(), whole["q"].to_numpy(), whole["y"].to_numpy())
    a, b = tmp_path / "a.csv", tmp_path / "b.parquet"
    of_a, of_b = split(whole, BINARY, 1)
    csv.write_csv(of_a, a)
    parquet.write_table(of_b, b)
    assert state_of(tmp_path, a, b, *OWN, "--key", "doc", "--key", "part") == expected
    assert state_of(tmp_path, a, b, *OWN, "--key", "part,doc") == expected


def test_folders_of_files_are_matched_as_one_file(tmp_path, whole):
    """Parts may hold different rows, in types that differ between the files."""
    cuts = (0, 100, 700), (0, 350, 350, 699, 700)
    for name, table, pieces in zip("ab", split(whole, BINARY, 1), cuts, strict=True):
        (tmp_path / name).mkdir()
        for i, (first, end) in enumerate(itertools.pairwise(pieces)):
            part = table.slice(first, end - first)
            if i % 2:
                part = part.set_column(0, "id", part["id"].cast(pa.int32()))
            parquet.write_table(part, tmp_path / name / f"{i}.parquet")
    expected = ce.Paired(ce.BinaryCrossEntropy())
    expected.update(whole["p"].to_numpy(), whole["q"].to_numpy(), whole["y"].to_numpy())
    assert state_of(tmp_path, tmp_path / "a", tmp_path / "b", *BY_ID) == expected


def test_a_pipe_is_read_once(tmp_path, small):
    done = run("compare", "-", small[1], *BY_ID, "--state", tmp_path / "state", input=A.encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert ce.load(tmp_path / "state") == MATCHED


def test_files_without_rows_have_no_pairs(tmp_path, capsys):
    a, b = written(tmp_path / "A.csv", "id,y,p\n"), written(tmp_path / "B.csv", "id,p\n")
    assert main(["compare", str(a), str(b), *BY_ID]) == 0
    assert "there are no samples" in capsys.readouterr().out


# ---- keys of two types ----

DAYS = [dt.date(2024, 1, day) for day in (1, 2, 3)]
TIMES = [dt.datetime(2024, 1, 1, hour, 30, 0, 250000) for hour in (1, 2, 3)]
UUIDS = [uuid.UUID(int=i << 64) for i in (1, 2, 3)]
EQUAL = {
    "text and integers": (["1", "2", "3"], [1, 2, 3]),
    "text of floats and integers": (["1.0", "2.0", "3.0"], [1, 2, 3]),
    "text and floats": (["1", "2.5", "0.1"], [1.0, 2.5, 0.1]),
    "text and float32": (["1", "2.5", "0.1"], pa.array([1, 2.5, 0.1], pa.float32())),
    "text and decimals": (["1", "2.50", "-0.1"], [decimal.Decimal(each) for each in ("1.00", "2.50", "-0.10")]),
    "integers and floats": ([1, 2, 3], [1.0, 2.0, 3.0]),
    "floats of two widths": ([0.1, 0.2, 0.3], pa.array([0.1, 0.2, 0.3], pa.float32())),
    "integers and decimals": ([1, 2, 2**62], [decimal.Decimal(each) for each in (1, 2, 2**62)]),
    "decimals of two scales": (
        pa.array([decimal.Decimal("0.1"), decimal.Decimal(2), decimal.Decimal(3)], pa.decimal128(38, 20)),
        pa.array([decimal.Decimal("0.1"), decimal.Decimal(2), decimal.Decimal(3)], pa.decimal128(5, 1)),
    ),
    "long integers": ([2**63 - 1, -(2**63), 0], pa.array([2**63 - 1, -(2**63), 0], pa.decimal128(20, 0))),
    "unsigned integers": (pa.array([2**64 - 1, 2**63, 7], pa.uint64()), [str(2**64 - 1), str(2**63), "7"]),
    "text and large text": (["a", "ü", "c"], pa.array(["a", "ü", "c"], pa.large_string())),
    "text and dictionary": (["a", "b", "c"], pa.array(["a", "b", "c"]).dictionary_encode()),
    "text and bytes": (["a", "b", "c"], [b"a", b"b", b"c"]),
    "bools": ([1, 0], [True, False]),
    "UUIDs and text": (
        pa.array([each.bytes for each in UUIDS], pa.binary(16)),
        [str(UUIDS[0]), UUIDS[1].hex, str(UUIDS[2]).upper()],
    ),
    "dates and text": (DAYS, [str(day) for day in DAYS]),
    "dates and times": (DAYS, [dt.datetime(day.year, day.month, day.day) for day in DAYS]),
    "times and text": (TIMES, [each.isoformat() for each in TIMES]),
    "times and text with a zone": (
        pa.array(TIMES, pa.timestamp("ms", "Europe/Berlin")),
        [f"{each.isoformat()}Z" for each in TIMES],
    ),
    "times of two units": (pa.array(TIMES, pa.timestamp("ms")), pa.array(TIMES, pa.timestamp("ns"))),
    "nanoseconds and text": (
        pa.array([1, 2, 3], pa.timestamp("ns")),
        [f"1970-01-01 00:00:00.00000000{i}" for i in (1, 2, 3)],
    ),
    "times of day": (pa.array([1, 2, 3], pa.time32("s")), ["00:00:01", "00:00:02", "00:00:03"]),
    "durations": (pa.array([1, 2, 3], pa.duration("s")), pa.array([1000, 2000, 3000], pa.duration("ms"))),
}


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("turned", [False, True])
def test_keys_are_equal_by_value_whatever_their_types(tmp_path, name, turned):
    keys = [pa.array(each) for each in EQUAL[name][:: -1 if turned else 1]]
    n = len(keys[0])
    a, b, y = np.array([0.9, 0.2, 0.8])[:n], np.array([0.6, 0.3, 0.7])[:n], np.array([1, 0, 1])[:n]
    last_first = pa.array(range(n))[::-1]
    paths = parquets(
        tmp_path, a={"id": keys[0], "y": y, "p": a}, b={"id": keys[1].take(last_first), "p": b[::-1].copy()}
    )
    assert state_of(tmp_path, *paths, *BY_ID) == ce.Paired(ce.BinaryCrossEntropy()).update(a, b, y)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([2**53], [float(2**53 + 2)]),
        ([2**53 + 1], [float(2**53)]),
        (pa.array([2**64 - 1], pa.uint64()), [-1]),
        ([decimal.Decimal("0.1000000000000000000001")], [decimal.Decimal("0.1000000000000000000002")]),
        (["01"], ["1"]),
        (pa.array([1], pa.timestamp("ns")), pa.array([2], pa.timestamp("ns"))),
    ],
)
def test_keys_that_are_nearly_equal_do_not_match(tmp_path, capsys, a, b):
    paths = parquets(tmp_path, a={"id": a, "y": [1], "p": [0.5]}, b={"id": b, "p": [0.5]})
    line = failure(capsys, 1, "compare", *paths, *BY_ID)
    assert line.startswith(f"streamce: error: {paths[0]}: row 0: column 'id' is ")
    assert f"which {paths[1]} does not have: expected the same keys in both, in any order" in line


@pytest.mark.parametrize(
    ("a", "b", "status", "message"),
    [
        ([1, 2], [DAYS[0], DAYS[1]], 2, "column 'id' holds int64 in A and date32[day] in B"),
        ([[1], [2]], [[1], [2]], 2, "column 'id' holds list<element: int64>: expected keys"),
        ([1, 2], ["1", "x"], 1, "b.parquet: row 1: column 'id' is 'x': expected an integer, as in the other file"),
        (DAYS[:2], ["2024-01-01", "soon"], 1, "b.parquet: row 1: column 'id' is 'soon': expected a time, as in the"),
        ([0.5, 2], ["0.5", "nan"], 1, "b.parquet: row 1: column 'id' is 'nan': expected a number, as in the other"),
    ],
)
def test_keys_that_cannot_be_equal_are_one_line(tmp_path, capsys, a, b, status, message):
    paths = parquets(tmp_path, a={"id": a, "y": [1, 0], "p": [0.5, 0.5]}, b={"id": b, "p": [0.5, 0.5]})
    assert message in failure(capsys, status, "compare", *paths, *BY_ID)


# ---- rows without one partner ----


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (
            A + "1,0,.3\n",
            B + "4,.1\n",
            "A.csv: row 3: column 'id' is '1', which is also in row 0: expected each key once",
        ),
        (A, "id,p\n2,.1\n2,.7\n1,.95\n", "B.csv: row 1: column 'id' is '2', which is also in row 0: expected each key"),
        (A + "1,0,.3\n", B + "1,.2\n", "A.csv: row 3: column 'id' is '1', which is also in row 0"),
        (A, B + "9,.5\n", "B.csv: row 3: column 'id' is '9', which {a} does not have: expected the same keys in both"),
        (A + "9,0,.5\n", B, "A.csv: row 3: column 'id' is '9', which {b} does not have"),
        (A, "id,p\n2,.1\n3,.7\n7,.95\n", "A.csv: row 0: column 'id' is '1', which {b} does not have"),
        (A, "id,p\n", "A.csv: row 0: column 'id' is '1', which {b} does not have"),
        ("id,y,p\n", B, "B.csv: row 0: column 'id' is '2', which {a} does not have"),
        (A, "id,p\n2,.1\n,.7\n1,.95\n", "B.csv: row 1: column 'id' is null: expected a key"),
        (A.replace("3,1", ",1"), B, "A.csv: row 2: column 'id' is null: expected a key"),
    ],
)
def test_a_row_without_exactly_one_partner_is_named(tmp_path, capsys, a, b, message):
    a, b = written(tmp_path / "A.csv", a), written(tmp_path / "B.csv", b)
    line = failure(capsys, 1, "compare", a, b, *BY_ID, "--state", tmp_path / "state")
    assert message.format(a=a, b=b) in line
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_missing_number_is_no_key(tmp_path, capsys, value):
    paths = parquets(
        tmp_path, a={"id": [1.0, 2.0], "y": [1, 0], "p": [0.5, 0.5]}, b={"id": [1.0, value], "p": [0.5, 0.5]}
    )
    assert "b.parquet: row 1: column 'id' is null" in failure(capsys, 1, "compare", *paths, *BY_ID)


def test_empty_text_of_a_typed_file_is_a_key(tmp_path):
    paths = parquets(tmp_path, a={"id": ["", "x"], "y": [1, 0], "p": [0.9, 0.2]}, b={"id": ["x", ""], "p": [0.3, 0.8]})
    assert state_of(tmp_path, *paths, *BY_ID) == ce.Paired(ce.BinaryCrossEntropy()).update(
        [0.9, 0.2], [0.8, 0.3], [1, 0]
    )


def test_a_key_of_several_columns_is_named_with_all_of_them(tmp_path, capsys):
    a = written(tmp_path / "A.csv", "doc,part,y,p\na,1,1,.9\na,2,0,.2\n")
    b = written(tmp_path / "B.csv", "doc,part,p\na,2,.1\na,2,.7\n")
    line = failure(capsys, 1, "compare", a, b, *OWN, "--key", "doc", "--key", "part")
    assert "B.csv: row 1: the key is 'doc' 'a', 'part' '2', which is also in row 0" in line


def test_a_key_that_occurs_very_often_ends_soon(tmp_path, capsys):
    """The join of a key that each of 100,000 rows has would have 10^10 rows."""
    same = {"id": np.ones(100_000, int), "p": np.full(100_000, 0.5), "y": np.ones(100_000, int)}
    paths = parquets(tmp_path, a=same, b=same)
    start = time.perf_counter()
    assert "a.parquet: row 1: column 'id' is 1, which is also in row 0" in failure(capsys, 1, "compare", *paths, *BY_ID)
    assert time.perf_counter() - start < 30


def test_rows_of_folders_are_named_with_their_file(tmp_path, capsys):
    for name, text in {"a/0": A, "a/1": "id,y,p\n4,1,.9\n5,0,.3\n", "b/0": B, "b/1": "id,p\n5,.1\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path / f"{name}.csv", text)
    folders = tmp_path / "a", tmp_path / "b"
    line = failure(capsys, 1, "compare", *folders, *BY_ID)
    assert f"a/1.csv: row 0: column 'id' is '4', which {folders[1]} does not have" in line
    written(tmp_path / "b/1.csv", "id,p\n5,.1\n1,.3\n")
    line = failure(capsys, 1, "compare", *folders, *BY_ID)
    assert f"b/1.csv: row 1: column 'id' is '1', which is also in {tmp_path}/b/0.csv, row 2" in line
    written(tmp_path / "b/1.csv", "id,p\n5,1.5\n4,.3\n")
    line = failure(capsys, 1, "compare", *folders, *BY_ID)
    assert "b/1.csv: row 0: column 'p' is 1.5: expected a probability" in line


# ---- values ----


@pytest.mark.parametrize("chunk", [(), ("--chunk-rows", "7")], ids=str)
@pytest.mark.parametrize(
    ("file", "column", "value", "message"),
    [
        ("a", "p", 1.5, "column 'p' is 1.5: expected a probability in [0, 1]"),
        ("b", "p", float("nan"), "column 'p' is nan"),
        ("b", "p", None, "column 'p' holds a null"),
        ("a", "p", None, "column 'p' holds a null"),
        ("a", "w", -2.0, "column 'w' is -2.0"),
        ("a", "y", 7, "column 'y' is 7"),
    ],
)
def test_an_invalid_row_is_named_as_it_stands_in_its_file(tmp_path, capsys, file, column, value, message, chunk):
    n = 300
    orders = {"a": np.random.default_rng(1).permutation(n), "b": np.random.default_rng(2).permutation(n)}
    columns = {name: {"id": order, "p": [0.5] * n} for name, order in orders.items()}
    columns["a"] |= {"y": [0, 1] * (n // 2), "w": [1.0] * n}
    for row in 171, 220:  # the error is about the first one in the order of A
        columns[file][column][row] = value
    first = 171
    if file == "b":
        first = min((171, 220), key=lambda row: list(orders["a"]).index(orders["b"][row]))
    paths = parquets(tmp_path, **columns)
    line = failure(capsys, 1, "compare", *paths, *BY_ID, "--weight", "w", *chunk)
    assert f"{file}.parquet: row {first}: {message}" in line


def test_the_first_invalid_row_of_a_large_file_is_named(tmp_path, capsys):
    """The join is stopped in the middle, and done again in the order of A."""
    n = 400_000
    ids = np.random.default_rng(0).permutation(n)
    p = np.full(n, 0.5)
    p[[1000, 390_000]] = 1.5, -1
    paths = parquets(tmp_path, a={"id": ids, "y": ids % 2, "p": p}, b={"id": np.arange(n), "p": np.full(n, 0.5)})
    for more in ((), ("--chunk-rows", "2048")):
        assert "a.parquet: row 1000: column 'p' is 1.5" in failure(capsys, 1, "compare", *paths, *BY_ID, *more)
    parquets(tmp_path, b={"id": np.maximum(np.arange(n), 1), "p": np.full(n, 0.5)})
    line = failure(capsys, 1, "compare", *paths, *BY_ID)
    assert "b.parquet: row 1: column 'id' is 1, which is also in row 0" in line


def test_other_columns_must_be_equal_in_matched_rows(tmp_path, capsys):
    a = written(tmp_path / "A.csv", "id,y,p,day\n1,1,.9,mon\n2,0,.2,tue\n3,1,.8,wed\n")
    b = written(tmp_path / "B.csv", "id,p,day\n2,.1,tue\n3,.7,wed\n1,.95,mon\n")
    assert state_of(tmp_path, a, b, *BY_ID) == MATCHED
    capsys.readouterr()
    written(b, "id,p,day\n2,.1,tue\n3,.7,sun\n1,.95,mon\n")
    line = failure(capsys, 1, "compare", a, b, *BY_ID)
    assert f"A.csv: row 2: column 'day' is 'wed', but 'sun' in {b}, row 1: expected equal values in rows with" in line
    assert "--by-position" not in line


def test_a_target_in_both_files_must_be_equal_in_matched_rows(tmp_path, capsys):
    a = written(tmp_path / "A.csv", A)
    b = written(tmp_path / "B.csv", "id,p,y\n2,.1,0\n3,.7,1\n1,.95,1\n")
    assert state_of(tmp_path, a, b, *BY_ID) == MATCHED
    capsys.readouterr()
    written(b, "id,p,y\n2,.1,0\n3,.7,0\n1,.95,1\n")
    line = failure(capsys, 1, "compare", a, b, *BY_ID)
    assert f"A.csv: row 2: column 'y' is 1.0, but 0.0 in {b}, row 1: expected equal values in rows with the" in line


def test_columns_of_any_type_pass_through(tmp_path):
    """Columns that both files share are compared after the join, also those whose types a database lacks."""
    shared = {
        "list": [[1], None, [2, 3]],
        "struct": [{"a": 1, "b": ["x"]}, None, {"a": None, "b": []}],
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "half": np.array([1, 2, 3], np.float16),
        "moment": pa.array([1, None, 3], pa.timestamp("ns", "Europe/Berlin")),
        "wide": pa.array([1, None, 3], pa.decimal256(60, 3)),
        "uuid": pa.array([b"a" * 16, None, b"c" * 16], pa.binary(16)),
        "none": pa.nulls(3),
    }
    a = pa.table({"id": [1, 2, 3], "y": [1, 0, 1], "p": [0.9, 0.2, 0.8], **shared})
    b = a.set_column(2, "p", pa.array([0.95, 0.1, 0.7])).drop(["y"]).take(pa.array([1, 2, 0]))
    for name, table in (("a", a), ("b", b)):
        with pa.OSFile(str(tmp_path / f"{name}.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    assert state_of(tmp_path, tmp_path / "a.arrow", tmp_path / "b.arrow", *BY_ID) == MATCHED


# ---- words ----


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["A.csv", "B.csv", "--key", "id", "--by-position"], "--key cannot be combined with --by-position"),
        (["A.csv", "B.csv", "--key", "row"], "--key: A.csv: no column 'row'; there are 'id', 'y', 'p'"),
        (["A.csv", "B.csv", "--key", "y"], "--key: B.csv: no column 'y'; there are 'id', 'p'"),
        (["A.csv", "B.csv", "--key", "p"], "--key: column 'p' holds predictions, so it cannot be a key"),
        (["A.csv", "--preds-b", "p", "--key", "id"], "--key matches the rows of two files, but one file was given"),
        (["A.csv", "b.npy", "--key", "id"], "--key: b.npy is an array, which has no columns of keys"),
    ],
)
def test_words_without_sense_are_one_line(tmp_path, monkeypatch, capsys, small, words, message):
    monkeypatch.chdir(tmp_path)
    np.save("b.npy", np.array([0.1, 0.2, 0.3]))
    own = ("--task", "binary", "--target", "y", *(() if "b.npy" in words else ("--preds", "p")))
    if "b.npy" in words:
        own = (*own, "--preds-a", "p", "--preds-b", "b.npy")
    assert message in failure(capsys, 2, "compare", *words, *own)


def test_a_missing_duckdb_is_one_line(tmp_path, small):
    """An environment without duckdb is one in which its import fails as if it were not installed."""
    code = "import sys; sys.modules['duckdb'] = None; from streamce.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "compare", *map(str, small), *BY_ID]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "streamce: error: --key needs duckdb 2: pip install 'streamce[duckdb]'\n"


def test_errors_without_a_key_name_it(tmp_path, capsys, small):
    assert "--key COLUMN" in failure(capsys, 1, "compare", *small, *OWN)
    a = written(tmp_path / "A.csv", "y,p\n1,.9\n0,.2\n")
    assert "--key COLUMN" in failure(capsys, 2, "compare", a, written(tmp_path / "B.csv", "p\n.8\n.1\n"), *OWN)
    assert main(["compare", str(a), str(written(tmp_path / "B.csv", "y,p\n1,.8\n0,.1\n")), *OWN]) == 0
    assert "--key COLUMN" in capsys.readouterr().err


# ---- the temporary folder ----


def test_little_memory_spills_to_a_folder_that_is_removed(tmp_path, monkeypatch):
    from streamce.reading import key_join

    n = 400_000
    random = np.random.default_rng(0)
    a, b, y = random.random(n), random.random(n), random.integers(0, 2, n)
    names = np.char.add("a name that is longer than a few bytes ", np.arange(n).astype(str))
    order = random.permutation(n)
    paths = parquets(tmp_path, a={"id": names, "y": y, "p": a}, b={"id": names[order], "p": b[order]})
    monkeypatch.setattr(key_join, "MEMORY", "60MB")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert state_of(tmp_path, *paths, *BY_ID) == ce.Paired(ce.BinaryCrossEntropy()).update(a, b, y)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("delay", [0.3, 1.0, 2.0])
def test_an_interrupt_removes_the_folder(tmp_path, delay):
    n = 3_000_000
    ids = np.random.default_rng(0).permutation(n)
    columns = {"id": ids, "y": ids % 2, "p": ids / n}
    for name, table in (("a", pa.table(columns)), ("b", pa.table(columns).take(ids))):
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    folder = tmp_path / "temporary"
    folder.mkdir()
    words = [*COMMAND, "compare", str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"), *BY_ID]
    child = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(folder)}
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        deadline = time.monotonic() + 30
        while not list(folder.iterdir()) and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.01)
        child.wait(delay)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert list(folder.iterdir()) == []
    assert (out, err) == (b"", b"streamce: error: interrupted\n") or (out and not err)  # it was done before


# ---- integers beyond int64 ----

BIG = [5, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
P_BIG, Y_BIG = [0.9, 0.2, 0.7, 0.4, 0.6], [1, 0, 1, 0, 1]
ORDER = [3, 0, 4, 2, 1]


def big_file(path, order):
    columns = {"id": [BIG[i] for i in order], "p": [P_BIG[i] for i in order], "y": [Y_BIG[i] for i in order]}
    if path.suffix == ".jsonl":
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return written(path, "".join(json.dumps(row) + "\n" for row in rows))
    type_ = pa.decimal128(20, 0) if path.stem.endswith("d") else pa.uint64()
    table = pa.table({**columns, "id": pa.array(columns["id"], pa.uint64()).cast(type_)})
    WRITERS[f"a{path.suffix}"](table, path)
    return path


@pytest.mark.parametrize("a", ["a.parquet", "a.jsonl", "a.csv"])
@pytest.mark.parametrize("b", ["b.parquet", "b.jsonl", "b.csv", "b.arrow", "bd.parquet"])
def test_integers_beyond_int64_are_keys(tmp_path, capsys, a, b):
    files = big_file(tmp_path / a, range(5)), big_file(tmp_path / b, ORDER)
    expected = ce.Paired(ce.BinaryCrossEntropy()).update(P_BIG, P_BIG, Y_BIG)
    assert state_of(tmp_path, *files, *BY_ID) == expected
    capsys.readouterr()
    big_file(tmp_path / b, [0, 1, 2, 3, 3])
    line = failure(capsys, 1, "compare", *files, *BY_ID)
    assert str(2**64 - 2) in line
    assert "expected each key once" in line
