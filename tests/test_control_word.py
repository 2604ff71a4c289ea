"""States, numbers, texts and errors of all classes and functions are equal in any floating-point mode of the caller."""

import inspect
import pickle
from types import FunctionType

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
from control_word import MODES, control, in_mode

import streamce as ce
from streamce.core.default_mode import DefaultModeMethods
from streamce.integrations.prometheus import Collector

N = 60
RNG = np.random.default_rng(11)
# Ordinary numbers, small numbers with subnormal squares and products, and subnormal numbers.
SCALE = 10.0 ** np.repeat([0, -160, -308], N // 3)
LOSSES = RNG.exponential(size=N) * SCALE
PROBS = 1 - np.exp(-RNG.exponential(size=N))
WEIGHT = RNG.gamma(1.0, 1.0, N) * 10.0 ** RNG.choice([0, -160, -310], N)
TARGET = RNG.integers(0, 2, N)
SHARES = RNG.random(N) * SCALE
ROWS = RNG.dirichlet(np.ones(5), N)
ROWS[::7] = [1.0, 5e-324, 1e-310, 0.0, 0.0]
LABELS = RNG.integers(0, 5, N)
SOFT = RNG.dirichlet(np.ones(5), N)
TIMES = RNG.random(N) * 1e9 + 1 / 3
NARROW = (LOSSES.astype(np.float32) * np.float32(1e-30)).astype(np.float32)  # some are subnormal as float32
HALVES = LOSSES.astype(np.float16)
SWAPPED = LOSSES.astype(">f8")
BRAIN = np.array(LOSSES, dtype=ml_dtypes.bfloat16)
KEYS = np.arange(N) % 7
FRAMES = RNG.dirichlet(np.ones(4), (5, N // 3))
TENTH = WEIGHT[: N // 3].astype(np.float32)
NARROW_WEIGHT, LISTED = WEIGHT.astype(np.float32), WEIGHT.tolist()
NARROW_TIMES = TIMES.astype(np.float32)
NARROW_PROBS = PROBS.astype(np.float32)
SMALL = (SOFT[0] * 1e-310).tolist()
FLAT = {"input_lengths": np.full(N // 3, 5), "target_lengths": np.full(N // 3, 2)}
SAID = np.tile([1, 2], (N // 3, 1))


def all_weights(metric):
    """Add losses of every dtype, as lists and as numbers, with weights of every dtype."""
    for losses in (LOSSES, NARROW, HALVES, BRAIN, SWAPPED.tolist(), SWAPPED):
        metric.update(losses)
        metric.update(losses, weight=WEIGHT)
        metric.update(losses, weight=NARROW_WEIGHT)
        metric.update(losses, weight=BRAIN)
        metric.update(losses, weight=LISTED)
    return metric.update(5e-324, weight=1e-310).update(-1e-309)


FED = {
    "BinaryCrossEntropy": lambda: ce.BinaryCrossEntropy(
        eps=0, class_weight=[1e-310, 1 / 3], pos_weight=1e-3, label_smoothing=1 / 7, tail=True
    ).update(SHARES, SHARES[::-1].copy(), weight=WEIGHT),
    "BinaryCrossEntropy, log-probabilities": lambda: (
        ce.BinaryCrossEntropy(kind="log_probs", eps=5e-324, calibration=True, tail=True)
        .update(-LOSSES, TARGET, weight=WEIGHT)
        .update(-NARROW, TARGET)
    ),
    "BinaryCrossEntropy, divergence": lambda: ce.BinaryCrossEntropy(divergence=True).update(PROBS, SHARES),
    "CTCCrossEntropy": lambda: ce.CTCCrossEntropy(tail=True).update(
        FRAMES, SAID, weight=TENTH, cluster=KEYS[: N // 3], **FLAT
    ),
    "Collection": lambda: ce.Collection(
        {
            "all": ce.MeanLoss(),
            "by": ce.Grouped(ce.MeanLoss(), period="1h"),
            "decayed": ce.Decayed(ce.MeanLoss(), half_life="1d"),
            "last": ce.Sliding(ce.MeanLoss(), period="365d", step="1d"),
        }
    ).update(LOSSES, weight=WEIGHT, by={"by": KEYS}, by_time=TIMES),
    "Decayed": lambda: (
        ce.Decayed(ce.MeanLoss(), half_life="1h")
        .update(LOSSES, weight=WEIGHT, by_time=TIMES)
        .update(NARROW, by_time=NARROW_TIMES)
    ),
    "GANCrossEntropy": lambda: ce.GANCrossEntropy(kind="log_probs", eps=0).update(
        real=-LOSSES, fake=-LOSSES[::-1], real_weight=WEIGHT, fake_weight=LISTED
    ),
    "Grouped": lambda: ce.Grouped(ce.MeanLoss()).update(LOSSES, by=KEYS, weight=WEIGHT).update(LOSSES, by=KEYS * 0),
    "Grouped, by time": lambda: ce.Grouped(ce.MeanLoss(), period="1us").update(NARROW, by_time=TIMES),
    "MeanLoss": lambda: all_weights(ce.MeanLoss()),
    "MeanLoss, subnormal": lambda: ce.MeanLoss().update([5e-324, 1e-323, 1.5e-323]),
    "MeanLoss, in clusters": lambda: ce.MeanLoss().update(LOSSES, weight=WEIGHT, cluster=KEYS),
    "MulticlassCrossEntropy": lambda: ce.MulticlassCrossEntropy(
        per_class=True, tail=True, calibration=True, eps=0
    ).update(ROWS, LABELS, weight=WEIGHT),
    "MulticlassCrossEntropy, soft": lambda: ce.MulticlassCrossEntropy(
        class_weight=SMALL, divergence=False, label_smoothing=0.1
    ).update(ROWS, SOFT),
    "MulticlassNormalizedEntropy": lambda: ce.MulticlassNormalizedEntropy().update(ROWS, LABELS, weight=WEIGHT),
    "MultilabelCrossEntropy": lambda: ce.MultilabelCrossEntropy(per_label=True, eps=0).update(
        ROWS, SOFT, weight=WEIGHT
    ),
    "NormalizedEntropy": lambda: ce.NormalizedEntropy().update(PROBS, TARGET, weight=WEIGHT),
    "NormalizedEntropy, in clusters": lambda: ce.NormalizedEntropy(kind="log_probs", eps=0).update(
        -LOSSES, SHARES, weight=WEIGHT, cluster=KEYS
    ),
    "Paired": lambda: ce.Paired(ce.MeanLoss()).update(LOSSES, LOSSES[::-1], weight=WEIGHT, cluster=KEYS),
    "Paired, of one weight": lambda: ce.Paired(ce.BinaryCrossEntropy()).update(PROBS, PROBS[::-1], TARGET),
    "Perplexity": lambda: ce.Perplexity(per_position=True).update_token_log_probs(
        -LOSSES.reshape(N // 4, 4), weight=WEIGHT[: N // 4], n_words=KEYS[: N // 4], n_bytes=KEYS[: N // 4] + 1
    ),
    "SequenceCrossEntropy": lambda: ce.SequenceCrossEntropy(tail=True).update(
        ROWS.reshape(N // 4, 4, 5),
        LABELS.reshape(N // 4, 4),
        weight=NARROW_WEIGHT[: N // 4],
        cluster=KEYS[: N // 4],
        n_words=KEYS[: N // 4],
    ),
    "Sliding": lambda: ce.Sliding(ce.MeanLoss(), period="30d", step="1h").update(LOSSES, by_time=TIMES, weight=WEIGHT),
    "Sliding, over samples": lambda: ce.Sliding(ce.MeanLoss(), samples=33).update(LOSSES, weight=WEIGHT),
}


def shown(value):
    """Return all bits of a result."""
    if isinstance(value, DefaultModeMethods) and hasattr(value, "to_dict"):
        return type(value).__name__, shown(value.to_dict()), str(value), repr(value)
    if isinstance(value, dict):
        return {repr(key): shown(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
        return [shown(each) for each in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if isinstance(value, float):
        return np.float64(value).tobytes()
    return value.to_bytes() if hasattr(value, "to_bytes") and not isinstance(value, int) else value


# Methods that read, by name, with arguments. A class has some of them.
READINGS = [
    "compute",
    "summary",
    "tail",
    "calibration",
    "skill",
    "per_class",
    "per_label",
    "per_position",
    "per_word",
    "per_byte",
    "micro",
    "macro",
    "worst",
    "best",
    "largest",
    "to_table",
    "keys",
    "report",
    "to_bytes",
    "window",
]


def readings(metric):
    """Return the results of all methods that read a metric, and the states of the metrics that they return."""
    found = {}
    for name in filter(lambda name: hasattr(metric, name), READINGS):
        try:
            found[name] = shown(getattr(metric, name)())
            if "anytime" in inspect.signature(getattr(metric, name)).parameters:
                found[f"{name} at any time"] = shown(getattr(metric, name)(level=0.9, anytime=True))
        except ce.InputError as error:  # the option for this method is off
            found[name] = str(error)
    if isinstance(metric, (ce.BinaryCrossEntropy, ce.MulticlassCrossEntropy)) and metric.options["tail"]:
        found["quantiles"] = [shown(metric.tail().quantile(q)) for q in (0.1, 1 / 3, 0.99)]
        found["share"] = shown(metric.tail().share(1 / 3))
    others = [metric.copy(), pickle.loads(pickle.dumps(metric)), ce.from_bytes(metric.to_bytes())]
    if not (isinstance(metric, ce.Sliding) and metric.options["samples"]):
        others += [metric + metric, metric - metric, sum([metric, metric])]
    found["picture"] = metric._repr_html_()
    return found, [each.to_bytes() for each in others], repr(metric)


def test_these_are_all_classes_that_add():
    names = {name for name in ce.__all__ if hasattr(getattr(ce, name), "__iadd__")}
    assert names == {name.partition(",")[0] for name in FED}


@pytest.mark.parametrize("kind", FED)
@pytest.mark.parametrize("mode", MODES)
def test_states_and_results_do_not_depend_on_the_mode(mode, kind):
    expected = FED[kind]()
    of_expected = readings(expected)
    with control(mode):
        metric = FED[kind]()
        found = readings(metric)
        still = in_mode(mode)
    assert still
    assert metric.to_bytes() == expected.to_bytes()
    assert found == of_expected


@pytest.mark.parametrize("mode", MODES)
def test_what_a_call_gives_does_not_depend_on_the_mode(mode):
    calls = [
        lambda: ce.MeanLoss()(LOSSES, weight=WEIGHT),
        lambda: ce.GANCrossEntropy()(real=PROBS, fake=PROBS),
        lambda: ce.NormalizedEntropy()(PROBS, TARGET),
        lambda: ce.Paired(ce.MeanLoss())(LOSSES, LOSSES[::-1]),
        lambda: ce.Perplexity()(ROWS[None], LABELS[None]),
    ]
    expected = [call() for call in calls]
    with control(mode):
        found = [call() for call in calls]
    assert found == expected


FUNCTIONS = {
    "binary": lambda: ce.binary_cross_entropy(PROBS, SHARES, weight=WEIGHT, grad=True),
    "binary, list": lambda: ce.binary_cross_entropy(SHARES.tolist(), SHARES, eps=0, reduction="none"),
    "rows": lambda: ce.cross_entropy(ROWS, SOFT, weight=WEIGHT, class_weight=list(SOFT[0]), grad=True),
    "labels": lambda: ce.multilabel_cross_entropy(ROWS, SOFT, weight=WEIGHT, reduction="sum", grad=True),
    "log_loss": lambda: ce.log_loss(LABELS, SOFT, sample_weight=WEIGHT),
    "log_loss, binary": lambda: ce.log_loss(TARGET, NARROW_PROBS, sample_weight=LOSSES, normalize=False),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_functions_do_not_depend_on_the_mode(mode, name):
    expected = FUNCTIONS[name]()
    with control(mode):
        found = FUNCTIONS[name]()
        still = in_mode(mode)
    assert still
    for one, other in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize("mode", MODES)
def test_streams_do_not_depend_on_the_mode_and_are_made_in_it(mode):
    columns = {"x": LOSSES, "narrow": NARROW, "w": WEIGHT, "t": TIMES, "k": KEYS}
    decimals = pa.array([f"{x:.9f}" for x in PROBS]).cast(pa.decimal128(20, 9))
    table = pa.table({**columns, "d": decimals, "id": range(len(LOSSES))})

    def of_two(a):
        return ce.Paired(ce.MeanLoss()).update_from(a, table, preds="x", preds_b="d", weight="w", key="id").to_bytes()

    def fed():
        metrics = [
            ce.MeanLoss().update_from(table, preds="x", weight="w"),
            ce.MeanLoss().update_from(table, preds="narrow", weight="d"),
            ce.Decayed(ce.MeanLoss(), half_life="1h").update_from(table, preds="x", by_time="t"),
        ]
        return [metric.to_bytes() for metric in metrics]

    modes = []

    def batches():
        for batch in table.to_batches(max_chunksize=20):
            modes.append(in_mode(mode))
            yield batch

    expected, expected_of_two = fed(), of_two(table)
    with control(mode):
        found, found_of_two = fed(), of_two(batches())
        of_batches = ce.MeanLoss().update_from(batches(), preds="x", weight="w").to_bytes()
        reader = pa.RecordBatchReader.from_batches(table.schema, batches())
        of_reader = ce.MeanLoss().update_from(reader, preds="x", weight="w").to_bytes()
        still = in_mode(mode)
    assert still
    assert found == expected
    assert of_batches == of_reader == expected[0]
    assert found_of_two == expected_of_two
    assert modes == [True] * 9


@pytest.mark.parametrize("mode", MODES)
def test_files_and_scrapes_do_not_depend_on_the_mode(mode, tmp_path):
    metric = ce.BinaryCrossEntropy(eps=1e-310, class_weight=[0.1, 1 / 3], tail=True).update(PROBS, TARGET)
    positions = {"seconds": 0.1, "small": 5e-324}

    def done(path):
        metric.save(path / "state")
        ce.Checkpoint(path / "checkpoint").save(metric, positions)
        loaded, at = ce.Checkpoint(path / "checkpoint").load()
        families = list(Collector(metric).collect())
        return [
            (path / "state").read_bytes(),
            (path / "checkpoint").read_bytes(),
            ce.load(path / "state").to_bytes(),
            loaded.to_bytes(),
            [sample.value for family in families for sample in family.samples],
            at,
        ]

    for name in ("default", "other"):
        (tmp_path / name).mkdir()
    expected = done(tmp_path / "default")
    with control(mode):
        found = done(tmp_path / "other")
    assert found == expected
    assert expected[-1] == positions


@pytest.mark.parametrize("mode", MODES)
def test_errors_and_options_do_not_depend_on_the_mode(mode):
    def errors():
        found = []
        for wrong in (
            lambda: ce.MeanLoss().update([1.0], weight=[-1e-310]),
            lambda: ce.BinaryCrossEntropy(eps=-5e-324),
            lambda: ce.BinaryCrossEntropy().update([1.1], [1]),
            lambda: ce.cross_entropy([[0.1, 0.3]], [1]),
        ):
            with pytest.raises(ce.InputError) as raised:
                wrong()
            found.append(str(raised.value))
        return found, repr(ce.BinaryCrossEntropy(eps=5e-324, class_weight=[1e-310, 0.1]))

    expected = errors()
    with control(mode):
        found = errors()
    assert found == expected


def test_every_public_method_runs_in_the_default_mode():
    for name in ce.__all__:
        cls = getattr(ce, name)
        if isinstance(cls, type) and issubclass(cls, DefaultModeMethods):
            for base in cls.__mro__[:-1]:
                methods = {key for key, value in vars(base).items() if isinstance(value, FunctionType)}
                public = {key for key in methods if not key.startswith("_")}
                assert public <= getattr(base, "_in_core", frozenset()), base
