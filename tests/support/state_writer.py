"""Writes bytes in the format of docs/FORMAT.md piece by piece, valid or not."""

import hashlib
import json

import state_reader


def u(width, value):
    """Return a little-endian integer, modulo its range."""
    return (value % (1 << 8 * width)).to_bytes(width, "little")


def sealed(body):
    """Return a body with its checksum."""
    return body + hashlib.sha256(body).digest()[:16]


def body(header, *parts, version=1):
    """Return the bytes before the checksum: a header (a dict, or its bytes) and parts (name, payload)."""
    if not isinstance(header, bytes):
        header = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return b"".join([b"streamce", u(2, version), u(4, len(header)), header, *(part(*one) for one in parts)])


def part(name, payload, length=None):
    return u(1, len(name)) + name + u(8, len(payload) if length is None else length) + payload


def ledger(size, *cells, count=None):
    """Return a ledger. Cells are (number, record)."""
    return u(8, size) + u(8, len(cells) if count is None else count) + b"".join(u(8, at) + raw for at, raw in cells)


def record(*columns, bits=0):
    """Return a record. Columns are (name or bit, first word, words)."""
    raw = b""
    for name, first, words in columns:
        bits |= 1 << (state_reader.COLUMNS.index(name) if isinstance(name, str) else name)
        raw += u(1, first) + u(1, len(words)) + b"".join(u(8, word) for word in words)
    return u(4, bits) + raw


def groups(kinds, *some, count=None):
    """Return groups. Each is (bytes of the key, record)."""
    return (
        u(1, len(kinds)) + bytes(kinds) + u(8, len(some) if count is None else count) + b"".join(k + r for k, r in some)
    )


def states(kinds, *some, count=None):
    """Return states by key. Each is (bytes of the key, its parts), or (bytes of the key, its parts, their length)."""
    raw = u(1, len(kinds)) + bytes(kinds) + u(8, len(some) if count is None else count)
    for one, parts, *length in some:
        data = b"".join(part(*each) for each in parts)
        raw += one + u(8, length[0] if length else len(data)) + data
    return raw


def checkpoint(positions, state, version=1):
    """Return the bytes of a checkpoint before the checksum: positions (a JSON value, or its bytes) and a state."""
    if not isinstance(positions, bytes):
        positions = json.dumps(positions, sort_keys=True, separators=(",", ":")).encode()
    return b"".join([b"streamck", u(2, version), u(4, len(positions)), positions, u(8, len(state)), state])


def key(kind, value):
    """Return a part of a key."""
    if value is None:
        return b"\0"
    if kind in (state_reader.STR, state_reader.BYTES):
        raw = value.encode() if kind == state_reader.STR else value
        return b"\1" + len(raw).to_bytes(4, "big") + raw
    return b"\1" + (value + 2**63).to_bytes(8, "big")
