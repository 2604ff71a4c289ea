"""river's own evaluation, windows and containers, with metrics whose values are exact."""

import copy
import datetime as dt
import doctest
import math
import pickle

import numpy as np
import pages
import pytest
from imports import error_without
from paths import ROOT
from river import (
    cluster,
    compose,
    datasets,
    ensemble,
    evaluate,
    linear_model,
    metrics,
    naive_bayes,
    neighbors,
    preprocessing,
    stream,
    tree,
    utils,
)

import streamce as ce
import streamce.integrations.river
from streamce.integrations.river import ExactCrossEntropy, ExactLogLoss

EPS = 2.0**-52


def logistic():
    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def predictions(model, data):
    """Return what progressive_val_score gives to a metric."""
    found = []
    for x, y in data:
        y_pred = model.predict_proba_one(x)
        if y_pred:
            found.append((y, y_pred))
        model.learn_one(x, y)
    return found


def binary(rows):
    preds, target = [y_pred.get(True, 0.0) for _, y_pred in rows], [int(y) for y, _ in rows]
    return ce.BinaryCrossEntropy().update(np.array(preds), np.array(target))


def multiclass(rows):
    """Return one update with a column for each label."""
    labels = sorted({label for y, y_pred in rows for label in (y, *y_pred)}, key=str)
    preds = np.array([[y_pred.get(label, 0.0) for label in labels] for _, y_pred in rows])
    return ce.MulticlassCrossEntropy().update(preds, np.array([labels.index(y) for y, _ in rows]))


# ---- evaluation ----


def test_progressive_val_score_gives_one_update_with_all_predictions():
    metric = evaluate.progressive_val_score(datasets.Phishing(), logistic(), ExactLogLoss())
    rows = predictions(logistic(), datasets.Phishing())
    assert metric.metric.to_bytes() == binary(rows).to_bytes()
    theirs = evaluate.progressive_val_score(datasets.Phishing(), logistic(), metrics.LogLoss())
    assert metric.get() == pytest.approx(theirs.get(), rel=1e-12)
    assert metric.summary().count == 1250


@pytest.mark.parametrize(
    "model",
    [
        naive_bayes.GaussianNB(),
        tree.HoeffdingTreeClassifier(grace_period=50),
        neighbors.KNNClassifier(n_neighbors=5),
        preprocessing.StandardScaler() | linear_model.SoftmaxRegression(),
        ensemble.BaggingClassifier(tree.HoeffdingTreeClassifier(), n_models=3, seed=1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_label_that_a_model_has_not_seen_is_floored(model):
    """Classifiers do not predict labels before they see them. The loss of river is 0 there."""
    rows = predictions(model.clone(), datasets.ImageSegments().take(100))
    unseen = sum(y not in y_pred for y, y_pred in rows)
    both = ExactCrossEntropy() + metrics.CrossEntropy()
    evaluate.progressive_val_score(datasets.ImageSegments().take(100), model.clone(), both)
    metric, theirs = both
    assert metric.metric.to_bytes() == multiclass(rows).to_bytes()
    assert metric.summary().count == len(rows)
    floored = [y_pred.get(y, 0.0) < EPS for y, y_pred in rows]
    assert metric.summary().floored == sum(floored) >= unseen > 0
    assert theirs.get() < metric.get()


def test_pipelines_of_compose():
    model = compose.Pipeline(("scale", preprocessing.StandardScaler()), ("model", linear_model.LogisticRegression()))
    metric = ExactLogLoss()
    assert metric.works_with(model)
    steps = [*evaluate.iter_progressive_val_score(datasets.Phishing().take(300), model, metric, step=100)]
    assert [step["Step"] for step in steps] == [100, 200, 300]
    assert steps[-1]["ExactLogLoss"] is metric


def test_labels_that_arrive_late():
    data = [(x | {"t": i}, y) for i, (x, y) in enumerate(datasets.Phishing().take(200))]
    scores = [
        evaluate.progressive_val_score(data, logistic(), metric, moment="t", delay=10).get()
        for metric in (ExactLogLoss(), metrics.LogLoss())
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)


def test_beside_a_metric_of_labels():
    both = ExactLogLoss() + metrics.Accuracy()
    evaluate.progressive_val_score(datasets.Phishing(), logistic(), both)
    assert both.requires_labels is False
    assert both[0].get() == evaluate.progressive_val_score(datasets.Phishing(), logistic(), ExactLogLoss()).get()
    assert both[1].get() > 0.8


def test_models_without_probabilities_are_refused():
    for metric in (ExactLogLoss(), ExactCrossEntropy()):
        assert metric.bigger_is_better is False
        for model in (linear_model.LinearRegression(), cluster.KMeans()):
            assert not metric.works_with(model)
            with pytest.raises(ValueError, match="is not compatible with"):
                evaluate.progressive_val_score(datasets.TrumpApproval(), model, metric)


def test_the_metric_of_a_forest():
    """A forest clones its metric for each tree, and compares the clones."""
    from river import forest

    model = forest.ARFClassifier(n_models=3, seed=1, metric=metrics.Accuracy())
    metric = evaluate.progressive_val_score(datasets.Phishing().take(300), model, ExactLogLoss())
    assert 0 < metric.get() < 40


# ---- windows ----


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_window_holds_the_bytes_of_its_samples(size):
    rows = predictions(logistic(), datasets.Phishing().take(300))
    window = utils.Rolling(ExactLogLoss, window_size=size)
    for i, (y, y_pred) in enumerate(rows, 1):
        window.update(y, y_pred)
        assert window.get() == binary(rows[max(0, i - size) : i]).compute()
    assert window.obj.metric.to_bytes() == binary(rows[-size:]).to_bytes()


def test_a_window_in_an_evaluation():
    window = utils.Rolling(ExactCrossEntropy, window_size=50, eps=1e-6)
    evaluate.progressive_val_score(datasets.ImageSegments().take(200), naive_bayes.GaussianNB(), window)
    rows = predictions(naive_bayes.GaussianNB(), datasets.ImageSegments().take(200))[-50:]
    expected = [-math.log(max(y_pred.get(y, 0.0), 1e-6)) for y, y_pred in rows]
    assert window.get() == pytest.approx(math.fsum(expected) / 50, rel=1e-12)


def test_a_window_of_time():
    window = utils.TimeRolling(ExactLogLoss, period=dt.timedelta(minutes=2))
    rows = [(True, 0.9), (False, 0.3), (True, 0.6)]
    for minute, (y, p) in enumerate(rows):
        window.update(y, p, t=dt.datetime(2026, 1, 1, 0, 2 * minute))
    assert window.get() == ce.BinaryCrossEntropy().update(0.6, 1).compute()


def test_revert_leaves_no_rounding_behind():
    """river's own mean is off after large losses have come and gone."""
    ours, theirs = ExactLogLoss(), metrics.LogLoss()
    for metric in (ours, theirs):
        metric.update(True, 0.9)
        for _ in range(1000):
            metric.update(True, 1e-15)
        for _ in range(1000):
            metric.revert(True, 1e-15)
    assert ours.get() == ce.BinaryCrossEntropy().update(0.9, 1).compute()
    assert theirs.get() != ours.get()


def test_more_reverted_than_added():
    metric = ExactLogLoss()
    metric.revert(True, 0.9)
    with pytest.raises(ce.InputError, match="more was subtracted"):
        metric.get()


# ---- arguments ----


def test_no_sample_is_nan():
    for metric in (ExactLogLoss(), ExactCrossEntropy()):
        assert math.isnan(metric.get())
        metric.update(True, {True: 0.5, False: 0.5})
        metric.revert(True, {True: 0.5, False: 0.5})
        assert math.isnan(metric.get())


@pytest.mark.parametrize(
    ("y_true", "y_pred", "p"),
    [
        (True, 0.25, 0.25),
        (False, 0.25, 0.75),
        (1, np.float32(0.25), 0.25),
        (np.bool_(False), 0, 1.0),
        (True, {False: 0.75, True: 0.25}, 0.25),
        (0, {1: 0.25, 0: 0.75}, 0.75),
        (True, {False: 1.0}, EPS),
        (False, {True: 1.0}, EPS),
        (False, {False: 1.0}, 1.0),
        (True, {}, EPS),
        (False, {}, EPS),
    ],
)
def test_the_loss_of_a_binary_sample(y_true, y_pred, p):
    metric = ExactLogLoss()
    metric.update(y_true, y_pred)
    assert metric.get() == pytest.approx(-math.log(p), rel=1e-15, abs=0)
    assert metric.summary().floored == (p == EPS)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "p"),
    [
        ("a", {"a": 0.25, "b": 0.5, "c": 0.25}, 0.25),
        ("c", {"a": 0.25, "b": 0.75}, EPS),
        ("a", {"a": 1.0}, 1.0),
        ("b", {"a": 1.0}, EPS),
        ("a", {}, EPS),
        (True, {1: 0.5, 0: 0.5}, 0.5),
        (300, dict.fromkeys(range(1024), 1 / 1024), 1 / 1024),
        (None, {None: 0.5, "a": 0.5}, 0.5),
    ],
)
def test_the_loss_of_a_sample_of_many_classes(y_true, y_pred, p):
    metric = ExactCrossEntropy()
    metric.update(y_true, y_pred)
    assert metric.get() == pytest.approx(-math.log(p), rel=1e-15, abs=0)
    assert metric.summary().floored == (p == EPS)


def test_weights():
    for metric in (ExactLogLoss(), ExactCrossEntropy()):
        metric.update(True, {True: 0.5, False: 0.5}, w=3.0)
        metric.update(True, {True: 0.125, False: 0.875}, 1.0)
        assert metric.get() == pytest.approx((3 * math.log(2) + math.log(8)) / 4, rel=1e-15)


def test_other_labels():
    metric = ExactLogLoss(pos_val="spam")
    metric.update("spam", {"spam": 0.5, "ham": 0.25, "egg": 0.25})
    metric.update("egg", {"spam": 0.5, "ham": 0.25, "egg": 0.25})
    assert metric.get() == math.log(2)


@pytest.mark.parametrize(
    ("metric", "arguments", "text"),
    [
        (ExactLogLoss, (True, 1.5), "y_pred is 1.5: expected a probability in [0, 1]"),
        (ExactLogLoss, (True, math.nan), "y_pred is nan: expected a probability in [0, 1]"),
        (ExactLogLoss, (True, True), "y_pred is True: expected a probability, or a dict of one for each label"),
        (ExactLogLoss, (True, None), "y_pred is None: expected a probability, or a dict of one for each label"),
        (ExactLogLoss, ("yes", 0.5), "y_true is 'yes': expected True or False; give another positive label as pos_val"),
        (ExactLogLoss, (2, 0.5), "y_true is 2: expected True or False; give another positive label as pos_val"),
        (ExactLogLoss, (None, 0.5), "y_true is None: expected True or False; give another positive label as pos_val"),
        (ExactLogLoss, (False, {False: 0.7}), "y_pred adds up to 0.7 over the classes: expected probabilities that"),
        (
            ExactLogLoss,
            (False, {False: 0.7, True: 0.2}),
            "y_pred adds up to 0.9 over the classes: expected probabilities that add up to 1",
        ),
        (ExactLogLoss, (True, 0.5, -1.0), "w is -1.0: expected a finite number, 0 or more"),
        (ExactCrossEntropy, ("a", {"a": 0.5, "b": 1.5}), "y_pred['b'] is 1.5: expected a probability in [0, 1]"),
        (ExactCrossEntropy, ("a", {"a": 0.5, "b": math.nan}), "y_pred['b'] is nan: expected a probability in [0, 1]"),
        (
            ExactCrossEntropy,
            ("c", {"a": 0.5, "b": 0.25}),
            "y_pred adds up to 0.75 over the classes: expected probabilities that add up to 1",
        ),
        (ExactCrossEntropy, ("a", "a"), "y_pred is 'a': expected a dict of probabilities"),
        (ExactCrossEntropy, ("a", {"a": "x", "b": 1}), "y_pred is {'a': 'x', 'b': 1}: expected a probability, or"),
        (ExactCrossEntropy, (None, {"a": 0.5, "b": 0.5}), "y_true is None: expected a label"),
        (ExactCrossEntropy, ("a", {"a": 0.5, "b": 0.5}, math.inf), "w is inf: expected a finite number, 0 or more"),
    ],
)
def test_bad_input_is_one_clear_error(metric, arguments, text):
    metric = metric()
    metric.update(True, {True: 0.5, False: 0.5})
    before = metric.metric.to_bytes()
    with pytest.raises(ce.InputError) as caught:
        metric.update(*arguments)
    assert str(caught.value).startswith(text)
    assert metric.metric.to_bytes() == before


def test_bad_input_can_be_skipped_and_counted():
    binary, many = ExactLogLoss(invalid="skip"), ExactCrossEntropy(invalid="skip")
    for y_true, y_pred in [(True, math.nan), (True, None), (None, 0.5), ("x", 0.5), (True, {True: 0.5, False: 0.1})]:
        binary.update(y_true, y_pred)
    for y_true, y_pred in [("a", {"a": math.nan, "b": 0.5}), (None, {"a": 0.5, "b": 0.5}), ("a", {"a": 0.5, "b": 0.1})]:
        many.update(y_true, y_pred)
    for metric, number in ((binary, 5), (many, 3)):
        metric.update(True, {True: 0.5, False: 0.5})
        assert (metric.summary().skipped, metric.summary().count) == (number, 1)
        assert metric.get() == math.log(2)


# ---- objects ----


def test_options_and_summary():
    metric = ExactLogLoss(tail=True, calibration=True)
    evaluate.progressive_val_score(datasets.Phishing(), logistic(), metric)
    low, high = metric.summary(level=0.99).interval
    assert low < metric.get() < high
    assert metric.metric.calibration().ece > 0
    assert 0 < metric.metric.tail().share(0.01) < 1


def test_clones_copies_and_pickles():
    metric = ExactLogLoss(pos_val="a", eps=1e-3)
    metric.update("a", 0.25)
    clone = metric.clone()
    assert (clone.pos_val, clone.eps, math.isnan(clone.get())) == ("a", 1e-3, True)
    for same in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        same.update("b", 0.0)
        assert (same.get(), metric.get()) == (math.log(4) / 2, math.log(4))
    assert metric.is_better_than(ExactLogLoss()) is False
    assert repr(metric) == str(metric) == f"ExactLogLoss: {math.log(4)}"
    assert repr(ExactCrossEntropy().clone()) == "ExactCrossEntropy: nan"


def test_metrics_of_workers_add_up():
    rows = predictions(logistic(), datasets.Phishing())
    parts = [ExactLogLoss(), ExactLogLoss()]
    for i, (y, y_pred) in enumerate(rows):
        parts[i % 2].update(y, y_pred)
    assert (parts[0].metric + parts[1].metric).to_bytes() == binary(rows).to_bytes()


def test_the_streams_of_a_frame():
    x, y = [[0.1], [0.9], [0.4]] * 20, [False, True, False] * 20
    metric = evaluate.progressive_val_score(stream.iter_array(np.array(x), y), logistic(), ExactLogLoss())
    assert metric.summary().count == 60


def test_a_missing_framework_names_its_extra():
    assert error_without("streamce.integrations.river", "river") == (
        "ModuleNotFoundError: streamce.integrations.river needs river: pip install 'streamce[river]'"
    )


def test_the_examples_of_docstrings():
    assert doctest.testmod(streamce.integrations.river, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_page(tmp_path):
    path = ROOT / "docs/integrations" / "river.md"
    pages.run(path, tmp_path)
    ours, theirs, missing, *_ = pages.fences(path, "text")[1].split()
    assert missing == "45"
    pages.assert_shows(ROOT / "docs" / "LOSS_PARITY.md", [theirs, ours])
