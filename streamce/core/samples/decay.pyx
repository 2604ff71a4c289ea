"""The weights of samples by their age.

Time is divided into half-lives, counted from 1970. A sample at the fraction f of its half-life has the weight
2^(f - 1) within it. This weight is at least 1/2 and less than 1, so no finite n becomes infinite. Whole half-lives are
multiplied by powers of two later, which needs no rounding.
"""

from libc.stdint cimport int64_t

from streamce.core.kernels.kernels cimport BLOCK, fp_enter, fp_leave, table

import numpy as np

cdef double LN2 = 0.6931471805599453


def decay(const int64_t[::1] ticks, int64_t half_life):
    """Return the number of the half-life of each tick, and the weight within it."""
    cdef Py_ssize_t size = ticks.shape[0]
    numbers, weights = np.empty(size, dtype=np.int64), np.empty(size)
    cdef int64_t[::1] number = numbers
    cdef double[::1] weight = weights
    cdef double[BLOCK] x
    cdef Py_ssize_t at, i, k
    cdef int64_t rest
    cdef unsigned long long saved = fp_enter()
    for at in range(0, size, BLOCK):
        k = min(<Py_ssize_t>BLOCK, size - at)
        for i in range(k):
            rest = ticks[at + i] % half_life  # C rounds towards 0
            rest += half_life if rest < 0 else 0
            number[at + i] = (ticks[at + i] - rest) / half_life
            x[i] = -(<double>(half_life - rest) / <double>half_life) * LN2
        table().exp(x, k, &weight[at])
    fp_leave(saved)
    return numbers, weights
