"""Engines of ignite, in one process and in two of gloo, with a metric that does not depend on the batches."""

import doctest
import json
import math
import os
import pickle
import subprocess
import sys

import ignite_ranks as ranks
import numpy as np
import pages
import pytest
import torch
from ignite.engine import Engine, Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping
from ignite.metrics import BatchWise, Loss, MetricsLambda, RunningAverage
from imports import error_without
from paths import ROOT
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import streamce as ce
import streamce.integrations.ignite
from streamce.integrations.ignite import ExactLoss


def run(metric, data, **options):
    """Return the metric after an engine has evaluated the batches."""
    exact = ExactLoss(metric, **options)
    engine = Engine(lambda engine, batch: batch)
    exact.attach(engine, "exact_loss")
    assert repr(engine.run(data).metrics["exact_loss"]) == repr(exact.compute())
    return exact


def tables(rows=203, seed=0):
    random = np.random.default_rng(seed)
    return {
        "binary": (
            ce.BinaryCrossEntropy(kind="logits"),
            torch.from_numpy(random.normal(size=rows)),
            torch.from_numpy(random.integers(0, 2, rows)),
        ),
        "multiclass": (
            ce.MulticlassCrossEntropy(kind="logits", ignore_index=-100),
            torch.from_numpy(random.normal(size=(rows, 5)).astype(np.float32)),
            torch.from_numpy(np.where(random.random(rows) < 0.3, -100, random.integers(0, 5, rows))),
        ),
        "multilabel": (
            ce.MultilabelCrossEntropy(kind="logits", per_label=True),
            torch.from_numpy(random.normal(size=(rows, 4))),
            torch.from_numpy(random.integers(0, 2, (rows, 4))),
        ),
        "sequences": (
            ce.Perplexity(kind="logits", tail=True),
            torch.from_numpy(random.normal(size=(rows, 6, 5))).to(torch.bfloat16),
            torch.from_numpy(np.where(random.random((rows, 6)) < 0.3, -100, random.integers(0, 5, (rows, 6)))),
        ),
        "pixels": (
            ce.MulticlassCrossEntropy(kind="logits", axis=1),
            torch.from_numpy(random.normal(size=(rows, 3, 2, 2))),
            torch.from_numpy(random.integers(0, 3, (rows, 2, 2))),
        ),
    }


# ---- engines ----


@pytest.mark.parametrize("task", tables())
@pytest.mark.parametrize("size", [1, 4, 64, 203])
def test_an_epoch_gives_one_update_with_all_batches(task, size):
    metric, preds, target = tables()[task]
    data = list(zip(preds.split(size), target.split(size), strict=True))
    assert run(metric, data).metric.to_bytes() == metric.copy().update(preds, target).to_bytes()


def test_each_epoch_begins_anew():
    metric, preds, target = tables()["binary"]
    engine, exact = Engine(lambda engine, batch: batch), ExactLoss(metric)
    exact.attach(engine, "exact_loss")
    engine.run([(preds, target)], max_epochs=3)
    assert exact.metric == metric.copy().update(preds, target)


def test_the_metric_is_a_copy():
    metric, preds, target = tables()["binary"]
    exact = run(metric, [(preds, target)])
    before = exact.compute()
    exact.metric.update(preds[:1], target[:1])
    assert exact.compute() == before


def test_weights_and_masks_come_third():
    preds, target = torch.tensor([0.5, 0.25]), torch.tensor([1, 1])
    weight = torch.tensor([3.0, 1.0])
    exact = run(ce.BinaryCrossEntropy(), [(preds, target, {"weight": weight})])
    assert exact.compute() == ce.BinaryCrossEntropy().update(preds, target, weight=weight).compute()
    logits, tokens, lengths = torch.zeros(2, 3, 8), torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 1])
    exact = run(ce.SequenceCrossEntropy(kind="logits"), [(logits, tokens, {"lengths": lengths})])
    assert exact.summary().count == 4


def test_outputs_that_are_transformed_mapped_or_lists():
    metric, preds, target = tables()["binary"]
    expected = metric.copy().update(preds, target)
    assert run(metric, [{"y_pred": preds, "y": target, "x": None}]).metric == expected
    transformed = run(metric, [{"out": preds, "label": target}], output_transform=lambda o: (o["out"], o["label"]))
    assert transformed.metric == expected
    assert run(metric, [([*preds], [*target])]).metric == expected


def test_an_evaluator_of_a_model():
    """The outputs of a training step require gradients."""
    torch.manual_seed(0)
    x, y = torch.randn(50, 3), torch.randint(0, 2, (50, 1)).float()
    model, exact = torch.nn.Linear(3, 1), ExactLoss(ce.BinaryCrossEntropy(kind="logits"))
    data = list(zip(x.split(16), y.split(16), strict=True))
    theirs = Loss(binary_cross_entropy_with_logits)
    evaluator = create_supervised_evaluator(model, {"exact_loss": exact, "loss": theirs})
    found = evaluator.run(data).metrics
    assert found["exact_loss"] == pytest.approx(found["loss"], rel=1e-6)
    trainer = create_supervised_trainer(
        model, torch.optim.SGD(model.parameters(), 0.1), binary_cross_entropy_with_logits,
        output_transform=lambda x, y, y_pred, loss: (y_pred, y),
    )  # fmt: skip
    exact.attach(trainer, "train_loss")
    assert 0 < trainer.run(data).metrics["train_loss"] < 2


def test_lambdas_usages_and_running_averages():
    metric, preds, target = tables()["binary"]
    engine, exact = Engine(lambda engine, batch: batch), ExactLoss(metric)
    exact.attach(engine, "exact_loss")
    MetricsLambda(math.exp, exact).attach(engine, "perplexity")
    (exact * 2).attach(engine, "double")
    ExactLoss(metric).attach(engine, "last_batch", usage=BatchWise())
    RunningAverage(ExactLoss(metric)).attach(engine, "running")
    data = list(zip(preds.split(50), target.split(50), strict=True))
    found = engine.run(data).metrics
    assert found["perplexity"] == math.exp(found["exact_loss"])
    assert found["double"] == 2 * found["exact_loss"]
    assert found["last_batch"] == metric.copy().update(*data[-1]).compute()
    assert found["running"] > 0


def test_early_stopping_and_checkpoints(tmp_path):
    """The loss of the second epoch is larger, so the trainer stops after it, and the first checkpoint is the best."""
    metric = ce.BinaryCrossEntropy()
    trainer, evaluator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: batch)
    exact = ExactLoss(metric)
    exact.attach(evaluator, "exact_loss")
    model = torch.nn.Linear(1, 1)

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate(engine):
        p = 0.5 / engine.state.epoch
        evaluator.run([(torch.tensor([p]), torch.tensor([1]))])

    def score(engine):
        return -engine.state.metrics["exact_loss"]

    best = Checkpoint({"model": model, "metric": exact}, DiskSaver(tmp_path), score_function=score, n_saved=1)
    evaluator.add_event_handler(Events.COMPLETED, best)
    evaluator.add_event_handler(Events.COMPLETED, EarlyStopping(patience=1, score_function=score, trainer=trainer))
    trainer.run([0], max_epochs=5)
    assert trainer.state.epoch == 2
    saved = torch.load(best.last_checkpoint and next(tmp_path.iterdir()), weights_only=True)
    again = ExactLoss(metric)
    Checkpoint.load_objects({"metric": again}, {"metric": saved["metric"]})
    assert again.compute() == pytest.approx(math.log(2))


def test_pickle():
    metric, preds, target = tables()["binary"]
    exact = ExactLoss(metric, output_transform=tuple)
    exact.update((preds, target))
    again = pickle.loads(pickle.dumps(exact))
    assert again.metric == exact.metric
    again.update((preds, target))
    assert again.summary().count == 2 * exact.summary().count


# ---- the bug of the mean of means ----


def losses(preds, target, size):
    """Return ignite's own loss of an epoch and the exact one."""
    metric, *_ = tables()["multiclass"]
    engine = Engine(lambda engine, batch: batch)
    Loss(cross_entropy).attach(engine, "loss")
    ExactLoss(metric).attach(engine, "exact_loss")
    found = engine.run(list(zip(preds.split(size), target.split(size), strict=True))).metrics
    return found["loss"], found["exact_loss"]


def test_the_loss_of_ignite_depends_on_the_batch_size():
    """``Loss`` weights the mean of a batch by its rows, and ``ignore_index`` has left out some of them."""
    metric, preds, target = tables()["multiclass"]
    has_label = target != -100
    expected = cross_entropy(preds[has_label].double(), target[has_label]).item()
    found = [losses(preds, target, size) for size in (8, 64, 203)]
    assert {exact for _, exact in found} == {metric.copy().update(preds, target).compute()}
    assert found[0][1] == pytest.approx(expected, rel=1e-6)
    assert [loss == pytest.approx(expected, rel=1e-4) for loss, _ in found] == [False, False, True]
    assert found[2][0] == pytest.approx(expected, rel=1e-6)  # one batch has one mean


def test_a_batch_without_labels_is_nan_in_the_loss_of_ignite():
    metric, preds, target = tables()["multiclass"]
    target = torch.where(torch.arange(203) < 64, -100, target)
    loss, exact = losses(preds, target, 64)
    assert math.isnan(loss)
    assert exact == metric.copy().update(preds, target).compute()


# ---- ranks ----


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Run all cases on two ranks, and return a function of a case that returns what each rank wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    started = [
        subprocess.Popen(
            [sys.executable, ranks.__file__, str(rank), str(folder / "store"), str(folder)],
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(ranks.WORLD)
    ]  # fmt: skip
    try:
        errors = [process.communicate(timeout=90)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * ranks.WORLD, errors

    def written(case):
        found = [json.loads((folder / f"{case} {rank}.json").read_text()) for rank in range(ranks.WORLD)]
        return found, [path.read_bytes() for path in sorted(folder.glob(f"{case} *.state"))]

    return written


def whole(*of_ranks):
    metric = ranks.metric()
    for rank in of_ranks:
        for batch in ranks.batches(rank):
            metric.update(*batch)
    return metric


def test_two_ranks_give_the_bytes_of_one_process(job):
    found, states = job("alike")
    expected = whole(0, 1)
    assert states == [expected.to_bytes()] * 2
    for each in found:
        assert each["exact_loss"] == each["loaded"] == expected.compute()
        assert abs(each["loss"] - expected.compute()) > 1e-4


def test_a_rank_without_samples(job):
    found, states = job("one_saw_nothing")
    assert states == [whole(0).to_bytes()] * 2
    assert [each["exact_loss"] for each in found] == [whole(0).compute()] * 2


def test_ranks_that_disagree_raise_on_every_rank(job):
    found, _ = job("other_options")
    expected = "rank 1: kind is 'logits' in one metric and 'log_probs' in the other: their losses cannot be added"
    assert [each["error"] for each in found] == [expected] * 2


# ---- arguments ----


def test_no_sample_is_nan():
    exact = ExactLoss(ce.BinaryCrossEntropy())
    assert math.isnan(exact.compute())
    empty = torch.zeros(0), torch.zeros(0)
    assert math.isnan(run(ce.BinaryCrossEntropy(), [empty]).compute())


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (cross_entropy, "metric is <function cross_entropy"),
        (ce.BinaryCrossEntropy, "metric is <class"),
        (ce.MeanLoss().update([1.0]), "metric has samples already: expected an empty metric, for its options"),
        (ce.Sliding(ce.BinaryCrossEntropy(), samples=3), "the last samples of two streams do not add up"),
    ],
)
def test_a_metric_that_cannot_be_carried(metric, text):
    with pytest.raises(ce.InputError) as caught:
        ExactLoss(metric)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (
            (torch.zeros(3), torch.zeros(3), {"wieght": torch.ones(3)}),
            "metric is a BinaryCrossEntropy, whose update does not take the batch: got an unexpected keyword argument "
            "'wieght': expected the arguments preds, target, weight, cluster",
        ),
        (torch.zeros(3), "output is a Tensor: expected (y_pred, y), or (y_pred, y, other arguments of update by name)"),
        (
            (torch.zeros(3), torch.zeros(3), torch.ones(3)),
            "output[2] is a Tensor: expected other arguments of update by name",
        ),
        ((torch.tensor([0.5, 1.5]), torch.tensor([0, 1])), "y_pred[1] is 1.5: expected a probability in [0, 1]"),
    ],
)
def test_bad_output_is_one_clear_error(output, text):
    exact = ExactLoss(ce.BinaryCrossEntropy())
    with pytest.raises(ce.InputError) as caught:
        exact.update(output)
    assert str(caught.value).startswith(text)
    assert math.isnan(exact.compute())


def test_a_state_of_other_options():
    exact = ExactLoss(ce.BinaryCrossEntropy())
    for state in (ExactLoss(ce.MeanLoss()).state_dict(), {}, None, {"state": torch.zeros(3, dtype=torch.uint8)}):
        with pytest.raises(ce.InputError):
            exact.load_state_dict(state)


@pytest.mark.parametrize("metric", [ce.MeanLoss(), ce.GANCrossEntropy(), ce.CTCCrossEntropy()])
def test_a_metric_with_other_arguments(metric):
    exact = ExactLoss(metric)
    with pytest.raises(ce.InputError, match=f"^metric is a {type(metric).__name__}, whose update does not take the"):
        exact.update((torch.zeros(3), torch.zeros(3)))


def test_a_missing_framework_names_its_extra():
    assert error_without("streamce.integrations.ignite", "ignite") == (
        "ModuleNotFoundError: streamce.integrations.ignite needs pytorch-ignite: pip install 'streamce[ignite]'"
    )


def test_the_examples_of_docstrings():
    assert doctest.testmod(streamce.integrations.ignite, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_page(tmp_path):
    path = ROOT / "docs/integrations" / "ignite.md"
    pages.run(path, tmp_path)
    *measured, _ = pages.fences(path, "text")[0].splitlines()
    rows = [line.removeprefix("batches of ").replace(":", "").split() for line in measured]
    pages.assert_shows(ROOT / "docs" / "LOSS_PARITY.md", *rows)
