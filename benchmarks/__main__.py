"""``python -m benchmarks``: measure everything, print a table, write RESULTS.md and a plot."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import marks, plot, report, truth
from benchmarks.cases import ALL, stored
from benchmarks.results import Results
from benchmarks.turns import Workers, measure

QUICK = 1 / 40  # of the full sizes
PROMISES = {"float64": 1e-14, "float32": 5e-7, "float16": 5e-7, "bfloat16": 5e-7}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this library and its rivals.")
    add = parser.add_argument
    add("--only", metavar="PATTERN", default="", help="cases whose name matches this regular expression")
    add("--repeats", type=int, metavar="N", help="repeats of which the median counts (default: 9)")
    add("--out", type=Path, metavar="FOLDER", help="where results go (default: the folder of the benchmarks)")
    add("--quick", action="store_true",
        help="small arrays, two repeats, no compiler, no files unless --out: shows that it runs")  # fmt: skip
    options = parser.parse_args()
    cases = [case for case in ALL if re.search(options.only, case.name)]
    if not cases:
        parser.error(f"no case matches {options.only!r}; there are: {'; '.join(case.name for case in ALL)}")
    repeats = options.repeats or (2 if options.quick else 9)
    found = Results(quick=options.quick, repeats=repeats)
    start = time.perf_counter()
    print(report.MISLEADING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workers = Workers(folder, left_out=["torch.compile"] if options.quick else [])
        try:
            for case in cases:
                with stored(case, QUICK if options.quick else 1.0, folder) as sample:
                    true = truth.mean(case, *sample)
                    for form in case.forms:
                        found.add(measure(case, form, workers, folder / "case", true, repeats))
                        print(report.as_text(found, case, form), flush=True)
        finally:
            workers.close()
        found.versions, found.seconds = workers.versions, time.perf_counter() - start
    if not options.quick:  # the marks are for arrays of full size
        print(marks.as_text(found))
    out = options.out or (None if options.quick else Path(__file__).parent)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        plot.write(found, out / "results.svg")
        report.write(found, out / "RESULTS.md")
        print(f"\nwritten: {out / 'RESULTS.md'} and results.svg, after {found.seconds / 60:.0f} minutes")
    return broken_promises(found)


def broken_promises(found: Results) -> int:
    """1 if a loss of ours is further from the truth than the library promises, or failed."""
    status = 0
    for one in found.all:
        if one.contender.ours and (one.failed or one.error is None or one.error > PROMISES[one.case.dtype]):
            print(f"BROKEN: {one.case.name}, {one.form}: {one.failed or one.error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
