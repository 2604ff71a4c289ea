#!/usr/bin/env bash
# Build wheels that run on other Linux systems than this one, with the compiler and C libraries of the PyPI package
# ziglang: manylinux_2_17 and musllinux_1_2. auditwheel and check-wheel-contents have to approve of each wheel.
#
#     tools/build_wheels.sh PYTHON [TARGET ...]      a Python with the dependency group wheels; zig's target triples
#
# The wheels are for that Python's version. They are built from the sdist, so that nothing else gets into them.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath -s "$1")
shift
targets=("$@")
[ $# -gt 0 ] || targets=(x86_64-linux-gnu.2.17 x86_64-linux-musl)
home=build/wheels
rm -rf "$home"
mkdir -p "$home"
"$python" -m build -q --sdist --outdir "$home" . > "$home/log"
# The program itself: the environment in which pip builds does not have the package.
zig=$("$python" -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent / "zig")')
version=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI").split("-")[1])')

for target in "${targets[@]}"; do
    machine=${target%%-*}
    case $target in
        *-gnu*) platform=manylinux_${target#*-gnu.} libc=gnu ;;
        *-musl*) platform=musllinux_1.2 libc=musl ;;
    esac
    compiler="$zig cc -target $target"
    # LDSHARED as a whole, because this machine's may name folders of its own.
    env CC="$compiler" LDSHARED="$compiler -shared" _PYTHON_HOST_PLATFORM="linux-$machine" \
        SETUPTOOLS_EXT_SUFFIX=".cpython-$version-$machine-linux-$libc.so" \
        "$python" -m pip wheel -q --no-deps --wheel-dir "$home/$target" "$home"/*.tar.gz
    PATH="$(dirname "$python"):$PATH" "$python" -m auditwheel repair --plat "${platform//./_}_$machine" --only-plat \
        --wheel-dir "$home" "$home/$target"/*.whl
done
"$python" -m check_wheel_contents "$home"/*.whl
ls -l "$home"/*.whl
