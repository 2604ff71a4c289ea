"""``streamce merge`` and ``streamce show``."""

from __future__ import annotations

import argparse
from typing import Any

import streamce as ce
from streamce.cli import results
from streamce.cli.output import fail, many, refusal, save


def merge(options: argparse.Namespace) -> int:
    if why := refusal(options.output):
        return fail(f"--output {options.output}: {why}", 2)
    merged: Any = None
    for path in options.states:
        metric = ce.load(path)
        try:
            merged = metric if merged is None else merged.merge(metric)
        except ce.InputError as error:
            return fail(f"{path} does not add to {options.states[0]}: {error}", 1)
    if status := save(merged, "--output", options.output):
        return status
    print(f"{options.output}: {many(len(options.states), 'state')}, {many(results.samples(merged), 'sample')}")
    return 0


def show(options: argparse.Namespace) -> int:
    metric = ce.load(options.state)
    if options.json:
        results.print_json(metric, options.level, options.anytime)
    else:
        print(f"{options.state}: {metric!r}")
        results.print_table(metric, options.level, options.anytime)
    return 0
