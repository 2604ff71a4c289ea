"""Lists the modules that a statement imports, in a fresh interpreter."""

import json
import subprocess
import sys


def modules_after(statement):
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))
