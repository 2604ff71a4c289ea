#!/usr/bin/env bash
# Make .venv-VERSION: streamce, compiled for that Python, and the packages of the tests marked `core`, in the newest
# versions that have a wheel. VERSION is 3.12, 3.13t, ... or `oldest`: Python 3.11 with the oldest supported packages.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
version=$1 python=$1 resolution=highest uv=.venv/bin/uv
if [ "$version" = oldest ]; then
    python=3.11 resolution=lowest-direct
fi
interpreter=$(.venv/bin/python tools/fetch_python.py "$python")
$uv venv -q --clear --python "$interpreter" ".venv-$version"
new=.venv-$version/bin/python
into=(-q --python "$new")
if [ "${python%t}" != "$python" ]; then # msgspec, which reads JSON, has no build for a free-threaded 3.13
    echo 'msgspec; sys_platform == "none"' > "build/overrides-$version"
    into+=(--override "build/overrides-$version")
fi
# Only wheels, because the newest NumPy has none for some Pythons and takes half an hour to build from source.
$uv pip install "${into[@]}" --only-binary :all: --resolution "$resolution" -r pyproject.toml --extra watch --group test-core
if [ "${python%t}" != "$python" ]; then
    $uv pip install "${into[@]}" 'pytest-run-parallel>=0.4'
fi
echo "$PWD" > "$($new -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/streamce.pth"
# Compile in place, except for the Python of .venv: its extensions are compiled already.
if [ "$python" != "$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" ]; then
    $uv pip install "${into[@]}" 'setuptools>=77' 'Cython>=3.1'
    $new setup.py -q build_ext --inplace --build-temp "build/temp-$python" > "build/compiled-$version.log"
fi
