"""Adds the states of all processes of a torch.distributed job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from streamce.errors import InputError
from streamce.integrations.engines import finish, merged, template

if TYPE_CHECKING:
    from streamce.metrics.mergeable import MergeableState

    Metric = TypeVar("Metric", bound=MergeableState)


def all_reduce(metric: Metric, group: Any = None) -> Metric:
    """Return the sum of the metrics of all ranks of a torch.distributed job, on each rank.

    The sum is Σ_r state_r over the ranks r of the group. All ranks must call it, like any collective operation. Each
    rank gets a new metric. The bytes are equal on all ranks and do not depend on the order in which states arrive. The
    rank's own metric is not changed. Call it to read the sum, not after each update, because each call exchanges the
    states.

    Parameters
    ----------
    metric : metric
        The metric of this rank. It may be empty. All metrics but ``Sliding`` over samples can be added.
    group : ProcessGroup, optional
        A group of torch.distributed. The default is all processes. With NCCL the states travel through the current CUDA
        device.

    Returns
    -------
    metric
        A metric with the sum and with this rank's options that change no loss, such as ``threads``.

    Raises
    ------
    InputError
        If there is no job, if torch is not installed, or if this process is not in the group. On every rank, if the
        metric of any rank cannot be added or has other options than the others. The error names the rank.

    Notes
    -----
    If a rank never calls this function, the others wait until the timeout of the group, as for any collective
    operation. If a rank has died, torch raises an error.

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
        expected = "a process of a job: call torch.distributed.init_process_group(...) first"
        raise InputError("group", "does not belong to a torch.distributed job", expected)
    if distributed.get_rank(group) < 0:
        raise InputError("group", "does not contain this process", "a group that contains it, or None")
    # An error of one rank is sent too. If the rank raised before the exchange, the others would wait for it.
    message: bytes | InputError
    try:
        message = template(metric, empty=False).to_bytes()
    except InputError as error:
        message = error
    messages: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(messages, message, group)
    for rank, sent in enumerate(messages):
        if isinstance(sent, InputError):
            raise sent.changed(argument="metric", location=sent.subject).with_place(f"rank {rank}")
    return finish(merged(messages, "rank"), metric)
