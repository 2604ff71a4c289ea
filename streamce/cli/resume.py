"""Checkpoints of ``streamce eval``, from which a run resumes after a crash.

A run that will write the state S keeps ``S.checkpoint`` next to it. The checkpoint holds the metric, the position in
the sources, and the options and files, because these must not change before the run resumes.
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
from streamce.metrics.mergeable import MergeableState
from streamce.persistence.checkpoint import Checkpoint
from streamce.reading.chunk import Position
from streamce.reading.files.sources import Source
from streamce.reading.formats.base import Mark


@dataclass
class Progress:
    """The progress of a run.

    Attributes
    ----------
    rows : int
        Rows that are counted.
    unreadable : int
        Rows that could not be read and were left out.
    position : Position or None
        Where the next row is; None at the start and at the end.
    classes : sequence of str or None
        Names of the classes, if labels could be read in several ways and the rows so far have decided.
    finished : bool
        Whether all rows are counted and the state is written.
    """

    rows: int = 0
    unreadable: int = 0
    position: Position | None = None
    classes: Sequence[str] | None = None
    finished: bool = False

    def to_json(self) -> dict[str, Any]:
        position = None if self.position is None else asdict(self.position)
        return {
            "rows": self.rows,
            "unreadable": self.unreadable,
            "at": position,
            "classes": self.classes,
            "finished": self.finished,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Progress:
        """Return the progress that ``to_json`` wrote. Raises KeyError or TypeError for other values."""
        at = saved["at"]
        position = at and Position(at["source"], Mark(**at["mark"]), at["width"], at["unreadable"])
        return cls(saved["rows"], saved["unreadable"], position, saved["classes"], saved["finished"])


class Checkpoints:
    """The checkpoints of a run.

    Parameters
    ----------
    state : str
        Path of the state that the run will write.
    options : dict
        The options that change the result.
    files : iterable of dict
        Name, size and modification time of all files.
    interval : float
        Seconds between checkpoints.
    """

    def __init__(self, state: str, options: dict[str, Any], files: Iterable[dict[str, Any]], interval: float) -> None:
        self._state, self._interval = state, interval
        self._checkpoint, self._path = Checkpoint(state + ".checkpoint"), state + ".checkpoint"
        self._identity: dict[str, Any] = {"options": options, "files": [*files]}

    def load_into(self, metric: MergeableState) -> Progress:
        """Load the last checkpoint, if there is one, into an empty metric, and return the progress."""
        atomic_file.remove_stale_temporaries(self._state)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded, saved = self._checkpoint.load()
        for warning in caught:
            note(f"streamce: warning: {warning.message}")
        written = self._written_state()
        if loaded is None:
            if written:
                found = f"cannot be resumed, because there is no {self._path}: remove this state to start at row 0"
                raise InputError("state", found, location="this state").with_place(self._state)
            return Progress()
        try:
            progress = Progress.from_json(saved)
            options, files = dict(saved["options"]), {file["name"]: file for file in saved["files"]}
        except (KeyError, TypeError, ValueError):
            found = "this is not a checkpoint of streamce eval"
            raise InputError("state", found, location="").with_place(self._path) from None
        if progress.finished and not written:  # the user removed the state, to have it computed again
            return Progress()
        self._check_identity(options, files, self._state if progress.finished else self._path)
        if progress.finished and written != loaded.to_bytes():
            found = f"this is not the state that the run of {self._path} wrote: remove it to start at row 0"
            raise InputError("state", found, location="").with_place(self._state)
        metric.load_state_dict(loaded.state_dict())
        return progress

    def save(self, metric: MergeableState, progress: Progress, *, now: bool = False) -> None:
        """Save the metric and the progress if a checkpoint is due, or in any case with ``now``."""
        interval = 0.0 if now else self._interval
        self._checkpoint.save(metric, {**self._identity, **progress.to_json()}, every=interval)

    def _written_state(self) -> bytes:
        """Return the content of the state's file, empty if there is none."""
        if not os.path.exists(self._state):
            return b""
        with open(self._state, "rb") as file:
            return file.read()

    def _check_identity(self, options: dict[str, Any], files: dict[str, Any], obsolete: str) -> None:
        """Raise InputError if options or files have changed; ``obsolete`` is the file to remove to start at row 0."""
        since = f"since {self._path} was begun: remove {obsolete} to start at row 0"
        for option in {**(current := self._identity["options"]), **options}:
            if current.get(option) != options.get(option):
                change = f"from {reprlib.repr(options.get(option))} to {reprlib.repr(current.get(option))}"
                raise InputError(option, f"has changed {change} {since}", location=f"--{option.replace('_', '-')}")
        current = {file["name"]: file for file in self._identity["files"]}
        for name in {**files, **current}:
            if current.get(name) != files.get(name):
                change = "is gone" if name not in current else "has changed" if name in files else "is new"
                raise InputError("files", f"{change} {since}", location="this file").with_place(name)
        if [*current] != [*files]:
            raise InputError("files", f"have another order {since}", location="the files")


def file_identities(sources: Sequence[Source], beside: Sequence[str]) -> list[dict[str, Any]]:
    """Return name, size and modification time of the sources, and of the .npy files beside one."""
    identities = [{"name": source.name, "size": source.size, "changed": source.changed} for source in sources]
    if sources[0].format == "npy":
        infos = [(path, os.stat(path)) for path in beside]
        identities += [{"name": path, "size": info.st_size, "changed": info.st_mtime_ns} for path, info in infos]
    return identities
