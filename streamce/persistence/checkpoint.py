"""Writes a metric and the positions of its input to one file that survives a crash.

docs/FORMAT.md documents the file byte by byte, and how the previous checkpoint is kept. A reader accepts only the bytes
that a writer would write.
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
    """A file that holds a metric and the positions in the sources up to which it counts.

    Both are written together, so they always match: a job can be killed at any time, and if it resumes from the loaded
    checkpoint, it counts each row exactly once. The sources must be readable from a position, such as files, Kafka and
    other logs. Their consumers must seek to the loaded positions, not to those that the broker has committed. Rows that
    were counted after the last save are read and counted again.

    Parameters
    ----------
    path : path-like
        The file. The previous checkpoint is kept at ``path + ".previous"``. Only one process at a time may save there.
        If two do, the later save wins and the rows of the other are lost, but each file stays intact. Both files keep
        the permissions of the file that they replace.

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
        self.path: str = os.path.abspath(os.fsdecode(path))  # absolute, because the process may change its folder
        self.previous: str = self.path + ".previous"
        self._saved: float | None = None

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r})"

    @in_default_mode
    def save(self, metric: Any, positions: Any, *, every: float = 0.0) -> bool:
        """Write the metric's state and the positions, both or neither.

        Parameters
        ----------
        metric : metric
            An object with ``to_bytes()``.
        positions : JSON value
            Where to read the sources next: None, bools, numbers, text, lists, and dicts with text as keys. ``load``
            returns an equal value, so tuples, NaN and integers of NumPy are errors.
        every : float
            Write only if this object's last save was at least this many seconds ago. A loop can then call ``save``
            after each batch.

        Returns
        -------
        bool
            Whether the file was written.

        Raises
        ------
        InputError
            If the positions are not a JSON value.
        OSError
            If the file cannot be written, for example because the disk is full. The old file is kept then.

        Examples
        --------
        >>> import tempfile, streamce as ce
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoint = ce.Checkpoint(folder + "/job.checkpoint")
        ...     checkpoint.save(ce.MeanLoss(), {"row": 0}), checkpoint.save(ce.MeanLoss(), {"row": 1}, every=60)
        (True, False)
        """
        if self._saved is not None and time.monotonic() - self._saved < every:
            return False
        data = encode(positions, metric.to_bytes())
        if self._saved is None:
            for path in (self.path, self.previous):
                atomic_file.remove_stale_temporaries(path)
        current = _read(self.path)
        if current is None:  # started anew, so the checkpoint of an earlier run must not be restored
            with suppress(FileNotFoundError):
                os.unlink(self.previous)
        elif _intact(current):
            atomic_file.write(self.previous, current, permissions_from=self.path)
        atomic_file.write(self.path, data)
        self._saved = time.monotonic()
        return True

    @in_default_mode
    def load(self, metric: Any = None, positions: Any = None) -> tuple[Any, Any]:
        """Return the saved metric and positions, or the arguments if nothing was saved.

        If the file is damaged, the metric and positions of the previous checkpoint are returned with a RuntimeWarning.
        If the file does not exist, nothing was saved, and the previous checkpoint is not used. Remove the file to start
        anew.

        Parameters
        ----------
        metric : metric, optional
            The metric to start with. It must have the class and the options of the saved one. Options that change no
            loss (``axis``, ``threads``, ``invalid``) are taken from it.
        positions : JSON value, optional
            The positions to start from.

        Returns
        -------
        metric, positions

        Raises
        ------
        InputError
            If both checkpoints are damaged, if an unknown release wrote the file, or if the saved metric has other
            options.
        OSError
            If the file exists and cannot be read.

        Examples
        --------
        >>> import tempfile, streamce as ce
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoint = ce.Checkpoint(folder + "/job.checkpoint")
        ...     _ = checkpoint.save(ce.MeanLoss().update([1.0, 2.0]), {"row": 2})
        ...     metric, positions = checkpoint.load()
        >>> metric.compute(), positions
        (1.5, {'row': 2})
        """
        path, data = self.path, _read(self.path)
        if data is None:
            return metric, positions
        if not _intact(data):
            path, data = self.previous, _read(self.previous)
            if data is None or not _intact(data):
                found = "is damaged, and there is no intact previous checkpoint: remove it to start anew"
                raise _checkpoint_error(found).with_place(self.path)
            message = f"{self.path}: the checkpoint is damaged, so the previous checkpoint is used"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        try:
            saved, state = decode(data)
            if metric is None:
                return from_bytes(state), saved
            restored = metric.copy()
            restored.load_state_dict({"state": state})
        except InputError as error:
            raise error.with_place(path) from None
        return restored, saved


def encode(positions: Any, state: bytes) -> bytes:
    """Return the bytes of a checkpoint."""
    try:
        text = json.dumps(positions, sort_keys=True, separators=(",", ":"), allow_nan=False)
        is_equal = json.loads(text) == positions
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError("positions", f"is not a JSON value: {error}") from None
    if not is_equal:
        expected = "a JSON value, with lists for tuples and text as keys"
        raise InputError("positions", "would be loaded as another value", expected)
    body = b"".join(
        (MAGIC, struct.pack("<HI", VERSION, len(text)), text.encode("ascii"), struct.pack("<Q", len(state)), state)
    )
    return body + _digest(body)


def decode(data: bytes) -> tuple[Any, bytes]:
    """Return the positions and the unchecked bytes of the state, or raise InputError."""
    if not _intact(data):
        raise _checkpoint_error("is damaged or truncated, or is not a checkpoint")
    try:
        version, length = struct.unpack_from("<HI", data, len(MAGIC))
        if version != VERSION:
            raise ValueError(f"it has format version {version}, and this release reads {VERSION}")
        start = len(MAGIC) + 6
        positions = json.loads(data[start : start + length].decode("ascii"))
        state = data[start + length + 8 : -DIGEST]
        if encode(positions, state) != data:
            raise ValueError("it is not in the canonical form")
    except (struct.error, ValueError, RecursionError) as error:
        raise _checkpoint_error(f"is intact but not understood: {error}") from None
    return positions, state


def _checkpoint_error(found: str) -> InputError:
    return InputError("path", found, location="the checkpoint")


def _intact(data: bytes) -> bool:
    """Return whether these are the complete, unchanged bytes of a checkpoint of any version."""
    return data.startswith(MAGIC) and data[-DIGEST:] == _digest(data[:-DIGEST])


def _digest(body: bytes) -> bytes:
    from hashlib import sha256  # here, because it loads OpenSSL, which is slow

    return sha256(body).digest()[:DIGEST]


def _read(path: str) -> bytes | None:
    """Return the content of a file, None if it does not exist."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
