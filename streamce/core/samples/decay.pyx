"""The weights of samples by their age.

Time is divided into half-lives, counted from 1970. A sample at the fraction f of its half-life has the weight
2^(f - 1) within it. This weight is at least 1/2 and less than 1, so no finite n becomes infinite. Whole half-lives are
multiplied by powers of two later, which needs no rounding.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport malloc

from streamce.core.kernels.kernels cimport BLOCK, fp_enter, fp_leave, table
from streamce.core.samples.samples cimport Samples

import numpy as np

cdef double LN2 = 0.6931471805599453


def decay(Samples samples not None, const int64_t[::1] ticks, int64_t half_life):
    """Multiply n and d of each sample by its weight within its half-life. Return the number of the half-life."""
    cdef Py_ssize_t size = ticks.shape[0]
    numbers = np.empty(size, dtype=np.int64)
    cdef int64_t[::1] number = numbers
    cdef double[BLOCK] x
    cdef double[BLOCK] factor
    cdef Py_ssize_t at, i, k
    cdef int64_t rest
    cdef unsigned long long saved
    if samples.samples != size:
        raise ValueError(f"{size} ticks of {samples.samples} samples")
    if samples.d is NULL:
        samples.d = <double*>malloc(max(1, size) * sizeof(double))
        if samples.d is NULL:
            raise MemoryError
        for i in range(size):
            samples.d[i] = 1.0
    saved = fp_enter()
    for at in range(0, size, BLOCK):
        k = min(<Py_ssize_t>BLOCK, size - at)
        for i in range(k):
            rest = ticks[at + i] % half_life  # C rounds towards 0
            rest += half_life if rest < 0 else 0
            number[at + i] = (ticks[at + i] - rest) / half_life
            x[i] = -(<double>(half_life - rest) / <double>half_life) * LN2
        table().exp(x, k, factor)
        for i in range(k):
            samples.n[at + i] *= factor[i]
            samples.d[at + i] *= factor[i]
    fp_leave(saved)
    return numbers
