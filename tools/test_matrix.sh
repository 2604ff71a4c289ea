#!/usr/bin/env bash
# Run the tests marked `core` on every Python. The last line, also in build/matrix, says on which. Only 3.14 may be
# absent: pyenv does not have it on every machine.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
ran=()
for version in 3.12 3.13 3.13t oldest; do
    make --no-print-directory "test-core-$version"
    ran+=("$version")
done
if reason=$(.venv/bin/python tools/fetch_python.py 3.14 2>&1); then
    make --no-print-directory test-core-3.14
    ran+=(3.14)
else
    echo "$reason"
    ran+=("not 3.14, which cannot be had here")
fi
printf -v line ', %s' "${ran[@]}"
echo "Pythons of the core tests: ${line:2}" | tee build/matrix
