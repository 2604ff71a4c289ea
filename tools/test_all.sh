#!/usr/bin/env bash
# Run the whole suite, as `make test` does, in .venv-VERSION.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/uv pip install -q --python ".venv-$1/bin/python" --only-binary :all: \
    -r pyproject.toml --extra test
".venv-$1/bin/python" -m pytest -n 2 --ignore=tests/peers --ignore=tests/engines --ignore=tests/servers \
    --ignore=tests/gpu --ignore=tests/gallery
