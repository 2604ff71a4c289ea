#!/usr/bin/env bash
# Build the library into build/CHECK/lib, for a check that needs other flags or another compiler than .venv:
#
#     tools/build_for.sh asan|tsan|clang PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."
check=$1 python=$(realpath -s "$2") home=$PWD/build/$1 tools=$PWD/build/tools
sanitizer="-O1 -g1 -fno-omit-frame-pointer"
case $check in
# "undefined" covers alignment, bounds, shifts and overflow, but not conversions of doubles to integers that cannot hold
# them. bounds-strict stays off, because CPython 3.11 declares arrays of variable length as arrays of one item.
asan) flags="$sanitizer -fsanitize=address,undefined,float-cast-overflow" ;;
tsan) flags="$sanitizer -fsanitize=thread" ;;
clang)
    flags="-Wall -Wextra -Werror"
    export CC="${CLANG:-clang}"
    ;;
*) echo "$check: expected asan, tsan or clang" >&2 && exit 2 ;;
esac

# Packages for the build, because .venv has no Cython.
[ -d "$tools/Cython" ] || "$python" -m pip install -q --target "$tools" \
    $("$python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')

# Remove objects that were compiled with other flags.
mkdir -p "$home"
[ "$(cat "$home/flags" 2>/dev/null)" = "$flags" ] || rm -rf "$home/lib" "$home/temp"
echo "$flags" > "$home/flags"
env PYTHONPATH="$tools" STREAMCE_CFLAGS="$flags" "$python" setup.py -q build \
    --build-lib "$home/lib" --build-temp "$home/temp" > "$home/log" 2>&1 || (cat "$home/log"; false)
