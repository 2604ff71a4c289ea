"""Paths into nested columns, in JSON and in Parquet, Arrow and streams."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

import streamce as ce
from streamce.cli.main import main
from streamce.errors import InputError, SelectionError
from streamce.reading.columns import select
from streamce.reading.formats.nested import field_names, type_at, values_at
from streamce.reading.formats.paths import Path, Unfit, expand, follow, parse

VECTOR = pa.struct(
    [("type", pa.int8()), ("size", pa.int32()), ("indices", pa.list_(pa.int32())), ("values", pa.list_(pa.float64()))]
)
CHOICES = pa.list_(
    pa.struct([("logprobs", pa.struct([("content", pa.list_(pa.struct([("logprob", pa.float64())])))]))])
)
ROWS = [
    {
        "probability": {"type": 1, "size": None, "indices": None, "values": [0.2, 0.3, 0.5]},
        "scores": {"cat": 0.25, "dog": 0.5, "eel": 0.25},
        "choices": [{"logprobs": {"content": [{"logprob": -0.5}, {"logprob": -1.5}]}}],
        "label": 2,
        "user": {"id": "a"},
    },
    {
        "probability": {"type": 0, "size": 3, "indices": [1], "values": [1.0]},
        "scores": {"cat": 0.5, "dog": 0.25, "eel": 0.25},
        "choices": [{"logprobs": {"content": [{"logprob": -1.0}]}}, {"logprobs": None}],
        "label": 1,
        "user": {"id": "b"},
    },
    {
        "probability": {"type": 0, "size": 3, "indices": [0, 2], "values": [0.25, 0.75]},
        "scores": {"cat": 1.0, "dog": 0.0, "eel": 0.0},
        "choices": [{"logprobs": {"content": [{"logprob": 0.0}]}}],
        "label": 2,
        "user": {"id": "a"},
    },
]
SCHEMA = pa.schema(
    [
        ("probability", VECTOR),
        ("scores", pa.struct([(name, pa.float64()) for name in ("cat", "dog", "eel")])),
        ("choices", CHOICES),
        ("label", pa.int64()),
        ("user", pa.struct([("id", pa.string())])),
    ]
)


def table(rows=ROWS):
    return pa.Table.from_pylist(rows, SCHEMA)


WRITERS = {
    "a.parquet": lambda path: parquet.write_table(table(), path),
    "a.arrow": lambda path: feather.write_feather(table(), path, compression="uncompressed"),
    "a.jsonl": lambda path: path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS)),
    "a.json": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
}
MULTICLASS = ("--task", "multiclass", "--target", "label")
VECTORS = [[0.2, 0.3, 0.5], [0, 1, 0], [0.25, 0, 0.75]]
SCORES = [[0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [1, 0, 0]]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((*MULTICLASS, "--preds", "probability.values"), VECTORS),
        ((*MULTICLASS, "--preds", "scores.cat,scores.dog,scores.eel"), SCORES),
        ((*MULTICLASS, "--preds", "scores.*"), SCORES),
        ((*MULTICLASS, "--preds", "scores.*", "--cluster", "user.id"), SCORES),
    ],
)
def test_paths_are_columns_of_predictions(tmp_path, name, words, expected):
    WRITERS[name](tmp_path / name)
    assert main(["eval", str(tmp_path / name), *words, "--state", str(tmp_path / "S")]) == 0
    keys = {"cluster": ["a", "b", "a"]} if "--cluster" in words else {}
    once = ce.MulticlassCrossEntropy().update(expected, [2, 1, 2], **keys)
    assert (tmp_path / "S").read_bytes() == once.to_bytes()


@pytest.mark.parametrize("name", WRITERS)
def test_paths_are_columns_of_tokens(tmp_path, name, capsys):
    WRITERS[name](tmp_path / name)
    words = ["--task", "sequence", "--token-log-probs", "choices[0].logprobs.content[].logprob"]
    assert main(["eval", str(tmp_path / name), *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == pytest.approx(3 / 4)


def test_a_watch_reads_paths(tmp_path, capsys):
    WRITERS["a.jsonl"](tmp_path / "a.jsonl")
    words = [*MULTICLASS, "--preds", "probability.values", "--once", "--poll", "0", "--chunk-rows", "1"]
    assert main(["watch", str(tmp_path / "a.jsonl"), *words, "--json"]) == 0
    expected = -(math.log(0.5) + math.log(0.75)) / 3
    assert json.loads(capsys.readouterr().out)["metrics"]["total"]["value"] == pytest.approx(expected)


def test_models_are_compared_by_paths(tmp_path, capsys):
    WRITERS["a.parquet"](tmp_path / "a.parquet")
    words = [*MULTICLASS, "--preds", "probability.values", "--preds-b", "scores.*"]
    assert main(["compare", str(tmp_path / "a.parquet"), *words]) == 0


@pytest.mark.parametrize("stream", [table(), table().slice(1), table().to_batches(max_chunksize=1)], ids=type)
def test_update_from_takes_paths(stream):
    rows = slice(1, None) if isinstance(stream, pa.Table) and len(stream) == 2 else slice(None)
    metric = ce.MulticlassCrossEntropy().update_from(stream, preds="probability.values", target="label")
    assert metric == ce.MulticlassCrossEntropy().update(VECTORS[rows], [2, 1, 2][rows])
    perplexity = ce.SequenceCrossEntropy().update_from(stream, preds="choices[0].logprobs.content[].logprob")
    assert perplexity.compute() == pytest.approx(3 / 4 if rows.start is None else 1 / 2)


def test_a_column_with_the_name_of_a_path_wins(tmp_path):
    row = {"scores.cat": 0.9, "scores": {"cat": 0.1}, "y": 1}
    for name in ("a.jsonl", "a.parquet"):
        if name == "a.jsonl":
            (tmp_path / name).write_text(json.dumps(row))
        else:
            parquet.write_table(pa.Table.from_pylist([row]), tmp_path / name)
        words = ["--task", "binary", "--preds", "scores.cat", "--target", "y", "--state", str(tmp_path / name) + ".s"]
        assert main(["eval", str(tmp_path / name), *words]) == 0
        assert (tmp_path / f"{name}.s").read_bytes() == ce.BinaryCrossEntropy().update([0.9], [1]).to_bytes()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("preds", "message"),
    [
        ("scores.cet", "no field 'cet' in 'scores'; did you mean 'cat'?"),
        ("choices[0].x", "no field 'x' in 'choices[0]'; did you mean 'logprobs'?"),
        ("choices.x", "'choices' holds no objects, so it has no field 'x'; of lists, 'choices[0].x' is one"),
        ("choices[].x", "no field 'x' in 'choices[]'; did you mean 'logprobs'?"),
        ("label.x", "'label' holds no objects, so it has no field 'x'"),
        ("other.x", "no column 'other.x'"),
        (
            "probability",
            "column 'probability' holds objects, expected numbers: name a field, such as 'probability.values'",
        ),
    ],
)
def test_an_error_names_the_field(tmp_path, capsys, name, preds, message):
    WRITERS[name](tmp_path / name)
    assert main(["eval", str(tmp_path / name), *MULTICLASS, "--preds", preds]) in (1, 2)
    assert message in capsys.readouterr().err
    if name == "a.parquet":
        with pytest.raises(InputError, match=r"^(preds|stream): ") as caught:
            ce.MulticlassCrossEntropy().update_from(table(), preds=preds, target="label")
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"a": 3, "y": 1}', "column 'a.p' has a number where field 'p' is expected"),
        ('{"a": {"p": "x"}, "y": 1}', "column 'a.p' is 'x', expected a number"),
        ('{"a": [0.5], "y": 1}', "column 'a.p' has a list where field 'p' is expected"),
    ],
)
def test_a_row_that_a_path_does_not_fit_is_named_or_skipped(tmp_path, capsys, row, message):
    (tmp_path / "a.jsonl").write_text(
        '{"a": {"p": 0.5}, "y": 1}\n' + row + '\n{"a": null, "y": 1}\n{"a": {}, "y": 1}\n'
    )
    words = ["eval", str(tmp_path / "a.jsonl"), "--task", "binary", "--preds", "a.p", "--target", "y"]
    assert main(words) == 1
    assert f"row 1: {message}\n" in capsys.readouterr().err
    assert main([*words, "--invalid", "skip", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["count"], found["rows_unreadable"], found["invalid_null"]) == (1, 1, 2)


@pytest.mark.parametrize("vector", [{"indices": [3]}, {"indices": [-1]}, {"indices": [0, 1]}, {"size": -1}])
def test_a_sparse_vector_with_wrong_indices_is_an_error(tmp_path, capsys, vector):
    rows = [dict(ROWS[0]), {**ROWS[1], "probability": {**ROWS[1]["probability"], **vector}}]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    parquet.write_table(table(rows), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert main(["eval", str(tmp_path / name), *MULTICLASS, "--preds", "probability.values"]) == 1
        assert "a sparse vector whose indices do not fit its size and values" in capsys.readouterr().err


PATHS = ["probability.values", "scores.dog", "choices[0].logprobs.content[].logprob", "choices[1].logprobs", "user.id",
         "choices[].logprobs.content[0].logprob"]  # fmt: skip


@pytest.mark.parametrize("word", PATHS)
def test_arrow_and_python_follow_a_path_alike(word):
    rows = [*ROWS, dict.fromkeys(SCHEMA.names), {**ROWS[0], "choices": [], "scores": {}, "user": None}]
    column = table(rows).combine_chunks()
    path = parse(word, SCHEMA.names)
    for part in (column, column.slice(1), column.slice(2, 2), column.slice(0, 0)):
        array = part.column(path.column).combine_chunks()
        found = values_at(array, path.steps)
        assert found.type == type_at(array.type, path.steps, word)
        assert found.to_pylist() == [follow(value, path.steps) for value in array.to_pylist()]


def test_a_path_has_the_longest_name_of_a_column():
    assert parse("a.b.c", ["a", "a.b"]) == Path("a.b", ("c",))
    assert parse("a.b", ["a", "a.b"]) == Path("a.b")
    assert parse("a[0][].b", ["a"]) == Path("a", (0, None, "b"))
    assert str(parse("a[0][].b", ["a"])) == "a[0][].b"
    assert [parse(word, ["a"]) for word in ("a.", "a[x]", "a..b", "b.a", "a[-1]")] == [None] * 5


def test_a_glob_takes_fields_in_the_order_of_columns():
    fields = {"s": ["p_10", "p_2", "x"], "s.x": ["y"]}
    assert select(["s.p_*"], ["s"], lambda path: fields.get(str(path))) == ("s.p_2", "s.p_10")
    assert expand("s.x.*", ["s"], lambda path: fields.get(str(path))) == ["s.x.y"]
    with pytest.raises(SelectionError, match=r"no field 'q_\*' in 's'"):
        select(["s.q_*"], ["s"], lambda path: fields.get(str(path)))


def test_a_path_follows_lists_and_objects_only():
    with pytest.raises(Unfit, match="has a number where a list is expected"):
        follow(3, [0])
    assert follow([1, 2], [5]) is None
    assert field_names(pa.list_(pa.struct([("a", pa.int64())])), 1) == ["a"]
    assert field_names(pa.int64()) is None
    assert np.array_equal(follow({"type": 1, "values": [1]}, ["values"]), [1])
