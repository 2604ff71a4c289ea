"""Values and errors of users and other libraries as short text for a message. It never reads foreign memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MAX_LENGTH = 60  # characters of a value that a message shows
# Types whose values do not refer to memory of another library.
ATOMIC_TYPES = (bytes, dt.date, float, int, np.generic, str, type(None))
# Protocols of arrays of other libraries.
ARRAY_PROTOCOLS = ("__array__", "__arrow_c_array__", "__arrow_c_stream__", "__dlpack__")


def short_repr(value: Any) -> str:
    """Return a value on one line, shortened if it is long, or its type if ``repr`` would read foreign memory."""
    try:
        if _holds_memory(value):
            return f"a {type(value).__name__}"
        text = " ".join(repr(value.item() if isinstance(value, np.generic) else value).split())
    except Exception:  # any exception of a third-party __repr__
        text = f"a {type(value).__name__}"
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."


def reason(error: Exception) -> str:
    """Return the first sentence of an error, or its type if it has no message or cannot be printed."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    return text.split(". ")[0].rstrip(".") or type(error).__name__


def _holds_memory(value: Any) -> bool:
    """Return whether a value is or contains a foreign tensor or array, whose ``repr`` reads memory."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_holds_memory, value))
    if isinstance(value, Mapping):
        return any(map(_holds_memory, value.values()))
    if isinstance(value, (*ATOMIC_TYPES, np.ndarray)):
        return False
    cls = type(value)
    is_buffer = cls.__module__.startswith("pyarrow") or cls.__name__.endswith("Storage")  # a storage of torch
    return is_buffer or any(hasattr(cls, name) for name in ARRAY_PROTOCOLS)


def quote_names(names: Sequence[Any], max_names: int = 12) -> str:
    """Return names in quotes, between commas. Long lists are shortened."""
    text = ", ".join(f"'{name}'" for name in names[:max_names])
    return text + (f", ... ({len(names)} in all)" if len(names) > max_names else "")
