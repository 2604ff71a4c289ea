#!/usr/bin/env bash
# Run the checks that take too long for .ci/run. Each stage is a Make target. Needs Debian's clang, qemu-user-static
# and wine64.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/stages.sh

export PYTEST_ADDOPTS="--hypothesis-profile random"
stage test # makes .venv, which fetches Pythons
for version in 3.12 3.13 3.14; do
    if [ $version != 3.14 ] || .venv/bin/python tools/fetch_python.py $version; then
        stage "test-all-$version"
    fi
done
stage test-asan TESTS=
stage test-fuzz FUZZ="--seconds 600 --seed $RANDOM"
for target in test-frameworks test-tsan test-clang check-metadata wheels test-platforms; do
    stage $target
done
report
