#!/usr/bin/env bash
# Run a command with the library that tools/build_for.sh built for a sanitizer. If the sanitizer reports anything, in
# this process or in one that it starts, show the report and fail.
#
#     tools/sanitized.sh asan|tsan COMMAND...
set -uo pipefail
cd "$(dirname "$0")/.."
check=$1 home=$PWD/build/$1 root=$PWD reports=$PWD/build/$1/reports
shift
rm -rf "$reports"
mkdir -p "$reports"
common="log_path=$reports/report"
library() { realpath "$(${CC:-cc} -print-file-name="$1")"; }

# Import this build's library, and not that of .venv or of the working directory, here and in children.
environment=(PYTHONPATH="$home/lib:$root/tests/support" PYTHONSAFEPATH=1)
case $check in
asan)
    # libstdc++ too, because AddressSanitizer looks up the function that throws C++ exceptions before pyarrow loads it.
    environment+=(LD_PRELOAD="$(library libasan.so) $(library libstdc++.so.6)")
    # Allocate each object with malloc, so that an access one byte beyond it is reported.
    environment+=(PYTHONMALLOC=malloc)
    # detect_leaks=0, because CPython and NumPy never free some memory, so reports of leaks would not concern the core.
    # allocator_may_return_null=1, because tests expect a MemoryError if memory runs out. detect_stack_use_after_return
    # stays off, because it moves the frames that faulthandler and recursion limits measure.
    environment+=(ASAN_OPTIONS="$common:detect_leaks=0:allocator_may_return_null=1:halt_on_error=1")
    environment+=(UBSAN_OPTIONS="$common:print_stacktrace=1:halt_on_error=1")
    ;;
tsan)
    environment+=(LD_PRELOAD="$(library libtsan.so)")
    # CPython and NumPy are not instrumented: the sanitizer sees their locks, but not their accesses to memory.
    # die_after_fork=0, because a test may fork with threads.
    environment+=(TSAN_OPTIONS="$common:ignore_noninstrumented_modules=1:die_after_fork=0:halt_on_error=1")
    # No address randomisation, because it may use addresses that the sanitizer needs for its shadow memory.
    set -- setarch -R "$@"
    ;;
*) echo "$check: expected asan or tsan" >&2 && exit 2 ;;
esac

env "${environment[@]}" "$@"
status=$?
found=$(find "$reports" -type f -size +0)
if [ -n "$found" ]; then
    cat $found
    echo "$check: $(wc -w <<< "$found") report(s)"
    exit 1
fi
exit $status
