"""What a person reads: lines while it runs, and RESULTS.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import marks
from benchmarks.cases import ALL, FILE, Case
from benchmarks.results import Results, machine, shown
from benchmarks.turns import PATIENCE, Measurement

MISLEADING = """\
How such figures mislead. A library that writes a large temporary array pays for fresh pages, so its
time depends on the size of the array: 80 MB at once and 8 MB chunks can differ by a factor of four,
and a + marks who brings in pages in every repeat. A machine's clock drifts, and other programs take
the caches and the memory's bandwidth: so the contenders take turns, repeat by repeat, medians are
compared, and ratios travel better than nanoseconds. The instruction set and the number of threads
decide as much as the code. Random logits are kinder than real ones: no branch mispredicts, nothing
is infinite. A rival may do less (torch and NumPy check no probability and round their sums) or more
(torcheval also sums the targets); only streamce and math.fsum sum exactly, and only streamce has a
standard error in the end. And whoever wrote the benchmark knows one of the contenders best:
corrections of how a rival is called are welcome.
"""
HOW = """\
Each rival is called as its users would call it, with its favourite arrays prepared before the clock
starts: torch's binary losses get the float targets that they ask for, all others the same targets as
int64 (one case gives everybody float32), math.fsum gets a list. Each has a process of its own, and
one thread unless the table says 2. Warm-up first. A rival that has used {patience:.0f} seconds in a case
gets 3 repeats at least, and no more. Those that are slow get fewer rows (their column *elements* says
so): their time per element is what counts. Utterances of CTC are 200 frames and 30 labels long of 32
classes (characters), 50 and 10 of 1000 (pieces of words).

*ns* is the median time per element (an entry of the predictions), per update, or per row of a file.
*x best rival* is the time of the best rival over this one: 2 means twice as fast. *x reading* is the
time over that of reading the arrays once with as many threads. *memory* is the peak beyond the inputs,
in a run that is not timed (of a command: of its whole process). *error* is relative, against the mean
loss of the first rows to 50 digits. In brackets stand yardsticks, which do another job: reading the
arrays once, and streamce on the same logits as float32 with integer targets and no smoothing.
"""
HEAD = ("", "threads", "ns", "x best rival", "x reading", "memory, MB", "error", "elements")


def cells(found: Results, one: Measurement) -> list[str]:
    return [
        one.contender.name,
        str(one.contender.threads),
        shown(one.ns) + "+" * one.page_faults,
        shown(found.against_best(one)),
        shown(found.against_reading(one)),
        "" if one.extra is None else f"{one.extra / 1e6:.1f}",
        "" if one.error is None else f"{one.error:.0e}",
        f"{one.elements / 1e6:.3g}M" if one.elements >= 1e5 else f"{one.elements:,}",
    ]


def as_text(found: Results, case: Case, form: str) -> str:
    """The lines of one case, as they are printed while others still run."""
    rows = [cells(found, one) for one in found.of(case, form)]
    names = [f"{case.name}, {form}", *HEAD[1:2], f"ns / {case.unit(form)}", *HEAD[3:]]
    lines = ["{:<48}{:>8}{:>13}{:>14}{:>11}{:>12}{:>9}{:>10}".format(*row) for row in (names, *rows)]
    failed = [one for one in found.failures() if one.case == case and one.form == form]
    return "\n".join([*lines, *(f"{one.contender.name} failed: {one.failed}" for one in failed), ""])


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """A Markdown table; all columns but the first ones are numbers."""
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rules, *rows)) + "\n"


def summary(found: Results) -> str:
    """A line per case: ours, and the best of the others."""
    rows = []
    for case in ALL:
        for form in case.forms:
            threads = 2 if form == FILE else 1
            ours = found.get(case.name, form, "streamce", threads)
            if ours is None:
                continue
            best, two = found.best_rival(case, form, threads), found.get(case.name, form, "streamce", 2)
            rows.append([
                f"{case.name}, {form}",
                f"{shown(best.ns)}{'+' * best.page_faults} {best.contender.name}" if best else "nobody",
                f"**{shown(ours.ns)}**",
                shown(found.against_best(ours)),
                shown(found.against_reading(ours)),
                shown(two.ns) if two else "",
                "" if ours.extra is None else f"{ours.extra / 1e6:.1f}",
                "" if ours.error is None else f"{ours.error:.0e}",
            ])  # fmt: skip
    head = (
        "case",
        "best rival, ns",
        "streamce, ns",
        "x best rival",
        "x reading",
        "2 threads, ns",
        "memory, MB",
        "error",
    )
    return table(head, rows, 6)


def verdicts(found: Results) -> str:
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [[mark.case, mark.mark, mark.measured, words[mark.reached]] for mark in marks.in_order(found)]
    return table(("case", "mark", "measured", "reached"), rows, 0)


def details(found: Results) -> str:
    parts = []
    for case in ALL:
        for form in case.forms:
            rows = found.of(case, form)
            if not rows:
                continue
            head = ("", *HEAD[1:2], f"ns / {case.unit(form)}", *HEAD[3:])
            lines = [cells(found, one) for one in rows]
            lines = [_bold(line) if line[0].startswith("streamce") else line for line in lines]
            parts.append(f"### {case.name}, {form}\n\n{table(head, lines, 7)}")
    return "\n".join(parts)


def _bold(line: Sequence[str]) -> list[str]:
    """With its name and its time in bold."""
    return [f"**{cell}**" if place in (0, 2) else cell for place, cell in enumerate(line)]


def write(found: Results, path: Path) -> None:
    failures = [f"* {one.contender.name}, {one.case.name}, {one.form}: {one.failed}" for one in found.failures()]
    quick = "\n**A quick run on small arrays: it shows that everything runs, not how fast.**\n" if found.quick else ""
    judged = marks.judged(found)
    text = f"""\
# Benchmarks
{quick}
{MISLEADING}
Measured with `make bench` on {machine()}: medians of {found.repeats} repeats, in
{max(1, found.seconds / 60):.0f} minutes.

{textwrap.fill("; ".join(found.versions), 100)}.

![Time per element of streamce and its rivals](results.svg)

## Marks: reached or not

What this library wants to reach, and whether this run did: {marks.counted(judged)}. Where a mark
covers several cases, the worst is shown.

{verdicts(found)}
## In short

One thread each, but for files, where everybody has two.

{summary(found)}
## How it was measured

{HOW.format(patience=PATIENCE)}
## Everything
{failed(failures)}
{details(found)}"""
    path.write_text(text, encoding="utf-8")


def failed(failures: Sequence[str]) -> str:
    return "\nWhat a rival could not do:\n\n" + "\n".join(failures) + "\n" if failures else ""
