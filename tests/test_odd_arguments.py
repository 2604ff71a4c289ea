"""Any argument of an update or a function is accepted, or raises one InputError and adds nothing."""

import datetime as dt
import decimal
import fractions
import inspect

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import streamce as ce


class Raises:
    """An object that raises on any access."""

    def __getattr__(self, name):
        raise RuntimeError(name)


class Gives:
    """An object whose ``__array__`` returns something other than an array."""

    def __init__(self, given):
        self.given = given

    def __array__(self, dtype=None, copy=None):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


ODD = [
    None,
    0,
    1,
    -1,
    2**63,
    10**400,
    10**5000,
    True,
    0.5,
    float("nan"),
    "x",
    "",
    b"x",
    1j,
    ...,
    object(),
    set(),
    {},
    {"a": 1},
    [],
    [[]],
    [None],
    [None, None],
    ["a", "b"],
    [0.5, None],
    [[1], [1, 2]],
    [10**400] * 2,
    [2**64] * 2,
    ["\ud800"] * 2,
    [True, None],
    (),
    ((),),
    ([1, 0],),
    ([1, 0], [1, 0]),
    range(2),
    memoryview(b"ab"),
    lambda: 1,
    np.float64,
    fractions.Fraction(1, 2),
    decimal.Decimal("0.5"),
    [decimal.Decimal(1)] * 2,
    dt.date(2020, 1, 1),
    [dt.datetime.max] * 2,
    Raises(),
    Gives(KeyError("x")),
    Gives("no array"),
    Gives(np.zeros((0,))),
    Gives(np.zeros(2)),
    np.array(0.5),
    np.array([], object),
    np.array([None, 1], object),
    np.array(["a", "b"]),
    np.array([1, 2], "M8[s]"),
    np.array([1, 2], "m8[s]"),
    np.array(["NaT", "NaT"], "M8[s]"),
    np.zeros(2, complex),
    np.zeros(2, "V8"),
    np.zeros(2, [("a", "f8")]),
    np.zeros(0),
    np.zeros((0, 3)),
    np.zeros((2, 0)),
    np.zeros((2, 3, 4)),
    np.zeros((1,) * 32),
    np.zeros(2, np.longdouble),
    np.zeros(2, ">f4"),
    np.zeros(2, bool),
    np.ma.masked,
    np.ma.masked_array([0.5, 0.25], [1, 0]),
    pd.Categorical([]),
    pd.Categorical([0.5, 0.25]),
    pd.Categorical(["a", None]),
    pd.Series([0.5, None], dtype="Float64"),
    pd.Series([pd.NA, pd.NA]),
    pd.DataFrame({"a": [0.5, 0.25]}),
    pd.MultiIndex.from_tuples([(1, 2), (2, 3)]),
    pd.NaT,
    pd.NA,
    pd.period_range("2020", periods=2),
    pd.interval_range(0, 2),
    pa.array([1, None]),
    pa.array([None, None]),
    pa.array([]),
    pa.nulls(2),
    pa.array(["a", "b"]).dictionary_encode(),
    pa.array([[0.5], None]),
    pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
    pa.array([{"a": 1}, {"a": 2}]),
    pa.chunked_array([[0.5], [0.25]]),
    pa.scalar(1),
    pa.array([decimal.Decimal("0.5")] * 2),
    pa.array([dt.time(1)] * 2),
    pa.table({"a": [1, 2]}),
    pa.array([True, False]),
]

P, T, ROWS, SEQUENCES = np.array([0.5, 0.25]), np.array([1, 0]), np.full((2, 3), 1 / 3), np.full((2, 3, 4), 0.25)
FRAMES, LENGTHS = np.full((3, 2, 4), 0.25), {"input_lengths": [3, 3], "target_lengths": [1, 1]}
NONE = {"input_lengths": np.zeros(0, int), "target_lengths": np.zeros(0, int)}
OF_ALL = ("weight", "cluster")
UPDATES = {
    "binary": (ce.BinaryCrossEntropy, {"preds": P, "target": T}, OF_ALL),
    "binary, skipping": (
        lambda: ce.BinaryCrossEntropy(calibration=True, invalid="skip"),
        {"preds": P, "target": T},
        OF_ALL,
    ),
    "divergence": (lambda: ce.BinaryCrossEntropy(divergence=True, tail=True), {"preds": P, "target": P}, OF_ALL),
    "multiclass": (lambda: ce.MulticlassCrossEntropy(per_class=True), {"preds": ROWS, "target": T}, OF_ALL),
    "multilabel": (ce.MultilabelCrossEntropy, {"preds": ROWS, "target": np.ones((2, 3))}, OF_ALL),
    "losses": (ce.MeanLoss, {"losses": P}, OF_ALL),
    "normalized": (ce.NormalizedEntropy, {"preds": P, "target": T}, OF_ALL),
    "multiclass normalized": (ce.MulticlassNormalizedEntropy, {"preds": ROWS, "target": T}, OF_ALL),
    "gan": (ce.GANCrossEntropy, {"real": P, "fake": P}, ("real_weight", "fake_weight")),
    "sequences": (
        ce.SequenceCrossEntropy,
        {"preds": SEQUENCES, "target": np.ones((2, 3), int)},
        (*OF_ALL, "lengths", "mask", "offsets", "n_words", "n_bytes"),
    ),
    "flat": (
        lambda: ce.Perplexity(per_position=True),
        {"preds": SEQUENCES[0], "target": np.ones(3, int), "offsets": [0, 2, 3]},
        (*OF_ALL, "lengths", "mask", "n_words"),
    ),
    "utterances": (ce.CTCCrossEntropy, {"preds": FRAMES, "target": [[1], [2]], **LENGTHS}, OF_ALL),
    "no utterances": (ce.CTCCrossEntropy, {"preds": FRAMES[:, :0], "target": np.zeros((0, 2), int), **NONE}, OF_ALL),
    "grouped": (
        lambda: ce.Grouped(ce.BinaryCrossEntropy(), period="1h"),
        {"preds": P, "target": T, "by": T, "by_time": P},
        OF_ALL,
    ),
    "decayed": (
        lambda: ce.Decayed(ce.BinaryCrossEntropy(), half_life="1h"),
        {"preds": P, "target": T, "by_time": P},
        OF_ALL,
    ),
    "sliding": (
        lambda: ce.Sliding(ce.BinaryCrossEntropy(), period="1h", step="1h"),
        {"preds": P, "target": T, "by_time": P},
        OF_ALL,
    ),
    "the last": (
        lambda: ce.Sliding(ce.BinaryCrossEntropy(), samples=1),
        {"preds": P, "target": T},
        ("weight", "by_time"),
    ),
    "paired": (lambda: ce.Paired(ce.BinaryCrossEntropy()), {"preds_a": P, "preds_b": P, "target": T}, OF_ALL),
    "collection": (
        lambda: ce.Collection(
            {"a": ce.BinaryCrossEntropy(), "b": ce.NormalizedEntropy(), "c": ce.Grouped(ce.BinaryCrossEntropy())}
        ),
        {"preds": P, "target": T, "by": T},
        (*OF_ALL, "by_time"),
    ),
}
FUNCTIONS = {
    ce.binary_cross_entropy: {"preds": P, "target": T},
    ce.cross_entropy: {"preds": ROWS, "target": T},
    ce.multilabel_cross_entropy: {"preds": ROWS, "target": np.ones((2, 3))},
    ce.log_loss: {"y_true": T, "y_proba": P},
    ce.shift_by_one: {"preds": SEQUENCES, "target": np.ones((2, 3), int)},
}


@pytest.mark.filterwarnings("ignore")  # warnings of the libraries of these arguments
@pytest.mark.parametrize(
    ("kind", "argument"), [(kind, name) for kind, (_, given, more) in UPDATES.items() for name in (*given, *more)]
)
def test_an_odd_argument_of_an_update_is_taken_or_one_error(kind, argument):
    made, given, _ = UPDATES[kind]
    empty = made().to_bytes()
    for odd in ODD:
        metric = made()
        try:
            metric.update(**{**given, argument: odd})
        except ce.InputError:
            assert metric.to_bytes() == empty
        else:
            assert ce.from_bytes(metric.to_bytes()).to_bytes() == metric.to_bytes()
            metric.summary()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("function", "argument"),
    [(f, name) for f in FUNCTIONS for name in inspect.signature(f).parameters],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_an_odd_argument_of_a_function_is_taken_or_one_error(function, argument):
    for odd in ODD:
        try:
            function(**{**FUNCTIONS[function], argument: odd})
        except ce.InputError:
            continue
