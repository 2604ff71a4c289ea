from libc.stdint cimport uint8_t

from streamce.core.ledger.state cimport State
from streamce.core.samples.samples cimport Samples


cdef int add_ratio(
    State to, int ratio, Samples samples, const double* n, const double* d, const uint8_t[::1] bucket
) except -1
