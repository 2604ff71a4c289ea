"""Every class with ``+`` is a commutative group, to the byte, and its bytes and pickles give equal objects."""

import contextlib
import copy
import importlib
import inspect
import pickle
import pkgutil

import numpy as np
import pytest
from corpus import Corpus
from hypothesis import given
from hypothesis import strategies as st
from streams import DTYPES, KINDS, METRICS, make, streams
from utterances import Batch

import streamce as ce

pytestmark = pytest.mark.core

TASKS = {metric: task for task, metric in METRICS.items()}


def cut(stream, draw):
    """Cut a stream into three parts, some of which may be empty."""
    a, b = sorted(draw(st.tuples(st.integers(0, len(stream)), st.integers(0, len(stream)))))
    return stream[:a], stream[a:b], stream[b:]


def is_plain(stream):
    """Return whether the losses have no options that calibration excludes."""
    weights = stream.options.get("class_weight"), stream.options.get("pos_weight")
    soft = stream.task == "multiclass" and stream.target.ndim == stream.preds.ndim
    return not soft and weights == (None, None) and not stream.options["label_smoothing"]


def metrics(metric):
    """Three metrics of equal options, with or without clusters."""

    @st.composite
    def elements(draw):
        stream = draw(streams(tasks=(TASKS[metric],)))
        clusters = draw(st.booleans())
        more = {} if metric is ce.MeanLoss else {"tail": draw(st.booleans())}
        if metric in (ce.BinaryCrossEntropy, ce.MulticlassCrossEntropy) and is_plain(stream):
            more["calibration"] = draw(st.booleans())
        found = []
        for part in cut(stream, draw):
            each = stream.metric(**more)
            ids = {"cluster": np.arange(len(part)) % 5} if clusters else {}
            args = [part.preds] if metric is ce.MeanLoss else [part.preds, part.target]
            found.append(each.update(*args, weight=part.weight, **ids))
        return found

    return elements()


@st.composite
def utterances(draw):
    """Three CTC metrics of equal options, with or without clusters."""
    batch = Batch(
        draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 40)), kind=draw(st.sampled_from(KINDS)),
        dtype=draw(st.sampled_from(list(DTYPES))), blank=draw(st.integers(0, 6)), odd=draw(st.booleans()),
    )  # fmt: skip
    per, clusters = draw(st.sampled_from(["label", "frame", "utterance"])), draw(st.booleans())
    weighted = draw(st.booleans())
    found = []
    for some in cut(np.arange(len(batch)), draw):
        ids = {"cluster": some % 5} if clusters else {}
        found.append(batch.add_to(batch.metric(per=per, tail=weighted), some, weighted=weighted, **ids))
    return found


def plain(stream):
    """Return the metric of a stream, without sums by class or label."""
    options = {name: value for name, value in stream.options.items() if name not in ("per_class", "per_label")}
    return METRICS[stream.task](**options, **({"per_label": False} if stream.task == "multilabel" else {}))


@st.composite
def grouped(draw):
    """Three metrics by group, of any metric and any kind of keys."""
    stream = draw(streams())
    kind = draw(
        st.sampled_from([st.integers(-2, 2), st.text(max_size=1), st.none(), st.booleans(), st.binary(max_size=1)])
    )
    period = draw(st.sampled_from([None, "1h"]))
    found = []
    for part in cut(stream, draw):
        by = draw(st.lists(kind, min_size=len(part), max_size=len(part)))
        times = {"by_time": np.arange(len(part)) * 977.0} if period else {}
        each = ce.Grouped(plain(stream), period=period)
        found.append(each.update(part.preds, part.target, by=by, weight=part.weight, **times))
    return found


@st.composite
def normalized(draw):
    """Three normalized entropies of equal options."""
    stream = draw(streams(tasks=("binary",)))
    options = {name: value for name, value in stream.options.items() if name in ("kind", "eps", "invalid")}
    options["invalid"] = "skip"
    return [
        ce.NormalizedEntropy(**options).update(part.preds, part.target, weight=part.weight)
        for part in cut(stream, draw)
    ]


@st.composite
def normalized_classes(draw):
    """Three multiclass normalized entropies of equal options."""
    kind, ignore, seed = draw(st.sampled_from(KINDS)), draw(st.sampled_from([None, 2])), draw(st.integers(0, 99))
    dtype, weighted = draw(st.sampled_from(list(DTYPES))), draw(st.booleans())
    stream = make(
        "multiclass", draw(st.integers(0, 60)), kind=kind, dtype=dtype, weighted=weighted, odd=True, seed=seed
    )
    return [
        ce.MulticlassNormalizedEntropy(kind=kind, ignore_index=ignore, invalid="skip").update(
            part.preds, part.target, weight=part.weight
        )
        for part in cut(stream, draw)
    ]


@st.composite
def adversarial(draw):
    """Three states of a GAN."""
    stream = draw(streams(tasks=("binary",)))
    options = {name: value for name, value in stream.options.items() if name in ("kind", "eps")}
    found = []
    for part in cut(stream, draw):
        at = len(part) // 3
        each = ce.GANCrossEntropy(invalid="skip", **options)
        found.append(each.update(real=part.preds[:at], fake=part.preds[at:]))
    return found


def sequences(cls):
    """Three metrics of sequences, of equal options; words and bytes, positions, clusters or none."""

    @st.composite
    def elements(draw):
        corpus = Corpus(
            draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 20)), kind=draw(st.sampled_from(KINDS)),
            dtype=draw(st.sampled_from(list(DTYPES))), odd=draw(st.booleans()),
        )  # fmt: skip
        options = {"per": draw(st.sampled_from(["token", "sequence"])), "per_position": draw(st.booleans())}
        clusters, weighted = draw(st.booleans()), draw(st.sampled_from([None, "sequence"]))
        options["tail"] = draw(st.booleans())
        found = []
        for some in cut(np.arange(len(corpus)), draw):
            how = {"flat": draw(st.booleans()), "counted": draw(st.booleans()), "weighted": weighted}
            ids = {"cluster": some % 5} if clusters else {}
            found.append(corpus.add_to(corpus.metric(cls, **options), some, **how, **ids))
        return found

    return elements()


@st.composite
def paired(draw):
    """Three comparisons of two models, with or without clusters."""
    stream = draw(streams())
    options = {name: value for name, value in stream.options.items() if name not in ("per_class", "per_label")}
    if stream.task == "multilabel":
        options["per_label"] = False
    clusters = draw(st.booleans())
    found = []
    for rows in cut(np.arange(len(stream)), draw):
        part, other = stream[rows], stream.preds[::-1][rows]
        ids = {"cluster": np.arange(len(part)) % 5} if clusters else {}
        each = ce.Paired(METRICS[stream.task](**options))
        found.append(each.update(part.preds, other, part.target, weight=part.weight, **ids))
    return found


@st.composite
def sliding(draw):
    """Three windows of time, of any metric, whose clocks agree: the newest pane is the same."""
    stream = draw(streams())
    found = []
    for part in cut(stream, draw):
        times = draw(
            st.lists(st.sampled_from([-1e9, 0.0, 59.5, 60.0, 3599.0, 3601.0]), min_size=len(part), max_size=len(part))
        )
        times[-1:] = [3660.0] * len(times[-1:])
        each = ce.Sliding(plain(stream), period="1h", step="1min")
        found.append(each.update(part.preds, part.target, weight=part.weight, by_time=times))
    return found


@st.composite
def collected(draw):
    """Three collections of several kinds of metrics of one loss."""
    stream = draw(streams())
    found = []
    for part in cut(stream, draw):
        times = np.arange(len(part)) * 1000.0
        metric = plain(stream)
        each = ce.Collection(
            {"all": stream.metric(), "by": ce.Grouped(metric), "é": ce.Decayed(metric, half_life="1d")}
        )
        found.append(
            each.update(part.preds, part.target, weight=part.weight, by=np.arange(len(part)) % 3, by_time=times)
        )
    return found


@st.composite
def decayed(draw):
    """Three decayed metrics, of any metric, at any moments."""
    stream = draw(streams())
    found = []
    for part in cut(stream, draw):
        times = draw(st.lists(st.floats(-6e10, 2e11), min_size=len(part), max_size=len(part)))
        each = ce.Decayed(plain(stream), half_life="30d")
        found.append(each.update(part.preds, part.target, weight=part.weight, by_time=times))
    return found


ELEMENTS = {metric: metrics(metric) for metric in TASKS} | {
    ce.CTCCrossEntropy: utterances(),
    ce.Collection: collected(),
    ce.Decayed: decayed(),
    ce.GANCrossEntropy: adversarial(),
    ce.Grouped: grouped(),
    ce.MulticlassNormalizedEntropy: normalized_classes(),
    ce.NormalizedEntropy: normalized(),
    ce.Paired: paired(),
    ce.Perplexity: sequences(ce.Perplexity),
    ce.SequenceCrossEntropy: sequences(ce.SequenceCrossEntropy),
    ce.Sliding: sliding(),
}
LAWS = pytest.mark.parametrize("kind", ELEMENTS, ids=lambda kind: kind.__name__)


def test_these_are_all_that_define_addition():
    found = set()
    for module in pkgutil.walk_packages(ce.__path__, "streamce."):
        # Adapters have the `+` of their frameworks, which combines metrics.
        if not module.name.endswith(("__main__", "cli")) and not module.name.startswith("streamce.integrations."):
            with contextlib.suppress(ModuleNotFoundError):  # a Python for which an optional package has no build
                for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                    own = kind.__module__.startswith("streamce") and hasattr(kind, "__add__")
                    if own and not inspect.isabstract(kind) and not issubclass(kind, (tuple, str, int, bytes)):
                        found.add(kind)
    public = {kind for kind in found if getattr(ce, kind.__name__, None) is kind}
    assert public == set(ELEMENTS)
    assert {kind.__name__ for kind in found - public} == {"Metric"}  # a base without losses of its own


@LAWS
@given(data=st.data())
def test_addition_is_associative(kind, data):
    a, b, c = data.draw(ELEMENTS[kind])
    assert ((a + b) + c).to_bytes() == (a + (b + c)).to_bytes()


@LAWS
@given(data=st.data())
def test_addition_is_commutative(kind, data):
    a, b, _ = data.draw(ELEMENTS[kind])
    assert (a + b).to_bytes() == (b + a).to_bytes()


@LAWS
@given(data=st.data())
def test_the_empty_one_is_the_identity(kind, data):
    a, b, _ = data.draw(ELEMENTS[kind])
    empty = a.copy().reset()
    assert (a + empty).to_bytes() == (empty + a).to_bytes() == (a - empty).to_bytes() == a.to_bytes()
    assert (a - a).to_bytes() == empty.to_bytes()
    assert (empty - a + a).to_bytes() == empty.to_bytes() == (b - b).to_bytes()


@LAWS
@given(data=st.data())
def test_subtraction_undoes_addition(kind, data):
    a, b, c = data.draw(ELEMENTS[kind])
    assert (a + b - b).to_bytes() == (a - b + b).to_bytes() == a.to_bytes()
    assert (a - (b - c)).to_bytes() == (a + c - b).to_bytes()


@LAWS
@given(data=st.data())
def test_every_way_to_add_is_the_same(kind, data):
    a, b, c = data.draw(ELEMENTS[kind])
    before = [each.to_bytes() for each in (a, b, c)]
    whole = (a + b + c).to_bytes()
    added = a.copy()
    added += b
    added += c
    assert whole == sum([a, b, c]).to_bytes() == a.copy().merge(b, c).to_bytes() == added.to_bytes()
    added -= b
    assert added.to_bytes() == (a + c).to_bytes()
    assert [each.to_bytes() for each in (a, b, c)] == before


@LAWS
@given(data=st.data())
def test_what_is_written_down_is_read_again(kind, data, tmp_path_factory):
    a, b, _ = data.draw(ELEMENTS[kind])
    path = tmp_path_factory.getbasetemp() / "state"
    a.save(path)
    fresh = a.copy().reset()
    fresh.load_state_dict(a.state_dict())
    for again in (
        ce.from_bytes(a.to_bytes()), ce.load(path), pickle.loads(pickle.dumps(a)), fresh,
        copy.copy(a), copy.deepcopy(a), a.copy(),
    ):  # fmt: skip
        assert type(again) is kind
        assert again == a
        assert (again + b).to_bytes() == (a + b).to_bytes()


@LAWS
@given(data=st.data())
def test_equal_means_equal_bytes(kind, data):
    a, b, _ = data.draw(ELEMENTS[kind])
    assert (a == b) == (a.to_bytes() == b.to_bytes())
    assert a != a.to_bytes()
    with pytest.raises(TypeError):
        hash(a)


@LAWS
@given(data=st.data())
def test_a_state_adds_to_itself(kind, data):
    a, _, _ = data.draw(ELEMENTS[kind])
    twice = (a + a).to_bytes()
    itself = a.copy()
    itself += itself
    assert itself.to_bytes() == twice
    itself -= itself
    assert itself.to_bytes() == a.copy().reset().to_bytes()
