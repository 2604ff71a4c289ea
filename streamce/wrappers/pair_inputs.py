"""Reads the inputs of two models, and computes the samples of both.

A loss that does not count for one model counts for neither, so a model is run again if that changes its sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamce.core.ledger.state import State
from streamce.core.samples import pairs
from streamce.errors import InputError
from streamce.inputs import arrays, class_names, messages
from streamce.keys import cluster_buckets

if TYPE_CHECKING:
    from streamce.core.samples.routes import Routes
    from streamce.core.samples.samples import Samples
    from streamce.inputs.arrays import Array
    from streamce.metrics.base import Metric

MODELS = ("a", "b")


class PairInputs(NamedTuple):
    """The inputs of one update, converted, so that they can be read several times."""

    preds: dict[str, Any]  # by model
    target: Any
    weight: Any
    buckets: cluster_buckets.Buckets | None
    others: dict[str, Any]

    @property
    def bucket(self) -> Array | None:
        """The bucket of each sample's cluster, if there are clusters."""
        return None if self.buckets is None else self.buckets.numbers


def read(
    metric: Metric, both: tuple[Any, Any], target: Any, weight: Any, cluster: Any, others: dict[str, Any]
) -> PairInputs:
    """Return the inputs of an update. Raise InputError if the predictions of both models have different shapes."""
    if metric._task == "mean" and target is not None:
        raise InputError("target", "is given", "none, because MeanLoss takes the losses of A and B")
    buckets = cluster_buckets.to_buckets(cluster)
    argument = _argument(metric)
    preds, shapes = {}, {}
    for model, source in zip(MODELS, both, strict=True):
        try:
            preds[model], shapes[model] = arrays.convert_with_shape(source, argument)
        except InputError as error:
            raise _model_error(error, argument, model) from None
    if metric._task in ("binary", "mean"):
        differ = arrays.without_unit_axes(shapes["a"]) != arrays.without_unit_axes(shapes["b"])
    else:
        differ = shapes["a"] != shapes["b"]
    if differ:
        raise InputError(
            f"{argument}_b", f"has shape {shapes['b']}", f"{shapes['a']}, as {argument}_a has", value=shapes["b"]
        )
    target, weight = class_names.materialize_target(target), arrays.materialize(weight, "weight")
    return PairInputs(preds, target, weight, buckets, arrays.materialize_others(others))


def run(metric: Metric, inputs: PairInputs, model: str, state: State | None = None, **more: Any) -> Samples:
    """Add the losses of a model to a state, and return its samples. ``more`` has outputs, and statuses as ``null``."""
    others = inputs.others | more if more else inputs.others
    state = State() if state is None else state
    try:
        return metric._run_returning_samples(state, inputs.preds[model], inputs.target, weight=inputs.weight, **others)
    except InputError as error:
        raise _model_error(error, _argument(metric), model) from None


def samples_of(metric: Metric, inputs: PairInputs) -> tuple[Samples, Samples]:
    """Return the samples of both models."""
    found = {model: run(metric, inputs, model) for model in MODELS}
    check_clusters(inputs, found["a"])
    if (statuses := pairs.joint_statuses(found["a"], found["b"], False)) is not None:
        null = np.frombuffer(statuses, dtype=np.uint8)
        found = {model: run(metric, inputs, model, null=null) for model in MODELS}
    return found["a"], found["b"]


def check_clusters(inputs: PairInputs, samples: Samples) -> None:
    """Raise InputError unless each sample has a cluster, if there are clusters."""
    if inputs.buckets is not None and inputs.buckets.numbers.size != samples.samples:
        raise messages.key_length("cluster", inputs.buckets.numbers.size, samples.samples)


class ModelSums:
    """All sums that a metric keeps of one model's losses: a state for each code of routes, or one state."""

    def __init__(self, metric: Metric, inputs: PairInputs, model: str, routes: Routes | None, **more: Any) -> None:
        """``more`` has ``losses`` and ``minus`` of ``Outputs``, and statuses as ``null``."""
        self._routes, self._state = None if routes is None else routes.fresh(), State()
        if self._routes is not None:
            more["routes"] = self._routes
        self.samples: Samples = run(metric, inputs, model, self._state, cluster=inputs.buckets, **more)

    def states(self) -> list[State]:
        return [self._state] if self._routes is None else self._routes.filled()


def sums_of_models(
    metric: Metric, inputs: PairInputs, routes: Routes | None, with_losses: bool
) -> tuple[ModelSums, ModelSums, tuple[Array, Samples] | None, dict[str, Any]]:
    """Return the sums of both models, the losses and samples of B if asked for, and the statuses that both have."""
    status: dict[str, Any] = {}
    a = ModelSums(metric, inputs, "a", routes)
    losses = np.empty(a.samples.losses) if with_losses else None
    of_b = {} if losses is None else {"losses": losses}
    b = ModelSums(metric, inputs, "b", routes, **of_b)
    if (statuses := pairs.joint_statuses(a.samples, b.samples, True)) is not None:
        status["null"] = np.frombuffer(statuses, dtype=np.uint8)
        a = ModelSums(metric, inputs, "a", routes, **status)
        b = ModelSums(metric, inputs, "b", routes, **of_b, **status)
    return a, b, None if losses is None else (losses, b.samples), status


def _argument(metric: Metric) -> str:
    return "losses" if metric._task == "mean" else "preds"


def _model_error(error: InputError, argument: str, model: str) -> InputError:
    """Return an error of the metric with the name of the argument that holds this model's predictions."""
    return error.with_argument(f"{argument}_{model}") if error.argument == argument else error
