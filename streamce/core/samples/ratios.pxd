from libc.stdint cimport uint8_t

from streamce.core.ledger.state cimport State
from streamce.core.samples.samples cimport Samples


cdef int add_ratios(State to, Samples samples, tuple ratios, const uint8_t[::1] bucket) except -1
cdef int add_divergence(State to, Samples samples, Samples entropies, const uint8_t[::1] bucket) except -1
