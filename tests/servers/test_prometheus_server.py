"""A real Prometheus server (Debian: prometheus) scrapes a watch, and answers with the values of the state."""

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import prometheus_client
import pytest
from paths import EXAMPLES

import streamce as ce
from streamce.integrations.prometheus import Collector

BOARD = EXAMPLES / "grafana_dashboard.json"
ROWS = 200  # rows of a step


def until(check, seconds=120.0):
    """Call a check until its result is true, and return the result."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@contextlib.contextmanager
def running(command, **options):
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, **options) as child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                child.kill()


def line_with(child, pattern):
    """Return the first line of a log that matches a pattern."""
    for line in child.stderr:
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"nothing like {pattern}")


class Stream:
    """Predictions that are written step by step, some of them invalid, and the metric of those written."""

    def __init__(self, path):
        self.path, self._rng = path, np.random.default_rng(11)
        self.metric = ce.BinaryCrossEntropy(invalid="skip", tail=True)
        self.last = ce.Sliding(ce.BinaryCrossEntropy(invalid="skip"), samples=100)
        path.write_bytes(b"")

    def grow(self):
        p, y = self._rng.random(ROWS), self._rng.integers(0, 2, ROWS)
        p[-1], p[-2], y[-2] = 1.5, 0.0, 1
        for metric in (self.metric, self.last):
            metric.update(p, y)
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(json.dumps({"p": p, "y": y}) + "\n" for p, y in zip(p.tolist(), y.tolist(), strict=True))


@pytest.fixture(scope="module")
def scraping(tmp_path_factory):
    """Start a watch of a stream, and a server that scrapes it twice a second."""
    folder = tmp_path_factory.mktemp("servers")
    stream = Stream(folder / "a.jsonl")
    ce.BinaryCrossEntropy().update([0.9] * 99 + [0.8], [1] * 100).save(folder / "reference.state")
    watch = [sys.executable, "-m", "streamce", "watch", stream.path, "--task", "binary", "--preds", "p",
             "--target", "y", "--invalid", "skip", "--window", "100", "--tail", "--port", "0", "--poll", "0.1",
             "--alert-above", "0.5", "--reference", folder / "reference.state"]  # fmt: skip
    with running(watch, stdout=subprocess.DEVNULL) as watching:
        port = line_with(watching, r"serving http://127\.0\.0\.1:(\d+)/metrics")[1]
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
            f"scrape_configs: [{{job_name: model, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
        )
        server = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                  "--storage.tsdb.retention.size=64MB", "--web.listen-address=127.0.0.1:0"]  # fmt: skip
        with running(server, stdout=subprocess.DEVNULL) as serving:
            address = line_with(serving, r"[lL]istening on.*?(127\.0\.0\.1:\d+)")[1]
            drain(serving)
            until(lambda: ready(f"http://{address}"))
            yield stream, f"http://{address}", f"http://127.0.0.1:{port}/metrics"


def drain(child):
    """Discard the output of a program, so that it never waits."""
    threading.Thread(target=child.stderr.read, daemon=True).start()


def ready(address):
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{address}/-/ready") as found:
        return found.status == 200
    return False


def answer(address, path, **query):
    with urllib.request.urlopen(f"{address}/api/v1/{path}?{urllib.parse.urlencode(query)}") as found:
        answer = json.load(found)
    assert answer["status"] == "success", answer
    return answer["data"]


def asked(address, query):
    """Return the present values of a query, by labels."""
    found = answer(address, "query", query=query)["result"]
    return {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in found}


def value(address, query):
    found = [*asked(address, query).values()]
    assert len(found) <= 1
    return found[0] if found else None


def grown(stream, address):
    """Let the stream grow until the server has scraped all of it."""
    stream.grow()
    count = stream.metric.summary().count
    until(lambda: value(address, 'streamce_loss_nats_count{metric="total"}') == count)


def test_what_the_server_has_is_what_the_state_holds(scraping):
    stream, address, _ = scraping
    for _ in range(3):
        grown(stream, address)
        summary, window = stream.metric.summary(), stream.last.summary()
        assert value(address, 'streamce_loss_nats_sum{metric="total"}') == summary.total
        assert value(address, 'streamce_mean_nats{metric="total"}') == summary.mean
        assert value(address, 'streamce_value_low{metric="total"}') == summary.interval[0]
        assert (
            value(address, 'streamce_odd_losses_total{metric="total",cause="invalid_range"}') == summary.invalid_range
        )
        assert value(address, 'streamce_odd_losses_total{metric="total",cause="floored"}') == summary.floored
        assert value(address, 'streamce_mean_nats{metric="last_100"}') == window.mean
        assert value(address, 'streamce_window_samples{metric="last_100"}') == window.samples
        median = value(address, 'histogram_quantile(0.5, streamce_loss_distribution_nats_bucket{metric="total"})')
        assert abs(np.log2(median / stream.metric.tail().quantile(0.5))) < 1  # within the bucket's width
        assert until(lambda: value(address, 'streamce_watch_alert{rule="above",metric="last_100"}')) == 1


def queries():
    """Yield each query of the dashboard, with its variables replaced as Grafana does."""
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            expr = target["expr"].replace("$__rate_interval", "2m")
            yield re.sub(r"\$(job|instance|metric)", ".*", expr)


@pytest.fixture(scope="module")
def steady(scraping):
    """Return the same once the server has rates."""
    stream, address, _ = scraping
    for _ in range(4):
        grown(stream, address)
    return address


@pytest.mark.parametrize("query", [*queries()])
def test_every_query_of_the_dashboard_has_data(steady, query):
    found = until(lambda: asked(steady, query))
    assert any(np.isfinite(each) for each in found.values())


def test_the_variables_of_the_dashboard_have_values(steady):
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    asked_for = [variable["query"] for variable in board["templating"]["list"] if variable["type"] == "query"]
    assert len(asked_for) == 3
    for query in asked_for:
        name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()
        assert answer(steady, f"label/{label}/values", **{"match[]": name})
    assert answer(steady, "label/metric/values", **{"match[]": "streamce_mean_nats"}) == ["last_100", "total"]


def promtool(text):
    return subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)


def test_promtool_has_nothing_to_say_about_what_a_watch_serves(scraping, steady):
    with urllib.request.urlopen(scraping[2]) as page:
        done = promtool(page.read())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool_has_nothing_to_say_about_any_kind_of_metric(tmp_path):
    registry = prometheus_client.CollectorRegistry()
    gan = ce.GANCrossEntropy().update(real=[0.9], fake=[0.2])
    users = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0], by=['a "b"\n', None])
    paired = ce.Paired(ce.MeanLoss()).update([1.0, 2.0], [1.0, 3.0])
    bad = ce.MeanLoss() - ce.MeanLoss().update([1.0])
    registry.register(Collector({"gan": gan, "users": users, "paired": paired, "bad": bad}))
    (tmp_path / "a.state").write_bytes(b"")
    registry.register(Collector(tmp_path, name="workers"))
    done = promtool(prometheus_client.generate_latest(registry))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
