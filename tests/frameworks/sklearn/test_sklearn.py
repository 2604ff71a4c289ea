"""Scorers of scikit-learn from ``ce.log_loss``: the numbers of ``neg_log_loss``, from exact sums."""

import pickle

import numpy as np
import pages
import pytest
import sklearn
from paths import ROOT
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import streamce as ce

IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
NAMES = IRIS[0], np.array(["setosa", "versicolor", "virginica"])[IRIS[1]]
DATA = {"binary": CANCER, "multiclass": IRIS, "strings": NAMES}


def scorer(**options):
    return make_scorer(ce.log_loss, response_method="predict_proba", greater_is_better=False, **options)


def model():
    return make_pipeline(StandardScaler(), LogisticRegression())


@pytest.mark.parametrize("name", DATA)
def test_the_scores_are_those_of_scikit_learn(name):
    x, y = DATA[name]
    ours = cross_val_score(model(), x, y, scoring=scorer(), cv=7)
    assert ours == pytest.approx(cross_val_score(model(), x, y, scoring="neg_log_loss", cv=7), rel=1e-12)
    fitted = model().fit(x, y)
    assert scorer()(fitted, x, y) == -ce.log_loss(y, fitted.predict_proba(x))


def test_a_fold_without_a_class_needs_the_labels():
    """The rows of iris are sorted by class, so each fold has one."""
    x, y = IRIS
    folds = list(StratifiedKFold(3).split(x, y))
    one_class = [(train, test[y[test] == 0]) for train, test in folds]
    with pytest.raises(ce.InputError, match="y_true contains only one label"):
        cross_val_score(model(), x, y, scoring=scorer(), cv=one_class, error_score="raise")
    found = cross_val_score(model(), x, y, scoring=scorer(labels=[0, 1, 2]), cv=one_class, error_score="raise")
    expected = [
        ce.MulticlassCrossEntropy().update(model().fit(x[train], y[train]).predict_proba(x[test]), y[test]).compute()
        for train, test in one_class
    ]
    assert -found == pytest.approx(expected, rel=1e-12)


def test_cross_validate_with_other_scorers_and_processes():
    x, y = IRIS
    scoring = {"exact": scorer(), "log_loss": "neg_log_loss", "accuracy": "accuracy"}
    found = cross_validate(model(), x, y, scoring=scoring, return_train_score=True)
    assert found["test_exact"] == pytest.approx(found["test_log_loss"], rel=1e-12)
    assert found["train_exact"] == pytest.approx(found["train_log_loss"], rel=1e-12)
    again = cross_validate(model(), x, y, scoring=scorer(), n_jobs=2)
    assert list(again["test_score"]) == list(found["test_exact"])  # in other processes, the same bits


def test_a_grid_search_finds_the_same_model():
    x, y = CANCER
    grid = {"logisticregression__C": [0.001, 0.1, 10.0]}
    ours, theirs = (GridSearchCV(model(), grid, scoring=scoring).fit(x, y) for scoring in (scorer(), "neg_log_loss"))
    assert ours.best_params_ == theirs.best_params_ == {"logisticregression__C": 0.1}
    assert ours.best_score_ == pytest.approx(theirs.best_score_, rel=1e-12)
    assert ours.score(x, y) == scorer()(ours.best_estimator_, x, y)


def test_permutation_importance():
    x, y = IRIS
    fitted = model().fit(x, y)
    ours, theirs = (
        permutation_importance(fitted, x, y, scoring=scoring, n_repeats=3, random_state=0)
        for scoring in (scorer(), "neg_log_loss")
    )
    assert ours.importances == pytest.approx(theirs.importances, abs=1e-12)
    assert ours.importances_mean[2:].min() > ours.importances_mean[:2].max()  # petals tell more than sepals


def test_sample_weights_are_routed():
    x, y = IRIS
    weight = np.random.default_rng(0).random(len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        exact = scorer().set_score_request(sample_weight=True)
        theirs = get_scorer("neg_log_loss").set_score_request(sample_weight=True)
        unweighted_fit = GaussianNB().set_fit_request(sample_weight=False)
        found = cross_validate(
            unweighted_fit, x, y, scoring={"exact": exact, "theirs": theirs}, params={"sample_weight": weight}
        )
    assert found["test_exact"] == pytest.approx(found["test_theirs"], rel=1e-12)


def test_the_mean_of_folds_is_not_the_mean_of_samples():
    """Folds of unequal size have an equal vote. The exact mean of all held-out predictions has an interval."""
    x, y = IRIS
    folds = KFold(7, shuffle=True, random_state=0)
    fold_losses = -cross_val_score(GaussianNB(), x, y, scoring=scorer(labels=[0, 1, 2]), cv=folds)
    proba = cross_val_predict(GaussianNB(), x, y, method="predict_proba", cv=folds)
    metric = ce.MulticlassCrossEntropy().update(proba, y)
    sizes = [len(test) for _, test in folds.split(x)]
    assert metric.compute() == pytest.approx(np.average(fold_losses, weights=sizes), rel=1e-9)
    assert abs(metric.compute() - fold_losses.mean()) > 1e-5
    low, high = metric.summary().interval
    assert low < metric.compute() < high


def test_scorers_can_be_pickled_and_printed():
    again = pickle.loads(pickle.dumps(scorer(labels=[0, 1, 2])))
    assert "log_loss" in repr(again)
    fitted = model().fit(*IRIS)
    assert again(fitted, *IRIS) == scorer()(fitted, *IRIS)


def test_a_model_without_probabilities():
    from sklearn.svm import LinearSVC

    with pytest.raises(AttributeError, match="predict_proba"):
        scorer()(LinearSVC().fit(*IRIS), *IRIS)


def test_the_page(tmp_path):
    pages.run(ROOT / "docs/integrations" / "sklearn.md", tmp_path)
