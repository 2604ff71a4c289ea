"""Each window equals a new metric of its samples, to the bit. Earlier samples and chunks do not matter."""

import copy
import datetime as dt
import itertools
import math
import pickle
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from state_writer import body, groups, key, record, sealed, u
from streams import METRICS, make, streams
from utterances import Batch

import streamce as ce
from streamce._support import state_format

HOUR, MINUTE = 3_600_000_000, 60_000_000
DATETIME = 4


def empty(stream):
    """Return the metric of a stream, without sums by class or label."""
    options = {name: value for name, value in stream.options.items() if name not in ("per_class", "per_label")}
    return METRICS[stream.task](**options, **({"per_label": False} if stream.task == "multilabel" else {}))


def add(stream, metric, **more):
    return metric.update(stream.preds, stream.target, weight=stream.weight, **more)


def of(stream, rows):
    """Return a new metric of some rows."""
    metric = empty(stream)
    return stream[rows].add_to(metric) if len(rows) else metric


def cuts(draw, size):
    """Draw where a stream of this many samples is cut."""
    return sorted(draw(st.sets(st.integers(0, size), max_size=6)) | {0, size})


# ---- the last samples ----


def again(window, how):
    """Return the same window after it was saved and loaded, or copied."""
    if how == "bytes":
        fresh = window.copy().reset()
        fresh.load_state_dict({"state": window.to_bytes()})
        return fresh
    return {"pickle": lambda: pickle.loads(pickle.dumps(window)), "copy": lambda: copy.copy(window)}.get(
        how, lambda: window
    )()


@given(streams(), st.integers(1, 60), st.data())
def test_the_window_is_a_fresh_metric_over_the_last_samples(stream, size, data):
    window = ce.Sliding(empty(stream), samples=size)
    at = cuts(data.draw, len(stream))
    for start, end in itertools.pairwise(at):
        add(stream[start:end], window)
        expected = of(stream, range(max(0, end - size), end))
        assert window.window().to_bytes() == expected.to_bytes()
        assert repr(window.summary()) == repr(expected.summary())
        window = again(window, data.draw(st.sampled_from(["", "bytes", "pickle", "copy"])))


@given(streams(), st.integers(1, 60), st.data())
def test_chunks_change_no_bit_of_a_window_of_samples(stream, size, data):
    whole = add(stream, ce.Sliding(empty(stream), samples=size))
    parts = ce.Sliding(empty(stream), samples=size)
    at = cuts(data.draw, len(stream))
    for start, end in itertools.pairwise(at):
        add(stream[start:end], parts)
    assert parts.to_bytes() == whole.to_bytes()
    assert parts == whole
    assert ce.from_bytes(whole.to_bytes()) == whole


@pytest.mark.parametrize("size", [1, 2, 100, 2047, 2048, 2049, 5000])
@pytest.mark.parametrize("chunk", [1, 7, 100, 2048, 4999])
def test_nothing_drifts(size, chunk):
    stream = make("mean", 10_000, weighted=True, odd=True, infinite=True, seed=size)
    window = ce.Sliding(stream.metric(), samples=size)
    for end in range(chunk, 10_001, chunk):
        add(stream[end - chunk : end], window)
        if chunk > 1 or end % 997 == 0:
            assert window.window() == of(stream, range(max(0, end - size), end))


def test_an_infinity_and_a_nan_leave_with_their_rows():
    window = ce.Sliding(ce.MeanLoss(invalid="skip"), samples=2)
    seen = [window.update(loss).compute() for loss in (math.inf, 1.0, -math.inf, math.nan, 1e308, 1e-300, 0.25, 0.5)]
    assert seen == [math.inf, math.inf, -math.inf, -math.inf, 1e308, 5e307, 0.125, 0.375]
    assert window.to_bytes() == ce.Sliding(ce.MeanLoss(), samples=2).update([0.25, 0.5]).to_bytes()
    both = ce.Sliding(ce.MeanLoss(), samples=1).update([[math.inf, -math.inf], [1.0, 2.0]])
    assert both.compute() == 1.5


def test_rows_that_are_ignored_or_skipped_take_a_place_and_leave_with_it():
    window = ce.Sliding(ce.BinaryCrossEntropy(ignore_index=-1, invalid="skip"), samples=3)
    window.update([0.5, 0.5, np.nan, 0.5], [1, -1, 1, 7])
    summary = window.summary()
    assert (summary.count, summary.ignored, summary.invalid_nan, summary.invalid_label) == (0, 1, 1, 1)
    assert math.isnan(summary.value)
    window.update([0.5, 0.0], [0, 1])
    summary = window.summary()
    assert (summary.count, summary.ignored, summary.invalid_nan, summary.invalid_label) == (2, 0, 0, 1)
    assert summary.floored == 1


def test_samples_of_several_losses_are_one_row():
    stream = make("multilabel", 60, classes=4, weighted=True, weights_each=True, odd=True, seed=3, per_label=False)
    window = ce.Sliding(stream.metric(), samples=7)
    for i in range(60):
        add(stream[i : i + 1], window)
        assert window.window() == of(stream, range(max(0, i - 6), i + 1))


def test_a_window_of_utterances():
    batch = Batch(5, 40, kind="logits", dtype="float32", odd=True)
    window = ce.Sliding(batch.metric(), samples=9)
    for some in np.array_split(np.arange(40), 6):
        batch.add_to(window, some)
        last = np.arange(max(0, some[-1] - 8), some[-1] + 1)
        assert window.window() == batch.add_to(batch.metric(), last)


def test_a_window_of_scalars():
    window = ce.Sliding(ce.BinaryCrossEntropy(), samples=2).update(0.1, 1).update(0.7, 1).update(0.2, 0, weight=2.0)
    assert window.window() == ce.BinaryCrossEntropy().update([0.7, 0.2], [1, 0], weight=[1.0, 2.0])


def test_a_window_larger_than_the_stream_holds_all_of_it():
    window = ce.Sliding(ce.MeanLoss(), samples=2**40).update([1.0, 2.0])
    assert window.compute() == 1.5
    assert math.isnan(window.reset().compute())
    assert window.to_bytes() == ce.Sliding(ce.MeanLoss(), samples=2**40).to_bytes()


def test_a_chunk_without_samples_changes_nothing():
    window = ce.Sliding(ce.MeanLoss(), samples=2).update([1.0])
    before = window.to_bytes()
    assert window.update([]).to_bytes() == before


def test_the_state_of_a_window_does_not_grow_with_the_stream():
    rng = np.random.default_rng(2)
    window = ce.Sliding(ce.MeanLoss(invalid="skip"), samples=50)
    for _ in range(300):
        losses = rng.exponential(size=97)
        losses[rng.random(97) < 0.3] = np.nan
        window.update(losses)
        assert len(window.to_bytes()) < 200 + 50 * (24 + 17)


def test_threads_share_a_window():
    window = ce.Sliding(ce.MeanLoss(), samples=1000)
    losses = [np.full(37, float(i)) for i in range(4)]

    def work(i):
        for _ in range(300):
            window.update(losses[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert window.summary().count == 1000
    assert ce.from_bytes(window.to_bytes()).window() == window.window()


def test_last_samples_do_not_add_up():
    a, b = (ce.Sliding(ce.MeanLoss(), samples=3).update([float(i)]) for i in range(2))
    before = a.to_bytes()
    for wrong in (lambda: a + b, lambda: a - b, lambda: a.merge(b), lambda: a.__iadd__(b), lambda: sum([a, b])):
        with pytest.raises(ce.InputError, match=r"^the last samples of two streams do not add up") as caught:
            wrong()
        assert caught.value.argument == "other"
    assert a.to_bytes() == before


# ---- a period ----


def pane(time, step=MINUTE):
    """Return the start of the pane of a time in seconds, in microseconds."""
    return round(time * 1e6) // step * step


def inside(times, period=HOUR, step=MINUTE, now=None):
    """Return the rows whose pane is in the window."""
    starts = [pane(time, step) for time in times]
    newest = max(starts) if now is None else pane(now, step)
    return [i for i, start in enumerate(starts) if newest - period < start <= newest]


TIMES = st.one_of(
    st.floats(-1e5, 1e5), st.sampled_from([0.0, 59.999999, 60.0, 3599.999999, 3600.0, -0.000001, 7200.0, 1e9])
)


@given(streams(), st.data())
def test_the_window_is_a_fresh_metric_over_the_samples_of_its_panes(stream, data):
    times = data.draw(st.lists(TIMES, min_size=len(stream), max_size=len(stream)))
    window = ce.Sliding(empty(stream), period="1h", step="1min")
    at = cuts(data.draw, len(stream))
    for start, end in itertools.pairwise(at):
        add(stream[start:end], window, by_time=times[start:end])
        expected = of(stream, inside(times[:end]))
        assert window.window().to_bytes() == expected.to_bytes()
        assert repr(window.summary(level=0.9)) == repr(expected.summary(level=0.9))


@given(streams(), st.data())
def test_order_chunks_and_workers_change_no_bit_of_a_window_of_time(stream, data):
    times = np.array(data.draw(st.lists(TIMES, min_size=len(stream), max_size=len(stream))))
    whole = add(stream, ce.Sliding(empty(stream), period="1h", step="1min"), by_time=times)
    order = np.array(data.draw(st.permutations(range(len(stream)))))
    workers = [ce.Sliding(empty(stream), period="1h", step="1min") for _ in range(3)]
    at = cuts(data.draw, len(stream))
    for start, end in itertools.pairwise(at):
        worker = workers[data.draw(st.integers(0, 2))]
        add(stream[order[start:end]], worker, by_time=times[order[start:end]])
    a, b, c = data.draw(st.permutations(workers))
    assert (a + b + c).to_bytes() == (a + (b + c)).to_bytes() == whole.to_bytes()
    assert a.merge(c, b) == whole
    assert ce.from_bytes(whole.to_bytes()) == pickle.loads(pickle.dumps(whole)) == whole.copy() == whole


@given(st.lists(st.lists(st.integers(0, 12), max_size=4), min_size=3, max_size=3), st.data())
def test_addition_of_windows_whose_clocks_differ_is_associative_and_commutative(panes, data):
    """The law also holds after subtractions, if each window still has samples."""

    def window(starts):
        losses = [float(1 + i + start) for i, start in enumerate(starts)]
        return ce.Sliding(ce.MeanLoss(), period="5min", step="1min").update(losses, by_time=[60.0 * x for x in starts])

    a, b, c = map(window, panes)
    if data.draw(st.booleans()):
        a = a - window([20])
    assert ((a + b) + c).to_bytes() == (a + (b + c)).to_bytes()
    assert (a + b).to_bytes() == (b + a).to_bytes()
    if a != b and panes[2]:
        assert (a + c - b).to_bytes() == (a - b + c).to_bytes()


def test_what_was_added_is_taken_away_again_in_the_window_of_the_later_clock():
    def window(*times):
        return ce.Sliding(ce.MeanLoss(), period="10min", step="1min").update(
            [1.0 + time for time in times], by_time=list(times)
        )

    a = window(0.0, 60.0, 540.0)
    for b in (window(540.0), window(3.0, 180.0), window(-3600.0)):  # not ahead of a
        assert (a + b - b).to_bytes() == a.to_bytes()
        assert (a - b + b).to_bytes() == a.to_bytes()
    ahead = a + window(660.0) - window(660.0)
    assert ahead != a
    assert ahead.window() == ce.MeanLoss().update([541.0])
    assert ahead.update([5.0], by_time=[100.0]).compute() == 541.0  # late
    assert (a - a).to_bytes() == ce.Sliding(ce.MeanLoss(), period="10min", step="1min").to_bytes()


def test_samples_older_than_the_window_have_no_part_in_it_however_late_they_come():
    day = ce.Sliding(ce.MeanLoss(), period="1d", step="1h")
    times = [dt.datetime(2026, 1, 2, 12, 30), dt.datetime(2026, 1, 1, 13, 0), dt.datetime(2026, 1, 1, 12, 59, 59)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        window = day.copy()
        for i in order:
            window.update([float(i)], by_time=[times[i]])
        assert window.summary().total == 1.0
        assert window.summary().seen == 2
    assert (day.copy().update([2.0], by_time=times[2]) + day.copy().update([0.0], by_time=times[0])).summary().seen == 1


def test_an_infinity_leaves_with_its_pane():
    window = ce.Sliding(ce.MeanLoss(), period="2min", step="1min")
    seen = [window.update([loss], by_time=[60.0 * i]).compute() for i, loss in enumerate([math.inf, 1.0, 0.5, 0.25])]
    assert seen == [math.inf, math.inf, 0.75, 0.375]


def test_a_later_moment_moves_the_window_of_one_look():
    window = ce.Sliding(ce.MeanLoss(), period="3min", step="1min")
    window.update([1.0, 2.0, 4.0], by_time=[0.0, 60.0, 120.0])
    before = window.to_bytes()
    later = [window.compute(now=now) for now in (120.0, 179.9, 180.0, np.datetime64(240, "s"), dt.datetime(1970, 1, 2))]
    assert later[:4] == [7 / 3, 7 / 3, 3.0, 4.0]
    assert math.isnan(later[4])
    assert window.summary(now=180.0).count == 2
    assert window.window(now=240.0) == ce.MeanLoss().update([4.0])
    assert window.to_bytes() == before


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (119.0, "now is in the pane from 1970-01-01 00:01:00: expected 1970-01-01 00:02:00 or later"),
        ([], "now has length 0: expected one timestamp"),
        ([120.0, 121.0], "now has length 2: expected one timestamp"),
        ("noon", "now"),
        (math.nan, r"now\[0\] is missing: expected a timestamp"),
        (1e18, r"now\[0\] is 1e\+18"),
    ],
)
def test_a_moment_to_look_at_is_one_that_the_window_has_not_left(now, message):
    window = ce.Sliding(ce.MeanLoss(), period="3min", step="1min").update([1.0], by_time=[120.0])
    for look in (window.compute, window.summary, window.window):
        with pytest.raises(ce.InputError, match=f"^{message}"):
            look(now=now)


def test_panes_of_weeks_begin_on_a_monday():
    window = ce.Sliding(ce.MeanLoss(), period="1w", step="1w")
    window.update([1.0, 2.0], by_time=[dt.date(2026, 11, 22), dt.date(2026, 11, 23)])  # a Sunday and a Monday
    assert window.compute() == 2.0


@pytest.mark.parametrize(
    "times",
    [
        np.array([0, 3599], "datetime64[s]"), [dt.datetime(1970, 1, 1), "1970-01-01T00:59:59+00:00"][:1] * 2,
        pd.to_datetime(pd.Series([0, 1], dtype="int64")), pa.array([0, 3599]), [0.0, 3599.5],
        pd.Series(pd.to_datetime([0, 1])).astype("category"), pa.array([0, 0], pa.timestamp("us")).dictionary_encode(),
        pd.to_datetime(pd.Series(["1970-01-01T01:00+01:00"] * 2)), np.array([0, 3599], np.int16),
    ],
)  # fmt: skip
def test_moments_come_in_every_form_that_groups_take(times):
    window = ce.Sliding(ce.MeanLoss(), period="1h", step="1h").update([1.0, 2.0], by_time=times)
    assert window.to_bytes() == ce.Sliding(ce.MeanLoss(), period="1h", step="1h").update(
        [1.0, 2.0], by_time=[0.0, 0.0]
    ).to_bytes()  # fmt: skip


def test_the_ends_of_time_have_panes():
    window = ce.Sliding(ce.MeanLoss(), period="4w", step="2w")
    window.update([1.0], by_time=[dt.datetime(1, 1, 1)])
    assert ce.from_bytes(window.to_bytes()) == window
    window.update([2.0], by_time=[dt.datetime(9999, 12, 31, 23, 59, 59)])
    assert ce.from_bytes(window.to_bytes()) == window
    assert window.compute() == 2.0


def test_a_window_of_time_keeps_no_more_panes_than_it_has():
    window = ce.Sliding(ce.MeanLoss(), period="5s", step="1s")
    merged = window.copy()
    for second in range(5000):
        new = window.copy().reset().update([1.0, 2.0], by_time=[float(second), second - 4.0])
        window += new
        merged.update([1.0, 2.0], by_time=[float(second), second - 4.0])
    assert window == merged
    for each in (window, merged):
        assert each._state._panes._cells.slots() <= 2 * 5 + 31
        assert each.copy()._state._panes._cells.count() == 5
        assert len(each.to_bytes()) < 1000


def test_samples_without_a_loss_move_no_clock_and_leave_nothing_behind():
    for losses in ([], [1.0]):
        window = ce.Sliding(ce.MeanLoss(), period="1h", step="1h").update(losses, by_time=[0.0] * len(losses))
        before = window.to_bytes()
        for hour in range(100):
            window.update(np.empty((1, 0)), by_time=[3600.0 * hour])
        assert window.to_bytes() == before
        assert window._state._panes._cells.slots() < 40
        assert window.update([2.0], by_time=[1.0]).summary().total == sum(losses) + 2.0


def test_late_samples_leave_nothing_behind():
    window = ce.Sliding(ce.MeanLoss(), period="1h", step="1h").update([1.0], by_time=[1e9])
    before = window.to_bytes()
    window.update(np.ones(1000), by_time=np.arange(1000) * 3600.0)
    for hour in range(100):
        window.update([5.0], by_time=[3600.0 * hour])
        assert window.compute() == 1.0
    assert window.to_bytes() == before
    assert window._state._panes._cells.slots() < 40


def test_threads_share_a_window_of_time():
    window = ce.Sliding(ce.MeanLoss(), period="1min", step="1s")

    def work(i):
        for second in range(200):
            window.update([1.0, 2.0], by_time=[second + i / 8, second - 90.0])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = ce.Sliding(ce.MeanLoss(), period="1min", step="1s")
    assert window == expected.update([1.0] * 240, by_time=np.repeat(np.arange(140.0, 200.0), 4))


# ---- bad input ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "samples is missing, and so is period"),
        ({"samples": 3, "period": "1h", "step": "1min"}, "samples is given, and so is period"),
        ({"samples": 0}, "samples is 0: expected a whole number from 1"),
        ({"samples": -1}, "samples is -1"),
        ({"samples": 2**40 + 1}, "samples is 1099511627777"),
        ({"samples": 2.5}, "samples is 2.5"),
        ({"samples": True}, "samples is True"),
        ({"samples": "10"}, "samples is '10'"),
        ({"samples": 3, "step": "1min"}, "step is given: expected none"),
        ({"step": "1min"}, "samples is missing, and so is period"),
        ({"period": "1h"}, "step is missing: expected one that divides the period"),
        ({"period": "0h", "step": "1min"}, "period is '0h'"),
        ({"period": "1h", "step": "0s"}, "step is '0s'"),
        ({"period": "1h", "step": -1}, "step is -1"),
        ({"period": "1h", "step": "7min"}, "step is 7min: expected one that divides the period, 1h"),
        ({"period": "1h", "step": "2h"}, "step is 2h: expected one that divides the period, 1h"),
        ({"period": True, "step": "1min"}, "period is True"),
        ({"period": dt.timedelta(0), "step": "1s"}, "period is datetime"),
    ],
)
def test_a_window_without_sense_is_an_error(options, message):
    with pytest.raises(ce.InputError, match=f"^{message}"):
        ce.Sliding(ce.MeanLoss(), **options)


@pytest.mark.parametrize(
    "metric",
    [
        ce.BinaryCrossEntropy, None, ce.Collection({"a": ce.MeanLoss()}),
        ce.BinaryCrossEntropy().update(0.5, 1), ce.Grouped(ce.MeanLoss()), ce.Sliding(ce.MeanLoss(), samples=1),
    ],
)  # fmt: skip
def test_what_has_no_window_is_an_error(metric):
    with pytest.raises(ce.InputError, match=r"^metric "):
        ce.Sliding(metric, samples=10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "by_time is missing"),
        ({"by_time": ["noon"] * 3}, r"by_time\[0\] is 'noon'"),
        ({"by_time": [0.0]}, "by_time has length 1 and preds 3 samples"),
        ({"by_time": 0.0}, "by_time has length 1 and preds 3 samples"),
        ({"by_time": []}, "by_time has length 0 and preds 3 samples"),
        ({"by_time": [0.0, math.nan, 0.0]}, r"by_time\[1\] is missing: expected a timestamp"),
        ({"by_time": [None, None, None]}, r"by_time\[0\] is missing: expected a timestamp"),
        ({"by_time": [dt.date(2026, 1, 1), dt.date(2026, 1, 1), None]}, r"by_time\[2\] is missing"),
        ({"by_time": np.array(["2026", "NaT", "2026"], "datetime64[s]")}, r"by_time\[1\] is missing"),
        ({"by_time": pd.Series([None, pd.Timestamp(0), None]).astype("category")}, r"by_time\[0\] is missing"),
        ({"by_time": [0.0, math.inf, 0.0]}, r"by_time\[1\] is inf"),
        ({"by_time": [True, False, True]}, "by_time holds keys of kind bool"),
        ({"by_time": np.zeros((3, 1))}, "by_time"),
        ({"by_time": [0.0, 1.0, 2.0], "weight": [1.0]}, "weight has shape"),
        ({"by_time": [0.0, 1.0, 2.0], "weight": [1.0, -1.0, 1.0]}, r"weight\[1\] is -1.0"),
    ],
)
def test_moments_that_are_none_are_an_error_and_nothing_is_counted(given, message):
    window = ce.Sliding(ce.MeanLoss(), period="1h", step="1min").update([1.0], by_time=[0.0])
    before = window.to_bytes()
    with pytest.raises(ce.InputError, match=f"^{message}"):
        window.update([1.0, 2.0, 3.0], **given)
    assert window.to_bytes() == before


def test_an_invalid_row_leaves_a_window_of_samples_as_it_was():
    window = ce.Sliding(ce.BinaryCrossEntropy(), samples=2).update([0.25, 0.5], [1, 1])
    before = window.to_bytes()
    for preds, more in (([0.5, 1.5], {}), ([0.5, 0.5], {"weight": [1.0]}), ([0.5, 0.5], {"by_time": [0.0, 1.0]})):
        with pytest.raises(ce.InputError):
            window.update(preds, [1, 1], **more)
    with pytest.raises(ce.InputError, match=r"^now is given: expected none"):
        window.compute(now=0.0)
    assert window.to_bytes() == before


def test_merging_other_windows_names_the_option():
    hour = ce.Sliding(ce.MeanLoss(), period="1h", step="1min").update([1.0], by_time=[0.0])
    before = hour.to_bytes()
    for other, option in (
        (ce.Sliding(ce.MeanLoss(), period="2h", step="1min"), "period"),
        (ce.Sliding(ce.MeanLoss(), period="1h", step="2min"), "step"),
        (ce.Sliding(ce.MeanLoss(), samples=3), "period"),
        (ce.Sliding(ce.BinaryCrossEntropy(), period="1h", step="1min"), "other"),
        (ce.MeanLoss(), "other"),
        (ce.Grouped(ce.MeanLoss(), period="1h"), "other"),
    ):
        for wrong in (lambda other=other: hour + other, lambda other=other: hour.merge(other)):
            with pytest.raises(ce.InputError) as caught:
                wrong()
            assert caught.value.argument == option
    logits = ce.Sliding(ce.BinaryCrossEntropy(kind="logits"), samples=3)
    with pytest.raises(ce.InputError, match=r"^kind is"):
        logits.merge(ce.Sliding(ce.BinaryCrossEntropy(), samples=3))
    assert hour.to_bytes() == before


def test_more_taken_away_than_was_there_is_an_error_when_it_is_read():
    window = ce.Sliding(ce.MeanLoss(), period="1h", step="1min")
    window -= window.copy().update([1.0], by_time=[0.0])
    with pytest.raises(ce.InputError, match="more was subtracted"):
        window.compute()


# ---- bytes ----

SAMPLES = {
    "metric": "Sliding",
    "options": {"metric": {"metric": "MeanLoss", "options": {}}, "period": None, "samples": 2, "step": None},
}
PERIOD = {"metric": "Sliding", "options": SAMPLES["options"] | {"period": 2 * MINUTE, "samples": None, "step": MINUTE}}
TWO = record(("samples", 0, [2]), ("count", 0, [2]))
ONE, NAN, INF = 0x3FF0 << 48, 0x7FF8 << 48, 0x7FF0 << 48


def rows(*some, odd=(), header=SAMPLES, count=None):
    raw = u(8, len(some) if count is None else count) + b"".join(u(8, x) for row in some for x in row)
    raw += u(8, len(odd)) + b"".join(u(8, row) + u(1, column) + u(8, many) for row, column, many in odd)
    return body(header, (b"rows", raw))


def panes(*starts, newest=0, header=PERIOD, kind=DATETIME):
    some = groups([kind], *((key(kind, start), TWO) for start in starts))
    return body(header, (b"groups", some), (b"newest", (newest + 2**63).to_bytes(8, "big")))


def of_options(**options):
    return body({"metric": "Sliding", "options": PERIOD["options"] | options})


RIGHT = {
    "one row": rows((ONE, ONE, 1)),
    "two rows": rows((ONE, ONE, 1), (ONE, 0, 3)),
    "a row without a loss": rows((0, 0, 0)),
    "a row that is nan": rows((NAN, INF, 2)),
    "oddities": rows((ONE, ONE, 1), (0, 0, 0), odd=[(0, 19, 1), (0, 20, 2), (1, 17, 2**62)]),
    "a pane": panes(0),
    "the clock is ahead": panes(-MINUTE),
    "all panes": panes(-MINUTE, 0),
}
WRONG = {
    "rows of no length": body(SAMPLES, (b"rows", b"")),
    "no rows": rows(),
    "a row more than the window has": rows(*[(ONE, ONE, 1)] * 3),
    "a row more than there is": rows((ONE, ONE, 1), count=2),
    "rows beyond all bytes": rows((ONE, ONE, 1), count=2**63),
    "a row less than there is": rows((ONE, ONE, 1), (ONE, ONE, 1), count=1),
    "rows cut short": body(SAMPLES, (b"rows", u(8, 1) + u(8, ONE) * 2 + u(8, 1) + u(7, 0))),
    "more behind rows": body(SAMPLES, (b"rows", u(8, 1) + u(8, ONE) * 2 + u(8, 1) + u(8, 0) + b"\0")),
    "an oddity that is not there": body(SAMPLES, (b"rows", u(8, 1) + u(8, ONE) * 2 + u(8, 1) + u(8, 1))),
    "n is -0.0": rows((1 << 63, ONE, 1)),
    "d is -0.0": rows((ONE, 1 << 63, 1)),
    "d is negative": rows((ONE, ONE | 1 << 63, 1)),
    "d is nan": rows((ONE, NAN, 1)),
    "another nan": rows((NAN | 1, ONE, 1)),
    "a negative nan": rows((NAN | 1 << 63, ONE, 1)),
    "n without a loss": rows((ONE, 0, 0)),
    "d without a loss": rows((0, ONE, 0)),
    "nan without a loss": rows((NAN, 0, 0)),
    "losses beyond 2^62": rows((ONE, ONE, 2**62), (ONE, ONE, 1)),
    "losses of 2^63": rows((ONE, ONE, 2**63)),
    "an oddity of no row": rows((ONE, ONE, 1), odd=[(1, 17, 1)]),
    "an oddity of samples": rows((ONE, ONE, 1), odd=[(0, 15, 1)]),
    "an oddity of count": rows((ONE, ONE, 1), odd=[(0, 16, 1)]),
    "an oddity beyond the columns": rows((ONE, ONE, 1), odd=[(0, 28, 1)]),
    "an oddity of 0": rows((ONE, ONE, 1), odd=[(0, 17, 0)]),
    "oddities beyond 2^62": rows((ONE, ONE, 1), (ONE, ONE, 1), odd=[(0, 17, 2**62), (1, 17, 1)]),
    "oddities twice": rows((ONE, ONE, 1), odd=[(0, 17, 1), (0, 17, 1)]),
    "oddities out of order": rows((ONE, ONE, 1), odd=[(0, 18, 1), (0, 17, 1)]),
    "rows of a period": rows((ONE, ONE, 1), header=PERIOD),
    "panes of samples": panes(0, header=SAMPLES),
    "panes without the newest": body(
        PERIOD, (b"groups", groups([DATETIME], (key(DATETIME, 0), TWO)))
    ),
    "the newest without panes": body(PERIOD, (b"newest", (2**63).to_bytes(8, "big"))),
    "a pane of no step": panes(1, newest=1),
    "the newest of no step": panes(0, newest=1),
    "a pane before the window": panes(-2 * MINUTE, 0),
    "a pane behind the newest": panes(0, MINUTE),
    "panes of integers": panes(0, kind=1),
    "a pane that is null": body(
        PERIOD, (b"groups", groups([DATETIME], (key(DATETIME, None), TWO),
                                   (key(DATETIME, 0), TWO)),),
        (b"newest", (2**63).to_bytes(8, "big")),
    ),
    "the newest of 7 bytes": body(
        PERIOD, (b"groups", groups([DATETIME], (key(DATETIME, 0), TWO))), (b"newest", b"\0" * 7)
    ),
    "neither kind of window": of_options(period=None, step=None),
    "both kinds of window": of_options(samples=3),
    "a period without a step": of_options(step=None),
    "a step without a period": of_options(period=None, samples=3),
    "a step that does not divide the period": of_options(step=MINUTE + 1),
    "samples that are a float": body({"metric": "Sliding", "options": SAMPLES["options"] | {"samples": 2.0}}),
    "samples that are true": body({"metric": "Sliding", "options": SAMPLES["options"] | {"samples": True}}),
    "no samples": body({"metric": "Sliding", "options": SAMPLES["options"] | {"samples": 0}}),
    "samples beyond 2^40": body({"metric": "Sliding", "options": SAMPLES["options"] | {"samples": 2**40 + 1}}),
    "a period that is a text": of_options(period="2min"),
    "a step that is true": of_options(step=True),
    "one option more": of_options(by=None),
    "a window of a window": of_options(metric=PERIOD),
    "one option less": body({"metric": "Sliding", "options": {"metric": {"metric": "MeanLoss", "options": {}}}}),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_bytes_of_the_page_are_read(name):
    data = sealed(RIGHT[name])
    assert ce.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("name", WRONG)
def test_bytes_that_no_window_writes_are_refused(name):
    with pytest.raises(ce.InputError) as caught:
        ce.from_bytes(sealed(WRONG[name]))
    assert caught.value.argument == "state"


def test_a_window_whose_clock_is_ahead_of_its_panes_is_read_at_its_clock():
    window = ce.from_bytes(sealed(RIGHT["the clock is ahead"]))
    assert window.summary().count == 2
    assert window.summary(now=60.0).count == 0
    with pytest.raises(ce.InputError, match=r"^now is in the pane"):
        window.compute(now=-60.0)


def test_a_pane_that_cancels_is_none():
    plain = ce.Sliding(ce.MeanLoss(), period="10s", step="1s").update([1.0], by_time=[100.0])
    found = ce.Sliding(ce.MeanLoss(), period="10s", step="1s") - plain
    found.update([1.0], by_time=[100.0])
    again = found.copy()
    for metric in (found, again):
        metric.update([2.0], by_time=[5.0])
    assert found.compute() == again.compute() == 2.0


def test_a_header_of_another_form_is_an_error():
    metric = ce.Sliding(ce.MeanLoss(), samples=3)
    for options in ({}, {"metric": None}, {"metric": []}):
        data = state_format.encode({"metric": "Sliding", "options": options}, {})
        with pytest.raises(ce.InputError, match="state is intact but not understood"):
            metric.load_state_dict({"state": data})
