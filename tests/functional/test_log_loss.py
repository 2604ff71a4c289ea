"""log_loss has the values, labels, errors and warnings of scikit-learn, and passes its tests."""

import os
import re
import subprocess
import sys
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import log_loss as theirs

import streamce as ce

rng = np.random.default_rng(11)
# Relative tolerances, because scikit-learn computes in the dtype of the input.
CLOSE = {np.float64: 1e-12, np.float32: 1e-6, np.float16: 1e-3}


def same(*args, rel=1e-12, **options):
    assert ce.log_loss(*args, **options) == pytest.approx(theirs(*args, **options), rel=rel, abs=0)


# ---- values ----


@pytest.fixture(params=CLOSE, ids=lambda dtype: dtype.__name__)
def dtype(request):
    return request.param


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("weight", [None, rng.random(400), rng.integers(0, 3, 400)], ids=["none", "real", "whole"])
@pytest.mark.parametrize("classes", [2, 3, 30])
def test_the_loss_is_scikit_learns(dtype, classes, weight, normalize):
    proba = rng.dirichlet(np.ones(classes), 400).astype(dtype)
    truth = rng.integers(0, classes, 400)
    same(truth, proba, sample_weight=weight, normalize=normalize, labels=range(classes), rel=CLOSE[dtype])


@pytest.mark.parametrize("shape", [(400,), (400, 1)])
def test_one_column_is_the_greater_label(dtype, shape):
    proba = rng.random(400).astype(dtype).reshape(shape)
    same(rng.integers(0, 2, 400), proba, rel=CLOSE[dtype])


def test_tiny_losses_of_one_column_are_rounded_as_scikit_learn_rounds_them():
    same([0, 0, 1], np.array([3e-7, 1e-7, 1 - 1e-6], dtype=np.float32), rel=1e-6)


def test_probabilities_are_clipped_on_both_sides_at_eps_of_their_dtype(dtype):
    same([0, 1], np.array([[0, 1], [1, 0]], dtype=dtype), rel=CLOSE[dtype])
    same([0, 1], np.array([[1, 0], [0, 1]], dtype=dtype), rel=CLOSE[dtype])


@pytest.mark.parametrize("proba", [[0, 1, 1], [False, True, False]])
def test_whole_numbers_and_bools_are_taken_as_float64(proba):
    same([0, 1, 0], proba)


def test_negative_weights_are_taken_as_scikit_learn_takes_them():
    same([0, 1, 1], [0.25, 0.5, 0.125], sample_weight=[1.0, -0.5, 2.0])


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_memory_order_does_not_matter(order):
    proba = np.asarray(rng.dirichlet(np.ones(4), 200), order=order)
    same(rng.integers(0, 4, 200), proba)
    same(rng.integers(0, 4, 100), proba[::2])


# ---- labels ----


@pytest.mark.parametrize(
    "truth",
    [
        ["spam", "ham", "eggs", "spam"],
        np.array(["spam", "ham", "eggs", "spam"]),
        np.array(["spam", "ham", "eggs", "spam"], dtype=object),
        [7, -3, 2, 7],
        [7.0, -3.0, 2.0, 7.0],
        np.array([[7], [-3], [2], [7]]),
        np.array([7, 3, 2, 7], dtype=np.uint8),
        (1, 0, 2, 1),
    ],
    ids=["strings", "str array", "objects", "whole", "real", "column", "uint8", "tuple"],
)
def test_labels_of_every_sort(truth):
    same(truth, rng.dirichlet(np.ones(3), 4))


def test_bools_are_labels():
    same([True, False, True], [0.25, 0.5, 0.75])
    same(np.array([True, False, True]), [0.25, 0.5, 0.75], labels=[False, True])


def test_labels_may_hold_more_than_the_data():
    same([2, 2], [[0.1, 0.9], [0.3, 0.7]], labels=[1, 2])
    same(["b", "b"], [[0.1, 0.8, 0.1], [0.3, 0.6, 0.1]], labels=["a", "b", "c"])


def test_labels_of_another_dtype_than_the_data():
    same([1.0, 2.0], [[0.1, 0.9], [0.3, 0.7]], labels=np.array([1, 2], dtype=np.uint8))


def test_an_indicator_matrix_adds_up_the_classes_it_marks():
    truth = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]])
    proba = rng.dirichlet(np.ones(3), 4)
    same(truth, proba)
    same(truth.astype(bool), proba, sample_weight=[1, 2, 3, 4], normalize=False)
    same(np.eye(2, dtype=int)[[0, 1, 1]], np.array([0.25, 0.5, 0.75]))


def test_numpys_variable_width_strings_are_labels():
    truth = np.array(["b", "a"], dtype=np.dtypes.StringDType())
    assert ce.log_loss(truth, [0.25, 0.5]) == ce.log_loss(["b", "a"], [0.25, 0.5])


# ---- errors and warnings ----

HALF = [[0.5, 0.5], [0.5, 0.5]]
ERRORS = {
    "one label": (([2, 2], HALF), {}),
    "one label in labels": (([2, 2], HALF), {"labels": [2]}),
    "unknown label": (([0, 5], HALF), {"labels": [0, 1]}),
    "unknown string": ((["a", "x"], HALF), {"labels": ["a", "b"]}),
    "lengths": (([0, 1, 1], HALF), {}),
    "lengths of weights": (([0, 1], HALF), {"sample_weight": [1, 2, 3]}),
    "more classes in y_true": (([0, 1, 2], [*HALF, [0.5, 0.5]]), {}),
    "more classes in labels": (([0, 1], HALF), {"labels": [0, 1, 2]}),
    "above 1": (([0, 1], [[0.5, 1.25], [0.5, 0.5]]), {}),
    "below 0": (([0, 1], [[-0.25, 0.5], [0.5, 0.5]]), {}),
    "weights of 0": (([0, 1], HALF), {"sample_weight": [0, 0]}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_has_scikit_learns_words(name):
    args, options = ERRORS[name]
    with pytest.raises(ValueError, match=r"y_true|labels|ample|y_prob") as expected:
        theirs(*args, **options)
    words = " ".join(str(expected.value).split()).removesuffix(".")
    with pytest.raises(ce.InputError, match=re.escape(words)):
        ce.log_loss(*args, **options)


@pytest.mark.parametrize(
    ("args", "options", "argument", "index"),
    [
        (([0, 1], [[0.5, np.nan], [0.5, 0.5]]), {}, "y_proba", (0, 1)),
        (([0, 1], [0.5, np.inf]), {}, "y_proba", (1,)),
        (([0, 1], [0.5, 1.5]), {}, "y_proba", (1,)),
        (([0, 1], [[0.5, 0.5], [-0.5, 0.5]]), {}, "y_proba", (1, 0)),
        (([0, 1], np.full((2, 2, 2), 0.5)), {}, "y_proba", None),
        (([], []), {}, "y_proba", None),
        (([0, 1], np.zeros((2, 0))), {}, "y_proba", None),
        (([0, 1], None), {}, "y_proba", None),
        (([0, 1], "ab"), {}, "y_proba", None),
        ((None, HALF), {}, "y_true", None),
        (([0.5, 1], HALF), {}, "y_true", (0,)),
        (([0, np.nan], HALF), {}, "y_true", (1,)),
        (([b"a", b"b"], HALF), {}, "y_true", None),
        (([[0, 1], [1]], HALF), {}, "y_true", None),
        (([None, "a"], HALF), {}, "y_true", None),
        (([[0, 1], [3, 0]], HALF), {}, "y_true", (1, 0)),
        (([["a", "b"], ["b", "a"]], HALF), {}, "y_true", (0, 0)),
        (([[0, 1], [1, 0]], HALF), {"labels": [0, 1]}, "y_true", None),
        ((["a", "b"], HALF), {"labels": [0, 1]}, "y_true", None),
        (([0, 1], HALF), {"labels": []}, "labels", None),
        (([0, 1], HALF), {"labels": [0, 1, 1]}, "labels", None),
        (([0, 1], HALF), {"labels": [[0, 1]]}, "labels", None),
        (([0, 1], HALF), {"sample_weight": [1, np.nan]}, "sample_weight", (1,)),
        (([0, 1], HALF), {"sample_weight": [[1, 2]]}, "sample_weight", None),
        (([0, 1], HALF), {"sample_weight": 1.0}, "sample_weight", None),
        (([0, 1], HALF), {"sample_weight": ["a", "b"]}, "sample_weight", None),
        (([0, 1], HALF), {"sample_weight": [1, -1]}, "sample_weight", None),
        (([0, 1], HALF), {"normalize": "yes"}, "normalize", None),
    ],
)
def test_bad_input_is_named(args, options, argument, index):
    with pytest.raises(ce.InputError) as error:
        ce.log_loss(*args, **options)
    assert (error.value.argument, error.value.index) == (argument, index)
    assert argument.removeprefix("y_") in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"y_true": [0, 1], "y_proba": [[0.2, 0.7], [0.6, 0.3]]},
        {"y_true": ["eggs", "spam"], "y_proba": HALF, "labels": ["spam", "eggs"]},
    ],
    ids=["row sums", "unsorted labels"],
)
def test_a_warning_has_scikit_learns_words_and_points_at_the_caller(arguments):
    with pytest.warns(UserWarning, match="sum to one|lexicographically") as expected:
        value = theirs(**arguments)
    with pytest.warns(UserWarning, match="sum to one|lexicographically") as found:
        assert ce.log_loss(**arguments) == pytest.approx(value, rel=1e-12)
    assert [str(warning.message) for warning in found] == [str(warning.message) for warning in expected]
    assert found[0].filename == __file__


def test_the_tolerance_of_row_sums_is_scikit_learns(dtype):
    root = np.sqrt(np.finfo(dtype).eps)
    for excess in (0.5, 0.9, 2.0, 4.0):
        proba = np.array([[0.5, 0.5 + excess * root], [0.5, 0.5]], dtype=dtype)
        counts = []
        for function in (theirs, ce.log_loss):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                function([0, 1], proba)
            counts.append(len(caught))
        assert counts[0] == counts[1] == (excess > 1)


# ---- scikit-learn's own tests ----

# Run in its own process, with our log_loss in place of scikit-learn's.
PLUGIN = """
import sklearn.metrics
import sklearn.metrics._classification
import streamce

sklearn.metrics.log_loss = sklearn.metrics._classification.log_loss = streamce.log_loss
"""
# We do not support the alias y_pred. The array API and data frames need more libraries than NumPy.
# Two tests of d2_log_loss_score compare it with log_loss.
CHOSEN = "log_loss and not y_pred_deprecation and not array_api and not dataframe and not d2"
ALSO = ["test_d2_log_loss_score", "test_d2_log_loss_score_missing_labels"]
WHERE = "sklearn.metrics.tests"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return the outcome of each of scikit-learn's tests: {(module, name): outcome}."""
    folder = tmp_path_factory.mktemp("sklearn")
    (folder / "ours_in_place.py").write_text(PLUGIN)
    command = [sys.executable, "-m", "pytest", "-p", "ours_in_place", "-p", "no:cacheprovider", "-c", os.devnull]
    path = [str(folder), *filter(None, sys.path)]
    runs = [
        ["--pyargs", f"{WHERE}.test_classification", f"{WHERE}.test_common", "-k", CHOSEN],
        ["--pyargs", *(f"{WHERE}.test_classification::{name}" for name in ALSO)],
    ]
    found = {}
    for number, run in enumerate(runs):
        report = folder / f"{number}.xml"
        subprocess.run(
            [*command, f"--junitxml={report}", *run],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            capture_output=True,
            check=False,
        )
        for case in ElementTree.parse(report).iter("testcase"):
            name = f"{case.get('classname').rpartition('.')[2]}::{case.get('name')}"
            found[name] = " ".join(child.get("message", child.tag) for child in case) or "passed"
    return found


def test_scikit_learns_own_tests_pass(outcomes):
    assert {name: outcome for name, outcome in outcomes.items() if outcome != "passed"} == {}


def test_scikit_learns_own_tests_are_all_run(outcomes):
    ran = {name.partition("::")[2].partition("[")[0] for name in outcomes}
    assert ran >= {
        "test_log_loss",
        "test_log_loss_eps",
        "test_log_loss_not_probabilities_warning",
        "test_log_loss_perfect_predictions",
        "test_log_loss_pandas_input",
        "test_log_loss_warnings",
        *ALSO,
    }
    # Laws of all metrics, which are run for log_loss with and without normalize.
    assert ran >= {
        "test_continuous_inf_nan_input",
        "test_continuous_metric_permutation_invariance",
        "test_format_invariance_with_1d_vectors",
        "test_multiclass_sample_weight_invariance",
        "test_multilabel_sample_weight_invariance",
        "test_sample_order_invariance",
    }
    assert len(outcomes) >= 35
