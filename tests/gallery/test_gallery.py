"""Every example runs on its real data without a warning, and prints results."""

import re
import subprocess
import sys

import pytest
from paths import EXAMPLES

# Without make_predictions.py, because it writes the files that the others and the demo read.
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "make_predictions.py")


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs(script):
    command = [sys.executable, "-W", "error", EXAMPLES / script]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert len(run.stdout.splitlines()) >= 5
    assert not re.search(r"\bnan\b", run.stdout)
    assert "False" not in run.stdout  # all comparisons of bytes are printed as True
