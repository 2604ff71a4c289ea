"""Files and commands that ``streamce eval`` evaluates on every engine."""

import json
import re

import numpy as np
import pyarrow as pa
from engine_cases import table
from pyarrow import csv, parquet

from streamce.cli import partitions
from streamce.cli.main import main

BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
TASKS = {
    "binary": (*BINARY, "--weight", "w", "--tail"),
    "groups": (*BINARY, "--by", "user,label", "--by-time", "time", "--period", "1h"),
    "groups of clusters": (*BINARY, "--by", "label", "--cluster", "user", "--tail"),
    "groups of a ratio": (*BINARY, "--by", "user", "--normalized", "--cluster", "label"),
    "names": ("--task", "multiclass", "--preds", "p_*", "--target", "name"),
    "lists": ("--task", "multiclass", "--preds", "probs", "--target", "label"),
    "sequences": ("--task", "sequence", "--token-log-probs", "logprobs", "--cluster", "user"),
}


def write_files(folder):
    """Write one file that is split into many partitions, and several small ones."""
    names = np.array(["ant", "bee", "cat", "dog"])
    whole = table().append_column("name", pa.array(names[table()["label"].to_numpy()]))
    whole = whole.rename_columns([re.sub(r"q_(\d)", lambda m: "p_" + names[int(m[1])], n) for n in whole.column_names])
    parquet.write_table(whole.slice(0, 400), folder / "a.parquet", row_group_size=20)
    for number in range(4):
        parquet.write_table(whole.slice(400 + 50 * number, 50), folder / f"b{number}.parquet")
    flat = [name for name in whole.column_names if name not in ("probs", "logprobs")]
    csv.write_csv(whole.select(flat), folder / "_all.csv")
    return folder


def write_invalid_file(path):
    """Write a file with two invalid rows, and return the row of the first."""
    p = np.full(50_000, 0.5)
    p[[22_222, 44_444]] = 1.5
    table = pa.table({"p": p, "y": np.zeros(50_000)})
    parquet.write_table(table, path, row_group_size=500, use_dictionary=False, compression="NONE")
    return 22_222


def split_small_files(monkeypatch):
    """Split files of some kilobytes into so many partitions that several tasks add the states."""
    monkeypatch.setattr(partitions, "MIN_BYTES", 5_000)
    monkeypatch.setattr(partitions, "PARTITIONS_PER_PROCESSOR", 12)


def run(capsys, path, *command):
    """Run a command, and return exit status, state and the printed JSON object."""
    state = path / "state"
    status = main(["eval", *map(str, command), "--json", "--state", str(state)])
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    del found["options"]["state"]
    return status, state.read_bytes(), found
