"""``observe``: the numbers of the Prometheus collector as instruments, one consistent copy per collection."""

import doctest
import json
import math
import re
import threading

import numpy as np
import pages
import pytest
from imports import error_without
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    Gauge,
    InMemoryMetricReader,
    PeriodicExportingMetricReader,
    Sum,
)
from opentelemetry.sdk.metrics.view import DropAggregation, View
from paths import ROOT

import streamce as ce
from streamce.integrations import opentelemetry as adapter
from streamce.integrations.exported_metrics import FAMILIES
from streamce.integrations.opentelemetry import observe
from streamce.integrations.prometheus import Collector

PROBS, TARGET = [0.9, 0.2, 0.6, 0.7], [1, 0, 0, 1]


def observed(source, **options):
    """Return a reader of the instruments of a source."""
    reader = InMemoryMetricReader()
    observe(MeterProvider([reader]).get_meter("model"), source, **options)
    return reader


def instruments(reader):
    """Return the data of a collection by the name of the instrument."""
    data = reader.get_metrics_data()
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


def collected(reader):
    """Return every number of a collection by name and attributes."""
    found = {}
    for name, metric in instruments(reader).items():
        for point in metric.data.data_points:
            key = (name, *sorted(point.attributes.items()))
            assert key not in found
            found[key] = point.value
    return found


def scraped(source, **options):
    """Return the finite numbers of the Prometheus collector, whose counters end in ``_total``."""
    samples = [sample for family in Collector(source, **options).collect() for sample in family.samples]
    found = {(each.name.removesuffix("_total"), *sorted(each.labels.items())): each.value for each in samples}
    return {key: value for key, value in found.items() if math.isfinite(value)}


# ---- the numbers ----


def collection():
    metrics = ce.Collection(
        {
            "all": ce.BinaryCrossEntropy(tail=True, invalid="skip"),
            "last": ce.Sliding(ce.BinaryCrossEntropy(invalid="skip"), samples=3),
            "users": ce.Grouped(ce.BinaryCrossEntropy(invalid="skip")),
        }
    )
    return metrics.update([*PROBS, math.nan, 0.0], [*TARGET, 1, 1], by=["ann", "bob", "ann", "", "eve", "eve"])


def pairs():
    return ce.Paired(ce.BinaryCrossEntropy()).update(PROBS, PROBS[::-1], TARGET)


SOURCES = {
    "empty": ce.BinaryCrossEntropy(tail=True),
    "metric": ce.BinaryCrossEntropy(tail=True).update(PROBS, TARGET, weight=[1.0, 2.0, 0.5, 0.0]),
    "negative": ce.MeanLoss().update([-0.5, -1.0]),
    "infinite": ce.BinaryCrossEntropy(eps=0.0, tail=True).update([0.0, 0.5], [1, 1]),
    "perplexity": ce.Perplexity().update_token_log_probs([[-1.0, -2.0], [-0.5, -0.1]]),
    "normalized": ce.NormalizedEntropy().update(PROBS, TARGET),
    "gan": ce.GANCrossEntropy().update(real=[0.9, 0.8], fake=[0.3, 0.4, 0.1]),
    "paired": pairs(),
    "recent pairs": ce.Sliding(ce.Paired(ce.BinaryCrossEntropy()), samples=3).update(PROBS, PROBS[::-1], TARGET),
    "decayed": ce.Decayed(ce.MeanLoss(), half_life="1h").update([3.0, 1.0], by_time=[0.0, 3600.0]),
    "collection": collection(),
    "by name": {"models": collection(), "two": pairs()},
    "groups": ce.Grouped(ce.MeanLoss()).update(np.ones(465), by=np.repeat(np.arange(30), np.arange(1, 31))),
    "function": lambda: {"two": pairs(), "none": 5},
    "fails": lambda: 1 / 0,
    "unreadable": {"bad": ce.MeanLoss() - ce.MeanLoss().update([1.0]), "good": ce.MeanLoss().update([1.0])},
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_the_numbers_are_the_finite_ones_of_the_prometheus_collector(source):
    options = {"level": 0.9, "anytime": True, "max_groups": 4}
    reader = observed(source, **options)
    for _ in range(2):  # each collection reads anew
        assert collected(reader) == scraped(source, **options)


def test_state_files_are_added_and_damaged_ones_counted(tmp_path, caplog):
    for i in range(3):
        ce.MeanLoss().update([2.0**i]).save(tmp_path / f"{i}.state")
    (tmp_path / "torn.state").write_bytes((tmp_path / "0.state").read_bytes()[:-1])
    reader = observed(tmp_path)
    for _ in range(2):
        found = collected(reader)
        assert found == scraped(tmp_path)
        assert (found["streamce_state_files",], found["streamce_loss_nats_sum",]) == (3, 7.0)
        assert found["streamce_unreadable", ("file", "torn.state")] == 1
    texts = [record.getMessage() for record in caplog.records if record.name == "streamce"]
    assert len(set(texts)) == 1
    assert len(texts) == 3  # observe logs once, and so does each Collector that it is compared with
    (tmp_path / "2.state").unlink()
    assert collected(reader)["streamce_loss_nats_sum",] == 3.0


def test_numbers_that_are_not_finite_are_omitted_without_a_warning(caplog):
    found = collected(observed(ce.BinaryCrossEntropy(eps=0.0).update([0.0, 0.5], [1, 1])))
    assert found["streamce_odd_losses", ("cause", "infinite")] == 1
    assert found["streamce_loss_nats_count",] == 2
    assert ("streamce_value",) not in found
    assert ("streamce_loss_nats_sum",) not in found
    assert not caplog.records


def test_groups_that_are_gone_are_no_longer_reported():
    grouped = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0], by=["ann", "bob"])
    reader = observed(grouped)
    assert collected(reader)["streamce_value", ("group", "bob")] == 2.0
    grouped.reset().update([3.0], by=["ann"])
    found = collected(reader)
    assert found["streamce_value", ("group", "ann")] == 3.0
    assert ("streamce_value", ("group", "bob")) not in found


# ---- the instruments ----


def test_sums_of_losses_can_decrease_other_counters_are_monotonic_and_the_rest_are_gauges():
    found = instruments(observed({"a": SOURCES["by name"]["models"], "b": ce.MeanLoss().update([-1.0])}))
    for name, metric in found.items():
        kind, help_ = FAMILIES[re.sub("_(sum|count|bucket)$", "", name.removeprefix("streamce_"))]
        assert metric.description == help_
        assert isinstance(metric.data, Gauge if kind == "gauge" else Sum)
        if kind != "gauge":
            assert metric.data.is_monotonic == (not name.endswith("_sum"))
            assert metric.data.aggregation_temporality == AggregationTemporality.CUMULATIVE
    assert {"streamce_loss_nats_sum", "streamce_weight", "streamce_loss_distribution_nats_bucket"} <= found.keys()


def test_names_have_the_prefix():
    assert {name[:12] for name in instruments(observed(ce.MeanLoss().update([1.0]), name="shop.ranker"))} == {
        "shop.ranker_"
    }


def test_an_exporter_writes_json_without_numbers_that_json_does_not_have():
    lines = []

    class Lines:
        write = staticmethod(lines.append)
        flush = staticmethod(lambda: None)

    exporter = PeriodicExportingMetricReader(ConsoleMetricExporter(out=Lines), export_interval_millis=3_600_000)
    provider = MeterProvider([exporter])
    observe(provider.get_meter("model"), {"empty": ce.MeanLoss(), "infinite": SOURCES["infinite"]})
    provider.shutdown()  # exports once more
    exported = json.loads("".join(lines), parse_constant=pytest.fail)
    [scope] = exported["resource_metrics"][0]["scope_metrics"]
    assert "streamce_loss_nats_count" in {metric["name"] for metric in scope["metrics"]}


# ---- consistency ----


def test_all_numbers_of_a_collection_belong_together_while_others_add():
    """Each chunk has mean 1 and a weight of twice the number of losses. Two readers collect in threads of their own."""
    metrics = ce.Collection({"all": ce.MeanLoss(), "last": ce.Sliding(ce.MeanLoss(), samples=64)})
    readers, stopped = [InMemoryMetricReader(), InMemoryMetricReader()], threading.Event()
    observe(MeterProvider(readers).get_meter("model"), metrics)
    found = {reader: [] for reader in readers}

    def add():
        while not stopped.is_set():
            metrics.update(np.array([0.5, 1.5] * 32), weight=np.full(64, 2.0))

    def collect(reader):
        found[reader] += [collected(reader) for _ in range(40)]

    threads = [threading.Thread(target=collect, args=[reader]) for reader in readers]
    adding = threading.Thread(target=add)
    for thread in [adding, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    stopped.set()
    adding.join()
    for each in found.values():
        assert len(each) == 40
        for numbers in each:
            count = numbers.get(("streamce_loss_nats_count", ("metric", "all")))
            assert count % 64 == 0
            assert numbers["streamce_loss_nats_sum", ("metric", "all")] == 2 * count
            assert numbers["streamce_weight", ("metric", "all")] == 2 * count
            assert numbers["streamce_window_losses", ("metric", "last")] == min(count, 64)
    assert collected(readers[0])["streamce_loss_nats_count", ("metric", "all")] > 0


@pytest.mark.parametrize("dropped", ["streamce_value", "streamce_loss_*", "streamce_u*"])
def test_a_function_is_asked_once_per_collection_also_if_instruments_are_dropped(dropped):
    calls = []

    def source():
        calls.append(len(calls))
        return ce.MeanLoss().update([1.0 + calls[-1]])

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], views=[View(instrument_name=dropped, aggregation=DropAggregation())])
    observe(provider.get_meter("model"), source)
    assert calls == []  # the creation of instruments reads no metric
    for i in range(3):
        found = collected(reader)
        assert calls == [*range(i + 1)]
        assert found["streamce_mean_nats",] == 1.0 + i
        assert found["streamce_samples",] == 1


def test_a_collection_that_ends_early_does_not_mix_with_the_next():
    metric = ce.MeanLoss().update([1.0])
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    meter = provider.get_meter("model")
    observe(meter, metric)
    with pytest.raises(Exception, match=r"[Tt]imed out"):  # after the first instrument
        reader.collect(timeout_millis=0)
    metric.update([3.0])
    found = collected(reader)
    assert (found["streamce_mean_nats",], found["streamce_loss_nats_count",]) == (2.0, 2)


# ---- bad input ----


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (3, {}, "source is 3: expected a metric"),
        ({"a": 3}, {}, "source has 3 by the name 'a': expected metrics by name"),
        (ce.MeanLoss(), {"name": "_a"}, "name is '_a': expected a letter, followed by at most 199 letters, digits"),
        (ce.MeanLoss(), {"name": "a" * 201}, "expected a letter, followed by at most 199 letters, digits and . _ - /"),
        (ce.MeanLoss(), {"level": 2}, "level is 2: expected a number between 0 and 1"),
        (ce.MeanLoss(), {"anytime": 1}, "anytime is 1: expected True or False"),
        (ce.MeanLoss(), {"max_groups": -1}, "max_groups is -1: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(source, options, message):
    with pytest.raises(ce.InputError, match=re.escape(message)):
        observe(MeterProvider().get_meter("model"), source, **options)


@pytest.mark.parametrize("meter", [None, "model", MeterProvider()], ids=["none", "text", "provider"])
def test_what_is_no_meter_is_named(meter):
    with pytest.raises(ce.InputError, match=r"^meter is .*: expected a meter of OpenTelemetry"):
        observe(meter, ce.MeanLoss())


def test_the_longest_name_is_one_that_opentelemetry_takes():
    assert len(instruments(observed(ce.MeanLoss().update([1.0, 2.0]), name="a" * 200))) > 5


def test_a_missing_package_is_named():
    error = error_without("streamce.integrations.opentelemetry", "opentelemetry", "opentelemetry.metrics")
    assert error.endswith("needs opentelemetry-api: pip install 'streamce[opentelemetry]'")


# ---- documentation ----


def test_the_page_runs(tmp_path):
    pages.run(ROOT / "docs/integrations" / "opentelemetry.md", tmp_path)


def test_the_example_of_the_docstring_gives_what_it_shows():
    assert doctest.testmod(adapter).failed == 0
    assert doctest.testmod(adapter).attempted > 5


def test_every_instrument_is_in_the_table_of_names():
    text = (ROOT / "docs" / "MONITORING.md").read_text(encoding="utf-8")
    documented = {name.removesuffix("_total") for name in re.findall(r"`(streamce_\w+)`", text)}
    names = {name for source in SOURCES.values() for name in instruments(observed(source))}
    assert len(names) > 15
    assert names <= documented
