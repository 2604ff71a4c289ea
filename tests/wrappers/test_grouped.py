"""Each group equals a separate metric, for all kinds of keys and all batches."""

import datetime as dt
import math
import subprocess
import sys
import textwrap

import numpy as np
import oracle
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import make, streams

import streamce as ce

UTC = dt.UTC
# Keys of every kind: one value per letter.
KINDS = {
    "int": lambda letters: [{"a": -(2**63), "b": 0, "c": 2**63 - 1}[x] for x in letters],
    "bool": lambda letters: [x == "a" for x in letters],
    "str": lambda letters: [{"a": "", "b": "b\0", "c": "Zürich €"}[x] for x in letters],
    "bytes": lambda letters: [{"a": b"", "b": b"\0\xff", "c": b"c" * 100}[x] for x in letters],
    "datetime": lambda letters: [dt.datetime(1, 1, 1) + dt.timedelta(days=ord(x), microseconds=1) for x in letters],
    "tuple": lambda letters: [(x, ord(x)) for x in letters],
}


def grouped(stream, **more):
    """Return a Grouped for a stream of any task."""
    options = dict(stream.options)
    for option in ("per_class", "per_label"):
        if option in options or (stream.task == "multilabel" and option == "per_label"):
            options[option] = False
    stream.options = options
    return ce.Grouped(stream.metric(), **more)


def add(stream, metric, by):
    return metric.update(stream.preds, stream.target, by=by, weight=stream.weight)


def columns_of(keys):
    return tuple(map(list, zip(*keys, strict=True))) if keys and isinstance(keys[0], tuple) else keys


# ---- groups ----


@given(streams(), st.sampled_from(list(KINDS)), st.data())
def test_each_group_is_a_metric_of_its_own_samples(stream, kind, data):
    letters = data.draw(st.lists(st.sampled_from("abc"), min_size=len(stream), max_size=len(stream)))
    keys = KINDS[kind](letters)
    metric = grouped(stream)
    at = data.draw(st.integers(0, len(stream)))
    for rows in (slice(0, at), slice(at, None)):
        if len(stream[rows]):
            add(stream[rows], metric, columns_of(keys[rows]))
    for key in dict.fromkeys(keys):
        own = stream[[i for i, other in enumerate(keys) if other == key]].fed()
        if own == stream.metric():
            assert key not in metric  # a group without samples
        else:
            assert metric[key] == own
    assert len(metric) == len(metric.compute())
    assert ce.from_bytes(metric.to_bytes()) == metric
    total = stream.fed()
    assert repr(metric.micro()) == repr(total.summary())


@given(streams(), st.data())
def test_the_number_of_groups_changes_no_loss(stream, data):
    metric = grouped(stream)
    by = data.draw(st.lists(st.integers(0, 3), min_size=len(stream), max_size=len(stream)))
    add(stream, metric, by)
    parts = [metric[key] for key in metric]
    if parts:
        assert sum(parts) == stream.fed()


def test_keys_come_in_order():
    metric = ce.Grouped(ce.MeanLoss())
    metric.update([1.0, 2.0, 3.0, 4.0], by=[3, -7, 2**62, None])
    assert metric.keys() == [None, -7, 3, 2**62]
    assert metric.compute() == {None: 4.0, -7: 2.0, 3: 1.0, 2**62: 3.0}
    assert list(metric) == metric.keys()


def test_text_comes_in_its_own_order():
    metric = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0, 4.0], by=["b", "aa", "", None])
    assert metric.keys() == list(metric.compute()) == list(metric.summary()) == [None, "", "aa", "b"]
    assert metric.compute() == {None: 4.0, "": 3.0, "aa": 2.0, "b": 1.0}
    assert metric.to_table()["key"].tolist() == [None, "", "aa", "b"]
    assert metric.to_table()["value"].tolist() == [4.0, 3.0, 2.0, 1.0]
    pairs = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0], by=(["b", "aa", None], [1, None, 2]))
    assert pairs.keys() == [(None, 2), ("aa", None), ("b", 1)]


def test_many_groups_are_counted_right():
    rng = np.random.default_rng(7)
    keys, losses = rng.integers(0, 50_000, 200_000), rng.exponential(size=200_000)
    metric = ce.Grouped(ce.MeanLoss()).update(losses[:77_777], by=keys[:77_777])
    metric.update(losses[77_777:], by=keys[77_777:])
    found = metric.compute()
    assert len(metric) == len(found) == len(np.unique(keys))
    order = np.argsort(keys, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)[::997]:
        assert found[int(keys[part[0]])] == float(oracle.total(losses[part]) / len(part))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9), st.integers(-1074, 900))
def test_the_mean_of_a_group_is_the_exact_quotient_rounded_once(losses, scale):
    with np.errstate(all="ignore"):
        losses = [loss for loss in np.ldexp(losses, scale).tolist() if math.isfinite(loss)] or [0.0]
    value = ce.Grouped(ce.MeanLoss()).update(losses, by=["x"] * len(losses)).compute()["x"]
    assert value == ce.MeanLoss().update(losses).compute()
    try:
        assert value == float(oracle.total(losses) / len(losses))
    except OverflowError:
        assert math.isinf(value)


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=40), st.data())
def test_losses_of_any_size_and_sign_are_added_exactly(losses, data):
    by = data.draw(st.lists(st.integers(0, 1), min_size=len(losses), max_size=len(losses)))
    metric = ce.Grouped(ce.MeanLoss())
    for loss, key in zip(losses, by, strict=True):
        metric.update(loss, by=key)
    assert metric.to_bytes() == ce.Grouped(ce.MeanLoss()).update(losses, by=by).to_bytes()
    for key in set(by):
        assert metric[key] == ce.MeanLoss().update([loss for loss, of in zip(losses, by, strict=True) if of == key])


def test_infinite_and_ignored_losses_stay_in_their_group():
    metric = ce.Grouped(ce.BinaryCrossEntropy(eps=0.0, ignore_index=-1, invalid="skip"))
    metric.update([0.0, 0.5, 0.5, np.nan, 0.5], [1, 1, -1, 1, 0], by=["inf", "one", "none", "nan", "one"])
    found = metric.summary()
    assert found["inf"].value == math.inf
    assert found["inf"].infinite == 1
    assert found["one"].samples == 2
    assert math.isnan(found["none"].value)
    assert found["none"].ignored == 1
    assert found["nan"].invalid_nan == 1
    assert [key for key, _ in metric.worst(2)] == ["inf", "one"]
    assert [key for key, _ in metric.best(1)] == ["one"]
    assert metric.macro().groups == 2


def test_samples_of_several_losses_have_one_key():
    stream = make("multilabel", 60, classes=4, weighted=True, odd=True, seed=3, per_label=False)
    keys = np.arange(60) % 7
    metric = add(stream, grouped(stream), keys)
    for key in range(7):
        assert metric[key] == stream[keys == key].fed()


@pytest.mark.parametrize("task", ["mean", "binary", "multilabel"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("odd", [False, True])
def test_samples_that_come_group_by_group(task, weighted, odd):
    stream = make(task, 3000, weighted=weighted, odd=odd, seed=6)
    keys = np.arange(3000) // 500
    metric = grouped(stream)
    for start, end in ((0, 7), (7, 1300), (1300, 3000)):
        add(stream[start:end], metric, keys[start:end])
    for key in range(6):
        assert metric[key] == stream[keys == key].fed()


def test_a_sample_without_losses_is_none():
    metric = ce.Grouped(ce.MeanLoss()).update(np.empty((200, 0)), by=[1] * 200)
    assert metric == ce.Grouped(ce.MeanLoss())


def test_one_sample_at_a_time():
    metric = ce.Grouped(ce.BinaryCrossEntropy())
    metric.update(0.7, 1, by="ann").update(0.2, 1, by="bob").update(0.9, 1, by="ann")
    whole = ce.Grouped(ce.BinaryCrossEntropy()).update([0.7, 0.2, 0.9], [1, 1, 1], by=["ann", "bob", "ann"])
    assert metric == whole
    assert ce.Grouped(ce.BinaryCrossEntropy()).update(0.7, 1, by=("ann", 3)).keys() == [("ann", 3)]


MEMORY = """
import re, sys
import numpy as np, streamce as ce

def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", status.read())[1]) / 1024

rng = np.random.default_rng(0)
metric = ce.Grouped(ce.BinaryCrossEntropy())
metric.update(rng.random(1000), rng.integers(0, 2, 1000), by=rng.integers(0, 10, 1000))
keys = rng.permutation(1_000_000)
if sys.argv[1] == "str":
    keys = np.char.add("user-", keys.astype("U7"))
metric -= metric
preds, target = rng.random(1_000_000), rng.integers(0, 2, 1_000_000)
before, most = peak(), 0
for start in range(0, 1_000_000, 100_000):
    rows = slice(start, start + 100_000)
    metric.update(preds[rows], target[rows], by=keys[rows])
assert len(metric) == 1_000_000
print(peak() - before)
"""


@pytest.mark.parametrize("kind", ["int", "str"])
def test_a_million_groups_take_less_than_300_megabytes(kind):
    run = subprocess.run([sys.executable, "-c", MEMORY, kind], capture_output=True, text=True, check=True)
    assert 20 < float(run.stdout) < 300


def test_groups_that_come_and_go_leave_no_memory_behind():
    """Sessions are added and subtracted again, as over months."""
    metric = ce.Grouped(ce.MeanLoss())
    sizes = []
    for day in range(40):
        keys = np.arange(20_000) + 20_000 * day
        chunk = ce.Grouped(ce.MeanLoss()).update(np.ones(20_000), by=keys)
        metric += chunk
        sizes.append(metric._state.slots())
        metric -= chunk
    assert len(metric) == 0
    assert max(sizes) < 100_000


# ---- kinds of keys ----


def stamps(*texts):
    return np.array(texts, dtype="datetime64[s]")


class Tensor:
    """An object that NumPy can convert to an array."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


DAYS = "2026-01-02", "2025-01-01", "2026-01-02"
EAST = dt.timezone(dt.timedelta(hours=1))
# The same keys in every form. Those at 0 and 2 are equal.
SAME = {
    "integers": [
        np.array([3, 1, 3]), np.array([3, 1, 3], np.uint8), np.array([3, 1, 3], ">i4"), np.array([3, 1, 3], object),
        np.array([3, 0, 1, 0, 3, 0])[::2], [3, 1, 3], [np.int8(3), np.int64(1), 3],
        pa.array([3, 1, 3]), pa.array([3, 1, 3]).dictionary_encode(), pa.chunked_array([[3], [1, 3]]),
        pd.Series([3, 1, 3]), pd.Series([3, 1, 3], dtype="Int64"), pd.Categorical([3, 1, 3]), Tensor([3, 1, 3]),
    ],
    "strings": [
        np.array(["b", "ann", "b"]), np.array(["b", "ann", "b"], object), ["b", "ann", "b"], [np.str_("b"), "ann", "b"],
        np.array(["b", "ann", "b"], np.dtypes.StringDType()),
        pa.array(["b", "ann", "b"]), pa.array(["b", "ann", "b"]).dictionary_encode(),
        pa.array(["b", "ann", "b"], pa.large_string()), pa.array(["b", "ann", "b"], pa.string_view()),
        pa.chunked_array([["b", "ann"], ["b"]]),
        pd.Series(["b", "ann", "b"]), pd.Series(["b", "ann", "b"], dtype="string"), pd.Categorical(["b", "ann", "b"]),
        pd.Series(["b", "ann", "b"], dtype="category"),
    ],
    "bytes": [np.array([b"b", b"ann", b"b"]), [b"b", b"ann", b"b"], pa.array([b"b", b"ann", b"b"])],
    "bools": [
        np.array([True, False, True]), [True, False, True], pa.array([True, False, True]),
        pd.Series([True, False, True]),
    ],
    "datetimes": [
        stamps(*DAYS), stamps(*DAYS).astype("datetime64[ns]"), np.array(DAYS, "datetime64[D]"),
        [dt.datetime(2026, 1, 2), dt.datetime(2025, 1, 1), dt.datetime(2026, 1, 2)],
        [dt.date(2026, 1, 2), dt.date(2025, 1, 1), dt.date(2026, 1, 2)],
        [dt.datetime(2026, 1, 2, 1, tzinfo=EAST), dt.datetime(2025, 1, 1, tzinfo=UTC), dt.datetime(2026, 1, 2)],
        [pd.Timestamp("2026-01-02"), pd.Timestamp("2025-01-01"), np.datetime64("2026-01-02")],
        pd.Series(pd.to_datetime(DAYS)), pa.array(stamps(*DAYS)), pa.array(stamps(*DAYS)).dictionary_encode(),
        pa.array([dt.date(2026, 1, 2), dt.date(2025, 1, 1), dt.date(2026, 1, 2)]),
    ],
    "strings, some missing": [
        [None, "a", None], [float("nan"), "a", pd.NA], np.array([None, "a", None], object),
        pa.array([None, "a", None]), pa.array([None, "a", None]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), pa.array(["a", None])),
        pd.Series([None, "a", None]), pd.Series([None, "a", None], dtype="string"), pd.Categorical([None, "a", None]),
    ],
    "datetimes, some missing": [
        [None, dt.datetime(2025, 1, 1), pd.NaT], np.array(["NaT", "2025-01-01", "NaT"], "datetime64[us]"),
        pd.Series(pd.to_datetime([None, "2025-01-01", None])), pa.array([None, dt.datetime(2025, 1, 1), None]),
    ],
    "integers, some missing": [[None, 7, None], pa.array([None, 7, None]), pd.Series([None, 7, None], dtype="Int64")],
}  # fmt: skip


@pytest.mark.parametrize("which", SAME)
def test_the_same_keys_in_any_form_are_the_same_groups(which):
    first, *others = (ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0], by=by) for by in SAME[which])
    assert len(first) == 2
    assert sorted(first.compute().values()) == [2.0, 2.0]
    for other in others:
        assert other.keys() == first.keys()
        assert other.to_bytes() == first.to_bytes()


def test_polars_series_are_keys():
    for values in ([3, 1, 3], ["b", "ann", "b"], [None, "a", None], [None, 7, None], [None, None, None]):
        metric = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0], by=pl.Series(values))
        assert metric == ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0], by=values)


def test_more_parts_than_a_state_can_name_are_an_error():
    metric = ce.Grouped(ce.MeanLoss())
    with pytest.raises(ce.InputError, match="by has 256 parts: expected at most 255"):
        metric.update([1.0], by=([7],) * 256)
    assert len(metric) == 0
    assert ce.from_bytes(metric.update([1.0], by=([7],) * 255).to_bytes()) == metric


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(-3, 3), st.binary(max_size=2)), min_size=1, max_size=30))
def test_keys_of_several_parts_come_back(keys):
    metric = ce.Grouped(ce.MeanLoss()).update(np.ones(len(keys)), by=tuple(map(list, zip(*keys, strict=True))))
    assert set(metric.keys()) == set(keys)
    again = ce.from_bytes(metric.to_bytes())
    assert again.compute() == metric.compute()
    assert {key: metric[key].summary().samples for key in metric} == {key: keys.count(key) for key in set(keys)}


@given(st.lists(st.one_of(st.none(), st.text(max_size=2)), min_size=1, max_size=20), st.integers(0, 20))
def test_a_chunk_whose_keys_are_all_missing_does_not_settle_their_kind(keys, at):
    losses = np.arange(1.0, len(keys) + 1)
    whole = ce.Grouped(ce.MeanLoss()).update(losses, by=keys)
    parts = ce.Grouped(ce.MeanLoss())
    for rows in (slice(0, at), slice(at, None)):
        parts.update(losses[rows], by=keys[rows])
    assert parts.to_bytes() == whole.to_bytes()
    rest = whole - ce.Grouped(ce.MeanLoss()).update(losses[:at], by=keys[:at])
    assert rest.to_bytes() == ce.Grouped(ce.MeanLoss()).update(losses[at:], by=keys[at:]).to_bytes()


def test_after_a_minus_itself_keys_of_any_kind_are_welcome():
    metric = ce.Grouped(ce.MeanLoss()).update([1.0], by=[3])
    metric -= metric
    assert len(metric) == 0
    assert metric.update([1.0], by=["three"]).keys() == ["three"]


def test_a_part_that_is_null_in_all_groups_that_are_left_takes_keys_of_any_kind():
    null = ce.Grouped(ce.MeanLoss()).update([1.0], by=[None])
    number = ce.Grouped(ce.MeanLoss()).update([2.0], by=[1])
    text = ce.Grouped(ce.MeanLoss()).update([3.0], by=["a"])
    left = null + number - number
    expected = {None: 1.0, "a": 3.0}
    assert (left + text).compute() == (text + left).compute() == (null + text).compute() == expected
    assert left.copy().update([3.0], by=["a"]).compute() == expected
    pair = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0], by=(["x", "x"], [None, 1]))
    pair -= ce.Grouped(ce.MeanLoss()).update([2.0], by=(["x"], [1]))
    assert pair.update([3.0], by=(["x"], ["a"])).keys() == [("x", None), ("x", "a")]
    with pytest.raises(ce.InputError, match="by has keys of kind int: expected str"):
        pair.update([3.0], by=([1], ["a"]))


def test_groups_that_come_and_go_take_no_more_memory_than_those_that_are_there():
    code = """
        import numpy as np
        import streamce as ce
        def most():
            return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
        metric, last = ce.Grouped(ce.MeanLoss()), ce.Grouped(ce.MeanLoss())
        for day in range(200):
            if day == 5:
                before = most()
            new = ce.Grouped(ce.MeanLoss()).update(np.ones(5000), by=np.arange(5000 * day, 5000 * (day + 1)))
            metric += new - last
            last = new
        print(len(metric), most() - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
    )
    groups, kilobytes = map(int, done.stdout.split())
    assert groups == 5000
    assert kilobytes < 20_000


# ---- time ----


def test_time_buckets_give_the_history_of_a_run():
    metric = ce.Grouped(ce.MeanLoss(), period="1h")
    times = stamps("2026-01-01T00:59:59", "2026-01-01T01:00:00", "2026-01-01T01:30:00", "1969-12-31T23:59:59")
    metric.update([1.0, 2.0, 4.0, 8.0], by_time=times)
    assert metric.compute() == {
        dt.datetime(1969, 12, 31, 23): 8.0, dt.datetime(2026, 1, 1): 1.0, dt.datetime(2026, 1, 1, 1): 3.0,
    }  # fmt: skip


def test_seconds_since_1970_are_moments():
    metric = ce.Grouped(ce.MeanLoss(), period=dt.timedelta(minutes=15))
    metric.update(1.0, by_time=1_767_225_600.25).update([3.0, 5.0], by_time=np.array([1_767_225_601, 1_767_226_500]))
    assert metric.compute() == {dt.datetime(2026, 1, 1): 2.0, dt.datetime(2026, 1, 1, 0, 15): 5.0}


@pytest.mark.parametrize("form", [
    pa.array([1, 3601]), pa.array([1.5, 3600.0]), pa.chunked_array([[1], [3601]]), np.array([1, 3601], np.float16),
    np.array([1, 3_600_000_000_001], "datetime64[ns]"), pa.array([1, 3_600_000_000_001], pa.timestamp("ns")),
    [pd.Timestamp(1), pd.Timestamp(3_600_000_000_001)], pd.Series(pd.to_datetime([1, 3_600_000_000_001])),
])  # fmt: skip
def test_moments_come_as_numbers_of_arrow_and_finer_than_microseconds(form):
    metric = ce.Grouped(ce.MeanLoss(), period="1h").update([1.0, 2.0], by_time=form)
    assert metric.compute() == {dt.datetime(1970, 1, 1): 1.0, dt.datetime(1970, 1, 1, 1): 2.0}


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.date64()])
def test_moments_of_arrow_that_are_null_are_a_group(kind):
    metric = ce.Grouped(ce.MeanLoss(), period="1h").update([1.0, 2.0], by_time=pa.array([None, 0]).cast(kind))
    assert metric.compute() == {None: 1.0, dt.datetime(1970, 1, 1): 2.0}


def test_a_moment_just_before_1970_is_in_the_period_before():
    metric = ce.Grouped(ce.MeanLoss(), period="1h").update(1.0, by_time=np.array([-1], "datetime64[ns]"))
    assert metric.keys() == [dt.datetime(1969, 12, 31, 23)]


def test_time_is_the_last_part_of_a_key():
    metric = ce.Grouped(ce.MeanLoss(), period="1d")
    metric.update([1.0, 2.0], by=["x", "y"], by_time=stamps("2026-01-01T07:00", "2026-01-02T07:00"))
    assert metric.keys() == [("x", dt.datetime(2026, 1, 1)), ("y", dt.datetime(2026, 1, 2))]
    assert metric[("x", dt.datetime(2026, 1, 1))].compute() == 1.0


def test_weeks_begin_on_a_monday():
    metric = ce.Grouped(ce.MeanLoss(), period="2w").update([1.0], by_time=stamps("2026-11-21"))
    assert metric.keys()[0].weekday() == 0


@pytest.mark.parametrize(
    "times", [[math.nan, 7.0], np.array([np.nan, 7.0]), pa.array([None, 7.0]), pd.Series([None, 7.0])]
)
def test_seconds_that_are_missing_are_a_group(times):
    metric = ce.Grouped(ce.MeanLoss(), period="1h").update([1.0, 2.0], by_time=times)
    assert metric.compute() == {None: 1.0, dt.datetime(1970, 1, 1): 2.0}


def test_moments_that_are_missing_are_a_group():
    metric = ce.Grouped(ce.MeanLoss(), period="1d").update([1.0, 2.0], by_time=[None, dt.date(2026, 1, 1)])
    assert metric.keys() == [None, dt.datetime(2026, 1, 1)]


@pytest.mark.parametrize(
    ("one", "other"), [("60min", "1h"), ("7d", "1w"), ("1000ms", "s"), (dt.timedelta(days=1), "24h")]
)
def test_equal_periods_add_up(one, other):
    a, b = (ce.Grouped(ce.MeanLoss(), period=period).update([1.0], by_time=[0.0]) for period in (one, other))
    assert a == b
    assert list((a + b).compute().values()) == [1.0]


# ---- reading ----


@pytest.mark.parametrize(
    ("losses", "value", "stderr"),
    [
        ([math.inf, -math.inf, 1.0], math.nan, math.nan),
        ([math.inf, 1.0], math.inf, math.nan),
        ([1.5e308, 1.5e308], 1.5e308, 0.0),
        ([1.5e308, -1.5e308, 0.0], 0.0, 1.5e308 / math.sqrt(3)),
        ([1e200, 3e200], 2e200, 1e200),
    ],
)
def test_macro_of_huge_and_infinite_groups(losses, value, stderr):
    macro = ce.Grouped(ce.MeanLoss()).update(losses, by=list(range(len(losses)))).macro()
    assert (macro.value, macro.stderr) == pytest.approx((value, stderr), rel=1e-15, nan_ok=True)


def test_macro_is_the_mean_of_the_groups():
    metric = ce.Grouped(ce.MeanLoss()).update([1.0, 3.0, 5.0, 9.0], by=["a", "a", "b", "c"])
    macro = metric.macro()
    assert macro.value == (2.0 + 5.0 + 9.0) / 3
    assert macro.groups == 3
    assert macro.stderr == pytest.approx(np.std([2.0, 5.0, 9.0], ddof=1) / math.sqrt(3), rel=1e-14)
    low, high = macro.interval
    assert (low + high) / 2 == pytest.approx(macro.value)
    assert (high - low) / 2 == pytest.approx(4.302652729749464 * macro.stderr, rel=1e-9)
    assert math.isnan(ce.Grouped(ce.MeanLoss()).macro().value)


def test_the_largest_groups_have_the_most_samples_and_of_equals_the_first_keys():
    metric = ce.Grouped(ce.MeanLoss()).update([1.0] * 7, by=["c", "b", "a", "b", "c", "d", "d"])
    assert metric.largest(3) == [(key, metric[key].summary()) for key in ("b", "c", "d")]


def test_worst_and_best_have_the_summaries_of_their_groups():
    losses = np.random.default_rng(5).exponential(size=1000)
    metric = ce.Grouped(ce.MeanLoss()).update(losses, by=np.arange(1000) % 50)
    values = metric.compute()
    worst, best = metric.worst(3), metric.best(3, level=0.9)
    assert [key for key, _ in worst] == sorted(values, key=values.get)[:-4:-1]
    assert [key for key, _ in best] == sorted(values, key=values.get)[:3]
    for key, summary in worst:
        assert repr(summary) == repr(metric[key].summary())
    assert best[0][1].level == 0.9
    assert len(metric.worst(1000)) == 50
    assert metric.worst(0) == []


@pytest.mark.parametrize(
    ("values", "mean", "stderr"),
    [
        ([1e200, 1e200, 4e200], 2e200, 1e200),
        ([1e308, 1e308], 1e308, 0.0),
        ([-1e308, 1e308], 0.0, 1e308),
        ([math.inf, 1.0], math.inf, math.nan),
        ([math.inf, -math.inf], math.nan, math.nan),
    ],
)
def test_macro_of_values_at_the_ends_of_the_range_is_a_number_that_floats_have(values, mean, stderr):
    macro = ce.Grouped(ce.MeanLoss()).update(values, by=range(len(values))).macro()
    assert macro.value == pytest.approx(mean, rel=1e-15, nan_ok=True)
    assert macro.stderr == pytest.approx(stderr, rel=1e-15, nan_ok=True)


def test_tables_are_what_data_frames_take():
    metric = ce.Grouped(ce.BinaryCrossEntropy(), period="1h")
    metric.update([0.9, 0.2, 0.6, 0.6], [1, 0, 1, 0], by=["a", "b", "a", None], by_time=[0.0, 0.0, 3600.0, 0.0])
    table = metric.to_table()
    frames = pd.DataFrame(table), pl.DataFrame(table).to_pandas(), pa.table(table).to_pandas()
    for frame in frames:
        assert frame.value.tolist() == list(metric.compute().values())
        assert frame["count"].tolist() == [1, 1, 1, 1]
        assert [None if pd.isna(key) else key for key in frame.key_0] == [None, "a", "a", "b"]
        assert frame.key_1.tolist() == [key[1] for key in metric]
    assert table["key_1"].dtype == np.dtype("datetime64[us]")
    whole = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0], by=[5, 4]).to_table()
    assert whole["key"].dtype == np.int64
    assert len(ce.Grouped(ce.MeanLoss()).to_table()["key"]) == 0


def test_a_group_can_be_taken_out_and_read():
    metric = ce.Grouped(ce.BinaryCrossEntropy(kind="logits")).update([0.0, 1.0], [1, 1], by=["a", "b"])
    one = metric["a"]
    assert one.options == metric.metric.options
    one.update(0.0, 1)
    assert metric["a"] != one  # a copy
    for missing in ("c", 3, None, ("a", "b"), 1.5, [], {}):
        assert missing not in metric
        with pytest.raises(KeyError):
            metric[missing]


# ---- bad input ----


class Rude(str):
    """A string whose ``__hash__`` raises."""

    __slots__ = ()

    def __hash__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"by": [1, 2]}, "by has length 2 and preds 3 samples"),
        ({"by": []}, "by has length 0 and preds 3 samples"),
        ({"by": "a"}, "by has length 1 and preds 3 samples"),
        ({"by": 7}, "by has length 1 and preds 3 samples"),
        ({}, "by is missing"),
        ({"by": [1.0, 2.5, 3.0]}, r"by\[1\] is 2.5"),
        ({"by": np.array([1.0, 2.0, 3.5])}, r"by\[2\] is 3.5: expected a whole number"),
        ({"by": np.array([1.0, 2.0, 3j])}, "by has dtype complex128"),
        ({"by": ["a", 1, "a"]}, r"by\[[01]\] is"),
        ({"by": ["a", [1], "a"]}, r"by\[1\] is \[1\]"),
        ({"by": ["a", 1.5, "a"]}, r"by\[1\] is 1.5"),
        ({"by": [1, 2**63, 3]}, r"by\[1\] is 9223372036854775808: expected integers that fit int64"),
        ({"by": np.array([1, 2**63, 3], np.uint64)}, r"by\[1\] is 9223372036854775808"),
        ({"by": ["a", "\ud800", "c"]}, "UTF-8"),
        ({"by": np.ones((3, 2), int)}, r"by has shape \(3, 2\)"),
        ({"by": ()}, "by is an empty tuple"),
        ({"by": ([1, 2, 3], ["a", "b"])}, r"by\[1\] has length 2"),
        ({"by": ([1, 2, 3], [0.5, 0.5, 0.5])}, r"by\[1\]\[0\] is 0.5"),
        ({"by": object()}, "by"),
        ({"by": {"a": 1}}, "by"),
        ({"by": pa.array([[1], [2], [3]])}, "by"),
        ({"by": np.array(["2026-01-01T00:00:00.000000001"] * 3, "datetime64[ns]")}, "whole microseconds"),
        ({"by": np.array(["20260-01-01"] * 3, "datetime64[D]")}, "1 to 9999"),
        ({"by": np.array([1, 2, 3], "timedelta64[s]")}, "by has dtype"),
        ({"by": [np.timedelta64(1, "h"), np.timedelta64(1, "s"), 2]}, r"by\[0\] is datetime.timedelta"),
        ({"by": np.ma.array([1, 2, 3], mask=[False, True, False])}, r"by\[1\] is masked: expected a key"),
        ({"by": range(10**30)}, "by is a range that cannot be read"),
        ({"by": np.array([0x110000, 1, 2], np.uint32).view("U1")}, "by is a ndarray that cannot be read"),
        ({"by": [Rude("a"), Rude("b"), Rude("c")]}, "by is a list that cannot be read"),
        (
            {"by": pa.DictionaryArray.from_arrays(pa.array([0, 1, 10**6]), pa.array([5, 6]), safe=False)},
            r"by is a DictionaryArray that cannot be read \(Dictionary indices invalid",
        ),
        ({"by": ["a", "b", "c"], "by_time": [0.0, 0.0, 0.0]}, "by_time is given"),
    ],
)
def test_keys_of_another_length_or_kind_are_an_error(given, message):
    metric = ce.Grouped(ce.MeanLoss()).update([1.0], by=["x"])
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=message):
        metric.update([1.0, 2.0, 3.0], **given)
    assert metric.to_bytes() == before


@pytest.mark.parametrize("by", [[3], [b"x"], [True], [dt.date(2026, 1, 1)], (["x"], ["y"])])
def test_keys_of_another_kind_than_before_are_an_error(by):
    metric = ce.Grouped(ce.MeanLoss()).update([1.0], by=["x"])
    other = ce.Grouped(ce.MeanLoss()).update([1.0], by=by)
    before = metric.to_bytes()
    for wrong in (lambda: metric.update([1.0], by=by), lambda: metric + other, lambda: metric.merge(other)):
        with pytest.raises(ce.InputError, match="by has"):
            wrong()
    assert metric.to_bytes() == before


def test_an_invalid_row_leaves_no_trace_of_its_chunk():
    metric = ce.Grouped(ce.BinaryCrossEntropy()).update([0.5], [1], by=["x"])
    before = metric.to_bytes()
    preds = np.full(80_000, 0.5)
    preds[70_000] = 1.5
    with pytest.raises(ce.InputError, match=r"preds\[70000\] is 1.5"):
        metric.update(preds, np.ones(80_000, int), by=["y"] * 80_000)
    assert metric.to_bytes() == before
    assert metric.keys() == ["x"]


@pytest.mark.parametrize(
    "period",
    [
        "",
        "h h",
        "1 fortnight",
        "0s",
        "-1h",
        "1.5h",
        1e-7,
        True,
        b"1h",
        dt.timedelta(0),
        dt.timedelta(-1),
        "9999999w",
        np.timedelta64("NaT", "s"),  # NumPy 2.5 deprecates NaT without a unit
        [],
    ],
)
def test_an_unknown_period_is_an_error(period):
    with pytest.raises(ce.InputError, match=r"^period is"):
        ce.Grouped(ce.MeanLoss(), period=period)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["noon"], "by_time"),
        ([math.inf], r"by_time\[0\] is inf"),
        ([1e18], r"by_time\[0\] is 1e\+18"),
        ([True], "by_time holds keys of kind bool"),
        ([0.0, 1.0], "by_time has length 2"),
        (np.zeros((1, 1)), "by_time"),
    ],
)
def test_moments_that_are_none_are_an_error(times, message):
    metric = ce.Grouped(ce.MeanLoss(), period="1h")
    with pytest.raises(ce.InputError, match=message):
        metric.update([1.0], by_time=times)
    assert len(metric) == 0


@pytest.mark.parametrize(
    "metric",
    [
        ce.BinaryCrossEntropy, None, "binary", ce.BinaryCrossEntropy().update(0.5, 1), ce.Grouped(ce.MeanLoss()),
        ce.Sliding(ce.MeanLoss(), samples=3), ce.Collection({"a": ce.Sliding(ce.MeanLoss(), samples=3)}),
    ],
)  # fmt: skip
def test_what_cannot_be_grouped_is_an_error(metric):
    with pytest.raises(ce.InputError, match=r"^metric "):
        ce.Grouped(metric)


@pytest.mark.parametrize("k", [-1, 1.5, "3", None, True])
def test_a_number_of_groups_is_a_whole_number(k):
    with pytest.raises(ce.InputError, match=r"^k is"):
        ce.Grouped(ce.MeanLoss()).worst(k)
    with pytest.raises(ce.InputError, match="expected a whole number of groups"):
        ce.Grouped(ce.MeanLoss()).largest(k)


def test_merging_other_options_names_the_option():
    for one, other, option in (
        (ce.Grouped(ce.BinaryCrossEntropy()), ce.Grouped(ce.BinaryCrossEntropy(kind="logits")), "kind"),
        (ce.Grouped(ce.BinaryCrossEntropy()), ce.Grouped(ce.MeanLoss()), "other"),
        (ce.Grouped(ce.MeanLoss()), ce.Grouped(ce.MeanLoss(), period="1h"), "period"),
        (ce.Grouped(ce.MeanLoss()), ce.MeanLoss(), "other"),
        (ce.MeanLoss(), ce.Grouped(ce.MeanLoss()), "other"),
    ):
        with pytest.raises(ce.InputError) as caught:
            one + other
        assert caught.value.argument == option
