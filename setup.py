import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Exactness depends on these flags: see the note at the head of streamce/core/kernels/kernels.h.
EXACT = (
    ["/fp:precise"]
    if sys.platform == "win32"
    else ["-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
)
# Only the kernels and the gradients' loops gain from -O3. Debug information would be two thirds of the installed size.
FULL_SPEED, SPEED = (["/O2"], ["/O2"]) if sys.platform == "win32" else (["-O3", "-g0"], ["-O2", "-g0"])
# These flags come last and so override others: sanitizers, warnings, another level of optimisation.
LAST = os.environ.get("STREAMCE_CFLAGS", "").split()
# One job per processor, because setuptools compiles one extension at a time by default.
JOBS = os.cpu_count() or 1
CORE = Path("streamce/core")
KERNELS = CORE / "kernels"
# Cython writes its C files here, so that all C files under streamce/ are sources.
GENERATED = "build/cython"
FAST = ("kernels", "gradients")


class ParallelBuild(build_ext):
    """Compile the C files of one extension side by side, because the kernels' files are a third of all the work."""

    def build_extensions(self):
        compile_all = self.compiler.compile

        def compile_each(sources, **options):
            with ThreadPoolExecutor(JOBS) as pool:
                found = pool.map(lambda source: compile_all([source], **options), sources)
                return [path for paths in found for path in paths]

        self.compiler.compile = compile_each
        super().build_extensions()


def extension(source, more=(), depends=()):
    """Return the extension of a Cython file, whose name is that of its module."""
    return Extension(
        ".".join(source.with_suffix("").parts),
        [source.as_posix(), *more],
        extra_compile_args=[*EXACT, *(FULL_SPEED if source.stem in FAST else SPEED), *LAST],
        extra_link_args=LAST,
        depends=list(depends),
    )


def extensions():
    """Return all extensions. The kernels come first, because they take longest to compile."""
    found = sorted(CORE.glob("*/*.pyx"))
    kernels = found.pop(found.index(KERNELS / "kernels.pyx"))
    sources = [(KERNELS / f"{name}.c").as_posix() for name in ("dispatch", "sse2", "avx2", "avx512", "neon", "generic")]
    # Cython tracks only headers that a module, or one that it cimports, names.
    headers = sorted(path.as_posix() for path in KERNELS.glob("*.h"))
    return [extension(kernels, sources, headers), *map(extension, found)]


if __name__ == "__main__":  # processes that cythonize starts import this file again (Python 3.14: forkserver)
    setup(
        cmdclass={"build_ext": ParallelBuild},
        ext_modules=cythonize(
            extensions(),
            build_dir=GENERATED,
            nthreads=JOBS,
            compiler_directives={
                "language_level": 3,
                "boundscheck": False,
                "wraparound": False,
                "initializedcheck": False,
                "cdivision": True,
                "embedsignature": True,
                "freethreading_compatible": True,
            },
        ),
        options={"build_ext": {"parallel": JOBS}},
    )
