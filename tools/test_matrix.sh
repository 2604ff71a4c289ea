#!/usr/bin/env bash
# Run the tests marked `core` on every Python. The last line, also in build/matrix, lists them. Only 3.14 may be
# missing, because not every machine can get it.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
ran=()
for version in 3.12 3.13 3.13t oldest; do
    make --no-print-directory "test-core-$version"
    ran+=("${version/oldest/3.11 with the oldest packages}")
done
if reason=$(.venv/bin/python tools/fetch_python.py 3.14 2>&1); then
    make --no-print-directory test-core-3.14
    ran+=(3.14)
else
    echo "$reason"
    ran+=("but not 3.14, which this machine cannot get")
fi
printf -v line ', %s' "${ran[@]}"
echo "Pythons of the core tests: ${line:2}" | tee build/matrix
