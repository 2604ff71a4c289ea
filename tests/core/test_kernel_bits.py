"""The digests that other platforms must print are those of all kernels of this library."""

import re
import subprocess
import sys

import pytest
from paths import ROOT, SUPPORT

from streamce.core.kernels import kernels

FOLDER = SUPPORT / "kernel_bits"
GOLDEN = (FOLDER / "bits.txt").read_text(encoding="ascii").splitlines()
# The harness, with the kernels of the extension in place of another build.
RUN = """
import ctypes, sys
ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
ctypes.CDLL(sys.argv[2]).main()
ctypes.CDLL(None).fflush(None)
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    harness = tmp_path_factory.mktemp("bits") / "harness.so"
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *warnings, "-shared", "-fPIC", FOLDER / "main.c", "-o", harness], check=True, timeout=300)
    command = [sys.executable, "-c", RUN, kernels.__file__, harness]
    return subprocess.run(command, check=True, timeout=300, capture_output=True, text=True).stdout.splitlines()


def test_every_instruction_set_gives_the_golden_bits(lines):
    found = {}
    for line in lines:
        isa, digest = line.split(" ", 1)
        found.setdefault(isa, []).append(digest)
    assert list(found) == list(kernels.supported())
    assert [isa for isa, digests in found.items() if sorted(digests) != GOLDEN] == []


def test_every_kernel_has_a_digest():
    table = (ROOT / "streamce" / "core" / "kernels" / "kernels.h").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\(\*(\w+)\)\(", table)) == [line.split()[0] for line in GOLDEN]
