"""What runs a metric on many machines is made of: a state per part of the data, their sum, and a metric of it.

``partial`` runs where a part of the data is, as often as an engine tries it; ``merge`` anywhere, in any order and tree;
``finish`` where the result is wanted. States travel as bytes, so an engine needs to know nothing of metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from streamce import inputs, threads
from streamce.additive import Additive
from streamce.errors import InputError
from streamce.restore import from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    Template = TypeVar("Template", bound=Additive)


def template(metric: Template, *, empty: bool = True) -> Template:
    """The metric, if its states add up and it has none yet."""
    if not isinstance(metric, Additive):
        raise inputs.fault("metric", f"is {inputs.show(metric)}", "a metric such as BinaryCrossEntropy()")
    if empty and metric._state.parts():
        raise inputs.fault("metric", "has samples already", "an empty one, for its options alone")
    metric._empty()._merge(metric._empty(), 1)  # raises where there is no sum
    return metric


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
        for batch in batches:
            part.update_from(batch, **columns)
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
            raise InputError(f"{name} {number}: {error}", argument=error.argument) from None
    if total is None:
        raise inputs.fault("states", "are none", "one or more")
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
