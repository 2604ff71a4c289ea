#!/usr/bin/env bash
# Run the checks that take too long for .ci/run. Each stage is a Make target.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/stages.sh

for target in test-all-3.12 test-all-3.13 test-all-3.14; do
    stage $target
done
report
