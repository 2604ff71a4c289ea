"""States as bytes: docs/FORMAT.md has them byte by byte. Equal states have equal bytes.

What a state says of itself is a header, ``{"metric": name, "options": {...}}`` with the options that
change a loss; what it holds are parts, bytes by name, which the core writes and reads. A reader takes
only what a writer would have written, to the byte.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from streamce.errors import InputError

MAGIC = b"streamce"
VERSION = 1
DIGEST = 16
Header = dict[str, Any]


def _digest(body: bytes) -> bytes:
    from hashlib import sha256  # here: it brings OpenSSL, which takes its time

    return sha256(body).digest()[:DIGEST]


def encode(header: Header, parts: dict[str, bytes]) -> bytes:
    """The bytes of a state."""
    said = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    body = b"".join([MAGIC, struct.pack("<HI", VERSION, len(said)), said, joined(parts)])
    return body + _digest(body)


def joined(parts: dict[str, bytes]) -> bytes:
    """Parts one after another, each with its name and length."""
    pieces = []
    for name in sorted(parts):
        pieces += [struct.pack("<B", len(name)), name.encode(), struct.pack("<Q", len(parts[name])), parts[name]]
    return b"".join(pieces)


def decode(data: Any) -> tuple[Header, dict[str, bytes]]:
    """The header and the parts; InputError for anything but intact bytes.

    Whether what they say makes sense is for the caller to find out: see :func:`understood`.
    """
    try:
        raw = bytes(memoryview(data).cast("B"))
    except TypeError:
        raise InputError("state", f"is {type(data).__name__}", "bytes") from None
    if raw[: len(MAGIC)] != MAGIC:
        raise InputError("state", "does not begin as one of streamce's does", "what to_bytes() gave")
    body, digest = raw[:-DIGEST], raw[-DIGEST:]
    if len(raw) < len(MAGIC) + 6 + DIGEST or _digest(body) != digest:
        raise InputError("state", f"is damaged or cut short at {len(raw)} bytes: its checksum is wrong")
    with understood():
        return _body(body)


class understood:
    """Turns whatever goes wrong with intact bytes that no writer would have written into one error."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, InputError) and error.argument == "state":
            return
        if isinstance(error, _NOT_UNDERSTOOD):
            raise InputError("state", f"is intact but not understood: {error}") from None


_NOT_UNDERSTOOD = (struct.error, ArithmeticError, LookupError, TypeError, ValueError, RecursionError, MemoryError)


def _body(body: bytes) -> tuple[Header, dict[str, bytes]]:
    version, length = struct.unpack_from("<HI", body, len(MAGIC))
    if version != VERSION:
        raise ValueError(f"it has format version {version}, and this release reads {VERSION}")
    at = len(MAGIC) + 6
    header = json.loads(body[at : at + length].decode())
    check(header)
    return header, split(body, at + length)


def split(body: bytes, at: int = 0) -> dict[str, bytes]:
    """The parts that bytes hold from a place on; ValueError and its like for anything else."""
    parts = {}
    while at < len(body):
        name = body[at + 1 : at + 1 + body[at]].decode("ascii")
        (size,) = struct.unpack_from("<Q", body, at + 1 + len(name))
        at += 9 + len(name)
        if size > len(body) - at:
            raise ValueError(f"part {name!r} is cut short")
        parts[name] = body[at : at + size]
        at += size
    return parts


def check(header: Any) -> None:
    """Raises unless this names a metric and options."""
    if not isinstance(header, dict) or not isinstance(header.get("metric"), str):
        raise ValueError("its header names no metric")
    if not isinstance(header.get("options"), dict):
        raise ValueError("its header has no options")
