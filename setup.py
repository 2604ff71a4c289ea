import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

# Exactness rests on these: see the note at the head of streamce/core/kernels/kernels.h.
EXACT = (
    ["/fp:precise"]
    if sys.platform == "win32"
    else ["-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
)
# Only the kernels gain from -O3. Debug information would be two thirds of what is installed.
KERNEL_SPEED, SPEED = (["/O2"], ["/O2"]) if sys.platform == "win32" else (["-O3", "-g0"], ["-O2", "-g0"])
# What comes last wins: sanitizers, warnings, another level of optimisation.
LAST = os.environ.get("STREAMCE_CFLAGS", "").split()
# One job per core: setuptools compiles one extension at a time unless it is told otherwise.
JOBS = os.cpu_count() or 1
CORE = "streamce/core"
# Each imports from those before it.
MODULES = (
    "kernels", "ledger", "arrays", "blocks", "reading", "elements", "rows", "gradients", "calibration", "losses",
    "samples", "window", "decay", "keys", "groups", "pairs", "pipeline", "ctc",
)  # fmt: skip
KERNELS = [f"{CORE}/kernels/{name}.c" for name in ("dispatch", "sse2", "avx2", "avx512", "neon", "generic")]
# Those that Cython does not see: it adds what a module or what it cimports names.
HEADERS = [
    f"{CORE}/kernels/{name}.h"
    for name in (
        "kernels", "control", "body", "scalar", "rows", "gradients", "elements", "ctc", "exact", "convert",
        "polynomials",
    )
]  # fmt: skip

if __name__ == "__main__":  # the processes that cythonize starts import this file again (Python 3.14: forkserver)
    setup(
        ext_modules=cythonize(
            [
                Extension(
                    f"streamce.core.{name}",
                    [f"{CORE}/{name}.pyx", *(KERNELS if name == "kernels" else [])],
                    extra_compile_args=[*EXACT, *(KERNEL_SPEED if name == "kernels" else SPEED), *LAST],
                    extra_link_args=LAST,
                    depends=HEADERS if name == "kernels" else [],
                )
                for name in MODULES
            ],
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
