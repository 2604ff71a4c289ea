"""The three steps of engines: partial, merge, finish. Errors name an engine that is not installed."""

import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest

import streamce as ce
from streamce._support import threads
from streamce.integrations import engines


def chunks(number=4):
    random = np.random.default_rng(5)
    return [(random.random(50), random.integers(0, 2, 50), random.integers(0, 9, 50)) for _ in range(number)]


def states():
    return [ce.Grouped(ce.BinaryCrossEntropy()).update(p, t, by=k).to_bytes() for p, t, k in chunks()]


def test_any_tree_of_sums_has_the_same_bytes():
    a, b, c, d = states()
    whole = ce.Grouped(ce.BinaryCrossEntropy())
    for preds, target, key in chunks():
        whole.update(preds, target, by=key)
    empty = ce.Grouped(ce.BinaryCrossEntropy()).to_bytes()
    assert engines.merge(a, b, c, d) == whole.to_bytes()
    assert engines.merge(engines.merge(d, a), empty, engines.merge(c, b)) == whole.to_bytes()


def test_states_of_other_options_are_named():
    one, other = ce.BinaryCrossEntropy(), ce.BinaryCrossEntropy(kind="logits")
    with pytest.raises(ce.InputError, match=r"^state 1: kind is 'probs' in one metric and 'logits' in the other"):
        engines.merge(one.to_bytes(), other.to_bytes())
    with pytest.raises(ce.InputError, match="kind is "):
        engines.finish(one.to_bytes(), other)


def test_nothing_to_merge_is_an_error():
    with pytest.raises(ce.InputError, match="states is empty: expected one or more"):
        engines.merge()


def test_options_that_change_no_loss_are_the_templates():
    template = ce.BinaryCrossEntropy(invalid="skip", threads=3)
    state = ce.BinaryCrossEntropy().update([0.5], [1]).to_bytes()
    found = engines.finish(state, template)
    assert repr(found) == repr(template)
    assert found.to_bytes() == state
    assert template == ce.BinaryCrossEntropy()


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (0.5, "metric is 0.5: expected a metric such as BinaryCrossEntropy()"),
        (ce.MeanLoss().update([1.0]), "metric has samples already: expected an empty metric, for its options"),
        (ce.Sliding(ce.MeanLoss(), samples=3), "the last samples of two streams do not add up: those of a period do"),
        (
            ce.Collection({"last": ce.Sliding(ce.MeanLoss(), samples=3)}),
            "the last samples of two streams do not add up: those of a period do",
        ),
    ],
)
def test_what_cannot_be_a_template(metric, expected):
    with pytest.raises(ce.InputError) as error:
        engines.template(metric)
    assert str(error.value) == expected


def test_a_task_of_an_engine_takes_one_thread():
    elsewhere = []
    with threads.single_threaded():
        thread = threading.Thread(target=lambda: elsewhere.append(threads.limit(None)))
        thread.start()
        thread.join()
        assert threads.limit(None) == 1
        assert threads.limit(5) == 5
    assert threads.limit(None) == elsewhere[0]


@pytest.mark.parametrize(
    ("package", "call", "expected"),
    [
        ("torch", "ce.all_reduce(ce.MeanLoss())", "all_reduce needs torch: pip install torch"),
        (
            "dask",
            "streamce.integrations.dask.evaluate([], ce.MeanLoss(), preds='loss')",
            "this needs Dask: pip install 'streamce[dask]'",
        ),
    ],
)
def test_an_engine_that_is_not_installed_is_named(package, call, expected):
    code = f"import sys; sys.modules['{package}'] = None; import streamce as ce, streamce.integrations.dask; {call}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == f"streamce.errors.InputError: {expected}"


OF_SPARK = """An error occurred while calling o78.toPythonIterator.
: org.apache.spark.SparkException: [FAILED_READ_FILE] Encountered error while reading file a.parquet.
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.x(QueryExecutionErrors.scala:863)
Caused by: java.lang.RuntimeException: in between
\t... 1 more
Caused by: java.io.EOFException: a.parquet is cut short
"""
OF_PYTHON = """
  An exception was thrown from the Python worker.
[PYTHON_EXCEPTION] An exception was thrown from the Python worker: Traceback (most recent call last):
  File "job.py", line 19, in part
    raise ZeroDivisionError("of the user")
ZeroDivisionError: of the user
 SQLSTATE: 38000
"""
OF_RAY = """Failed to apply UDF transform after 1/1 attempts (total backoff 0.0s).
\x1b[36mray::Project->MapBatches(part)()\x1b[39m (pid=23788, ip=127.0.0.1)
  File "job.py", line 19, in part
    raise ZeroDivisionError("of the user")
ZeroDivisionError: of the user

The above exception was the direct cause of the following exception:

\x1b[36mray::Project->MapBatches(part)()\x1b[39m (pid=23788, ip=127.0.0.1)
ray.exceptions.UserCodeException: UDF failed to process a data block.
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no worker", "OSError: no worker"),
        ("", "OSError"),
        ("first line\nsecond", "OSError: first line"),
        (
            OF_SPARK,
            "org.apache.spark.SparkException: [FAILED_READ_FILE] Encountered error while reading file a.parquet.; "
            "java.io.EOFException: a.parquet is cut short",
        ),
        (OF_PYTHON, "ZeroDivisionError: of the user"),
        (OF_RAY, "ZeroDivisionError: of the user"),
        (
            "No module named 'streamce.integrations.engines'",
            "OSError: No module named 'streamce.integrations.engines'; install streamce on the workers too",
        ),
    ],
)
def test_a_page_of_an_engine_becomes_a_line(text, expected):
    assert engines.reason(OSError(text)) == expected


def test_errors_about_input_keep_what_they_know_when_their_place_is_named():
    with pytest.raises(ce.InputError) as plain:
        ce.BinaryCrossEntropy().update([0.5, 1.5], [0, 1])
    with pytest.raises(ce.InputError) as placed, engines.place_errors("partition 3"):
        raise plain.value
    assert str(placed.value) == f"partition 3: {plain.value}"
    assert vars(placed.value) == {**vars(plain.value), "places": ("partition 3",)}


def test_the_state_of_a_part_is_that_of_its_batches():
    tables = [pa.table({"p": p, "y": t, "k": k}) for p, t, k in chunks()]
    metric = ce.Grouped(ce.BinaryCrossEntropy())
    columns = {"preds": "p", "target": "y", "by": "k"}
    parts = [engines.partial(metric, some, **columns) for some in (tables[:1], tables[1:], [])]
    assert engines.merge(*parts) == engines.merge(*states())
    assert parts[2] == metric.to_bytes()


@pytest.mark.parametrize(
    ("metric", "others"),
    [
        (ce.Grouped(ce.NormalizedEntropy()), {"by": "k", "cluster": "c"}),
        (ce.Grouped(ce.BinaryCrossEntropy(tail=True, calibration=True)), {"by": "k"}),
        (ce.Grouped(ce.Collection({"a": ce.BinaryCrossEntropy(), "b": ce.NormalizedEntropy()})), {"by": "k"}),
        (ce.Grouped(ce.Sliding(ce.BinaryCrossEntropy(), period="5min", step="1min")), {"by": "k", "by_time": "t"}),
        (ce.Sliding(ce.NormalizedEntropy(), period="5min", step="1min"), {"by_time": "t", "cluster": "c"}),
        (ce.Sliding(ce.BinaryCrossEntropy(tail=True), period="5min", step="1min"), {"by_time": "t"}),
        (ce.Decayed(ce.NormalizedEntropy(), half_life="1min"), {"by_time": "t", "weight": "w"}),
    ],
    ids=repr,
)
def test_any_composition_is_evaluated_in_parts(metric, others):
    rng = np.random.default_rng(5)
    columns = {"p": rng.random(60), "y": rng.integers(0, 2, 60), "k": rng.integers(0, 4, 60), "w": rng.random(60),
               "c": rng.integers(0, 9, 60), "t": 30.0 * rng.integers(0, 20, 60)}  # fmt: skip
    table = pa.table(columns)
    arguments = {"preds": "p", "target": "y", **others}
    parts = [engines.partial(metric, [table.slice(start, 20)], **arguments) for start in (0, 20, 40)]
    found = engines.finish(engines.merge(*parts), metric)
    expected = metric.copy().update(columns["p"], columns["y"], **{name: columns[key] for name, key in others.items()})
    assert found == expected == metric.copy().update_from(table, **arguments)
    assert engines.columns(metric, **arguments) == arguments


@pytest.mark.parametrize("inner", [ce.Paired(ce.BinaryCrossEntropy()), ce.GANCrossEntropy()])
def test_samples_without_a_single_prediction_come_from_no_stream(inner):
    name = type(inner).__name__
    with pytest.raises(ce.InputError, match=f"^metric is a {name}, whose samples have no single prediction"):
        ce.Grouped(inner).update_from(pa.table({"p": [0.5]}), preds="p", by="p")


def test_only_columns_that_are_wanted_are_and_in_their_order():
    names = ["w", "p_b", "y", "p_a", "else"]
    assert engines.wanted(names, {"preds": "p_*", "target": ["y"], "weight": "w"}) == ["w", "p_b", "y", "p_a"]
    with pytest.raises(ce.InputError, match=r"^preds: no column 'q'; there are 'w', 'p_b'"):
        engines.wanted(names, {"preds": "q"})
