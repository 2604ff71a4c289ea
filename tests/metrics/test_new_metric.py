"""A new metric is a class in its own file, and a line in the table of ``persistence.restore``."""

import copy
import json
import pickle
from functools import partial

import numpy as np
import prometheus_client
import pyarrow as pa
import pytest

import streamce as ce
from streamce.cli.main import main
from streamce.inputs import arrays
from streamce.integrations import engines
from streamce.integrations.prometheus import Collector
from streamce.metrics.base import Metric
from streamce.metrics.options import check_real
from streamce.persistence import restore

PREDS, TARGET = np.array([0.9, 0.2, 0.6, 0.75]), np.array([1, 0, 1, 0])


class PowerLogLoss(Metric):
    """Running mean of (-log p of the true outcome) to a power."""

    _task = "binary"
    _own_checks = {"power": partial(check_real, 4, "a number between 0 and 4")}  # noqa: RUF012
    _title = "Power of the log loss"
    __slots__ = ()

    def __init__(self, *, power=2.0, invalid="raise", threads=None):
        super().__init__(dict(locals()))

    def _build_pipeline(self, options, per_cell):
        return ce.MeanLoss(invalid=options["invalid"], threads=options["threads"])._pipeline

    def update(self, preds, target, *, weight=None, cluster=None):
        self._run(self._state, preds, target, weight=weight, cluster=cluster)
        return self

    def _run(self, state, preds, target=None, **others):
        losses = ce.binary_cross_entropy(preds, target, reduction="none")
        super()._run(state, losses ** self.options["power"], **others)


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setitem(restore.METRICS, "PowerLogLoss", PowerLogLoss)


def updated(first=0, last=None, metric=None):
    rows = slice(first, last)
    return (metric or PowerLogLoss()).update(PREDS[rows], TARGET[rows])


def losses():
    return np.abs(np.log(np.where(TARGET == 1, PREDS, 1 - PREDS))) ** 2


def test_its_value_is_the_mean_of_its_losses():
    metric = updated()
    assert metric.compute() == pytest.approx(losses().mean())
    assert metric.summary().stderr == pytest.approx(losses().std(ddof=1) / 2)
    assert metric(PREDS[:1], TARGET[:1]) == pytest.approx(losses()[0])
    assert repr(PowerLogLoss(power=3)) == "PowerLogLoss(power=3.0)"
    with pytest.raises(ce.InputError, match="power is 5: expected a number between 0 and 4"):
        PowerLogLoss(power=5)


def test_it_is_added_subtracted_and_saved(tmp_path):
    whole, first, second = updated(), updated(last=1), updated(1)
    assert first + second == whole
    assert whole - second == first
    assert first.copy().merge(second) == whole
    assert ce.from_bytes(whole.to_bytes()) == pickle.loads(pickle.dumps(whole)) == copy.deepcopy(whole) == whole
    whole.save(tmp_path / "a.state")
    assert ce.load(tmp_path / "a.state").compute() == whole.compute()
    with pytest.raises(ce.InputError, match=r"^power is 2\.0 in one metric and 3\.0 in the other"):
        whole.merge(PowerLogLoss(power=3))
    checkpoint = ce.Checkpoint(tmp_path / "job.checkpoint")
    checkpoint.save(whole, {"row": 4})
    assert checkpoint.load(PowerLogLoss(), {"row": 0}) == (whole, {"row": 4})


def test_wrappers_take_it():
    metric = PowerLogLoss()
    groups = ce.Grouped(metric).update(PREDS, TARGET, by=["a", "a", "b", "b"])
    assert groups["b"] == updated(2)
    assert ce.from_bytes(groups.to_bytes()) == groups
    assert ce.Sliding(metric, samples=2).update(PREDS, TARGET).window() == updated(2)
    decayed = ce.Decayed(metric, half_life="1h").update(PREDS, TARGET, by_time=[0, 0, 0, 0])
    assert decayed.compute() == updated().compute()
    paired = ce.Paired(metric).update(PREDS, PREDS[::-1], TARGET).summary()
    assert paired.a.mean == updated().compute()
    binary = ce.BinaryCrossEntropy()
    collection = ce.Collection({"power": metric, "loss": binary, "window": ce.Sliding(metric, samples=2)})
    collection.update(PREDS, TARGET)
    assert collection["power"] == updated()
    assert collection["loss"] == binary.copy().update(PREDS, TARGET)
    assert collection["window"].window() == updated(2)


def test_a_collection_does_not_mix_it_with_a_metric_of_the_same_options():
    class Doubled(ce.MeanLoss):
        def _run(self, state, preds, target=None, **others):
            super()._run(state, 2 * arrays.convert(preds, "losses").values, **others)

    collection = ce.Collection({"once": ce.MeanLoss(), "twice": Doubled()}).update([1.0, 2.0])
    assert collection.compute() == {"once": 1.5, "twice": 3.0}


def test_streams_and_engines_take_it():
    stream = pa.table({"p": PREDS, "y": TARGET})
    assert PowerLogLoss().update_from(stream, preds="p", target="y") == updated()
    states = [engines.partial(PowerLogLoss(), [stream[i : i + 2]], preds="p", target="y") for i in (0, 2)]
    assert engines.finish(engines.merge(*states), PowerLogLoss()) == updated()


def test_the_report_shows_it():
    page = updated().report()
    assert "<h1>Power of the log loss</h1>" in page
    assert f"{updated().compute():.6g}" in page
    assert "power" in page
    assert "Power of the log loss by group" in ce.Grouped(PowerLogLoss()).update(PREDS, TARGET, by=TARGET).report()


def test_the_command_line_shows_it(tmp_path, capsys):
    updated(last=2).save(tmp_path / "a")
    updated(2).save(tmp_path / "b")
    assert main(["merge", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "sum")]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "sum"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["value"] == updated().compute()
    assert result["options"] == {"metric": "PowerLogLoss", "power": 2.0, "invalid": "raise", "threads": None}


def test_prometheus_exports_it():
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector({"power": updated()}))
    assert registry.get_sample_value("streamce_value", {"metric": "power"}) == updated().compute()
