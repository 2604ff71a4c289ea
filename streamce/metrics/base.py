"""Defines the base class of the metrics: options, a pipeline that adds batches to a state, and the summary."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.core.ledger.calibration_cells import CONFIDENCE_BINS, SPLIT, SPLIT_CLASSES
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.core.losses.loss_spec import Breakdowns, LossSpec
from streamce.core.pipeline.pipeline import Pipeline
from streamce.core.samples.samples import Samples
from streamce.core.samples.status import NULL_INPUT
from streamce.errors import InputError
from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics.options import checked_options
from streamce.metrics.torch_device import TorchDeviceLosses
from streamce.metrics.update_from import UpdateFromMixin
from streamce.stats import calibration, estimators, summary, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streamce._support.state_format import Header
    from streamce.core.samples.routes import Routes
    from streamce.inputs.arrays import Array
    from streamce.metrics.options import Check
    from streamce.stats.calibration import Calibration
    from streamce.stats.estimators import Uncertainty
    from streamce.stats.summary import Summary
    from streamce.stats.tail import Tail

# Options that add sums to those of the mean.
BREAKDOWN_OPTIONS = ("calibration", "divergence", "per_class", "per_label", "per_position", "tail")
# The options that add a section of the same name.
SECTION_OPTIONS = ("per_class", "per_label", "per_position", "calibration", "tail")
# Options of reading the input. States omit them, because they change no loss.
INPUT_ONLY_OPTIONS = frozenset({"axis", "invalid", "layout", "threads"})


class Metric(UpdateFromMixin):
    """Base of the metrics with one state.

    Upper layers use these private attributes, beside those of :class:`MergeableState` and :class:`UpdateFromMixin`:

    * ``_task``: the kind of predictions and targets that ``update`` takes;
    * ``_loss_key()``: a key that is equal for metrics that compute the same losses from the same batch;
    * ``_pipeline``: adds a batch to any state, and can return its losses and gradients;
    * ``_run_returning_samples(state, ...)``: add a batch to any state, and return its samples;
    * ``_has_only_mean``: whether the options ask for no sums but those of the mean;
    * ``_select(state)``: the sums that this metric keeps, taken from a state of the same losses;
    * ``_value(mean)``: the metric's value for a mean loss;
    * ``_present(summary)``: a summary of losses with the metric's value and interval in it;
    * ``_of_differences()``: an empty metric for the differences of two models' losses.

    A subclass that computes its own losses defines ``update`` and ``_run``.
    """

    _task: ClassVar[str]
    _own_checks: ClassVar[Mapping[str, Check]] = {}  # of the options that only this class has
    _in_core = frozenset({"update"})
    _has_cell = True
    _state: State
    __slots__ = ("_has_only_mean", "_options", "_pipeline")

    def __init__(self, options: dict[str, Any], *, per_cell: bool = False) -> None:
        options = {name: value for name, value in options.items() if name not in ("self", "__class__")}
        options = checked_options(options, self._own_checks)
        if options.get("divergence") and options["label_smoothing"]:
            raise InputError("divergence", "is True, and labels are smoothed", "label_smoothing=0")
        if options.get("calibration"):
            # The expected loss is that of the predicted probabilities, without smoothing and weights.
            for name, default in (("label_smoothing", 0.0), ("class_weight", None), ("pos_weight", None)):
                if options.get(name, default) != default:
                    found = f"is True, and {name} is {short_repr(options[name])}"
                    raise InputError("calibration", found, f"{name}={default}")
        self._options = options
        self._pipeline = self._build_pipeline(options, per_cell)
        self._has_only_mean = not (per_cell or any(options.get(option) for option in BREAKDOWN_OPTIONS))
        self._state = State()

    def _build_pipeline(self, options: dict[str, Any], per_cell: bool) -> Any:
        """Return the pipeline that adds batches to a state."""
        spec = LossSpec(
            self._task,
            options.get("kind", "probs"),
            smoothing=options.get("label_smoothing", 0.0),
            ignore_index=options.get("ignore_index"),
            class_weight=options.get("class_weight"),
            pos_weight=options.get("pos_weight"),
            floor=options.get("eps", 0.0),
            axis=options.get("axis", -1),
        )
        breakdowns = Breakdowns(
            per_cell=per_cell, tail=options.get("tail", False), calibration=options.get("calibration", False)
        )
        return Pipeline(
            spec,
            breakdowns,
            skips=options["invalid"] == "skip",
            threads=options["threads"],
            name="losses" if self._task == "mean" else "preds",
            entropy=self._entropy(options) if options.get("divergence") else None,
            device_losses=partial(TorchDeviceLosses, self._task, options),
        )

    def _entropy(self, options: dict[str, Any]) -> Pipeline:
        """Return the pipeline that adds up the entropy of targets: their cross-entropy with themselves."""
        of_targets = options | {"kind": "probs", "eps": 0.0, "ignore_index": None}
        spec = LossSpec(
            self._task,
            class_weight=options["class_weight"],
            pos_weight=options.get("pos_weight"),
            axis=options.get("axis", -1),
        )
        return Pipeline(
            spec, threads=options["threads"], device_losses=partial(TorchDeviceLosses, self._task, of_targets)
        )

    @property
    def options(self) -> dict[str, Any]:
        """All options, as values of Python."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._options.items()}

    def _sections(self) -> tuple[str, ...]:
        return ("summary", *(option for option in SECTION_OPTIONS if self._options.get(option)))

    def _init_kwargs(self) -> dict[str, Any]:
        return self._options

    def _loss_options(self) -> dict[str, Any]:
        options = {name: value for name, value in self.options.items() if name not in INPUT_ONLY_OPTIONS}
        if options.get("kind") == "logits":
            options.pop("eps", None)  # logits are never floored
        for name in ("calibration", "classes", "divergence", "tail"):
            if not options.get(name):
                options.pop(name, None)  # omitted when off, so that older states keep their bytes
        return options

    @classmethod
    def _from_options(cls, options: dict[str, Any], restore_inner: Callable[[Header], Any]) -> Self:
        known = set(inspect.signature(cls).parameters) - INPUT_ONLY_OPTIONS
        if not known >= set(options):
            raise ValueError(f"it has options that {cls.__name__} does not know: {sorted(set(options) - known)}")
        return cls(**options)

    # ---- adding ----

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        self._pipeline.update(self._state, preds, target, weight, None if cluster is None else hash_clusters(cluster))
        return self

    def _update(
        self, preds: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None, **others: Any
    ) -> None:
        self._run(self._state, preds, target, weight=weight, cluster=cluster, null=null, **others)

    @property
    def _loss_metric(self) -> Metric:
        return self

    @property
    def _ratios(self) -> int:
        """The largest number of ratios that a state can hold."""
        return 2 if self._options.get("divergence") else 1

    def _fixed_sizes(self) -> dict[str, int]:
        for option in ("tail", "calibration", "per_position"):
            if self._options.get(option):
                found = f"{option}=True adds too many sums for limbs: use ce.all_reduce or to_sql_rows()"
                raise InputError(option, found, location="")
        sizes = {"total": self._ratios}
        if self._pipeline.per_cell:
            known = [self._options.get(name) for name in ("classes", "class_weight", "pos_weight")]
            number = next((len(each) for each in known if isinstance(each, tuple)), None)
            if number is None:
                found = "the number of classes or labels is not known, so the state has no limbs"
                others = "give class_weight= or classes=, or use ce.all_reduce or to_sql_rows()"
                raise InputError("metric", f"{found}: {others}", location="")
            sizes["cells"] = number
        return sizes

    def _run(
        self,
        state: State,
        preds: Any,
        target: Any = None,
        *,
        weight: Any = None,
        cluster: Any = None,
        null: Any = None,
        outputs: Outputs | None = None,
    ) -> None:
        """Add a batch to a state, and fill the outputs; ``null`` is the mask of missing inputs."""
        batch = Batch(preds, target, weight, status=null_status(null))
        self._pipeline.update_batch(state, batch, outputs, hash_clusters(cluster))

    def _run_returning_samples(
        self,
        state: State,
        *inputs: Any,
        routes: Routes | None = None,
        losses: Array | None = None,
        minus: tuple[Array, Samples] | None = None,
        **named: Any,
    ) -> Samples:
        """Add a batch to a state, or to those of routes, and return its samples. The rest is that of ``Outputs``."""
        samples = Samples()
        outputs = Outputs(samples=samples, routes=routes, losses=losses, minus=minus)
        self._run(state, *inputs, outputs=outputs, **named)
        return samples

    def _split(self, routes: Routes, *inputs: Any, **named: Any) -> list[State]:
        """Return the states of a batch, one for each code of ``routes``."""
        self._run(State(), *inputs, outputs=Outputs(routes=routes), **named)
        return routes.filled()

    def __call__(self, *inputs: Any, **named: Any) -> float:
        """Update, and return the value of this batch alone. The arguments are those of ``update``."""
        batch = self._new().update(*inputs, **named)
        self._state.merge(batch._state)
        return batch.compute()

    # ---- reading ----

    def compute(self) -> float:
        """Return the mean loss in nats, Σn / Σd, exact and rounded once; nan for an empty stream.

        Raises
        ------
        InputError
            If more was subtracted than had been added.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.MeanLoss().update([1.0, 2.0]).compute()
        1.5
        """
        return self._value(estimators.mean(self._state.copy().total))

    def _score(self) -> float:
        return estimators.mean(self._state.copy().total)

    def _n_samples(self) -> int:
        return estimators.sample_number(self._state.copy().total.cell())

    def _value(self, mean: float) -> float:
        """Return the metric's value for a mean loss."""
        return mean

    def _center(self, state: State) -> float:
        """Return the mean loss, or the value of a metric that is linear in it. The state is a copy."""
        return estimators.mean(state.total)

    def _uncertainty(self, state: State) -> Uncertainty:
        """Return how precisely ``_center`` is estimated."""
        return estimators.uncertainty(state.total.cell(), state.buckets)

    def _summarise(self, state: State, level: float, anytime: bool) -> Summary:
        """Return the summary whose value is ``_center``."""
        losses = summary.summarise(state.total, level=level, anytime=anytime, buckets=state.buckets)
        return summary.with_divergence(losses, state, level, anytime) if self._options.get("divergence") else losses

    def _of_differences(self) -> Metric:
        """Return an empty metric that keeps the sums that differences of losses have, and whose value is their mean."""
        return self._without_sums_of_losses(type(self))

    def _without_sums_of_losses(self, cls: type[Metric]) -> Metric:
        off = {name: False for name in ("calibration", "divergence", "tail") if self._options.get(name)}
        found: Metric = cls(**{**self._init_kwargs(), **off})
        return found

    def _present(self, losses: Summary) -> Summary:
        """Return the summary of losses with the metric's value and interval in it."""
        return losses

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the mean, its standard error and intervals, and counts of anomalies.

        Parameters
        ----------
        level : float
            The probability with which an interval contains the true mean.
        anytime : bool
            False: intervals for one look at a stream whose length was fixed in advance. True: an asymptotic
            confidence sequence. It is wider and contains the true mean at all looks together, so you can look after
            every batch and stop as soon as the interval is narrow enough.

        Raises
        ------
        InputError
            If more was subtracted than had been added, or ``level`` is not between 0 and 1.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MeanLoss().update([0.2, 0.4, 0.3, 0.5] * 1000)
        >>> "{:.4f} {:.4f}".format(*metric.summary().interval)
        '0.3465 0.3535'
        >>> "{:.4f} {:.4f}".format(*metric.summary(anytime=True).interval)
        '0.3445 0.3555'
        """
        losses = self._ratio(0, level, anytime)
        if self._options.get("divergence"):
            return summary.with_divergence(losses, self._state.copy(), level, anytime)
        return losses

    def _ratio(self, ratio: int, level: float, anytime: bool) -> Summary:
        state = self._state.copy()
        losses = summary.summarise(state.total, ratio, level=level, anytime=anytime, buckets=state.buckets)
        return self._present(losses)

    def tail(self) -> Tail:
        """Return quantiles of the losses, and the share of their sum that the worst losses carry.

        Each loss counts once, whatever its weight. Its size is the loss per unit of weight.

        Raises
        ------
        InputError
            If the metric was not created with ``tail=True``, or more was subtracted than had been added.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.BinaryCrossEntropy(tail=True).update([0.9] * 99 + [0.01], [1] * 100)
        >>> round(metric.tail().share(0.01), 2)
        0.31
        """
        if not self._options.get("tail"):
            raise InputError("tail", "is False", "a metric created with tail=True")
        return tail.read(self._state.copy().tail)

    def _calibration(self) -> Calibration:
        if not self._options["calibration"]:
            raise InputError("calibration", "is False", "a metric created with calibration=True")
        floor = 0.0 if self._options["kind"] == "logits" else self._options["eps"]
        return calibration.read(self._state.copy(), classes=self._task == "multiclass", floor=floor)

    def _summaries(self, level: float, anytime: bool) -> np.ndarray[Any, np.dtype[np.object_]]:
        cells = self._state.copy().cells
        columns = cells.columns() if cells is not None else {}
        if cells is None or not columns:  # all integers are 0, as after a - a
            return np.empty(0, dtype=object)
        summaries = np.empty(self._n_cells(cells, columns), dtype=object)
        summaries[:] = [
            self._present(summary.summarise(cells, cell, level=level, anytime=anytime))
            for cell in range(len(summaries))
        ]
        return summaries

    def _n_cells(self, cells: Any, columns: dict[str, dict[int, int]]) -> int:
        """Return the number of classes or labels. At least one integer of the cells is not 0."""
        return int(cells.size)

    def _loss_key(self) -> Any:
        """Return a key that is equal for metrics that compute the same losses from the same batch."""
        cls = type(self)
        options = tuple(item for item in self._options.items() if item[0] not in ("threads", *BREAKDOWN_OPTIONS))
        return self._task, cls._run, cls._build_pipeline, options

    def _select(self, state: State) -> State:
        """Return the sums that this metric keeps, taken from a state of the same losses."""
        tail, calibration = (bool(self._options.get(option)) for option in ("tail", "calibration"))
        return state.select(self._pipeline.per_cell, tail, calibration, self._ratios)

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        state = State.from_parts(payload, ratios=self._ratios)
        if state.cells is not None:
            self._check_cells(state.cells.size)
        self._replace_state(state)

    def _replace_state(self, state: State) -> None:
        """Replace the state, or raise ValueError if it has sums that the options do not ask for."""
        if state.tail is not None and not self._options.get("tail"):
            raise ValueError("it has a tail, and its options do not ask for one")
        if state.calibration is not None:
            if not self._options.get("calibration"):
                raise ValueError("it has sums for the calibration, and its options do not ask for them")
            pairs = SPLIT_CLASSES**2 if self._task == "multiclass" else 1
            if state.calibration.size > SPLIT + CONFIDENCE_BINS * pairs:
                raise ValueError("it has too many sums for the calibration")
        self._state = state

    def _check_cells(self, size: int) -> None:
        """Raise ValueError if a state cannot have sums of this many classes or labels."""
        if not self._pipeline.per_cell:
            raise ValueError("it has sums by class or label, and its options do not ask for them")
        if size < 2 and self._task == "multiclass":
            raise ValueError("it has only one class")
        for name in ("class_weight", "pos_weight"):
            weights = self._options.get(name)
            if isinstance(weights, tuple) and len(weights) != size:
                raise ValueError(f"it has {size} classes or labels, and a {name} of {len(weights)}")


def null_status(null: Any) -> Any:
    """Return the status of each loss, for a mask of the losses in which an input is null, or for statuses (uint8)."""
    if null is None or getattr(null, "dtype", None) == np.uint8:
        return null
    return np.asarray(null, dtype=np.bool_) * np.uint8(NULL_INPUT)
