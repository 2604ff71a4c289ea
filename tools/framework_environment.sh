#!/usr/bin/env bash
# Make .venv-NAME: the packages of the dependency group NAME, and streamce as .venv has compiled it. The tests of each
# framework have an environment of their own, because the requirements of frameworks conflict. pip fetches torch, because
# it finds a build without CUDA where one is offered.
set -euo pipefail
cd "$(dirname "$0")/.."
new=.venv-$1/bin/python uv=.venv/bin/uv
$uv venv -q --clear --python .venv/bin/python ".venv-$1"
torch=$(.venv/bin/python -c "
import sys, tomllib
groups = tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']
print(*groups['torch'] if {'include-group': 'torch'} in groups[sys.argv[1]] else [])" "$1")
if [ -n "$torch" ] && ! ls build/torch/*.whl >/dev/null 2>&1; then
    .venv/bin/pip download -q --no-deps -d build/torch "$torch"
fi
$uv pip install -q --python "$new" ${torch:+--find-links build/torch} --group framework --group "$1"
echo "$PWD" > "$($new -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/streamce.pth"
