"""Runs a fuzzer's cases in their own process, and reports a crash, a hang or a failed check with its case.

A fuzzer is a module with a function ``case(seed)`` that returns a `Case`. Cases are numbered: the same number
gives the same case, on any machine. Its main is one line, ``sys.exit(fuzzing.main(case))``:

    python tests/support/fuzz_objects.py --seconds 60            cases from 0 on
    python tests/support/fuzz_objects.py --seed 1234 --cases 1   one case again
"""

import argparse
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HANGS = 300  # seconds after which a case counts as a hang: a sanitizer takes ten times as long
ROOM = 8 << 30  # bytes of memory, so that a huge array fails in this process only


class Case(NamedTuple):
    """A numbered case: a description, and a check that raises if a law is broken."""

    words: str
    check: Callable[[], object]


def arguments(seconds: int = 60) -> argparse.ArgumentParser:
    """Return the parser of the arguments of every fuzzer. The same seed gives the same cases."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=seconds)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(make: Callable[[int], Case], seconds: int = 60) -> int:
    """Run cases in a child, and report the case in which it ended."""
    parser = arguments(seconds)
    parser.add_argument("--cases", type=int, default=sys.maxsize)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        _run(make, given.seed, given.cases, given.seconds, given.inside)
        return 0
    script = os.path.relpath(sys.argv[0])
    with tempfile.TemporaryDirectory() as folder:
        progress = Path(folder) / "progress"
        progress.touch()
        options = ["--seconds", given.seconds, "--seed", given.seed, "--cases", given.cases, "--inside", progress]
        status = subprocess.run([sys.executable, sys.argv[0], *map(str, options)], check=False).returncode
        number, _, words = progress.read_text(errors="replace").partition("\n")
    if status == 0:
        print(f"{script}: cases {given.seed} to {number}, nothing found")
        return 0
    ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    print(f"{script}: {ended} in case {number}: {words}\nagain: python {script} --seed {number} --cases 1")
    return 1


def _run(make: Callable[[int], Case], first: int, cases: int, seconds: int, progress: str) -> None:
    """Run cases in the child, which writes the number of a case to a file before it runs the case."""
    if "ASAN_OPTIONS" not in os.environ:  # AddressSanitizer itself reserves terabytes
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    faulthandler.enable()
    end = time.monotonic() + seconds
    with open(progress, "r+b", buffering=0) as file:
        for number in range(first, first + cases):
            if time.monotonic() > end:
                return
            faulthandler.dump_traceback_later(HANGS, exit=True)
            case = make(number)
            text = f"{number}\n{case.words}".encode()
            file.truncate(os.pwrite(file.fileno(), text, 0))
            case.check()
    faulthandler.cancel_dump_traceback_later()
