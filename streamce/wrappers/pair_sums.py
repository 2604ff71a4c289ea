"""Defines which sums a comparison of two models keeps for each metric, and what follows from them.

There are always the five states of ``pairs.NAMES``. Metrics with more sums keep these in the states of A, of B and of
the differences. So each of the three is a state of the metric, or nearly so.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from streamce.core.ledger.state import State
from streamce.core.samples import pairs
from streamce.errors import InputError
from streamce.metrics.composite import States, restored_mean
from streamce.metrics.normalized_entropy import OUTCOME_NAMES, NormalizedEntropy
from streamce.wrappers import pair_inputs
from streamce.wrappers.pair_inputs import ModelSums, PairInputs

if TYPE_CHECKING:
    from streamce.core.samples.routes import Routes
    from streamce.core.samples.samples import Samples
    from streamce.inputs.arrays import Array
    from streamce.metrics.base import Metric
    from streamce.stats.estimators import Uncertainty
    from streamce.stats.summary import Summary

    ArrayOfSummaries = np.ndarray[Any, np.dtype[np.object_]]

# Arguments that give a sample more sums than those of its mean and its cluster.
TEXT = ("n_words", "n_bytes")
# The names of the states of the models and of the differences.
A, B, DIFFERENCE = pairs.NAMES[:3]


class PairSums:
    """The sums for a metric of one state."""

    names: tuple[str, ...] = pairs.NAMES

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        self.of_differences: Metric = metric._loss_metric._of_differences()

    @property
    def loss_metric(self) -> Metric:
        """The metric that computes the losses."""
        found: Metric = self.metric._loss_metric
        return found

    # ---- adding ----

    def of_batch(self, inputs: PairInputs, routes: Routes | None = None) -> list[States]:
        """Return the states of a batch: one for each code of the routes, or one of all samples."""
        text = any(inputs.others.get(name) is not None for name in TEXT)
        if self.metric._has_only_mean and not text:
            return self._means_of_losses(inputs, routes)
        of_losses = text or not self.of_differences._has_only_mean
        a, b, minus, status = pair_inputs.sums_of_models(self.metric, inputs, routes, of_losses)
        pair_inputs.check_clusters(inputs, a.samples)
        sums = {A: a.states(), B: b.states()}
        if minus is not None:
            found = ModelSums(self.of_differences, inputs, "a", routes, minus=minus, **status)
            sums[DIFFERENCE] = found.states()
        batch = self._means(inputs, routes, a.samples, b.samples)
        for number, states in enumerate(batch):
            more = {name: each[number].with_mean(states[name]) for name, each in sums.items()}
            batch[number] = States.from_states({name: more.get(name, states[name]) for name in self.names})
        return batch

    def _means_of_losses(self, inputs: PairInputs, routes: Routes | None) -> list[States]:
        """Return the states of ``pairs.NAMES`` for a batch."""
        a, b = pair_inputs.samples_of(self.loss_metric, inputs)
        if routes is not None and routes.factors is not None:
            routes.check(a.samples)
            a, b = a.multiplied(routes.factors), b.multiplied(routes.factors)
        return self._means(inputs, routes, a, b)

    def _means(self, inputs: PairInputs, routes: Routes | None, a: Samples, b: Samples) -> list[States]:
        """Return the states of ``pairs.NAMES`` for the samples of both models, with the factors of the routes."""
        if routes is None:
            return [_add_pairs(a, b, inputs.bucket)]
        routes.check(a.samples)
        order = np.argsort(routes.numbers, kind="stable")
        ends = np.cumsum(np.bincount(routes.numbers, minlength=len(routes.states))).tolist()
        bucket = inputs.bucket
        return [
            _add_pairs(a.take(rows), b.take(rows), None if bucket is None else bucket[rows])
            for rows in (order[start:end] for start, end in itertools.pairwise([0, *ends]))
        ]

    def restore(self, payload: dict[str, bytes]) -> States:
        """Return the states whose ``parts()`` these are, or raise ValueError."""
        return States.from_parts(payload, self.names, self._restore_one)

    def _restore_one(self, name: str, parts: dict[str, bytes]) -> State:
        if name not in (A, B, DIFFERENCE):
            return restored_mean(parts)
        metric = self._new(name)
        metric._load_payload(parts)
        state: State = metric._state
        return state

    def _new(self, name: str) -> Any:
        """Return an empty metric for a model or for the differences."""
        return self.of_differences._new() if name == DIFFERENCE else self.metric._new()

    def fixed_sizes(self) -> dict[str, int]:
        """Return the number of cells of each part, or raise InputError if class and options do not fix it."""
        sizes = {f"{name}.total": 1 for name in self.names}
        for name in (A, B, DIFFERENCE):
            sizes |= {f"{name}.{part}": size for part, size in self._new(name)._fixed_sizes().items()}
        return sizes

    # ---- reading. The states are a copy. ----

    def state_of(self, states: States, name: str) -> Any:
        """Return the state of a model's metric, or that of the differences."""
        return states[name]

    def metric_of(self, states: States, name: str) -> Any:
        """Return the metric of a model, or of the differences, with its state."""
        found = self._new(name)
        found._state = self.state_of(states, name)
        return found

    def _reader(self, name: str) -> Any:
        return self.of_differences if name == DIFFERENCE else self.metric

    def value(self, states: States, name: str) -> float:
        """Return the mean loss of a model, or the mean of the differences; for normalized entropies these."""
        value: float = self._reader(name)._center(self.state_of(states, name))
        return value

    def uncertainty(self, states: States, name: str) -> Uncertainty:
        """Return how precisely the value is estimated."""
        known: Uncertainty = self._reader(name)._uncertainty(self.state_of(states, name))
        return known

    def summary(self, states: States, name: str, level: float, anytime: bool) -> Summary:
        """Return the summary with this value."""
        found: Summary = self._reader(name)._summarise(self.state_of(states, name), level, anytime)
        return found


class NormalizedPairs(PairSums):
    """The sums for ``NormalizedEntropy``: those of the losses, and those of the outcomes together with them.

    The base rate is that of the pairs that count, so it is the same for both models. Therefore the difference of the
    normalized entropies is that of the mean losses, divided by the entropy of the base rate.
    """

    names: tuple[str, ...] = tuple(sorted(pairs.NAMES + OUTCOME_NAMES))

    def of_batch(self, inputs: PairInputs, routes: Routes | None = None) -> list[States]:
        means = self._means_of_losses(inputs, routes)
        null = inputs.others.get("null")
        outcomes = self.metric._outcomes_of_pairs(
            (inputs.preds[A], inputs.preds[B]), inputs.target, inputs.weight, inputs.bucket, null, routes
        )
        return [
            States.from_states({name: (mean if name in pairs.NAMES else outcome)[name] for name in self.names})
            for mean, outcome in zip(means, outcomes, strict=True)
        ]

    def _restore_one(self, name: str, parts: dict[str, bytes]) -> State:
        return restored_mean(parts)

    def fixed_sizes(self) -> dict[str, int]:
        return {f"{name}.total": 1 for name in self.names}

    def state_of(self, states: States, name: str) -> States:
        return States.from_states({"both": states[f"{name}_both"], "loss": states[name], "outcome": states["outcome"]})

    def _reader(self, name: str) -> Any:
        return self.metric

    def _new(self, name: str) -> Any:
        return self.metric._new()


def sums_for(metric: Any) -> PairSums:
    """Return the sums that a comparison keeps of a metric."""
    return NormalizedPairs(metric) if isinstance(metric, NormalizedEntropy) else PairSums(metric)


def _add_pairs(a: Samples, b: Samples, bucket: Array | None) -> States:
    """Return the states of the samples of both models."""
    return States.from_states(dict(zip(pairs.NAMES, pairs.add_pairs(a, b, bucket), strict=True)))


def differences_by(sums: PairSums, states: States, option: str, level: float, anytime: bool) -> ArrayOfSummaries:
    """Return the summaries of the differences by class, label or position."""
    if not sums.loss_metric.options.get(option):
        raise InputError(option, "is off", f"Paired of a metric with {option}=True")
    found: ArrayOfSummaries = getattr(sums.metric_of(states, DIFFERENCE), option)(level, anytime)
    return found
