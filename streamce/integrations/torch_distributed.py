"""States of the processes of a torch.distributed job, added up in all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from streamce.errors import InputError
from streamce.integrations.engines import finish, merged, template

if TYPE_CHECKING:
    from streamce.metrics.mergeable import Additive

    Metric = TypeVar("Metric", bound=Additive)


def all_reduce(metric: Metric, group: Any = None) -> Metric:
    """The sum of the metrics of all ranks of a torch.distributed job, on each of them.

    Σ_r state_r over the ranks r of the group. All of them have to call it, as any collective operation; each gets a
    new metric of equal bytes, whatever the order in which states arrive, and keeps its own as it is. Call it where
    the sum is read, not after each update: it then costs one exchange of states.

    Parameters
    ----------
    metric : any metric that adds up
        That of this rank, empty if it has seen nothing.
    group : ProcessGroup, optional
        As torch.distributed has it; all processes by default. With NCCL states travel through the current CUDA device.

    Returns
    -------
    metric
        With the options of this rank's that change no loss, such as ``threads``.

    Raises
    ------
    InputError
        If there is no job, torch is not installed, or this process is not in the group. On every rank, if any rank's
        metric does not add up (``Sliding`` over samples) or has other options than the others; the rank is named.

    Notes
    -----
    A rank that never calls makes the others wait for the timeout of the group, as with any collective operation; one
    that died is an error of torch's.

    Examples
    --------
    >>> import streamce as ce
    >>> def validate(batches):  # on each rank, which has batches of its own
    ...     metric = ce.BinaryCrossEntropy()
    ...     for preds, target in batches:
    ...         metric.update(preds, target)
    ...     return ce.all_reduce(metric).compute()  # the same number on each rank
    """
    try:
        from torch import distributed
    except ModuleNotFoundError:
        raise InputError("group", "all_reduce needs torch: pip install torch", location="") from None

    if not (distributed.is_available() and distributed.is_initialized()):
        expected = "a process of one: torch.distributed.init_process_group(...) comes first"
        raise InputError("group", "is of no torch.distributed job", expected)
    if distributed.get_rank(group) < 0:
        raise InputError("group", "is one that this process is not in", "one that it is in, or None")
    # What goes wrong on one rank is sent as well: one that raised before the exchange would leave the others waiting.
    mine: bytes | InputError
    try:
        mine = template(metric, empty=False).to_bytes()
    except InputError as error:
        mine = error
    found: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(found, mine, group)
    for rank, sent in enumerate(found):
        if isinstance(sent, InputError):
            raise sent.changed(argument="metric", location=sent.subject).with_place(f"rank {rank}")
    return finish(merged(found, "rank"), metric)
