"""The cases of the benchmarks, and their arrays from a fixed seed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Forms: how a rival gets the arrays of a case.
ONCE, CHUNKS, SMALL, BATCHES, SCALARS = "80 MB at once", "8 MB chunks", "4M at once", "batches of 32", "one by one"
FILE = "20M rows"
LINES, LISTS = "2M lines", "40k lines of 100 numbers"
FILES = (FILE, LINES, LISTS)
ARRAYS = (ONCE, CHUNKS)
BYTES = 80_000_000  # size of the predictions
ROWS = {FILE: 20_000_000, LINES: 2_000_000, LISTS: 40_000}  # of a file
WIDTH = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Case:
    """A job. ``target`` is "labels" (int64), "float32" (0 or 1), "soft", "none", or "keys" (int64) of groups.

    ``format`` is that of the files of a stored case. In cases of CTC a row is an utterance, and all utterances have the
    same numbers of ``frames`` and ``labels``.
    """

    name: str
    job: str
    kind: str = "logits"
    dtype: str = "float32"
    classes: int = 1
    target: str = "labels"
    smoothing: float = 0.0
    keys: int = 0
    frames: int = 0
    labels: int = 0
    forms: tuple[str, ...] = ARRAYS
    format: str = "parquet"

    @property
    def stored(self) -> bool:
        return self.job in ("file", "lines", "command")

    def file(self, name: str) -> str:
        """Return the name of a file of this case: all rows, or a sample."""
        return f"{name}.{self.format}"

    @property
    def of_tables(self) -> bool:
        """Whether query engines can do this job."""
        return self.stored or self.keys > 0

    @property
    def width(self) -> int:
        """The number of predictions in a row."""
        return self.classes * max(1, self.frames)

    def unit(self, form: str) -> str:
        """Return the unit by which the nanoseconds of a form are reported."""
        if form in FILES:
            return "row"
        return "update" if form in (BATCHES, SCALARS) else "element"

    def sample(self) -> int:
        """Return the number of rows whose mean loss is computed to 50 digits: few, because that is slow."""
        return max(4, 20_000 // self.width)


def _multiclass(dtype: str, classes: int, target: str = "labels", kind: str = "logits", smoothing: float = 0.0) -> Case:
    what = f", {target} targets" if target == "soft" else ", label smoothing" if smoothing else ""
    return Case(f"{kind} {dtype}, C = {classes}{what}", "multiclass", kind, dtype, classes, target, smoothing)


def _binary(kind: str, dtype: str, target: str = "labels") -> Case:
    what = "" if target == "labels" else f", {target} targets"
    return Case(f"binary {kind} {dtype}{what}", "binary", kind, dtype, target=target, forms=(SMALL, *ARRAYS))


def _ctc(kind: str, classes: int, frames: int, labels: int) -> Case:
    return Case(f"CTC {kind} float32, C = {classes}", "ctc", kind, classes=classes, frames=frames, labels=labels)


ALL = (
    *(_multiclass("float32", classes) for classes in (2, 3, 10, 16, 32, 100, 1000, 32000)),
    *(_multiclass(dtype, classes) for dtype in ("bfloat16", "float16", "float64") for classes in (10, 1000)),
    *(_multiclass("float32", classes, "soft") for classes in (10, 1000)),
    *(_multiclass("float32", classes, smoothing=0.1) for classes in (10, 1000)),
    *(_multiclass(dtype, 10, kind="probs") for dtype in ("float32", "float64")),
    _binary("logits", "float32"),
    _binary("logits", "float32", "float32"),
    _binary("probs", "float32"),
    _binary("probs", "float64"),
    Case("mean of losses", "mean", "losses", "float64", target="none"),
    *(
        Case(f"mean of losses by {keys} keys", "grouped", "losses", "float64", target="keys", keys=keys)
        for keys in (1000, 1_000_000)
    ),
    *(_ctc(kind, 32, 200, 30) for kind in ("log_probs", "logits")),  # characters
    *(_ctc(kind, 1000, 50, 10) for kind in ("log_probs", "logits")),  # pieces of words
    Case("32 x 10 logits", "multiclass", classes=10, forms=(BATCHES,)),
    Case("binary probs", "binary", "probs", "float64", forms=(SCALARS,)),
    Case("Parquet file", "file", "probs", forms=(FILE,)),
    Case("JSON lines", "lines", "probs", "float64", forms=(LINES,), format="jsonl"),
    Case("JSON lines of lists", "lines", "probs", "float64", classes=100, forms=(LISTS,), format="jsonl"),
    Case("Parquet file, whole process", "command", "probs", forms=(FILE,)),
    Case("CSV file, whole process", "command", "probs", forms=(FILE,), format="csv"),
)
CASES = {case.name: case for case in ALL}


def arrays(case: Case, size: float) -> tuple[Array, Array | None]:
    """Return the predictions and targets of a case. bfloat16 is held as uint16.

    ``size`` is a share of the full size.
    """
    rng = np.random.default_rng(0)
    rows = int(BYTES * size) // (WIDTH[case.dtype] * case.width * 10) * 10
    if case.stored:
        rows = int(ROWS[case.forms[0]] * size)
    if case.forms in ((BATCHES,), (SCALARS,)):
        rows = 64_000 if case.forms == (BATCHES,) else 20_000
    draws = np.float64 if case.dtype == "float64" else np.float32
    if case.job in ("mean", "grouped"):
        return rng.exponential(size=rows), rng.integers(0, case.keys, rows) if case.keys else None
    if case.job == "ctc":
        frames = 2 * rng.standard_normal((rows, case.frames, case.classes), dtype=draws)
        preds = frames if case.kind == "logits" else np.log(_softmax(frames))
        return preds, rng.integers(1, case.classes, (rows, case.labels))  # 0 is the blank
    if case.job != "multiclass" and case.classes == 1:
        logits = 2 * rng.standard_normal(rows, dtype=draws)
        probs = 1 / (1 + np.exp(-logits))
        outcomes = rng.random(rows, dtype=np.float32) < probs
        preds = logits if case.kind == "logits" else probs
        return preds, outcomes.astype(np.float32 if case.target == "float32" else np.int64)
    logits = 2 * rng.standard_normal((rows, case.classes), dtype=draws)
    labels = rng.integers(0, case.classes, rows)
    target = labels if case.target == "labels" else _softmax(rng.standard_normal(logits.shape, dtype=draws))
    if case.kind == "probs":
        return _softmax(logits), target
    if case.dtype == "bfloat16":  # rounded to nearest, ties away from zero
        return ((logits.view(np.uint32) + 0x8000) >> 16).astype(np.uint16), target
    return logits.astype(case.dtype, copy=False), target


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits)
    powers /= powers.sum(axis=-1, keepdims=True, dtype=np.float64).astype(logits.dtype)
    return powers


def wide(case: Case, preds: Array) -> Array:
    """Return the same numbers as float32, or unchanged if they are float64."""
    if case.dtype == "bfloat16":
        return (preds.astype(np.uint32) << 16).view(np.float32)
    return preds.astype(np.float32) if case.dtype == "float16" else preds


@contextmanager
def stored(case: Case, size: float, folder: Path) -> Iterator[tuple[Array, Array | None]]:
    """Write the arrays of a case to files that all processes read, and remove the files at the end."""
    preds, target = arrays(case, size)
    place = folder / "case"
    place.mkdir()
    try:
        if case.stored:
            write = {"parquet": _write_parquet, "csv": _write_csv, "jsonl": _write_lines}[case.format]
            few = case.sample()
            write(place / case.file("rows"), preds, target)
            write(place / case.file("sample"), preds[:few], target[:few])  # type: ignore[index]
        else:
            np.save(place / "preds.npy", preds)
            if target is not None:
                np.save(place / "target.npy", target)
        yield preds[: case.sample()], None if target is None else target[: case.sample()]
    finally:
        shutil.rmtree(place)


def _write_csv(path: Path, preds: Array, target: Any) -> None:
    import pyarrow as pa
    from pyarrow import csv

    csv.write_csv(pa.table({"p": preds.astype(np.float64), "y": target.astype(np.int8)}), path)


def _write_parquet(path: Path, preds: Array, target: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"p": preds, "y": target.astype(np.int8)})
    parquet.write_table(table, path, row_group_size=1_000_000)


def _write_lines(path: Path, preds: Array, target: Any) -> None:
    """Write a line per row, with two columns that nobody reads."""
    with path.open("w", encoding="utf-8") as file:
        for i, (p, y) in enumerate(zip(preds.tolist(), target.tolist(), strict=True)):
            file.write(json.dumps({"id": i, "user": f"u{i % 1000}", "p": p, "y": int(y)}) + "\n")
