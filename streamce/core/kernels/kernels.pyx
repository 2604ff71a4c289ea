"""The table of kernels, chosen at import for this machine or by ``STREAMCE_SIMD``."""

import functools
import os


cdef extern from "kernels.h":
    const kernel_table* kernels
    int kernels_use(const char*)
    const char* kernels_supported(int)


cdef const kernel_table* table() noexcept nogil:
    return kernels


def supported() -> tuple[str, ...]:
    """Return the instruction sets that this machine supports, slowest first."""
    names = []
    cdef int i = 0
    while kernels_supported(i) is not NULL:
        names.append(kernels_supported(i).decode())
        i += 1
    return tuple(names)


def current() -> str:
    """Return the instruction set in use."""
    return kernels.name.decode()


def use(name: str | None) -> None:
    """Switch to the instruction set ``name``, or to the best one if it is None.

    ``STREAMCE_SIMD`` does this at import. All instruction sets give the same bits.
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
    """Return e^x with the same bits on every machine, or inf if it overflows."""
    cdef double result
    cdef unsigned long long saved = fp_enter()
    kernels.exp(&x, 1, &result)
    fp_leave(saved)
    return result


def add(const double[::1] x, double[::1] to):
    """Add x to ``to``, with the same bits for any control word of the caller."""
    cdef Py_ssize_t i
    cdef unsigned long long saved
    if x.shape[0] != to.shape[0]:
        raise ValueError(f"{x.shape[0]} numbers to {to.shape[0]}")
    saved = fp_enter()
    for i in range(x.shape[0]):
        to[i] += x[i]
    fp_leave(saved)


# ---- the floating-point mode of Python and NumPy ----


cdef class DefaultMode:
    """A context in which arithmetic rounds to nearest and keeps subnormal numbers, whatever the caller's mode."""

    cdef unsigned long long saved

    def __enter__(self):
        self.saved = fp_enter()
        return self

    def __exit__(self, *error):
        fp_leave(self.saved)

    def of_caller(self, iterator):
        """Yield the items of an iterator. The iterator's code runs in the caller's mode."""
        cdef unsigned long long saved
        while True:
            saved = fp_enter()
            fp_leave(self.saved)
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                fp_enter()
                fp_leave(saved)
            yield item


def in_default_mode(function):
    """Decorate a function to run in the default mode, which rounds to nearest and keeps subnormal numbers."""

    @functools.wraps(function)
    def in_mode(*args, **kwargs):
        cdef unsigned long long saved = fp_enter()
        try:
            return function(*args, **kwargs)
        finally:
            fp_leave(saved)

    return in_mode


use(os.environ.get("STREAMCE_SIMD"))
