"""Lightning logs the exact loss: self.log, callbacks, epochs, and two ranks."""

import csv
import json
import math

import lightning_job
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning_job import Model, exact, loader, trainer

import streamce as ce

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        r".*does not have many workers which may be a bottleneck",
        r"Checkpoint directory .* exists and is not empty",
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    )
]


@pytest.mark.parametrize("batch_size", [1, 4, 16, 30])
def test_logged_loss_is_exact_at_every_batch_size(tmp_path, batch_size):
    model = Model()
    (logged,) = trainer(tmp_path).validate(model, loader(30, batch_size), verbose=False)
    expected = exact(model, 30)
    assert logged["val_loss_epoch"] == expected.compute()
    assert model.states[0].to_bytes() == expected.to_bytes()
    assert logged["exact_count"] == expected.summary().count
    assert logged["exact_loss"] == float(np.float32(expected.compute())) != expected.compute()
    if batch_size < 16:
        assert logged["mean_of_means"] != pytest.approx(expected.compute(), rel=1e-3)


def test_each_epoch_starts_anew_and_callbacks_read_the_loss(tmp_path):
    model = Model()
    best = ModelCheckpoint(tmp_path, monitor="val_loss_epoch", save_top_k=1)
    stop = EarlyStopping("val_loss_epoch", patience=1, min_delta=0.05)
    fit = trainer(tmp_path, max_epochs=30, callbacks=[best, stop], num_sanity_val_steps=1)
    fit.fit(model, loader(30, 10), loader(30, 4))
    sanity, *epochs = model.states
    assert sanity.summary().samples == 4
    assert {each.summary().samples for each in epochs} == {30}
    assert model.logged == [each.compute() for each in epochs]
    assert 2 < len(epochs) < 30
    assert best.best_model_score.item() == min(model.logged)
    assert model.exact.summary().count == 0  # Lightning resets it after each epoch
    trained = Model()
    trained.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    assert exact(trained, 30).compute() == min(model.logged)


def test_step_logs_the_value_of_the_batch(tmp_path):
    model, logger = Model(), CSVLogger(tmp_path)
    trainer(tmp_path, logger=logger).validate(model, loader(30, 16), verbose=False)
    with open(f"{logger.log_dir}/metrics.csv", encoding="utf-8") as file:
        logged = list(csv.DictReader(file))
    tokens, metric = lightning_job.rows(30), exact(model, 30)
    batches = [metric._new().update(model(x[:, :-1]), x[:, 1:]) for x in (tokens[:16], tokens[16:])]
    steps = [row["val_loss_step"] for row in logged if row.get("val_loss_step")]
    assert [float(each) for each in steps] == [each.compute() for each in batches]
    assert [float(row["val_loss_epoch"]) for row in logged if row["val_loss_epoch"]] == [metric.compute()]


def test_empty_epoch_logs_nan(tmp_path):
    model = Model()
    rows = torch.full((8, 5), lightning_job.IGNORED)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(rows), batch_size=4)
    (logged,) = trainer(tmp_path).validate(model, batches, verbose=False)
    assert math.isnan(logged["val_loss_epoch"])


@pytest.fixture(scope="module")
def job(start):
    return start(lightning_job, ["2", "30", "31", "31own"])


def test_two_ranks_have_the_state_of_one_process(job):
    expected = exact(Model(), 30)
    for rank in (0, 1):
        assert job[f"30 {rank}.state"] == expected.to_bytes()
        logged = json.loads(job[f"30 {rank}.json"])
        assert logged["val_loss_epoch"] == expected.compute()
        assert logged["mean_of_means"] != pytest.approx(expected.compute(), rel=1e-3)


def test_sampler_of_lightning_repeats_a_row_of_an_uneven_set(job):
    expected = exact(Model(), 31)
    first = lightning_job.rows(31)[:1]
    expected.update(Model()(first[:, :-1]), first[:, 1:])
    assert ce.from_bytes(job["31 0.state"]) == expected
    assert expected.summary().samples == 32
    assert job["31own 0.state"] == job["31own 1.state"] == exact(Model(), 31).to_bytes()
