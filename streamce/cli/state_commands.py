"""``streamce merge``, ``diff``, ``show`` and ``report``: the commands that read states. They read no rows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import streamce as ce
from streamce._support import atomic_file, printable
from streamce._support.file_identity import file_identity, named_twice
from streamce.cli import formatting, state_lock
from streamce.cli.config import DiffConfig, MergeConfig, ReportConfig, ShowConfig, View
from streamce.cli.console import check_writable, fail, plural, print_and_save, save
from streamce.errors import SelectionError
from streamce.stats.discoveries import FDR

# The exit status of ``streamce diff`` if the states are not equal, and of any failure.
DIFFERENT, NOT_COMPARABLE = 1, 2


def merge(config: MergeConfig) -> int:
    """Run ``streamce merge`` and return the exit status."""
    check_writable("--output", config.output)
    with state_lock.locked("--output", config.output):
        return _merge(config)


def _merge(config: MergeConfig) -> int:
    merged: Any = None
    paths: dict[tuple[int, int], str] = {}
    for path in config.states:
        identity = file_identity(path)
        if identity in paths:
            return fail(f"{path}: {named_twice(path, paths[identity])}", 2)
        paths[identity] = path
    for path in config.states:
        metric = ce.load(path)
        try:
            merged = metric if merged is None else merged.merge(metric)
        except ce.InputError as error:
            return fail(f"{path} cannot be added to {config.states[0]}: {error}", 1)
    if status := save(merged, "--output", config.output):
        return status
    name = printable.line(config.output)
    print(f"{name}: {plural(len(config.states), 'state')}, {plural(formatting.count_samples(merged), 'sample')}")
    return 0


def diff(config: DiffConfig) -> int:
    """Run ``streamce diff`` and return the exit status: 0 equal, 1 different, 2 not comparable, or not printed."""
    try:
        return _diff(config)
    except ce.InputError as error:
        return fail(str(error), NOT_COMPARABLE)
    except BrokenPipeError:
        raise
    except OSError as error:
        return fail(f"{error.filename or 'output'}: {error.strerror or error}", NOT_COMPARABLE)


def _diff(config: DiffConfig) -> int:
    a, b = ce.load(config.a), ce.load(config.b)
    try:
        found = ce.diff_states(a, b)
    except ce.InputError as error:
        return fail(f"{config.a} and {config.b} cannot be compared: {error}", NOT_COMPARABLE)

    def print_result() -> None:
        if config.json:
            formatting.print_object({"a": config.a, "b": config.b, **found.to_dict()})
        else:
            print(found)

    return print_and_save(print_result, lambda: 0, lambda: 0 if found.equal else DIFFERENT)


def show(config: ShowConfig) -> int:
    """Run ``streamce show`` and return the exit status."""
    metric = ce.load(config.state)
    _check_groups([metric], config)
    view = View(config.level, config.anytime, min_samples=config.min_samples, fdr=config.fdr)
    if config.json:
        formatting.print_json(metric, view)
    else:
        print(printable.line(f"{config.state}: {metric!r}"))
        formatting.print_table(metric, view)
    return 0


def report(config: ReportConfig) -> int:
    """Run ``streamce report`` and return the exit status."""
    from streamce.report import MARK, page  # here, because merge and show draw nothing

    to_stdout = config.output == "-"
    if not to_stdout:
        check_writable("--output", config.output, MARK.encode(), "report")
    names = _distinct_names(config.states)
    metrics = {name: ce.load(path) for name, path in zip(names, config.states, strict=True)}
    _check_groups(metrics.values(), config)
    try:
        html = page(
            metrics,
            title=config.title,
            level=config.level,
            anytime=config.anytime,
            names=config.classes or (),
            min_samples=config.min_samples,
            fdr=FDR if config.fdr is None else config.fdr,
        ).encode()
    except ce.InputError as error:
        if error.argument != "names":
            raise
        return fail(f"--classes: {error}", 2)
    if to_stdout:
        sys.stdout.buffer.write(html)
        sys.stdout.flush()
        return 0
    atomic_file.write(config.output, html)
    name = printable.line(config.output)
    print(f"{name}: {plural(len(metrics), 'state')}, {-(-len(html) // 1000):,} kB")
    return 0


def _check_groups(metrics: Iterable[Any], config: ShowConfig | ReportConfig) -> None:
    """Raise SelectionError if an option is about groups, and no state has them."""
    found = list(metrics)
    if config.min_samples is not None and not any(map(formatting.has_groups, found)):
        raise SelectionError("--min-samples needs a state of groups")
    if config.fdr is not None and not any(formatting.has_groups(metric, of_pairs=True) for metric in found):
        raise SelectionError("--fdr needs a state of groups of two models")


def _distinct_names(paths: Sequence[str]) -> Sequence[str]:
    """Return distinct names for states: the names of their files, else their paths, else numbered paths."""
    for names in ([os.path.splitext(os.path.basename(path))[0] for path in paths], paths):
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {path}" for number, path in enumerate(paths, 1)]
