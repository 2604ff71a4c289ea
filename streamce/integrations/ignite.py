"""A metric for ignite: the exact mean loss of an epoch, on any number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.integrations import engines
from streamce.integrations.torch_distributed import all_reduce

try:
    import ignite.distributed as idist
    import torch
    from ignite.metrics.metric import Metric as IgniteMetric
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce.integrations.ignite needs pytorch-ignite: pip install 'streamce[ignite]'", name=_error.name
    ) from None

if TYPE_CHECKING:
    from streamce.stats.summary import Summary

ARGUMENTS = {"preds": "y_pred", "target": "y"}
OUTPUT = "(y_pred, y), or (y_pred, y, other arguments of update by name)"


class ExactLoss(IgniteMetric):
    """A metric of streamce in an engine of ignite, in place of ``ignite.metrics.Loss``.

    Each iteration adds a batch. At the end of the epoch the states of all ranks are added, and the value of the sum is
    in ``engine.state.metrics``.

    Parameters
    ----------
    metric : metric
        An empty metric, for its options. All metrics but ``Sliding`` over samples can be used.
    output_transform : callable
        Turns the output of the engine into ``(y_pred, y)``, into ``(y_pred, y, others)`` where ``others`` holds further
        arguments of the metric's ``update`` by name, or into a mapping with ``y_pred`` and ``y``. Other keys of a
        mapping are not used.
    skip_unrolling : bool
        As for each metric of ignite: whether lists are given to ``update`` as they are.

    Raises
    ------
    InputError
        If ``metric`` is not an empty metric, or its states cannot be added.

    Examples
    --------
    >>> import streamce as ce, torch
    >>> from ignite.engine import Engine
    >>> from streamce.integrations.ignite import ExactLoss
    >>> evaluator = Engine(lambda engine, batch: batch)
    >>> ExactLoss(ce.MulticlassCrossEntropy(kind="logits")).attach(evaluator, "exact_loss")
    >>> batch = torch.zeros(2, 4), torch.tensor([1, 3])
    >>> evaluator.run([batch]).metrics["exact_loss"]
    1.3862943611198906
    """

    required_output_keys: tuple[str, ...] | None = ("y_pred", "y")

    def __init__(
        self, metric: Any, output_transform: Callable[[Any], Any] = lambda output: output, skip_unrolling: bool = False
    ) -> None:
        self._own = engines.template(metric).copy()
        super().__init__(output_transform, skip_unrolling=skip_unrolling)

    def reset(self) -> None:
        """Remove all samples."""
        self._own.reset()
        self._sum: Any = None

    def update(self, output: Any) -> None:
        """Add a batch."""
        if not isinstance(output, (tuple, list)) or len(output) not in (2, 3):
            raise InputError("output", f"is {short_repr(output)}", OUTPUT, value=output)
        y_pred, y, *rest = output
        others = rest[0] if rest else {}
        if not isinstance(others, Mapping):
            found = f"is {short_repr(others)}"
            raise InputError("output", found, "other arguments of update by name", index=(2,), value=others)
        try:
            engines.update(self._own, y_pred, y, **others)
        except InputError as error:
            raise error.with_argument(ARGUMENTS.get(str(error.argument), error.argument)) from None
        self._sum = None

    def compute(self) -> float:
        """Return the value of the samples of all ranks; nan without samples. All ranks must call it."""
        value: float = self._whole().compute()
        return value

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary of the samples of all ranks.

        The first call after an update exchanges the states, like :meth:`compute`. Later calls need no other rank.
        """
        found: Summary = self._whole().summary(level, anytime)
        return found

    @property
    def metric(self) -> Any:
        """A copy of the metric, with the samples of all ranks. It exchanges the states as :meth:`summary` does."""
        return self._whole().copy()

    def _whole(self) -> Any:
        """Return the sum of the metrics of all ranks."""
        if self._sum is None:
            self._sum = all_reduce(self._own) if idist.get_world_size() > 1 else self._own.copy()
        return self._sum

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all ranks as a tensor of bytes, for a checkpoint. All ranks must call it."""
        return {"state": torch.from_numpy(np.frombuffer(self._whole().to_bytes(), np.uint8).copy())}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Replace the state on all ranks by a saved one, of which the first rank takes the samples.

        The number of ranks may be another one than that of the job that saved it.

        Raises
        ------
        InputError
            If the state is damaged, or belongs to another class or other options. The old state stays then.
        """
        state = state_dict.get("state") if isinstance(state_dict, Mapping) else None
        if not isinstance(state, torch.Tensor):
            raise InputError("state_dict", f"is {short_repr(state_dict)}", "the result of state_dict()")
        self._own.load_state_dict({"state": state.cpu().numpy().tobytes()})
        if idist.get_rank() > 0:
            self._own.reset()
        self._sum = None
