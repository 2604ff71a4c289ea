#!/usr/bin/env bash
# The library on arm64: built by Debian's cross compiler, run under qemu-user, held against the golden
# vectors that x86 is held against. Needs Debian, gcc-aarch64-linux-gnu and qemu-user-static. All else,
# arm64's own Python and NumPy, is unpacked in build/arm64 and not installed.
#
#     tools/test_arm64.sh PYTHON      a Python with pip, to build with
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "$1")
home=$PWD/build/arm64 root=$PWD/build/arm64/root
mkdir -p "$home"/apt/{lists,cache/archives}/partial "$root"

# An apt of our own, which knows nothing but arm64: this machine's packages stay as they are. Packages come
# from where Debian's come from here, so arm64's C library is no older than the cross compiler's.
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

# What it imports, as wheels for arm64; and what builds it, for this machine.
[ -d "$home/packages/numpy" ] || "$python" -m pip install -q --target "$home/packages" \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 \
    --python-version "$version" --only-binary=:all: numpy ml_dtypes pytest pytest-timeout hypothesis
[ -d "$home/build/Cython" ] || "$python" -m pip install -q --target "$home/build" \
    $("$python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')

# setup.py's own flags, and the compiler that arm64's Python names in its configuration.
mkdir -p "$home/config"
cp "$root/usr/lib/python$version/_sysconfigdata__aarch64-linux-gnu.py" "$home/config"
env PYTHONPATH="$home/config:$home/build" _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__aarch64-linux-gnu \
    _PYTHON_HOST_PLATFORM=linux-aarch64 CPPFLAGS="-I$root/usr/include/python$version -I$root/usr/include" \
    "$python" setup.py -q build -j2 --build-lib "$home/lib" --build-temp "$home/temp" > "$home/log" 2>&1 \
    || (cat "$home/log"; false)

"$python" tests/support/machine_code.py "$home/lib/streamce/core" aarch64-linux-gnu-objdump
"${emulated[@]}" tests/support/golden.py
# Its control word is another one than x86's.
"${emulated[@]}" -m pytest -q -p no:cacheprovider tests/core/test_simd.py -k "mode or control_word or exponentials"
