"""Errors hold their parts, other layers change the parts, and ``str`` renders them. No code edits a message."""

import ast
import copy
import inspect
import itertools
import pickle
import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import streamce as ce
from streamce import errors
from streamce.cli import partitions
from streamce.cli.metric_factory import as_option_errors
from streamce.errors import DataError, InputError, Location, SelectionError, StreamceError
from streamce.inputs import arrays, arrow
from streamce.reading import ragged, reader
from streamce.reading.columns import select
from streamce.reading.files import sources
from streamce.reading.formats import records
from streamce.reading.selection import AXES, Selection

PACKAGE = Path(ce.__file__).parent
BINARY, GROUPED = ce.BinaryCrossEntropy(), ce.Grouped(ce.BinaryCrossEntropy())


def raised(call, *given, kind=InputError, **named):
    with pytest.raises(kind) as caught:
        call(*given, **named)
    assert type(caught.value) is kind
    return caught.value


# ---- the tree ----


def test_the_docstring_of_the_module_draws_the_tree():
    tree = [line for line in errors.__doc__.splitlines() if "──" in line]
    drawn = [re.search(r"── (\w+)", line)[1] for line in tree]
    made = [name for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, ValueError)]
    assert drawn == made == ["StreamceError", "InputError", "DataError", "SelectionError"]
    assert StreamceError.__bases__ == (ValueError,)
    assert {kind.__bases__ for kind in (InputError, DataError, SelectionError)} == {(StreamceError,)}
    assert ce.InputError is InputError


# ---- as text ----

SUBJECTS = [
    ({"argument": "p"}, "p is odd"),
    ({"argument": "p", "index": (3,)}, "p[3] is odd"),
    ({"argument": "p", "index": (3, 0)}, "p[3, 0] is odd"),
    ({"argument": "p", "part": 1}, "p[1] is odd"),
    ({"argument": "p", "part": "name", "index": (2,)}, "p['name'][2] is odd"),
    ({"argument": "p", "index": (3,), "location": Location(7, "c")}, "row 7: column 'c' is odd"),
    ({"argument": "p", "index": (3,), "location": Location(7, "c", (1, 0))}, "row 7: column 'c[1][0]' is odd"),
    ({"argument": "p", "location": Location(column="c")}, "column 'c' is odd"),
    ({"argument": "p", "location": Location(7)}, "row 7: p is odd"),
    ({"argument": None, "location": Location(7)}, "row 7 is odd"),
    ({"argument": "p", "location": "column 'c', 'd'"}, "column 'c', 'd' is odd"),
    ({"argument": None}, "is odd"),
]
REST = {
    "context": [("", ""), (" in sequence 3", " in sequence 3"), (", of sequence 3", ", of sequence 3")],
    "expected": [(None, ""), ("a number", ": expected a number")],
    "hint": [("", ""), ("try another", "; try another")],
    "places": [((), ""), (("a.csv",), "a.csv: "), (("partition 2", "a.csv"), "partition 2: a.csv: ")],
}


@pytest.mark.parametrize(("subject", "start"), SUBJECTS)
def test_every_combination_of_parts_is_rendered(subject, start):
    for values in itertools.product(*REST.values()):
        given, (context, expected, hint, before) = zip(*values, strict=True)
        given = dict(zip(REST, given, strict=True))
        places = given.pop("places")
        error = InputError(**subject, **given, found="is odd", value=0.5, cause="invalid_nan").changed(places=places)
        assert str(error) == f"{before}{start}{context}{expected}{hint}"
        assert repr(error) == f"InputError({str(error)!r})"


def test_a_whole_sentence_is_the_whole_text():
    error = InputError("other", "two kinds do not add up", "one kind", hint="convert", index=(1,), location="")
    assert str(error) == "two kinds do not add up"
    assert str(error.with_place("a.state")) == "a.state: two kinds do not add up"


def test_a_text_alone_is_the_whole_text():
    """Engines make the error of a user's function once more, with its text alone."""
    error = raised(ce.BinaryCrossEntropy().update, [0.2, 1.5], [0, 1])
    for again in (type(error)(str(error)), pickle.loads(pickle.dumps(InputError(str(error))))):
        assert str(again) == str(error)
        assert (again.argument, again.index, again.location) == (None, None, "")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "is odd"),
        ({"row": 7}, "row 7: is odd"),
        ({"column": "c"}, "column 'c' is odd"),
        ({"row": 7, "column": "c"}, "row 7: column 'c' is odd"),
        ({"row": 0, "column": "c", "entry": (4,)}, "row 0: column 'c[4]' is odd"),
    ],
)
def test_an_error_of_a_file_says_where_in_it(given, text):
    error = DataError("is odd", **given)
    assert (str(error), error.row, error.column) == (text, given.get("row"), given.get("column"))
    assert str(error.with_place("a.csv").with_place("partition 2")) == f"partition 2: a.csv: {text}"


def test_a_message_is_one_line_whatever_a_value_looks_like():
    assert str(InputError("p", "is a\nb", "a  c").with_place("x\r\ny")) == "x y: p is a b: expected a c"


# ---- copies ----

FULL = {
    "argument": "p", "found": "is odd", "expected": "a number", "hint": "try another", "index": (1, 2), "value": 0.5,
    "cause": "invalid_nan", "part": 1, "context": " in sequence 3", "location": Location(7, "c", (1,)),
}  # fmt: skip
ERRORS = [
    InputError(**FULL), InputError(**FULL).with_place("a").with_place("b"), InputError(None, "is odd"),
    arrays.OnDevice(**FULL), DataError("is odd", row=1, column="c", entry=(2,)).with_place("a.csv"),
    SelectionError("no column 'c'", column="c"), arrow.RaggedError(10, np.array([3]), 1, 0),
    records.length_error(9, "; x"),
]  # fmt: skip
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "changed": lambda error: error.changed()}
COPIES |= {
    f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_copies_have_all_parts(error, copied):
    error.add_note("seen")
    try:
        again = copied(error)
        assert again is not error
        assert type(again) is type(error)
        assert vars(again) == vars(error)
        assert (str(again), repr(again), again.__notes__) == (str(error), repr(error), ["seen"])
    finally:
        del error.__notes__


@pytest.mark.parametrize(
    ("change", "parts", "text"),
    [
        (
            lambda e: e.with_argument("q"),
            {"argument": "q"},
            "q[3] is odd in sequence 3: expected a number; try another",
        ),
        (lambda e: e.with_hint(""), {"hint": ""}, "p[3] is odd in sequence 3: expected a number"),
        (
            lambda e: e.relocated(Location(7, "c"), index=(7,)),
            {"location": Location(7, "c"), "context": "", "index": (7,)},
            "row 7: column 'c' is odd: expected a number; try another",
        ),
        (
            lambda e: e.relocated(Location(7, "c")).with_argument("q"),
            {"location": Location(7, "c"), "context": "", "argument": "q"},
            "row 7: column 'c' is odd: expected a number; try another",
        ),
        (
            lambda e: e.with_place("a").enclosed("state", "b"),
            {"argument": "state", "location": "p[3]", "places": ("b",)},
            "b: p[3] is odd in sequence 3: expected a number; try another",
        ),
        (
            lambda e: e.changed(found="is", expected=None, part="x"),
            {"found": "is", "expected": None, "part": "x"},
            "p['x'][3] is in sequence 3; try another",
        ),
    ],
)
def test_changes_are_of_parts_and_leave_the_error_as_it_was(change, parts, text):
    error = InputError("p", "is odd", "a number", hint="try another", index=(3,), value=0.5, context=" in sequence 3")
    before = vars(error).copy()
    changed = change(error)
    assert vars(error) == before
    assert vars(changed) == before | parts
    assert str(changed) == text


def test_a_part_that_there_is_not_is_no_part():
    with pytest.raises(AttributeError, match="row"):
        InputError("p", "is odd").changed(row=3)


def test_the_hint_that_arguments_are_swapped_goes_with_their_names():
    error = raised(ce.BinaryCrossEntropy().update, [1], [0.5])
    assert (error.hint, error.with_argument("preds").hint) == (errors.SWAPPED, errors.SWAPPED)
    assert error.with_argument("real").hint == ""
    assert str(raised(ce.GANCrossEntropy().update, real=[1])).startswith("real has dtype int64: expected ")
    assert "swapped" not in str(raised(ce.Paired(ce.BinaryCrossEntropy()).update, [0.5], [1], [0]))


# ---- the parts that errors have: arguments ----


def facts(error):
    return error.argument, error.index, error.value, error.cause


def test_parts_of_an_entry():
    error = raised(ce.BinaryCrossEntropy().update, [0.5, 1.5], [0, 1])
    assert facts(error) == ("preds", (1,), 1.5, "invalid_range")
    assert (error.found, error.expected, error.hint) == ("is 1.5", "a probability in [0, 1]", errors.USE_LOGITS)
    assert (error.context, error.location, error.places, error.part) == ("", None, (), None)


def test_parts_of_a_token_and_of_an_utterance():
    preds = np.full((6, 2), 0.5)
    preds[5] = 1.5, -0.5
    error = raised(ce.SequenceCrossEntropy().update, preds, np.zeros(6, int), offsets=[0, 3, 6])
    assert facts(error) == ("preds", (5, 0), 1.5, "invalid_range")
    assert (error.found, error.context) == ("is 1.5", " in sequence 1")
    error = raised(
        ce.CTCCrossEntropy().update, np.full((4, 1, 2), 0.5), [[1, 0]], input_lengths=[4], target_lengths=[2]
    )
    assert facts(error)[:3] == ("target", (0, 1), 0)
    assert (error.found, error.context) == ("is 0, the blank", ", in sequence 0")


@pytest.mark.parametrize(
    ("by", "part", "index", "value"),
    [
        (([1, 2, 3], ["a", 1.5, "b"]), 1, (1,), 1.5),
        ((["a", [1], "b"], [1, 2, 3]), 0, (1,), [1]),
        (["a", 1.5, "b"], None, (1,), 1.5),
        (([1, 2, 3], ["a", "b"]), 1, None, 2),
        (([1, 2], [np.datetime64("2020-01-01"), np.datetime64("2020-01-01T00:00:00.000000001")]), 1, (1,), None),
    ],
)
def test_parts_of_keys(by, part, index, value):
    error = raised(GROUPED.update, [0.5] * 3, [0, 1, 1], by=by)
    assert (error.argument, error.part, error.index) == ("by", part, index)
    assert value is None or error.value == value
    assert str(error).startswith("by" + (f"[{part}]" if part is not None else "") + (f"[{index[0]}]" if index else ""))


def test_a_key_that_cannot_be_read_keeps_the_reason():
    class Raising:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("gone")

    error = raised(ce.Grouped(ce.BinaryCrossEntropy()).update, [0.5], [1], by=([1], Raising()))
    assert (error.argument, error.part, str(error.__cause__)) == ("by", 1, "gone")


def test_parts_of_collections():
    loss = ce.BinaryCrossEntropy()
    error = raised(ce.Collection, {"loss": loss, "other": 3})
    assert (error.argument, error.part) == ("metrics", "other")
    both = ce.Collection({"loss": loss, "users": ce.Grouped(loss)})
    assert facts(raised(both.update, [0.5, 1.5], [0, 1], by=[1, 2])) == ("preds", (1,), 1.5, "invalid_range")
    error = raised(both.update, [0.5, 0.5], [0, 1], by={"users": ([1, 2], [None, 1.5])})
    assert (error.argument, error.part, error.index) == ("by", 1, (1,))


def test_parts_under_another_name():
    error = raised(ce.GANCrossEntropy().update, fake=[0.5, np.nan])
    assert facts(error)[:2] == ("fake", (1,))
    error = raised(ce.Paired(ce.BinaryCrossEntropy()).update, [0.5], [1.5], [1])
    assert facts(error) == ("preds_b", (0,), 1.5, "invalid_range")
    assert str(error).startswith("preds_b[0] is 1.5: expected a probability in [0, 1]; for logits")


def test_parts_of_what_does_not_add_up(tmp_path):
    one, other = ce.BinaryCrossEntropy(), ce.BinaryCrossEntropy(kind="logits")
    error = raised(one.merge, other)
    assert (error.argument, error.places) == ("kind", ())
    one.save(tmp_path / "a.state")
    data = (tmp_path / "a.state").read_bytes()
    (tmp_path / "a.state").write_bytes(data[:-1])
    error = raised(ce.load, tmp_path / "a.state")
    assert (error.argument, error.location, error.places) == ("path", "state", (str(tmp_path / "a.state"),))
    users = ce.Grouped(one).update([0.5], [1], by=[7])
    names = ce.Grouped(one).update([0.5], [1], by=["x"])
    error = raised(users.merge, names)
    assert (error.argument, error.location, error.places) == ("other", "by", ("other",))
    assert str(error) == "other: by has keys of kind str: expected int, as before"


# ---- the parts that errors have: streams and files ----

TABLE = pa.table(
    {
        "p": [0.5, 0.5, 0.5, 1.5], "q": [0.5, 0.5, None, 0.5], "y": [0, 1, 1, 0], "k": ["a", "b", "c", "d"],
        "odd": [0.5, 1.5, 1.0, 1.0], "pair": [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 2.0]],
        "tokens": [[[0.5, 0.5]], [[0.5, 0.5]], [[0.5, 0.5], [0.5, 2.0]], [[0.5, 0.5]]],
        "labels": [[0], [1], [0, 1], [1]], "gaps": [[0], [1], [0, None], [1]], "short": [[0], [1], [], [1]],
        "steps": [[0], [1], [0, 7], [1]], "text": ["x", "y", "z", "x"],
    }
)  # fmt: skip
STREAMS = {
    "an entry": (BINARY, {"preds": "p", "target": "y"}, "preds", (3,), Location(3, "p")),
    "a null": (BINARY, {"preds": "q", "target": "y"}, "preds", (2,), Location(2, "q")),
    "a null weight": (BINARY, {"preds": "odd", "target": "y", "weight": "q"}, "weight", (2,), Location(2, "q")),
    "an entry of a list": (
        ce.MulticlassCrossEntropy(), {"preds": "pair", "target": "y"}, "preds", (3, 1), Location(3, "pair", (1,))),
    "a token": (ce.SequenceCrossEntropy(), {"preds": "tokens", "target": "labels"}, "preds", (2, 1, 1),
                Location(2, "tokens", (1, 1))),
    "a label": (ce.SequenceCrossEntropy(), {"preds": "tokens", "target": "steps"}, "target", (2, 1),
                Location(2, "steps", (1,))),
    "a null token": (ce.SequenceCrossEntropy(), {"preds": "tokens", "target": "gaps"}, "target", (2,),
                     Location(2, "gaps", (1,))),
    "an utterance's label": (ce.CTCCrossEntropy(blank=1), {"preds": "tokens", "target": "labels"}, "target", (1, 0),
                             Location(1, "labels", (0,))),
    "a key": (GROUPED, {"preds": "odd", "target": "y", "by": ["k", "odd"]}, "by", (0,), Location(0, "odd")),
    "losses": (ce.MeanLoss(), {"preds": "q"}, "preds", (2,), Location(2, "q")),
}  # fmt: skip


@pytest.mark.parametrize(("metric", "columns", "argument", "index", "location"), STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("rows", [4, 1])
def test_parts_of_a_row_of_a_stream(metric, columns, argument, index, location, rows):
    table = TABLE.set_column(4, "odd", [[0.5, 0.5, 1.0, 1.0]]) if metric is BINARY else TABLE
    error = raised(metric.update_from, table.to_batches(rows), **columns)
    assert (error.argument, error.index, error.location, error.context) == (argument, index, location, "")
    assert str(error).startswith(f"{location} ")


@pytest.mark.parametrize(
    ("metric", "columns", "argument", "index"),
    [
        (BINARY, {"preds": "text", "target": "y"}, "preds", None),
        (BINARY, {"preds": "p", "target": "p"}, "preds", None),
        (BINARY, {"preds": "none", "target": "y"}, "preds", None),
        (ce.SequenceCrossEntropy(), {"preds": "tokens", "target": "short"}, "stream", (2,)),
        (ce.SequenceCrossEntropy(), {"preds": "tokens", "target": "y"}, "target", None),
    ],
)
def test_parts_of_a_column_of_a_stream(metric, columns, argument, index):
    error = raised(metric.update_from, TABLE, **columns)
    assert (error.argument, error.index, error.places) == (argument, index, (argument,))


def evaluated(path, metric, task, choice, axes=(1, 1)):
    """Add the rows of a file as the command line does."""
    source = sources.find_sources([str(path)])
    if task in AXES:
        reading = reader.Reading(source, lambda *_: choice, *axes)
    else:
        reading = ragged.open_reading(task, source, lambda *_: choice)
    with closing(reading.chunks()) as found:
        for chunk in found:
            partitions.add_chunk(metric, chunk, None)


@pytest.mark.parametrize(
    ("metric", "task", "given", "row", "column", "entry"),
    [
        (BINARY, "binary", {"preds": ("p",), "target": ("y",)}, 3, "p", ()),
        (BINARY, "binary", {"preds": ("q",), "target": ("y",)}, 2, "q", ()),
        (BINARY, "binary", {"preds": ("text",), "target": ("y",)}, None, "text", ()),
        (ce.SequenceCrossEntropy(), "sequence", {"preds": ("tokens",), "target": ("labels",)}, 2, "tokens", (1, 1)),
        (ce.SequenceCrossEntropy(), "sequence", {"preds": ("tokens",), "target": ("short",)}, 2, None, ()),
        (GROUPED, "binary", {"preds": ("p",), "target": ("y",), "by": ("k", "odd")}, 0, "odd", ()),
    ],
)
def test_parts_of_an_error_of_a_file(tmp_path, metric, task, given, row, column, entry):
    path = tmp_path / "a.parquet"
    parquet.write_table(TABLE, path)
    error = raised(evaluated, path, metric.copy(), task, Selection(**given), kind=DataError)
    assert (error.row, error.column, error.entry, error.places) == (row, column, entry, (str(path),))
    assert column is None or str(error).startswith(f"{path}: {Location(row, column, entry)}")


def test_an_error_with_words_of_its_own_keeps_them(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(TABLE, path)
    choice = Selection(("p",), ("y",))
    error = raised(evaluated, path, GROUPED, "binary", choice, kind=DataError)
    assert str(error) == f"{path}: by is missing: expected a key for each sample"
    metric = ce.BinaryCrossEntropy().update([0.5], [1])
    error = raised(metric.update_from, TABLE.slice(0, 2), preds="p", target="y", cluster="k")
    assert str(error).startswith("stream: the samples of one metric come in clusters and those of the other do not")
    assert (error.argument, error.location) == ("stream", "")


@pytest.mark.parametrize(
    ("name", "text", "row", "column", "words"),
    [
        ("a.csv", "p,y\n0.5,1\nx,1\n", 1, "p", "is 'x', expected a number; --null x reads it as missing"),
        (
            "a.csv",
            "p,y\n0.5,1\n0.5\n",
            1,
            None,
            "it has 1 cell, expected 2: '0.5'; --invalid skip leaves out such rows",
        ),
        ("a.jsonl", '{"p": 0.5, "y": 1}\n{"p": "x", "y": 1}\n', 1, "p", "is 'x', expected a number"),
    ],
)
def test_parts_of_an_error_of_text(tmp_path, name, text, row, column, words):
    (tmp_path / name).write_text(text)
    choice = Selection(("p",), ("y",))
    error = raised(evaluated, tmp_path / name, BINARY.copy(), "binary", choice, kind=DataError)
    assert (error.row, error.column, error.places) == (row, column, (str(tmp_path / name),))
    assert words in str(error)


def test_a_long_message_of_another_library_is_cut(tmp_path):
    (tmp_path / "a.csv").write_text(f"p,y\n0.5,1\n{'x' * 10_000},1\n")
    choice = Selection(("p",), ("y",))
    error = raised(evaluated, tmp_path / "a.csv", BINARY.copy(), "binary", choice, kind=DataError)
    assert len(error.found) < 500
    assert (error.row, error.column) == (1, "p")


def test_logits_have_the_hint_of_who_reads_it(tmp_path):
    assert raised(BINARY.copy().update_from, TABLE, preds="p", target="y").hint == errors.USE_LOGITS
    csv.write_csv(TABLE.select(["p", "y"]), tmp_path / "a.csv")
    choice = Selection(("p",), ("y",))
    error = raised(evaluated, tmp_path / "a.csv", BINARY.copy(), "binary", choice, kind=DataError)
    assert str(error).endswith("; for logits use --kind logits")


def test_parts_of_a_selection():
    table = TABLE.select(["p", "y"])
    for asked, column in ((["z"], "z"), (["p", "p"], "p")):
        assert raised(select, asked, table.column_names, kind=SelectionError).column == column


def test_parts_of_an_option():
    def make():
        with as_option_errors():
            ce.BinaryCrossEntropy(label_smoothing=2.0)

    error = raised(make, kind=SelectionError)
    assert error.places == ("--label-smoothing",)
    assert str(error).startswith("--label-smoothing: label_smoothing is 2.0: expected ")


# ---- no code edits a message ----

OURS = {
    "StreamceError",
    "InputError",
    "DataError",
    "SelectionError",
    "RaggedError",
    "RecordError",
    "UnreadableRows",
    "OnDevice",
}
ANY = {"ValueError", "Exception", "BaseException"}  # base classes of our errors
# Functions that parse messages of other libraries. They get no error of ours.
FOREIGN = {
    "integrations/engines.py": {"reason"},
    "_support/short_repr.py": {"reason"},
    "reading/arrow_stream.py": {"_conversion_errors"},
    "reading/files/sources.py": {"one_line"},
    "integrations/spark.py": {"spark_errors"},
}


def edits(source, foreign=()):
    """Return the lines at which the text of an error is edited, searched or compared, or its ``args`` are used."""
    tree = ast.parse(source)
    functions = [each for each in ast.walk(tree) if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return sorted({line for each in functions if each.name not in foreign for line in edits_of(each)})


def edits_of(function):
    names = errors_of(function)

    def rendered(node):
        """Return whether an expression is or contains the text of an error."""
        if isinstance(node, ast.Name):
            return node.id in texts
        if isinstance(node, ast.NamedExpr):
            return rendered(node.value)
        if isinstance(node, ast.Call):
            shows = isinstance(node.func, ast.Name) and node.func.id in ("str", "repr", "format")
            return shows and any(isinstance(each, ast.Name) and each.id in names for each in node.args)
        if isinstance(node, ast.JoinedStr):
            values = [each.value for each in node.values if isinstance(each, ast.FormattedValue)]
            return any(rendered(each) or (isinstance(each, ast.Name) and each.id in names) for each in values)
        return isinstance(node, ast.BinOp) and (rendered(node.left) or rendered(node.right))

    texts = set()
    for _ in range(3):  # follow assignments of names to names
        for node in ast.walk(function):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value and rendered(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                texts |= {each.id for each in targets if isinstance(each, ast.Name)}
    for node in ast.walk(function):
        called = node.func if isinstance(node, ast.Call) else None
        regex = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "re"
        if (
            (isinstance(called, ast.Attribute) and rendered(called.value))
            or (regex and any(map(rendered, node.args)))
            or (isinstance(node, ast.Subscript) and rendered(node.value))
            or (isinstance(node, ast.Compare) and any(map(rendered, [node.left, *node.comparators])))
            or (isinstance(node, ast.Attribute) and node.attr == "args" and isinstance(node.value, ast.Name)
                and node.value.id in names)
        ):  # fmt: skip
            yield node.lineno


def errors_of(function):
    """Return the names in a function that may hold errors of ours."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name and node.type:
            if words(node.type) & (OURS | ANY):
                found.add(node.name)
        elif isinstance(node, ast.arg) and node.annotation and words(node.annotation) & (OURS | ANY):
            found.add(node.arg)
    return found


def words(node):
    return set(re.findall(r"\w+", ast.unparse(node)))


def test_no_module_edits_a_message():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if lines := edits(path.read_text(encoding="utf-8"), FOREIGN.get(name, ())):
            found[name] = lines
    assert found == {}


def test_the_compiled_code_edits_no_message():
    caught = re.compile(r"except .*(?:Error|Exception)\b.* as (\w+)")
    for path in sorted((PACKAGE / "core").glob("*.pyx")):
        text = path.read_text(encoding="utf-8")
        for name in caught.findall(text):
            assert not re.search(rf"\bstr\({name}\)|\b{name}\.args\b", text), path.name


@pytest.mark.parametrize(
    "line",
    [
        "str(error).removeprefix('preds')", "str(error)[3:]", "re.sub('x', '', str(error))", "'x' in str(error)",
        "f'{error}'.replace('a', 'b')", "text = str(error)\n        text.partition(':')", "error.args[0]",
        "text = f'a: {error}'\n        re.match('x', text)", "(text := str(error)).split()", "str(error) == 'x'",
        "text = 'a: ' + str(error)\n        text.removesuffix('x')",
    ],
)  # fmt: skip
@pytest.mark.parametrize("caught", ["InputError", "ce.InputError", "(OSError, DataError)", "ValueError"])
def test_edits_are_found(line, caught):
    assert edits(f"def f():\n    try:\n        g()\n    except {caught} as error:\n        {line}\n")
    assert edits(f"def f(error: InputError | None):\n    if error:\n        {line}\n")
    assert not edits(f"def f():\n    try:\n        g()\n    except OSError as error:\n        {line}\n")
