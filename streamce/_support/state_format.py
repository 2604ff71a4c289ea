"""The envelope of states as bytes, which docs/FORMAT.md describes byte by byte. Equal states have equal bytes.

A state consists of a header and parts. The header is ``{"metric": name, "options": {...}}`` with the options that
change a loss. Parts are bytes by name, which the core writes and reads. A reader accepts only bytes that a writer would
have written.
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
    from hashlib import sha256  # here, because it loads OpenSSL, which is slow

    return sha256(body).digest()[:DIGEST]


def encode(header: Header, parts: dict[str, bytes]) -> bytes:
    """Return the bytes of a state."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    body = b"".join([MAGIC, struct.pack("<HI", VERSION, len(text)), text, join_parts(parts)])
    return body + _digest(body)


def join_parts(parts: dict[str, bytes]) -> bytes:
    """Return parts one after another, each with its name and length."""
    pieces = []
    for name in sorted(parts):
        pieces += [struct.pack("<B", len(name)), name.encode(), struct.pack("<Q", len(parts[name])), parts[name]]
    return b"".join(pieces)


def decode(data: Any) -> tuple[Header, dict[str, bytes]]:
    """Return the header and the parts, or raise InputError if the bytes are not intact.

    The caller checks the content of the header and the parts, within :class:`decoding_errors`.
    """
    try:
        raw = bytes(memoryview(data).cast("B"))
    except TypeError:
        raise InputError("state", f"is {type(data).__name__}", "bytes") from None
    if raw[: len(MAGIC)] != MAGIC:
        raise InputError("state", "does not begin like a state of streamce", "the bytes that to_bytes() returned")
    body, digest = raw[:-DIGEST], raw[-DIGEST:]
    if len(raw) < len(MAGIC) + 6 + DIGEST or _digest(body) != digest:
        raise InputError("state", f"is damaged or cut short at {len(raw)} bytes: its checksum is wrong")
    with decoding_errors():
        return _body(body)


class decoding_errors:
    """A context that converts the exceptions for intact bytes that no writer would have written to InputError."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, InputError) and error.argument == "state":
            return
        if isinstance(error, _DECODING_ERRORS):
            raise InputError("state", f"is intact but not understood: {error}") from None


_DECODING_ERRORS = (struct.error, ArithmeticError, LookupError, TypeError, ValueError, RecursionError, MemoryError)


def _body(body: bytes) -> tuple[Header, dict[str, bytes]]:
    version, length = struct.unpack_from("<HI", body, len(MAGIC))
    if version != VERSION:
        raise ValueError(f"it has format version {version}, and this release reads {VERSION}")
    at = len(MAGIC) + 6
    header = json.loads(body[at : at + length].decode())
    check_header(header)
    return header, split_parts(body, at + length)


def split_parts(body: bytes, at: int = 0) -> dict[str, bytes]:
    """Return the parts that bytes hold from offset ``at`` on. Malformed bytes raise exceptions of several types."""
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


def check_header(header: Any) -> None:
    """Raise ValueError unless a header names a metric and options."""
    if not isinstance(header, dict) or not isinstance(header.get("metric"), str):
        raise ValueError("its header names no metric")
    if not isinstance(header.get("options"), dict):
        raise ValueError("its header has no options")
