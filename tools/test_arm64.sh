#!/usr/bin/env bash
# Test the library on arm64: build it with Debian's cross compiler, run it under qemu-user, and compare it with the
# golden vectors of x86. Needs Debian, gcc-aarch64-linux-gnu and qemu-user-static. Python and NumPy for arm64 are
# unpacked in build/arm64 and not installed.
#
#     tools/test_arm64.sh PYTHON      a Python with pip, to build with
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "$1")
home=$PWD/build/arm64 root=$PWD/build/arm64/root
mkdir -p "$home"/apt/{lists,cache/archives}/partial "$root"

# Use a separate configuration of apt for arm64, so that the packages of this machine stay unchanged. It has the
# archives of this machine, so that the C library of arm64 is not older than that of the cross compiler.
sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list
apt=(-qq -o Dir::State="$home/apt" -o Dir::State::status=/dev/null -o Dir::Cache="$home/apt/cache"
    -o Dir::Etc::sourcelist="$sources" -o Dir::Etc::sourceparts=-
    -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root)
if [ ! -e "$home/unpacked" ]; then
    apt-get "${apt[@]}" update
    version=$(apt-cache "${apt[@]}" depends python3 | sed -n 's/^ *Depends: python\(3\.[0-9]*\)$/\1/p')
    (cd "$home/apt" && apt-get "${apt[@]}" download "python$version-minimal" "libpython$version-minimal" \
        "libpython$version-stdlib" "libpython$version-dev" libc6 libgcc-s1 libstdc++6 libffi8 libexpat1 zlib1g)
    for package in "$home"/apt/*.deb; do dpkg -x "$package" "$root"; done
    echo "$version" > "$home/unpacked"
fi
version=$(< "$home/unpacked")
emulated=(env PYTHONPATH="$home/lib:$home/packages" qemu-aarch64-static -L "$root" "$root/usr/bin/python$version" -P)

# Install its imports as wheels for arm64, and the build tools for this machine.
[ -d "$home/packages/numpy" ] || "$python" -m pip install -q --target "$home/packages" \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
    --python-version "$version" --only-binary=:all: numpy ml_dtypes pytest pytest-timeout hypothesis
[ -d "$home/build/Cython" ] || "$python" -m pip install -q --target "$home/build" \
    $("$python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')

# Use the flags of setup.py, and the compiler that the configuration of arm64's Python names.
mkdir -p "$home/config"
cp "$root/usr/lib/python$version/_sysconfigdata__aarch64-linux-gnu.py" "$home/config"
env PYTHONPATH="$home/config:$home/build" _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__aarch64-linux-gnu \
    _PYTHON_HOST_PLATFORM=linux-aarch64 CPPFLAGS="-I$root/usr/include/python$version -I$root/usr/include" \
    "$python" setup.py -q build -j2 --build-lib "$home/lib" --build-temp "$home/temp" > "$home/log" 2>&1 \
    || (cat "$home/log"; false)

"$python" tests/support/machine_code.py "$home/lib/streamce/core" aarch64-linux-gnu-objdump
"${emulated[@]}" tests/support/golden.py
# Run the control word tests too, because arm64 has another control word than x86.
"${emulated[@]}" -m pytest -q -p no:cacheprovider tests/core/test_simd.py -k "mode or control_word or exponentials"
