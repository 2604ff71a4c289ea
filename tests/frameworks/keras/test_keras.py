"""Keras' own ``fit`` with losses that do not depend on the batches: the models look their outputs up in a table."""

import doctest
import math

import keras
import numpy as np
import pages
import pytest
import torch
from imports import error_without
from paths import ROOT

import streamce as ce
import streamce.integrations.keras
from streamce.integrations.keras import ExactLossCallback, evaluate

ROWS = 203
CODES = 50


def look_up(table, shape=(), mask_zero=False):
    """Return a model whose output is a row of the table for each code of the input."""
    layers = [keras.layers.Input(shape, dtype="int32"), keras.layers.Embedding(*table.shape, mask_zero=mask_zero)]
    model = keras.Sequential(layers)
    model.set_weights([table])
    return model


def softmax(logits):
    exp = np.exp(logits)
    return exp / exp.sum(-1, keepdims=True)


def tasks():
    """Return the table and shape of a model, data and a metric by task."""
    random = np.random.default_rng(0)
    x = random.integers(0, CODES, ROWS)
    tokens = random.integers(0, CODES, (ROWS, 6))
    labels = np.where(random.random((ROWS, 6)) < 0.3, -100, random.integers(0, 9, (ROWS, 6)))
    one, five, nine = (random.normal(size=(CODES, size)).astype(np.float32) for size in (1, 5, 9))
    classes = random.integers(0, 5, ROWS)
    probs = softmax(five.astype(np.float64)).astype(np.float32)
    multiclass = ce.MulticlassCrossEntropy(kind="logits", per_class=True)
    return {
        "binary logits": (one, (), x, random.integers(0, 2, ROWS), ce.BinaryCrossEntropy(kind="logits")),
        "binary probs": (
            random.random((CODES, 1)).astype(np.float32),
            (),
            x,
            random.integers(0, 2, (ROWS, 1)),
            ce.BinaryCrossEntropy(tail=True, calibration=True),
        ),
        "multiclass logits": (five, (), x, classes, multiclass),
        "multiclass probs": (probs, (), x, classes, ce.MulticlassCrossEntropy()),
        "labels in a column": (five, (), x, classes[:, None], multiclass),
        "one-hot": (five, (), x, np.eye(5, dtype=np.float32)[classes], ce.MulticlassCrossEntropy(kind="logits")),
        "multilabel": (five, (), x, random.integers(0, 2, (ROWS, 5)), ce.MultilabelCrossEntropy(kind="logits")),
        "sequences": (nine, (6,), tokens, labels, ce.SequenceCrossEntropy(kind="logits")),
        "perplexity": (nine, (6,), tokens, labels, ce.Perplexity(kind="logits", per="sequence")),
    }


def made(task):
    """Return a model, data and a metric."""
    table, shape, x, target, metric = tasks()[task]
    return look_up(table, shape), x, target, metric


def whole(model, x, target, metric, **others):
    """Return one update with all of ``model.predict``'s output."""
    if type(metric) is ce.MulticlassCrossEntropy and target.shape[1:] == (1,):
        target = target[:, 0]
    return metric.copy().update(model.predict(x, verbose=0), target, **others)


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays, size=10):
        super().__init__()
        self.arrays, self.size = arrays, size

    def __len__(self):
        return math.ceil(len(self.arrays[0]) / self.size)

    def __getitem__(self, i):
        return tuple(array[i * self.size : (i + 1) * self.size] for array in self.arrays)


def forms(*arrays):
    """Return the same data in each form that is taken."""
    tensors = [torch.from_numpy(array) for array in arrays]
    dataset = Batches(*arrays)
    return {
        "arrays": arrays,
        "tensors": tuple(map(keras.ops.convert_to_tensor, arrays)),
        "PyDataset": dataset,
        "list": [dataset[i] for i in range(len(dataset))],
        "function": lambda: (dataset[i] for i in range(len(dataset))),
        "DataLoader": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*tensors), batch_size=32),
    }


# ---- the same bytes ----


@pytest.mark.parametrize("task", tasks())
def test_any_batch_size_gives_the_bytes_of_one_update(task):
    model, x, target, metric = made(task)
    expected = whole(model, x, target, metric).to_bytes()
    for size in (8, 203, 1000):  # the last batch of the first has 3 rows
        assert evaluate(model, (x, target), metric, batch_size=size).to_bytes() == expected
    assert math.isnan(metric.summary().mean)  # it is a template


@pytest.mark.parametrize("form", forms(np.zeros(3), np.zeros(3)))
def test_any_form_of_data_gives_the_bytes_of_one_update(form):
    model, x, target, metric = made("multiclass logits")
    weight = np.random.default_rng(1).random(ROWS).astype(np.float32)
    for others in ({}, {"weight": weight}):
        data = forms(x, target, *others.values())[form]
        for _ in range(2):  # data are read again in the next epoch
            assert evaluate(model, data, metric) == whole(model, x, target, metric, **others)


def test_inputs_by_name():
    a, b = keras.Input((), dtype="int32", name="a"), keras.Input((), dtype="int32", name="b")
    embed = keras.layers.Embedding(CODES, 3)
    model = keras.Model({"a": a, "b": b}, keras.layers.Add()([embed(a), embed(b)]))
    random = np.random.default_rng(0)
    x = {"a": random.integers(0, CODES, ROWS), "b": random.integers(0, CODES, ROWS)}
    target, metric = random.integers(0, 3, ROWS), ce.MulticlassCrossEntropy(kind="logits")
    assert evaluate(model, (x, target), metric, batch_size=10) == whole(model, x, target, metric)


def test_several_outputs_need_a_function():
    x = keras.Input((), dtype="int32")
    outputs = {name: keras.layers.Embedding(CODES, 3, name=name)(x) for name in ("a", "b")}
    model, random = keras.Model(x, outputs), np.random.default_rng(0)
    codes, target = random.integers(0, CODES, ROWS), random.integers(0, 3, ROWS)
    data, metric = (codes, {"a": target, "b": 2 - target}), ce.MulticlassCrossEntropy(kind="logits")
    with pytest.raises(ce.InputError) as caught:
        evaluate(model, data, metric)
    assert str(caught.value) == (
        "batch 0: preds is a dict of several outputs: expected update=, a function that adds a batch to the metric"
    )
    found = evaluate(model, data, metric, update=lambda m, preds, y, **others: m.update(preds["b"], y["b"], **others))
    assert found == metric.update(model.predict(codes, verbose=0)["b"], 2 - target)


def test_a_model_with_a_product_of_matrices_and_dropout():
    """Its outputs round with the shape of the batch."""
    layers = [keras.layers.Dense(32, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    model, random = keras.Sequential(layers), np.random.default_rng(0)
    x, target = random.normal(size=(ROWS, 8)), random.integers(0, 2, ROWS)
    metric = ce.BinaryCrossEntropy(kind="logits")
    sizes = [evaluate(model, (x, target), metric, batch_size=size).compute() for size in (32, 50, ROWS)]
    assert sizes == pytest.approx([whole(model, x, target, metric).compute()] * 3, rel=1e-6)


# ---- masks ----


def ragged():
    """Return codes and labels of sequences of 3 to 60 tokens, padded with 0. Long sequences are easier."""
    lengths = np.random.default_rng(0).integers(3, 61, ROWS)
    inside = np.arange(60) < lengths[:, None]
    table = np.array([[code / 10.0, 0.0] for code in range(CODES + 11)], dtype=np.float32)
    return look_up(table, (60,), mask_zero=True), np.where(inside, lengths[:, None], 0), np.zeros((ROWS, 60), int)


def exact_token_mean(codes):
    """Return the mean over the tokens in plain Python: -log softmax(code / 10, 0)[0] of each code that is not 0."""
    losses = [math.log1p(math.exp(-float(np.float32(code / 10)))) for code in codes.flat if code]
    return math.fsum(losses) / len(losses)


def test_the_mask_of_a_model_is_that_of_the_metric():
    model, codes, target = ragged()
    metric = ce.SequenceCrossEntropy(kind="logits")
    for size in (16, ROWS):
        found = evaluate(model, (codes, target), metric, batch_size=size)
        assert found == whole(model, codes, target, metric, mask=codes != 0)
    assert found.summary().ignored == (codes == 0).sum()
    assert found.compute() == pytest.approx(exact_token_mean(codes), rel=1e-6)


def stateful():
    """Return models with a layer that keeps its state between batches: alone, in a model, and in both directions."""
    gru = keras.layers.GRU(3, stateful=True)
    inner = keras.Sequential([keras.Input(batch_shape=(3, 5, 4)), keras.layers.Masking(), gru])
    both = keras.layers.Bidirectional(keras.layers.GRU(3, stateful=True))
    for layer in (gru, inner, both):
        x = keras.Input(batch_shape=(3, 5, 4))
        yield keras.Model(x, keras.layers.Dense(1)(layer(x))), gru if layer is inner else layer


def test_a_model_with_state_between_batches_is_called_once_per_batch():
    """Each call of a stateful layer changes what the next one returns."""
    random, metric = np.random.default_rng(0), ce.BinaryCrossEntropy(kind="logits")
    data = random.normal(size=(9, 5, 4)), random.integers(0, 2, 9)
    for model, layer in stateful():
        layer.reset_states()
        found = evaluate(model, data, metric, batch_size=3)
        layer.reset_states()
        assert found == metric.copy().update(model.predict(data[0], batch_size=3, verbose=0), data[1])


def test_a_metric_without_masks_is_told():
    model, codes, target = ragged()
    with pytest.raises(ce.InputError) as caught:
        evaluate(model, (codes, target), ce.MulticlassCrossEntropy(kind="logits"))
    assert str(caught.value) == (
        "batch 0: mask comes from the model's output, and MulticlassCrossEntropy takes none: "
        "expected SequenceCrossEntropy, or update=, a function that adds a batch"
    )


def test_val_loss_of_keras_depends_on_the_batch_size():
    """Keras divides by the tokens of a batch, and weights the quotient by its sequences: a mean of means."""
    model, codes, target = ragged()
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), optimizer=keras.optimizers.SGD(0.0)
    )
    expected, found = exact_token_mean(codes), {}
    for size in (1, 4, 16, 64, ROWS):
        callback = ExactLossCallback((codes, target), ce.SequenceCrossEntropy(kind="logits"), batch_size=size)
        validation = {"validation_data": (codes, target), "validation_batch_size": size}
        logs = model.fit(codes[:1], target[:1], **validation, callbacks=[callback], verbose=0).history
        found[size] = logs["val_loss"][0], logs["val_exact_loss"][0]
    assert [exact for _, exact in found.values()] == [pytest.approx(expected, rel=1e-6)] * 5
    assert len({exact for _, exact in found.values()}) == 1
    theirs = [round(loss / expected, 3) for loss, _ in found.values()]
    assert theirs[0] > 1.5  # one sequence, one vote: short sequences are harder
    assert theirs == sorted(theirs, reverse=True)
    assert theirs[-2] > 1.001
    assert found[ROWS][0] == pytest.approx(expected, rel=1e-5)  # one batch has one mean


# ---- callbacks ----


def worsening():
    """Return a model, data whose labels it unlearns, and the training data that it learns."""
    x = np.arange(CODES)
    target = x % 2
    model = look_up(np.where(target, 0.5, -0.5).astype(np.float32)[:, None])
    optimizer = keras.optimizers.SGD(20.0)
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True), optimizer=optimizer)
    return model, (x, target), (x, 1 - target)


def test_early_stopping_and_checkpoints_look_at_the_exact_loss(tmp_path):
    model, data, training = worsening()
    metric = ce.BinaryCrossEntropy(kind="logits")
    best = tmp_path / "best.weights.h5"
    monitor = {"monitor": "val_exact_loss", "mode": "min"}
    callbacks = [
        ExactLossCallback(data, metric, batch_size=7),
        keras.callbacks.EarlyStopping(**monitor, patience=2),
        keras.callbacks.ModelCheckpoint(best, **monitor, save_best_only=True, save_weights_only=True),
    ]
    history = model.fit(*training, epochs=10, callbacks=callbacks, verbose=0).history
    losses = history["val_exact_loss"]
    assert len(losses) == 3
    assert losses == sorted(losses)
    assert losses[-1] == evaluate(model, data, metric).compute() == callbacks[0].metric.compute()
    summary = callbacks[0].summary()
    for name, value in summary.scalars("val_exact_").items():
        assert history[name][-1] == value
    assert history["val_exact_loss_low"][-1] < losses[-1] < history["val_exact_loss_high"][-1]
    model.load_weights(best)
    assert evaluate(model, data, metric).compute() == losses[0]


def test_a_callback_that_comes_before_says_so():
    model, data, training = worsening()
    exact = ExactLossCallback(data, ce.BinaryCrossEntropy(kind="logits"))
    early = keras.callbacks.EarlyStopping(monitor="val_exact_loss", mode="min")
    with pytest.warns(UserWarning, match="metric `val_exact_loss` which is not available"):
        model.fit(*training, callbacks=[early, exact], verbose=0)


def test_two_validation_sets_and_training_goes_on():
    model, data, training = worsening()
    metric = ce.BinaryCrossEntropy(kind="logits")
    callbacks = [ExactLossCallback(data, metric), ExactLossCallback(training, metric, prefix="train_exact_")]
    history = model.fit(
        *training, epochs=4, callbacks=callbacks, verbose=0, validation_data=data, shuffle=False
    ).history
    assert history["train_exact_loss"] == sorted(history["train_exact_loss"], reverse=True)
    assert history["val_exact_loss"] == pytest.approx(history["val_loss"], rel=1e-5)
    alone, _, _ = worsening()
    expected = alone.fit(*training, epochs=4, verbose=0, validation_data=data, shuffle=False).history
    assert {name: history[name] for name in expected} == expected  # the second pass changes nothing


# ---- arguments ----


def test_no_sample_is_nan():
    model, data, training = worsening()
    empty = tuple(array[:0] for array in data)
    metric = ce.BinaryCrossEntropy(kind="logits")
    for nothing in (empty, [], lambda: iter(())):
        assert math.isnan(evaluate(model, nothing, metric).compute())
    history = model.fit(*training, callbacks=[ExactLossCallback(empty, metric)], verbose=0).history
    assert math.isnan(history["val_exact_loss"][0])


def test_an_infinite_loss_is_written():
    model = look_up(np.zeros((2, 1), np.float32))
    model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.SGD(0.0))
    x, y = np.array([0, 1]), np.array([0, 1])
    callback = ExactLossCallback((x, y), ce.BinaryCrossEntropy(eps=0))
    assert model.fit(x, y, callbacks=[callback], verbose=0).history["val_exact_loss"] == [math.inf]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ((np.zeros(3),), "data is a tuple of 1: expected (x, y), (x, y, sample_weight), a PyDataset"),
        ((np.zeros(3), np.zeros(2)), "data[1] has 2 rows: expected 3, as in data[0]"),
        ((np.zeros(3), [0, 1, 0]), "data[1] is 0: expected an array"),
        (np.zeros(3), "data is "),
        (None, "data is None: expected (x, y), (x, y, sample_weight), a PyDataset"),
        (iter([]), "data is <list_iterator object at "),
        ([np.zeros(3, int)], "batch 0 is array([0, 0, 0]): expected (x, y) or (x, y, sample_weight)"),
        ([(np.zeros(3, int), None)], "batch 0 has no y: expected (x, y) or (x, y, sample_weight)"),
        (
            [(np.zeros(3, int), np.zeros(3)), (np.zeros(3, int), np.array([0, 1, 2]))],
            "batch 1: target[2] is 2: expected 0 or 1",
        ),
    ],
)
def test_bad_data_is_one_clear_error(data, text):
    model, _, _ = worsening()
    with pytest.raises(ce.InputError) as caught:
        evaluate(model, data, ce.BinaryCrossEntropy(kind="logits"))
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("metric", "options", "text"),
    [
        ("loss", {}, "metric is 'loss': expected a metric such as BinaryCrossEntropy()"),
        (ce.MeanLoss().update([1.0]), {}, "metric has samples already: expected an empty metric, for its options"),
        (ce.Grouped(ce.BinaryCrossEntropy()), {}, "metric is a Grouped: expected one whose summary() is one Summary"),
        (ce.BinaryCrossEntropy(), {"batch_size": 0}, "batch_size is 0: expected a whole number of at least 1"),
        (ce.BinaryCrossEntropy(), {"prefix": None}, "prefix is None: expected text, such as 'val_'"),
        (ce.BinaryCrossEntropy(), {"update": 3}, "update is 3: expected a function that adds a batch"),
    ],
)
def test_bad_options_are_one_clear_error(metric, options, text):
    with pytest.raises(ce.InputError) as caught:
        ExactLossCallback((np.zeros(3), np.zeros(3)), metric, **options)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (
            ce.MeanLoss(),
            "batch 0: metric is a MeanLoss, whose update does not take the batch: too many positional arguments: "
            "expected the arguments losses, weight, cluster",
        ),
        (ce.GANCrossEntropy(), "batch 0: metric is a GANCrossEntropy, whose update does not take the batch: too many"),
        (ce.CTCCrossEntropy(), "batch 0: metric is a CTCCrossEntropy, whose update does not take the batch: missing"),
        (ce.Paired(ce.BinaryCrossEntropy()), "batch 0: target is None"),
    ],
)
def test_a_metric_with_other_arguments_needs_a_function(metric, text):
    model, data, _ = worsening()
    with pytest.raises(ce.InputError) as caught:
        evaluate(model, data, metric)
    assert str(caught.value).startswith(text)
    if isinstance(metric, ce.MeanLoss):
        found = evaluate(model, data, metric, update=lambda m, preds, y, **others: m.update(preds[:, 0]))
        assert found == ce.MeanLoss().update(model.predict(data[0], verbose=0)[:, 0])


def test_a_model_that_is_none():
    with pytest.raises(ce.InputError, match="model is None: expected a model of Keras"):
        evaluate(None, (np.zeros(3), np.zeros(3)), ce.BinaryCrossEntropy())


def test_a_backend_that_is_not_installed_is_named():
    assert error_without("streamce.integrations.keras", "tensorflow", KERAS_BACKEND="tensorflow") == (
        "ModuleNotFoundError: streamce.integrations.keras needs a backend of Keras: install tensorflow, "
        "or set KERAS_BACKEND to one that is installed"
    )


def test_a_missing_framework_names_its_extra():
    assert error_without("streamce.integrations.keras", "keras") == (
        "ModuleNotFoundError: streamce.integrations.keras needs keras: pip install 'streamce[keras]'"
    )


def test_the_examples_of_docstrings():
    assert doctest.testmod(streamce.integrations.keras, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_page(tmp_path):
    path = ROOT / "docs/integrations" / "keras.md"
    pages.run(path, tmp_path)
    measured = pages.fences(path, "text")[-1].splitlines()
    rows = [line.removeprefix("batches of ").replace(":", "").split() for line in measured]
    pages.assert_shows(ROOT / "docs" / "LOSS_PARITY.md", *rows)
