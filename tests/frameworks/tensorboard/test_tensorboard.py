"""The recipe for TensorBoard: event files hold every scalar, rounded to float32, and the chart of the interval."""

import numpy as np
import pages
import tracked
from paths import ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboardX import SummaryWriter

import streamce as ce


def read(folder):
    """Return what TensorBoard reads from the event files of a folder."""
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def series(events):
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_every_scalar_comes_back_rounded_to_float32(tmp_path):
    steps = tracked.scalars()
    with SummaryWriter(str(tmp_path)) as writer:
        for step, scalars in enumerate(steps):
            for name, number in scalars.items():
                writer.add_scalar(name, number, step)
    expected = tracked.by_name(steps)
    with np.errstate(over="ignore"):  # the upper end of a perplexity
        rounded = {name: [(step, float(np.float32(x))) for step, x in points] for name, points in expected.items()}
    assert series(read(tmp_path)) == rounded


def test_the_page_runs(tmp_path):
    pages.run(ROOT / "docs/integrations" / "tensorboard.md", tmp_path)
    events = read(tmp_path / "logs")
    metric = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.6, 0.7], [1, 0, 0, 1])
    last = {name: points[-1] for name, points in series(events).items()}
    scalars = metric.summary().scalars("val/")
    assert last == {name: (1, float(np.float32(number))) for name, number in scalars.items()}
    [layout] = events.Tensors("custom_scalars__config__")
    [category] = Layout.FromString(layout.tensor_proto.string_val[0]).category
    [margin] = category.chart[0].margin.series
    assert (margin.value, margin.lower, margin.upper) == ("val/loss", "val/loss_low", "val/loss_high")
    assert ce.load(tmp_path / "logs" / "metric.state") == metric
