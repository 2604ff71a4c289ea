"""A process that runs one rival: it prepares a case, and runs it once for each request.

Requests and answers are lines of JSON on standard input and output.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import memory
from benchmarks.cases import BATCHES, CASES, CHUNKS, SCALARS, SMALL, Case
from benchmarks.rivals import Chunk, Rival, Run

SMALL_SIZE = 4_000_000


def cut(form: str, case: Case, inputs: Chunk, rows: int) -> list[Chunk]:
    """Return the chunks of a form, with this many rows in total."""
    preds, target = inputs
    step = {CHUNKS: max(1, len(preds) // 10), BATCHES: 32, SCALARS: 1}.get(form, rows)

    def part(array: Any, start: int) -> Any:
        if array is None:
            return None
        return array[start] if form == SCALARS else array[start : min(start + step, rows)]

    if form == SCALARS:
        preds, target = preds.tolist(), target.tolist()
    return [(part(preds, start), part(target, start)) for start in range(0, rows, step)]


def rows_of_file(path: Path) -> int:
    if path.suffix in (".csv", ".jsonl"):
        with path.open("rb") as file:
            return sum(1 for _ in file) - (path.suffix == ".csv")
    from pyarrow.parquet import read_metadata

    return int(read_metadata(path).num_rows)


class Job:
    """A case in one form, ready to run. ``facts`` holds the values that are measured once."""

    def __init__(self, rival: Rival, run: Run, case: Case, form: str, folder: Path) -> None:
        self._run = run
        if case.stored:
            sample = run([(str(folder / case.file("sample")), None)])
            self._chunks: Sequence[Chunk] = [(str(folder / case.file("rows")), None)]
            elements = rows_of_file(folder / case.file("rows"))
        else:
            sample, elements = self._load(rival, case, form, folder)
        if rival.compiles:
            run(self._chunks)
        peak = getattr(rival, "peak", None)
        extra = peak(self._chunks) if peak else memory.extra(lambda: run(self._chunks))
        self.facts = {"elements": elements, "sample": sample, "extra": extra}

    def _load(self, rival: Rival, case: Case, form: str, folder: Path) -> tuple[float, int]:
        """Create the chunks, and return the mean loss of the sample and the number of elements."""
        preds = np.load(folder / "preds.npy")
        target = np.load(folder / "target.npy") if case.target != "none" else None
        rows = min(len(preds), SMALL_SIZE) if form == SMALL else len(preds)
        if rival.most is not None and form not in (BATCHES, SCALARS):
            rows = min(rows, rival.most // case.width)
        few = case.sample()
        inputs = rival.inputs(case, preds[:few], None if target is None else target[:few])
        sample = self._run(cut(form if form in (BATCHES, SCALARS) else "", case, inputs, few))
        self._chunks = cut(form, case, rival.inputs(case, preds, target), rows)
        return sample, len(self._chunks) if case.unit(form) == "update" else rows * case.width

    def time(self) -> dict[str, Any]:
        gc.disable()  # because its time depends on the imported modules
        faults, start = memory.faults(), time.perf_counter()
        self._run(self._chunks)
        seconds, faults = time.perf_counter() - start, memory.faults() - faults
        gc.enable()
        return {"seconds": seconds, "faults": faults}


def load(name: str) -> Rival:
    module, _, cls = name.partition(":")
    rival = getattr(importlib.import_module(f"benchmarks.rivals.{module}"), cls)()
    assert isinstance(rival, Rival)
    return rival


def serve(name: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # so that output of a rival is not taken for an answer
    rival = load(name)
    answers.write(json.dumps({"version": rival.version()}) + "\n")
    job: Job | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["ask"] == "time" and job is not None:
            answer = job.time()
        else:
            job, answer = None, {}
            try:
                if request["ask"] == "prepare":
                    case = CASES[request["case"]]
                    run = rival.function(case)
                    if run is not None:
                        job = Job(rival, run, case, request["form"], Path(request["folder"]))
                        answer = job.facts
            except Exception as error:  # report a rival that cannot do the job as a result
                job, answer = None, {"failed": f"{type(error).__name__}: {str(error).splitlines()[:1]}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    serve(sys.argv[1])
