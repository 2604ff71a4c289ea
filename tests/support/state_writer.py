"""Bytes as docs/FORMAT.md has them, right or wrong, piece by piece."""

import hashlib
import json

import state_reader


def u(width, value):
    """A little-endian integer; modulo what fits."""
    return (value % (1 << 8 * width)).to_bytes(width, "little")


def sealed(body):
    """A body with the checksum that belongs to it."""
    return body + hashlib.sha256(body).digest()[:16]


def body(header, *parts, version=1):
    """What a checksum is of: a header (a dict, or its bytes) and parts (name, payload)."""
    if not isinstance(header, bytes):
        header = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return b"".join([b"streamce", u(2, version), u(4, len(header)), header, *(part(*one) for one in parts)])


def part(name, payload, length=None):
    return u(1, len(name)) + name + u(8, len(payload) if length is None else length) + payload


def ledger(size, *cells, count=None):
    """Cells are (number, record)."""
    return u(8, size) + u(8, len(cells) if count is None else count) + b"".join(u(8, at) + raw for at, raw in cells)


def record(*columns, bits=0):
    """Columns are (name or bit, first word, words)."""
    raw = b""
    for name, first, words in columns:
        bits |= 1 << (state_reader.COLUMNS.index(name) if isinstance(name, str) else name)
        raw += u(1, first) + u(1, len(words)) + b"".join(u(8, word) for word in words)
    return u(4, bits) + raw


def groups(kinds, *some, count=None):
    """Groups are (key's bytes, record)."""
    return (
        u(1, len(kinds)) + bytes(kinds) + u(8, len(some) if count is None else count) + b"".join(k + r for k, r in some)
    )


def checkpoint(positions, state, version=1):
    """What the checksum of a checkpoint is of: positions (a JSON value, or its bytes) and a state's bytes."""
    if not isinstance(positions, bytes):
        positions = json.dumps(positions, sort_keys=True, separators=(",", ":")).encode()
    return b"".join([b"streamck", u(2, version), u(4, len(positions)), positions, u(8, len(state)), state])


def key(kind, value):
    """A part of a key."""
    if value is None:
        return b"\0"
    if kind in (state_reader.STR, state_reader.BYTES):
        raw = value.encode() if kind == state_reader.STR else value
        return b"\1" + len(raw).to_bytes(4, "big") + raw
    return b"\1" + (value + 2**63).to_bytes(8, "big")
