"""What all metrics share: options, a pipeline that adds chunks to a state, and its summary."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.core.ledger.state import CONFIDENCE_BINS, SPLIT, SPLIT_CLASSES, State
from streamce.core.losses.batch import Batch, Outputs
from streamce.core.losses.loss_spec import Breakdowns, LossSpec
from streamce.core.pipeline.pipeline import Pipeline
from streamce.core.samples.samples import Samples
from streamce.core.samples.status import NULL_INPUT
from streamce.errors import InputError
from streamce.keys.key_columns import bucket_of
from streamce.metrics.options import one_of, plain
from streamce.metrics.torch_device import Elsewhere
from streamce.metrics.update_from import FromStreams
from streamce.stats import calibration, summary, tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamce._support.state_format import Header
    from streamce.stats.calibration import Calibration
    from streamce.stats.summary import Summary
    from streamce.stats.tail import Tail

# Options that ask for sums beside the first.
SUMS = ("calibration", "divergence", "per_class", "per_label", "per_position", "tail")
# Options that say how data is read, not what its loss is: no part of a state.
NOT_OF_THE_LOSS = frozenset({"axis", "invalid", "layout", "threads"})


class Metric(FromStreams):
    """Base of the metrics: a thin shell of options around a state."""

    _task: ClassVar[str]
    _units: ClassVar[tuple[str, ...]] = ()  # what the mean can be `per`
    _in_core = frozenset({"update"})
    _state: State
    __slots__ = ("_options", "_pipeline")

    def __init__(self, options: dict[str, Any], *, per_cell: bool = False) -> None:
        if self._units:
            one_of(self._units, "per", options["per"])
        options = plain({name: value for name, value in options.items() if name not in ("self", "__class__")})
        if options.get("divergence") and options["label_smoothing"]:
            raise InputError("divergence", "is True, and labels are smoothed", "targets as they are: label_smoothing=0")
        if options.get("calibration"):
            for name, plain_one in (("label_smoothing", 0.0), ("class_weight", None), ("pos_weight", None)):
                if options.get(name, plain_one) != plain_one:
                    raise InputError(
                        "calibration",
                        f"is True, and {name} is {short_repr(options[name])}",
                        f"the loss that predictions speak of: {name}={plain_one}",
                    )
        self._options = options
        self._pipeline = self._path(options, per_cell)
        self._state = State()

    def _path(self, options: dict[str, Any], per_cell: bool) -> Any:
        """What leads chunks to the state."""
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
            device_losses=partial(Elsewhere, self._task, options),
        )

    def _entropy(self, options: dict[str, Any]) -> Pipeline:
        """What the entropy of targets is added up by: their cross-entropy with themselves."""
        of_targets = options | {"kind": "probs", "eps": 0.0, "ignore_index": None}
        spec = LossSpec(
            self._task,
            class_weight=options["class_weight"],
            pos_weight=options.get("pos_weight"),
            axis=options.get("axis", -1),
        )
        return Pipeline(spec, threads=options["threads"], device_losses=partial(Elsewhere, self._task, of_targets))

    @property
    def options(self) -> dict[str, Any]:
        """All options, as plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._options.items()}

    def _arguments(self) -> dict[str, Any]:
        return self._options

    def _of_the_loss(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.options.items() if name not in NOT_OF_THE_LOSS}
        if kept.get("kind") == "logits":
            kept.pop("eps", None)  # logits are never floored
        for name in ("calibration", "divergence", "tail"):
            if not kept.get(name):
                kept.pop(name, None)  # states were there before these were
        return kept

    @classmethod
    def _of(cls, options: dict[str, Any], made: Callable[[Header], Any]) -> Self:
        known = set(inspect.signature(cls).parameters) - NOT_OF_THE_LOSS
        if not known >= set(options):
            raise ValueError(f"it has options that {cls.__name__} does not know: {sorted(set(options) - known)}")
        return cls(**options)

    # ---- adding ----

    def update(self, preds: Any, target: Any, *, weight: Any = None, cluster: Any = None) -> Self:
        self._pipeline.update(self._state, preds, target, weight, None if cluster is None else bucket_of(cluster))
        return self

    def _update(self, preds: Any, target: Any, weight: Any = None, cluster: Any = None, null: Any = None) -> None:
        batch = Batch(preds, target, weight, status=settled(null))
        self._pipeline.update_batch(self._state, batch, bucket=bucket_of(cluster))

    @property
    def _of_losses(self) -> Metric:
        return self

    @property
    def _ratios(self) -> int:
        """How many ratios a state may hold."""
        return 2 if self._options.get("divergence") else 1

    def _chunk(
        self,
        state: State,
        preds: Any,
        target: Any = None,
        *,
        weight: Any = None,
        cluster: Any = None,
        null: Any = None,
    ) -> Samples:
        """Add a chunk to a state; the samples of the chunk one by one."""
        if self._task == "mean" and target is not None:
            raise InputError("target", "is given", "none: MeanLoss takes losses")
        samples = Samples()
        batch = Batch(preds, target, weight, status=settled(null))
        self._pipeline.update_batch(state, batch, Outputs(samples=samples), bucket_of(cluster))
        return samples

    def _samples(self, *given: Any, **named: Any) -> Samples:
        """The samples of a chunk, for who adds them to states of their own; nothing is added here."""
        return self._chunk(State(), *given, **named)

    def __call__(self, *inputs: Any, **named: Any) -> float:
        """Update, and return the value of this chunk alone; takes what ``update`` takes."""
        chunk = self._empty().update(*inputs, **named)
        self._state.merge(chunk._state)
        return chunk.compute()

    # ---- reading ----

    def compute(self) -> float:
        """The mean loss in nats, Σn / Σd, exact and rounded once; nan for an empty stream.

        Raises
        ------
        InputError
            If more was taken away than had been added.
        """
        return self._value(summary.mean(self._state.copy().total))

    def _value(self, mean: float) -> float:
        """The metric's value where the mean loss is this."""
        return mean

    def _shown(self, found: Summary) -> Summary:
        """A summary with the metric's value in it."""
        return found

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Mean, standard error, intervals and what odd input was seen.

        Parameters
        ----------
        level : float
            How often the intervals are to hold the truth.
        anytime : bool
            False: intervals for one look at a stream whose length was settled beforehand. True: an
            asymptotic confidence sequence, wider, which holds the truth at all looks together, however
            many there are, so one may stop as soon as the interval says enough.

        Raises
        ------
        InputError
            If more was taken away than had been added, or ``level`` is not between 0 and 1.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.MeanLoss().update([0.2, 0.4, 0.3, 0.5] * 1000)
        >>> "{:.4f} {:.4f}".format(*metric.summary().interval)
        '0.3465 0.3535'
        >>> "{:.4f} {:.4f}".format(*metric.summary(anytime=True).interval)
        '0.3445 0.3555'
        """
        found = self._ratio(0, level, anytime)
        if self._options.get("divergence"):
            return summary.split(found, self._state.copy(), level, anytime)
        return found

    def _ratio(self, ratio: int, level: float, anytime: bool) -> Summary:
        state = self._state.copy()
        found = summary.summarise(state.total, ratio, level=level, anytime=anytime, buckets=state.buckets)
        return self._shown(found)

    def tail(self) -> Tail:
        """Quantiles of the losses, and what share of their sum the worst of them carry.

        A loss counts as often as it was met, whatever its weight, by its size per unit of weight.

        Raises
        ------
        InputError
            If the metric was not made with ``tail=True``, or more was taken away than had been added.
        """
        if not self._options.get("tail"):
            raise InputError("tail", "is False", "a metric made with tail=True")
        return tail.read(self._state.copy().tail)

    def _calibration(self) -> Calibration:
        if not self._options["calibration"]:
            raise InputError("calibration", "is False", "a metric made with calibration=True")
        floor = 0.0 if self._options["kind"] == "logits" else self._options["eps"]
        return calibration.read(self._state.copy(), classes=self._task == "multiclass", floor=floor)

    def _summaries(self, level: float, anytime: bool) -> np.ndarray[Any, np.dtype[np.object_]]:
        cells = self._state.copy().cells
        held = cells.columns() if cells is not None else {}
        if cells is None or not held:  # all 0, as after a - a
            return np.empty(0, dtype=object)
        found = np.empty(self._cells_of(cells, held), dtype=object)
        found[:] = [
            self._shown(summary.summarise(cells, cell, level=level, anytime=anytime)) for cell in range(len(found))
        ]
        return found

    def _cells_of(self, cells: Any, held: dict[str, dict[int, int]]) -> int:
        """How many classes or labels there are, of cells that are not all 0."""
        return int(cells.size)

    def _take(self, parts: dict[str, bytes]) -> None:
        found = State.from_parts(parts, ratios=self._ratios)
        if found.cells is not None:
            self._take_cells(found.cells.size)
        self._take_state(found)

    def _take_state(self, found: State) -> None:
        """Takes over a state, if its tail and calibration are what the options ask for."""
        if found.tail is not None and not self._options.get("tail"):
            raise ValueError("it has a tail, which its options do not ask for")
        if found.calibration is not None:
            if not self._options.get("calibration"):
                raise ValueError("it has sums of calibration, which its options do not ask for")
            pairs = SPLIT_CLASSES**2 if self._task == "multiclass" else 1
            if found.calibration.size > SPLIT + CONFIDENCE_BINS * pairs:
                raise ValueError("it has more sums of calibration than there are")
        self._state = found

    def _take_cells(self, size: int) -> None:
        if not self._pipeline.per_cell:
            raise ValueError("it has sums by class or label, which its options do not ask for")
        if size < 2 and self._task == "multiclass":
            raise ValueError("it has a single class")
        for name in ("class_weight", "pos_weight"):
            weights = self._options.get(name)
            if isinstance(weights, tuple) and len(weights) != size:
                raise ValueError(f"it has {size} classes or labels, and a {name} of {len(weights)}")


def settled(null: Any) -> Any:
    """The statuses of losses, of a mask of those in which an input is null."""
    return None if null is None else np.asarray(null, dtype=np.bool_) * np.uint8(NULL_INPUT)
