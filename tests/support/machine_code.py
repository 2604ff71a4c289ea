"""Checks the machine code of the extensions: they use vectors, and no fused multiply-add.

    python tests/support/machine_code.py FOLDER [OBJDUMP]     checks the extensions in a folder and in those below it

A fused multiply-add rounds once, but a product and a sum round twice, so the bits would differ.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

FUSED = re.compile(r"\tvfn?m(?:add|sub)|\tfn?m(?:add|sub)\b|\tfml[as]\b")
# Vector products of each instruction set. An SSE2 kernel that was built with -march=native would contain AVX
# instructions, and would crash on other machines.
PACKED = {
    "sse2": re.compile(r"\tmulp[sd]\b"),
    "avx2": re.compile(r"\tvmulp[sd]\b.*%ymm"),
    "avx512": re.compile(r"\tvmulp[sd]\b.*%zmm"),
    "neon": re.compile(r"\tfmul\tv\d+\.(?:4s|2d)"),
}
# The kernels that consist mostly of products, by the start and end of their names.
FAMILIES = {
    "softmax, float32": r"softmax_(?:rows|soft)_f32\b",
    "softmax, float64": r"softmax_(?:rows|soft)_f64\b",
    "costs of softmax": r"softmax_costs_\w*",
    "neg_log": r"neg_log_\w*",
    "binary_probs, float32": "binary_probs_f32",
    "binary_probs, float64": "binary_probs_f64",
    "binary_log_probs": "binary_log_probs",
    "binary_logits, float32": "binary_logits_f32",
    "binary_logits, float64": "binary_logits_f64",
    "softmax_gradient, float32": r"softmax_gradient_f32\b|softmax_slopes_f32",
    "softmax_gradient, float64": r"softmax_gradient_f64\b|softmax_slopes_f64",
    "ctc": "ctc_(?:emissions|forward)",
    "ctc of losses near 0": "ctc_(?:shares|leak)",
}
# Count products of floats and doubles together, because clang may use half a register for floats.
MIXED = {("avx512", "binary_probs, float32"): re.compile(r"\tvmulps\b.*%[yz]mm")}
ENOUGH = 8  # products in a loop over a polynomial; kernels that are not vectorised have none, or few by chance


def disassembled(path: Path, objdump: str) -> str:
    run = [objdump, "-d", "--no-show-raw-insn", str(path)]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


def fused(code: str) -> list[str]:
    return [line.strip() for line in code.splitlines() if FUSED.search(line)]


def packed(code: str) -> Counter[tuple[str, str]]:
    """Count the vector products of each instruction set in each family of kernels."""
    found: Counter[tuple[str, str]] = Counter()
    family = None
    for line in code.splitlines():
        if start := re.match(r"[0-9a-f]+ <([\w.]+)", line):
            family = next((name for name, form in FAMILIES.items() if re.match(form, start[1])), None)
        elif family and "mul" in line:
            forms = {simd: MIXED.get((simd, family), form) for simd, form in PACKED.items()}
            found.update((simd, family) for simd, form in forms.items() if form.search(line))
    return found


def problems(folder: Path, objdump: str = "objdump") -> list[str]:
    """Return the faults of the extensions in a folder."""
    found = []
    paths = sorted(folder.rglob("*.so"))
    for path in paths:
        code = disassembled(path, objdump)
        found += [f"{path.name} multiplies and adds at once: {line}" for line in fused(code)[:3]]
        if path.name.startswith("kernels."):
            counts = packed(code)
            sets = ["neon"] if any(simd == "neon" for simd, _ in counts) else ["sse2", "avx2", "avx512"]
            found += [
                f"{family} is not vectorised for {simd}: {counts[simd, family]} packed products"
                for simd in sets
                for family in FAMILIES
                if counts[simd, family] < ENOUGH
            ]
    return found if paths else [f"{folder} has no extensions"]


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]), *sys.argv[2:])
    print("\n".join(wrong) if wrong else f"{sys.argv[1]}: every kernel is vectorised, and nothing is fused")
    sys.exit(bool(wrong))
