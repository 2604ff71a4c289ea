"""Labels are whole numbers, whatever type the column that holds them has."""

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamce as ce
from streamce.cli.main import main

P = [(0.1, 0.2, 0.7), (0.3, 0.3, 0.4), (0.6, 0.2, 0.2)]
PREDS = {f"p_{i}": [row[i] for row in P] for i in range(3)}
M = ["--task", "multiclass", "--preds", "p_*", "--target", "y"]
NAN = float("nan")
BEYOND = [2.0**63, -(2.0**63), 2.0**64, float("inf"), 7.0, -1.0, 1.5]  # numbers that are no class of three

# The labels 2, none and 0 in each type of column.
COLUMNS = {
    "double": pa.array([2.0, None, 0.0]),
    "double with nan": pa.array([2.0, NAN, 0.0]),
    "float": pa.array([2.0, None, 0.0], pa.float32()),
    "halffloat": pa.array(np.array([2, NAN, 0], np.float16)),
    "decimal128(3,1)": pa.array([Decimal("2.0"), None, Decimal("0.0")], pa.decimal128(3, 1)),
    "decimal128(38,0)": pa.array([Decimal(2), None, Decimal(0)], pa.decimal128(38, 0)),
    "decimal256(50,4)": pa.array([Decimal(2), None, Decimal(0)], pa.decimal256(50, 4)),
    "int8": pa.array([2, None, 0], pa.int8()),
    "uint64": pa.array([2, None, 0], pa.uint64()),
    "dictionary of int": pa.array([2, None, 0]).dictionary_encode(),
    "dictionary of double": pa.array([2.0, None, 0.0]).dictionary_encode(),
}


def evaluate(capsys, path, *words):
    """Return the mean loss and the number of nulls that ``streamce eval`` prints."""
    assert main(["eval", str(path), *M, "--invalid", "skip", "--json", *words]) == 0
    result = json.loads(capsys.readouterr().out)
    return result["mean"], result["invalid_null"], result["skipped"]


def error(capsys, path, *words):
    assert main(["eval", str(path), *M, *words]) == 1
    return capsys.readouterr().err.strip()


def write_csv(path, labels):
    path.write_text("p_0,p_1,p_2,y\n" + "".join(f"{a},{b},{c},{y}\n" for (a, b, c), y in zip(P, labels, strict=True)))
    return path


def write_json(path, labels):
    rows = [dict(zip("abcy", (*row, y), strict=True)) for row, y in zip(P, labels, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows).replace('"a"', '"p_0"').replace('"b"', '"p_1"')
                    .replace('"c"', '"p_2"'))  # fmt: skip
    return path


@pytest.mark.parametrize("classes", [[], ["--classes", "0,1,2"]])
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_typed_files(tmp_path, capsys, column, classes, ending):
    table, path = pa.table(PREDS | {"y": COLUMNS[column]}), tmp_path / f"a.{ending}"
    if ending == "arrow":
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    else:
        pq.write_table(table, path)
    assert evaluate(capsys, path, *classes) == (pytest.approx(0.433750, abs=1e-6), 1, 1)


@pytest.mark.parametrize("column", COLUMNS)
def test_streams(column):
    table = pa.table(PREDS | {"y": COLUMNS[column]})
    metric = ce.MulticlassCrossEntropy(invalid="skip").update_from(table, preds="p_*", target="y")
    assert metric.compute() == pytest.approx(0.433750, abs=1e-6)
    assert metric.summary().invalid_null == 1


@pytest.mark.parametrize("labels", [["2.0", "", "0.0"], ["2", "", "0.0"], ["2.00", "", "0"], ["2", "", "0"]])
@pytest.mark.parametrize("classes", [[], ["--classes", "0,1,2"]])
def test_csv(tmp_path, capsys, labels, classes):
    found = evaluate(capsys, write_csv(tmp_path / "a.csv", labels), *classes)
    assert found == (pytest.approx(0.433750, abs=1e-6), 1, 1)


@pytest.mark.parametrize("labels", [[2.0, None, 0.0], [2, None, 0.0], [2, None, 0]])
@pytest.mark.parametrize("classes", [[], ["--classes", "0,1,2"]])
def test_json_lines(tmp_path, capsys, labels, classes):
    found = evaluate(capsys, write_json(tmp_path / "a.jsonl", labels), *classes)
    assert found == (pytest.approx(0.433750, abs=1e-6), 1, 1)


@pytest.mark.parametrize("dtype", ["float64", "float32", "Int64", "Float64"])
def test_pandas(dtype):
    frame = pd.DataFrame(
        PREDS | {"y": pd.array([2, None, 0], "Int64").astype(dtype if dtype[0].isupper() else "Float64")}
    )
    if not dtype[0].isupper():
        frame["y"] = frame["y"].to_numpy(dtype, na_value=np.nan)  # as read_csv returns integers with a gap
    metrics = [ce.MulticlassCrossEntropy(invalid="skip") for _ in range(2)]
    metrics[0].update_from(frame, preds="p_*", target="y")
    metrics[1].update(frame[list(PREDS)], frame["y"])
    for metric in metrics:
        assert metric.compute() == pytest.approx(0.433750, abs=1e-6)
        assert metric.summary().invalid_null == 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ">f8"])
def test_arrays_have_the_bytes_of_integers(dtype):
    expected = ce.MulticlassCrossEntropy(ignore_index=-100).update(P, [2, -100, 0])
    found = ce.MulticlassCrossEntropy(ignore_index=-100).update(P, np.array([2, -100, 0], dtype))
    assert found.to_bytes() == expected.to_bytes()


def test_a_fraction_is_no_label(tmp_path, capsys):
    for path in (write_csv(tmp_path / "a.csv", [2, 1.5, 0]), write_json(tmp_path / "a.jsonl", [2, 1.5, 0])):
        assert error(capsys, path).endswith("row 1: column 'y' is 1.5: expected a class from 0 to 2")
        assert evaluate(capsys, path) == (pytest.approx(0.433750, abs=1e-6), 0, 1)
    metric = ce.MulticlassCrossEntropy()
    with pytest.raises(ce.InputError, match=r"^target\[1\] is 1.5: expected a class from 0 to 2$") as caught:
        metric.update(P, [2.0, 1.5, 0.0])
    assert (caught.value.index, caught.value.value, caught.value.cause) == ((1,), 1.5, "invalid_label")
    assert metric == ce.MulticlassCrossEntropy()


@pytest.mark.parametrize("ignore_index", [-100, -(2**63)])
@pytest.mark.parametrize("label", BEYOND)
def test_numbers_that_are_no_class(label, ignore_index):
    summary = (
        ce.MulticlassCrossEntropy(invalid="skip", ignore_index=ignore_index).update(P, [2.0, label, 0.0]).summary()
    )
    ignored = label == ignore_index
    assert (summary.count, summary.ignored, summary.invalid_label) == (2, ignored, not ignored)


def test_nan_is_a_null_and_the_error_names_its_place(tmp_path, capsys):
    path = write_csv(tmp_path / "a.csv", [2, "nan", 0])
    assert error(capsys, path).endswith("row 1: column 'y' holds a null")
    with pytest.raises(ce.InputError, match=r"^target\[1\] is null") as caught:
        ce.MulticlassCrossEntropy().update(P, [2.0, NAN, 0.0])
    assert caught.value.cause == "invalid_null"


def test_a_label_where_nothing_counts_may_be_anything():
    expected = ce.SequenceCrossEntropy().update([P], [[2, 0, 0]], lengths=[1])
    assert ce.SequenceCrossEntropy().update([P], [[2.0, NAN, 1.5]], lengths=[1]).to_bytes() == expected.to_bytes()


@pytest.mark.parametrize("leaf", [pa.float64(), pa.float32(), pa.decimal128(5, 2), pa.uint64()])
@pytest.mark.parametrize("task", ["sequence", "ctc"])
def test_lists(tmp_path, capsys, leaf, task):
    labels = [[2, 1], [1]]
    values = [[Decimal(y) if pa.types.is_decimal(leaf) else y for y in row] for row in labels]
    frames = [[list(P[0]), list(P[1])], [list(P[2])]]
    states = []
    for name, column in (("a", pa.array(labels)), ("b", pa.array(values, pa.list_(leaf)))):
        pq.write_table(pa.table({"p": frames, "y": column}), tmp_path / f"{name}.parquet")
        words = ["--task", task, "--preds", "p", "--target", "y", "--state", str(tmp_path / name)]
        assert main(["eval", str(tmp_path / f"{name}.parquet"), *words]) == 0
        states.append(ce.load(tmp_path / name).to_bytes())
    assert states[0] == states[1]


def test_lists_in_json(tmp_path, capsys):
    rows = [{"p": [list(P[0]), list(P[1])], "y": [2.0, -100]}, {"p": [list(P[2])], "y": [1.5]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["eval", str(tmp_path / "a.jsonl"), "--task", "sequence", "--preds", "p", "--target", "y"]
    assert main(words) == 1
    assert "row 1: column 'y[0]' is 1.5: expected a class from 0 to 2" in capsys.readouterr().err
    assert main([*words, "--invalid", "skip", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["ignored"], result["invalid_label"]) == (1, 1)
    assert result["mean"] == pytest.approx(-np.log(0.7))


def test_utterances_with_real_labels():
    lengths = {"input_lengths": [3], "target_lengths": [2]}
    preds = np.array(P)[:, None]
    expected = ce.CTCCrossEntropy().update(preds, [[1, 2]], **lengths)
    assert ce.CTCCrossEntropy().update(preds, [[1.0, 2.0]], **lengths).to_bytes() == expected.to_bytes()
    assert ce.CTCCrossEntropy(invalid="skip").update(preds, [[1.0, NAN]], **lengths).summary().invalid_null == 1


def test_classes_that_are_numbers(tmp_path, capsys):
    path = tmp_path / "a.parquet"
    for labels in (pa.array([2**64 - 1, 3, 1], pa.uint64()), pa.array([9.5, 3.0, 1.0]), pa.array(["x", "3.0", "1"])):
        pq.write_table(pa.table(PREDS | {"y": labels}), path)
        mean = -(np.log(0.4) + np.log(0.6)) / 2
        assert evaluate(capsys, path, "--classes", "1,2,3") == (pytest.approx(mean), 0, 1)
