"""States as bytes. Equal states have equal bytes.

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

import json
import struct
from typing import Any

from streamce.core.ledger import COUNTER_NAMES, SUM_NAMES, Ledger, State
from streamce.errors import InputError

MAGIC = b"streamce"
VERSION = 1
DIGEST = 16
COLUMNS = frozenset(SUM_NAMES + COUNTER_NAMES)
# What a reader is ready to hold, whatever crafted bytes ask for: 1 GB of words in all, and 256 of
# an integer. Sums of float64 have 34, and 64 more are enough for any number of terms.
MOST_WORDS = 1 << 27
MOST_OF_ONE = 256


def _digest(body: bytes) -> bytes:
    from hashlib import sha256  # here: it brings OpenSSL, which takes its time

    return sha256(body).digest()[:DIGEST]


# ---- writing ----


def encode(name: str, options: dict[str, Any], state: State) -> bytes:
    ledgers = [(1, state.total.columns())]
    if state.cells is not None and (columns := state.cells.columns()):
        ledgers.append((state.cells.size, columns))
    body = _encode(name, options, ledgers)
    return body + _digest(body)


def _encode(name: str, options: dict[str, Any], ledgers: list[tuple[int, dict[str, dict[int, int]]]]) -> bytes:
    encoded = header(name, options)
    parts = [MAGIC, struct.pack("<HI", VERSION, len(encoded)), encoded]
    for size, columns in ledgers:
        parts += _ledger(size, columns)
    return b"".join(parts)


def header(name: str, options: dict[str, Any]) -> bytes:
    header = {"metric": name, "options": options}
    return json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


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
        raise InputError(
            "state does not begin as one of streamce's does: expected what to_bytes() gave", argument="state"
        )
    body, digest = raw[:-DIGEST], raw[-DIGEST:]
    if len(raw) < len(MAGIC) + 6 + DIGEST or _digest(body) != digest:
        raise InputError(f"state is damaged or cut short at {len(raw)} bytes: its checksum is wrong", argument="state")
    try:
        return _body(body)
    except _NOT_UNDERSTOOD as error:
        raise InputError(f"state is intact but not understood: {error}", argument="state") from None


_NOT_UNDERSTOOD = (struct.error, ArithmeticError, LookupError, TypeError, ValueError, RecursionError, MemoryError)


def _body(body: bytes) -> tuple[str, dict[str, Any], State]:
    version, length = struct.unpack_from("<HI", body, len(MAGIC))
    if version != VERSION:
        raise ValueError(f"it has format version {version}, and this release reads {VERSION}")
    at = len(MAGIC) + 6
    said = json.loads(body[at : at + length].decode())
    name, options = said["metric"], said["options"]
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError("its header names no metric and options")
    ledgers, at = [], at + length
    while at < len(body):
        size, columns, at = _columns(body, at)
        ledgers.append((size, columns))
    if not 1 <= len(ledgers) <= 2 or ledgers[0][0] != 1:
        raise ValueError("it does not hold a total and its cells")
    full = all(columns for _, columns in ledgers[1:]) and all(all(columns.values()) for _, columns in ledgers)
    if not full or _encode(name, options, ledgers) != body:
        raise ValueError("it is not in its one canonical form")
    return name, options, State(*(_filled(size, columns) for size, columns in ledgers))


def _columns(body: bytes, at: int) -> tuple[int, dict[str, dict[int, int]], int]:
    """A ledger's integers by column and cell, and where they end."""
    size, many = struct.unpack_from("<QH", body, at)
    at += 10
    columns: dict[str, dict[int, int]] = {}
    room = held = 0
    for _ in range(many):
        (length,) = struct.unpack_from("<B", body, at)
        name = body[at + 1 : at + 1 + length].decode("ascii")
        if name not in COLUMNS:
            raise ValueError(f"unknown column {name!r}")
        (count,) = struct.unpack_from("<Q", body, at + 1 + length)
        at += 9 + length
        cells: dict[int, int] = {}
        low, high = 1 << 16, 0
        for _ in range(count):
            cell, first, words = struct.unpack_from("<QHH", body, at)
            at += 12
            held += first + words
            if cell >= size or at + 8 * words > len(body) or first + words > MOST_OF_ONE or held > MOST_WORDS:
                raise ValueError(f"an integer of {first + words} words in cell {cell} of {size}")
            cells[cell] = int.from_bytes(body[at : at + 8 * words], "little", signed=True) << (64 * first)
            low, high = min(low, first), max(high, first + words)
            at += 8 * words
        columns[name] = cells
        room += size * max(2, high - low + 2)
        if room > MOST_WORDS:
            raise ValueError(f"it asks for more than {MOST_WORDS >> 27} GB of memory")
    return size, columns, at


def _filled(size: int, columns: dict[str, dict[int, int]]) -> Ledger:
    ledger = Ledger(size)
    for name, cells in columns.items():
        for cell, value in cells.items():
            ledger.add_integer(name, cell, value)
    return ledger
