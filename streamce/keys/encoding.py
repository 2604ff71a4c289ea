"""Keys as bytes, in the form of state files, and as text for people.

A key is an integer, a bool, a string, bytes, a datetime or None, or a tuple of several such parts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from streamce._support.short_repr import short_repr
from streamce.core.grouping.key_index import INTEGERS
from streamce.errors import InputError
from streamce.inputs.arrays import Array

EPOCH = dt.datetime(1970, 1, 1)
MICROSECOND = dt.timedelta(microseconds=1)
INT64_END = 1 << 63  # the first integer beyond int64
MAX_TEXT = 40  # characters of a part of a key that are shown


# ---- bytes ----


def encode_part(kind: str | None, value: Any, name: str = "by") -> bytes:
    """Return a part of a key as bytes."""
    if value is None:
        return b"\0"
    if kind in INTEGERS:
        return b"\1" + (int(value) + INT64_END).to_bytes(8, "big")
    try:
        data = str.encode(value) if isinstance(value, str) else memoryview(value).tobytes()  # also of subclasses
        return b"\1" + len(data).to_bytes(4, "big") + data
    except (UnicodeEncodeError, OverflowError):
        raise InputError(name, f"is {short_repr(value)}", "text that UTF-8 can hold") from None


def decode_key(kinds: Sequence[str | None], key: bytes) -> Any:
    """Return a key from its bytes: a value, or a tuple of several."""
    parts: list[Any] = []
    at = 0
    for kind in kinds:
        is_value, at = key[at], at + 1
        if not is_value:
            parts.append(None)
        elif kind in INTEGERS:
            parts.append(_value(kind, int.from_bytes(key[at : at + 8], "big") - INT64_END))
            at += 8
        else:
            length = int.from_bytes(key[at : at + 4], "big")
            data = key[at + 4 : at + 4 + length]
            parts.append(data.decode() if kind == "str" else data)
            at += 4 + length
    return parts[0] if len(parts) == 1 else tuple(parts)


def decode_keys(kinds: Sequence[str | None], has_none: bool, keys: Array | list[bytes]) -> list[Any]:
    """Return keys from the form in which :meth:`Groups.sorted` returns them."""
    if isinstance(keys, list):
        return [decode_key(kinds, key) for key in keys]
    values: list[Any] = keys.tolist()
    if kinds[0] != "int":
        values = [_value(kinds[0], value) for value in values]
    return [None, *values] if has_none else values


def _value(kind: str | None, integer: int) -> Any:
    """Return the value of a kind that an integer stands for."""
    if kind == "datetime":
        return EPOCH + integer * MICROSECOND
    return bool(integer) if kind == "bool" else integer


# ---- order ----


def sort_key(key: Any) -> Any:
    """Return the value by which keys are sorted. None comes first."""
    return [(part is not None, part) for part in (key if isinstance(key, tuple) else (key,))]


def time_sort_key(key: Any) -> Any:
    """Return the value by which keys are sorted by time, which is their last part. Keys without time come first."""
    last = key[-1] if isinstance(key, tuple) else key
    return last is not None, last


# ---- text ----


def format_key(key: Any) -> str:
    """Return a key on one line, with long parts shortened in the middle."""
    if isinstance(key, tuple):
        return ", ".join(map(format_key, key))
    text = key.isoformat(" ") if isinstance(key, dt.datetime) else str(key)
    if isinstance(key, str) and not (key.isprintable() and key.strip() == key != ""):
        text = repr(key)
    return abbreviate(text, MAX_TEXT)


def abbreviate(text: str, length: int) -> str:
    """Return a text of at most so many characters, with a longer one shortened in the middle."""
    return text if len(text) <= length else f"{text[: length // 2]}...{text[3 - length // 2 :]}"
