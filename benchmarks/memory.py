"""The memory that a call takes in addition to that of the process, and the number of page faults."""

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
    """Return the peak bytes of a call minus the bytes before it, or None if the system does not report them."""
    if not CLEAR.exists():
        call()
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # return free memory of the heap, because the call could use it without a larger peak
    CLEAR.write_text("5")  # reset the peak to the present size
    before = _kilobytes("VmRSS")
    call()
    return max(0, _kilobytes("VmHWM") - before) * 1024


def faults() -> int:
    """Return the number of page faults so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
