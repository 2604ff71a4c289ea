"""The recipe for MLflow: scalars and reports are stored, and read back as they are."""

import json

import mlflow
import pages
import tracked
from paths import ROOT

import streamce as ce


def test_every_scalar_comes_back_to_the_last_bit_and_the_report_whole():
    steps = tracked.scalars()
    metric = ce.BinaryCrossEntropy(tail=True).update([0.9, 0.2, 0.6], [1, 0, 1])
    report = metric.report()
    with mlflow.start_run() as run:
        for step, scalars in enumerate(steps):
            mlflow.log_metrics(scalars, step=step)
        mlflow.log_text(report, "report.html")
        mlflow.log_dict(metric.summary().to_dict(), "summary.json")
    client = mlflow.MlflowClient()
    assert client.get_run(run.info.run_id).data.metrics == {
        name: series[-1][1] for name, series in tracked.by_name(steps).items()
    }
    for name, series in tracked.by_name(steps).items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [(point.step, point.value) for point in history] == series
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/report.html") == report
    stored = json.loads(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/summary.json"))
    assert stored == metric.summary().to_dict()


def test_the_page_runs(folder):
    pages.run(ROOT / "docs/integrations" / "mlflow.md", folder)
