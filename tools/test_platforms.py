"""Compare the kernels' bits on other platforms.

The kernels and tests/support/kernel_bits/main.c are compiled with zig and run here. Their output must equal
tests/support/kernel_bits/bits.txt.

    python tools/test_platforms.py [PLATFORM ...]      all of PLATFORMS, or those named

Needs the dependency group platforms, and Debian's qemu-user-static and wine64. macOS programs are only compiled and
linked, because they cannot run here. All files go to build/platforms/.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "platforms"
HARNESS = ROOT / "tests" / "support" / "kernel_bits"
KERNELS = ROOT / "streamce" / "core" / "kernels"
# The flags that setup.py gives to all compilers except Microsoft's.
EXACT = re.findall(r'"(-[^"]+)"', (ROOT / "setup.py").read_text(encoding="utf-8").split("else [")[1].split("]")[0])
WASI = """
import { WASI } from "node:wasi";
import { readFileSync } from "node:fs";
const wasi = new WASI({ version: "preview1" });
const module = await WebAssembly.compile(readFileSync(process.argv[2]));
wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
"""
# The platforms by name: zig's target, and the command that runs its programs (None if they cannot run here).
PLATFORMS = {
    "musl": ("x86_64-linux-musl", []),
    "musl-arm64": ("aarch64-linux-musl", ["qemu-aarch64-static"]),
    "big-endian": ("s390x-linux-musl", ["qemu-s390x-static"]),
    "wasm": ("wasm32-wasi", ["node", "--no-warnings", str(BUILD / "wasi.mjs")]),
    "windows": ("x86_64-windows-gnu", ["wine64"]),
    "macos-x86": ("x86_64-macos", None),
    "macos-arm64": ("aarch64-macos", None),
}
# Debian does not put this folder on PATH.
WHERE = {"wine64": "/usr/lib/wine/wine64"}
COMPILING, RUNNING = 1800, 900  # longest times in seconds


def compiled(platform: str) -> Path:
    """Compile the harness for a platform and return the program."""
    target, _ = PLATFORMS[platform]
    folder = BUILD / platform
    folder.mkdir(parents=True, exist_ok=True)
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-O3", "-g0", *EXACT]
    objects = []
    for source in (HARNESS / "main.c", *sorted(KERNELS.glob("*.c"))):
        objects.append(str(folder / f"{source.stem}.o"))
        subprocess.run([*zig, "-w", "-c", str(source), "-o", objects[-1]], check=True, timeout=COMPILING)
    program = folder / "kernel_bits.exe"
    subprocess.run([*zig, *objects, "-o", str(program)], check=True, timeout=COMPILING)
    return program


def command_of(platform: str, program: Path) -> list[str]:
    runner = PLATFORMS[platform][1] or []
    if runner:
        # Node of the dependency group comes first, because WASI needs version 20 or newer.
        folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        found = shutil.which(runner[0], path=folders) or WHERE.get(runner[0])
        if not found or not Path(found).exists():
            sys.exit(f"{platform}: {runner[0]} is not installed (Debian: qemu-user-static, wine64)")
        runner = [found, *runner[1:]]
    return [*runner, str(program)]


def printed(command: list[str]) -> list[str]:
    environment = os.environ | {"WINEPREFIX": str(BUILD / "wine"), "WINEDEBUG": "-all"}
    done = subprocess.run(command, check=True, timeout=RUNNING, env=environment, stdout=subprocess.PIPE)
    return done.stdout.decode().split("\n")[:-1]


def differences(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the instruction sets in the lines, and the entries that differ from bits.txt."""
    golden = dict(line.split() for line in (HARNESS / "bits.txt").read_text(encoding="ascii").splitlines())
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        isa, kernel, digest = line.split()
        found.setdefault(isa, {})[kernel] = digest
    wrong = [
        f"{isa} {kernel}"
        for isa, digests in found.items()
        for kernel in sorted(golden.keys() | digests.keys())
        if golden.get(kernel) != digests.get(kernel)
    ]
    return [*found], wrong if found else ["nothing printed"]


def main(names: list[str]) -> int:
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / "wasi.mjs").write_text(WASI, encoding="utf-8")
    chosen = names or [*PLATFORMS]
    failed = False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for platform, program in zip(chosen, pool.map(compiled, chosen), strict=True):
            if PLATFORMS[platform][1] is None:
                print(f"{platform}: compiles and links; cannot run here", flush=True)
                continue
            start = time.perf_counter()
            sets, wrong = differences(printed(command_of(platform, program)))
            failed |= bool(wrong)
            what = f"DIFFERENT: {', '.join(wrong)}" if wrong else f"the golden bits ({', '.join(sets)})"
            print(f"{platform}: {what}, run in {time.perf_counter() - start:.1f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
