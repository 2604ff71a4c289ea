"""The kernels' table, filled at import for this machine or for ``STREAMCE_SIMD``."""

import os


cdef extern from "kernels/kernels.h":
    const kernel_table* kernels
    int kernels_use(const char*)
    const char* kernels_supported(int)


cdef const kernel_table* table() noexcept nogil:
    return kernels


def supported() -> tuple[str, ...]:
    """Instruction sets that this machine can run, the slowest first."""
    names = []
    cdef int i = 0
    while kernels_supported(i) is not NULL:
        names.append(kernels_supported(i).decode())
        i += 1
    return tuple(names)


def current() -> str:
    """The instruction set in use."""
    return kernels.name.decode()


def use(name: str | None) -> None:
    """Switch to the instruction set ``name``; None is the best there is.

    ``STREAMCE_SIMD`` does this at import. The results are the same bits with each.
    """
    cdef bytes encoded = b"" if name is None else name.encode()
    cdef const char* wanted = NULL
    if name is not None:
        wanted = encoded
    if kernels_use(wanted) < 0:
        raise ValueError(
            f"STREAMCE_SIMD={name!r}: expected one of {', '.join(supported())}, which this machine supports"
        )


def exp(double x) -> float:
    """e^x with the same bits on every machine, inf where it overflows."""
    cdef double result
    cdef unsigned long long saved = fp_enter()
    kernels.exp(&x, 1, &result)
    fp_leave(saved)
    return result


def add(const double[::1] x, double[::1] to):
    """to += x, with the same bits whatever the caller's control word."""
    cdef Py_ssize_t i
    cdef unsigned long long saved
    if x.shape[0] != to.shape[0]:
        raise ValueError(f"{x.shape[0]} numbers to {to.shape[0]}")
    saved = fp_enter()
    for i in range(x.shape[0]):
        to[i] += x[i]
    fp_leave(saved)


use(os.environ.get("STREAMCE_SIMD"))
