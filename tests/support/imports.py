"""Imports in a fresh interpreter: the modules that a statement imports, and the error without a package."""

import json
import os
import subprocess
import sys


def modules_after(statement):
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def error_without(module, *packages, **environment):
    """Return the last line of the error of importing a module in an environment without some packages."""
    hidden = "".join(f"sys.modules[{package!r}] = None; " for package in packages)
    command = [sys.executable, "-c", f"import sys; {hidden}import {module}"]
    run = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    return run.stderr.splitlines()[-1]
