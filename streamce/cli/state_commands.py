"""``streamce merge``, ``streamce show`` and ``streamce report``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import streamce as ce
from streamce._support import atomic_file, printable
from streamce.cli import formatting, state_lock
from streamce.cli.console import fail, many, refusal, save


def merge(options: argparse.Namespace) -> int:
    if why := refusal(options.output):
        return fail(f"--output {options.output}: {why}", 2)
    with state_lock.locked("--output", options.output):
        return _merged(options)


def _merged(options: argparse.Namespace) -> int:
    merged: Any = None
    for path in options.states:
        metric = ce.load(path)
        try:
            merged = metric if merged is None else merged.merge(metric)
        except ce.InputError as error:
            return fail(f"{path} does not add to {options.states[0]}: {error}", 1)
    if status := save(merged, "--output", options.output):
        return status
    name = printable.line(options.output)
    print(f"{name}: {many(len(options.states), 'state')}, {many(formatting.samples(merged), 'sample')}")
    return 0


def show(options: argparse.Namespace) -> int:
    metric = ce.load(options.state)
    if options.json:
        formatting.print_json(metric, options.level, options.anytime)
    else:
        print(printable.line(f"{options.state}: {metric!r}"))
        formatting.print_table(metric, options.level, options.anytime)
    return 0


def report(options: argparse.Namespace) -> int:
    from streamce.report import MARK, page  # here: merge and show draw nothing

    out = options.output == "-"
    if not out and (why := refusal(options.output, MARK.encode(), "report")):
        return fail(f"--output {options.output}: {why}", 2)
    names = _told_apart(options.states)
    metrics = {name: ce.load(path) for name, path in zip(names, options.states, strict=True)}
    look = {"level": options.level, "anytime": options.anytime}
    try:
        whole = page(metrics, title=options.title, names=options.classes or (), **look).encode()
    except ce.InputError as error:
        if error.argument != "names":
            raise
        return fail(f"--classes: {error}", 2)
    if out:
        sys.stdout.buffer.write(whole)
        sys.stdout.flush()
        return 0
    atomic_file.write(options.output, whole)
    name = printable.line(options.output)
    print(f"{name}: {many(len(metrics), 'state')}, {-(-len(whole) // 1000):,} kB")
    return 0


def _told_apart(paths: list[str]) -> list[str]:
    """What states are called: their files' names, or the paths where these are not enough; numbers where they are."""
    for names in ([os.path.splitext(os.path.basename(path))[0] for path in paths], paths):
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {path}" for number, path in enumerate(paths, 1)]
