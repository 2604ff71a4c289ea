"""The same rows give the same bytes of state in every format, in one file or many, in blocks of any size."""

from __future__ import annotations

import csv
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

import streamce as ce
from streamce.cli.main import main
from streamce.reading.formats import text

# ---- the rows, and the ways to write them. To widen the test, add a column to COLUMNS or a function to WRITERS. ----

PROBS = st.one_of(st.none(), st.sampled_from([0.5, 0.1, 1e-300, 1.0, 0.0]), st.floats(0, 1, width=32), st.floats(0, 1))
TEXT = st.text(alphabet="ab ,\t;ü7'\"\n", max_size=4)
TIMES = st.integers(0, 10**12).map(lambda microseconds: np.datetime64(microseconds // 10**6 * 10**6, "us"))


@dataclass(frozen=True)
class Column:
    """How a column is drawn, and its types in formats with types."""

    cells: Any
    types: tuple[Any, ...]


COLUMNS = {
    "p": Column(PROBS, (pa.float64(),)),
    "y": Column(st.one_of(st.none(), st.integers(0, 1)), (pa.int8(), pa.int64(), pa.uint16(), pa.float64())),
    "w": Column(st.sampled_from([1.0, 0.0, 0.25, 3.0]), (pa.float64(), pa.float32())),
    "k": Column(TEXT, (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()))),
    "t": Column(TIMES, (pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.timestamp("ns"))),
}
OPTIONS = {
    "plain": [],
    "weight": ["--weight", "w"],
    "cluster": ["--cluster", "k"],
    "by": ["--by", "k"],
    "by and weight": ["--by", "k", "--weight", "w"],
    "times": ["--by-time", "t", "--period", "1h"],
}
BINARY = ["--task", "binary", "--preds", "p", "--target", "y", "--invalid", "skip"]


def plain(value: Any) -> Any:
    """Return a value as text formats hold it."""
    return str(value).replace("T", " ") if isinstance(value, np.datetime64) else value


def table(rows: list[dict[str, Any]], types: dict[str, Any]) -> Any:
    def column(name: str) -> Any:
        values = [row[name] for row in rows]
        if name == "t":
            return pa.array(np.array(values, "datetime64[us]")).cast(types[name])
        return pa.array(values, types[name])

    return pa.table({name: column(name) for name in types})


def write_csv(rows: list[dict[str, Any]], path: Path, types: dict[str, Any], delimiter: str = ",") -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(types)
        writer.writerows([["" if row[name] is None else plain(row[name]) for name in types] for row in rows])


def write_tsv(rows: list[dict[str, Any]], path: Path, types: dict[str, Any]) -> None:
    write_csv(rows, path, types, "\t")


def write_jsonl(rows: list[dict[str, Any]], path: Path, types: dict[str, Any]) -> None:
    lines = [json.dumps({name: plain(row[name]) for name in types}) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_json(rows: list[dict[str, Any]], path: Path, types: dict[str, Any]) -> None:
    path.write_text(
        json.dumps([{name: plain(row[name]) for name in types} for row in rows], indent=1), encoding="utf-8"
    )


def write_parquet(rows: list[dict[str, Any]], path: Path, types: dict[str, Any]) -> None:
    parquet.write_table(table(rows, types), path, row_group_size=3)


def write_arrow(rows: list[dict[str, Any]], path: Path, types: dict[str, Any]) -> None:
    found = table(rows, types)
    new = ipc.new_file if len(rows) % 2 else ipc.new_stream
    with new(path, found.schema) as writer:
        writer.write_table(found, max_chunksize=None if pa.types.is_dictionary(types.get("k", pa.null())) else 2)


WRITERS = {
    "csv": write_csv,
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "json": write_json,
    "parquet": write_parquet,
    "arrow": write_arrow,
}


@st.composite
def written(draw: Any) -> tuple[list[dict[str, Any]], str]:
    rows = draw(
        st.lists(
            st.fixed_dictionaries({name: column.cells for name, column in COLUMNS.items()}), min_size=1, max_size=12
        )
    )
    return rows, draw(st.sampled_from([*OPTIONS]))


def evaluated(folder: Path, files: list[Path], options: list[str]) -> bytes:
    state = folder / "S"
    assert main(["eval", *map(str, files), *BINARY, *options, "--state", str(state)]) in (0, 1)
    return state.read_bytes()


def expected(rows: list[dict[str, Any]], name: str) -> bytes:
    metric: Any = ce.BinaryCrossEntropy(invalid="skip")
    null = np.array([row["p"] is None or row["y"] is None for row in rows])
    p, y = ([row[column] or 0 for row in rows] for column in "py")
    keys: dict[str, Any] = {}
    if "weight" in name:
        keys["weight"] = np.array([row["w"] for row in rows])
    if name == "cluster":
        keys["cluster"] = [row["k"] for row in rows]
    if name.startswith("by"):
        metric, keys["by"] = ce.Grouped(metric), [row["k"] for row in rows]
    if name == "times":
        metric, keys["by_time"] = ce.Grouped(metric, period="1h"), np.array([row["t"] for row in rows])
    metric._update(np.array(p, float), np.array(y), keys.pop("weight", None), null=null, **keys)
    return metric.to_bytes()


@pytest.mark.parametrize("form", WRITERS)
@settings(deadline=None, max_examples=40)
@given(written(), st.data())
def test_a_format(form, drawn, data):
    rows, name = drawn
    types = {column: data.draw(st.sampled_from(COLUMNS[column].types)) for column in COLUMNS}
    cut = data.draw(st.integers(1, len(rows)))
    block, chunk_rows = data.draw(st.sampled_from([64, 200, 1 << 22])), data.draw(st.integers(1, 7))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "TEXT_BLOCK", block)
        files = []
        for number, part in enumerate([rows[:cut], rows[cut:]]):
            if part:
                files.append(Path(folder) / f"{number}.{form}")
                WRITERS[form](part, files[-1], types)
        quote = ["--quote", '"'] if form == "tsv" else []
        options = [*OPTIONS[name], *quote, "--chunk-rows", str(chunk_rows)]
        assert evaluated(Path(folder), files, options) == expected(rows, name)


NUMBERS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1), st.sampled_from([1.0, 0.5])), min_size=1, max_size=12)


@settings(deadline=None, max_examples=40)
@given(NUMBERS, st.booleans(), st.integers(1, 7))
def test_npz(rows, packed, chunk_rows):
    p, y, w = map(np.array, zip(*rows, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        (np.savez_compressed if packed else np.savez)(Path(folder) / "a.npz", p=p, y=y, w=w)
        found = evaluated(Path(folder), [Path(folder) / "a.npz"], ["--weight", "w", "--chunk-rows", str(chunk_rows)])
    assert found == ce.BinaryCrossEntropy(invalid="skip").update(p, y, weight=w).to_bytes()


# ---- lists ----

CLASSES = st.lists(st.sampled_from([0.0, 0.5, 0.25, 1.0]), min_size=3, max_size=3)
LISTS = st.lists(st.tuples(st.one_of(st.none(), CLASSES), st.integers(0, 2)), min_size=1, max_size=9).filter(
    lambda rows: any(p for p, _ in rows)
)
LIST_TYPES = [pa.list_(pa.float64()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 3)]


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "arrow"])
@settings(deadline=None, max_examples=40)
@given(LISTS, st.sampled_from(LIST_TYPES), st.integers(1, 5))
def test_lists(form, rows, type_, chunk_rows):
    names = [{"p": p, "y": y} for p, y in rows]
    words = ["--task", "multiclass", "--preds", "p", "--target", "y", "--invalid", "skip", "--kind", "logits"]
    null = np.array([p is None for p, _ in rows])
    metric = ce.MulticlassCrossEntropy(kind="logits", invalid="skip")
    metric._update(np.array([p or [0.0] * 3 for p, _ in rows]), np.array([y for _, y in rows]), null=null)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{form}"
        WRITERS[form](names, path, {"p": type_, "y": pa.int64()})
        state = Path(folder) / "S"
        options = ["--chunk-rows", str(chunk_rows), "--state", str(state)]
        assert main(["eval", str(path), *words, *options]) in (0, 1)
        assert state.read_bytes() == metric.to_bytes()
