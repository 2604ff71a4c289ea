"""Runs the workers: one process per rival. Only one of them works at a time."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpmath

from benchmarks import truth
from benchmarks.cases import FILES, ONCE, SMALL, WIDTH, Case

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 2.0  # seconds of a rival's repeats in one case, after which MIN_REPEATS are enough
MIN_REPEATS = 3


@dataclass(frozen=True)
class Contender:
    """A rival with a number of threads. ``simd`` forces an instruction set of streamce."""

    name: str
    rival: str
    threads: int = 1
    simd: str | None = None

    @property
    def ours(self) -> bool:
        return self.name.startswith("streamce")

    @property
    def yardstick(self) -> bool:
        """Whether this does another job, with which contenders are compared."""
        return self.name in (READING, PLAIN)


READING = "(reading once)"
PLAIN = "(streamce, plain float32)"
CONTENDERS = (
    *(Contender("streamce", "ours:Streamce", threads) for threads in (1, 2)),
    *(Contender("streamce, AVX2 forced", "ours:Streamce", threads, "avx2") for threads in (1, 2)),
    *(Contender(READING, "ours:Reading", threads) for threads in (1, 2)),
    Contender(PLAIN, "ours:Plain"),
    *(Contender("torch", "torch_family:Eager", threads) for threads in (1, 2)),
    *(Contender("torch.compile", "torch_family:Compiled", threads) for threads in (1, 2)),
    Contender("torchmetrics", "torch_family:Torchmetrics"),
    Contender("torcheval", "torch_family:Torcheval"),
    Contender("NumPy", "numpy_idioms:Numpy"),
    Contender("SciPy", "numpy_idioms:Scipy"),
    Contender("scikit-learn", "numpy_idioms:ScikitLearn"),
    Contender("math.fsum", "numpy_idioms:Fsum"),
    Contender("river", "numpy_idioms:River"),
    Contender("DuckDB", "tables:Duckdb", 2),
    *(Contender("Polars", "tables:Polars", threads) for threads in (1, 2)),
    Contender("streamce", "tables:StreamceCommand", 2),
    Contender("DuckDB", "tables:DuckdbCommand", 2),
    Contender("Polars", "tables:PolarsCommand", 2),
)


@dataclass
class Measurement:
    """The result of one contender in one case and form. ``error`` is the relative error on the sample."""

    case: Case
    form: str
    contender: Contender
    elements: int = 0
    extra: int | None = None
    error: float | None = None
    failed: str | None = None
    seconds: list[float] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)

    @property
    def ns(self) -> float:
        return statistics.median(self.seconds) / self.elements * 1e9

    @property
    def best_ns(self) -> float:
        return min(self.seconds) / self.elements * 1e9

    @property
    def page_faults(self) -> bool:
        """Whether every repeat brings in fresh pages: at least one for 8 kB of input."""
        return statistics.median(self.faults) > self.elements * WIDTH[self.case.dtype] / 8192


class Worker:
    """A process that runs one contender."""

    def __init__(self, contender: Contender, folder: Path) -> None:
        threads = str(contender.threads)
        names = ("STREAMCE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
        environment = {name: value for name, value in os.environ.items() if name != "STREAMCE_SIMD"}
        environment |= dict.fromkeys(names, threads)
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "TORCHINDUCTOR_CACHE_DIR": str(folder)}
        if contender.simd:
            environment["STREAMCE_SIMD"] = contender.simd
        self.contender = contender
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", contender.rival],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.version = self._answer().get("version")

    def ask(self, **request: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the process has died, and its empty answer shows it
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"failed": "the process died"}
        return found

    def close(self) -> None:
        self._process.communicate()


class Workers:
    """The processes of all contenders. Each starts when it is first needed."""

    def __init__(self, folder: Path, left_out: Sequence[str] = ()) -> None:
        self._folder = folder
        self._started: dict[Contender, Worker] = {}
        self._left_out = left_out

    @property
    def versions(self) -> list[str]:
        found = [worker.version or f"no {contender.name}" for contender, worker in self._started.items()]
        return list(dict.fromkeys(found))

    def of(self, case: Case, form: str) -> Iterator[Worker]:
        for contender in CONTENDERS:
            if contender.name in self._left_out or (contender.rival.startswith("tables:") and not case.of_tables):
                continue
            if case.stored and contender.threads == 1:
                continue  # query engines use all threads
            if contender.threads == 2 and form not in (ONCE, SMALL, *FILES):
                continue
            if contender not in self._started:
                self._started[contender] = Worker(contender, self._folder / "compiled")
                if not self._started[contender].version:
                    print(f"{contender.name} does not start: pip install --group bench", file=sys.stderr)
            worker = self._started[contender]
            twice = contender.simd and worker.version in self._versions_of(contender.name)
            if worker.version and not twice:
                yield worker

    def _versions_of(self, name: str) -> list[str | None]:
        """Return the versions without a forced instruction set: if AVX2 is the best one, forcing it changes nothing."""
        return [w.version for c, w in self._started.items() if c.simd is None and name.startswith(c.name)]

    def close(self) -> None:
        for worker in self._started.values():
            worker.close()


def measure(case: Case, form: str, workers: Workers, folder: Path, true: mpmath.mpf, repeats: int) -> list[Measurement]:
    """Return the measurements of all contenders in one case. They take turns in each repeat."""
    ready: list[tuple[Worker, Measurement]] = []
    found: list[Measurement] = []
    for worker in workers.of(case, form):
        facts = worker.ask(ask="prepare", case=case.name, form=form, folder=str(folder))
        if "failed" in facts:
            found.append(Measurement(case, form, worker.contender, failed=facts["failed"]))
        elif facts:
            one = Measurement(case, form, worker.contender, facts["elements"], facts["extra"])
            if not worker.contender.yardstick:
                one.error = truth.error(facts["sample"], true)
            ready.append((worker, one))
            found.append(one)
    for _ in range(repeats):
        for worker, one in ready:
            if one.failed or (len(one.seconds) >= MIN_REPEATS and sum(one.seconds) > PATIENCE):
                continue
            answer = worker.ask(ask="time")
            if "seconds" in answer:
                one.seconds.append(answer["seconds"])
                one.faults.append(answer["faults"])
            else:
                one.failed = answer["failed"]
        ready.append(ready.pop(0))  # so that no contender always follows the same one
    for worker, _ in ready:
        worker.ask(ask="forget")
    return found
