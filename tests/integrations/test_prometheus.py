"""The Prometheus exporter: it exports one consistent copy of a metric, under the documented names."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
import threading
from datetime import datetime

import numpy as np
import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from prometheus_client.parser import text_string_to_metric_families

import streamce as ce
from streamce.cli import arguments
from streamce.cli.config import WatchConfig
from streamce.integrations.exported_metrics import CAUSES, EDGES, FAMILIES
from streamce.integrations.prometheus import Collector
from streamce.monitor import metrics_page
from streamce.monitor.alerts import Alerts, Bound

PROBS, TARGET = [0.9, 0.2, 0.6, 0.7], [1, 0, 0, 1]


def exported(source, **options):
    """Return every sample by name and labels, parsed as a server does."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector(source, **options))
    return scraped(registry)


def scraped(registry):
    text = prometheus_client.generate_latest(registry).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)  # no series twice
    return found


def same(one, other):
    return one == other or (math.isnan(one) and math.isnan(other))


def check_values(found, summary, *labels):
    assert same(found["streamce_value", *labels], summary.value)
    assert same(found["streamce_value_low", *labels], summary.interval[0])
    assert same(found["streamce_value_high", *labels], summary.interval[1])


def check_stream(found, summary, *labels):
    """Check the families of a stream, whose counters never decrease."""
    assert same(found["streamce_mean_nats", *labels], summary.mean)
    assert same(found["streamce_stderr_nats", *labels], summary.stderr)
    assert found["streamce_loss_nats_sum", *labels] == summary.total
    assert found["streamce_loss_nats_count", *labels] == summary.count
    assert found["streamce_weight_total", *labels] == summary.weight
    assert found["streamce_samples_total", *labels] == summary.samples


# ---- values ----


@pytest.mark.parametrize(
    "metric",
    [
        ce.BinaryCrossEntropy().update(PROBS, TARGET, weight=[1.0, 2.0, 0.5, 3.0]),
        ce.MulticlassCrossEntropy().update([[0.2, 0.8], [0.5, 0.5]], [1, 0]),
        ce.MultilabelCrossEntropy().update([[0.2, 0.8], [0.5, 0.5]], [[1, 0], [0, 0]]),
        ce.MeanLoss().update([0.5, -1.0, 3.0]),
        ce.Perplexity(kind="logits").update([[[0.0, 1.0], [2.0, 0.0]]], [[1, 1]]),
        ce.NormalizedEntropy().update(PROBS, TARGET),
        ce.MulticlassNormalizedEntropy().update([[0.2, 0.8], [0.5, 0.5], [0.6, 0.4]], [1, 0, 0]),
        ce.BinaryCrossEntropy(),
        ce.BinaryCrossEntropy(eps=0.0).update([0.0, 0.5], [1, 1]),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_a_metric_is_exported_as_its_summary_is(metric):
    found = exported(metric)
    check_values(found, metric.summary())
    check_stream(found, metric.summary())


def test_before_any_data_means_are_nan_and_counters_0():
    found = exported(ce.BinaryCrossEntropy(tail=True))
    assert math.isnan(found["streamce_mean_nats",])
    assert math.isnan(found["streamce_value_low",])
    names = ("loss_nats_sum", "loss_nats_count", "weight_total", "samples_total", "loss_distribution_nats_count")
    assert {found[f"streamce_{name}",] for name in names} == {0.0}


def test_odd_losses_are_counted_by_cause_and_every_cause_is_there():
    metric = ce.BinaryCrossEntropy(invalid="skip", ignore_index=-1)
    metric.update([0.5, math.nan, 2.0, 0.5, 0.0, 0.5], [1, 1, 1, -1, 1, 7])
    found = exported(metric)
    counts = {cause: found["streamce_odd_losses_total", ("cause", cause)] for cause in CAUSES}
    ones = {"invalid_nan", "invalid_range", "ignored", "floored", "invalid_label"}
    assert counts == {cause: float(cause in ones) for cause in CAUSES}


def test_a_window_is_exported_in_gauges_alone():
    window = ce.Sliding(ce.BinaryCrossEntropy(invalid="skip"), samples=3).update([*PROBS, math.nan], [*TARGET, 1])
    summary, found = window.summary(), exported(window)
    check_values(found, summary)
    assert found["streamce_window_loss_nats",] == summary.total
    assert found["streamce_window_losses",] == summary.count == 2
    assert found["streamce_window_weight",] == summary.weight
    assert found["streamce_window_samples",] == summary.samples
    assert found["streamce_window_odd_losses", ("cause", "invalid_nan")] == 1
    gauges = {f"streamce_{end}" for end, (kind, _) in FAMILIES.items() if kind == "gauge"}
    assert {name for name, *_ in found} <= gauges


def test_a_decayed_metric_is_exported_as_a_window():
    decayed = ce.Decayed(ce.MeanLoss(), half_life="1h").update([3.0, 1.0], by_time=[0.0, 3600.0])
    found = exported(decayed)
    check_values(found, decayed.summary())
    assert found["streamce_window_weight",] == decayed.summary().weight
    assert ("streamce_weight_total",) not in found


def test_a_gan_is_exported_by_part():
    gan = ce.GANCrossEntropy().update(real=[0.9, 0.8], fake=[0.3, 0.4, 0.1])
    found, summary = exported(gan), gan.summary()
    check_values(found, summary)
    for part in ("real", "fake", "generator"):
        check_stream(found, getattr(summary, part), ("part", part))


def test_two_models_are_exported_with_their_difference():
    paired = ce.Paired(ce.BinaryCrossEntropy(invalid="skip"))
    paired.update([0.9, 0.2, 0.0, math.nan], [0.8, 0.3, 0.5, 0.5], [1, 0, 1, 1])
    found, summary = exported(paired), paired.summary()
    check_values(found, summary.difference)
    assert found["streamce_p_value",] == summary.p_value
    check_stream(found, summary.a, ("part", "a"))
    check_stream(found, summary.b, ("part", "b"))
    assert found["streamce_odd_losses_total", ("cause", "invalid_nan")] == 1
    assert found["streamce_odd_losses_total", ("cause", "floored"), ("part", "a")] == 1
    assert found["streamce_odd_losses_total", ("cause", "floored"), ("part", "b")] == 0


def check_window(found, summary, *labels):
    """Check the gauges of a window."""
    assert same(found["streamce_mean_nats", *labels], summary.mean)
    assert found["streamce_window_losses", *labels] == summary.count
    assert found["streamce_window_loss_nats", *labels] == summary.total


def test_groups_of_any_metric_have_its_families():
    batch = PROBS * 3, TARGET * 3
    by = ["ann", "bob", "ann"] * 4
    for metric in (ce.NormalizedEntropy(), ce.BinaryCrossEntropy(tail=True, calibration=True)):
        grouped = ce.Grouped(metric).update(*batch, by=by)
        found = exported(grouped)
        for key, each in grouped.items():
            check_values(found, each.summary(), ("group", key))
            check_stream(found, each.summary(), ("group", key))
    assert found["streamce_loss_distribution_nats_count", ("group", "ann")] == 8
    pairs = ce.Grouped(ce.Paired(ce.BinaryCrossEntropy())).update(PROBS * 3, PROBS[::-1] * 3, TARGET * 3, by=by)
    found = exported(pairs)
    for key, each in pairs.items():
        check_values(found, each.summary().difference, ("group", key))
        assert same(found["streamce_p_value", ("group", key)], each.summary().p_value)
        check_stream(found, each.summary().b, ("group", key), ("part", "b"))
    gans = ce.Grouped(ce.GANCrossEntropy()).update(real=PROBS, fake=PROBS, by=[1, 1, 2, 2])
    found = exported(gans)
    for key, each in gans.items():
        check_values(found, each.summary(), ("group", str(key)))
        check_stream(found, each.summary().fake, ("group", str(key)), ("part", "fake"))


def test_groups_of_windows_are_exported_as_windows():
    times = [0.0, 60.0, 120.0, 300.0]
    windows = ce.Grouped(ce.Sliding(ce.NormalizedEntropy(), period="3min", step="1min"))
    windows.update(PROBS, TARGET, by=["a", "b", "a", "b"], by_time=times)
    found = exported(windows)
    for key, each in windows.items():
        check_values(found, each.summary(), ("group", key))
        check_window(found, each.summary(), ("group", key))
    gauges = {f"streamce_{end}" for end, (kind, _) in FAMILIES.items() if kind == "gauge"}
    assert {name for name, *_ in found} <= gauges


def test_a_window_of_pairs_is_exported_in_gauges_alone():
    pairs = ce.Sliding(ce.Paired(ce.BinaryCrossEntropy()), samples=3).update(PROBS, PROBS[::-1], TARGET)
    found = exported({"last": pairs})
    check_values(found, pairs.summary().difference, ("metric", "last"))
    check_window(found, pairs.summary().a, ("metric", "last"), ("part", "a"))
    gauges = {f"streamce_{end}" for end, (kind, _) in FAMILIES.items() if kind == "gauge"}
    assert {name for name, *_ in found} <= gauges


def test_groups_of_a_collection_are_exported_by_metric():
    metrics = {"loss": ce.BinaryCrossEntropy(), "NE": ce.NormalizedEntropy()}
    grouped = ce.Grouped(ce.Collection(metrics)).update(PROBS, TARGET, by=[1, 2, 2, 2])
    found = exported({"users": grouped})
    for name, metric in metrics.items():
        groups = ce.Grouped(metric).update(PROBS, TARGET, by=[1, 2, 2, 2])
        for key, each in groups.items():
            check_values(found, each.summary(), ("group", str(key)), ("metric", f"users.{name}"))
        assert found["streamce_groups", ("metric", f"users.{name}")] == 2


def test_level_and_anytime_are_those_of_the_intervals():
    metric = ce.BinaryCrossEntropy().update(PROBS * 50, TARGET * 50)
    check_values(exported(metric, level=0.5, anytime=True), metric.summary(0.5, anytime=True))


@given(st.lists(st.floats(0, 1), max_size=60), st.integers(0, 2**32 - 1))
def test_the_histogram_counts_the_losses_below_each_edge(probs, seed):
    weight = np.random.default_rng(seed).choice([0.0, 1.0, 2.5], len(probs))
    metric = ce.BinaryCrossEntropy(tail=True)
    metric.update(np.array(probs), np.ones(len(probs), int), weight=weight)
    losses = ce.binary_cross_entropy(np.array(probs), np.ones(len(probs), int), reduction="none")[weight > 0]
    found = exported(metric)
    buckets = {dict(labels)["le"]: value for (name, *labels), value in found.items() if name.endswith("_bucket")}
    expected = {str(edge): float((losses < edge).sum()) for edge in EDGES} | {"+Inf": float(len(losses))}
    assert buckets == expected
    assert found["streamce_loss_distribution_nats_count",] == len(losses)
    assert found["streamce_loss_distribution_nats_sum",] == pytest.approx(metric.summary().total, rel=1e-12)


# ---- several ----


def test_metrics_of_a_dict_and_of_a_collection_have_their_names():
    inner = ce.Collection({"all": ce.BinaryCrossEntropy(), "last": ce.Sliding(ce.BinaryCrossEntropy(), samples=2)})
    inner.update(PROBS, TARGET)
    loss = ce.MeanLoss().update([1.0])
    found = exported({"models": inner, "loss": loss})
    check_values(found, inner["all"].summary(), ("metric", "models.all"))
    check_values(found, inner["last"].summary(), ("metric", "models.last"))
    check_values(found, loss.summary(), ("metric", "loss"))
    assert {dict(labels)["metric"] for _, *labels in exported(inner)} == {"all", "last"}


def test_a_function_is_asked_at_each_scrape():
    metrics = iter([ce.MeanLoss().update([1.0]), None, {"next": ce.MeanLoss().update([2.0])}])
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector(lambda: next(metrics)))  # registration reads no metric
    assert scraped(registry)["streamce_value",] == 1.0
    assert scraped(registry) == {}
    assert scraped(registry)["streamce_value", ("metric", "next")] == 2.0


def test_two_collectors_of_other_names_go_into_one_registry():
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector(ce.MeanLoss(), name="a"))
    registry.register(Collector(ce.MeanLoss(), name="b"))
    assert {"a_value", "b_value"} <= {name for name, *_ in scraped(registry)}
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(Collector(ce.MeanLoss(), name="a"))


# ---- groups ----


def test_groups_have_their_keys_as_labels():
    grouped = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0], by=(["ann", "bob", "ann"], [1, 2, 1]))
    found = exported(grouped)
    assert found["streamce_groups",] == 2
    for key, summary in grouped.summary().items():
        labels = ("group_0", key[0]), ("group_1", str(key[1]))
        check_values(found, summary, *labels)
        check_stream(found, summary, *labels)


@given(st.sets(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=4), st.just('""')), max_size=8))
def test_other_keys_have_other_labels(keys):
    grouped = ce.Grouped(ce.MeanLoss())
    for key in keys:
        grouped.update([1.0], by=[key])
    found = exported(grouped)
    assert sum(name == "streamce_value" for name, *_ in found) == len(keys)


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("ann", "ann"), (b"\x01\xff", "0x01ff"), (7, "7"), (True, "True"), ("", '""'),
        (datetime(2026, 5, 4, 12), "2026-05-04T12:00:00"),
    ],
    ids=str,
)  # fmt: skip
def test_keys_of_every_kind_are_readable(key, label):
    found = exported(ce.Grouped(ce.MeanLoss()).update([1.0], by=[key]))
    assert found["streamce_value", ("group", label)] == 1.0


def test_the_groups_of_most_samples_are_exported_and_the_others_counted():
    keys = np.repeat(np.arange(30), np.arange(1, 31))
    grouped = ce.Grouped(ce.MeanLoss()).update(np.ones(len(keys)), by=keys)
    found = exported(grouped, max_groups=4)
    shown = {dict(labels)["group"] for name, *labels in found if name == "streamce_value"}
    assert shown == {"29", "28", "27", "26"}
    assert found["streamce_groups",] == 30
    assert found["streamce_groups_left_out",] == 26
    assert [key for key, _ in grouped.largest(4)] == [29, 28, 27, 26]
    assert grouped.largest(1)[0][1] == grouped[29].summary()


def test_of_a_history_the_newest_periods_are_exported():
    hours = np.repeat(np.arange(5) * 3600.0, [9, 8, 7, 1, 1])
    history = ce.Grouped(ce.MeanLoss(), period="1h").update(np.ones(len(hours)), by_time=hours)
    found = exported(history, max_groups=2)
    shown = {dict(labels)["group"] for name, *labels in found if name == "streamce_value"}
    assert shown == {"1970-01-01T04:00:00", "1970-01-01T03:00:00"}


# ---- consistency ----


def test_all_numbers_of_a_scrape_belong_together_while_others_add():
    """Each chunk of the thread has mean 1, and a weight of twice the number of losses, and fills the window."""
    metrics = ce.Collection({"all": ce.MeanLoss(), "last": ce.Sliding(ce.MeanLoss(), samples=64)})
    registry, stopped = prometheus_client.CollectorRegistry(), threading.Event()
    registry.register(Collector(metrics))

    def add():
        while not stopped.is_set():
            metrics.update(np.array([0.5, 1.5] * 32), weight=np.full(64, 2.0))

    thread = threading.Thread(target=add)
    thread.start()
    try:
        for _ in range(50):
            found = scraped(registry)
            count = found["streamce_loss_nats_count", ("metric", "all")]
            assert count % 64 == 0
            assert found["streamce_loss_nats_sum", ("metric", "all")] == 2 * count
            assert found["streamce_weight_total", ("metric", "all")] == 2 * count
            assert found["streamce_window_losses", ("metric", "last")] == min(count, 64)
    finally:
        stopped.set()
        thread.join()
    assert scraped(registry)["streamce_loss_nats_count", ("metric", "all")] > 0


# ---- many processes ----


def test_the_states_in_a_folder_are_added_up_at_each_scrape(tmp_path, caplog):
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector(tmp_path))
    assert scraped(registry) == {("streamce_state_files",): 0.0}
    script = "import sys, streamce as ce; ce.MeanLoss().update([float(sys.argv[1])]).save(sys.argv[2])"
    for i in range(3):
        subprocess.run([sys.executable, "-c", script, str(2**i), str(tmp_path / f"{i}.state")], check=True)
    (tmp_path / "notes.txt").write_text("no state")
    found = scraped(registry)
    assert (found["streamce_state_files",], found["streamce_loss_nats_sum",]) == (3.0, 7.0)
    (tmp_path / "0.state").unlink()
    assert scraped(registry)["streamce_loss_nats_sum",] == 6.0
    assert not caplog.records


def test_a_state_that_is_damaged_or_of_another_kind_is_named_and_the_others_count(tmp_path, caplog):
    for i in range(2):
        ce.MeanLoss().update([1.0 + i]).save(tmp_path / f"{i}.state")
    (tmp_path / "torn.state").write_bytes((tmp_path / "0.state").read_bytes()[:-1])
    ce.BinaryCrossEntropy().save(tmp_path / "z.state")
    registry = prometheus_client.CollectorRegistry()
    registry.register(Collector(f"{tmp_path}/*.state"))
    for _ in range(2):
        found = scraped(registry)
        assert (found["streamce_state_files",], found["streamce_loss_nats_sum",]) == (2.0, 3.0)
        assert found["streamce_unreadable", ("file", f"{tmp_path}/torn.state")] == 1.0
        assert found["streamce_unreadable", ("file", f"{tmp_path}/z.state")] == 1.0
    assert sorted(record.getMessage()[:13] for record in caplog.records) == ["not exported:"] * 2  # each once
    assert "torn.state" in caplog.text
    assert exported(tmp_path)["streamce_unreadable", ("file", "torn.state")] == 1.0


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        (lambda: 1 / 0, "source", "source failed: ZeroDivisionError"),
        (lambda: 5, "source", "source returned 5, not a metric"),
        (lambda: {"a": ce.MeanLoss(), "b": None}, "b", "'b' is None, not a metric"),
        ({"a": ce.Collection({"b": ce.MeanLoss()}), "a.b": ce.MeanLoss()}, "a.b", "a.b: another metric has this name"),
    ],
    ids=["fails", "other", "none", "twice"],
)
def test_a_source_of_no_metric_is_named_and_fails_no_scrape(caplog, source, name, message):
    assert exported(source)["streamce_unreadable", ("metric", name)] == 1
    assert [record.getMessage()[: len(message) + 14] for record in caplog.records] == [f"not exported: {message}"]


def test_names_that_are_no_text_fail_no_scrape_and_no_log(tmp_path, caplog):
    (tmp_path / os.fsdecode(b"\xff.state")).write_bytes(b"damaged")
    families = exported(tmp_path)
    assert families["streamce_unreadable", ("file", "\\udcff.state")] == 1
    assert "\\udcff.state" in caplog.text.encode().decode()  # UTF-8 can encode all of the message


def test_a_metric_that_cannot_be_read_leaves_the_others(caplog):
    good = ce.MeanLoss().update([1.0])
    found = exported({"good": good, "bad": ce.MeanLoss() - good})
    check_values(found, good.summary(), ("metric", "good"))
    assert found["streamce_unreadable", ("metric", "bad")] == 1.0
    assert "more was subtracted than had been added" in caplog.text


# ---- bad input ----


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (3, {}, "source is 3: expected a metric"),
        ({"a": 3}, {}, "source has 3 by the name 'a': expected metrics by name"),
        ({1: ce.MeanLoss()}, {}, "by the name 1: expected metrics by name"),
        (ce.MeanLoss(), {"name": "a-b"}, "name is 'a-b': expected letters, digits and _"),
        (ce.MeanLoss(), {"level": 2}, "level is 2: expected a number between 0 and 1"),
        (ce.MeanLoss(), {"anytime": 1}, "anytime is 1: expected True or False"),
        (ce.MeanLoss(), {"max_groups": -1}, "max_groups is -1: expected a whole number"),
    ],
)
def test_bad_arguments_are_named(source, options, message):
    with pytest.raises(ce.InputError, match=re.escape(message)):
        Collector(source, **options)


@pytest.mark.parametrize("module", ["streamce.integrations.prometheus", "streamce.monitor.metrics_page"])
def test_a_missing_package_is_named(module):
    script = (
        f"import sys; sys.modules['prometheus_client'] = sys.modules['prometheus_client.core'] = None; import {module}"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert re.search(r"ModuleNotFoundError: .* needs prometheus-client: pip install 'streamce\[\w+\]'", done.stderr)


# ---- names ----


def everything():
    """Return all possible families by name, with their samples."""
    metrics = {
        "total": ce.BinaryCrossEntropy(tail=True),
        "last": ce.Sliding(ce.BinaryCrossEntropy(), samples=3),
        "users": ce.Grouped(ce.BinaryCrossEntropy()),
        "two": ce.Paired(ce.BinaryCrossEntropy()),
    }
    for name in ("total", "last"):
        metrics[name].update(PROBS, TARGET)
    metrics["users"].update(PROBS, TARGET, by=[1, 1, 2, 2])
    metrics["two"].update(PROBS, PROBS[::-1], TARGET)
    metrics["recent two"] = ce.Sliding(ce.Paired(ce.BinaryCrossEntropy()), samples=3)
    metrics["recent two"].update(PROBS, PROBS[::-1], TARGET)
    metrics["bad"] = ce.MeanLoss() - ce.MeanLoss().update([1.0])
    shown = metrics_page.WatchStatus(("last",), Alerts([Bound("above", 0.5)], {"last": 1}), metrics["total"].summary())
    families = [*Collector(metrics).collect(), *metrics_page.WatchCollector(shown).collect()]
    return {family.name: family for family in families}


def documented():
    """Return type and labels of each sample name in the tables of docs/MONITORING.md."""
    found = {}
    for line in (ROOT / "docs" / "MONITORING.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6 and cells[1].startswith("`streamce_"):
            for name in re.findall(r"`(\w+)`", cells[1]):
                found[name] = cells[2], {*re.findall(r"`(\w+)`", cells[3])}
    return found


def test_the_names_types_and_labels_that_are_documented_are_those_that_are_exported(tmp_path):
    families = everything()
    ce.MeanLoss().save(tmp_path / "a.state")
    (tmp_path / "b.state").write_bytes(b"")
    files = {family.name: family for family in Collector(tmp_path).collect()}
    families["streamce_state_files"] = files["streamce_state_files"]
    families["streamce_unreadable"].samples += files["streamce_unreadable"].samples
    found = {}
    for family in families.values():
        for sample in family.samples:
            labels = {*sample.labels} - {"metric", "group"}
            if family.name == "streamce_watch_alert":
                labels.add("metric")
            kind, before = found.get(sample.name, (family.type, set()))
            found[sample.name] = kind, before | labels
    assert found == documented()


def test_registration_tells_all_names_and_no_numbers():
    described = [*Collector(ce.MeanLoss()).describe(), *metrics_page.WatchCollector(None).describe()]
    assert {family.name: family.samples for family in described} == {
        **{f"streamce_{end}": [] for end in FAMILIES},
        **{name: [] for name in metrics_page.FAMILIES},
    }


def test_every_query_of_the_dashboard_names_what_is_exported():
    names = {sample.name for family in everything().values() for sample in family.samples}
    queries = expressions()
    assert len(queries) > 15
    for query in queries:
        used = set(re.findall(r"\bstreamce_\w+", query))
        assert used, query
        assert used <= names, query


def test_every_name_in_the_text_of_the_documentation_is_in_its_tables():
    text = (ROOT / "docs" / "MONITORING.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\bstreamce_[a-z_]+[a-z]", text))
    assert used <= documented().keys()


@pytest.mark.parametrize("page", ["README.md", "docs/MONITORING.md"])
def test_commands_in_the_documentation_are_ones_that_there_are(page):
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^streamce (watch .*)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        assert isinstance(arguments.parse(shlex.split(command)), WatchConfig)


def test_the_example_of_the_documentation_runs():
    text = (ROOT / "docs" / "MONITORING.md").read_text(encoding="utf-8")
    script = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1].replace("9464", "0")
    script += "print(prometheus_client.generate_latest().decode())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'streamce_loss_nats_count{metric="total"} 3.0' in done.stdout


def expressions():
    board = json.loads((ROOT / "examples" / "grafana_dashboard.json").read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return panels + [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
