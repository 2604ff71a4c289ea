from libc.stdint cimport uint8_t

from streamce.core.samples.routes cimport Routes
from streamce.core.samples.samples cimport Samples


cdef int add_ratios(Routes to, Samples samples, tuple ratios, const uint8_t[::1] bucket) except -1
cdef int add_divergence(Routes to, Samples samples, Samples entropies, const uint8_t[::1] bucket) except -1
