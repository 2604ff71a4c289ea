"""Keeps transformers off the network and its bars off the terminal, and starts a job of two ranks."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """Run all cases on two ranks, and return what each of them wrote, by name of the file."""
    import trainer_ranks

    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *sys.path]))}
    launch = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, trainer_ranks.__file__, str(folder)],
        env=environment, timeout=300, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir()}
