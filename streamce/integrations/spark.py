"""Metrics of Spark data frames: a state for each partition, where it is, some sums of these, and their sum here.

Spark is imported by whoever has a data frame of it. The workers need streamce too.
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
    from streamce.integrations.engines import Template

SUMS = 8  # tasks that add states up, and states that come here


def evaluate(
    dataframe: Any,
    metric: Template,
    *,
    preds: str | Sequence[str],
    target: str | Sequence[str] | None = None,
    weight: str | None = None,
    by: str | Sequence[str] | None = None,
    by_time: str | None = None,
    cluster: str | None = None,
    n_words: str | None = None,
    n_bytes: str | None = None,
) -> Template:
    """A metric of all rows of a Spark data frame.

    Σ_p state_p over the partitions p: to the byte that of one ``update_from`` with all rows, whatever the partitions,
    and however often Spark tried one. Rows go to Python as Arrow batches, in ``mapInArrow``; states are added up in a
    few tasks, and then here.

    Parameters
    ----------
    dataframe : pyspark.sql.DataFrame
        Of Spark 4, classic or Connect.
    metric : any metric that adds up
        An empty one, for its options; it is left as it is. Without ``threads`` a task takes one.
    preds, target, weight, by, by_time, cluster, n_words, n_bytes
        Columns, as the metric's ``update_from`` takes them. No others are read.

    Returns
    -------
    metric
        A new one.

    Raises
    ------
    InputError
        If there is no such column, a row is invalid (the error names the partition, and the row in it), the metric has
        samples or its states do not add up, or Spark gives up. There is no partial result.

    Examples
    --------
    >>> import streamce as ce, streamce.integrations.spark
    >>> rows = [(0.9, 1), (0.2, 0), (0.6, 1)]
    >>> dataframe = spark.createDataFrame(rows, "p double, clicked int")
    >>> ce.integrations.spark.evaluate(dataframe, ce.BinaryCrossEntropy(), preds="p", target="clicked").compute()
    0.27977656...
    """
    columns = engines.columns(metric, preds=preds, target=target, weight=weight, by=by, by_time=by_time,
                              cluster=cluster, n_words=n_words, n_bytes=n_bytes)  # fmt: skip
    if not (hasattr(dataframe, "mapInArrow") and hasattr(dataframe, "columns")):
        raise InputError("dataframe", f"is {short_repr(dataframe)}", "a Spark data frame")
    with clearly():
        wanted = engines.wanted(dataframe.columns, columns)
        # mapInArrow cannot do with names that hold dots: they come back where the rows are.
        chosen = dataframe.select(*map(quoted, wanted)).toDF(*(f"column_{i}" for i in range(len(wanted))))

        def states(batches: Iterable[Any]) -> Iterator[Any]:
            named = (batch.rename_columns(wanted) for batch in batches)
            with engines.naming(f"partition {partition()}"):
                yield table([engines.partial(metric, named, **columns)])

        def sums(batches: Iterable[Any]) -> Iterator[Any]:
            yield table([engines.merged(itertools.chain([nothing], _states(batches)), "state")])

        nothing = metric._empty().to_bytes()
        each = chosen.mapInArrow(states, "state binary")
        some = each.repartition(SUMS).mapInArrow(sums, "state binary")
        # One after another: all of them together may be more than what Spark lets come here.
        found = (bytes(row[0]) for row in some.toLocalIterator())
        state = engines.merged(itertools.chain([nothing], found), "state")
    return engines.finish(state, metric)


def quoted(name: str) -> str:
    """The name of a column as Spark's expressions have it, whatever stands in it."""
    return "`" + name.replace("`", "``") + "`"


def partition() -> int:
    """The number of the partition that the task is of."""
    from pyspark import TaskContext

    task = TaskContext.get()
    assert task is not None
    return int(task.partitionId())


def table(states: Sequence[bytes]) -> Any:
    """A record batch of states."""
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.array(states, pa.binary())], ["state"])


def _states(batches: Iterable[Any]) -> Iterator[bytes]:
    for batch in batches:
        yield from batch.column(0).to_pylist()


@contextlib.contextmanager
def clearly() -> Iterator[None]:
    """Whatever Spark raises as one line: the error of the Python code that it ran, or its own."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # Java's page holds Python's traceback, and that ends with what was raised.
        if found := re.search(r"^streamce\.errors\.InputError: (.*)$", str(error), re.MULTILINE):
            raise InputError("dataframe", found[1], location="") from None
        raise InputError("dataframe", engines.reason(error), location="") from None
