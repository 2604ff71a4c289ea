"""Evaluates metrics of Ray datasets.

Each block of a dataset becomes a state where its rows are, tasks add several of these states at a time, and the driver
adds the results as they arrive. ``MetricState`` computes states inside Ray's own aggregations, such as those of groups.
The workers need streamce too.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import pickle
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.integrations import engines

try:
    import ray.data
    from ray.data.aggregate import AggregateFn
    from ray.data.block import BlockAccessor
    from ray.exceptions import RayTaskError
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce.integrations.ray needs Ray Data: pip install 'streamce[ray]'", name=_error.name
    ) from None

try:  # the only part of Ray Data that knows the number of a task is private
    from ray.data._internal.execution.interfaces.task_context import TaskContext
except ImportError:
    TaskContext = None

if TYPE_CHECKING:
    from typing import Unpack

    from streamce.integrations.engines import Template
    from streamce.metrics.update_from import Columns

STATES_PER_MERGE = 8  # states that one task adds
MERGE_CPUS = 0.5  # another number than that of the tasks before, because Ray would fuse them into one
ROWS = "streamce: rows of earlier blocks"  # a key for the memory of a task


def evaluate(dataset: Any, metric: Template, **columns: Unpack[Columns]) -> Template:
    """Return a metric of all rows of a Ray dataset.

    The result is Σ_b state_b over the blocks b. Its bytes are those of one ``update_from`` with all rows. They do not
    depend on the blocks, or on tasks that Ray repeats. The dataset is streamed: no more blocks are in memory than for
    any other ``map_batches``.

    Parameters
    ----------
    dataset : ray.data.Dataset
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
        If a column does not exist, if a row is invalid (the error names the partition, which is a task of Ray, and the
        row in it), if the metric has samples or its states cannot be added, or if Ray fails. There is no partial
        result.

    Examples
    --------
    >>> import pandas as pd, ray, streamce as ce, streamce.integrations.ray
    >>> frame = pd.DataFrame({"p": [0.9, 0.2, 0.6], "clicked": [1, 0, 1]})
    >>> dataset = ray.data.from_pandas(frame)
    >>> ce.integrations.ray.evaluate(dataset, ce.BinaryCrossEntropy(), preds="p", target="clicked").compute()
    0.27977656...
    """
    columns = engines.columns(metric, **columns)
    if not isinstance(dataset, ray.data.Dataset):
        raise InputError("dataset", f"is {short_repr(dataset)}", "a Ray dataset")
    empty = metric._new().to_bytes()
    with ray_errors():
        names = dataset.columns()
        if names is None:  # there are no rows
            return metric._new()
        rows = dataset.select_columns(engines.wanted(names, columns))
        function = functools.partial(_state, metric, columns)
        states = rows.map_batches(function, batch_size=None, batch_format="pyarrow", zero_copy_batch=True)
        merge = functools.partial(_merged, empty)
        sums = states.map_batches(merge, batch_size=STATES_PER_MERGE, batch_format="pyarrow", num_cpus=MERGE_CPUS)
        with contextlib.closing(iter(sums.iter_batches(batch_size=None, batch_format="pyarrow"))) as batches:
            received = itertools.chain.from_iterable(map(_states, batches))
            state = engines.merged(itertools.chain([empty], received), "state")
    return engines.finish(state, metric)


def _state(metric: Any, columns: Columns, block: Any) -> dict[str, list[bytes | None]]:
    """Return the state of a block, or the error about it.

    The error is data, because Ray would print a page about an exception, and keep only its text.
    """
    try:
        with engines.place_errors(_place(len(block))):
            table = [block] if len(block) else []  # Ray's empty blocks may have no columns
            return {"state": [engines.partial(metric, table, **columns)], "error": [None]}
    except InputError as error:
        return {"state": [None], "error": [pickle.dumps(error)]}


def _place(n_rows: int) -> str:
    """Return the place of a block with this many rows, which must be the next one of its task."""
    context = TaskContext and TaskContext.get_current()
    if context is None:
        return "a partition"
    row = context.kwargs.get(ROWS, 0)
    context.kwargs[ROWS] = row + n_rows
    return f"partition {context.task_idx}" + (f": block from row {row}" if row else "")


def _merged(empty: bytes, batch: Any) -> dict[str, list[bytes | None]]:
    """Return the sum of a batch of states, or the first error in it."""
    try:
        return {"state": [engines.merged(itertools.chain([empty], _states(batch)), "state")], "error": [None]}
    except InputError as error:
        return {"state": [None], "error": [pickle.dumps(error)]}


def _states(batch: Any) -> Iterator[bytes]:
    """Yield the states of a batch, and raise the first error in it."""
    for state, error in zip(batch["state"], batch["error"], strict=True):
        if error.is_valid:
            raise pickle.loads(error.as_py())
        yield state.as_py()


class MetricState(AggregateFn):
    """The state of a metric, for ``Dataset.aggregate`` and ``GroupedData.aggregate``.

    The result is a column of bytes, of which ``engines.finish`` makes metrics and ``engines.merge`` makes sums. The
    bytes are those of one ``update_from`` with the rows of the group.

    Parameters
    ----------
    metric : metric
        An empty metric, for its options, as for :func:`evaluate`.
    alias_name : str
        The name of the column.
    preds, target, weight, by, by_time, cluster, n_words, n_bytes
        Columns, as for the metric's ``update_from``.

    Raises
    ------
    InputError
        If the metric has samples, its states cannot be added, or it does not take these arguments. For an invalid row,
        Ray raises a ``RayTaskError`` that is an ``InputError`` too.

    Notes
    -----
    The base class is not ``AggregateFnV2``, because Ray keeps only the keys and one column for such aggregations.

    Examples
    --------
    >>> import pandas as pd, ray, streamce as ce
    >>> from streamce.integrations import engines
    >>> from streamce.integrations.ray import MetricState
    >>> frame = pd.DataFrame({"p": [0.9, 0.2, 0.6], "clicked": [1, 0, 1], "country": ["at", "at", "be"]})
    >>> template = ce.BinaryCrossEntropy()
    >>> groups = ray.data.from_pandas(frame).groupby("country")
    >>> rows = groups.aggregate(MetricState(template, preds="p", target="clicked")).take_all()
    >>> sorted((row["country"], engines.finish(row["state"], template).compute()) for row in rows)
    [('at', 0.164252...), ('be', 0.510825...)]
    """

    def __init__(self, metric: Any, *, alias_name: str = "state", **columns: Unpack[Columns]) -> None:
        columns = engines.columns(metric, **columns)
        empty = metric._new().to_bytes()

        def accumulate(state: bytes, block: Any) -> bytes:
            table = BlockAccessor.for_block(block).to_arrow()  # a block may be a pandas frame
            return engines.merge(state, engines.partial(metric, [table], **columns))

        super().__init__(lambda key: empty, engines.merge, alias_name, accumulate_block=accumulate)


@contextlib.contextmanager
def ray_errors() -> Iterator[None]:
    """Convert an exception of Ray to an InputError of one line, with the InputError of a task, if any."""
    try:
        yield
    except Exception as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, InputError):
            raise cause from None
        raise InputError("dataset", engines.reason(error), location="") from error
