"""The marks: figures that this library is meant to reach, compared with those measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cases import ALL, BATCHES, CHUNKS, FILE, LINES, LISTS, ONCE, SCALARS, SMALL
from benchmarks.results import AVX2, Results, shown
from benchmarks.turns import PLAIN, READING, Measurement

OURS, TORCH, COMPILED = "streamce", "torch", "torch.compile"
BIG = (ONCE, CHUNKS)
Figure = Callable[[str, str], float | None]  # a function of a case and a form


@dataclass(frozen=True)
class Mark:
    """One target. ``reached`` is None if this run did not measure it."""

    case: str
    mark: str
    measured: str
    reached: bool | None


def f32(*classes: int) -> list[str]:
    return [f"logits float32, C = {c}" for c in classes]


class Judge:
    """Compares the worst of some figures with a limit."""

    def __init__(self, found: Results) -> None:
        self.found = found
        self.marks: list[Mark] = []

    def at_most(self, case: str, mark: str, limit: float, figure: Figure, names: Sequence[str], forms: Iterable[str],
                unit: str = "x") -> None:  # fmt: skip
        self._judge(case, mark, figure, names, forms, unit, lambda value: value - limit)

    def at_least(self, case: str, mark: str, limit: float, figure: Figure, names: Sequence[str], forms: Iterable[str],
                 unit: str = "x") -> None:  # fmt: skip
        self._judge(case, mark, figure, names, forms, unit, lambda value: limit - value)

    def _judge(self, case: str, mark: str, figure: Figure, names: Sequence[str], forms: Iterable[str], unit: str,
               excess: Callable[[float], float]) -> None:  # fmt: skip
        pairs = [(name, form) for name in names for form in forms]
        values = {pair: value for pair in pairs if (value := figure(*pair)) is not None}
        if not values:
            self.marks.append(Mark(case, mark, "not measured", None))
            return
        name, form = max(values, key=lambda pair: excess(values[pair]))
        where = f" (the worst of {len(values)}: {name}, {form})" if len(values) > 1 else ""
        value = values[name, form]
        self.marks.append(Mark(case, mark, f"{shown(value)} {unit}{where}", excess(value) <= 0))

    # ---- figures ----

    def ns(self, who: str = OURS, threads: int = 1) -> Figure:
        return lambda name, form: _ns(self.found.get(name, form, who, threads))

    def faster(self, rival: str, threads: int = 1, who: str = OURS) -> Figure:
        """Return the figure: a rival's time divided by ours."""
        return self.ratio(self.ns(rival, threads), self.ns(who, threads))

    def readings(self, who: str) -> Figure:
        """Return the figure: best time of two threads, divided by the best time in which two threads read the data."""

        def figure(name: str, form: str) -> float | None:
            one, reading = self.found.get(name, form, who, 2), self.found.get(name, form, READING, 2)
            return one.best_ns / reading.best_ns if one and reading else None

        return figure

    def scaling(self) -> Figure:
        """Return the figure: best time of one thread divided by that of two, if one needs 4 times that of reading."""

        def figure(name: str, form: str) -> float | None:
            one, two = (self.found.get(name, form, OURS, threads) for threads in (1, 2))
            bound = one is not None and (self.found.against_reading(one) or 0) >= 4
            return one.best_ns / two.best_ns if one and two and bound else None

        return figure

    def megabytes(self) -> Figure:
        def figure(name: str, form: str) -> float | None:
            mine = [self.found.get(name, form, who, threads) for who in (OURS, AVX2) for threads in (1, 2)]
            extras = [one.extra for one in mine if one and one.extra is not None]
            return max(extras) / 1e6 if extras else None

        return figure

    def difference(self, case: str, other: str) -> Figure:
        """Return the figure: the time per element of a case minus that of another case."""

        def figure(_: str, form: str) -> float | None:
            a, b = self.ns()(case, form), self.ns()(other, form)
            return a - b if a is not None and b is not None else None

        return figure

    @staticmethod
    def ratio(above: Figure, below: Figure) -> Figure:
        def figure(name: str, form: str) -> float | None:
            a, b = above(name, form), below(name, form)
            return a / b if a is not None and b is not None else None

        return figure


def _ns(one: Measurement | None) -> float | None:
    return one.ns if one else None


def judged(found: Results) -> list[Mark]:
    """Return all marks, reached or not."""
    judge = Judge(found)
    most, least = judge.at_most, judge.at_least
    # Instruction sets other than AVX-512 have the marks of AVX2.
    sets = {"avx2": AVX2, "avx512": OURS} if found.simd == "avx512" else {"avx2": OURS}

    def nanoseconds(case: str, limits: dict[str, float], names: Sequence[str], forms: Iterable[str]) -> None:
        for simd, who in sets.items():
            most(case, f"{simd}: at most {limits[simd]:.2f} ns", limits[simd], judge.ns(who), names, forms, "ns")

    case, names = "logits float32, C >= 1000", f32(1000, 32000)
    nanoseconds(case, {"avx2": 0.60, "avx512": 0.45}, names, BIG)
    least(case, "80 MB: 4 times as fast as torch", 4, judge.faster(TORCH), names, [ONCE])
    least(case, "8 MB chunks: 1.2 times as fast as torch", 1.2, judge.faster(TORCH), names, [CHUNKS])
    least(case, "no slower than torch.compile", 1, judge.faster(COMPILED), names, BIG)
    for simd, who in sets.items():
        limit = {"avx2": 3, "avx512": 2}[simd]
        most(case, f"{simd}: 2 threads at most {limit} times reading", limit, judge.readings(who), names, [ONCE])

    plain = judge.ratio(judge.ns(), judge.ns(PLAIN))
    for dtype in ("bfloat16", "float16"):
        names = [f"logits {dtype}, C = {classes}" for classes in (10, 1000)]
        most(f"logits {dtype}", "at most 1.2 times float32", 1.2, plain, names, BIG)
    nanoseconds("logits float64, C >= 1000", {"avx2": 1.8, "avx512": 1.1}, ["logits float64, C = 1000"], BIG)
    least("logits float32, C = 2", "5 times as fast as torch", 5, judge.faster(TORCH), f32(2), BIG)
    least("logits float32, C = 3..10", "10 times as fast as torch", 10, judge.faster(TORCH), f32(3, 10), BIG)
    least("logits float32, C <= 10", "twice as fast as torch.compile", 2, judge.faster(COMPILED), f32(2, 3, 10), BIG)
    nanoseconds("logits float32, C = 16..100", {"avx2": 1.1, "avx512": 0.85}, f32(16, 32, 100), BIG)
    for what in ("soft targets", "label smoothing"):
        names = [f"logits float32, C = {classes}, {what}" for classes in (10, 1000)]
        most(f"logits, {what}", "at most 1.6 times integer targets", 1.6, plain, names, BIG)

    case, names = "probabilities, checked, C = 10", ["probs float32, C = 10", "probs float64, C = 10"]
    least(case, "30 times as fast as scikit-learn", 30, judge.faster("scikit-learn"), names, BIG)
    least(case, "no slower than NumPy", 1, judge.faster("NumPy"), names, BIG)
    case, names = "binary logits float32, exact sums included, 4M", ["binary logits float32"]
    nanoseconds(case, {"avx2": 2.2, "avx512": 1.5}, names, [SMALL])
    both = [*names, "binary logits float32, float32 targets"]
    least(case, "no slower than torch.compile", 1, judge.faster(COMPILED), both, [SMALL])
    case, names = "binary probabilities, 4M", ["binary probs float32", "binary probs float64"]
    for rival, limit in ((TORCH, 5), ("NumPy", 3), ("scikit-learn", 60)):
        least(case, f"{limit} times as fast as {rival}", limit, judge.faster(rival), names, [SMALL])
    case, names = "exact sum alone, with its square", ["mean of losses"]
    nanoseconds(case, {"avx2": 0.9, "avx512": 0.7}, names, BIG)
    least(case, "20 times as fast as math.fsum", 20, judge.faster("math.fsum"), names, BIG)
    names = [case.name for case in ALL if case.job == "ctc"]
    least("CTC", "no slower than torch", 1, judge.faster(TORCH), names, BIG)
    for keys, limit in ((1000, 20), (1_000_000, 40)):
        grouped, alone = (f"mean of losses by {keys} keys", "mean of losses")
        extra = judge.difference(grouped, alone)
        most(
            f"mean of losses by {keys} keys",
            f"at most {limit} ns more than without",
            limit,
            extra,
            [grouped],
            BIG,
            "ns",
        )
    most("update of a 32 x 10 batch", "at most 1000 ns", 1000, judge.ns(), ["32 x 10 logits"], [BATCHES], "ns")
    most("update of one sample", "at most 300 ns", 300, judge.ns(), ["binary probs"], [SCALARS], "ns")
    for rival in ("DuckDB", "Polars"):
        least("20M rows of Parquet, 2 threads", f"no slower than {rival}", 1, judge.faster(rival, 2),
              ["Parquet file"], [FILE])  # fmt: skip
        for case, form in ("JSON lines", LINES), ("JSON lines of lists", LISTS):
            least(f"{case}, 2 threads", f"no slower than {rival}", 1, judge.faster(rival, 2), [case], [form])
    for rival in ("DuckDB", "Polars"):
        ratio = judge.ratio(judge.ns(threads=2), judge.ns(rival, 2))
        most("streamce eval, whole process", f"at most 1.5 times {rival}'s", 1.5, ratio,
             ["Parquet file, whole process"], [FILE])  # fmt: skip
        least("streamce eval of CSV, whole process", f"no slower than {rival}", 1, judge.faster(rival, 2),
              ["CSV file, whole process"], [FILE])  # fmt: skip
    streams = [case.name for case in ALL if not case.stored and not case.keys]
    most("memory of update", "at most 8 MB beyond the inputs", 8, judge.megabytes(), streams, [*BIG, SMALL], "MB")
    least("threads, where computing binds", "two 1.8 times as fast as one", 1.8, judge.scaling(), streams,
          [ONCE, SMALL])  # fmt: skip
    return judge.marks


def in_order(found: Results) -> list[Mark]:
    """Return the marks, those that were not reached first."""
    return sorted(judged(found), key=lambda mark: {False: 0, None: 1, True: 2}[mark.reached])


def counted(marks: Iterable[Mark]) -> str:
    marks = [mark for mark in marks if mark.reached is not None]
    return f"{sum(mark.reached is True for mark in marks)} of {len(marks)} goals"


def as_text(found: Results) -> str:
    marks = in_order(found)
    words = {True: "reached", False: "NOT reached", None: "not measured"}
    lines = [f"  {words[mark.reached]:<13} {mark.case}: {mark.mark}: {mark.measured}" for mark in marks]
    return "\n".join([f"{counted(marks)} reached", *lines])
