"""A metric of one prediction per row takes columns: shape (N, 1), and lists of one number, are N numbers."""

import itertools

import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

import streamce as ce
from streamce.cli.main import main

rng = np.random.default_rng(3)
ROWS = 29
P, Y, W = rng.random(ROWS), rng.integers(0, 2, ROWS), rng.integers(0, 5, ROWS) / 4
METRICS = {
    "binary": ce.BinaryCrossEntropy,
    "normalized entropy": ce.NormalizedEntropy,
    "mean": ce.MeanLoss,
    "grouped": lambda: ce.Grouped(ce.BinaryCrossEntropy()),
    "sliding": lambda: ce.Sliding(ce.BinaryCrossEntropy(), samples=10),
    "tail and calibration": lambda: ce.BinaryCrossEntropy(tail=True, calibration=True),
}
SHAPES = list(itertools.product(*[[(ROWS,), (ROWS, 1), (ROWS, 1, 1)]] * 3))
CONTAINERS = {
    "list": lambda x: x.tolist(),
    "float32": lambda x: x.astype(np.float32),
    "float16": lambda x: x.astype(np.float16),
    "bfloat16": lambda x: x.astype(ml_dtypes.bfloat16),
    "Fortran order": np.asfortranarray,
    "strided": lambda x: np.stack([x, x], axis=-1)[..., 0],
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": lambda x: pa.array(x.tolist()),
}


def column(x):
    return x[:, None]


def state(metric, preds, target, weight, **others):
    args = (preds,) if isinstance(metric, ce.MeanLoss) else (preds, target)
    return metric.update(*args, weight=weight, **others).to_bytes()


@pytest.mark.parametrize("name", METRICS)
def test_axes_of_length_one_change_no_state(name):
    others = {"by": Y} if name == "grouped" else {}
    expected = state(METRICS[name](), P, Y, W, **others)
    for shapes in SHAPES:
        arrays = [x.reshape(shape) for x, shape in zip((P, Y, W), shapes, strict=True)]
        assert state(METRICS[name](), *arrays, **others) == expected


@pytest.mark.parametrize("container", CONTAINERS)
def test_columns_of_every_container_are_taken(container):
    make = CONTAINERS[container]
    source = P.astype(np.float16).astype(ml_dtypes.bfloat16).astype(float)  # the same in every dtype
    flat = source.astype(np.float32) if "float" in container else source
    expected = ce.BinaryCrossEntropy().update(flat, Y).to_bytes()
    assert ce.BinaryCrossEntropy().update(make(column(source)), Y).to_bytes() == expected
    assert ce.BinaryCrossEntropy().update(flat, CONTAINERS["list"](column(Y))).to_bytes() == expected


def test_soft_targets_and_images_may_lack_the_axis_of_channels():
    preds, target = rng.random((4, 1, 3, 2)), rng.random((4, 3, 2))
    expected = ce.BinaryCrossEntropy(divergence=True).update(preds, target[:, None]).to_bytes()
    assert ce.BinaryCrossEntropy(divergence=True).update(preds, target).to_bytes() == expected


def test_functions_return_the_shape_of_preds():
    expected = ce.binary_cross_entropy(P, Y, weight=W, reduction="none", grad=True)
    for preds, target, weight in ((column(P), Y, W), (P, column(Y), W), (column(P), column(Y), column(W))):
        found = ce.binary_cross_entropy(preds, target, weight=weight, reduction="none", grad=True)
        for one, other in zip(found, expected, strict=True):
            assert one.shape == preds.shape
            np.testing.assert_array_equal(one.ravel(), other)


def test_models_may_have_columns_of_either_shape():
    expected = ce.Paired(ce.BinaryCrossEntropy()).update(P, 1 - P, Y).to_bytes()
    assert ce.Paired(ce.BinaryCrossEntropy()).update(P, column(1 - P), Y).to_bytes() == expected


@pytest.mark.parametrize(
    ("preds", "target", "argument", "index"),
    [
        ([[0.5], [1.5]], [0, 1], "preds", (1, 0)),
        ([0.5, 1.5], [[0], [1]], "preds", (1,)),
        ([[0.5], [0.5]], [0, 2], "target", (1,)),
        ([0.5, 0.5], [[0], [2]], "target", (1, 0)),
        ([[0.5], [None]], [0, 1], "preds", (1, 0)),
        ([0.5, 0.5], [[0], [None]], "target", (1, 0)),
    ],
)
def test_errors_name_the_index_in_the_argument_given(preds, target, argument, index):
    for metric in ce.BinaryCrossEntropy(), ce.NormalizedEntropy():
        with pytest.raises(ce.InputError) as raised:
            metric.update(preds, target)
        assert (raised.value.argument, raised.value.index) == (argument, index)
    assert ce.BinaryCrossEntropy(invalid="skip").update(preds, target).summary().count == 1


@pytest.mark.parametrize(
    ("preds", "target"), [((3, 2), (3,)), ((1, 3), (3,)), ((3, 1), (1, 3)), ((2, 1), (2, 2)), ((1,), ()), ((), (1,))]
)
def test_nothing_is_broadcast(preds, target):
    metric = ce.BinaryCrossEntropy().update([0.5], [1])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=r"^target has shape"):
        metric.update(np.full(preds, 0.5), np.ones(target, int))
    assert metric.to_bytes() == before


def test_two_columns_are_told_the_second_column():
    both = np.stack([1 - P, P], axis=1)
    for metric in (
        ce.BinaryCrossEntropy(),
        ce.NormalizedEntropy(),
        ce.Grouped(ce.BinaryCrossEntropy()),
        ce.Paired(ce.BinaryCrossEntropy()),
    ):
        models = (both, both) if isinstance(metric, ce.Paired) else (both,)
        keys = {"by": Y} if isinstance(metric, ce.Grouped) else {}
        with pytest.raises(ce.InputError, match=r"the second column, preds\[:, 1\], or use MulticlassCrossEntropy"):
            metric.update(*models, Y, **keys)
    assert ce.BinaryCrossEntropy().update(both[:, 1], Y).compute() == pytest.approx(
        ce.MulticlassCrossEntropy().update(both, Y).compute(), rel=1e-14
    )


# ---- files and streams ----


def table(p, y):
    return pa.table({"p": p, "y": y, "w": W})


def lists(x, size=1):
    return pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(x, size)), size)


FORMS = {
    "lists": lambda x: pa.array(column(x).tolist()),
    "large lists": lambda x: pa.array(column(x).tolist(), pa.large_list(pa.array(x).type)),
    "lists of one size": lists,
    "numbers": pa.array,
}


@pytest.mark.parametrize("metric", [ce.BinaryCrossEntropy, ce.NormalizedEntropy])
@pytest.mark.parametrize(("p", "y"), list(itertools.product(FORMS, FORMS)))
def test_lists_of_one_number_are_numbers_in_streams(metric, p, y):
    batches = table(FORMS[p](P), FORMS[y](Y)).to_batches(max_chunksize=7)
    found = metric().update_from(batches, preds="p", target="y", weight="w")
    assert found.to_bytes() == metric().update(P, Y, weight=W).to_bytes()


def test_lists_of_one_loss_are_losses():
    found = ce.MeanLoss().update_from(table(lists(P), Y), preds="p", weight="w")
    assert found.to_bytes() == ce.MeanLoss().update(P, weight=W).to_bytes()


def test_null_lists_and_nulls_in_lists_are_null():
    p = [[0.9], None, [None], [0.6]]
    metric = ce.BinaryCrossEntropy(invalid="skip")
    metric.update_from(pa.table({"p": p, "y": [[1], [1], [1], None]}), preds="p", target="y")
    assert (metric.summary().count, metric.summary().invalid_null) == (1, 3)


def run(capsys, *arguments):
    status = main([str(each) for each in arguments])
    return status, *capsys.readouterr()


def test_eval_reads_lists_of_one_number(tmp_path, capsys):
    path, jsonl = tmp_path / "a.parquet", tmp_path / "a.jsonl"
    parquet.write_table(table(lists(P), lists(Y)), path)
    jsonl.write_text("".join(f'{{"p": [{p!r}], "y": [{y}]}}\n' for p, y in zip(P.tolist(), Y.tolist(), strict=True)))
    for source in path, jsonl:
        state = tmp_path / f"{source.suffix}.state"
        status, _, err = run(capsys, "eval", source, "--task", "binary", "--preds", "p", "--target", "y",
                             "--state", state)  # fmt: skip
        assert (status, err) == (0, "")
        assert ce.load(state).to_bytes() == ce.BinaryCrossEntropy().update(P, Y).to_bytes()


@pytest.mark.parametrize("size", [0, 2, 3])
def test_lists_of_another_length_are_named_by_their_row(tmp_path, capsys, size):
    rows = pa.table({"p": [[0.5], [0.5] * size], "y": [1, 0]})
    parquet.write_table(rows, tmp_path / "a.parquet")
    status, _, err = run(capsys, "eval", tmp_path / "a.parquet", "--task", "binary", "--preds", "p", "--target", "y")
    assert status == 1
    assert f"row 1: column 'p' is a list of {size}: expected one number" in err
    assert ("the second column, or use --task multiclass" in err) == (size == 2)
    with pytest.raises(ce.InputError, match=f"row 1: column 'p' is a list of {size}") as raised:
        ce.BinaryCrossEntropy().update_from(rows, preds="p", target="y")
    assert (raised.value.index, "MulticlassCrossEntropy" in str(raised.value)) == ((1,), size == 2)


def test_two_columns_of_a_file_are_told_the_second_column(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("p_0,p_1,y\n0.1,0.9,1\n")
    status, _, err = run(capsys, "eval", path, "--task", "binary", "--preds", "p_*", "--target", "y")
    assert status == 2
    assert "one column of numbers, not 'p_0', 'p_1': give the second column, or use --task multiclass" in err
