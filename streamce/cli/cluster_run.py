"""``streamce eval --engine dask``, ``spark`` or ``ray``: evaluate the partitions of a run on a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import operator
import os
import pickle
import re
import secrets
import socket
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from streamce.cli import partitions
from streamce.cli.config import EvalConfig
from streamce.cli.console import advance, progress_bar
from streamce.cli.partitions import Outcome, Partition
from streamce.errors import DataError, InputError, SelectionError
from streamce.integrations import dask, engines, spark
from streamce.reading.files.sources import Source
from streamce.reading.labels import Labels
from streamce.reading.reader import Reading

STATES_PER_MERGE = 8  # states that one task adds
TIMEOUT = 10  # seconds for a cluster to answer
DEFAULT_PROCESSORS = 16  # assumed of a cluster that has not started yet, or does not say

# Settings of a Ray on this machine that listens on loopback only, whatever the platform, and reports nothing.
RAY_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
}

# A function from partitions to their outcomes and the sum of their states. It reports each outcome once it is known.
Evaluate = Callable[[list[Partition], Callable[[Outcome], None]], tuple[list[Outcome], bytes | None]]


def check(config: EvalConfig, sources: Sequence[Source]) -> None:
    """Raise SelectionError for options and sources that a cluster does not support."""
    engine = f"--engine {config.engine}"
    if config.resume:
        raise SelectionError(f"--resume cannot be combined with {engine}, because engines retry partitions themselves")
    for source in sources:
        if source.format == "pipe":
            raise SelectionError(f"{source.name}: {engine} needs files, and this can be read only once")
        if source.format == "npy":
            raise SelectionError(f"{source.name}: {engine} supports .npz files, but not .npy files")


def run(
    config: EvalConfig, sources: Sequence[Source], reading: Reading, metric: Any, labels: Labels | None
) -> list[Outcome]:
    """Evaluate all sources on a cluster into an empty metric, and return the outcomes in the order of the rows."""
    connect = {"dask": _dask, "spark": _spark, "ray": _ray}[config.engine]
    try:
        with connect(config.address) as (processors, evaluate), progress_bar(0) as bar:
            width = partitions.read_first_rows(config, reading, labels)
            classes = labels.classes if labels else None
            work = partitions.split(config, sources, processors, width, classes)
            rows, done = 0, 0

            def report(outcome: Outcome) -> None:
                nonlocal rows, done
                rows, done = rows + outcome.rows, done + 1
                advance(bar, rows, outcome.rows, done / len(work))

            outcomes, state = evaluate(work, report)
            partitions.raise_first_error(work, outcomes)
            metric.load_state_dict({"state": state})
            return sorted(outcomes, key=lambda each: each.number)
    except InputError as error:
        raise DataError(str(error)).with_place(f"--engine {config.engine}") from error


@contextlib.contextmanager
def _dask(address: str | None) -> Iterator[tuple[int, Evaluate]]:
    """Connect to Dask. The context is the number of processors and the function that evaluates partitions."""
    try:
        distributed = dask.module("distributed")
    except InputError as error:
        raise SelectionError(str(error)).with_place("--engine dask") from error
    with contextlib.ExitStack() as stack:
        with dask.dask_errors():
            if address is None:  # processes of this machine, which listen on loopback alone
                local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
                # Silenced, because Ctrl-C goes to the workers as well, and they would print tracebacks.
                with _silenced():
                    cluster = distributed.LocalCluster(threads_per_worker=1, silence_logs=logging.CRITICAL, **local)
                    address = stack.enter_context(cluster).scheduler_address
            asyncio.run(_check_scheduler(distributed, address))
            client = stack.enter_context(distributed.Client(address, timeout=TIMEOUT))
            processors = sum(client.nthreads().values()) or DEFAULT_PROCESSORS

        def evaluate(work: list[Partition], report: Callable[[Outcome], None]) -> tuple[list[Outcome], bytes | None]:
            results = client.map(partitions.evaluate, work, pure=False)
            outcomes = client.map(operator.itemgetter(0), results, pure=False)
            sums = client.map(partitions.merge, [[result] for result in results], pure=False)
            while len(sums) > 1:
                batches = [sums[i : i + STATES_PER_MERGE] for i in range(0, len(sums), STATES_PER_MERGE)]
                sums = client.map(partitions.merge_merged, batches, pure=False)
            del results  # so that the cluster frees them once they are merged

            def failed_source() -> str:
                failed = (each for each, future in zip(work, outcomes, strict=True) if future.status == "error")
                return "".join(f"{each.sources[each.start.source].name}: " for each in itertools.islice(failed, 1))

            with dask.dask_errors(failed_source):
                for future in distributed.as_completed(outcomes):
                    outcome = future.result()
                    report(outcome)
                    if outcome.error is not None:  # wait for earlier partitions, which may have the first error
                        for later in (*sums, *outcomes[outcome.number + 1 :]):
                            later.release()
                        return client.gather(outcomes[: outcome.number + 1]), None
                merged: tuple[list[Outcome], bytes | None] = sums[0].result()
                return merged

        yield processors, evaluate


async def _check_scheduler(distributed: Any, address: str) -> None:
    """Raise InputError unless a scheduler answers at the address. Without this, a client would wait for ever."""
    security = distributed.Security().get_connection_args("client")
    try:
        async with asyncio.timeout(2 * TIMEOUT):  # half of it to connect
            (await distributed.comm.connect(address, timeout=TIMEOUT, **security)).abort()
    except TimeoutError:
        raise InputError("address", f"no scheduler answers at {address}", location="") from None


@contextlib.contextmanager
def _spark(address: str | None) -> Iterator[tuple[int, Evaluate]]:
    """Connect to Spark. The context is the same as for Dask."""
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
        _check_listening(address)
        with spark.spark_errors():
            session = SparkSession.getActiveSession()
            if session is None:
                with _silenced():
                    session = _start_session(SparkSession.builder.appName("streamce eval"), address)
                stack.callback(session.stop)
            is_remote = address.startswith("sc://")
            processors = DEFAULT_PROCESSORS if is_remote else int(session.sparkContext.defaultParallelism)

        def evaluate(work: list[Partition], report: Callable[[Outcome], None]) -> tuple[list[Outcome], bytes | None]:
            def evaluate_numbers(batches: Iterable[Any]) -> Iterator[Any]:
                for batch in batches:
                    for number in batch.column(0).to_pylist():
                        yield _to_arrow([partitions.evaluate(work[number])])

            def merge(batches: Iterable[Any]) -> Iterator[Any]:
                outcomes, state = partitions.merge(_from_arrow(batches))
                yield _to_arrow([*((outcome, None) for outcome in outcomes), (None, state)])

            schema = "outcome binary, state binary"
            with spark.spark_errors():
                # toLocalIterator runs one job per task of the last stage. Evaluation comes before a shuffle, so that
                # it is one job.
                frame = session.range(0, len(work), 1, len(work)).mapInArrow(evaluate_numbers, schema)
                frame = frame.repartition(min(STATES_PER_MERGE, len(work))).mapInArrow(merge, schema)
                rows = ((row[0] and pickle.loads(row[0]), row[1] and bytes(row[1])) for row in frame.toLocalIterator())
                outcomes, state = partitions.merge(rows)
            for outcome in outcomes:
                report(outcome)
            return outcomes, state

        yield processors, evaluate


def _start_session(builder: Any, address: str) -> Any:
    """Start a session of Spark that listens on as few addresses as possible."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if address.startswith("sc://"):
        return builder.remote(address).getOrCreate()
    options = {"spark.ui.enabled": "false"}
    if address.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        options |= {"spark.driver.bindAddress": "127.0.0.1", "spark.log.level": "OFF"}
        options |= {"spark.ui.showConsoleProgress": "false"}
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder.master(address).getOrCreate()


@contextlib.contextmanager
def _ray(address: str | None) -> Iterator[tuple[int, Evaluate]]:
    """Connect to Ray. The context is the same as for Dask."""
    if address is not None and not re.fullmatch(r"auto|(ray://)?[^/]+:\d+", address):
        raise SelectionError(f"--address {address}: expected HOST:PORT, ray://HOST:PORT or auto")
    if address is None:
        for name, value in RAY_SETTINGS.items():  # Ray reads some of them when it is imported
            os.environ.setdefault(name, value)
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex())  # without one, Ray would write one to a file
    try:
        import ray

        from streamce.integrations.ray import ray_errors
    except ModuleNotFoundError:
        raise SelectionError("--engine ray: this needs Ray: pip install 'streamce[ray]'") from None
    with contextlib.ExitStack() as stack:
        if address and address != "auto":
            _check_listening(address)
        with ray_errors():
            if not ray.is_initialized():
                local: dict[str, Any] = {} if address else {"include_dashboard": False}
                quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
                with _silenced():
                    ray.init(address or "local", **quiet, **local)
                stack.callback(ray.shutdown)
            processors = int(ray.cluster_resources().get("CPU", DEFAULT_PROCESSORS))

        def evaluate(work: list[Partition], report: Callable[[Outcome], None]) -> tuple[list[Outcome], bytes | None]:
            evaluate_one = ray.remote(num_returns=2)(_evaluate_for_ray)
            merge = ray.remote(_merge_for_ray)
            results = [evaluate_one.remote(each) for each in work]
            sums = [sum_ for _, sum_ in results]
            while len(sums) > 1:
                sums = [merge.remote(*sums[i : i + STATES_PER_MERGE]) for i in range(0, len(sums), STATES_PER_MERGE)]
            outcomes: list[Outcome] = []
            for each, (outcome, _) in zip(work, results, strict=True):  # in order, because the first error counts
                with engines.place_errors(each.sources[each.start.source].name), ray_errors():
                    outcomes.append(ray.get(outcome))
                report(outcomes[-1])
                if outcomes[-1].error is not None:
                    for later, _ in results[len(outcomes) :]:
                        ray.cancel(later)
                    return outcomes, None
            del results  # so that the cluster frees the states once they are merged
            with ray_errors():
                merged: tuple[list[Outcome], bytes | None] = ray.get(sums[0])
                return merged

        yield processors, evaluate


def _evaluate_for_ray(partition: Partition) -> tuple[Outcome, tuple[list[Outcome], bytes | None]]:
    """Return the outcome of a partition, and outcome and state as a result of ``partitions.merge``."""
    result = partitions.evaluate(partition)
    return result[0], partitions.merge([result])


def _merge_for_ray(*results: tuple[list[Outcome], bytes | None]) -> tuple[list[Outcome], bytes | None]:
    """Merge results that are arguments, because Ray fetches only these."""
    return partitions.merge_merged(results)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Discard the standard error of processes that are started in this context, such as Java's start messages."""
    with open(os.devnull, "wb") as null:
        try:
            saved = os.dup(2)
        except OSError:  # closed by the caller
            yield
            return
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _to_arrow(results: Sequence[tuple[Outcome | None, bytes | None]]) -> Any:
    """Return outcomes and states as a record batch."""
    outcomes = [outcome and pickle.dumps(outcome) for outcome, _ in results]
    columns = [pa.array(outcomes, pa.binary()), pa.array([state for _, state in results], pa.binary())]
    return pa.RecordBatch.from_arrays(columns, ["outcome", "state"])


def _from_arrow(batches: Iterable[Any]) -> Iterator[tuple[Outcome | None, bytes | None]]:
    """Yield the outcomes and states that ``_to_arrow`` wrote."""
    for batch in batches:
        for outcome, state in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield outcome and pickle.loads(outcome), state


def _check_listening(address: str) -> None:
    """Raise InputError unless a server listens at the address. Spark and Ray would try for minutes."""
    hosts = re.match(r"(?:(?:spark|sc|ray)://|(?=[^/]+:\d+$))([^/;]+)", address)
    errors = []
    for each in hosts[1].split(",") if hosts else ():
        host, _, port = each.rpartition(":") if ":" in each else (each, "", "15002")
        try:
            socket.create_connection((host.strip("[]"), int(port)), TIMEOUT).close()
            return
        except (OSError, ValueError) as error:
            errors.append(f"{each}: {error}")
    if errors:
        raise InputError("address", f"no server answers at {'; '.join(errors)}", location="")
