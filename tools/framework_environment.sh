#!/usr/bin/env bash
# Make .venv-NAME: the packages of the dependency group NAME, and streamce as .venv has compiled it. The tests of each
# framework have an environment of their own, because the requirements of frameworks conflict. pip installs torch,
# because it finds a build without CUDA where one is offered. uv installs the rest, because it is faster.
set -euo pipefail
cd "$(dirname "$0")/.."
new=.venv-$1/bin/python uv=.venv/bin/uv
$uv venv -q --clear --python .venv/bin/python ".venv-$1"
torch=$(.venv/bin/python -c "
import sys, tomllib
groups = tomllib.load(open('pyproject.toml', 'rb'))['dependency-groups']
print(*groups['torch'] if {'include-group': 'torch'} in groups[sys.argv[1]] else [])" "$1")
[ -z "$torch" ] || .venv/bin/pip -q --python "$new" install $torch
$uv pip install -q --python "$new" --group framework --group "$1"
echo "$PWD" > "$($new -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/streamce.pth"
