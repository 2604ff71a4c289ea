#!/usr/bin/env bash
# Run the whole suite, as `make test` does, in .venv-VERSION.
set -euo pipefail
cd "$(dirname "$0")/.."
into=(-q --python ".venv-$1/bin/python")
# The group requires extras of streamce, so register this checkout, whose extensions are compiled already.
.venv/bin/uv pip install "${into[@]}" --no-build-isolation --no-deps -e .
.venv/bin/uv pip install "${into[@]}" --only-binary :all: --no-binary streamce --group test
".venv-$1/bin/python" -m pytest -n 2 --ignore=tests/peers --ignore=tests/engines --ignore=tests/frameworks \
    --ignore=tests/servers --ignore=tests/gpu --ignore=tests/gallery
