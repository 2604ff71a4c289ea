"""ExactMetric is a metric of torchmetrics with the exact state of a metric of streamce, in one process."""

import copy
import doctest
import math
import pickle

import matplotlib
import numpy as np
import pages
import pytest
import summands
import torch
import torchmetrics
from imports import error_without
from paths import ROOT
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection, MetricTracker
from torchmetrics.wrappers import BootStrapper, MinMaxMetric, Running

import streamce as ce
import streamce.integrations.torchmetrics
from streamce.integrations.torchmetrics import FINGERPRINT, ExactMetric

matplotlib.use("agg")

IGNORED = -100
PARITY = ROOT / "docs" / "LOSS_PARITY.md"
random = torch.Generator().manual_seed(7)
LOGITS = torch.randn(60, 5, generator=random) * 4
LABELS = torch.randint(0, 5, (60,), generator=random)


def multiclass(**options):
    return ExactMetric(ce.MulticlassCrossEntropy(kind="logits", **options))


def updated(metric, *batches):
    for rows in batches:
        metric.update(LOGITS[rows], LABELS[rows])
    return metric


@pytest.fixture
def half():
    """Return a metric with 30 of the 60 rows."""
    return updated(multiclass(), slice(0, 30))


def whole():
    return ce.MulticlassCrossEntropy(kind="logits").update(LOGITS, LABELS)


# ---- values ----


def test_compute_is_the_mean_of_the_losses():
    losses = [
        math.log(math.fsum(math.exp(x) for x in row)) - row[label]
        for row, label in zip(LOGITS.double().tolist(), LABELS.tolist(), strict=True)
    ]
    exact = multiclass()
    exact.update(LOGITS.double(), LABELS)
    value = exact.compute()
    assert (value.dtype, value.shape, value.device.type) == (torch.float64, (), "cpu")
    assert value.item() == pytest.approx(math.fsum(losses) / 60, rel=1e-13)


@pytest.mark.parametrize("name", summands.FIXED)
def test_state_is_that_of_one_pass(name):
    exact, other = ExactMetric(summands.FIXED[name]), ExactMetric(summands.FIXED[name])
    expected = summands.FIXED[name].copy()
    for number in range(summands.N):
        summands.add((exact, other)[number % 2], name, number)
        summands.add(expected, name, number)
    exact.merge_state(other)
    assert exact.metric.to_bytes() == expected.to_bytes()
    assert repr(exact.summary()) == repr(expected.summary())
    np.testing.assert_equal(exact.compute().item(), expected.compute())


def test_batches_do_not_change_the_state():
    expected = whole().to_bytes()
    for size in (1, 7, 60):
        exact = multiclass()
        for start in range(0, 60, size):
            rows = slice(start, start + size)
            exact(LOGITS[rows], LABELS[rows]) if start % 2 else exact.update(LOGITS[rows], LABELS[rows])
        assert exact.metric.to_bytes() == expected


def test_sequences_leave_padding_out():
    logits, labels = LOGITS.reshape(6, 10, 5), LABELS.reshape(6, 10).clone()
    lengths = [10, 3, 7, 1, 10, 0]
    for row, length in enumerate(lengths):
        labels[row, length:] = IGNORED
    exact = ExactMetric(ce.SequenceCrossEntropy(kind="logits", ignore_index=IGNORED))
    for logits_, labels_ in DataLoader(list(zip(logits, labels, strict=True)), batch_size=4):
        exact.update(logits_, labels_)
    flat = np.concatenate([np.arange(10 * row, 10 * row + length) for row, length in enumerate(lengths)])
    alone = ce.MulticlassCrossEntropy(kind="logits").update(LOGITS[flat], LABELS[flat])
    assert exact.compute().item() == alone.compute()
    assert (exact.summary().count, exact.summary().samples) == (31, 5)


def test_summary_is_that_of_the_metric(half):
    rows = whole()._new().update(LOGITS[:30], LABELS[:30])
    assert repr(half.summary(0.9, anytime=True)) == repr(rows.summary(0.9, anytime=True))
    half.metric.update(LOGITS, LABELS)  # a copy
    assert half.summary().count == 30


def test_metric_is_only_a_template():
    metric = ce.MeanLoss()
    ExactMetric(metric).update([1.0, 2.0])
    assert metric.summary().count == 0
    assert "MeanLoss()" in repr(ExactMetric(metric))


def test_empty_epoch_gives_nan():
    assert math.isnan(multiclass().compute())
    exact = multiclass(ignore_index=IGNORED)
    exact.update(LOGITS, torch.full((60,), IGNORED))
    assert math.isnan(exact.compute())
    assert math.isnan(exact(LOGITS[:0], LABELS[:0]))
    assert exact.summary().ignored == 60


# ---- forward ----


def test_forward_returns_the_value_of_the_batch(half):
    value = half(LOGITS[30:].requires_grad_(), LABELS[30:])
    assert value.item() == whole()._new().update(LOGITS[30:], LABELS[30:]).compute()
    assert not value.requires_grad
    assert half.metric.to_bytes() == whole().to_bytes()
    assert half.compute().item() == whole().compute()
    assert half.update_count == 2


def test_forward_takes_arguments_by_name():
    exact = ExactMetric(ce.GANCrossEntropy())
    assert exact(real=[0.5], fake=[0.5]).item() == ce.GANCrossEntropy().update(real=[0.5], fake=[0.5]).compute()


@pytest.mark.parametrize("add", [ExactMetric.forward, ExactMetric.update])
def test_invalid_batch_adds_nothing(half, add):
    before, value = half.metric.to_bytes(), half.compute()
    with pytest.raises(ce.InputError, match=r"target\[1\] is 9"):
        add(half, LOGITS[:2], torch.tensor([0, 9]))
    assert half.metric.to_bytes() == before
    assert half.compute() == value
    half.update(LOGITS[30:], LABELS[30:])
    assert half.metric.to_bytes() == whole().to_bytes()


def test_other_metrics_lose_samples_by_an_error_in_forward():
    peer = torchmetrics.classification.MulticlassAccuracy(5)
    peer(LOGITS, LABELS)
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        peer(LOGITS, LABELS + 90)
    assert (peer.update_count, peer._to_sync) == (1, False)
    assert peer.tp.sum() == 0


def test_forward_is_refused_while_synced(half):
    with half.sync_context(dist_sync_fn=lambda state, group: [state, state], distributed_available=lambda: True):
        assert half.compute_with_cache
        with pytest.raises(torchmetrics.utilities.exceptions.TorchMetricsUserError, match="unsync"):
            half(LOGITS, LABELS)


# ---- states ----


def test_state_is_an_array_of_limbs(half):
    assert half.limbs.dtype == torch.int64
    assert list(half.metric_state) == ["limbs"]
    array = half.limbs[:-FINGERPRINT].numpy()
    np.testing.assert_array_equal(array, half.metric.to_limbs())
    other = updated(multiclass(), slice(30, 60))
    half.limbs = half.limbs + other.limbs
    assert half.metric.to_bytes() == whole().to_bytes()


def test_merge_state_adds_a_metric_or_a_dict(half):
    rest = updated(multiclass(), slice(30, 60))
    also = half.clone()
    assert half.compute() != whole().compute()
    half.merge_state(rest)
    assert half.compute().item() == whole().compute()  # and not the value that torchmetrics keeps
    also.merge_state(rest.metric_state)
    assert also.metric.to_bytes() == half.metric.to_bytes() == whole().to_bytes()


def test_merge_state_refuses_other_options(half):
    before = half.metric.to_bytes()
    for other in (multiclass(label_smoothing=0.1), ExactMetric(ce.BinaryCrossEntropy(kind="logits"))):
        with pytest.raises(ce.InputError, match="another class or of other options"):
            half.merge_state(other)
    for other in (multiclass(per_class=True, class_weight=[1.0] * 5), ExactMetric(ce.SequenceCrossEntropy())):
        with pytest.raises((ce.InputError, RuntimeError), match=r"size of tensor|shape"):
            half.merge_state(other)
    assert half.metric.to_bytes() == before


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (torch.zeros(395, dtype=torch.int64), r"limbs\[0\] is 0"),
        (torch.ones(3, dtype=torch.int64), r"has shape"),
        (torch.tensor(1), r"has shape"),
        (torch.full((395,), 0.5), r"limbs\[0\] is 0.5"),
        (torch.full((395,), torch.nan), "is nan"),
        (multiclass().limbs[:-FINGERPRINT], r"has shape \(391,\): expected \(395,\)"),
        (multiclass().limbs.bfloat16(), "other options, or was not added as integers"),
        (multiclass().limbs.float(), "other options, or was not added as integers"),
    ],
)
def test_invalid_state_is_refused(half, value, error):
    before = half.metric.to_bytes()
    with pytest.raises(ce.InputError, match=error):
        half.limbs = value
    assert half.metric.to_bytes() == before


@pytest.mark.parametrize("duplicate", [copy.deepcopy, ExactMetric.clone])
def test_copies_are_independent(half, duplicate):
    before = half.metric.to_bytes()
    other = updated(duplicate(half), slice(30, 60))
    assert other.metric.to_bytes() == whole().to_bytes()
    assert half.metric.to_bytes() == before


def test_pickle_keeps_state_and_options():
    exact = updated(ExactMetric(ce.MulticlassCrossEntropy(kind="logits", invalid="skip", threads=1)), slice(0, 30))
    other = pickle.loads(pickle.dumps(exact))
    assert other.metric.options == exact.metric.options
    assert other.update_count == 1
    updated(other, slice(30, 60))
    assert other.compute().item() == whole().compute()


def test_reset_empties(half):
    half.reset()
    assert half.metric == whole()._new()
    assert not half.update_called
    assert updated(half, slice(0, 60)).metric == whole()


def test_state_dict_is_empty_unless_persistent(half, tmp_path):
    model = torch.nn.ModuleDict({"loss": half})
    assert model.state_dict() == {}
    half.persistent(True)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    resumed = torch.nn.ModuleDict({"loss": multiclass()})
    resumed["loss"].persistent(True)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert list(state) == ["loss.limbs"]
    assert resumed["loss"].compute().isnan()
    resumed.load_state_dict(state)
    assert resumed["loss"].compute() == half.compute()
    assert updated(resumed["loss"], slice(30, 60)).metric.to_bytes() == whole().to_bytes()
    other = torch.nn.ModuleDict({"loss": multiclass(eps=0.1, label_smoothing=0.1)})
    with pytest.raises(ce.InputError, match="other options"):
        other.load_state_dict(state)
    assert other["loss"].summary().count == 0


DTYPES = {
    "half": torch.nn.Module.half,
    "bfloat16": torch.nn.Module.bfloat16,
    "float": torch.nn.Module.float,
    "double": torch.nn.Module.double,
    "type": lambda module: module.type(torch.float16),
    "to half": lambda module: module.to(torch.float16),
    "to cpu": lambda module: module.to("cpu", torch.bfloat16),
    "cpu": torch.nn.Module.cpu,
    "set_dtype": lambda module: [each.set_dtype(torch.float16) for each in module.children()],
}


@pytest.mark.parametrize("name", DTYPES)
def test_no_dtype_changes_the_state(half, name):
    before = half.limbs
    DTYPES[name](torch.nn.ModuleDict({"loss": half}))
    assert half.limbs.dtype == torch.int64
    assert torch.equal(half.limbs, before)
    assert half.compute().dtype == torch.float64
    half.reset()
    assert updated(half, slice(0, 60)).metric.to_bytes() == whole().to_bytes()


def test_moves_to_a_device(half):
    before = half.metric.to_bytes()
    half.to("meta")  # the only other device that every machine has
    assert half.limbs.device == half.compute().device == torch.device("meta")
    assert half.metric.to_bytes() == before


def test_hash_is_that_of_the_object(half):
    before = hash(half)
    updated(half, slice(30, 60))
    assert hash(half) == before != hash(half.clone())
    assert len({*torch.nn.ModuleList([half, half.clone()]).modules()}) == 3


# ---- collections and wrappers of torchmetrics ----


def groups(collection):
    return sorted(sorted(names) for names in collection.compute_groups.values())


def test_collection_shares_states_of_equal_metrics():
    collection = MetricCollection({"a": multiclass(), "b": multiclass()})
    for rows in (slice(0, 30), slice(30, 60)):
        collection.update(LOGITS[rows], LABELS[rows])
    assert groups(collection) == [["a", "b"]]
    for metric in collection.values():
        assert metric.metric.to_bytes() == whole().to_bytes()
    assert {value.item() for value in collection.compute().values()} == {whole().compute()}
    collection(LOGITS, LABELS)
    collection.update(LOGITS, LABELS)
    assert [metric.summary().count for metric in collection.values()] == [180, 180]
    collection.reset()
    assert [metric.summary().count for metric in collection.values()] == [0, 0]


def test_collection_does_not_share_states_of_other_options():
    metrics = {
        "raise": multiclass(),
        "skip": multiclass(invalid="skip"),  # states do not hold this option
        "smoothed": multiclass(label_smoothing=1e-9),
    }
    collection = MetricCollection(metrics)
    collection.update(LOGITS, LABELS)
    assert groups(collection) == [["raise"], ["skip"], ["smoothed"]]


def test_collection_does_not_share_states_that_are_close():
    many, more = ExactMetric(ce.MeanLoss()), ExactMetric(ce.MeanLoss())
    many.update(np.zeros(1_000_000))
    more.update(np.zeros(1_000_001))
    assert torch.allclose(many.limbs[:-FINGERPRINT], more.limbs[:-FINGERPRINT])
    collection = MetricCollection({"many": many, "more": more})
    for _ in range(2):
        collection.update([0.5])
    assert groups(collection) == [["many"], ["more"]]
    assert [each.summary().count for each in (many, more)] == [1_000_002, 1_000_003]


def test_collection_passes_the_arguments_that_update_accepts():
    loss = multiclass()
    collection = MetricCollection(
        {"loss": loss, "accuracy": torchmetrics.classification.MulticlassAccuracy(5, average="micro")}
    )
    values = collection(preds=LOGITS, target=LABELS, weight=torch.arange(60.0), other=3)
    expected = ce.MulticlassCrossEntropy(kind="logits").update(LOGITS, LABELS, weight=np.arange(60.0))
    assert values["loss"].item() == expected.compute()
    assert values["accuracy"] == (LOGITS.argmax(1) == LABELS).float().mean()
    assert pickle.loads(pickle.dumps(loss))._filter_kwargs(weight=1, other=2) == {"weight": 1}


def test_tracker_finds_the_lowest_loss():
    tracker = MetricTracker(multiclass())
    expected = []
    for rows in (slice(0, 20), slice(20, 40), slice(40, 60)):
        tracker.increment()
        updated(tracker, rows)
        expected.append(whole()._new().update(LOGITS[rows], LABELS[rows]).compute())
    assert tracker.compute_all().tolist() == expected
    assert tracker.best_metric(return_step=True) == (min(expected), expected.index(min(expected)))


def test_wrappers_read_the_value():
    extremes, running = MinMaxMetric(multiclass()), Running(multiclass(), window=2)
    values = []
    for rows in (slice(0, 20), slice(20, 40), slice(40, 60)):
        updated(extremes, rows)
        updated(running, rows)
        values.append(extremes.compute()["raw"].item())
    assert (extremes.compute()["min"], extremes.compute()["max"]) == (min(values), max(values))
    assert values[-1] == whole().compute()
    assert running.compute().item() == whole()._new().update(LOGITS[20:], LABELS[20:]).compute()
    samples = BootStrapper(multiclass(), num_bootstraps=3, raw=True)
    updated(samples, slice(0, 60))
    assert samples.compute()["raw"].shape == (3,)


def test_arithmetic_makes_bits(half):
    bits = half / math.log(2)
    assert bits.compute().item() == half.compute().item() / math.log(2)


def test_plot_draws_a_value(half):
    _, axes = half.plot()
    assert axes.lines[0].get_ydata() == half.compute().numpy()


# ---- what is refused ----


@pytest.mark.parametrize(
    ("metric", "error"),
    [
        (ce.Grouped(ce.MeanLoss()), "Grouped has no fixed size"),
        (ce.Sliding(ce.MeanLoss(), samples=60), "last samples of two streams do not add up"),
        (ce.Sliding(ce.MeanLoss(), period="1h", step="1min"), "Sliding has no fixed size"),
        (ce.Collection({"a": ce.MeanLoss()}), "Collection has no fixed size"),
        (ce.BinaryCrossEntropy(tail=True), "tail=True adds too many sums"),
        (ce.MulticlassCrossEntropy(calibration=True), "calibration=True adds too many sums"),
        (ce.SequenceCrossEntropy(per_position=True), "per_position=True adds too many sums"),
        (ce.MulticlassCrossEntropy(per_class=True), "number of classes or labels is not known"),
        (ce.MeanLoss().update([1.0]), "has samples already"),
        (torchmetrics.MeanMetric(), "expected a metric such as"),
    ],
)
def test_metric_without_fixed_size_is_refused(metric, error):
    with pytest.raises(ce.InputError, match=error):
        ExactMetric(metric)


@pytest.mark.parametrize("add", [ExactMetric.forward, ExactMetric.update])
def test_clusters_are_refused(half, add):
    with pytest.raises(ce.InputError, match="state of samples in clusters has no fixed size"):
        add(half, LOGITS, LABELS, cluster=np.arange(60))
    assert half.summary().count == 30


def test_options_of_torchmetrics_are_checked():
    assert ExactMetric(ce.MeanLoss(), sync_on_compute=False).sync_on_compute is False
    with pytest.raises(ValueError, match="Unexpected keyword arguments: `kind`"):
        ExactMetric(ce.MeanLoss(), kind="logits")


def test_missing_package_names_the_extra():
    error = error_without("streamce.integrations.torchmetrics", "torchmetrics")
    assert error.endswith("needs torchmetrics: pip install 'streamce[torchmetrics]'")


# ---- what torchmetrics' own Perplexity does ----


def perplexity(logits, labels):
    peer, exact = torchmetrics.text.Perplexity(), ExactMetric(ce.Perplexity(kind="logits"))
    for metric in (peer, exact):
        metric.update(torch.as_tensor(logits)[None], torch.as_tensor(labels)[None])
    return peer.compute().item(), exact.compute().item(), exact.summary().mean


def test_softmax_of_torchmetrics_underflows():
    peer, exact, loss = perplexity([[0.0, 200.0]], [0])
    assert peer == math.inf
    assert loss == 200
    assert exact == pytest.approx(math.exp(200), rel=1e-14)
    pages.assert_shows(PARITY, ["0, 200", "0", f"{peer}", f"{exact:.5e}"])


def test_label_of_minus_1_is_the_last_class_in_torchmetrics():
    peer, *_ = perplexity([[3.0, 0.0]], [1])
    wrapped = torchmetrics.text.Perplexity()
    wrapped.update(torch.tensor([[[3.0, 0.0]]]), torch.tensor([[-1]]))
    assert wrapped.compute() == peer
    with pytest.raises(ce.InputError, match=r"target\[0, 0\] is -1"):
        perplexity([[3.0, 0.0]], [-1])
    pages.assert_shows(PARITY, ["3, 0", "-1", f"{peer:.5f}", "an error"])


def test_tally_of_torchmetrics_stops_at_2_to_the_24():
    peer, exact = torchmetrics.text.Perplexity(), ExactMetric(ce.Perplexity(kind="logits"))
    for metric in (peer, exact):
        for _ in range(4):
            metric.update(torch.tensor([0.5, 0.0]).expand(1, 2**22, 2), torch.zeros(1, 2**22, dtype=torch.long))
        for _ in range(5):
            metric.update(torch.tensor([[[3.0, 0.0]]]), torch.tensor([[0]]))
    assert (peer.count.item(), exact.summary().count) == (2**24, 2**24 + 5)


# ---- docstring and page ----


def test_examples_of_the_docstring():
    results = doctest.testmod(streamce.integrations.torchmetrics)
    assert (results.failed, results.attempted > 5) == (0, True)


def test_page(tmp_path):
    pages.run(ROOT / "docs/integrations" / "torchmetrics.md", tmp_path)
