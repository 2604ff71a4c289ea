"""All measurements of a run, and the figures that tables need from them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.turns import READING, Measurement

AVX2 = "streamce, AVX2 forced"


class Results:
    def __init__(self, *, quick: bool, repeats: int) -> None:
        self.quick, self.repeats = quick, repeats
        self.versions: list[str] = []
        self.seconds = 0.0
        self.all: list[Measurement] = []
        self._by_name: dict[tuple[str, str, str, int], Measurement] = {}

    def add(self, found: Iterable[Measurement]) -> None:
        for one in found:
            self.all.append(one)
            if not one.failed:
                self._by_name[one.case.name, one.form, one.contender.name, one.contender.threads] = one

    def get(self, case: str, form: str, name: str, threads: int = 1) -> Measurement | None:
        return self._by_name.get((case, form, name, threads))

    def of(self, case: Case, form: str) -> list[Measurement]:
        """Return the measurements of all contenders in a case and form, the fastest first."""
        found = [one for one in self._by_name.values() if one.case == case and one.form == form]
        return sorted(found, key=lambda one: one.ns)

    def failures(self) -> list[Measurement]:
        return [one for one in self.all if one.failed]

    def best_rival(self, case: Case, form: str, threads: int) -> Measurement | None:
        """Return the measurement of the fastest rival with at most this many threads."""
        rivals = (one for one in self.of(case, form) if not (one.contender.ours or one.contender.yardstick))
        return next((one for one in rivals if one.contender.threads <= threads), None)

    def against_best(self, one: Measurement) -> float | None:
        """Return the time of the best rival divided by that of this measurement."""
        best = self.best_rival(one.case, one.form, one.contender.threads)
        return best.ns / one.ns if best and not one.contender.yardstick else None

    def against_reading(self, one: Measurement) -> float | None:
        """Return the time divided by that of reading the arrays once with the same number of threads."""
        reading = self.get(one.case.name, one.form, READING, one.contender.threads)
        return one.ns / reading.ns if reading and one.contender.name != READING else None

    @property
    def simd(self) -> str:
        """The instruction set of streamce if none is forced."""
        ours = next((version for version in self.versions if version.startswith("streamce") and "," in version), "")
        return ours.rpartition(", ")[2]


def shown(value: float | None) -> str:
    """Return a number with three digits and without an exponent."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> str:
    """Return the name and the number of processors, and the system."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    name = model[1] if model else platform.processor() or platform.machine()
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {count} processors, {platform.system()}"
