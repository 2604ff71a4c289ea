"""Starts jobs of two ranks on this machine, and ignores warnings of other packages."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

# torchmetrics warns of reading a metric without samples. Its text tells the name of the class.
UNUSED = "ignore:The ``compute`` method of metric ExactMetric was called before the ``update`` method:UserWarning"


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.filterwarnings(UNUSED))


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Return a function that runs a program on two ranks, and returns what it wrote, by name of the file."""

    def run(module, *commands):
        folder = tmp_path_factory.mktemp("job")
        environment = {
            **os.environ, "GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *sys.path])),
        }  # fmt: skip
        started = [
            subprocess.Popen(
                [sys.executable, module.__file__, folder, *command], env=environment, stderr=subprocess.PIPE, text=True
            )
            for command in commands
        ]
        try:
            errors = [process.communicate(timeout=120)[1] for process in started]
        finally:
            for process in started:
                process.kill()
        assert not any(process.returncode for process in started), errors
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    return run
