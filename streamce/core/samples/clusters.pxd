from libc.stdint cimport uint8_t

from streamce.core.ledger.ledger cimport Ledger
from streamce.core.samples.samples cimport Samples


cdef int add_to_buckets(Samples samples, const uint8_t[::1] bucket, Ledger buckets) except -1
