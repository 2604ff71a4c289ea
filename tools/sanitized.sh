#!/usr/bin/env bash
# Runs a command with the library that tools/build_for.sh built for a sanitizer. Any report of the sanitizer, in this
# process or in one that it starts, fails the run and is shown.
#
#     tools/sanitized.sh asan|tsan COMMAND...
set -uo pipefail
cd "$(dirname "$0")/.."
check=$1 home=$PWD/build/$1 root=$PWD reports=$PWD/build/$1/reports
shift
rm -rf "$reports"
mkdir -p "$reports"
library() { realpath "$(${CC:-cc} -print-file-name="$1")"; }

# The library of this build comes before the one of .venv and before the working directory, here and in children.
environment=(PYTHONPATH="$home/lib:$root/tests" PYTHONSAFEPATH=1)
case $check in
asan)
    # libstdc++ too: AddressSanitizer looks for what throws C++ exceptions before pyarrow brings it.
    environment+=(LD_PRELOAD="$(library libasan.so) $(library libstdc++.so.6)")
    # Objects from malloc each, so that a byte beyond one of them is seen.
    environment+=(PYTHONMALLOC=malloc)
    # detect_leaks=0: CPython and NumPy keep what they allocated until the process is gone, so that a report of leaks
    # tells nothing of the core. allocator_may_return_null: without memory there is a MemoryError, which tests expect.
    # detect_stack_use_after_return stays off: it moves the frames that faulthandler and recursion limits measure.
    common="log_path=$reports/report"
    environment+=(ASAN_OPTIONS="$common:detect_leaks=0:allocator_may_return_null=1:halt_on_error=1")
    common="log_path=$reports/report"
    environment+=(UBSAN_OPTIONS="$common:print_stacktrace=1:halt_on_error=1")
    ;;
tsan)
    environment+=(LD_PRELOAD="$(library libtsan.so)")
    # CPython and NumPy are not instrumented: their locks are seen, their memory is not. A test may fork with threads.
    common="log_path=$reports/report"
    environment+=(TSAN_OPTIONS="$common:ignore_noninstrumented_modules=1:die_after_fork=0:halt_on_error=1")
    # Its shadow memory wants addresses that randomisation may have given away.
    set -- setarch -R "$@"
    ;;
*) echo "$check: expected asan or tsan" >&2 && exit 2 ;;
esac

env "${environment[@]}" "$@"
status=$?
found=$(find "$reports" -type f -size +0)
if [ -n "$found" ]; then
    cat $found
    echo "$check: $(wc -w <<< "$found") processes reported something"
    exit 1
fi
exit $status
