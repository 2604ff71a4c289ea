"""Fit the polynomials of the kernels and print ``streamce/core/kernels/polynomials.h``.

    python tools/fit_polynomials.py > streamce/core/kernels/polynomials.h

Each polynomial minimises the largest relative error of its function (Remez exchange in 60 digits). It is never a
truncated series. Coefficients of floats are rounded one after another. The rest is fitted again after each rounding, so
that later coefficients compensate for the rounding of earlier ones.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp

mp.mp.dps = 60
Function = Callable[[Any], Any]
FLOOR = mp.mpf("0.01")  # least weight, because the exchange needs positive weights


def rounded(value: Any, type_: str) -> float:
    return float(value) if type_ == "double" else struct.unpack("f", struct.pack("f", float(value)))[0]


def remez(target: Function, weight: Function, a: Any, b: Any, degrees: Sequence[int]) -> list[Any]:
    """Return the coefficients c of Σ c_i x^degrees[i] that minimise max |weight · (target − Σ)|."""
    n = len(degrees)
    points = [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n + 2)) for i in range(n + 1)]
    coefficients: list[Any] = []
    for _ in range(12):
        rows = [[x**d for d in degrees] + [(-1) ** i / weight(x)] for i, x in enumerate(points)]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([target(x) for x in points]))
        coefficients = [solution[i] for i in range(n)]

        def error(x: Any, coefficients: Sequence[Any] = tuple(coefficients)) -> Any:
            return weight(x) * (target(x) - sum(c * x**d for c, d in zip(coefficients, degrees, strict=True)))

        # The next points are those of the largest error between two changes of its sign.
        grid = [a + (b - a) * (1 - mp.cos(mp.pi * i / 800)) / 2 for i in range(801)]
        values = [error(x) for x in grid]
        if max(map(abs, values)) < mp.mpf(10) ** (9 - mp.mp.dps):
            break
        best: list[tuple[Any, Any]] = []
        for x, v in zip(grid, values, strict=True):
            if best and (v >= 0) == (best[-1][1] >= 0):
                if abs(v) > abs(best[-1][1]):
                    best[-1] = (x, v)
            else:
                best.append((x, v))
        while len(best) > n + 1:
            best.pop(0 if abs(best[0][1]) < abs(best[-1][1]) else -1)
        if len(best) < n + 1:
            break
        points = [x for x, _ in best]
    return coefficients


def fit(name: str, what: str, type_: str, target: Function, weight: Function, a: Any, b: Any, degree: int) -> None:
    a, b = mp.mpf(a), mp.mpf(b)
    fixed: dict[int, float] = {}
    for k in range(degree + 1):
        free = [d for d in range(degree + 1) if d not in fixed]
        known = dict(fixed)

        def rest(x: Any, known: dict[int, float] = known) -> Any:
            return target(x) - sum(mp.mpf(c) * x**d for d, c in known.items())

        found = remez(rest, weight, a, b, free)
        if type_ == "double":  # the rounding error is smaller than that of the fit
            fixed = {d: rounded(c, type_) for d, c in enumerate(found)}
            break
        fixed[k] = rounded(found[0], type_)
    xs = [a + (b - a) * i / 2000 for i in range(2001)]
    worst = max(abs(weight(x) * (target(x) - sum(mp.mpf(c) * x**d for d, c in fixed.items()))) for x in xs)
    print(f"\n/* {what}; weighted error {mp.nstr(worst, 2)} */")
    print(f"static const {type_} {name}[{degree + 1}] = {{")
    suffix = "f" if type_ == "float" else ""
    for k in range(degree + 1):
        print(f"    {fixed[k]!r}{suffix},")
    print("};")


def exp_rest(r: Any) -> Any:
    if abs(r) < 1e-10:  # because the difference would cancel
        return mp.mpf(1) / 2 + r / 6 + r**2 / 24
    return (mp.exp(r) - 1 - r) / r**2


def atanh_rest(z: Any) -> Any:
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) / s - 2) / z if z else mp.mpf(2) / 3


def decay(z: Any) -> Any:
    return -mp.expm1(-z) / z if z else mp.mpf(1)


if __name__ == "__main__":
    half = mp.log(2) / 2 * mp.mpf("1.0001")
    print("/* Written by tools/fit_polynomials.py: minimax coefficients, lowest degree first. */")
    print("#ifndef STREAMCE_POLYNOMIALS_H\n#define STREAMCE_POLYNOMIALS_H")
    for name, type_, degree in (("EXP32", "float", 4), ("EXP64", "double", 9)):
        fit(
            name,
            "(e^r - 1 - r) / r^2, |r| <= ln(2)/2",
            type_,
            exp_rest,
            lambda r: (r**2 + FLOOR * half**2) / mp.exp(r),
            -half,
            half,
            degree,
        )
    s = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
    fit(
        "LOG64",
        "(2 atanh(s)/s - 2) / z, z = s^2, 1+f between sqrt(1/2) and sqrt(2)",
        "double",
        atanh_rest,
        lambda z: z + FLOOR * s**2,
        0,
        s**2 * mp.mpf("1.0001"),
        6,
    )
    fit(
        "LOG32",
        "(2 atanh(s)/s - 2) / z, z = s^2, 1+f between 1 and 2",
        "float",
        atanh_rest,
        lambda z: z + FLOOR / 9,
        0,
        mp.mpf(1) / 9,
        4,
    )
    fit(
        "DECAY64",
        "(1 - e^-z) / z, 0 <= z <= ln 2",
        "double",
        decay,
        lambda z: 1 / decay(z),
        0,
        mp.log(2) * mp.mpf("1.0001"),
        11,
    )
    print("\n#endif")
