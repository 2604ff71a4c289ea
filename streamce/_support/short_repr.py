"""Values and errors of users and other libraries, as short text for a message."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_LENGTH = 60  # characters of a value that a message shows
# Types whose values hold no memory of another library.
ATOMS = (bytes, dt.date, float, int, np.generic, str, type(None))
# Protocols by which arrays of other libraries can be read.
PROTOCOLS = ("__array__", "__arrow_c_array__", "__arrow_c_stream__", "__dlpack__")


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
    if isinstance(value, (*ATOMS, np.ndarray)):
        return False
    library = type(value).__module__.partition(".")[0]
    return library in ("pyarrow", "torch") or any(hasattr(type(value), name) for name in PROTOCOLS)
