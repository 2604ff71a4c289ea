"""``python -m benchmarks``: measure all cases, print tables, and write RESULTS.md and a plot."""

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

QUICK = 1 / 40  # share of the full sizes in a quick run
PROMISES = {"float64": 1e-14, "float32": 5e-7, "float16": 5e-7, "bfloat16": 5e-7}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this library and its rivals.")
    add = parser.add_argument
    add("--only", metavar="PATTERN", default="", help="cases whose name matches this regular expression")
    add("--repeats", type=int, metavar="N", help="number of repeats, whose median is reported (default: 9)")
    add("--out", type=Path, metavar="FOLDER", help="folder of the results (default: the folder of the benchmarks)")
    add("--quick", action="store_true",
        help="check that everything runs: small arrays, two repeats, no torch.compile, files if --out")  # fmt: skip
    options = parser.parse_args()
    cases = [case for case in ALL if re.search(options.only, case.name)]
    if not cases:
        parser.error(f"no case matches {options.only!r}, expected one of: {'; '.join(case.name for case in ALL)}")
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
    if not options.quick:  # the marks hold for arrays of full size
        print(marks.as_text(found))
    out = options.out or (None if options.quick else Path(__file__).parent)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        plot.write(found, out / "results.svg")
        report.write(found, out / "RESULTS.md")
        print(f"\nwrote {out / 'RESULTS.md'} and results.svg after {found.seconds / 60:.0f} minutes")
    return broken_promises(found)


def broken_promises(found: Results) -> int:
    """Return 1 if streamce failed in a case, or its error exceeds the promised one; else 0."""
    status = 0
    for one in found.all:
        if one.contender.ours and (one.failed or one.error is None or one.error > PROMISES[one.case.dtype]):
            print(f"BROKEN: {one.case.name}, {one.form}: {one.failed or one.error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
