"""The caller's floating-point mode: rounding, and whether subnormal numbers are flushed to zero."""

import ctypes
import ctypes.util
import os
import platform
from contextlib import contextmanager

import numpy as np

FLUSH, UPWARD, DOWNWARD, TO_ZERO = "flush", "upward", "downward", "to zero"
# The offset of the control word in C's fenv_t, and the bits of each mode.
WORDS = {
    "x86_64": (28, {FLUSH: 0x8040, UPWARD: 0x4000, DOWNWARD: 0x2000, TO_ZERO: 0x6000}),
    "AMD64": (28, {FLUSH: 0x8040, UPWARD: 0x4000, DOWNWARD: 0x2000, TO_ZERO: 0x6000}),
    "aarch64": (0, {FLUSH: 1 << 24, UPWARD: 1 << 22, DOWNWARD: 2 << 22, TO_ZERO: 3 << 22}),
    "arm64": (8, {FLUSH: 1 << 24, UPWARD: 1 << 22, DOWNWARD: 2 << 22, TO_ZERO: 3 << 22}),
}
AT, MODES = WORDS.get(platform.machine(), (0, {})) if os.name == "posix" else (0, {})


@contextmanager
def control(mode):
    """Set the caller's control word to a mode, as torch.set_flush_denormal(True) does."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    saved, changed = ctypes.create_string_buffer(512), ctypes.create_string_buffer(512)
    libm.fegetenv(saved)
    libm.fegetenv(changed)
    word = ctypes.c_uint32.from_buffer(changed, AT)
    word.value |= MODES[mode]
    libm.fesetenv(changed)
    try:
        yield
    finally:
        libm.fesetenv(saved)


def in_mode(mode):
    """Return whether the caller's arithmetic follows the mode."""
    ten = 10.0
    if mode == FLUSH:
        return (np.array([1e-310]) * np.array([1.0]))[0] == 0.0
    return (1.0 / ten, -1.0 / ten) != (0.1, -0.1)
