"""States as bytes and files. Equal states have equal bytes.

The layout, all little-endian::

    8 bytes   "streamce"
    u16       version of the format, 1
    u32 + ... the metric's name and the options that change a loss: JSON, keys sorted
    per ledger (the total, then the cells if any is not 0):
      u64     cells
      u16     columns that are not 0 throughout, in order of their names
      per column:
        u8 + ...  its name
        u64       cells that are not 0, in order
        per cell: u64 its number, u16 the first word, u16 the words that follow,
                  u64 each: an integer in two's complement, lowest word first,
                  from the first word that is not 0 to the last that is needed
    16 bytes  the first half of the SHA-256 of all that stands before

A reader takes only what a writer would have written, to the byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from typing import TYPE_CHECKING, Any

from streamce.core.ledger import COUNTER_NAMES, SUM_NAMES, Ledger, State
from streamce.errors import InputError

if TYPE_CHECKING:
    from streamce.metrics.base import Metric

MAGIC = b"streamce"
VERSION = 1
DIGEST = 16
COLUMNS = frozenset(SUM_NAMES + COUNTER_NAMES)
MOST_WORDS = 64  # of a sum; none that can be reached needs more than 40
MOST_CELLS = 1 << 26


# ---- writing ----


def encode(name: str, options: dict[str, Any], state: State) -> bytes:
    header = json.dumps({"metric": name, "options": options}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    encoded = header.encode()
    parts = [MAGIC, struct.pack("<HI", VERSION, len(encoded)), encoded]
    for ledger in (state.total, state.cells):
        columns = ledger.columns() if ledger is not None else {}
        if ledger is not state.cells or columns:
            parts += _ledger(ledger.size, columns)
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()[:DIGEST]


def _ledger(size: int, columns: dict[str, dict[int, int]]) -> list[bytes]:
    parts = [struct.pack("<QH", size, len(columns))]
    for name in sorted(columns):
        cells = columns[name]
        parts.append(struct.pack("<B", len(name)) + name.encode() + struct.pack("<Q", len(cells)))
        parts += [struct.pack("<Q", cell) + _integer(cells[cell]) for cell in sorted(cells)]
    return parts


def _integer(value: int) -> bytes:
    first = ((value & -value).bit_length() - 1) // 64
    value >>= 64 * first
    words = (value if value >= 0 else ~value).bit_length() // 64 + 1  # one bit is the sign's
    return struct.pack("<HH", first, words) + value.to_bytes(8 * words, "little", signed=True)


# ---- reading ----


def decode(data: Any) -> tuple[str, dict[str, Any], State]:
    """The metric's name, its options and its state; InputError for anything but intact bytes."""
    try:
        raw = bytes(memoryview(data).cast("B"))
    except TypeError:
        raise InputError(f"state is {type(data).__name__}: expected bytes", argument="state") from None
    if raw[: len(MAGIC)] != MAGIC:
        raise InputError("state does not begin as one of streamce's does: expected what to_bytes() gave", argument="state")
    body, digest = raw[:-DIGEST], raw[-DIGEST:]
    if len(raw) < len(MAGIC) + 6 + DIGEST or hashlib.sha256(body).digest()[:DIGEST] != digest:
        raise InputError(f"state is damaged or cut short at {len(raw)} bytes: its checksum is wrong", argument="state")
    try:
        found = _body(body)
        name, options, state = found
        if encode(name, options, state) != raw:
            raise ValueError("not in its one canonical form")
    except (struct.error, ValueError, KeyError, IndexError, UnicodeError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise InputError(f"state is intact but not understood: {error}", argument="state") from None
    return found


def _body(body: bytes) -> tuple[str, dict[str, Any], State]:
    version, length = struct.unpack_from("<HI", body, len(MAGIC))
    if version != VERSION:
        raise ValueError(f"it has format version {version}, and this release reads {VERSION}")
    at = len(MAGIC) + 6
    header = json.loads(body[at : at + length].decode())
    total, at = _read_ledger(body, at + length)
    cells = None
    if at < len(body):
        cells, at = _read_ledger(body, at)
    if at != len(body) or total.size != 1:
        raise ValueError("its parts do not fit its length")
    return header["metric"], header["options"], State(total, cells)


def _read_ledger(body: bytes, at: int) -> tuple[Ledger, int]:
    size, columns = struct.unpack_from("<QH", body, at)
    at += 10
    if not 0 < size <= MOST_CELLS:
        raise ValueError(f"a ledger of {size} cells")
    ledger = Ledger(size)
    for _ in range(columns):
        (length,) = struct.unpack_from("<B", body, at)
        name = body[at + 1 : at + 1 + length].decode("ascii")
        if name not in COLUMNS:
            raise ValueError(f"unknown column {name!r}")
        (count,) = struct.unpack_from("<Q", body, at + 1 + length)
        at += 9 + length
        for _ in range(count):
            cell, first, words = struct.unpack_from("<QHH", body, at)
            at += 12
            if words > MOST_WORDS or first > MOST_WORDS or at + 8 * words > len(body):
                raise ValueError(f"an integer of {words} words")
            ledger.add_integer(name, cell, int.from_bytes(body[at : at + 8 * words], "little", signed=True) << (64 * first))
            at += 8 * words
    return ledger, at


# ---- files ----


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Puts ``data`` at ``path``, whole or not at all, and waits until it is on the disk."""
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if os.name == "posix":  # the new name has to reach the disk too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def from_bytes(data: bytes | bytearray | memoryview) -> Metric:
    """The metric whose ``to_bytes()`` gave ``data``.

    Options that change no loss (``axis``, ``threads``, ``invalid``) are the defaults again.

    Raises
    ------
    InputError
        If the bytes are damaged, cut short, foreign or of a version that is not known.

    Examples
    --------
    >>> import streamce as ce
    >>> metric = ce.BinaryCrossEntropy().update([0.25, 0.5], [0, 1])
    >>> ce.from_bytes(metric.to_bytes()) == metric
    True
    """
    from streamce.metrics import METRICS

    name, options, state = decode(data)
    if name not in METRICS:
        raise InputError(f"state is of a metric {name!r}, which this release does not know", argument="state")
    metric = METRICS[name]._of(options)
    metric._state = state
    metric._check_cells()
    return metric


def load(path: str | os.PathLike[str]) -> Metric:
    """The metric that ``save(path)`` wrote; see :func:`from_bytes`."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        return from_bytes(data)
    except InputError as error:
        raise InputError(f"{os.fspath(path)}: {error}", argument="path") from None
