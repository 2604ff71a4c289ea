"""Runs of ``streamce eval`` that go on after a crash: what their checkpoint says, and when it holds.

Beside the state S that a run is to write stands its work in progress, ``S.checkpoint``: the metric,
the position in the sources, and what must not change in between.
"""

from __future__ import annotations

import os
import reprlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from streamce._support import atomic_file
from streamce.cli.console import note
from streamce.errors import InputError
from streamce.metrics.mergeable import Additive
from streamce.persistence.checkpoint import Checkpoint
from streamce.reading.reader import Position
from streamce.reading.sources import Source
from streamce.reading.tables import Mark


@dataclass
class Progress:
    """How far a run is: rows, where the next is (None at the start and the end), and the names of
    the classes once labels have decided between several."""

    rows: int = 0
    at: Position | None = None
    classes: Sequence[str] | None = None
    finished: bool = False


class Run:
    """A run that can be killed and started again.

    Parameters
    ----------
    state : str
        Path of the state that the run is to write.
    options : dict
        Those that change the result.
    files : iterable of dict
        Name, size and time of change of all that is read.
    every : float
        Seconds between checkpoints.
    """

    def __init__(self, state: str, options: dict[str, Any], files: Iterable[dict[str, Any]], every: float) -> None:
        self._state, self._every = state, every
        self._checkpoint, self._name = Checkpoint(state + ".checkpoint"), state + ".checkpoint"
        self._same: dict[str, Any] = {"options": options, "files": [*files]}

    def begin(self, metric: Additive) -> Progress:
        """Where to begin; ``metric`` takes over what was counted until there."""
        atomic_file.sweep(self._state)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            saved, said = self._checkpoint.load()
        for warning in caught:
            note(f"streamce: warning: {warning.message}")
        written = self._written()
        if saved is None:
            if written:
                found = f"is no run's to resume, as there is no {self._name}: remove it to start at row 0"
                raise InputError("state", found, location="this state").with_place(self._state)
            return Progress()
        try:
            at = said["at"] and Position(said["at"]["source"], Mark(**said["at"]["mark"]), said["at"]["width"])
            progress = Progress(said["rows"], at, said["classes"], said["finished"])
            options, files = dict(said["options"]), {file["name"]: file for file in said["files"]}
        except (KeyError, TypeError, ValueError):
            raise InputError("state", "this is no checkpoint of streamce eval", location="").with_place(
                self._name
            ) from None
        if progress.finished and not written:  # who removed the state wants it made again
            return Progress()
        self._check(options, files, f"remove {self._state if progress.finished else self._name} to start at row 0")
        if progress.finished and written != saved.to_bytes():
            found = f"this is not the state that the run of {self._name} wrote: remove it to start at row 0"
            raise InputError("state", found, location="").with_place(self._state)
        metric.load_state_dict(saved.state_dict())
        return progress

    def save(self, metric: Additive, progress: Progress, *, now: bool = False) -> None:
        """Save the metric and where its rows end, if it is time to."""
        self._checkpoint.save(metric, {**self._same, **asdict(progress)}, every=0.0 if now else self._every)

    def _written(self) -> bytes:
        """The state that is there, nothing where there is none."""
        if not os.path.exists(self._state):
            return b""
        with open(self._state, "rb") as file:
            return file.read()

    def _check(self, options: dict[str, Any], files: dict[str, Any], advice: str) -> None:
        """Refuses to go on from a run of other options or files."""
        how = f"since {self._name} was begun: {advice}"
        for option in {**(now := self._same["options"]), **options}:
            if now.get(option) != options.get(option):
                change = f"from {reprlib.repr(options.get(option))} to {reprlib.repr(now.get(option))}"
                raise InputError(option, f"has changed {change} {how}", location=f"--{option.replace('_', '-')}")
        now = {file["name"]: file for file in self._same["files"]}
        for name in {**files, **now}:
            if now.get(name) != files.get(name):
                change = "has changed" if name in now and name in files else "is new" if name in now else "is gone"
                raise InputError("files", f"{change} {how}", location="this file").with_place(name)
        if [*now] != [*files]:
            raise InputError("files", f"come in another order {how}", location="the files")


def identities(sources: Sequence[Source], beside: Sequence[str]) -> list[dict[str, Any]]:
    """Name, size and time of change of the sources, and of .npy files beside one."""
    found = [{"name": source.name, "size": source.size, "changed": source.changed} for source in sources]
    if sources[0].format == "npy":
        infos = [(path, os.stat(path)) for path in beside]
        found += [{"name": path, "size": info.st_size, "changed": info.st_mtime_ns} for path, info in infos]
    return found
