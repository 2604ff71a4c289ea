"""The recipe for Weights & Biases: the file of an offline run holds every scalar and the report."""

import json
import subprocess
import sys

import pages
import tracked
import wandb
from paths import ROOT

import streamce as ce


def history(folder):
    """Return what each step of the only run of a folder has logged, as wandb's own reader shows it."""
    [path] = folder.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    steps = {}
    for line in done.stdout.splitlines():
        if "history" in (record := json.loads(line, parse_int=float)):
            items = record["history"]["item"]
            steps[items["_step"]] = {name: value for name, value in items.items() if not name.startswith("_")}
    return steps


def test_every_scalar_comes_back_to_the_last_bit_and_the_report_whole(tmp_path):
    steps = tracked.scalars()
    report = ce.BinaryCrossEntropy(tail=True).update([0.9, 0.2, 0.6], [1, 0, 1]).report()
    with wandb.init(project="streamce") as run:
        for step, scalars in enumerate(steps):
            run.log(scalars, step=step)
        run.log({"report": wandb.Html(report, inject=False)}, step=len(steps))
    found = history(tmp_path)
    assert [found[step] for step in range(len(steps))] == steps
    [path] = tmp_path.glob(f"wandb/offline-run-*/files/{found[len(steps)]['report.path']}")
    assert path.read_text(encoding="utf-8") == report


def test_the_page_runs(tmp_path):
    pages.run(ROOT / "docs/integrations" / "wandb.md", tmp_path)
    found = history(tmp_path)
    metric = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.6, 0.7], [1, 0, 0, 1])
    assert found[1] == metric.summary().scalars("val/")
    assert found[2]["report._type"] == "html-file"
