"""Makes a torchmetrics metric of a metric, for torchmetrics and Lightning.

The state that torchmetrics sees is the array of ``to_limbs()``, so the sums of torchmetrics merge states exactly. An
array is made when torchmetrics reads the state, and not at each update.
"""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from streamce.errors import InputError
from streamce.integrations import engines
from streamce.metrics import limbs

try:
    import torch
    import torchmetrics
    from torchmetrics.utilities.distributed import gather_all_tensors
    from torchmetrics.utilities.exceptions import TorchMetricsUserError
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce.integrations.torchmetrics needs torchmetrics: pip install 'streamce[torchmetrics]'", name=_error.name
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Entries at the end of a state. They depend on the state and on all options, and no sum of them has a meaning.
# MetricCollection lets metrics share a state if their states are equal within 1e-5, and then updates only one of them.
# These entries differ unless states and options are equal.
FINGERPRINT = 4


class ExactMetric(torchmetrics.Metric):
    """A torchmetrics metric with the exact state of a metric of streamce.

    The value is that of ``metric.compute()``. It does not depend on how samples are batched or distributed over ranks.

    Parameters
    ----------
    metric : metric
        An empty metric, for its options. It is not changed. Its state must have a fixed size: groups, windows, tails,
        calibration and positions do not.
    **options
        The options of ``torchmetrics.Metric``, such as ``dist_sync_on_step`` and ``sync_on_compute``.

    Attributes
    ----------
    limbs : tensor of int64
        The state: the limbs of the metric, then 4 entries that tell states apart. Sums of such tensors can be assigned
        to it.

    Raises
    ------
    InputError
        If the state of the metric has no fixed size. While states of ranks are added, on each rank, if ranks have
        metrics with different options.

    Examples
    --------
    >>> import streamce as ce, torch
    >>> from streamce.integrations.torchmetrics import ExactMetric
    >>> metric = ExactMetric(ce.MulticlassCrossEntropy(kind="logits"))
    >>> metric(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))  # the value of this batch
    tensor(0.1269, dtype=torch.float64)
    >>> metric.update(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    >>> metric.compute()
    tensor(0.3778, dtype=torch.float64)
    >>> metric.summary().count
    3
    """

    is_differentiable: bool | None = False
    higher_is_better: bool | None = False
    full_state_update: bool | None = False

    def __init__(self, metric: Any, **options: Any) -> None:
        super().__init__(**options)
        self._metric: Any = engines.template(metric)._new()
        self._arguments = frozenset(inspect.signature(self._metric.update).parameters)
        self._options = repr(self._metric.options).encode()
        empty = self.limbs
        self._shape = empty.shape
        self.add_state("limbs", empty, dist_reduce_fx="sum")

    def extra_repr(self) -> str:
        return repr(self._metric)

    def __hash__(self) -> int:
        """Return a hash of the object. That of torchmetrics depends on the identity of the state's tensor."""
        return hash((type(self).__name__, id(self)))

    # ---- adding and reading ----

    def update(self, *inputs: Any, **named: Any) -> None:
        """Add a batch. The arguments are those of ``update`` of the metric. An invalid batch adds nothing."""
        self._check_cluster(named)
        self._metric.update(*inputs, **named)

    def forward(self, *inputs: Any, **named: Any) -> torch.Tensor:
        """Add a batch, and return its value. An invalid batch adds nothing."""
        if self._is_synced:
            raise TorchMetricsUserError("The state is the sum of all ranks. Call unsync() before forward().")
        self._check_cluster(named)
        batch = self._metric._new()
        batch.update(*inputs, **named)
        running = self._metric
        running += batch  # not self._metric += batch, because assignments to attributes of modules are slow
        self._update_count += 1
        self._computed = None
        self._forward_cache = self._value_on_all_ranks(batch) if self.dist_sync_on_step else self._value(batch)
        return self._forward_cache

    def compute(self) -> torch.Tensor:
        """Return the value as a scalar of float64, on the device of this metric; nan without samples.

        It is the value of all ranks, so all ranks must call it. Devices without float64 get float32.
        """
        return self._value(self._metric)

    @property
    def metric(self) -> Any:
        """A copy of the metric, with the samples of all ranks, for reports, files and other results.

        All ranks must call it, like ``compute``.
        """
        alone = not self._is_synced
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, should_sync=alone and self.sync_on_compute, should_unsync=alone
        ):
            return self._metric.copy()

    def summary(self, level: float = 0.95, anytime: bool = False) -> Any:
        """Return the exact value of all ranks, its interval and counts of anomalies; see ``Metric.summary``.

        All ranks must call it, like ``compute``.
        """
        return self.metric.summary(level, anytime)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw one or several values; see ``torchmetrics.Metric``. Needs matplotlib."""
        return self._plot(val, ax)

    def _value(self, metric: Any) -> torch.Tensor:
        dtype = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        return torch.tensor(metric.compute(), dtype=dtype, device=self.device)

    def _value_on_all_ranks(self, batch: Any) -> torch.Tensor:
        running, self._metric = self._metric, batch
        try:
            with self.sync_context(dist_sync_fn=self.dist_sync_fn):
                return self._value(self._metric)
        finally:
            self._metric = running

    def _check_cluster(self, named: dict[str, Any]) -> None:
        if named.get("cluster") is not None:
            found = "is given, and the state of samples in clusters has no fixed size"
            raise InputError("cluster", found, "no clusters, or ce.all_reduce")

    # ---- the state that torchmetrics sees ----

    @property
    def limbs(self) -> torch.Tensor:
        array = self._metric.to_limbs()
        found = hashlib.sha256(self._options + array.tobytes()).digest()
        fingerprint = np.frombuffer(found[: 4 * FINGERPRINT], dtype="<i4")
        return torch.from_numpy(np.concatenate([array, fingerprint])).to(self.device)

    @limbs.setter
    def limbs(self, value: Any) -> None:
        state = torch.as_tensor(value).detach().cpu()
        if state.shape != self._shape:
            expected = f"{tuple(self._shape)}, as the state of a {type(self._metric).__name__} with these options"
            raise InputError("limbs", f"has shape {tuple(state.shape)}", expected)
        if state.is_floating_point():  # NumPy has no bfloat16
            state = state.double()
        try:
            self._metric.load_limbs(state[:-FINGERPRINT].numpy())
        except InputError as error:
            raise (error.with_argument("limbs") if error.argument == "array" else error) from None
        self._computed = None  # torchmetrics keeps it when states are merged or loaded

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None) -> None:
        """Replace the state by the sum of those of all ranks, or raise the same kind of error on each rank."""
        own = self.limbs
        gathered = [state.cpu() for state in dist_sync_fn(own, group=process_group or self.process_group)]
        own = own.cpu()
        for rank, state in enumerate(gathered):
            if state.shape != own.shape or not torch.equal(state[1 : limbs.HEAD], state[0] * own[1 : limbs.HEAD]):
                found = "has another class or other options than that of this rank"
                raise InputError("metric", found, f"{self._metric!r} on all ranks").with_place(f"rank {rank}")
        self.limbs = torch.stack(gathered).sum(dim=0)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], exclude_state: Sequence[str] = ()) -> torch.nn.Module:
        """Move to another device. The state is left out, because no other dtype can hold it."""
        return super()._apply(fn, ["limbs", *exclude_state])

    def _filter_kwargs(self, **named: Any) -> dict[str, Any]:
        """Return the arguments of a collection that ``update`` of the metric accepts."""
        return {name: value for name, value in named.items() if name in self._arguments}
