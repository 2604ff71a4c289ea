"""The build keeps the promise of equal bits: no fast-math, no fused instructions, and no code for a single machine."""

import re
import subprocess
from pathlib import Path

import machine_code
import pytest
from paths import ROOT

from streamce.core.kernels import kernels as built

KERNELS = ROOT / "streamce" / "core" / "kernels"
EXACT = re.findall(r'"(-[^"]+)"', (ROOT / "setup.py").read_text().split("else [")[1].split("]")[0])
FLAGS = ["-O3", *EXACT]


def compiled(kernel, out, *flags):
    """Compile a kernel with the flags of setup.py and others, and return exit status and errors."""
    done = subprocess.run(
        ["cc", *FLAGS, *flags, "-c", KERNELS / f"{kernel}.c", "-o", out], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_the_flags_of_setup_py_are_the_ones_that_exactness_needs(tmp_path):
    assert EXACT == ["-std=c11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
    assert compiled(built.supported()[0], tmp_path / "kernel.o") == (0, "")


FAST_MATH = "streamce is exact: build it without -ffast-math or any part of it"
X87 = "streamce is exact: build it with -mfpmath=sse"
ON_X86 = "sse2" in built.supported()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("-ffast-math", FAST_MATH),
        ("-Ofast", FAST_MATH),
        ("-funsafe-math-optimizations", FAST_MATH),
        ("-ffinite-math-only", FAST_MATH),
        ("-freciprocal-math", FAST_MATH),
        ("-fno-signed-zeros", FAST_MATH),
        ("-fassociative-math -fno-signed-zeros", FAST_MATH),
        *[("-mfpmath=387", X87)] * ON_X86,
    ],
)
@pytest.mark.parametrize("kernel", [*built.supported(), "dispatch"])
def test_a_build_with_other_arithmetic_is_refused(kernel, flags, message, tmp_path):
    status, errors = compiled(kernel, tmp_path / "kernel.o", *flags.split())
    assert status != 0
    assert message in errors


@pytest.mark.parametrize("kernel", [*built.supported(), "dispatch"])
def test_kernels_compile_without_a_warning(kernel, tmp_path):
    assert compiled(kernel, tmp_path / "kernel.o", "-O1", "-Wall", "-Wextra", "-Werror") == (0, "")


def test_every_kernel_is_vectorised_and_nothing_is_fused():
    assert machine_code.problems(Path(built.__file__).parent.parent) == []


# AVX-512 and NEON contain fused instructions; AVX2 does not.
WIDEST = "avx512" if ON_X86 else "neon"


def code_of(out, *flags):
    assert compiled(WIDEST, out, *flags)[0] == 0
    return machine_code.disassembled(out, "objdump")


def test_fused_instructions_are_noticed(tmp_path):
    assert machine_code.fused(code_of(tmp_path / "kernel.o", "-ffp-contract=fast"))
    assert not machine_code.fused(code_of(tmp_path / "kernel.o"))


def test_lost_vectorisation_is_noticed(tmp_path):
    scalar = machine_code.packed(code_of(tmp_path / "kernel.o", "-fno-tree-vectorize", "-fno-tree-slp-vectorize"))
    built = machine_code.packed(code_of(tmp_path / "kernel.o"))
    for family in machine_code.FAMILIES:
        assert scalar[WIDEST, family] < machine_code.ENOUGH <= built[WIDEST, family]


def test_nothing_is_built_for_one_machine_alone():
    files = [path for form in ("*.toml", "setup.py", "Makefile", ".ci/*", "tools/*.*") for path in ROOT.glob(form)]
    for path in files:
        assert not re.search(r"-m(arch|tune|cpu)=|-Ofast|-ffast-math", path.read_text()), path
