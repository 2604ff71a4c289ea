"""The memory that a call takes beyond what the process had, and the pages it faults in."""

from __future__ import annotations

import ctypes
import re
import resource
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _kilobytes(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", STATUS.read_text())
    assert found is not None
    return int(found[1])


def extra(call: Callable[[], object]) -> int | None:
    """Peak bytes of a call beyond those before it, None where the system does not tell."""
    if not CLEAR.exists():
        call()
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # what lies free in the heap would hide what the call takes
    CLEAR.write_text("5")  # the peak is now what is there
    before = _kilobytes("VmRSS")
    call()
    return max(0, _kilobytes("VmHWM") - before) * 1024


def faults() -> int:
    """Pages that had to be brought in so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
