"""The tests of test_keras.py with the jax backend, which a process chooses once."""

import os
import subprocess
import sys
from pathlib import Path

CASES = "bytes or mask or state or early or validation_sets or nan or infinite"


def test_the_jax_backend():
    tests = Path(__file__).with_name("test_keras.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", CASES, tests]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, cwd=tests.parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
