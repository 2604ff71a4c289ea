"""What runs a metric on many machines is made of: a state per part of the data, their sum, and a metric of it.

``partial`` runs where a part of the data is, as often as an engine tries it; ``merge`` anywhere, in any order and tree;
``finish`` where the result is wanted. States travel as bytes, so an engine needs to know nothing of metrics.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, TypeVar

from streamce._support import threads
from streamce._support.short_repr import short_repr
from streamce.errors import InputError, SelectionError
from streamce.metrics.mergeable import Additive
from streamce.persistence.restore import from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Template = TypeVar("Template", bound=Additive)

MOST = 600  # characters of an engine's message
HINTS = {
    "No module named 'streamce": "streamce has to be installed on the workers too",
    "JAVA_GATEWAY_EXITED": "Spark needs a Java runtime of version 17 or later",
}


def template(metric: Template, *, empty: bool = True) -> Template:
    """The metric, if its states add up and it has none yet."""
    if not isinstance(metric, Additive):
        raise InputError("metric", f"is {short_repr(metric)}", "a metric such as BinaryCrossEntropy()")
    if empty and metric._state.parts():
        raise InputError("metric", "has samples already", "an empty one, for its options alone")
    metric._empty()._merge(metric._empty(), 1)  # raises where there is no sum
    return metric


def columns(metric: Any, **given: Any) -> dict[str, Any]:
    """The arguments of ``update_from`` that are given, if the metric is a template that takes them."""
    template(metric)
    found = {name: value for name, value in given.items() if value is not None}
    if not hasattr(metric, "update_from"):
        raise InputError("metric", f"is a {type(metric).__name__}", "one with update_from")
    metric._empty().update_from([], **found)
    return found


def wanted(names: Sequence[str], columns: Mapping[str, Any]) -> list[str]:
    """Those names that columns stand for, in the order in which they are."""
    from streamce.reading.columns import select

    found: set[str] = set()
    for argument, words in columns.items():
        try:
            found |= {*select([words] if isinstance(words, str) else words, names)}
        except SelectionError as error:
            raise InputError(argument, error.found, value=words, location="").with_place(argument) from None
    return [name for name in names if name in found]


def partial(metric: Additive, batches: Iterable[Any], **columns: Any) -> bytes:
    """The state of one part of the data.

    Parameters
    ----------
    metric : Additive
        For its options; it is left as it is. Without ``threads`` it takes one: engines run a task per processor.
    batches : iterable
        Tables, frames or record batches, as ``update_from`` takes them; there may be none.
    **columns
        The names that ``update_from`` takes: ``preds``, ``target``, ``weight``, ``by``, ...

    Raises
    ------
    InputError
        As ``update_from`` does; rows count from the beginning of the part.
    """
    part: Any = metric._empty()
    with threads.alone():
        part.update_from(batches, **columns)
    return bytes(part.to_bytes())


def merge(*states: bytes) -> bytes:
    """The sum of states, at least one.

    Raises
    ------
    InputError
        If they are of metrics of different options, or of groups with keys of different kinds.
    """
    return merged(states, "state")


def merged(states: Iterable[bytes], name: str) -> bytes:
    """The same of any iterable; what does not add up is named by its number."""
    total: Additive | None = None
    for number, state in enumerate(states):
        found = from_bytes(state)
        try:
            total = found if total is None else total._merge(found, 1)
        except InputError as error:
            raise error.with_place(f"{name} {number}") from None
    if total is None:
        raise InputError("states", "are none", "one or more")
    return total.to_bytes()


def finish(state: bytes, template: Template) -> Template:
    """A metric with the options of the template, also those that change no loss, and this state.

    Raises
    ------
    InputError
        If the state is of another metric or of other options.
    """
    metric = template._empty()
    metric.load_state_dict({"state": state})
    return metric


# ---- what goes wrong ----


@contextlib.contextmanager
def naming(place: str) -> Iterator[None]:
    """Errors about input with the place before them."""
    try:
        yield
    except InputError as error:
        raise error.with_place(place) from None


def reason(error: BaseException) -> str:
    """What an engine raised, in one line: of tracebacks of Python and Java in its message what they are of."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if python := re.search(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*(\w.*)$", text, re.MULTILINE):
        line = python[1]
    elif java := re.search(r"^: (.*)$", text, re.MULTILINE):
        causes = re.findall(r"^Caused by: (.*)$", text, re.MULTILINE)
        line = "; ".join([java[1], *causes[-1:]])
    hints = [hint for found, hint in HINTS.items() if found in str(error)]
    return "; ".join([line[:MOST], *hints])
