"""``streamce eval --engine dask`` and ``--engine spark``: the parts of a run on the machines of a cluster."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import operator
import os
import pickle
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from streamce.cli import partitions
from streamce.cli.console import advance, progress_bar
from streamce.cli.partitions import Outcome, Part
from streamce.errors import DataError, InputError, SelectionError
from streamce.integrations import dask, spark
from streamce.reading.labels import Labels
from streamce.reading.reader import Reading
from streamce.reading.sources import Source

TOGETHER = 8  # states that are added up in one go, on one machine
WAIT = 10  # seconds for a cluster to answer
MANY = 16  # processors that a cluster is taken to have which does not say, or has not started yet


def refuse(options: argparse.Namespace, sources: Sequence[Source]) -> None:
    """Raises for what a cluster cannot do."""
    engine = f"--engine {options.engine}"
    if options.resume:
        raise SelectionError(f"--resume does not go with {engine}: engines try a part again themselves")
    for source in sources:
        if source.format == "pipe":
            raise SelectionError(f"{source.name}: {engine} needs files, and this comes only once")
        if source.format == "npy":
            raise SelectionError(f"{source.name}: {engine} takes no .npy files, but .npz files")


def run(
    options: argparse.Namespace, sources: Sequence[Source], reading: Reading, metric: Any, labels: Labels | None
) -> int:
    """Evaluate all sources on a cluster into an empty metric; returns the number of rows."""
    start = {"dask": _on_dask, "spark": _on_spark}[options.engine]
    try:
        with start(options.address) as (processors, evaluated), progress_bar(0) as bar:
            width = partitions.settled(options, reading, labels)
            all_parts = partitions.cut(options, sources, processors, width, labels.classes if labels else None)
            rows, done = 0, 0

            def finished(outcome: Outcome) -> None:
                nonlocal rows, done
                rows, done = rows + outcome.rows, done + 1
                advance(bar, rows, outcome.rows, done / len(all_parts))

            outcomes, state = evaluated(all_parts, finished)
            partitions.check(all_parts, outcomes)
            metric.load_state_dict({"state": state})
            return sum(outcome.rows for outcome in outcomes)
    except InputError as error:
        raise DataError(str(error)).with_place(f"--engine {options.engine}") from error


Evaluated = Callable[[list[Part], Callable[[Outcome], None]], tuple[list[Outcome], bytes | None]]


@contextlib.contextmanager
def _on_dask(address: str | None) -> Iterator[tuple[int, Evaluated]]:
    """How many processors there are, and a function from parts to outcomes and the state of all."""
    try:
        distributed = dask.module("distributed")
    except InputError as error:
        raise SelectionError(str(error)).with_place("--engine dask") from error
    with contextlib.ExitStack() as stack:
        with dask.clearly():
            if address is None:  # processes of this machine, which listen on loopback alone
                here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
                # Ctrl-C goes to the workers as well, and what they say of it is not for here.
                with _unheard():
                    cluster = distributed.LocalCluster(threads_per_worker=1, silence_logs=logging.CRITICAL, **here)
                    address = stack.enter_context(cluster).scheduler_address
            asyncio.run(_answered(distributed, address))
            client = stack.enter_context(distributed.Client(address, timeout=WAIT))
            processors = sum(client.nthreads().values()) or MANY

        def evaluated(all_parts: list[Part], finished: Callable[[Outcome], None]) -> tuple[list[Outcome], bytes | None]:
            results = client.map(partitions.evaluate, all_parts, pure=False)
            outcomes = client.map(operator.itemgetter(0), results, pure=False)
            level = client.map(partitions.join, [[result] for result in results], pure=False)
            while len(level) > 1:
                some = [level[i : i + TOGETHER] for i in range(0, len(level), TOGETHER)]
                level = client.map(partitions.join_all, some, pure=False)
            del results  # which the cluster lets go of as they are added up

            def place() -> str:
                failed = (part for part, future in zip(all_parts, outcomes, strict=True) if future.status == "error")
                return "".join(f"{part.sources[part.start.source].name}: " for part in itertools.islice(failed, 1))

            with dask.clearly(place):
                for future in distributed.as_completed(outcomes):
                    outcome = future.result()
                    finished(outcome)
                    if outcome.error is not None:  # what lies before may yet go wrong too, and is then what to say
                        for later in (*level, *outcomes[outcome.number + 1 :]):
                            later.release()
                        return client.gather(outcomes[: outcome.number + 1]), None
                found: tuple[list[Outcome], bytes | None] = level[0].result()
                return found

        yield processors, evaluated


async def _answered(distributed: Any, address: str) -> None:
    """Raises unless a scheduler answers there: a client would wait for ever for one that is none."""
    security = distributed.Security().get_connection_args("client")
    try:
        async with asyncio.timeout(2 * WAIT):  # of these one for somebody to be there at all
            (await distributed.comm.connect(address, timeout=WAIT, **security)).abort()
    except TimeoutError:
        raise InputError("address", f"no scheduler answers at {address}", location="") from None


@contextlib.contextmanager
def _on_spark(address: str | None) -> Iterator[tuple[int, Evaluated]]:
    """The same with Spark."""
    address = address or "local[*]"
    if not re.match(r"(spark|sc|k8s)://|local\b|yarn$", address):
        expected = "spark://HOST:PORT, sc://HOST:PORT, local[N], yarn or k8s://..."
        raise SelectionError(f"--address {address}: expected {expected}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        try:
            from pyspark.sql import SparkSession
        except ModuleNotFoundError:
            raise SelectionError("--engine spark: this needs Spark: pip install 'streamce[spark]'") from None
        _reach(address)
        with spark.clearly():
            session = SparkSession.getActiveSession()
            if session is None:
                with _unheard():
                    session = _started(SparkSession.builder.appName("streamce eval"), address)
                stack.callback(session.stop)
            processors = MANY if address.startswith("sc://") else int(session.sparkContext.defaultParallelism)

        def evaluated(all_parts: list[Part], finished: Callable[[Outcome], None]) -> tuple[list[Outcome], bytes | None]:
            def each(numbers: Iterable[Any]) -> Iterator[Any]:
                for batch in numbers:
                    for number in batch.column(0).to_pylist():
                        yield _rows([partitions.evaluate(all_parts[number])])

            def sums(batches: Iterable[Any]) -> Iterator[Any]:
                outcomes, state = partitions.join(_results(batches))
                yield _rows([*((outcome, None) for outcome in outcomes), (None, state)])

            schema = "outcome binary, state binary"
            with spark.clearly():
                # What comes here comes from one task after another: the parts are before a shuffle, which is one job.
                found = session.range(0, len(all_parts), 1, len(all_parts)).mapInArrow(each, schema)
                found = found.repartition(min(TOGETHER, len(all_parts))).mapInArrow(sums, schema)
                rows = ((row[0] and pickle.loads(row[0]), row[1] and bytes(row[1])) for row in found.toLocalIterator())
                outcomes, state = partitions.join(rows)
            for outcome in outcomes:
                finished(outcome)
            return outcomes, state

        yield processors, evaluated


def _started(make: Any, address: str) -> Any:
    """A session of Spark, which listens nowhere but where it must."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if address.startswith("sc://"):
        return make.remote(address).getOrCreate()
    options = {"spark.ui.enabled": "false"}
    if address.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        options |= {"spark.driver.bindAddress": "127.0.0.1", "spark.log.level": "OFF"}
        options |= {"spark.ui.showConsoleProgress": "false"}
    for name, value in options.items():
        make = make.config(name, value)
    return make.master(address).getOrCreate()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Nothing that a process started here writes to stderr is seen: Java says hello there, and what Spark logs."""
    with open(os.devnull, "wb") as nowhere:
        try:
            before = os.dup(2)
        except OSError:  # closed by the caller
            yield
            return
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


def _rows(found: Sequence[tuple[Outcome | None, bytes | None]]) -> Any:
    """Outcomes and states as a record batch."""
    outcomes = [outcome and pickle.dumps(outcome) for outcome, _ in found]
    columns = [pa.array(outcomes, pa.binary()), pa.array([state for _, state in found], pa.binary())]
    return pa.RecordBatch.from_arrays(columns, ["outcome", "state"])


def _results(batches: Iterable[Any]) -> Iterator[tuple[Outcome | None, bytes | None]]:
    """The same, back."""
    for batch in batches:
        for outcome, state in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield outcome and pickle.loads(outcome), state


def _reach(address: str) -> None:
    """Raises unless somebody listens there: Spark itself would try for minutes."""
    places = re.match(r"(?:spark|sc)://([^/;]+)", address)
    errors = []
    for place in places[1].split(",") if places else ():
        host, _, port = place.rpartition(":") if ":" in place else (place, "", "15002")
        try:
            socket.create_connection((host.strip("[]"), int(port)), WAIT).close()
            return
        except (OSError, ValueError) as error:
            errors.append(f"{place}: {error}")
    if errors:
        raise InputError("address", f"nobody answers at {'; '.join(errors)}", location="")
