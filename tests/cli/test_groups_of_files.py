"""``streamce eval --by`` and ``--by-time``: columns of any format, and tables that can be read."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from streamce.cli.main import main
from streamce.keys.encoding import format_key

HOURS = 30
START = dt.datetime(2026, 1, 2, 20)
TIMES = [START + dt.timedelta(hours=i, microseconds=5) for i in range(HOURS)]
TABLE = pa.table({
    "p": np.linspace(0.1, 0.9, HOURS), "y": np.arange(HOURS) % 2,
    "who": np.array(["ann", "bob", "cy"])[np.arange(HOURS) % 3],
    "moment": TIMES, "zoned": pa.array([time.replace(tzinfo=dt.UTC) for time in TIMES]),
    "text": [time.isoformat() for time in TIMES],
    "zulu": [f"{time.isoformat()}Z" for time in TIMES],
    "seconds": [time.replace(tzinfo=dt.UTC).timestamp() for time in TIMES],
    "whole": [int(time.replace(tzinfo=dt.UTC).timestamp()) for time in TIMES],
})  # fmt: skip


def write_jsonl(table, path):
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()))


WRITERS = {"a.parquet": parquet.write_table, "a.csv": csv.write_csv, "a.jsonl": write_jsonl}


def evaluate(tmp_path, name, *options, table=TABLE):
    WRITERS[name](table, tmp_path / name)
    return main(["eval", str(tmp_path / name), "--task=binary", "--preds=p", "--target=y", *options])


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("column", ["moment", "zoned", "text", "zulu", "seconds", "whole"])
def test_times_of_files_are_moments_texts_or_seconds(tmp_path, name, column, capsys):
    assert evaluate(tmp_path, name, "--by-time", column, "--period=1d", "--json") == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert {group["key"]: group["count"] for group in groups} == {
        "2026-01-02T00:00:00Z": 4, "2026-01-03T00:00:00Z": 24, "2026-01-04T00:00:00Z": 2,
    }  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_the_target_is_a_key_as_well(tmp_path, name, capsys):
    assert evaluate(tmp_path, name, "--by=y", "--json") == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert {group["key"]: group["count"] for group in groups} == {0: 15, 1: 15}


def test_a_history_of_groups_ends_with_the_last_periods(tmp_path, capsys):
    assert evaluate(tmp_path, "a.parquet", "--by=who", "--by-time=moment", "--period=1h") == 0
    rows = capsys.readouterr().out.split("the last 20 of 30")[1].splitlines()[1:]
    assert [row.split("  ")[0] for row in rows] == [
        f"{['ann', 'bob', 'cy'][i % 3]}, {(START + dt.timedelta(hours=i)).isoformat(' ')} UTC" for i in range(10, 30)
    ]


def test_long_keys_lose_their_middle_in_tables_and_nowhere_else(tmp_path, capsys):
    keys = pa.array([f"{'x' * 500}{i % 3}" for i in range(HOURS)])
    assert evaluate(tmp_path, "a.parquet", "--by=long", table=TABLE.append_column("long", keys)) == 0
    assert max(map(len, capsys.readouterr().out.splitlines()[1:])) < 100
    assert evaluate(tmp_path, "a.parquet", "--by=long", "--json", table=TABLE.append_column("long", keys)) == 0
    assert {group["key"] for group in json.loads(capsys.readouterr().out)["groups"]} == set(keys.to_pylist())
    assert format_key("a" * 40) == "a" * 40
    assert format_key("a" * 30 + "b" * 30) == "a" * 20 + "..." + "b" * 17
