#!/usr/bin/env bash
# Checks that take too long for .ci/run: run them before an issue is closed. A stage is a Make target.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/stages.sh

for target in test-all-3.12 test-all-3.13 test-all-3.14; do
    stage $target
done
report
