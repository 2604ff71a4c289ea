"""Query engines on a file, and complete processes that read it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from benchmarks.cases import Array, Case
from benchmarks.rivals import Chunk, Rival, Run

THREADS = os.environ["STREAMCE_NUM_THREADS"]  # Polars reads POLARS_MAX_THREADS instead
DUCKDB = "select avg(-ln(case when y = 1 then p else 1 - p end)) from read_{format}('{path}')"
DUCKDB_LINES = "select avg(-ln(case when y = 1 then p else 1 - p end)) from {table}"
DUCKDB_LISTS = "select avg(-ln(p[y + 1])) from {table}"
TABLE = "read_json('{path}', format = 'newline_delimited', columns = {{p: '{type}', y: 'BIGINT'}})"
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


class Duckdb(Rival):
    def version(self) -> str:
        import duckdb

        return f"DuckDB {duckdb.__version__}"

    def function(self, case: Case) -> Run | None:
        if case.job == "file":
            return lambda chunks: self._mean(DUCKDB.format(path=chunks[0][0], format="parquet"))
        if case.job == "lines" and case.classes == 1:
            return lambda chunks: self._mean(DUCKDB_LINES.format(table=TABLE.format(path=chunks[0][0], type="DOUBLE")))
        if case.job == "lines":
            return lambda chunks: self._mean(
                DUCKDB_LISTS.format(table=TABLE.format(path=chunks[0][0], type="DOUBLE[]"))
            )
        return None

    @staticmethod
    def _mean(query: str) -> float:
        import duckdb

        with duckdb.connect(config={"threads": THREADS}) as connection:
            [[mean]] = connection.execute(query).fetchall()
        return float(mean)


class Polars(Rival):
    def version(self) -> str:
        import polars

        return f"Polars {polars.__version__}"

    def inputs(self, case: Case, preds: Array, target: Array | None) -> Chunk:
        import polars as pl

        return (pl.Series(preds), pl.Series(target)) if case.job == "grouped" else (preds, target)

    def function(self, case: Case) -> Run | None:
        lines = self._lines if case.classes == 1 else self._lists
        return {"file": self._run, "lines": lines, "grouped": self._grouped}.get(case.job)

    @staticmethod
    def _lines(chunks: Sequence[Chunk]) -> float:
        import polars as pl

        p, y = pl.col("p"), pl.col("y")
        losses = -pl.when(y == 1).then(p).otherwise(1 - p).log()
        return float(pl.scan_ndjson(chunks[0][0]).select(losses.mean()).collect().item())

    @staticmethod
    def _lists(chunks: Sequence[Chunk]) -> float:
        import polars as pl

        losses = -pl.col("p").list.get(pl.col("y")).log()
        return float(pl.scan_ndjson(chunks[0][0]).select(losses.mean()).collect().item())

    @staticmethod
    def _grouped(chunks: Sequence[Chunk]) -> float:
        """Add up counts and rounded sums of losses and squares by key over the chunks, and return the mean."""
        import polars as pl

        x = pl.col("x")
        sums = [pl.len().alias("count"), x.sum().alias("sum"), (x * x).sum().alias("squares")]
        parts = [pl.DataFrame({"x": losses, "key": keys}).group_by("key").agg(sums) for losses, keys in chunks]
        found = pl.concat(parts).group_by("key").sum() if len(parts) > 1 else parts[0]
        return float(found["sum"].sum() / found["count"].sum())

    @staticmethod
    def _run(chunks: Sequence[Chunk]) -> float:
        import polars as pl

        p, y = pl.col("p"), pl.col("y")
        losses = -pl.when(y == 1).then(p).otherwise(1 - p).log()
        return float(pl.scan_parquet(chunks[0][0]).select(losses.mean()).collect().item())


class Command(Rival):
    """A process that prints the mean, timed from its start to its end."""

    def version(self) -> str:
        return f"Python {platform.python_version()}"

    def function(self, case: Case) -> Run | None:
        return (lambda chunks: self.mean(self._output(self.arguments(chunks[0][0])))) if case.job == "command" else None

    @abstractmethod
    def arguments(self, path: str) -> list[str]: ...

    def mean(self, output: str) -> float:
        return float(output)

    @staticmethod
    def _output(arguments: list[str]) -> str:
        return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout

    def peak(self, chunks: Sequence[Chunk]) -> int:
        """Return the peak memory of the whole process, measured by a small parent process."""
        return int(self._output(["-c", PEAK, sys.executable, *self.arguments(chunks[0][0])]))


class StreamceCommand(Command):
    def arguments(self, path: str) -> list[str]:
        options = ["--task", "binary", "--target", "y", "--preds", "p", "--json"]
        return ["-m", "streamce", "eval", path, *options]

    def mean(self, output: str) -> float:
        found: dict[str, Any] = json.loads(output)
        return float(found["value"])


class DuckdbCommand(Command):
    def arguments(self, path: str) -> list[str]:
        query = DUCKDB.format(path=path, format=path.rpartition(".")[2])
        connect = f"import duckdb; connection = duckdb.connect(config={{'threads': {THREADS}}})"
        connect += "; connection.execute('set enable_progress_bar = false')"  # because it is on standard output
        return ["-c", f'{connect}; print(connection.execute("{query}").fetchone()[0])']


class PolarsCommand(Command):
    def arguments(self, path: str) -> list[str]:
        losses = "-pl.when(pl.col('y') == 1).then(pl.col('p')).otherwise(1 - pl.col('p')).log()"
        scan = f"pl.scan_{path.rpartition('.')[2]}({path!r})"
        query = f"{scan}.select(({losses}).mean()).collect().item()"
        return ["-c", f"import polars as pl; print({query})"]
