"""Writes the results as text: lines during the run, and RESULTS.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import marks
from benchmarks.cases import ALL, FILES, Case
from benchmarks.results import Results, machine, shown
from benchmarks.turns import PATIENCE, Measurement

MISLEADING = """\
These figures can mislead. A library that writes a large temporary array pays for fresh pages, so its time
per element depends on the size of the array: 80 MB at once and 8 MB chunks can differ by a factor of four.
A + marks a library that brings in fresh pages in every repeat. The clock of a machine drifts, and other
programs use its caches and memory. The libraries therefore take turns, repeat by repeat, and their medians
are compared. Ratios hold on other machines better than nanoseconds do. The instruction set and the number
of threads matter as much as the code. Random logits are easier than real ones, because no branch is
mispredicted and no loss is infinite. Some rivals do less work: torch and NumPy do not check probabilities,
and round their sums. Others do more: torcheval also sums the targets. Only streamce and math.fsum sum
exactly, and only streamce computes a standard error. The authors know streamce best. Please report a rival
that is called in a slow way.
"""
HOW = """\
Each rival is called as its users would call it. Its arrays are prepared before the clock starts: torch's
binary losses get float targets, math.fsum gets a list, and all others get int64 targets. In one case all
get float32 targets. Each library has a process of its own, and one thread unless the table says 2. It runs
once before it is timed. A rival that has used {patience:.0f} seconds in a case stops after at least 3 repeats. Slow
rivals get fewer rows (column *elements*), so compare the time per element. An utterance of CTC has 200
frames, 30 labels and 32 classes (characters), or 50 frames, 10 labels and 1000 classes (pieces of words).

*ns* is the median time per element (an entry of the predictions), per update, or per row of a file.
*x best rival* is the time of the best rival divided by this time: 2 means twice as fast. *x reading* is
this time divided by the time to read the arrays once with as many threads. *memory* is the peak beyond the
inputs, in a run that is not timed. For a command it is the peak of the whole process. *error* is the
relative error of the mean loss of the first rows, compared with a result of 50 digits. Names in brackets
are other jobs, for comparison: reading the arrays once, and streamce on the same logits as float32 with
integer targets and without smoothing.
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
    """Return the lines of one case, which are printed before the next case runs."""
    rows = [cells(found, one) for one in found.of(case, form)]
    names = [f"{case.name}, {form}", *HEAD[1:2], f"ns / {case.unit(form)}", *HEAD[3:]]
    lines = ["{:<48}{:>8}{:>13}{:>14}{:>11}{:>12}{:>9}{:>10}".format(*row) for row in (names, *rows)]
    failed = [one for one in found.failures() if one.case == case and one.form == form]
    return "\n".join([*lines, *(f"{one.contender.name} failed: {one.failed}" for one in failed), ""])


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """Return a Markdown table whose last columns are numbers."""
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rules, *rows)) + "\n"


def summary(found: Results) -> str:
    """Return a table with a line per case: streamce and the best rival."""
    rows = []
    for case in ALL:
        for form in case.forms:
            threads = 2 if form in FILES else 1
            ours = found.get(case.name, form, "streamce", threads)
            if ours is None:
                continue
            best, two = found.best_rival(case, form, threads), found.get(case.name, form, "streamce", 2)
            rows.append([
                f"{case.name}, {form}",
                f"{shown(best.ns)}{'+' * best.page_faults} {best.contender.name}" if best else "none",
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
    return table(("case", "goal", "measured", "reached"), rows, 0)


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
    """Return a line with its name and its time in bold."""
    return [f"**{cell}**" if place in (0, 2) else cell for place, cell in enumerate(line)]


def write(found: Results, path: Path) -> None:
    failures = [f"* {one.contender.name}, {one.case.name}, {one.form}: {one.failed}" for one in found.failures()]
    quick = "\n**This is a quick run on small arrays. Its times mean nothing.**\n" if found.quick else ""
    judged = marks.judged(found)
    text = f"""\
# Benchmarks
{quick}
{MISLEADING}
The figures are medians of {found.repeats} repeats of `make bench` on {machine()}. The run took
{max(1, found.seconds / 60):.0f} minutes.

{textwrap.fill("; ".join(found.versions), 100)}.

![Time per element of streamce and its rivals](results.svg)

## Goals

This run reached {marks.counted(judged)}. If a goal covers several cases, the table shows the worst.

{verdicts(found)}
## Summary

All libraries have one thread, and two for files.

{summary(found)}
## How it was measured

{HOW.format(patience=PATIENCE)}
## All results
{failed(failures)}
{details(found)}"""
    path.write_text(text, encoding="utf-8")


def failed(failures: Sequence[str]) -> str:
    return "\nThese runs failed:\n\n" + "\n".join(failures) + "\n" if failures else ""
