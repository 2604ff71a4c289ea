"""Metrics for river: the exact log loss of a stream, for its evaluation, pipelines and windows."""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.multiclass import MulticlassCrossEntropy
from streamce.metrics.options import EPS
from streamce.stats import estimators

try:
    from river import base
    from river.metrics.base import BinaryMetric, ClassificationMetric, MultiClassMetric
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce.integrations.river needs river: pip install 'streamce[river]'", name=_error.name
    ) from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from streamce.metrics.base import Metric
    from streamce.stats.summary import Summary

PROBABILITIES = "a probability, or a dict of one for each label"
ARGUMENTS = {"preds": "y_pred", "target": "y_true", "weight": "w"}
TARGETS = np.arange(256).reshape(256, 1)  # a slice takes a twentieth of the time in which a list is converted
CLOSE = 1e-9  # sums of probabilities that are this close to 1 need no further check


class _ExactMetric(ClassificationMetric):
    """The part of both metrics that does not depend on the kind of predictions.

    Reverted samples are added to a second metric, because that is as fast as an update. Reading subtracts it.
    """

    _fmt = ""
    _added: Metric
    _reverted: Metric

    def update(self, y_true: Any, y_pred: Any, w: float = 1.0) -> None:
        """Add a sample: its label, the predicted probabilities and its weight."""
        self._add(self._added, y_true, y_pred, w)

    def revert(self, y_true: Any, y_pred: Any, w: float = 1.0) -> None:
        """Remove a sample that was added with the same arguments."""
        self._add(self._reverted, y_true, y_pred, w)

    @abstractmethod
    def _add(self, metric: Metric, y_true: Any, y_pred: Any, w: float) -> None:
        """Add a sample to a metric."""

    @in_default_mode
    def get(self) -> float:
        """Return the mean loss in nats; nan without samples."""
        state = self._added._state.copy()
        state.merge(self._reverted._state, -1)
        return estimators.mean(state.total)

    @property
    def metric(self) -> Metric:
        """A copy of the metric of streamce, to save or merge."""
        return self._added - self._reverted

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the mean with its interval and counters, as :meth:`streamce.Metric.summary` does."""
        return self.metric.summary(level, anytime)

    @property
    def bigger_is_better(self) -> bool:
        """Return False, because a smaller loss is better."""
        return False

    @property
    def requires_labels(self) -> bool:
        """Return False, because the loss is that of probabilities."""
        return False

    def works_with(self, model: Any) -> bool:
        """Return whether a model predicts probabilities of labels."""
        return isinstance(model, base.Classifier)


class ExactLogLoss(_ExactMetric, BinaryMetric):
    """The exact log loss of a binary classifier, in place of ``river.metrics.LogLoss``.

    The probability of a label that is missing in ``y_pred`` is 0. It is raised to ``eps``, and counted as floored.

    Parameters
    ----------
    pos_val : label
        The positive label. With True, labels are bools, or 0 and 1. With another value, all other labels are negative.
    eps, invalid, tail, calibration
        Options of :class:`streamce.BinaryCrossEntropy`.

    Examples
    --------
    >>> from streamce.integrations.river import ExactLogLoss
    >>> metric = ExactLogLoss()
    >>> for y_true, y_pred in [(True, 0.9), (False, {False: 0.8, True: 0.2}), (True, 0.5)]:
    ...     metric.update(y_true, y_pred)
    >>> metric.revert(True, 0.5)
    >>> metric
    ExactLogLoss: 0.164252...
    """

    eps: float
    invalid: Literal["raise", "skip"]
    tail: bool
    calibration: bool

    def __init__(
        self,
        pos_val: Any = True,
        *,
        eps: float = EPS,
        invalid: Literal["raise", "skip"] = "raise",
        tail: bool = False,
        calibration: bool = False,
    ) -> None:
        super().__init__(pos_val=pos_val)
        self.eps, self.invalid, self.tail, self.calibration = eps, invalid, tail, calibration
        self._added = BinaryCrossEntropy(eps=eps, invalid=invalid, tail=tail, calibration=calibration)
        self._reverted = self._added.copy()

    def _add(self, metric: Metric, y_true: Any, y_pred: Any, w: float) -> None:
        outcome = 1 if y_true == self.pos_val else self._negative(y_true)
        p = y_pred if isinstance(y_pred, float) else self._probability(y_pred, outcome)
        try:
            if outcome is None:
                metric.update([p], [outcome], weight=[w])
            elif w == 1.0:  # without a weight an update is twice as fast
                metric.update(p, outcome)
            else:
                metric.update(p, outcome, weight=w)
        except InputError as error:
            raise _renamed(error) from None

    def _negative(self, y_true: Any) -> int | None:
        """Return 0 for a negative label, and None for an invalid one that is skipped."""
        is_bool = self.pos_val is True
        if y_true is not None and y_true == y_true and (not is_bool or y_true == False):  # noqa: E712
            return 0
        if self.invalid == "raise":
            expected, hint = ("True or False", "give another positive label as pos_val") if is_bool else ("a label", "")
            raise InputError("y_true", f"is {short_repr(y_true)}", expected, value=y_true, hint=hint)
        return None

    def _probability(self, y_pred: Any, outcome: int | None) -> float:
        """Return the probability of the positive label, nan for an invalid one that is skipped."""
        if isinstance(y_pred, dict):
            if not y_pred:  # the true label is missing, whatever it is
                return 0.0 if outcome else 1.0
            if not _adds_up_to_1(y_pred):
                try:
                    MulticlassCrossEntropy().update(_row(y_pred, [*y_pred.values(), 0.0]), [0])
                except InputError as error:
                    if self.invalid == "raise":
                        raise _renamed(error, y_pred) from None
                    return math.nan
            y_pred = y_pred.get(self.pos_val, 0.0)
        if isinstance(y_pred, float) or (isinstance(y_pred, Real) and not isinstance(y_pred, bool)):
            return float(y_pred)
        if self.invalid == "raise":
            raise InputError("y_pred", f"is {short_repr(y_pred)}", PROBABILITIES, value=y_pred)
        return math.nan


class ExactCrossEntropy(_ExactMetric, MultiClassMetric):
    """The exact cross-entropy of a classifier, in place of ``river.metrics.CrossEntropy``.

    The probability of a label that is missing in ``y_pred`` is 0. It is raised to ``eps``, and counted as floored. The
    loss of river is 0 for such a label.

    Parameters
    ----------
    eps, invalid, tail
        Options of :class:`streamce.MulticlassCrossEntropy`.

    Examples
    --------
    >>> from streamce.integrations.river import ExactCrossEntropy
    >>> metric = ExactCrossEntropy()
    >>> metric.update("cat", {"cat": 0.5, "dog": 0.5})
    >>> metric.update("owl", {"cat": 0.5, "dog": 0.5})
    >>> metric.get(), metric.summary().floored
    (18.36840..., 1)
    """

    eps: float
    invalid: Literal["raise", "skip"]
    tail: bool

    def __init__(self, *, eps: float = EPS, invalid: Literal["raise", "skip"] = "raise", tail: bool = False) -> None:
        super().__init__()
        self.eps, self.invalid, self.tail = eps, invalid, tail
        self._added = MulticlassCrossEntropy(eps=eps, invalid=invalid, tail=tail)
        self._reverted = self._added.copy()

    def _add(self, metric: Metric, y_true: Any, y_pred: Any, w: float) -> None:
        if not isinstance(y_pred, dict):
            raise InputError("y_pred", f"is {short_repr(y_pred)}", "a dict of probabilities", value=y_pred)
        values = [*y_pred.values()]
        target: int | None
        try:
            target = list(y_pred).index(y_true)
        except ValueError:
            target = self._missing(y_true, len(values))
        if target == len(values) or len(values) < 2:
            values += [0.0] if values else [0.0, 1.0]
        try:
            targets = TARGETS[target] if target is not None and target < len(TARGETS) else [target]
            metric.update(_row(y_pred, values), targets, weight=None if w == 1.0 else [w])
        except InputError as error:
            raise _renamed(error, y_pred) from None

    def _missing(self, y_true: Any, number: int) -> int | None:
        """Return the number of a label that is missing in ``y_pred``, None for an invalid one that is skipped."""
        if y_true is not None and y_true == y_true:
            return number
        if self.invalid == "raise":
            raise InputError("y_true", f"is {short_repr(y_true)}", "a label", value=y_true)
        return None


def _adds_up_to_1(y_pred: Mapping[Any, Any]) -> bool:
    try:
        return bool(abs(sum(y_pred.values()) - 1.0) <= CLOSE)
    except TypeError:
        return False


def _row(y_pred: Mapping[Any, Any], values: Iterable[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return probabilities as an array of one row."""
    try:
        return np.array([[*values]], dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("y_pred", f"is {short_repr(y_pred)}", PROBABILITIES, value=y_pred) from None


def _renamed(error: InputError, y_pred: Mapping[Any, Any] | None = None) -> InputError:
    """Return an error about the arguments of river. ``y_pred`` has the labels of the columns."""
    argument, index = error.argument, error.index or ()
    if argument == "preds" and y_pred is not None and len(index) == 2 and index[1] < len(y_pred):
        label = list(y_pred)[index[1]]
        return error.changed(argument=f"y_pred[{label!r}]", index=(), hint="")
    return error.changed(argument=ARGUMENTS.get(str(argument), argument), index=(), hint="")
