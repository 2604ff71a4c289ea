"""Adding beyond the range of a state's integers raises one error and adds nothing, on every path of every class.

Counters stay within 2^62, sums within 2^16318 units of 2^-1074. Doubling reaches both.
"""

import io

import numpy as np
import pyarrow as pa
import pytest

import streamce as ce
from streamce._support import state_format
from streamce.core.ledger.ledger import Ledger

NAN = float("nan")
MOST = 2**62
ROW = [[0.5, 0.25, 0.25]]


def keyed(kind, **options):
    """Return a wrapper that separates the samples of a metric, and its arguments of an update."""

    def made(**more):
        return kind(ce.BinaryCrossEntropy(invalid="skip", ignore_index=-1, **more), **options)

    return made


def feed(*given, **named):
    return lambda metric: metric.update(*given, **named)


# Anomalies of binary predictions. Each has its own counter.
ODD = {
    "ignored": ([0.5], [-1]),
    "floored": ([0.0], [1]),
    "unknown": ([0.5], [7]),
    "nan": ([NAN], [1]),
    "range": ([1.5], [1]),
}
TIMES = {"by_time": [0.0]}
FLAT = {"input_lengths": [2], "target_lengths": [1]}
FRAMES = np.full((2, 1, 3), 1 / 3)


def binary(**named):
    return {"a loss": feed([0.5], [1], **named)} | {name: feed(*odd, **named) for name, odd in ODD.items()}


def rows(target=(1,), **named):
    return {
        "a row": feed(ROW, list(target), **named),
        "ignored": feed(ROW, [-1], **named),
        "floored": feed([[1.0, 0.0, 0.0]], [1], **named),
        "unnormalised": feed([[0.5, 0.25, 0.2508]], [1], **named),
        "a row's sum": feed([[0.5, 0.25, 0.5]], [1], **named),
        "a label": feed(ROW, [9], **named),
        "a weight": feed(ROW, [1], weight=[-1.0], **named),
        "an infinite weight": feed(ROW, [1], weight=[1e308], **named),
    }


def words(cls):
    return {
        "a sequence": feed([ROW], [[1]]),
        "words": feed([ROW], [[1]], n_words=[3]),
        "bytes": feed([ROW], [[1]], n_bytes=[3]),
        "clusters": feed([ROW], [[1]], cluster=["x"]),
        "ignored": feed([ROW], [[-100]]),
        "masked": feed([ROW], [[1]], mask=[[0]]),
        "of an API": lambda metric: metric.update_token_log_probs([[-0.5]]),
    }


# For every public class that adds: an empty metric, and chunks of one sample, each of which can fill it.
FED = {
    "BinaryCrossEntropy": (
        lambda: ce.BinaryCrossEntropy(invalid="skip", ignore_index=-1, tail=True, calibration=True),
        binary() | {"a cluster": feed([0.5], [1], cluster=[3]), "infinite": feed([0.5], [1], weight=[1e308])},
    ),
    "BinaryCrossEntropy, divergence": (lambda: ce.BinaryCrossEntropy(divergence=True), {"a loss": feed([0.5], [0.25])}),
    "MulticlassCrossEntropy": (
        lambda: ce.MulticlassCrossEntropy(
            invalid="skip", ignore_index=-1, per_class=True, tail=True, calibration=True, eps=1e-3
        ),
        rows() | {"a cluster": feed(ROW, [1], cluster=[3])},
    ),
    "MultilabelCrossEntropy": (
        lambda: ce.MultilabelCrossEntropy(invalid="skip", ignore_index=-1, per_label=True, tail=True),
        {
            "a row": feed(ROW, [[0, 1, 1]]),
            "ignored": feed(ROW, [[-1, 1, 1]]),
            "a label": feed(ROW, [[9, 1, 1]]),
            "floored": feed([[0.0, 0.5, 0.5]], [[1, 1, 1]]),
        },
    ),
    "MeanLoss": (
        lambda: ce.MeanLoss(invalid="skip"),
        {
            "a loss": feed([0.5]),
            "nan": feed([NAN]),
            "inf": feed([np.inf]),
            "less than -inf": feed([-np.inf]),
            "a weight": feed([0.5], weight=[2.0]),
            "a bad weight": feed([0.5], weight=[-2.0]),
            "an infinite square": feed([1e300]),
            "a cluster": feed([0.5], cluster=["x"]),
        },
    ),
    "SequenceCrossEntropy": (
        lambda: ce.SequenceCrossEntropy(invalid="skip", per_position=True, tail=True),
        words(ce.SequenceCrossEntropy),
    ),
    "Perplexity": (lambda: ce.Perplexity(invalid="skip"), words(ce.Perplexity)),
    "CTCCrossEntropy": (
        lambda: ce.CTCCrossEntropy(invalid="skip", tail=True),
        {
            "an utterance": feed(FRAMES, [[1]], **FLAT),
            "infeasible": feed(FRAMES, [[1, 1]], input_lengths=[2], target_lengths=[2]),
            "a label": feed(FRAMES, [[9]], **FLAT),
            "a cluster": feed(FRAMES, [[1]], cluster=["x"], **FLAT),
        },
    ),
    "NormalizedEntropy": (
        lambda: ce.NormalizedEntropy(invalid="skip"),
        {"a loss": feed([0.5], [1]), "nan": feed([NAN], [1]), "a cluster": feed([0.5], [1], cluster=[1])},
    ),
    "MulticlassNormalizedEntropy": (lambda: ce.MulticlassNormalizedEntropy(invalid="skip", ignore_index=-1), rows()),
    "GANCrossEntropy": (
        lambda: ce.GANCrossEntropy(invalid="skip"),
        {"real": feed(real=[0.5]), "fake": feed(fake=[0.5]), "nan": feed(fake=[NAN])},
    ),
    "Paired": (
        lambda: ce.Paired(ce.BinaryCrossEntropy(invalid="skip")),
        {
            "a pair": feed([0.5], [0.25], [1]),
            "nan": feed([0.5], [NAN], [1]),
            "a cluster": feed([0.5], [0.25], [1], cluster=["x"]),
        },
    ),
    "Grouped": (keyed(ce.Grouped), binary(by=["x"])),
    "Grouped, by integers": (keyed(ce.Grouped), binary(by=[7])),
    "Grouped, by time": (keyed(ce.Grouped, period="1h"), binary(by=[7], by_time=[0.0])),
    "Decayed": (keyed(ce.Decayed, half_life="1d"), binary(**TIMES)),
    "Sliding": (keyed(ce.Sliding, period="1h", step="1min"), binary(**TIMES)),
    "Collection": (
        lambda: ce.Collection(
            {
                "all": ce.BinaryCrossEntropy(tail=True),
                "by": ce.Grouped(ce.BinaryCrossEntropy()),
                "in time": ce.Decayed(ce.BinaryCrossEntropy(), half_life="1d"),
                "last": ce.Sliding(ce.BinaryCrossEntropy(), period="1h", step="1min"),
                "normalized": ce.NormalizedEntropy(),
            }
        ),
        {"a loss": feed([0.5], [1], by=["x"], **TIMES)},
    ),
}
CASES = [
    pytest.param(made, fed, id=f"{name}: {what}") for name, (made, each) in FED.items() for what, fed in each.items()
]


def doubled(metric):
    """Double a metric as often as possible without an error."""
    powers = [metric.copy()]
    while len(powers) < 64:
        try:
            powers.append(powers[-1] + powers[-1])
        except ce.InputError:
            break
    full = powers.pop()
    for power in powers[::-1]:
        try:
            full += power
        except ce.InputError:
            continue
    return full


def refuses(metric, add):
    """Return whether adding raises the one error and keeps the bytes, which can be read again."""
    before = metric.to_bytes()
    with pytest.raises(ce.InputError, match=r"would be beyond 2\^(62|15244), the most that a state holds: nothing was"):
        add(metric)
    assert metric.to_bytes() == before
    assert ce.from_bytes(before).to_bytes() == before
    return True


def test_these_are_all_classes_that_add():
    classes = {cls for name in ce.__all__ if isinstance(cls := getattr(ce, name), type) and hasattr(cls, "__add__")}
    fed = {name.partition(",")[0] for name in FED}
    assert {cls.__name__ for cls in classes if not issubclass(cls, (tuple, str, int))} == fed


@pytest.mark.parametrize(("made", "fed"), CASES)
def test_no_counter_leaves_its_range(made, fed):
    one = fed(made())
    full = doubled(one.copy())
    assert refuses(full, fed)
    assert refuses(full, lambda metric: metric.merge(one))
    assert refuses(full, lambda metric: metric.__iadd__(one))
    assert refuses(full, lambda metric: metric + one)
    assert refuses(full, lambda metric: sum([metric, one]))
    assert refuses(full, lambda metric: metric.merge(made(), one))
    assert refuses(made() - full, lambda metric: metric - one)
    # There is room for as much as was subtracted, and no more.
    less = full - one
    assert fed(less).to_bytes() == full.to_bytes()
    assert refuses(less, fed)
    # A metric that was read from bytes is as full as before.
    read = ce.from_bytes(full.to_bytes())
    assert refuses(read, lambda metric: metric.merge(one))
    fresh = made()
    fresh.load_state_dict(full.state_dict())
    assert refuses(fresh, fed)
    assert refuses(fresh.copy(), fed)
    fresh.reset()
    assert fed(fresh) == one


def test_what_a_call_adds_is_checked_too():
    full = doubled(ce.MeanLoss().update([0.5]))
    assert refuses(full, lambda metric: metric([0.5]))
    gan = doubled(ce.GANCrossEntropy().update(real=[0.5], fake=[0.5]))
    assert refuses(gan, lambda metric: metric(real=[0.5], fake=[0.5]))
    paired = doubled(ce.Paired(ce.MeanLoss()).update([0.5], [0.25]))
    assert refuses(paired, lambda metric: metric([0.5], [0.25]))


def test_chunks_of_many_parts_are_checked_too():
    full = doubled(ce.MeanLoss(threads=4).update([0.5]))
    assert refuses(full, lambda metric: metric.update(np.full(1 << 20, 0.5)))
    less = full - ce.MeanLoss().update(np.full(1 << 20, 0.5))
    assert less.update(np.full(1 << 20, 0.5)) == full


def test_a_stream_is_checked_too():
    full = doubled(ce.MeanLoss().update([0.5]))
    before = full.to_bytes()
    with pytest.raises(ce.InputError, match="stream: samples would be beyond"):
        full.update_from(pa.table({"x": [0.5]}), preds="x")
    assert full.to_bytes() == before


def test_one_full_group_of_many_keeps_out_all_of_a_chunk():
    full = doubled(ce.Grouped(ce.MeanLoss()).update([0.5], by=["x"]))
    full.update(np.full(300, 0.25), by=[f"{i}" for i in range(300)])
    assert refuses(full, lambda metric: metric.update(np.full(301, 0.5), by=[*(f"{i}" for i in range(300)), "x"]))
    assert full.update([0.5], by=["new"])["new"].compute() == 0.5


def test_one_full_metric_of_a_collection_keeps_out_a_chunk_of_all():
    made = {"a": ce.Sliding(ce.MeanLoss(), samples=9), "b": ce.Grouped(ce.MeanLoss()), "c": ce.Grouped(ce.MeanLoss())}
    metrics = ce.Collection(made)
    full = doubled(ce.Grouped(ce.MeanLoss()).update([0.5], by=["x"]))
    metrics._state.metrics["c"].merge(full)
    assert refuses(metrics, lambda metric: metric.update([0.5], by=["x"]))
    assert metrics.update([0.5], by=["y"])["b"].compute() == {"y": 0.5}


# ---- sums ----

TOP = 2**16318


def leaves(parts):
    """Yield the paths of the parts that hold cells, including those of the members of a collection."""
    for name, data in parts.items():
        if name.isdigit():
            yield from ((name, *path) for path in leaves(state_format.split_parts(data)))
        elif name.rpartition(".")[2] in ("buckets", "calibration", "cells", "groups", "tail", "total"):
            yield (name,)


def topped(parts, path, value):
    """Return the parts with ``value`` in place of the first positive sum of n in a part, or None if it has none."""
    name, *rest = path
    if rest:
        inner = topped(state_format.split_parts(parts[name]), rest, value)
        return inner and parts | {name: state_format.join_parts(inner)}
    data, at = parts[name], 0
    if name == "groups":  # one key, and then a record as in a ledger of one cell
        at = next(at for at in range(11, len(data)) if _record(data[at:]))
        ledger = _record(data[at:])
    else:
        ledger = Ledger.from_bytes(data)
    cells = [cell for cell, number in ledger.column("n").items() if number > 0]
    if not cells:
        return None
    ledger.add_integer("n", cells[0], value - ledger.integer("n", cells[0]))
    return parts | {name: data[:at] + ledger.to_bytes()[24:] if at else ledger.to_bytes()}


def _record(data):
    """Return the ledger of one cell with this record, or None if it is not a record."""
    try:
        return Ledger.from_bytes((1).to_bytes(8, "little") * 2 + bytes(8) + data)
    except ValueError:
        return None


@pytest.mark.parametrize(("made", "fed"), CASES)
def test_no_sum_leaves_its_range(made, fed):
    header, parts = state_format.decode(fed(made()).to_bytes())
    for path in leaves(parts):
        for value, fits in ((TOP - 1, False), (TOP - 2**3000, True)):
            crafted = topped(parts, path, value)
            if crafted is None:
                continue
            full = made()
            full.load_state_dict({"state": state_format.encode(header, crafted)})
            if fits:
                fed(full)
                assert ce.from_bytes(full.to_bytes()) == full
                continue
            assert refuses(full, fed)
            assert refuses(full, lambda metric: metric + metric)
            assert refuses(made() - full, lambda metric: metric - fed(made()) - fed(made()))


def test_sums_are_doubled_up_to_their_range():
    some = ce.MeanLoss().update([0.5]) - ce.MeanLoss().update([0.25])  # without samples, but with a sum
    powers = []
    while True:
        powers.append(some.copy())
        try:
            some += some
        except ce.InputError:
            break
    assert len(powers) == 16318 - 1072
    for power in powers[-2::-1]:
        some += power
    assert some._state.total.integer("n") == TOP - 2**1072
    assert refuses(some, lambda metric: metric + powers[0])
    assert refuses(some, lambda metric: metric.update([0.25]))
    assert some.update([0.125]).summary().samples == 1


# ---- windows of samples, whose counters are sums over their rows ----


def window(count, column=None, samples=3):
    """Return a window of one row with this many losses, or with this many in another column."""
    made = ce.Sliding(ce.BinaryCrossEntropy(invalid="skip", ignore_index=-1), samples=samples).update([0.5], [1])
    header, parts = state_format.decode(made.to_bytes())
    row, odd = parts["rows"][:24], b"" if column is None else bytes(8) + bytes([column]) + count.to_bytes(8, "little")
    losses = count if column is None else 1
    raw = row + losses.to_bytes(8, "little") + (column is not None).to_bytes(8, "little") + odd
    return ce.from_bytes(state_format.encode(header, {"rows": raw}))


@pytest.mark.parametrize(("column", "fed"), [(None, feed([0.5], [1])), (17, feed([0.5], [-1])), (21, feed([NAN], [1]))])
def test_no_counter_of_a_window_leaves_its_range(column, fed):
    metric = window(MOST, column)
    metric = ce.from_bytes(metric.to_bytes())
    metric._metric = metric._metric.__class__(invalid="skip", ignore_index=-1)
    assert refuses(metric, fed)
    # A row that is evicted makes room.
    last = window(MOST, column, samples=1)
    last._metric = metric._metric
    assert fed(last).summary().seen == 1
    assert ce.from_bytes(last.to_bytes()) == last


def test_windows_that_follow_each_other_are_checked_too():
    one = ce.Collection({"last": ce.Sliding(ce.BinaryCrossEntropy(ignore_index=-1), samples=3)})
    other = one.copy()
    for each in (one, other):
        each._state.metrics["last"]._state = window(MOST)._state
    before = one.to_bytes()
    with pytest.raises(ce.InputError, match="count would be beyond 2\\^62"):
        one._extend(other)
    assert one.to_bytes() == before


# ---- reading ----


def test_a_reader_takes_what_a_writer_writes_and_no_more():
    last = Ledger()
    last.add_integer("n", 0, 2**16318 - 1)
    last.add_integer("dd", 0, -(2**16318))
    last.add_integer("count", 0, MOST)
    last.add_integer("samples", 0, -MOST)
    assert Ledger.from_bytes(last.to_bytes()).cell() == last.cell()
    for column, value in (("n", 1), ("dd", -1), ("count", 1), ("samples", -1)):
        before = last.to_bytes()
        with pytest.raises(OverflowError, match="beyond"):
            last.add_integer(column, 0, value)
        assert last.to_bytes() == before


@pytest.mark.parametrize("top", [2**62, 2**63, 2**64 - 2**62 - 1])
def test_a_sum_beyond_the_range_is_not_read(top):
    header, _ = state_format.decode(ce.MeanLoss().to_bytes())
    raw = io.BytesIO()
    raw.write((1).to_bytes(8, "little") * 2 + bytes(8) + (1).to_bytes(4, "little") + bytes([254, 1]))
    raw.write(top.to_bytes(8, "little"))
    with pytest.raises(ce.InputError, match="state is intact but not understood: an integer of a cell is out of"):
        ce.from_bytes(state_format.encode(header, {"total": raw.getvalue()}))


def test_the_least_sum_that_is_read_has_no_opposite():
    least = Ledger()
    least.add_integer("n", 0, -(2**16318))
    header, _ = state_format.decode(ce.MeanLoss().to_bytes())
    metric = ce.from_bytes(state_format.encode(header, {"total": least.to_bytes()}))
    assert refuses(metric, lambda metric: ce.MeanLoss() - metric)
    grouped = ce.Grouped(ce.MeanLoss()).update([1.0], by=[1])
    header, parts = state_format.decode(grouped.to_bytes())
    key = parts["groups"][:19]
    record = (1).to_bytes(4, "little") + bytes([254, 1]) + (2**64 - 2**62).to_bytes(8, "little")
    groups = ce.from_bytes(state_format.encode(header, {"groups": key + record}))
    assert refuses(groups, lambda metric: ce.Grouped(ce.MeanLoss()) - metric)
