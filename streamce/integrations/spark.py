"""Evaluates metrics of Spark data frames.

Each partition computes a state where its rows are, a few tasks add these states, and the driver adds the results. The
workers need streamce too.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.integrations import engines

if TYPE_CHECKING:
    from typing import Unpack

    from streamce.integrations.engines import Template
    from streamce.metrics.update_from import Columns

MERGE_TASKS = 8  # tasks that add states, which is also the number of states that the driver receives


def evaluate(dataframe: Any, metric: Template, **columns: Unpack[Columns]) -> Template:
    """Return a metric of all rows of a Spark data frame.

    The result is Σ_p state_p over the partitions p. Its bytes are those of one ``update_from`` with all rows. They do
    not depend on the partitions, or on tasks that Spark repeats. Rows reach Python as Arrow batches, through
    ``mapInArrow``.

    Parameters
    ----------
    dataframe : pyspark.sql.DataFrame
        A data frame of Spark 4, classic or Connect.
    metric : metric
        An empty metric, for its options. It is not changed. All metrics but ``Sliding`` over samples can be added.
        Without ``threads`` a task uses one thread.
    preds, target, weight, by, by_time, cluster, n_words, n_bytes
        Columns, as for the metric's ``update_from``. No other columns are read.

    Returns
    -------
    metric
        A new metric.

    Raises
    ------
    InputError
        If a column does not exist, if a row is invalid (the error names the partition and the row in it), if the metric
        has samples or its states cannot be added, or if Spark fails. There is no partial result.

    Examples
    --------
    >>> import streamce as ce, streamce.integrations.spark
    >>> rows = [(0.9, 1), (0.2, 0), (0.6, 1)]
    >>> dataframe = spark.createDataFrame(rows, "p double, clicked int")
    >>> ce.integrations.spark.evaluate(dataframe, ce.BinaryCrossEntropy(), preds="p", target="clicked").compute()
    0.27977656...
    """
    columns = engines.columns(metric, **columns)
    if not (hasattr(dataframe, "mapInArrow") and hasattr(dataframe, "columns")):
        raise InputError("dataframe", f"is {short_repr(dataframe)}", "a Spark data frame")
    with spark_errors():
        wanted = engines.wanted(dataframe.columns, columns)
        # mapInArrow does not support names with dots, so the tasks restore the names.
        selected = dataframe.select(*map(quoted, wanted)).toDF(*(f"column_{i}" for i in range(len(wanted))))

        def states(batches: Iterable[Any]) -> Iterator[Any]:
            named = (batch.rename_columns(wanted) for batch in batches)
            with engines.place_errors(f"partition {partition()}"):
                yield table([engines.partial(metric, named, **columns)])

        def sums(batches: Iterable[Any]) -> Iterator[Any]:
            yield table([engines.merged(itertools.chain([empty], _states(batches)), "state")])

        empty = metric._new().to_bytes()
        merged = selected.mapInArrow(states, "state binary").repartition(MERGE_TASKS).mapInArrow(sums, "state binary")
        # Receive the states one by one, because together they may exceed Spark's limit for results.
        received = (bytes(row[0]) for row in merged.toLocalIterator())
        state = engines.merged(itertools.chain([empty], received), "state")
    return engines.finish(state, metric)


def quoted(name: str) -> str:
    """Return the name of a column, quoted for Spark's expressions."""
    return "`" + name.replace("`", "``") + "`"


def partition() -> int:
    """Return the number of the task's partition."""
    from pyspark import TaskContext

    task = TaskContext.get()
    assert task is not None
    return int(task.partitionId())


def table(states: Sequence[bytes]) -> Any:
    """Return a record batch of states."""
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.array(states, pa.binary())], ["state"])


def _states(batches: Iterable[Any]) -> Iterator[bytes]:
    for batch in batches:
        yield from batch.column(0).to_pylist()


@contextlib.contextmanager
def spark_errors() -> Iterator[None]:
    """Convert an exception of Spark to an InputError of one line, with the text of the InputError in a task, if any."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # The message of Java contains Python's traceback, which ends with the exception.
        if match := re.search(r"^streamce\.errors\.InputError: (.*)$", str(error), re.MULTILINE):
            raise InputError("dataframe", match[1], location="") from None
        raise InputError("dataframe", engines.reason(error), location="") from None
