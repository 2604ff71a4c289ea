"""Evaluates metrics of Dask collections.

Each partition computes a state where its rows are, and a tree of tasks adds these states. The workers need streamce
too.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.integrations import engines, record_tables

if TYPE_CHECKING:
    from typing import Unpack

    from streamce.integrations.engines import Template
    from streamce.metrics.update_from import Columns

STATES_PER_MERGE = 8  # states that one task adds


def evaluate(collection: Any, metric: Template, **columns: Unpack[Columns]) -> Template:
    """Return a metric of all rows of a Dask collection.

    The result is Σ_p state_p over the partitions p. Its bytes are those of one ``update_from`` with all rows. They do
    not depend on the partitions, or on workers that die. It runs on the cluster of the current client, or else on
    Dask's default scheduler. States are added in a tree, so a worker holds only a few of them.

    Parameters
    ----------
    collection : dask.dataframe.DataFrame, dask.bag.Bag or list of Delayed
        A bag holds tables, frames or records. A record is a dict with all columns; None in it is a null. A Delayed
        holds a table or frame.
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
        has samples or its states cannot be added, if a partition cannot be computed, or if Dask is not installed. There
        is no partial result.

    Examples
    --------
    >>> import dask.dataframe, pandas as pd, streamce as ce, streamce.integrations.dask
    >>> frame = pd.DataFrame({"p": [0.9, 0.2, 0.6], "clicked": [1, 0, 1]})
    >>> collection = dask.dataframe.from_pandas(frame, npartitions=2)
    >>> ce.integrations.dask.evaluate(collection, ce.BinaryCrossEntropy(), preds="p", target="clicked").compute()
    0.27977656...
    """
    columns = engines.columns(metric, **columns)
    dask = module("dask")
    run = uuid.uuid4().hex
    names, level = [], []
    # The function holds the metric and the columns, because Dask would search arguments for collections.
    state = dask.delayed(functools.partial(_state, metric, columns), pure=False)
    for number, part in enumerate(_partitions(collection, columns)):
        names.append(f"streamce-partial-{run}-{number}")
        level.append(state(number, part, dask_key_name=names[-1]))
    if not level:
        return metric._new()
    merge = dask.delayed(engines.merge, pure=False)
    while len(level) > 1:
        level = [merge(*level[i : i + STATES_PER_MERGE]) for i in range(0, len(level), STATES_PER_MERGE)]
    return engines.finish(_computed(level[0], names), metric)


def module(name: str) -> Any:
    """Import a module of Dask."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("dask", "distributed"):
            raise
        raise InputError("collection", "this needs Dask: pip install 'streamce[dask]'", location="") from None


def _partitions(collection: Any, columns: Mapping[str, Any]) -> list[Any]:
    """Return the partitions of a collection as Delayed objects, with the selected columns if it has columns."""
    delayed = module("dask.delayed").Delayed  # hasattr is always true for it
    if isinstance(collection, module("dask.bag").Bag):
        return list(collection.to_delayed())
    if isinstance(collection, Sequence) and all(isinstance(each, delayed) for each in collection):
        return list(collection)
    if hasattr(collection, "to_delayed") and hasattr(collection, "columns") and not isinstance(collection, delayed):
        wanted = engines.wanted([str(name) for name in collection.columns], columns)  # names as Arrow has them
        selected = collection[[name for name in collection.columns if str(name) in wanted]]
        # Drop the index, because it would be another column of the Arrow stream in some partitions only.
        return list(selected.reset_index(drop=True).to_delayed())
    expected = "a Dask data frame, a bag or a list of Delayed"
    raise InputError("collection", f"is {short_repr(collection)}", expected)


def _state(metric: Any, columns: Columns, number: int, part: Any) -> bytes:
    """Return the state of a partition."""
    with engines.place_errors(f"partition {number}"):
        return engines.partial(metric, [part] if record_tables.is_table(part) else _tables(part, columns), **columns)


def _tables(items: Any, columns: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the items of a bag as tables. Consecutive records become one table."""
    if not isinstance(items, Iterable):
        raise InputError("collection", f"holds {short_repr(items)}", "tables, frames or records")
    for are_records, run in itertools.groupby(items, lambda item: isinstance(item, Mapping)):
        if are_records:
            yield record_tables.table(list(run), columns)
        else:
            yield from run


def _computed(root: Any, names: Sequence[str]) -> bytes:
    """Return the state that Dask computes. Errors name the partition."""
    client = getattr(module("dask.base").get_scheduler(collections=[root]), "__self__", None)
    if not hasattr(client, "scheduler"):  # one of Dask's own schedulers
        with dask_errors():
            return bytes(root.compute())
    assert client is not None
    future = client.compute(root)  # while the future exists, the cluster knows which task failed
    try:
        with dask_errors(lambda: _failed(client, names)):
            return bytes(future.result())
    finally:  # a stored exception keeps this frame alive, and with it the future and its tasks
        future.release()


def _failed(client: Any, names: Sequence[str]) -> str:
    """Return the name of the partition that failed, according to the cluster."""
    states = client.sync(client.scheduler.get_task_status, keys=names)
    number = next((number for number, name in enumerate(names) if states.get(name) == "erred"), None)
    return "" if number is None else f"partition {number}"


@contextlib.contextmanager
def dask_errors(place: Callable[[], str] = str) -> Iterator[None]:
    """Convert an exception of Dask to an InputError of one line that begins with the place that ``place`` returns."""
    try:
        yield
    except InputError as error:
        raise error from None
    except Exception as error:
        partition = ""
        with contextlib.suppress(Exception):  # the cluster may be gone
            partition = place()
        clear = InputError("collection", engines.reason(error), location="")
        raise (clear.with_place(partition) if partition else clear) from error
