"""Evaluates a metric with any distributed engine, in three steps.

``partial`` computes the state of one partition. It runs where the data are, and an engine may repeat it. ``merge`` adds
states anywhere, in any order and tree. ``finish`` makes a metric of the sum. States travel as bytes, so the engine
needs to know nothing of metrics.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import TYPE_CHECKING, Any, TypeVar, cast

from streamce._support import threads
from streamce._support.short_repr import short_repr
from streamce.errors import InputError, SelectionError
from streamce.metrics.mergeable import MergeableState
from streamce.metrics.update_from import UpdateFromMixin
from streamce.persistence.restore import from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Unpack

    from streamce.metrics.update_from import Columns

    Template = TypeVar("Template", bound=MergeableState)

MAX_LENGTH = 600  # characters of an engine's message
# The first line of a traceback of Python, or of a task of Ray.
TRACEBACK = r"(?:Traceback \(most recent call last\):|.*ray::.* \(pid=\d+.*)"
HINTS = {
    "No module named 'streamce": "install streamce on the workers too",
    "JAVA_GATEWAY_EXITED": "Spark needs a Java runtime of version 17 or later",
}


def template(metric: Template, *, empty: bool = True) -> Template:
    """Return the metric, or raise InputError if its states cannot be added or, with ``empty``, if it has samples."""
    if not isinstance(metric, MergeableState):
        raise InputError("metric", f"is {short_repr(metric)}", "a metric such as BinaryCrossEntropy()")
    if empty and metric._state.parts():
        raise InputError("metric", "has samples already", "an empty metric, for its options")
    _ = metric._new() + metric._new()  # raises if states cannot be added
    return metric


def columns(metric: Any, **arguments: Unpack[Columns]) -> Columns:
    """Return the arguments of ``update_from`` that are not None, or raise InputError if the metric refuses them."""
    template(metric)
    if not isinstance(metric, UpdateFromMixin):
        raise InputError("metric", f"is a {type(metric).__name__}", "one with update_from")
    metric._new().update_from([], **arguments)
    return cast("Columns", {name: value for name, value in arguments.items() if value is not None})


def wanted(names: Sequence[str], columns: Mapping[str, Any]) -> list[str]:
    """Return the names that the words of columns match, in the order of ``names``."""
    from streamce.reading.columns import select

    matches: set[str] = set()
    for argument, words in columns.items():
        if argument in ("base", "time_unit"):  # which are no columns
            continue
        try:
            matches |= {*select([words] if isinstance(words, str) else words, names)}
        except SelectionError as error:
            raise InputError(argument, error.found, value=words, location="").with_place(argument) from None
    return [name for name in names if name in matches]


def partial(metric: MergeableState, batches: Iterable[Any], **columns: Unpack[Columns]) -> bytes:
    """Return the state of one partition.

    Parameters
    ----------
    metric : MergeableState
        An empty metric, for its options. It is not changed. Without ``threads`` one thread is used, because engines run
        a task per processor.
    batches : iterable
        Any number of tables, frames or record batches, as for ``update_from``.
    **columns
        The arguments of ``update_from``: ``preds``, ``target``, ``weight``, ``by``, ...

    Raises
    ------
    InputError
        As for ``update_from``. Rows are counted from the start of the partition.

    Examples
    --------
    >>> import pyarrow as pa, streamce as ce
    >>> from streamce.integrations import engines
    >>> tables = [pa.table({"p": [0.9, 0.2], "y": [1, 0]}), pa.table({"p": [0.6], "y": [1]})]
    >>> template = ce.BinaryCrossEntropy()
    >>> states = [engines.partial(template, [table], preds="p", target="y") for table in tables]
    >>> engines.finish(engines.merge(*states), template).compute()
    0.27977656...
    """
    partition: Any = metric._new()
    with threads.single_threaded():
        partition.update_from(batches, **columns)
    return bytes(partition.to_bytes())


def merge(*states: bytes) -> bytes:
    """Return the sum of one or more states.

    Raises
    ------
    InputError
        If their metrics have different options, or their groups have keys of different kinds.

    Examples
    --------
    >>> import streamce as ce
    >>> from streamce.integrations import engines
    >>> one, other = ce.MeanLoss().update([1.0]), ce.MeanLoss().update([3.0])
    >>> engines.merge(one.to_bytes(), other.to_bytes()) == (one + other).to_bytes()
    True
    """
    return merged(states, "state")


def merged(states: Iterable[bytes], name: str) -> bytes:
    """Return the sum of an iterable of states. An error names the number of the state that cannot be added."""
    total: MergeableState | None = None
    for number, state in enumerate(states):
        metric = from_bytes(state)
        try:
            if total is None:
                total = metric
            else:
                total += metric
        except InputError as error:
            raise error.with_place(f"{name} {number}") from None
    if total is None:
        raise InputError("states", "is empty", "one or more states")
    return total.to_bytes()


def finish(state: bytes, template: Template) -> Template:
    """Return a metric with this state and all options of the template, including those that change no loss.

    Raises
    ------
    InputError
        If the state belongs to another class of metrics or to other options.

    Examples
    --------
    >>> import streamce as ce
    >>> from streamce.integrations import engines
    >>> engines.finish(ce.MeanLoss().update([1.0, 3.0]).to_bytes(), ce.MeanLoss(threads=1))
    MeanLoss(threads=1)
    """
    metric = template._new()
    metric.load_state_dict({"state": state})
    return metric


# ---- errors ----


def update(metric: Any, *inputs: Any, **others: Any) -> None:
    """Add a batch. If the metric does not take such arguments, raise InputError, where Python raises TypeError."""
    try:
        metric.update(*inputs, **others)
    except TypeError:
        signature = inspect.signature(metric.update)
        try:
            signature.bind(*inputs, **others)
        except TypeError as error:
            found = f"is a {type(metric).__name__}, whose update does not take the batch: {error}"
            raise InputError("metric", found, f"the arguments {', '.join(signature.parameters)}") from None
        raise


@contextlib.contextmanager
def place_errors(place: str) -> Iterator[None]:
    """Add a place to each InputError that is raised in this context."""
    try:
        yield
    except InputError as error:
        raise error.with_place(place) from None


def reason(error: BaseException) -> str:
    """Return an engine's exception in one line. Tracebacks of Python and Java are reduced to their exceptions."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if python := re.search(rf"{TRACEBACK}\n(?:[ \t].*\n)*(\w.*)$", text, re.MULTILINE):
        line = python[1]
    elif java := re.search(r"^: (.*)$", text, re.MULTILINE):
        causes = re.findall(r"^Caused by: (.*)$", text, re.MULTILINE)
        line = "; ".join([java[1], *causes[-1:]])
    hints = [hint for words, hint in HINTS.items() if words in str(error)]
    return "; ".join([line[:MAX_LENGTH], *hints])
