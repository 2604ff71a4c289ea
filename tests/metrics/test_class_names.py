"""Labels may be names of classes, which are an option in the state."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import streamce as ce
from streamce.inputs.class_names import ClassNames
from streamce.reading.labels import Labels

NAMES = ["cat", "dog", "fox"]
PREDS = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.6, 0.3]])
TEXT, NUMBERS = ["cat", "fox", "dog"], [0, 2, 1]
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "numpy strings": np.array,
    "numpy objects": lambda x: np.array(x, dtype=object),
    "numpy, strided": lambda x: np.array([[each, "?"] for each in x], dtype=object)[:, 0],
    "pandas objects": lambda x: pd.Series(x, dtype=object),
    "pandas, another index": lambda x: pd.Series(x, index=[7, 8, 9]),
    "pandas strings": lambda x: pd.Series(x, dtype="string"),
    "pandas, Arrow strings": lambda x: pd.Series(x, dtype="string[pyarrow]"),
    "pandas categories": lambda x: pd.Series(x, dtype="category"),
    "pandas categorical": pd.Categorical,
    "pandas index": pd.Index,
    "polars": pl.Series,
    "polars categorical": lambda x: pl.Series(x, dtype=pl.Categorical),
    "polars enum": lambda x: pl.Series(x, dtype=pl.Enum(["fox", "bird", "dog", "cat"])),
    "arrow": pa.array,
    "arrow large strings": lambda x: pa.array(x, pa.large_string()),
    "arrow dictionary": lambda x: pa.array(x).dictionary_encode(),
    "arrow chunks": lambda x: pa.chunked_array([pa.array(x[:1], pa.string()), pa.array(x[1:], pa.string())]),
    "arrow dictionaries": lambda x: pa.chunked_array([pa.array(x[:1]), pa.array(x[1:])]).dictionary_encode(),
}
EVERY = pytest.mark.parametrize("container", CONTAINERS)


def named(**options):
    return ce.MulticlassCrossEntropy(classes=NAMES, **options)


@EVERY
def test_text_of_every_container_is_a_label(container):
    found = named(per_class=True).update(PREDS, CONTAINERS[container](TEXT), weight=[1.0, 2.0, 3.0])
    assert found.to_bytes() == named(per_class=True).update(PREDS, NUMBERS, weight=[1.0, 2.0, 3.0]).to_bytes()
    plain = ce.MulticlassCrossEntropy().update(PREDS, NUMBERS, weight=[1.0, 2.0, 3.0])
    assert found.summary() == plain.summary()


def test_a_stream_of_numbers_is_read_once():
    class Once:
        def __init__(self, array):
            self.array = pa.chunked_array([array])

        def __arrow_c_stream__(self, requested_schema=None):
            stream, self.array = self.array.__arrow_c_stream__(), None
            return stream

    for labels in NUMBERS, TEXT:
        assert named().update(PREDS, Once(labels)) == named().update(PREDS, NUMBERS)


@EVERY
def test_nulls_are_invalid_entries(container):
    target = CONTAINERS[container](["cat", None, "dog"])
    if isinstance(target, np.ndarray) and target.dtype.kind == "U":  # NumPy has no null of this dtype
        target = target.astype(object)
        target[1] = None
    with pytest.raises(ce.InputError, match=r"^target\[1\] is null") as error:
        named().update(PREDS, target)
    assert (error.value.index, error.value.cause) == ((1,), "invalid_null")
    summary = named(invalid="skip").update(PREDS, target).summary()
    assert (summary.count, summary.invalid_null) == (2, 1)


@EVERY
def test_a_label_that_is_no_name_is_named(container):
    target = CONTAINERS[container](["cat", "bird", "dog"])
    metric = named().update(PREDS, TEXT)
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=r"^target\[1\] is 'bird': expected one of 'cat', 'dog', 'fox'$") as error:
        metric.update(PREDS, target)
    assert (error.value.index, error.value.value, error.value.cause) == ((1,), "bird", "invalid_label")
    assert metric.to_bytes() == before
    summary = named(invalid="skip").update(PREDS, target).summary()
    assert (summary.count, summary.invalid_label) == (2, 1)


@pytest.mark.parametrize("ignore_index", [-1, -100, 0, 7])
def test_the_text_of_the_ignored_label_is_ignored(ignore_index):
    metric = named(ignore_index=ignore_index, invalid="skip")
    summary = metric.update(PREDS, [str(ignore_index), "bird", "dog"]).summary()
    assert (summary.count, summary.ignored, summary.invalid_label) == (1, 1, 1)


def test_rows_may_have_several_axes():
    preds = np.stack([PREDS, PREDS])
    target = [TEXT, ["dog", "cat", "cat"]]
    expected = named().update(preds, [NUMBERS, [1, 0, 0]]).to_bytes()
    assert named().update(preds, target).to_bytes() == named().update(preds, np.array(target)).to_bytes() == expected
    with pytest.raises(ce.InputError, match=r"^target\[1, 2\] is 'bird'"):
        named().update(preds, [TEXT, ["dog", "cat", "bird"]])


def test_wrappers_take_names():
    for make, keys in (
        (ce.Grouped, {"by": [1, 1, 2]}),
        (lambda metric: ce.Sliding(metric, samples=2), {}),
        (lambda metric: ce.Decayed(metric, half_life=9), {"by_time": [1, 2, 3]}),
        (lambda metric: ce.Collection({"mean": metric, "tail": named(tail=True)}), {}),
    ):
        for target in (TEXT, pl.Series(TEXT)):
            found = make(named()).update(PREDS, target, **keys)
            assert found.to_bytes() == make(named()).update(PREDS, NUMBERS, **keys).to_bytes()
        with pytest.raises(ce.InputError, match=r"target\[1\] is 'bird': expected one of 'cat'"):
            make(named()).update(PREDS, pl.Series(["cat", "bird", "dog"]), **keys)
    for target in (TEXT, pl.Series(TEXT)):
        found = ce.Paired(named()).update(PREDS, PREDS[:, ::-1], target)
        assert found.to_bytes() == ce.Paired(named()).update(PREDS, PREDS[:, ::-1], NUMBERS).to_bytes()
    assert named()(PREDS, TEXT) == named()(PREDS, NUMBERS)


@pytest.mark.parametrize("type_", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_streams_have_names(type_, rows):
    table = pa.table({"p": PREDS.tolist(), "y": pa.array(TEXT).cast(type_)})
    found = named().update_from(table.to_batches(max_chunksize=rows), preds="p", target="y")
    assert found.to_bytes() == named().update(PREDS, NUMBERS).to_bytes()
    wrong = pa.table({"p": PREDS.tolist(), "y": pa.array(["cat", "bird", None]).cast(type_)})
    with pytest.raises(ce.InputError, match="row 1: column 'y' is 'bird': expected one of 'cat', 'dog', 'fox'"):
        named().update_from(wrong.to_batches(max_chunksize=rows), preds="p", target="y")
    summary = named(invalid="skip").update_from(wrong, preds="p", target="y").summary()
    assert (summary.count, summary.invalid_label, summary.invalid_null) == (1, 1, 1)


# ---- one rule for text, in Python and in files ----

RULES = [
    (["1", "2"], None, ["2.0", "1.", "2"], [1, 0, 1], 0, 0),
    (["1", "2", "2.0"], None, ["2.0", "2", "2.00"], [2, 1, 1], 0, 0),
    (["cat", "dog"], None, ["", "cat", "dog.0"], [None, 0, -1], 1, 0),
    (["cat", ""], None, ["", "cat", "1"], [1, 0, -1], 0, 0),
    (["cat", "dog"], -100, ["-100", "-100.0", "dog"], [-100, -100, 1], 0, 2),
    (["cat", "dog"], -1, ["-1", "1", "dog"], [-1, -2, 1], 0, 1),
]


@pytest.mark.parametrize(("names", "ignore_index", "labels", "numbers", "nulls", "ignored"), RULES)
def test_text_means_the_same_in_python_and_in_files(names, ignore_index, labels, numbers, nulls, ignored):
    column = pa.array(labels)
    for types in pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()):
        for rule in ClassNames(names, ignore_index), Labels([names], ignore_index):
            found, null = rule.numbers(column.cast(types))
            null = np.zeros(3, bool) if null is None else null
            assert [None if missing else number for number, missing in zip(found, null, strict=True)] == numbers
    preds = np.full((3, len(names)), 1 / len(names))
    metric = ce.MulticlassCrossEntropy(classes=names, ignore_index=ignore_index, invalid="skip")
    table = pa.table({"p": preds.tolist(), "y": labels})
    state = metric.copy().update(preds, labels)
    assert state == metric.copy().update_from(table, preds="p", target="y")
    summary = state.summary()
    assert (summary.invalid_null, summary.ignored) == (nulls, ignored)
    assert summary.invalid_label == 3 - summary.count - nulls - ignored


def test_a_column_without_batches_or_labels_has_no_classes():
    for column in pa.chunked_array([], pa.string()), pa.array([None], pa.string()), pa.array([], pa.string()):
        assert ClassNames(NAMES).numbers(column)[0].tolist() == [0] * len(column)


# ---- the state ----


def test_the_state_has_the_names_and_others_keep_their_bytes():
    state = named(per_class=True).update(PREDS, TEXT)
    again = ce.from_bytes(state.to_bytes())
    assert again == state == pickle.loads(pickle.dumps(state))
    assert again.options["classes"] == NAMES
    assert again.update(PREDS, TEXT).summary().count == 6
    assert b"classes" not in ce.MulticlassCrossEntropy().to_bytes()
    assert ">fox<" in state.report()
    assert ">fox<" not in state.report(names=["a", "b", "c"])
    assert ce.MulticlassCrossEntropy(classes=np.array(NAMES)).options == named().options


@pytest.mark.parametrize("other", [None, ["cat", "fox", "dog"], ["cat", "dog"]])
def test_states_of_other_classes_do_not_add(other):
    metric = named().update(PREDS, TEXT)
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=r"^classes is \['cat', 'dog', 'fox'\] in one metric and ") as error:
        metric.merge(ce.MulticlassCrossEntropy(classes=other))
    assert str(other) in str(error.value)
    assert metric.to_bytes() == before


@pytest.mark.parametrize(
    "classes", ["ab", b"ab", 3, [], ["a"], ["a", 1], ["a", "a"], [["a", "b"]], {"a": 1}, [None, "a"]]
)
def test_what_cannot_be_names(classes):
    with pytest.raises(ce.InputError, match=r"^classes .*: expected names of two classes or more, each once$"):
        ce.MulticlassCrossEntropy(classes=classes)


def test_names_fit_predictions_and_weights():
    with pytest.raises(ce.InputError, match=r"^preds has shape \(3, 2\): expected 3 classes along axis 1"):
        named().update(PREDS[:, :2], TEXT)
    with pytest.raises(ce.InputError, match="class_weight has 2 entries and preds 3 classes"):
        named(class_weight=[1.0, 2.0])
    with pytest.raises(ce.InputError, match=r"target\[1\] is 3: expected a class from 0 to 2"):
        named().update(PREDS, [0, 3, 1])
    for mixed in ([0, "cat", 2], ["cat", 1, 2]):
        with pytest.raises(ce.InputError, match=r"^target "):
            named().update(PREDS, mixed)
    with pytest.raises(ce.InputError, match="target has strings"):
        ce.MulticlassCrossEntropy().update(PREDS, TEXT)
