#!/usr/bin/env bash
# Run the tests marked `core` in .venv-VERSION. On a free-threaded Python, also run each test of these files in several
# threads at once. Other files set what threads share: the instruction set, the environment, files or standard streams.
set -euo pipefail
cd "$(dirname "$0")/.."
in_threads=(tests/functional/test_losses.py tests/test_{updates,bad_input,same_bits}.py tests/stats/test_summary.py
    tests/core/test_{oddities,ledger}.py tests/metrics/test_sequence.py)
python=$PWD/.venv-$1/bin/python
echo "Core tests, $1: $($python -c '
import platform, sys, numpy, pyarrow
lock = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else " (free-threaded)"
print(f"Python {platform.python_version()}{lock}, NumPy {numpy.__version__}, pyarrow {pyarrow.__version__}")')"
if [[ $1 =~ ^3\.[0-9]+t$ ]]; then
    export PYTHON_GIL=0  # otherwise a package that the tests import could enable the GIL
    $python -m pytest -m core --hypothesis-profile short --parallel-threads 4 "${in_threads[@]}"
fi
# Without msgspec there is no JSON.
$python -c 'import msgspec' 2>/dev/null && without=() || without=(-k 'not json')
$python -m pytest -m core -n 2 --hypothesis-profile short "${without[@]}"
