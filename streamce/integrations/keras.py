"""The exact loss of Keras models: after each epoch in ``fit``, and of any data.

Keras traces its own metrics, so they cannot call NumPy, and it has reduced the losses of a batch when it logs them. So
the callback predicts the validation data a second time.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from streamce._support import scalars
from streamce._support.short_repr import short_repr
from streamce.errors import InputError
from streamce.integrations import engines
from streamce.stats.summary import Summary

try:
    import keras
    from keras.src.backend import get_keras_mask  # which has no public name
except ModuleNotFoundError as _error:
    _missing = (_error.name or "").partition(".")[0]
    _needs = "keras: pip install 'streamce[keras]'"
    if _missing != "keras":
        _needs = f"a backend of Keras: install {_missing}, or set KERAS_BACKEND to one that is installed"
    raise ModuleNotFoundError(f"streamce.integrations.keras needs {_needs}", name=_error.name) from None

if TYPE_CHECKING:
    from streamce.metrics.mergeable import MergeableState

    Metric = TypeVar("Metric", bound=MergeableState)

DATA = "(x, y), (x, y, sample_weight), a PyDataset, batches of these, or a function that returns them"


class ExactLossCallback(keras.callbacks.Callback):
    """Writes the exact loss of the validation data into the logs of each epoch.

    The names are those of ``summary().scalars("val_exact_")``: ``val_exact_loss``, ``val_exact_loss_low``,
    ``val_exact_perplexity`` and others. A loss that is infinite or nan is written too.

    Put it first in ``callbacks``, because a callback sees only what earlier ones have written. EarlyStopping and
    ModelCheckpoint warn if they come before it. Give them ``mode="min"``.

    Parameters
    ----------
    validation_data, batch_size, update
        As for :func:`evaluate`.
    metric : metric
        An empty metric, for its options.
    prefix : str
        The beginning of all names.

    Attributes
    ----------
    metric : metric
        The metric of the last epoch. It is empty before the first.

    Raises
    ------
    InputError
        If an argument is invalid.

    Examples
    --------
    >>> import keras, numpy as np, streamce as ce
    >>> from streamce.integrations.keras import ExactLossCallback
    >>> x, y = np.zeros((5, 2), "float32"), np.array([0, 1, 1, 0, 1])
    >>> model = keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])
    >>> model.compile(optimizer=keras.optimizers.SGD(0.0), loss="binary_crossentropy")
    >>> callback = ExactLossCallback((x, y), ce.BinaryCrossEntropy())
    >>> model.fit(x, y, callbacks=[callback], verbose=0).history["val_exact_loss"]
    [0.6931471805599453]
    """

    def __init__(
        self,
        validation_data: Any,
        metric: Any,
        *,
        batch_size: int = 32,
        update: Callable[..., Any] | None = None,
        prefix: str = "val_exact_",
    ) -> None:
        super().__init__()
        if not isinstance(engines.template(metric).summary(), Summary):
            raise InputError("metric", f"is a {type(metric).__name__}", "one whose summary() is one Summary")
        if not isinstance(prefix, str):
            raise InputError("prefix", f"is {short_repr(prefix)}", "text, such as 'val_'", value=prefix)
        self._batches = _reader(validation_data, batch_size)
        self._update = _checked_update(update)
        self._prefix = prefix
        self.metric: Any = metric.copy()

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary of the last epoch, as :meth:`streamce.Metric.summary` does."""
        found: Summary = self.metric.summary(level, anytime)
        return found

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Predict the validation data, and write the exact loss into the logs."""
        metric = self.metric.copy().reset()
        _add(self.model, self._batches(), metric, self._update)
        self.metric = metric
        if logs is not None:
            summary = self.summary()
            logs[f"{self._prefix}loss"] = summary.mean
            logs.update(summary.scalars(self._prefix))


def evaluate(
    model: Any,
    data: Any,
    metric: Metric,
    *,
    batch_size: int = 32,
    update: Callable[..., Any] | None = None,
) -> Metric:
    """Return a metric of all samples, with the predictions of a model.

    Parameters
    ----------
    model : keras.Model
        Its predictions are those of ``model.predict_on_batch``. A mask of its output, as of an ``Embedding`` with
        ``mask_zero=True``, is given to the metric, like Keras does in its own loss.
    data : tuple, PyDataset, iterable or callable
        Arrays ``(x, y)`` or ``(x, y, sample_weight)``; a ``PyDataset``; a list, a ``DataLoader`` or another iterable of
        batches of these; or a function that returns such batches.
    metric : metric
        An empty metric, for its options.
    batch_size : int
        The rows of arrays that are predicted at once.
    update : callable, optional
        Adds a batch: ``update(metric, preds, target, **others)``. The others are ``weight`` and ``mask`` if there are
        any. Models with several outputs need it, and so do targets that the metric does not take as they are.

    Raises
    ------
    InputError
        If an argument or a batch is invalid. The error names the batch.

    Examples
    --------
    >>> import keras, numpy as np, streamce as ce
    >>> from streamce.integrations.keras import evaluate
    >>> model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3, kernel_initializer="zeros")])
    >>> data = np.zeros((5, 2), "float32"), np.array([0, 1, 2, 0, 1])
    >>> evaluate(model, data, ce.MulticlassCrossEntropy(kind="logits")).compute()
    1.09861...
    """
    if not isinstance(model, keras.Model):
        raise InputError("model", f"is {short_repr(model)}", "a model of Keras", value=model)
    found = engines.template(metric).copy()
    _add(model, _reader(data, batch_size, "data")(), found, _checked_update(update))
    return found


def _checked_update(update: Any) -> Callable[..., Any]:
    if update is not None and not callable(update):
        raise InputError("update", f"is {short_repr(update)}", "a function that adds a batch", value=update)
    return update or _update


def _add(model: Any, batches: Iterator[Any], metric: Any, update: Callable[..., Any]) -> None:
    """Add batches to a metric."""
    has_mask = True
    for number, batch in enumerate(batches):
        x, target, weight = _unpacked(batch, number)
        x = keras.tree.map_structure(_array, x)
        mask = _mask(model, x) if has_mask else None
        has_mask = mask is not None  # only the first batch is computed twice, unless the model has masks
        given = {"weight": weight, "mask": mask}
        others = {name: _numpy(value) for name, value in given.items() if value is not None}
        with engines.place_errors(f"batch {number}"):
            update(metric, model.predict_on_batch(x), _numpy(target), **others)


def _update(metric: Any, preds: Any, target: Any, **others: Any) -> None:
    """Add a batch of a model with one output."""
    if not hasattr(preds, "shape"):
        found = f"is a {type(preds).__name__} of several outputs"
        raise InputError("preds", found, "update=, a function that adds a batch to the metric")
    if "mask" in others and "mask" not in inspect.signature(metric.update).parameters:
        found = f"comes from the model's output, and {type(metric).__name__} takes none"
        raise InputError("mask", found, "SequenceCrossEntropy, or update=, a function that adds a batch")
    if np.ndim(target) == np.ndim(preds) and target.shape[-1] == 1 < preds.shape[-1]:
        target = target[..., 0]  # labels as Keras takes them: one in the last axis
    engines.update(metric, preds, target, **others)


def _mask(model: Any, x: Any) -> Any:
    """Return the mask of the model's output, None if it has none or several outputs. The model's state is kept."""
    stateful = [layer for layer in _layers(model) if getattr(layer, "stateful", False)]
    variables = keras.tree.flatten([getattr(layer, "states", ()) for layer in stateful])
    states = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    with _no_gradients():
        outputs = keras.tree.flatten(model(x, training=False))
        for variable, state in zip(variables, states, strict=True):
            variable.assign(state)
    return get_keras_mask(outputs[0]) if len(outputs) == 1 else None


def _layers(model: Any) -> Iterator[Any]:
    """Yield the layers of a model, and of the models in it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _no_gradients() -> contextlib.AbstractContextManager[Any]:
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    context: contextlib.AbstractContextManager[Any] = torch.no_grad()
    return context


def _array(leaf: Any) -> Any:
    """Return an array that the backend takes."""
    return leaf if keras.ops.is_tensor(leaf) else np.asarray(leaf)


def _numpy(nested: Any) -> Any:
    """Return the arrays of a batch in host memory, where the predictions are."""
    return keras.tree.map_structure(
        lambda leaf: keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else np.asarray(leaf), nested
    )


# ---- validation data ----


def _reader(data: Any, batch_size: Any, name: str = "validation_data") -> Callable[[], Iterator[Any]]:
    """Return a function that returns the batches from the first one on."""
    size = scalars.to_int(batch_size)
    if size is None or size < 1:
        raise InputError("batch_size", f"is {short_repr(batch_size)}", "a whole number of at least 1", value=batch_size)
    if isinstance(data, tuple):
        arrays, rows = _arrays(data, name)
        return lambda: (_slice(arrays, start, start + size) for start in range(0, rows, size))
    if isinstance(data, keras.utils.PyDataset):
        if data.num_batches is None:
            raise InputError(name, "has no end", "a PyDataset with __len__", value=data)
        return lambda: (data[i] for i in range(data.num_batches))
    if isinstance(data, Iterator):
        expected = "a function that returns a new one"
        raise InputError(name, f"is {short_repr(data)}, which can be read once", expected, value=data)
    if callable(data):
        return lambda: iter(data())
    if not hasattr(data, "__iter__") or hasattr(data, "shape") or isinstance(data, (str, bytes, dict)):
        raise InputError(name, f"is {short_repr(data)}", DATA, value=data)
    return lambda: iter(data)


def _arrays(data: tuple[Any, ...], name: str) -> tuple[tuple[Any, ...], int]:
    """Return x, y and weights as arrays, and the number of their rows."""
    if len(data) not in (2, 3):
        raise InputError(name, f"is a tuple of {len(data)}", DATA, value=data)
    rows = None
    for part, nested in enumerate(data):
        for leaf in keras.tree.flatten(nested):
            shape = getattr(leaf, "shape", ())
            if len(shape) < 1 and not (part == 2 and leaf is None):
                raise InputError(name, f"is {short_repr(leaf)}", "an array", part=part, value=leaf)
            if shape and rows not in (None, shape[0]):
                raise InputError(name, f"has {shape[0]} rows", f"{rows}, as in {name}[0]", part=part, value=shape[0])
            rows = shape[0] if shape else rows
    return tuple(keras.tree.map_structure(_array, nested) for nested in data if nested is not None), int(rows or 0)


def _slice(arrays: tuple[Any, ...], start: int, stop: int) -> tuple[Any, ...]:
    return tuple(keras.tree.map_structure(lambda leaf: leaf[start:stop], nested) for nested in arrays)


def _unpacked(batch: Any, number: int) -> tuple[Any, Any, Any]:
    """Return x, y and weights of a batch."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise InputError(f"batch {number}", f"is {short_repr(batch)}", "(x, y) or (x, y, sample_weight)", value=batch)
    x, target, *weight = batch
    if target is None:
        raise InputError(f"batch {number}", "has no y", "(x, y) or (x, y, sample_weight)", value=batch)
    return x, target, weight[0] if weight else None
