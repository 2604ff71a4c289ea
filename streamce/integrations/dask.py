"""Metrics of Dask collections: a state for each partition, where it is, and a tree of sums.

Dask is imported when it is asked for. The workers need streamce too.
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
from streamce.integrations import engines

if TYPE_CHECKING:
    from streamce.integrations.engines import Template

TOGETHER = 8  # states that are added up in one task


def evaluate(
    collection: Any,
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
    """A metric of all rows of a Dask collection.

    Σ_p state_p over the partitions p: to the byte that of one ``update_from`` with all rows, whatever the partitions,
    and however often a worker died on the way. It runs on the current client's cluster, or else on Dask's default
    scheduler. States are added up in a tree, so no worker ever holds more than a few.

    Parameters
    ----------
    collection : dask.dataframe.DataFrame, dask.bag.Bag or list of Delayed
        A bag holds records (dicts, all of which have the columns; None is a null), or tables and frames; a Delayed is
        of a table or frame.
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
        samples or its states do not add up, a partition cannot be computed, or Dask is not installed. There is no
        partial result.

    Examples
    --------
    >>> import dask.dataframe, pandas as pd, streamce as ce, streamce.integrations.dask
    >>> frame = pd.DataFrame({"p": [0.9, 0.2, 0.6], "clicked": [1, 0, 1]})
    >>> collection = dask.dataframe.from_pandas(frame, npartitions=2)
    >>> ce.integrations.dask.evaluate(collection, ce.BinaryCrossEntropy(), preds="p", target="clicked").compute()
    0.27977656...
    """
    columns = engines.columns(metric, preds=preds, target=target, weight=weight, by=by, by_time=by_time,
                              cluster=cluster, n_words=n_words, n_bytes=n_bytes)  # fmt: skip
    dask = module("dask")
    run = uuid.uuid4().hex
    names, level = [], []
    # A function that holds the metric and the columns: Dask then looks for no collections in them.
    state = dask.delayed(functools.partial(_state, metric, columns), pure=False)
    for number, part in enumerate(_partitions(collection, columns)):
        names.append(f"streamce-partial-{run}-{number}")
        level.append(state(number, part, dask_key_name=names[-1]))
    if not level:
        return metric._empty()
    merge = dask.delayed(engines.merge, pure=False)
    while len(level) > 1:
        level = [merge(*level[i : i + TOGETHER]) for i in range(0, len(level), TOGETHER)]
    return engines.finish(_computed(level[0], names), metric)


def module(name: str) -> Any:
    """A module of Dask."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("dask", "distributed"):
            raise
        raise InputError("collection", "this needs Dask: pip install 'streamce[dask]'", location="") from None


def _partitions(collection: Any, columns: Mapping[str, Any]) -> list[Any]:
    """Delayed partitions of a collection, with the columns that are wanted if it has any."""
    delayed = module("dask.delayed").Delayed  # which has whatever attribute it is asked for
    if isinstance(collection, module("dask.bag").Bag):
        return list(collection.to_delayed())
    if isinstance(collection, Sequence) and all(isinstance(each, delayed) for each in collection):
        return list(collection)
    if hasattr(collection, "to_delayed") and hasattr(collection, "columns") and not isinstance(collection, delayed):
        wanted = engines.wanted([str(name) for name in collection.columns], columns)  # names as Arrow has them
        some = collection[[name for name in collection.columns if str(name) in wanted]]
        # An index would be one more column in Arrow's stream, and of some partitions alone.
        return list(some.reset_index(drop=True).to_delayed())
    expected = "a Dask data frame, a bag or a list of Delayed"
    raise InputError("collection", f"is {short_repr(collection)}", expected)


def _state(metric: Any, columns: Mapping[str, Any], number: int, part: Any) -> bytes:
    """The state of a partition."""
    whole = hasattr(part, "__arrow_c_stream__") or hasattr(part, "__arrow_c_array__")
    with engines.naming(f"partition {number}"):
        return engines.partial(metric, [part] if whole else _tables(part, columns), **columns)


def _tables(items: Any, columns: Mapping[str, Any]) -> Iterator[Any]:
    """The items of a bag as tables: records together, tables as they are."""
    if not isinstance(items, Iterable):
        raise InputError("collection", f"holds {short_repr(items)}", "tables, frames or records")
    for records, some in itertools.groupby(items, lambda item: isinstance(item, Mapping)):
        if records:
            yield _table(list(some), columns)
        else:
            yield from some


def _table(records: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> Any:
    """Records as a table of the columns that are wanted."""
    import pyarrow as pa

    names = [name for name in records[0] if isinstance(name, str)]
    real = engines.wanted(names, {name: columns[name] for name in ("preds", "weight") if name in columns})
    arrays = {}
    for name in engines.wanted(names, columns):
        try:
            array = pa.array([record[name] for record in records])
            if name in real:
                array = array.cast(_real(array.type))
        except KeyError:
            number = next(number for number, record in enumerate(records) if name not in record)
            raise InputError(None, f"has no '{name}'", "one, None for a null", location=f"record {number}") from None
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise InputError(None, f"column '{name}' of the records: {error}", location="") from None
        arrays[name] = array
    return pa.table(arrays)


def _real(type_: Any) -> Any:
    """The type of numbers, or lists of them, as real ones: whether there are fractions hangs on the partition."""
    import pyarrow as pa

    if pa.types.is_list(type_):
        return pa.list_(_real(type_.value_type))
    return pa.float64() if pa.types.is_integer(type_) else type_


def _computed(root: Any, names: Sequence[str]) -> bytes:
    """The state that Dask computes; errors name the partition."""
    client = getattr(module("dask.base").get_scheduler(collections=[root]), "__self__", None)
    if not hasattr(client, "scheduler"):  # but one of Dask's own schedulers
        with clearly():
            return bytes(root.compute())
    assert client is not None
    future = client.compute(root)  # kept, as the cluster then still knows which task failed
    try:
        with clearly(lambda: _failed(client, names)):
            return bytes(future.result())
    finally:  # whoever keeps the error, or a notebook the interrupt, keeps this frame, and the tasks would go on
        future.release()


def _failed(client: Any, names: Sequence[str]) -> str:
    """Which partition failed, as the cluster has it."""
    states = client.sync(client.scheduler.get_task_status, keys=names)
    number = next((number for number, name in enumerate(names) if states.get(name) == "erred"), None)
    return "" if number is None else f"partition {number}"


@contextlib.contextmanager
def clearly(place: Callable[[], str] = str) -> Iterator[None]:
    """Whatever Dask raises as one line, after what ``place`` says of the partition."""
    try:
        yield
    except InputError as error:
        raise error from None
    except Exception as error:
        where = ""
        with contextlib.suppress(Exception):  # of a cluster that is gone
            where = place()
        found = InputError("collection", engines.reason(error), location="")
        raise (found.with_place(where) if where else found) from error
