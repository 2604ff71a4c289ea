"""A metric and how far it has come, in one file that outlives a crash.

docs/FORMAT.md has the file byte by byte, and what becomes of the generation before. A reader takes only
what a writer would have written, to the byte.
"""

from __future__ import annotations

import json
import os
import struct
import time
import warnings
from contextlib import suppress
from typing import Any

from streamce._support import atomic_file
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.persistence.restore import from_bytes

MAGIC = b"streamck"
VERSION = 1
DIGEST = 16


class Checkpoint:
    """A file that holds a metric together with the positions in the sources it has read up to.

    Both are written at once, so that they always belong together: a job that is killed at any
    moment, and goes on from what it loads, counts each row exactly once. That holds for sources
    that can be read again from a position (files; Kafka and other logs, whose consumers are to seek
    to the positions loaded instead of what the broker has committed). What was counted after the
    last save is counted again, from the same rows.

    Parameters
    ----------
    path : path-like
        The file. The generation before it is kept at ``path + ".previous"``. One process at a time
        may save there: with two, the later save wins, and the rows of the other are lost, but no file
        is ever torn. Both files keep the permissions of the one that is replaced.

    Examples
    --------
    >>> import tempfile, streamce as ce
    >>> folder = tempfile.TemporaryDirectory()
    >>> rows = [(0.9, 1), (0.2, 0), (0.6, 1)]
    >>> def job(stop):
    ...     checkpoint = ce.Checkpoint(folder.name + "/job.checkpoint")
    ...     metric, positions = checkpoint.load(ce.BinaryCrossEntropy(), {"row": 0})
    ...     for row in range(positions["row"], stop):
    ...         metric.update(*rows[row])
    ...         _ = checkpoint.save(metric, {"row": row + 1})
    ...     return metric
    >>> crashed = job(stop=2)
    >>> job(stop=3) == ce.BinaryCrossEntropy().update([0.9, 0.2, 0.6], [1, 0, 1])
    True
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fsdecode(path))  # wherever the process goes
        self.previous = self.path + ".previous"
        self._saved: float | None = None

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r})"

    @in_default_mode
    def save(self, metric: Any, positions: Any, *, every: float = 0.0) -> bool:
        """Write the metric's state and the positions, both or neither.

        Parameters
        ----------
        metric : metric
            Anything with ``to_bytes()``.
        positions : JSON value
            Where the sources are to be read from next: None, bools, numbers, text, lists, and dicts
            with text as keys. It comes back equal, so tuples, NaN and NumPy's integers are errors.
        every : float
            Seconds since this object's last save before which nothing is written: a loop may call
            this for each batch.

        Returns
        -------
        bool
            Whether it was written.

        Raises
        ------
        InputError
            If JSON does not hold the positions.
        OSError
            If the file cannot be written, as on a full disk. What was there is still there.
        """
        if self._saved is not None and time.monotonic() - self._saved < every:
            return False
        data = encode(positions, metric.to_bytes())
        if self._saved is None:
            for path in (self.path, self.previous):
                atomic_file.sweep(path)
        current = _read(self.path)
        if current is None:  # begun anew, and a run before this one must not come back
            with suppress(FileNotFoundError):
                os.unlink(self.previous)
        elif _intact(current):
            atomic_file.write(self.previous, current, like=self.path)
        atomic_file.write(self.path, data)
        self._saved = time.monotonic()
        return True

    @in_default_mode
    def load(self, metric: Any = None, positions: Any = None) -> tuple[Any, Any]:
        """What was saved last; the arguments themselves where nothing was.

        A file that is damaged is replaced by the generation before it, with a RuntimeWarning: the
        metric and the positions of that moment. Where the file is missing, nothing was saved, and
        the generation before does not count: removing the file begins anew.

        Parameters
        ----------
        metric : metric, optional
            What to begin with. It must have the class and the options of the one saved; those that
            change no loss (``axis``, ``threads``, ``invalid``) are taken from it.
        positions : JSON value, optional
            Where to begin.

        Returns
        -------
        metric, positions

        Raises
        ------
        InputError
            If both generations are damaged, the file was written by a release that this one does
            not know, or the metric saved has other options.
        OSError
            If the file is there and cannot be read.
        """
        path, data = self.path, _read(self.path)
        if data is None:
            return metric, positions
        if not _intact(data):
            path, data = self.previous, _read(self.previous)
            if data is None or not _intact(data):
                found = "is damaged, or none, and there is no generation before it: remove it to begin anew"
                raise _unusable(found).with_place(self.path)
            message = f"{self.path}: the checkpoint is damaged, and the generation before it is used"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        try:
            saved, state = decode(data)
            if metric is None:
                return from_bytes(state), saved
            found = metric.copy()
            found.load_state_dict({"state": state})
        except InputError as error:
            raise error.with_place(path) from None
        return found, saved


def encode(positions: Any, state: bytes) -> bytes:
    """The bytes of a checkpoint."""
    try:
        text = json.dumps(positions, sort_keys=True, separators=(",", ":"), allow_nan=False)
        same = json.loads(text) == positions
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError("positions", f"is no JSON value: {error}") from None
    if not same:
        expected = "a JSON value, with lists for tuples and text as keys"
        raise InputError("positions", "would not come back equal", expected)
    body = b"".join(
        (MAGIC, struct.pack("<HI", VERSION, len(text)), text.encode("ascii"), struct.pack("<Q", len(state)), state)
    )
    return body + _digest(body)


def decode(data: bytes) -> tuple[Any, bytes]:
    """The positions and the state's bytes, which are still to be judged; InputError for other bytes."""
    if not _intact(data):
        raise _unusable("is damaged, cut short or none")
    try:
        version, length = struct.unpack_from("<HI", data, len(MAGIC))
        if version != VERSION:
            raise ValueError(f"it has format version {version}, and this release reads {VERSION}")
        start = len(MAGIC) + 6
        positions = json.loads(data[start : start + length].decode("ascii"))
        state = data[start + length + 8 : -DIGEST]
        if encode(positions, state) != data:
            raise ValueError("it is not in its one canonical form")
    except (struct.error, ValueError, RecursionError) as error:
        raise _unusable(f"is intact but not understood: {error}") from None
    return positions, state


def _unusable(found: str) -> InputError:
    return InputError("path", found, location="the checkpoint")


def _intact(data: bytes) -> bool:
    """Whether these are all the bytes of a checkpoint, of any version, as they were written."""
    return data.startswith(MAGIC) and data[-DIGEST:] == _digest(data[:-DIGEST])


def _digest(body: bytes) -> bytes:
    from hashlib import sha256  # here: it brings OpenSSL, which takes its time

    return sha256(body).digest()[:DIGEST]


def _read(path: str) -> bytes | None:
    """What the file holds, None where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
