"""Metrics in a loop of plain torch: in its checkpoints, over its crashes, and with few waits for a GPU."""

import os
import subprocess
import sys

import golden_states
import pages
import pytest
import torch
import training_run
from paths import ROOT
from torch.nn import functional

import streamce as ce


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the checkpoints of two runs of an epoch, and the last saved step of each process of the second one."""
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, training_run.__file__, str(folder), "10", "13", "29"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    whole, resumed = (torch.load(folder / name, weights_only=True) for name in ("whole.pt", "resumed.pt"))
    return whole, resumed, [int(step) for step in done.stdout.split()]


def test_processes_that_die_within_an_epoch_resume_to_the_same_bytes(runs):
    whole, resumed, steps = runs
    assert steps == [10, 10, 25, training_run.STEPS]  # a checkpoint every 5 steps
    assert resumed["metric"] == whole["metric"]
    assert all(torch.equal(resumed["model"][name], whole["model"][name]) for name in whole["model"])


def test_the_state_of_the_run_is_that_of_all_its_tokens(runs):
    metric = training_run.metrics()
    metric.load_state_dict(runs[0]["metric"])
    tokens = training_run.data().tensors[0][:, 1:]
    summaries = metric.summary()
    assert summaries["tokens"].count == int((tokens != -100).sum())
    assert summaries["tokens"].samples == 256
    assert summaries["last"].samples == 100


@pytest.mark.parametrize("path", golden_states.files(), ids=lambda path: path.stem)
def test_torch_loads_the_state_of_every_metric_with_weights_only(path, tmp_path):
    metric = ce.load(path)
    torch.save({"metric": metric.state_dict(), "weight": torch.zeros(3)}, tmp_path / "model.pt")
    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    resumed = metric.copy().reset()
    resumed.load_state_dict(saved["metric"])
    assert resumed.to_bytes() == metric.to_bytes()


@pytest.mark.parametrize("update", [
    lambda preds: ce.MulticlassCrossEntropy(kind="logits").update(preds, [1, 0, 2]),
    lambda preds: ce.MeanLoss().update(functional.cross_entropy(preds, torch.tensor([1, 0, 2]), reduction="none")),
])  # fmt: skip
def test_tensors_that_require_a_gradient_are_read_and_keep_it(update):
    preds = torch.randn(3, 4, requires_grad=True)
    assert update(preds) == update(preds.detach())
    functional.cross_entropy(preds, torch.tensor([1, 0, 2])).backward()
    assert preds.grad is not None


@pytest.mark.parametrize("every", [1, 3, 7, 100])
def test_losses_that_wait_are_those_of_an_update_per_step(every):
    """The recipe of the page gives the mean of an update per step, within the rounding of float32."""
    torch.manual_seed(0)
    exact, metric, waiting = ce.MulticlassCrossEntropy(kind="logits", ignore_index=-100), ce.MeanLoss(), []
    for step in range(1, 21):
        logits, labels = torch.randn(5, 30), torch.randint(0, 30, (5,))
        labels[0] = -100
        exact.update(logits, labels)
        losses = functional.cross_entropy(logits.double(), labels, reduction="none", ignore_index=-100)
        waiting.append((losses, labels != -100))
        if step % every == 0 or step == 20:
            losses, counts = (torch.cat(each) for each in zip(*waiting, strict=True))
            metric.update(losses[counts])
            waiting.clear()
    assert metric.summary().count == exact.summary().count == 80
    assert metric.compute() == pytest.approx(exact.compute(), rel=1e-6)


def test_the_page(tmp_path):
    pages.run(ROOT / "docs/integrations" / "torch.md", tmp_path)
