#!/usr/bin/env bash
# Make .venv-NAME: the packages of the dependency group NAME, and streamce as .venv has compiled it. The tests of each
# framework have an environment of their own, because the requirements of frameworks conflict. pip is used, because it
# finds a torch without CUDA where one is offered.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m venv --clear ".venv-$1"
new=.venv-$1/bin/python
$new -m pip install -q --upgrade 'pip>=25.1' # the first version with --group
$new -m pip install -q --group framework --group "$1"
echo "$PWD" > "$($new -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/streamce.pth"
